"""The check of an arm's plan, cause by cause; torques and tool speeds against Pinocchio."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pinocchio as pin
import pytest

from tests.twin.kinematics.peers import pin_model
from tests.twin.kinematics.pinned import flange_of, loaded, odd_chain
from twin.kinematics.kernels import Kernels, kernels
from twin.kinematics.parts import load
from twin.kinematics.robot import JointKind
from twin.kinematics.shapes import Box, Capsule, Plane, Surroundings
from twin.kinematics.ur5e import ur5e
from twin.motion.arm import ArmPlan, limits_of, read
from twin.motion.arm.check import Load, Site, check
from twin.motion.arm.plan import plan
from twin.motion.findings import Refusal
from twin.motion.limits import JobError

ROBOT = ur5e()
HOME = tuple(math.radians(angle) for angle in (0, -90, 90, -90, -90, 0))
LIMITS = limits_of(ROBOT, HOME)
WEIGHT = Load(mass=3.0, centre=(0.02, -0.03, 0.11), inertia=(0.02, 0.001, -0.002, 0.03, 0.003, 0.025))


@pytest.fixture(scope="module")
def arm() -> Kernels:
    return kernels(ROBOT)


def planned(*lines: str) -> ArmPlan:
    made = plan(read("\n".join(lines)), LIMITS, np.array(HOME))
    assert not made.refusals
    return made


def edited(made: ArmPlan, **values: np.ndarray) -> ArmPlan:
    return replace(made, trajectory=replace(made.trajectory, **values))


def only(found: tuple[Refusal, ...]) -> Refusal:
    assert len(found) == 1, [str(one) for one in found]
    return found[0]


def tensor_of(weight: Load) -> np.ndarray:
    xx, xy, xz, yy, yz, zz = weight.inertia
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def test_efforts_with_load_and_friction_are_the_peers_on_a_chain_of_any_joints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel as written, with the peer in place of the generated code: what is tested is what it adds to that."""
    robot, dice = odd_chain(), np.random.default_rng(1)
    bare, full = pin_model(robot), loaded(robot, WEIGHT.mass, np.array(WEIGHT.centre), tensor_of(WEIGHT))
    data, full_data = bare.createData(), full.createData()

    def frames_of(q: np.ndarray, out: np.ndarray) -> None:
        pin.forwardKinematics(bare, data, q)
        for i in range(robot.axes + 1):
            placed = data.oMi[i + 1] if i < robot.axes else data.oMi[i] * flange_of(robot)
            out[i] = placed.homogeneous[:3].ravel()

    def torques_of(q: np.ndarray, qd: np.ndarray, qdd: np.ndarray, out: np.ndarray) -> None:
        out[:] = pin.rnea(bare, data, q, qd, qdd)

    viscous, coulomb = (np.array([getattr(joint, name) for joint in robot.joints]) for name in ("viscous", "coulomb"))

    def friction_of(qd: np.ndarray, out: np.ndarray) -> None:
        out[:] = viscous * qd + coulomb * np.sign(qd)

    for name, stand_in in (("frames_of", frames_of), ("torques_of", torques_of), ("friction_of", friction_of)):
        monkeypatch.setattr(load, name, stand_in)
    monkeypatch.setattr(load, "AXES", robot.axes)
    monkeypatch.setattr(load, "_needed", load._needed.py_func)
    q, qd, qdd = dice.uniform(-2, 2, (3, 50, robot.axes))
    axes = np.array([(*joint.axis, float(joint.kind is JointKind.REVOLUTE)) for joint in robot.joints])
    row = np.array([[WEIGHT.mass, *WEIGHT.centre, *WEIGHT.inertia]])
    held, out = np.where(np.arange(50) % 5 == 0, -1, 0), np.empty_like(q)
    load.efforts.py_func(q, qd, qdd, row, held, axes, robot.gravity, out)
    for i in range(50):
        model, its_data = (bare, data) if held[i] < 0 else (full, full_data)
        expected = pin.rnea(model, its_data, q[i], qd[i], qdd[i]) + viscous * qd[i] + coulomb * np.sign(qd[i])
        np.testing.assert_allclose(out[i], expected, rtol=1e-10, atol=1e-10)


def test_efforts_of_the_arm_with_a_load_are_the_peers(arm: Kernels) -> None:
    model = loaded(ROBOT, WEIGHT.mass, np.array(WEIGHT.centre), tensor_of(WEIGHT))
    data = model.createData()
    q, qd, qdd = np.random.default_rng(2).uniform(-3, 3, (3, 200, 6))
    axes = np.array([(*joint.axis, 1.0) for joint in ROBOT.joints])
    row, out = np.array([[WEIGHT.mass, *WEIGHT.centre, *WEIGHT.inertia]]), np.empty_like(q)
    arm.efforts(q, qd, qdd, row, np.zeros(200, np.int64), axes, ROBOT.gravity, out)
    np.testing.assert_allclose(out, [pin.rnea(model, data, *rows) for rows in zip(q, qd, qdd, strict=True)], rtol=1e-9, atol=1e-9)


def test_the_tool_point_is_where_the_peer_says_and_as_fast(arm: Kernels) -> None:
    model = pin_model(ROBOT)
    data, dice = model.createData(), np.random.default_rng(3)
    q, qd = dice.uniform(-3, 3, (2, 200, 6))
    points, use, out = dice.uniform(-0.2, 0.2, (3, 3)), dice.integers(0, 3, 200), np.empty((200, 4))
    arm.tool_points(q, qd, points, use, out)
    for i in range(200):
        pin.forwardKinematics(model, data, q[i], qd[i])
        point = flange_of(ROBOT) * pin.SE3(np.eye(3), points[use[i]])
        speed = np.linalg.norm(point.actInv(data.v[6]).linear)
        np.testing.assert_allclose(out[i], [*(data.oMi[6] * point).translation, speed], atol=1e-10)


def test_a_plan_within_all_limits_is_let_through_and_its_own_refusals_are_kept(arm: Kernels) -> None:
    assert check(planned("joints 10 -80 80 -90 -90 0", "grip", "joints 0 -90 90 -90 -90 0"), LIMITS, arm) == ()
    refused = plan(read("home\njoints 0 0 200 0 0 0"), LIMITS, np.array(HOME))
    found = only(check(refused, LIMITS, arm))
    assert (found.line, found.axis) == (2, "elbow_joint") and found.limit == pytest.approx(math.pi)


def test_a_gap_in_the_record_is_found_though_every_sample_is_within_its_limits(arm: Kernels) -> None:
    made = planned("joints 20 -80 80 -90 -90 0", "wait 1", "joints 0 -90 90 -90 -90 0")
    q, qd, middle = made.trajectory.q.copy(), made.trajectory.qd.copy(), len(made.trajectory) // 4
    q[middle:, 5] += 0.2
    found = check(edited(made, q=q), LIMITS, arm)
    assert {(one.line, one.axis) for one in found} == {(1, "wrist_3_joint")}
    assert any("speed 25" in one.text for one in found) and any("acceleration" in one.text for one in found)
    q = made.trajectory.q.copy()
    q[middle, 5] += 0.004
    assert "acceleration" in only(check(edited(made, q=q), LIMITS, arm)).text
    qd[middle, 4] += 0.4
    assert only(check(edited(made, qd=qd), LIMITS, arm)).axis == "wrist_2_joint"


@pytest.mark.parametrize("name", ["time", "q", "qd", "qdd"])
def test_a_number_that_is_none_is_refused(arm: Kernels, name: str) -> None:
    made = planned("joints 20 -80 80 -90 -90 0")
    values = getattr(made.trajectory, name).copy()
    values[3] = np.nan
    assert "not finite" in only(check(edited(made, **{name: values}), LIMITS, arm)).text


def test_a_program_that_only_works_without_the_load_is_refused_with_the_joint(arm: Kernels) -> None:
    made = planned("joints 0 -45 45 -90 -90 0", "joints 0 -5 5 -90 -90 0")
    assert check(made, LIMITS, arm) == ()
    found = check(made, LIMITS, arm, Site(load=Load(mass=12.0, centre=(0.0, 0.0, 0.2))))
    assert {one.axis for one in found} >= {"shoulder_lift_joint"} and all("effort" in one.text for one in found)
    assert all(one.value > one.limit for one in found if one.value and one.limit)


def test_what_hangs_in_the_jaws_counts_between_grip_and_release_only(arm: Kernels) -> None:
    there, back = "joints 0 -60 90 -120 -90 0", "joints 0 -90 90 -90 -90 0"
    made = planned(there, back, "grip", there, back, "release", there)
    site = Site(surroundings=Surroundings(boxes=(Box("bed", (-0.652, -0.133, 0.0), (0.15, 0.15, 0.05)),)))
    assert check(made, LIMITS, arm, site) == ()
    long = replace(site, part=(Capsule("part", 7, (0.0, 0.0, 0.03), (0.0, 0.0, 0.25), 0.02),))
    found = check(made, LIMITS, arm, long)
    assert {one.axis for one in found} == {"part and bed"} and {one.line for one in found} == {4, 5}
    heavy = check(made, LIMITS, arm, replace(site, part_load=Load(mass=14.0, centre=(0.0, 0.0, 0.2))))
    assert {one.line for one in heavy} <= {4, 5} and any("effort" in one.text for one in heavy)


def test_homing_is_swept_one_joint_after_the_other(arm: Kernels) -> None:
    """Turned first with the arm stretched out it meets a post; folded first it does not, as the moves to that place."""
    turn, stretch = "joints -90 -90 90 -90 -90 0", "joints -90 -20 20 -90 -90 0"
    site = Site(surroundings=Surroundings(boxes=(Box("post", (-0.72, 0.54, 0.2), (0.04, 0.04, 0.2)),)))
    assert check(planned(turn, stretch, turn, "home"), LIMITS, arm, site) == ()
    for program in ((turn, stretch, "home"), (turn, stretch, "home", "joints 10 -90 90 -90 -90 0")):
        assert check(planned(*program), LIMITS, arm, site) == ()
        found = check(planned(*program), LIMITS, arm, replace(site, homing_order=(0, 1, 2, 3, 4, 5)))
        assert found and all(one.line == 3 and "post" in one.axis for one in found), found
    first, stretched = planned("home"), np.radians([-90, -20, 20, -90, -90, 0])
    assert check(first, LIMITS, arm, replace(site, homing_order=(0, 1, 2, 3, 4, 5))) == ()
    assert check(first, LIMITS, arm, replace(site, homing_order=(0, 1, 2, 3, 4, 5)), stretched)[0].line == 1


def test_homing_is_swept_with_what_is_held_when_it_begins(arm: Kernels) -> None:
    """A long part hangs down, and a post stands where it comes by; operations of one rest count in their order."""
    site = Site(
        surroundings=Surroundings(boxes=(Box("post", (-0.36, -0.361, 0.24), (0.03, 0.03, 0.05)),)),
        part=(Capsule("part", 7, (0.0, 0.0, 0.05), (0.0, 0.0, 0.3), 0.03),),
    )
    turned = np.radians([60, -90, 90, -90, -90, 0])
    there, back = "joints 60 -90 90 -90 -90 0", "joints 0 -80 90 -90 -90 0"
    for program in ((there, "grip", "home", back), (there, "grip", "home"), (there, "grip", "wait 1", "home", "release")):
        assert {one.axis for one in check(planned(*program), LIMITS, arm, site)} == {"part and post"}, program
    first = plan(read("grip\nhome\n" + back), LIMITS, turned)
    assert only(check(first, LIMITS, arm, site, turned)).line == 2
    free = (there, "grip", "joints 60 -89 90 -90 -90 0", "release", "home", "grip", "home", back)
    assert check(planned(*free), LIMITS, arm, site) == ()


def test_an_arm_without_bodies_and_kernels_of_another_arm_are_refused(arm: Kernels) -> None:
    made = planned("joints 20 -80 80 -90 -90 0")
    bare = replace(ROBOT, capsules=())
    around = Site(surroundings=Surroundings(boxes=(Box("all", (0.0, 0.0, 0.0), (2.0, 2.0, 2.0)),)))
    found = only(check(made, limits_of(bare, HOME), kernels(bare), around))
    assert found.line == 0 and "no capsules" in found.text
    longer = replace(ROBOT, joints=(replace(ROBOT.joints[0], xyz=(0.0, 0.0, 0.5)), *ROBOT.joints[1:]))
    found = only(check(made, LIMITS, kernels(longer)))
    assert found.line == 0 and "another arm" in found.text


def test_a_record_that_begins_elsewhere_or_does_not_rest_is_refused(arm: Kernels) -> None:
    made, start = planned("joints 20 -80 80 -90 -90 0"), np.array(HOME)
    assert check(made, LIMITS, arm, start=start) == ()
    found = check(made, LIMITS, arm, start=start + np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.0]))
    assert (only(found).axis, only(found).limit) == ("elbow_joint", pytest.approx(HOME[2] + 0.1))
    assert only(check(made, LIMITS, arm, start=np.zeros(5))).line == 0
    path, half = made.trajectory, len(made.trajectory) // 2
    cut = {name: getattr(path, name)[:half] for name in ("time", "q", "qd", "qdd", "line")}
    late = {name: getattr(path, name)[half:] for name in ("time", "q", "qd", "qdd", "line")}
    for part in (cut, late):
        found = check(edited(made, **part), LIMITS, arm)
        assert {one.axis for one in found} >= {"shoulder_pan_joint"}
        assert all("must stand" in one.text and one.limit == 0.0 for one in found)
    assert only(check(edited(made, **{name: values[:0] for name, values in cut.items()}), LIMITS, arm)).line == 0


def test_a_record_that_goes_on_elsewhere_after_an_operation_is_refused(arm: Kernels) -> None:
    homed = planned("home", "joints 20 -80 80 -90 -90 0")
    q = homed.trajectory.q.copy()
    q[:, 4] += 0.3
    found = only(check(edited(homed, q=q), LIMITS, arm))
    assert (found.axis, found.limit) == ("wrist_2_joint", pytest.approx(HOME[4]))
    made = planned("joints 20 -80 80 -90 -90 0", "grip", "joints 0 -90 90 -90 -90 0")
    (grip,), q = made.ops, made.trajectory.q.copy()
    q[grip.before :, 5] += 1e-4
    found = only(check(edited(made, q=q), LIMITS, arm))
    assert found.axis == "wrist_3_joint" and "goes on from" in found.text
    early = replace(made, ops=(replace(grip, before=grip.before // 2),))
    assert any("must stand" in one.text for one in check(early, LIMITS, arm))
    for wrong in (-1, len(made.trajectory) + 1):
        assert only(check(replace(made, ops=(replace(grip, before=wrong),)), LIMITS, arm)).line == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mass": math.nan, "centre": (0.0, 0.0, 0.0)}, "not finite"),
        ({"mass": 1.0, "centre": (0.0, math.inf, 0.0)}, "not finite"),
        ({"mass": -1.0, "centre": (0.0, 0.0, 0.0)}, "below 0"),
        ({"mass": 1.0, "centre": (0.0, 0.0, 0.0), "inertia": (0.1, 0.0, 0.0, -0.1, 0.0, 0.1)}, "below 0"),
    ],
)
def test_a_load_that_weighs_no_number_is_none(values: dict[str, Any], said: str) -> None:
    with pytest.raises(JobError, match=said):
        Load(**values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"low": (math.nan, 0.0, 0.0)}, "space along X"),
        ({"low": (0.0, 0.0, 1.0), "high": (1.0, 1.0, 0.0)}, "space along Z"),
        ({"tool_speed": math.nan}, "tool_speed"),
        ({"kept": math.nan}, "kept"),
        ({"rotors": (math.nan,) * 6}, "rotor"),
        ({"homing_order": (0, 0, 1, 2, 3, 4)}, "each joint once"),
        ({"homing_order": (6, 1, 2, 3, 4, 5)}, "each joint once"),
    ],
)
def test_a_site_that_limits_nothing_is_none(values: dict[str, Any], said: str) -> None:
    with pytest.raises(JobError, match=said):
        Site(**values)


def test_a_site_of_another_arm_is_refused(arm: Kernels) -> None:
    made = planned("home")
    for name, site in (("homing_order", Site(homing_order=(1, 0))), ("rotors", Site(rotors=(0.1,) * 5))):
        found = only(check(made, LIMITS, arm, site))
        assert (found.line, found.axis, found.limit) == (0, name, 6)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_comes_out_as_no_number_is_refused(arm: Kernels) -> None:
    """A finite record, so large that its torques are not."""
    made = planned("joints 20 -80 80 -90 -90 0")
    qd = made.trajectory.qd.copy()
    qd[5] = 1e200
    assert any("effort nan" in one.text or "effort inf" in one.text for one in check(edited(made, qd=qd), LIMITS, arm))


def test_the_tool_point_keeps_to_its_space_and_its_speed(arm: Kernels) -> None:
    made = planned("tool 0 0 0.1 0 0 0", "joints 40 -90 90 -90 -90 0", "speed 0.1", "joints 0 -90 90 -90 -90 0")
    assert check(made, LIMITS, arm, Site(low=(-2.0, -2.0, 0.0), high=(2.0, 2.0, 2.0), tool_speed=3.0)) == ()
    fast = only(check(made, LIMITS, arm, Site(tool_speed=0.6)))
    assert (fast.line, fast.axis, fast.limit) == (2, "tool speed", 0.6) and fast.value is not None and fast.value > 0.6
    out = check(made, LIMITS, arm, Site(low=(-2.0, -0.2, 0.0)))
    assert {(one.line, one.axis, one.limit) for one in out} == {(2, "Y", -0.2), (4, "Y", -0.2)}


def test_a_refusal_names_line_bodies_value_and_limit_once_for_each_line(arm: Kernels) -> None:
    site = Site(surroundings=Surroundings(planes=(Plane("floor", (0.0, 0.0, 1.0), 0.0),)))
    made = planned("joints 0 -90 90 -90 -90 0", "joints 0 -20 60 -90 -90 0", "joints 0 -90 90 -90 -90 0")
    found = check(made, LIMITS, arm, site)
    assert [(one.line, one.axis) for one in found].count((2, "wrist_3 and floor")) == 1
    worst = next(one for one in found if (one.line, one.axis) == (2, "wrist_3 and floor"))
    assert worst.value is not None and worst.value < 0 and worst.limit == pytest.approx(site.kept, abs=1e-3)
    assert "overlap by" in str(worst) and str(worst).startswith("line 2: ")


def test_the_same_plan_gets_the_same_answer_bit_for_bit(arm: Kernels) -> None:
    site = Site(surroundings=Surroundings(planes=(Plane("floor", (0.0, 0.0, 1.0), 0.1),)), load=WEIGHT)
    made = planned("joints 0 -20 60 -90 -90 0", "joints 50 -60 60 -90 -90 0")
    assert check(made, LIMITS, arm, site) == check(made, LIMITS, arm, site) != ()
