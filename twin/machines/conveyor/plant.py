"""The world's side of a belt: it follows its drive, and Parts lie on it.

Positions are metres along the belt from its entry end, of a Part's leading edge. All of it has closed forms.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.clock import Ns, seconds
from twin.kernel import Floats
from twin.machines.conveyor.spec import ENTRY, Params
from twin.plant import Part

FULL_DUTY = 65_535
AT_ONCE = 1e6  # m/s²
LANDING, LOW, HIGH = 0.01, 0.002, 0.01
"""m along the belt from the entry barrier, below and above it, within which a Part is laid and not dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Physics:
    """What the controller cannot know.

    Attributes:
        width: of the belt [m].
        entry, exit: distance of the light barriers from the belt's ends [m].
        stop: where Parts run up against the end stop, behind the exit barrier [m].
        friction: deceleration of the belt without power [m/s²].
        extra_load: on the belt beside the Parts [kg].
        trip_delay: how long the drive bears an overload [s].
        grip: share of the belt's way that Parts come along; pull: share of its set point that the motor reaches.
        jammed: something holds the belt, which is more than the drive can bear.
    """

    width: float = 0.2
    entry: float = ENTRY
    exit: float = 0.03
    stop: float = 0.01
    friction: float = 0.5
    extra_load: float = 0.0
    trip_delay: float = 0.2
    grip: float = 1.0
    pull: float = 1.0
    jammed: bool = False


@dataclass(frozen=True, slots=True)
class Lying:
    """A Part on the belt and where its leading edge is."""

    part: Part
    front: float


@dataclass(frozen=True, slots=True)
class State:
    """A belt at a moment.

    Attributes:
        speed: of the belt [m/s].
        travel: of the belt since the start [m].
        lying: the Parts, the foremost first.
        overloaded: for how long the drive has borne an overload [s].
        tripped: the drive has switched itself off.
    """

    now: Ns
    speed: float
    travel: float
    lying: tuple[Lying, ...]
    overloaded: float
    tripped: bool
    physics: Physics


def start(params: Params, physics: Physics = Physics()) -> State:
    """An empty belt at rest."""
    return State(Ns(0), 0.0, 0.0, (), 0.0, False, physics)


def step(state: State, params: Params, pins: Mapping[str, Any], dt: Ns) -> tuple[State, dict[str, int]]:
    """Let `dt` pass with the pins as they are; a trip within it is taken to the nanosecond."""
    trip = _until_trip(state, params, pins)
    if trip <= dt:
        state = dataclasses.replace(_ride(state, params, pins, trip), overloaded=0.0, tripped=True)
        dt = Ns(dt - trip)
    state = _ride(state, params, pins, dt)
    return state, sensors(state, params)


def sensors(state: State, params: Params) -> dict[str, int]:
    """What the node's inputs see."""
    entry, exit_ = barriers(state, params)
    return {
        "at_entry": int(any(_covers(lying, entry) for lying in state.lying)),
        "at_exit": int(any(_covers(lying, exit_) for lying in state.lying)),
        "tripped": int(state.tripped),
    }


def signals(state: State) -> dict[str, Any]:
    """What a trace keeps of it."""
    return {"speed": round(state.speed, 4), "parts": len(state.lying)}


def course(state: State, params: Params, pins: Mapping[str, Any], elapsed: Floats) -> dict[str, Floats]:
    """The moving signals at (n,) seconds after the state's own time, while the pins stay and the drive does not trip."""
    target, rate = _drive(state, params, pins)
    ramp = np.minimum(elapsed, abs(target - state.speed) / rate)
    speed = np.where(ramp < elapsed, target, state.speed + math.copysign(rate, target - state.speed) * ramp)
    return {"speed": speed}


def horizon(state: State, params: Params, pins: Mapping[str, Any], limit: Ns) -> Ns:
    """How long until a light barrier or the trip changes; `limit` if none does."""
    limit = min(limit, _until_trip(state, params, pins))
    before = sensors(state, params)
    for travel in _edges(state, params):
        due = _until_travelled(state, params, pins, travel)
        if due is None or due >= limit:
            break
        if sensors(_ride(state, params, pins, due), params) != before:  # a Part may have run up against another
            return due
    return limit


def offer(state: State, params: Params) -> Part | None:
    """The Part at the exit, once the belt is at rest."""
    _, exit_ = barriers(state, params)
    if state.speed > 0.0 or not state.lying or not _covers(state.lying[0], exit_):
        return None
    return state.lying[0].part


def take(state: State, params: Params) -> State:
    """The belt without its foremost Part."""
    return dataclasses.replace(state, lying=state.lying[1:])


def put(state: State, params: Params, part: Part) -> State | None:
    """The belt with a Part across its entry barrier; None while another one is in the way."""
    front = barriers(state, params)[0] + part.length / 2
    if state.lying and state.lying[-1].front - state.lying[-1].part.length < front:
        return None
    return dataclasses.replace(state, lying=(*state.lying, Lying(part, front)))


def landing(state: State, params: Params) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The room at the entry barrier that takes the middle of a Part's foot from an arm, its corners in the belt's frame [m]."""
    near, side = barriers(state, params)[0], state.physics.width / 2
    return (near - LANDING, -side, -LOW), (near + LANDING, side, HIGH)


def reset(state: State) -> State:
    """The belt after somebody has switched its drive on again."""
    return dataclasses.replace(state, tripped=False, overloaded=0.0)


def barriers(state: State, params: Params) -> tuple[float, float]:
    """Where the entry and the exit barrier are [m]."""
    return state.physics.entry, params.length - state.physics.exit


def _covers(lying: Lying, barrier: float) -> bool:
    return lying.front - lying.part.length < barrier <= lying.front


def _drive(state: State, params: Params, pins: Mapping[str, Any]) -> tuple[float, float]:
    """The speed that the belt makes for, and how fast it gets there."""
    if not pins.get("run", 0) or state.tripped:
        return 0.0, state.physics.friction
    if state.physics.jammed:
        return 0.0, AT_ONCE
    return params.full_speed * state.physics.pull * pins.get("speed", 0) / FULL_DUTY, params.acceleration


def _travelled(speed: float, target: float, rate: float, elapsed: float) -> tuple[float, float]:
    """Speed and distance after `elapsed` s of going to a target speed at a rate, then staying there."""
    ramp = min(elapsed, abs(target - speed) / rate)
    reached = target if ramp < elapsed else speed + math.copysign(rate * ramp, target - speed)
    return reached, (speed + reached) / 2 * ramp + target * (elapsed - ramp)


def _ride(state: State, params: Params, pins: Mapping[str, Any], dt: Ns) -> State:
    speed, distance = _travelled(state.speed, *_drive(state, params, pins), seconds(dt))
    room = barriers(state, params)[1] + state.physics.stop
    lying = []
    for one in state.lying:
        front = max(one.front, min(one.front + distance * state.physics.grip, room))
        lying.append(Lying(one.part, front))
        room = front - one.part.length
    overloaded = state.overloaded + seconds(dt) if _overload(state, params, pins) else 0.0
    now, travel = Ns(state.now + dt), state.travel + distance
    return State(now, speed, travel, tuple(lying), overloaded, state.tripped, state.physics)


def _overload(state: State, params: Params, pins: Mapping[str, Any]) -> bool:
    load = state.physics.extra_load + sum(one.part.mass for one in state.lying)
    return bool(pins.get("run", 0)) and not state.tripped and (load > params.max_load or state.physics.jammed)


def _until_trip(state: State, params: Params, pins: Mapping[str, Any]) -> Ns:
    """How long until the drive trips, in whole µs from 1 on; far away if it does not."""
    if not _overload(state, params, pins):
        return Ns(1 << 62)
    return _micros(max(0.0, state.physics.trip_delay - state.overloaded))


def _micros(elapsed: float) -> Ns:
    """Seconds, rounded up to a whole µs: a node's clock has no finer one. At least 1 µs, so that time goes on."""
    return Ns(max(1, math.ceil(elapsed * 1e6 - 1e-3)) * 1000)


def _edges(state: State, params: Params) -> list[float]:
    """Distances of belt travel at which a Part's edge meets a barrier, if nothing holds it up, in their order."""
    grip = state.physics.grip
    ahead = (
        (barrier - edge) / grip if grip else math.inf
        for barrier in barriers(state, params)
        for one in state.lying
        for edge in (one.front, one.front - one.part.length)
    )
    return sorted(distance for distance in ahead if distance >= 0.0)


def _until_travelled(state: State, params: Params, pins: Mapping[str, Any], distance: float) -> Ns | None:
    """How long until the belt has travelled a distance, rounded up to a whole µs; None if it never does."""
    target, rate = _drive(state, params, pins)
    ramp = abs(target - state.speed) / rate
    over_ramp = (state.speed + target) / 2 * ramp
    if distance <= over_ramp:
        slope = math.copysign(rate, target - state.speed)
        root = math.sqrt(max(0.0, state.speed**2 + 2 * slope * distance))
        elapsed = 2 * distance / (state.speed + root) if distance else 0.0
    elif target > 0.0:
        elapsed = ramp + (distance - over_ramp) / target
    else:
        return None
    return _micros(elapsed + 2e-9)
