"""Modbus TCP without I/O: bytes in, replies out.

Function codes 0x03, 0x04 (the same registers), 0x06, 0x10 and 0x2B/0x0E. A request is judged in the specification's
order: function code, quantity, address, execution. A header that lies (length outside 2..254, another protocol) ends
the connection: there is no way to tell where the next request starts.
"""

from micropython import const

ILLEGAL_FUNCTION = const(1)
ILLEGAL_ADDRESS = const(2)
ILLEGAL_VALUE = const(3)
FAILED = const(4)
BUSY = const(6)
NO_SUCH_UNIT = const(11)

INBOX = const(780)  # three of the longest requests
OUTBOX = const(520)  # two of the longest replies
_HEAD = const(6)  # transaction, protocol, length
_LONGEST = const(260)
_AT_ONCE = const(16)  # requests answered before others get their turn

_READ_REGISTERS = const(0x03)
_READ_INPUTS = const(0x04)
_WRITE_REGISTER = const(0x06)
_WRITE_REGISTERS = const(0x10)
_ENCAPSULATED = const(0x2B)
_IDENTIFICATION = const(0x0E)
_BASIC = const(0x81)  # basic identification, as a stream and one by one


class Session:
    """One connection's requests and replies.

    `space()`, `took(n)`, then `answer()` as long as `more`: it returns how many bytes of `outbox` are to be sent, all
    of them in one write. When `broken`, what was answered is sent and the connection closed.

    Args:
        bank: the registers that are read.
        door: `writable(first, count)`, and `write(peer, first, data)` which returns 0 or an exception code.
        identity: the texts of objects 0, 1 and 2 of the device identification, as bytes.
    """

    def __init__(self, bank, door, identity):
        self.outbox = bytearray(OUTBOX)
        self.peer = 0
        self.more = False
        self.broken = False
        self._bank = bank
        self._door = door
        self._identity = identity
        self._inbox = bytearray(INBOX)
        self._whole = memoryview(self._inbox)
        self._filled = 0

    def open(self, peer):
        """Begin anew for a client: `peer` tells it from all others."""
        self.peer = peer
        self.more = self.broken = False
        self._filled = 0

    def space(self):
        """Where the next bytes go; never empty before `answer` has been called for the last ones."""
        return self._whole[self._filled :] if self._filled else self._whole

    def took(self, count):
        """`count` bytes have come."""
        self._filled += count
        self.more = True

    def answer(self):
        """Answer what has come whole, as far as the outbox holds; returns the number of bytes to send."""
        inbox = self._inbox
        at = 0
        out = 0
        left = _AT_ONCE
        self.more = False
        while self._filled - at >= _HEAD:
            length = inbox[at + 4] << 8 | inbox[at + 5]
            if inbox[at + 2] or inbox[at + 3] or length < 2 or length > 254:
                self.broken = True
                self._filled = 0
                return out
            end = at + 6 + length
            if end > self._filled:
                break
            if not left or OUTBOX - out < _LONGEST:
                self.more = True
                break
            left -= 1
            out = self._reply(at, end, out)
            at = end
        self._keep(at)
        return out

    def _keep(self, at):
        """Drop what has been answered; the rest moves to the front."""
        if at:
            rest = self._filled - at
            if rest:
                self._inbox[:rest] = self._whole[at : self._filled]
            self._filled = rest

    def _reply(self, at, end, out):
        """Answer the request in inbox[at:end] into the outbox from `out` on; returns its end."""
        inbox, outbox = self._inbox, self.outbox
        unit = inbox[at + 6]
        function = inbox[at + 7]
        size = 0
        if unit > 1 and unit != 255:
            size = -NO_SUCH_UNIT
        elif function in (_READ_REGISTERS, _READ_INPUTS):
            size = self._read(at + 8, end, out + 8)
        elif function in (_WRITE_REGISTER, _WRITE_REGISTERS):
            size = self._write(at + 8, end, out + 8, function == _WRITE_REGISTER)
        elif function == _ENCAPSULATED:
            size = self._identify(at + 8, end, out + 8)
        else:
            size = -ILLEGAL_FUNCTION
        if size < 0:
            outbox[out + 8] = -size
            function |= 0x80
            size = 1
        outbox[out] = inbox[at]
        outbox[out + 1] = inbox[at + 1]
        outbox[out + 2] = outbox[out + 3] = outbox[out + 4] = 0
        outbox[out + 5] = size + 2
        outbox[out + 6] = unit
        outbox[out + 7] = function
        return out + 8 + size

    # Each of these gets the request's bytes after its function code, and returns the number of bytes it put after the
    # reply's function code, or minus an exception code.

    def _read(self, at, end, out):
        if end - at != 4:
            return -ILLEGAL_VALUE
        inbox = self._inbox
        first = inbox[at] << 8 | inbox[at + 1]
        count = inbox[at + 2] << 8 | inbox[at + 3]
        if count < 1 or count > 125:
            return -ILLEGAL_VALUE
        if first + count > self._bank.size:
            return -ILLEGAL_ADDRESS
        size = count + count
        self.outbox[out] = size
        self.outbox[out + 1 : out + 1 + size] = self._bank.view[first + first : first + first + size]
        return size + 1

    def _write(self, at, end, out, one):
        size = end - at
        if size < 4 or (one and size != 4):
            return -ILLEGAL_VALUE
        inbox = self._inbox
        first = inbox[at] << 8 | inbox[at + 1]
        count = 1
        start = at + 2
        if not one:
            count = inbox[at + 2] << 8 | inbox[at + 3]
            start = at + 5
            if count < 1 or count > 123 or size != 5 + count + count or inbox[at + 4] != count + count:
                return -ILLEGAL_VALUE
        if not self._door.writable(first, count):
            return -ILLEGAL_ADDRESS
        refused = self._door.write(self.peer, first, self._whole[start:end])
        if refused:
            return -refused
        self.outbox[out : out + 4] = self._whole[at : at + 4]
        return 4

    def _identify(self, at, end, out):
        inbox = self._inbox
        if end - at < 1 or inbox[at] != _IDENTIFICATION:
            return -ILLEGAL_FUNCTION
        if end - at != 3 or not 1 <= inbox[at + 1] <= 4:
            return -ILLEGAL_VALUE
        code = inbox[at + 1]
        first = inbox[at + 2]
        last = len(self._identity)
        if first >= last:
            if code == 4:
                return -ILLEGAL_ADDRESS
            first = 0
        if code == 4:
            last = first + 1
        outbox = self.outbox
        outbox[out] = _IDENTIFICATION
        outbox[out + 1] = code
        outbox[out + 2] = _BASIC
        outbox[out + 3] = outbox[out + 4] = 0
        outbox[out + 5] = last - first
        put = out + 6
        for number in range(first, last):
            text = self._identity[number]
            outbox[put] = number
            outbox[put + 1] = len(text)
            outbox[put + 2 : put + 2 + len(text)] = text
            put += 2 + len(text)
        return put - out
