"""The files that a book has been in: it moves into a new one when the disk has failed under it. No other file is touched."""

import contextlib
import re
from pathlib import Path


def moves(base: Path, path: Path) -> int:
    """How often a book had moved when it came into a file; -1 where the name is none that a book gives."""
    if path.name == base.name:
        return 0
    told = re.fullmatch(re.escape(base.name) + r"\.moved-([1-9][0-9]{0,8})", path.name)
    return -1 if told is None else int(told[1])


def newest(base: Path) -> Path:
    """The file that the book is in now, where it was told to be at `base`."""
    return _generations(base)[-1]


def forget_older(base: Path, but: Path) -> None:
    """Delete the files that the book has left."""
    for path in _generations(base):
        if path != but:
            for name in (path.name, path.name + "-wal", path.name + "-shm"):
                with contextlib.suppress(OSError):
                    path.with_name(name).unlink(missing_ok=True)


def _generations(base: Path) -> list[Path]:
    found = {moves(base, path): path for path in base.parent.glob(f"{base.name}.moved-*")}
    return [base, *(found[number] for number in sorted(found) if number > 0)]
