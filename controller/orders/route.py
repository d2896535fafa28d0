"""Where Operations may go: capable machines, what handovers lead to, and what must hold before a Part changes hands. Pure."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from controller.orders.order import Operation, OperationState, Order
from controller.orders.turn import Turn, View
from twin.factory import Factory, Machine
from twin.recipes import concerns_parts
from twin.trace import Sample

PICK, PLACE = "pick", "place"
_MOVING = (OperationState.STARTING, OperationState.RUNNING)


@dataclass(frozen=True, slots=True)
class Senses:
    """What a machine type's control says of Parts; each may be missing.

    Attributes:
        ready: whether one is where the machine takes it; done: whether the machine is done with it.
        longest: how long [s] it may take.
        cannot_give: why its Part can't be taken off now; cannot_take: why none can be put in. Empty when it can.
        stands: where its axes are, for Jobs that are planned from there, once its node is homed.
    """

    ready: Callable[[Any], bool] | None
    done: Callable[[Any], bool] | None
    longest: Callable[[Any], float] | None
    cannot_give: Callable[[Any, Any], str] | None
    cannot_take: Callable[[Any, Any], str] | None
    stands: Callable[[Any], tuple[float, ...]] | None


@lru_cache(maxsize=256)
def senses(package: str) -> Senses:
    """The optional functions of a machine type's control."""
    control = importlib.import_module(f"{package}.control")
    return Senses(*(getattr(control, name, None) for name in Senses.__slots__))


def starts_at(view: View, machine: Machine) -> tuple[float, ...]:
    """Where a machine's axes stand, where its Jobs are planned from there and that is known; else empty."""
    stands, node, sample = senses(machine.type.package).stands, view.status(machine), view.image.machine(machine.name)
    if stands is None or node is None or not node.homed or not sample.good:
        return ()
    return stands(sample.status)


def void(turn: Turn, machine: Machine, now: Operation) -> bool:
    """Whether a Job was planned from where its machine stood before its node was started anew."""
    status = turn.view.status(machine)
    planned_there = senses(machine.type.package).stands is not None
    return planned_there and status is not None and now.boot_id not in (0, status.boot_id)


@dataclass(frozen=True, slots=True)
class Way:
    """A machine that may carry an operation out, and between which others it carries the Part, where it does."""

    machine: Machine
    source: str = ""
    target: str = ""


def ways(factory: Factory, order: Order) -> tuple[Way, ...]:
    """All ways that an order's present operation may go, whether they are free or not."""
    now = order.current
    wanted = now.machine or now.on
    able = [machine for machine in factory.capable(now.capability) if wanted in ("", machine.name)]
    return tuple(_ways(factory, order, able))


def _ways(factory: Factory, order: Order, able: list[Machine]) -> Iterator[Way]:
    before = last_with_part(factory, order)
    last = None if before is None else order.operations[before]
    carried = [handover for handover in factory.handovers if handover.by == "arm"]
    for machine in able:
        mine = [handover for handover in carried if handover.arm == machine.name]
        if not concerns_parts(machine.type, order.current.capability):
            yield Way(machine)
        elif order.current.capability == PICK and mine:
            sources = dict.fromkeys(handover.source for handover in mine)
            yield from (Way(machine, source) for source in sources if last is None or source == _holder(last))
        elif order.current.capability == PLACE and mine:
            if last is not None and last.machine == machine.name:
                yield from (Way(machine, last.source, h.target) for h in mine if h.source == last.source)
        elif last is None or not last.machine or _leads(factory, last, machine):
            yield Way(machine)


def last_with_part(factory: Factory, order: Order) -> int | None:
    """Index of the last operation before the present one that had to do with the part; None where there is none."""
    for index in reversed(range(order.at)):
        machine = factory.machines.get((done := order.operations[index]).machine)
        if machine is None or concerns_parts(machine.type, done.capability):
            return index
    return None


def _leads(factory: Factory, last: Operation, machine: Machine) -> bool:
    """Whether a part comes from the last operation to a machine; where no handover is declared, to any."""
    if last.target:
        return last.target == machine.name
    targets = [handover.target for handover in factory.handovers if handover.source == last.machine]
    return not targets or machine.name in targets


def _holder(last: Operation) -> str:
    """The machine that has the part after an operation."""
    return last.target or last.machine


def left_in(turn: Turn, machine: str, order_id: int) -> str:
    """Why a machine may not be clear; empty when it is."""
    left = next(turn.uncleared(machine, order_id), None)
    return f"a part of order {left[0].id} may still be in {machine}: start it when it is clear" if left else ""


def in_hand(turn: Turn, order: Order, machine: Machine) -> str:
    """Why an arm must not be taken by an order: another one's part may be in its jaws, and has to be put down first."""
    return left_in(turn, machine.name, order.id) if senses(machine.type.package).stands is not None else ""


def carriable(turn: Turn, order: Order, name: str) -> tuple[tuple[Order, int], ...]:
    """Finished operations of ended orders whose part lies in a machine, where an order is to carry just that part."""
    left = tuple(turn.uncleared(name, order.id))
    mine = order.current.capability == PICK and last_with_part(turn.view.factory, order) is None
    fit = all(o.ended and o.program == order.program and o.operations[i].state is OperationState.DONE for o, i in left)
    return left if mine and fit else ()


def took_over(turn: Turn, order_id: int) -> None:
    """The present operation has the part, so the one before has not, nor has the order that had left it there."""
    order, factory = turn.orders[order_id], turn.view.factory
    now = order.current
    if not concerns_parts(factory.machines[now.machine].type, now.capability):
        return
    if (before := last_with_part(factory, order)) is not None:
        turn.clear(order_id, before)
    for other, index in carriable(turn, order, now.source):
        turn.clear(other.id, index)


def reached_into(turn: Turn, machine: str, order_id: int, but: str = "") -> str:
    """Which arm of another order, `but` one, may be inside a machine, so that it must not move; empty when none is."""
    for order, operation in turn.operations_at(machine):
        if operation.inside and machine in operation.reaches and order.id != order_id and operation.machine != but:
            return f"{operation.machine} may reach into {machine} for order {order.id}"
    return ""


def unfit(turn: Turn, order: Order, way: Way) -> str:
    """Why a part can't change hands on a way now; empty when it can."""
    now, arm = order.current, way.machine
    if senses(arm.type.package).stands is not None and (why := _doubted(turn.view.image.machine(arm.name))):
        return f"{arm.name}: {why}"
    if way.source and now.capability == PICK:
        why = _at_rest(turn, order, arm, way.source)
        if not why and not carriable(turn, order, way.source):
            why = left_in(turn, way.source, order.id)
        return why or _answer(turn, way.source, "cannot_give") or _answer(turn, arm.name, "cannot_take")
    if way.target:
        why = _at_rest(turn, order, arm, way.target) or left_in(turn, way.target, order.id)
        return why or _answer(turn, way.target, "cannot_take")
    entered = (name for name in now.reaches if name in turn.view.factory.machines)
    return next((why for name in entered if (why := _at_rest(turn, order, arm, name))), "")


def _at_rest(turn: Turn, order: Order, arm: Machine, name: str) -> str:
    """Why an arm must not reach into a machine; empty when nothing moves there."""
    machine, sample = turn.view.factory.machines[name], turn.view.image.machine(name)
    if (busy := turn.on(name)) is not None and busy[1].state in _MOVING:
        return f"{name} works on order {busy[0].id}"
    if why := turn.foreign_job(machine) or reached_into(turn, name, order.id, arm.name):
        return why
    return "" if sample.good else f"{name}: {sample.every.cause}"


def _answer(turn: Turn, name: str, question: str) -> str:
    """Why a machine's control says no; a value that is not to be believed says no as well."""
    machine, sample = turn.view.factory.machines[name], turn.view.image.machine(name)
    asked = getattr(senses(machine.type.package), question)
    if asked is None:
        return ""
    why = _doubted(sample) or asked(sample.status, machine.params)
    return f"{name}: {why}" if why else ""


def _doubted(sample: Sample[Any]) -> str:
    return ", ".join(f"{signal} is {belief.cause}" for signal, belief in sample.doubts.items())
