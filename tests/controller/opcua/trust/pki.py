"""Certificates of every sort for tests, of keys that are made once, and a clock that is moved by hand."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twin.clock import Ns, S

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
URI = "urn:test:client"
USES = {"digital_signature", "content_commitment", "key_encipherment", "data_encipherment"}
AUTHORITY_USES = {"key_cert_sign", "crl_sign"}
_ALL_USES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
    "encipher_only decipher_only"
).split()


@cache
def key(number: int, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key; the same number is the same key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """A key on a curve."""
    return ec.generate_private_key(ec.SECP256R1())


def name(common: str) -> x509.Name:
    """A subject."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usage(uses: Iterable[str]) -> x509.KeyUsage:
    """A key usage."""
    return x509.KeyUsage(**{use: use in set(uses) for use in _ALL_USES})


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    key: Any
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key."""
        no = serialization.NoEncryption()
        return bytes(self.key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, no))


def made(
    common: str = "client",
    key_: Any = None,
    by: Made | None = None,
    uri: str | None = URI,
    start: datetime = NOW - DAY,
    end: datetime = NOW + 100 * DAY,
    uses: Iterable[str] | None = tuple(USES),
    purposes: Iterable[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    authority: bool = False,
    below: int | None = None,
    serial: int | None = None,
    hash_: Any = None,
    more: Iterable[tuple[x509.ExtensionType, bool]] = (),
    signer: Any = None,
) -> Made:
    """A certificate, an application's if nothing else is said. `by`: who signs it, else itself; `signer`: with another key."""
    key_ = key_ or key(1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(by.certificate.subject if by else name(common))
        .public_key(key_.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(authority, below), True)
    )
    if uri is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), False)
    if uses is not None:
        builder = builder.add_extension(usage(uses), True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), False)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical)
    return Made(key_, builder.sign(signer or (by.key if by else key_), hash_ or hashes.SHA256()))


def authority(common: str = "CA", number: int = 2, by: Made | None = None, **more: Any) -> Made:
    """An authority's certificate."""
    given = {"uri": None, "uses": tuple(AUTHORITY_USES), "purposes": (), "authority": True, **more}
    return made(common, given.pop("key_", None) or key(number), by, **given)


def crl(
    by: Made,
    revoked: Iterable[int] = (),
    start: datetime = NOW - DAY,
    end: datetime = NOW + 30 * DAY,
    signer: Any = None,
    more: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> x509.CertificateRevocationList:
    """A revocation list."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(by.certificate.subject).last_update(start).next_update(end)
    for serial in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        builder = builder.add_revoked_certificate(one)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer or by.key, hashes.SHA256())


def openssl(folder: Path, *words: str) -> str:
    """What the `openssl` command answers, whether it succeeds or not."""
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


class Hand:
    """A clock that goes on when it is told to, and a wall that goes with it."""

    def __init__(self) -> None:
        self.at = Ns(10 * S)

    def now(self) -> Ns:
        """Since the start."""
        return self.at

    def wall(self) -> datetime:
        """The time of day."""
        return NOW + timedelta(seconds=(self.at - 10 * S) / 1e9)

    def go(self, elapsed_s: float) -> None:
        """Let time pass."""
        self.at = Ns(self.at + round(elapsed_s * S))

    async def until(self, due: Ns) -> None:
        """Be there at once."""
        self.at = max(self.at, due)
