"""The codec alone, under CPython, against a model of the specification that works on whole requests."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware.alone import load

REGISTERS = 160
WRITABLE = range(16, 32)
REFUSED, BUSY = 17, 18  # first registers whose write the door refuses
IDENTITY = (b"Lockstep", b"node", b"0.1.0")

[codec] = load("codec")


class Bank:
    def __init__(self) -> None:
        self.size = REGISTERS
        self.view = memoryview(bytearray(k & 0xFF for k in range(2 * REGISTERS)))


class Door:
    """Takes writes to some registers, and remembers who wrote what."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.writes: list[tuple[int, int, bytes]] = []

    def writable(self, first: int, count: int) -> bool:
        return first in WRITABLE and first + count - 1 in WRITABLE

    def write(self, peer: int, first: int, data: memoryview) -> int:
        if first in (REFUSED, BUSY):
            return 4 if first == REFUSED else 6
        self.writes.append((peer, first, bytes(data)))
        self.bank.view[2 * first : 2 * first + len(data)] = data
        return 0


def expected(bank: Bank, unit: int, pdu: bytes) -> bytes:
    """The reply's PDU, from the specification's text."""
    function = pdu[0]
    refuse = bytes([function | 0x80])
    if unit not in (0, 1, 255):
        return refuse + b"\x0b"
    if function in (3, 4):
        if len(pdu) != 5 or not 1 <= struct.unpack(">H", pdu[3:])[0] <= 125:
            return refuse + b"\x03"
        first, count = struct.unpack(">HH", pdu[1:])
        if first + count > REGISTERS:
            return refuse + b"\x02"
        return bytes([function, 2 * count]) + bytes(bank.view[2 * first : 2 * (first + count)])
    if function in (6, 16):
        return expected_write(bank, pdu, refuse)
    if function == 0x2B:
        return expected_identification(pdu, refuse)
    return refuse + b"\x01"


def expected_write(bank: Bank, pdu: bytes, refuse: bytes) -> bytes:
    if len(pdu) < 5:
        return refuse + b"\x03"
    first, count = struct.unpack(">HH", pdu[1:5])
    data = pdu[3:]
    if pdu[0] == 16:
        if not 1 <= count <= 123 or len(pdu) != 6 + 2 * count or pdu[5] != 2 * count:
            return refuse + b"\x03"
        data = pdu[6:]
    else:
        count = 1
        if len(pdu) != 5:
            return refuse + b"\x03"
    if first not in WRITABLE or first + count - 1 not in WRITABLE:
        return refuse + b"\x02"
    if first in (REFUSED, BUSY):
        return refuse + (b"\x04" if first == REFUSED else b"\x06")
    bank.view[2 * first : 2 * first + len(data)] = data
    return pdu[:5]


def expected_identification(pdu: bytes, refuse: bytes) -> bytes:
    if len(pdu) < 2 or pdu[1] != 0x0E:
        return refuse + b"\x01"
    if len(pdu) != 4 or pdu[2] not in (1, 2, 3, 4):
        return refuse + b"\x03"
    code, number = pdu[2], pdu[3]
    if code == 4 and number >= 3:
        return refuse + b"\x02"
    wanted = range(number, number + 1) if code == 4 else range(number if number < 3 else 0, 3)
    objects = b"".join(bytes([k, len(IDENTITY[k])]) + IDENTITY[k] for k in wanted)
    return bytes([0x2B, 0x0E, code, 0x81, 0, 0, len(wanted)]) + objects


def session() -> tuple["codec.Session", Door]:
    bank = Bank()
    door = Door(bank)
    made = codec.Session(bank, door, IDENTITY)
    made.open(5)
    return made, door


def feed(made: "codec.Session", data: bytes) -> bytes:
    """What it sends for some bytes, however many `space` takes at a time."""
    sent = b""
    at = 0
    while at < len(data) and not made.broken:
        space = made.space()
        assert len(space) > 0
        count = min(len(space), len(data) - at)
        space[:count] = data[at : at + count]
        made.took(count)
        at += count
        while made.more:
            size = made.answer()
            assert 0 <= size <= len(made.outbox) == codec.OUTBOX
            sent += bytes(made.outbox[:size])
    return sent


def framed(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def replies(data: bytes) -> list[bytes]:
    """Whole replies, each well-formed."""
    found = []
    while data:
        assert len(data) >= 9
        _, protocol, length = struct.unpack(">HHH", data[:6])
        assert protocol == 0 and 3 <= length <= 254 and len(data) >= 6 + length
        found.append(data[: 6 + length])
        data = data[6 + length :]
    return found


words = st.integers(0, 0xFFFF)
near = st.one_of(st.integers(0, 40), st.integers(0, REGISTERS + 4), words)
counts = st.one_of(st.integers(0, 4), st.integers(120, 130), words)
reads = st.builds(lambda f, a, n: struct.pack(">BHH", f, a, n), st.sampled_from([3, 4]), near, counts)
singles = st.builds(lambda a, v: struct.pack(">BHH", 6, a, v), near, words)
multiples = st.builds(
    lambda a, n, b, d: struct.pack(">BHHB", 16, a, len(d) // 2 + n, len(d) + b & 0xFF) + d,
    near,
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([0, 0, 0, 1]),
    st.binary(max_size=246),
)
identifications = st.builds(lambda c, n: bytes([0x2B, 0x0E, c, n]), st.integers(0, 6), st.integers(0, 5))
pdus = st.one_of(reads, singles, multiples, identifications, st.binary(min_size=1, max_size=253))
requests = st.tuples(words, st.sampled_from([0, 1, 1, 1, 2, 255]), pdus)


@given(st.lists(requests, max_size=40), st.lists(st.integers(1, 700), max_size=60))
def test_every_request_gets_the_specifications_reply_however_the_bytes_are_split(
    asked: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    made, door = session()
    data = b"".join(framed(*request) for request in asked)
    sent = b""
    for size in [*cuts, len(data)]:
        sent += feed(made, data[:size])
        data = data[size:]
    model = Bank()
    assert replies(sent) == [framed(t, unit, expected(model, unit, pdu)) for t, unit, pdu in asked]
    assert not made.broken
    assert bytes(door.bank.view) == bytes(model.view)
    assert all(peer == 5 for peer, _, _ in door.writes)


@given(st.lists(st.binary(max_size=600), max_size=12))
def test_no_bytes_make_it_raise_and_what_it_sends_is_well_formed(pieces: list[bytes]) -> None:
    made, _ = session()
    for piece in pieces:
        replies(feed(made, piece))


lies = st.one_of(
    st.tuples(st.integers(1, 0xFFFF), st.integers(0, 0xFFFF)),
    st.tuples(st.just(0), st.one_of(st.sampled_from([0, 1, 255]), st.integers(255, 0xFFFF))),
)


@given(st.lists(requests, max_size=5), words, lies, st.binary(max_size=300))
def test_a_lying_header_ends_the_connection_after_the_replies_that_are_due(
    asked: list[tuple[int, int, bytes]], transaction: int, lie: tuple[int, int], rest: bytes
) -> None:
    made, _ = session()
    honest = b"".join(framed(*request) for request in asked)
    sent = feed(made, honest + struct.pack(">HHHB", transaction, *lie, 1) + rest)
    assert made.broken
    assert len(replies(sent)) == len(asked)


@given(st.lists(requests, max_size=5), st.binary(min_size=1, max_size=40))
def test_a_place_is_as_new_for_the_next_client(asked: list[tuple[int, int, bytes]], left: bytes) -> None:
    made, door = session()
    feed(made, left)
    made.open(6)
    fresh, _ = session()
    door.bank.view[:] = Bank().view
    data = b"".join(framed(*request) for request in asked)
    assert feed(made, data) == feed(fresh, data)


def test_the_longest_requests_and_replies_fit() -> None:
    made, _ = session()
    made._bank.size = 1000
    made._bank.view = memoryview(bytes(2000))
    for count in range(1, 126):
        data = framed(1, 1, struct.pack(">BHH", 3, 0, count)) + framed(1, 1, struct.pack(">BHH", 3, 0, 125)) * 5
        assert [len(reply) for reply in replies(feed(made, data))] == [9 + 2 * count] + [259] * 5


@pytest.mark.parametrize("length", [2, 254])
def test_the_limits_of_the_length_are_inside(length: int) -> None:
    made, _ = session()
    sent = feed(made, framed(9, 1, bytes(length - 1)))
    assert replies(sent) == [framed(9, 1, b"\x80\x01")] and not made.broken
