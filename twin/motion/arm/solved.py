"""A robot's kinematics as planning asks for them, from its own kernels."""

import numpy as np

from twin.kernel import Floats
from twin.kinematics.inverse.answers import Lost as LostPath
from twin.kinematics.inverse.answers import Reason, Unreachable
from twin.kinematics.inverse.solve import solve, track
from twin.kinematics.kernels import kernels
from twin.kinematics.robot import Robot
from twin.motion.arm.reach import Lost

_AHEAD = 1.05  # steps: a path bends a little from one pose to the next


class Solved:
    """Joints, poses and torques of a robot; see `twin.motion.arm.reach.Reach`."""

    def __init__(self, robot: Robot) -> None:
        self._robot, self._kernels = robot, kernels(robot)

    def poses(self, q: Floats) -> Floats:
        out = np.empty((len(q), 4, 4))
        self._kernels.poses(np.ascontiguousarray(q), out)
        return out

    def nearest(self, pose: Floats, seed: Floats) -> Floats | Lost:
        found = solve(self._robot, pose, seed)
        return _lost(0, found) if isinstance(found, Unreachable) else found.joints

    def track(self, poses: Floats, start: Floats) -> Floats | Lost:
        found = track(self._robot, poses, start)
        if not isinstance(found, LostPath):
            return found.joints
        return _ended(found, self._robot) or _lost(found.index, found)

    def torques(self, q: Floats, qd: Floats, qdd: Floats) -> Floats:
        out = np.empty_like(q)
        rows = (np.ascontiguousarray(values) for values in (q, qd, qdd))
        self._kernels.inverse_dynamics_all(*rows, out)
        return out


def _ended(found: LostPath, robot: Robot) -> Lost | None:
    """The joint whose range ends where a path would go on elsewhere only by a jump; None where there is none."""
    if found.reason is not Reason.JUMP or found.index < 2:
        return None
    now, before = found.joints[-1], found.joints[-2]
    ahead = now + _AHEAD * (now - before)
    for joint, value in zip(robot.joints, ahead.tolist(), strict=True):
        if not joint.low <= value <= joint.high:
            limit = joint.low if value < joint.low else joint.high
            cause = f"{Reason.LIMITS}: {joint.name} would be at {value:.6g}, its limit is {limit:.6g}"
            return Lost(found.index, cause, joint.name, value, limit)
    return None


def _lost(index: int, found: Unreachable | LostPath) -> Lost:
    if found.reason is Reason.JUMP:
        cause = f"singular: {found.joint} would have to jump by {found.value:.4g}"
    elif found.joint:
        cause = f"{found.reason}: {found.joint} would be at {found.value:.6g}, its limit is {found.limit:.6g}"
    else:
        return Lost(index, str(found.reason))
    return Lost(index, cause, found.joint, found.value, found.limit)
