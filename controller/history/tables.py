"""The tables of hot.sqlite, and how it is opened."""

import errno
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from controller.history.kept import TYPES, HistoryError, HistoryFull, Kept, Rule

SCHEMA = 1
FILE = "hot.sqlite"
COLD = "cold"
DAMAGED = "damaged on disk"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Connect = Callable[[Path], Any]
"""Opens a file of SQLite."""

TABLES = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('declared', 0);
CREATE TABLE signals (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, type TEXT NOT NULL, unit TEXT NOT NULL, bound REAL NOT NULL,
    rule INTEGER NOT NULL, still_ns INTEGER NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE TABLE causes (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE texts (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE journal (
    place INTEGER PRIMARY KEY, generation INTEGER NOT NULL, until_us INTEGER NOT NULL, content BLOB NOT NULL
) STRICT;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, signal INTEGER NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
    count INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX block_times ON blocks (signal, last_us, id);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, utc_ns INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, fields TEXT NOT NULL
) STRICT;
CREATE INDEX event_times ON events (utc_ns);
CREATE TABLE spans (begin_us INTEGER PRIMARY KEY, end_us INTEGER NOT NULL, cause TEXT NOT NULL) STRICT;
CREATE TABLE segments (
    number INTEGER PRIMARY KEY, what TEXT NOT NULL, file TEXT NOT NULL UNIQUE, first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE contents (
    signal INTEGER NOT NULL, last_us INTEGER NOT NULL, segment INTEGER NOT NULL, first_us INTEGER NOT NULL,
    rows INTEGER NOT NULL, PRIMARY KEY (signal, last_us, segment)
) STRICT, WITHOUT ROWID;
"""
"""counters: how often Signals were declared. spans: in which times somebody recorded; the end of the last one is old while the
journal tells more. contents: what of a Signal a segment holds."""

LATER = """
CREATE TABLE IF NOT EXISTS held (
    signal INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, word INTEGER NOT NULL, belief INTEGER NOT NULL, rule INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS heads (
    signal INTEGER NOT NULL, segment INTEGER NOT NULL, row INTEGER NOT NULL, heads BLOB NOT NULL, PRIMARY KEY (signal, segment)
) STRICT, WITHOUT ROWID;
"""
"""What a History of an older run has not. held: what a Signal was when all before it was forgotten. heads: of the blocks that
have gone into a segment, and the row of the file in which they begin."""


def on_disk(path: Path) -> sqlite3.Connection:
    """A connection of Python's own SQLite."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def opened(folder: Path, connect: Connect = on_disk) -> Any:
    """The writer's connection; the tables are made where there are none.

    Raises:
        HistoryError: it can't be opened, or another version of the software has made it.
    """
    path = folder / FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / COLD).mkdir(mode=0o700, exist_ok=True)
        file = connect(path)
        path.chmod(0o600)
        run = file.execute
        run("PRAGMA auto_vacuum=INCREMENTAL")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run(f"PRAGMA journal_size_limit={16 << 20}")
        (version,) = run("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            raise HistoryError(f"{path}: made as version {version}, this software reads version {SCHEMA}")
        if version == 0:
            _make(file, f"{TABLES} PRAGMA user_version={SCHEMA};")
        if len(file.execute("SELECT name FROM sqlite_schema WHERE name IN ('held', 'heads')").fetchall()) < 2:
            _make(file, LATER)
    except (sqlite3.Error, OSError) as broken:
        raise failed(path, broken) from broken
    return file


def _make(file: Any, statements: str) -> None:
    """All of these statements or none."""
    file.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, statements.split(";")):
        file.execute(statement)
    file.execute("COMMIT")


def failed(path: Path, broken: Exception) -> HistoryError:
    """What a failure of SQLite or of the disk means."""
    full = isinstance(broken, OSError) and broken.errno in NO_ROOM
    if isinstance(broken, sqlite3.Error):
        code = getattr(broken, "sqlite_errorcode", 0)
        full = code & 0xFF == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR_WRITE and _may_not_grow(path))
    return HistoryFull(f"{path}: {broken}") if full else HistoryError(f"{path}: {broken}")


def _may_not_grow(path: Path) -> bool:
    """Whether a quota or a limit of this process was in the way, which SQLite calls an error of the disk: a file beside says so."""
    probe, content = path.with_suffix(".probe"), bytes(65536)
    try:
        end = max(one.stat().st_size for one in path.parent.glob(path.name + "*"))
        handle = os.open(probe, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            return os.pwrite(handle, content, end) < len(content)
        finally:
            os.close(handle)
            probe.unlink()
    except OSError as broken:
        return broken.errno in NO_ROOM


def has(file: Any, table: str) -> bool:
    """Whether there is such a table; a History of an older run that nobody writes has fewer."""
    return bool(file.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)).fetchall())


def declare(file: Any, known: Mapping[int, Kept], signals: tuple[Kept, ...]) -> None:
    """Enter new Signals and changed ones. One whose type or unit has changed is another: the old one is `path~number` then."""
    numbers = {kept.path: number for number, kept in known.items()}
    for kept in signals:
        number = numbers.get(kept.path)
        before = known[number] if number is not None else None
        if before is not None and (before.type, before.unit) != (kept.type, kept.unit):
            file.execute("UPDATE signals SET path=? WHERE number=?", (f"{kept.path}~{number}", number))
            number = None
        cells = kept_row(kept)
        if number is None:
            added = file.execute("INSERT INTO signals VALUES (NULL, ?, ?, ?, ?, ?, ?, ?) RETURNING number", cells).fetchall()
            numbers[kept.path] = added[0][0]
        elif before is not None and kept_row(before) != cells:
            change = "UPDATE signals SET path=?, type=?, unit=?, bound=?, rule=?, still_ns=?, text=? WHERE number=?"
            file.execute(change, (*cells, number))
    file.execute("UPDATE counters SET value = value + 1 WHERE name = 'declared'")


def kept_row(kept: Kept) -> tuple[str, str, str, float, int, int, str]:
    """A Signal as `signals` holds it, after its number."""
    return kept.path, kept.type.__name__, kept.unit, kept.bound, int(kept.way), kept.still_ns, kept.text


def read_kept(file: sqlite3.Connection) -> dict[int, Kept]:
    """All Signals by their number."""
    rows = file.execute("SELECT number, path, type, unit, bound, rule, still_ns, text FROM signals ORDER BY number")
    return {
        number: Kept(path, TYPES[kind], unit, bound, Rule(rule), still_ns, text)
        for number, path, kind, unit, bound, rule, still_ns, text in rows
    }
