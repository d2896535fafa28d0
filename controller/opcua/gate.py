"""The door: cuts a connection's bytes into messages, and keeps neither what is too long nor what nobody has time for."""

import asyncio
import logging
import socket
import struct
from typing import Any

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto.uacrypto import InvalidSignature as NotSigned  # type: ignore[attr-defined]
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import header_from_binary, uatcp_to_binary
from asyncua.ua.uaerrors import UaError
from cryptography.exceptions import InvalidSignature

from controller.opcua.channel import MOST_CHUNK, Channel
from controller.opcua.guard import Refused
from controller.opcua.names import status
from controller.opcua.session import Sessions
from twin.clock import Clock, Ns, S

log = logging.getLogger("lockstep.opcua")

MOST_CONNECTIONS = 100
MOST_WAITING = 16
PATIENCE = Ns(10 * S)
"""How long a connection may be without an activated session, and how long a client may leave its answers unread."""

HEAD = 12
KINDS = {
    ua.MessageType.Hello: (b"F", 8),
    ua.MessageType.SecureOpen: (b"F", HEAD),
    ua.MessageType.SecureMessage: (b"FCA", HEAD),
    ua.MessageType.SecureClose: (b"F", HEAD),
}
THEIRS = (UaError, InvalidSignature, NotSigned, ValueError, struct.error, IndexError, TypeError)
"""What asyncua raises when a peer's bytes make no sense."""


class Gate(OPCUAProtocol):
    """One connection.

    A client that sends faster than it is served is not read from meanwhile; one that does not read its answers is
    not served, and after a while cut off.
    """

    def __init__(self, server: Sessions, gates: list[OPCUAProtocol], closing: list[asyncio.Task[Any]], clock: Clock) -> None:
        super().__init__(server, [], gates, closing, TransportLimits())
        self.messages = asyncio.Queue(maxsize=MOST_WAITING)
        self._server = server
        self._clock = clock
        self._received = bytearray()
        self._paused = False
        self._read = asyncio.Event()
        self._read.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if there is room."""
        assert isinstance(transport, asyncio.Transport)
        self.peer_name = transport.get_extra_info("peername")
        if len(self.clients) >= MOST_CONNECTIONS:
            transport.abort()
            return
        self.transport = transport
        self.processor = self._channel = Channel(self._server, transport, self._clock)
        self._server.asyncio_transports.append(transport)
        self.clients.append(self)
        self._task = asyncio.create_task(self._process_received_message_loop())
        self._activation_watchdog_task = asyncio.create_task(self._activation_watchdog())

    async def _activation_watchdog(self) -> None:
        """End the connection when nobody makes use of it."""
        assert self.transport is not None
        due = self._clock.now()
        while True:
            due = Ns(due + PATIENCE)
            await self._clock.until(due)
            if self.transport.is_closing() or not self._channel.in_use:
                self.transport.abort()

    # ---- in ----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self.transport is None or self.transport.is_closing():
            return
        self._received += data
        self._cut()

    def _cut(self) -> None:
        """Queue the whole messages there are; while the queue is full, nothing more is read."""
        assert self.transport is not None
        try:
            while not self.messages.full() and (size := self._next_size()):
                message = bytes(self._received[:size])
                del self._received[:size]
                buffer = Buffer(message)
                self.messages.put_nowait((header_from_binary(buffer), buffer))
        except Refused as refused:
            self._tell(refused)
            self.transport.close()
            return
        if self.messages.full() != self._paused:
            self._paused = not self._paused
            (self.transport.pause_reading if self._paused else self.transport.resume_reading)()

    def _next_size(self) -> int:
        """Bytes of the next message, or 0 while it is not all there.

        Raises:
            Refused: it will not be waited for.
        """
        if len(self._received) < 8:
            return 0
        kind, chunk, size = struct.unpack_from("<3scI", self._received)
        if kind not in KINDS:
            raise Refused(StatusCodes.BadTcpMessageTypeInvalid, "no message of that type is served")
        chunks, head = KINDS[kind]
        if chunk not in chunks or size < head:
            raise Refused(StatusCodes.BadTcpMessageTypeInvalid, "a malformed header")
        if size > MOST_CHUNK:
            raise Refused(StatusCodes.BadTcpMessageTooLarge, f"{size} bytes are claimed; {MOST_CHUNK} are allowed")
        return size if len(self._received) >= size else 0

    # ---- out ---------------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        self._read.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._read.set()

    def _tell(self, refused: Refused) -> None:
        assert self.transport is not None
        error: Any = ua.ErrorMessage(status(refused.code), str(refused))  # type: ignore[arg-type]
        self.transport.write(uatcp_to_binary(ua.MessageType.Error, error))  # type: ignore[arg-type]

    async def _process_one_msg(self, header: Any, buf: Buffer) -> bool:
        """Serve one message. A connection over which anything came that made no sense is at its end."""
        assert self.transport is not None
        goes_on = False
        try:
            async with asyncio.timeout(PATIENCE / S):
                await self._read.wait()
            goes_on = await self._channel.process(header, buf)
        except TimeoutError:
            self.transport.abort()
        except Refused as refused:
            self._tell(refused)
        except THEIRS:
            log.debug("from %s", self.peer_name, exc_info=True)
            self._tell(Refused(StatusCodes.BadSecurityChecksFailed, "this could not be deciphered or decoded"))
        finally:
            if not goes_on:
                self.transport.close()
        if goes_on:
            self._cut()
        return goes_on


class Listener(BinaryServer):
    """Listens on a socket that is already bound."""

    def __init__(self, server: Sessions, bound: socket.socket, clock: Clock) -> None:
        host, port = bound.getsockname()
        super().__init__(server, host, port, TransportLimits())
        self._sessions = server
        self._bound = bound
        self._clock = clock

    def _make_protocol(self) -> OPCUAProtocol:
        return Gate(self._sessions, self.clients, self.closing_tasks, self._clock)

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make_protocol, sock=self._bound)
        self.cleanup_task = asyncio.create_task(self._close_task_loop())
