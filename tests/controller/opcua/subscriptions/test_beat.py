"""Cycles that follow their source: in its phase, never faster than asked for, and on their grid where there is no beat."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.subscriptions.beat import Beat
from tests.controller.opcua.subscriptions.stage import Client, Stage, changes_of
from twin.clock import MS, Ns


def subscribed(interval_ms: float = 100, sampling: float = 0.0) -> tuple[Stage, Client]:
    stage = Stage(1)
    client = stage.client()
    number = client.subscribe(interval_ms)
    client.monitor(number, client.item(0, sampling=sampling))
    client.publish(15)
    stage.put([0.0])
    return stage, client


def delays(stage: Stage, client: Client, times: list[float]) -> list[float]:
    """How long each of the values waited that were put at these times [ms]."""
    found = []
    for at in times:
        stage.time.to(at)
        stage.put([at])
        client.publish(max(0, 15 - len(stage.engine.of(client.session).requests)))
    stage.time.to(times[-1] + 500)
    for when, code, result in client.answers:
        found += [when - value.Value.Value for _, value in changes_of(result) if code == 0 and value.Value.Value]
    return found


@pytest.mark.parametrize("sampling", [0.0, 100.0, -1.0])
@pytest.mark.parametrize("phase", [1, 26, 50, 73, 99])
def test_a_source_of_the_same_period_is_published_without_delay_from_the_sixth_cycle_on(phase: int, sampling: float) -> None:
    stage, client = subscribed(sampling=sampling)
    found = delays(stage, client, [float(phase + 100 * cycle) for cycle in range(1, 30)])
    assert set(found[6:-1]) == {0} and max(found) <= 175
    # The last value may wait: nothing comes after it that a cycle could follow.


@pytest.mark.parametrize("period", [20, 33.4, 50])
def test_of_a_faster_source_what_is_told_has_waited_no_longer_than_the_source_takes(period: float) -> None:
    stage, client = subscribed()
    found = delays(stage, client, [7 + period * cycle for cycle in range(1, 120)])
    assert len(found) >= 120 * period / 100 - 5
    assert max(found[8:-1]) <= min(25, period)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 150), min_size=20, max_size=80), st.sampled_from([50, 100, 250]))
def test_no_source_whatever_makes_a_cycle_come_more_often_than_its_interval_on_average(gaps: list[int], interval: int) -> None:
    beat = Beat(Ns(interval * MS), Ns(interval * MS))
    ends: list[int] = []
    for at in itertools.accumulate(gaps):
        now = Ns(at * MS)
        while beat.due <= now:
            ends.append(beat.due)
            beat.expire(beat.due)
            beat.missed = ends[-1]
        empty = beat.missed >= 0
        if beat.note(now):
            if empty and beat.due - now > beat.ahead:
                ends.pop()
            ends.append(now)
            beat.follow(now)
        for cycle, end in enumerate(ends, 1):
            assert end >= cycle * interval * MS - beat.ahead


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=20, max_size=80) | st.integers(94, 106).map(lambda gap: 100 * [gap]))
def test_whatever_the_source_does_few_cycles_are_longer_than_their_interval(gaps: list[int]) -> None:
    beat, long = Beat(Ns(100 * MS), Ns(100 * MS)), 0
    for at in itertools.accumulate(gaps):
        while beat.due <= at * MS:
            before = beat.due
            beat.expire(beat.due)
            long += beat.due - before > 100 * MS
            assert beat.due - before <= 225 * MS
        if beat.note(Ns(at * MS)):
            beat.follow(Ns(at * MS))
    assert long <= sum(gaps) / 100 / 8 + 1


@pytest.mark.parametrize("late", [1, 10, 24])
def test_what_comes_shortly_after_a_cycle_that_had_nothing_in_it_is_told_at_once_and_once(late: int) -> None:
    stage, client = subscribed()
    stage.time.to(350)
    client.answers.clear()
    for due in (400, 900, 1_000, 1_100):
        stage.time.to(due + late)
        stage.put([float(due)])
        stage.put([due + 0.5])
    stage.time.to(1_300)
    said = [(when, changes_of(result)[0][1].Value.Value) for when, _, result in client.answers]
    assert said[0] == (400 + late, 400.0)  # at once; what came right behind it waits for the next cycle
    assert [value for _, value in said] == [400.0, 400.5, 900.0, 900.5, 1_000.5, 1_100.5]


def test_a_subscription_with_nothing_to_tell_is_looked_at_once_per_keep_alive() -> None:
    stage, client = subscribed()
    stage.time.to(300)
    client.answers.clear()
    looks: list[int] = []
    advance = stage.engine.advance
    stage.engine._times._fired = lambda: (looks.append(stage.time.at // MS), advance())  # type: ignore[func-returns-value,assignment]
    stage.time.to(10_300)
    assert [when for when, _, _ in client.answers] == list(range(1200, 10_300, 1000))
    assert len(looks) <= 2 * len(client.answers)


def test_who_slept_through_his_cycles_is_awake_when_something_comes() -> None:
    stage, client = subscribed()
    stage.time.to(730)
    client.answers.clear()
    stage.put([1.0])
    stage.time.to(1_000)
    assert [(when, result.NotificationMessage.SequenceNumber) for when, _, result in client.answers] == [(800, 2)]
    stage.time.to(3_000)
    assert [when for when, _, _ in client.answers] == [800, 1900, 2900]
