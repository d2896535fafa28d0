"""The registers of a node that is none: the core reads and writes them as it does a node's, and they are kept right here.

The Grant is judged as a node judges it: owner, epoch, sequence, not-after, at most once. A lease has nobody to enforce it
but this process, so when the process ends, nothing happens at the machine: see docs/how-to/use-your-own-printer.md.
"""

import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from controller.modbus.burst import Reply
from controller.modbus.pdu import Read, Refused, Request, Words, Write
from controller.nodes.grant import past
from twin.clock import MS, Clock
from twin.node import (
    COMMAND_AT,
    MACHINES_AT,
    MAGIC,
    REGISTERS,
    TRANSFER_AT,
    TRANSFER_HEAD,
    VERSION,
    Fault,
    NodeCommand,
    NodeStatus,
    Op,
    Reason,
    Result,
    Transfer,
    TransferKind,
    TransferOp,
    TransferState,
)
from twin.wire import decode, encode, layout

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, FAILED, BUSY = 1, 2, 3, 4, 6
REMEMBERED = 64
LARGEST_JOB = 64 * 1024 * 1024
_STATUS = layout(NodeStatus)
_GRANT = layout(NodeCommand).size

Answer = Callable[[Reason], None]


class Machinery(Protocol):
    """What stands behind the registers."""

    def begin(self, op: Op, argument: int, answer: Answer) -> None:
        """Carry a command out; tell the Reason, NONE where it was done, now or later."""
        ...

    def store(self, job_id: int, job: bytes, answer: Answer) -> None:
        """Take a Job; tell the Reason, NONE where it has been taken and checked."""
        ...

    def obey(self) -> None:
        """What takes effect of the machine's Command may have changed."""
        ...

    def fall_silent(self) -> None:
        """The lease has ended."""
        ...


class Front:
    """The registers.

    Attributes:
        commanded: whoever has the lease has written the machine's Command since.

    Args:
        commands: first register and number of registers of the machine's Command.
    """

    def __init__(self, behind: Machinery, clock: Clock, uid: int, map_hash: int, boot_id: int, commands: tuple[int, int]) -> None:
        self._behind, self._clock, self._commands = behind, clock, commands
        self.bank = [0] * REGISTERS
        self._shown: dict[str, Any] = {signal.name: signal.type(0) for signal in _STATUS.signals}
        self._started = clock.now()
        self._heard = self._started
        self._lease_ms = 0
        self._done: deque[int] = deque(maxlen=REMEMBERED)
        self._data = bytearray()
        self._wanted, self._sha = 0, b""
        self._storing = False
        self.commanded = False
        self.show(magic=MAGIC, version=VERSION, uid=uid, map_hash=map_hash, boot_id=boot_id, ring_free=LARGEST_JOB)

    # ---- what it shows

    def show(self, **values: Any) -> None:
        """Show values in the Status."""
        self._shown.update({name: _STATUS[name].type(value) for name, value in values.items()})
        self._shown["uptime"] = ((self._clock.now() - self._started) // MS) & 0xFFFFFFFF
        self.bank[: _STATUS.size] = encode(NodeStatus(**self._shown))

    def __getitem__(self, name: str) -> Any:
        """What the Status shows."""
        return self._shown[name]

    def put(self, first: int, words: Iterable[int]) -> None:
        """Registers of the machine's Status."""
        for at, word in enumerate(words, first):
            self.bank[at] = word

    def effective(self) -> Words:
        """The machine's Command as it takes effect: the default, which is all zero, where nobody may command."""
        first, count = self._commands
        obeyed = self["leased"] and not self["latched"]
        return tuple(self.bank[first : first + count]) if obeyed else (0,) * count

    def latch(self, fault: Fault) -> None:
        """Nothing is done any more until an operator's reset."""
        if not self["latched"]:
            self.show(latched=True, fault=fault)
            self._behind.obey()

    def reset(self) -> None:
        """The latch is taken off."""
        self.show(latched=False, fault=Fault.NONE)

    def tick(self) -> None:
        """Let time pass."""
        if self["leased"] and self._clock.now() - self._heard >= self._lease_ms * MS:
            self.commanded = False
            self.show(leased=False, owner=0, leases_lost=self["leases_lost"] + 1)
            self._behind.fall_silent()
            self._behind.obey()
        else:
            self.show()

    # ---- what is asked of it

    def ask(self, request: Request) -> Reply:
        """The reply to one request."""
        self.tick()
        if isinstance(request, Read):
            end = request.address + request.count
            if end > REGISTERS:
                return Refused(request.function, ILLEGAL_ADDRESS)
            return tuple(self.bank[request.address : end])
        if not isinstance(request, Write):
            return Refused(request.function, ILLEGAL_FUNCTION)
        code = self._write(request.address, request.words)
        return Refused(request.function, code) if code else ()

    def _write(self, address: int, words: Words) -> int:
        if address == COMMAND_AT and len(words) == _GRANT:
            self._grant(decode(NodeCommand, words), words)
            return 0
        if address >= MACHINES_AT:
            first, count = self._commands
            if address < first or address + len(words) > first + count:
                return ILLEGAL_ADDRESS
            if not self["leased"]:
                return FAILED
            self.bank[address : address + len(words)] = words
            self.commanded = True
            self._behind.obey()
            return 0
        if address == TRANSFER_AT and len(words) >= TRANSFER_HEAD:
            return self._transfer(words) if self["leased"] else FAILED
        return ILLEGAL_ADDRESS

    # ---- the Grant

    def _grant(self, grant: NodeCommand, words: Words) -> None:
        if not grant.owner:
            return
        if self["leased"]:
            if (grant.owner, grant.epoch) != (self["owner"], self["epoch"]):
                self.show(refused=self["refused"] + 1 & 0xFFFF, reason=Reason.LEASE_LIVE)
                return
        elif grant.epoch <= self["epoch"]:
            self.show(refused=self["refused"] + 1 & 0xFFFF, reason=Reason.OLD_EPOCH, old_epochs=self["old_epochs"] + 1 & 0xFFFF)
            return
        fresh = not self["leased"] or grant.heartbeat != self["heartbeat"]
        claimed = not self["leased"]
        if fresh:
            self._heard, self._lease_ms = self._clock.now(), grant.lease
        self.bank[COMMAND_AT : COMMAND_AT + _GRANT] = words
        before = self["sequence"]
        self.show(leased=True, owner=grant.owner, epoch=grant.epoch, heartbeat=grant.heartbeat)
        if not claimed and grant.sequence != before:
            self._judge(grant)

    def _judge(self, grant: NodeCommand) -> None:
        """A command, at most once. Its result is shown when it is known; the sequence at once, so that it is judged once."""
        if grant.op is Op.NONE:
            self.show(sequence=grant.sequence, result=Result.NONE, reason=Reason.NONE, executions=0)
        elif grant.command_id in self._done:
            self.show(repeated=self["repeated"] + 1 & 0xFFFF)
            self._tell(grant, Reason.NONE, 1)
        elif past(self["uptime"], (grant.not_after + 1) & 0xFFFFFFFF):
            self.show(late_refused=self["late_refused"] + 1 & 0xFFFF)
            self._tell(grant, Reason.TOO_LATE, 0)
        elif self["latched"] and grant.op is Op.START:
            self._tell(grant, Reason.LATCHED, 0)
        else:
            self.show(sequence=grant.sequence)
            self._done.append(grant.command_id)
            self._behind.begin(grant.op, grant.argument, lambda reason: self._told(grant, reason))

    def _told(self, grant: NodeCommand, reason: Reason) -> None:
        # Where the answer was lost on the way, it may have had its effect all the same.
        here = (Reason.NO_SUCH_JOB, Reason.BUSY, Reason.UNKNOWN_COMMAND, Reason.LATCHED, Reason.NOT_AS_EXPECTED)
        if reason in here and grant.command_id in self._done:
            self._done.remove(grant.command_id)
        self._tell(grant, reason, int(reason not in here))

    def _tell(self, grant: NodeCommand, reason: Reason, executions: int) -> None:
        result = Result.REFUSED if reason is not Reason.NONE else Result.DONE
        refused = self["refused"] + (result is Result.REFUSED) & 0xFFFF
        self.show(sequence=grant.sequence, command_id=grant.command_id, result=result, reason=reason,
                  executions=executions, refused=refused)  # fmt: skip

    # ---- the transfer window

    def _transfer(self, words: Words) -> int:
        head = decode(Transfer, words[:TRANSFER_HEAD])
        body = b"".join(word.to_bytes(2, "big") for word in words[TRANSFER_HEAD:])[: head.length]
        if len(body) != head.length or zlib.crc32(body) != head.crc:
            return self._reason(Reason.BAD_CHECKSUM)
        match head.op:
            case TransferOp.BEGIN:
                return self._begin(head, body)
            case TransferOp.DATA | TransferOp.END if head.id != self["transfer_id"]:
                return self._reason(Reason.NO_SUCH_JOB)
            case TransferOp.DATA if self["transfer_state"] is TransferState.RECEIVING:
                return self._take(head, body)
            case TransferOp.END:
                return self._end()
        return self._reason(Reason.NO_SUCH_JOB)

    def _reason(self, reason: Reason) -> int:
        self.show(transfer_reason=reason)
        return 0

    def _begin(self, head: Transfer, body: bytes) -> int:
        if len(body) != 36:
            return ILLEGAL_VALUE
        live = self["transfer_state"] in (TransferState.RECEIVING, TransferState.STORED)
        if live and head.id == self["transfer_id"] and body[4:] == self._sha:
            return self._reason(Reason.NONE)
        if head.kind not in (TransferKind.STORED_JOB, TransferKind.STREAMED_JOB):
            return self._reason(Reason.UNKNOWN_COMMAND)
        if self._storing:
            return self._reason(Reason.BUSY)
        self._wanted, self._sha = int.from_bytes(body[:4], "big"), body[4:]
        self._data = bytearray()
        fits = 0 < self._wanted <= LARGEST_JOB
        state = TransferState.RECEIVING if fits else TransferState.REFUSED
        reason = Reason.NONE if fits else Reason.NO_SPACE
        self.show(transfer_state=state, transfer_reason=reason, transfer_id=head.id, transfer_received=0)
        return 0

    def _take(self, head: Transfer, body: bytes) -> int:
        end = head.offset + len(body)
        if end > len(self._data):
            if head.offset != len(self._data) or end > self._wanted:
                return self._reason(Reason.BAD_OFFSET)
            self._data += body
        self.show(transfer_received=len(self._data), transfer_reason=Reason.NONE)
        return 0

    def _end(self) -> int:
        if self["transfer_state"] is TransferState.STORED or self["transfer_state"] is TransferState.REFUSED:
            return 0
        if self._storing:
            return BUSY
        if len(self._data) != self._wanted:
            return self._reason(Reason.BAD_OFFSET)
        if hashlib.sha256(self._data).digest() != self._sha:
            self._stored(Reason.BAD_CHECKSUM)
            return 0
        self._storing = True
        self._behind.store(self["transfer_id"], bytes(self._data), self._stored)
        return BUSY if self._storing else 0

    def _stored(self, reason: Reason) -> None:
        self._storing = False
        self._data = bytearray()
        state = TransferState.REFUSED if reason is not Reason.NONE else TransferState.STORED
        self.show(transfer_state=state, transfer_reason=reason)


def answers(front: Front, requests: Sequence[Request]) -> list[Reply]:
    """The reply to each request."""
    return [front.ask(request) for request in requests]
