"""A run of one machine out of the history, on its node's own clock: what factory time is faster than the wall does not matter.

Only Good values count. A run has no hole: of what was recorded it is the longest stretch without a gap, a new start of the node
or a Signal that was not Good for longer than the shadow would step over; its source says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.history.commands import iso
from controller.history.door import FAR, Door
from controller.history.kept import GOOD, NONE, HistoryError, Rule
from controller.shadow.calibrations import Subject
from twin.arrays import Floats, Ints
from twin.calibration import CalibrationError, Run
from twin.calibration.run import of_series
from twin.clock import MS, S
from twin.factory import Factory
from twin.followed import OFFSET, TCP
from twin.wire import layout

FOLDER = "history"
LONGEST_DOUBT = 3 * S
"""By the node's clock; for as long as this a value that is not Good any more is taken to hold."""
WRAP = 1 << 32
NEAR_WRAP = 600_000
"""ms to either side of 2^32 within which an uptime that falls has wrapped."""
MOST_TOLD = 3


@dataclass(frozen=True, slots=True)
class _Told:
    """A Signal's n samples: times [UTC ns], values, which of them are Good, which are gaps; `drawn`: a line lies between them."""

    times: Ints
    values: "np.ndarray"
    good: NDArray[np.bool_]
    gone: NDArray[np.bool_]
    drawn: bool = False

    def only_good(self) -> tuple[Ints, Floats]:
        """Times and values of those that are Good."""
        return self.times[self.good], self.values[self.good].astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Hole:
    """A span [UTC ns] that is in no run, and why."""

    begin: int
    end: int
    why: str


@dataclass(frozen=True, slots=True)
class _Clock:
    """Uptimes of a node [ns] without their wraps, at n times [UTC ns]; `anew`: where it was started again since the one before."""

    times: Ints
    uptimes: Floats
    anew: NDArray[np.bool_]

    def at(self, times: Ints) -> Floats:
        """The node's time at each of these."""
        found: Floats = np.interp(times, self.times, self.uptimes)
        return found


def from_history(state: Path, factory: Factory, subject: Subject, since: int = 0, until: int = FAR) -> Run:
    """The longest whole stretch that the history holds of a machine between two times [UTC ns].

    Raises:
        CalibrationError: there is no history, or nothing Good of the machine in it.
    """
    ours = factory.machines.get(subject.name)
    try:
        door = Door(state / FOLDER)
        try:
            known = door.signals()
            paths = {name: f"{subject.name}/status/{name}" for name in _names(factory, subject)}
            told = {name: _told(door, path, since, until) for name, path in paths.items() if path in known}
            node = f"node:{ours.node}/status" if ours is not None else ""
            uptime, boots = (
                _told(door, path, since, until) if (path := f"{node}/{name}") in known else None for name in ("uptime", "boot_id")
            )
        finally:
            door.close()
    except HistoryError as missing:
        raise CalibrationError(f"{subject.name}: {missing}") from missing
    told = {name: one for name, one in told.items() if one.good.any()}
    clock = _clock(uptime, boots) if uptime is not None and uptime.good.any() else None
    begin, end, source = _longest(subject.name, told, clock)
    series = {name: _part(one, begin, end, clock) for name, one in told.items()}
    every = factory.nodes[ours.node].scan_ms * MS if ours is not None else 100 * MS
    return of_series(subject.name, series, every, source, frozenset(name for name, one in told.items() if one.drawn))


def _names(factory: Factory, subject: Subject) -> Iterator[str]:
    """The Signals that a calibration may need."""
    if subject.name in factory.machines:
        yield from (s.name for s in layout(factory.machines[subject.name].type.status).signals if s.type is not str)
    else:
        yield from (*factory.mirrored[subject.name].joints, *TCP, *OFFSET)


def _told(door: Door, path: str, since: int, until: int) -> _Told:
    """A Signal's samples between two times, and before them what it was at the first."""
    found = door.raw(path, since, until)
    values = found.values if found.values.dtype != object else np.full(len(found), np.nan)
    good, gone = (found.qualities == GOOD) & np.isfinite(values.astype(np.float64)), found.qualities == NONE
    made = _Told(found.times, values, good, gone, found.kept.way is Rule.LINE)
    before = door.at(path, since) if since > 0 and not (len(found) and found.times[0] <= since) else None
    if before is None or not isinstance(before.value, bool | int | float):
        return made
    return replace(
        made,
        times=np.insert(made.times, 0, since),
        values=np.insert(made.values.astype(np.float64), 0, before.value),
        good=np.insert(made.good, 0, before.quality == GOOD),
        gone=np.insert(made.gone, 0, False),
    )


def _clock(uptime: _Told, boots: _Told | None) -> _Clock:
    times, values = uptime.only_good()
    fell = values[1:] < values[:-1]
    wrapped = fell & (values[:-1] > WRAP - NEAR_WRAP) & (values[1:] < NEAR_WRAP)
    anew = fell & ~wrapped
    if boots is not None and boots.good.any():
        begun, starts = boots.only_good()
        of = starts[np.maximum(np.searchsorted(begun, times, side="right") - 1, 0)]
        anew |= of[1:] != of[:-1]
    whole = values + WRAP * np.concatenate(([0], np.cumsum(wrapped)))
    return _Clock(times, whole * MS, np.concatenate(([False], anew)))


# ---- what is whole


def _longest(machine: str, told: Mapping[str, _Told], clock: _Clock | None) -> tuple[int, int, str]:
    """Begin and end [UTC ns] of the longest whole stretch, and what to call it."""
    if not told:
        raise CalibrationError(f"nothing of {machine} was recorded that is Good")
    ends = [clock.times] if clock is not None else [one.times for one in told.values()]
    first, last = min(int(times[0]) for times in ends), max(int(times[-1]) for times in ends)
    holes = [hole for name, one in told.items() for hole in _holes(f"{machine}/status/{name}", one, first, last, clock)]
    if clock is not None:
        starts = np.flatnonzero(clock.anew).tolist()
        again = (f"its node was started again before {iso(int(clock.times[k]))}" for k in starts)
        holes += [_Hole(int(clock.times[k - 1]), int(clock.times[k]), why) for k, why in zip(starts, again, strict=True)]
    stretches, cuts = _between(holes, first, last, clock)
    if not stretches:
        raise CalibrationError(f"nothing whole of {machine} was recorded: {_some(cuts)}")
    begin, end = max(stretches, key=lambda stretch: _length(stretch[0], stretch[1], clock))
    source = f"history {iso(begin)} to {iso(end)}"
    return begin, end, source + (f", the longest of {len(stretches)} stretches: {_some(cuts)}" if len(stretches) > 1 else "")


def _holes(path: str, told: _Told, first: int, last: int, clock: _Clock | None) -> Iterator[_Hole]:
    """Where a Signal has no value that could be used."""
    good = np.flatnonzero(told.good)
    if told.times[good[0]] > first:
        yield _Hole(first, int(told.times[good[0]]), f"{path} was not told before {iso(int(told.times[good[0]]))}")
    doubts = np.flatnonzero(~told.good & np.concatenate(([True], told.good[:-1]))).tolist()
    for k in doubts:
        after = int(np.searchsorted(good, k))
        begin, end = int(told.times[k]), int(told.times[good[after]]) if after < len(good) else last
        until = int(good[after]) if after < len(good) else len(told.good)
        if told.gone[k:until].any():
            yield _Hole(begin, end, f"nothing is known of {path} from {iso(begin)} to {iso(end)}")
        elif _length(begin, end, clock) > LONGEST_DOUBT:
            yield _Hole(begin, end, f"{path} was not Good from {iso(begin)} to {iso(end)}")


def _between(holes: Iterable[_Hole], first: int, last: int, clock: _Clock | None) -> tuple[list[tuple[int, int]], list[str]]:
    """The stretches around holes, and what is between them, once each."""
    at, found = first, []
    cuts: dict[tuple[int, int], str] = {}
    for hole in sorted(holes, key=lambda hole: (hole.begin, -hole.end)):
        if hole.end > at or hole.begin >= at:
            cuts.setdefault((hole.begin, hole.end), hole.why)
        found.append((at, hole.begin))
        at = max(at, hole.end)
    found.append((at, last))
    inside = [_inside(begin, end, clock) for begin, end in found if end > begin]
    return [(begin, end) for begin, end in inside if end > begin], list(cuts.values())


def _inside(begin: int, end: int, clock: _Clock | None) -> tuple[int, int]:
    """A stretch as far as the node's clock is known in it."""
    if clock is None:
        return begin, end
    times = clock.times[(clock.times >= begin) & (clock.times <= end)]
    return (int(times[0]), int(times[-1])) if len(times) else (begin, begin)


def _length(begin: int, end: int, clock: _Clock | None) -> float:
    """How long that was [ns], by the node's clock where it is known."""
    return float(np.diff(clock.at(np.array([begin, end], np.int64)))[0]) if clock is not None else float(end - begin)


def _some(cuts: list[str]) -> str:
    more = f"; and {len(cuts) - MOST_TOLD} more" if len(cuts) > MOST_TOLD else ""
    return "; ".join(cuts[:MOST_TOLD]) + more


def _part(told: _Told, begin: int, end: int, clock: _Clock | None) -> tuple[list[int], list[Any]]:
    """A Signal's Good samples in a stretch, from its very begin on; times by the node's clock."""
    times, values = told.only_good()
    inside = (times >= begin) & (times <= end)
    earlier = int(np.searchsorted(times, begin, side="right")) - 1
    there, kept = times[inside], values[inside]
    if earlier >= 0 and (not len(there) or there[0] > begin):
        now = float(np.interp(begin, times, values)) if told.drawn else float(values[earlier])
        there, kept = np.insert(there, 0, begin), np.insert(kept, 0, now)
    if len(there) and there[-1] < end:  # what was told last holds to the end of the stretch
        there, kept = np.append(there, end), np.append(kept, np.interp(end, times, values) if told.drawn else kept[-1])
    if clock is not None:
        within = (clock.times >= begin) & (clock.times <= end)
        there = np.interp(there, clock.times[within], clock.uptimes[within]).astype(np.int64)
    return there.tolist(), kept.tolist()
