"""A disk in a test's hands, below SQLite: every write and sync of the book's own statements is recorded, and may fail.

The book runs on apsw's SQLite with this shim as its file system. From the recording, what a power cut leaves is built: what was
synced is there, of what was not anything may be: nothing, all, some of it, torn at 512 bytes, rubbish, or the later without the
earlier. A sync is a barrier for its own file alone; names of files are on the disk at once.
"""

import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512
MODES = ("none", "all", "subset", "tear", "garble", "reordered")
CHECKPOINT_PAGES = 24
"""So that a short story comes by checkpoints; the book itself leaves that at SQLite's 1000."""


@dataclass(frozen=True)
class Op:
    """One thing that reached the disk: write, truncate, delete, sync, failed (a sync that was refused), rename or ack."""

    kind: str
    name: str = ""
    at: int = 0
    data: bytes = b""
    what: Any = None


@dataclass
class Disk:
    """What has reached it, in order; and from which op on it fails.

    Attributes:
        fails_at: number of the op (writes, truncates and syncs are counted) that is refused; None for none.
        lasts: how many ops after it are refused as well.
        full: it is refused because there is no room; else because of an error.
    """

    ops: list[Op] = field(default_factory=list)
    fails_at: int | None = None
    lasts: int = 1
    full: bool = False
    count: int = 0
    failed: int = 0
    syncs: list[int] = field(default_factory=list)

    def ask(self, sync: bool) -> None:
        """One op more.

        Raises:
            apsw.FullError, apsw.IOError: it is refused. A sync has no use for room.
        """
        number, self.count = self.count, self.count + 1
        if sync:
            self.syncs.append(number)
        if self.fails_at is not None and self.fails_at <= number < self.fails_at + self.lasts:
            if self.full and not sync:
                self.failed += 1
                raise apsw.FullError("no room")
            if not self.full:
                self.failed += 1
                raise apsw.IOError("no disk")

    def ack(self, what: Any) -> None:
        """Somebody was told that this is safe."""
        self.ops.append(Op("ack", what=what))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, base: str, name: Any, flags: list[int]) -> None:
        super().__init__(base, name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._disk, self._name = disk, Path(path).name if path else ""

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.ask(sync=False)
        super().xWrite(data, offset)
        self._disk.ops.append(Op("write", self._name, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        self._disk.ask(sync=False)
        super().xTruncate(size)
        self._disk.ops.append(Op("truncate", self._name, size))

    def xSync(self, flags: int) -> None:
        try:
            self._disk.ask(sync=True)
        except apsw.IOError:
            self._disk.ops.append(Op("failed", self._name))
            raise
        self._disk.ops.append(Op("sync", self._name))


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        super().__init__(name, "unix")

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        return _File(self._disk, "unix", name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        super().xDelete(name, sync)
        self._disk.ops.append(Op("delete", Path(name).name))


class Connection:
    """Apsw as the book wants a connection: its own statements, sqlite3's errors."""

    def __init__(self, path: Path, vfs: str, synchronous: str) -> None:
        self._synchronous = synchronous
        try:
            self._connection = apsw.Connection(str(path), vfs=vfs)
        except apsw.Error as broken:
            raise _told(broken) from broken
        self.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        if statement == "PRAGMA synchronous=FULL":
            statement = f"PRAGMA synchronous={self._synchronous}"
        try:
            return _Rows(self._connection.execute(statement, tuple(values)).fetchall())
        except apsw.Error as broken:
            raise _told(broken) from broken

    def close(self) -> None:
        try:
            self._connection.close()
        except apsw.Error as broken:
            raise _told(broken) from broken


class _Rows(list[Any]):
    def fetchall(self) -> list[Any]:
        return self


def _told(broken: apsw.Error) -> sqlite3.Error:
    error = sqlite3.OperationalError(str(broken))
    error.sqlite_errorcode = sqlite3.SQLITE_FULL if isinstance(broken, apsw.FullError) else sqlite3.SQLITE_IOERR
    return error


class Shim:
    """A disk under the book for as long as it is held: `connect` is what the book takes."""

    def __init__(self, disk: Disk, synchronous: str = "FULL") -> None:
        self._name = f"shim-{id(disk)}"
        self._vfs = _Vfs(disk, self._name)
        self._synchronous = synchronous

    def connect(self, path: Path) -> Connection:
        return Connection(path, self._name, self._synchronous)

    def close(self) -> None:
        self._vfs.unregister()


# ---- what a power cut leaves


class Replay:
    """The disk after each op of a recording: what is surely on it, and what of each file is still on its way."""

    def __init__(self) -> None:
        self.durable: dict[str, bytearray] = {}
        self.pending: dict[str, list[Op]] = {}

    def step(self, op: Op) -> None:
        """One op more."""
        if op.kind in ("write", "truncate"):
            self.durable.setdefault(op.name, bytearray())
            self.pending.setdefault(op.name, []).append(op)
        elif op.kind == "sync":
            content = self.durable.setdefault(op.name, bytearray())
            for one in self.pending.pop(op.name, ()):
                _apply(content, one)
        elif op.kind == "failed":
            self.pending.pop(op.name, None)  # the kernel has dropped them, and takes its pages for clean
        elif op.kind == "delete":
            self.durable.pop(op.name, None)
            self.pending.pop(op.name, None)
        elif op.kind == "rename":
            self.durable[op.what] = self.durable.pop(op.name)
            self.pending[op.what] = self.pending.pop(op.name, [])

    @property
    def waits(self) -> bool:
        """Whether anything is still on its way, so that cuts differ."""
        return any(self.pending.values())

    def image(self, mode: str, chance: random.Random) -> dict[str, bytes]:
        """What a power cut now leaves of each file."""
        made = {}
        for name, content in self.durable.items():
            copy = bytearray(content)
            for op in _survives(self.pending.get(name, []), mode, chance):
                _apply(copy, op)
            made[name] = bytes(copy)
        return made


def _survives(pending: list[Op], mode: str, chance: random.Random) -> Iterator[Op]:
    match mode:
        case "all":
            yield from pending
        case "subset":
            yield from (op for op in pending if chance.random() < 0.5)
        case "reordered":
            first = chance.randrange(len(pending)) if pending else 0
            late = pending[first:]
            yield from chance.sample(late, len(late))
        case "tear" | "garble":
            last = chance.randrange(len(pending)) if pending else 0
            for number, op in enumerate(pending[: last + 1]):
                yield from (op,) if number < last or op.kind != "write" else _sectors(op, mode, chance)
        case _:
            return


def _sectors(op: Op, mode: str, chance: random.Random) -> Iterator[Op]:
    for at in range(0, len(op.data), SECTOR):
        piece = op.data[at : at + SECTOR]
        if chance.random() < 0.5:
            yield Op("write", op.name, op.at + at, piece)
        elif mode == "garble":
            yield Op("write", op.name, op.at + at, chance.randbytes(len(piece)))


def _apply(content: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del content[op.at :]
        content.extend(bytes(op.at - len(content)))
        return
    if len(content) < op.at:
        content.extend(bytes(op.at - len(content)))
    content[op.at : op.at + len(op.data)] = op.data


def cuts(ops: Sequence[Op]) -> Iterator[tuple[Replay, list[Any]]]:
    """After each op of a recording: the disk, and all that had been acknowledged by then."""
    replay, acknowledged = Replay(), []
    for op in ops:
        if op.kind == "ack":
            acknowledged.append(op.what)
        else:
            replay.step(op)
            yield replay, acknowledged

