"""A secure channel: greeted, opened, renewed, closed; chunks in, messages out, and back (Part 6 §6.7, Part 4 §5.5). No I/O."""

import asyncio
import enum
import hmac
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary

from controller.opcua import guard
from controller.opcua.encoding import octets, string, ticks
from controller.opcua.guard import Refused
from controller.opcua.link.chunks import LEAST_CHUNK, MOST_CHUNK, MOST_CHUNKS, MOST_MESSAGE, Pile, after, follows
from controller.opcua.link.policies import HEAD, NONCE, NONE_URI, POLICIES, Plain, Policy, half, open_opening, seal_opening
from controller.opcua.link.purses import CHANNEL_MS, Purse
from controller.opcua.link.terms import Client, Own, Terms
from controller.opcua.sessions import Session
from twin.clock import MS, Ns, utc_ns

MOST_OPEN: Final = 8 * 1024
MOST_SEALED: Final = 2_048
"""Bytes of an OpenSecureChannel message that are deciphered with the private key: each block takes a millisecond."""
MOST_ANSWER: Final = 8 * 1024 * 1024
LONGEST_URL: Final = 4_096
LIFETIME_MS: Final = (10_000, 3_600_000)
_SEQUENCE = struct.Struct("<II")
_CLOSE = struct.pack("<BBH", 1, 0, ObjectIds.CloseSecureChannelRequest_Encoding_DefaultBinary)
_OPENED = struct.pack("<BBH", 1, 0, ObjectIds.OpenSecureChannelResponse_Encoding_DefaultBinary)


class Stage(enum.Enum):
    """How far a connection has come."""

    NEW = enum.auto()
    GREETED = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


# Which messages may come at a stage; the guard against everything that comes too early.
EXPECTED: Final[dict[Stage, tuple[bytes, ...]]] = {
    Stage.NEW: (b"HEL",),
    Stage.GREETED: (b"OPN",),
    Stage.OPEN: (b"OPN", b"MSG", b"CLO"),
    Stage.CLOSED: (),
}


@dataclass(slots=True)
class Token:
    """One set of keys.

    Attributes:
        theirs, ours: what comes, and what goes, under it.
        expires: when nothing may come under it any more.
    """

    number: int
    theirs: Plain
    ours: Plain
    expires: Ns


class Channel:
    """One connection's secure channel. Over policy None it carries discovery, and nothing else.

    Attributes:
        number: its id, 0 before it is opened.
        policy: None for policy None.
        mode: as the client has chosen it.
        client: whose it is; None over policy None.
        own: the identity that it was opened with.
        address: the client's.
        sessions: that are bound to it.
        work: answers that are on their way, with the session and handle of their requests.
        busy: the client does not take its answers as fast as they come.
    """

    def __init__(self, terms: Terms, address: str, write: Callable[[bytes], None], hang_up: Callable[[], None]) -> None:
        self.stage = Stage.NEW
        self.number = 0
        self.policy: Policy | None = None
        self.mode = ua.MessageSecurityMode.None_
        self.client: Client | None = None
        self.own: Own = terms.own
        self.address = address
        self.sessions: list[Session] = []
        self.work: dict[asyncio.Task[None], tuple[Session | None, int]] = {}
        self.busy = False
        self.pile = Pile()
        self.purse = Purse(Ns(CHANNEL_MS * MS), _at=terms.clock.now())
        self._terms = terms
        self._write = write
        self._hang_up = hang_up
        self._heard = self._sent = 0
        self._used = False
        self._token: Token = Token(0, Plain(), Plain(), Ns(0))
        self._old: Token | None = None
        self._sending = self._token
        self._nonce = b""
        self._chunk = self._most_response = self._most_chunks = 0

    @property
    def sealed(self) -> bool:
        """Whether what goes over it is signed, at least."""
        return self.client is not None

    @property
    def alive(self) -> bool:
        """Whether answers still reach the client."""
        return self.stage is Stage.OPEN

    def expired(self, now: Ns) -> bool:
        """Whether it was opened and not renewed in time."""
        return self.stage is Stage.OPEN and now >= self._token.expires

    @property
    def in_session(self) -> bool:
        """Whether an activated session is bound to it."""
        return any(session.activated for session in self.sessions)

    def in_use(self, now: Ns) -> bool:
        """Whether an activated session is bound to it, and its keys hold."""
        return self.in_session and not self.expired(now)

    # ---- in ----------------------------------------------------------------------------------------------------------

    def take(self, chunk: bytes, now: Ns) -> tuple[int, bytes] | None:
        """Take one chunk in: a request's number and content where it has become whole.

        Raises:
            Refused: it is not one that may come now.
        """
        kind = chunk[:3]
        if kind not in EXPECTED[self.stage]:
            raise Refused(StatusCodes.BadTcpMessageTypeInvalid, f"no such message is expected at stage {self.stage.name}")
        if kind == b"MSG":
            request, body = self._opened(chunk, now)
            whole = self.pile.add(chunk[3], request, body)
            return None if whole is None else (request, whole)
        if kind == b"HEL":
            self._greet(chunk)
        elif kind == b"OPN":
            self._open(chunk, now)
        else:
            _, body = self._opened(chunk, now)
            if body.startswith(_CLOSE):
                self._hang_up()
        return None

    def _opened(self, chunk: bytes, now: Ns) -> tuple[int, bytes]:
        """A symmetric chunk's request number and body."""
        _, _, channel, number, _, _ = HEAD.unpack_from(chunk)
        if channel != self.number:
            raise Refused(StatusCodes.BadTcpSecureChannelUnknown, "a message for another channel")
        token = self._token
        if number != token.number:
            if self._old is None or number != self._old.number:
                raise Refused(StatusCodes.BadSecureChannelTokenUnknown, "a message under an unknown token")
            token = self._old
        if now >= token.expires:
            raise Refused(StatusCodes.BadSecureChannelTokenUnknown, "a message under a token that has run out")
        content = token.theirs.open(chunk)
        if token is not self._sending and token is self._token:
            self._sending, self._old = token, None  # the client has the new keys: so the old ones are done with
        sequence, request = _SEQUENCE.unpack_from(content)
        self._in_order(sequence)
        if not self._used:
            self._used = True
            for told in self._terms.on_used:
                told(self)
        return request, content[8:]

    def _in_order(self, sequence: int) -> None:
        if self.number and not follows(sequence, self._heard):
            raise Refused(StatusCodes.BadSequenceNumberInvalid, "a message out of sequence")
        self._heard = sequence

    # ---- greeting ----------------------------------------------------------------------------------------------------

    def _greet(self, chunk: bytes) -> None:
        guard.check(ua.Hello, chunk, 8)
        _, receive, send, most, chunks, size = struct.unpack_from("<IIIIIi", chunk, 8)
        if size > LONGEST_URL:
            raise Refused(StatusCodes.BadTcpEndpointUrlInvalid, f"an address of {size} bytes; {LONGEST_URL} are allowed")
        if min(receive, send) < LEAST_CHUNK:
            raise Refused(StatusCodes.BadTcpInternalError, f"buffers must take {LEAST_CHUNK} bytes at least")
        self._chunk = min(receive, MOST_CHUNK)
        self._most_response, self._most_chunks = most, chunks
        answer = (0, min(send, MOST_CHUNK), self._chunk, MOST_MESSAGE, MOST_CHUNKS)
        self._write(struct.pack("<4sIIIIII", b"ACKF", 28, *answer))
        self.stage = Stage.GREETED

    # ---- opening -----------------------------------------------------------------------------------------------------

    def _open(self, chunk: bytes, now: Ns) -> None:
        """Open it, or renew it."""
        renewal = self.stage is Stage.OPEN
        if self.expired(now):
            raise Refused(StatusCodes.BadSecureChannelClosed, "the channel was not renewed in time")
        head, at = _legible(chunk)
        policy = POLICIES.get(head.SecurityPolicyURI or "")
        if policy is None and head.SecurityPolicyURI != NONE_URI:
            raise Refused(StatusCodes.BadSecurityPolicyRejected, f"policies are {', '.join(one.name for one in POLICIES.values())}")
        if renewal and (policy is not self.policy or struct.unpack_from("<I", chunk, 8)[0] != self.number):
            raise Refused(StatusCodes.BadSecurityChecksFailed, "a channel keeps its policy and its number")
        client, own = None, self.own if renewal else self._terms.own
        if policy is None:
            content = chunk[at:]
        else:
            client = self._judged(head, own)
            cost = Ns(own.cost * ((len(chunk) - at) // (own.key.key_size // 8) + 1))
            self._pay(client, cost, now, renewal)
            content = open_opening(policy, own.key, client.certificate.public_key(), chunk, at)  # type: ignore[arg-type]
        if renewal and client is not None and self.client is not None and client.der != self.client.der:
            raise Refused(StatusCodes.BadSecurityChecksFailed, "a channel keeps its client")
        sequence, request = _SEQUENCE.unpack_from(content)
        self._in_order(sequence)
        asked = _asked(content)
        self._check(asked, policy, renewal)
        if client is not None:
            self._prove(client, cost, now, renewal)
        if not renewal:
            self.policy, self.client, self.own = policy, client, own
            self.mode, self.number = asked.Parameters.SecurityMode, self._terms.number()
        self._answer_opening(asked, request, now)
        if not renewal:
            self.stage = Stage.OPEN
            for told in self._terms.on_opened:
                told(self)

    def _judged(self, head: Any, own: Own) -> Client:
        """The client, from what of its message is legible: strangers' messages are not deciphered."""
        if not hmac.compare_digest(head.ReceiverCertificateThumbPrint or b"", own.thumbprint):
            raise Refused(StatusCodes.BadCertificateInvalid, "this is not for our certificate")
        return self._terms.trust.check(head.SenderCertificate or b"")

    def _pay(self, client: Client, cost: Ns, now: Ns, renewal: bool) -> None:
        """That the private key may be used now.

        Raises:
            Refused: it was used too often.
        """
        purses = self._terms.purses
        spend = purses.spend if renewal else purses.lend
        if not spend(self.purse, self.address, cost, now, client.thumbprint):
            raise Refused(StatusCodes.BadTcpNotEnoughResources, "too many channels are being opened")

    def _prove(self, client: Client, cost: Ns, now: Ns, renewal: bool) -> None:
        """That a message that opens a channel was made for it, by whoever has the key: a recorded one was not.

        Raises:
            Refused: its nonce has been used.
        """
        if not self._terms.nonces.new(client.thumbprint, self._nonce):
            raise Refused(StatusCodes.BadNonceInvalid, "a message that was sent before")
        if not renewal:
            self._terms.purses.proven(self.address, cost, now, client.thumbprint)

    def pay(self) -> bool:
        """Whether our key may sign or decipher something for this client now."""
        terms, client = self._terms, self.client
        known = "" if client is None else client.thumbprint
        return terms.purses.spend(self.purse, self.address, self.own.cost, terms.clock.now(), known)

    def _check(self, asked: Any, policy: Policy | None, renewal: bool) -> None:
        """That a request to open fits the channel.

        Raises:
            Refused: it does not.
        """
        parameters = asked.Parameters
        if renewal != (parameters.RequestType == ua.SecurityTokenRequestType.Renew):
            raise Refused(StatusCodes.BadRequestTypeInvalid, "a channel is issued once, then renewed")
        none = parameters.SecurityMode == ua.MessageSecurityMode.None_
        unknown = parameters.SecurityMode == ua.MessageSecurityMode.Invalid
        if unknown or none != (policy is None) or (renewal and parameters.SecurityMode != self.mode):
            raise Refused(StatusCodes.BadSecurityModeRejected, "modes are Sign and SignAndEncrypt, and None under policy None")
        nonce = parameters.ClientNonce or b""
        if policy is not None and (len(nonce) != NONCE or nonce == self._nonce):
            raise Refused(StatusCodes.BadNonceInvalid, f"a nonce has {NONCE} bytes, and is new each time")
        self._nonce = nonce

    def _answer_opening(self, asked: Any, request: int, now: Ns) -> None:
        """New keys, and the answer with our part of them."""
        low, high = LIFETIME_MS
        lifetime_ms = min(max(asked.Parameters.RequestedLifetime, low), high)
        nonce = secrets.token_bytes(NONCE) if self.policy else b""
        encrypted = self.mode == ua.MessageSecurityMode.SignAndEncrypt
        token = Token(
            self._token.number + 1,
            half(self.policy, encrypted, nonce, self._nonce),
            half(self.policy, encrypted, self._nonce, nonce),
            Ns(now + lifetime_ms * MS * 5 // 4),  # a quarter more than told, for messages that are late (Part 4 §5.5.2)
        )
        created = ticks(utc_ns())
        body = b"".join(
            (
                _OPENED,
                struct.pack("<qIIBiBBB", created, asked.RequestHeader.RequestHandle, 0, 0, -1, 0, 0, 0),
                struct.pack("<IIIqI", 0, self.number, token.number, created, lifetime_ms),
                octets(nonce),
            )
        )
        self._sent = after(self._sent)
        content = _SEQUENCE.pack(self._sent, request) + body
        if self.policy is None or self.client is None:
            security = string(NONE_URI) + octets(None) + octets(None)
            self._write(struct.pack("<4sII", b"OPNF", 12 + len(security) + len(content), self.number) + security + content)
        else:
            theirs: Any = self.client.certificate.public_key()
            thumbprint = bytes.fromhex(self.client.thumbprint)
            security = string(self.policy.uri) + octets(self.own.chain) + octets(thumbprint)
            self._write(seal_opening(self.policy, self.own.key, theirs, self.number, security, content))
        if self._token.number:
            # What goes out stays under the old keys until the client has shown that it has the new ones.
            self._old, self._sending, self._token = self._token, self._token, token
        else:
            self._token = self._sending = token

    # ---- out ---------------------------------------------------------------------------------------------------------

    def fits(self, size: int, most: int = 0) -> bool:
        """Whether an answer is not longer than the client takes. `most`: its limit for this session, 0 for none."""
        if (most and size > most) or (self._most_response and size > self._most_response):
            return False
        return size <= MOST_ANSWER and not (self._most_chunks and size > self._most_chunks * self._sending.ours.room(self._chunk))

    def answer(self, request: int, body: bytes) -> None:
        """Send an answer; to a channel that is closed, nothing is."""
        if self.stage is not Stage.OPEN:
            return
        ours = self._sending.ours
        room = ours.room(self._chunk)
        for at in range(0, len(body), room):
            part = body if len(body) <= room else body[at : at + room]
            self._sent = after(self._sent)
            kind = b"MSGF" if at + room >= len(body) else b"MSGC"
            self._write(ours.seal(kind, self.number, self._sending.number, self._sent, request, part))

    def hang_up(self) -> None:
        """End the connection."""
        self._hang_up()

    def close(self) -> None:
        """Its connection has ended."""
        was, self.stage = self.stage, Stage.CLOSED
        for task in self.work:
            task.cancel()
        if was is Stage.OPEN:
            for told in self._terms.on_closed:
                told(self)


def _legible(chunk: bytes) -> tuple[Any, int]:
    """The security header of an OpenSecureChannel message, and where it ends."""
    if len(chunk) > MOST_OPEN:
        raise Refused(StatusCodes.BadTcpMessageTooLarge, f"{len(chunk)} bytes to open a channel; {MOST_OPEN} are allowed")
    at = guard.check(ua.AsymmetricAlgorithmHeader, chunk, 12)
    if len(chunk) - at > MOST_SEALED:
        raise Refused(StatusCodes.BadTcpMessageTooLarge, f"{len(chunk) - at} sealed bytes to open a channel")
    return struct_from_binary(ua.AsymmetricAlgorithmHeader, Buffer(chunk[12:at])), at


def _asked(content: bytes) -> Any:
    """The OpenSecureChannel request behind a sequence header."""
    guard.check(ua.OpenSecureChannelRequest, content, 8)
    asked: Any = struct_from_binary(ua.OpenSecureChannelRequest, Buffer(content[8:]))
    if asked.TypeId.Identifier != ObjectIds.OpenSecureChannelRequest_Encoding_DefaultBinary:
        raise Refused(StatusCodes.BadTcpMessageTypeInvalid, "no OpenSecureChannel request")
    return asked
