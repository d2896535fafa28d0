"""Items that do not lie in columns: texts, values made when they are read, attributes, parts of arrays, and events."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from controller.opcua.events import Event
from controller.opcua.subscriptions.filters import Filter
from controller.opcua.subscriptions.limits import QUEUE_BYTES
from controller.opcua.subscriptions.values import Parts, differs, overflown, parts, told

OVERHEAD = 64
"""What an entry of a queue takes beside its bytes."""


@dataclass(slots=True)
class Budget:
    """The room that all queues share, or a part of such a room.

    Attributes:
        left: bytes.
        whole: what it is a part of.
    """

    left: int = QUEUE_BYTES
    whole: "Budget | None" = None

    def fits(self, size: int) -> bool:
        """Whether there is room for so many bytes."""
        return size <= self.left and (self.whole is None or self.whole.fits(size))

    def take(self, size: int) -> bool:
        """Whether there was room for so many bytes; they are taken."""
        if not self.fits(size):
            return False
        self.give(-size)
        return True

    def give(self, size: int) -> None:
        """Room is free again."""
        self.left += size
        if self.whole is not None:
            self.whole.give(size)


class Events(Protocol):
    """An event filter that has been checked."""

    def wants(self, event: Event) -> bool:
        """Whether an event passes."""
        ...

    def fields(self, event: Event) -> bytes:
        """EventFieldList behind the ClientHandle."""
        ...


@dataclass(slots=True, eq=False)
class Queue:
    """What is queued of one item, oldest first.

    Attributes:
        size, oldest: QueueSize and DiscardOldest.
        marked: what makes a DataValue tell that one before or after it was lost; None for events, which have an event for it.
        overflowed: whether something was lost since it was last emptied.
        lost: how often.
    """

    budget: Budget
    size: int
    oldest: bool
    marked: Callable[[bytes], bytes] | None
    entries: deque[bytes] = field(default_factory=deque)
    overflowed: bool = False
    lost: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, entry: bytes) -> None:
        """Queue something, in place of something else when it is full (Part 4 §5.13.1.5)."""
        if self.entries and (len(self.entries) >= self.size or not self.budget.fits(len(entry) + OVERHEAD)):
            self._drop(0 if self.oldest else -1)
            self.lost += 1
            self.overflowed = self.size > 1
            if self.marked and self.size > 1:
                if self.oldest and self.entries:
                    first = self.marked(self.entries[0])
                    self.budget.give(len(self.entries[0]) - len(first))
                    self.entries[0] = first
                else:
                    entry = self.marked(entry)
        if self.budget.take(len(entry) + OVERHEAD):
            self.entries.append(entry)
        else:
            self.lost += 1
            self.overflowed = True

    def take(self) -> bytes:
        """The oldest entry, no longer queued."""
        entry = self.entries.popleft()
        self.budget.give(len(entry) + OVERHEAD)
        return entry

    def resize(self, size: int, oldest: bool) -> None:
        """Another size and policy; what does not fit any more goes as if it had just come."""
        entries = list(self.entries)
        self.clear()
        self.size, self.oldest = size, oldest
        for entry in entries:
            self.put(entry)

    def clear(self) -> None:
        """Drop everything."""
        while self.entries:
            self._drop(-1)
        self.overflowed = False

    def _drop(self, place: int) -> None:
        self.budget.give(len(self.entries[place]) + OVERHEAD)
        del self.entries[place]


@dataclass(slots=True, eq=False)
class Value:
    """A data item that is looked at one by one.

    Attributes:
        position: in the subscription's columns.
        row: of a text in the plane, or -1.
        polled: whether its value is made when it is read, so that nobody tells when it changes.
        bounds: IndexRange.
        last: what was queued last; None before the first.
    """

    position: int
    node: int
    attribute: int
    row: int
    polled: bool
    bounds: tuple[tuple[int, int], ...] | None
    filter: Filter
    stamps: int
    queue: Queue
    last: Parts | None = None
    seen: int = -1

    def sample(self, encoded: bytes) -> bool:
        """Look at an encoded DataValue with both times: whether it was queued."""
        new = parts(encoded)
        if self.last is not None and not differs(new, self.last, self.filter):
            return False
        self.last = new
        self.queue.put(told(new, self.stamps))
        return True

    def repeat(self) -> None:
        """Queue once more what was told last, unless something is queued."""
        if self.last is not None and not self.queue:
            self.queue.put(told(self.last, self.stamps))


@dataclass(slots=True, eq=False)
class Notifier:
    """An event item: what is told of a node's events."""

    position: int
    node: int
    filter: Events
    queue: Queue

    def hear(self, event: Event, judged: dict[Events, bytes | None]) -> bool:
        """An event came: whether it was queued.

        Args:
            judged: what filters have made of this event already; None where they do not want it.
        """
        if self.filter not in judged:
            judged[self.filter] = self.filter.fields(event) if self.filter.wants(event) else None
        fields = judged[self.filter]
        if fields is not None:
            self.queue.put(fields)
        return fields is not None

    def entries(self, most: int, overflow: Callable[[], Event]) -> Iterator[bytes]:
        """Take so many, with an event that tells of lost ones in their place (Part 4 §5.13.1.5, Part 5 §6.4.34)."""
        if self.queue.overflowed and self.queue.oldest and most > 0:
            self.queue.overflowed = False
            most -= 1
            yield self.filter.fields(overflow())
        while self.queue and most > 0:
            most -= 1
            yield self.queue.take()
        if self.queue.overflowed and not self.queue and most > 0:
            self.queue.overflowed = False
            yield self.filter.fields(overflow())


def data_queue(budget: Budget, size: int, oldest: bool) -> Queue:
    """The queue of a data item."""
    return Queue(budget, size, oldest, overflown)


def event_queue(budget: Budget, size: int, oldest: bool) -> Queue:
    """The queue of an event item."""
    return Queue(budget, size, oldest, None)
