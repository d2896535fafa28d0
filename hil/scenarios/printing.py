"""Two things a printer must do: carry a print out as planned, and be safe when its link is cut."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hil.follow import Followed, Follower
from hil.house import House, Look
from hil.judging.verdict import Requirement, Verdict, judge, responds
from hil.rig import LinkCut
from hil.scenario import Stage, play, scenario
from hil.scenarios.programs import first_layer
from twin import motion
from twin.clock import MS, Ns, S, ns, seconds
from twin.factory import Factory, Machine
from twin.motion import Plan
from twin.node import LEASE_MS, TICK_MS, Fault, JobState
from twin.plant import PartMade
from twin.trace import Trace

TOLERANCE_C = 3.0
SETTLING = Ns(60 * S)
LEASE_AND_TICK = Ns((LEASE_MS + TICK_MS) * MS)
PROGRAM = "program.gcode"
COOL = Ns(2 * S)


@dataclass(frozen=True)
class Printed:
    """What came of a print.

    Attributes:
        simulated_s: factory time that passed.
        looks: what the printer's node said, once a second.
    """

    verdicts: tuple[Verdict, ...]
    followed: Followed
    digest: str
    simulated_s: float
    looks: tuple[Look, ...] = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether every requirement held."""
        return all(verdict.passed for verdict in self.verdicts)


def printer_of(factory: Factory) -> Machine:
    """The machine that prints; it must be the only one."""
    (machine,) = factory.capable("print")
    return machine


def plan_of(machine: Machine, program: str) -> Plan:
    """The program's plan under a machine's limits."""
    assert machine.type.limits is not None
    return motion.plan(program, machine.type.limits(machine.params))


# ---- a print is carried out as planned


def print_as_planned(factory: Factory, folder: Path, program: str, *, physics: Any = None, recipe: str = "") -> Printed:
    """Order a print, let the factory make it, and judge the steps, the filament and the temperatures by the plan."""
    machine = printer_of(factory)
    known = {machine.name: physics} if physics is not None else {}
    recipe = recipe or next(iter(factory.recipes))
    with House(factory, folder, {PROGRAM: program}, recipe, PROGRAM, physics=known) as house:
        stage = Stage(house.rig, house)
        verdicts = judge(play(stage, _as_planned(stage, program)), stage.trace)
        followed = house.rig.world.followers[machine.name].result
        return Printed(verdicts, followed, stage.trace.digest, seconds(stage.now), tuple(house.looks[machine.node]))


def first_layer_program() -> str:
    """The demo's really sliced cube, as far as its first layer goes in 20 s; heated less, so that the wait is short."""
    return first_layer(20.0)


@scenario("print-as-planned", factory="printer.toml", recipe="print", program=first_layer_program, links=False)
async def as_planned(stage: Stage) -> tuple[Requirement, ...]:
    """A short Job is printed: steps, filament and temperatures are as planned."""
    return await _as_planned(stage, first_layer_program())


async def _as_planned(stage: Stage, program: str) -> tuple[Requirement, ...]:
    assert stage.house is not None
    machine = printer_of(stage.rig.factory)
    plan = plan_of(machine, program)
    follower = Follower(plan.vertices(), machine.type.limits(machine.params).steps_per_mm)  # type: ignore[misc]
    stage.rig.world.followers[machine.name] = follower
    await stage.until(lambda: any(stage.trace.of(PartMade)), within=Ns(ns(plan.duration_s) + 900 * S))
    await stage.after(COOL)
    return planned(machine, plan, follower.result, stage.house.looks[machine.node])


def planned(machine: Machine, plan: Plan, followed: Followed, looks: Iterable[Look]) -> tuple[Requirement, ...]:
    """What must hold over the trace of a print."""
    wanted = plan.filament_mm
    looks = tuple(looks)

    def steps(trace: Trace) -> tuple[bool, str]:
        microstep = float(np.linalg.norm([1 / per for per in machine.type.limits(machine.params).steps_per_mm[:3]]))  # type: ignore[misc]
        held = followed.reached == followed.vertices and followed.path_error_mm <= microstep
        told = f"{followed.reached} of {followed.vertices} segment ends, at most {followed.vertex_error_steps:.2f} steps off"
        return held, f"{told}, path error {followed.path_error_mm:.4f} mm"

    def filament(trace: Trace) -> tuple[bool, str]:
        return abs(followed.filament_mm - wanted) <= wanted * 1e-3, f"{followed.filament_mm:.3f} mm of {wanted:.3f} mm"

    def lost(trace: Trace) -> tuple[bool, str]:
        found = trace.last(f"{machine.name}/plant/lost")
        return found == 0, f"{found} steps lost"

    def temperatures(trace: Trace) -> tuple[bool, str]:
        worst, judged = worst_temperature(machine, trace, looks)
        return bool(judged) and worst <= TOLERANCE_C, f"at most {worst:.2f} °C off at {judged} looks while extruding"

    def ended(trace: Trace) -> tuple[bool, str]:
        last = looks[-1].node if looks else None
        held = last is not None and last.job_state is JobState.DONE and last.underruns == 0
        return held, f"{last.job_state.name}, {last.underruns} underruns" if last else "the node was never seen"

    return (
        Requirement("the steps keep to the planned path, and come to every segment end, within one microstep", steps),
        Requirement("the filament fed is that planned within 0.1 %", filament),
        Requirement("no step is lost", lost),
        Requirement("temperatures keep within 3 °C of their targets while extruding", temperatures),
        Requirement("the Job is done and the step stream never ran dry", ended),
    )


def worst_temperature(machine: Machine, trace: Trace, looks: tuple[Look, ...]) -> tuple[float, int]:
    """Largest distance of hotend and bed from their targets while filament is fed, 60 s after the last change of a target.

    Returns the distance [°C] and at how many looks it was judged.
    """
    name = machine.name
    worst, judged = 0.0, 0
    changed: dict[str, Ns] = {}
    before: Look | None = None
    series = {signal: _Held(trace, f"{name}/plant/{signal}") for signal in ("hotend", "bed", "fed")}
    fed = 0.0
    for look in looks:
        status = look.machines[name]
        extruding = (now_fed := float(series["fed"].at(look.time))) > fed + 0.02
        fed = now_fed
        for heater in ("hotend", "bed"):
            target = getattr(status, f"{heater}_target")
            if before is None or getattr(before.machines[name], f"{heater}_target") != target:
                changed[heater] = look.time
            if target and extruding and look.time - changed[heater] > SETTLING:
                worst = max(worst, abs(float(series[heater].at(look.time)) - target))
                judged += 1
        before = look
    return worst, judged


class _Held:
    """A Signal's series, asked in the order of time."""

    def __init__(self, trace: Trace, signal: str) -> None:
        found = list(trace.series.get(signal, ()))
        self._times = np.array([time for time, _ in found], np.int64)
        self._values = [value for _, value in found]

    def at(self, time: Ns) -> Any:
        index = int(np.searchsorted(self._times, time, side="right")) - 1
        return self._values[index] if index >= 0 else 0.0


# ---- a cut link makes the node safe


def cut_while_printing(factory: Factory, folder: Path, program: str, seed: int, *, physics: Any = None) -> tuple[Verdict, ...]:
    """Cut the printer's link at an instant of its Job that the seed chooses, heal it, and judge what the printer did."""
    recipe = next(iter(factory.recipes))
    known = {printer_of(factory).name: physics} if physics is not None else {}
    with House(factory, folder, {PROGRAM: program}, recipe, PROGRAM, links=True, physics=known) as house:
        stage = Stage(house.rig, house, seed=seed)
        return judge(play(stage, _cut_while_printing(stage, program)), stage.trace)


@scenario("cut-while-printing", factory="printer.toml", recipe="print", program=first_layer_program)
async def cut(stage: Stage) -> tuple[Requirement, ...]:
    """The printer's link is cut somewhere in its Job: heaters off, axes to rest on their path, and nothing restarts."""
    return await _cut_while_printing(stage, first_layer_program())


async def _cut_while_printing(stage: Stage, program: str) -> tuple[Requirement, ...]:
    assert stage.house is not None
    machine = printer_of(stage.rig.factory)
    plan = plan_of(machine, program)
    share = float(np.random.default_rng(stage.seed).uniform(0.02, 0.98))
    looks = stage.house.looks[machine.node]
    pace = stage.rig.world.paces.setdefault(machine.name, [])
    chunks = plan.duration_s * share / 40e-6
    await stage.until(lambda: bool(looks) and looks[-1].node.job_chunks > chunks, within=Ns(900 * S))
    await stage.after(Ns(stage.seed % 100 * MS))
    cut_at = stage.now
    stage.cut(machine.node)
    await stage.after(Ns(3 * S))
    stage.heal(machine.node)
    healed_at = stage.now
    await stage.after(Ns(5 * S))
    rest = stage.rig.world.state.states[machine.name].last_step
    return safe_after_cut(machine, pace, rest, tuple(looks), cut_at, healed_at)


def safe_after_cut(
    machine: Machine, pace: list[tuple[Ns, Any]], rest: Ns, looks: tuple[Look, ...], cut_at: Ns, healed_at: Ns
) -> tuple[Requirement, ...]:
    """What must hold after the link is cut, and after it is back.

    Args:
        pace: positions (4,) of the axes in steps and when each was true.
        rest: when the last step of any axis was made.
    """
    name, limits = machine.name, machine.type.limits(machine.params)  # type: ignore[misc]
    accelerations = np.array(limits.max_acceleration) * limits.steps_per_mm
    times = np.array([time for time, _ in pace], np.int64)
    places = np.array([place for _, place in pace])
    due = cut_at + LEASE_AND_TICK

    def at_rest(trace: Trace) -> tuple[bool, str]:
        near = (times >= due - 40 * MS) & (times <= due + 500 * MS)
        dt = np.diff(times[near])[:, None] / S
        speed = (np.abs(np.diff(places[near], axis=0)) / dt).max(axis=0, initial=0.0)
        allowed = Ns(round(due + (speed / accelerations).max() * S + 2 * TICK_MS * MS))
        told = f"at rest {(rest - cut_at) / MS:.1f} ms after the cut, at most {(allowed - cut_at) / MS:.1f} ms"
        return rest <= allowed and rest < healed_at, told

    def exact(trace: Trace) -> tuple[bool, str]:
        status, plant = looks[-1].machines[name], trace.last(f"{name}/plant/position_mm")
        off = [abs(getattr(status, axis) * 1000 - at) for axis, at in zip("xyz", plant, strict=False)]
        steps = max(o * per for o, per in zip(off, limits.steps_per_mm, strict=False))
        lost = trace.last(f"{name}/plant/lost")
        return steps <= 1.5 and lost == 0, f"the node's position is {steps:.2f} steps from the carriages', {lost} lost"

    def stays(trace: Trace) -> tuple[bool, str]:
        last = looks[-1].node
        after = places[times >= healed_at]
        moved = int(np.abs(after - after[0]).max()) if len(after) else -1
        held = moved == 0 and last.job_state is JobState.ABORTED and last.latched and last.fault is Fault.SILENCE
        return held, f"{moved} steps, Job {last.job_state.name}, {'latched' if last.latched else 'not latched'}"

    cut = LinkCut(machine.node)
    return (
        responds("the hotend's heater is off", cut, f"{name}/pin/hotend_heater", lambda duty: duty == 0, LEASE_AND_TICK),
        responds("the bed's heater is off", cut, f"{name}/pin/bed_heater", lambda duty: duty == 0, LEASE_AND_TICK),
        Requirement("every axis is at rest within speed / acceleration after that", at_rest),
        Requirement("no step is lost", exact),
        Requirement("nothing restarts when the link is back", stays),
    )
