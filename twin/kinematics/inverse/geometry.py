"""What of a robot's chain decides how its joints are found: its axes, and whether a closed form knows them."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from twin.kernel import Floats
from twin.kinematics.inverse import closed, screws
from twin.kinematics.robot import JointKind, Robot

# How far axes may be off parallel, square or concurrent [rad, m]: a quarter turn written with four digits passes, a
# calibrated arm does not. What this leaves is taken away by Newton's method.
_SLACK = 1e-5
# So little of a lever [m] or a sine does not tell where a joint is.
_FREE = 1e-9


class Family(StrEnum):
    """How the joints of a chain are found."""

    PARALLEL = "axes 2, 3 and 4 parallel"
    SPHERICAL = "spherical wrist"
    NUMERIC = "numeric"


@dataclass(frozen=True, slots=True)
class Chain:
    """A robot's axes, all joints at zero, in its base frame.

    Attributes:
        direction: (n, 3) unit vectors.
        point: (n, 3) on each axis [m].
        turning: (n,) 1 where a joint is revolute, 0 where it is prismatic.
        home: (4, 4) the flange.
        low, high, speed: (n,) limits [rad or m, and per s].
        middle: (n,) of the limits; half a turn from the only one, and 0 where there is none.
        reach: no point of the flange is further from axis 1's point [m].
    """

    direction: Floats
    point: Floats
    turning: Floats
    home: Floats
    low: Floats
    high: Floats
    speed: Floats
    middle: Floats
    reach: float

    def poses(self, joints: Floats) -> Floats:
        """(k, 4, 4) flange in the base frame for (k, n) joints."""
        out = np.empty((len(joints), 4, 4))
        screws.poses(self.direction, self.point, self.turning, self.home, joints, out)
        return out

    def jacobians(self, joints: Floats) -> Floats:
        """(k, 6, n) of the flange's origin, linear rows first, in the base frame."""
        out = np.empty((len(joints), 6, len(self.direction)))
        screws.jacobians(self.direction, self.point, self.turning, self.home, joints, out)
        return out


@dataclass(frozen=True, slots=True)
class Form:
    """The closed form of a chain: what the kernels in `closed` are given."""

    family: Family
    left: Floats
    right: Floats
    arm: Floats

    def solve(self, poses: Floats, joints: Floats, real: closed.Flags) -> None:
        """All branches of (n, 4, 4) flange poses: (n, 8, 6) joints in -π … π and (n, 8) whether each exists."""
        kernel = closed.parallel if self.family is Family.PARALLEL else closed.spherical
        kernel(poses, self.left, self.right, self.arm, joints, real)

    def free(self, poses: Floats, joints: Floats) -> closed.Flags:
        """(n, 8) where a joint was put anywhere: the wrist is straight, or its centre on axis 1."""
        left, right = self.left.reshape(3, 4), self.right.reshape(3, 4)
        centre = (poses[:, :3, :3] @ right[:, 3] + poses[:, :3, 3]) @ left[:, :3].T + left[:, 3]
        straight = np.abs(np.sin(joints[:, :, 4] + self.arm[closed.WRIST_ANGLE])) < _FREE
        return np.asarray(straight | (np.hypot(centre[:, 0], centre[:, 1]) < _FREE)[:, None])


@lru_cache(maxsize=64)
def chain(robot: Robot) -> Chain:
    """The axes of a robot."""
    pose = np.eye(4)
    directions, points = [], []
    reach = 0.0
    for joint in robot.joints:
        pose = pose @ _frame(joint.xyz, joint.rotation)
        directions.append(pose[:3, :3] @ np.array(joint.axis))
        points.append(pose[:3, 3].copy())
        reach += float(np.hypot.reduce(joint.xyz)) if len(points) > 1 else 0.0
        if joint.kind is JointKind.PRISMATIC:
            reach += max(abs(joint.low), abs(joint.high))
    low, high = (np.array([getattr(joint, end) for joint in robot.joints]) for end in ("low", "high"))
    return Chain(
        direction=np.array(directions),
        point=np.array(points),
        turning=np.array([float(joint.kind is JointKind.REVOLUTE) for joint in robot.joints]),
        home=pose @ _frame(robot.flange_xyz, robot.flange_rotation),
        low=low,
        high=high,
        speed=np.array([joint.speed for joint in robot.joints]),
        middle=_middle(low, high),
        reach=reach + float(np.hypot.reduce(robot.flange_xyz)),
    )


@lru_cache(maxsize=64)
def form(robot: Robot) -> Form | None:
    """The closed form of a robot; None where there is none, then its joints are found numerically."""
    axes = chain(robot)
    if len(axes.direction) != 6 or not axes.turning.all():
        return None
    h, p = axes.direction, axes.point
    if not (_square(h[0], h[1]) and _parallel(h[1], h[2]) and _square(h[4], h[5])):
        return None
    centre = p[5] + h[5] * (h[5] @ (p[4] - p[5]))
    if _beside(centre, p[4], h[4]) > _SLACK:
        return None
    frame = _arm_frame(h, p)
    if _parallel(h[3], h[1]) and _square(h[4], h[3]):
        family = Family.PARALLEL
    elif _square(h[4], h[3]) and _beside(centre, p[3], h[3]) <= _SLACK:
        family = Family.SPHERICAL
    else:
        return None
    return _form(family, axes, frame, centre)


def _form(family: Family, axes: Chain, frame: Floats, centre: Floats) -> Form | None:
    """The numbers of a closed form; None for an arm without upper arm or forearm."""
    into = np.linalg.inv(frame)
    h = axes.direction @ frame[:3, :3]
    p = axes.point @ into[:3, :3].T + into[:3, 3]
    middle = into[:3, :3] @ centre + into[:3, 3]
    fifth, normal = h[4], np.cross(h[4], h[5])
    # Columns: axis 5, its normal to axis 6, axis 6 and the wrist's centre, as the flange sees them.
    wrist = np.column_stack((fifth, normal, h[5], middle))
    home = into @ axes.home
    right = np.column_stack((home[:3, :3].T @ wrist[:, :3], home[:3, :3].T @ (middle - home[:3, 3])))
    end = p[3] if family is Family.PARALLEL else middle
    upper = p[2, [2, 0]] - p[1, [2, 0]]
    fore = end[[2, 0]] - p[2, [2, 0]]
    lengths = float(np.hypot(*upper)), float(np.hypot(*fore))
    if min(lengths) <= _SLACK:
        return None
    upper_angle, fore_angle = _angle(upper), _angle(fore)
    fourth = h[3] if family is Family.SPHERICAL else np.array([0.0, 1.0, 0.0])
    wrist_angle = float(np.arctan2(np.cross(fourth, h[5]) @ fifth, fourth @ h[5]))
    sign = float(np.sign(h[2, 1]))
    arm = [p[1, 0], middle[1], *lengths, upper_angle, fore_angle - upper_angle, sign, wrist_angle]
    if family is Family.PARALLEL:
        lever = middle[[2, 0]] - p[3, [2, 0]]
        arm += [float(np.sign(h[3, 1])), *fifth[[2, 0]], *lever]
    else:
        arm += [*(fore / lengths[1]), *fourth, *fifth, *np.cross(fifth, fourth)]
    return Form(
        family, np.ascontiguousarray(into[:3]).ravel(), np.ascontiguousarray(right).ravel(), np.array(arm, dtype=np.float64)
    )


def _arm_frame(h: Floats, p: Floats) -> Floats:
    """(4, 4) origin on axis 1 opposite axis 2, z along axis 1, y along axis 2, in the base frame."""
    frame = np.eye(4)
    across = h[1] - h[0] * (h[0] @ h[1])
    frame[:3, 2] = h[0]
    frame[:3, 1] = across / np.linalg.norm(across)
    frame[:3, 0] = np.cross(frame[:3, 1], h[0])
    frame[:3, 3] = p[0] + h[0] * (h[0] @ (p[1] - p[0]))
    return frame


def _angle(vector: Floats) -> float:
    """Of a vector (z, x), from z towards x."""
    return float(np.arctan2(vector[1], vector[0]))


def _square(a: Floats, b: Floats) -> bool:
    return abs(float(a @ b)) <= _SLACK


def _parallel(a: Floats, b: Floats) -> bool:
    return float(np.linalg.norm(np.cross(a, b))) <= _SLACK


def _beside(point: Floats, on: Floats, along: Floats) -> float:
    """Distance of a point from a line."""
    return float(np.linalg.norm(np.cross(point - on, along)))


def _middle(low: Floats, high: Floats) -> Floats:
    below, above = np.isfinite(low), np.isfinite(high)
    from_low, from_high = np.where(below, low, 0.0), np.where(above, high, 0.0)
    one = np.where(below, from_low + np.pi, from_high - np.pi)
    return np.where(below & above, (from_low + from_high) / 2.0, np.where(below | above, one, 0.0))


def _frame(xyz: tuple[float, ...], rotation: tuple[float, ...]) -> Floats:
    frame = np.eye(4)
    frame[:3, :3] = np.array(rotation).reshape(3, 3)
    frame[:3, 3] = xyz
    return frame
