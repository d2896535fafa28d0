"""The codec behind TCP's framing, under CPython, against a model of the specification that works on whole requests."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware.alone import load

REGISTERS = 160
WRITABLE = range(16, 32)
REFUSED, BUSY = 17, 18  # first registers whose write the door refuses
IDENTITY = (b"Lockstep", b"node", b"0.1.0")
UNIT = 7

codec, modbus = load("codec", "modbus")


class Bank:
    def __init__(self) -> None:
        self.size = REGISTERS
        self.bytes = bytearray(k & 0xFF for k in range(2 * REGISTERS))
        self.view = memoryview(self.bytes)


class Door:
    """Takes writes to some registers, and remembers who wrote what."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.writes: list[tuple[int, int, bytes]] = []

    def writable(self, first: int, count: int) -> bool:
        return first in WRITABLE and first + count - 1 in WRITABLE

    def write(self, peer: int, first: int, data: memoryview, touched: tuple[int, int, int] | None) -> int:
        self.touched = touched
        if first in (REFUSED, BUSY):
            return 4 if first == REFUSED else 6
        self.writes.append((peer, first, bytes(data)))
        self.bank.view[2 * first : 2 * first + len(data)] = data
        return 0


class Refused(Exception):
    """The specification's exception code."""


class Model:
    """What a node says, from the specification's text, with every register and every bit a number of its own."""

    def __init__(self) -> None:
        self.words = [struct.unpack(">H", bytes([2 * k & 0xFF, 2 * k + 1 & 0xFF]))[0] for k in range(REGISTERS)]
        self.bus = self.served = self.exceptions = self.busy = 0

    def reply(self, unit: int, pdu: bytes) -> bytes:
        self.bus += 1
        function = pdu[0]
        if unit not in (0, UNIT, 255):
            return bytes([function | 0x80, 11])
        self.served += 1
        try:
            return bytes([function]) + self.judged(function, pdu[1:])
        except Refused as refused:
            self.exceptions += 1
            self.busy += refused.args[0] == 6
            return bytes([function | 0x80, refused.args[0]])

    def judged(self, function: int, asked: bytes) -> bytes:
        match function:
            case 1 | 2:
                return self.read_bits(asked)
            case 3 | 4:
                first, count = unpacked(">HH", asked)
                need(1 <= count <= 125, 3)
                return self.read(first, count)
            case 5:
                first, value = unpacked(">HH", asked)
                need(value in (0, 0xFF00), 3)
                self.write_bits(first, [value == 0xFF00])
                return asked
            case 6:
                first, value = unpacked(">HH", asked)
                self.write(first, [value])
                return asked
            case 8:
                return self.diagnose(asked)
            case 15:
                return self.write_many_bits(asked)
            case 16:
                first, words = listed(asked, 123)
                self.write(first, words)
                return asked[:4]
            case 22:
                first, keep, change = unpacked(">HHH", asked)
                need(first < REGISTERS, 2)
                self.write(first, [self.words[first] & keep | change & (keep ^ 0xFFFF)])
                return asked
            case 23:
                need(len(asked) >= 9, 3)
                first, count = struct.unpack(">HH", asked[:4])
                need(1 <= count <= 125, 3)
                into, words = listed(asked[4:], 121)
                need(first + count <= REGISTERS, 2)
                self.write(into, words)
                return self.read(first, count)
            case 0x2B:
                return identified(asked)
        raise Refused(1)

    def read(self, first: int, count: int) -> bytes:
        need(first + count <= REGISTERS, 2)
        return bytes([2 * count]) + struct.pack(f">{count}H", *self.words[first : first + count])

    def write(self, first: int, words: list[int]) -> None:
        need(first in WRITABLE and first + len(words) - 1 in WRITABLE, 2)
        need(first != REFUSED, 4)
        need(first != BUSY, 6)
        self.words[first : first + len(words)] = words

    def read_bits(self, asked: bytes) -> bytes:
        first, count = unpacked(">HH", asked)
        need(1 <= count <= 2000, 3)
        need(first + count <= 16 * REGISTERS, 2)
        bits = [self.words[k // 16] >> k % 16 & 1 for k in range(first, first + count)]
        bits += [0] * (-count % 8)
        return bytes([len(bits) // 8]) + bytes(sum(bits[k + b] << b for b in range(8)) for k in range(0, len(bits), 8))

    def write_bits(self, first: int, bits: list[bool]) -> None:
        last = first + len(bits) - 1
        need(last < 16 * REGISTERS, 2)
        words = [self.words[k] for k in range(first // 16, last // 16 + 1)]
        for k, bit in enumerate(bits, first % 16):
            words[k // 16] = words[k // 16] & ~(1 << k % 16) | bit << k % 16
        self.write(first // 16, words)

    def write_many_bits(self, asked: bytes) -> bytes:
        need(len(asked) >= 5, 3)
        first, count, size = struct.unpack(">HHB", asked[:5])
        need(1 <= count <= 1968 and size == -(-count // 8) and len(asked) == 5 + size, 3)
        self.write_bits(first, [bool(asked[5 + k // 8] >> k % 8 & 1) for k in range(count)])
        return asked[:4]

    def diagnose(self, asked: bytes) -> bytes:
        need(len(asked) >= 2, 3)
        (what,) = struct.unpack(">H", asked[:2])
        need(what == 0 or 10 <= what <= 18, 1)
        if what == 0:
            need(len(asked) >= 4 and len(asked) % 2 == 0, 3)
            return asked
        need(asked[2:] == bytes(2), 3)
        if what == 10:
            self.bus = self.served = self.exceptions = self.busy = 0
            return asked
        counts = {11: self.bus, 13: self.exceptions, 14: self.served, 17: self.busy}
        return asked[:2] + struct.pack(">H", counts.get(what, 0))


def need(true: bool, code: int) -> None:
    if not true:
        raise Refused(code)


def unpacked(form: str, asked: bytes) -> tuple[int, ...]:
    need(len(asked) == struct.calcsize(form), 3)
    return struct.unpack(form, asked)


def listed(asked: bytes, most: int) -> tuple[int, list[int]]:
    """Where to, and what: quantity and number of bytes must agree."""
    need(len(asked) >= 5, 3)
    first, count, size = struct.unpack(">HHB", asked[:5])
    need(1 <= count <= most and size == 2 * count and len(asked) == 5 + size, 3)
    return first, list(struct.unpack(f">{count}H", asked[5:]))


def identified(asked: bytes) -> bytes:
    need(asked[:1] == b"\x0e", 1)
    need(len(asked) == 3 and asked[1] in (1, 2, 3, 4), 3)
    code, number = asked[1], asked[2]
    need(code != 4 or number < 3, 2)
    wanted = range(number, number + 1) if code == 4 else range(number if number < 3 else 0, 3)
    objects = b"".join(bytes([k, len(IDENTITY[k])]) + IDENTITY[k] for k in wanted)
    return bytes([0x0E, code, 0x81, 0, 0, len(wanted)]) + objects


def session() -> tuple["modbus.Connection", Door]:
    bank = Bank()
    door = Door(bank)
    made = modbus.Connection(codec.Codec(bank, door, IDENTITY, UNIT))
    made.open(5, None)
    return made, door


def feed(made: "modbus.Connection", data: bytes) -> bytes:
    """What it sends for some bytes, however many `space` takes at a time."""
    sent = b""
    at = 0
    outbox = made._codec.outbox
    while at < len(data) and not made.broken:
        space = made.space()
        assert len(space) > 0
        count = min(len(space), len(data) - at)
        space[:count] = data[at : at + count]
        made.took(count)
        at += count
        while made.more:
            size = made.answer()
            assert 0 <= size <= len(outbox) == codec.OUTBOX
            sent += bytes(outbox[:size])
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
near_bits = st.one_of(
    st.integers(304, 500), st.integers(304, 500), st.integers(240, 530), st.integers(0, 16 * REGISTERS + 20), words
)
counts = st.one_of(st.integers(0, 4), st.integers(120, 130), words)
bit_counts = st.one_of(st.integers(0, 40), st.integers(1960, 2010), words)
reads = st.builds(lambda f, a, n: struct.pack(">BHH", f, a, n), st.sampled_from([3, 4]), near, counts)
bit_reads = st.builds(lambda f, a, n: struct.pack(">BHH", f, a, n), st.sampled_from([1, 2]), near_bits, bit_counts)
singles = st.builds(lambda a, v: struct.pack(">BHH", 6, a, v), near, words)
coils = st.builds(lambda a, v: struct.pack(">BHH", 5, a, v), near_bits, st.sampled_from([0, 0xFF00, 0xFF00, 0xFF, 1, 0xFF01]))
off = st.sampled_from([0, 0, 0, 1])
listings = st.builds(
    lambda a, n, b, d: struct.pack(">HHB", a, len(d) // 2 + n, len(d) + b & 0xFF) + d, near, off, off, st.binary(max_size=246)
)
multiples = listings.map(lambda listing: b"\x10" + listing)
both = st.builds(
    lambda a, n, listing: struct.pack(">BHH", 23, a, n) + listing, near, counts, listings.filter(lambda x: len(x) < 249)
)
many_coils = st.builds(
    lambda a, n, b, d: struct.pack(">BHHB", 15, a, max(0, 8 * len(d) - n), len(d) + b & 0xFF) + d,
    near_bits,
    st.sampled_from([0, 0, 1, 3, 7, 8, -1]),
    off,
    st.one_of(st.binary(max_size=20), st.binary(max_size=246)),
)
masks = st.builds(lambda a, k, c: struct.pack(">BHHH", 22, a, k, c), st.one_of(st.integers(16, 31), near), words, words)
diagnoses = st.builds(
    lambda w, d: struct.pack(">BH", 8, w) + d, st.integers(0, 20), st.one_of(st.just(bytes(2)), st.binary(max_size=8))
)
identifications = st.builds(lambda c, n: bytes([0x2B, 0x0E, c, n]), st.integers(0, 6), st.integers(0, 5))
garbage = st.binary(min_size=1, max_size=253)
reading = st.one_of(reads, bit_reads, diagnoses, identifications)
writing = st.one_of(singles, coils, multiples, both, many_coils, masks)
pdus = st.one_of(reading, writing, garbage)
requests = st.tuples(words, st.sampled_from([0, UNIT, UNIT, UNIT, 2, 255]), pdus)


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
    model = Model()
    assert replies(sent) == [framed(t, unit, model.reply(unit, pdu)) for t, unit, pdu in asked]
    assert not made.broken
    assert bytes(door.bank.view) == struct.pack(f">{REGISTERS}H", *model.words)
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
    sent = feed(made, honest + struct.pack(">HHHB", transaction, *lie, UNIT) + rest)
    assert made.broken
    assert len(replies(sent)) == len(asked)


@given(st.lists(requests, max_size=5), st.binary(min_size=1, max_size=40))
def test_a_place_is_as_new_for_the_next_client(asked: list[tuple[int, int, bytes]], left: bytes) -> None:
    made, door = session()
    feed(made, left)
    made.open(6, None)
    feed(made, framed(1, UNIT, bytes.fromhex("08000a0000")))
    fresh, _ = session()
    door.bank.view[:] = Bank().view
    feed(fresh, framed(1, UNIT, bytes.fromhex("08000a0000")))
    data = b"".join(framed(*request) for request in asked)
    assert feed(made, data) == feed(fresh, data)


def test_the_longest_requests_and_replies_fit() -> None:
    made, _ = session()
    bank = made._codec._bank
    bank.size = 1000
    bank.bytes = bytearray(2000)
    for count in range(1, 126):
        data = framed(1, UNIT, struct.pack(">BHH", 3, 0, count)) + framed(1, UNIT, struct.pack(">BHH", 3, 0, 125)) * 5
        assert [len(reply) for reply in replies(feed(made, data))] == [9 + 2 * count] + [259] * 5


@pytest.mark.parametrize("length", [2, 254])
def test_the_limits_of_the_length_are_inside(length: int) -> None:
    made, _ = session()
    sent = feed(made, framed(9, UNIT, bytes(length - 1)))
    assert replies(sent) == [framed(9, UNIT, b"\x80\x01")] and not made.broken


@pytest.mark.parametrize(
    ("pdu", "touched"),
    [
        ("05 0142 ff00", (0x142, 0x143, 0xFFFF)),
        ("0f 0142 0011 03 ffff01", (0x142, 0x153, 0xFFFF)),
        ("16 0014 ff0f 0030", (0x140, 0x150, 0x00F0)),
        ("06 0014 0001", None),
    ],
)
def test_the_door_is_told_which_bits_a_client_has_named(pdu: str, touched: tuple[int, int, int] | None) -> None:
    door = Door(Bank())
    asked = memoryview(bytes.fromhex(pdu))
    codec.Codec(door.bank, door, IDENTITY, UNIT).answer(1, asked, 0, len(asked), 1)
    assert door.writes and door.touched == touched
