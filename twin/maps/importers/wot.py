"""Maps from W3C Web of Things Thing Descriptions with the Modbus binding (`modv:` or, in older texts, `modbus:`).

Facts: an href is modbus+tcp://HOST:PORT/UNIT/ADDRESS?quantity=N; `entity` wins over `function`; addresses count from 1 unless
`zeroBasedAddressing` is true, and the binding's own examples print 10003 for a discrete input: a number of five or six digits
that begins with its table's digit is read as such a printed one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from twin import hosts
from twin.maps import table
from twin.maps.document import Notes
from twin.maps.importers.located import load
from twin.maps.importers.making import Imported, Making, one_line, snake, wanted, wanted_list, wanted_number
from twin.maps.map import CLASSES, MapError
from twin.maps.toml_lines import Spot

ENTITIES: Mapping[Any, str] = MappingProxyType(
    {"Coil": "co", "DiscreteInput": "di", "HoldingRegister": "hr", "InputRegister": "ir"}
)
FUNCTIONS: Mapping[Any, str] = MappingProxyType(
    {
        "readCoil": "co", "writeSingleCoil": "co", "writeCoil": "co", "writeMultipleCoils": "co", "readDiscreteInput": "di",
        "readHoldingRegisters": "hr", "readHoldingRegister": "hr", "writeSingleHoldingRegister": "hr",
        "writeMultipleHoldingRegisters": "hr", "writeMultipleHoldingRegister": "hr", "readInputRegisters": "ir",
        "readInputRegister": "ir", 1: "co", 2: "di", 3: "hr", 4: "ir", 5: "co", 6: "hr", 15: "co", 16: "hr",
    }
)  # fmt: skip
DIGITS = {"co": "0", "di": "1", "ir": "3", "hr": "4"}
XSD: Mapping[str, str] = MappingProxyType(
    {
        "short": "int16", "unsignedShort": "uint16", "int": "int32", "unsignedInt": "uint32", "long": "int64",
        "unsignedLong": "uint64", "float": "float32", "double": "float64", "string": "string", "boolean": "uint16",
        "byte": "int16", "unsignedByte": "uint16",
    }
)  # fmt: skip
SIZES = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}
SEQUENCES = {
    "BIG_ENDIAN": "ABCD", "LITTLE_ENDIAN": "DCBA", "BIG_ENDIAN_BYTE_SWAP": "BADC", "LITTLE_ENDIAN_BYTE_SWAP": "CDAB",
}  # fmt: skip
_READS, _WRITES = {"readproperty", "observeproperty"}, {"writeproperty"}
_PARAMETER = re.compile(r";\s*([A-Za-z]+)=([A-Za-z_0-9]+)")
MOST_BITS = 256


@dataclass(frozen=True, slots=True)
class _Place:
    """What a form points at."""

    unit: int
    table: str
    address: int
    quantity: int


def read(file: str, text: str) -> Imported:
    """The Map of a Thing's properties.

    Raises:
        MapError: every mistake, with file and line.
    """
    thing = _Thing(Making(Notes(file)))
    value, where = load(text, thing.making.notes)
    name = thing.all(value, where) if value is not None else "thing"
    if thing.making.notes.mistakes:
        raise MapError(thing.making.notes.mistakes)
    return Imported(table.build(thing.making.document, thing.making.notes, name), tuple(thing.making.remarks))


class _Thing:
    def __init__(self, making: Making) -> None:
        self.making = making
        self._td: dict[str, Any] = {}
        self._base = ""
        self._hosts: dict[str, int] = {}
        self._rows: list[tuple[dict[str, Any], int, Spot]] = []
        self._classes: dict[str, int] = {}

    def all(self, value: Any, where: Spot) -> str:
        """Map every property; the Thing's name."""
        self._td = wanted(self.making, value, where, "the Thing Description")
        self._base = str(self._td.get("base", ""))
        spots = _spot(where, "properties")
        properties = wanted(self.making, self._td.get("properties", {}), spots, "properties")
        for name, found in properties.items():
            entry = wanted(self.making, found, _spot(spots, name), f"properties.{name}")
            if entry:
                self._property(name, entry, _spot(spots, name))
        for key in ("actions", "events"):
            if self._td.get(key):
                self.making.remark(_spot(where, key).line, f"{key} are left out: a Map has Signals")
        self._finish(where)
        return snake(str(self._td.get("title", "thing"))).replace("_", "-")

    def _finish(self, where: Spot) -> None:
        self.making.head("base", "0-based")
        self.making.head("text", one_line(self._td.get("title"), self._td.get("description")))
        self.making.head("classes", "|".join(f"{name}={period}" for name, period in self._classes.items()))
        units = {unit for _, unit, _ in self._rows}
        for cells, unit, spot in self._rows:
            self.making.row({**cells, "unit_id": unit if len(units) > 1 else ""}, spot)
        for host, line in self._hosts.items():
            self.making.remark(line, f"reached at {host}")
        if len(units) == 1:
            self.making.remark(where.line, f"its unit = {units.pop()} belongs to the machine in factory.toml, not to the Map")

    def _property(self, name: str, entry: dict[str, Any], where: Spot) -> None:
        spots = _spot(where, "forms")
        places: dict[str, tuple[_Place, dict[str, Any], Spot]] = {}
        for index, one in enumerate(wanted_list(self.making, entry.get("forms"), spots, f"{name}: forms")):
            spot = _spot(spots, index)
            form = wanted(self.making, one, spot, f"{name}: forms[{index}]")
            if not form or (place := self._where(name, form, spot)) is None:
                continue
            for way in self._ways(entry, form, place):
                places.setdefault(way, (place, form, spot))
        if not places:
            return
        place, form, spot = places.get("r") or places["w"]
        access = "".join(way for way in "rw" if way in places)
        if access == "rw" and places["w"][0] != place:
            self.making.remark(places["w"][2].line, f"{name}: is written elsewhere than it is read: left out, it can only be read")
            access = "r"
        self._add(name, entry, where, place, form, spot, access)

    def _ways(self, entry: dict[str, Any], form: dict[str, Any], place: _Place) -> set[str]:
        said = form.get("op", "readproperty" if place.table in ("di", "ir") else None)
        ops = {said} if isinstance(said, str) else set(map(str, said)) if isinstance(said, list) else _READS | _WRITES
        ways = {"r"} if ops & _READS else set()
        ways |= {"w"} if ops & _WRITES else set()
        ways -= {"w"} if entry.get("readOnly") is True else set()
        return ways - ({"r"} if entry.get("writeOnly") is True else set())

    def _term(self, form: dict[str, Any], *names: str) -> Any:
        """A word of the binding's vocabulary, in the form or for the whole Thing."""
        for holder in (form, self._td):
            for name in names:
                for prefix in ("modv:", "modbus:"):
                    if prefix + name in holder:
                        return holder[prefix + name]
        return None

    def _where(self, name: str, form: dict[str, Any], spot: Spot) -> _Place | None:
        href = str(form.get("href", ""))
        line = _spot(spot, "href")
        parts = hosts.split(href if "://" in href else _joined(self._base, href))
        if parts is None or parts.scheme != "modbus+tcp":
            self.making.remark(line.line, f"{name}: {href or '(no href)'} is not modbus+tcp: left out")
            return None
        kind = self._entity(name, form, spot)
        path, query = [part for part in parts.path.split("/") if part], parse_qs(parts.query)

        def number(term: str, *others: str, place: int | None = None, default: int | None = None, high: int = 65_536) -> int | None:
            said = self._term(form, term, *others)
            for other in (term, *others):
                said = query.get(other, [None])[0] if said is None else said
            said = path[place] if said is None and place is not None and len(path) > place else said
            said = default if said is None else said
            said = int(said) if isinstance(said, str) and said.isdecimal() and len(said) < 10 else said
            return wanted_number(self.making, said, (0, high), line, f"{name}: {term}")

        unit = number("unitID", place=0, high=255)
        address = number("address", "offset", place=1, high=465_536)
        quantity = number("quantity", "length", default=1, high=2000)
        if kind is None or unit is None or address is None or not quantity:
            return None
        self._hosts.setdefault(f'host = "{parts.hostname}", port = {_port(parts.netloc)}', line.line)
        wire = self._wire(name, kind, address, form, line)
        return None if wire is None else _Place(unit, kind, wire, quantity)

    def _entity(self, name: str, form: dict[str, Any], spot: Spot) -> str | None:
        entity, function = self._term(form, "entity"), self._term(form, "function", "functionCode", "functionName")
        if function in ("readDeviceIdentification", 43) and entity is None:
            self.making.remark(spot.line, f"{name}: device identification is left out; lockstep modbus scan shows it")
            return None
        if isinstance(entity, str) and entity in ENTITIES:
            return ENTITIES[entity]
        if entity is None and isinstance(function, (str, int)) and function in FUNCTIONS:
            return FUNCTIONS[function]
        words = ", ".join(ENTITIES)
        self.making.notes.wrong(spot.line, f"{name}: modv:entity must be one of {words}, not {entity or function!r}")
        return None

    def _wire(self, name: str, kind: str, address: int, form: dict[str, Any], spot: Spot) -> int | None:
        if self._term(form, "zeroBasedAddressing", "zeroBaseAddressing") is True:
            found = address
        else:
            text = str(address)
            printed = len(text) in (5, 6) and text[0] == DIGITS[kind] and int(text[1:]) > 0
            found = (int(text[1:]) if printed else address) - 1
            if printed:
                self.making.remark(spot.line, f"{name}: {address} is taken for the printed number of {kind} {found}")
        if not 0 <= found <= 65_535:
            self.making.notes.wrong(spot.line, f"{name}: address {address} counts from 1, for zeroBasedAddressing is not true")
            return None
        return found

    def _add(
        self, name: str, entry: dict[str, Any], where: Spot, place: _Place, form: dict[str, Any], spot: Spot, access: str
    ) -> None:
        said = {"table": place.table, "access": access, "description": one_line(entry.get("title"), entry.get("description"))}
        said["scan"] = self._scan(name, form, spot)
        if place.table in ("co", "di"):
            several = place.quantity > 1
            if place.quantity > MOST_BITS:
                self.making.notes.wrong(spot.line, f"{name}: quantity must be at most {MOST_BITS} here, not {place.quantity}")
                return
            for index in range(place.quantity):
                called = self.making.name(f"{name}_{index}" if several else name)
                self._rows.append(({"name": called, **said, "address": place.address + index}, place.unit, spot))
            return
        kind = self._type(name, entry, place, form, spot)
        if not kind:
            return
        cells = {"name": self.making.name(name), **said, "address": place.address, "type": kind, "order": self._order(form, kind)}
        cells["count"] = place.quantity if kind == "string" else ""
        if entry.get("type") == "boolean":
            cells["enum"] = "0=no|1=yes"
        elif kind != "string":
            cells["unit"] = self.making.unit(entry.get("unit"), name, _spot(where, "unit").line)
            low, high = entry.get("minimum"), entry.get("maximum")
            if low is not None and high is not None:
                cells |= {"min": low, "max": high}
        self._rows.append((cells, place.unit, spot))

    def _type(self, name: str, entry: dict[str, Any], place: _Place, form: dict[str, Any], spot: Spot) -> str:
        said = str(self._term(form, "type") or "").removeprefix("xsd:").rpartition("#")[2]
        kind, schema, size = XSD.get(said, ""), entry.get("type"), place.quantity
        if said in ("integer", "decimal") or (not said and schema == "integer"):
            signed = _parameters(form).get("signed", "true") != "false" and not (said == "" and _from_zero(entry.get("minimum")))
            kind = {1: "int16", 2: "int32", 4: "int64"}.get(size, "")
            kind = kind if signed or not kind else f"u{kind}"
        elif not said:
            kind = {"string": "string", "boolean": "uint16" if size == 1 else ""}.get(str(schema), "")
            kind = {2: "float32", 4: "float64"}.get(size, "") if schema == "number" else kind
        elif not kind:
            self.making.notes.wrong(spot.line, f"{name}: modv:type must be one of xsd:{', xsd:'.join(XSD)}, not {said!r}")
            return ""
        if not kind:
            self.making.remark(spot.line, f"{name}: {size} registers of type {schema!r}, and no modv:type: left out")
        elif kind in SIZES and size not in (1, SIZES[kind]):
            self.making.notes.wrong(spot.line, f"{name}: {said or kind} takes {SIZES[kind]} registers, and quantity is {size}")
        return kind

    def _order(self, form: dict[str, Any], kind: str) -> str:
        byte, word = self._term(form, "mostSignificantByte"), self._term(form, "mostSignificantWord")
        order = SEQUENCES.get(_parameters(form).get("byteSeq", ""), "ABCD")
        if byte is not None or word is not None:
            first = (byte is not False, word is not False)
            order = {(True, True): "ABCD", (True, False): "CDAB", (False, True): "BADC"}.get(first, "DCBA")
        if SIZES.get(kind, 1) == 1:
            order = "BADC" if order in ("BADC", "DCBA") else "ABCD"
        return "" if order == "ABCD" else order

    def _scan(self, name: str, form: dict[str, Any], spot: Spot) -> str:
        period = self._term(form, "pollingTime")
        if period is None:
            return ""
        if type(period) is not int or not 10 <= period <= 86_400_000:
            self.making.remark(spot.line, f"{name}: pollingTime {period!r} is not 10 ms or more, in whole ms: normal instead")
            return ""
        known = next((name for name, usual in CLASSES.items() if usual == period), "")
        if not known:
            self._classes[f"every-{period}"] = period
        return known or f"every-{period}"


def _joined(base: str, href: str) -> str:
    """A relative reference in a base of a scheme that urljoin does not know."""
    parts = hosts.split(base) or hosts.NOWHERE
    folder = "/" if href.startswith("/") else parts.path.rpartition("/")[0] + "/"
    return f"{parts.scheme}://{parts.netloc}{folder}{href.lstrip('/')}"


def _parameters(form: dict[str, Any]) -> dict[str, str]:
    """What stands behind the content type."""
    return dict(_PARAMETER.findall(str(form.get("contentType", ""))))


def _from_zero(least: Any) -> bool:
    """Whether a value is said to be never negative; what is no number says nothing here, and is refused as a limit."""
    return isinstance(least, (int, float)) and not isinstance(least, bool) and least >= 0


def _port(netloc: str) -> str:
    return netloc.rpartition(":")[2] if netloc.rpartition(":")[2].isdecimal() else "502"


def _spot(where: Spot, key: str | int) -> Spot:
    return where.inside.get(key) or Spot(where.line)
