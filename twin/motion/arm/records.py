"""Kernels of an arm's Job: samples into records of 12 bytes, and bytes into records.

A record lasts some chunks of frames and makes so many steps of each of six axes; within it the node's generator does what
`twin.motion.stepping` says. Kernels and all they call stay in this file, since a cached kernel does not notice a change
elsewhere.
"""

import numpy as np
from numpy.typing import NDArray

from twin.kernel import Floats, Ints, kernel

Octets = NDArray[np.uint8]

AXES = 6
RECORD_BYTES, OP_BYTES = 12, 8
MOST_CHUNKS = 1023
MOST_STEPS = 2047
EVEN = 8192  # alpha of a record at constant speed
MOST_ALPHA = 16383
ONE = 1 << 30


@kernel
def cut(time: Floats, chunk: float, longest: int, first: Ints) -> int:
    """Where records begin: at every sample, and as often between two as the longest record asks for.

    Args:
        time: (k,) of the samples [s]; chunk: [s]; longest: chunks of a record at most.
        first: (m, 2) chunk at which each record begins, and sample that it begins at or after; overwritten.

    Returns:
        How many records there are; less than none if `first` is too short.
    """
    count = 0
    begin = _nearest(time[0] / chunk)
    for i in range(time.shape[0] - 1):
        end = _nearest(time[i + 1] / chunk)
        parts = (end - begin + longest - 1) // longest
        for part in range(parts):
            if count == first.shape[0]:
                return -1
            first[count, 0] = begin + (end - begin) * part // parts
            first[count, 1] = i
            count += 1
        begin = end
    return count


@kernel
def write(
    time: Floats, place: Floats, speed: Floats, first: Ints, chunk: float, per: int, most_speed: int, out: Octets, steps: Ints
) -> tuple[int, int]:
    """The records of one stretch of motion.

    Args:
        time: (k,) [s]; place, speed: (k, 6) [steps, steps/s] of the samples.
        first: (m, 2) as `cut` makes it.
        per: frames of a chunk; most_speed: Q30 steps a frame.
        out: (m * 12,) the records' bytes; overwritten.
        steps: (6,) where the axes stand; brought forward.

    Returns:
        The largest speed [Q30 steps a frame], and how many records were written: fewer than m where the next is too fast.
    """
    peak = 0
    now = np.empty(AXES, np.int64)
    ends = np.empty((2, AXES))
    rates = np.empty((2, AXES))
    _at(time, place, speed, int(first[0, 1]), first[0, 0] * chunk, ends[0], rates[0])
    for row in range(first.shape[0]):
        last = row + 1 == first.shape[0]
        end = _nearest(time[-1] / chunk) if last else int(first[row + 1, 0])
        chunks = end - int(first[row, 0])
        _at(time, place, speed, int(first[row, 1]), end * chunk, ends[1], rates[1])
        most, lead = 0, 0
        for axis in range(AXES):
            now[axis] = _nearest(ends[1, axis]) - steps[axis]
            if abs(now[axis]) > most:
                most, lead = abs(now[axis]), axis
        alpha = EVEN
        way = ends[1, lead] - ends[0, lead]
        if most > 0 and abs(way) > 0.5:
            alpha = _nearest((1.0 + (rates[0, lead] - rates[1, lead]) * chunks * chunk / (2.0 * way)) * EVEN)
            alpha = min(max(alpha, 0), MOST_ALPHA)
        if fastest(most, 4 * alpha, chunks, per) > most_speed:
            alpha = EVEN
        found = fastest(most, 4 * alpha, chunks, per)
        if found > most_speed or most > MOST_STEPS:
            return found, row
        peak = max(peak, found)
        _put(out, row * RECORD_BYTES, chunks, alpha, now)
        for axis in range(AXES):
            steps[axis] += now[axis]
        ends[0], rates[0] = ends[1], rates[1]
    return peak, first.shape[0]


@kernel
def _at(time: Floats, place: Floats, speed: Floats, sample: int, at: float, out: Floats, rate: Floats) -> None:
    """Place and speed at a time between a sample and the next, by the cubic through both."""
    width = time[sample + 1] - time[sample]
    u = min(max((at - time[sample]) / width, 0.0), 1.0)
    for axis in range(AXES):
        way = place[sample + 1, axis] - place[sample, axis]
        a = speed[sample, axis] * width - way
        b = way - speed[sample + 1, axis] * width
        out[axis] = place[sample, axis] + u * way + u * (1.0 - u) * (a * (1.0 - u) + b * u)
        bend = (1.0 - 2.0 * u) * (a * (1.0 - u) + b * u) + u * (1.0 - u) * (b - a)
        rate[axis] = (way + bend) / width


@kernel
def _nearest(value: float) -> int:
    return int(np.floor(value + 0.5))


@kernel
def fastest(most: int, alpha: int, chunks: int, per: int) -> int:
    """Largest speed of a record's chunks [Q30 steps a frame]; alpha in 1/32768, as the node's generator has it."""
    frames = per * chunks
    start = (most * alpha << 15) // frames
    lacking = most * ONE - frames * start
    change = 2 * abs(lacking) // (frames * chunks)
    if lacking < 0:
        change = -change
    base = start + (change >> 1)
    return max(base, base + (chunks - 1) * change)


@kernel
def _put(out: Octets, at: int, chunks: int, alpha: int, steps: Ints) -> None:
    _put24(out, at, chunks | alpha << 10)
    for pair in range(3):
        _put24(out, at + 3 + 3 * pair, (steps[2 * pair] & 0xFFF) | (steps[2 * pair + 1] & 0xFFF) << 12)


@kernel
def _put24(out: Octets, at: int, value: int) -> None:
    out[at] = value & 0xFF
    out[at + 1] = value >> 8 & 0xFF
    out[at + 2] = value >> 16 & 0xFF


@kernel
def unpack(body: Octets, head: Ints, steps: Ints, alpha: Ints) -> tuple[int, int]:
    """Bytes into records.

    Args:
        body: without the header.
        head: (k, 5) code (0 for motion), chunks, arg, value, place of the record; overwritten.
        steps: (k, 6), alpha: (k,) of motion in 1/32768; overwritten.

    Returns:
        How many records were read, and how many bytes they have; fewer than `body` where the next makes no sense.
    """
    place, size = 0, body.shape[0]
    for record in range(head.shape[0]):
        if size - place < OP_BYTES:
            return record, place
        word = _get24(body, place)
        head[record, 4] = place
        if word & 0xFFFF == 0:
            head[record, 0], head[record, 2] = body[place + 2], body[place + 3]
            value = _get24(body, place + 4) | int(body[place + 7]) << 24
            head[record, 3] = value - (1 << 32) if value >> 31 else value
            place += OP_BYTES
            continue
        if word & 0x3FF == 0 or size - place < RECORD_BYTES:
            return record, place
        head[record, 1], alpha[record] = word & 0x3FF, (word >> 10) << 2
        for pair in range(3):
            both = _get24(body, place + 3 + 3 * pair)
            steps[record, 2 * pair] = ((both & 0xFFF) ^ 0x800) - 0x800
            steps[record, 2 * pair + 1] = ((both >> 12) ^ 0x800) - 0x800
        place += RECORD_BYTES
    return head.shape[0], place


@kernel
def _get24(body: Octets, at: int) -> int:
    return int(body[at]) | int(body[at + 1]) << 8 | int(body[at + 2]) << 16
