"""Events: what happened, told to whoever monitors the notifiers above its source (Part 5 §6.4, Part 4 §7.22.3)."""

import secrets
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from asyncua.ua.object_ids import ObjectIds

from controller.opcua.encoding import TICKS_1970, octets, string, text
from controller.opcua.nodes.store import NO_NODE, OBJECT, VIEW, Nodes
from controller.opcua.roles import Rule

EVENT_NOTIFIER: Final = 12
SUBSCRIBE: Final = 1
"""SubscribeToEvents, a bit of EventNotifier."""
MOST_ABOVE: Final = 1_000
"""Nodes that are looked at on the way up from a source."""
BYTE, BYTE_STRING, DATE_TIME, NODE_ID, LOCALIZED_TEXT, STRING, UINT16 = 3, 15, 13, 17, 21, 12, 5


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        kind: node number of its event type.
        source: node number of what it is about.
        fields: encoded Variant of each by its browse path below the type, names joined by `/`, a namespace in front of a name as
            `2:Name`. EventId, EventType, SourceNode, Time, ReceiveTime, Message and Severity are always there. The empty path is
            the NodeId of what the event is an instance of, where there is such a node: a condition.
        rule: `roles.Rule` that whoever receives it must be allowed by.
    """

    kind: int
    source: int
    fields: Mapping[str, bytes]
    rule: int = 0


def event(
    nodes: Nodes,
    kind: int,
    source: int,
    message: str,
    severity: int,
    utc_ns: int,
    fields: Mapping[str, bytes] | None = None,
    *,
    rule: int = Rule.OPEN,
    received_ns: int | None = None,
    source_name: str | None = None,
) -> Event:
    """An event with all fields of BaseEventType (Part 5 §6.4.2) and its type's own.

    Args:
        kind, source: node numbers.
        severity: 1 to 1000.
        utc_ns: when it happened [ns since 1970]; `received_ns` when we came to know, if later.
        fields: the type's own, encoded Variants by browse path.

    Raises:
        ValueError: a severity out of its range; our mistake.
    """
    if not 1 <= severity <= 1000:
        raise ValueError(f"severity {severity} is not within 1..1000")
    name = source_name if source_name is not None else browse_text(nodes.browse_names[source])
    base = {
        "EventId": bytes((BYTE_STRING,)) + octets(secrets.token_bytes(16)),
        "EventType": bytes((NODE_ID,)) + nodes.keys[kind],
        "SourceNode": bytes((NODE_ID,)) + nodes.keys[source],
        "SourceName": bytes((STRING,)) + string(name),
        "Time": _time(utc_ns),
        "ReceiveTime": _time(utc_ns if received_ns is None else received_ns),
        "Message": bytes((LOCALIZED_TEXT,)) + text(message),
        "Severity": struct.pack("<BH", UINT16, severity),
    }
    return Event(kind, source, base | dict(fields or {}), rule)


def _time(utc_ns: int) -> bytes:
    return struct.pack("<Bq", DATE_TIME, utc_ns // 100 + TICKS_1970)


def browse_text(qualified: bytes) -> str:
    """The name in an encoded QualifiedName; of a null one nothing."""
    (size,) = struct.unpack_from("<i", qualified, 2)
    return qualified[6 : 6 + size].decode() if size > 0 else ""


def path_name(qualified: bytes) -> str:
    """An encoded QualifiedName as `Event.fields` has it."""
    (namespace,) = struct.unpack_from("<H", qualified)
    return f"{namespace}:{browse_text(qualified)}" if namespace else browse_text(qualified)


Told = Callable[[Event], None]


class Events:
    """Where events come in, and who is told."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.listeners: list[Told] = []
        self._seen = -1
        self._above: dict[int, frozenset[int]] = {}

    def tell(self, event: Event) -> None:
        """Tell an event."""
        for listener in self.listeners:
            listener(event)

    def notifiers(self, source: int) -> frozenset[int]:
        """The nodes at which an event of this source can be received (Part 3 §7.17, §7.18).

        They are the Server, and each whose EventNotifier has SubscribeToEvents and from which HasNotifier, HasEventSource or any
        other hierarchical references lead down to the source.
        """
        if self._seen != self.nodes.changes:
            self._above.clear()
            self._seen = self.nodes.changes
        found = self._above.get(source)
        if found is None:
            found = self._above[source] = self._climb(source)
        return found

    def _climb(self, source: int) -> frozenset[int]:
        nodes = self.nodes
        hierarchical = nodes.subtypes(nodes.standard(ObjectIds.HierarchicalReferences))
        seen, todo = {source}, [source]
        while todo and len(seen) < MOST_ABOVE:
            for reference, forward, other in nodes.references(todo.pop()):
                if not forward and reference in hierarchical and other not in seen and nodes.classes[other] in (OBJECT, VIEW):
                    seen.add(other)
                    todo.append(other)
        server = nodes.standard(ObjectIds.Server)
        return frozenset(number for number in seen if notifies(nodes, number)) | {server}


def notifies(nodes: Nodes, number: int) -> bool:
    """Whether events can be received at a node: its EventNotifier says so, or it is the Server."""
    if number == NO_NODE:
        return False
    encoded = nodes.attributes[number].get(EVENT_NOTIFIER, b"\x03\x00")
    return bool(encoded[1] & SUBSCRIBE) or number == nodes.find(b"\x01\x00" + struct.pack("<H", ObjectIds.Server))
