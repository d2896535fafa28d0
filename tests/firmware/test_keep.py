"""Counts that outlast restarts, in the real interpreter on real files: cuts, damage, wear, wraps."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hil import micropython
from tests.firmware.rig import FIRMWARE

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of everything that keep_vm.py tries."""
    run = subprocess.run(
        [*micropython.command(), "-X", "heapsize=160K", str(HERE / "keep_vm.py")],
        cwd=tmp_path_factory.mktemp("flash"),
        env={"MICROPYPATH": f".frozen:{FIRMWARE}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def test_a_power_cut_at_any_byte_of_a_write_leaves_the_last_count_or_the_one_before(found: dict[str, Any]) -> None:
    for written, count, failed in found["cuts"][::2]:
        assert count in (written, written + 1)
        assert not failed
    for counted, kept, _ in found["cuts"][1::2]:
        assert kept == counted, "and the next write is whole again"
    assert {count - written for written, count, _ in found["cuts"][::2]} == {0, 1}


def test_300_random_cuts_lose_nothing_that_was_written(found: dict[str, Any]) -> None:
    assert found["many_cuts"] is True


def test_a_damaged_file_gives_way_to_the_other_and_two_of_them_are_told(found: dict[str, Any]) -> None:
    for first, second in zip(found["flips"][::2], found["flips"][1::2], strict=True):
        assert first in ([1, 0], [2, 0])
        assert second == [0, 1]


def test_it_is_written_when_running_stops_at_most_once_a_minute_and_every_ten_minutes_but_not_while_an_axis_moves(
    found: dict[str, Any],
) -> None:
    times, seconds = found["rhythm"]
    first, second, third, *rest = times
    assert first == pytest.approx(20, abs=0.2)
    assert second == pytest.approx(80, abs=0.3), "the stop at 40 s waits for its minute"
    assert third == pytest.approx(680, abs=0.5), "ten minutes later it still runs"
    assert rest == [pytest.approx(1400, abs=0.2), pytest.approx(1700, abs=0.2)], "1280 s would be in the middle of a motion"
    assert seconds == pytest.approx(1420, abs=1)


def test_a_flash_that_refuses_is_told_and_counting_goes_on(found: dict[str, Any]) -> None:
    count, failed, on_flash, kept, still_failed = found["refused"]
    assert (count, failed, on_flash) == (3, 1, 1)
    assert (kept, still_failed) == (1, 0)


def test_sequence_and_count_wrap_and_a_way_back_counts_as_a_way(found: dict[str, Any]) -> None:
    assert found["wraps"] == [0xFFFF_FFFF, 0, 1, 400]
