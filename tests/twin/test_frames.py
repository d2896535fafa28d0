"""Poses as people write them and the transforms they stand for; scipy's rotations are the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from twin.frames import inverse, matrix, moved, pose_of

METRES = st.floats(-5, 5)
TURNS = st.floats(-math.pi, math.pi) | st.sampled_from((0.0, math.pi / 2, -math.pi / 2, math.pi))
POSES = st.tuples(METRES, METRES, METRES, TURNS, TURNS, TURNS)


@given(POSES)
def test_a_pose_turns_about_the_fixed_x_then_y_then_z(pose: tuple[float, ...]) -> None:
    frame = matrix(pose)  # type: ignore[arg-type]
    assert frame[:3, :3] == pytest.approx(Rotation.from_euler("xyz", pose[3:]).as_matrix(), abs=1e-12)
    assert tuple(frame[:3, 3]) == pose[:3] and tuple(frame[3]) == (0, 0, 0, 1)


@given(POSES)
def test_a_transform_has_its_pose_whatever_way_it_was_written(pose: tuple[float, ...]) -> None:
    frame = matrix(pose)  # type: ignore[arg-type]
    again = pose_of(frame)
    assert matrix(again) == pytest.approx(frame, abs=1e-8) and abs(again[4]) <= math.pi / 2


@given(POSES, st.tuples(METRES, METRES, METRES))
def test_the_way_back_leads_back(pose: tuple[float, ...], point: tuple[float, float, float]) -> None:
    frame = matrix(pose)  # type: ignore[arg-type]
    assert moved(inverse(frame), moved(frame, point)) == pytest.approx(point, abs=1e-12)
    assert inverse(frame) @ frame == pytest.approx(np.eye(4), abs=1e-12)
