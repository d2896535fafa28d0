"""What is audited: each deed becomes an audit event (Part 4 §6.5, Part 5 §6.4, Part 12 §7.8.2) and a record of the audit log.

Its methods fit where the server's parts tell what they did. Nobody waits for it but a command: its record is on disk before the
command is asked for. Secrets come into neither: passwords are not looked at, arguments that are named like secrets are left out.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.audit.chain import Record
from controller.audit.files import AuditError
from controller.opcua.audited import (
    BOOLEAN,
    NODE_ID,
    address_of,
    argument_names,
    audit_fields,
    call_fields,
    certificate_fields,
    channel_fields,
    name_of,
    node_text,
    secret,
    session_fields,
    shown,
    status_name,
    write_fields,
)
from controller.opcua.calling import Called, Calling, NotDone
from controller.opcua.encoding import node_key, string, variant
from controller.opcua.events import Events, browse_text, event
from controller.opcua.guard import Refused
from controller.opcua.methods import Function, Outputs
from controller.opcua.nodes.store import NO_NODE, Nodes
from controller.opcua.roles import Rule
from controller.opcua.sessions import Session, Sessions
from controller.opcua.writing import Outcome, Set, Writing, Wrote
from controller.users import Role
from twin.clock import Ns, S

if TYPE_CHECKING:
    from asyncio import Future

    from controller.opcua.link.terms import Terms

log = logging.getLogger("lockstep.opcua")

GOOD_SEVERITY, BAD_SEVERITY, BROKEN_SEVERITY = 100, 500, 900
REFUSALS: Final = 60
"""Refusals a minute that get a record and an event each: strangers must not fill a disk. The others are counted."""
MINUTE: Final = Ns(60 * S)
RESTRICTED: Final = "the audit log was found broken: only administrators may command until `lockstep audit accept`"


class Writer(Protocol):
    """Where records go: `controller.audit.log.Log`."""

    failed: str

    @property
    def restricted(self) -> bool:
        """Whether only administrators may command."""
        ...

    def append(self, record: Record) -> "Future[None]":
        """Ends when the record is on disk, or with an AuditError."""
        ...

    def note(self, record: Record) -> bool:
        """Whether there was room for it."""
        ...


class Auditing:
    """Tells of what was done, and by whom.

    Args:
        utc, steady: wall time [ns], and a clock that never goes back.
        server: our ApplicationUri.
        urls: of our endpoints; a session that was asked for at another one is told of.
    """

    def __init__(
        self,
        events: Events,
        nodes: Nodes,
        writer: Writer,
        utc: Callable[[], int],
        steady: Callable[[], Ns],
        server: str,
        urls: Sequence[str] = (),
    ) -> None:
        self._events, self._nodes, self._writer = events, nodes, writer
        self._utc, self._steady, self._server = utc, steady, server
        self._urls = {url.casefold().rstrip("/") for url in urls}
        self._since, self._refused, self._untold = steady(), 0, 0
        self._said = ""

    def listen(self, terms: "Terms", sessions: Sessions, writing: Writing, calling: Calling) -> None:
        """Be told by those who do things."""
        terms.on_opened.append(self.channel_opened)
        terms.on_refused.append(self.channel_refused)
        sessions.on_new.append(self.session_created)
        sessions.on_activated.append(self.session_activated)
        sessions.on_closed.append(self.session_closed)
        sessions.on_refused.append(self.service_refused)
        sessions.on_cancel.append(self.cancelled)
        writing.wrote.append(self.wrote)
        calling.called.append(self.called)

    # ---- channels, certificates ---------------------------------------------------------------------------------------------

    def channel_opened(self, channel: Any) -> None:
        """A channel was opened; one for discovery alone is not worth a record."""
        if channel.client is not None:
            self._note(Record("channel", where=channel.address, client=channel.client.uri, status="Good", text=_policy(channel)))
            self._opened(channel, 0, "a secure channel was opened")

    def channel_refused(self, channel: Any, refused: Refused) -> None:
        """A connection was ended for what came over it."""
        if not self._few():
            return
        client = channel.client.uri if channel.client is not None else ""
        status = status_name(refused.code)
        self._note(Record("channel", where=channel.address, client=client, status=status, text=str(refused)))
        kind = getattr(refused, "audit", 0)
        if kind:
            self.certificate_refused(kind, getattr(refused, "certificate", b""), refused.code, str(refused))
        self._opened(channel, refused.code, f"a connection was refused: {refused}")

    def certificate_refused(self, kind: int, certificate: bytes, code: int, text: str) -> None:
        """A certificate was not accepted; `kind` is one of the types of AuditCertificateEventType."""
        self._tell(kind, None, "Security/Certificate", text, code, certificate_fields(kind, certificate, code))

    def _opened(self, channel: Any, code: int, text: str) -> None:
        kind, name = ObjectIds.AuditOpenSecureChannelEventType, "SecureChannel/OpenSecureChannel"
        self._tell(kind, None, name, f"{text} ({channel.address})", code, channel_fields(channel, code))

    # ---- sessions -------------------------------------------------------------------------------------------------------------

    def session_created(self, session: Session) -> None:
        """A session was created, for nobody yet."""
        kind = ObjectIds.AuditCreateSessionEventType
        more = session_fields(session, 0, created=True)
        if self._urls and session.endpoint_url.casefold().rstrip("/") not in self._urls:
            kind, more = ObjectIds.AuditUrlMismatchEventType, {**more, "EndpointUrl": _string(session.endpoint_url)}
        self._note(self._of(session, "session", "Good", text=f"created: {session.name}"))
        self._tell(kind, session, "Session/CreateSession", "a session was created", 0, more)

    def session_activated(self, session: Session, before: Any) -> None:
        """A session was given to a user, or was bound to another channel."""
        if before is not None and before == session.who:
            self._note(self._of(session, "session", "Good", text="bound to another channel, or activated again"))
        else:
            self._note(self._of(session, "login", "Good"))
        more = session_fields(session, 0, activated=True)
        kind, name = ObjectIds.AuditActivateSessionEventType, "Session/ActivateSession"
        self._tell(kind, session, name, f"{session.who.name or 'nobody in particular'} logged in", 0, more)

    def session_closed(self, session: Session) -> None:
        """A session ended, by its client or by time."""
        self._note(self._of(session, "session", "Good", text="ended"))
        more = session_fields(session, 0)
        self._tell(ObjectIds.AuditSessionEventType, session, "Session/CloseSession", "a session ended", 0, more)

    def service_refused(self, asked: Any, service: str, code: int, given: Any) -> None:
        """CreateSession, ActivateSession or CloseSession was refused."""
        if not self._few():
            return
        session: Session | None = asked.session
        claimed = str(getattr(getattr(given, "UserIdentityToken", None), "UserName", None) or "")[:64]
        status, address = status_name(code), asked.channel.address
        action = "login" if service == "ActivateSession" else "session"
        text = "" if action == "login" else f"{service} was refused"
        key = node_text(session.key) if session is not None else ""
        uri = asked.channel.client.uri if asked.channel.client is not None else ""
        self._note(Record(action, claimed, where=address, session=key, client=uri, status=status, text=text, entry=asked.audit))
        kinds = {
            "CreateSession": ObjectIds.AuditCreateSessionEventType,
            "ActivateSession": ObjectIds.AuditActivateSessionEventType,
        }
        more = session_fields(session, code)
        said = f"{service} was refused: {status}" + (f", for {claimed}" if claimed else "")
        kind = kinds.get(service, ObjectIds.AuditSessionEventType)
        self._tell(kind, session, f"Session/{service}", said, code, more, asked.audit)

    def cancelled(self, session: Session, handle: int) -> int:
        """Requests of a session were cancelled; counts none itself."""
        more = {**session_fields(session, 0), "RequestHandle": variant(handle, ua.VariantType.UInt32)}
        self._tell(ObjectIds.AuditCancelEventType, session, "Session/Cancel", f"requests {handle} were cancelled", 0, more)
        return 0

    # ---- commands -------------------------------------------------------------------------------------------------------------

    def wrote(self, one: Wrote) -> None:
        """A write was judged, and done or not."""
        node = self._nodes.find(one.key)
        hidden = node != NO_NODE and secret(browse_text(self._nodes.browse_names[node]))
        old, new, fields = write_fields(one, hidden)
        status, text = status_name(one.outcome.status), one.outcome.text
        target = name_of(self._nodes, one.key)
        self._note(self._of(one.session, "write", status, target=target, old=old, new=new, text=text, entry=one.audit))
        said = f"{target} was written" if not one.outcome.status else f"{target} was not written: {text or status}"
        kind = ObjectIds.AuditWriteUpdateEventType
        self._tell(kind, one.session, "Attribute/Write", said, one.outcome.status, fields, one.audit, node)

    def called(self, one: Called) -> None:
        """A method was called, and did what was asked or not. What concerns the caller's own session is left out."""
        method = self._nodes.find(one.method)
        if method != NO_NODE and self._nodes.rules[method] == Rule.OWN and not one.status:
            return
        names = argument_names(self._nodes, method)
        status, target = status_name(one.status), name_of(self._nodes, one.method, one.owner)
        given = shown(one.inputs, names)
        self._note(self._of(one.session, "call", status, target=target, new=given, text=one.text, entry=one.audit))
        said = f"{target} was called" if not one.status else f"{target} was refused: {one.text or status}"
        fields, owner = call_fields(one, names), self._nodes.find(one.owner)
        kind = ObjectIds.AuditUpdateMethodEventType
        self._tell(kind, one.session, "Attribute/Call", said, one.status, fields, one.audit, owner)

    def trust_changed(self, kind: int, told: Any) -> None:
        """Something was asked for that changes whom we trust or who we are, or was done: see trust.changing."""
        status = status_name(told.code)
        self._note(self._of(told.session, "trust", status, target=name_of(self._nodes, node_key(0, told.method)), text=told.text))
        more = {"MethodId": bytes((NODE_ID,)) + node_key(0, told.method), "StatusCodeId": variant(ua.StatusCode(told.code))}
        self._tell(int(kind), told.session, "Attribute/Call", told.text, told.code, more)

    def commanding(self, owner: bytes, method: bytes, function: Function, stop: bool = False) -> Function:
        """A method that is called once its record is on disk.

        Args:
            stop: it stops something: it is called even when there can be no record, and by whoever may call it.
        """

        async def call(session: Session, inputs: Sequence[ua.Variant]) -> Outputs:
            names = argument_names(self._nodes, self._nodes.find(method))
            target = name_of(self._nodes, method, owner)
            refusal = await self._before(self._of(session, "call", "asked", target=target, new=shown(inputs, names)), session, stop)
            if refusal is not None:
                raise NotDone(refusal.status, refusal.text)
            made = function(session, inputs)
            return made if isinstance(made, Sequence) else await made

        return call

    def setting(self, key: bytes, set_value: Set) -> Set:
        """A Variable that is set once the record of it is on disk."""

        async def set_recorded(session: Session, value: Any) -> Outcome:
            target = name_of(self._nodes, key)
            refusal = await self._before(self._of(session, "write", "asked", target=target, new=str(value)), session, stop=False)
            return refusal if refusal is not None else await set_value(session, value)

        return set_recorded

    async def _before(self, record: Record, session: Session, stop: bool) -> Outcome | None:
        """Write an intent down: why the command is not to be asked for, or None."""
        if stop:
            self._note(record)
            return None
        if self._writer.restricted and session.role < Role.ADMINISTRATOR:
            return Outcome(StatusCodes.BadUserAccessDenied, RESTRICTED)
        try:
            await self._writer.append(record)
        except AuditError as failed:
            return Outcome(StatusCodes.BadResourceUnavailable, str(failed))
        return None

    # ---- the log itself -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Tell, once, when the log cannot be written, or was found broken, and when that is over. To be called now and then."""
        said = f"the audit log cannot be written: {self._writer.failed}" if self._writer.failed else ""
        said = said or (RESTRICTED if self._writer.restricted else "")
        if said != self._said:
            self._said = said
            text, severity = (said, BROKEN_SEVERITY) if said else ("the audit log is written again, and whole", GOOD_SEVERITY)
            server = self._nodes.standard(ObjectIds.Server)
            kind = self._nodes.standard(ObjectIds.SystemEventType)
            self._events.tell(event(self._nodes, kind, server, text, severity, self._utc(), source_name="Audit"))

    @property
    def state(self) -> str:
        """What is wrong with the log, for ServerStatus; empty while nothing is."""
        return self._said

    def _few(self) -> bool:
        """Whether one more refusal gets a record of its own."""
        now = self._steady()
        if now - self._since >= MINUTE:
            self._since, self._refused = now, 0
            if self._untold:
                self._note(Record("refused", text=f"{self._untold} more were refused, more than {REFUSALS} a minute"))
                self._untold = 0
        self._refused += 1
        self._untold += self._refused > REFUSALS
        return self._refused <= REFUSALS

    def _of(self, session: Session, action: str, status: str, **said: str) -> Record:
        role = session.role.name.lower()
        where, key = address_of(session), node_text(session.key)
        return Record(
            action, who=session.who.name, role=role, where=where, session=key, client=session.client_uri, status=status, **said
        )

    def _note(self, record: Record) -> None:
        if not self._writer.note(record):
            log.warning("no room in the audit log: %s %s by %r: %s", record.action, record.target, record.who, record.status)

    def _tell(
        self,
        kind: int,
        session: Session | None,
        name: str,
        text: str,
        code: int,
        more: dict[str, bytes],
        entry: str = "",
        source: int = NO_NODE,
    ) -> None:
        now = self._utc()
        nodes = self._nodes
        fields = {**audit_fields(session, code, now, self._server, entry), **more, "Status": bytes((BOOLEAN, code == 0))}
        about = source if source != NO_NODE else nodes.standard(ObjectIds.Server)
        severity = BAD_SEVERITY if code else GOOD_SEVERITY
        made = event(
            nodes, nodes.standard(kind), about, text[:1_000], severity, now, fields, rule=Rule.SECURITY, source_name=name
        )
        self._events.tell(made)


def _policy(channel: Any) -> str:
    return f"opened: {channel.policy.name}, {channel.mode.name}" if channel.policy is not None else "opened"


def _string(text: str) -> bytes:
    return bytes((12,)) + string(text)


