"""One DataValue at a time: for what does not lie in the plane's rows of numbers."""

import struct
from typing import Any, Final, NamedTuple

from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary

from controller.opcua.encoding import data_value
from controller.opcua.subscriptions.filters import STATUS_VALUE, STATUS_VALUE_TIMESTAMP, Filter

OVERFLOW: Final = 0x480
"""InfoType DataValue and the Overflow bit (Part 4 §7.39.1)."""
SOURCE, SERVER, BOTH, NEITHER = range(4)
"""TimestampsToReturn."""


class Parts(NamedTuple):
    """A DataValue's parts; what is left out is None or 0."""

    variant: bytes | None
    status: int
    source: int
    server: int


def parts(encoded: bytes) -> Parts:
    """The parts of an encoded DataValue; picoseconds are dropped."""
    mask, at = encoded[0], len(encoded)
    status = source = server = 0
    if mask & 0x20:
        at -= 2
    if mask & 0x08:
        at -= 8
        (server,) = struct.unpack_from("<q", encoded, at)
    if mask & 0x10:
        at -= 2
    if mask & 0x04:
        at -= 8
        (source,) = struct.unpack_from("<q", encoded, at)
    if mask & 0x02:
        at -= 4
        (status,) = struct.unpack_from("<I", encoded, at)
    return Parts(encoded[1:at] if mask & 1 else None, status, source, server)


def told(value: Parts, stamps: int) -> bytes:
    """An encoded DataValue with the times that are asked for."""
    return data_value(
        value.variant,
        value.status,
        value.source if stamps in (SOURCE, BOTH) else 0,
        value.server if stamps in (SERVER, BOTH) else 0,
    )


def overflown(encoded: bytes) -> bytes:
    """The same DataValue with the Overflow bit."""
    value = parts(encoded)
    return data_value(value.variant, value.status | OVERFLOW, value.source, value.server)


def differs(new: Parts, old: Parts, wanted: Filter) -> bool:
    """Whether a change is told."""
    if new.status != old.status:
        return True
    if wanted.trigger >= STATUS_VALUE and new.variant != old.variant:
        return wanted.deadband == 0 or _beyond(new.variant, old.variant, wanted.deadband)
    return wanted.trigger == STATUS_VALUE_TIMESTAMP and new.source != old.source


def _beyond(new: bytes | None, old: bytes | None, deadband: float) -> bool:
    """Whether one number at least changed by more than a deadband, or how many there are did."""
    if new is None or old is None:
        return True
    now, then = _numbers(new), _numbers(old)
    return len(now) != len(then) or any(not abs(one - other) <= deadband for one, other in zip(now, then, strict=True))


def _numbers(encoded: bytes) -> list[Any]:
    found = variant_from_binary(Buffer(encoded)).Value
    return found if isinstance(found, list) else [found]
