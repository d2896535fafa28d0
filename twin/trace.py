"""What happened: Samples, Events and the Trace that holds them."""

import enum
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from twin.clock import Ns, seconds

StatusT = TypeVar("StatusT")
EventT = TypeVar("EventT", bound="Event")


class Quality(enum.Enum):
    """How far to believe a value."""

    GOOD = "good"
    STALE = "stale"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Belief:
    """A quality with its cause: empty when Good."""

    quality: Quality
    cause: str = ""


GOOD = Belief(Quality.GOOD)


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a node said something, by its own clock, and how well that is known by the core's.

    Attributes:
        boot: which of its starts.
        sequence: place among what was heard of that start.
        uptime_ms: of that start, without wraps.
        at: the same moment by the core's clock.
        bound: how far from the truth `at` may be, either way.
    """

    node: str
    boot: int
    sequence: int
    uptime_ms: int
    at: Ns
    bound: Ns


@dataclass(frozen=True, slots=True)
class Sample(Generic[StatusT]):
    """A Status, when it was true, and how far to believe each of its Signals.

    Attributes:
        status: the record; None before the first one came.
        at: when it was true, by the core's clock: where its node tells its time, else when it was received.
        utc_ns: the same moment in wall time, for people.
        times: the Signals that were true at another time, in wall time, as their source says.
        doubts: the Signals that are not Good; `every` applies to all others.
        every: the belief in all Signals that `doubts` does not name.
        stamp: what its node says of the time, where it says anything.
    """

    status: StatusT | None
    at: Ns
    utc_ns: int = 0
    every: Belief = GOOD
    doubts: Mapping[str, Belief] = field(default_factory=lambda: MappingProxyType({}))
    stamp: Stamp | None = None
    times: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def belief(self, signal: str) -> Belief:
        """How far to believe one Signal."""
        if self.every.quality is not Quality.GOOD:
            return self.every
        return self.doubts.get(signal, self.every)

    @property
    def good(self) -> bool:
        """Whether there is a Status and no doubt about it as a whole."""
        return self.status is not None and self.every.quality is Quality.GOOD


@dataclass(frozen=True, slots=True)
class Event:
    """A typed fact; every event type is a frozen dataclass that extends this one and names its subject."""

    subject: str

    def line(self) -> str:
        """The fact in one line."""
        facts = {k: getattr(self, k) for k in self.__dataclass_fields__ if k != "subject"}
        told = " ".join(f"{k}={v}" for k, v in facts.items())
        return f"{type(self).__name__} {self.subject} {told}".strip()


@dataclass(frozen=True, slots=True)
class At(Generic[EventT]):
    """An event with its time, and the time elapsed since what was asked for (0 where nothing was)."""

    time: Ns
    what: EventT
    elapsed: Ns


class Trace:
    """A recorded Feed: events in their order and Signals as (time, value) series.

    Requirements read nothing else, so the same requirement judges a test and a recorded day.

    Args:
        kept: how many events, and values of each Signal, are kept; None for all. The digest is over everything in any case.
    """

    def __init__(self, kept: int | None = None) -> None:
        self.events: deque[At[Event]] = deque(maxlen=kept)
        self.series: dict[str, deque[tuple[Ns, Any]]] = {}
        self._kept = kept
        self._digest = hashlib.sha256()

    def event(self, time: Ns, what: Event) -> None:
        """Record a fact."""
        self.events.append(At(time, what, Ns(0)))
        self._digest.update(f"{time} {what.line()}\n".encode())

    def value(self, time: Ns, signal: str, value: Any) -> None:
        """Record a Signal's value; an unchanged value is not recorded again."""
        series = self.series.get(signal)
        if series is None:
            series = self.series[signal] = deque(maxlen=self._kept)
        if series and series[-1][1] == value:
            return
        series.append((time, value))
        self._digest.update(f"{time} {signal}={value!r}\n".encode())

    @property
    def digest(self) -> str:
        """SHA-256 over everything recorded, in its order: equal digests, equal runs."""
        return self._digest.hexdigest()

    def at(self, signal: str, time: Ns) -> Any:
        """The value a Signal had at a time; None before its first."""
        found = None
        for when, value in self.series.get(signal, ()):
            if when > time:
                break
            found = value
        return found

    def last(self, signal: str) -> Any:
        """The latest value of a Signal; None where it has none."""
        series = self.series.get(signal)
        return series[-1][1] if series else None

    def of(self, kind: type[EventT], subject: str | None = None) -> Iterator[At[EventT]]:
        """All events of a type, of one subject if named."""
        for entry in self.events:
            if isinstance(entry.what, kind) and (subject is None or entry.what.subject == subject):
                yield At(entry.time, entry.what, entry.elapsed)

    def after(self, what: Event) -> "Since":
        """The part of the Trace from the first event equal to `what` on.

        Raises:
            LookupError: it never happened.
        """
        for entry in self.events:
            if entry.what == what:
                return Since(self, entry.time)
        raise LookupError(f"never happened: {what.line()}")


@dataclass(frozen=True, slots=True)
class Since:
    """A Trace from a moment on."""

    trace: Trace
    start: Ns

    def first(self, what: Event) -> At[Event]:
        """The first event equal to `what`, with the time elapsed since the start.

        Raises:
            LookupError: it did not happen.
        """
        for entry in self.trace.events:
            if entry.time >= self.start and entry.what == what:
                return At(entry.time, entry.what, Ns(entry.time - self.start))
        raise LookupError(f"did not happen after {seconds(self.start):.3f} s: {what.line()}")

    def until(self, signal: str, holds: Callable[[Any], bool]) -> Ns | None:
        """Time elapsed until a Signal's value meets a condition for the first time, or None."""
        series = self.trace.series.get(signal, ())
        current = self.trace.at(signal, self.start)
        if current is not None and holds(current):
            return Ns(0)
        return next((Ns(time - self.start) for time, value in series if time > self.start and holds(value)), None)

    def settled(self, signal: str, holds: Callable[[Any], bool]) -> Ns | None:
        """Time elapsed until a Signal meets a condition for good; None where it does not at the end."""
        series = self.trace.series.get(signal, ())
        since: Ns | None = None
        for time, value in series:
            if not holds(value):
                since = None
            elif since is None:
                since = Ns(max(Ns(0), Ns(time - self.start)))
        return since
