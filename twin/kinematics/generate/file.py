"""The text of a robot's own file: straight-line cores, loops over lanes, and one part for which they are written."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import chain as joined

from twin.kinematics.generate import collision, dynamics, motion
from twin.kinematics.generate.graph import Graph, Term
from twin.kinematics.generate.model import Model, model
from twin.kinematics.generate.motion import Chain
from twin.kinematics.generate.sines import SINES
from twin.kinematics.generate.writer import Writer, wrapped
from twin.kinematics.parts.core import LANES
from twin.kinematics.robot import Robot

Row = tuple[str, ...]

_HEADER = '''"""Kernels of {robot} for {part}: written by twin.kinematics.generate, found again by its name. Do not edit."""

import numpy as np

from twin.kernel import Floats, Ints, Words, inlined, kernel

AXES = {axes}
LANES = {lanes}
'''


@dataclass(frozen=True, slots=True)
class Core:
    """One quantity: how its terms are made, from which inputs, and the shape of its output.

    Attributes:
        letters: of the inputs, one scalar a joint each.
        shape: of the output array for a robot of n joints.
    """

    build: Callable[..., Sequence[Term]]
    letters: Row
    shape: Callable[[int], tuple[int, ...]]


def _inertia(chain: Chain) -> list[Term]:
    return [term for row in dynamics.inertia(chain) for term in row]


CORES = {
    "flange": Core(motion.flange, ("q",), lambda n: (12,)),
    "frames": Core(motion.frames, ("q",), lambda n: (n + 1, 12)),
    "jacobian": Core(motion.jacobian, ("q",), lambda n: (6, n)),
    "torques": Core(dynamics.torques, ("q", "qd", "qdd"), lambda n: (n,)),
    "accelerations": Core(dynamics.accelerations, ("q", "qd", "tau"), lambda n: (n,)),
    "inertia": Core(_inertia, ("q",), lambda n: (n, n)),
    "gravity": Core(dynamics.gravity, ("q",), lambda n: (n,)),
    "energy": Core(dynamics.energy, ("q", "qd"), lambda n: (2,)),
}


def text(robot: Robot, part: str, wanted: Collection[str], body: str) -> str:
    """A module's source.

    Args:
        part: its name, for the file's first line.
        wanted: names of twin.kinematics.parts.core that the body uses.
        body: the part's own source without what it imports from there.
    """
    numbers = model(robot)
    pieces = [_HEADER.format(robot=_plain(robot.name), part=part, axes=robot.axes, lanes=LANES), SINES]
    for name, core in CORES.items():
        uses = [use for use in ("of", "lanes") if f"{name}_{use}" in wanted]
        if uses:
            pieces.append(_core(name, core, numbers))
            pieces += [_LOOPS[use](name, core, robot.axes) for use in uses]
    if "friction_of" in wanted:
        pieces.append(_friction(robot))
    if "self_distance_lanes" in wanted:
        pieces.append(collision.self_distance(robot, numbers))
    return "\n\n".join(piece.strip("\n") + "\n" for piece in (*pieces, body))


def _core(name: str, core: Core, numbers: Model) -> str:
    """A function of numbers that returns a tuple of numbers."""
    graph = Graph()
    chain = Chain(graph, numbers)
    axes = len(numbers.steps)
    inputs = [graph.inputs(letter, axes) for letter in core.letters[1:]]
    terms = core.build(chain, *inputs)
    writer = Writer(graph, terms)
    given = ", ".join(f"{letter}{i + 1}: float" for letter in core.letters for i in range(axes))
    head = wrapped(f"def _{name}_terms({given}) -> tuple[float, ...]:")
    lines = ["@inlined", head, *(f"    {line}" for line in writer.lines)]
    lines += ["    return (", *(f"        {writer.text(term)}," for term in terms), "    )"]
    return "\n".join(lines)


def _of(name: str, core: Core, axes: int) -> str:
    """One configuration: arrays in, the output array filled."""
    shape = core.shape(axes)
    given = ", ".join(f"{letter}[{i}]" for letter in core.letters for i in range(axes))
    lines = [*_definition(f"{name}_of", core), wrapped(f"    r = _{name}_terms({given})")]
    lines += [f"    out[{index}] = r[{k}]" for k, index in enumerate(_indices(shape))]
    return "\n".join(lines)


def _lanes(name: str, core: Core, axes: int) -> str:
    """LANES configurations at once; offsets that are written out let the compiler see that lanes do not overlap."""
    given = ", ".join(f"{letter}[{LANES * i} + j]" for letter in core.letters for i in range(axes))
    lines = [*_definition(f"{name}_lanes", core), f"    for j in range({LANES}):", wrapped(f"        r = _{name}_terms({given})")]
    lines += [f"        out[{LANES * k} + j] = r[{k}]" for k in range(len(_indices(core.shape(axes))))]
    return "\n".join(lines)


_LOOPS = {"of": _of, "lanes": _lanes}


def _definition(name: str, core: Core) -> list[str]:
    given = ", ".join(f"{letter}: Floats" for letter in (*core.letters, "out"))
    return ["@kernel", f"def {name}({given}) -> None:"]


def _indices(shape: tuple[int, ...]) -> list[str]:
    if len(shape) == 1:
        return [str(i) for i in range(shape[0])]
    return list(joined.from_iterable([f"{i}, {k}" for k in range(shape[1])] for i in range(shape[0])))


def _friction(robot: Robot) -> str:
    lines = ["@kernel", "def friction_of(qd: Floats, out: Floats) -> None:"]
    for i, joint in enumerate(robot.joints):
        lines.append(f"    out[{i}] = {joint.viscous!r} * qd[{i}] + {joint.coulomb!r} * np.sign(qd[{i}])")
    return "\n".join(lines)


def _plain(name: str) -> str:
    """A name from a file cannot end the text that it stands in."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_- ") else "_" for letter in name)
