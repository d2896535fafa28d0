"""From any state to any other: within the limits, exactly there, and between rests as quick as the closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.motion.arm import profile
from twin.motion.arm.state import State, resting, travel
from twin.motion.limits import JobError


def states(most):
    numbers = st.lists(st.floats(-1, 1), min_size=6, max_size=6)
    return st.tuples(numbers, numbers, numbers).map(lambda v: State(*(np.array(x) * m for x, m in zip(v, most, strict=True))))


@given(start=states((3, 3, 5)), target=states((3, 2, 2)))
@settings(max_examples=60)
def test_the_way_between_two_states_of_motion_keeps_the_limits_and_ends_exactly(limits, start, target):
    found = travel(start, target, limits)
    assert found.at(0.0) is (start if found.duration else target) and found.at(found.duration) is target
    path = [found.at(time) for time in np.linspace(0.0, found.duration, 200)]
    if np.abs(start.qd).max() + np.abs(start.qdd).max() ** 2 / 80 < 3:
        assert all((np.abs(state.qd) <= limits.speed * (1 + 1e-6)).all() for state in path)
    assert all((np.abs(state.qdd) <= np.array(limits.acceleration) * (1 + 1e-6)).all() for state in path)
    changes = np.diff([state.qdd for state in path], axis=0) / (found.duration / 199) if found.duration else np.zeros(1)
    assert (np.abs(changes) <= limits.jerk[0] * (1 + 1e-4) + 1e-6 / max(found.duration, 1e-3)).all()


def test_between_rests_it_is_as_quick_as_the_closed_form(limits):
    rng = np.random.default_rng(3)
    for _ in range(50):
        distance = rng.uniform(-3, 3, (1, 6))
        phases, duration = np.empty((1, 6, 4)), np.empty(1)
        profile.rest_to_rest(
            distance, limits.speed * 0.5, np.array(limits.acceleration), np.array(limits.jerk), 0.0, phases, duration
        )
        found = travel(resting(np.zeros(6)), resting(distance[0]), limits, 0.5)
        assert found.duration == pytest.approx(duration[0], rel=1e-9)


def test_a_target_beyond_a_limit_is_refused_with_its_joint(limits):
    fast = State(np.zeros(6), np.array([0, 0, 9.0, 0, 0, 0]), np.zeros(6))
    with pytest.raises(JobError, match="elbow_joint can't arrive with a speed of 9") as caught:
        travel(resting(np.zeros(6)), fast, limits)
    assert (caught.value.axis, caught.value.value, caught.value.limit) == ("elbow_joint", 9.0, pytest.approx(np.pi))
    for share in (0.0, -1.0, 1.1, np.nan):
        with pytest.raises(JobError, match=r"share of .* must be above 0 and at most 1"):
            travel(resting(np.zeros(6)), resting(np.ones(6)), limits, share)
    with pytest.raises(JobError, match="not finite"):
        travel(resting(np.full(6, np.nan)), resting(np.zeros(6)), limits)
