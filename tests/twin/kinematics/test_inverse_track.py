"""Paths of poses and the joints along them: near each other, at every pose, lost where there is no way on."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.twin.kinematics.inverse_arms import abb, crooked, flanges, misses, panda, puma
from twin.kernel import Floats
from twin.kinematics import Robot, ur5e
from twin.kinematics.inverse import ACCURACY, Lost, PoseError, Reason, Tracked, Unreachable, solve, track

ARMS = pytest.mark.parametrize("robot", [ur5e(), puma(), abb(), crooked(), panda()], ids=lambda robot: robot.name)
HOME = {
    "ur5e": (0.4, -1.1, 1.3, -0.7, 0.8, 0.9),
    "puma": (0.4, -0.9, 0.3, 0.5, 0.8, 0.9),
    "abb": (0.4, 0.3, 0.2, 0.5, 0.8, 0.9),
    "crooked": (0.4, 0.3, 0.2, 0.5, 0.8, 0.9),
    "panda": (0.1, -0.3, 0.2, -1.8, 0.3, 1.6, 0.5),
}


def line(start: Floats, along: tuple[float, float, float], length: float, count: int) -> Floats:
    """(count, 4, 4) straight from a pose, which keeps its turn."""
    poses = np.repeat(start[None], count, axis=0)
    poses[:, :3, 3] += np.linspace(0.0, length, count)[:, None] * np.array(along)
    return poses


def at_home(robot: Robot) -> tuple[Floats, Floats]:
    joints = np.array(HOME[robot.name])
    return joints, flanges(robot, joints[None])[0]


@ARMS
def test_a_straight_line_is_followed_without_a_jump(robot):
    joints, pose = at_home(robot)
    poses = line(pose, (0.6, -0.64, 0.48), 0.12, 400)
    answer = track(robot, poses, joints)
    assert isinstance(answer, Tracked)
    assert misses(robot, answer.joints, poses).max() < ACCURACY
    assert np.abs(answer.joints[0] - joints).max() < 1e-7
    steps = np.abs(np.diff(answer.joints, axis=0))
    assert steps.max() < 0.02
    # A straight line is smooth: no step differs much from the one before.
    assert np.abs(np.diff(answer.joints, n=2, axis=0)).max() < 0.05 * steps.max()


@pytest.mark.parametrize("robot", [ur5e(), abb()], ids=lambda robot: robot.name)
def test_the_wrist_is_followed_through_its_singularity(robot):
    """Joint 5 goes through zero, at pose 100 exactly: there the closed form cannot tell joints 4 and 6 apart."""
    start = np.array(HOME[robot.name])
    path = np.repeat(start[None], 201, axis=0)
    path[:, 4] = np.linspace(-0.5, 0.5, 201)
    path[100, 4] = 0.0
    poses = flanges(robot, path)
    answer = track(robot, poses, path[0])
    assert isinstance(answer, Tracked)
    assert misses(robot, answer.joints, poses).max() < ACCURACY
    assert np.abs(answer.joints - path).max() < 1e-3


@ARMS
def test_a_line_out_of_reach_is_lost_where_the_arm_ends(robot):
    joints, pose = at_home(robot)
    poses = line(pose, (0.0, 0.6, -0.8), 4.0, 2_000)
    answer = track(robot, poses, joints, jump=0.5)
    assert isinstance(answer, Lost)
    assert answer.reason in (Reason.REACH, Reason.SEARCH, Reason.LIMITS, Reason.JUMP)
    assert 0 < answer.index < 1_000
    assert answer.joints.shape == (answer.index, robot.axes)
    assert misses(robot, answer.joints, poses[: answer.index]).max() < ACCURACY
    assert f"pose {answer.index}" in str(answer)


def test_an_arm_is_lost_at_the_very_pose_that_no_branch_reaches():
    robot = abb()
    joints, pose = at_home(robot)
    poses = line(pose, (math.cos(0.4), math.sin(0.4), 0.0), 2.0, 1_000)
    answer = track(robot, poses, joints, jump=1.0)
    assert isinstance(answer, Lost)
    assert answer.reason is Reason.REACH
    assert isinstance(solve(robot, poses[answer.index]), Unreachable)
    assert not isinstance(solve(robot, poses[answer.index - 1]), Unreachable)


@pytest.mark.parametrize(("joint", "low", "high"), [(5, 5.0, 8.0), (2, 1.3, 2.9)], ids=["whole turn", "narrowed"])
def test_a_joint_at_its_limit_cannot_go_on_and_is_named(joint, low, high):
    robot = ur5e()
    elbow = replace(robot.joints[2], high=2.8)
    robot = replace(robot, joints=(*robot.joints[:2], elbow, *robot.joints[3:]))
    limit = robot.joints[joint].high
    path = np.repeat(np.array(HOME["ur5e"])[None], 300, axis=0)
    path[:, joint] = np.linspace(low, high, 300)
    answer = track(robot, flanges(robot, path), path[0])
    assert isinstance(answer, Lost)
    assert answer.index == int(np.argmax(path[:, joint] > limit))
    assert (answer.reason, answer.joint, answer.limit) == (Reason.LIMITS, robot.joints[joint].name, limit)
    assert answer.value == pytest.approx(path[answer.index, joint])
    assert np.abs(answer.joints - path[: answer.index]).max() < 1e-6


def test_poses_further_apart_than_the_allowed_jump_are_not_connected():
    robot = ur5e()
    path = np.array([HOME["ur5e"]] * 3)
    path[2, 0] += 0.3
    poses = flanges(robot, path)
    answer = track(robot, poses, path[0], jump=0.2)
    assert isinstance(answer, Lost)
    assert (answer.index, answer.reason, answer.joint) == (2, Reason.JUMP, robot.joints[0].name)
    assert answer.value == pytest.approx(0.3)
    assert isinstance(track(robot, poses, path[0], jump=0.4), Tracked)


def test_a_path_of_no_pose_is_followed_and_one_with_a_bad_pose_is_refused():
    robot = ur5e()
    joints, pose = at_home(robot)
    empty = track(robot, np.empty((0, 4, 4)), joints)
    assert isinstance(empty, Tracked)
    assert empty.joints.shape == (0, 6)
    poses = line(pose, (1.0, 0.0, 0.0), 0.1, 5)
    poses[3, 0, 3] = np.nan
    with pytest.raises(PoseError, match="pose 3"):
        track(robot, poses, joints)
