"""The belt against closed forms: travel, stopping distance, the instants at which its barriers change."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.clock import MS, Ns, S, ns
from twin.machine import make_params
from twin.machines.conveyor import plant
from twin.machines.conveyor.plant import Physics
from twin.machines.conveyor.spec import Params
from twin.plant import Part

PARAMS = make_params(Params, {})  # 1 m, 0.5 m/s at full duty, 0.5 m/s²
SPEED = 0.1
DUTY = round(SPEED / 0.5 * 65_535)
RUN = {"run": 1, "speed": DUTY}
STOP = {"run": 0, "speed": DUTY}
CUBE = Part(id="cube", filament_mm=1000.0, length=0.02)


def loaded(*parts: Part, physics: Physics | None = None) -> plant.State:
    state = plant.start(PARAMS, physics or Physics())
    for part in parts:
        put = plant.put(state, PARAMS, part)
        assert put is not None
        state = put
    return state


def run(state: plant.State, seconds: float, pins: dict[str, int] = RUN) -> plant.State:
    return plant.step(state, PARAMS, pins, ns(seconds))[0]


def test_a_belt_that_starts_travels_as_the_closed_form_says() -> None:
    state = plant.start(PARAMS)
    for tick in range(1, 101):
        state = run(state, 0.01)
        t = tick * 0.01
        ramp = SPEED / PARAMS.acceleration
        expected = PARAMS.acceleration * t * t / 2 if t <= ramp else SPEED * (t - ramp / 2)
        assert state.travel == pytest.approx(expected, rel=1e-4, abs=1e-9)
        assert state.speed == pytest.approx(min(PARAMS.acceleration * t, SPEED), rel=1e-4)


@pytest.mark.parametrize("friction", [0.2, 0.5, 2.0])
def test_a_belt_without_power_coasts_v_squared_over_2a(friction: float) -> None:
    rolling = run(plant.start(PARAMS, Physics(friction=friction)), 1.0)
    early = run(rolling, rolling.speed / friction * 0.99, STOP)
    still = run(rolling, 10.0, STOP)
    assert early.speed > 0.0
    assert still.speed == 0.0
    assert still.travel - rolling.travel == pytest.approx(rolling.speed**2 / 2 / friction)


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans()), min_size=1, max_size=20))
def test_many_small_steps_are_one_large_one(pieces: list[tuple[int, bool]]) -> None:
    state = whole = loaded(CUBE)
    for length, on in pieces:
        pins = RUN if on else STOP
        whole = plant.step(whole, PARAMS, pins, Ns(length * MS))[0]
        for _ in range(length // 7):
            state = plant.step(state, PARAMS, pins, Ns(7 * MS))[0]
        state = plant.step(state, PARAMS, pins, Ns(length % 7 * MS))[0]
    assert state.travel == pytest.approx(whole.travel, abs=1e-9)
    assert state.speed == pytest.approx(whole.speed, abs=1e-9)
    assert state.lying[0].front == pytest.approx(whole.lying[0].front, abs=1e-9)


def test_a_part_on_the_entry_reaches_the_exit_when_distance_over_speed_says() -> None:
    state = loaded(CUBE)
    assert plant.sensors(state, PARAMS) == {"at_entry": 1, "at_exit": 0, "tripped": 0}
    leaves = plant.horizon(state, PARAMS, RUN, Ns(60 * S))
    speed = 0.5 * DUTY / 65_535
    assert leaves / S == pytest.approx(math.sqrt(2 * 0.01 / 0.5), abs=2e-6), "its last centimetre, while the belt starts"
    gone, seen = plant.step(state, PARAMS, RUN, leaves)
    assert seen["at_entry"] == 0
    arrives = plant.horizon(gone, PARAMS, RUN, Ns(60 * S))
    way, ramp = 0.97 - 0.04, speed / 0.5
    assert (leaves + arrives) / S == pytest.approx(way / speed + ramp / 2, abs=3e-6)
    there, seen = plant.step(gone, PARAMS, RUN, arrives)
    assert seen["at_exit"] == 1
    assert plant.offer(there, PARAMS) is None, "the belt still moves"
    at_rest = run(there, 1.0, STOP)
    assert plant.offer(at_rest, PARAMS) == CUBE
    assert at_rest.lying[0].front == pytest.approx(0.97 + speed**2 / 2 / 0.5, abs=1e-6)
    empty = plant.take(at_rest, PARAMS)
    assert plant.sensors(empty, PARAMS)["at_exit"] == 0


@given(st.floats(0, 0.5), st.booleans(), st.integers(1, 65_535), st.floats(0.025, 0.96), st.floats(0.005, 0.2))
def test_nothing_changes_before_the_horizon_and_something_at_it(
    speed: float, on: bool, duty: int, front: float, length: float
) -> None:
    part = Part(id="p", length=length)
    state = plant.State(Ns(0), speed, 0.0, (plant.Lying(part, front),), 0.0, False, Physics())
    pins = {"run": int(on), "speed": duty}
    limit = Ns(30 * S)
    edge = plant.horizon(state, PARAMS, pins, limit)
    before = plant.sensors(state, PARAMS)
    early = plant.step(state, PARAMS, pins, Ns(max(0, edge - 2_000)))[1]
    assert early == before
    after = plant.step(state, PARAMS, pins, edge)[1]
    assert (after != before) == (edge < limit)


def test_a_part_stays_at_the_end_stop_and_the_next_one_behind_it() -> None:
    first = run(loaded(CUBE), 3.0)
    second = plant.put(first, PARAMS, Part(id="next", length=0.05))
    assert second is not None
    state = run(second, 100.0)
    assert [lying.front for lying in state.lying] == pytest.approx([0.98, 0.96])
    assert plant.sensors(state, PARAMS)["at_exit"] == 1
    assert plant.horizon(state, PARAMS, RUN, Ns(S)) == S, "a belt that slips under its parts changes nothing"


def test_a_part_cannot_be_put_where_another_one_lies() -> None:
    assert plant.put(loaded(CUBE), PARAMS, Part(id="next")) is None
    assert plant.put(run(loaded(CUBE), 1.0), PARAMS, Part(id="next")) is not None


def test_an_overload_trips_the_drive_after_its_delay_and_the_belt_coasts() -> None:
    heavy = loaded(CUBE, physics=Physics(extra_load=PARAMS.max_load, trip_delay=0.3))
    assert plant.horizon(heavy, PARAMS, STOP, Ns(S)) == S, "a drive that is off bears anything"
    moving, seen = plant.step(heavy, PARAMS, RUN, ns(0.25))
    assert seen["tripped"] == 0 and moving.speed > 0
    assert plant.horizon(moving, PARAMS, RUN, Ns(S)) == ns(0.05)
    tripped, seen = plant.step(moving, PARAMS, RUN, ns(0.05))
    assert seen["tripped"] == 1
    assert run(tripped, 1.0).speed == 0.0, "a tripped drive does not run, whatever its pin says"
    cured = plant.take(plant.reset(tripped), PARAMS)
    assert cured.tripped is False


def test_an_overload_that_passes_in_time_trips_nothing() -> None:
    heavy = loaded(CUBE, physics=Physics(extra_load=PARAMS.max_load, trip_delay=0.3))
    state = heavy
    for _ in range(5):
        state = run(run(state, 0.2), 0.2, STOP)
    assert not state.tripped


def test_a_single_step_trips_as_many_small_ones_do() -> None:
    heavy = loaded(CUBE, physics=Physics(extra_load=100.0))
    whole = run(heavy, 5.0)
    state = heavy
    for _ in range(500):
        state = run(state, 0.01)
    assert whole.tripped and state.tripped
    assert whole.travel == pytest.approx(state.travel, abs=1e-9)
