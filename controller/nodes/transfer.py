"""Carries a Job to a node through its transfer window: in blocks, checked, taken up again where it broke off.

The node tells in its Status what it has received in order; that alone decides what is sent next, so nothing that is
lost on the way needs a case of its own.
"""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.modbus.burst import Reply
from controller.modbus.pdu import ModbusError, Read, Refused, Request, Words, Write
from controller.nodes.grant import words
from twin.clock import MS, Clock, Ns, S
from twin.node import (
    STATUS_AT,
    TRANSFER_AT,
    TRANSFER_BYTES,
    NodeStatus,
    Reason,
    Transfer,
    TransferKind,
    TransferOp,
    TransferState,
)
from twin.wire import encode, layout, value

BLOCKS = 6
DEADLINE = S
PAUSE = Ns(100 * MS)
PATIENCE = Ns(30 * S)
BUSY, NOT_THE_OWNER = 6, 4

_SHOWN = ("ring_free", "transfer_state", "transfer_reason", "transfer_id", "transfer_received")
_LAYOUT = layout(NodeStatus)
_FIRST = min(_LAYOUT[name].registers[0] for name in _SHOWN)
_COUNT = max(_LAYOUT[name].registers[-1] for name in _SHOWN) + 1 - _FIRST


class TransferError(Exception):
    """A Job that could not be carried to its node, and why."""


class NoRoom(TransferError):
    """The node has no room to store it; it may be streamed."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a node's Status says of its transfer window."""

    ring_free: int
    state: TransferState
    reason: Reason
    id: int
    received: int


LOOK = Read(STATUS_AT + _FIRST, _COUNT)


def window(reply: Words) -> Window:
    """The window out of the registers that `LOOK` reads."""
    registers = (0,) * _FIRST + reply
    free, state, reason, job_id, received = (value(_LAYOUT[name], registers) for name in _SHOWN)
    return Window(free, state, reason, job_id, received)


class Asks(Protocol):
    """The part of a link that a transfer needs."""

    async def ask(self, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]: ...


@dataclass(frozen=True, slots=True)
class Load:
    """What is carried."""

    job_id: int
    data: bytes
    kind: TransferKind

    def begin(self) -> Write:
        body = len(self.data).to_bytes(4, "big") + hashlib.sha256(self.data).digest()
        return self._write(TransferOp.BEGIN, 0, body)

    def blocks(self, seen: Window) -> list[Write]:
        """What follows after that which the node has: a few blocks, or the end, or nothing while its ring is full."""
        if seen.received >= len(self.data):
            return [self._write(TransferOp.END, len(self.data), b"")]
        room = seen.ring_free if self.kind is TransferKind.STREAMED_JOB else len(self.data)
        made = []
        for offset in range(seen.received, len(self.data), TRANSFER_BYTES)[:BLOCKS]:
            body = self.data[offset : offset + TRANSFER_BYTES]
            room -= len(body)
            if room < 0:
                break
            made.append(self._write(TransferOp.DATA, offset, body))
        return made

    def _write(self, op: TransferOp, offset: int, body: bytes) -> Write:
        head = Transfer(op=op, kind=self.kind, id=self.job_id, offset=offset, length=len(body), crc=zlib.crc32(body))
        padded = body + b"\0" * (len(body) % 2)
        registers = (int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
        return Write(TRANSFER_AT, (*encode(head), *registers))


@dataclass
class Carrier:
    """Carries one load.

    Attributes:
        ready: whether the node may be written to at present.
        ahead: called when the node has all of it, or as much of it as its ring takes.
    """

    link: Asks
    clock: Clock
    load: Load
    ready: Callable[[], bool]
    ahead: Callable[[], None]

    async def carry(self) -> None:
        """Return when the node has all of it, checked.

        Raises:
            NoRoom: it can't be stored there.
            TransferError: refused, or no progress for PATIENCE.
        """
        begun, seen = False, None
        progress, best = self.clock.now(), -1
        why = "its node is not ours"
        while True:
            found = await self._exchange(begun, seen) if self.ready() else None
            if isinstance(found, Window):
                begun, seen, why = self._judge(found)
                if begun and found.state is TransferState.STORED:
                    self.ahead()
                    return
                full = begun and not self.load.blocks(found)
                if full:
                    self.ahead()
                if full or found.received > best:
                    progress, best = self.clock.now(), found.received
                if begun and not full:
                    continue
            else:
                begun, why = False, found or why
            if self.clock.now() - progress >= PATIENCE:
                raise TransferError(f"Job {self.load.job_id:#010x} could not be sent: {why}")
            await self.clock.until(Ns(self.clock.now() + PAUSE))

    async def _exchange(self, begun: bool, seen: Window | None) -> Window | str:
        """One burst, and what the node shows after it; a text where that is not known."""
        writes = self.load.blocks(seen) if begun and seen is not None else [self.load.begin()]
        replies = await self.link.ask([*writes, LOOK], Ns(self.clock.now() + DEADLINE), urgent=False)
        for reply in replies:
            if isinstance(reply, Refused):
                if reply.code not in (BUSY, NOT_THE_OWNER):
                    raise TransferError(f"Job {self.load.job_id:#010x}: the node answers {reply}")
                return str(reply)
            if isinstance(reply, ModbusError):
                return str(reply)
        last = replies[-1]
        assert isinstance(last, tuple)
        return window(last)

    def _judge(self, seen: Window) -> tuple[bool, Window, str]:
        """Whether our transfer stands in the window, what is shown, and why it does not go on."""
        why = words(seen.reason.name)
        if seen.id == self.load.job_id and seen.state is TransferState.REFUSED:
            if seen.reason is Reason.NO_SPACE:
                raise NoRoom(f"Job {self.load.job_id:#010x}: the node has no room for {len(self.load.data)} bytes")
            if seen.reason is not Reason.BAD_CHECKSUM:
                raise TransferError(f"Job {self.load.job_id:#010x} was refused: {why}")
        live = seen.state in (TransferState.RECEIVING, TransferState.STORED)
        ours = live and seen.id == self.load.job_id and seen.reason not in (Reason.BUSY, Reason.NO_SUCH_JOB)
        return ours, seen, why
