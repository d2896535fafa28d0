"""The Subscription Service Set in virtual time (Part 4 §5.14)."""

import struct
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary

from controller.opcua.asked import Asked
from controller.opcua.encoding import node_key
from controller.opcua.methods import Methods
from controller.opcua.subscriptions import limits
from controller.users import Role
from tests.controller.opcua.subscriptions.stage import Client, Stage, changes_of, code_of


def set_out(doubles: int = 2, **wishes: Any) -> tuple[Stage, Client, int]:
    stage = Stage(doubles)
    client = stage.client()
    number = client.subscribe(100, **wishes)
    client.monitor(number, *range(doubles))
    stage.put([1.0] * doubles)
    return stage, client, number


def answer(client: Client) -> Any:
    assert len(client.answers) == 1
    return client.answers.pop()[2]


def statuses(client: Client) -> list[tuple[int, int]]:
    """Subscription and status of each StatusChangeNotification."""
    return [
        (result.SubscriptionId, data.Status.value)
        for _, code, result in client.answers
        if code == 0
        for data in result.NotificationMessage.NotificationData
        if isinstance(data, ua.StatusChangeNotification)
    ]


# ---- wishes


@pytest.mark.parametrize(
    ("wanted", "served"), [(0, 50), (-1, 50), (float("nan"), 50), (49.9, 50), (100, 100), (1e9, 60_000), (float("inf"), 60_000)]
)
def test_a_publishing_interval_that_is_not_served_is_revised_and_not_refused(wanted: float, served: float) -> None:
    assert Stage().client().created(wanted, 1000, 10).RevisedPublishingInterval == served


@pytest.mark.parametrize("life", [0, 1, 29, 30, 31, 0xFFFFFFFF])
@pytest.mark.parametrize("alive", [0, 1, 10, 0xFFFFFFFF])
def test_the_lifetime_is_at_least_three_keep_alives(life: int, alive: int) -> None:
    made = Stage().client().created(100, life, alive)
    assert made.RevisedLifetimeCount >= 3 * made.RevisedMaxKeepAliveCount >= 3
    assert made.RevisedLifetimeCount * 100 <= limits.LONGEST_LIFETIME_MS
    if alive == 0:
        assert made.RevisedMaxKeepAliveCount == 1  # the smallest there is (Part 4 §5.14.2.2)
    if 0 < alive <= 10 and 30 <= life < 100:
        assert (made.RevisedLifetimeCount, made.RevisedMaxKeepAliveCount) == (life, alive)


def test_a_session_has_so_many_subscriptions_and_no_more() -> None:
    client = Stage().client()
    for _ in range(limits.MOST_PER_SESSION):
        client.subscribe()
    assert code_of(client.subscribe) == StatusCodes.BadTooManySubscriptions


def test_modified_it_keeps_its_items_and_takes_its_new_interval_at_once() -> None:
    stage, client, number = set_out()
    client.publish(5)
    stage.time.to(150)
    body = struct.pack("<IdIIIB", number, 400.0, 0, 5, 0, 9)
    revised = client.result("ModifySubscription", body)
    assert (revised.RevisedPublishingInterval, revised.RevisedLifetimeCount, revised.RevisedMaxKeepAliveCount) == (400, 15, 5)
    client.answers.clear()
    stage.put([2.0])
    stage.time.to(1_000)
    assert [(when, changes_of(result)[0][1].Value.Value) for when, _, result in client.answers] == [(550, 2.0)]
    assert code_of(lambda: client.ask("ModifySubscription", struct.pack("<IdIIIB", 77, 1.0, 0, 5, 0, 9))) == (
        StatusCodes.BadSubscriptionIdInvalid
    )


# ---- cycles


def test_the_first_message_comes_with_the_first_cycle_be_it_empty() -> None:
    stage = Stage()
    client = stage.client()
    client.subscribe(100, alive=10)
    client.publish(3)
    stage.time.to(1_150)
    assert [(when, result.NotificationMessage.SequenceNumber) for when, _, result in client.answers] == [(100, 1)]
    stage.time.to(2_250)
    assert [when for when, _, _ in client.answers] == [100, 1_200, 2_200]


def test_a_keep_alive_names_the_number_that_the_next_message_will_have() -> None:
    stage, client, _ = set_out(alive=2)
    client.publish(3)
    stage.time.to(450)
    stage.put([3.0])
    stage.time.to(600)
    said = [
        (bool(result.NotificationMessage.NotificationData), result.NotificationMessage.SequenceNumber)
        for _, _, result in client.answers
    ]
    assert said == [(True, 1), (False, 2), (True, 2)]


def test_a_late_request_is_answered_at_once() -> None:
    stage, client, _ = set_out()
    stage.time.to(730)
    client.publish()
    assert [when for when, _, _ in client.answers] == [730]


def test_without_requests_it_ends_after_its_lifetime_and_says_so() -> None:
    stage, client, number = set_out(life=30, alive=10)
    stage.time.to(2_999)
    assert stage.engine.any(number)
    stage.time.to(3_000)
    assert not stage.engine.any(number)
    client.publish()
    assert statuses(client) == [(number, StatusCodes.BadTimeout)]
    assert code_of(client.publish) == StatusCodes.BadNoSubscription


@pytest.mark.parametrize("service", ["CreateMonitoredItems", "SetPublishingMode", "Republish", "SetMonitoringMode"])
def test_any_request_about_a_subscription_keeps_it_alive(service: str) -> None:
    stage, client, number = set_out(life=30, alive=10)
    stage.time.to(2_900)
    if service == "CreateMonitoredItems":
        client.monitor(number, 0)
    elif service == "SetPublishingMode":
        client.numbers(service, "?", True, ids=[number])
    elif service == "SetMonitoringMode":
        client.numbers(service, "II", number, 2, ids=[1])
    else:
        assert code_of(lambda: client.ask("Republish", struct.pack("<II", number, 9))) == StatusCodes.BadMessageNotAvailable
    stage.time.to(5_800)
    assert stage.engine.any(number)
    stage.time.to(5_900)
    assert not stage.engine.any(number)


def test_disabled_it_sends_keep_alives_and_keeps_its_values() -> None:
    stage, client, number = set_out(enabled=False, alive=3)
    client.publish(5)
    stage.time.to(1_000)
    assert client.answers and not client.messages()
    assert client.numbers("SetPublishingMode", "?", True, ids=[number, 99]) == [0, StatusCodes.BadSubscriptionIdInvalid]
    client.publish(5)
    stage.time.to(1_200)
    assert client.values() == [(0, 1.0), (1, 1.0)]


# ---- Publish requests


def test_publishing_without_a_subscription_is_refused_and_what_waits_when_the_last_one_goes_too() -> None:
    stage, client, number = set_out()
    assert code_of(lambda: stage.client("b").publish()) == StatusCodes.BadNoSubscription
    client.publish(2)
    assert client.numbers("DeleteSubscriptions", "", ids=[number, 5]) == [0, StatusCodes.BadSubscriptionIdInvalid]
    assert [code for _, code, _ in client.answers] == [StatusCodes.BadNoSubscription] * 2
    assert stage.engine.items == 0 and len(stage.engine) == 0


def test_of_too_many_requests_the_oldest_is_given_up() -> None:
    stage, client, _ = set_out()
    client.publish(handle=7)
    client.publish(limits.FEWEST_PUBLISH_REQUESTS)
    assert [code for _, code, _ in client.answers] == [StatusCodes.BadTooManyPublishRequests]
    assert stage.served.waiting(client.session) == limits.FEWEST_PUBLISH_REQUESTS


def test_more_requests_wait_than_a_session_has_subscriptions() -> None:
    stage = Stage(1)
    client = stage.client()
    numbers = [client.subscribe() for _ in range(limits.MOST_PER_SESSION)]
    client.publish(limits.MOST_PER_SESSION + 1)
    assert not client.answers and stage.served.waiting(client.session) == limits.MOST_PER_SESSION + 1
    stage.time.to(100)
    assert sorted(result.SubscriptionId for _, code, result in client.answers if not code) == sorted(numbers)


def test_a_request_whose_time_is_over_is_not_used() -> None:
    stage, client, _ = set_out()
    client.publish(timeout_ms=50)
    client.publish(timeout_ms=500)
    stage.time.to(100)
    assert [code for _, code, _ in client.answers] == [StatusCodes.BadTimeout, 0]


def test_a_request_that_came_over_another_channel_is_not_used() -> None:
    stage, client, _ = set_out()
    client.publish()
    client.session.channel = object()
    stage.time.to(150)
    assert not client.answers


def test_cancelled_requests_are_answered_so() -> None:
    stage, client, _ = set_out()
    client.publish(2, handle=5)
    client.publish(handle=6)
    assert stage.served.cancel(client.session, 5) == 2
    assert [code for _, code, _ in client.answers] == [StatusCodes.BadRequestCancelledByClient] * 2
    assert stage.served.cancel(client.session, 5) == 0


def test_among_late_subscriptions_priority_goes_first_and_equals_take_turns() -> None:
    stage = Stage(1)
    client = stage.client()
    numbers = [client.subscribe(100, priority=priority) for priority in (1, 9, 1, 5)]
    for number in numbers:
        client.monitor(number, 0)
    order = []
    for cycle in range(1, 3):
        stage.put([float(cycle)])
        stage.time.to(cycle * 300)
        client.publish(4)
        order.append([result.SubscriptionId for _, _, result in client.answers])
        client.answers.clear()
    first, second = numbers[0], numbers[2]
    assert order[0] == order[1] == [numbers[1], numbers[3], first, second]
    stage.put([9.0])
    stage.time.to(950)
    client.publish(3)
    stage.put([10.0])
    stage.time.to(1_200)
    client.answers.clear()
    client.publish(3)
    assert [result.SubscriptionId for _, _, result in client.answers] == [numbers[1], numbers[3], second]


def test_a_client_that_does_not_read_gets_nothing_more_until_it_does_and_loses_nothing_else() -> None:
    class Channel:
        busy = True

    stage, client, number = set_out(life=30, alive=10)
    client.session.channel = Channel()
    stage.services["Publish"](Asked(client.session, 1, b"\xff\xff\xff\xff", 0, stage.time.now(), client._reply, client._never, channel=client.session.channel))  # fmt: skip  # noqa: E501
    stage.time.to(8_000)
    assert not client.answers and stage.engine.any(number)
    Channel.busy = False
    stage.time.to(8_100)
    assert len(client.answers) == 1 and client.values() == [(0, 1.0), (1, 1.0)]


# ---- numbers and messages


def test_numbers_begin_with_one_go_up_by_one_and_after_the_last_comes_one() -> None:
    stage, client, number = set_out(1)
    one = stage.engine.any(number)
    assert one
    said = []
    for cycle in range(1, 5):
        client.publish()
        stage.time.to(cycle * 100 - 10)
        stage.put([float(cycle + 1)])
        said.append(answer(client).NotificationMessage.SequenceNumber)
        if cycle == 2:
            one.next_number = 0xFFFFFFFF
    assert said == [1, 2, 0xFFFFFFFF, 1]


def test_what_is_not_acknowledged_can_be_asked_for_again_and_what_is_cannot() -> None:
    stage, client, number = set_out(1)
    client.publish(2)
    stage.time.to(100)
    first = answer(client)
    again = client.result("Republish", struct.pack("<II", number, 1))
    assert again == first.NotificationMessage and first.AvailableSequenceNumbers == [1]
    stage.time.to(190)
    stage.put([2.0])
    assert answer(client).AvailableSequenceNumbers == [1, 2]
    client.publish(1, (number, 1), (number, 1), (number, 7), (99, 1))
    stage.time.to(290)
    stage.put([3.0])
    result = answer(client)
    assert [code.value for code in result.Results] == [
        0, StatusCodes.BadSequenceNumberUnknown, StatusCodes.BadSequenceNumberUnknown, StatusCodes.BadSubscriptionIdInvalid
    ]  # fmt: skip
    assert result.AvailableSequenceNumbers == [2, 3]
    assert code_of(lambda: client.ask("Republish", struct.pack("<II", number, 1))) == StatusCodes.BadMessageNotAvailable


def test_so_many_messages_are_kept_and_no_more() -> None:
    stage, client, number = set_out(1)
    sent = limits.RETRANSMITTED + 10
    assert limits.RETRANSMITTED >= 2 * limits.MOST_PUBLISH_REQUESTS
    for cycle in range(1, sent + 1):
        client.publish()
        stage.time.to(cycle * 100 - 10)
        stage.put([float(cycle + 1)])
    assert client.answers[-1][2].AvailableSequenceNumbers == list(range(11, sent + 1))
    before = stage.engine.retransmission.left
    client.numbers("DeleteSubscriptions", "", ids=[number])
    assert stage.engine.retransmission.left == limits.RETRANSMISSION_BYTES > before


def test_what_does_not_fit_into_one_message_comes_with_the_next_ones_at_once() -> None:
    stage, client, _ = set_out(10, most=4)
    client.publish(2)
    stage.time.to(100)
    said = [(len(changes_of(result)), result.MoreNotifications) for _, _, result in client.answers]
    assert said == [(4, True), (4, True)]
    stage.time.to(130)
    client.publish(2)  # row 5: more was promised, so it is answered at once; the second one waits
    assert [(when, len(changes_of(result)), result.MoreNotifications) for when, _, result in client.answers[2:]] == [
        (130, 2, False)
    ]
    assert sorted(handle for handle, _ in client.values()) == list(range(10))


def test_with_a_small_limit_every_item_has_its_turn() -> None:
    stage, client, _ = set_out(10, most=3)
    told = set()
    for cycle in range(1, 6):
        client.publish()
        stage.time.to(cycle * 100 - 10)
        stage.put([float(cycle)] * 10)
        told |= {handle for handle, _ in client.values()}
    assert told == set(range(10))


def test_a_message_is_no_longer_than_the_client_takes() -> None:
    stage = Stage(1_000)
    client = stage.client()
    client.session.max_response = 16_384
    client.monitor(client.subscribe(), *range(1_000))
    stage.put([1.0] * 1_000)
    client.publish(20)
    stage.time.to(100)
    assert len(client.answers) == 3 and len(client.changes()) == 1_000


# ---- sessions


def test_when_its_session_ends_a_subscription_ends_or_waits_as_the_client_wished() -> None:
    for delete in (True, False):
        stage, client, number = set_out(life=30, alive=10)
        client.publish()
        client.session.delete_subscriptions = delete
        client.session.close()
        assert [code for _, code, _ in client.answers] == [StatusCodes.BadSessionClosed]
        assert (stage.engine.any(number) is None) == delete
        stage.time.to(3_100)
        assert stage.engine.any(number) is None and stage.engine.items == 0


def test_those_that_wait_for_a_client_in_vain_are_so_many_of_one_certificate_and_no_more() -> None:
    stage = Stage()
    for _ in range(3):
        client = stage.client()
        for _ in range(30):
            client.subscribe()
        client.session.close()
    assert len(stage.engine) == limits.MOST_PER_SESSION


def test_who_takes_a_subscription_over_gets_what_was_queued_and_kept_and_the_other_is_told() -> None:
    stage, old, number = set_out(1)
    old.publish(2)
    stage.time.to(100)
    assert old.values() == [(0, 1.0)]
    stage.put([2.0])
    new = stage.client()
    body = struct.pack("<iI?", 1, number, False)
    taken = new.ask("TransferSubscriptions", body)
    assert taken == struct.pack("<iIiIi", 1, 0, 1, 1, -1)
    assert statuses(old) == [(number, StatusCodes.GoodSubscriptionTransferred)]
    new.publish()
    stage.time.to(200)
    assert new.values() == [(0, 2.0)]
    assert new.result("Republish", struct.pack("<II", number, 1)).SequenceNumber == 1
    assert code_of(lambda: old.ask("Republish", struct.pack("<II", number, 1))) == StatusCodes.BadSubscriptionIdInvalid
    assert new.ask("TransferSubscriptions", body)[4:8] == struct.pack("<I", StatusCodes.BadNothingToDo)  # type: ignore[index]


@pytest.mark.parametrize(("name", "certificate"), [("other", b"one"), ("", b"two"), ("other", b"two")])
def test_nobody_else_takes_a_subscription_over(name: str, certificate: bytes) -> None:
    stage, client, number = set_out(1)
    client.session.close()
    other = stage.client(name, certificate=certificate)
    taken = other.ask("TransferSubscriptions", struct.pack("<iII?", 2, number, 88, True))
    assert taken == struct.pack("<iIiIii", 2, StatusCodes.BadUserAccessDenied, -1, StatusCodes.BadSubscriptionIdInvalid, -1, -1)


def test_after_the_transfer_initial_values_are_sent_of_those_that_report_with_what_is_queued_first() -> None:
    stage, old, number = set_out(4)
    old.numbers("SetMonitoringMode", "II", number, 1, ids=[4])
    deep = old.monitor(number, old.item(0, 40, queue=5))[0]
    old.publish(3)
    stage.time.to(100)
    old.answers.clear()
    stage.put({1: 7.0})
    old.session.close()
    new = stage.client()
    assert new.ask("TransferSubscriptions", struct.pack("<iI?", 1, number, True))
    new.publish()
    stage.time.to(300)
    assert sorted(new.values()) == [(0, 1.0), (1, 7.0), (2, 1.0), (40, 1.0)]
    assert deep.MonitoredItemId == 5


def test_resend_tells_every_value_again_and_get_monitored_items_names_them_to_their_owner_alone() -> None:
    stage, client, number = set_out(3)
    methods = Methods()
    stage.served.register(methods)
    owner = node_key(0, ObjectIds.Server)
    resend, named = (methods.find(owner, node_key(0, method)) for method in (12873, 11492))
    assert resend and named
    client.publish(3)
    stage.time.to(100)
    client.answers.clear()
    argument = [ua.Variant(number, ua.VariantType.UInt32)]
    resend.function(client.session, argument)
    stage.time.to(300)
    assert client.values() == [(0, 1.0), (1, 1.0), (2, 1.0)]
    ids, handles = named.function(client.session, argument)  # type: ignore[misc]
    assert (ids.Value, handles.Value) == ([1, 2, 3], [0, 1, 2])
    stranger = stage.client("else")
    assert code_of(lambda: named.function(stranger.session, argument)) == StatusCodes.BadUserAccessDenied
    assert code_of(lambda: named.function(client.session, [ua.Variant(99, ua.VariantType.UInt32)])) == (
        StatusCodes.BadSubscriptionIdInvalid
    )


def test_diagnostics_count_what_happened() -> None:
    stage, client, number = set_out(2)
    client.numbers("SetMonitoringMode", "II", number, 0, ids=[2])
    client.publish(2)
    stage.time.to(300)
    client.publish(1, (number, 1))
    (told,) = stage.served.diagnostics(client.session)
    assert (told.SubscriptionId, told.MonitoredItemCount, told.DisabledMonitoredItemCount) == (number, 2, 1)
    assert (told.PublishRequestCount, told.DataChangeNotificationsCount, told.NotificationsCount) == (3, 1, 1)
    assert (told.NextSequenceNumber, told.UnacknowledgedMessageCount, told.PublishingInterval) == (2, 0, 100.0)
    assert stage.served.diagnostics(None) == [told]


# ---- turns


def test_many_subscriptions_are_published_over_many_turns_and_nobody_is_forgotten() -> None:
    stage = Stage(1_000)
    clients = [stage.client(str(number)) for number in range(20)]
    items = b"".join(bytes(struct_to_binary(clients[0].item(at))) for at in range(1_000))
    for client in clients:
        client.ask("CreateMonitoredItems", struct.pack("<IIi", client.subscribe(), 2, 1_000) + items)
    laid: list[int] = []
    for client in clients:
        client._reply = lambda asked, code, body: laid.append(stage.time.turns)  # type: ignore[method-assign]
        client.publish()
    stage.time.to(90)
    stage.put([1.0] * 1_000)
    assert len(laid) == 20
    most = max(laid.count(turn) for turn in laid)
    assert most * 1_000 <= limits.MOST_IN_ONE_TURN + 1_000 and len(set(laid)) >= 2


def test_a_role_that_is_lost_ends_what_is_told() -> None:
    stage = Stage(1)
    (secret,) = stage.add(11, rule=3)
    client = stage.client("eve", Role.ENGINEER)
    number = client.subscribe()
    client.monitor(number, 0, 1)
    assert secret
    stage.put([1.0, 5.0])
    client.publish(9)
    stage.time.to(100)
    assert client.values() == [(0, 1.0), (1, 5.0)]
    stage.access.roles["eve"] = Role.OBSERVER
    stage.time.to(190)
    stage.put([2.0, 6.0])
    assert [(handle, value.StatusCode.value, value.Value and value.Value.Value) for handle, value in client.changes()] == [
        (0, 0, 2.0), (1, StatusCodes.BadUserAccessDenied, None)
    ]  # fmt: skip
    stage.time.to(290)
    stage.put([3.0, 7.0])
    assert client.values() == [(0, 3.0)]
    stage.access.roles["eve"] = Role.ENGINEER
    stage.time.to(390)
    stage.put([4.0, 8.0])
    assert client.values() == [(0, 4.0), (1, 8.0)]
