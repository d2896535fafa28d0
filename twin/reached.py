"""Where a robot's tool is by its joint angles: the twin of an arm that is not ours, and how far its own controller is from that.

A machine of `factory.toml` that names a `robot` and its `joints` moves the twin's robot, by its kernels. What its controller says
of its tool, if its Map has the Signals of TCP, must be there; the tool itself is what the controller says it carries (OFFSET).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.arrays import Floats
from twin.calibration.errors import CalibrationError
from twin.calibration.run import Misfits, Run
from twin.devices import Mirrored
from twin.followed import OFFSET, TCP, compared
from twin.kinematics.kernels import Kernels, Say, kernels
from twin.kinematics.ur5e import ur5e
from twin.motion.arm.line import rotation_vector, rotations
from twin.residual import Parameter
from twin.units import DEG, MM

_ROBOTS = {"ur5e": ur5e()}

PARAMETERS = (
    *(
        Parameter(f"joint.{k}", DEG, -0.2, 0.2, f"zero point of joint {k + 1}, added to what it reports", math.radians(5.0))
        for k in range(6)
    ),
    *(
        Parameter(f"tool.{k}", MM, -0.5, 0.5, f"{axis} of the tool in the flange's frame, added to its offset", 0.05)
        for k, axis in enumerate("xyz")
    ),
)
SCATTER, TURN_SCATTER = 0.5e-3, 0.7e-3
"""m and rad by which a tool's place and its rotation scatter: joints are told in 0.001 rad."""
MOST_PLACES = 500
"""Of a run that are used."""


@dataclass(frozen=True, slots=True)
class Zero:
    """What is known of an arm that is not ours: zero points of its joints [rad], and its tool beyond the offset it tells [m]."""

    joint: tuple[float, ...] = (0.0,) * 6
    tool: tuple[float, float, float] = (0.0, 0.0, 0.0)


NO_ZERO = Zero()


def kernels_of(robot: str, say: Say | None = None) -> Kernels:
    """The kernels of a robot by its name in `twin.followed.AXES`."""
    return kernels(_ROBOTS[robot], say)


def prepare(robot: str, say: Say) -> None:
    """Get a robot's kernels ready, once on this machine; `say` is told what takes long.

    Raises:
        KernelsError: the cache folder cannot be used.
    """
    made = kernels_of(robot, say)
    made.pose(np.zeros(made.axes), np.empty((4, 4)))
    made.poses(np.zeros((1, made.axes)), np.empty((1, 4, 4)))


def tool(robot: str, angles: Floats, offset: Sequence[float] = (0.0,) * 6) -> Floats:
    """(6,) x, y, z [m] and rotation vector [rad] of a tool that sits at an offset from the flange, at (axes,) angles [rad]."""
    flange = np.empty((4, 4))
    kernels_of(robot).pose(angles, flange)
    place = flange[:3, 3] + flange[:3, :3] @ np.array(offset[:3])
    if any(offset[3:]):
        flange[:3, :3] = flange[:3, :3] @ rotations(np.array([offset[3:]]))[0]
    return np.concatenate([place, rotation_vector(flange[:3, :3])])


def reached(machine: Mirrored, values: Mapping[str, Any], zero: Zero = NO_ZERO) -> tuple[list[float], float | None] | None:
    """The tool by the joints that a machine reports, and how far from there its controller has it [m]; None where nobody can tell.

    Args:
        values: of its Signals [SI]; None, or missing, for what is not known.
    """
    joints = [values.get(name) for name in machine.joints]
    if any(angle is None for angle in joints):
        return None
    offset = [float(values.get(name) or 0.0) for name in OFFSET]
    offset[:3] = [place + more for place, more in zip(offset, zero.tool, strict=False)]
    made = tool(machine.robot, np.array(joints, np.float64) + np.array(zero.joint), offset).tolist()
    said = [values.get(name) for name in TCP[:3]]
    if any(place is None for place in said):
        return made, None
    return made, math.dist(made[:3], [float(place) for place in said if place is not None])


def misfits(run: Run, machine: Mirrored, zero: Zero) -> Misfits:
    """How far the tool is from where its controller has it, and how far turned, at some reports; in units of its scatter.

    Raises:
        CalibrationError: the run does not hold its joints and its tool.
    """
    if not compared(machine):
        raise CalibrationError(f"{machine.name}: its Map does not say where its tool is: it needs {', '.join(TCP)}")
    some = np.unique(np.linspace(0, len(run) - 1, min(MOST_PLACES, len(run))).astype(int))
    angles = np.column_stack([run[name][some] for name in machine.joints]) + np.array(zero.joint)
    told = np.column_stack([run.columns.get(name, np.zeros(len(run)))[some] for name in OFFSET])
    said = np.column_stack([run[name][some] for name in TCP])
    flange = np.empty((len(some), 4, 4))
    kernels_of(machine.robot).poses(np.ascontiguousarray(angles), flange)
    place = flange[:, :3, 3] + np.einsum("nij,nj->ni", flange[:, :3, :3], told[:, :3] + np.array(zero.tool))
    rotation = flange[:, :3, :3] @ rotations(told[:, 3:])
    apart = np.swapaxes(rotation, 1, 2) @ rotations(said[:, 3:])
    turn = np.column_stack([apart[:, 2, 1] - apart[:, 1, 2], apart[:, 0, 2] - apart[:, 2, 0], apart[:, 1, 0] - apart[:, 0, 1]]) / 2
    left = {"tcp": ((said[:, :3] - place) / SCATTER).ravel(), "turn": (turn / TURN_SCATTER).ravel()}
    return Misfits(left, {"tcp": SCATTER, "turn": TURN_SCATTER})
