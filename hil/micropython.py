"""The MicroPython VM: found, or fetched. `python -m hil.micropython` prints the command that starts it.

Looked for in this order: what LOCKSTEP_MICROPYTHON names; `micropython` on PATH, if new enough; the private copy in the
user's cache; else a private copy is fetched from the system's own archive (see `hil.debian`).
"""

import functools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

from hil import debian

NEEDED = (1, 25)
ANSWER_TIMEOUT_S = 20.0
NAMED_BY = "LOCKSTEP_MICROPYTHON"
PACKAGE = "micropython"
NARROW = {"x86_64": "i386"}
REMEDY = f"install MicroPython >= {NEEDED[0]}.{NEEDED[1]} (unix port) on PATH, or name one in {NAMED_BY}"


class MicroPythonError(Exception):
    """There is no usable VM; one line says why and what to do."""


def command() -> list[str]:
    """The start of a command line that runs the VM, fetched first where there is none.

    Address randomisation is off where the system lets us: the order of a dict or set keyed by identity follows
    addresses, and two runs of the same firmware are to agree.

    Raises:
        MicroPythonError: there is none and none can be fetched, or the one that is named does not do.
    """
    argv = _locate()
    return [*_fixed_addresses(), *argv]


def narrow() -> list[str]:
    """The start of a command line that runs a VM whose words have 32 bits, as a board's: what it holds takes as much memory there.

    It is fetched as the other is, for the system's smaller brother; only x86 has one whose programs it runs.

    Raises:
        MicroPythonError: it cannot be had, or does not run here.
    """
    brother = NARROW.get(platform.machine())
    if brother is None:
        raise MicroPythonError(f"no VM of 32 bits: {platform.machine()} runs none of Debian's")
    try:
        if not debian.unpacked(PACKAGE, brother).is_dir():
            debian.unpack(PACKAGE, brother)
        argv = debian.command(PACKAGE, brother)
    except debian.PackageError as error:
        raise MicroPythonError(f"no VM of 32 bits: {error}") from error
    version(argv)
    return [*_fixed_addresses(), *argv]


def _locate() -> list[str]:
    named = os.environ.get(NAMED_BY)
    if named:
        return _named(named)
    on_path = shutil.which(PACKAGE)
    if on_path is not None and _new_enough([on_path]):
        return [on_path]
    return _cached() or fetch()


def _cached() -> list[str]:
    """The private copy, or nothing where it is missing or does not work."""
    try:
        argv = debian.command(PACKAGE)
    except debian.PackageError:
        return []
    return argv if _new_enough(argv) else []


def _named(named: str) -> list[str]:
    """What the user named: a program, or a program with arguments."""
    try:
        argv = [named] if Path(named).is_file() else shlex.split(named)
    except ValueError as error:
        raise MicroPythonError(f"{NAMED_BY}={named!r}: {error}") from None
    if not argv:
        raise MicroPythonError(f"{NAMED_BY} is blank: unset it, or name a MicroPython >= {_text(NEEDED)}")
    try:
        found = version(argv)
    except MicroPythonError as error:
        raise MicroPythonError(f"{NAMED_BY}={named!r}: {error}") from None
    if found < NEEDED:
        raise MicroPythonError(f"{NAMED_BY}={named!r} is version {_text(found)}; it takes >= {_text(NEEDED)}")
    return argv


def fetch() -> list[str]:
    """Put a private copy into the user's cache, unless one that works is there, and return its command.

    Raises:
        MicroPythonError: it cannot be had here, or what was fetched does not run.
    """
    if cached := _cached():
        return cached
    shutil.rmtree(debian.unpacked(PACKAGE), ignore_errors=True)
    try:
        debian.unpack(PACKAGE)
        argv = debian.command(PACKAGE)
    except debian.PackageError as error:
        raise MicroPythonError(f"no MicroPython VM: {error}; {REMEDY}") from error
    found = version(argv)
    if found < NEEDED:
        raise MicroPythonError(f"no MicroPython VM: the archive has only {_text(found)}; {REMEDY}")
    return argv


def version(argv: list[str]) -> tuple[int, int, int]:
    """What the VM says of itself.

    Raises:
        MicroPythonError: it does not start, does not answer, or is not MicroPython.
    """
    return _version(tuple(argv))


@functools.cache
def _version(argv: tuple[str, ...]) -> tuple[int, int, int]:
    question = [*argv, "-c", "import sys; print(sys.implementation[:2])"]
    try:
        done = subprocess.run(
            question, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_TIMEOUT_S, check=False, text=True
        )
    except OSError as error:
        raise MicroPythonError(f"{argv[0]} does not start: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise MicroPythonError(f"{argv[0]} did not tell its version within {ANSWER_TIMEOUT_S:.0f} s") from None
    answer = re.search(r"'micropython', \((\d+), (\d+), (\d+)", done.stdout)
    if answer is None:
        raise MicroPythonError(f"{argv[0]} does not answer as MicroPython does")
    major, minor, micro = (int(part) for part in answer.groups())
    return major, minor, micro


def _new_enough(argv: list[str]) -> bool:
    try:
        return version(argv) >= NEEDED
    except MicroPythonError:
        return False


@functools.cache
def _fixed_addresses() -> tuple[str, ...]:
    argv = ("setarch", platform.machine(), "--addr-no-randomize")
    try:
        allowed = subprocess.run([*argv, "true"], capture_output=True, timeout=ANSWER_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        allowed = None
    if allowed is not None and allowed.returncode == 0:
        return argv
    warnings.warn(
        "address randomisation cannot be switched off here: firmware that depends on the order of "
        "identity-hashed keys may differ from run to run",
        RuntimeWarning,
        stacklevel=3,
    )
    return ()


def _text(found: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in found)


def main(words: list[str]) -> int:
    """Print the command, with `narrow` that of 32 bits; where there is none, one line that says what to do."""
    if words == ["narrow"]:
        try:
            print(shlex.join(narrow()))
        except MicroPythonError as error:  # tests that can do without it, do
            print(f"lockstep: {error}", file=sys.stderr)
        return 0
    try:
        print(shlex.join(command()))
    except MicroPythonError as error:
        print(f"lockstep: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
