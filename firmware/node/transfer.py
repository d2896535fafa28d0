"""The transfer window: a Job comes in blocks, each with its CRC-32, and counts when the SHA-256 of the whole is right.

A stored Job is written to `job-XXXXXXXX.part` and renamed at the end; a streamed one goes through the ring and is played
while it comes. A transfer is taken up again where it stands, but not after a restart of the node: then it begins anew.
"""

from binascii import crc32
from hashlib import sha256

from node import log, slots
from node import registers as reg
from node.codec import BUSY, ILLEGAL_VALUE
from node.store import file_name, remove

_HEAD = 2 * reg.TRANSFER_HEAD
_BEGIN = 36  # total length, SHA-256
_UPKEEP = (reg.TRANSFER_KIND_CONFIG, reg.TRANSFER_KIND_UPDATE_FILE, reg.TRANSFER_KIND_MANIFEST)


class _Nowhere:
    """Where bytes go before any transfer."""

    def room(self, count):
        return False

    def put(self, body):
        pass

    def finish(self):
        pass

    def drop(self):
        pass


class _ToFlash:
    """A Job's `.part` file. A flash write stops the processor for tens of milliseconds: never while the axes move."""

    def __init__(self, bank, store, job_id):
        self._bank = bank
        self._store = store
        self._id = job_id
        self._file = open(file_name(job_id, "part"), "wb")  # open until the end

    def room(self, count):
        return not self._bank.bit(reg.S_MOVING, reg.S_MOVING_BIT)

    def put(self, body):
        self._file.write(body)

    def finish(self):
        self._file.close()
        self._store.keep(self._id)

    def drop(self):
        self._file.close()
        remove(file_name(self._id, "part"))


class _ToRing:
    """The ring, in the place of whatever was in it."""

    def __init__(self, store, job_id):
        self._store = store
        self._ring = store.ring
        self._ring.clear()
        store.spent = False
        store.streamed = job_id
        store.show_room()

    def room(self, count):
        return count <= self._ring.free

    def put(self, body):
        self._ring.put(body)
        self._store.show_room()

    def finish(self):
        self._ring.closed = True

    def drop(self):
        self._ring.closed = True
        self._store.streamed = None


def _never():
    return False


class Window:
    """Takes the writes into the transfer window, and tells in the Status what became of them.

    Attributes:
        resting: whether the node is at rest, as a function: only then is an update or a configuration taken in.
        uid: which configurations are this node's.
    """

    def __init__(self, bank, store):
        self.resting = _never
        self.uid = 0
        self._bank = bank
        self._store = store
        self._state = reg.TRANSFER_STATE_IDLE
        self._kind = 0
        self._id = 0
        self._sha = b""
        self._hash = sha256()
        self._total = 0
        self._received = 0
        self._sink = _Nowhere()

    def write(self, data):
        """A write from the window's first register on; returns 0 or an exception code.

        What was refused for the Job's sake is told in the Status; an exception says that the write did nothing.
        """
        size = len(data) - _HEAD
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
        if op not in (reg.TRANSFER_OP_DATA, reg.TRANSFER_OP_END):
            return self._tell(reg.REASON_UNKNOWN_COMMAND)
        self._notice_abandoned()
        if job_id == self._id and kind == self._kind:
            if self._state == reg.TRANSFER_STATE_STORED:
                return self._tell(reg.REASON_NONE)  # a repeat of what has been done
            if self._state == reg.TRANSFER_STATE_RECEIVING:
                return self._data(offset, body) if op == reg.TRANSFER_OP_DATA else self._end()
        return self._tell(reg.REASON_NO_SUCH_JOB)

    def read(self, data):
        """A client wants to read the log from an offset on: what there is lies in the window for its next request.

        Whose answer it is is seen from its head: it may begin later than asked for, and somebody else may have come between.
        """
        if data[2] << 8 | data[3] != reg.TRANSFER_KIND_LOG:
            return ILLEGAL_VALUE
        view = self._bank.view[2 * reg.TRANSFER_AT : 2 * reg.TRANSFER_AT + _HEAD + reg.TRANSFER_BYTES]
        offset, count = log.read(_u32(data, 8), view[_HEAD:])
        view[:8] = data[:8]
        bank = self._bank
        bank.put32(reg.T_OFFSET, offset)
        bank.put16(reg.T_LENGTH, count)
        bank.put32(reg.T_CRC, crc32(view[_HEAD : _HEAD + count]))
        return 0

    # ---- what the Status tells

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
        """Give the transfer up, and leave nothing of it."""
        self._drop()
        return self._enter(reg.TRANSFER_STATE_REFUSED, reason)

    def _drop(self):
        if self._state == reg.TRANSFER_STATE_RECEIVING:
            self._sink.drop()
        self._sink = _Nowhere()

    @property
    def _spent(self):
        """The ring's Job has been read, so its transfer cannot be taken up again."""
        return self._kind == reg.TRANSFER_KIND_STREAMED_JOB and self._store.spent

    def _notice_abandoned(self):
        """Nobody will take the rest of a streamed Job that has been given up."""
        if self._state == reg.TRANSFER_STATE_RECEIVING and self._spent and self._received < self._total:
            self._drop()
            self._enter(reg.TRANSFER_STATE_IDLE)

    # ---- the operations

    def _begin(self, kind, job_id, body):
        if len(body) != _BEGIN:
            return ILLEGAL_VALUE
        sha = bytes(body[4:])
        if self._same(kind, job_id, sha):
            return self._tell(reg.REASON_NONE)  # taken up where it stands
        streamed = kind == reg.TRANSFER_KIND_STREAMED_JOB
        if kind in _UPKEEP:
            return self._begin_upkeep(kind, job_id, body, sha)
        if not streamed and kind != reg.TRANSFER_KIND_STORED_JOB:
            return self._tell(reg.REASON_UNKNOWN_COMMAND)
        if self._busy(streamed, job_id):
            return self._tell(reg.REASON_BUSY)
        self._renew(kind, job_id, body, sha)
        if not self._total:
            return self._enter(reg.TRANSFER_STATE_REFUSED, reg.REASON_BAD_JOB)
        if not (self._open_ring() if streamed else self._open_file()):
            return self._enter(reg.TRANSFER_STATE_REFUSED, reg.REASON_NO_SPACE)
        return self._enter(reg.TRANSFER_STATE_RECEIVING)

    def _renew(self, kind, job_id, body, sha):
        self._drop()
        self._kind, self._id, self._sha = kind, job_id, sha
        self._total = _u32(body, 0)
        self._received = 0
        self._hash = sha256()

    def _begin_upkeep(self, kind, number, body, sha):
        """What concerns the node itself. The flash stops the processor for a while, and a signature for longer."""
        if not self.resting():
            return self._tell(reg.REASON_BUSY)
        if kind != reg.TRANSFER_KIND_CONFIG and not slots.slotted():
            return self._tell(reg.REASON_UNKNOWN_COMMAND)
        self._renew(kind, number, body, sha)
        if self._store.streamed is None and not self._store.streaming:
            self._store.ring.lend()  # an update takes as much for itself, and ends with a restart
        try:
            from node import update
        except MemoryError:
            return self._enter(reg.TRANSFER_STATE_REFUSED, reg.REASON_NO_SPACE)
        try:
            sink = update.sink(kind, number, self._total, sha, self.uid)
        except update.Refusal as refused:
            return self._enter(reg.TRANSFER_STATE_REFUSED, refused.args[0])
        except (OSError, MemoryError):
            return self._enter(reg.TRANSFER_STATE_REFUSED, reg.REASON_NO_SPACE)
        if sink.there:
            self._received = self._total
            return self._enter(reg.TRANSFER_STATE_STORED)
        self._sink = sink
        return self._enter(reg.TRANSFER_STATE_RECEIVING)

    def _same(self, kind, job_id, sha):
        live = self._state in (reg.TRANSFER_STATE_RECEIVING, reg.TRANSFER_STATE_STORED) and not self._spent
        return live and kind == self._kind and job_id == self._id and sha == self._sha

    def _busy(self, streamed, job_id):
        """What the transfer would need is in work."""
        store = self._store
        if store.reading(job_id):
            return True
        if store.streaming and (streamed or not store.ring.closed):
            return True
        return not streamed and self._bank.bit(reg.S_MOVING, reg.S_MOVING_BIT)

    def _open_ring(self):
        ring = self._store.ring
        if not ring.size or not ring.take():
            return False
        self._sink = _ToRing(self._store, self._id)
        return True

    def _open_file(self):
        try:
            if not self._store.make_room(self._id, self._total):
                return False
            self._sink = _ToFlash(self._bank, self._store, self._id)
        except (OSError, MemoryError):
            return False
        return True

    def _data(self, offset, body):
        end = offset + len(body)
        if end <= self._received:
            return self._tell(reg.REASON_NONE)  # a repeat
        if offset != self._received or end > self._total:
            return self._tell(reg.REASON_BAD_OFFSET)
        if not self._sink.room(len(body)) or (self._kind in _UPKEEP and not self.resting()):
            return BUSY
        try:
            self._sink.put(body)
        except (OSError, MemoryError):
            return self._refuse(reg.REASON_NO_SPACE)
        self._hash.update(body)
        self._received = end
        return self._enter(reg.TRANSFER_STATE_RECEIVING)

    def _end(self):
        if self._received != self._total:
            return self._tell(reg.REASON_BAD_OFFSET)
        if not self._sink.room(0):
            return BUSY
        if self._hash.digest() != self._sha:
            return self._refuse(reg.REASON_BAD_CHECKSUM)
        if self._kind in _UPKEEP:
            return self._end_upkeep()
        try:
            self._sink.finish()
        except OSError:
            return self._refuse(reg.REASON_NO_SPACE)
        return self._enter(reg.TRANSFER_STATE_STORED)

    def _end_upkeep(self):
        from node import update

        if not self.resting():
            return BUSY
        try:
            self._sink.finish()
        except update.Refusal as refused:
            return self._refuse(refused.args[0])
        except (OSError, MemoryError):
            return self._refuse(reg.REASON_NO_SPACE)
        return self._enter(reg.TRANSFER_STATE_STORED)


def _u32(data, at):
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
