"""The rig's two pipes over a board's console: lines that are no text, with a checksum, so that text between them does no harm.

A line is a mark, one letter, and base64 of its data and their CRC-32 (little-endian). The board says what it has to say and
then listens; the rig speaks only while the board listens, and no more than a board's console can hold.

    rig -> board   G a grant, as vm_link has it        S something came on a socket: id u8, what u8, bytes; answered by K
    board -> rig   R records, as vm_link has them      W the board listens     K understood     E the firmware has ended
                   T something goes out of a socket: id u8, what u8, bytes
"""

import binascii
import sys

import serial_net

FROM_RIG, TO_RIG = 0x1F, b"\n\x1e"
PIECE = 384

_source = sys.stdin.buffer
_sink = sys.stdout.buffer


def say(kind, data=b""):
    """Send a line."""
    data = bytes(data)
    _sink.write(TO_RIG + kind + binascii.b2a_base64(data + binascii.crc32(data).to_bytes(4, "little")))


def hear():
    """The next line's letter and data; what is none is passed over."""
    while True:
        line = _source.readline()
        if not line:
            sys.exit(0)  # the rig is gone
        if line[0] != FROM_RIG:
            continue
        data = binascii.a2b_base64(line[2:])
        if binascii.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
            raise OSError("a line from the rig was damaged")
        return line[1:2], data[:-4]


class Rig:
    """Both of the rig's pipes."""

    def write(self, data):
        for at in range(0, len(data), PIECE):
            say(b"R", data[at : at + PIECE])

    def readinto(self, grant):
        say(b"W")
        while True:
            kind, data = hear()
            if kind == b"G":
                grant[:] = data
                return len(data)
            serial_net.came(data)
            say(b"K")


def carry(number, what, data=b""):
    """Something goes out of a socket."""
    for at in range(0, max(1, len(data)), PIECE):
        say(b"T", bytes((number, what)) + data[at : at + PIECE])


serial_net.carry = carry
