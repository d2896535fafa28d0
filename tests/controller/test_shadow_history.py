"""A run out of the history is the run that was recorded, also where factory time went faster than the wall."""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.history.hot import Hot
from controller.history.kept import BAD, GOOD, STALE, Kept
from controller.shadow import calibrate
from controller.shadow.calibrate import Wanted, calibrated
from controller.shadow.calibrations import subjects
from controller.shadow.recorded import FOLDER, WRAP, from_history
from tests.controller.factories import belts
from tests.twin.calibration import runs
from twin.calibration import CalibrationError, Run
from twin.machine import load
from twin.residual import of, physics_of, with_values

BEGAN = 1_760_000_000_000_000_000
FASTER = 20


Says = Mapping[str, Callable[[int], int]]
NODE: Says = {"uptime": lambda k: 7000 + 100 * k, "boot_id": lambda k: 1}
NOTHING = range(0)


def told(
    folder: Path, count: int, speed: Callable[[int], tuple[float, int]], node: Says = NODE, lost: range = NOTHING
) -> None:
    """Ten reports a second of a belt that runs at a speed of some quality, recorded but for those that were lost."""
    hot = Hot(folder)
    mine = [Kept("b0/status/speed", float), Kept("b0/status/running", bool)]
    numbers = hot.declare([*mine, *(Kept(f"node:n/status/{name}", int) for name in node)])
    rows: list[Any] = []
    for k in (k for k in range(count) if k not in lost):
        if lost and k == lost.stop:
            hot.commit(hot.samples(rows))
            hot.lost(utc(lost.start), utc(lost.stop), "nobody recorded")
            rows.clear()
        value, quality = speed(k)
        rows += [
            (numbers["b0/status/speed"], utc(k), value, quality, "" if quality == GOOD else "silent"),
            (numbers["b0/status/running"], utc(k), True, GOOD, ""),
            *((numbers[f"node:n/status/{name}"], utc(k), of_k(k), GOOD, "") for name, of_k in node.items()),
        ]
    hot.commit(hot.samples(rows))
    hot.close()


def utc(k: int) -> int:
    return BEGAN + k * 100_000_000


def came(state: Path, *span: int) -> Run:
    factory = belts([256])
    return from_history(state, factory, subjects(factory)["b0"], *span)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    (tmp_path / FOLDER).mkdir()
    return tmp_path / FOLDER


def test_a_value_that_is_not_good_is_no_reading(history: Path) -> None:
    told(history, 200, lambda k: (9.0, (STALE, BAD)[k % 2]) if 50 <= k < 60 else (0.1, GOOD))
    run = came(history.parent)
    assert len(run) == 200 and set(run["speed"]) == {0.1}, "a second of doubt is stepped over"


def test_a_run_ends_where_nothing_good_is_known_for_long_and_the_longest_stretch_is_taken(history: Path) -> None:
    told(history, 200, lambda k: (9.0, STALE) if 50 <= k < 90 else (0.1 + (k >= 90), GOOD))
    run = came(history.parent)
    assert run.time[-1] == pytest.approx(10.9) and set(run["speed"]) == {1.1}
    assert "the longest of 2 stretches: b0/status/speed was not Good from 2025-10-09T08:53:25.000Z to 2025" in run.source


def test_nothing_is_held_across_what_was_not_recorded(history: Path) -> None:
    told(history, 200, lambda k: (0.1 + (k >= 150), GOOD), lost=range(100, 102))
    run = came(history.parent)
    assert run.time[-1] == pytest.approx(9.9, abs=0.11), "however short it is"
    assert "the longest of 2 stretches: nothing is known of b0/status/" in run.source


def test_a_run_is_of_one_start_of_its_node_also_where_its_uptime_goes_on(history: Path) -> None:
    falls = {"uptime": lambda k: 7000 + 100 * (k if k < 80 else k - 80)}
    told(history, 200, lambda k: (0.1, GOOD), falls)
    run = came(history.parent)
    assert run.time[-1] == pytest.approx(11.9) and np.all(np.diff(run.time) > 0)
    assert run.source.endswith("stretches: its node was started again before 2025-10-09T08:53:28.000Z")


def test_a_node_s_start_is_told_by_its_number_where_its_uptime_has_risen(history: Path) -> None:
    told(history, 200, lambda k: (0.1, GOOD), {**NODE, "boot_id": lambda k: 1 + (k >= 80)})
    assert came(history.parent).time[-1] == pytest.approx(11.9)


def test_an_uptime_that_wraps_goes_on(history: Path) -> None:
    told(history, 200, lambda k: (0.1 * (k // 50), GOOD), {**NODE, "uptime": lambda k: (WRAP - 5000 + 100 * k) % WRAP})
    run = came(history.parent)
    assert len(run) == 200 and run.time[-1] == pytest.approx(19.9)
    assert run["speed"][[0, 49, 50, 199]] == pytest.approx([0.0, 0.0, 0.1, 0.3])


def test_what_held_when_a_part_begins_is_known_from_its_begin(history: Path) -> None:
    told(history, 200, lambda k: (0.1 + (k >= 150), GOOD))
    run = came(history.parent, utc(50), utc(180))
    assert len(run) == 130 and run["speed"][[0, 99, 100]] == pytest.approx([0.1, 0.1, 1.1])


def test_a_time_is_utc_as_in_the_history_unless_it_says_otherwise(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(history, 200, lambda k: (0.1, GOOD))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        words = {"state": history.parent, "since": "2025-10-09T08:53:25", "until": "2025-10-09T10:53:30+02:00"}
        factory = belts([256])
        run = calibrate._recorded(argparse.Namespace(**words), factory, subjects(factory)["b0"])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert run.source == "history 2025-10-09T08:53:25.000Z to 2025-10-09T08:53:29.900Z"


def record(run: Run, folder: Path) -> None:
    """Offer a run to a history, as fast as it went."""
    types = {signal.name: signal.type for signal in load("conveyor").layouts[0].signals}
    hot = Hot(folder)
    numbers = hot.declare([*(Kept(f"b0/status/{name}", kind) for name, kind in types.items()), Kept("node:n/status/uptime", int)])
    rows = []
    for k in range(len(run)):
        utc = BEGAN + int(run.time[k] * 1e9) // FASTER
        rows += [(numbers[f"b0/status/{name}"], utc, kind(run[name][k]), GOOD, "") for name, kind in types.items()]
        rows.append((numbers["node:n/status/uptime"], utc, 7000 + round(1000 * float(run.time[k])), GOOD, ""))
    hot.commit(hot.samples(rows))
    hot.close()


def test_a_belt_is_identified_from_its_history_on_its_node_s_own_clock(tmp_path: Path) -> None:
    true = with_values(physics_of("twin.machines.conveyor"), {"pull": 0.8})
    run = runs.belt(true, parts=8)
    (tmp_path / FOLDER).mkdir()
    record(run, tmp_path / FOLDER)
    factory = belts([256])
    subject = subjects(factory)["b0"]
    found_run = from_history(tmp_path, factory, subject)
    assert found_run.time[-1] == pytest.approx(run.time[-1], abs=0.11)
    found, made = calibrated(subject, found_run, Wanted(only=("pull",)), "today")
    assert of(found.physics, "pull") == pytest.approx(0.8, rel=0.02)
    assert made.source.startswith("history 2025-10-09T08:53:20.000Z to ") and "stretch" not in made.source
    part = from_history(tmp_path, factory, subject, BEGAN, BEGAN + int(run.time[-1] * 1e9) // FASTER // 2)
    assert len(part) == pytest.approx(len(run) / 2, rel=0.05)


def test_a_history_without_the_machine_says_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    Hot(tmp_path / FOLDER).close()
    factory = belts([256])
    with pytest.raises(CalibrationError, match="b0"):
        from_history(tmp_path, factory, subjects(factory)["b0"])
