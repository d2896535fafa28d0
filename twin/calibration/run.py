"""A recorded run of one machine: its Status and Command as columns over time, in SI."""

import csv
import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin.arrays import Floats
from twin.calibration.errors import CalibrationError
from twin.clock import S

TRACE_COLUMNS = ("time_ns", "what", "name", "type", "value")
LONGEST = 1_000_000
"""Rows of a run: a day at ten a second and a bit more."""


def level(value: float) -> Floats:
    """One number as an array of one."""
    return np.array([value], np.float64)


@dataclass(frozen=True, slots=True)
class Run:
    """What was reported, n times.

    Attributes:
        machine: whose it is.
        time: (n,) seconds, rising.
        columns: (n,) each, by name: of a Status' Signals as they are called, of a Command's as `command/NAME`. Bits are 0 and 1.
        source: where it comes from, for people.
    """

    machine: str
    time: Floats
    columns: Mapping[str, Floats]
    source: str = ""

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, name: str) -> Floats:
        """A column.

        Raises:
            CalibrationError: it was not recorded.
        """
        if name not in self.columns:
            raise CalibrationError(
                f"{self.machine}/status/{name} was not recorded; there are {', '.join(self.columns) or 'no columns'}"
            )
        return self.columns[name]

    @property
    def steps(self) -> Floats:
        """(n - 1,) seconds from one report to the next."""
        return np.diff(self.time)

    def means(self, name: str) -> Floats:
        """(n - 1,) of a Signal between one report and the next."""
        column = self[name]
        return np.ascontiguousarray((column[1:] + column[:-1]) / 2.0)

    def before(self, holds: Any) -> int:
        """Reports before a condition, (n,) truths, holds for the first time; all of them where it never does."""
        found = np.flatnonzero(holds)
        return int(found[0]) if len(found) else len(self)


@dataclass(frozen=True, slots=True)
class Misfits:
    """What a model leaves of a run, each in units of how much a reading scatters.

    Attributes:
        of: (k,) by Signal, in the order of time.
        scatter: what one unit is in SI, by Signal; or of all.
    """

    of: Mapping[str, Floats]
    scatter: float | Mapping[str, float] = 1.0

    @property
    def all(self) -> Floats:
        """(m,) of all Signals."""
        return np.concatenate([*self.of.values(), np.empty(0)])

    def rms(self) -> dict[str, float]:
        """Root of the mean square by Signal [SI]."""
        found = {}
        for name, values in self.of.items():
            size = self.scatter if isinstance(self.scatter, float) else self.scatter[name]
            found[name] = float(np.sqrt(np.mean(values**2))) * size if len(values) else 0.0
        return found


@dataclass(slots=True)
class _Series:
    """One Signal's values as they changed."""

    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def of_series(
    machine: str,
    series: Mapping[str, tuple[Sequence[int], Sequence[Any]]],
    every: int = S // 10,
    source: str = "",
    drawn: Collection[str] = (),
) -> Run:
    """A run from values that were kept when they changed: each holds until the next, told `every` ns.

    Args:
        drawn: the Signals between whose values lies a line instead.
        series: by name as in Run.columns: times [ns], rising, and values. What is no number or truth is left out.

    Raises:
        CalibrationError: nothing was recorded, or too much.
    """
    usable = {name: _numbers(times, values) for name, (times, values) in series.items()}
    usable = {name: found for name, found in usable.items() if found.times}
    if not usable:
        raise CalibrationError(f"nothing of {machine} was recorded")
    first, last = max(found.times[0] for found in usable.values()), max(found.times[-1] for found in usable.values())
    count = max(0, (last - first) // every) + 1
    if count > LONGEST:
        raise CalibrationError(f"{(last - first) / S:.0f} s are {count} reports, at most {LONGEST} can be used: take a part of it")
    grid = first + every * np.arange(count, dtype=np.int64)
    columns = {}
    for name, found in usable.items():
        if name in drawn:
            columns[name] = np.interp(grid, np.array(found.times, np.float64), np.array(found.values))
            continue
        at = np.searchsorted(np.array(found.times, np.int64), grid, side="right") - 1
        columns[name] = np.array(found.values, np.float64)[np.maximum(at, 0)]
    return Run(machine, (grid - first) / S, columns, source)


def _numbers(times: Sequence[int], values: Sequence[Any]) -> _Series:
    found = _Series()
    for time, value in zip(times, values, strict=True):
        if isinstance(value, bool | int | float) and np.isfinite(value):
            found.times.append(int(time))
            found.values.append(float(value))
    return found


def of_trace(machine: str, text: str, since_s: float = 0.0, until_s: float = np.inf, every: int = S // 10, source: str = "") -> Run:
    """A run from a Trace's CSV, as `lockstep hil run --record` writes it: rows `time_ns, what, name, type, value`.

    Args:
        since_s, until_s: of the Trace's own time, what is to be used of it.

    Raises:
        CalibrationError: it is no such file (with its line), or holds nothing of the machine.
    """
    rows = csv.reader(io.StringIO(text))
    if tuple(next(rows, ())) != TRACE_COLUMNS:
        raise CalibrationError(f"{source or 'the trace'}: line 1: a Trace's CSV begins with {','.join(TRACE_COLUMNS)}")
    series: dict[str, _Series] = {}
    for name, time, value in _rows(machine, rows, source):
        if since_s * S <= time <= until_s * S:
            one = series.setdefault(name, _Series())
            one.times.append(time)
            one.values.append(value)
    return of_series(machine, {name: (one.times, one.values) for name, one in series.items()}, every, source)


def _rows(machine: str, rows: Any, source: str) -> Iterable[tuple[str, int, Any]]:
    status, command = f"{machine}/status/", f"{machine}/command/"
    for row in rows:
        if len(row) != len(TRACE_COLUMNS) or row[1] != "value":
            continue
        name = row[2].removeprefix("core/")
        if name.startswith(status):
            name = name[len(status) :]
        elif name.startswith(command):
            name = "command/" + name[len(command) :]
        else:
            continue
        try:
            yield name, int(row[0]), json.loads(row[4])
        except ValueError as wrong:
            raise CalibrationError(f"{source or 'the trace'}: line {rows.line_num}: {row!r} is no value: {wrong}") from wrong
