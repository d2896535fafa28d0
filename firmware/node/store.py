"""What a node keeps: its counters, the Jobs in its flash, and the ring that a Job is streamed through."""

import os

from micropython import const

from node import registers as reg

KEEP = 2  # stored Jobs, the one that is coming included
SPARE_BYTES = 16_384  # of flash that a Job must leave
_JOB_HEAD = 32  # a streamed Job is opened when its head is there
BLOCK = const(1024)


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


def remove(name):
    """Remove a file, where it is there."""
    try:
        os.remove(name)
    except OSError:
        pass


def file_name(job_id, ending="bin"):
    """Of a Job's file: `.bin` when it is whole, `.part` while it comes."""
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
    """A ring of bytes, in blocks: a heap that is in use has no long stretch in one piece."""

    def __init__(self, size):
        self.size = size
        self._blocks = []
        self._first = 0
        self.used = 0
        self.closed = False
        if not self.take():
            raise MemoryError

    def take(self):
        """Have its memory, as from the start; False where the heap has no room for it now."""
        try:
            while len(self._blocks) * BLOCK < self.size:
                at = len(self._blocks) * BLOCK
                self._blocks.append(memoryview(bytearray(min(BLOCK, self.size - at))))
        except MemoryError:
            return False
        return True

    def lend(self):
        """Leave its memory to others until the next `take`; what was in it is gone."""
        self.clear()
        self._blocks = []

    @property
    def free(self):
        """Room in bytes."""
        return self.size - self.used

    def clear(self):
        """Empty it for the next Job."""
        self._first = self.used = 0
        self.closed = False

    def put(self, data):
        """Append all of `data`, for which there must be room."""
        at = (self._first + self.used) % self.size
        done = 0
        while done < len(data):
            block = self._blocks[at // BLOCK]
            start = at % BLOCK
            count = min(len(data) - done, len(block) - start)
            block[start : start + count] = data[done : done + count]
            done += count
            at = (at + count) % self.size
        self.used += done

    def get(self, buffer):
        """Move what is there into `buffer`, as far as it holds; returns how much."""
        wanted = min(len(buffer), self.used)
        done = 0
        while done < wanted:
            block = self._blocks[self._first // BLOCK]
            start = self._first % BLOCK
            count = min(wanted - done, len(block) - start)
            buffer[done : done + count] = block[start : start + count]
            done += count
            self._first = (self._first + count) % self.size
        self.used -= done
        return done


class Store:
    """The Jobs that can be run.

    Args:
        ring: bytes for a streamed Job; 0 where the node runs no Jobs.

    Attributes:
        streamed: the id of the Job whose beginning is in the ring, not opened by anyone yet.
        spent: the ring's Job has been read, in whole or in part.
    """

    def __init__(self, bank, ring):
        self._bank = bank
        self.ring = Ring(ring)
        self.streamed = None
        self.spent = False
        self._readers = []
        self._kept = []  # ids, the oldest first
        self._find()
        self.show_room()

    def _find(self):
        """What an earlier run has left. Ids grow, so the order of ids is that of age."""
        for entry in os.ilistdir():
            name = entry[0]
            if name.startswith("job-") and name.endswith(".part"):
                remove(name)
            elif name.startswith("job-") and name.endswith(".bin") and len(name) == 16:
                self._kept.append(int(name[4:12], 16))
        self._kept.sort()

    def open(self, job_id):
        """A reader of a Job, or None where there is no such Job. A streamed one can be read once."""
        if self.streamed == job_id:
            if self.ring.used < _JOB_HEAD and not self.ring.closed:
                return None
            self.streamed = None
            reader = StreamedJob(self, job_id, self.ring)
        else:
            if job_id not in self._kept:
                return None
            try:
                file = open(file_name(job_id), "rb")  # closed by its reader
            except OSError:
                return None
            reader = StoredJob(self, job_id, file)
        self._readers.append(reader)
        return reader

    def released(self, reader):
        """A reader is done."""
        if reader in self._readers:
            self._readers.remove(reader)
            self.spent = self.spent or isinstance(reader, StreamedJob)

    def stored(self, job_id):
        """Whether a Job lies whole in flash."""
        return job_id in self._kept

    def reading(self, job_id):
        """Whether a Job is in work."""
        return any(reader.job_id == job_id for reader in self._readers)

    @property
    def streaming(self):
        """Whether the Job in work comes through the ring."""
        return any(isinstance(reader, StreamedJob) for reader in self._readers)

    def keep(self, job_id):
        """The `.part` file is whole: it becomes the Job.

        Raises:
            OSError: the flash refuses.
        """
        os.rename(file_name(job_id, "part"), file_name(job_id))
        if job_id in self._kept:
            self._kept.remove(job_id)
        self._kept.append(job_id)

    def make_room(self, job_id, size):
        """Drop the oldest Jobs that nobody reads; False where a Job of this size still does not fit.

        Raises:
            OSError: the flash refuses.
        """
        others = [kept for kept in self._kept if kept != job_id]
        surplus = len(others) - (KEEP - 1)
        for old in others:
            if surplus > 0 and not self.reading(old):
                os.remove(file_name(old))
                self._kept.remove(old)
                surplus -= 1
        space = os.statvfs(".")
        return size + SPARE_BYTES <= space[0] * space[4]

    def show_room(self):
        """Room in the ring to the Status."""
        self._bank.put32(reg.S_RING_FREE, self.ring.free)
