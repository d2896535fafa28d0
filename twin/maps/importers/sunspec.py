"""Maps from SunSpec models as the alliance publishes them, one JSON file a model.

Facts: order of points gives the offset; `sf` is a number or a point's name, looked for in the top group, then in its own; keys
that are not known are no mistake; for bit fields a symbol's value is the bit's position.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from twin.maps import table
from twin.maps.document import Notes, Row
from twin.maps.importers.located import load
from twin.maps.importers.making import Imported, Making, label, one_line, wanted, wanted_list, wanted_number
from twin.maps.map import MapError
from twin.maps.toml_lines import Spot

# Type -> our form, registers, the code for "not implemented".
TYPES: Mapping[str, tuple[str, int, str]] = MappingProxyType(
    {
        "int16": ("int16", 1, "0x8000"), "uint16": ("uint16", 1, "0xFFFF"), "count": ("uint16", 1, "0xFFFF"),
        "acc16": ("uint16", 1, "0"), "enum16": ("uint16", 1, "0xFFFF"), "bitfield16": ("uint16", 1, "0xFFFF"),
        "int32": ("int32", 2, "0x80000000"), "uint32": ("uint32", 2, "0xFFFFFFFF"), "acc32": ("uint32", 2, "0"),
        "enum32": ("uint32", 2, "0xFFFFFFFF"), "bitfield32": ("uint32", 2, "0xFFFFFFFF"), "ipaddr": ("uint32", 2, "0"),
        "int64": ("int64", 4, "0x8000000000000000"), "uint64": ("uint64", 4, "0xFFFFFFFFFFFFFFFF"), "acc64": ("uint64", 4, "0"),
        "bitfield64": ("uint64", 4, "0xFFFFFFFFFFFFFFFF"), "float32": ("float32", 2, ""), "float64": ("float64", 4, ""),
        "sunssf": ("int16", 1, "0x8000"), "string": ("string", 0, ""),
        "pad": ("", 1, ""), "ipv6addr": ("", 8, ""), "eui48": ("", 4, ""),
    }
)  # fmt: skip
BASES = "40000|50000|0"
MOST_POINTS = 4000
MOST_GROUPS = 1000
"""Of one kind; and of all kinds in a model, however they lie in each other, MOST_POINTS."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Where a group is: its names begin with `prefix`, and its scale factors have the names in `factors`."""

    prefix: str
    top: Mapping[str, str]
    own: Mapping[str, str]


def read(*files: tuple[str, str], repeat: int = 4) -> Imported:
    """The Map of one or more models, each a file's name and text.

    Args:
        repeat: how many of a group are mapped whose number is only known at run time.

    Raises:
        MapError: every mistake, with file and line.
    """
    rows: list[Row] = []
    remarks: list[str] = []
    mistakes: list[str] = []
    said: list[str] = []
    names: set[str] = set()
    for file, text in files:
        made = _Model(Making(Notes(file), _names=names), repeat, prefixed=len(files) > 1)
        said.append(made.model(*load(text, made.making.notes)))
        rows += made.making.document.rows
        remarks += made.making.remarks
        mistakes += made.making.notes.mistakes
    if mistakes:
        raise MapError(tuple(mistakes))
    whole = Making(Notes(files[0][0]))
    whole.document.rows = rows
    whole.head("text", "SunSpec " + ", ".join(text for text in said if text))
    whole.head("sunspec", BASES)
    name = "-".join(["sunspec", *(text.split(" ")[1] for text in said)])[:64]
    return Imported(table.build(whole.document, whole.notes, name), tuple(remarks))


class _Model:
    def __init__(self, making: Making, repeat: int, prefixed: bool) -> None:
        self.making, self._repeat, self._prefixed = making, repeat, prefixed
        self._id, self._points, self._groups = 0, 0, 0

    def model(self, value: Any, where: Spot) -> str:
        """Map a model; what it is called."""
        if value is None and self.making.notes.mistakes:
            return ""
        found = wanted(self.making, value, where, "the model")
        for key in ("id", "group"):
            if key not in found:
                self.making.notes.wrong(where.line, f"the model has no {key}")
        if self.making.notes.mistakes:
            return ""
        number = wanted_number(self.making, found.get("id", 1), (1, 65_534), _spot(where, "id"), "id")
        group = wanted(self.making, found.get("group", {}), _spot(where, "group"), "group")
        self._id = number or 1
        name = str(group.get("name", "model"))
        prefix = f"{name}_" if self._prefixed else ""
        self._group(group, _spot(where, "group"), 0, _Group(prefix, {}, {}), top=True)
        return f"model {self._id} {one_line(group.get('label') or name)}"

    def _group(self, group: dict[str, Any], where: Spot, offset: int, place: _Group, top: bool = False) -> int | None:
        """Map a group from an offset on; its size, or None where it is only known at run time."""
        self._groups += 1
        if self._groups > MOST_POINTS or self._points > MOST_POINTS:
            self.making.notes.wrong(where.line, f"more than {MOST_POINTS} groups or points")
            return None
        points = wanted_list(self.making, group.get("points", []), _spot(where, "points"), "points")
        spots = _spot(where, "points")
        listed = [(wanted(self.making, p, _spot(spots, i), f"points[{i}]"), _spot(spots, i)) for i, p in enumerate(points)]
        listed = [(point, spot) for point, spot in listed if point]
        factors = {
            str(p.get("name")): self.making.name(place.prefix + str(p.get("name"))) for p, _ in listed if p.get("type") == "sunssf"
        }
        here = _Group(place.prefix, factors if top else place.top, factors)
        size = 0
        for index, (point, spot) in enumerate(listed):
            size += self._point(point, spot, offset + size, here, skipped=top and index < 2)
        return self._inner(group, where, offset, size, here)

    def _inner(self, group: dict[str, Any], where: Spot, offset: int, size: int, place: _Group) -> int | None:
        spots = _spot(where, "groups")
        known = True
        for index, inner in enumerate(wanted_list(self.making, group.get("groups", []), spots, "groups")):
            spot = _spot(spots, index)
            found = wanted(self.making, inner, spot, f"groups[{index}]")
            name, count = str(found.get("name", "group")), found.get("count", 1)
            if not known:
                self.making.remark(spot.line, f"group {name}: where it lies is only known at run time: left out")
                continue
            if not (isinstance(count, str) or (type(count) is int and 0 <= count <= MOST_GROUPS)):
                text = f"group {name}: count must be a number from 0 to {MOST_GROUPS} or a point's name, not {count!r}"
                self.making.notes.wrong(_spot(spot, "count").line, text)
                continue
            at_run_time = isinstance(count, str) or count == 0
            times = self._repeat if at_run_time else int(count)
            if at_run_time:
                self.making.remark(spot.line, f"group {name}: as many as {count or 'fit'}; {times} of them are mapped")
            for number in range(1, times + 1):
                prefix = f"{place.prefix}{name}_{number}_" if count != 1 else f"{place.prefix}{name}_"
                taken = self._group(found, spot, offset + size, _Group(prefix, place.top, {}))
                if taken is None:
                    known = False
                    if number < times:
                        self.making.remark(spot.line, f"group {name}: only the first of them is at a known place")
                    break
                size += taken
            known = known and not at_run_time
        return size if known else None

    def _point(self, point: dict[str, Any], spot: Spot, offset: int, place: _Group, skipped: bool) -> int:
        """Map a point; the registers that it takes."""
        name, kind = str(point.get("name", "")), str(point.get("type"))
        if not name or kind not in TYPES:
            known = ", ".join(TYPES)
            self.making.notes.wrong(spot.line, f"point {name or '(no name)'}: type must be one of {known}, not {kind!r}")
            return 0
        form, size, invalid = TYPES[kind]
        if kind == "string":
            found = wanted_number(self.making, point.get("size"), (1, 125), _spot(spot, "size"), f"point {name}: size")
            size = found or 1
        times = wanted_number(self.making, point.get("count", 1), (1, 1000), _spot(spot, "count"), f"point {name}: count") or 1
        self._points += times
        if self._points > MOST_POINTS:
            self.making.notes.wrong(spot.line, f"more than {MOST_POINTS} points")
            return 0
        if not form and kind != "pad":
            self.making.remark(spot.line, f"point {name}: type {kind} is left out")
        for number in range(times if form and not skipped else 0):
            wish = place.prefix + name + (f"_{number + 1}" if times > 1 else "")
            called = place.own[name] if kind == "sunssf" and times == 1 else self.making.name(wish)
            cells = {"name": called, "table": "hr", "address": offset + number * size, "type": form, "invalid": invalid}
            self._describe(cells, point, spot, place, kind, size)
        return size * times

    def _describe(self, cells: dict[str, Any], point: dict[str, Any], spot: Spot, place: _Group, kind: str, size: int) -> None:
        name = str(point["name"])
        cells["together"] = f"model:{self._id}"
        cells["count"] = size if kind == "string" else ""
        symbols = self._symbols(point, spot) if kind.startswith(("enum", "bitfield")) else ""
        cells["enum" if kind.startswith("enum") else "bits"] = symbols
        if not symbols and kind not in ("string", "sunssf"):
            self._scale(cells, point, spot, place)
            unit = point.get("units")
            cells["unit"] = "" if unit in (None, "cos()") else self.making.unit(unit, name, spot.line)
        if kind == "sunssf":
            cells.update(min=-10, max=10)
        cells["access"] = "rw" if point.get("access") == "RW" else ""
        cells["scan"] = "once" if point.get("static") == "S" and kind != "sunssf" else ""  # factors change, whatever the file says
        cells["description"] = one_line(point.get("label") or point.get("desc"))
        self.making.row(cells, spot)

    def _scale(self, cells: dict[str, Any], point: dict[str, Any], spot: Spot, place: _Group) -> None:
        factor = point.get("sf")
        if isinstance(factor, str):
            found = place.top.get(factor) or place.own.get(factor)
            if found is None:
                text = f"point {point['name']}: sf: there is no point {factor!r} of type sunssf"
                self.making.notes.wrong(_spot(spot, "sf").line, text)
            cells["scale_from"] = found
        elif factor is not None:
            number = wanted_number(self.making, factor, (-10, 10), _spot(spot, "sf"), f"point {point['name']}: sf")
            cells["scale"] = f"1e{number or 0}" if number else ""

    def _symbols(self, point: dict[str, Any], spot: Spot) -> str:
        spots = _spot(spot, "symbols")
        found: dict[str, int] = {}
        for index, symbol in enumerate(wanted_list(self.making, point.get("symbols", []), spots, "symbols")):
            line = _spot(spots, index)
            entry = wanted(self.making, symbol, line, "symbols")
            value = wanted_number(self.making, entry.get("value"), (0, 2**32 - 1), line, f"point {point['name']}: a symbol's value")
            called = label(str(entry.get("name", "")))
            if value is None:
                continue
            if called in found or value in found.values():
                text = f"point {point['name']}: symbol {entry.get('name')} = {value} is there twice: left out"
                self.making.remark(line.line, text)
            else:
                found[called] = value
        return "|".join(f"{value}={called}" for called, value in found.items())


def _spot(where: Spot, key: str | int) -> Spot:
    """The Spot of a part, or one at the same line."""
    return where.inside.get(key) or Spot(where.line)
