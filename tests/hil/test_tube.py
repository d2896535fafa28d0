"""Tubes agree with pyfunnel and with a slow oracle; differences and shifts are those that were put in."""

import contextlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyfunnel
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hil.judging.against import changes, mismatch
from hil.judging.tube import Series, Tolerance, band, best_shift, difference, fit
from twin.clock import MS, Ns, S

ROUNDING = 1e-9
"""pyfunnel reckons in seconds as floats, we in nanoseconds as integers: what is off by less is a matter of rounding."""

SPAN = 10 * S


@dataclass
class Pair:
    """A reference, a Signal somewhat like it, and a tolerance."""

    reference: Series
    found: Series
    tolerance: Tolerance


def pair(seed: int) -> Pair:
    """A random pair over ten seconds: walks, waves and steps, sampled anyhow, shifted and noisy up to about the tolerance."""
    random = np.random.default_rng(seed)
    points = int(random.integers(5, 200))
    times = np.concatenate(([0], np.sort(random.choice(np.arange(1, SPAN // MS), points - 2, replace=False)) * MS, [SPAN]))
    shape = random.integers(3)
    if shape == 0:
        values = np.cumsum(random.normal(size=points))
    elif shape == 1:
        values = np.sin(times / S * random.uniform(0.3, 3) + random.uniform(0, 6)) * random.uniform(0.5, 20)
    else:
        values = np.round(random.normal(size=points) * 3) / 2
    window = int(random.choice([0.001, 0.01, 0.05, 0.2, 0.6]) * S * random.uniform(0.5, 1.5))
    tolerance = Tolerance(random.uniform(0.05, 1), float(random.choice([0, 0.05])), Ns(window), Ns(window))
    own = np.unique(np.concatenate(([0], random.integers(1, SPAN, random.integers(5, 200)), [SPAN])))
    noise = random.uniform(-1, 1, len(own)) * tolerance.abs * random.uniform(0.3, 1.7)
    shifted = np.interp(own - random.uniform(-1.3, 1.3) * window, times, values)
    return Pair(Series(times.astype(np.int64), values), Series(own.astype(np.int64), shifted + noise), tolerance)


def excesses_by_pyfunnel(one: Pair, folder: Path) -> np.ndarray:
    """How far pyfunnel finds each point outside; 0 for inside."""
    columns = [column.tolist() for series in (one.reference, one.found) for column in (series.times / S, series.values)]
    tolerance = one.tolerance
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        failed = pyfunnel.compareAndReport(
            *columns, outputDirectory=str(folder), atolx=tolerance.lag / S, atoly=tolerance.abs, ltoly=tolerance.rel
        )
    assert not failed, told.getvalue()
    return np.loadtxt(folder / "errors.csv", delimiter=",", skiprows=1)[:, 1]


def agreement(seeds: range) -> tuple[int, int]:
    """How many pairs passed and how many were borderline; fails where a verdict or a point's excess differs."""
    passed = borderline = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            one = pair(seed)
            theirs = excesses_by_pyfunnel(one, Path(folder))
            tube = band(one.reference, one.tolerance, one.found.times, held=False)
            outside = np.maximum(tube.low - one.found.values, one.found.values - tube.high)
            assert np.abs(np.maximum(outside, 0) - theirs).max() < ROUNDING, f"seed {seed}"
            ours = fit(one.found, one.reference, one.tolerance, held=False)
            if abs(outside.max()) < ROUNDING:
                borderline += 1
                continue
            assert ours.passed == (theirs.max() == 0), f"seed {seed}"
            assert ours.outside == np.count_nonzero(theirs) or (np.abs(outside) < ROUNDING).any(), f"seed {seed}"
            passed += ours.passed
    return passed, borderline


def test_fifty_random_pairs_get_the_verdict_that_pyfunnel_gives() -> None:
    passed, borderline = agreement(range(50))
    assert 10 <= passed <= 40 and borderline <= 1


@pytest.mark.soak
def test_a_thousand_random_pairs_get_the_verdict_that_pyfunnel_gives() -> None:
    passed, borderline = agreement(range(1000, 2000))
    assert 300 <= passed <= 700 and borderline <= 10


def by_hand(pairs: list[tuple[int, float]], time: int, lead: int, lag: int, held: bool) -> tuple[float, float]:
    """Lowest and highest of a reference over [time − lag, time + lead], looked up one by one."""
    left, right = time - lag, time + lead
    pairs = sorted(dict(pairs).items()) if held else pairs  # what lasts no time is not held
    times, values = [at for at, _ in pairs], [value for _, value in pairs]
    if right < times[0]:
        return values[0], values[0]

    def at(when: int) -> float:
        if not held:
            return float(np.interp(when, times, values))
        return ([value for time, value in pairs if time <= when] or values[:1])[-1]

    inside = [value for time, value in pairs if left <= time <= right]
    edges = [at(min(max(edge, times[0]), times[-1])) for edge in ([left] if held else [left, right])]
    return min(inside + edges), max(inside + edges)


@st.composite
def references(draw: st.DrawFn) -> list[tuple[int, float]]:
    times = sorted(draw(st.lists(st.integers(0, 60), min_size=1, max_size=20)))
    return [(time, draw(st.integers(-8, 8)) / 2) for time in times]


@settings(max_examples=400, deadline=None)
@given(references(), st.lists(st.integers(-10, 70), min_size=1, max_size=30), st.integers(0, 25), st.integers(0, 25), st.booleans())
@example([(0, 0.0), (10, 5.0), (10, 1.0), (20, 1.0)], [12], 0, 2, False)  # the jump's upper end is just in the window
def test_a_tube_is_what_looking_up_every_point_of_the_window_gives(
    pairs: list[tuple[int, float]], queries: list[int], lead: int, lag: int, held: bool
) -> None:
    times = np.array(sorted(queries), np.int64)
    tube = band(Series.of((Ns(at), value) for at, value in pairs), Tolerance(0.25, 0.0, Ns(lead), Ns(lag)), times, held)
    for time, low, high in zip(times, tube.low, tube.high, strict=True):
        lowest, highest = by_hand(pairs, int(time), lead, lag, held)
        assert low == pytest.approx(lowest - 0.25, abs=1e-12) and high == pytest.approx(highest + 0.25, abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(references(), references(), st.integers(0, 12), st.integers(0, 12))
def test_held_signals_are_judged_at_every_moment_though_only_changes_are_looked_at(
    reference: list[tuple[int, float]], found: list[tuple[int, float]], lead: int, lag: int
) -> None:
    kept = fit(Series.of(_ns(found)), Series.of(_ns(reference)), Tolerance(1.0, 0.0, Ns(lead), Ns(lag)))
    start = max(reference[0][0], found[0][0])
    outside = []
    for time in range(start, 100):
        low, high = by_hand(reference, time, lead, lag, held=True)
        value = [value for at, value in found if at <= time][-1]
        if not low - 1 <= value <= high + 1:
            outside.append(time)
    assert kept.passed == (not outside)
    assert kept.first == (outside[0] if outside else None)


def _ns(pairs: list[tuple[int, float]]) -> list[tuple[Ns, float]]:
    return [(Ns(time), value) for time, value in pairs]


def test_a_relative_tolerance_is_a_share_of_the_reference_and_the_larger_of_both_counts() -> None:
    tube = band(Series.of([(Ns(0), 1.0), (Ns(10), -200.0)]), Tolerance(0.5, 0.1), np.array([0, 10], np.int64))
    assert tube.low.tolist() == [0.5, -220.0] and tube.high.tolist() == [1.5, -180.0]


def test_lead_lets_a_signal_be_early_and_lag_lets_it_be_late() -> None:
    step = [(Ns(0), 0.0), (Ns(100 * MS), 1.0)]
    early, late = [(Ns(0), 0.0), (Ns(80 * MS), 1.0)], [(Ns(0), 0.0), (Ns(120 * MS), 1.0)]
    for signal, tolerance, passes in (
        (early, Tolerance(lead=Ns(20 * MS)), True),
        (early, Tolerance(lead=Ns(19 * MS), lag=Ns(S)), False),
        (late, Tolerance(lag=Ns(20 * MS)), True),
        (late, Tolerance(lag=Ns(19 * MS), lead=Ns(S)), False),
    ):
        assert fit(Series.of(signal), Series.of(step), tolerance).passed == passes
    assert fit(Series.of(step), Series.of(step), Tolerance()).judged == len(step)


def test_what_is_no_number_is_never_inside() -> None:
    reference = Series.of([(Ns(0), 1.0), (Ns(10), 1.0)])
    assert not fit(Series.of([(Ns(0), 1.0), (Ns(5), float("nan"))]), reference, Tolerance(1e9)).passed
    with pytest.raises(ValueError, match="no number"):
        fit(reference, Series.of([(Ns(0), float("nan"))]), Tolerance(1e9))


@pytest.mark.parametrize("late_ms", [0, 40, -70])
def test_the_best_shift_is_the_one_that_was_put_in(late_ms: int) -> None:
    times = np.arange(0, 10_000, 10) * int(MS)
    wave = np.sin(times / S * 2) + np.sin(times / S * 5.3) / 2
    moved = np.interp(times - late_ms * MS, times, wave)
    found = best_shift(Series(times.astype(np.int64), moved), Series(times.astype(np.int64), wave), held=False)
    assert abs(found - late_ms * MS) <= 10 * MS


def test_the_difference_is_weighed_by_time_and_names_its_largest() -> None:
    reference, found = Series.of([(Ns(0), 0.0)]), Series.of([(Ns(0), 0.0), (Ns(90), 3.0), (Ns(100), 0.0)])
    largest, at, rms = difference(found, reference)
    assert (largest, at) == (3.0, 90) and rms == pytest.approx((9 * 10 / 100) ** 0.5)
    assert difference(found, reference, end=Ns(95)) == (3.0, 90, pytest.approx((9 * 5 / 95) ** 0.5))
    ramp = Series.of([(Ns(0), -1.0), (Ns(10), 1.0)])
    flat = Series.of([(Ns(0), 0.0), (Ns(10), 0.0)])
    assert difference(ramp, flat, held=False)[2] == pytest.approx((1 / 3) ** 0.5)


def test_a_sequence_must_take_the_same_values_in_the_same_order_each_in_its_time() -> None:
    wanted = [(Ns(0), "idle"), (Ns(100), "run"), (Ns(200), "idle")]
    assert mismatch([(Ns(0), "idle"), (Ns(95), "run"), (Ns(210), "idle")], wanted, Ns(5), Ns(10)) is None
    for came, at, word in (
        ([(Ns(0), "idle"), (Ns(94), "run"), (Ns(200), "idle")], 94, "early"),
        ([(Ns(0), "idle"), (Ns(100), "run"), (Ns(211), "idle")], 211, "late"),
        ([(Ns(0), "idle"), (Ns(100), "stop"), (Ns(200), "idle")], 100, "not 'run'"),
        ([(Ns(0), "idle"), (Ns(100), "run")], 200, "never came"),
        ([*wanted, (Ns(300), "run")], 300, "too many"),
    ):
        departs = mismatch(came, wanted, Ns(5), Ns(10))
        assert departs is not None and departs.at == at and word in departs.told
    assert changes([(Ns(0), 1), (Ns(5), 1), (Ns(9), 2)]) == [(0, 1), (9, 2)]


@pytest.mark.parametrize("name", ["abs", "rel", "lead", "lag"])
def test_a_tolerance_below_zero_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=-1"):
        Tolerance(**{name: -1})
