"""Security policies: what a secure channel's messages are signed and encrypted with (Part 7 §6.6, Part 6 §6.7).

Client and server use the same code; nothing here knows which of the two it is.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Any, Final

from asyncua.ua.status_codes import StatusCodes
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from controller.opcua.guard import Refused

NONE_URI: Final = "http://opcfoundation.org/UA/SecurityPolicy#None"
NONCE: Final = 32
"""Bytes of a nonce, of a channel's and of a session's."""
BLOCK, SIGNATURE = 16, 32
HEAD: Final = struct.Struct("<4sIIIII")
"""Kind, size, channel, token; sequence number, request number (Part 6 §6.7.2)."""
LEGIBLE: Final = 16
"""Bytes of a chunk in front of what is encrypted."""

_SHA1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
_SHA256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_PKCS1 = padding.PKCS1v15()
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)


def illegible() -> Refused:
    """What is told of a message whose padding, signature or size is wrong: always the same."""
    return Refused(StatusCodes.BadSecurityChecksFailed, "this could not be deciphered")


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One security policy.

    Attributes:
        uri: its name.
        encrypted_with, signed_with: names of its asymmetric algorithms.
        oaep, lost: how a key encrypts, and by how many bytes less than its own size at a time.
        signed: how a key signs, with SHA-256.
        key: bytes of a channel's AES key.
        level: how good it is compared to the others.
    """

    uri: str
    encrypted_with: str
    signed_with: str
    oaep: padding.OAEP
    lost: int
    signed: Any
    key: int
    level: int

    @property
    def name(self) -> str:
        """Its name without the Foundation's part."""
        return self.uri.partition("#")[2]

    def sign(self, key: rsa.RSAPrivateKey, content: bytes) -> bytes:
        """An asymmetric signature."""
        return key.sign(content, self.signed, hashes.SHA256())

    def verify(self, key: rsa.RSAPublicKey, content: bytes, signature: bytes) -> bool:
        """Whether an asymmetric signature is right."""
        try:
            key.verify(signature, content, self.signed, hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def encrypt(self, key: rsa.RSAPublicKey, plain: bytes) -> bytes:
        """Any number of bytes, block by block."""
        block = key.key_size // 8 - self.lost
        return b"".join(key.encrypt(plain[at : at + block], self.oaep) for at in range(0, len(plain), block))

    def decrypt(self, key: rsa.RSAPrivateKey, secret: bytes) -> bytes:
        """What `encrypt` has encrypted.

        Raises:
            ValueError: it was not, or not for this key.
        """
        block = key.key_size // 8
        return b"".join(key.decrypt(secret[at : at + block], self.oaep) for at in range(0, len(secret), block))


def _policy(name: str, encrypted: str, signed: str, oaep: padding.OAEP, lost: int, padded: Any, key: int, level: int) -> Policy:
    return Policy(f"http://opcfoundation.org/UA/SecurityPolicy#{name}", encrypted, signed, oaep, lost, padded, key, level)


_OAEP_URI = "http://www.w3.org/2001/04/xmlenc#rsa-oaep"
_OAEP_256_URI = "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256"
_RSA_256_URI = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_PSS_256_URI = "http://opcfoundation.org/UA/security/rsa-pss-sha2-256"

BASIC256SHA256: Final = _policy("Basic256Sha256", _OAEP_URI, _RSA_256_URI, _SHA1, 42, _PKCS1, 32, 2)
AES128: Final = _policy("Aes128_Sha256_RsaOaep", _OAEP_URI, _RSA_256_URI, _SHA1, 42, _PKCS1, 16, 1)
AES256: Final = _policy("Aes256_Sha256_RsaPss", _OAEP_256_URI, _PSS_256_URI, _SHA256, 66, _PSS, 32, 3)
POLICIES: Final = {policy.uri: policy for policy in (BASIC256SHA256, AES128, AES256)}
ENCRYPTIONS: Final = {_OAEP_URI: _SHA1, _OAEP_256_URI: _SHA256}
"""How a password is encrypted, by the algorithm's name."""


# ---- symmetric: all messages but those that open a channel -----------------------------------------------------------------


def derived(secret: bytes, seed: bytes, size: int) -> bytes:
    """P_SHA256 (RFC 5246 §5), the key derivation of all three policies."""
    found, chain = b"", seed
    while len(found) < size:
        chain = hmac.digest(secret, chain, "sha256")
        found += hmac.digest(secret, chain + seed, "sha256")
    return found[:size]


class Plain:
    """Chunks as they are: what a channel without security sends."""

    signature = 0
    block = 1

    def seal(self, kind: bytes, channel: int, token: int, sequence: int, request: int, body: bytes) -> bytes:
        """A chunk."""
        return HEAD.pack(kind, HEAD.size + len(body), channel, token, sequence, request) + body

    def open(self, chunk: bytes) -> bytes:
        """Sequence number, request number and body of a chunk.

        Raises:
            Refused: it is not what it ought to be.
        """
        return chunk[LEGIBLE:]

    def room(self, chunk: int) -> int:
        """Bytes of a body that fit into a chunk of a size."""
        return chunk - HEAD.size


class Signed(Plain):
    """Chunks with a signature."""

    signature = SIGNATURE

    def __init__(self, key: bytes) -> None:
        # HMAC's two hashes have eaten the key beforehand: a copy of each is less than half the work of a whole HMAC.
        padded = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def mac(self, content: bytes) -> bytes:
        """HMAC-SHA256."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(content)
        outer.update(inner.digest())
        return outer.digest()

    def seal(self, kind: bytes, channel: int, token: int, sequence: int, request: int, body: bytes) -> bytes:
        """A chunk."""
        content = HEAD.pack(kind, HEAD.size + len(body) + SIGNATURE, channel, token, sequence, request) + body
        return content + self.mac(content)

    def open(self, chunk: bytes) -> bytes:
        """Sequence number, request number and body of a chunk.

        Raises:
            Refused: it is not what it ought to be.
        """
        if len(chunk) < HEAD.size + SIGNATURE or not hmac.compare_digest(self.mac(chunk[:-SIGNATURE]), chunk[-SIGNATURE:]):
            raise illegible()
        return chunk[LEGIBLE:-SIGNATURE]

    def room(self, chunk: int) -> int:
        """Bytes of a body that fit into a chunk of a size."""
        return chunk - HEAD.size - SIGNATURE


class Sealed(Signed):
    """Chunks with a signature, encrypted.

    All messages of a key begin with the same initialisation vector (Part 6 §6.7.5), so one cipher goes on from chunk to
    chunk, which is eight times faster than one for each: CBC mixes the block before into the first one, we mix it out again.
    """

    block = BLOCK

    def __init__(self, signing: bytes, key: bytes, start: bytes) -> None:
        super().__init__(signing)
        cipher = Cipher(algorithms.AES(key), modes.CBC(start))
        self._encrypt, self._decrypt = cipher.encryptor().update, cipher.decryptor().update
        self._start = int.from_bytes(start, "little")
        self._mixed = 0
        """What is to be mixed out of the next first block: the last block xor the start."""

    def seal(self, kind: bytes, channel: int, token: int, sequence: int, request: int, body: bytes) -> bytes:
        """A chunk."""
        pad = -(len(body) + 41) % BLOCK
        content = b"%b%b%b" % (
            HEAD.pack(kind, len(body) + pad + 57, channel, token, sequence, request),
            body,
            bytes((pad,)) * (pad + 1),
        )
        first = (int.from_bytes(content[16:32], "little") ^ self._mixed).to_bytes(BLOCK, "little")
        secret = self._encrypt(b"%b%b%b" % (first, content[32:], self.mac(content)))
        self._mixed = int.from_bytes(secret[-BLOCK:], "little") ^ self._start
        return content[:LEGIBLE] + secret

    def open(self, chunk: bytes) -> bytes:
        """Sequence number, request number and body of a chunk.

        Raises:
            Refused: it is not what it ought to be.
        """
        if len(chunk) < LEGIBLE + 48 or len(chunk) % BLOCK:
            raise illegible()
        mixed = self._decrypt(chunk[LEGIBLE:])
        first = (int.from_bytes(mixed[:BLOCK], "little") ^ self._mixed).to_bytes(BLOCK, "little")
        self._mixed = int.from_bytes(chunk[-BLOCK:], "little") ^ self._start
        content = b"%b%b%b" % (chunk[:LEGIBLE], first, mixed[BLOCK:-SIGNATURE])
        # The padding is signed, too: it is looked at only behind a right signature, so nobody learns anything from it.
        if not hmac.compare_digest(self.mac(content), mixed[-SIGNATURE:]):
            raise illegible()
        end = len(content) - content[-1] - 1
        if end < HEAD.size:
            raise illegible()
        return content[LEGIBLE:end]

    def room(self, chunk: int) -> int:
        """Bytes of a body that fit into a chunk of a size."""
        return (chunk - LEGIBLE) // BLOCK * BLOCK - 8 - 1 - SIGNATURE


def half(policy: Policy | None, encrypted: bool, secret: bytes, seed: bytes) -> Plain:
    """One direction of a channel.

    Args:
        policy: None for no security.
        secret: the receiver's nonce.
        seed: the sender's.
    """
    if policy is None:
        return Plain()
    keys = derived(secret, seed, SIGNATURE + policy.key + BLOCK)
    signing, key, start = keys[:SIGNATURE], keys[SIGNATURE:-BLOCK], keys[-BLOCK:]
    return Sealed(signing, key, start) if encrypted else Signed(signing)


# ---- asymmetric: messages that open a channel ------------------------------------------------------------------------------


def seal_opening(
    policy: Policy, key: rsa.RSAPrivateKey, receiver: rsa.RSAPublicKey, channel: int, security: bytes, content: bytes
) -> bytes:
    """An OpenSecureChannel chunk, signed and encrypted in either mode.

    Args:
        key: the sender's.
        security: the encoded security header.
        content: sequence number, request number and body.
    """
    extra = receiver.key_size > 2048
    block, signature = receiver.key_size // 8 - policy.lost, key.key_size // 8
    pad = -(len(content) + 1 + extra + signature) % block
    padded = content + bytes((pad & 0xFF,)) * (pad + 1) + (bytes((pad >> 8,)) if extra else b"")
    secret_size = (len(padded) + signature) // block * (receiver.key_size // 8)
    head = struct.pack("<4sII", b"OPNF", 12 + len(security) + secret_size, channel) + security
    return head + policy.encrypt(receiver, padded + policy.sign(key, head + padded))


def open_opening(policy: Policy, key: rsa.RSAPrivateKey, sender: rsa.RSAPublicKey, chunk: bytes, at: int) -> bytes:
    """Sequence number, request number and body of an OpenSecureChannel chunk.

    Args:
        key: the receiver's.
        at: where the encrypted part begins.

    Raises:
        Refused: it is not what it ought to be.
    """
    block, signature = key.key_size // 8, sender.key_size // 8
    if len(chunk) == at or (len(chunk) - at) % block:
        raise illegible()
    try:
        plain = policy.decrypt(key, chunk[at:])
    except ValueError as broken:
        raise illegible() from broken
    content, signed = plain[:-signature], plain[-signature:]
    if not policy.verify(sender, chunk[:at] + content, signed):
        raise illegible()
    extra = key.key_size > 2048
    if len(content) < 9 + extra:
        raise illegible()
    pad = content[-1 - extra] | (content[-1] << 8 if extra else 0)
    end = len(content) - pad - 1 - extra
    if end < 8:
        raise illegible()
    return content[:end]
