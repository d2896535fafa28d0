"""The command line as its user types it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.__main__ import DEMO, DEMO_FACTORY, main

CUBE = DEMO / "calibration_cube.gcode"


def test_check_says_that_the_demo_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(DEMO_FACTORY)]) == 0
    assert "4 machines on 4 nodes" in capsys.readouterr().out


def test_check_names_every_mistake_with_its_key_and_what_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DEMO_FACTORY.read_text().replace('type = "conveyor"', 'type = "conveyer"').replace("scan_ms = 100", "scan_ms = 5")
    (tmp_path / "factory.toml").write_text(text + "\n[recipes.other]\noperation = []\n")
    assert main(["check", str(tmp_path / "factory.toml")]) == 1
    told = capsys.readouterr().err
    assert "machines.belt-1.type: must be one of arm, conveyor, extractor, gcode_printer, printer" in told
    assert "factory.scan_ms: must be a whole number from 20 to 200, not 5" in told
    assert "recipes.other.operation: unknown key; allowed are operations" in told


def test_check_refuses_registers_that_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = DEMO_FACTORY.read_text().replace('node = "belt-1"\nbase = 256', 'node = "printer-1"\nbase = 260')
    text = text.replace("run = 16, speed = 17", "run = 4, speed = 5")
    text = text.replace("at_entry = 34, at_exit = 35, tripped = 32", "at_entry = 12, at_exit = 13, tripped = 14")
    (tmp_path / "factory.toml").write_text(text)
    assert main(["check", str(tmp_path / "factory.toml")]) == 1
    assert "machines.belt-1.base: 260 overlaps machines.printer-1" in capsys.readouterr().err


def test_plan_tells_the_slicer_s_duration_under_the_only_key_with_that_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(CUBE), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [key for key in found if "duration" in key] == ["duration_s"]
    assert found["duration_s"] == pytest.approx(1147, rel=0.01)
    assert found["refusals"] == [] and found["filament_mm"] == pytest.approx(1302.8, abs=0.1)


def test_plan_refuses_a_move_off_the_bed_with_its_line_axis_value_and_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "off.gcode").write_text("G28\nG1 X100 F6000\nG1 X999\n")
    assert main(["plan", str(tmp_path / "off.gcode"), "--json"]) == 1
    (refusal,) = json.loads(capsys.readouterr().out)["refusals"]
    assert (refusal["line"], refusal["axis"], refusal["value"], refusal["limit"]) == (3, "X", 999, 220)


def test_plan_checks_an_arm_s_program_against_all_that_stands_around(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wave").write_text("speed 0.5\njoints -170 -90 90 -90 -90 0\njoints -150 -90 90 -90 -90 0\n")
    assert main(["plan", str(tmp_path / "wave"), "--machine", "arm-1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["refusals"] == [] and 0.3 < found["duration_s"] < 3
    (tmp_path / "down").write_text("speed 0.5\njoints -150 30 0 0 0 0\n")
    assert main(["plan", str(tmp_path / "down"), "--machine", "arm-1"]) == 1
    assert "line 2: forearm and table overlap by" in capsys.readouterr().out


def test_plan_tells_each_refusal_of_an_arm_s_program_with_its_line_what_value_and_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "far").write_text("speed 0.5\njoints -150 -90 170 -90 -90 0\njoints -150 30 0 0 0 0\n")
    assert main(["plan", str(tmp_path / "far"), "--machine", "arm-1", "--json"]) == 1
    refusals = json.loads(capsys.readouterr().out)["refusals"]
    assert len(refusals) > 1 and {refusal["line"] for refusal in refusals} <= {2, 3}
    for refusal in refusals:
        assert refusal["axis"] and refusal["value"] is not None and refusal["limit"] is not None
        assert ";" not in refusal["text"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan", "missing.gcode"], "missing.gcode: cannot be read"),
        (["plan", str(CUBE), "--machine", "lathe"], "--machine lathe: these plan Jobs: printer-1"),
        (["check", "missing.toml"], "missing.toml: cannot be read"),
        (["run", str(DEMO_FACTORY), "--order", "missing.gcode"], "--order missing.gcode: there is no such file"),
        (["run", str(DEMO_FACTORY), "--order", str(CUBE), "--recipe", "glue"], "--recipe 'glue': the file has print-and-convey"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_users_are_made_and_changed_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def user(*words: str, password: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
        capsys.readouterr()
        return main(["user", "--state", str(tmp_path), *words]), capsys.readouterr().err

    command = [sys.executable, "-m", "controller", "user", "--state", str(tmp_path)]
    subprocess.run([*command, "add", "anna", "administrator"], input="correct horse\n", check=True, text=True)
    assert user("add", "ben", "observer", password="battery staple")[0] == 0
    assert user("role", "ben", "operator")[0] == 0
    shown = subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["anna", "administrator", "ben", "operator"]
    code, error = user("passwd", "ben", password="short")
    assert code == 1 and "8 to 128 characters" in error
    code, error = user("role", "anna", "operator")
    assert code == 1 and "last administrator" in error


def test_kernels_that_can_be_kept_nowhere_end_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o777)
    (tmp_path / "shared").chmod(0o777)
    program = tmp_path / "wave.arm"
    program.write_text("home\njoints -150 -90 90 -90 -90 10\n", encoding="utf-8")
    told = {**os.environ, "LOCKSTEP_KERNELS": str(tmp_path / "shared")}
    plan = ["controller", "plan", str(program), "--machine", "arm-1"]
    for words, code in ((plan, 1), (["controller.prepare"], 2)):
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=DEMO.parents[1], env=told, capture_output=True, text=True, check=False)
        assert done.returncode == code and "LOCKSTEP_KERNELS names another folder" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "controller", "check", str(DEMO_FACTORY)]
    env = {**os.environ, "PYTHONUNBUFFERED": ""}  # buffered, as it is in a pipe
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=env)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
