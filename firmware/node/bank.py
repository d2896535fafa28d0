"""Registers as they go over the wire: two bytes each, high byte first, values of two registers high word first."""


def place(at, bit):
    """Index of the byte, and mask in it, of one bit of a register."""
    return at + at + 1 - (bit >> 3), 1 << (bit & 7)


class Bank:
    """A file of 16-bit registers. Nothing here allocates, but for a 32-bit value beyond the board's small integers."""

    def __init__(self, size):
        self.size = size
        self.bytes = bytearray(2 * size)
        self.view = memoryview(self.bytes)

    def u16(self, at):
        """One register."""
        at += at
        return self.bytes[at] << 8 | self.bytes[at + 1]

    def put16(self, at, value):
        """One register; the low 16 bits of any integer."""
        at += at
        self.bytes[at] = value >> 8 & 0xFF
        self.bytes[at + 1] = value & 0xFF

    def i16(self, at):
        """One register, signed."""
        value = self.u16(at)
        return value - 0x10000 if value & 0x8000 else value

    def u32(self, at):
        """Two registers."""
        return self.u16(at) << 16 | self.u16(at + 1)

    def put32(self, at, value):
        """Two registers; the low 32 bits of any integer."""
        self.put16(at, value >> 16)
        self.put16(at + 1, value)

    def bit(self, at, bit):
        """One bit of a register, 0 or 1."""
        return self.bytes[at + at + 1 - (bit >> 3)] >> (bit & 7) & 1

    def put_bit(self, at, bit, value):
        """One bit of a register."""
        at += at + 1 - (bit >> 3)
        mask = 1 << (bit & 7)
        if value:
            self.bytes[at] |= mask
        else:
            self.bytes[at] &= ~mask
