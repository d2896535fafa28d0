"""The six really sliced parts: their time by the slicer's own estimate, their filament, their Jobs."""

import re
from pathlib import Path

import numpy as np
import pytest

from twin.motion import Limits, Plan, decode, encode, plan, steps

LIMITS = Limits()
PARTS = ("calibration_cube", "corner_bracket", "hex_nut_m12", "key_fob", "spur_gear", "vase")
_made: dict[str, tuple[str, Plan]] = {}


def part(parts: Path, name: str) -> tuple[str, Plan]:
    if name not in _made:
        text = (parts / name / f"{name}.gcode").read_text()
        _made[name] = text, plan(text, LIMITS)
    return _made[name]


def estimate(text: str) -> int:
    """Seconds that the slicer reckons with."""
    found = re.search(r"^; estimated printing time \(normal mode\) = (.*)$", text, re.M)
    assert found
    seconds = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(int(number) * seconds[unit] for number, unit in re.findall(r"(\d+)([dhms])", found[1]))


def filament(text: str) -> float:
    found = re.search(r"^; filament used \[mm\] = (.*)$", text, re.M)
    assert found
    return float(found[1])


@pytest.mark.parametrize("name", PARTS)
def test_the_duration_is_within_half_a_percent_of_the_slicers(parts: Path, name: str) -> None:
    text, made = part(parts, name)
    assert not made.refusals
    assert made.duration_s == pytest.approx(estimate(text), rel=0.005)


@pytest.mark.parametrize("name", PARTS)
def test_the_filament_is_the_slicers_and_the_purge_line(parts: Path, name: str) -> None:
    """The slicer leaves out start and end: 12 mm of purge line less what stays retracted, so 4 to 9 mm more are fed."""
    text, made = part(parts, name)
    assert 3.5 <= made.filament_mm - filament(text) <= 9.5


@pytest.mark.parametrize("name", PARTS)
def test_the_job_makes_every_step_of_the_plan_in_its_time(parts: Path, name: str) -> None:
    _, made = part(parts, name)
    records = decode(encode(made, LIMITS))
    got = steps(records)
    assert (got.steps == records.steps).all()
    assert got.position[-1].tolist() == np.floor(made.moves.end[-1] * LIMITS.steps_per_mm + 0.5).tolist()
    assert records.header.duration == pytest.approx(made.duration_s, abs=LIMITS.chunk)
    assert records.header.peak_rate <= LIMITS.max_step_rate


def test_a_first_layer_cut_out_of_the_cube_is_a_whole_short_job(parts: Path) -> None:
    text, made = part(parts, "calibration_cube")
    until = int(made.moves.line[np.searchsorted(made.moves.begin, 35.0)])
    end = ["M83", "G1 E-2 F2400", "G91", "G1 Z5 F600", "G90", "M104 S0", "M140 S0", "M107", "M84", ""]
    short = plan("\n".join(text.splitlines()[: until - 1] + end), LIMITS)
    assert not short.refusals
    assert 30 < short.duration_s < 40
    assert short.layers == 1
    records = decode(encode(short, LIMITS))
    assert (steps(records).steps == records.steps).all()
