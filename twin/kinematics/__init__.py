"""Robots and their kernels: chains read from URDF, compiled to straight-line code."""

from twin.kinematics.robot import Joint, JointKind, Link, Robot, RobotError
from twin.kinematics.ur5e import ur5e
from twin.kinematics.urdf import parse, read

__all__ = ["Joint", "JointKind", "Link", "Robot", "RobotError", "parse", "read", "ur5e"]
