"""What the server tells of itself: its status, its sessions and subscriptions (Part 5 §6.3.3, §6.3.5, §12.9 to §12.15).

Everything is made at the moment it is read: nobody pays for what nobody looks at.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_from_binary
from numpy.typing import NDArray

from controller.opcua.encoding import NULL_TEXT, node_key, qualified, text, variant
from controller.opcua.link.dispatch import SECURITY
from controller.opcua.made import constant, number_of, once_a_second, stamped
from controller.opcua.names import in_namespace
from controller.opcua.nodes.store import NO_NODE, OBJECT, VALUE, VARIABLE, Nodes
from controller.opcua.roles import Rule
from controller.opcua.session_counts import SessionCounts
from controller.opcua.session_security import UA_BINARY, SessionSecurity
from controller.opcua.sessions import Session, Sessions
from twin.clock import utc_ns

_SUMMARY = "Server_ServerDiagnostics_ServerDiagnosticsSummary"
_SESSIONS = "Server_ServerDiagnostics_SessionsDiagnosticsSummary"
_IN_SESSION = "SessionDiagnosticsObjectType"


class Served(Protocol):
    """Whoever answers requests: how many it refused, and how many of them for reasons of security."""

    refused: int
    insecure: int


class Subscribed(Protocol):
    """Whoever has the subscriptions."""

    def diagnostics(self, session: Session | None) -> Sequence[Any]:
        """SubscriptionDiagnosticsDataType of each subscription of a session, or of all."""
        ...

    def waiting(self, session: Session) -> int:
        """How many Publish requests wait."""
        ...

    def total(self) -> int:
        """How many subscriptions were made since the start."""
        ...

    def intervals(self) -> Sequence[float]:
        """PublishingInterval of each subscription there is."""
        ...

    def load(self, session: Session) -> tuple[int, int]:
        """How many subscriptions a session has, and how many monitored items."""
        ...

    def held(self, nodes: NDArray[np.bool_]) -> Iterable[int]:
        """Which of some nodes, a mask by number, are monitored."""
        ...


@dataclass
class Totals:
    """What was counted since the start; the names are those of ServerDiagnosticsSummaryDataType."""

    cumulated_session_count: int = 0
    security_rejected_session_count: int = 0
    rejected_session_count: int = 0
    session_timeout_count: int = 0
    session_abort_count: int = 0

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
        self.session_abort_count += session.aborted


class Diagnostics:
    """ServerDiagnostics, with an object for each session."""

    def __init__(
        self, nodes: Nodes, sessions: Sessions, subscribed: Subscribed, totals: Totals, served: Served, server_uri: str
    ) -> None:
        self._nodes = nodes
        self._sessions = sessions
        self._subscribed = subscribed
        self._totals = totals
        self._served = served
        self._server_uri = server_uri
        self._since: dict[Session, int] = {}
        self._names: dict[Session, list[str]] = {}

    def hang_on(self) -> None:
        """Let the standard's nodes tell it."""
        nodes = self._nodes
        below = [(name, nodes.find(node_key(0, number))) for name, number in _children(_SUMMARY)]
        self._structured(nodes.standard(number_of(_SUMMARY)), below, self.summary)
        subscriptions = "Server_ServerDiagnostics_SubscriptionDiagnosticsArray"
        once_a_second(nodes, subscriptions, lambda: _array(self._subscribed.diagnostics(None)))
        every = f"{_SESSIONS}_SessionDiagnosticsArray"
        once_a_second(nodes, every, lambda: _array([self.counts(s).whole() for s in self._sessions]))
        security = f"{_SESSIONS}_SessionSecurityDiagnosticsArray"
        once_a_second(nodes, security, lambda: _array([self.security(s).whole() for s in self._sessions]))
        nodes.rules[nodes.standard(number_of(security))] = Rule.SECURITY
        for name in (every, subscriptions):
            nodes.rules[nodes.standard(number_of(name))] = Rule.DIAGNOSTICS
        constant(nodes, "Server_ServerDiagnostics_EnabledFlag", variant(True, ua.VariantType.Boolean))
        flag = nodes.standard(number_of("Server_ServerDiagnostics_EnabledFlag"))  # nobody can switch it off
        nodes.put(flag, int(AttributeIds.AccessLevel), variant(1, ua.VariantType.Byte))

    def summary(self) -> Any:
        """As ServerDiagnosticsSummaryDataType."""
        intervals = self._subscribed.intervals()
        made: Any = ua.ServerDiagnosticsSummaryDataType()
        for field in fields(self._totals):
            setattr(made, "".join(word.capitalize() for word in field.name.split("_")), getattr(self._totals, field.name))
        made.CumulatedSubscriptionCount = self._subscribed.total()
        made.RejectedRequestsCount, made.SecurityRejectedRequestsCount = self._served.refused, self._served.insecure
        made.CurrentSessionCount = len(self._sessions)
        made.CurrentSubscriptionCount, made.PublishingIntervalCount = len(intervals), len(set(intervals))
        return made

    # ---- one session

    def opened(self, session: Session) -> None:
        """A session is activated for the first time: give it its object."""
        if session in self._since:
            return
        self._since[session], self._names[session] = utc_ns(), []
        parent = self._nodes.find(node_key(0, number_of(_SESSIONS)))
        if parent == NO_NODE:
            return
        self._nodes.reuse(self._subscribed.held)
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
        kind = nodes.standard(number_of(_IN_SESSION))
        top = nodes.add(own, OBJECT, qualified(session.name), text(session.name), rule=Rule.DIAGNOSTICS)
        nodes.refer(parent, nodes.standard(ObjectIds.HasComponent), top)
        nodes.refer(top, nodes.standard(ObjectIds.HasTypeDefinition), kind)
        yield top
        each: tuple[tuple[str, Callable[[], Any], Rule], ...] = (
            ("SessionDiagnostics", lambda: self.session(session), Rule.DIAGNOSTICS),
            ("SessionSecurityDiagnostics", lambda: self.security(session), Rule.SECURITY),
        )
        for name, made, rule in each:
            declared = nodes.find(node_key(0, number_of(f"{_IN_SESSION}_{name}")))
            number = self._like(declared, top, f"{own.hex()}/{name}", rule)
            yield number
            below = [(child, self._like(declared_child, number, f"{own.hex()}/{name}/{child}", rule))
                     for child, declared_child in self._declared(declared)]  # fmt: skip
            self._structured(number, below, made)
            yield from (child for _, child in below)
        declared = nodes.find(node_key(0, number_of(f"{_IN_SESSION}_SubscriptionDiagnosticsArray")))
        number = self._like(declared, top, f"{own.hex()}/SubscriptionDiagnosticsArray", Rule.DIAGNOSTICS)
        nodes.reads[number] = stamped(lambda _: _array(self._subscribed.diagnostics(session)))
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
        return _decoded(self.counts(session).whole().Body)

    def counts(self, session: Session) -> SessionCounts:
        """The same, laid out."""
        since = self._since.get(session, utc_ns())
        heard = since + session.heard - session.created
        waiting = self._subscribed.waiting(session)
        return SessionCounts(session, self._server_uri, since, heard, *self._subscribed.load(session), waiting)

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
        self._nodes.reads[number] = stamped(lambda _: variant(_whole(made())))
        for name, child in below:
            if child != NO_NODE:
                self._nodes.reads[child] = stamped(_field(made, name))


# ---- bytes --------------------------------------------------------------------------------------------------------------


def _name(browse_name: bytes) -> str:
    return browse_name[6:].decode()


def _session_id(session: Session) -> Any:
    namespace, number = (session.key[1], session.key[2:]) if session.key[0] == 1 else (session.key[1], session.key[3:])
    return in_namespace(namespace, int.from_bytes(number, "little"))


def _children(parent: str) -> list[tuple[str, int]]:
    """The fields of the summary, with the numbers of their nodes in namespace 0."""
    return [(field.name, number_of(f"{parent}_{field.name}")) for field in fields(ua.ServerDiagnosticsSummaryDataType)
            if hasattr(ObjectIds, f"{parent}_{field.name}")]  # fmt: skip


@lru_cache(maxsize=1)
def _decoded(body: bytes) -> Any:
    """The fields of a SessionDiagnosticsDataType: whoever reads one of them reads all of them, one by one."""
    return struct_from_binary(ua.SessionDiagnosticsDataType, Buffer(body))


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
