"""`lockstep trust …` as an operator types it."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from controller.__main__ import main
from controller.opcua.trust import asked
from controller.opcua.trust.certificates import thumbprint
from controller.opcua.trust.folders import REJECTED, TRUSTED
from controller.opcua.trust.store import TrustStore
from controller.opcua.trust.validate import CertificateRefused
from tests.controller.opcua.trust.pki import DAY, NOW, Hand, Made, authority, crl, key, made


class Site:
    """A state folder, a server's own look at it, and a terminal."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.hand = Hand()
        self.store = TrustStore(folder / "pki", self.hand, self.hand.wall)
        self._capsys = capsys

    def trust(self, *words: str) -> str:
        """What the command says, behind `!` if it could not be done."""
        code = main(["trust", "--state", str(self.folder), *words])
        said = self._capsys.readouterr()
        assert bool(code) == bool(said.err)
        return f"!{said.err}" if code else said.out

    def accepts(self, client: Made) -> bool:
        """Whether the server does, a second later."""
        self.hand.go(1)
        try:
            self.store.check(client.der)
        except CertificateRefused:
            return False
        return True

    def file(self, name: str, content: bytes) -> str:
        """A file: its path."""
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site where it is 2030."""
    monkeypatch.setattr(asked, "now", lambda: NOW)
    return Site(tmp_path, capsys)


def test_a_client_that_was_rejected_is_found_trusted_and_rejected_again(site: Site) -> None:
    client = made("robot cell")
    assert not site.accepts(client)
    listed = site.trust("list")
    print_ = thumbprint(client.certificate)
    assert f"rejected: 1\n  {print_}  robot cell\n    urn:test:client, valid 2030-05-31 to 2030-09-09\n" in listed
    assert "trusted: none" in listed and "revocation lists: none" in listed
    assert "robot cell" in site.trust("add", print_[:8].lower()) and site.accepts(client)
    assert "trusted: 1" in site.trust("list") and "rejected: none" in site.trust("list")
    assert "no longer in trusted/certs" in site.trust("reject", print_) and not site.accepts(client)
    assert "rejected: 1" in site.trust("list")
    assert "no longer in rejected" in site.trust("remove", print_) and "rejected: none" in site.trust("list")


def test_a_certificate_in_a_file_is_trusted_der_or_pem(site: Site) -> None:
    one, two = made(), made("b", key(2), uri="urn:b")
    for name, content, client in (("a.der", one.der, one), ("b.pem", two.pem, two)):
        assert "is trusted now" in site.trust("add", site.file(name, content)) and site.accepts(client)


def test_an_authority_needs_a_revocation_list_and_then_all_its_clients_come_in(site: Site) -> None:
    ca = authority("Plant CA")
    client = made(by=ca, key_=key(3))
    said = site.trust("add", site.file("ca.pem", ca.pem))
    assert "Plant CA" in said and "everyone it has signed" in said
    assert not site.accepts(client)
    assert "revocation list of Plant CA, 0 revoked" in site.trust("add", "--crl", site.file("a.crl", _pem(crl(ca))))
    assert site.accepts(client)
    later = crl(ca, [client.certificate.serial_number], start=NOW)
    assert "1 revoked" in site.trust("add", "--crl", site.file("b.crl", later.public_bytes(Encoding.DER)))
    assert not site.accepts(client)
    listed = site.trust("list")
    assert "revocation lists: 1" in listed and f"{thumbprint(later)}  of Plant CA, 1 revoked, until 2030-07-01" in listed
    assert "Plant CA\n    an authority, valid" in listed
    assert "no longer in trusted/crl" in site.trust("remove", thumbprint(later))


def _pem(one: object) -> bytes:
    return bytes(one.public_bytes(Encoding.PEM))  # type: ignore[attr-defined]


def test_an_issuer_completes_chains_and_trusts_nobody(site: Site) -> None:
    ca = authority()
    one, two = made("one", key(3), ca), made("two", key(4), ca, "urn:test:two")
    assert "completes chains now" in site.trust("add", "--issuer", site.file("ca.der", ca.der))
    assert "will go on refusing it: " in (said := site.trust("add", site.file("one.der", one.der))) and "revocation list" in said
    site.trust("add", "--crl", site.file("a.crl", _pem(crl(ca))))
    assert site.accepts(one) and not site.accepts(two)
    assert "is no authority" in site.trust("add", "--issuer", site.file("two.der", two.der))


def test_rejecting_one_whose_authority_is_trusted_says_what_is_missing(site: Site) -> None:
    ca = authority("Plant CA")
    client = made(by=ca, key_=key(3))
    for content in (ca.pem, client.pem):
        site.trust("add", site.file("x.pem", content))
    assert "Plant CA, who signed it, is trusted" in site.trust("reject", thumbprint(client.certificate))


def test_what_will_be_refused_anyway_is_said(site: Site) -> None:
    assert "1024 bits" in site.trust("add", site.file("a.der", made(key_=key(5, 1024)).der))
    assert "valid from" in site.trust("add", site.file("b.der", made("old", key(2), uri="urn:o", end=NOW - DAY / 2).der))
    assert "NOT VALID NOW" in site.trust("list")


def test_a_mistake_is_told_with_what_there_is(site: Site) -> None:
    client, other = made(), made("other", uri="urn:test:other")
    assert not site.accepts(client)
    print_ = thumbprint(client.certificate)
    assert f"no ABCDEF01 in rejected; there is: {print_[:12]}" in site.trust("add", "ABCDEF01")
    assert "no ABCDEF01 in trusted and issuers; there is: nothing" in site.trust("reject", "ABCDEF01")
    assert "6 hexadecimal digits" in site.trust("add", "missing.der")
    assert "6 hexadecimal digits" in site.trust("add", "ABC")
    junk = site.file("junk.der", b"junk")
    assert junk in site.trust("add", junk) and junk in site.trust("add", "--crl", junk)
    assert "No such file" in site.trust("add", "--crl", "missing.crl")
    site.trust("add", print_)
    assert "have one key" in site.trust("add", site.file("other.der", other.der))
    assert "none" in site.trust("add", "--crl", site.file("a.crl", _pem(crl(authority()))))
    assert "holds 2 certificates" in site.trust("add", site.file("two.pem", client.pem + other.pem))
    assert main(["trust", "--state", str(site.folder / "nowhere"), "list"]) == 1
    assert len(list((site.store.folder / TRUSTED).iterdir())) == 1 and not list((site.store.folder / REJECTED).iterdir())


def test_two_with_the_same_first_digits_are_both_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        site.store.reject(made(f"c{number}", key(number), uri=f"urn:{number}").certificate)
    monkeypatch.setattr(asked, "SHORTEST", 0)
    said = site.trust("add", "")
    assert "not one certificate but 2" in said
