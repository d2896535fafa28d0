"""A belt with a light barrier at each end and a drive that can trip."""

from typing import Annotated as A

from twin.machine import STOP, Alarm, Counter, Drive, Input, Never, Setpoint, params
from twin.residual import Residual
from twin.units import KG, M_PER_S2, MM, MM_PER_S
from twin.wire import OFF, RAMP, Bit, Int16, OnSilence, Range, UInt16, record

CAPABILITIES = ("convey",)


@params
class Params:
    """What differs from belt to belt."""

    length: A[float, MM, Range(100, 20_000)] = 1000.0
    full_speed: A[float, MM_PER_S, Range(1, 500)] = 500.0
    speed: A[float, MM_PER_S, Range(1, 500)] = 100.0
    acceleration: A[float, M_PER_S2, Range(0.01, 10)] = 0.5
    max_load: A[float, KG, Range(0.01, 1000)] = 20.0


@record
class Status:
    """What the node reports each scan."""

    at_entry: A[bool, "a part covers the entry barrier", Bit(0, 0)]
    at_exit: A[bool, "a part covers the exit barrier", Bit(0, 1)]
    tripped: A[bool, "the drive has switched itself off", Bit(0, 2)]
    running: A[bool, "the drive is switched on", Bit(0, 3)]
    speed: A[float, MM_PER_S, "set point at the drive", Range(0, 0.5), Int16(1, step=0.1)]
    parts: A[int, "that have reached the exit since the node started", UInt16(2)]


@record
class Command:
    """What the controller asks for each scan. The defaults are the safe state."""

    run: A[bool, OnSilence(OFF), Bit(0, 0)] = False
    speed: A[float, MM_PER_S, Range(0, 0.5), OnSilence(RAMP), Int16(1, step=0.1)] = 0.0


BLOCKS = (
    Input("at_entry"),
    Input("at_exit"),
    Input("tripped"),
    Drive("run", "speed", full="full_speed", running="running"),
    Counter("parts", of="at_exit"),
)
INTERLOCKS = (Never("run", when="tripped"),)
ALARMS = (
    Alarm(
        "tripped",
        severity=700,
        cause="The drive's overload protection has switched it off.",
        action="Clear the belt, switch the drive on again, then reset.",
    ),
)
SETPOINTS = (Setpoint("speed", most="full_speed"),)
ON_SILENCE = STOP
ENTRY = 0.03
"""m from the belt's end to the entry barrier, in the middle of the belt."""
LAID = 0.01
"""m to either side of the entry barrier within which a Part is laid."""
SCANS = 0.3
"""s: three scans, which is how late the edges of a Part, and those of the drive, may be seen between them."""


def residuals(params: Params) -> tuple[Residual, ...]:
    """What its twin is compared in."""
    late = "a Part is laid within 10 mm, which counts twice, and the edges of its way are seen up to three scans late"
    return (
        Residual("speed", MM_PER_S, 0.002, 1.0, "the drive's set point is told in 0.1 mm/s", "set point, less the one commanded"),
        Residual("way", MM, 2 * LAID + SCANS * params.speed, 1.0, late, "of the Part at the exit or due there, less the belt's"),
    )


def entry(params: Params) -> tuple[float, float, float]:
    """Where a Part is put: the middle of its foot, in the belt's frame."""
    return ENTRY, 0.0, 0.0
