"""Values of filters: what type they have, how one is converted to another type, which of two types both become (Part 4 §7.7.3)."""

import math
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, variant_from_binary
from asyncua.ua.uaerrors import UaError

from controller.opcua.encoding import key_of

BOOLEAN, SBYTE, BYTE, INT16, UINT16, INT32, UINT32, INT64, UINT64, FLOAT, DOUBLE, STRING = range(1, 13)
DATE_TIME, GUID, BYTE_STRING = range(13, 16)
NODE_ID, EXPANDED_NODE_ID, STATUS_CODE, QUALIFIED_NAME, LOCALIZED_TEXT = range(17, 22)
ARRAY: Final = 128
"""Is added to the type of an array's elements."""
LARGEST: Final = 4096
"""Bytes of an encoded value up to which what it means is remembered."""

Typed = tuple[int, Any]
"""A value with its built-in type. NodeIds are their keys, ExpandedNodeIds (key, URI, server), QualifiedNames (namespace, name),
LocalizedTexts (locale, text), StatusCodes numbers. None instead of it is null."""

RANGES: Final[dict[int, tuple[int, int]]] = {
    SBYTE: (-(2**7), 2**7 - 1), BYTE: (0, 2**8 - 1), INT16: (-(2**15), 2**15 - 1), UINT16: (0, 2**16 - 1),
    INT32: (-(2**31), 2**31 - 1), UINT32: (0, 2**32 - 1), INT64: (-(2**63), 2**63 - 1), UINT64: (0, 2**64 - 1),
    STATUS_CODE: (0, 2**32 - 1),
}  # fmt: skip
INTEGERS: Final = frozenset(RANGES) - {STATUS_CODE}
ORDERED: Final = INTEGERS | {FLOAT, DOUBLE, STATUS_CODE, STRING, DATE_TIME, BOOLEAN}

PRECEDENCE: Final = (
    DOUBLE, FLOAT, INT64, UINT64, INT32, UINT32, STATUS_CODE, INT16, UINT16, SBYTE, BYTE, BOOLEAN, GUID, STRING, EXPANDED_NODE_ID,
    NODE_ID, LOCALIZED_TEXT, QUALIFIED_NAME,
)  # fmt: skip
"""Of two types, the earlier one is what both become (Table 126)."""

_NUMBERS: Final = INTEGERS | {FLOAT, DOUBLE}
_REALS: Final = frozenset({FLOAT, DOUBLE})
NUMERIC: Final = _NUMBERS | {BOOLEAN, STATUS_CODE}
IMPLICIT: Final[dict[int, frozenset[int]]] = {
    BOOLEAN: _NUMBERS,
    BYTE: _NUMBERS - {BYTE},
    SBYTE: _NUMBERS - {SBYTE, BYTE},
    INT16: _REALS | {INT32, INT64, UINT32, UINT64},
    UINT16: _REALS | {INT16, INT32, INT64, STATUS_CODE, UINT32, UINT64},
    INT32: _REALS | {INT64, UINT64},
    UINT32: _REALS | {INT32, INT64, UINT64},
    INT64: _REALS,
    UINT64: _REALS | {INT64},
    FLOAT: frozenset({DOUBLE}),
    STATUS_CODE: frozenset({INT32, INT64, UINT32, UINT64}),
    STRING: _NUMBERS | {BOOLEAN, GUID},
    NODE_ID: frozenset({EXPANDED_NODE_ID, STRING}),
    EXPANDED_NODE_ID: frozenset({STRING}),
    LOCALIZED_TEXT: frozenset({STRING}),
    QUALIFIED_NAME: frozenset({STRING, LOCALIZED_TEXT}),
}
"""What each type becomes by itself (the I of Table 125)."""
EXPLICIT: Final[dict[int, frozenset[int]]] = {
    BOOLEAN: frozenset({STRING}),
    **{kind: _NUMBERS | {BOOLEAN, STRING} for kind in _NUMBERS},
    **{kind: _NUMBERS | {BOOLEAN, STRING, STATUS_CODE} for kind in (INT32, UINT32, INT64, UINT64, UINT16)},
    BYTE_STRING: frozenset({GUID}),
    DATE_TIME: frozenset({STRING}),
    GUID: frozenset({BYTE_STRING, STRING}),
    EXPANDED_NODE_ID: frozenset({NODE_ID}),
    STATUS_CODE: frozenset({UINT16}),
    STRING: frozenset({DATE_TIME, EXPANDED_NODE_ID, NODE_ID, LOCALIZED_TEXT, QUALIFIED_NAME}),
}
"""What it becomes by Cast besides (the E)."""


class NoConversion(ValueError):
    """A value that cannot be converted."""


def typed(variant: Any) -> Typed | None:
    """What a decoded Variant means."""
    if variant is None or variant.Value is None or variant.VariantType is None:
        return None
    kind = int(variant.VariantType.value)
    if isinstance(variant.Value, list):
        return kind + ARRAY, tuple(_plain(kind, value) for value in variant.Value)
    return kind, _plain(kind, variant.Value)


def _plain(kind: int, value: Any) -> Any:
    if value is None:
        return None
    if kind == NODE_ID:
        return key_of(value)
    if kind == EXPANDED_NODE_ID:
        return key_of(value), getattr(value, "NamespaceUri", None), getattr(value, "ServerIndex", 0) or 0
    if kind == STATUS_CODE:
        return int(getattr(value, "value", value))
    if kind == QUALIFIED_NAME:
        return value.NamespaceIndex, value.Name
    if kind == LOCALIZED_TEXT:
        return value.Locale, value.Text
    if kind == DATE_TIME and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def decoded(encoded: bytes) -> Typed | None:
    """What an encoded Variant means; of a structure no more than that it is there."""
    return _remembered(encoded) if len(encoded) <= LARGEST else _decoded(encoded)


def _decoded(encoded: bytes) -> Typed | None:
    kind = encoded[0] & 0x3F
    if kind > LOCALIZED_TEXT or encoded[0] & 0x40:  # structures, DataValues, Variants in Variants, matrices
        return kind + ARRAY, encoded
    return typed(variant_from_binary(Buffer(encoded)))


_remembered = lru_cache(2048)(_decoded)


def common(first: int, second: int) -> int | None:
    """The type that both become by themselves before they are compared, or None."""
    if first == second:
        return first
    if first not in PRECEDENCE or second not in PRECEDENCE:
        return None
    target, other = sorted((first, second), key=PRECEDENCE.index)
    return target if target in IMPLICIT.get(other, ()) else None


def converted(value: Typed, target: int, explicit: bool = False) -> Typed:
    """A value as another type.

    Raises:
        NoConversion: there is none, it is out of range, or it cannot be read.
    """
    kind, content = value
    if kind == target:
        return value
    if target not in IMPLICIT.get(kind, ()) and not (explicit and target in EXPLICIT.get(kind, ())):
        raise NoConversion(f"type {kind} does not become {target}")
    if content is None:
        raise NoConversion("null")
    try:
        return target, _become(kind, content, target)
    except (ValueError, OverflowError, struct.error, IndexError, UaError) as broken:
        raise NoConversion(str(broken)) from broken


def _become(kind: int, content: Any, target: int) -> Any:
    if target == STRING:
        return _text(kind, content)
    if kind == STRING:
        return _from_text(content, target)
    if kind == UINT16 and target == STATUS_CODE:
        return content << 16
    if kind == STATUS_CODE and target == UINT16:
        return content >> 16
    if target in NUMERIC:
        return _number(content, target)
    if target == EXPANDED_NODE_ID:
        return content, None, 0
    if target == NODE_ID:
        return _local(*content)
    if target == LOCALIZED_TEXT:
        return None, content[1]
    return uuid.UUID(bytes_le=content) if kind == BYTE_STRING else content.bytes_le


def _local(key: bytes, uri: str | None, server: int) -> bytes:
    if uri or server:
        raise ValueError("a NodeId of another server or namespace")
    return key


def _number(content: Any, target: int) -> Any:
    if target == BOOLEAN:
        return content != 0
    if target == DOUBLE:
        return float(content)
    if target == FLOAT:
        return struct.unpack("<f", struct.pack("<f", content))[0]
    whole = math.trunc(content + 0.5) if isinstance(content, float) else int(content)  # so the standard rounds
    low, high = RANGES[target]
    if not low <= whole <= high:
        raise ValueError(f"{whole} is not within {low}..{high}")
    return whole


def _text(kind: int, content: Any) -> str:
    if kind == BOOLEAN:
        return "true" if content else "false"
    if kind == NODE_ID:
        return str(nodeid_from_binary(Buffer(content)).to_string())
    if kind == EXPANDED_NODE_ID:
        key, uri, server = content
        name = nodeid_from_binary(Buffer(key)).to_string()
        return (f"svr={server};" if server else "") + (f"nsu={uri};{name.partition(';')[2] or name}" if uri else name)
    if kind in (QUALIFIED_NAME, LOCALIZED_TEXT):
        return content[1] or ""
    if kind == DATE_TIME:
        return str(content.isoformat()) + "Z"
    return str(content)


def _from_text(content: str, target: int) -> Any:
    word = content.strip()
    if target == BOOLEAN:
        return _TRUTHS[word.lower()] if word.lower() in _TRUTHS else _not_read(word)
    if target in _REALS:
        return _number(float(word) if "_" not in word else _not_read(word), target)
    if target in INTEGERS:
        return _number(int(word) if "_" not in word else _not_read(word), target)
    return _READ[target](word)


_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}


def _not_read(word: str) -> Any:
    raise ValueError(f"{word[:40]!r} cannot be read")


def _node(word: str) -> bytes:
    return key_of(ua.NodeId.from_string(word))


def _moment(word: str) -> datetime:
    found = datetime.fromisoformat(word.replace("Z", "+00:00"))
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


_READ: Final[dict[int, Callable[[str], Any]]] = {
    GUID: uuid.UUID,
    DATE_TIME: _moment,
    NODE_ID: _node,
    EXPANDED_NODE_ID: lambda word: (_node(word), None, 0),
    LOCALIZED_TEXT: lambda word: (None, word),
    QUALIFIED_NAME: lambda word: (0, word),
}
