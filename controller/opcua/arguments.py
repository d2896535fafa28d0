"""What a method takes: its InputArguments as the address space has them, and whether what is given fits (Part 3 §8.6)."""

from collections.abc import Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import variant_from_binary

from controller.opcua.encoding import key_of, node_key, qualified
from controller.opcua.nodes.store import NO_NODE, Nodes

HAS_PROPERTY, HAS_SUBTYPE, HAS_COMPONENT, ENUMERATION, BASE_DATA_TYPE = 46, 45, 47, 29, 24
ANY: Final = 0
INT32, EXTENSION_OBJECT, VARIANT = 6, 22, 24
_INPUTS: Final = qualified("InputArguments")
_ONE, _EITHER = -1, (-3, -2)

Wanted = tuple[int, ...]
"""Built-in type of each input, negative for an array of it; 0 where anything fits."""


def declared(nodes: Nodes, method: int) -> Wanted:
    """What a method takes, as its InputArguments say; nothing where it has none."""
    for below in nodes.targets(method, nodes.standard(HAS_PROPERTY)):
        value = nodes.attributes[below].get(AttributeIds.Value)
        if nodes.browse_names[below] == _INPUTS and value is not None:
            found: Any = variant_from_binary(Buffer(value))
            return tuple(_kind(nodes, argument) for argument in found.Value or ())
    return ()


def _kind(nodes: Nodes, argument: Any) -> int:
    kind = built_in(nodes, nodes.find(key_of(argument.DataType)))
    rank = argument.ValueRank
    if kind == ANY or rank in _EITHER:
        return ANY
    return kind if rank == _ONE else -kind


def built_in(nodes: Nodes, data_type: int) -> int:
    """The built-in type that values of a DataType are encoded as (Part 6 §5.1.2); 0 where there may be several."""
    of = {node_key(0, number): number for number in range(1, 26)}
    while data_type != NO_NODE:
        key = nodes.keys[data_type]
        if key == node_key(0, ENUMERATION):
            return INT32
        if key in of:
            return ANY if of[key] == VARIANT else of[key]
        data_type = next(nodes.targets(data_type, nodes.standard(HAS_SUBTYPE), forward=False), NO_NODE)
    return ANY


def mismatches(wanted: Wanted, given: Sequence[ua.Variant]) -> list[int]:
    """The status of each argument; empty where all of them fit."""
    found = [0 if _fits(kind, value) else StatusCodes.BadTypeMismatch for kind, value in zip(wanted, given, strict=True)]
    return found if any(found) else []


def _fits(kind: int, given: ua.Variant) -> bool:
    if kind == ANY:
        return True
    array = bool(given.is_array or isinstance(given.Value, list))
    return given.VariantType.value == abs(kind) and array == (kind < 0)
