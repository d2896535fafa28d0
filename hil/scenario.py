"""Scenarios: what happens to a factory, told in the order in which it happens, and what must hold at the end.

    @scenario("cut-while-running", factory="belt.toml", settle_s=Number(3.0, 0.1, 60.0, "how long the link stays cut"))
    async def cut_while_running(stage: Stage) -> tuple[Requirement, ...]:
        \"\"\"The link of a running belt is cut.\"\"\"
        await stage.until(("belt-1/pin/run", bool), within=Ns(20 * S))
        stage.cut("belt-1")
        await stage.after(ns(stage["settle_s"]))
        return (responds("the belt is off", LinkCut("belt-1"), "belt-1/pin/run", lambda run: not run, LEASE_AND_TICK),)

No event loop runs it: `play` lets the rig's time pass up to where the scenario waits, and asks it again.
"""

import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from hil.judging.verdict import Requirement, Verdict, judge
from hil.rig import Rig
from twin.clock import MS, Ns, seconds
from twin.fault import Fault
from twin.plant import Part, plant_of
from twin.trace import Event, Trace

if TYPE_CHECKING:
    from hil.house import House

LOOK = Ns(20 * MS)
"""How often a condition is looked at where nothing happens."""

T = TypeVar("T")
Condition = Callable[[], bool] | type[Event] | Event | tuple[str, Callable[[Any], bool]]


class RequirementFailed(AssertionError):
    """Requirements that did not hold; the text holds each verdict with its evidence."""


class ScenarioError(Exception):
    """A scenario that waited in vain, or was asked for with parameters that it does not have."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Up to when a scenario waits, and what ends that sooner."""

    until: Ns
    holds: Callable[[], bool] | None = None


Act = Coroutine[Wait, None, T]


@types.coroutine
def _wait(wait: Wait) -> Generator[Wait, None, None]:
    yield wait


class Stage:
    """What a scenario acts on and looks at.

    Attributes:
        house: the controller's core beside the rig, or None.
        parameters: the scenario's, by name; `stage["name"]` for short.
        verdicts: on all that was required.
    """

    def __init__(
        self, rig: Rig, house: "House | None" = None, *, seed: int = 0, parameters: Mapping[str, float] | None = None
    ) -> None:
        self.rig, self.house, self.seed = rig, house, seed
        self.parameters: Mapping[str, float] = parameters or {}
        self.verdicts: list[Verdict] = []
        self._faults = 0

    @property
    def trace(self) -> Trace:
        """What has happened so far."""
        return self.rig.trace

    @property
    def now(self) -> Ns:
        """Factory time."""
        return self.rig.now

    def __getitem__(self, parameter: str) -> float:
        return self.parameters[parameter]

    # ---- waiting

    async def after(self, duration: Ns) -> None:
        """Let time pass."""
        await _wait(Wait(Ns(self.now + duration)))

    async def until(self, condition: Condition, within: Ns) -> None:
        """Wait until something is so: a function of no arguments, an Event or a type of Events that has happened from now on, or a
        Signal's value that meets a condition.

        Raises:
            ScenarioError: it was not so in time.
        """
        holds = self._holds(condition)
        began = self.now
        if not holds():
            await _wait(Wait(Ns(began + within), holds))
        if not holds():
            raise ScenarioError(f"waited {seconds(within):g} s from {seconds(began):.3f} s on in vain for {_told(condition)}")

    def _holds(self, condition: Condition) -> Callable[[], bool]:
        if isinstance(condition, tuple):
            signal, meets = condition
            return lambda: (value := self.trace.last(signal)) is not None and bool(meets(value))
        if isinstance(condition, Event):
            return _Happened(self.trace, lambda what: what == condition)
        if isinstance(condition, type):
            return _Happened(self.trace, lambda what: isinstance(what, condition))
        return condition

    # ---- judging

    def require(self, *requirements: Requirement) -> None:
        """Judge what has happened so far; the verdicts are kept for the reports.

        Raises:
            RequirementFailed: some did not hold.
        """
        found = judge(requirements, self.trace)
        self.verdicts += found
        failed = [_shown(verdict) for verdict in found if not verdict.passed]
        if failed:
            raise RequirementFailed("\n".join(failed))

    # ---- acting

    def cut(self, node: str) -> None:
        """Cut the network to a node."""
        self.rig.cut(node)

    def heal(self, node: str) -> None:
        """Join the network to a node again."""
        self.rig.heal(node)

    def power_off(self, node: str) -> None:
        """Take a node's power away."""
        self.rig.power_off(node)

    def power_on(self, node: str) -> None:
        """Switch a node on."""
        self.rig.power_on(node)

    def put_part(self, machine: str, filament_mm: float = 1000.0) -> None:
        """Put a part onto a machine's entry, if there is room."""
        put_part(self.rig, machine, filament_mm)

    def inject(self, kind: str, target: str, lasts: Ns | None = None, **parameters: float) -> None:
        """Let something be broken from now on, for a while or for good.

        Raises:
            FaultError: there is no such kind, target or parameter.
        """
        from hil import faults

        fault = Fault(at=self.now, kind=kind, target=target, lasts=lasts, parameters=parameters)
        faults.check(self.rig.factory, [fault])
        self._faults += 1
        faults.arm(self.rig, [fault], seed=self.seed * 1000 + self._faults, house=self.house)


class _Happened:
    """Whether an Event has happened since this was made; each one is looked at once."""

    def __init__(self, trace: Trace, wanted: Callable[[Event], bool]) -> None:
        self._trace, self._wanted = trace, wanted
        self._seen = len(trace.events)
        self._found = False

    def __call__(self) -> bool:
        fresh = len(self._trace.events) - self._seen
        if fresh and not self._found:
            self._found = any(self._wanted(at.what) for at in islice(reversed(self._trace.events), fresh))
            self._seen += fresh
        return self._found


def _told(condition: Condition) -> str:
    match condition:
        case (signal, _):
            return f"a value of {signal}"
        case Event():
            return condition.line()
        case type():
            return condition.__name__
        case _:
            return (condition.__doc__ or "").strip() or getattr(condition, "__name__", "a condition")


def _shown(verdict: Verdict) -> str:
    lines = [f"  {seconds(time):.6f} s  {signal or 'event'}  {value}" for time, signal, value in verdict.excerpt]
    return "\n".join([str(verdict), *lines])


def put_part(rig: Rig, machine: str, filament_mm: float = 1000.0) -> None:
    """Put a part onto a machine's entry, if there is room."""
    plant = plant_of(rig.factory.machines[machine].type)

    def put(state: Any, params: Any) -> Any:
        taken = plant.put(state, params, Part(filament_mm=filament_mm))
        return state if taken is None else taken

    rig.world.touch(machine, put, rig.now)


def _pass(stage: Stage, wait: Wait) -> None:
    """Let time pass up to where a scenario waits. No node runs further, nor beyond the next look at the condition."""
    rig = stage.rig
    while rig.now < wait.until and not (wait.holds is not None and wait.holds()):
        pause = Ns(min(wait.until, rig.now + LOOK)) if wait.holds is not None else wait.until
        rig.at(pause, _nothing)
        rig.run(pause, wait.holds)
    if stage.house is not None:
        stage.house.run(rig.now)  # no time passes: it tells when the core has failed


def _nothing() -> None:
    pass


def play(stage: Stage, act: "Act[T]") -> T:
    """Let a scenario happen; what it returns.

    Raises:
        ScenarioError: it waited in vain.
        RuntimeError: the controller's core has failed.
    """
    try:
        while True:
            _pass(stage, act.send(None))
    except StopIteration as ended:
        found: T = ended.value
        return found
    finally:
        act.close()


# ---- the scenarios there are


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter of a scenario."""

    default: float
    low: float
    high: float
    text: str


Acts = Callable[[Stage], Coroutine[Wait, None, Iterable[Requirement]]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario by its name, and what it is played on.

    Attributes:
        text: the first line of its docstring.
        factory: the file of the factory that it is written for, in `hil/scenarios`; any other that suits it may be given.
        recipe, program: of the order that the core is given at the start; `program` makes the text of the file.
        core: the controller's core runs beside the rig.
        links: the nodes are behind links that can be cut.
        requirements: ids of what it shows, for the matrix.
    """

    name: str
    text: str
    acts: Acts
    factory: str
    recipe: str = ""
    program: Callable[[], str] | None = None
    core: bool = True
    links: bool = True
    requirements: tuple[str, ...] = ()
    parameters: Mapping[str, Number] = field(default_factory=dict)

    def values(self, given: Mapping[str, float]) -> dict[str, float]:
        """Every parameter's value.

        Raises:
            ScenarioError: every mistake in those given.
        """
        there = ", ".join(self.parameters) or "none"
        wrong = [f"{n}: {self.name} has no such parameter; it has {there}" for n in given if n not in self.parameters]
        values = {}
        for name, number in self.parameters.items():
            values[name] = value = given.get(name, number.default)
            if not number.low <= value <= number.high:
                wrong.append(f"{name}: must be from {number.low:g} to {number.high:g}, not {value:g}")
        if wrong:
            raise ScenarioError("\n".join(wrong))
        return values


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str,
    *,
    factory: str,
    recipe: str = "",
    program: Callable[[], str] | None = None,
    core: bool = True,
    links: bool = True,
    requirements: Iterable[str] = (),
    **parameters: Number,
) -> Callable[[Acts], Acts]:
    """Put a scenario among those that `lockstep hil list` shows; see Scenario for the arguments."""

    def put(acts: Acts) -> Acts:
        assert name not in SCENARIOS or SCENARIOS[name].acts.__module__ == acts.__module__, f"two scenarios named {name}"
        text = (acts.__doc__ or "").strip().split("\n")[0]
        assert text, f"{name} has no docstring"
        SCENARIOS[name] = Scenario(name, text, acts, factory, recipe, program, core, links, tuple(requirements), parameters)
        return acts

    return put
