"""Sessions begin, find their user and their channel, and end (Part 4 §5.7)."""

import math
import secrets
import struct
from collections.abc import Callable
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.access import NOBODY, Who
from controller.opcua.asked import Asked, Handle
from controller.opcua.encoding import octets, structure
from controller.opcua.link.channel import Channel
from controller.opcua.link.chunks import MOST_BEFORE_SESSION, MOST_MESSAGE
from controller.opcua.link.discovery import ANONYMOUS, Discovery, password_policy
from controller.opcua.link.policies import NONCE, POLICIES
from controller.opcua.names import standard
from controller.opcua.sessions import LONGEST_SESSION_MS, MOST_SESSIONS, SHORTEST_SESSION_MS, Session, Sessions
from twin.clock import MS, Ns

MOST_OF_ONE: Final = 80
"""Sessions of one client certificate."""
MOST_NEW_OF_ONE: Final = 20
"""The same, not activated yet."""
MOST_ON_CHANNEL: Final = 10
MOST_LOCALES, LONGEST_LOCALE = 8, 32
LONGEST_NAME: Final = 256
MOST_URLS: Final = 8
"""What is kept of how a client describes itself: so many letters of each text, so many addresses."""
ORPHAN_MS: Final = 60_000.0
"""How long a session waits for its client when its connection is lost."""
LONGEST_NONCE: Final = 256


class Handshake:
    """CreateSession, ActivateSession, CloseSession and Cancel."""

    def __init__(self, sessions: Sessions, discovery: Discovery) -> None:
        self._sessions = sessions
        self._discovery = discovery

    def services(self) -> dict[str, Handle]:
        """What is served here."""
        return {
            "CreateSession": self._told("CreateSession", ua.CreateSessionParameters, self._create),
            "ActivateSession": self._told("ActivateSession", ua.ActivateSessionParameters, self._activate),
            "CloseSession": self._close,
            "Cancel": self._cancel,
        }

    def _told(self, name: str, kind: type, serve: Callable[[Asked, Any], bytes | None]) -> Handle:
        """A service whose refusals are told to whoever keeps a log of them."""

        def handle(asked: Asked) -> bytes | None:
            given = asked.decoded(kind)
            try:
                return serve(asked, given)
            except ServiceError as refused:
                self._refused(asked, name, refused.code, given)
                raise

        return handle

    def _refused(self, asked: Asked, name: str, code: int, given: Any) -> None:
        for told in self._sessions.on_refused:
            told(asked, name, code, given)

    # ---- create ------------------------------------------------------------------------------------------------------

    def _create(self, asked: Asked, given: Any) -> bytes:
        """A session belongs to the certificate that the channel was opened with, whatever the request claims."""
        channel: Channel = asked.channel
        client, policy = channel.client, channel.policy
        assert client is not None and policy is not None
        nonce = given.ClientNonce or b""
        if not (given.ClientCertificate or b"").startswith(client.der):  # issuers may follow
            raise ServiceError(StatusCodes.BadCertificateInvalid)
        if given.ClientDescription.ApplicationUri != client.uri:
            raise ServiceError(StatusCodes.BadCertificateUriInvalid)
        if not NONCE <= len(nonce) <= LONGEST_NONCE:
            raise ServiceError(StatusCodes.BadNonceInvalid)
        if len(channel.sessions) >= MOST_ON_CHANNEL or not channel.pay():
            raise ServiceError(StatusCodes.BadTooManySessions)
        self._make_room(client.der)
        wanted = given.RequestedSessionTimeout
        timeout_ms = min(max(wanted, SHORTEST_SESSION_MS), LONGEST_SESSION_MS) if math.isfinite(wanted) else SHORTEST_SESSION_MS
        session = self._sessions.new(
            _cut(given.SessionName) or "", client.der, client.uri, _cut(given.EndpointUrl) or "", timeout_ms
        )
        session.description = _described(given.ClientDescription)
        session.max_response = given.MaxResponseMessageSize
        session.nonce = secrets.token_bytes(NONCE)
        session.on_close.append(lambda: _unbind(session))
        _bind(session, channel)
        for told in self._sessions.on_new:
            told(session)
        signature: Any = ua.SignatureData()
        signature.Algorithm, signature.Signature = policy.signed_with, policy.sign(channel.own.key, client.der + nonce)
        return b"".join(
            (
                session.key,
                session.token,
                struct.pack("<d", timeout_ms),
                octets(session.nonce),
                octets(channel.own.chain),
                self._discovery.endpoints(given.EndpointUrl),
                struct.pack("<i", -1),
                structure(signature),
                struct.pack("<I", MOST_MESSAGE),
            )
        )

    def _make_room(self, certificate: bytes) -> None:
        """That there is room for one more session of a client; its own that wait in vain make way first.

        Raises:
            ServiceError: there is none.
        """
        everyone = sorted(self._sessions, key=lambda session: session.heard)
        mine = [session for session in everyone if session.certificate == certificate]
        if sum(not session.activated for session in mine) >= MOST_NEW_OF_ONE:
            raise ServiceError(StatusCodes.BadTooManySessions)
        full = len(everyone) >= MOST_SESSIONS
        if not full and len(mine) < MOST_OF_ONE:
            return
        waiting = (session for session in mine if session.channel is None)
        new = (session for session in (everyone if full else mine) if not session.activated)
        goes = next(waiting, None) or next(new, None)
        if goes is None:
            raise ServiceError(StatusCodes.BadTooManySessions)
        goes.aborted = True
        goes.close()

    # ---- activate ----------------------------------------------------------------------------------------------------

    def _activate(self, asked: Asked, given: Any) -> bytes | None:
        """Bind a session to its user, and to this channel if it was on another one of the same client and user."""
        channel: Channel = asked.channel
        session: Session | None = asked.session
        client, policy = channel.client, channel.policy
        if session is None or client is None or policy is None or session.certificate != client.der:
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        if session.channel is not channel and (not session.activated or len(channel.sessions) >= MOST_ON_CHANNEL):
            raise ServiceError(StatusCodes.BadSecureChannelIdInvalid)
        # The algorithm is the policy's, whatever the request calls it: node-opcua has a name of its own for PSS.
        known: Any = client.certificate.public_key()
        signature = given.ClientSignature.Signature or b""
        if not any(policy.verify(known, mine + session.nonce, signature) for mine in {channel.own.der, channel.own.chain}):
            raise ServiceError(StatusCodes.BadApplicationSignatureInvalid)
        if _is_anonymous(given.UserIdentityToken):
            return self._activated(asked, session, NOBODY, given)
        _check_password(given.UserIdentityToken)
        if not channel.pay():
            raise ServiceError(StatusCodes.BadTooManyOperations)
        asked.later(self._identified(asked, session, given))
        return None

    async def _identified(self, asked: Asked, session: Session, given: Any) -> bytes:
        """The answer once the user is known."""
        try:
            nonce, address = session.nonce, asked.channel.address
            who = await session.access.identify(
                given.UserIdentityToken, nonce, address, asked.channel.own.key, asked.channel.client.thumbprint
            )
            if session.nonce != nonce:  # another ActivateSession came first
                raise ServiceError(StatusCodes.BadIdentityTokenInvalid)
            return self._activated(asked, session, who, given)
        except ServiceError as refused:
            self._refused(asked, "ActivateSession", refused.code, given)
            raise

    def _activated(self, asked: Asked, session: Session, who: Who, given: Any) -> bytes:
        channel: Channel = asked.channel
        if not session.alive:
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        if session.channel is not channel and who != session.who:
            raise ServiceError(StatusCodes.BadIdentityChangeNotSupported)
        # What is under way is under way in somebody's name: it is theirs to its end, and told so.
        if who != session.who and any(other.who is not None for other in session.work.values()):
            raise ServiceError(StatusCodes.BadInvalidState)
        before = session.who if session.activated else None
        _bind(session, channel)
        session.who, session.activated = who, True
        session.nonce, session.heard = secrets.token_bytes(NONCE), asked.received
        session.locales = tuple(locale[:LONGEST_LOCALE] for locale in (given.LocaleIds or ())[:MOST_LOCALES] if locale)
        channel.pile.most = MOST_MESSAGE
        for told in self._sessions.on_activated:
            told(session, before)
        certificates = len(given.ClientSoftwareCertificates or ())
        return octets(session.nonce) + struct.pack("<i", certificates) + bytes(4 * certificates) + struct.pack("<i", -1)

    # ---- close, cancel -----------------------------------------------------------------------------------------------

    def _close(self, asked: Asked) -> bytes:
        """End a session; its subscriptions with it, or they wait a while for another session of this client, as it wishes."""
        session: Session | None = asked.session
        asked.end(asked.at + 1)
        delete = asked.content[asked.at] != 0
        if session is None or session.channel is not asked.channel:
            self._refused(asked, "CloseSession", StatusCodes.BadSessionIdInvalid, None)
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        session.delete_subscriptions = delete
        session.close()
        return b""

    def _cancel(self, asked: Asked) -> bytes:
        """Cancel requests of this session by their handle."""
        asked.end(asked.at + 4)
        (handle,) = struct.unpack_from("<I", asked.content, asked.at)
        cancelled = 0
        for task, one in list(asked.session.work.items()):
            if one.handle == handle:
                cancelled += task.cancel(StatusCodes.BadRequestCancelledByClient)
        cancelled += sum(ask(asked.session, handle) for ask in self._sessions.on_cancel)
        return struct.pack("<I", cancelled)

    # ---- time --------------------------------------------------------------------------------------------------------

    def lost(self, channel: Channel) -> None:
        """A channel has ended: its sessions wait for their clients, those that were never activated end."""
        for session in tuple(channel.sessions):
            channel.sessions.remove(session)
            session.channel = None
            if not session.activated:
                session.aborted = True
                session.close()

    def sweep(self, now: Ns) -> None:
        """End the sessions that nothing was heard of for too long."""
        for session in self._sessions:
            patience_ms = session.timeout_ms if session.channel is not None else min(session.timeout_ms, ORPHAN_MS)
            if now - session.heard > patience_ms * MS:
                session.timed_out = True
                session.close()


def _is_anonymous(token: Any) -> bool:
    """Whether nobody in particular asks; no token at all is an anonymous one (Part 4 §5.7.3).

    Raises:
        ServiceError: it comes by a way that is not offered.
    """
    if isinstance(token, ua.ExtensionObject):
        return token.TypeId == standard(ObjectIds.Null)
    if isinstance(token, ua.AnonymousIdentityToken):
        if token.PolicyId not in (None, "", ANONYMOUS):
            raise ServiceError(StatusCodes.BadIdentityTokenInvalid)
        return True
    return False


def _check_password(token: Any) -> None:
    """That a password is encrypted as the way in asks that it comes by.

    Raises:
        ServiceError: it is not, or it is no password.
    """
    if not isinstance(token, ua.UserNameIdentityToken):
        raise ServiceError(StatusCodes.BadIdentityTokenRejected)
    if token.PolicyId and _ENCRYPTED.get(token.PolicyId) != token.EncryptionAlgorithm:
        raise ServiceError(StatusCodes.BadIdentityTokenInvalid)


_ENCRYPTED: Final = {password_policy(policy): policy.encrypted_with for policy in POLICIES.values()}


def _cut(text: str | None) -> str | None:
    return text[:LONGEST_NAME] if text else text


def _described(given: Any) -> Any:
    """How a client describes itself, as far as it is kept."""
    kept: Any = ua.ApplicationDescription()
    kept.ApplicationUri, kept.ProductUri = _cut(given.ApplicationUri), _cut(given.ProductUri)
    kept.ApplicationName = ua.LocalizedText(_cut(given.ApplicationName.Text), _cut(given.ApplicationName.Locale))
    kept.ApplicationType = given.ApplicationType
    kept.GatewayServerUri, kept.DiscoveryProfileUri = _cut(given.GatewayServerUri), _cut(given.DiscoveryProfileUri)
    kept.DiscoveryUrls = [_cut(url) for url in (given.DiscoveryUrls or ())[:MOST_URLS]]
    return kept


def _bind(session: Session, channel: Channel) -> None:
    """Bind a session to a channel, and to no other one."""
    if session.channel is channel:
        return
    if session.channel is not None:
        session.channel.sessions.remove(session)
    session.channel = channel
    channel.sessions.append(session)


def _unbind(session: Session) -> None:
    channel: Channel | None = session.channel
    if channel is not None:
        session.channel = None
        channel.sessions.remove(session)
        if not any(other.activated for other in channel.sessions):
            channel.pile.most = MOST_BEFORE_SESSION
    for task in list(session.work):
        task.cancel(StatusCodes.BadSessionClosed)
