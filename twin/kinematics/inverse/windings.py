"""Whole turns: the same pose with a joint turned further, and which of them is nearest within the limits."""

import math

import numpy as np
from numpy.typing import NDArray

from twin.kernel import Floats, kernel

_TURN = 2.0 * math.pi


@kernel
def nearest_turns(joints: Floats, near: Floats, low: Floats, high: Floats, turning: Floats) -> None:
    """Turn revolute joints by whole turns to be as near as the limits allow; without room for any, as near to these.

    Args:
        joints: (k, n) changed in place. near: (n,) to be near to.
        low, high, turning: (n,) limits, and 1 where a joint is revolute.
    """
    for row in range(joints.shape[0]):
        for i in range(joints.shape[1]):
            if turning[i] == 0.0:
                continue
            angle = joints[row, i] - _TURN * np.rint((joints[row, i] - near[i]) / _TURN)
            other = angle
            if angle > high[i]:
                other = angle - _TURN * np.ceil((angle - high[i]) / _TURN)
            elif angle < low[i]:
                other = angle + _TURN * np.ceil((low[i] - angle) / _TURN)
            nearer = max(other - high[i], low[i] - other) < max(angle - high[i], low[i] - angle)
            joints[row, i] = other if nearer else angle


@kernel
def follow(
    branches: Floats, real: NDArray[np.bool_], start: Floats, low: Floats, high: Floats, turning: Floats, jump: float, out: Floats
) -> int:
    """Of each pose's branches the one nearest to the joints before it.

    Args:
        branches: (N, b, n) joints, turned in place; real: (N, b) which of them exist.
        start: (n,) the joints before the first pose.
        jump: no joint moves further between two poses [rad].
        out: (N, n) the joints chosen, overwritten up to where the path is lost.

    Returns:
        How many poses were followed: N, or the index of the first without joints near enough.
    """
    near = start
    for pose in range(branches.shape[0]):
        nearest_turns(branches[pose], near, low, high, turning)
        least, best = jump, -1
        for branch in range(branches.shape[1]):
            if not real[pose, branch]:
                continue
            furthest = 0.0
            for i in range(branches.shape[2]):
                joint = branches[pose, branch, i]
                furthest = max(furthest, abs(joint - near[i])) if low[i] <= joint <= high[i] else np.inf
            if furthest <= least:
                least, best = furthest, branch
        if best < 0:
            return pose
        out[pose] = branches[pose, best]
        near = out[pose]
    return int(branches.shape[0])
