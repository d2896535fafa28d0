"""What is old goes into Parquet segments: open files that anybody can read, zstd, sorted by Signal and time.

A segment is written beside, read back and compared, synced and renamed; then one transaction enters it in the catalogue and deletes
the blocks whose samples it holds. So before that transaction the blocks count and the file is nobody's, after it the file
counts: a crash between any two steps loses nothing and doubles nothing. Files that nobody has entered go at the next `settle`.
"""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controller.history.block import HEAD, decode
from controller.history.hot import Hot
from controller.history.kept import QUALITIES, HistoryError, HistoryFull, Kept, micros
from controller.history.squeeze import Sequence
from controller.history.tables import COLD, NO_ROOM, failed

DAY_US = 86_400_000_000
MOST_ROWS = 4_000_000
"""One segment holds no more samples than this and one block."""
ROW_GROUP = 40_960  # rows that are read together
SETTINGS = "SET threads = 2; SET preserve_insertion_order = true"

Step = Callable[[str], None]


def duckdb() -> Any:
    """DuckDB, loaded only where there is a segment to write or to read.

    Raises:
        HistoryError: it is not installed.
    """
    try:
        return importlib.import_module("duckdb")
    except ModuleNotFoundError:
        raise HistoryError("segments of History need DuckDB: pip install 'lockstep-factory[history]'") from None


def quoted(text: object) -> str:
    """A text in SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def settle(hot: Hot) -> int:
    """Delete the files that a crash has left and nobody has entered; how many."""
    with hot.transaction() as file:
        entered = {name for (name,) in file.execute("SELECT file FROM segments")}
        strays = [path for path in (hot.folder / COLD).iterdir() if path.name not in entered]
        for path in strays:
            path.unlink()
    return len(strays)


def cool(hot: Hot, before_ns: int, step: Step = lambda _: None) -> int:
    """Move blocks and Events that end before a time into segments, a day in each; how many segments were made.

    Args:
        step: told what has just been done; tests end the process there.

    Raises:
        HistoryFull, HistoryError: nothing is lost; DuckDB is not installed.
    """
    if hot.folding:  # a block that is being filled would be there twice
        raise HistoryFull(f"{hot.folder}: what is being folded has no room yet")
    settle(hot)
    made = 0
    for day, most in _days(hot, micros(before_ns)):
        for rows in _portions(hot, day, most):
            _cool_blocks(hot, rows, step)
            made += 1
    return made + _cool_events(hot, before_ns, step)


# ---- samples


@dataclass(frozen=True, slots=True)
class _Part:
    """A block on its way into a segment."""

    row: int
    signal: int
    lines: int
    head: bytes
    sequence: Sequence


def _days(hot: Hot, before: int) -> Iterator[tuple[int, int]]:
    """For each day that has blocks to move: when it begins, and before when its blocks end."""
    with hot.transaction() as file:
        query = "SELECT DISTINCT last_us / ? FROM blocks WHERE last_us < ? ORDER BY 1"
        days = [day for (day,) in file.execute(query, (DAY_US, before))]
    for day in days:
        yield day * DAY_US, min(before, (day + 1) * DAY_US)


def _portions(hot: Hot, begin: int, end: int) -> Iterator[list[int]]:
    """The rows of a day's blocks, as many as one segment takes."""
    with hot.transaction() as file:
        query = "SELECT id, count FROM blocks WHERE last_us >= ? AND last_us < ? ORDER BY signal, last_us, id"
        found = file.execute(query, (begin, end)).fetchall()
    rows: list[int] = []
    count = 0
    for row, samples in found:
        rows.append(row)
        count += samples
        if count >= MOST_ROWS:
            yield rows
            rows, count = [], 0
    if rows:
        yield rows


def _cool_blocks(hot: Hot, rows: list[int], step: Step) -> None:
    parts = list(_parts(hot, rows))
    if not parts:
        return
    columns = _columns(hot, parts)
    with hot.transaction() as file:
        (number,) = file.execute("SELECT coalesce(max(number), 0) + 1 FROM segments").fetchone()
    times = columns["time"]
    path = hot.folder / COLD / f"samples-{number:06d}.parquet"
    _write(path, columns, "signal, path, make_timestamp(time) AS time, value, whole, text, quality, cause, belief, rule", step)
    with hot.transaction() as file:
        cells = (number, "samples", path.name, int(times.min()), int(times.max()), len(times), path.stat().st_size)
        file.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", cells)
        numbers, begins = np.unique(columns["signal"], return_index=True)
        heads: dict[int, bytes] = {}
        for part in parts:
            heads[part.signal] = heads.get(part.signal, b"") + part.head
        for i, at in enumerate(begins.tolist()):
            end = int(begins[i + 1]) if i + 1 < len(begins) else len(times)
            signal = int(numbers[i])
            cells_of = (signal, int(times[end - 1]), number, int(times[at]), end - at)
            file.execute("INSERT INTO contents VALUES (?, ?, ?, ?, ?)", cells_of)
            file.execute("INSERT INTO heads VALUES (?, ?, ?, ?)", (signal, number, at, heads[signal]))
        step("entered")
        file.executemany("DELETE FROM blocks WHERE id=?", [(part.row,) for part in parts])
    step("committed")


def _parts(hot: Hot, rows: list[int]) -> Iterator[_Part]:
    """The blocks' samples in the order of Signal and time; a damaged block stays where it is."""
    for row in rows:
        with hot.transaction() as file:
            signal, head, body = file.execute("SELECT signal, head, body FROM blocks WHERE id=?", (row,)).fetchone()
        with contextlib.suppress(HistoryError):
            yield _Part(row, signal, int(np.frombuffer(head, HEAD)[0]["rule"]), head, decode(head, body))


def _columns(hot: Hot, parts: list[_Part]) -> dict[str, "np.ndarray"]:
    counts = [len(part.sequence) for part in parts]
    words = np.concatenate([part.sequence.words for part in parts])
    beliefs = np.concatenate([part.sequence.beliefs for part in parts])
    numbers = np.repeat(np.array([part.signal for part in parts], np.int32), counts)
    kinds = np.repeat(np.array([_kind(hot.kept[part.signal]) for part in parts], np.uint8), counts)
    valued = (beliefs & 3) != 3
    return {
        "signal": numbers,
        "path": _looked_up(numbers, {number: kept.path for number, kept in hot.kept.items()}),
        "time": np.concatenate([part.sequence.times for part in parts]),
        "value": np.ma.masked_array(words.view(np.float64), (kinds != 0) | ~valued),
        "whole": np.ma.masked_array(words, (kinds != 1) | ~valued),
        "text": _looked_up(np.where((kinds == 2) & valued, words, 0), hot.names.texts),
        "quality": np.array(QUALITIES, object)[beliefs & 3],
        "cause": _looked_up(beliefs >> 2, hot.names.causes),
        "belief": beliefs,
        "rule": np.repeat(np.array([part.lines for part in parts], np.uint8), counts),
    }


def _kind(kept: Kept) -> int:
    return 0 if kept.type is float else 2 if kept.type is str else 1


def _looked_up(numbers: "np.ndarray", names: dict[int, str]) -> "np.ndarray":
    found, where = np.unique(numbers, return_inverse=True)
    return np.array([names.get(number) for number in found.tolist()], object)[where]


# ---- events


def _cool_events(hot: Hot, before_ns: int, step: Step) -> int:
    query = "SELECT id, utc_ns, kind, subject, fields FROM events WHERE utc_ns < ? ORDER BY utc_ns, id"
    with hot.transaction() as file:
        found = file.execute(query, (before_ns,)).fetchall()
        (number,) = file.execute("SELECT coalesce(max(number), 0) + 1 FROM segments").fetchone()
    if not found:
        return 0
    ids, times, *texts = zip(*found, strict=True)
    columns = {"id": np.array(ids, np.int64), "utc_ns": np.array(times, np.int64)}
    columns |= {name: np.array(text, object) for name, text in zip(("kind", "subject", "fields"), texts, strict=True)}
    path = hot.folder / COLD / f"events-{number:06d}.parquet"
    _write(path, columns, "*", step)
    cells = (number, "events", path.name, times[0] // 1000, times[-1] // 1000, len(ids), path.stat().st_size)
    with hot.transaction() as file:
        file.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", cells)
        step("entered")
        file.executemany("DELETE FROM events WHERE id=?", [(row,) for row in ids])
    step("committed")
    return 1


# ---- files


def _write(path: Path, columns: dict[str, "np.ndarray"], wanted: str, step: Step) -> None:
    """Write, verify, sync and rename a file; it holds the columns' rows in their order.

    Raises:
        HistoryError: it can't be written, or what is read back is something else.
    """
    engine, beside = duckdb(), path.with_suffix(".part")
    database = engine.connect()
    with contextlib.closing(database):
        try:
            database.execute(SETTINGS)
            database.register("rows_in", columns)
            form = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}"
            database.execute(f"COPY (SELECT {wanted} FROM rows_in) TO {quoted(beside)} ({form})")
            step("written")
            _verify(database, beside, columns)
        except engine.Error as broken:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise _of_engine(path, broken) from broken
    step("verified")
    try:
        _synced(beside)
        beside.chmod(0o600)
        beside.rename(path)
        _synced(path.parent)
    except OSError as broken:
        raise failed(path, broken) from broken
    step("renamed")


def _of_engine(path: Path, broken: Exception) -> HistoryError:
    """What a failure of DuckDB means: it tells of a full disk in words alone."""
    line = str(broken).splitlines()[0]
    full = any(os.strerror(number) in str(broken) for number in NO_ROOM)
    return HistoryFull(f"{path.name}: {line}") if full else HistoryError(f"{path.name}: {line}")


def _verify(database: Any, path: Path, columns: dict[str, "np.ndarray"]) -> None:
    """Read it back and compare, row by row and bit by bit."""
    exact = [name for name, column in columns.items() if column.dtype != object]
    told = ", ".join("epoch_us(time) AS time" if name == "time" else name for name in exact)
    found = database.execute(f"SELECT {told} FROM read_parquet({quoted(path)})").fetchnumpy()
    for name in exact:
        if not _same(found[name], columns[name]):
            raise HistoryError(f"{path.name}: the column {name} is not as it was written")
    texts = [name for name in columns if name not in exact]
    told, differ = ", ".join(texts), " OR ".join(f"a.{name} IS DISTINCT FROM b.{name}" for name in texts)
    pairs = f"(SELECT {told} FROM rows_in) a POSITIONAL JOIN (SELECT {told} FROM read_parquet({quoted(path)})) b"
    ((other,),) = database.execute(f"SELECT count(*) FROM {pairs} WHERE {differ}").fetchall()
    if other:
        raise HistoryError(f"{path.name}: {other} rows of {told} are not as they were written")


def _same(found: "np.ndarray", meant: "np.ndarray") -> bool:
    gone, missing = np.ma.getmaskarray(found), np.ma.getmaskarray(meant)
    if found.shape != meant.shape or not np.array_equal(gone, missing):
        return False
    a, b = np.ma.getdata(found)[~gone], np.ma.getdata(meant)[~gone]
    return np.array_equal(a.view(np.int64), b.view(np.int64)) if a.dtype == np.float64 else bool(np.array_equal(a, b))


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

