"""Whole numbers in few bits: differences, zigzag, and for each 64 of them as many bits as the largest needs."""

import numpy as np

from controller.history.kept import HistoryError
from twin.kernel import Ints, kernel

GROUP = 64


@kernel
def _pack(order: int, values: Ints, widths: "np.ndarray", words: "np.ndarray") -> int:
    """Fill `widths` and `words` (zeroed); how many words it takes. Differences wrap around as int64 does."""
    last, rise, place = np.int64(0), np.int64(0), 0
    group = np.empty(GROUP, np.uint64)
    for start in range(0, values.shape[0], GROUP):
        size = min(GROUP, values.shape[0] - start)
        all_bits = np.uint64(0)
        for j in range(size):
            value = values[start + j]
            rest = value
            if order >= 1:
                rest = value - last
            if order == 2:
                slope = rest
                rest = rest - rise
                rise = slope
            last = value
            folded = np.uint64((rest << 1) ^ (rest >> 63))
            group[j] = folded
            all_bits |= folded
        width = 0
        while all_bits:
            width += 1
            all_bits >>= np.uint64(1)
        widths[start // GROUP] = width
        if width == 0:
            continue
        for j in range(size):
            at = place + ((j * width) >> 6)
            shift = (j * width) & 63
            words[at] |= group[j] << np.uint64(shift)
            if shift + width > 64:
                words[at + 1] |= group[j] >> np.uint64(64 - shift)
        place += (size * width + 63) >> 6
    return place


@kernel
def _unpack(order: int, widths: "np.ndarray", words: "np.ndarray", values: Ints) -> None:
    last, rise, place = np.int64(0), np.int64(0), 0
    for start in range(0, values.shape[0], GROUP):
        size = min(GROUP, values.shape[0] - start)
        width = np.int64(widths[start // GROUP])
        mask = np.uint64(0xFFFFFFFFFFFFFFFF)
        if width < 64:
            mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
        for j in range(size):
            folded = np.uint64(0)
            if width:
                at = place + ((j * width) >> 6)
                shift = (j * width) & 63
                folded = words[at] >> np.uint64(shift)
                if shift + width > 64:
                    folded |= words[at + 1] << np.uint64(64 - shift)
                folded &= mask
            rest = np.int64(folded >> np.uint64(1)) ^ -np.int64(folded & np.uint64(1))
            if order == 2:
                rise += rest
                rest = rise
            if order >= 1:
                rest += last
            last = rest
            values[start + j] = rest
        place += (size * width + 63) >> 6


def pack(values: Ints, order: int) -> bytes:
    """Numbers as bytes: the order, a width for each 64, then the bits.

    Args:
        values: (n,) any int64.
        order: 0: as they are; 1: as differences; 2: as differences of differences.
    """
    groups = (len(values) + GROUP - 1) // GROUP
    widths, words = np.zeros(groups, np.uint8), np.zeros(len(values) + 1, np.uint64)
    used = _pack(order, values, widths, words)
    return bytes((order,)) + widths.tobytes() + words[:used].tobytes()


def pack_best(values: Ints) -> bytes:
    """Numbers as bytes, in the order of differences that takes the fewest."""
    return min((pack(values, order) for order in (1, 2, 0)), key=len)


def unpack(content: bytes, count: int) -> Ints:
    """The numbers, (count,).

    Raises:
        HistoryError: these bytes are not `count` packed numbers.
    """
    groups = (count + GROUP - 1) // GROUP
    widths = np.frombuffer(content[1 : 1 + groups], np.uint8)
    sizes = np.full(groups, GROUP)
    if groups:
        sizes[-1] = count - GROUP * (groups - 1)
    wide = int(((sizes * widths[: len(sizes)].astype(np.int64) + 63) >> 6).sum()) if len(widths) == groups else -1
    if len(content) != 1 + groups + 8 * wide or content[0] > 2 or (groups and widths.max() > 64):
        raise HistoryError(f"{len(content)} bytes are not {count} packed numbers")
    values = np.empty(count, np.int64)
    _unpack(content[0], widths, np.frombuffer(content[1 + groups :], np.uint64), values)
    return values
