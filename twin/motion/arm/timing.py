"""Time along a path: the quickest speeds, smoothed until jerk is limited, stretched until every limit is kept.

The quickest speeds have a piecewise constant s̈. Their mean over a moving window of time ends at the same place, is no faster and
accelerates no harder, and its jerk is bounded by the jump of s̈ over the window; s, ṡ, s̈ and s⃛ follow in closed form.
Kernels and all they call stay in this file, since a cached kernel does not notice a change elsewhere.
"""

import numpy as np

from twin.kernel import Floats, kernel


@kernel
def _between(moment: Floats, time: float, at: int) -> int:
    """The interval of knots that holds a time, searched onwards or back from one."""
    last = moment.shape[0] - 2
    while at < last and time >= moment[at + 1]:
        at += 1
    while at > 0 and time < moment[at]:
        at -= 1
    return at


@kernel
def _quick(knots: Floats, time: float, at: int) -> tuple[float, float, float, float]:
    """The unsmoothed motion: integral of s, s, ṡ, s̈ at a time; before and after it stands."""
    last = knots.shape[0] - 1
    if time <= 0.0:
        return 0.0, 0.0, 0.0, 0.0
    if time >= knots[last, 0]:
        return knots[last, 3] + knots[last, 1] * (time - knots[last, 0]), knots[last, 1], 0.0, 0.0
    since = time - knots[at, 0]
    s, speed, acceleration = knots[at, 1], knots[at, 2], knots[at, 4]
    area = knots[at, 3] + since * (s + since * (speed / 2.0 + since * acceleration / 6.0))
    return area, s + since * (speed + since * acceleration / 2.0), speed + acceleration * since, acceleration


@kernel
def knotted(grid: Floats, x: Floats, knots: Floats) -> None:
    """Times and areas of the quickest motion.

    Args:
        grid, x: (k,) path and ṡ² of `twin.motion.arm.path`.
        knots: (k, 5) time, s, ṡ, integral of s over time, s̈ until the next; overwritten.
    """
    time, area = 0.0, 0.0
    for i in range(grid.shape[0]):
        speed = np.sqrt(x[i])
        knots[i, 0], knots[i, 1], knots[i, 2], knots[i, 3], knots[i, 4] = time, grid[i], speed, area, 0.0
        if i + 1 < grid.shape[0]:
            way = grid[i + 1] - grid[i]
            lasts = 2.0 * way / (speed + np.sqrt(x[i + 1]))
            acceleration = (x[i + 1] - x[i]) / (2.0 * way)
            knots[i, 4] = acceleration
            area += lasts * (grid[i] + lasts * (speed / 2.0 + lasts * acceleration / 6.0))
            time += lasts


@kernel
def travel(
    knots: Floats,
    window: float,
    stretch: float,
    grid: Floats,
    q: Floats,
    bend: Floats,
    time: Floats,
    way: Floats,
    joints: Floats,
) -> None:
    """The smoothed motion at given times.

    Args:
        knots: (k, 5) of `knotted`.
        window: of the mean [s].
        stretch: how much slower than that; the motion lasts stretch · (last time of the knots + window).
        grid, q, bend: (k,), (k, n), (k, n) the path's spline, q and q''.
        time: (m,) increasing [s].
        way: (m, 6) s, ṡ, s̈, s⃛, and where the unsmoothed motion is at the window's begin and end; overwritten.
        joints: (4, m, n) q and its three derivatives; overwritten.
    """
    now, then, piece = 0, 0, 0
    for row in range(time.shape[0]):
        at = time[row] / stretch
        now, then = _between(knots[:, 0], at, now), _between(knots[:, 0], at - window, then)
        area, s, speed, acceleration = _quick(knots, at, now)
        old_area, old_s, old_speed, old_acceleration = _quick(knots, at - window, then)
        place = min(max((area - old_area) / window, grid[0]), grid[grid.shape[0] - 1])
        first = (s - old_s) / window / stretch
        second = (speed - old_speed) / window / stretch**2
        third = (acceleration - old_acceleration) / window / stretch**3
        way[row, 0], way[row, 1], way[row, 2], way[row, 3] = place, first, second, third
        way[row, 4], way[row, 5] = old_s, s
        piece = _between(grid, place, piece)
        step = grid[piece + 1] - grid[piece]
        right = (place - grid[piece]) / step
        left = 1.0 - right
        for axis in range(q.shape[1]):
            low, high = bend[piece, axis], bend[piece + 1, axis]
            chord = (q[piece + 1, axis] - q[piece, axis]) / step
            slope = chord + step / 6.0 * ((3.0 * right * right - 1.0) * high - (3.0 * left * left - 1.0) * low)
            curve = left * low + right * high
            sway = (high - low) / step
            fixed = left * q[piece, axis] + right * q[piece + 1, axis]
            joints[0, row, axis] = fixed + step * step / 6.0 * ((left**3 - left) * low + (right**3 - right) * high)
            joints[1, row, axis] = slope * first
            joints[2, row, axis] = slope * second + curve * first * first
            joints[3, row, axis] = slope * third + 3.0 * curve * first * second + sway * first**3


@kernel
def slowed(grid: Floats, x: Floats, way: Floats, strain: Floats, cap: Floats) -> None:
    """Lower the path's speed wherever it takes part in a sample that exceeds a limit: time is stretched there only.

    Half of the excess is taken off, since a little coasting between speeding up and slowing down often is enough.

    Args:
        grid, x: (k,) path and ṡ² of the unsmoothed motion.
        way: (m, 6) of `travel`, unstretched.
        strain: (m,) how many times slower each sample must be.
        cap: (k,) largest x, lowered.
    """
    begin = 0
    for row in range(way.shape[0]):
        while begin + 1 < grid.shape[0] and grid[begin + 1] <= way[row, 4]:
            begin += 1
        at = begin
        while strain[row] > 1.0 and at < grid.shape[0] and (at == begin or grid[at - 1] < way[row, 5]):
            cap[at] = min(cap[at], x[at] / strain[row])
            at += 1
