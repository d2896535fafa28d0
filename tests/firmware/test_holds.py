"""Held and resumed at any moment, with any number of axes: the same steps in the same order, and none brakes harder than it may."""

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hil import micropython
from twin import motion
from twin.kernel import Floats, Ints, Words

HERE = Path(__file__).parent
FIRMWARE = HERE.parents[1] / "firmware"
TRIALS = 12
FRAME_S = 1e-5
ACCELERATION = 240_000  # steps/s², of X in LIMITS
LIMITS = motion.Limits(jerk=(0.1, 0.1, 0.1, 0.1), acceleration=(3000.0, 3000.0, 3000.0))
Row = tuple[int, ...]


def play(folder: Path, rows: list[Row], trials: list[list[int]], acceleration: int = ACCELERATION) -> tuple[list[Words], list[Row]]:
    """The words of each trial, and where the axes are at its end."""
    axes = len(rows[0]) - 2
    (folder / "records").write_bytes(b"".join(struct.pack(f"<H{axes}hH", *row) for row in rows))
    (folder / "trials").write_text("".join(" ".join(map(str, trial)) + "\n" for trial in trials))
    command = [*micropython.command(), "-X", "heapsize=4M", str(HERE / "hold_vm.py"), "records", "words"]
    run = subprocess.run(
        [*command, str(axes), str(acceleration), "trials"],
        cwd=folder,
        env={"MICROPYPATH": f".frozen:{FIRMWARE}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    words = np.fromfile(folder / "words", "<u4")
    made = np.split(words, np.flatnonzero(words == 0xFFFFFFFF))[1:]
    return [each[1:] for each in made], [tuple(map(int, line.split())) for line in run.stdout.splitlines()]


def steps_of(words: Words, axes: int) -> tuple[Ints, Ints]:
    """(k,) the step and direction bits of each frame that has a step, in their order, and the frames' indices."""
    steps = np.uint32(sum(1 << 2 * k for k in range(axes)))
    edges = words & ~np.concatenate(([0], words[:-1])).astype(np.uint32) & steps
    at = np.flatnonzero(edges)
    return (edges[at] | words[at] & (edges[at] << np.uint32(1))).astype(np.int64), at


def changes(chance: np.random.Generator, frames: int) -> list[int]:
    """When go and hold change, from a few frames to longer than any ramp."""
    gaps = np.exp(chance.uniform(np.log(4), np.log(frames / 3), 24)).astype(int)
    return [int(gap) for gap in gaps]


def some_records(chance: np.random.Generator, axes: int) -> list[Row]:
    """Records as no planner makes them: any share of speed at their start, axes that turn round, dwells."""
    rows = []
    for _ in range(40):
        chunks = int(chance.integers(1, 300))
        most = 2 * chunks - 1  # a step takes two frames
        steps = chance.integers(-most, most + 1, axes) if chance.random() < 0.9 else np.zeros(axes, int)
        room = min(1.0, 2 * chunks / max(1, int(np.abs(steps).max())) - 1)  # how far the start's speed may be from the mean
        rows.append((chunks, *map(int, steps), int(32767 * chance.uniform(1 - room, 1 + room))))
    return rows


@pytest.mark.parametrize("axes", [1, 2, 3, 4, 5, 6])
def test_any_holds_and_resumes_leave_every_step_of_any_number_of_axes_in_its_order(tmp_path: Path, axes: int) -> None:
    chance = np.random.default_rng(axes)
    rows = some_records(chance, axes)
    frames = 4 * sum(row[0] for row in rows)
    trials = [[], *(changes(chance, frames) for _ in range(TRIALS))]
    made, ends = play(tmp_path, rows, trials)
    plain, _ = steps_of(made[0], axes)
    wanted = (*(sum(row[1 + k] for row in rows) for k in range(axes)), 0)
    assert len(made[0]) == frames and len(plain) > 1000
    for words, end in zip(made, ends, strict=True):
        assert end == wanted
        assert np.array_equal(steps_of(words, axes)[0], plain)
    assert all(len(words) > frames for words in made[1:]), "they were held"


# ---- how hard it brakes


def long_move() -> list[Row]:
    """One straight move that speeds up and brakes as hard as X may."""
    records = motion.decode(motion.encode(motion.plan("G28\nG1 X160 F12000\n", LIMITS), LIMITS))
    moving = np.flatnonzero((records.code == 0) & (records.chunks > 0))
    return [(int(records.chunks[i]), *map(int, records.steps[i]), int(records.alpha[i])) for i in moving]


def speeds(words: Words, window: int) -> Floats:
    """Steps/s of X in windows of some frames."""
    _, at = steps_of(words, 4)
    grid = np.arange(0, len(words) + 4 * window, window)
    return np.diff(np.interp(grid, at, np.arange(len(at)))) / (window * FRAME_S)


def test_a_hold_meets_a_planned_ramp_and_no_axis_accelerates_harder_than_it_may(tmp_path: Path) -> None:
    rows = long_move()
    frames = 4 * sum(row[0] for row in rows)
    ramp = round(16_000 / ACCELERATION / FRAME_S)
    begins = [*range(ramp // 4, frames - ramp // 8, ramp // 4)][: frames * 4 // ramp]
    begins = [begin for begin in begins if begin < 1.2 * ramp or begin > frames - 2.2 * ramp]
    made, _ = play(tmp_path, rows, [[begin, length] for begin in begins for length in (ramp // 3, 3 * ramp)])
    window = 800
    worst = max(float(np.abs(np.diff(speeds(words, window))).max()) for words in made) / (window * FRAME_S)
    noise = 2 / (window * FRAME_S) ** 2
    assert worst <= 1.06 * ACCELERATION + noise, worst / ACCELERATION
    assert worst >= 0.9 * ACCELERATION, "it is measured at all"


def test_a_hold_comes_to_rest_within_speed_over_acceleration_wherever_it_begins(tmp_path: Path) -> None:
    rows = long_move()
    frames = 4 * sum(row[0] for row in rows)
    begins = [*range(1000, frames - 1000, frames // 14 // 4 * 4)]
    made, _ = play(tmp_path, rows, [[begin, 60_000] for begin in begins])
    for begin, words in zip(begins, made, strict=True):
        _, at = steps_of(words, 4)
        first = int(np.searchsorted(at, begin))
        rest = first + int(np.argmax(np.diff(at)[first:])) if first < len(at) - 1 else first
        speed = speeds(words, 200)[begin // 200 - 3 : begin // 200 + 1].max()
        assert (at[min(rest, len(at) - 1)] - begin) * FRAME_S <= 1.1 * speed / ACCELERATION + 0.003
