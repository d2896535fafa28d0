"""Walks an encoded message before anything is made of it, and refuses what would cost more than its own bytes.

The decoder behind it builds objects as it goes and believes the lengths it reads. The walk builds nothing: it steps
over the same bytes by the same declarations, so that a message's cost is bounded by its size before the decoder sees
it. What it guarantees of every message that passes:

- no length is negative (but -1, "null"), beyond the bytes that are left, or, for arrays, beyond `MAX_ELEMENTS`;
- every array element takes at least one byte, so there are never more elements than bytes;
- dimensions multiply to exactly the elements that are there;
- nothing is nested deeper than `MAX_DEPTH`;
- texts are UTF-8, but for what servers of others send;
- of the structures that may stand where any may, only those in `DECODED` do, or whatever else the caller allows.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum, IntFlag
from functools import cache
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import get_safe_type_hints, nodeid_from_binary
from asyncua.ua.uatypes import type_allow_subclass, type_from_list, type_from_optional, type_is_list, type_is_optional

MAX_ELEMENTS = 65_536
MAX_DEPTH = 32
MAX_DIMENSIONS = 8
DECODED = frozenset(
    """
    AnonymousIdentityToken UserNameIdentityToken X509IdentityToken IssuedIdentityToken AdditionalParametersType
    DataChangeFilter EventFilter AggregateFilter ElementOperand LiteralOperand AttributeOperand SimpleAttributeOperand
    """.split()
)

Walker = Callable[["Walk"], None]


class Refused(ValueError):
    """Bytes that are not decoded.

    Attributes:
        code: the OPC UA status code that says why.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def _broken(text: str) -> Refused:
    return Refused(StatusCodes.BadDecodingError, text)


def _too_much(text: str) -> Refused:
    return Refused(StatusCodes.BadEncodingLimitsExceeded, text)


class Walk:
    """A position in bytes, and how deep it is nested.

    Attributes:
        at, end: the next byte, and the first one that is out of bounds.
        decoded: structures that may stand where any may; None for all.
    """

    __slots__ = ("_data", "_depth", "at", "decoded", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None, decoded: frozenset[str] | None = DECODED) -> None:
        self._data = data
        self.decoded = decoded
        self._depth = 0
        self.at = at
        self.end = len(data) if end is None else end

    def skip(self, size: int) -> None:
        """Step over `size` bytes."""
        if size > self.end - self.at:
            raise _broken(f"{size} bytes are claimed where {self.end - self.at} are left")
        self.at += size

    def since(self, start: int) -> bytes:
        """The bytes stepped over since a position."""
        return self._data[start : self.at]

    def number(self, size: int, signed: bool = False) -> int:
        """Read a little-endian number."""
        start = self.at
        self.skip(size)
        return int.from_bytes(self.since(start), "little", signed=signed)

    def length(self) -> int:
        """Read the length of a string: not negative but -1, which is told as 0."""
        size = self.number(4, signed=True)
        if size < -1:
            raise _broken(f"a length of {size}")
        return max(size, 0)

    def array(self, element: Walker) -> int:
        """Walk an array, and tell how many elements it has."""
        size = self.length()
        if size > MAX_ELEMENTS:
            raise _too_much(f"an array of {size} elements; {MAX_ELEMENTS} are allowed")
        if isinstance(element, Fixed):
            self.skip(size * element.size)
            return size
        if size > self.end - self.at:
            raise _broken(f"an array of {size} elements in {self.end - self.at} bytes")
        for _ in range(size):
            before = self.at
            element(self)
            if self.at == before:
                raise _broken("an array whose elements take no bytes")
        return size

    def deeper(self, walker: Walker) -> None:
        """Walk something that may hold itself."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_much(f"nested deeper than {MAX_DEPTH}")
        walker(self)
        self._depth -= 1


@dataclass(frozen=True, slots=True)
class Fixed:
    """The walker of a value that always takes the same number of bytes."""

    size: int

    def __call__(self, walk: Walk) -> None:
        """Step over it."""
        walk.skip(self.size)


def check(kind: type, data: bytes, at: int = 0, decoded: frozenset[str] | None = DECODED) -> int:
    """Walk one value of a type, and tell where it ends.

    Args:
        kind: a structure as asyncua declares it, such as ua.ReadParameters.
        decoded: structures that may stand where any may; None for all that asyncua declares, and for texts that are not UTF-8.

    Raises:
        Refused: what the decoder is not to see.
    """
    walk = Walk(data, at, decoded=decoded)
    _walker_of(kind)(walk)
    return walk.at


def _string(walk: Walk) -> None:
    walk.skip(walk.length())


def _text(walk: Walk) -> None:
    """A text in UTF-8: the decoder behind takes others too, and makes texts of them that can't be written or sent on."""
    size = walk.length()
    start = walk.at
    walk.skip(size)
    _utf8(walk, start)


def _utf8(walk: Walk, start: int) -> None:
    if walk.decoded is None:  # what a server of others sends is shown, whatever its texts are
        return
    try:
        walk.since(start).decode()
    except UnicodeDecodeError as broken:
        raise _broken(f"a text that is not UTF-8: {broken}") from broken


def _node_id(walk: Walk) -> None:
    encoding = walk.number(1)
    match encoding & 0x3F:
        case 0:
            walk.skip(1)
        case 1:
            walk.skip(3)
        case 2:
            walk.skip(6)
        case 3 | 5:
            walk.skip(2)
            size = walk.number(4, signed=True)
            if size < 0:
                raise _broken("a NodeId without an identifier")
            walk.skip(size)
            if encoding & 0x3F == 3:
                _utf8(walk, walk.at - size)
        case 4:
            walk.skip(18)
        case unknown:
            raise _broken(f"a NodeId of kind {unknown}")
    if encoding & 0x80:
        _text(walk)
    if encoding & 0x40:
        walk.skip(4)


def _variant(walk: Walk) -> None:
    encoding = walk.number(1)
    kind, is_array, has_dimensions = encoding & 0x3F, encoding & 0x80, encoding & 0x40
    if kind > max(ua.VariantType):
        raise _broken(f"a Variant of type {kind}")
    if not is_array:
        if has_dimensions:
            raise _broken("a Variant with dimensions that is no array")
        walk.deeper(_of_variant_type(kind))
        return
    if kind == ua.VariantType.Null:
        raise _broken("an array of Null, whose elements take no bytes")
    size = 0

    def elements(walk: Walk) -> None:
        nonlocal size
        size = walk.array(_of_variant_type(kind))

    walk.deeper(elements)
    if has_dimensions:
        _dimensions(walk, size)


def _dimensions(walk: Walk, elements: int) -> None:
    start = walk.at
    count = walk.array(Fixed(4))
    if count > MAX_DIMENSIONS:
        raise _too_much(f"{count} dimensions; {MAX_DIMENSIONS} are allowed")
    sizes = struct.unpack(f"<{count}i", walk.since(start + 4))
    if min(sizes, default=0) < 0 or math.prod(sizes) != elements or (elements == 0 and count > 1):
        raise _broken(f"dimensions {sizes} of {elements} elements")


def _extension_object(walk: Walk) -> None:
    start = walk.at
    _node_id(walk)
    kind = nodeid_from_binary(Buffer(walk.since(start)))
    encoding = walk.number(1)
    if encoding == 0:
        return
    if encoding != 1:
        raise _broken(f"an ExtensionObject with encoding {encoding}")
    size = walk.number(4, signed=True)
    if not 0 <= size <= walk.end - walk.at:
        raise _broken(f"an ExtensionObject of {size} bytes where {walk.end - walk.at} are left")
    declared = ua.extension_objects_by_typeid.get(kind)
    if declared is not None and walk.decoded is not None and declared.__name__ not in walk.decoded:
        raise _broken(f"a {declared.__name__}, which no request that is served holds")
    outer, walk.end = walk.end, walk.at + size
    if declared is not None:
        walk.deeper(_walker_of(declared))
    walk.at, walk.end = walk.end, outer


_BUILT_IN: dict[str, Walker] = {
    **dict.fromkeys(("Boolean", "SByte", "Byte", "Char"), Fixed(1)),
    **dict.fromkeys(("Int16", "UInt16"), Fixed(2)),
    **dict.fromkeys(("Int32", "UInt32", "Float"), Fixed(4)),
    **dict.fromkeys(("Int64", "UInt64", "Double", "DateTime"), Fixed(8)),
    **dict.fromkeys(("String", "CharArray"), _text),
    **dict.fromkeys(("ByteString", "Bytes"), _string),
    "Guid": Fixed(16),
    "Null": Fixed(0),
    "NodeId": _node_id,
    "ExpandedNodeId": _node_id,
    "Variant": _variant,
    "ExtensionObject": _extension_object,
}


@cache
def _of_variant_type(kind: int) -> Walker:
    name = ua.VariantType(kind).name
    return _BUILT_IN.get(name) or _walker_of(getattr(ua, name))


@cache
def _walker_of(kind: Any) -> Walker:
    if type_is_list(kind):
        return _array_of(_walker_of(type_from_list(kind)))
    if type_allow_subclass(kind):
        return _extension_object
    if kind.__name__ in _BUILT_IN:
        return _BUILT_IN[kind.__name__]
    if issubclass(kind, Enum):
        return _BUILT_IN[kind.datatype()] if issubclass(kind, IntFlag) and hasattr(kind, "datatype") else Fixed(4)
    return _structure(kind)


def _array_of(element: Walker) -> Walker:
    def walk_array(walk: Walk) -> None:
        walk.array(element)

    return walk_array


def _structure(kind: type) -> Walker:
    """A walker over a structure's fields. Optional ones are there when their bit of the field `Encoding` is set."""
    hints = get_safe_type_hints(kind, {"ua": ua})
    declared: list[tuple[int | None, Any]] = []
    optional = 0
    for field in fields(kind):
        hint, bit = hints[field.name], 0
        if type_is_optional(hint):
            bit, optional = 1 << optional, optional + 1
            hint = type_from_optional(hint)
        declared.append((None if field.name == "Encoding" else bit, hint))
    walkers: list[tuple[int | None, Walker]] = []

    def over_fields(walk: Walk) -> None:
        present = 0
        for bit, walker in walkers:
            if bit is None:
                present = walk.number(1)
            elif bit == 0 or present & bit:
                walker(walk)

    def walk_structure(walk: Walk) -> None:
        # A type may hold itself, so the fields' walkers are looked up at the first walk, not at the declaration.
        if not walkers:
            walkers.extend((bit, _walker_of(hint)) for bit, hint in declared)
        walk.deeper(over_fields)

    return walk_structure
