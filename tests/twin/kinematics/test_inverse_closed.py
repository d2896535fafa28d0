"""Every branch of arms with a closed form, held against EAIK, ur-analytic-ik and Pinocchio; borders, limits and turns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import ur_analytic_ik
from hypothesis import given
from hypothesis import strategies as st

from tests.twin.kinematics.inverse_arms import Eaik, abb, apart, arm, crooked, flanges, misses, puma, turning, within
from twin.kernel import Floats
from twin.kinematics import Robot, ur5e
from twin.kinematics.inverse import (
    ACCURACY,
    Family,
    NoClosedForm,
    PoseError,
    Reason,
    Singular,
    Solution,
    Unreachable,
    all_solutions,
    family,
    form,
    solve,
)
from twin.kinematics.inverse.closed import BRANCHES

CLOSED = pytest.mark.parametrize("robot", [ur5e(), puma(), abb()], ids=lambda robot: robot.name)


def branches(robot: Robot, poses: Floats) -> tuple[Floats, Floats]:
    """(N, 8, 6) and which of them exist (N, 8)."""
    closed = form(robot)
    assert closed is not None
    joints, real = np.full((len(poses), BRANCHES, 6), np.nan), np.zeros((len(poses), BRANCHES), np.bool_)
    closed.solve(poses, joints, real)
    return joints, real


def exact(robot: Robot, found: Floats, pose: Floats) -> list[Floats]:
    """Of a peer's solutions those that reach the pose, once each."""
    if not len(found):
        return []
    kept: list[Floats] = []
    for row in found[misses(robot, found, np.broadcast_to(pose, (len(found), 4, 4))) < 1e-7]:
        if all(apart(row, other) > 1e-5 for other in kept):
            kept.append(row)
    return kept


def same_set(ours: Floats, theirs: list[Floats]) -> bool:
    return len(ours) == len(theirs) and all(min(apart(row, other) for other in ours) < 1e-6 for row in theirs)


def test_families_are_recognised_from_the_chain():
    assert family(ur5e()) is Family.PARALLEL
    assert family(puma()) is family(abb()) is Family.SPHERICAL
    assert family(crooked()) is Family.NUMERIC


def test_an_arm_that_is_calibrated_or_has_its_wrist_apart_is_left_to_the_search():
    joints = list(puma().joints)
    joints[5] = replace(joints[5], xyz=(0.001, 0.0, 0.0))
    assert family(replace(puma(), joints=tuple(joints))) is Family.NUMERIC
    joints = list(ur5e().joints)
    joints[2] = replace(joints[2], rotation=turning((0.0, 0.0, 0.0), (0.001, 0.0, 0.0)).rotation)
    assert family(replace(ur5e(), joints=tuple(joints))) is Family.NUMERIC


def test_axes_that_are_not_square_are_no_family():
    for robot, index, roll in ((ur5e(), 4, 1.2), (ur5e(), 5, -1.2), (ur5e(), 1, 1.2), (puma(), 4, -1.2), (puma(), 5, 1.2)):
        joints = list(robot.joints)
        joints[index] = replace(joints[index], rotation=turning((0.0, 0.0, 0.0), (roll, 0.0, 0.0)).rotation)
        assert family(replace(robot, joints=tuple(joints))) is Family.NUMERIC, (robot.name, index)


@CLOSED
def test_ten_thousand_poses_are_reached_by_all_branches_and_one_is_where_the_pose_came_from(robot):
    joints = within(robot, np.random.default_rng(11), 10_000)
    poses = flanges(robot, joints)
    found, real = branches(robot, poses)
    which, branch = np.nonzero(real)
    assert misses(robot, found[which, branch], poses[which]).max() < ACCURACY
    assert np.where(real, apart(found, joints[:, None]), np.inf).min(axis=1).max() < 1e-6
    assert np.isfinite(found).all()


@CLOSED
def test_the_branches_are_those_that_eaik_finds(robot):
    peer = Eaik(robot)
    poses = flanges(robot, within(robot, np.random.default_rng(12), 300))
    found, real = branches(robot, poses)
    for pose, rows, exists in zip(poses, found, real, strict=True):
        assert same_set(rows[exists], exact(robot, peer.solutions(pose), pose))


def test_the_branches_of_the_ur5e_are_those_of_ur_analytic_ik():
    robot = ur5e()
    joints = within(robot, np.random.default_rng(13), 300)
    poses = np.array([ur_analytic_ik.ur5e.forward_kinematics(*row) for row in joints])
    found, real = branches(robot, poses)
    for pose, rows, exists in zip(poses, found, real, strict=True):
        assert same_set(rows[exists], exact(robot, np.array(ur_analytic_ik.ur5e.inverse_kinematics(pose)), pose))


ANGLE = st.floats(-3.0, 3.0)
LENGTH = st.floats(0.05, 0.6)
OFFSET = st.floats(-0.3, 0.3)
PLACE = st.tuples(OFFSET, OFFSET, OFFSET)
TURN = st.tuples(ANGLE, ANGLE, ANGLE)
JOINTS = st.lists(ANGLE, min_size=6, max_size=6)
SIGN = st.sampled_from([-1.0, 1.0])
_Y, _Z = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def _along(axis: tuple[float, float, float], sign: float) -> tuple[float, float, float]:
    x, y, z = axis
    return (sign * x, sign * y, sign * z)


@st.composite
def recognised(draw: st.DrawFn) -> Robot:
    """An arm of either family with any lengths, senses of its axes, angles at zero, base and flange."""
    signs = [draw(SIGN) for _ in range(6)]
    bends = [draw(ANGLE) for _ in range(3)]
    first = turning(draw(PLACE), draw(TURN), _along(_Z, signs[0]))
    second = turning((draw(OFFSET), draw(OFFSET), 0.0), (0.0, bends[0], draw(ANGLE)), _along(_Y, signs[1]))
    third = turning((draw(LENGTH), draw(OFFSET), 0.0), (0.0, bends[1], 0.0), _along(_Y, signs[2]))
    parallel = draw(st.booleans())
    if parallel:
        fourth = turning((draw(LENGTH), draw(OFFSET), 0.0), (0.0, bends[2], 0.0), _along(_Y, signs[3]))
        fifth = turning((0.0, draw(OFFSET), draw(OFFSET)), (0.0, 0.0, draw(ANGLE)), _along(_Z, signs[4]))
        sixth = turning((0.0, 0.0, draw(OFFSET)), (0.0, 0.0, draw(ANGLE)), _along(_Y, signs[5]))
    else:
        fourth = turning((draw(LENGTH), draw(OFFSET), 0.0), draw(TURN), _along(_Z, signs[3]))
        fifth = turning((0.0, 0.0, 0.0), (0.0, 0.0, draw(ANGLE)), _along(_Y, signs[4]))
        sixth = turning((0.0, 0.0, 0.0), (0.0, draw(ANGLE), 0.0), _along(_Z, signs[5]))
    return arm("drawn", first, second, third, fourth, fifth, sixth, xyz=draw(PLACE), rpy=draw(TURN))


@given(robot=recognised(), joints=JOINTS)
def test_any_arm_of_a_family_is_solved_in_its_own_frames(robot, joints):
    pose = flanges(robot, np.array([joints]))
    found, real = branches(robot, pose)
    assert real.any()
    assert np.isfinite(found).all()
    assert misses(robot, found[0, real[0]], np.broadcast_to(pose, (int(real.sum()), 4, 4))).max() < ACCURACY
    answer = solve(robot, pose[0], np.array(joints))
    assert isinstance(answer, Solution | Singular)
    assert misses(robot, answer.joints[None], pose).max() < ACCURACY
    # At a singularity the joints may stand elsewhere; near one a pose tells them only to the root of its rounding.
    assert isinstance(answer, Singular) or apart(answer.joints, np.array(joints)) < 1e-4


@pytest.mark.parametrize(
    ("joints", "idle"),
    [
        ([0.4, -1.1, 1.3, -0.7, 0.0, 0.9], {"shoulder_lift", "elbow", "wrist_1", "wrist_3"}),
        ([0.4, -1.1, 1.3, -0.7, math.pi, 0.9], {"shoulder_lift", "elbow", "wrist_1", "wrist_3"}),
        ([0.4, -1.1, 0.0, -0.7, 0.8, 0.9], {"shoulder_lift", "elbow", "wrist_1"}),
    ],
    ids=["wrist straight", "wrist folded", "elbow straight"],
)
def test_a_singular_pose_of_the_ur5e_is_answered_as_one_and_names_the_joints(joints, idle):
    robot = ur5e()
    names = {joint.name for joint in robot.joints}
    pose = flanges(robot, np.array([joints]))
    answer = solve(robot, pose[0], np.array(joints))
    assert isinstance(answer, Singular)
    assert answer.error < ACCURACY
    assert misses(robot, answer.joints[None], pose)[0] < ACCURACY
    assert set(answer.idle) <= {name for name in names if any(word in name for word in idle)}
    assert len(answer.idle) >= 2


def test_a_wrist_over_the_first_axis_of_the_ur5e_is_singular():
    robot = ur5e()
    second, both = -math.acos(0.1), -math.acos(-0.2)
    # The wrist's centre is at -0.425 cos(q2) - 0.3922 cos(q2 + q3) + 0.0997 sin(q2 + q3 + q4) along the arm: at zero.
    fourth = math.asin((0.425 * 0.1 + 0.3922 * -0.2) / 0.0997) - both
    joints = np.array([0.3, second, both - second, fourth, 0.7, 0.2])
    pose = flanges(robot, joints[None])
    answer = solve(robot, pose[0], joints)
    assert isinstance(answer, Singular)
    assert misses(robot, answer.joints[None], pose)[0] < ACCURACY
    assert apart(answer.joints, joints) < 1e-6


STRAIGHT = -math.atan2(0.302, 0.07)


@pytest.mark.parametrize(
    "joints",
    [[0.4, 0.3, -1.0, 0.6, 0.0, 0.2], [0.4, 0.3, STRAIGHT, 0.6, 0.5, 0.2], [0.0, math.pi - 0.5, STRAIGHT, 0.0, 0.5, 0.0]],
    ids=["wrist", "elbow", "elbow, arm down"],
)
def test_a_singular_wrist_and_a_straight_elbow_of_a_spherical_arm_are_answered_as_such(joints):
    robot = abb()
    pose = flanges(robot, np.array([joints]))
    answer = solve(robot, pose[0], np.array(joints))
    assert isinstance(answer, Singular)
    assert misses(robot, answer.joints[None], pose)[0] < ACCURACY


def test_a_wrist_centre_on_the_first_axis_is_singular_and_the_first_joint_free():
    robot = abb()
    # 0.05 + 0.27 sin(q2) + the forearm's share along x is zero where the arm leans back by as much as it reaches out.
    second = -0.9
    across = -(0.05 + 0.27 * math.sin(second)) / math.hypot(0.302, 0.07)
    joints = np.array([0.7, second, math.asin(across) - second + STRAIGHT, 0.3, 0.8, 0.1])
    pose = flanges(robot, joints[None])
    for seed in (None, joints):
        answer = solve(robot, pose[0], seed)
        assert isinstance(answer, Singular)
        assert misses(robot, answer.joints[None], pose)[0] < ACCURACY
    assert "one" in answer.idle
    assert np.abs(answer.joints - joints).max() < 1e-6


def test_at_a_singular_wrist_the_answer_stays_with_the_seed():
    robot = ur5e()
    joints = np.array([0.4, -1.1, 1.3, -0.7, 0.0, 0.9])
    answer = solve(robot, flanges(robot, joints[None])[0], joints)
    assert isinstance(answer, Singular)
    assert np.abs(answer.joints - joints).max() < 1e-6


@CLOSED
def test_a_pose_out_of_reach_is_said_to_be_so(robot):
    for place in ((3.0, 0.0, 0.5), (0.0, 0.0, -40.0), (0.0, 0.0, 1e6)):
        pose = np.eye(4)
        pose[:3, 3] = place
        answer = solve(robot, pose)
        assert isinstance(answer, Unreachable)
        assert answer.reason is Reason.REACH
        assert np.isfinite(answer.joints).all()
        assert math.isfinite(answer.error)
        assert answer.error > 1.0
        assert all_solutions(robot, pose).shape == (0, 6)


def test_within_the_hole_about_its_first_axis_the_ur5e_reaches_nothing():
    pose = np.eye(4)
    pose[:3, 3] = (0.05, 0.0, 0.4)
    answer = solve(ur5e(), pose)
    assert isinstance(answer, Unreachable)
    assert answer.reason is Reason.REACH


def test_the_reach_ends_where_the_arm_is_straight():
    robot = abb()
    joints = np.array([0.4, 0.7, STRAIGHT, 0.6, 0.5, 0.2])
    outward = np.array([math.sin(0.7) * math.cos(0.4), math.sin(0.7) * math.sin(0.4), math.cos(0.7)])
    kinds = []
    for further in (-1e-6, 0.0, 1e-6):
        pose = flanges(robot, joints[None])[0]
        pose[:3, 3] += further * outward
        kinds.append(type(solve(robot, pose, joints)))
    assert kinds == [Solution, Singular, Unreachable]


def test_joint_limits_leave_only_the_branches_within_and_name_the_joint_that_stands_in_the_way():
    joints = np.array([0.4, -1.1, 1.3, -0.7, 0.8, 0.9])
    pose = flanges(ur5e(), joints[None])[0]
    narrow = replace(
        ur5e(), joints=tuple(replace(joint, low=at - 0.1, high=at + 0.1) for joint, at in zip(ur5e().joints, joints, strict=True))
    )
    assert apart(all_solutions(narrow, pose), joints) == pytest.approx([0.0], abs=1e-9)
    moved = list(narrow.joints)
    moved[2] = replace(moved[2], low=1.35, high=1.5)
    answer = solve(replace(narrow, joints=tuple(moved)), pose)
    assert isinstance(answer, Unreachable)
    assert answer.reason is Reason.LIMITS
    assert (answer.joint, answer.limit) == (moved[2].name, 1.35)
    assert answer.value == pytest.approx(1.3)
    assert answer.joint in str(answer)
    assert misses(ur5e(), answer.joints[None], pose[None])[0] < ACCURACY


@given(joints=JOINTS, turns=st.lists(st.floats(-2 * math.pi, 2 * math.pi), min_size=6, max_size=6))
def test_every_joint_of_an_answer_is_within_its_limits_and_no_other_turn_is_nearer_to_the_seed(joints, turns):
    robot, seed = ur5e(), np.array(turns)
    pose = flanges(robot, np.array([joints]))[0]
    for row in all_solutions(robot, pose, seed):
        for joint, angle, wanted in zip(robot.joints, row, seed, strict=True):
            assert joint.low - 1e-9 <= angle <= joint.high + 1e-9
            for other in (angle - 2 * math.pi, angle + 2 * math.pi):
                if joint.low <= other <= joint.high:
                    assert abs(angle - wanted) <= abs(other - wanted) + 1e-9
    answer = solve(robot, pose, seed)
    assert not isinstance(answer, Unreachable)


def test_a_joint_that_was_turned_once_round_stays_there():
    robot = ur5e()
    joints = np.array([5.9, -4.0, 1.3, -6.1, 0.8, 6.2])
    answer = solve(robot, flanges(robot, joints[None])[0], joints + 0.05)
    assert isinstance(answer, Solution)
    assert np.abs(answer.joints - joints).max() < 1e-9


SPREAD = st.floats(-2.0, 2.0) | st.sampled_from([0.0, 0.1333, -0.1333, 0.0997, 0.8172])


@given(place=st.tuples(SPREAD, SPREAD, SPREAD), turn=st.tuples(*[st.sampled_from([0.0, math.pi / 2, math.pi, 1.0])] * 3))
def test_no_pose_is_answered_with_something_that_is_no_number(place, turn):
    pose = np.eye(4)
    pose[:3, :3] = np.array(turning((0.0, 0.0, 0.0), turn).rotation).reshape(3, 3)
    pose[:3, 3] = place
    for robot in (ur5e(), puma(), abb()):
        found, _ = branches(robot, pose[None])
        assert np.isfinite(found).all()
        answer = solve(robot, pose)
        assert np.isfinite(answer.joints).all()
        assert math.isfinite(answer.error)
        if not isinstance(answer, Unreachable):
            assert misses(robot, answer.joints[None], pose[None])[0] < ACCURACY


def test_a_chain_written_with_seven_digits_is_still_reached_within_the_accuracy():
    robot = ur5e()
    rough = tuple(
        replace(joint, rotation=turning((0.0, 0.0, 0.0), (roll, 0.0, 0.0)).rotation)
        for joint, roll in zip(robot.joints, (0.0, 1.570796, 0.0, 0.0, 1.570796, -1.570796), strict=True)
    )
    robot = replace(robot, joints=rough)
    assert family(robot) is Family.PARALLEL
    joints = within(robot, np.random.default_rng(14), 50)
    for pose, row in zip(flanges(robot, joints), joints, strict=True):
        answer = solve(robot, pose, row)
        assert not isinstance(answer, Unreachable)
        assert misses(robot, answer.joints[None], pose[None])[0] < ACCURACY


def test_what_is_no_pose_is_refused_with_its_reason():
    pose = np.eye(4)
    for spoilt, word in (
        (np.diag([1.0, 1.0, -1.0, 1.0]), "mirrored"),
        (np.diag([2.0, 1.0, 1.0, 1.0]), "rigid"),
        (np.where(pose == 1.0, np.nan, pose), "finite"),
        (np.eye(3), "4, 4"),
    ):
        with pytest.raises(PoseError, match=word):
            solve(ur5e(), spoilt)
    with pytest.raises(PoseError, match="6 finite numbers"):
        solve(ur5e(), pose, np.zeros(5))
    with pytest.raises(NoClosedForm, match="crooked"):
        all_solutions(crooked(), pose)


def test_the_same_poses_give_the_same_bits_in_any_company():
    robot = ur5e()
    poses = flanges(robot, within(robot, np.random.default_rng(15), 130))
    whole = branches(robot, poses)[0]
    assert whole.tobytes() == branches(robot, poses)[0].tobytes()
    alone = np.concatenate([branches(robot, poses[i : i + 1])[0] for i in range(len(poses))])
    assert whole.tobytes() == alone.tobytes()
