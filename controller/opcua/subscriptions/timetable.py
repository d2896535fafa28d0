"""When what is to be looked at: one timer for everything."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twin.clock import MS, Clock, Ns


class Cancels(Protocol):
    """Something that was put off."""

    def cancel(self) -> object:
        """It shall not happen any more."""
        ...


Later = Callable[[float, Callable[[], None]], Cancels]
"""Does something in so many seconds, as `loop.call_later`."""
Soon = Callable[[Callable[[], None]], object]
"""Does something in the next turn, as `loop.call_soon`."""


FEW = 64
"""Entries that nobody looks through."""


class Due(Protocol):
    """Something that is looked at when it is due; it is due when it was scheduled for last."""

    scheduled: int


class Timetable:
    """What is due when.

    Each entry stays until its time; if meanwhile the same was scheduled for another time, it is nothing then. Those that
    are nothing are dropped when they may be three of four.
    """

    def __init__(self, clock: Clock, later: Later, fired: Callable[[], None]) -> None:
        self._clock, self._later, self._fired = clock, later, fired
        self._heap: list[tuple[int, int, Any]] = []
        self._counter = itertools.count()
        self._armed: Cancels | None = None
        self._armed_for = -1
        self._most = FEW

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, due: int, what: Due) -> None:
        """Look at something then, and at no other time."""
        what.scheduled = due
        if len(self._heap) >= self._most:
            self._tidy()
        heapq.heappush(self._heap, (due, next(self._counter), what))
        if self._armed is None or due < self._armed_for:
            self.arm()

    def _tidy(self) -> None:
        live = {id(entry[2]): entry for entry in self._heap if entry[2].scheduled == entry[0]}
        self._heap = list(live.values())
        heapq.heapify(self._heap)
        self._most = max(FEW, 4 * len(self._heap))

    def take(self, now: Ns) -> Iterator[Any]:
        """What is due, no longer scheduled."""
        while self._heap and self._heap[0][0] <= now:
            due, _, what = heapq.heappop(self._heap)
            if what.scheduled == due:
                what.scheduled = -1
                yield what

    def arm(self) -> None:
        """Set the timer for what is due first."""
        due = self._heap[0][0] if self._heap else -1
        if self._armed is not None and due != self._armed_for:
            self._armed.cancel()
            self._armed = None
        self._armed_for = due
        if due >= 0 and self._armed is None:
            # Whole milliseconds, upwards: loops round, and one that fires too early would fire again and again.
            delay_ms = max(0, -(-(due - self._clock.now()) // MS))
            self._armed = self._later(delay_ms / 1_000, self._fire)

    def _fire(self) -> None:
        self._armed = None
        try:
            self._fired()
        finally:
            self.arm()
