"""A program as read: moves in machine coordinates, the operations between them, and the limits it sets itself."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from twin.kernel import Floats, Ints
from twin.motion.findings import Notice, Refusal

ACCELERATION, SPEED, JERK = slice(0, 4), slice(4, 8), slice(8, 12)
"""Columns of a settings row by axis: M201, M203, M205."""
PRINT, RETRACT, TRAVEL, MIN_PRINT_SPEED, MIN_TRAVEL_SPEED = range(12, 17)
"""Columns of a settings row: M204 P, R, T and M205 S, T."""
SETTINGS = 17


class OpKind(IntEnum):
    """What happens between moves; the numbers are those of a Job, save DWELL, which a Job writes as standing chunks."""

    DWELL = 0
    HEAT = 1
    WAIT = 2
    FAN = 3
    HOME = 4
    MOTORS = 5
    LINE = 6
    PROBE = 11
    END = 255

    @property
    def stops(self) -> bool:
        """Whether the axes come to rest for it."""
        return self in (OpKind.DWELL, OpKind.WAIT, OpKind.HOME, OpKind.MOTORS, OpKind.PROBE)


@dataclass(frozen=True, slots=True)
class Op:
    """One operation.

    Attributes:
        line: of the program.
        before: index of the move that it precedes; the number of moves at the program's end.
        arg: heater (0 hotend, 1 bed), fan, mask of axes (bit 0 = X), or 0 off and 1 on; of PROBE the axis.
        value: °C, share of the fan's power 0 to 1, seconds to dwell, or mm to probe, from where the axis stands.
    """

    line: int
    before: int
    kind: OpKind
    arg: int
    value: float


@dataclass(frozen=True, slots=True)
class Setting:
    """A limit that the program sets: M201 to M205, with its name, its column in a settings row and its value."""

    line: int
    name: str
    column: int
    value: float


@dataclass(frozen=True, slots=True)
class Program:
    """What `gcode.read` makes of a text.

    Attributes:
        line: (n,) source line of each move.
        end: (n, 4) where each move ends [mm], X Y Z in machine coordinates, E as filament fed since the start.
        feed: (n,) asked for along the path [mm/s]; nan before the first F.
        named: (n,) mask of the axes named in the line (bit 0 = X).
        setting: (n,) row of `settings` that holds for the move.
        settings: (k, 17) see the column names above; infinite where the program sets nothing.
        set: every value set, in order.
        layers: (m,) index of the first move of each layer that the slicer marked.
        lines: how many the text has.
    """

    line: Ints
    end: Floats
    feed: Floats
    named: Ints
    setting: Ints
    settings: Floats
    set: tuple[Setting, ...]
    ops: tuple[Op, ...]
    layers: Ints
    lines: int
    refusals: tuple[Refusal, ...]
    notices: tuple[Notice, ...]


def table(rows: list[tuple[float, ...]], width: int) -> Floats:
    """Rows as an array of shape (len(rows), width), also when there are none."""
    made: NDArray[np.float64] = np.array(rows, dtype=np.float64).reshape(len(rows), width)
    return made
