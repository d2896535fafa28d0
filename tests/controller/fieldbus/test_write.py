"""Writes: once, before all reads, and read back. The device is pymodbus's server, or one that misbehaves on purpose."""

import asyncio
import struct

import pytest

from controller.devices import Outcome, Written
from controller.modbus.pdu import WRITE_MANY
from tests.controller.fieldbus.devices import Gateway, honest, pymodbus_device, row, scanning, words
from tests.controller.virtual import run
from twin.clock import LoopClock
from twin.maps import Access, Form, Map, Table
from twin.wire import Range

MAP = Map(
    "settings",
    (
        row("level", 10, Form.FLOAT32, range=Range(0, 100)),
        row("count", 12, Form.INT16, int),
        row("flag", 13, Form.BOOL, bool, bit=3),
        row("shown", 14, Form.UINT16, int, access=Access.R),
        row("reset", 15, Form.UINT16, int, access=Access.W),
        row("power", 16, Form.UINT16, scale_from="power_scale"),
        row("power_scale", 17, Form.INT16, int, access=Access.R),
    ),
)


def test_a_value_is_written_and_read_back_from_a_pymodbus_device() -> None:
    async def main(clock: LoopClock) -> None:
        registers = [0] * 7 + [0xFFFE]
        async with pymodbus_device(words(10, registers)) as (_, port), scanning(clock, port, MAP) as scan:
            await scan.until(lambda s: s.good)
            for name, value in (("level", 12.5), ("count", -7), ("power", 3.21)):
                done = await scan.bus.write("m1", name, value)
                assert (done.state, done.text) == (Outcome.CONFIRMED, ""), name
            await scan.wait(150)
            status = scan.look().status
            assert (status.level, status.count, status.power) == (12.5, -7, pytest.approx(3.21))
            done = await scan.bus.write("m1", "reset", 1)
            assert (done.state, done.text) == (Outcome.CONFIRMED, "by the device's echo: it cannot be read back")

    run(main)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("shown", 1, "cannot be written"),
        ("flag", True, "is a bit, which cannot be written without its register"),
        ("level", 101.0, "outside 0 to 100"),
        ("count", 40_000, "does not fit"),
        ("power", 1e6, "does not fit"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_sent(name: str, value: float, told: str) -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway(_scaled) as gateway, scanning(clock, gateway.port, MAP) as scan:
            await scan.until(lambda s: s.good)
            done = await scan.bus.write("m1", name, value)
            assert done.state is Outcome.REFUSED and told in done.text
            assert not any(pdu[0] in (6, 16, 22) for _, pdu in gateway.asked)

    run(main)


def _scaled(unit: int, asked: bytes) -> bytes:
    count = struct.unpack(">H", asked[3:5])[0]
    return struct.pack(f">BB{count}H", asked[0], 2 * count, *[0] * count)


class Settable:
    """Registers that can be written, by a device that can be told what to do wrong."""

    def __init__(self) -> None:
        self.held = dict.fromkeys(range(100), 0)
        self.deaf = self.mute = self.rounds = False
        self.refuses = b""
        self.writes = 0

    async def __call__(self, unit: int, asked: bytes) -> bytes | None:
        if asked[0] in (3, 4):
            first, count = struct.unpack(">HH", asked[1:5])
            return struct.pack(f">BB{count}H", asked[0], 2 * count, *(self.held[a] for a in range(first, first + count)))
        self.writes += 1
        if self.refuses:
            return self.refuses
        if not self.deaf:
            self._write(asked)
        return None if self.mute else asked[:5] if asked[0] == WRITE_MANY else asked

    def _write(self, asked: bytes) -> None:
        address = struct.unpack(">H", asked[1:3])[0]
        for i in range((len(asked) - 6) // 2):
            self.held[address + i] = struct.unpack_from(">H", asked, 6 + 2 * i)[0] & (0xFFF0 if self.rounds else 0xFFFF)


def test_what_becomes_of_a_write_is_told_as_it_is() -> None:
    async def main(clock: LoopClock) -> None:
        device = Settable()
        async with Gateway(device) as gateway, scanning(clock, gateway.port, MAP) as scan:
            await scan.until(lambda s: s.good)

            async def write(name: str = "count", value: int = 77) -> tuple[Outcome, str, int]:
                before = device.writes
                done = await scan.bus.write("m1", name, value)
                return done.state, done.text, device.writes - before

            assert await write() == (Outcome.CONFIRMED, "", 1)
            device.rounds = True
            assert await write() == (Outcome.MISMATCH, "got 64", 1)
            device.rounds, device.mute = False, True
            assert await write() == (Outcome.CONFIRMED, "no reply; read back as written", 1)
            device.deaf = True
            assert await write(value=5) == (Outcome.MISMATCH, "no reply; got 77", 1)
            assert await write("reset", 1) == (Outcome.UNKNOWN, "no reply; it cannot be read back", 1)
            device.deaf = device.mute = False
            device.refuses = bytes((0x90, 4))
            assert await write() == (Outcome.REFUSED, "function 10 refused: 04 device failure", 1)
            await gateway.stop()
            await scan.wait(500)
            state, text, sent = await write()
            assert state is Outcome.REFUSED and text.startswith("nothing was sent: no connection") and sent == 0

    run(main)


def test_a_write_that_is_lost_with_its_connection_is_read_back_when_the_device_is_there_again() -> None:
    async def main(clock: LoopClock) -> None:
        device = Settable()
        async with Gateway(device) as gateway, scanning(clock, gateway.port, MAP) as scan:
            await scan.until(lambda s: s.good)
            device.mute = True
            writing = asyncio.create_task(scan.bus.write("m1", "count", 3))
            while not device.writes:
                await asyncio.sleep(0.001)
            await gateway.stop()
            await scan.wait(5000)
            device.mute = False
            await gateway.start()
            done = await writing
            assert done == Written(Outcome.CONFIRMED, "dev: closed by the device; read back as written") and device.writes == 1

    run(main)


def test_a_write_that_is_lost_with_its_connection_is_unknown_until_it_is_read_and_is_never_sent_again() -> None:
    async def main(clock: LoopClock) -> None:
        device = Settable()
        async with Gateway(device) as gateway, scanning(clock, gateway.port, MAP) as scan:
            await scan.until(lambda s: s.good)
            device.mute = True
            writing = asyncio.create_task(scan.bus.write("m1", "count", 3))
            while not device.writes:
                await asyncio.sleep(0.001)
            await gateway.stop()
            done = await writing
            assert done.state is Outcome.UNKNOWN and device.writes == 1
            await gateway.start()
            await scan.until(lambda s: s.good and s.status.count == 3)
            assert device.writes == 1

    run(main)


def test_a_write_goes_before_all_reads_that_wait() -> None:
    async def main(clock: LoopClock) -> None:
        map = Map("long", (*(row(f"s{n}", 10 * n) for n in range(9)), row("set", 95, Form.UINT16, int)), gap=0)
        device = Settable()
        async with Gateway(device) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good)
            gateway.think_s = 0.005
            await scan.wait(300)
            start = len(gateway.asked)
            while len(gateway.asked) == start:
                await asyncio.sleep(0.001)
            mark = len(gateway.asked)
            assert (await scan.bus.write("m1", "set", 5)).state is Outcome.CONFIRMED
            functions = [pdu[0] for _, pdu in gateway.asked[mark:]]
            assert functions.index(WRITE_MANY) <= 1

    run(main)


def test_a_coil_is_written_and_read_back() -> None:
    async def main(clock: LoopClock) -> None:
        on = False

        def answer(unit: int, asked: bytes) -> bytes:
            nonlocal on
            if asked[0] == 5:
                on = asked[3] == 0xFF
                return asked
            return bytes((asked[0], 1, on << (4 - struct.unpack(">H", asked[1:3])[0]))) if asked[0] == 1 else honest(unit, asked)

        map = Map("coil", (row("valve", 4, Form.BOOL, bool, table=Table.COILS),))
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good)
            assert scan.look().status == (False,)
            assert (await scan.bus.write("m1", "valve", True)).state is Outcome.CONFIRMED
            await scan.until(lambda s: s.status == (True,), ms=200)

    run(main)
