"""The UR5e, from the tables that its maker publishes.

Lengths, masses and centres of mass: Universal Robots, "DH Parameters for calculations of kinematics and dynamics".
Tensors and limits: the maker's ROS 2 description, physical_parameters.yaml and joint_limits.yaml. The values are nominal:
a real arm has its own calibration. Friction is not published and stays 0.
"""

import math

from twin.kinematics.robot import Inertia, Joint, JointKind, Link, Robot, Vector, rotation_of, turned, turned_inertia
from twin.kinematics.shapes import Capsule

_QUARTER = math.pi / 2
_TURN = 2 * math.pi
_NAMES = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
_LINKS = ("shoulder", "upper_arm", "forearm", "wrist_1", "wrist_2", "wrist_3")

# Denavit-Hartenberg, one row a joint: length a [m], offset d [m], twist [rad].
_DH = (
    (0.0, 0.1625, _QUARTER),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, _QUARTER),
    (0.0, 0.0997, -_QUARTER),
    (0.0, 0.0996, 0.0),
)
# Mass [kg]; centre of mass [m] and tensor about it (xx, xy, xz, yy, yz, zz) [kg m²], in the frame of the same DH row.
_BODIES: tuple[tuple[float, Vector, Inertia], ...] = (
    (3.761, (0.0, -0.02561, 0.00193), (0.0070021, 7.3e-07, -1.053e-05, 0.00648091, 0.00049994, 0.00657286)),
    (8.058, (0.2125, 0.0, 0.11336), (0.01505885, -5.4e-05, 5.63e-06, 0.33388086, -1.81e-06, 0.33247207)),
    (2.846, (0.15, 0.0, 0.0265), (0.00399632, -1.365e-05, 0.00137272, 0.07879254, -6.6e-06, 0.0784851)),
    (1.37, (0.0, -0.0018, 0.01634), (0.00165491, -2.82e-06, -4.38e-06, 0.00135962, 0.00010157, 0.00126279)),
    (1.3, (0.0, 0.0018, 0.01634), (0.00135617, -2.74e-06, 4.44e-06, 0.00127827, -5.048e-05, 0.00096614)),
    (0.365, (0.0, 0.0, -0.001159), (0.00018694, 6e-08, -1.7e-07, 0.00018908, -9.2e-07, 0.00025756)),
)
# Range to either side [rad], speed [rad/s], torque [N m]. The elbow may turn further, but there the arm meets itself.
_LIMITS = (
    (_TURN, math.pi, 150.0),
    (_TURN, math.pi, 150.0),
    (math.pi, math.pi, 150.0),
    (_TURN, math.pi, 28.0),
    (_TURN, math.pi, 28.0),
    (_TURN, math.pi, 28.0),
)
# Our own sizes, a little larger than the arm; its maker publishes none. Link frames, metres.
_CAPSULES = (
    Capsule("base", 0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.06), 0.075),
    Capsule("shoulder", 1, (0.0, 0.0, 0.0), (0.0, -0.138, 0.0), 0.06),
    Capsule("upper_arm", 2, (0.0, 0.0, 0.138), (-0.425, 0.0, 0.138), 0.06),
    Capsule("forearm", 3, (0.0, 0.0, 0.007), (-0.3922, 0.0, 0.007), 0.055),
    Capsule("wrist_1", 4, (0.0, 0.0, -0.127), (0.0, 0.0, 0.0), 0.045),
    Capsule("wrist_2", 5, (0.0, 0.0, -0.0997), (0.0, 0.0, 0.0), 0.045),
    Capsule("wrist_3", 6, (0.0, 0.0, -0.05), (0.0, 0.0, 0.0), 0.04),
)


def ur5e() -> Robot:
    """The arm on its base, flange at the end of the last DH row; `base` of the maker's description is our base frame."""
    before = ((0.0, 0.0, 0.0), *_DH)
    return Robot(
        name="ur5e",
        joints=tuple(_joint(i, before[i][0], before[i][2]) for i in range(len(_DH))),
        links=tuple(_link(i) for i in range(len(_DH))),
        flange_xyz=(_DH[-1][0], 0.0, 0.0),
        flange_rotation=rotation_of(_DH[-1][2], 0.0, 0.0),
        capsules=_CAPSULES,
    )


def _joint(i: int, length: float, twist: float) -> Joint:
    """Length and twist of the row before lead to the joint's axis; its own offset lies along that axis."""
    rotation = rotation_of(twist, 0.0, 0.0)
    x, y, z = turned(rotation, (0.0, 0.0, _DH[i][1]))
    span, speed, effort = _LIMITS[i]
    return Joint(
        name=f"{_NAMES[i]}_joint",
        kind=JointKind.REVOLUTE,
        axis=(0.0, 0.0, 1.0),
        xyz=(length + x, y, z),
        rotation=rotation,
        low=-span,
        high=span,
        speed=speed,
        effort=effort,
    )


def _link(i: int) -> Link:
    """A DH frame sits at the far end of its link; ours sits at the joint that moves it."""
    length, _, twist = _DH[i]
    mass, centre, inertia = _BODIES[i]
    rotation = rotation_of(twist, 0.0, 0.0)
    x, y, z = turned(rotation, centre)
    return Link(name=f"{_LINKS[i]}_link", mass=mass, centre=(length + x, y, z), inertia=turned_inertia(rotation, inertia))
