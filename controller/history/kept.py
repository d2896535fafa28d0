"""What History keeps of a Signal, how its values are held, and what can go wrong."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.arrays import Ints
from twin.clock import US

Numbers = NDArray[np.int32]

GOOD, STALE, BAD, NONE = range(4)
"""How far to believe a value; NONE: there is no value, the cause says why."""

QUALITIES = ("good", "stale", "bad", "none")
TYPES: Mapping[str, type] = {kind.__name__: kind for kind in (float, int, bool, str)}
LEAST_BOUND, MOST_BOUND = 1e-100, 1e100


class HistoryError(Exception):
    """History can't be read or written, or was asked for what there is not; one line says what."""


class HistoryFull(HistoryError):
    """The disk, or the room that History was given, is full. Nothing of it was kept; it may be tried again when there is room."""


class Rule(enum.IntEnum):
    """Which samples are left out, and so how a value between two kept ones is read.

    EXACT: those that repeat the last. A value holds until the next; bit by bit.
    HOLD: those within the bound of the last kept one (a deadband). A value holds until the next.
    LINE: those within the bound of the straight line between two kept ones (a swinging door).
    """

    EXACT = 0
    HOLD = 1
    LINE = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """How a Signal is kept.

    Attributes:
        path: the Signal's, as in the Feed.
        type: float, int, bool or str.
        unit: the unit's UNECE code, for whoever reads.
        bound: how far what is read may be from what was recorded, in the value's own unit; 0: not at all. Floats only.
        rule: by default LINE for floats with a bound, EXACT for all others.
        still_ns: of a Signal that is told only when it changes: after a longer silence its last value is taken to have
            held until this long before the next. 0: nothing is known of the time in between, a line goes through.
        text: what it is.

    Raises:
        HistoryError: a bound that is none, or a rule that the type has not.
    """

    path: str
    type: type
    unit: str = ""
    bound: float = 0.0
    rule: Rule | None = None
    still_ns: int = 0
    text: str = ""

    def __post_init__(self) -> None:
        if self.type.__name__ not in TYPES:
            raise HistoryError(f"{self.path}: History keeps float, int, bool and str, not {self.type.__name__}")
        if self.bound != 0 and not LEAST_BOUND <= self.bound <= MOST_BOUND:
            raise HistoryError(f"{self.path}: a bound of {self.bound} is not 0 or {LEAST_BOUND} .. {MOST_BOUND}")
        if self.bound and self.type is not float:
            raise HistoryError(f"{self.path}: {self.type.__name__} is kept exactly, a bound of {self.bound} has no meaning")
        if self.way is not Rule.EXACT and not self.bound:
            raise HistoryError(f"{self.path}: the rule {self.way.name} needs a bound")
        if self.still_ns < 0:
            raise HistoryError(f"{self.path}: still_ns={self.still_ns} is negative")

    @property
    def way(self) -> Rule:
        """The rule that applies."""
        if self.rule is not None:
            return self.rule
        return Rule.LINE if self.bound and self.type is float else Rule.EXACT

    @property
    def step(self) -> float:
        """The grid on which kept values lie; 0: none, they are kept bit by bit."""
        return self.bound / 2

    @property
    def fine(self) -> float:
        """The grid on which the journal holds values."""
        return self.bound / 16

    @property
    def reach(self) -> float:
        """How far a sample as the journal holds it may be from what is read: the bound less what the journal's grid takes."""
        return self.bound - 0.502 * self.fine


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples in the order in which they came, as arrays of one length.

    Attributes:
        numbers: (n,) int32: which Signal.
        times: (n,) int64: UTC, microseconds.
        words: (n,) int64: a float's bits, an int, a bool as 0 or 1, the number of a text.
        beliefs: (n,) int32: four times the number of a cause, plus the quality; 0 is Good.
    """

    numbers: Numbers
    times: Ints
    words: Ints
    beliefs: Numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def none(cls) -> "Samples":
        """No samples."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))


@dataclass(frozen=True, slots=True)
class Happened:
    """An Event: fields as JSON can say them."""

    utc_ns: int
    kind: str
    subject: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What one commit has put out of the reach of a power cut.

    Attributes:
        samples, events: how many.
        refused: samples that were not kept: earlier than the Signal's last, or of a type it has not.
    """

    samples: int
    events: int
    refused: int


def plain(text: str) -> str:
    """A text as any disk takes it: half a surrogate pair is written out as an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def micros(time_ns: int) -> int:
    """Nanoseconds as whole microseconds, the past side."""
    return time_ns // US


def word_of(kind: type, value: Any) -> int | None:
    """A value's word; None where it is none of that type. Texts have their number elsewhere."""
    if kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return int(np.float64(value).view(np.int64))
            except OverflowError:
                return None
        return None
    if kind is bool:
        return int(value) if isinstance(value, (bool, np.bool_)) else None
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return int(value)
    return None
