"""Jerk-limited motion along a path: within every limit, hardly slower than it must be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from twin.motion.arm import profile, timing
from twin.motion.arm.follow import Endless, Path, Stuck, follow, spline_between
from twin.motion.arm.path import caps, fastest, joint_rows, moments, spline

MOST = 100_000


def path(seed, points=5, count=201, pace=np.inf):
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 1, count)
    q = CubicSpline(np.linspace(0, 1, points), rng.uniform(-1.5, 1.5, (points, 6)))(grid)
    return Path(grid, q, np.full(count, pace), np.ones(count))


def exceeded(found, limits):
    jerk = np.diff(found.qdd, axis=0) / limits.interval
    return [
        np.max(np.abs(values) / most)
        for values, most in ((found.qd, limits.speed), (found.qdd, limits.acceleration), (jerk, limits.jerk))
    ]


@given(seed=st.integers(0, 10_000), points=st.integers(4, 7), pace=st.sampled_from([0.05, 0.4, np.inf]))
@settings(max_examples=25)
def test_every_limit_is_kept_at_every_sample(limits, seed, points, pace):
    way = path(seed, points, pace=pace)
    found = follow(way, limits, MOST)
    speed, acceleration, jerk = exceeded(found, limits)
    assert speed <= 1 + 1e-8 and acceleration <= 1 + 1e-8
    # Between two samples the third derivative is a mean of values that are each limited at samples only.
    assert jerk <= 1.05
    assert (found.q[0] == way.q[0]).all() and (found.q[-1] == way.q[-1]).all()
    assert not found.qd[[0, -1]].any() and not found.qdd[[0, -1]].any()
    assert (np.diff(found.s) >= -1e-12).all() and (np.diff(found.s) / limits.interval <= pace * (1 + 1e-8)).all()


@pytest.mark.parametrize("seed", range(6))
def test_limited_jerk_costs_little_against_the_quickest_motion_without(limits, seed):
    way = path(seed)
    slope, bend = np.empty_like(way.q), np.empty_like(way.q)
    spline(way.grid, way.q, slope, bend)
    x, _ = fastest(way.grid, joint_rows(slope, bend, np.array(limits.acceleration)), caps(slope, limits.speed))
    quickest = moments(way.grid, x)[-1]
    lasts = (len(follow(way, limits, MOST).s) - 1) * limits.interval
    assert quickest <= lasts <= 1.12 * quickest


@pytest.mark.parametrize("distance", [0.02, 0.3, 2.5])
def test_a_straight_way_takes_a_fifth_longer_at_most_than_the_closed_form(limits, distance):
    grid = np.linspace(0, 1, 101)
    way = np.zeros((101, 6))
    way[:, 1] = distance * grid
    found = follow(Path(grid, way, np.full(101, np.inf), np.ones(101)), limits, MOST)
    best = np.empty(1)
    profile.durations(
        np.array([[0, distance, 0, 0, 0, 0.0]]), limits.speed, np.array(limits.acceleration), np.array(limits.jerk), best
    )
    assert best[0] - 1e-9 <= (len(found.s) - 1) * limits.interval <= 1.2 * best[0] + limits.interval


def test_the_smoothed_motion_is_the_mean_over_its_window_and_its_derivatives_are_true():
    way = path(2)
    slope, bend = np.empty_like(way.q), np.empty_like(way.q)
    spline(way.grid, way.q, slope, bend)
    x, _ = fastest(way.grid, joint_rows(slope, bend, np.full(6, 12.0)), caps(slope, np.full(6, 3.0)))
    knots, window, stretch = np.empty((201, 5)), 0.1, 1.3
    timing.knotted(way.grid, x, knots)
    whole = stretch * (knots[-1, 0] + window)
    time = np.linspace(0, whole, 40_001)
    ways, joints = np.empty((len(time), 6)), np.empty((4, len(time), 6))
    timing.travel(knots, window, stretch, way.grid, way.q, bend, time, ways, joints)
    assert knots[:, 0] == pytest.approx(moments(way.grid, x), abs=1e-12)
    assert ways[-1, 0] == pytest.approx(1.0, abs=1e-12) and joints[0, -1] == pytest.approx(way.q[-1], abs=1e-11)
    lag = np.interp(time / stretch, knots[:, 0], way.grid) - ways[:, 0]
    assert (lag >= -1e-6).all()
    step = time[1]
    for order in range(3):
        change = np.diff(joints[order], axis=0) / step
        mean = (joints[order + 1][1:] + joints[order + 1][:-1]) / 2
        # Jerk jumps where a speed's rise ends: there, and only there, a difference is not the mean of its ends.
        off = np.sort(np.max(np.abs(change - mean), axis=1))[: len(time) - 1200 if order == 2 else None]
        assert off[-1] <= 2e-3 * np.abs(joints[order + 1]).max()


def test_points_between_are_the_splines():
    way = path(4)
    middle, q = spline_between(way.grid, way.q)
    assert q == pytest.approx(CubicSpline(way.grid, way.q)(middle), abs=1e-13)


def test_a_path_that_no_torque_can_hold_is_stuck(limits):
    way = path(1)
    heavy = Path(way.grid, way.q, way.pace, way.share, torques=lambda q, qd, qdd: 200.0 + qdd)
    assert isinstance(follow(heavy, limits, MOST), Stuck)


def test_a_path_that_no_slowness_makes_bearable_ends_in_an_answer(limits):
    """Sticking friction beyond the motors, whatever the speed."""
    way = path(1)
    sticky = Path(way.grid, way.q, way.pace, way.share, torques=lambda q, qd, qdd: 30.0 * np.sign(qd))
    found = follow(sticky, limits, MOST)
    assert isinstance(found, Stuck) and 0 <= found.index < len(way.grid)
    found = follow(sticky, limits, 100)
    assert isinstance(found, Endless) and found.count >= 100
