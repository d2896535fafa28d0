"""Mutated requests for the codec, over both framings: the same program under CPython and in the VM, where it must not grow."""

OWN = 3
_EDGES = b"\x00\x01\x7f\x80\xff\x7d\x7e\x7b\x7c\xfa"
# Right requests, as PDUs: what is made of them is nearly right.
SEEDS = (
    b"\x01\x00\x10\x07\xd0",
    b"\x02\x00\x05\x00\x13",
    b"\x03\x00\x00\x00\x7d",
    b"\x04\x00\x63\x00\x02",
    b"\x05\x01\x05\xff\x00",
    b"\x06\x00\x12\x12\x34",
    b"\x08\x00\x00\xa5\x37",
    b"\x08\x00\x0b\x00\x00",
    b"\x0f\x01\x03\x00\x25\x05\xcd\x6b\xb2\x0e\x1b",
    b"\x10\x00\x10\x00\x03\x06\x02\x2b\x00\x01\x00\x64",
    b"\x10\x00\x00\x00\x7b\xf6" + bytes(246),
    b"\x16\x00\x11\x00\xf2\x00\x25",
    b"\x17\x00\x00\x00\x05\x00\x10\x00\x02\x04\x00\xff\x00\xff",
    b"\x2b\x0e\x01\x00",
    b"\x2b\x0e\x04\x02",
)
ALIVE = b"\x03\x00\x05\x00\x01"
ROOM = 700


class Frames:
    """Frames, one after the other, in one buffer."""

    def __init__(self, seed):
        self.buffer = bytearray(ROOM)
        self.size = 0
        self._state = seed * 7919 + 1 & 0x3FFFFFFF

    def below(self, bound):
        """A number."""
        state = self._state
        state ^= state << 7 & 0x3FFFFFFF
        state ^= state >> 11
        state ^= state << 13 & 0x3FFFFFFF
        self._state = state or 1
        return (state >> 3) % bound

    def set(self, at, data):
        """Put bytes there, which end the frame."""
        buffer = self.buffer
        for k in range(len(data)):
            buffer[at + k] = data[k]
        self.size = at + len(data)

    def mutate(self, first):
        """Change it in up to three ways, from byte `first` on or anywhere."""
        for _ in range(self.below(4)):
            self._change(first if self.below(4) else 0)

    def _change(self, first):
        buffer = self.buffer
        size = self.size
        at = first + self.below(size - first) if size > first else 0
        how = self.below(8)
        if how < 2:
            buffer[at] ^= 1 << self.below(8)
        elif how < 4:
            buffer[at] = _EDGES[self.below(len(_EDGES))]
        elif how == 4:
            buffer[at] = self.below(256)
        elif how == 5:
            self.size = at + 1
        elif how == 6 and size < ROOM - 300:
            for k in range(1 + self.below(20)):
                buffer[size + k] = buffer[at + k]
                self.size = size + k + 1
        elif size < ROOM - 300 and size:
            k = size
            while k > at:
                buffer[k] = buffer[k - 1]
                k -= 1
            self.size = size + 1


def feed_connection(connection, frames):
    """All of a frame, in as many parts as there is room for; returns the bytes that were answered."""
    at = answered = 0
    while at < frames.size and not connection.broken:
        space = connection.space()
        count = min(len(space), frames.size - at)
        space[:count] = memoryview(frames.buffer)[at : at + count]
        connection.took(count)
        at += count
        turns = 0
        while connection.more:
            size = connection.answer()
            turns += 1
            if size > 520 or turns > 60:
                raise ValueError(f"hangs, or says too much: {size} {turns}")
            answered += size
    return answered


def over_tcp(connection, count, seed):
    """Feed so many mutated frames, and ask after each 16 whether it lives."""
    frames = Frames(seed)
    for k in range(count):
        pdu = SEEDS[frames.below(len(SEEDS))]
        frames.set(0, b"\x00\x01\x00\x00\x00\x00\x03")
        frames.buffer[5] = len(pdu) + 1
        frames.set(7, pdu)
        frames.mutate(7)
        if frames.size > 7 and frames.below(4):  # what the header says is true
            frames.buffer[4] = frames.size - 6 >> 8
            frames.buffer[5] = frames.size - 6 & 0xFF
        feed_connection(connection, frames)
        if connection.broken or not k % 16:
            connection.open(1, None)
        if not k % 16:
            frames.set(0, b"\x00\x02\x00\x00\x00\x06\x03" + ALIVE)
            if feed_connection(connection, frames) != 11 or connection.broken:
                raise ValueError(f"dead after frame {k} of seed {seed}")


def feed_line(line, frames):
    """All of a frame, and silence; returns the bytes that were answered."""
    at = answered = 0
    while at < frames.size:
        space = line.space()
        count = min(len(space), frames.size - at)
        space[:count] = memoryview(frames.buffer)[at : at + count]
        line.took(count)
        at += count
        size = line.answer()
        while size:
            if size > 256:
                raise ValueError(f"says too much: {size}")
            answered += size
            size = line.answer()
    answered += line.gap()
    if line.count or line.gap():
        raise ValueError("silence has not ended all")
    return answered


def over_rtu(line, crc, count, seed):
    """The same on a serial line; `crc` is of (data, at, end)."""
    frames = Frames(seed)
    for k in range(count):
        frames.set(0, b"\x03")
        frames.set(1, SEEDS[frames.below(len(SEEDS))])
        frames.mutate(0)
        _sign(frames, crc, frames.below(4))
        feed_line(line, frames)
        if not k % 16:
            frames.set(0, b"\x03" + ALIVE)
            _sign(frames, crc, 1)
            if feed_line(line, frames) != 7:
                raise ValueError(f"dead after frame {k} of seed {seed}")


def _sign(frames, crc, right):
    word = crc(frames.buffer, 0, frames.size) if right else frames.below(65536)
    frames.buffer[frames.size] = word & 0xFF
    frames.buffer[frames.size + 1] = word >> 8
    frames.size += 2
