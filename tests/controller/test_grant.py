"""What we hold of a node, whose it is, and what became of a command."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.nodes.epochs import EpochError, Epochs
from controller.nodes.grant import Errand, Grant, Standing, attend, past, stand, verdict
from tests.controller.factories import demo
from tests.controller.fakenode import FakeNode
from twin.clock import MS, Ns, S
from twin.node import NodeStatus, Op, Reason, Result
from twin.trace import Belief, Quality, Sample
from twin.wire import decode

US, THEM = 0xAAAA, 0xBBBB


def status(**values: int) -> NodeStatus:
    node = FakeNode(demo(), "belt-1")
    node.set(**values)
    return decode(NodeStatus, node.bank[:50])


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


def test_epochs_grow_over_runs_and_above_what_nodes_have_seen(tmp_path: Path) -> None:
    path = tmp_path / "epoch"
    epochs = Epochs(path)
    assert [epochs.next(0), epochs.next(0), epochs.next(40)] == [1, 2, 41]
    assert Epochs(path).next(7) == 42
    path.write_text("seven")
    with pytest.raises(EpochError, match="seven"):
        Epochs(path)
