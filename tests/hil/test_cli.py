"""`lockstep hil`: what it prints, what it writes, and what it refuses."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from hil.__main__ import main
from hil.faults import KINDS
from hil.reports import record
from tests.mutant import firmware_with

ROOT = Path(__file__).resolve().parents[2]
PLAN = """
factory = "belt.toml"
duration = 8.0
requirements = ["I1", "I8"]
[[part]]
at = 1.0
target = "belt-1"
[[order]]
recipe = "convey"
[[fault]]
at = 4.0
for = 1.0
target = "belt-1"
kind = "link-cut"
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def test_lockstep_hil_is_the_rig_in_a_process_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-m", "controller", "hil", "list", "--json"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["targets"]["vm"] == "" and "cut-while-running" in told["scenarios"]
    assert told["scenarios"]["cut-while-running"]["parameters"]["cut_s"]["default"] == 3.0


def test_what_there_is_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert "cut-while-printing" in told and "vm" in told and "present" in told


def test_a_scenario_is_run_with_its_seed_and_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cut-while-running", "--seed", "3", "--set", "cut_s=1.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed  BELT-001") and "cut-while-running, seed 3: 8." in lines[-1]


def test_a_plan_is_run_and_everything_about_it_written(plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("html", "json", "junit", "csv")}
    assert main(["run", str(plan), *(word for name, path in files.items() for word in (f"--{name}", str(path)))]) == 0
    assert "belt.toml, seed 0: 8 s" in capsys.readouterr().out
    assert "no output stays on where nobody is heard" in files["html"].read_text()
    assert json.loads(files["json"].read_text())["outcomes"] == {"passed": 1, "failed": 0, "skipped": 0}
    suite = ET.parse(files["junit"]).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    assert [one.get("value") for one in suite.iter("property")] == ["I1", "I8"]
    assert list(record.read(files["csv"]).series["belt-1/pin/run"])


def test_a_plan_that_fails_says_what_failed_and_how_to_do_it_again(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    firmware = firmware_with(tmp_path, "node/safety.py", "< self._lease_ms", "< 2 * self._lease_ms")
    junit = tmp_path / "out.xml"
    assert main(["run", str(plan), "--firmware", str(firmware), "--junit", str(junit)]) == 1
    assert "FAILED  I1" in capsys.readouterr().out
    (failure,) = ET.parse(junit).getroot().iter("failure")
    assert "too long" in (failure.get("message") or "") and failure.text == f"lockstep hil run {plan} --firmware {firmware}"


def test_a_campaign_tells_what_fired_and_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    firmware = firmware_with(tmp_path, "node/safety.py", "< self._lease_ms", "< 2 * self._lease_ms")
    words = ["run", "campaign", "--seeds", "0:2", "--jobs", "1", "--kinds", "link-cut,link-half-open"]
    words += ["--factory", str(ROOT / "hil/scenarios/belt.toml"), "--no-shrink", "--json", str(tmp_path / "out.json")]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "2 campaigns, 0 failed" in told and "link-half-open" in told and "sensor-stuck" not in told
    assert json.loads((tmp_path / "out.json").read_text())["runs"] == 2
    assert main([*words, "--firmware", str(firmware)]) == 1
    told = capsys.readouterr().out
    assert "broke I1" in told and "again: lockstep hil run campaign --seed" in told and 'kind = "link-' in told


def test_two_recordings_are_compared(plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / name) for name in ("a.csv", "b.csv", "c.csv")]
    for path, text in zip(paths, (PLAN, PLAN, PLAN.replace("at = 4.0", "at = 4.05")), strict=True):
        plan.write_text(text)
        assert main(["run", str(plan), "--csv", path]) == 0
    capsys.readouterr()
    assert main(["compare", paths[0], paths[1]]) == 0
    assert " agree" in capsys.readouterr().out
    assert main(["compare", paths[0], paths[2]]) == 1
    assert "belt-1/pin/run" in capsys.readouterr().out
    assert main(["compare", paths[0], paths[2], "--tolerance", "*/pin/*:lag=0.2,lead=0.2"]) == 1
    assert "belt-1/pin/run " not in capsys.readouterr().out


def test_every_kind_of_fault_is_on_the_page_with_its_last_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults"]) == 0
    assert f"{len(KINDS)} kinds" in capsys.readouterr().out
    results, page = tmp_path / "results.json", tmp_path / "faults.md"
    results.write_text(json.dumps({"link-cut": {"result": "passed", "test": "tests/hil/faults/test_link.py"}}))
    assert main(["faults", "--page", str(page), "--results", str(results)]) == 0
    rows = {line.split("`")[1]: line for line in page.read_text().splitlines() if line.startswith("| `")}
    assert rows.keys() == KINDS.keys()
    assert "| passed | `tests/hil/faults/test_link.py` |" in rows["link-cut"] and "| not run |" in rows["link-delay"]
    assert all(line.count(" | ") == 7 for line in rows.values())


def test_the_page_takes_results_from_the_tests_of_the_kinds(tmp_path: Path) -> None:
    case = '<testcase classname="tests.hil.faults.test_link" name="t"><properties><property name="fault-kind" value="{}"/>'
    cases = [
        case.format(kind) + f"</properties>{end}</testcase>"
        for kind, end in (("link-cut", ""), ("link-cut", '<failure message="x"/>'), ("link-delay", ""), ("link-loss", "<skipped/>"))
    ]
    results, page = tmp_path / "results.xml", tmp_path / "faults.md"
    results.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    assert main(["faults", "--page", str(page), "--results", str(results)]) == 0
    rows = {line.split("`")[1]: line for line in page.read_text().splitlines() if line.startswith("| `")}
    assert "| failed | `tests/hil/faults/test_link.py` |" in rows["link-cut"]
    assert "| passed |" in rows["link-delay"] and "| not run |" in rows["link-loss"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "fly"], "'fly' is neither a plan's file nor a scenario; there are cut-while-printing, "),
        (["run", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["run", "cut-while-running", "--set", "cut_s=x"], "--set 'cut_s=x': 'x' is not a number"),
        (["run", "cut-while-running", "--set", "cut_s=-1"], "cut_s: must be from 0.6 to 600, not -1"),
        (["run", "cut-while-running", "--firmware", "/nowhere"], "there is no main.py in it"),
        (["run", "campaign", "--kinds", "link-cuts"], "link-cuts: `lockstep hil faults` lists those there are"),
        (["run", "campaign", "--target", "model"], "campaigns run on vm"),
        (["compare", "a.csv", "b.csv"], "a.csv"),
        (["compare", "a.csv", "b.csv", "--tolerance", "x:late=3"], "'late' is none of abs, rel, lead, lag"),
        (["faults", "--page", "x", "--results", "/nowhere"], "--results /nowhere"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_the_nodes_of_the_demo_import_no_more_than_they_need() -> None:
    code = "import sys, hil.__main__ as m; m._parser('nodes'); print([n for n in ('hil.campaigns', 'rich') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
