"""Random campaigns: a seed is a plan of faults; the invariants are judged; a plan that breaks one is made short.

Each seed turns about half the kinds of faults off (a swarm finds what a mean misses), strikes one to seven times within half a
minute, and leaves the other half of its minute quiet, so that everything can be seen to come back.
"""

import gc
import json
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from hil import faults
from hil.campaigns.perform import Performed, perform
from hil.campaigns.plan import COMES_ALONG, DURATION, Ask, PlaceOrder, PlacePart, Plan, takers, text, told
from hil.campaigns.shrink import shortest
from hil.faults import FaultFired
from twin.clock import MS, Ns, S, ns, seconds, wall_ns
from twin.factory import Factory, read
from twin.fault import Fault, FaultError, Parameter, Subject

STRIKES = (Ns(S), Ns(28 * S))
QUIET_FROM = Ns(29 * S)
MOST_FAULTS = 7
COMMON = "belt.toml"
FACTORIES = {COMMON: 0.55, "belts.toml": 0.2, "printer.toml": 0.25}
RARE = 6
"""How much more often a kind is drawn that cannot be drawn in the commonest factory."""
SELDOM: Mapping[str, int] = {
    "axes-swapped": 3, "axis-dead": 2, "axis-reversed": 2, "draught": 2, "duty-limited": 5, "duty-slow": 5, "duty-stuck": 2,
    "duty-weak": 2, "link-replay": 3, "link-spoilt-block": 5, "output-delayed": 5, "output-frozen": 5, "output-intermittent": 2,
    "output-inverted": 2, "output-stuck-off": 2, "output-stuck-on": 2, "sensor-chatter": 5, "sensor-delay": 5,
    "sensor-flicker": 3, "sensor-frozen": 4, "sensor-stuck-off": 3, "sensor-swapped": 4, "steps-extra": 3, "steps-missed": 5,
    "thermistor-slow": 2,
}
"""How much more often a kind is drawn that, drawn evenly, seldom finds anything to change (measured over 1050 seeds)."""
PROGRAM = "square.gcode"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a campaign is drawn for.

    Attributes:
        factory: one file for all seeds; empty for those that come along.
        kinds: the kinds to draw from; empty for all.
    """

    factory: str = ""
    folder: Path = COMES_ALONG
    kinds: tuple[str, ...] = ()
    firmware: Path | None = None


# ---- drawing


def draw(seed: int, setting: Setting = Setting()) -> Plan:
    """The plan of a seed: the same wherever it is drawn."""
    chance = random.Random(seed)
    names, weights = zip(*FACTORIES.items(), strict=True)
    drawn = chance.choices(names, weights)[0]
    name = setting.factory or drawn
    path = _file(name, setting.folder)
    factory = _factory(path)
    return Plan(
        name,
        DURATION,
        seed,
        _faults(chance, factory, possible(path), setting.kinds),
        _orders(chance, factory),
        _parts(chance, factory),
        _asks(chance, factory),
        folder=setting.folder,
    )


def _file(name: str, folder: Path) -> Path:
    beside = folder / name
    return beside if beside.is_file() else COMES_ALONG / name


@lru_cache(maxsize=16)
def _factory(path: Path) -> Factory:
    return read(path)


@lru_cache(maxsize=16)
def possible(path: Path) -> Mapping[str, tuple[str, ...]]:
    """What can break in a factory, by kind: where."""
    factory = _factory(path)
    found = {}
    for kind in faults.KINDS.values():
        targets = tuple(
            target
            for target in _targets(factory, kind.subject)
            if _fit(factory, [Fault(at=Ns(0), kind=kind.name, target=target, lasts=S)])
        )
        if targets:
            found[kind.name] = targets
    return found


def _targets(factory: Factory, subject: Subject) -> Iterable[str]:
    match subject:
        case Subject.SENSOR | Subject.ACTUATOR:
            for machine in factory.machines.values():
                yield from (f"{machine.name}.{pin}" for pin in (*machine.pins, "frames"))
        case Subject.PLANT:
            yield from factory.machines
        case Subject.LINK | Subject.NODE:
            yield from (node.name for node in factory.nodes.values() if node.virtual)
        case Subject.CONTROLLER:
            yield "core"


def _fit(factory: Factory, together: Sequence[Fault]) -> bool:
    try:
        faults.check(factory, together)
    except FaultError:
        return False
    return True


def _faults(chance: random.Random, factory: Factory, can: Mapping[str, tuple[str, ...]], kinds: Sequence[str]) -> tuple[Fault, ...]:
    swarm = [kind for kind in can if (not kinds or kind in kinds) and chance.random() < 0.5]
    swarm = swarm or [kind for kind in can if not kinds or kind in kinds]
    common = possible(COMES_ALONG / COMMON)
    drawn: list[Fault] = []
    weights = [(1 if kind in common else RARE) * SELDOM.get(kind, 1) for kind in swarm]
    for kind in chance.choices(swarm, weights, k=chance.randint(1, MOST_FAULTS)):
        strike = _strike(chance, kind, chance.choice(can[kind]))
        if any((kind, strike.target) == (other.kind, other.target) for other in drawn):
            continue  # what two of a kind do to one thing together is not said
        drawn += next(([one] for one in (strike, replace(strike, parameters={})) if _fit(factory, [*drawn, one])), [])
    return tuple(sorted(drawn, key=lambda fault: fault.at))


def _strike(chance: random.Random, kind: str, target: str) -> Fault:
    at = _ms(chance.uniform(seconds(STRIKES[0]), seconds(STRIKES[1])))
    lasts = _ms(min(0.05 * 200 ** chance.random(), seconds(Ns(QUIET_FROM - at))))
    parameters = {}
    for name, one in faults.KINDS[kind].parameters.items():
        if chance.random() < 0.5:
            parameters[name] = _number(chance, one, seconds(lasts))
    return Fault(at=at, kind=kind, target=target, lasts=lasts, parameters=parameters)


def _number(chance: random.Random, one: Parameter, lasts_s: float) -> float:
    """A value out of a parameter's range; no time in it is longer than the fault."""
    high = max(one.low, min(one.high, lasts_s)) if one.text.split(" ")[0] == "s" else one.high
    share = chance.random()
    drawn = one.low * (high / one.low) ** share if one.low > 0 else one.low + (high - one.low) * share
    return min(max(float(f"{drawn:.4g}"), one.low), high)


def _ms(time_s: float) -> Ns:
    return Ns(ns(time_s) // MS * MS)


def _orders(chance: random.Random, factory: Factory) -> tuple[PlaceOrder, ...]:
    if not factory.recipes:
        return ()
    recipe = next(iter(factory.recipes.values()))
    steps = [step.capability for step in recipe.operations]
    program = PROGRAM if any(c in m.type.programs for c in steps for m in factory.capable(c)) else ""
    again = (PlaceOrder(recipe.name, program, _ms(chance.uniform(12, 25))),) if chance.random() < 0.5 else ()
    return (PlaceOrder(recipe.name, program), *again)


def _parts(chance: random.Random, factory: Factory) -> tuple[PlacePart, ...]:
    targets = takers(factory)
    return tuple(PlacePart(_ms(at + chance.random()), target) for target in targets[:1] for at in (0.5, 14.0))


def _asks(chance: random.Random, factory: Factory) -> tuple[Ask, ...]:
    drawn = []
    for request, share in (("stop", 0.2), ("reset", 0.4), ("reset", 0.4), ("start", 0.2)):
        if chance.random() < share:
            drawn.append(Ask(_ms(chance.uniform(3, 35)), request, chance.choice(tuple(factory.machines))))
    return tuple(sorted(drawn, key=lambda one: one.at))


# ---- running


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed.

    Attributes:
        broken: ids of the invariants that were broken, or "error".
        fired: the kinds that have really changed something.
        plan: the shortest one that breaks the same, as a file's text; empty where nothing broke.
    """

    seed: int
    broken: tuple[str, ...]
    failures: tuple[str, ...]
    fired: tuple[str, ...]
    digest: str
    wall_s: float
    plan: str = ""


def broken_by(done: Performed) -> tuple[str, ...]:
    """Ids of the requirements that a run broke."""
    found = [verdict.id for verdict in done.verdicts if not verdict.passed]
    return tuple(found) + (("error",) if done.error else ())


def one(seed: int, setting: Setting, shrink: bool) -> Outcome:
    """Draw, perform and judge one seed, and make its plan short where it broke something."""
    plan = draw(seed, setting)
    run = partial(perform, firmware=setting.firmware) if setting.firmware else perform
    done = run(plan)
    fired = tuple(sorted({entry.what.kind for entry in done.trace.of(FaultFired)}))
    broken = broken_by(done)
    found = ""
    if broken:
        found = text(shortest(plan, lambda tried: broken[0] in broken_by(run(tried))) if shrink else plan)
    return Outcome(seed, broken, done.failures, fired, done.trace.digest, done.wall_s, found)


@dataclass
class Summary:
    """What came of a campaign."""

    runs: int = 0
    wall_s: float = 0.0
    fired: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one seed's outcome."""
        self.runs += 1
        self.fired.update(outcome.fired)
        if outcome.broken:
            self.failed.append(outcome)

    def as_json(self) -> str:
        """One JSON object."""
        failed = [
            {"seed": o.seed, "broken": o.broken, "failures": o.failures, "plan": o.plan, "again": again(o.seed)}
            for o in sorted(self.failed, key=lambda o: o.seed)
        ]
        kinds = {name: self.fired.get(name, 0) for name in faults.KINDS}
        return json.dumps(
            {
                "runs": self.runs,
                "simulated_s": self.runs * seconds(DURATION),
                "wall_s": self.wall_s,
                "fired": kinds,
                "failed": failed,
            },
            indent=1,
        )


def again(seed: int) -> str:
    """The line that repeats a seed."""
    return f"lockstep hil run campaign --seed {seed}"


def run(
    seeds: Sequence[int],
    setting: Setting = Setting(),
    *,
    jobs: int = 1,
    shrink: bool = True,
    heard: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Run a campaign, over several processes where more than one job is wanted.

    Args:
        heard: told of each outcome when it is known; with several jobs not in the order of the seeds.
    """
    began, summary = wall_ns(), Summary()

    def take(outcome: Outcome) -> None:
        summary.add(outcome)
        heard(outcome)

    if jobs == 1:
        for seed in seeds:
            take(one(seed, setting, shrink))
    else:
        for outcome in _side_by_side(seeds, setting, jobs, shrink):
            take(outcome)
    summary.wall_s = seconds(Ns(wall_ns() - began))
    return summary


def _side_by_side(seeds: Sequence[int], setting: Setting, jobs: int, shrink: bool) -> Iterable[Outcome]:
    context = multiprocessing.get_context("spawn")  # a fork would take threads along
    numbers = context.Queue()
    for number in range(jobs):
        numbers.put(number)
    with ProcessPoolExecutor(jobs, context, _settle, (numbers,)) as pool:
        waiting = iter(seeds)
        going = {pool.submit(one, seed, setting, shrink) for seed in islice(waiting, 2 * jobs)}
        while going:
            done = next(as_completed(going))
            going.discard(done)
            yield done.result()
            going |= {pool.submit(one, seed, setting, shrink) for seed in islice(waiting, 1)}


def _settle(numbers: Any) -> None:
    """A worker keeps to one processor: rig, core and nodes take turns, and its neighbours have processors of their own."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[numbers.get() % len(processors)]})
    gc.collect()
    gc.freeze()  # a core that is killed has its cycles collected; what was imported is no part of them


def line(outcome: Outcome, setting: Setting = Setting()) -> str:
    """An outcome in one line."""
    what = "; ".join(told(fault) for fault in draw(outcome.seed, setting).faults)
    return f"seed {outcome.seed}: {', '.join(outcome.broken) or 'kept to'} ({what})"
