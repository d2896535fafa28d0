"""One path, however it is made: by events, by the recurrence, by simpy, backwards, and in another process."""

import hashlib
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.kinematics import line as bench
from twin.kernel import Floats
from twin.line import (
    Cycles,
    Exponential,
    Failures,
    Fixed,
    Form,
    Gamma,
    Law,
    Line,
    Lognormal,
    Outcome,
    Paths,
    Station,
    Uniform,
    draws,
    forms,
    simulate,
)  # fmt: skip

LAWS: list[Law] = [
    Fixed(2.0), Fixed(3.0), Exponential(2.0), Uniform(0.0, 4.0), Gamma(2.0, 0.5), Lognormal(2.0, 0.8), Cycles(1.0, 0.5),
]  # fmt: skip
places = st.one_of(st.none(), st.integers(0, 3))


@st.composite
def lines(draw: st.DrawFn, servers: int = 1, laws: tuple[Law, ...] = tuple(LAWS)) -> Line:
    count = draw(st.integers(1, 5))
    stations = tuple(
        Station(
            f"station {number}",
            draw(st.sampled_from(laws)),
            servers=draw(st.integers(1, servers)),
            loading=draw(st.sampled_from([0.0, 0.5])),
            failures=draw(st.sampled_from([None, Failures(between=10.0, repair=5.0)])),
        )
        for number in range(count)
    )
    buffers = tuple(draw(st.lists(places, min_size=count - 1, max_size=count - 1)))
    arrivals = draw(st.one_of(st.none(), st.sampled_from(laws)))
    return Line(stations, buffers, arrivals, draw(places) if arrivals else None)


def kept(outcome: Outcome) -> Paths:
    assert outcome.paths is not None
    return outcome.paths


def numbers(outcome: Outcome) -> list[Floats]:
    """All that an outcome holds."""
    paths = kept(outcome)
    return [
        outcome.departures, outcome.end, outcome.entered, outcome.made, outcome.passage, outcome.working, outcome.blocked,
        outcome.down, outcome.waiting, outcome.queue, paths.arrive, paths.start, paths.finish, paths.leave,
    ]  # fmt: skip


@given(line=lines(), seed=st.integers(0, 2**63 - 1), until=st.sampled_from([None, 7.0, 60.0]))
@settings(max_examples=150)
def test_events_and_recurrence_make_the_same_bits(line: Line, seed: int, until: float | None) -> None:
    both = [simulate(line, parts=None if until else 40, until=until, seed=seed, replicas=3, form=form, paths=True) for form in Form]
    for event, recurred in zip(*map(numbers, both), strict=True):
        assert np.array_equal(event[..., : recurred.shape[-1]], recurred)


class InSimpy:
    """The line as processes of parts: each holds its server until it has a place, and its place until it has a server."""

    def __init__(self, line: Line, parts: int, seed: int) -> None:
        self.env = simpy.Environment()
        self.first = 1 if line.arrivals else 0
        count = len(line.stations)
        times, down = np.empty((2, 1, count + self.first, parts))
        draws.draw(line.table(), seed, 0, times, down)
        self.times = times[0]
        self.servers = [simpy.Resource(self.env, station.servers) for station in line.stations]
        rooms = [line.entry if line.arrivals else 0, *line.buffers]
        self.rooms = [simpy.Resource(self.env, room or parts) if room != 0 else None for room in rooms]
        self.arrive, self.start, self.finish, self.leave = np.full((4, count, parts), np.inf)
        self.env.process(self.source(parts))
        self.env.run()

    def source(self, parts: int) -> Generator[Any, Any, None]:
        for part in range(parts):
            if self.first:
                yield self.env.timeout(self.times[0, part])
            place, server = self.rooms[0], None
            asked = place.request() if place else self.servers[0].request()
            yield asked
            place, server = (asked, None) if place else (None, asked)
            self.env.process(self.part(part, place, server))

    def part(self, part: int, place: Any, server: Any) -> Generator[Any, Any, None]:
        for station, servers in enumerate(self.servers):
            self.arrive[station, part] = self.env.now
            if place:
                server = servers.request()
                yield server
                self.rooms[station].release(place)
            self.start[station, part] = self.env.now
            yield self.env.timeout(self.times[station + self.first, part])
            self.finish[station, part] = self.env.now
            held, place = server, None
            if station + 1 < len(self.servers):
                room = self.rooms[station + 1]
                asked = room.request() if room else self.servers[station + 1].request()
                yield asked
                place, server = (asked, None) if room else (None, asked)
            servers.release(held)
            self.leave[station, part] = self.env.now


@given(line=lines(servers=3, laws=tuple(LAWS[2:6])), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_a_model_in_simpy_makes_the_same_path_of_the_same_numbers(line: Line, seed: int) -> None:
    theirs = InSimpy(line, 40, seed)
    ours = kept(simulate(line, parts=40, seed=seed, form=Form.EVENTS, paths=True))
    for name in ("arrive", "start", "finish", "leave"):
        assert np.array_equal(getattr(ours, name)[0], getattr(theirs, name)), name


def test_the_models_that_the_bench_times_make_the_same_path_as_ours() -> None:
    assert bench.difference(bench.in_simpy, Form.EVENTS, 3600.0) == 0.0
    assert bench.difference(bench.in_salabim, Form.RECURRENCE, 1200.0) == 0.0


def recurred(times: Floats, room: list[int]) -> Floats:
    """When each part leaves each station of a line that is never out of parts."""
    start, leave = np.empty((2, *times.shape))
    forms.recur(times, np.array([0, *room]), np.inf, start, leave)
    return leave


@st.composite
def given_times(draw: st.DrawFn) -> tuple[Floats, list[int]]:
    rows, parts = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    flat = draw(st.lists(st.one_of(st.floats(0, 100), st.just(1.0)), min_size=rows * parts, max_size=rows * parts))
    return np.array(flat).reshape(rows, parts), draw(st.lists(st.integers(0, 3), min_size=rows - 1, max_size=rows - 1))


@given(given_times())
def test_a_line_run_backwards_takes_as_long(case: tuple[Floats, list[int]]) -> None:
    """Muth 1979: the last part leaves at the same time when stations, buffers and parts come in the opposite order."""
    times, room = case
    forwards, backwards = recurred(times, room), recurred(times[::-1, ::-1].copy(), room[::-1])
    assert forwards[-1, -1] == pytest.approx(backwards[-1, -1], rel=1e-12)


@given(case=given_times(), data=st.data())
def test_no_part_leaves_later_for_a_shorter_time_or_one_more_place(case: tuple[Floats, list[int]], data: st.DataObject) -> None:
    times, room = case
    before = recurred(times, room)
    shorter = times.copy()
    row, part = data.draw(st.integers(0, times.shape[0] - 1)), data.draw(st.integers(0, times.shape[1] - 1))
    shorter[row, part] *= data.draw(st.floats(0, 1))
    assert np.all(recurred(shorter, room) <= before)
    if room:
        room[data.draw(st.integers(0, len(room) - 1))] += 1
        assert np.all(recurred(times, room) <= before)


@given(line=lines(servers=3), seed=st.integers(0, 2**32), until=st.sampled_from([None, 45.0]))
def test_littles_law_and_the_shares_hold_on_every_path(line: Line, seed: int, until: float | None) -> None:
    outcome = simulate(line, parts=None if until else 30, until=until, seed=seed, replicas=2, paths=True)
    paths = kept(outcome)
    for replica in range(2):
        end = outcome.end[replica]
        for number, station in enumerate(line.stations):
            arrive, start, leave = (np.minimum(at[replica, number], end) for at in (paths.arrive, paths.start, paths.leave))
            # The number in the buffer, summed over its changes, is the sum of what each part waited.
            changes = np.concatenate((arrive, start))
            order = np.argsort(changes, kind="stable")
            there = np.cumsum(np.repeat([1.0, -1.0], len(arrive))[order])
            area = float(there[:-1] @ np.diff(changes[order]))
            assert outcome.queue[replica, number] * end == pytest.approx(area, abs=1e-6)
            occupied = outcome.working[replica, number] + outcome.blocked[replica, number] + outcome.down[replica, number]
            assert occupied * station.servers * end == pytest.approx(float(np.sum(leave - start)), abs=1e-6)
            assert occupied + outcome.starved[replica, number] == pytest.approx(1.0)
        begun = paths.arrive[replica, 0] if line.arrivals is None or line.entry is None else None
        done = np.isfinite(paths.leave[replica, -1])
        assert outcome.made[replica] == done.sum() == np.isfinite(outcome.departures[replica]).sum()
        if begun is not None and done.any():
            assert outcome.passage[replica] == pytest.approx(float(np.mean(paths.leave[replica, -1][done] - begun[done])))


@given(line=lines(servers=2), seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_a_shift_is_the_beginning_of_a_longer_one(line: Line, seed: int) -> None:
    short, long = (simulate(line, until=until, seed=seed, replicas=2).departures for until in (30.0, 90.0))
    most = min(short.shape[1], long.shape[1])
    assert np.array_equal(short[:, :most], np.where(long <= 30.0, long, np.inf)[:, :most])
    assert not np.isfinite(short[:, most:]).any()


@pytest.mark.parametrize("form", Form)
def test_no_replica_runs_short_of_parts_when_a_shift_has_many_more_than_the_first_one(form: Form) -> None:
    line = Line((Station("one", Fixed(0.01)),), arrivals=Gamma(1.0, 5.0))
    shift = simulate(line, until=40.0, seed=1, replicas=200, form=form)
    enough = simulate(line, parts=1000, seed=1, replicas=200, form=form)
    assert shift.made.max() > 3 * shift.made[0]
    assert np.array_equal(shift.made, np.sum(enough.departures <= 40.0, axis=1))


PROGRAM = """
import hashlib
from tests.twin.line.test_forms import outcome_bytes
print(hashlib.sha256(outcome_bytes()).hexdigest())
"""


def outcome_bytes() -> bytes:
    """A line with every law in it, by both forms."""
    stations = tuple(Station(f"{number}", law, failures=Failures(50.0, 4.0)) for number, law in enumerate(LAWS))
    line = Line(stations, (1, 0, None, 2, 3, 0), arrivals=Exponential(4.0), entry=2)
    wide = replace(line, stations=(replace(stations[0], servers=2), *stations[1:]))
    runs = simulate(line, until=500.0, seed=9, replicas=5), simulate(wide, parts=80, seed=9, replicas=5)
    return b"".join(run.departures.tobytes() + run.queue.tobytes() + run.blocked.tobytes() for run in runs)


def test_another_process_makes_the_same_bits() -> None:
    root = Path(__file__).resolve().parents[3]
    there = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=120, check=True)
    assert there.stdout.strip() == hashlib.sha256(outcome_bytes()).hexdigest()
