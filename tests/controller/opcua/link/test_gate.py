"""The door keeps what is too much outside, and lets nobody wait for somebody else."""

import struct
from typing import Any

import pytest
from asyncua import ua

from controller.opcua.asked import Asked
from controller.opcua.link.gate import MOST_CONNECTIONS, MOST_KEPT, MOST_OF_ADDRESS, MOST_PER_TURN, MOST_UNREAD
from tests.controller.opcua.link.conftest import ONE, reading, served
from tests.controller.opcua.wired import Raw, Wired, decoded


def let_in(client: Raw) -> bool:
    client.hello()
    return bool(client.chunks())


def test_there_is_room_for_so_many_connections_and_then_for_new_ones(wired: Wired) -> None:
    crowd = [wired.raw() for _ in range(MOST_CONNECTIONS + 20)]
    assert [let_in(client) for client in crowd] == [False] * 20 + [True] * MOST_CONNECTIONS  # the oldest have made room
    assert len(wired.link.gates) == MOST_CONNECTIONS
    wired.advance(11)
    assert len(wired.link.gates) == 0
    assert served(wired.client())


def test_one_address_does_not_get_all_the_room(wired: Wired) -> None:
    crowd = [wired.raw(address="10.0.0.1") for _ in range(MOST_OF_ADDRESS + 5)]
    assert sum(let_in(client) for client in crowd) == MOST_OF_ADDRESS
    assert let_in(wired.raw(address="10.0.0.2")) and let_in(wired.raw())


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_who_makes_no_use_of_a_connection_loses_it(wired: Wired, steps: int) -> None:
    client, other = wired.raw(), wired.client()
    for step in (client.hello, lambda: (client.chunks(), setattr(client, "sequence", 0)), lambda: None)[:steps]:
        step()
    if steps == 3:
        client = wired.raw()
        client.open()
        client.create()
    wired.advance(8)
    assert not client.wire.closed
    wired.advance(3)
    assert client.wire.closed and served(other)


def test_a_session_keeps_its_connection_and_its_end_ends_it(wired: Wired) -> None:
    client = wired.client()
    wired.advance(30)
    assert served(client)
    client.ask("CloseSession", b"\x01")
    wired.advance(12)
    assert client.wire.closed


def test_messages_split_and_glued_in_any_way_are_answered_in_order(wired: Wired) -> None:
    client = wired.client()
    wired.link.dispatch.offer({"Write": lambda asked: struct.pack("<I", asked.handle)})
    for size in (1, 7, 100, 10_000):
        sent: list[bytes] = []
        client.send = sent.append  # type: ignore[method-assign]
        numbers = [client.post("Write", b"") for _ in range(20)]
        del client.send
        whole = b"".join(sent)
        for at in range(0, len(whole), size):
            client.send(whole[at : at + size])
        answers = [client.answer(number)[-4:] for number in numbers]
        assert answers == [struct.pack("<I", number) for number in numbers]


def test_a_client_that_asks_much_at_once_lets_others_in_between(wired: Wired) -> None:
    order: list[Any] = []
    wired.link.dispatch.offer({"Write": lambda asked: order.append(asked.session) or b""})
    greedy, other = wired.client(), wired.client(name="thief")
    sent: dict[Raw, list[bytes]] = {}
    for client, count in ((greedy, 100), (other, 1)):
        sent[client] = []
        client.send = sent[client].append  # type: ignore[method-assign]
        for _ in range(count):
            client.post("Write", b"")

    async def both() -> None:
        for client in (greedy, other):
            client.wire.gate.data_received(b"".join(sent[client]))
        assert greedy.wire.paused and not other.wire.paused

    wired.run(both())
    for _ in range(20):
        wired.turn()
    assert len(order) == 101 and order.index(other.wire.gate.channel.sessions[0]) == MOST_PER_TURN
    assert not greedy.wire.paused


def test_nothing_more_is_served_to_who_does_not_take_the_answers(wired: Wired) -> None:
    served_to: list[int] = []

    def big(asked: Asked) -> bytes:
        served_to.append(asked.handle)
        return bytes(100_000)

    wired.link.dispatch.offer({"Write": big})
    client, other = wired.client(), wired.client(name="thief")
    client.wire.full = True
    for _ in range(200):
        client.post("Write", b"")
    wired.turn()
    assert len(served_to) <= MOST_UNREAD // 100_000 + 2 and client.wire.paused
    assert len(client.wire.out) < 2 * MOST_UNREAD and served(other)
    client.wire.drain()
    for _ in range(200):
        wired.turn()
        client.receive()
    assert len(served_to) == 200 and not client.wire.paused


def test_a_turn_ends_when_there_is_much_to_send(wired: Wired) -> None:
    sent: list[bytes] = []
    wired.link.dispatch.offer({"Write": lambda asked: bytes(100_000)})
    client = wired.client()
    client.send = sent.append  # type: ignore[method-assign]
    for _ in range(MOST_PER_TURN):
        client.post("Write", b"")

    async def at_once() -> int:
        client.wire.gate.data_received(b"".join(sent))
        return len(client.wire.out)

    assert MOST_UNREAD < wired.run(at_once()) < MOST_UNREAD + 101_000


def test_who_takes_no_answers_for_ten_seconds_is_cut_off(wired: Wired) -> None:
    wired.link.dispatch.offer({"Write": lambda asked: bytes(100_000)})
    client, other = wired.client(), wired.client(name="thief")
    client.wire.full = True
    for _ in range(5):
        client.post("Write", b"")
    wired.advance(8)
    assert not client.wire.closed
    wired.advance(3)
    assert client.wire.closed and served(other)


def test_who_does_not_take_the_last_word_either_is_gone_in_the_end(wired: Wired) -> None:
    client = wired.client()
    client.wire.full = True
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    wired.advance(5)
    assert client.wire.closed and len(wired.link.gates) == 1
    wired.advance(7)
    assert len(wired.link.gates) == 0


def test_what_is_answered_later_does_not_pile_up_either(wired: Wired) -> None:
    kept: list[Asked] = []
    wired.link.dispatch.offer({"Publish": lambda asked: kept.append(asked)})
    client = wired.client()
    client.post("Publish", b"")
    client.wire.full = True
    for _ in range(MOST_KEPT // 1_000_000 + 5):
        kept[0].reply(bytes(1_000_000))
    assert client.wire.closed and len(client.wire.out) <= MOST_KEPT + 1_100_000


def test_chunks_without_an_end_are_cut_off(wired: Wired) -> None:
    stranger, client = wired.raw(), wired.client()
    stranger.open(None)
    for raw, most in ((stranger, 16 * 1024), (client, 512 * 1024)):
        sent = 0
        while not (told := raw.told()) and sent < 2 * most:
            raw.send(raw.sealed(bytes(8_000), b"MSGC", 1))
            sent += 8_000
        assert told == "BadRequestTooLarge" and sent <= most + 8_000


def test_a_mistake_of_ours_at_the_door_ends_that_connection_alone(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(chunk: bytes, now: int) -> None:
        raise KeyError("ours")

    client, other = wired.client(), wired.client(name="thief")
    monkeypatch.setattr(client.wire.gate.channel, "take", broken)
    with pytest.raises(KeyError):
        client.post("Write", b"")
    assert client.wire.closed and served(other)


def test_when_the_server_ends_everyone_is_told(wired: Wired) -> None:
    told: list[Any] = []
    wired.link.terms.on_refused.append(lambda channel, why: told.append(why))
    clients = [wired.client(), wired.raw()]
    wired.link.gates.close()
    assert [client.told() for client in clients] == ["BadShutdown"] * 2 and not told


# ---- claims that cost nothing --------------------------------------------------------------------------------------------

HUGE = 2**31 - 1
VARIANTS: dict[str, bytes] = {
    "an array of Null": struct.pack("<Bi", 0x80, HUGE),
    "an array longer than the message": struct.pack("<Bi", 0x86, HUGE),
    "an array of negative length": struct.pack("<Bi", 0x86, -7),
    "a text longer than the message": struct.pack("<Bi", 12, HUGE),
    "nested Variants": bytes([24]) * 4000 + b"\x01\x01",
    "nested DiagnosticInfos": b"\x19" + b"\x40" * 4000 + b"\x00",
    "dimensions of more than there is": struct.pack("<Biiii", 0xC3, 0, 2, 1000, 1000),
    "an unknown type": b"\x3f",
}


def additional(variant: bytes) -> bytes:
    """An AdditionalHeader with a Variant in it."""
    pairs = struct.pack("<iHi", 1, 0, 1) + b"x" + variant
    kind = int(ua.ObjectIds.AdditionalParametersType_Encoding_DefaultBinary)
    return struct.pack("<BBHBi", 1, 0, kind, 1, len(pairs)) + pairs


def get_endpoints(more: bytes = b"\x00\x00\x00", rest: bytes = struct.pack("<iii", -1, -1, -1)) -> bytes:
    return struct.pack("<BBHBBqIIiI", 1, 0, 428, 0, 0, 0, 1, 0, -1, 0) + more + rest


@pytest.mark.parametrize("name", VARIANTS)
def test_a_header_before_any_session_is_refused_by_what_it_claims(wired: Wired, name: str) -> None:
    client, other = wired.raw(), wired.client()
    client.open(None)
    client.send(client.sealed(get_endpoints(additional(VARIANTS[name]))))
    assert client.told() in ("BadDecodingError", "BadEncodingLimitsExceeded")
    assert served(other)


@pytest.mark.parametrize("rest", [b"", struct.pack("<i", HUGE), struct.pack("<iii", -1, HUGE, -1), struct.pack("<iii", -1, -5, -1)])
def test_fields_of_a_request_are_refused_by_what_they_claim(wired: Wired, rest: bytes) -> None:
    client = wired.raw()
    client.open(None)
    number = 77
    client.send(client.sealed(get_endpoints(rest=rest), number=number))
    with pytest.raises(ua.UaStatusCodeError) as refused:
        decoded(client.answer(number))
    assert ua.StatusCode(refused.value.code).name in ("BadDecodingError", "BadEncodingLimitsExceeded")


def test_harmless_additional_headers_are_stepped_over(wired: Wired) -> None:
    client = wired.raw()
    client.open(None)
    for number, variant in enumerate((struct.pack("<Biiii", 0x86, 3, 1, 2, 3), bytes([24]) * 10 + b"\x01\x01", b"\x01\x01"), 1):
        client.send(client.sealed(get_endpoints(additional(variant)), number=number))
        assert b"Basic256Sha256" in client.answer(number)


@pytest.mark.parametrize("content", [b"", b"\x01\x00\xac\x01", bytes(23), b"\x7f" * 40, get_endpoints()[:30]])
def test_a_request_whose_header_cannot_be_read_ends_the_connection(wired: Wired, content: bytes) -> None:
    client = wired.client()
    client.send(client.sealed(content))
    assert client.told() in ("BadDecodingError", "BadEncodingLimitsExceeded")


def test_the_answer_to_a_read_is_what_the_service_gives(wired: Wired) -> None:
    client = wired.client()
    answer = client.ask_raw("Read", reading())
    assert answer.endswith(ONE) and len(answer) == len(ONE) + 28
