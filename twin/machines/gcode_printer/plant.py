"""The world's side of a printer with a board of its own: what that board has made of it.

The node's two pins carry characters, no levels: nothing here follows them. Whoever plays the board (hil/marlin.py) writes
what it does into the state.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twin.clock import Ns
from twin.machines.gcode_printer.spec import Params
from twin.plant import Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Physics:
    """What the controller cannot know.

    Attributes:
        ambient: °C.
        sticky: °C of the plate above which parts stick to it.
        hotend_lag, bed_lag: time constants in which its heaters follow their targets [s].
    """

    ambient: float = 22.0
    hotend_lag: float = 40.0
    bed_lag: float = 120.0
    sticky: float = 40.0


@dataclass(frozen=True, slots=True)
class State:
    """A printer at a moment.

    Attributes:
        position: X, Y, Z [mm] where the board has moved to.
        fed: mm of filament; most: the largest that it has been; taken: in the parts already taken away.
        hotend, bed: °C.
        heating: the hotend has a target; motors: they are powered.
    """

    now: Ns
    physics: Physics
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fed: float = 0.0
    most: float = 0.0
    taken: float = 0.0
    hotend: float = 22.0
    bed: float = 22.0
    heating: bool = False
    motors: bool = False


def start(params: Params, physics: Physics = Physics()) -> State:
    """A cold printer."""
    return State(Ns(0), physics, hotend=physics.ambient, bed=physics.ambient)


def step(state: State, params: Params, pins: Mapping[str, Any], dt: Ns) -> tuple[State, dict[str, int]]:
    """Let `dt` pass; only its board changes anything."""
    return dataclasses.replace(state, now=Ns(state.now + dt)), {}


def signals(state: State) -> dict[str, Any]:
    """What a trace keeps of it."""
    return {
        "hotend": round(state.hotend, 2),
        "bed": round(state.bed, 2),
        "fed": round(state.fed, 3),
        "position_mm": tuple(round(mm, 4) for mm in state.position),
    }


def horizon(state: State, params: Params, pins: Mapping[str, Any], limit: Ns) -> Ns:
    """How long until a sensor changes: there is none."""
    return limit


def offer(state: State, params: Params) -> Part | None:
    """The part on the plate, once the motors and the hotend's heater are off."""
    made = state.most - state.taken
    if made <= 0 or state.motors or state.heating:
        return None
    return Part(filament_mm=made)


def take(state: State, params: Params) -> State:
    """The plate without its part."""
    return dataclasses.replace(state, taken=state.most)


def sticks(state: State, params: Params) -> bool:
    """Whether the part cannot be pulled off the plate."""
    return state.bed > state.physics.sticky
