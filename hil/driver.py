"""The least that commands a node: one owner on the rig's own thread, for tests and measurements without a controller.

It claims the node, keeps the lease and reads every Status once a period, in one burst; Commands are written when they
change. What it sends is what a controller sends; who needs orders, alarms or clients runs a House.
"""

import copy
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from controller.modbus.burst import Reply
from controller.modbus.pdu import Frames, ModbusError, Read, Request, frame, reply_to
from controller.modbus.plan import Heard, scan_plan
from controller.nodes.transfer import LOOK, Load, Window, window
from hil.rig import Rig
from twin.clock import MS, Ns
from twin.node import NodeCommand, NodeStatus, Op, TransferKind, TransferState
from twin.wire import decode, encode, layout

OWNER = 0x10C5
PERIOD = Ns(100 * MS)
_READ_BYTES = 1 << 16
_HEARTBEAT_AT = 13 + 2 * layout(NodeCommand)["heartbeat"].registers[0]  # in a burst's first frame
_HEAD = 7  # of a frame
_LEASED_AT = layout(NodeStatus)["leased"].registers[0]
_NOT_AFTER_MS = 5000
_BUSY = Ns(5 * MS)
_PATIENCE = Ns(1000 * MS)


class Burst:
    """Requests sent together, and what has come back. Replies are taken apart only when somebody wants to know.

    Attributes:
        data: the requests' bytes.
    """

    def __init__(self, asked: Sequence[Request] = ()) -> None:
        self.asked = asked
        self.data = bytearray(b"".join(frame(number, 1, request.encode()) for number, request in enumerate(asked)))
        sizes = [_HEAD + 2 + 2 * request.count if isinstance(request, Read) else _HEAD + 5 for request in asked]
        self._size = sum(sizes)
        reads = [number for number, request in enumerate(asked) if isinstance(request, Read)]
        self._status_at = sum(sizes[: reads[0]]) + _HEAD + 2 if reads else 0
        self._came = b""

    def again(self) -> "Burst":
        """The same, not answered yet."""
        made = copy.copy(self)
        made._came = b""
        return made

    def hear(self, data: bytes) -> None:
        """Bytes that came."""
        self._came = self._came + data if self._came else data

    @property
    def whole(self) -> bool:
        """Whether every request has its reply."""
        return len(self._came) == self._size or len(self._pdus()) == len(self.asked)

    @property
    def leased(self) -> bool:
        """Whether the node says that it obeys somebody; its Status is what is read first."""
        return len(self._came) == self._size > 0 and bool(self._came[self._status_at + 2 * _LEASED_AT + 1] & 1)

    def replies(self) -> list[Reply]:
        """One for each request."""
        return [_reply(request, pdu) for request, pdu in zip(self.asked, self._pdus(), strict=True)]

    def _pdus(self) -> list[bytes]:
        return [pdu for _, _, pdu in Frames().feed(self._came)]


def _reply(request: Request, pdu: bytes) -> Reply:
    try:
        return reply_to(request, pdu)
    except ModbusError as wrong:
        return wrong


NOTHING = Burst()


class Driver:
    """One owner of one node, a guest of the rig; it goes in with `Driver.of(rig, node)`.

    Attributes:
        wake, active, gone, pid, name: see `hil.guest.Guest`.
        commands: by machine, the Command that is written; its defaults until it is changed.
        bursts: answered whole.
        silent: while true it neither writes nor reads.
    """

    def __init__(self, rig: Rig, node: str, period: Ns = PERIOD, owner: int = OWNER) -> None:
        self.name, self.pid, self.gone, self.active = f"driver of {node}", 0, False, False
        self.wake = rig.now
        self.silent = False
        self.bursts = 0
        self._rig, self._node, self._period = rig, node, period
        self._where = (rig.factory.nodes[node].host, rig.seen_by_core.nodes[node].port)
        self._machines = {machine.name: machine for machine in rig.factory.on(node)}
        self.commands: dict[str, Any] = {name: machine.type.command() for name, machine in self._machines.items()}
        self._plan = scan_plan(rig.factory, node)
        self._socket: socket.socket | None = None
        self._grant = NodeCommand(owner=owner)
        self._beat = 0
        self._scan = self._sent = self._heard = NOTHING
        self._made_of: tuple[object, ...] = ()
        self._told: tuple[object, ...] = ()
        self._load: Load | None = None
        self._window: Window | None = None
        self._due = self._sent_at = rig.now

    @classmethod
    def of(cls, rig: Rig, node: str, period: Ns = PERIOD, owner: int = OWNER) -> "Driver":
        """A driver that the rig asks from now on."""
        driver = cls(rig, node, period, owner)
        rig.guests.append(driver)
        return driver

    # ---- what it knows and wants

    @property
    def status(self) -> NodeStatus | None:
        """What the node said last of itself; None before it said anything."""
        heard = self.registers()
        return None if heard is None else decode(NodeStatus, heard.node)

    def machine(self, name: str) -> Any:
        """The Status that a machine showed last; None before the first."""
        heard = self.registers()
        kind = self._machines[name].type
        return None if heard is None else decode(kind.status, heard.machines[name][: kind.layouts[0].size])

    def op(self, op: Op, argument: int = 0) -> int:
        """Ask for a command that runs once; its id. The node's answer is in `status`."""
        status = self.status
        assert status is not None, f"{self._node} has not been heard yet"
        sequence, number = (self._grant.sequence + 1) & 0xFFFF, self._grant.command_id + 1
        self._grant = replace(
            self._grant, sequence=sequence, op=op, command_id=number, argument=argument, not_after=status.uptime + _NOT_AFTER_MS
        )
        return number

    def load(self, job_id: int, data: bytes) -> None:
        """Carry a Job to the node; `stored` tells when it is there."""
        self._load = Load(job_id, data, TransferKind.STORED_JOB)

    @property
    def stored(self) -> bool:
        """Whether the node has the last Job that was carried."""
        status = self.status
        return self._load is None and status is not None and status.transfer_state is TransferState.STORED

    def until(self, true: Callable[[], object], within: Ns) -> None:
        """Let the rig run until something is true.

        Raises:
            TimeoutError: it did not come true in time.
        """
        limit = Ns(self._rig.now + within)
        self._rig.run(limit, lambda: bool(true()))
        if not true():
            raise TimeoutError(f"{self.name}: did not come true within {within / MS:.0f} ms")

    # ---- a guest's part

    @property
    def reacts(self) -> bool:
        """While it carries a Job it answers at once; else it speaks once a period."""
        return self._load is not None or self._socket is None

    def ask(self, now: Ns) -> None:
        """Read what came; send the next burst when it is due."""
        self.active = False
        if self._socket is None:
            self._connect(now)
            return
        if not self._sent.whole and not self._receive():
            return
        if self.silent:
            self.wake = Ns(max(self.wake, now + self._period))
        elif not self._sent.whole:
            self.wake = Ns(now + _BUSY) if now >= self.wake else self.wake
            if now - self._sent_at > _PATIENCE:
                self._drop()
        elif now >= self._due:
            self._due = Ns(now // self._period * self._period + self._period)
            self._scan = self._next_scan()
            self._send(now, self._scan)
            self.wake = self._due
        elif self._load is not None and self._heard.leased:
            self._carry(now, self._load)
        else:
            self.wake = self._due

    def dismiss(self) -> None:
        """The rig is taken down."""
        self._drop()

    def _connect(self, now: Ns) -> None:
        self.wake = Ns(now + self._period)
        try:
            made = socket.create_connection(self._where, timeout=1)
        except OSError:
            return
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        self._socket, self._sent, self._due = made, NOTHING, now
        self.active = True

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._sent = NOTHING
            self.active = True

    def _receive(self) -> bool:
        """Take in what came; whether the connection lives."""
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self._drop()
            return False
        sent = self._sent
        sent.hear(data)
        if sent.whole and sent is self._scan:
            self._heard = sent
            self.bursts += 1
        elif sent.whole:
            shown = sent.replies()[-1]
            self._window = window(shown) if isinstance(shown, tuple) else None
        return True

    def _send(self, now: Ns, burst: Burst) -> None:
        assert self._socket is not None
        self._sent, self._sent_at = burst, now
        try:
            self._socket.send(burst.data)
        except OSError:
            self._drop()
        self.active = True

    def _next_scan(self) -> Burst:
        """The same bytes again where only the heartbeat has changed."""
        leased = self._heard.leased
        if not leased and (status := self.status) is not None:
            self._grant = replace(self._grant, epoch=status.epoch + 1, sequence=status.sequence, op=Op.NONE)
        told = tuple(self.commands.values()) if leased else ()
        made_of = (self._grant, told != self._told)
        burst = self._scan.again() if made_of == self._made_of and told == self._told else self._made(leased and told != self._told)
        self._made_of, self._told = made_of, told
        if self._grant.epoch:
            self._beat = (self._beat + 1) & 0xFFFF
            struct.pack_into(">H", burst.data, _HEARTBEAT_AT, self._beat)
        return burst

    def _made(self, with_commands: bool) -> Burst:
        grant = tuple(encode(self._grant)) if self._grant.epoch else None
        commands = {name: tuple(encode(command)) for name, command in self.commands.items()} if with_commands else None
        return Burst(self._plan.requests(grant, commands))

    def registers(self) -> Heard | None:
        """What the last burst has read, as it lies in the registers; None before the first."""
        if not self._heard.asked:
            return None
        found = self._plan.heard(self._heard.replies())
        return None if isinstance(found, ModbusError) else found

    def _carry(self, now: Ns, load: Load) -> None:
        """The next blocks, as soon as those before them have been answered."""
        seen = self._window
        if seen is not None and seen.id == load.job_id and seen.state is TransferState.STORED:
            self._load, self._window = None, None
            return
        writes = load.blocks(seen) if seen is not None and seen.id == load.job_id else [load.begin()]
        self._send(now, Burst([*writes, LOOK]))
