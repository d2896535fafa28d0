"""The world: every machine stepped, Parts from one to the next, machine types from elsewhere."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twin import plant
from twin.clock import MS, Ns, S
from twin.factory import Factory, parse, read
from twin.machines.conveyor.plant import Physics as BeltPhysics
from twin.machines.printer.plant import Physics as PrinterPhysics
from twin.plant import PartArrived, PartHandedOver, PartMade, PlantError, World
from twin.trace import Event

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "tests" / "controller" / "shop.toml"
EXTRUDING = np.zeros(1000, np.uint32)
EXTRUDING[::100] |= 0xC0
FULL = 65_535

NUMBERS = itertools.count()
LAMP_SPEC = '''
from typing import Annotated as A
from twin.machine import Input, Output
from twin.wire import OFF, Bit, OnSilence, record

@record
class Status:
    lit: A[bool, Bit(0, 0)]

@record
class Command:
    on: A[bool, OnSilence(OFF), Bit(0, 0)] = False

BLOCKS = (Output("on"), Input("lit"))
'''
LAMP_CONTROL = '''
def decide(sample, wish, params, now):
    raise NotImplementedError
'''
LAMP_PLANT = '''
def start(params):
    return None

def step(state, params, pins, dt):
    return None, {"lit": pins["on"]}
'''
LAMP_FACTORY = '''
[factory]
name = "lamps"
[cells.hall]
[nodes.n]
uid = 1
virtual = true
[types.lamp]
path = "FOLDER"
[machines.lamp-1]
type = "lamp"
cell = "hall"
node = "n"
base = 256
pins = { on = 2, lit = 4 }
'''


def lamp(folder: Path, physics: str | None = LAMP_PLANT, more: str = "") -> Factory:
    path = f"lamp-{next(NUMBERS):012}"
    (folder / path).mkdir()
    files = {"spec": LAMP_SPEC, "control": LAMP_CONTROL, "plant": physics}
    for name, text in files.items():
        if text is not None:
            (folder / path / f"{name}.py").write_text(text)
    return parse(LAMP_FACTORY.replace("FOLDER", path) + more, folder)


def run(world: World, factory: Factory, seconds: float, **pins: dict[str, object]) -> tuple[World, list[Event]]:
    """Let time pass in steps of 10 ms; pins by machine, `_` for `-`."""
    events: list[Event] = []
    levels = {name.replace("_", "-"): of for name, of in pins.items()}
    for _ in range(round(seconds * 100)):
        world, new = plant.step(world, factory, levels, Ns(10 * MS))
        events += new
    return world, events


def test_a_part_goes_from_the_printer_by_hand_onto_the_belt_and_to_its_end() -> None:
    factory = read(SHOP)
    world = plant.start(factory)
    assert world.sensors["belt-1"]["at_entry"] == 0
    world, events = run(world, factory, 2, printer_1={"motors": 1, "frames": EXTRUDING, "hotend_heater": FULL})
    assert events == []
    world, events = run(world, factory, 1, printer_1={"motors": 1})
    assert events == [], "the motors hold the plate"
    world, events = run(world, factory, 0.01)
    made = PartMade("printer-1", "printer-1/1", pytest.approx(2000 / 96))
    assert events == [made]
    assert world.parts["printer-1/1"].at == "printer-1"
    world, events = run(world, factory, 19.99)
    assert events == [], "a person takes 20 s"
    world, events = run(world, factory, 0.01)
    assert events == [PartHandedOver("printer-1", "printer-1/1", "belt-1")]
    assert world.parts["printer-1/1"].at == "belt-1"
    assert world.sensors["belt-1"] == {"at_entry": 1, "at_exit": 0, "tripped": 0}
    belt = {"run": 1, "speed": FULL // 5}
    while not world.sensors["belt-1"]["at_exit"]:
        world, events = run(world, factory, 0.01, belt_1=belt)
        assert events == []
    assert world.now / S < 23.1 + 10
    world, events = run(world, factory, 1)
    assert events == [PartArrived("belt-1", "printer-1/1")]
    assert run(world, factory, 30)[1] == [], "the printer has nothing more to give"
    world, _ = run(world, factory, 0.2, belt_1=belt)
    assert run(world, factory, 1)[1] == [], "a part arrives once, also when the belt moves again"


def test_the_second_part_has_a_name_and_a_weight_of_its_own() -> None:
    factory = read(SHOP)
    world = plant.start(factory)
    for number, seconds in ((1, 2), (2, 1)):
        world, _ = run(world, factory, seconds, printer_1={"motors": 1, "frames": EXTRUDING})
        world, events = run(world, factory, 20.02)
        expected = [PartMade("printer-1", f"printer-1/{number}", pytest.approx(seconds * 1000 / 96))]
        if number == 1:
            expected.append(PartHandedOver("printer-1", "printer-1/1", "belt-1"))
        assert events == expected
    assert world.parts["printer-1/2"].at == "printer-1", "the belt's entry is taken"
    world, events = run(world, factory, 1, belt_1={"run": 1, "speed": FULL})
    assert PartHandedOver("printer-1", "printer-1/2", "belt-1") in events
    assert world.parts["printer-1/1"].mass == pytest.approx(2000 / 96 * 2.98e-6, rel=1e-2)


def test_nobody_takes_a_part_from_a_printer_that_starts_again() -> None:
    factory = read(SHOP)
    world, _ = run(plant.start(factory), factory, 1, printer_1={"motors": 1, "frames": EXTRUDING})
    world, events = run(world, factory, 15)
    assert [type(event) for event in events] == [PartMade]
    world, _ = run(world, factory, 1, printer_1={"hotend_heater": FULL})
    world, events = run(world, factory, 19)
    assert events == [], "it is still the same part, and the 20 s start again"
    world, events = run(world, factory, 2)
    assert events == [PartHandedOver("printer-1", "printer-1/1", "belt-1")]


def test_belts_that_touch_hand_over_at_once() -> None:
    text = SHOP.read_text().replace('by = "hand"', 'by = "belt"').replace("duration_s = 20", "duration_s = 0")
    factory = parse(text, SHOP.parent)
    world, _ = run(plant.start(factory), factory, 1, printer_1={"motors": 1, "frames": EXTRUDING})
    _, events = run(world, factory, 0.01)
    assert [type(event) for event in events] == [PartMade, PartHandedOver]


def test_the_horizon_is_the_first_of_any_machine_s() -> None:
    factory = read(SHOP)
    world = plant.start(factory, {"printer-1": PrinterPhysics(start_position_mm=(0.1, 50.0, 20.0))})
    homing = np.zeros(10_000, np.uint32)
    homing[::100] |= 1
    pins = {"printer-1": {"motors": 1, "frames": homing}}
    edge = plant.horizon(world, factory, pins, Ns(100 * MS))
    assert edge == 701 * 10_000, "the eighth step"
    stuck = {"belt-1": BeltPhysics(extra_load=50.0, trip_delay=0.005)}
    both = plant.start(factory, {"printer-1": PrinterPhysics(start_position_mm=(0.1, 50.0, 20.0)), **stuck})
    assert plant.horizon(both, factory, {**pins, "belt-1": {"run": 1}}, Ns(100 * MS)) == 5 * MS


def test_the_same_pins_make_the_same_world() -> None:
    factory = read(SHOP)
    pins = {"motors": 1, "frames": EXTRUDING, "bed_heater": 9999}
    ends = [run(plant.start(factory), factory, 1, printer_1=pins)[0] for _ in "ab"]
    one, other = (end.states["printer-1"] for end in ends)
    assert np.array_equal(one.track, other.track) and np.array_equal(one.heat, other.heat)
    assert ends[0].sensors == ends[1].sensors


def test_a_lamp_from_a_folder_elsewhere_needs_five_lines_of_physics(tmp_path: Path) -> None:
    factory = lamp(tmp_path)
    world = plant.start(factory)
    assert world.sensors == {"lamp-1": {"lit": 0}}
    world, events = plant.step(world, factory, {"lamp-1": {"on": 1}}, Ns(MS))
    assert world.sensors == {"lamp-1": {"lit": 1}}
    assert events == ()
    assert plant.horizon(world, factory, {}, Ns(7)) == 7
    assert len([line for line in LAMP_PLANT.splitlines() if line.strip()]) <= 5


def test_a_type_without_physics_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlantError, match=r"'lamp' has no plant\.py"):
        plant.start(lamp(tmp_path, physics=None))


def test_a_plant_without_a_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlantError, match=r"'lamp': plant\.py has no step\(\)"):
        plant.start(lamp(tmp_path, physics="def start(params): return 0\n"))


def test_a_handover_that_a_plant_cannot_carry_out_is_named(tmp_path: Path) -> None:
    again = LAMP_FACTORY[LAMP_FACTORY.index("[machines.lamp-1]") :].replace("lamp-1", "lamp-2")
    again = again.replace("256", "300").replace("on = 2, lit = 4", "on = 12, lit = 14")
    factory = lamp(tmp_path, more=again + '[[handovers]]\nfrom = "lamp-1"\nto = "lamp-2"\n')
    with pytest.raises(PlantError, match=r"handover from lamp-1 to lamp-2: .*'lamp' has no offer\(\)"):
        plant.start(factory)


def test_physics_for_a_machine_that_is_not_there_are_named() -> None:
    with pytest.raises(PlantError, match=r"physics of 'printer-9': .* printer-1, belt-1"):
        plant.start(read(SHOP), {"printer-9": PrinterPhysics()})


def test_physics_reach_the_machine_they_are_for() -> None:
    cold = replace(PrinterPhysics(), ambient=5.0)
    world = plant.start(read(SHOP), {"printer-1": cold})
    assert world.states["printer-1"].hotend == 5.0
