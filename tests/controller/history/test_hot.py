"""The writer's end: what is acknowledged is there, once, whatever happens in between."""

import json
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from controller.history.cold import cool
from controller.history.door import Door
from controller.history.forgetting import forget
from controller.history.hot import Hot
from controller.history.kept import BAD, GOOD, STALE, Done, Happened, HistoryError, HistoryFull, Kept, Rule, Samples
from controller.history.names import NOT_ITS_TYPE, TOO_LATE
from controller.history.tables import FILE
from controller.history.writer import Writer

T = 1_760_000_000_000_000_000
S = 1_000_000_000
FLOAT, COUNT, LAMP, STATE = (
    Kept("oven/status/bed", float, "CEL", bound=0.05),
    Kept("oven/status/parts", int),
    Kept("oven/status/lamp", bool),
    Kept("oven/status/state", str),
)
ALL = (FLOAT, COUNT, LAMP, STATE)


def read(folder, path, begin=0, end=T + 10_000 * S):
    door = Door(folder)
    found = list(door.raw(path, begin, end).rows())
    door.close()
    return found


def ramp(numbers, first, last):
    """Samples of each Signal, ten a second, from tick `first` to before `last`."""
    return [
        (numbers[kept.path], T + i * S // 10, value, GOOD, "")
        for i in range(first, last)
        for kept, value in zip(ALL, (20 + i * 0.01, i // 7, i % 20 < 10, f"state {i // 25}"), strict=True)
    ]


def test_what_was_committed_is_read_before_and_after_it_is_folded(tmp_path):
    hot = Hot(tmp_path)
    numbers = hot.declare(ALL)
    assert hot.commit(hot.samples(ramp(numbers, 0, 100)), [Happened(T, "Started", "oven", {"by": "ö"})]) == Done(400, 1, 0)
    before = {kept.path: read(tmp_path, kept.path) for kept in ALL}
    assert before[LAMP.path] == [(T + i * S, i % 2 == 0, "good", "") for i in range(10)]
    assert before[STATE.path] == [(T + i * 5 * S // 2, f"state {i}", "good", "") for i in range(4)]
    assert [row[1] for row in before[COUNT.path]] == list(range(15))
    assert [(row[0] - T) / S for row in before[FLOAT.path]] == [0, 9.9]
    hot.fold()
    assert {kept.path: read(tmp_path, kept.path) for kept in ALL} == before
    assert hot._file.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    hot.close()
    assert Door(tmp_path).events(T, T + 1) == [Happened(T, "Started", "oven", {"by": "ö"})]


def test_small_blocks_are_taken_up_again_and_filled(tmp_path):
    hot = Hot(tmp_path)
    numbers = hot.declare(ALL)
    for i in range(12):
        hot.commit(hot.samples(ramp(numbers, 50 * i, 50 * i + 50)))
        hot.fold()
    assert hot._file.execute("SELECT count(*), max(count) FROM blocks WHERE signal=?", (numbers[FLOAT.path],)).fetchone() == (1, 13)
    assert [row[1] for row in read(tmp_path, COUNT.path)] == list(range(86))
    hot.close()


def test_a_next_writer_finds_the_journal_and_the_time_between_is_a_gap(tmp_path):
    hot = Hot(tmp_path)
    numbers = hot.declare(ALL)
    hot.commit(hot.samples(ramp(numbers, 0, 20)))
    os.close(hot._lock)  # it dies here: nothing is folded
    second = Hot(tmp_path)
    assert second.declare(ALL) == numbers
    second.commit(second.samples(ramp(numbers, 100, 120)))
    told = read(tmp_path, COUNT.path)
    assert (T + 19 * S // 10, None, "none", "not recorded") in told
    assert [row[1] for row in told] == [0, 1, 2, None, 14, 15, 16, 17]
    assert [(gap.from_ns, gap.to_ns, gap.cause) for gap in Door(tmp_path).gaps()] == [
        (T + 19 * S // 10, T + 10 * S, "not recorded")
    ]
    second.close()


def test_what_was_lost_is_a_gap_with_its_cause(tmp_path):
    hot = Hot(tmp_path)
    numbers = hot.declare(ALL)
    hot.commit(hot.samples(ramp(numbers, 0, 20)))
    hot.lost(T, T + 5 * S, "too slow")  # from: what is committed stays
    hot.commit(hot.samples(ramp(numbers, 50, 70)))
    for _ in range(2):
        assert read(tmp_path, LAMP.path)[2:4] == [(T + 19 * S // 10, None, "none", "too slow"), (T + 5 * S, False, "good", "")]
        hot.fold()
    hot.close()


def test_a_value_that_is_the_same_after_a_gap_is_kept_anew(tmp_path):
    hot = Hot(tmp_path)
    numbers = hot.declare(ALL)

    def commit(second):
        rows = [(numbers[path], T + second * S, value, GOOD, "") for path, value in ((COUNT.path, 7), (FLOAT.path, 20.0))]
        hot.commit(hot.samples(rows))

    commit(0)
    commit(1)
    hot.fold()
    hot.lost(T + S, T + 9 * S, "too slow")
    commit(9)
    commit(10)
    for _ in range(2):
        for path, value in ((COUNT.path, 7), (FLOAT.path, 20.0)):
            told = [(row[0] - T, row[1]) for row in read(tmp_path, path)]
            assert (S, None) in told and (9 * S, value) in told
        hot.fold()
    hot.close()


def test_a_value_that_is_none_is_a_gap_of_one_signal_and_qualities_have_their_cause(tmp_path):
    hot = Hot(tmp_path)
    number = hot.declare(ALL)[FLOAT.path]
    told = [(20.0, GOOD, ""), (20.0, STALE, "node silent"), (None, BAD, "never seen"), (21.0, BAD, "sensor"), (21.0, GOOD, "")]
    hot.commit(hot.samples([(number, T + i * S, *row) for i, row in enumerate(told)]))
    assert [row[1:] for row in read(tmp_path, FLOAT.path)] == [
        (20.0, "good", ""), (20.0, "stale", "node silent"),
        (None, "none", "never seen"), (21.0, "bad", "sensor"), (21.0, "good", "")
    ]  # fmt: skip
    hot.close()


def test_earlier_samples_and_values_of_another_type_are_counted_and_become_gaps_with_their_cause(tmp_path):
    hot = Hot(tmp_path)
    numbers = hot.declare(ALL)
    count, lamp, bed = numbers[COUNT.path], numbers[LAMP.path], numbers[FLOAT.path]
    rows = [(count, T, 1.5, 0, ""), (count, T, True, 0, ""), (count, T, 2**64 - 1, 0, ""), (lamp, T, 1, 0, ""), (99, T, 1, 0, "")]
    rows += [(bed, T, "x", 0, ""), (bed, T, 10**400, 0, ""), (count, T + S, 1, 0, ""), (count, T, 2, 0, "")]
    done = hot.commit(hot.samples(rows))
    assert (done.samples, done.refused, hot.refused) == (7, 1, 8)
    for _ in range(2):
        assert read(tmp_path, COUNT.path) == [
            (T, None, "none", NOT_ITS_TYPE), (T + S, 1, "good", ""), (T + S, None, "none", TOO_LATE)
        ]  # fmt: skip
        assert [row[1:] for row in read(tmp_path, FLOAT.path)] == [(None, "none", NOT_ITS_TYPE)]
        hot.fold()
    hot.close()


def test_a_text_that_no_encoding_has_is_kept_as_an_escape(tmp_path):
    hot = Hot(tmp_path)
    number = hot.declare(ALL)[STATE.path]
    hot.commit(hot.samples([(number, T, "a\ud800", BAD, "b\udfff")]), [Happened(T, "c\ud800", "d\ud800", {"e\ud800": 1})])
    assert read(tmp_path, STATE.path) == [(T, "a\\ud800", "bad", "b\\udfff")]
    assert Door(tmp_path).events(T, T + 1) == [Happened(T, "c\\ud800", "d\\ud800", {"e\ud800": 1})]
    hot.close()


def test_there_is_one_writer(tmp_path):
    hot = Hot(tmp_path)
    with pytest.raises(HistoryError, match="another process writes this History"):
        Hot(tmp_path)
    hot.close()
    Hot(tmp_path).close()


def test_a_commit_waits_for_the_disk(tmp_path):
    hot = Hot(tmp_path)
    found = [hot._file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "auto_vacuum")]
    assert found == ["wal", 2, 2]  # write-ahead log, FULL (kill -9 cannot tell it from less), INCREMENTAL
    hot.close()


def test_a_history_of_another_version_is_left_alone(tmp_path):
    Hot(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute("PRAGMA user_version=99")
    with pytest.raises(HistoryError, match="made as version 99, this software reads version 1"):
        Hot(tmp_path)
    with pytest.raises(HistoryError, match="there is no History"):
        Door(tmp_path / "nowhere")


def test_a_new_bound_applies_from_its_declaration_and_a_new_type_begins_another_signal(tmp_path):
    hot = Hot(tmp_path)
    number = hot.declare([FLOAT])[FLOAT.path]
    noise = np.random.default_rng(1).uniform(-0.03, 0.03, 100)
    hot.commit(hot.samples([(number, T + i * S, 20 + x, 0, "") for i, x in enumerate(noise.tolist())]))
    assert hot.declare([Kept(FLOAT.path, float, "CEL", bound=0.001, rule=Rule.HOLD)]) == {FLOAT.path: number}
    hot.commit(hot.samples([(number, T + (100 + i) * S, 20 + x, 0, "") for i, x in enumerate(noise.tolist())]))
    assert len(read(tmp_path, FLOAT.path, 0, T + 100 * S)) < 5
    assert len(read(tmp_path, FLOAT.path, T + 100 * S)) > 90
    numbers = hot.declare([Kept(FLOAT.path, int)])
    assert set(numbers) == {FLOAT.path, f"{FLOAT.path}~{number}"}
    hot.commit(hot.samples([(numbers[FLOAT.path], T, 7, 0, "")]))
    assert next(iter(read(tmp_path, FLOAT.path)))[1] == 7
    hot.close()


def test_when_there_is_no_room_nothing_is_kept_and_it_can_be_tried_again(tmp_path):
    hot = Hot(tmp_path)
    number = hot.declare([Kept("noise", float)])["noise"]
    rng = np.random.default_rng(1)

    def samples(first):
        times = T // 1000 + np.arange(first, first + 2000)
        return Samples(np.full(2000, number, np.int32), times, rng.normal(size=2000).view(np.int64), np.zeros(2000, np.int32))

    (pages,) = hot._file.execute("PRAGMA page_count").fetchone()
    hot._file.execute(f"PRAGMA max_page_count={pages + 10}")
    first, second = samples(0), samples(2000)
    hot.commit(first)
    with pytest.raises(HistoryFull, match="database or disk is full"):
        for _ in range(5):
            hot.commit(second)
            second = samples(int(second.times[-1]) - T // 1000 + 1)
    with pytest.raises(HistoryFull):
        hot.fold()
    hot._file.execute("PRAGMA max_page_count=100000")
    hot.commit(second)
    hot.fold()  # what did not fit
    hot.close()
    assert len(read(tmp_path, "noise")) == int(second.times[-1]) - T // 1000 + 1


def test_damage_in_the_journal_is_a_gap(tmp_path):
    hot = Hot(tmp_path)
    numbers = hot.declare(ALL)
    for i in range(70):
        hot.commit(hot.samples(ramp(numbers, 10 * i, 10 * i + 10)))
    place = hot._file.execute("SELECT min(place) FROM journal").fetchone()[0] + 30
    hot._file.execute("UPDATE journal SET content = zeroblob(length(content)) WHERE place=?", (place,))
    os.close(hot._lock)
    again = Hot(tmp_path)
    assert again.damaged == 34
    (gap,) = Door(tmp_path).gaps()
    assert (gap.from_ns, gap.to_ns, gap.cause) == (T + 299 * S // 10, T + 639 * S // 10, "damaged on disk")
    again.close()


def test_a_damaged_block_is_a_gap_and_the_rest_is_read(tmp_path):
    hot = Hot(tmp_path)
    numbers = hot.declare(ALL)
    hot.commit(hot.samples(ramp(numbers, 0, 50)))
    hot.close()
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute("UPDATE blocks SET body = zeroblob(length(body)) WHERE signal=?", (numbers[COUNT.path],))
    assert read(tmp_path, COUNT.path) == [(T, None, "none", "damaged on disk")]
    assert len(read(tmp_path, LAMP.path)) == 5


# ---- the writer's thread


def test_what_comes_within_a_period_goes_into_one_commit(tmp_path):
    writer = Writer(tmp_path, period_s=0.2)
    numbers = writer.declare(ALL)
    rows = ramp(numbers, 0, 40)
    waiting = [writer.offer(rows[i : i + 4]) for i in range(0, 160, 4)]
    done = {future.result(10) for future in waiting}
    assert sum(one.samples for one in done) == 160 and len(done) <= 3
    assert writer.ask(lambda hot: hot.acknowledged).result(10) == 160
    writer.close()
    assert [row[1] for row in read(tmp_path, COUNT.path)] == list(range(6))
    with pytest.raises(HistoryError, match="closed"):
        writer.offer(rows)


def test_what_finds_no_room_is_refused_and_counted(tmp_path):
    writer = Writer(tmp_path, period_s=0.3, most=100)
    numbers = writer.declare(ALL)
    assert writer.offer(ramp(numbers, 0, 20)) is not None
    assert writer.offer(ramp(numbers, 20, 30)) is None
    assert writer.lost == 40
    writer.close()


def test_a_fold_runs_beside_the_commits(tmp_path, monkeypatch):
    monkeypatch.setattr("controller.history.hot.FOLD_SAMPLES", 400)
    writer = Writer(tmp_path, period_s=0.001)
    numbers = writer.declare(ALL)
    for i in range(30):
        assert writer.offer(ramp(numbers, 20 * i, 20 * i + 20)).result(10).samples == 80
    writer.close()
    assert [row[1] for row in read(tmp_path, COUNT.path)] == list(range(86))
    assert len(read(tmp_path, STATE.path)) == 24


def test_a_fold_without_room_waits_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("controller.history.hot.FOLD_SAMPLES", 500)
    writer = Writer(tmp_path, period_s=0.001)
    number = writer.declare([Kept("noise", float)])["noise"]
    values = np.random.default_rng(1).normal(size=4000).tolist()
    writer.ask(lambda hot: hot._file.execute(f"PRAGMA max_page_count={hot._file.execute('PRAGMA page_count').fetchone()[0] + 6}"))
    full, kept = 0, 0
    while kept < 4000:
        rows = [(number, T + (kept + i) * S, value, GOOD, "") for i, value in enumerate(values[kept : kept + 200])]
        try:
            writer.offer(rows).result(10)
            kept += 200
        except HistoryFull:
            full += 1
            writer.resume()
            if full == 3:
                with pytest.raises(HistoryFull):
                    writer.ask(lambda hot: cool(hot, T + 10_000 * S)).result(10)
                writer.ask(lambda hot: forget(hot, T)).result(10)
                writer.ask(lambda hot: hot._file.execute("PRAGMA max_page_count=100000")).result(10)
    writer.close()
    assert full == 3 and [row[1] for row in read(tmp_path, "noise")] == values


# ---- kill -9


@pytest.mark.parametrize("rounds", [5, pytest.param(300, marks=pytest.mark.soak)])
def test_no_acknowledged_sample_is_lost_when_the_writer_is_killed(tmp_path, rounds):
    script = [sys.executable, "-m", "tests.controller.history.dying", "write", str(tmp_path), str(rounds)]
    spans = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
    sure = {value for first, last in spans for value in range(first, last + 1)}
    Hot(tmp_path).close()
    values = [row[1] for row in read(tmp_path, "count") if row[1] is not None]
    assert len(values) == len(set(values)) and sure <= set(values)
    assert set(values) - sure <= {last + 1 for _, last in spans}  # written, and killed before it could say so
    assert len(spans) == rounds
