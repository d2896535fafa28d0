"""The printer's mechanics and step stream against closed forms and a slow, plain reference."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.clock import Ns
from twin.machine import make_params
from twin.machines.printer import plant
from twin.machines.printer.plant import FRAME, Physics
from twin.machines.printer.spec import Params

PARAMS = make_params(Params, {})
PER_MM = (80, 80, 400, 96)


def step_bit(axis: int, plus: bool) -> int:
    return 1 << 2 * axis | (2 << 2 * axis if plus else 0)


def train(frames: list[int], length: int, axis: int, plus: bool = True) -> np.ndarray:
    """A stream with one step of an axis in each of the named frames."""
    words = np.zeros(length, np.uint32)
    words[frames] |= step_bit(axis, plus)
    return words


def play(state: plant.State, words: np.ndarray, motors: int = 1) -> plant.State:
    return plant.step(state, PARAMS, {"motors": motors, "frames": words}, Ns(len(words) * FRAME))[0]


def at(x: float = 60.0, y: float = 40.0, z: float = 20.0, **physics: float) -> plant.State:
    return plant.start(PARAMS, Physics(start_position_mm=(x, y, z), **physics))  # type: ignore[arg-type]


def plain(words: list[int], start: list[int], low: list[int], high: list[int]) -> tuple[list[int], list[int]]:
    """The meaning of a step stream, as the contract says it: (positions, lost steps)."""
    position, lost, before = list(start), [0] * 4, 0
    for word in words:
        for axis in range(4):
            if word >> 2 * axis & 1 and not before >> 2 * axis & 1:
                to = position[axis] + (1 if word >> 2 * axis + 1 & 1 else -1)
                if low[axis] <= to <= high[axis]:
                    position[axis] = to
                else:
                    lost[axis] += 1
        before = word
    return position, lost


@given(
    st.lists(st.integers(0, 0xFF), max_size=300),
    st.lists(st.integers(0, 300), max_size=4),
    st.integers(-60, 20),
)
def test_the_decoder_does_what_a_plain_reference_does_however_the_stream_is_cut(
    words: list[int], cuts: list[int], start: int
) -> None:
    state = at(x=start / 80)
    state.bounds[plant.INTERVAL] = 0
    expected = plain(words, [start, 3200, 8000, 0], [-80, -80, -400, -(1 << 62)], [17760, 17760, 100_800, 1 << 62])
    stream = np.array(words, np.uint32)
    for piece in np.split(stream, sorted(min(c, len(words)) for c in cuts)):
        state = play(state, piece)
    assert (state.position.tolist(), state.lost.tolist()) == expected


def test_a_trapezoid_move_is_where_the_closed_form_says_at_every_frame() -> None:
    speed, acceleration, distance = 100.0, 3000.0, 12.0  # mm/s, mm/s², mm
    ramp = speed / acceleration
    total = distance / speed + ramp
    t = np.arange(1, int(total / 1e-5) + 3) * 1e-5
    left = np.clip(total - t, 0, None)
    travelled = np.where(
        t < ramp,
        acceleration * t**2 / 2,
        np.where(left < ramp, distance - acceleration * left**2 / 2, speed * (t - ramp / 2)),
    )
    steps = np.floor(travelled * 80 + 1e-9).astype(np.int64)
    words = np.zeros(len(t), np.uint32)
    words[np.flatnonzero(np.diff(steps, prepend=0))] |= step_bit(0, True)
    state = at()
    begin = state.position_mm[0]
    for i, word in enumerate(words):
        state = play(state, np.array([word], np.uint32))
        assert abs(state.position_mm[0] - begin - travelled[i]) <= 1 / 80 + 1e-9
    assert state.position_mm[0] - begin == pytest.approx(distance)
    assert state.lost.tolist() == [0, 0, 0, 0]
    assert state.fastest[0] == pytest.approx(1e5 / 12)  # 8000 steps/s: 12 or 13 frames apart
    assert state.busiest[0] == pytest.approx(8000, abs=100)


def test_two_steps_10_ms_apart_are_never_in_one_stretch() -> None:
    assert play(at(), train([0, 1000, 2000], 3000, axis=0)).busiest[0] == 100.0
    assert play(at(), train([0, 999, 2000], 3000, axis=0)).busiest[0] == 200.0


def test_a_level_that_stays_high_between_two_calls_is_one_step() -> None:
    high = np.array([step_bit(0, True)], np.uint32)
    state = play(play(at(), high), high)
    assert state.position[0] == 4801


def test_steps_without_power_move_nothing_and_are_counted() -> None:
    words = train(list(range(0, 100, 4)), 100, axis=1)
    after = play(at(), words, motors=0)
    assert after.position.tolist() == [4800, 3200, 8000, 0]
    assert after.lost[1] == 25
    assert not after.motors


def test_an_empty_stream_leaves_the_motors_their_power() -> None:
    running = play(at(), np.zeros(100, np.uint32))
    assert running.motors
    assert plant.step(running, PARAMS, {"motors": 1}, Ns(1_000_000))[0].motors
    assert not plant.step(running, PARAMS, {}, Ns(1_000_000))[0].motors


def test_a_carriage_stops_at_the_hard_stop_behind_its_switch() -> None:
    state = play(at(x=1.0, hard_stop_mm=0.5), train(list(range(0, 1000, 2)), 1000, axis=0, plus=False))
    assert state.position[0] == -40
    assert state.lost[0] == 500 - 80 - 40


def test_a_carriage_stops_beyond_the_far_end() -> None:
    state = play(at(y=220.0, overtravel_mm=2.0), train(list(range(0, 1000, 2)), 1000, axis=1))
    assert state.position_mm[1] == 222.0
    assert state.lost[1] == 500 - 160


def test_a_motor_stalls_above_its_step_rate() -> None:
    slow = plant.start(PARAMS, Physics(max_step_rate=(10_000.0,) * 4))
    fine = play(slow, train(list(range(0, 1000, 10)), 1000, axis=0))
    stalled = play(slow, train(list(range(0, 1000, 5)), 1000, axis=0))
    assert fine.lost[0] == 0 and fine.position[0] == 4900
    assert stalled.position[0] == 4801, "the first pulse comes after a rest, all others too soon"
    assert stalled.lost[0] == 199


def test_the_fastest_and_the_busiest_stretch_are_remembered() -> None:
    state = play(at(), train([0, 3, *range(700, 1300, 10), *range(2500, 3900, 20)], 4000, axis=2))
    assert state.fastest[2] == pytest.approx(1e5 / 3)
    assert state.busiest[2] == 6000.0, "sixty steps from 700 to 1290, fifty in any 10 ms later on"
    assert state.busiest[0] == 0.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_horizon_is_the_frame_that_presses_the_switch(axis: int) -> None:
    near = [60.0, 40.0, 20.0]
    near[axis] = 10 / PER_MM[axis]
    state = at(*near)
    words = train(list(range(7, 2000, 13)), 2000, axis, plus=False)
    limit = Ns(len(words) * FRAME)
    edge = plant.horizon(state, PARAMS, {"motors": 1, "frames": words}, limit)
    assert edge == (7 + 9 * 13 + 1) * FRAME, "ten steps bring it to 0"
    frames = edge // FRAME
    name = plant.SWITCHES[axis]
    before, seen = plant.step(state, PARAMS, {"motors": 1, "frames": words[: frames - 1]}, Ns(edge - FRAME))
    assert seen[name] == 0
    after, seen = plant.step(before, PARAMS, {"motors": 1, "frames": words[frames - 1 : frames]}, Ns(FRAME))
    assert seen[name] == 1
    assert after.position[axis] == 0
    assert plant.horizon(state, PARAMS, {"motors": 1, "frames": words}, Ns(edge - FRAME)) == edge - FRAME


@pytest.mark.parametrize("steps", [31, 32, 33])
def test_a_switch_that_the_last_word_of_a_stream_reaches_is_not_overlooked(steps: int) -> None:
    words = train(list(range(1, 64, 2)), 64, axis=0, plus=False)
    edge = plant.horizon(at(x=steps / 80), PARAMS, {"motors": 1, "frames": words}, Ns(64 * FRAME + 1))
    assert edge == {31: 62 * FRAME, 32: 64 * FRAME, 33: 64 * FRAME + 1}[steps]


def test_a_switch_opens_a_hysteresis_away_from_where_it_closed() -> None:
    state = play(at(x=0.0), np.zeros(1, np.uint32))
    words = train(list(range(0, 100, 10)), 100, axis=0)
    assert plant.sensors(state)["x_endstop"] == 1
    edge = plant.horizon(state, PARAMS, {"motors": 1, "frames": words}, Ns(100 * FRAME))
    assert edge == 31 * FRAME, "0.05 mm are four steps"
    assert plant.sensors(play(state, words))["x_endstop"] == 0


def test_no_switch_nearby_is_no_horizon() -> None:
    words = train(list(range(0, 1000, 2)), 1000, axis=0, plus=False)
    assert plant.horizon(at(), PARAMS, {"motors": 1, "frames": words}, Ns(20_000_000)) == 20_000_000
    assert plant.horizon(at(), PARAMS, {}, Ns(20_000_000)) == 20_000_000


@given(st.integers(1, 400), st.lists(st.integers(0, 0x1FF), min_size=1, max_size=400))
def test_nothing_changes_before_the_horizon_and_something_at_it(start: int, words: list[int]) -> None:
    state = at(x=start / 80 / 8, y=start / 80 / 16, z=start / 400 / 8)
    stream = np.array(words, np.uint32)
    limit = Ns(len(words) * FRAME)
    edge = plant.horizon(state, PARAMS, {"motors": 1, "frames": stream}, limit)
    seen = [plant.sensors(play(state, stream[:n])) for n in range(len(words) + 1)]
    switches = [tuple(s[name] for name in plant.SWITCHES) for s in seen]
    changes = [n for n in range(1, len(words) + 1) if switches[n] != switches[n - 1]]
    assert edge == (changes[0] * FRAME if changes else limit)


def test_filament_is_fed_by_the_extruder_and_comes_to_an_end() -> None:
    state = plant.start(PARAMS, Physics(spool_mm=2.0))
    words = train(list(range(0, 800, 4)), 800, axis=3)
    once, seen = plant.step(state, PARAMS, {"motors": 1, "frames": words[:400]}, Ns(4_000_000))
    assert once.fed_mm == pytest.approx(100 / 96)
    assert seen["filament"] == 1
    twice, seen = plant.step(once, PARAMS, {"motors": 1, "frames": words[400:]}, Ns(4_000_000))
    assert twice.fed_mm == 2.0
    assert seen["filament"] == 0
    back = play(once, train(list(range(0, 40, 4)), 40, axis=3, plus=False))
    assert back.fed_mm == pytest.approx(90 / 96)


def test_a_part_is_offered_when_the_printer_has_let_go_of_it() -> None:
    fed, _ = plant.step(at(), PARAMS, {"motors": 1, "frames": train([0, 4], 8, axis=3), "hotend_heater": 9}, Ns(80_000))
    assert plant.offer(fed, PARAMS) is None, "motors on, hotend heated"
    cooling, _ = plant.step(fed, PARAMS, {"motors": 1}, Ns(FRAME))
    assert plant.offer(cooling, PARAMS) is None, "motors on"
    done, _ = plant.step(cooling, PARAMS, {}, Ns(FRAME))
    part = plant.offer(done, PARAMS)
    assert part is not None and part.filament_mm == pytest.approx(2 / 96)
    assert plant.offer(plant.take(done, PARAMS), PARAMS) is None


def test_a_stream_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3 words .* do not fit into 20000 ns"):
        plant.step(at(), PARAMS, {"motors": 1, "frames": np.zeros(3, np.uint32)}, Ns(2 * FRAME))


def test_a_step_leaves_the_state_it_started_from_as_it_was() -> None:
    state = at()
    before = (state.track.copy(), state.recent.copy(), state.heat.copy())
    plant.step(state, PARAMS, {"motors": 1, "frames": train([1, 5], 9, axis=0), "hotend_heater": 65_535}, Ns(90_000))
    assert all(np.array_equal(a, b) for a, b in zip(before, (state.track, state.recent, state.heat), strict=True))


def test_the_default_axes_are_the_planner_s() -> None:
    assert at().steps_per_mm == pytest.approx(PER_MM)
    assert dataclasses.astuple(Physics())[0] == 22.0 and math.isfinite(at().hotend)


def laid(state: plant.State, way_mm: float, axis: int, fed_mm: float = 1.0) -> plant.State:
    """The printer after a move of one axis; filament is fed all along it."""
    steps, feeds = round(abs(way_mm) * PER_MM[axis]), round(fed_mm * PER_MM[plant.E])
    words = train([3 * i for i in range(steps)], 3 * steps, axis, way_mm > 0)
    if fed_mm > 0:
        words |= train([3 * (i * steps // feeds) for i in range(feeds)], 3 * steps, plant.E)
    return play(state, words)


def test_a_parts_outline_is_where_filament_was_laid_slab_by_slab_and_half_a_line_around_it() -> None:
    state = at(x=60.0, y=40.0, z=0.3, max_step_rate=(1e6,) * 4)  # type: ignore[arg-type]
    state = laid(laid(state, 10.0, plant.X), 5.0, plant.Y)  # a base of 10 by 5 mm
    state = laid(laid(laid(state, -4.0, plant.X, 0.0), 4.0, plant.Z, 0.0), -2.0, plant.X)  # 4.3 mm up, from 66 to 64 mm
    part = plant.offer(play(state, np.zeros(1, np.uint32), motors=0), PARAMS)
    assert part is not None
    base, between, top = (np.array(slab) * 1e3 for slab in part.outline)
    off = 2 * 4 / 80  # filament comes every few steps of the way, so its ends may be some steps short
    assert base == pytest.approx([60 - 0.225, 70.225, 40 - 0.225, 45.225], abs=off)
    assert (between == base).all(), "nothing was laid there: it is as wide as what it stands on"
    assert top == pytest.approx([64 - 0.225, 66.225, 45 - 0.225, 45.225], abs=off)
    assert part.length == pytest.approx(base[1] / 1e3 - base[0] / 1e3)
    assert plant.offer(plant.take(play(state, np.zeros(1, np.uint32), motors=0), PARAMS), PARAMS) is None
    assert plant.take(state, PARAMS).laid[0, 1] < 0 < state.laid[0, 1]


@pytest.mark.parametrize(("celsius", "sticks"), [(25.0, False), (39.9, False), (40.1, True), (80.0, True)])
def test_a_part_sticks_to_a_plate_above_40_degrees(celsius: float, sticks: bool) -> None:
    state = at()
    heat = state.heat.copy()
    heat[1] = celsius
    assert plant.sticks(dataclasses.replace(state, heat=heat), PARAMS) is sticks
