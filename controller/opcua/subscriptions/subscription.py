"""One subscription: its items, what is queued of them, and its messages. It knows no timer and no connection."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.opcua.encoding import data_value, ticks
from controller.opcua.events import Event
from controller.opcua.plane import Plane
from controller.opcua.reading import reshaped
from controller.opcua.roles import TABLE, May
from controller.opcua.sessions import Session
from controller.opcua.subscriptions import messages
from controller.opcua.subscriptions.beat import Beat
from controller.opcua.subscriptions.counters import Counters
from controller.opcua.subscriptions.items import DISABLED, ENTRY, NO_ROW, REPORTING, SLOT, Items, Positions
from controller.opcua.subscriptions.limits import MOST_NOTIFICATIONS, RETRANSMITTED
from controller.opcua.subscriptions.loose import OVERHEAD, Budget, Notifier, Value
from controller.opcua.subscriptions.states import Publishing
from controller.opcua.subscriptions.values import BOTH
from controller.users import Role
from twin.clock import MS, Ns

BAD_ENCODING_LIMITS_EXCEEDED = 0x80080000
LAST_NUMBER = 0xFFFF_FFFF

Mask = NDArray[np.bool_]
Read = Callable[[Session, int, int, "tuple[tuple[int, int], ...] | None"], bytes]
"""Gives an attribute of a node, or a part of it, to a session: an encoded DataValue with both times."""


@dataclass(slots=True, eq=False)
class Group:
    """Items that are sampled together, on the grid of one interval.

    Attributes:
        owner: whose items they are.
        number: which of the items' `group` it is.
        polled: those whose values nobody tells.
        touched: whether something was put since they were sampled.
        scheduled: when the timer looks at it next, -1 for not at all.
    """

    owner: "Subscription"
    number: int
    beat: Beat
    polled: set[int] = field(default_factory=set)
    touched: bool = False
    scheduled: int = -1


@dataclass(eq=False)
class Subscription:
    """A subscription.

    Attributes:
        number: SubscriptionId.
        session: whose it is; None when that has ended, until somebody takes it over or its lifetime ends.
        owner: the session it had last, to know its client by.
        most: MaxNotificationsPerPublish, 0 for no limit of the client's.
        values, notifiers: items that are not sampled in columns, by position.
        groups: by sampling interval.
        links: triggered items by triggering item, both by id.
        kept: messages that may be asked for again, by sequence number.
        scheduled: when the timer looks at it next; asleep: whether cycles before that may pass uncounted until then.
        served: the turn in which it was answered last.
        changes: of the nodes, when its items were last held against them.
        polled: how many of its items are polled.
    """

    number: int
    session: Session | None
    owner: Session
    publishing: Publishing
    beat: Beat
    interval_ms: float
    most: int
    priority: int
    role: Role
    changes: int
    queues: Budget
    retransmission: Budget
    items: Items = field(default_factory=Items)
    values: dict[int, Value] = field(default_factory=dict)
    notifiers: dict[int, Notifier] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    links: dict[int, set[int]] = field(default_factory=dict)
    kept: "OrderedDict[int, bytes]" = field(default_factory=OrderedDict)
    counters: Counters = field(default_factory=Counters)
    next_number: int = 1
    next_item: int = 1
    scheduled: int = -1
    asleep: bool = False
    ripe: bool = False
    served: int = 0
    polled: int = 0
    alive: bool = True
    _text_rows: Positions = field(default_factory=lambda: np.zeros(0, np.int64))
    _texts: Positions = field(default_factory=lambda: np.zeros(0, np.int64))
    _ready: bool | None = False
    _start: int = 0
    _flip: bool = False

    # ---- in: what has changed

    def group(self, interval_ms: float, now: Ns) -> Group:
        """The group with a sampling interval. Every change is told of those in group 0, which has no grid.

        One that is sampled as often as it is published is sampled right then: a grid of its own would only add its phase.
        """
        interval = Ns(int(interval_ms * MS))
        found = self.groups.get(interval)
        if found is None:
            number = max((one.number for one in self.groups.values()), default=0) + 1
            grid = self.beat if interval == self.beat.interval else Beat(interval, Ns(now + interval))
            found = self.groups[interval] = Group(self, number, grid)
        return found

    def retime(self, beat: Beat, now: Ns) -> None:
        """Publish at other times; what is sampled keeps its interval."""
        for group in self.groups.values():
            if group.beat is self.beat:
                group.beat = Beat(group.beat.interval, Ns(now + group.beat.interval))
        self.beat = beat

    @property
    def to_sample(self) -> Group | None:
        """The group that is sampled when it is published, if there is anything to look at."""
        found = self.groups.get(self.beat.interval)
        return found if found is not None and found.beat is self.beat and (found.touched or found.polled) else None

    def arranged(self) -> None:
        """Items have come, gone or changed."""
        self.items.refilter()
        texts = [value for value in self.values.values() if value.row >= 0]
        self._texts = np.array([value.position for value in texts], np.int64)
        self._text_rows = np.array([value.row for value in texts], np.int64)
        self._ready = None

    def committed(self, touched: Mask, now: Ns, plane: Plane) -> bool:
        """Rows were committed: whether something was queued that is to be told, or is to be sampled for it.

        Args:
            touched: by row, with one more entry that is not set.
        """
        items = self.items
        at = np.flatnonzero(touched[items.row[: items.count]])
        if len(self._texts):
            at = np.concatenate((at, self._texts[touched[self._text_rows]]))
        if not len(at):
            return False
        if not self.groups:
            return self._sampled(at, plane)
        slow = items.group[at] > 0
        items.touched[at[slow]] = True
        told = self._sampled(at[~slow], plane)
        for group in self.groups.values():
            if np.any(items.group[at] == group.number):
                if group.beat is self.beat:
                    group.touched = told = True
                    continue
                if not group.touched and not group.polled:
                    group.beat.skip(now)
                group.touched = True
                if group.beat.note(now):
                    group.beat.follow(now)
                    told |= self.sample(group, plane, None)
        return told

    def sample(self, group: Group, plane: Plane, read: Read | None) -> bool:
        """Sample a group's items: whether something was queued that is to be told.

        Args:
            read: reads what nobody tells; without it that is left for the next time.
        """
        items = self.items
        group.touched = False
        at = np.flatnonzero(items.touched[: items.count] & (items.group[: items.count] == group.number))
        told = self._sampled(at, plane)
        if read is not None and group.polled and self.session is not None:
            told |= self._noted([at for at in group.polled if self._look(self.values[at], read)])
        return told

    def begin(self, at: Positions, plane: Plane, read: Read) -> None:
        """Tell the first value of items that are new or enabled again, as soon as there is one (Part 4 §5.13.1.3)."""
        self.items.first[at] = True
        columns = self.items.row[at] != NO_ROW
        self._sampled(at[columns], plane)
        for position in at[~columns].tolist():
            value = self.values.get(position)
            if value is not None:
                value.last, value.seen = None, -1
                if self._look(value, read):
                    self._noted([position])

    def hear(self, event: Event, nodes: frozenset[int], rules: bytearray) -> bool:
        """An event came that these nodes tell of: whether it was queued."""
        told = False
        for notifier in self.notifiers.values():
            position = notifier.position
            if notifier.node not in nodes or self.items.mode[position] == DISABLED or self.items.denied[position]:
                continue
            if not TABLE[event.rule][self.role - 1] & TABLE[rules[notifier.node]][self.role - 1] & May.RECEIVE_EVENTS:
                continue
            if notifier.hear(event):
                told |= self._noted([position])
        return told

    def _sampled(self, at: Positions, plane: Plane) -> bool:
        if not len(at):
            return False
        texts = at[self.items.row[at] == NO_ROW] if len(self._texts) else at[:0]
        told = False
        if len(texts):
            self.items.touched[texts] = False
            for position in texts.tolist():
                value = self.values[position]
                if self._open(position) and value.sample(self._part(value, plane)):
                    told |= self._noted([position])
            at = at[self.items.row[at] != NO_ROW]
        queued = self.items.sample(at, plane)
        return self._noted(queued) or told

    def _part(self, value: Value, plane: Plane) -> bytes:
        return reshaped(plane.data_value(value.row), BOTH, value.bounds)

    def _look(self, value: Value, read: Read) -> bool:
        if self.session is None or not self._open(value.position):
            return False
        return value.sample(read(self.session, value.node, value.attribute, value.bounds))

    def _open(self, position: int) -> bool:
        return self.items.mode[position] != DISABLED and not self.items.denied[position]

    def _noted(self, queued: "Positions | list[int]") -> bool:
        """Something was queued of these items: whether any of it is to be told."""
        if not len(queued):
            return False
        items = self.items
        items.fresh[queued] = True
        if self.links:
            self._trigger(queued)
        if self._ready is not True:
            told = bool(np.any(items.mode[queued] == REPORTING)) or bool(self.links and self.available())
            self._ready = True if told else self._ready
            return told
        return True

    def _trigger(self, queued: "Positions | list[int]") -> None:
        items = self.items
        new = np.zeros(items.count, bool)
        new[queued] = True
        for triggering, triggered in self.links.items():
            if new[items.where[triggering]]:
                items.triggered[[items.where[one] for one in triggered]] = True
                self._ready = None

    # ---- who may look

    def recheck(self, role: Role, hindered: dict[int, int], plane: Plane, read: Read) -> None:
        """Who looks has another role, or the nodes have changed: who may not look any more is told that once, and nothing further.

        Args:
            hindered: the status that keeps the role from the item at a position; 0 for none.
        """
        lowered = role < self.role
        self.role = role
        items = self.items
        opened = []
        for position, code in hindered.items():
            if code and not items.denied[position]:
                self._deny(position, code)
            elif not code and items.denied[position]:
                items.denied[position] = False
                opened.append(position)
        if lowered:  # what is queued of events was queued for somebody else
            for position, notifier in self.notifiers.items():
                notifier.queue.clear()
                items.fresh[position] = False
        self._ready = None
        if opened:
            self.begin(np.array(opened), plane, read)

    def _deny(self, position: int, code: int) -> None:
        items = self.items
        items.denied[position] = True
        queue = self._queue(position)
        if queue is None:
            items.overlay(np.array([position]), code)
            return
        queue.clear()
        items.fresh[position] = False
        if position in self.values:
            queue.put(data_value(None, code))
            items.fresh[position] = True

    def _queue(self, position: int) -> Any:
        found = self.values.get(position) or self.notifiers.get(position)
        return found.queue if found is not None else None

    # ---- what there is to do

    def available(self) -> bool:
        """NotificationsAvailable (Part 4 §5.14.1.3)."""
        if self._ready is None:
            self._ready = bool(len(self._telling()))
        return self._ready

    def stale(self) -> None:
        """Whether there is something to tell has to be found out anew."""
        self._ready = None

    def _telling(self) -> Positions:
        items, used = self.items, slice(0, self.items.count)
        return np.flatnonzero(items.fresh[used] & ((items.mode[used] == REPORTING) | items.triggered[used]))

    def settle(self, now: Ns) -> None:
        """Count the cycles that passed while there was nothing to do."""
        if self.asleep:
            self.asleep = False
            self.publishing.alive -= self.beat.skip(now)

    # ---- out: messages

    def compose(self, utc: int, room: int, overflow: Callable[[], Event]) -> tuple[bytes, int]:
        """The next NotificationMessage, which is kept for Republish, and how many notifications it has.

        Args:
            utc: now [ns since 1970].
            room: bytes that it may have.
        """
        most = max(1, min(self.most or MOST_NOTIFICATIONS, MOST_NOTIFICATIONS, room // SLOT))
        telling = self._telling()
        data: list[bytes] = []
        lists: list[bytes] = []
        numbers = telling
        count = 0
        if self.values or self.notifiers:
            columns = self.items.row[telling] != NO_ROW
            numbers = telling[columns]
            self._flip = not self._flip
            share = most if not len(numbers) else most // 2 if most > 1 else int(self._flip)
            self._compose_loose(telling[~columns], share, room // 2, overflow, data, lists)
            count = len(data) + len(lists)
        counted = len(data)
        if most > count:
            said, more, self._start = self.items.take(numbers, most - count, self._start)
            counted += more
            data.append(said)
        self.publishing.more = bool(len(self._telling()))
        self._ready = self.publishing.more
        if not self.publishing.more and self.links:
            self.items.triggered[: self.items.count] = False
        kinds = [messages.data_changes(counted, data)] if counted else []
        if lists:
            kinds.append(messages.events(lists))
        self.counters.sent(counted, len(lists))
        made = messages.message(self.next_number, ticks(utc), kinds)
        self._keep(made)
        self.next_number = 1 if self.next_number == LAST_NUMBER else self.next_number + 1
        return made, counted + len(lists)

    def keep_alive(self, utc: int) -> bytes:
        """A keep-alive: it has the number that the next message will have."""
        return messages.message(self.next_number, ticks(utc), ())

    def _compose_loose(
        self, at: Positions, most: int, room: int, overflow: Callable[[], Event], data: list[bytes], lists: list[bytes]
    ) -> None:
        handles = self.items.slots
        for position in at.tolist():
            if len(data) + len(lists) >= most or room <= 0:
                return
            handle = handles[position, :4].tobytes()
            into = data if position in self.values else lists
            for entry in self._entries(position, most - len(data) - len(lists), overflow):
                if len(entry) > room and into is data:
                    entry = data_value(None, BAD_ENCODING_LIMITS_EXCEEDED)
                room -= len(entry) + 4
                into.append(handle + entry)
                if room <= 0:
                    break
            queue = self._queue(position)
            self.items.fresh[position] = bool(queue.entries) or (queue.overflowed and position in self.notifiers)

    def _entries(self, position: int, most: int, overflow: Callable[[], Event]) -> Iterator[bytes]:
        notifier = self.notifiers.get(position)
        if notifier is not None:
            yield from notifier.entries(most, overflow)
            return
        queue = self.values[position].queue
        while queue.entries and most > 0:
            most -= 1
            yield queue.take()

    # ---- what may be asked for again

    def _keep(self, made: bytes) -> None:
        while self.kept and (len(self.kept) >= RETRANSMITTED or self.retransmission.left < len(made) + OVERHEAD):
            self.drop(next(iter(self.kept)))
            self.counters.discarded_message_count += 1
        if self.retransmission.take(len(made) + OVERHEAD):
            self.kept[self.next_number] = made

    def drop(self, number: int) -> bool:
        """Forget a message: whether there was one with this number."""
        made = self.kept.pop(number, None)
        if made is not None:
            self.retransmission.give(len(made) + OVERHEAD)
        return made is not None

    # ---- items go

    def clear(self, at: Positions) -> None:
        """Empty the queues of some items."""
        self.items.clear(at)
        for position in at.tolist() if self.values or self.notifiers else ():
            queue = self._queue(position)
            if queue is not None:
                queue.clear()

    def forget(self, item: int) -> bool:
        """Take an item away: whether it was polled."""
        position = self.items.where[item]
        value, notifier = self.values.pop(position, None), self.notifiers.pop(position, None)
        for one in (value, notifier):
            if one is not None:
                one.queue.clear()
        for group in self.groups.values():
            group.polled.discard(position)
        self.links.pop(item, None)
        for triggering in [one for one, triggered in self.links.items() if item in triggered]:
            self.links[triggering].discard(item)
            if not self.links[triggering]:
                del self.links[triggering]
        self.items.remove(position)
        polled = value is not None and value.polled
        self.polled -= polled
        return polled

    def tidy(self) -> None:
        """Items have gone: close ranks when they were many."""
        moved = self.items.compact()
        if moved is not None:
            loose: tuple[Value | Notifier, ...] = (*self.values.values(), *self.notifiers.values())
            for one in loose:
                one.position = int(moved[one.position])
            self.values = {value.position: value for value in self.values.values()}
            self.notifiers = {notifier.position: notifier for notifier in self.notifiers.values()}
            for group in self.groups.values():
                group.polled = {int(moved[position]) for position in group.polled}
            self._start = 0
        self.arranged()

    def repeat(self) -> None:
        """Tell once more what was told last of every item that reports (Part 4 §5.14.7.2, sendInitialValues; Part 5 §9.2)."""
        items, used = self.items, slice(0, self.items.count)
        reporting = (items.mode[used] == REPORTING) & items.alive[used] & ~items.denied[used]
        items.repeat(np.flatnonzero(reporting & (items.row[used] != NO_ROW)))
        for position, value in self.values.items():
            if reporting[position]:
                value.repeat()
                items.fresh[position] = bool(value.queue.entries)
        self._ready = None

    def release(self) -> None:
        """Give back what it holds."""
        while self.kept:
            self.drop(next(iter(self.kept)))
        for queue in [one.queue for one in self.values.values()] + [one.queue for one in self.notifiers.values()]:
            queue.clear()
        self.queues.give(self.items.room * ENTRY)
