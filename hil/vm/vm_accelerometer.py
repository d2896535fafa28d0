"""An ADXL345 on the I²C bus of the VM: its registers and FIFO, on the clock that the rig grants.

What the sensor feels the rig says with the values of its two pins:

SCL: turns of the shaft in 0.01 Hz; from SHAKEN on a state instead: it is shaken beyond its range, its samples are all the same, it
gives none, it does not answer.
SDA: low byte: amplitude of the shaft's own tone, in 10 mg; high byte: of the bearing's, in 2 mg.

A sample is gravity along Z; the shaft's tone; the bearing's tone (3.05 times a turn, and its harmonics below half the
rate), which swells once a turn, where the load is; and noise, from a generator of its own. X and Z feel the same, Y a quarter.
Not modelled: resonances, the filter's edge at half the rate, the tolerances of the sensor's clock and scale, and of a change of
speed within a burst all but the tone's pitch.
"""

from array import array
from math import pi, sin

import micropython
import vm_link

ADDRESS = 0x53
MISSING, DEAD, STUCK, SHAKEN = 0xFFFF, 0xFFFE, 0xFFFD, 0xFFFC
_ENODEV = 19
_FIFO = 32
_GRAVITY = 256
_LIMIT = 4096
_RATES = {0x0A: 10_000, 0x0B: 5_000, 0x0C: 2_500, 0x0D: 1_250}  # µs a sample; above 800 Hz the bus is too slow
_TABLE = 1024
_SINE = array("h", [round(16384 * sin(2 * pi * k / _TABLE)) for k in range(_TABLE)])


class Accelerometer:
    """The sensor. What it feels lies at the pins `scl` and `sda`."""

    def __init__(self, scl, sda):
        self._scl, self._sda = scl, sda
        self._registers = bytearray(64)
        self._registers[0] = 0xE5
        self._registers[0x2C] = 0x0A
        self._since = 0
        self._taken = 0
        self._shaft = self._bearing = 0
        self._noise = 12345 + scl

    def write(self, at, values):
        """Registers from `at` on.

        Raises:
            OSError: it is not there.
        """
        if vm_link.inputs.get(self._scl, 0) == MISSING:
            raise OSError(_ENODEV)
        for k in range(len(values)):
            self._registers[at + k] = values[k]
        if at <= 0x2D < at + len(values) or at <= 0x38 < at + len(values):
            self._since = vm_link.now
            self._taken = 0

    def read(self, at, buffer):
        """Registers from `at` on; reading the six of a sample takes it out of the FIFO.

        Raises:
            OSError: it is not there.
        """
        if vm_link.inputs.get(self._scl, 0) == MISSING:
            raise OSError(_ENODEV)
        if at == 0x32:
            self._sample()
        elif at == 0x39:
            self._registers[0x39] = self._waiting()
        for k in range(len(buffer)):
            buffer[k] = self._registers[at + k]

    def _waiting(self):
        """Samples in the FIFO, which as a stream loses the oldest."""
        registers = self._registers
        if not registers[0x2D] & 8 or not registers[0x38] & 0x80 or vm_link.inputs.get(self._scl, 0) == DEAD:
            return 0
        waiting = (vm_link.now - self._since) // _RATES[registers[0x2C] & 15] - self._taken
        if waiting > _FIFO:
            self._taken += waiting - _FIFO
            return _FIFO
        return waiting

    @micropython.native
    def _sample(self):
        if not self._waiting():
            return
        self._taken += 1
        turns, felt = vm_link.inputs.get(self._scl, 0), vm_link.inputs.get(self._sda, 0)
        if turns == STUCK:
            return
        sine = _SINE
        period = _RATES[self._registers[0x2C] & 15]
        shake = 0
        if turns == SHAKEN:
            shake = _LIMIT if self._taken & 1 else -_LIMIT
        elif turns:
            self._shaft = (self._shaft + turns * period * 1048576 // 100_000_000) & 0xFFFFF
            self._bearing = (self._bearing + turns * 305 * period * 1048576 // 10_000_000_000) & 0xFFFFF
            shaft = self._shaft >> 10
            tone = (felt & 255) * sine[shaft] * 256 // 100
            high = felt >> 8
            if high:
                swell = 16384 + sine[(shaft + 256) & 1023]
                ring = 0
                k = 1
                while k < 4 and (k * 305 + 100) * turns // 10_000 * period < 500_000:
                    ring += sine[((self._bearing >> 10) * k + 256) & 1023]
                    k += 1
                tone += high * (ring * swell >> 14) * 512 // 1000
            shake = tone >> 14
        self._noise = (self._noise * 1103515245 + 12345) & 0x7FFFFFFF
        noise = ((self._noise >> 16) % 7) + ((self._noise >> 24) % 7) - 6
        self._put(0x32, shake + noise)
        self._put(0x34, (shake >> 2) + noise)
        self._put(0x36, shake + noise + _GRAVITY)

    def _put(self, at, value):
        value = min(max(value, -_LIMIT), _LIMIT - 1)
        self._registers[at] = value & 0xFF
        self._registers[at + 1] = value >> 8 & 0xFF


class I2C:
    """A bus with an accelerometer on it. Where work is charged for, so is the bus's own time, in which the port waits."""

    def __init__(self, id, *, scl, sda, freq=400_000, timeout=50_000):
        self._device = Accelerometer(scl.id, sda.id)
        self._freq = freq

    def _turn(self, address, size):
        if address != ADDRESS:
            raise OSError(_ENODEV)
        if vm_link.byte_ns:
            vm_link.now += (size + 3) * 9_000_000 // self._freq

    def readfrom_mem_into(self, address, register, buffer):
        self._turn(address, len(buffer))
        self._device.read(register, buffer)

    def writeto_mem(self, address, register, values):
        self._turn(address, len(values))
        self._device.write(register, values)
