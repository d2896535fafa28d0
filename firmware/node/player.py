"""Records become words of a step stream: exactly as planned, in step on all axes.

A record is played by integers below 2^30: `p` counts the fraction of the dominant axis's next step (Q30), `v` is its speed (Q30
steps a frame), and changes by `a` each chunk of 4 frames. The other axes follow by Bresenham. Time can be slowed: `rate` (Q20)
says which part of a planned frame passes in a real one, so a hold stays on the path and loses no step.
"""

from array import array

import micropython
from micropython import const

CHUNK = 4  # frames
BATCH = 64  # chunks generated at a time
_PIECE = const(256)  # frames generated at a time while the rate changes
_ONE = 1 << 30
_FULL = const(0x100000)

_room = [bytearray(BATCH * CHUNK * 4)]  # taken while the file is loaded: later the heap may have no such stretch

# Places in the player's state.
_P = const(0)
_V = const(1)
_A = const(2)
_LEFT = const(3)
_ND = const(4)
_DONE = const(5)
_BASE = const(6)
_DOM = const(7)
_PHASE = const(8)
_RATE = const(9)
_SLEW = const(10)
_T = const(11)
_N0 = const(12)  # steps of each axis, those of the dominant one 0; room for six
_E0 = const(18)  # their errors
_Q30 = const(24)  # 2^30 itself: a literal of that size is no small integer on a board
_AXES = const(25)
_SIZE = const(26)


@micropython.viper
def _play(s: ptr32, out: ptr32, at: int, chunks: int):  # noqa: F821
    """Fill `chunks` chunks of words from index `at` on, at full rate. The record has at least that many left."""
    one = int(s[24])
    axes = int(s[25])
    p = int(s[0])
    v = int(s[1])
    a = int(s[2])
    nd = int(s[4])
    done = int(s[5])
    base = int(s[6])
    dom = int(s[7])
    i = at
    end = at + chunks * 4
    while i < end:
        q = p + (v << 2)
        if v < 0x10000000 and q < one:
            out[i] = base
            out[i + 1] = base
            out[i + 2] = base
            out[i + 3] = base
            p = q
            i += 4
        else:
            stop = i + 4
            while i < stop:
                word = base
                p += v
                if p >= one:
                    p -= one
                    done += 1
                    word |= dom
                    k = axes
                    while k:
                        k -= 1
                        n = int(s[12 + k])
                        if n:
                            e = int(s[18 + k]) + n
                            if e >= nd:
                                e -= nd
                                word |= 1 << (k << 1)
                            s[18 + k] = e
                out[i] = word
                i += 1
        v = (v + a) & 0x3FFFFFFF
    s[0] = p
    s[1] = v
    s[3] = int(s[3]) - chunks
    s[5] = done


@micropython.viper
def _play_slowed(s: ptr32, out: ptr32, at: int, frames: int) -> int:  # noqa: F821
    """Fill up to `frames` words while the rate changes by the slew each frame; returns how many were filled.

    It returns early when the record has ended, when the rate has reached zero, or when it is full again on a chunk's first frame.
    """
    one = int(s[24])
    axes = int(s[25])
    p = int(s[0])
    v = int(s[1])
    a = int(s[2])
    left = int(s[3])
    nd = int(s[4])
    done = int(s[5])
    base = int(s[6])
    dom = int(s[7])
    phase = int(s[8])
    rate = int(s[9])
    slew = int(s[10])  # offset by 2^20, so that it is never negative
    t = int(s[11])
    i = at
    end = at + frames
    going = 1
    while i < end and going:
        rate += slew - 0x100000
        if rate > 0x100000:
            rate = 0x100000
        if rate < 0:
            rate = 0
        t += rate
        word = base
        if t >= 0x100000:
            t -= 0x100000
            p += v
            if p >= one:
                p -= one
                done += 1
                word |= dom
                k = axes
                while k:
                    k -= 1
                    n = int(s[12 + k])
                    if n:
                        e = int(s[18 + k]) + n
                        if e >= nd:
                            e -= nd
                            word |= 1 << (k << 1)
                        s[18 + k] = e
            phase += 1
            if phase == 4:
                phase = 0
                v = (v + a) & 0x3FFFFFFF
                left -= 1
                if left == 0:
                    going = 0
        if rate == 0:
            going = 0
        if rate == 0x100000 and phase == 0:
            going = 0
        out[i] = word
        i += 1
    s[0] = p
    s[1] = v
    s[3] = left
    s[5] = done
    s[8] = phase
    s[9] = rate
    s[11] = t
    return i - at


class Player:
    """Turns records into words; knows nothing of Jobs, heaters or time."""

    def __init__(self, axes=4):
        self.state = array("i", [0] * _SIZE)
        self.out = _room.pop() if _room else bytearray(BATCH * CHUNK * 4)
        self._view = memoryview(self.out)
        self.n = [0] * axes
        self.position = [0] * axes  # steps at the record's start
        self.peak = 0  # Q30 steps a frame
        self.state[_RATE] = _FULL
        self.state[_SLEW] = _FULL
        self.state[_Q30] = _ONE
        self.state[_AXES] = axes
        self.short = 0
        self._accelerations = ()

    @property
    def idle(self):
        """No record is loaded, or it has ended."""
        return self.state[_LEFT] == 0

    @property
    def left(self):
        """Chunks of the record in work not yet generated."""
        return self.state[_LEFT]

    @property
    def held(self):
        """Slower than planned, or about to be."""
        return self.state[_SLEW] < _FULL

    @property
    def full(self):
        """At the planned speed."""
        return self.state[_RATE] == _FULL

    @property
    def rate(self):
        """Part of the planned speed, Q20."""
        return self.state[_RATE]

    def load(self, chunks, steps, alpha):
        """Begin a record: signed `steps` of the axes in `chunks` chunks, start speed / mean speed = alpha / 2^15."""
        s = self.state
        base = 0
        dominant = 0
        largest = 0
        for k in range(len(self.n)):
            n = steps[k]
            self.n[k] = n
            if n > 0:
                base |= 2 << 2 * k
            else:
                n = -n
            if n > largest:
                largest = n
                dominant = k
        s[_BASE] = base
        s[_LEFT] = chunks
        s[_ND] = largest
        s[_DONE] = 0
        s[_P] = _ONE >> 1
        s[_PHASE] = 0
        if largest == 0:
            s[_V] = s[_A] = 0
            return
        frames = CHUNK * chunks
        v0 = (largest * alpha << 15) // frames
        over = 2 * ((largest << 30) - frames * v0)
        a = over // (frames * chunks) if over >= 0 else -(-over // (frames * chunks))
        for k in range(len(self.n)):
            s[_N0 + k] = 0 if k == dominant else abs(steps[k])
            s[_E0 + k] = largest >> 1
        s[_DOM] = 1 << 2 * dominant
        s[_V] = v0 + (a >> 1)
        s[_A] = a & (_ONE - 1)
        fastest = v0 if a < 0 else v0 + a * chunks
        if fastest > self.peak:
            self.peak = fastest

    def fill(self, frames):
        """Words for up to `frames` frames; returns how many, less than asked where the record or a hold ends."""
        s = self.state
        frames = min(frames, BATCH * CHUNK)  # there is room for no more
        if s[_RATE] == _FULL and s[_SLEW] >= _FULL and s[_PHASE] == 0:
            chunks = min(frames // CHUNK, s[_LEFT])
            _play(s, self.out, 0, chunks)  # pyright: ignore[reportArgumentType]
            made = chunks * CHUNK
        else:
            frames = min(frames, _PIECE)
            if s[_SLEW] != _FULL:
                self._ramp(frames)
            made = int(_play_slowed(s, self.out, 0, frames))  # pyright: ignore[reportArgumentType]
        if s[_LEFT] == 0:
            if s[_DONE] != s[_ND]:
                self.short += 1
            for k in range(len(self.n)):
                self.position[k] += self.n[k]
                self.n[k] = 0
            s[_ND] = s[_DONE] = 0
        return made

    def words(self, first, end):
        """The bytes of the words from `first` up to `end` of those filled last."""
        return self._view[first * 4 : end * 4]

    def where(self, k):
        """Position of an axis in steps, as generated."""
        s = self.state
        nd = s[_ND]
        if nd == 0:
            return self.position[k]
        n = abs(self.n[k])
        made = s[_DONE] if n == nd and s[_N0 + k] == 0 else ((nd >> 1) + s[_DONE] * n) // nd
        return self.position[k] + (made if self.n[k] > 0 else -made)

    def forget(self):
        """Drop the record in work; the position stays where it was generated to."""
        for k in range(len(self.n)):
            self.position[k] = self.where(k)
            self.n[k] = 0
        s = self.state
        s[_LEFT] = s[_ND] = s[_DONE] = s[_PHASE] = s[_T] = 0
        s[_RATE] = s[_SLEW] = _FULL

    def slow(self, accelerations):
        """Bring the axes to rest along the path, none of them braking harder than its acceleration [steps/s²]."""
        self._accelerations = accelerations
        self.state[_SLEW] = _FULL - 1

    def resume(self):
        """Back to the planned speed, as gently as it was left."""
        self.state[_SLEW] = _FULL + 1

    def _ramp(self, frames):
        """How fast the rate may change in the next few frames.

        With the planned speed v and the rate r an axis goes at v r, so it accelerates by v r' + v' r²: what the plan itself
        accelerates or brakes (v') is no longer there for the hold.
        """
        s = self.state
        rate = s[_RATE] / _FULL
        speed = s[_V]
        gain = s[_A] if s[_A] < _ONE >> 1 else s[_A] - _ONE
        braking = s[_SLEW] < _FULL
        allowed = 1.0  # of the rate, in a frame
        if s[_ND] and s[_LEFT] and speed:
            later = speed + gain * frames // CHUNK
            fastest = max(speed, later) / _ONE * 100000  # steps/s of the dominant axis
            for k in range(len(self.n)):
                n = abs(self.n[k])
                if n:
                    allowed = min(allowed, self._accelerations[k] * s[_ND] / (fastest * n * 100000))
            planned = gain / (CHUNK * speed)  # share of the speed, in a frame
            if not braking:
                planned = -planned
            if braking and planned > 0:  # it helps less and less
                rate = max(0.0, rate - allowed * frames)
            elif planned < 0 and not braking:  # it takes more and more
                rate = min(1.0, rate + allowed * frames)
            allowed = min(allowed + planned * rate * rate, 1.0)
        slew = max(1, int(allowed * _FULL))
        s[_SLEW] = _FULL - slew if braking else _FULL + slew
