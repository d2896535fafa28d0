"""Forecasts: a shift of 8 hours on ten stations, 30 s of exponential work each, five places between, never out of parts.

About 700 parts leave the line in a shift. A completion is a part finished at one station. Each peer runs the model that
it is quickest with: a process for each station, a store for each buffer.
"""

import random
from collections.abc import Callable
from functools import partial

import numpy as np
import salabim
import simpy

from tests.bench.pairs import Row, alone, paired
from twin.kernel import Floats
from twin.line import Exponential, Form, Line, Station, draws, simulate

SHIFT = 8 * 3600.0
MEAN = 30.0
STATIONS, PLACES = 10, 5
LINE = Line(tuple(Station(f"station {number}", Exponential(MEAN)) for number in range(STATIONS)), (PLACES,) * (STATIONS - 1))
RUNS = 1000
SEED = 1
# Seconds of the salabim model: it is slow, and its pace does not depend on how long it runs.
SALABIM_SHIFT = SHIFT / 8


def in_simpy(times: Callable[[int], Callable[[], float]], until: float = SHIFT) -> list[list[float]]:
    """When each station finished its parts; `times(station)` gives what draws its times."""
    env = simpy.Environment()
    stores = [simpy.Store(env, PLACES) for _ in range(STATIONS - 1)]
    finished: list[list[float]] = [[] for _ in range(STATIONS)]

    def station(number: int):
        draw, done = times(number), finished[number]
        while True:
            part = (yield stores[number - 1].get()) if number else len(done)
            yield env.timeout(draw())
            done.append(env.now)
            if number + 1 < STATIONS:
                yield stores[number].put(part)

    for number in range(STATIONS):
        env.process(station(number))
    env.run(until)
    return finished


def in_salabim(times: Callable[[int], Callable[[], float]], until: float) -> list[list[float]]:
    """The same in salabim, with generators, and without its statistics."""
    env = salabim.Environment(yieldless=False, trace=False)
    stores = [env.Store(f"store {number}", capacity=PLACES, monitor=False) for number in range(STATIONS - 1)]
    finished: list[list[float]] = [[] for _ in range(STATIONS)]

    class Part(salabim.Component):
        pass

    class Worker(salabim.Component):
        def setup(self, number: int) -> None:
            self.number = number

        def process(self):
            number = self.number
            draw, done = times(number), finished[number]
            while True:
                if number:
                    part = yield self.from_store(stores[number - 1])
                else:
                    part = Part(env=env)
                yield self.hold(draw())
                done.append(env.now())
                if number + 1 < STATIONS:
                    yield self.to_store(stores[number], part)

    for number in range(STATIONS):
        Worker(number=number, env=env)
    env.run(till=until)
    return finished


def _exponential(number: int) -> Callable[[], float]:
    return partial(random.Random(number).expovariate, 1 / MEAN)


def difference(peer: Callable[..., list[list[float]]], form: Form, until: float) -> float:
    """Largest difference between what is finished when in ours and in a peer that uses our random times [s]."""
    paths = simulate(LINE, until=until, seed=SEED, form=form, paths=True).paths
    times = np.empty((1, STATIONS, paths.finish.shape[2]))
    draws.draw(LINE.table(), SEED, 0, times, np.empty_like(times))
    theirs = peer(lambda number: iter(times[0, number].tolist()).__next__, until)
    return max(_apart(paths.finish[0, number], np.array(done)) for number, done in enumerate(theirs))


def _apart(ours: Floats, theirs: Floats) -> float:
    made = ours[np.isfinite(ours)]
    return float(np.abs(made - theirs).max()) if len(made) == len(theirs) else float("inf")


def _completions(form: Form) -> int:
    """Of all the runs."""
    paths = simulate(LINE, until=SHIFT, seed=SEED, replicas=20, form=form, paths=True).paths
    return round(np.isfinite(paths.finish).sum() * RUNS / 20)


def _runs(form: Form | None = None) -> object:
    return simulate(LINE, until=SHIFT, seed=SEED, replicas=RUNS, form=form)


def forecast() -> Row:
    """1,000 runs as a forecast makes them: the form that is the default for this line."""
    seconds = alone(_runs)
    return Row(seconds, None, "at most 2 s, aim 0.5 s", 2.0 / seconds, 0.0, "s", 1.0, 4.0, "1,000 runs of a shift, 10 stations")


def against(
    peer: Callable[..., list[list[float]]], name: str, form: Form, until: float, least: float | None, aim: float | None
) -> Row:
    """Time of a completion at one station, ours over the runs of a forecast, the peer's over one."""
    pair = paired(partial(_runs, form), partial(peer, _exponential, until))
    ours, theirs = _completions(form), sum(map(len, peer(_exponential, until)))
    about = f"a completion, {form} form; error: finish times on the same random times [s]"
    return Row(
        ours=pair.ours / ours * 1e9,
        peer=pair.peer / theirs * 1e9,
        peer_name=name,
        ratio=pair.ratio * ours / theirs,
        error=difference(peer, form, until),
        least=least,
        aim=aim,
        about=about,
    )


METRICS = (
    ("forecast", forecast),
    ("forecast: simpy", partial(against, in_simpy, "simpy", Form.EVENTS, SHIFT, 80.0, 150.0)),
    ("forecast: simpy, recurrence", partial(against, in_simpy, "simpy", Form.RECURRENCE, SHIFT, None, None)),
    ("forecast: salabim", partial(against, in_salabim, "salabim", Form.EVENTS, SALABIM_SHIFT, None, None)),
)
