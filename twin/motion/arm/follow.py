"""Follows a path of the joints, from rest to rest, in nearly the least time that speed, acceleration, jerk and torque allow."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from twin.kernel import Floats, Ints
from twin.motion.arm import timing
from twin.motion.arm.limits import ArmLimits
from twin.motion.arm.path import STEEPEST, Rows, caps, fastest, joint_rows, spline, torque_rows

Torques = Callable[[Floats, Floats, Floats], Floats]
"""(k, n) torques of (k, n) angles, speeds and accelerations, without friction."""

# Windows of time that are tried, in the time that the joints take to reach their full acceleration.
_WINDOWS = (0.5, 0.75, 1.0, 1.5, 2.0)
_ROUNDS = 8
_GOOD = 1.002  # a motion that must be stretched by less is not worth another round
_MOST_TRIES = 12
_LEAST_PROBES, _MOST_PROBES = 100, 2000
_ENOUGH = 1e-9  # share of a limit, for rounding


@dataclass(frozen=True, slots=True)
class Path:
    """What is to be followed.

    Attributes:
        grid: (k,) increasing.
        q: (k, n) joint angles there.
        pace: (k,) largest ṡ.
        share: (k,) of the joints' speed limits.
        rows: other limits at the grid points, such as the tool's.
        torques: of the joints, or None where they don't matter.
    """

    grid: Floats
    q: Floats
    pace: Floats
    share: Floats
    rows: Rows | None = None
    torques: Torques | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """Samples at whole multiples of the interval, first and last at rest at the path's ends.

    Attributes:
        s: (m,) place on the path.
        q, qd, qdd: (m, n).
    """

    s: Floats
    q: Floats
    qd: Floats
    qdd: Floats


@dataclass(frozen=True, slots=True)
class Stuck:
    """The path can't be followed: at grid point `index` some limit is exceeded even at rest, or however slow the motion."""

    index: int


@dataclass(frozen=True, slots=True)
class Endless:
    """The motion would need `count` samples, more than it may have."""

    count: float


def follow(path: Path, limits: ArmLimits, most: int) -> Followed | Stuck | Endless:
    """The path's samples, at most so many; every limit is kept at each of them."""
    slope, bend = np.empty_like(path.q), np.empty_like(path.q)
    spline(path.grid, path.q, slope, bend)
    rows = _rows(path, slope, bend, limits)
    cap = caps(slope, limits.speed * path.share[:, None], path.pace)
    x, stuck = fastest(path.grid, rows, cap)
    if stuck >= 0:
        return Stuck(stuck)
    chase = _Chase(path, bend, rows, limits)
    return chase.sampled(min((chase.best(window, x, cap) for window in chase.windows()), key=lambda motion: motion.lasts), most)


def spline_between(grid: Floats, q: Floats) -> tuple[Floats, Floats]:
    """(k - 1,) middles between the points of a path, and (k - 1, n) its spline there."""
    slope, bend = np.empty_like(q), np.empty_like(q)
    spline(grid, q, slope, bend)
    step = np.diff(grid)[:, None]
    return (grid[1:] + grid[:-1]) / 2, (q[1:] + q[:-1]) / 2 - step**2 * (bend[1:] + bend[:-1]) / 16


def rest_torques(q: Floats, torques: Torques) -> Floats:
    """(k, n) torques that hold the joints still."""
    still = np.zeros_like(q)
    return torques(q, still, still)


def free_effort(limits: ArmLimits) -> Floats:
    """(n,) torques that are left when friction at full speed is overcome [N m]."""
    friction = [joint.coulomb + joint.viscous * joint.speed for joint in limits.robot.joints]
    return np.asarray(limits.effort - np.array(friction))


def _rows(path: Path, slope: Floats, bend: Floats, limits: ArmLimits) -> Rows:
    rows = joint_rows(slope, bend, np.array(limits.acceleration))
    if path.rows is not None:
        rows = rows.and_also(path.rows)
    if path.torques is not None:
        still = np.zeros_like(slope)
        rest = rest_torques(path.q, path.torques)
        inertia = path.torques(path.q, still, slope) - rest
        motion = path.torques(path.q, slope, bend) - rest
        rows = rows.and_also(torque_rows(inertia, motion, rest, free_effort(limits)))
    return rows


@dataclass(frozen=True, slots=True)
class _Motion:
    """The mean over a window of a motion given by its knots, stretched in time."""

    knots: Floats
    window: float
    stretch: float

    @property
    def lasts(self) -> float:
        return self.stretch * (float(self.knots[-1, 0]) + self.window)


@dataclass(frozen=True, slots=True)
class _Chase:
    """A path on the way from its quickest motion to one that keeps every limit."""

    path: Path
    bend: Floats
    rows: Rows
    limits: ArmLimits

    def windows(self) -> list[float]:
        ramp = float(np.max(np.array(self.limits.acceleration) / np.array(self.limits.jerk)))
        return [ramp * share for share in _WINDOWS]

    def best(self, window: float, x: Floats, cap: Floats) -> _Motion:
        """The quickest of some motions, each of which is slower where the one before exceeded a limit."""
        cap = np.minimum(cap, STEEPEST)
        found: list[_Motion] = []
        for _ in range(_ROUNDS):
            knots = np.empty((len(x), 5))
            timing.knotted(self.path.grid, x, knots)
            motion = _Motion(knots, window, 1.0)
            probes = min(max(int(2 * motion.lasts / self.limits.interval), _LEAST_PROBES), _MOST_PROBES)
            way, joints = self._travel(motion, _evenly(probes, motion.lasts))
            strain = self._strains(way, joints)
            worst = float(np.max(strain))
            found.append(_Motion(knots, window, max(1.0, worst)))
            if worst <= _GOOD:
                break
            timing.slowed(self.path.grid, x, way, strain, cap)
            x, stuck = fastest(self.path.grid, self.rows, cap)
            if stuck >= 0:
                break
        return min(found, key=lambda motion: motion.lasts)

    def sampled(self, motion: _Motion, most: int) -> Followed | Stuck | Endless:
        """Samples of the motion, stretched further to a whole number of intervals and until each sample keeps the limits."""
        interval, unstretched = self.limits.interval, motion.lasts / motion.stretch
        strain, worst = motion.stretch, 0
        for _ in range(_MOST_TRIES):
            wanted = strain * unstretched / interval
            if not wanted < most:
                return Endless(wanted)
            count = max(1, int(np.ceil(wanted * (1 - 1e-12))))
            stretch = count * interval / unstretched
            way, joints = self._travel(replace(motion, stretch=stretch), _evenly(count, count * interval))
            strains = self._strains(way, joints)
            over = float(np.max(strains))
            if over <= 1.0 + _ENOUGH:
                joints[0, 0], joints[0, -1] = self.path.q[0], self.path.q[-1]
                joints[1:, 0], joints[1:, -1] = 0.0, 0.0
                return Followed(way[:, 0], joints[0], joints[1], joints[2])
            strain, worst = stretch * over, self._at(way)[int(np.argmax(strains))]
        return Stuck(int(worst))

    def _travel(self, motion: _Motion, time: Floats) -> tuple[Floats, Floats]:
        way, joints = np.empty((len(time), 6)), np.empty((4, len(time), self.path.q.shape[1]))
        grid, q = self.path.grid, self.path.q
        timing.travel(motion.knots, motion.window, motion.stretch, grid, q, self.bend, time, way, joints)
        return way, joints

    def _at(self, way: Floats) -> Ints:
        """(m,) the grid point at or before each sample."""
        grid = self.path.grid
        return np.clip(np.searchsorted(grid, way[:, 0], side="right") - 1, 0, len(grid) - 2)

    def _strains(self, way: Floats, joints: Floats) -> Floats:
        """(m,) how many times slower each sample must be, at most 1 where it exceeds no limit."""
        limits, at = self.limits, self._at(way)
        share = np.maximum(self.path.share[at], self.path.share[at + 1])
        pace = np.maximum(self.path.pace[at], self.path.pace[at + 1])
        strains = [
            np.max(np.abs(joints[1]) / limits.speed, axis=1) / share,
            way[:, 1] / pace,
            np.sqrt(np.max(np.abs(joints[2]) / np.array(limits.acceleration), axis=1)),
            np.cbrt(np.max(np.abs(joints[3]) / np.array(limits.jerk), axis=1)),
        ]
        if self.path.rows is not None:
            strains.append(np.sqrt(_overloads(self.path.rows, at, way)))
        if self.path.torques is not None:
            strains.append(np.sqrt(np.max(torque_shares(joints[0], joints[1], joints[2], self.path.torques, limits), axis=1)))
        return np.asarray(np.max(strains, axis=0))


def _evenly(count: int, whole: float) -> Floats:
    """(count + 1,) numbers from 0 to the whole."""
    return np.asarray(np.linspace(0.0, whole, count + 1), dtype=np.float64)


def torque_shares(q: Floats, qd: Floats, qdd: Floats, torques: Torques, limits: ArmLimits) -> Floats:
    """(m, n) torque that goes with motion, over what holding the arm still leaves of the limit."""
    rest = rest_torques(q, torques)
    moving, effort = torques(q, qd, qdd) - rest, free_effort(limits)
    room = np.where(moving > 0, effort - rest, effort + rest)
    return np.asarray(np.abs(moving) / np.maximum(room, 1e-12))


def _overloads(rows: Rows, at: Ints, way: Floats) -> Floats:
    """(m,) largest share of a limit that is used; limits at a sample are the looser ones of its two grid points."""
    u, x = way[:, 2, None], way[:, 1, None] ** 2
    both = []
    for end in (at, at + 1):
        used = rows.along[end] * u + rows.square[end] * x
        both.append(np.max(np.where(used > 0, used / rows.high[end], used / rows.low[end]), axis=1))
    return np.asarray(np.minimum(*both))
