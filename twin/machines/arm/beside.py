"""An arm's twin beside it: where its cams say that its joints are, and where its Job has them.

A joint's angle is the steps that its node has counted since homing; it is right as long as none is lost. Its cam says the truth,
once each time it passes: the home angle lies between the angle before the edge and the one behind it.
"""

import math
from dataclasses import dataclass

import numpy as np

from twin.calibration.errors import CalibrationError
from twin.calibration.run import Misfits, Run
from twin.clock import Ns, seconds
from twin.machines.arm.plant import Physics
from twin.machines.arm.spec import JOINTS, Params, Status
from twin.residual import Parameter, Seen
from twin.units import DEG

SKEW = 0.04
"""s by which a cam's bit and an angle may be apart in one report: a tick, and how far the drive is behind its steps."""
FINEST = math.radians(0.01)
"""rad to which an edge is known at best."""

PARAMETERS = tuple(
    Parameter(f"cam.{k}", DEG, -0.2, 0.2, f"zero point of {name}: how far its cam is from its home angle", scale=math.radians(5.0))
    for k, name in enumerate(JOINTS)
)


@dataclass(frozen=True, slots=True)
class State:
    """What the cams have said.

    Attributes:
        off: (6) by how much each joint's angle is beyond its cam's place at the last edge [rad]; 0 where that may be right.
        before: the last report; homed: its angles were counted from home.
    """

    off: tuple[float, ...]
    before: Status
    homed: bool
    physics: Physics


def start(params: Params, physics: Physics, seen: Seen) -> State:
    """Nothing is known against the angles yet."""
    return State((0.0,) * len(JOINTS), seen.status, seen.homed, physics)


def step(state: State, params: Params, seen: Seen, dt: Ns) -> State:
    """Let `dt` pass up to a new report: see which cams have passed."""
    now, before = seen.status, state.before
    if not seen.homed:
        return State((0.0,) * len(JOINTS), now, False, state.physics)
    off = list(state.off)
    for k, name in enumerate(JOINTS):
        was, is_ = getattr(before, name), getattr(now, name)
        cam = params.home[k] + state.physics.cam[k]
        if getattr(now, f"{name}_cam") != getattr(before, f"{name}_cam") and state.homed:
            slack = FINEST + abs(is_ - was) * SKEW / max(seconds(dt), 1e-3)
            off[k] = _beyond(cam, min(was, is_) - slack, max(was, is_) + slack)
    return State(tuple(off), now, True, state.physics)


def _beyond(place: float, low: float, high: float) -> float:
    """How far an interval lies above a place; negative below it, 0 around it."""
    return max(0.0, low - place) + min(0.0, high - place)


def told(state: State, params: Params, seen: Seen) -> dict[str, tuple[float, float]]:
    """Each joint against its cam, and at rest against its Job."""
    if not seen.homed:
        return {}
    found = {f"{name}_zero": (state.off[k], 0.0) for k, name in enumerate(JOINTS)}
    if seen.planned is not None:
        found |= {name: (getattr(seen.status, name), seen.planned[k]) for k, name in enumerate(JOINTS)}
    return found


def misfits(run: Run, params: Params, physics: Physics) -> Misfits:
    """Of each edge of each cam, how far its place is from the middle between the angles around it, in units of half their distance.

    Raises:
        CalibrationError: no cam was passed.
    """
    found, scatter = {}, {}
    homed = run.columns.get("homed", np.ones(len(run)))
    for k, name in enumerate(JOINTS):
        angle, cam = run[name], run[f"{name}_cam"]
        edges = np.flatnonzero((cam[1:] != cam[:-1]) & (homed[1:] > 0.5) & (homed[:-1] > 0.5))
        width = np.maximum(np.abs(angle[edges + 1] - angle[edges]), FINEST) / math.sqrt(12.0)
        middle = (angle[edges + 1] + angle[edges]) / 2
        found[f"{name}_zero"] = (middle - params.home[k] - physics.cam[k]) / width
        scatter[f"{name}_zero"] = float(width.mean()) if len(width) else FINEST
    if not sum(map(len, found.values())):
        raise CalibrationError(f"no joint of {run.machine} passed its cam after homing: it tells no zero point")
    return Misfits(found, scatter)
