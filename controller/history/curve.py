"""A Signal over time as its kept samples tell it, and what can be said of windows of it. Pure.

A value holds until the next sample, or goes to it in a straight line where the rule was LINE and both samples have the same belief
and are numbers. Where nothing was recorded there is a sample of quality NONE, so nothing is ever drawn across a gap.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.history.kept import NONE, Numbers
from twin.kernel import Floats, Ints, kernel

Flags = NDArray[np.bool_]

_TOTAL, _LEAST, _MOST, _FIRST, _LAST = range(5)
_COUNT, _GOOD_US, _FIRST_US, _LAST_US = range(4)
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Curve:
    """Samples of one Signal, none earlier than the one before it.

    Attributes:
        times: (n,) UTC, microseconds.
        words: (n,) as in Samples.
        beliefs: (n,).
        lines: (n,) whether a line goes from this sample to the next.
        summed: (n,) whether what lies between this sample and the next is known in sum.
        counts: (n,) how many samples this one stands for.
    """

    times: Ints
    words: Ints
    beliefs: Numbers
    lines: Flags
    summed: Flags
    counts: Ints

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def of(cls, times: Ints, words: Ints, beliefs: Numbers, lines: Flags | bool) -> "Curve":
        """Samples, each of which stands for itself."""
        n = len(times)
        drawn = np.full(n, lines) if isinstance(lines, (bool, np.bool_)) else lines
        return cls(times, words, beliefs, drawn, np.zeros(n, np.bool_), np.ones(n, np.int64))

    @classmethod
    def joined(cls, parts: "list[Curve]") -> "Curve":
        """Curves one behind the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            empty = np.empty(0, np.int64)
            return cls.of(empty, empty, np.empty(0, np.int32), False)
        names = ("times", "words", "beliefs", "lines", "summed", "counts")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def part(self, begin: int, end: int) -> "Curve":
        """Samples begin .. end - 1."""
        cut = slice(begin, end)
        return Curve(
            self.times[cut], self.words[cut], self.beliefs[cut], self.lines[cut], self.summed[cut], self.counts[cut]
        )

    def with_gaps(self, times: Ints, beliefs: Numbers, word: int) -> "Curve":
        """The curve cut at each of these times, where the value ends."""
        at = np.searchsorted(self.times, times, side="right")
        off = np.zeros(len(times), np.bool_)
        return Curve(
            np.insert(self.times, at, times),
            np.insert(self.words, at, np.full(len(times), word, np.int64)),
            np.insert(self.beliefs, at, beliefs),
            np.insert(self.lines, at, off),
            np.insert(self.summed, at, off),
            np.insert(self.counts, at, np.zeros(len(times), np.int64)),
        )


@dataclass(frozen=True, slots=True)
class Windows:
    """What there is to say of each window; all arrays are (n,).

    Only the times at which the value was Good and a number count. Where there were none: NaN; the average also where there was
    but a moment.

    Attributes:
        begins: UTC, ns, of each window; it ends where the next one begins.
        average: over time.
        minimum, maximum: of the value as it is read, so also where the window holds no kept sample.
        first, last: at the first moment that counts and up to the last.
        total: value times seconds.
        count: kept samples in the window that are Good; samples that were left out are not counted.
        good_s: how long it was Good.
    """

    begins: Ints
    average: Floats
    minimum: Floats
    maximum: Floats
    first: Floats
    last: Floats
    total: Floats
    count: Ints
    good_s: Floats


@kernel
def _gather(
    times: Ints, values: Floats, beliefs: Numbers, lines: Flags, summed: Flags, counts: Ints,
    begin: int, every: int, real: Floats, whole: Ints,
) -> None:  # fmt: skip
    """Fill `real` and `whole`, (windows, ...), from a curve; what is summed already adds nothing here."""
    windows = real.shape[0]
    end = begin + every * windows
    for i in range(times.shape[0]):
        good = beliefs[i] == 0 and np.isfinite(values[i])
        if not good:
            continue
        if begin <= times[i] < end:
            w = (times[i] - begin) // every
            whole[w, 0] += counts[i]
            real[w, 1], real[w, 2] = min(real[w, 1], values[i]), max(real[w, 2], values[i])
            if times[i] < whole[w, 2]:
                whole[w, 2], real[w, 3] = times[i], values[i]
            if times[i] >= whole[w, 3]:
                whole[w, 3], real[w, 4] = times[i], values[i]
        if i + 1 == times.shape[0] or summed[i]:
            continue
        start, stop = max(times[i], begin), min(times[i + 1], end)
        if start >= stop:
            continue
        slope = 0.0
        if lines[i] and beliefs[i + 1] == beliefs[i] and np.isfinite(values[i + 1]):
            slope = (values[i + 1] - values[i]) / (times[i + 1] - times[i])
        while start < stop:
            w = (start - begin) // every
            until = min(stop, begin + (w + 1) * every)
            low = values[i] + slope * (start - times[i])
            high = values[i] + slope * (until - times[i])
            if until == times[i + 1] and slope != 0.0:
                high = values[i + 1]
            real[w, 0] += (low + high) / 2 * (until - start) * 1e-6
            real[w, 1] = min(real[w, 1], min(low, high))
            real[w, 2] = max(real[w, 2], max(low, high))
            whole[w, 1] += until - start
            if start < whole[w, 2]:
                whole[w, 2], real[w, 3] = start, low
            if until > whole[w, 3]:
                whole[w, 3], real[w, 4] = until, high
            start = until


class Sums:
    """Sums over windows, filled from a curve and from sums that are known.

    Args:
        begin, every, count: microseconds: where the first window begins, how long each is; how many.
    """

    def __init__(self, begin: int, every: int, count: int) -> None:
        self._begin, self._every = begin, every
        self._real = np.tile(np.array([0.0, np.inf, -np.inf, np.nan, np.nan]), (count, 1))
        self._whole = np.tile(np.array([0, 0, _NEVER, -_NEVER]), (count, 1))

    def known(self, first_us: Ints, last_us: Ints, ends: tuple[Floats, Floats], sums: tuple[Floats, Floats, Floats]) -> None:
        """Add stretches whose minimum, maximum and total are known; each lies in one window.

        Args:
            ends: (n,) values at the beginning and the end.
            sums: (n,) minima, maxima, totals.
        """
        where = (first_us - self._begin) // self._every
        np.minimum.at(self._real[:, _LEAST], where, sums[0])
        np.maximum.at(self._real[:, _MOST], where, sums[1])
        np.add.at(self._real[:, _TOTAL], where, sums[2])
        np.add.at(self._whole[:, _GOOD_US], where, last_us - first_us)
        for i, w in reversed(list(enumerate(where.tolist()))):
            if first_us[i] < self._whole[w, _FIRST_US]:
                self._whole[w, _FIRST_US], self._real[w, _FIRST] = first_us[i], ends[0][i]
        for i, w in enumerate(where.tolist()):
            if last_us[i] > self._whole[w, _LAST_US]:
                self._whole[w, _LAST_US], self._real[w, _LAST] = last_us[i], ends[1][i]

    def add(self, curve: Curve, values: Floats) -> None:
        """Add a curve whose words are these values."""
        _gather(
            curve.times, values, curve.beliefs, curve.lines, curve.summed, curve.counts,
            self._begin, self._every, self._real, self._whole,
        )  # fmt: skip

    def windows(self) -> Windows:
        """The result."""
        none = (self._whole[:, _GOOD_US] == 0) & (self._whole[:, _COUNT] == 0)
        real = np.where(none[:, None], np.nan, self._real)
        good_s = self._whole[:, _GOOD_US] * 1e-6
        with np.errstate(invalid="ignore", divide="ignore"):
            average = real[:, _TOTAL] / good_s
        begins = (self._begin + self._every * np.arange(len(none), dtype=np.int64)) * 1000
        columns = (real[:, _LEAST], real[:, _MOST], real[:, _FIRST], real[:, _LAST], real[:, _TOTAL])
        return Windows(begins, average, *columns, self._whole[:, _COUNT], good_s)


def value_at(curve: Curve, values: Floats, time: int) -> tuple[int, float | None]:
    """The sample that holds at a time, -1 where none does, and the value where it lies on a line."""
    i = int(np.searchsorted(curve.times, time, side="right")) - 1
    if i < 0 or (curve.beliefs[i] & 3) == NONE:
        return i, None
    if i + 1 < len(curve) and curve.lines[i] and curve.beliefs[i] == curve.beliefs[i + 1] and curve.times[i] < time:
        ends = values[i : i + 2]
        if np.isfinite(ends).all():
            share = (time - curve.times[i]) / (curve.times[i + 1] - curve.times[i])
            return i, float(ends[0] + (ends[1] - ends[0]) * share)
    return i, None
