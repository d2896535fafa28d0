"""What limits an arm can't have and how that is said, and how long a plan can be."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from twin.motion.arm import course, plan, read
from twin.motion.limits import JobError

HOME = np.radians([0, -90, 90, -90, -90, 0])


def row(at, value):
    return tuple(value if index == at else 1.0 for index in range(6))


@pytest.mark.parametrize(
    ("changed", "axis", "value", "limit"),
    [
        ({"jerk": row(5, np.nan)}, "wrist_3_joint", np.nan, 0.0),
        ({"acceleration": row(2, 0.0)}, "elbow_joint", 0.0, 0.0),
        ({"tool_speed": -1.0}, "tool_speed", -1.0, 0.0),
        ({"turn_acceleration": np.inf}, "turn_acceleration", np.inf, 0.0),
        ({"jerk": (1.0,) * 5}, "", 5, 6),
        ({"interval": 2.0}, "", 2.0, 1.0),
        ({"home": row(0, 7.0)}, "shoulder_pan_joint", 7.0, 2 * np.pi),
    ],
)
def test_a_limit_that_is_none_is_refused_with_joint_value_and_limit(limits, changed, axis, value, limit):
    with pytest.raises(JobError) as caught:
        replace(limits, **changed)
    (name,) = changed
    assert name in str(caught.value) and axis in str(caught.value)
    assert (caught.value.axis, caught.value.limit) == (axis, limit)
    assert caught.value.value == pytest.approx(value, nan_ok=True)


def test_a_joint_without_a_speed_is_refused_by_its_name(limits):
    joints = limits.robot.joints
    endless = replace(limits.robot, joints=(*joints[:3], replace(joints[3], speed=np.inf), *joints[4:]))
    with pytest.raises(JobError, match="speed of wrist_1_joint is inf"):
        replace(limits, robot=endless)


@pytest.mark.parametrize("text", ["speed 0.01\njoints 90 -90 90 -90 -90 0", "speed 0.01\nline -0.2 -0.1334 0.6 180 0 90"])
def test_a_plan_that_would_be_too_long_is_refused_before_its_samples_take_room(limits, monkeypatch, text):
    fine = replace(limits, interval=1e-4)
    monkeypatch.setattr(course, "MOST_SAMPLES", 20_000)
    plan(read(text.replace("0.01", "1")), fine, HOME)  # what is compiled or made once does not count
    tracemalloc.start()
    (refusal,) = plan(read(text), fine, HOME).refusals
    room = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refusal.line == 2 and refusal.value > refusal.limit == 20_000
    assert room < 8e6 < 150 * refusal.value  # three numbers of six joints for every sample


@pytest.mark.parametrize("blend", [3e-4, 4e-4, 6e-4])
def test_a_corner_that_few_samples_see_does_not_slow_the_whole_way(limits, blend):
    corner = "to 0.4 0.1 0.4 180 0 0\nblend {}\nline 0.5 0.1 0.4 180 0 0\nline 0.5 0.2 0.4 180 0 0"
    stretched = np.radians([0, -90, 0, -90, 0, 0])
    rounded, stopped = (plan(read(corner.format(value)), limits, stretched) for value in (blend, 0))
    assert rounded.duration_s <= 1.3 * stopped.duration_s
