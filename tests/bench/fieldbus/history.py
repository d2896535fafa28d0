"""History: samples a second with an acknowledgement after fsync, bytes on disk for each, and how fast they are read again.

The mix, 500 Signals at 10 Hz, an hour (18 million samples), six seconds in each commit (30,000 samples):

    200 temperatures    slow waves with noise of 0.02 °C, read in steps of 0.01 °C     bound 0.05 °C
    100 currents        noise of 0.5 % around a level that changes every few minutes    bound 1 % of the level
     50 positions       moves of 400 mm with rests between them, read exactly           bound 0.02 mm
     50 meters          energies that rise with a noisy power                           bound 1 Wh
     50 counters        ints, one more every few seconds                                exact
     50 booleans        change every minute or so                                       exact

`exact`: the same values with no bound at all, ten minutes of them. Peers, in the same run and with the same samples in the same
commits: SQLite with a row for each sample (WITHOUT ROWID, write-ahead log, synchronous=FULL), and Parquet by DuckDB (sorted,
zstd), whose rate has no acknowledgement in it. Bytes are those of all files as they lie there, write-ahead log and free pages
included.
"""

import contextlib
import gc
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from controller.history.cold import cool
from controller.history.door import Door
from controller.history.hot import Hot
from controller.history.kept import Kept, Samples

SIGNALS, SCANS, TICK_US = 500, 60, 100_000
HOUR = 600  # commits
T_US = 1_760_000_000_000_000
BOUNDS = ((200, 0.05), (100, 0.05), (50, 0.02e-3), (50, 3600.0))


def signals(exact: bool = False) -> list[Kept]:
    """The mix."""
    bounds = [bound for count, bound in BOUNDS for _ in range(count)]
    floats = [Kept(f"s{i}", float, bound=0.0 if exact else bound) for i, bound in enumerate(bounds)]
    return floats + [Kept(f"s{i}", int if i < 450 else bool) for i in range(400, 500)]


class Plant:
    """What the Signals do; the same with the same seed."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)
        self._energy = self._rng.uniform(1e6, 1e9, 50)
        self._counts, self._lamps = np.zeros(50), np.zeros(50)
        self._level = np.full(100, 5.0)

    def scans(self, commit: int) -> np.ndarray:
        """(SCANS, SIGNALS) words of one commit."""
        rng, t = self._rng, (commit * SCANS + np.arange(SCANS))[:, None] * (TICK_US * 1e-6)
        words = np.empty((SCANS, SIGNALS), np.int64)
        values = words.view(np.float64)
        phases = np.arange(200)
        waves = 60 + 20 * np.sin(t / 600 + phases) + rng.normal(0, 0.02, (SCANS, 200))
        values[:, :200] = np.round(waves, 2)
        change = rng.random(100) < 0.03
        self._level[change] = rng.uniform(2, 8, int(change.sum()))
        values[:, 200:300] = self._level * (1 + rng.normal(0, 0.005, (SCANS, 100)))
        share = np.clip(((t / 8 + np.arange(50) / 50) % 2 - 0.5) * 1.5, 0, 1)
        values[:, 300:350] = 0.4 * share * share * (3 - 2 * share)
        power = np.maximum(0, 2000 + 1000 * np.sin(t / 60) + rng.normal(0, 50, (SCANS, 50)))
        energy = self._energy + np.cumsum(power * TICK_US * 1e-6, axis=0)
        values[:, 350:400], self._energy = energy, energy[-1]
        for column, chance in ((self._counts, 0.03), (self._lamps, 0.0015)):
            at = slice(400, 450) if column is self._counts else slice(450, 500)
            steps = column + np.cumsum(rng.random((SCANS, 50)) < chance, axis=0)
            column[:] = steps[-1]
            words[:, at] = steps if column is self._counts else steps % 2
        return words


def commits(count: int) -> Iterator[Samples]:
    """Commits of SCANS x SIGNALS samples; Signal i has number i + 1."""
    plant, numbers = Plant(), np.tile(np.arange(1, SIGNALS + 1, dtype=np.int32), SCANS)
    good = np.zeros(SCANS * SIGNALS, np.int32)
    for commit in range(count):
        times = T_US + (commit * SCANS + np.arange(SCANS)) * TICK_US
        yield Samples(numbers, np.repeat(times, SIGNALS), plant.scans(commit).ravel(), good)


def ours(folder: Path, count: int, exact: bool = False) -> dict[str, float]:
    """Write commits; the time is that of commits and folds, to the end of the last."""
    hot = Hot(folder)
    hot.declare(signals(exact))
    for samples in commits(3):  # compiles
        hot.commit(replace(samples, times=samples.times - 86_400_000_000))
    hot.fold()
    spent, slowest, written = 0.0, 0.0, 0
    for samples in commits(count):
        begin = time.perf_counter()
        hot.commit(samples)
        done = time.perf_counter()
        if hot.due:
            hot.fold()
        spent += time.perf_counter() - begin
        slowest, written = max(slowest, done - begin), written + len(samples)
    size = hot.size().hot
    hot.close()
    with contextlib.closing(sqlite3.connect(folder / "hot.sqlite")) as file:
        kept, seen = file.execute("SELECT sum(count), count(*) FROM blocks").fetchone()
    folded = sum(path.stat().st_size for path in folder.glob("hot.sqlite*"))
    return {
        "samples/s": written / spent,
        "bytes per sample": size / written,
        "bytes per sample when closed": folded / written,
        "kept share": kept / written,
        "blocks": seen,
        "slowest commit s": slowest,
    }


def sqlite_rows(path: Path, count: int) -> dict[str, float]:
    """A row for each sample."""
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("PRAGMA journal_mode=WAL")
    file.execute("PRAGMA synchronous=FULL")
    table = "CREATE TABLE samples (signal INTEGER, time INTEGER, value, quality INTEGER, PRIMARY KEY (signal, time)) WITHOUT ROWID"
    file.execute(table)
    spent, written = 0.0, 0
    for samples in commits(count):
        values = [w if n > 400 else v for n, w, v in zip(
            samples.numbers.tolist(), samples.words.tolist(), samples.words.view(np.float64).tolist(), strict=True
        )]  # fmt: skip
        rows = list(zip(samples.numbers.tolist(), samples.times.tolist(), values, samples.beliefs.tolist(), strict=True))
        begin = time.perf_counter()
        file.execute("BEGIN IMMEDIATE")
        file.executemany("INSERT INTO samples VALUES (?, ?, ?, ?)", rows)
        file.execute("COMMIT")
        spent += time.perf_counter() - begin
        written += len(rows)
    size = sum(one.stat().st_size for one in path.parent.glob(path.name + "*"))
    file.close()
    return {"samples/s": written / spent, "bytes per sample": size / written}


def parquet(path: Path, count: int) -> dict[str, float]:
    """All at once, as DuckDB writes it."""
    portions = list(commits(count))
    words = np.concatenate([one.words for one in portions])
    numbers = np.concatenate([one.numbers for one in portions])
    columns = {
        "signal": numbers,
        "time": np.concatenate([one.times for one in portions]),
        "value": np.where(numbers > 400, words.astype(np.float64), words.view(np.float64)),
        "quality": np.concatenate([one.beliefs for one in portions]).astype(np.uint8),
    }
    database = duckdb.connect()
    database.execute("SET threads = 1")
    begin = time.perf_counter()
    database.register("samples", columns)
    database.execute(f"COPY (SELECT * FROM samples ORDER BY signal, time) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    spent = time.perf_counter() - begin
    database.close()
    return {"samples/s": len(words) / spent, "bytes per sample": path.stat().st_size / len(words)}


def long_run(folder: Path) -> Hot:
    """A million samples of one Signal with a bound and of one without, ten a second."""
    hot = Hot(folder)
    numbers = hot.declare([Kept("bounded", float, bound=0.05), Kept("exact", float)])
    rng, times = np.random.default_rng(2), T_US + np.arange(1_000_000) * TICK_US
    for kept, number in numbers.items():
        values = 60 + 20 * np.sin((times - T_US) / 6e8) + rng.normal(0, 0.02, len(times))
        for start in range(0, len(times), 100_000):
            part = slice(start, start + 100_000)
            n = np.full(100_000, number, np.int32)
            hot.commit(Samples(n, times[part], values[part].view(np.int64), np.zeros(100_000, np.int32)))
            if start == 800_000 and kept == "exact":
                hot.fold()  # the last tenth of it stays in the journal
    return hot


def timed(ask: Callable[[], Any], times: int = 15) -> float:
    """The median of some, after one that warms up."""
    ask()
    gc.collect()
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        ask()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def reads(door: Door, end_ns: int, hour_ns: int) -> dict[str, float]:
    """An hour of 36,000 samples, and 28 hours of a million in windows of an hour and of a minute."""
    found = {}
    for path, suffix in (("exact", ""), ("bounded", " with a bound")):
        found[f"hour{suffix} s"] = timed(lambda: door.raw(path, hour_ns, hour_ns + 3600 * 10**9))  # noqa: B023
        for every, told in ((3600, ""), (60, " by minutes")):
            ask = lambda: door.aggregate(path, T_US * 1000, end_ns, every * 10**9)  # noqa: B023, E731
            found[f"aggregate{told}{suffix} s"] = timed(ask)
    return found


def peer_reads(folder: Path, door: Door, hour_ns: int) -> dict[str, float]:
    """The same questions to a SQLite table and a Parquet file with a row for each sample."""
    series = door.raw("exact", 0, 2**62)
    path = folder / "peer.parquet"
    database = duckdb.connect()
    database.execute("SET threads = 1")
    database.register("samples", {"time": series.times // 1000, "value": series.values})
    database.execute(f"COPY samples TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    file = sqlite3.connect(":memory:")
    file.execute("CREATE TABLE samples (time INTEGER PRIMARY KEY, value REAL)")
    file.executemany("INSERT INTO samples VALUES (?, ?)", zip((series.times // 1000).tolist(), series.values.tolist(), strict=True))
    span = f"time >= {hour_ns // 1000} AND time < {hour_ns // 1000 + 3_600_000_000}"
    by_hour = "SELECT time / 3600000000, avg(value), min(value), max(value), count(*) FROM {} GROUP BY 1"
    parquet_file = f"read_parquet('{path}')"
    return {
        "SQLite rows: hour s": timed(lambda: np.array(file.execute(f"SELECT * FROM samples WHERE {span}").fetchall()), 3),
        "SQLite rows: aggregate s": timed(lambda: file.execute(by_hour.format("samples")).fetchall(), 3),
        "Parquet, DuckDB: hour s": timed(lambda: database.execute(f"SELECT * FROM {parquet_file} WHERE {span}").fetchnumpy()),
        "Parquet, DuckDB: aggregate s": timed(
            lambda: database.execute(by_hour.format(parquet_file).replace(" / ", " // ")).fetchall()
        ),
    }


def write(share: float = 1.0) -> dict[str, Any]:
    """The row "history write".

    Args:
        share: of an hour, for those who only try whether it works.
    """
    count = max(20, round(HOUR * share))
    few = max(5, count // 6)
    with tempfile.TemporaryDirectory(prefix="lockstep-history-") as name:
        folder = Path(name)
        found: dict[str, Any] = ours(folder / "ours", count)
        found["exact"] = ours(folder / "exact", few, exact=True)
        found["SQLite rows"] = sqlite_rows(folder / "rows.sqlite", few // 2)
        found["Parquet, DuckDB"] = parquet(folder / "all.parquet", few)
    return found


def read() -> dict[str, Any]:
    """The row "history read": of a Signal of which every sample is kept, bit by bit; beside it one with a bound, and both cold."""
    with tempfile.TemporaryDirectory(prefix="lockstep-history-") as name:
        folder = Path(name)
        hot = long_run(folder / "long")
        door = Door(folder / "long")
        end_ns, hour_ns = (T_US + 1_000_000 * TICK_US) * 1000, (T_US + 20 * 3600 * 1_000_000) * 1000
        found: dict[str, Any] = reads(door, end_ns, hour_ns) | peer_reads(folder, door, hour_ns)
        hot.fold()
        cool(hot, end_ns + 10**9)
        found["cold"] = reads(door, end_ns, hour_ns)
        door.close()
        hot.close()
    return found


ROWS = {"history write": write, "history read": read}
