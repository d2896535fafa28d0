"""Tolerance tubes: how far a Signal may be from its reference, in value and in time.

A value at time t is inside when it lies between the lowest and the highest of reference ± tolerance over [t − lag, t + lead]. The
tolerance is reckoned at the reference's own points and follows the reference's shape between them: a rectangle slid along the
reference, as pyfunnel slides it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from twin.clock import Ns, S
from twin.kernel import Floats, Ints, kernel

GRID = 1024  # points at which a best shift in time is looked for
FARTHEST = GRID // 4  # and how many of them it may be: a quarter of the common time
NO_TIME = Ns(0)
NO_END = Ns(2**62)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a Signal may be from its reference.

    Attributes:
        abs: in the Signal's own unit.
        rel: share of the reference's magnitude; the larger of both counts.
        lead: how much earlier than the reference it may be.
        lag: how much later.
    """

    abs: float = 0.0
    rel: float = 0.0
    lead: Ns = NO_TIME
    lag: Ns = NO_TIME

    def __post_init__(self) -> None:
        for name in ("abs", "rel", "lead", "lag"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"tolerance {name}={getattr(self, name)} is below 0")

    def __str__(self) -> str:
        told = [f"±{self.abs:g}"] if self.abs or not self.rel else []
        told += [f"±{self.rel:.3g} of it"] if self.rel else []
        told += [f"{self.lead / S:g} s early"] if self.lead else []
        told += [f"{self.lag / S:g} s late"] if self.lag else []
        return ", ".join(told)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Numbers over time.

    Attributes:
        times: (n,) in order, equal ones allowed [ns].
        values: (n,).
    """

    times: Ints
    values: Floats

    @classmethod
    def of(cls, pairs: Iterable[tuple[Ns, Any]]) -> "Series":
        """A recorded Signal's numbers.

        Raises:
            ValueError: one is no number, or time goes back.
        """
        found = list(pairs)
        strange = next((value for _, value in found if not isinstance(value, Real | np.bool_)), None)
        if strange is not None:
            raise ValueError(f"{strange!r} is no number")
        values = np.array([float(value) for _, value in found], np.float64)
        times = np.array([time for time, _ in found], np.int64)
        if (np.diff(times) < 0).any():
            raise ValueError("time goes back")
        return cls(times, values)

    def lasting(self) -> "Series":
        """Without the values that last no time: of equal times the last."""
        keep = np.append(np.diff(self.times) > 0, True)
        return Series(self.times[keep], self.values[keep])

    def at(self, queries: Ints, held: bool) -> Floats:
        """(m,) values at ordered times; before the first it is the first, after the last the last."""
        out = np.empty(queries.shape[0])
        _values_at(self.times, self.values, queries, held, out)
        return out


@dataclass(frozen=True, slots=True)
class Fit:
    """How a Signal keeps to its tube.

    Attributes:
        first: when it was outside for the first time; None where it never was.
        value: what it was then, and what the tube allowed.
        excess: how far it was outside at worst.
        outside: at how many of the judged moments it was outside.
        largest: the largest difference from the reference at one moment, and when.
        rms: root of the mean square difference over time.
        shift: the shift in time that makes the difference smallest; positive where the Signal is late.
    """

    passed: bool
    first: Ns | None
    value: float
    low: float
    high: float
    excess: float
    judged: int
    outside: int
    largest: float
    largest_at: Ns
    rms: float
    shift: Ns


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A tube at certain times.

    Attributes:
        low, high: (n,) what is allowed at each of `times` (n,).
    """

    times: Ints
    low: Floats
    high: Floats


def band(reference: Series, tolerance: Tolerance, times: Ints, held: bool = True) -> Band:
    """The tube around a reference at ordered times.

    Args:
        held: the reference keeps each value until its next; else it is straight between them.
    """
    if held:
        reference = reference.lasting()
    margin = np.maximum(tolerance.abs, tolerance.rel * np.abs(reference.values))
    low, high = np.empty(times.shape[0]), np.empty(times.shape[0])
    below, above = reference.values - margin, reference.values + margin
    _slide(reference.times, below, above, times, tolerance.lead, tolerance.lag, held, low, high)
    return Band(times, low, high)


def judged(found: Series, reference: Series, tolerance: Tolerance, held: bool, end: Ns = NO_END) -> Series:
    """What of a Signal is judged: held values at each change, and wherever the tube narrows; others at the Signal's own points."""
    start = max(reference.times[0], found.times[0])
    if not held:
        inside = (found.times >= start) & (found.times <= min(end, reference.times[-1]))
        return Series(found.times[inside], found.values[inside])
    # Where the tube comes to allow more, nothing comes to lie outside: only what it ceases to allow is looked at.
    times = _merged(found.times, reference.times + tolerance.lag, start)
    times = times[(times >= start) & (times <= end)]
    return Series(times, found.at(times, held))


def _merged(one: Ints, two: Ints, *more: int) -> Ints:
    """All times in order, each once. A stable sort merges what is in order already."""
    every = np.sort(np.concatenate((one, two, np.array(more, np.int64))), kind="stable")
    once: Ints = every[np.append(True, np.diff(every) > 0)]
    return once


def fit(found: Series, reference: Series, tolerance: Tolerance, held: bool = True, end: Ns = NO_END) -> Fit:
    """How a Signal keeps to the tube around its reference, where both are known, up to an end if one is given.

    Raises:
        ValueError: one of them is empty, the reference holds something that is no number, or they have no time in common.
    """
    if not len(found.times) or not len(reference.times):
        raise ValueError("nothing was recorded" if not len(found.times) else "the reference is empty")
    if np.isnan(reference.values).any():
        raise ValueError("the reference holds something that is no number")
    series = judged(found, reference, tolerance, held, end)
    if not len(series.times):
        raise ValueError("Signal and reference have no time in common")
    tube = band(reference, tolerance, series.times, held)
    first, excess, outside = _compare(series.values, tube.low, tube.high)
    largest, where, rms = difference(found, reference, held, end)
    at = max(first, 0)
    return Fit(
        passed=first < 0,
        first=Ns(int(series.times[first])) if first >= 0 else None,
        value=float(series.values[at]),
        low=float(tube.low[at]),
        high=float(tube.high[at]),
        excess=excess,
        judged=len(series.times),
        outside=outside,
        largest=largest,
        largest_at=where,
        rms=rms,
        shift=best_shift(found, reference, held),
    )


def difference(found: Series, reference: Series, held: bool = True, end: Ns = NO_END) -> tuple[float, Ns, float]:
    """The largest difference at one moment, when it was, and the root of the mean square over the time both are known."""
    start = max(found.times[0], reference.times[0])
    last = max(found.times[-1], reference.times[-1]) if held else min(found.times[-1], reference.times[-1])
    last = max(start, min(last, end))
    times = _merged(found.times, reference.times, start, last)
    times = times[(times >= start) & (times <= last)]
    apart = found.at(times, held) - reference.at(times, held)
    where = int(np.argmax(np.abs(apart)))
    return float(abs(apart[where])), Ns(int(times[where])), _root_mean_square(times, apart, held)


def best_shift(found: Series, reference: Series, held: bool = True) -> Ns:
    """The shift in time that makes the difference smallest; positive where the Signal is late.

    It is looked for up to a quarter of the common time.
    """
    start = max(found.times[0], reference.times[0])
    end = min(found.times[-1], reference.times[-1])
    if end - start < GRID:
        return Ns(0)
    times = np.linspace(start, end, GRID).astype(np.int64)
    steps = _best_lag(found.at(times, held), reference.at(times, held), FARTHEST)
    return Ns(round(steps * (int(end) - int(start)) / (GRID - 1)))


# ---- kernels


@kernel
def _value(times: Ints, values: Floats, index: int, time: int, held: bool) -> Any:
    """Value at a time whose latest point is `index`, -1 for none."""
    if index < 0:
        return values[0]
    if held or index == times.shape[0] - 1:
        return values[index]
    share = (time - times[index]) / (times[index + 1] - times[index])
    return values[index] + (values[index + 1] - values[index]) * share


@kernel
def _values_at(times: Ints, values: Floats, queries: Ints, held: bool, out: Floats) -> None:
    index = -1
    for i in range(queries.shape[0]):
        while index + 1 < times.shape[0] and times[index + 1] <= queries[i]:
            index += 1
        out[i] = _value(times, values, index, queries[i], held)


@kernel
def _slide(
    times: Ints, below: Floats, above: Floats, queries: Ints, lead: int, lag: int, held: bool, low: Floats, high: Floats
) -> None:
    """Minimum of `below` and maximum of `above` over [query − lag, query + lead]; each point enters and leaves two queues once."""
    count = times.shape[0]
    lows, highs = np.empty(count, np.int64), np.empty(count, np.int64)
    low_head, low_tail, high_head, high_tail = 0, 0, 0, 0
    before, ahead = -1, -1
    for i in range(queries.shape[0]):
        left, right = queries[i] - lag, queries[i] + lead
        while ahead + 1 < count and times[ahead + 1] <= right:
            ahead += 1
            while low_tail > low_head and below[lows[low_tail - 1]] >= below[ahead]:
                low_tail -= 1
            lows[low_tail] = ahead
            low_tail += 1
            while high_tail > high_head and above[highs[high_tail - 1]] <= above[ahead]:
                high_tail -= 1
            highs[high_tail] = ahead
            high_tail += 1
        while low_head < low_tail and times[lows[low_head]] < left:
            low_head += 1
        while high_head < high_tail and times[highs[high_head]] < left:
            high_head += 1
        while before + 1 < count and times[before + 1] <= left:
            before += 1
        least = min(_value(times, below, before, left, held), _value(times, below, ahead, right, held))
        most = max(_value(times, above, before, left, held), _value(times, above, ahead, right, held))
        if low_head < low_tail:
            least = min(least, below[lows[low_head]])
        if high_head < high_tail:
            most = max(most, above[highs[high_head]])
        low[i], high[i] = least, most


@kernel
def _compare(values: Floats, low: Floats, high: Floats) -> tuple[int, float, int]:
    """Index of the first value outside (-1 for none), the largest excess, how many are outside. What is no number is outside."""
    first, worst, outside = -1, 0.0, 0
    for i in range(values.shape[0]):
        if low[i] <= values[i] <= high[i]:
            continue
        outside += 1
        first = i if first < 0 else first
        worst = max(worst, low[i] - values[i], values[i] - high[i])
    return first, worst, outside


@kernel
def _root_mean_square(times: Ints, apart: Floats, held: bool) -> float:
    total, span = 0.0, times[-1] - times[0]
    if span == 0:
        return float(abs(apart[0]))
    for i in range(times.shape[0] - 1):
        one, two = apart[i], apart[i] if held else apart[i + 1]
        total += (one * one + one * two + two * two) / 3 * (times[i + 1] - times[i])
    return float(np.sqrt(total / span))


@kernel
def _best_lag(found: Floats, reference: Floats, farthest: int) -> int:
    """How many steps later `found` is than `reference`: where their mean square difference is smallest; of equals the nearest."""
    count, best, least = found.shape[0], 0, np.inf
    for turn in range(2 * farthest + 1):
        lag = (turn + 1) // 2 if turn % 2 else -(turn // 2)
        total = 0.0
        for i in range(max(0, lag), min(count, count + lag)):
            apart = found[i] - reference[i - lag]
            total += apart * apart
        mean = total / (count - abs(lag))
        if mean < least:
            best, least = lag, mean
    return best
