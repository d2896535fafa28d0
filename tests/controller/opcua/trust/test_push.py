"""Push management as a certificate manager uses it, over the methods' own arguments; asyncua's codec is the other end's."""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.opcua import certificate
from controller.opcua.certificate import Identity, next_key_file, own
from controller.opcua.encoding import node_key
from controller.opcua.trust.certificates import key_of
from controller.opcua.trust.changing import Kind, Told
from controller.opcua.trust.declared import DECLARED, declare, methods, properties
from controller.opcua.trust.folders import TRUSTED
from controller.opcua.trust.push import Push
from controller.opcua.trust.store import TrustStore
from controller.users import Role
from tests.controller.opcua.trust.pki import DAY, NOW, USES, Hand, Made, authority, crl, key, made

SERVER = "urn:test:server"
LIST = "ServerConfiguration_CertificateGroups_DefaultApplicationGroup_TrustList"
NULL = ua.NodeId()
GROUP, RSA = ua.NodeId(14156), ua.NodeId(12560)  # type: ignore[arg-type]
V = ua.VariantType


@dataclass(eq=False)
class Asking:
    """A session."""

    role: Role = Role.ADMINISTRATOR
    sealed: bool = True
    key: bytes = b""
    on_close: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> None:
        """End it."""
        while self.on_close:
            self.on_close.pop()()


@dataclass
class Server:
    """What is pushed to, and what it says."""

    push: Push
    hand: Hand
    told: list[tuple[Kind, Told]]
    renewed: list[Identity]
    admin: Asking

    def call(self, name: str, *inputs: ua.Variant, by: Asking | None = None) -> Any:
        """Call a method: the status' name, or what it answers with."""
        owner = f"{LIST}_{name}" if hasattr(ObjectIds, f"{LIST}_{name}") else f"ServerConfiguration_{name}"
        _, _, function = methods(self.push)[getattr(ObjectIds, owner)]

        async def wait(outputs: Any) -> Any:
            return await outputs

        try:
            outputs = function(by or self.admin, inputs)
            outputs = outputs if isinstance(outputs, list) else asyncio.run(wait(outputs))
        except ServiceError as refused:
            return ua.StatusCode(refused.code).name  # type: ignore[arg-type]
        for output in outputs:
            ua.ua_binary.variant_to_binary(output)
        return outputs[0].Value if outputs else None

    def open(self, mode: int, by: Asking | None = None) -> Any:
        """Open the trust list."""
        return self.call("Open", byte(mode), by=by)

    def read(self, handle: int, length: int = 100_000) -> Any:
        """Read from it."""
        return self.call("Read", u32(handle), ua.Variant(length, V.Int32))

    def write(self, handle: int, part: bytes) -> Any:
        """Write to it."""
        return self.call("Write", u32(handle), blob(part))

    def replace(self, whole: bytes) -> Any:
        """Write all of it, and apply."""
        handle = self.open(6)
        for at in range(0, len(whole), 1000):
            assert self.write(handle, whole[at : at + 1000]) is None
        return self.call("CloseAndUpdate", u32(handle))

    def update(self, one: Made | None, *issuers: Made, form: str = "", key_: bytes = b"", by: Asking | None = None) -> Any:
        """UpdateCertificate."""
        ders = ua.Variant([issuer.der for issuer in issuers], V.ByteString, is_array=True)
        der = blob(one.der if one else b"junk")
        return self.call("UpdateCertificate", node(GROUP), node(RSA), der, ders, text(form), blob(key_), by=by)


def byte(value: int) -> ua.Variant:
    """A Byte."""
    return ua.Variant(value, V.Byte)


def u32(value: int) -> ua.Variant:
    """A UInt32."""
    return ua.Variant(value, V.UInt32)


def blob(value: bytes | None) -> ua.Variant:
    """A ByteString."""
    return ua.Variant(value, V.ByteString)


def text(value: str | None) -> ua.Variant:
    """A String."""
    return ua.Variant(value, V.String)


def boolean(value: bool) -> ua.Variant:
    """A Boolean."""
    return ua.Variant(value, V.Boolean)


def node(value: ua.NodeId) -> ua.Variant:
    """A NodeId."""
    return ua.Variant(value, V.NodeId)


def print_of(one: Made) -> str:
    """A thumbprint."""
    return hashlib.sha1(one.der).hexdigest()


def whole(masks: int = 15, trusted: Any = (), trusted_crls: Any = (), issuers: Any = (), issuer_crls: Any = ()) -> bytes:
    """A trust list as asyncua encodes it."""
    made_: Any = ua.TrustListDataType
    ders = ([one.der for one in trusted], [one.public_bytes(Encoding.DER) for one in trusted_crls], [one.der for one in issuers])
    return struct_to_binary(made_(masks, *ders, [one.public_bytes(Encoding.DER) for one in issuer_crls]))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with nobody on its list."""
    hand = Hand()
    monkeypatch.setattr(certificate, "now", hand.wall)
    monkeypatch.setattr("controller.opcua.trust.signing.now", hand.wall)
    monkeypatch.setattr(certificate, "new_key", lambda: key(1))
    identity = own(tmp_path / "pki", "server", SERVER)
    store = TrustStore(tmp_path / "pki", hand, hand.wall)
    told: list[tuple[Kind, Told]] = []
    renewed: list[Identity] = []
    push = Push(
        store,
        identity,
        SERVER,
        hand,
        lambda session: bool(session.sealed),
        lambda kind, what: told.append((kind, what)),
        renewed.append,
        lambda: key(8),
    )
    yield Server(push, hand, told, renewed, Asking())
    assert made(key_=key(8)).key_pem.decode().splitlines()[1] not in repr(told)


# ---- who may -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [method.name for method in DECLARED])
def test_every_method_is_for_administrators_over_sealed_channels(server: Server, method: str) -> None:
    function = getattr(server.push, method)
    given = [ua.NodeId() if kind == V.NodeId else 1 for kind in next(one.inputs for one in DECLARED if one.name == method)]
    for asking, status in (
        (Asking(sealed=False), "BadSecurityModeInsufficient"),
        (Asking(Role.ENGINEER), "BadUserAccessDenied"),
        (Asking(Role.OPERATOR), "BadUserAccessDenied"),
        (Asking(Role.OBSERVER), "BadUserAccessDenied"),
    ):
        with pytest.raises(ServiceError) as refused:
            result = function(asking, *given)
            asyncio.run(result)
        assert ua.StatusCode(refused.value.code).name == status  # type: ignore[arg-type]


def test_methods_and_properties_are_those_of_the_standards_nodes(server: Server) -> None:
    registered: dict[tuple[bytes, bytes], Any] = {}
    declare(server.push, lambda owner, method, function, inputs: registered.update({(owner, method): (function, inputs)}))
    assert (node_key(0, 12642), node_key(0, 12647)) in registered and (node_key(0, 12642), node_key(0, 11580)) in registered
    assert (node_key(0, 12637), node_key(0, 13737)) in registered and len(registered) == 2 * len(DECLARED)
    function, inputs = registered[node_key(0, 12642), node_key(0, 12543)]  # OpenWithMasks, as its type declares it
    assert inputs == (int(V.UInt32),)
    with pytest.raises(ServiceError):
        function(server.admin, [])
    values = {number: value() for number, value in properties(server.push, ["DA"]).items()}
    assert values[12639].Value == ["PEM"] and values[12640].Value == 1024 * 1024 and values[12641].Value is False
    for value in values.values():
        ua.ua_binary.variant_to_binary(value)
    handle = server.open(1)
    assert properties(server.push, [])[12646]().Value == 1 and handle > 0
    assert values[12643].Value == len(server.read(handle))


# ---- the trust list as a file ------------------------------------------------------------------------------------------


def test_a_list_is_written_in_parts_holds_whole_and_is_read_back(server: Server) -> None:
    ca, client = authority(), made(key_=key(3))
    assert server.replace(whole(15, [ca, client], [crl(ca)])) is False
    store = server.push.store
    assert {*store.current.trusted} == {ca.certificate, client.certificate}
    assert store.check(client.der).uri == "urn:test:client" and store.check(made("by ca", key(4), by=ca).der)
    handle = server.open(1)
    read = b""
    while part := server.read(handle, 700):
        assert len(part) <= 700
        read += part
    found = struct_from_binary(ua.TrustListDataType, Buffer(read))
    assert {*found.TrustedCertificates} == {ca.der, client.der} and len(found.TrustedCrls) == 1
    assert server.call("Close", u32(handle)) is None
    assert [kind for kind, _ in server.told] == [Kind.TRUST_ASKED, Kind.TRUST_UPDATED] and not any(t.code for _, t in server.told)
    handle = server.call("OpenWithMasks", u32(2))
    found = struct_from_binary(ua.TrustListDataType, Buffer(server.read(handle)))
    assert found.SpecifiedLists == 2 and not found.TrustedCertificates and len(found.TrustedCrls) == 1
    assert server.call("OpenWithMasks", u32(16)) == "BadInvalidArgument"


def test_only_the_parts_that_the_mask_names_change(server: Server) -> None:
    ca, client = authority(), made(key_=key(3))
    server.replace(whole(15, [ca], [crl(ca)]))
    assert server.replace(whole(4, [client], [], [authority("sub", 4, ca)])) is False
    trust = server.push.store.current
    assert [*trust.trusted] == [ca.certificate] and len(trust.issuers) == 1 and len(trust.trusted_crls) == 1


def test_a_list_that_locks_out_everybody_is_taken(server: Server) -> None:
    server.replace(whole(15, [made(key_=key(3))]))
    assert server.replace(whole(15)) is False
    assert server.push.store.current.trusted == ()


def test_a_list_with_anything_broken_is_refused_whole_and_the_old_one_stays(server: Server) -> None:
    ca, client = authority(), made(key_=key(3))
    server.replace(whole(15, [client]))
    bad: Any = ua.TrustListDataType
    good = whole(15, [ca])
    other = made("other", key(3), uri="urn:test:other")
    for refused, status in {
        b"": "BadInvalidArgument",
        b"\x0f\0\0\0\xff\xff\xff\x7f": "BadInvalidArgument",
        good[:-1]: "BadInvalidArgument",
        good + b"\0": "BadInvalidArgument",
        b"\x10" + good[1:]: "BadInvalidArgument",
        struct_to_binary(bad(1, [client.der, b"junk"], [], [], [])): "BadCertificateInvalid",
        struct_to_binary(bad(1, [client.der + b"\0"], [], [], [])): "BadCertificateInvalid",
        struct_to_binary(bad(2, [], [b"junk"], [], [])): "BadCertificateInvalid",
        whole(2, trusted_crls=[crl(ca)]): "BadCertificateInvalid",  # signed by nobody in the list
        whole(1, [made(by=ca, key_=key(4))]): "BadCertificateInvalid",  # its authority is missing
        whole(1, [made(key_=key(5, 1024))]): "BadCertificateInvalid",
        whole(1, [client, other]): "BadCertificateInvalid",  # one key of two applications
        whole(1, [made("thief", key(1))]): "BadCertificateInvalid",  # our own key
    }.items():
        server.told.clear()
        assert server.replace(refused) == status
        assert [(kind, told.code != 0) for kind, told in server.told] == [(Kind.TRUST_ASKED, True)]
        assert [*server.push.store.current.trusted] == [client.certificate]


def test_a_file_has_a_limit_and_positions(server: Server) -> None:
    handle = server.open(6)
    assert server.call("GetPosition", u32(handle)) == 0
    assert server.write(handle, b"abcdef") is None
    assert server.call("SetPosition", u32(handle), ua.Variant(2, V.UInt64)) is None
    assert server.write(handle, b"CD") is None and server.call("GetPosition", u32(handle)) == 4
    assert server.call("SetPosition", u32(handle), ua.Variant(2**60, V.UInt64)) is None
    assert server.call("GetPosition", u32(handle)) == 6
    assert bytes(server.push.files.of(server.admin, handle).content) == b"abCDef"
    for _ in range(16):
        status = server.write(handle, bytes(65_536))
    assert status == "BadEncodingLimitsExceeded"
    assert server.read(handle) == "BadInvalidState"
    assert [server.open(mode) for mode in (0, 2, 3, 4, 7, 255)] == ["BadInvalidArgument"] * 6
    server.call("Close", u32(handle))
    assert server.read(server.open(1), -1) == "BadInvalidArgument"


def test_one_writes_at_a_time_and_ten_files_are_open_at_most(server: Server) -> None:
    writing = server.open(6)
    assert server.open(6) == server.open(1) == "BadInvalidState"
    assert server.call("AddCertificate", blob(made(key_=key(3)).der), boolean(True)) == "BadInvalidState"
    assert server.call("Close", u32(writing)) is None
    handles = [server.open(1) for _ in range(10)]
    assert len({*handles}) == 10 and server.open(1) == "BadTooManyOperations"
    server.hand.go(61)
    assert server.read(handles[0]) == "BadInvalidArgument"  # nobody asked for a minute
    assert server.open(6) > 0


def test_a_handle_is_its_sessions_alone_and_ends_with_it(server: Server) -> None:
    other = Asking()
    handle = server.open(6)
    assert server.call("Close", u32(handle), by=other) == "BadInvalidArgument"
    assert server.call("CloseAndUpdate", u32(handle), by=other) == "BadInvalidArgument"
    assert server.open(6, by=other) == "BadInvalidState"
    server.admin.close()
    assert server.open(6, by=other) > 0
    for _ in range(5):
        other.close()
        server.open(1, by=other)
    assert len(other.on_close) == 1


def test_a_reader_is_told_when_the_list_has_changed_meanwhile(server: Server) -> None:
    handle = server.open(1)
    server.push.store.put(TRUSTED, made(key_=key(3)).certificate)
    assert server.read(handle) == "BadInvalidState"


def test_a_list_whose_caller_gives_up_is_told_when_it_is_written_and_nobody_else_writes_meanwhile(server: Server) -> None:
    client, gate = made(key_=key(3)), threading.Event()
    replace = server.push._replace
    server.push._replace = lambda *given: gate.wait(20) and replace(*given)  # type: ignore[assignment,method-assign]
    handle = server.open(6)
    server.write(handle, whole(15, [client]))

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await server.push.close_and_update(server.admin, handle)
        assert [(told.code, told.outcome, told.late) for _, told in server.told] == [(StatusCodes.BadTimeout, True, False)]
        assert server.open(6) == "BadInvalidState"
        gate.set()
        while server.push._replacing:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    asyncio.run(give_up())
    assert [*server.push.store.current.trusted] == [client.certificate] and server.open(6) > 0
    after = [(kind, told.code, told.outcome, told.late) for kind, told in server.told[1:]]
    assert after == [(Kind.TRUST_ASKED, 0, False, True), (Kind.TRUST_UPDATED, 0, True, True)]


# ---- one certificate at a time -----------------------------------------------------------------------------------------


def test_a_rejected_client_is_seen_added_and_removed_again(server: Server) -> None:
    client, store = made(key_=key(3)), server.push.store
    with pytest.raises(ValueError):
        store.check(client.der)
    assert server.call("GetRejectedList") == [client.der]
    assert server.call("AddCertificate", blob(client.der), boolean(True)) is None
    assert store.check(client.der) and server.call("GetRejectedList") == []
    remove = text(print_of(client))
    assert server.call("RemoveCertificate", remove, boolean(False)) == "BadInvalidArgument"
    assert server.call("RemoveCertificate", remove, boolean(True)) is None
    assert server.call("RemoveCertificate", remove, boolean(True)) == "BadInvalidArgument"
    assert store.current.trusted == () and not store.still(_client(client))


def _client(one: Made) -> Any:
    from controller.opcua.trust.validate import TrustList, validate

    return validate(one.der, TrustList((one.certificate,)), None, NOW)


def test_what_is_added_must_be_of_use(server: Server) -> None:
    ca = authority()
    for refused in (b"", b"junk", made(by=ca, key_=key(3)).der, made(key_=key(5, 1024)).der, made("thief", key(1)).der):
        assert server.call("AddCertificate", blob(refused), boolean(True)) == "BadCertificateInvalid"
    assert server.call("AddCertificate", blob(ca.der), boolean(False)) == "BadCertificateInvalid"
    late = made(key_=key(3), end=NOW - DAY / 2)
    assert server.call("AddCertificate", blob(late.der), boolean(True)) is None  # time mends it, or not


def test_an_authority_goes_with_its_lists_but_not_while_it_is_needed(server: Server) -> None:
    ca = authority()
    sub = authority("sub", 3, ca)
    server.replace(whole(15, [sub], [crl(sub)], [ca], [crl(ca)]))
    assert server.call("RemoveCertificate", text(print_of(ca)), boolean(False)) == "BadCertificateChainIncomplete"
    assert server.call("RemoveCertificate", text(print_of(sub)), boolean(True)) is None
    assert server.push.store.current.trusted_crls == () and len(server.push.store.current.issuer_crls) == 1
    assert server.call("RemoveCertificate", text(print_of(ca)), boolean(False)) is None
    assert server.push.store.current.issuer_crls == ()


# ---- our own certificate -----------------------------------------------------------------------------------------------


def request(server: Server, subject: str | None = None, new: bool = False, nonce: bytes = b"") -> Any:
    """CreateSigningRequest."""
    return server.call("CreateSigningRequest", node(NULL), node(RSA), text(subject), boolean(new), blob(nonce))


def signed(ca: Made, csr: bytes, **more: Any) -> Made:
    """What an authority makes of a signing request."""
    asked = x509.load_der_x509_csr(csr)
    assert asked.is_signature_valid
    public = asked.public_key()
    assert isinstance(public, rsa.RSAPublicKey)

    class Public:
        """A key of which the public half alone is known."""

        def public_key(self) -> rsa.RSAPublicKey:
            return public

    given: dict[str, Any] = {"uri": SERVER, "purposes": (ExtendedKeyUsageOID.SERVER_AUTH,), "uses": USES, **more}
    return made("line 3", Public(), ca, **given)


def test_an_authority_signs_us_and_from_apply_changes_on_it_is_used(server: Server, tmp_path: Path) -> None:
    ca = authority()
    server.replace(whole(15, [], [], [ca], [crl(ca)]))
    csr = request(server, 'CN=line 3/O="Example, Ltd"/C=DE')
    asked = x509.load_der_x509_csr(csr)
    assert asked.subject.rfc4514_string() == "C=DE,O=Example\\, Ltd,CN=line 3"
    names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SERVER]
    ours = signed(ca, csr)
    before = server.push.identity
    assert server.update(ours) is True and server.push.identity is before and not server.renewed
    assert server.call("ApplyChanges") is None
    assert [one.certificate for one in server.renewed] == [ours.certificate] == [server.push.identity.certificate]
    assert server.renewed[0].issuers_der == ca.der
    assert server.told[-1][0] == Kind.CERTIFICATE_UPDATED
    again = own(tmp_path / "pki", "server", SERVER)
    assert (again.certificate, again.issuers, again.made) == (ours.certificate, (ca.certificate,), False)
    assert server.call("ApplyChanges") == server.call("CancelChanges") == "BadNothingToDo"


def test_a_new_key_waits_over_a_restart_for_its_certificate(server: Server, tmp_path: Path) -> None:
    ca = authority()
    server.replace(whole(15, [], [], [ca], [crl(ca)]))
    assert request(server, None, True, bytes(31)) == "BadInvalidArgument"
    csr = request(server, None, True, bytes(32))
    assert x509.load_der_x509_csr(csr).public_key() == key(8).public_key()
    waiting = next_key_file(server.push.identity.key_file)
    assert waiting.stat().st_mode & 0o777 == 0o600
    assert own(tmp_path / "pki", "server", SERVER).certificate == server.push.identity.certificate
    assert server.update(signed(ca, csr)) is True
    server.call("ApplyChanges")
    assert server.push.identity.key.private_numbers() == key(8).private_numbers() and not waiting.exists()
    assert own(tmp_path / "pki", "server", SERVER).certificate == server.push.identity.certificate
    assert server.push.store.current.own_key == key_of(server.push.identity.certificate)


def test_a_power_cut_at_every_step_leaves_the_old_identity_or_the_new_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = authority()
    server.replace(whole(15, [], [], [ca], [crl(ca)]))
    ours = signed(ca, request(server, None, True, bytes(32)))
    old, found = server.push.identity.certificate, []
    replaced = os.replace
    for cut in range(6):
        assert server.update(ours) is True
        steps = iter(range(100))

        def cutting(source: Any, target: Any, cut: int = cut, steps: Any = steps) -> None:
            if next(steps) == cut:
                raise OSError("the power is gone")
            replaced(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", cutting)
            ended = server.call("ApplyChanges")
        found.append(own(tmp_path / "pki", "server", SERVER).certificate)
        if ended is None or found[-1] == ours.certificate:
            break
        assert found[-1] == old and server.push.identity.certificate == old
    assert found[0] == old and found[-1] == ours.certificate


@pytest.mark.parametrize(
    ("offer", "status"),
    [
        (lambda ca: None, "BadCertificateInvalid"),
        (lambda ca: made("other key", key(6), ca, SERVER), "BadCertificateInvalid"),
        (lambda ca: made("us", key(1), ca, "urn:test:other"), "BadCertificateUriInvalid"),
        (lambda ca: made("us", key(1), ca, SERVER, end=NOW - DAY / 2), "BadCertificateTimeInvalid"),
        (lambda ca: made("us", key(1), ca, SERVER), "BadCertificateUseNotAllowed"),  # for clients
        (lambda ca: made("us", key(1), authority("unknown", 6), SERVER), "BadCertificateChainIncomplete"),
        (lambda ca: made("us", key(1), ca, SERVER, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,), serial=7), "BadCertificateRevoked"),
    ],
)
def test_a_certificate_that_cannot_be_ours_is_refused(server: Server, offer: Callable[[Made], Made | None], status: str) -> None:
    ca = authority()
    server.replace(whole(15, [], [], [ca], [crl(ca, [7])]))
    assert server.update(offer(ca)) == status
    assert server.call("ApplyChanges") == "BadNothingToDo"


def test_a_key_may_come_along_as_pem_and_is_told_to_nobody(server: Server, tmp_path: Path) -> None:
    ca, more = authority(), {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)}
    ours = made("us", key(8), ca, SERVER, **more)  # type: ignore[arg-type]
    assert server.update(ours, ca, form="PFX", key_=b"x") == "BadNotSupported"
    assert server.update(ours, ca, form="PEM", key_=b"junk") == "BadNotSupported"
    assert server.update(ours, ca, form="PEM", key_=made(key_=key(5, 1024)).key_pem) == "BadNotSupported"
    assert server.update(ours, ca, form="PEM", key_=made(key_=key(3)).key_pem) == "BadCertificateInvalid"
    assert server.update(ours, ca, form="PEM", key_=ours.key_pem) is True
    assert server.call("ApplyChanges") is None
    assert server.push.identity.key_file.read_bytes() == ours.key_pem
    assert server.push.identity.key_file.stat().st_mode & 0o777 == 0o600
    assert own(tmp_path / "pki", "server", SERVER).issuers == (ca.certificate,)


def test_what_waits_for_apply_changes_is_one_sessions(server: Server) -> None:
    other = Asking()
    ours = made("us", key(1), uri=SERVER, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))
    assert server.update(ours) is True
    assert server.update(ours, by=other) == server.open(6, by=other) == "BadTransactionPending"
    assert server.call("AddCertificate", blob(made(key_=key(3)).der), boolean(True), by=other) == "BadTransactionPending"
    assert server.call("ApplyChanges", by=other) == "BadSessionIdInvalid"
    handle = server.open(6)
    assert server.call("ApplyChanges") == "BadInvalidState"
    server.call("Close", u32(handle))
    server.admin.close()
    assert server.update(ours, by=other) is True and server.call("CancelChanges", by=other) is None
    assert server.call("ApplyChanges", by=other) == "BadNothingToDo" and not server.renewed


@pytest.mark.parametrize("subject", ["CN", "CN=", "X=1", "O=only", "CN=a/C=Germany", "CN=" + "x" * 600])
def test_a_subject_that_cannot_be_is_refused(server: Server, subject: str) -> None:
    assert request(server, subject) == "BadInvalidArgument"


def test_a_group_or_a_type_that_is_not_here_is_refused(server: Server) -> None:
    wrong = ua.NodeId(12561)  # type: ignore[arg-type]
    inputs = text(None), boolean(False), blob(None)
    assert server.call("CreateSigningRequest", node(NULL), node(wrong), *inputs) == "BadInvalidArgument"
    assert server.call("CreateSigningRequest", node(wrong), node(NULL), *inputs) == "BadInvalidArgument"
    assert server.call("CreateSigningRequest", node(NULL), node(NULL), *inputs)


def test_a_list_with_many_is_written_and_nothing_of_it_twice(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = [made(f"c{number}", key(3), serial=number + 1) for number in range(40)]
    assert server.replace(whole(1, trusted)) is False
    assert len(server.push.store.current.trusted) == 40
    written: list[Any] = []
    monkeypatch.setattr("controller.opcua.trust.store.write", lambda *all_: written.append(all_))
    assert server.replace(whole(1, trusted)) is False
    assert not written and len(server.push.store.current.trusted) == 40


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_written_is_taken_whole_or_refused_with_a_status(server: Server, data: st.DataObject) -> None:
    ca = authority(serial=5)
    start = server.push.store.current
    written = bytearray(whole(15, [ca, made(key_=key(3), serial=6)], [crl(ca)]))
    for _ in range(data.draw(st.integers(1, 4))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    status = server.replace(bytes(written[: data.draw(st.integers(0, 2 * len(written)))]))
    assert status in (False, "BadInvalidArgument", "BadCertificateInvalid", "BadEncodingLimitsExceeded")
    assert status is False or server.push.store.current == start
