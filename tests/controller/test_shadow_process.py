"""The shadow beside a real core, real firmware and a world whose physics change; and the command that calibrates."""

import asyncio
import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.__main__ import main
from controller.children import Child, Children
from controller.shadow.__main__ import run as run_shadow
from controller.shadow.calibrations import keep, place, subjects
from hil.house import CoreTold, House, Tenant
from hil.ports import free_port
from tests.twin.calibration import runs
from twin.calibration import Calibration, Run, Value
from twin.clock import LoopClock, Ns, S
from twin.factory import parse
from twin.machines.extractor import plant
from twin.residual import physics_of, with_values

SHOP = """
[factory]
name = "shop"
[cells.hall]
[nodes.air]
uid = 7
port = {port}
virtual = true
[machines.fan]
type = "extractor"
cell = "hall"
node = "air"
base = 256
pins = {{ tripped = 27, run = 16, speed = 17, current = 32, bearing_temperature = 33, filter_pressure = 34, \
vibration_sda = 21, vibration_scl = 22 }}
"""


def told(house: House, kind: str) -> list[tuple[int, str]]:
    return [(at.time // S, at.what.subject) for at in house.rig.trace.of(CoreTold) if at.what.kind == kind]


def test_a_changed_fan_is_told_within_its_time_and_without_the_shadow_the_core_goes_on(tmp_path: Path) -> None:
    with House(parse(SHOP.format(port=free_port()), Path()), tmp_path, {}, "", "", feed=True) as house:
        shadow = Tenant(house.rig, "shadow", lambda clock: run_shadow(house._factory, tmp_path, clock))
        house._beside.append(shadow)
        trace = house.rig.trace
        house.run(Ns(40 * S))
        assert told(house, "ResidualBeyond") == []
        assert abs(trace.last("core/fan/residual/current")) < 0.05

        def rubs(state: plant.State, params: Any) -> plant.State:
            return plant.under(state, params, dataclasses.replace(state.physics, load=1.9))

        house.rig.world.touch("fan", rubs, house.rig.now)
        house.run(Ns(60 * S))
        assert [(subject, 50 <= at <= 53) for at, subject in told(house, "ResidualBeyond")] == [("fan", True)]
        known = Calibration("fan", "extractor", "today", "a run", subjects(house._factory)["fan"].digest, {"load": Value(1.9)}, {})
        keep(tmp_path, subjects(house._factory)["fan"], known)
        house.run(Ns(80 * S))
        assert told(house, "ResidualWithin") != [], "it takes up what is kept while it runs"
        assert abs(trace.last("core/fan/residual/current")) < 0.05
        house.dismiss(shadow)
        house.run(Ns(95 * S))
        assert trace.last("core/fan/quality") == "good" and trace.last("core/fan/status/running") is True
        assert trace.last("core/node:air/link") == "ours"


def test_a_process_that_nobody_needs_may_end_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.children.PAUSE", Ns(0))
    given_up = asyncio.Event()
    lines: list[str] = []

    def heard(name: str, line: str) -> None:
        lines.append(line)
        if "has ended 5 times within a minute" in line:
            given_up.set()

    async def body() -> None:
        children = Children(LoopClock(asyncio.get_running_loop()), heard)
        keeping = asyncio.create_task(children.keep(Child("shadow", "no.such.module", [], restart=True, vital=False)))
        async with asyncio.timeout(60):
            await given_up.wait()
        assert not keeping.done(), "the factory goes on"
        keeping.cancel()

    asyncio.run(body())
    assert sum("started again" in line for line in lines) == 4


def test_told_to_end_it_ends(tmp_path: Path) -> None:
    (tmp_path / "factory.toml").write_text(SHOP.format(port=1502))

    async def body() -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller.shadow", str(tmp_path / "factory.toml"), "--state", str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert b"fan: not calibrated" in await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        return await process.wait()

    assert asyncio.run(body()) in (0, -signal.SIGTERM)


# ---- lockstep calibrate


def trace_of(run: Run, path: Path) -> Path:
    """A run as a Trace's CSV: only what has changed."""
    lines, before = ["time_ns,what,name,type,value"], {}
    for k in range(len(run)):
        for name, column in run.columns.items():
            value = float(column[k])
            if before.get(name) != value:
                before[name] = value
                lines.append(f"{round(run.time[k] * 1e9)},value,core/fan/status/{name},float,{json.dumps(value)}")
    lines.append(f"{round(run.time[-1] * 1e9)},event,x,y,{{}}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_calibrate_shows_before_and_after_and_keeps_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "factory.toml").write_text(SHOP.format(port=1502))
    true = with_values(physics_of("twin.machines.extractor"), {"load": 1.75, "pressure": 190.0})
    trace = trace_of(runs.extractor(true, minutes=40.0, speeds=80), tmp_path / "run.csv")
    words = ["calibrate", "fan", "--factory", str(tmp_path / "factory.toml"), "--state", str(tmp_path), "--trace", str(trace)]
    only = ["--only", "load", "--only", "pressure"]
    assert main([*words, *only, "--dry-run"]) == 0
    assert "nothing is kept" in capsys.readouterr().out and not place(tmp_path, "fan").exists()
    assert main([*words, *only, "--set", "ambient=22"]) == 0
    said = capsys.readouterr().out
    kept = place(tmp_path, "fan").read_text()
    line = next(line for line in said.splitlines() if line.startswith("load"))
    assert float(line.split()[1]) == 1.4 and float(line.split()[2]) == pytest.approx(1.75, rel=0.02)
    assert 'source = "run.csv"' in kept and '"ambient" = 22.0' in kept and '"current" = ' in kept


def test_what_leaves_a_residual_beyond_its_bound_is_kept_only_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "factory.toml").write_text(SHOP.format(port=1502))
    run = runs.extractor(physics_of("twin.machines.extractor"), minutes=40.0, speeds=80)
    door = run["filter_pressure"].copy()
    door[np.arange(len(run)) % 600 >= 580] += 45.0  # somebody opens a door: no parameter explains it
    run = dataclasses.replace(run, columns={**run.columns, "filter_pressure": door})
    trace = trace_of(run, tmp_path / "run.csv")
    where = ["--factory", str(tmp_path / "factory.toml"), "--state", str(tmp_path)]
    words = ["calibrate", "fan", *where, "--trace", str(trace), "--only", "load", "--only", "pressure"]
    assert main(words) == 1
    refused = capsys.readouterr().err
    assert "nothing is kept: more than one in a hundred residuals stay beyond their bound (filter_pressure: " in refused
    assert main(["calibrate", "--list", *where]) == 0 and capsys.readouterr().out.startswith("fan: not calibrated")
    assert main([*words, "--keep-anyway"]) == 0
    capsys.readouterr()
    assert main(["calibrate", "--list", *where]) == 0 and capsys.readouterr().out.startswith("fan: calibrated 20")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--to", "5"], "the run "),
        (["--only", "grip"], "'grip' is no parameter of this machine type; there are idle, load"),
        (["--set", "load=heavy"], "--set load=heavy: 'heavy' is no number in A"),
        (["--set", "grip=1"], "'grip' is no parameter"),
        (["--from", "noon"], "are seconds of its own time"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], complaint: str
) -> None:
    (tmp_path / "factory.toml").write_text(SHOP.format(port=1502))
    trace = trace_of(runs.extractor(physics_of("twin.machines.extractor"), minutes=1.0, speeds=2), tmp_path / "run.csv")
    words = ["calibrate", "fan", "--factory", str(tmp_path / "factory.toml"), "--state", str(tmp_path), "--trace", str(trace)]
    assert main([*words, *more]) == 1
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1


def test_a_machine_that_there_is_not_or_a_history_that_there_is_not_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "factory.toml").write_text(SHOP.format(port=1502))
    words = ["--factory", str(tmp_path / "factory.toml"), "--state", str(tmp_path)]
    assert main(["calibrate", "press", *words]) == 1
    assert "'press' cannot be calibrated; shop has fan" in capsys.readouterr().err
    assert main(["calibrate", "fan", *words]) == 1
    assert "there is no History" in capsys.readouterr().err
    assert main(["calibrate", "fan", "--from", "noon", *words]) == 1
    assert "'noon' is no time" in capsys.readouterr().err
