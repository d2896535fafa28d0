"""The printer's heaters against the analytic solution of two linear states, a matrix exponential and the energy balance."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.clock import Ns, ns
from twin.machine import make_params
from twin.machines.printer import plant
from twin.machines.printer.plant import BED, HOTEND, Physics, Thermal
from twin.machines.printer.spec import Params
from twin.thermistor import EPCOS_100K

PARAMS = make_params(Params, {})
FULL = 65_535


def run(state: plant.State, seconds: float, **pins: object) -> plant.State:
    return plant.step(state, PARAMS, {"motors": 1, **pins}, ns(seconds))[0]


def exponential(matrix: np.ndarray) -> np.ndarray:
    """e to a matrix: Taylor's series of a small one, squared again and again."""
    small, total, term = matrix / 2**20, np.eye(len(matrix)), np.eye(len(matrix))
    for k in range(1, 12):
        term = term @ small / k
        total = total + term
    for _ in range(20):
        total = total @ total
    return total


def reference(heater: Thermal, start: tuple[float, float], duty: float, fan: float, melt: float, seconds: float) -> np.ndarray:
    """(block, sensor) by the matrix exponential of the augmented system; melt is W/K."""
    loss = heater.loss * (1 + heater.fan_effect * fan) + melt
    drive = (heater.power * duty + loss * 22.0) / heater.capacity
    a = np.array([[-loss / heater.capacity, 0, drive], [1 / heater.lag, -1 / heater.lag, 0], [0, 0, 0]])
    return (exponential(a * seconds) @ np.array([*start, 1.0]))[:2]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 500), st.floats(20, 300), st.floats(20, 300))
def test_any_step_is_that_of_the_matrix_exponential(
    duty: float, fan: float, seconds: float, block: float, sensor: float
) -> None:
    state = plant.start(PARAMS)
    state.heat[:] = [[block, sensor], [block, sensor]]
    duty, fan, seconds = round(duty * FULL) / FULL, round(fan * FULL) / FULL, ns(seconds) / 1e9
    pins = {"hotend_heater": round(duty * FULL), "bed_heater": round(duty * FULL), "fan": round(fan * FULL)}
    after = run(state, seconds, **pins)
    for row, heater in ((0, HOTEND), (1, BED)):
        expected = reference(heater, (block, sensor), duty, fan, 0.0, seconds)
        assert after.heat[row] == pytest.approx(expected, abs=1e-6)


def test_the_step_response_is_the_closed_form_of_a_first_order_block_and_sensor() -> None:
    state = plant.start(PARAMS)
    slow, lag, gain = HOTEND.capacity / HOTEND.loss, HOTEND.lag, HOTEND.power / HOTEND.loss
    for tick in range(1, 1201):
        state = run(state, 0.1, hotend_heater=FULL)
        t = tick * 0.1
        block = 22 + gain * (1 - math.exp(-t / slow))
        sensor = 22 + gain * (1 - (slow * math.exp(-t / slow) - lag * math.exp(-t / lag)) / (slow - lag))
        assert state.heat[0] == pytest.approx([block, sensor], abs=1e-6)


@given(st.lists(st.integers(1, 40_000_000), min_size=2, max_size=30))
def test_many_small_steps_are_one_large_one(pieces: list[int]) -> None:
    pins = {"hotend_heater": 30_000, "bed_heater": 50_000, "fan": 20_000}
    state = plant.start(PARAMS)
    for piece in pieces:
        state, _ = plant.step(state, PARAMS, pins, Ns(piece))
    whole, _ = plant.step(plant.start(PARAMS), PARAMS, pins, Ns(sum(pieces)))
    assert state.heat == pytest.approx(whole.heat, abs=1e-7)


@pytest.mark.parametrize(("duty", "fan"), [(0.0, 0.0), (0.25, 0.0), (0.4, 1.0), (1.0, 0.5)])
def test_in_the_long_run_power_is_loss(duty: float, fan: float) -> None:
    state = run(plant.start(PARAMS), 36_000, hotend_heater=round(duty * FULL), fan=round(fan * FULL))
    loss = HOTEND.loss * (1 + HOTEND.fan_effect * round(fan * FULL) / FULL) * (state.hotend - 22)
    assert loss == pytest.approx(HOTEND.power * round(duty * FULL) / FULL, abs=1e-6)
    assert state.heat[0, 1] == pytest.approx(state.hotend)


def test_energy_is_neither_made_nor_lost() -> None:
    state, melted, lost = plant.start(PARAMS), 0.0, 0.0
    words = np.zeros(1000, np.uint32)
    words[::100] = 0x1C0  # ten E steps in 10 ms: 1000 steps/s, 25 mm³/s
    volume = math.pi / 4 * 1.75**2 / 96  # mm³ a step
    for _ in range(3000):
        before = state.hotend
        state = run(state, 0.01, hotend_heater=FULL, fan=FULL, frames=words)
        mean = (before + state.hotend) / 2 - 22
        melted += 10 * volume * 2.33e-3 * mean
        lost += HOTEND.loss * (1 + HOTEND.fan_effect) * mean * 0.01
    stored = HOTEND.capacity * (state.hotend - 22)
    assert stored + lost + melted == pytest.approx(HOTEND.power * 30, rel=1e-6)
    assert melted > 50


def test_filament_that_goes_to_and_fro_is_melted_once() -> None:
    forth = np.zeros(100, np.uint32)
    back = forth.copy()
    forth[::4] |= 0xC0
    back[::4] |= 0x40
    hot = plant.start(PARAMS)
    hot.heat[0] = 200.0
    once = run(hot, 0.001, frames=forth)
    again = run(run(once, 0.001, frames=back), 0.001, frames=forth)
    idle = run(run(once, 0.001), 0.001)
    assert once.hotend < run(hot, 0.001).hotend
    assert again.hotend == idle.hotend


def test_a_cold_printer_stays_at_the_temperature_of_the_room() -> None:
    state = run(plant.start(PARAMS, Physics(ambient=17.0)), 1000.0)
    assert state.heat == pytest.approx(np.full((2, 2), 17.0))


def test_sensors_show_the_sensor_s_temperature_through_the_thermistor() -> None:
    state, seen = plant.step(plant.start(PARAMS), PARAMS, {"hotend_heater": FULL}, ns(30))
    assert EPCOS_100K.temperature(EPCOS_100K.seen(seen["hotend_sensor"])) == pytest.approx(state.heat[0, 1], abs=0.02)
    assert state.heat[0, 1] < state.hotend - 5


@pytest.mark.parametrize(("fault", "reading"), [("open", 65_535), ("short", 0)])
def test_a_broken_sensor_reads_what_its_wires_give(fault: str, reading: int) -> None:
    broken = Physics(bed=replace(BED, sensor=fault), hotend=replace(HOTEND, sensor=fault))  # type: ignore[arg-type]
    seen = plant.sensors(plant.under(plant.start(PARAMS), PARAMS, broken))
    assert (seen["hotend_sensor"], seen["bed_sensor"]) == (reading, reading)


def test_a_sensor_that_has_come_out_cools_while_the_block_does_not() -> None:
    hot = run(plant.start(PARAMS), 40, hotend_heater=FULL)
    out = plant.under(hot, PARAMS, Physics(hotend=replace(HOTEND, sensor="out")))
    after = run(out, HOTEND.lag, hotend_heater=FULL)
    assert after.heat[0, 1] == pytest.approx(22 + (hot.heat[0, 1] - 22) / math.e)
    assert after.hotend > hot.hotend


def test_a_stuck_switch_heats_whatever_the_pin_says() -> None:
    stuck = plant.under(plant.start(PARAMS), PARAMS, Physics(bed=replace(BED, stuck=1.0)))
    assert run(stuck, 10).bed == run(plant.start(PARAMS), 10, bed_heater=FULL).bed


def test_block_and_sensor_of_the_same_time_constant_are_no_special_case() -> None:
    twin = replace(HOTEND, lag=HOTEND.capacity / HOTEND.loss)
    state = run(plant.start(PARAMS, Physics(hotend=twin)), 150, hotend_heater=FULL)
    assert state.heat[0] == pytest.approx(reference(twin, (22, 22), 1.0, 0.0, 0.0, 150), abs=1e-3)
