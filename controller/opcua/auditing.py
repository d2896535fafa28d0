"""What is audited: each deed becomes an audit event (Part 4 §6.5, Part 5 §6.4, Part 12 §7.8.2) and a record of the audit log.

Its methods fit where the server's parts tell what they did. Nobody waits for it but a command: its record is on disk before the
command is asked for. Secrets come into neither: passwords are not looked at, arguments that are named like secrets are left out.
What anybody who can connect may cause as often as he likes (channels, sessions, refusals) goes to a chain of its own, and is
limited: so it pushes no deed out of the log.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

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
from controller.opcua.books import Books, Writer
from controller.opcua.calling import Called, Calling, NotDone
from controller.opcua.encoding import node_key, string, variant
from controller.opcua.events import Events, browse_text, event
from controller.opcua.guard import Refused
from controller.opcua.methods import Function, Outputs
from controller.opcua.nodes.store import NO_NODE, Nodes
from controller.opcua.quotas import Quotas
from controller.opcua.roles import Rule
from controller.opcua.sessions import Session, Sessions
from controller.opcua.writing import Outcome, Set, Writing, Wrote
from controller.users import Role
from twin.clock import Ns

if TYPE_CHECKING:
    from controller.opcua.link.terms import Terms

GOOD_SEVERITY, BAD_SEVERITY, BROKEN_SEVERITY = 100, 500, 900
REFUSALS: Final = 60
"""Refusals a minute that get a record and an event each: of strangers' connections, of logins, of other services for sessions,
and of each session's writes and calls. The others are counted."""
OPENED: Final = 300
"""The same for channels that are opened."""
LONGEST_ENTRY: Final = 64
"""Letters of a client's own name for a request in the log."""
RESTRICTED: Final = "the audit log was found broken: only administrators may command until `lockstep audit accept`"


class Auditing:
    """Tells of what was done, and by whom.

    Args:
        utc, steady: wall time [ns], and a clock that never goes back.
        server: our ApplicationUri.
        writer: where deeds go: commands, logins of users, trust.
        urls: of our endpoints; a session that was asked for at another one is told of.
        visits: where channels, sessions and what was refused go; None for the same.
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
        visits: Writer | None = None,
    ) -> None:
        self._events, self._nodes, self._books = events, nodes, Books(writer, visits or writer)
        self._utc, self._steady, self._server = utc, steady, server
        self._urls = {url.casefold().rstrip("/") for url in urls}
        self._quotas = Quotas(steady, self._books.visit)
        self._asked: Counter[tuple[bytes, bytes]] = Counter()
        self._trust_told: bytes | None = None
        self._said = ""

    def listen(self, terms: "Terms", sessions: Sessions, writing: Writing, calling: Calling) -> None:
        """Be told by those who do things."""
        terms.on_used.append(self.channel_opened)
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
        """A client has shown that it has a channel's keys; one for discovery alone is not worth a record.

        Not before: who sends another one's OpenSecureChannel again is answered, and can do nothing with the answer.
        """
        if channel.client is not None and self._few("channels", most=OPENED, done="were opened"):
            uri, text = channel.client.uri, _policy(channel)
            self._books.visit(Record("channel", where=channel.address, client=uri, status="Good", text=text))
            self._opened(channel, 0, "a secure channel was opened")

    def channel_refused(self, channel: Any, refused: Refused) -> None:
        """A connection was ended for what came over it."""
        if not self._few("connections"):
            return
        client = channel.client.uri if channel.client is not None else ""
        status = status_name(refused.code)
        self._books.visit(Record("channel", where=channel.address, client=client, status=status, text=str(refused)))
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
        self._books.visit(self._of(session, "session", "Good", text=f"created: {session.name}"))
        self._tell(kind, session, "Session/CreateSession", "a session was created", 0, more)

    def session_activated(self, session: Session, before: Any) -> None:
        """A session was given to a user, or was bound to another channel."""
        if before is not None and before == session.who:
            self._books.visit(self._of(session, "session", "Good", text="bound to another channel, or activated again"))
        else:
            (self._books.deed if session.who.name else self._books.visit)(self._of(session, "login", "Good"))
        more = session_fields(session, 0, activated=True)
        kind, name = ObjectIds.AuditActivateSessionEventType, "Session/ActivateSession"
        self._tell(kind, session, name, f"{session.who.name or 'nobody in particular'} logged in", 0, more)

    def session_closed(self, session: Session) -> None:
        """A session ended, by its client or by time."""
        self._books.visit(self._of(session, "session", "Good", text="ended"))
        more = session_fields(session, 0)
        self._tell(ObjectIds.AuditSessionEventType, session, "Session/CloseSession", "a session ended", 0, more)

    def service_refused(self, asked: Any, service: str, code: int, given: Any) -> None:
        """CreateSession, ActivateSession or CloseSession was refused."""
        if not self._few("logins" if service == "ActivateSession" else "sessions"):
            return
        session: Session | None = asked.session
        claimed = str(getattr(getattr(given, "UserIdentityToken", None), "UserName", None) or "")[:64]
        status, address = status_name(code), asked.channel.address
        action = "login" if service == "ActivateSession" else "session"
        text = "" if action == "login" else f"{service} was refused"
        key = node_text(session.key) if session is not None else ""
        uri = asked.channel.client.uri if asked.channel.client is not None else ""
        entry = asked.audit[:LONGEST_ENTRY]
        self._books.visit(Record(action, claimed, where=address, session=key, client=uri, status=status, text=text, entry=entry))
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
        note = self._place(one.session, one.key, one.outcome.status)
        if note is None:
            return
        node = self._nodes.find(one.key)
        hidden = node != NO_NODE and secret(browse_text(self._nodes.browse_names[node]))
        old, new, fields = write_fields(one, hidden)
        status, text = status_name(one.outcome.status), one.outcome.text
        target = name_of(self._nodes, one.key)
        note(self._of(one.session, "write", status, target=target, old=old, new=new, text=text, entry=one.audit[:LONGEST_ENTRY]))
        said = f"{target} was written" if not one.outcome.status else f"{target} was not written: {text or status}"
        kind = ObjectIds.AuditWriteUpdateEventType
        self._tell(kind, one.session, "Attribute/Write", said, one.outcome.status, fields, one.audit, node)

    def called(self, one: Called) -> None:
        """A method was called, and did what was asked or not.

        Left out is what concerns the caller's own session, and what was told as a change of trust.
        """
        told, self._trust_told = self._trust_told == one.session.key, None
        if told:
            self._was_asked(one.session, one.method)
            return
        method = self._nodes.find(one.method)
        if method != NO_NODE and self._nodes.rules[method] == Rule.OWN and not one.status:
            return
        note = self._place(one.session, one.method, one.status)
        if note is None:
            return
        names = argument_names(self._nodes, method)
        status, target = status_name(one.status), name_of(self._nodes, one.method, one.owner)
        given = shown(one.inputs, names)
        note(self._of(one.session, "call", status, target=target, new=given, text=one.text, entry=one.audit[:LONGEST_ENTRY]))
        said = f"{target} was called" if not one.status else f"{target} was refused: {one.text or status}"
        fields, owner = call_fields(one, names), self._nodes.find(one.owner)
        kind = ObjectIds.AuditUpdateMethodEventType
        self._tell(kind, one.session, "Attribute/Call", said, one.status, fields, one.audit, owner)

    def trust_changed(self, kind: int, told: Any) -> None:
        """Something was asked for that changes whom we trust or who we are, or was done: see trust.changing.

        The record of what became of a call is this one, not the one that `called` would make at once behind it.
        """
        if told.outcome:
            target = name_of(self._nodes, node_key(0, told.method))
            self._books.deed(self._of(told.session, "trust", status_name(told.code), target=target, text=told.text))
            self._trust_told = None if told.late else told.session.key
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
            record = self._of(session, "call", "asked", target=target, new=shown(inputs, names))
            refusal = await self._before(record, session, method, stop)
            if refusal is not None:
                raise NotDone(refusal.status, refusal.text)
            made = function(session, inputs)
            return made if isinstance(made, Sequence) else await made

        return call

    def setting(self, key: bytes, set_value: Set) -> Set:
        """A Variable that is set once the record of it is on disk."""

        async def set_recorded(session: Session, value: Any) -> Outcome:
            target = name_of(self._nodes, key)
            record = self._of(session, "write", "asked", target=target, new=str(value))
            refusal = await self._before(record, session, key, stop=False)
            return refusal if refusal is not None else await set_value(session, value)

        return set_recorded

    async def _before(self, record: Record, session: Session, key: bytes, stop: bool) -> Outcome | None:
        """Write an intent down: why the command is not to be asked for, or None."""
        if not stop and self._books.restricted and session.role < Role.ADMINISTRATOR:
            return Outcome(StatusCodes.BadUserAccessDenied, RESTRICTED)
        self._asked[session.key, key] += 1
        if stop:
            self._books.deed(record)
            return None
        try:
            await self._books.append(record)
        except AuditError as failed:
            self._was_asked(session, key)
            return Outcome(StatusCodes.BadResourceUnavailable, str(failed))
        return None

    def _was_asked(self, session: Session, key: bytes) -> bool:
        """Whether an intent was written down for what has ended; it is done with."""
        found = (session.key, key) in self._asked
        if found:
            self._asked[session.key, key] -= 1
            self._asked += Counter()  # without zeros
        return found

    def _place(self, session: Session, key: bytes, code: int) -> Callable[[Record], None] | None:
        """Where the record goes of what became of a write or call; None where it is only counted. Of an intent, beside it."""
        if self._was_asked(session, key) or not code:
            return self._books.deed
        return self._books.visit if self._few("writes and calls", session) else None

    # ---- the log itself -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Tell, once, when the log cannot be written, or was found broken, and when that is over; and how many refusals of a minute
        got no record. To be called each second or so."""
        self._quotas.look()
        self._books.look()
        said = f"the audit log cannot be written: {self._books.failed}" if self._books.failed else ""
        said = said or (RESTRICTED if self._books.restricted else "")
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

    def stopped(self, reason: str) -> None:
        """Tell what was only counted, and why the server ends."""
        self._quotas.look(ends=True)
        self._books.deed(Record("server", status="Good", text=f"stopped: {reason}"))

    def close(self) -> None:
        """Bring all of it to the disk, which takes its time."""
        self._books.close()

    def _few(self, what: str, session: Session | None = None, most: int = REFUSALS, done: str = "were refused") -> bool:
        """Whether one more of a sort, of a session, gets a record of its own."""

        def told() -> Record:
            if session is None:
                return Record("refused" if most == REFUSALS else "channel", target=what, text=done)
            return self._of(session, "refused", "", target=what, text=done)

        return self._quotas.take(what, session.key.hex() if session is not None else "", most, told)

    def _of(self, session: Session, action: str, status: str, **said: str) -> Record:
        role = session.role.name.lower()
        where, key = address_of(session), node_text(session.key)
        return Record(
            action, who=session.who.name, role=role, where=where, session=key, client=session.client_uri, status=status, **said
        )

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


