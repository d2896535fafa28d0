"""A line over a link that is asked and awaited: serial lines, and whatever else has the face of a UnitLink."""

import asyncio
import struct

from controller.fieldbus.ask import Ask, Hearer
from controller.modbus.burst import UnitLink
from controller.modbus.pdu import ModbusError, NoReply, ReadBits
from twin.clock import MS, Clock, Ns

LOOK = Ns(50 * MS)
"""How often it is looked whether the link is up."""


class AskedLine:
    """One request at a time, each in a task of its own.

    Attributes:
        up, cause, steps: as in Line.
    """

    steps = False

    def __init__(self, link: UnitLink, clock: Clock, hearer: Hearer) -> None:
        self.up, self.cause = False, link.cause
        self._link, self._clock, self._hearer = link, clock, hearer
        self._tasks: asyncio.TaskGroup | None = None
        self._going: dict[Ask, asyncio.Task[None]] = {}

    def send(self, ask: Ask) -> None:
        if self._tasks is None:
            self._hearer.heard(ask, NoReply(f"{self._link.name}: not running"), self._clock.now())
            return
        self._going[ask] = self._tasks.create_task(self._ask(ask))

    async def _ask(self, ask: Ask) -> None:
        (reply,) = await self._link.ask(ask.unit, [ask.request], ask.deadline)
        self._going.pop(ask, None)
        made: bytes | ModbusError
        if isinstance(reply, ModbusError):
            made = reply
        elif isinstance(ask.request, ReadBits):
            made = sum(1 << i for i, bit in enumerate(reply) if bit).to_bytes((len(reply) + 7) // 8, "little")
        else:
            made = struct.pack(f">{len(reply)}H", *reply)
        self._hearer.heard(ask, made, self._clock.now())

    def forget(self, ask: Ask) -> None:
        """Leave it to its deadline: nothing else is sent on this line before it is over."""
        task = self._going.pop(ask, None)
        if task is not None:
            task.cancel()

    def drop(self, cause: str) -> None:
        self._link.drop(cause)

    async def run(self) -> None:
        """Keep the link open until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                tasks.create_task(self._link.run())
                while True:
                    self._look()
                    await self._clock.until(Ns(self._clock.now() + LOOK))
            finally:
                self._tasks = None

    def _look(self) -> None:
        up = self._link.up
        self.cause = self._link.cause
        if up is not self.up:
            self.up = up
            if up:
                self._hearer.opened(self._clock.now())
            else:
                self._hearer.lost(self.cause, self._clock.now())
