"""What is in blocks and in segments, for the door."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from controller.history.block import HEAD, as_floats, decode
from controller.history.cold import duckdb, quoted
from controller.history.curve import Curve, Sums
from controller.history.kept import NONE, TYPES, HistoryError, Rule
from controller.history.tables import COLD, has
from twin.arrays import Ints

LINE = int(Rule.LINE)
OWN_CAUSES = 1 << 24
"""Causes from here on are the door's own: which gap."""
HARMED = OWN_CAUSES - 1
AROUND_US = 60_000_000
"""How far around a span a segment is searched first."""
Whole = Callable[[Ints, Ints], "np.ndarray"]


class Shelves:
    """Blocks and segments of one History."""

    def __init__(self, folder: Path) -> None:
        self._cold = folder / COLD
        self._database: Any = None
        self._later = False
        self.damaged = 0

    def close(self) -> None:
        """Done with it."""
        if self._database is not None:
            self._database.close()

    def curves(
        self, file: sqlite3.Connection, number: int, begin: int, end: int, whole: Whole | None, sums: Sums | None
    ) -> list[Curve]:
        """What there is in begin .. end, with the sample before it and the one after it.

        Args:
            whole: says which blocks may go into `sums` as a whole, by their heads; their ends alone are in the curve then.
        """
        found = self._all(file, number, begin, end, whole, sums)
        if not found or found[0].times[0] > begin:
            found = self._held(file, number) + found
        return found

    def _held(self, file: sqlite3.Connection, number: int) -> list[Curve]:
        """What a Signal was when all before it was forgotten."""
        self._later = self._later or (has(file, "held") and has(file, "heads"))
        query = "SELECT time_us, word, belief, rule FROM held WHERE signal=?"
        rows = file.execute(query, (number,)).fetchall() if self._later else []
        return [
            Curve.of(np.array([time]), np.array([word], np.int64), np.array([belief], np.int32), rule == LINE)
            for time, word, belief, rule in rows
        ]

    def _all(
        self, file: sqlite3.Connection, number: int, begin: int, end: int, whole: Whole | None, sums: Sums | None
    ) -> list[Curve]:
        blocks = self._blocks(file, number, begin, end)
        cold: list[Curve] = []
        if not blocks or blocks[0][1] > begin:
            cold = self._segments(file, number, begin, end, whole, sums)
        if not blocks:
            return cold
        tops = np.frombuffer(b"".join(row[2] for row in blocks), HEAD)
        return cold + self._read(file, blocks, tops, self._summed(file, number, tops, whole, sums))

    def _summed(
        self, file: sqlite3.Connection, number: int, tops: "np.ndarray", whole: Whole | None, sums: Sums | None
    ) -> "np.ndarray":
        """Which of these blocks were added as a whole."""
        if whole is None or sums is None:
            return np.zeros(len(tops), np.bool_)
        summed: np.ndarray = (tops["good"] == 1) & (tops["count"] > 1) & whole(tops["first_us"], tops["last_us"])
        self._sum(file, number, tops[summed], sums)
        return summed

    def _blocks(self, file: sqlite3.Connection, number: int, begin: int, end: int) -> list[tuple[int, int, bytes]]:
        """Row, first time and head of the blocks that are wanted."""
        rows: list[tuple[int, int, bytes]] = []
        query = "SELECT id, first_us, head FROM blocks WHERE signal=? AND last_us>=? ORDER BY last_us, id"
        for row in file.execute(query, (number, begin)):
            rows.append(row)
            if row[1] >= end:
                break
        if not rows or rows[0][1] > begin:
            query = "SELECT id, first_us, head FROM blocks WHERE signal=? AND last_us<? ORDER BY last_us DESC, id DESC LIMIT 1"
            rows = file.execute(query, (number, begin)).fetchall() + rows
        return rows

    def _sum(self, file: sqlite3.Connection, number: int, tops: "np.ndarray", sums: Sums) -> None:
        (kind,) = file.execute("SELECT type FROM signals WHERE number=?", (number,)).fetchone()
        ends = tuple(as_floats(TYPES[kind], np.ascontiguousarray(tops[name])) for name in ("first_word", "last_word"))
        known = tuple(np.ascontiguousarray(tops[name]) for name in ("minimum", "maximum", "total"))
        first, last = np.ascontiguousarray(tops["first_us"]), np.ascontiguousarray(tops["last_us"])
        sums.known(first, last, ends, known)  # type: ignore[arg-type]

    def _read(
        self, file: sqlite3.Connection, blocks: list[tuple[int, int, bytes]], tops: "np.ndarray", summed: "np.ndarray"
    ) -> list[Curve]:
        """Blocks as curves; of those that are summed only the ends, runs of them in one curve."""
        curves, begin = [], 0
        edges = np.flatnonzero(np.diff(summed)) + 1
        for end in [*edges.tolist(), len(blocks)]:
            if summed[begin]:
                curves.append(_ends(tops[begin:end]))
            else:
                curves += [self._one(file, row, head) for row, _, head in blocks[begin:end]]
            begin = end
        return curves

    def _one(self, file: sqlite3.Connection, row: int, head: bytes) -> Curve:
        (body,) = file.execute("SELECT body FROM blocks WHERE id=?", (row,)).fetchone()
        top = np.frombuffer(head, HEAD)[0]
        try:
            found = decode(head, body)
        except HistoryError:
            self.damaged += 1
            lost = np.array([top["first_us"]], np.int64)
            return Curve.of(lost, np.zeros(1, np.int64), np.array([HARMED << 2 | NONE], np.int32), False)
        return Curve.of(found.times, found.words, found.beliefs, bool(top["rule"] == LINE))

    # ---- segments

    def _segments(
        self, file: sqlite3.Connection, number: int, begin: int, end: int, whole: Whole | None, sums: Sums | None
    ) -> list[Curve]:
        chosen = "SELECT file, c.first_us, c.last_us, segment FROM contents c JOIN segments ON number = segment WHERE signal=? AND "
        overlap = chosen + "c.last_us>=? AND c.first_us<=? ORDER BY c.last_us, segment"
        within = file.execute(overlap, (number, begin, end)).fetchall()
        (kind,) = file.execute("SELECT type FROM signals WHERE number=?", (number,)).fetchone()
        word = "value" if kind == "float" else "whole" if kind != "str" else "text"
        plan = [(name, max(begin, first), min(end, last), segment) for name, first, last, segment in within]
        if not within or within[0][1] > begin:
            before = file.execute(chosen + "c.last_us<? ORDER BY c.last_us DESC, segment DESC LIMIT 1", (number, begin))
            plan = [(name, last, last, 0) for name, _, last, _ in before] + plan
        if not within or within[-1][2] < end:
            after = file.execute(chosen + "c.first_us>? ORDER BY c.last_us, segment LIMIT 1", (number, end))
            plan += [(name, first, first, 0) for name, first, _, _ in after]
        texts = dict(file.execute("SELECT text, number FROM texts")) if kind == "str" and plan else {}
        curves: list[Curve] = []
        for name, first, last, segment in plan:
            row, tops = self._heads(file, number, segment if whole is not None else 0)
            summed = self._summed(file, number, tops, whole, sums)
            if summed.any():
                curves += self._edges(name, number, (first, last), word, row, tops, summed)
            else:
                curves.append(self._segment(name, number, first, last, word, texts))
        return curves

    def _heads(self, file: sqlite3.Connection, number: int, segment: int) -> tuple[int, "np.ndarray"]:
        """Of the blocks that a segment was made of: the row in which they begin, their heads."""
        self._later = self._later or (has(file, "held") and has(file, "heads"))
        query = "SELECT row, heads FROM heads WHERE signal=? AND segment=?"
        found = file.execute(query, (number, segment)).fetchone() if self._later and segment else None
        row, content = found or (0, b"")
        return row, np.frombuffer(content, HEAD)

    def _edges(
        self, name: str, number: int, span: tuple[int, int], word: str, row: int, tops: "np.ndarray", summed: "np.ndarray"
    ) -> list[Curve]:
        """What a segment holds of numbers, of blocks that are summed only the ends; those that the span does not touch are left
        out, but for one on each side."""
        ends = row + np.cumsum(tops["count"].astype(np.int64))
        begins = ends - tops["count"]
        low = max(0, int(np.searchsorted(tops["last_us"], span[0])) - 1)
        high = min(len(tops), int(np.searchsorted(tops["first_us"], span[1], side="right")) + 1)
        wanted = [i for i in range(low, high) if not summed[i]]
        ranges = " OR ".join(f"file_row_number BETWEEN {begins[i]} AND {ends[i] - 1}" for i in wanted)
        found = self._rows(name, number, word, f"({ranges})") if wanted else None
        curves, at = [], 0
        for i in range(low, high):
            if summed[i]:
                curves.append(_ends(tops[i : i + 1]))
            elif found is not None:
                curves.append(found.part(at, at + int(tops[i]["count"])))
                at += int(tops[i]["count"])
        return curves

    def _rows(self, name: str, number: int, word: str, which: str) -> Curve:
        source = f"read_parquet({quoted(self._file(name))}, file_row_number = true) WHERE signal = {number} AND {which}"
        found = self._fetch(f"SELECT epoch_us(time) AS time, {word} AS word, belief, rule, file_row_number AS row FROM {source}")
        return _curve(found, word, {})

    def _file(self, name: str) -> Path:
        path = self._cold / name
        if not path.exists():
            raise FileNotFoundError(name)
        return path

    def _segment(self, name: str, number: int, begin: int, end: int, word: str, texts: dict[str, int]) -> Curve:
        """What a segment holds of a Signal in begin .. end, and a sample at least on both sides of it; it has some there."""
        source = f"read_parquet({quoted(self._file(name))}, file_row_number = true) WHERE signal = {number} AND time"
        rows = f"SELECT epoch_us(time) AS time, {word} AS word, belief, rule, file_row_number AS row FROM {source}"
        around = (end - begin) // 8 + AROUND_US
        low, high = begin - around, end + around
        query = f"{rows} >= make_timestamp({low}) AND time <= make_timestamp({high})"
        found = self._fetch(query)
        times = np.ma.getdata(found["time"])
        if not len(times) or times.min() > begin or times.max() < end:
            # What holds at the beginning, or ends a line at the end, is farther away.
            before = f"({rows} < make_timestamp({low}) ORDER BY row DESC LIMIT 1)"
            after = f"({rows} > make_timestamp({high}) ORDER BY row LIMIT 1)"
            found = self._fetch(f"{before} UNION ALL ({query}) UNION ALL {after}")
        return _curve(found, word, texts)

    def events(
        self, file: sqlite3.Connection, begin_ns: int, end_ns: int, where: str, values: list[Any]
    ) -> list[tuple[int, str, str, str]]:
        """Events in segments, in their order."""
        query = "SELECT file FROM segments WHERE what = 'events' AND last_us >= ? AND first_us <= ? ORDER BY number"
        found: list[tuple[int, str, str, str]] = []
        for (name,) in file.execute(query, (begin_ns // 1000, end_ns // 1000)).fetchall():
            source = f"read_parquet({quoted(self._file(name))}) WHERE {where} ORDER BY utc_ns, id"
            told = f"SELECT utc_ns, kind, subject, fields FROM {source}"
            found += self._run(told, values).fetchall()
        return sorted(found, key=lambda row: row[0])

    def _fetch(self, query: str) -> dict[str, Any]:
        found: dict[str, Any] = self._run(query, []).fetchnumpy()
        return found

    def _run(self, query: str, values: list[Any]) -> Any:
        engine = duckdb()
        if self._database is None:
            self._database = engine.connect()
            self._database.execute("SET parquet_metadata_cache = true")
        try:
            return self._database.execute(query, values)
        except engine.Error as broken:
            raise HistoryError(f"{self._cold}: {str(broken).splitlines()[0]}") from broken


def _ends(tops: "np.ndarray") -> Curve:
    """First and last samples of blocks whose inside is summed."""
    n = len(tops)

    def pairs(first: str, last: str) -> "np.ndarray":
        return np.column_stack((tops[first], tops[last])).ravel()

    counts = np.column_stack((tops["count"].astype(np.int64), np.zeros(n, np.int64))).ravel()
    lines = np.repeat(tops["rule"] == LINE, 2)
    summed = np.tile(np.array([True, False]), n)
    words, beliefs = pairs("first_word", "last_word"), pairs("first_belief", "last_belief")
    return Curve(pairs("first_us", "last_us"), words, beliefs, lines, summed, counts)


def _curve(found: dict[str, Any], word: str, texts: dict[str, int]) -> Curve:
    """Rows of a segment in their order."""
    words = _words(found["word"], word, texts)
    times, row, belief, line = (np.ma.getdata(found[column]) for column in ("time", "row", "belief", "rule"))
    order = slice(None) if (np.diff(row) > 0).all() else np.argsort(row)
    return Curve.of(times[order].astype(np.int64), words[order], belief[order].astype(np.int32), (line == LINE)[order])


def _words(found: Any, word: str, texts: dict[str, int]) -> Ints:
    if word == "text":
        told = np.ma.getdata(found)
        gone = np.ma.getmaskarray(found)
        return np.array([0 if none else texts.get(text, 0) for text, none in zip(told, gone, strict=True)], np.int64)
    data = np.ma.getdata(found).copy()
    data[np.ma.getmaskarray(found)] = 0
    return data.view(np.int64) if word == "value" else data.astype(np.int64)
