"""A Cartesian printer: three axes and an extruder on one step stream, a hotend, a heated bed, a part fan, a filament sensor."""

from typing import Annotated as A

from twin.machine import STOP, Alarm, Heater, Input, Never, Output, Stepper, params
from twin.motion import Limits
from twin.motion.keepout import Head
from twin.residual import Residual
from twin.units import DEG_C, MM, MM_PER_S, MM_PER_S2, PER_MM, PERCENT
from twin.wire import OFF, Bit, Int16, Int32, OnSilence, Range, UInt16, record

CAPABILITIES = ("print",)
_Four = tuple[float, float, float, float]
_Three = tuple[float, float, float]
_Two = tuple[float, float]
PARKED = 0.03
"""m along X and Y from its parking place within which the head is out of the way."""


@params
class Params:
    """What differs from printer to printer: X, Y, Z and E where there are four."""

    steps_per_mm: A[_Four, PER_MM, Range(1, 5000)] = (80.0, 80.0, 400.0, 96.0)
    max_speed: A[_Four, MM_PER_S, Range(0.1, 1000)] = (300.0, 300.0, 12.0, 120.0)
    max_acceleration: A[_Four, MM_PER_S2, Range(1, 50_000)] = (3000.0, 3000.0, 200.0, 5000.0)
    jerk: A[_Four, MM_PER_S, Range(0.01, 50)] = (10.0, 10.0, 0.4, 5.0)
    size: A[_Three, MM, Range(10, 2000)] = (220.0, 220.0, 250.0)
    head: A[_Three, MM, "of the head: along X and Y about the nozzle, and up from its tip", Range(0, 500)] = (40.0, 40.0, 60.0)
    park: A[_Two, PERCENT, "of the bed's width and depth: over which place programs leave the nozzle", Range(0, 100)] = (0.0, 100.0)
    homing_speed: A[_Three, MM_PER_S, Range(0.1, 200)] = (50.0, 50.0, 8.0)
    min_extrusion_temperature: A[float, DEG_C, Range(0, 300)] = 170.0
    max_hotend_temperature: A[float, DEG_C, Range(50, 450)] = 275.0
    max_bed_temperature: A[float, DEG_C, Range(30, 200)] = 120.0


@record
class Status:
    """What the node reports each scan."""

    x_endstop: A[bool, Bit(0, 0)]
    y_endstop: A[bool, Bit(0, 1)]
    z_endstop: A[bool, Bit(0, 2)]
    filament: A[bool, "filament is present", Bit(0, 3)]
    x: A[float, MM, Range(-0.005, 2.0), Int32(2, step=0.001)]
    y: A[float, MM, Range(-0.005, 2.0), Int32(4, step=0.001)]
    z: A[float, MM, Range(-0.005, 2.0), Int32(6, step=0.001)]
    e: A[float, MM, "filament fed", Range(-1000.0, 2000.0), Int32(8, step=0.001)]
    hotend_temperature: A[float, DEG_C, Range(-20, 450), Int16(10, step=0.1)]
    hotend_target: A[float, DEG_C, Range(0, 450), Int16(11, step=0.1)]
    hotend_power: A[float, PERCENT, Range(0, 1), UInt16(12, step=0.1)]
    bed_temperature: A[float, DEG_C, Range(-20, 200), Int16(13, step=0.1)]
    bed_target: A[float, DEG_C, Range(0, 200), Int16(14, step=0.1)]
    bed_power: A[float, PERCENT, Range(0, 1), UInt16(15, step=0.1)]
    fan: A[float, PERCENT, "part cooling", Range(0, 1), UInt16(16, step=0.1)]


@record
class Command:
    """What the controller asks for each scan. The defaults are the safe state."""

    permit: A[bool, "heat is permitted", OnSilence(OFF), Bit(0, 0)] = False
    run: A[bool, "the Job runs; without it the axes hold", OnSilence(OFF), Bit(0, 1)] = False


BLOCKS = (
    Stepper("x", run="run", endstop="x_endstop"),
    Stepper("y", run="run", endstop="y_endstop"),
    Stepper("z", run="run", endstop="z_endstop"),
    Stepper("e", run="run"),
    Heater("hotend", permit="permit"),
    Heater("bed", permit="permit"),
    Output("fan", job=0),
    Input("filament"),
)
INTERLOCKS: tuple[Never, ...] = ()
ALARMS = (
    Alarm(
        "filament",
        severity=400,
        cause="The spool is empty or the filament is broken.",
        action="Load filament, then resume.",
        when=False,
    ),
)
ON_SILENCE = STOP
HOTEND_BOUND, BED_BOUND = 5.0, 3.0
"""K that a heater may be away from its twin."""
ONE_STEP = 0.05e-3
"""m: a position is whole steps and whole micrometres, and filament's steps are coarse."""


def residuals(params: Params) -> tuple[Residual, ...]:
    """What its twin is compared in."""
    draught = "a draught and the filament's own heat make 2 to 3 K; parameters 30 % off make 20 K and more"
    steps = "steps are whole ones: an axis that rests is where its Job has it, to a step"
    axes = tuple(Residual(axis, MM, ONE_STEP, 1.0, steps, "position at rest, less where its Job has it") for axis in "xyz")
    return (
        Residual("hotend_temperature", DEG_C, HOTEND_BOUND, 15.0, draught, "its heater's duty, the fan and the filament tell it"),
        Residual("bed_temperature", DEG_C, BED_BOUND, 30.0, draught, "its heater's duty tells it"),
        *axes,
    )


def limits(params: Params) -> Limits:
    """What the planner must keep to. Params are SI; the planner reckons in mm."""
    mm = 1000.0
    return Limits(
        steps_per_mm=_four(params.steps_per_mm, 1 / mm),
        max_speed=_four(params.max_speed, mm),
        max_acceleration=_four(params.max_acceleration, mm),
        jerk=_four(params.jerk, mm),
        max_position=(params.size[0] * mm, params.size[1] * mm, params.size[2] * mm),
        homing_speed=(params.homing_speed[0] * mm, params.homing_speed[1] * mm, params.homing_speed[2] * mm),
        min_extrusion_temperature=params.min_extrusion_temperature,
        max_temperature=(params.max_hotend_temperature, params.max_bed_temperature),
    )


def head(params: Params) -> Head:
    """What moves with the nozzle [mm]."""
    across, along, up = (1e3 * value for value in params.head)
    return Head((-across / 2, -along / 2, 0.0), (across / 2, along / 2, up))


def _four(values: _Four, by: float) -> _Four:
    return (values[0] * by, values[1] * by, values[2] * by, values[3] * by)
