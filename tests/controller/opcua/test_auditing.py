"""What is audited: events for administrators, records for the log, and never a secret."""

import asyncio
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import variant_from_binary

from controller.audit import files
from controller.audit.chain import Record
from controller.audit.commands import records
from controller.audit.log import Log
from controller.opcua.access import Who
from controller.opcua.auditing import REFUSALS, Auditing
from controller.opcua.calling import Called, NotDone
from controller.opcua.encoding import data_value, key_of, node_key, qualified, text, variant
from controller.opcua.events import Event, Events
from controller.opcua.guard import Refused
from controller.opcua.nodes import Nodes
from controller.opcua.nodes.cache import ready
from controller.opcua.nodes.store import METHOD, OBJECT, VARIABLE
from controller.opcua.roles import TABLE, May, Rule
from controller.opcua.trust.changing import Kind, Told
from controller.opcua.writing import Outcome, Wrote
from controller.users import Role
from tests.controller.opcua.wired import Wired
from twin.clock import Ns, S

CANARY = "otto-password"  # what the raw client logs in with
NOW = 1_800_000_000 * S
BELT, RUN, SPEED, PIN = (node_key(2, path) for path in ("belt-1", "belt-1/run", "belt-1/speed", "belt-1/api_key"))


@cache
def nodes() -> Nodes:
    made = ready(("urn:test:application", "urn:test:nodes"))
    belt = made.add(BELT, OBJECT, qualified("belt-1", 2), text("belt-1"), rule=Rule.OPEN)
    run = made.add(RUN, METHOD, qualified("run", 2), text("run"), rule=Rule.COMMAND)
    for key, rule in ((SPEED, Rule.SETPOINT), (PIN, Rule.SETPOINT)):
        made.add(key, VARIABLE, qualified(key[7:].decode().rpartition("/")[2], 2), text("x"), rule=rule)
    takes = (("speed", 11), ("password", 12))
    named: list[Any] = [ua.Argument(Name=name, DataType=ua.NodeId(kind), ValueRank=-1) for name, kind in takes]
    inputs = made.add(
        node_key(2, "belt-1/run/in"), VARIABLE, qualified("InputArguments"), text("x"), rule=0, attributes={13: variant(named)}
    )
    made.refer(belt, made.standard(ObjectIds.HasComponent), run)
    made.refer(run, made.standard(ObjectIds.HasProperty), inputs)
    return made


class Book:
    """A log that remembers."""

    def __init__(self) -> None:
        self.failed, self.restricted, self.room = "", False, True
        self.told: list[Record] = []

    def note(self, record: Record) -> bool:
        self.told.append(record)
        return self.room

    def append(self, record: Record) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.failed:
            done.set_exception(files.AuditError(f"the audit log cannot be written: {self.failed}"))
        else:
            self.told.append(record)
            done.set_result(None)
        return done


class Desk:
    """Auditing, its log, and what was told."""

    def __init__(self, urls: Sequence[str] = ()) -> None:
        self.book, self.heard = Book(), list[Event]()
        self.now = Ns(0)
        events = Events(nodes())
        events.listeners.append(self.heard.append)
        self.auditing = Auditing(events, nodes(), self.book, lambda: NOW, lambda: self.now, "urn:us", urls)

    def last(self) -> dict[str, Any]:
        """The fields of the last event."""
        return {name: variant_from_binary(Buffer(encoded)).Value for name, encoded in self.heard[-1].fields.items()}


def session(name: str = "otto", role: Role = Role.OPERATOR) -> Any:
    channel = SimpleNamespace(address="10.0.0.7:50000", number=9)
    return SimpleNamespace(
        who=Who(name), role=role, key=node_key(1, 77), channel=channel, client_uri="urn:client", certificate=b"der", name="mine",
        timeout_ms=60_000.0, endpoint_url="opc.tcp://other:4840",
    )  # fmt: skip


def of_type(number: int) -> int:
    return nodes().standard(number)


# ---- what is told ------------------------------------------------------------------------------------------------------


def test_a_write_is_told_with_its_old_and_new_value() -> None:
    desk = Desk()
    old, new = data_value(variant(0.1)), ua.Variant(0.25, ua.VariantType.Double)
    desk.auditing.wrote(Wrote(session(), "entry-5", SPEED, 13, "", new, old, Outcome(0)))
    event, fields = desk.heard[-1], desk.last()
    assert event.kind == of_type(ObjectIds.AuditWriteUpdateEventType) and event.source == nodes().find(SPEED)
    assert (fields["OldValue"], fields["NewValue"], fields["AttributeId"]) == (0.1, 0.25, 13)
    assert fields["Status"] is True and fields["ServerId"] == "urn:us" and fields["SourceName"] == "Attribute/Write"
    assert [fields[f"Client{name}"] for name in ("UserId", "AuditEntryId", "ApplicationUri")] == ["otto", "entry-5", "urn:client"]
    record = desk.book.told[-1]
    assert (record.who, record.role, record.where) == ("otto", "operator", "10.0.0.7:50000")
    assert (record.action, record.target, record.old, record.new) == ("write", "belt-1/speed", "0.1", "0.25")
    assert (record.status, record.entry, record.session) == ("Good", "entry-5", "ns=1;i=77")


def test_a_call_is_told_with_its_inputs_and_a_refusal_with_its_reason() -> None:
    desk = Desk()
    inputs = (ua.Variant(0.25), ua.Variant("hush-hush"))
    refused = Called(session(), "", BELT, RUN, inputs, StatusCodes.BadInvalidState, "the belt is latched")
    desk.auditing.called(refused)
    fields, record = desk.last(), desk.book.told[-1]
    assert desk.heard[-1].source == nodes().find(BELT) and fields["MethodId"] == ua.NodeId("belt-1/run", 2)
    assert [each.Value for each in fields["InputArguments"]] == [0.25, None]
    assert fields["Status"] is False and fields["StatusCodeId"].value == StatusCodes.BadInvalidState
    assert "the belt is latched" in fields["Message"].Text and fields["Severity"] > 100
    assert (record.action, record.target, record.status) == ("call", "belt-1/run", "BadInvalidState")
    assert record.text == "the belt is latched"
    assert record.new == "speed=0.25, password=(hidden)"


def test_what_is_named_like_a_secret_is_not_told() -> None:
    desk = Desk()
    desk.auditing.wrote(Wrote(session(), "", PIN, 13, "", ua.Variant("hush-hush"), data_value(variant("older-hush")), Outcome(0)))
    desk.auditing.called(Called(session(), "", BELT, RUN, (ua.Variant(1.0), ua.Variant("hush-hush")), 0))
    told = repr(desk.book.told) + repr(desk.heard)
    assert "hush" not in told and "(hidden)" in told


def test_sessions_and_logins_are_told_and_a_refused_login_by_the_name_it_claimed() -> None:
    desk = Desk(urls=["opc.tcp://127.0.0.1:4840/lockstep"])
    one = session()
    desk.auditing.session_created(one)
    assert desk.heard[-1].kind == of_type(ObjectIds.AuditUrlMismatchEventType) and desk.last()["EndpointUrl"] == one.endpoint_url
    assert desk.last()["RevisedSessionTimeout"] == 60_000 and desk.last()["ClientCertificate"] == b"der"
    one.endpoint_url = "OPC.TCP://127.0.0.1:4840/lockstep/"
    desk.auditing.session_created(one)
    assert desk.heard[-1].kind == of_type(ObjectIds.AuditCreateSessionEventType)
    desk.auditing.session_activated(one, None)
    token = desk.last()["UserIdentityToken"]
    assert (token.UserName, token.Password) == ("otto", None) and desk.book.told[-1].action == "login"
    assert desk.last()["CurrentRoleIds"] == [ua.NodeId(ObjectIds.WellKnownRole_Operator)]
    desk.auditing.session_activated(one, one.who)
    assert desk.book.told[-1].action == "session"
    asked = SimpleNamespace(session=None, channel=SimpleNamespace(address="10.0.0.9:1", client=None), audit="e")
    claimed = SimpleNamespace(UserIdentityToken=ua.UserNameIdentityToken(UserName="root", Password=b"hush-hush"))
    desk.auditing.service_refused(asked, "ActivateSession", StatusCodes.BadUserAccessDenied, claimed)
    assert desk.heard[-1].kind == of_type(ObjectIds.AuditActivateSessionEventType) and desk.last()["Status"] is False
    record = desk.book.told[-1]
    assert (record.action, record.target, record.who, record.status) == ("login", "root", "", "BadUserAccessDenied")
    desk.auditing.session_closed(one)
    desk.auditing.cancelled(one, 5)
    assert desk.last()["RequestHandle"] == 5
    assert "hush" not in repr(desk.book.told) + repr(desk.heard)


def test_a_refused_certificate_is_told_by_the_type_of_what_is_wrong_with_it() -> None:
    desk = Desk()
    refused = Refused(StatusCodes.BadCertificateRevoked, "it is on its issuer's list")
    refused.audit, refused.certificate = ObjectIds.AuditCertificateRevokedEventType, b"their-der"  # type: ignore[attr-defined]
    channel = SimpleNamespace(address="10.0.0.9:1", number=0, client=None, policy=None, mode=ua.MessageSecurityMode.None_)
    desk.auditing.channel_refused(channel, refused)
    kinds = [event.kind for event in desk.heard]
    assert kinds == [of_type(ObjectIds.AuditCertificateRevokedEventType), of_type(ObjectIds.AuditOpenSecureChannelEventType)]
    fields = {name: variant_from_binary(Buffer(encoded)).Value for name, encoded in desk.heard[0].fields.items()}
    assert fields["Certificate"] == b"their-der" and fields["SourceName"] == "Security/Certificate"
    assert desk.book.told[-1].status == "BadCertificateRevoked"


def test_trust_that_changes_is_told() -> None:
    desk = Desk()
    desk.auditing.trust_changed(Kind.TRUST_UPDATED, Told(session("anna", Role.ADMINISTRATOR), 12_522, 0, "added urn:x"))
    assert desk.heard[-1].kind == of_type(ObjectIds.TrustListUpdatedAuditEventType)
    assert desk.book.told[-1].action == "trust" and desk.book.told[-1].text == "added urn:x"


def test_audit_events_are_for_administrators_alone_and_have_the_fields_of_their_type() -> None:
    desk = Desk()
    desk.auditing.session_closed(session())
    rule = desk.heard[-1].rule
    allowed = [role for role in Role if TABLE[rule][role - 1] & May.RECEIVE_EVENTS]
    assert allowed == [Role.ADMINISTRATOR]
    base = {"EventId", "EventType", "SourceNode", "SourceName", "Time", "ReceiveTime", "Message", "Severity"}
    assert desk.last().keys() >= base | {"ActionTimeStamp", "Status", "ServerId", "ClientUserId", "SessionId", "StatusCodeId"}


def test_strangers_get_few_records_a_minute_and_the_others_are_counted() -> None:
    desk = Desk()
    channel = SimpleNamespace(address="10.0.0.9:1", number=0, client=None, policy=None, mode=ua.MessageSecurityMode.None_)
    for _ in range(10 * REFUSALS):
        desk.auditing.channel_refused(channel, Refused(StatusCodes.BadTcpMessageTypeInvalid, "no such message"))
    assert len(desk.book.told) == len(desk.heard) == REFUSALS
    desk.now = Ns(61 * S)
    desk.auditing.channel_refused(channel, Refused(StatusCodes.BadTcpMessageTypeInvalid, "no such message"))
    assert desk.book.told[-2].text == f"{9 * REFUSALS} more were refused, more than {REFUSALS} a minute"


def test_what_concerns_one_s_own_session_gets_no_record_unless_it_is_refused() -> None:
    desk = Desk()
    server, items = node_key(0, ObjectIds.Server), node_key(0, ObjectIds.Server_GetMonitoredItems)
    number = nodes().find(items)
    before = nodes().rules[number]
    nodes().rules[number] = Rule.OWN
    try:
        desk.auditing.called(Called(session(), "", server, items, (ua.Variant(1),), 0))
        assert not desk.book.told
        desk.auditing.called(Called(session(), "", server, items, (ua.Variant(1),), StatusCodes.BadSubscriptionIdInvalid))
        assert desk.book.told[-1].target == "Server/GetMonitoredItems"
    finally:
        nodes().rules[number] = before


# ---- before a command --------------------------------------------------------------------------------------------------


def test_a_command_s_record_is_on_disk_before_it_is_asked_for(tmp_path: Path) -> None:
    desk = Desk()
    seen: list[str] = []

    async def run(whose: Any, inputs: Any) -> list[ua.Variant]:
        seen.extend(line.record.status for _, line in records(tmp_path / "audit") if line.record.action == "call")
        return [ua.Variant(True)]

    async def call() -> None:
        writer = Log(tmp_path / "audit")
        auditing = Auditing(Events(nodes()), nodes(), writer, lambda: NOW, lambda: Ns(0), "urn:us")
        try:
            outputs = await auditing.commanding(BELT, RUN, run)(session(), [ua.Variant(0.5)])  # type: ignore[misc]
            assert outputs[0].Value is True
            auditing.called(Called(session(), "", BELT, RUN, (ua.Variant(0.5),), 0))
        finally:
            writer.close()

    asyncio.run(call())
    assert seen == ["asked"]
    told = [line.record for _, line in records(tmp_path / "audit") if line.record.action == "call"]
    assert [record.status for record in told] == ["asked", "Good"] and {record.target for record in told} == {"belt-1/run"}
    assert desk.book.told == []


async def _never(*_: Any) -> Any:
    raise AssertionError("it was asked for")


async def _done(*_: Any) -> Any:
    return []


def test_when_the_log_cannot_be_written_commands_are_refused_and_stopping_is_not() -> None:
    desk = Desk()
    desk.book.failed = "No space left on device"

    async def calls() -> None:
        with pytest.raises(NotDone) as refused:
            await desk.auditing.commanding(BELT, RUN, _never)(session(), [])  # type: ignore[misc]
        assert refused.value.code == StatusCodes.BadResourceUnavailable
        assert refused.value.text == "the audit log cannot be written: No space left on device"
        outcome = await desk.auditing.setting(SPEED, _never)(session(), 0.2)
        assert outcome == Outcome(StatusCodes.BadResourceUnavailable, refused.value.text)
        desk.book.room = False
        assert await desk.auditing.commanding(BELT, RUN, _done, stop=True)(session(), []) == []  # type: ignore[misc]

    asyncio.run(calls())
    desk.auditing.look()
    desk.auditing.look()
    assert len(desk.heard) == 1 and desk.last()["Severity"] == 900 and "No space left" in desk.auditing.state
    assert TABLE[desk.heard[0].rule][Role.OBSERVER - 1] & May.RECEIVE_EVENTS
    desk.book.failed = ""
    desk.auditing.look()
    assert len(desk.heard) == 2 and desk.auditing.state == ""


def test_after_a_break_only_administrators_command_and_everybody_stops() -> None:
    desk = Desk()
    desk.book.restricted = True

    async def calls() -> None:
        with pytest.raises(ServiceError) as refused:
            await desk.auditing.commanding(BELT, RUN, _never)(session(), [])  # type: ignore[misc]
        assert refused.value.code == StatusCodes.BadUserAccessDenied
        assert await desk.auditing.commanding(BELT, RUN, _done, stop=True)(session(), []) == []  # type: ignore[misc]
        anna = session("anna", Role.ADMINISTRATOR)
        assert await desk.auditing.commanding(BELT, RUN, _done)(anna, []) == []  # type: ignore[misc]

    asyncio.run(calls())


# ---- on the wire -------------------------------------------------------------------------------------------------------


def test_over_the_wire_every_login_is_told_and_no_password_is_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    heard: list[Event] = []
    with Wired(users={"otto": Role.OPERATOR}) as wired:
        events = Events(nodes())
        events.listeners.append(heard.append)
        writer = Log(tmp_path / "audit")
        auditing = Auditing(events, nodes(), writer, lambda: NOW, wired.clock.now, "urn:us")
        wired.sessions.on_new.append(auditing.session_created)
        wired.sessions.on_activated.append(auditing.session_activated)
        wired.sessions.on_closed.append(auditing.session_closed)
        wired.sessions.on_refused.append(auditing.service_refused)
        wired.link.gates.terms.on_used.append(auditing.channel_opened)
        wired.link.gates.terms.on_refused.append(auditing.channel_refused)
        wired.client(user="otto")
        with pytest.raises(ua.UaStatusCodeError):
            wired.client(user="nobody")
        writer.close()
    told = [line.record for _, line in records(tmp_path / "audit")]
    logins = [(record.who, record.target, record.status) for record in told if record.action == "login"]
    assert logins == [("otto", "", "Good"), ("", "nobody", "BadUserAccessDenied")]
    assert [record.status for record in told if record.action == "channel"] == ["Good", "Good"]
    every = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    every += b"".join(b"".join(event.fields.values()) for event in heard) + caplog.text.encode()
    for hidden in (CANARY, "nobody-password"):
        assert hidden.encode() not in every and hidden.encode("utf-16-le") not in every
    assert struct.pack("<i", 4) + b"otto" in every  # the name is
    assert key_of(ua.NodeId(77, 1)) == node_key(1, 77)
