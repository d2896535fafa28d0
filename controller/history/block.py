"""Packed blocks: some kept samples of one Signal as a head, which answers for the whole, and a body.

Times are differences of differences of microseconds, bit-packed; beliefs are runs. Values, by the head's coding:

    WHOLE    ints, bools and numbers of texts: differences, bit-packed; exact
    GRID     floats on the grid that the Signal's bound gives: places on it as WHOLE; what lies off it is exact, beside it
    DECIMAL  floats that are whole numbers over a power of ten, as most devices send: exact
    RAW      other floats: each XORed with the one before, bytes of equal weight together, zlib; exact

So what goes in comes out bit by bit in every coding: the error bound is used up when samples are chosen (squeeze.py), not here.
"""

import struct
import zlib
from enum import IntEnum

import numpy as np

from controller.history.bits import pack, pack_best, unpack
from controller.history.kept import HistoryError, Kept, Rule
from controller.history.squeeze import Sequence
from twin.arrays import Floats, Ints

MAGIC = b"LSH1"
HEAD = np.dtype(
    [
        ("magic", "S4"), ("coding", "u1"), ("rule", "u1"), ("good", "u1"), ("spare", "u1"), ("count", "<u4"), ("seen", "<u4"),
        ("first_us", "<i8"), ("last_us", "<i8"), ("first_word", "<i8"), ("last_word", "<i8"), ("first_belief", "<i4"),
        ("last_belief", "<i4"), ("minimum", "<f8"), ("maximum", "<f8"), ("total", "<f8"), ("step", "<f8"), ("times", "<u4"),
        ("values", "<u4"), ("body_crc", "<u4"), ("head_crc", "<u4"),
    ]
)  # fmt: skip
"""A head. `good`: all samples are Good and finite, and `minimum`, `maximum` and `total` (value times seconds, from the first
sample to the last) hold. `seen`: how many samples it stands for. `times`, `values`: bytes of these parts of the body."""

DIGITS = 6
MOST = 2.0**40
_RUNS = struct.Struct("<II")
_OFF = struct.Struct("<I")


class Coding(IntEnum):
    """How a block holds its values."""

    WHOLE = 0
    GRID = 1
    DECIMAL = 2
    RAW = 3


def encode(kept: Kept, sequence: Sequence, seen: int) -> tuple[bytes, bytes]:
    """Head and body of a block of at least one sample."""
    times = pack(sequence.times, 2)
    coding, values = _encode_values(kept, sequence.words)
    body = times + values + _encode_beliefs(sequence.beliefs)
    head = np.zeros(1, HEAD)
    first = head[0]
    first["magic"], first["coding"], first["rule"] = MAGIC, coding, kept.way
    first["count"], first["seen"], first["step"] = len(sequence), seen, kept.step
    first["first_us"], first["last_us"] = sequence.times[0], sequence.times[-1]
    first["first_word"], first["last_word"] = sequence.words[0], sequence.words[-1]
    first["first_belief"], first["last_belief"] = sequence.beliefs[0], sequence.beliefs[-1]
    first["times"], first["values"], first["body_crc"] = len(times), len(values), zlib.crc32(body)
    _sum_up(head, kept, sequence)
    first["head_crc"] = zlib.crc32(head.tobytes()[:-4])
    return head.tobytes(), body


def heads(content: bytes) -> np.ndarray:
    """Heads that lie one behind the other, as an array of HEAD.

    Raises:
        HistoryError: there is none such.
    """
    if len(content) % HEAD.itemsize:
        raise HistoryError(f"{len(content)} bytes are no heads of blocks")
    return np.frombuffer(content, HEAD)


def sound(head: bytes, body: bytes) -> bool:
    """Whether a block is as it was written."""
    if len(head) != HEAD.itemsize or head[:4] != MAGIC or zlib.crc32(head[:-4]) != int.from_bytes(head[-4:], "little"):
        return False
    return zlib.crc32(body) == int(np.frombuffer(head, HEAD)[0]["body_crc"])


def decode(head: bytes, body: bytes) -> Sequence:
    """The samples of a block.

    Raises:
        HistoryError: the block is damaged.
    """
    if not sound(head, body):
        raise HistoryError("a damaged block")
    top = np.frombuffer(head, HEAD)[0]
    count, end = int(top["count"]), int(top["times"])
    times = unpack(body[:end], count)
    values = body[end : end + int(top["values"])]
    words = _decode_values(Coding(top["coding"]), values, count, float(top["step"]))
    return Sequence(times, words, _decode_beliefs(body[end + len(values) :], count))


def _sum_up(head: np.ndarray, kept: Kept, sequence: Sequence) -> None:
    """Minimum, maximum and integral where all samples are Good and finite."""
    values = as_floats(kept.type, sequence.words)
    if kept.type is str or sequence.beliefs.any() or not np.isfinite(values).all():
        return
    elapsed = np.diff(sequence.times) * 1e-6
    over = (values[:-1] + values[1:]) / 2 if kept.way is Rule.LINE else values[:-1]
    head["good"], head["minimum"], head["maximum"] = 1, values.min(), values.max()
    head["total"] = float(np.dot(over, elapsed))


def as_floats(kind: type, words: Ints) -> Floats:
    """Words as numbers to reckon with."""
    return words.view(np.float64) if kind is float else words.astype(np.float64)


# ---- values


def _encode_values(kept: Kept, words: Ints) -> tuple[Coding, bytes]:
    if kept.type is not float:
        return Coding.WHOLE, pack_best(words)
    values = words.view(np.float64)
    if kept.step:
        return Coding.GRID, _encode_grid(values, words, kept.step)
    for digits in range(DIGITS + 1):
        scale = 10.0**digits
        with np.errstate(invalid="ignore", over="ignore"):
            places = np.rint(values * scale)
            fits = np.abs(places) < MOST  # false for what is no number
            if not fits.all():
                break
            whole = places.astype(np.int64)
        if np.array_equal((whole / scale).view(np.int64), words):
            return Coding.DECIMAL, bytes((digits,)) + pack_best(whole)
    return Coding.RAW, zlib.compress(_split(words), 1)


def _decode_values(coding: Coding, content: bytes, count: int, step: float) -> Ints:
    if coding is Coding.WHOLE:
        return unpack(content, count)
    if coding is Coding.GRID:
        return _decode_grid(content, count, step)
    if coding is Coding.DECIMAL:
        return (unpack(content[1:], count) / 10.0 ** content[0]).view(np.int64)
    planes = np.frombuffer(zlib.decompress(content), np.uint8).reshape(8, count)
    return np.bitwise_xor.accumulate(np.ascontiguousarray(planes.T).view(np.int64).reshape(count))


def _split(words: Ints) -> bytes:
    """Each word XORed with the one before; all first bytes, then all second ones ..."""
    changed = words.copy()
    changed[1:] ^= words[:-1]
    return np.ascontiguousarray(changed.view(np.uint8).reshape(-1, 8).T).tobytes()


def _encode_grid(values: Floats, words: Ints, step: float) -> bytes:
    """How many lie off the grid, which, their words; then the places of all."""
    with np.errstate(invalid="ignore", over="ignore"):
        places = np.rint(values / step)
        near = np.abs(places) < MOST
        whole = np.where(near, places, 0).astype(np.int64)
    off = np.flatnonzero(~near | ((whole * step).view(np.int64) != words))
    if len(off):
        on = np.ones(len(words), np.bool_)
        on[off] = False
        latest = np.maximum.accumulate(np.where(on, np.arange(len(words)), 0))
        whole = np.where(on[latest], whole[latest], 0)
    return _OFF.pack(len(off)) + off.astype("<u4").tobytes() + words[off].tobytes() + pack_best(whole)


def _decode_grid(content: bytes, count: int, step: float) -> Ints:
    (off,) = _OFF.unpack_from(content)
    at = _OFF.size + 4 * off
    values = unpack(content[at + 8 * off :], count) * step
    words = values.view(np.int64)
    if off:
        words[np.frombuffer(content[_OFF.size : at], "<u4")] = np.frombuffer(content[at : at + 8 * off], "<i8")
    return words


# ---- beliefs


def _encode_beliefs(beliefs: np.ndarray) -> bytes:
    """How many runs there are, their beginnings and their beliefs."""
    begins = np.flatnonzero(np.diff(beliefs, prepend=beliefs[0] - 1))
    starts, runs = pack(begins.astype(np.int64), 1), pack(beliefs[begins].astype(np.int64), 1)
    return _RUNS.pack(len(begins), len(starts)) + starts + runs


def _decode_beliefs(content: bytes, count: int) -> np.ndarray:
    runs, length = _RUNS.unpack_from(content)
    begins = unpack(content[_RUNS.size : _RUNS.size + length], runs)
    beliefs = unpack(content[_RUNS.size + length :], runs)
    if runs == 1:
        return np.full(count, beliefs[0], np.int32)
    return np.repeat(beliefs, np.diff(begins, append=count)).astype(np.int32)
