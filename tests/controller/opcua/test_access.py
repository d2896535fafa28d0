"""Who gets in, how far, and how not."""

import asyncio
import struct
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto import security_policies
from asyncua.ua.status_codes import StatusCodes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from controller.opcua.access import OAEP, Access
from controller.opcua.certificate import TOOLS, own
from controller.users import Role, Users
from tests.controller.opcua.conftest import PASSWORDS, Site
from tests.controller.opcua.rig import Raw, call, connected, made, node, status_of
from tests.controller.opcua.standing import Standing
from twin.clock import Ns, S

POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
OWN = ["belt-1/Start", "belt-1/Pause", "belt-1/Stop", "belt-1/Reset"]
PLANNED = [*(f"printer-1/{name}" for name in ("Start", "Pause", "Stop", "Reset")), "printer-1/LoadJob"]
METHODS: list[tuple[str, str, tuple[Any, ...]]] = [
    *((method.split("/")[0], method, ("cube",) if method.endswith("LoadJob") else ()) for method in (*OWN, *PLANNED)),
    ("factory", "factory/PlaceOrder", ("print-and-convey", "cube")),
    ("factory", "factory/CancelOrder", (ua.Variant(7, ua.VariantType.UInt32),)),
]


@pytest.mark.parametrize("user", ["", *PASSWORDS])
def test_methods_are_for_operators_and_those_above(site: Site, user: str) -> None:
    async def try_all() -> dict[str, str]:
        async with connected(site.face, user, PASSWORDS.get(user, "")) as client:
            return {name: (await call(client, owner, name, *given))[0] for owner, name, given in METHODS}

    may = user in ("otto", "erin", "anna")
    assert asyncio.run(try_all()) == {name: "Good" if may else "BadUserAccessDenied" for _, name, _ in METHODS}
    assert len(site.core.asked) == (len(METHODS) if may else 0)
    assert {request.user for request in site.core.asked} == ({user} if may else set())


@pytest.mark.parametrize("user", ["", "olga", "otto", "anna"])
def test_everyone_may_look_and_nobody_may_write_or_change_the_address_space(site: Site, user: str) -> None:
    async def look() -> dict[str, str]:
        async with connected(site.face, user, PASSWORDS.get(user, "")) as client:
            assert await client.get_node(node("printer-1/status/x")).read_value() == pytest.approx(120.5)
            assert await client.get_node(node("printer-1")).get_children()
            asset = client.get_node("ns=5;i=6013")  # a node of the specification that is declared to be writable
            belt = client.get_node(node("belt-1"))
            return {
                "a signal": await status_of(client.get_node(node("belt-1/command/run")).write_value(True)),
                "a writable node": await status_of(asset.write_value("mine")),
                "a name": await status_of(belt.write_attribute(ua.AttributeIds.DisplayName, ua.DataValue(ua.LocalizedText("x")))),
                "a new node": await status_of(belt.add_variable(2, "extra", 1)),
                "a node less": await status_of(client.delete_nodes([belt])),
                "the server": await status_of(client.delete_nodes([client.get_node("i=2253")])),
            }

    never, unknown = "BadNotWritable", "BadServiceUnsupported"
    assert list(asyncio.run(look()).values()) == [never, never, never, unknown, unknown, unknown]


def test_a_client_is_told_which_methods_it_may_call(site: Site) -> None:
    async def ask(user: str) -> Any:
        async with connected(site.face, user, PASSWORDS.get(user, "")) as client:
            value = await client.get_node(node("belt-1/Stop")).read_attribute(ua.AttributeIds.UserExecutable)
            return value.Value.Value

    assert [asyncio.run(ask(user)) for user in ("", "olga", "otto")] == [False, False, True]


@pytest.mark.parametrize("name", ["otto", "nobody", "admin", "Admin", "operator"])
def test_a_wrong_password_is_refused_whoever_it_is_for(site: Site, name: str) -> None:
    async def enter() -> str:
        client = made(site.face, name, "not-the-password")
        return await status_of(client.connect())

    assert asyncio.run(enter()) == "BadUserAccessDenied"


def test_after_failed_logins_even_the_right_password_waits(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    users, clock, nonce = Users(tmp_path / "users.json"), Standing(), bytes(range(32))
    users.add("gina", Role.OPERATOR, "right-password-1")

    async def enter(access: Access, password: str, address: str = "127.0.0.1") -> bool:
        plain = password.encode() + nonce
        secret = key.public_key().encrypt(struct.pack("<I", len(plain)) + plain, OAEP)
        algorithm = security_policies.SecurityPolicyBasic256Sha256.AsymmetricEncryptionURI
        token = ua.UserNameIdentityToken(UserName="gina", Password=secret, EncryptionAlgorithm=algorithm)
        try:
            return (await access.identify(token, nonce, address)).name == "gina"
        except ServiceError as refused:
            assert refused.code == StatusCodes.BadUserAccessDenied
            return False

    async def guess() -> list[bool]:
        access = Access(users, key, clock)
        assert not any([await enter(access, f"wrong-{number}") for number in range(4)])
        found = [await enter(access, "right-password-1"), await enter(access, "right-password-1", "127.0.0.2")]
        clock.time = Ns(2 * S)
        return [*found, await enter(access, "right-password-1"), await enter(access, "right-password-1")]

    assert asyncio.run(guess()) == [False, True, True, True]


def test_a_changed_role_and_a_new_user_count_at_once(site: Site) -> None:
    site.users.add("rosa", Role.OBSERVER, "right-password-1")

    async def start() -> tuple[str, str]:
        async with connected(site.face, "rosa", "right-password-1") as client:
            before, _ = await call(client, "belt-1", "belt-1/Start")
            site.users.set_role("rosa", Role.OPERATOR)
            return before, (await call(client, "belt-1", "belt-1/Start"))[0]

    assert asyncio.run(start()) == ("BadUserAccessDenied", "Good")


def test_a_password_is_only_taken_encrypted_for_this_session(site: Site) -> None:
    async def enter(change: Any) -> str:
        client = made(site.face, "otto", PASSWORDS["otto"])
        encrypt = client._encrypt_password

        def changed(password: str, policy_uri: str) -> tuple[bytes, str]:
            return change(client, encrypt, password, policy_uri)  # type: ignore[no-any-return]

        client._encrypt_password = changed  # type: ignore[method-assign]
        return await status_of(client.connect())

    def plain(_client: Client, _encrypt: Any, password: str, _uri: str) -> tuple[bytes, str]:
        return password.encode(), ""

    def replayed(client: Client, encrypt: Any, password: str, uri: str) -> Any:
        client._server_nonce = bytes(32)
        return encrypt(password, uri)

    def old_padding(client: Client, encrypt: Any, password: str, uri: str) -> Any:
        secret, _ = encrypt(password, uri)
        return secret, "http://www.w3.org/2001/04/xmlenc#rsa-1_5"

    assert [asyncio.run(enter(change)) for change in (plain, replayed, old_padding)] == ["BadIdentityTokenInvalid"] * 3


# ---- sessions and channels ---------------------------------------------------------------------------------------------


async def _read_with(client: Client, token: ua.NodeId) -> str:
    client.uaclient.protocol.authentication_token = token
    return await status_of(client.get_node("i=2258").read_value())


def test_a_sessions_token_cannot_be_guessed(site: Site) -> None:
    async def tokens() -> list[ua.NodeId]:
        found = []
        for _ in range(4):
            async with connected(site.face) as client:
                found.append(client.uaclient.session.authentication_token)
        return found

    found = asyncio.run(tokens())
    assert all(token.NodeIdType == ua.NodeIdType.ByteString and len(token.Identifier) == 32 for token in found)
    assert len({token.Identifier for token in found}) == 4


def test_another_sessions_token_is_worth_nothing(site: Site) -> None:
    async def borrow() -> list[str]:
        async with connected(site.face, "otto", PASSWORDS["otto"]) as theirs, connected(site.face, name="thief") as mine:
            token = theirs.uaclient.session.authentication_token
            own_token = mine.uaclient.session.authentication_token
            tried = [token, ua.NodeId(), ua.NodeId(1000), ua.NodeId(bytes(32), 0)]
            refused = [await _read_with(mine, one) for one in tried]
            return [*refused, await _read_with(mine, own_token), await _read_with(theirs, token)]

    assert asyncio.run(borrow()) == ["BadSessionIdInvalid"] * 4 + ["Good", "Good"]


async def _take_over(site: Site, name: str) -> str:
    """Try to activate otto's session over a channel opened with another certificate, or with the same one."""
    async with connected(site.face, "otto", PASSWORDS["otto"]) as theirs:
        mine = made(site.face, "otto", PASSWORDS["otto"], name=name)
        await mine.connect_socket()
        try:
            await mine.send_hello()
            await mine.open_secure_channel()
            mine._server_nonce, mine._policy_ids = theirs._server_nonce, theirs._policy_ids
            mine.uaclient.session.restore_authentication_token(theirs.uaclient.session.authentication_token)
            taken = await status_of(mine.activate_session("otto", PASSWORDS["otto"]))
            left = await status_of(theirs.get_node("i=2258").read_value())
        finally:
            mine.disconnect_socket()
        return f"{taken}, {left}"


def test_a_session_moves_to_a_new_channel_of_the_same_client_alone(site: Site) -> None:
    assert asyncio.run(_take_over(site, "thief")) == "BadSessionIdInvalid, Good"
    assert asyncio.run(_take_over(site, "client")) == "Good, BadSessionIdInvalid"


def test_a_session_cannot_be_created_for_another_clients_certificate(site: Site) -> None:
    async def create(claimed: bytes | None) -> str:
        client = made(site.face, name="thief")
        await client.connect_socket()
        try:
            await client.send_hello()
            await client.open_secure_channel()
            client.security_policy.host_certificate, kept = claimed, client.security_policy.host_certificate
            try:
                return await status_of(client.create_session())
            finally:
                client.security_policy.host_certificate = kept
        finally:
            client.disconnect_socket()

    theirs = own(site.face.state / "pki", "client", TOOLS).certificate
    assert asyncio.run(create(theirs.public_bytes(Encoding.DER))) == "BadCertificateInvalid"
    assert asyncio.run(create(None)) == "BadCertificateInvalid"


def test_anothers_subscription_cannot_be_touched(site: Site) -> None:
    async def touch() -> list[str]:
        async with connected(site.face) as theirs, connected(site.face, name="thief") as mine:
            number = (await theirs.create_subscription(100, None)).subscription_id
            own_one = await mine.create_subscription(100, None)
            session = mine.uaclient.session
            deleted = (await session.delete_subscriptions([number]))[0].name
            item = ua.MonitoredItemCreateRequest(ua.ReadValueId(ua.NodeId(2258), ua.AttributeIds.Value))
            monitored = ua.CreateMonitoredItemsParameters(SubscriptionId=number, ItemsToCreate=[item])
            moved = ua.TransferSubscriptionsParameters(SubscriptionIds=[number])
            results = [
                deleted,
                await status_of(session.create_monitored_items(monitored)),
                (await session.transfer_subscriptions(moved))[0].StatusCode.name,
                (await session.delete_subscriptions([own_one.subscription_id]))[0].name,
            ]
            await theirs.get_node("i=2258").read_value()
            return results

    unknown = "BadSubscriptionIdInvalid"
    assert asyncio.run(touch()) == [unknown, unknown, "BadUserAccessDenied", "Good"]


def test_without_a_seal_there_is_discovery_and_nothing_else(site: Site) -> None:
    raw = Raw(site.face)
    raw.open()
    answers = {}
    for number, name in enumerate(
        ("GetEndpoints", "FindServers", "CreateSession", "ActivateSession", "Read", "Browse", "Call", "Publish"), 1
    ):
        raw.request(ua.ua_binary.struct_to_binary(getattr(ua, f"{name}Request")()), number=number)
        answer = raw.answer()
        answers[name] = answer.ResponseHeader.ServiceResult.name
        if name == "GetEndpoints":
            offered = {(e.SecurityMode.name, e.SecurityPolicyUri.split("#")[1]) for e in answer.Endpoints}
            assert offered == {(mode, policy) for mode in ("Sign", "SignAndEncrypt") for policy in POLICIES}
            for endpoint in answer.Endpoints:
                tokens = {token.TokenType.name: token.SecurityPolicyUri for token in endpoint.UserIdentityTokens}
                assert set(tokens) == {"Anonymous", "UserName"} and tokens["UserName"] == endpoint.SecurityPolicyUri
    raw.close()
    assert answers == {
        "GetEndpoints": "Good",
        "FindServers": "Good",
        **dict.fromkeys(("CreateSession", "ActivateSession", "Read", "Browse", "Call", "Publish"), "BadSecurityPolicyRejected"),
    }


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        (security_policies.SecurityPolicyBasic128Rsa15, ua.MessageSecurityMode.SignAndEncrypt),
        (security_policies.SecurityPolicyBasic256, ua.MessageSecurityMode.Sign),
        (security_policies.SecurityPolicyBasic256, ua.MessageSecurityMode.SignAndEncrypt),
    ],
)
def test_other_policies_and_modes_are_refused(site: Site, policy: Any, mode: ua.MessageSecurityMode) -> None:
    async def connect() -> None:
        identity = own(site.face.state / "pki", "client", TOOLS)
        client = Client(site.face.url, timeout=5)
        server = str(site.face.state / "pki/server.der")
        await client.set_security(policy, identity.certificate_file, identity.key_file, server_certificate=server, mode=mode)
        await client.connect_socket()
        try:
            await client.send_hello()
            await client.open_secure_channel()
        finally:
            client.disconnect_socket()

    with pytest.raises((ConnectionError, ua.UaError, TimeoutError, ServiceError)):
        asyncio.run(connect())


def test_a_client_may_renew_its_channel_and_go_on(site: Site) -> None:
    async def renew() -> list[Any]:
        async with connected(site.face) as client:
            wanted = client.get_node(node("printer-1/status/x"))
            values = []
            for _ in range(3):
                values.append(await wanted.read_value())
                await client.open_secure_channel(renew=True)
            return [*values, await wanted.read_value()]

    assert asyncio.run(renew()) == [pytest.approx(120.5)] * 4
