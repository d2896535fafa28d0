"""The fastest way over many configurations: tiles of LANES, as twin.kinematics.kernels.pack makes them.

Value k of configuration LANES b + j lies at [b, LANES k + j]; outputs have the same form and are overwritten. What does
not stay in the cache goes through a tile that does: memory is then read and written in order, which doubled the pace.
"""

import numpy as np

from twin.kernel import Floats, kernel
from twin.kinematics.parts.core import (
    AXES,
    LANES,
    accelerations_lanes,
    energy_lanes,
    flange_lanes,
    frames_lanes,
    gravity_lanes,
    jacobian_lanes,
    torques_lanes,
)

# Values in an output that is taken to be in the cache: one megabyte.
_NEAR = 131072


@kernel
def _copy(given: Floats, out: Floats) -> None:
    for i in range(out.shape[0]):
        out[i] = given[i]


@kernel
def pose_tiles(q: Floats, out: Floats) -> None:
    """q (blocks, LANES n), out (blocks, LANES 12): the upper three rows of the flange's transform, row by row."""
    given, found = np.empty(LANES * AXES), np.empty(LANES * 12)
    for b in range(q.shape[0]):
        if out.size > _NEAR:
            _copy(q[b], given)
            flange_lanes(given, found)
            _copy(found, out[b])
        else:
            flange_lanes(q[b], out[b])


@kernel
def link_pose_tiles(q: Floats, out: Floats) -> None:
    """q (blocks, LANES n), out (blocks, LANES 12 (n + 1)): links 1 to n, then the flange."""
    given, found = np.empty(LANES * AXES), np.empty(LANES * 12 * (AXES + 1))
    for b in range(q.shape[0]):
        if out.size > _NEAR:
            _copy(q[b], given)
            frames_lanes(given, found)
            _copy(found, out[b])
        else:
            frames_lanes(q[b], out[b])


@kernel
def jacobian_tiles(q: Floats, out: Floats) -> None:
    """q (blocks, LANES n), out (blocks, LANES 6 n): rows of the Jacobian one after the other."""
    given, found = np.empty(LANES * AXES), np.empty(LANES * 6 * AXES)
    for b in range(q.shape[0]):
        if out.size > _NEAR:
            _copy(q[b], given)
            jacobian_lanes(given, found)
            _copy(found, out[b])
        else:
            jacobian_lanes(q[b], out[b])


@kernel
def inverse_dynamics_tiles(q: Floats, qd: Floats, qdd: Floats, out: Floats) -> None:
    """All (blocks, LANES n), out [N m or N]; without friction."""
    size = LANES * AXES
    q_near, qd_near, qdd_near, found = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    for b in range(q.shape[0]):
        if out.size > _NEAR:
            _copy(q[b], q_near)
            _copy(qd[b], qd_near)
            _copy(qdd[b], qdd_near)
            torques_lanes(q_near, qd_near, qdd_near, found)
            _copy(found, out[b])
        else:
            torques_lanes(q[b], qd[b], qdd[b], out[b])


@kernel
def forward_dynamics_tiles(q: Floats, qd: Floats, tau: Floats, out: Floats) -> None:
    """All (blocks, LANES n), out [rad/s² or m/s²]; without friction."""
    size = LANES * AXES
    q_near, qd_near, tau_near, found = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    for b in range(q.shape[0]):
        if out.size > _NEAR:
            _copy(q[b], q_near)
            _copy(qd[b], qd_near)
            _copy(tau[b], tau_near)
            accelerations_lanes(q_near, qd_near, tau_near, found)
            _copy(found, out[b])
        else:
            accelerations_lanes(q[b], qd[b], tau[b], out[b])


@kernel
def gravity_tiles(q: Floats, out: Floats) -> None:
    """Both (blocks, LANES n), out [N m or N]."""
    for b in range(q.shape[0]):
        gravity_lanes(q[b], out[b])


@kernel
def energy_tiles(q: Floats, qd: Floats, out: Floats) -> None:
    """q and qd (blocks, LANES n), out (blocks, LANES 2): kinetic and potential [J]."""
    for b in range(q.shape[0]):
        energy_lanes(q[b], qd[b], out[b])
