"""Requests of the View services -> what they ask for (Part 4 §5.9).

Everything here raises ServiceError: BadDecodingError for what is cut off, BadNothingToDo, BadTooManyOperations.
"""

import struct
from collections.abc import Iterator
from typing import Final

from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import MOST_OPERATIONS
from controller.opcua.encoding import read_key
from controller.opcua.nodes.browsing import Description, Element, Path

NO_LENGTH: Final = 0xFFFF_FFFF
_DESCRIPTION: Final = struct.Struct("<?II")


def counted(count: int) -> int:
    """How many there are; an array's length of -1 is none."""
    if count in (0, NO_LENGTH):
        raise ServiceError(StatusCodes.BadNothingToDo)
    if count > MOST_OPERATIONS:
        raise ServiceError(StatusCodes.BadTooManyOperations)
    return count


def uint32(content: bytes, at: int) -> int:
    """The number at a position."""
    number = int.from_bytes(content[at : at + 4], "little")
    if at + 4 > len(content):
        raise ServiceError(StatusCodes.BadDecodingError)
    return number


def node_at(content: bytes, at: int) -> tuple[bytes, int]:
    """The key of the NodeId at a position, and where it ends."""
    try:
        return read_key(content, at)
    except (ValueError, IndexError, struct.error) as wrong:
        raise ServiceError(StatusCodes.BadDecodingError) from wrong


def ended(content: bytes, at: int) -> None:
    """That the request ends where its last field does."""
    if at != len(content):
        raise ServiceError(StatusCodes.BadDecodingError)


def descriptions(content: bytes, at: int) -> Iterator[Description]:
    """The nodes to browse."""
    count = uint32(content, at)
    at += 4
    for _ in range(counted(count)):
        node, at = node_at(content, at)
        direction = uint32(content, at)
        reference, at = node_at(content, at + 4)
        try:
            with_subtypes, classes, results = _DESCRIPTION.unpack_from(content, at)
        except struct.error as short:
            raise ServiceError(StatusCodes.BadDecodingError) from short
        at += _DESCRIPTION.size
        yield Description(node, direction, reference, with_subtypes, classes, results)
    ended(content, at)


def byte_strings(content: bytes, at: int, count: int) -> Iterator[bytes]:
    """ByteStrings; null ones are empty."""
    for _ in range(count):
        size = uint32(content, at)
        size = 0 if size == NO_LENGTH else size
        at += 4
        if size > len(content) - at:
            raise ServiceError(StatusCodes.BadDecodingError)
        yield content[at : at + size]
        at += size
    ended(content, at)


def paths(content: bytes, at: int) -> Iterator[Path]:
    """The paths to follow."""
    count = uint32(content, at)
    at += 4
    for _ in range(counted(count)):
        start, at = node_at(content, at)
        steps = uint32(content, at)
        at += 4
        elements = []
        for _ in range(0 if steps == NO_LENGTH else steps):
            element, at = _element(content, at)
            elements.append(element)
        yield Path(start, tuple(elements))
    ended(content, at)


def _element(content: bytes, at: int) -> tuple[Element, int]:
    reference, at = node_at(content, at)
    size = uint32(content, at + 4)
    end = at + 8 + (0 if size == NO_LENGTH else size)
    if end > len(content):
        raise ServiceError(StatusCodes.BadDecodingError)
    name = content[at + 2 : end]
    return Element(reference, bool(content[at]), bool(content[at + 1]), name), end
