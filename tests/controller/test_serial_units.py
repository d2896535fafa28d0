"""Devices of others on one serial line: pymodbus's own RTU server on the other end, units that are silent, late or refuse."""

import asyncio
import os
import pty
import struct
import tty
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from pymodbus import FramerType
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from controller.modbus.burst import UnitLink
from controller.modbus.devices import links_to
from controller.modbus.pdu import (
    LinkDown,
    NoReply,
    Read,
    ReadBits,
    ReadIdentity,
    Refused,
    Request,
    Write,
    WriteCoil,
    WriteCoils,
    WriteMask,
    WriteOne,
    identity_of,
)
from tests.controller.virtual import run
from twin.clock import MS, Clock, Ns, S
from twin.devices import Device, ModbusDevice
from twin.serial import Serial

FRAMER = FramerRTU(DecodePDU(True))
REPLY_MS = 400
Answer = Callable[[int, bytes], Sequence[tuple[int, bytes]]]  # unit, PDU -> after so many ms, this unit's PDU


class Line:
    """Both ends of a pseudo-terminal, and two of our links to one of them: a meter's and a drive's."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.far, self.near = pty.openpty()
        for end in (self.far, self.near):
            tty.setraw(end)
        port = os.ttyname(self.near)
        serial = Serial(port, 1, 9600, "none")
        devices = [Device(n, ModbusDevice("", 0, serial, reply_ms=REPLY_MS)) for n in ("meter", "drive")]
        self.links = links_to(devices, clock, None)  # type: ignore[arg-type]  # no folder is needed for a real port

    async def ask(self, unit: int, *requests: Request, within_ms: int = 300, link: str = "meter") -> list[object]:
        return list(await self.links[link].ask(unit, requests, Ns(self.clock.now() + within_ms * MS)))


@asynccontextmanager
async def line(clock: Clock) -> AsyncIterator[Line]:
    """A line whose links run, and are up."""
    made = Line(clock)
    tasks = [asyncio.ensure_future(link.run()) for link in made.links.values()]
    try:
        await clock.until(Ns(clock.now() + 10 * MS))
        assert all(link.up for link in made.links.values())
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for end in (made.far, made.near):
            with suppress(OSError):
                os.close(end)


@asynccontextmanager
async def scripted(made: Line, answer: Answer) -> AsyncIterator[list[tuple[int, bytes]]]:
    """The other end answers by a script; what it was asked."""
    loop, asked = asyncio.get_running_loop(), []

    def hear() -> None:
        data = os.read(made.far, 4096)
        asked.append((data[0], data[1:-2]))
        for delay_ms, pdu in answer(data[0], data[1:-2]):
            loop.call_later(delay_ms / 1e3, os.write, made.far, FRAMER.encode(pdu, data[0], 0))

    loop.add_reader(made.far, hear)
    try:
        yield asked
    finally:
        loop.remove_reader(made.far)


def words(*values: int, function: int = 3) -> bytes:
    """The PDU of a read's reply."""
    return struct.pack(f">BB{len(values)}H", function, 2 * len(values), *values)


@asynccontextmanager
async def pymodbus_units(made: Line, *units: SimDevice) -> AsyncIterator[None]:
    """pymodbus's own server of several units at the far end of a second pseudo-terminal, joined to the line's."""
    near, far = pty.openpty()
    for end in (near, far):
        tty.setraw(end)
    loop = asyncio.get_running_loop()
    loop.add_reader(made.far, lambda: os.write(near, os.read(made.far, 4096)))
    loop.add_reader(near, lambda: os.write(made.far, os.read(near, 4096)))
    server = ModbusSerialServer(list(units), framer=FramerType.RTU, port=os.ttyname(far), baudrate=9600)
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()
        for end in (made.far, near):
            loop.remove_reader(end)
        for end in (near, far):
            os.close(end)


def device(unit: int, first: int) -> SimDevice:
    bits = SimData(0, values=[True, False] * 16, datatype=DataType.BITS)
    registers = SimData(0, values=list(range(first, first + 60)), datatype=DataType.REGISTERS)
    return SimDevice(unit, ([bits], [bits], [registers], [registers]))


def test_two_units_on_a_line_are_read_and_written_with_every_function_code() -> None:
    async def main(clock: Clock) -> list[object]:
        async with line(clock) as made, pymodbus_units(made, device(1, 100), device(17, 200)):
            found: list[object] = await made.ask(1, Read(2, 50), within_ms=1000)
            found += await made.ask(17, Read(3, 2, 4), ReadBits(0, 5), ReadBits(1, 3, 2), link="drive", within_ms=1000)
            found += await made.ask(
                17,
                WriteOne(1, 7), Write(2, (8, 9)), WriteMask(3, 0xFFF0, 0x0005), WriteCoil(0, False), WriteCoils(1, (True, True)),
                Read(0, 4), ReadBits(0, 4), Read(59, 2), within_ms=2000,
            )  # fmt: skip
            return found

    found = run(main)
    assert found[0] == tuple(range(102, 152)) and found[1] == (203, 204)
    assert [bool(b) for b in found[2]] == [True, False, True, False, True]  # type: ignore[attr-defined]
    assert [bool(b) for b in found[3]] == [False, True, False]  # type: ignore[attr-defined]
    assert found[4:9] == [()] * 5
    assert found[9] == (200, 7, 8, 5)
    assert [bool(b) for b in found[10]] == [False, True, True, False]  # type: ignore[attr-defined]
    assert isinstance(found[11], Refused) and found[11].code == 2


def test_a_dead_unit_costs_the_others_no_more_than_its_own_time_out() -> None:
    def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
        return [] if unit == 9 else [(20, words(unit))]

    async def main(clock: Clock) -> tuple[list[object], int, int, int]:
        async with line(clock) as made, scripted(made, answer) as asked:
            dead = asyncio.ensure_future(made.ask(9, Read(0, 1), Read(1, 1), within_ms=100))
            await clock.until(start := Ns(clock.now() + MS))
            replies = await made.ask(1, Read(0, 1), link="drive", within_ms=1000)
            took = clock.now() - start
            assert all(isinstance(reply, NoReply) for reply in await dead)
            at_once = clock.now()
            assert isinstance((await made.ask(9, Read(0, 1)))[0], NoReply), "what it might still say could be taken for this"
            return replies, took // MS, (clock.now() - at_once) // MS, len(asked)

    replies, took_ms, muted_ms, asked = run(main)
    assert replies == [(1,)] and 100 <= took_ms < 160
    assert muted_ms < 10 and asked == 2, "the dead unit got one request, and not a second while it may still answer the first"


def test_a_late_reply_is_never_taken_for_the_next_ones() -> None:
    late = [250, 10, 10]

    def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
        return [(late.pop(0), words(pdu[2]))]

    async def main(clock: Clock) -> list[object]:
        async with line(clock) as made, scripted(made, answer):
            found = await made.ask(1, Read(5, 1), within_ms=100)
            await clock.until(Ns(clock.now() + 120 * MS))
            found += await made.ask(1, Read(6, 1), within_ms=100)  # the reply to 5 comes now
            await clock.until(Ns(clock.now() + REPLY_MS * MS))
            return found + await made.ask(1, Read(7, 1), within_ms=100)

    first, second, third = run(main)
    assert isinstance(first, NoReply) and isinstance(second, NoReply) and third == (7,)


def test_a_reply_of_another_unit_is_not_taken() -> None:
    def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
        return []

    async def main(clock: Clock) -> tuple[list[object], int]:
        async with line(clock) as made, scripted(made, answer):
            asyncio.get_running_loop().call_later(0.02, os.write, made.far, FRAMER.encode(words(1), 4, 0))
            found = await made.ask(1, Read(0, 1), within_ms=100)
            return found, made.links["meter"].counters.strange  # type: ignore[attr-defined]

    found, strange = run(main)
    assert isinstance(found[0], NoReply) and strange == 1


@pytest.mark.parametrize("echoes", [False, True])
def test_an_adapter_that_hears_itself_is_no_unit_that_answers(echoes: bool) -> None:
    """A write of one register is answered by its own repetition, which is just what such an adapter gives back."""

    async def main(clock: Clock) -> list[object]:
        async with line(clock) as made:
            loop = asyncio.get_running_loop()

            def hear() -> None:
                data = os.read(made.far, 4096)
                if echoes:
                    os.write(made.far, data)
                if data[1] == 3:
                    loop.call_later(0.02, os.write, made.far, FRAMER.encode(words(5), data[0], 0))
                elif data[0] == 1:  # unit 9 is dead
                    loop.call_later(0.02, os.write, made.far, data)

            loop.add_reader(made.far, hear)
            found = await made.ask(1, Read(0, 1), WriteOne(0, 5), Read(0, 1))
            found += await made.ask(9, WriteOne(0, 5), within_ms=100)
            loop.remove_reader(made.far)
            return found

    *answered, dead = run(main)
    assert answered == [(5,), (), (5,)] and isinstance(dead, NoReply)


def test_at_9600_baud_3_5_characters_of_silence_lie_between_two_frames() -> None:
    when: list[Ns] = []

    async def main(clock: Clock) -> None:
        def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
            when.append(clock.now())
            return [(1, words(0))]

        async with line(clock) as made, scripted(made, answer):
            await made.ask(1, Read(0, 1), Read(0, 1))

    run(main)
    assert when[1] - when[0] - MS >= 3.5 * 10 / 9600 * S


def test_units_say_who_they_are() -> None:
    objects = b"".join(bytes([i, len(t)]) + t for i, t in enumerate((b"Acme", b"M-1", b"1.2")))

    def answer(unit: int, pdu: bytes) -> Sequence[tuple[int, bytes]]:
        return [(5, b"\x2b\x0e\x01\x01\0\0\x03" + objects)]

    async def main(clock: Clock) -> list[object]:
        async with line(clock) as made, scripted(made, answer):
            return await made.ask(1, ReadIdentity())

    ((words_of,)) = run(main)
    assert identity_of(words_of) == {0: "Acme", 1: "M-1", 2: "1.2"}  # type: ignore[arg-type]


def test_a_port_that_is_lost_is_said_and_opened_again() -> None:
    async def main(clock: Clock) -> tuple[str, list[object]]:
        async with line(clock) as made:
            os.close(made.far)
            await clock.until(Ns(clock.now() + 50 * MS))
            link: UnitLink = made.links["drive"]
            assert not link.up
            return link.cause, await made.ask(1, Read(0, 1), link="drive")

    cause, replies = run(main)
    assert "the port is lost" in cause and isinstance(replies[0], LinkDown)


@pytest.mark.parametrize("unit", [0, 248])
def test_only_units_that_a_line_can_have_are_asked(unit: int) -> None:
    async def main(clock: Clock) -> None:
        async with line(clock) as made:
            (reply,) = await made.ask(unit, Read(0, 1))
            assert isinstance(reply, NoReply) and f"unit {unit} is none on a serial line (1 to 247)" in str(reply)

    run(main)
