"""A client's end of a secure channel on a blocking socket: policy None, or Basic256Sha256 with SignAndEncrypt (Part 6 §6.7)."""

import hmac
import os
import socket
import struct
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.crypto import uacrypto
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

CHUNK = 65_535
BLOCK, SIGNATURE = 16, 32
HOUR_MS = 3_600_000


class Refused(ConnectionError):
    """The server has ended it, or answered with a fault."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Both sides' certificates (DER), and the client's key."""

    server: bytes
    client: bytes
    key: rsa.RSAPrivateKey

    @classmethod
    def of(cls, pki: Path, name: str = "client") -> "Seal":
        """What lies in a server's folder."""
        key = load_pem_private_key((pki / f"{name}.pem").read_bytes(), None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, rsa.RSAPrivateKey)
        return cls((pki / "server.der").read_bytes(), (pki / f"{name}.der").read_bytes(), key)

    @property
    def uri(self) -> str:
        """The client's application URI."""
        names = x509.load_der_x509_certificate(self.client).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return str(names.value.get_values_for_type(x509.UniformResourceIdentifier)[0])


class Wire:
    """An open channel. Bodies go in and come out whole; `seal` None: policy None."""

    def __init__(self, url: str, seal: Seal | None, patience_s: float = 60.0) -> None:
        self.url, self.seal = url, seal
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port), patience_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left, self._parts = bytearray(), dict[int, list[bytes]]()
        self._ready: list[tuple[int, bytes]] = []
        self._request = 1
        self._sequence = self.channel = self.token = 0
        self._secret: tuple[bytes, algorithms.AES, modes.CBC] | None = None
        self._theirs = self._secret
        self._greet()
        self._open()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    # ---- the channel -------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        url = self.url.encode()
        hello = struct.pack("<IIIIIi", 0, CHUNK, CHUNK, 0, 0, len(url)) + url
        self.socket.sendall(b"HELF" + struct.pack("<I", 8 + len(hello)) + hello)
        kind, content = self._chunk()
        if kind[:3] != b"ACK":
            raise Refused(f"{self.url}: {kind!r} {content!r} to a Hello")
        self._most = struct.unpack_from("<I", content, 4)[0]  # what the server takes in one chunk

    def _open(self) -> None:
        policy: Any = SecurityPolicyNone()
        if self.seal is not None:
            mode = ua.MessageSecurityMode.SignAndEncrypt
            ours = x509.load_der_x509_certificate(self.seal.client)
            policy = SecurityPolicyBasic256Sha256(x509.load_der_x509_certificate(self.seal.server), ours, self.seal.key, mode)
        nonce, request = os.urandom(32), ua.OpenSecureChannelRequest()
        request.Parameters.RequestType = ua.SecurityTokenRequestType.Issue
        request.Parameters.SecurityMode = policy.Mode
        request.Parameters.ClientNonce = nonce if self.seal else b""
        request.Parameters.RequestedLifetime = HOUR_MS
        certificate, print_ = (self.seal.client, sha1(self.seal.server).digest()) if self.seal else (None, None)
        head = struct.pack("<I", 0) + b"".join(_string(one) for one in (policy.URI.encode(), certificate, print_))
        plain = self._numbered() + struct_to_binary(request)
        sealing = policy.asymmetric_cryptography
        plain += sealing.padding(len(plain))
        whole = len(plain) + sealing.signature_size()
        size = 8 + len(head) + whole // sealing.plain_block_size() * sealing.encrypted_block_size()
        head = b"OPNF" + struct.pack("<I", size) + head
        self.socket.sendall(head + sealing.encrypt(plain + sealing.signature(head + plain)))
        kind, content = self._chunk()
        if kind != b"OPNF":
            raise Refused(f"{self.url}: {kind!r} {content!r} to open a channel")
        response = self._opened(sealing, content)
        self.channel, self.token = response.SecurityToken.ChannelId, response.SecurityToken.TokenId
        if self.seal is not None:
            self._secret, self._theirs = _keys(response.ServerNonce, nonce), _keys(nonce, response.ServerNonce)

    def _opened(self, sealing: Any, content: bytes) -> Any:
        at = 4
        for _ in range(3):
            at += 4 + max(0, struct.unpack_from("<i", content, at)[0])
        plain = sealing.decrypt(content[at:])
        size = sealing.vsignature_size()
        if size:
            sealing.verify(b"OPNF" + struct.pack("<I", 8 + len(content)) + content[:at] + plain[:-size], plain[-size:])
            plain = sealing.remove_padding(plain[:-size])
        return decoded(plain[8:]).Parameters

    def _numbered(self) -> bytes:
        self._sequence += 1
        return struct.pack("<II", self._sequence, self._request)

    # ---- messages ----------------------------------------------------------------------------------------------------

    def send(self, body: bytes) -> int:
        """Send a request's bytes, in as many chunks as it takes. Returns its number."""
        self._request += 1
        room = self._most - 96  # headers, padding and signature
        for at in range(0, len(body), room):
            self._send(b"MSGF" if at + room >= len(body) else b"MSGC", body[at : at + room])
        return self._request

    def _send(self, kind: bytes, part: bytes) -> None:
        plain = self._numbered() + part
        if self._secret is None:
            head = kind + struct.pack("<III", 16 + len(plain), self.channel, self.token)
            self.socket.sendall(head + plain)
            return
        key, aes, vector = self._secret
        pad = -(len(plain) + 1 + SIGNATURE) % BLOCK
        plain += bytes([pad]) * (pad + 1)
        head = kind + struct.pack("<III", 16 + len(plain) + SIGNATURE, self.channel, self.token)
        sealed = Cipher(aes, vector).encryptor().update(plain + hmac.digest(key, head + plain, "sha256"))
        self.socket.sendall(head + sealed)

    def receive(self) -> tuple[int, bytes]:
        """The next whole message: the number of its request, and its bytes.

        Raises:
            Refused: the server has ended the connection.
            TimeoutError: nothing comes.
        """
        while True:
            kind, content = self._chunk()
            if kind[:3] != b"MSG":
                raise Refused(f"{self.url}: {kind!r} {content[:200]!r}")
            plain = self._plain(kind, content)
            (number,) = struct.unpack_from("<I", plain, 4)
            if kind == b"MSGC":
                self._parts.setdefault(number, []).append(plain[8:])
            elif kind == b"MSGF":
                parts = self._parts.pop(number, None)
                return number, plain[8:] if parts is None else b"".join((*parts, plain[8:]))
            else:
                raise Refused(f"{self.url}: message {number} was aborted: {plain!r}")

    def _plain(self, kind: bytes, content: bytes) -> bytes:
        if self._theirs is None:
            return content[8:]
        key, aes, vector = self._theirs
        plain = Cipher(aes, vector).decryptor().update(content[8:])
        signed = b"".join((kind, struct.pack("<I", 8 + len(content)), content[:8], plain[:-SIGNATURE]))
        if not hmac.compare_digest(hmac.digest(key, signed, "sha256"), plain[-SIGNATURE:]):
            raise Refused(f"{self.url}: a signature is wrong")
        return plain[: -SIGNATURE - 1 - plain[-SIGNATURE - 1]]

    def _chunk(self) -> tuple[bytes, bytes]:
        head = self._exactly(8)
        return head[:4], self._exactly(struct.unpack_from("<I", head, 4)[0] - 8)

    def _exactly(self, size: int) -> bytes:
        while len(self._left) < size:
            part = self.socket.recv(1 << 18)
            if not part:
                raise Refused(f"{self.url} has hung up")
            self._left += part
        found = bytes(self._left[:size])
        del self._left[:size]
        return found


def _string(content: bytes | None) -> bytes:
    return struct.pack("<i", -1) if content is None else struct.pack("<i", len(content)) + content


def _keys(secret: bytes, seed: bytes) -> tuple[bytes, algorithms.AES, modes.CBC]:
    signing, key, vector = uacrypto.p_sha256(secret, seed, (32, 32, 16))
    return signing, algorithms.AES(key), modes.CBC(vector)


def decoded(body: bytes) -> Any:
    """A response's bytes as asyncua reads them.

    Raises:
        Refused: it is a fault.
    """
    buffer = Buffer(body)
    kind = ua.extension_objects_by_typeid[nodeid_from_binary(buffer)]
    response = struct_from_binary(kind, Buffer(body))
    result = response.ResponseHeader.ServiceResult
    if not result.is_good():
        raise Refused(f"{kind.__name__}: {result.name}")
    return response
