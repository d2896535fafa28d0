"""A Map as CSV or TOML that reads back as the same Map."""

import csv
import enum
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from twin.maps.columns import ROW
from twin.maps.kinds import members
from twin.maps.map import CLASSES, Access, Form, Map, MapError, Mapped, Method, NodePlace, Order, Place
from twin.units import ONE, Unit


def write(map: Map, format: str) -> str:
    """The text of a file, format `csv` or `toml`, that `parse` makes the same Map of, apart from the lines.

    Raises:
        MapError: CSV cannot say it: a method.
    """
    if format == "csv" and map.methods:
        raise MapError((f"{map.name}: CSV has no methods, and it has {len(map.methods)}: write it as TOML",))
    return {"csv": _csv, "toml": _toml}[format](map)


def _csv(map: Map) -> str:
    out = io.StringIO()
    for key, text in _head(map):
        out.write(f"# {key} = {text}\n")
    found = [dict(_row(mapped)) for mapped in map.signals]
    columns = [key for key in ROW if any(key in row for row in found)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in found:
        writer.writerow([row.get(key, "") for key in columns])
    return out.getvalue()


def _toml(map: Map) -> str:
    lines = [f"{key} = {_plain(text)}" for key, text in _head(map)]
    for mapped in map.signals:
        lines += ["", "[[signals]]"] + [f"{key} = {_plain(text)}" for key, text in _row(mapped)]
    for method in map.methods:
        lines += ["", "[[methods]]"] + [f"{key} = {_plain(text)}" for key, text in _method(method)]
    return "\n".join(lines) + "\n"


_NUMBERS = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?(e[+-]?[0-9]+)?")


def _plain(text: str) -> str:
    """A TOML value: a number or true and false as they are, else a text."""
    if text in ("true", "false") or _NUMBERS.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _head(map: Map) -> Iterator[tuple[str, str]]:
    yield "name", map.name
    if map.text:
        yield "text", map.text
    if not map.signals or isinstance(map.signals[0].place, Place):
        yield "base", "0-based"
    plain = (("most_registers", 125), ("most_bits", 2000), ("most_written", 123), ("gap", None), ("pipeline", 1))
    for key, default in plain:
        if getattr(map, key) != default:
            yield key, str(getattr(map, key))
    if map.forbidden:
        yield "forbidden", "|".join(f"{places.table} {places.first}-{places.last}" for places in map.forbidden)
    if map.write_one:
        yield "write_one", "true"
    own = {name: period for name, period in map.classes.items() if CLASSES.get(name) != period}
    if own:
        yield "classes", "|".join(f"{name}={period}" for name, period in own.items())
    if map.sunspec:
        yield "sunspec", "|".join(str(base) for base in map.sunspec)


def _row(mapped: Mapped) -> Iterator[tuple[str, str]]:
    signal = mapped.signal
    yield "name", signal.name
    yield from _node(mapped) if isinstance(mapped.place, NodePlace) else _place(mapped.place)
    if signal.unit is not ONE:
        yield "unit", signal.unit.symbol
    if mapped.access is not Access.R:
        yield "access", mapped.access.value
    if mapped.scan != "normal":
        yield "scan", mapped.scan
    unit = signal.unit if signal.type is float else ONE
    if mapped.deadband.share:
        yield "deadband", _written(mapped.deadband.share, lambda percent: percent / 100, 100) + "%"
    elif mapped.deadband.absolute:
        yield "deadband", in_unit(mapped.deadband.absolute, unit)
    if signal.range is not None:
        yield "min", in_unit(signal.range.low, unit)
        yield "max", in_unit(signal.range.high, unit)
    if signal.type not in (bool, int, float, str):
        kind: Any = signal.type
        names = "|".join(f"{value}={label}" for label, value in members(kind))
        yield ("bits" if issubclass(kind, enum.IntFlag) else "enum"), names
    if isinstance(mapped.place, Place) and mapped.place.together:
        yield "together", mapped.place.together
    if signal.text:
        yield "description", signal.text


def _node(mapped: Mapped) -> Iterator[tuple[str, str]]:
    yield "node", mapped.place.node
    kind = mapped.signal.type
    yield "type", kind.__name__ if kind in (bool, int, float, str) else "int"
    yield from _scale(mapped.place)


def _place(place: Place) -> Iterator[tuple[str, str]]:
    if place.unit is not None:
        yield "unit_id", str(place.unit)
    yield "table", place.table.value
    yield "address", str(place.address)
    yield "type", place.form.value
    if place.order is not Order.ABCD:
        yield "order", place.order.value
    if place.bit is not None:
        yield "bit", str(place.bit)
    if place.form is Form.STRING:
        yield "count", str(place.registers)
    yield from _scale(place)
    if place.scale_from:
        yield "scale_from", place.scale_from
    if place.plus_from:
        yield "plus_from", place.plus_from
        yield "plus_factor", repr(place.plus_factor)
    if place.invalid:
        yield "invalid", "|".join(str(code) for code in place.invalid)


def _scale(place: Place | NodePlace) -> Iterator[tuple[str, str]]:
    if place.scale != 1:
        yield "scale", repr(place.scale)
    if place.offset != 0:
        yield "offset", repr(place.offset)


def _method(method: Method) -> Iterator[tuple[str, str]]:
    yield "name", method.name
    yield "object", method.object
    yield "method", method.method
    if method.inputs:
        yield "inputs", "|".join(f"{name}={kind.__name__}" for name, kind in method.inputs)
    if method.text:
        yield "description", method.text


def in_unit(si: float, unit: Unit) -> str:
    """An SI value in a unit, written so that it reads back as the same SI value."""
    return _written(si, unit.si, 1 / unit.size)


def _written(wanted: float, reading: Callable[[float], float], factor: float) -> str:
    about = wanted * factor
    for digits in (15, 16, 17):
        if reading(float(text := f"{about:.{digits}g}")) == wanted:
            return text
    lower = upper = about
    for _ in range(4):
        lower, upper = math.nextafter(lower, -math.inf), math.nextafter(upper, math.inf)
        for near in (lower, upper):
            if reading(near) == wanted:
                return repr(near)
    return repr(about)
