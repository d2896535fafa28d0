"""Requests -> services -> answers: who may ask what, and what becomes of it (Part 4 §5.3, §7.32 to §7.34)."""

import asyncio
import inspect
import logging
import struct
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua import guard
from controller.opcua.asked import THEIRS, Asked, Handle, Needs
from controller.opcua.encoding import read_key, ticks
from controller.opcua.guard import Refused
from controller.opcua.link.channel import Channel
from controller.opcua.sessions import Counter, Session, Sessions
from twin.clock import Ns, utc_ns

log = logging.getLogger("lockstep.opcua")

MOST_LATER: Final = 8
"""Requests of one session that are at work while others go on."""
LONGEST_TEXT: Final = 1_024
NEEDS: Final = {
    "FindServers": Needs.NOTHING,
    "FindServersOnNetwork": Needs.NOTHING,
    "GetEndpoints": Needs.NOTHING,
    "CreateSession": Needs.CHANNEL,
    "ActivateSession": Needs.CHANNEL,
    "CloseSession": Needs.CHANNEL,
}
"""What services must come with; all others need a session."""
SECURITY: Final = frozenset(
    (
        StatusCodes.BadUserAccessDenied,
        StatusCodes.BadIdentityTokenInvalid,
        StatusCodes.BadIdentityTokenRejected,
        StatusCodes.BadApplicationSignatureInvalid,
        StatusCodes.BadCertificateInvalid,
        StatusCodes.BadCertificateUriInvalid,
        StatusCodes.BadNonceInvalid,
        StatusCodes.BadSecurityChecksFailed,
        StatusCodes.BadSecurityModeInsufficient,
        StatusCodes.BadSecurityPolicyRejected,
        StatusCodes.BadSecureChannelIdInvalid,
        StatusCodes.BadSessionIdInvalid,
        StatusCodes.BadSessionNotActivated,
    )
)
"""Faults that are about who somebody is, and what he may do."""

_FIXED = struct.Struct("<qIIi")
"""Of a request header, behind the token: time, handle, diagnostics, length of the audit text."""
_ANSWER = struct.Struct("<qII")
_REST = b"\x00" + struct.pack("<i", -1) + b"\x00\x00\x00"
"""Of a response header: no diagnostics, no texts, nothing additional."""
_NOTHING_MORE = b"\x00\x00\x00"


def type_key(name: str) -> bytes:
    """The encoded type of a message by its name, such as "ReadRequest"."""
    return struct.pack("<BBH", 1, 0, getattr(ObjectIds, f"{name}_Encoding_DefaultBinary"))


_FAULT = type_key("ServiceFault")


@dataclass(frozen=True, slots=True)
class Row:
    """A service that is served, what its requests must come with, and how its answers begin."""

    name: str
    handle: Handle
    needs: Needs
    head: bytes


def _row(name: str, handle: Handle) -> Row:
    return Row(name, handle, NEEDS.get(name, Needs.SESSION), type_key(f"{name}Response"))


class Request(Asked):
    """A request with what its answer needs."""

    __slots__ = ("number", "row")

    number: int
    row: Row | None


class Dispatch:
    """All services.

    Attributes:
        refused: how many requests have ended in a fault, and `insecure` how many of them for reasons of security.
    """

    def __init__(self, sessions: Sessions, services: Mapping[str, Handle]) -> None:
        self._find = sessions.find
        self.refused = self.insecure = 0
        self._mistaken: set[str] = set()
        self._rows: dict[bytes, Row] = {}
        self.offer(services)

    def offer(self, services: Mapping[str, Handle]) -> None:
        """Serve more services, by their names in the standard, such as "Read"."""
        self._rows.update((type_key(f"{name}Request"), _row(name, handle)) for name, handle in services.items())

    # ---- in ----------------------------------------------------------------------------------------------------------

    def serve(self, channel: Channel, number: int, content: bytes, now: Ns) -> None:
        """Answer a request, or have it answered later.

        Raises:
            Refused: not even its header can be read, so that it cannot be answered.
        """
        try:
            request, token = self._read(channel, number, content, now)
        except THEIRS as broken:
            code = broken.code if isinstance(broken, Refused) else StatusCodes.BadDecodingError
            raise Refused(code, "a request whose header cannot be read") from broken
        try:
            row = self._may(request, token)
            answer = row.handle(request)
        except ServiceError as refused:
            request.fault(refused.code)
        except Refused as refused:
            request.fault(refused.code)
        except Exception:  # a mistake of ours: the other services go on
            self._mistake(request)
        else:
            if answer is not None:
                self._reply(request, 0, answer)

    def _read(self, channel: Channel, number: int, content: bytes, now: Ns) -> tuple[Request, bytes]:
        """A request by its header, and the token it comes with."""
        kind, at = read_key(content, 0)
        token, at = read_key(content, at)
        _, handle, diagnostics, size = _FIXED.unpack_from(content, at)
        at += 20
        audit = ""
        if size > 0:
            if size > LONGEST_TEXT:
                raise Refused(StatusCodes.BadEncodingLimitsExceeded, f"an audit text of {size} bytes")
            audit = content[at : at + size].decode()
            at += size
        elif size < -1:
            raise Refused(StatusCodes.BadDecodingError, f"a text of {size} bytes")
        timeout_ms = int.from_bytes(content[at : at + 4], "little")
        at += 4
        if content[at : at + 3] != _NOTHING_MORE:
            at = guard.check(ua.ExtensionObject, content, at)
        else:
            at += 3
        nobody = cast(Session, None)
        made = Request(nobody, handle, content, at, now, self._reply, self._later, audit, timeout_ms, channel, diagnostics)
        made.number = number
        made.row = self._rows.get(kind)
        return made, token

    def _may(self, request: Request, token: bytes) -> Row:
        """The service that is asked for.

        Raises:
            ServiceError: it may not be.
        """
        row, channel = request.row, request.channel
        if row is None:
            raise ServiceError(StatusCodes.BadServiceUnsupported)
        if row.needs is Needs.NOTHING:
            return row
        if channel.client is None:
            raise ServiceError(StatusCodes.BadSecurityPolicyRejected)
        session = self._find(token)
        if row.needs is Needs.CHANNEL:
            if session is not None:
                request.session = session
            return row
        # Whether a token belongs to somebody else's channel or to nobody's is not told: nobody can use it either way.
        if session is None or session.channel is not channel or not session.alive:
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        if not session.activated:
            raise ServiceError(StatusCodes.BadSessionNotActivated)
        request.session, request.who = session, session.who
        session.heard = request.received
        counter = session.counts.get(row.name)
        if counter is None:
            counter = session.counts[row.name] = Counter()
        counter.total += 1
        return row

    # ---- out ---------------------------------------------------------------------------------------------------------

    def _reply(self, asked: Asked, code: int, body: bytes) -> None:
        request = cast(Request, asked)
        row, channel = request.row, request.channel
        session = cast(Session | None, request.session)
        if code == 0 and row is not None:
            if channel.fits(len(body) + 28, session.max_response if session is not None else 0):
                head = row.head + _ANSWER.pack(ticks(utc_ns()), request.handle, 0) + _REST
                channel.answer(request.number, head + body)
                return
            code = StatusCodes.BadResponseTooLarge
        self.refused += 1
        self.insecure += code in SECURITY
        if session is not None and code == StatusCodes.BadUserAccessDenied:
            session.unauthorized += 1
        if row is not None and session is not None and row.needs is Needs.SESSION:
            session.counts[row.name].errors += 1
        channel.answer(request.number, _FAULT + _ANSWER.pack(ticks(utc_ns()), request.handle, code) + _REST)

    def _later(self, asked: Asked, work: Coroutine[Any, Any, bytes]) -> None:
        request = cast(Request, asked)
        channel: Channel = request.channel
        session = request.session
        if len(session.work) >= MOST_LATER:
            work.close()
            raise ServiceError(StatusCodes.BadTooManyOperations)
        task = asyncio.get_running_loop().create_task(self._answered(request, work))
        channel.work[task] = (session, request.handle)
        session.work[task] = request
        task.add_done_callback(lambda done: _ended(request, work, done))

    async def _answered(self, request: Request, work: Coroutine[Any, Any, bytes]) -> None:
        """Answer with what some work comes to; who cancels it may say the status code to answer with."""
        try:
            async with asyncio.timeout(request.timeout_ms / 1000 if request.timeout_ms else None):
                body = await work
        except ServiceError as refused:
            request.fault(refused.code)
        except Refused as refused:
            request.fault(refused.code)
        except TimeoutError:
            request.fault(StatusCodes.BadTimeout)
        except asyncio.CancelledError as ended:
            if ended.args:
                request.fault(ended.args[0])
            raise
        except Exception:  # a mistake of ours: the other services go on
            self._mistake(request)
        else:
            request.reply(body)

    def _mistake(self, request: Request) -> None:
        """A service has failed by a mistake of ours: told with where, once for each service."""
        name = request.row.name if request.row is not None else "a service"
        log.log(logging.DEBUG if name in self._mistaken else logging.ERROR, "%s failed", name, exc_info=True)
        self._mistaken.add(name)
        request.fault(StatusCodes.BadInternalError)


def _ended(request: Request, work: Coroutine[Any, Any, bytes], task: asyncio.Task[None]) -> None:
    """What even the answer fails with ends this connection, and is told to the loop; others notice nothing."""
    channel: Channel = request.channel
    channel.work.pop(task, None)
    request.session.work.pop(task, None)
    was_begun = inspect.getcoroutinestate(work) != inspect.CORO_CREATED
    work.close()  # had it been cancelled before its first step, it would be missed
    if not was_begun and request.unbegun is not None:
        request.unbegun()
    try:
        mistake = task.exception()
    except asyncio.CancelledError as ended:
        if not was_begun and ended.args:
            request.fault(ended.args[0])
        return
    if mistake is not None:
        channel.hang_up()
        task.get_loop().call_exception_handler({"message": "a service failed", "exception": mistake, "task": task})
