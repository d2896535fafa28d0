"""What a robot and its surroundings look like to the collision check: capsules, oriented boxes and half-spaces.

Lengths in m. A rotation is nine numbers row by row: its columns are the shape's axes, seen from the frame it is given in.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

Three = tuple[float, float, float]
Nine = tuple[float, float, float, float, float, float, float, float, float]

UPRIGHT: Nine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_UNIT = 1e-9  # how far a unit vector's length may be from 1


class ShapeError(ValueError):
    """A shape that is none; the text names it, the value and the limit."""


@dataclass(frozen=True, slots=True)
class Capsule:
    """All points within `radius` of the straight line from `start` to `end`; a sphere where both are one point.

    Attributes:
        link: whose frame `start` and `end` are given in: 0 the base, i the i-th link, one more than the links the flange.
    """

    name: str
    link: int
    start: Three
    end: Three
    radius: float

    def __post_init__(self) -> None:
        _finite(self.name, (*self.start, *self.end, self.radius))
        if self.link < 0:
            raise ShapeError(f"{self.name}: link={self.link} must not be below 0")
        if self.radius <= 0:
            raise ShapeError(f"{self.name}: radius={self.radius} must be above 0")


@dataclass(frozen=True, slots=True)
class Box:
    """A box about `centre`.

    Attributes:
        half: half its length along each of its own axes.
    """

    name: str
    centre: Three
    half: Three
    rotation: Nine = UPRIGHT

    def __post_init__(self) -> None:
        _finite(self.name, (*self.centre, *self.half, *self.rotation))
        if min(self.half) <= 0:
            raise ShapeError(f"{self.name}: half={self.half} must be above 0")
        if off := _off_rotation(self.rotation):
            raise ShapeError(f"{self.name}: rotation={self.rotation} is none: it is off by {off:.3g}, at most {_UNIT:g}")


@dataclass(frozen=True, slots=True)
class Plane:
    """A wall or a floor: a point p is free where normal · p >= offset.

    Attributes:
        normal: unit vector into the free side.
    """

    name: str
    normal: Three
    offset: float

    def __post_init__(self) -> None:
        _finite(self.name, (*self.normal, self.offset))
        if abs(math.hypot(*self.normal) - 1) > _UNIT:
            raise ShapeError(f"{self.name}: normal={self.normal} has length {math.hypot(*self.normal):.9g}, it must be 1")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around an arm, in the frame of its base; the capsules have link 0."""

    boxes: tuple[Box, ...] = ()
    capsules: tuple[Capsule, ...] = ()
    planes: tuple[Plane, ...] = ()

    def __post_init__(self) -> None:
        for capsule in self.capsules:
            if capsule.link != 0:
                raise ShapeError(f"{capsule.name}: link={capsule.link}, what stands around an arm has link 0")
        if twice := sorted(name for name, count in Counter(self.names).items() if count > 1):
            raise ShapeError(f"names that occur twice: {', '.join(twice)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the boxes, then the capsules, then the planes."""
        boxes, capsules, planes = self.boxes, self.capsules, self.planes
        return *(box.name for box in boxes), *(capsule.name for capsule in capsules), *(plane.name for plane in planes)


def _finite(name: str, numbers: Iterable[float]) -> None:
    for number in numbers:
        if not math.isfinite(number):
            raise ShapeError(f"{name}: {number} is not finite")


def _off_rotation(turn: Nine) -> float:
    """How far nine numbers are from a rotation, 0 where they are one within rounding."""
    x, y, z = turn[0::3], turn[1::3], turn[2::3]
    worst = max(abs(math.hypot(*axis) - 1) for axis in (x, y, z))
    worst = max(worst, *(abs(_dot(*pair)) for pair in ((x, y), (y, z), (z, x))))
    worst = max(worst, abs(_dot(_cross(x, y), z) - 1))  # a mirror image gives -1
    return worst if worst > _UNIT else 0.0


def _dot(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def _cross(a: tuple[float, ...], b: tuple[float, ...]) -> Three:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
