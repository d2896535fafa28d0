"""The requests that come with a thousand items, or a thousand times a second (Part 4 §5.13, §5.14): bytes -> tuples.

Everything here is bounded by the message it stands in; what is cut off or no such thing is refused with BadDecodingError.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import MOST_OPERATIONS
from controller.opcua.encoding import NULL_NODE, read_key

_U32: Final = struct.Struct("<I").unpack_from
_I32: Final = struct.Struct("<i").unpack_from
_PAIR: Final = struct.Struct("<II").unpack_from
_ATTRIBUTE: Final = struct.Struct("<Ii").unpack_from
_ENCODING: Final = struct.Struct("<Hi").unpack_from
_HEAD: Final = struct.Struct("<Id").unpack_from
_HANDLE: Final = struct.Struct("<IId").unpack_from
_TAIL: Final = struct.Struct("<IB").unpack_from
MOST_ACKNOWLEDGED: Final = 10_000


class Parameters(NamedTuple):
    """MonitoringParameters.

    Attributes:
        kind, filter: key of the filter's encoding, and its fields; NULL_NODE and nothing for none.
    """

    handle: int
    interval_ms: float
    kind: bytes
    filter: bytes
    queue: int
    oldest: bool


class Item(NamedTuple):
    """MonitoredItemCreateRequest.

    Attributes:
        node: key of its NodeId.
        part: IndexRange, empty for none.
        encoding: whether it is the default one.
    """

    node: bytes
    attribute: int
    part: str
    encoding: bool
    mode: int
    parameters: Parameters


@contextmanager
def decoding() -> Iterator[None]:
    """Turns what is wrong with a message into its fault."""
    try:
        yield
    except (struct.error, IndexError, ValueError) as broken:
        raise ServiceError(StatusCodes.BadDecodingError) from broken


def _count(content: bytes, at: int, size: int, most: int = MOST_OPERATIONS) -> tuple[int, int]:
    """How many elements an array has and where they begin; it is within the message and the limit."""
    (count,) = _I32(content, at)
    if count > most:
        raise ServiceError(StatusCodes.BadTooManyOperations)
    if count > 0 and at + 4 + count * size > len(content):
        raise ValueError(f"{count} elements in {len(content) - at} bytes")
    return max(count, 0), at + 4


def _some(content: bytes, at: int, size: int) -> tuple[int, int]:
    count, at = _count(content, at, size)
    if not count:
        raise ServiceError(StatusCodes.BadNothingToDo)
    return count, at


def _end(content: bytes, at: int) -> None:
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes behind the last field")


def _octets(content: bytes, at: int) -> tuple[bytes, int]:
    (size,) = _I32(content, at)
    if size <= 0:
        return b"", at + 4
    end = at + 4 + size
    if end > len(content):
        raise ValueError(f"{size} bytes where {len(content) - at - 4} are")
    return content[at + 4 : end], end


def numbers(content: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """An array of UInt32, perhaps empty, and where it ends."""
    count, at = _count(content, at, 4)
    return struct.unpack_from(f"<{count}I", content, at), at + 4 * count


def head(content: bytes, at: int, form: str) -> tuple[tuple[int, ...], int]:
    """Some numbers, and where they end."""
    layout = struct.Struct("<" + form)
    return layout.unpack_from(content, at), at + layout.size


def acknowledged(content: bytes, at: int) -> list[tuple[int, int]]:
    """Subscription and sequence number of each SubscriptionAcknowledgement of a Publish request."""
    with decoding():
        count, at = _count(content, at, 8, MOST_ACKNOWLEDGED)
        _end(content, at + 8 * count)
        return [_PAIR(content, place) for place in range(at, at + 8 * count, 8)]


def _parameters(content: bytes, at: int) -> tuple[Parameters, int]:
    handle, interval = _HEAD(content, at)
    kind, at = read_key(content, at + 12)
    has_body = content[at]
    body = b""
    at += 1
    if has_body == 1:
        body, at = _octets(content, at)
    elif has_body:
        raise ValueError(f"a filter encoded as {has_body}")
    queue, oldest = _TAIL(content, at)
    return Parameters(handle, interval, kind, body, queue, bool(oldest)), at + 5


def items(content: bytes, at: int) -> Iterator[Item]:
    """MonitoredItemCreateRequests, from their count on."""
    count, at = _some(content, at, 40)
    for _ in range(count):
        if content[at] == 3:  # a NodeId with a string: what our Signals have
            (size,) = _I32(content, at + 3)
            end = at + 7 + size
            if size < 0 or end > len(content):
                raise ValueError(f"an identifier of {size} bytes")
            node, at = content[at:end], end
        else:
            node, at = read_key(content, at)
        attribute, size = _ATTRIBUTE(content, at)
        part = ""
        if size <= 0:
            at += 8
        else:
            found, at = _octets(content, at + 4)
            part = found.decode()
        space, size = _ENCODING(content, at)
        at += 6
        encoding = True
        if size > 0:
            name, at = _octets(content, at - 4)
            encoding = space == 0 and name == b"Default Binary"
        mode, handle, interval = _HANDLE(content, at)
        at += 16
        if content[at : at + 3] == b"\x00\x00\x00":  # no filter
            queue, oldest = _TAIL(content, at + 3)
            at += 8
            parameters = Parameters(handle, interval, NULL_NODE, b"", queue, bool(oldest))
        else:
            parameters, at = _parameters(content, at - 12)
        yield Item(node, attribute, part, encoding, mode, parameters)
    _end(content, at)


def changes(content: bytes, at: int) -> Iterator[tuple[int, Parameters]]:
    """MonitoredItemModifyRequests, from their count on: item and parameters."""
    count, at = _some(content, at, 24)
    for _ in range(count):
        (item,) = _U32(content, at)
        parameters, at = _parameters(content, at + 4)
        yield item, parameters
    _end(content, at)


def each(content: bytes, at: int) -> tuple[int, ...]:
    """The UInt32 that an operation is asked for, at least one."""
    found, at = numbers(content, at)
    _end(content, at)
    if not found:
        raise ServiceError(StatusCodes.BadNothingToDo)
    return found
