"""A conversation with a Marlin board over a UART: numbered lines with checksums out, its answers in. Nothing here waits.

The protocol is that of https://reprap.org/wiki/G-code ("Checking" and "Replies from the RepRap machine") and of
https://marlinfw.org/docs/gcode/M110.html, M113, M115 and ADVANCED_OK. A line may be acknowledged too early, by an answer to
something else; that loses nothing, for the board itself asks again for the first number that it misses.
"""

from time import ticks_diff

from micropython import const

LINES = const(8)  # that can be sent again
ROOM = const(112)  # bytes of each, with its number and checksum
LONGEST = 96  # bytes of a text
WINDOW = const(3)  # lines under way to a board whose oks tell their number, else one
_BUFFER = const(128)  # bytes that a board takes in while it is busy
RETRY_MS = const(2500)  # a board that is busy says so every 2 s
TRIES = const(3)
_LINE = const(160)  # bytes of an answer; what is longer is cut
_AXES = (b"X:", b"Y:", b"Z:", b"E:")
_HOLD_OFF = const(2)  # ticks between "Resend" and sending, in which the ok that comes with it is taken for no answer


class Talk:
    """The lines that were sent, and what the board has said.

    Attributes:
        made, acked: numbers of the last line put, and of the last that the board has taken.
        window: lines that may be sent before the first of them is acknowledged.
        silent: the board does not answer any more. astray: it has asked for a line that is not there. started: it has been
            reset. killed: it has halted. failed: it could not do what it was told. The owner of these clears them.
        temperatures, targets: of hotend and bed, tenths of a degree; fresh counts reports.
        position: X, Y, Z, E in thousandths.
        quick, reports: what M115 says that it can: stops at once, temperatures by themselves.
        room: moves that its planner still takes, -1 where it does not tell. most: the largest of these, of an idle planner.
        resent: lines that were asked for again.
    """

    def __init__(self, uart):
        self._uart = uart
        self._lines = [bytearray(ROOM) for _ in range(LINES)]
        self._views = [memoryview(line) for line in self._lines]
        self._sizes = [0] * LINES
        self._came = bytearray(64)
        self._line = bytearray(_LINE)
        self._length = 0
        self._stop = 0
        self.temperatures = [0, 0]
        self.targets = [0, 0]
        self.position = [0, 0, 0, 0]
        self.fresh = 0
        self.resent = 0
        self.window = 1
        self.room = self.most = -1
        self.quick = self.reports = False
        self.silent = self.astray = self.started = self.killed = self.failed = False
        self._suspect = False
        self._since = 0
        self._now = 0
        self._tries = 0
        self._hold_off = 0
        self._swallow = False
        self.made = self.acked = self._out = -1

    # ---- out

    @property
    def free(self):
        """Whether all that was put has been sent, and window and the board's receive buffer take another line."""
        waiting = 0
        for number in range(self.acked + 1, self.made + 1):
            waiting += self._sizes[number % LINES]
        return self._out == self.made and self.made - self.acked < self.window and waiting <= _BUFFER - ROOM // 2

    @property
    def left(self):
        """Lines that can be put before the board has taken another one."""
        return LINES - self.made + self.acked

    def begin(self):
        """Start counting anew; what was put before is forgotten."""
        self.made = self.acked = self._out = -1
        self._tries = self._hold_off = 0
        self._swallow = self._suspect = False
        self.room = -1
        self.window = 1
        self.put(b"M110", 4)  # with no N behind it, which would count back once more when it is carried out

    def put(self, text, length, first=0):
        """Take `length` bytes of a text for a line, LONGEST at most; returns its number, -1 where no line is left.

        It is sent at the next tick, or by send().
        """
        if self.made - self.acked >= LINES:
            return -1  # those that wait are still wanted
        self.made += 1
        slot = self.made % LINES
        line = self._lines[slot]
        line[0] = 78  # N
        at = 1
        left = 1
        number = self.made
        while number // left >= 10:
            left *= 10
        while left:
            line[at] = 48 + number // left % 10
            left //= 10
            at += 1
        line[at] = 32
        at += 1
        for k in range(length):
            line[at] = text[first + k]
            at += 1
        check = 0
        for k in range(at):
            check ^= line[k]
        line[at] = 42  # *
        at += 1
        left = 100 if check > 99 else 10 if check > 9 else 1
        while left:
            line[at] = 48 + check // left % 10
            left //= 10
            at += 1
        line[at] = 10
        self._sizes[slot] = at + 1
        return self.made

    def raw(self, text):
        """Send bytes at once, past all that waits."""
        self._uart.write(text)

    def send(self, now_ms, window):
        """Send what was put, as far as the window goes."""
        while self._out < self.made and self._out - self.acked < window:
            if self._out == self.acked:
                self._since = now_ms
            self._out += 1
            slot = self._out % LINES
            self._uart.write(self._views[slot][: self._sizes[slot]])

    def tick(self, now_ms):
        """Take in what has come, and send what is due."""
        self._now = now_ms
        uart = self._uart
        for _ in range(8):
            if not uart.any():
                break
            count = uart.readinto(self._came)
            if not count:
                break
            self._take(count)
        if self._hold_off:
            self._hold_off -= 1
            return
        self._swallow = False
        if self._out > self.acked and ticks_diff(now_ms, self._since) >= RETRY_MS:
            self._tries += 1
            if self._tries >= TRIES:
                self.silent = True
            self._out = self.acked  # its ok may have been lost: the board will say what it has
            self.raw(b"\n")
        self.send(now_ms, self.window)

    # ---- in

    def _take(self, count):
        line = self._line
        for k in range(count):
            byte = self._came[k]
            if byte == 10 or byte == 13:
                if self._length:
                    self._judge()
                self._length = 0
            elif self._length < _LINE:
                line[self._length] = byte
                self._length += 1

    def _begins(self, text):
        line = self._line
        if len(text) > self._length:
            return False
        for k in range(len(text)):
            if line[k] != text[k]:
                return False
        return True

    def _find(self, text, start=0):
        return self._line.find(text, start, self._length)

    def _judge(self):
        """Make something of one line."""
        resend = self._begins(b"Resend:") or self._begins(b"rs ")
        if self._suspect and not resend and not self._begins(b"ok"):
            self.failed = True  # no line error, for that would be followed by what to send again
        self._suspect = self._suspect and not resend and self._begins(b"ok")
        if resend:
            self._resend(7 if self._line[0] == 82 else 3)
        elif self._begins(b"ok"):
            self._ok()
        elif self._begins(b"echo:busy") or self._begins(b"busy:"):
            self._since = self._now
            self._tries = 0
        elif self._begins(b"Error:") or self._begins(b"!!"):
            self._error()
        elif self._begins(b"start"):
            self.started = True
        elif self._begins(b"X:"):
            self._where()
        elif self._begins(b"Cap:"):
            if self._begins(b"Cap:EMERGENCY_PARSER:"):
                self.quick = self._line[self._length - 1] == 49
            elif self._begins(b"Cap:AUTOREPORT_TEMP:"):
                self.reports = self._line[self._length - 1] == 49
        elif self._begins(b"echo:Unknown command") or (self._begins(b"echo:") and self._find(b"xtrusion prevented") > 0):
            self.failed = True
        elif self._begins(b"T:") or self._begins(b" T:"):
            self._heat()

    def _error(self):
        if self._find(b"halted") > 0 or self._find(b"kill") > 0 or self._line[0] == 33:
            self.killed = True
        elif self._find(b"ecksum") < 0 and self._find(b"Last Line") < 0:
            self._suspect = True

    def _ok(self):
        if self._find(b"T:") > 0:
            self._heat()
        if self._swallow:
            self._swallow = False
            return
        self._since = self._now
        self._tries = 0
        if self._length > 4 and self._line[3] == 78:  # ADVANCED_OK: N, P and B
            self.window = WINDOW  # its oks tell which line they mean
            number = self._number(4, 0)
            if self.acked < number <= self._out:
                self.acked = number
            at = self._find(b" P")
            if at > 0:
                self.room = self._number(at + 2, 0)
                if self.room > self.most:
                    self.most = self.room
        elif self.acked < self._out:
            self.acked += 1

    def _resend(self, at):
        number = self._number(at, 0)
        self.resent = self.resent + 1 & 0xFFFF
        if number < 0 or number > self._out + 1 or number <= self.made - LINES or self._stop == at:
            self.astray = True  # spoilt, or about an earlier conversation; where it is neither, no ok will come any more
            return
        self.acked = self._out = number - 1
        self._since = self._now
        self._hold_off = _HOLD_OFF
        self._swallow = True

    def _heat(self):
        """T:201.5 /210.0 B:60.0 /60.0 @:127 B@:0."""
        at = self._find(b"T:")
        for k in range(2):
            if at >= 0:
                value = self._number(at + 2, 1)
                if self._stop > at + 2:
                    self.temperatures[k] = value
                    slash = self._find(b"/", self._stop)
                    if 0 <= slash <= self._stop + 1:
                        self.targets[k] = self._number(slash + 1, 1)
            at = self._find(b"B:")
        self.fresh = self.fresh + 1 & 0xFFFF

    def _where(self):
        """X:10.00 Y:20.00 Z:0.30 E:5.00 Count X:800 Y:1600 Z:120."""
        for k in range(4):
            at = self._find(_AXES[k])
            if at >= 0:
                self.position[k] = self._number(at + 2, 3)

    def _number(self, at, digits):
        """A decimal number at a place of the line, times ten to the power of `digits`; cut off, never rounded."""
        line = self._line
        end = self._length
        while at < end and line[at] == 32:
            at += 1
        minus = at < end and line[at] == 45
        if minus:
            at += 1
        value = 0
        after = -1
        while at < end:
            byte = line[at]
            if byte == 46 and after < 0:
                after = 0
            elif 48 <= byte <= 57:
                if after < digits and value < 100000000:
                    value = value * 10 + byte - 48
                    if after >= 0:
                        after += 1
            else:
                break
            at += 1
        self._stop = at
        after = max(after, 0)
        while after < digits:
            value *= 10
            after += 1
        return -value if minus else value
