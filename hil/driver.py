"""The least that commands a node: one owner on the rig's own thread, for tests and measurements without a controller.

It claims the node, keeps the lease and reads every Status once a period, in one burst; Commands are written when they
change. What it sends is what a controller sends; who needs orders, alarms or clients runs a House.
"""

import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from controller.modbus.client import Reply
from controller.modbus.pdu import Frames, ModbusError, Request, frame, reply_to
from controller.modbus.plan import Heard, scan_plan
from controller.nodes.transfer import LOOK, Load, window
from hil.rig import Rig
from twin.clock import MS, Ns
from twin.node import NodeCommand, NodeStatus, Op, TransferKind, TransferState
from twin.wire import decode, encode, layout

OWNER = 0x10C5
PERIOD = Ns(100 * MS)
_READ_BYTES = 1 << 16
_HEARTBEAT_AT = 13 + 2 * layout(NodeCommand)["heartbeat"].registers[0]  # in a burst's first frame
_LEASED_AT = layout(NodeStatus)["leased"].registers[0]
_NOT_AFTER_MS = 5000
_BUSY = Ns(5 * MS)
_PATIENCE = Ns(1000 * MS)


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
        self._frames = Frames()
        self._grant = NodeCommand(owner=owner)
        self._burst = bytearray()
        self._made_of: Sequence[Request] = ()
        self._wanted: tuple[object, ...] = ()
        self._told: tuple[object, ...] = ()
        self._beat = 0
        self._asked: Sequence[Request] = ()
        self._pdus: list[bytes] = []
        self._heard: tuple[Sequence[Request], Sequence[bytes]] = ((), ())
        self._load: Load | None = None
        self._due = self._sent = rig.now
        self._shown: Sequence[bytes] = ()

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
        heard = self._registers()
        return None if heard is None else decode(NodeStatus, heard.node)

    def machine(self, name: str) -> Any:
        """The Status that a machine showed last; None before the first."""
        heard = self._registers()
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
        alive = self._receive()
        if self.silent or not alive:
            self.wake = Ns(max(self.wake, now + self._period))
        elif len(self._pdus) < len(self._asked):
            self.wake = Ns(now + _BUSY) if now >= self.wake else self.wake
            if now - self._sent > _PATIENCE:
                self._drop()
        elif now >= self._due:
            while self._due <= now:
                self._due = Ns(self._due + self._period)
            self._send(now, self._next_burst(), self._made_of)
            self.wake = self._due
        elif self._load is not None and self._leased():
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
        self._socket, self._frames, self._missing = made, Frames(), 0
        self.active = True

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._asked, self._pdus = (), []
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
        self._pdus += [pdu for _, _, pdu in self._frames.feed(data)]
        if len(self._pdus) < len(self._asked):
            return True
        if self._asked is self._made_of:
            self._heard = self._asked, self._pdus
            self.bursts += 1
        else:
            self._shown = self._pdus
        return True

    def _send(self, now: Ns, data: bytes | bytearray, asked: Sequence[Request]) -> None:
        assert self._socket is not None
        self._asked, self._pdus, self._sent = asked, [], now
        try:
            self._socket.send(data)
        except OSError:
            self._drop()
        self.active = True

    def _next_burst(self) -> bytearray:
        """The same bytes again where only the heartbeat has changed."""
        leased = self._leased()
        if not leased and (status := self.status) is not None:
            self._grant = replace(self._grant, epoch=status.epoch + 1, sequence=status.sequence, op=Op.NONE)
        told = tuple(self.commands.values()) if leased else ()
        wanted = (self._grant, told != self._told)
        if wanted != self._wanted or told != self._told:
            self._made_of = self._requests(told != self._told and leased)
            self._burst = _joined(self._made_of)
            self._wanted, self._told = wanted, told
        if self._grant.epoch:
            self._beat = (self._beat + 1) & 0xFFFF
            struct.pack_into(">H", self._burst, _HEARTBEAT_AT, self._beat)
        return self._burst

    def _requests(self, with_commands: bool) -> Sequence[Request]:
        grant = tuple(encode(self._grant)) if self._grant.epoch else None
        commands = {name: tuple(encode(command)) for name, command in self.commands.items()} if with_commands else None
        return self._plan.requests(grant, commands)

    def _leased(self) -> bool:
        """Whether the node obeys somebody, by the bit in its Status."""
        asked, pdus = self._heard
        if not asked:
            return False
        first = len(asked) - len(self._plan.reads)
        words = _reply(asked[first], pdus[first])
        return isinstance(words, tuple) and bool(words[_LEASED_AT] & 1)

    def _registers(self) -> Heard | None:
        asked, pdus = self._heard
        if not asked:
            return None
        found = self._plan.heard([_reply(request, pdu) for request, pdu in zip(asked, pdus, strict=True)])
        return None if isinstance(found, ModbusError) else found

    def _carry(self, now: Ns, load: Load) -> None:
        """The next blocks, as soon as those before them have been answered."""
        seen = None
        if self._shown:
            last = _reply(LOOK, self._shown[-1])
            seen = window(last) if isinstance(last, tuple) else None
        if seen is not None and seen.id == load.job_id and seen.state is TransferState.STORED:
            self._load, self._shown = None, ()
            return
        writes = load.blocks(seen) if seen is not None and seen.id == load.job_id else [load.begin()]
        self._send(now, _joined([*writes, LOOK]), [*writes, LOOK])


def _reply(request: Request, pdu: bytes) -> Reply:
    try:
        return reply_to(request, pdu)
    except ModbusError as wrong:
        return wrong


def _joined(requests: Sequence[Request]) -> bytearray:
    return bytearray(b"".join(frame(number, 1, request.encode()) for number, request in enumerate(requests)))
