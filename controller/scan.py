"""One scan: what is believed, wanted and asked for goes in; what to write, to do and to tell comes out. Pure.

New behaviour belongs in a machine's `control.py` or in `dispatch.py`, not here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controller.dispatch import Dispatched, dispatch
from controller.image import Image
from controller.nodes.grant import Errand, Grant, Stand, Standing, attend, latch, stand
from controller.orders.turn import Answer, Fact, Orders, Request, View, Work
from twin.clock import Ns
from twin.factory import Factory
from twin.node import NodeCommand
from twin.trace import Event


@dataclass(frozen=True, slots=True)
class NodeStands(Event):
    """Whose a node is has changed."""

    standing: str
    cause: str


@dataclass(frozen=True, slots=True)
class NodeRefused(Event):
    """A node is not the one that the factory describes: it is neither believed nor commanded. An alarm."""

    cause: str


@dataclass(frozen=True, slots=True)
class NodeLatched(Event):
    """A node has latched its outputs safe; an empty cause: no longer."""

    cause: str


@dataclass(frozen=True, slots=True)
class AlarmRaised(Event):
    """A machine's alarm condition has come."""

    signal: str
    severity: int
    cause: str
    action: str


@dataclass(frozen=True, slots=True)
class AlarmCleared(Event):
    """A machine's alarm condition has gone."""

    signal: str


@dataclass(frozen=True)
class State:
    """What one scan hands to the next.

    Attributes:
        owner: who we are in a Grant.
        epochs: for each node that waits for one, a fresh epoch that is safe on disk.
    """

    owner: int
    orders: Orders = field(default_factory=Orders)
    grants: Mapping[str, Grant] = field(default_factory=dict)
    stands: Mapping[str, Stand] = field(default_factory=dict)
    latches: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, tuple[Errand, ...]] = field(default_factory=dict)
    alarms: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """What a scan comes to.

    Attributes:
        grants: for each node that may be written to, its Grant.
        commands: for each machine whose node is ours, its Command; the others are only read.
        epochs: nodes that wait for an epoch, and the one it must be above.
    """

    grants: Mapping[str, NodeCommand]
    commands: Mapping[str, Any]
    epochs: Mapping[str, int]
    work: tuple[Work, ...]
    answers: tuple[Answer, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class News:
    """What has come in since the last scan.

    Attributes:
        epochs: fresh ones, safe on disk, for the nodes that waited for them.
        settled: the revision of each order that is safe on disk.
    """

    requests: Iterable[Request] = ()
    facts: Iterable[Fact] = ()
    epochs: Mapping[str, int] = field(default_factory=dict)
    settled: Mapping[int, int] = field(default_factory=dict)


def scan(image: Image, state: State, news: News, now: Ns) -> tuple[State, Outcome]:
    """Judge the Image: claim and keep nodes, move the orders on, decide every machine's Command."""
    factory = image.shape.factory
    grants, stands, wanted = _claims(image, state, news, now)
    done = dispatch(state.orders, View(factory, image, stands, news.settled, now), news.requests, news.facts)
    waiting, answers = _errands(image, state, done, grants, stands, now)
    commands, told = _decide(factory, image, done, stands, now)
    alarms, raised = _alarms(factory, image, state.alarms)
    latches = {n: latch(image.node(n).status) if image.node(n).good else state.latches.get(n, "") for n in factory.nodes}
    events = (*_node_events(state, stands, latches), *done.events, *told, *raised)
    written = {name: grant.command(state.owner) for name, grant in grants.items() if _writes(stands[name])}
    made = replace(
        state, orders=done.orders, grants=grants, stands=stands, latches=latches, waiting=waiting, alarms=alarms
    )
    return made, Outcome(written, commands, wanted, done.work, (*done.answers, *answers), events)


def _writes(found: Stand) -> bool:
    return found.standing in (Standing.OURS, Standing.CLAIMING)


def _claims(
    image: Image, state: State, news: News, now: Ns
) -> tuple[dict[str, Grant], dict[str, Stand], dict[str, int]]:
    """Every node's Grant with a changed heartbeat, whose it is, and which nodes need an epoch."""
    grants, stands, wanted = {}, {}, {}
    for name in image.shape.factory.nodes:
        sample, refused = image.node(name), image.refused.get(name, "")
        grant = state.grants.get(name, Grant())
        found = stand(grant, sample, refused, state.owner, now)
        if found.standing is Standing.FREE and sample.status is not None:
            epoch = news.epochs.get(name, 0)
            if epoch > max(grant.epoch, sample.status.epoch):
                grant, found = grant.claim(epoch, sample.status, now), Stand(Standing.CLAIMING)
            else:
                wanted[name] = max(grant.epoch, sample.status.epoch)
        grants[name], stands[name] = grant.beat(), found
    return grants, stands, wanted


def _errands(
    image: Image, state: State, done: Dispatched, grants: dict[str, Grant], stands: Mapping[str, Stand], now: Ns
) -> tuple[dict[str, tuple[Errand, ...]], list[Answer]]:
    """Put commands into the Grants, and answer those whose outcome is known."""
    waiting, answers = {}, []
    for name, grant in grants.items():
        asked = (*state.waiting.get(name, ()), *done.errands.get(name, ()))
        if name in done.stopped:
            asked = tuple(done.errands[name])
            answers += [Answer(e.request, False, "overtaken by a stop") for e in state.waiting.get(name, ())]
        heard = image.node(name).status if stands[name].standing is Standing.OURS else None
        grants[name], waiting[name], judged = attend(grant, asked, done.starts.get(name), heard, now)
        answers += [Answer(e.request, ok, f"{e.op.name.lower()} {text}") for e, ok, text in judged]
    return waiting, answers


def _decide(
    factory: Factory, image: Image, done: Dispatched, stands: Mapping[str, Stand], now: Ns
) -> tuple[dict[str, Any], list[Event]]:
    """The Command of every machine whose node is ours."""
    commands: dict[str, Any] = {}
    events: list[Event] = []
    for machine in factory.machines.values():
        if stands[machine.node].standing is not Standing.OURS:
            continue
        wish = done.wishes[machine.name]
        commands[machine.name], told = machine.type.decide(image.machine(machine.name), wish, machine.params, now)
        events += told
    return commands, events


def _alarms(
    factory: Factory, image: Image, before: frozenset[tuple[str, str]]
) -> tuple[frozenset[tuple[str, str]], list[Event]]:
    """Which alarm conditions hold; one whose Sample isn't good stays as it was."""
    found, events = set(), list[Event]()
    for machine in factory.machines.values():
        sample = image.machine(machine.name)
        for alarm in machine.type.alarms:
            key = (machine.name, alarm.signal)
            holds = getattr(sample.status, alarm.signal) == alarm.when if sample.good else key in before
            if holds:
                found.add(key)
            if holds and key not in before:
                events.append(AlarmRaised(machine.name, alarm.signal, alarm.severity, alarm.cause, alarm.action))
            if not holds and key in before:
                events.append(AlarmCleared(machine.name, alarm.signal))
    return frozenset(found), events


def _node_events(state: State, stands: Mapping[str, Stand], latches: Mapping[str, str]) -> list[Event]:
    events: list[Event] = []
    for name, found in stands.items():
        if found != state.stands.get(name):
            refused = found.standing is Standing.REFUSED
            events.append(NodeRefused(name, found.cause) if refused else NodeStands(name, found.standing, found.cause))
        if latches[name] != state.latches.get(name, ""):
            events.append(NodeLatched(name, latches[name]))
    return events
