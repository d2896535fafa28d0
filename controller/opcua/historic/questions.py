"""What the server asks the process that has History's door, and what it gets: msgpack structs, each in a frame with its length."""

import enum

import msgspec

GOOD, CALCULATED, INTERPOLATED, PARTIAL = 0, 0x0401, 0x0402, 0x04
NO_DATA, GOOD_NO_DATA, DATA_LOST, SUB_NORMAL = 0x809B_0000, 0x00A5_0000, 0x809D_0000, 0x40A4_0000
UNCERTAIN, BAD, BOUND_NOT_FOUND, UNEXPECTED = 0x4090_0000, 0x8000_0000, 0x80D7_0000, 0x8001_0000
"""UncertainLastUsableValue, Bad, BadBoundNotFound, BadUnexpectedError; the others by their names in Part 4 and Part 11."""


FOREVER = 1 << 62
"""A time [ns] after all others."""


class Stamps(enum.IntEnum):
    """TimestampsToReturn. History has one time of a sample: when it was received from its source."""

    SOURCE = 0
    SERVER = 1
    BOTH = 2


class Raw(msgspec.Struct, frozen=True, tag="raw"):
    """The kept samples between two times.

    Attributes:
        start_ns, end_ns: UTC, where to begin and where to end; None: at the last there is in that direction.
        newest_first: backwards.
        most: how many are given at once.
        bounds: with what holds at both ends.
        skip: how many at the very time `start_ns` were given before.
    """

    start_ns: int
    end_ns: int | None
    newest_first: bool
    most: int
    bounds: bool = False
    skip: int = 0


class At(msgspec.Struct, frozen=True, tag="at"):
    """The value at each of some times, UTC [ns]."""

    times_ns: list[int]


class Processed(msgspec.Struct, frozen=True, tag="processed"):
    """An aggregate over each of some intervals.

    Attributes:
        start_ns, end_ns: UTC; the later one first: newest first.
        every_ns: 0 is one interval over all.
        aggregate: number of the aggregate function's node in namespace 0.
        uncertain_is_bad, bad_percent, good_percent: the aggregate's configuration (Part 13 §4.2.1.2).
    """

    start_ns: int
    end_ns: int
    every_ns: int
    aggregate: int
    uncertain_is_bad: bool = True
    bad_percent: int = 100
    good_percent: int = 100


class Question(msgspec.Struct, frozen=True):
    """One question about one Signal.

    Attributes:
        path: the Signal's.
        kind: built-in type that its values are told in.
        size: one of its declared unit in what History keeps.
        stamps: which times are told.
    """

    number: int
    path: str
    kind: int
    size: float
    stamps: Stamps
    details: Raw | At | Processed


class Answer(msgspec.Struct, frozen=True):
    """What became of a question.

    Attributes:
        status: of the whole.
        count, values: that many encoded DataValues, one behind the other.
        next_ns, skip: where Raw goes on, None at its end.
    """

    number: int
    status: int
    count: int = 0
    values: bytes = b""
    next_ns: int | None = None
    skip: int = 0


MOST_FRAME = 64 * 1024 * 1024


def frame(message: Question | Answer) -> bytes:
    """A message with its length in front."""
    content = msgspec.msgpack.encode(message)
    return len(content).to_bytes(4, "big") + content
