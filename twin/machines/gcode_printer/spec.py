"""A printer that plans for itself: its own board (Marlin, or Klipper over Moonraker) moves and heats, and is sent G-code."""

from typing import Annotated as A

from twin.machine import STOP, Alarm, GcodePrinter, Never, params
from twin.machines.printer import spec as printer
from twin.machines.printer.spec import head
from twin.motion import Limits
from twin.residual import Residual
from twin.units import DEG_C, MM, ONE, PERCENT
from twin.wire import OFF, Bit, Int16, Int32, OnSilence, Range, UInt16, record

__all__ = ["Command", "Params", "Status", "head", "limits"]

CAPABILITIES = ("print",)
_Three = tuple[float, float, float]


@params
class Params(printer.Params):
    """What differs from printer to printer: X, Y, Z and E where there are four. Its board must be set to no more than this."""

    home: A[_Three, MM, "where the axes stand after homing", Range(-100, 2000)] = (0.0, 0.0, 0.0)
    baud: A[float, ONE, "of the board's UART", Range(9600, 1_000_000)] = 115_200.0


@record
class Status:
    """What the node reports each scan."""

    connected: A[bool, "the printer's board answers", Bit(0, 0)]
    killed: A[bool, "the printer's board has halted itself and must be reset", Bit(0, 1)]
    quick: A[bool, "a stop reaches the board whatever it is busy with", Bit(0, 2)]
    x: A[float, MM, Range(-0.1, 2.0), Int32(2, step=0.001)]
    y: A[float, MM, Range(-0.1, 2.0), Int32(4, step=0.001)]
    z: A[float, MM, Range(-0.1, 2.0), Int32(6, step=0.001)]
    e: A[float, MM, "filament fed in this Job", Range(-1000.0, 2000.0), Int32(8, step=0.001)]
    hotend_temperature: A[float, DEG_C, Range(-20, 450), Int16(10, step=0.1)]
    hotend_target: A[float, DEG_C, Range(0, 450), Int16(11, step=0.1)]
    bed_temperature: A[float, DEG_C, Range(-20, 200), Int16(12, step=0.1)]
    bed_target: A[float, DEG_C, Range(0, 200), Int16(13, step=0.1)]
    fan: A[float, PERCENT, "part cooling", Range(0, 1), UInt16(14, step=0.1)]
    resent: A[int, "lines that the board has asked for again", UInt16(15)]


@record
class Command:
    """What the controller asks for each scan. The defaults are the safe state."""

    permit: A[bool, "heat is permitted", OnSilence(OFF), Bit(0, 0)] = False
    run: A[bool, "the Job runs; without it no more lines are sent", OnSilence(OFF), Bit(0, 1)] = False


BLOCKS = (GcodePrinter(run="run", permit="permit"),)
INTERLOCKS: tuple[Never, ...] = ()
ALARMS = (
    Alarm(
        "connected",
        severity=500,
        cause="The printer's board does not answer: no power, a cable, or another baud rate.",
        action="Look after the board and its cable; the Job that was in work cannot be taken up again.",
        when=False,
    ),
    Alarm(
        "killed",
        severity=700,
        cause="The printer's board has halted itself, or was halted by the node's emergency stop.",
        action="Find out why, then reset the board or switch it off and on.",
    ),
)
ON_SILENCE = STOP
HOTEND_BOUND, BED_BOUND = 30.0, 20.0


def residuals(params: Params) -> tuple[Residual, ...]:
    """What its twin is compared in."""
    board = "its board tells targets and no duty: all that is known is that a heater follows its target within minutes"
    return (
        Residual("hotend_temperature", DEG_C, HOTEND_BOUND, 120.0, board, "follows its target"),
        Residual("bed_temperature", DEG_C, BED_BOUND, 300.0, board, "follows its target"),
    )


def limits(params: Params) -> Limits:
    """What the planner must keep to. Params are SI; the planner reckons in mm."""
    mm = 1000.0
    own = printer.limits(params)
    home = (params.home[0] * mm, params.home[1] * mm, params.home[2] * mm)
    low = (min(0.0, home[0]), min(0.0, home[1]), min(0.0, home[2]))
    return Limits(
        steps_per_mm=own.steps_per_mm,
        max_speed=own.max_speed,
        max_acceleration=own.max_acceleration,
        jerk=own.jerk,
        min_position=low,
        max_position=own.max_position,
        home=home,
        homing_speed=own.homing_speed,
        min_extrusion_temperature=own.min_extrusion_temperature,
        max_temperature=own.max_temperature,
        max_step_rate=50_000.0,
    )
