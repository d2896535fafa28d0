"""The only file that touches the board: everything else asks here for pins."""

from select import POLLOUT, poll
from time import ticks_add, ticks_diff, ticks_us

import micropython
from machine import ADC, I2S, PWM, WDT, Pin, reset, reset_cause, unique_id  # noqa: F401

FRAME_US = 10
STREAM_FRAMES = 4096  # of DMA: 16 descriptors of 256 frames, 40.96 ms


def input(number):
    """A digital input."""
    return Pin(number, Pin.IN)


def output(number):
    """A digital output, low from the start."""
    return Pin(number, Pin.OUT, value=0)


def pwm(number, freq=1000):
    """A duty, zero from the start."""
    return PWM(Pin(number, Pin.OUT, value=0), freq=freq, duty_u16=0)


def adc(number):
    """A voltage, 65535 for full scale."""
    return ADC(Pin(number), atten=ADC.ATTN_11DB)


def i2c(scl, sda):
    """The I²C bus at 400 kHz. A device that holds it up is given up after 2 ms, with an OSError."""
    from machine import I2C

    return I2C(0, scl=Pin(scl), sda=Pin(sda), freq=400_000, timeout=2000)


def uart(number, tx, rx, baud, room=512, parity=None, stop=1):
    """A serial port of eight bits; parity: None, 0 (even) or 1 (odd). `room` bytes either way are kept for it."""
    from machine import UART

    ends = {"tx": Pin(tx), "rx": Pin(rx), "rxbuf": room, "txbuf": room}
    return UART(number, baudrate=baud, parity=parity, stop=stop, timeout=0, **ends)


def watchdog(timeout_ms):
    """The hardware watchdog."""
    return WDT(timeout=timeout_ms)


def irq(number, function):
    """Call `function(pin)` when the input changes."""
    pin = input(number)
    pin.irq(function, Pin.IRQ_RISING | Pin.IRQ_FALLING)
    return pin


class Stream:
    """A train of 32-bit words, one each FRAME_US, shifted into 74HC595 registers by the I2S transmitter.

    The DMA plays on its own and takes words as long as it has room. How much it still has to play is reckoned from the clock
    and put right each time it is full, so that the two clocks cannot drift apart.
    """

    def __init__(self, clock, latch, data):
        self._pins = (Pin(clock), Pin(latch), Pin(data))
        self._i2s = None
        self._end = ticks_us()
        self.halted = False

    def ahead_us(self):
        """Time until what was written has been played."""
        now = ticks_us()
        ahead = ticks_diff(self._end, now)
        if ahead > 0:
            return ahead
        self._end = now  # ticks wrap: an end that stays behind lies ahead again nine minutes later
        return 0

    @micropython.native
    def write(self, words):
        """Queue words, a bytes-like of 4 bytes each; returns how many were taken, fewer than given when the DMA is full."""
        if self.halted:
            return len(words) // 4  # dropped: the tick that writes them has not heard of the halt yet
        if self._i2s is None:
            self._start()
        now = ticks_us()
        if ticks_diff(self._end, now) < 0:
            self._end = now
        taken = self._i2s.write(words) or 0
        if taken < len(words):
            self._end = ticks_add(now, STREAM_FRAMES * FRAME_US)
        else:
            self._end = ticks_add(self._end, taken // 4 * FRAME_US)
        return taken // 4

    def _start(self):
        sck, ws, sd = self._pins
        self._i2s = I2S(
            0,
            sck=sck,
            ws=ws,
            sd=sd,
            mode=I2S.TX,
            bits=16,
            format=I2S.STEREO,
            rate=1000000 // FRAME_US,
            ibuf=STREAM_FRAMES * 4,
        )
        # Asked once whether it can be written to, the driver goes over to its stream mode, in which write() never waits.
        asked = poll()
        asked.register(self._i2s, POLLOUT)
        asked.poll(0)

    def halt(self):
        """Stop at once; nothing is played until the next cut(). For interrupts: it leaves all bookkeeping alone."""
        self.halted = True
        if self._i2s is not None:
            self._i2s.deinit()

    def cut(self):
        """Stop at once and drop what has not been played."""
        self.halted = False
        if self._i2s is not None:
            self._i2s.deinit()
            self._i2s = None
        self._end = ticks_us()
