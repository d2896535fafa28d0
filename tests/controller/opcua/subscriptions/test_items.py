"""The MonitoredItem Service Set in virtual time (Part 4 §5.13, §7.22; Part 8 §7.2)."""

import math
import struct
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.encoding import NULL_TEXT, TICKS_1970, data_value, node_key, qualified, variant
from controller.opcua.nodes.store import VARIABLE
from controller.opcua.plane import BOOLEAN, DOUBLE, FLOAT, INT16, INT64, STRING, UINT64
from controller.opcua.subscriptions import limits
from controller.users import Role
from tests.controller.opcua.subscriptions.stage import Client, Stage, changed, code_of

OVERFLOW = 0x480
ABSOLUTE, PERCENT = 1, 2
NAN = math.nan


def set_out(kinds: list[int] | int = 1, interval: float = 100, **wishes: Any) -> tuple[Stage, Client, int]:
    stage = Stage(kinds) if isinstance(kinds, int) else Stage(kinds=kinds)
    client = stage.client()
    number = client.subscribe(interval, life=10_000, alive=3_000, **wishes)
    client.publish(20)
    return stage, client, number


def told(stage: Stage, client: Client, values: list[Any], every_ms: float = 10) -> list[Any]:
    """What is told of values that are put one after the other."""
    for value in values:
        stage.time.to(stage.time.at / 1e6 + every_ms)
        stage.put([value])
    stage.time.to(stage.time.at / 1e6 + 400)
    return [value for _, value in client.values()]


# ---- creation


def test_a_new_item_tells_what_holds_at_once_even_before_there_is_a_value() -> None:
    stage, client, number = set_out(2)
    stage.put({0: 4.0}, status=0x40000000)
    client.monitor(number, 0, 1)
    stage.time.to(100)
    (_, first), (_, second) = client.changes()
    assert (first.Value.Value, first.StatusCode.value) == (4.0, 0x40000000)
    assert second.Value.Value is None and second.StatusCode.value == StatusCodes.BadWaitingForInitialData


@pytest.mark.parametrize(("stamps", "server"), [(0, False), (1, True), (2, True), (3, False)])
def test_what_has_no_source_time_is_told_without_one_and_not_as_of_1601(stamps: int, server: bool) -> None:
    stage, client, number = set_out([DOUBLE, STRING, DOUBLE])
    stage.put({2: 4.0}, source=0)
    client.monitor(number, 0, 1, 2, stamps=stamps)
    stage.time.to(100)
    found = dict(client.changes())
    assert found[2].Value.Value == 4.0 and found[0].StatusCode.value == StatusCodes.BadWaitingForInitialData
    for value in found.values():
        assert value.SourceTimestamp is None and (value.ServerTimestamp is not None) == server


def test_what_is_wrong_with_an_item_is_its_own_result_and_the_others_are_made() -> None:
    stage, client, number = set_out([DOUBLE, BOOLEAN, STRING])
    (hidden,) = stage.add(DOUBLE, rule=4)
    wrong = {
        StatusCodes.BadNodeIdUnknown: [client.item(node_key(1, "nowhere")), client.item(3)],
        StatusCodes.BadAttributeIdInvalid: [client.item(0, attribute=attribute) for attribute in (0, 99, 12)],
        StatusCodes.BadIndexRangeInvalid: [client.item(0, part="2:1"), client.item(0, part="x")],
        StatusCodes.BadIndexRangeNoData: [client.item(0, part="0")],
        StatusCodes.BadMonitoringModeInvalid: [client.item(0, mode=3)],
        StatusCodes.BadDataEncodingUnsupported: [client.item(0, encoding=ua.QualifiedName("Default XML"))],
        StatusCodes.BadDataEncodingInvalid: [client.item(0, attribute=4, encoding=ua.QualifiedName("Default XML"))],
        StatusCodes.BadFilterNotAllowed: [
            client.item(0, attribute=4, filter=changed()), client.item(1, filter=changed(deadband=ABSOLUTE, width=1)),
            client.item(2, filter=changed(deadband=PERCENT, width=1)), client.item(0, filter=ua.EventFilter()),
        ],
        StatusCodes.BadMonitoredItemFilterUnsupported: [
            client.item(0, filter=ua.AggregateFilter()), client.item(0, filter=changed(deadband=PERCENT, width=1)),
        ],
        StatusCodes.BadMonitoredItemFilterInvalid: [
            client.item(0, filter=changed(trigger=3)), client.item(0, filter=changed(deadband=3)),
        ],
        StatusCodes.BadDeadbandFilterInvalid: [
            client.item(0, filter=changed(deadband=kind, width=width))
            for kind, width in ((1, -1.0), (1, NAN), (1, math.inf), (2, -0.1), (2, 100.1), (2, NAN))
        ],
    }  # fmt: skip
    asked = [(code, item) for code, items in wrong.items() for item in items]
    results = client.monitor(number, client.item(0), *(item for _, item in asked), client.item(1))
    assert [result.StatusCode.value for result in results] == [0, *(code for code, _ in asked), 0]
    assert stage.engine.items == 2 and hidden


def test_there_are_so_many_items_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_ITEMS_PER_SUBSCRIPTION", 5)
    monkeypatch.setattr(limits, "MOST_ITEMS", 8 * limits.PARTS)
    _, client, number = set_out(1)
    codes = [result.StatusCode.value for result in client.monitor(number, *[0] * 7)]
    assert codes == [0] * 5 + [StatusCodes.BadTooManyMonitoredItems] * 2
    codes = [result.StatusCode.value for result in client.monitor(client.subscribe(), *[0] * 4)]
    assert codes == [0] * 3 + [StatusCodes.BadTooManyMonitoredItems]


def test_requests_that_are_none_are_refused_as_a_whole() -> None:
    _, client, number = set_out(1)
    assert code_of(lambda: client.ask("CreateMonitoredItems", struct.pack("<IIi", number, 2, 0))) == StatusCodes.BadNothingToDo
    assert code_of(lambda: client.monitor(number, 0, stamps=4)) == StatusCodes.BadTimestampsToReturnInvalid
    assert code_of(lambda: client.monitor(77, 0)) == StatusCodes.BadSubscriptionIdInvalid
    too_many = struct.pack("<IIi", number, 2, 2_001)
    assert code_of(lambda: client.ask("CreateMonitoredItems", too_many)) == StatusCodes.BadTooManyOperations
    assert code_of(lambda: client.ask("DeleteMonitoredItems", struct.pack("<Ii", number, -1))) == StatusCodes.BadNothingToDo


# ---- sampling


@pytest.mark.parametrize(
    ("wanted", "served"),
    [(0.0, 0.0), (1.0, 20.0), (20.0, 20.0), (-1.0, 200.0), (-7.5, 200.0), (25.0, 30.0), (1_010.0, 1_100.0), (1e12, 3_600_000.0)],
)
def test_a_sampling_interval_is_revised_to_one_that_is_served(wanted: float, served: float) -> None:
    _, client, number = set_out(1, interval=200)
    (result,) = client.monitor(number, client.item(0, sampling=wanted))
    assert result.RevisedSamplingInterval == served


def test_every_change_is_sampled_or_what_holds_on_the_grid() -> None:
    stage, client, number = set_out(1, interval=1_000)
    stage.put([0.0])
    client.monitor(number, client.item(0, 1, queue=100), client.item(0, 2, queue=100, sampling=200.0))
    for step in range(1, 31):
        stage.time.to(step * 30 + 2)
        stage.put([float(step)])
    stage.time.to(2_000)
    values = client.values()
    assert [value for handle, value in values if handle == 1] == [float(step) for step in range(31)]
    slow = [value for handle, value in values if handle == 2]
    # The grid is at 200, 400, …; a change up to 25 ms before it is sampled as it comes.
    assert slow == [0.0, 6.0, 13.0, 19.0, 26.0, 30.0]


def test_disabled_nothing_is_sampled_and_what_was_queued_is_gone() -> None:
    stage, client, number = set_out(1)
    stage.put([1.0])
    client.monitor(number, client.item(0, queue=5))
    assert client.numbers("SetMonitoringMode", "II", number, 0, ids=[1, 9]) == [0, StatusCodes.BadMonitoredItemIdInvalid]
    assert told(stage, client, [2.0, 3.0]) == []
    client.numbers("SetMonitoringMode", "II", number, 2, ids=[1])
    stage.time.to(stage.time.at / 1e6 + 200)
    assert client.values() == [(0, 3.0)]
    assert code_of(lambda: client.numbers("SetMonitoringMode", "II", number, 3, ids=[1])) == StatusCodes.BadMonitoringModeInvalid


def test_sampling_alone_queues_and_tells_when_it_reports() -> None:
    stage, client, number = set_out(1)
    stage.put([1.0])
    client.monitor(number, client.item(0, mode=1, queue=5))
    assert told(stage, client, [2.0, 3.0]) == []
    client.numbers("SetMonitoringMode", "II", number, 2, ids=[1])
    stage.time.to(stage.time.at / 1e6 + 200)
    assert client.values() == [(0, 1.0), (0, 2.0), (0, 3.0)]


# ---- queues


class SlowQueue:
    """Part 4 §5.13.1.5 and figure 17, one value at a time."""

    def __init__(self, size: int, oldest: bool) -> None:
        self.size, self.oldest = size, oldest
        self.held: list[tuple[float, int]] = []

    def put(self, value: float) -> None:
        flag = OVERFLOW if self.size > 1 else 0
        if len(self.held) < self.size:
            self.held.append((value, 0))
        elif self.oldest and self.size > 1:
            self.held = [*self.held[1:], (value, 0)]
            self.held[0] = (self.held[0][0], flag)
        else:
            self.held[-1] = (value, flag)

    def take(self) -> list[tuple[float, int]]:
        held, self.held = self.held, []
        return held


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.sampled_from([0, 1, 2, 3])), min_size=1, max_size=6),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.booleans(),
)
def test_queues_hold_and_mark_what_a_slow_queue_does(items: list[tuple[int, bool, int]], cycles: list[int], text: bool) -> None:
    stage, client, number = set_out([STRING] if text else [DOUBLE], interval=1_000)
    put = 0

    def next_value() -> None:
        nonlocal put
        put += 1
        if text:
            stage.plane.put_text(0, str(put), 0, 1)
            stage.commit()
        else:
            stage.put([float(put)])

    one = stage.engine.any(number)
    assert one
    one.beat.since = -(1 << 60)  # no cycle is made longer: here they are counted
    next_value()
    made = [client.item(0, at, queue=size, oldest=oldest) for at, (size, oldest, _) in enumerate(items)]
    for item, (_, _, stamps) in zip(made, items, strict=True):
        client.monitor(number, item, stamps=stamps)
    slow = [SlowQueue(size, oldest) for size, oldest, _ in items]
    for queue in slow:
        queue.put(1)
    for cycle, puts in enumerate(cycles):
        for _ in range(puts):
            stage.time.to(stage.time.at / 1e6 + 30)
            next_value()
            for queue in slow:
                queue.put(put)
        stage.time.to((cycle + 1) * 1_000)
        client.publish()
        found: dict[int, list[tuple[float, int]]] = {at: [] for at in range(len(items))}
        for handle, value in client.changes():
            status = value.StatusCode.value if value.StatusCode else 0
            found[handle].append((float(value.Value.Value), status))
            stamps = items[handle][2]
            assert (value.SourceTimestamp is not None, value.ServerTimestamp is not None) == (stamps in (0, 2), stamps in (1, 2))
        assert found == {at: queue.take() for at, queue in enumerate(slow)}
    client.numbers("DeleteSubscriptions", "", ids=[number])
    assert stage.engine.queues.left == limits.QUEUE_BYTES


def test_a_queue_that_never_ends_is_cut_before_it_is_published() -> None:
    stage, client, number = set_out(1, interval=60_000)
    client.monitor(number, client.item(0, queue=3))
    one = stage.engine.any(number)
    assert one
    for step in range(2_500):
        stage.put([float(step)])
    assert one.items.held <= 2 * one.items.room + 1_000
    stage.time.to(60_000)
    assert [(value.Value.Value, value.StatusCode.value) for _, value in client.changes()] == [
        (2497.0, OVERFLOW), (2498.0, 0), (2499.0, 0)
    ]  # fmt: skip


def test_a_queue_has_no_more_than_is_left_for_all_of_them() -> None:
    stage, client, number = set_out(1)
    (result,) = client.monitor(number, client.item(0, queue=10_000))
    assert result.RevisedQueueSize == limits.LONGEST_QUEUE
    stage.engine.queues.left = 1_000
    results = client.monitor(number, client.item(0, queue=100), client.item(0, queue=0))
    assert [result.RevisedQueueSize for result in results] == [12, 1]


# ---- filters


def test_an_absolute_deadband_is_held_against_what_was_told_last_and_not_against_the_last_sample() -> None:
    stage, client, number = set_out(1)
    stage.put([0.0])
    client.monitor(number, client.item(0, queue=100, filter=changed(deadband=ABSOLUTE, width=1.0)))
    ramp = [round(step * 0.4, 1) for step in range(1, 21)]
    assert told(stage, client, ramp) == [0.0, 1.2, 2.4, 3.6, 4.8, 6.0, 7.2]


def test_a_change_as_wide_as_the_deadband_is_not_told_and_a_status_is_whatever_the_value() -> None:
    stage, client, number = set_out(1)
    stage.put([1.0])
    client.monitor(number, client.item(0, queue=100, filter=changed(deadband=ABSOLUTE, width=0.5)))
    assert told(stage, client, [1.5, 0.5, 1.0]) == [1.0]
    stage.put([1.25], status=0x40000000)
    stage.time.to(stage.time.at / 1e6 + 300)
    assert client.values() == [(0, 1.25)]
    assert told(stage, client, [1.25]) == [1.25]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.5, -3.0, NAN, math.inf, -math.inf]), max_size=12), st.sampled_from([0, 1.0]))
def test_what_is_told_is_what_a_slow_filter_lets_pass(values: list[float], width: float) -> None:
    stage, client, number = set_out(1, interval=1_000)
    stage.put([0.0])
    client.monitor(number, client.item(0, queue=100, filter=changed(deadband=ABSOLUTE if width else 0, width=width)))
    last, wanted = 0.0, [0.0]
    for value in values:
        same = value == last or (math.isnan(value) and math.isnan(last))
        if not same and not abs(value - last) <= width:
            last = value
            wanted.append(value)
    found = told(stage, client, values)
    stage.time.to(3_000)
    assert repr(found + [value for _, value in client.values()]) == repr(wanted)


def test_nan_is_no_change_of_nan() -> None:
    stage, client, number = set_out([FLOAT])
    stage.put([NAN])
    client.monitor(number, client.item(0, queue=9))
    found = told(stage, client, [NAN, NAN, 1.0, NAN, NAN])
    assert [str(value) for value in found] == ["nan", "1.0", "nan"]


def test_a_percent_deadband_is_of_the_range_of_the_unit() -> None:
    stage, client, number = set_out(1)
    stage.put([0.0])
    node = stage.nodes.find(stage.keys[0])
    span = ua.Variant(ua.Range(Low=-50.0, High=150.0), ua.VariantType.ExtensionObject)
    has_property, held = stage.nodes.find(node_key(0, 46)), node_key(1, "range")
    stage.nodes.add(held, VARIABLE, qualified("EURange"), NULL_TEXT, rule=0, attributes={13: variant(span)})
    stage.nodes.refer(node, has_property, stage.nodes.find(held))
    (result,) = client.monitor(number, client.item(0, queue=100, filter=changed(deadband=PERCENT, width=10.0)))
    assert result.StatusCode.value == 0
    assert told(stage, client, [10.0, 20.0, 20.1, 40.0, 40.2]) == [0.0, 20.1, 40.2]


@pytest.mark.parametrize(("trigger", "wanted"), [(0, [(1.0, 5)]), (1, [(1.0, 5), (2.0, 6)]), (2, [(1.0, 5), (2.0, 6), (2.0, 7)])])
def test_a_trigger_says_which_changes_count(trigger: int, wanted: list[Any]) -> None:
    stage, client, number = set_out(1)
    stage.put([1.0], source=5)
    client.monitor(number, client.item(0, queue=10, filter=changed(trigger)))
    stage.put([2.0], source=6)
    stage.put([2.0], source=7)
    stage.time.to(300)
    found = [(value.Value.Value, value) for _, value in client.changes()]
    assert [number for number, _ in found] == [number for number, _ in wanted]
    stage.put([2.0], source=7, status=0x80000000)
    stage.time.to(600)
    assert len(client.changes()) == 1


@pytest.mark.parametrize("queue", [1, 5])
def test_the_times_that_are_asked_for_are_the_values_own(queue: int) -> None:
    stage, client, number = set_out([INT16, DOUBLE, BOOLEAN])
    stage.time.to(50)
    stage.plane.put(*_whole([0, 1, 2], [7, 8, 1]), 0x40000000, TICKS_1970 + 10_000_000)
    stage.plane.commit(TICKS_1970 + 20_000_000)
    for stamps in range(4):
        client.monitor(number, *[client.item(row, 10 * stamps + row, queue=queue) for row in range(3)], stamps=stamps)
    stage.time.to(200)
    seconds: dict[int, list[Any]] = {}
    for handle, value in sorted(client.changes(), key=lambda pair: pair[0]):
        assert (value.Value.Value, value.StatusCode.value) == ((7, 8, 1)[handle % 10], 0x40000000)
        times = [time and round(time.timestamp()) for time in (value.SourceTimestamp, value.ServerTimestamp)]
        seconds.setdefault(handle // 10, []).append(times)
    assert seconds == {0: 3 * [[1, None]], 1: 3 * [[None, 2]], 2: 3 * [[1, 2]], 3: 3 * [[None, None]]}


def test_integers_beyond_what_a_double_holds_are_told_apart() -> None:
    stage, client, number = set_out([INT64, UINT64, INT16])
    base = 2**62
    stage.plane.put(*_whole([0, 1], [base, base]), 0, 1)
    stage.put({2: -5.0})
    client.monitor(number, client.item(0, 0, queue=9), client.item(1, 1, queue=9), 2)
    stage.plane.put(*_whole([0, 1], [base + 1, base + 1]), 0, 1)
    stage.commit()
    stage.time.to(200)
    assert sorted(client.values()) == [(0, base), (0, base + 1), (1, base), (1, base + 1), (2, -5)]


def _whole(rows: list[int], values: list[int]) -> Any:
    import numpy as np

    return np.array(rows), np.array(values, np.int64)


# ---- items that are looked at one by one


def test_texts_are_told_when_they_change_and_in_part() -> None:
    stage, client, number = set_out([STRING, DOUBLE])
    stage.plane.put_text(0, "ready", 0, 1)
    stage.put({1: 1.0})
    client.monitor(number, client.item(0, 0, queue=5), client.item(0, 7, part="1:2", queue=5), 1)
    for text in ("ready", "rests", "reads"):
        stage.plane.put_text(0, text, 0, 1)
        stage.commit()
    stage.time.to(300)
    assert sorted(client.values(), key=str) == sorted(
        [(0, "ready"), (0, "rests"), (0, "reads"), (7, "ea"), (7, "es"), (7, "ea"), (1, 1.0)], key=str
    )


def test_values_made_when_they_are_read_and_attributes_are_polled_not_faster_than_that() -> None:
    stage, client, number = set_out(1)
    count = 0

    def read(session: Any) -> bytes:
        nonlocal count
        count += 1
        return data_value(variant(count // 2, ua.VariantType.UInt32))

    stage.nodes.reads[stage.variable(node_key(1, "made"))] = read
    results = client.monitor(
        number, client.item(node_key(1, "made"), 5, sampling=10.0), client.item(0, 6, attribute=18, sampling=0.0)
    )
    assert [result.RevisedSamplingInterval for result in results] == [250.0, 250.0]
    stage.time.to(1_600)
    assert count == 7
    assert [value for handle, value in client.values() if handle == 5] == [0, 1, 2, 3]


def test_so_many_are_polled_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_POLLED_PER_SUBSCRIPTION", 2)
    stage, client, number = set_out(1)
    results = client.monitor(number, *[client.item(0, attribute=18)] * 3)
    assert [result.StatusCode.value for result in results] == [0, 0, StatusCodes.BadTooManyMonitoredItems]
    assert client.numbers("DeleteMonitoredItems", "I", number, ids=[1, 1, 2]) == [0, StatusCodes.BadMonitoredItemIdInvalid, 0]
    assert stage.engine.polled == 0 and stage.engine.items == 0


def test_an_array_has_a_deadband_for_each_of_its_numbers() -> None:
    stage, client, number = set_out(1)
    held = [1.0, 2.0]
    stage.nodes.reads[stage.variable(node_key(1, "array"))] = lambda session: data_value(variant(list(held), ua.VariantType.Double))
    client.monitor(number, client.item(node_key(1, "array"), 5, queue=9, filter=changed(deadband=ABSOLUTE, width=1.0)))
    for at, held in ((500, [1.5, 2.5]), (1_000, [1.5, 3.5]), (1_500, [1.5, 3.5, 0.0])):  # noqa: B007
        stage.time.to(at)
    stage.time.to(2_000)
    assert [value for _, value in client.values()] == [[1.0, 2.0], [1.5, 3.5], [1.5, 3.5, 0.0]]


# ---- modification, triggering, deletion


def test_a_modified_item_has_its_new_wishes_for_what_is_queued_already() -> None:
    stage, client, number = set_out(1)
    stage.put([0.0])
    client.monitor(number, client.item(0, 1, queue=5))
    for value in (1.0, 2.0, 3.0):
        stage.put([value])
    result = client.modify(number, 1, handle=9, queue=2, filter=changed(deadband=ABSOLUTE, width=1.0))
    assert (result.StatusCode.value, result.RevisedQueueSize) == (0, 2)
    stage.put([3.5])
    stage.time.to(200)
    assert [(handle, value.Value.Value, value.StatusCode.value) for handle, value in client.changes()] == [
        (9, 2.0, OVERFLOW),
        (9, 3.0, 0),
    ]
    assert client.modify(number, 1, handle=9, queue=1, sampling=500.0).RevisedSamplingInterval == 500.0
    stage.put([7.0])
    stage.time.to(400)
    assert client.values() == []
    stage.time.to(900)
    assert client.values() == [(9, 7.0)]
    assert client.modify(number, 5).StatusCode.value == StatusCodes.BadMonitoredItemIdInvalid
    assert client.modify(number, 1, filter=changed(deadband=PERCENT, width=1)).StatusCode.value == (
        StatusCodes.BadMonitoredItemFilterUnsupported
    )


def test_a_triggering_item_has_its_linked_ones_told_once() -> None:
    stage, client, number = set_out(3)
    stage.put([0.0, 0.0, 0.0])
    client.monitor(number, 0, client.item(1, 1, mode=1, queue=5), client.item(2, 2, mode=1))

    def link(triggering: int, adds: list[int], removes: list[int]) -> tuple[list[int], list[int]]:
        body = struct.pack(f"<IIi{len(adds)}Ii{len(removes)}I", number, triggering, len(adds), *adds, len(removes), *removes)
        answer = client.ask("SetTriggering", body)
        assert answer is not None
        added = list(struct.unpack_from(f"<{len(adds)}I", answer, 4))
        removed = list(struct.unpack_from(f"<{len(removes)}I", answer, 12 + 4 * len(adds)))
        return added, removed

    bad = StatusCodes.BadMonitoredItemIdInvalid
    assert link(1, [2, 3, 77], [2]) == ([0, 0, bad], [bad])
    assert code_of(lambda: link(99, [1], [])) == bad and code_of(lambda: link(1, [], [])) == StatusCodes.BadNothingToDo
    stage.time.to(150)
    assert client.values() == [(0, 0.0)]  # it was queued before the links were made
    stage.put({1: 1.0})
    stage.put({1: 2.0})
    stage.time.to(350)
    assert client.values() == []
    stage.put({0: 5.0})
    stage.time.to(550)
    assert sorted(client.values()) == [(0, 5.0), (1, 0.0), (1, 1.0), (1, 2.0), (2, 0.0)]
    stage.put({1: 3.0})
    stage.time.to(750)
    assert client.values() == []
    assert link(1, [], [2]) == ([], [0])
    stage.put({0: 6.0, 2: 1.0})
    stage.time.to(950)
    assert sorted(client.values()) == [(0, 6.0), (2, 1.0)]
    client.numbers("DeleteMonitoredItems", "I", number, ids=[3])
    stage.put({0: 7.0})
    stage.time.to(1_150)
    assert client.values() == [(0, 7.0)]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 300, 600]), max_size=4), st.randoms())
def test_items_that_go_leave_the_others_as_they_are(counts: list[int], random: Any) -> None:
    stage, client, number = set_out([DOUBLE, STRING, DOUBLE])
    stage.put({0: 1.0, 2: 1.0})
    stage.plane.put_text(1, "1", 0, 1)
    stage.commit()
    alive: dict[int, int] = {}
    handle = 0
    for count in counts:
        asked = [client.item(at % 3, handle + at, queue=1 + at % 2) for at in range(count)]
        results = client.monitor(number, *asked)
        alive |= {result.MonitoredItemId: handle + at for at, result in enumerate(results)}
        handle += count
        gone = random.sample(sorted(alive), random.randint(0, len(alive)))
        if gone:
            assert set(client.numbers("DeleteMonitoredItems", "I", number, ids=gone)) == {0}
        for item in gone:
            del alive[item]
    stage.time.to(200)
    client.answers.clear()
    stage.put({0: 2.0, 2: 2.0})
    stage.plane.put_text(1, "2", 0, 1)
    stage.commit()
    client.publish(5)
    stage.time.to(500)
    assert sorted(found for found, _ in client.values()) == sorted(alive.values())
    one = stage.engine.any(number)
    assert one and one.items.count <= 2 * len(alive) + 512 and stage.engine.items == len(alive)


def test_a_node_that_is_gone_is_told_once_and_then_no_more() -> None:
    stage, client, number = set_out(2)
    stage.put([1.0, 1.0])
    client.monitor(number, 0, 1)
    stage.time.to(150)
    client.answers.clear()
    stage.nodes.remove(stage.nodes.find(stage.keys[0]))
    stage.put([2.0, 2.0])
    stage.time.to(500)
    found = [(handle, value.StatusCode.value) for handle, value in client.changes()]
    assert sorted(found) == [(0, StatusCodes.BadNodeIdUnknown), (1, 0)]


def test_the_number_of_a_node_that_is_gone_is_nobody_elses_while_an_item_has_it() -> None:
    stage, client, number = set_out(0)
    nodes = stage.nodes
    shown: list[str] = []

    def session(name: str, worth: float) -> int:
        nodes.reuse(stage.served.held)
        made = stage.variable(node_key(1, name))

        def read(_: Any) -> bytes:
            shown.append(name)
            return data_value(variant(worth), 0, stage.time.at + 1, 1)

        nodes.reads[made] = read
        return made

    first = session("first", 1.0)
    client.monitor(number, client.item(node_key(1, "first"), 7, sampling=50))
    stage.time.to(1_000)
    assert client.values() == [(7, 1.0)]
    nodes.remove(first)
    assert session("second", 2.0) != first
    stage.time.to(2_000)
    assert [(handle, value.StatusCode.value) for handle, value in client.changes()] == [(7, StatusCodes.BadNodeIdUnknown)]
    stage.access.roles[""] = Role.ENGINEER  # everything is looked at again
    stage.time.to(3_000)
    assert client.changes() == [] and "second" not in shown
    assert client.numbers("DeleteMonitoredItems", "I", number, ids=[1]) == [0]
    assert session("third", 3.0) == first


def test_who_may_not_read_is_refused_an_item() -> None:
    stage = Stage(0)
    stage.add(DOUBLE, rule=3)
    for role, wanted in ((Role.OPERATOR, StatusCodes.BadNodeIdUnknown), (Role.ENGINEER, 0)):
        client = stage.client(role.name, role)
        (result,) = client.monitor(client.subscribe(), 0)
        assert result.StatusCode.value == wanted
