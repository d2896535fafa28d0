"""The trust list as clients read and write it: TrustListDataType in UA Binary (Part 12 §7.8.2.8), and what a new one is held to."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from controller.opcua import guard
from controller.opcua.guard import Refused
from controller.opcua.trust.certificates import certificate_of, common_name, key_of, listed_by, plain, revoked_of, thumbprint
from controller.opcua.trust.validate import TrustList, build, check_signed

MOST = 1024 * 1024
"""MaxTrustListSize."""
TRUSTED_CERTIFICATES, TRUSTED_CRLS, ISSUER_CERTIFICATES, ISSUER_CRLS = 1, 2, 4, 8
ALL = 15


def encoded(trust: TrustList, masks: int = ALL) -> bytes:
    """Those parts of a list that some masks ask for."""
    made: Any = ua.TrustListDataType
    return struct_to_binary(
        made(
            masks,
            _ders(trust.trusted, masks & TRUSTED_CERTIFICATES),
            _ders(trust.trusted_crls, masks & TRUSTED_CRLS),
            _ders(trust.issuers, masks & ISSUER_CERTIFICATES),
            _ders(trust.issuer_crls, masks & ISSUER_CRLS),
        )
    )


def _ders(listed: Sequence[x509.Certificate | x509.CertificateRevocationList], wanted: int) -> list[bytes]:
    return [one.public_bytes(Encoding.DER) for one in listed] if wanted else []


def decoded(content: bytes, trust: TrustList) -> tuple[int, TrustList]:
    """The masks of what changes, and the list that there would be then.

    Raises:
        Refused: it cannot be read, BadInvalidArgument; or something in it is no use, BadCertificateInvalid.
    """
    try:
        end = guard.check(ua.TrustListDataType, content)
    except Refused as broken:
        raise Refused(StatusCodes.BadInvalidArgument, f"no TrustListDataType: {broken}") from broken
    given = struct_from_binary(ua.TrustListDataType, Buffer(content))
    masks = int(given.SpecifiedLists)
    if end != len(content) or masks & ~ALL:
        raise Refused(StatusCodes.BadInvalidArgument, f"{len(content) - end} bytes too many, or masks {masks} beyond {ALL}")
    try:
        parts: dict[int, tuple[str, Sequence[Any]]] = {
            TRUSTED_CERTIFICATES: ("trusted", _certificates(given.TrustedCertificates)),
            ISSUER_CERTIFICATES: ("issuers", _certificates(given.IssuerCertificates)),
            TRUSTED_CRLS: ("trusted_crls", _crls(given.TrustedCrls)),
            ISSUER_CRLS: ("issuer_crls", _crls(given.IssuerCrls)),
        }
    except ValueError as broken:
        raise Refused(StatusCodes.BadCertificateInvalid, str(broken)) from broken
    changes: dict[str, Any] = {name: part for mask, (name, part) in parts.items() if masks & mask}
    made = replace(trust, **changes)
    check(made)
    if len(encoded(made)) > MOST:
        raise Refused(StatusCodes.BadEncodingLimitsExceeded, f"a trust list of more than {MOST} bytes")
    return masks, made


def _certificates(ders: Sequence[bytes] | None) -> tuple[x509.Certificate, ...]:
    return tuple(dict.fromkeys(certificate_of(der or b"") for der in ders or ()))


def _crls(ders: Sequence[bytes] | None) -> tuple[x509.CertificateRevocationList, ...]:
    found = {thumbprint(crl): crl for crl in (revoked_of(der or b"") for der in ders or ())}
    return tuple(found.values())


def check(trust: TrustList) -> None:
    """That everything in a list is of use: signed, by somebody who is in it, and no key twice.

    What time mends, such as a certificate that has run out, does not matter here.

    Raises:
        Refused: something is not, BadCertificateInvalid.
    """
    for certificate in (*trust.trusted, *trust.issuers):
        check_use(certificate, trust)
    authorities = (*trust.trusted, *trust.issuers)
    for crl in (*trust.trusted_crls, *trust.issuer_crls):
        if not any(listed_by(crl, authority) for authority in authorities):
            text = f"the revocation list of {common_name(crl.issuer)} is signed by nobody in the list"
            raise Refused(StatusCodes.BadCertificateInvalid, text)


def check_use(certificate: x509.Certificate, trust: TrustList) -> None:
    """That a certificate of a list is of use there.

    Raises:
        Refused: it is not, BadCertificateInvalid.
    """
    try:
        check_signed(build(certificate, (), trust))
    except Refused as refused:
        raise Refused(StatusCodes.BadCertificateInvalid, str(refused)) from refused
    check_keys(certificate, trust)


def check_keys(certificate: x509.Certificate, trust: TrustList) -> None:
    """That a certificate of a list has a key that nobody else in it has.

    Raises:
        Refused: it is another application's, too, or ours; BadCertificateInvalid.
    """
    applications = trust.owners.get(key_of(certificate), frozenset())
    if len(applications) > 1:
        text = f"{plain(', '.join(sorted(applications)))} have one key ({common_name(certificate.subject)}): each needs its own"
        raise Refused(StatusCodes.BadCertificateInvalid, text)
    if certificate in trust.trusts and key_of(certificate) == trust.own_key:
        text = f"certificate {common_name(certificate.subject)} has this server's own key"
        raise Refused(StatusCodes.BadCertificateInvalid, text)
