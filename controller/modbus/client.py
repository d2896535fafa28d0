"""A link over one TCP connection kept up by one task, with TLS or without: pipelined requests, one deadline for each burst.

`Link` leads to one node, `UnitsLink` to a device or to a gateway with many units behind it. A lost node is no exception above
this module: every burst comes back, with words or with the error of each request.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from controller.modbus.burst import Burst, Counters, Reply, pause
from controller.modbus.pdu import (
    Frames,
    LinkDown,
    NoReply,
    ProtocolError,
    QueueFull,
    Refused,
    Request,
    frame,
    reply_to,
)
from controller.modbus.tls import Secured, told
from twin.clock import Clock, Ns, S, seconds

WINDOW = 16
MOST_QUEUED = 256
MOST_LATE = 1024
CONNECT = S
SILENCE = S
STEADY = Ns(5 * S)


_Asked = tuple[Burst, int, Request, int]
Securing = Callable[[], Secured]


class _Line(asyncio.Protocol):
    """One TCP connection's life."""

    def __init__(self, link: "_Connection", closed: "asyncio.Future[str]") -> None:
        self._link = link
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._in_flight: dict[int, _Asked] = {}
        self._late: deque[int] = deque(maxlen=MOST_LATE)
        self._transaction = 0
        self._writable = True
        self._silent_since: Ns | None = None
        self._cause = ""
        self.closed = closed
        self.answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self.pump()

    def pump(self) -> None:
        """Send what the window allows, in one write."""
        if not self._writable or self._transport is None or self._transport.is_closing():
            return
        link, pieces = self._link, []
        while len(self._in_flight) < link.window and (asked := link.next_asked()) is not None:
            transaction = self._next_transaction()
            self._in_flight[transaction] = asked
            pieces.append(frame(transaction, asked[3], asked[2].encode()))
        if pieces:
            link.counters.sent += len(pieces)
            if self._silent_since is None:
                self._silent_since = link.clock.now()
            self._transport.write(b"".join(pieces))

    def _next_transaction(self) -> int:
        while True:
            self._transaction = (self._transaction + 1) & 0xFFFF
            if self._transaction not in self._in_flight:
                return self._transaction

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._frames.feed(data)
            for transaction, unit, pdu in frames:
                self._take(transaction, unit, pdu)
        except ProtocolError as broken:
            self._link.counters.broken += 1
            self.drop(str(broken))
            return
        if frames:
            self.answered = True
            self._silent_since = self._link.clock.now() if self._in_flight else None
            self.pump()

    def _take(self, transaction: int, unit: int, pdu: bytes) -> None:
        asked = self._in_flight.pop(transaction, None)
        if asked is None:
            if transaction in self._late:
                self._link.counters.late += 1
            else:
                self._link.counters.strange += 1
            return
        burst, index, request, wanted = asked
        try:
            if unit != wanted:
                raise ProtocolError(f"reply from unit {unit}, not {wanted}")
            burst.take(index, reply_to(request, pdu))
        except Refused as refused:
            burst.take(index, refused)
        except ProtocolError as broken:
            burst.take(index, broken)
            raise

    def forget(self, burst: Burst) -> None:
        """Give a burst's transactions up: their replies are dropped when they come after all."""
        for transaction in [t for t, asked in self._in_flight.items() if asked[0] is burst]:
            del self._in_flight[transaction]
            self._late.append(transaction)

    @property
    def silent_since(self) -> Ns | None:
        """Since when requests have been waiting without a sign of the node."""
        return self._silent_since

    def drop(self, cause: str) -> None:
        """End this connection at once."""
        self._cause = self._cause or cause
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, lost: Exception | None) -> None:
        why = f"connection lost: {told(lost) if isinstance(lost, OSError) else lost}" if lost else "closed by the node"
        cause = self._cause or why + self._link.doubt(self.answered)
        for burst, index, *_ in self._in_flight.values():
            burst.take(index, LinkDown(cause))
        self._in_flight.clear()
        if not self.closed.done():
            self.closed.set_result(cause)


class _Connection:
    """A connection, and the queue of what is to be asked over it.

    Attributes:
        up: whether there is a connection.
        cause: why there is none.
        window: how many requests may wait for their replies at a time.
    """

    silence: Ns | None = SILENCE
    """After so long without a sign the connection is taken for lost; None: never."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        clock: Clock,
        window: int = WINDOW,
        queue: int = MOST_QUEUED,
        securing: Securing | None = None,
    ) -> None:
        self.name, self.clock, self.window = name, clock, window
        self.cause = "not connected yet"
        self.counters = Counters()
        self._host, self._port, self._most_queued, self._securing = host, port, queue, securing
        self._urgent: deque[_Asked] = deque()
        self._patient: deque[_Asked] = deque()
        self._line: _Line | None = None

    @property
    def up(self) -> bool:
        return self._line is not None

    async def _ask(self, unit: int, requests: Sequence[Request], deadline: Ns, urgent: bool) -> list[Reply]:
        if not requests:
            return []
        line = self._line
        if line is None:
            return [LinkDown(f"{self.name}: {self.cause}")] * len(requests)
        queue = self._urgent if urgent else self._patient
        if len(queue) + len(requests) > self._most_queued:
            full = QueueFull(f"{self.name}: {len(queue)} requests wait already, at most {self._most_queued}")
            return [full] * len(requests)
        loop = asyncio.get_running_loop()
        burst = Burst(len(requests), loop.create_future())
        queue.extend((burst, index, request, unit) for index, request in enumerate(requests))
        timer = loop.call_later(max(0.0, seconds(Ns(deadline - self.clock.now()))), self._expire, line, burst)
        line.pump()
        try:
            await burst.done
        finally:
            timer.cancel()
            if not burst.done.done() or burst.done.cancelled():
                burst.done.cancel()
                line.forget(burst)
        return cast(list[Reply], burst.replies)

    def next_asked(self) -> _Asked | None:
        """The next request to send, if its burst still waits for it."""
        for queue in (self._urgent, self._patient):
            while queue:
                asked = queue.popleft()
                if not asked[0].done.done():
                    return asked
        return None

    def _expire(self, line: _Line, burst: Burst) -> None:
        if burst.done.done():
            return
        line.forget(burst)
        burst.fail(NoReply(f"{self.name}: no reply in time"))
        self.counters.timeouts += 1
        since = line.silent_since
        if since is not None and self.silence is not None and self.clock.now() - since >= self.silence:
            line.drop(f"no reply for {seconds(Ns(self.clock.now() - since)):.1f} s")
        else:
            line.pump()

    def doubt(self, answered: bool) -> str:
        """What else may be behind the end of a connection: with TLS 1.3 a device refuses a certificate after the handshake."""
        return "" if answered or self._securing is None else " before it answered: it may not believe our certificate"

    def drop(self, cause: str) -> None:
        """End the present connection; a new one is made after a pause."""
        if self._line is not None:
            self._line.drop(cause)

    async def run(self) -> None:
        """Keep the connection up until cancelled. A line that does not last makes the next pause longer."""
        failed = flaps = 0
        while True:
            line = await self._connect()
            if line is None:
                failed += 1
            else:
                failed = 0
                lived = await self._live(line)
                flaps = 0 if lived >= STEADY else flaps + 1
            await self.clock.until(Ns(self.clock.now() + pause(self.name, failed, flaps)))

    async def _connect(self) -> _Line | None:
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[str] = loop.create_future()
        try:
            options: dict[str, Any] = self._securing().options if self._securing is not None else {}
            async with asyncio.timeout(seconds(CONNECT)):
                _, line = await loop.create_connection(lambda: _Line(self, closed), self._host, self._port, **options)
        except TimeoutError:
            self.cause = f"no connection to {self._host}:{self._port} within {seconds(CONNECT):g} s"
            return None
        except (OSError, ValueError) as refused:  # a ValueError: of a name that cannot be one
            self.cause = f"no connection to {self._host}:{self._port}: {told(refused)}"
            return None
        return line

    async def _live(self, line: _Line) -> Ns:
        """Serve a line until it is lost. Returns how long it lived."""
        start = self.clock.now()
        self._line, self.cause = line, ""
        self.counters.connections += 1
        try:
            self.cause = await line.closed
        finally:
            self._line = None
            line.drop("closed by us")
            self.cause = self.cause or "closed by us"
            while (asked := self.next_asked()) is not None:
                asked[0].fail(LinkDown(f"{self.name}: {self.cause}"))
        return Ns(self.clock.now() - start)


class Link(_Connection):
    """The connection to one node, and the queue of what is to be asked there."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        clock: Clock,
        unit: int = 1,
        window: int = WINDOW,
        queue: int = MOST_QUEUED,
    ) -> None:
        super().__init__(name, host, port, clock, window, queue)
        self.unit = unit

    async def ask(self, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        """The reply to each request, or the error in its place, at the latest at `deadline`.

        Urgent requests go before patient ones, which carry bulk; each kind keeps its order.
        """
        return await self._ask(self.unit, requests, deadline, urgent)


class UnitsLink(_Connection):
    """The connection to a device, or to a gateway with many units, with the face of a UnitLink; one request at a time.

    A unit that does not answer is no reason to end a connection that others answer on.
    """

    silence = None

    def __init__(
        self, name: str, host: str, port: int, clock: Clock, window: int = 1, securing: Securing | None = None
    ) -> None:
        super().__init__(name, host, port, clock, window, MOST_QUEUED, securing)

    async def ask(self, unit: int, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        """The reply of a unit to each request, or the error in its place, at the latest at `deadline`."""
        return await self._ask(unit, requests, deadline, urgent)
