"""A robot's record: what cannot be is refused, and what differs has another digest."""

import math
from dataclasses import replace

import pytest

from twin.kinematics import Joint, Robot, RobotError, ur5e
from twin.kinematics.robot import IDENTITY, composed, rotation_of, turned, turned_inertia
from twin.kinematics.shapes import Capsule

ARM = ur5e()
JOINT, LINK = ARM.joints[0], ARM.links[0]
MIRROR = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def test_the_ur5e_has_six_axes_and_its_makers_limits():
    assert ARM.axes == 6
    assert [joint.effort for joint in ARM.joints] == [150.0] * 3 + [28.0] * 3
    assert {joint.speed for joint in ARM.joints} == {math.pi}
    assert ARM.joints[2].high == math.pi


def test_the_ur5e_weighs_what_its_links_weigh():
    assert sum(link.mass for link in ARM.links) == pytest.approx(17.7, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"axis": (0.0, 0.0, 1.001)}, "its axis is 1.001 long, a unit vector is 1"),
        ({"axis": (0.0, 0.0, math.nan)}, "axis .* is not 3 finite numbers"),
        ({"axis": (0.0, 1.0)}, "axis .* is not 3 finite numbers"),
        ({"xyz": (math.inf, 0.0, 0.0)}, "xyz .* is not 3 finite numbers"),
        ({"rotation": MIRROR}, "is not a rotation, it is off by 2"),
        ({"rotation": (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)}, "is not a rotation"),
        ({"rotation": IDENTITY[:8]}, "is not 9 finite numbers"),
        ({"low": 7.0}, "lower limit 7.0 is not below upper limit"),
        ({"low": math.nan}, "lower limit nan"),
        ({"speed": 0.0}, "speed limit 0.0 is not above 0"),
        ({"effort": math.nan}, "effort limit nan is not above 0"),
        ({"coulomb": -1.0}, "coulomb friction -1.0 is below 0"),
        ({"viscous": math.inf}, "friction .* is not 2 finite numbers"),
        ({"kind": "prismatic", "high": math.inf}, "prismatic joint ends somewhere"),
    ],
)
def test_a_joint_that_cannot_be_is_refused(change, reason):
    given = {slot: getattr(JOINT, slot) for slot in Joint.__slots__} | change
    if given["kind"] == "prismatic":
        given["kind"] = type(JOINT.kind).PRISMATIC
    with pytest.raises(RobotError, match=f"joint 'shoulder_pan_joint'.*{reason}"):
        Joint(**given)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mass": 0.0}, "mass 0.0 kg is not above 0"),
        ({"mass": math.nan}, "mass .* is not 1 finite numbers"),
        ({"centre": (0.0, 0.0)}, "centre .* is not 3 finite numbers"),
        ({"inertia": (1.0, 0.0, 0.0, 1.0, 0.0, -1.0)}, "not positive definite"),
        ({"inertia": (1.0, 2.0, 0.0, 1.0, 0.0, 1.0)}, "not positive definite"),
        ({"inertia": (0.0,) * 6}, "not positive definite"),
    ],
)
def test_a_link_that_cannot_be_is_refused(change, reason):
    with pytest.raises(RobotError, match=f"link 'shoulder_link'.*{reason}"):
        replace(LINK, **change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"joints": (), "links": ()}, "0 moving joints, from 1 to 8"),
        ({"joints": (JOINT,) * 9, "links": (LINK,) * 9}, "9 moving joints, from 1 to 8"),
        ({"links": (LINK,)}, "1 links for 6 joints"),
        ({"gravity": (0.0, 0.0, math.nan)}, "gravity .* is not 3 finite numbers"),
        ({"flange_xyz": (0.0,)}, "flange .* is not 3 finite numbers"),
        ({"flange_rotation": MIRROR}, "flange: .* is not a rotation"),
        ({"capsules": (Capsule("far", 8, (0.0,) * 3, (1.0,) * 3, 0.1),)}, "capsule 'far' is on link 8, the flange is 7"),
    ],
)
def test_a_robot_that_cannot_be_is_refused(change, reason):
    with pytest.raises(RobotError, match=f"robot 'ur5e'.*{reason}"):
        replace(ARM, **change)


def test_equal_robots_have_one_digest_and_others_another():
    assert ur5e().digest() == ARM.digest()
    heavier = replace(LINK, mass=math.nextafter(LINK.mass, 10))
    changed = [
        replace(ARM, links=(heavier, *ARM.links[1:])),
        replace(ARM, name="other"),
        replace(ARM, capsules=()),
        replace(ARM, gravity=(0.0, 0.0, -9.81 + 1e-15)),
        Robot(name="ur5e", joints=ARM.joints[:5], links=ARM.links[:5]),
    ]
    assert len({ARM.digest(), *(robot.digest() for robot in changed)}) == 6


def test_turns_about_fixed_axes_come_one_after_the_other():
    roll, pitch, yaw = 0.3, -0.7, 1.9
    one_by_one = composed(
        rotation_of(0, 0, yaw), composed(rotation_of(0, pitch, 0), rotation_of(roll, 0, 0))
    )
    assert rotation_of(roll, pitch, yaw) == pytest.approx(one_by_one, abs=1e-15)
    assert turned(rotation_of(0, 0, math.pi / 2), (1.0, 2.0, 3.0)) == (-2.0, 1.0, 3.0)


def test_a_tensor_turns_with_its_body():
    """Turning there and back changes nothing, the trace never changes, and a quarter turn swaps two axes."""
    inertia = (1.0, 0.1, 0.2, 2.0, 0.3, 2.5)
    turn = rotation_of(0.3, -0.7, 1.9)
    back = tuple(turn[3 * k + i] for i in range(3) for k in range(3))
    there = turned_inertia(turn, inertia)
    assert there[0] + there[3] + there[5] == pytest.approx(5.5, rel=1e-14)
    assert turned_inertia(back, there) == pytest.approx(inertia, abs=1e-14)
    assert turned_inertia(rotation_of(math.pi / 2, 0, 0), inertia) == (1.0, -0.2, 0.1, 2.5, -0.3, 2.0)
