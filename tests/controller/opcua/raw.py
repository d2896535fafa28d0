"""A client on a wire of memory, as good or as bad as a test wants it; `wired.Wired` makes it."""

import asyncio
import secrets
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary
from cryptography.hazmat.primitives.asymmetric import rsa

from controller.opcua.certificate import TOOLS, Identity
from controller.opcua.encoding import octets, string
from controller.opcua.link.discovery import password_policy
from controller.opcua.link.gate import Gate
from controller.opcua.link.policies import BASIC256SHA256, NONE_URI, Plain, Policy, half, open_opening, seal_opening
from controller.opcua.link.terms import Own

if TYPE_CHECKING:
    from tests.controller.opcua.wired import Wired

URL = "opc.tcp://127.0.0.1:4840/lockstep"
SIGN, SEALED, OPEN = ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt, ua.MessageSecurityMode.None_
NONCE = bytes(range(32))


class Wire(asyncio.Transport):
    """What a Gate writes to. `out` is what the client has not taken yet; `full` makes it a client that takes nothing."""

    def __init__(self, gate: Gate, address: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": (address, 50_000), "sockname": ("127.0.0.1", 4840)})
        self.gate, self._loop = gate, loop
        self.out = bytearray()
        self.closed = self.paused = self.full = self._stopped = False
        self.high = 65_536

    def write(self, data: Any) -> None:
        """Take an answer."""
        self.out += data
        if self.full and len(self.out) > self.high and not self._stopped:
            self._stopped = True
            self.gate.pause_writing()

    def drain(self) -> None:
        """The client takes its answers again."""
        self.full = False
        if self._stopped:
            self._stopped = False
            self.gate.resume_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """How much may lie here."""
        self.high = high or 65_536

    def get_write_buffer_size(self) -> int:
        """How much lies here."""
        return len(self.out) if self.full else 0

    def pause_reading(self) -> None:
        """Nothing is taken in any more."""
        self.paused = True

    def resume_reading(self) -> None:
        """It is again."""
        self.paused = False

    def is_closing(self) -> bool:
        """Whether it is at its end."""
        return self.closed

    def close(self) -> None:
        """End, when the client has taken what is left."""
        if not self.closed:
            self.closed = True
            if not (self.full and self.out):
                self._loop.call_soon(self.gate.connection_lost, None)

    def abort(self) -> None:
        """End at once."""
        if not self.closed or (self.full and self.out):
            self.closed, self.full = True, False
            self._loop.call_soon(self.gate.connection_lost, None)


class Raw:
    """A client, as good or bad as a test wants it.

    Attributes:
        token: of its session, an ua.NodeId. `nonce`: the server's last.
        fresh: its own nonce in the last message that was to open the channel.
    """

    def __init__(self, wired: "Wired", identity: Identity, address: str) -> None:
        self.wired, self.identity = wired, identity
        self.der = Own(self.identity.key, self.identity.certificate).der
        self.wire: Wire = wired.run(self._connect(address))
        self.policy: Policy | None = None
        self.mode: Any = OPEN
        self.channel = self.keys = self.sequence = self.number = 0
        self.ours, self.theirs = Plain(), Plain()
        self.token, self.nonce = ua.NodeId(), b""
        self.fresh = NONCE
        self.answers: dict[int, bytes] = {}
        self._parts = b""

    def become(self, name: str) -> None:
        """Go on as somebody else."""
        other = self.wired.raw(name)
        self.identity, self.der = other.identity, other.der

    async def _connect(self, address: str) -> Wire:
        gate = self.wired.link.gates()
        wire = Wire(gate, address, self.wired.loop)
        gate.connection_made(wire)
        return wire

    # ---- bytes -------------------------------------------------------------------------------------------------------

    def send(self, content: bytes) -> None:
        """Send bytes, and let the server do what it does at once."""

        async def sent() -> None:
            if not self.wire.closed:
                self.wire.gate.data_received(content)

        self.wired.run(sent())

    def chunks(self) -> list[bytes]:
        """What has come since."""
        found = []
        while len(self.wire.out) >= 8:
            (size,) = struct.unpack_from("<I", self.wire.out, 4)
            found.append(bytes(self.wire.out[:size]))
            del self.wire.out[:size]
        return found

    def told(self) -> str:
        """The status that the server ended the connection with; empty where it has ended it without, or not at all."""
        errors = [chunk for chunk in self.chunks() if chunk[:3] == b"ERR"]
        return str(ua.StatusCode(struct.unpack_from("<I", errors[0], 8)[0]).name) if errors else ""

    def sealed(self, body: bytes, kind: bytes = b"MSGF", number: int | None = None) -> bytes:
        """A chunk of a request."""
        self.sequence += 1
        if number is None:
            self.number = number = self.number + 1
        return self.ours.seal(kind, self.channel, self.keys, self.sequence, number, body)

    # ---- channel -----------------------------------------------------------------------------------------------------

    def hello(self, receive: int = 65_535, send: int = 65_535, most: int = 0, chunks: int = 0) -> None:
        """Greet."""
        body = struct.pack("<IIIII", 0, receive, send, most, chunks) + string(URL)
        self.send(b"HELF" + struct.pack("<I", 8 + len(body)) + body)

    def opening(self, renew: bool = False, nonce: bytes | None = None, lifetime_ms: int = 60_000, **header: Any) -> bytes:
        """An OpenSecureChannel chunk. `header`: `security` replaces the security header."""
        self.fresh = nonce = secrets.token_bytes(32) if nonce is None else nonce
        asked = ua.OpenSecureChannelRequest()
        asked.Parameters.RequestType = ua.SecurityTokenRequestType(int(renew))
        asked.Parameters.SecurityMode, asked.Parameters.RequestedLifetime = self.mode, lifetime_ms
        asked.Parameters.ClientNonce = nonce if self.policy else None
        self.sequence += 1
        content = struct.pack("<II", self.sequence, 1) + struct_to_binary(asked)
        if self.policy is None:
            security = header.get("security", string(NONE_URI) + octets(None) * 2)
            return b"OPNF" + struct.pack("<II", 12 + len(security) + len(content), self.channel) + security + content
        mine = self.wired.own
        security = header.get("security", string(self.policy.uri) + octets(self.der) + octets(mine.thumbprint))
        known: Any = mine.certificate.public_key()
        return seal_opening(self.policy, self.identity.key, known, self.channel, security, content)

    def open(self, policy: Policy | None = BASIC256SHA256, mode: Any = SEALED, **options: Any) -> None:
        """Greet and open a channel."""
        self.policy, self.mode = policy, mode if policy else OPEN
        self.hello(**{key: options.pop(key) for key in ("receive", "most", "chunks") if key in options})
        assert [chunk[:4] for chunk in self.chunks()] == [b"ACKF"]
        self.send(self.opening(**options))
        self.opened()

    def renew(self, nonce: bytes) -> None:
        """Renew the channel, and use the new keys from now on."""
        self.send(self.opening(renew=True, nonce=nonce))
        self.opened(nonce)

    def opened(self, nonce: bytes | None = None) -> Any:
        """Take the answer to an opening in: it is in force at once."""
        nonce = self.fresh if nonce is None else nonce
        chunks = self.chunks()
        (chunk,) = [one for one in chunks if one[:3] == b"OPN"] or [b"".join(chunks)]
        assert chunk[:3] == b"OPN", chunk
        at = 12
        for _ in range(3):
            (size,) = struct.unpack_from("<i", chunk, at)
            at += 4 + max(size, 0)
        if self.policy:
            known: Any = self.wired.own.certificate.public_key()
            content = open_opening(self.policy, self.identity.key, known, chunk, at)
        else:
            content = chunk[at:]
        answer: Any = struct_from_binary(ua.OpenSecureChannelResponse, Buffer(content[8:])).Parameters
        self.channel, self.keys = answer.SecurityToken.ChannelId, answer.SecurityToken.TokenId
        self.ours = half(self.policy, self.mode == SEALED, answer.ServerNonce or b"", nonce)
        self.theirs = half(self.policy, self.mode == SEALED, nonce, answer.ServerNonce or b"")
        return answer

    # ---- session -----------------------------------------------------------------------------------------------------

    def create(self, timeout_ms: float = 60_000, most: int = 0, **other: Any) -> Any:
        """CreateSession. `other`: fields of its parameters."""
        given: Any = ua.CreateSessionParameters()
        given.ClientDescription.ApplicationUri, given.SessionName, given.EndpointUrl = TOOLS, "wired", URL
        given.ClientNonce, given.ClientCertificate = NONCE, self.der
        given.RequestedSessionTimeout, given.MaxResponseMessageSize = timeout_ms, most
        for name, value in other.items():
            setattr(given, name, value)
        made = self.ask("CreateSession", given)
        self.token, self.nonce = made.AuthenticationToken, made.ServerNonce
        return made

    def activation(self, user: str = "", password: str | None = None, locales: Iterable[str] = ("en",)) -> Any:
        """ActivateSession's parameters."""
        assert self.policy is not None
        given: Any = ua.ActivateSessionParameters()
        given.ClientSignature.Algorithm = self.policy.signed_with
        given.ClientSignature.Signature = self.policy.sign(self.identity.key, self.wired.own.der + self.nonce)
        given.LocaleIds, given.UserIdentityToken = list(locales), ua.AnonymousIdentityToken("anonymous")
        if user:
            secret = (f"{user}-password" if password is None else password).encode() + self.nonce
            token: Any = ua.UserNameIdentityToken(password_policy(self.policy), user)
            key = self.wired.own.key.public_key()
            assert isinstance(key, rsa.RSAPublicKey)
            token.Password = self.policy.encrypt(key, struct.pack("<I", len(secret)) + secret)
            token.EncryptionAlgorithm = self.policy.encrypted_with
            given.UserIdentityToken = token
        return given

    def activate(self, user: str = "", password: str | None = None) -> None:
        """ActivateSession: nobody in particular, or a user whose password is `<name>-password`."""
        self.nonce = self.ask("ActivateSession", self.activation(user, password)).ServerNonce

    # ---- services ----------------------------------------------------------------------------------------------------

    def post(self, name: str, content: Any, timeout_ms: int = 0) -> int:
        """Ask, and do not wait: the request's number. `content`: parameters, or their bytes."""
        number = getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary")
        header: Any = ua.RequestHeader()
        header.AuthenticationToken, header.RequestHandle, header.TimeoutHint = self.token, self.number + 1, timeout_ms
        body = content if isinstance(content, bytes) else struct_to_binary(content)
        whole = struct.pack("<BBH", 1, 0, number) + struct_to_binary(header) + body
        parts = [whole[at : at + 60_000] for at in range(0, len(whole), 60_000)]
        self.number += 1
        for part in parts:
            self.send(self.sealed(part, b"MSGF" if part is parts[-1] else b"MSGC", self.number))
        return self.number

    def receive(self) -> None:
        """Take in what has come."""
        for chunk in self.chunks():
            if chunk[:3] == b"ERR":
                raise ConnectionError(ua.StatusCode(struct.unpack_from("<I", chunk, 8)[0]).name)
            content = self.theirs.open(chunk)
            self._parts += content[8:]
            if chunk[3:4] == b"F":
                self.answers[struct.unpack_from("<I", content, 4)[0]] = self._parts
                self._parts = b""

    def answer(self, number: int, turns: int = 50) -> bytes:
        """The answer to a request, as bytes; what is answered later is waited for, in turns of the loop without time passing."""
        for _ in range(turns):
            self.receive()
            if number in self.answers:
                return self.answers.pop(number)
            self.wired.turn()
        raise TimeoutError(f"no answer to request {number}")

    def ask_raw(self, name: str, content: Any) -> bytes:
        """The whole answer's bytes."""
        return self.answer(self.post(name, content))

    def ask(self, name: str, content: Any = b"") -> Any:
        """The answer's parameters as asyncua decodes them; where it has none, the whole answer.

        Raises:
            UaStatusCodeError: a ServiceFault.
        """
        return decoded(self.ask_raw(name, content))


def decoded(content: bytes) -> Any:
    """An answer's parameters, results or single field.

    Raises:
        UaStatusCodeError: it is a ServiceFault.
    """
    kind = ua.extension_objects_by_typeid[nodeid_from_binary(Buffer(content))]
    answer: Any = struct_from_binary(kind, Buffer(content))
    answer.ResponseHeader.ServiceResult.check()
    return getattr(answer, "Parameters", answer)


def status_of(ask: Callable[[], Any]) -> str:
    """The name of the status that something ends with."""
    try:
        ask()
    except ua.UaStatusCodeError as refused:
        return str(ua.StatusCode(refused.code).name)
    return "Good"
