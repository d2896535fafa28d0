"""Connections without a session stand in one line, and are served for a few milliseconds of each turn of the event loop."""

from collections.abc import Callable
from typing import Final, Protocol

from twin.clock import MS, Clock, Ns

TURN: Final = Ns(5 * MS)
MOST_CHUNKS_PER_TURN: Final = 16
"""How long in a turn of the loop they are served, and how many chunks, all together: who has a session does not wait for a
crowd that has none."""


class Waits(Protocol):
    """A connection."""

    def step(self) -> bool:
        """Serve one chunk of it. Whether there is more to serve."""
        ...


class Line:
    """Who came first is served first: one chunk, then it stands at the end again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[Waits, None] = {}
        self._left = self._chunks = 0
        self._begun = False

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, one: Waits, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """There is something to serve. It is served at once if nobody waits and this turn has time left."""
        self._call_soon = call_soon
        self._begin()
        if self._waiting or not self._time:
            self._waiting[one] = None
        else:
            self._serve(one)

    def leave(self, one: Waits) -> None:
        """It has ended."""
        self._waiting.pop(one, None)

    @property
    def _time(self) -> bool:
        """Whether this turn has time left."""
        return self._left > 0 and self._chunks > 0

    def _begin(self) -> None:
        if not self._begun:
            self._begun, self._left, self._chunks = True, TURN, MOST_CHUNKS_PER_TURN
            self._call_soon(self._next)

    def _next(self) -> None:
        """The next turn of the loop has begun. (What fails in it is told to the loop; the others' turn comes in the next.)"""
        self._begun = False
        if not self._waiting:
            return
        self._begin()
        while self._waiting and self._time:
            one = next(iter(self._waiting))
            del self._waiting[one]
            self._serve(one)

    def _serve(self, one: Waits) -> None:
        before, more = self._clock.now(), False
        try:
            more = one.step()
        finally:
            self._left -= self._clock.now() - before
            self._chunks -= 1
            if more:
                self._waiting[one] = None
