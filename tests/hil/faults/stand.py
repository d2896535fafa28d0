"""A small factory in which faults strike: a node's firmware, its machine's physics and the controller's scan, all of them real."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from controller.image import blank
from controller.nodes.grant import Grant
from controller.orders.turn import Fact, MakePlan, Planned, Request, Send, Sent, Work
from controller.scan import News, State, scan
from hil.driver import OWNER, PERIOD, Driver
from hil.faults import FaultFired, arm
from hil.judging.verdict import Requirement, Verdict, judge
from hil.ports import free_port
from hil.rig import NodeEnded, Rig
from tests.hil.jobs import PRINTER, ROOT
from tests.mutant import firmware_with, run_mutant
from twin.clock import Ns, ns
from twin.factory import Factory, parse
from twin.fault import Fault
from twin.machines.conveyor import plant as conveyor
from twin.making import Asked, making
from twin.plant import Part
from twin.trace import Event, Trace
from twin.wire import decode

SHOWN_OF_NODE = ("fault", "latched", "homed", "job_state")
BELT = """
[factory]
name = "one-belt"
[cells.shop]
[nodes.n]
uid = 1
port = {port}
virtual = true
[machines.belt]
type = "conveyor"
cell = "shop"
node = "n"
base = 256
pins = {{ at_entry = 34, at_exit = 35, tripped = 32, run = 16, speed = 17 }}
params = {{ length = 400.0, speed = 300.0, acceleration = 3.0 }}
[recipes.work]
operations = ["convey"]
"""
SMALL = "\n[machines.printer-1.params]\nsize = [60.0, 60.0, 60.0]\nmin_extrusion_temperature = 0.0\n"


def belt() -> Factory:
    """A belt of 0.4 m."""
    return parse(BELT.format(port=free_port()), ROOT)


def printer() -> Factory:
    """A printer with short ways, which extrudes cold filament."""
    text = PRINTER.format(port=free_port()).replace("[recipes.print]", SMALL + "\n[recipes.work]")
    return parse(text, ROOT)


@dataclass(frozen=True, slots=True)
class Mutant:
    """The defence, and our code without it.

    Attributes:
        file: below firmware/, as "node/heat.py", or a module of ours, as "controller.dispatch".
    """

    file: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a kind of fault is to come to.

    Attributes:
        program: what the printer is to print; for a belt, "convey", or "" for no order.
        runs: factory time [s]; at: the fault's onset [s].
    """

    kind: str
    target: str
    program: str
    at: float = 0.0
    lasts: float | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    runs: float
    requires: tuple[Requirement, ...]
    without: Mutant
    physics: Any = None

    @property
    def fault(self) -> Fault:
        lasts = None if self.lasts is None else ns(self.lasts)
        return Fault(at=ns(self.at), kind=self.kind, target=self.target, lasts=lasts, parameters=self.parameters)


class Mind:
    """The controller's scan, once a period on the rig's own thread; what it sees and decides goes into the rig's Trace.

    Signals: machine/field, node/node/field, machine/quality, "order".
    """

    def __init__(self, rig: Rig, node: str, program: str) -> None:
        self._rig, self._node, self._program = rig, node, program
        self._driver = Driver.of(rig, node)
        self._image, self._state = blank(rig.factory), State(OWNER)
        self._bursts = 0
        self._work: list[Work] = []
        self._requests = [Request(1, "place_order", {"recipe": "work", "program": "p.gcode"}, "tester")] if program else []
        rig.at(rig.now, self._look)

    def _look(self) -> None:
        now, driver = self._rig.now, self._driver
        if driver.bursts > self._bursts and (heard := driver.registers()) is not None:
            self._image = self._image.received(self._node, heard, now, 0)
        self._bursts = driver.bursts
        self._image = self._image.aged(now)
        grant = self._state.grants.get(self._node, Grant())
        if grant.epoch != driver._grant.epoch:
            taken = replace(grant, epoch=driver._grant.epoch, sequence=driver._grant.sequence)
            self._state = replace(self._state, grants={self._node: taken})
        settled = {order.id: order.revision for order in self._state.orders.open.values()}
        news = News(self._requests, self._facts(), {}, settled)
        self._state, outcome = scan(self._image, self._state, news, now)
        self._requests = []
        self._work += outcome.work
        if self._node in outcome.grants:
            driver._grant = outcome.grants[self._node]
        for machine in self._rig.factory.on(self._node):
            if machine.name in outcome.commands:
                driver.commands[machine.name] = decode(machine.type.command, outcome.commands[machine.name])
        self._tell(outcome.events)
        self._rig.at(Ns(now + PERIOD), self._look)

    def _facts(self) -> list[Fact]:
        """The planner and the carrier of Jobs, one work at a time."""
        if not self._work:
            return []
        work, driver = self._work[0], self._driver
        if isinstance(work, MakePlan):
            machine = self._rig.factory.machines[work.machine]
            asked = Asked(self._rig.factory, machine, work.capability, program=self._program)
            self._job = making(machine.type).make(asked)
            self._work.pop(0)
            return [Planned(work.job_id, self._job.chunks, self._job.duration, self._job.waiting)]
        if isinstance(work, Send):
            if driver._load is None and not driver.stored:
                driver.load(work.job_id, self._job.data)
            if not driver.stored:
                return []
            self._work.pop(0)
            return [Sent(work.job_id)]
        self._work.pop(0)
        return []

    def _tell(self, events: tuple[Event, ...]) -> None:
        now, trace = self._rig.now, self._rig.trace
        self._rig.world.advance(now)
        self._rig.world.show()
        for event in events:
            trace.event(now, event)
        for order in self._state.orders.open.values():
            trace.value(now, "order", order.state.value)
        status = self._image.node(self._node).status
        if status is None:
            return
        for name in SHOWN_OF_NODE:
            trace.value(now, f"{self._node}/node/{name}", getattr(status, name))
        for machine in self._rig.factory.on(self._node):
            sample = self._image.machine(machine.name)
            trace.value(now, f"{machine.name}/quality", sample.every.quality.value)
            for signal in machine.type.layouts[0].signals:
                trace.value(now, f"{machine.name}/{signal.name}", getattr(sample.status, signal.name))


def played(case: Case, folder: Path, firmware: Path | None = None) -> Trace:
    """The Trace of a case."""
    factory = belt() if case.target.startswith("belt") else printer()
    (machine,) = factory.machines.values()
    physics = {machine.name: case.physics} if case.physics is not None else None
    with Rig(factory, folder, physics=physics, firmware=firmware) as rig:
        if case.target.startswith("belt") and case.program:
            rig.world.touch("belt", lambda state, params: conveyor.put(state, params, Part(id="part-1")), rig.now)
        Mind(rig, machine.node, case.program)
        arm(rig, [case.fault], seed=1)
        rig.run(ns(case.runs))
        return rig.trace


def fired(case: Case, trace: Trace) -> bool:
    """Whether the fault really changed anything, and the node lived through it."""
    struck = any(entry.what == FaultFired(case.target, case.kind) for entry in trace.events)
    return struck and not any(trace.of(NodeEnded))


def verdicts(case: Case, trace: Trace) -> tuple[Verdict, ...]:
    """What the requirements say."""
    return judge(case.requires, trace)


def passes(case: Case, folder: Path) -> None:
    """The fault strikes, and what is expected is seen."""
    trace = played(case, folder)
    assert fired(case, trace), "the fault has changed nothing"
    found = verdicts(case, trace)
    assert all(verdict.passed for verdict in found), "\n".join(map(str, found))


def misses(case: Case, module: str, folder: Path) -> None:
    """Without its defence the fault strikes, too, and what is expected is not seen.

    Args:
        module: where CASES holds the case, for a Python of its own.
    """
    if "/" in case.without.file:
        firmware = firmware_with(folder, case.without.file, case.without.before, case.without.after)
        trace = played(case, folder / "rig", firmware)
        assert fired(case, trace), "without the defence the fault has changed nothing"
        found = verdicts(case, trace)
        assert not all(verdict.passed for verdict in found), "\n".join(map(str, found))
        return
    code = (
        f"from pathlib import Path\nfrom tests.hil.faults import stand, {module} as cases\n"
        f"case = cases.CASES[{case.kind!r}]\ntrace = stand.played(case, Path({str(folder)!r}))\n"
        "assert stand.fired(case, trace)\nprint(all(v.passed for v in stand.verdicts(case, trace)))\n"
    )
    done = run_mutant(case.without.file, case.without.before, case.without.after, code)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["False"]), done.stdout + done.stderr
