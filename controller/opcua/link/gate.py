"""The door: a connection's bytes go in, answers come out, and nobody takes more room or time than is their share."""

import asyncio
import logging
import struct
from collections.abc import Callable, Iterable
from typing import Final, cast

from asyncua.ua.status_codes import StatusCodes

from controller.opcua.encoding import string
from controller.opcua.guard import Refused
from controller.opcua.link.channel import Channel
from controller.opcua.link.chunks import MOST_CHUNK, Cutter
from controller.opcua.link.dispatch import THEIRS, Dispatch
from controller.opcua.link.handshake import Handshake
from controller.opcua.link.terms import Client, Terms, local
from twin.clock import MS, Ns, S

log = logging.getLogger("lockstep.opcua")

MOST_CONNECTIONS: Final = 100
MOST_OF_ADDRESS: Final = 30
"""Connections of one address that is not this computer's."""
MOST_PER_TURN: Final = 16
TURN: Final = Ns(5 * MS)
"""How many chunks of one connection are served, and for how long, before others have their turn."""
MOST_UNREAD: Final = 256 * 1024
"""Bytes of answers that may lie unread before nothing more is taken in."""
MOST_KEPT: Final = 16 * 1024 * 1024
"""Bytes of answers that may lie unread at all."""
PATIENCE: Final = Ns(10 * S)
"""How long a connection may be without an activated session, and how long a client may leave its answers unread."""


class Gate(asyncio.Protocol):
    """One connection.

    A client that sends faster than it is served is not read from meanwhile; one that does not read its answers is not
    served, and after a while cut off.
    """

    def __init__(self, gates: "Gates") -> None:
        self._gates = gates
        self._cutter = Cutter()
        self._held = False
        self._turn: asyncio.Handle | None = None
        self._out: list[bytes] | None = None
        self._closing = False
        self._unread_since: Ns | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if there is room."""
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self.channel = Channel(self._gates.terms, self.address, self._write, self._hang_up)
        self.idle_since = self._gates.terms.clock.now()
        if not self._gates.let_in(self):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=MOST_UNREAD)

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended."""
        if self._turn is not None:
            self._turn.cancel()
        self._gates.gone(self)

    # ---- in ----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._transport.is_closing():
            return
        try:
            alone = self._turn is None and not self.channel.busy and self._cutter.whole(data)
        except Refused:
            alone = False  # it is told when its turn comes
        if alone:
            self._serve([bytes(data)])
            return
        self._cutter.feed(data)
        if self._turn is None and not self.channel.busy:
            self._take_turn()
        elif len(self._cutter) > MOST_CHUNK:
            self._hold()

    def _take_turn(self) -> None:
        """Serve some of the chunks there are; if more are left, others come first."""
        self._turn = None
        if not self._transport.is_closing():
            self._serve(iter(self._cutter.next, b""))
        if self._transport.is_closing() or not self._cutter.ready():
            self._release()
        elif not self.channel.busy:
            self._hold()
            self._turn = self._loop.call_soon(self._take_turn)

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._transport.pause_reading()

    def _release(self) -> None:
        if self._held and not self.channel.busy:
            self._held = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _serve(self, chunks: Iterable[bytes]) -> None:
        """Serve chunks, as many as one turn has. A connection over which anything came that made no sense is at its end."""
        self._out, goes_on = [], False
        try:
            self._serve_some(chunks)
            goes_on = True
        except Refused as refused:
            self._refuse(refused)
        except THEIRS:
            log.debug("from %s", self.address, exc_info=True)
            self._refuse(Refused(StatusCodes.BadSecurityChecksFailed, "this could not be deciphered or decoded"))
        finally:
            out, self._out = b"".join(self._out), None
            self._write(out)
            if self._closing or not goes_on:
                self._transport.close()

    def _serve_some(self, chunks: Iterable[bytes]) -> None:
        clock = self._gates.terms.clock
        start = clock.now()
        for count, chunk in enumerate(chunks, 1):
            message = self.channel.take(chunk, start)
            if message is not None:
                self._gates.dispatch.serve(self.channel, *message, start)
            if count >= MOST_PER_TURN or self._closing or self._pending > MOST_UNREAD or clock.now() - start > TURN:
                break

    # ---- out ---------------------------------------------------------------------------------------------------------

    @property
    def _pending(self) -> int:
        """Bytes of answers that were made in this turn."""
        return sum(map(len, self._out or ()))

    def _write(self, content: bytes) -> None:
        """Send something; in a turn, all at once at its end."""
        if self._out is not None:
            self._out.append(content)
        elif content and not self._transport.is_closing():
            self._transport.write(content)
            if self._transport.get_write_buffer_size() > MOST_KEPT:
                self._transport.abort()

    def _hang_up(self) -> None:
        """End it, behind what was to be sent yet."""
        self._closing = True
        if self._out is None:
            self._transport.close()

    def _refuse(self, refused: Refused) -> None:
        """End it for what came over it. What a certificate is refused for is told only as far as the client can mend it."""
        for told in self._gates.terms.on_refused:
            told(self.channel, refused)
        code = getattr(refused, "wire", None)
        if code is None:
            self.end(refused.code, str(refused))
        else:
            self.end(code, "the certificate is refused")

    def end(self, code: int, text: str) -> None:
        """End it, and say why."""
        content = struct.pack("<I", code) + string(text[:200])
        self._write(b"ERRF" + struct.pack("<I", 8 + len(content)) + content)
        self._hang_up()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        self.channel.busy = True
        self._unread_since = self._gates.terms.clock.now()
        self._hold()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.channel.busy = False
        self._unread_since = None
        if self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)

    def sweep(self, now: Ns) -> None:
        """End it when nobody makes use of it, when its client takes no answers, when its keys have run out."""
        if self.channel.in_use(now) and not self._closing:
            self.idle_since = now
        unread = self._unread_since is not None and now - self._unread_since >= PATIENCE
        if unread or now - self.idle_since >= PATIENCE:
            self._transport.abort()
        elif self.channel.expired(now):
            self.end(StatusCodes.BadSecureChannelClosed, "the channel was not renewed in time")


class Gates:
    """All connections. It is what a listening socket makes each of them with."""

    def __init__(self, terms: Terms, dispatch: Dispatch, handshake: Handshake) -> None:
        self.terms = terms
        self.dispatch = dispatch
        self._handshake = handshake
        self._open: set[Gate] = set()

    def __call__(self) -> Gate:
        """A connection."""
        return Gate(self)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def channels(self) -> list[Channel]:
        """All channels there are, opened or not."""
        return [gate.channel for gate in self._open]

    def let_in(self, gate: Gate) -> bool:
        """Whether there is room for one more."""
        of_address = sum(other.address == gate.address for other in self._open)
        if len(self._open) >= MOST_CONNECTIONS or (of_address >= MOST_OF_ADDRESS and not local(gate.address)):
            return False
        self._open.add(gate)
        return True

    def gone(self, gate: Gate) -> None:
        """One has ended."""
        if gate in self._open:
            self._open.discard(gate)
            gate.channel.close()
            self._handshake.lost(gate.channel)

    def close_untrusted(self, still: Callable[[Client], bool]) -> None:
        """End the connections and sessions of those who are trusted no longer."""
        for gate in tuple(self._open):
            client = gate.channel.client
            if client is not None and not still(client):
                for session in tuple(gate.channel.sessions):
                    session.delete_subscriptions = True
                    session.close()
                gate.end(StatusCodes.BadSecurityChecksFailed, "the certificate is refused")

    def sweep(self, now: Ns) -> None:
        """What time brings: connections that are of no use and sessions that were forgotten end."""
        for gate in tuple(self._open):
            gate.sweep(now)
        self._handshake.sweep(now)

    async def run(self) -> None:
        """Sweep each second, for ever."""
        clock = self.terms.clock
        due = clock.now()
        while True:
            due = Ns(due + S)
            await clock.until(due)
            self.sweep(clock.now())

    def close(self, code: int = StatusCodes.BadShutdown, text: str = "the server shuts down") -> None:
        """End all of them, and say why."""
        for gate in tuple(self._open):
            gate.end(code, text)
