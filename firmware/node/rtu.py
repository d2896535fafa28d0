"""The node's Modbus RTU server: a UART, with or without an RS-485 driver whose direction a pin sets.

A frame ends where its contents say, and where these say nothing, or lie, at the silence after it: a board cannot watch for
3.5 characters of silence while it does other things, but it can count. So frames are found as long as nothing was lost, and
silence brings both ends together again when something was.
"""

import asyncio
from array import array
from time import ticks_add, ticks_diff, ticks_ms

import micropython
from micropython import const

from node import pins
from node.codec import CRC_ERRORS, NO_RESPONSE, OTHERS, Codec

PEER = const(-1)  # all that is heard on a line comes from one master, or seems to
NOBODY = const(0)  # of a broadcast
WATCH_MS = 400
_LONGEST = const(256)
_FIFO = const(120)  # characters that a board's UART may keep to itself as long as more come
_LATE = const(10)  # characters of silence after which it hands over what it has
# Bytes of a frame, by function, of requests and of replies: 0 not known; + 128 with as many more as the byte count in it says.
_REQUESTS = b"\x00\x08\x08\x08\x08\x08\x08\x04\x08\x00\x00\x04\x04\x00\x00\x89\x89\x04\x00\x00\x00\x00\x0a\x8d"
_REPLIES = b"\x00\x85\x85\x85\x85\x08\x08\x05\x08\x00\x00\x08\x85\x00\x00\x08\x08\x85\x00\x00\x00\x00\x0a\x85"
_ENCAPSULATED = const(7)


def _table():
    """CRC-16 of each byte: polynomial 0xA001."""
    table = array("H", range(256))
    for k in range(256):
        word = k
        for _ in range(8):
            word = word >> 1 ^ (0xA001 if word & 1 else 0)
        table[k] = word
    return table


_TABLE = _table()


@micropython.viper
def _crc(frame: ptr8, at: int, end: int, table: ptr16) -> int:  # noqa: F821
    word = 0xFFFF
    while at < end:
        word = word >> 8 ^ table[(word ^ frame[at]) & 0xFF]
        at += 1
    return word


def crc(frame, at, end):
    """The CRC of frame[at:end]; its low byte goes first. Over a frame with its CRC it is 0."""
    return _crc(frame, at, end, _TABLE)  # pyright: ignore[reportArgumentType]


class Line:
    """Frames without I/O: bytes in, replies out.

    `space()` and `took(n)`, then `answer()`, again after each reply, which is the number of bytes of the codec's outbox that
    are to be sent; `gap()` after silence.

    Attributes:
        count: bytes that are no frame yet.
        missing: how many more would make them one, 0 where only silence can tell.
    """

    def __init__(self, codec):
        self.count = self.missing = 0
        self._codec = codec
        self._inbox = memoryview(bytearray(2 * _LONGEST))

    def space(self):
        """Where the next bytes go; never empty."""
        return self._inbox[self.count :] if self.count else self._inbox

    def took(self, count):
        """`count` bytes have come."""
        self.count += count

    def answer(self):
        """Take the frames that are whole, up to the first that is to be replied to; returns the reply's size, or 0."""
        at = size = 0
        while at < self.count and not size:
            length = self._frame(at)
            if not length:
                break
            size = self._take(at, length)
            at += length
        self._drop(0, at)
        if self.count >= _LONGEST and not size:  # no frame is as long as that
            return self.gap()
        return size

    def gap(self):
        """The line is silent: what is there is a frame, whatever its contents say, or is none. As `answer`."""
        count = self.count
        self.count = self.missing = 0
        if 4 <= count <= _LONGEST and not crc(self._inbox, 0, count):
            return self._take(0, count)
        if count:
            self._codec.count(CRC_ERRORS)
        return 0

    def drop_echo(self, at, size):
        """Drop the reply that was just sent, where the line gave it back as byte `at` and what follows."""
        if self.count - at >= size and self._inbox[at : at + size] == self._codec.sendable[:size]:
            self._drop(at, size)

    def _drop(self, at, size):
        end = at + size
        if size:
            rest = self.count - end
            if rest:
                self._inbox[at : at + rest] = self._inbox[end : self.count]
            self.count = at + rest

    def _frame(self, at):
        """Length of the frame that begins at `at`, 0 where none is whole yet."""
        have = self.count - at
        self.missing = 4
        if have < 4:
            return 0
        inbox = self._inbox
        self.missing = 0
        if self._whole(at, have, self._request(at, have)):
            return self._length
        # Others' replies pass here too, and look like requests.
        if inbox[at] != self._codec.unit and inbox[at] and self._whole(at, have, self._reply(at, have)):
            return self._length
        return 0

    def _whole(self, at, have, length):
        """Whether a frame of such a length is there and holds."""
        self._length = length
        if length > have:
            missing = length - have
            if not self.missing or missing < self.missing:
                self.missing = missing
            return False
        return 0 < length <= _LONGEST and not crc(self._inbox, at, at + length)

    def _request(self, at, have):
        function = self._inbox[at + 1]
        if function == 0x2B:
            return _ENCAPSULATED
        if function >= len(_REQUESTS):
            return 0
        length = _REQUESTS[function]
        if length < 128:
            return length
        length -= 128
        return length if have < length - 2 else length + self._inbox[at + length - 3]

    def _reply(self, at, have):
        function = self._inbox[at + 1]
        if function >= len(_REPLIES):
            return 5 if function & 0x80 else 0
        length = _REPLIES[function]
        return length if length < 128 else length - 128 + self._inbox[at + 2]

    def _take(self, at, length):
        """Answer a whole frame; returns the reply's size, 0 where there is to be none."""
        codec = self._codec
        inbox = self._inbox
        unit = inbox[at]
        if unit and unit != codec.unit:
            codec.count(OTHERS)
            return 0
        size = codec.answer(PEER if unit else NOBODY, inbox, at + 1, at + length - 2, 1)
        if not unit:
            codec.count(NO_RESPONSE)
            return 0
        outbox = codec.outbox
        outbox[0] = unit
        word = crc(outbox, 0, size)
        outbox[size] = word & 0xFF
        outbox[size + 1] = word >> 8
        return size + 2


class Server:
    """Hears the line and answers what is for this node. `beat` is set while it is alive.

    Args:
        bank, door, identity: of the codec.
        link: of node.json: uart, tx, rx, de (a pin or None), baud, unit; parity and stop, None and 1 where they are missing.
    """

    def __init__(self, bank, door, identity, link):
        self.where = "uart %d as unit %d, %d baud" % (link["uart"], link["unit"], link["baud"])
        self.beat = False
        self._codec = codec = Codec(bank, door, identity, link["unit"])
        self._line = Line(codec)
        self._port = {key: link[key] for key in ("tx", "rx", "baud", "parity", "stop") if key in link}
        self._number = link["uart"]
        self._de = link["de"] if link["de"] is None else pins.output(link["de"])
        self._character = 11_000_000 // link["baud"] + 1  # µs
        self._silence = max(1750, 7 * self._character // 2)
        self._uart = None
        self._task = None
        self._due_ms = None  # when the talk goes on at the latest; None while it waits for the master

    async def start(self):
        """Listen.

        Raises:
            OSError: there is no such UART, or it cannot be had at these pins.
        """
        try:
            self._uart = pins.uart(self._number, **self._port)
        except ValueError as wrong:
            raise OSError(str(wrong)) from None
        self._task = asyncio.create_task(self._talk())

    async def watch(self):
        """Show that the server lives."""
        while True:
            await asyncio.sleep_ms(WATCH_MS)
            if not self._task.done() and (self._due_ms is None or ticks_diff(self._due_ms, ticks_ms()) > 0):
                self.beat = True

    async def _pause(self, ms):
        self._due_ms = ticks_add(ticks_ms(), ms + WATCH_MS)
        await asyncio.sleep_ms(ms)

    def _hear(self):
        """Take what has come; whether there was anything."""
        count = self._uart.readinto(self._line.space())
        if count:
            self._line.took(count)
        return count

    def _ms(self, characters):
        """3.5 characters of silence, 1.75 ms at the least, after so many characters."""
        return (self._silence + characters * self._character + 999) // 1000

    async def _talk(self):
        line = self._line
        stream = asyncio.StreamReader(self._uart)
        while True:
            self._due_ms = None
            count = await stream.readinto(line.space())
            self._due_ms = ticks_add(ticks_ms(), WATCH_MS)
            if count:
                line.took(count)
                size = line.answer()
                while size or line.count:
                    if size:
                        await self._send(size)
                        size = line.answer()
                    else:
                        await self._pause(self._ms(min(line.missing, _FIFO)))
                        size = line.answer() if self._hear() else line.gap()

    async def _send(self, size):
        """Answer, when the master has let go of the line."""
        await self._pause(self._ms(0))
        self._hear()
        before = self._line.count
        try:
            if self._de is not None:
                self._de.value(1)
            self._uart.write(self._codec.sendable[:size])
            await self._drain(size * self._character // 1000)
        finally:  # a driver that stays on would keep everybody else off the line
            if self._de is not None:
                self._de.value(0)
        await self._pause(self._ms(_LATE))
        if self._hear():
            self._line.drop_echo(before, size)

    async def _drain(self, ms):
        """Until all has gone out, which takes so long; twice as long at the most."""
        await self._pause(ms)
        for _ in range(ms + 2):
            if self._uart.txdone():
                return
            await self._pause(1)
