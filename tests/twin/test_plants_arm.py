"""The arm's plant: its bodies against pinocchio, its drives against what is asked of them, its brakes and its cost."""

import dataclasses
import math
from typing import Any

import numpy as np
import pinocchio as pin
import pytest

from tests.twin.kinematics.peers import pin_model
from twin.clock import MS, Ns, S
from twin.kernel import Floats, Words
from twin.kinematics.ur5e import ur5e
from twin.machine import load, make_params
from twin.machines.arm import plant
from twin.machines.arm.spec import JOINTS

KIND = load("arm")
PARAMS = make_params(KIND.params, {})
PER_RAD = KIND.steps(PARAMS).per_rad[0]  # type: ignore[misc]
PIECE = Ns(10 * MS)
LOOSE = plant.Physics(viscous=(0.0,) * 6, coulomb=(0.0,) * 6, brake=(0.0,) * 6)


def after(state: plant.State, pins: dict[str, Any], seconds: float, piece: Ns = PIECE) -> plant.State:
    """The arm some time later; a step stream comes in pieces."""
    words: Words = pins.get("frames", plant.SILENT)
    end, done = Ns(round(seconds * S)), 0
    while done < end:
        dt = min(piece, end - done)
        now = {**pins, "frames": words[done // plant.FRAME : (done + dt) // plant.FRAME]}
        state, _ = plant.step(state, PARAMS, now, Ns(dt))
        done += dt
    return state


def curve(way: Floats, seconds: float, at: Floats) -> Floats:
    """(k, 6) of a motion without jolts at times (k,) [s]."""
    u = np.clip(at / seconds, 0.0, 1.0)
    return np.outer(u**3 * (10 - 15 * u + 6 * u * u), way)


def stream(way: Floats, seconds: float) -> Words:
    """The step stream of that motion."""
    places = np.floor(curve(way, seconds, (np.arange(round(seconds * 1e5)) + 1) * 1e-5) * PER_RAD + 0.5).astype(np.int64)
    steps = np.diff(places, axis=0, prepend=0)
    bits = 2 * np.arange(6)
    return (((steps != 0) << bits) | ((steps > 0) << bits + 1)).sum(axis=1).astype(np.uint32)


def test_an_arm_whose_brakes_are_gone_falls_as_pinocchio_says() -> None:
    model = pin_model(ur5e())
    model.armature = np.array(LOOSE.rotor)
    scratch = model.createData()
    q, v, dt = np.array(LOOSE.start), np.zeros(6), 1e-5
    for _ in range(30_000):
        v = v + dt * pin.aba(model, scratch, q, v, np.zeros(6))
        q = q + dt * v
    state = plant.start(PARAMS, LOOSE)
    state, _ = plant.step(state, PARAMS, {"motors": 1}, Ns(0))
    found = after(state, {"motors": 0}, 0.3)
    assert np.abs(q - LOOSE.start).max() > 0.1, "it falls"
    assert np.abs(found.angles - q).max() < 2e-3 * np.abs(q - LOOSE.start).max() + 1e-3 * np.abs(v).max()


def test_the_joints_follow_their_steps_at_full_speed() -> None:
    way, seconds = np.array([1.2, 0.6, -1.0, 1.5, -1.0, 2.0]), 1.2
    state = after(plant.start(PARAMS), {"motors": 1}, 1.0)
    begin, words = state.angles.copy(), stream(way, seconds)
    for k in range(round(seconds * 100)):
        pins = {"motors": 1, "frames": words[1000 * k : 1000 * k + 1000]}
        state, _ = plant.step(state, PARAMS, pins, Ns(10 * MS))
        off = state.angles - begin - curve(way, seconds, np.array([0.01 * (k + 1)]))[0]
        assert np.abs(off).max() < 0.001
    assert state.lost == 0 and not state.tripped
    assert (state.position == np.floor(way * PER_RAD + 0.5)).all()
    assert np.abs(after(state, {"motors": 1}, 1.0).angles - begin - way).max() < 1.0 / PER_RAD


def test_how_a_step_is_cut_makes_no_difference() -> None:
    words = stream(np.array([0.3, -0.2, 0.1, 0.4, -0.3, 0.2]), 0.4)
    pins = {"motors": 1, "frames": words}
    whole = after(plant.start(PARAMS), pins, 0.5, Ns(500 * MS))
    cut = after(plant.start(PARAMS), pins, 0.5, Ns(1_370_000))
    assert (whole.drives == cut.drives).all() and (whole.pending == cut.pending).all()


def test_steps_that_come_while_the_drives_are_off_are_lost_and_the_brakes_hold() -> None:
    state = plant.start(PARAMS)
    words = stream(np.array([0.05, -0.05, 0.0, 0.0, 0.0, 0.0]), 0.4)
    found = after(state, {"motors": 0, "frames": words}, 0.4)
    assert found.lost == 2 * round(0.05 * PER_RAD)
    assert np.abs(found.angles - state.angles).max() < 1e-4


def test_a_joint_that_cannot_follow_trips_the_drives_and_the_brakes_stop_it() -> None:
    weak = dataclasses.replace(plant.Physics(), torque=(1.0, 0.02, 1.0, 1.0, 1.0, 1.0))
    state = after(plant.start(PARAMS, weak), {"motors": 1, "frames": stream(np.full(6, 0.5), 0.6)}, 1.0)
    assert state.tripped and plant.sensors(state)["tripped"] == 1
    rested = after(state, {"motors": 1}, 1.0)
    assert rested.still and np.abs(rested.angles - state.angles).max() < 1e-3
    again = plant.under(plant.reset(rested), PARAMS, plant.Physics())
    assert not after(again, {"motors": 1}, 0.5).tripped, "the drives take the joints up where they are"


def test_no_motor_gives_more_than_its_torque_even_when_more_is_asked_for() -> None:
    state = after(plant.start(PARAMS), {"motors": 1}, 0.5)
    limit = np.array([joint.effort for joint in ur5e().joints])
    words = np.tile(np.array([3, 2], np.uint32), 5000)  # 4.9 rad/s from one moment to the next
    strongest = np.zeros(6)
    for k in range(10):
        pins = {"motors": 1, "frames": words[1000 * k : 1000 * k + 1000]}
        state, _ = plant.step(state, PARAMS, pins, Ns(10 * MS))
        strongest = np.maximum(strongest, np.abs(state.drives[plant.rows.TORQUE]))
    assert (strongest <= limit).all() and state.tripped


@pytest.mark.parametrize("joint", range(6))
def test_a_cam_says_on_which_side_of_its_home_angle_a_joint_stands(joint: int) -> None:
    home = np.radians([0.0, -90.0, 0.0, -90.0, 0.0, 0.0])
    for side in (-1, 1):
        at = home.copy()
        at[joint] += side * 0.01
        state = plant.start(PARAMS, plant.Physics(start=tuple(at)))  # type: ignore[arg-type]
        assert plant.sensors(state)[f"{JOINTS[joint]}_cam"] == (side > 0)


def test_the_moment_of_a_cams_edge_is_known_before_it_comes() -> None:
    state = after(plant.start(PARAMS), {"motors": 1}, 1.0)
    words = stream(np.array([-0.5, 0.0, 0.0, 0.0, 0.0, 0.0]), 0.8)
    pins = {"motors": 1, "frames": words}
    due = plant.horizon(state, PARAMS, pins, Ns(800 * MS))
    before = after(state, pins, (due - MS) / S, Ns(due - MS))
    there, _ = plant.step(state, PARAMS, {**pins, "frames": words[: due // plant.FRAME]}, due)
    assert 0 < due < 800 * MS
    assert plant.sensors(before)["base_cam"] == 1 and plant.sensors(there)["base_cam"] == 0


def test_what_rests_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    state = after(plant.start(PARAMS), {"motors": 1}, 3.0)
    assert state.still

    def dear(*_: object) -> None:
        raise AssertionError("the dynamics were asked")

    monkeypatch.setattr(plant, "_pass", dear)
    later = after(state, {"motors": 1}, 3600.0, Ns(600 * S))
    assert later.now == state.now + 3600 * S and (later.drives == state.drives).all()


def test_jaws_open_and_close_at_their_speed_and_close_without_power() -> None:
    state = plant.start(PARAMS)
    assert after(state, {"jaws_open": 1}, 0.1).width == pytest.approx(0.02)
    opened = after(state, {"jaws_open": 1}, 1.0)
    assert opened.width == pytest.approx(0.06)
    assert after(opened, {}, 1.0).width == 0.0


def test_the_point_between_the_jaws_is_where_pinocchio_has_the_tool() -> None:
    model = pin_model(ur5e())
    scratch = model.createData()
    at = np.array([0.3, -1.1, 0.9, -2.0, 0.4, 1.3])
    state = plant.start(PARAMS, plant.Physics(start=tuple(at.tolist())))
    pin.framesForwardKinematics(model, scratch, at)
    flange = scratch.oMf[model.getFrameId("flange")].homogeneous
    wanted = flange[:3, 3] + PARAMS.tool * flange[:3, 2]
    assert plant.jaws(state, PARAMS).frame[:3, 3] == pytest.approx(wanted, abs=1e-9)
    assert math.isclose(np.linalg.det(plant.jaws(state, PARAMS).frame), 1.0, rel_tol=1e-12)


def test_a_stretched_arm_that_is_held_in_full_fall_does_not_trip() -> None:
    at = np.arange(1, 60_001) * 1e-5
    speed = np.minimum(3.1, 12.6 * at)
    held = at > 0.3  # twice the planned deceleration: what a hold may take
    speed[held] = np.maximum(0.0, 3.1 - 25.2 * (at[held] - 0.3))
    steps = np.diff(np.floor(np.cumsum(speed) * 1e-5 * PER_RAD + 0.5).astype(np.int64), prepend=0)
    words = ((steps != 0) << 2 | (steps > 0) << 3).astype(np.uint32)
    state = after(plant.start(PARAMS, plant.Physics(start=(0.0, -1.5, 0.0, 0.0, 0.0, 0.0))), {"motors": 1}, 1.0)
    found = after(state, {"motors": 1, "frames": words}, 0.6)
    assert not found.tripped and found.drives[plant.rows.FURTHEST].max() < 0.005
