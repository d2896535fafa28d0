"""The shadow without I/O: what it makes of what the Feed tells, of machines that are as their twin is and of others."""

import dataclasses
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.feed import Row, feed_signals
from controller.jobs import show
from controller.orders.turn import MakePlan
from controller.shadow.beside import BACK, Shadow
from controller.shadow.calibrate import Wanted, calibrated
from controller.shadow.calibrations import Known, keep, kept, physics, place, subjects
from controller.shadow.plans import plan_of
from controller.shadow.ready import prepare
from tests.controller.factories import demo
from tests.twin.calibration import runs
from twin import followed, motion, reached
from twin.calibration import Calibration, CalibrationError, Run, Value
from twin.factory import Factory, parse
from twin.machine import load
from twin.machines.printer.spec import limits
from twin.motion.arm.line import rotations
from twin.node import JobState
from twin.residual import physics_of, with_values

FACTORY = demo()
SIGNALS = feed_signals(FACTORY)
AT = {signal.path: index for index, signal in enumerate(SIGNALS)}
QUARTER = math.pi / 2
DH = (
    (0.0, 0.1625, QUARTER), (-0.425, 0.0, 0.0), (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, QUARTER), (0.0, 0.0997, -QUARTER), (0.0, 0.0996, 0.0),
)  # fmt: skip
"""Length a [m], offset d [m], twist [rad] of the UR5e, as Universal Robots publishes them."""
BELT = """
[factory]
name = "f"
[cells.c]
[nodes.n]
uid = 1
virtual = true
[machines.belt-1]
type = "conveyor"
cell = "c"
node = "n"
base = 256
params = { length = 5000, speed = 400 }
pins = { at_entry = 34, at_exit = 35, tripped = 32, run = 16, speed = 17 }
"""


def shadow(factory: Factory = FACTORY, **physics: Any) -> Shadow:
    own = {name: subject.physics for name, subject in subjects(factory).items()}
    return Shadow(factory, feed_signals(factory), own | {name.replace("_", "-"): value for name, value in physics.items()})


def publications(run: Run, factory: Factory = FACTORY, boot: int = 1) -> Iterator[list[Row]]:
    """A run as the Feed tells it: rows of what has changed, and of the node's uptime."""
    at = {signal.path: index for index, signal in enumerate(feed_signals(factory))}
    machine = factory.machines[run.machine]
    types = {signal.name: signal.type for signal in machine.type.layouts[0].signals}
    before: dict[str, Any] = {}
    for k in range(len(run)):
        ms = 5000 + round(1000 * float(run.time[k]))
        rows = []
        for name, kind in types.items():
            value = kind(run[name][k])
            if before.get(name) != value or k == 0:
                before[name] = value
                rows.append(Row(at[f"{run.machine}/status/{name}"], value, 0, "", ms))
        rows.append(Row(at[f"node:{machine.node}/status/uptime"], ms, 0, "", ms, ms * 1_000_000, boot, ms))
        yield rows


def beside(made: Shadow, run: Run, factory: Factory = FACTORY) -> dict[str, list[float]]:
    """The residuals of a run by Signal; Events stay with the shadow."""
    for rows in publications(run, factory):
        made.take(rows)
    return {name: [row.value for row in made.rows if row.path == name and row.quality == 0 and row.value is not None]
            for name in {row.path for row in made.rows}}  # fmt: skip


def kinds(made: Shadow) -> list[tuple[str, str]]:
    return [(event.kind, event.fields["signal"]) for event in made.events]


def test_a_printer_that_is_as_its_twin_is_never_tells_anything() -> None:
    made = shadow()
    found = beside(made, runs.printer(physics_of("twin.machines.printer")))
    assert made.events == []
    assert max(map(abs, found["printer-1/residual/hotend_temperature"])) < 0.5
    assert max(map(abs, found["printer-1/residual/bed_temperature"])) < 0.5


def test_a_printer_30_percent_off_is_beyond_its_bound_until_it_is_calibrated(tmp_path: Path) -> None:
    true = with_values(physics_of("twin.machines.printer"), {"hotend.loss": 0.091, "hotend.capacity": 11.0, "bed.loss": 0.85})
    run = runs.printer(true)
    noise = shadow()
    beside(noise, run)
    assert kinds(noise)[0] == ("ResidualBeyond", "hotend_temperature")
    told = noise.events[0]
    assert told.subject == "printer-1" and told.fields["unit"] == "°C"
    assert abs(told.fields["residual"]) > told.fields["bound"] == 5.0
    subject = subjects(FACTORY)["printer-1"]
    _, calibration = calibrated(subject, run, Wanted(), "2026-11-22")
    path = keep(tmp_path, subject, calibration)
    assert path == place(tmp_path, "printer-1") and path.stat().st_mode & 0o777 == 0o600
    assert kept(tmp_path, subject) == calibration
    known, line = physics(tmp_path, subject)
    assert "calibrated 2026-11-22 from made by a test" in line
    after = shadow(printer_1=known)
    beside(after, run)
    assert after.events == []


def test_a_shadow_that_runs_takes_a_new_calibration_up_and_a_twin_that_has_none_goes_on(tmp_path: Path) -> None:
    known, made = Known(FACTORY, tmp_path), shadow()
    rows = list(publications(runs.printer(physics_of("twin.machines.printer"), minutes=0.5)))
    for one in rows[:100]:
        made.take(one)
    assert known.look() == ()
    subject = subjects(FACTORY)["printer-1"]
    values = {"hotend.loss": Value(0.09)}
    keep(tmp_path, subject, Calibration("printer-1", subject.type, "today", "a run", subject.digest, values, {}))
    assert known.look() == ("printer-1",) and known.look() == ()
    assert "printer-1: calibrated today from a run" in known.lines["printer-1"]
    made.know("printer-1", known.physics["printer-1"])
    made.take(rows[100])
    assert made._besides["printer-1"].state.physics.hotend.loss == 0.09
    place(tmp_path, "printer-1").unlink()
    assert known.look() == ("printer-1",) and known.physics["printer-1"] == subject.physics


def test_a_job_is_still_found_when_the_next_ones_are_planned(tmp_path: Path) -> None:
    for job in range(8, 14):
        show(tmp_path, MakePlan(job, "printer-1", "print", ""), str(job).encode())
        show(tmp_path, MakePlan(job, "printer-2", "print", ""), b"")
    there = sorted(path.name for path in tmp_path.glob("printer-1*"))
    assert there == [f"printer-1.{job}.job" for job in (10, 11, 12, 13)]
    assert (tmp_path / "printer-1.12.job").read_bytes() == b"12"


def test_a_slow_belt_is_told_as_a_part_that_is_overdue_and_a_calibrated_one_is_not() -> None:
    factory = parse(BELT, Path())
    true = with_values(physics_of("twin.machines.conveyor"), {"pull": 0.75, "friction": 0.4})
    run = runs.belt(true, parts=3, stops=2, length=5000.0, speed=400.0)
    noise, known = shadow(factory), shadow(factory, belt_1=true)
    found = beside(noise, run, factory)
    assert kinds(noise)[0] == ("ResidualBeyond", "way") and min(found["belt-1/residual/way"]) < -0.5
    ways = beside(known, run, factory)["belt-1/residual/way"]
    assert known.events == [] and max(map(abs, ways)) < 0.06, "whatever the parts' lengths"


def test_a_twin_that_begins_while_it_is_heated_waits_until_its_start_is_forgotten() -> None:
    made = shadow()
    rows = list(publications(runs.printer(physics_of("twin.machines.printer"), minutes=3.0)))
    whole: dict[int, Row] = {}
    for one in rows[:300]:
        whole.update((row.index, row) for row in one)
    for one in [list(whole.values()), *rows[300:]]:
        made.take(one)
    first = next(row for row in made.rows if row.path == "printer-1/residual/hotend_temperature")
    assert (first.quality, first.cause) == (1, "nothing to compare now")
    assert made.events == []


def test_an_event_waits_for_its_time_and_comes_back_below_the_bound_only() -> None:
    made, bound = shadow(), 0.15
    run = runs.extractor(physics_of("twin.machines.extractor"), minutes=3.0, speeds=1)
    current, time = run["current"].copy(), run.time
    current[(time > 60) & (time <= 66)] += 0.5  # shorter than its time
    current[(time > 90) & (time <= 120)] += 0.5
    current[(time > 120) & (time <= 140)] += bound * (1 + BACK) / 2  # neither beyond nor well within
    beside(made, dataclasses.replace(run, columns={**run.columns, "current": current}))
    told = [(event.kind, event.at_ns // 1_000_000_000 - 5) for event in made.events if event.fields["signal"] == "current"]
    assert [kind for kind, _ in told] == ["ResidualBeyond", "ResidualWithin"]
    assert told[0][1] in range(100, 103) and told[1][1] in range(140, 143)


def test_a_node_that_is_not_heard_leaves_stale_residuals_and_a_new_start_begins_anew() -> None:
    made = shadow()
    whole = runs.printer(physics_of("twin.machines.printer"), minutes=1.5)
    rows = list(publications(whole))
    for one in rows[:500]:
        made.take(one)
    made.rows.clear()
    lost = Row(AT["node:printer-1/status/uptime"], 5000 + 50_000, 1, "no reply for 250 ms", 9)
    made.take([lost])
    assert {(row.path.rpartition("/")[2], row.quality, row.cause) for row in made.rows if "hotend" in row.path} == {
        ("hotend_temperature", 1, "no reply for 250 ms")
    }
    made.rows.clear()
    made.take([lost])
    assert made.rows == [], "nothing is told twice"
    for one in [[dataclasses_replace(row, boot=2) for row in rows[500]], *list(publications(whole, boot=2))[501:520]]:
        made.take(one)
    assert not any(not math.isfinite(row.value) for row in made.rows if row.value is not None)
    assert made.events == []


def dataclasses_replace(row: Row, **changes: Any) -> Row:
    return Row(row.index, row.value, row.quality, row.cause, row.utc_ns, row.at_ns, changes["boot"], row.node_ms)


def test_a_twin_that_has_lost_its_way_tells_no_number_and_begins_anew() -> None:
    run = runs.printer(physics_of("twin.machines.printer"), minutes=0.5)
    made = shadow()
    rows = list(publications(run))
    for one in rows[:100]:
        made.take(one)
    twin = made._besides["printer-1"]
    twin.state.heat[:] = math.nan  # whatever did it
    made.rows.clear()
    made.take(rows[100])
    of_hotend = [row for row in made.rows if row.path.endswith("hotend_temperature")]
    assert [(row.quality, row.cause) for row in of_hotend] == [(2, "the twin has lost its way and begins anew")]
    for one in rows[101:150]:
        made.take(one)
    assert made.rows[-1].quality == 0 and all(row.value is None or math.isfinite(row.value) for row in made.rows)
    endless = shadow(printer_1=with_values(physics_of("twin.machines.printer"), {"hotend.power": math.inf, "bed.loss": 0.0}))
    beside(endless, run)
    assert all(row.value is None or math.isfinite(row.value) for row in endless.rows) and endless.events == []


def test_a_status_that_is_not_whole_or_not_good_steps_nothing() -> None:
    made = shadow()
    made.take([Row(AT["node:belt-1/status/uptime"], 5000, 0, "", 1, 1, 1, 5000)])
    assert {row.cause for row in made.rows} == {"belt-1: not reported yet"}


# ---- Jobs


def test_an_axis_that_is_not_where_its_job_has_it_is_told() -> None:
    machine = FACTORY.machines["printer-1"]
    params = machine.params
    text = "G28\nG1 X50 Y40 Z5 F6000\nG1 X80 Y20\n"
    job = motion.encode(motion.plan(text, limits(params)), limits(params))
    plan = plan_of(machine, job)
    assert plan is not None
    end = int(plan.end[-1])
    assert plan.expected(end, (0.08, 0.02, 0.005)) == pytest.approx((0.08, 0.02, 0.005), abs=1e-4)
    assert plan.expected(end, (0.09, 0.02, 0.005)) == pytest.approx((0.08, 0.02, 0.005), abs=1e-4)
    assert plan.at(0) is None, "before homing nobody knows"
    made = Shadow(FACTORY, SIGNALS, {n: s.physics for n, s in subjects(FACTORY).items()}, lambda machine, job: plan)
    node = {"homed": True, "homing": False, "job_state": int(JobState.DONE), "job_id": 7, "job_chunks": end}
    made.take([Row(AT[f"node:printer-1/status/{name}"], value, 0, "", 1) for name, value in node.items()])
    run = runs.printer(physics_of("twin.machines.printer"), minutes=0.2)
    there = {"x": 0.08, "y": 0.02, "z": 0.00525}  # z a tenth of a turn too high
    run = dataclasses.replace(run, columns={**run.columns, **{name: np.full(len(run), at) for name, at in there.items()}})
    beside(made, run)
    assert kinds(made) == [("ResidualBeyond", "z")]


# ---- an arm that is not ours


def by_hand(angles: np.ndarray, offset: tuple[float, ...]) -> np.ndarray:
    """A tool's pose (4, 4) from the maker's Denavit-Hartenberg table, one matrix after the other."""
    pose = np.eye(4)
    for (length, d, twist), angle in zip(DH, angles, strict=True):
        c, s, ct, st = math.cos(angle), math.sin(angle), math.cos(twist), math.sin(twist)
        pose = pose @ np.array([[c, -s * ct, s * st, length * c], [s, c * ct, -c * st, length * s], [0, st, ct, d], [0, 0, 0, 1]])
    end = np.eye(4)
    end[:3, 3], end[:3, :3] = offset[:3], rotations(np.array([offset[3:]]))[0]
    return pose @ end


@pytest.mark.parametrize("offset", [(0.0,) * 6, (0.01, -0.02, 0.12, 0.3, -0.2, 0.5)])
def test_the_tool_of_an_arm_is_where_its_maker_s_table_has_it(offset: tuple[float, ...]) -> None:
    for seed in range(10):
        angles = np.random.default_rng(seed).uniform(-3, 3, 6)
        found, true = reached.tool("ur5e", angles, offset), by_hand(angles, offset)
        assert found[:3] == pytest.approx(true[:3, 3], abs=1e-12)
        assert rotations(found[None, 3:])[0] == pytest.approx(true[:3, :3], abs=1e-9)


def test_the_names_of_robots_and_joints_are_those_that_have_kinematics() -> None:
    assert {name: reached.kernels_of(name).axes for name in followed.AXES} == followed.AXES


def arm_rows(angles: np.ndarray, said: tuple[float, ...], offset: tuple[float, ...] = (0.0,) * 6) -> list[Row]:
    arm = FACTORY.mirrored["ur-1"]
    told = {**dict(zip(arm.joints, angles.tolist(), strict=True)), **dict(zip(followed.TCP, said, strict=True))}
    told |= dict(zip(followed.OFFSET, offset, strict=True))
    return [Row(AT[f"ur-1/status/{name}"], value, 0, "", 1, 1_000_000_000) for name, value in told.items()]


def test_the_joints_of_an_arm_that_is_not_ours_move_its_twin_and_a_wrong_zero_point_is_told() -> None:
    made, angles, offset = shadow(), np.array([0.3, -1.2, 1.4, -1.7, -1.5, 0.2]), (0.0, 0.0, 0.12, 0.0, 0.0, 0.5)
    said = reached.tool("ur5e", angles, offset)
    made.take(arm_rows(angles, said, offset))
    shown = {row.path: row.value for row in made.rows}
    assert [shown[f"ur-1/twin/{name}"] for name, _, _ in followed.POSE] == pytest.approx(said)
    assert shown["ur-1/residual/tcp"] == pytest.approx(0.0, abs=1e-12)
    for second in range(3):
        rows = arm_rows(angles + np.array([0.0, math.radians(0.3), 0, 0, 0, 0]), said, offset)
        made.take([Row(row.index, row.value, 0, "", 1, (2 + second) * 1_000_000_000) for row in rows])
    assert kinds(made) == [("ResidualBeyond", "tcp")] and made.events[0].fields["residual"] > 2.0
    made.rows.clear()
    made.take([Row(AT[f"ur-1/status/{FACTORY.mirrored['ur-1'].joints[2]}"], None, 1, "silent", 2)])
    assert {(row.path, row.quality) for row in made.rows} == {
        *((f"ur-1/twin/{name}", 1) for name, _, _ in followed.POSE), ("ur-1/residual/tcp", 1),
    }  # fmt: skip


def test_the_zero_points_of_an_arm_that_is_not_ours_are_identified_from_where_it_says_its_tool_is() -> None:
    arm, subject = FACTORY.mirrored["ur-1"], subjects(FACTORY)["ur-1"]
    dice = np.random.default_rng(4)
    true = reached.Zero(tuple(np.radians(dice.uniform(-2, 2, 6)).tolist()), (0.004, -0.003, 0.01))
    columns: dict[str, list[float]] = {name: [] for name in (*arm.joints, *followed.TCP, *followed.OFFSET)}
    for _ in range(150):
        angles = dice.uniform(-2.5, 2.5, 6)
        said = reached.tool("ur5e", angles + np.array(true.joint), (0.004, -0.003, 0.13, 0.0, 0.0, 0.0))
        told = [*np.round(angles, 3), *np.round(said[:3], 4), *np.round(said[3:], 3), 0.0, 0.0, 0.12, 0.0, 0.0, 0.0]
        for name, value in zip(columns, told, strict=True):
            columns[name].append(float(value))
    run = Run("ur-1", np.arange(150.0), {name: np.array(values) for name, values in columns.items()}, "a test")
    found, _ = calibrated(subject, run, Wanted(), "today")
    assert found.physics.joint == pytest.approx(true.joint, abs=math.radians(0.03))
    assert found.physics.tool == pytest.approx(true.tool, abs=0.3e-3)
    assert found.rms["tcp"][0] > 0.01 and found.rms["tcp"][1] < 0.6e-3
    still = dataclasses.replace(run, columns={name: np.full(150, values[0]) for name, values in run.columns.items()})
    with pytest.raises(CalibrationError, match=r"cannot tell .*joint"):
        calibrated(subject, still, Wanted(), "today")


def test_each_twin_has_made_a_step_before_a_shadow_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    robots: list[str] = []
    monkeypatch.setattr(reached, "prepare", lambda robot, say: robots.append(robot))
    stepped = {name: subject.face for name, subject in subjects(FACTORY).items() if hasattr(subject.face, "step")}
    names = []
    for name, face in stepped.items():
        step = face.step
        monkeypatch.setattr(face, "step", lambda *given, step=step, name=name: (names.append(name), step(*given))[1])
    prepare(FACTORY, print)
    assert robots == ["ur5e"] and len(names) >= len({id(face) for face in stepped.values()}) > 2


def test_neither_the_core_nor_the_command_line_has_a_plant_in_it() -> None:
    code = "import sys, controller.core, controller.__main__; print([m for m in sys.modules if m.endswith(('.plant', '.beside'))])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(eval(said)) <= {"controller.shadow.beside"}, said


def test_every_block_that_the_shadow_brings_is_declared_and_only_those() -> None:
    blocks = {f"{signal.owner}/{signal.group}" for signal in SIGNALS if signal.group in ("residual", "twin")}
    assert set(shadow().blocks) == blocks
    assert all(signal.range is not None and signal.range.high > 0.0 for signal in SIGNALS if signal.group == "residual")
    assert load("printer").residuals is not None
