"""Jobs through the transfer window, into flash and into the ring: over sockets, in the real interpreter."""

import random
import struct
import zlib
from hashlib import sha256
from pathlib import Path

import pytest

from tests.firmware.conftest import Make
from tests.firmware.factories import BELT, BELT_COMMAND, node_file, with_jobs
from tests.firmware.rig import Client, Node, eventually
from twin.node import TRANSFER_AT, TRANSFER_BYTES, JobState, Op, Reason, TransferKind, TransferOp, TransferState

US = 11
RING = 2048
BUSY, ILLEGAL_VALUE = 6, 3
STREAM = TransferKind.STREAMED_JOB
JOB = random.Random(1).randbytes(3001)
OTHER = random.Random(2).randbytes(500)


@pytest.fixture
def node(make: Make, tmp_path: Path) -> Node:
    """Its Motion eats 64 bytes a tick while the belt is to run."""
    return make(with_jobs(node_file(tmp_path, BELT), ring=RING), main="with_motion.py")


@pytest.fixture
def client(node: Node) -> Client:
    """The owner."""
    made = node.client()
    made.grant(US, 1)
    return made


def files(node: Node) -> set[str]:
    """Names of the Jobs in its flash."""
    return {path.name for path in node.folder.glob("job-*")}


def told(client: Client) -> tuple[TransferState, Reason, int]:
    status = client.status()
    return status.transfer_state, status.transfer_reason, status.transfer_received


def test_a_job_is_stored_when_all_of_it_has_come_and_its_sum_is_right(node: Node, client: Client) -> None:
    assert client.begin(JOB, id=0xAB) == 0
    assert told(client) == (TransferState.RECEIVING, Reason.NONE, 0)
    assert files(node) == {"job-000000ab.part"}
    client.send(JOB, id=0xAB)
    assert told(client) == (TransferState.STORED, Reason.NONE, len(JOB))
    assert files(node) == {"job-000000ab.bin"}
    assert (node.folder / "job-000000ab.bin").read_bytes() == JOB


@pytest.mark.parametrize("block", [1, 223, TRANSFER_BYTES])
def test_blocks_of_any_length_make_the_same_job(node: Node, client: Client, block: int) -> None:
    client.begin(OTHER)
    client.send(OTHER, block)
    assert (node.folder / "job-00000007.bin").read_bytes() == OTHER


def test_a_repeated_block_is_acknowledged_and_changes_nothing(node: Node, client: Client) -> None:
    client.begin(JOB)
    for offset in (0, 0, 224, 0, 224, 448, 100):
        assert client.transfer(TransferOp.DATA, JOB[offset : offset + 224], offset=offset) == 0
        assert client.status().transfer_reason is Reason.NONE
    assert told(client) == (TransferState.RECEIVING, Reason.NONE, 672)
    client.send(JOB)
    assert client.status().transfer_state is TransferState.STORED


def test_a_block_out_of_its_place_is_refused_and_the_transfer_goes_on(client: Client) -> None:
    client.begin(JOB)
    client.transfer(TransferOp.DATA, JOB[:224])
    for offset in (225, 448, 2**32 - 1, 223, 100):
        assert client.transfer(TransferOp.DATA, bytes(224), offset=offset) == 0
        assert told(client) == (TransferState.RECEIVING, Reason.BAD_OFFSET, 224)
    client.send(JOB)
    assert client.status().transfer_state is TransferState.STORED


def test_a_block_with_a_wrong_sum_is_refused_and_the_transfer_goes_on(client: Client) -> None:
    client.begin(JOB)
    assert client.transfer(TransferOp.DATA, JOB[:224], crc=zlib.crc32(JOB[:224]) ^ 1) == 0
    assert told(client) == (TransferState.RECEIVING, Reason.BAD_CHECKSUM, 0)
    client.send(JOB)
    assert client.status().transfer_state is TransferState.STORED


def test_more_than_was_announced_is_refused(client: Client) -> None:
    client.begin(OTHER[:100])
    client.transfer(TransferOp.DATA, OTHER[:101])
    assert told(client) == (TransferState.RECEIVING, Reason.BAD_OFFSET, 0)


def test_an_early_end_is_refused_and_the_transfer_goes_on(client: Client) -> None:
    client.begin(JOB)
    client.transfer(TransferOp.DATA, JOB[:224])
    client.transfer(TransferOp.END)
    assert told(client) == (TransferState.RECEIVING, Reason.BAD_OFFSET, 224)
    client.send(JOB)
    assert client.status().transfer_state is TransferState.STORED


def test_a_job_with_a_wrong_sum_is_not_stored(node: Node, client: Client) -> None:
    body = struct.pack(">I", len(OTHER)) + sha256(OTHER + b"?").digest()
    client.transfer(TransferOp.BEGIN, body)
    client.send(OTHER)
    assert told(client) == (TransferState.REFUSED, Reason.BAD_CHECKSUM, len(OTHER))
    assert files(node) == set()


def test_a_transfer_is_taken_up_where_it_stands_by_the_next_owner(node: Node, client: Client) -> None:
    client.begin(JOB)
    client.transfer(TransferOp.DATA, JOB[:224])
    client.grant(US, 1, lease=50)
    eventually(lambda: not client.status().leased)
    other = node.client()
    other.grant(US + 1, 2)
    assert other.begin(JOB) == 0
    assert told(other) == (TransferState.RECEIVING, Reason.NONE, 224)
    other.send(JOB)
    assert other.begin(JOB) == 0
    assert told(other) == (TransferState.STORED, Reason.NONE, len(JOB)), "what is stored need not come again"


def test_another_job_under_the_same_id_begins_anew(client: Client) -> None:
    client.begin(JOB)
    client.transfer(TransferOp.DATA, JOB[:224])
    client.begin(OTHER)
    assert told(client) == (TransferState.RECEIVING, Reason.NONE, 0)
    client.send(OTHER)
    assert client.status().transfer_state is TransferState.STORED


def test_a_restart_leaves_stored_jobs_and_drops_half_ones(node: Node, client: Client) -> None:
    client.begin(OTHER, id=1)
    client.send(OTHER, id=1)
    client.begin(JOB, id=2)
    client.transfer(TransferOp.DATA, JOB[:224], id=2)
    node.stop()
    node.start()
    assert files(node) == {"job-00000001.bin"}
    client = node.client()
    client.grant(US, 2)
    client.begin(JOB, id=2)
    assert told(client) == (TransferState.RECEIVING, Reason.NONE, 0)


def test_two_jobs_are_kept_and_the_oldest_goes_first_unless_it_is_in_work(node: Node, client: Client) -> None:
    for job in (5, 3):
        client.begin(OTHER, id=job)
        client.send(OTHER, id=job)
    assert files(node) == {"job-00000005.bin", "job-00000003.bin"}
    client.grant(US, 1, op=Op.START, command_id=1, argument=5)
    client.begin(JOB, id=9)
    client.send(JOB, id=9)
    assert files(node) == {"job-00000005.bin", "job-00000009.bin"}
    client.begin(OTHER, id=5)
    assert client.status().transfer_reason is Reason.BUSY, "a Job in work is not replaced"


def test_a_job_that_the_flash_does_not_take_is_refused_at_its_announcement(node: Node, client: Client) -> None:
    (node.folder / "job-00000007.part").mkdir()  # nothing can be written there
    client.begin(JOB)
    assert told(client) == (TransferState.REFUSED, Reason.NO_SPACE, 0)
    assert client.begin(JOB, id=8) == 0
    assert client.status().transfer_state is TransferState.RECEIVING


def test_flash_is_not_written_while_the_axes_move(client: Client) -> None:
    for job in (1, 2):
        client.begin(JOB, id=job)
        client.send(JOB, id=job)
    client.begin(OTHER, id=3)
    client.grant(US, 1, op=Op.START, command_id=1, argument=2)
    client.write(BELT_COMMAND, [1, 0])
    eventually(lambda: client.status().moving)
    assert client.transfer(TransferOp.DATA, OTHER[:224], id=3) == BUSY
    client.begin(OTHER, id=4)
    assert told(client) == (TransferState.RECEIVING, Reason.BUSY, 0)
    client.write(BELT_COMMAND, [0, 0])
    eventually(lambda: not client.status().moving)
    client.send(OTHER, id=3)
    assert client.status().transfer_state is TransferState.STORED


def test_an_empty_job_is_none(client: Client) -> None:
    client.begin(b"")
    assert told(client) == (TransferState.REFUSED, Reason.BAD_JOB, 0)


def test_blocks_of_a_transfer_that_was_not_announced_are_refused(client: Client) -> None:
    client.transfer(TransferOp.DATA, JOB[:224])
    assert told(client) == (TransferState.IDLE, Reason.NO_SUCH_JOB, 0)
    client.begin(JOB)
    client.transfer(TransferOp.DATA, JOB[:224], id=8)
    assert told(client) == (TransferState.RECEIVING, Reason.NO_SUCH_JOB, 0)
    client.transfer(TransferOp.DATA, JOB[:224], kind=STREAM)
    assert told(client) == (TransferState.RECEIVING, Reason.NO_SUCH_JOB, 0)


def test_what_is_malformed_is_an_illegal_value_and_changes_nothing(client: Client) -> None:
    client.begin(JOB)
    head = [2, 1, 0, 7, 0, 0, 0, 0, 0, 0]
    for length in (1, 224, 65535):
        assert client.write(TRANSFER_AT, [*head[:6], length, *head[7:]]) == ILLEGAL_VALUE
    assert client.transfer(TransferOp.BEGIN, b"too short") == ILLEGAL_VALUE
    assert client.write(TRANSFER_AT, [9, *head[1:]]) == 0
    assert told(client) == (TransferState.RECEIVING, Reason.UNKNOWN_COMMAND, 0)
    assert client.write(TRANSFER_AT, [0, *head[1:]]) == 0, "no operation"


# ---- streamed


def fill(client: Client, data: bytes, offset: int) -> int:
    """Send blocks until the ring is full; returns the offset reached."""
    while offset < len(data):
        answer = client.transfer(TransferOp.DATA, data[offset : offset + 200], offset=offset, kind=STREAM)
        if answer:
            assert answer == BUSY
            return offset
        offset += len(data[offset : offset + 200])
    return offset


def test_a_full_ring_is_busy_and_what_is_eaten_makes_room(client: Client) -> None:
    client.begin(JOB, kind=STREAM)
    assert client.status().ring_free == RING
    offset = fill(client, JOB, 0)
    assert offset == 2000 and client.status().ring_free == RING - 2000
    assert fill(client, JOB, offset) == offset, "still full"
    assert told(client)[2] == offset
    client.grant(US, 1, op=Op.START, command_id=1, argument=7)
    client.write(BELT_COMMAND, [1, 0])
    while offset < len(JOB):
        eventually(lambda: client.status().ring_free >= 200)
        offset = fill(client, JOB, offset)
    assert client.status().job_state is JobState.RUNNING, "the end has not come yet"
    client.transfer(TransferOp.END, kind=STREAM)
    eventually(lambda: client.status().job_state is JobState.DONE)
    status = client.status()
    assert (status.job_chunks, status.job_line) == (len(JOB), zlib.crc32(JOB))
    assert (status.transfer_state, status.ring_free) == (TransferState.STORED, RING)
    client.begin(JOB, kind=STREAM)
    assert told(client) == (TransferState.RECEIVING, Reason.NONE, 0), "what has been eaten has to come again"


def test_a_long_stream_goes_round_the_ring_unchanged(client: Client) -> None:
    data = random.Random(3).randbytes(9000)
    client.begin(data, kind=STREAM)
    fill(client, data[:100], 0)
    client.grant(US, 1, op=Op.START, command_id=1, argument=7)
    client.write(BELT_COMMAND, [1, 0])
    offset = 100
    while offset < len(data):
        offset = fill(client, data, offset)
        client.grant(US, 1)
    client.transfer(TransferOp.END, kind=STREAM)
    eventually(lambda: client.status().job_state is JobState.DONE)
    assert client.status().job_line == zlib.crc32(data)


def test_a_streamed_job_starts_when_its_head_is_there_and_only_once(client: Client) -> None:
    client.begin(JOB, kind=STREAM)
    client.transfer(TransferOp.DATA, JOB[:31], kind=STREAM)
    client.grant(US, 1, op=Op.START, command_id=1, argument=7)
    assert client.status().reason is Reason.NO_SUCH_JOB
    client.transfer(TransferOp.DATA, JOB[31:224], offset=31, kind=STREAM)
    client.grant(US, 1, op=Op.START, command_id=2, argument=7)
    assert client.status().job_state is JobState.RUNNING
    client.begin(JOB, id=8, kind=STREAM)
    assert client.status().transfer_reason is Reason.BUSY, "the ring feeds a Job"
    client.begin(OTHER, id=8)
    assert client.status().transfer_reason is Reason.BUSY, "and its rest has to come through the window"
    client.grant(US, 1, op=Op.STOP, command_id=3)
    client.transfer(TransferOp.DATA, JOB[224:300], offset=224, kind=STREAM)
    assert told(client) == (TransferState.IDLE, Reason.NO_SUCH_JOB, 224), "nobody would take it"
    client.grant(US, 1, op=Op.START, command_id=4, argument=7)
    assert client.status().reason is Reason.NO_SUCH_JOB
    client.begin(JOB, kind=STREAM)
    assert told(client) == (TransferState.RECEIVING, Reason.NONE, 0), "from its beginning again"


def test_a_streamed_job_with_a_wrong_sum_ends_early(client: Client) -> None:
    body = struct.pack(">I", len(OTHER)) + sha256(OTHER + b"?").digest()
    client.transfer(TransferOp.BEGIN, body, kind=STREAM)
    client.send(OTHER, kind=STREAM)
    assert told(client) == (TransferState.REFUSED, Reason.BAD_CHECKSUM, len(OTHER))
    client.grant(US, 1, op=Op.START, command_id=1, argument=7)
    assert client.status().reason is Reason.NO_SUCH_JOB


def test_a_node_without_motion_takes_no_stream(make: Make, tmp_path: Path) -> None:
    client = make(node_file(tmp_path, BELT)).client()
    client.grant(US, 1)
    client.begin(JOB, kind=STREAM)
    assert told(client) == (TransferState.REFUSED, Reason.NO_SPACE, 0)
