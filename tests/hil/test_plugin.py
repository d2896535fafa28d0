"""The pytest plugin, used as somebody would who has nothing but it: an empty folder, an own machine, an own firmware."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hil import debian

pytest_plugins = ["pytester"]

CACHE = debian.cache().parent  # asked before pytester gives each test a home of its own

FACTORY = """
[factory]
name = "desk"

[types.lamp]
path = "lamp"

[cells.desk]

[nodes.n]
uid = 1
port = 15999
virtual = true
firmware = "firmware"

[machines.lamp]
type = "lamp"
cell = "desk"
node = "n"
base = 256
pins = { dark = 34, light = 16 }
"""
SPEC = """
from typing import Annotated as A

from twin.machine import Input, Output
from twin.wire import OFF, Bit, OnSilence, record


@record
class Status:
    dark: A[bool, Bit(0, 0)]


@record
class Command:
    light: A[bool, OnSilence(OFF), Bit(0, 0)] = False


BLOCKS = (Input("dark"), Output("light"))
"""
CONTROL = "def decide(sample, wish, params, now):\n    return None, ()\n"
PLANT = """
from twin.clock import Ns

HALF = Ns(500_000_000)


def start(params):
    return Ns(0)


def step(state, params, pins, dt):
    state = Ns(state + dt)
    return state, {"dark": state // HALF % 2}


def horizon(state, params, pins, limit):
    return min(limit, Ns(HALF - state % HALF))
"""
MAIN = """
import time
from machine import Pin

dark = Pin(34, Pin.IN)
light = Pin(16, Pin.OUT)
while True:
    light.value(dark.value())
    time.sleep_ms(20)
"""
TESTS = '''
from hil import requirement
from hil.judging.verdict import Requirement
from twin.clock import MS, S, Ns


def follows(trace):
    """The light is on within 20 ms of the dark, and off within 20 ms of the day."""
    dark, light = (list(trace.series[f"lamp/{name}"]) for name in ("sensor/dark", "pin/light"))
    late = [time - came for (came, _), (time, _) in zip(dark, [pair for pair in light if pair[0] > 0])]
    return len(late) >= 4 and max(late) <= 20 * MS, f"{len(late)} changes, at most {max(late) / MS:.0f} ms late"


@requirement("DESK-001")
async def test_the_light_follows_the_dark(stage):
    await stage.after(Ns(3 * S))
    return [Requirement("the light follows the dark", follows, "DESK-001")]


@requirement("DESK-002", "DESK-003")
def test_a_light_without_power_is_out(rig):
    rig.run(Ns(700 * MS))
    assert rig.trace.last("lamp/pin/light") == 1
    rig.power_off("n")
    assert rig.trace.last("lamp/pin/light") == 0


def test_that_has_nothing_to_do_with_it():
    pass
'''


NOBODY_ELSE_S = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")  # plugins that this machine has besides


def is_installed() -> bool:
    return any(point.value == "hil.plugin" for point in entry_points(group="pytest11"))


@pytest.fixture
def desk(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of somebody's own; the VM is fetched once on a machine, not for each desk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
    files = {
        "factory.toml": FACTORY,
        "lamp/spec.py": SPEC,
        "lamp/control.py": CONTROL,
        "lamp/plant.py": PLANT,
        "firmware/main.py": MAIN,
        "test_desk.py": TESTS,
    }
    for name, text in files.items():
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return pytester


def run(desk: pytest.Pytester, *words: str) -> pytest.RunResult:
    plugin = () if is_installed() else ("-p", "hil.plugin")
    return desk.runpytest_subprocess(*plugin, *NOBODY_ELSE_S, *words)


def test_somebodys_own_firmware_runs_against_their_own_machine_and_is_judged(desk: pytest.Pytester) -> None:
    done = run(
        desk, "--lockstep-html", "out.html", "--lockstep-json", "out.json", "--junitxml", "out.xml", "-o", "junit_family=xunit1"
    )
    done.assert_outcomes(passed=3)
    told = json.loads((desk.path / "out.json").read_text())
    assert told["outcomes"] == {"passed": 2, "failed": 0, "skipped": 0}
    light, power = told["results"]
    assert (light["target"], light["simulated_s"], [v["id"] for v in light["verdicts"]]) == ("vm", 3.0, ["DESK-001"])
    assert [v["id"] for v in power["verdicts"]] == ["DESK-002", "DESK-003"]
    assert [row["id"] for row in told["matrix"]["rows"]] == ["DESK-001", "DESK-002", "DESK-003"]
    assert "DESK-003" in (desk.path / "out.html").read_text()
    cases = {case.get("name"): case for case in ET.parse(desk.path / "out.xml").getroot().iter("testcase")}
    found = [one.get("value") for one in cases["test_a_light_without_power_is_out[vm]"].iter("property")]
    assert found == ["DESK-002", "DESK-003"]


def test_a_failing_requirement_is_shown_with_its_evidence(desk: pytest.Pytester) -> None:
    (desk.path / "firmware" / "main.py").write_text(MAIN.replace("sleep_ms(20)", "sleep_ms(90)"))
    done = run(desk, "--lockstep-json", "out.json")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["*RequirementFailed: FAILED  DESK-001 the light follows the dark: * changes, at most * ms late*"])
    told = json.loads((desk.path / "out.json").read_text())
    (failed,) = [one for one in told["results"] if one["outcome"] == "failed"]
    assert failed["again"] == "pytest 'test_desk.py::test_the_light_follows_the_dark[vm]'"


def test_a_test_runs_on_each_target_an_absent_one_is_skipped_with_its_reason_and_several_processes_write_one_report(
    desk: pytest.Pytester,
) -> None:
    done = run(desk, "-n", "2", "--lockstep-target", "vm,model", "-rs", "--lockstep-json", "out.json")
    done.assert_outcomes(passed=3, skipped=2)
    done.stdout.fnmatch_lines(["SKIPPED*model is absent: *"])
    outcomes = {(one["target"], one["outcome"]) for one in json.loads((desk.path / "out.json").read_text())["results"]}
    assert outcomes == {("vm", "passed"), ("model", "skipped")}


@pytest.mark.parametrize(
    ("file", "before", "after", "complaint"),
    [
        ("factory.toml", 'firmware = "firmware"', 'firmware = "nowhere"', "nodes.n.firmware: must be a folder with a main.py*"),
        (
            "test_desk.py",
            "await stage.after(Ns(3 * S))",
            "await stage.until(('x', bool), Ns(S))",
            "waited 1 s from 0.000 s on*a value of x",
        ),
    ],
)
def test_what_is_wrong_is_told(desk: pytest.Pytester, file: str, before: str, after: str, complaint: str) -> None:
    path = desk.path / file
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    done = run(desk, "-k", "follows")
    assert done.ret == 1
    done.stdout.fnmatch_lines([f"*{complaint}"])


def test_an_unknown_target_is_told(desk: pytest.Pytester) -> None:
    done = run(desk, "--lockstep-target", "dream")
    done.stdout.fnmatch_lines(["*--lockstep-target dream: there are vm, *"])


def test_a_factory_may_be_named(desk: pytest.Pytester) -> None:
    other = desk.path / "elsewhere"
    other.mkdir()
    (desk.path / "factory.toml").rename(desk.path / "desk.toml")
    done = run(desk, "--lockstep-factory", "desk.toml", "-k", "power")
    done.assert_outcomes(passed=1, deselected=2)


def test_a_run_that_does_not_use_it_does_not_pay_for_it() -> None:
    code = "import sys, hil.plugin; print([name for name in ('numpy', 'numba', 'twin', 'hil.rig') if name in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_suite_s_own_argument_of_the_same_name_is_left_alone(desk: pytest.Pytester) -> None:
    desk.makepyfile(
        test_own="""
import pytest

@pytest.mark.parametrize("target", [1, 2])
def test_theirs(target):
    assert target in (1, 2)
"""
    )
    run(desk, "test_own.py", "--lockstep-target=vm,model").assert_outcomes(passed=2)
