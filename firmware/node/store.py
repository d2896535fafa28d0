"""What a node keeps: its counters, and the Jobs that come through the transfer window.

A stored Job is written to flash as `job-XXXXXXXX.part` and renamed when all of it is there and its SHA-256 is right; a
streamed one goes through a ring in RAM and is played while it comes. A transfer that a restart interrupts begins anew.
"""

import os
from binascii import crc32
from hashlib import sha256

from node import registers as reg
from node.codec import BUSY, ILLEGAL_VALUE

KEEP = 2  # stored Jobs, the one that is coming included
SPARE_BYTES = 16_384  # of flash that a Job must leave
_HEAD = 2 * reg.TRANSFER_HEAD
_BEGIN = 36  # total length, SHA-256
_JOB_HEAD = 32  # a Job is opened when its head is there


def read_counter(name):
    """A number kept in a file; 0 where there is none."""
    try:
        with open(name) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def write_counter(name, value):
    """Keep a number: the file holds the old or the new one, whatever happens. False where the flash refuses."""
    try:
        with open(name + ".new", "w") as file:
            file.write(str(value))
        os.rename(name + ".new", name)
    except OSError:
        return False
    return True


def _remove(name):
    try:
        os.remove(name)
    except OSError:
        pass  # it is not there


def _file(job_id, ending="bin"):
    return "job-%08x.%s" % (job_id, ending)


class StoredJob:
    """Reads a Job from flash."""

    def __init__(self, store, job_id, file):
        self.job_id = job_id
        self.ended = False
        self._store = store
        self._file = file

    def readinto(self, buffer):
        """Fill `buffer` as far as the Job goes; returns how much."""
        if not len(buffer):
            return 0
        count = self._file.readinto(buffer)
        if count < len(buffer):
            self.ended = True
        return count

    def close(self):
        """Done with it."""
        self._file.close()
        self._store.released(self)


class StreamedJob:
    """Reads a Job from the ring while it comes."""

    def __init__(self, store, job_id, ring):
        self.job_id = job_id
        self._store = store
        self._ring = ring

    @property
    def ended(self):
        """No more will come."""
        return self._ring.closed and not self._ring.used

    def readinto(self, buffer):
        """What is there now, at most what `buffer` holds; returns how much."""
        count = self._ring.get(buffer)
        if count:
            self._store.show_room()
        return count

    def close(self):
        """Done with it, however much is still to come."""
        self._store.released(self)


class Ring:
    """A ring of bytes."""

    def __init__(self, size):
        self._bytes = bytearray(size)
        self._view = memoryview(self._bytes)
        self._first = 0
        self.used = 0
        self.closed = False

    @property
    def free(self):
        """Room in bytes."""
        return len(self._bytes) - self.used

    def clear(self):
        """Empty it for the next Job."""
        self._first = self.used = 0
        self.closed = False

    def put(self, data):
        """Append all of `data`, for which there must be room."""
        size = len(self._bytes)
        at = (self._first + self.used) % size
        head = min(len(data), size - at)
        self._view[at : at + head] = data[:head]
        if head < len(data):
            self._view[: len(data) - head] = data[head:]
        self.used += len(data)

    def get(self, buffer):
        """Move what is there into `buffer`, as far as it holds; returns how much."""
        size = len(self._bytes)
        count = min(len(buffer), self.used)
        head = min(count, size - self._first)
        buffer[:head] = self._view[self._first : self._first + head]
        if head < count:
            buffer[head:count] = self._view[: count - head]
        self._first = (self._first + count) % size
        self.used -= count
        return count


class Store:
    """The transfer window and what has come through it.

    Args:
        ring: bytes for a streamed Job; 0 where the node runs no Jobs.
    """

    def __init__(self, bank, ring):
        self._bank = bank
        self._ring = Ring(ring) if ring else None
        self._readers = []
        self._kept = []  # ids of stored Jobs, the oldest first
        self._state = reg.TRANSFER_STATE_IDLE
        self._kind = 0
        self._id = 0
        self._sha = b""
        self._hash = None
        self._total = 0
        self._received = 0
        self._file = None
        self._streamed = None  # the id whose bytes the ring holds, not read by anyone yet
        self._spent = False  # the ring's Job has been read, so its transfer cannot be taken up again
        self._find()
        self.show_room()

    def _find(self):
        """What an earlier run has left. Ids grow, so the order of ids is that of age."""
        for entry in os.ilistdir():
            name = entry[0]
            if name.startswith("job-") and name.endswith(".part"):
                _remove(name)
            elif name.startswith("job-") and name.endswith(".bin") and len(name) == 16:
                self._kept.append(int(name[4:12], 16))
        self._kept.sort()

    # ---- for motion

    def open(self, job_id):
        """A reader of a Job, or None where there is no such Job. A streamed one can be read once."""
        if self._streamed == job_id:
            if self._ring.used < _JOB_HEAD and not self._ring.closed:
                return None
            self._streamed = None
            reader = StreamedJob(self, job_id, self._ring)
        else:
            if job_id not in self._kept:
                return None
            try:
                reader = StoredJob(self, job_id, open(_file(job_id), "rb"))
            except OSError:
                return None
        self._readers.append(reader)
        return reader

    def released(self, reader):
        """A reader is done."""
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        if isinstance(reader, StreamedJob):
            self._spent = True
            if self._state == reg.TRANSFER_STATE_RECEIVING and self._received < self._total:
                self._enter(reg.TRANSFER_STATE_IDLE)  # nobody will take the rest

    def stored(self, job_id):
        """Whether a Job lies whole in flash."""
        return job_id in self._kept

    def show_room(self):
        """Room in the ring to the Status."""
        self._bank.put32(reg.S_RING_FREE, self._ring.free if self._ring else 0)

    def _reading(self, job_id):
        for reader in self._readers:
            if reader.job_id == job_id:
                return True
        return False

    def _ring_needed(self, streamed):
        """A Job plays from the ring, and another is to go there, or its rest is still to come."""
        for reader in self._readers:
            if isinstance(reader, StreamedJob):
                return streamed or not self._ring.closed
        return False

    # ---- the window

    def write(self, data):
        """A write into the transfer window from its first register on; returns 0 or an exception code.

        What was refused for the Job's sake is told in the Status; an exception says that the write did nothing.
        """
        size = len(data) - _HEAD
        if size < 0:
            return ILLEGAL_VALUE
        length = data[12] << 8 | data[13]
        if length > size or length > reg.TRANSFER_BYTES:
            return ILLEGAL_VALUE
        op = data[0] << 8 | data[1]
        kind = data[2] << 8 | data[3]
        job_id = _u32(data, 4)
        offset = _u32(data, 8)
        body = data[_HEAD : _HEAD + length]
        if op == reg.TRANSFER_OP_NONE:
            return 0
        if crc32(body) != _u32(data, 16):
            return self._tell(reg.REASON_BAD_CHECKSUM)
        if op == reg.TRANSFER_OP_BEGIN:
            return self._begin(kind, job_id, body)
        if self._state != reg.TRANSFER_STATE_RECEIVING or job_id != self._id or kind != self._kind:
            if self._state == reg.TRANSFER_STATE_STORED and job_id == self._id:
                return self._tell(reg.REASON_NONE)  # a repeat of what has been done
            return self._tell(reg.REASON_NO_SUCH_JOB)
        if op == reg.TRANSFER_OP_DATA:
            return self._data(offset, body)
        if op == reg.TRANSFER_OP_END:
            return self._end()
        return self._tell(reg.REASON_UNKNOWN_COMMAND)

    def _tell(self, reason):
        self._bank.put16(reg.S_TRANSFER_REASON, reason)
        return 0

    def _enter(self, state, reason=reg.REASON_NONE):
        self._state = state
        bank = self._bank
        bank.put16(reg.S_TRANSFER_STATE, state)
        bank.put16(reg.S_TRANSFER_REASON, reason)
        bank.put32(reg.S_TRANSFER_ID, self._id)
        bank.put32(reg.S_TRANSFER_RECEIVED, self._received)
        return 0

    def _refuse(self, reason):
        """Give the transfer up."""
        self._drop()
        return self._enter(reg.TRANSFER_STATE_REFUSED, reason)

    def _drop(self):
        """Leave nothing of a transfer that is not complete."""
        if self._file is not None:
            self._file.close()
            self._file = None
            _remove(_file(self._id, "part"))
        if self._state == reg.TRANSFER_STATE_RECEIVING and self._kind == reg.TRANSFER_KIND_STREAMED_JOB:
            self._ring.closed = True
            self._streamed = None

    def _flash_rests(self):
        """A flash write stops the processor for tens of milliseconds: never while the axes move."""
        return not self._bank.bit(reg.S_MOVING, reg.S_MOVING_BIT)

    def _begin(self, kind, job_id, body):
        if len(body) != _BEGIN:
            return ILLEGAL_VALUE
        sha = bytes(body[4:])
        if self._same(kind, job_id, sha):
            return self._tell(reg.REASON_NONE)  # taken up where it stands
        streamed = kind == reg.TRANSFER_KIND_STREAMED_JOB
        if not streamed and kind != reg.TRANSFER_KIND_STORED_JOB:
            return self._tell(reg.REASON_UNKNOWN_COMMAND)
        if self._reading(job_id) or self._ring_needed(streamed) or not (streamed or self._flash_rests()):
            return self._tell(reg.REASON_BUSY)
        self._drop()
        self._kind, self._id, self._sha = kind, job_id, sha
        self._total = _u32(body, 0)
        self._received = 0
        self._hash = sha256()
        if not self._total:
            return self._refuse(reg.REASON_BAD_JOB)
        if streamed:
            return self._begin_stream()
        return self._begin_file()

    def _same(self, kind, job_id, sha):
        if kind == reg.TRANSFER_KIND_STREAMED_JOB and self._spent:
            return False
        live = self._state == reg.TRANSFER_STATE_RECEIVING or self._state == reg.TRANSFER_STATE_STORED
        return live and kind == self._kind and job_id == self._id and sha == self._sha

    def _begin_stream(self):
        if self._ring is None:
            return self._refuse(reg.REASON_NO_SPACE)
        self._ring.clear()
        self._spent = False
        self._streamed = self._id
        self.show_room()
        return self._enter(reg.TRANSFER_STATE_RECEIVING)

    def _begin_file(self):
        try:
            self._make_room()
            space = os.statvfs(".")
            if self._total + SPARE_BYTES > space[0] * space[4]:
                return self._refuse(reg.REASON_NO_SPACE)
            self._file = open(_file(self._id, "part"), "wb")
        except OSError:
            return self._refuse(reg.REASON_NO_SPACE)
        return self._enter(reg.TRANSFER_STATE_RECEIVING)

    def _make_room(self):
        """Drop the oldest Jobs that nobody reads."""
        others = [job_id for job_id in self._kept if job_id != self._id]
        surplus = len(others) - (KEEP - 1)
        for job_id in others:
            if surplus > 0 and not self._reading(job_id):
                os.remove(_file(job_id))
                self._kept.remove(job_id)
                surplus -= 1

    def _data(self, offset, body):
        end = offset + len(body)
        if end <= self._received:
            return self._tell(reg.REASON_NONE)  # a repeat
        if offset != self._received or end > self._total:
            return self._tell(reg.REASON_BAD_OFFSET)
        if self._kind == reg.TRANSFER_KIND_STREAMED_JOB:
            if len(body) > self._ring.free:
                return BUSY
            self._ring.put(body)
            self.show_room()
        else:
            if not self._flash_rests():
                return BUSY
            try:
                self._file.write(body)
            except OSError:
                return self._refuse(reg.REASON_NO_SPACE)
        self._hash.update(body)
        self._received = end
        return self._enter(reg.TRANSFER_STATE_RECEIVING)

    def _end(self):
        if self._received != self._total:
            return self._tell(reg.REASON_BAD_OFFSET)
        if self._kind == reg.TRANSFER_KIND_STORED_JOB and not self._flash_rests():
            return BUSY
        if self._hash.digest() != self._sha:
            return self._refuse(reg.REASON_BAD_CHECKSUM)
        if self._kind == reg.TRANSFER_KIND_STREAMED_JOB:
            self._ring.closed = True
            return self._enter(reg.TRANSFER_STATE_STORED)
        try:
            self._file.close()
            self._file = None
            os.rename(_file(self._id, "part"), _file(self._id))
        except OSError:
            _remove(_file(self._id, "part"))
            return self._refuse(reg.REASON_NO_SPACE)
        if self._id in self._kept:
            self._kept.remove(self._id)
        self._kept.append(self._id)
        return self._enter(reg.TRANSFER_STATE_STORED)


def _u32(data, at):
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
