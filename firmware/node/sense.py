"""An accelerometer's bursts, reduced on the node to what tells how a machine ages.

The sensor is an ADXL345 on I²C (Analog Devices, ADXL345 data sheet, rev. G: register map, "FIFO", "Using I2C": 800
samples/s are the most at 400 kHz). Its FIFO holds 32 samples, 40 ms of them; each tick takes what has come since the
last one, about 8. A sample is one transaction of 9 bytes, 0.2 ms. A burst is BURST samples; the next slow() reduces it.

Of each burst: the mean removed (gravity lies in it), RMS, peak, crest factor, and what of the RMS lies in each band. The bands
are reckoned under a Hann window. A fan's tone never falls on a whole number of periods, and without a window its energy
leaks into every band, falling with the square of the distance only: 0.2 % of it is as much as a worn bearing. The window's
own loss, 3/8 of the energy, is put back. RMS, peak and crest factor are taken without it.
"""

from array import array
from math import ceil, sqrt

import micropython
from micropython import const

from node import fft, pins

RATE = 800  # samples/s
BURST = 256  # samples: bands to 3.1 Hz, 0.32 s
GRAVITY = 9.80665
PER_G = 256  # counts, in full resolution
BAD = 0xFFFF
QUIET = 0.25  # m/s², about twice the sensor's own noise at this rate: the crest factor of less says nothing

_ADDRESS = const(0x53)
_DEVICE = const(0xE5)
_DEVID, _BW_RATE, _POWER_CTL = const(0x00), const(0x2C), const(0x2D)
_DATA_FORMAT, _DATAX0, _FIFO_CTL, _FIFO_STATUS = const(0x31), const(0x32), const(0x38), const(0x39)
# Standby, 800 Hz, full resolution of ±16 g, FIFO emptied and then as a stream, measure.
_SET_UP = ((_POWER_CTL, b"\x00"), (_BW_RATE, b"\x0d"), (_DATA_FORMAT, b"\x0b"), (_FIFO_CTL, b"\x00"), (_FIFO_CTL, b"\x80"))
_MEASURE = b"\x08"
_FIFO = const(32)
_SLICE = const(10)  # samples a tick: 2 ms
_WAKING = const(8)  # samples that are thrown away: it wakes up
_SILENT = const(5)  # ticks without a sample: 40 are due
_LIMIT = const(4080)  # counts: from here on it may have been more
_TRIES = const(3)
_MOST_SHIFT = const(8)
_RETRY_MS = const(1000)


@micropython.viper
def _survey(x: ptr16, n: int, ends: ptr16) -> int:  # noqa: F821
    """Sum of the samples; the least and the largest go to `ends`."""
    least = 0x7FFF
    most = -0x8000
    total = 0
    for i in range(n):
        value = (int(x[i]) ^ 0x8000) - 0x8000
        total += value
        if value < least:
            least = value
        if value > most:
            most = value
    ends[0] = least
    ends[1] = most
    return total


@micropython.viper
def _centre(x: ptr16, n: int, shift: int, mean: int) -> int:  # noqa: F821
    """Take `mean` from the samples times 2^shift; returns the largest that is left."""
    peak = 0
    for i in range(n):
        value = (((int(x[i]) ^ 0x8000) - 0x8000) << shift) - mean
        x[i] = value
        if value < 0:
            value = 0 - value
        if value > peak:
            peak = value
    return peak


@micropython.viper
def _mean_square(x: ptr16, n: int, bits: int) -> int:  # noqa: F821
    """Of n = 2^bits samples within ±2^14."""
    total = 0
    for i in range(n):
        value = (int(x[i]) ^ 0x8000) - 0x8000
        total += value * value >> bits
    return total


class Accelerometer:
    """A block: bursts in, registers out. Without a burst that can be believed they all read 65535, and `failed` is set."""

    KEYS = ("sda_pin", "scl_pin", "axis", "every_ms", "bands", "at", "bursts", "failed")

    def __init__(self, config, bank, effective):
        self._bus = pins.i2c(config["scl_pin"], config["sda_pin"])
        self._bank = bank
        self._axis = 2 * config["axis"]
        self._every_ms = config["every_ms"]
        self._at = config["at"]  # RMS, peak, crest factor, then the bands
        (self._bursts_at,) = config["bursts"]
        self._failed, self._failed_bit = config["failed"]
        self._bins = [max(1, min(BURST // 2, ceil(edge * BURST / RATE))) for edge in config["bands"]]
        self._samples = array("h", bytes(2 * BURST))
        self._sine = fft.sines(BURST)
        self._ends = array("h", bytes(4))
        self._one = bytearray(1)
        self._six = bytearray(6)
        self._filling = False
        self._full = False
        self._filled = self._skip = self._silent = self._tries = self._bursts = 0
        self._wait_ms = 0
        self._fail()
        self._wait_ms = 0

    def read(self):
        """Take what the FIFO holds, at most ten samples."""
        if self._filling:
            try:
                self._take()
            except OSError:
                self._fail()

    def slow(self, ms):
        """Reduce a burst that is whole, or begin one when it is time."""
        if self._full:
            self._full = False
            self._reduce()
        self._wait_ms -= ms
        if self._wait_ms > 0 or self._filling:
            return
        self._wait_ms = self._every_ms
        self._tries = 0
        try:
            self._bus.readfrom_mem_into(_ADDRESS, _DEVID, self._one)
            if self._one[0] == _DEVICE:
                self._begin()
            else:
                self._fail()
        except OSError:
            self._fail()

    def _begin(self):
        for register, value in _SET_UP:
            self._bus.writeto_mem(_ADDRESS, register, value)
        self._bus.writeto_mem(_ADDRESS, _POWER_CTL, _MEASURE)
        self._filled = self._silent = 0
        self._skip = _WAKING
        self._filling = True

    def _take(self):
        bus = self._bus
        bus.readfrom_mem_into(_ADDRESS, _FIFO_STATUS, self._one)
        ready = self._one[0] & 0x3F
        if ready >= _FIFO:  # samples are lost, and a burst must have no gap
            self._again()
            return
        if ready == 0:
            self._silent += 1
            if self._silent > _SILENT:
                self._fail()
            return
        self._silent = 0
        six = self._six
        axis = self._axis
        for _ in range(ready if ready < _SLICE else _SLICE):
            bus.readfrom_mem_into(_ADDRESS, _DATAX0, six)
            if self._skip:
                self._skip -= 1
                continue
            value = six[axis] | six[axis + 1] << 8
            self._samples[self._filled] = (value ^ 0x8000) - 0x8000
            self._filled += 1
            if self._filled == BURST:
                self._filling = False
                self._full = True
                return

    def _again(self):
        self._tries += 1
        if self._tries < _TRIES:
            self._begin()
        else:
            self._fail()

    def _fail(self):
        self._filling = False
        self._wait_ms = min(self._every_ms, _RETRY_MS)
        for at in self._at:
            self._bank.put16(at, BAD)
        self._bank.put_bit(self._failed, self._failed_bit, 1)

    def _reduce(self):
        x = self._samples
        total = _survey(x, BURST, self._ends)  # pyright: ignore[reportArgumentType]
        least, most = self._ends
        if least == most or most >= _LIMIT or least <= -_LIMIT:  # stuck: its noise alone is several counts; or beyond its range
            self._fail()
            return
        shift = 0
        while shift < _MOST_SHIFT and (most - least) << (shift + 1) <= fft.ONE:
            shift += 1
        peak = _centre(x, BURST, shift, (total << shift) // BURST)  # pyright: ignore[reportArgumentType]
        unit = GRAVITY / (PER_G << shift)
        rms = sqrt(_mean_square(x, BURST, 8)) * unit  # pyright: ignore[reportArgumentType]
        self._show(0, rms)
        self._show(1, peak * unit)
        self._show(2, peak * unit / rms if rms >= QUIET else 0.0)
        fft.window(x, self._sine, BURST)  # pyright: ignore[reportArgumentType]
        fft.transform(x, self._sine, BURST)  # pyright: ignore[reportArgumentType]
        for k in range(len(self._bins) - 1):
            # Twice: the negative frequencies; 8/3: the window's own loss.
            found = fft.energy(x, self._bins[k], self._bins[k + 1])  # pyright: ignore[reportArgumentType]
            self._show(3 + k, sqrt(found * 16 / 3) * unit)
        self._bursts = self._bursts + 1 & 0xFFFF
        self._bank.put16(self._bursts_at, self._bursts)
        self._bank.put_bit(self._failed, self._failed_bit, 0)

    def _show(self, k, value):
        """In hundredths."""
        self._bank.put16(self._at[k], min(int(value * 100.0 + 0.5), BAD - 1))
