"""Our keys and certificates."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.opcua import certificate
from controller.opcua.certificate import CertificateError, adopt, ends_soon, own
from tests.controller.opcua.trust.pki import authority
from tests.controller.opcua.trust.pki import made as signed

URI = "urn:lockstep:server:test"
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_an_identity_is_made_once(tmp_path: Path) -> None:
    first, second = own(tmp_path, "server", URI), own(tmp_path, "server", URI)
    assert first.certificate == second.certificate
    assert first.key.private_numbers() == second.key.private_numbers()
    assert first.key_file.stat().st_mode & 0o777 == 0o600


def test_a_certificate_that_runs_out_or_names_another_application_is_renewed_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = own(tmp_path, "server", URI)
    other = own(tmp_path, "server", URI + ":other")
    monkeypatch.setattr(certificate, "now", lambda: other.certificate.not_valid_after_utc - timedelta(days=29))
    late = own(tmp_path, "server", URI + ":other")
    assert len({identity.certificate for identity in (first, other, late)}) == 3
    assert len({identity.key.private_numbers() for identity in (first, other, late)}) == 1


@pytest.mark.parametrize(("name", "content"), [("server.pem", b"no key"), ("server.der", b"no certificate")])
def test_a_broken_file_is_told_not_replaced(tmp_path: Path, name: str, content: bytes) -> None:
    own(tmp_path, "server", URI)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CertificateError, match=name):
        own(tmp_path, "server", URI)
    assert (tmp_path / name).read_bytes() == content


def test_k8_one_that_runs_out_within_30_days_is_told_and_renewed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = own(tmp_path, "server", URI)
    end = identity.certificate.not_valid_after_utc
    assert identity.made and not own(tmp_path, "server", URI).made
    assert ends_soon(identity) == ""
    monkeypatch.setattr(certificate, "now", lambda: end - timedelta(days=29, hours=1))
    assert "runs out in 29 days: a start renews it" in ends_soon(identity) and str(identity.certificate_file) in ends_soon(identity)
    assert ends_soon(own(tmp_path, "server", URI)) == ""
    monkeypatch.setattr(certificate, "now", lambda: end + timedelta(days=1))
    assert "has run out" in ends_soon(identity)


def test_k8_one_that_an_authority_has_signed_is_told_and_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = own(tmp_path, "server", URI)
    ca = authority(start=NOW - timedelta(days=1))
    ours = signed("us", identity.key, ca, URI, NOW - timedelta(days=1), NOW + timedelta(days=10))
    adopt(identity, identity.key, ours.certificate, (ca.certificate,))
    monkeypatch.setattr(certificate, "now", lambda: NOW)
    found = own(tmp_path, "server", URI)
    assert found.certificate == ours.certificate and found.issuers == (ca.certificate,)
    assert "runs out in 10 days: let its authority sign" in ends_soon(found)
    with pytest.raises(CertificateError, match=r"server\.der is not for .*:other"):
        own(tmp_path, "server", URI + ":other")


def test_k9_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    identity = own(tmp_path, "server", URI)
    for mode in (0o640, 0o604, 0o644):
        identity.key_file.chmod(mode)
        with pytest.raises(CertificateError, match="can be read by others"):
            own(tmp_path, "server", URI)
