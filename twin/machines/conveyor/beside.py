"""A belt's twin beside it: where the Parts on it must be, of what its drive is told, and when they really come.

A Part is laid with its middle over the entry barrier, so the belt's way until its rear has passed that barrier is half its length,
and its way until its front is at the exit is the rest: both together are the way between the barriers, whatever its length.
A Part's edges are taken to have been in the middle between two reports, the drive's right after the first of them: a Command is
written when a report is read, and the next report is the first to tell of it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from twin.calibration.errors import CalibrationError
from twin.calibration.run import Misfits, Run
from twin.clock import Ns, ns
from twin.machines.conveyor import plant
from twin.machines.conveyor.plant import FULL_DUTY, Physics
from twin.machines.conveyor.spec import Params, Status
from twin.residual import Parameter, Seen
from twin.units import M_PER_S2, PERCENT

MOST_PARTS = 16
"""On a belt at once; of more the oldest is forgotten."""

PARAMETERS = (
    Parameter("pull", PERCENT, 0.2, 3.0, "speed scale: share of its set point that the belt reaches"),
    Parameter("friction", M_PER_S2, 0.01, 20.0, "deceleration of the belt without power"),
)


class Riding(NamedTuple):
    """A Part that is known of: the belt's travel when it was laid [m], and half its length once its rear has passed the entry."""

    laid: float
    half: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A belt at a moment.

    Attributes:
        plant: the belt itself, without Parts.
        riding: Parts between the barriers, the foremost first.
        off: of the last Part at the exit: where it was, less where the belt's travel has it [m].
        before: the last report.
    """

    plant: plant.State
    riding: tuple[Riding, ...]
    off: float
    before: Status


def start(params: Params, physics: Physics, seen: Seen) -> State:
    """A belt that begins at rest; of Parts that lie on it already nothing is known."""
    return State(plant.start(params, physics), (), 0.0, seen.status)


def step(state: State, params: Params, seen: Seen, dt: Ns) -> State:
    """Let `dt` pass up to a new report."""
    before, now = state.before, seen.status
    first = Ns(dt // 2)
    middle, _ = plant.step(state.plant, params, _pins(now, params), first)
    travel, riding, off = middle.travel, state.riding, state.off
    way = _way(params, middle)
    if now.at_entry and not before.at_entry:
        riding = (*riding, Riding(travel))[-MOST_PARTS:]
    if before.at_entry and not now.at_entry:
        riding = tuple(one._replace(half=travel - one.laid) if one.half is None else one for one in riding)
    if now.at_exit and not before.at_exit and riding:
        off = _due(riding[0], way) - travel
        riding = riding[1:]
    end, _ = plant.step(middle, params, _pins(now, params), Ns(dt - first))
    return State(end, riding, off, now)


def _pins(status: Status, params: Params) -> dict[str, float]:
    return {"run": int(status.running), "speed": status.speed / params.full_speed * FULL_DUTY}


def _way(params: Params, state: plant.State) -> float:
    entry, exit_ = plant.barriers(state, params)
    return exit_ - entry


def _due(part: Riding, way: float) -> float:
    """The belt's travel at which a Part's front is at the exit; of a Part whose rear has not passed the entry the latest."""
    return part.laid + way - (part.half or 0.0)


def told(state: State, params: Params, seen: Seen) -> dict[str, tuple[float, float]]:
    """The set point, and how far the Part at the exit, or one that is overdue there, is from where the belt's travel has it."""
    found = {}
    status, command = seen.status, seen.command
    if command is not None and status.running and command.run:
        found["speed"] = (status.speed, command.speed)
    overdue = state.plant.travel - _due(state.riding[0], _way(params, state.plant)) if state.riding else 0.0
    found["way"] = (-overdue, 0.0) if overdue > 0.0 else (state.off, 0.0)
    return found


def misfits(run: Run, params: Params, physics: Physics) -> Misfits:
    """Of each Part that rode from the entry to the exit, how far off it was there; in units of what seeing its edges late makes.

    Raises:
        CalibrationError: no Part did.
    """
    late = float(np.median(run.steps)) * params.speed * math.sqrt(3.0 / 12.0)
    found = [off / late for off in _arrivals(run, params, physics)]
    if not found:
        raise CalibrationError(f"no part rode over {run.machine} from its entry to its exit: it tells neither pull nor friction")
    return Misfits({"way": np.array(found)}, late)


def _arrivals(run: Run, params: Params, physics: Physics) -> list[float]:
    """How far off each Part was; only the reports before and at a change are stepped through."""
    columns = [run[name] for name in ("at_entry", "at_exit", "running", "speed")]
    changed = np.zeros(len(run), bool)
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    looked = changed.copy()
    looked[:-1] |= changed[1:]
    looked[0] = True
    state, last, offs = None, 0.0, []
    for k in np.flatnonzero(looked).tolist():
        entry, exit_, running, speed = (float(column[k]) for column in columns)
        status = Status(at_entry=entry > 0.5, at_exit=exit_ > 0.5, tripped=False, running=running > 0.5, speed=speed, parts=0)
        seen = Seen(status)
        if state is None:
            state = start(params, physics, seen)
        else:
            count = len(state.riding) + (status.at_entry and not state.before.at_entry)
            state = step(state, params, seen, ns(float(run.time[k]) - last))
            if len(state.riding) < count:
                offs.append(state.off)
        last = float(run.time[k])
    return offs
