"""Recipes of a factory file: ordered capabilities, each with the machine that it is bound to and its arguments."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twin.machine import MachineType, MachineTypeError, make_params
from twin.tables import Reader

Arguments = tuple[tuple[str, Any], ...]
"""Names and values as the file has them, in declared units."""


CARRIES = PICK, PLACE = "pick", "place"
"""What an arm must be able to do that carries Parts."""


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a recipe.

    Attributes:
        on: the machine that must carry it out; empty where any may that can.
        arguments: what its type is to be told beside; the others keep their defaults.
    """

    capability: str
    on: str = ""
    arguments: Arguments = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ordered list of capabilities that make a part."""

    name: str
    operations: tuple[Step, ...]


def recipe(reader: Reader, name: str, value: Any, kinds: Mapping[str, MachineType]) -> Recipe:
    """The recipe of a table; every mistake is noted. `kinds`: the type of each machine."""
    key = f"recipes.{name}"
    table = reader.table(key, value, ("operations",))
    offered = tuple(dict.fromkeys(c for kind in kinds.values() for c in kind.capabilities))
    operations = table.get("operations")
    if not isinstance(operations, list) or not operations:
        reader.wrong(f"{key}.operations", f"must be a list of capabilities out of {', '.join(offered) or '(none)'}")
        operations = []
    noted = len(reader.mistakes)
    steps = tuple(_step(reader, f"{key}.operations[{i}]", o, offered, kinds) for i, o in enumerate(operations))
    if len(reader.mistakes) == noted and any(set(CARRIES) <= set(kind.capabilities) for kind in kinds.values()):
        _check_carrying(reader, f"{key}.operations", [step.capability for step in steps])
    return Recipe(name, steps)


def _check_carrying(reader: Reader, key: str, capabilities: list[str]) -> None:
    """Nothing is checked, and nobody else can have the part, while it is in an arm's jaws."""
    pairs = enumerate(itertools.pairwise(["", *capabilities]))
    wrong = next((found for found in pairs if (found[1][0] == PICK) != (found[1][1] == PLACE)), None)
    if wrong is not None:
        i, (before, now) = wrong
        reader.wrong(f"{key}[{i}]", f"{now} after {before or 'nothing'}: {PLACE} must come right after {PICK}, nothing between")


def concerns_parts(kind: MachineType, capability: str) -> bool:
    """Whether an operation has to do with its order's Part: all have, but what an arm does beside picking and placing."""
    return capability in CARRIES or not set(CARRIES) <= set(kind.capabilities)


def _step(reader: Reader, key: str, value: Any, offered: tuple[str, ...], kinds: Mapping[str, MachineType]) -> Step:
    if not isinstance(value, dict):
        return Step(reader.choice(key, value, offered))
    if "do" not in value:
        reader.wrong(f"{key}.do", f"missing; it must be one of {', '.join(offered) or '(none)'}")
        return Step("")
    capability = reader.choice(f"{key}.do", value["do"], offered)
    able = {name: kind for name, kind in kinds.items() if capability in kind.capabilities}
    on = reader.choice(f"{key}.on", value["on"], tuple(able)) if capability and "on" in value else ""
    given = {name: item for name, item in value.items() if name not in ("do", "on")}
    for kind in {kind.name: kind for name, kind in able.items() if not on or name == on}.values():
        try:
            record = arguments_of(kind, capability, tuple(given.items()))
            if getattr(record, "at", ""):
                reader.choice(f"{key}.at", record.at, tuple(kinds))
        except MachineTypeError as unusable:
            reader.wrong(key, f"{capability} of type {kind.name}: {unusable}")
    return Step(capability, on, tuple(given.items()))


def arguments_of(kind: MachineType, capability: str, given: Arguments) -> Any:
    """The record of a capability's arguments, in SI; None where its type declares none.

    Raises:
        MachineTypeError: unknown name, wrong type, outside its range; the text names it and what is allowed.
    """
    declared = kind.arguments.get(capability)
    if declared is not None:
        return make_params(declared, dict(given))
    if given:
        raise MachineTypeError(f"{given[0][0]}: unknown; {capability} takes no arguments")
    return None
