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
from twin.motion.limits import JobError

_ROUNDING = 1e-6  # share of a limit; rad or m at the end of a range
_PAST_HOME = math.radians(2.0)
"""How far homing may take a joint past its home, on the search for a cam's edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What hangs at the flange, in its frame: mass [kg], centre of mass [m], tensor about it as of a Link [kg m²].

    Raises:
        JobError: a number is not finite, or a mass or a moment of inertia is below 0.
    """

    mass: float
    centre: Vector
    inertia: Inertia = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        xx, _, _, yy, _, zz = self.inertia
        for value in (self.mass, *self.centre, *self.inertia):
            if not math.isfinite(value):
                raise JobError(f"a load's mass, centre or inertia is {value:g}, not finite", 0, "load", value)
        for value in (self.mass, xx, yy, zz):
            if value < 0.0:
                raise JobError(f"a load's mass or moment of inertia of {value:g} is below 0", 0, "load", value, 0.0)


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

    Raises:
        JobError: a number is none, a limit leaves nothing, or the order does not name each joint once.
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

    def __post_init__(self) -> None:
        for axis, low, high in zip("XYZ", self.low, self.high, strict=True):
            if not low <= high:
                raise JobError(f"the tool point's space along {axis} is {low:g} to {high:g} m", 0, axis, low, high)
        if not self.tool_speed > 0.0:
            raise JobError(f"tool_speed={self.tool_speed:g} m/s must be above 0", 0, "tool speed", self.tool_speed, 0.0)
        if not 0.0 < self.kept < math.inf:
            raise JobError(f"kept={self.kept:g} m must be finite and above 0", 0, "kept", self.kept, 0.0)
        for value in self.rotors:
            if not 0.0 <= value < math.inf:
                raise JobError(f"a rotor's inertia of {value:g} kg m² must be finite and not below 0", 0, "rotors", value, 0.0)
        if sorted(self.homing_order) != list(range(len(self.homing_order))):
            raise JobError(f"homing_order {self.homing_order} does not name each joint once, from 0 on")


def check(
    plan: ArmPlan, limits: ArmLimits, kernels: Kernels, site: Site | None = None, start: Floats | None = None
) -> tuple[Refusal, ...]:
    """Why a plan must not be carried out: what it was refused for itself, and what is found here; empty where it may be.

    For each line and cause the worst place is named. Of joints: range, speed, acceleration, torque with friction and load;
    of the tool point: space and speed; of the arm, its tool and a gripped part: collisions among themselves and with
    what stands around, also between the samples and while homing, one joint after the other. Between two samples the mean
    speed and acceleration count, too, so a gap in the record is found; and it must rest where an operation is done, at its
    begin and at its end, and go on from where it stood, after homing from home.

    Args:
        start: (n,) where the joints stand before the program; without it homing at its begin is not swept.
    """
    path, where, findings = plan.trajectory, site or Site(), Findings()
    if plan.refusals:
        return plan.refusals
    _check_whole(plan, limits, kernels, where, start, findings)
    if not findings.refusals:
        rows = _Rows(plan)
        _check_rests(path, rows, limits, start, findings)
        _check_joints(path, rows, limits, findings)
        _check_torques(path, rows, limits, kernels, where, findings)
        _check_tool_point(plan, rows, limits, kernels, where, findings)
        _check_bodies(path, rows, limits, kernels, where, start, findings)
    return findings.refusals


def _check_whole(plan: ArmPlan, limits: ArmLimits, kernels: Kernels, site: Site, start: Floats | None, findings: Findings) -> None:
    """Refuse what can't be judged at all."""
    path, robot, axes = plan.trajectory, limits.robot, limits.robot.axes
    if kernels.robot.digest() != robot.digest():
        findings.refuse(0, f"the kernels are those of another arm ({kernels.robot.name}) than the limits ({robot.name})")
    if not any(capsule.link > 0 for capsule in robot.capsules):
        findings.refuse(0, f"{robot.name} has no capsules, so nothing is known of what it touches")
    for name, given in (("rotors", site.rotors), ("homing_order", site.homing_order)):
        if given and len(given) != axes:
            findings.refuse(0, f"{name} has {len(given)} values; {robot.name} has {axes} axes", name, len(given), axes)
    if start is not None and (start.shape != (axes,) or not np.isfinite(start).all()):
        findings.refuse(0, f"the start {start.tolist()} is not {axes} joint angles")
    count = len(path)
    if not count or any(values.shape != (count, axes) for values in (path.q, path.qd, path.qdd)) or path.line.shape != (count,):
        findings.refuse(0, f"the trajectory is not a record of {axes} joints")
    elif not all(np.isfinite(values).all() for values in (path.time, path.q, path.qd, path.qdd)):
        findings.refuse(0, "the trajectory holds a number that is not finite")
    before = [op.before for op in plan.ops]
    if sorted(before) != before or any(not 0 <= at <= count for at in before):
        findings.refuse(0, "the operations are not in the order of the trajectory's samples")


class _Rows:
    """How a plan's samples fall into runs of one line, and what happens at them.

    Attributes:
        run: (k,) number of the run of each sample. start: (r,) first sample of each. line: (r,) of the program.
        held: (k,) whether something is gripped.
        homes: of each homing the program's line, the sample after it, whether something is gripped then, and whether the
            arm stands at home already.
        rests: samples at which the arm must stand: the first, the last, and those before and after operations.
        follows: (k,) whether a sample is the first or follows an operation.
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
        self.homes: list[tuple[int, int, bool, bool]] = []
        rests, holds, homed = {0, count - 1}, False, -1
        for op in plan.ops:
            rests |= {max(op.before - 1, 0), min(op.before, count - 1)}
            if op.kind is ArmOpKind.HOME:
                self.homes.append((op.line, op.before, holds, homed == op.before))
                homed = op.before
            elif op.kind in (ArmOpKind.GRIP, ArmOpKind.RELEASE):
                holds = op.kind is ArmOpKind.GRIP
                self.held[op.before :] = holds
        self.rests: Ints = np.array(sorted(rests), dtype=np.int64)
        self.follows = np.zeros(count, np.bool_)
        self.follows[[0, *(op.before for op in plan.ops if op.before < count)]] = True
        self.joined = np.ones(count, np.bool_)
        self.joined[[0, *(before for _, before, _, _ in self.homes if before < count)]] = False

    def worst(self, excess: Floats) -> Iterator[tuple[int, int]]:
        """Sample and column of the largest excess above 0 of each run and column; a number that is none exceeds everything.

        Args:
            excess: (k, c).
        """
        peaks = np.maximum.reduceat(excess, self.start, axis=0)
        ends = np.append(self.start[1:], len(excess))
        for run, column in np.argwhere(~(peaks <= 0.0)):
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


def _check_rests(path: Trajectory, rows: _Rows, limits: ArmLimits, start: Floats | None, findings: Findings) -> None:
    joints, homes = limits.robot.joints, {before for _, before, _, _ in rows.homes}
    for what, values, most in (("speed", path.qd, limits.speed), ("acceleration", path.qdd, np.array(limits.acceleration))):
        excess = np.zeros_like(values)
        excess[rows.rests] = np.maximum(np.abs(values[rows.rests]) - _ROUNDING * most, 0.0)
        for at, axis in rows.worst(excess):
            joint, value = joints[axis].name, float(values[at, axis])
            findings.refuse(int(path.line[at]), f"{joint} has {what} {value:.6g} where it must stand", joint, value, 0.0)
    first = path.q[0] if start is None else start
    for at in np.flatnonzero(rows.follows).tolist():
        before = np.array(limits.home) if at in homes else path.q[at - 1] if at > 0 else first
        for axis in np.flatnonzero(np.abs(path.q[at] - before) > _ROUNDING).tolist():
            joint, value, limit = joints[axis].name, float(path.q[at, axis]), float(before[axis])
            text = f"{joint} goes on from {value:.6g}, but it stands at {limit:.6g}"
            findings.refuse(int(path.line[at]), text, joint, value, limit)


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
    home = np.array(limits.home)
    for line, before, holds, homed in rows.homes:
        here = home if homed else path.q[before - 1] if before > 0 else start
        if here is not None:
            scene = full if holds else free
            way = _homing(here, home, site.homing_order)
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
