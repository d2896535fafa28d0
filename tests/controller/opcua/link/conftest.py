"""A server whose Read gives one value, on wires of memory."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from asyncua import ua

from controller.opcua.asked import Asked
from controller.users import Role
from tests.controller.opcua.wired import Raw, Wired

ONE = struct.pack("<i", 1) + b"\x01\x0b" + struct.pack("<d", 1.5) + struct.pack("<i", -1)
"""A Read's answer: one value, no diagnostics."""


def read(asked: Asked) -> bytes:
    """The value, whatever is asked for."""
    asked.decoded(ua.ReadParameters)
    return ONE


@pytest.fixture
def wired() -> Iterator[Wired]:
    """The server."""
    with Wired({"Read": read}, users={"otto": Role.OPERATOR, "olga": Role.OBSERVER}) as made:
        yield made


def reading(count: int = 1) -> Any:
    """What Read is asked with."""
    return ua.ReadParameters(NodesToRead=[ua.ReadValueId(ua.NodeId(2258), ua.AttributeIds.Value)] * count)


def served(client: Raw) -> bool:
    """Whether a client gets its answer."""
    return bool(client.ask("Read", reading()).Results[0].Value.Value == 1.5)


def ended(client: Raw) -> str:
    """How the server has ended a connection."""
    told = client.told()
    client.wired.turn()
    assert client.wire.closed and not [gate for gate in client.wired.link.gates.channels if gate is client.wire.gate.channel]
    return told
