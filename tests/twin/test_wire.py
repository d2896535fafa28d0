"""Registers and records: what a declaration means, and what is refused with its name, value and limit."""

import enum
import struct
from typing import Annotated as A

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin import wire
from twin.units import DEG_C, MM_PER_S, MS, PERCENT
from twin.wire import Bit, Float32, Int16, Int32, Range, UInt16, UInt32, WireError, record


class Colour(enum.IntEnum):
    """Something enumerated."""

    RED = 1
    GREEN = 7


@record
class Everything:
    """One of each."""

    on: A[bool, Bit(0, 0)]
    last: A[bool, Bit(0, 15)]
    small: A[float, DEG_C, Range(-20, 450), Int16(1, step=0.1)]
    plain: A[int, MS, UInt16(2)]
    wide: A[int, UInt32(3)]
    negative: A[int, Int32(5)]
    real: A[float, MM_PER_S, Float32(7)]
    colour: A[Colour, UInt16(9)]
    share: A[float, PERCENT, Range(0, 1), UInt16(10, step=0.1)]


def a(**change: object) -> Everything:
    fields: dict[str, object] = {
        "on": False, "last": False, "small": 0.0, "plain": 0, "wide": 0, "negative": 0, "real": 0.0,
        "colour": Colour.RED, "share": 0.0,
    }  # fmt: skip
    return Everything(**{**fields, **change})  # type: ignore[arg-type]


def test_registers_are_big_endian_and_the_high_word_comes_first() -> None:
    words = wire.encode(a(on=True, last=True, small=-12.3, plain=65_535, wide=0x12345678, negative=-2, real=0.1))
    assert words[:7] == [0x8001, 0x10000 - 123, 65_535, 0x1234, 0x5678, 0xFFFF, 0xFFFE]
    assert struct.pack(">HH", *words[7:9]) == struct.pack(">f", 100.0), "0.1 m/s are 100 mm/s on the wire"
    assert words[9:] == [1, 0]


def test_values_are_si_in_python_and_the_declared_unit_on_the_wire() -> None:
    words = wire.encode(a(share=0.255, small=210.04))
    assert words[10] == 255, "25.5 %, in tenths"
    assert words[1] == 2100
    came = wire.decode(Everything, words)
    assert (came.share, came.small) == (pytest.approx(0.255), pytest.approx(210.0))


@given(st.floats(-1e6, 1e6), st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1), st.sampled_from(Colour))
def test_a_record_survives_the_wire(real: float, wide: int, negative: int, colour: Colour) -> None:
    came = wire.decode(Everything, wire.encode(a(real=real, wide=wide, negative=negative, colour=colour)))
    assert came.real == pytest.approx(real, rel=1e-6, abs=1e-6)
    assert (came.wide, came.negative, came.colour) == (wide, negative, colour)
    assert type(came.colour) is Colour


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"small": 451.0}, r"small=451 °C is outside -20 to 450"),
        ({"share": 1.01}, r"share=101 % is outside 0 to 100"),
        ({"small": float("nan")}, r"small=nan is not a finite number"),
        ({"real": float("inf")}, r"real=inf is not a finite number"),
        ({"plain": 65_536}, r"plain=65536 does not fit UInt16\(2, step=1\): raw 65536 is outside 0 to 65535"),
        ({"plain": -1}, r"plain=-1 does not fit"),
        ({"negative": 2**31}, r"negative=2147483648 does not fit Int32"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_limit(change: dict[str, object], told: str) -> None:
    with pytest.raises(WireError, match=told):
        wire.encode(a(**change))


def test_a_value_on_its_limit_survives_its_own_rounding() -> None:
    assert wire.decode(Everything, wire.encode(a(small=450.04))).small == pytest.approx(450.0)
    with pytest.raises(WireError):
        wire.encode(a(small=450.06))


def test_a_value_that_came_in_out_of_range_is_kept_and_named() -> None:
    words = wire.encode(a())
    words[1] = 9999
    came = wire.decode(Everything, words)
    assert came.small == pytest.approx(999.9)
    assert wire.outside(came) == ("small",)


def test_an_unknown_enumeration_value_is_a_wire_error() -> None:
    words = wire.encode(a())
    words[9] = 3
    with pytest.raises(WireError, match=r"Everything: 3 is not a valid Colour"):
        wire.decode(Everything, words)


def test_too_few_registers_are_a_wire_error() -> None:
    with pytest.raises(WireError, match=r"Everything takes 11 registers, not 10"):
        wire.decode(Everything, [0] * 10)


def test_overlapping_fields_are_refused_when_they_are_declared() -> None:
    with pytest.raises(WireError, match=r"Twice\.second overlaps Twice\.first in register 1"):

        @record
        class Twice:
            first: A[int, UInt32(0)]
            second: A[int, UInt16(1)]


def test_two_bools_in_one_bit_are_refused() -> None:
    with pytest.raises(WireError, match=r"overlaps"):

        @record
        class Same:
            one: A[bool, Bit(0, 3)]
            other: A[bool, Bit(0, 3)]


def test_a_bit_beyond_its_register_is_refused() -> None:
    with pytest.raises(WireError, match=r"register 0 bit 16 does not exist"):

        @record
        class Beyond:
            it: A[bool, Bit(0, 16)]


def test_a_field_without_a_binding_is_refused() -> None:
    with pytest.raises(WireError, match=r"it: the last item must be a Binding"):

        @record
        class Nowhere:
            it: A[int, MS]

    with pytest.raises(WireError, match=r"it: declare it as"):

        @record
        class Bare:
            it: int


def test_a_bool_lies_in_a_bit_and_nothing_else_does() -> None:
    for kind, binding in ((bool, UInt16(0)), (int, Bit(0, 0))):
        with pytest.raises(WireError, match=r"a bool lies in a Bit"):
            record(type("Wrong", (), {"__annotations__": {"it": A[kind, binding]}}))


def test_a_record_is_frozen_and_knows_its_layout() -> None:
    one = a()
    with pytest.raises(AttributeError):
        one.on = True  # type: ignore[misc]
    shape = wire.layout(one)
    assert shape.size == 11
    assert [signal.name for signal in shape.signals][:2] == ["on", "last"]
    assert "small" in shape and "other" not in shape
    assert shape["wide"].registers == [3, 4]
    with pytest.raises(WireError, match=r"has no signal 'other'; it has on, last"):
        shape["other"]


def test_the_description_changes_with_every_part_of_the_declaration() -> None:
    lines = {signal.describe() for signal in wire.layout(Everything).signals}
    assert "small float Int16(1, step=0.1) CEL [-20, 450]" in lines
    assert len(lines) == 9


@pytest.mark.parametrize(
    ("binding", "low", "high", "said"),
    [
        (UInt16(0), 0, 65_535, "UInt16(0, step=1)"),
        (Int16(1, step=0.1), -32_768, 32_767, "Int16(1, step=0.1)"),
        (UInt32(2), 0, 2**32 - 1, "UInt32(2, step=1)"),
        (Int32(4), -(2**31), 2**31 - 1, "Int32(4, step=1)"),
        (Float32(6), -3.4028234e38, 3.4028234e38, "Float32(6, step=1)"),
    ],
)
def test_a_number_says_how_far_it_goes_and_what_it_is(binding: wire.Number, low: float, high: float, said: str) -> None:
    assert binding.limits == (low, high)
    assert str(binding) == said


@pytest.mark.parametrize(
    ("change", "at", "raw"),
    [
        ({"plain": 65_535}, 2, [65_535]),
        ({"wide": 2**32 - 1}, 3, [65_535, 65_535]),
        ({"negative": -(2**31)}, 5, [0x8000, 0]),
        ({"negative": 2**31 - 1}, 5, [0x7FFF, 0xFFFF]),
        ({"small": -20.0}, 1, [0x10000 - 200]),
        ({"share": 1.0}, 10, [1000]),
        ({"share": 0.0}, 10, [0]),
    ],
)
def test_what_lies_on_a_limit_goes_through_and_comes_back(change: dict[str, object], at: int, raw: list[int]) -> None:
    words = wire.encode(a(**change))
    assert words[at : at + len(raw)] == raw
    [(name, value)] = change.items()
    assert getattr(wire.decode(Everything, words), name) == value
    assert wire.outside(wire.decode(Everything, words)) == ()


def test_half_a_step_beyond_a_range_is_still_inside_on_both_sides() -> None:
    assert wire.outside(a(small=450.05)) == wire.outside(a(small=-20.05)) == ()
    assert wire.outside(a(small=450.06)) == wire.outside(a(small=-20.06)) == ("small",)
    assert wire.encode(a(small=-20.04))[1] == 0x10000 - 200
    with pytest.raises(WireError, match=r"small=-20\.06 °C is outside"):
        wire.encode(a(small=-20.06))


@pytest.mark.parametrize("share", [float("nan"), float("inf")])
def test_what_is_not_finite_is_outside_every_range(share: float) -> None:
    assert wire.outside(a(share=share)) == ("share",)


def test_a_number_of_another_unit_than_one_counts_declared_units_only_where_it_is_a_float() -> None:
    shape = wire.layout(Everything)
    assert (shape["plain"].size, shape["real"].size, shape["share"].size) == (1.0, 0.001, 0.01)
    assert wire.encode(a(plain=1234))[2] == 1234


def test_an_integer_beyond_a_floats_precision_keeps_every_bit() -> None:
    @record
    class Long:
        it: A[int, wire.Number(0, 1.0, "Q", 4)]

    assert wire.decode(Long, wire.encode(Long(it=2**53 + 1))).it == 2**53 + 1


@pytest.mark.parametrize("binding", [Bit(0, 15), UInt16(0), UInt32(0)])
def test_whatever_overlaps_the_last_bit_of_a_register_is_refused(binding: wire.Binding) -> None:
    kind = bool if isinstance(binding, Bit) else int
    hints = {"one": A[bool, Bit(0, 15)], "other": A[kind, binding]}
    with pytest.raises(WireError, match=r"Both\.other overlaps Both\.one in register 0"):
        record(type("Both", (), {"__annotations__": hints}))
    hints = {"one": A[bool, Bit(2, 15)], "other": A[kind, binding]}
    assert wire.layout(record(type("Both", (), {"__annotations__": hints}))).size == 3


@pytest.mark.parametrize(("binding", "told"), [(Bit(-1, 0), "register -1 bit 0"), (Bit(0, -1), "register 0 bit -1")])
def test_a_place_before_the_first_is_refused(binding: Bit, told: str) -> None:
    with pytest.raises(WireError, match=f"Wrong.it: {told} does not exist"):
        record(type("Wrong", (), {"__annotations__": {"it": A[bool, binding]}}))


def test_a_record_of_nothing_has_no_registers() -> None:
    @record
    class Nothing:
        pass

    assert wire.layout(Nothing).size == 0 and wire.encode(Nothing()) == []


def test_the_fields_of_a_record_are_given_by_name_alone() -> None:
    with pytest.raises(TypeError):
        Everything(True)  # type: ignore[misc]


def test_more_registers_than_it_takes_are_no_harm() -> None:
    assert wire.decode(Everything, [*wire.encode(a(plain=7)), 9, 9]).plain == 7
