"""Performs plans and scenarios: sets the factory up, lets it happen, judges."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hil import faults
from hil.campaigns.invariants import invariants
from hil.campaigns.plan import COMES_ALONG, Plan
from hil.campaigns.tap import watch
from hil.campaigns.violations import Asked
from hil.house import House
from hil.judging.verdict import Requirement, Verdict, judge
from hil.ports import free_port
from hil.rig import Rig
from hil.scenario import Scenario, ScenarioError, Stage, play, put_part
from hil.targets.vm import FREE, Costs
from twin.clock import Ns, seconds, wall_ns
from twin.devices import Device, ModbusDevice
from twin.factory import Factory, read
from twin.trace import Trace

PROGRAM = "program.gcode"


@dataclass(frozen=True, slots=True)
class Performed:
    """What came of a plan or a scenario.

    Attributes:
        simulated_s: factory time that passed; wall_s: the time that it took.
        ids: of the requirements that it shows.
        error: why it could not go on to its end; empty where it could.
    """

    name: str
    seed: int
    verdicts: tuple[Verdict, ...]
    trace: Trace
    simulated_s: float
    wall_s: float
    ids: tuple[str, ...] = ()
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether it came to its end and every requirement held."""
        return not self.error and all(verdict.passed for verdict in self.verdicts)

    @property
    def failures(self) -> tuple[str, ...]:
        """A line for each thing that was wrong."""
        return ((self.error,) if self.error else ()) + tuple(str(v) for v in self.verdicts if not v.passed)


def at_free_ports(factory: Factory) -> Factory:
    """The factory with what is virtual in it at ports that are free now, so that any number of runs go side by side."""
    nodes = {
        name: replace(node, host="127.0.0.1", port=free_port()) if node.virtual else node for name, node in factory.nodes.items()
    }
    devices = {name: _at_free_port(device) for name, device in factory.devices.items()}
    return replace(factory, nodes=nodes, devices=devices)


def _at_free_port(device: Device) -> Device:
    reached = device.reached
    if not device.virtual or not isinstance(reached, ModbusDevice) or reached.serial is not None:
        return device
    return replace(device, reached=replace(reached, host="127.0.0.1", port=free_port()))


@contextmanager
def _somewhere(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="lockstep-") as made:
            yield Path(made)


# ---- plans


def perform(
    plan: Plan,
    folder: Path | None = None,
    *,
    costs: Costs = FREE,
    requirements: Callable[[Factory], Iterable[Requirement]] | None = None,
    **rig: Any,
) -> Performed:
    """Let a plan happen and judge it by the invariants that it names.

    Args:
        folder: where state is kept; a temporary one unless told.
        requirements: other ones, made for the factory.
        rig: what else the Rig is to be given, such as `firmware`.
    """
    began = wall_ns()
    factory = at_free_ports(read(plan.factory_file))
    wanted = tuple(requirements(factory) if requirements else invariants(factory, *plan.requirements))
    first = next((order for order in plan.orders if order.at == 0), None)
    programs = {o.program: _text(plan, o.program) for o in plan.orders if o.program}
    with _somewhere(folder) as state:
        house = House(
            factory,
            state,
            programs,
            first.recipe if first else "",
            first.program if first else "",
            costs=costs,
            links=True,
            feed=True,
            **rig,
        )
        error = ""
        with house:
            watch(house.rig)
            _schedule(plan, house)
            try:
                house.run(plan.duration)
            except RuntimeError as failed:
                error = _cause(failed)
    verdicts = judge(wanted, house.rig.trace)
    simulated, wall = seconds(house.rig.now), seconds(Ns(wall_ns() - began))
    return Performed(plan.factory, plan.seed, verdicts, house.rig.trace, simulated, wall, error=error)


def _cause(failed: Exception) -> str:
    """What went wrong, with what lies at its root."""
    root: BaseException = failed
    while True:
        if root.__cause__ is not None:
            root = root.__cause__
        elif isinstance(root, BaseExceptionGroup):
            root = root.exceptions[0]
        else:
            break
    return str(failed) if root is failed else f"{failed}: {type(root).__name__}: {root}"


def _text(plan: Plan, program: str) -> str:
    beside = plan.folder / program
    return (beside if beside.is_file() else COMES_ALONG / program).read_text(encoding="utf-8")


def _schedule(plan: Plan, house: House) -> None:
    rig = house.rig
    faults.arm(rig, plan.faults, seed=plan.seed, house=house)
    for part in plan.parts:
        rig.at(part.at, lambda part=part: put_part(rig, part.target, part.filament_mm))  # type: ignore[misc]
    for order in plan.orders:
        if order.at:
            wanted = {"recipe": order.recipe, "program": order.program}
            rig.at(order.at, lambda wanted=wanted: ask(house, "place_order", **wanted))  # type: ignore[misc]
    for one in plan.asks:
        rig.at(one.at, lambda one=one: ask(house, one.request, machine=one.machine))  # type: ignore[misc]


def ask(house: House, kind: str, **arguments: Any) -> None:
    """Have an operator ask the core for something; that becomes an event Asked."""
    house.rig.trace.event(house.rig.now, Asked("core", kind))
    house.ask(kind, **arguments)


# ---- scenarios


def perform_scenario(
    scenario: Scenario,
    folder: Path | None = None,
    *,
    seed: int = 0,
    parameters: Mapping[str, float] | None = None,
    factory: Factory | None = None,
    costs: Costs = FREE,
    **rig: Any,
) -> Performed:
    """Play a scenario on its factory, or on another one, and judge it by what it returns.

    Raises:
        ScenarioError: it has no such parameters.
    """
    began = wall_ns()
    values = scenario.values(parameters or {})
    factory = at_free_ports(factory or read(COMES_ALONG / scenario.factory))
    verdicts: tuple[Verdict, ...] = ()
    error = ""
    with _somewhere(folder) as state, _set_up(scenario, factory, state, seed, values, costs, rig) as stage:
        try:
            verdicts = judge(play(stage, scenario.acts(stage)), stage.trace)
        except (ScenarioError, RuntimeError) as failed:
            error = _cause(failed)
    simulated, wall = seconds(stage.now), seconds(Ns(wall_ns() - began))
    return Performed(scenario.name, seed, verdicts, stage.trace, simulated, wall, scenario.requirements, error)


@contextmanager
def _set_up(
    scenario: Scenario,
    factory: Factory,
    folder: Path,
    seed: int,
    values: Mapping[str, float],
    costs: Costs,
    rig: Mapping[str, Any],
) -> Iterator[Stage]:
    if not scenario.core:
        with Rig(factory, folder, costs=costs, links=scenario.links, **rig) as made:
            watch(made)
            yield Stage(made, seed=seed, parameters=values)
        return
    program = {PROGRAM: scenario.program()} if scenario.program else {}
    house = House(
        factory,
        folder,
        program,
        scenario.recipe,
        next(iter(program), ""),
        costs=costs,
        links=scenario.links,
        feed=True,
        **rig,
    )
    with house:
        watch(house.rig)
        yield Stage(house.rig, house, seed=seed, parameters=values)
