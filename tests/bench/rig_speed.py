"""The rig's speed: simulated seconds per wall second, for one node, many, and a factory."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hil.driver import Driver
from hil.ports import free_port
from hil.recorder import Recorder
from hil.rig import Rig
from hil.targets.vm import BOARD
from tests.hil.jobs import CUBE, one_printer
from twin import motion
from twin.clock import Ns, S, seconds, wall_ns
from twin.factory import Factory, parse, read
from twin.machines.conveyor.spec import Command as Run
from twin.machines.printer.spec import Command as Print
from twin.node import JobState, Op

ROOT = Path(__file__).resolve().parents[2]
BELT = """
[nodes.belt-{number}]
uid = {number}
port = {port}
virtual = true
[machines.belt-{number}]
type = "conveyor"
cell = "hall"
node = "belt-{number}"
base = 256
pins = {{ at_entry = 34, at_exit = 35, tripped = 32, run = 16, speed = 17 }}
"""
ONCE_A_SECOND = """
import asyncio
from machine import Pin

async def main():
    button, lamp = Pin(34, Pin.IN), Pin(16, Pin.OUT)
    while True:
        lamp.value(1 - lamp.value() if button.value() else 0)
        await asyncio.sleep_ms(1000)

asyncio.run(main())
"""


@dataclass(frozen=True)
class Metric:
    """What is measured, and what it should come to."""

    name: str
    measure: Callable[[], float]
    least: float
    aim: float
    more_is_better: bool = True


def _belts(count: int) -> Factory:
    nodes = "".join(BELT.format(number=number, port=free_port()) for number in range(1, count + 1))
    return parse(f'[factory]\nname = "belts"\n[cells.hall]\n{nodes}', ROOT)


def _pace(rig: Rig, simulated: Ns, best_of: int = 3) -> float:
    """Simulated seconds per wall second: the best of some stretches, for other work on the machine only slows one down."""
    found = 0.0
    for _ in range(best_of):
        began = wall_ns()
        rig.run(Ns(rig.now + simulated))
        found = max(found, simulated / (wall_ns() - began))
    return found


def _run_belts(count: int, simulated: Ns, recorded: bool = False, best_of: int = 3) -> float:
    factory = _belts(count)
    with tempfile.TemporaryDirectory() as folder, Rig(factory, Path(folder), together=count == 1) as rig:
        drivers = [Driver.of(rig, node) for node in rig.nodes]
        for driver, machine in zip(drivers, factory.machines, strict=True):
            driver.until(lambda driver=driver: driver.status and driver.status.leased, Ns(2 * S))
            driver.commands[machine] = Run(run=True, speed=0.1)
        rig.world.recorder = Recorder() if recorded else None
        rig.run(Ns(rig.now + S))
        found = _pace(rig, simulated, best_of)
        assert all(driver.machine(machine).running for driver, machine in zip(drivers, factory.machines, strict=True))
        return found


def conveyor_node() -> float:
    """One node with its 10 ms tick, read and commanded ten times a second, its belt running."""
    return _run_belts(1, Ns(60 * S))


def sixteen_nodes() -> float:
    """Sixteen of these on all processors."""
    return _run_belts(16, Ns(10 * S))


def recording() -> float:
    """Share of the run time that recording takes: pairs of stretches with and without, the middle one."""
    shares = []
    for _ in range(5):
        plain, recorded = (_run_belts(1, Ns(40 * S), recorded, 2) for recorded in (False, True))
        shares.append(max(0.0, 1 - recorded / plain))
    return sorted(shares)[2]


@contextlib.contextmanager
def printer_at_work() -> Iterator[tuple[Rig, Driver]]:
    """One printer that has begun to print the demo's cube, with a board's costs, read and commanded ten times a second."""
    factory = one_printer()
    (machine,) = factory.machines.values()
    assert machine.type.limits is not None
    limits = machine.type.limits(machine.params)
    job = motion.encode(motion.plan(CUBE, limits), limits)
    with tempfile.TemporaryDirectory() as folder, Rig(factory, Path(folder), costs=BOARD, together=True) as rig:
        driver = Driver.of(rig, machine.node)
        driver.until(lambda: driver.status and driver.status.leased, Ns(5 * S))
        driver.load(1, job)
        driver.until(lambda: driver.stored, Ns(60 * S))
        driver.commands[machine.name] = Print(permit=True, run=True)
        driver.op(Op.START, 1)
        driver.until(lambda: driver.status.job_state is JobState.RUNNING, Ns(2 * S))
        driver.until(lambda: driver.machine(machine.name).e > 0.01, Ns(400 * S))
        yield rig, driver


def printing() -> float:
    """Factory time per wall time while it prints."""
    with printer_at_work() as (rig, driver):
        found = _pace(rig, Ns(60 * S))
        assert driver.status.job_state is JobState.RUNNING and driver.status.underruns == 0
        return found


def idle() -> float:
    """One node of somebody else's firmware that wakes once a second, reads an input and sets an output."""
    factory = _belts(1)
    with tempfile.TemporaryDirectory() as folder:
        firmware = Path(folder) / "firmware"
        firmware.mkdir()
        (firmware / "main.py").write_text(ONCE_A_SECOND, encoding="utf-8")
        with Rig(factory, Path(folder), together=True, firmware=firmware) as rig:
            rig.run(Ns(10 * S))
            return _pace(rig, Ns(20_000 * S))


def shift(simulated_s: float = 8 * 3600) -> float:
    """Wall seconds for eight hours of the demo factory, in its processes: an order is printed, carried and conveyed."""
    factory = ROOT / "controller" / "demo" / "factory.toml"
    recipe = next(iter(read(factory).recipes))
    python = [sys.executable, "-m"]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        (Path(folder) / "programs").mkdir(mode=0o700)
        (Path(folder) / "programs" / "cube.gcode").write_text(CUBE, encoding="utf-8")
        began = wall_ns()
        nodes = [*python, "hil", "nodes", str(factory), "--state", folder, "--speed", "0", "--costs", "board"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        rig = running.enter_context(subprocess.Popen(nodes, cwd=ROOT, text=True, **pipes))
        running.callback(rig.terminate)
        assert rig.stdout is not None and json.loads(rig.stdout.readline())["kind"] == "ready"
        core = [*python, "controller.core", str(factory), "--state", folder, "--clock", f"{folder}/clock.sock"]
        process = running.enter_context(subprocess.Popen([*core, "--order", recipe, "cube.gcode"], cwd=ROOT))
        running.callback(process.terminate)
        for line in rig.stdout:
            if json.loads(line).get("now_s", 0.0) >= simulated_s:
                return seconds(Ns(wall_ns() - began))
        raise RuntimeError("the rig has ended")


METRICS = (
    Metric("conveyor node: simulated s per wall s, 100 Hz control + 10 Hz Modbus + plant", conveyor_node, 600, 2500),
    Metric("printer node while printing, cost model on", printing, 60, 300),
    Metric("idle node: 1 Hz", idle, 20_000, 70_000),
    Metric("16 nodes: conveyor nodes at 100 Hz in lockstep, 2 cores", sixteen_nodes, 60, 300),
    Metric("shift: 8 h of the demo factory, wall s", shift, 600, 120, more_is_better=False),
    Metric("recording overhead: every Signal at 100 Hz, share of run time", recording, 0.15, 0.05, more_is_better=False),
)
