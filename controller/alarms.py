"""What an operator should be told: nodes that change hands or latch, machines' alarm conditions. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from controller.image import Image
from controller.nodes.grant import Stand, Standing, latch
from twin.trace import Event

Alarms = frozenset[tuple[str, str]]
UNFIT = "command"


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


def latches(image: Image, before: Mapping[str, str]) -> dict[str, str]:
    """Why each node is latched; one that isn't heard stays as it was."""
    return {
        name: latch(sample.status) if (sample := image.node(name)).good else before.get(name, "")
        for name in image.shape.factory.nodes
    }


def node_events(
    before: tuple[Mapping[str, Stand], Mapping[str, str]], now: tuple[Mapping[str, Stand], Mapping[str, str]]
) -> list[Event]:
    """What has changed in the nodes' standing and in their latches."""
    events: list[Event] = []
    for name, found in now[0].items():
        if found != before[0].get(name):
            refused = found.standing is Standing.REFUSED
            events.append(NodeRefused(name, found.cause) if refused else NodeStands(name, found.standing, found.cause))
        if now[1][name] != before[1].get(name, ""):
            events.append(NodeLatched(name, now[1][name]))
    return events


def machine_events(image: Image, before: Alarms, unfit: Mapping[str, str]) -> tuple[Alarms, list[Event]]:
    """Which alarm conditions hold, and which have come or gone; one whose Sample isn't good stays as it was.

    Args:
        unfit: machines whose Command did not fit its registers, and why.
    """
    found: set[tuple[str, str]] = set()
    events: list[Event] = []

    def judge(holds: bool, raised: AlarmRaised) -> None:
        key = (raised.subject, raised.signal)
        if holds:
            found.add(key)
        if holds and key not in before:
            events.append(raised)
        if not holds and key in before:
            events.append(AlarmCleared(*key))

    for machine in image.shape.factory.machines.values():
        sample, name = image.machine(machine.name), machine.name
        for alarm in machine.type.alarms:
            holds = getattr(sample.status, alarm.signal) == alarm.when if sample.good else (name, alarm.signal) in before
            judge(holds, AlarmRaised(name, alarm.signal, alarm.severity, alarm.cause, alarm.action))
        action = "The machine was given its safe Command instead. Correct its control.py or its Params."
        judge(name in unfit, AlarmRaised(name, UNFIT, 900, unfit.get(name, ""), action))
    return frozenset(found), events
