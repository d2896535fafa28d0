"""Any chain's flange and Jacobian from its axes, for a few configurations: no code is generated and compiled for it."""

import math

import numpy as np

from twin.kernel import Floats, kernel


@kernel
def poses(direction: Floats, point: Floats, turning: Floats, home: Floats, joints: Floats, out: Floats) -> None:
    """The flange in the base frame.

    Args:
        direction, point: (n, 3) axes with all joints at zero; turning: (n,) 1 where revolute, 0 where prismatic.
        home: (4, 4) the flange with all joints at zero.
        joints: (k, n) [rad or m].
        out: (k, 4, 4) overwritten.
    """
    for row in range(joints.shape[0]):
        out[row] = home
        for back in range(direction.shape[0]):
            i = direction.shape[0] - 1 - back
            _move(direction[i], point[i], turning[i], joints[row, i], out[row])


@kernel
def jacobians(direction: Floats, point: Floats, turning: Floats, home: Floats, joints: Floats, out: Floats) -> None:
    """Speed of the flange's origin per joint speed: out (k, 6, n), rows 0 to 2 linear, 3 to 5 angular; else as `poses`."""
    frame, tip = np.empty((4, 4)), np.empty(3)
    for row in range(joints.shape[0]):
        frame[:] = home
        for back in range(direction.shape[0]):
            i = direction.shape[0] - 1 - back
            # With the joints before it at zero; each of those then moves all columns behind it.
            _move(direction[i], point[i], turning[i], joints[row, i], frame)
            axis, at = direction[i], point[i]
            for k in range(3):
                tip[k] = frame[k, 3] - at[k]
            for k in range(3):
                along = axis[(k + 1) % 3] * tip[(k + 2) % 3] - axis[(k + 2) % 3] * tip[(k + 1) % 3]
                out[row, k, i] = along if turning[i] > 0.0 else axis[k]
                out[row, 3 + k, i] = axis[k] * turning[i]
        for i in range(direction.shape[0]):
            for back in range(i):
                before = i - 1 - back
                if turning[before] > 0.0:
                    _turn(direction[before], joints[row, before], out[row, :3, i : i + 1])
                    _turn(direction[before], joints[row, before], out[row, 3:, i : i + 1])


@kernel
def _move(direction: Floats, point: Floats, turning: float, value: float, frame: Floats) -> None:
    """Move a frame with a joint, in place."""
    if turning == 0.0:
        for k in range(3):
            frame[k, 3] += value * direction[k]
        return
    for k in range(3):
        frame[k, 3] -= point[k]
    _turn(direction, value, frame[:3])
    for k in range(3):
        frame[k, 3] += point[k]


@kernel
def _turn(axis: Floats, angle: float, columns: Floats) -> None:
    """Turn vectors, the columns of (3, m), about an axis through the origin, in place."""
    sine, cosine = math.sin(angle), math.cos(angle)
    for k in range(columns.shape[1]):
        x, y, z = columns[0, k], columns[1, k], columns[2, k]
        along = (1.0 - cosine) * (axis[0] * x + axis[1] * y + axis[2] * z)
        columns[0, k] = cosine * x + sine * (axis[1] * z - axis[2] * y) + along * axis[0]
        columns[1, k] = cosine * y + sine * (axis[2] * x - axis[0] * z) + along * axis[1]
        columns[2, k] = cosine * z + sine * (axis[0] * y - axis[1] * x) + along * axis[2]
