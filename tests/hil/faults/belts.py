"""A House with belts on which faults of links, nodes and the controller are tried, and the cases that they are tried with."""

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from hil.campaigns import tap
from hil.faults import FaultFired, FaultOff, FaultOn, arm
from hil.house import House
from hil.judging.verdict import Requirement, Verdict, judge
from hil.ports import free_port
from hil.targets.vm import FREE, Costs
from tests.mutant import firmware_with, run_mutant
from twin.clock import MS, Ns, ns, seconds
from twin.factory import Factory, parse
from twin.fault import Fault
from twin.machines.conveyor import plant
from twin.node import LEASE_MS, TICK_MS
from twin.plant import Part
from twin.trace import Event, Trace

ROOT = Path(__file__).resolve().parents[3]
LOOK = Ns(100 * MS)
LEASE_AND_TICK = Ns((LEASE_MS + TICK_MS) * MS)
HEAD = '[factory]\nname = "belts"\n[cells.hall]\n[recipes.convey]\noperations = ["convey"]\n'
BELT = """
[nodes.{name}]
uid = {uid}
port = {port}
virtual = true
[machines.{name}]
type = "conveyor"
cell = "hall"
node = "{name}"
base = 256
pins = {{ at_entry = 34, at_exit = 35, tripped = 32, run = 16, speed = 17 }}
[machines.{name}.params]
length = 3000
speed = 100
"""


def wired(*names: str) -> Factory:
    """The same with their nodes on one serial line, as units 1, 2 and so on; pin 4 makes a node drive it."""
    line = 'serial = "/dev/ttyUSB0"\nde = 4\nunit = '
    nodes = [BELT.format(name=n, uid=7 + k, port=0).replace("port = 0", f"{line}{k + 1}") for k, n in enumerate(names)]
    return parse(HEAD + "".join(nodes).replace("run = 16, speed = 17", "run = 18, speed = 19"), ROOT)


def belts(*names: str) -> Factory:
    """A factory of long, slow belts, each on a node of its own."""
    return parse(HEAD + "".join(BELT.format(name=n, uid=7 + k, port=free_port()) for k, n in enumerate(names)), ROOT)


@dataclass(frozen=True)
class Firmware:
    """A defence on the node: the edit that takes it away."""

    file: str
    before: str
    after: str


@dataclass(frozen=True)
class Controller:
    """A defence in the controller: the edit that takes it away."""

    module: str
    before: str
    after: str


@dataclass(frozen=True)
class Case:
    """A fault, the story in which it strikes, what must hold, and the defence without which it does not.

    Attributes:
        at, lasts: of the fault [s].
        story: what else happens, and when [s].
        until: when it ends [s].
        beside: faults that strike besides.
        order: an order is placed and its part lies on the first belt.
    """

    kind: str
    requirements: tuple[Requirement, ...]
    defence: Firmware | Controller
    at: float = 1.0
    lasts: float | None = None
    until: float = 4.0
    parameters: dict[str, float] = field(default_factory=dict)
    story: tuple[tuple[float, Callable[[House], None]], ...] = ()
    beside: tuple[Fault, ...] = ()
    target: str = "a"
    nodes: tuple[str, ...] = ("a",)
    order: bool = True
    costs: Costs = FREE
    factory: Callable[..., Factory] = belts
    programs: dict[str, str] = field(default_factory=dict)
    recipe: str = "convey"

    @property
    def fault(self) -> Fault:
        lasts = None if self.lasts is None else ns(self.lasts)
        return Fault(at=ns(self.at), kind=self.kind, target=self.target, lasts=lasts, parameters=self.parameters)


def strike(at: float, kind: str, lasts: float | None = None, target: str = "a", **parameters: float) -> Fault:
    """A fault that strikes besides."""
    return Fault(at=ns(at), kind=kind, target=target, lasts=None if lasts is None else ns(lasts), parameters=parameters)


def play(case: Case, folder: Path, firmware: Path | None = None) -> Trace:
    """The trace of a case."""
    recipe = case.recipe if case.order else ""
    program = next(iter(case.programs), "")
    factory = case.factory(*case.nodes)
    house = House(
        factory, folder, case.programs, recipe, program, costs=case.costs, links=True, look=LOOK, feed=True, firmware=firmware
    )
    with house:
        if case.order and recipe == "convey":
            put_part(house, case.nodes[0])
        tap.watch(house.rig)
        arm(house.rig, [case.fault, *case.beside], seed=1, house=house)
        for at, act in case.story:
            house.rig.at(ns(at), lambda act=act: act(house))  # type: ignore[misc]
        house.run(ns(case.until))
        return house.rig.trace


def put_part(house: House, belt: str) -> None:
    """Lay a part across a belt's entry barrier."""

    def put(state: Any, params: Any) -> Any:
        return plant.put(state, params, Part(id="part"))

    house.rig.world.touch(belt, put, house.rig.now)


def trip(belt: str = "a") -> Callable[[House], None]:
    """A belt's drive switches itself off."""
    return lambda house: house.rig.world.touch(belt, lambda s, _: dataclasses.replace(s, tripped=True), house.rig.now)


def untrip(belt: str = "a") -> Callable[[House], None]:
    """Somebody switches it on again."""
    return lambda house: house.rig.world.touch(belt, lambda s, _: plant.reset(s), house.rig.now)


def ask(kind: str, **args: Any) -> Callable[[House], None]:
    """An operator asks the core for something."""
    return lambda house: house.ask(kind, **args)


def verdicts(case: Case, trace: Trace) -> tuple[Verdict, ...]:
    """Whether the fault has fired, and the case's own requirements."""

    def fired(trace: Trace) -> tuple[bool, str]:
        found = [entry.time for entry in trace.of(FaultFired, case.target) if entry.what.kind == case.kind]
        return bool(found), f"{case.kind} fired at {seconds(found[0]):.3f} s" if found else f"{case.kind} has never fired"

    return judge((Requirement("the fault has fired", fired), *case.requirements), trace)


# ---- requirements


def on(kind: str, target: str = "a") -> Event:
    """The onset of a fault."""
    return FaultOn(target, kind)


def off(kind: str, target: str = "a") -> Event:
    """The end of a fault."""
    return FaultOff(target, kind)


def always(text: str, signal: str, holds: Callable[[Any], bool], after: Event, later: float = 0.0) -> Requirement:
    """From so many seconds after an event on a Signal meets a condition at any time; what it was before that counts too."""

    def found(trace: Trace) -> tuple[bool, str]:
        try:
            start = Ns(trace.after(after).start + ns(later))
        except LookupError as never:
            return False, str(never)
        seen = [(start, trace.at(signal, start))] + [(t, v) for t, v in trace.series.get(signal, ()) if t > start]
        bad = next(((t, v) for t, v in seen if v is None or not holds(v)), None)
        return bad is None, f"{signal} kept to it" if bad is None else f"{signal} was {bad[1]!r} at {seconds(bad[0]):.4f} s"

    return Requirement(text, found)


def reaches(text: str, signal: str, holds: Callable[[Any], bool], after: Event, within: float) -> Requirement:
    """So many seconds after an event at the latest a Signal meets a condition, though it need not stay so."""

    def found(trace: Trace) -> tuple[bool, str]:
        try:
            came = trace.after(after).until(signal, holds)
        except LookupError as never:
            return False, str(never)
        if came is None:
            return False, f"{signal} never came to it; it is {trace.last(signal)!r} at the end"
        return came <= ns(within), f"{signal} after {seconds(came):.3f} s, at most {within:g} s"

    return Requirement(text, found)


def most(text: str, signal: str, of: Callable[[Any], int], limit: int) -> Requirement:
    """A number that a Signal holds never becomes larger."""

    def found(trace: Trace) -> tuple[bool, str]:
        largest = max((of(value) for _, value in trace.series.get(signal, ())), default=limit + 1)
        return largest <= limit, f"{signal}: {largest}, at most {limit}"

    return Requirement(text, found)


def runs_on(after: Event, belt: str = "a") -> Requirement:
    """The belt is never stopped."""
    return always("the belt runs on", f"{belt}/pin/run", bool, after)


def stops(after: Event, within: float = seconds(LEASE_AND_TICK), belt: str = "a") -> Requirement:
    """The belt, which ran until then, is off in time, and stays so to the end."""
    off_for_good = always("", f"{belt}/pin/run", _low, after, within)

    def found(trace: Trace) -> tuple[bool, str]:
        held, evidence = off_for_good.judge(trace)
        if held and not trace.at(f"{belt}/pin/run", Ns(trace.after(after).start - 1)):
            return False, f"{belt} did not run before"
        return held, evidence

    return Requirement(f"the belt is off within {within * 1e3:.0f} ms, for good", found)


def _low(level: int) -> bool:
    return level == 0


def fed(belt: str = "a") -> Requirement:
    """Its output is on only while the last new heartbeat is no older than the lease and a tick."""

    def found(trace: Trace) -> tuple[bool, str]:
        beats = [time for time, _ in trace.series.get(f"{belt}/told/heartbeat", ())]
        level, since = 0, Ns(0)
        for time, value in (*trace.series.get(f"{belt}/pin/run", ()), (trace.events[-1].time, -1)):
            if level:
                edges = [beat for beat in beats if beat <= time] + [time]
                gap = max((b - a for a, b in pairwise(edges) if b > since), default=0)
                if gap > LEASE_AND_TICK:
                    return False, f"on at {seconds(time):.3f} s, {gap / MS:.0f} ms without a heartbeat"
            level, since = value, time
        return True, f"{len(beats)} heartbeats"

    return Requirement("the belt is on only as long as its lease is fed", found)


# ---- in a process of its own, with the controller edited


def replay(cases: Iterable[Case], kind: str) -> None:
    """Play a case and print its verdicts."""
    case = next(case for case in cases if case.kind == kind)
    with tempfile.TemporaryDirectory() as folder:
        for verdict in verdicts(case, play(case, Path(folder) / "state")):
            print(verdict)
    sys.stdout.flush()


# ---- the two tests of a case


def holds(case: Case, folder: Path, record_property: Callable[[str, object], None]) -> None:
    """The fault fires, and all requirements hold."""
    record_property("fault-kind", case.kind)
    found = verdicts(case, play(case, folder / "state"))
    assert all(verdict.passed for verdict in found), "\n".join(map(str, found))


def fails(case: Case, module: str, folder: Path) -> None:
    """Without the defence the fault fires too, and a requirement does not hold."""
    defence = case.defence
    if isinstance(defence, Firmware):
        firmware = firmware_with(folder, defence.file, defence.before, defence.after)
        told = [str(verdict) for verdict in verdicts(case, play(case, folder / "state", firmware))]
    else:
        code = f"from tests.hil.faults import belts, {module}; belts.replay({module}.CASES, {case.kind!r})"
        done = run_mutant(defence.module, defence.before, defence.after, code)
        assert done.returncode == 0, done.stderr
        told = done.stdout.splitlines()
    assert told[0].startswith("passed  the fault has fired"), told
    assert any(line.startswith("FAILED") for line in told), "\n".join(told)
