"""How fast a path may be followed: time-optimal within speed, acceleration and torque limits.

A path is q(s). With x = ṡ² and u = s̈ every limit is a row  low ≤ a(s) u + b(s) x ≤ high: a joint's acceleration has
a = q', b = q''; its torque a = M q', b = M q'' + C(q, q') q', and gravity taken off low and high. Going backwards over the
grid, each stage keeps the largest and least x from which the next stage can be reached (reachability analysis, as toppra does);
going forwards, each takes the largest u. A row holds at both ends of the interval in which u is constant.
Kernels and all they call stay in this file, since a cached kernel does not notice a change elsewhere.
"""

from dataclasses import dataclass

import numpy as np

from twin.kernel import Floats, Ints, kernel

STEEPEST = 1e12  # x where no row bounds it
_MOST_TURNS = 64
_TOP, _BOTTOM, _SLOPE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Rows:
    """Limits along one path: low ≤ along · u + square · x ≤ high at each of k grid points.

    Attributes:
        along, square, low, high: (k, m).
    """

    along: Floats
    square: Floats
    low: Floats
    high: Floats

    def and_also(self, other: "Rows") -> "Rows":
        """Both."""
        parts = ((self.along, other.along), (self.square, other.square), (self.low, other.low), (self.high, other.high))
        return Rows(*(np.ascontiguousarray(np.concatenate(pair, axis=1)) for pair in parts))


def joint_rows(slope: Floats, bend: Floats, acceleration: Floats) -> Rows:
    """Accelerations of the joints.

    Args:
        slope, bend: (k, n) q' and q'' over the path's own length.
        acceleration: (n,) limits.
    """
    high = np.broadcast_to(acceleration, slope.shape)
    return Rows(slope, bend, np.ascontiguousarray(-high), np.ascontiguousarray(high))


def torque_rows(inertia: Floats, motion: Floats, rest: Floats, effort: Floats) -> Rows:
    """Torques of the joints.

    Args:
        inertia, motion: (k, n) torques that go with s̈ and with ṡ².
        rest: (k, n) torques at rest: gravity, and Coulomb friction in the direction of the path.
        effort: (n,) limits [N m].
    """
    return Rows(inertia, motion, -effort - rest, effort - rest)


def caps(slope: Floats, speed: Floats, pace: Floats | float = np.inf) -> Floats:
    """(k,) largest x at which no joint and not the path itself is too fast.

    Args:
        slope: (k, n) q'.
        speed: (n,) limits.
        pace: (k,) or one number, largest ṡ.
    """
    with np.errstate(divide="ignore"):
        joints = np.min(np.where(slope == 0.0, np.inf, speed / np.abs(slope)), axis=1)
    return np.asarray(np.minimum(np.minimum(joints, pace) ** 2, STEEPEST))


def fastest(grid: Floats, rows: Rows, cap: Floats) -> tuple[Floats, int]:
    """The largest speeds along a path from rest to rest.

    Args:
        grid: (k,) increasing.
        cap: (k,) largest x.

    Returns:
        (k,) x = ṡ² and -1; or, where some stage can't be passed at any speed, the index of that stage.
    """
    x = np.zeros(len(grid))
    stuck = np.empty(1, np.int64)
    fastest_all(grid[None], rows.along[None], rows.square[None], rows.low[None], rows.high[None], cap[None], x[None], stuck)
    return x, int(stuck[0])


def moments(grid: Floats, x: Floats) -> Floats:
    """(k,) when each grid point is passed [s], s̈ being constant in between."""
    speed = np.sqrt(x)
    return np.concatenate(([0.0], np.cumsum(2.0 * np.diff(grid) / (speed[:-1] + speed[1:]))))


@kernel
def spline(grid: Floats, q: Floats, slope: Floats, bend: Floats) -> None:
    """The cubic spline through points of a path, with no jump of q''' at the second and the last but one (not-a-knot).

    Args:
        grid: (k,) increasing, at least four.
        q: (k, n) points.
        slope, bend: (k, n) q' and q'' at the points; overwritten.
    """
    last = grid.shape[0] - 1
    upper, scale = np.empty(last + 1), np.empty(last + 1)
    first_ratio = (grid[1] - grid[0]) / (grid[2] - grid[1])
    last_ratio = (grid[last] - grid[last - 1]) / (grid[last - 1] - grid[last - 2])
    for i in range(1, last):
        before, after = grid[i] - grid[i - 1], grid[i + 1] - grid[i]
        left, middle, right = before, 2.0 * (before + after), after
        if i == 1:
            left, middle, right = 0.0, middle + before * (1.0 + first_ratio), right - before * first_ratio
        if i == last - 1:
            left, middle, right = left - after * last_ratio, middle + after * (1.0 + last_ratio), 0.0
        scale[i] = 1.0 / (middle - left * (upper[i - 1] if i > 1 else 0.0))
        upper[i] = right * scale[i]
        for axis in range(q.shape[1]):
            load = 6.0 * ((q[i + 1, axis] - q[i, axis]) / after - (q[i, axis] - q[i - 1, axis]) / before)
            bend[i, axis] = (load - (left * bend[i - 1, axis] if i > 1 else 0.0)) * scale[i]
    for axis in range(q.shape[1]):
        for i in range(last - 2, 0, -1):
            bend[i, axis] -= upper[i] * bend[i + 1, axis]
        bend[0, axis] = bend[1, axis] + first_ratio * (bend[1, axis] - bend[2, axis])
        bend[last, axis] = bend[last - 1, axis] + last_ratio * (bend[last - 1, axis] - bend[last - 2, axis])
        for i in range(last + 1):
            at = min(i, last - 1)
            step = grid[at + 1] - grid[at]
            chord = (q[at + 1, axis] - q[at, axis]) / step
            if i < last:
                slope[i, axis] = chord - step * (2.0 * bend[i, axis] + bend[i + 1, axis]) / 6.0
            else:
                slope[i, axis] = chord + step * (bend[i - 1, axis] + 2.0 * bend[i, axis]) / 6.0


@kernel
def _row(along: float, square: float, low: float, high: float, rows: Floats, count: int, bounds: Floats) -> int:
    """Add a limit to a stage as bottom - slope x ≤ u ≤ top - slope x; where u does not matter, it bounds x."""
    if abs(along) > 1e-14:
        slope, one, other = square / along, low / along, high / along
        rows[_TOP, count], rows[_BOTTOM, count], rows[_SLOPE, count] = max(one, other), min(one, other), slope
        return count + 1
    if abs(square) > 1e-14:
        one, other = low / square, high / square
        bounds[0], bounds[1] = max(bounds[0], min(one, other)), min(bounds[1], max(one, other))
    elif low > 0.0 or high < 0.0:
        bounds[1] = -1.0
    return count


@kernel
def _stage(
    i: int,
    grid: Floats,
    along: Floats,
    square: Floats,
    low: Floats,
    high: Floats,
    reach: Floats,
    cap: Floats,
    rows: Floats,
    bounds: Floats,
) -> int:
    """All limits of the interval from grid point i to the next; returns how many rows there are."""
    twice = 2.0 * (grid[i + 1] - grid[i])
    bounds[0], bounds[1] = 0.0, cap[i]
    count = _row(twice, 1.0, reach[i + 1, 0], reach[i + 1, 1], rows, 0, bounds)
    for j in range(along.shape[1]):
        count = _row(along[i, j], square[i, j], low[i, j], high[i, j], rows, count, bounds)
        next_along = along[i + 1, j] + twice * square[i + 1, j]
        count = _row(next_along, square[i + 1, j], low[i + 1, j], high[i + 1, j], rows, count, bounds)
    return count


@kernel
def _tightest(rows: Floats, count: int, x: float) -> tuple[int, int]:
    """The rows that bound u from above and from below at x."""
    upper, lower = 0, 0
    top, bottom = np.inf, -np.inf
    for j in range(count):
        shift = rows[_SLOPE, j] * x
        if rows[_TOP, j] - shift < top:
            upper, top = j, rows[_TOP, j] - shift
        if rows[_BOTTOM, j] - shift > bottom:
            lower, bottom = j, rows[_BOTTOM, j] - shift
    return upper, lower


@kernel
def _edge(rows: Floats, count: int, x: float, downwards: bool) -> float:
    """The x nearest to a first one, in one direction, at which some u keeps every row; -1 where there is none.

    The room between the bounds is a concave function of x: stepping to where its two tightest rows meet never passes the edge.
    """
    before_upper, before_lower = -1, -1
    for _ in range(_MOST_TURNS):
        upper, lower = _tightest(rows, count, x)
        room = rows[_TOP, upper] - rows[_BOTTOM, lower]
        lean = rows[_SLOPE, upper] - rows[_SLOPE, lower]
        if room - lean * x >= 0.0 or (upper == before_upper and lower == before_lower):
            return x
        if lean == 0.0 or (lean > 0.0) != downwards:
            return -1.0
        x = room / lean
        before_upper, before_lower = upper, lower
    return x


@kernel
def _follow(
    grid: Floats, along: Floats, square: Floats, low: Floats, high: Floats, cap: Floats, x: Floats, reach: Floats, rows: Floats
) -> int:
    last = grid.shape[0] - 1
    bounds = np.empty(2)
    reach[last, 0], reach[last, 1] = 0.0, 0.0
    for i in range(last - 1, -1, -1):
        count = _stage(i, grid, along, square, low, high, reach, cap, rows, bounds)
        most = _edge(rows, count, bounds[1], True)
        least = _edge(rows, count, bounds[0], False)
        if least < 0.0 or least > most:
            return i
        reach[i, 0], reach[i, 1] = least, most
    if reach[0, 0] > 0.0:
        return 0
    x[0] = 0.0
    for i in range(last):
        count = _stage(i, grid, along, square, low, high, reach, cap, rows, bounds)
        upper, _ = _tightest(rows, count, x[i])
        u = rows[_TOP, upper] - rows[_SLOPE, upper] * x[i]
        ahead = x[i] + 2.0 * (grid[i + 1] - grid[i]) * u
        x[i + 1] = min(max(ahead, reach[i + 1, 0]), reach[i + 1, 1])
        if x[i] + x[i + 1] <= 0.0:
            return i
    return -1


@kernel
def fastest_all(
    grid: Floats, along: Floats, square: Floats, low: Floats, high: Floats, cap: Floats, x: Floats, stuck: Ints
) -> None:
    """Many paths at once, each from rest to rest.

    Args:
        grid: (p, k).
        along, square, low, high: (p, k, m) see Rows.
        cap: (p, k) largest x.
        x: (p, k) ṡ², overwritten.
        stuck: (p,) -1, or the index of a stage that can't be passed; overwritten.
    """
    reach = np.empty((grid.shape[1], 2))
    rows = np.empty((3, 2 * along.shape[2] + 1))
    for path in range(grid.shape[0]):
        stuck[path] = _follow(grid[path], along[path], square[path], low[path], high[path], cap[path], x[path], reach, rows)
