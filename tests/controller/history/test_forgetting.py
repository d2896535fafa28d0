"""What is forgotten leaves what each Signal was at the limit; nothing else grows for ever; and what segments answer by sums."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from controller.history import cold, shelves
from controller.history.cold import cool
from controller.history.door import Door
from controller.history.forgetting import forget
from controller.history.hot import Hot
from controller.history.kept import GOOD, Happened, HistoryError, HistoryFull, Kept, Samples

T = 1_760_000_000_000_000_000
S = 1_000_000_000
KINDS = (Kept("line", float, bound=0.01), Kept("exact", float), Kept("count", int), Kept("text", str), Kept("lost", int))


@pytest.mark.parametrize("cooled", [(), (50,), (50, 150), (50, 150, 250)])
def test_what_stood_still_is_what_it_was_after_all_before_was_forgotten(tmp_path, cooled):
    """Each Signal has its last sample at 40 s but for the line, which goes on to 200 s; `lost` ends at a gap of its own."""
    hot = Hot(tmp_path)
    line, exact, count, text, lost = hot.declare(KINDS).values()
    for second in (10, 40):
        values = ((exact, second * 1.1), (count, second), (text, f"at {second}"), (lost, None if second == 40 else 1))
        rows = [(number, T + second * S, value, GOOD, "gone" if value is None else "") for number, value in values]
        hot.commit(hot.samples([*rows, (line, T + second * S, second * 0.1, GOOD, "")]), (), T + 45 * S)
        hot.fold()
        hot._file.execute("UPDATE blocks SET count = 1000")  # so that none is taken up again
    hot.commit(hot.samples([(line, T + 200 * S, 20.0, GOOD, "")]), (), T + 300 * S)
    hot.fold()
    for second in cooled:
        cool(hot, T + second * S)
    for limit in (100, 120):  # the second time it is what is held that goes on
        assert forget(hot, T + limit * S) >= 0
        door, now = Door(tmp_path), T + limit * S
        assert door.at("line", now).value == pytest.approx(limit * 0.1) and door.at("line", T + 250 * S).value == 20.0
        assert [door.at(path, now + S).value for path in ("exact", "count", "text")] == [44.0, 40, "at 40"]
        assert (door.at("lost", now + S).value, door.at("lost", now + S).cause) == (None, "gone")
        assert door.at("count", now - S) is None and door.gaps() == []
        assert door.aggregate("exact", now, now + 10 * S, 10 * S).good_s.tolist() == [10]
        door.close()
    hot.commit(hot.samples([(count, T + 310 * S, 7, GOOD, "")]))
    hot.close()
    door = Door(tmp_path)
    assert [row[1] for row in door.raw("count", 0, 2**62).rows()] == [40, 7]
    door.close()


def test_spans_and_cuts_of_what_is_forgotten_go_too_and_nothing_is_held_across_a_gap(tmp_path):
    hot = Hot(tmp_path)
    number = hot.declare(KINDS)["count"]
    for turn in range(50):
        hot.commit(hot.samples([(number, T + 10 * turn * S, turn, GOOD, "")]), (), T + (10 * turn + 5) * S)
        hot.lost(T, T + 10 * (turn + 1) * S, "too slow")
    hot.commit(hot.samples([]), (), T + 501 * S)
    hot.fold()
    hot._file.execute("UPDATE blocks SET last_us = first_us, count = 1000")
    forget(hot, T + 497 * S)
    assert len(hot.size().spans) == 1 and len(hot.cuts) == 0
    door = Door(tmp_path)
    assert door.at("count", T + 498 * S) is None
    door.close()
    hot.close()


def test_a_value_holds_up_to_a_gap_or_the_last_record_however_far_away_that_is(tmp_path):
    hot = Hot(tmp_path)
    number = hot.declare(KINDS)["line"]
    hot.commit(hot.samples([(number, T, 1.0, GOOD, "")]), (), T + 100 * S)
    hot.lost(T, T + 200 * S, "too slow")
    hot.commit(hot.samples([(number, T + 200 * S, 3.0, GOOD, "")]), (), T + 300 * S)
    door = Door(tmp_path)
    for _ in range(2):
        assert door.at("line", T + 50 * S).value == 1.0, "no line goes across a gap"
        for begin, value in ((40, 1.0), (250, 3.0)):
            windows = door.aggregate("line", T + begin * S, T + (begin + 10) * S, 10 * S)
            assert (windows.good_s.tolist(), windows.average.tolist()) == ([10], [value])
        hot.fold()
    door.close()
    hot.close()


def test_a_history_of_an_older_run_is_read_and_written_on(tmp_path):
    hot = Hot(tmp_path)
    number = hot.declare(KINDS)["count"]
    hot.commit(hot.samples([(number, T, 3, GOOD, "")]))
    hot.fold()
    cool(hot, T + S)
    hot.close()
    with closing(sqlite3.connect(tmp_path / "hot.sqlite")) as file:
        file.executescript("DROP TABLE held; DROP TABLE heads;")
    for _ in range(2):
        door = Door(tmp_path)
        assert door.raw("count", T, T + S).values.tolist() == [3]
        assert door.aggregate("count", T, T + S, S).count.tolist() == [1]
        door.close()
        Hot(tmp_path).close()


def test_what_a_segment_says_otherwise_than_the_blocks_is_not_taken(tmp_path, monkeypatch):
    plain = cold._verify

    def other(database, path, columns):
        for name, value in (("text", "?"), ("path", "?"), ("cause", "?"), ("quality", "bad"), ("kind", "?"), ("value", 1e-300)):
            if name in columns:
                meant = columns[name].copy()
                meant[-1] = value
                with pytest.raises(HistoryError, match=r"as (it was|they were) written"):
                    database.register("rows_in", columns | {name: meant})
                    plain(database, path, columns | {name: meant})
        database.register("rows_in", columns)
        plain(database, path, columns)

    monkeypatch.setattr(cold, "_verify", other)
    hot = Hot(tmp_path)
    numbers = hot.declare(KINDS)
    rows = [(numbers["exact"], T, 1.5, 1, "why"), (numbers["text"], T, "a", GOOD, "")]
    hot.commit(hot.samples(rows), [Happened(T, "Told", "x", {})])
    hot.fold()
    assert cool(hot, T + S) == 2
    hot.close()


def test_a_disk_without_room_for_a_segment_is_full_and_a_failing_one_is_told(tmp_path, monkeypatch):
    hot = Hot(tmp_path)
    number = hot.declare(KINDS)["count"]
    hot.commit(hot.samples([(number, T, 1, GOOD, "")]))
    hot.fold()
    for number_, error in ((28, HistoryFull), (122, HistoryFull), (5, HistoryError)):
        with monkeypatch.context() as patch:
            patch.setattr(cold.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(number_, "fsync")))  # noqa: B023
            with pytest.raises(error) as told:
                cool(hot, T + S)
            assert type(told.value) is error
    engine = cold.duckdb()
    full = engine.IOException('IO Error: Could not write file "x": No space left on device')
    assert type(cold._of_engine(tmp_path, full)) is HistoryFull
    assert cool(hot, T + S) == 1
    hot.close()


def test_of_a_segment_only_the_edges_of_windows_are_read(tmp_path, monkeypatch):
    hot = Hot(tmp_path)
    numbers = hot.declare(KINDS[:2])
    rng = np.random.default_rng(5)
    times = T // 1000 + np.arange(60_000) * 100_000
    for number in numbers.values():
        words = np.cumsum(rng.normal(0, 0.1, len(times))).view(np.int64)
        beliefs = np.where(np.arange(len(times)) == 30_000, 1, 0).astype(np.int32)
        hot.commit(Samples(np.full(len(times), number, np.int32), times, words, beliefs))
    hot.fold()
    door = Door(tmp_path)
    spans = [(T - 5 * S, 900 * S, 8), (T + 333 * S, 2000 * S, 3), (T + 3001 * S, 7 * S, 1), (T - S, 10_000 * S, 1)]

    def told():
        found = [door.aggregate(path, begin, begin + count * every, every) for path in numbers for begin, every, count in spans]
        return [np.column_stack([getattr(one, name) for name in one.__slots__]) for one in found]

    before, rows = told(), []
    cool(hot, T + 10**9 * S)
    fetch = shelves.Shelves._fetch
    monkeypatch.setattr(shelves.Shelves, "_fetch", lambda self, query: rows.append(r := fetch(self, query)) or r)
    for a, b in zip(before, told(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    assert sum(len(found["time"]) for found in rows) < 200_000
    door.close()
    hot.close()
