"""A fume extractor in the rig: what its node tells of its health, while it is well, while it wears, and when a sensor is gone."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hil.campaigns import tap
from hil.driver import Driver
from hil.faults import arm
from hil.house import CoreTold, House
from hil.ports import free_port
from hil.rig import Rig
from twin import wire
from twin.clock import Ns, S, ns
from twin.factory import Factory, parse
from twin.fault import Fault as Trouble
from twin.machines.extractor import plant
from twin.machines.extractor.plant import Physics
from twin.machines.extractor.spec import Command, Status
from twin.node import Fault, Op

SHOP = """
[factory]
name = "shop"
[cells.hall]
[nodes.air]
uid = 7
port = {port}
virtual = true
[machines.fan]
type = "extractor"
cell = "hall"
node = "air"
base = 256
pins = {{ tripped = 27, run = 16, speed = 17, current = 32, bearing_temperature = 33, filter_pressure = 34, \
vibration_sda = 21, vibration_scl = 22 }}
[machines.fan.params]
burst_every = 2
"""
RUN = Command(run=True, speed=40.0)
HEALTHY = Physics()
REDUCED = {f"vibration_{what}" for what in ("rms", "peak", "crest", "band_1", "band_2", "band_3", "band_4")}


def shop() -> Factory:
    return parse(SHOP.format(port=free_port()), Path())


def running(folder: Path, seconds: float, physics: Physics = HEALTHY) -> Status:
    """What a fan says after it has run for so long."""
    with Rig(shop(), folder, physics={"fan": physics}) as rig:
        driver = Driver.of(rig, "air")
        driver.commands["fan"] = RUN
        rig.run(ns(seconds))
        status: Status = driver.machine("fan")
        return status


def change(rig: Rig, **physics: Any) -> None:
    """The same fan under another physics from now on."""

    def changed(state: plant.State, params: Any) -> plant.State:
        return plant.under(state, params, dataclasses.replace(state.physics, **physics))

    rig.world.touch("fan", changed, rig.now)


def test_a_healthy_fan_says_what_its_physics_are(tmp_path: Path) -> None:
    status = running(tmp_path, 30.0)
    assert wire.outside(status) == ()
    assert status.running and not any((status.worn, status.rough, status.hot, status.overheated, status.clogged, status.tripped))
    assert not status.vibration_failed and status.vibration_bursts >= 10
    assert status.current == pytest.approx(0.4 + 1.4 * 0.8**2, abs=0.05)
    assert status.filter_pressure == pytest.approx(250 * 0.8**2, abs=10)
    assert status.bearing_temperature == pytest.approx(22 + 12 * 0.8 * (1 - math.exp(-28 / 400)), abs=0.6)
    tone = 0.06 * 9.80665 / math.sqrt(2)  # 0.064 g, in the 10 mg in which the world says it
    assert status.vibration_band_1 == pytest.approx(tone, rel=0.08)
    assert status.vibration_rms == pytest.approx(math.hypot(tone, 0.108), rel=0.08), "the tone and the sensor's noise"
    assert status.starts == 1 and status.running_time == pytest.approx(30, abs=1)
    assert status.turns == pytest.approx(40 * 30, abs=40)


def test_a_fan_at_rest_is_quiet_and_has_no_crest_factor(tmp_path: Path) -> None:
    with Rig(shop(), tmp_path) as rig:
        driver = Driver.of(rig, "air")
        rig.run(ns(8.0))
        status = driver.machine("fan")
    assert wire.outside(status) == () and not status.vibration_failed
    assert 0.0 < status.vibration_rms < 0.2 and status.vibration_crest == 0.0 and status.current == 0.0


def test_band_energy_and_crest_factor_rise_with_wear(tmp_path: Path) -> None:
    seen = [running(tmp_path / str(wear), 20.0, Physics(wear=wear)) for wear in (0.0, 0.1, 0.3, 0.5, 1.0)]
    for what in ("vibration_band_3", "vibration_crest", "vibration_rms"):
        values = [getattr(status, what) for status in seen]
        assert values == sorted(set(values)), what
    first, last = seen[0], seen[-1]
    assert last.vibration_band_1 == pytest.approx(first.vibration_band_1, rel=0.1), "the shaft's own tone is what it was"
    assert last.vibration_band_3 > 10 * first.vibration_band_3


def first(rig: Rig, driver: Driver, wanted: dict[str, Callable[[Status], bool]], until: float) -> dict[str, float]:
    """When each of these was true first, at most one second late."""
    found: dict[str, float] = {}
    while rig.now < ns(until) and len(found) < len(wanted):
        rig.run(Ns(rig.now + S))
        status = driver.machine("fan")
        for name, true in wanted.items():
            if name not in found and status is not None and true(status):
                found[name] = rig.now / S
    return found


def test_a_worn_bearing_is_told_long_before_it_stops_the_fan_and_the_node_itself_stops_it(tmp_path: Path) -> None:
    with Rig(shop(), tmp_path, physics={"fan": Physics(wear_rate=22.0, soak=20.0)}) as rig:
        driver = Driver.of(rig, "air")
        driver.commands["fan"] = RUN
        bits = {name: lambda status, name=name: getattr(status, name) for name in ("worn", "rough", "hot", "overheated")}
        found = first(rig, driver, bits, 300.0)  # type: ignore[arg-type]
        assert list(found) == ["rough", "worn", "hot", "overheated"]
        assert found["overheated"] - found["worn"] > 60.0
        rig.run(Ns(rig.now + S))
        assert rig.trace.last("fan/pin/run") == 0
        status = driver.status
        assert status is not None and status.latched and status.fault is Fault.INTERLOCK


@pytest.mark.parametrize("sensor", ["missing", "dead", "stuck", "shaken"])
def test_an_accelerometer_that_is_gone_is_told_as_bad_not_as_still_and_the_fan_runs_on(tmp_path: Path, sensor: str) -> None:
    with Rig(shop(), tmp_path) as rig:
        driver = Driver.of(rig, "air")
        driver.commands["fan"] = RUN
        rig.run(ns(6.0))
        assert not driver.machine("fan").vibration_failed
        change(rig, sensor=sensor)
        rig.run(ns(12.0))
        status = driver.machine("fan")
        assert status.vibration_failed and status.running
        assert set(wire.outside(status)) == REDUCED
        change(rig, sensor="good")
        rig.run(ns(18.0))
        status = driver.machine("fan")
        assert not status.vibration_failed and wire.outside(status) == ()


def test_a_fan_that_was_latched_starts_anew_only_after_an_operator_s_reset_and_not_by_the_reset_itself(tmp_path: Path) -> None:
    reset = ns(12.0)
    with House(shop(), tmp_path, {}, "", "", links=True, feed=True) as house:
        tap.watch(house.rig)
        arm(house.rig, [Trouble(at=ns(5.0), kind="fan-trips", target="fan", lasts=ns(2.0), parameters={})], seed=1, house=house)
        house.rig.at(reset, lambda: house.ask("reset", machine="fan"))
        house.run(ns(18.0))
        trace = house.rig.trace
    runs = list(trace.series["fan/pin/run"])[-3:]
    assert [level for _, level in runs] == [1, 0, 1], "nobody need ask for it again: the house says so in its how-to"
    told = [entry for entry in trace.of(CoreTold, "core") if entry.what.kind == "reset"]
    assert told[0].what.about == "yes: reset done" and runs[2][0] > reset
    default = tuple(wire.encode(Command()))
    asked = [time for time, words in trace.series["fan/told/command"] if words == default and reset < time < runs[2][0]]
    assert asked, "its Command was seen at rest in between"


def test_a_clogged_filter_is_told(tmp_path: Path) -> None:
    assert running(tmp_path, 12.0, Physics(dirt=0.9)).clogged


def test_counts_outlast_resets_and_power_cuts(tmp_path: Path) -> None:
    with Rig(shop(), tmp_path) as rig:
        driver = Driver.of(rig, "air")
        driver.commands["fan"] = RUN
        rig.run(ns(70.0))
        driver.commands["fan"] = Command()
        rig.run(ns(72.0))
        before = driver.machine("fan")
        assert before.starts == 1 and before.running_time == pytest.approx(70, abs=1) and before.turns > 2000
        for cut in (False, True):
            if cut:
                rig.power_off("air")
                rig.power_on("air")
            else:
                rig.reset("air")
            rig.run(Ns(rig.now + 4 * S))
            status = driver.machine("fan")
            assert (status.starts, status.running_time, status.turns) == (before.starts, before.running_time, before.turns)
        driver.op(Op.RESET)
        rig.run(Ns(rig.now + S))
        driver.commands["fan"] = RUN
        rig.run(Ns(rig.now + 20 * S))
        rig.reset("air")
        rig.run(Ns(rig.now + 2 * S))
        assert driver.machine("fan").starts in (1, 2), "what power took within a minute of the last write may be lost"


def test_its_own_faults_strike_and_are_told(tmp_path: Path) -> None:
    with Rig(shop(), tmp_path) as rig:
        driver = Driver.of(rig, "air")
        driver.commands["fan"] = RUN
        kinds = ("accelerometer-unplugged", "filter-clogged", "bearing-worn")
        arm(rig, [Trouble(at=ns(5.0), kind=kind, target="fan", lasts=None, parameters={}) for kind in kinds], seed=1)
        rig.at(ns(14.0), lambda: change(rig, sensor="good"))
        rig.run(ns(13.0))
        status = driver.machine("fan")
        assert status.vibration_failed and status.clogged and not status.worn, "nothing is made of what is bad"
        rig.run(ns(22.0))
        assert driver.machine("fan").worn
