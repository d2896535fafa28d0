"""A Universal Robots e-Series controller's own Modbus server, after the register lists that its maker and its users publish.

Its arm is the twin's UR5e, on a course of sines. One register holds one value; an angle is 0 to 6283 mrad beside a count of whole
turns. Registers that nobody lists are answered with zeros.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import ClassVar

import numpy as np
from pymodbus.constants import ExcCodes

from hil.devices.device import Held, Spans, Words
from twin.arrays import Floats
from twin.clock import Ns, S
from twin.kinematics import ur5e
from twin.kinematics.kernels import Kernels, kernels
from twin.motion.arm.line import rotation_vector

AXES = range(6)
_TURN = 2.0 * math.pi
# Of each joint: middle [rad], swing [rad], period [s], phase [rad]. The base passes 0, so that its count of turns changes.
_COURSE = (
    (0.20, 1.10, 23.0, 0.0),
    (-1.45, 0.35, 17.0, 0.4),
    (1.60, 0.40, 19.0, 1.1),
    (-1.70, 0.30, 13.0, 2.0),
    (-1.57, 0.25, 29.0, 0.7),
    (3.00, 2.60, 31.0, 1.9),
)
_AMBIENT_C, _RISE_C, _WARMS_S = 24.0, (14.0, 16.0, 13.0, 9.0, 8.0, 7.0), 1500.0
_HOLDING_MA = (180, 2300, 1250, 320, 210, 90)
_RUNNING_MODE, _NORMAL, _JOINT_RUNNING = 7, 1, 253
_INPUTS_LEVEL = 0b0000_0001_0000_0101

FIRST, GENERAL, LAST = 0, range(128, 256), 2054
"""Registers; those that a robot's program shares."""
_WRITABLE = {1, 5, 7, 9, 11, 16, 17, 18, 19, 20, 31, *GENERAL}


@cache
def _robot() -> Kernels:
    return kernels(ur5e())


def joints(t: float) -> Floats:
    """Angles [rad] at a time [s]."""
    return np.array([middle + swing * math.sin(_TURN * t / period + phase) for middle, swing, period, phase in _COURSE])


def speeds(t: float) -> Floats:
    """How fast they change [rad/s]."""
    return np.array([swing * _TURN / period * math.cos(_TURN * t / period + phase) for _, swing, period, phase in _COURSE])


def pose(angles: Floats) -> Floats:
    """The flange in the base's frame: x, y, z [m] and its rotation vector [rad]."""
    found = np.zeros((4, 4))
    _robot().pose(angles, found)
    return np.concatenate([found[:3, 3], rotation_vector(found[:3, :3])])


class Moment:
    """What is true at a moment, computed where it is asked for."""

    def __init__(self, now: Ns) -> None:
        self.now = now
        self.t = now / S
        self.angles = joints(self.t)
        self.speeds = speeds(self.t)

    @cached_property
    def pose(self) -> Floats:
        """Of the flange; the tool's offset is 0."""
        return pose(self.angles)

    @cached_property
    def pose_speed(self) -> Floats:
        """x, y, z [m/s] and the angular speed [rad/s], in the base's frame."""
        jacobian = np.zeros((6, 6))
        _robot().jacobian(self.angles, jacobian)
        return np.asarray(jacobian @ self.speeds)

    @cached_property
    def currents(self) -> list[int]:
        """Of the joints [mA]; their sign is the torque's."""
        each = zip(_HOLDING_MA, self.angles, self.speeds, strict=True)
        return [round(ma * math.cos(angle) + 400 * speed) for ma, angle, speed in each]

    def turns(self, axis: int) -> int:
        """Whole turns of a joint, rounded down."""
        return math.floor(float(self.angles[axis]) / _TURN)

    def within(self, axis: int) -> int:
        """What is left of its angle [mrad]."""
        return round(1000.0 * (float(self.angles[axis]) - _TURN * self.turns(axis)))

    def temperature(self, axis: int) -> int:
        """Of a joint [°C]."""
        return round(_AMBIENT_C + _RISE_C[axis] * (1.0 - math.exp(-self.t / _WARMS_S)))


Told = Callable[[Moment], float]


def _six(first: int, of: Callable[[Moment, int], float]) -> dict[int, Told]:
    return {first + axis: lambda moment, axis=axis: of(moment, axis) for axis in AXES}  # type: ignore[misc]


def _three(first: int, of: Callable[[Moment], Floats]) -> dict[int, Told]:
    return {first + k: lambda moment, k=k: float(of(moment)[k]) for k in range(3)}  # type: ignore[misc]


# Address -> value, as the lists have them; what is not here and cannot be written holds 0.
REGISTERS: Mapping[int, Told] = {
    0: lambda moment: _INPUTS_LEVEL,
    4: lambda moment: 20_000 + 5000 * math.sin(_TURN * moment.t / 11.0),  # analog input 0
    5: lambda moment: 1,  # it is a voltage [mV]
    20: lambda moment: 24,  # of the tool's output [V]
    28: lambda moment: 24_000,
    256: lambda moment: 5,  # the controller's version
    257: lambda moment: 15,
    258: lambda moment: _RUNNING_MODE,
    260: lambda moment: 1,  # power is on; 261 to 265 are stops and buttons
    266: lambda moment: _NORMAL,
    **_six(270, lambda moment, axis: moment.within(axis)),  # [mrad], 0 to 6283
    **_six(280, lambda moment, axis: 1000.0 * float(moment.speeds[axis])),  # [mrad/s]
    **_six(290, lambda moment, axis: moment.currents[axis]),  # [mA]
    **_six(300, lambda moment, axis: moment.temperature(axis)),  # [°C]
    **_six(310, lambda moment, axis: _JOINT_RUNNING),
    **_six(320, lambda moment, axis: moment.turns(axis)),
    **_three(400, lambda moment: 10_000.0 * moment.pose[:3]),  # [0.1 mm]
    **_three(403, lambda moment: 1000.0 * moment.pose[3:]),  # [mrad]
    **_three(410, lambda moment: 1000.0 * moment.pose_speed[:3]),  # [mm/s]
    **_three(413, lambda moment: 1000.0 * moment.pose_speed[3:]),  # [mrad/s]
    450: lambda moment: 600 + sum(abs(ma) for ma in moment.currents) // 4,  # the robot's [mA]
    451: lambda moment: 85,  # of its inputs and outputs [mA]
    769: lambda moment: moment.temperature(5),  # of the tool [°C]
    770: lambda moment: 40,  # [mA]
}
_FLAGS = range(260, 266)


class Arm:
    """One of them. Input registers hold the same as holding registers."""

    spans: ClassVar[Spans] = {
        Held.COILS: (range(0, 640),),
        Held.DISCRETE: (range(0, 640),),
        Held.HOLDING: (range(FIRST, LAST),),
        Held.INPUT: (range(FIRST, LAST),),
    }

    def __init__(self) -> None:
        self._written: dict[int, int] = {at: 0 for at in _WRITABLE if at not in REGISTERS}
        self._moment = Moment(Ns(0))

    def read(self, table: Held, first: int, count: int, now: Ns) -> Words | ExcCodes:
        """See Behaviour.read."""
        if now != self._moment.now:
            self._moment = Moment(now)
        moment = self._moment
        if table in (Held.COILS, Held.DISCRETE):
            return [self._bit(at, moment) for at in range(first, first + count)]
        return [self._word(at, moment) for at in range(first, first + count)]

    def _word(self, at: int, moment: Moment) -> int:
        if at in self._written:
            return self._written[at]
        return round(REGISTERS[at](moment)) & 0xFFFF if at in REGISTERS else 0

    def _bit(self, at: int, moment: Moment) -> int:
        if at in _FLAGS:
            return self._word(at, moment)
        for first, register in ((0, 0), (16, 1), (128, 30), (136, 31)):
            if first <= at < first + (16 if register < 2 else 8):
                return self._word(register, moment) >> (at - first) & 1
        return 0

    def write(self, function: int, first: int, values: Words, now: Ns) -> ExcCodes | None:
        """See Behaviour.write. Registers 2 and 3 set and clear outputs, 32 and 33 those that are configurable."""
        if function in (5, 15):
            return self._write_bits(first, values)
        ends = range(first, first + len(values))
        if any(at not in _WRITABLE and at not in (2, 3, 32, 33) for at in ends):
            return ExcCodes.ILLEGAL_ADDRESS
        for at, value in zip(ends, values, strict=True):
            if at in (2, 32):
                self._written[at - 1] = self._written[at - 1] | value
            elif at in (3, 33):
                self._written[at - 2] = self._written[at - 2] & ~value & 0xFFFF
            else:
                self._written[at] = value
        return None

    def _write_bits(self, first: int, values: Words) -> ExcCodes | None:
        for at, value in enumerate(values, first):
            register, place = (1, at - 16) if 16 <= at < 32 else (31, at - 136)
            if not (16 <= at < 32 or 136 <= at < 144):
                return ExcCodes.ILLEGAL_ADDRESS
            self._written[register] = self._written[register] & ~(1 << place) | value << place
        return None
