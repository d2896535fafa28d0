"""The aggregates of Part 13, over samples as History keeps them. Pure.

A value holds until the next sample, or goes to it in a straight line where that is how the Signal is kept (Stepped = False). What
is not good has no value. Aggregates with interpolated bounds look across what is not good, those with simple bounds do not; none
looks beyond the record: nothing is known of what was before its beginning or comes after its end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from asyncua.ua.object_ids import ObjectIds
from numpy.typing import NDArray

from controller.opcua.historic.questions import CALCULATED, FOREVER, INTERPOLATED, NO_DATA, PARTIAL, SUB_NORMAL, Processed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples in the order of their times, with what holds at both ends of the whole span among them.

    Attributes:
        times: (n,) UTC [ns].
        values: (n,) NaN where there is none.
        good, raw: (n,) whether to be believed; whether it is a kept sample, not one of the ends.
        lines: whether a line goes from one to the next.
        since, until: UTC [ns], where the record of the Signal begins and where it ends, if in the span.
    """

    times: Ints
    values: Floats
    good: Flags
    raw: Flags
    lines: bool
    since: int = 0
    until: int = FOREVER

    def believed(self) -> "Samples":
        """The good ones alone."""
        keep = self.good
        kept = (self.times[keep], self.values[keep], self.good[keep], self.raw[keep])
        return Samples(*kept, self.lines, self.since, self.until)


@dataclass(frozen=True, slots=True)
class Value:
    """What an aggregate came to. `at`: when, if not at the interval's beginning; `value` None: there is none."""

    value: float | None
    at: int | None = None
    bits: int = CALCULATED


@dataclass(frozen=True, slots=True)
class Interval:
    """The part of samples that an interval sees.

    Attributes:
        begin, end: UTC [ns], begin < end.
        raw: kept samples of begin <= time < end.
        whole, sure: all samples, for what holds at its ends; the good ones of them.
    """

    begin: int
    end: int
    whole: Samples
    sure: Samples

    def within(self) -> tuple[Ints, Floats]:
        """Times and values of the good kept samples in it."""
        s = self.whole
        first, last = np.searchsorted(s.times, (self.begin, self.end))
        keep = s.good[first:last] & s.raw[first:last]
        return s.times[first:last][keep], s.values[first:last][keep]

    def pieces(self, across: bool) -> tuple[Ints, Floats, Floats]:
        """Lengths [ns] and values at both ends of the stretches that have a value; `across` what is not good, or not."""
        s = self.sure if across else self.whole
        if not len(s.times):
            empty = np.empty(0)
            return np.empty(0, np.int64), empty, empty
        first = max(0, int(np.searchsorted(s.times, self.begin, side="right")) - 1)
        last = int(np.searchsorted(s.times, self.end))
        times, values, good = s.times[first : last + 1], s.values[first : last + 1], s.good[first : last + 1]
        ends = np.append(times[1:], max(self.end, int(times[-1])))
        low, high = np.maximum(times, self.begin), np.minimum(ends, min(self.end, s.until))
        there = good & (high > low)
        after = np.append(values[1:], values[-1])
        sloped = np.append(good[1:] & good[:-1], False) if s.lines else np.zeros(len(times), bool)
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = np.where(sloped, (after - values) / np.maximum(ends - times, 1), 0.0)
        starts, stops = values + slope * (low - times), values + slope * (high - times)
        return (high - low)[there], starts[there], stops[there]

    def at(self, time: int, across: bool) -> float | None:
        """The value that holds at a time; where the record ends, the one up to then."""
        s = self.sure if across else self.whole
        i = int(np.searchsorted(s.times, time, side="right")) - 1
        if i < 0 or not s.good[i] or time > s.until:
            return None
        if s.lines and i + 1 < len(s.times) and s.good[i + 1] and s.times[i] < time:
            share = (time - s.times[i]) / (s.times[i + 1] - s.times[i])
            return float(s.values[i] + (s.values[i + 1] - s.values[i]) * share)
        return float(s.values[i])

    def good_ns(self) -> int:
        """How long it was good."""
        return int(self.pieces(False)[0].sum())

    def is_outside(self) -> bool:
        """Whether all of it lies before the beginning or after the end of the record."""
        s = self.whole
        return self.end <= s.since or (self.begin >= s.until and not self.within()[0].size)

    def is_cut(self) -> bool:
        """Whether the record begins or ends in it."""
        return self.begin < self.whole.since < self.end or self.begin < self.whole.until < self.end


Aggregate = Callable[[Interval], Value]
NOTHING: Final = Value(None)


def _of_raw(reckon: Callable[[Floats], float], least: int = 1) -> Aggregate:
    def aggregate(interval: Interval) -> Value:
        _, values = interval.within()
        return Value(float(reckon(values))) if len(values) >= least else NOTHING

    return aggregate


def _over_time(across: bool, total: bool) -> Aggregate:
    def aggregate(interval: Interval) -> Value:
        lengths, starts, stops = interval.pieces(across)
        if not len(lengths):
            return NOTHING
        area = float(((starts + stops) / 2 * lengths).sum())
        return Value(area / 1e9 if total else area / float(lengths.sum()))

    return aggregate


def _extreme(pick: Callable[[Floats], np.intp], exact: bool) -> Aggregate:
    def aggregate(interval: Interval) -> Value:
        times, values = interval.within()
        if not len(values):
            return NOTHING
        i = int(pick(values))
        return Value(float(values[i]), int(times[i]) if exact else None, 0 if exact else CALCULATED)

    return aggregate


def _extreme_with_bounds(reckon: Callable[[Floats], float]) -> Aggregate:
    def aggregate(interval: Interval) -> Value:
        _, starts, stops = interval.pieces(False)
        _, values = interval.within()
        seen = np.concatenate((starts, stops, values))
        return Value(float(reckon(seen))) if len(seen) else NOTHING

    return aggregate


def _end_of(which: int) -> Aggregate:
    def aggregate(interval: Interval) -> Value:
        times, values = interval.within()
        return Value(float(values[which]), int(times[which]), 0) if len(values) else NOTHING

    return aggregate


def _bound(end: bool) -> Aggregate:
    def aggregate(interval: Interval) -> Value:
        at = interval.end if end else interval.begin
        return Value(interval.at(at, False), at)

    return aggregate


def _delta_bounds(interval: Interval) -> Value:
    first, last = interval.at(interval.begin, False), interval.at(interval.end, False)
    return NOTHING if first is None or last is None else Value(last - first)


def _interpolative(interval: Interval) -> Value:
    s = interval.whole
    i = int(np.searchsorted(s.times, interval.begin))
    exact = i < len(s.times) and s.times[i] == interval.begin and bool(s.raw[i]) and bool(s.good[i])
    return Value(interval.at(interval.begin, True), None, 0 if exact else INTERPOLATED)


def _good(share: bool, bad: bool) -> Aggregate:
    def aggregate(interval: Interval) -> Value:
        whole, good = interval.end - interval.begin, interval.good_ns()
        wanted = whole - good if bad else good
        return Value(100.0 * wanted / whole if share else wanted / 1e6)

    return aggregate


def _transitions(interval: Interval) -> Value:
    _, values = interval.within()
    before = interval.at(interval.begin - 1, True)
    seen = values if before is None else np.insert(values, 0, before)
    return Value(float(np.count_nonzero(np.diff(seen)))) if len(values) else NOTHING


_F = "AggregateFunction_"
AGGREGATES: Final[dict[str, Aggregate]] = {
    "Interpolative": _interpolative,
    "Average": _of_raw(np.mean),
    "TimeAverage": _over_time(across=True, total=False),
    "TimeAverage2": _over_time(across=False, total=False),
    "Total": _over_time(across=True, total=True),
    "Total2": _over_time(across=False, total=True),
    "Minimum": _extreme(np.argmin, exact=False),
    "Maximum": _extreme(np.argmax, exact=False),
    "MinimumActualTime": _extreme(np.argmin, exact=True),
    "MaximumActualTime": _extreme(np.argmax, exact=True),
    "Range": _of_raw(np.ptp),
    "Minimum2": _extreme_with_bounds(np.min),
    "Maximum2": _extreme_with_bounds(np.max),
    "Range2": _extreme_with_bounds(np.ptp),
    "Count": _of_raw(len, least=0),
    "Start": _end_of(0),
    "End": _end_of(-1),
    "Delta": _of_raw(lambda values: values[-1] - values[0]),
    "StartBound": _bound(end=False),
    "EndBound": _bound(end=True),
    "DeltaBounds": _delta_bounds,
    "DurationGood": _good(share=False, bad=False),
    "DurationBad": _good(share=False, bad=True),
    "PercentGood": _good(share=True, bad=False),
    "PercentBad": _good(share=True, bad=True),
    "NumberOfTransitions": _transitions,
    "StandardDeviationSample": _of_raw(lambda values: float(np.std(values, ddof=1)), least=2),
    "StandardDeviationPopulation": _of_raw(np.std),
    "VarianceSample": _of_raw(lambda values: float(np.var(values, ddof=1)), least=2),
    "VariancePopulation": _of_raw(np.var),
}
"""By the standard's name."""
BY_NUMBER: Final = {int(getattr(ObjectIds, _F + name)): aggregate for name, aggregate in AGGREGATES.items()}
"""By the number of the aggregate function's node."""
WHOLE: Final = frozenset(int(getattr(ObjectIds, _F + name)) for name in ("Count", "NumberOfTransitions"))
"""These are Int32; the others Double."""
_OWN_STATUS: Final = frozenset(
    int(getattr(ObjectIds, _F + name))
    for name in ("DurationGood", "DurationBad", "PercentGood", "PercentBad", "StartBound", "EndBound", "DeltaBounds")
)
"""Their status says nothing of how much of the interval was good (Part 13 §5.4.3: calculation method Custom)."""


def part(asked: Processed, most: int) -> tuple[Processed, int | None]:
    """Its first intervals, so many at most, and where those begin that are left, None: none are."""
    span = abs(asked.end_ns - asked.start_ns)
    if not asked.every_ns or -(-span // asked.every_ns) <= most:
        return asked, None
    reach = most * asked.every_ns
    edge = asked.start_ns + (reach if asked.start_ns < asked.end_ns else -reach)
    return msgspec.structs.replace(asked, end_ns=edge), edge


def intervals(asked: Processed) -> list[tuple[int, int]]:
    """Begin and end of each interval, in the order asked for; the last is cut where the span ends."""
    start, end = asked.start_ns, asked.end_ns
    every = asked.every_ns or abs(end - start)
    count = -(-abs(end - start) // every)
    if start < end:
        return [(start + i * every, min(start + (i + 1) * every, end)) for i in range(count)]
    return [(max(start - (i + 1) * every, end), start - i * every) for i in range(count)]


def processed(asked: Processed, samples: Samples) -> list[tuple[int, float | None, int]]:
    """Time, value and status of each interval (Part 13 §5.4)."""
    aggregate, sure = BY_NUMBER[asked.aggregate], samples.believed()
    found = []
    for begin, end in intervals(asked):
        interval = Interval(begin, end, samples, sure)
        value = NOTHING if interval.is_outside() else aggregate(interval)
        at = value.at if value.at is not None else (begin if asked.start_ns < asked.end_ns else end)
        status = _status(asked, interval, value)
        found.append((at, None if status == NO_DATA else value.value, status))
    return found


def _status(asked: Processed, interval: Interval, value: Value) -> int:
    if value.value is None:
        return NO_DATA
    cut = (asked.every_ns and interval.end - interval.begin < asked.every_ns) or interval.is_cut()
    bits = value.bits | (PARTIAL if cut and value.bits else 0)
    if asked.aggregate in _OWN_STATUS or value.bits == 0:
        return bits
    good = 100.0 * interval.good_ns() / (interval.end - interval.begin)
    if good >= asked.good_percent:
        return bits
    return NO_DATA if 100.0 - good >= asked.bad_percent and not interval.within()[0].size else SUB_NORMAL | bits
