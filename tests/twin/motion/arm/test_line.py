"""Straight lines with rounded corners: on the line, around the corner without a jump, the tool turning evenly."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from twin.frames import inverse
from twin.motion.arm.line import lines, pose_of, rotation_vector, rotations

ARM = 0.3


def pose(seed):
    rng = np.random.default_rng(seed)
    return pose_of([*rng.uniform(-0.5, 0.5, 3), *rng.uniform(-3, 3, 3)])


@given(seed=st.integers(0, 10_000), blends=st.lists(st.floats(0, 0.2), min_size=3, max_size=3))
@settings(max_examples=30)
def test_a_path_passes_its_ends_exactly_and_keeps_as_near_to_its_corners_as_asked(seed, blends):
    corners = [pose(seed + k) for k in range(4)]
    way = lines(corners[0], corners[1:], blends, ARM)
    grid = way.grid()
    found = way.poses(grid)
    assert (found[0] == corners[0]).all() and (found[-1] == corners[-1]).all()
    for corner, blend in zip(corners[1:3], blends[:2], strict=True):
        near = np.min(np.linalg.norm(found[:, :3, 3] - corner[:3, 3], axis=1))
        assert near <= blend / 2 + 1e-9
    for k in range(3):
        begin, end = corners[k][:3, 3], corners[k + 1][:3, 3]
        along = (end - begin) / np.linalg.norm(end - begin)
        mine = (way.line_at(grid) == k) & (np.abs(grid[:, None] - way.corner).min(axis=1) > way.radius.max())
        off = found[mine, :3, 3] - begin
        assert np.linalg.norm(off - (off @ along)[:, None] * along, axis=1).max(initial=0) < 1e-12


@given(seed=st.integers(0, 10_000), blend=st.floats(0.01, 0.1))
@settings(max_examples=20)
def test_nothing_jumps_around_a_corner_and_the_bend_is_told_truly(seed, blend):
    way = lines(pose(seed), [pose(seed + 1), pose(seed + 2)], [blend, 0], ARM)
    radius = way.radius[1]
    step = radius / 400
    s = way.corner[1] + np.arange(-600, 601) * step
    assume(s[0] > step and s[-1] < way.corner[-1] - step)
    found = way.poses(s)
    first = np.diff(found[:, :3, 3], axis=0) / step
    turned = Rotation.from_matrix(found[1:, :3, :3] @ found[:-1, :3, :3].swapaxes(1, 2)).as_rotvec() / step
    assert np.linalg.norm(first, axis=1).max() <= 1 + 1e-9
    assert np.linalg.norm(turned, axis=1).max() * ARM <= 1 + 1e-9
    bend, twist = way.bend(s)
    for values, told in ((first, bend), (turned, twist)):
        second = np.linalg.norm(np.diff(values, axis=0), axis=1) / step
        assert (second <= told[1:-1] + 2e-2 * told.max() + 1e-6).all()
        assert np.abs(np.diff(second)).max() <= 0.02 * told.max() + 1e-6
    assert np.linalg.norm(np.diff(first, axis=0), axis=1) / step == pytest.approx(bend[1:-1], abs=0.01 * bend.max() + 1e-7)


def test_between_corners_the_tool_turns_evenly_about_one_axis():
    one, other = pose(1), pose(2)
    way = lines(one, [other], [0], ARM)
    s = np.linspace(0, way.corner[-1], 50)
    found = Rotation.from_matrix(way.poses(s)[:, :3, :3])
    steps = (found[1:] * found[:-1].inv()).as_rotvec()
    assert steps == pytest.approx(np.tile(steps[0], (49, 1)), abs=1e-12)


def test_a_line_that_only_turns_is_as_long_as_its_angle_says():
    one = pose(3)
    other = one.copy()
    other[:3, :3] = rotations(np.array([[0, 0, 0.5]]))[0] @ one[:3, :3]
    assert lines(one, [other], [0], ARM).length[0] == pytest.approx(0.5 * ARM)
    assert lines(one, [one.copy()], [0], ARM) is None


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.sampled_from([0.0, 1e-12, 1e-7, 1e-3, 1, 3, np.pi - 1e-9, np.pi]))
def test_rotation_vectors_are_scipys(axis, angle):
    assume(np.linalg.norm(axis) > 1e-3)
    vector = np.array(axis) / np.linalg.norm(axis) * angle
    matrix = rotations(vector[None])[0]
    assert matrix == pytest.approx(Rotation.from_rotvec(vector).as_matrix(), abs=1e-14)
    again = rotation_vector(matrix)
    if angle > np.pi - 1e-6 and again @ vector < 0:
        again = -again
    assert again == pytest.approx(vector, abs=2e-8 if angle > 3.1 else 1e-14 + 1e-13 * angle)


def test_a_pose_is_turned_about_the_fixed_axes_x_y_z():
    found = pose_of([1, 2, 3, 0.3, -0.7, 1.9])
    assert found[:3, :3] == pytest.approx(Rotation.from_euler("xyz", [0.3, -0.7, 1.9]).as_matrix(), abs=1e-15)
    assert found @ inverse(found) == pytest.approx(np.eye(4), abs=1e-15)
