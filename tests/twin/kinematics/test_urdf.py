"""URDF in, a chain out; and what is no chain is refused with its element, value and limit."""

import math
import os
from pathlib import Path

import numpy as np
import pinocchio as pin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.kinematics.chains import chains
from tests.twin.kinematics.peers import pin_model
from twin.kinematics import JointKind, Robot, RobotError, parse, read, ur5e
from twin.kinematics.robot import Rotation
from twin.kinematics.urdf import MOST_BYTES

ROOT = Path(__file__).resolve().parents[3]
TENSOR = '<inertia ixx="1" ixy="0" ixz="0" iyy="2" iyz="0" izz="2.5"/>'
INERTIAL = f'<inertial><origin xyz="0.1 0 0"/><mass value="2"/>{TENSOR}</inertial>'
LIMIT = '<limit lower="-1" upper="2" velocity="3" effort="40"/>'


def link(name: str, inside: str = INERTIAL) -> str:
    return f'<link name="{name}">{inside}</link>'


def joint(name: str, parent: str, child: str, kind: str = "revolute", inside: str = LIMIT) -> str:
    ends = f'<parent link="{parent}"/><child link="{child}"/>'
    return f'<joint name="{name}" type="{kind}">{ends}{inside}</joint>'


def urdf(*elements: str) -> str:
    return f'<robot name="test">{"".join(elements)}</robot>'


SHORT = (link("base", ""), link("arm"), joint("turn", "base", "arm"))


@pytest.fixture(scope="module")
def robots() -> Path:
    """Robots beside the repository; LOCKSTEP_SHARED names another place."""
    folder = Path(os.environ.get("LOCKSTEP_SHARED", ROOT.parent / "shared")) / "data" / "robots"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; LOCKSTEP_SHARED can name the folder shared/")
    return folder


def same(ours: pin.Model, theirs: pin.Model, count: int = 20) -> float:
    """Largest relative difference of torques, and of the last frame's position, between two models."""
    rng, worst = np.random.default_rng(1), 0.0
    data, other = ours.createData(), theirs.createData()
    for _ in range(count):
        q, qd, qdd = rng.uniform(-2, 2, (3, ours.nv))
        tau, truth = pin.rnea(ours, data, q, qd, qdd), pin.rnea(theirs, other, q, qd, qdd)
        worst = max(worst, np.abs(tau - truth).max() / np.abs(truth).max())
        pin.framesForwardKinematics(ours, data, q)
        pin.framesForwardKinematics(theirs, other, q)
        worst = max(worst, np.abs(data.oMf[-1].homogeneous - other.oMf[-1].homogeneous).max())
    return float(worst)


def test_the_packaged_ur5e_is_the_one_in_the_urdf(robots):
    ours, theirs = ur5e(), read(robots / "ur5e.urdf")
    assert ours.joints == theirs.joints
    assert ours.links == theirs.links
    assert (ours.flange_xyz, ours.flange_rotation) == (theirs.flange_xyz, theirs.flange_rotation)
    assert ours.gravity == theirs.gravity


def test_pinocchio_reads_the_same_robot_from_the_urdf(robots):
    path = robots / "ur5e.urdf"
    assert same(pin_model(read(path)), pin.buildModelFromUrdf(str(path))) < 1e-12


def written(robot: Robot) -> str:
    """A robot as URDF, with angles for its rotations."""

    def origin(xyz: tuple[float, ...], rotation: Rotation) -> str:
        rpy = pin.rpy.matrixToRpy(np.array(rotation).reshape(3, 3))
        return f'<origin xyz="{" ".join(map(repr, xyz))}" rpy="{" ".join(repr(float(value)) for value in rpy)}"/>'

    elements, before = [link("base", "")], "base"
    for moving, body in zip(robot.joints, robot.links, strict=True):
        keys = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
        tensor = " ".join(f'{key}="{value!r}"' for key, value in zip(keys, body.inertia, strict=True))
        centre = " ".join(map(repr, body.centre))
        inertial = f'<origin xyz="{centre}"/><mass value="{body.mass!r}"/><inertia {tensor}/>'
        elements.append(link(body.name, f"<inertial>{inertial}</inertial>"))
        inside = origin(moving.xyz, moving.rotation) + f'<axis xyz="{" ".join(map(repr, moving.axis))}"/>'
        inside += f'<limit lower="{moving.low}" upper="{moving.high}" velocity="{moving.speed}" effort="{moving.effort}"/>'
        inside += f'<dynamics damping="{moving.viscous!r}" friction="{moving.coulomb!r}"/>'
        elements.append(joint(moving.name, before, body.name, moving.kind, inside))
        before = body.name
    flange = origin(robot.flange_xyz, robot.flange_rotation)
    return urdf(*elements, link("flange", ""), joint("to flange", before, "flange", "fixed", flange))


@settings(max_examples=25, deadline=None)
@given(chains())
def test_any_chain_survives_being_written_and_read(robot):
    again = parse(written(robot))
    assert [part.name for part in again.joints] == [part.name for part in robot.joints]
    for ours, before in zip(again.joints, robot.joints, strict=True):
        assert ours.kind is before.kind
        assert (ours.low, ours.high, ours.speed, ours.effort) == (before.low, before.high, before.speed, before.effort)
        assert (ours.viscous, ours.coulomb) == (before.viscous, before.coulomb)
        assert ours.xyz == before.xyz
        assert ours.axis == pytest.approx(before.axis, abs=1e-15)
        assert ours.rotation == pytest.approx(before.rotation, abs=1e-9)
    assert again.links == robot.links
    assert again.flange_rotation == pytest.approx(robot.flange_rotation, abs=1e-9)


def test_links_that_are_fixed_to_each_other_become_one_body():
    """A base on a fixed mount, a payload and a camera on the arm, a tool at its end: as Pinocchio lumps them."""
    turned = '<origin xyz="0.1 -0.2 0.3" rpy="0.4 -0.5 0.6"/>'
    off_centre = INERTIAL.replace('xyz="0.1 0 0"', 'xyz="0 0.2 -0.1" rpy="0.3 0.2 0.1"')
    text = urdf(
        *(link("world", ""), link("base", INERTIAL), link("arm"), link("payload", off_centre), link("camera", "")),
        *(link("hand", off_centre), link("tool", "")),
        joint("mount", "world", "base", "fixed", turned),
        joint("turn", "base", "arm", "revolute", turned + LIMIT + '<axis xyz="1 2 3"/>'),
        joint("carries", "arm", "payload", "fixed", turned),
        joint("sees", "payload", "camera", "fixed", turned),
        joint("slides", "payload", "hand", "prismatic", turned + LIMIT + '<axis xyz="0 0 -2"/>'),
        joint("holds", "hand", "tool", "fixed", turned),
    )
    assert same(pin_model(parse(text)), pin.buildModelFromXML(text)) < 1e-12


def test_a_continuous_joint_has_no_end_and_an_axis_is_x_unless_told():
    robot = parse(urdf(link("base", ""), link("arm"), joint("turn", "base", "arm", "continuous", "")))
    turn = robot.joints[0]
    assert (turn.low, turn.high, turn.speed, turn.effort) == (-math.inf, math.inf, math.inf, math.inf)
    assert (turn.kind, turn.axis) == (JointKind.REVOLUTE, (1.0, 0.0, 0.0))


def test_a_quarter_turn_is_read_without_rounding():
    origin = f'<origin rpy="{math.pi / 2!r} 0 {-math.pi!r}"/>'
    robot = parse(urdf(link("base", ""), link("arm"), joint("turn", "base", "arm", "revolute", origin + LIMIT)))
    assert robot.joints[0].rotation == (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0)


TWO_ENDS = urdf(*SHORT, link("a", ""), link("b", ""), joint("fa", "arm", "a", "fixed", ""), joint("fb", "arm", "b", "fixed", ""))


def test_a_tip_is_chosen_where_several_links_end_the_chain():
    with pytest.raises(RobotError, match=r"'a', 'b' all end the chain"):
        parse(TWO_ENDS)
    assert parse(TWO_ENDS, tip="b").axes == 1
    with pytest.raises(RobotError, match="'nose' is no link; allowed are 'arm', 'a', 'b'"):
        parse(TWO_ENDS, tip="nose")


def test_a_tip_before_the_last_moving_joint_is_refused():
    text = urdf(*SHORT, link("hand"), joint("wrist", "arm", "hand"))
    with pytest.raises(RobotError, match="'wrist' moves beyond it"):
        parse(text, tip="arm")


def nine() -> str:
    names = [f"l{i}" for i in range(10)]
    return urdf(*map(link, names), *(joint(f"j{i}", names[i], names[i + 1]) for i in range(9)))


def with_arm(inside: str) -> str:
    return urdf(link("base", ""), link("arm", inside), joint("turn", "base", "arm"))


def with_joint(kind: str, inside: str) -> str:
    return urdf(link("base", ""), link("arm"), joint("turn", "base", "arm", kind, inside))


REFUSED = {
    "a tree": (
        urdf(*SHORT, link("left"), link("right"), joint("l", "arm", "left"), joint("r", "arm", "right")),
        "'l', 'r' all move",
    ),
    "a branch beside the base": (urdf(*SHORT, link("two"), joint("other", "base", "two")), "'turn', 'other' all move"),
    "a loop": (urdf(*SHORT, link("two"), joint("a", "arm", "two"), joint("b", "base", "two")), "'two': a loop"),
    "a ring apart": (
        urdf(*SHORT, link("p"), link("q"), joint("pq", "p", "q"), joint("qp", "q", "p")),
        "'p', 'q': a loop",
    ),
    "two roots": (urdf(*SHORT, link("alone")), r"2 links are carried by no joint \('base', 'alone'\)"),
    "a ring": (urdf(link("p"), link("q"), joint("pq", "p", "q"), joint("qp", "q", "p")), "0 links are carried by no joint"),
    "mimic": (with_joint("revolute", LIMIT + '<mimic joint="x"/>'), "'turn': mimics"),
    "floating": (with_joint("floating", ""), "'turn': type 'floating'; allowed are revolute"),
    "planar": (with_joint("planar", ""), "'turn': type 'planar'"),
    "no type": (with_joint("", ""), "type ''"),
    "no inertial": (with_arm(""), "'arm': it moves, but <inertial> is missing"),
    "no mass": (with_arm(INERTIAL.replace('value="2"', "")), "'arm': value is missing"),
    "mass 0": (with_arm(INERTIAL.replace('value="2"', 'value="0"')), "'arm': mass 0.0 kg is not above 0"),
    "negative mass": (with_arm(INERTIAL.replace('value="2"', 'value="-2"')), "mass -2.0 kg"),
    "mass nan": (with_arm(INERTIAL.replace('value="2"', 'value="nan"')), "'arm': value='nan' is not finite"),
    "no tensor": (with_arm('<inertial><mass value="2"/></inertial>'), "'arm': ixx is missing"),
    "flat tensor": (with_arm(INERTIAL.replace('izz="2.5"', 'izz="0"')), "'arm': inertia .* is not positive definite"),
    "infinite inertia": (with_arm(INERTIAL.replace('ixx="1"', 'ixx="1e999"')), "'arm': ixx='1e999' is not finite"),
    "no limit": (with_joint("revolute", ""), "'turn': <limit> is missing"),
    "no speed": (with_joint("revolute", LIMIT.replace('velocity="3"', "")), "'turn': velocity is missing"),
    "speed 0": (with_joint("revolute", LIMIT.replace('velocity="3"', 'velocity="0"')), "'turn': speed limit 0.0 is not above 0"),
    "limits swapped": (with_joint("revolute", LIMIT.replace('"-1"', '"5"')), "lower limit 5.0 is not below upper limit 2.0"),
    "limit is a word": (with_joint("revolute", LIMIT.replace('"-1"', '"low"')), "'turn': lower='low' is no number"),
    "no direction": (with_joint("revolute", LIMIT + '<axis xyz="0 0 0"/>'), "'turn': axis .* has no direction"),
    "two numbers": (with_joint("revolute", LIMIT + '<origin xyz="0 0"/>'), "'turn': xyz='0 0' has 2 numbers"),
    "infinite origin": (with_joint("revolute", LIMIT + '<origin xyz="0 inf 0"/>'), "'turn': xyz='inf' is not finite"),
    "negative friction": (with_joint("revolute", LIMIT + '<dynamics damping="-1"/>'), "viscous friction -1.0 is below 0"),
    "nowhere": (urdf(link("base", ""), link("arm"), joint("turn", "base", "hand")), "'turn': its child is 'hand'"),
    "two of a name": (urdf(*SHORT, link("arm")), "<link>: two are called 'arm'"),
    "two joints of a name": (urdf(*SHORT, link("b"), joint("turn", "arm", "b")), "<joint>: two are called 'turn'"),
    "no name": (urdf(*SHORT, "<link/>"), "<link>: one has no name"),
    "nine axes": (nine(), "9 moving joints, from 1 to 8"),
    "nothing moves": (urdf(link("base"), link("arm"), joint("f", "base", "arm", "fixed", "")), "no joint of it moves"),
    "no link": (urdf(), "without a <link>"),
    "xacro": ('<robot xmlns:xacro="http://ros.org/wiki/xacro"><xacro:include filename="x"/></robot>', "expand it"),
    "another format": ("<mujoco/>", "<mujoco>, a URDF's is <robot>"),
    "no XML": ("<robot", "not XML"),
    "entities": ('<!DOCTYPE r [<!ENTITY a "aaaa">]><robot name="&a;"/>', "no entities of its own"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_chain_is_refused_with_its_element_and_value(what):
    text, reason = REFUSED[what]
    with pytest.raises(RobotError, match=reason):
        parse(text)


def test_the_elements_that_are_refused_are_wrong_in_one_place_only():
    assert parse(urdf(*SHORT)).axes == 1
    assert parse(with_arm(INERTIAL)).axes == 1


def test_a_file_beyond_all_measure_is_not_read(tmp_path):
    path = tmp_path / "large.urdf"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(RobotError, match=r"large\.urdf: 10000001 bytes, at most 10000000"):
        read(path)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "latin.urdf"
    path.write_bytes('<robot name="früh"/>'.encode("latin-1"))
    with pytest.raises(RobotError, match="not UTF-8 at byte 15"):
        read(path)


@given(st.text(max_size=200) | st.sampled_from([urdf(*SHORT), TWO_ENDS]).flatmap(
    lambda text: st.integers(0, len(text)).map(lambda cut: text[:cut])
))
def test_any_text_is_a_robot_or_is_refused(text):
    try:
        assert 1 <= parse(text).axes <= 8
    except RobotError as error:
        assert str(error)
