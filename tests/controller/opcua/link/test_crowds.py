"""A crowd that has not proven who it is takes nothing from those who have: no place, no time, no key, no room."""

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import pytest
from asyncua import ua

from controller.opcua.asked import Asked
from controller.opcua.certificate import TOOLS
from controller.opcua.encoding import octets, string
from controller.opcua.link import gate
from controller.opcua.link.gate import HASTE, MOST_CONNECTIONS
from controller.opcua.link.handshake import LONGEST_NAME, MOST_URLS
from controller.opcua.link.line import TURN, Line
from controller.opcua.link.policies import BASIC256SHA256
from controller.opcua.link.purses import CLAIMED_MS, EVERYONE_MS, MOST_ADDRESSES, RESERVE_MS, Many
from controller.opcua.link.terms import MOST_NONCES, MOST_OPENERS, Nonces
from tests.controller.opcua.link.conftest import ended, served
from tests.controller.opcua.wired import SEALED, Raw, Wired
from twin.clock import MS, Ns, S

# ---- places --------------------------------------------------------------------------------------------------------------


def test_silent_connections_of_this_computer_keep_no_client_out(wired: Wired) -> None:
    old, sealed = wired.client("otto"), wired.raw("other")
    sealed.open()
    for _ in range(3):
        silent = [wired.raw() for _ in range(MOST_CONNECTIONS)]
        assert served(wired.client()) and len(wired.link.gates) == MOST_CONNECTIONS
    assert served(old) and not sealed.wire.closed and silent[0].wire.closed
    wired.advance(HASTE / S + 1.5)
    assert len(wired.link.gates) == 5 and served(old)


def test_who_has_a_session_makes_room_for_nobody(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MOST_CONNECTIONS", 3)
    clients = [wired.client() for _ in range(3)]
    assert wired.raw().wire.closed and all(served(client) for client in clients)


# ---- time ----------------------------------------------------------------------------------------------------------------


class Ticking:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.time = 0

    def now(self) -> Ns:
        """The time."""
        return Ns(self.time)

    async def until(self, due: Ns) -> None:
        """Nothing here waits."""
        raise AssertionError(due)


class Greedy:
    """A connection with so many requests of a millisecond."""

    def __init__(self, clock: Ticking, count: int) -> None:
        self.clock, self.left = clock, count

    def step(self) -> bool:
        """Serve one."""
        self.clock.time += MS
        self.left -= 1
        return self.left > 0


def test_a_crowd_without_sessions_has_five_milliseconds_of_each_turn_in_all() -> None:
    soon: list[Callable[[], None]] = []
    clock = Ticking()
    line, crowd = Line(clock), [Greedy(clock, 4) for _ in range(60)]
    for one in crowd:
        line.join(one, soon.append)
    assert clock.time <= TURN and len(line) == 60
    spent = []
    while soon:
        before, due, soon[:] = clock.time, list(soon), []
        for call in due:
            call()
        spent.append(clock.time - before)
        if len(spent) == 24:  # each has been served about as often as any other
            assert {one.left for one in crowd} <= {1, 2, 3}
    assert max(spent) <= TURN and clock.time == 240 * MS and not len(line)


def test_strangers_who_send_much_at_once_are_answered_in_turns(wired: Wired) -> None:
    order: list[Any] = []

    def note(asked: Asked) -> bytes:
        order.append(asked.channel)
        return b""

    wired.link.dispatch.offer({"FindServers": note})
    strangers: list[Raw] = []
    for _ in range(2):
        strangers.append(wired.raw())
        strangers[-1].open(None)

    async def both() -> None:
        for one in strangers:
            whole = struct.pack("<BBHBBqIIiI", 1, 0, 422, 0, 0, 0, 1, 0, -1, 0) + b"\0\0\0" + struct.pack("<iii", -1, -1, -1)
            one.wire.gate.data_received(b"".join(one.sealed(whole) for _ in range(5)))
        for _ in range(20):
            await asyncio.sleep(0)

    wired.run(both())
    assert len(order) == 10 and len(set(order[:3])) == 2 and not strangers[0].wire.paused


# ---- the private key -----------------------------------------------------------------------------------------------------


def junk(wired: Wired, claimed: bytes) -> str:
    """What becomes of bytes that claim to be a client's."""
    evil = wired.raw("evil")
    evil.hello()
    evil.chunks()
    body = string(BASIC256SHA256.uri) + octets(claimed) + octets(wired.own.thumbprint) + b"\x55" * 2_048
    evil.send(b"OPNF" + struct.pack("<II", 12 + len(body), 0) + body)
    return ended(evil)


def test_who_claims_to_be_a_client_keeps_neither_it_from_going_on_nor_others_out(wired: Wired) -> None:
    client = wired.client()
    told = [junk(wired, client.der) for _ in range(60)]
    assert told[0] == "BadSecurityChecksFailed" and told[-1] == "BadTcpNotEnoughResources"
    client.renew(bytes(range(32)))
    client.create()
    client.activate("otto")
    assert served(client) and served(wired.client(name="other"))
    wired.advance(1)
    assert served(wired.client())


def test_claims_of_many_clients_leave_the_reserve_alone(wired: Wired) -> None:
    client = wired.client("otto")
    purses, now = wired.link.terms.purses, wired.clock.now()
    lent = sum(purses.lend(Many(1_000).of((), now), "127.0.0.1", Ns(10 * MS), now, f"{number}") for number in range(200))
    assert lent <= (EVERYONE_MS - RESERVE_MS) // 10
    client.renew(bytes(range(32)))
    client.create()
    client.activate("otto")
    assert served(client)


@pytest.mark.parametrize("shared", [True, False])
def test_fifty_clients_come_in_at_once_with_passwords(wired: Wired, shared: bool) -> None:
    for number in range(50):
        if shared or number < 3:
            assert served(wired.client("otto", name="client" if shared else f"one-{number}"))
            continue
        purses, now = wired.link.terms.purses, wired.clock.now()
        own, operations = Many(CLAIMED_MS).of((), now), wired.own.cost
        assert purses.lend(own, "127.0.0.1", Ns(3 * operations), now, f"{number}")
        purses.proven("127.0.0.1", Ns(3 * operations), now, f"{number}")
        assert all(purses.spend(own, "127.0.0.1", operations, now, f"{number}") for _ in range(2))


def test_purses_are_bounded_in_number() -> None:
    many = Many(10)
    for number in range(MOST_ADDRESSES + 100):
        many.of((f"{number}",), Ns(0)).take(1)
    assert len(many) == MOST_ADDRESSES


def test_a_recorded_opening_is_not_answered(wired: Wired) -> None:
    client = wired.raw()
    client.policy, client.mode = BASIC256SHA256, SEALED
    client.hello()
    client.chunks()
    recorded = client.opening()
    client.send(recorded)
    client.opened()
    for _ in range(3):
        evil = wired.raw("evil")
        evil.hello()
        evil.chunks()
        evil.send(recorded)
        assert ended(evil) == "BadNonceInvalid"
    assert served(wired.client())


def test_what_is_remembered_of_openings_is_bounded() -> None:
    nonces = Nonces()
    for client in range(MOST_OPENERS + 10):
        assert nonces.new(f"{client}", b"first") and not nonces.new(f"{client}", b"first")
    for number in range(MOST_NONCES + 10):
        assert nonces.new("busy", struct.pack("<I", number))
    assert len(nonces._of) == MOST_OPENERS and len(nonces._of["busy"]) == MOST_NONCES
    assert not nonces.new("busy", struct.pack("<I", 10)) and not nonces.new("200", b"first")


# ---- room ----------------------------------------------------------------------------------------------------------------


def test_of_those_who_take_no_answers_who_has_most_is_cut_off_before_it_is_too_much(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MOST_KEPT_IN_ALL", 3_000_000)
    kept: dict[int, Asked] = {}
    wired.link.dispatch.offer({"Publish": lambda asked: kept.update({id(asked.channel): asked})})
    clients = [wired.client() for _ in range(4)]
    for client in clients:
        client.post("Publish", b"")
        client.wire.full = True
    for size, client in zip((900_000, 1_200_000, 800_000, 700_000), clients, strict=True):
        kept[id(client.wire.gate.channel)].reply(bytes(size))
    assert [client.wire.closed for client in clients] == [False, True, False, False]


def test_a_client_that_tells_much_of_itself_is_kept_in_brief(wired: Wired) -> None:
    client = wired.raw()
    client.open()
    told = ua.ApplicationDescription(ApplicationUri=TOOLS, ProductUri="p" * 1_000)
    told.ApplicationName, told.DiscoveryUrls = ua.LocalizedText("n" * 3_000, "en"), ["u" * 100] * 50 + ["v" * 300]
    client.create(ClientDescription=told, EndpointUrl="opc.tcp://" + "e" * 2_000)
    (session,) = wired.sessions
    kept = session.description
    assert (kept.ApplicationUri, kept.ApplicationName.Text) == (TOOLS, "n" * LONGEST_NAME)
    assert kept.DiscoveryUrls == ["u" * 100] * MOST_URLS and len(session.endpoint_url) == len(kept.ProductUri) == LONGEST_NAME
