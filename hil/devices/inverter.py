"""A three-phase inverter that speaks SunSpec: models 1, 103, 120 and 160 in a chain from 40000 on, after the models' own files.

As of real ones, its scale factors change while it runs, and what it does not have it says is not implemented.
"""

import math
from collections.abc import Iterable
from typing import ClassVar

from pymodbus.constants import ExcCodes

from hil.devices.device import Held, Spans, Words
from twin.clock import Ns, S

BASE = 40_000
_NOT_16, _NOT_SIGNED, _NOT_ENUM = 0xFFFF, 0x8000, 0xFFFF
_TURN = 2.0 * math.pi
_DAY_S = 1200.0
_PEAK_W = 8200.0
_COUNTED_WH = 4_320_000.0
_MPPT = 4
"""State of operation: it follows the point of most power."""


def watts(t: float) -> float:
    """Power at a time [s]: a short day that never ends, from 10 % to all of it."""
    return _PEAK_W * (0.55 - 0.45 * math.cos(_TURN * t / _DAY_S))


def watt_hours(t: float) -> float:
    """Its integral, with what was counted before."""
    integral = 0.55 * t - 0.45 * _DAY_S / _TURN * math.sin(_TURN * t / _DAY_S)
    return _COUNTED_WH + _PEAK_W * integral / 3600.0


def power_scale(t: float) -> int:
    """The exponent of the powers: finer while there is little."""
    return -1 if watts(t) < 3000.0 else 0


def _text(text: str, registers: int) -> Words:
    raw = text.encode("ascii").ljust(2 * registers, b"\0")
    return [raw[k] << 8 | raw[k + 1] for k in range(0, 2 * registers, 2)]


def _scaled(value: float, exponent: int) -> int:
    return round(value / 10.0**exponent) & 0xFFFF


def _common() -> Words:
    said = _text("Lockstep", 16) + _text("PV-8 simulated", 16) + _text("", 8) + _text("1.0", 8) + _text("PV8-0001", 16)
    return [1, 66, *said, 1, 0x8000]


def _three_phase(t: float) -> Words:
    """Model 103."""
    power, exponent = watts(t), power_scale(t)
    volts = [231.0 + math.sin(_TURN * t / 60.0 + k) for k in range(3)]
    amps = [power / 3.0 / v for v in volts]
    counted = round(watt_hours(t))
    dc = power / 0.97
    return [
        103, 50,
        _scaled(sum(amps), -2), *(_scaled(a, -2) for a in amps), -2 & 0xFFFF,
        *(_scaled(v * math.sqrt(3.0), -1) for v in volts), *(_scaled(v, -1) for v in volts), -1 & 0xFFFF,
        _scaled(power, exponent), exponent & 0xFFFF,
        _scaled(50.0 + 0.01 * math.sin(t), -2), -2 & 0xFFFF,
        _scaled(power, 0), 0, _scaled(0.0, 0), 0, _scaled(100.0, -1), -1 & 0xFFFF,
        counted >> 16 & 0xFFFF, counted & 0xFFFF, 0,
        _scaled(dc / 620.0, -2), -2 & 0xFFFF, _scaled(620.0, -1), -1 & 0xFFFF, _scaled(dc, exponent), exponent & 0xFFFF,
        _scaled(38.0 + 20.0 * power / _PEAK_W, -1), _NOT_SIGNED, _NOT_SIGNED, _NOT_SIGNED, -1 & 0xFFFF,
        _MPPT, _NOT_ENUM,
        *([0] * 4), *([0xFFFF] * 8),
    ]  # fmt: skip


def _nameplate() -> Words:
    """Model 120: 8200 W, 8200 VA, and no battery."""
    return [
        120, 26, 4, 8200, 0, 8200, 0, 4920, _NOT_SIGNED, _NOT_SIGNED, -4920 & 0xFFFF, 0, 135, -1 & 0xFFFF,
        -80 & 0xFFFF, _NOT_SIGNED, _NOT_SIGNED, 80, -2 & 0xFFFF,
        *(word for _ in range(4) for word in (_NOT_16, _NOT_SIGNED)), 0x8000,
    ]  # fmt: skip


def _strings(t: float) -> Words:
    """Model 160 with two modules."""
    found = [160, 48, -2 & 0xFFFF, -1 & 0xFFFF, power_scale(t) & 0xFFFF, 0, 0, 0, 2, _NOT_16]
    for number, share in ((1, 0.6), (2, 0.4)):
        dc, counted = share * watts(t) / 0.97, round(share * watt_hours(t) / 0.97)
        found += [number, *_text(f"String {number}", 8), _scaled(dc / 620.0, -2), _scaled(620.0, -1), _scaled(dc, power_scale(t))]
        found += [counted >> 16 & 0xFFFF, counted & 0xFFFF, 0xFFFF, 0xFFFF, _NOT_SIGNED, _MPPT, 0, 0]
    return found


def chain(t: float) -> Words:
    """All registers from BASE on at a time [s]."""
    models: Iterable[Words] = (_common(), _three_phase(t), _nameplate(), _strings(t))
    return [0x5375, 0x6E53, *(word for model in models for word in model), 0xFFFF, 0]


class Inverter:
    """One of them; nothing of it can be written."""

    spans: ClassVar[Spans] = {Held.HOLDING: (range(BASE, BASE + len(chain(0.0))),)}

    def read(self, table: Held, first: int, count: int, now: Ns) -> Words | ExcCodes:
        """See Behaviour.read."""
        return chain(now / S)[first - BASE : first - BASE + count]

    def write(self, function: int, first: int, values: Words, now: Ns) -> ExcCodes | None:
        """See Behaviour.write."""
        return ExcCodes.ILLEGAL_ADDRESS
