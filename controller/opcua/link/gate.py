"""The door: a connection's bytes go in, answers come out, and nobody takes more room or time than is their share."""

import asyncio
import logging
import struct
from collections.abc import Callable, Iterable
from typing import Final, cast

from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import THEIRS
from controller.opcua.encoding import string
from controller.opcua.guard import Refused
from controller.opcua.link.channel import Channel
from controller.opcua.link.chunks import MOST_CHUNK, Cutter
from controller.opcua.link.dispatch import Dispatch
from controller.opcua.link.handshake import Handshake
from controller.opcua.link.line import TURN, Line
from controller.opcua.link.purses import local
from controller.opcua.link.terms import Client, Terms
from twin.clock import Ns, S

log = logging.getLogger("lockstep.opcua")

MOST_CONNECTIONS: Final = 100
MOST_OF_ADDRESS: Final = 30
"""Connections of one address that is not this computer's."""
MOST_PER_TURN: Final = 16
"""How many chunks of one connection are served (for TURN at the longest) before others have their turn."""
MOST_UNREAD: Final = 256 * 1024
"""Bytes of answers that may lie unread before nothing more is taken in."""
MOST_KEPT: Final = 16 * 1024 * 1024
"""Bytes of answers that may lie unread at all."""
MOST_KEPT_IN_ALL: Final = 64 * 1024 * 1024
"""The same of all connections together."""
PATIENCE: Final = Ns(10 * S)
"""How long a connection may be without an activated session, and how long a client may leave its answers unread."""
HASTE: Final = Ns(2 * S)
"""The first of these for a connection over which nobody has proven who he is, while more than half of the places are taken."""


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
        self._closing = self._dropped = False
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
            self.drop()
            return
        self._transport.set_write_buffer_limits(high=MOST_UNREAD)

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended."""
        if self._turn is not None:
            self._turn.cancel()
        self._gates.line.leave(self)
        self._gates.gone(self)

    # ---- in ----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._transport.is_closing():
            return
        free = self._turn is None and not self.channel.busy
        if free and self.channel.in_session:
            if self._alone(data):
                self._serve([bytes(data)], MOST_PER_TURN)
            else:
                self._cutter.feed(data)
                self._take_turn()
            return
        self._cutter.feed(data)
        if free:
            self._gates.line.join(self, self._loop.call_soon)
        if len(self._cutter) > MOST_CHUNK:
            self._hold()

    def _alone(self, data: bytes) -> bool:
        """Whether bytes are one chunk, and the only one there is."""
        try:
            return self._cutter.whole(data)
        except Refused:
            return False  # it is told when its turn comes

    def _take_turn(self) -> None:
        """Serve some of the chunks there are; if more are left, others come first."""
        self._turn = None
        if self._take(MOST_PER_TURN):
            self._turn = self._loop.call_soon(self._take_turn)

    def step(self) -> bool:
        """Serve one chunk, as those without a session are. Whether it is to be served on like that."""
        more = self._take(1)
        if more and self.channel.in_session:
            self._turn = self._loop.call_soon(self._take_turn)
            return False
        return more

    def _take(self, most: int) -> bool:
        """Serve so many chunks at most. Whether there are more that may be served."""
        if not self._transport.is_closing() and not self.channel.busy:
            self._serve(iter(self._cutter.next, b""), most)
        if self._transport.is_closing() or not self._cutter.ready():
            self._release()
            return False
        if self.channel.busy:
            return False
        self._hold()
        return True

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._transport.pause_reading()

    def _release(self) -> None:
        if self._held and not self.channel.busy:
            self._held = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _serve(self, chunks: Iterable[bytes], most: int) -> None:
        """Serve chunks, as many as one turn has. A connection over which anything came that made no sense is at its end."""
        self._out, goes_on = [], False
        try:
            self._serve_some(chunks, most)
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

    def _serve_some(self, chunks: Iterable[bytes], most: int) -> None:
        clock = self._gates.terms.clock
        start = clock.now()
        for count, chunk in enumerate(chunks, 1):
            message = self.channel.take(chunk, start)
            if message is not None:
                self._gates.dispatch.serve(self.channel, *message, start)
            if count >= most or self._closing or self._pending > MOST_UNREAD or clock.now() - start > TURN:
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
            size = self._transport.get_write_buffer_size()
            if size > MOST_KEPT:
                self.drop()
            elif size > MOST_UNREAD:
                self._gates.relieve()

    @property
    def unread(self) -> int:
        """Bytes of answers that its client has not taken yet."""
        return 0 if self._dropped else self._transport.get_write_buffer_size()

    def drop(self) -> None:
        """End it at once, and forget what was to be sent."""
        self._dropped = True
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
        for told in self._gates.terms.on_caught_up:
            told(self.channel)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        if self.channel.in_session:
            self._take_turn()
        elif not self.channel.busy:
            self._gates.line.join(self, self._loop.call_soon)

    def sweep(self, now: Ns, haste: bool) -> None:
        """End it when nobody makes use of it, when its client takes no answers, when its keys have run out."""
        patience = HASTE if haste and not self.channel.sealed else PATIENCE
        if self.channel.in_use(now) and not self._closing:
            self.idle_since = now
        unread = self._unread_since is not None and now - self._unread_since >= PATIENCE
        if unread or now - self.idle_since >= patience:
            self.drop()
        elif self.channel.expired(now):
            self.end(StatusCodes.BadSecureChannelClosed, "the channel was not renewed in time")


class Gates:
    """All connections. It is what a listening socket makes each of them with."""

    def __init__(self, terms: Terms, dispatch: Dispatch, handshake: Handshake) -> None:
        self.terms = terms
        self.dispatch = dispatch
        self.line = Line(terms.clock)
        self._handshake = handshake
        self._open: dict[Gate, None] = {}

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
        """Whether there is room for one more, or one that is of no use makes it."""
        of_address = sum(other.address == gate.address for other in self._open)
        if of_address >= MOST_OF_ADDRESS and not local(gate.address):
            return False
        if len(self._open) >= MOST_CONNECTIONS and not self._make_room():
            return False
        self._open[gate] = None
        return True

    def _make_room(self) -> bool:
        """End the connection that has been without an activated session longest; those whose clients are unknown go first."""
        idle = [gate for gate in self._open if not gate.channel.in_session]
        if not idle:
            return False
        goes = min(idle, key=lambda gate: (gate.channel.sealed, gate.idle_since))
        goes.drop()
        self.gone(goes)
        return True

    def relieve(self) -> None:
        """End the connection with most that is unread, when all together have too much."""
        if sum(gate.unread for gate in self._open) > MOST_KEPT_IN_ALL:
            max(self._open, key=lambda gate: gate.unread).drop()

    def gone(self, gate: Gate) -> None:
        """One has ended."""
        if gate in self._open:
            del self._open[gate]
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
        haste = len(self._open) > MOST_CONNECTIONS // 2
        for gate in tuple(self._open):
            gate.sweep(now, haste)
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
