"""Set points in step with the steps: a servo is told where the plan has its axis at that moment, and what follows silence."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from hil.rig import Rig
from tests.firmware.carriages import Carriage, job_of, limits_of, one_carriage
from twin import motion
from twin.clock import MS, Ns, S
from twin.factory import Factory
from twin.kernel import Floats
from twin.machine import Servo
from twin.node import TICK_MS, Fault, JobState, Op
from twin.wire import OFF

PROGRAM = "G28\nG1 X30 Y160 F12000\nG1 X60 Y20 F9000\nG1 X61 Y90 F6000\nG4 P100\nG1 Y88.3\n"
HOLDS = (1.9, 2.3, 2.9)
LOW, SPAN, STEPS = 0.05 * 65535, 0.9 * 65535, 220 * 80
FASTEST = 200.0  # mm/s of the program


def set_points(rig: Rig) -> tuple[Floats, Floats]:
    """When [s], and the millimetres that the set point stands for."""
    found = [(time, value) for time, value in rig.trace.series["c/pin/y"] if value]
    return np.array([time / S for time, _ in found]), np.array([(value - LOW) / SPAN * STEPS / 80 for _, value in found])


def test_a_set_point_is_never_further_from_the_plan_than_a_tick_of_motion(tmp_path: Path) -> None:
    with Rig(one_carriage(), tmp_path) as rig:
        carriage = Carriage(rig, job_of(rig.factory, PROGRAM))
        carriage.driver.until(lambda: carriage.node.homed, Ns(40 * S))
        homed = rig.now / S
        assert carriage.ended() is JobState.DONE
        times, places = set_points(rig)
        plan = motion.plan(PROGRAM, limits_of(rig.factory.machines["c"]))
    times, places = times[times > homed - 0.3], places[times > homed - 0.3]
    dense = np.arange(times[0], times[-1], 2e-3)
    held = places[np.searchsorted(times, dense, side="right") - 1]  # what the servo is told at any moment

    def off(begin: float) -> float:
        return float(np.abs(held - plan.position_at(dense - begin)[:, 1]).max())

    # Nobody tells when the motion began: the best fit is near where the homing ended.
    best = min(off(begin) for begin in np.arange(homed - 0.2, homed + 0.05, 2e-3))
    assert best <= FASTEST * TICK_MS * 1e-3 + 1 / 80 + 0.004, "a step and the duty's resolution beside"


def test_a_set_point_follows_what_was_played_through_holds_and_never_what_is_to_come(tmp_path: Path) -> None:
    with Rig(one_carriage(), tmp_path) as rig:
        carriage = Carriage(rig, job_of(rig.factory, PROGRAM.replace("F12000", "F3000")))
        carriage.driver.until(lambda: carriage.node.homed, Ns(40 * S))
        off: list[float] = []

        def apart() -> float:
            """mm between what the servo is told and what the same steps have made of Y in the plant, which began at 40 mm."""
            told = (rig.trace.last("c/pin/y") - LOW) / SPAN * STEPS
            return float(abs(told - carriage.state.position[1] + 40 * 80)) / 80

        for when in itertools.count():
            rig.run(Ns(rig.now + 17 * MS))
            carriage.go(when % 40 < 25)
            if carriage.node.job_state in (JobState.DONE, JobState.ABORTED):
                break
            off.append(apart())
        assert len(off) > 100 and max(off) <= FASTEST * TICK_MS * 1e-3 + 1 / 80 + 0.004
        assert carriage.node.job_state is JobState.DONE
        rig.run(Ns(rig.now + 100 * MS))
        assert apart() <= 1 / 80 + 0.004


def with_fallback_off() -> Factory:
    """The same carriage, whose servo lets go when its owner is silent."""
    factory = one_carriage()
    machine = factory.machines["c"]
    blocks = tuple(dataclasses.replace(b, silence=OFF) if isinstance(b, Servo) else b for b in machine.type.blocks)
    changed = dataclasses.replace(machine, type=dataclasses.replace(machine.type, blocks=blocks))
    return dataclasses.replace(factory, machines={"c": changed})


@pytest.mark.parametrize("lets_go", [False, True])
def test_in_silence_a_set_point_holds_or_ends_as_declared_when_the_axes_rest(tmp_path: Path, lets_go: bool) -> None:
    with Rig(with_fallback_off() if lets_go else one_carriage(), tmp_path) as rig:
        carriage = Carriage(rig, job_of(rig.factory, "G28 Y\nG1 Y40 F1200\n"))
        carriage.driver.until(lambda: carriage.shown.y > 0.03, Ns(40 * S))
        carriage.driver.silent = True
        rig.run(Ns(rig.now + 3 * S))
        duties = [(time, value) for time, value in rig.trace.series["c/pin/y"]]
        there = LOW + SPAN * 40 * 80 / STEPS
        highest = max(value for _, value in duties)
        assert abs(highest - there) <= 1.5, "the Job has been finished"
        assert (duties[-1][1] == 0) is lets_go
        carriage.driver.silent = False
        carriage.driver.until(lambda: carriage.node.leased and carriage.node.fault is Fault.SILENCE, Ns(5 * S))
        carriage.go(False)
        rig.run(Ns(rig.now + 300 * MS))
        carriage.driver.op(Op.RESET)
        carriage.driver.until(lambda: not carriage.node.latched, Ns(2 * S))
        carriage.play(job_of(rig.factory, "G28 Y\nG1 Y41 F1200\n"), number=8)
        assert carriage.ended() is JobState.DONE
        assert abs(rig.trace.series["c/pin/y"][-1][1] - there - SPAN * 80 / STEPS) <= 1.5
