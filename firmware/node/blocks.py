"""Registers to pins and back: Input, Output, Fan, Drive, Counter."""

from time import ticks_diff, ticks_ms

import micropython

from node import pins
from node.registers import TICK_MS

BOUNCE_MS = 5


class Input:
    """A pin's level as a Status bit."""

    KEYS = ("pin", "invert", "at")

    def __init__(self, config, bank, effective=None):
        self.pin = pins.input(config["pin"])
        self._level = self.pin.value
        self._bank = bank
        self._at, self._bit = config["at"]
        self._invert = 1 if config["invert"] else 0
        self._shown = 0

    @micropython.native
    def read(self):
        """Pin to Status."""
        level = self._level() ^ self._invert
        if level != self._shown:
            self._shown = level
            self._bank.put_bit(self._at, self._bit, level)


class Counter:
    """A pin's rising edges since the start, also between two ticks where an interrupt comes in time.

    What follows a change within 5 ms is a bounce.
    """

    KEYS = ("pin", "at")

    def __init__(self, config, bank, effective=None):
        self._bank = bank
        (self._at,) = config["at"]
        self._count = self._shown = 0
        self._changed = ticks_ms()
        self._settled = True
        self._pin = pins.irq(config["pin"], self._edge)

    def _edge(self, pin):
        now = ticks_ms()
        if pin.value() and (self._settled or ticks_diff(now, self._changed) >= BOUNCE_MS):
            self._count = self._count + 1 & 0xFFFF
        self._changed = now
        self._settled = False

    @micropython.native
    def read(self):
        """Count to Status. The pin has settled when a tick says so, before the clock wraps."""
        if not self._settled and ticks_diff(ticks_ms(), self._changed) >= BOUNCE_MS:
            self._settled = True
        if self._count != self._shown:
            self._shown = self._count
            self._bank.put16(self._at, self._shown)


class Output:
    """A Command bit as a pin's level. What holds while the owner is silent, holds in what takes effect."""

    KEYS = ("pin", "from", "silence")

    def __init__(self, config, bank, effective):
        self._pin = pins.output(config["pin"])
        self._effective = effective
        self._at, self._bit = config["from"]
        self._level = effective.bit(self._at, self._bit)
        self._pin.value(self._level)

    @micropython.native
    def write(self, silent):
        """Effective command to pin."""
        level = self._effective.bit(self._at, self._bit)
        if level != self._level:
            self._level = level
            self._pin.value(level)


class Fan:
    """A duty that a Job sets, shown in the Status."""

    KEYS = ("pin", "job", "at", "full")

    def __init__(self, config, bank, effective=None):
        self._pwm = pins.pwm(config["pin"])
        self._bank = bank
        (self._at,) = config["at"]
        self._full = config["full"]
        self.set(0)

    def set(self, duty):
        """Duty, 0..65535."""
        self._pwm.duty_u16(duty)
        self._bank.put16(self._at, (duty * self._full + 32767) // 65535)


class Drive:
    """A run bit as a level and a speed set point as a duty, `full` (raw) being the whole of it.

    The run pin goes with the effective command at once. While the owner is silent the set point may ramp down, from full to
    zero in `ramp` ms.
    """

    KEYS = ("run_pin", "speed_pin", "run", "speed", "full", "running", "shown", "silence", "ramp")

    def __init__(self, config, bank, effective):
        self._run_pin = pins.output(config["run_pin"])
        self._speed_pin = pins.pwm(config["speed_pin"])
        self._bank = bank
        self._effective = effective
        self._run, self._run_bit = config["run"]
        (self._speed,) = config["speed"]
        self._full = config["full"]
        self._running, self._running_bit = config["running"]
        self._shown = config["shown"][0] if config["shown"] else None
        self._ramps = config["silence"] == "ramp"
        self._fall = self._full * TICK_MS // config["ramp"] + 1
        self._level = 0
        self._set_point = 0

    @micropython.native
    def write(self, silent):
        """Effective commands to pins, and what they are to the Status."""
        level = self._effective.bit(self._run, self._run_bit)
        if level != self._level:
            self._level = level
            self._run_pin.value(level)
        wanted = self._wanted(silent)
        if wanted != self._set_point:
            self._set_point = wanted
            self._speed_pin.duty_u16(wanted * 65535 // self._full)
        self._bank.put_bit(self._running, self._running_bit, self._run_pin.value())
        if self._shown is not None:
            self._bank.put16(self._shown, self._set_point)

    @micropython.native
    def _wanted(self, silent):
        wanted = min(max(self._effective.i16(self._speed), 0), self._full)
        if silent and self._ramps:
            return max(wanted, self._set_point - self._fall)
        return wanted
