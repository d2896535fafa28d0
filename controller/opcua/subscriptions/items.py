"""A subscription's monitored items as columns, and which of them have something to tell: no Python object for a number.

Each item has a slot with its client handle and its latest DataValue as they go over the wire. That is the whole queue of an item
whose queue size is 1; what longer queues hold lies in blocks, in the order of sampling, and is cut to size per item
when it is published or has become too much.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.opcua.plane import AFTER, INT64, UINT64, WIDTH, Plane
from controller.opcua.subscriptions.filters import STATUS, STATUS_VALUE_TIMESTAMP
from controller.opcua.subscriptions.slots import Slots, flag
from controller.opcua.subscriptions.values import BOTH

Positions = NDArray[np.int64]
Block = tuple[Positions, Slots, NDArray[np.uint8], NDArray[np.uint8]]
"""Items, what is told of each, how many bytes of it count, and where its status is."""

DISABLED, SAMPLING, REPORTING = range(3)
HANDLE: Final = 4
SLOT: Final = HANDLE + WIDTH
ENTRY: Final = SLOT + 24
"""Bytes that an entry of a longer queue takes."""
MOST_BLOCKS: Final = 200
LARGEST: Final = float(2**64 - 2**11)
"""The largest Double below 2**64."""
NO_ROW: Final = -1
"""The last entry of the mask of touched rows, which is never set."""

COLUMNS: Final[dict[str, Any]] = {
    "ids": np.uint32, "handle": np.uint32, "node": np.int64, "row": np.int64, "mode": np.uint8,
    "trigger": np.uint8, "deadband": np.float64, "stamps": np.uint8, "queue": np.int64, "oldest": bool, "group": np.int64,
    "bits": np.uint64, "number": np.float64, "status": np.uint32, "source": np.int64, "size": np.uint8, "at": np.uint8,
    "fresh": bool, "first": bool, "touched": bool, "triggered": bool, "denied": bool, "alive": bool,
    "why": np.uint32,
}  # fmt: skip


class Items:
    """Columns; the first `count` entries of each are in use, some of them by items that are gone.

    Attributes:
        ids, handle, node, row, mode, stamps, queue, oldest, group: what the item is; `row` is NO_ROW for what is not sampled here.
        trigger, deadband: its filter.
        bits, number, status, source: of the value that was queued last, to compare with.
        size, at: of its slot: bytes of the DataValue, and where its status is.
        fresh: whether something is queued.
        first: whether its next value is told whatever it is.
        touched: whether its row was put since it was sampled.
        triggered: whether it is told this once though it is only sampled.
        denied: whether its reader may not look, and `why`: the status that says so.
        slots: (n, SLOT).
    """

    ids: NDArray[np.uint32]
    handle: NDArray[np.uint32]
    node: Positions
    row: Positions
    mode: NDArray[np.uint8]
    trigger: NDArray[np.uint8]
    deadband: NDArray[np.float64]
    stamps: NDArray[np.uint8]
    queue: Positions
    oldest: NDArray[np.bool_]
    group: Positions
    bits: NDArray[np.uint64]
    number: NDArray[np.float64]
    status: NDArray[np.uint32]
    source: Positions
    size: NDArray[np.uint8]
    at: NDArray[np.uint8]
    fresh: NDArray[np.bool_]
    first: NDArray[np.bool_]
    touched: NDArray[np.bool_]
    triggered: NDArray[np.bool_]
    denied: NDArray[np.bool_]
    alive: NDArray[np.bool_]
    why: NDArray[np.uint32]

    def __init__(self) -> None:
        self.count = 0
        self.gone = 0
        self.where: dict[int, int] = {}
        self.slots: Slots = np.zeros((0, SLOT), np.uint8)
        for name, kind in COLUMNS.items():
            setattr(self, name, np.zeros(0, kind))
        self.blocks: list[Block] = []
        self.held = 0
        self.room = 0
        self.overflows = 0
        self._stamped = self._filtered = self._deep = self._off = False

    def __len__(self) -> int:
        return len(self.where)

    def add(self, columns: dict[str, "NDArray[Any]"]) -> Positions:
        """Add items: their positions. What is not given is 0."""
        more = len(columns["ids"])
        first = self.count
        self._reserve(first + more)
        self.count += more
        self.slots[first : self.count] = 0
        for name in COLUMNS:
            getattr(self, name)[first : self.count] = columns.get(name, 0)
        self.alive[first : self.count] = True
        self.slots[first : self.count, :HANDLE] = np.ascontiguousarray(columns["handle"], np.uint32).view(np.uint8).reshape(-1, 4)
        self.where.update(zip(columns["ids"].tolist(), range(first, self.count), strict=True))
        self.refilter()
        return np.arange(first, self.count)

    def remove(self, position: int) -> None:
        """Take an item away; its place is reused when many have gone."""
        del self.where[int(self.ids[position])]
        self.alive[position] = self.fresh[position] = self.touched[position] = self.first[position] = False
        self.triggered[position] = self.denied[position] = False
        self.row[position] = NO_ROW
        self.mode[position] = DISABLED
        self.queue[position], self.oldest[position] = 0, True
        self.gone += 1

    def clear(self, at: Positions) -> None:
        """Empty the queues of some items."""
        self.fresh[at] = False
        if self.blocks and np.any(self.queue[at] > 1):
            left = np.ones(self.count, bool)
            left[at] = False
            self._keep(left)

    def requeue(self, position: int, old: int) -> None:
        """An item's queue has another size now, it was `old`."""
        if old == 1 and self.queue[position] > 1 and self.fresh[position]:
            self._hold(np.array([position]))
        elif old > 1 and self.queue[position] == 1 and self.blocks:
            left = np.ones(self.count, bool)
            left[position] = False  # its slot holds the latest
            self._keep(left)
        self.cut()

    def relabel(self, position: int) -> None:
        """What is queued of an item has its new client handle, too."""
        for at, laid, _, _ in self.blocks:
            laid[at == position, :HANDLE] = self.slots[position, :HANDLE]

    def lacks(self, classes: "NDArray[np.uint8]") -> bool:
        """Whether nodes of some items are not there any more, and their reader has not been told so.

        Args:
            classes: NodeClass by node, 0 where there is none.
        """
        used = slice(0, self.count)
        return bool(np.any((classes[self.node[used]] == 0) & self.alive[used] & ~self.denied[used]))

    def refilter(self) -> None:
        """Look again which of the rarer wishes there are at all: what nobody asked for costs nothing."""
        used = slice(0, self.count)
        alive = self.alive[used]
        self._stamped = bool(np.any(alive & (self.stamps[used] != BOTH)))
        self._filtered = bool(np.any(alive & ((self.deadband[used] > 0) | (self.trigger[used] != 1))))
        self._deep = bool(np.any(alive & (self.queue[used] > 1) & (self.row[used] != NO_ROW)))
        self._off = bool(np.any(alive & (self.mode[used] == DISABLED)))
        self.room = int(self.queue[used][alive & (self.queue[used] > 1)].sum())

    def sample(self, at: Positions, plane: Plane) -> Positions:
        """Look at the rows of some items, and queue what is to be told: the positions of those."""
        if self._off or self.denied.any():
            at = at[(self.mode[at] != DISABLED) & ~self.denied[at]]
        self.touched[at] = False
        if not len(at):
            return at
        rows = self.row[at]
        bits, status = plane.bits[rows], plane.status[rows]
        told = bits != self.bits[at]
        if self._filtered:
            told = self._passes(told, at, rows, plane)
        told |= status != self.status[at]
        told |= self.first[at]
        if not told.all():
            at, rows, bits, status = at[told], rows[told], bits[told], status[told]
            if not len(at):
                return at
        self.first[at] = False
        self.bits[at], self.status[at] = bits, status
        if self._filtered:
            self.number[at], self.source[at] = plane.numbers[rows], plane.source[rows]
        self._lay(at, rows, plane)
        if self._deep:
            self._hold(at[self.queue[at] > 1])
        self.fresh[at] = True
        return at

    def restamp(self, position: int, plane: Plane) -> None:
        """Lay an item's slot anew with the times that are asked for now, unless it waits to be told."""
        if self.size[position] and not self.fresh[position] and not self.denied[position]:
            at = np.array([position])
            self._stamped = True
            self._lay(at, self.row[at], plane)

    def repeat(self, at: Positions) -> None:
        """Queue once more what was told last of some items, unless something is queued."""
        at = at[self.size[at] > 0]
        self.fresh[at] = True  # the slot still holds it; whatever is in blocks goes first
        if self._deep:
            deep = at[(self.queue[at] > 1) & (self.row[at] != NO_ROW)]
            waiting = np.zeros(self.count, bool)
            for block in self.blocks:
                waiting[block[0]] = True
            self._hold(deep[~waiting[deep]])

    def overlay(self, at: Positions, status: int) -> None:
        """Queue a DataValue of a status alone."""
        self.clear(at)
        self.slots[at, HANDLE] = 0x02
        self.slots[at, HANDLE + 1 : HANDLE + 5] = np.array([status], "<u4").view(np.uint8)
        self.size[at], self.at[at] = 5, HANDLE + 1
        self.status[at], self.first[at] = status, True
        self.fresh[at] = True
        self._hold(at[self.queue[at] > 1])

    def _passes(self, differs: "NDArray[np.bool_]", at: Positions, rows: Positions, plane: Plane) -> "NDArray[np.bool_]":
        trigger = self.trigger[at]
        told: NDArray[np.bool_] = differs & (trigger != STATUS)
        deadband = self.deadband[at]
        narrow = np.flatnonzero(told & (deadband > 0))
        if len(narrow):
            with np.errstate(invalid="ignore"):
                moved = np.abs(plane.numbers[rows[narrow]] - self.number[at[narrow]])
            told[narrow] = ~(moved <= deadband[narrow])  # from and to NaN is a change
            large = narrow[np.isin(plane.kinds[rows[narrow]], (INT64, UINT64)) & plane.known[rows[narrow]]]
            if len(large):
                told[large] = self._beyond(at[large], rows[large], plane)
        told |= (trigger == STATUS_VALUE_TIMESTAMP) & (plane.source[rows] != self.source[at])
        return told

    def _beyond(self, at: Positions, rows: Positions, plane: Plane) -> "NDArray[np.bool_]":
        """Whether integers of 64 bits changed by more than their deadbands; a Double would not hold them."""
        new, old = plane.bits[rows], self.bits[at]
        signed = plane.kinds[rows] == INT64
        below = np.where(signed, new.view(np.int64) < old.view(np.int64), new < old)
        moved = np.where(below, old - new, new - old)  # the difference of two's complements is right without a sign
        most = np.minimum(np.floor(self.deadband[at]), LARGEST).astype(np.uint64)
        return np.asarray(moved > most)

    def _lay(self, at: Positions, rows: Positions, plane: Plane) -> None:
        if self._stamped or not plane.source[rows].all():
            laid, sizes = plane.stamped(rows, self.stamps[at])
        else:
            laid, sizes = plane.encoded[rows], plane.sizes[rows]
        self.size[at] = sizes
        self.at[at] = plane.sizes[rows] - np.uint8(AFTER - HANDLE)
        self.slots[at, HANDLE:] = laid

    def _hold(self, at: Positions) -> None:
        """Put what stands in some items' slots at the end of their queues."""
        if not len(at):
            return
        self.blocks.append((at, self.slots[at], self.size[at], self.at[at]))
        self.held += len(at)
        if self.held > 2 * self.room + 1_000 or len(self.blocks) > MOST_BLOCKS:
            self.cut()

    def cut(self) -> None:
        """Cut every queue to its size; who lost something is told by the Overflow bit (Part 4 §5.13.1.5)."""
        if not self.blocks:
            return
        at, laid, sizes, places = self._joined()
        lengths = np.bincount(at, minlength=self.count)
        if np.any(lengths > self.queue[: self.count]):
            order = np.argsort(at, kind="stable")
            starts = np.cumsum(lengths) - lengths
            rank = np.empty(len(at), np.int64)
            rank[order] = np.arange(len(at)) - starts[at[order]]
            length, most, oldest = lengths[at], self.queue[at], self.oldest[at]
            over = length > most
            keeps = np.where(oldest, rank >= length - most, (rank < most - 1) | (rank == length - 1))
            flags = over & np.where(oldest, rank == length - most, rank == length - 1) & (most > 1)
            self.overflows += int((~keeps).sum())
            flag(laid, np.flatnonzero(flags), places)
            at, laid, sizes, places = at[keeps], laid[keeps], sizes[keeps], places[keeps]
        self.blocks = [(at, laid, sizes, places)] if len(at) else []
        self.held = len(at)

    def _joined(self) -> Block:
        if len(self.blocks) == 1:
            return self.blocks[0]
        columns = zip(*self.blocks, strict=True)
        at, laid, sizes, places = (np.concatenate(column) for column in columns)
        return at, laid, sizes, places

    def _keep(self, wanted: "NDArray[np.bool_]") -> None:
        """Drop what is queued of all items but some."""
        at, laid, sizes, places = self._joined()
        left = wanted[at]
        self.blocks = [(at[left], laid[left], sizes[left], places[left])] if left.any() else []
        self.held = int(left.sum())

    def take(self, telling: Positions, most: int, start: int) -> tuple[bytes, int, int]:
        """What is queued of some items, laid for a DataChangeNotification, and gone from their queues.

        Args:
            telling: their positions, in order, all of them fresh.
            most: notifications.
            start: where to begin among those with one slot, so that all have their turn when not all fit.

        Returns:
            The MonitoredItemNotifications, how many, and where to begin next time.
        """
        said: list[bytes] = []
        count = 0
        single = telling
        if self._deep or self.blocks:
            in_blocks = self.queue[telling] > 1
            single = telling[~in_blocks]
            deep, count = self._take_deep(telling[in_blocks], most - min(len(single), most // 2))
            said.append(deep)
        if len(single) > most - count:
            turn = int(np.searchsorted(single, start))
            single = np.concatenate((single[turn:], single[:turn]))[: most - count]
            start = int(single[-1]) + 1 if len(single) else start
        if len(single):
            self.fresh[single] = False
            said.append(laid_out(self.slots[single], self.size[single]))
        return b"".join(said), count + len(single), start

    def _take_deep(self, telling: Positions, most: int) -> tuple[bytes, int]:
        if not len(telling) or not self.blocks:
            self.fresh[telling] = False
            return b"", 0
        self.cut()
        at, laid, sizes, places = self._joined()
        wanted = np.zeros(self.count, bool)
        wanted[telling] = True
        taken = wanted[at]
        if int(taken.sum()) > most:
            taken[np.flatnonzero(taken)[most:]] = False
        if taken.all():
            self.blocks, self.held = [], 0
            self.fresh[telling] = False
            return laid_out(laid, sizes), len(sizes)
        content = laid_out(laid[taken], sizes[taken])
        left = ~taken
        self.blocks = [(at[left], laid[left], sizes[left], places[left])] if left.any() else []
        self.held = int(left.sum())
        self.fresh[telling] = False
        if self.held:
            self.fresh[at[left]] = True
        return content, int(taken.sum())

    def compact(self) -> "Positions | None":
        """Give back the places of items that are gone when they are many: where each item is now, or None when nothing moved."""
        if self.gone < 256 or self.gone * 2 < self.count:
            return None
        self.cut()
        alive = self.alive[: self.count]
        if self.blocks:
            self._keep(alive)
        moved = np.cumsum(alive) - 1
        self.blocks = [(moved[at], laid, sizes, places) for at, laid, sizes, places in self.blocks]
        for name in COLUMNS:
            column = getattr(self, name)
            setattr(self, name, column[: self.count][alive])
        self.slots = self.slots[: self.count][alive]
        self.count, self.gone = int(alive.sum()), 0
        self.where = dict(zip(self.ids.tolist(), range(self.count), strict=True))
        return np.where(alive, moved, NO_ROW)

    def _reserve(self, wanted: int) -> None:
        if wanted <= len(self.slots):
            return
        size = max(64, wanted, 2 * len(self.slots))
        for name, kind in COLUMNS.items():
            grown = np.zeros(size, kind)
            grown[: self.count] = getattr(self, name)[: self.count]
            setattr(self, name, grown)
        slots = np.zeros((size, SLOT), np.uint8)
        slots[: self.count] = self.slots[: self.count]
        self.slots = slots


def laid_out(slots: Slots, sizes: "NDArray[np.uint8]") -> bytes:
    """Slots one after the other without their unused ends."""
    if not len(sizes):
        return b""
    widest = int(sizes.max())
    if widest == int(sizes.min()):
        return slots[:, : HANDLE + widest].tobytes()
    used: NDArray[np.bool_] = _USED[sizes]
    return slots[used].tobytes()


_USED: Final = np.arange(SLOT)[None, :] < HANDLE + np.arange(WIDTH + 1)[:, None]
