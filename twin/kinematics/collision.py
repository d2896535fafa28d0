"""How far an arm keeps from itself and from what stands around it: which bodies are looked at, and their distances.

The distances themselves are kernels, in `twin.kinematics.parts.collision`, compiled with the robot's own forward kinematics.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.arrays import Floats, Ints
from twin.kinematics.generate.collision import pairs
from twin.kinematics.kernels import Kernels
from twin.kinematics.parts.collision import BOX, CAPSULE, PLANE, Bodies
from twin.kinematics.robot import Joint, JointKind, Robot, turned
from twin.kinematics.shapes import Capsule, Surroundings, Three

KEPT = 0.002
"""The least distance that bodies keep unless told otherwise [m]."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All bodies that can meet: the arm's capsules, its tool's, and what stands around.

    Attributes:
        bodies: as the kernels take them.
        names: (m,) of both bodies of each pair.
        travel: (m, n) how far a joint's motion moves the bodies of a pair relative to each other, at most [m/rad, m/m].
    """

    bodies: Bodies
    names: tuple[tuple[str, str], ...]
    travel: Floats


@dataclass(frozen=True, slots=True)
class Nearest:
    """The two bodies that are nearest to each other, and their distance [m], below 0 where they overlap."""

    distance: float
    bodies: tuple[str, str]


@dataclass(frozen=True, slots=True)
class TooNear:
    """Two bodies nearer than they may be.

    Attributes:
        run: which run of samples.
        place: the sample at which it is worst, with the share of the way to the next.
        distance, needed: [m].
    """

    run: int
    place: float
    bodies: tuple[str, str]
    distance: float
    needed: float


def scene(robot: Robot, surroundings: Surroundings | None = None, tool: tuple[Capsule, ...] = ()) -> Scene:
    """What can meet where this arm stands. The arm's base is fixed, so it is held against the arm alone.

    Raises:
        ShapeError: as `pairs`.
    """
    around, arm = surroundings or Surroundings(), (*robot.capsules, *tool)
    capsules = (*arm, *around.capsules)
    row = {capsule: index for index, capsule in enumerate(capsules)}
    own = pairs(robot, tool)
    met = [(CAPSULE, row[one], row[other]) for one, other in own]
    names = [(one.name, other.name) for one, other in own]
    travel = [_travel(robot, one, other) for one, other in own]
    for capsule in arm:
        if capsule.link > 0:
            lever = _travel(robot, None, capsule)
            for kind, index, name in _standing(around, row):
                met.append((kind, row[capsule], index))
                names.append((capsule.name, name))
                travel.append(lever)
    bodies = (
        _rows([(*capsule.start, *capsule.end, capsule.radius) for capsule in capsules], 7),
        np.array([capsule.link for capsule in capsules], dtype=np.int64),
        _rows([(*box.centre, *box.half, *box.rotation) for box in around.boxes], 15),
        _rows([(*plane.normal, plane.offset) for plane in around.planes], 4),
        np.array(met, dtype=np.int64).reshape(len(met), 3),
    )
    return Scene(bodies, tuple(names), _rows(travel, robot.axes))


def _standing(around: Surroundings, row: Mapping[Capsule, int]) -> list[tuple[int, int, str]]:
    """Kind, row and name of all that stands around."""
    return [
        *((CAPSULE, row[capsule], capsule.name) for capsule in around.capsules),
        *((BOX, index, box.name) for index, box in enumerate(around.boxes)),
        *((PLANE, index, plane.name) for index, plane in enumerate(around.planes)),
    ]


def distance(kernels: Kernels, scene: Scene, q: Floats) -> Nearest:
    """The smallest distance at one configuration.

    Args:
        q: (n,) [rad, m].

    Raises:
        ValueError: as `clearances`.
    """
    found, which = clearances(kernels, scene, q[None])
    return Nearest(float(found[0]), scene.names[int(which[0])])


def clearances(kernels: Kernels, scene: Scene, q: Floats) -> tuple[Floats, Ints]:
    """(N,) the smallest distance at each configuration [m], and (N,) which of `scene.names` it belongs to.

    Args:
        q: (N, n) [rad, m].

    Raises:
        ValueError: a number is not finite, nothing can meet, or q or the scene is of an arm with other axes.
    """
    if not scene.names:
        raise ValueError("nothing can meet: the arm has no capsules")
    _of_one_arm(kernels, scene, q)
    found, which = np.empty(len(q)), np.empty(len(q), np.int64)
    kernels.clearances(_finite(q), scene.bodies, found, which)
    return found, which


def sweep(
    kernels: Kernels, scene: Scene, q: Floats, bend: Floats, run: Ints | None = None, kept: float = KEPT
) -> tuple[TooNear, ...]:
    """Where a path brings two bodies nearer than they may be; the worst place of each pair and run of samples.

    Nothing slips through between two samples. The path goes from one to the next along a straight line in joint space
    but for `bend`, and a body can't move further than its joints' motions times their levers. So where two distances
    add up to more than such a motion, the bodies did not meet between; elsewhere the way is cut until that is known or
    a distance below `kept` is found. A path that is proven free may still come nearer than `kept` between
    samples, but not by more than a cut is long, and it never touches.

    Args:
        q: (k, n) samples [rad, m].
        bend: (n,) how far each joint may leave the straight way between two samples [rad, m].
        run: (k,) 0, 1, … of samples that are judged together; all are one run where it is left out.
        kept: least distance [m].

    Raises:
        ValueError: a number is not finite, kept is not above 0, a bend or a run is below 0, or an array or the scene
            is of another width than the arm or the path.
    """
    if not kept > 0.0:
        raise ValueError(f"kept={kept} m must be above 0")
    runs = np.zeros(len(q), np.int64) if run is None else run
    if not len(q) or not scene.names:
        return ()
    _of_one_arm(kernels, scene, q)
    _shaped("bend", bend, (kernels.axes,))
    _shaped("run", runs, (len(q),))
    if bend.min() < 0.0 or runs.min() < 0:
        raise ValueError(f"bend={bend.min():g}, run={runs.min()} must be at least 0")
    worst = np.empty((int(runs.max()) + 1, len(scene.names), 3))
    kernels.sweep(_finite(q), _finite(bend), runs, scene.travel, kept, scene.bodies, worst)
    return tuple(
        TooNear(int(index), float(place), scene.names[pair], float(found), float(needed))
        for index, pair in np.argwhere(worst[:, :, 0] < np.inf)
        for found, needed, place in (worst[index, pair],)
    )


def _travel(robot: Robot, still: Capsule | None, moving: Capsule) -> list[float]:
    """(n,) by how much a capsule's axis moves, at most, for each joint between it and a body that is held still."""
    link = min(moving.link, robot.axes)
    ends = (_on_link(robot, moving, moving.start), _on_link(robot, moving, moving.end))
    reach = max(math.hypot(*end) for end in ends)
    found = [0.0] * robot.axes
    for index in range(link - 1, (still.link if still else 0) - 1, -1):
        joint = robot.joints[index]
        if joint.kind is JointKind.PRISMATIC:
            found[index] = 1.0
        elif index == link - 1:
            found[index] = max(_from_axis(joint, end) for end in ends)
        else:
            found[index] = reach
        reach += math.hypot(*joint.xyz)
        if joint.kind is JointKind.PRISMATIC:
            reach += max(abs(joint.low), abs(joint.high))
    return found


def _on_link(robot: Robot, capsule: Capsule, point: Three) -> Three:
    """A point in the frame of the link that it moves with: the last one's for the flange."""
    if capsule.link <= robot.axes:
        return point
    x, y, z = turned(robot.flange_rotation, point)
    return x + robot.flange_xyz[0], y + robot.flange_xyz[1], z + robot.flange_xyz[2]


def _from_axis(joint: Joint, point: Three) -> float:
    (x, y, z), (u, v, w) = point, joint.axis
    return math.hypot(y * w - z * v, z * u - x * w, x * v - y * u)


def _rows(rows: Sequence[Sequence[float]], width: int) -> Floats:
    made: NDArray[np.float64] = np.array(rows, dtype=np.float64).reshape(len(rows), width)
    return made


def _of_one_arm(kernels: Kernels, scene: Scene, q: Floats) -> None:
    """Kernels read as many numbers as their arm has axes, whatever is there."""
    _shaped("q", q, (len(q), kernels.axes))
    _shaped("the scene's travel", scene.travel, (len(scene.names), kernels.axes))


def _shaped(name: str, values: Floats | Ints, wanted: tuple[int, ...]) -> None:
    if values.shape != wanted:
        raise ValueError(f"{name} of shape {values.shape} must be {wanted}")


def _finite(values: Floats) -> Floats:
    if not np.isfinite(values).all():
        raise ValueError("a number is not finite")
    return np.ascontiguousarray(values)
