"""Cycles that follow their source.

A source that changes every 100 ms and a subscription of 100 ms have the same period and some phase between them, and what the
phase is, every value waits: up to a whole interval, always the same. So a cycle ends right when a commit comes, if that is
shortly before it is due; and a cycle whose commits keep coming long before it is due is made longer, once, so that the
next ones fall into that time. Never shorter: what is due stays on its grid, and a client gets no more messages than it asked for.
Where a cycle has ended with nothing in it, what comes shortly after it is still its own: else a source that is late by a hair,
or stands behind us in the event loop, would make its values wait for the next one.
"""

from dataclasses import dataclass

from controller.opcua.subscriptions.limits import AHEAD
from twin.clock import Ns

SHIFT_EVERY = 8
"""Cycles between two that are made longer, at least: a source without a beat must not slow a subscription down."""


@dataclass(slots=True)
class Beat:
    """Due times.

    Attributes:
        interval: between them.
        due: the next.
        came: when something last came, and `gap` how long after the one before.
        steady: whether that was as long as the time before.
        since: cycles since one was made longer.
        missed: when a cycle ended that had nothing in it, -1 when the last one had.
    """

    interval: Ns
    due: Ns
    came: int = -1
    gap: int = 0
    steady: bool = False
    since: int = SHIFT_EVERY
    missed: int = -1

    @property
    def ahead(self) -> int:
        """How long before it is due a cycle may end."""
        return min(self.interval // 4, AHEAD)

    def note(self, now: Ns) -> bool:
        """Something came: whether the cycle ends with it."""
        if now != self.came:
            gap = now - self.came if self.came >= 0 else 0
            self.steady = abs(gap - self.gap) <= self.ahead // 2
            self.gap, self.came = gap, now
        return self.due - now <= self.ahead or self._after(now)

    def follow(self, now: Ns) -> None:
        """The cycle ended with what came."""
        self.since += 1
        if self.due - now <= self.ahead:
            self._next(now)
        self.missed = -1

    def expire(self, now: Ns) -> None:
        """The cycle ended by itself."""
        waited = self.due - self.came
        self.since += 1
        self.missed = -1
        self._next(now)
        if self.came >= 0 and self.ahead < waited <= self.gap + self.ahead // 2 and self.since >= SHIFT_EVERY and self._beats():
            behind = self.came + self.ahead // 2
            self.due = Ns(behind + -(-(self.due - behind) // self.gap) * self.gap)
            self.since = 0

    def skip(self, now: Ns) -> int:
        """Let all cycles pass that were due before now: how many."""
        if now <= self.due:
            return 0
        passed = (now - self.due - 1) // self.interval + 1
        self.due = Ns(self.due + passed * self.interval)
        self.missed = self.due - self.interval
        return int(passed)

    def _next(self, now: Ns) -> None:
        self.due = Ns(self.due + self.interval)
        if self.due <= now:  # the process stood still: those cycles are lost, not caught up
            self.due = Ns(self.due + ((now - self.due) // self.interval + 1) * self.interval)

    def _after(self, now: Ns) -> bool:
        """Whether the last cycle ended just now, and had nothing in it."""
        return self.missed >= 0 and now - self.missed <= self.ahead

    def _beats(self) -> bool:
        """Whether what comes has a period that goes into the interval."""
        if not self.steady or self.gap <= 0 or self.gap > self.interval + self.ahead:
            return False
        return abs(max(1, round(self.interval / self.gap)) * self.gap - self.interval) <= self.ahead // 4
