"""Secure channels and the services over them: what is asked is allowed here, or refused before anything is made of it."""

import asyncio
import enum
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, ServiceError
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary, uatcp_to_binary
from asyncua.ua.uaerrors import UaError
from cryptography.exceptions import InvalidSignature

from controller.opcua import guard
from controller.opcua.certificate import check_client
from controller.opcua.guard import Refused
from controller.opcua.names import standard, status
from controller.opcua.session import Session, Sessions
from twin.clock import MS, Clock, Ns

MOST_CHUNK = 65_535
LEAST_CHUNK = 8_192
MOST_MESSAGE = 256 * 1024
MOST_CHUNKS = 64
MOST_BEFORE_SESSION = 16 * 1024
MOST_OPEN = 8 * 1024
MOST_SEALED = 2_048
"""Bytes of an OpenSecureChannel message that are deciphered with the private key: each block takes a millisecond."""
LIFETIME_MS = (10_000, 3_600_000)
NONCE = 32
MOST_CALLS = 8
SECURE = ua.MessageType.SecureMessage


class Needs(enum.Enum):
    """What a service needs."""

    NOTHING = enum.auto()
    CHANNEL = enum.auto()
    SESSION = enum.auto()


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is served: what its request holds, and what it needs."""

    request: type
    needs: Needs = Needs.SESSION


_SERVICES: dict[str, Service] = {
    "FindServers": Service(ua.FindServersParameters, Needs.NOTHING),
    "GetEndpoints": Service(ua.GetEndpointsParameters, Needs.NOTHING),
    "CreateSession": Service(ua.CreateSessionParameters, Needs.CHANNEL),
    "ActivateSession": Service(ua.ActivateSessionParameters, Needs.CHANNEL),
    "CloseSession": Service(ua.Boolean),
    "Read": Service(ua.ReadParameters),
    "Write": Service(ua.WriteParameters),
    "Browse": Service(ua.BrowseParameters),
    "TranslateBrowsePathsToNodeIds": Service(ua.TranslateBrowsePathsToNodeIdsParameters),
    "RegisterNodes": Service(ua.RegisterNodesParameters),
    "UnregisterNodes": Service(ua.UnregisterNodesParameters),
    "Call": Service(ua.CallParameters),
    "CreateSubscription": Service(ua.CreateSubscriptionParameters),
    "ModifySubscription": Service(ua.ModifySubscriptionParameters),
    "SetPublishingMode": Service(ua.SetPublishingModeParameters),
    "DeleteSubscriptions": Service(ua.DeleteSubscriptionsParameters),
    "TransferSubscriptions": Service(ua.TransferSubscriptionsParameters),
    "Publish": Service(ua.PublishParameters),
    "Republish": Service(ua.RepublishParameters),
    "CreateMonitoredItems": Service(ua.CreateMonitoredItemsParameters),
    "ModifyMonitoredItems": Service(ua.ModifyMonitoredItemsParameters),
    "SetMonitoringMode": Service(ua.SetMonitoringModeParameters),
    "DeleteMonitoredItems": Service(ua.DeleteMonitoredItemsParameters),
}


def _number(name: str) -> int:
    return int(getattr(ObjectIds, f"{name}Request_Encoding_DefaultBinary"))


SERVICES = {standard(_number(name)): service for name, service in _SERVICES.items()}
CREATE, ACTIVATE, CALL = (standard(_number(name)) for name in ("CreateSession", "ActivateSession", "Call"))


class Stage(enum.Enum):
    """How far a connection has come."""

    NEW = enum.auto()
    GREETED = enum.auto()
    OPEN = enum.auto()


# Which messages may come at a stage; the guard against everything that comes too early.
EXPECTED = {
    Stage.NEW: (ua.MessageType.Hello,),
    Stage.GREETED: (ua.MessageType.SecureOpen,),
    Stage.OPEN: (ua.MessageType.SecureOpen, ua.MessageType.SecureMessage, ua.MessageType.SecureClose),
}


class Channel(UaProcessor):
    """One connection's secure channel. Over policy None it answers discovery, and nothing else."""

    def __init__(self, server: Sessions, transport: Any, clock: Clock) -> None:
        limits = TransportLimits(MOST_CHUNK, MOST_CHUNK, MOST_CHUNKS, MOST_BEFORE_SESSION)
        super().__init__(server, transport, limits)
        self._connection.set_policy_factories([server.policy])
        self.session: Session | None = None
        self._server = server
        self._clock = clock
        self._stage = Stage.NEW
        self._expires = Ns(0)
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def sealed(self) -> bool:
        """Whether what goes over it is signed and encrypted."""
        return self._stage is Stage.OPEN and not isinstance(self._connection.security_policy, SecurityPolicyNone)

    @property
    def _mine(self) -> Session | None:
        """The live session that is bound to it."""
        session = self.session
        return session if session is not None and session.alive and session.channel is self else None

    @property
    def in_use(self) -> bool:
        """Whether an activated session is bound to it and it has been renewed in time."""
        return self._mine is not None and self._mine.is_activated() and self._clock.now() < self._expires

    # ---- messages ----------------------------------------------------------------------------------------------------

    async def process(self, header: ua.Header, body: Buffer) -> bool:
        """Take one chunk in. False ends the connection.

        Raises:
            Refused: it is not one that may come now.
        """
        kind: Any = header.MessageType
        if kind not in EXPECTED[self._stage]:
            raise Refused(StatusCodes.BadTcpMessageTypeInvalid, f"no {kind!r} is expected at stage {self._stage.name}")
        content = bytes(body.copy(header.body_size).read(header.body_size))
        if kind == ua.MessageType.Hello:
            self._greet(content)
            return True
        if kind == ua.MessageType.SecureOpen:
            self._check_open(content)
        return bool(await super().process(header, body))  # type: ignore[no-untyped-call]

    def _greet(self, content: bytes) -> None:
        guard.check(ua.Hello, content)
        hello = struct_from_binary(ua.Hello, Buffer(content))
        if min(hello.ReceiveBufferSize, hello.SendBufferSize) < LEAST_CHUNK:
            raise Refused(StatusCodes.BadTcpInternalError, f"buffers must take {LEAST_CHUNK} bytes at least")
        send, receive = min(hello.ReceiveBufferSize, MOST_CHUNK), min(hello.SendBufferSize, MOST_CHUNK)
        self._limits.max_send_buffer = send
        acknowledge: Any = ua.Acknowledge
        answer = acknowledge(0, receive, send, MOST_MESSAGE, MOST_CHUNKS)
        self._transport.write(uatcp_to_binary(ua.MessageType.Acknowledge, answer))  # type: ignore[arg-type]
        self._stage = Stage.GREETED

    # ---- the secure channel ------------------------------------------------------------------------------------------

    def _check_open(self, content: bytes) -> None:
        """Look at what of an OpenSecureChannel message is legible, before anything is deciphered."""
        if len(content) > MOST_OPEN:
            raise Refused(StatusCodes.BadTcpMessageTooLarge, f"{len(content)} bytes to open a channel")
        end = guard.check(ua.AsymmetricAlgorithmHeader, content)
        asked = struct_from_binary(ua.AsymmetricAlgorithmHeader, Buffer(content))
        if len(content) - end > MOST_SEALED:
            raise Refused(StatusCodes.BadTcpMessageTooLarge, f"{len(content) - end} sealed bytes to open a channel")
        if asked.SecurityPolicyURI not in (SecurityPolicyNone.URI, SecurityPolicyBasic256Sha256.URI):
            raise Refused(StatusCodes.BadSecurityPolicyRejected, "policies are None and Basic256Sha256")
        policy = self._connection.security_policy
        if self._stage is Stage.OPEN and asked.SecurityPolicyURI != policy.URI:
            raise Refused(StatusCodes.BadSecurityChecksFailed, "a channel keeps its policy")
        if asked.SecurityPolicyURI == SecurityPolicyNone.URI:
            return
        check_client(asked.SenderCertificate)
        mine = self._server.certificate_der
        if not hmac.compare_digest(asked.ReceiverCertificateThumbPrint or b"", sha1(mine).digest()):
            raise Refused(StatusCodes.BadCertificateInvalid, "this is not for our certificate")

    def open_secure_channel(self, algohdr: Any, seqhdr: Any, body: Buffer) -> None:
        """Open the channel, or renew it.

        Raises:
            Refused: the request does not fit the channel.
        """
        guard.check(ua.OpenSecureChannelRequest, bytes(body))
        request = struct_from_binary(ua.OpenSecureChannelRequest, body)
        asked, renewal = request.Parameters, self._stage is Stage.OPEN
        if renewal != (asked.RequestType == ua.SecurityTokenRequestType.Renew):
            raise Refused(StatusCodes.BadRequestTypeInvalid, "a channel is issued once, then renewed")
        if not renewal:
            self._choose_policy(algohdr, asked.SecurityMode)
        policy = self._connection.security_policy
        if asked.SecurityMode != policy.Mode:
            raise Refused(StatusCodes.BadSecurityModeRejected, "modes are None and SignAndEncrypt")
        if len(asked.ClientNonce or b"") < policy.secure_channel_nonce_length:
            raise Refused(StatusCodes.BadNonceInvalid, "the client's nonce is too short")
        low, high = LIFETIME_MS
        asked.RequestedLifetime = min(max(asked.RequestedLifetime, low), high)
        response: Any = ua.OpenSecureChannelResponse()
        response.Parameters = self._connection.open(asked, self.iserver)
        self.send_response(request.RequestHeader.RequestHandle, seqhdr, response, ua.MessageType.SecureOpen)
        self._stage = Stage.OPEN
        self._expires = Ns(self._clock.now() + asked.RequestedLifetime * MS * 5 // 4)

    def _choose_policy(self, header: Any, mode: ua.MessageSecurityMode) -> None:
        try:
            self._connection.select_policy(header.SecurityPolicyURI, header.SenderCertificate, mode)
        except UaError as unknown:
            raise Refused(StatusCodes.BadSecurityModeRejected, "modes are None and SignAndEncrypt") from unknown

    def send_response(self, requesthandle: Any, seqhdr: Any, response: Any, msgtype: Any = SECURE) -> None:
        """Send what answers a request."""
        super().send_response(requesthandle, seqhdr, response, msgtype)  # type: ignore[no-untyped-call]

    # ---- services ----------------------------------------------------------------------------------------------------

    async def process_message(self, seqhdr: Any, body: Buffer) -> bool | None:
        """Answer one request.

        Raises:
            Refused: not even its header can be read, so that it cannot be answered.
        """
        content = bytes(body)
        guard.check(ua.RequestHeader, content, guard.check(ua.NodeId, content))
        return await super().process_message(seqhdr, body)  # type: ignore[no-untyped-call, no-any-return]

    async def _process_message(self, typeid: ua.NodeId, requesthdr: Any, seqhdr: Any, body: Buffer) -> bool:
        service = SERVICES.get(typeid)
        if service is None:
            raise ServiceError(StatusCodes.BadServiceUnsupported)
        if service.needs is not Needs.NOTHING and not self.sealed:
            raise ServiceError(StatusCodes.BadSecurityPolicyRejected)
        try:
            guard.check(service.request, bytes(body))
        except Refused as refused:
            raise ServiceError(refused.code) from refused
        if typeid == CREATE:
            return await self._create_session(requesthdr, seqhdr, struct_from_binary(ua.CreateSessionParameters, body))
        if typeid == ACTIVATE:
            asked = struct_from_binary(ua.ActivateSessionParameters, body)
            return await self._activate_session(requesthdr, seqhdr, asked)
        if service.needs is Needs.SESSION:
            session = self._bound(requesthdr.AuthenticationToken)
            if typeid == CALL:
                return self._call(session, requesthdr, seqhdr, struct_from_binary(ua.CallParameters, body))
        handled = await super()._process_message(typeid, requesthdr, seqhdr, body)  # type: ignore[no-untyped-call]
        return bool(handled)

    def _bound(self, token: ua.NodeId) -> Session:
        """The session bound to this channel, if the token is its own."""
        session = self._mine
        if session is None or session.auth_token != token:
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        if not session.is_activated():
            raise ServiceError(StatusCodes.BadSessionNotActivated)
        return session

    async def _create_session(self, requesthdr: Any, seqhdr: Any, asked: ua.CreateSessionParameters) -> bool:
        """A session belongs to the certificate that the channel was opened with, whatever the request claims."""
        policy: Any = self._connection.security_policy
        peer: bytes = policy.peer_certificate
        if not (asked.ClientCertificate or b"").startswith(peer):
            raise ServiceError(StatusCodes.BadCertificateInvalid)
        if len(asked.ClientNonce or b"") < NONCE:
            raise ServiceError(StatusCodes.BadNonceInvalid)
        if self._mine is not None:
            raise ServiceError(StatusCodes.BadTooManySessions)
        session = self._server.create_session(self.name, external=True)
        session.channel, session.certificate = self, peer
        self.session, self._closing = session, False
        response: Any = ua.CreateSessionResponse()
        response.Parameters = made = await session.create_session(asked, sockname=self.sockname)
        made.MaxRequestMessageSize = MOST_MESSAGE
        made.ServerCertificate = policy.host_certificate
        made.ServerSignature.Algorithm = policy.AsymmetricSignatureURI
        made.ServerSignature.Signature = policy.asymmetric_cryptography.signature(peer + asked.ClientNonce)
        self.send_response(requesthdr.RequestHandle, seqhdr, response)
        return True

    async def _activate_session(self, requesthdr: Any, seqhdr: Any, asked: ua.ActivateSessionParameters) -> bool:
        """Bind a session to its user, and to this channel if it was on another one of the same client and user."""
        session = self._server.session(requesthdr.AuthenticationToken)
        policy = self._connection.security_policy
        if session is None or session.certificate != policy.peer_certificate:
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        moves = session.channel is not self
        if moves and (not session.is_activated() or self._mine is not None):
            raise ServiceError(StatusCodes.BadSecureChannelIdInvalid)
        nonce = session.nonce or secrets.token_bytes(NONCE)
        _verify(policy, nonce, asked.ClientSignature.Signature)
        who = await self._server.access.identify(asked.UserIdentityToken, nonce, str(self.name[0]))
        if not session.alive or self._transport.is_closing():
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        if moves and who != session.who:
            raise ServiceError(StatusCodes.BadIdentityChangeNotSupported)
        session.channel, self.session, self._closing = self, session, False
        session.publish_over(self)
        self._limits.max_message_size = MOST_MESSAGE
        response: Any = ua.ActivateSessionResponse()
        response.Parameters = session.activated(who, len(asked.ClientSoftwareCertificates or ()))
        self.send_response(requesthdr.RequestHandle, seqhdr, response)
        return True

    def _call(self, session: Session, requesthdr: Any, seqhdr: Any, asked: ua.CallParameters) -> bool:
        """Answer a call when the factory has; meanwhile other requests go on."""
        if len(self._calls) >= MOST_CALLS:
            raise ServiceError(StatusCodes.BadTooManyOperations)

        async def answer() -> None:
            response: Any = ua.CallResponse()
            response.Results = await session.call(asked.MethodsToCall or [])
            self.send_response(requesthdr.RequestHandle, seqhdr, response)

        session.touch()
        task = asyncio.create_task(_or_fault(answer, self._fault(requesthdr, seqhdr)))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return True

    def _fault(self, requesthdr: Any, seqhdr: Any) -> Callable[[int], None]:
        def send(code: int) -> None:
            response: Any = ua.ServiceFault()
            response.ResponseHeader.ServiceResult = status(code)
            self.send_response(requesthdr.RequestHandle, seqhdr, response)

        return send

    async def close(self) -> None:
        """The connection has ended: so do its calls' answers, and its session unless that has subscriptions."""
        for task in self._calls:
            task.cancel()
        self.session = self._mine  # one that has moved on lives on
        await super().close()  # type: ignore[no-untyped-call]
        if self._mine is not None:
            self._mine.orphaned()


async def _or_fault(answer: Callable[[], Awaitable[None]], fault: Callable[[int], None]) -> None:
    try:
        await answer()
    except ServiceError as refused:
        fault(refused.code)


def _verify(policy: Any, nonce: bytes, signature: bytes | None) -> None:
    """That whoever activates a session has the private key of its certificate."""
    if not signature:
        raise ServiceError(StatusCodes.BadApplicationSignatureInvalid)
    try:
        policy.asymmetric_cryptography.verify(policy.host_certificate + nonce, signature)
    except InvalidSignature as wrong:
        raise ServiceError(StatusCodes.BadApplicationSignatureInvalid) from wrong
