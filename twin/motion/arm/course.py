"""Courses: an arm's samples from one rest to the next, by a move of the joints or along lines of the tool point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin.frames import inverse
from twin.kernel import Floats, Ints
from twin.motion.arm import profile
from twin.motion.arm.follow import Endless, Path, Stuck, follow, free_effort, rest_torques, spline_between, torque_shares
from twin.motion.arm.limits import ArmLimits
from twin.motion.arm.line import Lines, lines, pose_of
from twin.motion.arm.path import Rows
from twin.motion.arm.program import ArmMove, MoveKind
from twin.motion.arm.reach import Lost, Reach
from twin.motion.limits import JobError

OFF_LINE = 1e-5
"""How far the flange may be from a line between the points at which it is solved [m, and in the rotation's matrix]."""
STEEPEST = 500.0
"""How far a joint may go for a metre of line [rad/m]; a singularity asks for more, and the arm would nearly stand."""
HOLDING = 0.98
"""Share of the torque that holding the arm may take; with less left for motion the arm would nearly stand."""
MOST_JOINED = 1000  # lines without a rest
MOST_SAMPLES = 1_000_000
"""Of one plan; with the usual interval more than two hours of motion."""
LEAST_RADIUS = 3e-4
"""A corner that is rounded by less is stopped at, whatever the limits [m]."""
_FINEST = 4  # how often the distance of the points is halved
_MOST_TRIES = 12
# Of the acceleration times the interval squared, and with the usual limits 0.6 mm: a corner rounded by less is passed in
# three intervals or fewer, so that limits are exceeded between samples, or one sample in it slows the whole path.
_LEAST_TURN = 7 / 3


@dataclass(frozen=True, slots=True)
class Course:
    """Samples from rest to rest at whole multiples of the interval; q, qd, qdd: (m, n), line: (m,)."""

    q: Floats
    qd: Floats
    qdd: Floats
    line: Ints


def by_joints(start: Floats, target: Floats, move: ArmMove, limits: ArmLimits, reach: Reach, done: int = 0) -> Course | None:
    """The quickest move of all joints in step, slowed where torques ask for it; None where nothing moves.

    Args:
        done: how many samples the plan has already.

    Raises:
        JobError: somewhere the arm can't even hold itself, or the plan becomes too long.
    """
    distance, phases, lasts = target - start, np.empty((1, limits.robot.axes, 4)), np.empty(1)
    speed, acceleration, jerk = limits.speed * move.speed, np.array(limits.acceleration), np.array(limits.jerk)
    profile.rest_to_rest(distance[None], speed, acceleration, jerk, limits.interval, phases, lasts)
    if lasts[0] == 0.0:
        return None
    count, quickest = round(lasts[0] / limits.interval), float(lasts[0])
    for _ in range(_MOST_TRIES):
        check_samples(done + count, move.line)
        stretch = count * limits.interval / quickest
        q, qd, qdd = (np.empty((count + 1, len(start))) for _ in range(3))
        slower = phases[0] * np.array([stretch, stretch, stretch, 1 / stretch**3])
        time = np.arange(count + 1) * limits.interval
        profile.sample(slower, start, target, float(time[-1]), time, q, qd, qdd)
        _check_holding(q, np.full(len(q), move.line), limits, reach)
        over = float(np.max(torque_shares(q, qd, qdd, reach.torques, limits)))
        if over <= 1.0:
            return Course(q, qd, qdd, np.full(len(q), move.line, np.int64))
        count = int(np.ceil(count * np.sqrt(over)))
    raise JobError("no speed keeps the torques within their limits", move.line)


def joined(start: Floats, moves: Sequence[ArmMove], limits: ArmLimits, reach: Reach) -> int:
    """How many of some moves follow one another without a rest: lines of one tool, to the first corner that is not rounded.

    A corner is given at most half of the lines beside it. Rounded by less than LEAST_RADIUS, or by so little that it is
    passed between two samples, it is stopped at.
    """
    turn = max(limits.tool_acceleration, limits.turn_acceleration * limits.turn_arm)
    least = max(LEAST_RADIUS, _LEAST_TURN * turn * limits.interval**2)
    if not _goes_on(moves, 1):
        return 1
    corner, last = reach.poses(start[None])[0] @ pose_of(moves[0].tool), 0
    for index in range(1, len(moves)):
        if not _goes_on(moves, index):
            return index
        ends = [pose_of(moves[last].target), pose_of(moves[index].target)]
        way = lines(corner, ends, [moves[last].blend, 0.0], limits.turn_arm)
        if way is None or way.move[0] == 1:
            last = index
        elif len(way.move) == 2:
            if way.radius[1] < least:
                return last + 1
            corner, last = ends[0], index
    return len(moves)


def _goes_on(moves: Sequence[ArmMove], index: int) -> bool:
    """Whether a move may follow the one before without a rest, as its program says."""
    if index >= len(moves):
        return False
    before, move = moves[index - 1], moves[index]
    both = before.kind is MoveKind.LINE and move.kind is MoveKind.LINE
    return both and before.blend > 0 and before.tool == move.tool


def by_lines(start: Floats, moves: Sequence[ArmMove], limits: ArmLimits, reach: Reach, done: int = 0) -> Course | None:
    """Straight lines of the tool point with rounded corners; None where they are no longer than rounding.

    Args:
        done: how many samples the plan has already.

    Raises:
        JobError: a pose on a line is out of reach, singular, or can't be held, or the plan becomes too long.
    """
    if len(moves) > MOST_JOINED:
        text = f"{len(moves)} lines follow one another without a rest, more than {MOST_JOINED}"
        raise JobError(text, moves[MOST_JOINED].line, "", len(moves), MOST_JOINED)
    tool = pose_of(moves[0].tool)
    way = lines(reach.poses(start[None])[0] @ tool, [pose_of(move.target) for move in moves],
                [move.blend for move in moves], limits.turn_arm)  # fmt: skip
    if way is None:
        return None
    grid, q = _solved(way, moves, start, tool, limits, reach)
    own = way.line_at(grid)
    line = np.array([move.line for move in moves])[own]
    _check_holding(q, line, limits, reach)
    share = np.array([move.speed for move in moves])[own]
    path = Path(grid, q, limits.tool_speed * share, share, _tool_rows(way, grid, limits), reach.torques)
    found = follow(path, limits, MOST_SAMPLES - done + 1)
    if isinstance(found, Endless):
        raise _too_long(done + found.count, moves[-1].line)
    if isinstance(found, Stuck):
        raise JobError("the line can't be followed at any speed", int(line[found.index]))
    return Course(found.q, found.qd, found.qdd, np.array([move.line for move in moves])[way.line_at(found.s)])


def _solved(
    way: Lines, moves: Sequence[ArmMove], start: Floats, tool: Floats, limits: ArmLimits, reach: Reach
) -> tuple[Floats, Floats]:
    """Points along the lines and the joints there, so close that a spline through them stays on the lines."""
    back = inverse(tool)
    for finer in range(_FINEST + 1):
        grid = way.grid(2**finer)
        poses = way.poses(grid) @ back
        found = reach.track(poses, start)
        if isinstance(found, Lost):
            raise _lost(found, moves[way.line_at(grid)[found.index]], way.poses(grid)[found.index])
        q = np.ascontiguousarray(found)
        q[0] = start
        middle, between = spline_between(grid, q)
        off = np.max(np.abs(reach.poses(between) - way.poses(middle) @ back), axis=(1, 2))
        if np.max(off) <= OFF_LINE:
            break
    slope = np.abs(np.diff(q, axis=0)) / np.diff(grid)[:, None]
    at, axis = (int(index) for index in np.unravel_index(np.argmax(slope), slope.shape))
    if slope[at, axis] > STEEPEST or np.max(off) > OFF_LINE:
        at = at if slope[at, axis] > STEEPEST else int(np.argmax(off))
        joint, steep = limits.robot.joints[axis].name, float(slope[at, axis])
        text = f"the line passes too close to a singular pose: {joint} would turn {steep:.4g} rad/m"
        raise JobError(text, moves[way.line_at(middle)[at]].line, joint, steep, STEEPEST)
    return grid, q


def _lost(found: Lost, move: ArmMove, pose: Floats) -> JobError:
    x, y, z = pose[:3, 3]
    text = f"the line leads through x {x:.4f}, y {y:.4f}, z {z:.4f} m, {found.cause}"
    return JobError(text, move.line, found.joint, found.value, found.limit)


def check_samples(count: int, line: int) -> None:
    """Raise JobError where a plan has too many samples."""
    if count > MOST_SAMPLES:
        raise _too_long(count, line)


def _too_long(count: float, line: int) -> JobError:
    text = f"the program has {count:.0f} samples up to here, more than {MOST_SAMPLES}"
    return JobError(text, line, "", count, MOST_SAMPLES)


def out_of_range(joint: str, value: float, low: float, high: float, line: int) -> JobError:
    """The refusal of a joint angle."""
    limit = low if value < low else high
    return JobError(f"{joint} at {value:.6g} is outside its range {low:.6g} to {high:.6g}", line, joint, value, limit)


def _check_holding(q: Floats, line: Ints, limits: ArmLimits, reach: Reach) -> None:
    most, rest = HOLDING * free_effort(limits), np.abs(rest_torques(q, reach.torques))
    for at, axis in np.argwhere(rest >= most)[:1]:
        joint, value, limit = limits.robot.joints[axis].name, float(rest[at, axis]), float(most[axis])
        text = f"{joint} needs {value:.4g} N m to hold the arm; {limit:.4g} N m are allowed, its friction taken off"
        raise JobError(text, int(line[at]), joint, value, limit)


def _tool_rows(way: Lines, grid: Floats, limits: ArmLimits) -> Rows:
    """Accelerations of the tool point and of its rotation: at most those along the path and across it, added up."""
    bend, twist = way.bend(grid)
    one, turn = np.ones(len(grid)), np.full(len(grid), 1.0 / limits.turn_arm)
    high = np.tile([limits.tool_acceleration] * 2 + [limits.turn_acceleration] * 2, (len(grid), 1))
    return Rows(np.stack([one, -one, turn, -turn], 1), np.stack([bend, bend, twist, twist], 1), -high, high)
