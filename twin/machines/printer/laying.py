"""What a nozzle has laid, slab by slab: the outline of the Part on the plate."""

from collections.abc import Sequence

import numpy as np

from twin.kernel import Ints
from twin.part import Outline

SLABS = 128
"""Of an outline: what lies higher is counted into the last."""
FAR = 1 << 62


def nothing_laid() -> Ints:
    """(128, 4) bounds of nothing: least and largest microstep of X, least and largest of Y, one row a slab of height."""
    return np.tile(np.array([FAR, -FAR, FAR, -FAR], np.int64), (SLABS, 1))


def outline(laid: Ints, per_mm: Sequence[float], line_width_mm: float) -> Outline:
    """Of what was laid, with half a line's width around the nozzle's path; a slab without anything is like that below it.

    Args:
        laid: (128, 4) as `nothing_laid` has it.
        per_mm: microsteps of X, Y and so on.
    """
    found: list[tuple[float, float, float, float]] = []
    there = np.flatnonzero(laid[:, 1] > -FAR)
    aside = line_width_mm / 2
    for slab in laid[: there[-1] + 1 if len(there) else 0].tolist():
        if slab[1] == -FAR:
            found.append(found[-1] if found else (0.0, 0.0, 0.0, 0.0))
            continue
        x_low, x_high, y_low, y_high = slab[0] / per_mm[0], slab[1] / per_mm[0], slab[2] / per_mm[1], slab[3] / per_mm[1]
        found.append(((x_low - aside) / 1e3, (x_high + aside) / 1e3, (y_low - aside) / 1e3, (y_high + aside) / 1e3))
    return tuple(found)
