"""Devices that are none of ours on a serial line, with the face of a UnitLink: any unit of the line can be asked.

Late replies: RTU numbers no transactions, and what a strange device refuses or answers nobody knows beforehand, so that no probe
tells its late reply from the next one's. A unit that did not answer in time is therefore not asked again until the time that its
device may think has passed; the line goes on with the others.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import cast

from controller.modbus.burst import Burst, Counters, Reply
from controller.modbus.pdu import LinkDown, NoReply, Request
from controller.modbus.serial import SerialLine
from twin.clock import Clock, Ns, seconds

UNITS = range(1, 248)


class _Unit:
    """One unit of the line."""

    def __init__(self, name: str, unit: int, counters: Counters, clock: Clock, reply: Ns) -> None:
        self.name, self.unit, self.counters = name, unit, counters
        self.uncertain: deque[int] = deque()
        self.deadline = Ns(0)
        self._clock, self._reply = clock, reply
        self._mute_until = self._limit = Ns(0)

    def patience(self, clear: Ns) -> Ns:
        """As long as whoever asks wants to wait, and not longer than the device may think."""
        now = self._clock.now()
        if now < self._mute_until:
            return Ns(0)
        self._limit = Ns(now + clear + self._reply)
        return Ns(max(1, min(self._limit, self.deadline) - now))

    def judge(self, request: Request, reply: Reply) -> None:
        """See OnLine."""
        if isinstance(reply, NoReply):
            self._mute_until = self._limit

    def drop(self, cause: str) -> None:
        """See OnLine."""


class SerialUnits:
    """A line's units as they are asked; the line is kept open by whichever of its links runs first.

    Args:
        reply: the longest that a unit may think.
    """

    def __init__(self, name: str, line: SerialLine, reply: Ns) -> None:
        self.name, self.clock = name, line.clock
        self.counters = Counters()
        self._line, self._reply = line, reply
        self._units: dict[int, _Unit] = {}

    @property
    def up(self) -> bool:
        """Whether the port is open."""
        return self._line.opened.is_set()

    @property
    def cause(self) -> str:
        """Why it is not."""
        return self._line.cause

    async def ask(self, unit: int, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        """The reply to each request, or the error in its place, at the latest at `deadline`; after one time-out no more is sent."""
        if not requests:
            return []
        if unit not in UNITS:
            nobody = NoReply(f"{self.name}: unit {unit} is none on a serial line ({UNITS.start} to {UNITS.stop - 1})")
            return [nobody] * len(requests)
        if not self.up:
            return [LinkDown(f"{self.name}: {self.cause}")] * len(requests)
        if unit not in self._units:
            name = f"{self.name}, unit {unit}"
            self._units[unit] = _Unit(name, unit, self.counters, self.clock, self._reply)
        one = self._units[unit]
        one.deadline = deadline
        burst = Burst(len(requests), asyncio.get_running_loop().create_future())
        self._line.put([(one, burst, index, request) for index, request in enumerate(requests)], urgent)
        left = max(0.0, seconds(Ns(deadline - self.clock.now())))
        timer = asyncio.get_running_loop().call_later(left, burst.fail, NoReply(f"{one.name}: no reply in time"))
        try:
            await burst.done
        finally:
            timer.cancel()
            burst.done.cancel()
        return cast(list[Reply], burst.replies)

    def drop(self, cause: str) -> None:
        """Nothing: the port belongs to all that hang on the line, and RTU has no connection that could be made anew."""

    async def run(self) -> None:
        """Keep the line open until cancelled, where nobody else does."""
        if self._line.run_by not in (None, self):
            await asyncio.get_running_loop().create_future()
        self._line.run_by = self
        await self._line.run()
