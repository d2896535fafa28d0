"""Where a robot's tool is by its joint angles: the twin of an arm that is not ours, and how far its own controller is from that.

A machine of `factory.toml` that names a `robot` and its `joints` moves the twin's robot. What its controller says of its tool,
if its Map has the Signals of TCP, must be there; the tool itself is what the controller says it carries (OFFSET).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.arrays import Floats
from twin.calibration.errors import CalibrationError
from twin.calibration.run import Misfits, Run
from twin.devices import Mirrored
from twin.kinematics.robot import IDENTITY, Robot, Rotation, Vector, composed, turned
from twin.kinematics.ur5e import ur5e
from twin.residual import Parameter, Residual
from twin.units import DEG, MM, RAD, Unit

ROBOTS = {"ur5e": ur5e}
TCP = ("tcp_x", "tcp_y", "tcp_z", "tcp_rx", "tcp_ry", "tcp_rz")
OFFSET = tuple(name.replace("tcp_", "tcp_offset_") for name in TCP)
POSE: tuple[tuple[str, Unit, str], ...] = (
    *((axis, MM, f"{axis} of the tool in the robot's base frame, by its joint angles") for axis in "xyz"),
    *((f"r{axis}", RAD, f"{axis} of the tool's rotation vector, by its joint angles") for axis in "xyz"),
)
REACH = Residual(
    "tcp",
    MM,
    1e-3,
    1.0,
    "joints are told in 0.001 rad, positions in 0.1 mm, the tool's own in 1 mm; a zero point 0.1° off is 1.5 mm at the tool",
    "distance of the tool's place as its controller says from that by its joint angles",
)

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

Pose6 = tuple[float, float, float, float, float, float]


def followed(machine: Mirrored) -> bool:
    """Whether a machine's joints move a robot of the twin."""
    return machine.robot in ROBOTS and len(machine.joints) == ROBOTS[machine.robot]().axes


def compared(machine: Mirrored) -> bool:
    """Whether its controller says where its tool is."""
    read = {row.name for row in machine.map.read}
    return followed(machine) and read.issuperset(TCP)


def flange(robot: Robot, angles: tuple[float, ...]) -> tuple[Vector, Rotation]:
    """Place [m] and rotation of the flange in the base frame, of as many angles [rad] as the robot has joints."""
    place: Vector = (0.0, 0.0, 0.0)
    rotation = IDENTITY
    for joint, angle in zip(robot.joints, angles, strict=True):
        place = _moved(place, rotation, joint.xyz)
        rotation = composed(composed(rotation, joint.rotation), _about(joint.axis, angle))
    return _moved(place, rotation, robot.flange_xyz), composed(rotation, robot.flange_rotation)


def tool(robot: Robot, angles: tuple[float, ...], offset: Pose6 = (0.0,) * 6) -> Pose6:
    """x, y, z [m] and rotation vector [rad] of a tool that sits at an offset from the flange."""
    place, rotation = flange(robot, angles)
    x, y, z = _moved(place, rotation, (offset[0], offset[1], offset[2]))
    length = math.hypot(*offset[3:])
    if length > 0.0:
        axis = (offset[3] / length, offset[4] / length, offset[5] / length)
        rotation = composed(rotation, _about(axis, length))
    return (x, y, z, *vector_of(rotation))


def _moved(place: Vector, rotation: Rotation, by: Vector) -> Vector:
    x, y, z = turned(rotation, by)
    return place[0] + x, place[1] + y, place[2] + z


def _about(axis: Vector, angle: float) -> Rotation:
    """A turn about a unit vector, after Rodrigues."""
    (x, y, z), c, s = axis, math.cos(angle), math.sin(angle)
    k = 1.0 - c
    return (
        *(c + x * x * k, x * y * k - z * s, x * z * k + y * s),
        *(y * x * k + z * s, c + y * y * k, y * z * k - x * s),
        *(z * x * k - y * s, z * y * k + x * s, c + z * z * k),
    )


def vector_of(rotation: Rotation) -> Vector:
    """The rotation vector of a rotation: its axis times its angle, which is at most half a turn."""
    r = rotation
    twice = (r[7] - r[5], r[2] - r[6], r[3] - r[1])
    sine, cosine = math.hypot(*twice) / 2, (r[0] + r[4] + r[8] - 1.0) / 2
    angle = math.atan2(sine, cosine)
    if sine > 1e-6:
        return twice[0] * angle / (2 * sine), twice[1] * angle / (2 * sine), twice[2] * angle / (2 * sine)
    if cosine > 0.0:
        return twice[0] / 2, twice[1] / 2, twice[2] / 2
    squares = [max(0.0, (r[4 * k] + 1.0) / 2) for k in range(3)]
    largest = max(range(3), key=lambda k: squares[k])
    size = math.sqrt(squares[largest])
    axis = [(r[3 * largest + k] + r[3 * k + largest]) / (4 * size) if k != largest else size for k in range(3)]
    return axis[0] * angle, axis[1] * angle, axis[2] * angle


def reached(machine: Mirrored, values: Mapping[str, Any], zero: Zero = NO_ZERO) -> tuple[Pose6, float | None] | None:
    """The tool by the joints that a machine reports, and how far from there its controller has it [m]; None where nobody can tell.

    Args:
        values: of its Signals [SI]; None, or missing, for what is not known.
    """
    joints = [values.get(name) for name in machine.joints]
    if any(angle is None for angle in joints):
        return None
    offset = [float(values.get(name) or 0.0) for name in OFFSET]
    offset[:3] = [place + more for place, more in zip(offset, zero.tool, strict=False)]
    angles = tuple(float(angle) + more for angle, more in zip(joints, zero.joint, strict=True) if angle is not None)
    made = tool(ROBOTS[machine.robot](), angles, (*offset,))  # type: ignore[arg-type]
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
    place, rotation = _flanges(ROBOTS[machine.robot](), angles)
    place = place + np.einsum("nij,nj->ni", rotation, told[:, :3] + np.array(zero.tool))
    rotation = rotation @ _turns(told[:, 3:])
    apart = np.swapaxes(rotation, 1, 2) @ _turns(said[:, 3:])
    turn = np.column_stack([apart[:, 2, 1] - apart[:, 1, 2], apart[:, 0, 2] - apart[:, 2, 0], apart[:, 1, 0] - apart[:, 0, 1]]) / 2
    left = {"tcp": ((said[:, :3] - place) / SCATTER).ravel(), "turn": (turn / TURN_SCATTER).ravel()}
    return Misfits(left, {"tcp": SCATTER, "turn": TURN_SCATTER})


def _flanges(robot: Robot, angles: Floats) -> tuple[Floats, Floats]:
    """(n, 3) places and (n, 3, 3) rotations of the flange at (n, axes) angles."""
    place, rotation = np.zeros((len(angles), 3)), np.tile(np.eye(3), (len(angles), 1, 1))
    for k, joint in enumerate(robot.joints):
        place = place + rotation @ np.array(joint.xyz)
        rotation = rotation @ np.array(joint.rotation).reshape(3, 3) @ _turns(np.outer(angles[:, k], np.array(joint.axis)))
    return place + rotation @ np.array(robot.flange_xyz), rotation @ np.array(robot.flange_rotation).reshape(3, 3)


def _turns(vectors: Floats) -> Floats:
    """(n, 3, 3) rotations of (n, 3) rotation vectors."""
    angle = np.linalg.norm(vectors, axis=1)
    x, y, z = (vectors / np.maximum(angle, 1e-12)[:, None]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    s, c = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    made: Floats = np.eye(3) + s * cross + (1.0 - c) * cross @ cross
    return made
