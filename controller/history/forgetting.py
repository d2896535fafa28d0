"""Forgetting what is old; of each Signal remains what it was at the limit, so that one that stands still is not lost."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from controller.history.block import HEAD, as_floats, decode
from controller.history.cold import duckdb, quoted
from controller.history.curve import Curve, value_at
from controller.history.hot import Hot
from controller.history.kept import NONE, TYPES, HistoryError, Rule, micros
from controller.history.tables import COLD, DAMAGED, failed

Edge = tuple[int, int, int, int]
"""A sample: time [us], word, belief, rule."""


def forget(hot: Hot, before_ns: int) -> int:
    """Delete what ends before a time, hot and cold; how many bytes of files went. `shrink` gives the rest back to the disk.

    What a Signal was at that time is held as one sample, unless nobody recorded since, or there is nothing later at all.

    Raises:
        HistoryFull, HistoryError: nothing was deleted.
    """
    before, freed = micros(before_ns), 0
    with hot.transaction() as file:
        later = bool(file.execute("SELECT 1 FROM spans WHERE end_us >= ? LIMIT 1", (before,)).fetchall())
        held = list(_held(hot, file, before)) if later or hot.until_ns >= before_ns else []
        names = file.execute("SELECT file FROM segments WHERE last_us < ?", (before,)).fetchall()
        for table in ("contents", "heads"):
            file.execute(f"DELETE FROM {table} WHERE segment IN (SELECT number FROM segments WHERE last_us < ?)", (before,))
        file.execute("DELETE FROM segments WHERE last_us < ?", (before,))
        file.execute("DELETE FROM blocks WHERE last_us < ?", (before,))
        file.execute("DELETE FROM events WHERE utc_ns < ?", (before_ns,))
        file.execute("DELETE FROM held WHERE time_us < ?", (before,))
        file.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?)", held)
        hot.prune(file, before)
    for (name,) in names:
        with contextlib.suppress(OSError):  # what nobody has entered goes at the next `settle`
            freed += (hot.folder / COLD / name).stat().st_size
            (hot.folder / COLD / name).unlink()
    return freed


def _held(hot: Hot, file: Any, before: int) -> Iterator[tuple[int, int, int, int, int]]:
    """What each Signal was at the limit, of those that keep nothing from before it."""
    cuts = hot.cuts
    lasts, nexts = _edges(hot, file, before)
    for number, last in lasts.items():
        after = nexts.get(number)
        if after is not None and after[0] <= before:
            continue
        if after is not None and np.searchsorted(cuts, before) != np.searchsorted(cuts, after[0]):
            after = None  # no line goes across a gap
        if np.searchsorted(cuts, last[0]) != np.searchsorted(cuts, before):
            continue  # nobody recorded in between: what came after the gap says it anew
        curve = _curve([last] if after is None else [last, after])
        _, drawn = value_at(curve, as_floats(hot.kept[number].type, curve.words), before)
        word = last[1] if drawn is None else int(np.float64(drawn).view(np.int64))
        yield number, before, word, last[2], last[3]


def _curve(edges: list[Edge]) -> Curve:
    times, words, beliefs, rules = (np.array(column, np.int64) for column in zip(*edges, strict=True))
    return Curve.of(times, words, beliefs.astype(np.int32), rules == int(Rule.LINE))


def _edges(hot: Hot, file: Any, before: int) -> tuple[dict[int, Edge], dict[int, Edge]]:
    """Of each Signal the last sample that is to go, and the first that stays."""
    rows = file.execute("SELECT signal, time_us, word, belief, rule FROM held WHERE time_us < ?", (before,)).fetchall()
    lasts: dict[int, Edge] = {row[0]: row[1:] for row in rows}
    goes, stays = "signal = s.number AND last_us < ? ORDER BY last_us DESC", "signal = s.number AND last_us >= ? ORDER BY last_us"
    nexts = _in_segments(hot, file, before, stays, "first_us")
    lasts |= _in_segments(hot, file, before, goes, "last_us")
    for found, chosen, end in ((lasts, goes, "last"), (nexts, stays, "first")):
        query = f"SELECT number, (SELECT id FROM blocks WHERE {chosen} LIMIT 1) FROM signals s"
        for number, row in file.execute(query, (before,)).fetchall():
            if row is not None and (found is lasts or number not in nexts):
                with contextlib.suppress(HistoryError):
                    found[number] = _of_block(file, row, end)
    return lasts, nexts


def _of_block(file: Any, row: int, end: str) -> Edge:
    ((head, body),) = file.execute("SELECT head, body FROM blocks WHERE id = ?", (row,)).fetchall()
    top, i = np.frombuffer(head, HEAD)[0], -1 if end == "last" else 0
    found = decode(head, body)
    return int(found.times[i]), int(found.words[i]), int(found.beliefs[i]), int(top["rule"])


def _in_segments(hot: Hot, file: Any, before: int, chosen: str, time: str) -> dict[int, Edge]:
    """Samples at one end of what segments hold of each Signal, one question for each file."""
    columns = ", ".join(
        f"(SELECT {one} FROM contents WHERE {chosen} LIMIT 1)" for one in ("segment", time)
    )
    query = f"SELECT number, type, {columns} FROM signals s"
    wanted: dict[int, list[tuple[int, str, int]]] = {}
    for number, kind, segment, at in file.execute(query, (before, before)).fetchall():
        if segment is not None:
            wanted.setdefault(segment, []).append((number, kind, at))
    files = dict(file.execute("SELECT number, file FROM segments").fetchall())
    texts = {text: number for number, text in hot.names.texts.items()}
    found: dict[int, Edge] = {}
    for segment, edges in wanted.items():
        try:
            found |= _read(hot, files[segment], edges, texts, time == "last_us")
        except HistoryError:  # what can't be read is let go of all the same
            found |= {number: (at, 0, hot.names.belief(NONE, DAMAGED), 0) for number, _, at in edges}
    return found


def _read(hot: Hot, name: str, edges: list[tuple[int, str, int]], texts: dict[str, int], last: bool) -> dict[int, Edge]:
    engine, kinds = duckdb(), {number: kind for number, kind, _ in edges}
    asked = {"signal": np.array(list(kinds), np.int32), "at": np.array([at for *_, at in edges], np.int64)}
    source = f"read_parquet({quoted(hot.folder / COLD / name)}, file_row_number = true) p"
    query = (
        "SELECT p.signal, epoch_us(p.time), value, whole, text, belief, rule FROM "
        f"{source} JOIN asked ON p.signal = asked.signal AND p.time = make_timestamp(asked.at) ORDER BY file_row_number"
    )
    with contextlib.closing(engine.connect()) as database:
        database.register("asked", asked)
        try:
            rows = database.execute(query).fetchall()
        except engine.Error as broken:
            raise failed(hot.folder / COLD / name, broken) from broken
    found: dict[int, Edge] = {}
    for number, time, value, whole, text, belief, rule in rows if last else reversed(rows):
        kind = TYPES[kinds[number]]
        word = texts.get(text, 0) if kind is str else whole or 0
        if kind is float:
            word = int(np.float64(0.0 if value is None else value).view(np.int64))
        found[number] = time, word, belief, rule
    return found
