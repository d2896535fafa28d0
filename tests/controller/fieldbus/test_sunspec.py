"""SunSpec chains: places that the device tells. The device is pymodbus's server with models as facts/devices.md lays them down."""


import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.devices import Outcome
from controller.fieldbus.sunspec import MARK, MOST_MODELS, Chain, Model, placed, walk
from controller.modbus.pdu import ModbusError, Refused, Words
from tests.controller.fieldbus.devices import Gateway, pymodbus_device, row, scanning, words
from tests.controller.virtual import run
from twin.clock import LoopClock
from twin.maps import Form, Map
from twin.trace import Quality

MAP = Map(
    "inverter",
    (
        row("maker", 2, Form.STRING, str, "once", registers=16, together="model:1"),
        row("current", 2, scale_from="current_scale", together="model:101/103", invalid=(0xFFFF,)),
        row("current_scale", 6, Form.INT16, int, together="model:101/103"),
        row("power", 14, Form.INT16, scale_from="power_scale", together="model:101/103", invalid=(0x8000,)),
        row("power_scale", 15, Form.INT16, int, together="model:101/103"),
        row("energy", 24, Form.UINT32, scale_from="energy_scale", together="model:101/103"),
        row("energy_scale", 26, Form.INT16, int, together="model:101/103"),
        row("float_power", 22, Form.FLOAT32, together="model:113"),
        row("string_1", 19, scale_from="string_scale", together="model:160"),
        row("string_2", 39, scale_from="string_scale", together="model:160"),
        row("string_scale", 2, Form.INT16, int, together="model:160"),
    ),
    sunspec=(40000, 50000, 0),
)


def device(common: int = 66, end: tuple[int, ...] = (0xFFFF, 0)) -> list[int]:
    """The registers of a chain: common, 103, and 160 with one module."""
    maker = [int.from_bytes(b"Sunny Things".ljust(32, b"\0")[i : i + 2], "big") for i in range(0, 32, 2)]
    one = [1, common, *maker, *[0] * (common - 16)]
    inverter = [0] * 52
    inverter[0:2], inverter[2], inverter[6] = (103, 50), 1234, 0xFFFE
    inverter[14], inverter[15], inverter[24:27] = 0xFF9C, 1, [1, 0x86A0, 0]
    strings = [160, 28, 0xFFFF, *[0] * 27]
    strings[19] = 55
    return [*MARK, *one, *inverter, *strings, *end]


CHAIN = device()
SECOND = 40000 + 2 + 2 + 66
"""Where the second model begins."""


@pytest.mark.parametrize(("base", "common"), [(40000, 66), (50000, 65), (0, 66)])
def test_a_chain_is_found_wherever_it_begins_and_its_values_are_scaled_as_it_says(base: int, common: int) -> None:
    async def main(clock: LoopClock) -> None:
        async with pymodbus_device(words(base, device(common))) as (_, port), scanning(clock, port, MAP) as scan:
            await scan.until(lambda s: s.good)
            status, doubts = scan.look().status, scan.look().doubts
            assert (status.maker, status.current, status.power, status.energy) == ("Sunny Things", 12.34, -1000.0, 100_000.0)
            assert status.string_1 == pytest.approx(5.5)
            assert {name: doubt.cause for name, doubt in doubts.items()} == {
                "float_power": "the device has no model 113",
                "string_2": "model 160 of the device has only 28 registers",
            }
            assert status.float_power is None and status.string_2 is None

    run(main)


def test_a_device_without_a_chain_says_so_and_is_asked_again() -> None:
    async def main(clock: LoopClock) -> None:
        empty = words(0, [7] * 10), words(40000, [0] * 200)
        async with pymodbus_device(*empty) as (server, port), scanning(clock, port, MAP) as scan:
            await scan.until(lambda s: "no SunSpec chain" in s.every.cause)
            assert scan.look().every.quality is Quality.STALE and "no SunS but 0007 0007" in scan.look().every.cause
            await server.async_setValues(0, 16, 40000, device()[:150])
            await scan.until(lambda s: s.good, ms=15_000)
            assert scan.look().status.current == 12.34

    run(main)


def found_in(registers: dict[int, int], bases: tuple[int, ...]) -> Chain | str:
    """What a walk finds in a device that has these registers and refuses all others."""
    steps = walk(bases)
    asked = next(steps)
    while True:
        address, count = asked
        there = all(a in registers for a in range(address, address + count))
        reply: Words | ModbusError = tuple(registers[a] for a in range(address, address + count)) if there else Refused(3, 2)
        try:
            asked = steps.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


@given(st.lists(st.tuples(st.integers(1, 65_534), st.integers(0, 300)), max_size=20), st.sampled_from([0, 40000, 50000]))
def test_every_chain_is_walked_to_its_end(models: list[tuple[int, int]], base: int) -> None:
    at, registers, wanted = base + 2, {base: MARK[0], base + 1: MARK[1]}, []
    for id_, length in models:
        wanted.append(Model(id_, at, length))
        registers |= {at: id_, at + 1: length}
        at += 2 + length
    assert found_in(registers | {at: 0xFFFF, at + 1: 0}, (40000, 50000, 0)) == Chain(base, tuple(wanted))
    zero = found_in(registers | {at: 0, at + 1: 0}, (40000, 50000, 0))
    cut = found_in(registers, (40000, 50000, 0))
    assert isinstance(zero, Chain) and zero.models == tuple(wanted) and "ends with 0" in zero.doubt
    assert isinstance(cut, Chain) and cut.models == tuple(wanted) and "illegal address" in cut.doubt


def test_a_chain_that_never_ends_is_left() -> None:
    registers = dict.fromkeys(range(2, 5000), 1) | {0: MARK[0], 1: MARK[1]}
    found = found_in(registers, (0,))
    assert isinstance(found, Chain) and len(found.models) == MOST_MODELS and "no end" in found.doubt


@pytest.mark.parametrize("lost", [bytes((0x83, 6)), bytes((0x83, 10)), b"\x03\x02\x00\x00", None])
def test_a_step_of_the_chain_that_got_no_answer_is_asked_again_and_cuts_nothing(lost: bytes | None) -> None:
    failing = 0

    def answer(unit: int, asked: bytes) -> bytes | None:
        nonlocal failing
        first, count = struct.unpack(">HH", asked[1:5])
        if first == SECOND and failing:
            failing -= 1
            return lost
        if not 40000 <= first <= first + count <= 40000 + len(CHAIN):
            return bytes((0x83, 2))
        return struct.pack(f">BB{count}H", 3, 2 * count, *CHAIN[first - 40000 : first - 40000 + count])

    async def main(clock: LoopClock) -> None:
        nonlocal failing
        failing = 1
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, MAP) as scan:
            assert await scan.until(lambda s: s.good and s.status.current == 12.34 and s.status.string_1 == 5.5, ms=3000)
            failing = 2
            await gateway.stop()
            await scan.wait(300)
            await gateway.start()
            await scan.wait(1000)
            await scan.until(lambda s: s.good and set(s.doubts) == {"float_power", "string_2"}, ms=15_000)
            await scan.wait(15_000)
            assert set(scan.look().doubts) == {"float_power", "string_2"}

    run(main)


def test_a_chain_that_a_starting_device_cuts_short_does_not_replace_the_whole_one() -> None:
    cut = False

    def answer(unit: int, asked: bytes) -> bytes:
        first, count = struct.unpack(">HH", asked[1:5])
        if not 40000 <= first <= first + count <= 40000 + len(CHAIN) or (cut and first == SECOND and count == 2):
            return bytes((0x83, 2))
        return struct.pack(f">BB{count}H", 3, 2 * count, *CHAIN[first - 40000 : first - 40000 + count])

    async def main(clock: LoopClock) -> None:
        nonlocal cut
        cut = True
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, MAP) as scan:
            await scan.until(lambda s: s.good and "current" in s.doubts, ms=1000)
            cut = False
            await scan.until(lambda s: s.good and "current" not in s.doubts, ms=11_000)
            cut = True
            await gateway.stop()
            await scan.wait(300)
            await gateway.start()
            await scan.wait(3000)
            assert set(scan.look().doubts) == {"float_power", "string_2"}

    run(main)


def test_what_needs_a_scale_that_the_device_does_not_have_is_lost_with_it() -> None:
    async def main(clock: LoopClock) -> None:
        short = [*MARK, 103, 3, 21, 22, 23, 0xFFFF, 0]
        map = Map("short", (
            row("power", 3, scale_from="scale", together="model:103"),
            row("scale", 5, Form.INT16, int, together="model:103"),
            row("current", 2, together="model:103"),
        ), sunspec=(40000,))  # fmt: skip
        async with pymodbus_device(words(40000, short)) as (_, port), scanning(clock, port, map) as scan:
            await scan.until(lambda s: s.good)
            assert scan.look().status == (None, None, 21.0) and set(scan.look().doubts) == {"power", "scale"}
            assert (await scan.bus.write("m1", "power", 1.0)).state is Outcome.REFUSED

    run(main)


def test_a_chain_whose_models_cannot_be_read_as_the_map_asks_is_told_and_ends_nothing() -> None:
    async def main(clock: LoopClock) -> None:
        map = Map("apart", (row("power", 3, scale_from="scale", together="model:103"),
                            row("scale", 3, Form.INT16, int, together="model:9")), sunspec=(40000,))  # fmt: skip
        chain = [*MARK, 103, 150, *[0] * 150, 9, 4, 0, 0, 0, 0, 0xFFFF, 0]
        async with pymodbus_device(words(40000, chain)) as (_, port), scanning(clock, port, map) as scan:
            await scan.until(lambda s: s.every.cause.startswith("line 0: ") and "at most 125 can be read" in s.every.cause)
            await scan.wait(1000)
            assert scan.bus.link("dev") == ""

    run(main)


def test_the_first_of_two_models_that_the_device_has_is_meant() -> None:
    made, lost = placed(MAP.signals, Chain(0, (Model(101, 70, 50), Model(103, 130, 50))))
    by_name = {one.name: one.place.address for one in made if one.name not in lost}
    assert by_name["current"] == 72 and by_name["power_scale"] == 85 and "maker" in lost
