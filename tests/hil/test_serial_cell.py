"""Cells on a serial line: the real core and the real firmware, with the rig's line in between."""

import dataclasses
import itertools
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusSerialClient

from controller.factory_loop import FactoryClock
from controller.modbus.pdu import WRITE_MANY
from hil.bus import CONTROLLER
from hil.faults import arm
from hil.house import CoreTold, House, Tenant
from hil.rig import LinkCut, LinkHealed, Rig
from tests.hil.faults.belts import LEASE_AND_TICK, LOOK, put_part, strike, wired
from twin.clock import MS, Ns, S, ns
from twin.export import map_hash
from twin.fault import FaultError
from twin.node import COMMAND_AT, MAGIC, STATUS_AT, NodeStatus
from twin.trace import Trace
from twin.wire import decode, layout

CUT, HEALED = 1.05, 2.45
GRANT = bytes((1, WRITE_MANY)) + COMMAND_AT.to_bytes(2)
STATUS = layout(NodeStatus).size


def cut_and_healed(folder: Path, seed: int = 1) -> Trace:
    """A belt on a line of two runs with a part on it; its wires are cut and joined again, and an operator resets it."""
    house = House(wired("a", "b"), folder, {}, "convey", "", links=True, look=LOOK, feed=True)
    with house:
        put_part(house, "a")
        arm(house.rig, [strike(CUT, "link-cut", HEALED - CUT), strike(0.6, "line-noise", 3.0, share=0.02)], seed, house)
        house.rig.at(ns(3.6), lambda: house.ask("reset", machine="a"))
        house.rig.at(ns(4.0), lambda: house.ask("resume"))
        house.run(ns(4.8))
        return house.rig.trace


def test_a_belt_on_a_serial_line_is_safe_when_its_wires_are_cut_and_goes_on_only_when_an_operator_says_so(tmp_path: Path) -> None:
    trace = cut_and_healed(tmp_path / "one")
    run = "a/pin/run"
    cut = trace.after(LinkCut("a"))
    assert trace.at(run, Ns(cut.start - 1)) == 1
    stopped = cut.until(run, lambda level: level == 0)
    assert stopped is not None and stopped <= LEASE_AND_TICK
    healed = trace.after(LinkHealed("a"))
    ours = healed.until("core/node:a/link", lambda standing: standing == "ours")
    assert ours is not None and ours <= S, "it is found again within a second"
    assert trace.last("core/node:b/link") == "ours"
    assert all(level == 0 for time, level in trace.series[run] if CUT * S + LEASE_AND_TICK < time < 3.6 * S), "latched"
    latched = [value for time, value in trace.series["core/node:a/status/latched"] if HEALED * S < time < 3.6 * S]
    assert latched[-1:] in ([True], []) and trace.at("core/node:a/status/latched", ns(3.5))
    assert not trace.last("core/node:a/status/latched")
    assert trace.digest == cut_and_healed(tmp_path / "two").digest != cut_and_healed(tmp_path / "three", seed=2).digest


def test_a_node_on_a_slow_line_is_asked_every_fifth_scan_and_is_safe_by_its_own_longer_lease(tmp_path: Path) -> None:
    factory = wired("a")
    slow = dataclasses.replace(factory, nodes={"a": dataclasses.replace(factory.nodes["a"], scan_ms=500)})
    house = House(slow, tmp_path, {}, "convey", "", links=True, look=LOOK, feed=True)
    cut, healed = ns(3.05), ns(6.7)
    grants: list[tuple[Ns, bytes]] = []
    with house:
        put_part(house, "a")
        house.rig.lines["a"].taps.append(lambda now, source, frame: grants.append((now, frame)) if frame[:4] == GRANT else None)
        arm(house.rig, [strike(cut / S, "link-cut", (healed - cut) / S)], 1, house)
        house.rig.at(ns(9.0), lambda: house.ask("reset", machine="a"))
        house.run(ns(11.0))
        trace = house.rig.trace
    before = [time for time, frame in grants if S < time < cut and len(frame) > 8]
    assert all(abs(b - a - 500 * MS) < 20 * MS for a, b in itertools.pairwise(before)) and len(before) == 4
    assert {int.from_bytes(frame[15:17]) for _, frame in grants if len(frame) > 8} == {2500}, "it asks for that lease"
    good = [(time, value) for time, value in trace.series["core/a/quality"] if time > S]
    assert good[0][1] == "stale" and 1250 * MS <= good[0][0] - before[-1] <= 1500 * MS, "it was good from scan to scan"
    off = next(time for time, level in trace.series["a/pin/run"] if time > cut and level == 0)
    assert 2500 * MS <= off - before[-1] <= 2515 * MS, "by its lease and a tick"
    ours = next(time for time, said in trace.series["core/node:a/link"] if time > healed and said == "ours")
    assert ours - healed <= 3 * S
    told = [entry.what.about for entry in trace.of(CoreTold, "core") if entry.what.kind == "reset"]
    assert told == ["yes: reset done"] and not trace.last("core/node:a/status/latched")


def test_the_other_node_on_the_line_is_scanned_on_time_while_one_is_silent(tmp_path: Path) -> None:
    house = House(wired("a", "b"), tmp_path, {}, "", "", links=True, look=LOOK, feed=True)
    with house:
        house.run(ns(1.0))
        house.rig.power_off("b")
        house.run(ns(4.0))
        trace = house.rig.trace
    assert trace.last("core/node:b/link") == "lost" and trace.last("core/node:a/link") == "ours"
    bad = [(time / S, value) for time, value in trace.series["core/a/quality"] if time > S and value != "good"]
    assert not bad
    ages = [time for time, _ in trace.series["core/node:a/status/heartbeat"] if time > S]
    assert max(b - a for a, b in itertools.pairwise(ages)) <= 300 * MS and len(ages) >= 25


def test_pymodbus_reads_and_writes_a_node_over_the_line(tmp_path: Path) -> None:
    found: list[object] = []
    factory = wired("a")
    rig = Rig(factory, tmp_path)

    async def main(clock: FactoryClock) -> None:
        async def silence() -> None:
            await clock.until(Ns(clock.now() + 5 * MS))  # pymodbus keeps none between a reply and the next request

        await clock.until(ns(0.2))
        port = str(rig.lines["a"].stations[CONTROLLER].path)
        async with AsyncModbusSerialClient(port, baudrate=115_200, timeout=0.2, retries=0) as client:
            for count in (STATUS, 125, 1):
                found.append((await client.read_holding_registers(STATUS_AT, count=count, device_id=1)).registers)
                await silence()
            found.append((await client.write_registers(60_000, [1], device_id=1)).exception_code)
            await silence()
            found.append((await client.read_holding_registers(0, count=1, device_id=1)).registers)

    with rig:
        tenant = Tenant(rig, "pymodbus", main)
        rig.run(ns(1.0))
        rig.close()
        tenant.end()
    assert not tenant.failed
    status, many, one, refused, again = found
    assert isinstance(status, list) and isinstance(many, list)
    said: NodeStatus = decode(NodeStatus, tuple(status))
    assert (said.magic, said.uid, said.map_hash) == (MAGIC, 7, map_hash(factory, "a"))
    assert len(many) == 125 and one == again == [MAGIC] and refused == 2


def test_faults_of_a_network_and_of_a_line_each_have_their_nodes(tmp_path: Path) -> None:
    rig = Rig(wired("a"), tmp_path, links=True)
    try:
        with pytest.raises(FaultError, match="link-delay: there is no link 'a'; there are none"):
            arm(rig, [strike(1.0, "link-delay")], seed=1)
        arm(rig, [strike(1.0, "line-echo"), strike(1.0, "link-cut")], seed=1)
    finally:
        rig.close()
