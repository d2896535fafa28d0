"""What a Read costs others: the loop's time, and memory that is kept for the next one like it."""

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds as Id
from asyncua.ua.ua_binary import struct_to_binary

from controller.opcua.asked import MOST_OPERATIONS, Asked
from controller.opcua.encoding import data_value, variant
from controller.opcua.reading import MOST_PLAN_BYTES, OTHER_BYTES, Reading
from controller.opcua.sessions import Session
from tests.controller.opcua.answering import VARIABLE, Place, ask, listed, our, session
from twin.clock import Ns


class Costly:
    """A server whose values are made when they are read; it counts them."""

    def __init__(self, count: int) -> None:
        self.place, self.made = Place(), 0
        for n in range(count):
            self.place.nodes.reads[self.place.add(f"v{n}", VARIABLE)] = self._make
        self.reading = Reading(self.place.nodes, self.place.plane)

    def _make(self, by: Session) -> bytes:
        self.made += 1
        return data_value(variant("x" * 100), server=7)


def reading(count: int, of: int, attribute: Id = Id.Value, stamps: int = 2, part: str | None = None) -> bytes:
    """A request for an attribute of some Variables, over and over."""
    items = [ua.ReadValueId(our(f"v{n % of}"), attribute, part) for n in range(count)]
    return bytes(struct_to_binary(ua.ReadParameters(0.0, ua.TimestampsToReturn(stamps), items)))


def test_a_value_that_is_asked_for_often_in_one_request_is_made_once() -> None:
    costly = Costly(1)
    for made in (1, 2):
        results, _ = listed(ask(costly.reading.read, reading(MOST_OPERATIONS, 1), session()), ua.DataValue)
        assert len(results) == MOST_OPERATIONS and {one.Value.Value for one in results} == {"x" * 100}
        assert costly.made == made


@pytest.mark.parametrize(("count", "of", "part"), [(300, 300, None), (MOST_OPERATIONS, 1, "0:1")])
def test_values_that_take_long_are_made_in_turns_with_others(count: int, of: int, part: str | None) -> None:
    costly = Costly(of)
    work: list[Coroutine[Any, Any, bytes]] = []
    content = reading(count, of, part=part)
    asked = Asked(session(), 1, content, 0, Ns(0), lambda *_: None, lambda _, late: work.append(late))
    assert costly.reading.read(asked) is None
    assert costly.made <= 100
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(costly.made)
            await asyncio.sleep(0)

    async def both() -> bytes:
        beside = asyncio.ensure_future(others())
        made = await work[0]
        beside.cancel()
        return made

    results, _ = listed(asyncio.run(both()), ua.DataValue)
    assert {one.Value.Value for one in results} == {"x" * (2 if part else 100)} and costly.made == of
    assert len(turns) > 3 and all(after - before <= 100 for before, after in pairwise(turns))


def test_what_is_kept_of_requests_is_counted_with_all_it_holds() -> None:
    costly = Costly(1)
    for n in range(40):
        content = reading(MOST_OPERATIONS - n, 1, Id.BrowseName)
        ask(costly.reading.read, content, session())
        kept = sum(plan.size for plan in costly.reading._plans.values())
        assert kept == costly.reading._bytes <= MOST_PLAN_BYTES
        assert all(plan.size >= OTHER_BYTES * len(plan.others) for plan in costly.reading._plans.values())


@pytest.mark.parametrize("attribute", [Id.BrowseName, Id.NodeClass, Id.RolePermissions])
def test_attributes_other_than_values_have_the_servers_time_where_it_is_asked_for(attribute: Id) -> None:
    for stamps in range(4):
        (one,), _ = listed(ask(Costly(1).reading.read, reading(1, 1, attribute, stamps), session()), ua.DataValue)
        assert one.SourceTimestamp is None
        assert (one.ServerTimestamp is not None) == (stamps in (1, 2) and one.StatusCode.is_good())
