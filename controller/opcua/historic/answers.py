"""Questions -> answers, from History's door. Runs in the process that has it."""

import struct
from typing import Any

import numpy as np

from controller.history.door import Door, Point, Series
from controller.history.kept import BAD as IS_BAD
from controller.history.kept import GOOD as IS_GOOD
from controller.history.kept import NONE, STALE, HistoryError, Rule
from controller.opcua.encoding import data_value, string, ticks
from controller.opcua.historic.aggregates import WHOLE, Samples, processed
from controller.opcua.historic.questions import (
    BAD,
    BOUND_NOT_FOUND,
    DATA_LOST,
    FOREVER,
    GOOD_NO_DATA,
    INTERPOLATED,
    NO_DATA,
    UNCERTAIN,
    Answer,
    At,
    Processed,
    Question,
    Raw,
    Stamps,
)
from controller.opcua.plane import DOUBLE, INT32, STRING, TYPES

HOUR = 3_600 * 10**9
STATUS = {IS_GOOD: 0, STALE: UNCERTAIN, IS_BAD: BAD, NONE: DATA_LOST}


class Answers:
    """History, asked by the server."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def answer(self, question: Question) -> Answer:
        """What there is; of a Signal that History does not know: no data."""
        try:
            match question.details:
                case Raw() as raw:
                    return self._raw(question, raw)
                case At(times):
                    values = [self._at(question, time) for time in times]
                    return Answer(question.number, 0, len(values), b"".join(values))
                case Processed() as asked:
                    return self._processed(question, asked)
        except HistoryError:
            return Answer(question.number, NO_DATA)

    # ---- raw

    def _raw(self, question: Question, asked: Raw) -> Answer:
        start, end, newest_first = asked.start_ns, asked.end_ns, asked.newest_first
        low, high = (end or 0, start) if newest_first else (start, FOREVER if end is None else end)
        one_more = 1 if newest_first or low == high else 0  # Part 11 §6.5.3.2: the start is in, the end is out
        wanted = asked.most + asked.skip + 1
        series = self._some(question.path, low + (newest_first and low != high), high + one_more, wanted, newest_first)
        order = range(len(series) - 1, -1, -1) if newest_first else range(len(series))
        rows: list[tuple[int, int]] = [(int(series.times[i]), i) for i in order]
        if asked.bounds:
            rows = _bounded(rows, asked.start_ns, asked.end_ns)
        rows = rows[len([time for time, _ in rows[: asked.skip] if time == start]) :]
        given, rest = rows[: asked.most], rows[asked.most :]
        values = [self._sample(question, series, i) if i >= 0 else self._bound(question, time) for time, i in given]
        status = 0 if given else GOOD_NO_DATA
        if not rest:
            return Answer(question.number, status, len(values), b"".join(values))
        following = rest[0][0]
        same = sum(time == following for time, _ in given) + (asked.skip if start == following else 0)
        return Answer(question.number, status, len(values), b"".join(values), following, same)

    def _some(self, path: str, low: int, high: int, wanted: int, newest_first: bool) -> Series:
        """The samples of a span, or of so much of it that there are as many as wanted: nobody's year is read for an hour."""
        reach = HOUR
        while True:
            begin, end = (max(low, high - reach), high) if newest_first else (low, min(high, low + reach))
            series = self._door.raw(path, begin, end)
            if len(series) >= wanted or (begin, end) == (low, high):
                return series
            reach *= 4

    def _bound(self, question: Question, at: int) -> bytes:
        point = self._door.at(question.path, at)
        if point is None:
            return _shown(question, None, BOUND_NOT_FOUND, at)
        if point.since_ns == at:
            return self._point(question, point, at, 0)
        before = self._door.at(question.path, point.since_ns)
        return self._point(question, before or point, point.since_ns, 0)

    def _sample(self, question: Question, series: Series, i: int) -> bytes:
        belief = int(series.beliefs[i]) & 3
        value = None if belief == NONE else series.values[i : i + 1].tolist()[0]
        return _shown(question, value, STATUS[belief], int(series.times[i]))

    # ---- at a time

    def _at(self, question: Question, time: int) -> bytes:
        point = self._door.at(question.path, time)
        if point is None:
            return _shown(question, None, NO_DATA, time)
        return self._point(question, point, time, 0 if point.since_ns == time else INTERPOLATED)

    @staticmethod
    def _point(question: Question, point: Point, time: int, bits: int) -> bytes:
        status = STATUS[point.quality]
        return _shown(question, point.value, status | (bits if point.value is not None else 0), time)

    # ---- processed

    def _processed(self, question: Question, asked: Processed) -> Answer:
        samples = self._samples(question, asked)
        if samples is None:
            return Answer(question.number, NO_DATA)
        whole = asked.aggregate in WHOLE
        rows = [_told(question, value, status, at, whole) for at, value, status in processed(asked, samples)]
        return Answer(question.number, 0, len(rows), b"".join(rows))

    def _samples(self, question: Question, asked: Processed) -> Samples | None:
        """The samples of the span, with what holds at its two ends."""
        low, high = sorted((asked.start_ns, asked.end_ns))
        series = self._door.raw(question.path, low, high)
        if series.kept.type is str:
            return None
        ends = [(low, self._door.at(question.path, low)), (high, self._door.at(question.path, high))]
        times, beliefs = [int(t) for t in series.times], [int(b) & 3 for b in series.beliefs]
        values = [float(v) for v in series.values]
        raw = [belief != NONE for belief in beliefs]
        before, after = ([(at, point)] if point is not None else [] for at, point in ends)
        if before and times and times[0] == low:
            before = []
        for place, bound in ((0, before), (len(times) + len(before), after)):
            for at, point in bound:
                times.insert(place, at)
                beliefs.insert(place, point.quality)
                values.insert(place, float(point.value) if isinstance(point.value, (int, float)) else np.nan)
                raw.insert(place, False)
        believed = np.array(beliefs, np.int64)
        good = (believed == IS_GOOD) | ((believed == STALE) & (not asked.uncertain_is_bad))
        found = np.array(values) / question.size
        lines = series.kept.way is Rule.LINE
        return Samples(np.array(times, np.int64), found, good & np.isfinite(found), np.array(raw, bool), lines)


def _bounded(rows: list[tuple[int, int]], start: int, end: int | None) -> list[tuple[int, int]]:
    """With a place (-1) for what holds at each end that is given and has no sample just there (Part 11 §6.5.3.3)."""
    first = [(start, -1)] if not (rows and rows[0][0] == start) else []
    last = [(end, -1)] if end is not None and end != start else []
    return [*first, *rows, *last]


def _told(question: Question, value: float | None, status: int, at: int, whole: bool) -> bytes:
    if value is None:
        encoded = None
    elif whole:
        encoded = bytes((INT32,)) + struct.pack("<i", int(value))
    else:
        encoded = bytes((DOUBLE,)) + struct.pack("<d", value)
    return _stamped(question, encoded, status, at)


def _shown(question: Question, value: Any, status: int, at: int) -> bytes:
    return _stamped(question, None if value is None else _encoded(question, value), status, at)


def _encoded(question: Question, value: Any) -> bytes:
    if question.kind == STRING:
        return bytes((STRING,)) + string(str(value))
    shown = float(value) / question.size if question.kind == DOUBLE else int(value)
    return bytes((question.kind,)) + np.array(shown).astype(TYPES[question.kind]).tobytes()


def _stamped(question: Question, encoded: bytes | None, status: int, at: int) -> bytes:
    time = ticks(at)
    source = 0 if question.stamps is Stamps.SERVER else time
    server = 0 if question.stamps is Stamps.SOURCE else time
    return data_value(encoded, status, source, server)
