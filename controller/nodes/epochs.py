"""Epochs: each claim of a node has one of its own, above all before it, on disk before it is used."""

import os
from pathlib import Path

MOST = 0xFFFFFFFF
"""An epoch has 32 bits in a Grant."""


class EpochError(Exception):
    """The file of epochs can't be read or written: nothing can be claimed."""


class Epochs:
    """The highest epoch ever used, in a file."""

    def __init__(self, path: Path) -> None:
        """Read it; no file counts as 0.

        Raises:
            EpochError: it can't be read, or isn't a number.
        """
        self._path = path
        try:
            text = path.read_text(encoding="ascii")
            self._highest = int(text)
        except FileNotFoundError:
            self._highest = 0
        except (OSError, ValueError) as broken:
            raise EpochError(f"{path}: {broken}") from broken

    @property
    def highest(self) -> int:
        """The highest ever given out; 0 before the first."""
        return self._highest

    def next(self, above: int) -> int:
        """A fresh epoch above all used before and above `above`; on return it is safe from a power cut.

        Raises:
            EpochError: it is not, or there is none above.
        """
        made = max(self._highest, above) + 1
        if made > MOST:
            raise EpochError(f"epoch {made} is beyond {MOST}: a node, or {self._path}, tells {made - 1}")
        try:
            write_durably(self._path, f"{made}\n")
        except OSError as failed:
            raise EpochError(f"{self._path}: {failed}") from failed
        self._highest = made
        return made


def write_durably(path: Path, text: str) -> None:
    """Replace a file's content: afterwards, whatever happens, it is the old one or the new one, and once this returns the new one.

    Raises:
        OSError: the disk refuses.
    """
    fresh = path.with_name(path.name + ".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
