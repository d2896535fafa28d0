"""Nobody takes everything, and nothing that goes wrong takes others with it."""

from itertools import count
from typing import Any

import numpy as np
import pytest
from asyncua.ua.status_codes import StatusCodes

from controller.opcua import filters
from controller.opcua.encoding import data_value, node_key, variant
from controller.opcua.plane import Plane
from controller.opcua.subscriptions import limits
from controller.opcua.subscriptions.timetable import Timetable
from controller.users import Role
from tests.controller.opcua.subscriptions.stage import Stage, Time, code_of
from tests.controller.opcua.subscriptions.test_events import SERVER, item, tell, told, wanted
from tests.controller.opcua.subscriptions.test_events import set_out as set_out_events
from tests.controller.opcua.subscriptions.test_publishing import statuses

FULL = StatusCodes.BadTooManyMonitoredItems


# ---- what goes wrong


@pytest.mark.parametrize("where", ["cycle", "commit", "poll"])
def test_whatever_goes_wrong_with_one_subscription_ends_that_one_and_the_others_go_on(
    where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of order")

    stage = Stage(1)
    polled = node_key(1, "polled")
    calls = count()
    stage.nodes.reads[stage.variable(polled)] = lambda _: broken() if next(calls) > 1 else data_value(variant(1.0))
    client, other = stage.client(), stage.client("other")
    bad, good, elsewhere = client.subscribe(), client.subscribe(), other.subscribe()
    for who, number in ((client, bad), (client, good), (other, elsewhere)):
        who.monitor(number, 0)
        who.publish(5)
    if where == "poll":
        client.monitor(bad, client.item(polled, sampling=250.0))
    one = stage.engine.any(bad)
    assert one
    if where != "poll":
        monkeypatch.setattr(one.items, {"cycle": "take", "commit": "sample"}[where], broken)
    stage.put([1.0])
    stage.time.to(700)
    assert statuses(client) == [(bad, StatusCodes.BadInternalError)] and "out of order" in caplog.text
    assert stage.engine.any(bad) is None and stage.engine.any(good) and stage.engine.any(elsewhere)
    client.answers.clear()
    other.answers.clear()
    stage.put([2.0])
    stage.time.to(900)
    assert client.values() == other.values() == [(0, 2.0)]


def test_a_listener_that_fails_keeps_no_commit_from_those_behind_it() -> None:
    plane, heard = Plane(), []
    rows = plane.grow([11, 11])

    def broken(_: Any) -> None:
        raise RuntimeError("first")

    plane.listeners += [broken, lambda rows: heard.extend(rows.tolist())]
    plane.put_nothing(np.array(rows), 0, 0)
    with pytest.raises(RuntimeError, match="first"):
        plane.commit(0)
    assert heard == [0, 1]


def test_a_client_that_reads_again_has_what_is_late_at_once() -> None:
    class Channel:
        busy = True

    stage = Stage(1)
    client = stage.client()
    client.monitor(client.subscribe(), 0)
    client.publish()
    client.session.channel = Channel()
    stage.engine.of(client.session).requests[0].asked.channel = client.session.channel
    stage.time.to(150)
    assert not client.answers
    Channel.busy = False
    stage.engine.caught_up(client.session.channel)
    assert [when for when, _, _ in client.answers] == [150]


# ---- shares


def test_one_certificate_has_a_quarter_of_everything_and_others_have_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_ITEMS", 40)
    monkeypatch.setattr(limits, "MOST_POLLED", 8)
    monkeypatch.setattr(limits, "MOST_SUBSCRIPTIONS", 12)
    stage = Stage(1)
    greedy, again, other = stage.client(), stage.client(), stage.client(certificate=b"two")
    polled = [greedy.item(0, attribute=18)] * 3
    number = greedy.subscribe()
    codes = [result.StatusCode.value for result in greedy.monitor(number, *polled, *[0] * 10)]
    assert codes == [0, 0, FULL, *[0] * 8, FULL, FULL]
    assert [result.StatusCode.value for result in again.monitor(again.subscribe(), 0)] == [FULL]
    again.subscribe()
    assert code_of(again.subscribe) == StatusCodes.BadTooManySubscriptions
    assert [result.StatusCode.value for result in other.monitor(other.subscribe(), 0, polled[0])] == [0, 0]
    greedy.numbers("DeleteSubscriptions", "", ids=[number])
    assert [result.StatusCode.value for result in again.monitor(again.subscribe(), *polled)] == [0, 0, FULL]


def test_queues_of_one_certificate_leave_room_for_those_of_others() -> None:
    stage = Stage(1)
    greedy, other = stage.client(), stage.client(certificate=b"two")
    number = greedy.subscribe()
    sizes = [result.RevisedQueueSize for result in greedy.monitor(number, *[greedy.item(0, queue=1_000)] * 1_000)]
    assert sizes[-1] == 1 and stage.engine.queues.left >= limits.QUEUE_BYTES * 3 // 4
    assert other.monitor(other.subscribe(), other.item(0, queue=1_000))[0].RevisedQueueSize == 1_000
    greedy.numbers("DeleteSubscriptions", "", ids=[number])
    assert greedy.monitor(greedy.subscribe(), greedy.item(0, queue=1_000))[0].RevisedQueueSize == 1_000


def test_a_session_has_so_many_items_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_ITEMS_PER_SESSION", 3)
    stage = Stage(1)
    client = stage.client()
    client.monitor(client.subscribe(), 0, 0)
    assert [result.StatusCode.value for result in client.monitor(client.subscribe(), 0, 0)] == [0, FULL]
    second = stage.client()
    assert [result.StatusCode.value for result in second.monitor(second.subscribe(), 0)] == [0]


def test_one_commit_is_looked_at_over_many_turns_and_everybody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.opcua.subscriptions.incoming.MOST_LOOKED_AT", 100)
    stage = Stage(1)
    clients = [stage.client(str(number)) for number in range(6)]
    for client in clients:
        client.monitor(client.subscribe(), *[0] * 50)
        client.publish(3)
    stage.time.to(150)
    for client in clients:
        client.answers.clear()
    stage.plane.put(np.array([0]), np.array([7.0]), 0, 0)
    before = stage.time.turns
    stage.commit()
    assert stage.time.turns - before >= 2
    stage.time.to(400)
    assert [client.values() for client in clients] == [[(0, 7.0)] * 50] * 6


def test_equal_event_filters_are_made_ready_once_and_judge_an_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, client, number = set_out_events()
    calls: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def call(*given: Any) -> Any:
            calls.append(name)
            return real(*given)

        return call

    monkeypatch.setattr(filters, "compile", counted("compile", filters.compile))
    monkeypatch.setattr(filters.Compiled, "wants", counted("wants", filters.Compiled.wants))
    client.monitor(number, *(item(client, SERVER, handle, queue=9) for handle in range(5)))
    client.monitor(client.subscribe(), item(client, SERVER, 9, queue=9), item(client, SERVER, 10, wanted(600), queue=9))
    tell(stage, "once")
    stage.time.to(200)
    assert sorted(told(client)) == [(handle, "once") for handle in (0, 1, 2, 3, 4, 9)]
    assert sorted(calls) == ["compile", "compile", "wants", "wants"]


def test_different_event_filters_are_so_many_in_one_request_and_event_items_of_one_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, client, number = set_out_events()
    monkeypatch.setattr("controller.opcua.subscriptions.heard.MOST_NEW_CLAUSES", 10)
    asked = [item(client, SERVER, 1, wanted(severity)) for severity in (1, 2, 3, 1)]
    assert [result.StatusCode.value for result in client.monitor(number, *asked)] == [0, 0, FULL, 0]
    monkeypatch.setattr(limits, "MOST_EVENT_ITEMS", 5 * limits.PARTS)
    assert [result.StatusCode.value for result in client.monitor(client.subscribe(), *[asked[0]] * 3)] == [0, 0, FULL]
    other = stage.client("eve", Role.ENGINEER, certificate=b"two")
    assert [result.StatusCode.value for result in other.monitor(other.subscribe(), asked[0])] == [0]
    client.numbers("DeleteMonitoredItems", "I", number, ids=[1])
    assert [result.StatusCode.value for result in client.monitor(number, asked[0])] == [0]


def test_what_was_put_off_is_not_kept_in_the_timetable() -> None:
    class Thing:
        scheduled = -1

    time = Time()
    table, things = Timetable(time, time.later, lambda: None), [Thing() for _ in range(10)]
    for due in range(5_000):
        table.put(10_000 + due, things[due % 10])
    assert len(table) <= 100 and sorted(map(id, table.take(20_000))) == sorted(map(id, things))  # type: ignore[arg-type]


def test_sampling_groups_without_items_are_gone() -> None:
    stage = Stage(1)
    client = stage.client()
    number = client.subscribe()
    results = client.monitor(number, *[client.item(0, sampling=100.0 + 50 * step) for step in range(20)])
    one = stage.engine.any(number)
    assert one and len(one.groups) == 20
    client.modify(number, results[0].MonitoredItemId, sampling=150.0)
    client.numbers("DeleteMonitoredItems", "I", number, ids=[result.MonitoredItemId for result in results[1:]])
    assert len(one.groups) == 1
    stage.put([3.0])
    client.publish(3)
    stage.time.to(2_000)
    assert client.values()[-1] == (0, 3.0)


def test_subscription_ids_begin_anywhere_and_are_never_zero() -> None:
    first = [Stage().client().subscribe() for _ in range(3)]
    assert len(set(first)) == 3 and 0 not in first
    stage = Stage()
    stage.served._next = 0
    assert stage.client().subscribe() == 1


def test_constant_attributes_are_told_once_and_only_the_items_are_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_POLLED_PER_SUBSCRIPTION", 2)
    stage = Stage(1)
    client = stage.client()
    number = client.subscribe()
    results = client.monitor(number, *[client.item(0, handle, attribute=4) for handle in range(20)])
    assert {result.StatusCode.value for result in results} == {0} and stage.engine.polled == 0
    client.publish(2)
    stage.time.to(2_000)
    assert [handle for handle, _ in client.changes()] == list(range(20))
