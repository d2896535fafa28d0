"""Order → Recipe → Operations → Jobs on capable, free, healthy Machines. Pure: one call judges one scan's news.

An Operation changes by the table in `orders.order` alone; this page finds out what has happened to it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.nodes.grant import Errand, Standing, latch, uptime, verdict, words
from controller.orders.order import TABLE, Happening, Operation, OperationState, Order
from controller.orders.requests import judge
from controller.orders.review import review
from controller.orders.route import (
    Way,
    in_hand,
    left_in,
    reached_into,
    senses,
    starts_at,
    took_over,
    unfit,
    void,
    ways,
)
from controller.orders.turn import (
    Answer,
    Fact,
    Failed,
    MakePlan,
    Orders,
    Planned,
    PlanWarned,
    Request,
    Send,
    Sent,
    Turn,
    View,
    Work,
)
from twin.clock import MS, Ns, S, ns
from twin.factory import Machine
from twin.machine import IDLE, STOP, Wish
from twin.node import JobState, NodeStatus, Op, Reason
from twin.recipes import concerns_parts
from twin.trace import Event

START_VALID_MS = 5000
GRACE = S
"""How long a node may show an older Job after it has carried a start out."""
SURELY_STOPPED = 4
"""Unheard for so many of its leases, a node has had no heartbeat for longer than one, and has come to rest."""


@dataclass(frozen=True)
class Dispatched:
    """What one scan's turn comes to.

    Attributes:
        wishes: what is wanted of every machine.
        starts: START commands to offer to nodes; each is offered until it is judged, under one id.
        errands: commands that people asked for. In `stopped` nodes they displace all that waits.
    """

    orders: Orders
    wishes: Mapping[str, Wish]
    starts: Mapping[str, Errand]
    errands: Mapping[str, Sequence[Errand]]
    stopped: frozenset[str]
    work: tuple[Work, ...]
    answers: tuple[Answer, ...]
    events: tuple[Event, ...]


def dispatch(orders: Orders, view: View, requests: Iterable[Request], facts: Iterable[Fact]) -> Dispatched:
    """Judge requests and facts, then look at every open order."""
    turn = Turn(view, dict(orders.open), orders.next_order, orders.next_id)
    for fact in facts:
        _take(turn, fact)
    for request in requests:
        judge(turn, request)
    for order in list(turn.orders.values()):
        if not order.ended and not review(turn, order):
            _LOOKS.get(order.current.state, _rest)(turn, turn.orders[order.id])
    made = turn.result(orders)
    return Dispatched(
        made,
        _wishes(turn),
        turn.starts,
        turn.errands,
        frozenset(turn.stopped),
        tuple(turn.work),
        tuple(turn.answers),
        tuple(turn.events),
    )


def _take(turn: Turn, fact: Fact) -> None:
    """News of a Job; news of one that no operation at work has is out of date."""
    order = next((o for o in turn.orders.values() if o.current.job_id == fact.job_id and not o.ended), None)
    if order is None:
        return
    state = order.current.state
    match fact:
        case Planned() if state is OperationState.PLANNING:
            made = {"duration": fact.duration, "waiting": fact.waiting, "digest": fact.digest}
            turn.happen(order.id, Happening.PLANNED, "", chunks=fact.chunks, **made)
            turn.events += [PlanWarned(f"order {order.id}", warning) for warning in fact.warnings]
            turn.work.append(Send(fact.job_id, order.current.machine))
        case Sent() if state is OperationState.SENDING:
            turn.happen(order.id, Happening.SENT)
        case Failed() if state not in (OperationState.WAITING, OperationState.HELD):
            turn.happen(order.id, Happening.FAILED, fact.text)
        case _:
            pass


def _rest(turn: Turn, order: Order) -> None:
    """Planned or sent: only a fact or a request changes it."""


def _seek(turn: Turn, order: Order) -> None:
    """Give a waiting operation to a machine that can take it now."""
    if turn.view.shut:
        turn.explain(order, turn.view.shut)
        return
    reasons = []
    for way in ways(turn.view.factory, order):
        why = _give(turn, order, way)
        if not why:
            return
        reasons.append(why)
    turn.explain(order, "; ".join(dict.fromkeys(reasons)) or f"no machine here can {order.current.capability} its part")


def _give(turn: Turn, order: Order, way: Way) -> str:
    """Hand an operation to a machine, or say why not yet."""
    machine = way.machine
    taken = turn.on(machine.name)
    if taken is not None:
        return f"{machine.name} works on order {taken[0].id}"
    if why := turn.view.unable(machine):
        return why
    if machine.type.limits is not None:
        if why := turn.foreign_job(machine) or in_hand(turn, order, machine) or unfit(turn, order, way):
            return why
        _ask_for_job(turn, order, way)
        return ""
    return _enter(turn, order, machine)


def _ask_for_job(turn: Turn, order: Order, way: Way) -> None:
    machine, now = way.machine, order.current
    node = turn.view.status(machine)
    assert node is not None, "a machine that is able has been heard"
    start = starts_at(turn.view, machine)
    # A Job that is planned from where its machine stands is another one each time.
    job_id = turn.new_id() if senses(machine.type.package).stands is not None or not now.job_id else now.job_id
    between, digest = {"source": way.source, "target": way.target}, _digest(order, way.source)
    turn.happen(order.id, Happening.TAKEN, machine=machine.name, job_id=job_id, boot_id=node.boot_id, **between)
    work = MakePlan(job_id, machine.name, now.capability, order.program, now.arguments, start, **between, digest=digest)
    turn.work.append(work)


def _digest(order: Order, source: str) -> str:
    """Of the program's text that an order's part was made of."""
    return next((o.digest for o in reversed(order.operations[: order.at]) if source and o.machine == source), "")


def _enter(turn: Turn, order: Order, machine: Machine) -> str:
    sensed = senses(machine.type.package)
    if sensed.done is None:
        why = f"type {machine.type.name} plans no Jobs and can't tell when it is done"
        turn.happen(order.id, Happening.FAILED, why)
        return ""
    status = turn.view.image.machine(machine.name).status
    if why := left_in(turn, machine.name, order.id) or reached_into(turn, machine.name, order.id):
        return why
    if sensed.done(status):
        return f"{machine.name}: a part is still at its exit"
    if sensed.ready is not None and not sensed.ready(status):
        return f"{machine.name}: no part at its entry"
    node = turn.view.status(machine)
    assert node is not None, "a machine that is able has been heard"
    turn.happen(order.id, Happening.ENTERED, machine=machine.name, begun=True, boot_id=node.boot_id)
    turn.lets_go(order.id)
    took_over(turn, order.id)
    return ""


def _finish(turn: Turn, order: Order) -> None:
    """An operation is done: an arm has left where an earlier Job broke off; a Job leaves its part in its machine."""
    now = order.current
    kind = turn.view.factory.machines[now.machine].type
    took_over(turn, order.id)
    turn.withdraw(now.machine)
    leaves_part = now.job_id and not now.target and concerns_parts(kind, now.capability)
    turn.happen(order.id, Happening.FINISHED, cleared=not leaves_part)


def _command(turn: Turn, order: Order) -> None:
    """Decide to start a Job that is on its node. The start is written once the decision is safe on disk."""
    now, view = order.current, turn.view
    machine = view.factory.machines[now.machine]
    why = view.unable(machine) or turn.foreign_job(machine)
    if not why and void(turn, machine, now):
        turn.happen(order.id, Happening.FORGOTTEN)
        return
    why = why or reached_into(turn, machine.name, order.id) or unfit(turn, order, Way(machine, now.source, now.target))
    why = why or view.shut
    if not why and not now.told:
        why = "waits for an operator's start" if now.by_hand else left_in(turn, machine.name, order.id)
    if why or not order.go:
        turn.explain(order, why)
        return
    sample = view.image.node(machine.node)
    assert sample.status is not None, "a node that is ours has been heard"
    not_after = (uptime(sample, view.now) + START_VALID_MS) & 0xFFFFFFFF
    run = sample.status.boot_id
    turn.happen(order.id, Happening.COMMANDED, command_id=turn.new_id(), boot_id=run, not_after=not_after)


def _watch_start(turn: Turn, order: Order) -> None:
    """Offer the start until the node has judged it. Whatever was lost on the way, its result block tells."""
    now, view = order.current, turn.view
    machine = view.factory.machines[now.machine]
    status = view.status(machine)
    if status is None:
        _unheard(turn, order, machine)
        return
    errand = Errand(Op.START, now.command_id, now.boot_id, now.not_after, now.job_id)
    found = verdict(errand, status)
    if found is None:
        if view.settled.get(order.id, 0) >= order.revision:
            turn.starts[machine.node] = errand
    elif found.done:
        turn.happen(order.id, Happening.STARTED, begun=True)
        if not now.source:  # an arm has the part only when it is done
            took_over(turn, order.id)
    else:
        turn.happen(order.id, Happening.FAILED, f"start of Job {found.text}", begun=found.acted)


def _watch(turn: Turn, order: Order) -> None:
    """Whether the machine is done, or can't go on."""
    now, view = order.current, turn.view
    machine = view.factory.machines[now.machine]
    status = view.status(machine)
    if status is None:
        _unheard(turn, order, machine)
        return
    turn.explain(order, "")
    if now.job_id:
        happening, reason = _of_job(now, status, Ns(view.image.node(machine.node).at - now.since))
    else:
        happening, reason = _of_part(turn, order, machine, status)
    if happening is Happening.FINISHED:
        _finish(turn, order)
    elif happening is not None:
        turn.happen(order.id, happening, reason, cleared=False)


def _unheard(turn: Turn, order: Order, machine: Machine) -> None:
    """A node that is not heard, or not believed. What its lease's end has surely stopped is held; the rest waits.

    Of a node that this run of the controller has never heard nothing is sure.
    """
    view, now = turn.view, order.current
    stand, sample = view.stands[machine.node], view.image.node(machine.node)
    why = f"node {machine.node} is {stand}"
    limit = Ns(SURELY_STOPPED * view.factory.nodes[machine.node].lease_ms * MS)
    silent = sample.status is not None and view.now - max(sample.at, now.since) >= limit
    ended = silent and now.state is OperationState.RUNNING and machine.type.on_link_loss is STOP
    if stand.standing is Standing.REFUSED or ended:
        turn.happen(order.id, Happening.FAILED, why, begun=True)
    else:
        turn.explain(order, why)


def _reconsider(turn: Turn, order: Order) -> None:
    """A Job whose node fell silent may have ended as it should: once the node is heard again, what it says counts."""
    now, view = order.current, turn.view
    if not now.begun or not now.job_id:
        return
    status = view.status(view.factory.machines[now.machine])
    if status is None or (status.boot_id, status.job_id) != (now.boot_id, now.job_id):
        return
    if status.job_state is JobState.DONE:
        _finish(turn, order)


def _of_job(now: Operation, status: NodeStatus, elapsed: Ns) -> tuple[Happening | None, str]:
    """What a node's Status says of an operation's Job."""
    if status.boot_id != now.boot_id:
        return Happening.FAILED, "the node was restarted while its Job ran"
    if status.job_id != now.job_id or status.job_state is JobState.NONE:
        late = elapsed >= GRACE
        return (Happening.FAILED, f"the node no longer has Job {now.job_id:#010x}") if late else (None, "")
    if status.job_state is JobState.DONE:
        return Happening.FINISHED, ""
    if status.job_state is JobState.ABORTED or status.latched:
        why = latch(status) or (words(status.job_fault.name) if status.job_fault is not Reason.NONE else "aborted")
        return Happening.FAILED, f"Job broke off: {why}"
    return None, ""


def _of_part(turn: Turn, order: Order, machine: Machine, status: NodeStatus) -> tuple[Happening | None, str]:
    """What a machine without Jobs says of its part."""
    if why := latch(status):
        return Happening.FAILED, f"node {machine.node} is {why}"
    if order.current.boot_id not in (0, status.boot_id):
        return Happening.FAILED, f"node {machine.node} was restarted while it worked on a part"
    stand = turn.view.stands[machine.node]
    if stand.standing is Standing.FOREIGN:
        return Happening.FAILED, f"node {machine.node} is {stand}"
    sample, sensed = turn.view.image.machine(machine.name), senses(machine.type.package)
    if sample.good and sensed.done is not None and sensed.done(sample.status):
        return Happening.FINISHED, ""
    if order.go and sensed.longest is not None:
        in_force = turn.view.in_force(machine)
        longest = sensed.longest(in_force.params)
        # Another speed since then makes a part of the way longer or shorter: the whole of it is granted anew.
        if turn.view.now - max(order.current.since, in_force.since) > ns(longest):
            return Happening.FAILED, f"{machine.name} has not come to its end in {longest:.1f} s"
    return None, ""


_LOOKS: dict[OperationState, Callable[[Turn, Order], None]] = {
    OperationState.WAITING: _seek,
    OperationState.READY: _command,
    OperationState.STARTING: _watch_start,
    OperationState.RUNNING: _watch,
    OperationState.HELD: _reconsider,
}
_WISHED = (OperationState.STARTING, OperationState.RUNNING)


def _wishes(turn: Turn) -> dict[str, Wish]:
    """What is wanted of every machine. What may not go yet is held, not given up: a printer keeps its heat and its place."""
    wishes = dict.fromkeys(turn.view.factory.machines, IDLE)
    for order in turn.orders.values():
        now = order.current
        if now.state in _WISHED:
            decided = turn.view.settled.get(order.id, 0) >= order.goes_at
            wishes[now.machine] = Wish(now.capability, order.go and decided)
    return wishes


def taken_over(orders: Orders, now: Ns) -> Orders:
    """The orders of a book as a new run of the controller starts with them.

    What had moved nothing is begun anew; what may have moved something waits for what its node says.
    """
    found = {}
    for order in orders.open.values():
        operation = replace(order.current, since=now)
        if Happening.FORGOTTEN in TABLE[operation.state]:
            operation = operation.after(Happening.FORGOTTEN, now)
        found[order.id] = order.put(order.at, operation)
    return replace(orders, open=found)
