"""What data types are made of (Part 6 Annex F.12), told as DataTypeDefinition attributes (Part 3 §8.47 to §8.52)."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from asyncua.ua.object_ids import ObjectIds

from controller.opcua.encoding import NULL_NODE, node_key, qualified, string
from controller.opcua.nodes.store import HAS_SUBTYPE, NO_NODE, Nodes

EXTENSION_OBJECT, VARIANT, INT32 = 22, 24, 6
STRUCTURE, ENUMERATION, UNION = node_key(0, 22), node_key(0, 29), node_key(0, 12756)
BASE_DATA_TYPE: Final = node_key(0, 24)
ABSTRACT: Final = frozenset(node_key(0, number) for number in (24, 26, 27, 28))
"""BaseDataType, Number, Integer, UInteger: their values travel as Variants."""
BUILT_IN: Final = {node_key(0, number): number for number in range(1, 26) if number != VARIANT}
DEFAULT_BINARY: Final = qualified("Default Binary")
PLAIN, OPTIONAL, UNION_OF, SUBTYPED, UNION_SUBTYPED = range(5)
"""StructureType."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure, or one value of an enumeration.

    Attributes:
        display, description: encoded LocalizedText.
        type: key of its data type.
        value: of an enumeration's; of an option set's, the bit.
    """

    name: str
    display: bytes
    description: bytes
    type: bytes
    rank: int
    dimensions: tuple[int, ...]
    longest: int
    is_optional: bool
    is_subtyped: bool
    value: int


@dataclass(frozen=True, slots=True)
class Definition:
    """What a file says of one data type: its own fields, without those of its supertypes."""

    fields: tuple[Field, ...]
    is_union: bool
    is_option_set: bool


class Types:
    """The data types of an address space.

    Attributes:
        definitions: by key.
    """

    def __init__(self, nodes: Nodes) -> None:
        self.definitions: dict[bytes, Definition] = {}
        self._nodes = nodes
        self._has_subtype = self._has_encoding = NO_NODE

    def ready(self) -> None:
        """All references are there."""
        self._has_subtype, self._has_encoding = self._nodes.standard(HAS_SUBTYPE), self._nodes.standard(ObjectIds.HasEncoding)

    def above(self, key: bytes) -> Iterator[bytes]:
        """A type and its supertypes, from itself up."""
        number = self._nodes.find(key)
        while number != NO_NODE:
            yield self._nodes.keys[number]
            number = next(self._nodes.targets(number, self._has_subtype, forward=False), NO_NODE)

    def built_in(self, key: bytes) -> int:
        """The built-in type that a type's values travel as.

        Raises:
            LookupError: there is no such data type.
        """
        for each in self.above(key):
            if each in ABSTRACT:
                return VARIANT
            if each == ENUMERATION:
                return INT32
            if each in BUILT_IN:
                return BUILT_IN[each]
        raise LookupError(f"{key!r} is no data type")

    def fields(self, key: bytes) -> tuple[Field, ...]:
        """All fields of a structure, its supertypes' first; a union's are its own."""
        found: tuple[Field, ...] = ()
        for each in self.above(key):
            definition = self.definitions.get(each)
            if definition is not None and not definition.is_option_set:
                found = definition.fields + found
        return found

    def shape(self, key: bytes) -> int:
        """A structure's StructureType."""
        fields = self.fields(key)
        defined = self.definitions.get(key)
        is_union = (defined is not None and defined.is_union) or UNION in self.above(key)
        if any(field.is_subtyped for field in fields):
            return UNION_SUBTYPED if is_union else SUBTYPED
        if is_union:
            return UNION_OF
        return OPTIONAL if any(field.is_optional for field in fields) else PLAIN

    def type_of(self, encoding: bytes) -> bytes:
        """The data type that an encoding's NodeId stands for; of a data type's own NodeId, itself.

        Raises:
            LookupError: it stands for none.
        """
        number = self._nodes.find(encoding)
        if number != NO_NODE:
            for owner in self._nodes.targets(number, self._has_encoding, forward=False):
                return self._nodes.keys[owner]
            if STRUCTURE in self.above(encoding):
                return encoding
        raise LookupError(f"{encoding!r} is no encoding of a structure")

    def binary(self, key: bytes) -> bytes:
        """The NodeId of a structure's binary encoding, null where it has none."""
        nodes = self._nodes
        for encoding in nodes.targets(nodes.find(key), self._has_encoding):
            if nodes.browse_names[encoding] == DEFAULT_BINARY:
                return nodes.keys[encoding]
        return NULL_NODE

    def attribute(self, key: bytes, is_abstract: bool) -> bytes | None:
        """A data type's DataTypeDefinition as an encoded Variant, None where it has none to tell."""
        above = tuple(self.above(key))
        defined = self.definitions.get(key)
        if defined is not None and (defined.is_option_set or STRUCTURE not in above):
            return _variant(ObjectIds.EnumDefinition_Encoding_DefaultBinary, _sequence([_member(f) for f in defined.fields]))
        if STRUCTURE not in above or (defined is None and (is_abstract or key == STRUCTURE)):
            return None
        shape = self.shape(key)
        base = above[1] if len(above) > 1 else NULL_NODE
        fields = _sequence([_field(f, shape) for f in self.fields(key)])
        body = self.binary(key) + base + struct.pack("<i", shape) + fields
        return _variant(ObjectIds.StructureDefinition_Encoding_DefaultBinary, body)


def extension_object(encoding: bytes, body: bytes) -> bytes:
    """An ExtensionObject with a binary body."""
    return encoding + b"\x01" + struct.pack("<i", len(body)) + body


def _variant(encoding: int, body: bytes) -> bytes:
    return bytes((EXTENSION_OBJECT,)) + extension_object(node_key(0, encoding), body)


def _sequence(encoded: Sequence[bytes]) -> bytes:
    return struct.pack("<i", len(encoded)) + b"".join(encoded)


def _member(field: Field) -> bytes:
    return struct.pack("<q", field.value) + field.display + field.description + string(field.name)


def _field(field: Field, shape: int) -> bytes:
    flag = field.is_subtyped if shape in (SUBTYPED, UNION_SUBTYPED) else field.is_optional
    dimensions = struct.pack(f"<i{len(field.dimensions)}I", len(field.dimensions), *field.dimensions)
    return b"".join(
        (
            string(field.name),
            field.description,
            field.type,
            struct.pack("<i", field.rank),
            dimensions if field.dimensions else b"\xff\xff\xff\xff",
            struct.pack("<I?", field.longest, flag),
        )
    )
