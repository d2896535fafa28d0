"""HistoryRead against what was recorded: decoded by asyncua's codec, reckoned again; closed forms for the aggregates."""

import asyncio
import contextlib
import itertools
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.ua_binary import extensionobject_to_binary, struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.history.door import Door
from controller.history.hot import Hot
from controller.history.kept import BAD, GOOD, NONE, STALE, Kept
from controller.opcua.asked import Asked
from controller.opcua.encoding import TICKS_1970, node_key, qualified, text, ticks
from controller.opcua.historic.aggregates import AGGREGATES, BY_NUMBER, Samples, processed
from controller.opcua.historic.answers import Answers
from controller.opcua.historic.asking import History
from controller.opcua.historic.questions import Processed, Question, Raw, Stamps
from controller.opcua.historic.service import HistoryRead, Recorded
from controller.opcua.nodes.store import VARIABLE, Nodes
from controller.opcua.plane import DOUBLE, INT32, STRING
from controller.opcua.roles import Rule

T0 = 1_760_000_000 * 10**9
S = 10**9
COLD, LINE, COUNT, SAID = "press/status/temperature", "press/status/x", "press/status/parts", "press/job/program"
KEPT = (
    Kept(COLD, float, "CEL"),
    Kept(LINE, float, "MTR", bound=1e-9),
    Kept(COUNT, int),
    Kept(SAID, str),
)  # fmt: skip
ROWS = [(i, 10.0 + i % 7, [GOOD, STALE, BAD][0 if i % 10 else i // 10 % 3]) for i in range(100)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A hundred seconds: one sample a second, some of them doubtful; a gap from 40 to 50; the line is a ramp."""
    made = tmp_path_factory.mktemp("history")
    hot = Hot(made)
    numbers = hot.declare(KEPT)

    def rows(seconds: range) -> list[Any]:
        every = []
        for i in seconds:
            _, value, quality = ROWS[i]
            at = T0 + i * S
            every.append((numbers[COLD], at, value, quality, "sensor" if quality else ""))
            every.append((numbers[COUNT], at, i, GOOD, ""))
            if i % 20 == 0:
                every.append((numbers[LINE], at, i / 1000, GOOD, ""))
                every.append((numbers[SAID], at, f"part {i}", GOOD, ""))
        return every

    hot.commit(hot.samples(rows(range(0, 40))))
    hot.lost(T0 + 39 * S, T0 + 50 * S, "too slow")
    hot.commit(hot.samples(rows(range(50, 100))))
    hot.close()
    return made


@dataclass(eq=False)
class Someone:
    """A client's session as the service sees it."""

    allowed: bool = True
    on_close: list[Any] = field(default_factory=list)

    def may(self, rule: int, wanted: int) -> bool:
        return self.allowed or rule == Rule.OPEN


class Direct:
    """The process that has History, without the process."""

    def __init__(self, folder: Any) -> None:
        self.answers = Answers(Door(folder))

    async def ask(self, question: Question) -> Any:
        return self.answers.answer(question)

    async def close(self) -> None:
        """Nothing to end."""


def served(history: Any) -> HistoryRead:
    """The service over four Variables, one constant and one that not everybody may see."""
    nodes = Nodes()
    for number, name in enumerate((COLD, LINE, COUNT, SAID, "constant", "secret")):
        rule = Rule.SECURITY if name == "secret" else Rule.OPEN
        assert nodes.add(node_key(2, name), VARIABLE, qualified(name, 2), text(name), rule=rule) == number
    recorded = {
        0: Recorded(COLD, DOUBLE, 1.0),
        1: Recorded(LINE, DOUBLE, 0.001),
        2: Recorded(COUNT, INT32, 1.0),
        3: Recorded(SAID, STRING, 1.0),
        5: Recorded(COLD, DOUBLE, 1.0),
    }
    return HistoryRead(nodes, recorded, history)


def request(details: Any, wanted: list[Any], release: bool = False, stamps: int = 0) -> bytes:
    found = extensionobject_to_binary(details)
    return found + struct.pack("<i?i", stamps, release, len(wanted)) + b"".join(struct_to_binary(one) for one in wanted)


def value_id(path: str, point: bytes | None = None) -> Any:
    return ua.HistoryReadValueId(ua.NodeId(path, 2), ContinuationPoint=point)


def ask(service: HistoryRead, content: bytes, session: Any = None) -> list[Any]:
    """The results, decoded by asyncua."""
    found: list[bytes] = []

    def later(_: Asked, work: Any) -> None:
        found.append(asyncio.run(work))

    asked = Asked(session or Someone(), 1, content, 0, 0, lambda *_: None, later)
    answered = service.read(asked)
    body = Buffer(answered if answered is not None else found[0])
    (count,) = struct.unpack("<i", body.read(4))
    results = [struct_from_binary(ua.HistoryReadResult, body) for _ in range(count)]
    assert body.read(4) == b"\xff\xff\xff\xff" and len(body) == 0
    return results


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(T0 / S + seconds, UTC)


def raw(start: float | None, end: float | None, most: int = 0, bounds: bool = False, modified: bool = False) -> Any:
    never = datetime(1601, 1, 1, tzinfo=UTC)
    begin, until = (never if t is None else moment(t) for t in (start, end))
    return ua.ReadRawModifiedDetails(modified, begin, until, most, bounds)


def rows_of(result: Any) -> list[tuple[float, Any, str]]:
    assert result.StatusCode.is_good(), result
    return [
        (v.SourceTimestamp.timestamp() - T0 / S, v.Value.Value if v.Value else None, v.StatusCode.name)
        for v in result.HistoryData.DataValues
    ]


def expected(first: int, last: int) -> list[tuple[float, Any, str]]:
    """What was recorded of the temperature from first to last second, the gap as one entry."""
    names = {GOOD: "Good", STALE: "UncertainLastUsableValue", BAD: "Bad"}
    found = [(float(i), ROWS[i][1], names[ROWS[i][2]]) for i in range(first, last) if not 40 <= i < 50]
    found += [(39.0, None, "BadDataLost")] if first <= 39 < last else []
    return sorted(found, key=lambda row: (row[0], row[1] is None))


def test_raw_values_come_with_their_quality_and_the_gap(folder: Any) -> None:
    (result,) = ask(served(Direct(folder)), request(raw(0, 60), [value_id(COLD)]))
    assert rows_of(result) == expected(0, 60)


def test_the_start_is_in_and_the_end_is_out_in_both_directions(folder: Any) -> None:
    service = served(Direct(folder))
    (forward,), (backward,) = (ask(service, request(raw(*span), [value_id(COUNT)])) for span in ((5, 8), (8, 5)))
    assert [row[1] for row in rows_of(forward)] == [5, 6, 7]
    assert [row[1] for row in rows_of(backward)] == [8, 7, 6]


def test_without_a_start_the_newest_before_the_end_come_first(folder: Any) -> None:
    (result,) = ask(served(Direct(folder)), request(raw(None, 20.5, most=3), [value_id(COUNT)]))
    assert [row[1] for row in rows_of(result)] == [20, 19, 18]


def test_of_start_end_and_number_two_must_be_given(folder: Any) -> None:
    with pytest.raises(ServiceError) as refused:
        ask(served(Direct(folder)), request(raw(0, None), [value_id(COUNT)]))
    assert refused.value.code == ua.StatusCodes.BadHistoryOperationInvalid


@settings(max_examples=40, deadline=None)
@given(
    start=st.integers(0, 99), end=st.integers(0, 99), most=st.integers(1, 30), bounds=st.booleans(),
    path=st.sampled_from([COLD, COUNT, SAID]),
)  # fmt: skip
def test_in_parts_the_same_comes_as_at_once(folder: Any, start: int, end: int, most: int, bounds: bool, path: str) -> None:
    service, session = served(Direct(folder)), Someone()
    (whole,) = ask(service, request(raw(start, end, bounds=bounds), [value_id(path)]), session)
    parts: list[Any] = []
    point = None
    for _ in range(200):
        (part,) = ask(service, request(raw(start, end, most, bounds), [value_id(path, point)]), session)
        parts += rows_of(part)
        point = part.ContinuationPoint
        assert len(part.HistoryData.DataValues) <= most
        if not point:
            break
    assert parts == rows_of(whole)


def test_a_bound_is_the_sample_before_or_after_or_none_was_found(folder: Any) -> None:
    service = served(Direct(folder))
    (inside,) = ask(service, request(raw(10.5, 12.5, bounds=True), [value_id(COUNT)]))
    assert [(t, v) for t, v, _ in rows_of(inside)] == [(10.0, 10), (11.0, 11), (12.0, 12), (13.0, 13)]
    (before,) = ask(service, request(raw(-5, 1, bounds=True), [value_id(COUNT)]))
    assert rows_of(before)[0] == (-5.0, None, "BadBoundNotFound")


def test_a_continuation_point_is_worth_something_once_and_to_its_own_session(folder: Any) -> None:
    service, mine, other = served(Direct(folder)), Someone(), Someone()
    (first,) = ask(service, request(raw(0, 30, 5), [value_id(COUNT)]), mine)
    again = request(raw(0, 30, 5), [value_id(COUNT, first.ContinuationPoint)])
    assert ask(service, again, other)[0].StatusCode.name == "BadContinuationPointInvalid"
    assert ask(service, again, mine)[0].StatusCode.is_good()
    assert ask(service, again, mine)[0].StatusCode.name == "BadContinuationPointInvalid"
    (third,) = ask(service, request(raw(0, 30, 5), [value_id(COUNT)]), mine)
    gone = request(raw(0, 30, 5), [value_id(COUNT, third.ContinuationPoint)], release=True)
    assert [result.StatusCode.name for result in (*ask(service, gone, mine), *ask(service, gone, mine))] == [
        "Good",
        "BadContinuationPointInvalid",
    ]
    while mine.on_close:
        mine.on_close.pop()()
    assert not service._points.get(mine)


def test_a_continuation_point_is_of_no_use_for_another_signal_or_when_the_right_is_gone(folder: Any) -> None:
    service, mine = served(Direct(folder)), Someone()
    (first,) = ask(service, request(raw(0, 30, 5), [value_id("secret")]), mine)
    again = request(raw(0, 30, 5), [value_id("secret", first.ContinuationPoint)])
    mine.allowed = False
    assert ask(service, again, mine)[0].StatusCode.name == "BadNodeIdUnknown"
    mine.allowed = True
    other = request(raw(0, 30, 5), [value_id(COUNT, first.ContinuationPoint)])
    assert ask(service, other, mine)[0].StatusCode.name == "BadContinuationPointInvalid"


def test_at_a_time_the_line_is_read_where_the_signal_is_kept_as_one(folder: Any) -> None:
    times = [moment(t) for t in (10.0, 30.0, 70.0, 2000.0)]
    service = served(Direct(folder))
    (line,), (step,) = (ask(service, request(ua.ReadAtTimeDetails(times, True), [value_id(path)])) for path in (LINE, COUNT))
    assert rows_of(line)[0][1] == pytest.approx(10.0, abs=1e-5)
    statuses = [value.StatusCode.value for value in line.HistoryData.DataValues]
    assert statuses[0] == 0x402 and statuses[3] == ua.StatusCodes.BadNoData
    assert [v for _, v, _ in rows_of(step)][:3] == [10, 30, 70]
    assert step.HistoryData.DataValues[0].StatusCode.value == 0


def test_what_nobody_changed_has_no_modified_values(folder: Any) -> None:
    (result,) = ask(served(Direct(folder)), request(raw(0, 10, modified=True), [value_id(COUNT)]))
    assert result.StatusCode.name == "GoodNoData" and isinstance(result.HistoryData, ua.HistoryModifiedData)


@pytest.mark.parametrize(
    "path, allowed, status",
    [
        ("nothing", True, "BadNodeIdUnknown"),
        ("constant", True, "BadHistoryOperationUnsupported"),
        ("secret", False, "BadNodeIdUnknown"),
    ],
)
def test_what_has_no_past_or_is_not_for_this_user_is_refused_alone(folder: Any, path: str, allowed: bool, status: str) -> None:
    wanted = [value_id(path), value_id(COUNT)]
    results = ask(served(Direct(folder)), request(raw(0, 3), wanted), Someone(allowed))
    assert [result.StatusCode.name for result in results] == [status, "Good"]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_request_that_is_cut_off_is_refused(folder: Any, cut: int) -> None:
    whole = request(raw(0, 3), [value_id(COUNT)])
    with pytest.raises(ServiceError):
        ask(served(Direct(folder)), whole[:-cut])


@given(st.binary(max_size=120))
def test_any_bytes_are_refused_or_answered(folder: Any, content: bytes) -> None:
    with contextlib.suppress(ServiceError):
        ask(served(Direct(folder)), content)


# ---- aggregates


def question(name: str, start: float, end: float, every_s: float = 0.0, path: str = COUNT) -> list[tuple[float, Any, int]]:
    number = int(getattr(ua.ObjectIds, f"AggregateFunction_{name}"))
    details = ua.ReadProcessedDetails(moment(start), moment(end), every_s * 1000, [ua.NodeId(number)])
    (result,) = ask(served(question.history), request(details, [value_id(path)]))  # type: ignore[attr-defined]
    return [
        (v.SourceTimestamp.timestamp() - T0 / S, v.Value.Value if v.Value else None, v.StatusCode.value)
        for v in result.HistoryData.DataValues
    ]


RAMP = {  # of 0, 1, 2 … 9, one a second, each held for a second: closed forms
    "Average": 4.5, "Minimum": 0, "Maximum": 9, "Range": 9, "Count": 10, "Start": 0, "End": 9, "Delta": 9,
    "TimeAverage": 4.5, "TimeAverage2": 4.5, "Total": 45, "Total2": 45, "Minimum2": 0, "Maximum2": 9, "Range2": 9,
    "StartBound": 0, "EndBound": 10, "DeltaBounds": 10, "MinimumActualTime": 0, "MaximumActualTime": 9, "Interpolative": 0,
    "DurationGood": 10_000, "DurationBad": 0, "PercentGood": 100, "PercentBad": 0, "NumberOfTransitions": 9,
    "StandardDeviationPopulation": np.sqrt(99 / 12), "VariancePopulation": 99 / 12,
    "StandardDeviationSample": np.sqrt(110 / 12), "VarianceSample": 110 / 12,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(AGGREGATES))
def test_every_aggregate_of_a_staircase_is_its_closed_form(folder: Any, name: str) -> None:
    question.history = Direct(folder)  # type: ignore[attr-defined]
    ((at, value, status),) = question(name, 0, 10)
    assert value == pytest.approx(RAMP[name])
    assert at == {"End": 9.0, "MaximumActualTime": 9.0, "EndBound": 10.0}.get(name, 0.0)
    assert status in (0, 0x401)


def test_every_aggregate_that_is_served_has_a_closed_form_here() -> None:
    assert set(RAMP) == set(AGGREGATES)


def test_the_last_interval_is_cut_and_says_so_and_backwards_they_come_newest_first(folder: Any) -> None:
    question.history = Direct(folder)  # type: ignore[attr-defined]
    forward, backward = question("Average", 0, 25, 10), question("Average", 30, 0, 10)
    assert [(at, value) for at, value, _ in forward] == [(0.0, 4.5), (10.0, 14.5), (20.0, 22.0)]
    assert [status for _, _, status in forward] == [0x401, 0x401, 0x405]
    assert [(at, value) for at, value, _ in backward] == [(30.0, 24.5), (20.0, 14.5), (10.0, 4.5)]


def test_a_time_average_follows_the_line(folder: Any) -> None:
    question.history = Direct(folder)  # type: ignore[attr-defined]
    ((_, value, _),) = question("TimeAverage2", 5, 15, path=LINE)
    assert value == pytest.approx(10.0, abs=1e-5)


def test_an_interval_with_doubts_is_uncertain_and_one_in_the_gap_has_no_value(folder: Any) -> None:
    question.history = Direct(folder)  # type: ignore[attr-defined]
    doubtful, lost = question("Average", 5, 15, path=COLD), question("Average", 42, 48, path=COLD)
    assert doubtful[0][2] & 0xFFFF_0000 == ua.StatusCodes.UncertainDataSubNormal
    assert lost[0][1:] == (None, ua.StatusCodes.BadNoData)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(-1e6, 1e6), st.booleans()), min_size=1, max_size=20),
    st.booleans(), st.integers(0, 40), st.integers(1, 400),
)  # fmt: skip
def test_time_weighted_totals_of_neighbours_add_up_to_the_whole(
    steps: list[tuple[int, float, bool]], lines: bool, start: int, length: int
) -> None:
    times = np.array(list(itertools.accumulate(step for step, _, _ in steps)), np.int64) * S
    good = np.array([fine for _, _, fine in steps])
    samples = Samples(times, np.array([value for _, value, _ in steps]), good, np.ones(len(steps), bool), lines)
    number = int(ua.ObjectIds.AggregateFunction_Total2)
    assert number in BY_NUMBER
    span = (start * S, (start + length) * S)
    (whole,) = processed(Processed(*span, 0, number), samples)
    parts = processed(Processed(*span, 3 * S, number), samples)
    assert sum(value or 0.0 for _, value, _ in parts) == pytest.approx(whole[1] or 0.0, rel=1e-9, abs=1e-3)


# ---- the process


def test_the_process_answers_and_is_started_again_when_it_has_ended(folder: Any) -> None:
    async def twice() -> list[int]:
        history = History(folder)
        details = Raw(T0, T0 + 5 * S, False, 100)
        asked = [Question(n, COUNT, INT32, 1.0, Stamps.SOURCE, details) for n in (1, 2)]
        first = await history.ask(asked[0])
        assert history._process is not None
        history._process.kill()
        await history._process.wait()
        second = await history.ask(asked[1])
        await history.close()
        return [first.count, second.count]

    assert asyncio.run(twice()) == [5, 5]
    assert ticks(0) == TICKS_1970 and BAD != NONE
