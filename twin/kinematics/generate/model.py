"""A robot's numbers in the form that needs the least arithmetic.

Every joint's axis is turned onto z. Masses are regrouped: points on a joint's axis do not feel that joint, so the part of a
link that acts like mass spread along its axis is handed to the link before, which changes no torque. Likewise a link on a
prismatic joint hands on its inertia, since sliding does not turn it. What stays of the base is kept for the potential energy.
"""

import math
from dataclasses import dataclass

import numpy as np

from twin.kernel import Floats
from twin.kinematics.robot import Joint, JointKind, Link, Robot, Rotation, Vector


@dataclass(frozen=True, slots=True)
class Step:
    """One joint and the link it moves, in frames whose z is the joint's axis.

    Attributes:
        turn: (3, 3) this frame in the one before, at position 0.
        offset: (3,) its origin there [m].
        back: (3, 3) the link's own frame in this one.
        mass, first, second: of the regrouped link: mass [kg], first moments (3,) [kg m], second moments (3, 3) [kg m²].
    """

    name: str
    slides: bool
    turn: Floats
    offset: Floats
    back: Floats
    mass: float
    first: Floats
    second: Floats


@dataclass(frozen=True, slots=True)
class Model:
    """The chain, base first.

    Attributes:
        flange_turn, flange_offset: the flange in the last step's frame.
        gravity: (3,) in the base frame.
        base_mass, base_first: what regrouping handed to the base.
    """

    steps: tuple[Step, ...]
    flange_turn: Floats
    flange_offset: Floats
    gravity: Floats
    base_mass: float
    base_first: Floats


@dataclass(slots=True)
class _Moments:
    mass: float
    first: Floats
    second: Floats


def model(robot: Robot) -> Model:
    """The robot's numbers, regrouped from the flange to the base."""
    aligned = [_aligning(joint.axis) for joint in robot.joints]
    own = [_moments(link, turn) for link, turn in zip(robot.links, aligned, strict=True)]
    base = _Moments(0.0, np.zeros(3), np.zeros((3, 3)))
    steps: list[Step] = []
    for i in reversed(range(robot.axes)):
        joint, moments = robot.joints[i], own[i]
        before = aligned[i - 1] if i else np.eye(3)
        turn = before.T @ _matrix(joint.rotation) @ aligned[i]
        offset = before.T @ np.array(joint.xyz)
        _hand_on(joint, moments, own[i - 1] if i else base, turn, offset)
        slides = joint.kind is JointKind.PRISMATIC
        steps.insert(0, Step(joint.name, slides, turn, offset, aligned[i].T, moments.mass, moments.first, moments.second))
    last = aligned[-1].T
    return Model(
        steps=tuple(steps),
        flange_turn=last @ _matrix(robot.flange_rotation),
        flange_offset=last @ np.array(robot.flange_xyz),
        gravity=np.array(robot.gravity),
        base_mass=base.mass,
        base_first=base.first,
    )


def _hand_on(joint: Joint, moments: _Moments, before: _Moments, turn: Floats, offset: Floats) -> None:
    if joint.kind is JointKind.PRISMATIC:
        before.second += turn @ moments.second @ turn.T
        moments.second[:] = 0.0
        return
    axis = turn[:, 2]
    mass, first, second = moments.mass, moments.first[2], moments.second[2, 2]
    moments.mass, moments.first[2], moments.second[2, 2] = 0.0, 0.0, 0.0
    across = np.outer(axis, offset)
    before.mass += mass
    before.first += first * axis + mass * offset
    before.second += second * np.outer(axis, axis) + first * (across + across.T) + mass * np.outer(offset, offset)


def _moments(link: Link, aligned: Floats) -> _Moments:
    ixx, ixy, ixz, iyy, iyz, izz = link.inertia
    tensor = np.array([[ixx, ixy, ixz], [ixy, iyy, iyz], [ixz, iyz, izz]])
    centre = np.array(link.centre)
    second = np.trace(tensor) / 2 * np.eye(3) - tensor + link.mass * np.outer(centre, centre)
    return _Moments(link.mass, aligned.T @ (link.mass * centre), aligned.T @ second @ aligned)


def _aligning(axis: Vector) -> Floats:
    """A rotation whose z is the axis; exact where the axis is a coordinate axis."""
    z = np.array(axis)
    largest = int(np.argmax(np.abs(z)))
    if abs(z[largest]) == 1.0:
        sign = z[largest]
        turn = np.roll(np.eye(3), largest + 1, axis=0)
        return turn @ np.diag([1.0, sign, sign])
    x = np.cross(z, np.eye(3)[int(np.argmin(np.abs(z)))])
    x /= math.sqrt(float(x @ x))
    z = z / math.sqrt(float(z @ z))
    return np.column_stack([x, np.cross(z, x), z])


def _matrix(rotation: Rotation) -> Floats:
    return np.array(rotation).reshape(3, 3)
