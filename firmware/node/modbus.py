"""The node's Modbus TCP server: a few clients at once, each with buffers that were there before it came."""

import asyncio
from time import ticks_diff, ticks_ms

from node.codec import Session

CONNECTIONS = 4
IDLE_MS = 30_000
WATCH_MS = 400
_TCP, _NODELAY = 6, 1


class Connection:
    """A place for one client."""

    def __init__(self, bank, door, identity):
        self.session = Session(bank, door, identity)
        self.sendable = memoryview(self.session.outbox)
        self.task = None
        self.heard = 0


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
                if ticks_diff(now, connection.heard) > IDLE_MS:
                    connection.heard = now
                    connection.task.cancel()
            if not self._listener.task.done():
                self.beat = True

    async def _serve(self, stream, _):
        """One client, from its first byte to its last."""
        if not self._free:
            stream.s.close()
            return
        connection = self._free.pop()
        self._open.append(connection)
        self._peers = self._peers + 1 & 0x3FFFFFFF
        connection.session.open(self._peers)
        connection.task = asyncio.current_task()
        connection.heard = ticks_ms()
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
        connection.heard = ticks_ms()
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
