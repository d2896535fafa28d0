"""One request on its way to a unit, and what carries it: the seam between the scan engine and its lines."""

from collections.abc import Callable
from typing import Protocol

from controller.modbus.pdu import HEAD, ModbusError, Read, ReadBits, Request, frame
from twin.clock import Ns

Done = Callable[["Ask", bytes | ModbusError, Ns], None]


class Ask:
    """A request to one unit; the same one is sent again at every scan, never while it is on its way.

    Attributes:
        tail: its frame without the transaction.
        head: bytes 2 to 8 of the only reply that is neither an exception nor wrong; `size`: how long that one is.
        done: is called with the reply's content behind the byte count (nothing for a write), or with the error.
        length: bytes of it and its reply on a serial line.
        sent, deadline: of its last sending.
        way: where it is: 0 nowhere, 1 queued, 2 on the line.
    """

    __slots__ = ("deadline", "done", "head", "length", "request", "sent", "size", "tail", "unit", "way")

    def __init__(self, unit: int, request: Request, done: Done) -> None:
        self.unit, self.request, self.done = unit, request, done
        self.tail = frame(0, unit, request.encode())[2:]
        self.head, self.size = b"", 0
        if isinstance(request, Read | ReadBits):
            count = 2 * request.count if isinstance(request, Read) else (request.count + 7) // 8
            self.head = HEAD.pack(0, 0, count + 3, unit)[2:] + bytes((request.function, count))
            self.size = 9 + count
        self.length = len(self.tail) - 2 + (self.size - 4 if self.size else 8)
        self.sent = self.deadline = Ns(0)
        self.way = 0


class Hearer(Protocol):
    """Who is told of what a line brings."""

    def heard(self, ask: Ask, reply: bytes | ModbusError, now: Ns) -> None:
        """The reply to an Ask, or why there is none."""
        ...

    def opened(self, now: Ns) -> None:
        """The line can be used."""
        ...

    def lost(self, cause: str, now: Ns) -> None:
        """It cannot be used any more; what was on its way gets no reply."""
        ...


class Line(Protocol):
    """What carries Asks to a device and their replies back.

    Attributes:
        up: whether it can be used.
        cause: why it cannot.
        steps: whether it numbers its requests, so that several may be on their way.
    """

    up: bool
    cause: str
    steps: bool

    def send(self, ask: Ask) -> None:
        """Put an Ask onto the line."""
        ...

    def forget(self, ask: Ask) -> None:
        """Its reply is not waited for any more, and is dropped when it comes."""
        ...

    def drop(self, cause: str) -> None:
        """End the present connection; a new one is made."""
        ...

    async def run(self) -> None:
        """Keep the line open until cancelled."""
        ...
