"""One row of a Map's file as a Signal: its place, its type and its limits, each mistake noted."""

import keyword
import math
import re
from typing import Any

from twin import units
from twin.maps import columns
from twin.maps.document import Row, number, whole
from twin.maps.kinds import enumeration, flags
from twin.maps.map import Access, Deadband, Form, Mapped, NodePlace, Order, Place, Table, signal
from twin.units import ONE, Unit
from twin.wire import Range

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
NODE = re.compile(r"(nsu=[^;]{1,400};)?(i=[0-9]{1,10}|s=.{1,400}|g=[0-9a-fA-F-]{36}|b=[A-Za-z0-9+/=]{1,400})")
INTEGERS = (Form.INT16, Form.UINT16, Form.INT32, Form.UINT32, Form.INT64, Form.UINT64)
LARGEST = {Form.FLOAT32: 3.4028234663852886e38, Form.FLOAT64: 1.7976931348623157e308}
REGISTERS = 65_536
ONLY_MODBUS = (
    "unit_id", "table", "address", "order", "bit", "count", "scale_from", "plus_from", "plus_factor", "invalid", "together",
)  # fmt: skip


def name(row: Row) -> str:
    """The row's name, which becomes a field's."""
    found = row.text("name")
    if not NAME.fullmatch(found) or keyword.iskeyword(found):
        row.wrong("name", f"must be a-z, 0-9 and _, a letter first, at most 64, and no word of Python, not {found!r}")
        return ""
    return found


def mapped(row: Row, base: str, scans: tuple[str, ...]) -> Mapped:
    """The row as a Signal; where it has mistakes, one that must not be used."""
    called = name(row)
    node = "node" in row
    for key in ONLY_MODBUS:
        if node and key in row:
            row.wrong(key, "a Signal with a node has none")
    place = _node(row) if node else _place(row, base)
    unit = _unit(row)
    kind = _kind(row, called, place, unit)
    access = Access(row.choice("access", columns.ACCESS, "r"))
    _check_written(row, access, place)
    scan = row.choice("scan", {scan: scan for scan in scans}, "normal")
    limits = _range(row, kind, unit)
    text = row.text("description")
    found = signal(called, kind, place, unit, limits, text)
    return Mapped(found, access, scan, _deadband(row, kind, unit, limits), row.line)


def _unit(row: Row) -> Unit:
    written = row.text("unit")
    found = units.find(written)
    if found is None:
        row.wrong("unit", f"{written!r} is unknown; allowed are {', '.join(s for s in units.SYMBOLS if s)}, or their UNECE codes")
        return ONE
    return found


def _scale(row: Row) -> tuple[float, float]:
    scale, offset = row.number("scale", 1.0), row.number("offset", 0.0)
    if scale == 0:
        row.wrong("scale", "must not be 0: every value would be the same")
        scale = 1.0
    return scale, offset


def node_id(row: Row, key: str) -> str:
    """A NodeId with its namespace's URI; a number of a namespace changes when a server starts."""
    found = row.text(key)
    if not NODE.fullmatch(found):
        row.wrong(key, f"must be like nsu=urn:maker;s=Press.Speed, or i=2258 in namespace 0, not {found!r}")
    return found


def _node(row: Row) -> NodePlace:
    return NodePlace(node_id(row, "node"), *_scale(row))


def _place(row: Row, base: str) -> Place:
    table, address = _where(row, base)
    form = _form(row, table)
    order = Order(row.choice("order", columns.ORDERS if form.registers > 1 else columns.ORDERS_OF_ONE, "ABCD"))
    if "order" in row and form is Form.BOOL:
        row.wrong("order", "a single bit has none")
    count = row.integer("count", 1, 125, form.registers)
    if form is not Form.STRING and count != form.registers:
        row.wrong("count", f"must be {form.registers} for {form}, not {count}")
    if form is Form.STRING and "count" not in row:
        row.wrong("count", "missing: a string takes so many registers")
    if address + count > REGISTERS:
        row.wrong("address", f"{address} and {count} registers go beyond {REGISTERS - 1}")
    scale, offset = _scale(row)
    plus_from, plus_factor = row.text("plus_from"), row.number("plus_factor", 0.0)
    if bool(plus_from) != bool(plus_factor):
        row.wrong("plus_factor", "must be there, and not 0, where plus_from is, and nowhere else")
    return Place(
        table, address, form, count, order,
        row.integer("bit", 0, 15, 0) if "bit" in row else None,
        row.integer("unit_id", 0, 255, 0) if "unit_id" in row else None,
        scale, offset, row.text("scale_from"), plus_from, plus_factor, _invalid(row, form), row.text("together"),
    )  # fmt: skip


def _where(row: Row, base: str) -> tuple[Table, int]:
    """Table and wire address."""
    said = row.choice("table", columns.TABLES, "")
    written = row.text("address")
    if not written:
        row.wrong("address", "missing")
        return Table(said or "hr"), 0
    if base == "4xxxx":
        return _printed(row, said, written)
    if not said and "table" not in row:
        row.wrong("table", f"missing: must be one of {', '.join(columns.TABLES)}")
    table = Table(said or "hr")
    if not base and _looks_printed(table, written):
        row.wrong(
            "address",
            f"{written} may be that address on the wire, or the printed number of {int(written[1:]) - 1}: say which, with base = "
            "0-based or base = 4xxxx",
        )
        return table, 0
    first = 1 if base == "1-based" else 0
    return table, row.integer("address", first, REGISTERS - 1 + first, first) - first


def _looks_printed(table: Table, written: str) -> bool:
    digit = next(digit for digit, one in columns.DIGITS.items() if one is table)
    return written.isdecimal() and len(written) in (5, 6) and written[0] == digit and int(written[1:]) > 0


def _printed(row: Row, said: str, written: str) -> tuple[Table, int]:
    """Of an address as vendors print it: the first of five or six digits is the table, the others count from 1."""
    if not written.isdecimal() or not written.isascii() or len(written) > 6:
        row.wrong("address", f"must be five or six digits such as 40001, for base = 4xxxx, not {written!r}")
        return Table.HOLDING, 0
    coil = len(written) < 5 and said == Table.COILS  # a spreadsheet drops the zeros that coils begin with
    table = Table.COILS if coil else columns.DIGITS.get(written[0]) if len(written) >= 5 else None
    count = int(written) if coil else int(written[1:])
    if table is None or not 1 <= count <= REGISTERS:
        allowed = f"must be 0xxxx, 1xxxx, 3xxxx or 4xxxx, or six digits, with 1 to {REGISTERS} behind the first"
        row.wrong("address", f"{allowed}, not {written!r}")
        return Table.HOLDING, 0
    if said and said != table:
        row.wrong("address", f"{written} is in table {table}, and the row says {said}")
    return table, count - 1


def _form(row: Row, table: Table) -> Form:
    bit = "bit" in row
    if table.bits and bit:
        row.wrong("bit", f"every address of table {table} is one bit")
    default = Form.BOOL if table.bits or bit else Form.UINT16
    form = Form(row.choice("type", columns.FORMS, default.value))
    if "type" not in row and default is not Form.BOOL:
        row.wrong("type", f"missing: must be one of {', '.join(columns.FORMS)}")
    if table.bits and form is not Form.BOOL:
        row.wrong("type", f"must be bool in table {table}, not {form}")
        return Form.BOOL
    if not table.bits and form is Form.BOOL and not bit:
        row.wrong("bit", "missing: a bool in a register is one of its bits, 0 to 15")
    if not table.bits and bit and form is not Form.BOOL:
        row.wrong("bit", f"only a bool is a bit, and the type is {form}")
    return form


def raw_limits(form: Form) -> tuple[float, float]:
    """Smallest and largest raw value."""
    if form in LARGEST:
        return -LARGEST[form], LARGEST[form]
    if form in (Form.BOOL, Form.STRING):
        return 0, 1
    size = 16 * form.registers
    return (0, 2**size - 1) if form.value.startswith("u") else (-(2 ** (size - 1)), 2 ** (size - 1) - 1)


def _invalid(row: Row, form: Form) -> tuple[int, ...]:
    if "invalid" in row and form in (Form.BOOL, Form.STRING):
        row.wrong("invalid", f"a {form} has none")
        return ()
    low, high = raw_limits(form)
    found = []
    for part in row.parts("invalid"):
        code = whole(part)
        if code is not None and low < 0 and form in INTEGERS and high < code <= 2 * high + 1:
            code -= 2 * (int(high) + 1)  # a pattern of bits
        if code is None or not low <= code <= high or code in found:
            row.wrong("invalid", f"must be different whole numbers that {form} can hold, with | between them, not {part!r}")
        else:
            found.append(code)
    return tuple(found)


def _kind(row: Row, called: str, place: Place | NodePlace, unit: Unit) -> type:
    """The Signal's type in Python."""
    kind, low, high = _plain(row, place, unit)
    words = [key for key in ("enum", "bits") if key in row]
    scaled = [key for key in ("scale", "offset", "scale_from", "plus_from", "unit") if key in row]
    if kind in (bool, str) or words:
        what = " and ".join(words) if words else ("a bit" if kind is bool else "a text")
        for key in scaled:
            row.wrong(key, f"{what} has none")
    if len(words) == 2:
        row.wrong("bits", "a value has names for its values (enum) or for its bits, not both")
    if words and kind is not int:
        if not scaled:
            row.wrong(words[0], f"only a whole number has {words[0]}, and this is a {kind.__name__}")
        return kind
    if words == ["enum"]:
        return enumeration(called, labels) if (labels := _labels(row, "enum", int(low), int(high))) else kind
    if words == ["bits"]:
        if low < 0 and not isinstance(place, NodePlace):
            row.wrong("bits", "the type must be uint16, uint32 or uint64")
        return flags(called, labels) if (labels := _labels(row, "bits", 0, int(high).bit_length() - 1)) else kind
    return kind


def _plain(row: Row, place: Place | NodePlace, unit: Unit) -> tuple[type, float, float]:
    """The type without names for its values, and its raw limits."""
    if isinstance(place, NodePlace):
        word = row.choice("type", {key: key for key in columns.NODE_TYPES}, "int" if {"enum", "bits"} & set(row.cells) else "float")
        kind = columns.NODE_TYPES[word]
        if kind is int and any(key in row for key in ("scale", "offset", "unit")):
            row.wrong("type", "an int has neither scale, offset nor unit: make it a float")
        return kind, -(2**63), 2**63 - 1
    low, high = raw_limits(place.form)
    if place.form in (Form.BOOL, Form.STRING):
        return (bool if place.form is Form.BOOL else str), low, high
    counted = place.form in INTEGERS and place.scale == 1 and place.offset == 0 and unit is ONE
    return (int if counted and not place.scale_from and not place.plus_from else float), low, high


def _labels(row: Row, key: str, low: int, high: int) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    for left, label in row.pairs(key, "0=off|1=on"):
        value = whole(left)
        if value is None or not low <= value <= high:
            row.wrong(key, f"{left!r} must be a whole number from {low} to {high}")
        elif not LABEL.fullmatch(label):
            row.wrong(key, f"{label!r} must be letters, digits and _, a letter first, at most 64")
        elif label.upper() in found or value in found.values():
            row.wrong(key, f"{left}={label} is there twice")
        else:
            found[label.upper()] = value
    return tuple(found.items())


def _check_written(row: Row, access: Access, place: Place | NodePlace) -> None:
    if access is Access.R or isinstance(place, NodePlace):
        return
    if place.table in (Table.INPUT, Table.DISCRETE):
        row.wrong("access", f"must be r, not {access}: nobody can write to table {place.table}")
    if place.bit is not None:
        row.wrong("access", f"must be r, not {access}: a bit cannot be written without its register; map the register, with bits")


def _range(row: Row, kind: type, unit: Unit) -> Range | None:
    if "min" not in row and "max" not in row:
        return None
    if kind not in (int, float):
        row.wrong("min" if "min" in row else "max", f"only a number has limits, and this is {kind.__name__}")
        return None
    if "min" not in row or "max" not in row:
        row.wrong("min" if "min" in row else "max", "min and max go together")
        return None
    low, high = row.number("min", 0.0), row.number("max", 1.0)
    if low >= high:
        row.wrong("max", f"must be more than min, {row.text('min')}, not {row.text('max')}")
    if kind is not float:
        return Range(low, high)
    if not math.isfinite(max(abs(unit.si(low)), abs(unit.si(high)))):
        row.wrong("max", f"{row.text('min')} to {row.text('max')} {unit.symbol} does not fit a float in SI")
    return Range(unit.si(low), unit.si(high))


def _deadband(row: Row, kind: type, unit: Unit, limits: Range | None) -> Deadband:
    written = row.text("deadband")
    if not written:
        return Deadband()
    share = written.endswith("%")
    found = number(written.removesuffix("%").strip())
    if kind not in (int, float):
        row.wrong("deadband", f"only a number has one, and this is {kind.__name__}")
    elif found is None or not 0 <= found <= (100 if share else LARGEST[Form.FLOAT32]):
        row.wrong("deadband", f"must be 0 or more, in the unit, or a share such as 1%, not {written!r}")
    elif share and limits is None:
        row.wrong("deadband", f"{written} of what: a share needs min and max")
    else:
        return Deadband(share=found / 100) if share else Deadband(unit.si(found) if kind is float else found)
    return Deadband()


def value_limits(mapping: Mapped, rows: dict[str, Mapped]) -> tuple[float, float] | None:
    """The values that a Signal's place can hold, in SI; None where nothing can be said."""
    place: Any = mapping.place
    kind = mapping.signal.type
    if kind not in (int, float) or isinstance(place, NodePlace) or place.scale_from:
        return None
    ends = sorted(raw * place.scale + place.offset for raw in raw_limits(place.form))
    if place.plus_from:
        more = sorted(raw * place.plus_factor for raw in raw_limits(rows[place.plus_from].place.form))
        ends = [ends[0] + more[0], ends[1] + more[1]]
    size = mapping.signal.size
    return ends[0] * size, ends[1] * size
