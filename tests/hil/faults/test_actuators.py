"""Every way in which an output fails: it strikes, the factory stays safe, and without the defence it does not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hil.judging.verdict import Requirement
from tests.hil.faults import defences as d
from tests.hil.faults.stand import Case, Mutant, misses, passes
from twin.fault import Subject
from twin.faults import KINDS
from twin.machines.printer import plant
from twin.node import Fault
from twin.trace import Trace

WARM = "M104 S100\nG28 X\nM109 S100\nG1 X30 F6000\nM84\n"
HOME = "G28 X\nG1 X30 F6000\nM84\n"
TWICE = "G28 X\nG1 X30 F6000\nG1 X10\nG28 X\nG1 X5 F1200\nG4 S1\n"
NEAR = plant.Physics(start_position_mm=(8.0, 40.0, 20.0))
HOTEND, STREAM, RUN, SPEED = "printer-1.hotend_heater", "printer-1.frames", "belt.run", "belt.speed"


def failing(kind: str, target: str, runs: float, without: Mutant, *requires: Requirement, **more: Any) -> Case:
    """An output fails from the start on."""
    programs = {HOTEND: WARM, STREAM: HOME}
    given = {"program": programs.get(target, "convey"), **more}
    return Case(kind=kind, target=target, runs=runs, without=without, requires=requires, **given)


def agree(trace: Trace) -> tuple[bool, str]:
    """Whether the node's place of the X axis is the carriage's."""
    told, true = trace.last("printer-1/x"), trace.last("printer-1/plant/position_mm")
    return abs(told * 1000 - true[0]) < 0.05, f"the node says {told * 1000:.3f} mm, the carriage is at {true[0]:.3f} mm"


COLD = (d.latches(Fault.HEATER_STUCK, 24.0), d.no_power("hotend", 24.0), d.aborts(24.0))
HOT = (d.latches(Fault.HEATER_STUCK, 30.0), d.no_power("hotend", 30.0))
NOT_HOMED = (d.latches(Fault.HOMING, 6.0), d.aborts(6.0), d.NEVER_DONE)
HOMED = (Requirement("the axes' zero is found anew", agree), d.NO_LATCH)
HELD = (d.held(6.0), d.NEVER_DONE)
STOPS = (d.done(4.0), d.rests(3.0))

ALL = (
    failing("output-stuck-on", RUN, 5.0, d.NO_SET_POINT, *STOPS),
    failing("output-frozen", RUN, 5.0, d.NO_SET_POINT, *STOPS, at=1.0),
    failing("output-delayed", RUN, 5.0, d.NO_SET_POINT, *STOPS, parameters={"delay": 0.9}),
    failing("duty-slow", SPEED, 7.0, d.NO_RUN, d.done(5.0), d.rests(4.0), parameters={"rate": 0.2}),
    failing("output-stuck-off", RUN, 7.0, d.NO_DEADLINE, *HELD),
    failing("output-inverted", RUN, 7.0, d.NO_DEADLINE, *HELD),
    failing("output-intermittent", RUN, 7.0, d.NO_DEADLINE, *HELD, parameters={"share": 0.97}),
    failing("duty-stuck", HOTEND, 36.0, d.NO_STUCK, *HOT, program=WARM.replace("100", "60")),
    failing("duty-inverted", HOTEND, 26.0, d.NO_STUCK, *HOT, program=HOME),
    failing("duty-weak", HOTEND, 30.0, d.NO_GAIN, *COLD, parameters={"share": 0.03}),
    failing("duty-limited", HOTEND, 30.0, d.NO_GAIN, *COLD, parameters={"share": 0.03}),
    failing("steps-missed", STREAM, 14.0, d.NO_ZERO, *HOMED, program=TWICE, physics=NEAR, at=2.15, lasts=0.7),
    failing("steps-extra", STREAM, 14.0, d.NO_ZERO, *HOMED, program=TWICE, physics=NEAR, at=2.15, lasts=0.7),
    failing("axis-dead", STREAM, 8.0, d.NO_TRAVEL, *NOT_HOMED),
    failing("axis-reversed", STREAM, 8.0, d.NO_TRAVEL, *NOT_HOMED),
    failing("axes-swapped", STREAM, 8.0, d.NO_TRAVEL, *NOT_HOMED),
)
CASES: Mapping[str, Case] = {case.kind: case for case in ALL}


def test_every_kind_has_its_case() -> None:
    assert {kind.name for kind in KINDS.values() if kind.subject is Subject.ACTUATOR} == set(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_an_output_fails_and_the_factory_stays_safe(kind: str, tmp_path: Path, record_property: Any) -> None:
    record_property("fault-kind", kind)
    passes(CASES[kind], tmp_path)


@pytest.mark.parametrize("kind", CASES)
def test_an_output_fails_and_without_the_defence_the_factory_is_not_safe(kind: str, tmp_path: Path) -> None:
    misses(CASES[kind], "test_actuators", tmp_path)
