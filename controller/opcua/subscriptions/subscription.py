"""One subscription: its items, what is queued of them, and its messages. It knows no timer and no connection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from asyncua.common.utils import ServiceError
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
from controller.opcua.subscriptions.items import DISABLED, ENTRY, NO_ROW, REPORTING, Items, Positions
from controller.opcua.subscriptions.kept import Kept
from controller.opcua.subscriptions.loose import Budget, Notifier, Queue, Value
from controller.opcua.subscriptions.states import Publishing
from controller.opcua.subscriptions.values import BOTH
from controller.users import Role
from twin.clock import MS, Ns

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
        kept: messages that may be asked for again.
        scheduled: when the timer looks at it next; asleep: whether cycles before that may pass uncounted until then.
        served: the turn in which it was answered last.
        changes: of the nodes, when its items were last held against them.
        polled: how many of its items are polled.
        start, flip: where the next message begins, so that all items have their turn when not all fit.
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
    kept: Kept
    items: Items = field(default_factory=Items)
    values: dict[int, Value] = field(default_factory=dict)
    notifiers: dict[int, Notifier] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    links: dict[int, set[int]] = field(default_factory=dict)
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
    start: int = 0
    flip: bool = False

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
        try:
            return value.sample(read(self.session, value.node, value.attribute, value.bounds))
        except ServiceError as wrong:
            return value.sample(data_value(None, wrong.code))

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
        queue = self.queue(position)
        if queue is None:
            items.overlay(np.array([position]), code)
            return
        queue.clear()
        items.fresh[position] = False
        if position in self.values:
            queue.put(data_value(None, code))
            items.fresh[position] = True

    def queue(self, position: int) -> Queue | None:
        """The queue of an item that is not sampled in columns."""
        found = self.values.get(position) or self.notifiers.get(position)
        return found.queue if found is not None else None

    # ---- what there is to do

    def available(self) -> bool:
        """NotificationsAvailable (Part 4 §5.14.1.3)."""
        if self._ready is None:
            self._ready = bool(len(self.telling()))
        return self._ready

    def stale(self, ready: bool | None = None) -> None:
        """Whether there is something to tell is known, or has to be found out anew."""
        self._ready = ready

    def telling(self) -> Positions:
        """The items that have something to be told."""
        items, used = self.items, slice(0, self.items.count)
        return np.flatnonzero(items.fresh[used] & ((items.mode[used] == REPORTING) | items.triggered[used]))

    def settle(self, now: Ns) -> None:
        """Count the cycles that passed while there was nothing to do."""
        if self.asleep:
            self.asleep = False
            self.publishing.alive -= self.beat.skip(now)

    # ---- out: messages

    def keep_alive(self, utc: int) -> bytes:
        """A keep-alive: it has the number that the next message will have."""
        return messages.message(self.next_number, ticks(utc), ())

    def numbered(self, utc: int, kinds: Sequence[tuple[bytes, ...]]) -> bytes:
        """A NotificationMessage with the next number; it is kept for Republish."""
        made = messages.message(self.next_number, ticks(utc), kinds)
        self.counters.discarded_message_count += self.kept.add(self.next_number, made)
        self.next_number = 1 if self.next_number == LAST_NUMBER else self.next_number + 1
        return made

    # ---- items go

    def clear(self, at: Positions) -> None:
        """Empty the queues of some items."""
        self.items.clear(at)
        for position in at.tolist() if self.values or self.notifiers else ():
            queue = self.queue(position)
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
            self.start = 0
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
        self.kept.clear()
        for queue in [one.queue for one in self.values.values()] + [one.queue for one in self.notifiers.values()]:
            queue.clear()
        self.queues.give(self.items.room * ENTRY)
