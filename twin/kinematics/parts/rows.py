"""Many configurations, one a row: turned into lanes LANES at a time, so that vector registers do the work.

Outputs are overwritten. The last lanes of an uneven batch repeat what was in them and are dropped.
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
    friction_of,
    gravity_lanes,
    jacobian_lanes,
    torques_lanes,
)


@kernel
def _load(rows: Floats, first: int, count: int, lanes: Floats) -> None:
    for j in range(count):
        for k in range(AXES):
            lanes[LANES * k + j] = rows[first + j, k]


@kernel
def _store(lanes: Floats, rows: Floats, first: int, count: int) -> None:
    for j in range(count):
        for k in range(rows.shape[1]):
            rows[first + j, k] = lanes[LANES * k + j]


@kernel
def poses(q: Floats, out: Floats) -> None:
    """Flange in the base frame: q (N, n) [rad or m], out (N, 4, 4) [m]."""
    given, found = np.zeros(LANES * AXES), np.empty(LANES * 12)
    flat = out.reshape((out.shape[0], 16))
    for first in range(0, q.shape[0], LANES):
        count = min(LANES, q.shape[0] - first)
        _load(q, first, count, given)
        flange_lanes(given, found)
        for j in range(count):
            for k in range(12):
                flat[first + j, k] = found[LANES * k + j]
            for k in range(12, 16):
                flat[first + j, k] = k // 15


@kernel
def all_link_poses(q: Floats, out: Floats) -> None:
    """Links 1 to n, then the flange: q (N, n), out (N, n + 1, 4, 4) [m]."""
    given, found = np.zeros(LANES * AXES), np.empty(LANES * 12 * (AXES + 1))
    flat = out.reshape((out.shape[0], AXES + 1, 16))
    for first in range(0, q.shape[0], LANES):
        count = min(LANES, q.shape[0] - first)
        _load(q, first, count, given)
        frames_lanes(given, found)
        for j in range(count):
            for i in range(AXES + 1):
                for k in range(12):
                    flat[first + j, i, k] = found[LANES * (12 * i + k) + j]
                for k in range(12, 16):
                    flat[first + j, i, k] = k // 15


@kernel
def jacobians(q: Floats, out: Floats) -> None:
    """q (N, n), out (N, 6, n), each as in `jacobian`."""
    given, found = np.zeros(LANES * AXES), np.empty(LANES * 6 * AXES)
    flat = out.reshape((out.shape[0], 6 * AXES))
    for first in range(0, q.shape[0], LANES):
        count = min(LANES, q.shape[0] - first)
        _load(q, first, count, given)
        jacobian_lanes(given, found)
        _store(found, flat, first, count)


@kernel
def inverse_dynamics_all(q: Floats, qd: Floats, qdd: Floats, out: Floats) -> None:
    """All (N, n), out [N m or N]; without friction."""
    q_lanes, qd_lanes, qdd_lanes = np.zeros(LANES * AXES), np.zeros(LANES * AXES), np.zeros(LANES * AXES)
    found = np.empty(LANES * AXES)
    for first in range(0, q.shape[0], LANES):
        count = min(LANES, q.shape[0] - first)
        _load(q, first, count, q_lanes)
        _load(qd, first, count, qd_lanes)
        _load(qdd, first, count, qdd_lanes)
        torques_lanes(q_lanes, qd_lanes, qdd_lanes, found)
        _store(found, out, first, count)


@kernel
def forward_dynamics_all(q: Floats, qd: Floats, tau: Floats, out: Floats) -> None:
    """All (N, n), out [rad/s² or m/s²]; without friction."""
    q_lanes, qd_lanes, tau_lanes = np.zeros(LANES * AXES), np.zeros(LANES * AXES), np.zeros(LANES * AXES)
    found = np.empty(LANES * AXES)
    for first in range(0, q.shape[0], LANES):
        count = min(LANES, q.shape[0] - first)
        _load(q, first, count, q_lanes)
        _load(qd, first, count, qd_lanes)
        _load(tau, first, count, tau_lanes)
        accelerations_lanes(q_lanes, qd_lanes, tau_lanes, found)
        _store(found, out, first, count)


@kernel
def gravities(q: Floats, out: Floats) -> None:
    """Both (N, n), out [N m or N]."""
    given, found = np.zeros(LANES * AXES), np.empty(LANES * AXES)
    for first in range(0, q.shape[0], LANES):
        count = min(LANES, q.shape[0] - first)
        _load(q, first, count, given)
        gravity_lanes(given, found)
        _store(found, out, first, count)


@kernel
def frictions(qd: Floats, out: Floats) -> None:
    """Both (N, n), out [N m or N]."""
    for i in range(qd.shape[0]):
        friction_of(qd[i], out[i])


@kernel
def energies(q: Floats, qd: Floats, out: Floats) -> None:
    """q and qd (N, n), out (N, 2): kinetic and potential [J]."""
    q_lanes, qd_lanes, found = np.zeros(LANES * AXES), np.zeros(LANES * AXES), np.empty(LANES * 2)
    for first in range(0, q.shape[0], LANES):
        count = min(LANES, q.shape[0] - first)
        _load(q, first, count, q_lanes)
        _load(qd, first, count, qd_lanes)
        energy_lanes(q_lanes, qd_lanes, found)
        _store(found, out, first, count)
