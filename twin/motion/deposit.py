"""What a print leaves on its bed: the straight pieces in which material was laid."""

from dataclasses import dataclass

import numpy as np

from twin.kernel import Floats
from twin.motion.plan import Plan

Three = tuple[float, float, float]
MM = 1e-3
LINE_WIDTH = 0.45e-3
"""m, as wide as slicers lay a line with a common nozzle: half of it lies outside the nozzle's path."""
_LAID = 1e-9  # mm of filament, mm of way


@dataclass(frozen=True, slots=True, eq=False)
class Deposit:
    """Pieces of material, in the machine's frame.

    Attributes:
        start, end: (n, 3) of the nozzle's path [m].
    """

    start: Floats
    end: Floats

    @property
    def height(self) -> float:
        """Of its highest piece [m]; 0 without any."""
        return float(self.end[:, 2].max()) if len(self.end) else 0.0

    def extents(self, low: float, high: float) -> tuple[Three, Three] | None:
        """The box around all that lies from one height to another [m], a line's width included; None where nothing does."""
        there = (self.end[:, 2] >= low) & (self.end[:, 2] <= high)
        if not there.any():
            return None
        ends = np.concatenate((self.start[there], self.end[there]))
        aside = np.array((LINE_WIDTH / 2, LINE_WIDTH / 2, 0.0))
        least, most = ends.min(axis=0) - aside, ends.max(axis=0) + aside
        return (float(least[0]), float(least[1]), float(least[2])), (float(most[0]), float(most[1]), float(most[2]))


def deposit(plan: Plan) -> Deposit:
    """What a plan lays: its moves along the bed that feed filament."""
    moves = plan.moves
    delta = moves.end - moves.start
    laid = (delta[:, 3] > _LAID) & (np.hypot(delta[:, 0], delta[:, 1]) > _LAID)
    return Deposit(moves.start[laid, :3] * MM, moves.end[laid, :3] * MM)
