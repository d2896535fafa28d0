"""An extractor's twin beside it: what its set point alone makes of its current, its pressure, its warmth and its vibration."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from twin.arrays import Floats
from twin.calibration.run import Misfits, Run
from twin.clock import Ns, seconds
from twin.machines.extractor import plant
from twin.machines.extractor.plant import FULL_DUTY, Physics
from twin.machines.extractor.spec import SETTLED, Params, Status
from twin.residual import Parameter, Seen
from twin.units import AMPERE, DEG_C, ONE, PASCAL, S

GRAVITY = 9.80665
NOISE = 0.108
"""m/s² of the accelerometer itself: 2.8 counts of 1/256 g."""
SCATTER = {"current": 0.02, "bearing_temperature": 0.2, "filter_pressure": 4.0, "vibration_rms": 0.04}
"""By which readings scatter [SI]: they come in coarse steps."""

PARAMETERS = (
    Parameter("idle", AMPERE, 0.01, 5.0, "the motor's current without air"),
    Parameter("load", AMPERE, 0.01, 10.0, "what moving the air adds at full speed"),
    Parameter("pressure", PASCAL, 1.0, 2000.0, "across a clean filter at full speed"),
    Parameter("warm", DEG_C, 0.5, 100.0, "how much warmer than the room its bearing is at full speed"),
    Parameter("soak", S, 10.0, 10_000.0, "time constant of the bearing's warmth"),
    Parameter("ambient", DEG_C, -20.0, 60.0, "of the room: the bearing's zero point", scale=50.0),
    Parameter("shake", ONE, 0.001, 2.0, "g of the shaft's own vibration at full speed; the sensor has steps of 0.01", within=0.1),
)


@dataclass(frozen=True, slots=True)
class State:
    """A shaft and a bearing at a moment.

    Attributes:
        plant: the extractor itself.
        still: for how long its set point has not changed [s].
        doubt: how far its bearing may have been off at the start, what is left of it now [K].
        before: the last report.
    """

    plant: plant.State
    still: float
    doubt: float
    before: Status


def start(params: Params, physics: Physics, seen: Seen) -> State:
    """A shaft that turns as it is told to; a bearing at what its sensor says."""
    status: Status = seen.status
    state = plant.start(params, physics)
    speed = status.speed if status.running else 0.0
    made = plant.State(Ns(0), speed, status.bearing_temperature, physics.wear, physics.dirt, 0.0, False, physics, state.seen)
    return State(made, 0.0, 0.3, status)


def step(state: State, params: Params, seen: Seen, dt: Ns) -> State:
    """Let `dt` pass up to a new report."""
    before, now = state.before, seen.status
    pins = {"run": int(before.running), "speed": before.speed / params.full_speed * FULL_DUTY}
    made, _ = plant.step(state.plant, params, pins, dt)
    same = (before.running, before.speed) == (now.running, now.speed)
    still = state.still + seconds(dt) if same else 0.0
    return State(made, still, state.doubt, now)


def told(state: State, params: Params, seen: Seen) -> dict[str, tuple[float, float]]:
    """All that its set point tells; but for the bearing only once the shaft has come to its speed."""
    status, command = seen.status, seen.command
    share = state.plant.speed / params.full_speed
    found = {"bearing_temperature": (status.bearing_temperature, state.plant.bearing)}
    if command is not None and status.running and command.run:
        found["speed"] = (status.speed, command.speed)
    if state.still >= SETTLED:
        found["current"] = (status.current, plant.current(state.plant, params))
        found["filter_pressure"] = (status.filter_pressure, plant.pressure(state.plant, params))
        if not status.vibration_failed and state.still >= 2 * SETTLED:
            found["vibration_rms"] = (status.vibration_rms, float(vibration(state.plant.physics.shake, share)))
    return found


def vibration(shake: float, share: float | Floats) -> float | Floats:
    """RMS of a sound shaft at a share of its full speed, with the sensor's own noise [m/s²]."""
    return np.sqrt((GRAVITY * shake * share**2) ** 2 / 2 + NOISE**2)


def misfits(run: Run, params: Params, physics: Physics) -> Misfits:
    """What is left of the readings once the shaft has come to its speed, of the bearing's always; in units of their scatter."""
    share = np.where(run["running"] > 0.5, run["speed"], 0.0) / params.full_speed
    still = _still(run, share)
    quiet, turning = still >= SETTLED, still >= 2 * SETTLED
    turning &= (share > 0.0) & (run["vibration_failed"] < 0.5)
    square = share**2
    amps = np.where(share < 0.01, 0.0, physics.idle + physics.load * square * (1.0 - 0.4 * physics.dirt))
    left = {
        "current": (run["current"] - amps)[quiet],
        "filter_pressure": (run["filter_pressure"] - physics.pressure * (1.0 + 2.5 * physics.dirt) * square)[quiet],
        "vibration_rms": (run["vibration_rms"] - vibration(physics.shake, share))[turning],
        "bearing_temperature": run["bearing_temperature"] - _bearing(run, params, physics, share),
    }
    return Misfits({name: values / SCATTER[name] for name, values in left.items()}, SCATTER)


def _still(run: Run, share: Floats) -> Floats:
    """For how long the set point has not changed, at each report [s]."""
    changed = np.concatenate(([True], share[1:] != share[:-1]))
    since = run.time[np.maximum.accumulate(np.where(changed, np.arange(len(run)), 0))]
    return run.time - since


def _bearing(run: Run, params: Params, physics: Physics, share: Floats) -> Floats:
    """Its temperature at each report: two lags in a row, in closed form from one change of the set point to the next."""
    made = np.empty(len(run))
    first = np.concatenate(([0], 1 + np.flatnonzero(share[1:] != share[:-1]), [len(run) - 1]))
    rise = (physics.warm + physics.worn_warm * physics.wear**2) / params.full_speed
    speed, heat = float(share[0]) * params.full_speed, float(run["bearing_temperature"][:5].mean())
    made[0] = heat
    for begin, end in itertools.pairwise(first.tolist()):
        if end == begin:
            continue
        target = float(share[begin]) * params.full_speed
        elapsed = run.time[begin + 1 : end + 1] - run.time[begin]
        away, goal = speed - target, physics.ambient + rise * target
        lead = rise * away * physics.spin_up / (physics.spin_up - physics.soak)
        made[begin + 1 : end + 1] = (
            goal + lead * np.exp(-elapsed / physics.spin_up) + (heat - goal - lead) * np.exp(-elapsed / physics.soak)
        )
        heat, speed = float(made[end]), target + away * math.exp(-float(elapsed[-1]) / physics.spin_up)
    return made
