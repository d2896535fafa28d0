"""`machine` for the VM: pins whose levels come from the rig and go to it, with the manners of the ESP32 port."""

import os
import sys

import micropython
import vm_link

_path = sys.path
sys.path = ()
try:
    from machine import idle, mem8, mem16, mem32
finally:
    sys.path = _path

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5


class Pin:
    """A GPIO. Inputs read what the rig last said, 0 before it said anything."""

    IN, OUT, OPEN_DRAIN = 1, 3, 7
    PULL_DOWN, PULL_UP = 1, 2
    IRQ_RISING, IRQ_FALLING = 1, 2

    def __init__(self, id, mode=-1, pull=-1, *, value=None):
        self.id = id
        self._level = 0
        self._mode = mode
        if mode == Pin.OUT:
            vm_link.output(vm_link.LEVEL, id, value or 0)
            self._level = value or 0

    @micropython.native
    def value(self, level=None):
        if level is None:
            if vm_link.failing_reads and self._mode == Pin.IN:
                import vm_faults

                vm_faults.failed_read()
            return vm_link.inputs.get(self.id, 0) if self._mode == Pin.IN else self._level
        level = 1 if level else 0
        if level != self._level:
            self._level = level
            vm_link.output(vm_link.LEVEL, self.id, level)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def irq(self, handler=None, trigger=3):
        if handler is None:
            vm_link.watchers.pop(self.id, None)
            return

        def changed(value):
            if trigger & (Pin.IRQ_RISING if value else Pin.IRQ_FALLING):
                handler(self)

        vm_link.watchers[self.id] = changed


class PWM:
    """A duty on a pin; the rig sees the duty, not the edges."""

    def __init__(self, pin, *, freq=1000, duty_u16=0):
        self._pin = pin.id
        self._duty = -1
        self._freq = freq
        self.duty_u16(duty_u16)

    def freq(self, hz=None):
        if hz is None:
            return self._freq
        self._freq = hz

    def duty_u16(self, duty=None):
        if duty is None:
            return self._duty
        if duty != self._duty:
            self._duty = duty
            vm_link.output(vm_link.DUTY, self._pin, duty)

    def deinit(self):
        self.duty_u16(0)


class ADC:
    """A voltage on a pin as the rig last gave it, 16 bits for full scale."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3

    def __init__(self, pin, *, atten=3):
        self._pin = pin.id

    def read_u16(self):
        return vm_link.inputs.get(self._pin, 0)


class I2S:
    """Transmission through a DMA ring of `ibuf` bytes.

    write() blocks until all has been taken, but in the stream mode, which the first poll switches on: there it takes what
    has room. A ring that runs dry plays zeros; what comes later starts when it comes. deinit() stops the clock at once
    and drops the ring.
    """

    RX, TX = 0, 1
    MONO, STEREO = 0, 1

    def __init__(self, id, *, sck, ws, sd, mode, bits, format, rate, ibuf):
        if mode != I2S.TX or bits != 16 or format != I2S.STEREO:
            raise ValueError("the rig plays 16-bit stereo transmission only")
        self._pin = sd.id
        self._frame_us = 1_000_000 // rate
        self._frames = ibuf // 1024 * 256
        self._end = 0
        self._stream_mode = False

    def asked(self):
        """The port's ioctl: from now on write() does not wait. Whether there is room."""
        self._stream_mode = True
        return self._room() > 0

    def _room(self):
        ahead = self._end - vm_link.now
        return self._frames - (ahead // self._frame_us if ahead > 0 else 0)

    def write(self, data):
        view = memoryview(data)
        taken = self._take(view)
        while taken < len(data) and not self._stream_mode:
            vm_link.wait_until(vm_link.now + 256 * self._frame_us)
            taken += self._take(view[taken:])
        return taken

    def _take(self, data):
        frame_us = self._frame_us
        now = vm_link.now
        if self._end < now:
            self._end = (now + frame_us - 1) // frame_us * frame_us
            vm_link.grant = 0  # the rig must know of the first frames before they are played out
        frames = min(len(data) // 4, self._room())
        if frames <= 0:
            return 0
        end = self._end + frames * frame_us
        vm_link.frames(self._pin, data if frames * 4 == len(data) else data[: frames * 4], self._end, end)
        self._end = end
        vm_link.now += frames * 4 * vm_link.byte_ns // 1000
        return frames * 4

    def deinit(self):
        vm_link.output(vm_link.CUT, self._pin, 0)
        self._end = 0


class WDT:
    """A watchdog that the rig watches: it resets the node when it is not fed in time."""

    def __init__(self, id=0, timeout=5000):
        self._timeout = timeout
        self.feed()

    def feed(self):
        vm_link.send(vm_link.FED, 0, min(self._timeout, 65535))


def unique_id():
    return b"\x00\x00\x00\x00\x00\x01"


def reset_cause():
    return int(os.getenv("LOCKSTEP_RESET") or PWRON_RESET)


def freq():
    return 240_000_000


def reset():
    sys.exit(0)


def __getattr__(name):
    """What only some nodes use is loaded when it is asked for: its memory is a board's."""
    if name == "UART":
        from vm_uart import UART

        return UART
    if name == "I2C":
        from vm_accelerometer import I2C

        return I2C
    raise AttributeError(name)
