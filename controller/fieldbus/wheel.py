"""What is due when, for all devices, on one timer of the event loop."""

import asyncio
import heapq
from typing import Protocol

from controller.fieldbus.ask import Ask
from twin.clock import MS, Clock, Ns, seconds

TICK = Ns(2 * MS)
"""Nothing is waited for more finely: what is due within one tick goes out together, and the loop wakes up once for it."""


GRACE = Ns(10 * MS)
"""If we ourselves come so late to look, a reply may lie in the socket: it is looked at first."""


class Due(Protocol):
    """Something that is done at a time."""

    def fire(self, due: Ns, now: Ns) -> None:
        """It is `now`, and it was due at `due`."""
        ...


class Expires(Protocol):
    """Whose replies are watched."""

    def expire(self, ask: Ask, now: Ns) -> None:
        """Its reply is overdue."""
        ...


class Watch:
    """Everything that is on its way, and when its reply is overdue: one entry of the Wheel for all of it."""

    def __init__(self, wheel: "Wheel") -> None:
        self._wheel = wheel
        self._flying: dict[Ask, Expires] = {}
        self._due: Ns | None = None

    def add(self, ask: Ask, who: Expires) -> None:
        """Watch an Ask until its deadline."""
        self._flying[ask] = who
        if self._due is None or ask.deadline < self._due:
            self._due = ask.deadline
            self._wheel.at(ask.deadline, self)

    def remove(self, ask: Ask) -> None:
        """Its reply has come."""
        self._flying.pop(ask, None)

    def fire(self, due: Ns, now: Ns) -> None:
        """Some reply may be overdue."""
        if due != self._due:
            return
        self._due = None
        overdue = [(ask, who) for ask, who in self._flying.items() if ask.deadline <= now]
        if overdue and now - due > GRACE:
            self._due = Ns(now + GRACE)
            self._wheel.at(self._due, self)
            return
        for ask, who in overdue:
            if ask.way == 2:
                who.expire(ask, now)
        if self._flying and self._due is None:
            self._due = min(ask.deadline for ask in self._flying)
            self._wheel.at(self._due, self)


class Wheel:
    """Calls what is due, in its order; one timer is armed at a time.

    Attributes:
        watch: of what is on its way.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.watch = Watch(self)
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
