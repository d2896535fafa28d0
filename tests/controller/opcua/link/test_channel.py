"""What may come when over a connection, and what becomes of the rest: nothing, and the connection's end."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.encoding import octets, string
from controller.opcua.link.channel import EXPECTED, MOST_SEALED, Channel, Stage
from controller.opcua.link.policies import BASIC256SHA256, NONE_URI, POLICIES
from controller.opcua.link.purses import MOST_ADDRESSES, Purse, Purses
from tests.controller.opcua.link.conftest import ended, reading, served
from tests.controller.opcua.wired import SEALED, SIGN, Raw, Wired
from twin.clock import MS, Ns, S

HUGE = 2**31 - 1
KINDS = st.sampled_from([b"HELF", b"OPNF", b"MSGF", b"MSGC", b"MSGA", b"CLOF"])


def test_channels_open_by_three_policies_in_two_modes(wired: Wired) -> None:
    for policy in POLICIES.values():
        for mode in (SIGN, SEALED):
            client = wired.client("otto", policy=policy, mode=mode)
            channel = client.wire.gate.channel
            assert (channel.policy, channel.mode, channel.client.der) == (policy, mode, client.der)
            assert served(client)
            wired.advance(0.1)


# ---- the table of stages -------------------------------------------------------------------------------------------------


def at_stage(wired: Wired, stage: Stage) -> Raw:
    client = wired.raw()
    if stage is not Stage.NEW:
        client.hello()
    if stage is Stage.OPEN:
        client.send(client.opening())
    return client


@pytest.mark.parametrize("stage", [Stage.NEW, Stage.GREETED, Stage.OPEN])
@pytest.mark.parametrize("kind", [b"HEL", b"OPN", b"MSG", b"CLO"])
def test_what_a_stage_does_not_expect_ends_the_connection_unread(wired: Wired, stage: Stage, kind: bytes) -> None:
    if kind in EXPECTED[stage]:
        return
    client = at_stage(wired, stage)
    client.send(kind + b"F" + struct.pack("<I", 64) + b"\xff" * 56)
    assert ended(client) == "BadTcpMessageTypeInvalid"


def test_after_its_end_nothing_is_expected() -> None:
    assert EXPECTED[Stage.CLOSED] == () and set(EXPECTED) == set(Stage)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(KINDS, st.binary(max_size=80)), max_size=4))
def test_whatever_strangers_send_they_get_no_further(sent: list[tuple[bytes, bytes]]) -> None:
    with Wired() as wired:
        client = wired.raw()
        for kind, body in sent:
            client.send(kind + struct.pack("<I", len(body) + 8) + body)
        assert client.wire.gate.channel.stage in (Stage.NEW, Stage.GREETED, Stage.OPEN, Stage.CLOSED)
        assert client.wire.gate.channel.client is None and not len(wired.sessions)


# ---- greeting ------------------------------------------------------------------------------------------------------------


def test_buffers_and_limits_are_agreed_on(wired: Wired) -> None:
    client = wired.raw()
    client.hello(receive=10_000, send=100_000)
    (answer,) = client.chunks()
    version, receive, send, message, chunks = struct.unpack_from("<IIIII", answer, 8)
    assert (version, receive, send) == (0, 65_535, 10_000) and message > 65_535 and chunks > 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (struct.pack("<IIIIIi", 0, 8_191, 65_535, 0, 0, -1), "BadTcpInternalError"),
        (struct.pack("<IIIIIi", 0, 65_535, 1, 0, 0, -1), "BadTcpInternalError"),
        (struct.pack("<IIIIIi", 0, 65_535, 65_535, 0, 0, HUGE), "BadDecodingError"),
        (struct.pack("<IIIIIi", 0, 65_535, 65_535, 0, 0, 4_097) + bytes(4_097), "BadTcpEndpointUrlInvalid"),
        (b"", "BadDecodingError"),
    ],
)
def test_a_greeting_without_sense_is_refused(wired: Wired, body: bytes, code: str) -> None:
    client = wired.raw()
    client.send(b"HELF" + struct.pack("<I", 8 + len(body)) + body)
    assert ended(client) == code


# ---- opening -------------------------------------------------------------------------------------------------------------


def header(client: Raw, policy: str | None = None, certificate: bytes | None = None, thumbprint: bytes | None = None) -> bytes:
    """A security header with something of its own."""
    whose = client.der if certificate is None else certificate
    mine = client.wired.own.thumbprint if thumbprint is None else thumbprint
    return string(BASIC256SHA256.uri if policy is None else policy) + octets(whose) + octets(mine)


def refused(client: Raw, **options: Any) -> str:
    """How an opening is refused."""
    client.policy, client.mode = options.pop("policy", BASIC256SHA256), options.pop("mode", SEALED)
    client.hello()
    client.chunks()
    client.send(client.opening(**options))
    return ended(client)


OPENINGS: dict[str, tuple[Callable[[Raw], str], str]] = {
    "a policy of old": (
        lambda c: refused(c, security=header(c, "http://opcfoundation.org/UA/SecurityPolicy#Basic256")),
        "BadSecurityPolicyRejected",
    ),
    "no policy at all": (lambda c: refused(c, security=header(c, "")), "BadSecurityPolicyRejected"),
    "no certificate": (lambda c: refused(c, security=header(c, certificate=b"")), "BadSecurityChecksFailed"),
    "a broken certificate": (lambda c: refused(c, security=header(c, certificate=b"0" * 64)), "BadCertificateInvalid"),
    "another one's certificate": (
        lambda c: refused(c, security=header(c, certificate=c.wired.own.der)),
        "BadSecurityChecksFailed",
    ),
    "not for our certificate": (lambda c: refused(c, security=header(c, thumbprint=bytes(20))), "BadCertificateInvalid"),
    "for no certificate": (lambda c: refused(c, security=header(c, thumbprint=b"")), "BadCertificateInvalid"),
    "no mode": (lambda c: refused(c, mode=ua.MessageSecurityMode.Invalid), "BadSecurityModeRejected"),
    "a policy without a mode": (lambda c: refused(c, mode=ua.MessageSecurityMode.None_), "BadSecurityModeRejected"),
    "a mode without a policy": (lambda c: refused(c, policy=None, mode=SEALED), "BadSecurityModeRejected"),
    "a short nonce": (lambda c: refused(c, nonce=bytes(31)), "BadNonceInvalid"),
    "a long nonce": (lambda c: refused(c, nonce=bytes(33)), "BadNonceInvalid"),
    "no nonce": (lambda c: refused(c, nonce=b""), "BadNonceInvalid"),
    "a renewal of nothing": (lambda c: refused(c, renew=True), "BadRequestTypeInvalid"),
}


@pytest.mark.parametrize("name", OPENINGS)
def test_an_opening_that_does_not_fit_ends_the_connection(wired: Wired, name: str) -> None:
    attempt, code = OPENINGS[name]
    assert attempt(wired.raw()) == code
    assert served(wired.client())


def _opening(security: bytes, sealed: bytes = b"") -> bytes:
    return b"OPNF" + struct.pack("<II", 12 + len(security) + len(sealed), 0) + security + sealed


@pytest.mark.parametrize(
    "content",
    [
        _opening(struct.pack("<i", HUGE)),
        _opening(struct.pack("<i", -8) + bytes(8)),
        _opening(string(BASIC256SHA256.uri) + struct.pack("<i", HUGE)),
        _opening(string(BASIC256SHA256.uri) + struct.pack("<ii", -1, -1), bytes(MOST_SEALED + 1)),
        _opening(string(NONE_URI) + struct.pack("<ii", -1, -1), bytes(4)),
        _opening(string(NONE_URI) + struct.pack("<ii", -1, -1), b"\xff" * 200),
        _opening(string("x" * 9_000)),
    ],
)
def test_an_opening_without_sense_ends_the_connection(wired: Wired, content: bytes) -> None:
    client = wired.raw()
    client.hello()
    client.chunks()
    client.send(content)
    assert ended(client).startswith("Bad")


class Counting:
    """A private key that counts what it is asked for."""

    def __init__(self, key: Any) -> None:
        self.key, self.key_size, self.used = key, key.key_size, 0

    def decrypt(self, *given: Any) -> bytes:
        self.used += 1
        return bytes(self.key.decrypt(*given))

    def sign(self, *given: Any) -> bytes:
        self.used += 1
        return bytes(self.key.sign(*given))


def counting(wired: Wired) -> Counting:
    """The server's private key, watched."""
    made = Counting(wired.own.key)
    object.__setattr__(wired.own, "key", made)
    return made


def test_nothing_of_a_stranger_is_deciphered(wired: Wired) -> None:
    key = counting(wired)
    wired.trust.banned.add(wired.raw("stranger").der)
    assert refused(wired.raw("stranger")) == "BadSecurityChecksFailed"
    assert key.used == 0


def test_nothing_that_is_longer_than_it_need_be_is_deciphered(wired: Wired) -> None:
    key, client = counting(wired), wired.raw()
    client.hello()
    client.chunks()
    client.send(_opening(header(client), bytes(MOST_SEALED + 256)))
    assert ended(client) == "BadTcpMessageTooLarge" and key.used == 0


def test_what_the_private_key_does_in_a_second_is_bounded_however_many_ask(wired: Wired) -> None:
    key = counting(wired)
    told = [refused(wired.raw(address=f"10.0.0.{number % 9}"), nonce=b"") for number in range(160)]
    assert set(told) == {"BadNonceInvalid", "BadTcpNotEnoughResources"}
    assert key.used <= 400  # each is a millisecond: EVERYONE_MS
    wired.advance(4)
    assert served(wired.client())


def test_one_address_does_not_spend_what_others_need() -> None:
    purses, now, each = Purses(), Ns(0), Ns(10 * MS)

    def spend(address: str) -> bool:
        return purses.spend(Purse(Ns(S)), address, each, now)

    assert [spend("10.0.0.1") for _ in range(12)] == [True] * 10 + [False] * 2
    assert spend("10.0.0.2") and spend("127.0.0.1")
    for number in range(MOST_ADDRESSES + 50):
        spend(f"10.1.{number // 250}.{number % 250}")
    assert len(purses._addresses) <= MOST_ADDRESSES


def test_a_channel_may_not_be_renewed_without_end(wired: Wired) -> None:
    client = wired.client()
    with pytest.raises(AssertionError, match="ERRF"):
        for number in range(100):
            client.renew(struct.pack("<I", number) * 8)


# ---- messages ------------------------------------------------------------------------------------------------------------

MESSAGES: dict[str, tuple[Callable[[Raw], Any], str]] = {
    "another channel": (lambda c: setattr(c, "channel", c.channel + 1), "BadTcpSecureChannelUnknown"),
    "unknown keys": (lambda c: setattr(c, "keys", 99), "BadSecureChannelTokenUnknown"),
    "a number left out": (lambda c: setattr(c, "sequence", c.sequence + 1), "BadSequenceNumberInvalid"),
    "a number again": (lambda c: setattr(c, "sequence", c.sequence - 1), "BadSequenceNumberInvalid"),
    "the number's beginning anew before its end": (lambda c: setattr(c, "sequence", 0), "BadSequenceNumberInvalid"),
    "no keys": (lambda c: setattr(c, "ours", at_stage(c.wired, Stage.NEW).ours), "BadSecurityChecksFailed"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_that_does_not_belong_ends_the_connection(wired: Wired, name: str) -> None:
    change, code = MESSAGES[name]
    client, other = wired.client(), wired.client()
    change(client)
    client.post("Read", reading())
    assert ended(client) == code
    assert served(other)


def test_a_recorded_message_is_worth_nothing(wired: Wired) -> None:
    client = wired.client()
    recorded = client.wire.gate.data_received
    sent: list[bytes] = []
    client.wire.gate.data_received = lambda data: (sent.append(data), recorded(data))[1]  # type: ignore[method-assign]
    assert served(client)
    client.send(sent[0])
    assert ended(client) in ("BadSequenceNumberInvalid", "BadSecurityChecksFailed")


def test_sequence_numbers_wrap_in_both_directions(wired: Wired) -> None:
    client = wired.client()
    channel: Channel = client.wire.gate.channel
    client.sequence = channel._heard = 2**32 - 3
    channel._sent = 2**32 - 1026
    numbers = []
    for _ in range(5):
        if client.sequence == 2**32 - 1:
            client.sequence = -1
        number = client.post("Read", reading())
        (chunk,) = client.chunks()
        numbers.append(struct.unpack_from("<I", client.theirs.open(chunk))[0])
        assert number == client.number
    assert numbers == [2**32 - 1025, 2**32 - 1024, 1, 2, 3]


def test_a_request_and_an_answer_of_many_chunks_are_whole(wired: Wired) -> None:
    wired.link.dispatch.offer({"Write": lambda asked: asked.content[asked.at :]})
    client = wired.raw()
    client.open(receive=8_192)
    client.create()
    client.activate()
    content = bytes(range(256)) * 1000
    number = client.post("Write", content)
    sizes = [struct.unpack_from("<I", client.wire.out, 4)[0]]
    answer = client.answer(number)
    assert answer.endswith(content) and max(sizes) <= 8_192


@pytest.mark.parametrize(("most", "chunks"), [(10_000, 0), (0, 1)])
def test_an_answer_that_the_client_cannot_take_is_not_sent(wired: Wired, most: int, chunks: int) -> None:
    wired.link.dispatch.offer({"Write": lambda asked: bytes(70_000)})
    client = wired.raw()
    client.open(most=most, chunks=chunks)
    client.create()
    client.activate()
    with pytest.raises(ua.UaStatusCodeError) as too_large:
        client.ask("Write")
    assert too_large.value.code == StatusCodes.BadResponseTooLarge
    assert served(client)


def test_closing_a_channel_ends_the_connection(wired: Wired) -> None:
    client = wired.client()
    client.send(client.sealed(struct.pack("<BBH", 1, 0, 452) + bytes(30), b"CLOF"))
    assert ended(client) == ""


def test_those_who_want_to_know_are_told_of_each_channel_once(wired: Wired) -> None:
    told: list[tuple[str, Any]] = []
    terms = wired.link.terms
    terms.on_opened.append(lambda channel: told.append(("opened", channel.number)))
    terms.on_closed.append(lambda channel: told.append(("closed", channel.number)))
    terms.on_refused.append(lambda channel, why: told.append(("refused", why.code)))
    client = wired.client()
    client.renew(bytes(range(32, 64)))
    client.keys = 99
    client.post("Read", reading())
    assert ended(client) == "BadSecureChannelTokenUnknown"
    assert told == [("opened", client.channel), ("refused", StatusCodes.BadSecureChannelTokenUnknown), ("closed", client.channel)]
