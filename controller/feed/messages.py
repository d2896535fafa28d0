"""The Feed's messages, their frames, and what waits for one reader."""

import asyncio
import struct
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from twin.trace import Event

MOST_BYTES = 16 * 1024 * 1024
MOST_REQUEST_BYTES = 64 * 1024
MOST_EVENTS = 1000
MOST_FIRST = 256
_LENGTH = struct.Struct(">I")

Value = bool | int | float | str | None


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A Signal's value, how far to believe it (0 good, 1 stale, 2 bad), and when it was received."""

    index: int
    value: Value
    quality: int
    cause: str
    utc_ns: int


class Told(msgspec.Struct, array_like=True, frozen=True):
    """An Event."""

    utc_ns: int
    kind: str
    subject: str
    fields: dict[str, Any]


class Hello(msgspec.Struct, array_like=True, frozen=True, tag="hello"):
    """The first message."""

    schema: str
    utc_ns: int


class Snapshot(msgspec.Struct, array_like=True, frozen=True, tag="snapshot"):
    """All rows, as of publication `number`."""

    number: int
    rows: list[Row]


class Changes(msgspec.Struct, array_like=True, frozen=True, tag="changes"):
    """Rows that have changed and Events that have happened, up to publication `number`."""

    number: int
    rows: list[Row]
    events: list[Told]


class Gap(msgspec.Struct, array_like=True, frozen=True, tag="gap"):
    """How many Events this reader was too slow for."""

    number: int
    lost: int


class Answered(msgspec.Struct, array_like=True, frozen=True, tag="answer"):
    """What became of a request; number 0 where the request could not be read."""

    request: int
    ok: bool
    text: str
    result: Any = None


class Asked(msgspec.Struct, array_like=True, frozen=True, tag="request"):
    """A face's request."""

    request: int
    kind: str
    args: dict[str, Any]
    user: str


Message = Hello | Snapshot | Changes | Gap | Answered
_encode = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode
decode_asked = msgspec.msgpack.Decoder(Asked).decode


def frame(message: msgspec.Struct) -> bytes:
    """A message with its length."""
    content = _encode(message)
    return _LENGTH.pack(len(content)) + content


def told(event: Event, at_utc_ns: int) -> Told:
    """An Event as the Feed carries it."""
    fields = {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "subject"}
    return Told(at_utc_ns, type(event).__name__, event.subject, fields)


async def read_frame(stream: asyncio.StreamReader, most: int) -> bytes | None:
    """One frame's content; None at the end, or where a frame is longer than allowed."""
    try:
        (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        return await stream.readexactly(length) if length <= most else None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class Pending:
    """What one reader has not taken yet: the latest row of each Signal, Events up to a bound, answers."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._events: deque[Told] = deque()
        self._first: list[Message] = []
        self._number = self._lost = 0
        self._beat = False
        self._filled = asyncio.Event()

    def first(self, message: Message) -> None:
        """A message that nothing may overtake; the sender bounds how many there are."""
        self._first.append(message)
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
        found, self._first = self._first, []
        if self._lost:
            found.append(Gap(self._number, self._lost))
        if self._rows or self._events or self._beat:
            found.append(Changes(self._number, list(self._rows.values()), list(self._events)))
        self._rows, self._events, self._lost, self._beat = {}, deque(), 0, False
        return found
