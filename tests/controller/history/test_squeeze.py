"""What may be left out: the bound is checked in exact fractions, with a reading of the kept samples written anew here."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.history.kept import HistoryError, Kept, Rule
from controller.history.squeeze import Sequence, Squeeze

ANY = st.floats(width=64) | st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 1e300, -1e308, 5e-324, 1e15, 1e15 + 0.125])
NEAR = st.integers(-40, 40).map(lambda k: 20 + k / 16) | st.floats(19, 21)
BELIEFS = st.sampled_from([0, 0, 0, 0, 1, 6, 10, 3, 7])
ROWS = st.lists(st.tuples(st.integers(-3, 2000), NEAR | ANY, BELIEFS), min_size=1, max_size=60)
SMOOTH = st.lists(st.tuples(st.integers(1, 200), st.floats(-1, 1), st.just(0)), min_size=1, max_size=80)
BOUNDS = st.sampled_from([0.05, 1e-9, 3.0, 1e6])
RULES = st.sampled_from([Rule.LINE, Rule.HOLD])


def arrays(rows):
    times = np.cumsum([row[0] for row in rows]).astype(np.int64)
    values = np.array([0.0 if row[2] & 3 == 3 else row[1] for row in rows])
    return times, values.view(np.int64), np.array([row[2] for row in rows], np.int32)


def squeezed(kept, times, words, beliefs):
    door = Squeeze(kept)
    return door.take(times, words, beliefs).then(door.end()), door


def admitted(times):
    """Which samples are not earlier than the one admitted before."""
    latest, found = None, []
    for i, time in enumerate(times.tolist()):
        if latest is None or time >= latest:
            found.append(i)
            latest = time
    return found


def readings(kept, found, time):
    """All that the kept samples say of a time, as (value, belief): more than one where samples have the same time."""
    times, values = found.times.tolist(), found.words.view(np.float64).tolist()
    here = [i for i, t in enumerate(times) if t == time]
    if here:
        # The one before holds up to here as well.
        return [(values[i], int(found.beliefs[i])) for i in ([min(here) - 1] if min(here) else []) + here]
    i = max(i for i, t in enumerate(times) if t < time)
    value, belief = values[i], int(found.beliefs[i])
    line = kept.way is Rule.LINE and i + 1 < len(times) and found.beliefs[i + 1] == belief
    if line and np.isfinite(value) and np.isfinite(values[i + 1]):
        share = Fraction(time - times[i], times[i + 1] - times[i])
        value = Fraction(value) + (Fraction(values[i + 1]) - Fraction(value)) * share
    return [(value, belief)]


def within(told, value, belief, bound):
    found, of = told
    if of != belief:
        return False
    if belief & 3 == 3:
        return True
    if not math.isfinite(value) or not math.isfinite(found):
        return np.float64(found).tobytes() == np.float64(value).tobytes()
    return abs(Fraction(found) - Fraction(value)) <= Fraction(bound)


def holds(kept, rows):
    times, words, beliefs = arrays(rows)
    found, door = squeezed(kept, times, words, beliefs)
    assert (np.diff(found.times) >= 0).all()
    kept_rows = admitted(times)
    assert door.early == len(times) - len(kept_rows)
    for i in kept_rows:
        value, belief = float(words[i : i + 1].view(np.float64)[0]), int(beliefs[i])
        told = readings(kept, found, int(times[i]))
        assert any(within(one, value, belief, kept.bound) for one in told), (i, value, belief, told)


@given(rows=ROWS, bound=BOUNDS, rule=RULES)
def test_every_sample_is_within_the_bound_of_what_is_read(rows, bound, rule):
    holds(Kept("s", float, bound=bound, rule=rule), rows)


@given(rows=SMOOTH, bound=st.sampled_from([0.01, 0.3, 1.0]), rule=RULES, slope=st.floats(-0.01, 0.01))
@example(rows=[(1, 1.0, 0), (200, 0.0, 0), (1, -1.0, 0)], bound=0.3, rule=Rule.LINE, slope=0.0)
def test_ramps_with_noise_are_within_the_bound_too(rows, bound, rule, slope):
    ramp = np.cumsum([row[0] for row in rows]) * slope
    holds(Kept("s", float, bound=bound, rule=rule), [(t, v * 2 * bound + r, b) for (t, v, b), r in zip(rows, ramp, strict=True)])


@pytest.mark.parametrize("bound", [2e-7, 4e-7, 1e-6, 1e-5, 2e-5])
@pytest.mark.parametrize("rule", [Rule.LINE, Rule.HOLD])
def test_bounds_of_a_few_steps_of_floating_point_hold(bound, rule):
    rng = np.random.default_rng(5)
    noise = rng.uniform(-1, 1, 400) * bound
    rows = [(int(t), 1e9 + x, 0) for t, x in zip(rng.integers(1, 99, 400), noise, strict=True)]
    holds(Kept("s", float, bound=bound, rule=rule), rows)


def test_a_ramp_with_noise_below_the_bound_needs_two_samples():
    times = np.arange(1000) * 100_000
    noise = np.random.default_rng(1).uniform(-0.02, 0.02, 1000)
    found, _ = squeezed(Kept("s", float, bound=0.05), times, (20 + times * 1e-7 + noise).view(np.int64), np.zeros(1000, np.int32))
    assert found.times.tolist() == [0, 99_900_000]


@given(
    rows=ROWS, bound=BOUNDS, rule=st.sampled_from(list(Rule)), cuts=st.lists(st.integers(0, 60)), still=st.sampled_from([0, 500])
)
def test_portions_and_the_whole_keep_the_same(rows, bound, rule, cuts, still):
    kept = Kept("s", float, bound=bound, rule=rule, still_ns=still * 1000)
    times, words, beliefs = arrays(rows)
    whole, _ = squeezed(kept, times, words, beliefs)
    door = Squeeze(kept)
    ends = [0, *sorted(cut for cut in cuts if cut < len(times)), len(times)]
    parts = [door.take(times[a:b], words[a:b], beliefs[a:b]) for a, b in itertools.pairwise(ends)]
    found = parts[0]
    for part in [*parts[1:], door.end()]:
        found = found.then(part)
    for name in ("times", "words", "beliefs"):
        assert getattr(found, name).tolist() == getattr(whole, name).tolist()


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), BELIEFS), min_size=1, max_size=60))
def test_exactly_every_change_is_kept(rows):
    times = np.cumsum([row[0] for row in rows]).astype(np.int64)
    words, beliefs = np.array([row[1] for row in rows], np.int64), np.array([row[2] for row in rows], np.int32)
    found, _ = squeezed(Kept("s", int), times, words, beliefs)
    changes = [
        (t, w, b) for i, (t, w, b) in enumerate(zip(times.tolist(), words.tolist(), beliefs.tolist(), strict=True))
        if i == 0 or (w, b) != (words[i - 1], beliefs[i - 1])
    ]  # fmt: skip
    assert list(zip(found.times.tolist(), found.words.tolist(), found.beliefs.tolist(), strict=True)) == changes


def test_a_change_of_quality_is_kept_with_the_sample_before_it():
    times, values = np.arange(9) * 100, np.full(9, 20.0)
    beliefs = np.array([0, 0, 0, 5, 5, 5, 3, 0, 0], np.int32)
    found, _ = squeezed(Kept("s", float, bound=1.0), times, values.view(np.int64), beliefs)
    assert list(zip(found.times.tolist(), found.beliefs.tolist(), strict=True)) == [
        (0, 0), (200, 0), (300, 5), (500, 5), (600, 3), (700, 0), (800, 0)
    ]  # fmt: skip


def test_a_signal_that_was_silent_held_its_value_and_rose_only_then():
    times, values = np.array([0, 10_000_000]), np.array([1.0, 5.0])
    kept = Kept("s", float, bound=0.1, still_ns=100_000_000)
    found, _ = squeezed(kept, times, values.view(np.int64), np.zeros(2, np.int32))
    pairs = zip(found.times.tolist(), found.words.view(np.float64).tolist(), strict=True)
    assert list(pairs) == [(0, pytest.approx(1, abs=0.1)), (9_900_000, pytest.approx(1, abs=0.1)), (10_000_000, 5.0)]


def test_it_goes_on_after_what_is_kept_already():
    times = np.arange(2000, dtype=np.int64) * 1000
    values = np.sin(times * 1e-6 * 5)
    kept, none = Kept("s", float, bound=0.01), np.zeros(2000, np.int32)
    first, _ = squeezed(kept, times[:1000], values[:1000].view(np.int64), none[:1000])
    door = Squeeze(kept)
    door.after(first)
    found = first.then(door.take(times[1000:], values[1000:].view(np.int64), none[1000:])).then(door.end())
    assert abs(np.interp(times, found.times, found.words.view(np.float64)) - values).max() <= 0.01
    assert isinstance(found, Sequence) and len(found) < 100


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        ({"type": int, "bound": 0.5}, "s: int is kept exactly, a bound of 0.5 has no meaning"),
        ({"type": float, "bound": -1.0}, "s: a bound of -1.0 is not 0 or 1e-100 .. 1e+100"),
        ({"type": float, "bound": float("nan")}, "s: a bound of nan is not"),
        ({"type": float, "rule": Rule.LINE}, "s: the rule LINE needs a bound"),
        ({"type": bytes}, "s: History keeps float, int, bool and str, not bytes"),
    ],
)
def test_a_bound_that_is_none_is_refused(given_, why):
    with pytest.raises(HistoryError, match=why.replace("+", r"\+")):
        Kept("s", **given_)
