"""Kernels of a Job: moves into records, and the node's step generator in integers.

`made` and `frames` are the firmware's reference: every integer here is the node's. A record lasts `chunks` chunks of
`per` frames and makes so many steps of each axis. The dominant axis, the one with most steps, has a phase in Q30 that
starts at one half and grows by a speed once per frame; the speed is constant within a chunk and changes linearly from
chunk to chunk. Each time the phase passes 1 there is a step: step k falls at position k - 1/2. The other axes follow
by Bresenham.

Kernels and all they call stay in this file, since a cached kernel does not notice a change elsewhere.
"""

import numpy as np
from numpy.typing import NDArray

from twin.kernel import Floats, Ints, kernel

Octets = NDArray[np.uint8]
Halves = NDArray[np.uint16]

ONE = 1 << 30
HALF = 1 << 29
MOST_CHUNKS = 4095
PIECE = 4000  # chunks that a long phase is cut into: room below MOST_CHUNKS for what rounding adds
MOST_ALPHA = 65535
RECORD_WORDS, OP_WORDS = 6, 4
HOME_OP, LINE_OP = 4, 6
RECORDS_PER_LINE = 100

# Where a kernel that writes records keeps its counts.
WORDS, RECORDS, CHUNKS, CLOCK, PEAK, UNMARKED, MOST_SPEED, PER = range(8)
COUNTS = 8


@kernel
def dominant(steps: Ints) -> int:
    """The axis with most steps, the first of equals."""
    best = 0
    for axis in range(1, steps.shape[0]):
        if abs(steps[axis]) > abs(steps[best]):
            best = axis
    return best


@kernel
def first_speed(most: int, alpha: int, frames: int) -> int:
    """Speed at the very start, Q30 steps per frame, rounded down."""
    return (most * alpha << 15) // frames


@kernel
def speed_change(most: int, start: int, frames: int, chunks: int) -> int:
    """What the speed grows by from chunk to chunk so that the record makes its steps, rounded towards zero."""
    lacking = most * ONE - frames * start
    size = 2 * abs(lacking) // (frames * chunks)
    return size if lacking >= 0 else -size


@kernel
def fastest(most: int, alpha: int, chunks: int, per: int) -> int:
    """Largest speed of a record's chunks, Q30 steps per frame."""
    frames = per * chunks
    start = first_speed(most, alpha, frames)
    change = speed_change(most, start, frames, chunks)
    base = start + (change >> 1)
    return max(base, base + (chunks - 1) * change)


@kernel
def made(chunks: Ints, steps: Ints, alpha: Ints, per: int, out: Ints, missing: Ints) -> None:
    """Steps that the generator makes within each record, reckoned by chunks, which below one step a frame is the same.

    Args:
        chunks, alpha: (k,); steps: (k, n) asked for.
        out: (k, n) made, with their sign; overwritten.
        missing: (k,) steps of the dominant axis not made by the record's end; overwritten.
    """
    for i in range(chunks.shape[0]):
        axis = dominant(steps[i])
        most = abs(steps[i, axis])
        done = 0
        if most > 0:
            frames = per * chunks[i]
            speed = first_speed(most, alpha[i], frames)
            change = speed_change(most, speed, frames, chunks[i])
            speed += change >> 1
            phase = HALF
            for _ in range(chunks[i]):
                phase += per * speed
                done += phase >> 30
                phase &= ONE - 1
                speed += change
        missing[i] = most - done
        for other in range(steps.shape[1]):
            count = 0
            if most > 0:
                count = (most // 2 + abs(steps[i, other]) * done) // most
            out[i, other] = count if steps[i, other] >= 0 else -count


@kernel
def frames(chunks: int, steps: Ints, alpha: int, per: int, out: Octets) -> int:
    """One record frame by frame, exactly as a node does it: which axes step in each frame.

    Args:
        out: (per * chunks,) mask of stepping axes, bit 0 = X; overwritten.

    Returns:
        How many steps of the dominant axis were missing at the end and are put into the last frames.
    """
    axis = dominant(steps)
    most = abs(steps[axis])
    out[:] = 0
    if most == 0:
        return 0
    length = per * chunks
    error = np.full(steps.shape[0], most // 2, np.int64)
    speed = first_speed(most, alpha, length)
    change = speed_change(most, speed, length, chunks)
    speed += change >> 1
    phase, done = HALF, 0
    for chunk in range(chunks):
        for frame in range(chunk * per, chunk * per + per):
            phase += speed
            if phase >= ONE:
                phase -= ONE
                done += 1
                out[frame] = _follow(steps, most, error)
        speed += change
    missing = int(most - done)
    for frame in range(length - missing, length):
        out[frame] |= _follow(steps, most, error)
    return missing


@kernel
def _follow(steps: Ints, most: int, error: Ints) -> int:
    """Mask of the axes that step together with a step of the dominant one."""
    mask = 0
    for axis in range(steps.shape[0]):
        error[axis] += abs(steps[axis])
        if error[axis] >= most:
            error[axis] -= most
            mask |= 1 << axis
    return mask


@kernel
def _nearest(value: float) -> int:
    return int(np.floor(value + 0.5))


@kernel
def _put(out: Halves, count: Ints, value: int) -> None:
    """Append the low 16 bits."""
    out[count[WORDS]] = value & 0xFFFF
    count[WORDS] += 1


@kernel
def _put_op(out: Halves, count: Ints, code: int, arg: int, value: int) -> None:
    _put(out, count, 0)
    _put(out, count, arg << 8 | code)
    _put(out, count, value)
    _put(out, count, value >> 16)
    count[RECORDS] += 1


@kernel
def _put_standing(out: Halves, count: Ints, chunks: int) -> None:
    while chunks > 0:
        part = min(chunks, MOST_CHUNKS)
        _put(out, count, part)
        count[RECORDS] += 1
        count[CHUNKS] += part
        chunks -= part


@kernel
def _put_motion(out: Halves, count: Ints, chunks: int, steps: Ints, alpha: int) -> None:
    head = count[WORDS]
    _put(out, count, chunks)
    for axis in range(4):
        if steps[axis] != 0:
            out[head] |= 1 << (12 + axis)
            _put(out, count, steps[axis])
    _put(out, count, alpha)
    count[RECORDS] += 1
    count[CHUNKS] += chunks
    count[UNMARKED] += 1


@kernel
def _put_line(out: Halves, count: Ints, line: int) -> None:
    _put_op(out, count, LINE_OP, 0, line)
    count[UNMARKED] = 0


@kernel
def _travelled(shape: Floats, time: float) -> float:
    """Path length after `time` in a move; shape: entry, cruise, acceleration, the three durations."""
    up = min(time, shape[3])
    level = min(max(time - shape[3], 0.0), shape[4])
    down = min(max(time - shape[3] - shape[4], 0.0), shape[5])
    ramps = shape[0] * up + shape[2] * (up * up - down * down) / 2
    return float(ramps + shape[1] * (level + down))


@kernel
def _cuts(shape: Floats, steps_per_mm: float, cuts: Floats) -> int:
    """Times within a move at which records end, the last at its end; returns how many.

    A phase so short that speeding up through it gains less than half a step is joined to its neighbour.
    """
    up, level, down = shape[3], shape[4], shape[5]
    short = np.sqrt(0.5 / (shape[2] * steps_per_mm))
    after_up = up > short and level + down > 0.0
    before_down = down > short and up + level > 0.0
    count = 0
    if after_up and before_down and level <= short:
        cuts[count] = up + level / 2
        count += 1
    else:
        if after_up:
            cuts[count] = up
            count += 1
        if before_down:
            cuts[count] = up + level
            count += 1
    cuts[count] = up + level + down
    return count + 1


@kernel
def _alpha(shape: Floats, since: float, until: float) -> int:
    """Start speed over mean speed, in 1/32768, such that the record is right at half its time, too."""
    first, last = _travelled(shape, since), _travelled(shape, until)
    if last <= first:
        return 32768
    half = (_travelled(shape, (since + until) / 2) - first) / (last - first)
    return min(max(_nearest((4 * half - 1) * 32768), 0), MOST_ALPHA)


@kernel
def _slow_enough(most: int, alpha: int, chunks: int, count: Ints) -> tuple[int, int]:
    """Chunks and alpha of a record that keeps to the largest speed; later records take up the time."""
    if fastest(most, alpha, chunks, count[PER]) > count[MOST_SPEED] and most == 1:
        alpha = 32768
    while fastest(most, alpha, chunks, count[PER]) > count[MOST_SPEED]:
        chunks += 1
    count[PEAK] = max(count[PEAK], fastest(most, alpha, chunks, count[PER]))
    return chunks, alpha


@kernel
def _put_move(
    shape: Floats,
    first: Floats,
    last: Floats,
    begin: float,
    chunk: float,
    rests: bool,
    at: Ints,
    count: Ints,
    out: Halves,
) -> None:
    """Write a move's records.

    Args:
        first, last: (4,) where the move starts and ends [steps].
        begin: motion time without dwells [s].
        rests: the axes rest after it, so nothing may be left to the next move.
        at: (4,) whole steps made so far; brought forward.
    """
    length = _travelled(shape, shape[3] + shape[4] + shape[5])
    cuts = np.empty(3)
    steps = np.empty(4, np.int64)
    amount = _cuts(shape, np.max(np.abs(last - first)) / length, cuts)
    since, start = 0.0, 0.0
    for k in range(amount):
        parts = int((cuts[k] - start) / (PIECE * chunk)) + 1
        for part in range(1, parts + 1):
            until = start + (cuts[k] - start) * part / parts
            ended = k == amount - 1 and part == parts
            share = _travelled(shape, until) / length
            most = 0
            for axis in range(4):
                place = last[axis] if ended else first[axis] + (last[axis] - first[axis]) * share
                steps[axis] = _nearest(place) - at[axis]
                most = max(most, abs(steps[axis]))
            chunks = _nearest((begin + until) / chunk) - count[CLOCK]
            if chunks < 1 and not (ended and rests and most > 0):
                continue
            chunks = max(chunks, 1)
            if most == 0:
                _put_standing(out, count, chunks)
            else:
                chunks, alpha = _slow_enough(most, _alpha(shape, since, until), chunks, count)
                _put_motion(out, count, chunks, steps, alpha)
            for axis in range(4):
                at[axis] += steps[axis]
            count[CLOCK] += chunks
            since = until
        start = cuts[k]


@kernel
def write(
    shapes: Floats,
    first: Floats,
    last: Floats,
    begin: Floats,
    lines: Ints,
    marked: Ints,
    ops: Ints,
    chunk: float,
    count: Ints,
    out: Halves,
) -> None:
    """Write the records of a whole plan.

    Args:
        shapes: (n, 6) entry, cruise, acceleration, three durations of each move.
        first, last: (n, 4) start and end [steps].
        begin: (n,) motion time without dwells [s].
        lines: (n,) source line; marked: (n,) 1 where a line marker is wanted.
        ops: (m, 6) move it precedes, code (0 stands still), arg, value (chunks to stand), line, 1 if the axes rest.
        count: (8,) PER and MOST_SPEED are read, the others counted.
        out: large enough: see twin.motion.job.
    """
    moves = shapes.shape[0]
    at = np.zeros(4, np.int64)
    op = 0
    for i in range(moves + 1):
        while op < ops.shape[0] and ops[op, 0] == i:
            if ops[op, 5]:
                _put_line(out, count, ops[op, 4])
            if ops[op, 1] == 0:
                _put_standing(out, count, ops[op, 3])
            else:
                _put_op(out, count, ops[op, 1], ops[op, 2], ops[op, 3])
            if ops[op, 1] == HOME_OP and i < moves:
                _stand_at(first[i], ops[op, 2], at)
            op += 1
        if i == moves:
            break
        if i == 0:
            _stand_at(first[i], 0b1111, at)
        if marked[i] or count[UNMARKED] >= RECORDS_PER_LINE or count[RECORDS] == 0:
            _put_line(out, count, lines[i])
        rests = i + 1 == moves or (op < ops.shape[0] and ops[op, 0] == i + 1 and _rest_follows(ops, op, i + 1))
        _put_move(shapes[i], first[i], last[i], begin[i], chunk, rests, at, count, out)


@kernel
def _stand_at(place: Floats, mask: int, at: Ints) -> None:
    for axis in range(4):
        if mask >> axis & 1:
            at[axis] = _nearest(place[axis])


@kernel
def _rest_follows(ops: Ints, op: int, move: int) -> bool:
    while op < ops.shape[0] and ops[op, 0] == move:
        if ops[op, 5]:
            return True
        op += 1
    return False
