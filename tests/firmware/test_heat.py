"""The node's heaters in the real MicroPython VM against the plant: what must hold although the plant is not as assumed."""

import itertools
import math
import random
from dataclasses import replace

import pytest

from tests.firmware.alone import load
from tests.firmware.heat_loop import BED, HOTEND, STILL, VM, Loop, Seen, first, flow, off_by, scaled
from twin.machines.printer.plant import Physics
from twin.node import Fault
from twin.thermistor import EPCOS_100K

CORNERS = [(1.0,) * 4, *itertools.product((0.7, 1.3), repeat=4)]
EXTRUDING = flow(15.0)
LEARNT_WITHIN = (0.55, 1.2)


def physics(factors: tuple[float, ...]) -> Physics:
    return Physics(hotend=scaled(HOTEND, *factors), bed=scaled(BED, *factors))


def test_temperatures_hold_within_3_degrees_although_the_plant_is_off_by_30_percent() -> None:
    with Loop([physics(factors) for factors in CORNERS]) as loop:
        rise = loop.run(170, hotend=210, bed=60)
        assert off_by(rise, "hotend")[1] <= 3.0
        for k, factors in enumerate(CORNERS):
            ready = first(rise, k, "hotend", lambda seen: seen.ready)
            alone = 188 * HOTEND.capacity * factors[1] / (HOTEND.power * factors[0] - 0.7 * 188 * HOTEND.loss * factors[2])
            assert ready is not None and ready <= alone + 25, f"{factors}: {ready} s where full power takes {alone:.0f} s"
        for fan, words in ((1, STILL), (0, STILL), (0, EXTRUDING), (0, STILL), (1, EXTRUDING), (0, STILL)):
            stretch = loop.run(30, fan=fan, words=words)
            low, high = off_by(stretch, "hotend")
            assert low >= -2.5 and high <= 2.5
            assert max(abs(row["hotend"].block - 210) for tick in stretch for row in tick) <= 3.0
            assert max(abs(row["hotend"].temperature - 210) for row in stretch[-1]) <= 0.3
        loop.run(60, hotend=190)
        assert all(abs(row["hotend"].temperature - 190) <= 1.5 for row in loop.history[-1])
        assert off_by(loop.run(60, hotend=230), "hotend")[1] <= 3.0
        assert off_by(loop.run(5), "hotend")[0] >= -1.5
        assert off_by(loop.history, "bed")[1] <= 1.0
        for k, factors in enumerate(CORNERS):
            assert loop.history[-1][k]["bed"].ready or first(loop.history, k, "bed", lambda s: s.duty < 1) is None, factors
        assert not {seen.fault for tick in loop.history for row in tick for seen in row.values()} - {Fault.NONE}
    learnt = loop.end["learnt"]
    for k, (power, capacity, _, lag) in enumerate(CORNERS):
        for of, heater in enumerate((HOTEND, BED)):
            rate = heater.power * power / heater.capacity / capacity
            assert 0.85 <= learnt[2 * k + of][0] / rate <= 1.15
            assert LEARNT_WITHIN[0] <= learnt[2 * k + of][1] / heater.lag / lag <= LEARNT_WITHIN[1]


def test_a_heater_quite_unlike_the_first_guess_is_learnt() -> None:
    factors = [(2, 1, 1, 1), (0.8, 1.5, 0.4, 1), (1.6, 2.5, 1, 2), (2, 0.6, 0.4, 0.5)]
    with Loop([physics(one) for one in factors]) as loop:
        assert off_by(loop.run(150, hotend=210), "hotend")[1] <= 1.5
        low, high = off_by(loop.run(30, fan=1), "hotend")
        assert low >= -1.0 and high <= 1.0
    for k, (power, capacity, _, lag) in enumerate(factors):
        rate, seen_lag = loop.end["learnt"][2 * k]
        assert rate == pytest.approx(HOTEND.power * power / HOTEND.capacity / capacity, rel=0.12)
        assert seen_lag == pytest.approx(HOTEND.lag * lag, rel=0.15)


def test_the_slowest_bed_gets_there_and_stays() -> None:
    with Loop([physics((0.7, 1.3, 1.3, 1.3)), physics((1.3, 0.7, 0.7, 0.7))]) as loop:
        loop.run(380, bed=60)
        assert off_by(loop.history, "bed")[1] <= 0.5
        hold = loop.run(60, fan=1)
        low, high = off_by(hold, "bed")
        assert low >= -0.5 and high <= 0.5
        assert all(row["bed"].ready for tick in hold for row in tick)


def test_a_noisy_adc_of_12_bits_and_a_second_of_dead_time_do_not_upset_it() -> None:
    chance = random.Random(7)
    seen: list[list[dict[str, int]]] = [[], [], []]

    def disturb(printer: int, sensors: dict[str, int]) -> dict[str, int]:
        seen[printer].append(sensors)
        late = seen[printer][-11:][0]
        return {name: round((value + chance.gauss(0, 16)) / 16) * 16 for name, value in late.items()}

    with Loop([physics((1, 1, 1, 1)), physics((0.7, 0.7, 1.3, 1.3)), physics((1.3, 0.7, 1.3, 0.7))]) as loop:
        loop.disturb = disturb
        assert off_by(loop.run(170, hotend=210), "hotend")[1] <= 4.0
        for fan in (1, 0):
            low, high = off_by(loop.run(35, fan=fan), "hotend")
            assert low >= -3.0 and high <= 3.0
        assert all(row["hotend"].fault == Fault.NONE for tick in loop.history for row in tick)


def test_a_node_that_restarts_beside_a_hot_block_holds_it_all_the_same() -> None:
    with Loop([physics(factors) for factors in CORNERS], at=205.0) as loop:
        low, high = off_by(loop.run(60, hotend=210), "hotend")
        assert high <= 3.0 and low >= -25.0
        low, high = off_by(loop.run(35, fan=1, words=EXTRUDING), "hotend")
        assert low >= -3.0 and high <= 3.0


def fault_after(loop: Loop, seconds: float, printer: int = 0, heater: str = "hotend") -> tuple[float | None, Fault]:
    """When a heater reports its first fault, and which."""
    stretch = loop.run(seconds)
    found = first(stretch, printer, heater, lambda seen: seen.fault)
    return found, Fault(stretch[round((found or 0) * 10) - 1][printer][heater].fault)


def assert_off(loop: Loop, printer: int, heater: str, since: float) -> None:
    for tick in loop.history[round(since * 10) :]:
        assert (tick[printer][heater].duty, tick[printer][heater].target, tick[printer][heater].power) == (0, 0, 0)


@pytest.mark.parametrize(("heater", "bound"), [("hotend", 21), ("bed", 61)])
def test_a_heater_that_is_not_plugged_in_is_noticed_by_what_it_does_not_gain(heater: str, bound: float) -> None:
    dead = Physics(hotend=scaled(HOTEND, power=1e-9), bed=scaled(BED, power=1e-9))
    with Loop([dead]) as loop:
        loop.run(0.1, hotend=210, bed=60)
        found, fault = fault_after(loop, bound + 5, heater=heater)
        assert fault is Fault.HEATER_STUCK
        assert found is not None and found <= bound
        assert_off(loop, 0, heater, found + 0.2)


@pytest.mark.parametrize(
    ("what", "change", "bound", "expected"),
    [
        ("its plug has come off", {"hotend": scaled(HOTEND, power=1e-9)}, 45, Fault.HEATER_STUCK),
        ("its sensor's wire has broken", {"hotend": replace(HOTEND, sensor="open")}, 0.4, Fault.SENSOR),
        ("its sensor is short", {"hotend": replace(HOTEND, sensor="short")}, 0.4, Fault.SENSOR),
        ("its sensor has come out", {"hotend": replace(HOTEND, sensor="out")}, 10, Fault.HEATER_STUCK),
        ("a fan blows on the block", {"hotend": scaled(HOTEND, loss=6)}, 60, Fault.HEATER_STUCK),
        ("its switch has failed", {"hotend": replace(HOTEND, stuck=1.0)}, 35, Fault.HEATER_STUCK),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hotend_that_fails_while_it_holds_is_off_in_time(
    what: str, change: dict[str, object], bound: float, expected: Fault
) -> None:
    with Loop([Physics()], at=210.0) as loop:
        loop.run(20, hotend=210)
        assert all(tick[0]["hotend"].fault == Fault.NONE for tick in loop.history)
        loop.under(0, **change)
        found, fault = fault_after(loop, bound + 10)
        assert fault is expected
        assert found is not None and found <= bound
        assert_off(loop, 0, "hotend", 20 + found + 0.2)
        if change["hotend"].stuck == 0.0:  # type: ignore[attr-defined]
            assert max(tick[0]["hotend"].block for tick in loop.history) <= 260


@pytest.mark.parametrize(("heater", "bound"), [("hotend", 25), ("bed", 65)])
def test_a_switch_that_fails_while_nothing_is_wanted_is_noticed(heater: str, bound: float) -> None:
    with Loop([Physics(hotend=replace(HOTEND, stuck=1.0), bed=replace(BED, stuck=1.0))]) as loop:
        found, fault = fault_after(loop, bound + 5, heater=heater)
        assert fault is Fault.HEATER_STUCK
        assert found is not None and found <= bound
        assert loop.history[-1][0][heater].fault == Fault.HEATER_STUCK, "and it is told for as long as it lasts"


def test_what_is_too_hot_is_a_fault_until_it_has_cooled() -> None:
    with Loop([Physics()], at=285.0) as loop:
        stretch = loop.run(40, hotend=270)
        assert stretch[0][0]["hotend"].fault == Fault.OVER_TEMPERATURE
        for tick in stretch:
            assert (tick[0]["hotend"].fault == Fault.OVER_TEMPERATURE) == (tick[0]["hotend"].temperature > 280)
        assert stretch[-1][0]["hotend"].fault == Fault.NONE
        assert_off(loop, 0, "hotend", 0)


def test_without_permission_it_is_off_and_stays_off_when_permission_returns() -> None:
    with Loop([Physics()], at=200.0) as loop:
        assert loop.run(1, hotend=210)[-1][0]["hotend"].duty > 0
        loop.run(1, permitted=False)
        assert_off(loop, 0, "hotend", 1)
        loop.run(1)
        assert_off(loop, 0, "hotend", 1)
        assert loop.run(1, hotend=210)[-1][0]["hotend"].duty > 0


def reading(celsius: float) -> int:
    return EPCOS_100K.adc(EPCOS_100K.resistance(celsius))


def one(vm: VM, adc: int, target: int = -1, permitted: int = 1, ms: int = 100) -> Seen:
    ((duty, fault, ready, temperature, target, power),) = vm.tick([(adc, target, permitted, ms)])
    return Seen(duty / 65_535, fault, bool(ready), temperature / 10, target / 10, power / 1000, 0.0)


def test_the_node_s_table_gives_the_curve_s_temperature_to_a_tenth_of_a_degree() -> None:
    wanted = [-15 + 0.5 * k for k in range(731)]  # to 350 °C
    vm = VM([2750] * len(wanted))
    rows = vm.tick([(reading(celsius), -1, 0, 100) for celsius in wanted])
    vm.close()
    for celsius, (_, fault, _, temperature, _, _) in zip(wanted, rows, strict=True):
        exact = EPCOS_100K.temperature(EPCOS_100K.seen(reading(celsius)))
        assert temperature / 10 == pytest.approx(exact, abs=0.1)
        assert bool(fault) == (temperature > 2800)


def test_one_bad_reading_is_borne_without_power_and_three_are_a_fault() -> None:
    vm = VM([2750])
    assert one(vm, reading(200), target=2100).duty > 0
    glitch = one(vm, 65_535)
    assert (glitch.duty, glitch.fault, glitch.temperature, glitch.target) == (0, Fault.NONE, 200.0, 210.0)
    assert one(vm, reading(200)).duty > 0
    seen = [one(vm, 0) for _ in range(3)]
    assert [s.fault for s in seen] == [Fault.NONE, Fault.NONE, Fault.SENSOR]
    assert seen[-1].temperature == -273.1, "no temperature: outside any range, so the controller calls it bad"
    assert seen[-1].target == 0
    vm.close()


def test_a_sensor_that_has_failed_is_believed_again_when_it_has_been_steady_for_a_second() -> None:
    vm = VM([2750])
    for _ in range(3):
        one(vm, 65_535)
    healing = [one(vm, reading(200)) for _ in range(9)]
    assert {(s.fault, s.temperature, s.duty) for s in healing} == {(Fault.SENSOR, -273.1, 0)}
    healed = one(vm, reading(200))
    assert (healed.fault, healed.temperature, healed.duty) == (Fault.NONE, 200.0, 0)
    vm.close()


def test_a_temperature_that_jumps_to_and_fro_is_never_believed_again_and_one_that_has_jumped_is_only_when_it_stays() -> None:
    vm = VM([2750])
    assert one(vm, reading(200), target=2100).temperature == 200.0
    assert [one(vm, reading(60)).fault for _ in range(3)][-1] == Fault.SENSOR
    for k in range(40):
        assert one(vm, reading(60 if k // 8 % 2 else 90)).fault == Fault.SENSOR, "the first of a row counts as one of it"
    seen = [one(vm, reading(60)) for _ in range(10)]
    assert [s.fault for s in seen] == [Fault.SENSOR] * 9 + [Fault.NONE]
    assert (seen[-1].temperature, seen[-1].target, seen[-1].duty) == (60.0, 0, 0)
    vm.close()


def test_a_jump_that_no_block_makes_is_passed_over_and_three_are_a_fault() -> None:
    vm = VM([2750])
    assert one(vm, reading(100), target=1000).temperature == 100.0
    jumped = [one(vm, reading(130)) for _ in range(2)]
    assert [(s.fault, s.temperature, s.duty) for s in jumped] == [(Fault.NONE, 100.0, 0)] * 2
    assert one(vm, reading(101)).temperature == pytest.approx(101.0, abs=0.1)
    assert [one(vm, reading(130)).fault for _ in range(3)] == [Fault.NONE, Fault.NONE, Fault.SENSOR]
    vm.close()


def test_it_is_ready_when_it_has_been_within_a_degree_and_a_half_for_two_seconds() -> None:
    vm = VM([2750])
    assert one(vm, reading(205)).ready, "off is ready: nothing is waited for"
    assert not one(vm, reading(205), target=2100).ready
    seen = [one(vm, reading(208.6)).ready for _ in range(21)]
    assert seen == [False] * 19 + [True] * 2
    assert not one(vm, reading(208.4)).ready
    assert not one(vm, reading(209)).ready, "and the two seconds start again"
    vm.close()


def test_a_target_beyond_the_highest_is_off_not_clamped() -> None:
    vm = VM([2750])
    assert one(vm, reading(100), target=2750).target == 275.0
    beyond = one(vm, reading(100), target=2751)
    assert (beyond.target, beyond.duty) == (0, 0)
    vm.close()


def test_the_same_target_again_changes_nothing() -> None:
    with Loop([Physics()], at=210.0) as loop:
        loop.run(20, hotend=210)
        before = loop.history[-1][0]["hotend"]
        again = loop.run(0.1, hotend=210)[0][0]["hotend"]
        assert before.ready and again.ready
        assert again.duty == pytest.approx(before.duty, abs=0.02)


def test_nothing_is_left_behind_tick_by_tick() -> None:
    with Loop([Physics()], at=150.0) as loop:
        loop.run(100, hotend=210, bed=60)
        loop.run(200)
    begin, end = loop.end["used"]
    assert end <= begin + 256, "bytes after 1000 ticks and after 3000"


# ---- the watch's figures: those of Klipper's verify_heater


@pytest.mark.parametrize(("short", "lasts"), [(5.0, None), (8.0, 40), (11.0, 20), (25.0, 6)])
def test_a_held_temperature_may_fall_short_by_120_degree_seconds_beyond_5_degrees(short: float, lasts: float | None) -> None:
    (heat,) = load("heat")
    watch = heat.Watch(20.0, 10.0)
    seen = [watch.tick(210.0 - short, 210.0, 0.5, True, 0.1) for _ in range(1000)]
    assert (seen.index(True) / 10 if True in seen else None) == (None if lasts is None else pytest.approx(lasts, abs=0.2))


@pytest.mark.parametrize(
    ("gain_s", "rate", "stuck"), [(20.0, 0.099, True), (20.0, 0.105, False), (60.0, 0.0325, True), (60.0, 0.035, False)]
)
def test_full_power_must_gain_2_degrees_in_its_time(gain_s: float, rate: float, stuck: bool) -> None:
    (heat,) = load("heat")
    watch = heat.Watch(gain_s, 10.0)
    seen = [watch.tick(20.0 + 0.1 * rate * k, 210.0, 1.0, False, 0.1) for k in range(1200)]
    assert any(seen) is stuck


@pytest.mark.parametrize(("settle_s", "rate", "cools_s"), [(10.0, 3.0, 600.0), (30.0, 0.3, 900.0)])
def test_a_switch_that_fails_long_after_a_print_is_noticed_where_the_block_is_and_not_where_it_was(
    settle_s: float, rate: float, cools_s: float
) -> None:
    (heat,) = load("heat")
    watch = heat.Watch(2 * settle_s, settle_s)
    cooling = [25.0 + 175.0 * math.exp(-0.1 * k / cools_s) for k in range(round(60 * cools_s))]
    assert not any(watch.tick(celsius, 0.0, 0.0, False, 0.1) for celsius in cooling)
    seen = [watch.tick(cooling[-1] + 0.1 * rate * k, 0.0, 0.0, False, 0.1) for k in range(600)]
    assert seen.index(True) * 0.1 * rate <= 4.5 and all(seen[seen.index(True) :]), "and for as long as it lasts"
    assert [watch.tick(60.0, 0.0, 0.0, False, 0.1) for _ in range(round(21 * settle_s))][-1] is False


def test_a_switch_that_fails_while_the_block_still_cools_quickly_is_noticed_from_the_coldest_on() -> None:
    (heat,) = load("heat")
    watch = heat.Watch(20.0, 10.0)
    assert not any(watch.tick(200.0 - 0.2 * k, 0.0, 0.0, False, 0.1) for k in range(270))
    assert any(watch.tick(146.0 + 0.3 * k, 0.0, 0.0, False, 0.1) for k in range(10))


@pytest.mark.parametrize("settle_s", [10.0, 30.0])
def test_a_room_that_grows_warmer_is_no_heater_that_does(settle_s: float) -> None:
    (heat,) = load("heat")
    watch = heat.Watch(2 * settle_s, settle_s)
    assert not any(watch.tick(20.0 + 15.0 * k / 18_000, 0.0, 0.0, False, 0.1) for k in range(18_000)), "15 degrees in half an hour"
