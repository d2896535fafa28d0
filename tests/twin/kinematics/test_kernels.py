"""Compiled kernels against Pinocchio on 10,000 configurations, against themselves, and against the laws of mechanics."""

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from tests.twin.kinematics.chains import FIXED, Truth, configurations, off, truth
from twin.kernel import Floats
from twin.kinematics import ur5e
from twin.kinematics.kernels import LANES, kernels, pack, unpack

COUNT = 10_000
UR5E = ur5e()
ROBOTS = (UR5E, *FIXED)
# Each batch kernel: what it takes of (q, qd, third), and the shape of one result.
BATCH = {
    "poses": (1, lambda n: (4, 4)),
    "all_link_poses": (1, lambda n: (n + 1, 4, 4)),
    "jacobians": (1, lambda n: (6, n)),
    "inverse_dynamics_all": (3, lambda n: (n,)),
    "forward_dynamics_all": (3, lambda n: (n,)),
}
MORE = {"gravities": (1, lambda n: (n,)), "frictions": (1, lambda n: (n,)), "energies": (2, lambda n: (2,))}


def batch(robot, name, *given) -> Floats:
    inputs, shape = (BATCH | MORE)[name]
    out = np.full((len(given[0]), *shape(robot.axes)), np.nan)
    getattr(kernels(robot), name)(*given[:inputs], out)
    return out


@pytest.fixture(scope="module", params=ROBOTS, ids=lambda robot: robot.name)
def known(request) -> tuple[object, tuple[Floats, Floats, Floats], Truth]:
    given = configurations(request.param, COUNT)
    return request.param, given, truth(request.param, *given)


def test_kernels_agree_with_pinocchio_on_10_000_configurations(known):
    robot, given, expected = known
    assert off(batch(robot, "poses", *given), expected.flange) < 1e-9
    assert off(batch(robot, "jacobians", *given), expected.jacobian) < 1e-9
    assert off(batch(robot, "inverse_dynamics_all", *given), expected.torques) < 1e-9
    assert off(batch(robot, "forward_dynamics_all", *given), expected.accelerations) < 1e-9


def test_poses_of_links_gravity_and_energy_of_the_ur5e_agree_with_pinocchio():
    given = configurations(UR5E, 1000)
    expected = truth(UR5E, *given)
    assert off(batch(UR5E, "all_link_poses", *given), expected.links) < 1e-9
    assert off(batch(UR5E, "gravities", *given), expected.gravity) < 1e-9
    assert off(batch(UR5E, "energies", *given), expected.energy) < 1e-9


def test_one_configuration_at_a_time_gives_what_the_batch_gives():
    q, qd, third = configurations(UR5E, 100)
    ours, n = kernels(UR5E), UR5E.axes
    single = {"poses": "pose", "all_link_poses": "link_poses", "jacobians": "jacobian", "gravities": "gravity"}
    single |= {"inverse_dynamics_all": "inverse_dynamics", "forward_dynamics_all": "forward_dynamics", "frictions": "friction"}
    for many, one in single.items():
        inputs, shape = (BATCH | MORE)[many]
        out = np.full((len(q), *shape(n)), np.nan)
        for i in range(len(q)):
            getattr(ours, one)(*(rows[i] for rows in (q, qd, third)[:inputs]), out[i])
        assert off(batch(UR5E, many, q, qd, third), out) < 1e-12, one
    assert off(batch(UR5E, "energies", q, qd), np.array([ours.energy(*row) for row in zip(q, qd, strict=True)])) < 1e-12


@pytest.mark.parametrize("count", [1, LANES - 1, LANES, LANES + 1, 5 * LANES + 3])
def test_a_batch_of_any_size_is_filled_and_nothing_beyond_it(count):
    given = configurations(UR5E, count)
    expected = truth(UR5E, *given)
    for name, known in zip(BATCH, (expected.flange, expected.links, expected.jacobian, expected.torques), strict=False):
        inputs, shape = BATCH[name]
        out = np.full((count + 1, *shape(6)), 7.0)
        getattr(kernels(UR5E), name)(*given[:inputs], out[:count])
        assert off(out[:count], known) < 1e-9
        assert (out[count] == 7.0).all()


def test_an_empty_batch_writes_nothing():
    for name, (inputs, shape) in (BATCH | MORE).items():
        out = np.full((1, *shape(6)), 7.0)
        getattr(kernels(UR5E), name)(*[np.empty((0, 6))] * inputs, out[:0])
        assert (out == 7.0).all(), name


def test_tiles_give_what_rows_give():
    """As few as stay in the cache, and as many as go through a tile that does."""
    for count in (LANES + 7, 3 * 131072 // 12):
        q, qd, third = configurations(UR5E, count)
        tiles = [pack(rows) for rows in (q, qd, third)]
        for name, many, width, inputs in (
            ("pose_tiles", "poses", 12, 1),
            ("jacobian_tiles", "jacobians", 36, 1),
            ("inverse_dynamics_tiles", "inverse_dynamics_all", 6, 3),
            ("forward_dynamics_tiles", "forward_dynamics_all", 6, 3),
        ):
            out = np.full((len(tiles[0]), LANES * width), np.nan)
            getattr(kernels(UR5E), name)(*tiles[:inputs], out)
            expected = batch(UR5E, many, q, qd, third)
            rows = expected[:, :3].reshape(count, 12) if many == "poses" else expected.reshape(count, width)
            assert off(unpack(out, count), rows) < 1e-12, name


def test_packing_and_unpacking_loses_nothing():
    rows = np.arange(3.0 * (LANES + 1)).reshape(-1, 3)
    tiles = pack(rows)
    assert tiles.shape == (2, 3 * LANES) and tiles.flags.c_contiguous
    assert tiles[1, LANES] == rows[LANES, 1]
    assert np.array_equal(unpack(tiles, len(rows)), rows)
    assert tiles.ctypes.data % 64 == 0, "a tile begins on a cache line"


@pytest.mark.parametrize("robot", ROBOTS, ids=lambda robot: robot.name)
def test_the_jacobian_is_the_derivative_of_the_pose(robot):
    """Central differences: their own error is the step squared."""
    step, count = 1e-5, 200
    q, _, _ = configurations(robot, count)
    jacobian, pose = batch(robot, "jacobians", q), batch(robot, "poses", q)
    for k in range(robot.axes):
        ahead, behind = q.copy(), q.copy()
        ahead[:, k] += step
        behind[:, k] -= step
        slope = (batch(robot, "poses", ahead) - batch(robot, "poses", behind)) / (2 * step)
        spin = slope[:, :3, :3] @ pose[:, :3, :3].swapaxes(1, 2)
        angular = np.stack([spin[:, 2, 1], spin[:, 0, 2], spin[:, 1, 0]], axis=1)
        assert np.abs(jacobian[:, :3, k] - slope[:, :3, 3]).max() < 1e-8
        assert np.abs(jacobian[:, 3:, k] - angular).max() < 1e-8


def test_forward_dynamics_undoes_inverse_dynamics():
    q, qd, third = configurations(UR5E, 1000)
    tau = batch(UR5E, "inverse_dynamics_all", q, qd, third)
    assert off(batch(UR5E, "forward_dynamics_all", q, qd, tau), third) < 1e-9


def falling(step: float, seconds: float) -> float:
    """How much the energy of the free arm changes at most while it falls, relative to what it trades [J/J]."""
    ours, still, rate = kernels(UR5E), np.zeros(6), np.empty(6)
    q, qd = np.array([0.3, -0.6, 0.9, -0.5, 0.7, 0.2]), np.zeros(6)

    def change(q: Floats, qd: Floats) -> tuple[Floats, Floats]:
        ours.forward_dynamics(q, qd, still, rate)
        return qd, rate.copy()

    energies = [ours.energy(q, qd)]
    for _ in range(round(seconds / step)):
        a = change(q, qd)
        b = change(q + step / 2 * a[0], qd + step / 2 * a[1])
        c = change(q + step / 2 * b[0], qd + step / 2 * b[1])
        d = change(q + step * c[0], qd + step * c[1])
        q = q + step / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0])
        qd = qd + step / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])
        energies.append(ours.energy(q, qd))
    total = np.array(energies).sum(axis=1)
    return float(np.abs(total - total[0]).max() / np.ptp(np.array(energies)[:, 0]))


def test_the_free_arm_keeps_its_energy():
    """Runge and Kutta's fourth-order rule drifts with the step's fourth power or better; nothing else may drift."""
    coarse, fine = falling(1e-3, 1.0), falling(5e-4, 1.0)
    assert coarse < 1e-5
    assert fine < coarse / 8


def test_friction_opposes_motion_and_is_zero_at_rest():
    robot = FIXED[1]
    out = np.empty(3)
    kernels(robot).friction(np.array([0.5, 0.0, -2.0]), out)
    first, _, third = robot.joints
    assert out[0] == pytest.approx(first.viscous * 0.5 + first.coulomb, rel=1e-15)
    assert out[1] == 0.0
    assert out[2] == pytest.approx(-third.viscous * 2.0 - third.coulomb, rel=1e-15)


def test_manipulability_is_the_volume_that_joint_speeds_reach():
    for robot in (UR5E, *FIXED):
        q, _, _ = configurations(robot, 50)
        for row, jacobian in zip(q, batch(robot, "jacobians", q), strict=True):
            singular = np.linalg.svd(jacobian, compute_uv=False)
            assert kernels(robot).manipulability(row) == pytest.approx(math.prod(singular), rel=1e-9, abs=1e-12)


def test_manipulability_of_a_stretched_arm_is_zero():
    assert kernels(UR5E).manipulability(np.zeros(6)) < 1e-15


def test_angles_of_many_turns_are_as_good_as_small_ones():
    """Compiled, a product and a sum may become one rounding; the reduction must stand that, in lanes and singly."""
    q = configurations(UR5E, 200)[0] * 1e5
    expected, out = truth(UR5E, q, q, q).flange, np.empty((4, 4))
    assert off(batch(UR5E, "poses", q), expected) < 1e-12
    for row, pose in zip(q, expected, strict=True):
        kernels(UR5E).pose(row, out)
        assert np.abs(out - pose).max() < 1e-12


def test_the_known_poses_of_the_ur5e():
    """Published beside the tables that the robot is made from."""
    quarter = 1.57079632679
    out = np.empty((4, 4))
    for q, position in (
        ([0.0] * 6, (-0.8172, -0.2329, 0.0628)),
        ([0.0, -quarter, quarter, -quarter, -quarter, 0.0], (-0.4919, -0.1333, 0.4879)),
        ([0.3, -1.1, 1.4, -0.8, 0.9, -2.0], (-0.595501570, -0.388549065, 0.375269595)),
    ):
        kernels(UR5E).pose(np.array(q), out)
        assert out[:3, 3] == pytest.approx(position, abs=1e-9)
        assert out[3].tolist() == [0.0, 0.0, 0.0, 1.0]


DIGEST = """
import sys
from tests.twin.kinematics.test_kernels import digest
sys.stdout.write(digest())
"""


def digest() -> str:
    given = configurations(UR5E, 1000)
    return hashlib.sha256(b"".join(batch(UR5E, name, *given).tobytes() for name in BATCH)).hexdigest()


def test_every_run_gives_the_same_bits():
    again = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, timeout=60)
    assert again.stdout == digest()


def test_a_name_that_no_part_has_is_refused():
    with pytest.raises(AttributeError, match="velocity"):
        kernels(UR5E).velocity(np.zeros(6))
