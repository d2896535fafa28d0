"""The Feed's messages, their frames, and what waits for one reader."""

import asyncio
import struct
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from twin.trace import Event, Stamp

MOST_BYTES = 16 * 1024 * 1024
MOST_REQUEST_BYTES = 64 * 1024
MOST_EVENTS = 1000
MOST_FIRST = 256
_LENGTH = struct.Struct(">I")

Value = bool | int | float | str | None


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A Signal's value, how far to believe it (0 good, 1 stale, 2 bad), and when it was true.

    Attributes:
        at_ns: the same moment by the core's clock, or 0.
        boot, node_ms: the same by the clock of the node that said it: its start's number, and its uptime without wraps.
    """

    index: int
    value: Value
    quality: int
    cause: str
    utc_ns: int
    at_ns: int = 0
    boot: int = 0
    node_ms: int = 0


class Told(msgspec.Struct, array_like=True, frozen=True):
    """An Event.

    Attributes:
        at_ns: when it happened by the core's clock, `bound_ns` at most away from it, or 0.
        node, boot, node_ms, sequence: the node that told it, which of its starts, its uptime, and the place of the Event
            among all that this run of the core was told by that start. No node: the core's own.
    """

    utc_ns: int
    kind: str
    subject: str
    fields: dict[str, Any]
    at_ns: int = 0
    bound_ns: int = 0
    node: str = ""
    boot: int = 0
    node_ms: int = 0
    sequence: int = 0


class Hello(msgspec.Struct, array_like=True, frozen=True, tag="hello"):
    """The first message.

    Attributes:
        run: which run of the core this is: when it was started [UTC ns], or 0.
    """

    schema: str
    utc_ns: int
    run: int = 0


class Snapshot(msgspec.Struct, array_like=True, frozen=True, tag="snapshot"):
    """All rows, as of publication `number`, and when that was; `whole`: every publication follows, in its order."""

    number: int
    rows: list[Row]
    utc_ns: int = 0
    at_ns: int = 0
    whole: bool = False


class Changes(msgspec.Struct, array_like=True, frozen=True, tag="changes"):
    """Rows that have changed and Events that have happened, up to publication `number`, and when that was."""

    number: int
    rows: list[Row]
    events: list[Told]
    utc_ns: int = 0
    at_ns: int = 0


class Gap(msgspec.Struct, array_like=True, frozen=True, tag="gap"):
    """How many Events this reader was too slow for; one that reads everything: how many rows too, and from when to when."""

    number: int
    lost: int
    rows: int = 0
    since_utc_ns: int = 0
    until_utc_ns: int = 0


class Answered(msgspec.Struct, array_like=True, frozen=True, tag="answer"):
    """What became of a request; number 0 where the request could not be read.

    Attributes:
        why: of a refusal, its kind (`orders.order.Why`).
    """

    request: int
    ok: bool
    text: str
    result: Any = None
    why: str = ""


class Asked(msgspec.Struct, array_like=True, frozen=True, tag="request"):
    """A face's request."""

    request: int
    kind: str
    args: dict[str, Any]
    user: str


class Brings(msgspec.Struct, array_like=True, frozen=True, tag="brings"):
    """A face claims blocks, `OWNER/GROUP`, whose rows it will bring; it is answered like a request."""

    request: int
    blocks: list[str]


class Brought(msgspec.Struct, array_like=True, frozen=True, tag="brought"):
    """Rows of the blocks that a face has claimed, and Events of their owners; with neither it is a sign of life."""

    rows: list[Row]
    events: list[Told]


class Wanted(msgspec.Struct, array_like=True, frozen=True, tag="wanted"):
    """What the core wants of the face that brings a block; to be done once at most, and answered with Done."""

    wanted: int
    block: str
    kind: str
    args: dict[str, Any]


class Whole(msgspec.Struct, array_like=True, frozen=True, tag="whole"):
    """A face wants every publication in its order from now on; a Snapshot tells where it begins."""


class Done(msgspec.Struct, array_like=True, frozen=True, tag="done"):
    """What became of it: confirmed, refused, mismatch or unknown."""

    wanted: int
    state: str
    text: str
    result: Any = None


Message = Hello | Snapshot | Changes | Gap | Answered | Wanted
Said = Asked | Brings | Brought | Done | Whole
_encode = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode
decode_said = msgspec.msgpack.Decoder(Said).decode


def frame(message: msgspec.Struct) -> bytes:
    """A message with its length."""
    content = _encode(message)
    return _LENGTH.pack(len(content)) + content


def told(event: Event, at_utc_ns: int, at_ns: int = 0, stamp: Stamp | None = None) -> Told:
    """An Event as the Feed carries it.

    Args:
        at_utc_ns, at_ns: when it happened.
        stamp: what its node says of that.
    """
    fields = {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "subject"}
    kind = type(event).__name__
    if stamp is None:
        return Told(at_utc_ns, kind, event.subject, fields, at_ns)
    of_node = (stamp.bound, stamp.node, stamp.boot, stamp.uptime_ms, stamp.sequence)
    return Told(at_utc_ns, kind, event.subject, fields, at_ns, *of_node)


async def read_frame(stream: asyncio.StreamReader, most: int) -> bytes | None:
    """One frame's content; None at the end, or where a frame is longer than allowed."""
    try:
        (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        return await stream.readexactly(length) if length <= most else None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class Takes(Protocol):
    """Where the publications of one who is given them all wait."""

    def take(self, number: int) -> tuple[list[bytes], bool]:
        """The next frames, and whether more wait."""
        ...


class Pending:
    """What one reader has not taken yet: the latest row of each Signal, Events up to a bound, answers."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._events: deque[Told] = deque()
        self._first: list[Message] = []
        self._number = self._lost = 0
        self._beat = False
        self._filled = asyncio.Event()
        self._everything: Takes | None = None

    def first(self, message: Message) -> None:
        """A message that nothing may overtake; the sender bounds how many there are."""
        self._first.append(message)
        self._filled.set()

    def take_everything(self, publications: "Takes") -> None:
        """From now on the reader is given all publications, as they wait there."""
        self._rows, self._events, self._lost, self._everything = {}, deque(), 0, publications
        self._filled.set()

    def put(self, number: int, rows: Iterable[Row], events: Iterable[Told]) -> None:
        """Changes; they replace older rows of the same Signals."""
        self._number = number
        self._rows.update((row.index, row) for row in rows)
        self._events.extend(events)
        while len(self._events) > MOST_EVENTS:
            self._events.popleft()
            self._lost += 1
        if self._rows or self._events:
            self._filled.set()

    def beat(self, number: int) -> None:
        """A sign of life: changes, though there may be none."""
        self._number, self._beat = number, True
        self._filled.set()

    @property
    def room(self) -> bool:
        """Whether one more message may be put first; a reader that takes nothing may not ask for more."""
        return len(self._first) < MOST_FIRST

    def wake(self) -> None:
        """Let whoever waits look again, though there is nothing."""
        self._filled.set()

    def lose(self, count: int) -> None:
        """Events that were lost before they came here."""
        self._lost += count

    async def take(self) -> list[Message]:
        """All there is, in the order in which to read it; waits until there is something."""
        await self._filled.wait()
        self._filled.clear()
        return self._take()

    async def frames(self) -> bytes:
        """The same as it goes over the socket; not too much at once for one who is given all publications."""
        await self._filled.wait()
        self._filled.clear()
        if self._everything is None:
            return b"".join(frame(message) for message in self._take())
        first, self._first = self._first, []
        found, more = self._everything.take(self._number)
        if more:
            self._filled.set()
        return b"".join((*(frame(message) for message in first), *found))

    def _take(self) -> list[Message]:
        found, self._first = self._first, []
        if self._lost:
            found.append(Gap(self._number, self._lost))
        if self._rows or self._events or self._beat:
            found.append(Changes(self._number, list(self._rows.values()), list(self._events)))
        self._rows, self._events, self._lost, self._beat = {}, deque(), 0, False
        return found
