"""The joints for a flange pose, found numerically: Levenberg and Marquardt's steps, for LANES poses at a time.

The damping is proportional to the squared error (Chan and Lawrence), so steps are cautious far away and Newton's near the
goal. A lane that is done, or has used up its attempts, takes the next pose, or helps another lane, so that all stay busy.

Joints are kept within their limits after each step, and a joint that a step would push out of them is left out of it. That
can hold an attempt in a corner, so every second one leaves revolute joints loose, and counts if it ends within the limits.
"""

import math

import numpy as np

from twin.kernel import Floats, Ints, kernel
from twin.kinematics.parts.core import AXES, LANES, flange_lanes, jacobian_lanes

# Damping per squared error, and the least that keeps the steps of an arm with fewer than six axes defined.
_DAMPING, _LEAST = 0.1, 1e-14
# No joint moves further in one step [rad or m].
_STEP = 1.0
# An attempt is given up after so many steps.
_STEPS = 20
# A turn this close to half a turn has no direction that could be told [1 + trace].
_HALF_TURN = 1e-6

# Columns of a row of `joints`: lower and upper limit, 1 where a whole turn fits between them, their middle, and 1 where the
# joint is revolute.
LOW, HIGH, ENDLESS, MIDDLE, TURNING = 0, 1, 2, 3, 4
# How far beyond its limits a loose joint may go: any angle is within it [rad].
_BEYOND = 10.0


@kernel
def find_joints(
    poses: Floats, starts: Floats, joints: Floats, table: Floats, known: Floats, settings: Floats, out: Floats, off: Floats
) -> None:
    """Joints for flange poses.

    Args:
        poses: (N, 4, 4) in the base frame.
        starts: (N, n) where the first attempt begins, or (0, n): at the table.
        joints: (n, 5) limits, see `LOW`.
        table: (a, n) joints to begin at; known: (13, a) the flange there, see `_nearest`.
        settings: (4,) error in place [m] and turn [rad] to stop at, attempts, rows of the table that an attempt looks at,
            and how much a metre counts against a radian.
        out: (N, n) the best joints found, overwritten.
        off: (N,) the larger of their errors in place [m] and turn [rad], overwritten.
    """
    q, at, jacobian = np.zeros(LANES * AXES), np.zeros(LANES * 12), np.zeros(LANES * 6 * AXES)
    target, error, square = np.zeros(LANES * 12), np.zeros(LANES * 6), np.zeros(LANES * 36)
    pose, steps, tried = np.full(LANES, -1), np.zeros(LANES, np.int64), np.zeros(poses.shape[0], np.int64)
    worst, loose, likeness = np.full(LANES, np.inf), np.zeros(LANES), np.zeros(int(settings[2]))
    off[:] = np.inf
    waiting, busy = 0, LANES
    for lane in range(LANES):
        # Not begun yet: the first round finds every lane at its last step.
        steps[lane] = _STEPS
    while busy > 0:
        flange_lanes(q, at)
        jacobian_lanes(q, jacobian)
        _errors(target, at, settings[3], error, worst)
        busy = 0
        for lane in range(LANES):
            here = pose[lane]
            steps[lane] += 1
            if here >= 0:
                _keep(lane, here, q, joints, worst, out, off)
            if here < 0 or min(off[here], worst[lane]) <= settings[0] or steps[lane] > _STEPS:
                pose[lane] = _next_pose(lane, pose, waiting, tried, off, settings)
                if pose[lane] < 0:
                    continue
                waiting = max(waiting, pose[lane] + 1)
                steps[lane] = 0
                _begin(lane, pose[lane], tried[pose[lane]], poses, starts, table, known, likeness, target, q)
                loose[lane] = tried[pose[lane]] % 2
                tried[pose[lane]] += 1
                # The step at hand is that of where the lane was: where it is now, it takes none.
                for i in range(6):
                    error[i * LANES + lane] = 0.0
            busy += 1
        _free(jacobian, q, joints, loose, settings[3], error)
        _normal(jacobian, error, square)
        _solve(square, error)
        _advance(jacobian, error, joints, loose, q)


@kernel
def _next_pose(lane: int, pose: Ints, waiting: int, tried: Ints, off: Floats, settings: Floats) -> int:
    """What a lane does next: its own pose again, else one that waits, else what another lane is at; -1 if nothing is left."""
    if waiting < off.shape[0] and (pose[lane] < 0 or off[pose[lane]] <= settings[0] or tried[pose[lane]] >= settings[1]):
        return waiting
    for other in range(LANES):
        here = pose[(lane + other) % LANES]
        if here >= 0 and off[here] > settings[0] and tried[here] < settings[1]:
            return int(here)
    return -1


@kernel
def follow_poses(
    poses: Floats, start: Floats, joints: Floats, table: Floats, known: Floats, settings: Floats, jump: float, out: Floats
) -> int:
    """Joints along a path, each searched from those before.

    Args:
        poses, joints, table, known, settings: as of `find_joints`, with one attempt.
        start: (n,) joints before the first pose.
        jump: no joint moves further from pose to pose [rad or m].
        out: (N, n) overwritten up to where the path is lost.

    Returns:
        How many poses were followed: N, or the index of the first that was not.
    """
    near, off = np.empty((1, AXES)), np.empty(1)
    near[0] = start
    for pose in range(poses.shape[0]):
        find_joints(poses[pose : pose + 1], near, joints, table, known, settings, out[pose : pose + 1], off)
        if off[0] > settings[0]:
            return pose
        for i in range(AXES):
            if joints[i, ENDLESS] > 0.0:
                there = out[pose, i] - 2.0 * math.pi * np.rint((out[pose, i] - near[0, i]) / (2.0 * math.pi))
                out[pose, i] = there if joints[i, LOW] <= there <= joints[i, HIGH] else out[pose, i]
            if abs(out[pose, i] - near[0, i]) > jump:
                return pose
        near[0] = out[pose]
    return int(poses.shape[0])


@kernel
def _begin(
    lane: int,
    pose: int,
    attempt: int,
    poses: Floats,
    starts: Floats,
    table: Floats,
    known: Floats,
    likeness: Floats,
    target: Floats,
    q: Floats,
) -> None:
    """Set a lane to a pose and to where an attempt begins."""
    for i in range(12):
        target[i * LANES + lane] = poses[pose, i // 4, i % 4]
    if attempt == 0 and starts.shape[0] > 0:
        for i in range(AXES):
            q[i * LANES + lane] = starts[pose, i]
        return
    block = likeness.shape[0]
    first = attempt * block % table.shape[0]
    best = first + _nearest(poses[pose], known[:, first : first + block], likeness)
    for i in range(AXES):
        q[i * LANES + lane] = table[best, i]


@kernel
def _nearest(pose: Floats, known: Floats, likeness: Floats) -> int:
    """Which of the known poses is most like this one.

    Args:
        known: (13, b) the upper three rows of each pose, row by row, its place times w²; then minus half its distance from
            the origin, squared, times w², with w as what a metre counts against a radian.
    """
    for j in range(likeness.shape[0]):
        alike = known[12, j]
        for i in range(12):
            alike += pose[i // 4, i % 4] * known[i, j]
        likeness[j] = alike
    return int(np.argmax(likeness))


@kernel
def _keep(lane: int, pose: int, q: Floats, joints: Floats, worst: Floats, out: Floats, off: Floats) -> None:
    """Write down where a lane is, if it is within the limits and nothing was nearer to its pose."""
    if worst[lane] >= off[pose]:
        return
    for i in range(AXES):
        if not joints[i, LOW] <= q[i * LANES + lane] <= joints[i, HIGH]:
            return
    off[pose] = worst[lane]
    for i in range(AXES):
        out[pose, i] = q[i * LANES + lane]


@kernel
def _errors(target: Floats, at: Floats, metre: float, error: Floats, worst: Floats) -> None:
    """What is missing to the target: place, times `metre`, and twice the sine of half the turn, along its axis."""
    for i in range(LANES):
        ax, ay, az = at[i], at[4 * LANES + i], at[8 * LANES + i]
        bx, by, bz = at[LANES + i], at[5 * LANES + i], at[9 * LANES + i]
        cx, cy, cz = at[2 * LANES + i], at[6 * LANES + i], at[10 * LANES + i]
        ux, uy, uz = target[i], target[4 * LANES + i], target[8 * LANES + i]
        vx, vy, vz = target[LANES + i], target[5 * LANES + i], target[9 * LANES + i]
        wx, wy, wz = target[2 * LANES + i], target[6 * LANES + i], target[10 * LANES + i]
        trace = ax * ux + ay * uy + az * uz + bx * vx + by * vy + bz * vz + cx * wx + cy * wy + cz * wz
        scale = 1.0 / math.sqrt(max(1.0 + trace, _HALF_TURN))
        x = target[3 * LANES + i] - at[3 * LANES + i]
        y = target[7 * LANES + i] - at[7 * LANES + i]
        z = target[11 * LANES + i] - at[11 * LANES + i]
        rx = scale * (ay * uz - az * uy + by * vz - bz * vy + cy * wz - cz * wy)
        ry = scale * (az * ux - ax * uz + bz * vx - bx * vz + cz * wx - cx * wz)
        rz = scale * (ax * uy - ay * ux + bx * vy - by * vx + cx * wy - cy * wx)
        # Half a turn away the sum of the cross products is zero as well; the trace tells it from no turn.
        turn = rx * rx + ry * ry + rz * rz
        turn = 3.0 - trace if trace < 1.0 else turn
        worst[i] = math.sqrt(max(x * x + y * y + z * z, turn))
        error[i], error[LANES + i], error[2 * LANES + i] = metre * x, metre * y, metre * z
        error[3 * LANES + i], error[4 * LANES + i], error[5 * LANES + i] = rx, ry, rz


@kernel
def _free(jacobian: Floats, q: Floats, joints: Floats, loose: Floats, metre: float, error: Floats) -> None:
    """J with its places times `metre`, and zeros for a joint that the error would push out of its limits."""
    for a in range(AXES):
        low, high, beyond = joints[a, LOW], joints[a, HIGH], _BEYOND * joints[a, TURNING]
        for i in range(LANES):
            x, y, z = jacobian[a * LANES + i], jacobian[(AXES + a) * LANES + i], jacobian[(2 * AXES + a) * LANES + i]
            u, v, w = (3 * AXES + a) * LANES + i, (4 * AXES + a) * LANES + i, (5 * AXES + a) * LANES + i
            x, y, z = metre * x, metre * y, metre * z
            gain = x * error[i] + y * error[LANES + i] + z * error[2 * LANES + i]
            gain += jacobian[u] * error[3 * LANES + i] + jacobian[v] * error[4 * LANES + i] + jacobian[w] * error[5 * LANES + i]
            here, room = q[a * LANES + i], beyond * loose[i]
            held = (gain > 0.0 and here >= high + room) or (gain < 0.0 and here <= low - room)
            free = 0.0 if held else 1.0
            jacobian[a * LANES + i] = free * x
            jacobian[(AXES + a) * LANES + i] = free * y
            jacobian[(2 * AXES + a) * LANES + i] = free * z
            jacobian[u] *= free
            jacobian[v] *= free
            jacobian[w] *= free


@kernel
def _normal(jacobian: Floats, error: Floats, square: Floats) -> None:
    """J Jᵀ with its damping, lower half."""
    for i in range(LANES):
        damping = _LEAST
        for r in range(6):
            damping += _DAMPING * error[r * LANES + i] * error[r * LANES + i]
        for r in range(6):
            for c in range(r + 1):
                total = damping if r == c else 0.0
                for a in range(AXES):
                    total += jacobian[(r * AXES + a) * LANES + i] * jacobian[(c * AXES + a) * LANES + i]
                square[(6 * r + c) * LANES + i] = total


@kernel
def _solve(square: Floats, error: Floats) -> None:
    """Cholesky's way, in place: `error` becomes what solves square @ x = error."""
    for i in range(LANES):
        for r in range(6):
            for c in range(r + 1):
                rest = square[(6 * r + c) * LANES + i]
                for a in range(c):
                    rest -= square[(6 * r + a) * LANES + i] * square[(6 * c + a) * LANES + i]
                if c < r:
                    square[(6 * r + c) * LANES + i] = rest * square[7 * c * LANES + i]
                else:
                    square[7 * r * LANES + i] = 1.0 / math.sqrt(max(rest, _LEAST))
        for r in range(6):
            rest = error[r * LANES + i]
            for a in range(r):
                rest -= square[(6 * r + a) * LANES + i] * error[a * LANES + i]
            error[r * LANES + i] = rest * square[7 * r * LANES + i]
        for k in range(6):
            r = 5 - k
            rest = error[r * LANES + i]
            for a in range(r + 1, 6):
                rest -= square[(6 * a + r) * LANES + i] * error[a * LANES + i]
            error[r * LANES + i] = rest * square[7 * r * LANES + i]


@kernel
def _advance(jacobian: Floats, force: Floats, joints: Floats, loose: Floats, q: Floats) -> None:
    """One step, back within the limits: by whole turns where there is room for them."""
    for a in range(AXES):
        low, high, endless, middle = joints[a, LOW], joints[a, HIGH], joints[a, ENDLESS], joints[a, MIDDLE]
        turning = joints[a, TURNING]
        for i in range(LANES):
            step = 0.0
            for r in range(6):
                step += jacobian[(r * AXES + a) * LANES + i] * force[r * LANES + i]
            there = q[a * LANES + i] + min(max(step, -_STEP), _STEP)
            wide = turning * loose[i]
            turns = math.floor((there - middle) * (0.5 / math.pi) + 0.5) * max(endless, wide)
            q[a * LANES + i] = min(max(there - turns * (2.0 * math.pi), low - _BEYOND * wide), high + _BEYOND * wide)
