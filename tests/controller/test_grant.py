"""What we hold of a node, whose it is, and what became of a command."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.nodes.epochs import EpochError, Epochs
from controller.nodes.grant import Errand, Grant, Stand, Standing, attend, claim_patience, latch, past, stand, uptime, verdict
from tests.controller.factories import shop
from tests.controller.fakenode import FakeNode
from twin.clock import MS, Ns, S
from twin.node import LEASE_MS, Fault, NodeCommand, NodeStatus, Op, Reason, Result
from twin.trace import Belief, Quality, Sample
from twin.wire import decode, layout

US, THEM = 0xAAAA, 0xBBBB


def status(**values: int) -> NodeStatus:
    node = FakeNode(shop(), "belt-1")
    node.set(**values)
    return decode(NodeStatus, node.bank[: layout(NodeStatus).size])


def sample(**values: int) -> Sample[NodeStatus]:
    return Sample(status(**values), S)


def test_a_free_node_may_be_claimed_and_a_claim_is_given_time_to_show() -> None:
    grant = Grant()
    assert stand(grant, sample(), "", US, S).standing is Standing.FREE
    claimed = grant.claim(5, status(sequence=9), S)
    assert claimed.sequence == 9, "a claim commands nothing"
    assert stand(claimed, sample(), "", US, S).standing is Standing.CLAIMING
    assert stand(claimed, sample(), "", US, Ns(S + 500 * MS)).standing is Standing.FREE
    ours = sample(leased=1, owner=US, epoch=5)
    assert stand(claimed, ours, "", US, S).standing is Standing.OURS


def test_a_lease_that_has_lapsed_frees_the_node_at_once() -> None:
    claimed = Grant().claim(5, status(), S)
    assert stand(claimed, sample(epoch=5), "", US, S).standing is Standing.FREE


def test_a_node_leased_to_others_is_read_only_and_says_to_whom() -> None:
    found = stand(Grant(3), sample(leased=1, owner=THEM, epoch=8), "", US, S)
    assert str(found) == "read-only: commanded by owner 0x0000bbbb, epoch 8"
    earlier = stand(Grant(3), sample(leased=1, owner=US, epoch=2), "", US, S)
    assert earlier.standing is Standing.FOREIGN and "earlier run" in earlier.cause


def test_a_node_that_is_not_heard_or_not_believed_is_not_written() -> None:
    old = replace(sample(leased=1, owner=US), every=Belief(Quality.STALE, "cut"))
    assert stand(Grant(), old, "", US, S) == (Standing.LOST, "cut")
    assert stand(Grant(), sample(), "map differs", US, S) == (Standing.REFUSED, "map differs")


START = Errand(Op.START, 7, boot_id=1, not_after=10_000)
LATER = replace(START, until=Ns(9 * S))


@pytest.mark.parametrize(
    ("values", "done", "acted", "text"),
    [
        ({"command_id": 7, "result": Result.DONE, "executions": 1}, True, True, "done"),
        ({"command_id": 7, "result": Result.REFUSED, "reason": Reason.NO_SUCH_JOB}, False, False, "no such job"),
        ({"boot_id": 2}, False, True, "restarted"),
        ({"uptime": 10_200}, False, False, "not carried out in time"),
    ],
)
def test_the_result_block_tells_what_became_of_a_command(values: dict[str, int], done: bool, acted: bool, text: str) -> None:
    found = verdict(START, status(**values))
    assert found is not None and (found.done, found.acted) == (done, acted) and text in found.text


def test_a_command_is_open_until_it_is_judged_or_void() -> None:
    assert verdict(START, status(uptime=10_100, command_id=6, result=Result.DONE)) is None


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1))
def test_an_uptime_that_wraps_is_past_its_limits_all_the_same(limit: int, later: int) -> None:
    assert past((limit + later) % 2**32, limit)
    assert later == 0 or not past((limit - later) % 2**32, limit)


def test_commands_take_turns_and_a_stop_waits_for_none() -> None:
    here = status(leased=1, sequence=4)
    reset, stop = replace(LATER, op=Op.RESET, command_id=8), replace(LATER, op=Op.STOP, command_id=9)
    grant, waiting, _ = attend(Grant(1, sequence=4), (reset,), START, here, True, S)
    assert grant.errand == reset and grant.sequence == 5 and waiting == (reset,)
    again, _, _ = attend(grant, waiting, START, here, True, S)
    assert again == grant, "the same command keeps its sequence"
    grant, waiting, _ = attend(grant, (stop,), START, here, True, S)
    assert grant.errand == stop and grant.sequence == 6
    judged = status(leased=1, sequence=6, command_id=9, result=Result.DONE)
    grant, waiting, told = attend(grant, waiting, START, judged, True, S)
    assert told == ((stop, True, "done"),) and waiting == () and grant.errand == START


def test_a_command_to_a_node_that_stays_silent_is_answered_as_unknown() -> None:
    errand = replace(START, op=Op.RESET, until=Ns(3 * S))
    grant, waiting, told = attend(Grant(1), (errand,), None, None, False, S)
    assert waiting == (errand,) and told == () and grant.errand is None
    _, waiting, told = attend(grant, waiting, None, None, False, Ns(3 * S))
    assert waiting == () and told[0][1] is False and "unknown" in told[0][2]


def test_a_grant_without_a_command_asks_for_nothing_and_one_with_a_command_for_all_of_it() -> None:
    plain = NodeCommand(owner=US, epoch=5, lease=LEASE_MS, heartbeat=3, sequence=9)
    assert Grant(5, heartbeat=3, sequence=9).command(US) == plain
    sent = Grant(5, heartbeat=3, sequence=8).send(replace(START, argument=12))
    assert sent.command(US) == replace(plain, op=Op.START, command_id=7, argument=12, not_after=10_000)


def test_what_nobody_has_given_is_zero() -> None:
    assert (START.argument, START.until, START.request) == (0, 0, 0)
    assert Grant() == Grant(0, Ns(0), 0, 0, None)


def test_heartbeat_and_sequence_wrap_as_their_registers_do() -> None:
    grant = Grant(1, heartbeat=0xFFFE, sequence=0xFFFE)
    assert [grant.beat().heartbeat, grant.beat().beat().heartbeat] == [0xFFFF, 0]
    sent = grant.send(START)
    assert (sent.sequence, sent.send(replace(START, command_id=8)).sequence) == (0xFFFF, 0)
    assert grant.beat().sequence == 0xFFFE and sent.heartbeat == 0xFFFE


def test_a_claim_keeps_the_heartbeat_and_forgets_the_last_command() -> None:
    claimed = Grant(3, S, 17, 4, START).claim(5, status(sequence=9), Ns(2 * S))
    assert claimed == Grant(5, Ns(2 * S), 17, 9, None)


def test_a_claim_is_given_its_patience_to_the_very_end() -> None:
    claimed = Grant().claim(5, status(), S)
    assert stand(claimed, sample(), "", US, Ns(S + 400 * MS - 1)).standing is Standing.CLAIMING
    assert stand(claimed, sample(), "", US, Ns(S + 400 * MS)).standing is Standing.FREE
    assert stand(claimed, sample(epoch=4), "", US, S).standing is Standing.CLAIMING


def test_a_claim_is_given_four_scans_of_a_slow_line_to_show() -> None:
    assert [claim_patience(scan_ms) for scan_ms in (20, 100, 500)] == [400 * MS, 400 * MS, 2 * S]
    claimed, limit = Grant().claim(5, status(), S), claim_patience(500)
    assert stand(claimed, sample(), "", US, Ns(S + limit - 1), limit).standing is Standing.CLAIMING
    assert stand(claimed, sample(), "", US, Ns(S + limit), limit).standing is Standing.FREE


@pytest.mark.parametrize(
    ("standing", "heard", "written"),
    [
        (Standing.LOST, False, False),
        (Standing.REFUSED, False, False),
        (Standing.FOREIGN, True, False),
        (Standing.FREE, True, False),
        (Standing.CLAIMING, True, True),
        (Standing.OURS, True, True),
    ],
)
def test_who_is_believed_and_who_is_written_to(standing: Standing, heard: bool, written: bool) -> None:
    assert (Stand(standing).heard, Stand(standing).written) == (heard, written)
    assert (str(Stand(standing)), str(Stand(standing, "why"))) == (standing.value, f"{standing.value}: why")


def test_a_command_is_void_a_margin_after_its_last_moment_and_not_before() -> None:
    assert verdict(START, status(uptime=10_199)) is None
    assert verdict(START, status(uptime=10_200)) is not None
    assert Grant(errand=START).busy(status(uptime=10_199)) and not Grant(errand=START).busy(status(uptime=10_200))
    assert not Grant().busy(status())


def test_a_command_that_was_refused_after_it_had_run_has_acted() -> None:
    found = verdict(START, status(command_id=7, result=Result.REFUSED, reason=Reason.BUSY, executions=1))
    assert found == (False, True, "refused: busy")
    assert verdict(START, status(command_id=7, result=Result.NONE)) is None


def test_an_uptime_is_reckoned_on_from_the_last_status_over_its_wrap() -> None:
    assert uptime(sample(uptime=1000), Ns(S + 250 * MS + 999_999)) == 1250
    assert uptime(sample(uptime=2**32 - 1), Ns(S + 2 * MS)) == 1


def test_why_a_node_is_latched_is_told_in_words() -> None:
    assert latch(None) == latch(status(fault=Fault.SENSOR)) == ""
    assert latch(status(latched=1)) == "latched"
    assert latch(status(latched=1, fault=Fault.OVER_TEMPERATURE)) == "latched: over temperature"


def test_a_start_waits_for_all_commands_and_for_the_one_that_has_not_been_judged() -> None:
    reset = replace(LATER, op=Op.RESET, command_id=8)
    grant, waiting, told = attend(Grant(1), (), START, status(), True, S)
    assert (grant.errand, waiting, told) == (START, (), ())
    grant, waiting, _ = attend(grant, (reset,), None, status(), True, S)
    assert grant.errand == START and waiting == (reset,), "the start has not been judged"
    grant, _, _ = attend(grant, (reset,), None, status(command_id=7, result=Result.DONE), True, S)
    assert grant.errand == reset
    assert attend(Grant(1), (), None, status(), True, S)[0].errand is None


def test_a_node_that_is_not_ours_or_not_heard_is_sent_nothing() -> None:
    assert attend(Grant(1), (LATER,), START, status(), False, S) == (Grant(1), (LATER,), ())
    assert attend(Grant(1), (LATER,), START, None, True, S) == (Grant(1), (LATER,), ())


def test_epochs_grow_over_runs_and_above_what_nodes_have_seen(tmp_path: Path) -> None:
    path = tmp_path / "epoch"
    epochs = Epochs(path)
    assert [epochs.next(0), epochs.next(0), epochs.next(40)] == [1, 2, 41]
    assert Epochs(path).next(7) == 42
    path.write_text("seven")
    with pytest.raises(EpochError, match="seven"):
        Epochs(path)
