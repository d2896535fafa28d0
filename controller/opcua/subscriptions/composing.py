"""What a subscription has to tell becomes NotificationMessages (Part 4 §5.14.1.1, §7.26)."""

from collections.abc import Callable, Iterator

from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.encoding import data_value
from controller.opcua.events import Event, event
from controller.opcua.nodes.store import Nodes
from controller.opcua.subscriptions import messages
from controller.opcua.subscriptions.items import NO_ROW, SLOT, Positions
from controller.opcua.subscriptions.limits import MOST_NOTIFICATIONS
from controller.opcua.subscriptions.subscription import Subscription

Overflow = Callable[[], Event]
"""Makes the event that tells of lost ones."""


def compose(one: Subscription, utc: int, room: int, overflow: Overflow) -> tuple[bytes, int]:
    """The next NotificationMessage of a subscription, and how many notifications it has; a keep-alive where it has none.

    Args:
        utc: now [ns since 1970].
        room: bytes that it may have.
    """
    most = max(1, min(one.most or MOST_NOTIFICATIONS, MOST_NOTIFICATIONS, room // SLOT))
    numbers = one.telling()
    data: list[bytes] = []
    lists: list[bytes] = []
    if one.values or one.notifiers:
        columns = one.items.row[numbers] != NO_ROW
        loose, numbers = numbers[~columns], numbers[columns]
        one.flip = not one.flip
        share = most if not len(numbers) else most // 2 if most > 1 else int(one.flip)
        _compose_loose(one, loose, share, room // 2, overflow, data, lists)
    changes, count = len(data), len(data) + len(lists)
    if most > count:
        said, more, one.start = one.items.take(numbers, most - count, one.start)
        changes += more
        data.append(said)
    one.publishing.more = bool(len(one.telling()))
    one.stale(one.publishing.more)
    if not one.publishing.more:
        one.disarm()
    if not changes and not lists:
        return one.keep_alive(utc), 0  # nothing takes no number
    kinds = [messages.data_changes(changes, data)] if changes else []
    if lists:
        kinds.append(messages.events(lists))
    one.counters.sent(changes, len(lists))
    return one.numbered(utc, kinds), changes + len(lists)


def _compose_loose(
    one: Subscription, at: Positions, most: int, room: int, overflow: Overflow, data: list[bytes], lists: list[bytes]
) -> None:
    """Take what is queued of items that do not lie in columns."""
    for position in at.tolist():
        left = most - len(data) - len(lists)
        if left <= 0 or room <= 0:
            return
        handle = one.items.slots[position, :4].tobytes()
        into = data if position in one.values else lists
        for entry in _entries(one, position, left, overflow):
            if len(entry) > room and into is data:
                entry = data_value(None, StatusCodes.BadEncodingLimitsExceeded)
            room -= len(entry) + 4
            into.append(handle + entry)
            if room <= 0:
                break
        queue = one.queue(position)
        one.items.fresh[position] = queue is not None and (bool(queue.entries) or (queue.overflowed and into is lists))


def _entries(one: Subscription, position: int, most: int, overflow: Overflow) -> Iterator[bytes]:
    notifier = one.notifiers.get(position)
    if notifier is not None:
        yield from notifier.entries(most, overflow)
        return
    queue = one.values[position].queue
    while queue.entries and most > 0:
        most -= 1
        yield queue.take()


def overflow(nodes: Nodes, utc: int) -> Event:
    """The event that tells of lost ones (Part 5 §6.4.34)."""
    kind, server = nodes.standard(ObjectIds.EventQueueOverflowEventType), nodes.standard(ObjectIds.Server)
    told = "Events were lost because their queue was full."
    return event(nodes, kind, server, told, 1, utc, source_name="Internal/EventQueueOverflow")
