"""Whole programs: every target reached exactly, every limit kept at every sample, the same bits every time."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import chain
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from twin.kinematics.robot import JointKind
from twin.motion.arm import ArmOpKind, course, plan, read
from twin.motion.arm.course import OFF_LINE
from twin.motion.arm.solved import Solved

HOME = np.radians([0, -90, 90, -90, -90, 0])

PICK = """
home
tool 0 0 0.1 0 0 0
speed 0.8
joints 10 -80 90 -100 -90 0
blend 0.03
line -0.35 -0.2 0.35 180 0 90
line -0.35 -0.2 0.25 180 0 90
grip
line -0.35 -0.2 0.4 180 0 90
line -0.1 -0.5 0.4 180 0 60
line -0.1 -0.5 0.25 180 0 60
wait 0.5
release
to -0.3 -0.3 0.4 180 0 0
"""


def held(found, limits, witness):
    """Whatever holds for every trajectory."""
    path, step = found.trajectory, limits.interval
    assert path.time == pytest.approx(np.arange(len(path)) * step, abs=1e-12)
    assert ((path.q >= limits.low - 1e-9) & (path.q <= limits.high + 1e-9)).all()
    assert (np.abs(path.qd) <= limits.speed * (1 + 1e-8)).all()
    assert (np.abs(path.qdd) <= np.array(limits.acceleration) * (1 + 1e-8)).all()
    assert (np.abs(witness(path.q, path.qd, path.qdd)) <= limits.effort * (1 + 1e-6)).all()
    for begin, end in found.runs:
        q, qd, qdd = path.q[begin:end], path.qd[begin:end], path.qdd[begin:end]
        assert not qd[[0, -1]].any() and not qdd[[0, -1]].any()
        assert (np.abs(np.diff(q, axis=0)) <= step * limits.speed * (1 + 1e-7)).all()
        assert (np.abs(np.diff(qd, axis=0)) <= step * np.array(limits.acceleration) * (1 + 1e-7)).all()
        assert (np.abs(np.diff(qdd, axis=0)) <= 1.05 * step * np.array(limits.jerk)).all()
        off = np.abs(np.diff(q, axis=0) - step / 2 * (qd[1:] + qd[:-1]))
        assert (off <= 1.1 * np.array(limits.jerk) * step**3 / 12 + 1e-9).all()
        off = np.abs(np.diff(qd, axis=0) - step / 2 * (qdd[1:] + qdd[:-1]))
        assert (off <= np.array(limits.jerk) * step**2 / 2 + 1e-9).all()


def tool(limits, q, move):
    x, y, z, *turns = move.tool
    frame = np.eye(4)
    frame[:3, 3], frame[:3, :3] = (x, y, z), Rotation.from_euler("xyz", turns).as_matrix()
    return chain.poses(limits.robot, q) @ frame


def goal(move):
    out = np.eye(4)
    out[:3, 3], out[:3, :3] = move.target[:3], Rotation.from_euler("xyz", move.target[3:]).as_matrix()
    return out


def test_a_pick_is_planned_with_rests_for_its_operations(limits, witness):
    program = read(PICK)
    found = plan(program, limits, np.zeros(6))
    assert found.refusals == () and found.lines == 16
    held(found, limits, witness)
    path, (home, grip, wait, release) = found.trajectory, found.ops
    assert [op.kind for op in found.ops] == [ArmOpKind.HOME, ArmOpKind.GRIP, ArmOpKind.WAIT, ArmOpKind.RELEASE]
    assert home.before == 0 and (path.q[0] == HOME).all() and wait.before == release.before
    for op in (grip, wait):
        assert (path.q[op.before - 1] == path.q[op.before]).all()
    assert found.runs.tolist() == [[0, grip.before], [grip.before, wait.before], [wait.before, len(path)]]
    assert found.duration_s == pytest.approx(path.duration + 0.5)
    for sample, move in ((grip.before - 1, 2), (wait.before - 1, 5), (-1, 6)):
        there = tool(limits, path.q[[sample]], program.moves[move])[0]
        assert there == pytest.approx(goal(program.moves[move]), abs=1e-9)
    assert np.unique(path.line).tolist() == [5, 7, 8, 10, 11, 12, 15]


def test_a_blended_corner_is_cut_no_further_than_its_radius_and_not_stopped_at(limits):
    program = read(PICK)
    rounded = plan(program, limits, HOME)
    path, before = rounded.trajectory, rounded.ops[1].before
    corner, move = goal(program.moves[1])[:3, 3], program.moves[1]
    near = np.linalg.norm(tool(limits, path.q[:before], move)[:, :3, 3] - corner, axis=1)
    at = int(np.argmin(near))
    assert 0.005 < near[at] <= 0.015
    assert np.abs(path.qd[at - 3 : at + 4]).max(axis=1).min() > 0.05
    sharp = plan(read(PICK.replace("blend 0.03", "blend 0")), limits, HOME).trajectory
    near = np.linalg.norm(tool(limits, sharp.q, move)[:, :3, 3] - corner, axis=1)
    assert near.min() < 1e-9 and not sharp.qd[int(np.argmin(near))].any()
    assert sharp.duration > path.duration


@given(share=st.sampled_from([0.05, 0.3, 1.0]), dx=st.floats(-0.15, 0.15), dy=st.floats(-0.2, 0.2), dz=st.floats(-0.25, 0.1))
@settings(max_examples=25)
def test_a_line_is_straight_turns_evenly_and_keeps_the_tools_limits(limits, witness, share, dx, dy, dz):
    assume(np.linalg.norm([dx, dy, dz]) > 1e-3)
    begin = chain.poses(limits.robot, HOME[None])[0]
    end = begin[:3, 3] + (dx, dy, dz)
    program = read(f"speed {share}\nline {end[0]!s} {end[1]!s} {end[2]!s} 180 0 {60 + 90 * dx!s}")
    found = plan(program, limits, HOME)
    assert found.refusals == ()
    held(found, limits, witness)
    flange = chain.poses(limits.robot, found.trajectory.q)
    assert flange[-1] == pytest.approx(goal(program.moves[0]), abs=1e-9)
    along = (end - begin[:3, 3]) / np.linalg.norm(end - begin[:3, 3])
    off = flange[:, :3, 3] - begin[:3, 3]
    assert np.linalg.norm(off - (off @ along)[:, None] * along, axis=1).max() <= 2 * OFF_LINE
    turned = Rotation.from_matrix(flange[:, :3, :3] @ begin[:3, :3].T).as_rotvec()
    whole = turned[-1] / np.linalg.norm(turned[-1])
    assert np.linalg.norm(turned - (turned @ whole)[:, None] * whole, axis=1).max() <= 2 * OFF_LINE
    speed = np.linalg.norm(np.diff(flange[:, :3, 3], axis=0), axis=1) / limits.interval
    turning = np.abs(np.diff(turned @ whole)) / limits.interval
    assert speed.max() <= share * limits.tool_speed * (1 + 1e-3) and turning.max() <= share * limits.turn_speed * (1 + 1e-3)
    assert np.abs(np.diff(speed)).max() / limits.interval <= limits.tool_acceleration * 1.01


ANGLES = st.lists(st.floats(-60, 60), min_size=6, max_size=6)


@given(
    moves=st.lists(st.tuples(st.sampled_from(["joints", "to", "line", "grip", "wait 0.1", "home"]), ANGLES), max_size=6),
    blend=st.sampled_from([0, 0.01, 0.2]),
    share=st.sampled_from([0.1, 1]),
)
@settings(max_examples=40)
def test_any_program_is_planned_within_the_limits_or_refused_with_its_line(limits, witness, moves, blend, share):
    text = [f"blend {blend}", f"speed {share}"]
    for kind, angles in moves:
        q = HOME + np.radians(angles)
        if kind == "joints":
            text.append("joints " + " ".join(str(value) for value in np.degrees(q)))
        elif kind in ("to", "line"):
            pose = chain.poses(limits.robot, q)[0]
            turns = Rotation.from_matrix(pose[:3, :3]).as_euler("xyz", degrees=True)
            text.append(f"{kind} " + " ".join(str(value) for value in (*pose[:3, 3], *turns)))
        else:
            text.append(kind)
    program = read("\n".join(text))
    found = plan(program, limits, HOME)
    if found.refusals:
        assert len(found.trajectory) == 0
        assert all(refusal.line in {move.line for move in program.moves} for refusal in found.refusals)
        return
    held(found, limits, witness)
    if program.moves and program.moves[-1].kind != "joints":
        there = tool(limits, found.trajectory.q[[-1]], program.moves[-1])[0]
        assert there == pytest.approx(goal(program.moves[-1]), abs=1e-8)
    elif program.moves:
        assert (found.trajectory.q[-1] == np.radians(program.moves[-1].target)).all()


@pytest.mark.parametrize(
    ("text", "line", "axis", "said"),
    [
        ("joints 0 -90 400 -90 -90 0", 1, "elbow_joint", "outside its range"),
        ("home\njoints 1 2 3", 2, "", "names 3 angles; ur5e has 6 axes"),
        ("to 2 2 2 0 0 0", 1, "", "out of reach"),
        ("home\nline -0.5 -0.2 0.3 180 0 90\nline -1.5 0 0.3 180 0 90", 3, "", "out of reach"),
        ("home\nline 0 0 0.6 180 0 90", 2, "", "the line leads through"),
        ("joints 0 -90 90 -90 -0.0001 0\nline -0.3 -0.3 0.3 170 20 30", 2, "", "singular"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_line_and_cause(limits, text, line, axis, said):
    found = plan(read(text), limits, HOME)
    (refusal,) = found.refusals
    assert (refusal.line, len(found.trajectory), len(found.runs)) == (line, 0, 0)
    assert refusal.axis == axis or not axis
    assert said in refusal.text


def test_a_line_through_a_singular_pose_is_refused_with_the_joint_that_would_turn(limits):
    """Straight past the pose in which two axes of the wrist fall together."""
    through = HOME.copy()
    through[4] = 0.0
    through[0] = 0.3
    middle = chain.poses(limits.robot, through[None])[0]
    # Tilted by this little, the wrist can't just pass through: its first axis must turn half around, on half a millimetre.
    tilt = np.cross(middle[:3, 2], (0.0, 0.0, 1.0)) * 1e-4
    middle[:3, :3] = Rotation.from_rotvec(tilt).as_matrix() @ middle[:3, :3]
    begin, end = middle.copy(), middle.copy()
    side = middle[:3, 2] * 0.1
    begin[:3, 3], end[:3, 3] = middle[:3, 3] + side, middle[:3, 3] - side
    lines, aside = ["tool 0 0 0 0 30 20"], Rotation.from_euler("xyz", [0, 30, 20], degrees=True).as_matrix()
    for pose in (begin, end):
        turns = Rotation.from_matrix(pose[:3, :3] @ aside).as_euler("xyz", degrees=True)
        lines.append("line " + " ".join(str(value) for value in (*pose[:3, 3], *turns)))
    found = plan(read("\n".join([lines[0], "to" + lines[1][4:], lines[2]])), limits, through)
    for refusal in found.refusals:
        assert refusal.line == 3 and "singular" in refusal.text and refusal.axis and refusal.value > refusal.limit
    assert found.refusals


def test_a_line_that_turns_a_joint_past_its_range_is_refused_with_the_joint_and_its_limit(limits):
    wound = HOME.copy()
    wound[5] = np.radians(350)
    pose = chain.poses(limits.robot, wound[None])[0]
    x, y, z = pose[:3, 3]
    (refusal,) = plan(read(f"line {x!s} {y!s} {z!s} 180 0 {90 - 350 - 20}"), limits, wound).refusals
    assert (refusal.line, refusal.axis, refusal.limit) == (1, "wrist_3_joint", pytest.approx(2 * np.pi))
    assert refusal.value > refusal.limit and "beyond a joint's limits" in refusal.text


@given(share=st.floats(0.01, 1), angles=ANGLES)
@settings(max_examples=15)
def test_a_share_of_the_speed_holds_for_every_joint_and_slows_nothing_more(limits, share, angles):
    text = f"speed {share}\njoints " + " ".join(str(value) for value in np.degrees(HOME) + angles)
    path = plan(read(text), limits, HOME).trajectory
    used = np.max(np.abs(path.qd) / limits.speed, initial=0) / share
    assert used <= 1 + 1e-9
    if np.max(np.abs(angles)) > 40:
        assert used > 0.98 or share > 0.3


def test_lines_of_different_tools_are_not_joined(limits):
    text = "blend 0.05\nline -0.4 -0.1 0.5 180 0 90\ntool 0 0 0.1 0 0 0\nline -0.4 -0.3 0.4 180 0 90"
    program = read(text)
    path = plan(program, limits, HOME).trajectory
    last = np.flatnonzero(path.line == 2)[-1]
    assert not path.qd[last].any()
    assert tool(limits, path.q[[last]], program.moves[0])[0] == pytest.approx(goal(program.moves[0]), abs=1e-9)
    assert tool(limits, path.q[[-1]], program.moves[1])[0] == pytest.approx(goal(program.moves[1]), abs=1e-9)


def test_a_prismatic_joint_goes_by_millimetres(limits, plain):
    first = replace(limits.robot.joints[0], kind=JointKind.PRISMATIC, low=-1.0, high=1.0)
    rail = replace(limits, robot=replace(limits.robot, joints=(first, *limits.robot.joints[1:])))
    path = plan(read("joints 250 -90 90 -90 -90 0"), rail, HOME, plain).trajectory
    assert path.q[-1].tolist() == [0.25, *HOME[1:]]
    assert plan(read("joints 1250 -90 90 -90 -90 0"), rail, HOME, plain).refusals[0].value == 1.25


def test_what_would_never_end_is_refused_with_its_line(limits, monkeypatch):
    way = "".join(f"line -0.4 -0.1 {0.3 + 0.002 * (k % 2):.4f} 180 0 90\n" for k in range(course.MOST_JOINED + 1))
    (refusal,) = plan(read("blend 0.01\n" + way), limits, HOME).refusals
    assert (refusal.line, refusal.value, refusal.limit) == (course.MOST_JOINED + 2, course.MOST_JOINED + 1, course.MOST_JOINED)
    monkeypatch.setattr(course, "MOST_SAMPLES", 150)
    (refusal,) = plan(read("joints 0 0 0 0 0 0\njoints 90 0 0 0 0 0"), limits, HOME).refusals
    assert refusal.line == 2 and refusal.value > refusal.limit == 150


CORNERS = st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=2, max_size=4)


@given(
    corners=CORNERS,
    lengths=st.lists(st.sampled_from([1e-8, 1e-6, 1e-5, 1e-4, 6e-4, 1.3e-3, 0.05]), min_size=4, max_size=4),
    blend=st.sampled_from([1e-9, 1e-6, 1e-4, 3e-4, 4.5e-4, 6e-4, 0.02]),
    interval=st.sampled_from([0.004, 0.008, 0.03]),
)
@example(corners=[(0, 1, 0), (1, 0, 0)], lengths=[0.05] * 4, blend=1e-4, interval=0.008)
@example(corners=[(0, 1, 0), (1, 0, 0), (0, 1, 0)], lengths=[0.05, 1e-4, 0.05, 0.05], blend=0.02, interval=0.008)
@example(corners=[(1, 0, 0), (-1, 0, 0)], lengths=[0.05] * 4, blend=1e-6, interval=0.008)
@settings(max_examples=25)
def test_corners_however_little_rounded_keep_the_limits_and_cost_no_more_than_stops(
    limits, witness, corners, lengths, blend, interval
):
    at, text = chain.poses(limits.robot, HOME[None])[0][:3, 3], [f"blend {blend:.9f}"]
    for way, length in zip(corners, lengths, strict=False):
        at = at + length * np.array(way)
        text.append("line " + " ".join(f"{value:.12f}" for value in at) + " 180 0 90")
    even = replace(limits, interval=interval)
    found = plan(read("\n".join(text)), even, HOME)
    stopped = plan(read("\n".join(["blend 0", *text[1:]])), even, HOME)
    assert found.refusals == ()
    held(found, even, witness)
    assert found.trajectory.duration <= 1.5 * stopped.trajectory.duration + 5 * interval


def test_a_start_that_is_none_is_refused(limits):
    for start in (np.full(6, 9.0), np.full(6, np.nan), np.zeros(5)):
        found = plan(read("home"), limits, start)
        assert found.refusals and found.refusals[0].line == 0


def test_a_program_without_motion_has_one_sample(limits):
    found = plan(read("grip\nrelease"), limits, HOME)
    assert len(found.trajectory) == 1 and (found.trajectory.q[0] == HOME).all() and found.trajectory.duration == 0


def test_other_kinematics_can_be_planned_with(limits, plain):
    found = plan(read("line -0.45 -0.1 0.4 180 0 90"), limits, HOME, plain)
    mine = plan(read("line -0.45 -0.1 0.4 180 0 90"), limits, HOME)
    assert found.refusals == ()
    assert found.trajectory.q[-1] == pytest.approx(mine.trajectory.q[-1], abs=1e-8)


class Weak:
    """A robot's own kinematics, torques by the witness."""

    def __init__(self, robot, witness):
        self._own, self.torques = Solved(robot), witness

    def __getattr__(self, name):
        return getattr(self._own, name)


def weakened(limits, share):
    joints = tuple(replace(joint, effort=joint.effort * share) for joint in limits.robot.joints)
    return replace(limits, robot=replace(limits.robot, joints=joints))


def test_weak_drives_slow_a_move(limits, witness):
    for text in ("joints 0 -150 60 -90 -90 0", "line -0.6 -0.1334 0.5 180 0 90"):
        strong = plan(read(text), limits, HOME)
        still = np.zeros_like(strong.trajectory.q)
        weak = weakened(limits, 1.04 * np.max(np.abs(witness(strong.trajectory.q, still, still)) / limits.effort))
        slow = plan(read(text), weak, HOME, Weak(limits.robot, witness))
        assert slow.refusals == ()
        held(slow, weak, witness)
        assert slow.trajectory.duration > strong.trajectory.duration


def test_drives_too_weak_to_hold_the_arm_are_refused_with_their_joint(limits, witness):
    weak = weakened(limits, 0.15)
    for text in ("joints 0 -20 20 -90 -90 0", "line -0.6 -0.1334 0.3 180 0 90"):
        (refusal,) = plan(read(text), weak, HOME, Weak(limits.robot, witness)).refusals
        assert refusal.line == 1 and refusal.axis == "shoulder_lift_joint"
        assert "to hold the arm" in refusal.text and refusal.value >= refusal.limit


def fingerprint(limits):
    path = plan(read(PICK), limits, np.zeros(6)).trajectory
    return hashlib.sha256(b"".join(part.tobytes() for part in (path.time, path.q, path.qd, path.qdd, path.line))).hexdigest()


def test_a_plan_has_the_same_bits_in_every_process(limits):
    code = (
        "import numpy as np, hashlib\nfrom twin.kinematics.ur5e import ur5e\nfrom twin.motion.arm import limits_of, plan, read\n"
        f"limits = limits_of(ur5e(), home=tuple({HOME.tolist()!r}))\npath = plan(read({PICK!r}), limits, np.zeros(6)).trajectory\n"
        "parts = (path.time, path.q, path.qd, path.qdd, path.line)\n"
        "print(hashlib.sha256(b''.join(part.tobytes() for part in parts)).hexdigest())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == fingerprint(limits) == fingerprint(limits)
