"""Counts that outlast restarts: how often, how long, how far a machine has run.

They lie in two files, written in turn, each with a sequence number and a CRC-32: a power cut while one is written leaves the
other. A file is written when running stops, at most once a minute, and every ten minutes while something counts: power that
fails loses ten minutes at most.

That wears the flash little. A machine that never stops makes 52 560 writes a year, one that stops every minute 525 600. If
each of these erased a block of 4 KB, of 300 free ones that LittleFS takes in turn (a file this small shares its block with
others, so it is less), each block would see 1 752 of its 100 000 erasures a year. While an axis moves nothing is written: an
erasure may hold the processor up for longer than the step stream lasts.
"""

import struct
from binascii import crc32

import micropython

from node import registers as reg

FILES = ("kept-0", "kept-1")
MAGIC = b"LSK1"
EVERY_MS = 600_000
APART_MS = 60_000
_HEAD = ">4sIH"
_MASK = 0xFFFFFFFF


def _load(name):
    """(sequence, counts by key) of a file, or None; and whether there is one that is damaged."""
    try:
        with open(name, "rb") as file:
            text = file.read()
    except OSError:
        return None, False
    if len(text) < 14 or crc32(text[:-4]) != struct.unpack(">I", text[-4:])[0]:
        return None, True
    magic, sequence, count = struct.unpack_from(_HEAD, text)
    if magic != MAGIC or len(text) != 14 + 8 * count:
        return None, True
    return (sequence, dict(struct.unpack_from(">II", text, 10 + 8 * k) for k in range(count))), False


class Book:
    """The node's kept counts and their files.

    Attributes:
        changed: a count has grown since the last write; stopped: something has come to rest since.
    """

    def __init__(self, bank):
        self._bank = bank
        self.kept = []
        self.changed = self.stopped = False
        self._since_ms = APART_MS
        self.sequence, self.counts = self._newest()

    def _newest(self):
        one, one_damaged = _load(FILES[0])
        other, other_damaged = _load(FILES[1])
        if one and other:
            newer = (one[0] - other[0] & _MASK) < 0x80000000
            return one if newer else other
        if not one and not other and (one_damaged or other_damaged):
            self._bank.put_bit(reg.S_STORAGE_FAILED, reg.S_STORAGE_FAILED_BIT, 1)  # what was there cannot be read
        return one or other or (0, {})

    def slow(self, ms):
        """Write when it is time."""
        if self._since_ms < EVERY_MS:
            self._since_ms += ms
        if not self.changed or self._bank.bit(reg.S_MOVING, reg.S_MOVING_BIT):
            return
        if self._since_ms >= EVERY_MS or (self.stopped and self._since_ms >= APART_MS):
            self._since_ms = 0
            self.write()

    def write(self):
        """Write the older file anew. Where the flash refuses, counting goes on, and another write is tried in its time."""
        sequence = self.sequence + 1 & _MASK
        text = bytearray(10 + 8 * len(self.kept))
        struct.pack_into(_HEAD, text, 0, MAGIC, sequence, len(self.kept))
        for k, kept in enumerate(self.kept):
            struct.pack_into(">II", text, 10 + 8 * k, kept.key, kept.count)
        text += struct.pack(">I", crc32(text))
        self.stopped = False
        try:
            with open(FILES[sequence & 1], "wb") as file:
                file.write(text)
        except OSError:
            self._bank.put_bit(reg.S_STORAGE_FAILED, reg.S_STORAGE_FAILED_BIT, 1)
            return
        self.sequence = sequence
        self.changed = False


_book = None


def book(bank):
    """The one of this node."""
    global _book
    if _book is None or _book._bank is not bank:
        _book = Book(bank)
    return _book


class Kept:
    """A block: counts how often a Status bit is set (`per` 0), for how long it is (`per` ms each), or the way that a Status number
    (`signed` says how it lies) makes at a speed (`per` times its step times ms each). Wraps at 2^32.
    """

    KEYS = ("name", "of", "signed", "per", "at")

    def __init__(self, config, bank, effective):
        self._bank = bank
        self._of = config["of"][0]
        self._bit = config["of"][1] if len(config["of"]) > 1 else -1
        self._signed = config["signed"]
        self._per = config["per"]
        (self._at,) = config["at"]
        self.key = crc32(config["name"].encode())
        self._book = book(bank)
        self.count = self._book.counts.get(self.key, 0)
        self._book.kept.append(self)
        self._part = 0
        self._was = 0
        bank.put32(self._at, self.count)

    @micropython.native
    def read(self):
        """Notice where the bit, or the number, comes and goes."""
        now = self._bank.bit(self._of, self._bit) if self._bit >= 0 else self._bank.u16(self._of)
        was = self._was
        if now == was:
            return
        self._was = now
        if now and not was and not self._per:
            self._add(1)
        elif not now:
            self._book.stopped = True

    def slow(self, ms):
        """Count time and way, and have them kept."""
        if self._per and self._was:
            speed = 1
            if self._bit < 0:
                speed = self._was
                if self._signed and speed & 0x8000:
                    speed = 0x10000 - speed  # a way back is a way too
            self._part += speed * ms
            if self._part >= self._per:
                self._add(self._part // self._per)
                self._part %= self._per
        if self._book.kept[0] is self:
            self._book.slow(ms)

    def _add(self, more):
        self.count = self.count + more & _MASK
        self._bank.put32(self._at, self.count)
        self._book.changed = True
