"""The node's Modbus TCP server in the real interpreter, asked by pymodbus and by raw sockets."""

import socket
import struct

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from tests.firmware.conftest import Make
from tests.firmware.factories import BELT_COMMAND, BELT_STATUS, LAMPS_COMMAND
from tests.firmware.rig import Client, Node, eventually
from twin.node import COMMAND_AT, MAGIC, REGISTERS, TRANSFER_AT

READ_MAGIC = struct.pack(">BHH", 3, 0, 1)
MAGIC_REPLY = bytes([3, 2]) + struct.pack(">H", MAGIC)


def pdu(text: str) -> bytes:
    return bytes.fromhex(text)


def reading(first: int, count: int, function: int = 3) -> bytes:
    return struct.pack(">BHH", function, first, count)


def writing(first: int, count: int) -> bytes:
    return struct.pack(">BHHB", 16, first, count, 2 * count & 0xFF) + bytes(2 * count)


TABLE = {
    "read nothing": (reading(0, 0), "8303"),
    "read 126": (reading(0, 126), "8303"),
    "read 126 inputs": (reading(0, 126, 4), "8403"),
    "read 65535": (reading(0, 65535), "8303"),
    "read beyond the end": (reading(REGISTERS - 1, 2), "8302"),
    "read far beyond the end": (reading(65535, 1), "8302"),
    "quantity is judged before address": (reading(65535, 0), "8303"),
    "read cut short": (pdu("030000"), "8303"),
    "read without anything": (pdu("03"), "8303"),
    "read with something behind": (reading(0, 1) + b"\x00", "8303"),
    "write one outside": (struct.pack(">BHH", 6, REGISTERS, 0), "8602"),
    "write one into the Status": (struct.pack(">BHH", 6, 0, 0), "8602"),
    "write one into a machine's Status": (struct.pack(">BHH", 6, BELT_STATUS, 0), "8602"),
    "write one cut short": (pdu("060100"), "8603"),
    "write one too long": (pdu("06010000ff00"), "8603"),
    "write none": (writing(COMMAND_AT, 0), "9003"),
    "write 124, claiming 123's bytes": (struct.pack(">BHHB", 16, COMMAND_AT, 124, 246) + bytes(246), "9003"),
    "write with a lying byte count": (struct.pack(">BHHB", 16, BELT_COMMAND, 2, 3) + bytes(4), "9003"),
    "write with bytes missing": (struct.pack(">BHHB", 16, BELT_COMMAND, 2, 4) + bytes(3), "9003"),
    "write without a byte count": (struct.pack(">BHH", 16, BELT_COMMAND, 2), "9003"),
    "write across two machines": (writing(BELT_COMMAND, LAMPS_COMMAND - BELT_COMMAND + 1), "9002"),
    "write over the Grant's end": (writing(COMMAND_AT, 64), "9002"),
    "write into the transfer window's middle": (writing(TRANSFER_AT + 10, 12), "9002"),
    "write a transfer window's head in part": (writing(TRANSFER_AT, 9), "9002"),
    "write beyond the transfer window": (writing(TRANSFER_AT, 123), "9002"),
    "write a machine's Command without a lease": (struct.pack(">BHH", 6, BELT_COMMAND, 1), "8604"),
    "write a transfer without a lease": (writing(TRANSFER_AT, 10), "9004"),
    "write the heartbeat without a lease": (struct.pack(">BHH", 6, COMMAND_AT + 5, 1), "8604"),
    "address is judged before permission": (writing(BELT_COMMAND + 1, 2), "9002"),
    "coils": (pdu("0100000001"), "8101"),
    "write coil": (pdu("05000000ff"), "8501"),
    "function 0": (pdu("00"), "8001"),
    "function 0x17": (pdu("17000000010000000102ffff"), "9701"),
    "an exception as a request": (pdu("8302"), "8301"),
    "another encapsulated interface": (pdu("2b0d00"), "ab01"),
    "identification without anything": (pdu("2b"), "ab01"),
    "identification cut short": (pdu("2b0e01"), "ab03"),
    "identification of kind 5": (pdu("2b0e0500"), "ab03"),
    "one object that is not there": (pdu("2b0e0403"), "ab02"),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_is_wrong_is_refused_with_the_specifications_exception(client: Client, case: str) -> None:
    asked, refused = TABLE[case]
    assert client.ask(asked).hex() == refused
    assert client.ask(READ_MAGIC) == MAGIC_REPLY


@pytest.mark.parametrize("function", [3, 4])
@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 125), (REGISTERS - 125, 125), (REGISTERS - 1, 1)])
def test_reads_up_to_the_limits_are_answered(client: Client, function: int, first: int, count: int) -> None:
    got = client.ask(reading(first, count, function))
    assert got[:2] == bytes([function, 2 * count]) and len(got) == 2 + 2 * count


@pytest.mark.parametrize("unit", [0, 1, 255])
def test_units_0_1_and_255_are_the_node(client: Client, unit: int) -> None:
    assert client.ask(READ_MAGIC, unit) == MAGIC_REPLY


def test_any_other_unit_is_not_reached(client: Client) -> None:
    assert client.ask(READ_MAGIC, 2).hex() == "830b"


def test_pymodbus_reads_the_same_registers_as_holding_and_as_input(bench: Node, client: Client) -> None:
    with ModbusTcpClient("127.0.0.1", port=bench.port, retries=0) as other:
        assert other.connect()
        assert other.read_holding_registers(0, count=8).registers == client.read(0, 8)
        assert other.read_input_registers(0, count=8).registers == client.read(0, 8)
        assert other.read_holding_registers(REGISTERS, count=1).exception_code == 2
        assert other.write_register(BELT_COMMAND, 1).exception_code == 4
        assert other.read_coils(0, count=1).exception_code == 1


@pytest.mark.parametrize("code", [1, 2])
def test_pymodbus_reads_who_it_is(bench: Node, code: int) -> None:
    with ModbusTcpClient("127.0.0.1", port=bench.port, retries=0) as other:
        got = other.read_device_information(read_code=code, object_id=0)
        assert not isinstance(got, ModbusIOException) and not got.isError()
        assert got.information[0] == b"Lockstep"
        assert got.information[1] == b"node"
        assert list(got.information) == [0, 1, 2]


def test_one_object_of_the_identification_is_answered_alone(client: Client) -> None:
    assert client.ask(pdu("2b0e0401")) == pdu("2b0e04810000010104") + b"node"


def test_a_request_split_at_every_byte_gets_one_reply(client: Client) -> None:
    for at in range(1, 12):
        frame = client.frame(READ_MAGIC)
        client.socket.sendall(frame[:at])
        client.socket.sendall(frame[at:])
        assert client.reply()[2] == MAGIC_REPLY


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


LIES = {
    "another protocol": "0001 0001 0006 01 0300000001",
    "length 0": "0001 0000 0000",
    "length 1": "0001 0000 0001 01",
    "length 255": "0001 0000 00ff 01 03",
    "length 65535": "0001 0000 ffff 01 03",
    "a web browser": "474554202f20485454502f312e310d0a0d0a",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_closes_the_connection_and_nothing_else(bench: Node, client: Client, lie: str) -> None:
    liar = bench.client()
    assert liar.ask(READ_MAGIC) == MAGIC_REPLY
    liar.socket.sendall(bytes.fromhex(LIES[lie]))
    assert liar.closed()
    assert client.ask(READ_MAGIC) == MAGIC_REPLY


def test_a_client_that_leaves_in_the_middle_of_a_request_takes_nothing_with_it(bench: Node, client: Client) -> None:
    for _ in range(10):
        leaver = bench.client()
        leaver.socket.sendall(leaver.frame(READ_MAGIC)[:9])
        leaver.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.close()
        assert client.ask(READ_MAGIC) == MAGIC_REPLY


def test_two_clients_are_answered_while_a_third_has_asked_for_half(bench: Node) -> None:
    slow, first, second = bench.client(), bench.client(), bench.client()
    frame = slow.frame(READ_MAGIC)
    slow.socket.sendall(frame[:5])
    for _ in range(20):
        assert first.ask(READ_MAGIC) == MAGIC_REPLY
        assert second.ask(READ_MAGIC) == MAGIC_REPLY
    slow.socket.sendall(frame[5:])
    assert slow.reply()[2] == MAGIC_REPLY
    for client in (slow, first, second):
        client.close()


def test_the_fifth_client_is_turned_away_until_one_of_four_leaves(make: Make) -> None:
    node = make()
    four = [node.client() for _ in range(4)]
    for client in four:
        assert client.ask(READ_MAGIC) == MAGIC_REPLY
    assert node.client().closed()
    for client in four:
        assert client.ask(READ_MAGIC) == MAGIC_REPLY
    four[2].close()
    eventually(lambda: admitted(node), "the place was not given on")


def test_a_silent_client_is_closed_and_its_place_given_on(make: Make) -> None:
    node = make(main="short_idle.py")
    silent = [node.client() for _ in range(4)]
    for client in silent:
        client.socket.sendall(client.frame(READ_MAGIC)[:7])
    assert all(client.closed() for client in silent)
    eventually(lambda: admitted(node), "no place was given on")


def test_a_new_client_takes_the_place_of_one_that_has_long_been_silent(make: Make) -> None:
    node = make(main="short_stale.py")
    silent = [node.client() for _ in range(4)]
    for client in silent:
        assert client.ask(READ_MAGIC) == MAGIC_REPLY
    eventually(lambda: admitted(node), "no place was given up")
    assert silent[0].closed(), "the one that was heard longest ago"


def admitted(node: Node) -> bool:
    """Whether a new client is answered."""
    client = node.client()
    try:
        return client.ask(READ_MAGIC) == MAGIC_REPLY
    except (AssertionError, ConnectionError):
        return False


def test_a_client_that_does_not_read_its_replies_stalls_only_itself(make: Make) -> None:
    node = make()
    other = node.client()
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    deaf.connect(("127.0.0.1", node.port))
    deaf.setblocking(False)
    request = struct.pack(">HHHB", 1, 0, 6, 1) + reading(0, 125)
    try:
        while True:
            deaf.send(request * 50)
    except BlockingIOError:
        pass
    before = node.fed
    eventually(lambda: node.fed > before, "the watchdog was not fed")
    assert other.ask(READ_MAGIC) == MAGIC_REPLY
    deaf.close()
    assert other.ask(READ_MAGIC) == MAGIC_REPLY
