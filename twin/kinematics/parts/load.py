"""What a path asks of a robot: the effort of its joints with a load at the flange, and the motion of its tool point."""

import numpy as np

from twin.kernel import Floats, Ints, kernel
from twin.kinematics.parts.core import AXES, frames_of, friction_of, jacobian_of, torques_of

Triple = tuple[float, float, float]


@kernel
def _cross(a: Triple, b: Triple) -> Triple:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@kernel
def _dot(a: Triple, b: Triple) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def _sum(a: Triple, b: Triple, times: float) -> Triple:
    """The first and so many times the second."""
    return a[0] + times * b[0], a[1] + times * b[1], a[2] + times * b[2]


@kernel
def _turned(frame: Floats, v: Triple) -> Triple:
    """From a frame's axes to the base's."""
    return _dot(_row(frame, 0), v), _dot(_row(frame, 4), v), _dot(_row(frame, 8), v)


@kernel
def _turned_back(frame: Floats, v: Triple) -> Triple:
    """From the base's axes to a frame's."""
    x, y, z = (frame[0], frame[4], frame[8]), (frame[1], frame[5], frame[9]), (frame[2], frame[6], frame[10])
    return _dot(x, v), _dot(y, v), _dot(z, v)


@kernel
def _row(values: Floats, at: int) -> Triple:
    return values[at], values[at + 1], values[at + 2]


@kernel
def _origin(frame: Floats) -> Triple:
    return frame[3], frame[7], frame[11]


@kernel
def _carried(about: Triple, turn: Triple, arm: Triple) -> Triple:
    """Acceleration that turning gives to the end of a lever: about × lever + turn × (turn × lever)."""
    return _sum(_cross(about, arm), _cross(turn, _cross(turn, arm)), 1.0)


@kernel
def _needed(frames: Floats, qd: Floats, qdd: Floats, axes: Floats, gravity: Triple, load: Floats) -> tuple[Triple, Triple, Triple]:
    """Force and moment that keep a load on its path, and its centre of mass, in the base frame."""
    turn, about, motion, place = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    for i in range(AXES):
        z, origin = _turned(frames[i], _row(axes[i], 0)), _origin(frames[i])
        motion = _sum(motion, _carried(about, turn, _sum(origin, place, -1.0)), 1.0)
        place = origin
        gyration = _cross(turn, z)
        if axes[i, 3] == 0.0:
            motion = _sum(_sum(motion, z, qdd[i]), gyration, 2.0 * qd[i])
        else:
            about = _sum(_sum(about, z, qdd[i]), gyration, qd[i])
            turn = _sum(turn, z, qd[i])
    flange = frames[AXES]
    centre = _sum(_origin(flange), _turned(flange, _row(load, 1)), 1.0)
    motion = _sum(motion, _carried(about, turn, _sum(centre, place, -1.0)), 1.0)
    spin, change = _turned_back(flange, turn), _turned_back(flange, about)
    x, y, z = (load[4], load[5], load[6]), (load[5], load[7], load[8]), (load[6], load[8], load[9])
    swing = _dot(x, spin), _dot(y, spin), _dot(z, spin)
    moment = _sum((_dot(x, change), _dot(y, change), _dot(z, change)), _cross(spin, swing), 1.0)
    force = _sum(motion, gravity, -1.0)
    return (load[0] * force[0], load[0] * force[1], load[0] * force[2]), _turned(flange, moment), centre


@kernel
def efforts(q: Floats, qd: Floats, qdd: Floats, loads: Floats, held: Ints, axes: Floats, gravity: Triple, out: Floats) -> None:
    """Torque or force of each joint, with its friction and a load at the flange.

    Args:
        q, qd, qdd: (N, n) [rad, m].
        loads: (l, 10) mass [kg], centre of mass [m], tensor about it xx, xy, xz, yy, yz, zz [kg m²], flange frame.
        held: (N,) row of the load that hangs there, below 0 where none does.
        axes: (n, 4) of each joint in its link's frame, and 1 for a revolute joint, 0 for a prismatic one.
        gravity: acceleration of a free fall in the base frame [m/s²].
        out: (N, n) [N m, N], overwritten.
    """
    frames, lost = np.empty((AXES + 1, 12)), np.empty(AXES)
    for row in range(q.shape[0]):
        torques_of(q[row], qd[row], qdd[row], out[row])
        friction_of(qd[row], lost)
        for i in range(AXES):
            out[row, i] += lost[i]
        if held[row] < 0:
            continue
        frames_of(q[row], frames)
        force, moment, centre = _needed(frames, qd[row], qdd[row], axes, gravity, loads[held[row]])
        for i in range(AXES):
            z, lever = _turned(frames[i], _row(axes[i], 0)), _sum(centre, _origin(frames[i]), -1.0)
            if axes[i, 3] == 0.0:
                out[row, i] += _dot(z, force)
            else:
                out[row, i] += _dot(z, _sum(moment, _cross(lever, force), 1.0))


@kernel
def tool_points(q: Floats, qd: Floats, points: Floats, use: Ints, out: Floats) -> None:
    """Where the tool point is and how fast it moves.

    Args:
        q, qd: (N, n) [rad, m].
        points: (t, 3) tool points in the flange's frame [m]. use: (N,) the row of each configuration's.
        out: (N, 4) place in the base frame [m] and speed [m/s], overwritten.
    """
    frames, jacobian = np.empty((AXES + 1, 12)), np.empty((6, AXES))
    for row in range(q.shape[0]):
        frames_of(q[row], frames)
        jacobian_of(q[row], jacobian)
        straight, turn = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
        for i in range(AXES):
            straight = _sum(straight, (jacobian[0, i], jacobian[1, i], jacobian[2, i]), qd[row, i])
            turn = _sum(turn, (jacobian[3, i], jacobian[4, i], jacobian[5, i]), qd[row, i])
        lever = _turned(frames[AXES], _row(points[use[row]], 0))
        place, speed = _sum(_origin(frames[AXES]), lever, 1.0), _sum(straight, _cross(turn, lever), 1.0)
        out[row, 0], out[row, 1], out[row, 2], out[row, 3] = place[0], place[1], place[2], np.sqrt(_dot(speed, speed))
