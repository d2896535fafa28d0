"""What is told after something else has changed: links, intervals, rights, users, channels, times."""

import struct
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.access import Who
from controller.opcua.encoding import data_value, node_key, variant
from controller.opcua.plane import DOUBLE, INT64, UINT64
from controller.users import Role
from tests.controller.opcua.subscriptions.stage import Client, Stage, changed, code_of
from tests.controller.opcua.subscriptions.test_events import SERVER, item, tell, told
from tests.controller.opcua.subscriptions.test_events import set_out as set_out_events

SECRET = 4


def set_out(kinds: list[int] | int = 1, interval: float = 100, **wishes: Any) -> tuple[Stage, Client, int]:
    stage = Stage(kinds) if isinstance(kinds, int) else Stage(kinds=kinds)
    client = stage.client()
    number = client.subscribe(interval, life=10_000, alive=3_000, **wishes)
    client.publish(20)
    return stage, client, number


def signed_only() -> Any:
    class Channel:
        mode = 2
        busy = False

    return Channel()


# ---- who listens


def test_secret_events_are_not_told_where_others_read_along_and_those_that_wait_are_dropped() -> None:
    stage, client, number = set_out_events(Role.ADMINISTRATOR)
    client.monitor(number, item(client, SERVER, 1, queue=9))
    tell(stage, "secret", rule=SECRET)
    client.session.channel = signed_only()
    tell(stage, "secret too", rule=SECRET)
    for request in stage.engine.of(client.session).requests:
        request.asked.channel = client.session.channel
    stage.time.to(250)
    tell(stage, "open")
    stage.time.to(500)
    assert told(client) == [(1, "open")]
    client.session.channel = None
    for request in stage.engine.of(client.session).requests:
        request.asked.channel = None
    tell(stage, "secret again", rule=SECRET)
    stage.time.to(800)
    assert told(client) == [(1, "secret again")]


@pytest.mark.parametrize("how", ["user", "role", "channel"])
def test_what_was_sent_to_somebody_else_is_not_published_again(how: str) -> None:
    stage, client, number = set_out_events(Role.ADMINISTRATOR)
    client.monitor(number, item(client, SERVER, 1, queue=9))
    tell(stage, "secret", rule=SECRET)
    stage.time.to(200)
    again = struct.pack("<II", number, 1)
    assert client.result("Republish", again).SequenceNumber == 1
    match how:
        case "user":
            stage.access.roles["anna"] = Role.ADMINISTRATOR
            client.session.who = Who("anna")
        case "role":
            stage.access.roles["eve"] = Role.OPERATOR
        case _:
            client.session.channel = signed_only()
    assert code_of(lambda: client.ask("Republish", again)) == StatusCodes.BadMessageNotAvailable


def test_an_item_that_may_not_be_read_is_made_and_says_so_until_it_may() -> None:
    stage = Stage(1)
    stage.put([5.0])
    (row, text) = stage.add(DOUBLE, 12)
    constant = stage.variable(node_key(1, "hidden"), value=variant(1.0))
    for node in (row, text, constant):
        stage.nodes.attributes[node] = {**stage.nodes.attributes[node], 17: variant(0, ua.VariantType.Byte)}
    client = stage.client()
    number = client.subscribe()
    hidden = client.item(node_key(1, "hidden"), 3)
    results = client.monitor(number, 0, 1, client.item(2, queue=5), hidden, client.item(1, 4, mode=0))
    assert [result.StatusCode.value for result in results] == [0] * 5
    client.publish(9)
    stage.put({1: 6.0})
    stage.time.to(150)
    bad = StatusCodes.BadNotReadable
    found = [(handle, value.StatusCode.value, value.Value and value.Value.Value) for handle, value in client.changes()]
    assert sorted(found) == [(0, 0, 5.0), (1, bad, None), (2, bad, None), (3, bad, None)]
    client.numbers("SetMonitoringMode", "II", number, 2, ids=[results[4].MonitoredItemId])
    stage.time.to(350)
    assert [(handle, value.StatusCode.value) for handle, value in client.changes()] == [(4, bad)]


def test_an_item_that_is_refused_to_a_role_tells_the_value_when_the_role_comes() -> None:
    stage = Stage(0)
    stage.add(DOUBLE)
    stage.put([5.0])
    client = stage.client("otto")
    number = client.subscribe()
    assert client.monitor(number, client.item(0, 1, attribute=24))[0].StatusCode.value == 0  # RolePermissions
    client.publish(9)
    stage.time.to(150)
    assert [value.StatusCode.value for _, value in client.changes()] == [StatusCodes.BadUserAccessDenied]
    stage.access.roles["otto"] = Role.ENGINEER
    stage.put([6.0])
    stage.time.to(1_500)
    assert [value.StatusCode.value for _, value in client.changes()] == [0]


# ---- links


@pytest.mark.parametrize("how", ["unlinked", "deleted", "nothing queued"])
def test_an_item_that_only_samples_is_silent_when_its_link_is_gone_or_the_cycle_over(how: str) -> None:
    stage, client, number = set_out(3)
    stage.put([0.0] * 3)
    client.monitor(number, client.item(0, mode=1 if how == "nothing queued" else 2), client.item(1, mode=1), 2)
    client.ask("SetTriggering", struct.pack("<IIiIi", number, 1, 1, 2, 0))
    stage.time.to(150)
    client.answers.clear()
    if how == "nothing queued":
        stage.put({0: 1.0})
        stage.time.to(350)
        client.answers.clear()
    stage.put({0: 2.0} if how == "nothing queued" else {0: 2.0, 1: 5.0})
    match how:
        case "unlinked":
            client.ask("SetTriggering", struct.pack("<IIiiI", number, 1, 0, 1, 2))
        case "deleted":
            client.numbers("DeleteMonitoredItems", "I", number, ids=[1])
    stage.time.to(550)
    assert 1 not in [handle for handle, _ in client.values()]
    for step in range(3):
        stage.put({1: 10.0 + step, 2: 20.0 + step})
        stage.time.to(650 + 100 * step)
    assert client.values() == [(2, 20.0), (2, 21.0), (2, 22.0)]


# ---- what is gone is not more


@pytest.mark.parametrize("service", ["DeleteMonitoredItems", "SetMonitoringMode"])
def test_nothing_uses_up_a_number_when_what_was_left_behind_is_gone(service: str) -> None:
    stage, client, number = set_out(3, most=1)
    stage.put([1.0] * 3)
    stage.engine.of(client.session).requests.clear()
    client.monitor(number, 0, 1, 2)
    client.publish()
    stage.time.to(150)
    assert [result.MoreNotifications for _, _, result in client.answers] == [True]
    head = (number,) if service == "DeleteMonitoredItems" else (number, 0)
    client.numbers(service, "I" * len(head), *head, ids=[1, 2, 3])
    client.answers.clear()
    client.publish(2)
    stage.time.to(900)
    assert not client.answers
    client.monitor(number, 0)
    stage.time.to(1_100)
    assert [result.NotificationMessage.SequenceNumber for result in client.messages()] == [2]


# ---- intervals and times


def test_polled_items_go_on_when_the_publishing_interval_is_another_one() -> None:
    stage, client, number = set_out(1, interval=1_000)
    reads = iter(range(1_000))
    stage.nodes.reads[stage.variable(node_key(1, "polled"))] = lambda _: data_value(variant(float(next(reads))))
    client.monitor(number, client.item(node_key(1, "polled"), sampling=1_000.0))
    stage.time.to(2_500)
    client.answers.clear()
    client.ask("ModifySubscription", struct.pack("<IdIIIB", number, 500.0, 60, 5, 0, 0))
    stage.time.to(7_000)
    assert len(client.values()) >= 4


def test_a_change_that_waited_for_its_sampling_is_told_when_every_change_is() -> None:
    stage, client, number = set_out(1)
    stage.put([1.0])
    (made,) = client.monitor(number, client.item(0, sampling=5_000.0))
    stage.time.to(150)
    client.answers.clear()
    stage.put([2.0])
    stage.time.to(400)
    assert not client.values()
    client.modify(number, made.MonitoredItemId, sampling=0.0)
    stage.time.to(600)
    assert client.values() == [(0, 2.0)]


def test_resent_values_have_the_times_that_are_asked_for_now() -> None:
    stage, client, number = set_out(1)
    stage.put([1.0])
    (made,) = client.monitor(number, 0, stamps=3)
    stage.time.to(150)
    assert [(value.SourceTimestamp, value.ServerTimestamp) for _, value in client.changes()] == [(None, None)]
    client.modify(number, made.MonitoredItemId, stamps=2)
    stage.served.resend(client.session, [ua.Variant(number, ua.VariantType.UInt32)])
    stage.time.to(400)
    ((_, value),) = client.changes()
    assert value.SourceTimestamp and value.ServerTimestamp and value.Value.Value == 1.0


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        (INT64, [2**60, 2**60 + 10, 2**60 + 11, 2**60, -(2**63)], [2**60, 2**60 + 11, 2**60, -(2**63)]),
        (UINT64, [2**64 - 1, 2**64 - 11, 2**64 - 12, 0], [2**64 - 1, 2**64 - 12, 0]),
    ],
)
def test_deadbands_of_large_integers_are_as_narrow_as_they_say(kind: int, values: list[int], wanted: list[int]) -> None:
    stage, client, number = set_out([kind])
    client.monitor(number, client.item(0, queue=9, filter=changed(deadband=1, width=10.5)))
    for step, value in enumerate(values):
        stage.plane.put(np.array([0]), np.array([value], np.int64 if kind == INT64 else np.uint64), 0, step)
        stage.commit()
    stage.time.to(300)
    assert [value for _, value in client.values() if value is not None] == wanted
