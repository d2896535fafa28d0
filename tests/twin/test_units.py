"""Units against what others have written down: UNECE Recommendation 20 and OPC UA Part 8."""

import pytest

from twin import units


@pytest.mark.parametrize(
    ("unit", "unit_id"),
    [  # as published in the companion specifications for Additive Manufacturing (table 12) and MTConnect
        (units.DEG_C, 4408652),
        (units.MM, 5066068),
        (units.M, 5067858),
        (units.KG, 4933453),
        (units.MM_PER_S, 4403510),
        (units.MM_PER_S2, 5059633),
        (units.M_PER_S, 5067859),
        (units.HZ, 4740186),
        (units.OHM, 5195853),
        (units.PERCENT, 20529),
        (units.S, 5457219),
        (units.W, 5723220),
        # and in the OPC Foundation's UNECE_to_OPCUA.csv
        (units.VOLT, 5655636), (units.MV, 12890), (units.KV, 4937300), (units.AMPERE, 4279632), (units.MA, 13387),
        (units.AH, 4279624), (units.KW, 4937556), (units.MW, 5062999), (units.VA, 4469814), (units.KVA, 4937281),
        (units.VAR, 4469812), (units.KVAR, 4937298),
        (units.JOULE, 4869973), (units.WH, 5720146), (units.KWH, 4937544), (units.MWH, 5068616),
        (units.RAD, 4405297), (units.MRAD, 4403765), (units.RAD_PER_S, 12865), (units.PER_MIN, 5059638), (units.MIN, 5065038),
        (units.HOUR, 4740434), (units.DAY, 4473177), (units.GRAM, 4674125), (units.NEWTON, 5129559), (units.LITRE, 5002322),
        (units.CUBIC_M, 5067857), (units.LITRE_PER_MIN, 19506), (units.CUBIC_M_PER_H, 5067080),
    ],
)
def test_the_unit_id_is_the_published_one(unit: units.Unit, unit_id: int) -> None:
    assert unit.unit_id == unit_id


@pytest.mark.parametrize("unit", units.ALL, ids=lambda unit: unit.code)
def test_a_value_survives_the_way_to_si_and_back(unit: units.Unit) -> None:
    for value in (0.0, 1.0, -273.15, 1e6):
        assert unit.of(unit.si(value)) == pytest.approx(value, rel=1e-12)


def test_units_are_told_apart_by_their_codes_and_fit_an_int32() -> None:
    assert len({unit.code for unit in units.ALL}) == len(units.ALL)
    for unit in units.ALL:
        assert 0 < unit.unit_id < 2**31
        assert unit.code.isascii()
        assert unit.code == unit.code.upper()
        assert 1 <= len(unit.code) <= 3


def test_a_unit_is_found_by_its_symbol_by_its_code_and_by_usual_spellings() -> None:
    for unit in units.ALL:
        assert units.find(unit.symbol) is unit
        assert units.find(unit.code) is unit
    assert units.find("kVArh") is units.KVARH
    assert units.find("rpm") is units.PER_MIN
    assert units.find("furlong") is None


def test_millimetres_per_second_are_metres_per_second_in_python() -> None:
    assert units.MM_PER_S.si(100) == pytest.approx(0.1)
    assert units.PERCENT.of(0.25) == pytest.approx(25)
    assert units.PER_MM.si(80) == pytest.approx(80_000)
