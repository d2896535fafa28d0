"""Certificates and revocation lists as they are read: from a message, from a file, from whatever somebody sends."""

import binascii
import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

KEY_BITS = range(2048, 4097)
LONGEST_EXPONENT = 64
"""Bits of a public exponent: a longer one makes every use of the key as dear as a signature."""
HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
LONGEST_COMMON_NAME = 64
MOST_CHAIN, MOST_CHAIN_BYTES = 5, 16 * 1024
BROKEN = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)
"""What cryptography raises for what cannot be read. asn1's own error is a ValueError."""

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.SubjectKeyIdentifier,
    x509.AuthorityKeyIdentifier,
)
"""Extensions that may be critical: a certificate with another critical one says something that we do not heed (RFC 5280 §4.2)."""


def der_of(certificate: x509.Certificate) -> bytes:
    """A certificate's bytes."""
    return certificate.public_bytes(Encoding.DER)


def thumbprint(certificate: x509.Certificate | x509.CertificateRevocationList) -> str:
    """SHA-1 in upper-case hexadecimal digits: by this OPC UA names a certificate. Nothing is trusted because of it."""
    return hashlib.sha1(certificate.public_bytes(Encoding.DER)).hexdigest().upper()


def plain(text: str, most: int = 200) -> str:
    """What somebody else has written, fit for a log or a terminal: nothing but what can be seen, and not too much of it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


def common_name(name: x509.Name) -> str:
    """The CN of a subject or issuer as it may be shown, or the whole of it where it has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return plain(str(found[0].value) if found else name.rfc4514_string(), LONGEST_COMMON_NAME)


def uris(certificate: x509.Certificate) -> list[str]:
    """Its URIs; the first one is the application's (Part 6 §6.2.2)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others. One with an application's URI is that application's, whatever else it claims."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and not uris(certificate)


@lru_cache(maxsize=1024)
def key_of(certificate: x509.Certificate) -> bytes:
    """SHA-256 of its public key."""
    return hashlib.sha256(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether subject and issuer are one."""
    return certificate.subject == certificate.issuer


def policy_refuses(certificate: x509.Certificate) -> str:
    """Why a certificate fits none of our security policies; empty where it fits."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return f"its key is {type(key).__name__}, not RSA"
    if key.key_size not in KEY_BITS:
        return f"its key has {key.key_size} bits; {KEY_BITS.start} to {KEY_BITS.stop - 1} are allowed"
    return _weak(certificate)


def _weak(signed: x509.Certificate | x509.CertificateRevocationList) -> str:
    try:
        algorithm = signed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    if isinstance(algorithm, HASHES):
        return ""
    return f"it is signed with {algorithm.name if algorithm else 'an unknown algorithm'}, not SHA-256, SHA-384 or SHA-512"


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether an issuer has signed a certificate: by name, and by a signature that our policies allow."""
    if policy_refuses(issuer) or _weak(certificate):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*BROKEN, InvalidSignature):
        return False
    return True


def listed_by(revoked: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether an issuer has signed a revocation list."""
    key = issuer.public_key()
    if revoked.issuer != issuer.subject or not isinstance(key, rsa.RSAPublicKey) or _weak(revoked):
        return False
    try:
        return revoked.is_signature_valid(key)
    except BROKEN:
        return False


def chain_of(der: bytes) -> list[x509.Certificate]:
    """The certificates that stand one behind the other, the peer's own first (Part 6 §6.2.6).

    Raises:
        ValueError: there is none, they are too many, or one cannot be read.
    """
    if len(der) > MOST_CHAIN_BYTES:
        raise ValueError(f"{len(der)} bytes of certificates; {MOST_CHAIN_BYTES} are allowed")
    found: list[x509.Certificate] = []
    while der:
        if len(found) == MOST_CHAIN:
            raise ValueError(f"more than {MOST_CHAIN} certificates in a chain")
        size = _size(der)
        found.append(certificate_of(der[:size]))
        der = der[size:]
    if not found:
        raise ValueError("no certificate")
    return found


def _size(der: bytes) -> int:
    """How many bytes the first DER value has."""
    if len(der) < 4 or der[:2] != b"\x30\x82":
        raise ValueError("no certificate in DER")
    size = 4 + int.from_bytes(der[2:4], "big")
    if size > len(der):
        raise ValueError(f"a certificate of {size} bytes where {len(der)} are left")
    return size


def certificate_of(der: bytes) -> x509.Certificate:
    """A certificate, all of which can be read.

    Raises:
        ValueError: it cannot, or claims something critical that is not understood here.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        extensions = certificate.extensions
        _ = certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except BROKEN as broken:
        raise ValueError(f"the certificate cannot be read: {broken}") from broken
    for extension in extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise ValueError(f"its extension {extension.oid.dotted_string} is critical, and not understood here")
    if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e.bit_length() > LONGEST_EXPONENT:
        raise ValueError(f"its public exponent has more than {LONGEST_EXPONENT} bits")
    return certificate


def revoked_of(der: bytes) -> x509.CertificateRevocationList:
    """A revocation list that speaks of all certificates of its issuer.

    Raises:
        ValueError: it cannot be read, or speaks of some of them only.
    """
    try:
        revoked = x509.load_der_x509_crl(der)
        _ = revoked.issuer, revoked.next_update_utc, revoked.last_update_utc
        critical = [extension.oid.dotted_string for extension in revoked.extensions if extension.critical]
    except BROKEN as broken:
        raise ValueError(f"the revocation list cannot be read: {broken}") from broken
    if critical:
        raise ValueError(f"a revocation list with the critical extension {critical[0]} is not complete, or not understood here")
    return revoked


def certificates_in(content: bytes) -> list[x509.Certificate]:
    """The certificates of a file, DER or PEM.

    Raises:
        ValueError: one of them cannot be read, or there is none.
    """
    return [certificate_of(der) for der in _ders(content, (b"CERTIFICATE", b"X509 CERTIFICATE"))]


def revoked_in(content: bytes) -> list[x509.CertificateRevocationList]:
    """The revocation lists of a file, DER or PEM.

    Raises:
        ValueError: one of them cannot be read, or there is none.
    """
    return [revoked_of(der) for der in _ders(content, (b"X509 CRL",))]


def _ders(content: bytes, kinds: tuple[bytes, ...]) -> Iterator[bytes]:
    if b"-----BEGIN " not in content:
        yield content
        return
    blocks = [match for match in _PEM.finditer(content) if match[1] in kinds]
    if not blocks:
        raise ValueError(f"no {kinds[0].decode()} in it")
    for block in blocks:
        body = block[0].split(b"-----")[2]
        yield _base64(body)


def _base64(body: bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error as broken:
        raise ValueError(f"no PEM: {broken}") from broken
