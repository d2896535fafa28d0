"""Random campaigns: drawn from seeds, judged by the invariants, and failing plans made short."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.campaigns import campaign
from hil.campaigns.campaign import Setting
from hil.campaigns.plan import Plan, parse
from hil.campaigns.shrink import fewest, shortest
from hil.faults import KINDS
from tests.mutant import firmware_with
from twin.clock import MS, Ns, S
from twin.faults import Fault

FEW = 10
MANY = 5000
LEAST_FIRED = 50


def test_a_few_campaigns_keep_all_invariants_and_tell_what_fired() -> None:
    summary = campaign.run(range(FEW), jobs=2)
    assert summary.runs == FEW
    assert not summary.failed, "\n".join(line for outcome in summary.failed for line in (*outcome.failures, outcome.plan))
    assert summary.fired.total() >= FEW and set(summary.fired) <= set(KINDS)
    told = json.loads(summary.as_json())
    assert told["runs"] == FEW and told["fired"].keys() == KINDS.keys() and told["failed"] == []


@pytest.mark.soak
def test_thousands_of_campaigns_keep_all_invariants_and_every_kind_fires_often() -> None:
    summary = campaign.run(range(MANY), jobs=len(os.sched_getaffinity(0)))
    Path("campaigns.json").write_text(summary.as_json())
    assert not summary.failed, "\n".join(f"{outcome.seed}: {outcome.failures}\n{outcome.plan}" for outcome in summary.failed)
    seldom = {name: summary.fired[name] for name in KINDS if summary.fired[name] < LEAST_FIRED}
    assert not seldom


def test_a_planted_bug_is_found_and_its_plan_shrunk_to_one_fault(tmp_path: Path) -> None:
    firmware = firmware_with(tmp_path, "node/safety.py", "< self._lease_ms", "< 2 * self._lease_ms")
    setting = Setting("belt.toml", kinds=("link-cut", "link-half-open", "sensor-flicker", "drive-trips"), firmware=firmware)
    outcome = next(found for seed in range(20) if (found := campaign.one(seed, setting, shrink=True)).broken)
    assert "I1" in outcome.broken, outcome.failures
    plan = parse(outcome.plan)
    assert len(plan.faults) == 1 and plan.seed == outcome.seed
    assert all(time % (100 * MS) == 0 for time in (plan.faults[0].at, plan.faults[0].lasts or Ns(0)))
    assert "I1" in campaign.broken_by(campaign.perform(plan, firmware=firmware))
    assert not campaign.broken_by(campaign.perform(plan))
    assert campaign.again(outcome.seed) == f"lockstep hil run campaign --seed {outcome.seed}"


def test_every_kind_is_drawn_and_each_seed_leaves_some_out() -> None:
    drawn: Counter[str] = Counter()
    for seed in range(3000):
        plan = campaign.draw(seed)
        assert 1 <= len(plan.faults) <= campaign.MOST_FAULTS
        assert all(fault.at + (fault.lasts or 1 << 62) <= 30 * S for fault in plan.faults), "the second half is to be quiet"
        drawn.update(fault.kind for fault in plan.faults)
    no_serial_line = {name for name in KINDS if name.startswith("line-")}
    assert set(drawn) == set(KINDS) - no_serial_line and min(drawn.values()) >= 30, drawn.most_common()[-5:]


def test_a_campaign_can_be_drawn_from_some_kinds_alone() -> None:
    setting = Setting("belt.toml", kinds=("link-cut", "drive-trips"))
    assert {fault.kind for seed in range(30) for fault in campaign.draw(seed, setting).faults} == {"link-cut", "drive-trips"}


def test_a_campaign_runs_on_somebodys_own_factory(tmp_path: Path) -> None:
    text = (campaign.COMES_ALONG / "belt.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("belt-1", "conveyor-7"))
    setting = Setting("mine.toml", tmp_path)
    plan = campaign.draw(3, setting)
    assert all("conveyor-7" in fault.target or fault.target == "core" for fault in plan.faults)
    assert not campaign.one(3, setting, shrink=False).broken


# ---- making plans short


@given(st.sets(st.integers(0, 30), min_size=1, max_size=31), st.data())
def test_nothing_that_is_needed_is_left_out_and_nothing_else_is_kept(items: set[int], data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.sampled_from(sorted(items))))
    assert set(fewest(sorted(items), lambda kept: needed <= set(kept))) == needed


def test_a_plan_is_made_short_round_and_plain() -> None:
    def fault(kind: str, at: int, lasts: int) -> Fault:
        return Fault(at=Ns(at * MS), lasts=Ns(lasts * MS), kind=kind, target="n", parameters={"share": 0.31})

    long = Plan("f", faults=tuple(fault(f"k{i}", 1234 + 1000 * i, 7777) for i in range(5)))
    tried: list[Plan] = []

    def fails(plan: Plan) -> bool:
        tried.append(plan)
        return any(one.kind == "k3" and one.lasts is not None and one.lasts >= 1900 * MS for one in plan.faults)

    short = shortest(long, fails)
    assert [(one.kind, one.at, one.parameters) for one in short.faults] == [("k3", 4 * S, {})]
    assert short.faults[0].lasts == 2 * S
    assert len(tried) == len({repr(plan) for plan in tried}) <= 120


def test_shrinking_gives_up_in_time() -> None:
    tries: list[Plan] = []

    def fails(plan: Plan) -> bool:
        tries.append(plan)
        return len(tries) < 3

    kept: Sequence[Fault] = shortest(replace(campaign.draw(1)), fails, most=7).faults
    assert len(tries) <= 7 and len(kept) <= campaign.MOST_FAULTS
