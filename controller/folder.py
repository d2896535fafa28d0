"""The state directory of a core: one process at a time has it, and says by it who it is."""

import contextlib
import fcntl
import os
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path

from controller.nodes.epochs import write_durably


class CoreError(Exception):
    """The core can't run here, and why."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """A state directory that is this process's alone.

    Raises:
        CoreError: it can't be made or belongs to somebody else, or another core runs in it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        (folder / "programs").mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as unusable:
        raise CoreError(f"{folder}: {unusable.strerror}") from unusable
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as taken:
        os.close(lock)
        raise CoreError(f"{folder}: another core runs here") from taken
    try:
        yield
    finally:
        os.close(lock)


def owner_of(folder: Path, seed: int | None, highest: int = 0) -> int:
    """Who this core is in a Grant: the lower half is the state directory's, the upper half this run's alone.

    So two cores on copies of one directory are two owners, and a node that is claimed by both under one epoch has one of them.

    Args:
        highest: the highest epoch given out so far: with a seed it tells the runs apart.

    Raises:
        CoreError: the file can't be written or is no number.
    """
    path = folder / "owner"
    try:
        if not path.exists():
            write_durably(path, f"{(secrets.randbits(32) if seed is None else seed) or 1}\n")
        run = secrets.randbits(16) if seed is None else zlib.crc32(f"{seed} {highest}".encode()) >> 16
        return run << 16 | (int(path.read_text(encoding="ascii")) & 0xFFFF or 1)
    except (OSError, ValueError) as broken:
        raise CoreError(f"{path}: {broken}") from broken
