"""Every way in which a machine itself fails: it strikes, the factory stays safe, and without the defence it does not."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.alarms import AlarmRaised
from hil.faults import FaultOn
from hil.judging.verdict import Is, Requirement, happened, responds
from tests.hil.faults import defences as d
from tests.hil.faults.stand import Case, Mutant, misses, passes
from tests.hil.faults.test_actuators import HELD, HOME, HOMED, NEAR, NOT_HOMED, TWICE, WARM
from twin.clock import ns
from twin.fault import Subject
from twin.faults import KINDS
from twin.machines.printer import plant
from twin.node import Fault, JobState
from twin.plant import PartArrived

BRISK = plant.Physics(hotend=replace(plant.HOTEND, power=100.0))
LASTING = WARM.replace("M84", "G4 S60\nM84")
FEEDING = "G28 X\nM83\nG1 X40 E20 F600\nG1 X10 E20\nM84\n"


def failing(kind: str, target: str, runs: float, without: Mutant, *requires: Requirement, **more: Any) -> Case:
    """A machine fails from the start on."""
    given = {"program": HOME if target == "printer-1" else "convey", **more}
    return Case(kind=kind, target=target, runs=runs, without=without, requires=requires, **given)


def warm(kind: str, without: Mutant, *requires: Requirement, **more: Any) -> Case:
    """A heater fails when it has held its target for a while."""
    given = {"runs": 40.0, "program": LASTING, "physics": BRISK, "at": 20.0, **more}
    return Case(kind=kind, target="printer-1", without=without, requires=requires, **given)


RUN_OFF = responds("the belt's run pin is low", FaultOn, "belt/pin/run", Is(0), ns(0.7))
TRIPPED = (
    RUN_OFF,
    d.latches(Fault.INTERLOCK, 0.9, d.BELT_NODE),
    happened("an operator is told", AlarmRaised),
    d.held(1.0),
)
ALL = (
    failing("belt-jammed", "belt", 4.0, d.NO_INTERLOCK, *TRIPPED, at=1.0),
    failing("heavy-load", "belt", 4.0, d.NO_INTERLOCK, *TRIPPED, at=1.0),
    failing("drive-trips", "belt", 4.0, d.NO_INTERLOCK, *TRIPPED, at=1.0, lasts=0.5),
    failing("belt-slips", "belt", 7.0, d.NO_DEADLINE, *HELD, parameters={"share": 0.1}),
    failing("belt-slow", "belt", 7.0, d.NO_DEADLINE, *HELD, parameters={"share": 0.1}),
    failing("part-taken", "belt", 7.0, d.NO_DEADLINE, *HELD, at=1.0),
    failing("barrier-shifted", "belt", 7.0, d.NO_DEADLINE, *HELD),
    failing("part-pushed-back", "belt", 7.0, d.NO_ARRIVAL, happened("it arrives", FaultOn, PartArrived), d.done(4.0), at=1.2),
    failing("part-appears", "belt", 3.0, d.NO_WISH, d.NEVER_RUNS, program="", at=0.5),
    failing("heater-weak", "printer-1", 30.0, d.NO_GAIN, d.latches(Fault.HEATER_STUCK, 24.0), d.aborts(24.0), program=WARM),
    failing("axis-blocked", "printer-1", 8.0, d.NO_TRAVEL, *NOT_HOMED),
    failing("carriage-pushed", "printer-1", 14.0, d.NO_ZERO, *HOMED, program=TWICE, physics=NEAR, at=2.6),
    failing("motor-weak", "printer-1", 14.0, d.NO_ZERO, *HOMED, program=TWICE, physics=NEAR, at=2.15, parameters={"rate": 6000.0}),
    failing("spool-empty", "printer-1", 9.0, d.NO_FILAMENT, happened("an operator is told", AlarmRaised), d.NEVER_DONE,
            responds("the Job holds", FaultOn, f"{d.NODE}/job_state", Is(JobState.HOLDING), ns(2.0)), program=FEEDING, at=4.5),
    warm("heater-stuck-on", d.NO_STUCK, d.latches(Fault.HEATER_STUCK, 24.0), d.no_hotter("hotend", 200), parameters={"duty": 0.5}),
    warm("thermistor-out", d.NO_LOSS, d.latches(Fault.HEATER_STUCK, 15.0), d.no_hotter("hotend", 150)),
    warm("thermistor-slow", d.NO_SLOPE, d.NO_LATCH, d.keeps("hotend", 100, 5, 15.0)),
    warm("draught", d.NO_INTEGRAL, d.NO_LATCH, d.keeps("hotend", 100, 1, 18.0), parameters={"factor": 8.0}),
    warm("ambient-shift", d.NO_LOOP, d.NO_LATCH, d.keeps("hotend", 100, 2, 20.0), parameters={"ambient": -30.0}),
)  # fmt: skip
CASES: Mapping[str, Case] = {case.kind: case for case in ALL}


def test_every_kind_has_its_case() -> None:
    assert {kind.name for kind in KINDS.values() if kind.subject is Subject.PLANT} == set(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_a_machine_fails_and_the_factory_stays_safe(kind: str, tmp_path: Path, record_property: Any) -> None:
    record_property("fault-kind", kind)
    passes(CASES[kind], tmp_path)


@pytest.mark.parametrize("kind", CASES)
def test_a_machine_fails_and_without_the_defence_the_factory_is_not_safe(kind: str, tmp_path: Path) -> None:
    misses(CASES[kind], "test_plants", tmp_path)
