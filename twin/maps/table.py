"""A Map out of a CSV or TOML file's text, and back."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from twin.maps import columns, csv_text, rows, sunspec, toml_text
from twin.maps.document import Document, Notes, Row, whole
from twin.maps.map import CLASSES, Map, MapError, Mapped, Method, NodePlace, Place, Places, Table
from twin.maps.together import check_together
from twin.maps.writing import write
from twin.tables import NAME_LETTERS

__all__ = ["build", "crossings", "parse", "write"]

READERS: Mapping[str, Callable[[str, Notes], Document]] = {".csv": csv_text.read, ".toml": toml_text.read}
SHORTEST_SCAN_MS, LONGEST_SCAN_MS = 10, 86_400_000
_PLACES = re.compile(r"([a-z]+)[ \t]+([0-9]{1,5})(?:[ \t]*-[ \t]*([0-9]{1,5}))?")


def parse(text: str, name: str) -> Map:
    """The Map of a file's text; `name` is the file's, and its ending says what it is.

    Raises:
        MapError: every mistake, as `FILE:LINE: what is wrong`.
    """
    notes = Notes(name)
    ending = PurePath(name).suffix
    if ending not in READERS:
        raise MapError((f"{name}:1: a Map is a file that ends in {' or '.join(READERS)}",))
    return build(READERS[ending](text, notes), notes, PurePath(name).stem)


def build(document: Document, notes: Notes, name: str) -> Map:
    """The Map of cells, however they were found; `name` is its name where they give none.

    Raises:
        MapError: every mistake, those that are noted already too.
    """
    made = _map(document, notes, name)
    if notes.mistakes:
        raise MapError(notes.mistakes)
    return made


def _map(document: Document, notes: Notes, stem: str) -> Map:
    head = Row(document.head, 1, notes)
    base = head.choice("base", columns.BASES, "")
    chain = _chain(head)
    classes = _classes(head)
    signals = tuple(rows.mapped(row, base or ("0-based" if chain else ""), tuple(classes)) for row in document.rows)
    made = Map(
        _name(head, stem),
        signals,
        head.text("text").rstrip(",; "),  # a spreadsheet puts commas behind it
        classes,
        head.integer("most_registers", 1, 125, 125),
        head.integer("most_bits", 1, 2000, 2000),
        head.integer("most_written", 1, 123, 123),
        head.integer("gap", 0, 125, 0) if "gap" in head else None,
        _forbidden(head),
        head.integer("pipeline", 1, 64, 1),
        bool(head.choice("write_one", columns.YES, "")),
        chain,
        tuple(_method(row) for row in document.methods),
    )
    if chain and base not in ("", "0-based"):
        head.wrong("base", "must be 0-based: with sunspec, addresses count from the model's ID, which is 0")
    if not signals and not notes.mistakes:
        notes.wrong(1, "no Signals")
    _check_names(signals, document.rows)
    _check_kinds(made, document)
    pairs = [(row, mapped) for row, mapped in zip(document.rows, signals, strict=True) if isinstance(mapped.place, Place)]
    for row, mapped in pairs:
        _check_place(row, mapped, made)
    if not notes.mistakes:  # names and places that stand for something
        check_together(pairs, made)
    _check_overlaps(pairs)
    return made


def _name(head: Row, stem: str) -> str:
    found = head.text("name") if "name" in head else stem
    if not found or len(found) > 64 or set(found) - NAME_LETTERS:
        head.wrong("name", f"must be a-z, 0-9, - and _, at most 64, not {found!r}")
    return found


def _chain(head: Row) -> tuple[int, ...]:
    found = [whole(part) for part in head.parts("sunspec")]
    if any(one is None or not 0 <= one < rows.REGISTERS - 2 for one in found) or len(set(found)) != len(found):
        head.wrong("sunspec", f"must be different wire addresses such as 40000|50000|0, not {head.text('sunspec')!r}")
        return ()
    return tuple(one for one in found if one is not None)


def _classes(head: Row) -> Mapping[str, int]:
    made = dict(CLASSES)
    for name, period in head.pairs("classes", "fast=50|hourly=3600000"):
        found = whole(period)
        if set(name) - NAME_LETTERS:
            head.wrong("classes", f"{name!r} must be a-z, 0-9, - and _")
        if found is None or not (found == 0 or SHORTEST_SCAN_MS <= found <= LONGEST_SCAN_MS):
            limits = f"from {SHORTEST_SCAN_MS} to {LONGEST_SCAN_MS}"
            head.wrong("classes", f"{name} must be 0 or a whole number of milliseconds {limits}, not {period!r}")
        made[name] = found or 0
    return made


def _forbidden(head: Row) -> tuple[Places, ...]:
    made = []
    for part in head.parts("forbidden"):
        found = _PLACES.fullmatch(part)
        first, last = (int(found[2]), int(found[3] or found[2])) if found else (0, 0)
        if found is None or found[1] not in columns.TABLES or not first <= last < rows.REGISTERS:
            head.wrong("forbidden", f"must be written hr 24-25|ir 100, not {part!r}")
        else:
            made.append(Places(Table(columns.TABLES[found[1]]), first, last))
    return tuple(made)


def _method(row: Row) -> Method:
    inputs: list[tuple[str, type]] = []
    for name, word in row.pairs("inputs", "speed=float|mode=int"):
        if not rows.NAME.fullmatch(name) or word not in columns.NODE_TYPES or name in dict(inputs):
            row.wrong("inputs", f"{name}={word}: each name once, as a Signal's, with one of {', '.join(columns.NODE_TYPES)}")
        else:
            inputs.append((name, columns.NODE_TYPES[word]))
    return Method(
        rows.name(row), rows.node_id(row, "object"), rows.node_id(row, "method"), tuple(inputs), row.text("description")
    )


def _check_names(signals: tuple[Mapped, ...], written: list[Row]) -> None:
    seen: dict[str, int] = {}
    for row, mapped in zip(written, signals, strict=True):
        if mapped.name in seen and mapped.name:
            row.wrong("name", f"is taken in line {seen[mapped.name]}")
        seen.setdefault(mapped.name, row.at("name"))


def _check_kinds(made: Map, document: Document) -> None:
    nodes = [isinstance(mapped.place, NodePlace) for mapped in made.signals]
    seen: dict[str, int] = {}
    for row, method in zip(document.methods, made.methods, strict=True):
        if not all(nodes):
            row.wrong("method", "only a Map of an OPC UA server has methods")
        if method.name in seen and method.name:
            row.wrong("name", f"is taken in line {seen[method.name]}")
        seen.setdefault(method.name, row.at("name"))
    for row, node in zip(document.rows, nodes, strict=True):
        if node != nodes[0]:
            row.wrong("node", "a Map is of an OPC UA server (every Signal has a node) or of a Modbus device (none has)")
            return


def _check_place(row: Row, mapped: Mapped, made: Map) -> None:
    """What a place may be is known when all are there."""
    place: Place = mapped.place
    most = made.most_bits if place.table.bits else made.most_registers
    if place.registers > most:
        row.wrong("count" if "count" in row else "type", f"{place.registers} registers, and one request may read {most}")
    if mapped.writable and place.registers > made.most_written:
        row.wrong("access", f"{place.registers} registers, and one request may write {made.most_written}")
    for places in made.forbidden:
        if places.table is place.table and place.address <= places.last and places.first < place.end:
            row.wrong("address", f"{places.table} {places.first}-{places.last} is forbidden")
    if made.sunspec and not (place.table is Table.HOLDING and sunspec.models(place.together)):
        row.wrong("together", f"must be model:ID or model:ID/ID, in table hr, for the Map has sunspec; not {place.together!r}")
    others = {other.name: other for other in made.signals if isinstance(other.place, Place)}
    known = [_check_other(row, key, mapped, others, most) for key in ("scale_from", "plus_from") if getattr(place, key)]
    if all(known):
        _check_limits(row, mapped, others)


def _check_other(row: Row, key: str, mapped: Mapped, others: dict[str, Mapped], most: int) -> bool:
    """Whether the Signal that a place names can be read with it."""
    place: Place = mapped.place
    other = others.get(getattr(place, key))
    if other is None or other is mapped:
        row.wrong(key, f"{getattr(place, key)!r} is no other Signal of this Map")
        return False
    there: Place = other.place
    if not other.readable or there.form not in rows.INTEGERS:
        row.wrong(key, f"{other.name} must be readable, and a whole number")
    if (there.table, there.unit, there.together) != (place.table, place.unit, place.together):
        row.wrong(key, f"{other.name} must be in the same table and unit, with the same together: both are read in one request")
    elif max(place.end, there.end) - min(place.address, there.address) > most:
        row.wrong(key, f"{other.name} is too far away: one request reads at most {most} registers")
    return True


def _check_limits(row: Row, mapped: Mapped, others: dict[str, Mapped]) -> None:
    limits, can = mapped.signal.range, rows.value_limits(mapped, others)
    if limits is None or can is None:
        return
    slack = 1e-9 * max(abs(can[0]), abs(can[1]))
    if limits.low < can[0] - slack or limits.high > can[1] + slack:
        size = mapped.signal.size
        held = f"{can[0] / size:g} to {can[1] / size:g} {mapped.signal.unit.symbol}".rstrip()
        what = f"a {mapped.place.form} with this scale and offset holds {held}"
        row.wrong("min", f"{row.text('min')} to {row.text('max')} cannot be: {what}")


def _check_overlaps(pairs: list[tuple[Row, Mapped]]) -> None:
    """The same bit or value must not be there twice; another view of the same registers may be."""
    seen: dict[Any, int] = {}
    for row, mapped in pairs:
        place: Place = mapped.place
        same = (place.table, place.unit, _model(place), place.address, place.registers, place.form, place.bit)
        if same in seen:
            row.wrong("address", f"{place} is in line {seen[same]} already")
        seen.setdefault(same, row.line)


def _model(place: Place) -> str:
    return place.together if sunspec.models(place.together) else ""


def crossings(map: Map) -> tuple[tuple[Mapped, Mapped], ...]:
    """Signals whose registers overlap so that neither lies in the other's: allowed, and most often a mistake."""
    spans: dict[Any, list[tuple[int, int, int]]] = {}
    for index, mapped in enumerate(map.signals):
        if isinstance(mapped.place, Place):
            place: Place = mapped.place
            where = (place.table, place.unit, _model(place))
            spans.setdefault(where, []).append((place.address, -place.end, index))
    return tuple(
        (map.signals[first], map.signals[second]) for found in spans.values() for first, second in _crossing(sorted(found))
    )


def _crossing(spans: list[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """Of (first, -end, index), sorted."""
    around: list[tuple[int, int, int]] = []
    for span in spans:
        while around and -around[-1][1] <= span[0]:
            around.pop()
        if around and -span[1] > -around[-1][1]:
            yield around[-1][2], span[2]
        else:
            around.append(span)
