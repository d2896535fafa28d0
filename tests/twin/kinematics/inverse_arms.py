"""Arms of every family for the tests of inverse kinematics, and Pinocchio as the witness of where their flange is."""

import math

import eaik.IK_HP
import numpy as np
import pinocchio as pin

from tests.twin.kinematics.peers import pin_model
from twin.kernel import Floats
from twin.kinematics import Joint, JointKind, Link, Robot
from twin.kinematics.robot import rotation_of

Three = tuple[float, float, float]
QUARTER = math.pi / 2
NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight")
BODY = Link(name="body", mass=1.0, centre=(0.0, 0.0, 0.0), inertia=(0.1, 0.0, 0.0, 0.1, 0.0, 0.1))


def turning(xyz: Three, rpy: Three, axis: Three = (0.0, 0.0, 1.0), low: float = -math.pi, high: float = math.pi) -> Joint:
    return _joint(JointKind.REVOLUTE, xyz, rpy, axis, low, high)


def sliding(xyz: Three, rpy: Three, low: float, high: float) -> Joint:
    return _joint(JointKind.PRISMATIC, xyz, rpy, (0.0, 0.0, 1.0), low, high)


def arm(name: str, *joints: Joint, xyz: Three = (0.0, 0.0, 0.0), rpy: Three = (0.0, 0.0, 0.0)) -> Robot:
    """A robot of these joints, named in their order; xyz and rpy place the flange."""
    named = tuple(
        Joint(**{slot: getattr(joint, slot) for slot in Joint.__slots__} | {"name": word})
        for joint, word in zip(joints, NAMES, strict=False)
    )
    return Robot(name=name, joints=named, links=(BODY,) * len(named), flange_xyz=xyz, flange_rotation=rotation_of(*rpy))


def _joint(kind: JointKind, xyz: Three, rpy: Three, axis: Three, low: float, high: float) -> Joint:
    limits = {"low": low, "high": high, "speed": 3.0, "effort": 100.0}
    return Joint(name="", kind=kind, axis=axis, xyz=xyz, rotation=rotation_of(*rpy), **limits)


def puma() -> Robot:
    """Offset at the shoulder and at the elbow, as the PUMA 560 has."""
    return arm(
        "puma",
        turning((0.0, 0.0, 0.672), (0.0, 0.0, 0.0)),
        turning((0.0, 0.0, 0.0), (-QUARTER, 0.0, 0.0)),
        turning((0.4318, 0.0, 0.14909), (0.0, 0.0, 0.0)),
        turning((-0.0203, 0.4331, 0.0), (QUARTER, 0.0, 0.0)),
        turning((0.0, 0.0, 0.0), (-QUARTER, 0.0, 0.0)),
        turning((0.0, 0.0, 0.0), (QUARTER, 0.0, 0.0)),
        xyz=(0.0, 0.0, 0.05625),
    )


def abb() -> Robot:
    """Axis 2 in front of axis 1, no offset at the shoulder, all axes as x, y and z of a base: an IRB 120."""
    return arm(
        "abb",
        turning((0.0, 0.0, 0.29), (0.0, 0.0, 0.0)),
        turning((0.05, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        turning((0.0, 0.0, 0.27), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        turning((0.0, 0.0, 0.07), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
        turning((0.302, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        turning((0.072, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
        rpy=(0.0, QUARTER, 0.0),
    )


def crooked(limit: float = 2.5) -> Robot:
    """Six axes, none parallel, square or meeting another: only a search knows it."""
    span = {"low": -limit, "high": limit}
    return arm(
        "crooked",
        turning((0.0, 0.0, 0.2), (0.0, 0.0, 0.0), **span),
        turning((0.1, 0.05, 0.0), (0.1 - QUARTER, 0.0, 0.0), **span),
        turning((0.4, 0.0, 0.05), (0.0, 0.3, 0.2), **span),
        turning((0.02, 0.3, 0.0), (QUARTER, 0.0, 0.3), **span),
        turning((0.0, 0.05, 0.23), (-QUARTER, 0.2, 0.4), **span),
        turning((0.05, 0.0, 0.0), (QUARTER, 0.1, 0.0), **span),
        xyz=(0.0, 0.01, 0.1),
    )


def panda() -> Robot:
    """Seven axes within narrow limits."""
    rows = (
        ((0.0, 0.0, 0.333), 0.0, -2.8973, 2.8973),
        ((0.0, 0.0, 0.0), -QUARTER, -1.7628, 1.7628),
        ((0.0, -0.316, 0.0), QUARTER, -2.8973, 2.8973),
        ((0.0825, 0.0, 0.0), QUARTER, -3.0718, -0.0698),
        ((-0.0825, 0.384, 0.0), -QUARTER, -2.8973, 2.8973),
        ((0.0, 0.0, 0.0), QUARTER, -0.0175, 3.7525),
        ((0.088, 0.0, 0.0), QUARTER, -2.8973, 2.8973),
    )
    joints = [turning(xyz, (roll, 0.0, 0.0), low=low, high=high) for xyz, roll, low, high in rows]
    return arm("panda", *joints, xyz=(0.0, 0.0, 0.107))


def gantry() -> Robot:
    """Three slides and two turns: fewer than six axes."""
    return arm(
        "gantry",
        sliding((0.0, 0.0, 0.2), (QUARTER, 0.0, 0.0), 0.0, 1.0),
        sliding((0.0, 0.0, 0.2), (0.0, QUARTER, 0.0), -0.5, 0.5),
        sliding((0.0, 0.0, 0.2), (-QUARTER, 0.0, 0.0), -0.3, 0.6),
        turning((0.02, 0.3, 0.0), (QUARTER, 0.0, 0.3), low=-2.0, high=2.0),
        turning((0.0, 0.05, 0.23), (-QUARTER, 0.2, 0.4), low=-2.0, high=2.0),
        xyz=(0.0, 0.01, 0.1),
    )


def flanges(robot: Robot, joints: Floats) -> Floats:
    """(k, 4, 4) where Pinocchio says that the flange is."""
    model = pin_model(robot)
    where = model.createData()
    found = np.empty((len(joints), 4, 4))
    for index, row in enumerate(joints):
        pin.framesForwardKinematics(model, where, np.asarray(row, dtype=np.float64))
        found[index] = where.oMf[-1].homogeneous
    return found


def misses(robot: Robot, joints: Floats, goals: Floats) -> Floats:
    """(k,) by how much the flange is off its goal: the largest difference of any element."""
    return np.abs(flanges(robot, joints) - goals).max(axis=(1, 2))


def within(robot: Robot, random: np.random.Generator, count: int, widest: float = math.pi) -> Floats:
    """(count, n) joints evenly spread over the limits, but no further than `widest` from zero."""
    low = np.maximum([joint.low for joint in robot.joints], -widest)
    high = np.minimum([joint.high for joint in robot.joints], widest)
    return random.uniform(low, high, (count, robot.axes))


def apart(a: Floats, b: Floats) -> Floats:
    """Largest difference of two rows of angles, whole turns aside."""
    return np.abs((a - b + math.pi) % (2 * math.pi) - math.pi).max(axis=-1)


class Eaik:
    """EAIK's solver of the same arm."""

    def __init__(self, robot: Robot) -> None:
        model = pin_model(robot)
        where = model.createData()
        pin.framesForwardKinematics(model, where, np.zeros(robot.axes))
        axes = [where.oMi[i + 1].rotation @ np.array(joint.axis) for i, joint in enumerate(robot.joints)]
        points = [np.zeros(3), *(where.oMi[i + 1].translation for i in range(robot.axes)), where.oMf[-1].translation]
        self._robot = eaik.IK_HP.HPRobot(np.array(axes), np.diff(np.array(points), axis=0))
        self._turn = where.oMf[-1].rotation.T

    def solutions(self, pose: Floats) -> Floats:
        """(k, 6) all that it finds, the ones that only come near among them."""
        return np.array(self._robot.IK(self.goal(pose)).Q)

    def goal(self, pose: Floats) -> Floats:
        """The pose as this solver is asked for it: its flange is turned like the base while all joints are at zero."""
        goal = np.array(pose)
        goal[:3, :3] = pose[:3, :3] @ self._turn
        return goal

    @property
    def ask(self) -> object:
        """The bare solver, for timing."""
        return self._robot.IK
