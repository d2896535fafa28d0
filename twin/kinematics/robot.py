"""What a robot is: a chain of one to eight joints, each moving one link, in SI units."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum

from twin.kinematics.shapes import Capsule

Vector = tuple[float, float, float]
Rotation = tuple[float, float, float, float, float, float, float, float, float]
Inertia = tuple[float, float, float, float, float, float]

MOST_AXES = 8
IDENTITY: Rotation = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
# How far a unit vector or a rotation may be off: more than rounding, less than a written number with ten digits.
_UNIT = 1e-9


class RobotError(ValueError):
    """A robot that cannot be: names the element, the value and the limit."""


class JointKind(StrEnum):
    REVOLUTE = "revolute"
    PRISMATIC = "prismatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """How one link moves on the one before.

    Attributes:
        axis: unit vector in the joint's frame.
        xyz, rotation: the joint's frame in the previous link's frame [m], row-major; the link's frame at position 0.
        low, high: [rad or m], infinite for a revolute joint without an end.
        speed: [rad/s or m/s].
        effort: [N m or N].
        viscous: friction per speed [N m s/rad or N s/m].
        coulomb: friction once it moves [N m or N].
    """

    name: str
    kind: JointKind
    axis: Vector
    xyz: Vector
    rotation: Rotation
    low: float
    high: float
    speed: float
    effort: float
    viscous: float = 0.0
    coulomb: float = 0.0

    def __post_init__(self) -> None:
        where = f"joint {self.name!r}"
        _finite(where, "axis", self.axis, 3)
        _finite(where, "xyz", self.xyz, 3)
        _finite(where, "friction", (self.viscous, self.coulomb), 2)
        _proper(where, self.rotation)
        length = math.hypot(*self.axis)
        if abs(length - 1.0) > _UNIT:
            raise RobotError(f"{where}: its axis is {length:.12g} long, a unit vector is 1")
        if not self.low < self.high:
            raise RobotError(f"{where}: lower limit {self.low} is not below upper limit {self.high}")
        if self.kind is JointKind.PRISMATIC and math.inf in (-self.low, self.high):
            raise RobotError(f"{where}: a prismatic joint ends somewhere, its limits are {self.low} and {self.high}")
        for name, value in (("speed", self.speed), ("effort", self.effort)):
            if not value > 0.0:
                raise RobotError(f"{where}: {name} limit {value} is not above 0")
        for name, value in (("viscous", self.viscous), ("coulomb", self.coulomb)):
            if value < 0.0:
                raise RobotError(f"{where}: {name} friction {value} is below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One rigid body; its frame is that of the joint which moves it, after the motion.

    Attributes:
        mass: [kg].
        centre: of mass [m], in the link's frame.
        inertia: (ixx, ixy, ixz, iyy, iyz, izz) about the centre of mass, axes of the link's frame [kg m²].
    """

    name: str
    mass: float
    centre: Vector
    inertia: Inertia

    def __post_init__(self) -> None:
        where = f"link {self.name!r}"
        _finite(where, "mass", (self.mass,), 1)
        _finite(where, "centre", self.centre, 3)
        _finite(where, "inertia", self.inertia, 6)
        if self.mass <= 0.0:
            raise RobotError(f"{where}: mass {self.mass} kg is not above 0")
        ixx, ixy, ixz, iyy, iyz, izz = self.inertia
        # Forward dynamics divides by what a link resists with; a positive definite tensor keeps that above zero.
        minors = (
            ixx,
            ixx * iyy - ixy * ixy,
            ixx * (iyy * izz - iyz * iyz) - ixy * (ixy * izz - iyz * ixz) + ixz * (ixy * iyz - iyy * ixz),
        )
        if not all(minor > 0.0 for minor in minors):
            raise RobotError(f"{where}: inertia {self.inertia} kg m² is not positive definite, its leading minors are {minors}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """A serial chain, base first.

    Attributes:
        joints, links: as many of each; link i moves with joint i.
        flange_xyz, flange_rotation: the flange in the last link's frame [m], row-major.
        gravity: acceleration of a free fall in the base frame [m/s²].
        capsules: what the arm occupies, for collision.
    """

    name: str
    joints: tuple[Joint, ...]
    links: tuple[Link, ...]
    flange_xyz: Vector = (0.0, 0.0, 0.0)
    flange_rotation: Rotation = IDENTITY
    gravity: Vector = (0.0, 0.0, -9.81)
    capsules: tuple[Capsule, ...] = ()

    def __post_init__(self) -> None:
        where = f"robot {self.name!r}"
        if not 1 <= len(self.joints) <= MOST_AXES:
            raise RobotError(f"{where}: {len(self.joints)} moving joints, from 1 to {MOST_AXES} are possible")
        if len(self.links) != len(self.joints):
            raise RobotError(f"{where}: {len(self.links)} links for {len(self.joints)} joints, one moves each")
        _finite(where, "flange", self.flange_xyz, 3)
        _finite(where, "gravity", self.gravity, 3)
        _proper(f"{where}, flange", self.flange_rotation)
        for capsule in self.capsules:
            if not 0 <= capsule.link <= self.axes + 1:
                raise RobotError(f"{where}: capsule {capsule.name!r} is on link {capsule.link}, the flange is {self.axes + 1}")

    @property
    def axes(self) -> int:
        return len(self.joints)

    def digest(self) -> str:
        """SHA-256 over every number and name, as hexadecimal: robots that differ anywhere differ here."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()


def rotation_of(roll: float, pitch: float, yaw: float) -> Rotation:
    """Rotation about the fixed axes X, then Y, then Z [rad], row-major; quarter turns come out without rounding."""
    cr, sr, cp, sp, cy, sy = (_whole(turn(angle)) for angle in (roll, pitch, yaw) for turn in (math.cos, math.sin))
    return (
        *(cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        *(sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        *(-sp, cp * sr, cp * cr),
    )


def turned(rotation: Rotation, vector: Vector) -> Vector:
    """The vector in the frame in which the rotation is given."""
    (a, b, c), (x, y, z) = (rotation[0:3], rotation[3:6], rotation[6:9]), vector
    return (
        a[0] * x + a[1] * y + a[2] * z,
        b[0] * x + b[1] * y + b[2] * z,
        c[0] * x + c[1] * y + c[2] * z,
    )


def composed(first: Rotation, second: Rotation) -> Rotation:
    """The second rotation, given in the frame of the first."""
    columns = [turned(first, (second[k], second[3 + k], second[6 + k])) for k in range(3)]
    x, y, z = columns
    return (x[0], y[0], z[0], x[1], y[1], z[1], x[2], y[2], z[2])


def turned_inertia(rotation: Rotation, inertia: Inertia) -> Inertia:
    """The tensor in the frame in which the rotation is given."""
    ixx, ixy, ixz, iyy, iyz, izz = inertia
    a = composed(rotation, (ixx, ixy, ixz, ixy, iyy, iyz, ixz, iyz, izz))
    r = rotation
    t = composed(a, (r[0], r[3], r[6], r[1], r[4], r[7], r[2], r[5], r[8]))
    return (t[0], (t[1] + t[3]) / 2, (t[2] + t[6]) / 2, t[4], (t[5] + t[7]) / 2, t[8])


def _whole(value: float) -> float:
    """A sine that is 0 or ±1 but for rounding is exactly that."""
    return float(round(value)) if abs(value - round(value)) < 1e-15 else value


def _finite(where: str, name: str, values: Iterable[float], count: int) -> None:
    given = tuple(values)
    if len(given) != count or not all(math.isfinite(value) for value in given):
        raise RobotError(f"{where}: {name} {given} is not {count} finite numbers")


def _proper(where: str, rotation: Rotation) -> None:
    _finite(where, "rotation", rotation, 9)
    x, y, z = rotation[0:3], rotation[3:6], rotation[6:9]
    cross = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
    off = max(
        *(abs(a - b) for a, b in zip(cross, z, strict=True)),
        abs(math.hypot(*x) - 1.0),
        abs(math.hypot(*y) - 1.0),
        abs(sum(a * b for a, b in zip(x, y, strict=True))),
    )
    if off > _UNIT:
        raise RobotError(f"{where}: {rotation} is not a rotation, it is off by {off:.3g}")
