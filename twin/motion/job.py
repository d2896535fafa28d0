"""The Job: a checked plan in at most 12 bytes a segment, which a node carries out by itself.

Little-endian. A header of 32 bytes, then records:

    motion  u16 axes << 12 | chunks, i16 steps of each axis in `axes` (never 0), u16 alpha
            at the share u of its time each axis has made steps * (a u + (1 - a) u²), a = alpha / 32768
    stand   u16 chunks, nothing moves
    op      u16 0, u8 code, u8 arg, i32 value: see OpKind; heat in 0.1 °C, fan in 1/65535, probing in steps
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from twin.kernel import Ints
from twin.motion import stepping
from twin.motion.limits import JobError, Limits
from twin.motion.plan import Plan
from twin.motion.program import Op, OpKind
from twin.motion.stepping import Octets
from twin.motion.unpacking import unpack

MAGIC = b"LSJ1"
HEADER = struct.Struct("<4sHHIIIIII")
_OP = struct.Struct("<HBBi")
END = _OP.pack(0, OpKind.END, 0, 0)


@dataclass(frozen=True, slots=True)
class Header:
    """What a node checks before it accepts a Job.

    Attributes:
        frame_us, chunk_frames: the step clock it was made for.
        records: how many, END among them.
        chunks: of motion and standing, all records together.
        peak_rate: largest steps/s of one axis, rounded up.
        fingerprint: of the Limits it was made for.
        length, crc: of the body.
    """

    frame_us: int
    chunk_frames: int
    records: int
    chunks: int
    peak_rate: int
    fingerprint: int
    length: int
    crc: int

    @property
    def duration(self) -> float:
        """Seconds without waits."""
        return self.chunks * self.chunk_frames * self.frame_us * 1e-6


@dataclass(frozen=True, slots=True)
class Record:
    """One record; an op has no chunks, standing has neither steps nor alpha.

    Attributes:
        op: None for motion and standing.
        steps: X, Y, Z, E.
    """

    op: OpKind | None
    arg: int
    value: int
    chunks: int
    steps: tuple[int, int, int, int]
    alpha: int


@dataclass(frozen=True, slots=True)
class Records:
    """A Job's records as arrays.

    Attributes:
        header: as checked.
        code: (k,) of an op, 0 for motion and standing.
        arg, value: (k,) of ops; chunks, alpha: (k,) of the others; steps: (k, axes), 4 of a printer and 6 of an arm.
        offset: (k,) of each record in the body.
    """

    header: Header
    code: Ints
    arg: Ints
    value: Ints
    chunks: Ints
    steps: Ints
    alpha: Ints
    offset: Ints

    def __len__(self) -> int:
        return len(self.code)


@dataclass(frozen=True, slots=True)
class Made:
    """What the node's generator makes of a Job.

    Attributes:
        steps: (k, 4) made within each record.
        missing: (k,) steps of the dominant axis that were late and put into the last frames; always 0 for our own Jobs.
        end: (k,) chunks played at each record's end.
        position: (k, 4) steps since the last homing of X, Y, Z, and of E since the start, at each record's end.
    """

    steps: Ints
    missing: Ints
    end: Ints
    position: Ints


def encode(plan: Plan, limits: Limits) -> bytes:
    """The Job of a plan.

    Every record ends within half a step of the plan, and its time is rounded to chunks without adding up.

    Raises:
        JobError: something in the plan was refused; the first refusal's line, axis, value and limit.
    """
    if plan.refusals:
        worst = plan.refusals[0]
        raise JobError(worst.text, worst.line, worst.axis, worst.value, worst.limit)
    per_mm = np.array(limits.steps_per_mm)
    moves = plan.moves
    ops = _op_table(plan.ops, limits)
    count = np.zeros(stepping.COUNTS, np.int64)
    count[stepping.PER] = limits.chunk_frames
    count[stepping.MOST_SPEED] = int(limits.max_step_rate * limits.frame_us * 1e-6 * stepping.ONE)
    out = np.zeros(_room(plan, limits), np.uint16)
    stepping.write(
        np.column_stack(
            (moves.entry, moves.cruise, moves.acceleration, moves.accelerating, moves.cruising, moves.decelerating)
        ),
        moves.start * per_mm,
        moves.end * per_mm,
        np.concatenate(([0.0], np.cumsum(moves.duration)))[:-1],
        moves.line,
        _layer_marks(plan),
        ops,
        limits.chunk,
        count,
        out,
    )
    body = out[: count[stepping.WORDS]].astype("<u2").tobytes() + END
    return _header(count, limits, body) + body


def _header(count: Ints, limits: Limits, body: bytes) -> bytes:
    peak = -(-int(count[stepping.PEAK]) * 1_000_000 // (limits.frame_us * stepping.ONE))
    records, chunks = int(count[stepping.RECORDS]) + 1, int(count[stepping.CHUNKS])
    fingerprint, crc = limits.fingerprint(), zlib.crc32(body)
    return HEADER.pack(MAGIC, limits.frame_us, limits.chunk_frames, records, chunks, peak, fingerprint, len(body), crc)


def _op_table(ops: tuple[Op, ...], limits: Limits) -> Ints:
    """(m, 6) move it precedes, code, arg, value, line, whether the axes rest; dwells rounded without adding up."""
    rows = np.zeros((len(ops), 6), np.int64)
    seconds, chunks = 0.0, 0
    for index, op in enumerate(ops):
        value = 0
        if op.kind is OpKind.DWELL:
            seconds += op.value
            value = round(seconds / limits.chunk) - chunks
            chunks += value
        elif op.kind in (OpKind.HEAT, OpKind.WAIT):
            value = round(op.value * 10)
        elif op.kind is OpKind.FAN:
            value = round(op.value * 65535)
        elif op.kind is OpKind.PROBE:
            value = round(op.value * limits.steps_per_mm[op.arg])
        rows[index] = op.before, op.kind, op.arg, value, op.line, op.kind.stops
    return rows


def _layer_marks(plan: Plan) -> Ints:
    marks = np.zeros(len(plan.moves), np.int64)
    layers = plan.program.layers
    marks[layers[layers < len(marks)]] = 1
    return marks


def _room(plan: Plan, limits: Limits) -> int:
    """16-bit words that a Job can't exceed."""
    chunks = plan.duration_s / limits.chunk
    records = 3 * len(plan.moves) + 2 * chunks / stepping.PIECE + 16
    marks = len(plan.moves) + 2 * len(plan.ops) + 16
    return int(stepping.RECORD_WORDS * records) + stepping.OP_WORDS * marks


def header(job: bytes, kind: bytes = MAGIC) -> Header:
    """The header of a Job whose body is as long as it says and has the right CRC.

    Raises:
        JobError: it is not.
    """
    if len(job) < HEADER.size:
        raise JobError(f"{len(job)} bytes are shorter than a Job's header", value=len(job), limit=HEADER.size)
    magic, *numbers = HEADER.unpack_from(job)
    made = Header(*numbers)
    if magic != kind:
        raise JobError(f"{magic!r} is not the start of a Job")
    if made.length != len(job) - HEADER.size:
        raise JobError(f"the body has {len(job) - HEADER.size} bytes, not {made.length}", limit=made.length)
    if made.crc != zlib.crc32(job[HEADER.size :]):
        raise JobError("the body's CRC does not match")
    if made.frame_us == 0 or made.chunk_frames == 0:
        raise JobError("a frame or chunk has no duration")
    return made


def decode(job: bytes) -> Records:
    """All records of a Job, checked.

    Raises:
        JobError: bytes that are none of ours, a record beyond END, or counts that differ from the header's.
    """
    head = header(job)
    if head.length % 2 or head.records > head.length // 2:
        raise JobError(f"{head.length} bytes can't hold {head.records} records", value=head.records)
    body = np.frombuffer(job, "<u2", offset=HEADER.size).astype(np.uint16)
    table, steps = np.zeros((head.records, 5), np.int64), np.zeros((head.records, 4), np.int64)
    alpha = np.zeros(head.records, np.int64)
    found, read = unpack(body, table, steps, alpha)
    if found != head.records or read != len(body):
        raise JobError(f"byte {2 * read} of the body makes no record {found + 1} of {head.records}", value=2 * read)
    records = Records(head, table[:, 0], table[:, 2], table[:, 3], table[:, 1], steps, alpha, 2 * table[:, 4])
    _check_records(records)
    return records


def _check_records(records: Records) -> None:
    ended = np.flatnonzero(records.code == OpKind.END)
    if len(ended) != 1 or ended[0] != len(records) - 1:
        raise JobError("END must be the last record and occur once")
    strange = np.flatnonzero(~np.isin(records.code, [kind.value for kind in OpKind]))
    if len(strange):
        raise JobError(f"{records.code[strange[0]]} is no op", value=float(records.code[strange[0]]))
    nothing = np.flatnonzero((records.code == 0) & (records.chunks == 0))
    if len(nothing):
        raise JobError(f"byte {records.offset[nothing[0]]} of the body: an op without a code")
    chunks = int(records.chunks.sum())
    if chunks != records.header.chunks:
        raise JobError(f"there are {chunks} chunks, not {records.header.chunks}", value=chunks)


def inspect(job: bytes) -> Iterator[Record]:
    """The records of a Job, one by one.

    Raises:
        JobError: see `decode`.
    """
    records = decode(job)
    for i in range(len(records)):
        code = int(records.code[i])
        x, y, z, e = records.steps[i].tolist()
        yield Record(
            op=OpKind(code) if code else None,
            arg=int(records.arg[i]),
            value=int(records.value[i]),
            chunks=int(records.chunks[i]),
            steps=(x, y, z, e),
            alpha=int(records.alpha[i]),
        )


def steps(records: Records, home: Ints | None = None) -> Made:
    """What the generator makes of each record, in the node's own integers.

    Args:
        home: (3,) steps that X, Y and Z stand at after homing, 0 unless told; everything starts there.
    """
    made = np.zeros_like(records.steps)
    missing = np.zeros(len(records), np.int64)
    stepping.made(records.chunks, records.steps, records.alpha, records.header.chunk_frames, made, missing)
    made[missing > 0] = records.steps[missing > 0]
    position = np.cumsum(made, axis=0)
    position[:, :3] += home if home is not None else 0
    for row in np.flatnonzero(records.code == OpKind.HOME):
        for axis in range(3):
            if records.arg[row] >> axis & 1:
                position[row:, axis] += (int(home[axis]) if home is not None else 0) - position[row, axis]
    return Made(made, missing, np.cumsum(records.chunks), position)


def frames(records: Records, record: int) -> Octets:
    """(chunk_frames * chunks,) which axes step in each frame of one record, bit 0 = X, exactly as a node does it."""
    per = records.header.chunk_frames
    out = np.zeros(per * int(records.chunks[record]), np.uint8)
    stepping.frames(int(records.chunks[record]), records.steps[record], int(records.alpha[record]), per, out)
    return out
