"""The lease and what takes effect under it, at their exact limits: Safety alone, in a time that stands in the test's hands."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware.alone import WRAP
from tests.firmware.safety_alone import BELT, LAMPS, LINE, NOBODY, THEM, THERE, US, Bench
from twin import node as n
from twin.node import Fault, JobState, NodeCommand, Op, Reason, Result
from twin.wire import encode

JOB_STATE, MOVING = 26, (11, 2)
ANY_ID = st.integers(1, 2**32 - 1)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ---- the lease


@pytest.mark.parametrize(
    ("asked", "lasts"), [(0, 50), (49, 50), (50, 50), (51, 51), (300, 300), (500, 500), (5000, 5000), (5001, 5000), (65535, 5000)]
)
@pytest.mark.parametrize("start", [0, WRAP - 40])
def test_a_lease_ends_at_its_very_millisecond_also_over_the_clocks_wrap(asked: int, lasts: int, start: int) -> None:
    bench = Bench(ms=start)
    bench.grant(lease=asked)
    bench.tick(lasts - 1)
    assert (bench.status.leased, bench.status.owner, bench.status.leases_lost) == (True, US, 0)
    assert bench.safety.deadline(0) == (start * 1000 + lasts * 1000) % WRAP
    bench.tick(1)
    assert (bench.status.leased, bench.status.owner, bench.status.leases_lost) == (False, 0, 1)
    bench.tick(1)
    assert bench.status.leases_lost == 1


def test_only_a_changed_heartbeat_makes_the_lease_start_anew(bench: Bench) -> None:
    bench.grant(lease=100)
    bench.tick(60)
    bench.grant(lease=100)
    bench.tick(60)
    assert bench.status.leased
    bench.grant(lease=100, beat=0)
    bench.tick(39)
    assert bench.status.leased
    bench.tick(1)
    assert not bench.status.leased


def test_a_heartbeat_that_differs_in_its_high_byte_alone_has_changed(bench: Bench) -> None:
    bench.grant(lease=100)
    bench.tick(99)
    bench.grant(lease=100, beat=256)
    assert bench.status.heartbeat == 257
    bench.tick(99)
    assert bench.status.leased


def test_without_a_lease_its_end_is_now_and_a_job_that_may_finish_has_none(bench: Bench) -> None:
    assert bench.safety.deadline(1234) == 1234
    bench.grant(lease=100)
    bench.motion.running = bench.motion.finishes = True
    bench.store.jobs.add(0)
    bench.tick(100)
    assert bench.safety.deadline(1234) is None
    bench.grant(epoch=2, lease=100)
    assert bench.safety.deadline(1234) == 200_000, "a new owner's lease counts again"


def test_a_write_after_the_leases_end_finds_it_ended_before_the_tick_does(bench: Bench) -> None:
    bench.grant(lease=100)
    bench.ticks.us += 100_000
    assert bench.write(BELT, [0, 0]) == 4
    assert (bench.status.leased, bench.status.refused) == (False, 1)


@settings(max_examples=10)
@given(ANY_ID, st.integers(1, 2**32 - 2))
def test_owner_and_epoch_are_told_from_others_in_every_bit(owner: int, epoch: int) -> None:
    bench = Bench(epoch=epoch - 1)
    assert bench.grant(owner, epoch) == 0
    assert (bench.status.owner, bench.status.epoch, bench.status.leased) == (owner, epoch, True)
    for bit in range(32):
        bench.grant(owner ^ 1 << bit, epoch, peer=THERE)
        bench.grant(owner, epoch ^ 1 << bit, peer=THERE)
        assert bench.status.reason is Reason.LEASE_LIVE
        assert bench.write(BELT, [0, 0], THERE) == 4
        assert bench.status.reason is Reason.NOT_OWNER
    assert bench.write(BELT, [0, 0]) == 0
    bench.tick(500)
    bench.grant(owner, epoch)
    assert (bench.status.leased, bench.status.reason) == (False, Reason.OLD_EPOCH)
    bench.grant(owner, epoch + 1)
    assert bench.status.leased and bench.kept == [epoch - 1, epoch, epoch + 1]


@pytest.mark.parametrize("bit", range(32))
def test_an_owner_of_one_bit_is_an_owner(bench: Bench, bit: int) -> None:
    bench.grant(1 << bit)
    assert (bench.status.leased, bench.status.owner) == (True, 1 << bit)


def test_the_epoch_from_before_the_start_is_shown_and_has_passed() -> None:
    bench = Bench(epoch=70_000)
    assert bench.status.epoch == 70_000
    bench.grant(epoch=70_000)
    assert (bench.status.leased, bench.status.refused) == (False, 1)
    bench.grant(epoch=70_001)
    assert bench.status.leased


def test_an_epoch_may_be_16_million_above_the_highest_and_no_more() -> None:
    bench = Bench(epoch=1000)
    for epoch in (2**32 - 1, 1000 + 2**24 + 1):
        bench.grant(epoch=epoch)
        assert (bench.status.leased, bench.status.epoch, bench.status.reason) == (False, 1000, Reason.OLD_EPOCH)
    bench.grant(epoch=1000 + 2**24)
    assert bench.status.leased


# ---- the door


def test_a_claim_that_is_refused_takes_the_rights_of_the_connection_that_it_came_by(bench: Bench) -> None:
    bench.grant()
    bench.grant(THEM, epoch=7)
    assert (bench.status.owner, bench.status.reason) == (US, Reason.LEASE_LIVE)
    assert bench.write(BELT, [1, 0]) == bench.write(n.COMMAND_AT + 5, [99]) == 4
    bench.grant(THEM, epoch=7, peer=THERE)
    bench.grant()
    assert bench.write(BELT, [1, 0]) == 0, "the owner has said that it is there"
    bench.grant(THEM, epoch=7, peer=THERE)
    assert bench.write(BELT, [1, 0]) == 0, "and who asks elsewhere takes nothing from it"


def test_a_broadcast_is_nobodys(bench: Bench) -> None:
    bench.grant(peer=NOBODY)
    assert not bench.status.leased
    bench.grant(lease=100, peer=LINE)
    for first, words in ((BELT, [1, 0]), (n.COMMAND_AT + 5, [99]), (n.TRANSFER_AT, [0] * 10)):
        assert bench.write(first, words, NOBODY) == 4
    bench.ticks.us += 99_000
    bench.grant(lease=100, peer=NOBODY)
    bench.tick(1)
    assert not bench.status.leased, "it renews nothing"
    assert bench.write(BELT, [1, 0], NOBODY) == 4


def test_on_a_line_on_which_all_look_alike_a_grant_says_whose_it_is(bench: Bench) -> None:
    bench.grant(peer=LINE)
    assert bench.write(n.COMMAND_AT + 5, [99], LINE) == 4
    start = encode(NodeCommand(sequence=1, op=Op.START, command_id=5, argument=7, not_after=1000))[6:]
    assert bench.write(n.COMMAND_AT + 6, start, LINE) == 4 and bench.motion.told == []
    assert bench.write(BELT, [1, 0], LINE) == 0
    assert bench.judged(peer=LINE, op=Op.START, command_id=5, argument=7)[0] is Result.DONE and bench.motion.told == [7]


def test_what_may_be_written_is_the_grant_one_machines_command_or_the_window_from_its_head_on(bench: Bench) -> None:
    def allowed(first: int, last: int) -> bool:
        if first == n.TRANSFER_AT:
            return n.TRANSFER_HEAD <= last - first + 1 <= n.TRANSFER_HEAD + n.TRANSFER_BYTES // 2
        return any(low <= first and last <= high for low, high in ((64, 77), (BELT, BELT + 1), (LAMPS, LAMPS + 1)))

    for first in (*range(60, 82), *range(126, 132), *range(250, 262), *range(296, 306), 1023):
        for count in range(1, 124):
            assert bool(bench.safety.writable(first, count)) == allowed(first, first + count - 1), (first, count)


def test_every_refusal_is_counted_beyond_a_byte_and_leaves_everything_as_it_is(bench: Bench) -> None:
    bench.grant()
    before = bytes(bench.bank.view[2 * n.COMMAND_AT :])
    for k in range(1, 300):
        assert bench.write(*((BELT, [1, 1]), (n.TRANSFER_AT, [0] * 10), (n.COMMAND_AT + 4, [9]))[k % 3], THERE) == 4
        assert bench.status.refused == k
    assert bytes(bench.bank.view[2 * n.COMMAND_AT :]) == before and bench.window.writes == []


@pytest.mark.parametrize("words", [[0, THEM & 0xFFFF], [0, 5, 0]])
def test_a_write_without_the_whole_of_owner_and_epoch_claims_nothing(bench: Bench, words: list[int]) -> None:
    assert bench.write(n.COMMAND_AT, words) == 4
    assert not bench.status.leased
    assert bench.write(n.COMMAND_AT, [0, 5, 0, 6]) == 0
    assert (bench.status.owner, bench.status.epoch) == (5, 6)


def test_the_owners_transfer_goes_to_the_window_and_its_answer_comes_back(bench: Bench) -> None:
    bench.grant()
    assert bench.write(n.TRANSFER_AT, [1, 2, 0xFFFF]) == 6
    assert bench.window.writes == [bytes([0, 1, 0, 2, 0xFF, 0xFF])]


# ---- what takes effect


def test_commands_take_effect_at_the_next_tick_and_that_is_told(bench: Bench) -> None:
    bench.grant()
    bench.tick()
    bench.tick()
    assert not bench.safety.changed
    assert bench.write(BELT, [0x8001, 0x0102]) == 0
    assert bench.effect(BELT) == [0, 0]
    bench.tick()
    assert bench.effect(BELT) == [0x8001, 0x0102] and bench.effect(LAMPS) == [0, 7] and bench.safety.changed


def test_without_a_lease_every_command_is_at_its_default(bench: Bench) -> None:
    bench.tick()
    assert bench.effect(BELT) == [0, 0] and bench.effect(LAMPS) == [0, 7]
    assert [bench.bank.u16(at) for at in (BELT, BELT + 1, LAMPS, LAMPS + 1)] == [0, 0, 0, 7]
    bench.grant(lease=100)
    bench.write(LAMPS, [1, 8])
    bench.tick(99)
    assert bench.effect(LAMPS) == [1, 8]
    bench.tick(1)
    assert bench.effect(LAMPS) == [0, 7] and bench.safety.changed


@pytest.mark.parametrize(("word", "value"), [(LAMPS, 1), (LAMPS + 1, 0), (LAMPS + 1, 8), (BELT + 1, 0x0100)])
def test_silence_over_any_command_that_is_not_at_its_default_latches(bench: Bench, word: int, value: int) -> None:
    bench.grant(lease=100)
    bench.write(word, [value])
    bench.tick(100)
    assert (bench.status.latched, bench.status.fault) == (True, Fault.SILENCE)
    assert bench.safety.silent and bench.safety.latched


def test_silence_over_defaults_latches_nothing_but_a_running_job_does(bench: Bench) -> None:
    bench.grant(lease=100)
    bench.write(LAMPS, [0, 7])
    bench.tick(100)
    assert not bench.status.latched and bench.motion.told == []
    bench.grant(epoch=2, lease=100)
    bench.motion.running = True
    bench.tick(100)
    assert bench.status.fault is Fault.SILENCE and bench.motion.told == ["stop"]


@pytest.mark.parametrize("stored", [True, False])
def test_only_a_job_that_lies_whole_in_flash_finishes_in_silence(stored: bool) -> None:
    bench = Bench(run=(BELT, 0))
    bench.bank.put32(24, 0x10002)
    bench.store.jobs.add(0x10002 if stored else 2)
    bench.grant(lease=100)
    bench.write(BELT, [1, 9])
    bench.motion.running = bench.motion.finishes = True
    bench.tick()
    bench.tick(100)
    assert bench.status.latched is not stored
    assert bench.effect(BELT) == ([1, 9] if stored else [0, 0])
    bench.motion.running = False
    bench.tick()
    assert (bench.status.latched, bench.status.fault, bench.effect(BELT)) == (True, Fault.SILENCE, [0, 0])


def finishing(**made: Any) -> Bench:
    """In the middle of a Job that may finish, its owner silent since just now; a lamp beside it was on."""
    bench = Bench(run=(BELT, 0), **made)
    bench.store.jobs.add(0)
    bench.grant(lease=100)
    bench.write(BELT, [1, 9])
    bench.write(LAMPS, [1, 7])
    bench.motion.running = bench.motion.finishes = True
    bench.tick()
    bench.tick(100)
    assert not bench.status.leased and not bench.status.latched
    return bench


def test_what_is_beside_a_job_that_finishes_falls_back_and_does_not_come_back_with_the_owner() -> None:
    bench = finishing()
    assert (bench.effect(BELT), bench.effect(LAMPS)) == ([1, 9], [0, 7])
    bench.grant(epoch=2, lease=100)
    bench.tick()
    assert (bench.effect(BELT), bench.effect(LAMPS)) == ([1, 9], [0, 7])
    bench.write(LAMPS, [0, 7])
    bench.write(LAMPS, [1, 7])
    bench.tick()
    assert bench.effect(LAMPS) == [1, 7]


@pytest.mark.parametrize("held", ["before", "while"])
def test_a_job_that_is_held_does_not_wait_for_an_owner_who_is_silent(held: str) -> None:
    if held == "before":
        bench = Bench(run=(BELT, 0))
        bench.store.jobs.add(0)
        bench.grant(lease=100)
        bench.motion.running = bench.motion.finishes = True
        bench.tick(100)
    else:
        bench = finishing()
        bench.bank.put16(JOB_STATE, int(JobState.HOLDING))
        bench.tick(10)
    assert (bench.status.fault, bench.motion.told, bench.heater.told) == (Fault.SILENCE, ["stop"], ["off"])


def test_an_epoch_is_in_force_at_once_and_in_flash_when_nothing_moves_any_more() -> None:
    bench = finishing()
    bench.grant(THEM, epoch=2)
    assert (bench.status.owner, bench.status.epoch, bench.kept) == (THEM, 2, [0, 1])
    bench.tick(600)
    bench.grant(US, epoch=2)
    assert (bench.status.leased, bench.status.reason) == (False, Reason.OLD_EPOCH)
    bench.bank.put_bit(*MOVING, 1)
    bench.motion.running = False
    bench.tick(10)
    assert bench.kept == [0, 1], "its axes still move"
    bench.bank.put_bit(*MOVING, 0)
    bench.tick(10)
    bench.tick(10)
    assert bench.kept == [0, 1, 2]


def test_a_latched_node_finishes_nothing(bench: Bench) -> None:
    bench.grant(lease=100)
    bench.safety.latch(int(Fault.SENSOR))
    bench.motion.running = bench.motion.finishes = True
    bench.store.jobs.add(0)
    bench.tick(100)
    assert bench.safety.deadline(5) == 5 and bench.status.fault is Fault.SENSOR


def test_silent_is_who_has_no_owner_or_was_latched_by_silence_and_by_nothing_else(bench: Bench) -> None:
    assert bench.safety.silent
    bench.grant(lease=100)
    bench.tick()
    assert not bench.safety.silent
    bench.safety.latch(int(Fault.SENSOR))
    bench.tick()
    assert not bench.safety.silent, "its owner is still there"
    bench.tick(100)
    assert not bench.safety.silent, "it is not silence alone that keeps its outputs off"
    bench = Bench()
    bench.grant(lease=100)
    bench.write(BELT, [1, 0])
    bench.tick(100)
    bench.grant(epoch=2)
    bench.tick()
    assert bench.safety.silent, "its outputs have not been reset"


# ---- time


@pytest.mark.parametrize("start", [0, WRAP - 100])
def test_uptime_is_the_time_that_has_passed_over_every_wrap(start: int) -> None:
    bench = Bench(ms=start)
    passed = 0
    for step in (0, 1, 9, 255, 256, 65_000, 15, 1, 70_000, 3 * 65_536, 65_535, 10):
        passed += step
        bench.tick(step)
        assert bench.status.uptime == passed
    bench.bank.put32(8, 2**32 - 5)
    bench.tick(7)
    assert bench.status.uptime == 2
