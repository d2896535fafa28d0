"""Lines and questions that make no sense are refused with the thing, its value and the limit; forecasts of orders."""

from collections.abc import Callable

import numpy as np
import pytest

from twin.line import Cycles, Exponential, Failures, Fixed, Form, Gamma, Line, LineError, Lognormal, Station, Uniform, simulate

ONE, TWO = Station("saw", Fixed(10.0)), Station("drill", Fixed(20.0))
LINE = Line((ONE, TWO), (1,))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: Fixed(-1.0), "time=-1.0 must be finite and at least 0"),
        (lambda: Exponential(0.0), "mean=0.0 must be finite and above 0"),
        (lambda: Uniform(3.0, 2.0), "high=2.0 must be finite and at least 3"),
        (lambda: Gamma(1.0, 11.0), "variation=11.0 must be 0.01 to 10"),
        (lambda: Lognormal(float("nan"), 1.0), "mean=nan must be finite and above 0"),
        (lambda: Cycles(1.0, 1.5), "success=1.5 must be 1e-06 to 1"),
        (lambda: Failures(between=0.0, repair=1.0), "between=0.0 must be finite and above 0"),
        (lambda: Station("saw", Fixed(1.0), servers=0), "saw: servers=0 must be 1 to 1000"),
        (lambda: Station("saw", Fixed(1.0), loading=-2.0), "saw: loading=-2.0 must be finite and at least 0"),
        (lambda: Station("saw", Fixed(0.0)), "saw: mean time=0.0 must be above 0"),
        (
            lambda: Station("saw", Exponential(60.0), failures=Failures(between=0.1, repair=1.0)),
            "saw: failures during a part=600.0 must be at most 500",
        ),
        (lambda: Station("saw", Fixed(1.0), servers=1.5), "saw: servers=1.5 must be a whole number"),
        (lambda: Line((ONE, TWO), (1.5,)), "buffer before drill=1.5 must be a whole number"),
        (lambda: Line((ONE,), arrivals=Fixed(9.0), entry=True), "entry=True must be a whole number"),
        (lambda: Line(()), "stations=0 must be 1 to 1000"),
        (lambda: Line((ONE, ONE), (1,)), "station='saw' must be named once"),
        (lambda: Line((ONE, TWO)), "buffers=0 must be 1: one between each two stations"),
        (lambda: Line((ONE, TWO), (-1,)), "buffer before drill=-1 must be 0 to 1000000 or None"),
        (lambda: Line((ONE,), entry=3), "entry=3 must be None where no parts arrive"),
        (lambda: Line((ONE,), arrivals=Fixed(0.0)), "arrivals: mean time=0.0 must be above 0"),
        (lambda: simulate(LINE), "parts, until=(None, None) must be one number and one None"),
        (lambda: simulate(LINE, parts=0), "parts=0 must be at least 1"),
        (lambda: simulate(LINE, until=-3.0), "until=-3.0 must be finite and above 0"),
        (lambda: simulate(LINE, parts=2.5), "parts=2.5 must be a whole number"),
        (lambda: simulate(LINE, parts=True), "parts=True must be a whole number"),
        (lambda: simulate(LINE, parts=1, replicas=True), "replicas=True must be a whole number"),
        (lambda: simulate(LINE, parts=1, replicas=3.0), "replicas=3.0 must be a whole number"),
        (lambda: simulate(LINE, parts=1, seed=0.5), "seed=0.5 must be a whole number"),
        (lambda: simulate(LINE, parts=1, seed=False), "seed=False must be a whole number"),
        (lambda: simulate(LINE, parts=3).ready(1.5), "count=1.5 must be a whole number"),
        (lambda: simulate(LINE, parts=1, seed=-1), "seed=-1 must be 0 to 2^63 - 1"),
        (lambda: simulate(LINE, parts=1, replicas=0), "replicas=0 must be at least 1"),
        (lambda: simulate(LINE, parts=10**6, replicas=10**6), r"less: 1000000000000 numbers, at most 30000000"),
        (lambda: simulate(LINE, until=1e12), "less: 5e\\+10 parts would enter, at most 30000000 may"),
        (
            lambda: simulate(Line((Station("saw", Fixed(1.0), servers=2),)), parts=1, form=Form.RECURRENCE),
            "saw: servers=2 must be 1",
        ),
        (lambda: simulate(LINE, parts=3).ready(4), "count=4 must be 1 to 3"),
        (lambda: simulate(LINE, parts=3).quantiles(2, (1.5,)), "share=1.5 must be 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_value_and_limit(wrong: Callable[[], object], text: str) -> None:
    with pytest.raises(LineError, match=text.replace("(", r"\(").replace(")", r"\)").replace("^", r"\^")):
        wrong()


@pytest.mark.parametrize("form", Form)
def test_two_stations_by_hand(form: Form) -> None:
    """Saw 10 s, drill 20 s, one place between: the third part is sawn at 30 and blocked until the second is drilled at 50."""
    outcome = simulate(LINE, parts=4, form=form, paths=True)
    paths = outcome.paths
    assert paths is not None
    assert paths.start[0].tolist() == [[0, 10, 20, 30], [10, 30, 50, 70]]
    assert paths.finish[0].tolist() == [[10, 20, 30, 40], [30, 50, 70, 90]]
    assert paths.leave[0].tolist() == [[10, 20, 30, 50], [30, 50, 70, 90]]
    assert paths.arrive[0].tolist() == [[0, 10, 20, 30], [10, 20, 30, 50]]
    assert outcome.working[0] == pytest.approx([40 / 90, 80 / 90])
    assert outcome.blocked[0] == pytest.approx([10 / 90, 0])
    assert outcome.starved[0] == pytest.approx([40 / 90, 10 / 90])
    assert outcome.waiting[0] == pytest.approx([0, 50 / 4])
    assert outcome.queue[0] == pytest.approx([0, 50 / 90])
    assert outcome.throughput[0] == pytest.approx(4 / 90)
    assert outcome.passage[0] == pytest.approx((30 + 40 + 50 + 60) / 4)


@pytest.mark.parametrize("form", Form)
def test_what_lies_behind_the_end_of_a_shift_is_not_known(form: Form) -> None:
    outcome = simulate(LINE, until=35.0, form=form, paths=True)
    paths = outcome.paths
    assert paths is not None
    assert outcome.departures[0, :3].tolist() == [30, np.inf, np.inf]
    assert (outcome.entered[0], outcome.made[0], outcome.end[0]) == (4, 1, 35)
    assert paths.leave[0, 0, :4].tolist() == [10, 20, 30, np.inf]
    assert paths.finish[0, 0, :4].tolist() == [10, 20, 30, np.inf]
    assert outcome.working[0] == pytest.approx([1.0, 25 / 35])
    assert outcome.queue[0, 1] == pytest.approx((10 + 5) / 35)


def test_an_order_is_ready_by_the_time_that_a_share_of_the_replicas_needs() -> None:
    line = Line((Station("saw", Exponential(10.0), servers=2), TWO), (2,))
    outcome = simulate(line, until=400.0, seed=1, replicas=200)
    ready = outcome.ready(15)
    assert np.all(np.sum(outcome.departures <= ready[:, None], axis=1)[np.isfinite(ready)] == 15)
    early, middle, late = outcome.quantiles(15)
    assert early <= middle <= late < 400
    assert np.mean(ready <= middle) == pytest.approx(0.5, abs=0.01)
    assert np.mean(ready <= late) == pytest.approx(0.9, abs=0.01)
    assert outcome.quantiles(30)[2] == np.inf


def test_at_the_same_instant_the_first_server_and_the_station_nearer_to_the_exit_come_first() -> None:
    line = Line((Station("pair", Fixed(10.0), servers=2), Station("drill", Fixed(5.0))), (0,))
    paths = simulate(line, parts=4, paths=True).paths
    assert paths is not None
    # Parts 0 and 1 are finished together at 10, parts 2 and 3 begin as these leave, and part 2 is finished as 1 leaves.
    assert paths.start[0, 1].tolist() == [10, 15, 20, 25]
    assert paths.start[0, 0].tolist() == [0, 0, 10, 15]


def test_the_source_waits_where_the_entry_is_full() -> None:
    line = Line((TWO,), arrivals=Fixed(5.0), entry=1)
    outcome = simulate(line, parts=4, paths=True)
    assert outcome.paths is not None
    # The third comes at 15, gets in at 25, and the fourth comes 5 s after that.
    assert outcome.paths.arrive[0, 0].tolist() == [5, 10, 25, 45]
    assert outcome.passage[0] == pytest.approx(np.mean([25 - 5, 45 - 10, 65 - 15, 85 - 30]))
