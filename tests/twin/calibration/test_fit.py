"""Our least squares against SciPy's, and what it says of data that cannot tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.calibration.fit import Unexcited, fit

scipy = pytest.importorskip("scipy.optimize")
TIME = np.linspace(0.0, 5.0, 60)


def decay(values: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return values[0] * np.exp(-TIME / values[1]) + values[2] - noise


@given(st.floats(1, 9), st.floats(0.3, 3), st.floats(-2, 2), st.integers(0, 99))
def test_it_finds_what_scipy_finds(height: float, lag: float, floor: float, seed: int) -> None:
    data = decay(np.array([height, lag, floor]), np.zeros(1)) + 0.02 * np.random.default_rng(seed).normal(size=len(TIME))
    start, low, high = [3.0, 1.0, 0.0], [0.01, 0.05, -9.0], [99.0, 99.0, 9.0]
    ours = fit(lambda values: decay(values, data) / 0.02, start, [1.0, 1.0, 1.0], low, high)
    theirs = scipy.least_squares(lambda values: decay(values, data) / 0.02, start, bounds=(low, high))
    assert ours.after == pytest.approx(np.sqrt(np.mean(theirs.fun**2)), rel=1e-4)
    assert ours.values == pytest.approx(theirs.x, rel=2e-3, abs=2e-3)
    plain = np.sqrt(np.diag(np.linalg.inv(theirs.jac.T @ theirs.jac)) * (theirs.fun @ theirs.fun) / (len(TIME) - 3))
    assert np.all(ours.errors >= plain * 0.98) and np.all(ours.errors <= plain * 2.5)


def test_two_parameters_that_only_their_sum_is_told_of_are_named_both() -> None:
    with pytest.raises(Unexcited) as dark:
        fit(lambda v: (v[0] + v[1]) * TIME + v[2] - TIME, [0.2, 0.2, 0.0], [1, 1, 1], [-9] * 3, [9] * 3)
    assert dark.value.which == (0, 1) and dark.value.condition > 1e5


def test_a_parameter_without_any_effect_is_named_alone() -> None:
    with pytest.raises(Unexcited) as dark:
        fit(lambda v: v[0] * TIME - TIME, [0.2, 0.2], [1, 1], [-9] * 2, [9] * 2)
    assert dark.value.which == (1,)


def test_fewer_data_than_parameters_are_refused() -> None:
    with pytest.raises(Unexcited):
        fit(lambda v: v[:1], [0.2, 0.2], [1, 1], [-9] * 2, [9] * 2)


def test_it_ends_at_a_limit_and_not_beyond() -> None:
    found = fit(lambda v: v[0] * TIME - 5.0 * TIME, [1.0], [1.0], [0.0], [2.0])
    assert found.values[0] == 2.0


def test_a_parameter_whose_effect_ends_on_the_way_is_named_and_breaks_nothing() -> None:
    """Past 1.5 the second has no effect at all any more, so that the normal equations are singular."""
    with pytest.raises(Unexcited) as dark:
        fit(lambda v: v[0] * TIME + (v[1] if v[0] < 1.5 else 0.0) - 5.0 * TIME, [1.0, 0.0], [1, 1], [-9] * 2, [9] * 2)
    assert dark.value.which == (1,)


def test_misfits_that_a_small_change_makes_endless_are_named() -> None:
    with pytest.raises(Unexcited) as dark:
        fit(lambda v: np.full(9, 1.0 if v[0] == 1.0 else np.inf) * v[1], [1.0, 1.0], [1, 1], [-9] * 2, [9] * 2)
    assert dark.value.which == (0,) and np.isnan(dark.value.condition)
