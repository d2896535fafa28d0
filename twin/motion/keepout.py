"""Space that a printer's head must not enter: clips on the bed, a camera, another machine's reach."""

import math
from dataclasses import dataclass

import numpy as np

from twin.kernel import Floats, Ints
from twin.kinematics.shapes import Surroundings
from twin.motion.findings import Findings
from twin.motion.limits import JobError, Three

MM = 1000.0
FAR = 1e7
"""mm, beyond anything that a printer reaches."""
REACH = 2500.0
"""mm of X and Y to either side, within which any printer of ours works: a floor that is not level counts as high as there."""
STEEPEST = 0.5
"""Of a floor: the least height of its unit normal."""
_NOTHING: Three = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class KeepOut:
    """An upright box in machine coordinates.

    Attributes:
        low, high: its corners [mm].
    """

    name: str
    low: Three
    high: Three

    def __post_init__(self) -> None:
        for axis, low, high in zip("XYZ", self.low, self.high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise JobError(f"{self.name}: {axis} from {low} to {high} mm is no space", 0, axis, low, high)


@dataclass(frozen=True, slots=True)
class Head:
    """What moves with the nozzle's tip: an upright box around it, from `low` to `high` [mm]; the tip alone unless told."""

    low: Three = _NOTHING
    high: Three = _NOTHING

    def __post_init__(self) -> None:
        if not all(math.isfinite(low) and math.isfinite(high) and low <= 0.0 <= high
                   for low, high in zip(self.low, self.high, strict=True)):  # fmt: skip
            raise JobError(f"a head from {self.low} to {self.high} mm does not hold the nozzle's tip")


def keep_out_of(around: Surroundings) -> tuple[KeepOut, ...]:
    """What stands around a printer [m, its own frame] as space to keep out of: upright boxes around boxes and capsules, and all
    below the highest point of a floor within reach.

    Raises:
        JobError: a wall or a ceiling, which no upright box is like.
    """
    found = []
    for box in around.boxes:
        reach = [MM * sum(abs(box.rotation[3 * row + k]) * box.half[k] for k in range(3)) for row in range(3)]
        x, y, z = (MM * value for value in box.centre)
        low = x - reach[0], y - reach[1], z - reach[2]
        found.append(KeepOut(box.name, low, (x + reach[0], y + reach[1], z + reach[2])))
    for capsule in around.capsules:
        ends = [(MM * a, MM * b) for a, b in zip(capsule.start, capsule.end, strict=True)]
        (x, to_x), (y, to_y), (z, to_z) = ((min(pair) - MM * capsule.radius, max(pair) + MM * capsule.radius) for pair in ends)
        found.append(KeepOut(capsule.name, (x, y, z), (to_x, to_y, to_z)))
    for plane in around.planes:
        x, y, z = plane.normal
        if z < STEEPEST:
            text = f"{plane.name} is no floor, and a printer keeps out of boxes and floors: its normal's height is {z:g}"
            raise JobError(text, 0, "Z", z, STEEPEST)
        highest = (MM * plane.offset + REACH * (abs(x) + abs(y))) / z
        found.append(KeepOut(plane.name, (-FAR, -FAR, -FAR), (FAR, FAR, highest)))
    return tuple(found)


def check_keep_out(line: Ints, start: Floats, end: Floats, boxes: tuple[KeepOut, ...], head: Head, findings: Findings) -> None:
    """Refuse moves that take the head into a box, the whole straight way of each; touching is allowed.

    Args:
        line: (n,) of the program. start, end: (n, 3) of the tip [mm].
    """
    for box in boxes:
        low, high = np.subtract(box.low, head.high), np.subtract(box.high, head.low)
        enters, axis = _entry(start, end, low, high)
        for move in np.flatnonzero(np.isfinite(enters)):
            share, along = float(enters[move]), int(axis[move])
            at = start[move] + share * (end[move] - start[move])
            place = ", ".join(f"{letter}={value:g}" for letter, value in zip("XYZ", at, strict=True))
            text = f"the head enters {box.name} along {'XYZ'[along]} with its tip at {place} mm"
            near = low[along] if end[move, along] >= start[move, along] else high[along]
            findings.refuse(int(line[move]), text, f"head and {box.name}", float(end[move, along]), float(near))


def _entry(start: Floats, end: Floats, low: Floats, high: Floats) -> tuple[Floats, Ints]:
    """Share of each way at which it enters the inside of a box, infinite where it doesn't, and the axis it comes along.

    A point is inside between `low` and `high` of all axes, so the way is inside while it is between all of them.
    """
    way = end - start
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = (low - start) / way, (high - start) / way
    still = way == 0.0
    inside = (start > low) & (start < high)
    enter = np.where(still, np.where(inside, -np.inf, np.inf), np.minimum(first, last))
    leave = np.where(still, np.where(inside, np.inf, -np.inf), np.maximum(first, last))
    entered, left = enter.max(axis=1), leave.min(axis=1)
    hit = (entered < left) & (entered < 1.0) & (left > 0.0)
    return np.where(hit, np.maximum(entered, 0.0), np.inf), np.argmax(enter, axis=1)
