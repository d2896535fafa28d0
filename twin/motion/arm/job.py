"""An arm's Job: a checked plan in 12 bytes a record for six axes, which a node carries out by itself.

Little-endian. The header of a printer's Job with a magic of its own, then records:

    motion  u24 chunks (10 bits) | alpha << 10 (14 bits), then a u24 for two axes each: 12 bits of signed steps an axis
            at the share u of its time each axis has made steps * (a u + (1 - a) u²), a = alpha / 8192
    op      u16 0, u8 code, u8 arg, i32 value: see JointOp
"""

import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from twin.kernel import Floats, Ints
from twin.motion.arm import records as packed
from twin.motion.arm.limits import ArmLimits
from twin.motion.arm.program import ArmOp, ArmOpKind
from twin.motion.arm.trajectory import ArmPlan, Trajectory
from twin.motion.job import HEADER, Records, header
from twin.motion.limits import JobError

MAGIC = b"LSJ2"
AXES = packed.AXES
ALL_AXES = (1 << AXES) - 1
_OP = struct.Struct("<HBBi")


class JointOp(IntEnum):
    """What happens between movements; the arm rests for all but LINE.

    HOME and MOTORS have the printer's numbers. SET: output `arg` gets the level `value`. EXPECT: input `arg` must have the
    level `value`, AT: joint `arg` must stand at `value` steps, else the Job is given up. DWELL: `value` chunks.
    """

    HOME = 4
    MOTORS = 5
    LINE = 6
    SET = 7
    EXPECT = 8
    AT = 9
    DWELL = 10
    END = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class JointSteps:
    """How an arm's joints hang on the step stream.

    Attributes:
        per_rad: microsteps of each joint.
        homing_order: joints one after the other; homing_speed: until a cam's edge is seen, then a tenth of it [rad/s].
        grip_s: how long the jaws are given to close or open.
        max_step_rate: steps/s of one joint that the node can make; at most one step in two frames.
        frame_us, chunk_frames: the node's step clock; durations in a Job are whole chunks.
    """

    per_rad: tuple[float, ...]
    homing_order: tuple[int, ...] = (1, 2, 3, 4, 5, 0)
    homing_speed: float = 0.35
    grip_s: float = 0.5
    max_step_rate: float = 45_000.0
    frame_us: int = 10
    chunk_frames: int = 4

    @property
    def chunk(self) -> float:
        """Seconds of the smallest duration in a Job."""
        return self.frame_us * self.chunk_frames * 1e-6

    def of(self, angles: Floats) -> Ints:
        """Angles [rad] as whole steps, of the same shape."""
        found: Ints = np.floor(angles * np.array(self.per_rad) + 0.5).astype(np.int64)
        return found


def fingerprint(limits: ArmLimits, steps: JointSteps) -> int:
    """CRC-32 of all that a Job's numbers depend on: a node refuses a Job made for others."""
    return zlib.crc32(f"{limits!r} {steps!r}".encode())


@dataclass(frozen=True, slots=True)
class JointRecord:
    """One record; an op has no chunks."""

    op: JointOp | None
    arg: int
    value: int
    chunks: int
    steps: tuple[int, ...]
    alpha: int


class _Writer:
    """The body of a Job as it grows."""

    def __init__(self, steps: JointSteps) -> None:
        self.steps = steps
        self.body: list[bytes] = []
        self.count = self.chunks = self.peak = 0
        self.line = 0
        self.at = np.zeros(AXES, np.int64)
        self._most = int(steps.max_step_rate * steps.frame_us * 1e-6 * packed.ONE)

    def op(self, op: JointOp, arg: int = 0, value: int = 0) -> None:
        self.body.append(_OP.pack(0, op, arg, value))
        self.count += 1

    def show(self, line: int) -> None:
        """A line marker, where the line is another one."""
        if line != self.line:
            self.op(JointOp.LINE, 0, line)
            self.line = line

    def dwell(self, seconds: float) -> None:
        chunks = round(seconds / self.steps.chunk)
        if chunks:
            self.op(JointOp.DWELL, 0, chunks)
            self.chunks += chunks

    def move(self, way: Trajectory, first: int, end: int) -> None:
        """The samples of one stretch, a program line at a time."""
        changes = first + 1 + np.flatnonzero(np.diff(way.line[first + 1 : end]))
        bounds = [first, *changes.tolist(), end - 1]
        for since, until in itertools.pairwise(bounds):
            if until > since:
                self.show(int(way.line[until]))
                self._stretch(way, since, until + 1)

    def _stretch(self, way: Trajectory, first: int, end: int) -> None:
        time = way.time[first:end] - way.time[0]
        chunk, per_rad = self.steps.chunk, np.array(self.steps.per_rad)
        longest = min(packed.MOST_CHUNKS, int(packed.MOST_STEPS / (self.steps.max_step_rate * chunk)))
        begins = np.zeros((int((time[-1] - time[0]) / (longest * chunk)) + 2 * len(time), 2), np.int64)
        count = packed.cut(time, chunk, longest, begins)
        assert count > 0, f"{len(time)} samples make no record"
        out = np.zeros(count * packed.RECORD_BYTES, np.uint8)
        place, speed = way.q[first:end] * per_rad, way.qd[first:end] * per_rad
        peak, made = packed.write(time, place, speed, begins[:count], chunk, self.steps.chunk_frames, self._most, out, self.at)
        if made < count:
            rate = peak / packed.ONE / (self.steps.frame_us * 1e-6)
            sample = first + int(begins[made, 1]) + 1
            limit = self.steps.max_step_rate
            raise JobError(f"a joint makes {rate:.0f} steps/s, more than {limit:g}", int(way.line[sample]), "", rate, limit)
        self.body.append(out.tobytes())
        self.count += count
        self.chunks += int(np.floor(time[-1] / chunk + 0.5) - np.floor(time[0] / chunk + 0.5))
        self.peak = max(self.peak, peak)


def encode(plan: ArmPlan, limits: ArmLimits, steps: JointSteps, empty: bool = False) -> bytes:
    """The Job of a plan; every record ends within half a step of it. Output 0 opens the jaws, input 0 says that they hold.

    Before anything moves, the jaws too, a Job asks the node whether the joints stand where the plan begins, unless it homes
    them. Jaws that closed must hold something from then on up to the end, and those that opened must not; nor may they when
    the arm moves before they did either, for so a plan is checked.

    Args:
        empty: the jaws must hold nothing from the first on, not even what they would let go of.

    Raises:
        JobError: something in the plan was refused, a joint would have to step too fast, or the arm has not six axes.
    """
    if plan.refusals:
        worst = plan.refusals[0]
        raise JobError(worst.text, worst.line, worst.axis, worst.value, worst.limit)
    if limits.robot.axes != AXES:
        raise JobError(f"{limits.robot.name} has {limits.robot.axes} axes, not {AXES}", value=limits.robot.axes, limit=AXES)
    writer = _Writer(steps)
    _records(writer, plan, steps.of(np.array(limits.home)), empty)
    writer.op(JointOp.END)
    body = b"".join(writer.body)
    peak = -(-writer.peak * 1_000_000 // (steps.frame_us * packed.ONE))
    made_for, crc = fingerprint(limits, steps), zlib.crc32(body)
    numbers = steps.frame_us, steps.chunk_frames, writer.count, writer.chunks, peak, made_for, len(body), crc
    return HEADER.pack(MAGIC, *numbers) + body


def _records(writer: _Writer, plan: ArmPlan, home: Ints, empty: bool) -> None:
    way = plan.trajectory
    known, done = False, 0
    holds: int | None = None
    for op in (*plan.ops, None):
        until = op.before if op is not None else len(way)
        homes, waits = op is not None and op.kind is ArmOpKind.HOME, op is not None and op.kind is ArmOpKind.WAIT
        acts = until > done or (op is not None and not waits)
        if acts and not known and not homes and len(way):
            _stands(writer, way.q[done])
            known = True
        if holds is None and acts and (empty or homes or until > done):
            holds = 0
            writer.op(JointOp.EXPECT, 0, holds)
        if until > done:
            writer.move(way, done, until)
            done = until
        if op is None:
            break
        if homes:
            known, writer.at[:] = True, home
        holds = _operation(writer, op, holds)
    if holds is not None:
        writer.op(JointOp.EXPECT, 0, holds)


def _stands(writer: _Writer, place: Floats) -> None:
    """Ask whether the joints stand where the plan has them [rad]."""
    writer.at[:] = writer.steps.of(place)
    for joint in range(AXES):
        writer.op(JointOp.AT, joint, int(writer.at[joint]))


def _operation(writer: _Writer, op: ArmOp, holds: int | None) -> int | None:
    """Write an operation; whether the jaws hold something afterwards, None where nobody can say."""
    writer.show(op.line)
    match op.kind:
        case ArmOpKind.WAIT:
            writer.dwell(op.seconds)
        case ArmOpKind.HOME:
            writer.op(JointOp.HOME, ALL_AXES)
        case ArmOpKind.GRIP | ArmOpKind.RELEASE:
            holds = int(op.kind is ArmOpKind.GRIP)
            writer.op(JointOp.SET, 0, 1 - holds)
            writer.dwell(writer.steps.grip_s)
            writer.op(JointOp.EXPECT, 0, holds)
    return holds


def decode(job: bytes) -> Records:
    """All records of an arm's Job, checked.

    Raises:
        JobError: bytes that are none of ours, a record beyond END, or counts that differ from the header's.
    """
    head = header(job, MAGIC)
    if head.records > head.length // packed.OP_BYTES:
        raise JobError(f"{head.length} bytes can't hold {head.records} records", value=head.records)
    body = np.frombuffer(job, np.uint8, offset=HEADER.size)
    table, steps = np.zeros((head.records, 5), np.int64), np.zeros((head.records, AXES), np.int64)
    alpha = np.zeros(head.records, np.int64)
    found, read = packed.unpack(body.copy(), table, steps, alpha)
    if found != head.records or read != len(body):
        raise JobError(f"byte {read} of the body makes no record {found + 1} of {head.records}", value=read)
    records = Records(head, table[:, 0], table[:, 2], table[:, 3], table[:, 1], steps, alpha, table[:, 4])
    _check_records(records)
    return records


def _check_records(records: Records) -> None:
    ended = np.flatnonzero(records.code == JointOp.END)
    if len(ended) != 1 or ended[0] != len(records) - 1:
        raise JobError("END must be the last record and occur once")
    ops = records.chunks == 0
    strange = np.flatnonzero(ops & ~np.isin(records.code, [op.value for op in JointOp]))
    if len(strange):
        raise JobError(f"{records.code[strange[0]]} is no op", value=float(records.code[strange[0]]))
    chunks = int(records.chunks.sum() + records.value[records.code == JointOp.DWELL].sum())
    if chunks != records.header.chunks:
        raise JobError(f"there are {chunks} chunks, not {records.header.chunks}", value=chunks)


def inspect(job: bytes) -> Iterator[JointRecord]:
    """The records of an arm's Job, one by one.

    Raises:
        JobError: see `decode`.
    """
    records = decode(job)
    for i in range(len(records)):
        code = int(records.code[i])
        yield JointRecord(
            op=JointOp(code) if code else None,
            arg=int(records.arg[i]),
            value=int(records.value[i]),
            chunks=int(records.chunks[i]),
            steps=tuple(records.steps[i].tolist()),
            alpha=int(records.alpha[i]),
        )
