"""Where Operations may go: capable machines, what handovers lead to, and what must hold before a Part changes hands. Pure."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from controller.orders.order import Operation, OperationState, Order
from controller.orders.turn import Turn, View
from twin.factory import Factory, Machine

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
    last = order.operations[order.at - 1] if order.at else None
    carried = [handover for handover in factory.handovers if handover.by == "arm"]
    for machine in able:
        mine = [handover for handover in carried if handover.arm == machine.name]
        if order.current.capability == PICK and mine:
            sources = dict.fromkeys(handover.source for handover in mine)
            yield from (Way(machine, source) for source in sources if last is None or source == _holder(last))
        elif order.current.capability == PLACE and mine:
            if last is not None and last.machine == machine.name:
                yield from (Way(machine, last.source, h.target) for h in mine if h.source == last.source)
        elif last is None or not last.machine or _leads(factory, last, machine):
            yield Way(machine)


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


def reached_into(turn: Turn, machine: str, order_id: int) -> str:
    """Which arm of another order may be reaching into a machine, so that it must not move; empty when none does."""
    for order, operation in turn.operations_at(machine):
        broke_off = operation.begun and not operation.cleared and operation.state is not OperationState.DONE
        inside = operation.state in _MOVING or broke_off
        if inside and machine in (operation.source, operation.target) and order.id != order_id:
            return f"{operation.machine} may reach into {machine} for order {order.id}"
    return ""


def unfit(turn: Turn, order: Order, way: Way) -> str:
    """Why a part can't change hands on a way now; empty when it can."""
    capability = order.current.capability
    if way.source and capability == PICK:
        return _unfit_at(turn, order, way.source, "cannot_give")
    if way.target:
        return _unfit_at(turn, order, way.target, "cannot_take")
    return ""


def _unfit_at(turn: Turn, order: Order, name: str, question: str) -> str:
    machine = turn.view.factory.machines[name]
    if (busy := turn.on(name)) is not None and busy[1].state in _MOVING:
        return f"{name} works on order {busy[0].id}"
    if why := turn.foreign_job(machine) or left_in(turn, name, order.id):
        return why
    sample = turn.view.image.machine(name)
    if not sample.good:
        return f"{name}: {sample.every.cause}"
    asked = getattr(senses(machine.type.package), question)
    why = asked(sample.status, machine.params) if asked is not None else ""
    return f"{name}: {why}" if why else ""
