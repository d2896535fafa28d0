"""One subscription: its items, what is queued of them, and its messages. It knows no timer and no connection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from asyncua.common.utils import ServiceError
from numpy.typing import NDArray

from controller.opcua.access import Who
from controller.opcua.encoding import data_value, ticks
from controller.opcua.events import Event
from controller.opcua.plane import Plane
from controller.opcua.reading import reshaped
from controller.opcua.roles import ENCRYPTION_REQUIRED, RESTRICTIONS, TABLE, May, Rule
from controller.opcua.sessions import Session
from controller.opcua.subscriptions import messages
from controller.opcua.subscriptions.beat import Beat
from controller.opcua.subscriptions.counters import Counters
from controller.opcua.subscriptions.groups import Group
from controller.opcua.subscriptions.items import DISABLED, ENTRY, NO_ROW, REPORTING, Items, Positions
from controller.opcua.subscriptions.kept import Kept
from controller.opcua.subscriptions.loose import Notifier, Queue, Value
from controller.opcua.subscriptions.shares import Share
from controller.opcua.subscriptions.states import Publishing
from controller.opcua.subscriptions.values import BOTH
from controller.users import Role
from twin.clock import MS, Ns

LAST_NUMBER = 0xFFFF_FFFF

Mask = NDArray[np.bool_]
Read = Callable[[Session, int, int, "tuple[tuple[int, int], ...] | None"], bytes]
"""Gives an attribute of a node, or a part of it, to a session: an encoded DataValue with both times."""


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
        role, who, overheard, changes: of its session and of the nodes, when its items were last held against them.
        share: what its client certificate has of everything.
        armed: whether an item was triggered since the last message.
        looked: items that the last commit touched.
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
    who: Who
    overheard: bool
    changes: int
    share: Share
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
    armed: bool = False
    looked: int = 0
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
        self.recount()

    def recount(self) -> None:
        """Find out anew whether there is something to tell: what is gone is not more, either."""
        self._ready = None
        if self.publishing.more:
            self.publishing.more = self.available()

    def prune(self) -> None:
        """Drop sampling groups that have no items any more."""
        used = set(np.unique(self.items.group[: self.items.count][self.items.alive[: self.items.count]]).tolist())
        self.groups = {interval: group for interval, group in self.groups.items() if group.number in used}

    def committed(self, touched: Mask, now: Ns, plane: Plane) -> bool:
        """Rows were committed: whether something was queued that is to be told, or is to be sampled for it.

        Args:
            touched: by row, with one more entry that is not set.
        """
        items = self.items
        at = np.flatnonzero(touched[items.row[: items.count]])
        if len(self._texts):
            at = np.concatenate((at, self._texts[touched[self._text_rows]]))
        self.looked = len(at)
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

    def catch_up(self, plane: Plane) -> None:
        """Items that had to wait for their sampling, and do not have to any more, are sampled."""
        items, used = self.items, slice(0, self.items.count)
        self._sampled(np.flatnonzero(items.touched[used] & (items.group[used] == 0)), plane)

    def begin(self, at: Positions, plane: Plane, read: Read) -> None:
        """Tell the first value of items that are new or enabled again, as soon as there is one (Part 4 §5.13.1.3)."""
        denied = self.items.denied[at]
        for position in at[denied].tolist():
            self.deny(position, int(self.items.why[position]))
        at = at[~denied]
        self.items.first[at] = True
        columns = self.items.row[at] != NO_ROW
        self._sampled(at[columns], plane)
        for position in at[~columns].tolist():
            value = self.values.get(position)
            if value is not None:
                value.last, value.seen = None, -1
                if self._look(value, read):
                    self._noted([position])

    def hear(self, event: Event, nodes: frozenset[int], rules: bytearray, judged: dict[Any, bytes | None]) -> bool:
        """An event came that these nodes tell of: whether it was queued."""
        secret = RESTRICTIONS[Rule(event.rule)] & ENCRYPTION_REQUIRED
        if secret and self.session is not None and self.session.overheard:
            return False
        told = False
        for notifier in self.notifiers.values():
            position = notifier.position
            if notifier.node not in nodes or self.items.mode[position] == DISABLED or self.items.denied[position]:
                continue
            if not TABLE[event.rule][self.role - 1] & TABLE[rules[notifier.node]][self.role - 1] & May.RECEIVE_EVENTS:
                continue
            if notifier.hear(event, judged):
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
                self._ready, self.armed = None, True

    def disarm(self) -> None:
        """A cycle has ended: what was triggered was told, or had nothing to tell."""
        self.armed = False
        self.items.triggered[: self.items.count] = False

    def unlink(self, triggering: int, item: int) -> None:
        """A triggered item is not linked to one triggering item any more."""
        links = self.links[triggering]
        links.discard(item)
        if not links:
            del self.links[triggering]
        if item in self.items.where and not any(item in others for others in self.links.values()):
            self.items.triggered[self.items.where[item]] = False
        self._ready = None

    # ---- who may look

    def reopen(self, hindered: dict[int, int], plane: Plane, read: Read) -> None:
        """Who looks is somebody else, or the nodes have changed: who may not look any more is told that once, and nothing further.

        Args:
            hindered: the status that keeps the client from the item at a position; 0 for none.
        """
        items = self.items
        opened = []
        for position, code in hindered.items():
            if code and not items.denied[position]:
                self.deny(position, code)
            elif not code and items.denied[position]:
                items.denied[position] = False
                opened.append(position)
        self._ready = None
        if opened:
            self.begin(np.array(opened), plane, read)

    def deny(self, position: int, code: int) -> None:
        """Tell of an item that its client may not look at it, and nothing further."""
        items = self.items
        items.denied[position], items.why[position] = True, code
        if items.mode[position] == DISABLED:
            self.clear(np.array([position]))
            return
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
        self.share.queues.give(self.items.room * ENTRY)
