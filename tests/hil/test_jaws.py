"""An arm's jaws take a printed part off its plate, carry it, and lay it on a belt, drop it, or slide off it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.ports import free_port
from hil.rig import Rig
from tests.hil.arms import SHOP, Played, arm_text, home_of
from twin.clock import MS, Ns, S
from twin.factory import Factory, parse
from twin.machines.arm.spec import Params
from twin.machines.conveyor import plant as belt
from twin.machines.printer import plant as printer
from twin.motion.arm import read
from twin.motion.arm.job import encode
from twin.motion.arm.plan import plan
from twin.node import JobState, Reason
from twin.plant import PartDropped, PartHandedOver, PartMade, PartSlipped

AROUND = """
[nodes.others]
uid = 2
port = {port}

[machines.printer-1]
type = "printer"
cell = "shop"
node = "others"
base = 256
pose = [0.35, -0.1, 0.05, 0.0, 0.0, 0.0]
pins = {{ i2s_clock = 26, i2s_latch = 25, i2s_data = 22, motors = 19, x_endstop = 34, y_endstop = 35, z_endstop = 32, hotend_heater = 16, hotend_sensor = 36, bed_heater = 17, bed_sensor = 39, fan = 18, filament = 33 }}

[machines.belt-1]
type = "conveyor"
cell = "shop"
node = "others"
base = 512
pose = [0.1, 0.45, 0.0, 0.0, 0.0, 1.5707963267948966]
pins = {{ run = 4, speed = 5, at_entry = 12, at_exit = 13, tripped = 14 }}

[[handovers]]
from = "printer-1"
to = "belt-1"
by = "arm"
arm = "arm-1"
"""  # noqa: E501
PART = (0.45, 0.0, 0.05)
"""The middle of the part's foot, in the factory's frame."""
ENTRY = (0.1, 0.48, 0.0)
"""The same of the belt's entry."""
DOWN = "180 0 0"


def shop() -> Factory:
    """A printer and a belt without nodes, and an arm between them."""
    return parse(SHOP + arm_text(pose=(0, 0, 0, 0, 0, 0)) + AROUND.format(port=free_port()), Path())


def printed(state: printer.State, params: Any, celsius: float = 25.0) -> printer.State:
    """A printer that has laid a cube of 20 mm in the middle of its plate, with a skirt of 40 mm around it."""
    laid, track, heat = state.laid.copy(), state.track.copy(), state.heat.copy()
    x, y, z = (per / 1e3 for per in params.steps_per_mm[:3])
    assert z * 2 == 800
    laid[:10] = [round(90 * x), round(110 * x), round(90 * y), round(110 * y)]
    laid[0] = [round(80 * x), round(120 * x), round(80 * y), round(120 * y)]
    track[printer.HIGHEST, printer.E] = round(3000 * params.steps_per_mm[3] / 1e3)
    heat[1] = celsius
    return dataclasses.replace(state, laid=laid, track=track, heat=heat)


def job(factory: Factory, *moves: str) -> bytes:
    """An arm's Job of a program with its tool in its jaws."""
    machine = factory.machines["arm-1"]
    kind, params = machine.type, machine.params
    assert kind.limits is not None and kind.steps is not None and isinstance(params, Params)
    rest = "joints " + " ".join(f"{np.degrees(angle):.3f}" for angle in home_of(machine))
    text = "\n".join(("home", "speed 0.6", f"tool 0 0 {params.tool} 0 0 0", *moves, rest))
    made = plan(read(text), kind.limits(params), home_of(machine))
    assert not made.refusals, made.refusals
    return encode(made, kind.limits(params), kind.steps(params))


def at(kind: str, place: tuple[float, float, float], above: float) -> str:
    x, y, z = place
    return f"{kind} {x} {y} {z + above} {DOWN}"


PICK = ("release", at("to", PART, 0.1), at("line", PART, 0.01), "grip", at("line", PART, 0.1))
PLACE = (at("to", ENTRY, 0.1), at("line", ENTRY, 0.012), "release", at("line", ENTRY, 0.1))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(shop(), tmp_path) as made:
        yield made


def test_a_part_goes_from_the_plate_to_the_belt_in_the_jaws(rig: Rig) -> None:
    rig.world.touch("printer-1", printed, rig.now)
    arm = Played(rig, job(rig.factory, *PICK, *PLACE))
    arm.driver.until(lambda: arm.state.held is not None and arm.state.held.free, Ns(60 * S))
    held = arm.state.held
    assert held is not None and held.width == pytest.approx(0.02045, abs=1e-5)
    assert arm.state.width == held.width
    assert rig.world.state.parts[held.part.id].at == "arm-1"
    let_go = [time for time, level in rig.trace.series["arm-1/pin/jaws_open"] if not level][-1]
    (met,) = [time for time, level in rig.trace.series["arm-1/sensor/holding"] if level]
    assert (met - let_go) / S == pytest.approx((0.06 - 0.02045) / 0.2, abs=0.06), "the jaws must get there first"
    assert printer.offer(rig.world.state.states["printer-1"], rig.factory.machines["printer-1"].params) is None
    assert arm.ended() is JobState.DONE
    told = [at.what for at in rig.trace.events]
    events = [type(event).__name__ for event in told if isinstance(event, (PartMade, PartHandedOver, PartDropped))]
    assert events == ["PartMade", "PartHandedOver", "PartHandedOver"]
    lying = rig.world.state.states["belt-1"].lying
    assert [one.part.id for one in lying] == [held.part.id] and lying[0].part.length == pytest.approx(0.02045, abs=1e-5)
    assert belt.sensors(rig.world.state.states["belt-1"], rig.factory.machines["belt-1"].params)["at_entry"] == 1
    assert not arm.driver.machine("arm-1").holding


def test_jaws_slide_off_a_part_that_sticks_on_a_warm_plate_and_the_job_is_given_up(rig: Rig) -> None:
    rig.world.touch("printer-1", lambda state, params: printed(state, params, 80.0), rig.now)
    arm = Played(rig, job(rig.factory, *PICK))
    assert arm.ended() is JobState.ABORTED and arm.node.job_fault is Reason.NOT_AS_EXPECTED
    assert len(list(rig.trace.of(PartSlipped))) == 1 and not any(rig.trace.of(PartHandedOver))
    assert rig.world.state.parts["printer-1/1"].at == "printer-1" and arm.state.held is None and arm.state.width == 0.0


def test_a_part_that_is_let_go_over_nothing_is_dropped_and_tells_of_it(rig: Rig) -> None:
    rig.world.touch("printer-1", printed, rig.now)
    high = (*PICK, at("to", ENTRY, 0.1), "release")
    arm = Played(rig, job(rig.factory, *high))
    assert arm.ended() is JobState.DONE
    assert any(rig.trace.of(PartDropped)) and rig.world.state.parts["printer-1/1"].at == ""
    assert rig.world.state.states["belt-1"].lying == ()


def test_jaws_that_close_beside_the_part_hold_nothing(rig: Rig) -> None:
    rig.world.touch("printer-1", printed, rig.now)
    beside = (PART[0], PART[1] + 0.035, PART[2])
    moves = ("release", at("to", beside, 0.1), at("line", beside, 0.01), "grip", at("line", beside, 0.1))
    arm = Played(rig, job(rig.factory, *moves))
    assert arm.ended() is JobState.ABORTED and arm.node.job_fault is Reason.NOT_AS_EXPECTED
    assert rig.world.state.parts["printer-1/1"].at == "printer-1"


def test_a_part_that_is_carried_when_the_node_loses_its_power_stays_in_the_jaws(rig: Rig) -> None:
    rig.world.touch("printer-1", printed, rig.now)
    arm = Played(rig, job(rig.factory, *PICK, *PLACE))
    arm.driver.until(lambda: arm.state.held is not None and arm.state.held.free, Ns(60 * S))
    rig.run(Ns(rig.now + 1300 * MS))
    speed = np.abs(arm.state.drives[1]).max()
    rig.power_off("arm-1")
    rig.run(Ns(rig.now + 500 * MS))
    rests = arm.state.angles.copy()
    rig.run(Ns(rig.now + S))
    assert speed > 0.05, "it was moving"
    assert arm.state.held is not None and arm.state.still and not arm.state.powered
    assert np.abs(arm.state.angles - rests).max() < 1e-4, "the brakes hold it"
