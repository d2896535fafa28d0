"""The catalogue as a whole, and what may be put into a rig at all."""

import dataclasses
from pathlib import Path

import pytest

from hil.faults import KINDS, FaultFired, FaultOff, FaultOn, arm, check
from hil.rig import Rig
from tests.hil.faults import belts, controller_cases, line_cases, link_cases, node_cases, test_actuators, test_plants, test_sensors
from tests.hil.faults.belts import Case, Requirement, always, on, runs_on, stops, strike
from tests.hil.jobs import ROOT
from twin.clock import MS
from twin.fault import FaultError, Subject

CASES = {case.kind: case for case in (*link_cases.CASES, *line_cases.CASES, *node_cases.CASES, *controller_cases.CASES)}
REPEATED = ("link-jitter", "link-loss", "link-junk", "link-swapped", "node-brown-out", "controller-killed", "controller-second")


def test_there_are_more_than_sixty_kinds_of_every_subject_and_each_is_told_in_full() -> None:
    assert len(KINDS) >= 62
    assert {kind.subject for kind in KINDS.values()} == set(Subject)
    for kind in KINDS.values():
        assert kind.text and kind.expected and kind.observable and kind.name == kind.name.lower(), kind
        assert all(p.low <= p.default <= p.high and p.text for p in kind.parameters.values()), kind


def test_the_page_shows_every_kind_as_passed_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "faults.md").read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(" `"): row for row in page.splitlines() if row.startswith("| `")}
    assert set(rows) == set(KINDS)
    assert [name for name, row in rows.items() if "passed" not in row] == []


def test_every_kind_has_a_case_with_a_defence_taken_out() -> None:
    known = {*CASES, *test_sensors.CASES, *test_actuators.CASES, *test_plants.CASES}
    assert set(KINDS) - known == set()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (strike(1.0, "link-bent"), "a: there is no kind 'link-bent'; there are "),
        (strike(1.0, "link-cut", target="c"), "link-cut: there is no link 'c'; there are a, b"),
        (strike(1.0, "node-reset", target="core"), "node-reset: there is no node 'core'; there are a, b"),
        (strike(1.0, "controller-killed"), "controller-killed: there is no controller 'a'; there are core"),
        (strike(1.0, "link-delay", delay=11.0), "a: link-delay: delay=11 is outside 0 to 10 (s)"),
        (strike(1.0, "link-delay", by=1.0), "a: link-delay: there is no parameter 'by'; there are delay"),
        (strike(-1.0, "link-cut"), "a: link-cut: at=-1000000000 ns is before the start, 0 ns"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_what_could(fault: belts.Fault, told: str) -> None:
    with pytest.raises(FaultError) as refused:
        check(belts.belts("a", "b"), [fault])
    assert str(refused.value).startswith(told)


def test_a_lone_node_is_not_swapped_and_a_rig_without_links_or_core_has_no_faults_of_them(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="needs a second node"):
        check(belts.belts("a"), [strike(1.0, "link-swapped")])
    rig = Rig(belts.belts("a"), tmp_path)
    with pytest.raises(FaultError, match="needs a link"):
        arm(rig, [strike(1.0, "link-delay")], seed=1)
    with pytest.raises(FaultError, match="needs a core in a House"):
        arm(rig, [strike(1.0, "controller-killed", target="core")], seed=1)


def test_a_fault_is_told_when_it_strikes_when_it_first_does_something_and_when_it_ends(tmp_path: Path) -> None:
    trace = belts.play(dataclasses.replace(CASES["link-cut-to-node"], at=1.05, lasts=1.0, until=2.5), tmp_path / "state")
    told = [(entry.time, entry.what) for entry in trace.events if isinstance(entry.what, FaultOn | FaultFired | FaultOff)]
    kind = "link-cut-to-node"
    assert [what for _, what in told] == [FaultOn("a", kind), FaultFired("a", kind), FaultOff("a", kind)]
    assert (told[0][0], told[2][0]) == (1050 * MS, 2050 * MS)
    assert 1100 * MS <= told[1][0] < 1110 * MS, "the core speaks every 100 ms"


def test_a_fault_that_nothing_meets_has_not_fired(tmp_path: Path) -> None:
    trace = belts.play(dataclasses.replace(CASES["link-spoilt-block"], until=0.2), tmp_path / "state")
    assert not list(trace.of(FaultFired)) and list(trace.of(FaultOn))


@pytest.mark.parametrize("kind", REPEATED)
def test_the_same_seed_gives_the_same_trace(kind: str, tmp_path: Path) -> None:
    case = dataclasses.replace(CASES[kind], until=3.0)
    assert belts.play(case, tmp_path / "one").digest == belts.play(case, tmp_path / "two").digest


def harder(kind: str, *requirements: Requirement, **parameters: float) -> Case:
    case = CASES[kind]
    return dataclasses.replace(case, parameters=parameters, requirements=requirements or case.requirements)


STALLED, WALL = on("controller-stalled", "core"), on("controller-wall-clock", "core")
HARDER = (
    *(harder("link-exception", code=code) for code in (1, 3, 4, 6, 11)),
    harder("link-byte-count", by=2),
    harder("link-wrong-length", length=0),
    harder("link-wrong-length", length=1),
    harder("link-wrong-request", length=0),
    harder("link-wrong-protocol", protocol=65_535),
    harder("link-truncate", bytes=40),
    harder("link-delay", stops(on("link-delay")), delay=2.0),
    harder("link-delay", runs_on(on("link-delay")), delay=0.05),
    harder("node-pause", runs_on(on("node-pause")), pause=0.15),
    harder("node-overload", stops(on("controller-killed", "core"), 0.53), load=0.002),
    harder("controller-stalled", runs_on(STALLED), stall=0.2),
    dataclasses.replace(harder("controller-stalled", stops(STALLED), stall=5.0), until=7.0),
    harder("controller-wall-clock", runs_on(WALL), step=-3600.0),
    harder("controller-wall-clock", always("it believes as before", "core/a/quality", lambda q: q == "good", WALL), step=1e8),
)


@pytest.mark.parametrize("case", HARDER, ids=lambda case: f"{case.kind}-{'-'.join(f'{v:g}' for v in case.parameters.values())}")
def test_however_hard_it_strikes(case: Case, tmp_path: Path) -> None:
    found = belts.verdicts(case, belts.play(case, tmp_path / "state"))
    assert all(verdict.passed for verdict in found), "\n".join(map(str, found))
