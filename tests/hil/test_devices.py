"""Simulated devices of others in factory time: what they say, against their makers' formulas, and that they live in the rig."""

import asyncio
import math
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.constants import ExcCodes

from controller.factory_loop import FactoryClock
from controller.modbus.devices import felt_by_no_node, link_to
from controller.modbus.pdu import LinkDown, NoReply, Read, Refused
from hil.devices import inverter, meter, ur
from hil.devices.device import Held
from hil.house import House, Tenant
from hil.ports import free_port
from hil.rig import Rig
from twin.clock import MS, Ns, S
from twin.factory import Factory, parse

FACTORY = """
[factory]
name = "shop"

[cells.shop]

[nodes.meter-1]
kind = "modbus"
port = {meter}
virtual = true

[nodes.ur-1]
kind = "modbus"
port = {ur}
virtual = true

[machines.meter-1]
type = "registers"
cell = "shop"
node = "meter-1"
map = "sdm630"
unit = 3

[machines.ur-1]
type = "registers"
cell = "shop"
node = "ur-1"
map = "ur_e_series"
"""


def factory() -> Factory:
    return parse(FACTORY.format(meter=free_port(), ur=free_port()), Path())


def registers(behaviour: object, table: Held, first: int, count: int, at_s: float) -> list[int]:
    found = behaviour.read(table, first, count, Ns(round(at_s * S)))  # type: ignore[attr-defined]
    assert not isinstance(found, ExcCodes)
    return list(found)


def floats(words: list[int]) -> list[float]:
    return list(struct.unpack(f">{len(words) // 2}f", struct.pack(f">{len(words)}H", *words)))


# ---- what they say


def test_a_meters_energy_is_the_integral_of_its_power() -> None:
    """By Simpson's rule over the powers that it tells."""
    times = np.linspace(0.0, 600.0, 6001)
    (before, after) = (floats(registers(meter.Meter(), Held.INPUT, 342, 2, t))[0] for t in (0.0, 600.0))
    powers = np.array([sum(floats(registers(meter.Meter(), Held.INPUT, 12, 6, t))) for t in times])
    weights = np.where(np.arange(6001) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    joules = float(weights @ powers) * 0.1 / 3.0
    exact = sum(meter.energy(phase, 600.0) for phase in range(3))
    assert exact == pytest.approx(joules, rel=1e-6)
    assert after - before == pytest.approx(joules / 3.6e6, abs=3e-4), "single precision at 2870 kWh"


def test_a_meters_values_agree_with_each_other() -> None:
    one = meter.Meter()
    for t in (0.0, 33.3, 4000.0):
        volts, amps, watts, apparent, reactive, factors = (floats(registers(one, Held.INPUT, at, 6, t)) for at in range(0, 36, 6))
        assert [v * a for v, a in zip(volts, amps, strict=True)] == pytest.approx(apparent, rel=1e-6)
        assert [math.hypot(p, q) for p, q in zip(watts, reactive, strict=True)] == pytest.approx(apparent, rel=1e-6)
        assert [p / s for p, s in zip(watts, apparent, strict=True)] == pytest.approx(factors, rel=1e-6)
        assert floats(registers(one, Held.INPUT, 52, 2, t))[0] == pytest.approx(sum(watts), rel=1e-6)
        demand, most = floats(registers(one, Held.INPUT, 84, 4, t))
        assert demand <= most and min(volts) > 225 and max(volts) < 235


def test_a_meter_refuses_51_registers_a_wrong_setting_and_function_6() -> None:
    one, now = meter.Meter(), Ns(0)
    assert one.read(Held.INPUT, 0, 51, now) is ExcCodes.ILLEGAL_ADDRESS
    minutes = [struct.unpack(">HH", struct.pack(">f", value)) for value in (15.0, 7.0)]
    assert one.write(16, 2, list(minutes[0]), now) is None and floats(registers(one, Held.HOLDING, 2, 2, 0)) == [15.0]
    assert one.write(16, 2, list(minutes[1]), now) is ExcCodes.ILLEGAL_VALUE
    assert one.write(16, 2, list(minutes[0]) * 2, now) is ExcCodes.ILLEGAL_ADDRESS
    assert one.write(6, 2, [0], now) is ExcCodes.ILLEGAL_FUNCTION
    assert registers(one, Held.HOLDING, 0xFC00, 2, 0) == [meter.SERIAL_NUMBER >> 16, meter.SERIAL_NUMBER & 0xFFFF]


def signed(word: int) -> int:
    return word - 65_536 if word >= 32_768 else word


def test_an_arms_angles_are_a_turns_rest_and_whole_turns() -> None:
    turned = set()
    for t in np.arange(0.0, 60.0, 0.7):
        words = registers(ur.Arm(), Held.HOLDING, 270, 56, float(t))
        for axis, angle in enumerate(ur.joints(float(t))):
            assert 0 <= words[axis] <= 6283
            assert signed(words[50 + axis]) * 2000 * math.pi + words[axis] == pytest.approx(1000 * angle, abs=0.51)
            turned.add(words[50 + axis])
    assert turned == {0, 0xFFFF}


def test_an_arms_pose_is_that_of_the_tables_that_its_maker_publishes() -> None:
    """The product of six Denavit-Hartenberg matrices, and Rodrigues' formula backwards."""
    up = math.pi / 2
    dh = ((0, 0.1625, up), (-0.425, 0, 0), (-0.3922, 0, 0), (0, 0.1333, up), (0, 0.0997, -up), (0, 0.0996, 0))
    for t in (0.0, 7.7, 21.0):
        pose = np.eye(4)
        for (a, d, alpha), q in zip(dh, ur.joints(t), strict=True):
            c, s, ca, sa = math.cos(q), math.sin(q), math.cos(alpha), math.sin(alpha)
            pose = pose @ np.array([[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]])
        x, y, z, *turn = (signed(word) for word in registers(ur.Arm(), Held.HOLDING, 400, 6, t))
        assert [x, y, z] == pytest.approx(list(1e4 * pose[:3, 3]), abs=0.51)
        vector = np.array(turn) / 1000.0
        angle = float(np.linalg.norm(vector))
        k = np.cross(np.eye(3), vector / angle)
        assert np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k == pytest.approx(pose[:3, :3], abs=2e-3)


def test_an_arms_speeds_are_the_slopes_of_its_angles_and_of_its_pose() -> None:
    h, t = 1e-4, 11.0
    joints = (ur.joints(t + h) - ur.joints(t - h)) / (2 * h)
    assert [signed(w) for w in registers(ur.Arm(), Held.HOLDING, 280, 6, t)] == pytest.approx(list(1000 * joints), abs=0.51)
    travel = (ur.pose(ur.joints(t + h)) - ur.pose(ur.joints(t - h)))[:3] / (2 * h)
    assert [signed(w) for w in registers(ur.Arm(), Held.HOLDING, 410, 3, t)] == pytest.approx(list(1000 * travel), abs=0.51)


def test_an_arms_outputs_are_set_and_cleared_by_masks_and_seen_as_coils() -> None:
    arm, now = ur.Arm(), Ns(0)
    assert arm.write(6, 2, [0b0110], now) is None and registers(arm, Held.HOLDING, 1, 1, 0) == [0b0110]
    assert arm.write(6, 3, [0b0010], now) is None and registers(arm, Held.COILS, 16, 4, 0) == [0, 0, 1, 0]
    assert arm.write(15, 16, [1, 1], now) is None and registers(arm, Held.HOLDING, 1, 1, 0) == [0b0111]
    assert arm.write(6, 270, [1], now) is ExcCodes.ILLEGAL_ADDRESS and arm.write(5, 260, [1], now) is ExcCodes.ILLEGAL_ADDRESS


def test_an_inverters_models_have_the_lengths_that_they_say_and_its_scale_changes() -> None:
    at, seen = 2, []
    words = inverter.chain(0.0)
    while words[at] != 0xFFFF:
        seen.append((words[at], words[at + 1]))
        at += 2 + words[at + 1]
    assert seen == [(1, 66), (103, 50), (120, 26), (160, 48)] and words[at:] == [0xFFFF, 0]
    scales = {signed(inverter.chain(t)[70 + 15]) for t in range(0, 1200, 60)}
    assert scales == {-1, 0}
    for t in (0.0, 300.0, 600.0):
        words = inverter.chain(t)
        assert words[70 + 14 - 2 + 2] == round(inverter.watts(t) / 10.0 ** signed(words[70 + 15]))


# ---- how they live in the rig


def test_virtual_devices_answer_within_the_instant_in_which_they_are_asked(tmp_path: Path) -> None:
    shop = factory()
    told: list[object] = []

    async def main(clock: FactoryClock) -> None:
        felt_by_no_node(shop.devices.values(), clock)
        link = link_to(shop.devices["meter-1"], clock, tmp_path)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(link.run())
            await clock.until(Ns(2 * S))
            start = clock.now()
            told.extend(await link.ask(3, [Read(0, 6, 4), Read(12, 6, 4)], Ns(start + S)))
            told.append(clock.now() - start)
            told.extend(await link.ask(4, [Read(0, 2, 4)], Ns(start + S)))
            rig.at(Ns(3 * S), lambda: rig.power_off("meter-1"))
            await clock.until(Ns(4 * S))
            told.extend(await link.ask(3, [Read(0, 2, 4)], Ns(clock.now() + 100 * MS)))
            rig.at(Ns(5 * S), lambda: rig.power_on("meter-1"))
            await clock.until(Ns(7 * S))
            told.extend(await link.ask(3, [Read(0, 2, 4)], Ns(clock.now() + 100 * MS)))
            running.cancel()

    with Rig(shop, tmp_path) as rig:
        tenant = Tenant(rig, "core", main)
        rig.run(Ns(8 * S))
        tenant.end()
    assert not tenant.failed
    volts, watts, took, other, dark, back = told
    assert floats(list(volts)) == pytest.approx(floats(registers(meter.Meter(), Held.INPUT, 0, 6, 2.0)))  # type: ignore[call-overload]
    assert floats(list(watts)) == pytest.approx([meter.power(phase, 2.0) for phase in range(3)])  # type: ignore[call-overload]
    assert took == 0 and isinstance(other, Refused) and other.code == 11, "a gateway without such a unit"
    assert isinstance(dark, LinkDown | NoReply) and len(back) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("links", [False, True])
def test_devices_are_asked_at_the_same_instants_every_time(tmp_path: Path, links: bool) -> None:
    def answered(folder: Path, count: int) -> list[Ns]:
        shop = factory()
        with Rig(shop, folder, links=links) as rig:

            async def main(clock: FactoryClock) -> None:
                seen = rig.seen_by_core.devices["ur-1"]
                felt_by_no_node([seen], clock)
                link = link_to(seen, clock, folder)
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(link.run())
                    for k in range(count):
                        await clock.until(Ns((k + 2) * 100 * MS))
                        (reply,) = await link.ask(1, [Read(258, 68)], Ns(clock.now() + 50 * MS))
                        assert isinstance(reply, tuple), reply
                    running.cancel()

            tenant = Tenant(rig, "core", main)
            rig.run(Ns(2 * S))
            tenant.end()
            assert not tenant.failed
            return list(rig.devices.answered["ur-1"])

    wanted = [Ns((k + 2) * 100 * MS) for k in range(5)]
    assert answered(tmp_path / "a", 5) == answered(tmp_path / "b", 5) == wanted


def test_a_device_whose_link_is_cut_is_silent_until_it_is_healed(tmp_path: Path) -> None:
    shop = factory()
    told: list[object] = []
    with Rig(shop, tmp_path, links=True) as rig:

        async def main(clock: FactoryClock) -> None:
            seen = rig.seen_by_core.devices["meter-1"]
            felt_by_no_node([seen], clock)
            link = link_to(seen, clock, tmp_path)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(link.run())
                for at_s in (1, 2, 3):
                    await clock.until(Ns(at_s * S))
                    told.extend(await link.ask(3, [Read(70, 2, 4)], Ns(clock.now() + 100 * MS)))
                running.cancel()

        rig.at(Ns(1500 * MS), lambda: rig.cut("meter-1"))
        rig.at(Ns(2500 * MS), lambda: rig.heal("meter-1"))
        tenant = Tenant(rig, "core", main)
        rig.run(Ns(4 * S))
        tenant.end()
    assert [type(one) for one in told] == [tuple, NoReply, tuple]


def test_mbpoll_and_pymodbus_read_the_meter_like_any_other(tmp_path: Path) -> None:
    """They live in wall time; the rig only has to look at its devices meanwhile."""

    tool = shutil.which("mbpoll") or shutil.which("mbpoll", path=str(Path(__file__).parents[2] / ".venv" / "bin"))
    assert tool, "mbpoll is missing: run `make setup-test`"
    shop = factory()
    port = shop.devices["meter-1"].reached.port  # type: ignore[union-attr]
    over = threading.Event()
    with Rig(shop, tmp_path) as rig:

        def serve() -> None:
            while not over.is_set():
                rig.devices.pump(rig.now)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            words = ["-m", "tcp", "-p", str(port), "-a", "3", "-t", "3:float", "-B", "-r", "1", "-c", "3", "-1", "127.0.0.1"]
            said = subprocess.run([tool, *words], capture_output=True, text=True, timeout=30).stdout
            client = ModbusTcpClient("127.0.0.1", port=port)
            assert client.connect()
            read = client.read_input_registers(0, count=6, device_id=3).registers
            client.close()
        finally:
            over.set()
            serving.join()
    found = [float(line.split()[1]) for line in said.splitlines() if line.startswith("[")]
    wanted = floats(registers(meter.Meter(), Held.INPUT, 0, 6, 0.0))
    assert found == pytest.approx(wanted, rel=1e-4) and floats(read) == wanted


def test_the_core_believes_what_the_devices_say_within_a_beat(tmp_path: Path) -> None:
    """Scan engine, Maps, Image and Feed in factory time, against the devices' own formulas."""
    with House(factory(), tmp_path, {}, "", "", feed=True) as house:
        house.rig.run(Ns(10 * S))
        trace = house.rig.trace
        power, angles, turned = (trace.series[f"core/{path}"] for path in (
            "meter-1/status/power", "ur-1/status/base_angle", "ur-1/status/base_turns",
        ))  # fmt: skip
    assert trace.last("core/meter-1/status/frequency") == pytest.approx(50.0, abs=0.02)
    late = range(0, 3 * 100)
    for at, watts in list(power)[2:]:
        assert min(abs(watts - sum(meter.power(k, at / S - ms / 1e3) for k in range(3))) for ms in late) < 0.01
    for at, angle in list(angles)[2:]:
        assert min(abs(angle - ur.joints(at / S - ms / 1e3)[0]) for ms in late) < 1e-3
    assert len(power) >= 8 and len(angles) >= 40 and {turns for _, turns in turned} <= {0, -1, None}
