"""The world's side of an extractor: its shaft, its motor's current, its bearing, its filter, and what the accelerometer feels.

All of it has closed forms within a second; wear, dirt and the readings change at whole seconds only, so that a node can run alone
between them. What the accelerometer makes of its two values is in hil/vm/vm_accelerometer.py.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from twin.clock import Ns, S, seconds
from twin.machines.extractor.spec import Params

FULL_DUTY = 65_535
LOOK = Ns(S)
HOUR = 3600.0
STATES = {"missing": 0xFFFF, "dead": 0xFFFE, "stuck": 0xFFFD, "shaken": 0xFFFC}
"""What the accelerometer's clock pin says of a sensor that is not good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Physics:
    """What the controller cannot know.

    Attributes:
        ambient: °C.
        spin_up: time constant of the shaft [s].
        idle, load: the motor's current without air [A], and what moving the air adds at full speed: it grows with its square.
        rubbing: current that a bearing adds that is worn out [A].
        warm: how much warmer than the ambient a good bearing is at full speed [K]; worn_warm: what one adds that is worn out;
            soak: time constant of its warmth [s].
        pressure: across a clean filter at full speed [Pa]; it grows with its square.
        shake: the shaft's own vibration at full speed [g]; it grows with its square.
        hammer: the bearing's, when it is worn out, at full speed [g].
        wear, dirt: at the start, 0 to 1; wear_rate, dirt_rate: what an hour of running adds.
        trip_current, trip_delay: what the drive bears for how long [A, s].
        sensor: the accelerometer.
    """

    ambient: float = 22.0
    spin_up: float = 1.5
    idle: float = 0.4
    load: float = 1.4
    rubbing: float = 1.0
    warm: float = 12.0
    worn_warm: float = 95.0
    soak: float = 400.0
    pressure: float = 250.0
    shake: float = 0.1
    hammer: float = 0.2
    wear: float = 0.0
    dirt: float = 0.0
    wear_rate: float = 0.0
    dirt_rate: float = 0.0
    trip_current: float = 3.5
    trip_delay: float = 5.0
    sensor: Literal["good", "missing", "dead", "stuck", "shaken"] = "good"


@dataclass(frozen=True, slots=True)
class State:
    """An extractor at a moment.

    Attributes:
        speed: turns a second.
        bearing: °C.
        wear, dirt: 0 to 1, of the bearing and the filter.
        overloaded: for how long the drive has borne an overload [s].
        seen: what the node's inputs see, since the last whole second.
    """

    now: Ns
    speed: float
    bearing: float
    wear: float
    dirt: float
    overloaded: float
    tripped: bool
    physics: Physics
    seen: Mapping[str, int]


def start(params: Params, physics: Physics = Physics()) -> State:
    """A cold extractor at rest."""
    state = State(Ns(0), 0.0, physics.ambient, physics.wear, physics.dirt, 0.0, False, physics, {})
    return dataclasses.replace(state, seen=sensors(state, params))


def step(state: State, params: Params, pins: Mapping[str, Any], dt: Ns) -> tuple[State, dict[str, int]]:
    """Let `dt` pass with the pins as they are."""
    end = Ns(state.now + dt)
    while (look := Ns(state.now // LOOK * LOOK + LOOK)) <= end:
        state = _look(_turn(state, params, pins, Ns(look - state.now)), params)
    return _turn(state, params, pins, Ns(end - state.now)), dict(state.seen)


def horizon(state: State, params: Params, pins: Mapping[str, Any], limit: Ns) -> Ns:
    """How long until a reading changes; `limit` if none does."""
    still = _still(state, params, pins)
    if still >= limit:
        return limit
    then = _turn(state, params, pins, still)
    while (passed := Ns(then.now // LOOK * LOOK + LOOK - state.now)) < limit:
        then = _look(_turn(then, params, pins, Ns(state.now + passed - then.now)), params)
        if then.seen is not state.seen and then.seen != state.seen:
            return passed
    return limit


def signals(state: State) -> dict[str, Any]:
    """What a trace keeps of it."""
    return {"speed": round(state.speed, 1), "bearing": round(state.bearing), "wear": round(state.wear, 3)}


def under(state: State, params: Params, physics: Physics) -> State:
    """The same extractor under another physics; its wear and its dirt stay what they have become."""
    return dataclasses.replace(state, physics=physics)


def current(state: State, params: Params) -> float:
    """Of the motor [A]: moving air takes torque with the square of the speed, and a dirty filter lets less air through."""
    physics, share = state.physics, state.speed / params.full_speed
    if share < 0.01:
        return 0.0
    return physics.idle + physics.load * share**2 * (1.0 - 0.4 * state.dirt) + physics.rubbing * state.wear**2


def pressure(state: State, params: Params) -> float:
    """Across the filter [Pa]; it grows with the square of the speed, and with the dirt."""
    return state.physics.pressure * (1.0 + 2.5 * state.dirt) * (state.speed / params.full_speed) ** 2


def sensors(state: State, params: Params) -> dict[str, int]:
    """What the node's inputs see: readings in coarse steps, as a transmitter's own filter makes them."""
    physics, share = state.physics, state.speed / params.full_speed
    shaking = min(round(100.0 * physics.shake * share**2), 255)
    hammering = min(round(500.0 * physics.hammer * state.wear * share), 255)
    turning = round(4.0 * state.speed) * 25
    return {
        "tripped": int(state.tripped),
        "current": _loop(round(current(state, params) / 0.05) * 0.05 / 5.0),
        "bearing_temperature": round(9_930 + 198.59 * (round(2.0 * state.bearing) / 2.0)),
        "filter_pressure": _loop(round(pressure(state, params) / 10.0) / 100.0),
        "vibration_scl": STATES.get(physics.sensor, turning),
        "vibration_sda": shaking | hammering << 8,
    }


def _loop(share: float) -> int:
    """4 to 20 mA over 120 Ω at 3.3 V for full scale."""
    return round((4.0 + 16.0 * min(max(share, 0.0), 1.0)) * 0.12 / 3.3 * FULL_DUTY)


def _still(state: State, params: Params, pins: Mapping[str, Any]) -> Ns:
    """For how long no reading changes for sure: of a shaft that has come to its speed only the bearing's warmth still does."""
    physics = state.physics
    target = _target(state, params, pins)
    if physics.wear_rate or physics.dirt_rate or abs(state.speed - target) > 1e-6 or current(state, params) > physics.trip_current:
        return Ns(0)
    end = physics.ambient + _rise(state, params) * target
    away = state.bearing - end
    edge = round(2.0 * state.bearing) / 2.0 + (0.25 if away < 0.0 else -0.25) - end  # where the next half degree is read
    if sensors(state, params) != state.seen:
        return Ns(0)
    if abs(away) < 1e-6 or away * edge <= 0.0:
        return Ns(1 << 62)
    return Ns(max(0, int(physics.soak * math.log(away / edge)) - 1) * S)


def _target(state: State, params: Params, pins: Mapping[str, Any]) -> float:
    """Where the shaft goes to."""
    on = pins.get("run", 0) and not state.tripped
    return float(params.full_speed * pins.get("speed", 0) / FULL_DUTY) if on else 0.0


def _rise(state: State, params: Params) -> float:
    """K for each turn a second that the bearing comes to."""
    physics = state.physics
    return (physics.warm + physics.worn_warm * state.wear**2) / params.full_speed


def _turn(state: State, params: Params, pins: Mapping[str, Any], dt: Ns) -> State:
    """The shaft goes to its set point, and the bearing to where its friction takes it: two lags in a row, exactly."""
    if dt <= 0:
        return state
    physics, elapsed = state.physics, seconds(dt)
    target = _target(state, params, pins)
    away = state.speed - target
    left, kept = math.exp(-elapsed / physics.spin_up), math.exp(-elapsed / physics.soak)
    rise = _rise(state, params)
    end = physics.ambient + rise * target
    lead = rise * away * physics.spin_up / (physics.spin_up - physics.soak)
    bearing = end + lead * left + (state.bearing - end - lead) * kept
    now, speed = Ns(state.now + dt), target + away * left
    return State(now, speed, bearing, state.wear, state.dirt, state.overloaded, state.tripped, physics, state.seen)


def _look(state: State, params: Params) -> State:
    """What a second has worn, whether the drive has had enough, and the new readings."""
    physics = state.physics
    hours = seconds(LOOK) / HOUR * (state.speed / params.full_speed)
    wear = min(state.wear + physics.wear_rate * hours, 1.0)
    dirt = min(state.dirt + physics.dirt_rate * hours, 1.0)
    overloaded = state.overloaded + seconds(LOOK) if current(state, params) > physics.trip_current else 0.0
    tripped = state.tripped or overloaded >= physics.trip_delay
    worn = State(state.now, state.speed, state.bearing, wear, dirt, overloaded, tripped, physics, state.seen)
    seen = sensors(worn, params)
    if seen == state.seen:
        return worn
    return State(state.now, state.speed, state.bearing, wear, dirt, overloaded, tripped, physics, seen)
