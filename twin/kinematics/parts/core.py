"""The names that a robot's own file supplies to the parts in it.

A part is a plain module of kernels for any robot. It imports what it needs of a robot from here, for the types; in the
robot's generated file the same names stand for straight-line code. All are SI, float64 and in the base frame; outputs
are overwritten. A name that ends in `_of` is for one configuration, one in `_lanes` for LANES of them: value k of
configuration j lies at [LANES k + j].
"""

from typing import NoReturn

from twin.kernel import Floats

AXES = 0
LANES = 64


def _only_generated() -> NoReturn:
    raise LookupError("a part runs in a robot's generated file, see twin.kinematics.kernels")


def sincos(angle: float) -> tuple[float, float]:
    """Sine and cosine of an angle [rad], without a branch; within 4e-16 up to 1.6e9 rad."""
    _only_generated()


def flange_of(q: Floats, out: Floats) -> None:
    """The flange: out (12,) is the upper three rows of the transform, row by row."""
    _only_generated()


def frames_of(q: Floats, out: Floats) -> None:
    """Links 1 to n, then the flange: out (n + 1, 12), each as in `flange_of`."""
    _only_generated()


def jacobian_of(q: Floats, out: Floats) -> None:
    """Velocity of the flange's origin per joint speed: out (6, n), rows 0 to 2 linear, 3 to 5 angular."""
    _only_generated()


def torques_of(q: Floats, qd: Floats, qdd: Floats, out: Floats) -> None:
    """Inverse dynamics without friction: out (n,) [N m or N]."""
    _only_generated()


def accelerations_of(q: Floats, qd: Floats, tau: Floats, out: Floats) -> None:
    """Forward dynamics without friction: out (n,) [rad/s² or m/s²]."""
    _only_generated()


def inertia_of(q: Floats, out: Floats) -> None:
    """Joint-space inertia: out (n, n), symmetric."""
    _only_generated()


def gravity_of(q: Floats, out: Floats) -> None:
    """What holds the arm still against gravity: out (n,) [N m or N]."""
    _only_generated()


def friction_of(qd: Floats, out: Floats) -> None:
    """What joints in motion lose: viscous part and Coulomb's, which is 0 at rest: out (n,) [N m or N]."""
    _only_generated()


def energy_of(q: Floats, qd: Floats, out: Floats) -> None:
    """out (2,): kinetic energy and potential energy, which is 0 at the height of the base's origin [J]."""
    _only_generated()


def flange_lanes(q: Floats, out: Floats) -> None:
    """q (LANES n,), out (LANES 12,)."""
    _only_generated()


def frames_lanes(q: Floats, out: Floats) -> None:
    """q (LANES n,), out (LANES 12 (n + 1),)."""
    _only_generated()


def jacobian_lanes(q: Floats, out: Floats) -> None:
    """q (LANES n,), out (LANES 6 n,)."""
    _only_generated()


def torques_lanes(q: Floats, qd: Floats, qdd: Floats, out: Floats) -> None:
    """All (LANES n,)."""
    _only_generated()


def accelerations_lanes(q: Floats, qd: Floats, tau: Floats, out: Floats) -> None:
    """All (LANES n,)."""
    _only_generated()


def gravity_lanes(q: Floats, out: Floats) -> None:
    """Both (LANES n,)."""
    _only_generated()


def energy_lanes(q: Floats, qd: Floats, out: Floats) -> None:
    """q and qd (LANES n,), out (LANES 2,)."""
    _only_generated()


def self_distance_lanes(q: Floats, out: Floats) -> None:
    """The smallest distance of the robot's own capsules: q (LANES n,), out (LANES,) [m], infinite where none could meet."""
    _only_generated()
