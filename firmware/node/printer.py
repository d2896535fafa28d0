"""A Marlin board as a node has it: found, greeted, watched, made safe. What it is to print is node.marlin's."""

from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from node import pins
from node.talk import Talk

POLL_MS = const(500)
ATTEMPT_MS = const(1000)  # between two attempts to find the board
STOPPED_MS = const(2000)  # within which a stop must have been taken, or the board is halted
LOST, REFUSED = const(1), const(2)
_SILENT, _GREETING, _READY, _KILLED = 0, 1, 2, 3
_SAFE = (b"M104 S0", b"M140 S0", b"M107", b"M115")  # how every conversation begins


class Printer:
    """The board.

    Attributes:
        talk: the conversation with it.
        found: it answers. ready: it has been made safe as well, and does what it is told. killed: it has halted, and has not
            been heard to be well since.
        must_stop: a stop has been sent that has to be taken soon.
    """

    def __init__(self, config, bank):
        self._config = config
        self._bank = bank
        self.talk = Talk(pins.uart(config["uart"], config["tx_pin"], config["rx_pin"], config["baud"]))
        self._link = _SILENT
        self.found = self.killed = self.must_stop = False
        self._asked_ms = ticks_add(ticks_ms(), -ATTEMPT_MS)
        self._stopped_ms = 0
        self._polled_ms = ticks_ms()
        self._turn = False

    @property
    def ready(self):
        """See above."""
        return self._link == _READY

    def say(self, text):
        """Put a line; returns its number."""
        return self.talk.put(text, len(text))

    def attend(self, now_ms):
        """Listen: find it, greet it, notice what has become of it. Returns 0, LOST, or REFUSED."""
        talk = self.talk
        talk.tick(now_ms)
        astray = talk.astray
        talk.astray = False
        if talk.killed:
            talk.killed = False
            return self._lose(_KILLED)
        if talk.started:
            talk.started = False
            return self._lose(_SILENT)
        if talk.silent:
            talk.silent = False
            return self._lose(_SILENT)
        if self._link == _GREETING:
            return self._greeting(now_ms, astray)
        if self._link != _READY and ticks_diff(now_ms, self._asked_ms) >= ATTEMPT_MS:
            self._asked_ms = now_ms
            self._greet()
        elif talk.failed:
            talk.failed = False
            return REFUSED
        return 0

    def _greeting(self, now_ms, astray):
        talk = self.talk
        if talk.acked >= len(_SAFE):
            self._link = _READY
            self.found = True
            self.killed = False
            self._polled_ms = now_ms
            self.must_stop = talk.failed = False
            if talk.reports:
                self.say(b"M155 S1")
        elif self.must_stop and ticks_diff(now_ms, self._stopped_ms) >= STOPPED_MS:
            self.halt()  # nothing may go on, and nobody says that it does not
            return LOST
        elif astray:
            self._greet()  # it has not heard that counting begins anew
        return 0

    def _greet(self):
        talk = self.talk
        talk.raw(b"\n")
        talk.begin()
        for text in _SAFE:
            talk.put(text, len(text))
        self._link = _GREETING

    def _lose(self, link):
        self._link = link
        self.found = False
        self._asked_ms = ticks_ms()  # never one of long ago: ticks tell no more than some days apart
        if link != _KILLED:
            self._asked_ms = ticks_add(self._asked_ms, -ATTEMPT_MS)
        else:
            self.killed = True
            self._bank.put_bit(self._config["killed"][0], self._config["killed"][1], 1)
        return LOST

    def quiet(self, stops):
        """All that makes it safe, at once, and counted from anew; `stops`: its axes too."""
        self._stopped_ms = ticks_ms()
        self.must_stop = False
        if stops:
            self.talk.raw(b"\nM410\n")
        self._greet()
        self.talk.send(self._stopped_ms, len(_SAFE) + 1)

    def halt(self):
        """Its own emergency stop: it does nothing more until it is reset."""
        if self._link == _KILLED:
            return
        self.talk.raw(b"\nM112\n")
        self.must_stop = False
        self._lose(_KILLED)

    def rest(self):
        """The last words of a node that ends."""
        self.talk.raw(b"\nM410\nM104 S0\nM140 S0\nM107\n")

    def poll(self, now_ms):
        """Ask for temperatures and position, by turns, where nothing else is to be said."""
        if self._link != _READY or not self.talk.free or ticks_diff(now_ms, self._polled_ms) < POLL_MS:
            return
        self._polled_ms = now_ms
        self._turn = not self._turn
        if self._turn:
            self.say(b"M114")
        elif not self.talk.reports:
            self.say(b"M105")

    def show(self):
        """What it says of itself, to the Status."""
        bank = self._bank
        config = self._config
        talk = self.talk
        for k in range(4):
            bank.put32(config["axes"][k][0], talk.position[k] & 0xFFFFFFFF)
        for k in range(2):
            bank.put16(config["temperatures"][k][0], talk.temperatures[k])
            bank.put16(config["targets"][k][0], talk.targets[k])
        bank.put16(config["resent"][0], talk.resent)
        bank.put_bit(config["connected"][0], config["connected"][1], self.found)
        bank.put_bit(config["quick"][0], config["quick"][1], talk.quick)
        if self.found:
            bank.put_bit(config["killed"][0], config["killed"][1], 0)


def after_s(buffer, at, end):
    """Tenths of what stands behind the S of a line; 0 where there is none."""
    while at < end and buffer[at] != 83:
        at += 1
    value = 0
    after = -1
    for k in range(at + 1, end):
        byte = buffer[k]
        if byte == 46:
            after = 0
        elif 48 <= byte <= 57 and after < 1:
            value = value * 10 + byte - 48
            if after >= 0:
                after += 1
    return value if after == 1 else value * 10
