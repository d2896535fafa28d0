"""The last steps to a pose that is near, and what the joints are like there."""

import math

import numpy as np

from twin.kernel import Floats
from twin.kinematics.inverse.geometry import Chain
from twin.kinematics.robot import Robot

# What misses a pose by less [m, rad] need not be improved.
EXACT = 1e-12
# The smallest gain of the joints over the largest, below which the arm is singular.
_SINGULAR = 1e-6
# Damping of the steps: far below any gain that counts, far above rounding.
_DAMPING = 1e-14
_STEPS = 12


def settled(axes: Chain, goal: Floats, joints: Floats) -> Floats:
    """The joints after Newton's steps towards a goal that is near; the best of them where they do not settle."""
    best, least = joints, math.inf
    here = joints
    for _ in range(_STEPS):
        left = missing(axes.poses(here[None]), goal)[0]
        error = float(max(np.linalg.norm(left[:3]), np.linalg.norm(left[3:])))
        if error < least:
            best, least = here, error
        if error <= EXACT / 100.0 or error > 4.0 * least:
            break
        rows = axes.jacobians(here[None])[0]
        damping = _DAMPING + min(1e-3, float(left @ left))
        here = here + rows.T @ np.linalg.solve(rows @ rows.T + damping * np.eye(6), left)
    return best


def errors(axes: Chain, joints: Floats, goal: Floats) -> Floats:
    """(k,) the larger of what joints miss in place [m] and turn [rad]."""
    left = missing(axes.poses(joints), goal)
    return np.asarray(np.maximum(np.linalg.norm(left[:, :3], axis=1), np.linalg.norm(left[:, 3:], axis=1)))


def missing(poses: Floats, goal: Floats) -> Floats:
    """(k, 6) from poses to a goal, in the base frame: the way [m], and the turn as a vector along its axis [rad]."""
    turn = goal[:3, :3] @ poses[:, :3, :3].swapaxes(1, 2)
    sine = np.stack((turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]), axis=1) / 2.0
    length = np.linalg.norm(sine, axis=1)
    angle = np.arctan2(length, (np.trace(turn, axis1=1, axis2=2) - 1.0) / 2.0)
    # Half a turn away the sines vanish and the axis with them: any axis is then as good.
    scale = np.where(length > 1e-9, angle / np.maximum(length, 1e-300), 1.0)
    turned = np.where(((length <= 1e-9) & (angle > 1.0))[:, None], np.array([math.pi, 0.0, 0.0]), sine * scale[:, None])
    return np.concatenate((goal[:3, 3] - poses[:, :3, 3], turned), axis=1)


def idle(robot: Robot, axes: Chain, joints: Floats) -> tuple[str, ...]:
    """The joints that move against each other while the flange stands still; none where the arm is not singular.

    Of an arm with more than six joints these are the ones with which the flange gains least.
    """
    rows = axes.jacobians(joints[None])[0]
    rows[:3] /= max(axes.reach, 1e-3)
    _, gains, ways = np.linalg.svd(rows, full_matrices=False)
    if gains[-1] > _SINGULAR * gains[0]:
        return ()
    return tuple(joint.name for joint, share in zip(robot.joints, ways[-1], strict=True) if abs(share) > 0.05)
