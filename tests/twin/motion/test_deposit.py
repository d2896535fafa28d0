"""What a print leaves on the bed, as an arm must know it."""

import math
from importlib.resources import files

import numpy as np
import pytest

from twin.motion.deposit import LINE_WIDTH, Deposit, deposit
from twin.motion.limits import Limits
from twin.motion.plan import plan

CUBE = (files("controller") / "demo" / "calibration_cube.gcode").read_text(encoding="utf-8")
HEAD = "M104 S200\nG28\nM109 S200\nM83\nG1 F3000\n"


def laid(body: str) -> Deposit:
    made = plan(HEAD + body, Limits())
    assert not made.refusals, made.refusals
    return deposit(made)


def test_the_demo_s_cube_is_twenty_millimetres_at_the_grip_and_its_skirt_and_purge_line_lie_on_the_bed() -> None:
    cube = laid_of(CUBE)
    assert cube.height == pytest.approx(0.020, abs=1e-9)
    low, high = cube.extents(0.008, 0.012) or ((), ())
    assert low[:2] == pytest.approx((0.1, 0.1), abs=1.5e-4) and high[:2] == pytest.approx((0.12, 0.12), abs=1.5e-4)
    whole = cube.extents(0.0, 1.0)
    assert whole is not None and whole[0][0] < 0.006 and whole[0][1] < 0.006, "the purge line in the corner"


def laid_of(text: str) -> Deposit:
    return deposit(plan(text, Limits()))


def test_only_moves_along_the_bed_that_feed_filament_lay_anything() -> None:
    found = laid("G1 Z0.2\nG1 X50 Y50\nG1 X60 E1\nG1 E-2\nG1 X100\nG1 E2\nG1 Z5 E1\nG1 X110\n")
    assert found.start.tolist() == [[0.05, 0.05, 0.0002]] and found.end.tolist() == [[0.06, 0.05, 0.0002]]


def test_extents_are_those_of_a_band_and_a_line_is_as_wide_as_it_is_laid() -> None:
    found = laid("G1 X10 Y10 Z1\nG1 X20 E1\nG1 Z2\nG1 Y40 E3\n")
    half = LINE_WIDTH / 2
    low, high = found.extents(0.0015, 0.0025) or ((), ())
    assert low == pytest.approx((0.02 - half, 0.01 - half, 0.002)) and high == pytest.approx((0.02 + half, 0.04 + half, 0.002))
    assert found.extents(0.003, 0.004) is None and found.height == 0.002


def test_a_program_that_prints_nothing_leaves_nothing() -> None:
    found = laid("G1 X10 Y10 Z1\n")
    assert found.height == 0.0 and found.extents(-math.inf, math.inf) is None and np.shape(found.end) == (0, 3)
