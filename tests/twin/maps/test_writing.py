"""A Map that is written reads back as the same, and whatever a file holds is a Map or mistakes with lines."""

import keyword
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin import units
from twin.maps import Access, Deadband, Form, Map, MapError, Mapped, Method, NodePlace, Order, Place, Places, Table
from twin.maps.columns import ROW
from twin.maps.kinds import enumeration, flags
from twin.maps.map import CLASSES, signal
from twin.maps.rows import raw_limits
from twin.maps.table import parse, write
from twin.units import AMPERE, ONE, VOLT
from twin.wire import Range


def csv(*lines: str) -> Map:
    return parse("\n".join(lines) + "\n", "m.csv")


def without_lines(of: Map) -> Map:
    return replace(of, signals=tuple(replace(row, line=0) for row in of.signals))


numbers = st.floats(-1e9, 1e9, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-9)
texts = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=20).map(str.strip)
words = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
labels = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), min_size=1, max_size=4, unique=True)
scales = numbers.filter(bool)


@st.composite
def modbus_rows(draw: st.DrawFn, name: str, address: int) -> Mapped:
    form = draw(st.sampled_from(list(Form)))
    table = draw(st.sampled_from(list(Table) if form is Form.BOOL else [Table.HOLDING, Table.INPUT]))
    registers = draw(st.integers(1, 20)) if form is Form.STRING else form.registers
    order = (
        draw(st.sampled_from(list(Order) if form.registers > 1 else [Order.ABCD, Order.BADC]))
        if form is not Form.BOOL
        else Order.ABCD
    )
    bit = draw(st.integers(0, 15)) if form is Form.BOOL and not table.bits else None
    plain = form in (Form.BOOL, Form.STRING)
    low, high = raw_limits(form)
    named = draw(st.sampled_from(["", "enum", "bits"])) if form.value.startswith("uint") else ""
    scale, offset = (1.0, 0.0) if plain or named else (draw(st.just(1.0) | scales), draw(st.just(0.0) | numbers))
    unit = ONE if plain or named else draw(st.sampled_from(units.ALL))
    whole = form.value.startswith(("int", "uint"))
    kind: type = (
        bool
        if form is Form.BOOL
        else str
        if form is Form.STRING
        else int
        if whole and (scale, offset, unit) == (1, 0, ONE)
        else float
    )
    if named == "enum":
        kind = enumeration(name, [(label, i) for i, label in enumerate(draw(labels))])
    elif named:
        kind = flags(name, [(label, 3 * i) for i, label in enumerate(draw(labels))])
    invalid = (
        () if plain else tuple(draw(st.lists(st.integers(int(max(low, -(2**40))), int(min(high, 2**40))), max_size=3, unique=True)))
    )
    place = Place(
        table, address, form, registers, order, bit, draw(st.none() | st.integers(0, 255)), scale, offset, invalid=invalid
    )
    limits, deadband = draw(bounds(kind, unit, sorted(raw * scale + offset for raw in (low, high))))
    can = [access for access in Access if access is Access.R or (table in (Table.HOLDING, Table.COILS) and bit is None)]
    access, scan = draw(st.sampled_from(can)), draw(st.sampled_from([*CLASSES, "mine"]))
    return Mapped(signal(name, kind, place, unit, limits, draw(texts)), access, scan, deadband)


@st.composite
def bounds(draw: st.DrawFn, kind: type, unit: units.Unit, ends: list[float]) -> tuple[Range | None, Deadband]:
    if kind not in (int, float) or draw(st.booleans()):
        return None, Deadband()
    pair = sorted(draw(st.tuples(*[st.floats(0.01, 0.99)] * 2).filter(lambda two: two[0] != two[1])))
    low, high = (ends[0] + share * (ends[1] - ends[0]) if math.isfinite(ends[1] - ends[0]) else share for share in pair)
    size = unit.size if kind is float else 1.0
    if low >= high or not math.isfinite(max(-low, high) * size):
        return None, Deadband(absolute=draw(st.floats(0.001, 1e6)) * size)
    share = draw(st.sampled_from([0.0, 0.01, 0.123456, 1.0, 1 / 3 / 100]))
    return Range(low * size, high * size), Deadband(share=share) if share else Deadband(absolute=draw(numbers.map(abs)) * size)


@st.composite
def modbus_maps(draw: st.DrawFn) -> Map:
    names = draw(
        st.lists(words.filter(lambda w: w.isidentifier() and not keyword.iskeyword(w)), min_size=1, max_size=5, unique=True)
    )
    rows = tuple(draw(modbus_rows(name, 32 * i)) for i, name in enumerate(names))
    return Map(
        draw(words),
        rows,
        draw(texts).rstrip(",; "),
        {**CLASSES, "mine": draw(st.integers(10, 86_400_000)), "fast": draw(st.integers(10, 500))},
        draw(st.integers(20, 125)),
        draw(st.integers(1, 2000)),
        draw(st.integers(20, 123)),
        draw(st.none() | st.integers(0, 125)),
        tuple(draw(st.lists(st.integers(10_000, 60_000).map(lambda n: Places(Table.INPUT, n, n + 7)), max_size=2))),
        draw(st.integers(1, 64)),
        draw(st.booleans()),
    )


@given(modbus_maps(), st.sampled_from(["csv", "toml"]))
@settings(max_examples=40, deadline=None)
def test_a_map_that_is_written_reads_back_as_the_same(given_map: Map, format: str) -> None:
    text = write(given_map, format)
    assert without_lines(parse(text, f"x.{format}")) == given_map, text


@given(
    st.lists(
        st.tuples(words, st.sampled_from([bool, int, float, str]), texts), min_size=1, max_size=4, unique_by=lambda row: row[0]
    )
)
@settings(max_examples=15, deadline=None)
def test_a_map_of_nodes_that_is_written_reads_back_as_the_same(rows: list[tuple[str, type, str]]) -> None:
    signals = tuple(
        Mapped(signal(f"s_{name}", kind, NodePlace("nsu=urn:x;s=" + (text or "é\"'#")), VOLT if kind is float else ONE, None, text))
        for name, kind, text in rows
    )
    made = Map("x", signals, methods=(Method("m_start", "i=85", "i=86", (("a", float),), "does"),))
    assert without_lines(parse(write(made, "toml"), "x.toml")) == made
    with pytest.raises(MapError, match="CSV has no methods"):
        write(made, "csv")


def test_exponents_and_turns_read_back_too() -> None:
    made = csv(
        "# sunspec = 40000|0",
        "name,table,address,type,scale_from,invalid,unit,plus_from,plus_factor,together",
        "power,hr,14,int16,power_sf,0x8000,W,,,model:101/103",
        "power_sf,hr,15,int16,,0x8000,,,,model:101/103",
        "angle,hr,2,uint16,,,°,turns,360,model:101/103",
        "turns,hr,3,int16,,,,,,model:101/103",
    )
    assert made["power"].signal.type is float
    for format in ("csv", "toml"):
        assert without_lines(parse(write(made, format), f"m.{format}")) == without_lines(made)
    assert AMPERE.code == "AMP"


@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(list(ROW) + [",", "\n", "# ", "=", '"', "|", "0", "hr", "int16", "[[signals]]"]),
        max_size=60,
    ).map("".join)
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_file_holds_it_is_a_map_or_mistakes_with_lines(text: str) -> None:
    for name in ("m.csv", "m.toml"):
        try:
            parse(text, name)
        except MapError as wrong:
            assert all(said.startswith(f"{name}:") and said.split(":")[1].isdigit() for said in wrong.mistakes)
