"""The thermistor's curve against its data sheet, and the way to the ADC and back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.thermistor import ADC_FULL, EPCOS_100K, ZERO_C

TEMPERATURES = st.floats(-20, 450)


@pytest.mark.parametrize(("celsius", "ohms"), [(25, 100_000), (150, 1_641.9), (250, 226.15)])
def test_the_curve_passes_through_the_data_sheet_s_points(celsius: float, ohms: float) -> None:
    assert EPCOS_100K.resistance(celsius) == pytest.approx(ohms, rel=1e-9)
    assert EPCOS_100K.temperature(ohms) == pytest.approx(celsius, abs=1e-9)


def test_the_curve_has_the_data_sheet_s_b_value_between_25_and_100_degrees() -> None:
    b = math.log(100_000 / EPCOS_100K.resistance(100)) / (1 / (25 + ZERO_C) - 1 / (100 + ZERO_C))
    assert b == pytest.approx(4092, rel=1e-3)


@given(TEMPERATURES)
def test_temperature_survives_the_way_to_ohms_and_back(celsius: float) -> None:
    assert EPCOS_100K.temperature(EPCOS_100K.resistance(celsius)) == pytest.approx(celsius, abs=1e-8)


@given(TEMPERATURES, TEMPERATURES)
def test_the_warmer_the_smaller(one: float, other: float) -> None:
    cold, warm = sorted((one, other))
    if warm - cold > 0.5:
        assert EPCOS_100K.resistance(warm) < EPCOS_100K.resistance(cold)
        assert EPCOS_100K.adc(EPCOS_100K.resistance(warm)) <= EPCOS_100K.adc(EPCOS_100K.resistance(cold))


@given(st.floats(0, 280))
def test_the_adc_resolves_a_printer_s_temperatures_to_a_fiftieth_of_a_degree(celsius: float) -> None:
    reading = EPCOS_100K.adc(EPCOS_100K.resistance(celsius))
    assert EPCOS_100K.temperature(EPCOS_100K.seen(reading)) == pytest.approx(celsius, abs=0.02)


def test_a_broken_wire_reads_full_scale_and_a_short_circuit_nothing() -> None:
    assert EPCOS_100K.adc(math.inf) == ADC_FULL
    assert EPCOS_100K.adc(0.0) == 0
    assert EPCOS_100K.seen(ADC_FULL) == math.inf
    assert EPCOS_100K.seen(0) == 0.0


def test_the_reading_is_the_divider_s_ratio() -> None:
    assert EPCOS_100K.adc(EPCOS_100K.pull_up) == round(ADC_FULL / 2)
    assert EPCOS_100K.adc(3 * EPCOS_100K.pull_up) == round(ADC_FULL * 0.75)
