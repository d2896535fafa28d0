"""A TCP connection to a Modbus device, driven by callbacks: nothing is awaited, and no task or timer is made, for a request.

Its replies are checked as strictly as `modbus.client`'s: a right one is known by comparing nine bytes and its length.
"""

import asyncio
import socket
import zlib
from collections import deque
from typing import Any, cast

from controller.fieldbus.ask import Ask, Hearer
from controller.modbus.burst import Counters
from controller.modbus.client import Securing
from controller.modbus.pdu import Frames, LinkDown, ModbusError, ProtocolError, Read, ReadBits, Refused, reply_to
from controller.modbus.tls import told
from twin.clock import MS, Clock, Ns, S, seconds

CONNECT, QUICK_CONNECT = Ns(3 * S), Ns(300 * MS)
"""How long an attempt may take: a short one finds a device that has come back soon, every fourth one reaches slow networks."""
FIRST_PAUSE, LONGEST_PAUSE = Ns(50 * MS), S
STEADY = S
MOST_LATE = 64


class Crowd:
    """How many devices are away: the more, the less often each of them is tried."""

    def __init__(self) -> None:
        self.away = 0

    @property
    def pause(self) -> Ns:
        """Least pause of each, so that all together are tried 200 times a second at most."""
        return Ns(self.away * 5 * MS)


class _Wire(asyncio.Protocol):
    """One connection's life."""

    def __init__(self, line: "TcpLine", closed: "asyncio.Future[str]") -> None:
        self.line, self.closed, self.cause = line, closed, ""
        self.frames = Frames()
        self.whole = True
        self.transport: asyncio.Transport | None = None
        self.flying: dict[bytes, Ask] = {}
        self.late: deque[bytes] = deque(maxlen=MOST_LATE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        line = self.line
        ask = self.flying.get(data[:2])
        if ask is not None and self.whole and len(data) == ask.size and data[2:9] == ask.head:
            del self.flying[data[:2]]
            line.hearer.heard(ask, data[9:], line.clock.now())
            return
        self._cut(data)

    def _cut(self, data: bytes) -> None:
        """A piece that is not one right reply to a read: several, a part, a write's echo, an exception, or wrong."""
        counters, now = self.line.counters, self.line.clock.now()
        try:
            for transaction, unit, pdu in self.frames.feed(data):
                self._take(transaction.to_bytes(2, "big"), unit, pdu, now)
            self.whole = not self.frames.held
        except ProtocolError as broken:
            counters.broken += 1
            self.drop(str(broken))

    def _take(self, transaction: bytes, unit: int, pdu: bytes, now: Ns) -> None:
        ask = self.flying.pop(transaction, None)
        if ask is None:
            if transaction in self.late:
                self.line.counters.late += 1
            else:
                self.line.counters.strange += 1
            return
        reply: bytes | ModbusError
        try:
            if unit != ask.unit:
                raise ProtocolError(f"reply from unit {unit}, not {ask.unit}")
            reply_to(ask.request, pdu)
            reply = pdu[2:] if isinstance(ask.request, Read | ReadBits) else b""
        except Refused as refused:
            reply = refused
        except ProtocolError as broken:  # the frame was sound: it is this unit that cannot be believed, not the stream
            self.line.counters.broken += 1
            reply = broken
        self.line.hearer.heard(ask, reply, now)

    def drop(self, cause: str) -> None:
        self.cause = self.cause or cause
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, lost: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(self.cause or (f"connection lost: {lost}" if lost else "closed by the device"))


class TcpLine:
    """The connection to one device, made again whenever it is lost.

    Attributes:
        up, cause, steps: as in Line. A connection that a device closed while nothing was asked is no cause: it is made again.
        eager: the longest pause before it is tried again that the scans of this device allow.
    """

    steps = True

    def __init__(
        self, name: str, host: str, port: int, clock: Clock, hearer: Hearer, crowd: "Crowd", securing: Securing | None = None
    ) -> None:
        self.name, self.clock, self.hearer, self.eager = name, clock, hearer, LONGEST_PAUSE
        self._crowd, self._securing = crowd, securing
        self.up, self.cause = False, "not connected yet"
        self.counters = Counters()
        self.delay = Ns(0)
        self._host, self._port = host, port
        self._wire: _Wire | None = None
        self._transaction = 0

    def send(self, ask: Ask) -> None:
        wire = self._wire
        if wire is None or wire.transport is None:
            self.hearer.heard(ask, LinkDown(f"{self.name}: {self.cause}"), self.clock.now())
            return
        self._transaction = number = (self._transaction + 1) & 0xFFFF
        transaction = number.to_bytes(2, "big")
        wire.flying[transaction] = ask
        if not wire.transport.is_closing():  # else its end is about to be told
            self.counters.sent += 1
            wire.transport.write(transaction + ask.tail)

    def forget(self, ask: Ask) -> None:
        if self._wire is not None:
            flying = self._wire.flying
            for transaction in [t for t, other in flying.items() if other is ask]:
                del flying[transaction]
                self._wire.late.append(transaction)

    def drop(self, cause: str) -> None:
        if self._wire is not None:
            self._wire.drop(cause)

    async def run(self) -> None:
        """Keep the connection up until cancelled. A connection that does not last makes the next pause longer."""
        failed = flaps = 0
        await self.clock.until(Ns(self.clock.now() + self.delay))
        while True:
            wire = await self._connect(CONNECT if failed % 4 == 3 else QUICK_CONNECT)
            if wire is None:
                failed += 1
                self._crowd.away += failed == 1
                self.hearer.lost(self.cause, self.clock.now())
            else:
                self._crowd.away -= failed > 0
                failed = 0
                flaps = 0 if await self._live(wire) >= STEADY else flaps + 1
                if not flaps:
                    continue
            await self.clock.until(Ns(self.clock.now() + self._pause(max(failed, flaps))))

    def _pause(self, failed: int) -> Ns:
        most = max(FIRST_PAUSE, self._crowd.pause, min(self.eager, LONGEST_PAUSE))
        share = zlib.crc32(f"{self.name} {failed}".encode()) % 256
        return Ns(min(FIRST_PAUSE << min(failed - 1, 10), most) * (1024 - share) // 1024)

    async def _connect(self, patience: Ns) -> _Wire | None:
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[str] = loop.create_future()
        try:
            options: dict[str, Any] = self._securing().options if self._securing is not None else {}
            async with asyncio.timeout(seconds(CONNECT if options else patience)):
                _, wire = await loop.create_connection(lambda: _Wire(self, closed), self._host, self._port, **options)
        except TimeoutError:
            self.cause = f"no connection to {self._host}:{self._port} within {seconds(patience):g} s"
            return None
        except (OSError, ValueError) as refused:  # a ValueError: of a name that cannot be one
            self.cause = f"no connection to {self._host}:{self._port}: {told(refused)}"
            return None
        return wire

    async def _live(self, wire: _Wire) -> Ns:
        """Serve a connection until it is lost. Returns how long it lived."""
        start = self.clock.now()
        self._wire, self.up, self.cause = wire, True, ""
        self.counters.connections += 1
        self.hearer.opened(start)
        try:
            cause = await wire.closed
        finally:
            self._wire, self.up = None, False
            wire.drop("closed by us")
            self.cause = wire.cause or "closed by us"
        asked = list(wire.flying.values())
        for ask in asked:
            self.hearer.heard(ask, LinkDown(f"{self.name}: {cause}"), self.clock.now())
        self.cause = cause
        if asked or wire.cause:
            self.hearer.lost(cause, self.clock.now())
        return Ns(self.clock.now() - start)
