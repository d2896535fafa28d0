"""Monitored items are made: what is asked for is checked one by one, and added all at once (Part 4 §5.13.2)."""

import struct
from typing import Any, Final, NamedTuple

import numpy as np
from asyncua.common.utils import ServiceError
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.attributes import refused
from controller.opcua.encoding import NULL_NODE
from controller.opcua.events import EVENT_NOTIFIER, notifies
from controller.opcua.nodes.store import NO_NODE, VALUE, VARIABLE
from controller.opcua.plane import STRING
from controller.opcua.ranges import Bounds, parse
from controller.opcua.roles import May
from controller.opcua.sessions import Session
from controller.opcua.subscriptions import limits
from controller.opcua.subscriptions.decoding import Item
from controller.opcua.subscriptions.engine import Engine
from controller.opcua.subscriptions.filters import EVERY_CHANGE, Filter, data_filter
from controller.opcua.subscriptions.heard import Filters
from controller.opcua.subscriptions.items import DISABLED, ENTRY, NO_ROW, REPORTING
from controller.opcua.subscriptions.loose import Notifier, Value, data_queue, event_queue
from controller.opcua.subscriptions.subscription import Subscription

_RESULT: Final = struct.Struct("<IIdIHB")
NUMERIC: Final = frozenset(range(2, 12))
"""Built-in types that have a deadband."""
UNREADABLE: Final = frozenset((StatusCodes.BadNotReadable, StatusCodes.BadUserAccessDenied))
"""Statuses of a node that is there and is not told of."""
CHANGING: Final = frozenset((AttributeIds.UserAccessLevel, AttributeIds.UserExecutable, AttributeIds.UserRolePermissions))
"""Attributes beside the Value that change while there are nodes, with the user; all others are told once."""
_GIVEN: Final = ("ids", "handle", "node", "row", "mode", "trigger", "deadband", "stamps", "queue", "oldest", "group")


class Revised(NamedTuple):
    """A result of CreateMonitoredItems or ModifyMonitoredItems."""

    sampling_ms: float
    queue: int
    result: bytes = b""
    """An EventFilterResult."""


class New:
    """Items that are about to be made."""

    def __init__(self, engine: Engine, one: Subscription, session: Session, stamps: int) -> None:
        self._engine, self._one, self._session, self._stamps = engine, one, session, stamps
        self._role = session.role
        self._now = engine.clock.now()
        self._columns: dict[str, list[Any]] = {name: [] for name in _GIVEN}
        self._appends = [self._columns[name].append for name in _GIVEN]
        self._loose: list[Value | Notifier] = []
        self._notifiers = 0
        self._filters = Filters(engine, session)
        self._of_session = sum(len(other.items) for other in engine.of(session).subscriptions.values())
        self._denied: list[tuple[int, int]] = []
        self._polls: list[tuple[int, int]] = []
        self._first = one.items.count

    def add(self, item: Item) -> bytes:
        """One more: its MonitoredItemCreateResult."""
        try:
            identifier, revised = self._add(item)
        except ServiceError as wrong:
            return _RESULT.pack(wrong.code, 0, 0.0, 0, 0, 0)
        if revised.result:
            return struct.pack("<IIdI", 0, identifier, revised.sampling_ms, revised.queue) + revised.result
        return _RESULT.pack(0, identifier, revised.sampling_ms, revised.queue, 0, 0)

    def _add(self, item: Item) -> tuple[int, Revised]:
        nodes = self._engine.nodes
        node = nodes.find(item.node)
        if node == NO_NODE:
            raise ServiceError(StatusCodes.BadNodeIdInvalid if item.node == NULL_NODE else StatusCodes.BadNodeIdUnknown)
        code = refused(nodes, node, item.attribute, self._role)
        if code and not (code in UNREADABLE and item.attribute != EVENT_NOTIFIER):
            raise ServiceError(code)
        if item.mode > REPORTING:
            raise ServiceError(StatusCodes.BadMonitoringModeInvalid)
        if not item.encoding:
            value = item.attribute == VALUE
            raise ServiceError(StatusCodes.BadDataEncodingUnsupported if value else StatusCodes.BadDataEncodingInvalid)
        if self._full():
            raise ServiceError(StatusCodes.BadTooManyMonitoredItems)
        if code:
            self._denied.append((self._position(), code))
        try:
            return self._kind(item, node)
        except ServiceError:
            if code:
                self._denied.pop()
            raise

    def _full(self) -> bool:
        """Whether there is no room for another item."""
        new, share = len(self._columns["ids"]), self._one.share
        return (
            len(self._one.items) + new >= limits.MOST_ITEMS_PER_SUBSCRIPTION
            or self._of_session + new >= limits.MOST_ITEMS_PER_SESSION
            or share.items >= limits.MOST_ITEMS // limits.PARTS
            or self._engine.items >= limits.MOST_ITEMS
        )

    def _kind(self, item: Item, node: int) -> tuple[int, Revised]:
        """An item of whatever kind."""
        engine, nodes = self._engine, self._engine.nodes
        bounds = parse(item.part) if item.part else None
        if item.attribute == EVENT_NOTIFIER:
            return self._notifier(item, node)
        row = NO_ROW
        if item.attribute == VALUE and node not in nodes.reads:
            row = nodes.rows.get(node, NO_ROW)
        if row == NO_ROW or engine.plane.kinds[row] == STRING:
            return self._value(item, node, row, bounds)
        if bounds is not None:
            raise ServiceError(StatusCodes.BadIndexRangeNoData)
        return self._number(item, node, row)

    def _number(self, item: Item, node: int, row: int) -> tuple[int, Revised]:
        """A row of numbers."""
        wanted, one = item.parameters, self._one
        found = EVERY_CHANGE
        if wanted.kind != NULL_NODE:
            numeric = int(self._engine.plane.kinds[row]) in NUMERIC
            found = data_filter(wanted.kind, wanted.filter, self._engine.nodes, node, VALUE, numeric)
        sampling_ms = limits.revised_sampling_ms(wanted.interval_ms, one.interval_ms)
        queue = min(max(wanted.queue, 1), limits.LONGEST_QUEUE)
        while queue > 1 and not one.share.queues.take(queue * ENTRY):
            queue //= 2
        return self._append(item, node, row, found, queue, self._group(sampling_ms)), Revised(sampling_ms, queue)

    def _value(self, item: Item, node: int, row: int, bounds: tuple[Bounds, ...] | None) -> tuple[int, Revised]:
        """A value that is looked at by itself."""
        wanted, one, engine = item.parameters, self._one, self._engine
        found = data_filter(wanted.kind, wanted.filter, engine.nodes, node, item.attribute, is_numeric(engine, node))
        polled = row == NO_ROW and (node in engine.nodes.reads if item.attribute == VALUE else item.attribute in CHANGING)
        if polled:
            alone = one.polled >= limits.MOST_POLLED_PER_SUBSCRIPTION or one.share.polled >= limits.MOST_POLLED // limits.PARTS
            if alone or engine.polled >= limits.MOST_POLLED:
                raise ServiceError(StatusCodes.BadTooManyMonitoredItems)
            engine.count(one, 0, 1)
            one.polled += 1
        shortest = limits.FASTEST_SAMPLING_MS if row != NO_ROW else limits.SHORTEST_POLL_MS
        sampling_ms = limits.revised_sampling_ms(wanted.interval_ms, one.interval_ms, shortest)
        queue = min(max(wanted.queue, 1), limits.LONGEST_QUEUE)
        group = self._group(sampling_ms)
        position = self._position()
        made = data_queue(one.share.queues, queue, wanted.oldest)
        self._loose.append(Value(position, node, item.attribute, row, polled, bounds, found, self._stamps, made))
        if polled:
            self._polls.append((position, group))
        return self._append(item, node, NO_ROW, EVERY_CHANGE, 1, group), Revised(sampling_ms, queue)

    def _notifier(self, item: Item, node: int) -> tuple[int, Revised]:
        """An item of events."""
        engine, nodes = self._engine, self._engine.nodes
        if not notifies(nodes, node):
            raise ServiceError(StatusCodes.BadAttributeIdInvalid)
        if not self._session.may(nodes.rules[node], May.RECEIVE_EVENTS):
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        share, here = self._one.share, len(self._one.notifiers) + self._notifiers
        alone = here >= limits.MOST_EVENT_ITEMS_PER_SUBSCRIPTION or share.notifiers >= limits.MOST_EVENT_ITEMS // limits.PARTS
        if alone or engine.notifiers >= limits.MOST_EVENT_ITEMS:
            raise ServiceError(StatusCodes.BadTooManyMonitoredItems)
        compiled, result = self._filters.ready(item.parameters)
        queue = event_queue_size(item.parameters.queue)
        made = event_queue(share.queues, queue, item.parameters.oldest)
        self._notifiers += 1
        engine.count(self._one, 0, 0, 1)
        self._loose.append(Notifier(self._position(), node, compiled, made))
        return self._append(item, node, NO_ROW, EVERY_CHANGE, 1, 0), Revised(0.0, queue, result)

    def _position(self) -> int:
        return self._first + len(self._columns["ids"])

    def _group(self, sampling_ms: float) -> int:
        return 0 if sampling_ms <= limits.FASTEST_SAMPLING_MS else self._one.group(sampling_ms, self._now).number

    def _append(self, item: Item, node: int, row: int, found: Filter, queue: int, group: int) -> int:
        one, wanted = self._one, item.parameters
        identifier = one.next_item
        one.next_item += 1
        self._engine.count(one, 1)
        kind = identifier, wanted.handle, node, row, item.mode
        made = (*kind, found.trigger, found.deadband, self._stamps, queue, wanted.oldest, group)
        for append, value in zip(self._appends, made, strict=True):
            append(value)
        return identifier

    def done(self) -> None:
        """Add them to their subscription, with their first values."""
        one, engine = self._one, self._engine
        if not self._columns["ids"]:
            return
        at = one.items.add({name: np.array(column) for name, column in self._columns.items()})
        for loose in self._loose:
            if isinstance(loose, Value):
                one.values[loose.position] = loose
            else:
                one.notifiers[loose.position] = loose
        one.arranged()
        for position, code in self._denied:  # its first notification says so (Part 4 §5.13.2.1)
            one.deny(position, code)
        one.begin(at[one.items.mode[at] != DISABLED], engine.plane, engine.read)
        one.stale()
        for group in one.groups.values():
            group.polled.update(position for position, number in self._polls if number == group.number)
            engine.wake(group)


def is_numeric(engine: Engine, node: int) -> bool:
    """Whether a Variable's value is a number or an array of numbers."""
    if engine.nodes.classes[node] != VARIABLE:
        return False
    row = engine.nodes.rows.get(node)
    if row is not None:
        return int(engine.plane.kinds[row]) in NUMERIC
    data_type = engine.nodes.attributes[node].get(14)
    encoded = engine.nodes.attributes[node].get(VALUE)
    if encoded is not None:
        return encoded[0] & 0x3F in NUMERIC
    number = engine.nodes.find(data_type[1:]) if data_type else NO_NODE
    return number != NO_NODE and number in engine.nodes.subtypes(engine.nodes.standard(ObjectIds.Number))


def event_queue_size(wanted: int) -> int:
    """The size of a queue of events: 0 is the default one, 1 the smallest there is."""
    return limits.DEFAULT_EVENT_QUEUE if wanted == 0 else min(wanted, limits.LONGEST_EVENT_QUEUE)
