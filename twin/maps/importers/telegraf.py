"""Maps from the configuration of Telegraf's inputs.modbus: its register, request and metric styles.

Facts: addresses are those of the wire; `byte_order` of a request holds for 16 bits too (DCBA and BADC swap them); FIXED and
UFIXED (and FLOAT32 of the register style, its old name) are whole numbers with a scale.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from twin import hosts
from twin.maps import table
from twin.maps.document import Notes
from twin.maps.importers.making import Imported, Making, snake, wanted, wanted_list, wanted_number
from twin.maps.map import MapError
from twin.maps.toml_lines import Spot
from twin.maps.toml_text import load

TYPES: Mapping[str, str] = MappingProxyType(
    {
        "INT16": "int16", "UINT16": "uint16", "INT32": "int32", "UINT32": "uint32", "INT64": "int64", "UINT64": "uint64",
        "FLOAT32": "float32", "FLOAT64": "float64", "FLOAT32-IEEE": "float32", "FLOAT64-IEEE": "float64",
        "STRING": "string", "BIT": "bool",
    }
)  # fmt: skip
LEFT_OUT = ("INT8L", "INT8H", "UINT8L", "UINT8H", "FLOAT16", "FLOAT16-IEEE")
REGISTERS = {"16": 1, "32": 2, "64": 4}
LISTS = {"discrete_inputs": "di", "coils": "co", "holding_registers": "hr", "input_registers": "ir"}
TABLES = {"coil": "co", "discrete": "di", "holding": "hr", "input": "ir"}
STYLES = ("register", "request", "metric")
_SWAPPED = {"ABCD": "AB", "CDAB": "AB", "AB": "AB", "BA": "BA", "DCBA": "BA", "BADC": "BA"}


def read(file: str, text: str, device: str = "") -> Imported:
    """The Map of a [[inputs.modbus]].

    Args:
        device: its `name`, where the file has several.

    Raises:
        MapError: every mistake, with file and line.
    """
    making = Making(Notes(file))
    tables, where = load(text, making.notes)
    name = _device(making, tables, where, device)
    if making.notes.mistakes:
        raise MapError(making.notes.mistakes)
    return Imported(table.build(making.document, making.notes, name), tuple(making.remarks))


def _device(making: Making, tables: dict[str, Any], where: Spot, wish: str) -> str:
    inputs = wanted(making, tables.get("inputs", {}), where, "inputs")
    listed = inputs.get("modbus", [])
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    spots = _spot(_spot(where, "inputs"), "modbus")
    named = [(one, _spot(spots, i)) for i, one in enumerate(found) if not wish or one.get("name") == wish]
    if len(named) != 1 and not making.notes.mistakes:
        there = ", ".join(str(one.get("name", "(no name)")) for one in found) or "none"
        making.notes.wrong(where.line, f"[[inputs.modbus]]: there must be one, or its name given; there are {there}")
    if len(named) != 1:
        return "telegraf"
    plugin, spot = named[0]
    style = plugin.get("configuration_type", "register")
    if style not in STYLES:
        text = f"configuration_type: must be one of {', '.join(STYLES)}, not {style!r}"
        making.notes.wrong(spot.line_of("configuration_type"), text)
        return "telegraf"
    making.head("base", "0-based")
    making.head("text", f"{plugin.get('name', 'device')}, from Telegraf's configuration")
    by_register = style == "register"
    slaves = _register_style(making, plugin, spot) if by_register else _listed_style(making, plugin, spot, style)
    _reached(making, plugin, spot, slaves)
    return snake(str(plugin.get("name", "telegraf"))).replace("_", "-")


def _reached(making: Making, plugin: dict[str, Any], spot: Spot, slaves: set[int]) -> None:
    said = plugin.get("controller", "")
    parts = hosts.split(said) if isinstance(said, str) else None
    if parts is None:
        making.remark(spot.line_of("controller"), f"controller: {said!r} is no tcp://HOST:PORT: left out")
    elif parts.scheme == "tcp" and parts.hostname:
        making.remark(spot.line_of("controller"), f'reached at host = "{parts.hostname}", port = {parts.port or 502}')
    if len(slaves) == 1:
        making.remark(spot.line, f"its unit = {slaves.pop()} belongs to the machine in factory.toml, not to the Map")


def _register_style(making: Making, plugin: dict[str, Any], spot: Spot) -> set[int]:
    for key, where in LISTS.items():
        for index, entry in enumerate(wanted_list(making, plugin.get(key, []), _spot(spot, key), key)):
            at = _spot(_spot(spot, key), index)
            field = wanted(making, entry, at, f"{key}[{index}]")
            if field:
                _register(making, field, at, where)
    slave = wanted_number(making, plugin.get("slave_id", 1), (0, 255), _spot(spot, "slave_id"), "slave_id")
    return {slave or 0}


def _register(making: Making, field: dict[str, Any], spot: Spot, where: str) -> None:
    name = str(field.get("name", ""))
    given = wanted_list(making, field.get("address"), _spot(spot, "address"), f"{name}: address")
    addresses = [wanted_number(making, one, (0, 65_535), _spot(spot, "address"), f"{name}: address") for one in given]
    known = sorted(one for one in addresses if one is not None)
    if not known or len(known) != len(given):
        return
    cells = {"name": making.name(name, f"{field.get('measurement', '')} {name}"), "table": where, "address": known[0]}
    if where in ("co", "di"):
        making.row(cells, spot)
        return
    kind = str(field.get("data_type", "UINT16"))
    fixed = kind in ("FIXED", "UFIXED", "FLOAT32")
    if known != list(range(known[0], known[0] + len(known))):
        making.notes.wrong(_spot(spot, "address").line, f"{name}: address: registers must follow each other, not {given}")
    if fixed and len(known) in REGISTERS.values():
        kind = ("INT" if kind == "FIXED" else "UINT") + str(16 * len(known))
    form = _form(making, name, kind, spot)
    size = REGISTERS.get(form[-2:], len(known))
    if form and size != len(known):
        making.notes.wrong(_spot(spot, "address").line, f"{name}: {kind} takes {size} registers, and address has {len(known)}")
    if form:
        cells |= {"type": form, "order": _order(form, field.get("byte_order", "ABCD")), "scale": _scale(field)}
        cells["count"] = len(known) if form == "string" else ""
        cells["bit"] = field.get("bit", "") if form == "bool" else ""
        making.row(cells, spot)


def _listed_style(making: Making, plugin: dict[str, Any], spot: Spot, style: str) -> set[int]:
    spots = _spot(spot, style)
    given = wanted_list(making, plugin.get(style, []), spots, style)
    found = [one for index, entry in enumerate(given) for one in _requests(making, entry, _spot(spots, index), style)]
    slaves = {slave for slave, *_ in found}
    for slave, order, where, field, at in found:
        _field(making, field, at, where, order, slave if len(slaves) > 1 else None)
    return slaves


_Listed = tuple[int, str, str, dict[str, Any], Spot]


def _requests(making: Making, entry: Any, spot: Spot, style: str) -> Iterator[_Listed]:
    """The fields of a request or a metric, with what holds for all of it."""
    request = wanted(making, entry, spot, style)
    slave = wanted_number(making, request.get("slave_id", 1), (0, 255), _spot(spot, "slave_id"), "slave_id") or 0
    fields = _spot(spot, "fields")
    for index, one in enumerate(wanted_list(making, request.get("fields", []), fields, "fields")):
        at = _spot(fields, index)
        field = wanted(making, one, at, f"fields[{index}]")
        register = (field if style == "metric" else request).get("register", "holding")
        if not isinstance(register, str) or register not in TABLES:
            making.notes.wrong(_spot(spot, "register").line, f"register: must be one of {', '.join(TABLES)}, not {register!r}")
        elif field and not field.get("omit"):
            yield slave, request.get("byte_order", "ABCD"), TABLES[register], field, at


def _field(making: Making, field: dict[str, Any], spot: Spot, where: str, order: str, slave: int | None) -> None:
    name = str(field.get("name", ""))
    address = wanted_number(making, field.get("address"), (0, 65_535), _spot(spot, "address"), f"{name}: address")
    form = "" if where in ("co", "di") else _form(making, name, field.get("type"), spot)
    if address is None or (not form and where in ("hr", "ir")):
        return
    wishes = [name, f"{field['measurement']} {name}" if "measurement" in field else name, f"unit {slave} {name}"]
    cells: dict[str, Any] = {"name": making.name(*wishes), "unit_id": slave, "table": where, "address": address}
    if form:
        cells |= {"type": form, "order": _order(form, order), "scale": _scale(field)}
        cells["count"] = field.get("length", "") if form == "string" else ""
        cells["bit"] = field.get("bit", "") if form == "bool" else ""
    making.row(cells, spot)


def _form(making: Making, name: str, kind: Any, spot: Spot) -> str:
    line = (spot.inside.get("type") or spot.inside.get("data_type") or spot).line
    if kind in LEFT_OUT:
        making.remark(line, f"{name}: type {kind} is left out")
        return ""
    if not isinstance(kind, str) or kind not in TYPES:
        allowed = ", ".join((*TYPES, *LEFT_OUT, "FIXED", "UFIXED"))
        making.notes.wrong(line, f"{name}: type must be one of {allowed}, not {kind!r}")
        return ""
    return TYPES[kind]


def _order(form: str, order: Any) -> Any:
    """Their byte order as ours; what is no order of theirs is none of ours either, and told with the row."""
    if form == "bool":
        return ""
    return _SWAPPED.get(str(order), order) if REGISTERS.get(form[-2:], 1) == 1 else order


def _scale(field: dict[str, Any]) -> Any:
    scale = field.get("scale", 1)
    return "" if scale == 1 else scale


def _spot(where: Spot, key: str | int) -> Spot:
    return where.inside.get(key) or Spot(where.line)
