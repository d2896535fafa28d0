"""Whose certificate is accepted, and the exact status of each that is not: for the log, and for the client."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from asyncua import ua
from asyncua.crypto.truststore import TrustStore as PeersStore
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.guard import Refused
from controller.opcua.trust.certificates import key_of
from controller.opcua.trust.validate import CertificateRefused, TrustList, validate
from tests.controller.opcua.trust.pki import AUTHORITY_USES, DAY, NOW, URI, USES, Made, authority, crl, ec_key, key, made, openssl

CHECKS = "BadSecurityChecksFailed"


def trusting(*trusted: Made, issuers: tuple[Made, ...] = (), crls: tuple[x509.CertificateRevocationList, ...] = ()) -> TrustList:
    """A trust list."""
    return TrustList(tuple(one.certificate for one in trusted), tuple(one.certificate for one in issuers), crls)


def judged(chain: bytes, trust: TrustList, uri: str | None = None, now: datetime = NOW) -> tuple[str, str]:
    """The status for the log and the one for the client."""
    try:
        validate(chain, trust, uri, now)
    except CertificateRefused as refused:
        assert isinstance(refused, Refused)
        name = ua.StatusCode
        return name(refused.code).name, name(refused.wire).name  # type: ignore[arg-type]
    return "Good", "Good"


@cache
def ca() -> Made:
    """An authority."""
    return authority()


@cache
def sub() -> Made:
    """One below it."""
    return authority("sub CA", 3, ca())


@cache
def lists() -> tuple[x509.CertificateRevocationList, ...]:
    """The revocation lists of both: nobody is."""
    return crl(ca()), crl(sub())


# ---- accepted ----------------------------------------------------------------------------------------------------------


def test_a_self_signed_application_on_the_list_is_accepted_and_told() -> None:
    client = made("robot cell")
    found = validate(client.der, trusting(client), URI, NOW)
    assert (found.certificate, found.der, found.uri, found.name) == (client.certificate, client.der, URI, "robot cell")
    assert found.thumbprint == hashlib.sha1(client.der).hexdigest().upper()
    assert (found.since, found.until) == (NOW - DAY, NOW + 100 * DAY)


ACCEPTED: dict[str, Callable[[], tuple[bytes, TrustList]]] = {
    "alone": lambda: (made(by=ca()).der, trusting(ca(), crls=lists())),
    "with its authority": lambda: (made(by=ca()).der + ca().der, trusting(ca(), crls=lists())),
    "below one that is trusted": lambda: (made(by=sub()).der, trusting(sub(), issuers=(ca(),), crls=lists())),
    "below one that it brings": lambda: (made(by=sub()).der + sub().der, trusting(ca(), crls=lists())),
    "in any order": lambda: (made(by=sub()).der + ca().der + sub().der, trusting(ca(), crls=lists())),
    "trusted itself": lambda: (made(serial=7, by=ca()).der, trusting(made(serial=7, by=ca()), issuers=(ca(),), crls=lists())),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_one_whose_authority_or_who_itself_is_trusted_is_accepted(case: str) -> None:
    chain, trust = ACCEPTED[case]()
    assert judged(chain, trust, URI) == ("Good", "Good")


def test_it_holds_no_longer_than_the_revocation_list_that_it_was_found_by() -> None:
    trust = trusting(ca(), crls=(crl(ca(), end=NOW + 3 * DAY),))
    assert validate(made(by=ca()).der, trust, None, NOW).until == NOW + 3 * DAY


def test_what_a_stranger_has_written_in_a_certificate_reaches_no_terminal() -> None:
    evil = made("\x1b[2J\n\u202eadmin", uri="urn:a\x1b[31m\n")
    for trust in (trusting(), trusting(evil)):
        with pytest.raises(CertificateRefused) as refused:
            validate(evil.der, trust, "urn:\x1b", NOW)
        assert str(refused.value).isprintable() and "?[2J??admin" in str(refused.value)


# ---- K1 to K7 ----------------------------------------------------------------------------------------------------------


def test_k1_one_that_has_expired() -> None:
    old = made(end=NOW - timedelta(seconds=1))
    assert judged(old.der, trusting(old)) == ("BadCertificateTimeInvalid", "BadCertificateTimeInvalid")
    late = authority(end=NOW - timedelta(seconds=1))
    assert judged(made(by=late).der, trusting(late, crls=lists()))[0] == "BadCertificateIssuerTimeInvalid"


def test_k2_one_that_is_not_valid_yet() -> None:
    early = made(start=NOW + timedelta(seconds=1))
    assert judged(early.der, trusting(early)) == ("BadCertificateTimeInvalid", "BadCertificateTimeInvalid")


def test_k3_one_of_another_authority_or_on_no_list() -> None:
    other = authority("other CA", 4)
    assert judged(made(by=other).der, trusting(ca())) == ("BadCertificateChainIncomplete", CHECKS)
    assert judged(made(by=other).der + other.der, trusting(ca())) == ("BadCertificateUntrusted", CHECKS)
    assert judged(made(by=ca()).der, trusting(issuers=(ca(),), crls=lists())) == ("BadCertificateUntrusted", CHECKS)
    assert judged(made().der, trusting()) == ("BadCertificateUntrusted", CHECKS)
    assert judged(made().der, trusting(made())) == ("BadCertificateUntrusted", CHECKS)  # the same key and name are not enough
    forged = made(by=ca(), signer=other.key)
    assert judged(forged.der, trusting(ca(), crls=lists())) == ("BadCertificateInvalid", CHECKS)


def test_k4_one_of_another_application() -> None:
    client = made()
    for uri in ("urn:test:other", "", URI.upper(), URI + "\0"):
        assert judged(client.der, trusting(client), uri) == ("BadCertificateUriInvalid", "BadCertificateUriInvalid")
    nameless = made(uri=None)
    assert judged(nameless.der, trusting(nameless)) == ("BadCertificateUriInvalid", "BadCertificateUriInvalid")


def test_k5_one_that_is_revoked_or_nobody_knows() -> None:
    client = made(by=ca())
    gone = crl(ca(), [client.certificate.serial_number])
    assert judged(client.der, trusting(ca(), crls=(gone,))) == ("BadCertificateRevoked", CHECKS)
    unknown = ("BadCertificateRevocationUnknown", "BadCertificateRevocationUnknown")
    assert judged(client.der, trusting(ca())) == unknown
    assert judged(client.der, trusting(ca(), crls=(crl(ca(), end=NOW - timedelta(seconds=1)),))) == unknown
    assert judged(client.der, trusting(ca(), crls=(crl(ca(), signer=key(9)),))) == unknown  # signed by somebody else
    renamed = crl(authority("another name", 2))  # by the same key
    assert judged(client.der, trusting(ca(), crls=(renamed,))) == unknown
    below = made(by=sub())
    chain = below.der + sub().der
    assert judged(chain, trusting(ca(), crls=(crl(sub()),))) == ("BadCertificateIssuerRevocationUnknown", CHECKS)
    no_sub = crl(ca(), [sub().certificate.serial_number])
    assert judged(chain, trusting(ca(), crls=(crl(sub()), no_sub))) == ("BadCertificateIssuerRevoked", CHECKS)


def test_k6_one_with_a_short_key_or_of_another_kind() -> None:
    policy = ("BadCertificatePolicyCheckFailed", CHECKS)
    for weak in (made(key_=key(5, 1024)), made(key_=ec_key())):
        assert judged(weak.der, trusting(weak)) == policy
    short = authority("short", key_=key(5, 1024))
    assert judged(made(by=short).der, trusting(short, crls=(crl(short),))) == policy
    assert judged(made(by=authority("curved", key_=ec_key())).der, trusting(authority("curved", key_=ec_key()))) == policy


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_k6_one_that_openssl_has_signed_with_a_broken_hash(tmp_path: Path, digest: str) -> None:
    (tmp_path / "key.pem").write_bytes(made().key_pem)
    extensions = f"subjectAltName=URI:{URI}", "keyUsage=digitalSignature,dataEncipherment", "basicConstraints=CA:FALSE"
    words = [word for extension in extensions for word in ("-addext", extension)]
    said = openssl(
        tmp_path, *f"req -x509 -{digest} -key key.pem -subj /CN=old -days 9000 -outform DER -out old.der".split(), *words
    )
    assert (tmp_path / "old.der").exists(), said
    certificate = x509.load_der_x509_certificate((tmp_path / "old.der").read_bytes())
    der = certificate.public_bytes(Encoding.DER)
    assert judged(der, TrustList((certificate,)), URI) == ("BadCertificatePolicyCheckFailed", CHECKS)


def test_k7_one_whose_key_belongs_to_another_application_or_to_us() -> None:
    one, other, ca_signed = made("one"), made("other", uri="urn:test:other"), made("third", by=ca(), uri="urn:test:third")
    both = trusting(one, other, ca(), crls=lists())
    assert {judged(client.der, both) for client in (one, other, ca_signed)} == {("BadCertificateUntrusted", CHECKS)}
    ours = TrustList((one.certificate,), own_key=key_of(one.certificate))
    assert judged(one.der, ours) == ("BadCertificateUntrusted", CHECKS)
    renewed = made("one", end=NOW + 200 * DAY)  # the same application may renew its certificate with its key
    assert judged(one.der, trusting(one, renewed)) == judged(renewed.der, trusting(one, renewed)) == ("Good", "Good")


# ---- the rest of the table ---------------------------------------------------------------------------------------------


def test_what_is_no_certificate_is_told_as_such() -> None:
    good = made().der
    refused = ("BadCertificateInvalid", CHECKS)
    for broken in (b"", b"\x30", bytes(64), good[:-1], good + b"\0", good + good[:50], good[:40] + b"\xff" + good[41:]):
        assert judged(broken, trusting(made())) == refused
    assert judged(made().der * 6, trusting()) == refused  # more than 5
    assert judged(bytes(17_000), trusting()) == refused  # more than 16 KB
    odd = made(more=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)])
    assert judged(odd.der, trusting(odd)) == refused
    narrow = authority(more=[(x509.NameConstraints(None, [x509.DNSName("example.org")]), True)])  # not heeded, so not accepted
    assert judged(made(by=narrow).der + narrow.der, trusting(narrow, crls=lists())) == refused


def test_a_changed_certificate_on_no_list_is_no_longer_signed() -> None:
    good = bytearray(made().der)
    good[good.index(b"client")] ^= 1
    changed = bytes(good)
    assert judged(changed, trusting(made()))[0] in ("BadCertificateInvalid", "BadCertificateChainIncomplete")


FOR_SOMETHING_ELSE: dict[str, Callable[[], Made]] = {
    "unsaid": lambda: made(uses=None),
    "no signature": lambda: made(uses=USES - {"digital_signature"}),
    "no secrets": lambda: made(uses=USES - {"data_encipherment"}),
    "a server's": lambda: made(purposes=[ExtendedKeyUsageOID.SERVER_AUTH]),
    "an authority's": lambda: made(by=ca(), authority=True, uses=USES | AUTHORITY_USES),
}


@pytest.mark.parametrize("case", FOR_SOMETHING_ELSE)
def test_one_that_is_for_something_else(case: str) -> None:
    client, status = FOR_SOMETHING_ELSE[case](), "BadCertificateUseNotAllowed"
    assert judged(client.der, trusting(client, ca(), crls=lists())) == (status, status)


NO_AUTHORITIES: dict[str, Callable[[], Made]] = {
    "as OPC UA wants a self-signed application's": lambda: made("app", key(3), uses=USES | {"key_cert_sign"}),
    "an application that claims to be one": lambda: made("app", key(3), authority=True, uses=USES | AUTHORITY_USES),
    "not for certificates": lambda: authority("CA", uses=("crl_sign",)),
    "not by its constraints": lambda: authority("CA", authority=False),
}


@pytest.mark.parametrize("case", NO_AUTHORITIES)
def test_an_application_on_the_list_cannot_sign_for_another(case: str) -> None:
    signer = NO_AUTHORITIES[case]()
    client = made(by=signer, key_=key(4))
    status = "BadCertificateIssuerUseNotAllowed"
    assert judged(client.der + signer.der, trusting(signer, crls=(crl(signer),))) == (status, status)


def test_an_authority_says_how_many_may_be_below_it() -> None:
    top = authority("top", 2, below=0)
    middle = authority("middle", 3, top)
    lists = crl(top), crl(middle)
    assert judged(made(by=top).der, trusting(top, crls=lists))[0] == "Good"
    assert judged(made(by=middle).der + middle.der, trusting(top, crls=lists))[0] == "BadCertificateIssuerUseNotAllowed"


def test_a_chain_is_bounded_and_may_not_go_round() -> None:
    one = authority("one", 2, authority("two", 3))
    two = authority("two", 3, one)
    assert judged(made(by=one).der + one.der + two.der, trusting(one))[0] == "BadCertificateChainIncomplete"
    chain = [authority("0", 2)]
    for number in range(1, 5):
        chain.append(authority(str(number), 2 + number % 2, chain[-1]))
    brought = b"".join(one.der for one in chain[:0:-1])
    long = trusting(chain[0], crls=tuple(crl(one) for one in chain))
    assert judged(made(by=chain[4]).der + brought, long)[0] == "BadCertificateChainIncomplete"  # six
    assert judged(made(by=chain[3]).der + brought[len(chain[4].der) :], long)[0] == "Good"  # five


def test_steps_come_in_the_standards_order() -> None:
    late = {"end": NOW - timedelta(hours=1), "uri": None, "uses": ()}
    worst = made(key_=key(5, 1024), **late)  # type: ignore[arg-type]
    assert judged(worst.der, trusting())[0] == "BadCertificatePolicyCheckFailed"
    client = made(**late)  # type: ignore[arg-type]
    assert judged(client.der, trusting())[0] == "BadCertificateUntrusted"
    assert judged(client.der, trusting(client))[0] == "BadCertificateTimeInvalid"
    nameless = made(uri=None, uses=())
    assert judged(nameless.der, trusting(nameless))[0] == "BadCertificateUriInvalid"
    useless = made(by=ca(), uses=())
    assert judged(useless.der, trusting(ca()))[0] == "BadCertificateUseNotAllowed"


def test_of_two_revocation_lists_the_later_holds_and_a_broken_one_stops_all() -> None:
    client = made(by=ca())
    before, after = crl(ca(), [client.certificate.serial_number], start=NOW - 2 * DAY), crl(ca())
    assert judged(client.der, trusting(ca(), crls=(before, after)))[0] == "Good"
    before, after = crl(ca(), start=NOW - 2 * DAY), crl(ca(), [client.certificate.serial_number])
    assert judged(client.der, trusting(ca(), crls=(after, before)))[0] == "BadCertificateRevoked"
    at_once = crl(ca())  # made in the same second as `after`
    assert judged(client.der, trusting(ca(), crls=(at_once, after)))[0] == "BadCertificateRevoked"
    unread = TrustList((ca().certificate, made("self", key(6)).certificate), (), (crl(ca()),), broken_crls=("x.crl",))
    assert judged(client.der, unread)[0] == "BadCertificateRevocationUnknown"
    own = made("self", key(6))
    assert judged(own.der, TrustList((own.certificate,), broken_crls=("x.crl",)))[0] == "Good"


def test_an_authority_that_was_renewed_is_the_one_that_is_trusted() -> None:
    old, new = authority(end=NOW + DAY), authority(end=NOW + 200 * DAY)
    assert judged(made(by=old).der + new.der, trusting(old, crls=(crl(ca()),)))[0] == "Good"


# ---- against others ----------------------------------------------------------------------------------------------------


def top() -> Made:
    """An authority that allows none below it."""
    return authority("CA", 2, below=0)


JUDGED: dict[str, Callable[[], tuple[Made, TrustList]]] = {
    "good": lambda: (made(by=ca()), trusting(ca(), crls=lists())),
    "below": lambda: (made(by=sub()), trusting(ca(), issuers=(sub(),), crls=lists())),
    "no list": lambda: (made(by=ca()), trusting(ca())),
    "old list": lambda: (made(by=ca()), trusting(ca(), crls=(crl(ca(), end=NOW - DAY / 2),))),
    "revoked": lambda: (made(by=ca(), serial=9), trusting(ca(), crls=(crl(ca(), [9]),))),
    "expired": lambda: (made(by=ca(), end=NOW - DAY / 2), trusting(ca(), crls=lists())),
    "forged": lambda: (made(by=ca(), signer=key(4)), trusting(ca(), crls=lists())),
    "too long": lambda: (
        made(by=authority("m", 3, top())),
        trusting(top(), issuers=(authority("m", 3, top()),), crls=(crl(top()), crl(authority("m", 3)))),
    ),
    "no authority": lambda: (made(by=made("x", key(3))), trusting(made("x", key(3)), crls=(crl(made("x", key(3))),))),
}


@pytest.mark.parametrize("case", JUDGED)
def test_openssl_accepts_and_refuses_the_same(tmp_path: Path, case: str) -> None:
    client, trust = JUDGED[case]()
    files = {
        "client.pem": client.pem,
        "trusted.pem": b"".join(one.public_bytes(Encoding.PEM) for one in trust.trusted),
        "issuers.pem": b"".join(one.public_bytes(Encoding.PEM) for one in trust.issuers),
        "crls.pem": b"".join(one.public_bytes(Encoding.PEM) for one in trust.trusted_crls),
    }
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    words = ["verify", "-x509_strict", "-crl_check_all", "-attime", str(int(NOW.timestamp())), "-CAfile", "trusted.pem"]
    words += ["-untrusted", "issuers.pem"] if files["issuers.pem"] else []
    words += ["-CRLfile", "crls.pem"] if files["crls.pem"] else []
    said = openssl(tmp_path, *words, "client.pem")
    strict = ("Missing Authority Key Identifier", "Missing Subject Key Identifier")
    if any(text in said for text in strict):  # beyond Part 6 for an application's own authority
        said = openssl(tmp_path, *[word for word in words if word != "-x509_strict"], "client.pem")
    assert (judged(client.der, trust)[0] == "Good") == ("client.pem: OK" in said), said


def test_asyncuas_trust_store_accepts_who_is_accepted_here(tmp_path: Path) -> None:
    client = made()
    (tmp_path / "client.der").write_bytes(client.der)
    peers = PeersStore([tmp_path], [])
    asyncio.run(peers.load())
    assert peers.is_trusted(client.certificate) is False  # its verifier knows no time but now: 2030 is not yet
    today = made(start=datetime.fromisoformat("2020-01-01T00:00:00+00:00"))
    (tmp_path / "client.der").write_bytes(today.der)
    asyncio.run(peers.load())
    assert peers.is_trusted(today.certificate) and judged(today.der, trusting(today)) == ("Good", "Good")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_comes_is_accepted_or_refused_with_a_status(data: st.DataObject) -> None:
    client = made(by=ca(), serial=77)
    chain = bytearray(client.der + ca().der)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(chain) - 1))
        chain[at] = data.draw(st.integers(0, 255))
    changed = bytes(chain)
    status, told = judged(changed, trusting(ca(), crls=lists()))
    assert status == "Good" or told in {ua.StatusCode(code).name for code in _TOLD}  # type: ignore[arg-type]
    if changed[: len(client.der)] != client.der:
        assert status != "Good"


_TOLD = {
    StatusCodes.BadSecurityChecksFailed,
    StatusCodes.BadCertificateTimeInvalid,
    StatusCodes.BadCertificateUriInvalid,
    StatusCodes.BadCertificateUseNotAllowed,
    StatusCodes.BadCertificateIssuerUseNotAllowed,
    StatusCodes.BadCertificateIssuerTimeInvalid,
    StatusCodes.BadCertificateRevocationUnknown,
}
