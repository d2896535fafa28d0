"""Messages that are almost right: whatever becomes of them, they cost little, and only their own connection."""

import random
import struct
import time
import uuid
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from controller.opcua.asked import Asked, Handle
from controller.opcua.link.policies import POLICIES
from controller.users import Role
from tests.controller.opcua.link.conftest import read, served
from tests.controller.opcua.wired import Raw, Wired

LONGEST_S = 0.05
OURS = ("CreateSession", "ActivateSession", "GetEndpoints", "FindServers")


def request(kind: type) -> Any:
    """A request's parameters with something in each of its arrays."""
    made = kind()
    match made:
        case ua.ReadParameters():
            made.NodesToRead = [ua.ReadValueId(ua.NodeId("printer-1/status/x", 2), 13, "1:2"), ua.ReadValueId(ua.NodeId(2258), 13)]
        case ua.WriteParameters():
            value = ua.Variant([ua.Variant(1.5), ua.Variant("text"), ua.Variant([[1, 2], [3, 4]], ua.VariantType.Int32)])
            made.NodesToWrite = [ua.WriteValue(ua.NodeId("a", 2), 13, Value=ua.DataValue(value))]
        case ua.CallParameters():
            arguments = [ua.Variant(uuid.UUID(int=7)), ua.Variant(True)]
            made.MethodsToCall = [ua.CallMethodRequest(ua.NodeId("a", 2), ua.NodeId("b", 2), arguments)]
        case ua.CreateMonitoredItemsParameters():
            clause = ua.SimpleAttributeOperand(ua.NodeId(2041), [ua.QualifiedName("Time")], 13)
            where = ua.ContentFilter(
                [ua.ContentFilterElement(ua.FilterOperator.Equals, [clause, ua.LiteralOperand(ua.Variant(1))])]
            )
            asked = ua.MonitoringParameters(1, 100.0, ua.EventFilter([clause], where), 10, True)
            made.ItemsToCreate = [ua.MonitoredItemCreateRequest(ua.ReadValueId(ua.NodeId(2253), 12), RequestedParameters=asked)]
        case ua.TranslateBrowsePathsToNodeIdsParameters():
            step = ua.RelativePathElement(ua.NodeId(33), False, True, ua.QualifiedName("printer-1", 2))
            made.BrowsePaths = [ua.BrowsePath(ua.NodeId(85), ua.RelativePath([step, step]))]
        case ua.ActivateSessionParameters():
            made.UserIdentityToken = ua.UserNameIdentityToken("p", "otto", bytes(256), "x")
    return made


KINDS: dict[str, type] = {
    name: getattr(ua, f"{name}Parameters")
    for name in """
    Read Write Browse BrowseNext Call CreateSubscription CreateMonitoredItems ModifyMonitoredItems Publish SetTriggering
    TranslateBrowsePathsToNodeIds RegisterNodes TransferSubscriptions HistoryRead HistoryUpdate GetEndpoints FindServers
    CreateSession ActivateSession
    """.split()
    if hasattr(ua, f"{name}Parameters")
}


BODIES = {name: struct_to_binary(request(kind)) for name, kind in KINDS.items()}


def decoding(kind: type) -> Handle:
    def serve(asked: Asked) -> bytes:
        asked.decoded(kind)
        return b""

    return serve


def mutated(content: bytes, dice: random.Random) -> bytes:
    """Almost the same."""
    made = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
        at = dice.randrange(len(made))
        match dice.randrange(6):
            case 0:
                made[at] ^= 1 << dice.randrange(8)
            case 1:
                made[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                made[at : at + 4] = struct.pack("<i", dice.choice((-1, -2, 0, 1, 65_536, 2**31 - 1, -(2**31))))
            case 3:
                del made[at:]
            case 4:
                made[at:at] = bytes(dice.choices(range(256), k=dice.randrange(1, 9)))
            case _:
                made[at:at] = made[max(at - dice.randrange(64), 0) : at]
        if not made:
            return b"\0"
    return bytes(made[:16_000])


def newcomer(wired: Wired, dice: random.Random) -> Raw:
    """A client that has come some way."""
    policy = dice.choice([None, *POLICIES.values()])
    client = wired.raw()
    client.open(policy)
    if policy is not None and dice.random() < 0.8:
        client.create()
        client.activate(dice.choice(("", "otto")))
    return client


def storm(count: int, seed: int) -> list[float]:
    """Seconds that each of so many mutated messages took; what comes of them ends their connection at most."""
    dice, took = random.Random(seed), []
    stubs = {name: decoding(kind) for name, kind in KINDS.items() if name not in OURS}
    with Wired(stubs, users={"otto": Role.OPERATOR}) as wired:
        bystander = wired.raw("thief")
        bystander.open(lifetime_ms=3_600_000)
        bystander.create(timeout_ms=3_600_000)
        bystander.activate()
        client: Raw | None = None
        for number in range(count):
            if client is None or client.wire.closed:
                wired.advance(0.05)
                client = newcomer(wired, dice)
            name = dice.choice(list(KINDS))
            header: Any = ua.RequestHeader()
            header.AuthenticationToken, header.RequestHandle = client.token, number
            kind = struct.pack("<BBH", 1, 0, getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary"))
            message = kind + struct_to_binary(header) + BODIES[name]
            inside = dice.random() < 0.9
            chunk = client.sealed(mutated(message, dice) if inside else message)
            if not inside:
                chunk = mutated(chunk, dice)
            start = time.perf_counter()
            client.send(chunk)
            took.append(time.perf_counter() - start)
            client.wire.out.clear()
            if number % 5_000 == 0:
                wired.advance(0.5)
                if bystander.wire.closed:
                    raise AssertionError("somebody else was cut off")
        wired.link.dispatch.offer({"Read": read})
        wired.advance(0.5)
        assert served(wired.client()) and served(bystander)
    return took


def test_mutated_messages_end_their_connection_at_most() -> None:
    storm(120, seed=1)


@pytest.mark.soak
def test_many_mutated_messages_stall_nobody() -> None:
    took = sorted(storm(20_000, seed=2))
    assert took[-10] < LONGEST_S  # the machine itself stops for longer now and then
