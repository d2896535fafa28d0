"""One commit's samples as one blob: the journal holds every sample, squeezed only later.

Numbers and times of all samples, bit-packed as differences of differences; runs of beliefs; then a value for each sample: what it
differs by from the Signal's last one in the journal, zigzag, as a varint. Floats with a bound lie on a grid of a sixteenth
of it; what does not, or differs by too much, is there bit by bit. Every KEYED-th blob starts anew, so that damage to one
costs no more than the next few.
"""

import itertools
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

from controller.history.bits import pack, unpack
from controller.history.kept import HistoryError, Samples
from twin.kernel import Floats, Ints, kernel

KEYED = 64
_HEAD = struct.Struct("<BIIIII")  # whether it starts anew, samples, bytes of numbers, times, beliefs; CRC of the rest
_LONGEST = 10  # bytes of a value
_GRID = 2.0**40
_FAR = 2**60


@kernel
def _write(numbers: "np.ndarray", words: Ints, values: Floats, fine: Floats, last: Ints, out: "np.ndarray") -> int:
    """Write each value's bytes; words are replaced by what a reader will find."""
    at = 0
    for i in range(numbers.shape[0]):
        number = numbers[i]
        step, place, plain = fine[number], words[i], True
        if step > 0.0:
            rounded = np.rint(values[i] / step)
            plain = abs(rounded) < _GRID
            if plain:
                place = np.int64(rounded)
                values[i] = place * step
        rest = place - last[number]
        if plain and -_FAR < rest < _FAR:
            last[number] = place
            left = np.uint64((rest << 1) ^ (rest >> 63)) << np.uint64(1)
            while left >= np.uint64(128):
                out[at] = np.uint8(left & np.uint64(127)) | np.uint8(128)
                left >>= np.uint64(7)
                at += 1
            out[at] = np.uint8(left)
            at += 1
        else:
            if plain:
                last[number] = place
            out[at] = 1
            at += 1
            bits = np.uint64(words[i])
            for _ in range(8):
                out[at] = np.uint8(bits & np.uint64(255))
                bits >>= np.uint64(8)
                at += 1
    return at


@kernel
def _read(numbers: "np.ndarray", content: "np.ndarray", fine: Floats, last: Ints, words: Ints, values: Floats) -> int:
    """Read each value; `values` are the words seen as floats. How many bytes it took; -1 where they end too early."""
    at = 0
    for i in range(numbers.shape[0]):
        number, left, shift = numbers[i], np.uint64(0), np.uint64(0)
        while True:
            if at >= content.shape[0] or shift > np.uint64(63):
                return -1
            byte = np.uint64(content[at])
            at += 1
            left |= (byte & np.uint64(127)) << shift
            shift += np.uint64(7)
            if byte < np.uint64(128):
                break
        if left & np.uint64(1):
            if at + 8 > content.shape[0]:
                return -1
            bits = np.uint64(0)
            for j in range(8):
                bits |= np.uint64(content[at + j]) << np.uint64(8 * j)
            at += 8
            words[i] = np.int64(bits)
            if fine[number] == 0.0 or abs(np.rint(values[i] / fine[number])) < _GRID:
                last[number] = words[i] if fine[number] == 0.0 else np.int64(np.rint(values[i] / fine[number]))
            continue
        folded = left >> np.uint64(1)
        place = last[number] + (np.int64(folded >> np.uint64(1)) ^ -np.int64(folded & np.uint64(1)))
        last[number] = place
        if fine[number] > 0.0:
            values[i] = place * fine[number]
        else:
            words[i] = place
    return at


@dataclass(slots=True)
class Journal:
    """The chain of blobs, in which each value leans on the one before it.

    Args:
        fine: (numbers,) grid of each Signal; 0: none.
    """

    fine: Floats
    _last: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _blobs: int = 0

    def __post_init__(self) -> None:
        self._last = np.zeros(len(self.fine), np.int64)

    def write(self, samples: Samples) -> tuple[bytes, Samples]:
        """A commit's blob, and the samples as whoever reads it will find them."""
        key = self._blobs % KEYED == 0
        self._blobs += 1
        if key:
            self._last[:] = 0
        words = samples.words.copy()
        out = np.empty(_LONGEST * len(samples), np.uint8)
        used = _write(samples.numbers, words, words.view(np.float64), self.fine, self._last, out)
        numbers, times = pack(samples.numbers.astype(np.int64), 2), pack(samples.times, 2)
        runs = _runs(samples.beliefs)
        rest = numbers + times + runs + out[:used].tobytes()
        lengths = (len(samples), len(numbers), len(times), len(runs), zlib.crc32(rest))
        return _HEAD.pack(key, *lengths) + rest, Samples(samples.numbers, samples.times, words, samples.beliefs)

    def read(self, blob: bytes) -> Samples:
        """The samples of the next blob.

        Raises:
            HistoryError: it is damaged, or leans on one that was: those after it can't be read before one starts anew.
        """
        try:
            return self._read(blob)
        except HistoryError:
            self._blobs = 0
            raise

    def _read(self, blob: bytes) -> Samples:
        if len(blob) < _HEAD.size:
            raise HistoryError("a damaged part of the journal")
        key, count, *lengths, check = _HEAD.unpack_from(blob)
        if zlib.crc32(blob[_HEAD.size :]) != check or not (key or self._blobs):
            raise HistoryError("a damaged part of the journal")
        self._blobs += 1
        if key:
            self._last[:] = 0
        ends = np.cumsum([_HEAD.size, *lengths]).tolist()
        numbers, times, runs = (blob[a:b] for a, b in itertools.pairwise(ends))
        found = unpack(numbers, count).astype(np.int32)
        if count and not 0 <= found.min() <= found.max() < len(self.fine):
            raise HistoryError("the journal names a Signal that there is not")
        words = np.empty(count, np.int64)
        content = np.frombuffer(blob[ends[-1] :], np.uint8)
        if _read(found, content, self.fine, self._last, words, words.view(np.float64)) != len(content):
            raise HistoryError("a damaged part of the journal")
        return Samples(found, unpack(times, count), words, _beliefs(runs, count))


def _runs(beliefs: "np.ndarray") -> bytes:
    """Nothing where all are Good; else pairs of a beginning and a belief, bit-packed."""
    if not beliefs.any():
        return b""
    begins = np.flatnonzero(np.diff(beliefs, prepend=beliefs[0] - 1))
    pairs = np.column_stack((begins, beliefs[begins])).astype(np.int64).ravel()
    return struct.pack("<I", len(pairs)) + pack(pairs, 0)


def _beliefs(content: bytes, count: int) -> "np.ndarray":
    if not content:
        return np.zeros(count, np.int32)
    (length,) = struct.unpack_from("<I", content)
    pairs = unpack(content[4:], length)
    return np.repeat(pairs[1::2], np.diff(pairs[0::2], append=count)).astype(np.int32)


@kernel
def _admit(numbers: "np.ndarray", times: Ints, last: Ints, fits: "np.ndarray") -> int:
    """Mark the samples that are not earlier than their Signal's last; how many are."""
    early = 0
    for i in range(numbers.shape[0]):
        fits[i] = times[i] >= last[numbers[i]]
        if fits[i]:
            last[numbers[i]] = times[i]
        else:
            early += 1
    return early


def admit(samples: Samples, last: Ints) -> tuple[Samples, int]:
    """The samples that are not earlier than their Signal's last, and how many are; `last` is moved on."""
    fits = np.empty(len(samples), np.bool_)
    early = _admit(samples.numbers, samples.times, last, fits)
    if not early:
        return samples, 0
    return Samples(samples.numbers[fits], samples.times[fits], samples.words[fits], samples.beliefs[fits]), early


@kernel
def _late(numbers: "np.ndarray", times: Ints, last: Ints, fits: "np.ndarray") -> None:
    """Move the samples that are earlier than their Signal's last to that one's time."""
    for i in range(numbers.shape[0]):
        fits[i] = times[i] >= last[numbers[i]]
        if fits[i]:
            last[numbers[i]] = times[i]
        else:
            times[i] = last[numbers[i]]


def late(samples: Samples, last: Ints, belief: int) -> Samples:
    """The samples; those that are earlier than their Signal's last are gaps at its time, of this belief. `last` is moved on."""
    times, fits = samples.times.copy(), np.empty(len(samples), np.bool_)
    _late(samples.numbers, times, last, fits)
    words, beliefs = np.where(fits, samples.words, 0), np.where(fits, samples.beliefs, belief).astype(np.int32)
    return Samples(samples.numbers, times, words, beliefs)
