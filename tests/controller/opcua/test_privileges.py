"""The privilege matrix: every role, rule, node class and operation, asked over the wire; allowed is exactly what is declared."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary

from controller.opcua import reference
from controller.opcua.calling import Calling
from controller.opcua.encoding import node_key, qualified, text, variant
from controller.opcua.events import Events, event
from controller.opcua.historic.questions import Answer, Question
from controller.opcua.historic.service import HistoryRead, Recorded
from controller.opcua.methods import Methods
from controller.opcua.nodes.cache import ready
from controller.opcua.nodes.store import METHOD, OBJECT, VARIABLE
from controller.opcua.plane import DOUBLE, Plane
from controller.opcua.reading import Reading
from controller.opcua.roles import GRANTS, OPERATIONS, RESTRICTIONS, TABLE, May, Rule, may
from controller.opcua.subscriptions import Engine, Subscriptions
from controller.opcua.view import View
from controller.opcua.writing import GOOD, Writable, Writing
from controller.users import Role
from tests.controller.opcua.wired import SIGN, Raw, Wired, decoded

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "opcua-roles.md"
NAMES = {"olga": Role.OBSERVER, "otto": Role.OPERATOR, "erin": Role.ENGINEER, "anna": Role.ADMINISTRATOR}
NOW = 1_800_000_000_000_000_000
DENIED, UNKNOWN = "BadUserAccessDenied", "BadNodeIdUnknown"


def _key(rule: Rule, sort: str) -> bytes:
    return node_key(2, f"{rule.name}/{sort}")


def _id(rule: Rule, sort: str) -> ua.NodeId:
    return ua.NodeId(f"{rule.name}/{sort}", 2)  # type: ignore[arg-type]


class Nothing:
    """A History in which nothing was ever recorded."""

    async def ask(self, question: Question) -> Answer:
        raise ServiceError(StatusCodes.GoodNoData)


class Server:
    """Every service over wires of memory, and for each rule an object, a Variable, a method and one who tells events."""

    def __init__(self, wired: Wired) -> None:
        self.wired, self.nodes, self.plane = wired, ready(("urn:test:application", "urn:test:nodes")), Plane()
        self.events = Events(self.nodes)
        self.methods, self.set, self.ran = Methods(), list[str](), list[str]()
        reading = Reading(self.nodes, self.plane)
        self.writing = Writing(self.nodes, reading)
        self.recorded: dict[int, Recorded] = {}
        loop = wired.loop
        for rule in Rule:
            self._add(rule)
        engine = Engine(
            self.nodes, self.plane, self.events, reading.read_value, wired.clock, loop.call_later, loop.call_soon, lambda: NOW
        )
        offers: list[Any] = [View(self.nodes), reading, self.writing, Calling(self.nodes, self.methods), Subscriptions(engine)]
        for offer in [*offers, HistoryRead(self.nodes, self.recorded, Nothing())]:
            wired.link.dispatch.offer(offer.services())

    def _add(self, rule: Rule) -> None:
        nodes = self.nodes
        folder = nodes.add(_key(rule, "all"), OBJECT, qualified("all", 2), text("all"), rule=Rule.OPEN)
        shown = nodes.add(_key(rule, "object"), OBJECT, qualified("o", 2), text("o"), rule=rule, attributes={12: b"\x03\x01"})
        attributes = {14: variant(ua.NodeId(11)), 15: variant(-1, ua.VariantType.Int32), 17: b"\x03\x07", 20: variant(True)}
        value = nodes.add(_key(rule, "variable"), VARIABLE, qualified("v", 2), text("v"), rule=rule, attributes=attributes)
        run = nodes.add(_key(rule, "method"), METHOD, qualified("m", 2), text("m"), rule=rule)
        for number in (shown, value, run):
            nodes.refer(folder, nodes.standard(ObjectIds.HasComponent), number)
        (row,) = self.plane.grow([DOUBLE])
        nodes.rows[value] = row
        self.plane.put(*_one(row))
        self.plane.commit(NOW // 100)
        self.recorded[value] = Recorded(f"{rule.name}/variable", DOUBLE, 1.0)
        self.methods.register(_key(rule, "all"), _key(rule, "method"), lambda *_: self.ran.append(rule.name) or [], ())
        self.writing.register(value, Writable(DOUBLE, None, self._setter(rule)))

    def _setter(self, rule: Rule) -> Any:
        async def set_it(session: Any, value: Any) -> Any:
            self.set.append(rule.name)
            return GOOD

        return set_it


def _one(row: int) -> tuple[Any, ...]:
    return np.array([row]), np.array([1.5]), 0, NOW // 100


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Wired(users=NAMES) as wired:
        yield Server(wired)


@pytest.fixture(scope="module")
def clients(server: Server) -> dict[Role | None, Raw]:
    """Of each role one, and one without a name."""
    return {None: server.wired.client(), **{role: server.wired.client(user=name) for name, role in NAMES.items()}}


# ---- what each operation comes to: None where it is allowed ------------------------------------------------------------


def _status(code: Any) -> str | None:
    name = ua.StatusCode(code.value if hasattr(code, "value") else code).name
    return None if name in ("Good", "GoodNoData") else str(name)


def _results(client: Raw, service: str, content: Any) -> Any:
    answer = client.ask(service, content)
    return getattr(answer, "Results", answer)


def browse(client: Raw, rule: Rule, sort: str) -> str | None:
    description = ua.BrowseDescription(NodeId=_id(rule, "all"), BrowseDirection=ua.BrowseDirection.Forward, IncludeSubtypes=True)
    description.ReferenceTypeId, description.ResultMask = ua.NodeId(ObjectIds.HierarchicalReferences), 63
    (found,) = _results(client, "Browse", ua.BrowseParameters(NodesToBrowse=[description]))
    seen = any(reference.NodeId == _id(rule, sort) for reference in found.References)
    description.NodeId, description.BrowseDirection = _id(rule, sort), ua.BrowseDirection.Inverse
    (from_it,) = _results(client, "Browse", ua.BrowseParameters(NodesToBrowse=[description]))
    name = ua.RelativePathElement(ua.NodeId(ObjectIds.HierarchicalReferences), False, True, ua.QualifiedName(sort[0], 2))
    way = ua.BrowsePath(_id(rule, "all"), ua.RelativePath([name]))
    (to_it,) = _results(client, "TranslateBrowsePathsToNodeIds", struct.pack("<i", 1) + struct_to_binary(way))
    ends = {seen, _status(from_it.StatusCode) is None, _status(to_it.StatusCode) is None, _attribute(client, rule, sort, 3) is None}
    assert len(ends) == 1, "the ways to see a node differ"
    return None if seen else UNKNOWN


def _attribute(client: Raw, rule: Rule, sort: str, number: int) -> str | None:
    return _status(_read(client, rule, sort, number).StatusCode)


def _read(client: Raw, rule: Rule, sort: str, number: int) -> Any:
    wanted = ua.ReadParameters(NodesToRead=[ua.ReadValueId(_id(rule, sort), ua.AttributeIds(number))])
    return _results(client, "Read", wanted)[0]


def read(client: Raw, rule: Rule, sort: str) -> str | None:
    return _attribute(client, rule, sort, 13)


def read_role_permissions(client: Raw, rule: Rule, sort: str) -> str | None:
    return _attribute(client, rule, sort, 24)


def write(client: Raw, rule: Rule, sort: str) -> str | None:
    value = ua.WriteValue(_id(rule, sort), ua.AttributeIds.Value, Value=ua.DataValue(ua.Variant(0.5)))
    return _status(_results(client, "Write", ua.WriteParameters(NodesToWrite=[value]))[0])


def call(client: Raw, rule: Rule, sort: str) -> str | None:
    wanted = ua.CallParameters([ua.CallMethodRequest(_id(rule, "all"), _id(rule, sort), [])])
    return _status(_results(client, "Call", wanted)[0].StatusCode)


def read_history(client: Raw, rule: Rule, sort: str) -> str | None:
    details = ua.ReadRawModifiedDetails(NumValuesPerNode=1, StartTime=ua.datetime(2026, 1, 1), EndTime=ua.datetime(2026, 1, 2))
    wanted = ua.HistoryReadParameters(details, ua.TimestampsToReturn.Source, False, [ua.HistoryReadValueId(_id(rule, sort))])
    return _status(_results(client, "HistoryRead", wanted)[0].StatusCode)


def receive_events(client: Raw, rule: Rule, sort: str) -> str | None:
    made = client.ask("CreateSubscription", ua.CreateSubscriptionParameters(100, 100, 10, 0, True, 0))
    chosen = ua.SimpleAttributeOperand(ua.NodeId(ObjectIds.BaseEventType), [ua.QualifiedName("Message")], ua.AttributeIds.Value)
    asked = ua.MonitoringParameters(ClientHandle=5, Filter=ua.EventFilter(SelectClauses=[chosen]), QueueSize=10)
    statuses = []
    for node in (_id(rule, sort), ua.NodeId(ObjectIds.Server)):
        item = ua.MonitoredItemCreateRequest(ua.ReadValueId(node, ua.AttributeIds.EventNotifier), RequestedParameters=asked)
        item.MonitoringMode = ua.MonitoringMode.Reporting
        wanted = ua.CreateMonitoredItemsParameters(made.SubscriptionId, ua.TimestampsToReturn.Both, [item])
        statuses.append(_status(_results(client, "CreateMonitoredItems", wanted)[0].StatusCode))
    told = SERVERS[0]
    source = told.nodes.find(_key(rule, sort))
    number = client.post("Publish", ua.PublishParameters([]))
    client.wired.turn()
    told.events.tell(event(told.nodes, told.nodes.standard(ObjectIds.SystemEventType), source, "it", 1, NOW, rule=rule))
    client.wired.advance(0.3)
    heard = decoded(client.answer(number)).NotificationMessage.NotificationData
    client.ask("DeleteSubscriptions", _numbers(made.SubscriptionId))
    assert statuses[1] is None, "everybody may monitor the Server"
    assert bool(heard) == (statuses[0] is None), "what is heard at the Server differs from what may be monitored"
    return statuses[0]


def _numbers(*numbers: int) -> bytes:
    return struct.pack(f"<i{len(numbers)}I", len(numbers), *numbers)


SERVERS: list[Server] = []
DO: dict[str, tuple[tuple[str, ...], Callable[[Raw, Rule, str], str | None]]] = {
    "browse": (("object", "variable", "method"), browse),
    "read": (("variable",), read),
    "write": (("variable",), write),
    "call": (("method",), call),
    "read history": (("variable",), read_history),
    "receive events": (("object",), receive_events),
    "read role permissions": (("object", "variable", "method"), read_role_permissions),
}
MATRIX = [(rule, operation, sort) for rule in Rule for operation, (sorts, _) in DO.items() for sort in sorts]


@pytest.mark.parametrize(("rule", "operation", "sort"), MATRIX, ids=lambda one: str(getattr(one, "name", one)).replace(" ", "_"))
def test_a_role_may_exactly_what_is_declared(
    server: Server, clients: dict[Role | None, Raw], rule: Rule, operation: str, sort: str
) -> None:
    SERVERS[:] = [server]
    for role, client in clients.items():
        server.set.clear()
        server.ran.clear()
        has = GRANTS[rule][(role or Role.OBSERVER) - 1]
        found = DO[operation][1](client, rule, sort)
        if has & OPERATIONS[operation]:
            assert found is None, (role, found)
            assert server.set == [rule.name] * (operation == "write") and server.ran == [rule.name] * (operation == "call")
            continue
        hidden = not has & May.BROWSE
        method_of = "BadMethodInvalid"  # of an object that is seen, a method that is not
        assert found in ((UNKNOWN, method_of) if hidden else (DENIED,)), (role, found)
        assert not server.set and not server.ran


def test_the_matrix_asks_for_every_operation_of_every_rule() -> None:
    assert DO.keys() == OPERATIONS.keys()
    assert len(MATRIX) == len(Rule) * sum(len(sorts) for sorts, _ in DO.values())


def test_who_may_browse_and_no_more_does_no_more(
    server: Server, clients: dict[Role | None, Raw], monkeypatch: pytest.MonkeyPatch
) -> None:
    SERVERS[:] = [server]
    browsing = tuple((int(May.BROWSE),) * len(Role) for _ in Rule)
    for module in ("attributes", "sessions", "reading", "nodes.browsing", "subscriptions.subscription"):
        monkeypatch.setattr(f"controller.opcua.{module}.TABLE", browsing)
    monkeypatch.setattr(server.nodes, "changes", server.nodes.changes + 1)  # what was kept of the other table counts no more
    for operation, (sorts, do) in DO.items():
        for sort in sorts if operation != "receive events" else ():  # nor is the Server's own node left to be monitored
            assert do(clients[Role.ADMINISTRATOR], Rule.OPEN, sort) == (None if operation == "browse" else DENIED), operation


def test_user_attributes_say_what_each_role_may(server: Server, clients: dict[Role | None, Raw]) -> None:
    for role, client in clients.items():
        for rule in Rule:
            has = GRANTS[rule][(role or Role.OBSERVER) - 1]
            if not has & May.BROWSE:
                continue
            level = _read(client, rule, "variable", 18).Value.Value
            bits = [(1, May.READ), (2, May.WRITE), (4, May.READ_HISTORY)]
            assert level == sum(bit for bit, needs in bits if has & needs)
            assert _read(client, rule, "method", 22).Value.Value is bool(has & May.CALL)
            mine = {int(each.Permissions) for each in _read(client, rule, "object", 25).Value.Value}
            assert mine == {int(has)}


def test_a_user_s_role_counts_at_each_moment() -> None:
    with Wired(users={**NAMES, "bob": Role.OPERATOR}) as wired:
        server = Server(wired)
        bob = wired.client(user="bob")
        assert call(bob, Rule.COMMAND, "method") is None
        wired.users.set_role("bob", Role.OBSERVER)
        assert call(bob, Rule.COMMAND, "method") == DENIED
        wired.users.set_role("bob", Role.ADMINISTRATOR)
        assert call(bob, Rule.SECURITY, "method") is None
        assert server.ran == ["COMMAND", "SECURITY"]


# ---- the tables themselves ---------------------------------------------------------------------------------------------


def test_each_role_may_what_the_one_below_it_may() -> None:
    for rule in Rule:
        for lower, higher in zip(GRANTS[rule], GRANTS[rule][1:], strict=False):
            assert higher & lower == lower
    assert all(TABLE[rule][role - 1] == int(GRANTS[rule][role - 1]) for rule in Rule for role in Role)


def test_observers_command_nothing_and_nobody_changes_the_address_space() -> None:
    changing = May.WRITE | May.CALL
    assert not any(may(Role.OBSERVER, rule, bit) for rule in Rule if rule != Rule.OWN for bit in (May.WRITE, May.CALL))
    everything = May(0)
    for grants in GRANTS.values():
        for grant in grants:
            everything |= grant
    assert everything == changing | May.BROWSE | May.READ | May.READ_HISTORY | May.RECEIVE_EVENTS | May.READ_ROLE_PERMISSIONS
    assert [role for role in Role if GRANTS[Rule.SECURITY][role - 1]] == [Role.ADMINISTRATOR]


def test_permissions_have_the_standard_s_bits() -> None:
    named = {bit.name.replace("_", "").lower(): int(bit) for bit in May if bit.name}
    theirs = {str(bit.name).lower(): int(bit) for bit in ua.PermissionType if bit.value}
    assert named == theirs


def test_over_a_channel_that_is_signed_alone_nothing_is_learnt_of_trust_and_audit(server: Server) -> None:
    anna = server.wired.client(user="anna", name="signer", mode=SIGN)
    refused = "BadSecurityModeInsufficient"
    for rule in Rule:
        needs_more = rule == Rule.SECURITY
        assert read(anna, rule, "variable") == (refused if needs_more else None)
        assert _read(anna, rule, "variable", 26).Value.Value == RESTRICTIONS[rule] == (3 if needs_more else 1)
        assert browse(anna, rule, "method") is None
    assert call(anna, Rule.SECURITY, "method") == refused and call(anna, Rule.COMMAND, "method") is None


def test_the_page_of_roles_is_up_to_date() -> None:
    made = reference.page()
    assert PAGE.read_text(encoding="utf-8") == made, "python -m controller.opcua.reference > docs/reference/opcua-roles.md"
