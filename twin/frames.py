"""Poses as people write them, and the homogeneous transforms that they stand for. Lengths in m, angles in rad."""

import math

import numpy as np

from twin.arrays import Floats

Pose = tuple[float, float, float, float, float, float]
"""x, y, z, then roll, pitch, yaw: turned about the fixed x, then y, then z."""
Point = tuple[float, float, float]
LOCKED = 1e-9
"""Below this cosine of the pitch, roll and yaw turn about one axis: all of it is told as yaw."""


def matrix(pose: Pose) -> Floats:
    """(4, 4) transform that takes points of a frame to the frame which its pose is given in."""
    x, y, z, roll, pitch, yaw = pose
    (sr, cr), (sp, cp), (sy, cy) = ((math.sin(a), math.cos(a)) for a in (roll, pitch, yaw))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, x],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, y],
            [-sp, cp * sr, cp * cr, z],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def pose_of(frame: Floats) -> Pose:
    """The pose of a (4, 4) transform, pitch within ±π/2."""
    x, y, z = (float(v) for v in frame[:3, 3])
    level = math.hypot(frame[0, 0], frame[1, 0])
    pitch = math.atan2(-frame[2, 0], level)
    if level < LOCKED:
        return x, y, z, 0.0, pitch, math.atan2(-frame[0, 1], frame[1, 1])
    return x, y, z, math.atan2(frame[2, 1], frame[2, 2]), pitch, math.atan2(frame[1, 0], frame[0, 0])


def inverse(frame: Floats) -> Floats:
    """(4, 4) the way back."""
    made = np.eye(4)
    made[:3, :3] = frame[:3, :3].T
    made[:3, 3] = -frame[:3, :3].T @ frame[:3, 3]
    return made


def moved(frame: Floats, point: Point) -> Point:
    """A point of a frame, in the frame which that is given in."""
    x, y, z = frame[:3, :3] @ np.array(point) + frame[:3, 3]
    return float(x), float(y), float(z)
