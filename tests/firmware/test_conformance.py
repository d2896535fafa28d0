"""The node's Modbus, over TCP and over a serial line, against the table of raw bytes; each time it still lives afterwards."""

import struct
from collections.abc import Iterator

import pytest

from tests.firmware import conformance as cases
from tests.firmware.conformance import LIES, MAGIC_REPLY, READ_MAGIC, WIDE, exchanging, masked, one, reading, switching
from tests.firmware.factories import BELT_COMMAND
from tests.firmware.rig import Client, Node
from tests.firmware.serial_rig import UNIT, Line, SerialClient, crc
from twin.node import COMMAND_AT

OWNER = 7


@pytest.fixture
def serial(line: Line) -> SerialClient:
    return SerialClient(line)


@pytest.fixture
def client(tcp: Node) -> Iterator[Client]:
    """A connection, closed when it is over."""
    made = tcp.client()
    yield made
    made.close()


@pytest.fixture(params=["tcp", "rtu"])
def anyone(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client that owns nothing, over either kind of link."""
    node = request.getfixturevalue("tcp" if request.param == "tcp" else "line")
    made = node.client() if isinstance(node, Node) else SerialClient(node)
    yield made
    made.close()


@pytest.fixture
def owner(anyone: Client) -> Iterator[Client]:
    """A client that owns the node."""
    yield from owning(anyone)


def owning(client: Client) -> Iterator[Client]:
    epoch = client.status().epoch + 1
    assert client.grant(OWNER, epoch) == 0
    assert client.status().owner == OWNER
    yield client
    client.let_lapse(OWNER, epoch)


@pytest.mark.parametrize("case", cases.REFUSALS)
def test_what_is_wrong_is_refused_with_the_specifications_exception(anyone: Client, case: str) -> None:
    asked, refused = cases.REFUSALS[case]
    assert anyone.ask(asked).hex() == refused
    assert anyone.ask(READ_MAGIC) == MAGIC_REPLY


@pytest.mark.parametrize("case", cases.ANSWERS)
def test_what_is_right_gets_the_specifications_reply(anyone: Client, case: str) -> None:
    asked, told = cases.ANSWERS[case]
    assert anyone.ask(asked).hex() == told
    assert anyone.ask(READ_MAGIC) == MAGIC_REPLY


@pytest.mark.parametrize("case", cases.LONGEST)
def test_reads_up_to_the_limits_are_answered(anyone: Client, case: str) -> None:
    asked, size = cases.LONGEST[case]
    got = anyone.ask(asked)
    assert got[:2] == bytes([asked[0], size]) and len(got) == 2 + size
    assert anyone.ask(READ_MAGIC) == MAGIC_REPLY


# ---- writes, by their owner: libmodbus's unit test of a server asks all of these, of its own map


def test_coils_are_the_bits_of_registers_and_writes_leave_their_neighbours_alone(owner: Client) -> None:
    assert owner.write(WIDE, [0xFFFF, 0, 0xFFFF, 0]) == 0
    for at, value, words in [(3, 0, [0xFFF7, 0]), (20, 0xFF00, [0xFFF7, 0x10]), (20, 0, [0xFFF7, 0])]:
        assert owner.ask(one(5, 16 * WIDE + at, value)) == one(5, 16 * WIDE + at, value)
        assert owner.read(WIDE, 2) == words
        assert owner.ask(reading(16 * WIDE + at, 1, 1)) == bytes([1, 1, value and 1])
    bits = bytes.fromhex("cd6bb20e1b")  # 37 of them
    asked = struct.pack(">BHHB", 15, 16 * WIDE + 9, 37, 5) + bits
    assert owner.ask(asked) == asked[:5]
    assert owner.ask(reading(16 * WIDE + 9, 37, 1)) == bytes([1, 5]) + bits
    assert owner.ask(reading(16 * WIDE + 9, 37, 2)) == bytes([2, 5]) + bits
    whole = int.from_bytes(bits, "little") << 9 | 0xFFF7 & 0x1FF | 0xFFFF << 32 & ~(1 << 46) + 1 & 0xFFFF << 46
    assert owner.read(WIDE, 3) == [whole >> 16 * k & 0xFFFF for k in range(2)] + [whole >> 32 & 0x3FFF | 0xC000]


def test_the_longest_writes_of_coils_and_registers_are_carried_out(owner: Client) -> None:
    bits = bytes(k * 37 & 0xFF for k in range(246))
    asked = struct.pack(">BHHB", 15, 16 * WIDE + 15, 1968, 246) + bits
    assert owner.ask(asked) == asked[:5]
    assert owner.ask(reading(16 * WIDE + 15, 1968, 1)) == bytes([1, 246]) + bits
    words = [k * 999 & 0xFFFF for k in range(123)]
    assert owner.write(WIDE, words) == 0
    assert owner.read(WIDE, 123) == words


def test_registers_that_are_written_are_read_back(owner: Client) -> None:
    assert owner.ask(one(6, WIDE, 0x1234)) == one(6, WIDE, 0x1234)
    assert owner.read(WIDE, 1) == [0x1234]
    assert owner.write(WIDE, [0x022B, 1, 0x64]) == 0
    assert owner.read(WIDE, 3) == [0x022B, 1, 0x64]
    assert owner.ask(reading(WIDE, 3, 4)) == bytes.fromhex("0406022b00010064")


def test_write_and_read_writes_before_it_reads(owner: Client) -> None:
    assert owner.write(WIDE, [0x022B, 1, 0x64]) == 0
    assert owner.ask(exchanging(WIDE, 3, WIDE + 1, 2)) == bytes.fromhex("1706022b00000000")
    assert owner.ask(exchanging(WIDE, 125, WIDE + 4, 121))[:2] == bytes([23, 250])


@pytest.mark.parametrize(
    ("before", "keep", "change"), [(0x12, 0xF2, 0x25), (0xABCD, 0, 0xFFFF), (0xABCD, 0xFFFF, 0), (0xFFFF, 0xF0F0, 0x0F0A)]
)
def test_a_mask_changes_what_the_specifications_formula_says(owner: Client, before: int, keep: int, change: int) -> None:
    assert owner.write(WIDE, [before]) == 0
    asked = struct.pack(">BHHH", 22, WIDE, keep, change)
    assert owner.ask(asked) == asked
    assert owner.read(WIDE, 1) == [before & keep | change & ~keep & 0xFFFF]


BEYOND = [one(5, 16 * (WIDE + 125), 0xFF00), switching(16 * (WIDE + 124) + 1, 16), one(6, WIDE + 125, 0), masked(WIDE + 125)]
BEYOND += [cases.writing(WIDE + 124, 2), exchanging(0, 1, WIDE + 124, 2), one(6, 0, 0), masked(0), switching(0, 1)]


@pytest.mark.parametrize("asked", BEYOND)
def test_not_even_the_owner_writes_beyond_a_commands_end(owner: Client, asked: bytes) -> None:
    assert owner.ask(asked) == bytes([asked[0] | 0x80, 2])


def test_the_grant_is_renewed_by_coils_as_by_registers_where_the_connection_is_the_owners(owner: Client) -> None:
    heartbeat = owner.status().heartbeat
    got = owner.ask(one(5, 16 * (COMMAND_AT + 5) + 15, 0xFF00))
    if isinstance(owner, SerialClient):  # on a line nobody knows who it was
        assert (got, owner.status().heartbeat) == (b"\x85\x04", heartbeat)
    else:
        assert (got[0], owner.status().heartbeat) == (5, heartbeat | 0x8000)


# ---- counters


def test_the_counters_count_what_the_specification_says(anyone: Client) -> None:
    def counter(code: int) -> int:
        got = anyone.ask(struct.pack(">BHH", 8, code, 0))
        assert got[:3] == struct.pack(">BH", 8, code)
        return int.from_bytes(got[3:], "big")

    assert anyone.ask(bytes.fromhex("08000a0000")) == bytes.fromhex("08000a0000")
    assert counter(0x0B) == 1
    anyone.ask(reading(0, 0))
    anyone.ask(one(6, BELT_COMMAND, 1))
    assert counter(0x0D) == 2
    assert counter(0x0E) == 5
    assert [counter(code) for code in (0x0C, 0x0F, 0x10, 0x11, 0x12)] == [0] * 5


# ---- TCP alone: how bytes come


@pytest.mark.parametrize("unit", [0, 1, 255])
def test_over_tcp_units_0_and_255_are_the_node_too(client: Client, unit: int) -> None:
    assert client.ask(READ_MAGIC, unit) == MAGIC_REPLY


@pytest.mark.parametrize("unit", [2, 18, 247, 254])
def test_over_tcp_any_other_unit_is_not_reached(client: Client, unit: int) -> None:
    assert client.ask(READ_MAGIC, unit).hex() == "830b"
    assert client.ask(READ_MAGIC) == MAGIC_REPLY


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_closes_the_connection_and_nothing_else(tcp: Node, client: Client, lie: str) -> None:
    liar = tcp.client()
    assert liar.ask(READ_MAGIC) == MAGIC_REPLY
    liar.socket.sendall(bytes.fromhex(LIES[lie]))
    assert liar.closed()
    assert client.ask(READ_MAGIC) == MAGIC_REPLY


@pytest.mark.parametrize("asked", [READ_MAGIC, reading(16 * 256, 2000, 1), exchanging(0, 3, WIDE, 3), switching(16 * WIDE, 20)])
def test_a_request_split_at_every_byte_gets_one_reply(client: Client, asked: bytes) -> None:
    whole = client.ask(asked)
    for at in range(1, 7 + len(asked)):
        frame = client.frame(asked)
        client.socket.sendall(frame[:at])
        client.socket.sendall(frame[at:])
        assert client.reply()[2] == whole


def test_a_request_that_comes_byte_by_byte_gets_one_reply(client: Client) -> None:
    for byte in client.frame(reading(0, 125)):
        client.socket.sendall(bytes([byte]))
    assert len(client.reply()[2]) == 252


@pytest.mark.parametrize("count", [2, 16, 17, 100, 400])
def test_requests_in_one_segment_are_answered_in_their_order(client: Client, count: int) -> None:
    frames = [client.frame(reading(k % 64, 1 + k % 125)) for k in range(count)]
    client.socket.sendall(b"".join(frames))
    for k, frame in enumerate(frames):
        transaction, _, got = client.reply()
        assert transaction == int.from_bytes(frame[:2], "big")
        assert got[1] == 2 * (1 + k % 125)


def test_requests_joined_and_cut_anywhere_are_answered_in_their_order(client: Client) -> None:
    asked = [reading(WIDE, 125), cases.writing(WIDE, 123), READ_MAGIC, switching(16 * WIDE, 1968), reading(16 * WIDE, 2000, 1)]
    told = [client.ask(pdu) for pdu in asked]
    for cut in range(1, 260, 7):
        data = b"".join(client.frame(pdu) for pdu in asked)
        for at in range(0, len(data), cut):
            client.socket.sendall(data[at : at + cut])
        assert [client.reply()[2] for _ in asked] == told


# ---- the serial line alone: who is spoken to, and where frames end


@pytest.mark.parametrize("unit", [1, 2, 18, 247, 255])
def test_on_a_line_other_units_are_not_answered(serial: SerialClient, unit: int) -> None:
    serial.unanswered(serial.framed(READ_MAGIC, unit))
    assert serial.ask(READ_MAGIC) == MAGIC_REPLY


OTHERS = {
    "a request and its reply": ["0300010101", "0304000000 00"],
    "an invalid request": ["030001ffff"],
    "a long reply": ["0300000064", "03c8" + "5a" * 200],
    "a write and its reply": ["1000010003" + "06" + "000100020003", "1000010003"],
    "an exception": ["0300010101", "8302"],
    "coils": ["0f0013000a02cd01", "0f0013000a"],
    "write and read": ["1700030006000e0003" + "06" + "00ff00ff00ff", "170c" + "00fe" * 6],
    "a function of nobody's": ["4200"],
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_others_on_the_line_say_to_each_other_is_let_pass(serial: SerialClient, case: str) -> None:
    frames = [serial.framed(bytes.fromhex(text), 17) for text in OTHERS[case]]
    serial.unanswered(*frames)
    assert serial.ask(READ_MAGIC) == MAGIC_REPLY
    if case != "a function of nobody's":  # its end is known by silence alone
        serial.send(b"".join(frames) + serial.framed(READ_MAGIC))
        assert serial.heard() == MAGIC_REPLY


@pytest.fixture
def master(serial: SerialClient) -> Iterator[Client]:
    """The line's master, that owns the node."""
    yield from owning(serial)


@pytest.mark.usefixtures("master")
def test_a_broadcast_is_nobodys_and_not_answered(serial: SerialClient) -> None:
    before = serial.read(WIDE, 1)
    serial.unanswered(serial.framed(one(6, WIDE, 0x4711), 0))
    assert serial.read(WIDE, 1) == before != [0x4711]
    serial.unanswered(serial.framed(READ_MAGIC, 0))
    serial.unanswered(serial.framed(one(6, 0, 0), 0))
    assert serial.ask(bytes.fromhex("08000f0000"))[3:] != bytes(2), "messages without a reply are counted"
    assert serial.ask(READ_MAGIC) == MAGIC_REPLY


def spoilt(frame: bytes) -> dict[str, bytes]:
    """What is not a frame, by what has become of one."""
    made = {f"byte {k} changed": frame[:k] + bytes([frame[k] ^ 1 << k % 8]) + frame[k + 1 :] for k in range(len(frame))}
    made |= {f"cut after {k}": frame[:k] for k in range(1, len(frame))}
    return made | {
        "CRC the wrong way round": frame[:-2] + frame[:-3:-1],
        "without its first byte": frame[1:],
        "a byte before it": b"\x00" + frame,
        "zeros": bytes(20),
        "noise": bytes(k * 89 & 0xFF for k in range(60)),
        "noise without end": bytes(k * 89 & 0xFF for k in range(1100)),
    }


SPOILT = spoilt(bytes([UNIT]) + READ_MAGIC + crc(bytes([UNIT]) + READ_MAGIC))


@pytest.mark.parametrize("case", SPOILT)
def test_what_is_not_a_frame_gets_no_reply_and_silence_mends_all(serial: SerialClient, case: str) -> None:
    serial.unanswered(SPOILT[case])
    assert serial.ask(READ_MAGIC) == MAGIC_REPLY


def test_a_broken_frame_is_counted(serial: SerialClient) -> None:
    before = serial.ask(bytes.fromhex("08000c0000"))
    serial.unanswered(serial.framed(READ_MAGIC)[:-1] + b"\x00")
    after = serial.ask(bytes.fromhex("08000c0000"))
    assert int.from_bytes(after[3:], "big") == int.from_bytes(before[3:], "big") + 1


@pytest.mark.parametrize("asked", [READ_MAGIC, exchanging(0, 3, WIDE, 3), bytes.fromhex("2b0e0401")])
def test_a_frame_split_at_every_byte_gets_one_reply(serial: SerialClient, asked: bytes) -> None:
    whole = serial.ask(asked)
    frame = serial.framed(asked)
    for at in range(1, len(frame)):
        serial.send(frame[:at], frame[at:])
        assert serial.heard() == whole


def test_frames_joined_are_answered_one_after_the_other(serial: SerialClient) -> None:
    serial.send(b"".join(serial.framed(reading(0, count)) for count in (1, 5, 125)))
    assert [len(serial.heard()) for _ in range(3)] == [4, 12, 252]
