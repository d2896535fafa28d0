"""The trust list on disk: read when it changes, written so that nothing breaks it; an accident makes nobody trusted."""

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from asyncua import ua
from cryptography.hazmat.primitives.serialization import Encoding

from controller.opcua.trust import folders, store, validate
from controller.opcua.trust.folders import ISSUERS, REJECTED, TRUSTED, TRUSTED_CRL, file_name, files
from controller.opcua.trust.store import MOST_REJECTED, REJECTED_AT_ONCE, TrustStore
from controller.opcua.trust.validate import CertificateRefused
from tests.controller.opcua.trust.pki import DAY, NOW, Hand, Made, authority, crl, key, made
from twin.clock import Ns, S


@pytest.fixture
def hand() -> Hand:
    """A clock."""
    return Hand()


@pytest.fixture
def trust(tmp_path: Path, hand: Hand) -> TrustStore:
    """An empty list."""
    return TrustStore(tmp_path / "pki", hand, hand.wall)


def status(trust: TrustStore, chain: bytes) -> str:
    """What comes of a client's certificate."""
    try:
        trust.check(chain)
    except CertificateRefused as refused:
        return str(ua.StatusCode(refused.code).name)  # type: ignore[arg-type]
    return "Good"


def test_folders_are_those_of_other_stacks_and_ours_alone(trust: TrustStore) -> None:
    for name in ("trusted/certs", "trusted/crl", "issuers/certs", "issuers/crl", "rejected", "trusted", "issuers", "."):
        assert (trust.folder / name).stat().st_mode & 0o777 == 0o700
    path = trust.put(TRUSTED, made().certificate)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_is_named_by_its_thumbprint_and_by_a_name_that_is_safe() -> None:
    evil = made("../../etc/pass\0wd; rm -rf ~ \u202eüü" + "x" * 20)
    name, rest = file_name(evil.certificate).rsplit(" [", 1)
    assert rest == hashlib.sha1(evil.der).hexdigest().upper() + "].der"
    assert name == "_.._etc_pass_wd_ rm -rf _ ___" + "x" * 9 or ("/" not in name and "\0" not in name and name.isascii())
    assert file_name(made("...").certificate).startswith("unnamed [")


def test_a_change_is_seen_within_a_second_and_looked_for_no_oftener(
    trust: TrustStore, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, looks = made(), []
    looked = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looks.append(path) or looked(path))  # type: ignore[func-returns-value]
    assert status(trust, client.der) == "BadCertificateUntrusted"
    path = trust.folder / TRUSTED / "mine.der"
    path.write_bytes(client.der)
    for _ in range(50):
        assert status(trust, client.der) == "BadCertificateUntrusted"
    assert len(looks) == 4  # one sweep of four folders
    hand.go(1)
    assert status(trust, client.der) == "Good"
    path.unlink()
    hand.go(1)
    assert status(trust, client.der) == "BadCertificateUntrusted"
    assert len(looks) == 12


def followed(trust: TrustStore, hand: Hand, known: object, until_s: float, act: Callable[[], object]) -> list[tuple[float, bool]]:
    """When the server is told to ask again whether a client is trusted, and what it hears; `act` is done after 3 s."""
    heard: list[tuple[float, bool]] = []
    start = hand.at

    async def until(due: Ns) -> None:
        if due - start > until_s * S:
            raise asyncio.CancelledError
        if hand.at < start + 3 * S <= due:
            act()
        hand.at = max(hand.at, due)

    hand.until = until  # type: ignore[method-assign]
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(trust.follow(lambda: heard.append(((hand.at - start) / S, trust.still(known)))))
    return heard


def test_who_is_connected_is_asked_for_again_when_the_list_changes(trust: TrustStore, hand: Hand) -> None:
    client = made()
    trust.put(TRUSTED, client.certificate)
    known = trust.check(client.der)
    assert followed(trust, hand, known, 30, lambda: trust.take(TRUSTED, client.certificate)) == [(3, False)]


def test_who_is_connected_is_asked_for_again_when_the_certificate_may_have_run_out(trust: TrustStore, hand: Hand) -> None:
    client = made(end=NOW + timedelta(minutes=15))
    trust.put(TRUSTED, client.certificate)
    known = trust.check(client.der)
    assert followed(trust, hand, known, 1900, lambda: None) == [(600, True), (1200, False), (1800, False)]


def test_a_storm_of_clients_who_come_back_costs_one_validation_each(
    trust: TrustStore, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []
    monkeypatch.setattr(store, "validate", lambda *all_: judged.append(1) or validate.validate(*all_))  # type: ignore[func-returns-value]
    clients = [made(), made("other", key(2), uri="urn:test:other", end=NOW + DAY)]
    for client in clients:
        trust.put(TRUSTED, client.certificate)
    for _ in range(25):
        assert [status(trust, client.der) for client in clients] == ["Good", "Good"]
    assert len(judged) == 2
    trust.put(TRUSTED, made("third", key(3), uri="urn:test:third").certificate)
    assert [status(trust, client.der) for client in clients] == ["Good", "Good"]
    assert len(judged) == 4  # the list is another one
    hand.go(2 * 86_400)
    assert [status(trust, client.der) for client in clients] == ["Good", "BadCertificateTimeInvalid"]
    with pytest.raises(CertificateRefused):
        trust.check(clients[0].der, "urn:test:other")


def test_what_is_remembered_is_bounded(trust: TrustStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_REMEMBERED", 5)
    ca = authority()
    trust.put(TRUSTED, ca.certificate)
    trust.put(TRUSTED_CRL, crl(ca))
    for number in range(9):
        trust.check(made(f"c{number}", by=ca).der)
    assert len(trust._clients) == 5


@pytest.mark.parametrize(
    "content",
    [b"", b"no certificate", made.__doc__.encode(), b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"],  # type: ignore[union-attr]
)
def test_a_broken_file_is_told_once_by_its_name_and_left_out(
    trust: TrustStore, hand: Hand, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    trust.put(TRUSTED, made().certificate)
    (trust.folder / TRUSTED / "broken.der").write_bytes(content)
    (trust.folder / TRUSTED / "README.txt").write_text("not a certificate")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert status(trust, trust.current.trusted[0].public_bytes(Encoding.DER)) == "Good"
            hand.go(1)
            os.utime(trust.folder / TRUSTED / "broken.der", ns=(hand.at, hand.at))
    assert len([record for record in caplog.records if "broken.der" in record.getMessage()]) == 1
    assert len(trust.current.trusted) == 1


def test_while_a_revocation_list_cannot_be_read_no_authoritys_clients_come_in(trust: TrustStore, hand: Hand) -> None:
    ca = authority()
    client, own = made(by=ca), made("own", key(3), uri="urn:test:own")
    trust.put(TRUSTED, ca.certificate)
    trust.put(TRUSTED, own.certificate)
    trust.put(TRUSTED_CRL, crl(ca))
    assert status(trust, client.der) == "Good"
    broken = trust.folder / TRUSTED_CRL / "newer.crl"
    broken.write_bytes(crl(ca, [client.certificate.serial_number]).public_bytes(Encoding.DER)[:-1])
    hand.go(1)
    assert status(trust, client.der) == "BadCertificateRevocationUnknown"
    assert status(trust, own.der) == "Good"
    broken.write_bytes(crl(ca, [client.certificate.serial_number], start=NOW).public_bytes(Encoding.PEM))
    hand.go(1)
    assert status(trust, client.der) == "BadCertificateRevoked"


def test_pem_is_read_and_of_a_bundle_among_the_trusted_the_first_alone(trust: TrustStore) -> None:
    ca = authority()
    client = made(by=ca)
    (trust.folder / TRUSTED / "chain.pem").write_bytes(b"# a comment\n" + client.pem + ca.pem)
    (trust.folder / ISSUERS / "authorities.pem").write_bytes(authority("sub", 3, ca).pem + ca.pem)
    (trust.folder / TRUSTED_CRL / "list.pem").write_bytes(crl(ca).public_bytes(Encoding.PEM))
    assert status(trust, client.der) == "Good"
    assert status(trust, made("second", key(4), by=ca).der) == "BadCertificateUntrusted"
    assert len(trust.current.issuers) == 2


def test_a_folder_that_is_gone_trusts_nobody(trust: TrustStore, hand: Hand) -> None:
    client = made()
    trust.put(TRUSTED, client.certificate)
    assert status(trust, client.der) == "Good"
    (trust.folder / "trusted").rename(trust.folder / "elsewhere")
    hand.go(1)
    assert status(trust, client.der) == "BadCertificateUntrusted"


def test_a_file_that_goes_while_it_is_looked_at_takes_nobody_with_it(
    trust: TrustStore, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, goes = made(), made("goes", key(2), uri="urn:test:goes")
    for one in (stays, goes):
        trust.put(TRUSTED, one.certificate)
    (trust.folder / TRUSTED / "nowhere.der").symlink_to("nothing")
    assert status(trust, stays.der) == status(trust, goes.der) == "Good"
    looked = os.scandir

    def late(path: Path) -> object:
        entries = list(looked(path))
        (trust.folder / TRUSTED / file_name(goes.certificate)).unlink(missing_ok=True)
        return contextlib.nullcontext(entries)

    monkeypatch.setattr(os, "scandir", late)
    hand.go(1)
    assert [status(trust, one.der) for one in (stays, goes)] == ["Good", "BadCertificateUntrusted"]
    ca = authority()
    trust.put(TRUSTED, ca.certificate)
    trust.put(TRUSTED_CRL, crl(ca))
    assert status(trust, made(by=ca, key_=key(3)).der) == "Good"
    (trust.folder / TRUSTED_CRL / "nowhere.crl").symlink_to("nothing")
    hand.go(1)
    assert status(trust, made(by=ca, key_=key(3)).der) == "BadCertificateRevocationUnknown"


def test_without_a_file_to_be_opened_what_was_read_still_holds(
    trust: TrustStore, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = made()
    trust.put(TRUSTED, client.certificate)
    assert status(trust, client.der) == "Good"

    def refused(_path: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "scandir", refused)
    hand.go(1)
    assert status(trust, client.der) == "Good"


# ---- rejected ones -----------------------------------------------------------------------------------------------------


def flood(number: int) -> Made:
    """One of many certificates that nobody knows."""
    return made(f"flood {number}", uri=f"urn:flood:{number}")


def test_a_rejected_certificate_is_kept_once(trust: TrustStore) -> None:
    client = made("new machine")
    for _ in range(3):
        assert status(trust, client.der) == "BadCertificateUntrusted"
    (path,) = files(trust.folder / REJECTED)
    assert path.read_bytes() == client.der and path.name.startswith("new machine [")


def test_only_who_could_be_trusted_is_kept(trust: TrustStore) -> None:
    for refused in (b"junk", made(key_=key(5, 1024)).der, made(by=authority(), signer=key(4)).der):
        assert status(trust, refused) != "Good"
    ca = authority()
    trust.put(TRUSTED, ca.certificate)
    assert status(trust, made(by=ca).der) == "BadCertificateRevocationUnknown"
    assert [path.name[:6] for path in files(trust.folder / REJECTED)] == ["client"]  # its issuer was not known then


def test_a_flood_of_certificates_does_not_wear_the_disk(trust: TrustStore, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    wrote = folders.write
    monkeypatch.setattr(store, "write", lambda *all_, **more: written.append(all_) or wrote(*all_, **more))  # type: ignore[func-returns-value]
    for number in range(60):
        status(trust, flood(number).der)
    assert len(written) == REJECTED_AT_ONCE == len(files(trust.folder / REJECTED))
    for number in range(60, 160):
        hand.go(6)
        status(trust, flood(number).der)
    assert len(written) == REJECTED_AT_ONCE + 20  # one in 30 s
    for number in range(160, 180):
        hand.go(30)
        status(trust, flood(number).der)
    kept = files(trust.folder / REJECTED)
    assert len(kept) == MOST_REJECTED
    assert any("flood 179 " in path.name for path in kept) and not any("flood 0 " in path.name for path in kept)
    hand.go(3_600)
    assert sum(status(trust, flood(number).der) != "" for number in range(200, 220)) == REJECTED_AT_ONCE


def test_a_full_disk_refuses_no_other_way(trust: TrustStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_all: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write", refused)
    assert status(trust, made().der) == "BadCertificateUntrusted"


# ---- changes -----------------------------------------------------------------------------------------------------------


class _Cut(Exception):
    """The power is gone."""


def test_a_power_cut_while_the_list_is_replaced_trusts_nobody_who_is_in_neither(
    tmp_path: Path, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = authority()
    before = [made("a", key(1), uri="urn:a").certificate, made("b", key(3), uri="urn:b").certificate, ca.certificate]
    after = [made("c", key(4), uri="urn:c").certificate, ca.certificate]
    old, new = crl(ca, start=NOW - 2 * DAY), crl(ca, [7])
    for cut in range(12):
        trust = TrustStore(tmp_path / str(cut), hand, hand.wall)
        for one in before:
            trust.put(TRUSTED, one)
        trust.put(TRUSTED_CRL, old)
        steps = iter(range(100))

        def counted(real: object, cut: int = cut, steps: object = steps) -> object:
            def step(*all_: object, **more: object) -> object:
                if next(steps) == cut:  # type: ignore[call-overload]
                    raise _Cut
                return real(*all_, **more)  # type: ignore[operator]

            return step

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", counted(os.replace))
            patched.setattr(Path, "unlink", counted(Path.unlink))
            try:
                trust.replace(TRUSTED_CRL, [new])
                trust.replace(TRUSTED, after)
                done = True
            except _Cut:
                done = False
        found = TrustStore(tmp_path / str(cut), hand, hand.wall).current
        assert {*found.trusted} <= {*before} or {*found.trusted} <= {*after}
        assert found.trusted_crls  # never without one on the way
        if done:
            assert {*found.trusted} == {*after} and [*found.trusted_crls] == [new]
    assert done


def test_our_tools_are_trusted_until_somebody_rejects_them(trust: TrustStore, hand: Hand) -> None:
    first, renewed = made("tools"), made("tools", end=NOW + 300 * DAY)
    assert trust.trust_own(first.certificate) and trust.trust_own(renewed.certificate)
    assert [*trust.current.trusted] == [renewed.certificate]
    trust.take(TRUSTED, renewed.certificate)
    trust.reject(renewed.certificate)
    assert not trust.trust_own(renewed.certificate)
    assert trust.current.trusted == ()
