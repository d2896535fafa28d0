"""A channel's keys: how long they hold, and how the new ones take over from the old (Part 4 §5.5.2)."""

from collections.abc import Callable

import pytest

from controller.opcua.link.channel import Channel
from controller.opcua.link.policies import AES128, AES256, BASIC256SHA256
from tests.controller.opcua.link.conftest import ended, reading, served
from tests.controller.opcua.wired import SEALED, SIGN, Raw, Wired

LATER = bytes(range(32, 64))


def test_old_keys_hold_until_the_new_ones_are_used(wired: Wired) -> None:
    client = wired.client()
    old = client.ours, client.theirs, client.keys
    client.send(client.opening(renew=True, nonce=LATER))
    pending = client.chunks()
    assert served(client)  # still under the old keys, in both directions
    client.wire.out += b"".join(pending)
    client.opened(LATER)
    new = client.ours, client.theirs, client.keys
    assert new[2] != old[2]
    assert served(client)
    client.ours, client.theirs, client.keys = old
    client.post("Read", reading())
    assert ended(client) == "BadSecureChannelTokenUnknown"


def test_a_renewed_channel_keeps_its_sessions_client_policy_mode_and_number(wired: Wired) -> None:
    client = wired.client("otto", policy=AES128, mode=SIGN)
    number = client.channel
    client.renew(LATER)
    assert client.channel == number and served(client)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda c: setattr(c, "policy", AES256), "BadSecurityChecksFailed"),
        (lambda c: setattr(c, "mode", SIGN), "BadSecurityModeRejected"),
        (lambda c: setattr(c, "channel", c.channel + 1), "BadSecurityChecksFailed"),
        (lambda c: c.become("thief"), "BadSecurityChecksFailed"),
    ],
)
def test_a_renewal_changes_nothing_but_the_keys(wired: Wired, change: Callable[[Raw], None], code: str) -> None:
    client = wired.client()
    change(client)
    client.send(client.opening(renew=True, nonce=LATER))
    assert ended(client) == code


def test_a_nonce_is_not_taken_twice_nor_a_channel_opened_twice(wired: Wired) -> None:
    client, other = wired.client(), wired.client()
    client.send(client.opening(renew=True, nonce=client.fresh))
    assert ended(client) == "BadNonceInvalid"
    other.send(other.opening(nonce=LATER))
    assert ended(other) == "BadRequestTypeInvalid"


@pytest.mark.parametrize(("asked_ms", "told_ms"), [(0, 10_000), (60_000, 60_000), (2**32 - 1, 3_600_000)])
def test_a_token_lives_between_ten_seconds_and_an_hour(wired: Wired, asked_ms: int, told_ms: int) -> None:
    client = wired.raw()
    client.policy, client.mode = BASIC256SHA256, SEALED
    client.hello()
    client.chunks()
    client.send(client.opening(lifetime_ms=asked_ms))
    assert client.opened().SecurityToken.RevisedLifetime == told_ms


def test_a_channel_that_is_not_renewed_in_time_is_closed(wired: Wired) -> None:
    late, in_time = (wired.client(timeout_ms=600_000) for _ in range(2))
    for _ in range(8):
        wired.advance(10)
        in_time.renew(wired.clock.now().to_bytes(32, "little"))
        assert served(in_time)
    assert ended(late) == "BadSecureChannelClosed"


def test_not_even_in_the_second_before_it_is_swept_are_keys_taken_that_have_run_out(wired: Wired) -> None:
    client = wired.client(timeout_ms=600_000)
    wired.advance(74.5)
    channel: Channel = client.wire.gate.channel
    channel._token.expires = wired.clock.now()
    client.post("Read", reading())
    assert ended(client) == "BadSecureChannelTokenUnknown"


def test_who_is_no_longer_trusted_is_cut_off_with_all_sessions(wired: Wired) -> None:
    theirs, mine = wired.client(name="thief"), wired.client()
    wired.link.gates.close_untrusted(lambda client: client.der != theirs.der)
    assert ended(theirs) == "BadSecurityChecksFailed"
    assert len(wired.sessions) == 1 and served(mine)
