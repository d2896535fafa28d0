"""What people ask for, judged against the orders and the Image. Pure: it works on a Turn."""

import math
from collections.abc import Callable
from dataclasses import replace

from controller.nodes.grant import Errand, latch, uptime
from controller.orders.order import Happening, Operation, OperationState, Order, OrderError, Why
from controller.orders.turn import MOST_OPEN, Answer, OrderPlaced, Request, Turn
from controller.programs import check_name
from twin.clock import Ns, S
from twin.factory import Machine
from twin.node import Op

MOST_ERRANDS = 4
ERRAND_VALID_MS = 2000
ERRAND_PATIENCE = Ns(4 * S)
STOPPABLE = frozenset(set(OperationState) - {OperationState.WAITING, OperationState.DONE, OperationState.CANCELLED})
PAUSABLE = frozenset({OperationState.STARTING, OperationState.RUNNING})
_HELD = frozenset({OperationState.HELD})
_COMING = frozenset({OperationState.PLANNING, OperationState.SENDING, OperationState.READY})

KINDS: dict[str, dict[str, type]] = {
    "place_order": {"recipe": str, "program": str},
    "load_job": {"machine": str, "program": str},
    "start": {"machine": str},
    "pause": {"machine": str},
    "stop": {"machine": str},
    "reset": {"machine": str},
    "cancel_order": {"order": int},
    "write": {"machine": str, "signal": str, "value": object},
    "call": {"machine": str, "method": str, "arguments": dict},
}
MOST_ARGUMENTS = 32


def check_request(kind: object, args: object) -> None:
    """That a request is of a known kind with the arguments it takes.

    Raises:
        OrderError: what is wrong with it, and what is allowed.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise OrderError(f"unknown request {kind!r}; there are: {', '.join(KINDS)}", Why.ARGUMENT)
    wanted = KINDS[kind]
    if not isinstance(args, dict) or set(args) != set(wanted):
        raise OrderError(f"{kind} takes {', '.join(wanted)}, not {_told(args)}", Why.ARGUMENT)
    for name, value in args.items():
        if not _fits(value, wanted[name]):
            described = "value" if wanted[name] is object else wanted[name].__name__
            raise OrderError(f"{kind}: {name} must be a short {described}, not {str(value)[:64]!r}", Why.ARGUMENT)


def _fits(value: object, wanted: type) -> bool:
    if wanted is object:
        return type(value) in (bool, int, float, str) and _fits(value, type(value))
    if wanted is dict and isinstance(value, dict):
        return len(value) <= MOST_ARGUMENTS and all(_fits(k, str) and _fits(v, object) for k, v in value.items())
    if isinstance(value, str):
        return wanted is str and len(value) <= 256 and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return type(value) is wanted and not (isinstance(value, float) and not math.isfinite(value))


def _told(args: object) -> str:
    return ", ".join(str(name)[:32] for name in list(args)[:8]) or "nothing" if isinstance(args, dict) else "that"


def judge(turn: Turn, request: Request) -> None:
    """Meet a request or refuse it; either way it is answered, at once or when the node has judged its command."""
    try:
        check_request(request.kind, dict(request.args))
        answer = _JUDGES[request.kind](turn, request)
    except OrderError as refused:
        answer = Answer(request.id, False, str(refused), None, refused.why)
    if answer is not None:
        turn.answers.append(answer)


def _place(turn: Turn, request: Request) -> Answer:
    factory = turn.view.factory
    recipe, program = request.args["recipe"], request.args["program"]
    if recipe not in factory.recipes:
        raise OrderError(f"no recipe {recipe!r}; there are: {', '.join(factory.recipes) or 'none'}", Why.MISSING)
    steps = factory.recipes[recipe].operations
    for step in steps:
        takes = any(step.capability in machine.type.programs for machine in factory.capable(step.capability))
        if program or takes:
            check_name(dict(step.arguments).get("program", program))
    operations = tuple(Operation(step.capability, on=step.on, arguments=step.arguments) for step in steps)
    return _take_on(turn, request, recipe, program, operations)


def _load(turn: Turn, request: Request) -> Answer:
    machine = _machine(turn, request)
    program = check_name(request.args["program"])
    if machine.type.limits is None or not machine.type.programs:
        raise OrderError(f"{machine.name}: type {machine.type.name} plans no Jobs from programs", Why.ARGUMENT)
    operation = Operation(machine.type.programs[0], machine=machine.name, by_hand=True)
    return _take_on(turn, request, "", program, (operation,))


def _take_on(turn: Turn, request: Request, recipe: str, program: str, operations: tuple[Operation, ...]) -> Answer:
    waiting = sum(not order.ended for order in turn.orders.values())
    if waiting >= MOST_OPEN:
        raise OrderError(f"{waiting} orders are open, at most {MOST_OPEN}", Why.BUSY)
    order = Order(turn.next_order, recipe, program, operations, request.user)
    turn.next_order += 1
    turn.take_on(order)
    turn.events.append(OrderPlaced(f"order {order.id}", recipe, program, request.user))
    return Answer(request.id, True, f"order {order.id} placed", order.id)


def _start(turn: Turn, request: Request) -> Answer:
    machine = _machine(turn, request)
    name = machine.name
    if why := latch(turn.view.status(machine)):
        raise OrderError(f"{name}: node {machine.node} is {why}; reset it first")
    if (found := turn.on(name, PAUSABLE)) is not None:
        return _resume(turn, request, found[0])
    if (found := turn.on(name, _COMING)) is not None:
        _clear_all(turn, name, found[0].id)
        order, operation = found
        turn.orders[order.id] = order.put(order.at, replace(operation, told=True))
        return Answer(request.id, True, f"order {order.id} starts on {name}", order.id)
    if (found := turn.on(name, _HELD)) is not None and not (found[1].begun and found[1].cleared):
        return _again(turn, request, found[0])
    if cleared := _clear_all(turn, name, 0):
        return Answer(request.id, True, f"{name} counts as clear of {cleared}")
    raise OrderError(f"{name}: nothing to start")


def _resume(turn: Turn, request: Request, order: Order) -> Answer:
    if order.go:
        raise OrderError(f"order {order.id} runs already")
    going, now = replace(order, go=True, goes_at=order.revision + 1), order.current
    turn.orders[order.id] = going if now.job_id else going.put(order.at, replace(now, since=turn.view.now))
    return Answer(request.id, True, f"order {order.id} goes on", order.id)


def _again(turn: Turn, request: Request, order: Order) -> Answer:
    held = order.current
    turn.orders[order.id] = order = replace(order, go=True)
    if not held.begun:
        turn.happen(
            order.id,
            Happening.AGAIN,
            machine=held.machine if held.by_hand else "",
            told=False,
            job_id=0,
            command_id=0,
        )
        return Answer(request.id, True, f"order {order.id} is tried again", order.id)
    if held.job_id:
        raise OrderError(f"order {order.id} broke off while its Job ran ({held.reason}): stop it, then place a new one")
    status = turn.view.status(turn.view.factory.machines[held.machine])
    run = status.boot_id if status is not None and not held.job_id else held.boot_id
    turn.happen(order.id, Happening.RESUMED, boot_id=run)
    turn.lets_go(order.id)
    return Answer(request.id, True, f"order {order.id} goes on", order.id)


def _clear_all(turn: Turn, machine: str, but: int) -> str:
    """An operator's word that no part is left in a machine. Returns whose parts were believed to be."""
    found = list(turn.uncleared(machine, but))
    for order, index in found:
        turn.clear(order.id, index)
    return ", ".join(f"order {order.id}" for order, _ in found)


def _pause(turn: Turn, request: Request) -> Answer:
    machine = _machine(turn, request)
    found = turn.on(machine.name, PAUSABLE)
    if found is None:
        raise OrderError(f"{machine.name}: nothing runs")
    turn.orders[found[0].id] = replace(found[0], go=False)
    return Answer(request.id, True, f"order {found[0].id} pauses", found[0].id)


def _stop(turn: Turn, request: Request) -> Answer | None:
    """Accepted in every state. The wish ends with this scan; the node is told too, where a Job may be running."""
    machine = _machine(turn, request)
    found = turn.on(machine.name) or turn.on(machine.name, _HELD)
    done = f"{machine.name}: no order to stop"
    if found is not None:
        _cancel_one(turn, found[0], request.user)
        done = f"order {found[0].id} cancelled"
    if machine.type.limits is None:
        return Answer(request.id, True, done)
    if not turn.view.commandable(machine):
        return Answer(request.id, True, f"{done}; node {machine.node} is {turn.view.stands[machine.node]}")
    turn.stopped.add(machine.node)
    turn.errands[machine.node] = [_errand(turn, machine, Op.STOP, request.id)]
    return None


def _reset(turn: Turn, request: Request) -> Answer | None:
    machine = _machine(turn, request)
    if not turn.view.commandable(machine):
        raise OrderError(f"{machine.name}: node {machine.node} is {turn.view.stands[machine.node]}", Why.UNREACHED)
    waiting = turn.errands.setdefault(machine.node, [])
    if len(waiting) >= MOST_ERRANDS:
        raise OrderError(f"{machine.name}: {len(waiting)} commands wait already", Why.BUSY)
    waiting.append(_errand(turn, machine, Op.RESET, request.id))
    return None


def _errand(turn: Turn, machine: Machine, op: Op, request: int) -> Errand:
    view = turn.view
    sample = view.image.node(machine.node)
    assert sample.status is not None, "a node that may be commanded has been heard"
    not_after = (uptime(sample, view.now) + ERRAND_VALID_MS) & 0xFFFFFFFF
    until = Ns(view.now + ERRAND_PATIENCE)
    before = sample.status.command_id
    return Errand(op, turn.new_id(), sample.status.boot_id, not_after, until=until, request=request, before=before)


def _cancel(turn: Turn, request: Request) -> Answer:
    number = request.args["order"]
    order = turn.orders.get(number)
    if order is None or order.ended:
        raise OrderError(f"order {number} is not open", Why.MISSING)
    if order.current.state in PAUSABLE:
        raise OrderError(f"order {number} is at work: stop {order.current.machine}")
    _cancel_one(turn, order, request.user)
    return Answer(request.id, True, f"order {number} cancelled", number)


def _cancel_one(turn: Turn, order: Order, user: str) -> None:
    began = order.current.begun or order.current.state in PAUSABLE
    turn.happen(order.id, Happening.STOPPED, f"stopped by {user or 'an operator'}", begun=began)


def _machine(turn: Turn, request: Request) -> Machine:
    name = request.args["machine"]
    found = turn.view.factory.machines.get(name)
    if found is None:
        raise OrderError(f"no machine {name!r}; there are: {', '.join(turn.view.factory.machines)}", Why.MISSING)
    return found


_JUDGES: dict[str, Callable[[Turn, Request], Answer | None]] = {
    "place_order": _place,
    "load_job": _load,
    "start": _start,
    "pause": _pause,
    "stop": _stop,
    "reset": _reset,
    "cancel_order": _cancel,
}
