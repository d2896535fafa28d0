"""The trust list where it stands: in front of the secure channel, and behind the methods that a certificate manager calls."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509

from controller.__main__ import main
from controller.opcua import certificate
from controller.opcua.access import Access
from controller.opcua.calling import Calling
from controller.opcua.certificate import TOOLS, Identity, own
from controller.opcua.encoding import NULL_TEXT, node_key
from controller.opcua.link.discovery import About
from controller.opcua.link.policies import BASIC256SHA256
from controller.opcua.link.terms import Own
from controller.opcua.link.whole import Link
from controller.opcua.methods import Methods
from controller.opcua.nodes.store import METHOD, OBJECT, Nodes
from controller.opcua.roles import Rule
from controller.opcua.trust.declared import DECLARED, declare
from controller.opcua.trust.folders import REJECTED, TRUSTED, files
from controller.opcua.trust.push import Push
from controller.opcua.trust.store import TrustStore
from controller.users import Cost, Role, User, Users, hashed
from tests.controller.opcua.raw import OPEN, SEALED
from tests.controller.opcua.trust import pki
from tests.controller.opcua.trust.pki import authority, crl, made
from tests.controller.opcua.wired import Wired, identity
from twin.clock import LoopClock

PAGE = Path(__file__).resolve().parents[4] / "docs/how-to/certificates.md"
PATIENCE_S = 60


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[tuple[Wired, TrustStore]]:
    """A server on a wire of memory, with a trust list of its own."""
    with Wired() as made_:
        store = TrustStore(tmp_path / "pki", made_.clock, certificate.now)
        made_.link.terms.trust = store
        yield made_, store


def refused(wired: Wired, who: str, chain: bytes = b"") -> str:
    """What a client is told that cannot open a channel."""
    raw = wired.raw(who)
    raw.der, raw.policy, raw.mode = chain or raw.der, BASIC256SHA256, SEALED
    raw.hello()
    raw.chunks()
    raw.send(raw.opening())
    return raw.told()


def test_a_stranger_learns_nothing_is_kept_and_comes_in_once_it_is_trusted(wired: tuple[Wired, TrustStore]) -> None:
    server, store = wired
    assert refused(server, "newcomer") == "BadSecurityChecksFailed"
    (kept,) = files(store.folder / REJECTED)
    assert kept.read_bytes() == server.raw("newcomer").der
    store.put(TRUSTED, identity("newcomer").certificate)
    server.advance(1)
    client = server.client(name="newcomer")
    assert client.ask("FindServers", ua.FindServersParameters()) is not None
    store.take(TRUSTED, identity("newcomer").certificate)
    server.link.gates.close_untrusted(store.still)
    server.turn()
    assert client.told() == "BadSecurityChecksFailed" and len(server.sessions) == 0
    assert refused(server, "newcomer") == "BadSecurityChecksFailed"


def test_a_client_that_can_mend_it_is_told(wired: tuple[Wired, TrustStore]) -> None:
    server, store = wired
    mine, now = identity("newcomer"), certificate.now()
    late = made("late", mine.key, uri=TOOLS, start=now - 2 * pki.DAY, end=now - pki.DAY)
    ca = authority(start=now - pki.DAY, end=now + pki.DAY)
    below = made("below", mine.key, ca, TOOLS, start=now - pki.DAY, end=now + pki.DAY)
    for one in (late, ca):
        store.put(TRUSTED, one.certificate)
    assert refused(server, "newcomer", late.der) == "BadCertificateTimeInvalid"
    assert refused(server, "newcomer", below.der) == "BadCertificateRevocationUnknown"
    assert refused(server, "newcomer", b"junk") == "BadSecurityChecksFailed"


def test_discovery_needs_no_trust(wired: tuple[Wired, TrustStore]) -> None:
    server, _ = wired
    raw = server.raw("newcomer")
    raw.open(None, OPEN)
    assert raw.ask("GetEndpoints", ua.GetEndpointsParameters())


# ---- as a certificate manager does it, with asyncua's client ----------------------------------------------------------


class Managed:
    """A server on a socket that serves nothing but push management."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = own(folder / "pki", "server", pki.URI)
        self.tools = own(folder / "pki", "client", TOOLS)
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Managed"]:
        """Run it."""
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        self.store = TrustStore(self.folder / "pki", clock, certificate.now)
        self.store.trust_own(self.tools.certificate)
        users = Users(self.folder / "users.json")
        users._write({"anna": User(Role.ADMINISTRATOR.name.lower(), hashed("anna-password", Cost(2, 1)))})
        nodes, methods = Nodes(), Methods()
        for number in {method.owner for method in DECLARED}:
            nodes.add(node_key(0, number), OBJECT, NULL_TEXT, NULL_TEXT, rule=Rule.SECURITY)
        for method in DECLARED:
            for number in method.ids:
                nodes.add(node_key(0, number), METHOD, NULL_TEXT, NULL_TEXT, rule=Rule.SECURITY)
        server = await loop.create_server(lambda: link.gates(), "127.0.0.1", 0)
        self.url = f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}/lockstep"
        own_ = Own(self.identity.key, self.identity.certificate)
        about = About(pki.URI, "urn:lockstep", "Lockstep", self.url)
        link = Link(own_, self.store, Access(users, self.identity.key, clock), clock, about, [Calling(nodes, methods)])

        def renew(identity_: Identity) -> None:
            link.terms.own = Own(identity_.key, identity_.certificate, identity_.issuers_der)
            self.identity = identity_

        sealed = ua.MessageSecurityMode.SignAndEncrypt
        push = Push(
            self.store,
            self.identity,
            pki.URI,
            clock,
            lambda session: session.channel.mode == sealed,
            lambda kind, told: None,
            renew,
        )
        declare(push, methods.register)
        async with server:
            yield self

    def client(self, mode: Any = ua.MessageSecurityMode.SignAndEncrypt) -> Client:
        """A certificate manager."""
        client = Client(self.url, timeout=PATIENCE_S)
        policy = SecurityPolicyBasic256Sha256(self.identity.certificate, self.tools.certificate, self.tools.key, mode)
        client.security_policy = policy
        client.uaclient.set_security(policy)
        client.set_user("anna")
        client.set_password("anna-password")
        return client


def blocks(language: str) -> list[str]:
    """The page's pieces of code."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_pages_python_replaces_the_list_and_has_the_server_signed(tmp_path: Path) -> None:
    page: dict[str, Any] = {}
    (code,) = blocks("python")
    exec(code, page)
    now = certificate.now()
    ca = authority(start=now - pki.DAY, end=now + 9 * pki.DAY)
    lists = crl(ca, start=now - pki.DAY, end=now + pki.DAY)

    def sign(request: bytes) -> bytes:
        asked = x509.load_der_x509_csr(request)
        assert asked.public_key() == managed.identity.key.public_key()
        purposes = (x509.oid.ExtendedKeyUsageOID.SERVER_AUTH,)
        span = {"start": now - pki.DAY, "end": now + 5 * pki.DAY}
        return made("line 3", managed.identity.key, ca, purposes=purposes, **span).der  # type: ignore[arg-type]

    managed = Managed(tmp_path)

    async def manage() -> None:
        async with managed.running():
            async with managed.client() as client:
                mine = managed.tools.certificate.public_bytes(pki.Encoding.DER)
                await page["replace_trust_list"](client, [mine, ca.der], [lists.public_bytes(pki.Encoding.DER)])
                assert len(managed.store.current.trusted) == 2 and len(managed.store.current.trusted_crls) == 1
                before = managed.identity.certificate
                await page["have_signed"](client, sign, ca.der)
                assert managed.identity.certificate != before and managed.identity.issuers == (ca.certificate,)
                server = client.get_node(ua.NodeId(12637))  # type: ignore[arg-type]
                with pytest.raises(ua.UaStatusCodeError) as nothing:
                    await server.call_method(ua.NodeId(12740))  # type: ignore[arg-type]
                assert ua.StatusCode(nothing.value.code).name == "BadNothingToDo"
            async with managed.client():  # who takes the new certificate comes in again
                pass
            async with managed.client(ua.MessageSecurityMode.Sign) as client:
                trust_list = client.get_node(ua.NodeId(12642))  # type: ignore[arg-type]
                with pytest.raises(ua.UaStatusCodeError) as bare:
                    await trust_list.call_method(ua.NodeId(12647), ua.Variant(1, ua.VariantType.Byte))  # type: ignore[arg-type]
                assert ua.StatusCode(bare.value.code).name == "BadSecurityModeInsufficient"

    asyncio.run(manage())


def test_the_pages_openssl_commands_make_what_is_trusted_and_then_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_authority, make_client, revoke = blocks("sh")
    ca, state = tmp_path / "ca", tmp_path / "state"
    ca.mkdir()
    state.mkdir()

    def shell(text: str) -> None:
        cheap = text.replace("rsa:3072", "rsa:2048")
        subprocess.run(["bash", "-euc", cheap], cwd=ca, check=True, capture_output=True)

    def trust(*words: str) -> str:
        assert main(["trust", "--state", str(state), *words]) == 0
        return capsys.readouterr().out

    shell(make_authority)
    shell(make_client)
    said = trust("add", str(ca / "ca.pem")) + trust("add", "--crl", str(ca / "ca.crl"))
    assert "Plant CA" in said and "everyone it has signed a certificate for" in said and "0 revoked" in said
    hand = pki.Hand()
    store = TrustStore(state / "pki", hand, certificate.now)
    client = store.check((ca / "scada.der").read_bytes(), "urn:example:scada")
    assert (client.name, client.uri) == ("SCADA", "urn:example:scada") and store.still(client)
    shell(revoke)
    assert "1 revoked" in trust("add", "--crl", str(ca / "ca.crl"))
    hand.go(1)
    assert not store.still(client)
