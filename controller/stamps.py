"""What time it was: a node's clock seen from here, UTC read off the steady clock, and the order of what several nodes told. Pure.

A node tells its uptime with every reply. It read it after the request was sent, or at most a tick before, and before the reply
came: so each reply bounds the offset between the two clocks (Cristian 1989), and the bounds of many replies are narrower than
those of one. They widen by the drift that a quartz may have.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from twin.clock import MS, US, Ns
from twin.node import TICK_MS
from twin.trace import Event, Stamp

DRIFT_PPM = 200
STEP = Ns(128 * MS)
SLEW_PPM = 500
_WRAP = 1 << 32
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class ClockStepped(Event):
    """This computer's wall clock has gone on by another time than its steady clock: it was set, or the computer slept."""

    step_ms: int


@dataclass(frozen=True, slots=True)
class NodeClock:
    """A node's clock as it is known: core's time = uptime + something from `low` to `high` [ns].

    Attributes:
        stamp: of the last reply.
        came: when that came.
        jumped: it did not fit what was known before, so nothing of that was kept.
    """

    stamp: Stamp
    low: int
    high: int
    came: Ns
    jumped: bool = False


def heard(before: NodeClock | None, node: str, boot: int, uptime: int, late_us: int, asked: Ns, came: Ns) -> NodeClock:
    """What is known of a node's clock after a reply.

    Args:
        boot, uptime, late_us: as its NodeStatus has them; the uptime [ms] may have wrapped. No tick was later than `late_us`, so
            what the reply holds was written at most a tick and that before it was sent.
        asked, came: when the request went out and the reply came in.
    """
    if before is not None and before.stamp.boot != boot:
        before = None
    uptime_ms = uptime if before is None else _unwrapped(before, uptime, came)
    oldest = asked - (TICK_MS + 1) * MS - late_us * US
    low, high, jumped = oldest - uptime_ms * MS, came - uptime_ms * MS, False
    if before is not None:
        drift = (came - before.came) * DRIFT_PPM // _MILLION + 1
        both = max(low, before.low - drift), min(high, before.high + drift)
        jumped = both[0] > both[1]
        low, high = (low, high) if jumped else both
    first, last = uptime_ms * MS + low, min((uptime_ms + 1) * MS + high, came)  # its uptime is in whole milliseconds
    at = Ns(max((first + last) // 2, last - TICK_MS * MS))  # a tick before the latest it can be: replies seldom take their time
    bound = Ns(max(last - at, at - first))
    sequence = 1
    if before is not None:
        sequence = before.stamp.sequence + 1
        if at < before.stamp.at:  # what was told later is not shown earlier
            at, bound = before.stamp.at, Ns(bound + before.stamp.at - at)
    return NodeClock(Stamp(node, boot, sequence, uptime_ms, at, bound), low, high, came, jumped)


def _unwrapped(before: NodeClock, uptime: int, came: Ns) -> int:
    """An uptime without its wraps at 2^32 ms: the one nearest to what it should be by now, however long the node was silent."""
    expected = before.stamp.uptime_ms + (came - before.came) // MS
    away = (uptime - expected) % _WRAP
    return expected + (away - _WRAP if away >= _WRAP // 2 else away)


class Wall(Protocol):
    """UTC for people; nothing is controlled by it."""

    def look(self, utc_ns: int, now: Ns) -> int:
        """Take in what the wall clock shows now; by how much it was set [ns], 0 where it was not."""
        ...

    def utc(self, at: Ns) -> int:
        """UTC [ns] at a moment of the core's clock."""
        ...


class SteadyWall:
    """UTC on a real clock: the steady clock and an offset, which follows the wall clock slowly.

    A difference of 128 ms or more is a step, as for ntpd: it is taken over at once and told.
    """

    def __init__(self, utc_ns: int, now: Ns) -> None:
        self._offset, self._looked = utc_ns - now, now

    def look(self, utc_ns: int, now: Ns) -> int:
        """See Wall."""
        away = utc_ns - now - self._offset
        most = (now - self._looked) * SLEW_PPM // _MILLION
        self._looked = now
        if abs(away) >= STEP:
            self._offset += away
            return away
        self._offset += max(-most, min(most, away))
        return 0

    def utc(self, at: Ns) -> int:
        """See Wall."""
        return self._offset + at


class GrantedWall:
    """UTC in factory time, which may pass at any speed: what the wall clock shows while a moment is dealt with; never back."""

    def __init__(self, utc_ns: int) -> None:
        self._utc_ns = utc_ns

    def look(self, utc_ns: int, now: Ns) -> int:
        """See Wall."""
        self._utc_ns = max(self._utc_ns, utc_ns)
        return 0

    def utc(self, at: Ns) -> int:
        """See Wall."""
        return self._utc_ns


class Happened(Protocol):
    """What tells when it happened, as controller.feed.Told does."""

    @property
    def at_ns(self) -> int:
        """By the core's clock."""
        ...

    @property
    def bound_ns(self) -> int:
        """How far from the truth that may be."""
        ...

    @property
    def node(self) -> str:
        """Who told it; empty: the core itself."""
        ...

    @property
    def boot(self) -> int:
        """Which of its starts."""
        ...

    @property
    def sequence(self) -> int:
        """Place among what that start told."""
        ...


HappenedT = TypeVar("HappenedT", bound=Happened)


def in_order(events: Iterable[HappenedT]) -> list[HappenedT]:
    """Events of several nodes and one run of the core in one order: by the core's time, then node, start and sequence.

    Those of one node keep the order in which it told them.
    """
    return sorted(events, key=lambda e: (e.at_ns, e.node, e.boot, e.sequence))


def before(first: Happened, second: Happened) -> bool | None:
    """Whether one happened before another; None where nobody can know: their bounds overlap."""
    if first.node == second.node and first.boot == second.boot:
        return (first.at_ns, first.sequence) < (second.at_ns, second.sequence)
    if first.at_ns + first.bound_ns < second.at_ns - second.bound_ns:
        return True
    if second.at_ns + second.bound_ns < first.at_ns - first.bound_ns:
        return False
    return None
