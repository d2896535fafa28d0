"""What goes wrong between the engine and its devices, and what must stay right then: over real sockets, in virtual time."""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from controller.fieldbus.channel import NO_ANSWER
from controller.fieldbus.engine import Fieldbus
from controller.fieldbus.tcp import TcpLine
from controller.fieldbus.wheel import Wheel
from controller.modbus.devices import links_to
from controller.modbus.pdu import Refused
from controller.modbus.serial_units import SerialUnits
from controller.modbus.tls import Certificates
from tests.controller.certificates import Authority
from tests.controller.fieldbus.devices import Gateway, Scanned, factory, honest, row, scanning
from tests.controller.virtual import run
from twin.clock import MS, LoopClock, Ns, S
from twin.devices import Device, ModbusDevice, Tls
from twin.factory import Factory
from twin.maps import Map
from twin.serial import Serial

EPOCH = 1_800_000_000 * S
FAST = Map("fast", (row("x", 3),))


def refusing(code: int) -> Callable[[int, bytes], bytes]:
    return lambda unit, asked: bytes((asked[0] | 0x80, code))


async def cycle(gateway: Gateway, scan: Scanned, away_ms: int = 137, up_ms: int = 1400) -> None:
    await gateway.stop()
    await scan.wait(away_ms)
    await gateway.start()
    await scan.wait(up_ms)


def test_a_wheel_that_ran_empty_turns_again() -> None:
    class Count:
        fired = 0

        def fire(self, due: Ns, now: Ns) -> None:
            self.fired += 1

    async def main(clock: LoopClock) -> None:
        wheel, what = Wheel(clock), Count()
        wheel.start()
        for _ in range(3):
            wheel.at(Ns(clock.now() + 10 * MS), what)
            await clock.until(Ns(clock.now() + S))
        assert what.fired == 3
        wheel.stop()

    run(main)


def test_a_unit_that_was_dead_before_a_reconnect_costs_its_neighbours_no_more_than_a_probe() -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway, scanning(clock, gateway.port, FAST, FAST, FAST) as scan:
            gateway.dead = {3}
            await scan.wait(5000)
            await cycle(gateway, scan)
            gateway.asked.clear()
            await scan.wait(10_000)
            mine = [unit for unit, _ in gateway.asked]
            assert mine.count(1) >= 98 and mine.count(2) >= 98 and 1 <= mine.count(3) <= 3
            assert scan.bus.link("dev") == "" and not scan.look("m1").doubts

    run(main)


def test_a_unit_of_a_slow_device_that_was_dead_at_first_is_found_within_the_longest_pause() -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway, scanning(clock, gateway.port, FAST, FAST, reply_ms=5000) as scan:
            gateway.dead = {2}
            await scan.wait(40_000)
            gateway.dead = set()
            assert await scan.until(lambda s: s.good and not s.doubts, "m2", ms=60_000) <= 11_000

    run(main)


def test_a_dead_unit_does_not_tear_the_line_from_a_neighbour_that_is_asked_seldom() -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway, scanning(clock, gateway.port, Map("slow", (row("x", 3, scan="slow"),)), FAST) as scan:
            await scan.wait(5000)
            gateway.dead = {2}
            await scan.wait(60_000)
            assert gateway.connections == 1 and scan.look("m1").good and not scan.look("m1").doubts

    run(main)


def test_a_device_that_takes_connections_and_answers_nothing_is_never_told_up_and_is_opened_ever_less_often() -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway:
            gateway.dead = {1}
            async with scanning(clock, gateway.port, FAST) as scan:
                told = set()
                for _ in range(3000):
                    await scan.wait(20)
                    told.add(scan.bus.link("dev"))
                assert told <= {"not connected yet", NO_ANSWER, "unit 1 does not answer", "no reply for 3.0 s"}
                assert 3 <= gateway.connections <= 7
                gateway.dead = set()
                await scan.until(lambda s: s.good and not s.doubts, ms=1200)
                assert scan.bus.link("dev") == ""

    run(main)


def test_a_unit_that_sends_rubbish_takes_nobody_with_it() -> None:
    async def main(clock: LoopClock) -> None:
        def answer(unit: int, asked: bytes) -> bytes:
            return honest(unit, asked) if unit == 1 else b"\x03\x03\0\0\0"

        async with Gateway(answer) as gateway, scanning(clock, gateway.port, FAST, FAST) as scan:
            await scan.wait(1000)
            gateway.asked.clear()
            await scan.wait(10_000)
            mine = [unit for unit, _ in gateway.asked]
            assert gateway.connections == 1 and mine.count(1) >= 99 and mine.count(2) <= 100
            assert not scan.look("m1").doubts and "sends what is no reply: read of 1 registers" in scan.look("m2").every.cause

    run(main)


def test_a_dead_unit_does_not_cost_its_gateway_several_requests_at_a_time() -> None:
    async def main(clock: LoopClock) -> None:
        map = Map("wide", tuple(row(f"x{k}", 200 * k) for k in range(5)), pipeline=8)
        async with Gateway() as gateway, scanning(clock, gateway.port, map, replace(FAST, pipeline=8)) as scan:
            channel = scan.bus._channels["dev"][0]
            await scan.wait(3000)
            assert channel.window == 8
            gateway.dead = {2}
            await scan.wait(10_000)
            assert channel.window == 8 and not scan.look("m1").doubts

    run(main)


def test_a_device_that_lost_one_of_several_requests_is_asked_several_again_after_a_while() -> None:
    lost = False

    def answer(unit: int, asked: bytes) -> bytes | None:
        return None if lost and asked[2] == 200 else honest(unit, asked)

    async def main(clock: LoopClock) -> None:
        nonlocal lost
        map = Map("many", tuple(row(f"s{a}", a) for a in (0, 200)), most_registers=10, pipeline=4)
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.wait(3000)
            lost = True
            await scan.wait(200)
            lost = False
            channel = scan.bus._channels["dev"][0]
            await scan.wait(55_000)
            assert channel.window == 1
            await scan.wait(10_000)
            assert channel.window == 4

    run(main)


def test_what_a_starting_device_refused_is_read_within_a_minute_and_then_in_as_few_requests_as_ever() -> None:
    starting = True

    def answer(unit: int, asked: bytes) -> bytes:
        return refusing(2)(unit, asked) if starting else honest(unit, asked)

    async def main(clock: LoopClock) -> None:
        nonlocal starting
        map = Map("many", (*(row(f"s{k}", 2 * k) for k in range(20)), row("once", 41, scan="once")))
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.wait(1000)
            assert scan.look().every.cause == "illegal address"
            starting = False
            await scan.until(lambda s: s.good and not s.doubts, ms=62_000)
            seen = []
            for _ in range(100):
                await scan.wait(10)
                seen.append(scan.look())
            assert not any(sample.doubts for sample in seen), "what was read by itself is not in doubt when it is read with others"
            gateway.asked.clear()
            await scan.wait(1000)
            assert 9 <= len(gateway.asked) <= 11 and scan.look().status == (*(1000.0 + 2 * k for k in range(20)), 1041.0)

    run(main)


def test_a_hole_that_stays_is_asked_for_once_a_minute_and_nobody_is_told_anew() -> None:
    def answer(unit: int, asked: bytes) -> bytes:
        first, count = struct.unpack(">HH", asked[1:5])
        return refusing(2)(unit, asked) if first <= 20 < first + count else honest(unit, asked)

    async def main(clock: LoopClock) -> None:
        map = Map("hole", tuple(row(f"s{k}", 10 * k, scan="normal") for k in range(5)))
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good and set(s.doubts) == {"s2"})
            await scan.wait(3000)
            first, refused = scan.look(), scan.bus.counts("dev").refused
            for _ in range(1300):
                await scan.wait(100)
                assert scan.look().status is first.status and scan.look().doubts is first.doubts
            assert 2 <= scan.bus.counts("dev").refused - refused <= 3

    run(main)


ONCE = Map("once", (row("v", 3, scan="once"),))
CHAINED = Map("chain", (row("v", 3, together="model:103"),), sunspec=(40000, 0))


@pytest.mark.parametrize("map", [ONCE, CHAINED], ids=["once", "chain"])
def test_what_is_asked_for_again_is_not_asked_more_often_after_many_reconnects(map: Map) -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway(refusing(6 if not map.sunspec else 2)) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.wait(20_000)
            gateway.asked.clear()
            await scan.wait(20_000)
            before = len(gateway.asked)
            for n in range(10):
                await cycle(gateway, scan, up_ms=1100 + 17 * n)
            await scan.wait(20_000)
            gateway.asked.clear()
            await scan.wait(20_000)
            assert before >= 1 and abs(len(gateway.asked) - before) <= 2

    run(main)


def test_a_signal_that_is_read_seldom_has_the_time_of_its_own_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(clock: LoopClock) -> None:
        monkeypatch.setattr("controller.fieldbus.reading.utc_ns", lambda: EPOCH + clock.now())
        map = Map("two", (row("f", 3), row("s", 500, scan="slow")))
        async with Gateway() as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good and not s.doubts)
            assert scan.look().times == {}
            at = next(page for page in scan.bus._readings["m1"].pages if page.block.first == 500).at
            await scan.wait(4000)
            sample = scan.look()
            assert sample.times == {"s": EPOCH + at} and sample.utc_ns == EPOCH + sample.at > EPOCH + at + 3 * S

    run(main)


def test_a_late_refusal_of_what_was_replaced_is_nobodys() -> None:
    async def main(clock: LoopClock) -> None:
        bus = Fieldbus(factory(1, FAST), Path(), clock)
        reading = bus._readings["m1"]
        (page,) = reading.pages
        reading.clear()
        page.heard(page.ask, Refused(3, 2), clock.now())
        assert reading.pages == [] and reading.missing == {}

    run(main)


def two(port: int, host: str) -> Factory:
    """A device that can be reached, and one that cannot."""
    found = factory(port, FAST)
    return cast(Factory, SimpleNamespace(
        devices={**found.devices, "other": Device("other", ModbusDevice(host, port))},
        mirrored={**found.mirrored, "m2": replace(found.mirrored["m1"], name="m2", node="other")},
    ))  # fmt: skip


@pytest.mark.parametrize("host", ["plc..local", "a" * 70, "plc\0"])
def test_a_host_that_is_no_name_is_its_own_devices_matter(host: str) -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway:
            bus = Fieldbus(two(gateway.port, host), Path(), clock)
            task, scan = asyncio.create_task(bus.run()), Scanned(bus, clock)
            await scan.wait(1000)
            assert not task.done() and bus.link("other").startswith(f"no connection to {host}:") and scan.look("m1").good
            task.cancel()

    run(main)


def test_a_mistake_of_ours_with_one_line_is_its_cause_and_the_others_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    true = TcpLine.run

    async def wrong(line: TcpLine) -> None:
        await (true(line) if line.name == "dev" or line.clock.now() > 15 * S else line.clock.until(Ns(1 // 0)))

    async def main(clock: LoopClock) -> None:
        monkeypatch.setattr(TcpLine, "run", wrong)
        async with Gateway() as gateway:
            bus = Fieldbus(two(gateway.port, "127.0.0.1"), Path(), clock)
            task, scan = asyncio.create_task(bus.run()), Scanned(bus, clock)
            await scan.wait(1000)
            assert "ZeroDivisionError" in bus.link("other") and scan.look("m1").good
            await scan.wait(25_000)
            assert bus.link("other") == "" and scan.look("m2").good
            task.cancel()

    run(main)


def test_of_two_devices_on_one_port_the_slower_one_says_how_long_a_reply_is_waited_for() -> None:
    async def main(clock: LoopClock) -> None:
        devices = [Device(name, ModbusDevice("", 0, Serial("/dev/none", 1, 9600, "none"), None, reply_ms))
                   for name, reply_ms in (("quick", 100), ("slow", 2000))]  # fmt: skip
        found = links_to(devices, clock, Path())
        assert [cast(SerialUnits, found[name])._reply for name in ("quick", "slow")] == [2 * S, 2 * S]

    run(main)


def test_certificates_are_read_when_they_have_changed_and_not_at_each_attempt(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("controller")
    securing = Certificates(Tls(certificate, key, authority.path, "meter"), "host")
    first = securing()
    assert securing() is first
    certificate.touch()
    assert securing() is not first
    key.chmod(0o644)
    with pytest.raises(OSError, match="others may read"):
        securing()
