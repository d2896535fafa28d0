"""Kernel that takes a Job's words apart."""

import numpy as np
from numpy.typing import NDArray

from twin.kernel import Ints, kernel

Halves = NDArray[np.uint16]

OP_WORDS = 4


@kernel
def unpack(body: Halves, head: Ints, steps: Ints, alpha: Ints) -> tuple[int, int]:
    """Words into records.

    Args:
        body: 16-bit words without the header.
        head: (k, 5) code (0 for motion and standing), chunks, arg, value, place of the record; overwritten.
        steps: (k, 4), alpha: (k,) of motion; overwritten.

    Returns:
        How many records were read, and how many words they have; fewer than `body` where the next makes no sense.
    """
    place, size = 0, body.shape[0]
    for record in range(head.shape[0]):
        if place == size:
            return record, place
        word = int(body[place])
        axes, chunks = word >> 12, word & 0xFFF
        length = OP_WORDS if word == 0 else 1
        if axes:
            length = 2 + (axes & 1) + (axes >> 1 & 1) + (axes >> 2 & 1) + (axes >> 3)
        if place + length > size or (axes and not chunks):
            return record, place
        head[record, 1], head[record, 4] = chunks, place
        if word == 0:
            head[record, 0], head[record, 2] = int(body[place + 1]) & 0xFF, int(body[place + 1]) >> 8
            head[record, 3] = int(body[place + 2]) | _signed(body[place + 3]) << 16
        here = place
        for axis in range(4):
            if axes >> axis & 1:
                here += 1
                steps[record, axis] = _signed(body[here])
                if steps[record, axis] == 0:
                    return record, place
        if axes:
            alpha[record] = int(body[here + 1])
        place += length
    return head.shape[0], place


@kernel
def _signed(word: int) -> int:
    value = int(word)
    return value - 65536 if value >= 32768 else value
