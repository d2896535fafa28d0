"""A fume extractor: a fan behind a filter, with what tells how its bearing, its motor and its filter age."""

from typing import Annotated as A

from twin.machine import STOP, Above, Accelerometer, Alarm, Analog, Drive, Input, Kept, Never, Setpoint, params
from twin.residual import Residual
from twin.units import AMPERE, DEG_C, HZ, M_PER_S2, ONE, PASCAL, S
from twin.wire import OFF, RAMP, Bit, Int16, OnSilence, Range, UInt16, UInt32, record

CAPABILITIES = ()
_Five = tuple[float, float, float, float, float]


@params
class Params:
    """What differs from extractor to extractor. The limits of wear are for a small fan on a stiff frame: learn your own."""

    full_speed: A[float, HZ, "turns of the shaft at full duty", Range(1, 60)] = 50.0
    speed: A[float, HZ, Range(1, 60)] = 40.0
    bands: A[_Five, HZ, "edges of the vibration's four bands", Range(3.125, 400)] = (10.0, 60.0, 100.0, 200.0, 390.0)
    burst_every: A[float, S, "from one look at the vibration to the next", Range(1, 3600)] = 10.0
    worn_band: A[float, M_PER_S2, "of the third band, in which the bearing is heard", Range(0.01, 100)] = 0.5
    worn_crest: A[float, ONE, Range(1.5, 15)] = 2.6
    hot_bearing: A[float, DEG_C, Range(20, 110)] = 70.0
    highest_bearing: A[float, DEG_C, "above which the fan is stopped", Range(20, 110)] = 90.0
    clogged_filter: A[float, PASCAL, "across the filter", Range(10, 1000)] = 400.0


@record
class Status:
    """What the node reports each scan."""

    tripped: A[bool, "the drive has switched itself off", Bit(0, 0)]
    running: A[bool, "the drive is switched on", Bit(0, 1)]
    vibration_failed: A[bool, "there is no burst to be believed", Bit(0, 2)]
    worn: A[bool, "the third band is above its limit", Bit(0, 3)]
    rough: A[bool, "the crest factor is above its limit", Bit(0, 4)]
    hot: A[bool, "the bearing is above its first limit", Bit(0, 5)]
    overheated: A[bool, "the bearing is above its highest temperature", Bit(0, 6)]
    clogged: A[bool, "the pressure across the filter is above its limit", Bit(0, 7)]
    speed: A[float, HZ, "set point at the drive", Range(0, 60), Int16(1, step=0.1)]
    current: A[float, AMPERE, "of the motor", Range(0, 5), UInt16(2, step=0.01)]
    bearing_temperature: A[float, DEG_C, Range(-20, 120), Int16(3, step=0.1)]
    filter_pressure: A[float, PASCAL, "across the filter", Range(0, 1000), UInt16(4)]
    vibration_rms: A[float, M_PER_S2, Range(0, 160), UInt16(5, step=0.01)]
    vibration_peak: A[float, M_PER_S2, Range(0, 320), UInt16(6, step=0.01)]
    vibration_crest: A[float, "peak over RMS; 0 where there is next to none", Range(0, 16), UInt16(7, step=0.01)]
    vibration_band_1: A[float, M_PER_S2, "of the RMS, in the first band", Range(0, 160), UInt16(8, step=0.01)]
    vibration_band_2: A[float, M_PER_S2, "in the second", Range(0, 160), UInt16(9, step=0.01)]
    vibration_band_3: A[float, M_PER_S2, "in the third", Range(0, 160), UInt16(10, step=0.01)]
    vibration_band_4: A[float, M_PER_S2, "in the fourth", Range(0, 160), UInt16(11, step=0.01)]
    vibration_bursts: A[int, "reduced since the node started", UInt16(12)]
    starts: A[int, "of the drive, ever", UInt32(14)]
    running_time: A[int, S, "of the drive, ever", UInt32(16)]
    turns: A[int, "that the set points amount to, ever", UInt32(18)]


@record
class Command:
    """What the controller asks for each scan. The defaults are the safe state."""

    run: A[bool, OnSilence(OFF), Bit(0, 0)] = False
    speed: A[float, HZ, Range(0, 60), OnSilence(RAMP), Int16(1, step=0.1)] = 0.0


# Two-wire transmitters of 4 to 20 mA over 120 Ω (0.48 to 2.4 V), and a TMP36 (0.5 V at 0 °C and 10 mV/°C), read at 3.3 V for full
# scale. Below 3 mA a wire is broken. What fails tells of itself; the fan does not need it.
_LOOP = (9_532, 47_662)
_WIRE = (7_149, 52_000)

BLOCKS = (
    Input("tripped"),
    Drive("run", "speed", full="full_speed", running="running"),
    Analog("current", counts=_LOOP, values=(0.0, 5.0), wire=_WIRE, latches=False),
    Analog("bearing_temperature", counts=(9_930, 29_789), values=(0.0, 100.0), wire=(5_000, 35_000), latches=False),
    Analog("filter_pressure", counts=_LOOP, values=(0.0, 1000.0), wire=_WIRE, latches=False),
    Accelerometer("vibration", bands="bands", every="burst_every"),
    Above("worn", of="vibration_band_3", limit="worn_band"),
    Above("rough", of="vibration_crest", limit="worn_crest"),
    Above("hot", of="bearing_temperature", limit="hot_bearing"),
    Above("overheated", of="bearing_temperature", limit="highest_bearing"),
    Above("clogged", of="filter_pressure", limit="clogged_filter"),
    Kept("starts", of="running"),
    Kept("running_time", of="running"),
    Kept("turns", of="speed"),
)
INTERLOCKS = (Never("run", when="tripped"), Never("run", when="overheated"))
ALARMS = (
    Alarm(
        "tripped",
        severity=700,
        cause="The drive's overload protection has switched it off.",
        action="See whether the fan turns freely, switch the drive on again, then reset.",
    ),
    Alarm(
        "overheated",
        severity=700,
        cause="The bearing is too hot, and the fan was stopped.",
        action="Replace the bearing, then reset.",
    ),
    Alarm("hot", severity=500, cause="The bearing grows hot.", action="Look at the vibration; replace the bearing soon."),
    Alarm("worn", severity=400, cause="The bearing is heard in the vibration.", action="Order a bearing; watch its temperature."),
    Alarm("rough", severity=300, cause="The vibration has grown peaks.", action="Look for a damaged bearing or something loose."),
    Alarm("clogged", severity=300, cause="The filter lets too little air through.", action="Replace the filter."),
    Alarm(
        "vibration_failed",
        severity=200,
        cause="The accelerometer is missing, stuck or beyond its range.",
        action="Look at its plug and at what holds it.",
    ),
)
SETPOINTS = (Setpoint("speed", most="full_speed"),)
ON_SILENCE = STOP
SETTLED = 10.0
"""s after a change of the set point until its readings say something: the shaft spins up, and transmitters filter."""


def residuals(params: Params) -> tuple[Residual, ...]:
    """What its twin is compared in."""
    told, air = "set points are told in 0.1 Hz", "read in steps of 0.05 A; a worn bearing adds up to 1 A"
    room = "a room is not at one temperature; a worn bearing adds 20 K and more"
    dirt, noise = "read in steps of 10 Pa; half a filter's dirt adds 200 Pa", "the sensor's own noise is 0.11 m/s²"
    return (
        Residual("speed", HZ, 0.2, 3.0, told, "set point at the drive, less the one commanded"),
        Residual("current", AMPERE, 0.15, SETTLED, air, "less what moving the air takes"),
        Residual("bearing_temperature", DEG_C, 4.0, 60.0, room, "less the warmth of a good bearing"),
        Residual("filter_pressure", PASCAL, 30.0, SETTLED, dirt, "less that across a clean filter"),
        Residual("vibration_rms", M_PER_S2, 0.15, 3 * SETTLED, noise, "less that of a sound shaft"),
    )
