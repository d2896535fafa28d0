"""Trajectories for six axes against ruckig and toppra, one thread each, nanoseconds a trajectory.

Both peers are compiled and called from Python, trajectory by trajectory, with everything prepared that can be; ours is a
batch in one call. Where ours is called for one trajectory at a time, too, the row says so.
"""

from collections.abc import Callable

import numpy as np
import ruckig
import toppra
import toppra.algorithm
import toppra.constraint
from scipy.interpolate import CubicSpline

from tests.bench.pairs import Row, paired
from twin.motion.arm import profile
from twin.motion.arm.path import caps, fastest_all, joint_rows, moments

AXES, MOVES, PATHS, POINTS = 6, 2_000, 20, 201
SPEED, ACCELERATION, JERK = np.full(AXES, np.pi), np.full(AXES, 4 * np.pi), np.full(AXES, 40 * np.pi)


def _distances() -> np.ndarray:
    return np.random.default_rng(6).uniform(-np.pi, np.pi, (MOVES, AXES))


def _asked() -> tuple[ruckig.Ruckig, ruckig.InputParameter, ruckig.Trajectory]:
    asked = ruckig.InputParameter(AXES)
    asked.max_velocity, asked.max_acceleration, asked.max_jerk = SPEED, ACCELERATION, JERK
    return ruckig.Ruckig(AXES), asked, ruckig.Trajectory(AXES)


def _rest_to_rest(batch: int) -> Row:
    """Durations, phases and jerks of synchronised axes; the error is that of durations, in seconds."""
    distance, phases, duration = _distances(), np.empty((MOVES, AXES, 4)), np.empty(MOVES)
    generator, asked, found = _asked()
    parts = [slice(first, first + batch) for first in range(0, MOVES, batch)]

    def ours() -> None:
        for part in parts:
            profile.rest_to_rest(distance[part], SPEED, ACCELERATION, JERK, 0.0, phases[part], duration[part])

    def peer() -> None:
        for target in distance:
            asked.target_position = target
            generator.calculate(asked, found)

    ours()
    error = 0.0
    for index, target in enumerate(distance):
        asked.target_position = target
        generator.calculate(asked, found)
        error = max(error, abs(found.duration - duration[index]))
    pair = paired(ours, peer)
    name = "ruckig calculate, from Python"
    return Row(pair.ours / MOVES * 1e9, pair.peer / MOVES * 1e9, name, pair.ratio, error)


def path_following() -> Row:
    """Speeds along paths through 5 points at 201 places, within speed and acceleration limits, both from prepared rows; the
    error is that of durations, in shares."""
    rng = np.random.default_rng(7)
    grid = np.linspace(0, 1, POINTS)
    knots = np.linspace(0, 1, 5)
    ways = rng.uniform(-2, 2, (PATHS, 5, AXES))
    curves = [CubicSpline(knots, way) for way in ways]
    rows = [joint_rows(curve(grid, 1), curve(grid, 2), ACCELERATION) for curve in curves]
    stacked = [np.stack([getattr(row, name) for row in rows]) for name in ("along", "square", "low", "high")]
    cap = np.stack([caps(curve(grid, 1), SPEED) for curve in curves])
    grids, x, stuck = np.tile(grid, (PATHS, 1)), np.zeros((PATHS, POINTS)), np.empty(PATHS, np.int64)
    limits = [
        toppra.constraint.JointVelocityConstraint(np.stack((-SPEED, SPEED), 1)),
        toppra.constraint.JointAccelerationConstraint(np.stack((-ACCELERATION, ACCELERATION), 1)),
    ]
    toppra.setup_logging("ERROR")
    instances = [
        toppra.algorithm.TOPPRA(limits, toppra.SplineInterpolator(knots, way), gridpoints=grid, solver_wrapper="seidel")
        for way in ways
    ]

    def ours() -> None:
        fastest_all(grids, *stacked, cap, x, stuck)

    def peer() -> None:
        for instance in instances:
            instance.compute_parameterization(0, 0)

    ours()
    error = 0.0
    for index, instance in enumerate(instances):
        _, speed, _ = instance.compute_parameterization(0, 0)
        lasts = float(np.sum(2 * np.diff(grid) / (speed[:-1] + speed[1:])))
        error = max(error, abs(moments(grid, x[index])[-1] / lasts - 1))
    pair = paired(ours, peer)
    name = "toppra compute_parameterization (seidel)"
    return Row(pair.ours / PATHS * 1e9, pair.peer / PATHS * 1e9, name, pair.ratio, error)


METRICS: tuple[tuple[str, Callable[[], Row]], ...] = (
    ("trajectory: rest to rest, 6 axes", lambda: _rest_to_rest(MOVES)),
    ("trajectory: rest to rest, one a call", lambda: _rest_to_rest(1)),
    ("trajectory: path following", path_following),
)
