"""Links to nodes and devices on a serial line: Modbus RTU, one request at a time, the units of a line in turn.

pymodbus opens the port and frames the bytes; what it takes for a reply is checked again here, for it looks neither at the
function nor at the length. RTU numbers no transactions, so a reply that comes after its time-out could be taken for the next
one's: after every time-out a unit is first asked for a number of registers that no reply can hold which may still come.
"""

import asyncio
import errno
import os
import termios
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.transport.serialtransport import create_serial_connection

from controller.modbus.burst import Burst, Counters, Reply, pause
from controller.modbus.pdu import (
    LinkDown,
    NoReply,
    NotAsked,
    ProtocolError,
    QueueFull,
    Read,
    ReadBits,
    ReadIdentity,
    Refused,
    Request,
    WriteCoil,
    WriteMask,
    WriteOne,
    reply_to,
)
from twin.clock import MS, Clock, Ns, seconds
from twin.node import STATUS_AT
from twin.serial import Serial

MOST_QUEUED = 256
MISSES = 3
"""Time-outs in a row after which a unit is taken for lost, and asked only now and then."""
REPLY = Ns(60 * MS)
"""How long a node may think, beside what the bytes take."""
TURN = Ns(4 * MS)
"""Silence after a reply: more than 3.5 characters, and time for the node to let go of the line in its slowest tick."""
LONGEST = 256
PATIENT_TURN = 8
"""So many urgent requests may go before one that carries bulk."""
_UNCERTAIN = 32
_READS = (Read, ReadBits, ReadIdentity)
_ECHOED = (WriteOne, WriteCoil, WriteMask)
"""What is answered by repeating it, so that the answer looks like an echo of the adapter's own."""
_PARITY = {"none": "N", "even": "E", "odd": "O"}

_Asked = tuple["OnLine", Burst, int, Request]


class OnLine(Protocol):
    """Who asks over a line: a node, or one unit of many.

    Attributes:
        uncertain: the numbers of registers that replies hold which may still come; it is asked for another number then.
    """

    name: str
    unit: int
    counters: Counters
    uncertain: deque[int]

    def patience(self, clear: Ns) -> Ns:
        """How long a reply is waited for whose bytes, and its request's, take so long on the line; 0: nothing may be asked yet."""
        ...

    def judge(self, request: Request, reply: Reply) -> None:
        """Count what came of a request."""
        ...

    def drop(self, cause: str) -> None:
        """The port is lost."""
        ...


class _Port(asyncio.Protocol):
    """The serial port, from its opening to its end."""

    def __init__(self, line: "SerialLine") -> None:
        self._line = line
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._line.hear(data)

    def connection_lost(self, lost: Exception | None) -> None:
        self._line.opened.clear()
        if not self.lost.done():
            self.lost.set_result(f"the port is lost: {lost}")


class SerialLine:
    """One port and the units behind it; it is kept open by whichever of their links runs first.

    Attributes:
        cause: why it is not open; empty while it is.
    """

    def __init__(self, port: Path | str, serial: Serial, clock: Clock) -> None:
        self.serial, self.clock = serial, clock
        self.cause = "not opened yet"
        self.opened = asyncio.Event()
        self.run_by: object = None
        self.units: list[OnLine] = []
        self._turn = max(TURN, serial.duration(4))
        self._port = str(port)
        self._framer = FramerRTU(DecodePDU(False))
        self._writes: deque[_Asked] = deque()
        self._reads: deque[_Asked] = deque()
        self._patient: deque[_Asked] = deque()
        self._urgent_turns = 0
        self._stirred = asyncio.Event()
        self._held = self._echo = b""
        self._echoes = False  # whether the adapter hears itself; seen where a reply cannot look like its request
        self._waiting: tuple[OnLine, Request, asyncio.Future[Reply]] | None = None
        self._quiet = Ns(0)

    async def run(self) -> None:
        """Keep the port open, and ask what is to be asked, until cancelled."""
        failed = 0
        while True:
            try:
                transport, made = await self._open()
            except (OSError, ValueError, termios.error) as refused:
                number = getattr(refused, "errno", None)
                busy = number in (errno.EAGAIN, errno.EBUSY)  # an exclusive lock, by flock or by the terminal
                why = "is busy: a core or another program has it open"
                self.cause = f"{self._port} {why if busy else f'cannot be opened: {os.strerror(number) if number else refused}'}"
                failed += 1
            else:
                failed = 0
                await self._live(transport, cast(_Port, made))
            await self.clock.until(Ns(self.clock.now() + pause(self._port, failed, 0)))

    async def _open(self) -> tuple[Any, Any]:
        serial = self.serial
        return await create_serial_connection(
            asyncio.get_running_loop(),
            lambda: _Port(self),
            self._port,
            baudrate=serial.baud,
            bytesize=8,
            parity=_PARITY[serial.parity],
            stopbits=serial.stop,
            timeout=0,
        )

    async def _live(self, transport: Any, port: _Port) -> None:
        self.cause = ""
        self.opened.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(self._serve(transport, port))
                self.cause = await port.lost
                serving.cancel()
        finally:
            self.opened.clear()
            transport.close()
            self.cause = self.cause or "closed by us"
            for unit in self.units:
                unit.drop(self.cause)
            while (asked := self._next()) is not None:
                asked[1].fail(LinkDown(f"{asked[0].name}: {self.cause}"))

    def put(self, asked: Sequence[_Asked], urgent: bool) -> None:
        """Put requests in turn: writes before reads, bulk behind both."""
        for one in asked:
            queue = self._patient if not urgent else self._reads if isinstance(one[3], _READS) else self._writes
            queue.append(one)
        self._stirred.set()

    def _next(self) -> _Asked | None:
        """Whose turn it is, if its burst still waits for it."""
        patient_first = self._urgent_turns >= PATIENT_TURN
        self._urgent_turns = 0 if patient_first else self._urgent_turns + 1
        for queue in ((self._patient,) if patient_first else ()) + (self._writes, self._reads, self._patient):
            while queue:
                asked = queue.popleft()
                if not asked[1].done.done():
                    return asked
        return None

    async def _serve(self, transport: Any, port: _Port) -> None:
        while not port.lost.done():
            asked = self._next()
            if asked is None:
                self._stirred.clear()
                await self._stirred.wait()
                continue
            link, burst, index, request = asked
            reply = await self._ask(transport, link, request)
            if isinstance(reply, NoReply):
                link.counters.timeouts += not isinstance(reply, NotAsked)
                burst.fail(reply)  # a unit that does not answer gets no more of the others' time
            else:
                burst.take(index, reply)

    async def _ask(self, transport: Any, link: OnLine, request: Request) -> Reply:
        """The reply, or NoReply: then the unit is out of step, and is brought into step before it is asked anything else."""
        if link.uncertain:
            count = next(n for n in range(1, _UNCERTAIN + 2) if n not in link.uncertain)
            probe = Read(STATUS_AT, count)
            reply = await self._transact(transport, link, probe)
            if not isinstance(reply, tuple):
                return NoReply(f"{link.name}: out of step, and no reply to a probe")
            link.uncertain.clear()
        return await self._transact(transport, link, request)

    async def _transact(self, transport: Any, link: OnLine, request: Request) -> Reply:
        await self.clock.until(self._quiet)
        if not self.opened.is_set():
            return NoReply(f"{link.name}: the port is lost")
        loop = asyncio.get_running_loop()
        frame = self._framer.encode(request.encode(), link.unit, 0)
        limit = link.patience(self.serial.duration(len(frame) + _size(request)))
        if not limit:
            return NotAsked(f"{link.name}: its late reply to another request may still come")
        reply: asyncio.Future[Reply] = loop.create_future()
        alike = isinstance(request, _ECHOED)
        self._held, self._echo, self._waiting = b"", b"" if alike and not self._echoes else frame, (link, request, reply)
        link.counters.sent += 1
        transport.write(frame)
        timer = loop.call_later(seconds(limit), _expire, reply, link.name)
        try:
            got = await reply
        finally:
            timer.cancel()
            self._waiting = None
            self._quiet = Ns(self.clock.now() + self._turn)
        link.judge(request, got)
        return got

    def hear(self, data: bytes) -> None:
        """Bytes have come: a frame, a part of one, our own echo, or what is left of something else."""
        self._held += data
        if self._echo:
            if self._held.startswith(self._echo):
                self._held, self._echo, self._echoes = self._held[len(self._echo) :], b"", True
            elif self._echo.startswith(self._held):
                return  # an echo that is not whole yet, or the first bytes of a reply
            else:
                self._echo, self._echoes = b"", False
        while self._held:
            used, unit, _, pdu = self._framer.decode(self._held)
            if not used:
                self._held = self._held[-LONGEST:]
                return
            self._held = self._held[used:]
            self._take(unit, pdu)

    def _take(self, unit: int, pdu: bytes) -> None:
        if self._waiting is None:
            return
        link, request, reply = self._waiting
        if not pdu:
            link.counters.broken += 1
            return
        try:
            if unit != link.unit:
                raise ProtocolError(f"reply from unit {unit}, not {link.unit}")
            made: Reply = reply_to(request, pdu)
        except Refused as refused:
            made = refused
        except ProtocolError:
            link.counters.strange += 1
            return  # it may be a late one: the right one may still come
        if not reply.done():
            reply.set_result(made)


class SerialLink:
    """A node on a serial line, with the face of a Link.

    Attributes:
        up: whether it answers.
        uncertain: the numbers of registers that replies hold which may still come.
    """

    def __init__(self, name: str, line: SerialLine, unit: int, queue: int = MOST_QUEUED) -> None:
        self.name, self.unit, self.clock = name, unit, line.clock
        self.up = False
        self._cause = "not asked yet"
        self.counters = Counters()
        self.uncertain: deque[int] = deque((0,), maxlen=_UNCERTAIN)
        self._line, self._most_queued = line, queue
        self._queued = self._misses = 0
        self._down = asyncio.Event()
        line.units.append(self)

    @property
    def cause(self) -> str:
        """Why it does not answer: the line's reason, or its own."""
        return self._line.cause or self._cause

    async def ask(self, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        """The reply to each request, or the error in its place, at the latest at `deadline`; as Link.ask."""
        if not requests:
            return []
        if not self.up:
            return [LinkDown(f"{self.name}: {self.cause}")] * len(requests)
        if self._queued + len(requests) > self._most_queued:
            full = QueueFull(f"{self.name}: {self._queued} requests wait already, at most {self._most_queued}")
            return [full] * len(requests)
        return await self._ask(requests, deadline, urgent)

    async def _ask(self, requests: Sequence[Request], deadline: Ns, urgent: bool) -> list[Reply]:
        loop = asyncio.get_running_loop()
        burst = Burst(len(requests), loop.create_future())
        self._queued += len(requests)
        self._line.put([(self, burst, index, request) for index, request in enumerate(requests)], urgent)
        left = max(0.0, seconds(Ns(deadline - self.clock.now())))
        timer = loop.call_later(left, burst.fail, NoReply(f"{self.name}: no reply in time"))
        try:
            await burst.done
        finally:
            timer.cancel()
            burst.done.cancel()
            self._queued -= len(requests)
        return cast(list[Reply], burst.replies)

    def patience(self, clear: Ns) -> Ns:
        """See OnLine."""
        return Ns(clear + REPLY)

    def judge(self, request: Request, reply: Reply) -> None:
        """Count what came of a request."""
        if not isinstance(reply, NoReply):
            self._misses = 0
            return
        self.uncertain.append(request.count if isinstance(request, Read) else 0)
        self._misses += 1
        if self._misses >= MISSES:
            self.drop(f"no reply to {self._misses} requests")

    def drop(self, cause: str) -> None:
        """Take the unit for lost; it is tried again after a pause."""
        self.up, self._cause = False, cause
        self._down.set()

    async def run(self) -> None:
        """Keep the unit in sight until cancelled, and the line as well where nobody else does."""
        async with asyncio.TaskGroup() as tasks:
            if self._line.run_by is None:
                self._line.run_by = self
                tasks.create_task(self._line.run())
            await self._keep()

    async def _keep(self) -> None:
        failed = 0
        while True:
            await self._line.opened.wait()
            limit = Ns(self.clock.now() + 10 * REPLY)
            (reply,) = await self._ask([Read(STATUS_AT, 1)], limit, urgent=True)
            if isinstance(reply, tuple) and self._line.opened.is_set():
                failed = 0
                self.up, self._cause = True, ""
                self.counters.connections += 1
                self._down.clear()
                await self._down.wait()
            else:
                self._cause = f"no reply from unit {self.unit}"
                failed += 1
            await self.clock.until(Ns(self.clock.now() + pause(self.name, failed, 0)))


def _size(request: Request) -> int:
    """Bytes of the longest reply."""
    if isinstance(request, Read):
        return 5 + 2 * request.count
    if isinstance(request, ReadBits):
        return 5 + (request.count + 7) // 8
    return LONGEST if isinstance(request, ReadIdentity) else 10


def _expire(reply: "asyncio.Future[Reply]", name: str) -> None:
    if not reply.done():
        reply.set_result(NoReply(f"{name}: no reply in time"))
