"""Aggregates against Part 13's definitions, reckoned tick by tick over a list: gaps, doubts, the record's beginning and end."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.history.hot import Hot
from controller.history.kept import BAD, GOOD, NONE, STALE, Kept
from controller.opcua.historic.aggregates import BY_NUMBER, Samples, processed
from controller.opcua.historic.questions import NO_DATA, PARTIAL, Processed, Question, Stamps
from controller.opcua.plane import DOUBLE
from tests.controller.opcua.historic.test_history_read import T0, Direct, S

NAMES = ("TimeAverage2", "Total2", "Minimum2", "Maximum2", "DurationGood", "PercentGood", "StartBound", "EndBound")
NUMBERS = {name: int(getattr(ua.ObjectIds, f"AggregateFunction_{name}")) for name in NAMES}
PATH = "press/status/temperature"
TICK = S
"""All times are whole ticks, so that what holds is the same, or goes in one straight line, for a whole tick."""


@dataclass
class Past:
    """What was recorded: (tick, value, quality) in order, quality NONE where a gap begins; the record ends at a tick."""

    rows: list[tuple[int, float, int]]
    until: int
    lines: bool
    uncertain_is_bad: bool = True

    def good(self, quality: int) -> bool:
        return quality == GOOD or (quality == STALE and not self.uncertain_is_bad)

    def holds(self, tick: float, at: float | None = None) -> float | None:
        """The value at a time as the sample of `tick` and the one behind it tell it."""
        before = [i for i, row in enumerate(self.rows) if row[0] <= tick]
        if not before or tick > self.until or not self.good(self.rows[before[-1]][2]):
            return None
        time, value, _ = self.rows[before[-1]]
        after = self.rows[before[-1] + 1 :]
        if self.lines and after and self.good(after[0][2]) and after[0][0] > time:
            return value + (after[0][1] - value) * ((tick if at is None else at) - time) / (after[0][0] - time)
        return value

    def reckoned(self, name: str, begin: int, end: int) -> float | None:
        """An aggregate over begin <= time < end, None: there is no data."""
        kept = [value for tick, value, quality in self.rows if begin <= tick < end and self.good(quality)]
        outside = end <= self.rows[0][0] or (begin >= self.until and not kept)
        if outside:
            return None
        lived = [tick for tick in range(begin, min(end, self.until)) if self.holds(tick) is not None]
        ends: list[tuple[float, float]] = [(self.holds(t) or 0.0, self.holds(t, t + 1) or 0.0) for t in lived]
        area = sum((low + high) / 2 for low, high in ends)
        seen = [value for both in ends for value in both] + kept
        match name:
            case "DurationGood":
                return len(lived) * 1000.0
            case "PercentGood":
                return 100.0 * len(lived) / (end - begin)
            case "StartBound" | "EndBound":
                return self.holds(begin if name == "StartBound" else end)
            case "TimeAverage2":
                return area / len(lived) if lived else None
            case "Total2":
                return area if lived else None
            case _:
                return (min if name == "Minimum2" else max)(seen) if seen else None

    def is_cut(self, begin: int, end: int) -> bool:
        return begin < self.rows[0][0] < end or begin < self.until < end


def agree(past: Past, asked: Processed, found: list[tuple[int, float | None, int]]) -> None:
    name = next(name for name, number in NUMBERS.items() if number == asked.aggregate)
    start, end, every = ((ns - T0) // TICK for ns in (asked.start_ns, asked.end_ns, asked.every_ns + T0))
    spans = [(begin, min(begin + every, end)) for begin in range(start, end, every)]
    for (begin, stop), (_, value, status) in zip(spans, found, strict=True):
        expected = past.reckoned(name, begin, stop)
        assert value == (None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-6)), (name, begin, stop)
        assert (status == NO_DATA) == (expected is None), (name, begin, stop)
        cut = past.is_cut(begin, stop) or stop - begin < every
        assert expected is None or bool(status & PARTIAL) == cut, (name, begin, stop, hex(status))


STEPS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(-50, 50), st.sampled_from([GOOD, GOOD, GOOD, STALE, BAD])), min_size=1, max_size=8
)
ASKED = st.tuples(st.integers(-5, 40), st.integers(1, 60), st.integers(1, 20), st.sampled_from(NAMES), st.booleans())


def of(asked: tuple[int, int, int, str, bool]) -> Processed:
    start, length, every, name, uncertain_is_bad = asked
    begin = T0 + start * TICK
    return Processed(begin, begin + length * TICK, every * TICK, NUMBERS[name], uncertain_is_bad, 100, 100)


def rows_from(start: int, steps: list[tuple[int, int, int]]) -> list[tuple[int, float, int]]:
    rows = []
    for wait, value, quality in steps:
        start += wait
        rows.append((start, float(value), quality))
    return rows


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 10), st.booleans(), ASKED)
def test_aggregates_are_what_the_standards_words_come_to(
    steps: list[tuple[int, int, int]], rest: int, lines: bool, asked: tuple[int, int, int, str, bool]
) -> None:
    question, rows = of(asked), rows_from(0, steps)
    past = Past(rows, rows[-1][0] + rest, lines, question.uncertain_is_bad)
    times, values = (np.array([row[i] for row in rows]) for i in (0, 1))
    good, raw = np.array([past.good(row[2]) for row in rows]), np.ones(len(rows), bool)
    ends = (T0 + rows[0][0] * TICK, T0 + past.until * TICK)
    samples = Samples(T0 + times.astype(np.int64) * TICK, values.astype(np.float64), good, raw, lines, *ends)
    assert question.aggregate in BY_NUMBER
    agree(past, question, processed(question, samples))


@settings(max_examples=25, deadline=None)
@given(STEPS, st.integers(0, 5), STEPS, st.integers(1, 6), st.integers(0, 10), st.lists(ASKED, min_size=8, max_size=8))
def test_over_what_was_recorded_with_a_gap_in_it_aggregates_tell_the_truth(
    first: list[Any], lost: int, second: list[Any], gap: int, rest: int, each: list[tuple[int, int, int, str, bool]]
) -> None:
    before = rows_from(0, first)
    begin = before[-1][0] + lost
    after = rows_from(begin + gap, second)
    until = after[-1][0] + rest
    with tempfile.TemporaryDirectory() as made:
        hot = Hot(Path(made))
        number = hot.declare((Kept(PATH, float, "CEL"),))[PATH]
        for rows, end in ((before, begin), (after, until)):
            if rows is after:
                hot.lost(T0 + begin * TICK, T0 + (begin + gap) * TICK, "too slow")
            shown = [(number, T0 + tick * TICK, value, quality, "sensor" if quality else "") for tick, value, quality in rows]
            hot.commit(hot.samples(shown), until_ns=T0 + end * TICK)
        hot.close()
        answers = Direct(Path(made)).answers
        for asked in each:
            question = of(asked)
            past = Past([*before, (begin, np.nan, NONE), *after], until, False, question.uncertain_is_bad)
            low, high = question.start_ns, question.end_ns
            samples = answers._samples(Question(1, PATH, DOUBLE, 1.0, Stamps.SOURCE, question), question, low, high)
            agree(past, question, processed(question, samples))
        answers._door.close()
