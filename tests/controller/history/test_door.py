"""Questions: the same answers from journal, blocks and segments; against sums worked out sample by sample here, and DuckDB's."""

import itertools
import json
import signal
import subprocess
import sys

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.history import shelves
from controller.history.block import decode
from controller.history.cold import cool, settle
from controller.history.door import Door
from controller.history.forgetting import forget
from controller.history.hot import Hot
from controller.history.kept import BAD, GOOD, NONE, STALE, Happened, HistoryError, Kept, Rule, Samples

T_US = 1_760_000_000_000_000
DAY_NS = 86_400 * 10**9
S = 1_000_000_000

LINE = Kept("line", float, "CEL", bound=0.02)
HOLD = Kept("hold", float, bound=0.02, rule=Rule.HOLD)
EXACT = Kept("exact", float)
COUNT = Kept("count", int)
TEXT = Kept("text", str)
ALL = (LINE, HOLD, EXACT, COUNT, TEXT)


def fill(hot, hours=50.0, count=3000):
    """Irregular samples with doubts, gaps of one Signal and one of all; (times, values, beliefs) as they were offered."""
    rng = np.random.default_rng(7)
    times = T_US + np.sort(rng.integers(0, int(hours * 3600e6), count))
    silent = (times < times[2 * count // 3]) | (times > times[2 * count // 3] + 3600 * 1_000_000)
    times = times[silent]
    values = np.round(np.sin((times - T_US) / 3600e6) * 5 + rng.normal(0, 0.01, len(times)), 3)
    beliefs = np.where(np.arange(len(times)) % 97 < 5, 5, 0) + np.where(np.arange(len(times)) % 211 == 0, 3, 0)
    beliefs[beliefs == 8] = 3
    numbers = hot.declare(ALL)
    rows = []
    for time, value, belief in zip(times.tolist(), values.tolist(), beliefs.tolist(), strict=True):
        quality, cause = belief & 3, "sensor" if belief >> 2 else ""
        shown = {"count": round(value * 10), "text": f"at {value:.0f}"}
        for kept in ALL:
            told = None if quality == NONE else shown.get(kept.path, value)
            rows.append((numbers[kept.path], time * 1000, told, quality, cause))
    return times, values, beliefs, rows


def offered(hot, rows, times, parts=5):
    size = 5 * len(times) // parts
    edge = int(np.flatnonzero(np.diff(times) > 1800 * 1_000_000)[0])
    for start in range(0, len(rows), size):
        hot.commit(hot.samples(rows[start : min(start + size, 5 * (edge + 1))]) if start < 5 * (edge + 1) else Samples.none())
    hot.lost(int(times[edge]) * 1000, int(times[edge + 1]) * 1000, "too slow")
    for start in range(5 * (edge + 1), len(rows), size):
        hot.commit(hot.samples(rows[start : start + size]), [Happened(rows[start][1], "Told", "x", {"at": start})])
    return edge


def brute(series, until_us, begin, every, count, line):
    """Averages and the rest, interval by interval in Python."""
    rows = [(t // 1000, v, q) for t, v, q, _ in series.rows()]
    rows.append((until_us, None, "none"))
    found = []
    for w in range(count):
        a, b = begin + w * every, begin + (w + 1) * every
        pieces = []
        for (t0, v0, q0), (t1, v1, q1) in itertools.pairwise(rows):
            lo, hi = max(a, t0), min(b, t1)
            if q0 == "good" and a <= t0 < b:
                pieces.append((0, v0, v0))
            if q0 != "good" or lo >= hi:
                continue
            sloped = line and q1 == "good"
            ends = [v0 + (v1 - v0) * (t - t0) / (t1 - t0) if sloped else v0 for t in (lo, hi)]
            pieces.append((hi - lo, *ends))
        good = sum(piece[0] for piece in pieces) / 1e6
        total = sum((p + q) / 2 * d / 1e6 for d, p, q in pieces)
        least, most = min((min(p[1:]) for p in pieces), default=np.nan), max((max(p[1:]) for p in pieces), default=np.nan)
        first, last = (pieces[0][1], pieces[-1][2]) if pieces else (np.nan, np.nan)
        number = sum(1 for t, _, q in rows if q == "good" and a <= t < b)
        found.append((total / good if good else np.nan, least, most, first, last, total if pieces else np.nan, number, good))
    return np.array(found)


def table(windows):
    names = ("average", "minimum", "maximum", "first", "last", "total", "count", "good_s")
    return np.column_stack([getattr(windows, name) for name in names])


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """The same History in its journal, in blocks, half of it and all of it in segments."""
    made = {}
    for stage in ("journal", "blocks", "half", "cold"):
        folder = tmp_path_factory.mktemp(stage)
        hot = Hot(folder)
        times, values, beliefs, rows = fill(hot)
        offered(hot, rows, times)
        if stage != "journal":
            hot.fold()
        if stage == "half":
            hot.commit(hot.samples([(1, int(times[-1]) * 1000 + S, 0.0, GOOD, "")]))
            hot._file.execute("UPDATE blocks SET count = 1000")  # so that none is taken up again
            cool(hot, int(times[-1]) * 1000 - 1)
        if stage == "cold":
            cool(hot, DAY_NS * 30_000)
        made[stage] = folder, hot, times, values, beliefs
    yield made
    for _, hot, *_ in made.values():
        hot.close()


def test_values_are_within_their_bound_at_every_sample_wherever_they_lie(stages):
    for folder, _, times, values, beliefs in stages.values():
        door = Door(folder)
        for kept in (LINE, HOLD, EXACT):
            for i in range(0, len(times), 151):
                point = door.at(kept.path, int(times[i]) * 1000)
                assert point.quality == beliefs[i] & 3
                assert point.cause == ("sensor" if beliefs[i] >> 2 else "")
                assert (point.value is None) if beliefs[i] == 3 else abs(point.value - values[i]) <= kept.bound
        assert door.at("text", int(times[1]) * 1000).value == f"at {values[1]:.0f}"
        door.close()


def test_the_same_is_kept_whether_in_blocks_or_in_segments(stages):
    blocks, cold = Door(stages["blocks"][0]), Door(stages["cold"][0])
    begin, end = T_US * 1000, (T_US + 50 * 3600 * 1_000_000) * 1000
    for kept in ALL:
        for part in range(9):
            span = (begin + part * (end - begin) // 9, begin + (part + 1) * (end - begin) // 9)
            assert list(blocks.raw(kept.path, *span).rows()) == list(cold.raw(kept.path, *span).rows())
    assert blocks.events(0, end) == cold.events(0, end)
    assert len(cold.events(0, end, kind="Told")) == 2 and not cold.events(0, end, subject="y")
    assert list((stages["cold"][0] / "cold").glob("samples-*.parquet")) and blocks.gaps() == cold.gaps()


def test_gaps_are_shown_as_gaps_in_the_middle_too(stages):
    for folder, _, times, *_ in stages.values():
        edge = int(np.flatnonzero(np.diff(times) > 1800 * 1_000_000)[0])
        door, middle = Door(folder), int(times[edge] + times[edge + 1]) // 2 * 1000
        for kept in ALL:
            assert list(door.raw(kept.path, middle, middle + S).rows()) == [(middle, None, "none", "too slow")]
            assert door.at(kept.path, middle).value is None
            assert door.aggregate(kept.path, middle, middle + S, S).good_s.tolist() == [0]
            assert door.at(kept.path, T_US * 1000 - S) is None


@pytest.mark.parametrize("stage", ["journal", "blocks", "half", "cold"])
@pytest.mark.parametrize("every_s", [600, 7200, 180_000])
def test_aggregates_are_those_worked_out_one_by_one(stages, stage, every_s):
    folder, _, times, *_ = stages[stage]
    door = Door(folder)
    begin = T_US - 1000 * 1_000_000
    end = min(begin + 30 * every_s * 1_000_000, T_US + 60 * 3600 * 1_000_000)
    until = int(times[-1]) + (1_000_000 if stage == "half" else 0)
    for kept in (LINE, HOLD, EXACT, COUNT):
        found = table(door.aggregate(kept.path, begin * 1000, end * 1000, every_s * S))
        series = door.raw(kept.path, 0, 2**62)
        meant = brute(series, until, begin, every_s * 1_000_000, len(found), kept is LINE)
        np.testing.assert_allclose(found, meant, rtol=1e-9, atol=1e-7)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(begin=st.integers(-10**6, 40 * 3600 * 10**6), every=st.integers(10**5, 10**11), count=st.integers(1, 9))
def test_any_windows_are_right(stages, begin, every, count):
    folder, _, times, *_ = stages["blocks"]
    door = Door(folder)
    for kept in (LINE, COUNT):
        windows = door.aggregate(kept.path, (T_US + begin) * 1000, (T_US + begin + every * count) * 1000, every * 1000)
        series = door.raw(kept.path, 0, 2**62)
        meant = brute(series, int(times[-1]), T_US + begin, every, count, kept is LINE)
        np.testing.assert_allclose(table(windows), meant, rtol=1e-9, atol=1e-7)


def test_heads_of_blocks_answer_as_their_samples_would(tmp_path, monkeypatch):
    hot, rng = Hot(tmp_path), np.random.default_rng(3)
    numbers = hot.declare((LINE, EXACT, COUNT))
    last = T_US
    for count in (100, 120, 2000, 2000, 2000):
        times = last + np.cumsum(rng.integers(50_000, 150_000, count))
        if count == 120:
            times += 60_000_000
            hot.lost(last * 1000, int(times[0]) * 1000, "too slow")  # in the middle of a block, which is filled up
        values = np.round(np.cumsum(rng.normal(0, 0.1, count)), 2).tolist()
        for path, number in numbers.items():
            told = [round(value) if path == "count" else value for value in values]
            hot.commit(hot.samples([(number, t * 1000, v, GOOD, "") for t, v in zip(times.tolist(), told, strict=True)]))
        hot.fold()
        last = int(times[-1])
    door, decoded = Door(tmp_path), []
    for kept in (LINE, EXACT, COUNT):
        series = door.raw(kept.path, 0, 2**62)
        for every in (37_000_000, 300_000_000, 10_000_000_000):
            monkeypatch.setattr(shelves, "decode", lambda *block: decoded.append(block) or decode(*block))
            windows = door.aggregate(kept.path, (T_US - 5) * 1000, last * 1000, every * 1000)
            monkeypatch.undo()
            meant = brute(series, last, T_US - 5, every, len(windows.begins), kept is LINE)
            np.testing.assert_allclose(table(windows), meant, rtol=1e-9, atol=1e-7)
        assert len(decoded) < 3 * 4 * 2
        decoded.clear()
    door.aggregate("exact", T_US * 1000, last * 1000, 10**16)
    monkeypatch.setattr(shelves, "decode", lambda *block: decoded.append(block) or decode(*block))
    door.aggregate("exact", (last - 400_000_000) * 1000, (last + 9_600_000_000) * 1000, 10**13)
    assert len(decoded) == 1  # of three or four blocks, that in which the window begins
    hot.close()


def test_segments_are_open_files_sorted_by_signal_and_time(stages):
    folder = stages["cold"][0]
    files = f"read_parquet('{folder}/cold/samples-*.parquet', filename = true, file_row_number = true)"
    columns = "path, count(*), min(value), max(value), count(DISTINCT text)"
    told = duckdb.execute(f"SELECT {columns} FROM {files} GROUP BY path ORDER BY path")
    door = Door(folder)
    for path, rows, least, most, texts in told.fetchall():
        series = door.raw(path, 0, 2**62)
        values = [value for _, value, _, cause in series.rows() if value is not None]
        assert rows == sum(1 for row in series.rows() if row[3] != "too slow")
        if path in ("line", "hold", "exact"):
            assert (least, most, texts) == (min(values), max(values), 0)
        if path == "text":
            assert (least, texts) == (None, len(set(values)))
    unsorted = "signal < lag(signal) OVER w OR (signal = lag(signal) OVER w AND time < lag(time) OVER w) AS bad"
    order = "PARTITION BY filename ORDER BY file_row_number"
    query = f"SELECT count(*) FROM (SELECT {unsorted} FROM {files} WINDOW w AS ({order})) WHERE bad"
    assert duckdb.execute(query).fetchone() == (0,)
    assert duckdb.execute(f"SELECT DISTINCT quality FROM {files} ORDER BY 1").fetchall() == [("good",), ("none",), ("stale",)]


def test_what_is_forgotten_is_gone_and_the_rest_is_there(tmp_path):
    hot = Hot(tmp_path)
    times, *_, rows = fill(hot, hours=100, count=1000)
    offered(hot, rows, times)
    hot.fold()
    hot.commit(Samples.none(), [Happened(T_US * 1000, "Old", "x"), Happened(int(times[-1]) * 1000, "New", "x")])
    cool(hot, int(times[-1]) * 1000 + S)
    before = hot.size()
    assert before.cold > 0 and before.oldest_ns == T_US * 1000
    door = Door(tmp_path)
    assert len(door.raw("exact", 0, 2**62)) > 800
    assert forget(hot, DAY_NS * 30_000) == before.cold
    assert list(door.raw("exact", 0, 2**62).rows()) == [(time, None, "none", why) for time, _, _, why in
                                                       door.raw("exact", 0, 2**62).rows()]
    assert door.events(0, 2**62) == [] and hot.size().cold == 0 and hot.size().oldest_ns is None
    hot.shrink()
    assert hot.size().hot < before.hot
    number = hot.declare(ALL)["exact"]
    hot.commit(hot.samples([(number, int(times[-1]) * 1000 + S, 4.5, GOOD, "")]))
    assert door.raw("exact", int(times[-1]) * 1000 + S, 2**62).values.tolist() == [4.5]
    hot.close()


def test_questions_that_have_no_answer_say_so(stages):
    door = Door(stages["blocks"][0])
    with pytest.raises(HistoryError, match="nothing: History knows no such Signal"):
        door.raw("nothing", 0, 1)
    with pytest.raises(HistoryError, match="line: windows of 999 ns make 0 of at most"):
        door.aggregate("line", 0, S, 999)
    with pytest.raises(HistoryError, match="windows of 1000 ns make 86400000000 of at most"):
        door.aggregate("line", 0, DAY_NS, 1000)
    assert set(door.signals()) == {kept.path for kept in ALL}
    assert len(door.raw("line", S, 0)) == 0 and door.aggregate("line", S, 0, S).average.tolist() == []


def test_a_door_that_is_open_sees_what_comes(tmp_path):
    hot = Hot(tmp_path)
    number = hot.declare([COUNT])["count"]
    door = Door(tmp_path)
    for i in range(200):
        quality, cause = {70: (STALE, "why"), 71: (BAD, "why")}.get(i, (GOOD, ""))
        hot.commit(hot.samples([(number, (T_US + i) * 1000, i, quality, cause)]))
        if i % 50 == 49:
            hot.fold()
        if i % 9 == 0:
            assert door.raw("count", 0, 2**62).values.tolist() == list(range(i + 1))
    assert [door.raw("count", 0, 2**62).cause(i) for i in (69, 70, 71)] == ["", "why", "why"]
    hot.close()


# ---- a crash between any two steps


def died(folder, how):
    """How the children of dying.py ended, in their order."""
    script = [sys.executable, "-m", "tests.controller.history.dying", how, str(folder)]
    return json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)


def test_a_crash_between_any_two_steps_loses_nothing_and_doubles_nothing(tmp_path):
    ended = died(tmp_path, "cool")
    assert [one for one, _ in ended] == [-signal.SIGKILL] * 10 + [0]  # five steps with the samples, five with the Events
    assert all(check == 0 for _, check in ended)
    hot = Hot(tmp_path)
    assert settle(hot) == 0 and len(list((tmp_path / "cold").iterdir())) == 2
    hot.close()


def test_a_crash_in_a_fold_loses_nothing_and_doubles_nothing(tmp_path):
    assert died(tmp_path, "fold") == [[-signal.SIGKILL, 0], [-signal.SIGKILL, 0], [0, 0]]
