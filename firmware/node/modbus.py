"""The node's Modbus TCP server: a few clients at once, each with a buffer that was there before it came.

A header that lies (length outside 2..254, another protocol) ends the connection: there is no way to tell where the next
request starts.
"""

import asyncio
from time import ticks_diff, ticks_ms

import micropython
from micropython import const

from node.codec import LONGEST, NO_SUCH_UNIT, OTHERS, OUTBOX, Codec

CONNECTIONS = 4
IDLE_MS = 30_000
STALE_MS = 5000  # a client that has been silent for so long gives way to a new one
WATCH_MS = 400
_AT_ONCE = const(16)  # requests answered before others get their turn


class Connection:
    """A place for one client: its requests, and their replies, without I/O.

    `space()`, `took(n)`, then `answer()` as long as `more`: it returns how many bytes of the codec's outbox are to be sent,
    all of them in one write, before any connection answers again. When `broken`, what was answered is sent and the
    connection closed.
    """

    def __init__(self, codec):
        self._codec = codec
        self._inbox = memoryview(bytearray(LONGEST))
        self._task = None
        self.open(0, None)

    def open(self, peer, task):
        """Begin anew for a client: `peer` tells it from all others, `task` serves it."""
        self._peer = peer
        self._task = task
        self._count = 0
        self.more = self.broken = False
        self._heard = ticks_ms()

    def silence(self, now):
        """Milliseconds since the client has said something."""
        return ticks_diff(now, self._heard)

    def cancel(self):
        """Send the client away."""
        if self._task is not None:
            self._heard = ticks_ms()  # once is enough
            self._task.cancel()

    def space(self):
        """Where the next bytes go; never empty before `answer` has been called for the last ones."""
        return self._inbox[self._count :] if self._count else self._inbox

    def took(self, count):
        """`count` bytes have come."""
        self._heard = ticks_ms()
        self._count += count
        self.more = True

    @micropython.native
    def answer(self):
        """Answer what has come whole, as far as the outbox holds; returns the number of bytes to send."""
        inbox = self._inbox
        count = self._count
        at = out = 0
        left = _AT_ONCE
        self.more = False
        while count - at >= 6:
            length = inbox[at + 4] << 8 | inbox[at + 5]
            if inbox[at + 2] or inbox[at + 3] or length < 2 or length > 254:
                self.broken = True
                self._count = 0
                return out
            end = at + 6 + length
            if end > count:
                break
            if not left or OUTBOX - out < LONGEST:
                self.more = True
                break
            left -= 1
            out = self._reply(at, end, out)
            at = end
        if at:
            if count > at:
                inbox[: count - at] = inbox[at:count]
            self._count = count - at
        return out

    @micropython.native
    def _reply(self, at, end, out):
        """Answer the request in the inbox at [at:end] into the outbox from `out` on; returns its end."""
        inbox = self._inbox
        codec = self._codec
        outbox = codec.outbox
        unit = inbox[at + 6]
        if unit == codec.unit or unit == 0 or unit == 255:
            end = codec.answer(self._peer, inbox, at + 7, end, out + 7)
        else:
            codec.count(OTHERS)
            end = codec.refuse(inbox[at + 7], NO_SUCH_UNIT, out + 7)
        outbox[out] = inbox[at]
        outbox[out + 1] = inbox[at + 1]
        outbox[out + 2] = outbox[out + 3] = outbox[out + 4] = 0
        outbox[out + 5] = end - out - 6
        outbox[out + 6] = unit
        return end


class Server:
    """Accepts clients, answers them, and closes those that are silent. `beat` is set while it is alive.

    Args:
        bank, door, identity: of the codec.
        link: of node.json: host, port, unit.
    """

    def __init__(self, bank, door, identity, link):
        self._link = link["host"], link["port"]
        self.where = "%s:%d" % self._link
        codec = Codec(bank, door, identity, link["unit"])
        self._sendable = codec.sendable
        self._free = [Connection(codec) for _ in range(CONNECTIONS)]
        self._open = []
        self._peer = 0
        self._listener = None
        self.beat = False

    async def start(self):
        """Listen.

        Raises:
            OSError: the address is taken or is none of ours.
        """
        self._listener = await asyncio.start_server(self._serve, *self._link, CONNECTIONS)

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
        self._peer = self._peer % 0x3FFFFFFF + 1  # 0 is nobody
        connection.open(self._peer, asyncio.current_task())
        try:
            stream.s.setsockopt(6, 1, 1)  # TCP_NODELAY: a reply must not wait for the acknowledgement of the one before
        except OSError:
            pass  # a port without the option: one write for all replies is what we do anyway
        try:
            await self._talk(stream, connection)
        except OSError:
            pass  # the client has gone, and not politely
        finally:
            stream.s.close()
            self._open.remove(connection)
            self._free.append(connection)

    async def _talk(self, stream, connection):
        while not connection.broken:
            count = await stream.readinto(connection.space())
            if count is None:
                continue
            if count == 0:
                return
            connection.took(count)
            while connection.more:
                count = connection.answer()
                if count:
                    stream.write(self._sendable[:count])
                    if stream.out_buf:
                        await stream.drain()
                if connection.more:
                    await asyncio.sleep_ms(0)
