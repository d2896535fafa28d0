"""A printer's mechanics, and a probe that X runs into."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from twin.clock import Ns
from twin.machines.printer import plant as printer
from twin.machines.printer.plant import FRAME, Physics, State, signals, start, under

__all__ = ["Physics", "signals", "start", "under"]

TOUCH = 2984
"""Steps of X from its switch at which the probe closes: 37.3 mm."""


def step(state: State, params: Any, pins: Mapping[str, Any], dt: Ns) -> tuple[State, dict[str, int]]:
    """As the printer's."""
    after, seen = printer.step(state, params, pins, dt)
    touches = int(after.position[0] >= TOUCH)
    return after, {"guard": 0, "probe": touches, **{name: seen[name] for name in ("x_endstop", "z_endstop")}}


def horizon(state: State, params: Any, pins: Mapping[str, Any], limit: Ns) -> Ns:
    """The frame in which a switch or the probe changes."""
    found = printer.horizon(state, params, pins, limit)
    words = pins.get("frames", printer.SILENT)[: found // FRAME]
    rising = words & ~np.concatenate(([np.uint32(state.word)], words[:-1])).astype(np.uint32) & 1 != 0
    way = np.cumsum(np.where(rising, np.where(words & 2 != 0, 1, -1), 0)) + int(state.position[0])
    other = np.flatnonzero((way >= TOUCH) != (state.position[0] >= TOUCH))
    return Ns((int(other[0]) + 1) * FRAME) if len(other) else found
