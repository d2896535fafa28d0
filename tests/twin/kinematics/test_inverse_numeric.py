"""The search for joints, on chains that no closed form knows and on the UR5e, held against Pinocchio."""

import math

import numpy as np
import pytest

from tests.twin.kinematics.inverse_arms import crooked, flanges, gantry, misses, panda, within
from twin.kernel import Floats
from twin.kinematics import Robot, ur5e
from twin.kinematics.inverse import ACCURACY, Family, Reason, Solution, Unreachable, family, search, solve

CHAINS = pytest.mark.parametrize("robot", [crooked(), panda(), gantry()], ids=lambda robot: robot.name)


def searched(robot: Robot, poses: Floats, tolerance: float, starts: Floats | None = None) -> tuple[Floats, Floats]:
    """(N, n) joints and (N,) what they miss, as the search says."""
    joints, off = np.full((len(poses), robot.axes), np.nan), np.full(len(poses), np.nan)
    search(robot).solve(poses, starts, tolerance, joints, off)
    return joints, off


def inside(robot: Robot, joints: Floats) -> bool:
    low, high = (np.array([getattr(joint, end) for joint in robot.joints]) for end in ("low", "high"))
    return bool(((joints >= low) & (joints <= high)).all())


def test_ten_thousand_of_ten_thousand_poses_of_the_ur5e_are_found():
    robot = ur5e()
    poses = flanges(robot, within(robot, np.random.default_rng(21), 10_000))
    joints, off = searched(robot, poses, 1e-6)
    assert (off <= 1e-6).all()
    assert misses(robot, joints, poses).max() <= 1.1e-6
    assert inside(robot, joints)


@CHAINS
def test_poses_within_narrow_limits_are_found_within_them(robot):
    poses = flanges(robot, within(robot, np.random.default_rng(22), 2_000, 9.0))
    joints, off = searched(robot, poses, ACCURACY / 10)
    assert (off <= ACCURACY / 10).all()
    assert misses(robot, joints, poses).max() < ACCURACY
    assert inside(robot, joints)


@CHAINS
def test_from_joints_that_are_near_the_search_ends_near(robot):
    random = np.random.default_rng(23)
    joints = within(robot, random, 40, 9.0) * 0.9
    for row, pose in zip(joints, flanges(robot, joints), strict=True):
        answer = solve(robot, pose, row + random.uniform(-0.01, 0.01, robot.axes))
        assert isinstance(answer, Solution)
        assert misses(robot, answer.joints[None], pose[None])[0] < ACCURACY
        assert inside(robot, answer.joints)
        # A seventh axis may stay where it was; a hundredth of a radian near a singular pose moves others further.
        assert np.abs(answer.joints - row).max() < 0.3


@CHAINS
def test_a_pose_that_cannot_be_reached_is_answered_with_the_nearest_that_was_found(robot):
    assert family(robot) is Family.NUMERIC
    for place in ((4.0, 0.0, 0.0), (0.0, 0.0, -50.0)):
        pose = np.eye(4)
        pose[:3, 3] = place
        answer = solve(robot, pose)
        assert isinstance(answer, Unreachable)
        assert answer.reason is Reason.SEARCH
        assert np.isfinite(answer.joints).all()
        assert inside(robot, answer.joints)
        missed = np.linalg.norm(flanges(robot, answer.joints[None])[0, :3, 3] - place)
        assert answer.error >= missed - 1e-9
        assert missed < np.linalg.norm(place)


def test_of_poses_that_can_and_cannot_be_reached_each_gets_its_own_answer():
    robot = crooked()
    poses = flanges(robot, within(robot, np.random.default_rng(24), 150))
    poses[::3, :3, 3] *= 100.0
    joints, off = searched(robot, poses, 1e-9)
    reached = off <= 1e-9
    assert reached.tolist() == [index % 3 != 0 for index in range(150)]
    assert misses(robot, joints[reached], poses[reached]).max() < 1e-8
    assert np.isfinite(joints).all()
    assert np.isfinite(off).all()


def test_half_a_turn_away_the_search_is_not_content():
    """Where the turn between flange and goal is half a turn, its sines vanish as if there were none."""
    robot = ur5e()
    joints = np.array([0.4, -1.1, 1.3, -0.7, 0.8, 0.9])
    pose = flanges(robot, joints[None])
    turned = pose.copy()
    turned[0, :3, :3] = pose[0, :3, :3] @ np.diag([-1.0, -1.0, 1.0])
    found, off = searched(robot, turned, 1e-9, joints[None])
    assert off[0] <= 1e-9
    assert misses(robot, found, turned)[0] < 1e-8


def test_a_chain_without_limits_is_searched_too():
    free = crooked(math.inf)
    joints = within(free, np.random.default_rng(25), 500)
    poses = flanges(free, joints)
    found, off = searched(free, poses, 1e-9)
    assert (off <= 1e-9).all()
    assert misses(free, found, poses).max() < 1e-8


def test_the_search_gives_the_same_bits_every_time():
    robot = panda()
    poses = flanges(robot, within(robot, np.random.default_rng(26), 200, 9.0))
    assert searched(robot, poses, 1e-9)[0].tobytes() == searched(robot, poses, 1e-9)[0].tobytes()
