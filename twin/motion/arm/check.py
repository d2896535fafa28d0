"""The check of an arm's whole plan before anything moves: joints, torques, tool point, bodies, and the record itself.

It trusts nothing of how a plan was made: every sample is held against the limits, and so is what happens between two.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from twin.kernel import Floats, Ints
from twin.kinematics import collision
from twin.kinematics.kernels import Kernels
from twin.kinematics.robot import Inertia, JointKind, Vector
from twin.kinematics.shapes import Capsule, Surroundings
from twin.motion.arm.limits import ArmLimits
from twin.motion.arm.program import ArmOpKind, MoveKind
from twin.motion.arm.trajectory import ArmPlan, Trajectory
from twin.motion.findings import Findings, Refusal

_ROUNDING = 1e-6  # share of a limit; rad or m at the end of a range
_PAST_HOME = math.radians(2.0)
"""How far homing may take a joint past its home, on the search for a cam's edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What hangs at the flange, in its frame: mass [kg], centre of mass [m], tensor about it as of a Link [kg m²]."""

    mass: float
    centre: Vector
    inertia: Inertia = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where an arm works and what it carries.

    Attributes:
        surroundings: what it must not touch, other machines' space among it, in the frame of its base.
        tool, load: what is always at the flange: its shape in the flange's frame, and its weight.
        part, part_load: between `grip` and `release`: the part's shape, and the weight of tool and part together. A
            part stands on something when it is gripped, so on that side its shape is given smaller by `kept`.
        low, high: corners of the space that the tool point must not leave [m].
        tool_speed: largest of the tool point, for every kind of move [m/s].
        kept: least distance of bodies [m].
        rotors: inertia of the motors seen through the gears, of each joint [kg m²]; left out, they weigh nothing.
        homing_order: joints as homing moves them, one after the other; left out, the first one is the last.
    """

    surroundings: Surroundings = field(default_factory=Surroundings)
    tool: tuple[Capsule, ...] = ()
    load: Load | None = None
    part: tuple[Capsule, ...] = ()
    part_load: Load | None = None
    low: Vector = (-math.inf, -math.inf, -math.inf)
    high: Vector = (math.inf, math.inf, math.inf)
    tool_speed: float = math.inf
    kept: float = collision.KEPT
    rotors: tuple[float, ...] = ()
    homing_order: tuple[int, ...] = ()


def check(
    plan: ArmPlan, limits: ArmLimits, kernels: Kernels, site: Site | None = None, start: Floats | None = None
) -> tuple[Refusal, ...]:
    """Why a plan must not be carried out: what it was refused for itself, and what is found here; empty where it may be.

    For each line and cause the worst place is named. Of joints: range, speed, acceleration, torque with friction and load;
    of the tool point: space and speed; of the arm, its tool and a gripped part: collisions among themselves and with
    what stands around, also between the samples and while homing, one joint after the other. Between two samples the mean
    speed and acceleration count, too, so a gap in the record is found.

    Args:
        start: (n,) where the joints stand before a program that begins with homing; without it that is not swept.
    """
    path, where, findings = plan.trajectory, site or Site(), Findings()
    if len(path) and not all(np.isfinite(values).all() for values in (path.time, path.q, path.qd, path.qdd)):
        findings.refuse(0, "the trajectory holds a number that is not finite")
    elif len(path):
        rows = _Rows(plan)
        _check_joints(path, rows, limits, findings)
        _check_torques(path, rows, limits, kernels, where, findings)
        _check_tool_point(plan, rows, limits, kernels, where, findings)
        _check_bodies(path, rows, limits, kernels, where, start, findings)
    return plan.refusals + findings.refusals


class _Rows:
    """How a plan's samples fall into runs of one line, and what happens at them.

    Attributes:
        run: (k,) number of the run of each sample. start: (r,) first sample of each. line: (r,) of the program.
        held: (k,) whether something is gripped.
        homes: of each homing the program's line and the sample after it.
        joined: (k,) whether the arm comes from the sample before by a motion of the record.
    """

    def __init__(self, plan: ArmPlan) -> None:
        line = plan.trajectory.line
        count = len(line)
        changes = np.flatnonzero(np.diff(line)) + 1
        self.start: Ints = np.concatenate((np.zeros(1, np.int64), changes))
        self.line = line[self.start]
        self.run: Ints = np.repeat(np.arange(len(self.start)), np.diff(np.append(self.start, count)))
        self.held = np.zeros(count, np.bool_)
        self.homes = [(op.line, op.before) for op in plan.ops if op.kind is ArmOpKind.HOME]
        self.joined = np.ones(count, np.bool_)
        self.joined[[0, *(before for _, before in self.homes if before < count)]] = False
        for op in plan.ops:
            if op.kind in (ArmOpKind.GRIP, ArmOpKind.RELEASE):
                self.held[op.before :] = op.kind is ArmOpKind.GRIP

    def worst(self, excess: Floats) -> Iterator[tuple[int, int]]:
        """Sample and column of the largest excess above 0 of each run and column.

        Args:
            excess: (k, c).
        """
        peaks = np.maximum.reduceat(excess, self.start, axis=0)
        ends = np.append(self.start[1:], len(excess))
        for run, column in np.argwhere(peaks > 0.0):
            begin = self.start[run]
            yield int(begin + np.argmax(excess[begin : ends[run], column])), int(column)

    def stretches(self) -> Iterator[slice]:
        """Samples that follow each other by motions, with the same thing in the jaws."""
        breaks = np.flatnonzero(~self.joined | np.diff(self.held, prepend=self.held[:1]))
        for begin, end in zip(breaks, [*breaks[1:], len(self.held)], strict=True):
            yield slice(int(begin), int(end))


def _change(values: Floats, rows: _Rows) -> Floats:
    """(k, n) from each sample's predecessor to it; 0 where there is none."""
    found = np.diff(values, axis=0, prepend=values[:1])
    found[~rows.joined] = 0.0
    return found


def _check_joints(path: Trajectory, rows: _Rows, limits: ArmLimits, findings: Findings) -> None:
    joints, most = limits.robot.joints, np.array(limits.acceleration)
    for at, axis in rows.worst(np.maximum(path.q - limits.high, limits.low - path.q) - _ROUNDING):
        joint, value = joints[axis], float(path.q[at, axis])
        text = f"{joint.name} goes to {value:.6g}, outside its range {joint.low:.6g} to {joint.high:.6g}"
        findings.refuse(int(path.line[at]), text, joint.name, value, joint.low if value < joint.low else joint.high)
    step, change = _change(path.q, rows) / path.interval, _change(path.qd, rows) / path.interval
    mean = path.qd - change * (path.interval / 2)
    # With an acceleration within its limit the mean speed is no further from that of the two ends than this.
    jumped = np.abs(step - mean) > most * (path.interval / 4) + _ROUNDING * limits.speed
    jumped[~rows.joined] = False
    changed = np.where(jumped, 4.0 / path.interval * np.abs(step - mean), np.abs(change))
    _check_most("speed", np.maximum(np.abs(path.qd), np.abs(step)), limits.speed, path, rows, limits, findings)
    _check_most("acceleration", np.maximum(np.abs(path.qdd), changed), most, path, rows, limits, findings)


def _check_torques(path: Trajectory, rows: _Rows, limits: ArmLimits, kernels: Kernels, site: Site, findings: Findings) -> None:
    loads = [load for load in (site.load, site.part_load) if load]
    usual = 0 if site.load else -1
    held = np.where(rows.held & (site.part_load is not None), len(loads) - 1, usual)
    weights = np.array([(load.mass, *load.centre, *load.inertia) for load in loads]).reshape(len(loads), 10)
    joints = limits.robot.joints
    axes = np.array([(*joint.axis, float(joint.kind is JointKind.REVOLUTE)) for joint in joints])
    efforts = np.empty_like(path.q)
    kernels.efforts(path.q, path.qd, path.qdd, weights, held, axes, limits.robot.gravity, efforts)
    if site.rotors:
        efforts += path.qdd * site.rotors
    _check_most("effort", np.abs(efforts), limits.effort, path, rows, limits, findings)


def _check_most(
    what: str, values: Floats, most: Floats, path: Trajectory, rows: _Rows, limits: ArmLimits, findings: Findings
) -> None:
    """Refuse where values of the joints (k, n) are above what is allowed (n,)."""
    for at, axis in rows.worst(values - most * (1.0 + _ROUNDING)):
        joint, value, limit = limits.robot.joints[axis], float(values[at, axis]), float(most[axis])
        text = f"{joint.name} needs {what} {value:.6g}, at most {limit:.6g} is allowed"
        findings.refuse(int(path.line[at]), text, joint.name, value, limit)


def _check_tool_point(plan: ArmPlan, rows: _Rows, limits: ArmLimits, kernels: Kernels, site: Site, findings: Findings) -> None:
    path, moves = plan.trajectory, plan.program.moves
    if not moves:
        return
    move = np.clip(np.searchsorted([move.line for move in moves], path.line, side="right") - 1, 0, len(moves) - 1)
    found = np.empty((len(path), 4))
    kernels.tool_points(path.q, path.qd, np.array([move.tool[:3] for move in moves]), move, found)
    most = np.array([limits.tool_speed if move.kind is MoveKind.LINE else math.inf for move in moves])[move]
    most = np.minimum(most, site.tool_speed)
    for at, _ in rows.worst((found[:, 3] - most * (1.0 + _ROUNDING))[:, None]):
        value, limit = float(found[at, 3]), float(most[at])
        text = f"the tool point moves at {value:.6g} m/s, at most {limit:.6g} m/s is allowed"
        findings.refuse(int(path.line[at]), text, "tool speed", value, limit)
    low, high = np.array(site.low), np.array(site.high)
    for at, axis in rows.worst(np.maximum(found[:, :3] - high, low - found[:, :3]) - _ROUNDING):
        value, least, largest = float(found[at, axis]), float(low[axis]), float(high[axis])
        text = f"the tool point goes to {'XYZ'[axis]}={value:.6g} m, outside its space {least:.6g} to {largest:.6g} m"
        findings.refuse(int(path.line[at]), text, "XYZ"[axis], value, least if value < least else largest)


def _check_bodies(
    path: Trajectory,
    rows: _Rows,
    limits: ArmLimits,
    kernels: Kernels,
    site: Site,
    start: Floats | None,
    findings: Findings,
) -> None:
    free = collision.scene(limits.robot, site.surroundings, site.tool)
    full = collision.scene(limits.robot, site.surroundings, site.tool + site.part) if site.part else free
    # An acceleration within its limit leads no further from the straight way between two samples.
    bend = np.array(limits.acceleration) * path.interval**2 / 8
    for part in rows.stretches():
        scene = full if rows.held[part.start] else free
        run = rows.run[part] - rows.run[part.start]
        for found in collision.sweep(kernels, scene, path.q[part], bend, run, site.kept):
            _refuse_bodies(int(rows.line[rows.run[part.start] + found.run]), found, findings)
    for line, before in rows.homes:
        here = path.q[before - 1] if before > 0 else start
        if here is not None:
            scene = full if before > 0 and rows.held[before - 1] else free
            way = _homing(here, np.array(limits.home), site.homing_order)
            for found in collision.sweep(kernels, scene, way, np.zeros_like(bend), None, site.kept):
                _refuse_bodies(line, found, findings)


def _homing(start: Floats, home: Floats, order: tuple[int, ...]) -> Floats:
    """(c, n) corners of the way that homing takes: one joint after the other past its home, to either side, and there."""
    corners = [start]
    for axis in order or (*range(1, len(start)), 0):
        for past in (-_PAST_HOME, _PAST_HOME, 0.0):
            corner = corners[-1].copy()
            corner[axis] = home[axis] + past
            corners.append(corner)
    return np.array(corners)


def _refuse_bodies(line: int, found: collision.TooNear, findings: Findings) -> None:
    pair = " and ".join(found.bodies)
    text = f"{pair} come within {found.distance:.6g} m of each other, at least {found.needed:.6g} m is kept"
    if found.distance < 0.0:
        text = f"{pair} overlap by {-found.distance:.6g} m, at least {found.needed:.6g} m is kept"
    findings.refuse(line, text, pair, found.distance, found.needed)
