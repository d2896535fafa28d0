"""What the server tells of itself, decoded by asyncua."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_from_binary
from numpy.typing import NDArray

from controller.opcua import nodes
from controller.opcua.access import Who
from controller.opcua.diagnostics import Diagnostics, Totals
from controller.opcua.encoding import node_key
from controller.opcua.link.policies import BASIC256SHA256, Policy
from controller.opcua.names import standard
from controller.opcua.nodes import Nodes
from controller.opcua.roles import May, Rule, may
from controller.opcua.sessions import Counter, Session, Sessions
from controller.opcua.status import SHUTDOWN, Build, Status
from controller.users import Role
from tests.controller.opcua.standing import Standing
from tests.controller.opcua.whole import Whole
from tests.controller.opcua.wired import status_of


@dataclass
class Everyone:
    """Access for a test: everybody is an administrator."""

    def role(self, who: Who) -> Role:
        return Role.ADMINISTRATOR


@dataclass
class Sealed:
    """What diagnostics ask of a channel."""

    mode: int = 3
    policy: Policy = BASIC256SHA256


@dataclass
class Security:
    """SessionSecurityDiagnosticsDataType as Part 5 §12.12 has it: asyncua's own cannot read it."""

    SessionId: ua.NodeId
    ClientUserIdOfSession: ua.String
    ClientUserIdHistory: list[ua.String]
    AuthenticationMechanism: ua.String
    Encoding_: ua.String
    TransportProtocol: ua.String
    SecurityMode: ua.MessageSecurityMode
    SecurityPolicyUri: ua.String
    ClientCertificate: ua.ByteString


class Three:
    """Subscriptions for a test: three, of two intervals, the last of another session."""

    def __init__(self) -> None:
        self.mine: Session | None = None

    def diagnostics(self, session: Session | None) -> list[Any]:
        every = [ua.SubscriptionDiagnosticsDataType(PublishingInterval=ms, MonitoredItemCount=5) for ms in (100.0, 100.0, 500.0)]
        return every if session is None else every[:2]

    def waiting(self, session: Session) -> int:
        return 7

    def total(self) -> int:
        return 12

    def intervals(self) -> list[float]:
        return [100.0, 100.0, 500.0]

    def load(self, session: Session) -> tuple[int, int]:
        return 2, 10

    def held(self, nodes: NDArray[np.bool_]) -> set[int]:
        return set()


@dataclass
class Refusing:
    """What diagnostics ask of whoever answers requests."""

    refused: int = 6
    insecure: int = 4


@pytest.fixture(autouse=True)
def _read_by_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = standard(ObjectIds.SessionSecurityDiagnosticsDataType_Encoding_DefaultBinary)
    monkeypatch.setitem(ua.extension_objects_by_typeid, kind, Security)


@pytest.fixture
def shown() -> tuple[Nodes, Status, Diagnostics, Sessions]:
    space = nodes.load(("urn:application", "urn:factory"))
    sessions = Sessions(Everyone(), Standing())  # type: ignore[arg-type]
    status = Status(Build("urn:product", "Somebody", "A server", "1.2.3", 1_700_000_000_000_000_000), lambda: True)
    status.hang_on(space)
    totals = Totals(cumulated_session_count=3, session_timeout_count=2)
    diagnostics = Diagnostics(space, sessions, Three(), totals, Refusing(), "urn:server")
    diagnostics.hang_on()
    return space, status, diagnostics, sessions


def read(space: Nodes, name: str, key: bytes | None = None) -> Any:
    """A value as a client decodes it."""
    number = space.find(key or node_key(0, getattr(ObjectIds, name)))
    if number in space.reads:
        buffer = Buffer(space.reads[number](None))
        value: Any = struct_from_binary(ua.DataValue, buffer)
        assert len(buffer) == 0 and value.SourceTimestamp is not None
        return value.Value.Value
    return ua.ua_binary.variant_from_binary(Buffer(space.attributes[number][13])).Value


def opened(sessions: Sessions, diagnostics: Diagnostics) -> Session:
    made = sessions.new("panel", b"certificate", "urn:panel", "opc.tcp://127.0.0.1", 60_000.0)
    made.channel, made.who, made.locales = Sealed(), Who("otto"), ("ko", "en")
    made.counts["Read"] = Counter(12, 3)
    diagnostics.opened(made)
    diagnostics.used_by(made, "otto")
    return made


def test_status_and_its_parts_say_the_same(shown: Any) -> None:
    space, status, _, _ = shown
    status.state, status.reason, status.ends_ns = SHUTDOWN, "maintenance", 2**62
    whole = read(space, "Server_ServerStatus")
    assert whole.State == ua.ServerState.Shutdown == read(space, "Server_ServerStatus_State")
    assert whole.ShutdownReason.Text == "maintenance" == read(space, "Server_ServerStatus_ShutdownReason").Text
    assert read(space, "Server_ServerStatus_SecondsTillShutdown") > 0
    assert whole.BuildInfo.SoftwareVersion == "1.2.3" == read(space, "Server_ServerStatus_BuildInfo_SoftwareVersion")
    assert whole.BuildInfo.BuildDate == read(space, "Server_ServerStatus_BuildInfo_BuildDate")
    assert whole.BuildInfo.BuildDate.timestamp() == 1_700_000_000
    assert whole.StartTime == read(space, "Server_ServerStatus_StartTime") <= whole.CurrentTime


def test_the_summary_and_its_parts_count_what_there_is(shown: Any) -> None:
    space, _, diagnostics, sessions = shown
    opened(sessions, diagnostics)
    name = "Server_ServerDiagnostics_ServerDiagnosticsSummary"
    whole = read(space, name)
    assert (whole.CurrentSessionCount, whole.CurrentSubscriptionCount, whole.PublishingIntervalCount) == (1, 3, 2)
    assert (whole.CumulatedSessionCount, whole.SessionTimeoutCount) == (3, 2)
    assert (whole.CumulatedSubscriptionCount, whole.RejectedRequestsCount, whole.SecurityRejectedRequestsCount) == (12, 6, 4)
    for field in fields(whole):
        assert read(space, f"{name}_{field.name}") == getattr(whole, field.name)


def test_a_session_has_an_object_of_its_own_while_it_lives(shown: Any) -> None:
    space, _, diagnostics, sessions = shown
    before = len(space.reads)
    session = opened(sessions, diagnostics)
    parent = space.standard(ObjectIds.Server_ServerDiagnostics_SessionsDiagnosticsSummary)
    number = space.find(session.key)
    assert number in set(space.targets(parent, space.standard(ObjectIds.HasComponent)))
    told = read(space, "", node_key(1, f"{session.key.hex()}/SessionDiagnostics"))
    assert (told.SessionName, told.CurrentSubscriptionsCount, told.CurrentMonitoredItemsCount) == ("panel", 2, 10)
    assert (told.ReadCount.TotalCount, told.TotalRequestCount.ErrorCount, told.LocaleIds) == (12, 3, ["ko", "en"])
    assert told.CurrentPublishRequestsInQueue == 7
    counted = read(space, "", node_key(1, f"{session.key.hex()}/SessionDiagnostics/ReadCount"))
    assert counted == told.ReadCount
    security = read(space, "", node_key(1, f"{session.key.hex()}/SessionSecurityDiagnostics"))
    assert (security.ClientUserIdOfSession, security.ClientCertificate) == ("otto", b"certificate")
    assert (security.ClientUserIdHistory, security.AuthenticationMechanism) == (["otto"], "UserName")
    told = space.find(node_key(1, f"{session.key.hex()}/SessionSecurityDiagnostics"))
    for number in space.targets(told, space.standard(ObjectIds.HasComponent)):
        name = space.browse_names[number][6:].decode()
        assert read(space, "", space.keys[number]) == getattr(security, name, security.Encoding_), name
    assert security.SecurityMode == ua.MessageSecurityMode.SignAndEncrypt
    assert security.SecurityPolicyUri == "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
    session.close()
    assert len(space.reads) == before and space.find(session.key) == -1
    assert not diagnostics._since and not diagnostics._names


def test_whoever_may_not_see_other_peoples_sessions_does_not(shown: Any) -> None:
    space, _, diagnostics, sessions = shown
    session = opened(sessions, diagnostics)
    secret = space.find(node_key(1, f"{session.key.hex()}/SessionSecurityDiagnostics/ClientCertificate"))
    assert Rule(space.rules[secret]) is Rule.SECURITY
    assert [may(role, space.rules[space.find(session.key)], May.BROWSE) for role in Role] == [False, False, True, True]


def test_every_value_that_is_made_when_it_is_read_is_of_its_nodes_type(shown: Any) -> None:
    space, _, diagnostics, sessions = shown
    opened(sessions, diagnostics)
    for number in space.reads:
        told: Any = struct_from_binary(ua.DataValue, Buffer(space.reads[number](None))).Value
        kind = ua.ua_binary.variant_from_binary(Buffer(space.attributes[number][14])).Value
        is_list = ua.ua_binary.variant_from_binary(Buffer(space.attributes[number][15])).Value == 1
        assert told.is_array == is_list, space.keys[number]
        if kind.NamespaceIndex == 0 and kind.Identifier <= ObjectIds.LocalizedText:
            assert told.VariantType.value == kind.Identifier, space.keys[number]
        elif kind.Identifier in (ObjectIds.ServerState, ObjectIds.MessageSecurityMode):
            assert told.VariantType == ua.VariantType.Int32, space.keys[number]
    assert len(space.reads) > 60


def test_a_thousand_sessions_leave_the_address_space_as_large_as_one_does(shown: Any) -> None:
    space, _, diagnostics, sessions = shown
    sizes = set()
    for _ in range(1_000):
        opened(sessions, diagnostics).close()
        sizes.add(tuple(len(column) for column in vars(space).values() if hasattr(column, "__len__")))
        assert len(space._free) + len(space._gone) == space.classes.count(0)
    assert len(sizes) == 1
    gone = [number for number in range(len(space)) if not space.classes[number]]
    assert len(gone) > 50 and all(space.keys[number] == b"" and not space.attributes[number] for number in gone)


def test_who_is_refused_and_who_breaks_off_is_counted_while_it_happens() -> None:
    summary = standard(ObjectIds.Server_ServerDiagnostics_ServerDiagnosticsSummary)
    every = standard(ObjectIds.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray)
    with Whole(users={"ada": Role.ADMINISTRATOR}) as whole:
        client = whole.client(user="ada")
        for _ in range(2):
            client.ask("CreateSubscription", ua.CreateSubscriptionParameters(100.0, 30, 10, 0, True, 0))
        for _ in range(3):
            assert status_of(lambda: client.ask("Republish", ua.RepublishParameters(12_345, 1))) == "BadSubscriptionIdInvalid"
        lost = whole.raw()
        lost.open(BASIC256SHA256, ua.MessageSecurityMode.SignAndEncrypt)
        lost.create()
        assert status_of(lambda: lost.ask("Read", b"")) == "BadSessionNotActivated"
        lost.wire.close()
        whole.turn()
        wanted = [ua.ReadValueId(node, AttributeIds.Value) for node in (summary, every)]
        told, mine = client.ask("Read", ua.ReadParameters(0, ua.TimestampsToReturn.Both, wanted)).Results
    told, (mine,) = told.Value.Value, mine.Value.Value
    assert (told.CumulatedSubscriptionCount, told.SessionAbortCount) == (2, 1)
    assert (told.RejectedRequestsCount, told.SecurityRejectedRequestsCount) == (4, 1)
    assert (mine.RepublishCount.ErrorCount, mine.TotalRequestCount.ErrorCount) == (3, 3)
    assert (mine.CurrentSubscriptionsCount, mine.UnauthorizedRequestCount) == (2, 0)
