"""From rest to rest with limited jerk: seven phases in closed form, for any number of axes and moves at once.

An axis speeds up with the phases +jerk, level, -jerk, cruises, and slows down in mirror image; so three durations and a
jerk tell all. Axes of one move last equally long: each has its own quickest profile, stretched in time to the slowest
axis' duration, which is the least that any synchronised move can take.
Kernels and all they call stay in this file, since a cached kernel does not notice a change elsewhere.
"""

import numpy as np

from twin.kernel import Floats, kernel

RAMP, LEVEL, CRUISE, JERK = range(4)
"""Columns of an axis' phases: how long jerk acts, how long acceleration stays, how long speed stays [s]; the jerk, signed."""


@kernel
def _shortest(distance: float, speed: float, acceleration: float, jerk: float) -> tuple[float, float, float]:
    """The three durations of the quickest profile over a distance ≥ 0."""
    ramp = acceleration / jerk
    level = speed / acceleration - ramp
    if level < 0.0:
        ramp, level = np.sqrt(speed / jerk), 0.0
    cruise = distance / speed - (2.0 * ramp + level)
    if cruise >= 0.0:
        return ramp, level, cruise
    ramp = acceleration / jerk
    over = distance / acceleration - 2.0 * ramp * ramp
    if over >= 0.0:
        return ramp, 2.0 * over / (3.0 * ramp + np.sqrt(ramp * ramp + 4.0 * distance / acceleration)), 0.0
    return np.cbrt(distance / (2.0 * jerk)), 0.0, 0.0


@kernel
def _stretch(phases: Floats, distance: Floats, duration: float) -> None:
    """Make every axis last as long; jerks follow from durations and distance, so each axis covers its distance exactly."""
    for axis in range(distance.shape[0]):
        own = 4.0 * phases[axis, RAMP] + 2.0 * phases[axis, LEVEL] + phases[axis, CRUISE]
        if own == 0.0:
            phases[axis, CRUISE] = duration
            phases[axis, JERK] = 0.0
            continue
        scale = duration / own
        ramp, level, cruise = phases[axis, RAMP] * scale, phases[axis, LEVEL] * scale, phases[axis, CRUISE] * scale
        phases[axis, RAMP], phases[axis, LEVEL], phases[axis, CRUISE] = ramp, level, cruise
        phases[axis, JERK] = distance[axis] / (ramp * (ramp + level) * (2.0 * ramp + level + cruise))


@kernel
def rest_to_rest(
    distance: Floats, speed: Floats, acceleration: Floats, jerk: Floats, interval: float, phases: Floats, duration: Floats
) -> None:
    """Quickest synchronised moves between rests.

    Args:
        distance: (m, n) of each move and axis, signed [rad].
        speed, acceleration, jerk: (n,) limits.
        interval: durations are rounded up to whole multiples of it [s]; 0 leaves them.
        phases: (m, n, 4) overwritten; see RAMP, LEVEL, CRUISE, JERK.
        duration: (m,) [s], overwritten; 0 where nothing moves.
    """
    for move in range(distance.shape[0]):
        longest = 0.0
        for axis in range(distance.shape[1]):
            ramp, level, cruise = _shortest(abs(distance[move, axis]), speed[axis], acceleration[axis], jerk[axis])
            phases[move, axis, RAMP], phases[move, axis, LEVEL], phases[move, axis, CRUISE] = ramp, level, cruise
            longest = max(longest, 4.0 * ramp + 2.0 * level + cruise)
        if interval > 0.0:
            longest = np.ceil(longest / interval * (1.0 - 1e-12)) * interval
        duration[move] = longest
        _stretch(phases[move], distance[move], longest)


@kernel
def durations(distance: Floats, speed: Floats, acceleration: Floats, jerk: Floats, out: Floats) -> None:
    """How long the quickest synchronised moves last, as `rest_to_rest`, but nothing else.

    Args:
        out: (m,) [s], overwritten.
    """
    for move in range(distance.shape[0]):
        longest = 0.0
        for axis in range(distance.shape[1]):
            ramp, level, cruise = _shortest(abs(distance[move, axis]), speed[axis], acceleration[axis], jerk[axis])
            longest = max(longest, 4.0 * ramp + 2.0 * level + cruise)
        out[move] = longest


@kernel
def _after(ramp: float, level: float, cruise: float, jerk: float, time: float) -> tuple[float, float, float]:
    """Distance, speed and acceleration of one axis in the first half of its profile."""
    first = min(time, ramp)
    acceleration = jerk * first
    speed = acceleration * first / 2.0
    distance = speed * first / 3.0
    steady = min(time - first, level)
    distance += speed * steady + acceleration * steady * steady / 2.0
    speed += acceleration * steady
    last = min(time - first - steady, ramp)
    distance += speed * last + acceleration * last * last / 2.0 - jerk * last**3 / 6.0
    speed += acceleration * last - jerk * last * last / 2.0
    acceleration -= jerk * last
    level_time = time - first - steady - last
    if level_time > 0.0:
        distance += speed * level_time
        acceleration = 0.0
    return distance, speed, acceleration


@kernel
def sample(
    phases: Floats, start: Floats, target: Floats, duration: float, time: Floats, q: Floats, qd: Floats, qdd: Floats
) -> None:
    """Where one move's axes are. Reckoned from the nearer end, so a move ends exactly at its target.

    Args:
        phases: (n, 4) of `rest_to_rest`.
        start, target: (n,) [rad].
        time: (k,) [s]; before and after the move the axes stand.
        q, qd, qdd: (k, n) angles, speeds, accelerations; overwritten.
    """
    for row in range(time.shape[0]):
        now = min(max(time[row], 0.0), duration)
        late = now > duration / 2.0
        since = duration - now if late else now
        for axis in range(start.shape[0]):
            ramp, level, cruise = phases[axis, RAMP], phases[axis, LEVEL], phases[axis, CRUISE]
            distance, speed, acceleration = _after(ramp, level, cruise, phases[axis, JERK], since)
            q[row, axis] = target[axis] - distance if late else start[axis] + distance
            qd[row, axis] = speed
            qdd[row, axis] = -acceleration if late else acceleration
