"""Moves from rest to rest: as quick as ruckig's, never beyond a limit, exactly at the target."""

import numpy as np
import pytest
import ruckig
from hypothesis import given
from hypothesis import strategies as st

from twin.motion.arm import profile

AXES = 6


def made(distance, speed, acceleration, jerk, interval=0.0):
    phases, duration = np.empty((*distance.shape, 4)), np.empty(len(distance))
    profile.rest_to_rest(distance, speed, acceleration, jerk, interval, phases, duration)
    return phases, duration


def sampled(phases, start, target, duration, count):
    time = np.linspace(0.0, duration, count)
    q, qd, qdd = (np.empty((count, len(start))) for _ in range(3))
    profile.sample(phases, start, target, duration, time, q, qd, qdd)
    return time, q, qd, qdd


def drawn(count, seed):
    """Distances and limits over many orders of magnitude."""
    rng = np.random.default_rng(seed)
    distance = rng.normal(size=(count, AXES)) * 10 ** rng.uniform(-5, 1, size=(count, 1))
    distance[rng.random(distance.shape) < 0.1] = 0.0
    limits = tuple(10 ** rng.uniform(-1, span, size=AXES) for span in (1, 2, 4))
    return distance, *limits


def never_exceeded(count, seed, batch=500):
    """The largest shares of speed, acceleration and jerk in samples of many random moves, each batch with limits of its own."""
    most = np.zeros(3)
    for part in range(count // batch):
        distance, speed, acceleration, jerk = drawn(batch, seed + part)
        phases, duration = made(distance, speed, acceleration, jerk)
        most[2] = max(most[2], np.max(np.abs(phases[:, :, profile.JERK]) / jerk))
        start = np.zeros(AXES)
        for move in range(batch):
            _, q, qd, qdd = sampled(phases[move], start, distance[move], duration[move], 33)
            most[0] = max(most[0], np.max(np.abs(qd) / speed))
            most[1] = max(most[1], np.max(np.abs(qdd) / acceleration))
            assert (q[-1] == distance[move]).all() and not qd[-1].any()
    return most


@pytest.mark.parametrize("seed", range(4))
def test_durations_are_those_of_ruckig(seed):
    distance, speed, acceleration, jerk = drawn(500, seed)
    _, duration = made(distance, speed, acceleration, jerk)
    only = np.empty(len(distance))
    profile.durations(distance, speed, acceleration, jerk, only)
    assert (only == duration).all()
    generator, asked, found = ruckig.Ruckig(AXES), ruckig.InputParameter(AXES), ruckig.Trajectory(AXES)
    asked.max_velocity, asked.max_acceleration, asked.max_jerk = speed, acceleration, jerk
    for target, own in zip(distance, duration, strict=True):
        asked.target_position = target
        assert generator.calculate(asked, found) == ruckig.Result.Working
        assert own == pytest.approx(found.duration, rel=1e-9, abs=1e-9)


def test_no_limit_is_exceeded_on_random_moves():
    assert (never_exceeded(10_000, seed=100) <= 1 + 1e-9).all()


@pytest.mark.soak
def test_no_limit_is_exceeded_on_100_000_random_moves():
    assert (never_exceeded(100_000, seed=10_000) <= 1 + 1e-9).all()


@given(
    distance=st.floats(-10, 10).filter(lambda value: abs(value) > 1e-6),
    speed=st.floats(0.01, 10),
    acceleration=st.floats(0.01, 100),
    jerk=st.floats(0.1, 10_000),
    slowest=st.floats(0, 20),
)
def test_speed_is_the_change_of_place_and_acceleration_that_of_speed(distance, speed, acceleration, jerk, slowest):
    """With Simpson's rule, exact for cubics, on the phases' own times; a second axis stretches the first."""
    both = np.array([[distance, slowest]])
    phases, duration = made(both, np.full(2, speed), np.full(2, acceleration), np.full(2, jerk))
    ramp, level, cruise = phases[0, :, :3].T
    ends = np.cumsum([0 * ramp, ramp, level, ramp, cruise, ramp, level, ramp], axis=0)
    assert ends[-1] == pytest.approx(duration[0], rel=1e-12)
    for axis in range(2):
        begin, end = ends[:-1, axis], ends[1:, axis]
        (q0, v0, a0), (_, v, _), (q1, v1, a1) = (
            (values[:, axis] for values in taken(phases[0], both[0], duration[0], time)) for time in (begin, (begin + end) / 2, end)
        )
        assert q1 - q0 == pytest.approx((end - begin) / 6 * (v0 + 4 * v + v1), abs=1e-9 * abs(both).max())
        # At an edge of a phase the acceleration is off by the jerk during the rounding of the time.
        off = 1e-12 * (1 + duration[0] ** 2 * jerk)
        assert v1 - v0 == pytest.approx((end - begin) * (a0 + a1) / 2, abs=off)


def taken(phases, target, duration, time):
    found = tuple(np.empty((len(time), len(target))) for _ in range(3))
    profile.sample(phases, np.zeros(len(target)), target, duration, time, *found)
    return found


@given(distance=st.lists(st.floats(-7, 7), min_size=1, max_size=8), interval=st.sampled_from([0.002, 0.008, 0.1]))
def test_a_duration_is_a_whole_number_of_intervals_when_asked_for(distance, interval):
    ones = np.ones(len(distance))
    _, quickest = made(np.array([distance]), ones, 4 * ones, 40 * ones)
    _, rounded = made(np.array([distance]), ones, 4 * ones, 40 * ones, interval)
    count = rounded[0] / interval
    assert count == pytest.approx(round(count), abs=1e-9)
    assert quickest[0] * (1 - 1e-11) <= rounded[0] <= quickest[0] + interval


def test_axes_that_stay_do_so_and_nothing_takes_no_time():
    phases, duration = made(np.array([[1.0, 0.0], [0.0, 0.0]]), np.ones(2), np.ones(2), np.ones(2))
    _, q, qd, _ = sampled(phases[0], np.array([0.3, 0.7]), np.array([1.3, 0.7]), duration[0], 50)
    assert (q[:, 1] == 0.7).all() and not qd[:, 1].any()
    assert duration[1] == 0.0
