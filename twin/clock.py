"""The only source of time: integer nanoseconds since start. Nothing else reads a clock or sleeps."""

import asyncio
import time
from typing import NewType, Protocol

Ns = NewType("Ns", int)

US = Ns(1_000)
MS = Ns(1_000_000)
S = Ns(1_000_000_000)


def seconds(elapsed: Ns) -> float:
    """Nanoseconds as seconds."""
    return elapsed / S


def ns(elapsed_s: float) -> Ns:
    """Seconds as nanoseconds, rounded to the nearest."""
    return Ns(round(elapsed_s * S))


class Clock(Protocol):
    """What a component is given instead of a clock of its own."""

    def now(self) -> Ns:
        """Nanoseconds since start; never goes back."""
        ...

    async def until(self, due: Ns) -> None:
        """Return when `now()` has reached `due`; at once if it has already."""
        ...


class LoopClock:
    """The running asyncio loop's time: real in production, factory time under a loop that is granted time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._start_s = loop.time()

    def now(self) -> Ns:
        """Nanoseconds since this clock was made."""
        return ns(self._loop.time() - self._start_s)

    async def until(self, due: Ns) -> None:
        """Sleep on the loop until `due`."""
        while (missing := due - self.now()) > 0:
            await asyncio.sleep(missing / S)


def utc_ns() -> int:
    """Wall time, for people and for SourceTimestamps only: nothing is controlled by it."""
    return time.time_ns()


def wall_ns() -> Ns:
    """The machine's steady clock, for pacing factory time and for wall-clock time-outs of the rig."""
    return Ns(time.monotonic_ns())


def wall_sleep(duration_s: float) -> None:
    """Let wall time pass; only the rig's pacing does this."""
    time.sleep(duration_s)
