"""The node's Modbus TCP server in the real interpreter: its connections."""

import socket
import struct

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from tests.firmware.conformance import MAGIC_REPLY, READ_MAGIC, reading
from tests.firmware.conftest import Make
from tests.firmware.factories import BELT_COMMAND
from tests.firmware.rig import Client, Node, eventually
from twin.node import MAGIC, REGISTERS


def test_pymodbus_reads_the_same_registers_as_holding_and_as_input(bench: Node, client: Client) -> None:
    with ModbusTcpClient("127.0.0.1", port=bench.port, retries=0) as other:
        assert other.connect()
        assert other.read_holding_registers(0, count=8).registers == client.read(0, 8)
        assert other.read_input_registers(0, count=8).registers == client.read(0, 8)
        assert other.read_holding_registers(REGISTERS, count=1).exception_code == 2
        assert other.write_register(BELT_COMMAND, 1).exception_code == 4
        assert other.read_coils(0, count=1).bits[0] is bool(MAGIC & 1)


@pytest.mark.parametrize("code", [1, 2])
def test_pymodbus_reads_who_it_is(bench: Node, code: int) -> None:
    with ModbusTcpClient("127.0.0.1", port=bench.port, retries=0) as other:
        got = other.read_device_information(read_code=code, object_id=0)
        assert not isinstance(got, ModbusIOException) and not got.isError()
        assert got.information[0] == b"Lockstep"
        assert got.information[1] == b"node"
        assert list(got.information) == [0, 1, 2]


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
