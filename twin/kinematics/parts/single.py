"""One configuration at a time: what a caller in Python asks for. Outputs are overwritten."""

import math

import numpy as np

from twin.kernel import Floats, kernel
from twin.kinematics.parts.core import (
    AXES,
    accelerations_of,
    energy_of,
    flange_of,
    frames_of,
    friction_of,
    gravity_of,
    inertia_of,
    jacobian_of,
    torques_of,
)


@kernel
def pose(q: Floats, out: Floats) -> None:
    """Flange in the base frame: q (n,) [rad or m], out (4, 4) homogeneous transform [m]."""
    flange_of(q, out.reshape(16))
    out[3, 0], out[3, 1], out[3, 2], out[3, 3] = 0.0, 0.0, 0.0, 1.0


@kernel
def link_poses(q: Floats, out: Floats) -> None:
    """Links 1 to n, then the flange, in the base frame: out (n + 1, 4, 4) [m]."""
    rows = np.empty((AXES + 1, 12))
    frames_of(q, rows)
    for i in range(AXES + 1):
        for k in range(12):
            out[i, k // 4, k % 4] = rows[i, k]
        out[i, 3, 0], out[i, 3, 1], out[i, 3, 2], out[i, 3, 3] = 0.0, 0.0, 0.0, 1.0


@kernel
def jacobian(q: Floats, out: Floats) -> None:
    """Velocity of the flange's origin in the base frame per joint speed: out (6, n), rows 0 to 2 linear, 3 to 5 angular."""
    jacobian_of(q, out)


@kernel
def inverse_dynamics(q: Floats, qd: Floats, qdd: Floats, out: Floats) -> None:
    """Torques or forces of the joints for a motion, without friction: all (n,), out [N m or N]."""
    torques_of(q, qd, qdd, out)


@kernel
def forward_dynamics(q: Floats, qd: Floats, tau: Floats, out: Floats) -> None:
    """Accelerations of the joints under torques, without friction: all (n,), out [rad/s² or m/s²]."""
    accelerations_of(q, qd, tau, out)


@kernel
def joint_inertia(q: Floats, out: Floats) -> None:
    """out (n, n), symmetric positive definite."""
    inertia_of(q, out)


@kernel
def gravity(q: Floats, out: Floats) -> None:
    """Torques that hold the arm still: out (n,) [N m or N]."""
    gravity_of(q, out)


@kernel
def friction(qd: Floats, out: Floats) -> None:
    """Torques that joints in motion lose: out (n,) [N m or N]; Coulomb's part is 0 at rest."""
    friction_of(qd, out)


@kernel
def energy(q: Floats, qd: Floats) -> tuple[float, float]:
    """Kinetic and potential energy [J]; the latter is 0 at the height of the base's origin."""
    both = np.empty(2)
    energy_of(q, qd, both)
    return both[0], both[1]


@kernel
def manipulability(q: Floats) -> float:
    """How far from singular: √det(J Jᵀ), or √det(Jᵀ J) below six axes; 0 where the flange cannot move some way.

    Metres and radians are mixed as in the Jacobian, so values of different robots do not compare.
    """
    columns = np.empty((6, AXES))
    jacobian_of(q, columns)
    rows = columns if AXES > 6 else columns.T.copy()
    volume = 1.0
    for i in range(rows.shape[0]):
        length = 0.0
        for k in range(rows.shape[1]):
            length += rows[i, k] ** 2
        volume *= math.sqrt(length)
        for j in range(i + 1, rows.shape[0]):
            along = 0.0
            for k in range(rows.shape[1]):
                along += rows[i, k] * rows[j, k]
            for k in range(rows.shape[1]):
                rows[j, k] -= along / max(length, 1e-300) * rows[i, k]
    return volume
