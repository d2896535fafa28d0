"""The node's log: what is in it, and that reading it disturbs nobody."""

import struct
import zlib
from collections.abc import Iterator

import pytest

from tests.firmware.alone import Ticks, load
from tests.firmware.conftest import Make
from tests.firmware.factories import BELT_COMMAND, LAMP, LAMPS_COMMAND, OPEN
from tests.firmware.rig import Client, Node, eventually
from twin.node import (
    TRANSFER_AT,
    TRANSFER_BYTES,
    TRANSFER_HEAD,
    Op,
    Reason,
    Transfer,
    TransferKind,
    TransferOp,
    TransferState,
)
from twin.wire import decode

US = 11
JOB = bytes(range(256)) * 4


def piece(client: Client, offset: int, id: int = 1) -> tuple[Transfer, bytes]:
    """The window's answer to one reader."""
    assert client.transfer(TransferOp.READ, kind=TransferKind.LOG, offset=offset, id=id) == 0
    words = client.read(TRANSFER_AT, TRANSFER_HEAD + TRANSFER_BYTES // 2)
    head = decode(Transfer, words[:TRANSFER_HEAD])
    body = struct.pack(f">{TRANSFER_BYTES // 2}H", *words[TRANSFER_HEAD:])[: head.length]
    assert (head.kind, head.id, head.crc) == (TransferKind.LOG, id, zlib.crc32(body))
    return head, body


def whole(client: Client) -> str:
    """All of the log that there is."""
    found, offset = b"", 0
    while True:
        head, body = piece(client, offset)
        if not body:
            return found.decode()
        found += body
        offset = head.offset + len(body)


@pytest.fixture
def node(make: Make) -> Iterator[Node]:
    yield make()


def test_the_log_tells_of_the_start_the_owner_a_latch_its_cause_and_the_reset(node: Node) -> None:
    client = node.client()
    client.grant(US, 5)
    client.write(LAMPS_COMMAND, [1, 0])
    eventually(lambda: node.out(LAMP) == 1)
    node.put(OPEN, 1)  # an interlock
    eventually(lambda: client.status().latched)
    client.settle()
    eventually(lambda: "latched: interlock" in whole(client))
    node.put(OPEN, 0)
    client.write(LAMPS_COMMAND, [0, 0])
    client.settle()
    client.grant(US, 5, op=Op.RESET, command_id=1)
    eventually(lambda: whole(client).endswith(" i reset\n"))
    lines = [line.split(" ", 1)[1] for line in whole(client).splitlines()]
    assert lines[0].startswith("i start after power, board ")
    assert lines[1].startswith("i application ")
    assert lines[2:] == ["i owner 0000000b epoch 5", "w latched: interlock", "i reset"]
    assert client.status().log_end == len(whole(client))


def test_a_reader_needs_no_lease_and_disturbs_no_transfer(node: Node) -> None:
    owner, reader, other = node.client(), node.client(), node.client()
    owner.grant(US, 1)
    assert owner.begin(JOB, id=9) == 0
    for offset in range(0, len(JOB), 128):
        assert owner.transfer(TransferOp.DATA, JOB[offset : offset + 128], offset=offset, id=9) == 0
        mine, _ = piece(reader, 0, id=offset)
        his, _ = piece(other, 5, id=offset + 1)
        assert (mine.id, mine.offset, his.offset) == (offset, 0, 5)
    assert owner.transfer(TransferOp.END, id=9) == 0
    status = owner.status()
    assert (status.transfer_state, status.transfer_id, status.transfer_reason) == (TransferState.STORED, 9, Reason.NONE)
    assert (status.foreign, status.owner) == (0, US)
    assert (node.folder / "job-00000009.bin").read_bytes() == JOB


def test_old_lines_give_way_and_a_reader_is_told_where_what_is_left_begins() -> None:
    ticks = Ticks()
    (log,) = load("log", ticks=ticks)
    said = b""
    for number in range(200):
        ticks.ms = 7001 * number
        log.say("i", f"line {number}")
        said += f"{ticks.us // 1_000_000}.{ticks.us // 1000 % 1000:03d} i line {number}\n".encode()
        for offset in (0, len(said) - 2048, len(said) - 100, len(said), len(said) + 7):
            buffer = bytearray(TRANSFER_BYTES)
            begin, count = log.read(offset, memoryview(buffer))
            assert begin == max(0, len(said) - 2048, min(offset, len(said)))
            assert bytes(buffer[:count]) == said[begin : begin + TRANSFER_BYTES]


def test_nothing_but_the_log_is_read_through_the_window(node: Node) -> None:
    client = node.client()
    for kind in (TransferKind.STORED_JOB, TransferKind.CONFIG, TransferKind.MANIFEST):
        assert client.transfer(TransferOp.READ, kind=kind) == 3


def test_an_update_a_configuration_and_a_restart_wait_until_nothing_runs(node: Node) -> None:
    client = node.client()
    client.grant(US, 1)
    client.write(BELT_COMMAND, [1, 2500])
    for number, kind in enumerate((TransferKind.CONFIG, TransferKind.MANIFEST, TransferKind.UPDATE_FILE)):
        client.begin(JOB, kind=kind, id=number)
        assert client.status().transfer_reason is Reason.BUSY
    client.grant(US, 1, op=Op.RESTART, command_id=1)
    assert client.status().reason is Reason.BUSY
    client.write(BELT_COMMAND, [0, 0])
    client.begin(JOB, kind=TransferKind.MANIFEST, id=7)
    assert client.status().transfer_reason is Reason.UNKNOWN_COMMAND  # it has no slots
    boot = client.status().boot_id
    client.grant(US, 1, op=Op.RESTART, command_id=9)
    assert node.ended() == ""
    node.stop()
    node.start()
    after = node.client().status()
    assert (after.boot_id, after.latched) == (boot + 1, False)
