"""The scan engine and devices, over real sockets, in virtual time."""

import struct
from itertools import pairwise

import pytest

from controller.modbus.pdu import frame
from tests.controller.fieldbus.devices import Gateway, honest, pymodbus_device, row, scanning, words
from tests.controller.virtual import run
from twin.clock import MS, LoopClock
from twin.maps import Deadband, Form, Map
from twin.trace import Quality

FAST = Map("fast", (row("a", 3), row("b", 10, Form.UINT32, int), row("c", 20, scale=0.1)))


def test_values_of_a_pymodbus_device_come_with_their_time_once_a_period() -> None:
    async def main(clock: LoopClock) -> None:
        async with pymodbus_device(words(0, range(300))) as (_, port), scanning(clock, port, FAST) as scan:
            await scan.until(lambda s: s.good)
            assert scan.look().status == (3.0, (10 << 16) + 11, 2.0) and not scan.look().doubts
            times = []
            for _ in range(20):
                await scan.wait(50)
                times.append(scan.look().at)
            assert all(abs((b - a) % (100 * MS) - 50 * MS) >= 48 * MS for a, b in pairwise(times)), "absolute, to one tick"
            assert 900 * MS <= times[-1] - times[0] <= 1000 * MS
            found = scan.bus.counts("dev")
            assert found.scans >= 10 and found.skipped <= 1 and found.timeouts == 0 and scan.bus.link("dev") == ""

    run(main)


def test_an_unchanged_record_is_the_same_object_and_its_time_moves() -> None:
    async def main(clock: LoopClock) -> None:
        async with pymodbus_device(words(0, range(300))) as (_, port), scanning(clock, port, FAST) as scan:
            await scan.until(lambda s: s.good)
            before = scan.look()
            await scan.wait(200)
            after = scan.look()
            assert after.status is before.status and after.doubts is before.doubts and after.at > before.at

    run(main)


def test_a_value_is_told_again_only_when_it_leaves_its_deadband() -> None:
    value = 100

    def answer(unit: int, asked: bytes) -> bytes:
        return struct.pack(">BBH", 3, 2, value)

    async def main(clock: LoopClock) -> None:
        nonlocal value
        map = Map("quiet", (row("x", 0, deadband=Deadband(absolute=5.0)),))
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good)
            first = scan.look().status
            value = 105
            await scan.wait(300)
            assert scan.look().status is first
            value = 106
            await scan.wait(300)
            assert scan.look().status == (106.0,)

    run(main)


def test_exception_02_in_a_block_makes_only_what_cannot_be_read_bad_and_is_remembered() -> None:
    async def main(clock: LoopClock) -> None:
        map = Map("holes", tuple(row(f"s{a}", a) for a in range(0, 60, 3)))
        async with pymodbus_device(words(0, range(30)), words(34, range(34, 100))) as (server, port):
            async with scanning(clock, port, map) as scan:
                await scan.until(lambda s: s.good and len(s.doubts) == 2)
                sample = scan.look()
                causes = {name: doubt.cause for name, doubt in sample.doubts.items()}
                assert causes == dict.fromkeys(("s30", "s33"), "illegal address")
                assert sample.status.s30 is None and sample.status.s57 == 57.0 and sample.status.s27 == 27.0
                refused = scan.bus.counts("dev").refused
                await scan.wait(2000)
                assert scan.bus.counts("dev").refused == refused <= 12
            await server.shutdown()

    run(main)


def test_what_was_refused_is_asked_once_more_when_the_device_is_found_again() -> None:
    known = 10

    def answer(unit: int, asked: bytes) -> bytes:
        first, count = struct.unpack(">HH", asked[1:5])
        return honest(unit, asked) if first + count <= known else bytes((asked[0] | 0x80, 2))

    async def main(clock: LoopClock) -> None:
        nonlocal known
        map, alone = Map("grows", (row("a", 0), row("b", 20))), Map("alone", (row("c", 30),))
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map, alone) as scan:
            await scan.until(lambda s: s.good and "b" in s.doubts)
            await scan.until(lambda s: s.every.cause == "illegal address", "m2")
            known = 100
            await scan.wait(3000)
            assert scan.look().doubts["b"].cause == "illegal address"
            await gateway.stop()
            await scan.wait(200)
            await gateway.start()
            await scan.until(lambda s: s.good and not s.doubts, ms=300)
            await scan.until(lambda s: s.good and not s.doubts, "m2", ms=300)
            assert scan.look().status == (1000.0, 1020.0) and scan.look("m2").status == (2030.0,)

    run(main)


@pytest.mark.parametrize("away_ms", [300, 30_000])
def test_after_a_power_cycle_values_are_good_again_within_two_periods(away_ms: int) -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway, scanning(clock, gateway.port, FAST) as scan:
            await scan.until(lambda s: s.good)
            await scan.wait(3000)
            await gateway.stop()
            await scan.wait(away_ms)
            sample = scan.look()
            assert sample.every.quality is Quality.STALE and "no connection" in sample.every.cause and scan.bus.link("dev")
            await gateway.start()
            assert await scan.until(lambda s: s.good and not s.doubts) <= 200
            assert scan.bus.link("dev") == ""

    run(main)


def test_a_device_that_closes_an_idle_connection_is_not_lost() -> None:
    async def main(clock: LoopClock) -> None:
        map = Map("calm", (row("a", 0, scan="normal"),))
        async with Gateway() as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good)
            for _ in range(5):
                await scan.wait(1500)
                for writer in list(gateway._writers):
                    writer.close()
                assert scan.look().good and not scan.look().doubts and scan.bus.link("dev") == ""
            assert gateway.connections >= 5

    run(main)


def test_a_silent_unit_of_a_gateway_is_demoted_and_its_neighbours_keep_their_time() -> None:
    async def main(clock: LoopClock) -> None:
        maps = [Map("unit", (row("a", 1), row("slow", 2, scan="normal")))] * 10
        async with Gateway() as gateway, scanning(clock, gateway.port, *maps) as scan:
            await scan.wait(3000)
            assert all(scan.look(f"m{n}").good for n in range(1, 11))
            gateway.dead = {10}
            await scan.wait(1000)
            dead = scan.look("m10")
            assert {doubt.cause for doubt in dead.doubts.values()} == {"unit 10 does not answer"}
            before, asked = scan.bus.counts("dev"), len(gateway.asked)
            await scan.wait(20_000)
            after, mine = scan.bus.counts("dev"), [unit for unit, _ in gateway.asked[asked:]]
            assert after.scans - before.scans >= 9 * (200 + 20) * 0.995
            assert 2 <= mine.count(10) <= 6, "probed, and seldom"
            for n in range(1, 10):
                assert not scan.look(f"m{n}").doubts
            gateway.dead = set()
            await scan.until(lambda s: s.good and not s.doubts, "m10", ms=11_000)

    run(main)


def test_a_gateway_that_says_that_a_unit_is_away_is_believed_as_silence_is() -> None:
    async def main(clock: LoopClock) -> None:
        def answer(unit: int, asked: bytes) -> bytes:
            return bytes((asked[0] | 0x80, 11)) if unit == 2 else honest(unit, asked)

        async with Gateway(answer) as gateway, scanning(clock, gateway.port, FAST, FAST) as scan:
            await scan.until(lambda s: "gateway target does not answer" in s.every.cause, "m2")
            asked = len(gateway.asked)
            await scan.wait(1000)
            assert [unit for unit, _ in gateway.asked[asked:]].count(2) <= 10
            assert scan.look("m1").good and not scan.look("m1").doubts

    run(main)


def test_a_slow_device_loses_scans_that_are_counted_and_no_values() -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway, scanning(clock, gateway.port, FAST) as scan:
            gateway.think_s = 0.15
            await scan.until(lambda s: s.good)
            await scan.wait(10_000)
            found = scan.bus.counts("dev")
            assert scan.look().good and not scan.look().doubts
            assert 45 <= found.scans <= 55 and 45 <= found.skipped <= 55 and found.timeouts == 0

    run(main)


def test_each_class_grows_old_by_itself() -> None:
    slow = True

    def answer(unit: int, asked: bytes) -> bytes | None:
        return honest(unit, asked) if asked[2] == 0 or slow else None

    async def main(clock: LoopClock) -> None:
        nonlocal slow
        map = Map("two", (row("a", 0), row("b", 100, scan="normal"), row("name", 200, scan="once")))
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good and not s.doubts)
            await scan.wait(2000)
            slow = False
            await scan.wait(3000)
            sample = scan.look()
            assert {name: doubt.cause for name, doubt in sample.doubts.items()} == {"b": "no reply for 2500 ms"}
            assert sum(1 for _, pdu in gateway.asked if pdu[2] == 200) == 1

    run(main)


def test_what_is_read_once_is_asked_for_again_when_it_did_not_come() -> None:
    heard = 0

    def answer(unit: int, asked: bytes) -> bytes | None:
        nonlocal heard
        heard += asked[2] == 200
        return honest(unit, asked) if asked[2] == 0 or heard > 1 else None

    async def main(clock: LoopClock) -> None:
        map = Map("two", (row("a", 0), row("name", 200, scan="once")))
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good and not s.doubts, ms=4000)
            await scan.wait(5000)
            assert scan.look().status == (1000.0, 1200.0) and heard == 2

    run(main)


WRONG = {
    "unit": lambda tid, unit, pdu: frame(tid, unit + 1, pdu),
    "function": lambda tid, unit, pdu: frame(tid, unit, b"\x04" + pdu[1:]),
    "byte count": lambda tid, unit, pdu: frame(tid, unit, pdu[:1] + b"\x02" + pdu[2:]),
    "short": lambda tid, unit, pdu: frame(tid, unit, pdu[:-2]),
    "protocol": lambda tid, unit, pdu: struct.pack(">HHHB", tid, 5, len(pdu) + 1, unit) + pdu,
    "length 0": lambda tid, unit, pdu: struct.pack(">HHHB", tid, 0, 0, unit) + pdu,
    "transaction": lambda tid, unit, pdu: frame(tid + 1, unit, pdu),
}


@pytest.mark.parametrize("kind", list(WRONG))
def test_a_reply_that_is_not_the_one_asked_for_is_never_believed(kind: str) -> None:
    import tests.controller.fieldbus.devices as devices

    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway, scanning(clock, gateway.port, FAST) as scan:
            await scan.until(lambda s: s.good)
            at = scan.look().at
            true = devices.frame
            try:
                devices.frame = WRONG[kind]  # type: ignore[assignment]
                await scan.wait(150)
                at = scan.look().at
                await scan.wait(2000)
                assert scan.look().at == at and not (scan.look().good and not scan.look().doubts)
            finally:
                devices.frame = true
            await scan.until(lambda s: s.good and not s.doubts, ms=2500)
            assert scan.look().status == (1003.0, (1010 << 16) + 1011, pytest.approx(102.0))

    run(main)


def test_replies_in_pieces_and_late_ones_are_taken_for_what_they_are() -> None:
    async def main(clock: LoopClock) -> None:
        async with Gateway() as gateway, scanning(clock, gateway.port, FAST) as scan:
            await scan.until(lambda s: s.good)
            await scan.wait(4000)
            gateway.think_s = 0.3
            await scan.wait(260)
            gateway.think_s = 0.0
            await scan.wait(1000)
            assert scan.look().good and not scan.look().doubts and scan.bus.counts("dev").timeouts >= 1

    run(main)


def test_a_device_that_allows_it_is_asked_several_things_at_once_until_it_loses_one() -> None:
    lost = False

    async def answer(unit: int, asked: bytes) -> bytes | None:
        return None if lost and asked[2] == 200 else honest(unit, asked)

    async def main(clock: LoopClock) -> None:
        nonlocal lost
        map = Map("many", tuple(row(f"s{a}", a) for a in (0, 100, 200, 300)), most_registers=10, pipeline=4)
        async with Gateway(answer) as gateway, scanning(clock, gateway.port, map) as scan:
            await scan.until(lambda s: s.good and not s.doubts)
            channel = scan.bus._channels["dev"][0]
            assert channel.window == 4
            await scan.wait(3000)
            lost = True
            await scan.wait(200)
            lost = False
            await scan.wait(500)
            assert channel.window == 1 and scan.look().good and not scan.look().doubts

    run(main)


def test_a_pause_between_requests_is_kept() -> None:
    async def main(clock: LoopClock) -> None:
        times: list[int] = []

        def answer(unit: int, asked: bytes) -> bytes:
            times.append(clock.now() // MS)
            return honest(unit, asked)

        async with Gateway(answer) as gateway, scanning(clock, gateway.port, FAST, FAST, FAST, pause_ms=20) as scan:
            await scan.wait(1000)
            assert len(times) > 25 and min(b - a for a, b in pairwise(times)) >= 20

    run(main)
