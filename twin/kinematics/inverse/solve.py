"""From flange poses to joints: the closed form where the chain has one, else the search."""

import math
from collections.abc import Callable

import numpy as np

from twin.kernel import Floats
from twin.kinematics.inverse.answers import (
    Answer,
    Lost,
    NoClosedForm,
    PoseError,
    Reason,
    Singular,
    Solution,
    Tracked,
    Unreachable,
)
from twin.kinematics.inverse.closed import BRANCHES, Flags
from twin.kinematics.inverse.geometry import Chain, Family, chain, form
from twin.kinematics.inverse.search import search
from twin.kinematics.inverse.settle import EXACT, errors, idle, settled
from twin.kinematics.inverse.windings import follow, nearest_turns
from twin.kinematics.robot import Robot

# An answer misses its pose by no more than this [m, rad].
ACCURACY = 1e-9
# A pose may be off a rigid transform by the rounding of seven written digits.
_RIGID = 1e-6
# Joints that are this close are the same solution [rad]; at a singularity two branches meet with the root of the rounding.
_SAME = 1e-6
# What misses a pose by less [m, rad] may reach it after all.
_ALMOST = 1e-4
# A joint within this of its limit is at it [rad or m].
_AT_LIMIT = 1e-9


def family(robot: Robot) -> Family:
    """How the robot's joints are found."""
    found = form(robot)
    return Family.NUMERIC if found is None else found.family


def solve(robot: Robot, pose: Floats, seed: Floats | None = None) -> Answer:
    """Joints that put the flange at a pose, within their limits and the nearest to a seed.

    Args:
        pose: (4, 4) of the flange in the base frame.
        seed: (n,) where the joints are now; without one, as near to the middle of the limits as can be.

    Raises:
        PoseError: the pose is not a rigid transform; or the seed is not n finite numbers.
    """
    goal, axes = _rigid(np.asarray(pose)[None])[0], chain(robot)
    near = _seed(robot, axes, seed)
    if form(robot) is None:
        return _searched(robot, axes, goal, None if seed is None else near)
    joints, real = _branches(robot, axes, goal, near)
    if not real.any():
        missed = errors(axes, joints, goal)
        best = int(np.argmin(missed))
        return Unreachable(Reason.REACH, joints[best], float(missed[best]))
    joints = _with_nearest(robot, axes, goal, joints[real], None if seed is None else near)
    beyond = _beyond(axes, joints)
    inside = joints[(beyond <= 0.0).all(axis=1)]
    if not len(inside):
        return _limited(robot, axes, goal, joints, beyond)
    steps = np.abs(inside - near) / axes.speed
    return _answer(robot, axes, goal, inside[int(np.argmin(steps.max(axis=1)))])


def all_solutions(robot: Robot, pose: Floats, seed: Floats | None = None) -> Floats:
    """(k, n) every branch that puts the flange at a pose within the limits, once each, at the turns nearest to a seed.

    At a singular pose, where joints could move while the flange stands still, one of them stands for them all.

    Args:
        pose, seed: as of `solve`.

    Raises:
        NoClosedForm: the chain is none that a closed form knows.
        PoseError: as of `solve`.
    """
    if form(robot) is None:
        raise NoClosedForm(f"{robot.name}: its chain has no closed form; solve() searches for one solution")
    goal, axes = _rigid(np.asarray(pose)[None])[0], chain(robot)
    joints, real = _branches(robot, axes, goal, _seed(robot, axes, seed))
    kept: list[Floats] = []
    for row in joints[real & (_beyond(axes, joints) <= 0.0).all(axis=1)]:
        apart = [np.abs((row - other + math.pi) % (2.0 * math.pi) - math.pi).max() for other in kept]
        if min(apart, default=math.inf) > _SAME:
            kept.append(row)
    return np.array(kept).reshape(len(kept), len(axes.direction))


def track(robot: Robot, poses: Floats, start: Floats, jump: float = 0.5) -> Tracked | Lost:
    """Joints along a path of flange poses, each near the one before.

    Args:
        poses: (N, 4, 4) in the base frame.
        start: (n,) joints before the first pose.
        jump: no joint moves further from pose to pose [rad or m].

    Raises:
        PoseError: a pose is not a rigid transform, named by its index; or the start is not n finite numbers.
    """
    axes = chain(robot)
    goals = _rigid(poses)
    near = _seed(robot, axes, start)
    path = np.empty((len(goals), len(near)))
    followed = _follower(robot, axes, goals, jump)
    index = followed(0, near, path)
    while index < len(goals):
        near = path[index - 1] if index else near
        # Near a singularity the branches part where the joints could have gone on.
        joints = settled(axes, goals[index], near)
        if not _goes_on(axes, goals[index], joints, near, jump):
            return _lost(robot, axes, goals[index], near, jump, path[:index])
        path[index] = joints
        index += 1 + followed(index + 1, joints, path)
    return Tracked(path)


Follower = Callable[[int, Floats, Floats], int]


def _follower(robot: Robot, axes: Chain, goals: Floats, jump: float) -> Follower:
    """What fills a path from an index on, and returns how many poses it could follow."""
    closed = form(robot)
    if closed is None:
        return lambda first, near, path: search(robot).follow(goals[first:], near, ACCURACY / 10.0, jump, path[first:])
    branches = np.empty((len(goals), BRANCHES, len(axes.direction)))
    real = np.empty((len(goals), BRANCHES), np.bool_)
    closed.solve(goals, branches, real)
    real &= ~closed.free(goals, branches)
    return lambda first, near, path: follow(
        branches[first:], real[first:], near, axes.low, axes.high, axes.turning, jump, path[first:]
    )


def _searched(robot: Robot, axes: Chain, goal: Floats, near: Floats | None) -> Answer:
    joints, off = np.empty((1, len(axes.direction))), np.empty(1)
    starts = None if near is None else np.clip(near, axes.low, axes.high)[None]
    search(robot).solve(goal[None], starts, ACCURACY / 10.0, joints, off)
    if off[0] > ACCURACY:
        return Unreachable(Reason.SEARCH, joints[0], float(off[0]))
    if near is not None:
        nearest_turns(joints, near, axes.low, axes.high, axes.turning)
    return _answer(robot, axes, goal, joints[0])


def _answer(robot: Robot, axes: Chain, goal: Floats, joints: Floats) -> Answer:
    """Joints that all but reach the goal, brought there, and told as what they are."""
    error = float(errors(axes, joints[None], goal)[0])
    if error > EXACT:
        better = settled(axes, goal, joints)
        reached = float(errors(axes, better[None], goal)[0])
        if reached < error and (_beyond(axes, better[None]) <= 0.0).all():
            joints, error = better, reached
    if error > ACCURACY:
        return Unreachable(Reason.SEARCH, joints, error)
    still = idle(robot, axes, joints)
    return Singular(joints, error, still) if still else Solution(joints, error)


def _limited(robot: Robot, axes: Chain, goal: Floats, joints: Floats, beyond: Floats) -> Unreachable:
    """Which joint stands in the way, in the branch that is least beyond the limits."""
    branch = int(np.argmin(beyond.max(axis=1)))
    joint = int(np.argmax(beyond[branch]))
    value = float(joints[branch, joint])
    limit = float(axes.high[joint] if value > axes.high[joint] else axes.low[joint])
    error = float(errors(axes, joints[branch][None], goal)[0])
    return Unreachable(Reason.LIMITS, joints[branch], error, robot.joints[joint].name, value, limit)


def _lost(robot: Robot, axes: Chain, goal: Floats, near: Floats, jump: float, path: Floats) -> Lost:
    onward = settled(axes, goal, near)
    beyond = _beyond(axes, onward[None])
    if errors(axes, onward[None], goal)[0] <= ACCURACY and beyond.max() > 0.0 and np.abs(onward - near).max() <= jump:
        barred = _limited(robot, axes, goal, onward[None], beyond)
        return Lost(len(path), barred.reason, path, barred.joint, barred.value, barred.limit)
    answer = solve(robot, goal, near)
    if isinstance(answer, Unreachable):
        return Lost(len(path), answer.reason, path, answer.joint, answer.value, answer.limit)
    step = np.abs(answer.joints - near)
    joint = int(np.argmax(step))
    return Lost(len(path), Reason.JUMP, path, robot.joints[joint].name, float(step[joint]), jump)


def _branches(robot: Robot, axes: Chain, goal: Floats, near: Floats) -> tuple[Floats, Flags]:
    """(8, 6) joints at the turns nearest to `near`, improved where a chain is not quite its family's, and which exist."""
    closed = form(robot)
    assert closed is not None
    joints, real = np.empty((1, BRANCHES, 6)), np.empty((1, BRANCHES), np.bool_)
    closed.solve(goal[None], joints, real)
    rows, exist = joints[0], real[0]
    missed = errors(axes, rows, goal)
    # A branch that all but exists may do so for an arm not quite of its family, or where rounding decides.
    for index in np.flatnonzero((missed > EXACT) & (exist | (missed < _ALMOST))):
        rows[index] = settled(axes, goal, rows[index])
        missed[index] = errors(axes, rows[index : index + 1], goal)[0]
    exist = missed <= ACCURACY
    nearest_turns(rows, near, axes.low, axes.high, axes.turning)
    return rows, exist


def _with_nearest(robot: Robot, axes: Chain, goal: Floats, joints: Floats, near: Floats | None) -> Floats:
    """The branches, and where joints may stand anywhere, also those nearest to a seed."""
    closed = form(robot)
    if near is None or closed is None or not closed.free(goal[None], joints[None]).any():
        return joints
    nearest = settled(axes, goal, near)[None]
    return np.concatenate((joints, nearest)) if errors(axes, nearest, goal)[0] <= ACCURACY / 10.0 else joints


def _beyond(axes: Chain, joints: Floats) -> Floats:
    """(k, n) how far joints are beyond their limits; not above 0 within them."""
    return np.maximum(joints - axes.high, axes.low - joints) - _AT_LIMIT


def _goes_on(axes: Chain, goal: Floats, joints: Floats, near: Floats, jump: float) -> bool:
    reached = errors(axes, joints[None], goal)[0] <= ACCURACY
    return bool(reached and (_beyond(axes, joints[None]) <= 0.0).all() and np.abs(joints - near).max() <= jump)


def _rigid(poses: Floats) -> Floats:
    """(N, 4, 4) the rigid transforms that poses are but for rounding."""
    given = np.array(poses, dtype=np.float64)
    if given.ndim != 3 or given.shape[1:] != (4, 4):
        raise PoseError(f"poses are (N, 4, 4), one is (4, 4), not {given.shape}")
    for index in np.argwhere(~np.isfinite(given))[:1]:
        raise PoseError(f"pose {index[0]}: element {index[1]}, {index[2]} is not finite")
    left, size, right = np.linalg.svd(given[:, :3, :3])
    off = np.abs(size - 1.0).max(axis=1) + np.abs(given[:, 3] - (0.0, 0.0, 0.0, 1.0)).max(axis=1)
    for index in np.flatnonzero((off > _RIGID) | (np.linalg.det(given[:, :3, :3]) < 0.0))[:1]:
        raise PoseError(f"pose {index}: off a rigid transform by {off[index]:.3g}, allowed is {_RIGID:g}, or mirrored")
    given[:, :3, :3] = left @ right
    return given


def _seed(robot: Robot, axes: Chain, seed: Floats | None) -> Floats:
    """(n,) joints to be near to: the seed, else the middle of the limits."""
    if seed is None:
        return axes.middle
    given = np.array(seed, dtype=np.float64)
    if given.shape != axes.low.shape or not np.isfinite(given).all():
        raise PoseError(f"{robot.name}: joints are {len(axes.low)} finite numbers, not {given}")
    return given
