"""Bytes to values: pymodbus's own conversion and struct are the oracles."""

import enum
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient

from controller.fieldbus.decode import NO_VALUE, NOT_A_NUMBER, OUTSIDE, Decoder, EncodeError, Recipe, encode
from controller.fieldbus.plan import Atom, Block
from twin.maps import Access, Deadband, Form, Mapped, Order, Place, Table
from twin.maps.map import signal
from twin.trace import Belief
from twin.units import MM
from twin.wire import Range

THEIRS = ModbusTcpClient.DATATYPE
WORDS = st.integers(0, 0xFFFF)
NUMBERS = [form for form in Form if form not in (Form.BOOL, Form.STRING)]


def decoder(*rows: Mapped, first: int = 0, end: int = 125, told: int | None = None) -> Decoder:
    count = len(rows) if told is None else told
    table = rows[0].place.table
    block = Block(1, table, first, end, (Atom(first, end, tuple(range(count))),))
    return Decoder(Recipe(block, rows[:count], {row.name: row for row in rows}))


def row(name: str, address: int, form: Form, kind: type = float, **more: Any) -> Mapped:
    given = {key: more.pop(key) for key in ("unit", "range") if key in more}
    band = more.pop("deadband", Deadband())
    registers = more.pop("registers", form.registers)
    table = more.pop("table", Table.HOLDING)
    return Mapped(signal(name, kind, Place(table, address, form, registers, **more), **given), Access.RW, deadband=band)


def wire(*words: int) -> bytes:
    return struct.pack(f">{len(words)}H", *words)


def values(found: Decoder) -> dict[int, Any]:
    return dict(zip(found.rows, found.values, strict=True))


@given(st.sampled_from(NUMBERS), st.sampled_from([Order.ABCD, Order.CDAB]), st.lists(WORDS, min_size=4, max_size=4))
@settings(deadline=None, max_examples=200)
def test_every_form_in_both_word_orders_is_what_pymodbus_makes_of_it(form: Form, order: Order, words: list[int]) -> None:
    exact = not form.value.startswith("float")
    found = decoder(row("x", 3, form, int if exact else float, order=order))
    found.feed(wire(0, 0, 0, *words, 0))
    word_order: Any = "little" if order is Order.CDAB else "big"
    wanted = ModbusTcpClient.convert_from_registers(words[: form.registers], THEIRS[form.name], word_order=word_order)
    if isinstance(wanted, float) and not math.isfinite(wanted):
        assert found.values == [None] and found.doubts == {"x": NOT_A_NUMBER}
    else:
        assert found.values == [wanted] and type(found.values[0]) is type(wanted)


@given(st.sampled_from(NUMBERS), st.sampled_from(Order), st.data())
@settings(deadline=None, max_examples=200)
def test_what_is_written_is_read_back_as_it_was_in_every_order(form: Form, order: Order, data: st.DataObject) -> None:
    if form.value.startswith("float"):
        value: Any = data.draw(st.floats(allow_nan=False, allow_infinity=False, width=16 * form.registers))
    else:
        bits, signed = 16 * form.registers, form.value.startswith("int")
        value = data.draw(st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - 1 if signed else bits) - 1))
    one = row("x", 0, form, type(value), order=order)
    found = decoder(one)
    words = encode(one, value)
    found.feed(wire(*words))
    assert found.values == [value]
    big = struct.pack(">" + {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float32": "f",
                             "float64": "d"}[form.value], value)  # fmt: skip
    letters = "ABCDEFGH"[: len(big)]
    on_wire = {"ABCD": letters, "CDAB": "".join(letters[i : i + 2] for i in range(len(big) - 2, -1, -2)),
               "BADC": "".join(letters[i + 1] + letters[i] for i in range(0, len(big), 2)),
               "DCBA": letters[::-1]}[order]  # fmt: skip
    assert wire(*words) == bytes(big[letters.index(letter)] for letter in on_wire)


def test_scale_offset_unit_and_what_other_registers_say_come_together_in_si() -> None:
    rows = (
        row("length", 0, Form.INT16, unit=MM, scale=0.1, offset=5.0),
        row("power", 1, Form.UINT16, scale_from="power_scale"),
        row("power_scale", 2, Form.INT16, int),
        row("joint", 3, Form.UINT16, scale=0.001, plus_from="turns", plus_factor=2 * math.pi),
        row("turns", 4, Form.INT16, int),
    )
    found = decoder(*rows)
    found.feed(wire(0xFF9C, 12_345, 0xFFFE, 4712, 0xFFFF))
    told = values(found)
    assert told[0] == pytest.approx((-100 * 0.1 + 5) * 1e-3)
    assert told[1] == pytest.approx(123.45) and told[2] == -2
    assert told[3] == pytest.approx(4.712 - 2 * math.pi) and told[4] == -1


def test_an_exponent_that_is_read_along_is_used_though_it_is_told_elsewhere() -> None:
    found = decoder(row("power", 1, Form.UINT16, scale_from="scale"), row("scale", 2, Form.INT16, int), told=1)
    found.feed(wire(0, 7, 3))
    assert found.values == [7000.0]
    found.feed(wire(0, 7, 0x8000))
    assert found.values == [None] and found.doubts == {"power": NO_VALUE}


@pytest.mark.parametrize(
    ("one", "words", "value", "doubt"),
    [
        (row("x", 0, Form.INT16, invalid=(0x8000,)), (0x8000,), None, NO_VALUE),
        (row("x", 0, Form.INT16, invalid=(-32768,)), (0x8000,), None, NO_VALUE),
        (row("x", 0, Form.UINT64, int, invalid=(2**64 - 1,)), (0xFFFF,) * 4, None, NO_VALUE),
        (row("x", 0, Form.UINT32, invalid=(1, 0xFFFFFFFF)), (0xFFFF, 0xFFFF), None, NO_VALUE),
        (row("x", 0, Form.FLOAT32, invalid=(0x7FC00000,)), (0x7FC0, 0), None, NO_VALUE),
        (row("x", 0, Form.FLOAT32), (0x7F80, 1), None, NOT_A_NUMBER),
        (row("x", 0, Form.FLOAT32, range=Range(0, 5)), (0x7F80, 0), None, NOT_A_NUMBER),
        (row("x", 0, Form.FLOAT32), (0xFF80, 0), None, NOT_A_NUMBER),
        (row("x", 0, Form.UINT16, range=Range(0, 5)), (6,), 6.0, OUTSIDE),
        (row("x", 0, Form.UINT16, scale=0.1, range=Range(0, 0.3)), (3,), 0.1 * 3, None),
        (row("x", 0, Form.STRING, str, registers=2, invalid=(0,)), (0, 0), None, NO_VALUE),
    ],
)
def test_what_is_no_value_and_what_is_outside_is_told_with_its_cause(
    one: Mapped, words: tuple[int, ...], value: Any, doubt: Belief | None
) -> None:
    found = decoder(one)
    found.feed(wire(*words))
    assert found.values == [value] and found.doubts == ({} if doubt is None else {"x": doubt})


class Mode(enum.IntEnum):
    OFF = 1
    ON = 2


def test_bits_enumerations_and_strings_have_their_own_types() -> None:
    rows = (
        row("flag", 0, Form.BOOL, bool, bit=9),
        row("mode", 1, Form.UINT16, Mode),
        row("name", 2, Form.STRING, str, registers=3),
        row("swapped", 5, Form.STRING, str, registers=2, order=Order.BADC),
    )
    found = decoder(*rows)
    found.feed(wire(0x0200, 2) + b"Ab\xc3\xa9\0\0" + b"owdr")
    assert values(found) == {0: True, 1: Mode.ON, 2: "Abé", 3: "word"} and not found.doubts
    found.feed(wire(0xFDFF, 9) + b"Abc   " + b"owdr")
    assert values(found) == {0: False, 1: None, 2: "Abc", 3: "word"}
    assert found.doubts["mode"].cause == "9 is no Mode"


@given(st.lists(st.booleans(), min_size=40, max_size=40), st.integers(0, 39))
@settings(deadline=None, max_examples=50)
def test_coils_are_the_bits_that_pymodbus_packs(bits: list[bool], address: int) -> None:
    from pymodbus.pdu.bit_message import ReadCoilsResponse

    found = decoder(row("coil", 100 + address, Form.BOOL, bool, table=Table.COILS), first=100, end=140)
    found.feed(ReadCoilsResponse(bits=bits).encode()[1:])
    assert found.values == [bits[address]]


def test_a_value_within_its_deadband_is_not_told_again_and_does_not_creep_away() -> None:
    found = decoder(row("x", 0, Form.UINT16, deadband=Deadband(absolute=2.0)))
    assert found.feed(wire(100)) and found.values == [100.0]
    assert not any(found.feed(wire(raw)) for raw in (101, 102, 99, 98, 100))
    assert found.values == [100.0]
    assert found.feed(wire(103)) and found.values == [103.0]
    shared = decoder(row("x", 0, Form.UINT16, range=Range(0, 1000), deadband=Deadband(share=0.01)))
    assert shared.feed(wire(100)) and not shared.feed(wire(110)) and shared.feed(wire(111))


def test_a_value_that_does_not_fit_its_place_is_refused_before_it_is_sent() -> None:
    for one, value in (
        (row("x", 0, Form.INT16, int), 40_000),
        (row("x", 0, Form.UINT16, scale=0.1), 7000.0),
        (row("x", 0, Form.FLOAT32), 1e39),
        (row("x", 0, Form.STRING, str, registers=1), "abc"),
        (row("x", 0, Form.UINT16, plus_from="y"), 1.0),
        (row("x", 0, Form.UINT16), math.inf),
        (row("x", 0, Form.INT16, int), math.nan),
        (row("x", 0, Form.FLOAT32), 10**400),
    ):
        with pytest.raises(EncodeError, match="x"):
            encode(one, value)
