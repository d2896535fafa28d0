"""The arm that these tests plan for, and kinematics that owe nothing to the package's."""

import sys
from pathlib import Path

import numpy as np
import pinocchio as pin
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import chain

from twin.kinematics.robot import Robot
from twin.kinematics.ur5e import ur5e
from twin.motion.arm import ArmLimits, limits_of
from twin.motion.arm.reach import Lost


class Plain:
    """Newton's method on the plain chain; no torques."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot

    def poses(self, q):
        return chain.poses(self.robot, q)

    def nearest(self, pose, seed):
        found = chain.nearest(self.robot, pose, seed)
        return Lost(0, "out of reach") if found is None else found

    def track(self, poses, start):
        q = [np.array(start)]
        for index, pose in enumerate(poses[1:], 1):
            found = chain.nearest(self.robot, pose, q[-1])
            if found is None:
                return Lost(index, "out of reach")
            q.append(found)
        return np.array(q)

    def torques(self, q, qd, qdd):
        return np.zeros_like(q)


@pytest.fixture(scope="session")
def limits() -> ArmLimits:
    return limits_of(ur5e(), home=tuple(np.radians([0, -90, 90, -90, -90, 0]).tolist()))


@pytest.fixture(scope="session")
def plain(limits) -> Plain:
    return Plain(limits.robot)


@pytest.fixture(scope="session")
def witness(limits):
    """pinocchio's model of the same arm, built from its record."""
    model = pin.Model()
    at = 0
    for joint, link in zip(limits.robot.joints, limits.robot.links, strict=True):
        place = pin.SE3(np.reshape(joint.rotation, (3, 3)), np.array(joint.xyz))
        assert joint.axis == (0.0, 0.0, 1.0)
        at = model.addJoint(at, pin.JointModelRZ(), place, joint.name)
        ixx, ixy, ixz, iyy, iyz, izz = link.inertia
        tensor = np.array([[ixx, ixy, ixz], [ixy, iyy, iyz], [ixz, iyz, izz]])
        model.appendBodyToJoint(at, pin.Inertia(link.mass, np.array(link.centre), tensor), pin.SE3.Identity())
    data = model.createData()

    def torques(q, qd, qdd):
        rows = zip(np.atleast_2d(q), np.atleast_2d(qd), np.atleast_2d(qdd), strict=True)
        return np.array([pin.rnea(model, data, *row) for row in rows])

    return torques
