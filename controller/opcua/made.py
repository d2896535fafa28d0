"""Values of the standard's nodes: made at the moment they are read, or constant."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from asyncua.ua.object_ids import ObjectIds

from controller.opcua.encoding import data_value, node_key, ticks
from controller.opcua.nodes.store import NO_NODE, VALUE, Nodes
from twin.clock import S, utc_ns


def data_time(at_utc_ns: int) -> datetime:
    """UTC as asyncua takes it."""
    return datetime.fromtimestamp(at_utc_ns / 1e9, UTC)


def number_of(name: str) -> int:
    """The number of a node by its name in the standard."""
    return int(getattr(ObjectIds, name))


def stamped(read: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """A Variant that is made when it is read, as a DataValue of that moment."""

    def made(session: Any) -> bytes:
        now = ticks(utc_ns())
        return data_value(read(session), 0, now, now)

    return made


def once_a_second(nodes: Nodes, name: str, make: Callable[[], bytes]) -> None:
    """Let a node of the standard give a Variant that is made anew when it is older than that: it costs much."""
    made, at_ns = b"", 0

    def read(_: Any) -> bytes:
        nonlocal made, at_ns
        now_ns = utc_ns()
        if not 0 <= now_ns - at_ns < S:
            made, at_ns = make(), now_ns
        return data_value(made, 0, ticks(at_ns), ticks(now_ns))

    nodes.reads[nodes.standard(number_of(name))] = read


def made_when_read(nodes: Nodes, number: int, read: Callable[[Any], bytes]) -> None:
    """Let a node of the standard that is shown give a Variant whenever it is read."""
    found = nodes.find(node_key(0, number))
    if found != NO_NODE:
        nodes.reads[found] = stamped(read)


def reads(nodes: Nodes, name: str, read: Callable[[Any], bytes]) -> None:
    """The same, by its name in the standard."""
    made_when_read(nodes, number_of(name), read)


def constant(nodes: Nodes, name: str, value: bytes) -> None:
    """Let a node of the standard hold an encoded Variant."""
    nodes.put(nodes.standard(number_of(name)), VALUE, value)
