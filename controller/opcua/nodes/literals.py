"""Values as the nodeset files write them (Part 6 §5.3, XML) -> values as they go over the wire (Part 6 §5.2)."""

import base64
import math
import struct
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.etree.ElementTree import Element

from controller.opcua.encoding import NULL_NODE, NULL_STRING, NULL_TEXT, TICKS_1970, octets, qualified, string, text
from controller.opcua.nodes.definitions import (
    EXTENSION_OBJECT,
    INT32,
    OPTIONAL,
    UNION_OF,
    UNION_SUBTYPED,
    VARIANT,
    Field,
    Types,
    extension_object,
)

NAMES: Final = {
    name: number
    for number, name in enumerate(
        "Boolean SByte Byte Int16 UInt16 Int32 UInt32 Int64 UInt64 Float Double String DateTime Guid ByteString XmlElement NodeId"
        " ExpandedNodeId StatusCode QualifiedName LocalizedText ExtensionObject DataValue Variant DiagnosticInfo".split(),
        1,
    )
}
ARRAY: Final = 0x80
DIMENSIONS: Final = 0x40
_NUMBERS: Final = dict(zip(range(2, 10), "bBhHiIqQ", strict=True))
_NULLS: Final = {
    12: NULL_STRING, 13: bytes(8), 14: bytes(16), 15: NULL_STRING, 16: NULL_STRING, 17: NULL_NODE, 18: NULL_NODE, 19: bytes(4),
    20: b"\x00\x00" + NULL_STRING, 21: NULL_TEXT, 22: NULL_NODE + b"\x00", 23: b"\x00", 24: b"\x00", 25: b"\x00",
}  # fmt: skip
_SIZES: Final = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8}
Named = Callable[[str], bytes]
Index = Callable[[int], int]


def local(tag: str) -> str:
    """An element's name without its namespace."""
    return tag.rpartition("}")[2]


def child(of: Element, name: str) -> Element | None:
    """The child element with a name, whatever its namespace."""
    return next((each for each in of if local(each.tag) == name), None)


def within(of: Element, name: str) -> str | None:
    """The text of a child, None where there is none; an empty one has an empty text."""
    found = child(of, name)
    return None if found is None else found.text or ""


def null(kind: int) -> bytes:
    """What a built-in type has where nothing is said."""
    return bytes(_SIZES[kind]) if kind in _SIZES else _NULLS[kind]


class Literals:
    """Encodes the values of one file.

    Args:
        node: the key of a NodeId, or of its alias, as the file writes it; ValueError when it cannot be.
        index: the server's index of one of the file's namespaces.
    """

    def __init__(self, types: Types, node: Named, index: Index) -> None:
        self._types = types
        self._node = node
        self._index = index

    def variant(self, value: Element) -> bytes:
        """What a Value element holds, as a Variant.

        Raises:
            ValueError: it holds what we cannot encode, and what that is.
        """
        held = list(value)
        if not held:
            return b"\x00"
        name = local(held[0].tag)
        if name == "Matrix":
            return self._matrix(held[0])
        kind = NAMES.get(name.removeprefix("ListOf"))
        if kind is None or len(held) > 1:
            raise ValueError(f"a value {name!r}")
        if name.startswith("ListOf"):
            each = [self._built_in(kind, item) for item in held[0]]
            return struct.pack("<Bi", ARRAY | kind, len(each)) + b"".join(each)
        return bytes((kind,)) + self._built_in(kind, held[0])

    def _matrix(self, held: Element) -> bytes:
        """An array of several dimensions: the last one changes fastest, in both encodings."""
        dimensions = [int(each.text or 0) for each in child(held, "Dimensions") or ()]
        items = list(child(held, "Elements") or ())
        kinds = {local(each.tag) for each in items}
        if len(kinds) != 1 or not kinds <= NAMES.keys() or math.prod(dimensions) != len(items):
            raise ValueError(f"a matrix {dimensions} of {len(items)} {', '.join(sorted(kinds))}")
        kind = NAMES[kinds.pop()]
        each = b"".join(self._built_in(kind, item) for item in items)
        shape = struct.pack(f"<i{len(dimensions)}i", len(dimensions), *dimensions)
        return struct.pack("<Bi", ARRAY | DIMENSIONS | kind, len(items)) + each + shape

    def _built_in(self, kind: int, held: Element) -> bytes:
        """One value of a built-in type."""
        written = held.text or ""
        if kind == 1:
            return b"\x01" if written.strip() in ("true", "1") else b"\x00"
        if kind in _NUMBERS:
            return struct.pack("<" + _NUMBERS[kind], int(written))
        if kind in (10, 11):
            return struct.pack("<f" if kind == 10 else "<d", float(written))
        if kind == 12:
            return string(written)
        if kind == 13:
            return struct.pack("<q", _ticks(written.strip()))
        if kind == 14:
            return uuid.UUID(within(held, "String") or "").bytes_le
        if kind == 15:
            return octets(base64.b64decode(written))
        if kind == 16:
            return string("".join(ElementTree.tostring(each, encoding="unicode") for each in held))
        if kind in (17, 18):
            identifier = (within(held, "Identifier") or "").strip()
            return self._node(identifier) if identifier else NULL_NODE
        if kind == 19:
            return struct.pack("<I", int(within(held, "Code") or 0))
        if kind == 20:
            return qualified((within(held, "Name") or "").strip(), self._index(int(within(held, "NamespaceIndex") or 0)))
        if kind == 21:
            return text(within(held, "Text"), within(held, "Locale") or None)
        if kind == EXTENSION_OBJECT:
            return self._extension_object(held)
        if kind == VARIANT:
            inner = child(held, "Value")
            return b"\x00" if inner is None else self.variant(inner)
        raise ValueError(f"a value of the built-in type {kind}")

    def _extension_object(self, held: Element) -> bytes:
        identified = child(held, "TypeId")
        body = child(held, "Body")
        if identified is None or body is None or not len(body):
            return null(EXTENSION_OBJECT)
        try:
            kind = self._types.type_of(self._node((within(identified, "Identifier") or "").strip()))
        except LookupError as unknown:
            raise ValueError(f"a structure of unknown type ({unknown})") from unknown
        return extension_object(self._types.binary(kind), self._structure(kind, body[0]))

    def _structure(self, kind: bytes, held: Element) -> bytes:
        """A structure's fields, those of its supertypes first."""
        fields, shape = self._types.fields(kind), self._types.shape(kind)
        given = {local(each.tag): each for each in held}
        if stray := set(given) - {field.name for field in fields} - {"SwitchField", "EncodingMask"}:
            raise ValueError(f"a structure with {', '.join(sorted(stray))}, which its type does not have")
        if shape in (UNION_OF, UNION_SUBTYPED):
            chosen = next((n for n, field in enumerate(fields, 1) if field.name in given), 0)
            switch = struct.pack("<I", chosen)
            return switch + (self._field(fields[chosen - 1], given) if chosen else b"")
        if shape != OPTIONAL:
            return b"".join(self._field(field, given) for field in fields)
        optional = [field.name for field in fields if field.is_optional]
        mask = sum(1 << bit for bit, name in enumerate(optional) if name in given)
        there = (field for field in fields if not field.is_optional or field.name in given)
        return struct.pack("<I", mask) + b"".join(self._field(field, given) for field in there)

    def _field(self, field: Field, given: dict[str, Element]) -> bytes:
        held = given.get(field.name)
        if field.rank > 1:
            raise ValueError(f"a field {field.name} with {field.rank} dimensions")
        if field.rank == 1:
            return NULL_STRING if held is None else struct.pack("<i", len(held)) + b"".join(self._one(field, e) for e in held)
        return self._one(field, held)

    def _one(self, field: Field, held: Element | None) -> bytes:
        try:
            kind = self._types.built_in(field.type)
        except LookupError as unknown:
            raise ValueError(f"a field {field.name} of unknown type") from unknown
        is_wrapped = field.is_subtyped or field.type == b"\x00\x16"
        if kind == EXTENSION_OBJECT and not is_wrapped:
            return self._structure(field.type, Element("empty") if held is None else held)
        if held is None:
            return null(kind)
        if kind == INT32 and not (held.text or "").strip().lstrip("-").isdigit():
            return struct.pack("<i", int((held.text or "").rpartition("_")[2]))
        return self._built_in(kind, held)


def _ticks(written: str) -> int:
    """An XML dateTime as DateTime; without a zone it is UTC."""
    moment = datetime.fromisoformat(written.replace("Z", "+00:00"))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return max(0, since // timedelta(microseconds=1) * 10 + TICKS_1970)
