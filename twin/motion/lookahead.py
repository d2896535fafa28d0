"""Look-ahead over a whole program: trapezoids that meet at the largest speeds which classic jerk allows.

The rules are those that printers with classic jerk and the slicers' estimators share. At a junction both moves run at
one common speed, at which no axis may jump by more than its jerk; an axis that reverses may do so on either side of
standstill. Where stopping and starting again within jerk is no slower, the moves do that, at independent speeds.
Kernels and all they call stay in this file, since a cached kernel does not notice a change elsewhere.
"""

import numpy as np

from twin.kernel import Floats, Ints, kernel

# Columns of a settings row: see twin.motion.program.
_SPEED, _JERK, _PRINT, _RETRACT, _TRAVEL, _MIN_PRINT, _MIN_TRAVEL = 4, 8, 12, 13, 14, 15, 16
# A rest within jerk that is this close to the junction speed is taken instead of it.
_AS_GOOD = 0.99


@kernel
def cruise(
    delta: Floats, feed: Floats, setting: Ints, settings: Floats, along: Floats, move: Floats, slowed: Ints
) -> None:
    """Speeds and accelerations that each move may have for itself.

    Args:
        delta: (n, 4) X, Y, Z, E of each move [mm].
        feed: (n,) asked for [mm/s].
        setting: (n,) row of settings.
        settings: (k, 17) as in twin.motion.program.
        along: (n, 4) share of each axis in a millimetre of path, overwritten.
        move: (n, 4) distance [mm], acceleration [mm/s²], cruise speed, speed to start and stop at [mm/s]; overwritten.
        slowed: (n,) the axis whose largest speed slows the move, else -1; overwritten.
    """
    for i in range(delta.shape[0]):
        limit = settings[setting[i]]
        fed = delta[i, 3] != 0.0
        distance = np.sqrt(delta[i, 0] ** 2 + delta[i, 1] ** 2 + delta[i, 2] ** 2)
        acceleration = limit[_PRINT] if fed else limit[_TRAVEL]
        if distance == 0.0:
            distance = abs(delta[i, 3])
            acceleration = limit[_RETRACT]
        speed = max(feed[i], limit[_MIN_PRINT] if fed else limit[_MIN_TRAVEL])
        slowed[i] = -1
        for axis in range(4):
            along[i, axis] = delta[i, axis] / distance
            share = abs(along[i, axis])
            if share * speed > limit[_SPEED + axis] * (1 + 1e-9):
                speed = limit[_SPEED + axis] / share
                slowed[i] = axis
            if share * acceleration > limit[axis]:
                acceleration = limit[axis] / share
        safe = speed
        for axis in range(4):
            # The slicers' rule, stricter than physics asks for: the path, too, may not be faster than the axis' jerk.
            # An axis goes further than the path where E is fed during a short move.
            if abs(along[i, axis]) * speed > limit[_JERK + axis]:
                safe = min(safe, limit[_JERK + axis] / max(1.0, abs(along[i, axis])))
        move[i, 0], move[i, 1], move[i, 2], move[i, 3] = distance, acceleration, speed, safe


@kernel
def _jump(leaving: float, entering: float) -> float:
    """How far an axis' speed jumps; where it reverses, the larger side counts."""
    if leaving * entering > 0.0:
        return abs(leaving - entering)
    return max(abs(leaving), abs(entering))


@kernel
def _junction(along: Floats, move: Floats, i: int, jerk: Floats) -> float:
    """The largest common speed of moves i - 1 and i where they meet."""
    speed = float(min(move[i - 1, 2], move[i, 2]))
    for axis in range(4):
        jump = _jump(along[i - 1, axis] * speed, along[i, axis] * speed)
        if jump > jerk[axis]:
            speed *= jerk[axis] / jump
    return speed


@kernel
def meet(
    along: Floats, move: Floats, setting: Ints, settings: Floats, stops: Ints, ends: Floats, times: Floats
) -> None:
    """Speeds at the ends of each move, and how long its phases last.

    Args:
        along, move, setting, settings: as `cruise` left them.
        stops: (n,) 1 where the axes rest before the move; set to 1, too, where they stop and start again at a junction.
        ends: (n, 3) speed at entry, highest, at exit [mm/s]; overwritten.
        times: (n, 3) accelerating, cruising, decelerating [s]; overwritten.
    """
    count = move.shape[0]
    for i in range(count):
        ends[i, 0] = move[i, 3]
        if i == 0 or stops[i]:
            stops[i] = 1
            continue
        speed = _junction(along, move, i, settings[setting[i], _JERK : _JERK + 4])
        if move[i - 1, 3] > _AS_GOOD * speed and move[i, 3] > _AS_GOOD * speed:
            stops[i] = 1
        else:
            ends[i, 0] = speed
    for i in range(count - 1, -1, -1):
        rests = i == count - 1 or stops[i + 1] == 1
        ends[i, 2] = move[i, 3] if rests else ends[i + 1, 0]
        ends[i, 0] = min(ends[i, 0], np.sqrt(ends[i, 2] ** 2 + 2 * move[i, 1] * move[i, 0]))
    for i in range(count):
        ends[i, 2] = min(ends[i, 2], np.sqrt(ends[i, 0] ** 2 + 2 * move[i, 1] * move[i, 0]))
        if i + 1 < count and not stops[i + 1]:
            ends[i + 1, 0] = ends[i, 2]
        _trapezoid(move[i], ends[i], times[i])


@kernel
def _trapezoid(move: Floats, ends: Floats, times: Floats) -> None:
    """Highest speed and the three durations of one move, a triangle where it is short."""
    distance, acceleration = move[0], move[1]
    entry, leaving = ends[0], ends[2]
    highest = min(move[2], np.sqrt((entry**2 + leaving**2) / 2 + acceleration * distance))
    highest = max(highest, max(entry, leaving))
    ramps = (2 * highest**2 - entry**2 - leaving**2) / (2 * acceleration)
    ends[1] = highest
    times[0] = (highest - entry) / acceleration
    times[1] = max(0.0, distance - ramps) / highest
    times[2] = (highest - leaving) / acceleration
