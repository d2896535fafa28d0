"""Programs that can be made: text files in one folder, asked for by name and never by path."""

import os
import re
import stat
from pathlib import Path

from controller.orders.order import OrderError, Why

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)
MOST_BYTES = 64 * 1024 * 1024


def check_name(name: object) -> str:
    """A program's name.

    Raises:
        OrderError: not a name: made of other letters, a path, too long, or hidden.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise OrderError(f"{name!r} is no program's name: letters, digits, dot, dash and underscore, no path", Why.ARGUMENT)
    return name


def names(folder: Path) -> tuple[str, ...]:
    """The programs that there are, sorted."""
    try:
        return tuple(sorted(entry.name for entry in os.scandir(folder) if _usable(entry)))
    except FileNotFoundError:
        return ()


def _usable(entry: "os.DirEntry[str]") -> bool:
    return bool(NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)


def check(folder: Path, name: object) -> str:
    """The name of a program that can be read.

    Raises:
        OrderError: no name, no such program, not a plain file, or too large.
    """
    found = check_name(name)
    try:
        about = os.stat(folder / found, follow_symlinks=False)
    except OSError as missing:
        there = names(folder)
        known = ", ".join(there[:20]) + (", …" if len(there) > 20 else "")
        raise OrderError(f"no program {found!r}: {missing.strerror}; there are: {known or 'none'}", Why.MISSING) from missing
    _check_file(found, about)
    return found


def _check_file(name: str, about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise OrderError(f"program {name!r} is not a plain file")
    if about.st_size > MOST_BYTES:
        raise OrderError(f"program {name!r} has {about.st_size} bytes, at most {MOST_BYTES}")


def read(folder: Path, name: str) -> str:
    """A program's text.

    Raises:
        OrderError: as `check`, or it is not UTF-8.
    """
    check_name(name)
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as missing:
        raise OrderError(f"program {name!r} can't be read: {missing.strerror}") from missing
    try:
        _check_file(name, os.fstat(handle))
        with open(handle, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    finally:
        os.close(handle)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise OrderError(f"program {name!r} is not UTF-8 text: byte {wrong.start}") from wrong
