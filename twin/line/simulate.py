"""Runs a line many times with seeded random times, and says what came of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from twin.arrays import Floats, Ints
from twin.line import draws, forms
from twin.line.laws import LineError, need, whole
from twin.line.line import Line

MOST_NUMBERS = 30_000_000
_GROWTHS = 20
_AT_ONCE = 20_000  # times drawn at once: they stay in the cache until they are used


class Form(StrEnum):
    """How a path is made: event after event (any line), or part after part by the max-plus recurrence (single servers)."""

    EVENTS = "events"
    RECURRENCE = "recurrence"


@dataclass(frozen=True, slots=True)
class Paths:
    """What became of each part at each station: (replicas, stations, parts) [s], infinite: not before the end.

    Attributes:
        arrive: it is there: in the buffer, or on a server.
        start, finish: of the work on it, with the repairs.
        leave: it is in the next buffer or station, or out of the line.
    """

    arrive: Floats
    start: Floats
    finish: Floats
    leave: Floats


@dataclass(frozen=True, slots=True)
class Outcome:
    """Replicas of one line, each from an empty line at 0 to its end. Shares are of all servers' time until the end.

    Attributes:
        departures: (replicas, parts) when each part left the line [s], infinite: not before the end.
        end: (replicas,) when the replica ended: as asked, or when the last part left [s].
        entered, made: (replicas,) parts that came into the line, and that left it.
        passage: (replicas,) mean time in the line, from arrival on, of the parts that left it [s].
        working, blocked, down: (replicas, stations) shares of time.
        waiting: (replicas, stations) mean time in the buffer before it of the parts that a station started [s].
        queue: (replicas, stations) mean number of parts in the buffer before it.
        paths: where they were asked for.
    """

    line: Line
    seed: int
    form: Form
    departures: Floats
    end: Floats
    entered: Floats
    made: Floats
    passage: Floats
    working: Floats
    blocked: Floats
    down: Floats
    waiting: Floats
    queue: Floats
    paths: Paths | None

    @property
    def throughput(self) -> Floats:
        """(replicas,) parts a second."""
        return self.made / self.end

    @property
    def starved(self) -> Floats:
        """(replicas, stations) share of time in which a server had no part."""
        return np.maximum(0.0, 1.0 - self.working - self.blocked - self.down)

    def ready(self, count: int) -> Floats:
        """(replicas,) when `count` parts have left the line [s], infinite: not before the end.

        Raises:
            LineError: fewer parts were simulated.
        """
        whole("count", count)
        need(1 <= count <= self.departures.shape[1], "count", count, f"1 to {self.departures.shape[1]}")
        return np.asarray(np.sort(self.departures, axis=1)[:, count - 1])

    def quantiles(self, count: int, shares: Sequence[float] = (0.1, 0.5, 0.9)) -> Floats:
        """(len(shares),) by when `count` parts have left the line in each share of the replicas [s].

        Raises:
            LineError: fewer parts were simulated, or a share is outside 0 to 1.
        """
        for share in shares:
            need(0 <= share <= 1, "share", share, "0 to 1")
        # Never between two replicas: some may be infinite.
        return np.asarray(np.quantile(self.ready(count), shares, method="inverted_cdf"))


def simulate(
    line: Line,
    *,
    parts: int | None = None,
    until: float | None = None,
    seed: int = 0,
    replicas: int = 1,
    form: Form | None = None,
    paths: bool = False,
) -> Outcome:
    """Run a line that is empty at first.

    The same seed gives the same bits. A replica, station and part have their times whatever the rest: the number of
    replicas and of parts, the buffers, the other stations' laws and the form.

    Args:
        parts: how many enter; the run ends when the last has left. Either this or `until`.
        until: the run ends then [s].
        seed: 0 to 2^63 - 1.
        form: by default the recurrence where every station has one server.
        paths: keep what became of each part at each station.

    Raises:
        LineError: an argument is out of its limits, or the form cannot do this line.
    """
    need((parts is None) != (until is None), "parts, until", (parts, until), "one number and one None")
    for name, value in (("seed", seed), ("replicas", replicas), ("parts", parts)):
        if value is not None:
            whole(name, value)
    need(0 <= seed < 2**63, "seed", seed, "0 to 2^63 - 1")
    need(replicas >= 1, "replicas", replicas, "at least 1")
    chosen = form or (Form.RECURRENCE if line.single else Form.EVENTS)
    several = next((station for station in line.stations if station.servers > 1), None)
    if chosen is Form.RECURRENCE and several:
        raise LineError(f"{several.name}: servers={several.servers} must be 1 in the form {chosen}")
    if parts is not None:
        need(parts >= 1, "parts", parts, "at least 1")
        outcome = _run(line, parts, math.inf, seed, replicas, chosen, paths)
        assert outcome is not None, "a line without an end cannot run short of parts"
        return outcome
    assert until is not None
    need(0 < until < math.inf, "until", until, "finite and above 0")
    return _run_until(line, until, seed, replicas, chosen, paths)


def _run_until(line: Line, until: float, seed: int, replicas: int, form: Form, paths: bool) -> Outcome:
    """The outcome of a shift: with parts enough for the replica that takes most, without drawing many that none takes."""
    expected = line.entering(until)
    need(expected <= MOST_NUMBERS, "until", until, f"less: {expected:.3g} parts would enter, at most {MOST_NUMBERS} may")
    enough = _margin(expected)
    if replicas > 1:
        pilot = _run(line, enough, until, seed, 1, form, False)
        servers = sum(station.servers for station in line.stations)
        enough = _margin(float(pilot.entered[0]) + 2 * servers) if pilot else 2 * enough
    for _ in range(_GROWTHS):
        outcome = _run(line, enough, until, seed, replicas, form, paths)
        if outcome is not None:
            return outcome
        enough *= 2
    raise LineError(f"until={until} must be less: more than {enough // 2} parts enter")


def _margin(parts: float) -> int:
    """So many that it is rare that more enter where so many are expected."""
    return math.ceil(parts + 5 * math.sqrt(parts)) + 16


def _run(line: Line, parts: int, until: float, seed: int, replicas: int, form: Form, paths: bool) -> Outcome | None:
    """The outcome, or None where more parts would have entered before the end."""
    table, shape = line.table(), line.shape(parts)
    rows, first = len(table), len(table) - len(line.stations)
    at_once = max(1, min(replicas, _AT_ONCE // (rows * parts)))
    kept = replicas if paths else at_once
    numbers = max(replicas * parts, kept * rows * parts)
    need(numbers <= MOST_NUMBERS, "replicas and parts", (replicas, parts), f"less: {numbers} numbers, at most {MOST_NUMBERS}")
    times, start, leave = (np.empty((kept, rows, parts)) for _ in range(3))
    down, scratch = np.empty((at_once, rows, parts)), _scratch(form, shape, parts)
    departures = np.empty((replicas, parts))
    figures, totals = np.empty((replicas, rows, forms.FIGURES)), np.empty((replicas, forms.TOTALS))
    for begin in range(0, replicas, at_once):
        now = slice(begin, min(begin + at_once, replicas))
        held = now if paths else slice(0, now.stop - begin)
        lost = down[: now.stop - begin]
        draws.draw(table, seed, begin, times[held], lost)
        path = times[held], lost, start[held], leave[held]
        if not forms.run(form is Form.EVENTS, shape, first, until, *path, *scratch, departures[now], figures[now], totals[now]):
            return None
    cut = _paths(times, start, leave, first, until) if paths else None
    return _outcome(line, seed, form, departures, figures[:, first:], totals, cut)


def _scratch(form: Form, shape: Ints, parts: int) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """What the events need; for the recurrence as little as an array can be."""
    rows, servers = (shape.shape[1], int(shape[1].sum())) if form is Form.EVENTS else (1, 1)
    leaves = 1 << (servers - 1).bit_length()
    sizes = (rows + 1, forms.COUNTS), (2, rows + 1, parts), (forms.SLOTS, servers), (2 * leaves,), (2 * leaves,)
    counts, orders, slots, when, who = (np.empty(size, np.int64) for size in sizes)
    return counts, orders, slots, when, who


def _paths(times: Floats, start: Floats, leave: Floats, first: int, until: float) -> Paths:
    """The stations' rows, without what happened after the end."""
    arrive = leave[:, :-1] if first else np.concatenate((start[:, :1], leave[:, :-1]), axis=1)
    start, leave, finish = start[:, first:], leave[:, first:], start[:, first:] + times[:, first:]
    arrive, start, finish, leave = (np.where(at <= until, at, np.inf) for at in (arrive, start, finish, leave))
    return Paths(arrive, start, finish, leave)


def _outcome(
    line: Line, seed: int, form: Form, departures: Floats, figures: Floats, totals: Floats, paths: Paths | None
) -> Outcome:
    end, made = totals[:, forms.END], totals[:, forms.MADE]
    servers = np.array([station.servers for station in line.stations])
    available = end[:, None] * servers
    return Outcome(
        line=line,
        seed=seed,
        form=form,
        departures=departures,
        end=end,
        entered=totals[:, forms.ENTERED],
        made=made,
        passage=totals[:, forms.PASSAGE] / np.maximum(made, 1.0),
        working=figures[..., forms.WORKING] / available,
        blocked=figures[..., forms.BLOCKED] / available,
        down=figures[..., forms.DOWN] / available,
        waiting=figures[..., forms.WAITED] / np.maximum(figures[..., forms.STARTED], 1.0),
        queue=figures[..., forms.QUEUED] / end[:, None],
        paths=paths,
    )
