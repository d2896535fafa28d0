"""The whole server's nodes: each has the rule that it must have."""

import asyncio
from collections.abc import Iterator

import pytest
from asyncua.ua.object_ids import ObjectIds

from controller.feed import feed_signals, schema_hash
from controller.opcua.nodes.store import METHOD, NO_NODE, VARIABLE
from controller.opcua.roles import GRANTS, May, Rule
from controller.opcua.server import FactoryServer, bind
from controller.opcua.space import space
from controller.users import Role
from tests.controller.factories import shop
from twin.clock import LoopClock


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FactoryServer]:
    """A server that nobody was let in to yet."""
    state = tmp_path_factory.mktemp("declared")
    state.chmod(0o700)
    factory = shop()
    signals = feed_signals(factory)

    async def made() -> FactoryServer:
        clock = LoopClock(asyncio.get_running_loop())
        return FactoryServer(space(factory, signals), schema_hash(signals), state, bound, clock)

    with bind(0) as bound:
        yield asyncio.run(made())


def test_whatever_can_be_called_needs_a_right_to_call_it(server: FactoryServer) -> None:
    nodes = server.nodes
    known = {nodes.find(method) for _, method in server.methods._known}
    assert len(known - {NO_NODE}) > 20
    for number in known - {NO_NODE}:
        rule = Rule(nodes.rules[number])
        assert nodes.classes[number] == METHOD and rule in (Rule.COMMAND, Rule.SECURITY, Rule.OWN), nodes.keys[number]
    own = {nodes.standard(number) for number in (ObjectIds.Server_GetMonitoredItems, ObjectIds.Server_ResendData)}
    of_type = {nodes.standard(number) for number in (ObjectIds.ServerType_GetMonitoredItems, ObjectIds.ServerType_ResendData)}
    assert {number for number in known - {NO_NODE} if nodes.rules[number] == Rule.OWN} <= own | of_type


def test_whatever_can_be_written_needs_a_right_to_write_it(server: FactoryServer) -> None:
    nodes = server.nodes
    for number in server.writing._writable:
        assert nodes.classes[number] == VARIABLE and nodes.rules[number] == Rule.SETPOINT


def test_all_that_is_about_trust_is_hidden_from_everybody_but_administrators(server: FactoryServer) -> None:
    nodes = server.nodes
    below = nodes.subtypes(nodes.standard(ObjectIds.HierarchicalReferences))
    seen, todo = set[int](), [nodes.standard(ObjectIds.ServerConfiguration)]
    while todo:
        number = todo.pop()
        seen.add(number)
        todo += [other for kind, forward, other in nodes.references(number) if forward and kind in below and other not in seen]
    assert len(seen) > 20
    for number in seen:
        rule = Rule(nodes.rules[number])
        assert [role for role in Role if GRANTS[rule][role - 1] & May.BROWSE] == [Role.ADMINISTRATOR], nodes.keys[number]
