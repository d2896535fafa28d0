"""The node's Modbus TCP server: a few clients at once, each with buffers that were there before it came."""

import asyncio
from time import ticks_diff, ticks_ms

from node.codec import Session

CONNECTIONS = 4
IDLE_MS = 30_000
STALE_MS = 5000  # a client that has been silent for so long gives way to a new one
WATCH_MS = 400
_TCP, _NODELAY = 6, 1


class Connection:
    """A place for one client."""

    def __init__(self, bank, door, identity):
        self.session = Session(bank, door, identity)
        self.sendable = memoryview(self.session.outbox)
        self._task = None
        self._heard = ticks_ms()

    def open(self, peer):
        """The running task serves a client here."""
        self._task = asyncio.current_task()
        self.session.open(peer)
        self.hear()

    def hear(self):
        """The client has said something."""
        self._heard = ticks_ms()

    def silence(self, now):
        """Milliseconds since the client has said something."""
        return ticks_diff(now, self._heard)

    def cancel(self):
        """Send the client away."""
        if self._task is not None:
            self.hear()  # once is enough
            self._task.cancel()


class Server:
    """Accepts clients, answers them, and closes those that are silent. `beat` is set while it is alive."""

    def __init__(self, bank, door, identity):
        self._free = [Connection(bank, door, identity) for _ in range(CONNECTIONS)]
        self._open = []
        self._peers = 0
        self._listener = None
        self.beat = False

    async def start(self, host, port):
        """Listen.

        Raises:
            OSError: the address is taken or is none of ours.
        """
        self._listener = await asyncio.start_server(self._serve, host, port, CONNECTIONS)

    async def watch(self):
        """Close silent connections, and show that the server lives."""
        while True:
            await asyncio.sleep_ms(WATCH_MS)
            now = ticks_ms()
            for connection in self._open:
                if connection.silence(now) > IDLE_MS:
                    connection.cancel()
            if not self._listener.task.done():  # pyright: ignore  (the stubs do not show the server's task)
                self.beat = True

    def _make_room(self):
        """The client that was heard longest ago goes: a link that was cut leaves connections that never end."""
        now = ticks_ms()
        oldest = max(self._open, key=lambda connection: connection.silence(now))
        if oldest.silence(now) > STALE_MS:
            oldest.cancel()

    async def _serve(self, stream, _):
        """One client, from its first byte to its last."""
        if not self._free:
            self._make_room()
            await asyncio.sleep_ms(0)
        if not self._free:
            stream.s.close()
            return
        connection = self._free.pop()
        self._open.append(connection)
        self._peers = self._peers + 1 & 0x3FFFFFFF
        connection.open(self._peers)
        try:
            _send_at_once(stream.s)
            await _talk(stream, connection)
        except OSError:
            pass  # the client has gone, and not politely
        finally:
            stream.s.close()
            self._open.remove(connection)
            self._free.append(connection)


async def _talk(stream, connection):
    session = connection.session
    while not session.broken:
        came = await stream.readinto(session.space())
        if came is None:
            continue
        if came == 0:
            return
        connection.hear()
        session.took(came)
        while session.more:
            size = session.answer()
            if size:
                stream.write(connection.sendable[:size])
                if stream.out_buf:
                    await stream.drain()
            if session.more:
                await asyncio.sleep_ms(0)


def _send_at_once(sock):
    """Replies must not wait for the client's acknowledgement of the one before."""
    try:
        sock.setsockopt(_TCP, _NODELAY, 1)
    except OSError:
        pass  # a port without the option: one write for all replies is what we do anyway
