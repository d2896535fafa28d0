"""An arm's twin beside it: where its cams say that its joints are, and where its Job has them.

A joint's angle is the steps that its node has counted since homing; it is right as long as none is lost. Its cam says the truth,
once each time it passes: the home angle lies between the angle before the edge and the one behind it. A cam that sits wrong is
wrong for homing too, and nothing that the arm reports tells of it.
"""

import math
from dataclasses import dataclass

from twin.calibration.errors import CalibrationError
from twin.calibration.run import Misfits, Run
from twin.clock import Ns, seconds
from twin.machines.arm.plant import Physics
from twin.machines.arm.spec import JOINTS, Params, Status
from twin.residual import Parameter, Seen

SKEW = 0.04
"""s by which a cam's bit and an angle may be apart in one report: a tick, and how far the drive is behind its steps."""
FINEST = math.radians(0.01)
"""rad to which an edge is known at best."""

PARAMETERS: tuple[Parameter, ...] = ()
"""None: an arm that homes by its cams takes them for its zero, and counted steps tell nothing of what they move."""


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
        cam = params.home[k]
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
    """Nothing.

    Raises:
        CalibrationError: always, and why.
    """
    raise CalibrationError(f"{run.machine} counts its own steps from its own cams: its reports tell nothing of its plant")
