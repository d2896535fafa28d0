"""How much a client can have of History at once, and that nobody's question is anybody else's trouble."""

import asyncio
import struct
from collections.abc import Coroutine
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError

from controller.history.hot import Hot
from controller.history.kept import GOOD
from controller.opcua.asked import Asked
from controller.opcua.historic import answers as answering
from controller.opcua.historic.asking import History
from controller.opcua.historic.questions import MOST_BYTES, Answer, Question, Raw, Stamps
from controller.opcua.historic.service import MOST_NODES, MOST_TIMES, MOST_VALUES, MOST_WORK
from controller.opcua.nodes import capabilities
from controller.opcua.plane import INT32
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = tmp_path_factory.mktemp("limits")
    hot = Hot(made)
    numbers = hot.declare(KEPT)
    rows: list[Any] = [(numbers[COUNT], T0 + i * S, i, GOOD, "") for i in range(20)]
    rows += [(numbers[SAID], T0 + i * S, f"{i}" * 1000, GOOD, "") for i in range(20)]
    hot.commit(hot.samples(sorted(rows, key=lambda row: row[1])))
    hot.close()
    return made


class Large:
    """Answers that are as large as answers come; how many were gathered, and by how many at once."""

    def __init__(self) -> None:
        self.asked = self.at_once = self.most_at_once = 0

    async def ask(self, question: Question) -> Answer:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return Answer(question.number, 0, 1, b"\0" * (MOST_BYTES // 2))

    async def close(self) -> None:
        """Nothing to end."""


def test_what_is_too_much_for_one_answer_is_not_gathered_but_comes_by_a_continuation_point() -> None:
    large, session = Large(), Someone()
    service = served(large)
    content = request(raw(0, 60), [value_id(COUNT)] * MOST_NODES)
    found: list[bytes] = []
    service.read(Asked(session, 1, content, 0, 0, lambda *_: None, lambda _, work: found.append(asyncio.run(work))))  # type: ignore[arg-type]
    assert large.asked == 2 and len(found[0]) < 1.1 * MOST_BYTES
    assert len(service._points[session]) == MOST_NODES - 2  # type: ignore[index]


def test_a_node_that_was_put_off_is_answered_by_its_continuation_point(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.opcua.historic.service.MOST_BYTES", 100)
    service, session = served(Direct(folder)), Someone()
    first, second = ask(service, request(raw(0, 10), [value_id(COUNT), value_id(COUNT)]), session)
    assert len(rows_of(first)) == 10 and rows_of(second) == []
    (again,) = ask(service, request(raw(0, 10), [value_id(COUNT, second.ContinuationPoint)]), session)
    assert rows_of(again) == rows_of(first) and not again.ContinuationPoint


def test_more_nodes_or_times_than_told_are_refused(folder: Any) -> None:
    told = dict(capabilities.values())
    assert told["ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData"][1:] == struct.pack("<I", MOST_NODES)
    assert told["HistoryServerCapabilities_ServerTimestampSupported"] == b"\x01\x01"
    times = ua.ReadAtTimeDetails([moment(1)] * MOST_VALUES, True)
    nodes = [value_id(COUNT)] * (MOST_TIMES // MOST_VALUES + 1)
    for content in (request(raw(0, 1), [value_id(COUNT)] * (MOST_NODES + 1)), request(times, nodes)):
        with pytest.raises(ServiceError) as refused:
            ask(served(Direct(folder)), content)
        assert refused.value.code == ua.StatusCodes.BadTooManyOperations


def test_no_more_than_a_few_requests_of_a_session_gather_at_once() -> None:
    large, session = Large(), Someone()
    service = served(large)
    content = request(raw(0, 60), [value_id(COUNT)])
    waiting: list[Coroutine[Any, Any, bytes]] = []
    for _ in range(6):
        service.read(Asked(session, 1, content, 0, 0, lambda *_: None, lambda _, work: waiting.append(work)))  # type: ignore[arg-type]

    async def all_of_them() -> None:
        await asyncio.gather(*waiting)

    asyncio.run(all_of_them())
    assert (large.asked, large.most_at_once) == (6, MOST_WORK)


def test_long_texts_come_in_parts_that_stay_small_and_are_the_whole(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = ask(served(Direct(folder)), request(raw(0, 20), [value_id(SAID)]))
    monkeypatch.setattr(answering, "MOST_BYTES", 5000)
    service, session, parts, point = served(Direct(folder)), Someone(), list[Any](), None
    for _ in range(20):
        (part,) = ask(service, request(raw(0, 20), [value_id(SAID, point)]), session)
        assert 1 <= len(rows_of(part)) <= 5
        parts += rows_of(part)
        point = part.ContinuationPoint
        if not point:
            break
    assert len(parts) == 20 and parts == rows_of(whole)
    details = ua.ReadAtTimeDetails([moment(t) for t in range(10)], True)
    (refused,) = ask(service, request(details, [value_id(SAID)]))
    assert refused.StatusCode.name == "BadTooManyOperations"


@pytest.mark.parametrize("span", [(0, 10), (10, 0)])
def test_intervals_come_in_parts_of_as_many_as_told(
    folder: Any, monkeypatch: pytest.MonkeyPatch, span: tuple[float, float]
) -> None:
    number = ua.NodeId(int(ua.ObjectIds.AggregateFunction_TimeAverage2))
    details = ua.ReadProcessedDetails(*map(moment, span), 300.0, [number])
    service, session, parts, point = served(Direct(folder)), Someone(), list[Any](), None
    (whole,) = ask(service, request(details, [value_id(COUNT)]))
    monkeypatch.setattr(answering, "MOST_VALUES", 7)
    for _ in range(10):
        (part,) = ask(service, request(details, [value_id(COUNT, point)]), session)
        assert len(rows_of(part)) <= 7
        parts += rows_of(part)
        point = part.ContinuationPoint
        if not point:
            break
    assert len(parts) == 34 and parts == rows_of(whole)


def test_an_aggregate_over_more_samples_than_can_be_held_is_refused(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MOST_SAMPLES", 9)
    average = [ua.NodeId(int(ua.ObjectIds.AggregateFunction_Average))]
    few, many = (ua.ReadProcessedDetails(moment(0), moment(end), 0.0, average) for end in (9, 10))
    results = [ask(served(Direct(folder)), request(details, [value_id(COUNT)]))[0] for details in (few, many)]
    assert [result.StatusCode.name for result in results] == ["Good", "BadTooManyOperations"]


def test_who_gives_up_waiting_ends_nobody_elses_question(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    start = asyncio.create_subprocess_exec

    async def counted(*command: Any, **more: Any) -> Any:
        starts.append(command)
        return await start(*command, **more)

    monkeypatch.setattr("controller.opcua.historic.asking.asyncio.create_subprocess_exec", counted)

    def question(number: int) -> Question:
        return Question(number, COUNT, INT32, 1.0, Stamps.SOURCE, Raw(T0, T0 + 5 * S, False, 100))

    async def meet() -> list[int]:
        history = History(folder)
        try:
            asking = [asyncio.create_task(history.ask(question(n))) for n in range(6)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            asking[0].cancel()  # it is asked already: its answer is dropped
            for given_up in (asking[2], asking[4]):
                given_up.cancel()
            found = await asyncio.gather(*asking, return_exceptions=True)
            return [answer.number for answer in found if isinstance(answer, Answer)]
        finally:
            await history.close()

    assert asyncio.run(meet()) == [1, 3, 5]
    assert len(starts) == 1


def test_the_process_is_there_before_it_is_asked_but_only_where_there_is_a_past(folder: Any, tmp_path: Any) -> None:
    async def warmed(where: Any) -> bool:
        history = History(where)
        history.warm()
        assert history._warming is None or await history._warming is None
        there = history._process is not None
        await history.close()
        return there

    assert [asyncio.run(warmed(where)) for where in (folder, tmp_path)] == [True, False]
