"""A session belongs to one client's certificate, is used over one channel, and ends when nobody needs it."""

import gc
import struct
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.access import NOBODY, Who
from controller.opcua.certificate import TOOLS
from controller.opcua.link import handshake
from controller.opcua.link.handshake import MOST_NEW_OF_ONE, MOST_ON_CHANNEL
from controller.opcua.link.policies import AES256, POLICIES
from controller.users import Role
from tests.controller.opcua.link.conftest import served
from tests.controller.opcua.wired import SIGN, Raw, Wired, decoded, identity, status_of
from twin.clock import S


def opened(wired: Wired, name: str = "client", **options: Any) -> Raw:
    """A client with a channel."""
    client = wired.raw(name)
    client.open(**options)
    return client


# ---- create --------------------------------------------------------------------------------------------------------------


def test_a_new_session_is_told_what_it_needs(wired: Wired) -> None:
    client = opened(wired, policy=AES256)
    made = client.create(timeout_ms=30_000)
    token = made.AuthenticationToken
    assert token.NodeIdType == ua.NodeIdType.ByteString and len(token.Identifier) == 32 and token != made.SessionId
    assert made.RevisedSessionTimeout == 30_000 and len(made.ServerNonce) == 32 and made.MaxRequestMessageSize > 65_536
    assert made.ServerCertificate == wired.own.der
    signed = made.ServerSignature
    assert signed.Algorithm == AES256.signed_with
    key: Any = wired.own.key.public_key()
    assert AES256.verify(key, client.der + bytes(range(32)), signed.Signature)
    told = client.ask("GetEndpoints", ua.GetEndpointsParameters(EndpointUrl="opc.tcp://127.0.0.1:4840/lockstep")).Endpoints
    assert made.ServerEndpoints == told


def test_tokens_and_nonces_are_never_the_same(wired: Wired) -> None:
    clients = [wired.client() for _ in range(10)]
    assert len({client.token.Identifier for client in clients}) == len({client.nonce for client in clients}) == 10
    before = clients[0].nonce
    clients[0].activate()
    assert clients[0].nonce != before


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("ClientCertificate", None, "BadCertificateInvalid"),
        ("ClientCertificate", b"", "BadCertificateInvalid"),
        ("ClientCertificate", lambda: identity("thief").certificate_file.read_bytes(), "BadCertificateInvalid"),
        ("ClientNonce", None, "BadNonceInvalid"),
        ("ClientNonce", bytes(31), "BadNonceInvalid"),
        ("ClientNonce", bytes(10_000), "BadNonceInvalid"),
        ("ClientDescription", ua.ApplicationDescription(ApplicationUri="urn:somebody:else"), "BadCertificateUriInvalid"),
        ("ClientDescription", ua.ApplicationDescription(), "BadCertificateUriInvalid"),
    ],
)
def test_a_session_is_the_channels_clients_or_nobodys(wired: Wired, field: str, value: Any, code: str) -> None:
    wired.raw("thief")
    client = opened(wired)
    assert status_of(lambda: client.create(**{field: value() if callable(value) else value})) == code
    assert len(wired.sessions) == 0


def test_issuers_may_follow_the_certificate(wired: Wired) -> None:
    client = opened(wired)
    client.create(ClientCertificate=client.der + wired.own.der)
    client.activate()
    assert served(client)


@pytest.mark.parametrize(
    ("asked", "told"), [(0.0, 10_000), (-5.0, 10_000), (float("nan"), 10_000), (float("inf"), 10_000), (1e300, 3_600_000)]
)
def test_a_sessions_patience_is_revised_to_what_can_be_kept(wired: Wired, asked: float, told: float) -> None:
    assert opened(wired).create(timeout_ms=asked).RevisedSessionTimeout == told


def test_sessions_are_bounded_on_a_channel_for_a_client_and_in_all(wired: Wired) -> None:
    client = opened(wired)
    assert [status_of(client.create) for _ in range(MOST_ON_CHANNEL + 1)] == ["Good"] * MOST_ON_CHANNEL + ["BadTooManySessions"]

    def more(name: str) -> str:
        def create() -> None:
            made = opened(wired, name)
            made.create(ClientDescription=ua.ApplicationDescription(ApplicationUri=TOOLS))

        wired.advance(0.1)
        return status_of(create)

    assert [more("client") for _ in range(MOST_NEW_OF_ONE - MOST_ON_CHANNEL + 1)][-2:] == ["Good", "BadTooManySessions"]
    assert more("thief") == "Good"


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for ten sessions, eight of them of one client."""
    monkeypatch.setattr(handshake, "MOST_SESSIONS", 10)
    monkeypatch.setattr(handshake, "MOST_OF_ONE", 8)


@pytest.mark.usefixtures("little_room")
def test_activated_sessions_of_one_client_leave_room_for_others(wired: Wired) -> None:
    assert [status_of(wired.client) for _ in range(9)] == ["Good"] * 8 + ["BadTooManySessions"]
    assert served(wired.client(name="thief"))


@pytest.mark.usefixtures("little_room")
def test_when_all_are_taken_one_that_was_never_activated_makes_way(wired: Wired) -> None:
    idle = opened(wired, "thief")
    idle.create()
    for name, count in (("client", 8), ("other", 1)):
        for _ in range(count):
            wired.client(name=name)
    assert len(wired.sessions) == 10
    assert served(wired.client(name="other"))
    assert len(wired.sessions) == 10 and status_of(idle.activate) == "BadSessionIdInvalid"
    assert status_of(lambda: wired.client(name="thief")) == "BadTooManySessions"


@pytest.mark.usefixtures("little_room")
def test_a_client_that_comes_back_gets_the_place_of_its_lost_session(wired: Wired) -> None:
    crowd = [wired.client() for _ in range(8)]
    for client in crowd:
        client.wire.close()
    for _ in range(8):
        assert served(wired.client())
    assert len(wired.sessions) == 8


def test_no_client_may_have_all_sessions_there_are() -> None:
    assert handshake.MOST_OF_ONE < handshake.MOST_SESSIONS


# ---- activate ------------------------------------------------------------------------------------------------------------


def test_users_come_in_with_a_password_by_every_policy_and_mode(wired: Wired) -> None:
    for policy in POLICIES.values():
        client = wired.client("otto", policy=policy, mode=SIGN)
        (session,) = wired.sessions
        assert (session.who, session.role) == (Who("otto"), Role.OPERATOR)
        client.ask("CloseSession", b"\x01")


def test_nobody_in_particular_is_an_observer(wired: Wired) -> None:
    client = opened(wired)
    client.create()
    given = client.activation()
    given.UserIdentityToken = ua.ExtensionObject()
    client.ask("ActivateSession", given)
    (session,) = wired.sessions
    assert (session.who, session.role) == (NOBODY, Role.OBSERVER)


def _signature(content: bytes | None) -> Callable[[Raw, Any], None]:
    def change(client: Raw, given: Any) -> None:
        given.ClientSignature.Signature = content

    return change


def _password(change: Callable[[Raw, Any], None]) -> Callable[[Raw, Any], None]:
    return lambda client, given: change(client, given.UserIdentityToken)


def _token(token: Any) -> Callable[[Raw, Any], None]:
    return lambda client, given: setattr(given, "UserIdentityToken", token)


def _old_nonce(client: Raw, given: Any) -> None:
    client.nonce = bytes(32)
    given.UserIdentityToken = client.activation("otto").UserIdentityToken


ACTIVATIONS: dict[str, tuple[Callable[[Raw, Any], None], str]] = {
    "no signature": (_signature(None), "BadApplicationSignatureInvalid"),
    "a wrong signature": (_signature(bytes(256)), "BadApplicationSignatureInvalid"),
    "a short signature": (_signature(b"x"), "BadApplicationSignatureInvalid"),
    "a plain password": (
        _password(lambda c, t: (setattr(t, "Password", b"otto-password"), setattr(t, "EncryptionAlgorithm", None))[0]),
        "BadIdentityTokenInvalid",
    ),
    "a password by another algorithm": (
        _password(lambda c, t: setattr(t, "EncryptionAlgorithm", "http://www.w3.org/2001/04/xmlenc#rsa-1_5")),
        "BadIdentityTokenInvalid",
    ),
    "a way in that is not offered": (_password(lambda c, t: setattr(t, "PolicyId", "other")), "BadIdentityTokenInvalid"),
    "a password of half a block": (_password(lambda c, t: setattr(t, "Password", t.Password[:-1])), "BadIdentityTokenInvalid"),
    "a password that cannot be deciphered": (_password(lambda c, t: setattr(t, "Password", bytes(256))), "BadIdentityTokenInvalid"),
    "an endless password": (_password(lambda c, t: setattr(t, "Password", bytes(8_192))), "BadIdentityTokenInvalid"),
    "a recorded password": (_old_nonce, "BadIdentityTokenInvalid"),
    "a certificate for a user": (_token(ua.X509IdentityToken("x509")), "BadIdentityTokenRejected"),
    "an issued token": (_token(ua.IssuedIdentityToken("issued")), "BadIdentityTokenRejected"),
    "nobody by a way that is not offered": (_token(ua.AnonymousIdentityToken("other")), "BadIdentityTokenInvalid"),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_that_does_not_fit_is_refused(wired: Wired, name: str) -> None:
    change, code = ACTIVATIONS[name]
    client = opened(wired)
    client.create()
    given = client.activation("otto")
    nonce = client.nonce
    change(client, given)
    assert status_of(lambda: client.ask("ActivateSession", given)) == code
    (session,) = wired.sessions
    assert not session.activated
    client.nonce = nonce
    client.activate("otto")
    assert served(client)


@pytest.mark.parametrize("user", ["otto", "nobody", "admin", "Admin", "operator"])
def test_a_wrong_password_is_refused_whoever_it_is_for(wired: Wired, user: str) -> None:
    client = opened(wired)
    client.create()
    assert status_of(lambda: client.activate(user, "not-the-password")) == "BadUserAccessDenied"
    (session,) = wired.sessions
    assert not session.activated and session.who == NOBODY


def test_a_user_may_be_changed_and_a_failed_change_leaves_the_old_one(wired: Wired) -> None:
    client = wired.client("olga")
    (session,) = wired.sessions
    assert status_of(lambda: client.activate("otto", "wrong")) == "BadUserAccessDenied"
    assert session.who == Who("olga") and served(client)
    client.activate("otto")
    assert session.who == Who("otto")
    client.activate()
    assert session.who == NOBODY


def test_of_two_activations_at_once_with_one_nonce_only_one_counts(wired: Wired) -> None:
    client, sent = wired.client("olga"), []
    client.send = sent.append  # type: ignore[method-assign]
    numbers = [client.post("ActivateSession", client.activation("otto")) for _ in range(2)]
    del client.send
    client.send(b"".join(sent))
    found = [status_of(lambda number=number: decoded(client.answer(number))) for number in numbers]
    assert found == ["Good", "BadIdentityTokenInvalid"]


def taken_over(wired: Wired, theirs: Raw, name: str = "client", user: str = "otto") -> tuple[str, Raw]:
    """Try to activate a session over another channel."""
    mine = opened(wired, name)
    mine.token, mine.nonce = theirs.token, theirs.nonce
    return status_of(lambda: mine.activate(user)), mine


def test_a_session_moves_to_a_new_channel_of_the_same_client_and_user_alone(wired: Wired) -> None:
    theirs = wired.client("otto")
    assert taken_over(wired, theirs, "thief")[0] == "BadSessionIdInvalid"
    assert taken_over(wired, theirs, user="olga")[0] == "BadIdentityChangeNotSupported"
    assert taken_over(wired, theirs, user="")[0] == "BadIdentityChangeNotSupported"
    assert served(theirs)
    told, mine = taken_over(wired, theirs)
    assert told == "Good" and served(mine)
    assert status_of(lambda: served(theirs)) == "BadSessionIdInvalid"
    theirs.wire.close()
    wired.turn()
    assert served(mine)  # it went with the session


def test_a_session_that_was_never_activated_moves_nowhere(wired: Wired) -> None:
    theirs = opened(wired)
    theirs.create()
    assert taken_over(wired, theirs)[0] == "BadSecureChannelIdInvalid"


def test_a_lost_session_waits_a_minute_for_its_client(wired: Wired) -> None:
    early, late = wired.client("otto", timeout_ms=600_000), wired.client("otto", timeout_ms=600_000)
    for client in (early, late):
        client.wire.close()
    wired.advance(58)
    told, back = taken_over(wired, early)
    assert told == "Good" and served(back)
    wired.advance(4)
    assert taken_over(wired, late)[0] == "BadSessionIdInvalid"
    assert len(wired.sessions) == 1


def test_a_session_that_was_never_activated_does_not_outlive_its_connection(wired: Wired) -> None:
    client = opened(wired)
    client.create()
    client.wire.close()
    wired.turn()
    assert len(wired.sessions) == 0


def test_a_session_ends_when_its_client_asks_for_nothing(wired: Wired) -> None:
    client, idle = wired.client(timeout_ms=10_000), wired.client(timeout_ms=10_000)
    for _ in range(5):
        wired.advance(5)
        assert served(client)
    assert len(wired.sessions) == 1 and idle.wire.closed


def test_locales_are_kept_within_bounds(wired: Wired) -> None:
    client = wired.client()
    given = client.activation(locales=["de" * 100, *(["en"] * 50)])
    client.ask("ActivateSession", given)
    (session,) = wired.sessions
    assert session.locales == (("de" * 16), *["en"] * 7)


# ---- end -----------------------------------------------------------------------------------------------------------------


def test_a_closed_session_leaves_nothing_behind(wired: Wired) -> None:
    client, hanging = wired.client("otto"), ["a subscription"]
    (session,) = wired.sessions
    session.on_close.append(hanging.clear)
    client.ask("CloseSession", b"\x01")
    assert session.delete_subscriptions
    assert not hanging and len(wired.sessions) == 0 and not client.wire.gate.channel.sessions
    assert status_of(lambda: served(client)) == "BadSessionIdInvalid"
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


def test_without_its_session_a_connection_may_send_as_little_as_before(wired: Wired) -> None:
    client = wired.client()
    assert status_of(lambda: client.ask("Write", bytes(20_000))) == "BadServiceUnsupported"
    client.ask("CloseSession", b"\x01")
    client.post("Write", bytes(20_000))
    assert client.told() == "BadRequestTooLarge"


def test_a_client_says_whether_its_subscriptions_end_too(wired: Wired) -> None:
    for wish in (0, 1):
        client = wired.client()
        (session,) = wired.sessions
        client.ask("CloseSession", bytes([wish]))
        assert session.delete_subscriptions is bool(wish)


def test_connections_leave_nothing_behind(wired: Wired) -> None:
    channels = []
    for _ in range(5):
        client = wired.client("otto")
        channels.append(weakref.ref(client.wire.gate.channel))
        client.ask("CloseSession", b"\x01")
        client.wire.close()
        wired.turn()
        del client
    gc.collect()
    assert [channel() for channel in channels] == [None] * 5 and len(wired.link.gates) == 0


def test_those_who_want_to_know_are_told_of_each_session(wired: Wired) -> None:
    told: list[Any] = []
    wired.sessions.on_new.append(lambda session: told.append(("new", session.name)))
    wired.sessions.on_activated.append(lambda session, before: told.append(("activated", session.who.name, before and before.name)))
    wired.sessions.on_closed.append(lambda session: told.append(("closed", session.alive)))
    wired.sessions.on_refused.append(lambda asked, name, code, given: told.append((name, code, asked.channel.address)))
    client = wired.client("olga")
    status_of(lambda: client.activate("otto", "wrong"))
    client.activate("otto")
    client.ask("CloseSession", b"\x01")
    status_of(lambda: client.ask("CloseSession", b"\x01"))
    assert told == [
        ("new", "wired"),
        ("activated", "olga", None),
        ("ActivateSession", StatusCodes.BadUserAccessDenied, "127.0.0.1"),
        ("activated", "otto", "olga"),
        ("closed", False),
        ("CloseSession", StatusCodes.BadSessionIdInvalid, "127.0.0.1"),
    ]


def test_a_close_without_its_field_is_refused(wired: Wired) -> None:
    client = wired.client()
    assert status_of(lambda: client.ask("CloseSession", b"")) == "BadDecodingError"
    assert status_of(lambda: client.ask("Cancel", struct.pack("<H", 1))) == "BadDecodingError"
    assert served(client) and wired.clock.now() < S
