"""The one door to History: what a Signal was, over what is in the journal, in blocks and in segments alike.

Any process may open it beside the writer; each question sees one consistent state. Times are UTC nanoseconds.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from controller.history.block import as_floats
from controller.history.curve import Curve, Sums, Windows, value_at
from controller.history.kept import NONE, QUALITIES, Happened, HistoryError, Kept, Numbers, Rule, micros
from controller.history.shelves import HARMED, OWN_CAUSES, Shelves
from controller.history.tables import DAMAGED, FILE, failed, read_kept
from controller.history.tail import Tail
from twin.arrays import Floats, Ints

__all__ = ["Door", "Missing", "Point", "Series", "Windows"]

FAR = np.iinfo(np.int64).max
MOST_WINDOWS = 4_000_000
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Missing:
    """A span in which nothing was recorded, UTC [ns]."""

    from_ns: int
    to_ns: int
    cause: str


@dataclass(frozen=True, slots=True)
class Point:
    """What a Signal was at a time: `since_ns` is when the sample that says so was taken. Value None: there was none, `cause`
    says why."""

    value: float | int | bool | str | None
    quality: int
    cause: str
    since_ns: int


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of a Signal as they are kept.

    Attributes:
        kept: how: between two samples lies a line where the rule is LINE, else the earlier value holds.
        times: (n,) int64, UTC ns.
        values: (n,) float64, int64, bool, or objects: texts. At a gap: NaN, 0, False, None.
        beliefs: (n,) four times the number of a cause, plus the quality.
        causes: texts of causes by number.
    """

    kept: Kept
    times: Ints
    values: "np.ndarray"
    beliefs: Numbers
    causes: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def qualities(self) -> Numbers:
        """(n,) GOOD, STALE, BAD or NONE."""
        return self.beliefs & 3

    def cause(self, i: int) -> str:
        """Why sample i is not Good."""
        return self.causes.get(int(self.beliefs[i]) >> 2, "")

    def rows(self) -> Iterator[tuple[int, Any, str, str]]:
        """Each sample as time [ns], value (None at a gap), quality and cause."""
        pairs = zip(self.times.tolist(), self.values.tolist(), self.beliefs.tolist(), strict=True)
        for i, (time, value, belief) in enumerate(pairs):
            yield time, None if belief & 3 == NONE else value, QUALITIES[belief & 3], self.cause(i)


class Door:
    """History for those who ask. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Open it.

        Raises:
            HistoryError: there is no History in that folder, or it can't be read.
        """
        self._path = folder / FILE
        if not self._path.exists():
            raise HistoryError(f"{folder}: there is no History")
        try:
            self._file = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA query_only=1")
        except sqlite3.Error as broken:
            raise failed(self._path, broken) from broken
        self._tail, self._shelves = Tail(), Shelves(folder)
        self._version = self._declared = -1
        self._kept: dict[int, Kept] = {}
        self._paths: dict[str, int] = {}
        self._causes: dict[int, str] = {HARMED: DAMAGED}
        self._gaps: list[tuple[int, int, str]] = []
        self._cuts: Ints = np.empty(0, np.int64)

    def _ask(self, question: Callable[[sqlite3.Connection], _Found]) -> _Found:
        """Answer within one state of the file. A segment may be forgotten in between: once more, then."""
        for turn in (0, 1):
            try:
                self._file.execute("BEGIN")
                try:
                    self._look()
                    return question(self._file)
                finally:
                    self._file.execute("COMMIT")
            except sqlite3.Error as broken:
                raise failed(self._path, broken) from broken
            except FileNotFoundError:
                if turn:
                    raise HistoryError(f"{self._path.parent}: a segment is missing") from None
        raise AssertionError("unreachable")

    def _look(self) -> None:
        """See whether anything has changed."""
        (declared,) = self._file.execute("SELECT value FROM counters WHERE name = 'declared'").fetchone()
        (version,) = self._file.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        if declared != self._declared:
            self._kept = read_kept(self._file)
            self._paths = {kept.path: number for number, kept in self._kept.items()}
        self._tail.read(self._file, self._kept, declared != self._declared)
        seen = max((number for number in self._causes if number < HARMED), default=0)
        self._causes.update(self._file.execute("SELECT number, text FROM causes WHERE number > ?", (seen,)))
        self._gaps = _gaps(self._file)
        self._cuts = np.array([gap[0] for gap in self._gaps], np.int64)
        self._causes.update({OWN_CAUSES + i: cause for i, (_, _, cause) in enumerate(self._gaps)})
        self._version, self._declared = version, declared

    def _number(self, path: str) -> int:
        number = self._paths.get(path)
        if number is None:
            raise HistoryError(f"{path}: History knows no such Signal")
        return number

    # ---- questions

    def signals(self) -> dict[str, Kept]:
        """All Signals that History knows, by path."""
        return self._ask(lambda _: {kept.path: kept for kept in self._kept.values()})

    def gaps(self, from_ns: int = 0, to_ns: int = FAR) -> list[Missing]:
        """The spans in which nothing was recorded, between the first record and the last."""
        found = self._ask(lambda _: [gap for gap in self._gaps if gap[1] < FAR])
        return [Missing(b * 1000, e * 1000, cause) for b, e, cause in found if e * 1000 > from_ns and b * 1000 < to_ns]

    def until(self) -> int:
        """Up to when there is a record of anything, UTC [ns]; 0 where there is none."""
        return self._ask(lambda _: self._gaps[-1][0] * 1000 if self._gaps else 0)

    def raw(self, path: str, from_ns: int, to_ns: int) -> Series:
        """The kept samples of from <= time < to. A gap is a sample of quality NONE, also where it began earlier.

        Raises:
            HistoryError: there is no such Signal, or it can't be read.
        """
        begin, end = -(-from_ns // 1000), -(-to_ns // 1000)
        return self._ask(lambda _: self._series(self._number(path), begin, end))

    def _series(self, number: int, begin: int, end: int) -> Series:
        kept = self._kept[number]
        curve = self._curve(number, begin, end)
        first, last = (int(np.searchsorted(curve.times, time)) for time in (begin, end))
        found = curve.part(first, last)
        if len(found) and (found.beliefs[-1] >> 2) == OWN_CAUSES + len(self._gaps) - 1:
            found = found.part(0, len(found) - 1)  # nobody has recorded on: no gap yet
        if first and (not len(found) or found.times[0] > begin) and (curve.beliefs[first - 1] & 3) == NONE and begin < end:
            since = curve.part(first - 1, first)
            if (since.beliefs[0] >> 2) != OWN_CAUSES + len(self._gaps) - 1:
                at = Curve.of(np.array([begin]), since.words, since.beliefs, False)
                found = Curve.joined([at, found])
        return Series(kept, found.times * 1000, self._values(kept, found), found.beliefs, dict(self._causes))

    def at(self, path: str, time_ns: int) -> Point | None:
        """What a Signal was at a time; None before its first sample and after the last record.

        Raises:
            HistoryError: there is no such Signal, or it can't be read.
        """
        return self._ask(lambda _: self._point(self._number(path), micros(time_ns)))

    def _point(self, number: int, time: int) -> Point | None:
        kept = self._kept[number]
        curve = self._curve(number, time, time + 1)
        i, drawn = value_at(curve, as_floats(kept.type, curve.words), time)
        if i < 0 or (curve.beliefs[i] >> 2) == OWN_CAUSES + len(self._gaps) - 1:
            return None
        belief, since = int(curve.beliefs[i]), int(curve.times[i]) * 1000
        quality, cause = belief & 3, self._causes.get(belief >> 2, "")
        if quality == NONE:
            return Point(None, quality, cause, since)
        value = drawn if drawn is not None else self._values(kept, curve.part(i, i + 1)).tolist()[0]
        return Point(value, quality, cause, since)

    def aggregate(self, path: str, from_ns: int, to_ns: int, every_ns: int) -> Windows:
        """What there is to say of each window of `every` from `from` on; the last may end after `to`.

        Raises:
            HistoryError: there is no such Signal, windows shorter than a microsecond or too many of them, or it can't be read.
        """
        begin, every = micros(from_ns), micros(every_ns)
        count = -(-(micros(to_ns) - begin) // every) if every > 0 else 0
        if every < 1 or count > MOST_WINDOWS:
            raise HistoryError(f"{path}: windows of {every_ns} ns make {count} of at most {MOST_WINDOWS}, 1000 ns at least")
        return self._ask(lambda _: self._windows(self._number(path), begin, every, max(0, count)))

    def _windows(self, number: int, begin: int, every: int, count: int) -> Windows:
        kept, sums = self._kept[number], Sums(begin, every, count)

        def whole(first: Ints, last: Ints) -> "np.ndarray":
            """Which of these stretches lie in one window, and no gap in them."""
            inside: NDArray[np.bool_] = (first >= begin) & (last < begin + every * count)
            inside &= (first - begin) // every == (last - begin) // every
            inside &= np.searchsorted(self._cuts, first) == np.searchsorted(self._cuts, last)
            return inside

        curve = self._curve(number, begin, begin + every * count, whole, sums)
        sums.add(curve, as_floats(kept.type, curve.words))
        return sums.windows()

    def events(self, from_ns: int, to_ns: int, kind: str | None = None, subject: str | None = None) -> list[Happened]:
        """The Events of from <= time < to in their order, of a kind and about a subject if named.

        Raises:
            HistoryError: it can't be read.
        """

        def question(file: sqlite3.Connection) -> list[Happened]:
            where, values = "utc_ns >= ? AND utc_ns < ?", [from_ns, to_ns]
            for name, wanted in (("kind", kind), ("subject", subject)):
                if wanted is not None:
                    where, values = f"{where} AND {name} = ?", [*values, wanted]  # type: ignore[list-item]
            found = self._shelves.events(file, from_ns, to_ns, where, values)
            query = f"SELECT utc_ns, kind, subject, fields FROM events WHERE {where} ORDER BY utc_ns, id"
            found += file.execute(query, values).fetchall()
            return [Happened(time, what, about, json.loads(fields)) for time, what, about, fields in found]

        return self._ask(question)

    # ---- putting it together

    def _curve(
        self, number: int, begin: int, end: int, whole: Callable[[Ints, Ints], "np.ndarray"] | None = None,
        sums: Sums | None = None,
    ) -> Curve:  # fmt: skip
        """Samples from the one that holds at `begin` to the first not before `end`, cut at the gaps."""
        kept = self._kept[number]
        parts = self._shelves.curves(self._file, number, begin, end, whole, sums)
        if not parts or parts[-1].times[-1] < end:
            tail = self._tail.of(number, kept, self._cuts)
            parts.append(Curve.of(tail.times, tail.words, tail.beliefs, kept.way is Rule.LINE))
        curve = Curve.joined(parts)
        first = max(0, int(np.searchsorted(curve.times, begin, side="right")) - 1)
        last = int(np.searchsorted(curve.times, end)) + 1
        curve = curve.part(first, last)
        if not len(curve):
            return curve
        inner, outer = slice(0, max(0, len(self._gaps) - 1)), self._cuts[-1:]
        wanted = np.flatnonzero((self._cuts[inner] >= curve.times[0]) & (self._cuts[inner] <= max(end, int(curve.times[-1]))))
        word = int(np.float64(np.nan).view(np.int64)) if kept.type is float else 0
        if len(wanted):
            curve = curve.with_gaps(self._cuts[wanted], ((OWN_CAUSES + wanted) << 2 | NONE).astype(np.int32), word)
        if len(outer) and (outer[0] <= end or curve.times[-1] < end):  # until then what was last holds
            belief = np.array([(OWN_CAUSES + len(self._gaps) - 1) << 2 | NONE], np.int32)
            curve = Curve.joined([curve, Curve.of(outer, np.array([word], np.int64), belief, False)])
        return curve

    def _values(self, kept: Kept, curve: Curve) -> "np.ndarray":
        """A curve's values as people have them."""
        if kept.type is float:
            values: Floats = curve.words.view(np.float64)
            return np.where((curve.beliefs & 3) == NONE, np.nan, values)
        if kept.type is bool:
            return curve.words.astype(np.bool_)
        if kept.type is int:
            return curve.words
        found, where = np.unique(curve.words, return_inverse=True)
        query = "SELECT text FROM texts WHERE number = ?"
        texts = [self._file.execute(query, (number,)).fetchone() for number in found.tolist()]
        named: NDArray[Any] = np.array([text[0] if text else None for text in texts], object)
        return np.take(named, where)

    def close(self) -> None:
        """Done with it."""
        self._shelves.close()
        self._file.close()


def _gaps(file: sqlite3.Connection) -> list[tuple[int, int, str]]:
    """Begin and end [µs] of what was not recorded, with the cause; the last is what nobody has recorded yet."""
    spans = file.execute("SELECT begin_us, end_us, cause FROM spans ORDER BY begin_us").fetchall()
    (until,) = file.execute("SELECT max(until_us) FROM journal").fetchone()
    gaps = []
    for i, (_, end, cause) in enumerate(spans):
        last = i + 1 == len(spans)
        begin, then = (max(end, until or 0), FAR) if last else (end, spans[i + 1][0])
        if then > begin:
            gaps.append((begin, then, cause))
    return gaps
