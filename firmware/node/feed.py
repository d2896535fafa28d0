"""The bytes of the Job in work: its header judged, its CRC reckoned before it moves anything, its records one by one."""

from binascii import crc32
from struct import unpack_from

from micropython import const

from node import registers as reg
from node.pins import FRAME_US
from node.store import StoredJob

_HEADER = const(32)
_CHUNK = const(4)  # frames; node.player's, which not every node has room for
_CHECKED = const(16)  # buffers whose CRC is reckoned in a tick: 4 KiB


class Feed:
    """Reads one Job at a time.

    Attributes:
        buffer, at: what was read, and where the next record begins.
        stored: the Job lies whole in the flash.
    """

    def __init__(self, store, magic, fingerprint):
        self._store = store
        self._magic = magic
        self._fingerprint = fingerprint
        self._reader = None
        self.buffer = bytearray(256)
        self._view = memoryview(self.buffer)
        self.at = self._filled = 0
        self.stored = False
        self._unchecked = self._crc = self._wanted = 0

    def open(self, job_id):
        """Open a Job for this machine; returns a Reason, 0 when it is open."""
        self.at = self._filled = self._crc = 0
        reader = self._store.open(job_id)
        if reader is None:
            return reg.REASON_NO_SUCH_JOB
        reason = self._judge(reader)
        if reason:
            reader.close()
            return reason
        self._reader = reader
        self.stored = isinstance(reader, StoredJob)
        return reg.REASON_NONE

    def _judge(self, reader):
        if reader.readinto(self._view[:_HEADER]) != _HEADER:
            return reg.REASON_BAD_JOB
        magic, frame_us, chunk, _, _, _, fingerprint, length, crc = unpack_from("<4sHHIIIIII", self.buffer, 0)
        if magic != self._magic or frame_us != FRAME_US or chunk != _CHUNK:
            return reg.REASON_BAD_JOB
        self._unchecked, self._wanted = length, crc
        return reg.REASON_NONE if fingerprint == self._fingerprint else reg.REASON_WRONG_MACHINE

    def check(self):
        """Reckon on: None as long as it is not known, else a Reason. What a flash has forgotten must not move anything."""
        reader = self._reader
        for _ in range(_CHECKED):
            count = reader.readinto(self._view)
            self._crc = crc32(self._view[:count], self._crc)
            self._unchecked -= count
            if reader.ended:
                if self._unchecked or self._crc != self._wanted:
                    return reg.REASON_BAD_CHECKSUM
                reader.close()
                self._reader = None
                return self.open(reader.job_id)  # from its beginning again
        return None

    def have(self, count):
        """Whether `count` bytes stand at the reading place; reads on where not."""
        if self._filled - self.at >= count:
            return True
        rest = self._filled - self.at
        self.buffer[:rest] = self.buffer[self.at : self._filled]
        self.at = 0
        self._filled = rest + self._reader.readinto(self._view[rest:])
        return self._filled >= count

    @property
    def ended(self):
        """No more will come."""
        return self._reader.ended

    def close(self):
        """Done with it."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
