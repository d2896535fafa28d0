"""Fault plans: what happens to a factory, as a TOML file for people who write no Python.

factory = "belt.toml"           # beside this file, or one that comes along: belt.toml, belts.toml, printer.toml
duration = 60.0                 # s
seed = 7
requirements = ["I1", "I7"]     # left out: every invariant that is built

[[part]]                        # somebody puts a part on a belt
at = 1.0
target = "belt-1"

[[order]]                       # the first one is placed when the core starts
recipe = "convey"

[[ask]]                         # an operator asks the core for something
at = 20.0
request = "stop"
machine = "belt-1"

[[fault]]
at = 2.0
for = 1.5                       # left out: for good
target = "belt-1"
kind = "link-cut"
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.orders.requests import KINDS as REQUESTS
from hil import faults
from hil.campaigns.invariants import INVARIANTS
from twin.clock import Ns, S, ns
from twin.factory import Factory, FactoryError, read
from twin.fault import Fault, FaultError
from twin.tables import Mistakes, Reader

COMES_ALONG = Path(__file__).resolve().parents[1] / "scenarios"
LONGEST_S = 86_400.0
START = Ns(0)
DURATION = Ns(60 * S)
MACHINE_REQUESTS = tuple(kind for kind, wanted in REQUESTS.items() if tuple(wanted) == ("machine",))
BUILT = tuple(one.id for one in INVARIANTS if one.judge is not None)


class PlanError(Mistakes):
    """A plan that cannot be used. `mistakes` holds one line for each."""


@dataclass(frozen=True, slots=True)
class PlacePart:
    """Somebody puts a part on a belt's entry. Where there is no room, nobody does."""

    at: Ns
    target: str
    filament_mm: float = 1000.0


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """An order; the program is a file beside the plan."""

    recipe: str
    program: str = ""
    at: Ns = START


@dataclass(frozen=True, slots=True)
class Ask:
    """An operator asks the core for something."""

    at: Ns
    request: str
    machine: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything in a plan's file.

    Attributes:
        factory: its file's name.
        folder: where that and the programs are looked for.
        requirements: ids of invariants; empty for all.
    """

    factory: str
    duration: Ns = DURATION
    seed: int = 0
    faults: tuple[Fault, ...] = ()
    orders: tuple[PlaceOrder, ...] = ()
    parts: tuple[PlacePart, ...] = ()
    asks: tuple[Ask, ...] = ()
    requirements: tuple[str, ...] = ()
    folder: Path = field(default=COMES_ALONG, compare=False)

    @property
    def factory_file(self) -> Path:
        """The factory's file: beside the plan, or one that comes along."""
        return _find(self.factory, self.folder)


def _find(name: str, folder: Path) -> Path:
    beside = folder / name
    return beside if beside.is_file() else COMES_ALONG / name


# ---- reading


def load(path: Path) -> Plan:
    """The plan of a file.

    Raises:
        PlanError: the file cannot be read, or every mistake in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise PlanError((f"{path}: cannot be read: {failed}",)) from failed
    try:
        return parse(text, path.parent)
    except PlanError as wrong:
        raise PlanError(tuple(f"{path}: {mistake}" for mistake in wrong.mistakes)) from None


_TOP = ("factory", "duration", "seed", "requirements", "fault", "order", "part", "ask")


def parse(text: str, folder: Path = COMES_ALONG) -> Plan:
    """The plan of a file's text; `folder` is where its files lie.

    Raises:
        PlanError: every mistake: which entry, which key, the value and what is allowed.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise PlanError((f"not TOML: {broken}",)) from broken
    reader = Reader()
    table = reader.table("", tables, _TOP)
    name = reader.text("factory", table.get("factory"))
    factory = _factory(reader, _find(name, folder)) if name else None
    plan = Plan(
        name,
        _time(reader, "duration", table.get("duration", 60.0), low=0.001),
        reader.integer("seed", table.get("seed", 0), 0, 2**63 - 1),
        _each(reader, table, "fault", lambda key, entry: _fault(reader, key, entry, factory)),
        _each(reader, table, "order", lambda key, entry: _order(reader, key, entry, factory, folder)),
        _each(reader, table, "part", lambda key, entry: _part(reader, key, entry, factory)),
        _each(reader, table, "ask", lambda key, entry: _ask(reader, key, entry, factory)),
        _requirements(reader, table.get("requirements", [])),
        folder,
    )
    if reader.mistakes:
        raise PlanError(tuple(reader.mistakes))
    return plan


def _factory(reader: Reader, path: Path) -> Factory | None:
    try:
        return read(path)
    except FactoryError as wrong:
        for mistake in wrong.mistakes:
            reader.wrong("factory", mistake)
        return None


def _each(reader: Reader, table: dict[str, Any], key: str, make: Any) -> tuple[Any, ...]:
    entries = reader.tables(key, table.get(key, []))
    return tuple(made for number, entry in enumerate(entries, 1) if (made := make(f"{key} {number}", entry)) is not None)


def _time(reader: Reader, key: str, value: Any, low: float = 0.0) -> Ns:
    return ns(reader.number(key, value, low, LONGEST_S))


def _requirements(reader: Reader, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        reader.wrong("requirements", f"must be a list out of {', '.join(BUILT)}, not {value!r}")
        return ()
    return tuple(reader.choice(f"requirements[{i}]", one, BUILT) for i, one in enumerate(value))


def _fault(reader: Reader, key: str, entry: Any, factory: Factory | None) -> Fault | None:
    table = reader.table(key, entry)
    before = len(reader.mistakes)
    at = _time(reader, f"{key}.at", table.get("at"))
    lasts = _time(reader, f"{key}.for", table["for"], low=1e-6) if "for" in table else None
    target = reader.text(f"{key}.target", table.get("target"))
    kind = reader.choice(f"{key}.kind", table.get("kind"), tuple(faults.KINDS))
    if not kind:
        return None
    allowed = faults.KINDS[kind].parameters
    given = {}
    for name, value in table.items():
        if name in ("at", "for", "target", "kind"):
            continue
        if name not in allowed:
            reader.wrong(f"{key}.{name}", f"unknown key; {kind} takes at, for, target, kind{''.join(f', {n}' for n in allowed)}")
        else:
            given[name] = reader.number(f"{key}.{name}", value, allowed[name].low, allowed[name].high)
    if len(reader.mistakes) > before or factory is None:
        return None
    fault = Fault(at=at, kind=kind, target=target, lasts=lasts, parameters=given)
    try:
        faults.check(factory, [fault])
    except FaultError as wrong:
        reader.wrong(f"{key}.target", str(wrong))
        return None
    return fault


def _order(reader: Reader, key: str, entry: Any, factory: Factory | None, folder: Path) -> PlaceOrder:
    table = reader.table(key, entry, ("at", "recipe", "program"))
    recipe = table.get("recipe")
    recipe = reader.choice(f"{key}.recipe", recipe, tuple(factory.recipes)) if factory else str(recipe)
    program = table.get("program", "")
    if program and not _find(reader.text(f"{key}.program", program), folder).is_file():
        reader.wrong(f"{key}.program", f"there is no file {program!r} beside the plan")
    return PlaceOrder(recipe, str(program), _time(reader, f"{key}.at", table.get("at", 0.0)))


def _part(reader: Reader, key: str, entry: Any, factory: Factory | None) -> PlacePart:
    table = reader.table(key, entry, ("at", "target", "filament_mm"))
    target = table.get("target")
    target = reader.choice(f"{key}.target", target, takers(factory)) if factory else str(target)
    filament = reader.number(f"{key}.filament_mm", table.get("filament_mm", 1000.0), 0.0, 1e9)
    return PlacePart(_time(reader, f"{key}.at", table.get("at")), target, filament)


def takers(factory: Factory) -> tuple[str, ...]:
    """The machines that a part can be put on."""
    from twin.plant import plant_of

    return tuple(m.name for m in factory.machines.values() if hasattr(plant_of(m.type), "put"))


def _ask(reader: Reader, key: str, entry: Any, factory: Factory | None) -> Ask:
    table = reader.table(key, entry, ("at", "request", "machine"))
    machine = table.get("machine")
    return Ask(
        _time(reader, f"{key}.at", table.get("at")),
        reader.choice(f"{key}.request", table.get("request"), MACHINE_REQUESTS),
        reader.choice(f"{key}.machine", machine, tuple(factory.machines)) if factory else str(machine),
    )


# ---- writing


def text(plan: Plan) -> str:
    """A plan as the file that reads as the same plan."""
    head: dict[str, Any] = {"factory": plan.factory, "duration": _s(plan.duration), "seed": plan.seed}
    if plan.requirements:
        head["requirements"] = list(plan.requirements)
    pieces = ["".join(_lines(head))]
    for part in plan.parts:
        pieces.append(_entry("part", {"at": _s(part.at), "target": part.target, "filament_mm": part.filament_mm}))
    for order in plan.orders:
        program = {"program": order.program} if order.program else {}
        pieces.append(_entry("order", {"at": _s(order.at), "recipe": order.recipe, **program}))
    for ask in plan.asks:
        pieces.append(_entry("ask", {"at": _s(ask.at), "request": ask.request, "machine": ask.machine}))
    for fault in plan.faults:
        pieces.append(_entry("fault", _fault_table(fault)))
    return "\n".join(pieces)


def _fault_table(fault: Fault) -> dict[str, Any]:
    lasts = {"for": _s(fault.lasts)} if fault.lasts is not None else {}
    return {"at": _s(fault.at), **lasts, "target": fault.target, "kind": fault.kind, **fault.parameters}


def told(fault: Fault) -> str:
    """A fault in one line."""
    table = _fault_table(fault)
    return " ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in table.items())


def _s(time: Ns) -> float:
    return time / S


def _entry(kind: str, values: Mapping[str, Any]) -> str:
    return f"[[{kind}]]\n" + "".join(_lines(values))


def _lines(values: Mapping[str, Any]) -> Iterable[str]:
    for name, value in values.items():
        yield f"{name} = {_toml(value)}\n"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
