"""Where an arm's tool point is: what people are shown beside the joints."""

import math

import numpy as np

from twin.frames import matrix, pose_of
from twin.kinematics.kernels import kernels
from twin.kinematics.ur5e import ur5e
from twin.machine import Shown
from twin.machines.arm.spec import JOINTS, Params, Status
from twin.units import DEG, MM

SHOWN = (
    *(Shown("tool", axis, MM, f"of the point between the jaws, along the base's {axis}") for axis in "xyz"),
    *(Shown("tool", turn, DEG, "of the tool in the base's frame") for turn in ("roll", "pitch", "yaw")),
)


def show(status: Status, params: Params) -> tuple[float, ...]:
    """x, y, z [m], roll, pitch, yaw [rad] of the tool point in the frame of the arm's base."""
    flange = np.empty((4, 4))
    kernels(ur5e()).pose(np.array([getattr(status, name) for name in JOINTS]), flange)
    x, y, z, roll, pitch, yaw = pose_of(flange @ matrix((0.0, 0.0, params.tool, 0.0, 0.0, 0.0)))
    return x, y, z, roll, pitch, math.remainder(yaw, math.tau)
