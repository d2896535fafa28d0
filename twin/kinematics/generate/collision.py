"""A robot's distance from itself, written out: where its capsules are, then one pair after the other.

What is written needs no memory between forward kinematics and the last pair, and one root for all pairs that have the same
sum of radii.
"""

import math

import numpy as np

from twin.kinematics.generate.graph import Graph, Term
from twin.kinematics.generate.model import Model
from twin.kinematics.generate.motion import Chain, Poses
from twin.kinematics.generate.vectors import applied, plus
from twin.kinematics.generate.writer import Writer, wrapped
from twin.kinematics.parts.core import LANES
from twin.kinematics.robot import Robot
from twin.kinematics.shapes import Capsule, ShapeError

# The steps of `between_capsules` in twin.kinematics.parts.collision; what does not depend on the pose is given.
_SQUARE = '''@inlined
def _square(
    ax: float, ay: float, az: float, ux: float, uy: float, uz: float,
    bx: float, by: float, bz: float, vx: float, vy: float, vz: float,
    uu: float, vv: float, per_u: float, per_v: float,
) -> float:
    """Squared distance of two capsules' axes; their squared lengths are uu and vv."""
    wx, wy, wz = ax - bx, ay - by, az - bz
    uv = ux * vx + uy * vy + uz * vz
    uw, vw = ux * wx + uy * wy + uz * wz, vx * wx + vy * wy + vz * wz
    s = min(max((uv * vw - uw * vv) / max(uu * vv - uv * uv, 1e-300), 0.0), 1.0)
    t = min(max((uv * s + vw) * per_v, 0.0), 1.0)
    s = min(max((uv * t - uw) * per_u, 0.0), 1.0)
    x, y, z = wx + s * ux - t * vx, wy + s * uy - t * vy, wz + s * uz - t * vz
    return x * x + y * y + z * z
'''


def self_distance(robot: Robot, numbers: Model) -> str:
    """Source of `self_distance_lanes`; without a pair the distance is infinite."""
    capsules = tuple(dict.fromkeys(robot.capsules))
    given = ", ".join(f"q[{LANES * i} + j]" for i in range(robot.axes))
    lines = ["@kernel", "def self_distance_lanes(q: Floats, out: Floats) -> None:", f"    for j in range({LANES}):"]
    if not pairs(robot):
        return "\n".join([*lines, "        out[j] = np.inf"])
    lines += [wrapped(f"        r = _rods_terms({given})"), *(wrapped(f"        {line}") for line in _nearest(robot, capsules))]
    return "\n\n".join((_rods(capsules, numbers), _SQUARE, "\n".join(lines)))


def _nearest(robot: Robot, capsules: tuple[Capsule, ...]) -> list[str]:
    """Lines that find the nearest pair among capsules that stand in r one after the other."""
    alike: dict[float, list[str]] = {}
    for one, other in pairs(robot):
        uu, vv = (math.dist(capsule.start, capsule.end) ** 2 for capsule in (one, other))
        rows = [f"r[{6 * capsules.index(capsule) + k}]" for capsule in (one, other) for k in range(6)]
        numbers = [repr(value) for value in (uu, vv, *(1.0 / value if value else 0.0 for value in (uu, vv)))]
        alike.setdefault(one.radius + other.radius, []).append(f"_square({', '.join(rows + numbers)})")
    lines, least = [], ""
    for number, (radii, squares) in enumerate(alike.items(), 1):
        lines.append(f"d{number} = {squares[0]}")
        lines += [f"d{number} = min(d{number}, {square})" for square in squares[1:]]
        apart = f"np.sqrt(d{number}) - {radii!r}"
        lines.append(f"least = min(least, {apart})" if least else f"least = {apart}")
        least = "least"
    return [*lines, "out[j] = least"]


def _rods(capsules: tuple[Capsule, ...], numbers: Model) -> str:
    """A function of the positions that returns six numbers for each capsule: its start and the way to its end."""
    graph = Graph()
    chain = Chain(graph, numbers)
    poses, terms = Poses(chain), list[Term]()
    for capsule in capsules:
        terms += _rod(capsule, chain, poses)
    writer = Writer(graph, terms)
    given = ", ".join(f"q{i + 1}: float" for i in range(len(numbers.steps)))
    lines = ["@inlined", wrapped(f"def _rods_terms({given}) -> tuple[float, ...]:"), *(f"    {line}" for line in writer.lines)]
    return "\n".join([*lines, "    return (", *(f"        {writer.text(term)}," for term in terms), "    )"])


def _rod(capsule: Capsule, chain: Chain, poses: Poses) -> tuple[Term, ...]:
    start, way = np.array(capsule.start), np.subtract(capsule.end, capsule.start)
    if capsule.link == 0:
        return *chain.vector(start), *chain.vector(way)
    steps = chain.model.steps
    if capsule.link > len(steps):
        rotation, origin = poses.flange
    else:
        rotation, origin = poses.rotations[capsule.link - 1], poses.origins[capsule.link - 1]
        start, way = steps[capsule.link - 1].back @ start, steps[capsule.link - 1].back @ way
    return *plus(origin, applied(rotation, chain.vector(start))), *applied(rotation, chain.vector(way))


def pairs(robot: Robot, tool: tuple[Capsule, ...] = ()) -> tuple[tuple[Capsule, Capsule], ...]:
    """Capsules of the arm and its tool that could meet: of links that no joint joins. A tool is part of the last link.

    Raises:
        ShapeError: a tool's capsule is not given in the flange's frame.
    """
    last = robot.axes
    for capsule in tool:
        if capsule.link != last + 1:
            raise ShapeError(f"{capsule.name}: link={capsule.link}, a tool is given in the flange's frame, {last + 1}")
    arm = sorted((*robot.capsules, *tool), key=lambda capsule: capsule.link)
    return tuple(
        (one, other) for i, one in enumerate(arm) for other in arm[i + 1 :] if min(other.link, last) - min(one.link, last) > 1
    )
