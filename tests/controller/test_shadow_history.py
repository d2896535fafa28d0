"""A run out of the history is the run that was recorded, also where factory time went faster than the wall."""

from pathlib import Path

import pytest

from controller.history.hot import Hot
from controller.history.kept import GOOD, Kept
from controller.shadow.calibrate import Wanted, calibrated
from controller.shadow.calibrations import subjects
from controller.shadow.recorded import FOLDER, from_history, moment
from tests.controller.factories import belts
from tests.twin.calibration import runs
from twin.calibration import CalibrationError, Run
from twin.machine import load
from twin.residual import of, physics_of, with_values

BEGAN = 1_760_000_000_000_000_000
FASTER = 20


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
    came = from_history(tmp_path, factory, subject)
    assert came.time[-1] == pytest.approx(run.time[-1], abs=0.11)
    found, made = calibrated(subject, came, Wanted(only=("pull",)), "today")
    assert of(found.physics, "pull") == pytest.approx(0.8, rel=0.02)
    assert made.source.startswith("history 2025-10-09T08:53:20+00:00 to ")
    part = from_history(tmp_path, factory, subject, BEGAN, BEGAN + int(run.time[-1] * 1e9) // FASTER // 2)
    assert len(part) == pytest.approx(len(run) / 2, rel=0.05)


def test_a_history_without_the_machine_says_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    Hot(tmp_path / FOLDER).close()
    factory = belts([256])
    with pytest.raises(CalibrationError, match="b0"):
        from_history(tmp_path, factory, subjects(factory)["b0"])
    assert moment(None, 5) == 5 and moment("2025-10-09T08:53:20+00:00", 0) == BEGAN
