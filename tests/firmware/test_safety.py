"""Who may command a node, and what it does when nobody does: over sockets, in the real interpreter."""

import struct
from pathlib import Path

import pytest

from tests.firmware.conftest import Make
from tests.firmware.factories import (
    BEACON,
    BELT,
    BELT_COMMAND,
    BELT_STATUS,
    LAMP,
    LAMPS,
    LAMPS_COMMAND,
    LAMPS_STATUS,
    OPEN,
    RUN,
    SPEED,
    TRIPPED,
    node_file,
    with_jobs,
)
from tests.firmware.rig import PATIENCE_S, STANDINS, Client, Node, eventually, launch
from twin.node import (
    COMMAND_AT,
    TRANSFER_AT,
    Fault,
    JobState,
    NodeCommand,
    NodeStatus,
    Op,
    Reason,
    Result,
    TransferState,
)
from twin.wire import encode

US, THEM = 11, 22
FULL = 5000  # raw speed at full duty
FAILED = 4


def running(node: Node, client: Client) -> bool:
    """Command the belt to run, and whether it then does."""
    assert client.write(BELT_COMMAND, [1, FULL]) == 0
    eventually(lambda: node.out(RUN) == 1 and node.out(SPEED) == 65535, "the belt does not run")
    return True


def let_lapse(client: Client, owner: int = US, epoch: int = 1) -> None:
    """Leave the node alone until it has noticed."""
    lost = client.status().leases_lost
    assert client.grant(owner, epoch, lease=50) == 0
    eventually(lambda: client.status().leases_lost == lost + 1, "the lease has not ended")


def at_rest(node: Node) -> bool:
    """Nothing is switched on; a set point may still be ramping down."""
    return node.out(RUN) == 0 and node.out(LAMP) == 0


def test_a_claim_is_granted_and_shown(make: Make) -> None:
    client = make().client()
    before = client.status()
    assert (before.leased, before.owner, before.epoch) == (False, 0, 0)
    assert client.grant(US, 3) == 0
    after = client.status()
    assert (after.leased, after.owner, after.epoch, after.heartbeat) == (True, US, 3, 1)
    assert (after.latched, after.fault, after.refused) == (False, Fault.NONE, 0)


def test_a_foreign_claim_under_a_live_lease_is_refused_whatever_its_epoch(make: Make) -> None:
    node = make()
    ours, theirs = node.client(), node.client()
    ours.grant(US, 3)
    for epoch in (1, 3, 4, 2**32 - 1):
        assert theirs.grant(THEM, epoch) == 0
    assert theirs.grant(US, 4) == 0, "the same owner cannot jump an epoch either"
    status = ours.status()
    assert (status.owner, status.epoch, status.refused, status.reason) == (US, 3, 5, Reason.LEASE_LIVE)
    assert ours.read(COMMAND_AT, 4) == [0, US, 0, 3]
    assert ours.write(BELT_COMMAND, [0, 0]) == 0


def test_only_the_owners_connection_commands(make: Make) -> None:
    node = make()
    ours, theirs = node.client(), node.client()
    ours.grant(US, 1)
    assert theirs.write(BELT_COMMAND, [1, FULL]) == FAILED
    assert theirs.write(TRANSFER_AT, [0] * 10) == FAILED
    assert theirs.write(COMMAND_AT + 5, [99]) == FAILED
    assert theirs.ask(struct.pack(">BHH", 6, LAMPS_COMMAND, 1)) == bytes([0x86, FAILED])
    assert ours.status().refused == 4
    assert ours.read(BELT_COMMAND, 2) == [0, 0]
    assert running(node, ours)


def test_the_owner_that_connects_anew_is_the_owner_and_its_old_connection_is_not(make: Make) -> None:
    node = make()
    old, new = node.client(), node.client()
    old.grant(US, 1)
    assert new.write(BELT_COMMAND, [0, 1]) == FAILED
    assert new.grant(US, 1) == 0
    assert new.write(BELT_COMMAND, [0, 1]) == 0
    assert old.write(BELT_COMMAND, [0, 2]) == FAILED


def test_a_claim_without_an_owner_asks_for_nothing(make: Make) -> None:
    client = make().client()
    assert client.grant(0, 9) == 0
    status = client.status()
    assert (status.leased, status.epoch, status.refused) == (False, 0, 0)


def test_a_heartbeat_that_does_not_change_is_silence(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1, lease=100)
    eventually(lambda: client.grant(US, 1, lease=100, beat=False) == 0 and not client.status().leased)
    assert client.status().leases_lost == 1


def test_the_owner_renews_by_its_heartbeat_alone(make: Make) -> None:
    client = make().client()
    client.grant(US, 1)
    assert client.ask(struct.pack(">BHH", 6, COMMAND_AT + 5, 77))[0] == 6
    assert client.status().heartbeat == 77


def test_after_a_lease_only_a_higher_epoch_is_granted(make: Make) -> None:
    client = make().client()
    client.grant(US, 5)
    let_lapse(client, epoch=5)
    for owner, epoch in ((US, 5), (THEM, 5), (THEM, 4)):
        client.grant(owner, epoch)
        assert (client.status().leased, client.status().reason) == (False, Reason.OLD_EPOCH)
    client.grant(THEM, 6)
    assert client.status().owner == THEM


def test_an_epoch_outlives_a_restart(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 40_000)
    boot = client.status().boot_id
    node.stop()
    node.start()
    client = node.client()
    client.grant(THEM, 40_000)
    status = client.status()
    assert (status.leased, status.reason, status.epoch) == (False, Reason.OLD_EPOCH, 40_000)
    assert status.boot_id == boot + 1
    client.grant(THEM, 40_001)
    assert client.status().leased


def test_a_lease_that_has_ended_is_over_also_when_the_tick_is_late(tmp_path: Path) -> None:
    (tmp_path / "pins.bin").write_bytes(bytes(256))
    said, _ = launch(tmp_path, STANDINS / "late_tick.py").communicate(timeout=PATIENCE_S)
    assert said.splitlines() == ["claim 0", "in time 0", "too late 4", "renewal 4", "leased 0 latched True"]


def test_silence_brings_every_output_to_its_default_and_latches(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1)
    assert running(node, client)
    client.write(LAMPS_COMMAND, [1, 0])
    eventually(lambda: node.out(LAMP) == 1)
    let_lapse(client)
    status = client.status()
    assert (status.latched, status.fault, status.leased, status.owner) == (True, Fault.SILENCE, False, 0)
    assert at_rest(node)
    eventually(lambda: node.out(SPEED) == 0, "the set point does not ramp down")
    assert client.write(BELT_COMMAND, [1, FULL]) == FAILED


def test_silence_over_commands_at_their_defaults_latches_nothing(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1)
    client.write(BELT_COMMAND, [0, 0])
    let_lapse(client)
    assert not client.status().latched
    client.grant(US, 2)
    assert running(node, client)


def test_a_held_output_stays_when_its_owner_falls_silent(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1)
    client.write(LAMPS_COMMAND, [1, 1 << 9])
    eventually(lambda: (node.out(LAMP), node.out(BEACON)) == (1, 1))
    let_lapse(client)
    eventually(lambda: node.out(LAMP) == 0)
    assert node.out(BEACON) == 1
    client.grant(US, 2)
    client.grant(US, 2, op=Op.RESET, command_id=1)
    eventually(lambda: node.out(BEACON) == 0)


def test_nothing_starts_again_until_a_reset_and_then_each_command_needs_a_fresh_edge(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1)
    assert running(node, client)
    client.write(LAMPS_COMMAND, [0, 0])
    let_lapse(client)
    client.grant(US, 2)
    assert client.status().latched, "a new epoch clears no latch"
    client.write(BELT_COMMAND, [0, 0])
    client.write(BELT_COMMAND, [1, FULL])
    settle(client)
    assert at_rest(node)
    client.grant(US, 2, op=Op.RESET, command_id=1)
    status = client.status()
    assert (status.result, status.latched, status.fault) == (Result.DONE, False, Fault.NONE)
    settle(client)
    assert at_rest(node), "a reset starts nothing"
    client.write(LAMPS_COMMAND, [1, 0])
    eventually(lambda: node.out(LAMP) == 1)
    assert node.out(RUN) == 0
    client.write(BELT_COMMAND, [1, 100])
    client.write(BELT_COMMAND, [0, 100])
    client.write(BELT_COMMAND, [1, 100])
    settle(client)
    assert node.out(RUN) == 0, "the whole record must have been at its defaults"
    client.write(BELT_COMMAND, [0, 0])
    assert running(node, client)


def settle(client: Client) -> None:
    """Let some ticks pass."""
    until = client.status().uptime + 40
    eventually(lambda: client.status().uptime >= until)


def test_an_interlock_holds_its_output_off_and_latches(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1)
    assert running(node, client)
    node.put(TRIPPED, 1)
    eventually(lambda: at_rest(node))
    assert client.status().fault is Fault.INTERLOCK
    assert client.read(BELT_STATUS, 2) == [1 << 2, 0]
    client.grant(US, 1, op=Op.RESET, command_id=1)
    status = client.status()
    assert (status.result, status.reason, status.latched) == (Result.REFUSED, Reason.LATCHED, True)
    node.put(TRIPPED, 0)
    settle(client)
    assert at_rest(node), "the cause has gone, the latch has not"
    client.grant(US, 1, op=Op.RESET, command_id=2)
    settle(client)
    assert at_rest(node)
    client.write(BELT_COMMAND, [0, 0])
    assert running(node, client)


def test_what_an_interlock_forbids_never_comes_on(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1)
    node.put(OPEN, 1)
    eventually(lambda: client.read(LAMPS_STATUS, 1)[0] & 1 == 1)
    client.write(LAMPS_COMMAND, [1, 0])
    settle(client)
    assert node.out(LAMP) == 0


# ---- commands that run at most once, on a node whose Motion counts its starts

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
    settle(client)
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
    let_lapse(client)
    client.grant(US, 2, sequence=12)
    status = client.status()
    assert (status.sequence, status.result, status.command_id) == (9, Result.DONE, 70)


def test_silence_stops_a_running_job_and_latches(jobs: Node) -> None:
    client = jobs.client()
    start(client, command_id=70)
    let_lapse(client)
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
    let_lapse(client)
    eventually(lambda: client.status().latched)
    status = client.status()
    assert (status.job_state, status.job_chunks, status.fault) == (JobState.DONE, len(JOB), Fault.SILENCE)
    eventually(lambda: at_rest(node))


def test_the_whole_grant_is_one_write(make: Make) -> None:
    client = make().client()
    words = encode(NodeCommand(owner=US, epoch=1, lease=5000, heartbeat=1))
    assert client.write(COMMAND_AT, words[:4]) == 0
    assert client.status().leased, "owner and epoch are a claim"
    assert client.write(COMMAND_AT + 4, [2000, 3]) == 0
    assert client.read(COMMAND_AT, 6) == [0, US, 0, 1, 2000, 3]
