"""A robot's kernels: written once into the cache folder, compiled at first use, found again by every later process.

The file's name holds the hash of the robot and of all that writes the file, so an edit of either leads to another file and
never to stale code. The machine code lies beside the file, where Numba keeps it. All of it is run, so the folder must be
one that nobody else can write to.
"""

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from twin.arrays import Floats
from twin.clock import S, utc_ns
from twin.kinematics.generate.parts import needed, parts, stripped
from twin.kinematics.parts.core import LANES
from twin.kinematics.robot import Robot

MOST_FILES = 200
STALE = 3600 * S
"""A draft as old as this [ns] is of a process that ended while it wrote."""
_WRITERS = ("../kernel.py", "generate/*.py", "parts/core.py", "robot.py")

# The last line of a whole file, and the names of what this module alone writes.
_END = b"\n# The end.\n"
_FILES, _DRAFT = f"*_{'[0-9a-f]' * 16}.py", "kernels_"
_LOADING = threading.Lock()

Kernel = Callable[..., Any]
Say = Callable[[str], None]


class KernelsError(OSError):
    """The cache folder cannot be used: names the folder, what is wrong with it, and how to name another."""


class Kernels:
    """The kernels of one robot as attributes, by the names of the functions in twin/kinematics/parts.

    `single`: pose, link_poses, jacobian, inverse_dynamics, forward_dynamics, gravity, friction, energy, joint_inertia,
    manipulability; `rows`: the same for many configurations, as poses or inverse_dynamics_all; `tiles`: the fastest, on
    packed configurations. All take float64, C-contiguous, SI, in the base frame; the caller owns the outputs.
    """

    def __init__(self, robot: Robot, say: Say | None = None) -> None:
        self.robot = robot
        self.axes = robot.axes
        self._say = say
        self._modules: dict[str, ModuleType] = {}

    def __getattr__(self, name: str) -> Kernel:
        part = _owners().get(name)
        if part is None:
            raise AttributeError(f"no part has a kernel {name!r}")
        if part not in self._modules:
            self._modules[part] = _module(self.robot, part)
        found: Kernel = getattr(self._modules[part], name)
        if self._say is not None and not _kept(found):
            self._say(f"{self.robot.name}: compiling {name}, once on this machine")
        setattr(self, name, found)
        return found


@cache
def _kernels(robot: Robot) -> Kernels:
    return Kernels(robot)


def kernels(robot: Robot, say: Say | None = None) -> Kernels:
    """The robot's kernels, the same object for the same robot.

    Args:
        say: gets a line of text before a kernel is compiled for the first time on this machine.

    Raises:
        KernelsError: at a kernel's first use, the cache folder cannot be used.
    """
    return _kernels(robot) if say is None else Kernels(robot, say)


def tiles(blocks: int, width: int) -> Floats:
    """Zeros (blocks, LANES width) that begin on a cache line: what is written across lines takes a third longer."""
    size = blocks * LANES * width
    room = np.zeros(size + 8)
    first = -room.ctypes.data // 8 % 8
    return room[first : first + size].reshape(blocks, LANES * width)


def pack(rows: Floats) -> Floats:
    """Rows (N, w) as tiles (blocks, LANES w): value k of row LANES b + j is at [b, LANES k + j]; filled up with zeros."""
    count, width = rows.shape
    blocks = -(-count // LANES)
    padded = np.zeros((blocks * LANES, width))
    padded[:count] = rows
    packed = tiles(blocks, width)
    packed.reshape(blocks, width, LANES)[:] = padded.reshape(blocks, LANES, width).swapaxes(1, 2)
    return packed


def unpack(packed: Floats, count: int) -> Floats:
    """The first `count` rows (count, w) of tiles (blocks, LANES w)."""
    blocks, size = packed.shape
    rows = packed.reshape(blocks, size // LANES, LANES).swapaxes(1, 2).reshape(blocks * LANES, size // LANES)
    return np.ascontiguousarray(rows[:count])


def folder() -> Path:
    """Where generated files are kept: LOCKSTEP_KERNELS, else lockstep/kernels in the user's cache.

    Raises:
        KernelsError: neither is named, and the user has no home.
    """
    if named := os.environ.get("LOCKSTEP_KERNELS"):
        return Path(named).absolute()
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise _unusable("~/.cache", error) from error
    return cache.absolute() / "lockstep" / "kernels"


def file_of(robot: Robot, part: str) -> Path:
    """The file of a robot's part, written if it is not there, or not whole; its name holds the hash of what it is made from.

    Raises:
        KernelsError: the cache folder cannot be used.
    """
    pieces = needed(part)
    inputs = "\0".join((robot.digest(), _writers(), *(piece.text for piece in pieces)))
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in robot.name)[:40]
    path = folder() / f"{name}_{part}_{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.py"
    with _naming(path.parent):
        _open(path.parent)
        if _whole(path):
            _use(path)
            return path
    # The generator is not needed, nor loaded, where its work is done.
    from twin.kinematics.generate.file import text

    bodies = [stripped(piece) for piece in pieces]
    wanted = frozenset().union(*(wants for _, wants in bodies))
    source = text(robot, part, wanted, "\n\n".join(body for body, _ in bodies))
    with _naming(path.parent):
        _write(path, source)
        _make_room(path.parent)
    return path


@cache
def _owners() -> dict[str, str]:
    return {name: part.name for part in parts().values() for name in part.public}


@cache
def _writers() -> str:
    """Hash of the source of everything that decides what is in a file and how it is compiled."""
    here = Path(__file__).parent
    sources = [path.read_bytes() for pattern in _WRITERS for path in sorted(here.glob(pattern))]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


def _unusable(place: Path | str, why: object) -> KernelsError:
    return KernelsError(f"kernels cannot be kept in {place}: {why}; LOCKSTEP_KERNELS names another folder")


@contextmanager
def _naming(place: Path) -> Iterator[None]:
    """Whatever goes wrong with files in there names the folder."""
    try:
        yield
    except OSError as error:
        raise _unusable(place, error) from error


def _open(place: Path) -> None:
    """Make the folder, and the one for machine code, where they are not there; both must be the user's alone."""
    for one in (place, place / "__pycache__"):
        one.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = one.stat()
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{one} belongs to user {found.st_uid}, not to {os.geteuid()}")
        if found.st_mode & 0o022:
            raise PermissionError(f"others may write to {one}, its mode is {found.st_mode & 0o777:o}, at most 755 is allowed")


def _whole(path: Path) -> bool:
    """Whether a file is there to its end: a machine that loses its power may leave it empty or cut."""
    try:
        return path.read_bytes().endswith(_END)
    except FileNotFoundError:
        return False


def _use(path: Path) -> None:
    """Note that a file was used; when it was written stays, for Numba's machine code belongs to that."""
    with suppress(OSError):
        os.utime(path, ns=(utc_ns(), path.stat().st_mtime_ns))


def _write(path: Path, source: str) -> None:
    """Whole or not at all, whoever else writes the same."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=_DRAFT, suffix=".new")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(source.encode() + _END)
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)


def _make_room(place: Path) -> None:
    """Remove what was not used for longest, and drafts that nobody writes any more."""
    used = sorted((_stamps(path)[0], path) for path in place.glob(_FILES))
    for _, old in used[:-MOST_FILES]:
        for kept in (old, *(place / "__pycache__").glob(f"{old.stem}.*")):
            kept.unlink(missing_ok=True)
    for draft in place.glob(f"{_DRAFT}*.new"):
        if _stamps(draft)[1] < utc_ns() - STALE:
            draft.unlink(missing_ok=True)


def _stamps(path: Path) -> tuple[int, int]:
    """When a file was used and written last [ns]; 0 where another process has removed it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_atime_ns, found.st_mtime_ns


def _module(robot: Robot, part: str) -> ModuleType:
    """A robot's part; a thread that asks while another loads it waits until it has run."""
    with _LOADING, ExitStack() as undo:
        path = file_of(robot, part)
        name = f"lockstep_kernels.{path.stem}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        undo.callback(sys.modules.pop, name)
        spec.loader.exec_module(module)
        undo.pop_all()
        return module


def _kept(compiled: Any) -> bool:
    """Whether machine code of a kernel lies on the disk."""
    stem = Path(compiled.py_func.__code__.co_filename).stem
    return any(Path(compiled.stats.cache_path).glob(f"{stem}.{compiled.__name__}-*.nbi"))
