"""What stands around an arm: a factory's obstacles and the space of its machines, as bodies in the frame of the arm's base."""

from collections.abc import Iterable

import numpy as np

from twin.arrays import Floats
from twin.frames import Point, Pose, inverse, matrix
from twin.kinematics.shapes import Box, Nine, Plane, Surroundings
from twin.obstacles import Obstacle, Space

UP = (0.0, 0.0, 1.0)


def surroundings(
    base: Pose, obstacles: Iterable[Obstacle], taken: Iterable[tuple[str, Pose, tuple[Space, ...]]], at: str = ""
) -> Surroundings:
    """What stands around an arm, in the frame of its base.

    Args:
        base: of the arm, in the factory's frame.
        taken: by machine, its pose and its space; the arm's own left out.
        at: the machine that the arm works at: its open boxes are not in the way.
    """
    seen = inverse(matrix(base))
    boxes, planes = [], []
    for one in obstacles:
        if one.size is None:
            planes.append(_plane(one.name, seen, one.height))
        else:
            x, y, z = one.size
            boxes.append(_box(one.name, seen @ matrix(one.pose), (x / 2, y / 2, z / 2)))
    for machine, where, spaces in taken:
        for part in spaces:
            if part.open and machine == at:
                continue
            half = np.subtract(part.high, part.low) / 2
            middle = np.add(part.high, part.low) / 2
            frame = seen @ matrix(where) @ matrix((*middle, 0.0, 0.0, 0.0))
            boxes.append(_box(f"{machine}/{part.name}", frame, (half[0], half[1], half[2])))
    return Surroundings(boxes=tuple(boxes), planes=tuple(planes))


def _box(name: str, frame: Floats, half: Point) -> Box:
    x, y, z = (float(v) for v in frame[:3, 3])
    return Box(name, (x, y, z), (float(half[0]), float(half[1]), float(half[2])), _nine(frame))


def _nine(frame: Floats) -> Nine:
    a, b, c, d, e, f, g, h, i = (float(v) for v in frame[:3, :3].ravel())
    return a, b, c, d, e, f, g, h, i


def _plane(name: str, seen: Floats, height: float) -> Plane:
    """A floor at a height of the factory: what is seen of its normal, and how far it lies from the base."""
    x, y, z = (float(v) for v in seen[:3, :3] @ np.array(UP))
    on = seen[:3, :3] @ np.array((0.0, 0.0, height)) + seen[:3, 3]
    return Plane(name, (x, y, z), float(np.dot(on, (x, y, z))))
