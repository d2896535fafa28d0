"""What people have set of our own machines: checked, on disk before it is in force, and in force again after a restart.

`control.decide` is given the machine's Params with what was set in them, from the next scan on. Nothing else changes by it: what a
Command may hold at all is still its record's Range, and what a node does with it its own interlocks'.
"""

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller.aside import Aside, inline
from controller.folder import CoreError
from controller.nodes.epochs import write_durably
from controller.orders.order import OrderError, Why
from controller.orders.turn import Answer, InForce, Request
from twin.clock import Clock
from twin.factory import Factory
from twin.machine import Settable, settable
from twin.trace import Event

MOST_WAITING = 64
PREFIX = "setpoint/"


@dataclass(frozen=True, slots=True)
class SetpointChanged(Event):
    """Somebody has set something of a machine; values in SI."""

    signal: str
    value: float
    before: float
    user: str


class SetpointsError(CoreError):
    """The file of setpoints can't be read."""


class Setpoints:
    """The setpoints of all machines of ours.

    Attributes:
        values: by machine and name [SI].
        in_force: the Params of the machines where somebody has set something.
        changes: how often `values` has changed.

    Args:
        path: the file that they are kept in.
        write: where disk writes wait.
        answer: takes the answer to a request.
    """

    def __init__(
        self, factory: Factory, path: Path, clock: Clock, answer: Callable[[Answer], None], write: Aside = inline
    ) -> None:
        """Read what was set before; what a machine does not take any more is left out.

        Raises:
            SetpointsError: the file can't be read, or holds something else.
        """
        self._factory, self._path, self._clock, self._answer, self._write = factory, path, clock, answer, write
        self._known: dict[str, dict[str, Settable]] = {
            name: {one.name: one for one in settable(machine.type, machine.params)} for name, machine in factory.machines.items()
        }
        self.values = {name: {one.name: one.value for one in known.values()} for name, known in self._known.items()}
        self.in_force: dict[str, InForce] = {}
        self.changes = 0
        self._events: list[Event] = []
        self._kept = {place: value for place, value in _read(path).items() if self._takes(place, value)}
        for (machine, name), value in self._kept.items():
            self._put(machine, name, value)
        self._one_at_a_time, self._waiting = asyncio.Lock(), 0

    def has(self, machine: str) -> bool:
        """Whether it is a machine of ours: a write to it is for this door."""
        return machine in self._known

    def events(self) -> list[Event]:
        """What was set since this was asked last."""
        found, self._events = self._events, []
        return found

    def ask(self, tasks: asyncio.TaskGroup, request: Request) -> None:
        """Take a write on; it is answered when it is in force, or refused."""
        try:
            value = self._checked(request.args["machine"], _name(request), request.args["value"])
            if self._waiting >= MOST_WAITING:
                raise OrderError(f"{self._waiting} setpoints wait to be written down: try again later", Why.BUSY)
        except OrderError as refused:
            self._answer(Answer(request.id, False, str(refused), None, refused.why))
            return
        self._waiting += 1
        tasks.create_task(self._set(request, value))

    async def _set(self, request: Request, value: float) -> None:
        machine, name = request.args["machine"], _name(request)
        known = self._known[machine][name]
        try:
            async with self._one_at_a_time:
                kept = {**self._kept, (machine, name): value}
                await self._write(lambda: write_durably(self._path, _text(kept)))
                self._kept = kept
                before = self.values[machine][name]
                self._put(machine, name, value)
        except OSError as refused:
            self._answer(Answer(request.id, False, f"{machine}/{name} can't be written down: {refused}", None, Why.SHUT))
            return
        finally:
            self._waiting -= 1
        self._events.append(SetpointChanged(machine, name, value, before, request.user))
        shown = f"{known.unit.of(value):g} {known.unit.symbol}".rstrip()
        self._answer(Answer(request.id, True, f"{machine}/{name} is set to {shown}"))

    def _put(self, machine: str, name: str, value: float) -> None:
        self.values[machine] = {**self.values[machine], name: value}
        params = replace(self._factory.machines[machine].params, **self.values[machine])
        self.in_force[machine] = InForce(params, self._clock.now())
        self.changes += 1

    def _takes(self, place: tuple[str, str], value: float) -> bool:
        known = self._known.get(place[0], {}).get(place[1])
        return known is not None and known.range.low <= value <= known.range.high

    def _checked(self, machine: str, name: str, given: Any) -> float:
        """What somebody wants to set, in the declared unit, in SI.

        Raises:
            OrderError: no such setpoint, no number, or outside its Range.
        """
        known = self._known[machine].get(name)
        if known is None:
            there = ", ".join(self._known[machine]) or "none"
            raise OrderError(f"{machine} has no setpoint {name!r}; there are: {there}", Why.MISSING)
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not _plain(given):
            raise OrderError(f"{machine}/{name} must be a number, not {str(given)[:64]}", Why.ARGUMENT)
        value, symbol = known.unit.si(float(given)), known.unit.symbol
        if not known.range.low <= value <= known.range.high:
            limits = f"{known.unit.of(known.range.low):g} to {known.unit.of(known.range.high):g} {symbol}".rstrip()
            raise OrderError(f"{machine}/{name}={given:g} is outside {limits}", Why.RANGE)
        return value


def _name(request: Request) -> str:
    name: str = request.args["signal"]
    return name.removeprefix(PREFIX)


def _plain(given: int | float) -> bool:
    """Whether it is a finite number, and no zero with a sign."""
    try:
        number = float(given)
    except OverflowError:
        return False
    return math.isfinite(number) and not (number == 0.0 and math.copysign(1.0, number) < 0.0)


def _text(kept: Mapping[tuple[str, str], float]) -> str:
    return json.dumps([[machine, name, value] for (machine, name), value in sorted(kept.items())]) + "\n"


def _read(path: Path) -> dict[tuple[str, str], float]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {(str(machine), str(name)): float(value) for machine, name, value in listed}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as broken:
        raise SetpointsError(f"{path}: {broken}; move it away to begin with the factory file's setpoints") from broken
