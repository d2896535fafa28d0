"""A node in plain Python for the controller's tests; the firmware's own tests, and those of the whole, use the firmware."""

import asyncio
import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from twin import node as n
from twin.clock import MS, Ns
from twin.export import map_hash
from twin.factory import Factory
from twin.wire import Bit, encode, layout, raw

CHUNK = Ns(40_000)
HEADER = struct.Struct("<4sHHIIIIII")
SIGNALS = {signal.name: signal for signal in layout(n.NodeStatus).signals}
U32 = 0xFFFFFFFF
START = Ns(0)


def fake_job(chunks: int, filler: int = 0) -> bytes:
    """Bytes that this node takes for a Job."""
    body = bytes(i * 7 & 0xFF for i in range(filler))
    return HEADER.pack(b"LSJ1", 10, 4, 1, chunks, 1000, 0, len(body), zlib.crc32(body)) + body


@dataclass
class FakeNode:
    """Registers, Grant, lease, latch, transfer window and a Job that is played by time alone.

    Attributes:
        executed: every command that was carried out, in order.
        room: bytes of Jobs that can be stored.
    """

    factory: Factory
    name: str
    room: int = 1 << 20
    ring: int = 24 * 1024
    bank: list[int] = field(default_factory=lambda: [0] * n.REGISTERS)
    executed: list[tuple[n.Op, int]] = field(default_factory=list)
    jobs: dict[int, bytes] = field(default_factory=dict)
    now: Ns = START

    def __post_init__(self) -> None:
        found = self.factory.nodes[self.name]
        self.status = dict.fromkeys(SIGNALS, 0)
        self.set(**self.status)
        self.set(magic=n.MAGIC, version=n.VERSION, map_hash=map_hash(self.factory, self.name), uid=found.uid, boot_id=1)
        self.set(ring_free=self.ring)
        self.heard = self.started = Ns(0)
        self.lease = 0
        self.peer: Any = None
        self.played = 0.0
        self.data, self.wanted, self.sha = b"", 0, b""
        self.kind = n.TransferKind.STORED_JOB
        self.done: set[int] = set()
        self.highest = 0
        self.machines = self.factory.on(self.name)
        self.defaults = {m.name: encode(m.type.command()) for m in self.machines}

    # ---- registers

    def set(self, **values: int) -> None:
        """Show values in the node's Status."""
        self.status.update(values)
        for name, value in values.items():
            signal = SIGNALS[name]
            binding, number = signal.binding, raw(signal, signal.type(value))
            if isinstance(binding, Bit):
                others = self.bank[binding.register] & ~(1 << binding.bit)
                self.bank[binding.register] = others | int(number) << binding.bit
            else:
                words = struct.unpack(f">{binding.words}H", struct.pack(">" + binding.format, number))
                self.bank[binding.register : binding.register + binding.words] = words

    def show(self, machine: str, **values: Any) -> None:
        """Show values in a machine's Status."""
        found = self.factory.machines[machine]
        signals = found.type.layouts[0].signals
        record = found.type.status(**{s.name: values.get(s.name, s.type(0)) for s in signals})
        self.bank[found.base : found.base + found.type.layouts[0].size] = encode(record)

    def command(self, machine: str) -> list[int]:
        """A machine's Command as it takes effect."""
        found = self.factory.machines[machine]
        at = found.base + found.type.layouts[0].size
        if self.status["latched"] or not self.status["leased"]:
            return self.defaults[machine]
        return self.bank[at : at + len(self.defaults[machine])]

    def runs(self, machine: str) -> bool:
        """Whether a machine's Job may go on."""
        binding = self.factory.machines[machine].type.layouts[1]["run"].binding
        assert isinstance(binding, Bit)
        return bool(self.command(machine)[binding.register] >> binding.bit & 1)

    # ---- time

    def tick(self, now: Ns) -> None:
        """Let time pass: lease, Job."""
        elapsed, self.now = now - self.now, now
        status = self.status
        if status["leased"] and now - self.heard >= self.lease * MS:
            self.set(leased=False, owner=0, leases_lost=status["leases_lost"] + 1)
            self.peer = None
            if status["job_state"] in (2, 3) or any(self._written(m.name) for m in self.machines):
                self.latch(n.Fault.SILENCE)
        if status["job_state"] in (2, 3):
            goes = any(self.runs(m.name) for m in self.machines if m.type.limits)
            self.played += elapsed / CHUNK if goes else 0.0
            state = n.JobState.RUNNING if goes else n.JobState.HOLDING
            chunks = self._chunks(status["job_id"])
            if self.played >= chunks:
                state = n.JobState.DONE
            self.set(job_state=state, job_chunks=int(min(self.played, chunks)))
        self.set(uptime=(now - self.started) // MS & U32)

    def _written(self, machine: str) -> bool:
        found = self.factory.machines[machine]
        at = found.base + found.type.layouts[0].size
        return self.bank[at : at + len(self.defaults[machine])] != self.defaults[machine]

    def _chunks(self, job_id: int) -> int:
        return int(HEADER.unpack_from(self.jobs[job_id])[4])

    def latch(self, fault: n.Fault) -> None:
        self.set(latched=True, fault=fault)
        if self.status["job_state"] in (2, 3):
            self.set(job_state=n.JobState.ABORTED)

    def restart(self) -> None:
        """Lose everything but the flash."""
        boots, epoch = self.status["boot_id"] + 1, self.highest
        kept = {job_id: data for job_id, data in self.jobs.items() if data[:4] == b"LSJ1"}
        machines = self.bank[n.MACHINES_AT :]
        self.bank[:] = [0] * n.REGISTERS
        self.__post_init__()
        self.bank[n.MACHINES_AT :] = machines
        for machine in self.machines:
            at = machine.base + machine.type.layouts[0].size
            self.bank[at : at + len(self.defaults[machine.name])] = self.defaults[machine.name]
        self.jobs, self.highest, self.started = kept, epoch, self.now
        self.set(boot_id=boots, epoch=epoch)

    # ---- writes

    def write(self, peer: Any, address: int, words: list[int]) -> int:
        """Take a client's write; returns 0 or a Modbus exception code."""
        if address == n.COMMAND_AT:
            self._grant(peer, words)
            return 0
        if peer is not self.peer or not self.status["leased"]:
            self.set(refused=self.status["refused"] + 1 & 0xFFFF)
            return 4
        if address == n.TRANSFER_AT:
            return self._transfer(words)
        self.bank[address : address + len(words)] = words
        return 0

    def _grant(self, peer: Any, words: list[int]) -> None:
        owner, epoch = words[0] << 16 | words[1], words[2] << 16 | words[3]
        lease, heartbeat, sequence, op = words[4:8]
        command_id, argument, not_after = (words[i] << 16 | words[i + 1] for i in (8, 10, 12))
        status = self.status
        ours = status["leased"] and (owner, epoch) == (status["owner"], status["epoch"])
        if not ours and (status["leased"] or epoch <= self.highest or owner == 0):
            why = n.Reason.LEASE_LIVE if status["leased"] else n.Reason.OLD_EPOCH
            self.set(refused=status["refused"] + 1 & 0xFFFF, reason=why)
            return
        fresh = not ours
        if fresh:
            self.highest = epoch
            self.set(leased=True, owner=owner, epoch=epoch, sequence=sequence)
        if fresh or heartbeat != status["heartbeat"]:
            self.heard, self.lease = self.now, lease
            self.set(heartbeat=heartbeat)
        self.peer = peer
        if sequence != status["sequence"] and not fresh:
            self._judge(sequence, n.Op(op), command_id, argument, not_after)

    def _judge(self, sequence: int, op: n.Op, command_id: int, argument: int, not_after: int) -> None:
        late = (self.status["uptime"] - not_after) & U32 < 1 << 31 and self.status["uptime"] != not_after
        reason = n.Reason.NONE
        if command_id not in self.done:
            reason = n.Reason.TOO_LATE if late else self._run(op, argument)
            if not reason:
                self.executed.append((op, command_id))
                self.done.add(command_id)
        result = n.Result.REFUSED if reason else n.Result.DONE
        self.set(sequence=sequence, command_id=command_id, result=result, reason=reason, executions=int(not reason))

    def _run(self, op: n.Op, argument: int) -> n.Reason:
        if op is n.Op.RESET:
            self.set(latched=False, fault=0)
        elif op is n.Op.STOP:
            if self.status["job_state"] in (2, 3):
                self.set(job_state=n.JobState.ABORTED)
        elif op is n.Op.START:
            if self.status["latched"]:
                return n.Reason.LATCHED
            if argument not in self.jobs:
                return n.Reason.NO_SUCH_JOB
            if self.status["job_state"] in (2, 3):
                return n.Reason.BUSY
            self.played = 0.0
            self.set(job_id=argument, job_state=n.JobState.RUNNING, job_chunks=0)
        return n.Reason.NONE

    def _transfer(self, words: list[int]) -> int:
        op, kind = n.TransferOp(words[0]), n.TransferKind(words[1])
        job_id, offset, crc = (words[i] << 16 | words[i + 1] for i in (2, 4, 8))
        body = b"".join(w.to_bytes(2, "big") for w in words[n.TRANSFER_HEAD :])[: words[6]]
        if zlib.crc32(body) != crc:
            return self._say(n.Reason.BAD_CHECKSUM)
        if op is n.TransferOp.BEGIN:
            return self._begin(kind, job_id, body)
        if job_id != self.status["transfer_id"] or self.status["transfer_state"] != n.TransferState.RECEIVING:
            return self._say(n.Reason.NO_SUCH_JOB)
        if op is n.TransferOp.END:
            return self._end(job_id)
        if offset + len(body) <= len(self.data):
            return self._say(n.Reason.NONE)
        if offset != len(self.data):
            return self._say(n.Reason.BAD_OFFSET)
        if kind is n.TransferKind.STREAMED_JOB:
            free = self.status["ring_free"]
            if len(body) > free:
                return 6
            self.set(ring_free=free - len(body))
        self.data += body
        self.set(transfer_received=len(self.data), transfer_reason=0)
        return 0

    def _say(self, reason: n.Reason) -> int:
        self.set(transfer_reason=reason)
        return 0

    def _begin(self, kind: n.TransferKind, job_id: int, body: bytes) -> int:
        wanted, sha = int.from_bytes(body[:4], "big"), body[4:]
        live = self.status["transfer_state"] in (n.TransferState.RECEIVING, n.TransferState.STORED)
        if live and (job_id, sha, kind) == (self.status["transfer_id"], self.sha, self.kind):
            return self._say(n.Reason.NONE)
        self.data, self.wanted, self.sha, self.kind = b"", wanted, sha, kind
        stored = kind is n.TransferKind.STORED_JOB
        state = n.TransferState.REFUSED if stored and wanted > self.room else n.TransferState.RECEIVING
        reason = n.Reason.NO_SPACE if state is n.TransferState.REFUSED else n.Reason.NONE
        self.set(transfer_id=job_id, transfer_state=state, transfer_reason=reason, transfer_received=0)
        if not stored:
            self.set(ring_free=self.ring)
        return 0

    def _end(self, job_id: int) -> int:
        if len(self.data) != self.wanted:
            return self._say(n.Reason.BAD_OFFSET)
        if hashlib.sha256(self.data).digest() != self.sha:
            self.set(transfer_state=n.TransferState.REFUSED, transfer_reason=n.Reason.BAD_CHECKSUM)
            return 0
        self.jobs[job_id] = self.data
        self.set(transfer_state=n.TransferState.STORED)
        return 0


class NodeServer:
    """The node behind a real socket. `cut` makes it deaf and mute without a word."""

    def __init__(self, node: FakeNode, clock: Any) -> None:
        self.node, self.clock = node, clock
        self.cut = False
        self.connections: set[_Connection] = set()

    async def start(self, port: int = 0) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Reset all connections."""
        for connection in list(self.connections):
            connection.transport.abort()


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: NodeServer) -> None:
        self._server, self._bytes = server, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._server.connections.add(self)

    def connection_lost(self, lost: Exception | None) -> None:
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        while len(self._bytes) >= 7:
            tid, _, length, unit = struct.unpack_from(">HHHB", self._bytes)
            if len(self._bytes) < 6 + length:
                return
            pdu, self._bytes = self._bytes[7 : 6 + length], self._bytes[6 + length :]
            if not self._server.cut:
                reply = self._answer(pdu)
                self.transport.write(struct.pack(">HHHB", tid, 0, len(reply) + 1, unit) + reply)

    def _answer(self, pdu: bytes) -> bytes:
        node = self._server.node
        node.tick(self._server.clock.now())
        function, address, count = struct.unpack(">BHH", pdu[:5])
        if function in (3, 4):
            return struct.pack(f">BB{count}H", function, 2 * count, *node.bank[address : address + count])
        code = node.write(self, address, list(struct.unpack(f">{count}H", pdu[6:])))
        return bytes([function | 0x80, code]) if code else pdu[:5]
