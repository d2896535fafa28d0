"""What a Read asks for, straight from its bytes (Part 4 §5.10.2)."""

import struct
from collections.abc import Iterator
from typing import Final

from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import MOST_OPERATIONS
from controller.opcua.attributes import VALUE
from controller.opcua.encoding import read_key

Encoding = tuple[int, bytes]
Item = tuple[bytes, int, bytes, Encoding | None]
"""The key of the NodeId, the attribute, the range's text, and the DataEncoding."""
_SMALLEST: Final = 16
"""Bytes of the smallest ReadValueId."""
_PLAIN: Final = struct.pack("<IiHi", VALUE, -1, 0, -1)
"""What follows the NodeId where a whole Value is read."""


def items(listed: bytes) -> Iterator[Item]:
    """What is asked for, one by one, straight from the bytes of NodesToRead, which end with them.

    Raises:
        ServiceError: BadDecodingError, BadNothingToDo, BadTooManyOperations.
    """
    try:
        (count,) = struct.unpack_from("<i", listed)
        if count <= 0 and len(listed) == 4 and count >= -1:
            raise ServiceError(StatusCodes.BadNothingToDo)
        if count > MOST_OPERATIONS:
            raise ServiceError(StatusCodes.BadTooManyOperations)
        if not 0 < count * _SMALLEST <= len(listed) - 4:
            raise ServiceError(StatusCodes.BadDecodingError)
        at = 4
        for _ in range(count):
            if listed[at] == 3 and not listed[at + 6]:  # a text that is neither null nor too long to be one: most are
                end = at + 7 + int.from_bytes(listed[at + 3 : at + 6], "little")
                key, at = listed[at:end], end
            else:
                key, at = _key(listed, at)
            if listed[at : at + 14] == _PLAIN:
                at += 14
                yield key, VALUE, b"", None
                continue
            (wanted,) = struct.unpack_from("<I", listed, at)
            text, at = _octets(listed, at + 4)
            (namespace,) = struct.unpack_from("<H", listed, at)
            name, at = _octets(listed, at + 2)
            yield key, wanted, text, (namespace, name) if name or namespace else None
    except (struct.error, IndexError, ValueError) as broken:
        raise ServiceError(StatusCodes.BadDecodingError) from broken
    if at != len(listed):
        raise ServiceError(StatusCodes.BadDecodingError)


def _key(listed: bytes, at: int) -> tuple[bytes, int]:
    """The key of a NodeId and where it ends; an empty one for a text that is null."""
    if listed[at] in (3, 5) and listed[at + 3 : at + 7] == b"\xff\xff\xff\xff":
        return b"", at + 7
    return read_key(listed, at)


def _octets(listed: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from("<i", listed, at)
    end = at + 4 + max(size, 0)
    if size < -1 or end > len(listed):
        raise ValueError(f"a text of {size} bytes")
    return listed[at + 4 : end], end
