"""NotificationMessages and Publish responses, laid by hand (Part 4 §7.25, §7.26; Part 6 §5.2)."""

import struct
from collections.abc import Collection, Sequence
from typing import Final

from asyncua.ua.object_ids import ObjectIds

from controller.opcua.encoding import node_key
from controller.opcua.subscriptions.limits import RETRANSMITTED

_NO_DIAGNOSTICS: Final = b"\xff\xff\xff\xff"
_DATA: Final = node_key(0, ObjectIds.DataChangeNotification_Encoding_DefaultBinary) + b"\x01"
_EVENTS: Final = node_key(0, ObjectIds.EventNotificationList_Encoding_DefaultBinary) + b"\x01"
_STATUS: Final = node_key(0, ObjectIds.StatusChangeNotification_Encoding_DefaultBinary) + b"\x01"
_HEAD: Final = struct.Struct("<Iqi")
_TWO: Final = struct.Struct("<ii")
HEADERS: Final = 512 + 4 * RETRANSMITTED
"""Bytes of a Publish response beside its notifications, with few results."""


def data_changes(count: int, notifications: Sequence[bytes]) -> tuple[bytes, ...]:
    """A DataChangeNotification of MonitoredItemNotifications that are laid out already, in pieces."""
    size = sum(map(len, notifications))
    return (_DATA, _TWO.pack(size + 8, count), *notifications, _NO_DIAGNOSTICS)


def events(fields: Sequence[bytes]) -> tuple[bytes, ...]:
    """An EventNotificationList of EventFieldLists, in pieces."""
    return (_EVENTS, _TWO.pack(sum(map(len, fields)) + 4, len(fields)), *fields)


def status_change(status: int) -> tuple[bytes, ...]:
    """A StatusChangeNotification."""
    return (_STATUS, struct.pack("<iIB", 5, status, 0))


def message(number: int, time: int, kinds: Sequence[tuple[bytes, ...]]) -> bytes:
    """A NotificationMessage; without notifications it is a keep-alive.

    Args:
        number: its sequence number, or the next one's.
        time: DateTime.
    """
    return b"".join((_HEAD.pack(number, time, len(kinds)), *(piece for pieces in kinds for piece in pieces)))


def published(subscription: int, available: Collection[int], more: bool, notification: bytes, results: Sequence[int]) -> bytes:
    """The fields of a PublishResponse.

    Args:
        available: sequence numbers that can be asked for again.
        results: of the acknowledgements.
    """
    return b"".join(
        (
            struct.pack(f"<Ii{len(available)}IB", subscription, len(available), *available, more),
            notification,
            struct.pack(f"<i{len(results)}Ii", len(results), *results, -1),
        )
    )
