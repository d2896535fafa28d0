"""Programs that take a Part or lay it down, made of the machines' poses, the Part's extents and the gripper's size.

The flange's z points out of it; the jaws close along its x, on the point that Params' `tool` is away. A Part is held from
above, in the middle of what is between the jaws, across its narrower side there, and is not turned in the jaws: what is laid
down hangs as it was taken.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from twin.frames import Point, Pose, inverse, matrix, pose_of
from twin.kernel import Floats
from twin.kinematics.shapes import Capsule
from twin.machines.arm.arguments import Carry
from twin.machines.arm.spec import Params
from twin.motion.arm.check import Load
from twin.motion.deposit import Deposit
from twin.motion.limits import JobError

FLANGE = 7
"""The flange's link of a six-axis arm, as a Capsule names it."""
HAND, FINGER = 0.035, 0.007
"""Radii of the gripper's body and of a finger [m]."""
FINGERS = 0.06
"""Length of the fingers, to the point where they hold [m]."""
TIP = 0.004
"""m by which the fingers reach beyond that point."""
BAND = 0.002
"""m above and below that point from which the Part's width is taken."""
PLAY = 0.004
"""m of the opening that must be left over around a Part."""
DROP = 0.001
"""m above the place where a Part is let go."""
GRIPPER_MASS, PLA = 0.9, 1240.0
"""kg of the gripper; kg/m³ of what Parts are made of, at most: prints are not solid."""
MOST_RODS = 12
"""Side by side, of which a Part's shape is made beside its edges."""
EDGE = 0.001
"""Radius of the rods along a Part's edges [m]: its corners reach 0.73 of it beyond them."""
SKIRT = 0.0005
"""m above the bed, up to which nothing counts as a Part: skirts, brims and purge lines."""
EVEN = 0.0005
"""m that a Part's middle may be beside the jaws, where it does not matter which way round they take it."""
QUARTERS = (0.0, 90.0, 180.0, -90.0)
INF = math.inf


@dataclass(frozen=True, slots=True)
class Grasp:
    """A Part as the gripper meets it.

    Attributes:
        middle: where the jaws hold it, in the source's frame [m].
        size: of the box around the whole Part, along that frame [m].
        foot: height of that point above the Part's foot [m].
        turn: of the jaws' x about the source's z [°]: along the Part's narrower side.
        aside: x and y of that box's middle, seen from the jaws along the source's axes [m].
    """

    middle: Point
    size: Point
    foot: float
    turn: float
    aside: tuple[float, float] = (0.0, 0.0)


def grasp(part: Deposit | None, params: Params, how: Carry) -> Grasp:
    """How a Part is held.

    Raises:
        JobError: nobody knows the Part, it is too low for the fingers, too high above them, or too wide for the jaws there or
            anywhere above.
    """
    if part is None:
        raise JobError("no program tells how large the part is that is to be carried")
    height = part.height
    at = height * how.grip
    if at < TIP + DROP:
        raise JobError(f"the part is {height * 1e3:.1f} mm high: the fingers would touch what it stands on", 0, "", at, TIP + DROP)
    held, whole = part.extents(at - BAND, at + BAND), part.extents(SKIRT, INF)
    passed = part.extents(max(SKIRT, at - TIP - BAND), INF)
    if held is None or whole is None or passed is None:
        raise JobError(f"there is nothing between the jaws at {at * 1e3:.1f} mm", 0, "", at)
    wide, middle, room = _sides(held), _middle(held), params.tool - _knuckle(params)
    across = 0 if wide[0] <= wide[1] else 1
    width, most = wide[across], params.opening - PLAY
    if width > most:
        raise JobError(f"the part is {width * 1e3:.1f} mm wide, the jaws take {most * 1e3:.1f} mm", 0, "", width, most)
    reach = 2 * max(passed[1][across] - middle[across], middle[across] - passed[0][across])
    if reach > most:
        told = f"the part is as wide as {reach * 1e3:.1f} mm about the jaws on their way down, they take {most * 1e3:.1f} mm"
        raise JobError(told, 0, "", reach, most)
    if height - at > room:
        told = f"the part rises {(height - at) * 1e3:.1f} mm above the grip, the fingers are {room * 1e3:.1f} mm long"
        raise JobError(told, 0, "", height - at, room)
    size, centre = _sides(whole), _middle(whole)
    aside = (centre[0] - middle[0], centre[1] - middle[1])
    return Grasp((middle[0], middle[1], at), (size[0], size[1], height), at, 90.0 * across, aside)


def _sides(box: tuple[Point, Point]) -> Point:
    (x, y, z), (to_x, to_y, to_z) = box
    return to_x - x, to_y - y, to_z - z


def _middle(box: tuple[Point, Point]) -> Point:
    (x, y, z), (to_x, to_y, to_z) = box
    return (x + to_x) / 2, (y + to_y) / 2, (z + to_z) / 2


def pick_programs(base: Pose, source: Pose, held: Grasp, params: Params, how: Carry, homed: bool) -> Iterator[str]:
    """Programs that take a Part, the jaws one way round and the other; one way alone where its middle is beside them, so that
    who lays it down knows to which side."""
    for turn in (held.turn, held.turn - 180.0)[: 2 if math.hypot(*held.aside) <= EVEN else 1]:
        low = _seen(base, source, held.middle, turn)
        over = _seen(base, source, (held.middle[0], held.middle[1], held.middle[2] + how.over), turn)
        yield _program("take the part", params, how, homed, "release", low, over, "grip")


def place_programs(base: Pose, target: Pose, entry: Point, held: Grasp, params: Params, how: Carry) -> Iterator[str]:
    """Programs that lay a Part's middle over the entry, one for each way that it can lie along the target's axes."""
    at = entry[2] + held.foot + DROP
    for quarter in QUARTERS:
        turn, beside = held.turn + quarter, _turned(held.aside, quarter)
        x, y = entry[0] - beside[0], entry[1] - beside[1]
        low, over = _seen(base, target, (x, y, at), turn), _seen(base, target, (x, y, at + how.over), turn)
        yield _program("lay the part down", params, how, True, "grip", low, over, "release")


def _turned(way: tuple[float, float], by: float) -> tuple[float, float]:
    """A way in the plane, turned by an angle [°]."""
    c, s = math.cos(math.radians(by)), math.sin(math.radians(by))
    return c * way[0] - s * way[1], s * way[0] + c * way[1]


def _program(what: str, params: Params, how: Carry, homed: bool, before: str, low: str, over: str, act: str) -> str:
    rest = "joints " + " ".join(f"{math.degrees(angle):.6f}" for angle in params.home)
    lines = [
        f"; {what}",
        *([] if homed else ["home"]),
        f"speed {how.speed:g}",
        f"tool 0 0 {params.tool:g} 0 0 0",
        f"{before:40} ; so the jaws are now",
        rest,
        f"to {over}",
        f"line {low}",
        act,
        f"line {over}",
        rest,
    ]
    return "\n".join(lines) + "\n"


def _seen(base: Pose, machine: Pose, point: Point, turn: float) -> str:
    """A tool pose of the program: over a point of a machine, pointing down, the jaws turned about the machine's z [°]."""
    down = matrix((*point, math.pi, 0.0, math.radians(turn)))
    x, y, z, roll, pitch, yaw = pose_of(inverse(matrix(base)) @ matrix(machine) @ down)
    angles = " ".join(f"{math.degrees(angle):.6f}" for angle in (roll, pitch, yaw))
    return f"{x:.6f} {y:.6f} {z:.6f} {angles}"


def gripper(params: Params) -> tuple[Capsule, ...]:
    """The gripper's shape with open jaws, in the flange's frame."""
    aside, end = params.opening / 2 + FINGER, params.tool + TIP - FINGER
    knuckle = _knuckle(params)
    return (
        Capsule("gripper", FLANGE, (0.0, 0.0, 0.0), (0.0, 0.0, max(0.0, knuckle - HAND)), HAND),
        Capsule("finger 1", FLANGE, (aside, 0.0, knuckle), (aside, 0.0, end), FINGER),
        Capsule("finger 2", FLANGE, (-aside, 0.0, knuckle), (-aside, 0.0, end), FINGER),
    )


def _knuckle(params: Params) -> float:
    """How far from the flange the gripper's body ends and its fingers begin [m]."""
    return max(HAND, params.tool - FINGERS)


def shape(held: Grasp, params: Params) -> tuple[Capsule, ...]:
    """The box around a held Part in the flange's frame: a thin rod along each edge, and between them rods along its longest
    side, as thick as its shortest and side by side along the other."""
    across, along = (held.size[1], held.size[0]) if held.turn else (held.size[0], held.size[1])
    sides = np.array((across, along, held.size[2]))
    centre = np.array(_centre(held, params))
    thin, middle, long = np.argsort(sides, kind="stable")
    radius = sides[thin] / 2
    count = min(MOST_RODS, math.ceil(sides[middle] / sides[thin] - 1e-6))
    reach, aside = np.zeros(3), np.zeros(3)
    reach[long], aside[middle] = sides[long] / 2 - radius, sides[middle] / 2 - radius
    ways = [aside * (2 * i / (count - 1) - 1 if count > 1 else 0.0) for i in range(count)]
    rods = [(centre + way - reach, centre + way + reach, float(radius)) for way in ways]
    edge = min(EDGE, float(radius))
    for axis in range(3):
        for one, other in itertools.product((-1.0, 1.0), repeat=2):
            corner = (sides / 2 - edge) * np.insert((one, other), axis, 1.0)
            rods.append((centre + corner * np.where(np.arange(3) == axis, -1.0, 1.0), centre + corner, edge))
    names = ["part"] if count == 1 else [f"part {i + 1}" for i in range(count)]
    names += [f"part edge {i + 1}" for i in range(12)]
    return tuple(Capsule(name, FLANGE, _point(a), _point(b), r) for name, (a, b, r) in zip(names, rods, strict=True))


def _centre(held: Grasp, params: Params) -> Point:
    """The middle of a held Part in the flange's frame, whose y and z are turned away from the source's."""
    x, y = _turned(held.aside, -held.turn)
    return x, -y, params.tool + held.foot - held.size[2] / 2


def _point(values: Floats) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z


def loads(params: Params, held: Grasp | None) -> tuple[Load, Load | None]:
    """What hangs at the flange without and with a Part."""
    empty = Load(mass=GRIPPER_MASS, centre=(0.0, 0.0, params.tool / 2))
    if held is None:
        return empty, None
    part = PLA * held.size[0] * held.size[1] * held.size[2]
    x, y, z = _centre(held, params)
    mass = GRIPPER_MASS + part
    centre = (x * part / mass, y * part / mass, (GRIPPER_MASS * params.tool / 2 + part * z) / mass)
    return empty, Load(mass=mass, centre=centre)
