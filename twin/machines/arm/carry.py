"""Programs that take a Part or lay it down, made of the machines' poses, the Part's extents and the gripper's size.

The flange's z points out of it; the jaws close along its x, on the point that Params' `tool` is away. A Part is held from
above, in its middle, across its narrower side, and is not turned in the jaws: what is laid down hangs as it was taken.
"""

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
"""Of which a Part's shape is made."""
QUARTERS = (0.0, 90.0, 180.0, -90.0)


@dataclass(frozen=True, slots=True)
class Grasp:
    """A Part as the gripper meets it.

    Attributes:
        middle: where the jaws hold it, in the source's frame [m].
        size: of the whole Part, along that frame [m].
        foot: height of that point above the Part's foot [m].
        turn: of the jaws' x about the source's z [°]: along the Part's narrower side.
    """

    middle: Point
    size: Point
    foot: float
    turn: float


def grasp(part: Deposit | None, params: Params, how: Carry) -> Grasp:
    """How a Part is held.

    Raises:
        JobError: nobody knows the Part, it is too low for the fingers or too wide for the jaws.
    """
    if part is None:
        raise JobError("no program tells how large the part is that is to be carried")
    height = part.height
    at = height * how.grip
    if at < TIP + DROP:
        raise JobError(f"the part is {height * 1e3:.1f} mm high: the fingers would touch what it stands on", 0, "", at, TIP + DROP)
    held, whole = part.extents(at - BAND, at + BAND), part.extents(at - BAND, math.inf)
    if held is None or whole is None:
        raise JobError(f"there is nothing between the jaws at {at * 1e3:.1f} mm", 0, "", at)
    wide = [high - low for low, high in zip(*held, strict=True)]
    across = 0 if wide[0] <= wide[1] else 1
    width, most = wide[across], params.opening - PLAY
    if width > most:
        raise JobError(f"the part is {width * 1e3:.1f} mm wide, the jaws take {most * 1e3:.1f} mm", 0, "", width, most)
    x, y = ((low + high) / 2 for low, high in zip(held[0][:2], held[1][:2], strict=True))
    size = [high - low for low, high in zip(*whole, strict=True)]
    return Grasp((x, y, at), (size[0], size[1], height), at, 90.0 * across)


def pick_programs(base: Pose, source: Pose, held: Grasp, params: Params, how: Carry, homed: bool) -> Iterator[str]:
    """Programs that take a Part, the jaws one way round and the other."""
    for turn in (held.turn, held.turn - 180.0):
        low = _seen(base, source, held.middle, turn)
        over = _seen(base, source, (held.middle[0], held.middle[1], held.middle[2] + how.over), turn)
        yield _program("take the part", params, how, homed, "release", low, over, "grip")


def place_programs(base: Pose, target: Pose, entry: Point, held: Grasp, params: Params, how: Carry) -> Iterator[str]:
    """Programs that lay a Part down, one for each way that it can lie along the target's axes."""
    x, y, z = entry
    at = z + held.foot + DROP
    for quarter in QUARTERS:
        turn = held.turn + quarter
        low, over = _seen(base, target, (x, y, at), turn), _seen(base, target, (x, y, at + how.over), turn)
        yield _program("lay the part down", params, how, True, "grip", low, over, "release")


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
    knuckle = max(HAND, params.tool - FINGERS)
    return (
        Capsule("gripper", FLANGE, (0.0, 0.0, 0.0), (0.0, 0.0, max(0.0, knuckle - HAND)), HAND),
        Capsule("finger 1", FLANGE, (aside, 0.0, knuckle), (aside, 0.0, end), FINGER),
        Capsule("finger 2", FLANGE, (-aside, 0.0, knuckle), (-aside, 0.0, end), FINGER),
    )


def shape(held: Grasp, params: Params) -> tuple[Capsule, ...]:
    """A held Part: rods along its longest side, as thick as its shortest and side by side along the other; its corners are
    rounded off."""
    across, along = (held.size[1], held.size[0]) if held.turn else (held.size[0], held.size[1])
    sides = np.array((across, along, held.size[2]))
    thin, middle, long = np.argsort(sides, kind="stable")
    radius = sides[thin] / 2
    count = min(MOST_RODS, math.ceil(sides[middle] / sides[thin] - 1e-6))
    reach, aside = np.zeros(3), np.zeros(3)
    reach[long], aside[middle] = sides[long] / 2 - radius, sides[middle] / 2 - radius
    centre = np.array((0.0, 0.0, params.tool + held.foot - held.size[2] / 2))
    rods = []
    for i in range(count):
        at = centre + aside * (2 * i / (count - 1) - 1 if count > 1 else 0.0)
        name = "part" if count == 1 else f"part {i + 1}"
        rods.append(Capsule(name, FLANGE, _point(at - reach), _point(at + reach), float(radius)))
    return tuple(rods)


def _point(values: Floats) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z


def loads(params: Params, held: Grasp | None) -> tuple[Load, Load | None]:
    """What hangs at the flange without and with a Part."""
    empty = Load(mass=GRIPPER_MASS, centre=(0.0, 0.0, params.tool / 2))
    if held is None:
        return empty, None
    part = PLA * held.size[0] * held.size[1] * held.size[2]
    middle = params.tool + held.foot - held.size[2] / 2
    mass = GRIPPER_MASS + part
    centre = (GRIPPER_MASS * params.tool / 2 + part * middle) / mass
    return empty, Load(mass=mass, centre=(0.0, 0.0, centre))
