"""What lies at the ends of a span: Table 1 of Part 11 §4.4, for samples of 5:00, 5:02, 5:03, 5:05 and 5:06."""

from typing import Any

import pytest
from asyncua import ua

from controller.history.hot import Hot
from controller.history.kept import GOOD
from tests.controller.opcua.historic.test_history_read import (
    COUNT,
    KEPT,
    SAID,
    T0,
    Direct,
    S,
    Someone,
    ask,
    moment,
    raw,
    request,
    rows_of,
    served,
    value_id,
)

FIRST = LAST = "no bound"
TABLE = [  # start, end, number, with bounds: the minutes that come, whether there are more
    (0, 5, 0, True, [0, 2, 3, 5]), (0, 5, 0, False, [0, 2, 3]), (1, 4, 0, True, [0, 2, 3, 5]), (1, 4, 0, False, [2, 3]),
    (5, 0, 0, True, [5, 3, 2, 0]), (5, 0, 0, False, [5, 3, 2]), (4, 1, 0, True, [5, 3, 2, 0]), (4, 1, 0, False, [3, 2]),
    (-1, 5, 0, True, [FIRST, 0, 2, 3, 5]), (-1, 5, 0, False, [0, 2, 3]),
    (1, 7, 0, True, [0, 2, 3, 5, 6, LAST]), (1, 7, 0, False, [2, 3, 5, 6]),
    (0, 5, 3, True, [0, 2, 3, ...]), (0, 5, 3, False, [0, 2, 3]), (1, 4, 3, True, [0, 2, 3, ...]), (1, 4, 3, False, [2, 3]),
    (5, 0, 3, True, [5, 3, 2, ...]), (5, 0, 3, False, [5, 3, 2]), (4, 1, 3, True, [5, 3, 2, ...]), (4, 1, 3, False, [3, 2]),
    (-1, 5, 3, True, [FIRST, 0, 2, ...]), (-1, 5, 3, False, [0, 2, 3]),
    (1, 7, 3, True, [0, 2, 3, ...]), (1, 7, 3, False, [2, 3, 5, ...]),
    (0, None, 3, True, [0, 2, 3, ...]), (0, None, 3, False, [0, 2, 3, ...]),
    (0, None, 6, True, [0, 2, 3, 5, 6, LAST]), (0, None, 6, False, [0, 2, 3, 5, 6]),
    (7, None, 6, True, [6, LAST]), (7, None, 6, False, []),
    (None, 6, 3, True, [6, 5, 3, ...]), (None, 6, 3, False, [6, 5, 3, ...]),
    (None, 6, 6, True, [6, 5, 3, 2, 0, FIRST]), (None, 6, 6, False, [6, 5, 3, 2, 0]),
    (None, -12, 6, True, [0, FIRST]), (None, -12, 6, False, []),
    (-12, -12, 0, True, [FIRST, 0]), (-12, -12, 0, False, []), (-12, -12, 1, True, [FIRST, ...]), (-12, -12, 1, False, []),
    (0, 0, 0, True, [0, 2]), (0, 0, 0, False, [0]), (0, 0, 1, True, [0, ...]), (0, 0, 1, False, [0]),
    (1, 1, 0, True, [0, 2]), (1, 1, 0, False, []), (1, 1, 1, True, [0, ...]), (1, 1, 1, False, []),
    (7, 7, 0, True, [6, LAST]),
]  # fmt: skip


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = tmp_path_factory.mktemp("table")
    hot = Hot(made)
    numbers = hot.declare(KEPT)
    hot.commit(hot.samples([(numbers[COUNT], T0 + minute * 60 * S, minute, GOOD, "") for minute in (0, 2, 3, 5, 6)]))
    hot.close()
    return Direct(made)


def told(result: Any) -> list[Any]:
    rows = [FIRST if status == "BadBoundNotFound" else value for _, value, status in rows_of(result)]
    return [*rows, ...] if result.ContinuationPoint else rows


@pytest.mark.parametrize("start, end, most, bounds, expected", TABLE)
def test_the_ends_of_a_span_are_those_of_the_standards_table(
    history: Any, start: int | None, end: int | None, most: int, bounds: bool, expected: list[Any]
) -> None:
    span = (None if start is None else start * 60, None if end is None else end * 60)
    (result,) = ask(served(history), request(raw(*span, most, bounds), [value_id(COUNT)]))
    assert told(result) == expected


@pytest.mark.parametrize("span", [(-1, 7), (7, -1), (1, 4), (4, 1), (0, 0), (1, 1), (7, 7), (-1, -1), (0, None), (None, 6)])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_bounds_come_once_when_a_span_comes_in_parts(history: Any, span: tuple[Any, Any], most: int) -> None:
    service, session = served(history), Someone()
    ends = [None if end is None else end * 60 for end in span]
    (whole,) = ask(service, request(raw(*ends, 100, True), [value_id(COUNT)]))
    parts: list[Any] = []
    point = None
    for _ in range(10):
        (part,) = ask(service, request(raw(*ends, most, True), [value_id(COUNT, point)]), session)
        parts += rows_of(part)
        point = part.ContinuationPoint
        if not point:
            break
    assert parts == rows_of(whole)


def test_at_the_very_time_of_the_last_sample_it_is_that_sample(history: Any) -> None:
    details = ua.ReadAtTimeDetails([moment(360), moment(361)], True)
    (result,) = ask(served(history), request(details, [value_id(COUNT)]))
    assert [(value, status) for _, value, status in rows_of(result)] == [(6, "Good"), (None, "BadNoData")]


def test_both_times_of_a_sample_are_told_where_both_are_asked_for(history: Any) -> None:
    for stamps, source, server in ((0, True, False), (1, False, True), (2, True, True)):
        (result,) = ask(served(history), request(raw(0, 60), [value_id(COUNT)], stamps=stamps))
        (value,) = result.HistoryData.DataValues
        assert (value.SourceTimestamp == moment(0), value.ServerTimestamp == moment(0)) == (source, server)


def test_what_comes_after_the_last_record_is_not_good_and_has_no_value(history: Any) -> None:
    """Samples hold until 6:00 of 12:00: 0, 2, 3, 5 for 2, 1, 2 and 1 minutes."""
    expected: dict[str, Any] = {
        "PercentGood": [50.0, None], "DurationGood": [360_000.0, None], "TimeAverage": [13 / 6, None], "Count": [5, None],
        "Total2": [13 * 60.0, None], "EndBound": [None, None], "Interpolative": [0.0, None],
    }  # fmt: skip
    for name, values in expected.items():
        number = ua.NodeId(int(getattr(ua.ObjectIds, f"AggregateFunction_{name}")))
        details = ua.ReadProcessedDetails(moment(0), moment(24 * 60), 12 * 60_000.0, [number])
        (result,) = ask(served(history), request(details, [value_id(COUNT)]))
        found = result.HistoryData.DataValues
        assert [value.Value.Value if value.Value else None for value in found] == [
            value if value is None else pytest.approx(value) for value in values
        ], name
        assert found[1].StatusCode.name == "BadNoData"
        assert name in ("EndBound", "Interpolative") or found[0].StatusCode.value & 0x0405 == 0x0405, name


def test_a_span_that_ends_with_the_last_record_ends_with_its_value(history: Any) -> None:
    number = ua.NodeId(int(ua.ObjectIds.AggregateFunction_EndBound))
    (result,) = ask(served(history), request(ua.ReadProcessedDetails(moment(0), moment(360), 0.0, [number]), [value_id(COUNT)]))
    assert [value for _, value, _ in rows_of(result)] == [6]


def test_of_a_signal_without_samples_both_bounds_are_missing_each_once(history: Any) -> None:
    service, session = served(history), Someone()
    (first,) = ask(service, request(raw(0, 0, 1, True), [value_id(SAID)]), session)
    (second,) = ask(service, request(raw(0, 0, 1, True), [value_id(SAID, first.ContinuationPoint)]), session)
    assert [told(first), told(second)] == [[FIRST, ...], [LAST]]
