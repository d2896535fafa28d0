"""What jaws meet, and what becomes of a Part that they let go: geometry against plain points."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.carrying import between
from twin.frames import matrix
from twin.part import SLAB, Part, span

OUTLINE = ((-0.03, 0.03, -0.03, 0.03), *((-0.01, 0.01, -0.02, 0.02),) * 9)
"""A block of 20 by 40 mm and 20 mm high, with a skirt of 60 mm around its lowest 2 mm."""


def jaws(x: float, y: float, z: float, turn: float = 0.0, roll: float = math.pi) -> np.ndarray:
    """Jaws that come from above and close along x, turned about the upright."""
    return matrix((x, y, z, roll, 0.0, turn))


@given(
    x=st.floats(-0.03, 0.03), y=st.floats(-0.03, 0.03), turn=st.floats(-math.pi, math.pi), widest=st.floats(0.02, 0.1)
)
def test_jaws_meet_a_part_as_wide_as_its_corners_are_apart_if_all_of_them_are_between_them(
    x: float, y: float, turn: float, widest: float
) -> None:
    corners = np.array([(cx, cy) for cx in (-0.01, 0.01) for cy in (-0.02, 0.02)]) - (x, y)
    close, aside = np.array((math.cos(turn), math.sin(turn))), np.array((-math.sin(turn), math.cos(turn)))
    along, across = corners @ close, corners @ aside
    inside = np.abs(along).max() <= widest / 2
    there = across.min() <= 0.0 <= across.max()
    if min(abs(np.abs(along).max() - widest / 2), abs(across.min()), abs(across.max())) < 1e-9:
        return  # just on the edge
    found = between(OUTLINE, jaws(x, y, 0.01, turn), widest)
    assert found == (pytest.approx(np.ptp(along)) if inside and there else None)


def test_jaws_meet_only_what_is_at_their_height() -> None:
    assert between(OUTLINE, jaws(0.0, 0.0, 0.001), 0.1) == pytest.approx(0.06), "the skirt"
    assert between(OUTLINE, jaws(0.0, 0.0, 0.0199), 0.1) == pytest.approx(0.02)
    for z in (-0.001, 10 * SLAB + 0.001):
        assert between(OUTLINE, jaws(0.0, 0.0, z), 0.1) is None


def test_jaws_that_close_upwards_meet_nothing() -> None:
    tilted = matrix((0.0, 0.0, 0.01, math.pi, 0.5, 0.0))
    assert between(OUTLINE, tilted, 0.1) is None


def test_a_parts_span_leaves_out_what_lies_flat_around_it() -> None:
    assert span(OUTLINE) == (-0.01, 0.01, -0.02, 0.02)
    assert span(OUTLINE[:1]) == OUTLINE[0], "but for a part that is no higher"
    assert span(Part().outline) == (0.0, 0.0, 0.0, 0.0)
