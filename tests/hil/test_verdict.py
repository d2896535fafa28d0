"""Requirements judge what was recorded, name the first violation, and take silence for no proof."""

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.judging.compare import EVENTS, compare
from hil.judging.verdict import (
    AtLeast,
    AtMost,
    Between,
    Is,
    IsNot,
    OneOf,
    Requirement,
    Step,
    Tolerance,
    Verdict,
    When,
    absent,
    always,
    happened,
    judge,
    never,
    ordered,
    responds,
    sequence,
    tube,
    until,
)
from hil.rig import LinkCut, LinkHealed, NodeEnded, PowerOn
from twin.clock import MS, Ns
from twin.trace import Event, Trace

CUT, HEALED = LinkCut("belt"), LinkHealed("belt")
END = 40
"""The last instant of the small traces below."""


@dataclass(frozen=True, slots=True)
class Pushed(Event):
    button: int


def traced(signals: dict[str, list[tuple[int, Any]]], *events: tuple[int, Event]) -> Trace:
    trace = Trace()
    for name, pairs in signals.items():
        for time, value in pairs:
            trace.value(Ns(time), name, value)
    for time, what in events:
        trace.event(Ns(time), what)
    return trace


def over(requirement: Requirement, signals: dict[str, list[tuple[int, Any]]], *events: tuple[int, Event]) -> Verdict:
    return requirement.over(traced(signals, *events))


# ---- responds


def test_a_response_must_come_in_time_and_last() -> None:
    off = responds("off", CUT, "heater", Is(0), Ns(500 * MS))
    cut = (1000 * MS, CUT)
    assert over(off, {"heater": [(0, 1), (1500 * MS, 0)]}, cut).passed
    late = over(off, {"heater": [(0, 1), (1501 * MS, 0)]}, cut)
    assert not late.passed and late.at == 1500 * MS and "was 1 500.0 ms after LinkCut belt" in late.evidence
    again = over(off, {"heater": [(0, 1), (1200 * MS, 0), (1700 * MS, 1), (1800 * MS, 0)]}, cut)
    assert not again.passed and again.at == 1700 * MS
    flickering = over(off, {"heater": [(0, 1), (1100 * MS, 0), (1200 * MS, 1), (1300 * MS, 0)]}, cut)
    assert flickering.passed and "after 300.0 ms" in flickering.evidence


def test_a_response_that_need_not_last_is_seen_once() -> None:
    seen = responds("seen", CUT, "lamp", Is(1), Ns(10), lasting=False)
    assert over(seen, {"lamp": [(0, 0), (15, 1), (16, 0)]}, (10, CUT)).passed
    assert not over(seen, {"lamp": [(0, 0), (21, 1)]}, (10, CUT)).passed


def test_every_event_wants_its_response() -> None:
    lamp = {"lamp": [(0, 0), (12, 1), (18, 0), (35, 1)]}
    pushes = ((10, Pushed("desk", 1)), (20, Pushed("desk", 2)))
    assert over(responds("lit", Pushed, "lamp", Is(1), Ns(5), lasting=False), lamp, *pushes).passed
    verdict = over(responds("lit", Pushed, "lamp", Is(1), Ns(5), lasting=False, every=True), lamp, *pushes)
    assert not verdict.passed and verdict.at == 25


def test_every_lasting_response_lasts_until_it_is_asked_for_again() -> None:
    lit = responds("lit", Pushed, "lamp", Is(1), Ns(5), every=True)
    pushes = ((10, Pushed("desk", 1)), (20, Pushed("desk", 2)))
    assert over(lit, {"lamp": [(0, 0), (12, 1), (20, 0), (23, 1)]}, *pushes).passed
    out = over(lit, {"lamp": [(0, 0), (12, 1), (18, 0), (22, 1)]}, *pushes)
    assert not out.passed and out.at == 18
    assert over(lit, {"lamp": [(0, 0), (16, 1)]}, (10, Pushed("desk", 1)), (12, Pushed("desk", 2))).passed


def test_a_deadline_passes_though_nothing_is_recorded_any_more() -> None:
    assert not over(responds("off", CUT, "heater", Is(0), Ns(5)), {"heater": [(0, 1)]}, (10, CUT)).passed


# ---- silence is no proof


@pytest.mark.parametrize(
    "requirement",
    [
        responds("r", CUT, "heater", Is(0), Ns(5)),
        never("n", "heater", Is(1)),
        never("n", "lamp", Is(2), after=CUT),
        always("a", "heater", Is(0)),
        always("a", "lamp", Is(0), When("heater", Is(1))),
        always("a", "lamp", Is(0), When("lamp", Is(7))),
        until("u", "heater", Is(0), When("lamp", Is(0)), Ns(5)),
        absent("a", NodeEnded, after=CUT),
        tube("t", "heater", [(Ns(0), 0.0)], Tolerance(1e9)),
        sequence("s", "heater", [(Ns(0), 0)]),
        happened("h", LinkCut),
    ],
    ids=lambda requirement: type(requirement.judge).__name__,
)
def test_what_was_never_recorded_and_what_never_came_fails(requirement: Requirement) -> None:
    verdict = over(requirement, {"lamp": [(0, 0)]})
    assert not verdict.passed and ("never" in verdict.evidence or "missing" in verdict.evidence)


def test_an_optional_requirement_holds_where_what_it_speaks_of_is_absent_and_not_where_it_is_broken() -> None:
    optional = never("dark", "lamp", Is(1), optional=True)
    assert over(optional, {"heater": [(0, 0)]}).passed
    assert not over(optional, {"lamp": [(0, 1)]}).passed


# ---- never, always, until


def test_never_counts_the_value_that_a_signal_has_when_it_begins() -> None:
    on = never("off after the cut", "heater", Is(1), after=CUT, before=HEALED)
    assert not over(on, {"heater": [(0, 1)]}, (10, CUT)).passed
    assert over(on, {"heater": [(0, 1), (10, 0), (20, 1)]}, (10, CUT), (20, HEALED)).passed
    verdict = over(on, {"heater": [(0, 1), (10, 0), (19, 1)]}, (10, CUT), (20, HEALED))
    assert not verdict.passed and verdict.at == 19
    first = never("off after the first cut", "heater", Is(1), after=LinkCut)
    assert over(first, {"heater": [(0, 1), (10, 0), (15, 1), (16, 0)]}, (10, CUT), (30, CUT)).at == 15


def test_always_while_gives_grace_and_names_the_first_violation() -> None:
    fan = always("the fan runs while it is hot", "fan", Is(1), When("hotend", AtLeast(50)), grace=Ns(5))
    assert over(fan, {"fan": [(0, 0), (15, 1), (30, 0)], "hotend": [(0, 20), (10, 60), (30, 40)]}).passed
    verdict = over(fan, {"fan": [(0, 0), (16, 1)], "hotend": [(0, 20), (10, 60)]})
    assert not verdict.passed and verdict.at == 15 and verdict.signals == ("fan", "hotend")
    assert "while hotend ≥ 50" in verdict.evidence
    unknown = over(fan, {"fan": [(20, 1)], "hotend": [(0, 60)]})
    assert not unknown.passed and "not known yet" in unknown.evidence


def test_until_wants_its_end_in_time_and_its_condition_before() -> None:
    homing = until("slow until home", "speed", AtMost(5), When("home", Is(True)), Ns(20), after=CUT)
    assert over(homing, {"speed": [(0, 3), (25, 50)], "home": [(0, False), (25, True)]}, (10, CUT)).passed
    fast = over(homing, {"speed": [(0, 3), (24, 50)], "home": [(0, False), (25, True)]}, (10, CUT))
    assert not fast.passed and fast.at == 24
    late = over(homing, {"speed": [(0, 3)], "home": [(0, False), (31, True)]}, (10, CUT))
    assert not late.passed and late.at == 30
    assert over(until("s", "speed", AtMost(5), HEALED, Ns(20)), {"speed": [(0, 3)]}, (20, HEALED)).passed
    assert not over(until("s", "speed", AtMost(5), LinkHealed, Ns(20)), {"speed": [(0, 3)]}).passed


@st.composite
def levels(draw: st.DrawFn) -> list[tuple[int, int]]:
    times = sorted({0} | draw(st.sets(st.integers(1, END - 1), max_size=8)))
    return [(time, draw(st.integers(0, 1))) for time in times]


def at(pairs: list[tuple[int, int]], time: int) -> int:
    return [value for when, value in pairs if when <= time][-1]


@settings(max_examples=200, deadline=None)
@given(levels(), levels(), st.integers(0, END - 1), st.integers(0, 12))
def test_rules_say_what_looking_at_every_instant_says(
    one: list[tuple[int, int]], two: list[tuple[int, int]], start: int, within: int
) -> None:
    signals, events = {"p": one, "q": two}, ((start, CUT), (END, HEALED))
    trace = traced(signals, *events)
    p, q = [at(one, time) for time in range(2 * END)], [at(two, time) for time in range(2 * END)]
    wrong = [time for time in range(start, END) if p[time] == 0]
    found = never("n", "p", Is(0), after=CUT, before=HEALED).over(trace)
    assert (found.passed, found.at) == (not wrong, wrong[0] if wrong else None)

    wrong = [time for time in range(start + within, 2 * END) if p[time] == 0]
    found = responds("r", CUT, "p", Is(1), Ns(within)).over(trace)
    assert (found.passed, found.at) == (not wrong, wrong[0] if wrong else None)

    assert responds("r", CUT, "p", Is(1), Ns(within), lasting=False).over(trace).passed == any(p[start : start + within + 1])

    ruled = [time for time in range(start, END) if all(q[time - back] for back in range(within + 1) if time - back >= start)]
    wrong = [time for time in ruled if time - within >= start and p[time] == 0]
    found = always("a", "p", Is(1), When("q", Is(1)), grace=Ns(within), after=CUT, before=HEALED).over(trace)
    if any(q[start:END]):
        assert (found.passed, found.at) == (not wrong, wrong[0] if wrong else None)

    ends = [time for time in range(start, start + within + 1) if q[time]]
    held = all(p[time] for time in range(start, ends[0] if ends else start))
    assert until("u", "p", Is(1), When("q", Is(1)), Ns(within), after=CUT).over(trace).passed == (bool(ends) and held)


# ---- events


def test_events_must_come_in_order_and_in_their_windows() -> None:
    story = ((0, PowerOn("belt", "rig")), (10, CUT), (30, HEALED), (40, CUT), (45, HEALED))
    assert over(happened("h", PowerOn, LinkCut, LinkHealed), {}, *story).passed
    assert not over(happened("h", LinkHealed, PowerOn), {}, *story).passed
    # The first cut's healing is too late, the second one's is not.
    assert over(ordered("o", CUT, Step(HEALED, within=Ns(5))), {}, *story).passed
    assert not over(ordered("o", CUT, Step(HEALED, within=Ns(4))), {}, *story).passed
    early = over(ordered("o", PowerOn, Step(LinkCut, within=Ns(50), after=Ns(41))), {}, *story)
    assert not early.passed and early.at == 50 and "missing LinkCut" in early.evidence


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc")), max_size=7),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.integers(0, 10)), min_size=1, max_size=3),
)
def test_an_order_of_events_holds_where_any_choice_of_events_keeps_to_it(
    story: list[tuple[int, str]], steps: list[tuple[str, int, int]]
) -> None:
    story = sorted(story, key=lambda entry: entry[0])
    wanted = [Step(PowerOn("n", name), within=Ns(after + more), after=Ns(after)) for name, after, more in steps]
    found = over(ordered("o", *wanted), {}, *((time, PowerOn("n", name)) for time, name in story)).passed

    def keeps(chosen: tuple[tuple[int, str], ...]) -> bool:
        named = all(name == step[0] for (_, name), step in zip(chosen, steps, strict=True))
        gaps = zip(itertools.pairwise(chosen), steps[1:], strict=True)
        return named and all(after <= late[0] - soon[0] <= after + more for (soon, late), (_, after, more) in gaps)

    assert found == any(keeps(chosen) for chosen in itertools.combinations(story, len(steps)))


def test_absent_events_are_searched_from_the_named_one_on() -> None:
    story = ((5, NodeEnded("belt", "")), (10, CUT))
    assert over(absent("lives", NodeEnded, after=CUT), {}, *story).passed
    verdict = over(absent("lives", NodeEnded), {}, *story)
    assert not verdict.passed and verdict.at == 5


# ---- references


def test_a_tube_begins_with_its_event_and_is_judged_as_long_as_asked() -> None:
    ramp = [(Ns(0), 0.0), (Ns(5), 1.0), (Ns(10), 2.0)]
    found = {"speed": [(0, 0.0), (25, 1.0), (30, 2.0), (35, 7.0)]}
    assert over(tube("t", "speed", ramp, Tolerance(0.1), after=CUT, lasts=Ns(14)), found, (20, CUT)).passed
    verdict = over(tube("t", "speed", ramp, Tolerance(0.1), after=CUT), found, (20, CUT))
    assert not verdict.passed and verdict.at == 35 and "was 7" in verdict.evidence and "1.9 to 2.1 allowed" in verdict.evidence


def test_a_signal_must_cover_its_reference() -> None:
    ramp = [(Ns(0), 0.0), (Ns(10), 1.0)]
    late = over(tube("t", "speed", ramp, Tolerance(9.0)), {"speed": [(3, 0.0)]})
    assert not late.passed and late.at == 0
    short = over(tube("t", "speed", ramp, Tolerance(9.0), held=False), {"speed": [(0, 0.0), (7, 0.5)]})
    assert not short.passed and short.at == 7


def test_words_and_parts_of_tuples_have_references_too() -> None:
    signals = {"state": [(0, "idle"), (10, "run")], "place": [(0, (0.0, 5.0)), (10, (1.0, 5.5))]}
    assert over(sequence("s", "state", [(Ns(0), "idle"), (Ns(8), "run")], lag=Ns(2)), signals).passed
    assert not over(sequence("s", "state", [(Ns(0), "idle"), (Ns(8), "run")], lag=Ns(1)), signals).passed
    assert over(tube("p", "place", [(Ns(0), 5.0)], Tolerance(0.5), part=1), signals).passed
    assert not over(tube("p", "place", [(Ns(0), 5.0)], Tolerance(0.4), part=1), signals).passed
    assert "no number" in over(tube("w", "state", [(Ns(0), 5.0)], Tolerance(1)), signals).evidence


# ---- two recordings


def test_a_trace_is_as_itself_and_a_difference_is_told_by_its_signal() -> None:
    signals: dict[str, list[tuple[int, Any]]] = {
        "a/plant/hot": [(0, 20.0), (10, 21.0)],
        "a/pin/run": [(0, 0), (10, 1)],
        "a/plant/place": [(0, (0.0, 1)), (10, (0.5, 1))],
        "a/state": [(0, "idle")],
    }
    reference = traced(signals, (5, CUT), (5, CUT), (6, HEALED))
    assert all(verdict.passed for verdict in compare(reference, traced(signals, (5, CUT), (5, CUT), (6, HEALED))))
    other = {**signals, "a/plant/hot": [(0, 20.0), (12, 21.4)], "a/plant/place": [(0, (0.0, 1)), (10, (0.5, 2))], "b/new": [(0, 1)]}
    failed = {verdict.requirement for verdict in compare(reference, traced(other, (5, CUT), (7, HEALED))) if not verdict.passed}
    assert failed == {f"{name} as in the reference" for name in ("a/plant/hot", "a/plant/place[1]", "b/new", "events")}
    near = {"*/plant/hot": Tolerance(0.5, lag=Ns(2)), "a/plant/*": Tolerance(1), EVENTS: Tolerance(lag=Ns(1))}
    del other["b/new"]
    assert all(verdict.passed for verdict in compare(reference, traced(other, (5, CUT), (5, CUT), (7, HEALED)), near))


def test_a_name_goes_before_the_patterns_that_fit_it_too() -> None:
    reference, found = traced({"a/hot": [(0, 1.0)]}), traced({"a/hot": [(0, 1.5)]})
    assert not compare(reference, found, {"*": Tolerance(1), "a/hot": Tolerance(0.1)})[0].passed
    assert compare(reference, found, {"b/*": Tolerance(), "a/*": Tolerance(1), "*": Tolerance()})[0].passed


@pytest.mark.parametrize("value", [(), ("x", 1), (1, 2.5), "run", True, 7, 0.5, None])
def test_whatever_a_signal_holds_it_is_compared_with_itself_and_with_something_else(value: Any) -> None:
    reference = traced({"odd": [(0, value)]})
    assert all(verdict.passed for verdict in compare(reference, traced({"odd": [(0, value)]})))
    assert not all(verdict.passed for verdict in compare(reference, traced({"odd": [(0, ("x",))]})))


def test_a_signal_that_is_missing_is_told() -> None:
    (verdict, _) = compare(traced({"a": [(0, 1.0)]}), traced({}))
    assert not verdict.passed and "never recorded" in verdict.evidence


# ---- verdicts


def test_a_verdict_holds_what_was_recorded_around_the_first_violation() -> None:
    trace = traced({"heater": [(time, time % 5) for time in range(100)]})
    verdict = never("below 4", "heater", AtLeast(4), id="CELL-012").over(trace)
    assert verdict.id == "CELL-012" and verdict.at == 4
    assert verdict.excerpt == tuple((Ns(time), "heater", time % 5) for time in range(8))
    assert str(verdict) == "FAILED  CELL-012 below 4: heater was 4 at 0.0000 s"
    healed = over(absent("never cut", LinkCut), {}, (3, HEALED), (4, CUT))
    assert [told for _, _, told in healed.excerpt] == ["LinkHealed belt", "LinkCut belt"]


def test_a_function_of_a_trace_is_a_rule_too() -> None:
    empty = Requirement("there are events", lambda trace: (bool(trace.events), f"{len(trace.events)} events"))
    (verdict,) = judge([empty.named("CELL-1")], Trace())
    assert not verdict.passed and verdict.evidence == "0 events" and verdict.id == "CELL-1"


def test_requirements_are_data() -> None:
    one = responds("off", CUT, "heater", Is(0), Ns(5), id="CELL-1")
    assert one == responds("off", LinkCut("belt"), "heater", Is(0), Ns(5), id="CELL-1") and "Is(value=0)" in repr(one)
    assert one != responds("off", CUT, "heater", Is(1), Ns(5), id="CELL-1")


@pytest.mark.parametrize(
    ("condition", "yes", "no", "told"),
    [
        (Is("run"), "run", "idle", "= 'run'"),
        (IsNot(0), 1, 0, "≠ 0"),
        (OneOf((1, 2)), 2, 3, "one of 1, 2"),
        (AtMost(3), 3, 3.1, "≤ 3"),
        (AtLeast(3), 3, 2.9, "≥ 3"),
        (Between(1, 2), 1, 2.1, "1 to 2"),
    ],
)
def test_conditions_say_what_they_are(condition: Any, yes: Any, no: Any, told: str) -> None:
    assert condition(yes) and not condition(no) and str(condition) == told
