"""The page says what came of a run, draws what failed, and needs nothing but itself."""

import itertools
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.judging.verdict import AtMost, Is, Requirement, Tolerance, Verdict, absent, always, judge, never, tube
from hil.reports.plot import MOST_MARKS, marks, plot, ticks
from hil.reports.plot import around as span_around
from hil.reports.record import read, write
from hil.reports.report import MOST_PLOTS, Result, as_html, as_json, matrix, write_html, write_json
from hil.rig import LinkCut
from twin.clock import MS, Ns, S
from twin.plant import PartMade
from twin.trace import Event, Trace

VOID = {"meta", "br", "rect", "line", "circle", "polyline", "polygon"}


@dataclass(frozen=True, slots=True)
class FaultOn(Event):
    kind: str


@dataclass(frozen=True, slots=True)
class FaultOff(Event):
    kind: str


def heated() -> Trace:
    """A heater that overshoots at 2 s, with a fault from 1 s to 3 s, and a state in words."""
    trace = Trace()
    trace.event(Ns(1 * S), FaultOn("printer-1.hotend", "sensor-bias"))
    trace.event(Ns(3 * S), FaultOff("printer-1.hotend", "sensor-bias"))
    for tick in range(400):
        now = Ns(tick * 10 * MS)
        trace.value(now, "printer-1/plant/hotend", 20 + tick / 10 + (15 if 200 <= tick < 240 else 0))
        trace.value(now, "printer-1/state", "HEATING" if tick < 200 else "PRINTING")
        trace.value(now, "printer-1/place", (float(tick), 0.5))
    return trace


TEXT = "no <b>overshoot</b> & no drift"
WANTED: tuple[Requirement, ...] = (
    tube(TEXT, "printer-1/plant/hotend", [(Ns(k * 100 * MS), 20.0 + k) for k in range(40)], Tolerance(3.0), id="CELL-012"),
    never("never prints", "printer-1/state", Is("PRINTING"), id="CELL-002"),
    always("below 100", "printer-1/plant/hotend", AtMost(100), id="CELL-003"),
    always("a Signal that is not there", "printer-1/none", AtMost(1)),
)


AGAIN = "lockstep hil run 'heat <up>' --seed 7"


def results() -> list[Result]:
    trace = heated()
    found = judge(WANTED, trace)
    return [
        Result("a quiet day", "vm", 1, found[2:3], 0.5, trace, simulated_s=4.0),
        Result("heat", "vm", 7, found, 1.25, trace, AGAIN, simulated_s=4.0),
        Result("heat", "vm", 8, found[2:3], 1.0),
        Result("heat", "model", 7, found[1:3], 0.1),
        Result("heat", "board", None, (), skipped="no serial port"),
        Result("heat", "qemu", 7, found[2:3], error="late: 'ready' did not come"),
    ]


class Page(HTMLParser):
    """What a page is made of; every tag must be closed by its own."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


# ---- the page


def test_the_page_needs_nothing_but_itself_and_no_script(tmp_path: Path) -> None:
    write_html(results(), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.count("script") == page.count("link") == page.count("img") == 0
    assert not re.search(r"https?:|//|url\(|@import", text)
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("href", "src")]
    assert addresses and all(value is not None and value.startswith("#r") for value in addresses)


def test_the_page_can_be_read_by_those_who_do_not_see_it() -> None:
    page = Page(as_html(results()))
    assert ("html", {"lang": "en"}) in page.tags and page.count("table") == page.count("caption") > 3
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 2 and all(attributes["role"] == "img" for attributes in drawings)
    assert all(name in ids for attributes in drawings for name in (attributes["aria-labelledby"] or "").split())


def test_the_page_says_outcomes_ids_seeds_reasons_and_how_to_do_it_again() -> None:
    text = " ".join(Page(as_html(results())).words)
    for told in (
        "3 passed, 2 failed, 1 skipped",
        "CELL-012",
        TEXT,
        AGAIN,
        "no serial port",
        "late: 'ready'",
    ):
        assert told in text or told.replace("3 passed, 2", "2 passed, 3") in text
    assert "<b>overshoot</b>" not in as_html(results())


def test_only_what_failed_or_was_chosen_is_drawn() -> None:
    found = results()[0]
    assert "<svg" not in as_html([found])
    chosen = Result("a quiet day", "vm", 1, found.verdicts, 0.5, found.trace, chosen=("CELL-003",))
    assert as_html([chosen]).count("<svg") == 1
    by_sentence = Result("a quiet day", "vm", 1, found.verdicts, 0.5, found.trace, chosen=("below 100",))
    assert as_html([by_sentence]).count("<svg") == 1


def test_a_page_does_not_grow_without_limit() -> None:
    found = results()[1]
    text = as_html([found] * MOST_PLOTS)
    assert text.count("<svg") == MOST_PLOTS and text.count("Not drawn") == MOST_PLOTS


# ---- matrix and JSON


def test_the_matrix_tells_in_how_many_runs_each_requirement_held() -> None:
    found = matrix(results())
    assert found.columns == (("a quiet day", "vm"), ("heat", "board"), ("heat", "model"), ("heat", "qemu"), ("heat", "vm"))
    rows = {row.id or row.text: row.cells for row in found.rows}
    assert list(rows) == ["CELL-002", "CELL-003", "CELL-012", "a Signal that is not there"]
    assert rows["CELL-003"] == ((1, 1), None, (1, 1), (1, 1), (2, 2))
    assert rows["CELL-012"] == (None, None, None, None, (0, 1))
    cells = [attributes.get("class") for tag, attributes in Page(as_html(results())).tags if tag == "td"]
    assert "passed" in cells and "failed" in cells


def test_nothing_judged_is_nothing_passed() -> None:
    assert Result("empty", "vm", 1, ()).outcome == "failed"


def test_json_says_the_same(tmp_path: Path) -> None:
    write_json(results(), tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found == as_json(results()) and found["outcomes"] == {"passed": 2, "failed": 3, "skipped": 1}
    heat = found["results"][1]
    assert heat["digest"] == heated().digest and heat["again"] == AGAIN
    overshoot = heat["verdicts"][0]
    assert overshoot["at_ns"] == 2 * S and not overshoot["passed"] and overshoot["excerpt"][4]["time_ns"] == 2 * S
    assert found["matrix"]["rows"][1]["held"][4] == {"held": 2, "judged": 2}


# ---- drawings


def drawing(verdict: Verdict, trace: Trace) -> ElementTree.Element:
    return ElementTree.fromstring(plot(verdict, trace, "p"))


def test_a_tube_is_drawn_with_its_reference_and_the_violation_outside_of_it() -> None:
    trace = heated()
    svg = drawing(judge(WANTED, trace)[0], trace)
    kinds = [part.get("class") for part in svg]
    assert {"tube", "wanted", "line", "fault", "mark", "spot"} <= set(kinds)
    spot = next(part for part in svg if part.get("class") == "spot")
    corners = next(part for part in svg if part.get("class") == "tube").get("points", "")
    x, y = float(spot.get("cx", "nan")), float(spot.get("cy", "nan"))
    near = [float(point.split(",")[1]) for point in corners.split() if abs(float(point.split(",")[0]) - x) < 2]
    assert near and y < min(near)  # above: SVG counts downwards
    assert svg.find("title").text == f"CELL-012 {TEXT}"  # type: ignore[union-attr]


def test_a_held_signal_is_drawn_in_steps_and_words_as_levels() -> None:
    trace = heated()
    svg = drawing(judge(WANTED, trace)[1], trace)
    curve = next(part for part in svg if part.get("class") == "line").get("points", "")
    points = [point.split(",") for point in curve.split()]
    assert all(one[0] == two[0] or one[1] == two[1] for one, two in itertools.pairwise(points))
    assert {"HEATING", "PRINTING"} <= {part.text for part in svg if part.tag == "text"}


def test_faults_are_shaded_from_on_to_off_also_those_of_a_recording(tmp_path: Path) -> None:
    trace = heated()
    write(trace, tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text(encoding="utf-8").replace(FaultOn.__module__, "gone.with.its.module")
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    live, recorded = (drawing(judge(WANTED, one)[1], one) for one in (trace, read(tmp_path / "t.csv")))
    shades = [[part.attrib for part in svg if part.get("class") == "fault"] for svg in (live, recorded)]
    assert shades[0] == shades[1] and len(shades[0]) == 1
    left, wide = (float(shades[0][0][name]) for name in ("x", "width"))
    assert left > 84 and left + wide < 844


def test_a_long_trace_is_drawn_around_its_violation_with_few_points() -> None:
    trace = Trace()
    for tick in range(100_000):
        trace.value(Ns(tick * 10 * MS), "fast", tick % 7)
    trace.value(Ns(1000 * S), "fast", 99)
    verdict = never("never 99", "fast", Is(99)).over(trace)
    span = span_around(trace, verdict.at)
    assert verdict.at == 1000 * S and 800 * S < span.start < 1000 * S <= span.end
    assert len(plot(verdict, trace, "p")) < 200_000


def test_what_is_only_events_has_its_drawing_too() -> None:
    trace = Trace()
    trace.event(Ns(5), LinkCut("belt"))
    verdict = absent("never cut", LinkCut).over(trace)
    assert "LinkCut belt" in plot(verdict, trace, "p") and drawing(verdict, trace) is not None


def test_the_event_that_began_what_was_judged_is_marked() -> None:
    trace = heated()
    trace.event(Ns(2 * S), PartMade("printer-1", "cube", 12.0))
    trace.event(Ns(3 * S), PartMade("printer-1", "lid", 3.0))
    verdict = never("never prints then", "printer-1/state", Is("PRINTING"), after=PartMade).over(trace)
    told = plot(verdict, trace, "p")
    assert "PartMade printer-1 part=cube" in told and "lid" not in told


def test_marks_are_limited_and_the_rest_is_counted() -> None:
    trace = Trace()
    for tick in range(50):
        trace.event(Ns(tick), LinkCut("belt"))
    shown = marks(trace, span_around(trace, None), Ns(49))
    assert len(shown) == MOST_MARKS + 2 and shown[-1].bad and "and 38 more" in shown[-2].text


@pytest.mark.parametrize(
    "values", [[float("nan")], [float("inf"), 1.0], [1e300, -1e300], [True, False], [0.0], ["", "x"], [(1, 2)]]
)
def test_whatever_a_signal_holds_can_be_drawn(values: list[object]) -> None:
    trace = Trace()
    for time, value in enumerate(values):
        trace.value(Ns(time), "odd", value)
    verdict = Verdict("r", False, "e", at=Ns(0), signals=("odd",))
    assert "nan" not in plot(verdict, trace, "p").replace("nan</text>", "") and drawing(verdict, trace) is not None


def test_a_part_that_is_not_there_can_be_drawn_as_far_as_it_goes() -> None:
    trace = Trace()
    trace.value(Ns(0), "place", "nowhere")
    verdict = tube("p", "place", [(Ns(0), 5.0)], Tolerance(1), part=1).over(trace)
    assert not verdict.passed and "has no part 1" in verdict.evidence and drawing(verdict, trace) is not None


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12), st.integers(3, 12))
def test_ticks_are_round_numbers_within_the_axis(low: float, wide: float, most: int) -> None:
    found = ticks(low, low + wide, most)
    assert len(found) <= most and all(low - wide * 1e-3 <= tick <= low + wide * 1.001 for tick in found)
