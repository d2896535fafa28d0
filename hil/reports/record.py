"""A Trace as a file and back: CSV for everybody, Parquet for questions over many of them, and a summary as JSON.

Both hold the same columns, one row for each value and event, in the order of time:

    time_ns   when
    what      "value", "event", or "meta" for what is said of the Trace as a whole
    name      the Signal, or the event's subject
    type      of the value (bool, int, float, str, tuple), or of the event with its module
    value     JSON: the value, or the event's fields

What comes back is a Trace: requirements judge it as they judge a live one.
"""

import contextlib
import csv
import heapq
import importlib
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hil.judging.rules import end_of
from twin.clock import Ns, seconds
from twin.trace import Event, Trace

COLUMNS = ("time_ns", "what", "name", "type", "value")
FORMAT = "lockstep-trace 1"
OURS = ("twin.", "controller.", "hil.")
"""Where modules of event types may be imported from because a file names them; others must have been imported before."""

ROWS = 65_536  # fetched at once
Row = tuple[int, str, str, str, str]


class RecordError(ValueError):
    """A Trace that cannot be written, or a file that cannot be read; one line says why."""


@dataclass(frozen=True, slots=True)
class Foreign(Event):
    """An event whose type is not known here.

    Attributes:
        kind: its type's name.
        facts: its fields as they were written, JSON.
    """

    kind: str
    facts: str

    def line(self) -> str:
        """The fact in one line."""
        return f"{self.kind} {self.subject} {self.facts}"


class History(Trace):
    """A Trace that was recorded: its digest is the one it had then."""

    def __init__(self, digest: str) -> None:
        super().__init__()
        self._recorded = digest

    @property
    def digest(self) -> str:
        """SHA-256 over what the Trace recorded, in its order then."""
        return self._recorded


def write(trace: Trace, path: Path) -> None:
    """Write a Trace to a `.csv` or `.parquet` file.

    Raises:
        RecordError: another suffix, a value that is none of those named above, or DuckDB is missing.
    """
    if path.suffix == ".csv":
        _write_csv(trace, path)
    elif path.suffix == ".parquet":
        _write_parquet(trace, path)
    else:
        raise RecordError(f"{path.name}: a recording ends in .csv or .parquet")


def read(path: Path) -> History:
    """The Trace in a file that `write` has written.

    Raises:
        RecordError: it is no such file, or DuckDB is missing.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise RecordError(f"{path.name}: a recording ends in .csv or .parquet")
    rows = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    head = {name: value for _, what, name, _, value in itertools.islice(rows, 2) if what == "meta"}
    if head.get("format") != json.dumps(FORMAT) or "digest" not in head:
        raise RecordError(f"{path.name}: not a recording of the format {FORMAT!r}")
    history = History(json.loads(head["digest"]))
    for row in rows:
        try:
            _add(history, *row)
        except RecordError:
            raise
        except ValueError as broken:
            raise RecordError(f"{path.name}, {row[2]} at {row[0]} ns: {broken}") from None
    return history


def _add(history: History, time: int, what: str, name: str, kind: str, value: str) -> None:
    if what == "value":
        plain = PLAIN.get(kind)
        history.value(Ns(time), name, plain(value) if plain else _thaw(json.loads(value)))
    elif what == "event":
        history.event(Ns(time), _event(name, kind, value))


def summary(trace: Trace) -> dict[str, Any]:
    """What a Trace holds, as JSON can say it: digest, span, how many events of each type, and each Signal's range."""
    events = Counter(type(entry.what).__name__ for entry in trace.events)
    firsts = [series[0][0] for series in trace.series.values() if series] + [entry.time for entry in trace.events]
    return {
        "format": FORMAT,
        "digest": trace.digest,
        "from_s": seconds(min(firsts, default=Ns(0))),
        "to_s": seconds(end_of(trace)),
        "events": dict(sorted(events.items())),
        "signals": {name: _range(list(series)) for name, series in sorted(trace.series.items())},
    }


def write_summary(trace: Trace, path: Path) -> None:
    """Write the summary as JSON."""
    path.write_text(json.dumps(summary(trace), indent=1, ensure_ascii=False, default=_plain) + "\n", encoding="utf-8")


def _range(pairs: list[tuple[Ns, Any]]) -> dict[str, Any]:
    values = [value for _, value in pairs]
    told: dict[str, Any] = {"values": len(values), "first": values[0], "last": values[-1]} if values else {"values": 0}
    if values and all(isinstance(value, Real) for value in values):
        told |= {"least": min(values), "most": max(values)}
    return told


# ---- rows


def _rows(trace: Trace) -> Iterator[Row]:
    yield (0, "meta", "format", "str", json.dumps(FORMAT))
    yield (0, "meta", "digest", "str", json.dumps(trace.digest))
    columns: list[Iterable[Row]] = [_values(name, series) for name, series in sorted(trace.series.items())]
    events = ((int(entry.time), "event", entry.what.subject, _kind(entry.what), _facts(entry.what)) for entry in trace.events)
    yield from heapq.merge(*columns, events, key=lambda row: row[0])


def _values(name: str, series: Iterable[tuple[Ns, Any]]) -> Iterator[Row]:
    for time, value in series:
        try:
            told = ENCODE(value)
        except TypeError:
            raise RecordError(f"{name}: {value!r} is no bool, int, float, str or tuple of them") from None
        yield int(time), "value", name, _plain_type(value), told


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(value)


PLAIN: dict[str, Callable[[str], Any]] = {"float": float, "int": int}
"""How values of these types are read: faster than as JSON."""
ENCODE = json.JSONEncoder(ensure_ascii=False, default=_plain).encode


def _plain_type(value: Any) -> str:
    return type(value.item() if isinstance(value, np.generic) else value).__name__


def _thaw(value: Any) -> Any:
    """Lists back to the tuples that they were."""
    return tuple(_thaw(part) for part in value) if isinstance(value, list) else value


# ---- events


def _kind(event: Event) -> str:
    return event.kind if isinstance(event, Foreign) else f"{type(event).__module__}.{type(event).__qualname__}"


def _facts(event: Event) -> str:
    if isinstance(event, Foreign):
        return event.facts
    try:
        return json.dumps(msgspec.to_builtins(event), ensure_ascii=False)
    except TypeError as unknown:
        raise RecordError(f"{event.line()}: {unknown}") from None


def _event(subject: str, kind: str, facts: str) -> Event:
    found = _event_type(kind)
    if found is None:
        return Foreign(subject, kind, facts)
    try:
        return msgspec.convert(json.loads(facts), type=found)
    except msgspec.ValidationError as changed:
        raise RecordError(f"{kind} {facts}: {changed}") from None


def _event_type(kind: str) -> type[Event] | None:
    """The type of that name; of ours it is imported, of others it must have been."""
    module, _, name = kind.rpartition(".")
    if module not in sys.modules and module.startswith(OURS):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) and issubclass(found, Event) else None


# ---- CSV


def _write_csv(trace: Trace, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_rows(trace))


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != COLUMNS:
            raise RecordError(f"{path.name}: its columns are not {', '.join(COLUMNS)}")
        for line, row in enumerate(reader, 2):
            if len(row) != len(COLUMNS):
                raise RecordError(f"{path.name}, line {line}: {len(row)} columns, not {len(COLUMNS)}")
            if not row[0].isdecimal():
                raise RecordError(f"{path.name}, line {line}: {row[0]!r} is no time")
            yield int(row[0]), row[1], row[2], row[3], row[4]


# ---- Parquet


def _duckdb() -> Any:
    try:
        return importlib.import_module("duckdb")
    except ModuleNotFoundError:
        raise RecordError("Parquet needs DuckDB: pip install 'lockstep-factory[history]'; CSV needs nothing") from None


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _write_parquet(trace: Trace, path: Path) -> None:
    """By way of CSV, which DuckDB reads faster than rows can be handed to it. `number` is what `value` says, for arithmetic."""
    database = _duckdb().connect()
    types = "{'time_ns': 'BIGINT', 'what': 'VARCHAR', 'name': 'VARCHAR', 'type': 'VARCHAR', 'value': 'VARCHAR'}"
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(database):
        rows = Path(folder) / "rows.csv"
        _write_csv(trace, rows)
        dialect = "header = true, delim = ',', quote = '\"', escape = '\"', force_not_null = ['name']"
        columns = f"read_csv({_quoted(rows)}, {dialect}, columns = {types})"
        number = "CASE WHEN type IN ('int', 'float') THEN try_cast(value AS DOUBLE) END AS number"
        database.execute(f"COPY (SELECT *, {number} FROM {columns}) TO {_quoted(path)} (FORMAT parquet, COMPRESSION zstd)")


def _read_parquet(path: Path) -> Iterator[Row]:
    duckdb = _duckdb()
    if not path.exists():
        raise RecordError(f"{path.name}: no such file")
    with contextlib.closing(duckdb.connect()) as database:
        try:
            found = database.execute(f"SELECT {', '.join(COLUMNS)} FROM read_parquet({_quoted(path)})")
        except duckdb.Error as unreadable:
            raise RecordError(f"{path.name}: {str(unreadable).splitlines()[0]}") from None
        while rows := found.fetchmany(ROWS):
            yield from rows
