"""Lines that are asked and awaited (serial ones): the engine drives them through the face of a UnitLink."""

import asyncio
from collections.abc import Sequence

from controller.devices import Outcome, Written
from controller.fieldbus.ask import Ask
from controller.fieldbus.asked import AskedLine
from controller.fieldbus.channel import Channel
from controller.fieldbus.wheel import Wheel
from controller.fieldbus.write import Writer
from controller.modbus.burst import Reply
from controller.modbus.pdu import ModbusError, NoReply, NotAsked, Read, ReadBits, Refused, Request, Write
from tests.controller.fieldbus.devices import row
from tests.controller.virtual import run
from twin.clock import MS, LoopClock, Ns
from twin.maps import Form, Map


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


class Slow:
    """A UnitLink at one byte a millisecond whose device thinks for 5 ms; registers can be written, and one reply may be lost.

    Attributes:
        lost: how many replies are lost.
    """

    name, cause, up = "slow", "", True

    def __init__(self, clock: LoopClock) -> None:
        self._clock, self.held, self.lost, self._mute = clock, [0] * 100, 0, Ns(0)

    async def ask(self, unit: int, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        (request,) = requests
        if self._clock.now() < self._mute:
            return [NotAsked("a late reply may still come")]
        reply = 5 + 2 * request.count if isinstance(request, Read) else 8
        await self._clock.until(Ns(self._clock.now() + (len(request.encode()) + 3 + 5 + reply) * MS))
        if isinstance(request, Write):
            self.held[request.address : request.address + len(request.words)] = request.words
        if self.lost:
            self.lost -= 1
            self._mute = Ns(deadline + 700 * MS)
            await self._clock.until(deadline)
            return [NoReply("lost")]
        found = self.held[request.address : request.address + request.count] if isinstance(request, Read) else ()
        return [tuple(found)]

    def drop(self, cause: str) -> None:
        """It cannot be made anew."""

    async def run(self) -> None:
        await asyncio.Event().wait()


def test_a_long_write_on_a_slow_line_is_waited_for_and_a_lost_reply_is_made_good_by_reading_when_that_may_be() -> None:
    async def main(clock: LoopClock) -> None:
        wheel, link = Wheel(clock), Slow(clock)
        limits = {"longest": Ns(20 * MS), "byte": Ns(MS)}
        channel = Channel("slow", clock, wheel, lambda channel: AskedLine(link, clock, channel), **limits)
        unit = channel.unit(1)
        map = Map("text", (row("text", 10, Form.STRING, str, registers=60),))
        wheel.start()
        task = asyncio.create_task(channel.line.run())
        writer = Writer(map, {"text": map.signals[0]}, channel, 1, clock)
        while not channel.line.up:
            await clock.until(Ns(clock.now() + 10 * MS))
        assert await writer.write("text", "long") == Written(Outcome.CONFIRMED, "")
        link.lost = 1
        assert await writer.write("text", "longer") == Written(Outcome.CONFIRMED, "no reply; read back as written")
        assert unit.timeouts == 1 and not unit.silent
        wheel.stop()
        task.cancel()

    run(main)
