"""The same robot in Pinocchio and MuJoCo, made from our record: what both say must be the same."""

import numpy as np
import pinocchio as pin

from twin.kinematics import JointKind, Robot

_ALIGNED = {(1.0, 0.0, 0.0): "X", (0.0, 1.0, 0.0): "Y", (0.0, 0.0, 1.0): "Z"}


def pin_model(robot: Robot) -> pin.Model:
    """A model whose last frame is the flange; joints on a coordinate axis get the quick kind."""
    model = pin.Model()
    model.name = robot.name
    model.gravity.linear = np.array(robot.gravity)
    parent = 0
    for joint, link in zip(robot.joints, robot.links, strict=True):
        parent = model.addJoint(parent, _moving(joint.kind, joint.axis), _placed(joint.xyz, joint.rotation), joint.name)
        ixx, ixy, ixz, iyy, iyz, izz = link.inertia
        tensor = np.array([[ixx, ixy, ixz], [ixy, iyy, iyz], [ixz, iyz, izz]])
        model.appendBodyToJoint(parent, pin.Inertia(link.mass, np.array(link.centre), tensor), pin.SE3.Identity())
    flange = _placed(robot.flange_xyz, robot.flange_rotation)
    model.addFrame(pin.Frame("flange", parent, flange, pin.FrameType.OP_FRAME))
    return model


def mjcf(robot: Robot) -> str:
    """MuJoCo's XML: one body a link, the flange as a site."""
    lines = [f'<mujoco><compiler angle="radian"/><option gravity="{_words(robot.gravity)}"/><worldbody>']
    for joint, link in zip(robot.joints, robot.links, strict=True):
        ixx, ixy, ixz, iyy, iyz, izz = link.inertia
        kind = "slide" if joint.kind is JointKind.PRISMATIC else "hinge"
        lines.append(f'<body pos="{_words(joint.xyz)}" quat="{_words(_quaternion(joint.rotation))}">')
        lines.append(f'<joint type="{kind}" axis="{_words(joint.axis)}"/>')
        full = _words((ixx, iyy, izz, ixy, ixz, iyz))
        lines.append(f'<inertial mass="{link.mass!r}" pos="{_words(link.centre)}" fullinertia="{full}"/>')
    lines.append(f'<site pos="{_words(robot.flange_xyz)}" quat="{_words(_quaternion(robot.flange_rotation))}"/>')
    return "".join([*lines, "</body>" * robot.axes, "</worldbody></mujoco>"])


def _moving(kind: JointKind, axis: tuple[float, float, float]) -> pin.JointModel:
    letter = _ALIGNED.get(axis)
    if kind is JointKind.PRISMATIC:
        return getattr(pin, f"JointModelP{letter}")() if letter else pin.JointModelPrismaticUnaligned(np.array(axis))
    return getattr(pin, f"JointModelR{letter}")() if letter else pin.JointModelRevoluteUnaligned(np.array(axis))


def _placed(xyz: tuple[float, ...], rotation: tuple[float, ...]) -> pin.SE3:
    return pin.SE3(np.array(rotation).reshape(3, 3), np.array(xyz))


def _quaternion(rotation: tuple[float, ...]) -> tuple[float, ...]:
    x, y, z, w = pin.Quaternion(np.array(rotation).reshape(3, 3)).coeffs()
    return w, x, y, z


def _words(values: tuple[float, ...]) -> str:
    return " ".join(repr(float(value)) for value in values)
