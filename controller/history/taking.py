"""What a Feed says, as History keeps it: samples with their times, Events, and the spans of which nothing is known. Pure.

History's time is UTC and never goes back. Where the wall clock was set back a little, History goes on ahead of it and lets it
catch up: it passes nine seconds in ten. Where it was set forward by more than an hour, a gap is in between; where it was set back
by more, what was recorded meanwhile is to be moved (setback.py) before the message is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controller.feed import Changes, FeedSignal, Gap, Hello, Message, Row, Snapshot, Told
from controller.history.door import Missing
from controller.history.kept import Happened, Kept, Rule
from twin.clock import US, S

CATCH_UP = 10
STEP = 3600 * S
"""A wall clock that differs by more from the time that has passed has been set."""
AWAY = "History was not recorded"
SET = "the wall clock was set"


@dataclass(frozen=True, slots=True)
class Portion:
    """What one message comes to: first what is missing before it.

    Attributes:
        rows: number of the Signal, UTC [ns], value, quality, cause.
        until: up to when it tells; 0 where it tells of no time.
    """

    rows: Sequence[tuple[int, int, Any, int, str]] = ()
    events: Sequence[Happened] = ()
    until: int = 0
    missing: Missing | None = None


@dataclass(frozen=True, slots=True)
class _Last:
    """The last row of a Signal, when it is held to be true, and in which publication it came."""

    row: Row
    time: int
    publication: int


class Axis:
    """UTC that never goes back.

    Args:
        until: History's last time [UTC ns].
    """

    def __init__(self, until: int) -> None:
        self._until, self._ahead, self._looked = until, 0, (-1, 0)

    def step(self, utc_ns: int, at_ns: int, run: int) -> tuple[int, bool]:
        """By how much the clock differs from the time that has passed, and whether that is known."""
        was, before = self._looked
        known = was == run and self._until > 0
        return utc_ns + self._ahead - self._until - (max(0, at_ns - before) if known else 0), known

    def start(self, until: int) -> None:
        """History tells up to this time; it may be earlier than it was."""
        self._until, self._ahead = until, 0

    def now(self, utc_ns: int, at_ns: int, run: int) -> int:
        """History's time at a publication; `at_ns` by the clock of this run of the core."""
        was, before = self._looked
        elapsed = max(0, at_ns - before) if was == run else 0
        self._looked = run, at_ns
        self._ahead = max(0, self._ahead - elapsed // CATCH_UP, self._until + 1 - utc_ns)
        self._until = utc_ns + self._ahead
        return self._until

    def of(self, utc_ns: int, latest: int) -> int:
        """History's time of something that was told in a publication of which `latest` is the time."""
        return min(utc_ns + self._ahead, latest) if utc_ns else latest


class Taking:
    """Turns the messages of a whole Feed into what History keeps.

    Attributes:
        until: History's last time [UTC ns]; 0 before the first.
        lost: rows that came never.

    Args:
        numbers: of each path in History.
        kept: what is kept, by index in the Feed.
        until: History's last time when it was opened.
    """

    def __init__(self, signals: Sequence[FeedSignal], kept: Mapping[int, Kept], numbers: Mapping[str, int], until: int = 0) -> None:
        self.until, self.lost = until, 0
        self._numbers = {index: numbers[one.path] for index, one in kept.items()}
        self._lines = frozenset(index for index, one in kept.items() if one.way is Rule.LINE)
        self._strings = frozenset(index for index, one in kept.items() if one.type is str)
        self._axis = Axis(until)
        self._last: dict[int, _Last] = {}
        self._publication = self._period = self._pub_utc = self._run = 0
        self._away = AWAY if until else ""

    def gone(self, cause: str, until: int | None = None) -> None:
        """There is no core any more, or nothing could be written after `until`: what comes next comes after a gap."""
        self._away = self._away or cause
        if until is not None:
            self.until = until

    def set_back(self, message: Message) -> tuple[int, int | None] | None:
        """Where a message comes after the clock was set back by more than STEP: its time, and by how much, if that is known.

        Then what was recorded since is to be moved, and `start` told.
        """
        if not isinstance(message, Snapshot | Changes) or not self.until:
            return None
        step, known = self._axis.step(message.utc_ns, message.at_ns, self._run)
        return (message.utc_ns, -step if known else None) if step < -STEP else None

    def start(self, until: int) -> None:
        """What was recorded has been moved: History tells up to this time."""
        self.until = until
        self._axis.start(until)
        self._away = self._away or SET
        self._publication = 0

    def take(self, message: Message) -> Portion:
        """What is to be kept of a message."""
        match message:
            case Hello():
                return self._hello(message)
            case Snapshot():
                return self._snapshot(message)
            case Changes():
                return self._changes(message)
            case Gap():
                self.lost += message.rows
                self._away = f"{message.rows} rows and {message.lost} events came faster than they were taken"
        return Portion()

    def _hello(self, message: Hello) -> Portion:
        if message.run == self._run:
            return Portion()
        self._run = message.run
        started = Happened(max(message.run, self.until + 1), "CoreStarted", "factory", {"run": message.run})
        return Portion((), (started,))

    def _snapshot(self, message: Snapshot, otherwise: str = "") -> Portion:
        """How everything stands: all of it is true now, whenever it became so."""
        since, now = self.until, self._axis.now(message.utc_ns, message.at_ns, self._run)
        cause, self._away = self._away or otherwise, ""
        missing = Missing(since, now, cause) if cause and since else None
        self._publication, self._pub_utc, self._period, self.until = message.number, message.utc_ns, 0, now
        self._last = {row.index: _Last(row, now, message.number) for row in message.rows if row.index in self._numbers}
        return Portion([self._kept(last.row, now) for last in self._last.values()], (), now, missing)

    def _changes(self, message: Changes) -> Portion:
        step, known = self._axis.step(message.utc_ns, message.at_ns, self._run)
        if self._away or (known and step > STEP):
            return self._anew(message)
        now = self._axis.now(message.utc_ns, message.at_ns, self._run)
        self._period = max(0, message.utc_ns - self._pub_utc)
        found = []
        for row in message.rows:
            if row.index in self._numbers:
                found += self._row(row, message.number, now)
        self._publication, self._pub_utc, self.until = message.number, message.utc_ns, now
        return Portion(found, [self._event(event, now) for event in message.events], now)

    def _anew(self, message: Changes) -> Portion:
        """After the clock was set: a gap, and how everything stands behind it."""
        rows = {index: last.row for index, last in self._last.items()} | {row.index: row for row in message.rows}
        found = self._snapshot(Snapshot(message.number, list(rows.values()), message.utc_ns, message.at_ns, True), SET)
        return replace(found, events=[self._event(event, found.until) for event in message.events])

    def _row(self, row: Row, publication: int, now: int) -> list[tuple[int, int, Any, int, str]]:
        """A row at its time. Before it, where its Signal follows a line, what it still was a publication earlier."""
        last = self._last.get(row.index)
        time = self._axis.of(row.utc_ns, now)
        if last is not None and time < last.time + US:  # an older value that is doubted now: when it began to be
            time = max(now, last.time + US)
        self._last[row.index] = _Last(row, time, publication)
        found = [self._kept(row, time)]
        if last is not None and row.index in self._lines and last.publication < self._publication:
            still = time - self._period
            if last.time + US <= still < time:
                found.insert(0, self._kept(last.row, still))
        return found

    def _kept(self, row: Row, time: int) -> tuple[int, int, Any, int, str]:
        value = str(row.value) if row.index in self._strings and row.value is not None else row.value
        return self._numbers[row.index], time, value, row.quality, row.cause

    def _event(self, event: Told, now: int) -> Happened:
        return Happened(self._axis.of(event.utc_ns, now), event.kind, event.subject, {**event.fields, **_times(event)})


def _times(event: Told) -> dict[str, Any]:
    """What there is to know of an Event's time beside UTC."""
    ours: dict[str, Any] = {"at_ns": event.at_ns} if event.at_ns else {}
    if event.node:
        ours |= {"bound_ns": event.bound_ns, "node": event.node, "boot": event.boot}
        ours |= {"node_ms": event.node_ms, "sequence": event.sequence}
    return {"time": ours} if ours else {}

