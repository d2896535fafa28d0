"""What the server tells of itself: its status, its sessions and subscriptions (Part 5 §6.3.3, §6.3.5, §12.9 to §12.15).

Everything is made at the moment it is read: nobody pays for what nobody looks at.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Protocol

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.encoding import NULL_TEXT, data_value, node_key, qualified, text, ticks, variant
from controller.opcua.names import in_namespace
from controller.opcua.nodes.store import NO_NODE, OBJECT, VALUE, VARIABLE, Nodes
from controller.opcua.roles import Rule
from controller.opcua.session_security import UA_BINARY, SessionSecurity
from controller.opcua.sessions import Session, Sessions
from twin.clock import utc_ns

RUNNING, SHUTDOWN = 0, 4
WHOLE, DEGRADED = 255, 100
"""ServiceLevel with a core, and while there is none and values are old (Part 4 §6.6.2.4.2)."""
SECURITY = frozenset(
    (
        StatusCodes.BadUserAccessDenied,
        StatusCodes.BadIdentityTokenInvalid,
        StatusCodes.BadIdentityTokenRejected,
        StatusCodes.BadApplicationSignatureInvalid,
        StatusCodes.BadCertificateInvalid,
        StatusCodes.BadCertificateUriInvalid,
        StatusCodes.BadNonceInvalid,
        StatusCodes.BadSecurityChecksFailed,
    )
)
"""Refusals of sessions that are about who somebody is."""
_SUMMARY = "Server_ServerDiagnostics_ServerDiagnosticsSummary"
_SESSIONS = "Server_ServerDiagnostics_SessionsDiagnosticsSummary"
_IN_SESSION = "SessionDiagnosticsObjectType"


class Subscribed(Protocol):
    """Whoever has the subscriptions."""

    def diagnostics(self, session: Session | None) -> Sequence[Any]:
        """SubscriptionDiagnosticsDataType of each subscription of a session, or of all."""
        ...

    def waiting(self, session: Session) -> int:
        """How many Publish requests wait."""
        ...


@dataclass
class Totals:
    """What was counted since the start; the names are those of ServerDiagnosticsSummaryDataType."""

    cumulated_session_count: int = 0
    security_rejected_session_count: int = 0
    rejected_session_count: int = 0
    session_timeout_count: int = 0
    session_abort_count: int = 0
    cumulated_subscription_count: int = 0
    security_rejected_requests_count: int = 0
    rejected_requests_count: int = 0

    def follow(self, sessions: Sessions) -> None:
        """Count what becomes of sessions."""
        sessions.on_new.append(self._new)
        sessions.on_refused.append(self._refused)
        sessions.on_closed.append(self._closed)

    def _new(self, session: Session) -> None:
        self.cumulated_session_count += 1

    def _refused(self, asked: Any, service: str, code: int, given: Any) -> None:
        if service != "CloseSession":
            self.rejected_session_count += 1
            self.security_rejected_session_count += code in SECURITY

    def _closed(self, session: Session) -> None:
        self.session_timeout_count += session.timed_out
        for counter in session.counts.values():
            self.rejected_requests_count += counter.errors


@dataclass(frozen=True, slots=True)
class Build:
    """What this server is."""

    product_uri: str
    manufacturer: str
    product: str
    version: str


class Status:
    """ServerStatus and ServiceLevel.

    Attributes:
        state: ServerState.
        reason: why it will end, empty while it goes on.
        ends_ns: UTC at which it will, 0 while it goes on.
    """

    def __init__(self, build: Build, complete: Callable[[], bool]) -> None:
        """`complete`: whether there is a core to follow."""
        self.state, self.reason, self.ends_ns = RUNNING, "", 0
        self._build, self._complete = build, complete
        self._started_ns = utc_ns()

    def hang_on(self, nodes: Nodes) -> None:
        """Let the standard's nodes tell it."""
        started = data_time(self._started_ns)
        built = self._build
        status = "Server_ServerStatus"
        info = f"{status}_BuildInfo"
        constant = {
            f"{info}_ProductUri": variant(built.product_uri, ua.VariantType.String),
            f"{info}_ManufacturerName": variant(built.manufacturer, ua.VariantType.String),
            f"{info}_ProductName": variant(built.product, ua.VariantType.String),
            f"{info}_SoftwareVersion": variant(built.version, ua.VariantType.String),
            f"{info}_BuildNumber": variant("", ua.VariantType.String),
            f"{info}_BuildDate": variant(started, ua.VariantType.DateTime),
            info: variant(self._build_info()),
            f"{status}_StartTime": variant(started, ua.VariantType.DateTime),
        }
        for name, value in constant.items():
            _constant(nodes, name, value)
        _reads(nodes, status, lambda _: variant(self.structure()))
        _reads(nodes, f"{status}_CurrentTime", lambda _: variant(data_time(utc_ns()), ua.VariantType.DateTime))
        _reads(nodes, f"{status}_State", lambda _: variant(self.state, ua.VariantType.Int32))
        _reads(nodes, f"{status}_SecondsTillShutdown", lambda _: variant(self._seconds_left(), ua.VariantType.UInt32))
        _reads(nodes, f"{status}_ShutdownReason", lambda _: variant(ua.LocalizedText(self.reason or None)))
        _reads(nodes, "Server_ServiceLevel", lambda _: variant(WHOLE if self._complete() else DEGRADED, ua.VariantType.Byte))

    def _seconds_left(self) -> int:
        return max(0, -(-(self.ends_ns - utc_ns()) // 10**9)) if self.ends_ns else 0

    def _build_info(self) -> Any:
        b, started = self._build, data_time(self._started_ns)
        return ua.BuildInfo(b.product_uri, b.manufacturer, b.product, b.version, "", started)

    def structure(self) -> Any:
        """As ServerStatusDataType."""
        reason = ua.LocalizedText(self.reason or None)
        now, started = data_time(utc_ns()), data_time(self._started_ns)
        left: Any = self._seconds_left()
        return ua.ServerStatusDataType(started, now, ua.ServerState(self.state), self._build_info(), left, reason)


class Diagnostics:
    """ServerDiagnostics, with an object for each session."""

    def __init__(self, nodes: Nodes, sessions: Sessions, subscribed: Subscribed, totals: Totals, server_uri: str) -> None:
        self._nodes = nodes
        self._sessions = sessions
        self._subscribed = subscribed
        self._totals = totals
        self._server_uri = server_uri
        self._since: dict[Session, int] = {}
        self._names: dict[Session, list[str]] = {}

    def hang_on(self) -> None:
        """Let the standard's nodes tell it."""
        nodes = self._nodes
        below = [(name, nodes.find(node_key(0, number))) for name, number in _children(_SUMMARY)]
        self._structured(nodes.standard(_id(_SUMMARY)), below, self.summary)
        _reads(nodes, "Server_ServerDiagnostics_SubscriptionDiagnosticsArray", lambda _: _array(self._subscribed.diagnostics(None)))
        _reads(nodes, f"{_SESSIONS}_SessionDiagnosticsArray", lambda _: _array([self.session(s) for s in self._sessions]))
        security = f"{_SESSIONS}_SessionSecurityDiagnosticsArray"
        _reads(nodes, security, lambda _: _array([self.security(s).whole() for s in self._sessions]))
        nodes.rules[nodes.standard(_id(security))] = Rule.SECURITY
        for name in (f"{_SESSIONS}_SessionDiagnosticsArray", "Server_ServerDiagnostics_SubscriptionDiagnosticsArray"):
            nodes.rules[nodes.standard(_id(name))] = Rule.DIAGNOSTICS
        _constant(nodes, "Server_ServerDiagnostics_EnabledFlag", variant(True, ua.VariantType.Boolean))
        flag = nodes.standard(_id("Server_ServerDiagnostics_EnabledFlag"))  # nobody can switch it off
        nodes.put(flag, int(AttributeIds.AccessLevel), variant(1, ua.VariantType.Byte))

    def summary(self) -> Any:
        """As ServerDiagnosticsSummaryDataType."""
        total, subscriptions = self._totals, self._subscribed.diagnostics(None)
        made: Any = ua.ServerDiagnosticsSummaryDataType()
        for field in fields(total):
            setattr(made, "".join(word.capitalize() for word in field.name.split("_")), getattr(total, field.name))
        made.CurrentSessionCount = len(self._sessions)
        made.CurrentSubscriptionCount = len(subscriptions)
        made.PublishingIntervalCount = len({one.PublishingInterval for one in subscriptions})
        return made

    # ---- one session

    def opened(self, session: Session) -> None:
        """A session is activated for the first time: give it its object."""
        if session in self._since:
            return
        self._since[session], self._names[session] = utc_ns(), []
        parent = self._nodes.find(node_key(0, _id(_SESSIONS)))
        if parent == NO_NODE:
            return
        added = list(self._objects(session, parent))
        session.on_close.append(lambda: self._closed(session, added))

    def used_by(self, session: Session, name: str) -> None:
        """A user is activated in a session: remembered in ClientUserIdHistory, the last 20."""
        self._names.setdefault(session, []).append(name)
        del self._names[session][:-20]

    def _closed(self, session: Session, added: list[int]) -> None:
        for number in reversed(added):
            self._nodes.reads.pop(number, None)
            self._nodes.remove(number)
        self._since.pop(session, None)
        self._names.pop(session, None)

    def _objects(self, session: Session, parent: int) -> Iterator[int]:
        nodes, own = self._nodes, session.key
        kind = nodes.standard(_id(_IN_SESSION))
        top = nodes.add(own, OBJECT, qualified(session.name), text(session.name), rule=Rule.DIAGNOSTICS)
        nodes.refer(parent, nodes.standard(ObjectIds.HasComponent), top)
        nodes.refer(top, nodes.standard(ObjectIds.HasTypeDefinition), kind)
        yield top
        each: tuple[tuple[str, Callable[[], Any], Rule], ...] = (
            ("SessionDiagnostics", lambda: self.session(session), Rule.DIAGNOSTICS),
            ("SessionSecurityDiagnostics", lambda: self.security(session), Rule.SECURITY),
        )
        for name, made, rule in each:
            declared = nodes.find(node_key(0, _id(f"{_IN_SESSION}_{name}")))
            number = self._like(declared, top, f"{own.hex()}/{name}", rule)
            yield number
            below = [(child, self._like(declared_child, number, f"{own.hex()}/{name}/{child}", rule))
                     for child, declared_child in self._declared(declared)]  # fmt: skip
            self._structured(number, below, made)
            yield from (child for _, child in below)
        declared = nodes.find(node_key(0, _id(f"{_IN_SESSION}_SubscriptionDiagnosticsArray")))
        number = self._like(declared, top, f"{own.hex()}/SubscriptionDiagnosticsArray", Rule.DIAGNOSTICS)
        nodes.reads[number] = _stamped(lambda _: _array(self._subscribed.diagnostics(session)))
        yield number

    def _declared(self, declared: int) -> list[tuple[str, int]]:
        component = self._nodes.standard(ObjectIds.HasComponent)
        return [(_name(self._nodes.browse_names[n]), n) for n in self._nodes.targets(declared, component)]

    def _like(self, declared: int, parent: int, path: str, rule: Rule) -> int:
        """A Variable as its declaration says."""
        nodes = self._nodes
        number = nodes.add(
            node_key(1, path), VARIABLE, nodes.browse_names[declared], nodes.display_names[declared], rule=rule,
            description=NULL_TEXT, attributes={k: v for k, v in nodes.attributes[declared].items() if k != VALUE},
        )  # fmt: skip
        nodes.refer(parent, nodes.standard(ObjectIds.HasComponent), number)
        nodes.refer(number, nodes.standard(ObjectIds.HasTypeDefinition), nodes.kinds[declared])
        return number

    def session(self, session: Session) -> Any:
        """As SessionDiagnosticsDataType."""
        made: Any = ua.SessionDiagnosticsDataType()
        subscriptions = self._subscribed.diagnostics(session)
        made.SessionId, made.SessionName, made.ServerUri = _session_id(session), session.name, self._server_uri
        made.EndpointUrl, made.LocaleIds = session.endpoint_url, list(session.locales)
        made.ClientDescription = session.description or ua.ApplicationDescription(ApplicationUri=session.client_uri)
        made.ActualSessionTimeout, made.MaxResponseMessageSize = session.timeout_ms, session.max_response
        since = self._since.get(session, utc_ns())
        made.ClientConnectionTime = data_time(since)
        made.ClientLastContactTime = data_time(since + session.heard - session.created)
        made.CurrentSubscriptionsCount = len(subscriptions)
        made.CurrentMonitoredItemsCount = sum(one.MonitoredItemCount for one in subscriptions)
        made.CurrentPublishRequestsInQueue = self._subscribed.waiting(session)
        for name, counter in session.counts.items():
            if hasattr(made, f"{name}Count"):
                counted: Any = ua.ServiceCounterDataType
                setattr(made, f"{name}Count", counted(counter.total, counter.errors))
        totals: Any = ua.ServiceCounterDataType
        counters = session.counts.values()
        made.TotalRequestCount = totals(sum(c.total for c in counters), sum(c.errors for c in counters))
        return made

    def security(self, session: Session) -> SessionSecurity:
        """As SessionSecurityDiagnosticsDataType."""
        channel: Any = session.channel
        name: Any = session.who.name
        given: Any = (
            _session_id(session),
            name or None,
            list(self._names.get(session, ())),
            "UserName" if name else "Anonymous",
            UA_BINARY,
            "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary",
            channel.mode if channel is not None else ua.MessageSecurityMode.Invalid,
            channel.policy.uri if channel is not None else None,
            session.certificate,
        )
        return SessionSecurity(*given)

    def _structured(self, number: int, below: Sequence[tuple[str, int]], made: Callable[[], Any]) -> None:
        """A Variable that is a structure, and one for each of its fields."""
        self._nodes.reads[number] = _stamped(lambda _: variant(_whole(made())))
        for name, child in below:
            if child != NO_NODE:
                self._nodes.reads[child] = _stamped(_field(made, name))


# ---- bytes --------------------------------------------------------------------------------------------------------------


def data_time(at_utc_ns: int) -> datetime:
    """UTC as asyncua takes it."""
    return datetime.fromtimestamp(at_utc_ns / 1e9, UTC)


def _id(name: str) -> int:
    return int(getattr(ObjectIds, name))


def _name(browse_name: bytes) -> str:
    return browse_name[6:].decode()


def _session_id(session: Session) -> Any:
    namespace, number = (session.key[1], session.key[2:]) if session.key[0] == 1 else (session.key[1], session.key[3:])
    return in_namespace(namespace, int.from_bytes(number, "little"))


def _children(parent: str) -> list[tuple[str, int]]:
    """The fields of the summary, with the numbers of their nodes in namespace 0."""
    return [(field.name, _id(f"{parent}_{field.name}")) for field in fields(ua.ServerDiagnosticsSummaryDataType)
            if hasattr(ObjectIds, f"{parent}_{field.name}")]  # fmt: skip


def _whole(told: Any) -> Any:
    return told.whole() if isinstance(told, SessionSecurity) else told


def _field(made: Callable[[], Any], name: str) -> Callable[[Any], bytes]:
    def read(_: Any) -> bytes:
        whole = made()
        hint = str(type(whole).__annotations__[name]).strip("'\"").removeprefix("ua.")
        return _encoded(getattr(whole, name), hint)

    return read


_KINDS = {
    "UInt32": ua.VariantType.UInt32, "Byte": ua.VariantType.Byte, "Duration": ua.VariantType.Double,
    "String": ua.VariantType.String,
    "UtcTime": ua.VariantType.DateTime, "NodeId": ua.VariantType.NodeId, "Boolean": ua.VariantType.Boolean,
    "ByteString": ua.VariantType.ByteString, "MessageSecurityMode": ua.VariantType.Int32,
}  # fmt: skip


def _encoded(value: Any, hint: str) -> bytes:
    if hint.startswith("list["):
        return variant(ua.Variant([str(one) for one in value], ua.VariantType.String, is_array=True))
    kind = _KINDS.get(hint)
    if kind is None:
        return variant(value)
    return variant(int(value) if hint == "MessageSecurityMode" else value, kind)


def _array(structures: Sequence[Any]) -> bytes:
    return variant(ua.Variant(list(structures), ua.VariantType.ExtensionObject, is_array=True))


def _stamped(read: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def made(session: Any) -> bytes:
        now = ticks(utc_ns())
        return data_value(read(session), 0, now, now)

    return made


def made_when_read(nodes: Nodes, number: int, read: Callable[[Any], bytes]) -> None:
    """Let a node of the standard that is shown give a Variant whenever it is read."""
    found = nodes.find(node_key(0, number))
    if found != NO_NODE:
        nodes.reads[found] = _stamped(read)


def _reads(nodes: Nodes, name: str, read: Callable[[Any], bytes]) -> None:
    made_when_read(nodes, _id(name), read)


def _constant(nodes: Nodes, name: str, value: bytes) -> None:
    nodes.put(nodes.standard(_id(name)), VALUE, value)

