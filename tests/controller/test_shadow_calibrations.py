"""A machine's calibration as it lies in a state folder: whose it is, what it is taken for, and what the next one makes of it."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from controller.shadow.calibrate import Wanted, calibrated
from controller.shadow.calibrations import keep, kept, physics, place, subjects
from tests.controller.factories import demo
from tests.controller.test_shadow import BELT
from tests.twin.calibration import runs
from twin.calibration import Calibration, CalibrationError, Value
from twin.factory import parse
from twin.residual import with_values

FACTORY = demo()


def test_a_calibration_for_other_params_or_none_at_all_leaves_the_type_s_own_and_says_so(tmp_path: Path) -> None:
    subject = subjects(FACTORY)["belt-1"]
    assert physics(tmp_path, subject) == (subject.physics, "belt-1: not calibrated: its residuals are those of any conveyor")
    run = runs.belt(with_values(subject.physics, {"pull": 0.8}))
    keep(tmp_path, subject, calibrated(subject, run, Wanted(only=("pull",)), "today")[1])
    other = dataclasses.replace(subject, digest="another")
    assert physics(tmp_path, other)[0] is subject.physics and "made for other params" in physics(tmp_path, other)[1]
    place(tmp_path, "belt-1").write_text("nonsense")
    assert "not TOML" in physics(tmp_path, subject)[1]
    with pytest.raises(CalibrationError, match="not TOML"):
        kept(tmp_path, subject)


def test_a_calibration_of_another_machine_of_the_same_params_is_not_taken(tmp_path: Path) -> None:
    subject = subjects(FACTORY)["belt-1"]
    made = Calibration("belt-9", subject.type, "today", "a copy", subject.digest, {"pull": Value(0.8)}, {})
    keep(tmp_path, subject, made)
    with pytest.raises(CalibrationError, match="it was made of 'belt-9', not of 'belt-1'"):
        kept(tmp_path, subject)
    assert physics(tmp_path, subject)[0] is subject.physics


def test_what_was_identified_before_is_where_the_next_calibration_begins_and_stays_where_it_tells_nothing(tmp_path: Path) -> None:
    subject = subjects(parse(BELT, Path()))["belt-1"]
    true = with_values(subject.physics, {"pull": 0.8, "friction": 0.45})
    before = Calibration("belt-1", subject.type, "in May", "a run", subject.digest, {"friction": Value(0.45, 0.002)}, {})
    run = runs.belt(true, parts=12, stops=3, length=5000.0, speed=400.0)
    found, made = calibrated(subject, run, Wanted(only=("pull",)), "today", before)
    assert found.started.friction == found.physics.friction == 0.45, "also while it is fitted"
    assert made.values["friction"] == Value(0.45, 0.002) and made.values["pull"].value == pytest.approx(0.8, rel=0.01)
    assert made.source == "made by a test; friction as of in May"


def test_a_calibration_is_on_the_disk_and_so_is_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, steps = subjects(FACTORY)["belt-1"], []
    sync, replace = os.fsync, os.replace
    kinds = {True: "folder", False: "file"}
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(kinds[stat.S_ISDIR(os.fstat(fd).st_mode)]), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda old, new: (steps.append("name"), replace(old, new)))
    keep(tmp_path, subject, Calibration("belt-1", subject.type, "today", "Münze", subject.digest, {}, {}))
    assert steps == ["file", "name", "folder"]
    made = kept(tmp_path, subject)
    assert made is not None and made.source == "Münze"
