"""What the server asks the process that has History's door, and what it gets: msgpack structs, each in a frame with its length."""

import enum

import msgspec

GOOD, CALCULATED, INTERPOLATED, PARTIAL = 0, 0x0401, 0x0402, 0x04
NO_DATA, GOOD_NO_DATA, DATA_LOST, SUB_NORMAL = 0x809B_0000, 0x00A5_0000, 0x809D_0000, 0x40A4_0000
UNCERTAIN, BAD, BOUND_NOT_FOUND = 0x4090_0000, 0x8000_0000, 0x80D7_0000
"""UncertainLastUsableValue, Bad, BadBoundNotFound; the others by their names in Part 4 and Part 11."""


TOO_MANY = 0x8010_0000
"""BadTooManyOperations."""
MOST_VALUES = 10_000
"""How many values of a node one answer brings, and how many times may be asked for at once; told as MaxReturnDataValues."""
MOST_BYTES = 2 * 1024 * 1024
"""How large the values of one answer may be; more come with a continuation point."""
MOST_SAMPLES = 2_000_000
"""How many kept samples may lie in the intervals of one answer: so many take about 250 MB to reckon with."""
FOREVER = 1 << 62
"""A time [ns] after all others."""


class Stamps(enum.IntEnum):
    """TimestampsToReturn. History has one time of a sample: when it was received from its source, by the clock of this computer.

    That is the server's time of it as well as all that is known of the source's, so each may be asked for and
    ServerTimestampSupported is told (Part 11 §5.4.2). Clients do ask for both by default.
    """

    SOURCE = 0
    SERVER = 1
    BOTH = 2


class Raw(msgspec.Struct, frozen=True, tag="raw"):
    """The kept samples between two times.

    Attributes:
        start_ns, end_ns: UTC, where to begin and where to end; None: at the last there is in that direction.
        newest_first: backwards.
        most: how many are given at once.
        bounds: with the samples at or beyond both ends (Part 11 §4.4).
        from_ns: where to go on, None: at the beginning.
        skip: how many at that very time were given before.
    """

    start_ns: int
    end_ns: int | None
    newest_first: bool
    most: int
    bounds: bool = False
    from_ns: int | None = None
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
        next_ns, skip: where Raw and Processed go on, None at the end.
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
