"""Lines that are asked and awaited (serial ones): the engine drives them through the face of a UnitLink."""

import asyncio
from collections.abc import Sequence

from controller.fieldbus.ask import Ask
from controller.fieldbus.asked import AskedLine
from controller.fieldbus.channel import Channel
from controller.fieldbus.wheel import Wheel
from controller.modbus.burst import Reply
from controller.modbus.pdu import ModbusError, NoReply, Read, ReadBits, Refused, Request
from tests.controller.virtual import run
from twin.clock import MS, LoopClock, Ns


class Line:
    """A UnitLink: unit 1 answers after 20 ms, unit 2 refuses, unit 3 is silent."""

    name, cause = "line", "not opened yet"

    def __init__(self, clock: LoopClock) -> None:
        self.up, self._clock = False, clock
        self.busy = self.most = 0

    async def ask(self, unit: int, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        (request,) = requests
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await self._clock.until(deadline if unit == 3 else Ns(self._clock.now() + 20 * MS))
        finally:
            self.busy -= 1
        if unit == 3:
            return [NoReply("silent")]
        if unit == 2:
            return [Refused(request.function, 2)]
        return [tuple(range(request.count)) if isinstance(request, Read) else (1, 0, 0, 0, 0, 0, 0, 0, 1)]  # type: ignore[attr-defined]

    def drop(self, cause: str) -> None:
        raise AssertionError("never")

    async def run(self) -> None:
        await self._clock.until(Ns(self._clock.now() + 200 * MS))
        self.up, self.cause = True, ""
        await asyncio.Event().wait()


def test_one_request_at_a_time_goes_over_such_a_line_and_every_kind_of_reply_comes_back() -> None:
    async def main(clock: LoopClock) -> None:
        wheel, link = Wheel(clock), Line(clock)
        channel = Channel("line", clock, wheel, lambda channel: AskedLine(link, clock, channel), window=4, longest=Ns(100 * MS))
        told: list[tuple[int, bytes | ModbusError]] = []

        def done(ask: Ask, reply: bytes | ModbusError, now: Ns) -> None:
            told.append((ask.unit, reply))

        for unit in (1, 2, 3):
            channel.unit(unit)
        requests = [(1, Read(0, 3)), (2, Read(0, 1)), (3, Read(0, 1)), (1, ReadBits(0, 9))]
        wheel.start()
        for unit, request in requests:
            channel.put(Ask(unit, request, done))
        task = asyncio.create_task(channel.line.run())
        while len(told) < 4:
            await clock.until(Ns(clock.now() + 10 * MS))
            assert clock.now() < 2000 * MS
        assert told[0] == (1, bytes((0, 0, 0, 1, 0, 2))) and told[3] == (1, bytes((1, 1)))
        assert isinstance(told[1][1], Refused) and isinstance(told[2][1], NoReply)
        assert link.most == 1 and channel.down == ""
        wheel.stop()
        task.cancel()

    run(main)
