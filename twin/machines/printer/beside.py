"""A printer's twin beside it: the heaters' own equations, driven by the duty, the fan and the filament that the printer reports."""

import functools
import math
from dataclasses import dataclass

import numpy as np

from twin.calibration.run import Misfits, Run, level
from twin.clock import Ns, seconds
from twin.kernel import Floats
from twin.machines.printer import plant
from twin.machines.printer.plant import Physics
from twin.machines.printer.spec import BED_BOUND, HOTEND_BOUND, Params, Status
from twin.residual import Parameter, Seen
from twin.units import DEG_C, ONE, PERCENT, S, Unit, W

HEATERS = ("hotend", "bed")
BOUNDS = (HOTEND_BOUND, BED_BOUND)
READING = 0.06
"""K by which a reading scatters: it is told in tenths of a degree, and the ADC's own step is half of that when it is hot."""
J_PER_K = Unit("J/K", "JE", 1.0, "joule per kelvin")
W_PER_K = Unit("W/K", "D52", 1.0, "watt per kelvin")


def _of(heater: str, text: str) -> tuple[Parameter, ...]:
    return (
        Parameter(f"{heater}.power", W, 1.0, 5000.0, f"{text}: at full duty; held at its nameplate unless freed", free=False),
        Parameter(f"{heater}.capacity", J_PER_K, 0.5, 50_000.0, f"{text}: heat capacity"),
        Parameter(f"{heater}.loss", W_PER_K, 0.001, 50.0, f"{text}: loss to the ambient"),
        Parameter(f"{heater}.lag", S, 0.1, 60.0, f"{text}: time constant of its sensor"),
        Parameter(f"{heater}.offset", DEG_C, -50.0, 50.0, f"{text}: that its sensor reads too warm, its zero point", scale=50.0),
    )


PARAMETERS = (
    *_of("hotend", "hotend"),
    Parameter("hotend.fan_effect", PERCENT, 0.0, 3.0, "hotend: share of its loss that the part fan adds at full speed"),
    *_of("bed", "bed"),
    Parameter(
        "ambient", DEG_C, -20.0, 60.0, "of the room: read off a thermometer, it can't be told from the offsets", 50.0, free=False
    ),
    Parameter("melt_heat", ONE, 0.0, 0.1, "J/(mm³ K) that melting takes: a table's value for the filament", free=False),
)


@dataclass(frozen=True, slots=True)
class State:
    """The heaters at a moment.

    Attributes:
        heat: (2, 2) block and sensor [°C] of hotend and bed.
        doubt: of each heater [K]: how far its block may have been off at the start, what is left of it now.
        before: the last report.
        most: the most filament that was fed [m]: what goes to and fro is melted once.
    """

    heat: Floats
    doubt: tuple[float, float]
    before: Status
    most: float
    physics: Physics


@functools.lru_cache(maxsize=64)
def _coefficients(params: Params, physics: Physics) -> Floats:
    return plant.start(params, physics).coefficients


def start(params: Params, physics: Physics, seen: Seen) -> State:
    """Heaters that stand at what their sensors say; a block that is being heated is ahead of its sensor by as much as it can be."""
    status: Status = seen.status
    heat, doubt = np.empty((2, 2)), [0.0, 0.0]
    for row, (name, thermal) in enumerate(zip(HEATERS, (physics.hotend, physics.bed), strict=True)):
        read = getattr(status, f"{name}_temperature") - thermal.offset
        gain = thermal.power * getattr(status, f"{name}_power") - thermal.loss * (read - physics.ambient)
        ahead = thermal.lag * gain / thermal.capacity
        heat[row] = read + ahead, read
        doubt[row] = abs(ahead)
    return State(heat, (doubt[0], doubt[1]), status, status.e, physics)


def step(state: State, params: Params, seen: Seen, dt: Ns) -> State:
    """Let `dt` pass up to a new report; between two reports the duty is their mean."""
    before, now, elapsed = state.before, seen.status, seconds(dt)
    if elapsed <= 0.0:
        return state
    heat, most = state.heat.copy(), max(state.most, now.e)
    melted = (most - state.most) * params.steps_per_mm[3] / elapsed
    fan, rows = level((before.fan + now.fan) / 2), _coefficients(params, state.physics)
    out, doubt = np.empty(1), []
    for row, (name, thermal) in enumerate(zip(HEATERS, (state.physics.hotend, state.physics.bed), strict=True)):
        duty = level((getattr(before, f"{name}_power") + getattr(now, f"{name}_power")) / 2)
        plant.warm_up(heat[row], rows[row], duty, fan, level(0.0 if row else melted), level(elapsed), state.physics.ambient, out)
        doubt.append(state.doubt[row] * math.exp(-elapsed * thermal.loss / thermal.capacity))
    return State(heat, (doubt[0], doubt[1]), now, most, state.physics)


def told(state: State, params: Params, seen: Seen) -> dict[str, tuple[float, float]]:
    """Both temperatures, once the doubt about their start is a third of the bound; at rest the axes against their Job."""
    found = {}
    for row, (name, thermal) in enumerate(zip(HEATERS, (state.physics.hotend, state.physics.bed), strict=True)):
        if state.doubt[row] < BOUNDS[row] / 3:
            signal = f"{name}_temperature"
            found[signal] = (getattr(seen.status, signal), float(state.heat[row, 1]) + thermal.offset)
    if seen.planned is not None and seen.homed:
        found |= {axis: (getattr(seen.status, axis), seen.planned[k]) for k, axis in enumerate("xyz")}
    return found


def misfits(run: Run, params: Params, physics: Physics) -> Misfits:
    """What is left of each reading, in units of its scatter, of a run that began with blocks as warm as their sensors."""
    elapsed, rows = run.steps, _coefficients(params, physics)
    most = np.maximum.accumulate(run["e"])
    with np.errstate(divide="ignore", invalid="ignore"):
        melted = np.where(elapsed > 0.0, np.diff(most) * params.steps_per_mm[3] / elapsed, 0.0)
    fan, found = run.means("fan"), {}
    for row, (name, thermal) in enumerate(zip(HEATERS, (physics.hotend, physics.bed), strict=True)):
        read = run[f"{name}_temperature"]
        began = read[: max(1, run.before(run[f"{name}_power"] > 0.0))].mean() - thermal.offset
        heat, out = np.array([began, began]), np.empty(len(elapsed))
        flow = np.zeros(len(elapsed)) if row else np.ascontiguousarray(melted)
        plant.warm_up(heat, rows[row], run.means(f"{name}_power"), fan, flow, elapsed, physics.ambient, out)
        found[f"{name}_temperature"] = (read[1:] - thermal.offset - out) / READING
    return Misfits(found, READING)
