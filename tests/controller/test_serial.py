"""Our links over a serial line against units that answer late, wrongly or not at all. Time is virtual, the port a pty."""

import asyncio
import os
import pty
import struct
import tty
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import serial
import uvloop
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU

from controller.modbus.burst import Reply
from controller.modbus.pdu import LinkDown, NoReply, QueueFull, Read, Refused, Request, Write
from controller.modbus.serial import MISSES, REPLY, SerialLine, SerialLink
from tests.controller.virtual import run
from twin.clock import MS, LoopClock, Ns, S
from twin.serial import Serial

FRAMER = FramerRTU(DecodePDU(True))
Answer = Callable[[int, bytes], Sequence[tuple[int, bytes]]]  # unit, PDU -> after so many ms, these bytes
SERIAL = Serial("/dev/ttyUSB0", 1, parity="none")


def framed(unit: int, pdu: bytes) -> bytes:
    """A frame as pymodbus makes it."""
    return FRAMER.encode(pdu, unit, 0)


def said(pdu: bytes, value: int = 7) -> bytes:
    """An honest reply's PDU."""
    count = struct.unpack(">H", pdu[3:5])[0]
    return pdu[:5] if pdu[0] == 16 else struct.pack(f">BB{count}H", pdu[0], 2 * count, *[value] * count)


def honest(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
    """At once, what was asked for."""
    return [(1, framed(unit, said(pdu)))]


class Wire:
    """A line whose units answer by a script.

    Attributes:
        asked: unit and PDU of all that was sent.
        when: the moment of each of them [ns].
    """

    def __init__(self, clock: LoopClock, units: Sequence[int] = (1,), answer: Answer = honest, queue: int = 256) -> None:
        self.clock, self.answer = clock, answer
        self.asked: list[tuple[int, bytes]] = []
        self.when: list[Ns] = []
        self.far, self.near = pty.openpty()
        for end in (self.far, self.near):
            tty.setraw(end)
        self.line = SerialLine(Path(os.ttyname(self.near)), SERIAL, clock)
        self.links = [SerialLink(f"unit-{unit}", self.line, unit, queue) for unit in units]

    async def __aenter__(self) -> "Wire":
        loop = asyncio.get_running_loop()
        loop.add_reader(self.far, self._hear)
        self.tasks = [loop.create_task(link.run()) for link in self.links]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.hang_up()
        os.close(self.near)

    def hang_up(self) -> None:
        """The adapter is pulled out."""
        if self.far >= 0:
            asyncio.get_running_loop().remove_reader(self.far)
            os.close(self.far)
            self.far = -1

    def _hear(self) -> None:
        frame = os.read(self.far, 4096)
        self.asked.append((frame[0], frame[1:-2]))
        self.when.append(self.clock.now())
        for delay_ms, data in self.answer(frame[0], frame[1:-2]):
            asyncio.get_running_loop().call_later(delay_ms / 1e3, self._say, data)

    def _say(self, data: bytes) -> None:
        if self.far >= 0:
            os.write(self.far, data)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let time pass until something holds, 20 s at most."""
        limit = self.clock.now() + 20 * S
        while not holds():
            assert self.clock.now() < limit
            await self.clock.until(Ns(self.clock.now() + 10 * MS))

    async def ask(self, *requests: Request, link: int = 0, ms: int = 500, urgent: bool = True) -> list[Reply]:
        return await self.links[link].ask(requests, Ns(self.clock.now() + ms * MS), urgent)


def test_reads_and_writes_come_back_with_their_words_and_a_refusal_with_its_code() -> None:
    def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
        return [(1, framed(unit, b"\x83\x02"))] if pdu[1:3] == b"\x02\x00" else honest(unit, pdu)

    async def main(clock: LoopClock) -> list[Reply]:
        async with Wire(clock, answer=answer) as wire:
            await wire.until(lambda: wire.links[0].up)
            return await wire.ask(Write(3, (1, 2)), Read(10, 3), Read(512, 1))

    replies = run(main)
    assert replies[:2] == [(), (7, 7, 7)] and isinstance(replies[2], Refused) and replies[2].code == 2


def test_writes_go_before_reads_and_bulk_goes_last_but_not_never() -> None:
    async def main(clock: LoopClock) -> list[int]:
        async with Wire(clock, (1, 2)) as wire:
            await wire.until(lambda: all(link.up for link in wire.links))
            del wire.asked[:]
            bulk = asyncio.create_task(wire.ask(*[Read(900 + k, 5) for k in range(3)], urgent=False, ms=5000))
            first = [wire.ask(*[Read(k, 5) for k in range(8)], link=k, ms=5000) for k in (0, 1)]
            await asyncio.gather(*first, wire.ask(Write(100, (1,)), link=1, ms=5000), bulk)
            return [int.from_bytes(pdu[1:3]) for _, pdu in wire.asked]

    order = run(main)
    assert order[1:3] == [100, 0] or order[0] == 100, "a write waits for no read but the one that is under way"
    assert order.index(900) < len(order) - 3, "bulk has had a turn among the reads"
    assert sorted(order) == sorted([*range(8), *range(8), 100, 900, 901, 902])


def test_a_reply_that_comes_too_late_is_never_taken_for_the_next_one() -> None:
    stands = {"ms": 0, "until": 0}  # for how long the unit is to stand still; until when it does

    async def main(clock: LoopClock) -> None:
        def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
            now_ms, stood, stands["ms"] = clock.now() // MS, stands["ms"], 0
            stands["until"] = max(stands["until"], now_ms + stood) + 1  # one after the other
            return [(stands["until"] - now_ms, framed(unit, said(pdu, value=666 if stood else 7)))]

        async with Wire(clock, answer=answer) as wire:
            await wire.until(lambda: wire.links[0].up)
            for late in range(62, 162, 5):
                stands["ms"] = late
                replies = [(await wire.ask(Read(0, 4)))[0] for _ in range(4)]
                assert isinstance(replies[0], NoReply) and replies[-1] == (7,) * 4
                assert all(isinstance(reply, NoReply) or reply == (7,) * 4 for reply in replies)
            assert wire.links[0].counters.strange > 10

    run(main)


def test_what_is_no_reply_to_the_request_is_not_used() -> None:
    def wrong(kind: str) -> Answer:
        def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
            if pdu[:3] != b"\x03\x00\x64":
                return honest(unit, pdu)
            good = framed(unit, said(pdu))
            return [
                (
                    1,
                    {
                        "crc": good[:-1] + bytes([good[-1] ^ 1]),
                        "unit": framed(unit + 1, said(pdu)),
                        "function": framed(unit, b"\x04" + said(pdu)[1:]),
                        "fewer": framed(unit, said(pdu[:3] + b"\x00\x03")),
                        "short": good[:-3],
                        "noise": bytes(range(200)),
                    }[kind],
                )
            ]

        return answer

    async def main(clock: LoopClock) -> None:
        for kind in ("crc", "unit", "function", "fewer", "short", "noise"):
            async with Wire(clock, answer=wrong(kind)) as wire:
                await wire.until(lambda wire=wire: wire.links[0].up)  # type: ignore[misc]
                replies = await wire.ask(Read(100, 4), Read(0, 4))
                assert [type(reply) for reply in replies] == [NoReply, NoReply], kind
                assert await wire.ask(Read(0, 4)) == [(7, 7, 7, 7)], kind

    run(main)


def test_an_echo_and_a_reply_in_any_pieces_are_told_apart() -> None:
    def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
        data = framed(unit, pdu) + framed(unit, said(pdu))
        return [(1 + k, data[k : k + 1]) for k in range(len(data))]

    async def main(clock: LoopClock) -> None:
        async with Wire(clock, answer=answer) as wire:
            await wire.until(lambda: wire.links[0].up)
            assert await wire.ask(Write(3, (1, 2)), Read(10, 3)) == [(), (7, 7, 7)]

    run(main)


def test_a_silent_unit_takes_little_of_the_others_time_and_comes_back() -> None:
    silent = {2}

    async def main(clock: LoopClock) -> tuple[int, int, Any]:
        async with Wire(clock, (1, 2), lambda u, pdu: [] if u in silent else honest(u, pdu)) as wire:
            await wire.until(lambda: wire.links[0].up)
            start, good, scans = clock.now(), 0, 0
            while clock.now() < start + 10 * S:
                began = clock.now()
                (reply,) = await wire.ask(Read(0, 60), ms=100)
                scans += 1
                good += isinstance(reply, tuple)
                await clock.until(Ns(began + 100 * MS))
            down, cause = wire.links[1].up, wire.links[1].cause
            silent.clear()
            await wire.until(lambda: wire.links[1].up)
            return good, scans, (down, cause, await wire.ask(Read(0, 2), link=1))

    good, scans, (down, cause, reply) = run(main)
    assert (good, scans) == (100, 100) and not down and cause == "no reply from unit 2" and reply == [(7, 7)]


def test_a_unit_is_lost_after_three_time_outs_and_its_burst_ends_with_the_first() -> None:
    mute = [False]

    async def main(clock: LoopClock) -> None:
        async with Wire(clock, answer=lambda u, pdu: [] if mute[0] else honest(u, pdu)) as wire:
            await wire.until(lambda: wire.links[0].up)
            mute[0] = True
            for left in range(MISSES, 0, -1):
                assert wire.links[0].up, left
                began = clock.now()
                replies = await wire.ask(Read(0, 4), Read(4, 4), Read(8, 4))
                assert all(isinstance(reply, NoReply) for reply in replies)
                assert clock.now() - began < 2 * REPLY, "one time-out for all three"
            assert not wire.links[0].up and isinstance((await wire.ask(Read(0, 1)))[0], LinkDown)

    run(main)


def test_more_than_the_queue_holds_is_refused_and_the_deadline_holds_for_what_waits() -> None:
    async def main(clock: LoopClock) -> None:
        async with Wire(clock, queue=4) as wire:
            await wire.until(lambda: wire.links[0].up)
            waiting = asyncio.create_task(wire.ask(*[Read(k, 120) for k in range(4)], ms=12))
            await asyncio.sleep(0)
            assert isinstance((await wire.ask(Read(0, 1)))[0], QueueFull)
            began = clock.now()
            replies = await waiting
            assert clock.now() - began == 12 * MS and replies[0] == (7,) * 120 and isinstance(replies[3], NoReply)

    run(main)


def test_a_port_that_another_program_holds_is_said_to_be_busy() -> None:
    async def main(clock: LoopClock) -> None:
        far, near = pty.openpty()
        with serial.Serial(os.ttyname(near), exclusive=True):
            line = SerialLine(os.ttyname(near), SERIAL, clock)
            task = asyncio.create_task(line.run())
            await clock.until(Ns(clock.now() + S))
            task.cancel()
            assert line.cause == f"{os.ttyname(near)} is busy: a core or another program has it open"
        os.close(far)
        os.close(near)

    run(main)


def test_a_port_that_is_not_there_is_named_and_one_that_is_pulled_out_ends_all_bursts(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        link = SerialLink("n", SerialLine(tmp_path / "ttyUSB0", SERIAL, clock), 1)
        task = asyncio.create_task(link.run())
        await clock.until(Ns(clock.now() + S))
        (reply,) = await link.ask([Read(0, 1)], Ns(2 * S))
        task.cancel()
        assert "ttyUSB0 cannot be opened: No such file or directory" in str(reply)
        async with Wire(clock) as wire:
            await wire.until(lambda: wire.links[0].up)
            waiting = asyncio.create_task(wire.ask(*[Read(k, 120) for k in range(4)], ms=5000))
            await asyncio.sleep(0)
            wire.hang_up()
            assert all(isinstance(reply, LinkDown | NoReply) for reply in await waiting)
            await wire.until(lambda: not wire.links[0].up)
            assert "the port is lost" in wire.links[0].cause or "cannot be opened" in wire.links[0].cause

    run(main)


def test_it_works_on_uvloop_in_real_time() -> None:
    async def main() -> list[Reply]:
        async with Wire(LoopClock(asyncio.get_running_loop())) as wire:
            await wire.until(lambda: wire.links[0].up)
            return await wire.ask(Write(3, (1, 2)), Read(10, 60), ms=5000)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == [(), (7,) * 60]
