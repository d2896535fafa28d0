"""`machine.UART` for the VM: on a tty, in factory time."""

import select
import termios

import vm_link


class UART:
    """A serial port on a tty: the file `uart<id>` in the node's folder, where the rig has put one; else nothing is wired to it.

    read() and readinto() give what is there, waiting up to `timeout` ms for more, or None. write() takes what has room and
    waits for the rest; what it took leaves one character after the other, at `baudrate`, and each burst is told to the rig.
    """

    FIFO = 128  # of the hardware, beside either buffer

    def __init__(self, id, baudrate=115200, **settings):
        self.id = id
        self._tty = None
        self._start = self._count = 0
        self._end = 0  # when what was written will have left
        self._settings = {"bits": 8, "parity": None, "stop": 1, "rxbuf": 256, "txbuf": 256, "timeout": 0, "timeout_char": 0}
        self.init(baudrate, **settings)

    def init(self, baudrate=115200, *, tx=None, rx=None, **settings):
        for name in settings:
            if name not in self._settings:
                raise TypeError("unexpected keyword argument '%s'" % name)
        self._settings.update(settings)
        known = self._settings
        self.baudrate = baudrate
        character = 1 + known["bits"] + (known["parity"] is not None) + known["stop"]
        self._character_ns = character * 1_000_000_000 // baudrate
        self._timeout_us = known["timeout"] * 1000
        self._room = known["txbuf"] + self.FIFO
        self._ring = bytearray(known["rxbuf"] + self.FIFO)
        self._view = memoryview(self._ring)
        self._start = self._count = 0
        self._open()

    def _open(self):
        if self._tty is not None:
            return
        try:
            self._tty = open("uart%d" % self.id, "r+b")
        except OSError:
            return
        mode = termios.tcgetattr(self._tty.fileno())
        mode[0] = mode[1] = mode[3] = 0  # nothing is made of any character
        mode[6][5] = mode[6][6] = 0  # and a read does not wait
        termios.tcsetattr(self._tty.fileno(), termios.TCSANOW, mode)
        self._poll = select.readable(self._tty)  # pyright: ignore[reportAttributeAccessIssue]  (the stand-in's)

    def _fill(self):
        """Take in what has come; what has no room is lost."""
        tty = self._tty
        if tty is None:
            return
        ring = self._view
        size = len(ring)
        while True:
            for _ in self._poll.ipoll(0):
                break
            else:
                return
            if self._start and self._start + self._count == size:
                ring[: self._count] = bytes(ring[self._start :])
                self._start = 0
            end = self._start + self._count
            try:
                if end == size:
                    if not tty.read(size):
                        return
                    continue
                got = tty.readinto(ring[end:])
            except OSError:
                got = 0
            if not got:
                return
            self._count += got

    def any(self):
        self._fill()
        return self._count

    def _take(self, view):
        count = min(len(view), self._count)
        view[:count] = self._view[self._start : self._start + count]
        self._count -= count
        self._start = self._start + count if self._count else 0
        return count

    def _wait(self, wanted):
        end = vm_link.now + self._timeout_us
        while self.any() < wanted and vm_link.now < end:
            vm_link.wait_until(end)

    def read(self, nbytes=-1):
        self._wait(nbytes if nbytes >= 0 else 1)
        if not self._count:
            return None
        data = bytearray(self._count if nbytes < 0 else min(nbytes, self._count))
        self._take(memoryview(data))
        return bytes(data)

    def readinto(self, buf, nbytes=-1):
        view = memoryview(buf)
        if nbytes >= 0:
            view = view[:nbytes]
        self._wait(len(view))
        return self._take(view) if self._count else None

    def readline(self):
        self._wait(1)
        if not self._count:
            return None
        held = bytes(self._view[self._start : self._start + self._count])
        return self.read(held.find(b"\n") + 1 or len(held))

    def write(self, buf):
        view = memoryview(buf)
        sent = 0
        while sent < len(view):
            waiting = (max(0, self._end - vm_link.now) * 1000 + self._character_ns - 1) // self._character_ns
            room = self._room - waiting
            if room <= 0:
                vm_link.wait_until(vm_link.now + self._character_ns * (1 - room) // 1000 + 1)
                continue
            part = view[sent : sent + room]
            self._send(part)
            sent += len(part)
        return sent

    def _send(self, part):
        start = max(self._end, vm_link.now)
        self._end = start + (len(part) * self._character_ns + 999) // 1000
        if self._tty is None:
            return
        try:
            self._tty.write(part)
        except OSError:
            return
        vm_link.sent(self.id, len(part), self._end)

    def txdone(self):
        return vm_link.now >= self._end

    def flush(self):
        while not self.txdone():
            vm_link.wait_until(self._end)

    def deinit(self):
        if self._tty is not None:
            self._tty.close()
            self._tty = None
