"""The quickest speeds along a path: toppra's, closed forms where there are any, and never beyond a limit."""

import numpy as np
import pytest
import toppra
import toppra.algorithm
import toppra.constraint
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from twin.motion.arm.path import Rows, caps, fastest, fastest_all, joint_rows, moments, spline, torque_rows

toppra.setup_logging("ERROR")
AXES = 6


def smooth(seed, points=5, count=201):
    """Grid, q' and q'' of a random spline, and the spline."""
    rng = np.random.default_rng(seed)
    curve = CubicSpline(np.linspace(0, 1, points), rng.uniform(-2, 2, (points, AXES)))
    grid = np.linspace(0, 1, count)
    return grid, curve(grid, 1), curve(grid, 2), curve


def quickest_by_toppra(constraints, curve, grid):
    path = toppra.SplineInterpolator(curve.x, curve(curve.x))
    instance = toppra.algorithm.TOPPRA(constraints, path, gridpoints=grid, solver_wrapper="seidel")
    _, speed, _ = instance.compute_parameterization(0, 0)
    return float(np.sum(2 * np.diff(grid) / (speed[:-1] + speed[1:])))


@pytest.mark.parametrize("seed", range(12))
def test_paths_through_waypoints_take_as_long_as_with_toppra(seed):
    grid, slope, bend, curve = smooth(seed)
    rng = np.random.default_rng(seed + 100)
    speed, acceleration = rng.uniform(1, 3, AXES), rng.uniform(2, 12, AXES)
    x, stuck = fastest(grid, joint_rows(slope, bend, acceleration), caps(slope, speed))
    assert stuck == -1
    peer = quickest_by_toppra(
        [
            toppra.constraint.JointVelocityConstraint(np.stack((-speed, speed), 1)),
            toppra.constraint.JointAccelerationConstraint(np.stack((-acceleration, acceleration), 1)),
        ],
        curve,
        grid,
    )
    # toppra's solver keeps a little off each limit, so ours is the shorter of the two by millionths.
    assert moments(grid, x)[-1] == pytest.approx(peer, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_under_torque_limits_paths_take_as_long_as_with_toppra_and_no_torque_is_exceeded(seed, witness):
    grid, slope, bend, curve = smooth(seed)
    q, still = curve(grid), np.zeros_like(slope)
    effort = np.array([150, 150, 150, 28, 28, 28]) * 0.6
    rest = witness(q, still, still)
    inertia, motion = witness(q, still, slope) - rest, witness(q, slope, bend) - rest
    most = np.full(AXES, 2.5)
    x, stuck = fastest(grid, torque_rows(inertia, motion, rest, effort), caps(slope, most))
    assert stuck == -1
    u = np.diff(x) / (2 * np.diff(grid))
    for end in (slice(None, -1), slice(1, None)):
        speed = np.sqrt(x[end, None])
        torque = witness(q[end], slope[end] * speed, slope[end] * u[:, None] + bend[end] * speed**2)
        assert (np.abs(torque) <= effort * (1 + 1e-9)).all()
    peer = quickest_by_toppra(
        [
            toppra.constraint.JointVelocityConstraint(np.stack((-most, most), 1)),
            toppra.constraint.JointTorqueConstraint(
                lambda *state: witness(*state)[0],
                np.stack((-effort, effort), 1),
                np.zeros(AXES),
                discretization_scheme=toppra.constraint.DiscretizationType.Interpolation,
            ),
        ],
        curve,
        grid,
    )
    assert moments(grid, x)[-1] == pytest.approx(peer, rel=1e-5)


def test_a_path_on_which_the_arm_cannot_hold_itself_is_stuck_there():
    grid = np.linspace(0, 1, 11)
    one = np.ones((11, 1))
    rest = np.where(np.arange(11) == 7, 30.0, 5.0)[:, None]
    _, stuck = fastest(grid, torque_rows(one, 0 * one, rest, np.array([20.0])), np.full(11, 1.0))
    assert stuck in (6, 7)


@pytest.mark.parametrize(("length", "speed", "acceleration"), [(1.0, 10.0, 2.0), (1.0, 0.5, 2.0), (3.0, 1.0, 8.0)])
def test_a_straight_path_is_a_trapezoid(length, speed, acceleration):
    grid = np.linspace(0, length, 2001)
    slope = np.ones((2001, 1))
    x, _ = fastest(grid, joint_rows(slope, 0 * slope, np.array([acceleration])), caps(slope, np.array([speed])))
    ramps = speed**2 / acceleration
    exact = 2 * np.sqrt(length / acceleration) if ramps > length else length / speed + speed / acceleration
    assert moments(grid, x)[-1] == pytest.approx(exact, rel=1e-3)
    assert moments(grid, x)[-1] >= exact * (1 - 1e-12)


@given(seed=st.integers(0, 10_000), points=st.integers(4, 9), span=st.floats(-2, 2))
@settings(max_examples=60)
def test_speed_and_acceleration_limits_hold_at_both_ends_of_every_interval(seed, points, span):
    grid, slope, bend, _ = smooth(seed, points, 80)
    acceleration, speed = 10**span * np.arange(1.0, AXES + 1), np.linspace(3, 0.5, AXES)
    x, stuck = fastest(grid, joint_rows(slope, bend, acceleration), caps(slope, speed))
    assert stuck == -1 and x[0] == x[-1] == 0.0 and (x[1:-1] > 0).all()
    assert (np.abs(slope) * np.sqrt(x)[:, None] <= speed * (1 + 1e-9)).all()
    u = np.diff(x) / (2 * np.diff(grid))
    for end in (slice(None, -1), slice(1, None)):
        got = slope[end] * u[:, None] + bend[end] * x[end, None]
        assert (np.abs(got) <= acceleration * (1 + 1e-8)).all()


def test_a_batch_gives_the_same_bits_as_one_path_after_the_other():
    paths = [smooth(seed) for seed in range(5)]
    acceleration, speed = np.full(AXES, 6.0), np.full(AXES, 2.0)
    rows = [joint_rows(slope, bend, acceleration) for _, slope, bend, _ in paths]
    cap = np.stack([caps(slope, speed) for _, slope, _, _ in paths])
    grid = np.stack([path[0] for path in paths])
    stacked = (np.stack([getattr(row, name) for row in rows]) for name in ("along", "square", "low", "high"))
    x, stuck = np.empty_like(grid), np.empty(5, np.int64)
    fastest_all(grid, *stacked, cap, x, stuck)
    for index in range(5):
        alone, _ = fastest(grid[index], rows[index], cap[index])
        assert alone.tobytes() == x[index].tobytes()


def test_two_sets_of_limits_hold_together():
    grid = np.linspace(0, 1, 101)
    one = np.ones((101, 1))
    loose, tight = joint_rows(one, 0 * one, np.array([9.0])), joint_rows(one, 0 * one, np.array([4.0]))
    x, _ = fastest(grid, loose.and_also(tight), np.full(101, 100.0))
    only, _ = fastest(grid, tight, np.full(101, 100.0))
    assert isinstance(loose.and_also(tight), Rows) and x == pytest.approx(only, rel=1e-12)


@given(count=st.integers(4, 40), seed=st.integers(0, 1000))
@settings(max_examples=40)
def test_the_spline_is_scipys(count, seed):
    rng = np.random.default_rng(seed)
    grid, q = np.cumsum(rng.uniform(0.5, 2, count)), rng.normal(size=(count, 3))
    slope, bend = np.empty_like(q), np.empty_like(q)
    spline(grid, q, slope, bend)
    peer = CubicSpline(grid, q)
    assert slope == pytest.approx(peer(grid, 1), abs=1e-9)
    assert bend == pytest.approx(peer(grid, 2), abs=1e-9)
