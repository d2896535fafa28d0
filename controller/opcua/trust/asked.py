"""What `lockstep trust` does, as lines to be shown."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from controller.opcua.certificate import now
from controller.opcua.guard import Refused
from controller.opcua.trust import content
from controller.opcua.trust.certificates import (
    certificates_in,
    common_name,
    der_of,
    is_authority,
    listed_by,
    plain,
    revoked_in,
    thumbprint,
    uris,
)
from controller.opcua.trust.folders import (
    ISSUER_CRL,
    ISSUERS,
    LISTS,
    MOST_CRL,
    REJECTED,
    TRUSTED,
    TRUSTED_CRL,
    Kept,
    Listed,
)
from controller.opcua.trust.store import TrustError, TrustStore
from controller.opcua.trust.validate import CertificateRefused, validate
from twin.clock import Clock, Ns

SHORTEST = 6
"""Digits of a thumbprint that must be given at least."""
_TITLES = {TRUSTED: "trusted", ISSUERS: "issuers (complete chains; not trusted by themselves)", REJECTED: "rejected"}


class _Once(Clock):
    """The clock of a command that is over at once."""

    def now(self) -> Ns:
        return Ns(0)

    async def until(self, due: Ns) -> None:
        raise AssertionError("a command does not wait")


def do(options: argparse.Namespace) -> list[str]:
    """Do what is asked for: what there is to say of it.

    Raises:
        TrustError: it cannot be done, and why.
        OSError: a file cannot be read or written.
    """
    if not options.state.is_dir():
        raise TrustError(f"--state {options.state}: there is no such folder")
    store = TrustStore(options.state / "pki", _Once(), now)
    if options.action == "list":
        return list(_list(store))
    if options.action == "add" and options.crl:
        return list(_add_crl(store, Path(options.what)))
    if options.action == "add":
        return list(_add(store, options.what, options.issuer))
    return list(_out(store, options.what, keep=options.action == "reject"))


def _list(store: TrustStore) -> Iterator[str]:
    for folder, title in _TITLES.items():
        certificates = [one for one in _in(store, folder) if isinstance(one, x509.Certificate)]
        yield f"{title}: {len(certificates) or 'none'}"
        for certificate in certificates:
            yield from _shown(certificate)
    crls = [one for folder in (TRUSTED_CRL, ISSUER_CRL) for one in _in(store, folder)]
    yield f"revocation lists: {len(crls) or 'none'}"
    for crl in crls:
        assert isinstance(crl, x509.CertificateRevocationList)
        ends = crl.next_update_utc
        state = f"until {ends:%Y-%m-%d}" if ends else "without an end: not used"
        late = ", OUT OF DATE" if ends and ends < now() else ""
        yield f"  {thumbprint(crl)}  of {common_name(crl.issuer)}, {len(crl)} revoked, {state}{late}"


def _shown(certificate: x509.Certificate) -> Iterator[str]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    state = "" if start <= now() <= end else ", NOT VALID NOW"
    kind = "an authority" if is_authority(certificate) else plain(next(iter(uris(certificate)), "without an application URI"))
    yield f"  {thumbprint(certificate)}  {common_name(certificate.subject)}"
    signer = "" if certificate.issuer == certificate.subject else f", signed by {common_name(certificate.issuer)}"
    yield f"    {kind}{signer}, valid {start:%Y-%m-%d} to {end:%Y-%m-%d}{state}"


def _in(store: TrustStore, folder: str) -> list[Listed]:
    return [one for kept in store.kept(folder) for one in kept.holds]


def _add(store: TrustStore, what: str, issuer: bool) -> Iterator[str]:
    certificates = _of_file(Path(what)) if Path(what).is_file() else [_rejected(store, what)]
    if not issuer and len(certificates) > 1:
        raise TrustError(f"{what} holds {len(certificates)} certificates: add each by itself, authorities with --issuer")
    for certificate in certificates:
        if issuer and not is_authority(certificate):
            raise TrustError(f"{common_name(certificate.subject)} ({thumbprint(certificate)}) is no authority's certificate")
        if not issuer:
            _check_alone(store, certificate)
        store.put(ISSUERS if issuer else TRUSTED, certificate)
        store.take(REJECTED, certificate)
        told = "completes chains now" if issuer else "is trusted now"
        more = ", and with it everyone it has signed a certificate for" if is_authority(certificate) and not issuer else ""
        yield f"{common_name(certificate.subject)} ({thumbprint(certificate)}) {told}{more}"
        if not is_authority(certificate):
            yield from _still_refused(store, certificate)


def _check_alone(store: TrustStore, certificate: x509.Certificate) -> None:
    """That a certificate's key is no other application's.

    Raises:
        TrustError: it is.
    """
    trust = store.current
    try:
        content.check_keys(certificate, replace(trust, trusted=(*trust.trusted, certificate)))
    except Refused as refused:
        raise TrustError(str(refused)) from refused


def _still_refused(store: TrustStore, certificate: x509.Certificate) -> Iterator[str]:
    store.look()
    try:
        validate(der_of(certificate), store.current, None, now())
    except CertificateRefused as refused:
        yield f"but the server will go on refusing it: {refused}"


def _add_crl(store: TrustStore, file: Path) -> Iterator[str]:
    try:
        with file.open("rb") as opened:
            crls = revoked_in(opened.read(MOST_CRL))
    except ValueError as broken:
        raise TrustError(f"{file}: {broken}") from broken
    for crl in crls:
        beside = _place_of(store, crl)
        if beside is None:
            here = [common_name(one.subject) for name in (TRUSTED, ISSUERS) for one in _authorities(store, name)]
            raise TrustError(f"{file} is signed by no authority that is here, which are: {', '.join(here) or 'none'}")
        for old in _in(store, beside):
            if isinstance(old, x509.CertificateRevocationList) and old.issuer == crl.issuer and _older(old, crl):
                store.take(beside, old)
        store.put(beside, crl)
        yield f"revocation list of {common_name(crl.issuer)}, {len(crl)} revoked ({thumbprint(crl)}): taken"


def _place_of(store: TrustStore, crl: x509.CertificateRevocationList) -> str | None:
    """The folder beside that of the authority who signed a revocation list."""
    for folder, beside in ((TRUSTED, TRUSTED_CRL), (ISSUERS, ISSUER_CRL)):
        if any(listed_by(crl, authority) for authority in _authorities(store, folder)):
            return beside
    return None


def _older(old: x509.CertificateRevocationList, new: x509.CertificateRevocationList) -> bool:
    return old.last_update_utc < new.last_update_utc


def _authorities(store: TrustStore, folder: str) -> Iterator[x509.Certificate]:
    return (one for one in _in(store, folder) if isinstance(one, x509.Certificate) and is_authority(one))


def _out(store: TrustStore, what: str, keep: bool) -> Iterator[str]:
    folders = (TRUSTED, ISSUERS) if keep else (*LISTS, REJECTED)
    kept, folder = _found(store, what, folders)
    listed = kept.holds[0]
    name = common_name(listed.subject if isinstance(listed, x509.Certificate) else listed.issuer)
    if keep and isinstance(listed, x509.Certificate):
        store.reject(listed)
    store.take(folder, listed)
    yield f"{name} ({thumbprint(listed)}) is no longer in {folder}"
    if keep and isinstance(listed, x509.Certificate):
        for authority in _authorities(store, TRUSTED):
            if authority.subject == listed.issuer:
                yield f"but {common_name(authority.subject)}, who signed it, is trusted: let it revoke it, and add its list"


def _rejected(store: TrustStore, what: str) -> x509.Certificate:
    kept, _ = _found(store, what, (REJECTED,))
    (certificate,) = kept.holds
    assert isinstance(certificate, x509.Certificate)
    return certificate


def _found(store: TrustStore, what: str, folders: tuple[str, ...]) -> tuple[Kept, str]:
    """The one file whose content has this thumbprint.

    Raises:
        TrustError: there is none, or there are several.
    """
    digits = what.replace(":", "").replace(" ", "").upper()
    there = [(kept, folder) for folder in folders for kept in store.kept(folder)]
    found = [(kept, folder) for kept, folder in there if any(thumbprint(one).startswith(digits) for one in kept.holds)]
    if len(digits) < SHORTEST or set(digits) - set("0123456789ABCDEF"):
        raise TrustError(f"{what!r} is no file, and no thumbprint either: {SHORTEST} hexadecimal digits at least")
    if len(found) == 1:
        return found[0]
    known = [thumbprint(one)[:12] for kept, _ in (found or there) for one in kept.holds]
    names = " and ".join(folder.split("/")[0] for folder in folders)
    if found:
        raise TrustError(f"{what} is not one certificate but {len(found)}: {', '.join(known)}")
    raise TrustError(f"no {what} in {names}; there is: {', '.join(known) or 'nothing'}")


def _of_file(file: Path) -> list[x509.Certificate]:
    try:
        with file.open("rb") as opened:
            return certificates_in(opened.read(MOST_CRL))
    except ValueError as broken:
        raise TrustError(f"{file}: {broken}") from broken
