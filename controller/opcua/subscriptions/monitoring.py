"""The MonitoredItem Service Set (Part 4 §5.13)."""

import struct

import numpy as np
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import variant_from_binary

from controller.opcua.asked import Asked, Handle
from controller.opcua.nodes.store import VALUE
from controller.opcua.subscriptions import decoding, limits
from controller.opcua.subscriptions.creating import NUMERIC, New, Revised, event_queue_size, is_numeric
from controller.opcua.subscriptions.decoding import Parameters
from controller.opcua.subscriptions.engine import Engine
from controller.opcua.subscriptions.filters import data_filter
from controller.opcua.subscriptions.heard import Filters
from controller.opcua.subscriptions.items import DISABLED, ENTRY, HANDLE, NO_ROW, REPORTING
from controller.opcua.subscriptions.leaving import forget, tidy
from controller.opcua.subscriptions.loose import Value
from controller.opcua.subscriptions.subscription import Subscription
from controller.opcua.subscriptions.values import NEITHER


class Monitoring:
    """The services."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._nodes = engine.nodes

    def services(self) -> dict[str, Handle]:
        """What is served."""
        return {
            "CreateMonitoredItems": self.create,
            "ModifyMonitoredItems": self.modify,
            "SetMonitoringMode": self.set_mode,
            "SetTriggering": self.set_triggering,
            "DeleteMonitoredItems": self.delete,
        }

    # ---- create

    def create(self, asked: Asked) -> bytes:
        """Results and no diagnostics.

        A Signal costs no object of its own: what a thousand of them are is collected in lists, and added at once.
        """
        with decoding.decoding():
            (number, stamps), at = decoding.head(asked.content, asked.at, "II")
            wanted = list(decoding.items(asked.content, at))
        one = self._engine.find(number, asked.session)
        if stamps > NEITHER:
            raise ServiceError(StatusCodes.BadTimestampsToReturnInvalid)
        new = New(self._engine, one, asked.session, stamps)
        said = [new.add(item) for item in wanted]
        new.done()
        return b"".join((struct.pack("<i", len(said)), *said, b"\xff\xff\xff\xff"))

    # ---- modify

    def modify(self, asked: Asked) -> bytes:
        """Results and no diagnostics."""
        with decoding.decoding():
            (number, stamps), at = decoding.head(asked.content, asked.at, "II")
            wanted = list(decoding.changes(asked.content, at))
        one = self._engine.find(number, asked.session)
        if stamps > NEITHER:
            raise ServiceError(StatusCodes.BadTimestampsToReturnInvalid)
        filters = Filters(self._engine, asked.session)
        said = []
        for item, parameters in wanted:
            try:
                made = self._modify(one, item, parameters, stamps, filters)
                said.append(struct.pack("<IdI", 0, made.sampling_ms, made.queue) + (made.result or b"\x00\x00\x00"))
            except ServiceError as wrong:
                said.append(struct.pack("<IdIHB", wrong.code, 0.0, 0, 0, 0))
        one.prune()
        one.arranged()
        one.catch_up(self._engine.plane)
        one.stale()
        return b"".join((struct.pack("<i", len(said)), *said, b"\xff\xff\xff\xff"))

    def _modify(self, one: Subscription, item: int, wanted: Parameters, stamps: int, filters: Filters) -> Revised:
        position = one.items.where.get(item)
        if position is None:
            raise ServiceError(StatusCodes.BadMonitoredItemIdInvalid)
        items = one.items
        notifier, value = one.notifiers.get(position), one.values.get(position)
        if notifier is not None:
            compiled, result = filters.ready(wanted)
            notifier.filter = compiled
            queue = event_queue_size(wanted.queue)
            notifier.queue.resize(queue, wanted.oldest)
            revised = Revised(0.0, queue, result)
        elif value is not None:
            value.filter = data_filter(
                wanted.kind, wanted.filter, self._nodes, value.node, value.attribute, is_numeric(self._engine, value.node)
            )
            value.stamps = stamps
            queue = min(max(wanted.queue, 1), limits.LONGEST_QUEUE)
            value.queue.resize(queue, wanted.oldest)
            shortest = limits.FASTEST_SAMPLING_MS if value.row >= 0 else limits.SHORTEST_POLL_MS
            sampling_ms = limits.revised_sampling_ms(wanted.interval_ms, one.interval_ms, shortest)
            revised = Revised(sampling_ms, queue)
        else:
            row = int(items.row[position])
            numeric = int(self._engine.plane.kinds[row]) in NUMERIC
            found = data_filter(wanted.kind, wanted.filter, self._nodes, int(items.node[position]), VALUE, numeric)
            sampling_ms = limits.revised_sampling_ms(wanted.interval_ms, one.interval_ms)
            revised = Revised(sampling_ms, self._resize(one, position, wanted))
            items.trigger[position], items.deadband[position] = found
            self._compare(one, position)
        if items.stamps[position] != stamps:
            items.stamps[position] = stamps
            if items.row[position] != NO_ROW:
                items.restamp(position, self._engine.plane)
        items.handle[position] = wanted.handle
        items.slots[position, :HANDLE] = np.array([wanted.handle], "<u4").view(np.uint8)
        items.relabel(position)
        self._regroup(one, position, revised.sampling_ms, value)
        return revised

    def _resize(self, one: Subscription, position: int, wanted: Parameters) -> int:
        """Another queue for a row of numbers: the latest of what it holds stay."""
        items, budget = one.items, one.share.queues
        old = int(items.queue[position])
        budget.give(old * ENTRY if old > 1 else 0)
        queue = min(max(wanted.queue, 1), limits.LONGEST_QUEUE)
        while queue > 1 and not budget.take(queue * ENTRY):
            queue //= 2
        items.queue[position], items.oldest[position] = queue, wanted.oldest
        items.requeue(position, old)
        return queue

    def _compare(self, one: Subscription, position: int) -> None:
        """Say what the next change is compared with, which was not kept while no filter asked for it."""
        items = one.items
        if items.size[position] > 5:
            encoded = items.slots[position, HANDLE : HANDLE + int(items.size[position])].tobytes()
            if encoded[0] & 1:
                items.number[position] = variant_from_binary(Buffer(encoded[1:])).Value
        items.source[position] = self._engine.plane.source[items.row[position]]

    def _regroup(self, one: Subscription, position: int, sampling_ms: float, value: Value | None) -> None:
        for group in one.groups.values():
            group.polled.discard(position)
        at_once = sampling_ms <= limits.FASTEST_SAMPLING_MS or position in one.notifiers
        one.items.group[position] = 0
        if not at_once:
            wanted = one.group(sampling_ms, self._engine.clock.now())
            one.items.group[position] = wanted.number
            if value is not None and value.polled:
                wanted.polled.add(position)
            wanted.touched = True
            self._engine.wake(wanted)

    # ---- mode, triggering, deletion

    def set_mode(self, asked: Asked) -> bytes:
        """Results and no diagnostics."""
        with decoding.decoding():
            (number, mode), at = decoding.head(asked.content, asked.at, "II")
            wanted = decoding.each(asked.content, at)
        one = self._engine.find(number, asked.session)
        if mode > REPORTING:
            raise ServiceError(StatusCodes.BadMonitoringModeInvalid)
        items = one.items
        found = [items.where.get(item, NO_ROW) for item in wanted]
        at_ = np.unique(np.array([position for position in found if position != NO_ROW], np.int64))
        enabled = at_[items.mode[at_] == DISABLED] if mode != DISABLED else at_[:0]
        items.mode[at_] = mode
        if mode == DISABLED:
            one.clear(at_)
        one.arranged()
        if len(enabled):
            one.begin(enabled, self._engine.plane, self._engine.read)
            one.stale()
        return _results([StatusCodes.BadMonitoredItemIdInvalid if position == NO_ROW else 0 for position in found])

    def set_triggering(self, asked: Asked) -> bytes:
        """Results of added and removed links."""
        with decoding.decoding():
            (number, triggering), at = decoding.head(asked.content, asked.at, "II")
            adds, at = decoding.numbers(asked.content, at)
            removes, at = decoding.numbers(asked.content, at)
            asked.end(at)
        if not adds and not removes:
            raise ServiceError(StatusCodes.BadNothingToDo)
        one = self._engine.find(number, asked.session)
        if triggering not in one.items.where:
            raise ServiceError(StatusCodes.BadMonitoredItemIdInvalid)
        removed = []
        for item in removes:  # what is removed goes first: Part 4 §5.13.5.1
            linked = item in one.links.get(triggering, ())
            removed.append(0 if linked else StatusCodes.BadMonitoredItemIdInvalid)
            if linked:
                one.unlink(triggering, item)
        one.recount()
        links = one.links.setdefault(triggering, set())
        added = []
        for item in adds:
            if item not in one.items.where:
                added.append(StatusCodes.BadMonitoredItemIdInvalid)
            elif len(links) >= limits.MOST_LINKS:
                added.append(StatusCodes.BadTooManyMonitoredItems)
            else:
                links.add(item)
                added.append(0)
        if not links:
            del one.links[triggering]
        return _results(added) + _results(removed)

    def delete(self, asked: Asked) -> bytes:
        """Results and no diagnostics."""
        with decoding.decoding():
            (number,), at = decoding.head(asked.content, asked.at, "I")
            wanted = decoding.each(asked.content, at)
        one = self._engine.find(number, asked.session)
        said = []
        for item in wanted:
            position = one.items.where.get(item)
            if position is None:
                said.append(StatusCodes.BadMonitoredItemIdInvalid)
                continue
            said.append(0)
            queue, column = int(one.items.queue[position]), one.items.row[position] != NO_ROW
            one.share.queues.give(queue * ENTRY if queue > 1 and column else 0)
            heard = position in one.notifiers
            self._engine.count(one, -1, -forget(one, item), -heard)
        tidy(one)
        return _results(said)


def _results(codes: list[int]) -> bytes:
    return struct.pack(f"<i{len(codes)}Ii", len(codes), *codes, -1)
