"""An Eastron SDM630 energy meter, after the register lists of its maker's manual and of three libraries that read it.

Every value is a big-endian float in two registers, at an even address. What lies between is answered with zeros, as a bus log
shows of a real one. Its load is a sum of sines, so that the energies are exact integrals of the powers.
"""

import math
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import ClassVar

from pymodbus.constants import ExcCodes

from hil.devices.device import Held, Spans, Words, float32
from twin.clock import Ns, S

MOST = 50
"""Registers in a request: the manual says 80, some units refuse more than 50."""
WRITE_MANY = 16

_TURN = 2.0 * math.pi
_KWH = 3.6e6
_DEMAND_S = 3600.0
# Of each phase: mean power [W], swing [W], its period [s] and phase [rad], power factor, voltage's swing [V] and its period [s].
_PHASES = (
    (820.0, 260.0, 180.0, 0.0, 0.95, 1.1, 97.0),
    (640.0, 180.0, 300.0, 1.3, 0.92, 0.8, 131.0),
    (410.0, 120.0, 75.0, 2.4, 0.98, 1.4, 173.0),
)
_IMPORTED_KWH = (1250.0, 980.0, 640.0)
"""What had been counted before the simulation's start."""
_THD = (1.8, 1.6, 2.1)
_CURRENT_THD = (8.5, 9.1, 7.4)


class Load:
    """What flows at a moment; everything else follows from it."""

    def __init__(self, now: Ns) -> None:
        self.t = now / S
        self.volts = [230.0 + swing * math.sin(_TURN * self.t / period) for *_, swing, period in _PHASES]
        self.watts = [power(k, self.t) for k in range(3)]
        self.factors = [phase[4] for phase in _PHASES]
        self.apparent = [p / f for p, f in zip(self.watts, self.factors, strict=True)]
        self.reactive = [math.sqrt(s * s - p * p) for s, p in zip(self.apparent, self.watts, strict=True)]
        self.amps = [s / v for s, v in zip(self.apparent, self.volts, strict=True)]
        self.angles = [math.degrees(math.acos(f)) for f in self.factors]
        self.imported = [start + energy(k, self.t) / _KWH for k, start in enumerate(_IMPORTED_KWH)]
        self.imported_reactive = [e * math.tan(math.acos(f)) for e, f in zip(self.imported, self.factors, strict=True)]

    @property
    def hertz(self) -> float:
        return 50.0 + 0.015 * math.sin(_TURN * self.t / 41.0)

    @property
    def factor(self) -> float:
        return sum(self.watts) / math.hypot(sum(self.watts), sum(self.reactive))

    @property
    def line_volts(self) -> list[float]:
        """Between the phases, which are a third of a turn apart."""
        v = self.volts
        return [math.sqrt(a * a + b * b + a * b) for a, b in ((v[0], v[1]), (v[1], v[2]), (v[2], v[0]))]

    @property
    def neutral(self) -> float:
        a, b, c = self.amps
        return math.sqrt(max(0.0, a * a + b * b + c * c - a * b - b * c - c * a))


def power(phase: int, t: float) -> float:
    """Active power of a phase [W] at a time [s]."""
    mean, swing, period, angle, *_ = _PHASES[phase]
    return mean + swing * math.sin(_TURN * t / period + angle)


def energy(phase: int, t: float) -> float:
    """What a phase has drawn from 0 on [J]: the integral of `power`."""
    mean, swing, period, angle, *_ = _PHASES[phase]
    return mean * t + swing * period / _TURN * (math.cos(angle) - math.cos(_TURN * t / period + angle))


def demand(t: float) -> float:
    """Mean total power over the demand period before a time [W]; it counts from 0 where that is shorter."""
    since = max(0.0, t - _DEMAND_S)
    return sum(energy(k, t) - energy(k, since) for k in range(3)) / _DEMAND_S


@lru_cache(maxsize=4096)
def _peak(minute: int) -> float:
    """The largest demand [W] at the ends of the minutes so far."""
    return max(demand(60.0 * minute), _peak(minute - 1)) if minute else 0.0


def maximum_demand(t: float) -> float:
    """The largest demand so far [W], as looked at once a minute."""
    for minute in range(0, int(t // 60.0), 500):  # not deeper at a time than the interpreter goes
        _peak(minute)
    return max(demand(t), _peak(int(t // 60.0)))


def _each(first: int, of: Callable[[Load], list[float]]) -> dict[int, Callable[[Load], float]]:
    """Three values in a row, one of each phase."""
    return {first + 2 * k: lambda load, k=k: of(load)[k] for k in range(3)}  # type: ignore[misc]


# Address -> value. Decimal, 0-based, as on the wire; the manual's number is 30001 more.
INPUTS: Mapping[int, Callable[[Load], float]] = {
    **_each(0, lambda load: load.volts),  # L1 to L3 to neutral [V]
    **_each(6, lambda load: load.amps),  # [A]
    **_each(12, lambda load: load.watts),  # [W]
    **_each(18, lambda load: load.apparent),  # [VA]
    **_each(24, lambda load: load.reactive),  # [VAr]
    **_each(30, lambda load: load.factors),
    **_each(36, lambda load: load.angles),  # [deg]
    42: lambda load: sum(load.volts) / 3,  # average to neutral [V]
    46: lambda load: sum(load.amps) / 3,  # average of the lines [A]
    48: lambda load: sum(load.amps),  # their sum [A]
    52: lambda load: sum(load.watts),  # [W]
    56: lambda load: math.hypot(sum(load.watts), sum(load.reactive)),  # [VA]
    60: lambda load: sum(load.reactive),  # [VAr]
    62: lambda load: load.factor,
    66: lambda load: math.degrees(math.acos(load.factor)),  # [deg]
    70: lambda load: load.hertz,  # [Hz]
    72: lambda load: sum(load.imported),  # [kWh]
    76: lambda load: sum(load.imported_reactive),  # [kVArh]
    80: lambda load: math.hypot(sum(load.imported), sum(load.imported_reactive)),  # [kVAh]
    82: lambda load: 1000.0 * sum(load.imported) / 230.0,  # charge [Ah]
    84: lambda load: demand(load.t),  # total power demand [W]
    86: lambda load: maximum_demand(load.t),  # [W]
    88: lambda load: demand(load.t),  # import [W]
    90: lambda load: maximum_demand(load.t),
    100: lambda load: demand(load.t) / load.factor,  # [VA]
    102: lambda load: maximum_demand(load.t) / load.factor,
    104: lambda load: load.neutral,  # [A]
    106: lambda load: load.neutral,
    **_each(200, lambda load: load.line_volts),  # L1-L2, L2-L3, L3-L1 [V]
    206: lambda load: sum(load.line_volts) / 3,
    224: lambda load: load.neutral,  # [A]
    **_each(234, lambda load: list(_THD)),  # of the voltages [%]
    **_each(240, lambda load: list(_CURRENT_THD)),  # of the currents [%]
    248: lambda load: sum(_THD) / 3,
    250: lambda load: sum(_CURRENT_THD) / 3,
    254: lambda load: load.factor,
    **_each(258, lambda load: load.amps),  # current demand [A]
    **_each(264, lambda load: load.amps),
    **_each(334, lambda load: [1.1 * thd for thd in _THD]),  # of the voltages between the phases [%]
    340: lambda load: 1.1 * sum(_THD) / 3,
    342: lambda load: sum(load.imported),  # import and export [kWh]
    344: lambda load: sum(load.imported_reactive),  # [kVArh]
    **_each(346, lambda load: load.imported),  # import of each phase [kWh]; its export at 352 stays 0
    **_each(358, lambda load: load.imported),
    **_each(364, lambda load: load.imported_reactive),  # [kVArh]; 370 stays 0
    **_each(376, lambda load: load.imported_reactive),
}
_LAST_INPUT = 382

# Settings, two registers each, with what may be written; None: it cannot be written.
_SETTINGS: Mapping[int, tuple[float, tuple[float, ...] | None]] = {
    2: (60.0, (0, 5, 8, 10, 15, 20, 30, 60)),  # demand period [min]
    10: (3.0, None),  # system: three phases, four wires; only with the password
    12: (100.0, (60, 100, 200)),  # pulse 1, width [ms]
    14: (0.0, None),  # locked
    18: (0.0, (0, 1, 2, 3)),  # parity and stop bits
    20: (1.0, tuple(range(1, 248))),  # node
    22: (0.0, (0, 1, 2, 3, 4, 5)),  # pulse 1, divisor
    28: (2.0, (0, 1, 2, 3, 4)),  # 9600 baud
}
SERIAL_AT = 0xFC00
SERIAL_NUMBER = 20_260_630


class Meter:
    """One of them."""

    spans: ClassVar[Spans] = {
        Held.INPUT: (range(0, _LAST_INPUT),),
        Held.HOLDING: (range(0, 256), range(SERIAL_AT, SERIAL_AT + 2)),
    }

    def __init__(self) -> None:
        self._settings = {at: value for at, (value, _) in _SETTINGS.items()}

    def read(self, table: Held, first: int, count: int, now: Ns) -> Words | ExcCodes:
        """See Behaviour.read."""
        if count > MOST:
            return ExcCodes.ILLEGAL_ADDRESS
        words = [0] * count
        load = Load(now)
        for at in range(first - 1, first + count):
            pair = self._pair(table, at, load)
            for k, word in enumerate(pair):
                if first <= at + k < first + count:
                    words[at + k - first] = word
        return words

    def _pair(self, table: Held, at: int, load: Load) -> tuple[int, ...]:
        if table is Held.INPUT:
            return float32(INPUTS[at](load)) if at in INPUTS else ()
        if at == 0:
            return float32(load.t / 60.0 % 60.0)  # minutes into the demand period
        if at == SERIAL_AT:
            return SERIAL_NUMBER >> 16, SERIAL_NUMBER & 0xFFFF
        return float32(self._settings[at]) if at in self._settings else ()

    def write(self, function: int, first: int, values: Words, now: Ns) -> ExcCodes | None:
        """See Behaviour.write. One setting a message, with function 16 alone."""
        if function != WRITE_MANY:
            return ExcCodes.ILLEGAL_FUNCTION
        allowed = _SETTINGS.get(first, (0.0, None))[1]
        if len(values) != 2 or allowed is None:
            return ExcCodes.ILLEGAL_ADDRESS
        (value,) = struct.unpack(">f", struct.pack(">HH", *values))
        if value not in allowed:
            return ExcCodes.ILLEGAL_VALUE
        self._settings[first] = value
        return None
