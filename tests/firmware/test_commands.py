"""Commands that run at most once, on a node whose Motion counts its starts."""

from pathlib import Path

import pytest

from tests.firmware.conftest import Make
from tests.firmware.factories import BELT, BELT_COMMAND, LAMPS, RUN, node_file, with_jobs
from tests.firmware.rig import Client, Node, eventually
from twin.node import Fault, JobState, NodeStatus, Op, Reason, Result, TransferState

US = 11
FULL = 5000  # raw speed at full duty
JOB = bytes(range(256)) * 4


@pytest.fixture
def jobs(make: Make, tmp_path: Path) -> Node:
    """A node that holds Job 7."""
    return loaded(make, tmp_path)


def loaded(make: Make, folder: Path, **motion: str) -> Node:
    node = make(with_jobs(node_file(folder, BELT + LAMPS), **motion), main="with_motion.py")
    client = node.client()
    client.grant(US, 1)
    client.begin(JOB)
    client.send(JOB)
    assert client.status().transfer_state is TransferState.STORED
    return node


def start(client: Client, **command: int) -> NodeStatus:
    client.grant(US, 1, op=Op.START, argument=7, **command)
    return client.status()


def starts(client: Client) -> int:
    """How often the Motion was told to start."""
    return client.status().underruns


def test_a_command_runs_once_however_often_it_comes(jobs: Node) -> None:
    client = jobs.client()
    status = start(client, command_id=70, sequence=1)
    assert (status.result, status.reason, status.executions, status.command_id) == (Result.DONE, Reason.NONE, 1, 70)
    for sequence in (1, 1, 2, 3):
        status = start(client, command_id=70, sequence=sequence)
        assert (status.sequence, status.result, status.executions) == (sequence, Result.DONE, 1)
    start(client, command_id=71, sequence=4)
    status = start(client, command_id=70, sequence=5)
    assert (status.result, status.executions, status.command_id) == (Result.DONE, 1, 70)
    assert starts(client) == 1


def test_a_command_that_comes_too_late_is_refused(jobs: Node) -> None:
    client = jobs.client()
    client.settle()
    now = client.status().uptime
    status = start(client, command_id=70, not_after=now - 30)
    assert (status.result, status.reason, status.executions) == (Result.REFUSED, Reason.TOO_LATE, 0)
    assert starts(client) == 0
    assert start(client, command_id=70, not_after=now + 60_000).result is Result.DONE


def test_why_a_job_does_not_start_is_told(jobs: Node) -> None:
    client = jobs.client()
    client.grant(US, 1, op=Op.START, command_id=1, argument=8)
    assert client.status().reason is Reason.NO_SUCH_JOB
    client.grant(US, 1, op=Op.START, command_id=2, argument=7)
    client.grant(US, 1, op=Op.START, command_id=3, argument=7)
    assert client.status().reason is Reason.BUSY
    assert client.status().job_state is JobState.RUNNING
    client.grant(US, 1, op=Op.STOP, command_id=4)
    assert client.status().job_state is JobState.ABORTED
    client.grant(US, 1, op=Op.NONE, command_id=5)
    assert client.status().result is Result.NONE


def test_a_node_without_motion_knows_no_jobs(make: Make) -> None:
    client = make().client()
    client.grant(US, 1)
    client.grant(US, 1, op=Op.START, command_id=1)
    status = client.status()
    assert (status.result, status.reason, status.refused) == (Result.REFUSED, Reason.UNKNOWN_COMMAND, 1)
    client.grant(US, 1, op=Op.STOP, command_id=2)
    assert client.status().result is Result.DONE


def test_a_claim_commands_nothing_so_a_command_from_before_a_restart_does_not_run_again(jobs: Node) -> None:
    client = jobs.client()
    start(client, command_id=70, sequence=9)
    jobs.stop()
    jobs.start()
    client = jobs.client()
    client.grant(US, 2, op=Op.START, argument=7, command_id=70, sequence=9)
    client.grant(US, 2, op=Op.START, argument=7, command_id=70, sequence=9)
    status = client.status()
    assert (status.leased, status.result, status.executions, starts(client)) == (True, Result.NONE, 0, 0)
    client.grant(US, 2, op=Op.START, argument=7, command_id=71, sequence=10)
    assert starts(client) == 1, "the Job itself has outlived the restart"


def test_a_claim_leaves_the_last_result_to_be_read(jobs: Node) -> None:
    client = jobs.client()
    start(client, command_id=70, sequence=9)
    client.let_lapse(US, 1)
    client.grant(US, 2, sequence=12)
    status = client.status()
    assert (status.sequence, status.result, status.command_id) == (9, Result.DONE, 70)


def test_silence_stops_a_running_job_and_latches(jobs: Node) -> None:
    client = jobs.client()
    start(client, command_id=70)
    client.let_lapse(US, 1)
    status = client.status()
    assert (status.latched, status.fault, status.job_state) == (True, Fault.SILENCE, JobState.ABORTED)
    client.grant(US, 2)
    client.grant(US, 2, op=Op.START, command_id=71, argument=7)
    assert client.status().reason is Reason.LATCHED


def test_a_stored_job_that_may_finish_does_and_then_the_outputs_latch(make: Make, tmp_path: Path) -> None:
    node = loaded(make, tmp_path, on_link_loss="finish")
    client = node.client()
    start(client, command_id=70)
    client.write(BELT_COMMAND, [1, FULL])
    client.let_lapse(US, 1)
    eventually(lambda: client.status().latched)
    status = client.status()
    assert (status.job_state, status.job_chunks, status.fault) == (JobState.DONE, len(JOB), Fault.SILENCE)
    eventually(lambda: node.out(RUN) == 0)
