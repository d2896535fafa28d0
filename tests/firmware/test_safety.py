"""Who may command a node, and what it does when nobody does: over sockets, in the real interpreter."""

import struct
from pathlib import Path

from tests.firmware.conftest import Make
from tests.firmware.factories import (
    BEACON,
    BELT_COMMAND,
    BELT_STATUS,
    LAMP,
    LAMPS_COMMAND,
    LAMPS_STATUS,
    OPEN,
    RUN,
    SPEED,
    TRIPPED,
)
from tests.firmware.rig import PATIENCE_S, STANDINS, Client, Node, eventually, launch
from twin.node import (
    COMMAND_AT,
    TRANSFER_AT,
    Fault,
    NodeCommand,
    Op,
    Reason,
    Result,
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
    client.let_lapse(US, 5)
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
    client.let_lapse(US, 1)
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
    client.let_lapse(US, 1)
    assert not client.status().latched
    client.grant(US, 2)
    assert running(node, client)


def test_a_held_output_stays_when_its_owner_falls_silent(make: Make) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1)
    client.write(LAMPS_COMMAND, [1, 1 << 9])
    eventually(lambda: (node.out(LAMP), node.out(BEACON)) == (1, 1))
    client.let_lapse(US, 1)
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
    client.let_lapse(US, 1)
    client.grant(US, 2)
    assert client.status().latched, "a new epoch clears no latch"
    client.write(BELT_COMMAND, [0, 0])
    client.write(BELT_COMMAND, [1, FULL])
    client.settle()
    assert at_rest(node)
    client.grant(US, 2, op=Op.RESET, command_id=1)
    status = client.status()
    assert (status.result, status.latched, status.fault) == (Result.DONE, False, Fault.NONE)
    client.settle()
    assert at_rest(node), "a reset starts nothing"
    client.write(LAMPS_COMMAND, [1, 0])
    eventually(lambda: node.out(LAMP) == 1)
    assert node.out(RUN) == 0
    client.write(BELT_COMMAND, [1, 100])
    client.write(BELT_COMMAND, [0, 100])
    client.write(BELT_COMMAND, [1, 100])
    client.settle()
    assert node.out(RUN) == 0, "the whole record must have been at its defaults"
    client.write(BELT_COMMAND, [0, 0])
    assert running(node, client)


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
    client.settle()
    assert at_rest(node), "the cause has gone, the latch has not"
    client.grant(US, 1, op=Op.RESET, command_id=2)
    client.settle()
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
    client.settle()
    assert node.out(LAMP) == 0


def test_the_whole_grant_is_one_write(make: Make) -> None:
    client = make().client()
    words = encode(NodeCommand(owner=US, epoch=1, lease=5000, heartbeat=1))
    assert client.write(COMMAND_AT, words[:4]) == 0
    assert client.status().leased, "owner and epoch are a claim"
    assert client.write(COMMAND_AT + 4, [2000, 3]) == 0
    assert client.read(COMMAND_AT, 6) == [0, US, 0, 1, 2000, 3]
