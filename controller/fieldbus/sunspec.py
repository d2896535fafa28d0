"""SunSpec: where a device's models lie is told by the device, as a chain of (id, length) behind the letters SunS. Pure.

A Map's places are then relative to their model; `together` names it (`twin.maps.sunspec`).
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from controller.modbus.pdu import ModbusError, Words
from twin.maps import Mapped
from twin.maps.sunspec import models

MARK = (0x5375, 0x6E53)
ENDS = (0x0000, 0xFFFF)
"""The id behind the last model; some devices say 0, others refuse to read there."""
MOST_MODELS = 64


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a device: its `length` counts what follows id and length."""

    id: int
    address: int
    length: int


@dataclass(frozen=True, slots=True)
class Chain:
    """What a device has: where its chain begins, and why it was left before its end; empty where it was not."""

    base: int
    models: tuple[Model, ...]
    doubt: str = ""


Walk = Generator[tuple[int, int], Words | ModbusError, Chain | str]


def walk(bases: Iterable[int]) -> Walk:
    """Yields (address, count) of holding registers to read, takes their words or the error, and returns the Chain, or why
    there is none."""
    told = []
    for base in bases:
        words = yield base, 2
        if isinstance(words, ModbusError):
            told.append(f"{base}: {words}")
        elif words != MARK:
            told.append(f"{base}: no SunS but {words[0]:04X} {words[1]:04X}")
        else:
            return (yield from _follow(base))
    return "no SunSpec chain: " + "; ".join(told)


def _follow(base: int) -> Generator[tuple[int, int], Words | ModbusError, Chain]:
    found: list[Model] = []
    at, doubt = base + 2, ""
    while True:
        if len(found) >= MOST_MODELS or at > 0xFFFE:
            doubt = f"no end of the chain after {len(found)} models"
            break
        words = yield at, 2
        if isinstance(words, ModbusError):
            doubt = f"{words} at {at} instead of the end of the chain"
            break
        if words[0] in ENDS:
            doubt = "" if words[0] == 0xFFFF else f"the chain ends with {words[0]}, not 65535"
            break
        found.append(Model(words[0], at, words[1]))
        at += 2 + words[1]
    return Chain(base, tuple(found), doubt)


def placed(rows: Sequence[Mapped], chain: Chain) -> tuple[list[Mapped], dict[str, str]]:
    """The rows with their places in the device, and why those (by name) that have none have none.

    A place beyond its model's length is none: repeated groups end where the device says.
    """
    by_id: dict[int, Model] = {}
    for model in chain.models:
        by_id.setdefault(model.id, model)
    made: list[Mapped] = []
    lost: dict[str, str] = {}
    for row in rows:
        ids = models(row.place.together)
        found = next((by_id[one] for one in ids if one in by_id), None)
        if not ids:
            made.append(row)
            continue
        made.append(row if found is None else _at(row, found))
        if found is None:
            lost[row.name] = f"the device has no model {'/'.join(map(str, ids))}"
        elif row.place.end > found.length + 2:
            lost[row.name] = f"model {found.id} of the device has only {found.length} registers"
    before = -1
    while before != len(lost):  # what is scaled by, or made with, what is not there is not there either
        before = len(lost)
        for row in rows:
            for other in (row.place.scale_from, row.place.plus_from):
                if other in lost and row.name not in lost:
                    lost[row.name] = f"it needs {other}: {lost[other]}"
    return made, lost


def _at(row: Mapped, model: Model) -> Mapped:
    place: Any = replace(row.place, address=row.place.address + model.address, together="")
    return replace(row, signal=replace(row.signal, binding=cast(Any, place)))
