"""As many sessions, subscriptions and items as the Standard 2017 profile asks for, at once, in the whole server."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_to_binary
from asyncua.ua.uaerrors import BadRequestCancelledByClient, UaStatusCodeError

from controller.opcua.encoding import ticks
from controller.opcua.link.policies import AES256, BASIC256SHA256
from controller.opcua.names import standard
from controller.opcua.plane import DOUBLE
from controller.users import Role
from tests.controller.opcua.raw import SIGN, Raw
from tests.controller.opcua.subscriptions.stage import changes_of, item
from tests.controller.opcua.test_diagnostics import Security
from tests.controller.opcua.whole import Whole
from tests.controller.opcua.wired import decoded

SESSIONS, SUBSCRIPTIONS, ITEMS, QUEUE, REQUESTS = 50, 5, 500, 5, 10
"""Session Minimum 50 Parallel, Subscription Minimum 05, Monitor Items 500, Monitor MinQueueSize_05, Publish Min 10."""
STATUS = standard(ObjectIds.Server_ServerStatus_State)
CREATED = np.dtype([("status", "<u4"), ("id", "<u4"), ("sampling", "<f8"), ("queue", "<u4"), ("filter", "V3")])
"""MonitoredItemCreateResult without a FilterResult."""
UTC = 1_800_000_000_000_000_000


@pytest.fixture(scope="module")
def whole() -> Iterator[Whole]:
    with Whole(users={"otto": Role.OPERATOR, "erin": Role.ENGINEER, "anna": Role.ADMINISTRATOR}) as made:
        yield made


def read(client: Raw, *nodes: ua.NodeId) -> list[Any]:
    wanted = [ua.ReadValueId(node, AttributeIds.Value) for node in nodes]
    return list(client.ask("Read", ua.ReadParameters(0, ua.TimestampsToReturn.Both, wanted)).Results)


def subscribe(client: Raw, interval_ms: float = 100.0) -> int:
    given = ua.CreateSubscriptionParameters(interval_ms, 3_000, 1_000, 0, True, 0)
    return int(client.ask("CreateSubscription", given).SubscriptionId)


def laid(items: list[Any]) -> bytes:
    """As they go over the wire, which is all that many subscriptions with the same ones need."""
    return struct.pack("<i", len(items)) + b"".join(struct_to_binary(one) for one in items)


def monitor(client: Raw, subscription: int, items: bytes) -> bytes:
    return client.ask_raw("CreateMonitoredItems", struct.pack("<II", subscription, 2) + items)


def publish(client: Raw) -> int:
    return client.post("Publish", struct.pack("<i", -1))


def told_in(answer: Any) -> list[tuple[int, Any]]:
    """Client handles and values of a Publish response."""
    return [(handle, value.Value.Value if value.Value else None) for handle, value in changes_of(answer)]


def call(client: Raw, method: int, *inputs: Any) -> Any:
    given = [ua.Variant(one, ua.VariantType.UInt32) for one in inputs]
    asked = ua.CallMethodRequest(standard(ObjectIds.Server), standard(method), given)
    (result,) = client.ask("Call", struct.pack("<i", 1) + struct_to_binary(asked)).Results
    return result


def leave(*clients: Raw) -> None:
    for client in clients:
        client.ask_raw("CloseSession", b"\x01")
        client.wire.close()


def doubles(whole: Whole) -> list[tuple[bytes, int]]:
    """Key and row of each Signal that is a Double."""
    nodes, built = whole.server.nodes, whole.server.built
    rows = zip(built.variables, built.rows, strict=True)
    return [(nodes.keys[number], row) for number, row in rows if whole.server.plane.kinds[row] == DOUBLE]


def put(whole: Whole, rows: list[int], value: float) -> None:
    """All of them have one value now."""
    whole.server.plane.put(np.array(rows), np.full(len(rows), value), 0, ticks(UTC))
    whole.server.plane.commit(ticks(UTC))
    whole.turn()


def test_fifty_sessions_are_served_at_once_and_half_of_them_have_all_the_profile_asks_for(whole: Whole) -> None:
    signals = doubles(whole)
    clients = []
    for number in range(SESSIONS):
        clients.append(whole.client(user="otto", address=f"10.0.0.{number}"))
        whole.advance(0.1)
    assert len(whole.sessions) == SESSIONS
    assert [read(client, STATUS)[0].StatusCode.is_good() for client in clients] == [True] * SESSIONS

    items = laid([item(signals[at % len(signals)][0], at, queue=QUEUE) for at in range(ITEMS)])
    created = 0
    owned = {client: [subscribe(client) for _ in range(SUBSCRIPTIONS)] for client in clients[: SESSIONS // 2]}
    for at, (client, number) in enumerate((client, number) for client, numbers in owned.items() for number in numbers):
        if at % 2 == 0:  # half of the subscriptions
            made = np.frombuffer(monitor(client, number, items)[-4 - ITEMS * CREATED.itemsize : -4], CREATED)
            created += int(np.count_nonzero((made["status"] == 0) & (made["queue"] >= QUEUE)))
    engine = whole.server.subscriptions.engine
    assert created == engine.items == ITEMS * 63 and len(engine) == SESSIONS // 2 * SUBSCRIPTIONS

    client = clients[0]
    requests = [publish(client) for _ in range(REQUESTS)]
    whole.advance(0.11)
    put(whole, [row for _, row in signals], 7.25)
    whole.advance(0.11)
    # All five tell that they are there; then the three that have items what has changed. Two requests are left over.
    found = [decoded(client.answer(number)) for number in requests[:8]]
    assert {one.SubscriptionId for one in found} == set(owned[client])
    told = [value for one in found for _, value in told_in(one)]
    assert told.count(7.25) == 3 * ITEMS
    leave(*clients)
    whole.turn()
    assert not len(whole.sessions) and not len(engine) and engine.items == 0


def test_ten_publish_requests_of_a_session_wait_and_each_is_answered(whole: Whole) -> None:
    client = whole.client(user="otto")
    key, row = doubles(whole)[0]
    number = subscribe(client)
    monitor(client, number, laid([item(key, 1)]))
    requests = [publish(client) for _ in range(REQUESTS)]
    answers = []
    for value in range(REQUESTS):
        put(whole, [row], 100.0 + value)
        whole.advance(0.11)
        answers.append(decoded(client.answer(requests[value])))
    assert [one.NotificationMessage.SequenceNumber for one in answers] == list(range(1, REQUESTS + 1))
    assert [told_in(one)[0][1] for one in answers] == [100.0 + value for value in range(REQUESTS)]
    leave(client)


def test_a_session_cancels_its_own_waiting_requests_by_their_handle(whole: Whole) -> None:
    client, other = whole.client(user="otto"), whole.client(user="otto")
    for one in (client, other):
        subscribe(one, 1_000.0)
    requests, kept = [publish(client), publish(client)], publish(other)
    for number in requests:
        assert client.ask("Cancel", struct.pack("<I", number)).CancelCount == 1
        with pytest.raises(BadRequestCancelledByClient):
            decoded(client.answer(number))
    assert client.ask("Cancel", struct.pack("<I", kept + 7)).CancelCount == 0
    whole.advance(1.1)
    assert decoded(other.answer(kept)).SubscriptionId
    leave(client, other)


def test_a_session_goes_on_as_another_user_with_that_users_rights_and_its_subscriptions(whole: Whole) -> None:
    client = whole.client(user="otto")
    hidden = standard(ObjectIds.ServerConfiguration_MaxTrustListSize)
    number = subscribe(client)
    before, session = read(client, hidden)[0].StatusCode.name, client.token
    client.activate("anna")
    after = read(client, hidden)[0].StatusCode.name
    assert (before, after, client.token) == ("BadNodeIdUnknown", "Good", session)
    with pytest.raises(UaStatusCodeError):
        client.activate("anna", "wrong")
    assert read(client, hidden)[0].StatusCode.is_good()
    assert call(client, ObjectIds.Server_GetMonitoredItems, number).StatusCode.is_good()
    leave(client)


def test_five_continuation_points_of_a_session_are_good_at_once(whole: Whole) -> None:
    client = whole.client(user="otto")
    down = standard(ObjectIds.HierarchicalReferences)
    busy = [standard(number) for number in (ObjectIds.BaseObjectType, ObjectIds.BaseEventType, ObjectIds.Server,
                                             ObjectIds.Server_ServerCapabilities, ObjectIds.BaseDataVariableType)]  # fmt: skip
    forward = ua.BrowseDirection.Forward
    asked = [ua.BrowseDescription(node, forward, down, True, 0, 63) for node in busy]
    whole_of = [len(one.References) for one in client.ask("Browse", ua.BrowseParameters(ua.ViewDescription(), 0, asked)).Results]
    first = client.ask("Browse", ua.BrowseParameters(ua.ViewDescription(), 2, asked)).Results
    points = [one.ContinuationPoint for one in first]
    assert all(points) and len(set(points)) == 5 and all(len(one.References) == 2 for one in first)
    counted = [2] * 5
    while any(points):
        rest = [at for at, point in enumerate(points) if point]
        more = client.ask("BrowseNext", ua.BrowseNextParameters(False, [points[at] for at in rest])).Results
        for at, one in zip(rest, more, strict=True):
            assert one.StatusCode.is_good() and len(one.References) <= 2
            counted[at] += len(one.References)
            points[at] = one.ContinuationPoint
    assert counted == whole_of
    leave(client)


def test_monitored_items_are_named_and_their_values_sent_again_on_demand(whole: Whole) -> None:
    client, other = whole.client(user="otto"), whole.client(user="otto")
    signals = doubles(whole)[:3]
    put(whole, [row for _, row in signals], 3.5)
    number = subscribe(client)
    made = decoded(monitor(client, number, laid([item(key, 70 + at) for at, (key, _) in enumerate(signals)]))).Results
    server, clients = (one.Value for one in call(client, ObjectIds.Server_GetMonitoredItems, number).OutputArguments)
    assert dict(zip(server, clients, strict=True)) == {one.MonitoredItemId: 70 + at for at, one in enumerate(made)}
    strange = [call(other, method, number).StatusCode.name for method in
               (ObjectIds.Server_GetMonitoredItems, ObjectIds.Server_ResendData)]  # fmt: skip
    assert set(strange) <= {"BadUserAccessDenied", "BadSubscriptionIdInvalid"}

    first, again = publish(client), publish(client)
    whole.advance(0.11)
    values = [(70 + at, 3.5) for at in range(3)]
    assert told_in(decoded(client.answer(first))) == values
    whole.advance(0.5)
    assert call(client, ObjectIds.Server_ResendData, number).StatusCode.is_good()
    whole.advance(0.11)
    assert told_in(decoded(client.answer(again))) == values
    leave(client, other)


def test_diagnostics_count_a_clients_session_subscriptions_and_requests_while_it_lives(whole: Whole) -> None:
    erin, client = whole.client(user="erin"), whole.client(user="otto")
    number = subscribe(client)
    monitor(client, number, laid([item(doubles(whole)[0][0])]))
    read(client, STATUS)
    read(client, STATUS)
    name = "Server_ServerDiagnostics"
    wanted = (f"{name}_EnabledFlag", f"{name}_ServerDiagnosticsSummary", f"{name}_SubscriptionDiagnosticsArray",
              f"{name}_SessionsDiagnosticsSummary_SessionDiagnosticsArray")  # fmt: skip
    nodes = [standard(getattr(ObjectIds, one)) for one in wanted]
    enabled, summary, subscriptions, sessions = (one.Value.Value for one in read(erin, *nodes))
    assert enabled is True and (summary.CurrentSessionCount, summary.CurrentSubscriptionCount) == (2, 1)
    (told,) = subscriptions
    assert (told.SubscriptionId, told.MonitoredItemCount, told.PublishingInterval) == (number, 1, 100.0)
    mine = next(one for one in sessions if one.CurrentSubscriptionsCount)
    assert (mine.ReadCount.TotalCount, mine.CreateSubscriptionCount.TotalCount, mine.CurrentMonitoredItemsCount) == (2, 1, 1)
    forward, down = ua.BrowseDirection.Forward, standard(ObjectIds.HierarchicalReferences)
    parent = standard(ObjectIds.Server_ServerDiagnostics_SessionsDiagnosticsSummary)
    place = ua.BrowseDescription(parent, forward, down, True, 1, 63)

    def objects() -> set[ua.NodeId]:
        (found,) = erin.ask("Browse", ua.BrowseParameters(ua.ViewDescription(), 0, [place])).Results
        return {one.NodeId for one in found.References}

    assert mine.SessionId in objects()
    leave(client)
    assert mine.SessionId not in objects()
    assert read(erin, nodes[1])[0].Value.Value.CurrentSubscriptionCount == 0
    leave(erin)


def test_an_administrator_sees_how_each_session_came_in(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = standard(ObjectIds.SessionSecurityDiagnosticsDataType_Encoding_DefaultBinary)
    monkeypatch.setitem(ua.extension_objects_by_typeid, kind, Security)
    anna, client = whole.client(user="anna"), whole.client(user="otto", policy=AES256, mode=SIGN)
    array = standard(ObjectIds.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionSecurityDiagnosticsArray)
    told = {one.ClientUserIdOfSession: one for one in read(anna, array)[0].Value.Value}
    assert set(told) == {"anna", "otto"}
    assert (told["otto"].SecurityMode, told["otto"].SecurityPolicyUri) == (SIGN, AES256.uri)
    assert (told["otto"].ClientCertificate, told["anna"].SecurityPolicyUri) == (client.der, BASIC256SHA256.uri)
    assert {one.Encoding_ for one in told.values()} == {"UA Binary"}
    leave(anna, client)
