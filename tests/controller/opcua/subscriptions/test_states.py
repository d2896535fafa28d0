"""The publishing state table: against the standard's rows written out as prose, and a whole subscription against a slow model."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.subscriptions import beat
from controller.opcua.subscriptions.states import ROWS, TABLE, Act, Publishing, State
from tests.controller.opcua.subscriptions.stage import Stage, changes_of


class Slow:
    """One subscription of one session, told as the standard's text tells it (Part 4 §5.14.1.1), tick by tick."""

    def __init__(self, life: int, alive: int, enabled: bool) -> None:
        self.life, self.alive, self.enabled = life, alive, enabled
        self.requests = 0
        self.late = False
        self.first = True
        self.silent = 0
        self.hopeless = 0
        self.open = True
        self.number = 1
        self.waiting: int | None = None
        self.said: list[tuple[str, int, int | None]] = []

    def put(self, value: int) -> None:
        self.waiting = value

    def request(self) -> None:
        if not self.open:
            return
        self.hopeless = 0
        self.requests += 1
        if self.late:
            self.late = False
            self._say(was_late=True)

    def tick(self) -> None:
        """The publishing timer runs out."""
        if not self.open:
            return
        if self.requests:
            self.hopeless = 0
        else:
            self.hopeless += 1
            if self.hopeless == self.life:
                self.open = False
                return
        if self.late:
            return
        due = (self.enabled and self.waiting is not None) or self.first
        if not due:
            self.silent += 1
            due = self.silent > self.alive
        if due and self.requests:
            self._say()
        elif due:
            self.late = True

    def _say(self, was_late: bool = False) -> None:
        self.requests -= 1
        # Silence is counted from the first cycle after values, and after the first keep-alive when that came in time
        # (row 7 goes to NORMAL, row 9 begins to count); after any other keep-alive from that itself (rows 11 and 15).
        values = self.enabled and self.waiting is not None
        self.silent = 0 if values or (self.first and not was_late) else 1
        self.first = False
        if self.enabled and self.waiting is not None:
            self.said.append(("values", self.number, self.waiting))
            self.number += 1
            self.waiting = None
        else:
            self.said.append(("alive", self.number, None))


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from([None, None, None, None, True, False])), min_size=1, max_size=60
)


def told(answers: list[tuple[int, int, Any]]) -> list[tuple[str, int, int | None]]:
    found: list[tuple[str, int, int | None]] = []
    for _, code, result in answers:
        if code:
            continue
        data = result.NotificationMessage.NotificationData
        number = result.NotificationMessage.SequenceNumber
        if data and hasattr(data[0], "Status"):
            continue
        found.append(("values", number, int(changes_of(result)[-1][1].Value.Value)) if data else ("alive", number, None))
    return found


@pytest.fixture(autouse=True)
def no_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beat, "SHIFT_EVERY", 1 << 60)


def test_each_case_is_in_exactly_one_row_and_each_row_is_some_case() -> None:
    assert len(TABLE) == 3 * 2 * 32
    assert {row.number for row in TABLE.values()} == {row.number for row in ROWS} == set(range(4, 18))


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 4), st.booleans())
def test_a_subscription_says_what_a_slow_reading_of_the_standard_says(
    steps: list[tuple[int, bool, bool | None]], alive: int, enabled: bool
) -> None:
    stage = Stage(1)
    client = stage.client()
    number = client.subscribe(100, life=3 * alive, alive=alive, enabled=enabled)
    client.monitor(number, 0)
    slow = Slow(3 * alive, alive, enabled)
    slow.waiting = 0
    stage.put([0.0])
    for at, (requests, put, switch) in enumerate(steps):
        stage.time.to(at * 100 + 40)
        one = stage.engine.any(number)
        if one is not None:
            for _ in range(requests):
                if slow.requests < 18:
                    slow.request()
                    client.publish()
            if switch is not None:
                slow.enabled = switch
                slow.hopeless = 0
                client.numbers("SetPublishingMode", "?", switch, ids=[number])
        if put:
            slow.put(at + 1)
            stage.put([at + 1.0])
        stage.time.to(at * 100 + 100)
        slow.tick()
        assert (stage.engine.any(number) is not None) == slow.open
    assert told(client.answers) == slow.said


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=60), st.integers(1, 5))
def test_counters_never_leave_their_bounds(steps: list[tuple[bool, bool, bool]], alive: int) -> None:
    states = Publishing(True, alive, 3 * alive)
    for expiry, queued, available in steps:
        act = states.expired(queued, available) if expiry else states.asked(available)
        assert 1 <= states.alive <= alive and 1 <= states.life <= 3 * alive
        assert act is not Act.NOTIFY or available or states.more
        assert expiry or states.state is not State.LATE
        if act is Act.CLOSE:
            assert states.life == 1
            return
