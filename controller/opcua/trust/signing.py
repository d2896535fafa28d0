"""Our own certificate by somebody else's hand: what is asked to be signed, and what comes back (Part 12 §7.10.5, §7.10.10)."""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.opcua.certificate import Identity, alternatives, key_pem, next_key_file, now, read_key
from controller.opcua.guard import Refused
from controller.opcua.trust.certificates import BROKEN, KEY_BITS, certificate_of, chain_of, is_self_issued, uris
from controller.opcua.trust.folders import write
from controller.opcua.trust.validate import (
    CertificateRefused,
    TrustList,
    build,
    check_revoked,
    check_signed,
    check_times,
    check_uses,
)

LONGEST_SUBJECT = 512
LONGEST_KEY = 16 * 1024
_NAMES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "DC": NameOID.DOMAIN_COMPONENT,
    "L": NameOID.LOCALITY_NAME,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "C": NameOID.COUNTRY_NAME,
}


@dataclass(frozen=True, slots=True)
class Offered:
    """A certificate that is to be ours, and its key."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...]


def subject_of(text: str) -> x509.Name:
    """A subject such as `CN=line 3/O=Example`; commas part as slashes do, and quotes hold a value together (Part 12 §7.9.4).

    Raises:
        Refused: BadInvalidArgument.
    """
    if len(text) > LONGEST_SUBJECT:
        raise Refused(StatusCodes.BadInvalidArgument, f"a subject of {len(text)} letters; {LONGEST_SUBJECT} are allowed")
    attributes = []
    for part in _parted(text):
        name, is_there, value = part.partition("=")
        kind = _NAMES.get(name.strip().upper())
        if kind is None or not is_there or not value.strip():
            raise Refused(StatusCodes.BadInvalidArgument, f"{part!r} of the subject is none of {', '.join(_NAMES)} with =value")
        try:
            attributes.append(x509.NameAttribute(kind, value.strip()))
        except (ValueError, TypeError) as unfit:
            raise Refused(StatusCodes.BadInvalidArgument, f"{part!r} of the subject: {unfit}") from unfit
    if not any(attribute.oid == NameOID.COMMON_NAME for attribute in attributes):
        raise Refused(StatusCodes.BadInvalidArgument, f"the subject {text!r} has no CN")
    return x509.Name(attributes)


def _parted(text: str) -> list[str]:
    parts, quoted = [""], False
    for letter in text:
        if letter == '"':
            quoted = not quoted
        elif letter in "/," and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def request(uri: str, subject: x509.Name, key: rsa.RSAPrivateKey) -> bytes:
    """A certificate request (PKCS #10, DER) for this application."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(alternatives(uri), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def wait_with(identity: Identity, key: rsa.RSAPrivateKey) -> None:
    """Keep a key until its certificate comes, over restarts; one that waited before is forgotten.

    Raises:
        OSError: the disk refuses.
    """
    write(next_key_file(identity.key_file), key_pem(key))


def offered(
    identity: Identity, uri: str, trust: TrustList, der: bytes, issuers: Sequence[bytes], key_format: str, key: bytes
) -> Offered:
    """A certificate that somebody offers us, after what it is held to.

    Args:
        uri: ours.
        issuers: authorities that signed it, beside those in the trust list.
        key_format, key: PEM and a private key, or nothing where it is for a key that is here.

    Raises:
        Refused: it cannot be ours, and why. That a revocation list is missing does not matter here.
    """
    try:
        certificate = certificate_of(der)
        brought = [one for issuer in issuers for one in chain_of(issuer)]
    except ValueError as broken:
        raise Refused(StatusCodes.BadCertificateInvalid, str(broken)) from broken
    private = _given_key(key_format, key) if key_format or key else _known_key(identity, certificate)
    if private.public_key() != certificate.public_key():
        raise Refused(StatusCodes.BadCertificateInvalid, "the certificate is not for the key that came with it")
    chain = build(certificate, brought, trust)
    check_signed(chain)
    check_times(chain, now())
    if uris(certificate)[:1] != [uri]:
        raise Refused(StatusCodes.BadCertificateUriInvalid, f"the certificate is for {uris(certificate)[:1]}, and we are {uri}")
    check_uses(chain, ExtendedKeyUsageOID.SERVER_AUTH)
    _check_not_revoked(chain, trust)
    return Offered(private, certificate, () if is_self_issued(certificate) else tuple(chain[1:]))


def _check_not_revoked(chain: Sequence[x509.Certificate], trust: TrustList) -> None:
    try:
        check_revoked(chain, trust, now())
    except CertificateRefused as refused:
        if refused.code in (StatusCodes.BadCertificateRevoked, StatusCodes.BadCertificateIssuerRevoked):
            raise


def _given_key(key_format: str, key: bytes) -> rsa.RSAPrivateKey:
    if key_format != "PEM":
        raise Refused(StatusCodes.BadNotSupported, f"a private key in format {key_format!r}; PEM is supported")
    if len(key) > LONGEST_KEY:
        raise Refused(StatusCodes.BadNotSupported, f"a private key of {len(key)} bytes; {LONGEST_KEY} are allowed")
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except BROKEN as broken:
        raise Refused(StatusCodes.BadNotSupported, "the private key cannot be read, or is locked with a password") from broken
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size not in KEY_BITS:
        raise Refused(StatusCodes.BadNotSupported, f"the private key is not RSA of {KEY_BITS.start} to {KEY_BITS.stop - 1} bits")
    return private


def _known_key(identity: Identity, certificate: x509.Certificate) -> rsa.RSAPrivateKey:
    """The key that a certificate is for: ours, or the one that waits for it."""
    waiting = next_key_file(identity.key_file)
    if certificate.public_key() == identity.key.public_key():
        return identity.key
    if waiting.exists() and (key := read_key(waiting)).public_key() == certificate.public_key():
        return key
    raise Refused(StatusCodes.BadCertificateInvalid, "the certificate is for no key that is here")
