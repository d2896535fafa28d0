"""`lockstep history`: what a factory's Signals were, in the terminal, as CSV, JSON or Parquet; beside a recorder or without one."""

import argparse
import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from controller.history import FOLDER
from controller.history.aggregates import AGGREGATES
from controller.history.cold import duckdb, quoted
from controller.history.door import Door, Windows
from controller.history.kept import QUALITIES, HistoryError, Kept
from twin.clock import MS, US, S, utc_ns
from twin.factory import FactoryError, read
from twin.units import ALL, ONE, Unit

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PERIODS = {"ms": MS, "s": S, "min": 60 * S, "h": 3600 * S, "d": 86_400 * S}
_FIELDS = dict(zip(AGGREGATES, ("average", "minimum", "maximum", "first", "last", "total", "count", "good_s"), strict=True))
SHOWN = 60
"""Lines of a Signal that a terminal is shown without being asked for more."""
FAR = 2**62


class AskedWrong(ValueError):
    """What was asked for cannot be; one line says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an answer: a Signal at a time, its value or the aggregates of the window that begins there, in its unit."""

    time: int
    signal: str
    values: tuple[Any, ...]
    quality: str = ""
    cause: str = ""
    unit: str = ""


def run(options: argparse.Namespace) -> int:
    """Answer; the exit code."""
    try:
        state, wanted = _state(options)
        with closing(Door(state / FOLDER)) as door:
            return _answer(options, door, wanted)
    except BrokenPipeError:
        raise
    except (HistoryError, AskedWrong, OSError) as cannot:
        print(f"lockstep history: {cannot}", file=sys.stderr)
        return 1


def _state(options: argparse.Namespace) -> tuple[Path, list[str]]:
    """The state's folder, and the Signals that are asked for."""
    given = [word for word in (options.factory, *options.signals) if word is not None]
    if options.state is not None:
        return options.state, given
    if not given:
        raise AskedWrong("say whose: a factory file, or --state DIR")
    try:
        return Path(".lockstep") / read(Path(given[0])).name, given[1:]
    except FactoryError as wrong:
        raise AskedWrong(f"{given[0]} is no factory file (give --state DIR instead): {wrong.mistakes[0]}") from wrong


def _answer(options: argparse.Namespace, door: Door, wanted: Sequence[str]) -> int:
    since, until = span(options.since, options.until, options.last, utc_ns())
    if options.gaps:
        return _gaps(options, door, since, until)
    if options.events:
        return _events(options, door, wanted, since, until)
    known = door.signals()
    if not wanted:
        for path, kept in sorted(known.items()):
            unit = _unit(kept)
            bound = f"within {kept.bound / unit.size:g}" if kept.bound else "exactly"
            print(f"{path:44} {kept.type.__name__:5} {unit.symbol:6} {bound:14} {kept.text}".rstrip())
        return 0
    paths = matching(known, wanted)
    names = tuple(options.aggregate.split(",")) if options.every else ("value",)
    units = {path: _unit(known[path]) for path in paths}
    every = period(options.every) if options.every else 0
    found = _windows(door, paths, since - since % every, until, every, names) if every else _raw(door, paths, since, until)
    _tell(options, names, (_in_unit(line, names, units[line.signal]) for line in found))
    return 0


def _unit(kept: Kept) -> Unit:
    """What people see a Signal in; a whole number counts it already."""
    found = next((unit for unit in ALL if unit.code == kept.unit), ONE)
    return found if kept.type is float else replace(found, size=1.0)


def _in_unit(line: Line, names: Sequence[str], unit: Unit) -> Line:
    """A line of SI values in the Signal's declared unit."""
    values = tuple(
        unit.of(value) if isinstance(value, float) and name not in ("count", "good") else value
        for name, value in zip(names, line.values, strict=True)
    )
    return replace(line, values=values, unit=unit.symbol)


def span(since: str | None, until: str | None, last: str | None, now: int) -> tuple[int, int]:
    """The times that are asked for, UTC [ns].

    Raises:
        AskedWrong: they cannot be read, or are the wrong way round.
    """
    end = moment(until, now) if until else now + 1
    if since and last:
        raise AskedWrong("--from and --last: one of them")
    begin = moment(since, now) if since else end - period(last or "1h")
    if begin >= end:
        raise AskedWrong(f"from {iso(begin)} to {iso(end)} there is nothing")
    return begin, end


def moment(text: str, now: int) -> int:
    """A time, ISO 8601 (UTC unless it says otherwise) or how long ago.

    Raises:
        AskedWrong: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return now - period(text)
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return (found - EPOCH) // timedelta(microseconds=1) * US


def period(text: str) -> int:
    """How long: a number and a unit [ns].

    Raises:
        AskedWrong: it is none.
    """
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        found = float(digits) * PERIODS[text[len(digits) :]]
    except (ValueError, KeyError):
        units = ", ".join(PERIODS)
        raise AskedWrong(f"{text!r} is no time: 2026-11-22T08:00:00, or a number and one of {units}") from None
    if not 1000 <= found < FAR:
        raise AskedWrong(f"{text}: must be longer than a microsecond and shorter than a hundred years")
    return round(found)


def iso(time: int) -> str:
    """UTC [ns] as ISO 8601 with milliseconds."""
    return (EPOCH + timedelta(microseconds=time // US)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def matching(known: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """The paths that are asked for, each once.

    Raises:
        AskedWrong: one that fits nothing, with what comes near.
    """
    paths, found = sorted(known), dict[str, None]()
    for pattern in wanted:
        fits = [path for path in paths if fnmatchcase(path, pattern)]
        if not fits:
            word = pattern.strip("*").rsplit("/", 1)[-1]
            near = [path for path in paths if word and word in path][:5]
            raise AskedWrong(f"{pattern!r} fits no Signal" + (f"; there are {', '.join(near)}" if near else ""))
        found.update(dict.fromkeys(fits))
    return list(found)


def _raw(door: Door, paths: Sequence[str], since: int, until: int) -> Iterator[Line]:
    for path in paths:
        before = door.at(path, since)
        series = door.raw(path, since, until)
        if before is not None and (not len(series) or series.times[0] > since):
            yield Line(since, path, (before.value,), QUALITIES[before.quality], before.cause)
        for time, value, quality, cause in series.rows():
            yield Line(time, path, (value,), quality, cause)


def _windows(door: Door, paths: Sequence[str], since: int, until: int, every: int, names: Sequence[str]) -> Iterator[Line]:
    for name in names:
        if name not in AGGREGATES:
            raise AskedWrong(f"--aggregate {name}: must be some of {', '.join(AGGREGATES)}")
    for path in paths:
        windows = door.aggregate(path, since, until, every)
        yield from _of_windows(path, windows, names, every)


def _of_windows(path: str, windows: Windows, names: Sequence[str], every: int) -> Iterator[Line]:
    columns = [getattr(windows, _FIELDS[name]).tolist() for name in names]
    for i, (begin, good) in enumerate(zip(windows.begins.tolist(), windows.good_s.tolist(), strict=True)):
        values = tuple(None if isinstance(c[i], float) and math.isnan(c[i]) else c[i] for c in columns)
        share = good / (every / S)
        quality = "good" if share > 0.999 else "none" if not good else "partly"
        yield Line(begin, path, values, quality, "" if quality != "partly" else f"good for {share:.1%} of the time")


def _tell(options: argparse.Namespace, names: Sequence[str], lines: Iterator[Line]) -> None:
    if options.parquet is not None:
        write_parquet(options.parquet, names, lines)
    elif options.csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(("time", "signal", *names, "unit", "quality", "cause"))
        for line in lines:
            values = ("" if value is None else value for value in line.values)
            table.writerow((iso(line.time), line.signal, *values, line.unit, line.quality, line.cause))
    elif options.json:
        for line in lines:
            told = dict(zip(names, line.values, strict=True))
            rest = {name: getattr(line, name) for name in ("unit", "quality", "cause") if getattr(line, name)}
            print(json.dumps({"time": iso(line.time), "signal": line.signal, **told, **rest}, ensure_ascii=False))
    else:
        _show(lines)


def _show(lines: Iterator[Line]) -> None:
    """For people: a Signal's name once, then its lines; of many the last."""
    by_signal: dict[str, list[Line]] = {}
    counts: dict[str, int] = {}
    for line in lines:
        found = by_signal.setdefault(line.signal, [])
        found.append(line)
        counts[line.signal] = counts.get(line.signal, 0) + 1
        if len(found) > SHOWN:
            found.pop(0)
    for path, found in by_signal.items():
        more = counts[path] - len(found)
        unit = f" [{found[-1].unit}]" if found[-1].unit else ""
        print(path + unit + (f"  (the last {SHOWN} of {counts[path]}; --csv has them all)" if more else ""))
        for line in found:
            values = "  ".join(_shown(value) for value in line.values)
            doubt = "" if line.quality == "good" else f"  {line.quality}{': ' if line.cause else ''}{line.cause}"
            print(f"  {iso(line.time)}  {values}{doubt}".rstrip())
    if not by_signal:
        print("nothing was recorded then")


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _events(options: argparse.Namespace, door: Door, wanted: Sequence[str], since: int, until: int) -> int:
    found = [e for e in door.events(since, until) if not wanted or any(fnmatchcase(e.subject, w) for w in wanted)]
    rows = [Line(e.utc_ns, e.subject, (e.kind, json.dumps(dict(e.fields), ensure_ascii=False)), "good") for e in found]
    if options.json or options.csv or options.parquet is not None:
        _tell(options, ("kind", "fields"), iter(rows))
        return 0
    for event in found:
        facts = " ".join(f"{name}={value}" for name, value in event.fields.items() if name != "time")
        print(f"{iso(event.utc_ns)}  {event.kind:16} {event.subject:12} {facts}".rstrip())
    return 0


def _gaps(options: argparse.Namespace, door: Door, since: int, until: int) -> int:
    gaps = door.gaps(since, until)
    lines = [Line(gap.from_ns, "", (iso(gap.to_ns), (gap.to_ns - gap.from_ns) / S), "none", gap.cause) for gap in gaps]
    if options.json or options.csv or options.parquet is not None:
        _tell(options, ("until", "seconds"), iter(lines))
        return 0
    for line in lines:
        print(f"{iso(line.time)} to {line.values[0]}  {line.values[1]:10.3f} s  {line.cause}")
    return 0


def write_parquet(path: Path, names: Sequence[str], lines: Iterable[Line]) -> None:
    """Lines as a Parquet file: time (timestamp with time zone), signal, the values, unit, quality and cause.

    Values of one column that are of several types are written as text.

    Raises:
        HistoryError: DuckDB is not installed, or the file cannot be written.
    """
    rows = list(lines)
    kinds = [_column({type(line.values[i]) for line in rows if line.values[i] is not None}) for i in range(len(names))]
    engine = duckdb()
    texts = {name: np.array([getattr(line, name) for line in rows], object) for name in ("signal", "unit", "quality", "cause")}
    columns = {"time": np.array([line.time // US for line in rows], np.int64), **texts}
    for i in range(len(kinds)):
        columns[f"v{i}"] = np.array([None if line.values[i] is None else str(line.values[i]) for line in rows], object)
    told = ", ".join(f'CAST(v{i} AS {kind}) AS "{name}"' for i, (name, kind) in enumerate(zip(names, kinds, strict=True)))
    query = f"SELECT make_timestamptz(time) AS time, signal, {told}, unit, quality, cause FROM lines ORDER BY signal, time"
    with closing(engine.connect()) as file:
        file.execute("SET TimeZone = 'UTC'")
        file.register("lines", columns)
        try:
            file.execute(f"COPY ({query}) TO {quoted(path)} (FORMAT parquet, COMPRESSION zstd)")
        except engine.Error as failed:
            raise HistoryError(f"{path}: {failed}") from failed


def _column(kinds: set[type]) -> str:
    if kinds <= {bool}:
        return "BOOLEAN" if kinds else "DOUBLE"
    if kinds <= {int}:
        return "BIGINT"
    return "DOUBLE" if kinds <= {int, float} else "VARCHAR"

