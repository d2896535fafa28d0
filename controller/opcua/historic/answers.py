"""Questions -> answers, from History's door. Runs in the process that has it."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.history.door import Door, Point, Series
from controller.history.kept import BAD as IS_BAD
from controller.history.kept import GOOD as IS_GOOD
from controller.history.kept import NONE, STALE, HistoryError, Rule
from controller.opcua.encoding import data_value, string, ticks
from controller.opcua.historic.aggregates import WHOLE, Samples, part, processed
from controller.opcua.historic.questions import (
    BAD,
    BOUND_NOT_FOUND,
    DATA_LOST,
    FOREVER,
    GOOD_NO_DATA,
    INTERPOLATED,
    MOST_BYTES,
    MOST_SAMPLES,
    MOST_VALUES,
    NO_DATA,
    TOO_MANY,
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
MISSING = -1
"""A bound that was not found."""
STATUS = {IS_GOOD: 0, STALE: UNCERTAIN, IS_BAD: BAD, NONE: DATA_LOST, MISSING: BOUND_NOT_FOUND}


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
                    return self._times(question, times)
                case Processed() as asked:
                    return self._processed(question, asked)
        except HistoryError:
            return Answer(question.number, NO_DATA)

    # ---- raw

    def _raw(self, question: Question, asked: Raw) -> Answer:
        """Samples in the order asked for. The start is in, the end is out (Part 11 §6.5.3.2)."""
        here = asked.start_ns if asked.from_ns is None else asked.from_ns
        rows, whole = self._domain(question.path, asked, here)
        rows = rows[sum(row.time == here for row in rows[: asked.skip]) :]
        if asked.bounds:
            rows = self._bounded(question.path, asked, rows, whole)
        values: list[bytes] = []
        size = 0
        for row in rows[: asked.most]:
            shown = _shown(question, row.value, STATUS[row.belief], row.time)
            if values and size + len(shown) > MOST_BYTES:
                break
            values.append(shown)
            size += len(shown)
        rest, status = rows[len(values) :], 0 if values else GOOD_NO_DATA
        if not rest:
            return Answer(question.number, status, len(values), b"".join(values))
        following = rest[0].time
        same = sum(row.time == following for row in rows[: len(values)])
        same += asked.skip if following == here else 0
        return Answer(question.number, status, len(values), b"".join(values), following, same)

    def _domain(self, path: str, asked: Raw, here: int) -> tuple[list["Row"], bool]:
        """The samples from `here` to the end, or so many that one is left over, and whether these are all."""
        end, wanted = asked.end_ns, asked.most + asked.skip + 2
        if asked.newest_first:
            low, high = 0 if end is None else end + 1, here + 1
        else:
            low, high = here, FOREVER if end is None else end + (here == end == asked.start_ns)
        if low >= high:
            return [], True
        rows = self._some(path, low, high, wanted, asked.newest_first)
        whole = len(rows) < wanted
        if asked.bounds:
            rows = self._kept(path, rows, low)
        return rows[::-1] if asked.newest_first else rows, whole

    def _some(self, path: str, low: int, high: int, wanted: int, newest_first: bool) -> list["Row"]:
        """The samples of a span, or of so much of it that there are as many as wanted: nobody's year is read for an hour."""
        reach = HOUR
        while True:
            begin, end = (max(low, high - reach), high) if newest_first else (low, min(high, low + reach))
            series = self._door.raw(path, begin, end)
            if len(series) >= wanted or (begin, end) == (low, high):
                return _rows(series, wanted, newest_first)
            reach *= 4

    def _kept(self, path: str, rows: list["Row"], low: int) -> list["Row"]:
        """Without the first where it only says that a gap which began earlier goes on."""
        if rows and rows[0].belief == NONE and rows[0].time < low + 1000:
            point = self._door.at(path, rows[0].time)
            if point is not None and point.since_ns < rows[0].time:
                return rows[1:]
        return rows

    def _bounded(self, path: str, asked: Raw, rows: list["Row"], whole: bool) -> list["Row"]:
        """With the bounds, where there is no sample just there: at the earlier end the sample before it, at the later one the one
        after it, or that there is none (Part 11 §4.4, Table 1)."""
        start, end = asked.start_ns, asked.end_ns
        if asked.from_ns is None and not (rows and rows[0].time == start):
            first = self._after(path, start) if asked.newest_first else self._before(path, start)
            rows = [first or Row(start, None, MISSING), *rows]
        if not whole:
            return rows
        if end is not None:
            last = self._before(path, end) if asked.newest_first else self._after(path, end + (end == start))
            return [*rows, last or Row(end, None, MISSING)]
        if asked.from_ns is not None and not rows:
            return [Row(asked.from_ns, None, MISSING)]
        times = [start, *(row.time for row in rows[-1:])]
        return [*rows, Row(min(times) - 1000 if asked.newest_first else max(times) + 1000, None, MISSING)]

    def _before(self, path: str, time: int) -> "Row | None":
        """The last sample at a time or before it."""
        until = self._door.until()
        if time >= until:
            rows = [row for row in _rows(self._door.raw(path, until, time + 1)) if row.belief != NONE]
            if rows:
                return rows[-1]
        point = self._door.at(path, min(time, until - 1000))
        if point is None:
            return None
        return _rows(self._door.raw(path, point.since_ns, point.since_ns + 1000))[-1]

    def _after(self, path: str, time: int) -> "Row | None":
        """The first sample at a time or after it."""
        beyond = self._door.until() + 1000
        rows = self._kept(path, self._some(path, time, beyond, 2, False), time) if time < beyond else []
        return rows[0] if rows else None

    # ---- at a time

    def _times(self, question: Question, times: list[int]) -> Answer:
        values: list[bytes] = []
        size = 0
        for time in times:
            values.append(self._at(question, time))
            size += len(values[-1])
            if size > MOST_BYTES:
                return Answer(question.number, TOO_MANY)
        return Answer(question.number, 0, len(values), b"".join(values))

    def _at(self, question: Question, time: int) -> bytes:
        point = self._door.at(question.path, time)
        if point is not None:
            return self._point(question, point, time, 0 if point.since_ns == time else INTERPOLATED)
        rows = [row for row in _rows(self._door.raw(question.path, time, time + 1)) if row.belief != NONE]
        if rows:  # the last there is: nothing holds from then on, but just then it did
            return _shown(question, rows[-1].value, STATUS[rows[-1].belief], time)
        return _shown(question, None, NO_DATA, time)

    @staticmethod
    def _point(question: Question, point: Point, time: int, bits: int) -> bytes:
        status = STATUS[point.quality]
        return _shown(question, point.value, status | (bits if point.value is not None else 0), time)

    # ---- processed

    def _processed(self, question: Question, whole: Processed) -> Answer:
        asked, following = part(whole, MOST_VALUES)
        low, high = sorted((asked.start_ns, asked.end_ns))
        if self._door.raw(question.path, low, low).kept.type is str:
            return Answer(question.number, NO_DATA)
        counted = self._door.aggregate(question.path, low, high, max(high - low, 1000)).count
        if int(counted.sum()) > MOST_SAMPLES:
            return Answer(question.number, TOO_MANY)
        samples = self._samples(question, asked, low, high)
        rounded = asked.aggregate in WHOLE
        rows = [_told(question, value, status, at, rounded) for at, value, status in processed(asked, samples)]
        return Answer(question.number, 0, len(rows), b"".join(rows), following)

    def _samples(self, question: Question, asked: Processed, low: int, high: int) -> Samples:
        """The samples of the span, with what holds at its two ends, and where the record begins and ends."""
        until = self._door.until()
        before, after = self._door.at(question.path, low), self._door.at(question.path, high)
        series = self._door.raw(question.path, low, high + 1)  # with the last of the record, after which nothing holds
        times, believed, values = series.times, series.beliefs & 3, series.values.astype(np.float64)
        raw = believed != NONE
        since = 0 if before is not None or low >= until else int(times[0]) if len(times) else high
        ends = [(0, low, before)] if before is not None and not (len(times) and times[0] == low) else []
        ends += [(len(times) + len(ends), high, after)] if after is not None else []
        for place, at, point in ends:
            value = float(point.value) if isinstance(point.value, (int, float)) else np.nan
            times, believed = np.insert(times, place, at), np.insert(believed, place, point.quality)
            values, raw = np.insert(values, place, value), np.insert(raw, place, False)
        good = (believed == IS_GOOD) | ((believed == STALE) & (not asked.uncertain_is_bad))
        found = values / question.size
        return Samples(times, found, good & np.isfinite(found), raw, series.kept.way is Rule.LINE, since, until)


@dataclass(frozen=True, slots=True)
class Row:
    """A kept sample; value None: there is none, `belief` NONE or MISSING says why."""

    time: int
    value: Any
    belief: int


def _rows(series: Series, most: int | None = None, newest: bool = False) -> list[Row]:
    """The first samples, or the last, in the order of their times."""
    cut = slice(None) if most is None else slice(max(0, len(series) - most), None) if newest else slice(most)
    beliefs = (series.beliefs[cut] & 3).tolist()
    kept = zip(series.times[cut].tolist(), series.values[cut].tolist(), beliefs, strict=True)
    return [Row(time, None if belief == NONE else value, belief) for time, value, belief in kept]


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
