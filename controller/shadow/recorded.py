"""A run of one machine out of the history, on its node's own clock: what factory time is faster than the wall does not matter."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from controller.history.door import Door, Series
from controller.history.kept import NONE, HistoryError, Rule
from controller.shadow.calibrations import Subject
from twin.calibration import CalibrationError, Run
from twin.calibration.run import of_series
from twin.clock import MS
from twin.factory import Factory
from twin.wire import layout

FOLDER = "history"
FAR = np.iinfo(np.int64).max


def moment(text: str | None, otherwise: int) -> int:
    """UTC [ns] of a time as people write it: ISO 8601, local where it does not say.

    Raises:
        CalibrationError: it is none.
    """
    if text is None:
        return otherwise
    try:
        return int(datetime.datetime.fromisoformat(text).timestamp() * 1e9)
    except ValueError as wrong:
        raise CalibrationError(f"{text!r} is no time like 2026-11-22T14:05: {wrong}") from wrong


def from_history(state: Path, factory: Factory, subject: Subject, since: int = 0, until: int = FAR) -> Run:
    """What the history holds of a machine between two times [UTC ns].

    Raises:
        CalibrationError: there is no history, or nothing of the machine in it.
    """
    ours = factory.machines.get(subject.name)
    kind = ours.type.status if ours is not None else factory.mirrored[subject.name].map.status
    try:
        door = Door(state / FOLDER)
        try:
            known = door.signals()
            paths = {s.name: f"{subject.name}/status/{s.name}" for s in layout(kind).signals if s.type is not str}
            found = {name: door.raw(path, since, until) for name, path in paths.items() if path in known}
            clock = door.raw(f"node:{ours.node}/status/uptime", since, until) if ours is not None else None
        finally:
            door.close()
    except HistoryError as missing:
        raise CalibrationError(f"{subject.name}: {missing}") from missing
    series = {name: _good(one, clock) for name, one in found.items() if _numeric(one)}
    drawn = frozenset(name for name, one in found.items() if one.kept.rule is Rule.LINE)
    every = factory.nodes[ours.node].scan_ms * MS if ours is not None else 100 * MS
    times = [time for one in found.values() if len(one) for time in (int(one.times[0]), int(one.times[-1]))]
    source = f"history {_shown(min(times))} to {_shown(max(times))}" if times else "history"
    return of_series(subject.name, series, every, source, drawn)


def _shown(utc_ns: int) -> str:
    return datetime.datetime.fromtimestamp(utc_ns // 1_000_000_000, datetime.UTC).isoformat()


def _numeric(series: Series) -> bool:
    return bool(len(series)) and series.values.dtype != object


def _good(series: Series, clock: Series | None) -> tuple[list[int], list[Any]]:
    """Times and values of the samples that there are; times by the node's clock, where that was recorded."""
    there = series.qualities != NONE
    times, values = series.times[there], series.values[there]
    if clock is not None and len(clock) > 1:
        seen = clock.qualities != NONE
        times = np.interp(times, clock.times[seen], clock.values[seen].astype(np.float64)) * MS
    return times.astype(np.int64).tolist(), values.tolist()
