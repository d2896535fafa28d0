"""What an operator sees in the terminal, and is told at the end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from controller import live, run
from controller.__main__ import DEMO
from controller.feed import feed_signals
from tests.controller.factories import demo
from twin.clock import LoopClock

FACTORY = demo()
CUBE = DEMO / "calibration_cube.gcode"
STEPS = {"node:printer-1/status/peak_rate": 12_000, "node:arm-1/status/peak_rate": 9000}
DRY = {"node:printer-1/status/underruns": 0, "node:arm-1/status/underruns": 1}
PASSED = {"requirement": "the part arrives", "passed": True, "evidence": "in 5 s"}
FAILED = {"requirement": "nothing is lost", "passed": False, "evidence": "dropped at 7 s"}


def drawn(thing: Any) -> str:
    console = Console(width=150, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(thing)
    return console.export_text()


def shown(**values: Any) -> live.Shown:
    found = live.Shown()
    for signal in feed_signals(FACTORY):
        found.values[signal.path] = signal.type(0) if signal.type in (bool, int, float, str) else 0
        found.qualities[signal.path] = 0
    found.values.update(values)
    return found


def test_the_view_shows_the_arm_s_joints_its_jaws_and_its_tool_point_in_declared_units() -> None:
    arm = {"arm-1/status/base": 0.5, "arm-1/status/holding": True, "arm-1/tool/x": -0.25, "arm-1/tool/yaw": 1.0}
    text = drawn(live.draw(FACTORY, shown(**arm)))
    for told in ("base   28.65 °", "holding", "jaws_open", "tool  x -250.00 mm", "yaw   57.30 °"):
        assert told in text, told
    assert "base_cam" not in text


def test_the_view_shows_the_extractor_s_health_and_no_target_where_there_is_none() -> None:
    fan = {"status/bearing_temperature": 31.5, "status/vibration_rms": 0.456, "status/running_time": 12, "status/worn": True}
    text = drawn(live.draw(FACTORY, shown(**{f"extractor-1/{name}": value for name, value in fan.items()})))
    for told in ("bearing  31.5 °C", "vibration  rms    0.46 m/s²", "running_time 12 s", "worn", "hotend   0.0 / 0 °C"):
        assert told in text, told


def test_the_view_says_what_an_order_waits_for() -> None:
    order = {"id": "4", "state": "RUNNING", "operation": "pick", "reason": "printer-1: its bed is at 55.0 °C"}
    text = drawn(live.draw(FACTORY, shown(**{f"factory/order/{name}": value for name, value in order.items()})))
    assert "order 4  RUNNING  pick" in text and "printer-1: its bed is at 55.0 °C" in text


@pytest.fixture
def what(tmp_path: Path) -> run.Run:
    return run.Run(tmp_path / "f.toml", FACTORY, tmp_path, 0.0, CUBE, "print-and-convey", True)


def test_the_summary_tells_of_every_step_stream_and_every_verdict_on_the_part(what: run.Run) -> None:
    rig = {"now_s": 61.0, "digest": "abc", "verdicts": [PASSED, FAILED], "followed": {}}
    held = {"factory/order/state": "HELD", "factory/order/reason": "arm-1 is lost"}
    told = run.facts(what, shown(**held, **STEPS, **DRY), rig)
    assert told["order"] == "HELD: arm-1 is lost"
    assert told["arm-1: steps"] == "at most 9000 a second, 1 underruns" and "12000" in told["printer-1: steps"]
    assert told["the part arrives"] == "passed: in 5 s" and told["nothing is lost"] == "FAILED: dropped at 7 s"
    assert told["planned"] == "1146.8 s of motion" and told["factory time"] == "0:01:01"
    assert "FAILED: dropped at 7 s" in drawn(live.summary(told))


@pytest.mark.parametrize(("state", "told"), [("RUNNING", "interrupted"), ("", "interrupted"), ("DONE", "DONE")])
def test_a_run_that_was_broken_off_is_not_said_to_have_failed(what: run.Run, state: str, told: str) -> None:
    loop = asyncio.new_event_loop()
    house = run._House(what, LoopClock(loop))
    loop.close()
    house.shown = shown(**{"factory/order/state": state, "factory/order/reason": ""})
    house.interrupt()
    rig = {"now_s": 61.0, "digest": "", "verdicts": [FAILED], "followed": {}}
    found = run.facts(what, house.shown, rig, house.interrupted)
    assert house.done.is_set() and found["order"] == told
    assert ("nothing is lost" in found) == (state == "DONE")


def test_the_rig_follows_the_printer_s_steps_alone_and_judges_the_demo(what: run.Run) -> None:
    loop = asyncio.new_event_loop()
    rig = run._House(what, LoopClock(loop)).start()[0]
    loop.close()
    assert rig.arguments.count("--follow") == 1 and f"printer-1={CUBE}" in rig.arguments and "--judge" in rig.arguments


def test_the_view_shows_what_a_strange_robot_says_its_joints_first_and_why_another_machine_is_not_reached() -> None:
    said = {
        "node:ur-1/link": "up",
        "ur-1/status/base_angle": 0.5,
        "ur-1/status/power_on": True,
        "node:meter-1/link": "no connection to 127.0.0.1:15031: [refused]",
    }
    text = drawn(live.draw(FACTORY, shown(**said)))
    for told in ("base_angle 28.65 ° · shoulder_angle 0.00 °", "power_on", "no connection to 127.0.0.1:15031: [refused]"):
        assert told in text, told
    assert "serial_number" not in text, "what is read once is of no interest here"


def test_the_summary_tells_of_machines_that_are_none_of_ours(what: run.Run) -> None:
    told = run.facts(what, shown(**{"ur-1/status/base_angle": 0.5}), None)
    assert "131 of 131 Signals known: base_angle 28.65 °" in told["ur-1"]
    nothing = live.Shown(values=dict.fromkeys(shown().values))
    assert run.facts(what, nothing, None)["meter-1"] == "never heard of"
