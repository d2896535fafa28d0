"""An arm's kinematics written down plainly from its record: slow, in step with no kernel, and therefore a witness."""

import numpy as np

from twin.kinematics.robot import JointKind, Robot


def frames(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(k, n + 1, 4, 4) link frames and the flange for q (k, n)."""
    out = np.zeros((len(q), robot.axes + 1, 4, 4))
    at = np.broadcast_to(np.eye(4), (len(q), 4, 4))
    for i, joint in enumerate(robot.joints):
        at = at @ _fixed(joint.xyz, joint.rotation) @ _moved(joint, q[:, i])
        out[:, i] = at
    out[:, -1] = at @ _fixed(robot.flange_xyz, robot.flange_rotation)
    return out


def poses(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(k, 4, 4) the flange for q (k, n)."""
    return frames(robot, np.atleast_2d(q))[:, -1]


def jacobian(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(6, n) linear above angular, of the flange's origin in the base frame, for q (n,)."""
    all_frames = frames(robot, q[None])[0]
    out = np.zeros((6, robot.axes))
    for i, joint in enumerate(robot.joints):
        axis = all_frames[i, :3, :3] @ np.array(joint.axis)
        if joint.kind is JointKind.REVOLUTE:
            out[:3, i] = np.cross(axis, all_frames[-1, :3, 3] - all_frames[i, :3, 3])
            out[3:, i] = axis
        else:
            out[:3, i] = axis
    return out


def nearest(robot: Robot, pose: np.ndarray, seed: np.ndarray) -> np.ndarray | None:
    """The joints at a flange pose near a seed, by Newton's method; None where it does not converge."""
    q = np.array(seed, dtype=float)
    for _ in range(60):
        have = poses(robot, q)[0]
        turn = pose[:3, :3] @ have[:3, :3].T
        off = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
        error = np.concatenate((pose[:3, 3] - have[:3, 3], off))
        if np.abs(error).max() < 1e-13:
            return q
        step = np.linalg.lstsq(jacobian(robot, q), error, rcond=None)[0]
        q = q + step * min(1.0, 0.3 / max(np.abs(step).max(), 1e-30))
    return q if np.abs(error).max() < 1e-11 else None


def _fixed(xyz: tuple[float, ...], rotation: tuple[float, ...]) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = np.reshape(rotation, (3, 3)), xyz
    return out


def _moved(joint, value: np.ndarray) -> np.ndarray:
    out = np.zeros((len(value), 4, 4))
    out[:] = np.eye(4)
    if joint.kind is JointKind.PRISMATIC:
        out[:, :3, 3] = value[:, None] * np.array(joint.axis)
        return out
    x, y, z = joint.axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    out[:, :3, :3] += np.sin(value)[:, None, None] * cross + (1 - np.cos(value))[:, None, None] * (cross @ cross)
    return out
