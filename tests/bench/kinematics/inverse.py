"""Inverse kinematics of the UR5e against EAIK, ur-analytic-ik and the Robotics Toolbox's C++ search, one thread each.

Ours takes all poses in one call, as an array; the peers are called from Python pose by pose, which costs them up to a
microsecond a pose. EAIK's own batch call is slower than that (it starts threads), so it is not the one that is timed.
"""

from functools import cache, partial

import numpy as np
import roboticstoolbox as rtb
import ur_analytic_ik
from roboticstoolbox import ET, ETS

from tests.bench.pairs import Row, paired
from tests.twin.kinematics.inverse_arms import Eaik, flanges, misses, within
from twin.kernel import Floats
from twin.kinematics import ur5e
from twin.kinematics.inverse import form, search
from twin.kinematics.inverse.closed import BRANCHES

POSES, CALLED = 10_000, 1_000
TOLERANCE = 1e-6
ROBOT = ur5e()
# The peer's table: length a [m], offset d [m], twist [rad].
_DH = (
    (0.0, 0.1625, np.pi / 2),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, np.pi / 2),
    (0.0, 0.0997, -np.pi / 2),
    (0.0, 0.0996, 0.0),
)


@cache
def _poses() -> Floats:
    """(POSES, 4, 4) of random joints within half a turn either way."""
    return flanges(ROBOT, within(ROBOT, np.random.default_rng(7), POSES))


def _all(solver: object, poses: list[Floats]) -> None:
    for pose in poses:
        solver(pose)  # type: ignore[operator]


def _closed(solver: object, poses: list[Floats], peer_name: str, least: float | None, aim: float | None) -> Row:
    closed = form(ROBOT)
    assert closed is not None
    joints, real = np.zeros((POSES, BRANCHES, 6)), np.zeros((POSES, BRANCHES), np.bool_)
    pair = paired(partial(closed.solve, _poses(), joints, real), partial(_all, solver, poses))
    which, branch = np.nonzero(real[:CALLED])
    error = misses(ROBOT, joints[which, branch], _poses()[which]).max()
    about = "largest difference of an element of the flange that our joints give from the pose, by Pinocchio"
    known = {"peer_name": peer_name, "unit": "us", "least": least, "aim": aim, "about": about}
    return Row(pair.ours / POSES * 1e6, pair.peer / CALLED * 1e6, ratio=pair.ratio * POSES / CALLED, error=float(error), **known)


def _against_eaik() -> Row:
    peer = Eaik(ROBOT)
    return _closed(peer.ask, [peer.goal(pose) for pose in _poses()[:CALLED]], "eaik, all solutions", 8.0, 30.0)


def _against_ur_analytic() -> Row:
    solver = ur_analytic_ik.ur5e.inverse_kinematics
    return _closed(solver, list(_poses()[:CALLED]), "ur-analytic-ik, all solutions", None, None)


def _found() -> tuple[Floats, Floats, Floats]:
    """A call's outputs: joints (POSES, 6), what they miss by our count, and by Pinocchio's."""
    joints, off = np.zeros((POSES, 6)), np.zeros(POSES)
    search(ROBOT).solve(_poses(), None, TOLERANCE, joints, off)
    return joints, off, misses(ROBOT, joints, _poses())


def _success() -> Row:
    """Ours and ratio are the share of poses that were found."""
    _, off, missed = _found()
    found = float(np.mean((off <= TOLERANCE) & (missed <= 1.1 * TOLERANCE)))
    about = f"largest element by which one of {POSES} is missed, by Pinocchio; they were to be found within {TOLERANCE:g}"
    return Row(found, None, "none", found, float(missed.max()), "of 1", 1.0, 1.0, about)


def _speed() -> Row:
    joints, off = np.zeros((POSES, 6)), np.zeros(POSES)
    ours = partial(search(ROBOT).solve, _poses(), None, TOLERANCE, joints, off)
    solver = partial(_toolbox().ik_LM, method="chan", k=0.1)
    assert all(solver(pose).success for pose in _poses()[:100])
    pair = paired(ours, partial(_all, solver, list(_poses()[:CALLED])))
    ratio = pair.ratio * POSES / CALLED
    about = f"as of the row before; the peer stops at its own tolerance, an error of 1.4e-3, ours at {TOLERANCE:g}"
    name = f"roboticstoolbox {rtb.__version__} ik_LM, C++, chan, k 0.1"
    return Row(pair.ours / POSES * 1e6, pair.peer / CALLED * 1e6, name, ratio, float(off.max()), "us", 5.0, 15.0, about)


def _toolbox() -> ETS:
    """The same arm as a row of elementary transforms, with its limits."""
    steps = []
    for (length, offset, twist), joint in zip(_DH, ROBOT.joints, strict=True):
        steps += [ET.Rz(qlim=[joint.low, joint.high]), ET.tz(offset), ET.tx(length), ET.Rx(twist)]
    return ETS(steps)


METRICS = (
    ("IK closed form", _against_eaik),
    ("IK closed form: ur-analytic-ik", _against_ur_analytic),
    ("IK numeric: success", _success),
    ("IK numeric: speed", _speed),
)
