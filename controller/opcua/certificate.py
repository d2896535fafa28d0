"""The server's key and certificate, and those of the command-line tools on this computer."""

import os
import socket
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.opcua.trust.certificates import KEY_BITS, certificate_of, certificates_in, der_of, is_self_issued, uris
from controller.opcua.trust.folders import write
from twin.clock import utc_ns

VALID = timedelta(days=5 * 365)
RENEWED = timedelta(days=30)
TOOLS = "urn:example.org:FreeOpcUa:opcua-asyncio"
"""What asyncua's command-line tools call themselves."""


class CertificateError(ValueError):
    """A key or certificate of ours that cannot be used, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A key with its certificate, and the files they are in.

    Attributes:
        issuers: who signed the certificate, up to one that signed itself; none where it is self-signed.
        made: whether the certificate was made just now.
    """

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    key_file: Path
    certificate_file: Path
    issuers: tuple[x509.Certificate, ...] = ()
    made: bool = False

    @property
    def issuers_der(self) -> bytes:
        """The issuers' certificates, as a message carries them behind ours (Part 6 §6.2.6)."""
        return b"".join(der_of(one) for one in self.issuers)


def now() -> datetime:
    """Wall time."""
    return datetime.fromtimestamp(utc_ns() / 1e9, UTC)


def next_key_file(key_file: Path) -> Path:
    """Where a key waits for the certificate that it will be used with."""
    return key_file.with_suffix(".next.pem")


def issuers_file(certificate_file: Path) -> Path:
    """Where the authorities are that signed a certificate."""
    return certificate_file.with_suffix(".issuers.pem")


def own(folder: Path, name: str, uri: str) -> Identity:
    """The identity `name` in a folder; made where there is none, its certificate renewed where it runs out.

    Only a certificate that we have signed ourselves is renewed: one by an authority is that authority's to renew.

    Raises:
        CertificateError: what is there cannot be used.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_file, certificate_file = folder / f"{name}.pem", folder / f"{name}.der"
    key = read_key(key_file) if key_file.exists() else _make_key(key_file)
    certificate = _read_certificate(certificate_file)
    if certificate is not None and certificate.public_key() != key.public_key():
        key = _next_key(key_file, certificate) or key
    if certificate is not None and not is_self_issued(certificate):
        if certificate.public_key() != key.public_key() or uri not in uris(certificate):
            raise CertificateError(f"{certificate_file} is not for {key_file} and {uri}: remove it, or put the right one there")
        issuers = _read_issuers(issuers_file(certificate_file))
        return Identity(key, certificate, key_file, certificate_file, issuers)
    made = certificate is None or not _serves(certificate, key, uri)
    if certificate is None or made:
        certificate = _make_certificate(key, name, uri)
        write(certificate_file, der_of(certificate))
    return Identity(key, certificate, key_file, certificate_file, made=made)


def adopt(
    identity: Identity, key: rsa.RSAPrivateKey, certificate: x509.Certificate, issuers: tuple[x509.Certificate, ...]
) -> Identity:
    """An identity with another certificate, and maybe another key, in the same files.

    A power cut between any two steps leaves the old identity or the new one: `own` takes a waiting key whose certificate is there.

    Raises:
        OSError: the disk refuses.
    """
    waiting = next_key_file(identity.key_file)
    if key.public_key() != identity.key.public_key():
        write(waiting, key_pem(key))
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in issuers)
    write(issuers_file(identity.certificate_file), pem)
    write(identity.certificate_file, der_of(certificate))
    if key.public_key() != identity.key.public_key():
        os.replace(waiting, identity.key_file)
    else:
        waiting.unlink(missing_ok=True)
    return Identity(key, certificate, identity.key_file, identity.certificate_file, issuers)


def ends_soon(identity: Identity) -> str:
    """What there is to say of a certificate with less than 30 days to live; empty of others."""
    left = identity.certificate.not_valid_after_utc - now()
    if left >= RENEWED:
        return ""
    ends = "has run out" if left < timedelta(0) else f"runs out in {left.days} days"
    then = "a start renews it" if is_self_issued(identity.certificate) else "let its authority sign a new one"
    return f"our certificate {identity.certificate_file} {ends}: {then}"


def _next_key(key_file: Path, certificate: x509.Certificate) -> rsa.RSAPrivateKey | None:
    """The key that was waiting for this certificate, in its place now."""
    waiting = next_key_file(key_file)
    if not waiting.exists():
        return None
    key = read_key(waiting)
    if key.public_key() != certificate.public_key():
        return None
    os.replace(waiting, key_file)
    return key


def new_key() -> rsa.RSAPrivateKey:
    """A fresh key; it takes some tenths of a second to find one."""
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS.start)


def key_pem(key: rsa.RSAPrivateKey) -> bytes:
    """A key as its file holds it."""
    unlocked = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)


def _make_key(file: Path) -> rsa.RSAPrivateKey:
    key = new_key()
    write(file, key_pem(key))
    return key


def read_key(file: Path) -> rsa.RSAPrivateKey:
    """The key of a file that nobody but us can read.

    Raises:
        CertificateError: others can read it, or it is no key that we use.
    """
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise CertificateError(f"{file} can be read by others: it may be known; remove it, or chmod 600 it if it is not")
    try:
        # Made here and readable by nobody else: to prove its numbers prime again would take a tenth of a second.
        key = serialization.load_pem_private_key(file.read_bytes(), password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as broken:
        raise CertificateError(f"{file} is no private key: {broken}") from broken
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size not in KEY_BITS:
        raise CertificateError(f"{file} must be an RSA key of {KEY_BITS.start} to {KEY_BITS.stop - 1} bits")
    return key


def _read_certificate(file: Path) -> x509.Certificate | None:
    if not file.exists():
        return None
    try:
        return certificate_of(file.read_bytes())
    except ValueError as broken:
        raise CertificateError(f"{file} is no certificate: {broken}") from broken


def _read_issuers(file: Path) -> tuple[x509.Certificate, ...]:
    if not file.exists() or not (content := file.read_bytes()):
        return ()
    try:
        return tuple(certificates_in(content))
    except ValueError as broken:
        raise CertificateError(f"{file}: {broken}") from broken


def _serves(certificate: x509.Certificate, key: rsa.RSAPrivateKey, uri: str) -> bool:
    """Whether a certificate is this key's and this application's, and still long enough valid."""
    if certificate.public_key() != key.public_key() or certificate.not_valid_after_utc - now() < RENEWED:
        return False
    return uri in uris(certificate)


def alternatives(uri: str) -> x509.SubjectAlternativeName:
    """What the server is called: its application URI, and the names and the address that it is reached at."""
    return x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier(uri),
            *(x509.DNSName(host) for host in dict.fromkeys(("localhost", socket.gethostname()))),
            x509.IPAddress(IPv4Address("127.0.0.1")),
        ]
    )


def _make_certificate(key: rsa.RSAPrivateKey, name: str, uri: str) -> x509.Certificate:
    """A self-signed application certificate as OPC UA Part 6 wants it."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"Lockstep {name}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lockstep"),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    start = now() - timedelta(hours=1)  # a client's clock may be behind ours
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + VALID)
        .add_extension(alternatives(uri), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
