"""Six axes on the step stream: every step in the frame in which the reference has it, and on the path when it is held."""

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hil import micropython
from tests.firmware.conftest import Make
from tests.firmware.rig import eventually
from tests.firmware.test_node import HEAP_LEFT
from tests.hil.arms import one_arm
from tests.twin.motion.test_arm_job import HOME, LIMITS, STEPS, plan_of, smooth
from twin.export import node_json
from twin.kernel import Words
from twin.motion import stepping
from twin.motion.arm.job import decode, encode
from twin.motion.job import Records

HERE = Path(__file__).parent
FIRMWARE = HERE.parents[1] / "firmware"
WAY = np.array([0.31, -0.22, 0.4, -0.13, 0.0, 0.5])


def play(folder: Path, records: Records, hold_at: int = 0) -> tuple[Words, list[int]]:
    """The words that the Player makes, and what it says of itself at the end: six positions, late steps."""
    source, out = folder / "records", folder / "words"
    moving = np.flatnonzero(records.chunks)
    rows = [struct.pack("<H6hH", records.chunks[i], *records.steps[i].tolist(), records.alpha[i]) for i in moving]
    source.write_bytes(b"".join(rows))
    run = subprocess.run(
        [*micropython.command(), str(HERE / "six_vm.py"), str(source), str(out), str(hold_at)],
        env={"MICROPYPATH": f".frozen:{FIRMWARE}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    return np.fromfile(out, "<u4"), [int(n) for n in run.stdout.split()]


def made(words: Words) -> tuple[np.ndarray, np.ndarray]:
    """(k, 6) signed steps in the frames that have any, and the frames' indices."""
    before = np.concatenate(([0], words[:-1]))
    edges = words & ~before & 0x555
    at = np.flatnonzero(edges)
    bits = edges[at][:, None] >> (2 * np.arange(6)) & 1
    return bits * np.where(words[at][:, None] >> (2 * np.arange(6) + 1) & 1, 1, -1), at


@pytest.fixture(scope="module")
def records() -> Records:
    return decode(encode(plan_of(*smooth(WAY, 0.4)), LIMITS, STEPS))


def test_the_node_makes_every_step_of_six_axes_in_the_very_frame_of_the_reference(tmp_path: Path, records: Records) -> None:
    words, (*position, late) = play(tmp_path, records)
    wanted = []
    for i in np.flatnonzero(records.chunks):
        frames = np.zeros(4 * records.chunks[i], np.uint8)
        stepping.frames(int(records.chunks[i]), records.steps[i], int(records.alpha[i]), 4, frames)
        wanted.append(frames)
    edges = words & ~np.concatenate(([0], words[:-1]))
    found = sum((edges >> (2 * axis) & 1) << axis for axis in range(6))
    assert (found == np.concatenate(wanted)).all()
    assert position == (STEPS.of(HOME + WAY) - STEPS.of(HOME)).tolist() and late == 0


@pytest.mark.parametrize("hold_at", [4_000, 20_000, 31_003])
def test_a_hold_of_six_axes_loses_no_step_and_stays_on_the_path(tmp_path: Path, records: Records, hold_at: int) -> None:
    steps, at = made(play(tmp_path, records)[0])
    words, (*position, late) = play(tmp_path, records, hold_at)
    same, later = made(words)
    assert (steps == same).all() and (later >= at).all() and later[-1] > at[-1]
    assert position == steps.sum(axis=0).tolist() and late == 0


def test_an_arms_node_leaves_room_in_a_boards_heap(make: Make) -> None:
    factory = one_arm()
    client = make(node_json(factory, factory.nodes["arm-1"])).client()
    eventually(lambda: client.status().uptime > 1200)  # the heap has been collected at least once
    status = client.status()
    assert status.heap_free > HEAP_LEFT and not status.latched
