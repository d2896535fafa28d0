"""One scan: what is believed, wanted and asked for goes in; what to write, to do and to tell comes out. Pure.

New behaviour belongs in a machine's `control.py` or in `dispatch.py`, not here.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from controller.alarms import Alarms, latches, machine_events, node_events
from controller.dispatch import Dispatched, dispatch
from controller.image import Image
from controller.modbus.pdu import Words
from controller.nodes.grant import (
    Errand,
    Grant,
    Stand,
    Standing,
    attend,
    claim_patience,
    stand,
    strange,
    why_of,
)
from controller.nodes.owed import looked_up
from controller.orders.intents import Intent
from controller.orders.order import Why
from controller.orders.review import fresh_ids
from controller.orders.turn import Answer, Fact, InForce, Orders, Request, View, Work
from twin.clock import Ns
from twin.machine import Wish
from twin.node import NodeCommand
from twin.trace import Event
from twin.wire import WireError, encode

Stands = Mapping[str, Stand]
_NONE = Grant()


@dataclass(frozen=True)
class State:
    """What one scan hands to the next.

    Attributes:
        owner: who we are in a Grant.
        waiting: commands that each node has not judged yet, oldest first.
        owed: commands whose outcome the book does not have yet, by id, be they of an earlier run: their nodes are asked.
        known: the highest epoch that this state directory had given out when the run began; None where nobody knows.
        inherited: orders below this number are from earlier runs.
    """

    owner: int
    orders: Orders = field(default_factory=Orders)
    grants: Mapping[str, Grant] = field(default_factory=dict)
    stands: Stands = field(default_factory=dict)
    latches: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, tuple[Errand, ...]] = field(default_factory=dict)
    alarms: Alarms = frozenset()
    owed: Mapping[int, Intent] = field(default_factory=dict)
    known: int | None = None
    inherited: int = 0


@dataclass(frozen=True)
class News:
    """What has come in since the last scan.

    Attributes:
        epochs: fresh ones, safe on disk, for the nodes that waited for them.
        settled: the revision of each order that is safe on disk.
        noted: the commands that are; all of them unless told.
        shut: why nothing can be written down now; empty when it can.
        utc_ns: for people.
        set: the Params of machines where people have set something, safe on disk.
    """

    requests: Iterable[Request] = ()
    facts: Iterable[Fact] = ()
    epochs: Mapping[str, int] = field(default_factory=dict)
    settled: Mapping[int, int] = field(default_factory=dict)
    noted: Container[int] | None = None
    shut: str = ""
    utc_ns: int = 0
    set: Mapping[str, InForce] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a scan comes to.

    Attributes:
        grants: the Grant of each node that may be written to.
        commands: the registers of each machine's Command where the node is ours; the others are only read.
        epochs: nodes that wait for an epoch, and the one it must be above.
        intents: commands for the book: those that are new, and those whose outcome is known now.
    """

    grants: Mapping[str, NodeCommand]
    commands: Mapping[str, Words]
    epochs: Mapping[str, int]
    work: tuple[Work, ...]
    answers: tuple[Answer, ...]
    events: tuple[Event, ...]
    intents: tuple[Intent, ...] = ()


def scan(image: Image, state: State, news: News, now: Ns) -> tuple[State, Outcome]:
    """Judge the Image: claim and keep nodes, move the orders on, decide every machine's Command."""
    grants, stands, wanted = _claims(image, state, news.epochs, now)
    doubts, highest = _strange(image, state)
    old = state.inherited if any(not state.grants.get(name, _NONE).epoch for name in doubts) else 0
    view = View(image.shape.factory, image, stands, news.settled, now, news.shut, doubts, old, news.set)
    orders = replace(state.orders, next_id=fresh_ids(state.orders.next_id, highest)) if old else state.orders
    requests = tuple(news.requests)
    done = dispatch(orders, view, requests, news.facts)
    waiting, answers = _errands(image, state, done, grants, stands, news, now)
    users = {request.id: request.user for request in requests}
    fresh = {e.command_id: e.intent(n, users.get(e.request, ""), news.utc_ns) for n, asked in done.errands.items() for e in asked}
    owed, intents = _owed(image, state, stands, waiting, fresh)
    commands, unfit, told = _decide(view, done.wishes)
    alarms, raised = machine_events(image, state.alarms, unfit)
    latched = latches(image, state.latches)
    events = (*node_events((state.stands, state.latches), (stands, latched)), *done.events, *told, *raised)
    made = replace(state, orders=done.orders, grants=grants, stands=stands, latches=latched, waiting=waiting, alarms=alarms)
    made = replace(made, owed=owed)
    nodes = image.shape.factory.nodes
    written = {name: grants[name].command(state.owner, node.lease_ms) for name, node in nodes.items() if stands[name].written}
    return made, Outcome(written, commands, wanted, done.work, (*done.answers, *answers), events, intents)


def _claims(
    image: Image, state: State, epochs: Mapping[str, int], now: Ns
) -> tuple[dict[str, Grant], dict[str, Stand], dict[str, int]]:
    """Every node's Grant with a changed heartbeat, whose it is, and which nodes need an epoch."""
    grants, stands, wanted = {}, {}, {}
    for name, node in image.shape.factory.nodes.items():
        sample, grant = image.node(name), state.grants.get(name, Grant())
        found = stand(grant, sample, image.refused.get(name, ""), state.owner, now, claim_patience(node.scan_ms), state.known or 0)
        if found.standing is Standing.FREE and sample.status is not None:
            highest = max(grant.epoch, sample.status.epoch)
            if epochs.get(name, 0) > highest:
                grant, found = grant.claim(epochs[name], sample.status, now), Stand(Standing.CLAIMING)
            else:
                wanted[name] = highest
        grants[name], stands[name] = grant.beat(), found
    return grants, stands, wanted


def _strange(image: Image, state: State) -> tuple[dict[str, str], int]:
    """Nodes that somebody else has commanded since the book was written, with what says so; their highest epoch."""
    if state.known is None:
        return {}, 0
    found, highest = {}, 0
    issued = max([state.known, *(grant.epoch for grant in state.grants.values())])
    for name in image.shape.factory.nodes:
        sample = image.node(name)
        if sample.status is None or not sample.good or image.refused.get(name):
            continue
        if why := strange(sample.status, issued, state.owner, state.known):
            found[name], highest = why, max(highest, sample.status.epoch)
    return found, highest


def _owed(
    image: Image, state: State, stands: Stands, waiting: Mapping[str, tuple[Errand, ...]], fresh: Mapping[int, Intent]
) -> tuple[Mapping[int, Intent], tuple[Intent, ...]]:
    """The commands whose outcome is owed, and what the book is told of them and of new ones."""
    heard = {name: image.node(name).status if found.heard else None for name, found in stands.items()}
    offered = {errand.command_id for errands in waiting.values() for errand in errands}
    owed, known = looked_up({**state.owed, **fresh} if fresh else state.owed, heard, offered)
    settled = {intent.id for intent in known}
    return owed, (*(intent for number, intent in fresh.items() if number not in settled), *known)


def _errands(
    image: Image, state: State, done: Dispatched, grants: dict[str, Grant], stands: Stands, news: News, now: Ns
) -> tuple[dict[str, tuple[Errand, ...]], list[Answer]]:
    """Put commands into the Grants, and answer those whose outcome is known."""
    waiting, answers = {}, []
    for name, grant in grants.items():
        before, asked = state.waiting.get(name, ()), tuple(done.errands.get(name, ()))
        if name in done.stopped:
            answers += [Answer(e.request, False, "overtaken by a stop", None, Why.STATE) for e in before]
            before = ()
        heard = image.node(name).status if stands[name].heard else None
        start = done.starts.get(name)
        ours = stands[name].standing is Standing.OURS
        grants[name], waiting[name], judged = attend(grant, (*before, *asked), start, heard, ours, now, news.noted)
        answers += [Answer(e.request, ok, f"{e.op.name.lower()} {text}", None, why_of(ok, text)) for e, ok, text in judged]
    return waiting, answers


def _decide(view: View, wishes: Mapping[str, Wish]) -> tuple[dict[str, Words], dict[str, str], list[Event]]:
    """The Command of every machine whose node is ours; the safe one where what was decided does not fit."""
    commands: dict[str, Words] = {}
    unfit: dict[str, str] = {}
    events: list[Event] = []
    for machine in view.factory.machines.values():
        if view.stands[machine.node].standing is not Standing.OURS:
            continue
        sample, params = view.image.machine(machine.name), view.in_force(machine).params
        command, told = machine.type.decide(sample, wishes[machine.name], params, view.now)
        events += told
        try:
            commands[machine.name] = tuple(encode(command))
        except WireError as wrong:
            unfit[machine.name] = str(wrong)
            commands[machine.name] = tuple(encode(machine.type.command()))
    return commands, unfit, events
