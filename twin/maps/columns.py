"""The keys of a Map's file, each with what it says: the parser's own list, and the source of docs/reference/maps.md."""

from collections.abc import Mapping
from types import MappingProxyType

from twin.maps.map import Access, Form, Order, Table

HEAD: Mapping[str, str] = MappingProxyType(
    {
        "name": "what kind of machine it is: a-z, 0-9, `-` and `_`; the file's name without its ending where it is missing",
        "text": "what it is, for people",
        "base": "how the file prints addresses: `0-based` (as on the wire, which is what it is where nothing is said), `1-based`, "
        "or `4xxxx` (40001 and 400001 are holding register 0, 3xxxx input registers, 1xxxx discrete inputs, 0xxxx coils)",
        "most_registers": "the most that one request may read, 1 to 125. Default: 125",
        "most_bits": "the same of coils and discrete inputs, 1 to 2000. Default: 2000",
        "most_written": "registers that one request may write, 1 to 123. Default: 123",
        "gap": "addresses that nobody asked for and one request may read along, 0 to 125. Default: as many as pay",
        "forbidden": "addresses that must never be read, as on the wire: `hr 24-25|ir 100`",
        "pipeline": "how many requests the device takes before it has answered the first, 1 to 64. Default: 1",
        "write_one": "`true`: one register is written with function 6 instead of 16. Default: `false`",
        "classes": "more scan classes, or another period, in ms: `fast=50|hourly=3600000`; 0 is: once, when the device is found",
        "sunspec": "wire addresses where a SunSpec chain may begin, tried in this order: `40000|50000|0`; every row then names its "
        "model in `together`, and addresses count from the model's start",
    }
)

ROW: Mapping[str, str] = MappingProxyType(
    {
        "name": "of the Signal: a-z, 0-9 and `_`, a letter first, at most 64",
        "node": "where it lies in an OPC UA server: `nsu=URI;s=NAME` (or `i=`, `g=`, `b=`), and `i=2258` in namespace 0",
        "unit_id": "Modbus unit id, 0 to 255, on a serial line 1 to 247; the machine's own where it is empty",
        "table": "`hr` or `holding`, `ir` or `input`, `co` or `coil`, `di` or `discrete`; with base `4xxxx` the address says it",
        "address": "0 to 65535, decimal or 0x; written as `base` says",
        "type": "`bool`, `int16`, `uint16`, `int32`, `uint32`, `int64`, `uint64`, `float32`, `float64`, `string`; coils and "
        "discrete inputs are `bool`. In an OPC UA Map `bool`, `int`, `float` or `str`. Default there: `float`",
        "order": "how a value's bytes follow each other, A the highest: `ABCD` (high word first), `CDAB`, `BADC`, `DCBA`; of one "
        "register `AB` or `BA`; the long spellings of eight bytes (`GHEFCDAB`) are understood. Default: `ABCD`",
        "bit": "of the register, 0 the lowest, 0 to 15: the Signal is that bit",
        "count": "registers of a `string`, two characters each, 1 to 125",
        "scale": "value = raw × scale + offset, in the unit; not 0. Default: 1",
        "offset": "as above. Default: 0",
        "scale_from": "a Signal whose raw value is an exponent of ten that scale is multiplied by; read in the same request",
        "plus_from": "a Signal whose raw value times plus_factor is added to the value; read in the same request",
        "plus_factor": "as above, in the unit; not 0",
        "invalid": "raw values that say that there is none: `0x8000` or `65535|65534`; what a signed type cannot hold is taken "
        "for its pattern of bits",
        "unit": "what people see it in: a symbol or a UNECE code (below)",
        "access": "`r`, `w` or `rw`. Default: `r`",
        "scan": "scan class: `fast` (100 ms), `normal` (1 s), `slow` (10 s), `once`, or one of the Map's own. Default: `normal`",
        "deadband": "by how much it must change before it is told again: in the unit, or a share of min to max (`1%`)",
        "min": "lowest value that is plausible, and that may be written, in the unit; with max",
        "max": "highest value; with min",
        "enum": "what each value is called: `0=off|1=on`; names of letters, digits and `_`",
        "bits": "what each bit of the value is called, 0 the lowest: `0=ground_fault|7=over_temp`",
        "together": "Signals with the same word are read in one request: they are in one table, not further apart than one request "
        "reads, with nothing forbidden between; with SunSpec the model: `model:103` or `model:101/103`",
        "description": "what it is, for people",
    }
)

METHOD: Mapping[str, str] = MappingProxyType(
    {
        "name": "of the method: as a Signal's",
        "object": "NodeId of the object that has it, written as `node` is",
        "method": "NodeId of the method",
        "inputs": "its arguments in order with their types: `speed=float|mode=int`, or a TOML table",
        "description": "what it does, for people",
    }
)

TABLES: Mapping[str, str] = MappingProxyType(
    {
        "hr": Table.HOLDING.value,
        "ir": Table.INPUT.value,
        "co": Table.COILS.value,
        "di": Table.DISCRETE.value,
        "holding": Table.HOLDING.value,
        "input": Table.INPUT.value,
        "coil": Table.COILS.value,
        "discrete": Table.DISCRETE.value,
    }
)
DIGITS: Mapping[str, Table] = MappingProxyType(
    {"0": Table.COILS, "1": Table.DISCRETE, "3": Table.INPUT, "4": Table.HOLDING}
)
"""First digit of an address as vendors print it."""

FORMS: Mapping[str, str] = MappingProxyType({form.value: form.value for form in Form})
NODE_TYPES: Mapping[str, type] = MappingProxyType({"bool": bool, "int": int, "float": float, "str": str})
ACCESS: Mapping[str, str] = MappingProxyType({access.value: access.value for access in Access})
BASES: Mapping[str, str] = MappingProxyType({"0-based": "0-based", "1-based": "1-based", "4xxxx": "4xxxx"})
YES: Mapping[str, str] = MappingProxyType({"true": "true", "false": ""})

ORDERS: Mapping[str, str] = MappingProxyType(
    {
        **{order.value: order.value for order in Order},
        "ABCDEFGH": Order.ABCD.value,
        "GHEFCDAB": Order.CDAB.value,
        "BADCFEHG": Order.BADC.value,
        "HGFEDCBA": Order.DCBA.value,
    }
)
ORDERS_OF_ONE: Mapping[str, str] = MappingProxyType(
    {"AB": Order.ABCD.value, "BA": Order.BADC.value, "ABCD": Order.ABCD.value, "BADC": Order.BADC.value}
)
