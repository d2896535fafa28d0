"""Real firmware moves an arm's plant: along its path, held, cut off, homed, and with nothing between its jaws."""

import dataclasses
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hil.rig import Rig
from tests.hil.arms import Played, Way, home_of, one_arm
from twin.clock import MS, Ns, S
from twin.kernel import Floats
from twin.machines.arm import plant
from twin.machines.arm.spec import JOINTS, Command
from twin.motion.arm import ArmOpKind
from twin.motion.arm.job import JointOp
from twin.motion.job import HEADER
from twin.node import LEASE_MS, TICK_MS, Fault, JobState, Op, Reason
from twin.trace import Trace

TRACKING = 0.0025
"""rad: how far a joint may be from where the plan has it at that moment, a homing's error of half a millirad included."""
STEP = 2 * np.pi / 64_000
AWAY = np.array([1.2, 0.6, -1.0, 1.5, -1.0, 2.0])


def angles(trace: Trace, since: Ns) -> tuple[Floats, Floats]:
    """When [s], and (k, 6) where the joints themselves were."""
    found = [(time, value) for time, value in trace.series["arm-1/plant/angles"] if time >= since]
    return np.array([time / S for time, _ in found]), np.array([value for _, value in found])


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(one_arm(), tmp_path) as made:
        yield made


def way_of(rig: Rig) -> Way:
    return Way(rig.factory.machines["arm-1"])


def test_a_job_moves_the_joints_as_planned_and_no_step_is_lost(rig: Rig) -> None:
    way = way_of(rig)
    home = home_of(rig.factory.machines["arm-1"])
    way.to(home + AWAY, 1.2).to(home, 1.6)
    arm = Played(rig, way.job)
    arm.driver.until(lambda: arm.node.homed, Ns(30 * S))
    homed = rig.now
    assert arm.ended() is JobState.DONE
    plan = way.plan.trajectory
    when, places = angles(rig.trace, homed)

    def off(begin: float) -> float:
        """How far any joint ever is from the plan, if it began then."""
        return max(float(np.abs(np.interp(when - begin, plan.time, plan.q[:, k]) - places[:, k]).max()) for k in range(6))

    # Nobody tells when the motion began: the best fit is near where the homing ended.
    best = min(off(begin) for begin in np.arange(homed / S - 0.2, homed / S + 0.2, 0.001))
    assert best < TRACKING, best
    assert arm.state.lost == 0 and arm.node.underruns == 0
    assert np.abs(arm.state.angles - home).max() < 0.001


def test_homing_finds_the_same_zero_from_either_side(tmp_path: Path) -> None:
    found = []
    for side, start in enumerate(((0.25, -1.75, 0.2, -1.4, -0.2, 0.3), (-0.3, -1.2, -0.25, -1.9, 0.3, -0.2))):
        with Rig(one_arm(), tmp_path / str(side), physics={"arm-1": plant.Physics(start=start)}) as rig:
            arm = Played(rig, way_of(rig).job)
            assert arm.ended() is JobState.DONE and arm.node.homed
            rig.run(Ns(rig.now + S))
            found.append(arm.state.angles.copy())
            assert np.abs(found[-1] - home_of(rig.factory.machines["arm-1"])).max() < 5 * STEP
    assert np.abs(found[0] - found[1]).max() < 5 * STEP


def from_path(places: Floats, path: Floats) -> float:
    """How far any place is from the nearest point of a path [rad], both (k, 6)."""
    return max(float(np.abs(path - place).max(axis=1).min()) for place in places)


def test_an_arm_that_is_held_rests_on_its_path_and_goes_on_along_it(rig: Rig) -> None:
    home = home_of(rig.factory.machines["arm-1"])
    arm = Played(rig, (way := way_of(rig).to(home + AWAY, 1.6)).job)
    arm.driver.until(lambda: arm.node.job_chunks > 0.4 / 40e-6, Ns(30 * S))
    since = rig.now
    for _ in range(3):
        arm.driver.commands["arm-1"] = Command(run=False)
        arm.driver.until(lambda: arm.node.job_state is JobState.HOLDING, Ns(2 * S))
        rig.run(Ns(rig.now + 600 * MS))
        rests = arm.state.angles.copy()
        rig.run(Ns(rig.now + 200 * MS))
        assert np.abs(arm.state.angles - rests).max() < 1e-4
        arm.driver.commands["arm-1"] = Command(run=True)
        rig.run(Ns(rig.now + 300 * MS))
    assert arm.ended() is JobState.DONE
    _, places = angles(rig.trace, since)
    q = way.plan.trajectory.q
    dense = np.array([np.interp(np.linspace(0, len(q) - 1, 8 * len(q)), np.arange(len(q)), q[:, k]) for k in range(6)]).T
    assert from_path(places, dense) < TRACKING
    assert arm.state.lost == 0 and np.abs(arm.state.angles - home - AWAY).max() < 0.001


def test_a_cut_link_stops_the_arm_in_its_lease_and_it_goes_on_only_from_where_it_is(tmp_path: Path) -> None:
    with Rig(one_arm(), tmp_path, links=True) as rig:
        machine = rig.factory.machines["arm-1"]
        home = home_of(machine)
        arm = Played(rig, way_of(rig).to(home + AWAY, 2.4).job)
        arm.driver.until(lambda: arm.node.job_chunks > 0.4 / 40e-6, Ns(30 * S))
        pace = rig.world.paces.setdefault("arm-1", [])
        cut = rig.now
        rig.cut("arm-1")
        rig.run(Ns(rig.now + 1500 * MS))
        stopped = arm.state.angles.copy()
        decelerates(pace, machine.type.limits(machine.params).acceleration[0], cut)  # type: ignore[misc]
        rig.heal("arm-1")
        arm.driver.until(lambda: arm.node.leased and arm.node.fault is Fault.SILENCE, Ns(5 * S))
        rig.run(Ns(rig.now + S))
        assert arm.node.job_state is JobState.ABORTED and arm.node.homed
        assert np.abs(arm.state.angles - stopped).max() < 1e-4 and arm.state.lost == 0
        there = told(arm)
        assert np.abs(there - stopped).max() < 5 * STEP
        arm.driver.commands["arm-1"] = Command()
        rig.run(Ns(rig.now + 300 * MS))
        arm.driver.op(Op.RESET)
        arm.driver.until(lambda: not arm.node.latched, Ns(2 * S))
        arm.play(Way(machine, there).to(home, 1.2).job, 8)
        assert arm.ended() is JobState.DONE
        arm.play(Way(machine, there).to(home, 1.2).job, 9)
        assert arm.ended() is JobState.ABORTED, "it was made for an arm that stands elsewhere"
        assert arm.node.job_fault is Reason.NOT_AS_EXPECTED and np.abs(arm.state.angles - home).max() < 0.001


def told(arm: Played) -> Floats:
    """(6,) where the node says that the joints are [rad]."""
    status = arm.driver.machine("arm-1")
    return np.array([getattr(status, joint) for joint in JOINTS])


def decelerates(pace: list[tuple[Ns, Floats]], acceleration: float, cut: Ns) -> None:
    """At rest in its lease and the time of a gentle stop after the cut, and never braked harder than a hold may."""
    times, steps = np.array([time for time, _ in pace]) / S, np.array([place for _, place in pace])
    even = np.arange(times[0], times[-1], 0.01)
    speeds = np.diff([np.interp(even, times, steps[:, k]) for k in range(6)]) * STEP / 0.01
    late = (LEASE_MS + TICK_MS) * 1e-3 + cut / S
    speed = np.abs(speeds[:, even[:-1] < late]).max()
    assert speed > 0.5, "it was moving"
    assert not speeds[:, even[:-1] > late + speed / acceleration + 0.05].any()
    assert np.abs(np.diff(speeds)).max() / 0.01 < 1.1 * acceleration + 4 * STEP / 0.01**2


def test_a_job_that_finds_nothing_between_the_jaws_is_given_up_and_the_jaws_stay_as_they_are(rig: Rig) -> None:
    home = home_of(rig.factory.machines["arm-1"])
    way = way_of(rig).op(ArmOpKind.RELEASE).to(home + 0.1 * AWAY, 0.8).op(ArmOpKind.GRIP).to(home, 0.8)
    arm = Played(rig, way.job)
    arm.driver.until(lambda: arm.state.opening, Ns(30 * S))
    assert arm.ended() is JobState.ABORTED
    assert (arm.node.fault, arm.node.job_fault, arm.node.latched) == (Fault.JOB, Reason.NOT_AS_EXPECTED, True)
    rig.run(Ns(rig.now + S))
    assert np.abs(arm.state.angles - home - 0.1 * AWAY).max() < 0.001, "it stays where it found nothing"
    assert not arm.driver.machine("arm-1").jaws_open and arm.state.width == 0.0


def test_jaws_stay_open_when_the_job_that_opened_them_is_stopped(rig: Rig) -> None:
    home = home_of(rig.factory.machines["arm-1"])
    arm = Played(rig, way_of(rig).op(ArmOpKind.RELEASE).to(home + 0.2 * AWAY, 1.6).job)
    arm.driver.until(lambda: arm.node.job_chunks > 0.8 / 40e-6, Ns(30 * S))
    arm.driver.op(Op.STOP)
    assert arm.ended() is JobState.ABORTED
    rig.run(Ns(rig.now + 2 * S))
    assert arm.driver.machine("arm-1").jaws_open and arm.state.width == pytest.approx(0.06)


def test_drives_that_trip_stop_the_arm_and_it_must_be_homed_again(rig: Rig) -> None:
    machine = rig.factory.machines["arm-1"]
    home = home_of(machine)
    arm = Played(rig, way_of(rig).to(home + AWAY, 2.4).job)
    arm.driver.until(lambda: arm.node.job_chunks > 0.6 / 40e-6, Ns(30 * S))

    def weak(state: plant.State, params: object) -> plant.State:
        return plant.under(state, params, dataclasses.replace(state.physics, torque=(1.0, 0.05, 1.0, 1.0, 1.0, 1.0)))  # type: ignore[arg-type]

    rig.world.touch("arm-1", weak, rig.now)
    assert arm.ended() is JobState.ABORTED
    assert arm.state.tripped and arm.node.fault is Fault.INTERLOCK and not arm.node.homed
    rig.world.touch("arm-1", lambda state, params: plant.reset(plant.under(state, params, plant.Physics())), rig.now)
    arm.driver.commands["arm-1"] = Command()
    rig.run(Ns(rig.now + 300 * MS))
    arm.driver.op(Op.RESET)
    arm.driver.until(lambda: not arm.node.latched, Ns(2 * S))
    arm.play(Way(machine, told(arm)).to(home, 1.6).job, 8)
    assert arm.ended() is JobState.ABORTED and arm.node.job_fault is Reason.NOT_AS_EXPECTED, "the steps say so, but not the joints"


OP = struct.Struct("<HBBi")


@pytest.mark.parametrize(
    "wrong",
    [
        bytes((0, 4)) + bytes(10),  # no chunks
        OP.pack(0, JointOp.SET, 1, 1),
        OP.pack(0, JointOp.EXPECT, 2, 0),
        OP.pack(0, JointOp.AT, 6, 0),
        OP.pack(0, JointOp.HOME, 1, 0),
        bytes((5, 0, 0, 1)),  # cut short
    ],
)
def test_an_arms_job_that_is_wrong_inside_is_given_up(rig: Rig, wrong: bytes) -> None:
    whole = way_of(rig).job
    head = list(HEADER.unpack_from(whole))
    head[-2:] = len(wrong), zlib.crc32(wrong)
    arm = Played(rig, HEADER.pack(*head) + wrong)
    assert arm.ended() is JobState.ABORTED
    assert (arm.node.job_fault, arm.node.latched, arm.node.boot_id) == (Reason.BAD_JOB, True, 1)


def test_a_printers_job_is_none_for_an_arm(rig: Rig) -> None:
    arm = Played(rig, job := way_of(rig).job)
    assert arm.ended() is JobState.DONE
    arm.driver.load(8, b"LSJ1" + job[4:])
    arm.driver.until(lambda: arm.driver.stored, Ns(20 * S))
    arm.driver.op(Op.START, 8)
    arm.driver.until(lambda: arm.node.reason is Reason.BAD_JOB, Ns(2 * S))
    assert arm.node.job_state is JobState.DONE, "it has not begun"
