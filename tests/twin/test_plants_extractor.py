"""The extractor's plant against closed forms and a fine integration: shaft, motor, bearing, and when its readings change."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.clock import MS, Ns, S, ns
from twin.machine import make_params
from twin.machines.extractor import plant
from twin.machines.extractor.plant import Physics, State
from twin.machines.extractor.spec import Params

PARAMS = make_params(Params, {})  # 50 turns a second at full duty
RUN = {"run": 1, "speed": round(0.8 * 65_535)}
STOP = {"run": 0, "speed": 0}


def run(state: State, seconds: float, pins: dict[str, int] = RUN) -> State:
    return plant.step(state, PARAMS, pins, ns(seconds))[0]


def test_the_shaft_comes_to_its_set_point_with_its_time_constant_and_coasts_with_it() -> None:
    state = plant.start(PARAMS)
    for t in (0.5, 1.5, 4.0):
        assert run(state, t).speed == pytest.approx(40 * (1 - math.exp(-t / 1.5)), rel=1e-4)
    rolling = run(state, 60.0)
    assert run(rolling, 3.0, STOP).speed == pytest.approx(40 * math.exp(-2), rel=1e-4)


def test_current_and_pressure_follow_the_fans_law() -> None:
    def reading(state: State, pin: str) -> float:
        milliamperes = state.seen[pin] / 65_535 * 3.3 / 0.12
        return (milliamperes - 4) / 16

    slow = run(plant.start(PARAMS), 60.0, {"run": 1, "speed": 32_768})
    fast = run(plant.start(PARAMS), 60.0, {"run": 1, "speed": 65_535})
    assert reading(fast, "filter_pressure") == pytest.approx(4 * reading(slow, "filter_pressure"), rel=0.05)
    assert 5 * reading(fast, "current") - 0.4 == pytest.approx(4 * (5 * reading(slow, "current") - 0.4), rel=0.1)
    dirty = run(plant.start(PARAMS, Physics(dirt=1.0)), 60.0)
    clean = run(plant.start(PARAMS), 60.0)
    assert reading(dirty, "filter_pressure") > 3 * reading(clean, "filter_pressure")
    assert reading(dirty, "current") < reading(clean, "current"), "less air is less work"


@pytest.mark.parametrize("wear", [0.0, 0.7])
def test_the_bearing_warms_as_a_fine_integration_says(wear: float) -> None:
    physics = Physics(wear=wear, soak=60.0)
    state, speed, bearing, dt = plant.start(PARAMS, physics), 0.0, 22.0, 1e-3
    for _ in range(30_000):
        speed += (40.0 - speed) / 1.5 * dt
        bearing += (22.0 + (12.0 + 95.0 * wear**2) * speed / 50.0 - bearing) / 60.0 * dt
    assert run(state, 30.0).bearing == pytest.approx(bearing, abs=0.02)


@given(st.lists(st.tuples(st.integers(1, 3000), st.booleans()), min_size=1, max_size=12))
def test_many_small_steps_are_one_large_one(pieces: list[tuple[int, bool]]) -> None:
    physics = Physics(wear_rate=10.0, wear=0.3)
    state = whole = plant.start(PARAMS, physics)
    for ms, on in pieces:
        pins = RUN if on else STOP
        whole = plant.step(whole, PARAMS, pins, Ns(ms * MS))[0]
        for _ in range(5):
            state = plant.step(state, PARAMS, pins, Ns(ms * MS // 5))[0]
    for name in ("now", "speed", "bearing", "wear", "dirt"):
        assert getattr(state, name) == pytest.approx(getattr(whole, name), rel=1e-9)
    assert state.seen == whole.seen


def test_the_horizon_is_the_moment_at_which_a_reading_changes() -> None:
    state, pins = plant.start(PARAMS, Physics(wear=0.5, wear_rate=30.0)), RUN
    changes = 0
    for _ in range(60):
        limit = Ns(5 * S + 300 * MS)
        due = plant.horizon(state, PARAMS, pins, limit)
        assert plant.step(state, PARAMS, pins, Ns(due - 1))[0].seen == state.seen
        after = plant.step(state, PARAMS, pins, due)[0]
        assert due == limit or after.seen != state.seen
        changes += after.seen != state.seen
        state = after
    assert changes > 20
    for _ in range(30):  # a steady wear: only its warmth changes, and ever more slowly
        settled = dataclasses.replace(run(state, 40.0), physics=Physics())
        due = plant.horizon(settled, PARAMS, pins, Ns(100 * S))
        assert plant.step(settled, PARAMS, pins, Ns(due - 1))[0].seen == settled.seen
        state = plant.step(settled, PARAMS, pins, due)[0]
        assert due == 100 * S or state.seen != settled.seen
    warm = run(state, 5000.0)
    warm = dataclasses.replace(warm, physics=dataclasses.replace(warm.physics, wear_rate=0.0))
    assert plant.horizon(warm, PARAMS, pins, Ns(10 * S)) == 10 * S, "what has settled lets the node run alone"


def test_a_drive_that_bears_too_much_for_too_long_switches_itself_off() -> None:
    state = plant.start(PARAMS, Physics(load=8.0, trip_delay=3.0))
    assert not run(state, 3.0).tripped
    tripped = run(state, 8.0)
    assert tripped.tripped and tripped.seen["tripped"] == 1
    assert run(tripped, 20.0).speed < 0.01


def test_wear_comes_of_running_only() -> None:
    state = plant.start(PARAMS, Physics(wear_rate=1.0, dirt_rate=0.5))
    assert run(state, 3600.0, STOP).wear == 0.0
    worn = run(state, 3600.0)
    assert worn.wear == pytest.approx(0.8, rel=0.01) and worn.dirt == pytest.approx(0.4, rel=0.01)
