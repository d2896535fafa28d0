"""Where audit logs lie: STATE/audit/WRITER-00000001.log and so on, their key, and in a second place each chain's heads."""

import contextlib
import fcntl
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from controller.audit.chain import ChainError, Line, read, seal, unseal

KEY_SIZE: Final = 32
CONSOLE: Final = "console"
"""Who writes what is done on the command line."""
NAME: Final = re.compile(r"([a-z]+)-(\d{8})\.log")
LONGEST_LINE: Final = 64 * 1024


class AuditError(Exception):
    """The audit log cannot be written or read, and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """One writer's chain.

    Attributes:
        folder: STATE/audit.
        writer: who writes; each writer has a chain of its own.
    """

    folder: Path
    writer: str

    @property
    def heads(self) -> Path:
        """The file of heads: beside the log's folder, to be kept apart from it."""
        return self.folder.parent / "audit-heads" / f"{self.writer}.heads"

    def file(self, number: int) -> Path:
        """A file of the chain."""
        return self.folder / f"{self.writer}-{number:08}.log"

    def numbers(self) -> list[int]:
        """The numbers of the files there are, in order."""
        found = (NAME.fullmatch(path.name) for path in self.folder.iterdir()) if self.folder.is_dir() else ()
        return sorted(int(match[2]) for match in found if match is not None and match[1] == self.writer)


def writers(folder: Path) -> list[str]:
    """Who has written in a folder, or has a head there."""
    found = (NAME.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    heads = folder.parent / "audit-heads"
    named = {path.stem for path in heads.iterdir() if path.suffix == ".heads"} if heads.is_dir() else set()
    return sorted(named | {match[1] for match in found if match is not None})


def key_of(folder: Path, make: bool = False) -> bytes:
    """The key of the chains of a folder.

    Args:
        make: make one where there is none.

    Raises:
        AuditError: there is none, it is not a key, or others may read it.
        OSError: none can be made.
    """
    path = folder / "key"
    if make and not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_key(path)
    try:
        if path.stat().st_mode & 0o077:
            raise AuditError(f"{path} can be read by others: chmod 600 it")
        key = path.read_bytes()
    except OSError as unusable:
        raise AuditError(f"{path}: {unusable.strerror}") from unusable
    if len(key) != KEY_SIZE:
        raise AuditError(f"{path} has {len(key)} bytes, a key has {KEY_SIZE}")
    return key


def _make_key(path: Path) -> None:
    """Whole or not at all, and of several who make one at a time the first."""
    fresh = path.with_name(f"key.{secrets.token_hex(8)}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_SIZE))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def lock(place: Place) -> int:
    """Be the one who writes a chain: a file descriptor, to be closed when no longer.

    Raises:
        AuditError: another one writes it.
        OSError: the folder cannot be written.
    """
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.heads.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(place.folder / f"{place.writer}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as taken:
        os.close(handle)
        raise AuditError(f"{place.folder}: another one writes the audit log of {place.writer}") from taken
    return handle


def create(path: Path) -> int:
    """A new file to append to, which is there after a power cut: its descriptor."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        sync_folder(path.parent)
    except OSError:
        os.close(handle)
        raise
    return handle


def write_whole(handle: int, content: bytes) -> None:
    """Write all of it and wait until it is on disk."""
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
    os.fsync(handle)


def shorten(path: Path, size: int) -> None:
    """Cut off what is behind a size, and wait until that is on disk."""
    if path.stat().st_size > size:
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def last_line(path: Path, key: bytes) -> tuple[Line | None, int]:
    """The last whole record of a file, and how many bytes of an unfinished one come behind it.

    Raises:
        ChainError: the last whole line is none of the chain's.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * LONGEST_LINE))
        tail = file.read()
    whole, newline, rest = tail.rpartition(b"\n")
    if not newline:
        return None, size
    return read(whole.rpartition(b"\n")[2], key), len(rest)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain was at a time."""

    writer: str
    file: int
    number: int
    utc_ns: int
    head: str


def lay_head(head: Head, previous: str, key: bytes) -> tuple[bytes, str]:
    """A head's line and its hash."""
    return seal({**asdict(head), "previous": previous}, key)


def read_head(line: bytes, key: bytes) -> tuple[Head, str, str]:
    """A head, the hash before it, and its own.

    Raises:
        ChainError: its hash is not the one of what it says.
    """
    content, digest = unseal(line, key)
    previous = content.pop("previous", "")
    if content.keys() != {"writer", "file", "number", "utc_ns", "head"}:
        raise ChainError("it is no head")
    return Head(**content), previous, digest
