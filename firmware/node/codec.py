"""Modbus without I/O and without framing: a request's PDU in, the reply's PDU out. TCP and RTU share it.

Function codes 0x01 to 0x06, 0x08, 0x0F, 0x10, 0x16, 0x17 and 0x2B/0x0E, judged in the specification's order: function code,
quantity, address, execution. Holding and input registers are the same registers; coils and discrete inputs are their bits: bit
b of register r is number 16 r + b. Whatever writes, by registers or by bits, goes through the one door.
"""

# Viper makes a pointer of any buffer.
# pyright: reportArgumentType=false

import micropython
from micropython import const

_ILLEGAL_FUNCTION = const(1)
_ILLEGAL_ADDRESS = const(2)
ILLEGAL_VALUE = const(3)
FAILED = const(4)
BUSY = const(6)
NO_SUCH_UNIT = const(11)

OUTBOX = const(520)  # two of the longest replies
LONGEST = const(260)  # of all requests and replies with their framing

# Places in the counts, in the order of the diagnostics' sub-functions from 0x0B on. What the bus has seen in all is reckoned
# when it is asked for.
OTHERS = const(0)
CRC_ERRORS = const(1)
_EXCEPTIONS = const(2)
SERVED = const(3)
NO_RESPONSE = const(4)
_BUSY = const(6)
_COUNTS = const(8)

# Every name takes memory on a board for as long as it runs, so these functions call alike things alike.


@micropython.viper
def _copy(into: ptr8, at: int, source: ptr8, start: int, count: int):  # noqa: F821
    """`count` bytes; slices would take memory."""
    for k in range(count):
        into[at + k] = source[start + k]


@micropython.viper
def _gather(into: ptr8, at: int, source: ptr8, start: int, count: int):  # noqa: F821
    """Bits of registers, from bit `start` on, as they go over the wire: eight to a byte, the first one lowest."""
    k = start >> 3
    start &= 7
    while count > 0:
        byte = source[k ^ 1] >> start
        k += 1
        if count > 8 - start:
            byte |= source[k ^ 1] << 8 - start
        if count < 8:
            byte &= (1 << count) - 1
        into[at] = byte & 0xFF
        at += 1
        count -= 8


@micropython.viper
def _scatter(into: ptr8, first: int, source: ptr8, start: int, count: int, at: int):  # noqa: F821
    """Bits as they come over the wire into registers, from their bit `first` on; `at` is where the registers begin."""
    for k in range(count):
        byte = at + (first + k >> 3 ^ 1)
        bit = 1 << (first + k & 7)
        if source[start + (k >> 3)] >> (k & 7) & 1:
            into[byte] = into[byte] | bit
        else:
            into[byte] = into[byte] & 255 - bit


class Codec:
    """Answers requests, one at a time.

    Args:
        bank: the registers.
        door: `writable(first, count)`, and `write(peer, first, data, touched)` which returns 0 or an exception code.
        identity: the texts of objects 0, 1 and 2 of the device identification, as bytes.
        unit: the node's own unit id.

    Attributes:
        outbox: where replies are put; all that is in it is sent or dropped before the next request but one batch.
        counts: the diagnostic counters, 16 bits each, that `count` adds to.
    """

    def __init__(self, bank, door, identity, unit):
        self.unit = unit
        self.outbox = bytearray(OUTBOX)
        self.sendable = memoryview(self.outbox)
        self.counts = [0] * _COUNTS
        self._bank = bank
        self._door = door
        self._identity = identity

    def count(self, what):
        """One more of OTHERS (messages to other units), CRC_ERRORS, SERVED or NO_RESPONSE."""
        self.counts[what] = self.counts[what] + 1 & 0xFFFF

    @micropython.native
    def answer(self, peer, inbox, at, end, out):
        """Answer the PDU in inbox[at:end], a memoryview, into the outbox from `out` on; returns where the reply ends."""
        function = inbox[at]
        at += 1
        counts = self.counts
        counts[SERVED] = counts[SERVED] + 1 & 0xFFFF
        if function == 3 or function == 4:
            size = self._read(inbox, at, end - at, out + 1)
        else:
            size = self._answer_other(function, peer, inbox, at, end - at, out + 1)
        if size < 0:
            self.count(_EXCEPTIONS)
            if size == -BUSY:
                self.count(_BUSY)
            return self.refuse(function, -size, out)
        self.outbox[out] = function
        return out + 1 + size

    def refuse(self, function, code, out):
        """Put an exception into the outbox; returns where it ends."""
        self.outbox[out] = function | 0x80
        self.outbox[out + 1] = code
        return out + 2

    def _answer_other(self, function, peer, inbox, at, size, out):
        if function == 6 or function == 0x10:
            return self._write_registers(peer, inbox, at, size, out, function == 6)
        if function == 0x17:
            return self._write_and_read(peer, inbox, at, size, out)
        if function == 1 or function == 2:
            return self._read_bits(inbox, at, size, out)
        if function == 5 or function == 0x0F:
            return self._write_bits(peer, inbox, at, size, out, function == 5)
        if function == 0x16:
            return self._write_masked(peer, inbox, at, size, out)
        if function == 8:
            return self._diagnose(inbox, at, size, out)
        if function == 0x2B:
            return self._identify(inbox, at, size, out)
        return -_ILLEGAL_FUNCTION

    # Each of these gets the request's `size` bytes after its function code, and returns the number of bytes it put after the
    # reply's function code, or minus an exception code.

    @micropython.native
    def _read(self, inbox, at, size, out):
        if size != 4:
            return -ILLEGAL_VALUE
        first = inbox[at] << 8 | inbox[at + 1]
        count = inbox[at + 2] << 8 | inbox[at + 3]
        if count < 1 or count > 125:
            return -ILLEGAL_VALUE
        return self._put(first, count, out)

    @micropython.native
    def _put(self, first, count, out):
        """Registers into the reply, behind their number of bytes."""
        bank = self._bank
        if first + count > bank.size:
            return -_ILLEGAL_ADDRESS
        size = count + count
        outbox = self.outbox
        outbox[out] = size
        _copy(outbox, out + 1, bank.bytes, first + first, size)
        return size + 1

    def _read_bits(self, inbox, at, size, out):
        if size != 4:
            return -ILLEGAL_VALUE
        first, count = _u16(inbox, at), _u16(inbox, at + 2)
        if count < 1 or count > 2000:
            return -ILLEGAL_VALUE
        if first + count > self._bank.size << 4:
            return -_ILLEGAL_ADDRESS
        size = count + 7 >> 3
        self.outbox[out] = size
        _gather(self.outbox, out + 1, self._bank.bytes, first, count)
        return size + 1

    def _write_registers(self, peer, inbox, at, size, out, one):
        start = at + 2
        if size < 4 or (one and size != 4):
            return -ILLEGAL_VALUE
        if not one:
            start = at + 5
            count = _u16(inbox, at + 2)
            if count < 1 or count > 123 or size != 5 + count + count or inbox[at + 4] != count + count:
                return -ILLEGAL_VALUE
        return self._store(peer, _u16(inbox, at), inbox[start : at + size]) or self._echo(inbox, at, 4, out)

    def _write_and_read(self, peer, inbox, at, size, out):
        if size < 9:
            return -ILLEGAL_VALUE
        count, length = _u16(inbox, at + 2), 2 * _u16(inbox, at + 6)
        if count < 1 or count > 125 or length < 2 or length > 242 or size != 9 + length or inbox[at + 8] != length:
            return -ILLEGAL_VALUE
        first = _u16(inbox, at)
        if first + count > self._bank.size:
            return -_ILLEGAL_ADDRESS
        return self._store(peer, _u16(inbox, at + 4), inbox[at + 9 : at + size]) or self._put(first, count, out)

    def _write_masked(self, peer, inbox, at, size, out):
        if size != 6:
            return -ILLEGAL_VALUE
        first = _u16(inbox, at)
        if first >= self._bank.size:
            return -_ILLEGAL_ADDRESS
        for k in range(2):
            mask = inbox[at + 2 + k]
            self.outbox[out + k] = self._bank.bytes[first + first + k] & mask | inbox[at + 4 + k] & ~mask
        mask = _u16(inbox, at + 2) ^ 0xFFFF
        touched = first << 4, first + 1 << 4, mask
        return self._store(peer, first, self.sendable[out : out + 2], touched) or self._echo(inbox, at, 6, out)

    def _write_bits(self, peer, inbox, at, size, out, one):
        count = 1
        start = at + 2
        if size < 4:
            return -ILLEGAL_VALUE
        if one:
            if size != 4 or inbox[at + 2] not in (0, 0xFF) or inbox[at + 3]:
                return -ILLEGAL_VALUE
        else:
            count = _u16(inbox, at + 2)
            start = at + 5
            size -= 5
            if count < 1 or count > 1968 or size != count + 7 >> 3 or size != inbox[at + 4]:
                return -ILLEGAL_VALUE
        return self._store_bits(peer, inbox, at, start, count, out) or self._echo(inbox, at, 4, out)

    def _store_bits(self, peer, inbox, at, start, count, out):
        """Write the registers that the bits lie in, with all their other bits as they stand."""
        first = _u16(inbox, at)
        bank = self._bank
        if first + count > bank.size << 4:
            return -_ILLEGAL_ADDRESS
        size = ((first & 15) + count + 15 >> 4) * 2
        # They are put together where the reply will be; 124 registers, the most that there can be, just fit.
        _copy(self.outbox, out, bank.bytes, first >> 4 << 1, size)
        _scatter(self.outbox, first & 15, inbox, start, count, out)
        return self._store(peer, first >> 4, self.sendable[out : out + size], (first, first + count, 0xFFFF))

    def _store(self, peer, first, data, touched=None):
        """Through the door, with the bits that the client has named, None for all; returns 0 or minus an exception code."""
        if not self._door.writable(first, len(data) >> 1):
            return -_ILLEGAL_ADDRESS
        return -self._door.write(peer, first, data, touched)

    def _echo(self, inbox, at, size, out):
        _copy(self.outbox, out, inbox, at, size)
        return size

    def _diagnose(self, inbox, at, size, out):
        if size < 2:
            return -ILLEGAL_VALUE
        k = _u16(inbox, at)
        if k == 0:
            return -ILLEGAL_VALUE if size < 4 or size & 1 else self._echo(inbox, at, size, out)
        k -= 0x0B
        if k < -1 or k >= _COUNTS:
            return -_ILLEGAL_FUNCTION
        if size != 4 or inbox[at + 2] or inbox[at + 3]:
            return -ILLEGAL_VALUE
        self._echo(inbox, at, 4, out)
        counts = self.counts
        if k < 0:
            for k in range(_COUNTS):
                counts[k] = 0
            return 4
        count = counts[k]
        if k == OTHERS:
            count += counts[CRC_ERRORS] + counts[SERVED]
        self.outbox[out + 2] = count >> 8 & 0xFF
        self.outbox[out + 3] = count & 0xFF
        return 4

    def _identify(self, inbox, at, size, out):
        if size < 1 or inbox[at] != 0x0E:
            return -_ILLEGAL_FUNCTION
        if size != 3 or not 1 <= inbox[at + 1] <= 4:
            return -ILLEGAL_VALUE
        first, end = inbox[at + 2], len(self._identity)
        if first >= end:
            if inbox[at + 1] == 4:
                return -_ILLEGAL_ADDRESS
            first = 0
        if inbox[at + 1] == 4:
            end = first + 1
        outbox = self.outbox
        self._echo(inbox, at, 2, out)
        outbox[out + 2] = 0x81  # basic identification, as a stream and one by one
        outbox[out + 3] = outbox[out + 4] = 0
        outbox[out + 5] = end - first
        size = 6
        for k in range(first, end):
            text = self._identity[k]
            count = len(text)
            outbox[out + size] = k
            outbox[out + size + 1] = count
            _copy(outbox, out + size + 2, text, 0, count)
            size += 2 + count
        return size


def _u16(inbox, at):
    return inbox[at] << 8 | inbox[at + 1]
