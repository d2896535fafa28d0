"""Random times: the generator against its definition in plain integers, the laws against their moments and distributions."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from twin.kernel import Floats
from twin.line import Cycles, Exponential, Failures, Fixed, Gamma, Law, Line, Lognormal, Station, Uniform, draws, simulate

PARTS = 200_000
STEP, MASK = 0x9E3779B97F4A7C15, 2**64 - 1


def drawn(station: Station, parts: int = PARTS, seed: int = 5, replica: int = 0) -> tuple[Floats, Floats]:
    """Times of the parts at a station, and the repairs in them."""
    times, down = np.empty((2, 1, 1, parts))
    draws.draw(Line((station,)).table(), seed, replica, times, down)
    return times[0, 0], down[0, 0]


def splitmix(word: int) -> int:
    """The output function, from Steele, Lea and Flood 2014."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
    return word ^ word >> 31


def test_the_generator_gives_the_published_numbers() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [int(draws.mixed(np.uint64(1234567 + STEP * n & MASK))) for n in range(1, 6)] == published


@given(seed=st.integers(0, 2**63 - 1), replica=st.integers(0, 10**6), part=st.integers(0, 500))
def test_a_time_depends_on_seed_replica_station_and_part_alone(seed: int, replica: int, part: int) -> None:
    word = splitmix(seed + STEP & MASK)
    word = splitmix(word + (replica + 1) * STEP & MASK)
    word = splitmix(word + (1 + 1) * STEP & MASK)
    word = splitmix(word + (part + 1) * STEP & MASK)
    share = ((word >> 12) + 0.5) / 2**52
    times, _ = drawn(Station("one", Uniform(0, 1)), part + 1, seed, replica)
    assert times[part] == share
    times, _ = drawn(Station("one", Exponential(3.0)), part + 1, seed, replica)
    assert times[part] == pytest.approx(-3.0 * math.log(share), rel=1e-14, abs=1e-15)


@given(st.one_of(st.floats(2**-53, 1, exclude_max=True), st.floats(1e-300, 1e300)))
def test_the_logarithm_is_as_good_as_the_librarys(x: float) -> None:
    assert draws.logarithm(x) == pytest.approx(math.log(x), rel=6e-16, abs=3e-16)


LAWS: list[tuple[Law, float, stats.rv_continuous]] = [
    (Exponential(30.0), 30.0, stats.expon(scale=30.0)),
    (Uniform(20.0, 50.0), 30 / math.sqrt(12), stats.uniform(20.0, 30.0)),
    (Gamma(30.0, 0.5), 15.0, stats.gamma(4.0, scale=7.5)),
    (Gamma(30.0, 1.6), 48.0, stats.gamma(1 / 1.6**2, scale=30 * 1.6**2)),
    (Lognormal(30.0, 0.4), 12.0, stats.lognorm(math.sqrt(math.log(1.16)), scale=30 / math.sqrt(1.16))),
]


@pytest.mark.parametrize(("law", "deviation", "truth"), LAWS)
def test_times_have_the_distribution_of_their_law(law: Law, deviation: float, truth: stats.rv_continuous) -> None:
    times, _ = drawn(Station("one", law))
    assert law.mean == pytest.approx(truth.mean())
    assert truth.std() == pytest.approx(deviation)
    assert stats.kstest(times[:50_000], truth.cdf).pvalue > 0.001
    assert abs(times.mean() - law.mean) < 4 * deviation / math.sqrt(PARTS)


def test_a_bernoulli_machine_needs_geometrically_many_cycles() -> None:
    cycles = drawn(Station("one", Cycles(2.0, 0.8)))[0] / 2.0
    found = np.bincount(cycles.astype(int), minlength=6)[1:6] / PARTS
    assert np.array_equal(cycles, np.round(cycles))
    assert found == pytest.approx([0.8 * 0.2**n for n in range(5)], abs=0.004)
    assert set(drawn(Station("one", Cycles(2.0, 1.0)))[0]) == {2.0}


def test_repairs_come_as_often_and_last_as_long_as_declared() -> None:
    station = Station("one", Fixed(50.0), loading=10.0, failures=Failures(between=300.0, repair=90.0))
    times, down = drawn(station)
    assert times == pytest.approx(60.0 + down)
    # A compound Poisson sum: rate 60 / 300, of exponentials.
    assert down.mean() == pytest.approx(0.2 * 90.0, abs=4 * math.sqrt(2 * 0.2) * 90 / math.sqrt(PARTS))
    assert down.var() == pytest.approx(0.2 * 2 * 90.0**2, rel=0.03)
    assert np.mean(down == 0) == pytest.approx(math.exp(-0.2), abs=0.004)
    assert station.mean == pytest.approx(78.0)


def test_no_repair_is_lost_of_a_part_that_takes_many_times_the_mean() -> None:
    """Half of the time lies in parts that are stopped more often than stops are drawn one by one."""
    times, down = drawn(Station("one", Gamma(10_000.0, 10.0), failures=Failures(between=20.0, repair=5.0)))
    work = times - down
    often = work > 1.5 * draws.MOST_STOPS * 20.0
    assert work[often].sum() > 0.5 * work.sum()
    assert down[often] == pytest.approx(work[often] * 5.0 / 20.0, rel=0.25)
    assert down.sum() == pytest.approx(work.sum() * 5.0 / 20.0, rel=0.002)


def test_repairs_depend_on_how_long_a_part_takes_and_on_nothing_else_of_its_time() -> None:
    times, down = drawn(Station("one", Lognormal(50.0, 0.8), failures=Failures(between=300.0, repair=90.0)))
    work = times - down
    for part in (work < 30, (work >= 30) & (work < 60), work >= 60):
        error = down[part].std() / math.sqrt(part.sum())
        assert abs(down[part].mean() - work[part].mean() / 300.0 * 90.0) < 4 * error


def test_seeds_replicas_and_stations_are_not_correlated() -> None:
    line = Line((Station("a", Exponential(1.0)), Station("b", Exponential(1.0))), (None,))
    rows = []
    for seed, replica in ((0, 0), (0, 1), (1, 0), (1, 1)):
        times, down = np.empty((2, 1, 2, 20_000))
        draws.draw(line.table(), seed, replica, times, down)
        rows += [*times[0], np.roll(times[0, 0], 1)]
    apart = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(apart).max() < 4.5 / math.sqrt(20_000)


def test_a_part_keeps_its_times_when_the_line_around_it_changes() -> None:
    line = Line(tuple(Station(name, Gamma(5.0, 0.7)) for name in "abc"), (2, 0))
    few = simulate(line, parts=50, seed=3, replicas=2, paths=True).paths
    wider = replace(line, buffers=(None, 4), arrivals=Exponential(6.0))
    many = simulate(wider, parts=80, seed=3, replicas=5, paths=True).paths
    assert few is not None and many is not None
    assert many.finish[:2, :, :50] - many.start[:2, :, :50] == pytest.approx(few.finish - few.start, rel=1e-9)
