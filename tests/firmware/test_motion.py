"""The node's generator against the planner's own executor: the same Job, frame for frame."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil import micropython
from twin import motion
from twin.kernel import Words

HERE = Path(__file__).parent
FIRMWARE = HERE.parents[1] / "firmware"
LIMITS = motion.Limits()
PROGRAM = (
    "G21\nG90\nM83\nM140 S60\nM104 S215\nG28\nM190 S60\nM109 S215\n"
    "G1 X30 Y20 Z0.3 F9000\nG1 X50 Y22 E2 F3600\nG1 X50.3 Y22.1 E.05\nG1 X50.31 Y22.4 E.03\nG1 E-2 F2400\n"
    "G1 X10 Y80 F12000\nG1 Z0.8 F600\nG1 E2 F2400\nG4 P30\nG1 X9 Y40 E1 F4800\nG1 X120 Y41 E3\nM84\n"
)


def play(folder: Path, records: list[tuple[int, ...]], *hold: int) -> tuple[Words, list[int]]:
    """The words that the Player makes, and what it says of itself at the end: four positions, missing steps, peak."""
    source, out = folder / "records", folder / "words"
    packed = [(r[0], *r[1:5], r[5]) for r in records]
    source.write_bytes(b"".join(np.array(r, np.int64).astype("<i8").view("<u2")[::4].tobytes() for r in packed))
    run = subprocess.run(
        [*micropython.command(), str(HERE / "player_vm.py"), str(source), str(out), *map(str, hold)],
        env={"MICROPYPATH": f".frozen:{FIRMWARE}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    return np.fromfile(out, "<u4"), [int(n) for n in run.stdout.split()]


def made(words: Words) -> tuple[Words, np.ndarray]:
    """(k, 4) signed steps in the frames that have any, and the frames' indices."""
    before = np.concatenate(([0], words[:-1]))
    edges = words & ~before & 0x55
    at = np.flatnonzero(edges)
    bits = edges[at][:, None] >> (2 * np.arange(4)) & 1
    signs = np.where(words[at][:, None] >> (2 * np.arange(4) + 1) & 1, 1, -1)
    return bits * signs, at


def job_records(program: str) -> tuple[motion.Records, list[tuple[int, ...]]]:
    records = motion.decode(motion.encode(motion.plan(program, LIMITS), LIMITS))
    rows = [
        (int(records.chunks[i]), *(int(n) for n in records.steps[i]), int(records.alpha[i]))
        for i in range(len(records))
        if records.code[i] == 0
    ]
    return records, rows


def test_the_node_makes_every_step_in_the_very_frame_that_the_planner_reckons(tmp_path: Path) -> None:
    records, rows = job_records(PROGRAM)
    words, (*position, missing, _) = play(tmp_path, rows)
    wanted = np.concatenate([motion.frames(records, i) for i in range(len(records)) if records.code[i] == 0])
    before = np.concatenate(([0], words[:-1]))
    edges = words & ~before
    found = sum((edges >> (2 * axis) & 1) << axis for axis in range(4))
    assert len(found) == len(wanted) and (found == wanted).all()
    assert position == [sum(row[1 + axis] for row in rows) for axis in range(4)] and missing == 0


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(500, 60_000), every=st.integers(2_000, 40_000))
def test_a_hold_anywhere_loses_no_step_and_stays_on_the_path(tmp_path: Path, first: int, every: int) -> None:
    _, rows = job_records(PROGRAM)
    plain, _ = play(tmp_path, rows)
    held, (*position, missing, _) = play(tmp_path, rows, first, every)
    steps, at = made(plain)
    same, later = made(held)
    assert (steps == same).all(), "another order of steps is another path"
    assert len(held) > len(plain) and (later >= at).all()
    assert position == [int(n) for n in steps.sum(axis=0)] and missing == 0


def test_a_hold_brings_the_axes_to_rest_within_speed_over_acceleration(tmp_path: Path) -> None:
    speed, acceleration = 8000, 240_000  # steps/s, steps/s²
    words, _ = play(tmp_path, [(4000, 1280, 0, 0, 0, 32768)] * 6, 20_000, 10_000_000)
    _, at = made(words)
    begin = int(np.searchsorted(at, 20_000))
    rest = begin + int(np.argmax(np.diff(at)[begin:]))  # the longest pause between steps
    assert (np.diff(np.diff(at[begin:rest:8])) >= 0).all(), "every eight steps take longer than the eight before"
    assert (at[rest] - 20_000) * 1e-5 <= speed / acceleration
    assert at[rest] - 20_000 >= 0.9 * speed / acceleration * 1e5, "it is a ramp, not a jolt"


@pytest.mark.parametrize("steps", [(1, 0, 0, 0), (0, -4000, 5, 1), (7, 7, -7, 7), (0, 0, 0, 0)])
@pytest.mark.parametrize("alpha", [0, 1, 32768, 65535])
def test_any_record_makes_exactly_its_steps(tmp_path: Path, steps: tuple[int, ...], alpha: int) -> None:
    words, (*position, missing, _) = play(tmp_path, [(4095, *steps, alpha)])
    assert position == list(steps) and missing == 0
    assert list(made(words)[0].sum(axis=0)) == list(steps) if any(steps) else not words.any()
