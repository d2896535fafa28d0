"""The server's key and certificate, those of the command-line tools on this computer, and what a client's must be like."""

import os
import socket
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from asyncua.crypto.uacrypto import x509_from_der
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.opcua.guard import Refused
from twin.clock import utc_ns

KEY_BITS = range(2048, 4097)
VALID = timedelta(days=5 * 365)
RENEWED = timedelta(days=30)
TOOLS = "urn:example.org:FreeOpcUa:opcua-asyncio"
"""What asyncua's command-line tools call themselves."""


class CertificateError(ValueError):
    """A key or certificate of ours that cannot be used, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A key with its certificate, and the files they are in."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    key_file: Path
    certificate_file: Path


def now() -> datetime:
    """Wall time."""
    return datetime.fromtimestamp(utc_ns() / 1e9, UTC)


def own(folder: Path, name: str, uri: str) -> Identity:
    """The identity `name` in a folder; made where there is none, its certificate renewed where it runs out.

    Raises:
        CertificateError: what is there cannot be used.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_file, certificate_file = folder / f"{name}.pem", folder / f"{name}.der"
    key = _read_key(key_file) if key_file.exists() else _make_key(key_file)
    certificate = _read_certificate(certificate_file)
    if certificate is None or not _serves(certificate, key, uri):
        certificate = _make_certificate(key, name, uri)
        _write(certificate_file, certificate.public_bytes(serialization.Encoding.DER))
    return Identity(key, certificate, key_file, certificate_file)


def _make_key(file: Path) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS.start)
    unlocked = serialization.NoEncryption()
    _write(file, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked))
    return key


def _write(file: Path, content: bytes) -> None:
    """Write a file that only we can read, from its first byte on."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)


def _read_key(file: Path) -> rsa.RSAPrivateKey:
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
        return x509.load_der_x509_certificate(file.read_bytes())
    except ValueError as broken:
        raise CertificateError(f"{file} is no certificate: {broken}") from broken


def _serves(certificate: x509.Certificate, key: rsa.RSAPrivateKey, uri: str) -> bool:
    """Whether a certificate is this key's and this application's, and still long enough valid."""
    if certificate.public_key() != key.public_key() or certificate.not_valid_after_utc - now() < RENEWED:
        return False
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return uri in names.get_values_for_type(x509.UniformResourceIdentifier)


def _make_certificate(key: rsa.RSAPrivateKey, name: str, uri: str) -> x509.Certificate:
    """A self-signed application certificate as OPC UA Part 6 wants it."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"Lockstep {name}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lockstep"),
        ]
    )
    alternatives = [
        x509.UniformResourceIdentifier(uri),
        *(x509.DNSName(host) for host in dict.fromkeys(("localhost", socket.gethostname()))),
        x509.IPAddress(IPv4Address("127.0.0.1")),
    ]
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
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def check_client(der: bytes | None) -> None:
    """That a client's certificate can carry a secure channel: RSA of a fair length, and valid now.

    Who the client is, is told by its user. A list of trusted certificates is not kept.

    Raises:
        Refused: it cannot.
    """
    try:
        certificate = x509_from_der(der)  # type: ignore[no-untyped-call]
        key = certificate.public_key() if certificate else None
    except (ValueError, IndexError, UnsupportedAlgorithm) as broken:
        raise Refused(StatusCodes.BadCertificateInvalid, "the client's certificate cannot be read") from broken
    if certificate is None or not isinstance(key, rsa.RSAPublicKey) or key.key_size not in KEY_BITS:
        allowed = f"RSA of {KEY_BITS.start} to {KEY_BITS.stop - 1} bits"
        raise Refused(StatusCodes.BadCertificateInvalid, f"the client's certificate must be {allowed}")
    if not certificate.not_valid_before_utc <= now() <= certificate.not_valid_after_utc:
        raise Refused(StatusCodes.BadCertificateTimeInvalid, "the client's certificate is not valid now")
