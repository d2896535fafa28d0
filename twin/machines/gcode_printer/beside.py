"""The twin of a printer that plans for itself: its board tells no duty, so its heaters are taken to follow their targets."""

import math
from dataclasses import dataclass

import numpy as np

from twin.arrays import Floats
from twin.calibration.run import Misfits, Run
from twin.clock import Ns, seconds
from twin.machines.gcode_printer.plant import Physics
from twin.machines.gcode_printer.spec import Params
from twin.residual import Parameter, Seen
from twin.units import DEG_C, S

HEATERS = ("hotend", "bed")
READING = 1.0
"""K by which a reading scatters about a board's own regulation."""

PARAMETERS = (
    Parameter("hotend_lag", S, 1.0, 2000.0, "time constant in which the hotend follows its target"),
    Parameter("bed_lag", S, 1.0, 5000.0, "time constant in which the bed follows its target"),
    Parameter("ambient", DEG_C, -20.0, 60.0, "of the room", scale=50.0),
)


@dataclass(frozen=True, slots=True)
class State:
    """Both heaters [°C] and their targets since the last report."""

    heat: tuple[float, float]
    targets: tuple[float, float]
    physics: Physics


def _targets(seen: Seen) -> tuple[float, float]:
    return seen.status.hotend_target, seen.status.bed_target


def start(params: Params, physics: Physics, seen: Seen) -> State:
    """Heaters that stand at what their sensors say."""
    return State((seen.status.hotend_temperature, seen.status.bed_temperature), _targets(seen), physics)


def step(state: State, params: Params, seen: Seen, dt: Ns) -> State:
    """Let `dt` pass up to a new report."""
    physics, elapsed = state.physics, seconds(dt)
    lags = physics.hotend_lag, physics.bed_lag
    hotend, bed = (
        _followed(heat, target or physics.ambient, elapsed / lag)
        for heat, target, lag in zip(state.heat, state.targets, lags, strict=True)
    )
    return State((hotend, bed), _targets(seen), physics)


def _followed(heat: float, target: float, share: float) -> float:
    return target + (heat - target) * math.exp(-share)


def told(state: State, params: Params, seen: Seen) -> dict[str, tuple[float, float]]:
    """Both temperatures, as long as the board answers."""
    if not seen.status.connected:
        return {}
    return {
        f"{name}_temperature": (getattr(seen.status, f"{name}_temperature"), heat)
        for name, heat in zip(HEATERS, state.heat, strict=True)
    }


def misfits(run: Run, params: Params, physics: Physics) -> Misfits:
    """What is left of each reading, in units of its scatter."""
    return Misfits({
        f"{name}_temperature": _left(run, name, lag, physics.ambient)
        for name, lag in zip(HEATERS, (physics.hotend_lag, physics.bed_lag), strict=True)
    }, READING)  # fmt: skip


def _left(run: Run, name: str, lag: float, ambient: float) -> Floats:
    read, target = run[f"{name}_temperature"], run[f"{name}_target"]
    goal = np.where(target > 0.0, target, ambient)[:-1]
    kept = np.exp(-run.steps / lag)
    made, heat = np.empty(len(kept)), float(read[0])
    for k in range(len(kept)):
        made[k] = heat = goal[k] + (heat - goal[k]) * kept[k]
    left: Floats = (read[1:] - made) / READING
    return left
