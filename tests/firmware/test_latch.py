"""The latch and the interlocks: Safety alone, in a time that stands in the test's hands."""

import pytest

from tests.firmware.safety_alone import BELT, LAMPS, SENSOR_AT, Bench
from twin.node import Fault, Op, Reason, Result


@pytest.fixture
def bench() -> Bench:
    return Bench()


def latched(bench: Bench, fault: Fault = Fault.SENSOR) -> Bench:
    """Held by us, and latched."""
    bench.grant()
    bench.tick()
    bench.safety.latch(int(fault))
    bench.tick()
    return bench


def test_a_latch_stops_everything_once_and_shows_its_first_cause(bench: Bench) -> None:
    bench.grant()
    bench.write(BELT, [1, 5])
    bench.tick()
    bench.safety.latch(int(Fault.HEATER_STUCK))
    bench.safety.latch(int(Fault.SENSOR))
    assert (bench.status.latched, bench.status.fault, bench.safety.latched) == (True, Fault.HEATER_STUCK, True)
    assert (bench.motion.told, bench.heater.told, bench.fan.told) == (["stop"], ["off"], [0])
    bench.tick()
    assert bench.effect(BELT) == [0, 0] and bench.status.leased


def test_a_harder_fault_takes_the_place_of_a_softer_one_and_stops_everything_once_more(bench: Bench) -> None:
    for fault in (Fault.SILENCE, Fault.RESTARTED, Fault.TRAVEL, Fault.OVER_TEMPERATURE, Fault.SENSOR, Fault.STALL, Fault.SILENCE):
        bench.safety.latch(int(fault), int(fault))
        bench.motion.told.append(bench.status.fault)
    assert [told for told in bench.motion.told if told != "stop"] == [
        *[Fault.SILENCE] * 3, *[Fault.OVER_TEMPERATURE] * 4
    ]  # fmt: skip
    assert bench.motion.told[-5] == "stop" and bench.status.fault_block == int(Fault.OVER_TEMPERATURE)


def test_a_reset_is_refused_while_the_motion_says_that_its_cause_lasts(bench: Bench) -> None:
    latched(bench, Fault.PRINTER)
    bench.motion.cause = int(Fault.PRINTER)
    assert bench.judged(op=Op.RESET, command_id=1) == (Result.REFUSED, Reason.LATCHED, 0)
    bench.motion.cause = int(Fault.NONE)
    assert bench.judged(op=Op.RESET, command_id=2) == (Result.DONE, Reason.NONE, 1)


def test_a_reset_is_refused_while_a_heater_still_complains(bench: Bench) -> None:
    latched(bench)
    bench.safety.heater_fault = int(Fault.SENSOR)
    assert bench.judged(op=Op.RESET, command_id=1) == (Result.REFUSED, Reason.LATCHED, 0)
    bench.safety.heater_fault = int(Fault.NONE)
    assert bench.judged(op=Op.RESET, command_id=2) == (Result.DONE, Reason.NONE, 1)
    assert (bench.status.latched, bench.status.fault, bench.safety.latched) == (False, Fault.NONE, False)


def test_after_a_reset_only_the_records_that_were_at_their_defaults_act(bench: Bench) -> None:
    latched(bench)
    bench.write(BELT, [1, 5])
    bench.judged(op=Op.RESET, command_id=1)
    bench.write(LAMPS, [1, 7])
    bench.tick()
    assert (bench.effect(BELT), bench.effect(LAMPS)) == ([0, 0], [1, 7])
    bench.write(BELT, [0, 0])
    bench.write(BELT, [1, 5])
    bench.tick()
    assert bench.effect(BELT) == [1, 5]


def test_a_reset_of_what_is_not_latched_takes_nothing_away(bench: Bench) -> None:
    bench.grant()
    bench.write(BELT, [1, 5])
    assert bench.judged(op=Op.RESET, command_id=1) == (Result.DONE, Reason.NONE, 1)
    bench.tick()
    assert bench.effect(BELT) == [1, 5]


# ---- the interlocks


@pytest.mark.parametrize("when", [(SENSOR_AT, 0), (SENSOR_AT, 7), (SENSOR_AT, 8), (SENSOR_AT + 1, 15)])
@pytest.mark.parametrize("output", [(BELT, 0), (BELT, 11), (BELT + 1, 8)])
def test_an_interlock_takes_its_output_and_latches_whatever_bits_they_are(when: tuple[int, int], output: tuple[int, int]) -> None:
    bench = Bench(((BELT, 5), (SENSOR_AT + 2, 3)), (output, when))
    bench.grant()
    for bit in range(16):
        bench.bank.put_bit(when[0], bit, bit != when[1])
    bench.write(BELT, [0xFFFF, 0xFFFF])
    bench.tick()
    assert bench.effect(BELT) == [0xFFFF, 0xFFFF] and not bench.status.latched, "every other bit of its sensor is set"
    bench.bank.put_bit(*when, 1)
    bench.tick()
    assert bench.effect(BELT) == [0, 0] and bench.status.fault is Fault.INTERLOCK and bench.safety.changed
    assert bench.judged(op=Op.RESET, command_id=1) == (Result.REFUSED, Reason.LATCHED, 0)
    bench.bank.put_bit(*when, 0)
    assert bench.judged(op=Op.RESET, command_id=2) == (Result.DONE, Reason.NONE, 1)


def test_an_output_that_is_off_latches_nothing_when_its_sensor_speaks() -> None:
    bench = Bench(((BELT, 0), (SENSOR_AT, 0)))
    bench.grant()
    bench.write(BELT, [2, 5])
    bench.bank.put_bit(SENSOR_AT, 0, 1)
    bench.tick()
    assert bench.effect(BELT) == [2, 5] and not bench.status.latched


def test_another_latch_is_reset_although_an_interlocks_sensor_speaks() -> None:
    bench = latched(Bench(((BELT, 0), (SENSOR_AT, 0))))
    bench.bank.put_bit(SENSOR_AT, 0, 1)
    assert bench.judged(op=Op.RESET, command_id=1) == (Result.DONE, Reason.NONE, 1)


def test_a_default_that_an_interlock_forbids_is_taken_off_all_the_same() -> None:
    bench = Bench(((LAMPS + 1, 1), (SENSOR_AT, 0)))
    bench.tick()
    assert bench.effect(LAMPS) == [0, 7]
    bench.bank.put_bit(SENSOR_AT, 0, 1)
    bench.tick()
    assert bench.effect(LAMPS) == [0, 5] and bench.status.fault is Fault.INTERLOCK
    bench.tick()
    assert bench.effect(LAMPS) == [0, 5]
    bench.bank.put_bit(SENSOR_AT, 0, 0)
    bench.tick()
    assert bench.effect(LAMPS) == [0, 7], "the default comes back by itself"
