"""Homing and probing against a plant: held anywhere, and with what does not close, does not open or is not there."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hil.driver import Driver
from hil.rig import Rig
from tests.firmware.carriage.plant import TOUCH, Physics
from tests.firmware.carriages import Carriage, job_of, limits_of, one_carriage
from tests.hil.jobs import one_printer
from twin import motion
from twin.clock import MS, Ns, S
from twin.machines.printer.spec import Command
from twin.node import Fault, JobState, Op, Reason

HOME = "G28 X Z\nG1 X12.5 Z1 F3000\n"
PROBE = "G28 X\nG1 X20 F3000\nG38.2 X60\nG1 X25\n"
STEPS_PER_MM = 80
PER_MM = {"x": 80, "z": 400}
NEAR_S = 0.02
SLOW = 5.0  # mm/s


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(one_carriage(), tmp_path) as made:
        yield made


def agrees(carriage: Carriage, axes: str = "xz") -> bool:
    """Whether the axes are, within a step, where the node says."""
    off = [getattr(carriage.shown, a) * 1000 * PER_MM[a] - carriage.state.position["xyz".index(a)] for a in axes]
    return max(map(abs, off)) <= 1.01 and not carriage.state.lost.any()


@pytest.mark.parametrize("start_mm", [60.0, 217.0])
def test_a_homing_that_is_held_at_any_moments_finds_the_same_zero_and_no_step_is_dropped(tmp_path: Path, start_mm: float) -> None:
    chance = np.random.default_rng(round(start_mm))
    with Rig(one_carriage(), tmp_path, physics={"c": Physics(start_position_mm=(start_mm, 40.0, 20.0))}) as rig:
        carriage = Carriage(rig, job_of(rig.factory, HOME))
        holds = 0
        while not carriage.node.homed and carriage.node.job_state is not JobState.ABORTED:
            rig.run(Ns(rig.now + round(chance.uniform(0.05, 0.6) * S)))
            carriage.go(False)
            rig.run(Ns(rig.now + round(chance.uniform(0.1, 0.4) * S)))
            still = carriage.state.position.copy() if carriage.node.job_state is JobState.HOLDING else None
            rig.run(Ns(rig.now + 100 * MS))
            if still is not None:
                assert (carriage.state.position == still).all()
                holds += 1
            carriage.go(True)
        assert carriage.ended() is JobState.DONE and holds >= 3
        assert agrees(carriage) and carriage.node.underruns == 0


def test_a_homing_that_is_stopped_slows_down_and_the_next_one_is_right(rig: Rig) -> None:
    carriage = Carriage(rig, job_of(rig.factory, HOME))
    words = carriage.words()
    carriage.driver.until(lambda: carriage.node.homing and carriage.state.position[0] < 50 * STEPS_PER_MM, Ns(20 * S))
    carriage.driver.op(Op.STOP)
    assert carriage.ended() is JobState.ABORTED and not carriage.node.homed
    frames = np.concatenate(words)
    at = np.flatnonzero(frames & ~np.concatenate(([0], frames[:-1])).astype(np.uint32) & 1)
    assert np.diff(at).min() == 1e5 / (50 * STEPS_PER_MM), "it was at speed"
    slows = int(np.flatnonzero(np.diff(at) == 25)[-1])
    assert (np.diff(at[slows::4]) >= np.diff(at[slows - 4 : -4 : 4])).all(), "every four steps take longer than the four before"
    assert (at[-1] - at[slows]) * 1e-5 >= 0.8 * 50 * STEPS_PER_MM / 240_000, "it is a ramp, not a jolt"
    carriage.play(job_of(rig.factory, HOME), number=8)
    assert carriage.ended() is JobState.DONE and agrees(carriage)


def test_an_axis_without_steps_goes_to_its_zero_by_its_set_point(rig: Rig) -> None:
    carriage = Carriage(rig, job_of(rig.factory, "G28\nG1 Y30 F3000\nG28 Y\nG1 Y5\n"))
    assert carriage.ended() is JobState.DONE
    rig.run(Ns(rig.now + S))
    assert carriage.shown.y == pytest.approx(0.005)
    duties = [value for _, value in rig.trace.series["c/pin/y"]]
    low, span, steps = 0.05 * 65535, 0.9 * 65535, 220 * STEPS_PER_MM
    assert max(duties) == pytest.approx(low + span * 2400 / steps, abs=1.5)
    assert duties[-1] == pytest.approx(low + span * 400 / steps, abs=1.5)


# ---- probing


@pytest.mark.parametrize("held", [False, True])
def test_a_probing_tells_the_step_at_which_it_touched_and_comes_back(rig: Rig, held: bool) -> None:
    carriage = Carriage(rig, job_of(rig.factory, PROBE))
    carriage.driver.until(lambda: carriage.node.homed and abs(carriage.shown.x - 0.021) < 0.0005, Ns(30 * S))
    pace = rig.world.paces.setdefault("c", [])
    for _ in range(8 * held):
        rig.run(Ns(rig.now + 330 * MS))
        carriage.go(False)
        rig.run(Ns(rig.now + 250 * MS))
        carriage.go(True)
    assert carriage.ended() is JobState.DONE
    assert carriage.node.probed and not carriage.node.latched and carriage.node.underruns == 0
    assert abs(carriage.shown.touched * 80_000 - TOUCH) <= 1.01
    furthest = max(int(place[0]) for _, place in pace)
    assert TOUCH <= furthest <= TOUCH + NEAR_S * SLOW * STEPS_PER_MM + 1
    rig.run(Ns(rig.now + S))
    assert carriage.state.position[0] == 25 * STEPS_PER_MM and agrees(carriage, "x")


@pytest.mark.parametrize(
    ("program", "fault"), [(PROBE.replace("X60", "X30"), Fault.TRAVEL), (PROBE.replace("X20", "X40"), Fault.HOMING)]
)
def test_a_probing_that_touches_nothing_or_touched_before_it_began_is_a_fault(rig: Rig, program: str, fault: Fault) -> None:
    carriage = Carriage(rig, job_of(rig.factory, program))
    assert carriage.ended() is JobState.ABORTED
    assert (carriage.node.fault, carriage.node.latched, carriage.node.probed) == (fault, True, False)
    rig.run(Ns(rig.now + S))
    assert agrees(carriage, "x"), "not a step is lost by it"


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("G28\nG38.2 X60 Z2\n", "line 2: G38.2 probes along one of X, Y and Z"),
        ("G38.2 X60\n", "line 1: X probes before it is homed (G28)"),
        ("G28\nG38.2 X221\n", "line 2: X probes to 221 mm, outside the travel range 0 to 220 mm"),
        ("G28\nG1 X20 F600\nG91\nG38.2 X-21\n", "line 4: X probes to -1 mm, outside the travel range 0 to 220 mm"),
        ("G28\nG38.2 X0\n", "line 2: X stands where it is to probe to"),
    ],
)
def test_a_probing_that_makes_no_sense_is_refused_before_anything_moves(program: str, told: str) -> None:
    assert told in map(str, motion.plan(program, motion.Limits()).refusals)


def test_a_node_without_a_probe_refuses_to_probe(tmp_path: Path) -> None:
    with Rig(one_printer(), tmp_path) as rig:
        limits = limits_of(rig.factory.machines["printer-1"])
        job = motion.encode(motion.plan("G28 X\nG38.2 X60\n", limits), limits)
        driver = Driver.of(rig, "printer-1")
        driver.until(lambda: driver.status is not None and driver.status.leased, Ns(5 * S))
        driver.load(7, job)
        driver.until(lambda: driver.stored, Ns(9 * S))
        driver.commands["printer-1"] = Command(run=True)
        driver.op(Op.START, 7)
        driver.until(lambda: driver.status is not None and driver.status.job_state is JobState.ABORTED, Ns(20 * S))
        assert driver.status is not None and driver.status.job_fault is Reason.BAD_JOB
