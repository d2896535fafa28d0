"""An arm's Job: 12 bytes a record, read back as it was meant, and the generator's steps against the plan's own curve."""

import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.orders.job import shortest_reserve
from twin.kernel import Floats
from twin.kinematics.ur5e import ur5e
from twin.motion import JobError, stepping
from twin.motion.arm import ArmLimits, ArmOp, ArmOpKind, ArmPlan, Trajectory, limits_of
from twin.motion.arm.job import ALL_AXES, JointOp, JointSteps, decode, encode, fingerprint, inspect
from twin.motion.arm.program import ArmProgram
from twin.motion.findings import Refusal
from twin.motion.job import HEADER, Records

LIMITS = limits_of(ur5e(), (0.0, -np.pi / 2, 0.0, -np.pi / 2, 0.0, 0.0))
STEPS = JointSteps(per_rad=(10_000.0,) * 6)
HOME = np.array(LIMITS.home)


def plan_of(q: Floats, qd: Floats, ops: tuple[ArmOp, ...] = (), interval: float = 0.008, line: int = 3) -> ArmPlan:
    count = len(q)
    way = Trajectory(np.arange(count) * interval, q, qd, np.zeros_like(q), np.full(count, line), interval)
    return ArmPlan(ArmProgram((), (), 9), way, ops, np.zeros((0, 2), np.int64), (), count * interval)


def smooth(way: Floats, seconds: float, interval: float = 0.008, start: Floats = HOME) -> tuple[Floats, Floats]:
    u = np.linspace(0.0, 1.0, round(seconds / interval) + 1)
    rate = 30 * (u * (1 - u)) ** 2 / (interval * (len(u) - 1))
    return start + np.outer(u**3 * (10 - 15 * u + 6 * u * u), way), np.outer(rate, way)


def generated(records: Records) -> tuple[Floats, Floats]:
    """(k, 6) steps that the node's generator has made at each chunk's end, frame for frame, and (r,) late ones of each record."""
    made, late = [np.zeros((1, 6), np.int64)], []
    for i in np.flatnonzero(records.chunks):
        frames = np.zeros(4 * records.chunks[i], np.uint8)
        late.append(stepping.frames(int(records.chunks[i]), records.steps[i], int(records.alpha[i]), 4, frames))
        bits = frames[:, None] >> np.arange(6) & 1
        made.append(made[-1][-1] + np.cumsum(bits * np.sign(records.steps[i]), axis=0)[3::4])
    return np.concatenate(made), np.array(late)


def ops_of(job: bytes) -> list[tuple[JointOp, int, int]]:
    return [(record.op, record.arg, record.value) for record in inspect(job) if record.op is not None]


@settings(max_examples=30)
@given(
    way=st.lists(st.floats(-1.2, 1.2), min_size=6, max_size=6),
    interval=st.sampled_from([0.002, 0.008, 0.013, 0.1]),
    share=st.floats(0.02, 1.0),
)
def test_the_generated_steps_keep_to_the_plan(way: list[float], interval: float, share: float) -> None:
    # As fast as 4 rad/s allows, and with a sample so seldom that the path between two is the plan's cubic.
    seconds = max(8 * interval, 1.875 * max(max(map(abs, way)), 0.01) / (4.0 * share))
    q, qd = smooth(np.array(way), seconds, interval)
    records = decode(encode(plan_of(q, qd, interval=interval), LIMITS, STEPS))
    made, late = generated(records)
    assert not late.any(), "a step that is late is a fault on the node"
    at = np.round(np.arange(len(q)) * interval / STEPS.chunk).astype(int)
    wanted = q * 10_000.0 - STEPS.of(HOME)
    assert np.abs(made[at] - wanted).max() <= 0.5 + 1e-6, "at a sample it is half a step at most"
    assert (records.chunks <= 1023).all() and records.header.duration == pytest.approx(at[-1] * STEPS.chunk)


def test_between_two_samples_the_steps_follow_the_curve() -> None:
    way = np.array([1.2, 0.6, -1.0, 1.5, -1.0, 2.0])
    q, qd = smooth(way, 1.2, interval=0.04)
    made, _ = generated(decode(encode(plan_of(q, qd, interval=0.04), LIMITS, STEPS)))
    at = np.arange(len(made)) * STEPS.chunk / 1.2
    curve = (HOME + np.outer(at**3 * (10 - 15 * at + 6 * at * at), way)) * 10_000 - STEPS.of(HOME)
    assert np.abs(made - curve).max() < 3.0, "a straight line between two samples would be 25 steps off"


def test_a_second_of_motion_at_any_speed_takes_no_more_than_1800_bytes() -> None:
    for scale in (0.1, 1.0, 3.0):
        q, qd = smooth(np.full(6, 0.5 * scale), 1.0)
        assert len(encode(plan_of(q, qd), LIMITS, STEPS)) - HEADER.size <= 1800


def test_records_as_they_lie_in_memory() -> None:
    q = np.array([HOME, HOME + np.array([1, -1, 1600, -1600, 0, 5]) * 1e-4])
    job = encode(plan_of(q, np.zeros((2, 6)), interval=0.04), LIMITS, STEPS)
    ops = 8 * 8  # where the joints must stand, that the jaws are empty, and the line
    head = job[HEADER.size + ops :][:12]
    first = int.from_bytes(head[:3], "little")
    pairs = [int.from_bytes(head[at : at + 3], "little") for at in (3, 6, 9)]
    assert (first & 0x3FF, first >> 10) == (1000, 8192)
    assert pairs == [1 | 0xFFF << 12, 1600 | 0x9C0 << 12, 0 | 5 << 12]


def test_a_job_asks_first_whether_the_joints_stand_where_it_begins() -> None:
    q, qd = smooth(np.full(6, 0.2), 0.8)
    ops = ops_of(encode(plan_of(q, qd), LIMITS, STEPS))
    stand = [(JointOp.AT, k, int(STEPS.of(HOME)[k])) for k in range(6)]
    assert ops[:8] == [*stand, (JointOp.EXPECT, 0, 0), (JointOp.LINE, 0, 3)]
    homed = ops_of(encode(plan_of(q, qd, (ArmOp(1, ArmOpKind.HOME, 0),)), LIMITS, STEPS))
    assert (JointOp.HOME, 0, ALL_AXES) not in homed and (JointOp.HOME, ALL_AXES, 0) in homed
    assert not any(op is JointOp.AT for op, _, _ in homed)


def test_jaws_are_expected_to_hold_when_they_have_closed_and_at_the_end() -> None:
    q, qd = smooth(np.full(6, 0.2), 0.8)
    both = np.concatenate((q, q[::-1])), np.concatenate((qd, -qd[::-1]))
    job = encode(plan_of(*both, (ArmOp(4, ArmOpKind.GRIP, len(q)), ArmOp(5, ArmOpKind.WAIT, len(q), 0.25))), LIMITS, STEPS)
    ops = [(op, arg, value) for op, arg, value in ops_of(job) if op not in (JointOp.AT, JointOp.LINE)]
    held = (JointOp.EXPECT, 0, 1)
    assert ops == [
        (JointOp.EXPECT, 0, 0), (JointOp.SET, 0, 0), (JointOp.DWELL, 0, 12_500), held, (JointOp.DWELL, 0, 6_250), held,
        (JointOp.END, 0, 0),
    ]  # fmt: skip


def test_jaws_do_not_act_before_the_joints_are_known_to_stand_where_the_plan_begins() -> None:
    q, qd = smooth(np.full(6, 0.2), 0.8)
    stand = [(JointOp.AT, k, int(STEPS.of(HOME)[k])) for k in range(6)]
    for kind, level in ((ArmOpKind.RELEASE, 1), (ArmOpKind.GRIP, 0)):
        ops = ops_of(encode(plan_of(q, qd, (ArmOp(2, kind, 0),)), LIMITS, STEPS))
        assert ops[:8] == [*stand, (JointOp.LINE, 0, 2), (JointOp.SET, 0, level)], "and what they hold may be let go of"


def test_an_arm_moves_and_homes_only_with_empty_jaws_unless_its_job_has_closed_them() -> None:
    q, qd = smooth(np.full(6, 0.2), 0.8)
    home, grip, release = (ArmOp(n, kind, 0) for n, kind in enumerate((ArmOpKind.HOME, ArmOpKind.GRIP, ArmOpKind.RELEASE), 1))
    acts = (JointOp.HOME, JointOp.SET, JointOp.EXPECT)

    def first(*ops: ArmOp, empty: bool = False) -> tuple[JointOp, int, int]:
        return next(op for op in ops_of(encode(plan_of(q, qd, ops), LIMITS, STEPS, empty)) if op[0] in acts)

    nothing = (JointOp.EXPECT, 0, 0)
    assert first() == first(home) == first(release, empty=True) == nothing
    assert first(grip) == (JointOp.SET, 0, 0) and first(release) == (JointOp.SET, 0, 1)


def test_motion_that_asks_for_more_steps_than_a_node_makes_is_refused_with_its_line() -> None:
    q, qd = smooth(np.full(6, 3.0), 1.0)
    with pytest.raises(JobError, match="steps/s, more than 45000") as refused:
        encode(plan_of(q, qd), LIMITS, STEPS)
    assert refused.value.line == 3 and refused.value.limit == 45_000


def test_a_refused_plan_and_another_number_of_axes_make_no_job() -> None:
    q, qd = smooth(np.full(6, 0.2), 0.8)
    plan = plan_of(q, qd)
    bad = ArmPlan(plan.program, plan.trajectory, (), plan.runs, (Refusal(7, "elbow", "too far", 4.0, 3.0),), 1.0)
    with pytest.raises(JobError, match="line 7"):
        encode(bad, LIMITS, STEPS)


def test_the_fingerprint_tells_limits_and_steps_apart() -> None:
    other = JointSteps(per_rad=(10_000.0,) * 5 + (10_001.0,))
    slower = ArmLimits(robot=LIMITS.robot, acceleration=LIMITS.acceleration, jerk=LIMITS.jerk, home=(0.0,) * 6)
    assert len({fingerprint(LIMITS, STEPS), fingerprint(LIMITS, other), fingerprint(slower, STEPS)}) == 3


@given(data=st.data())
def test_any_change_of_a_jobs_bytes_is_noticed(data: st.DataObject) -> None:
    q, qd = smooth(np.full(6, 0.02), 0.1)
    job = bytearray(encode(plan_of(q, qd), LIMITS, STEPS))
    at = data.draw(st.integers(0, len(job) - 1).filter(lambda place: not 20 <= place < 24 and not 4 <= place < 8))
    job[at] ^= 1 << data.draw(st.integers(0, 7))
    if 16 <= at < 20:  # the peak rate and the fingerprint are the node's to judge
        assert len(decode(bytes(job)))
    else:
        with pytest.raises(JobError):
            decode(bytes(job))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (struct.pack("<HBBi", 0, 255, 0, 0) * 2, "END must be the last"),
        (struct.pack("<HBBi", 0, 99, 0, 0) + struct.pack("<HBBi", 0, 255, 0, 0), "99 is no op"),
        (struct.pack("<HBBi", 0x400, 255, 0, 0), "byte 0 of the body"),
        (struct.pack("<HBBi", 5, 255, 0, 0), "byte 0 of the body"),
    ],
)
def test_bytes_that_make_no_records_are_refused(body: bytes, told: str) -> None:
    head = HEADER.pack(b"LSJ2", 10, 4, max(1, len(body) // 8), 0, 0, 0, len(body), zlib.crc32(body))
    with pytest.raises(JobError, match=told):
        decode(head + body)
    with pytest.raises(JobError, match="start of a Job"):
        decode(b"LSJ1" + head[4:] + body)


def test_a_long_jobs_densest_stretch_is_known_for_a_ring_that_does_not_take_all_of_it() -> None:
    q, qd = smooth(np.full(6, 0.5), 20.0)
    job = encode(plan_of(q, qd), LIMITS, STEPS)
    assert len(job) > 24 * 1024 and shortest_reserve(job, len(job)) == math.inf
    assert shortest_reserve(job, 12_000) == pytest.approx(12_000 / 12 * 0.008, rel=0.02)
