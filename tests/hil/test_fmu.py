"""A machine's twin as an FMI 3.0 unit: FMPy runs it to the trace that the plant itself gives."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fmpy
import numpy as np
import pytest
from fmpy.fmi3 import FMU3Slave
from fmpy.validation import validate_fmu

from hil.__main__ import main as hil_main
from hil.exchange.fmu import FmuError, export, export_type
from hil.exchange.fmu_unit import inputs_of, sensors_of, signals_of
from tests.firmware.factories import BELT, CONTROL, HEAD, LAMPS_SPEC
from tests.hil.jobs import one_printer
from twin.clock import Ns, ns
from twin.machine import MachineType, load, make_params
from twin.plant import Part, PlantError, plant_of

STEP_S = 0.01
AGREES = 1e-9
FRAMES = round(STEP_S / 1e-5)
Row = dict[str, float]
Inputs = Callable[[int], Mapping[str, Any]]


class Instance:
    """A unit in FMPy, by its variables' names."""

    def __init__(self, unit: Path, folder: Path) -> None:
        self.about = fmpy.read_model_description(str(unit))
        self._of = {variable.name: variable for variable in self.about.modelVariables}
        assert self.about.coSimulation is not None
        self._fmu = FMU3Slave(
            guid=self.about.instantiationToken,
            unzipDirectory=fmpy.extract(str(unit), str(folder)),
            modelIdentifier=self.about.coSimulation.modelIdentifier,
            instanceName=unit.stem,
        )
        self._fmu.instantiate()
        self._fmu.enterInitializationMode(startTime=0.0)
        self._fmu.exitInitializationMode()

    def set(self, name: str, value: Any) -> None:
        variable = self._of[name]
        setter = {"Int32": self._fmu.setInt32, "Int64": self._fmu.setInt64, "Boolean": self._fmu.setBoolean}[variable.type]
        setter([variable.valueReference], value if isinstance(value, list) else [value])

    def row(self) -> Row:
        """Its outputs."""
        found = {}
        for name, variable in self._of.items():
            if variable.causality == "output":
                getter = getattr(self._fmu, f"get{variable.type}")
                found[name] = float(getter([variable.valueReference])[0])
        return found

    def step(self, at_s: float, step_s: float) -> None:
        self._fmu.doStep(currentCommunicationPoint=at_s, communicationStepSize=step_s)

    def close(self) -> None:
        self._fmu.terminate()
        self._fmu.freeInstance()


@contextmanager
def running(unit: Path, folder: Path) -> Iterator[Instance]:
    made = Instance(unit, folder)
    try:
        yield made
    finally:
        made.close()


def in_fmpy(unit: Path, folder: Path, inputs: Inputs, steps: int) -> list[Row]:
    """The outputs at each communication point, the start included."""
    with running(unit, folder) as instance:
        rows = [instance.row()]
        for number in range(steps):
            for name, value in inputs(number).items():
                instance.set(name, value)
            instance.step(number * STEP_S, STEP_S)
            rows.append(instance.row())
    return rows


def natively(kind: MachineType, params: Any, inputs: Inputs, steps: int) -> list[Row]:
    """The same from the plant itself."""
    plant = plant_of(kind)
    state = plant.start(params)
    state, sensors = plant.step(state, params, {}, Ns(0))
    rows = [_row(plant, state, sensors)]
    pins: dict[str, Any] = {}
    asked: dict[str, bool] = {}
    for number in range(steps):
        for name, value in inputs(number).items():
            group, _, key = name.partition(".")
            if group == "pin":
                pins[key] = np.array(value, np.uint32) if key == "frames" else value
            elif value and not asked.get(key):
                state = plant.put(state, params, Part()) if key == "put" else plant.take(state, params)
            if group == "part":
                asked[key] = value
        dt = Ns(ns((number + 1) * STEP_S) - ns(number * STEP_S))
        state, sensors = plant.step(state, params, pins, dt)
        rows.append(_row(plant, state, sensors))
    return rows


def _row(plant: Any, state: Any, sensors: Mapping[str, int]) -> Row:
    signals = signals_of(plant, state)
    told = {f"sensor.{name}": value for name, value in sensors.items()}
    return {name: float(value) for name, value in {**told, **{f"plant.{k}": v for k, v in signals.items()}}.items()}


def largest_difference(ours: list[Row], theirs: list[Row]) -> float:
    assert len(ours) == len(theirs) and ours[0].keys() == theirs[0].keys()
    return max(abs(one[name] - other[name]) for one, other in zip(ours, theirs, strict=True) for name in one)


def made(name: str, folder: Path, **params: Any) -> tuple[MachineType, Any, Path]:
    kind = load(name)
    values = make_params(kind.params, params)
    return kind, values, export_type(kind, values, folder, f"{name}-1", STEP_S)


def belt_inputs(number: int) -> Mapping[str, Any]:
    """A Part is put on, the belt runs, stands, runs on; the Part is taken and the next one comes."""
    return {
        0: {"part.put": True},
        10: {"pin.run": 1, "pin.speed": 20_000},
        150: {"pin.run": 0, "part.put": False},
        210: {"pin.run": 1, "pin.speed": 65_535},
        700: {"pin.run": 0},
        900: {"part.take": True, "part.put": True},
        910: {"pin.run": 1, "pin.speed": 12_345},
    }.get(number, {})


def test_a_conveyors_unit_follows_its_plant(tmp_path: Path) -> None:
    kind, params, unit = made("conveyor", tmp_path, length=500.0)
    ours = natively(kind, params, belt_inputs, 1200)
    theirs = in_fmpy(unit, tmp_path / "unit", belt_inputs, 1200)
    assert largest_difference(ours, theirs) <= AGREES
    seen = [(row["sensor.at_entry"], row["sensor.at_exit"]) for row in theirs]
    assert {(1.0, 0.0), (0.0, 0.0), (0.0, 1.0)} <= set(seen), "the Part travelled from one barrier to the other"


def heat_inputs(number: int) -> Mapping[str, Any]:
    return {
        0: {"pin.hotend_heater": 65_535, "pin.bed_heater": 30_000},
        2000: {"pin.hotend_heater": 20_000, "pin.fan": 40_000},
        4000: {"pin.hotend_heater": 0, "pin.bed_heater": 0, "pin.fan": 65_535},
    }.get(number, {})


def test_a_printers_unit_heats_and_cools_as_its_plant(tmp_path: Path) -> None:
    kind, params, unit = made("printer", tmp_path)
    ours = natively(kind, params, heat_inputs, 6000)
    theirs = in_fmpy(unit, tmp_path / "unit", heat_inputs, 6000)
    assert largest_difference(ours, theirs) <= AGREES
    assert max(row["plant.hotend"] for row in theirs) > 80


def step_inputs(number: int) -> Mapping[str, Any]:
    """X goes to its switch with a step every 400 µs and away again; Z steps besides."""
    if number == 0:
        return {"pin.motors": 1}
    plus = 2 if number > 195 else 0
    words = [(1 | plus if place % 40 < 20 else plus) | (0x30 if place % 100 < 50 else 0x20) for place in range(FRAMES)]
    return {"pin.frames": words}


def test_a_printers_unit_takes_its_step_stream_as_words(tmp_path: Path) -> None:
    kind, params, unit = made("printer", tmp_path)
    ours = natively(kind, params, step_inputs, 300)
    theirs = in_fmpy(unit, tmp_path / "unit", step_inputs, 300)
    assert largest_difference(ours, theirs) <= AGREES
    places = [row["plant.position_mm[1]"] for row in theirs]
    assert places[0] == 60.0 and -1.0 < min(places) < 0.0 and places[-1] > 20.0
    assert max(row["sensor.x_endstop"] for row in theirs) == 1.0
    assert theirs[-1]["plant.lost"] == 0


def joint_inputs(number: int) -> Mapping[str, Any]:
    """An arm's base goes over its cam with a step every 400 µs; the jaws open."""
    if number == 0:
        return {"pin.motors": 1, "pin.jaws_open": 1}
    return {"pin.frames": [1 if place % 40 < 20 else 0 for place in range(FRAMES)]}


def test_an_arms_unit_follows_its_plant(tmp_path: Path) -> None:
    kind, params, unit = made("arm", tmp_path)
    ours = natively(kind, params, joint_inputs, 120)
    theirs = in_fmpy(unit, tmp_path / "unit", joint_inputs, 120)
    assert largest_difference(ours, theirs) <= AGREES
    assert (theirs[0]["sensor.base_cam"], theirs[-1]["sensor.base_cam"]) == (1.0, 0.0)
    assert theirs[-1]["plant.width"] == pytest.approx(0.06) and theirs[-1]["plant.tripped"] == 0


def test_fmpys_own_simulation_of_inputs_that_change_gives_the_plants_trace(tmp_path: Path) -> None:
    kind, params, unit = made("conveyor", tmp_path)
    inputs = np.array(
        [(0.0, 1, 30_000, False), (1.0, 1, 60_000, False), (2.0, 0, 60_000, False)],
        dtype=[("time", np.float64), ("pin.run", np.int32), ("pin.speed", np.int32), ("part.put", np.bool_)],
    )
    result = fmpy.simulate_fmu(str(unit), stop_time=3.0, output_interval=STEP_S, input=inputs, output=["plant.speed"])
    changes = {round(float(row["time"]) / STEP_S): {name: int(row[name]) for name in ("pin.run", "pin.speed")} for row in inputs}
    ours = natively(kind, params, lambda number: changes.get(number, {}), 300)
    assert len(result) == 301
    assert max(abs(row["plant.speed"] - told) for row, told in zip(ours, result["plant.speed"], strict=True)) <= AGREES
    assert max(result["plant.speed"]) > 0.2


@pytest.mark.parametrize("name", ["arm", "conveyor", "printer"])
def test_a_units_description_keeps_to_the_standard(name: str, tmp_path: Path) -> None:
    kind, params, unit = made(name, tmp_path)
    assert validate_fmu(str(unit)) == []
    about = fmpy.read_model_description(str(unit))
    assert about.fmiVersion == "3.0" and about.coSimulation.canHandleVariableCommunicationStepSize
    inputs = {variable.name for variable in about.modelVariables if variable.causality == "input"}
    assert {f"pin.{pin}" for pin in inputs_of(kind, params)} <= inputs
    assert not {f"pin.{pin}" for pin in sensors_of(kind, params)} & inputs


def test_the_same_machine_gives_the_same_token_and_another_one_another(tmp_path: Path) -> None:
    machine = one_printer().machines["printer-1"]
    tokens = [
        fmpy.read_model_description(str(unit)).instantiationToken
        for unit in (export(machine, tmp_path / "a"), export(machine, tmp_path / "b"), made("printer", tmp_path)[2])
    ]
    assert tokens[0] == tokens[1] == tokens[2]
    assert made("printer", tmp_path / "c", min_extrusion_temperature=180.0)[2].stem == "printer_1"
    other = fmpy.read_model_description(str(tmp_path / "c" / "printer_1.fmu")).instantiationToken
    assert other != tokens[0]


LAMP_PLANT = """
def start(params):
    return None


def step(state, params, pins, dt):
    return state, {"open": pins.get("lamp", 0), "shut": 0}


def signals(state):
    return {}
"""


def test_a_unit_carries_a_users_own_type_and_the_twin_itself(tmp_path: Path) -> None:
    folder = tmp_path / "lamps"
    folder.mkdir()
    for file, text in (("spec.py", LAMPS_SPEC), ("control.py", CONTROL), ("plant.py", LAMP_PLANT)):
        (folder / file).write_text(text)
    kind = load("lamps", folder)
    unit = export_type(kind, make_params(kind.params, {}), tmp_path / "out")
    said = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, str(unit)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert said.returncode == 0, said.stderr
    place, before, after = said.stdout.split()
    assert "/resources/twin/" in place and (before, after) == ("0", "1")


ELSEWHERE = """
import sys, tempfile
import fmpy
from fmpy.fmi3 import FMU3Slave
about = fmpy.read_model_description(sys.argv[1])
of = {v.name: v.valueReference for v in about.modelVariables}
fmu = FMU3Slave(guid=about.instantiationToken, unzipDirectory=fmpy.extract(sys.argv[1]),
                modelIdentifier=about.coSimulation.modelIdentifier, instanceName="elsewhere")
fmu.instantiate()
fmu.enterInitializationMode(startTime=0.0)
fmu.exitInitializationMode()
before = fmu.getInt32([of["sensor.open"]])[0]
fmu.setInt32([of["pin.lamp"]], [1])
fmu.doStep(currentCommunicationPoint=0.0, communicationStepSize=0.01)
import twin.plant
print(twin.plant.__file__, before, fmu.getInt32([of["sensor.open"]])[0])
"""


def test_the_command_exports_a_machine_of_a_factory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "factory.toml").write_text(HEAD + BELT)
    asked = ["export-fmu", str(tmp_path / "factory.toml"), "belt", "--to", str(tmp_path / "out")]
    assert hil_main(asked) == 0
    assert fmpy.read_model_description(capsys.readouterr().out.strip()).modelName == "belt"
    asked[2] = "belt-2"
    assert hil_main(asked) == 1
    assert capsys.readouterr().err == "lockstep: no machine 'belt-2'; there are belt\n"


def test_what_cannot_be_exported_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "blind"
    folder.mkdir()
    (folder / "spec.py").write_text(LAMPS_SPEC)
    (folder / "control.py").write_text(CONTROL)
    kind = load("blind", folder)
    with pytest.raises(PlantError, match="no physics to step"):
        export_type(kind, make_params(kind.params, {}), tmp_path)
    with pytest.raises(FmuError, match="whole number of frames"):
        made_with_step(tmp_path, 0.000_015)


def made_with_step(folder: Path, step_s: float) -> Path:
    kind = load("conveyor")
    return export_type(kind, make_params(kind.params, {}), folder, step_s=step_s)
