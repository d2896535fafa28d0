"""Commands that run at most once, on a node whose Motion counts its starts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware import safety_alone
from tests.firmware.conftest import Make
from tests.firmware.factories import BELT, BELT_COMMAND, LAMPS, RUN, node_file, with_jobs
from tests.firmware.rig import Client, Node, eventually
from tests.firmware.safety_alone import Bench
from twin.node import COMMAND_AT, Fault, JobState, NodeCommand, NodeStatus, Op, Reason, Result, TransferState
from twin.wire import encode

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


def test_late_is_judged_by_the_time_of_the_write_and_not_of_the_last_tick() -> None:
    bench = Bench()
    bench.grant()
    bench.tick(10)
    bench.ticks.us += 400_000  # the node was away
    assert bench.judged(op=Op.START, argument=7, command_id=9, not_after=399) == (Result.REFUSED, Reason.TOO_LATE, 0)
    assert bench.judged(op=Op.START, argument=7, command_id=9, not_after=410)[0] is Result.DONE
    bench.tick(10)
    assert bench.status.uptime == 420


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
    assert client.status().fault is Fault.RESTARTED
    client.grant(US, 2, sequence=8)
    client.grant(US, 2, op=Op.RESET, command_id=69, sequence=9)
    client.let_lapse(US, 2)
    client.grant(US, 3, op=Op.START, argument=7, command_id=70, sequence=9)
    client.grant(US, 3, op=Op.START, argument=7, command_id=70, sequence=9)
    status = client.status()
    assert (status.leased, status.command_id, status.executions, starts(client)) == (True, 69, 1, 0)
    client.grant(US, 3, op=Op.START, argument=7, command_id=71, sequence=10)
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


# ---- at their exact limits: Safety alone


def test_the_last_sixteen_commands_are_remembered_and_no_more() -> None:
    bench = Bench()
    bench.grant()
    for number in range(1, 18):
        bench.judged(op=Op.STOP, command_id=number)
    told = list(bench.motion.told)
    for number in range(2, 18):
        assert bench.judged(op=Op.STOP, command_id=number) == (Result.DONE, Reason.REPEATED, 1)
    assert bench.motion.told == told == ["stop"] * 17
    bench.judged(op=Op.STOP, command_id=1)
    assert len(bench.motion.told) == 18, "it was forgotten"
    bench.judged(op=Op.STOP, command_id=3)
    assert len(bench.motion.told) == 18, "the oldest was forgotten, not this one"


@pytest.mark.parametrize("uptime", [0, 5000, 2**32 - 3])
@pytest.mark.parametrize(
    ("later", "runs"), [(0, True), (-1, False), (1, True), (2**31 - 1, True), (2**31, True), (2**31 + 1, False)]
)
def test_a_command_runs_until_its_very_millisecond_over_the_wrap_of_uptime(uptime: int, later: int, runs: bool) -> None:
    bench = Bench()
    bench.grant()
    bench.bank.put32(8, uptime)
    judged = bench.judged(op=Op.START, argument=0x10203040, command_id=9, not_after=(uptime + later) % 2**32)
    assert judged == ((Result.DONE, Reason.NONE, 1) if runs else (Result.REFUSED, Reason.TOO_LATE, 0))
    assert bench.motion.told == ([0x10203040] if runs else [])


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1))
def test_a_sequence_that_is_newer_by_however_much_is_another_command_and_one_that_is_older_is_none(
    first: int, then: int, command_id: int
) -> None:
    bench = Bench()
    bench.grant(sequence=first)
    bench.grant(sequence=first, op=Op.STOP, command_id=command_id)
    assert (bench.motion.told, bench.status.command_id) == ([], 0), "a claim's own sequence commands nothing"
    bench.grant(sequence=then, op=Op.STOP, command_id=command_id)
    newer = then - first & 0xFFFF
    told = ["stop"] if 0 < newer < 0x8000 else []
    assert bench.motion.told == told and bench.status.repeated == bench.status.refused == (newer >= 0x8000)
    assert (bench.status.sequence, bench.status.command_id) == ((then, command_id) if told else (0, 0))


@pytest.mark.parametrize("op", [4, 0x0100, 0x0101, 0xFFFF])
def test_a_command_that_there_is_not_is_refused(op: int) -> None:
    bench = Bench()
    bench.grant()
    words = encode(NodeCommand(owner=safety_alone.US, epoch=1, heartbeat=1, sequence=5, command_id=6, not_after=1000))
    words[7] = op
    assert bench.write(COMMAND_AT, words) == 0
    status = bench.status
    assert (status.result, status.reason, status.refused) == (Result.REFUSED, Reason.UNKNOWN_COMMAND, 1)
    assert bench.motion.told == []


def test_a_refused_command_is_tried_again_under_its_own_id() -> None:
    bench = Bench()
    bench.grant()
    bench.motion.refuses = int(Reason.NO_SUCH_JOB)
    assert bench.judged(op=Op.START, command_id=9) == (Result.REFUSED, Reason.NO_SUCH_JOB, 0)
    bench.motion.refuses = 0
    assert bench.judged(op=Op.START, command_id=9) == (Result.DONE, Reason.NONE, 1)
    assert bench.judged(op=Op.NONE, command_id=9) == (Result.NONE, Reason.NONE, 0)
