"""What a client's certificate is held to, in the order and with the status codes of Part 4 §6.1.3.

The steps are taken one after the other for the whole chain, the client's own certificate first. Hosts are for clients to check.
A certificate is trusted if it, or an authority that signed it, is in the list of trusted ones; the rest of its chain may come
from the list of issuers or with the message. Every authority must have a revocation list that is not out of date.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from controller.opcua.guard import Refused
from controller.opcua.trust.certificates import (
    MOST_CHAIN,
    chain_of,
    common_name,
    der_of,
    is_authority,
    is_self_issued,
    key_of,
    listed_by,
    plain,
    policy_refuses,
    signed_by,
    thumbprint,
    uris,
)

Chain = Sequence[x509.Certificate]
Extension = TypeVar("Extension", bound=x509.ExtensionType)

TOLD = frozenset(
    (
        StatusCodes.BadCertificateTimeInvalid,
        StatusCodes.BadCertificateIssuerTimeInvalid,
        StatusCodes.BadCertificateUriInvalid,
        StatusCodes.BadCertificateUseNotAllowed,
        StatusCodes.BadCertificateIssuerUseNotAllowed,
        StatusCodes.BadCertificateRevocationUnknown,
    )
)
"""What a client may be told: it can mend these, and learns nothing of what is on the list. All else is BadSecurityChecksFailed."""

_AUDIT = {
    "Invalid": ObjectIds.AuditCertificateInvalidEventType,
    "Untrusted": ObjectIds.AuditCertificateUntrustedEventType,
    "Expired": ObjectIds.AuditCertificateExpiredEventType,
    "DataMismatch": ObjectIds.AuditCertificateDataMismatchEventType,
    "Mismatch": ObjectIds.AuditCertificateMismatchEventType,
    "Revoked": ObjectIds.AuditCertificateRevokedEventType,
}


class CertificateRefused(Refused):
    """A certificate that is not accepted.

    Attributes:
        code: why, for the log and the audit.
        wire: what the client is told.
        audit: the type of the audit event, a number of the standard's (Part 5 §6.4.12 to §6.4.18).
        certificate: the one that failed in DER, empty if none could be read.
        chain: all that could be read, the client's own first.
    """

    def __init__(self, code: int, text: str, audit: str, certificate: bytes = b"", chain: Chain = ()) -> None:
        super().__init__(code, text)
        self.wire = code if code in TOLD else StatusCodes.BadSecurityChecksFailed
        self.audit = int(_AUDIT[audit])
        self.certificate = certificate
        self.chain = tuple(chain)


@dataclass(frozen=True)
class TrustList:
    """Whom we trust.

    Attributes:
        trusted: applications, and authorities whose applications all are.
        issuers: authorities that chains are completed with; to be one of these trusts nobody.
        trusted_crls, issuer_crls: revocation lists of the one and the other.
        broken_crls: files where one should be and cannot be read: until it can, nobody's certificate by an authority is accepted.
        own_key: of our own certificate (`key_of`): whoever comes with it has stolen it.
    """

    trusted: Chain = ()
    issuers: Chain = ()
    trusted_crls: Sequence[x509.CertificateRevocationList] = ()
    issuer_crls: Sequence[x509.CertificateRevocationList] = ()
    broken_crls: tuple[str, ...] = ()
    own_key: bytes = b""

    @cached_property
    def trusts(self) -> frozenset[x509.Certificate]:
        """The trusted ones, to look up."""
        return frozenset(self.trusted)

    @cached_property
    def owners(self) -> dict[bytes, frozenset[str]]:
        """Which applications a key belongs to, by the certificates that are trusted by themselves."""
        found: dict[bytes, frozenset[str]] = {}
        for certificate in self.trusted:
            for uri in uris(certificate)[:1]:
                found[key_of(certificate)] = found.get(key_of(certificate), frozenset()) | {uri}
        return found

    def preference(self, issuer: x509.Certificate) -> tuple[bool, bool, datetime]:
        """The higher, the rather it is taken among authorities with one name and key."""
        return issuer in self.trusts, issuer in self.issuers, issuer.not_valid_after_utc

    def named(self, subject: x509.Name) -> Iterator[x509.Certificate]:
        """Those of a name."""
        return (known for known in (*self.trusted, *self.issuers) if known.subject == subject)

    def lists_of(self, issuer: x509.Certificate) -> list[x509.CertificateRevocationList]:
        """The revocation lists that an authority has signed."""
        return [revoked for revoked in (*self.trusted_crls, *self.issuer_crls) if listed_by(revoked, issuer)]


@dataclass(frozen=True, slots=True)
class Client:
    """A client application that is trusted.

    Attributes:
        certificate, der: its certificate.
        uri: of the application; a session's ApplicationUri must be the same.
        thumbprint: SHA-1 of `der` in upper-case hexadecimal digits.
        name: the certificate's common name.
        chain: what it came with, as it came.
        since, until: when it holds as long as the list does not change.
    """

    certificate: x509.Certificate
    der: bytes
    uri: str
    thumbprint: str
    name: str
    chain: bytes
    since: datetime
    until: datetime

    def check_uri(self, uri: str | None) -> None:
        """That an application calls itself what its certificate does, as CreateSession must ask.

        Raises:
            CertificateRefused: BadCertificateUriInvalid.
        """
        _check_uri(self.certificate, uri)


def validate(chain_der: bytes, trust: TrustList, uri: str | None, now: datetime) -> Client:
    """The client whose certificate this is.

    Args:
        chain_der: its certificate, and behind it those of the authorities that it brings along.
        uri: what it calls itself; None where that is not known yet.

    Raises:
        CertificateRefused: it is not trusted, and why.
    """
    try:
        brought = chain_of(chain_der)
    except ValueError as broken:
        raise CertificateRefused(StatusCodes.BadCertificateInvalid, str(broken), "Invalid") from broken
    chain = build(brought[0], brought[1:], trust)
    check_signed(chain)
    _check_trusted(chain, trust)
    check_times(chain, now)
    _check_uri(chain[0], uri)
    check_uses(chain, ExtendedKeyUsageOID.CLIENT_AUTH)
    fresh = check_revoked(chain, trust, now)
    return Client(
        chain[0],
        der_of(chain[0]),
        uris(chain[0])[0],
        thumbprint(chain[0]),
        common_name(chain[0].subject),
        chain_der,
        max(certificate.not_valid_before_utc for certificate in chain),
        min(*(certificate.not_valid_after_utc for certificate in chain), fresh),
    )


def _refused(code: int, why: str, audit: str, chain: Chain, failed: x509.Certificate) -> CertificateRefused:
    place = "" if failed is chain[0] else f", by which {common_name(chain[0].subject)} is signed"
    text = f"certificate {common_name(failed.subject)} ({thumbprint(failed)}){place}: {why}"
    return CertificateRefused(code, text, audit, der_of(failed), chain)


def build(leaf: x509.Certificate, brought: Chain, trust: TrustList) -> Chain:
    """A certificate with the authorities above it, up to one that has signed itself.

    Raises:
        CertificateRefused: BadCertificateChainIncomplete.
    """
    chain = [leaf]
    while not is_self_issued(chain[-1]):
        last = chain[-1]
        named = [*trust.named(last.issuer), *(other for other in brought if other.subject == last.issuer)]
        if not named or len(chain) == MOST_CHAIN:
            why = f"its chain has more than {MOST_CHAIN}" if named else f"its issuer {common_name(last.issuer)} is not known here"
            raise _refused(StatusCodes.BadCertificateChainIncomplete, why, "Invalid", chain, last)
        # Several have one name and key after an authority's renewal.
        signers = [issuer for issuer in named if signed_by(last, issuer)]
        chain.append(max(signers, key=trust.preference) if signers else named[0])
    return chain


def check_signed(chain: Chain) -> None:
    """Signatures, then the security policies' terms for keys and signatures; of what these refuse no signature is looked at.

    Raises:
        CertificateRefused: BadCertificateInvalid, BadCertificatePolicyCheckFailed.
    """
    for certificate, issuer in pairwise((*chain, chain[-1])):
        if not (policy_refuses(certificate) or policy_refuses(issuer) or signed_by(certificate, issuer)):
            why = f"its signature is not by {common_name(issuer.subject)}"
            raise _refused(StatusCodes.BadCertificateInvalid, why, "Invalid", chain, certificate)
    for certificate in chain:
        if why := policy_refuses(certificate):
            raise _refused(StatusCodes.BadCertificatePolicyCheckFailed, why, "Invalid", chain, certificate)


def _check_trusted(chain: Chain, trust: TrustList) -> None:
    """It, or one who signed it, is on the list, and its key is nobody else's: one key is one application."""
    leaf = chain[0]
    others = trust.owners.get(key_of(leaf), frozenset()).difference(uris(leaf)[:1])
    why = ""
    if trust.trusts.isdisjoint(chain):
        why = "it is not on the trust list"
    elif key_of(leaf) == trust.own_key:
        why = "its key is this server's own"
    elif others:
        why = f"its key belongs to {plain(', '.join(sorted(others)))}, too"
    if why:
        raise _refused(StatusCodes.BadCertificateUntrusted, why, "Untrusted", chain, leaf)


def check_times(chain: Chain, now: datetime) -> None:
    """Validity.

    Raises:
        CertificateRefused: BadCertificateTimeInvalid, BadCertificateIssuerTimeInvalid.
    """
    code = StatusCodes.BadCertificateTimeInvalid
    for certificate in chain:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not start <= now <= end:
            why = f"it is valid from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M}"
            raise _refused(code, why, "Expired", chain, certificate)
        code = StatusCodes.BadCertificateIssuerTimeInvalid


def _check_uri(leaf: x509.Certificate, uri: str | None) -> None:
    found = uris(leaf)
    if not found or not found[0]:
        why = "it names no application URI"
    elif uri is not None and found[0] != uri:
        why = f"it is for {plain(found[0])}, and the application calls itself {plain(uri)}"
    else:
        return
    raise _refused(StatusCodes.BadCertificateUriInvalid, why, "DataMismatch", [leaf], leaf)


def check_uses(chain: Chain, purpose: x509.ObjectIdentifier) -> None:
    """Key usage (Part 6 §6.2.2), and that only authorities sign others.

    Args:
        purpose: what the first one is for, among its extended key usages where it has any.

    Raises:
        CertificateRefused: BadCertificateUseNotAllowed, BadCertificateIssuerUseNotAllowed.
    """
    if why := _not_for(chain[0], purpose):
        raise _refused(StatusCodes.BadCertificateUseNotAllowed, why, "Mismatch", chain, chain[0])
    constraints = _extension(chain[0], x509.BasicConstraints)
    if len(chain) > 1 and constraints is not None and constraints.ca:
        raise _refused(StatusCodes.BadCertificateUseNotAllowed, "it is an authority's", "Mismatch", chain, chain[0])
    for below, issuer in enumerate(chain[1:]):
        if why := _no_authority(issuer, below):
            raise _refused(StatusCodes.BadCertificateIssuerUseNotAllowed, why, "Mismatch", chain, issuer)


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _not_for(leaf: x509.Certificate, purpose: x509.ObjectIdentifier) -> str:
    usage, purposes = _extension(leaf, x509.KeyUsage), _extension(leaf, x509.ExtendedKeyUsage)
    if usage is None or not (usage.digital_signature and usage.data_encipherment):
        return "its key usage must have digitalSignature and dataEncipherment"
    if purposes is not None and not {purpose, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(purposes):
        return "its extended key usage leaves out " + ("clientAuth" if purpose == ExtendedKeyUsageOID.CLIENT_AUTH else "serverAuth")
    return ""


def _no_authority(issuer: x509.Certificate, below: int) -> str:
    usage, constraints = _extension(issuer, x509.KeyUsage), _extension(issuer, x509.BasicConstraints)
    if not is_authority(issuer) or constraints is None:
        return "it is no authority's, and may sign nobody else's"
    if usage is not None and not usage.key_cert_sign:
        return "its key usage leaves out keyCertSign"
    if constraints.path_length is not None and constraints.path_length < below:
        return f"{below} authorities are below it, and it allows {constraints.path_length}"
    return ""


def check_revoked(chain: Chain, trust: TrustList, now: datetime) -> datetime:
    """That nobody's certificate is revoked: until when that is known.

    Raises:
        CertificateRefused: BadCertificateRevocationUnknown, BadCertificateRevoked, and the same of an issuer.
    """
    codes = StatusCodes.BadCertificateRevocationUnknown, StatusCodes.BadCertificateRevoked
    until = chain[-1].not_valid_after_utc
    for certificate, issuer in pairwise(chain):
        lists, name = trust.lists_of(issuer), common_name(issuer.subject)
        latest = max(lists, key=lambda one: one.last_update_utc, default=None)
        same = [one for one in lists if latest is not None and one.last_update_utc == latest.last_update_utc]  # of one second
        if any(one.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None for one in same):
            raise _refused(codes[1], f"{name} has revoked it", "Revoked", chain, certificate)
        ends = latest.next_update_utc if latest is not None else None
        if trust.broken_crls or ends is None or ends < now:
            why = f"there is no revocation list of {name}"
            if trust.broken_crls:
                why = f"a revocation list cannot be read: {trust.broken_crls[0]}"
            elif latest is not None:
                why = f"the revocation list of {name} is out of date" + (f" since {ends:%Y-%m-%d %H:%M} UTC" if ends else "")
            raise _refused(codes[0], why, "Revoked", chain, certificate)
        until = min(until, ends)
        codes = StatusCodes.BadCertificateIssuerRevocationUnknown, StatusCodes.BadCertificateIssuerRevoked
    return until


def digest(chain_der: bytes) -> bytes:
    """What a chain is remembered by."""
    return hashlib.sha256(chain_der).digest()


Wall = Callable[[], datetime]
