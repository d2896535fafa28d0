"""Event items in virtual time: filters, queues, the event that tells of lost ones (Part 4 §5.13.1.5, §7.22.3; Part 5 §6.4.34)."""

from functools import cache
from typing import Any

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.encoding import NULL_TEXT, node_key, qualified, variant
from controller.opcua.events import event
from controller.opcua.nodes import Nodes
from controller.opcua.nodes.cache import ready
from controller.opcua.nodes.store import OBJECT
from controller.opcua.subscriptions import limits
from controller.users import Role
from tests.controller.opcua.subscriptions.stage import UTC, Client, Stage, changed

SERVER = node_key(0, ObjectIds.Server)
MACHINE = node_key(1, "machine")


@cache
def nodes() -> Nodes:
    made = ready(("urn:test:application", "urn:test:nodes"))
    made.add(MACHINE, OBJECT, qualified("Belt", 1), NULL_TEXT, rule=0, attributes={12: variant(1, ua.VariantType.Byte)})
    made.refer(made.standard(ObjectIds.Server), made.standard(ObjectIds.HasNotifier), made.find(MACHINE))
    return made


def wanted(severity: int = 0) -> ua.EventFilter:
    fields = [
        ua.SimpleAttributeOperand(
            TypeDefinitionId=ua.NodeId(ObjectIds.BaseEventType), BrowsePath=[ua.QualifiedName(name)], AttributeId=13
        )
        for name in ("Message", "SourceName", "EventType")
    ]
    made = ua.EventFilter(SelectClauses=fields)
    if severity:
        operand = ua.SimpleAttributeOperand(
            TypeDefinitionId=ua.NodeId(ObjectIds.BaseEventType), BrowsePath=[ua.QualifiedName("Severity")], AttributeId=13
        )
        element = ua.ContentFilterElement(FilterOperator=ua.FilterOperator.GreaterThanOrEqual)
        element.FilterOperands = [operand, ua.LiteralOperand(Value=ua.Variant(severity, ua.VariantType.UInt16))]
        made.WhereClause = ua.ContentFilter(Elements=[element])
    return made


def set_out(role: Role = Role.ENGINEER) -> tuple[Stage, Client, int]:
    stage = Stage(1, nodes=nodes()) if nodes().find(node_key(1, "Line/0")) < 0 else Stage(0, nodes=nodes())
    client = stage.client("eve", role)
    number = client.subscribe(100, life=10_000, alive=3_000)
    client.publish(20)
    return stage, client, number


def tell(stage: Stage, message: str, severity: int = 500, rule: int = 0) -> None:
    known = stage.nodes
    kind, source = known.standard(ObjectIds.BaseEventType), known.find(MACHINE)
    stage.events.tell(event(known, kind, source, message, severity, UTC, rule=rule))
    stage.time.turn()


def told(client: Client) -> list[tuple[int, str]]:
    """Handle and message, or the source's name where events were lost."""
    found = []
    for result in client.messages():
        for data in result.NotificationMessage.NotificationData:
            for fields in data.Events if isinstance(data, ua.EventNotificationList) else ():
                message, source, kind = (field.Value for field in fields.EventFields)
                lost = kind == ua.NodeId(ObjectIds.EventQueueOverflowEventType)
                found.append((fields.ClientHandle, source if lost else message.Text))
    return found


def item(client: Client, node: bytes, handle: int, filter: Any = None, **wishes: Any) -> Any:
    return client.item(node, handle, attribute=12, filter=filter or wanted(), **wishes)


def test_events_come_to_the_notifiers_above_their_source_as_their_filters_want_them() -> None:
    stage, client, number = set_out()
    results = client.monitor(
        number, item(client, SERVER, 1, queue=0), item(client, MACHINE, 2, queue=9), item(client, SERVER, 3, wanted(600), queue=9)
    )
    assert [result.StatusCode.value for result in results] == [0, 0, 0]
    assert [result.RevisedQueueSize for result in results] == [limits.DEFAULT_EVENT_QUEUE, 9, 9]
    assert isinstance(results[0].FilterResult, ua.EventFilterResult) and len(results[0].FilterResult.SelectClauseResults) == 3
    tell(stage, "mild")
    tell(stage, "grave", 700)
    stage.time.to(200)
    assert sorted(told(client)) == [(1, "grave"), (1, "mild"), (2, "grave"), (2, "mild"), (3, "grave")]


def test_a_filter_that_is_none_is_refused_and_one_of_data_is_not_supported() -> None:
    _, client, number = set_out()
    bad = ua.EventFilter(SelectClauses=[])
    results = client.monitor(
        number, client.item(SERVER, 1, attribute=12), item(client, SERVER, 1, bad), item(client, SERVER, 1, changed())
    )
    assert [result.StatusCode.value for result in results] == [
        StatusCodes.BadEventFilterInvalid, StatusCodes.BadEventFilterInvalid, StatusCodes.BadMonitoredItemFilterUnsupported
    ]  # fmt: skip


def test_of_too_many_events_some_are_lost_and_one_event_says_where() -> None:
    stage, client, number = set_out()
    client.monitor(number, item(client, SERVER, 1, queue=2, oldest=True), item(client, SERVER, 2, queue=2, oldest=False))
    for message in "abcd":
        tell(stage, message)
    stage.time.to(300)
    lost = "Internal/EventQueueOverflow"
    found = told(client)
    assert [message for handle, message in found if handle == 1] == [lost, "c", "d"]
    assert [message for handle, message in found if handle == 2] == ["a", "d", lost]
    tell(stage, "e")
    stage.time.to(600)
    assert told(client) == [(1, "e"), (2, "e")]
    (diagnosed,) = stage.served.diagnostics(client.session)
    assert (diagnosed.EventNotificationsCount, diagnosed.EventQueueOverflowCount) == (8, 4)


def test_events_count_for_the_limit_of_a_message() -> None:
    stage = set_out()[0]
    client = stage.client("eve", Role.ENGINEER)
    number = client.subscribe(100, most=2)
    client.monitor(number, item(client, SERVER, 1, queue=9))
    client.publish(5)
    for message in "abcde":
        tell(stage, message)
    stage.time.to(200)
    counts = [len(result.NotificationMessage.NotificationData[0].Events) for _, _, result in client.answers]
    assert counts == [2, 2, 1] and [message for _, message in told(client)] == list("abcde")


def test_nobody_hears_of_what_his_role_may_not_receive() -> None:
    for role, wanted_messages in ((Role.OPERATOR, ["open"]), (Role.ADMINISTRATOR, ["open", "secret"])):
        stage, client, number = set_out(role)
        client.monitor(number, item(client, SERVER, 1, queue=9))
        tell(stage, "open")
        tell(stage, "secret", rule=4)
        stage.time.to(200)
        assert [message for _, message in told(client)] == wanted_messages


def test_what_is_queued_for_an_administrator_is_not_told_to_who_is_none_any_more() -> None:
    stage, client, number = set_out(Role.ADMINISTRATOR)
    client.monitor(number, item(client, SERVER, 1, queue=9))
    tell(stage, "secret", rule=4)
    stage.access.roles["eve"] = Role.OPERATOR
    tell(stage, "open")
    stage.time.to(200)
    tell(stage, "later")
    stage.time.to(400)
    assert "secret" not in [message for _, message in told(client)]
