"""Fault plans: TOML in and out, and every mistake told at once."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.campaigns import campaign
from hil.campaigns.perform import perform
from hil.campaigns.plan import Ask, PlaceOrder, PlacePart, Plan, PlanError, load, parse, text
from hil.faults import FaultFired, FaultOff, FaultOn
from hil.rig import LinkCut
from twin.clock import MS, Ns, S
from twin.faults import Fault

WHOLE = """
factory = "belt.toml"
duration = 12.5
seed = 7
requirements = ["I1", "I17"]

[[part]]
at = 1.0
target = "belt-1"

[[order]]
recipe = "convey"

[[ask]]
at = 3.0
request = "stop"
machine = "belt-1"

[[fault]]
at = 2.0
for = 1.5
target = "belt-1"
kind = "link-delay"
delay = 0.75

[[fault]]
at = 6.0
target = "belt-1.at_exit"
kind = "sensor-stuck-off"
"""


def test_a_plan_says_what_it_says() -> None:
    assert parse(WHOLE) == Plan(
        "belt.toml",
        Ns(12_500 * MS),
        7,
        (
            Fault(at=Ns(2 * S), lasts=Ns(1500 * MS), kind="link-delay", target="belt-1", parameters={"delay": 0.75}),
            Fault(at=Ns(6 * S), kind="sensor-stuck-off", target="belt-1.at_exit"),
        ),
        (PlaceOrder("convey"),),
        (PlacePart(S, "belt-1"),),
        (Ask(Ns(3 * S), "stop", "belt-1"),),
        ("I1", "I17"),
    )


@given(st.integers(0, 2**32))
def test_a_plan_that_is_written_down_reads_as_the_same(seed: int) -> None:
    plan = campaign.draw(seed)
    assert parse(text(plan)) == plan


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.integers(0, 10**15))
def test_names_and_times_survive_being_written_down(name: str, at: int) -> None:
    import tomllib

    plan = Plan(name, faults=(Fault(at=Ns(at), kind="link-cut", target=name),), requirements=("I1",))
    read = tomllib.loads(text(plan))
    assert read["factory"] == name == read["fault"][0]["target"] and round(read["fault"][0]["at"] * S) == at


def test_every_mistake_is_told_with_its_entry_key_value_and_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        """
factory = "belt.toml"
duration = -1
speed = 3
requirements = ["I3"]
[[fault]]
at = "soon"
target = "belt-1"
kind = "link-cut"
delay = 3
[[fault]]
at = 1.0
target = "belt-9"
kind = "link-cut"
[[fault]]
at = 1.0
target = "belt-1"
kind = "link-delay"
delay = 300
[[fault]]
at = 1.0
for = 0
target = "belt-1"
kind = "link-cuts"
[[order]]
recipe = "fly"
program = "nowhere.gcode"
[[part]]
at = 0
target = "table"
[[ask]]
at = 1
request = "place_order"
machine = "belt-1"
"""
    )
    with pytest.raises(PlanError) as caught:
        load(path)
    told = [line.removeprefix(f"{path}: ") for line in caught.value.mistakes]
    assert [line.split(":")[0] for line in told] == [
        *("speed", "duration", "fault 1.at", "fault 1.delay", "fault 2.target", "fault 3.delay", "fault 4.for", "fault 4.kind"),
        *("order 1.recipe", "order 1.program", "part 1.target", "ask 1.request", "requirements[0]"),
    ]
    assert told[0] == "speed: unknown key; allowed are factory, duration, seed, requirements, fault, order, part, ask"
    assert told[3] == "fault 1.delay: unknown key; link-cut takes at, for, target, kind"
    assert told[5] == "fault 3.delay: must be a number from 0 to 10, not 300"
    assert "there are belt-1" in told[4] and "not 'fly'" in told[8] and "not 'I3'" in told[12]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("factory = 3", "factory: must be a text, not 3"), ("x =", "not TOML"), ('factory = "no.toml"', "cannot be read")],
)
def test_what_is_no_plan_is_told(content: str, complaint: str) -> None:
    with pytest.raises(PlanError, match=complaint):
        parse(content)


def test_a_plan_happens_at_its_times_and_is_judged_by_what_it_names() -> None:
    plan = parse(WHOLE.replace('kind = "link-delay"\ndelay = 0.75', 'kind = "link-cut"'))
    done = perform(plan)
    assert done.passed, done.failures
    assert [verdict.id for verdict in done.verdicts] == ["I1", "I17"]
    trace = done.trace
    assert [entry.time for entry in trace.of(LinkCut)] == [2 * S]
    assert [(entry.time, entry.what.kind) for entry in trace.of(FaultOn)] == [(2 * S, "link-cut"), (6 * S, "sensor-stuck-off")]
    assert [entry.time for entry in trace.of(FaultOff)] == [3500 * MS]
    assert "link-cut" in {entry.what.kind for entry in trace.of(FaultFired)}
    assert done.simulated_s == pytest.approx(12.5) and any(on for _, on in trace.series["belt-1/pin/run"])


def test_a_plan_is_the_same_each_time_and_its_seed_changes_chance_alone() -> None:
    plan = parse(WHOLE.replace('kind = "link-delay"\ndelay = 0.75', 'kind = "link-jitter"'))
    assert perform(plan).trace.digest == perform(plan).trace.digest


def test_drawing_is_the_same_in_every_process_and_does_not_touch_others_chance() -> None:
    random.seed(5)
    before = random.getstate()
    assert text(campaign.draw(11)) == text(campaign.draw(11)) != text(campaign.draw(12))
    assert random.getstate() == before
