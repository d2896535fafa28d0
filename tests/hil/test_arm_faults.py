"""Faults of an arm's pins by their names: whatever a sensor says or an output does, the node ends latched and the arm rests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hil.faults import FaultFired, arm
from hil.rig import Rig
from tests.hil.arms import Played, Way, home_of, one_arm
from twin.clock import Ns, S
from twin.fault import Fault as Failure
from twin.faults.pins import FRAMES, outputs_of, sensors_of
from twin.machine import load
from twin.machines.arm.plant import Physics
from twin.machines.arm.spec import JOINTS
from twin.motion.arm import ArmOpKind
from twin.node import Fault, JobState, Reason


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(one_arm(), tmp_path) as made:
        yield made


def test_every_pin_of_an_arm_can_be_faulty() -> None:
    kind = load("arm")
    sensors, outputs = sensors_of(kind), outputs_of(kind)
    assert {*sensors, *outputs} == {*kind.pins, FRAMES} - {"i2s_clock", "i2s_latch", "i2s_data"}
    assert {*sensors} == {"holding", "tripped", *(f"{joint}_cam" for joint in JOINTS)}


@pytest.mark.parametrize(
    ("kind", "pin", "given", "faults"),
    [
        ("sensor-stuck-off", "elbow_cam", {}, {Fault.INTERLOCK}),  # the joint runs into its stop, and the drives trip
        ("sensor-stuck-on", "tripped", {}, {Fault.INTERLOCK}),
        ("output-stuck-off", "motors", {}, {Fault.HOMING}),  # the whole way, and no edge
        ("axis-dead", "frames", {}, {Fault.HOMING}),
        ("axis-dead", "frames", {"axis": 5.0}, {Fault.HOMING}),
    ],
)
def test_an_arm_that_cannot_be_homed_latches_and_rests(
    rig: Rig, kind: str, pin: str, given: dict[str, float], faults: set[Fault]
) -> None:
    arm(rig, [Failure(at=Ns(0), kind=kind, target=f"arm-1.{pin}", parameters=given)], seed=1)
    played = Played(rig, Way(rig.factory.machines["arm-1"]).job)
    played.driver.until(lambda: played.node.latched, Ns(120 * S))
    assert played.node.fault in faults and any(rig.trace.of(FaultFired))
    rig.run(Ns(rig.now + S))
    rests = played.state.angles.copy()
    rig.run(Ns(rig.now + S))
    assert played.node.job_state is JobState.ABORTED and not played.node.homed
    assert np.abs(played.state.angles - rests).max() < 1e-4


def test_a_sensor_that_always_says_holding_is_noticed_before_the_arm_moves(rig: Rig) -> None:
    machine = rig.factory.machines["arm-1"]
    arm(rig, [Failure(at=Ns(0), kind="sensor-stuck-on", target="arm-1.holding")], seed=1)
    played = Played(rig, Way(machine).op(ArmOpKind.RELEASE).to(home_of(machine) + 0.1, 0.8).job)
    assert played.ended() is JobState.ABORTED and played.node.job_fault is Reason.NOT_AS_EXPECTED
    assert np.abs(played.state.angles - Physics().start).max() < 0.001
