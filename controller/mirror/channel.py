"""asyncua's client with limits: what a server may send us, whom we believe, and how a connection begins and ends."""

import asyncio
import stat
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UaClientState, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto import security_policies
from asyncua.ua.ua_binary import struct_from_binary
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from controller.opcua import guard
from controller.opcua.certificate import Identity
from twin.devices import OpcUaServer

MOST_CHUNK = 65_535
LEAST_CHUNK = 8_192
MOST_CHUNKS = 64
MOST_MESSAGE = 1024 * 1024
PATIENCE_S = 5.0
CALL_S = 12.0
CLOSING_S = 2.0
LIFETIME_MS = 600_000
MOST_PASSWORD = 1024
NAME = "Lockstep mirror"

BROKEN = Exception
"""What asyncua raises when a server, or the way to it, does what it must not: anything. Neither asyncua nor cryptography says what
it raises; seen are UaError, OSError, ValueError, KeyError, AttributeError, AssertionError, struct.error, InvalidSignature,
UnsupportedAlgorithm and asyncio.InvalidStateError. One server must not end the process that keeps the others, so what is not
foreseen counts as that server's fault too, and is told by its type as that device's cause (`said`)."""
_SAY_FOR_THEMSELVES = (UaError, OSError, ValueError)


class Untrusted(Exception):
    """A server that is not believed, or that we cannot be proven to; says what to do about it."""


class _Limits(TransportLimits):
    """Ours stay ours: asyncua lets the server's acknowledgement replace them."""

    def update_client_limits(self, msg: ua.Acknowledge) -> None:
        """Send no more than the server takes."""
        self.max_send_buffer = min(MOST_CHUNK, max(LEAST_CHUNK, msg.ReceiveBufferSize))


class _Protocol(UASocketProtocol):
    """A connection that a server can neither fill our memory by, nor make us decode what would cost more than its bytes."""

    def __init__(self, timeout: float, security_policy: Any) -> None:
        limits = _Limits(MOST_CHUNK, MOST_CHUNK, MOST_CHUNKS, MOST_MESSAGE)
        super().__init__(timeout, security_policy=security_policy, limits=limits)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a chunk that says that it is too long ends the connection before it is here."""
        super().data_received(data)
        waiting = self.receive_buffer
        if waiting is not None and len(waiting) >= 8 and int.from_bytes(waiting[4:8], "little") > MOST_CHUNK:
            self.receive_buffer = None
            if self.transport is not None:
                self.transport.abort()

    async def send_request(
        self, request: Any, timeout: float | None = None, message_type: Any = ua.MessageType.SecureMessage
    ) -> Buffer:
        """Ask, and walk over the answer before anything is made of it."""
        found: Buffer = await super().send_request(request, timeout, message_type)
        kind = getattr(ua, type(request).__name__.replace("Request", "Response"))
        guard.check(kind, found.copy().read(len(found)), decoded=None)
        return found


class _Session(UaSession):
    """A session whose Publish requests are ours to send, and whose methods may take their time."""

    async def call(self, methodstocall: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        """Call methods."""
        request = ua.CallRequest()
        request.Parameters.MethodsToCall = methodstocall
        response = struct_from_binary(ua.CallResponse, await self._send_request(request, CALL_S))
        response.ResponseHeader.ServiceResult.check()
        found: list[ua.CallMethodResult] = response.Results
        return found

    def ensure_publish_loop(self) -> None:
        """asyncua's own loop goes on after errors, for ever."""


class _Transport(UaClient):
    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)
        self.session = _Session(self)

    async def connect_socket(self, host: str, port: int) -> None:
        """Connect; asyncua's own may swallow that it is cancelled (asyncio.wait_for before Python 3.12)."""
        self._set_state(UaClientState.CONNECTING)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.get_running_loop().create_connection(self._make_protocol, host, port)
        except BaseException:
            self._set_state(UaClientState.DISCONNECTED)
            raise
        self._set_state(UaClientState.SOCKET_OPEN)

    def _make_protocol(self) -> UASocketProtocol:
        self.protocol = _Protocol(self._timeout, self.security_policy)
        self.protocol.on_connection_lost = self._on_transport_lost
        self.protocol.is_session_closing = self._is_session_closing
        return self.protocol


class Connection(Client):
    """One connection with one session; made, used and thrown away."""

    def __init__(self, url: str, uri: str) -> None:
        super().__init__(url, timeout=PATIENCE_S)
        self.uaclient = _Transport(PATIENCE_S)
        self.name = self.description = NAME
        self.application_uri = uri
        self.product_uri = "urn:lockstep"
        self.secure_channel_timeout = LIFETIME_MS
        self.session_timeout = 60_000
        self.max_messagesize, self.max_chunkcount = MOST_MESSAGE, MOST_CHUNKS

    async def open(self) -> None:
        """Connect, and log in.

        Raises:
            BROKEN; Untrusted among it.
        """
        await self.connect_socket()
        await self.send_hello()
        await self.open_secure_channel()
        await self.create_session()
        await self.activate_session(username=self._username, password=self._password)

    def _add_user_auth(self, params: ua.ActivateSessionParameters, username: str | None, password: str | None) -> None:
        plain = self.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri == security_policies.SecurityPolicyNone.URI
        if plain and self.security_policy.Mode != ua.MessageSecurityMode.SignAndEncrypt:
            raise Untrusted("the server wants the password unencrypted, and the channel is not encrypted: it is not sent")
        super()._add_user_auth(params, username, password)

    async def renew(self) -> None:
        """Renew the channel's keys."""
        await self.open_secure_channel(renew=True)
        self.uaclient.revolve_security_token()

    async def end(self) -> None:
        """Hang up, with manners where there is time for them."""
        self.uaclient.pre_request_hook = None
        try:
            async with asyncio.timeout(CLOSING_S):
                await self.uaclient.close_session(True)
                await self.uaclient.close_secure_channel()
        except BROKEN:
            pass  # it is gone already
        finally:
            self.disconnect_socket()


def connection(server: OpcUaServer, identity: Identity, uri: str) -> Connection:
    """A connection as a device's table declares it, not open yet.

    Raises:
        Untrusted: the declared certificate, or the password's file, cannot be used.
    """
    made = Connection(server.url, uri)
    if server.policy != "None":
        kind = getattr(security_policies, f"SecurityPolicy{server.policy}")
        mode = getattr(ua.MessageSecurityMode, "Sign" if server.mode == "Sign" else "SignAndEncrypt")
        assert server.certificate is not None, "checked when the factory was read"
        made.security_policy = kind(declared(server.certificate), identity.certificate, identity.key, mode)
        made.uaclient.set_security(made.security_policy)
    if server.user:
        if server.policy == "None" and server.password_file is not None:
            raise Untrusted("a password is not sent over a channel without security")
        made.set_user(server.user)
        made.set_password("" if server.password_file is None else password(server.password_file))
    return made


def declared(file: Path) -> x509.Certificate:
    """The certificate of a file, PEM or DER.

    Raises:
        Untrusted: there is none.
    """
    try:
        content = file.read_bytes()
        pem = content.lstrip().startswith(b"-----BEGIN")
        return x509.load_pem_x509_certificate(content) if pem else x509.load_der_x509_certificate(content)
    except OSError as missing:
        raise Untrusted(f"{file}: {missing.strerror}: fetch it with `lockstep mirror trust`") from missing
    except ValueError as broken:
        raise Untrusted(f"{file} is no certificate: {broken}") from broken


def password(file: Path) -> str:
    """The password in a file that nobody else can read.

    Raises:
        Untrusted: others can, or there is none.
    """
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        content = file.read_bytes()
    except OSError as missing:
        raise Untrusted(f"{file}: {missing.strerror}") from missing
    if mode & 0o077:
        raise Untrusted(f"{file} can be read by others (its mode is {mode:o}): chmod 600 it, and change the password")
    try:
        found = content.decode().rstrip("\r\n")
    except UnicodeDecodeError as broken:
        raise Untrusted(f"{file} is no text: {broken}") from broken
    if not found or len(found) > MOST_PASSWORD:
        raise Untrusted(f"{file} must hold a password of 1 to {MOST_PASSWORD} characters, not {len(found)}")
    return found


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, as people compare it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


async def offered(url: str, uri: str) -> list[tuple[str, str, x509.Certificate | None]]:
    """Policy, mode and certificate of each endpoint of a server, as it claims over a channel that proves nothing.

    Raises:
        BROKEN.
    """
    found = []
    async with asyncio.timeout(2 * PATIENCE_S):
        for endpoint in await Connection(url, uri).connect_and_get_server_endpoints():
            policy, mode = str(endpoint.SecurityPolicyUri or "").rpartition("#")[2], endpoint.SecurityMode.name.rstrip("_")
            found.append((policy, mode, first(endpoint.ServerCertificate)))
    return found


def first(chain: bytes | None) -> x509.Certificate | None:
    """The first certificate of a chain in DER; None where it is none."""
    if not chain or len(chain) < 4:
        return None
    try:
        return x509.load_der_x509_certificate(chain[: int.from_bytes(chain[2:4], "big") + 4])
    except ValueError:
        return None


async def diagnosed(server: OpcUaServer, uri: str, failed: BaseException) -> str:
    """Why a connection was refused: asked of the server itself where what asyncua raised does not say it."""
    told = said(failed)
    if server.policy == "None" or server.certificate is None or isinstance(failed, (Untrusted, ConnectionRefusedError)):
        return told
    try:
        endpoints = await offered(server.url, uri)
        wanted = declared(server.certificate)
    except BROKEN:
        return told
    fitting = [found for policy, mode, found in endpoints if (policy, mode) == (server.policy, server.mode)]
    if not fitting:
        there = ", ".join(dict.fromkeys(f"{policy}/{mode}" for policy, mode, _ in endpoints)) or "none"
        return f"it offers no endpoint with {server.policy}/{server.mode}; it offers {there}"
    if fitting[0] is not None and wanted not in fitting:
        return (
            f"it is not trusted: its certificate is {fingerprint(fitting[0])}, {server.certificate.name} has {fingerprint(wanted)}"
        )
    return told


def said(failed: BaseException) -> str:
    """What went wrong, in one line."""
    match failed:
        case UaStatusCodeError():
            return status_name(failed.code)
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "nobody listens there"
        case guard.Refused():
            return f"it sends what cannot be: {failed}"
        case OSError() if failed.strerror:
            return failed.strerror
        case _:
            text = (str(failed).splitlines() or [""])[0][:200]
            known = isinstance(failed, (*_SAY_FOR_THEMSELVES, Untrusted))
            return text if known and text else f"{type(failed).__name__}: {text}".removesuffix(": ")


def status_name(code: int) -> str:
    """The name of a status code; its number where nobody knows it."""
    name = str(ua.StatusCode(ua.UInt32(code & 0xFFFF0000)).name)
    vague = name in ("Good", "Bad", "Uncertain") and code & 0x3FFF0000
    return f"{name} ({code:#010x})" if vague else name
