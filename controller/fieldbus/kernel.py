"""A block's values out of its bytes, all at once. Arrays and numbers only; `decode` makes and reads the arrays."""

import numpy as np
from numpy.typing import NDArray

from twin.arrays import Floats, Ints
from twin.kernel import kernel

Bytes = NDArray[np.uint8]

UNSIGNED, SIGNED, FLOAT32, FLOAT64, BIT = range(5)
GOOD, NO_VALUE, OUTSIDE, NOT_A_NUMBER = range(4)
WIDTH, FORM, BIT_AT, SCALE_AT, PLUS_AT, INVALIDS, BYTES = 0, 1, 2, 3, 4, 5, 6
INVALID = BYTES + 8
FACTOR, OFFSET, PLUS, LOW, HIGH, BAND = range(6)


@kernel
def told(bytes_: Bytes, whole: Ints, real: Floats, raw: Ints, value: Floats, belief: Bytes, scratch: Bytes, size: int) -> int:
    """How many values have changed by more than their deadband, or in how far they are believed; less than 0 if not all are Good.

    Args:
        bytes_: (n,) u1, of the reply.
        whole: (m, INVALID + k) i8, of each row: bytes, form, bit, rows that hold its exponent and what is added (-1 for none),
            how many invalid raws it has, where its bytes lie (the highest first), and those raws, unsigned.
        real: (m, 6) factor, offset, factor of what is added, low, high, deadband; all in SI.
        raw: (m,) i8, overwritten: the raw values; of a float, its bits.
        value: (m,) SI; what was told is overwritten where it is told again.
        belief: (m,) u1, GOOD to NOT_A_NUMBER, overwritten.
        scratch: (8,) u1.
        size: how many of the rows are told; the others only hold exponents and what is added.
    """
    single, double = scratch.view(np.float32), scratch.view(np.float64)
    changed, doubtful = 0, False
    for i in range(whole.shape[0]):
        bits = np.uint64(0)
        for k in range(whole[i, WIDTH]):
            bits = (bits << np.uint64(8)) | np.uint64(bytes_[whole[i, BYTES + k]])
        if whole[i, FORM] == BIT:
            bits = (bits >> np.uint64(whole[i, BIT_AT])) & np.uint64(1)
        if whole[i, FORM] == SIGNED:
            free = np.uint64(64 - 8 * whole[i, WIDTH])
            found = np.int64(bits << free) >> np.int64(free)
        else:
            found = np.int64(bits)
        if found != raw[i] and whole[i, WIDTH] == 8 and whole[i, FORM] <= SIGNED and i < size and real[i, BAND] == 0:
            changed += 1  # as floats both may be the same
        raw[i] = found
    for i in range(size):
        form, now, sure = whole[i, FORM], 0.0, GOOD
        mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 8 * whole[i, WIDTH])
        for k in range(whole[i, INVALIDS]):
            if np.uint64(raw[i]) & mask == np.uint64(whole[i, INVALID + k]):
                sure = NO_VALUE
        if form in (FLOAT32, FLOAT64):
            rest = np.uint64(raw[i])
            for k in range(8):
                scratch[k] = np.uint8(rest & np.uint64(255))
                rest >>= np.uint64(8)
            now = double[0] if form == FLOAT64 else np.float64(single[0])
        elif form == SIGNED:
            now = np.float64(raw[i])
        else:
            now = np.float64(np.uint64(raw[i]))
        factor = real[i, FACTOR]
        if whole[i, SCALE_AT] >= 0:
            exponent = raw[whole[i, SCALE_AT]]
            if -10 <= exponent <= 10:
                factor = factor * 10.0**exponent if exponent >= 0 else factor / 10.0**-exponent
            else:
                sure = NO_VALUE
        now = now * factor + real[i, OFFSET]
        if whole[i, PLUS_AT] >= 0:
            now += real[i, PLUS] * raw[whole[i, PLUS_AT]]
        if sure == GOOD:
            if not -np.inf < now < np.inf:
                sure = NOT_A_NUMBER
            elif not real[i, LOW] <= now <= real[i, HIGH]:
                sure = OUTSIDE
        if sure in (NO_VALUE, NOT_A_NUMBER):
            now = 0.0
        if sure != belief[i] or not abs(now - value[i]) <= real[i, BAND]:
            if sure != belief[i] or now != value[i]:
                changed += 1
            belief[i], value[i] = sure, now
        if sure != GOOD:
            doubtful = True
    return -changed if doubtful else changed
