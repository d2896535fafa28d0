"""Other people's clients on the node, over TCP and over a serial line: pymodbus, libmodbus's mbpoll, and jsmodbus."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.client.base import ModbusBaseSyncClient

from hil import debian
from tests.firmware.conformance import WIDE
from tests.firmware.rig import PATIENCE_S, Client, Node
from tests.firmware.serial_rig import UNIT, SerialClient, Terminal
from twin.node import COMMAND_AT, MAGIC, REGISTERS, NodeCommand
from twin.wire import encode

BITS = [bool(MAGIC >> k & 1) for k in range(16)]
WORDS = [1, 0x8000, 0xFFFF, 42]
COILS = [k % 3 == 0 for k in range(21)]


@dataclass
class Place:
    """Where a client finds the node."""

    where: str
    unit: int
    look: Client
    epoch: int

    @property
    def serial(self) -> bool:
        return self.where.startswith("/")

    @property
    def grant(self) -> list[int]:
        """What makes its writer the owner."""
        return list(encode(NodeCommand(owner=9, epoch=self.epoch, lease=5000, heartbeat=self.epoch)))


@pytest.fixture(params=["tcp", "rtu"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    node = request.getfixturevalue("tcp" if request.param == "tcp" else "line")
    if isinstance(node, Node):
        look = node.client()
        found = Place(f"127.0.0.1:{node.port}", 1, look, look.status().epoch + 1)
        yield found
    else:
        look = SerialClient(node)
        epoch = look.status().epoch + 1
        terminal = Terminal(node)
        found = Place(terminal.path, UNIT, look, epoch)
        yield found
        terminal.close()
    look._beat = found.epoch  # so that the next beat differs
    look.let_lapse(9, found.epoch)
    look.close()


def test_pymodbus_reads_and_writes_registers_and_bits(place: Place) -> None:
    client: ModbusBaseSyncClient
    if place.serial:
        client = ModbusSerialClient(place.where, baudrate=115200, timeout=5, retries=0)
    else:
        client = ModbusTcpClient("127.0.0.1", port=int(place.where.split(":")[1]), timeout=5, retries=0)
    with client:
        assert client.connect()
        at = {"device_id": place.unit}
        assert client.write_register(WIDE, 1, **at).exception_code == 4
        assert not client.write_registers(COMMAND_AT, place.grant, **at).isError()
        assert client.read_holding_registers(0, count=1, **at).registers == [MAGIC]
        assert client.read_input_registers(0, count=1, **at).registers == [MAGIC]
        assert client.read_coils(0, count=16, **at).bits == BITS
        assert client.read_discrete_inputs(0, count=16, **at).bits == BITS
        assert not client.write_registers(WIDE, WORDS, **at).isError()
        assert client.read_holding_registers(WIDE, count=4, **at).registers == WORDS
        assert not client.write_register(WIDE, 0x12, **at).isError()
        assert not client.mask_write_register(address=WIDE, and_mask=0xF2, or_mask=0x25, **at).isError()
        assert client.readwrite_registers(
            read_address=WIDE, read_count=2, write_address=WIDE + 1, values=[7], **at
        ).registers == [0x17, 7]  # fmt: skip
        assert not client.write_coils(16 * WIDE + 5, COILS, **at).isError()
        assert not client.write_coil(16 * WIDE + 6, True, **at).isError()
        assert client.read_coils(16 * WIDE + 5, count=21, **at).bits[:21] == [COILS[0], True, *COILS[2:]]
        assert client.read_holding_registers(REGISTERS, count=1, **at).exception_code == 2
        assert client.diag_query_data(b"\xa5\x37", **at).message == b"\xa5\x37"
        told = client.read_device_information(read_code=1, object_id=0, **at)
        assert told.information == {0: b"Lockstep", 1: b"node", 2: told.information[2]}


def test_jsmodbus_reads_and_writes_registers_and_bits(place: Place) -> None:
    steps = [
        ["writeSingleRegister", WIDE, 1],
        ["writeMultipleRegisters", COMMAND_AT, place.grant],
        ["readHoldingRegisters", 0, 1],
        ["readInputRegisters", 0, 1],
        ["readCoils", 0, 16],
        ["readDiscreteInputs", 0, 16],
        ["writeMultipleRegisters", WIDE, WORDS],
        ["readHoldingRegisters", WIDE, 4],
        ["writeSingleRegister", WIDE, 0x1234],
        ["writeMultipleCoils", 16 * WIDE + 16, [int(bit) for bit in COILS]],
        ["writeSingleCoil", 16 * WIDE + 17, True],
        ["readHoldingRegisters", WIDE, 1],
        ["readCoils", 16 * WIDE + 16, 21],
        ["readHoldingRegisters", REGISTERS, 1],
    ]
    script = Path(__file__).with_name("jsmodbus_client.js")
    kind = "rtu" if place.serial else "tcp"
    told = run(shutil.which("node") or "node", str(script), kind, place.where, str(place.unit), json.dumps(steps))
    found = json.loads(told)
    assert [found[k] for k in (0, 13)] == [{"exception": 4}, {"exception": 2}]
    assert found[2:4] == [[MAGIC], [MAGIC]]
    assert [[bool(bit) for bit in bits[:16]] for bits in found[4:6]] == [BITS, BITS]
    assert found[7] == WORDS and found[11] == [0x1234]
    assert [bool(bit) for bit in found[12][:21]] == [COILS[0], True, *COILS[2:]]


def test_mbpoll_reads_and_writes_registers_and_bits(place: Place) -> None:
    tool = shutil.which("mbpoll")
    start = [tool] if tool else debian.command("mbpoll")
    end = ["-m", "rtu", "-b", "115200", "-P", "none"] if place.serial else ["-m", "tcp", "-p", place.where.split(":")[1]]
    end += ["-a", str(place.unit), "-0", "-1", "-o", "5"]
    host = place.where if place.serial else "127.0.0.1"

    def poll(kind: str, first: int, count: int) -> list[int]:
        told = run(*start, *end, "-t", kind, "-r", str(first), "-c", str(count), host)
        return [int(line.split()[1]) for line in told.splitlines() if line.startswith("[")]

    assert poll("4", 0, 1) == poll("3", 0, 1) == [MAGIC]
    assert poll("0", 0, 16) == poll("1", 0, 16) == [int(bit) for bit in BITS]
    run(*start, *end, "-t", "4", "-r", str(COMMAND_AT), host, "--", *map(str, place.grant))
    assert place.look.status().epoch == place.epoch, "the grant was taken"
    if place.serial:  # all that is heard on a line comes from one master; on the network the lease is the connection's
        run(*start, *end, "-t", "4", "-r", str(WIDE), host, "--", *map(str, WORDS))
        assert poll("4", WIDE, 4) == WORDS
        run(*start, *end, "-t", "0", "-r", str(16 * WIDE), host, "--", "0", "1", "1")
        assert poll("0", 16 * WIDE, 3) == [0, 1, 1]


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
