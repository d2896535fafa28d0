"""Least squares by Levenberg and Marquardt, with what is needed to trust the result: errors, and what the data cannot tell.

Steps are taken in units of each parameter's scale, so that a condition number means something: the share of the scales that
the data tells best against the one that it tells worst.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from twin.arrays import Floats

MOST_ROUNDS = 40
ENOUGH = 1e-9
"""Share of the sum of squares that one more round must gain."""
NUDGE = 1e-4
"""Of a parameter's scale, for a derivative."""
WORST_CONDITION = 1e5


@dataclass(frozen=True, slots=True)
class Fit:
    """What came out.

    Attributes:
        values, errors: (p,) parameters and their standard errors, of what scatters and how it hangs together in time.
        before, after: root of the mean square of the misfits.
        condition: of the scaled Jacobian.
        rounds: that it took.
    """

    values: Floats
    errors: Floats
    before: float
    after: float
    condition: float
    rounds: int


class Unexcited(Exception):
    """The data cannot tell some of the parameters.

    Attributes:
        which: their indices.
        condition: of the scaled Jacobian; NaN where a small change of theirs makes misfits that are not finite.
    """

    def __init__(self, which: tuple[int, ...], condition: float) -> None:
        super().__init__(f"condition number {condition:.3g}")
        self.which, self.condition = which, condition


def fit(
    misfit: Callable[[Floats], Floats], start: Sequence[float], scale: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> Fit:
    """The parameters whose misfits have the least sum of squares, between their limits.

    Args:
        misfit: (p,) parameters to (m,) misfits in units of their scatter, the same m each time; finite ones where it begins.
        start, scale: (p,) where to begin, and what is a change that matters.

    Raises:
        Unexcited: some cannot be told; looked for at the start and at the end.
    """
    size, least, most = (np.array(given, np.float64) for given in (scale, low, high))
    at = np.clip(np.array(start, np.float64), least, most)
    left = misfit(at)
    before = _rms(left)
    slope = _slope(misfit, at, left, size, most)
    check(slope)
    damping, rounds = 1e-3, 0
    while rounds < MOST_ROUNDS:
        rounds += 1
        square, pull = slope.T @ slope, slope.T @ left
        try:
            step = np.linalg.solve(square + damping * np.diag(np.diag(square)), -pull) * size
        except np.linalg.LinAlgError:
            check(slope)
            raise Unexcited(tuple(range(len(at))), np.inf) from None
        there = np.clip(at + step, least, most)
        found = misfit(there)
        gain = float(left @ left - found @ found)
        if not np.isfinite(gain) or gain <= 0.0:
            damping *= 8.0
            if damping > 1e8:
                break
            continue
        small = gain <= ENOUGH * float(left @ left)
        at, left, damping = there, found, max(damping / 8.0, 1e-12)
        slope = _slope(misfit, at, left, size, most)
        if not np.isfinite(slope).all():
            break
        if small:
            break
    condition = check(slope)
    return Fit(at, _errors(slope, left) * size, before, _rms(left), condition, rounds)


def _rms(left: Floats) -> float:
    return float(np.sqrt(np.mean(left**2))) if len(left) else 0.0


def _slope(misfit: Callable[[Floats], Floats], at: Floats, left: Floats, size: Floats, most: Floats) -> Floats:
    """(m, p) change of the misfits with each parameter, in its scales."""
    made = np.empty((len(left), len(at)))
    for k in range(len(at)):
        nudge = NUDGE * size[k] * (1.0 if at[k] + NUDGE * size[k] <= most[k] else -1.0)
        moved = at.copy()
        moved[k] += nudge
        made[:, k] = (misfit(moved) - left) / nudge * size[k]
    return made


def check(slope: Floats) -> float:
    """The condition number of a scaled Jacobian (m, p).

    Raises:
        Unexcited: it is so large that some of the parameters cannot be told; those that take part in what cannot.
    """
    if slope.shape[0] < slope.shape[1]:
        raise Unexcited(tuple(range(slope.shape[1])), np.inf)
    if len(wild := np.flatnonzero(~np.isfinite(slope).all(axis=0))):
        raise Unexcited(tuple(int(k) for k in wild), np.nan)
    _, strength, ways = np.linalg.svd(slope, full_matrices=False)
    strongest = float(strength[0])
    weak = np.flatnonzero(strength * WORST_CONDITION <= strongest) if strongest > 0.0 else np.arange(len(strength))
    condition = strongest / float(strength[-1]) if strength[-1] > 0.0 else np.inf
    if len(weak):
        share = np.abs(ways[weak]).max(axis=0)
        raise Unexcited(tuple(int(k) for k in np.flatnonzero(share > 0.1 * share.max())), condition)
    return condition


def _errors(slope: Floats, left: Floats) -> Floats:
    """(p,) standard errors in scales.

    A misfit scatters by one at least, however well a run happens to fit; and those that follow each other are alike, which makes
    them fewer than they are many.
    """
    count, free = slope.shape
    spread = max(1.0, float(left @ left) / max(1, count - free))
    alike = 0.0
    if count > 2 and float(left @ left) > 0.0:
        alike = min(max(float(left[1:] @ left[:-1]) / float(left @ left), 0.0), 0.999)
    kept: Floats = np.sqrt(np.diag(np.linalg.inv(slope.T @ slope)) * spread * (1.0 + alike) / (1.0 - alike))
    return kept
