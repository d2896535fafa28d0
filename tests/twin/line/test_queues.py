"""What the line simulator forecasts against what queueing theory proves, within four standard errors of the replicas."""

import math
from dataclasses import replace

import numpy as np
import pytest

from twin.kernel import Floats
from twin.line import Cycles, Exponential, Failures, Fixed, Form, Gamma, Law, Line, Lognormal, Outcome, Station, Uniform, simulate


def agrees(found: Floats, truth: float, within: float) -> None:
    """The mean of the replicas is the truth within 4 standard errors, and these are no more than a share of it."""
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert error < within * truth
    assert abs(found.mean() - truth) < 4 * error, f"{found.mean():.6g} with standard error {error:.2g} is not {truth:.6g}"


def queue(law: Law, **station: object) -> Outcome:
    """One station, a part a second."""
    line = Line((Station("one", law, **station),), arrivals=Exponential(1.0))
    return simulate(line, parts=50_000, seed=11, replicas=60, paths=True)


def test_a_single_queue_with_exponential_times_waits_as_m_m_1() -> None:
    outcome = queue(Exponential(0.8))
    agrees(outcome.waiting[:, 0], 0.8 * 0.8 / 0.2, 0.01)
    agrees(outcome.queue[:, 0], 0.64 / 0.2, 0.01)
    agrees(outcome.working[:, 0], 0.8, 0.002)
    agrees(outcome.passage, 0.8 / 0.2, 0.01)
    paths = outcome.paths
    assert paths is not None
    # The time in the system is exponential with rate 1/0.8 - 1.
    for time in (1.0, 4.0, 12.0):
        agrees(np.mean(paths.leave[:, 0] - paths.arrive[:, 0] > time, axis=1), math.exp(-0.25 * time), 0.05)


@pytest.mark.parametrize(
    ("law", "second_moment"),
    [
        (Fixed(0.7), 0.49),
        (Uniform(0.4, 1.0), 0.49 + 0.36 / 12),
        (Gamma(0.7, 0.5), 0.49 * 1.25),
        (Lognormal(0.7, 0.8), 0.49 * 1.64),
    ],
)
def test_a_single_queue_waits_as_pollaczek_and_khinchine_say(law: Law, second_moment: float) -> None:
    outcome = queue(law)
    agrees(outcome.waiting[:, 0], second_moment / (2 * 0.3), 0.01)
    assert outcome.line.stations[0].mean == pytest.approx(0.7)


def test_failures_make_a_queue_wait_as_their_second_moment_says() -> None:
    outcome = queue(Fixed(0.5), failures=Failures(between=10.0, repair=2.0))
    stops = 0.05
    second_moment = (0.5 + stops * 2.0) ** 2 + stops * 2 * 2.0**2
    agrees(outcome.waiting[:, 0], second_moment / (2 * 0.4), 0.02)
    agrees(outcome.down[:, 0], 0.1, 0.01)


def test_a_jackson_network_has_its_product_form() -> None:
    """Poisson arrivals, one server, two servers, one server: each as if alone, and independent of the others."""
    stations = Station("a", Exponential(0.6)), Station("b", Exponential(1.2), servers=2), Station("c", Exponential(0.4))
    line = Line(stations, (None, None), arrivals=Exponential(1.0))
    outcome = simulate(line, until=3000.0, seed=2, replicas=250, paths=True)
    paths = outcome.paths
    assert outcome.form is Form.EVENTS and paths is not None
    times = np.arange(300.0, 3000.0, 3.0)
    there = np.empty((250, 3, len(times)), np.int64)
    for replica in range(250):
        for station in range(3):
            came = np.searchsorted(np.sort(paths.arrive[replica, station]), times, side="right")
            there[replica, station] = came - np.searchsorted(np.sort(paths.leave[replica, station]), times, side="right")
    alone = [[0.4 * 0.6**n for n in range(3)], two_servers(0.6), [0.6 * 0.4**n for n in range(3)]]
    for state in np.ndindex(3, 3, 3):
        found = np.mean(np.all(there == np.array(state)[None, :, None], axis=1), axis=1)
        agrees(found, math.prod(alone[station][number] for station, number in enumerate(state)), 0.1)
    erlang = 2 * 0.6**2 / (1 + 0.6)  # the chance to wait in M/M/2
    agrees(outcome.waiting[:, 1], erlang * 1.2 / (2 * (1 - 0.6)), 0.05)


def two_servers(load: float) -> list[float]:
    """Chance of 0, 1 and 2 parts in M/M/2."""
    empty = (1 - load) / (1 + load)
    return [empty, empty * 2 * load, empty * 2 * load**2]


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(("places", "count", "truth"), [(0, 2, 2 / 3), (4, 2, 6 / 7), (0, 3, 22 / 39)])
def test_exponential_lines_lose_to_blocking_what_markov_chains_say(form: Form, places: int, count: int, truth: float) -> None:
    """Two stations: (b + 2) / (b + 3). Three without buffers: 22/39 (Hunt 1956)."""
    line = Line(tuple(Station(f"{number}", Exponential(1.0)) for number in range(count)), (places,) * (count - 1))
    agrees(simulate(line, until=20_000.0, seed=4, replicas=40, form=form).throughput, truth, 0.002)


def bernoulli(first: float, second: float, places: int) -> float:
    """Throughput of two Bernoulli machines (Li and Meerkov), p2 (1 - Q): a blocked machine tries again in the next cycle."""
    alpha = first * (1 - second) / (second * (1 - first))
    return second * (1 - (1 - first) * (1 - alpha) / (1 - first / second * alpha**places))


def test_the_bernoulli_lines_closed_form_is_the_known_figure() -> None:
    assert bernoulli(0.9, 0.8, 3) == pytest.approx(0.79154, abs=5e-6)


@pytest.mark.parametrize("places", [3, 4])
def test_two_bernoulli_machines_make_as_many_parts_as_the_closed_form_says(places: int) -> None:
    """Their line is ours seen from a moving clock.

    With times G1, G2 in cycles, C1(i) = max(C1(i-1), C2(i-N) - 1) + G1(i) and C2(i) = max(C2(i-1), C1(i)) + G2(i): room
    is there one cycle early, since the second machine takes a part at the begin of the cycle that finishes it. With
    d = 1 / (N - 2), c1(i) = C1(i) + (i - 1) d and c2(i) = C2(i) + i d are those of a line without that early cycle, each
    time longer by d: one that blocks before service with N places or, the same, after service with N - 2.
    """
    longer = 1 / (places - 2)
    stations = tuple(Station(name, Cycles(1.0, up), loading=longer) for name, up in (("first", 0.9), ("second", 0.8)))
    outcome = simulate(Line(stations, (places - 2,)), parts=100_000, seed=6, replicas=160)
    agrees(1 / (outcome.end / 100_000 - longer), bernoulli(0.9, 0.8, places), 0.00012)


def test_two_geometric_machines_that_block_after_service_follow_their_birth_and_death_chain() -> None:
    """Parts finished by the first and not by the second: 0 to 2 + places, the last of them blocked on the first."""
    up, down = 0.9 * 0.2, 0.8 * 0.1
    weights = [1.0, 0.9 / down, 0.9 / down * up / down]
    weights.append(weights[-1] * up / 0.8)
    truth = 0.8 * (1 - weights[0] / sum(weights))
    line = Line((Station("first", Cycles(1.0, 0.9)), Station("second", Cycles(1.0, 0.8))), (1,))
    outcome = simulate(line, parts=100_000, seed=7, replicas=40)
    agrees(outcome.throughput, truth, 0.0003)
    agrees(outcome.starved[:, 1], weights[0] / sum(weights), 0.02)
    agrees(outcome.blocked[:, 0], weights[-1] / sum(weights), 0.02)


def test_a_bowl_of_work_makes_more_than_an_even_line() -> None:
    """Hillier and Boling: the middle station of three should be the fastest. Both lines have the same random numbers."""
    even = Line(tuple(Station(name, Exponential(1.0)) for name in "abc"), (0, 0))
    bowl = replace(
        even, stations=tuple(Station(name, Exponential(mean)) for name, mean in zip("abc", (1.04, 0.92, 1.04), strict=True))
    )
    gained = [simulate(line, parts=20_000, seed=8, replicas=40).throughput for line in (bowl, even)]
    gain = gained[0] - gained[1]
    assert gain.mean() > 4 * gain.std() / math.sqrt(40)
