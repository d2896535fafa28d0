"""Rules as data: frozen records that, called with a Trace, say whether they held, what shows it, and when they first did not.

A Signal keeps each value until its next. A rule that finds nothing to judge raises Unseen: silence proves nothing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hil.judging.conditions import describe
from hil.judging.tube import NO_TIME
from twin.clock import MS, Ns, seconds
from twin.trace import Event, Trace

FAR = Ns(2**62)
Trigger = Event | type[Event]
Condition = Callable[[Any], bool]


class Unseen(LookupError):
    """What a rule speaks of was never recorded, so that nothing is shown."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule found.

    Attributes:
        told: the evidence, in words.
        at: the first violation.
        signals: what to look at; none where events are.
    """

    passed: bool
    told: str
    at: Ns | None = None
    signals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class When:
    """A Signal's meeting a condition."""

    signal: str
    holds: Condition

    def __str__(self) -> str:
        return f"{self.signal} {describe(self.holds)}"


@dataclass(frozen=True, slots=True)
class Step:
    """An event in an order of events.

    Attributes:
        what: an event equal to this, or of this type.
        within: at most so long after the one before.
        after: at least so long after the one before.
    """

    what: Trigger
    within: Ns = FAR
    after: Ns = NO_TIME


# ---- reading a Trace


def named(what: Trigger) -> str:
    """An event, or a type of events, in words."""
    return what.__name__ if isinstance(what, type) else what.line()


def matches(entry: Event, what: Trigger) -> bool:
    """Whether an event is the one that is meant, or of the type that is."""
    return isinstance(entry, what) if isinstance(what, type) else entry == what


def occurrences(trace: Trace, what: Trigger) -> list[Ns]:
    """When an event happened.

    Raises:
        Unseen: it never did.
    """
    if found := [entry.time for entry in trace.events if matches(entry.what, what)]:
        return found
    raise Unseen(f"never happened: {named(what)}")


def history(trace: Trace, signal: str, start: Ns = NO_TIME, end: Ns = FAR) -> list[tuple[Ns, Any]]:
    """A Signal's values in [start, end), first the one it had at the start if it had one.

    Raises:
        Unseen: it was not recorded before the end.
    """
    pairs = list(trace.series.get(signal, ()))
    times = [time for time, _ in pairs]
    first, last = max(0, bisect_right(times, start) - 1), bisect_left(times, end)
    if first >= last:
        raise Unseen(f"never recorded: {signal}" if not pairs else f"{signal} was not recorded before {seconds(end):.4f} s")
    return [(max(start, time), value) for time, value in pairs[first:last]]


def end_of(trace: Trace) -> Ns:
    """The latest time recorded."""
    last = [series[-1][0] for series in trace.series.values() if series]
    return max(last + ([trace.events[-1].time] if trace.events else []), default=Ns(0))


def _window(trace: Trace, after: Trigger | None, before: Trigger | None = None) -> tuple[Ns, Ns]:
    """From the first `after` to the first `before` that follows it, or to the end."""
    start = occurrences(trace, after)[0] if after is not None else Ns(0)
    ends = (entry.time for entry in trace.events if before is not None and entry.time >= start and matches(entry.what, before))
    return start, next(ends, FAR)


def _together(trace: Trace, one: str, two: str, start: Ns, end: Ns) -> Iterator[tuple[Ns, Ns, Any, Any]]:
    """(from, to, value, value) of two Signals wherever neither changes; None for what is not known yet."""
    columns = [dict(history(trace, signal, start, end)) for signal in (one, two)]
    times = sorted({*columns[0], *columns[1]})
    now: list[Any] = [None, None]
    for time, following in pairwise([*times, min(end, max(end_of(trace), times[-1]))]):
        now = [column.get(time, known) for column, known in zip(columns, now, strict=True)]
        yield time, following, now[0], now[1]


def _late(elapsed: Ns, within: Ns) -> str:
    return f"after {elapsed / MS:.1f} ms, at most {within / MS:.1f} ms"


# ---- rules over a Signal


@dataclass(frozen=True, slots=True)
class Responds:
    """See `hil.judging.verdict.responds`."""

    after: Trigger
    signal: str
    holds: Condition
    within: Ns
    lasting: bool = True
    every: bool = False

    def __call__(self, trace: Trace) -> Found:
        starts = occurrences(trace, self.after)
        slowest = Ns(0)
        for start, following in pairwise([*(starts if self.every else starts[:1]), FAR]):
            due = Ns(start + self.within)
            if self.lasting and following <= due:
                continue  # asked again before it was due
            found = history(trace, self.signal, start, following if self.lasting else Ns(due + 1))
            failed, came = self._judge(found, due)
            if failed is not None:
                value = next((value for time, value in reversed(found) if time <= failed), None)
                told = f"{self.signal} was {value!r} {(failed - start) / MS:.1f} ms after {named(self.after)}"
                told += f"; within {self.within / MS:.1f} ms it must be {describe(self.holds)}"
                return Found(False, told, failed, (self.signal,))
            slowest = max(slowest, Ns(came - start))
        return Found(True, f"{self.signal} {_late(slowest, self.within)}", None, (self.signal,))

    def _judge(self, found: list[tuple[Ns, Any]], due: Ns) -> tuple[Ns | None, Ns]:
        """When it failed, and since when it held."""
        since: Ns | None = None
        for time, value in found:
            if time > due and since is None:
                return due, due
            if self.holds(value):
                since = time if since is None else since
                if not self.lasting:
                    return None, since
            elif time > due:
                return time, due
            else:
                since = None
        return (due, due) if since is None else (None, since)


@dataclass(frozen=True, slots=True)
class Never:
    """See `hil.judging.verdict.never`."""

    signal: str
    holds: Condition
    after: Trigger | None = None
    before: Trigger | None = None

    def __call__(self, trace: Trace) -> Found:
        for time, value in history(trace, self.signal, *_window(trace, self.after, self.before)):
            if self.holds(value):
                return Found(False, f"{self.signal} was {value!r} at {seconds(time):.4f} s", time, (self.signal,))
        return Found(True, f"{self.signal} kept to it", None, (self.signal,))


@dataclass(frozen=True, slots=True)
class Always:
    """See `hil.judging.verdict.always`."""

    signal: str
    holds: Condition
    while_: When | None = None
    grace: Ns = NO_TIME
    after: Trigger | None = None
    before: Trigger | None = None

    def __call__(self, trace: Trace) -> Found:
        start, end = _window(trace, self.after, self.before)
        ruling = self.while_ or When(self.signal, lambda value: value is not None)
        signals = tuple(dict.fromkeys((self.signal, ruling.signal)))
        since: Ns | None = None
        stretches = 0
        for time, following, value, other in _together(trace, self.signal, ruling.signal, start, end):
            if other is None or not ruling.holds(other):
                since = None
                continue
            stretches += since is None
            since = time if since is None else since
            wrong = max(time, Ns(since + self.grace))
            if (value is None or not self.holds(value)) and (wrong < following or wrong == time):
                told = "was not known yet" if value is None else f"was {value!r}"
                meanwhile = f" while {self.while_}" if self.while_ else ""
                return Found(False, f"{self.signal} {told} at {seconds(wrong):.4f} s{meanwhile}", wrong, signals)
        if not stretches:
            raise Unseen(f"never came to be: {ruling}")
        told = f", {stretches} times {self.while_}" if self.while_ else ""
        return Found(True, f"{self.signal} kept to it{told}", None, signals)


@dataclass(frozen=True, slots=True)
class Until:
    """See `hil.judging.verdict.until`."""

    signal: str
    holds: Condition
    end: When | Trigger
    within: Ns
    after: Trigger | None = None

    def __call__(self, trace: Trace) -> Found:
        start = occurrences(trace, self.after)[0] if self.after is not None else history(trace, self.signal)[0][0]
        due = Ns(start + self.within)
        ended = self._ended(trace, start)
        stop = due if ended is None else min(ended, due)
        for time, value in history(trace, self.signal, start, Ns(max(stop, start + 1))):
            if time < stop and not self.holds(value):
                return Found(False, f"{self.signal} was {value!r} at {seconds(time):.4f} s", time, self._signals)
        awaited = str(self.end) if isinstance(self.end, When) else named(self.end)
        if ended is None:
            return Found(False, f"{awaited} did not come", due, self._signals)
        late = due if ended > due else None
        return Found(late is None, f"{awaited} {_late(Ns(ended - start), self.within)}", late, self._signals)

    @property
    def _signals(self) -> tuple[str, ...]:
        return (self.signal, self.end.signal) if isinstance(self.end, When) else (self.signal,)

    def _ended(self, trace: Trace, start: Ns) -> Ns | None:
        if isinstance(self.end, When):
            return next((time for time, value in history(trace, self.end.signal, start) if self.end.holds(value)), None)
        return next((entry.time for entry in trace.events if entry.time >= start and matches(entry.what, self.end)), None)


# ---- rules over events


@dataclass(frozen=True, slots=True)
class Ordered:
    """See `hil.judging.verdict.ordered`."""

    steps: tuple[Step, ...]

    def __call__(self, trace: Trace) -> Found:
        # All events that may be the one before: the first of them need not be the one whose successor is in time.
        before: list[tuple[int, Ns]] = []
        for number, step in enumerate(self.steps):
            came = [(index, entry.time) for index, entry in enumerate(trace.events) if matches(entry.what, step.what)]
            fitting = [(index, time) for index, time in came if not number or self._follows(before, index, time, step)]
            if not fitting:
                return self._missing(trace, step, before[0][1] if before else None, [time for _, time in came])
            before = fitting
        return Found(True, f"{len(self.steps)} events in order")

    @staticmethod
    def _follows(before: list[tuple[int, Ns]], index: int, time: Ns, step: Step) -> bool:
        return any(earlier < index and step.after <= time - since <= step.within for earlier, since in before)

    @staticmethod
    def _missing(trace: Trace, step: Step, since: Ns | None, came: list[Ns]) -> Found:
        told = f"missing {named(step.what)}"
        if since is None:
            return Found(False, told, end_of(trace))
        late = next((time for time in came if time >= since), None)
        at = Ns(since + step.within) if step.within < FAR else since
        came_at = f"; it came at {seconds(late):.4f} s" if late is not None else ""
        return Found(False, f"{told} after what came at {seconds(since):.4f} s{came_at}", at)


@dataclass(frozen=True, slots=True)
class Absent:
    """See `hil.judging.verdict.absent`."""

    what: tuple[Trigger, ...]
    after: Trigger | None = None

    def __call__(self, trace: Trace) -> Found:
        start, _ = _window(trace, self.after)
        for entry in trace.events:
            if entry.time >= start and any(matches(entry.what, what) for what in self.what):
                return Found(False, f"{entry.what.line()} at {seconds(entry.time):.4f} s", entry.time)
        return Found(True, f"no {', no '.join(named(what) for what in self.what)}")
