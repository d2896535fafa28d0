"""Requests that are asked together, and how long to wait before a node is tried again: the same over any kind of line."""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.modbus.pdu import ModbusError, Request, Words
from twin.clock import MS, Ns, S

Reply = Words | ModbusError

FIRST_PAUSE, LONGEST_PAUSE, LONGEST_FLAP_PAUSE = Ns(100 * MS), S, Ns(10 * S)


class AnyLink(Protocol):
    """A link to one node, over whatever line.

    Attributes:
        up: whether the node can be asked.
        cause: why it cannot.
    """

    name: str

    @property
    def up(self) -> bool:
        """See above."""
        ...

    @property
    def cause(self) -> str:
        """See above."""
        ...

    async def ask(self, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        """The reply to each request, or the error in its place, at the latest at `deadline`."""
        ...

    def drop(self, cause: str) -> None:
        """Take the node for lost; it is reached again after a pause."""
        ...

    async def run(self) -> None:
        """Keep the node in reach until cancelled."""
        ...


class UnitLink(Protocol):
    """A link to a device, or to a gateway with many units behind it, over whatever line: the unit is named in each call.

    It takes what it is asked in its order and need not keep units apart: the scan engine never has more than one call of
    `ask` under way on a line that cannot number its requests.

    Attributes:
        up: whether the line is open; a unit that does not answer does not close it.
        cause: why it is not.
    """

    name: str

    @property
    def up(self) -> bool:
        """See above."""
        ...

    @property
    def cause(self) -> str:
        """See above."""
        ...

    async def ask(self, unit: int, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        """The reply to each request, or the error in its place, at the latest at `deadline`. Nothing is sent twice."""
        ...

    def drop(self, cause: str) -> None:
        """End the present connection; a new one is made."""
        ...

    async def run(self) -> None:
        """Keep the line open until cancelled."""
        ...


@dataclass(slots=True)
class Counters:
    """What has happened on a link since start."""

    connections: int = 0
    sent: int = 0
    timeouts: int = 0
    late: int = 0
    strange: int = 0
    broken: int = 0


class Burst:
    """Requests that were asked together, and their replies as they come."""

    __slots__ = ("_missing", "done", "replies")

    def __init__(self, size: int, done: "asyncio.Future[None]") -> None:
        self.replies: list[Reply | None] = [None] * size
        self.done = done
        self._missing = size

    def take(self, index: int, reply: Reply) -> None:
        if self.done.done():
            return
        self.replies[index] = reply
        self._missing -= 1
        if not self._missing:
            self.done.set_result(None)

    def fail(self, error: ModbusError) -> None:
        """The same error for every request that has no reply yet."""
        if not self.done.done():
            self.replies = [error if reply is None else reply for reply in self.replies]
            self.done.set_result(None)


def pause(name: str, failed: int, flaps: int) -> Ns:
    """How long to wait before the next attempt: doubling, with a share of its own for each node and attempt."""
    refused = min(FIRST_PAUSE << min(max(failed - 1, 0), 10), LONGEST_PAUSE)
    flapped = min(FIRST_PAUSE << min(flaps, 10), LONGEST_FLAP_PAUSE) if flaps else FIRST_PAUSE
    share = zlib.crc32(f"{name} {failed} {flaps}".encode()) % 256
    return Ns(max(refused, flapped) * (1024 + share) // 1024)
