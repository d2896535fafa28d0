"""What is due when, for all devices, on one timer of the event loop."""

import asyncio
import heapq
from typing import Protocol

from twin.clock import MS, Clock, Ns, seconds

TICK = Ns(5 * MS)
"""Nothing is waited for more finely: what is due within one tick goes out together, and the loop wakes up once for it."""


class Due(Protocol):
    """Something that is done at a time."""

    def fire(self, due: Ns, now: Ns) -> None:
        """It is `now`, and it was due at `due`."""
        ...


class Wheel:
    """Calls what is due, in its order; one timer is armed at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[Ns, int, Due]] = []
        self._count = 0
        self._armed: Ns | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._going = False

    def start(self) -> None:
        """Begin to call, on the running loop."""
        self._going = True
        self._arm()

    def stop(self) -> None:
        """Call nothing any more."""
        self._going = False
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def at(self, due: Ns, what: Due) -> None:
        """Call `what.fire` at `due`."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, what))
        if self._going and (self._armed is None or due < self._armed - TICK):
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._armed = None
        if self._heap:
            self._armed = self._heap[0][0]
            wait = max(TICK, Ns(self._armed - self._clock.now()))
            self._timer = asyncio.get_running_loop().call_later(seconds(wait), self._fire)

    def _fire(self) -> None:
        self._timer, self._armed = None, Ns(0)  # whoever calls `at` meanwhile arms nothing
        now, heap = self._clock.now(), self._heap
        try:
            while heap and heap[0][0] <= now:
                due, _, what = heapq.heappop(heap)
                what.fire(due, now)
        finally:  # a mistake with one device is told by the loop, and does not end the scans of all
            self._arm()
