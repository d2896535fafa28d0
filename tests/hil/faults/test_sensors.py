"""Every way in which a sensor lies: it strikes, the factory stays safe, and without the defence it does not."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hil.judging.verdict import Is, never
from tests.hil.faults import defences as d
from tests.hil.faults.stand import Case, Mutant, misses, passes, played
from twin.fault import Subject
from twin.faults import KINDS
from twin.node import Fault

WARM = "M104 S100\nG28 X\nM109 S100\nG1 X30 F6000\nG4 S60\nM84\n"
LUKEWARM = WARM.replace("100", "60")
HOME = "G28 X\nG1 X30 F6000\nM84\n"
HOTEND = "printer-1.hotend_sensor"
SWITCH = "printer-1.x_endstop"


def lying(kind: str, runs: float, without: Mutant, *requires: Any, **more: Any) -> Case:
    """A hotend's sensor lies from 6 s on, while the hotend warms up."""
    given = {"target": HOTEND, "program": WARM, "at": 6.0, **more}
    return Case(kind=f"sensor-{kind}", runs=runs, without=without, requires=requires, **given)


BAD_READING = (d.latches(Fault.SENSOR, 3.0), d.no_power("hotend", 3.0), d.aborts(3.0), d.no_hotter("hotend", 60))
UNNOTICED = (d.latches(Fault.HEATER_STUCK, 24.0), d.no_power("hotend", 24.0), d.no_hotter("hotend", 140))
NOT_HOMED = (d.latches(Fault.HOMING, 6.0), d.aborts(6.0), d.NEVER_DONE)

ALL = (
    lying("stuck", 32.0, d.NO_GAIN, *UNNOTICED),
    lying("frozen", 32.0, d.NO_GAIN, *UNNOTICED),
    lying("swapped", 32.0, d.NO_GAIN, *UNNOTICED),
    lying("open", 12.0, d.NO_SENSOR, *BAD_READING),
    lying("short", 12.0, d.NO_SENSOR, *BAD_READING),
    lying("dropout", 12.0, d.NO_SENSOR, *BAD_READING),
    lying("loose-contact", 12.0, d.NO_SENSOR, *BAD_READING, parameters={"share": 0.8, "slot": 0.3}),
    lying("gain", 12.0, d.NO_JUMP, *BAD_READING, parameters={"factor": 0.6}),
    lying("drift", 20.0, d.NO_SENSOR, d.latches(Fault.SENSOR, 12.0), d.no_hotter("hotend", 80), parameters={"rate": 1500}),
    lying("delay", 36.0, d.NO_GAIN, d.latches(Fault.HEATER_STUCK, 28.0), d.no_hotter("hotend", 140), parameters={"delay": 25.0}),
    lying("bias", 45.0, d.NO_JUMP, d.latches(Fault.SENSOR, 2.0), d.no_power("hotend", 2.0), d.no_hotter("hotend", 106), at=40.0,
          parameters={"counts": 12_000}),
    lying("spike", 20.0, d.NO_PATIENCE, d.NO_LATCH, parameters={"counts": 65_535, "period": 1.0, "width": 0.1}),
    lying("noise", 40.0, d.NO_SMOOTHING, d.NO_LATCH, d.keeps("hotend", 60, 4, 20.0), program=LUKEWARM, parameters={"counts": 500}),
    lying("quantise", 45.0, d.NO_SLOPE, d.NO_LATCH, d.no_hotter("hotend", 104), d.keeps("hotend", 100, 4, 30.0)),
    lying("stuck-on", 8.0, d.NO_RELEASE, *NOT_HOMED, target=SWITCH, program=HOME, at=0.0),
    lying("inverted", 8.0, d.NO_RELEASE, *NOT_HOMED, target=SWITCH, program=HOME, at=0.0),
    lying("stuck-off", 8.0, d.NO_TRAVEL, *NOT_HOMED, target=SWITCH, program=HOME, at=0.0),
    lying("chatter", 8.0, d.NO_DEBOUNCE, never("one part counts once", "belt/parts", lambda parts: parts > 1), d.done(8.0),
          target="belt.at_exit", program="convey", at=0.0),
    lying("flicker", 8.0, d.NO_WISH, never("once done it stays done", "order", Is("HELD")), d.rests(4.0), d.done(4.0),
          target="belt.at_exit", program="convey", at=0.0),
)  # fmt: skip
CASES: Mapping[str, Case] = {case.kind: case for case in ALL}


def test_every_kind_has_its_case() -> None:
    assert {kind.name for kind in KINDS.values() if kind.subject is Subject.SENSOR} == set(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_a_sensor_lies_and_the_factory_stays_safe(kind: str, tmp_path: Path, record_property: Any) -> None:
    record_property("fault-kind", kind)
    passes(CASES[kind], tmp_path)


@pytest.mark.parametrize("kind", CASES)
def test_a_sensor_lies_and_without_the_defence_the_factory_is_not_safe(kind: str, tmp_path: Path) -> None:
    misses(CASES[kind], "test_sensors", tmp_path)


def test_chance_strikes_the_same_way_twice(tmp_path: Path) -> None:
    case = CASES["sensor-loose-contact"]
    assert played(case, tmp_path / "1").digest == played(case, tmp_path / "2").digest


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_a_contact_that_is_loose_for_moments_does_not_make_the_block_hotter(share: float, tmp_path: Path) -> None:
    parameters = {"share": share, "slot": 0.01}
    loose = {"at": 40.0, "runs": 60.0, "parameters": parameters, "requires": (d.no_hotter("hotend", 103),)}
    passes(dataclasses.replace(CASES["sensor-loose-contact"], **loose), tmp_path)
