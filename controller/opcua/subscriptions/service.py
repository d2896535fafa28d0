"""The Subscription Service Set (Part 4 §5.14), and what else asks about subscriptions: Cancel, methods, diagnostics."""

import secrets
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import nodeid_from_binary
from numpy.typing import NDArray

from controller.opcua.asked import Asked, Handle
from controller.opcua.encoding import node_key
from controller.opcua.methods import Methods
from controller.opcua.sessions import Session
from controller.opcua.subscriptions import decoding, limits
from controller.opcua.subscriptions.beat import Beat
from controller.opcua.subscriptions.engine import Engine
from controller.opcua.subscriptions.items import DISABLED
from controller.opcua.subscriptions.kept import Kept
from controller.opcua.subscriptions.monitoring import Monitoring
from controller.opcua.subscriptions.states import Publishing
from controller.opcua.subscriptions.subscription import Subscription
from twin.clock import MS, Ns

UINT32: Final = 7
SERVER: Final = node_key(0, ObjectIds.Server)
LAST_ID: Final = 0xFFFF_FFFF


class Subscriptions:
    """All services around subscriptions."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._monitoring = Monitoring(engine)
        self._next = secrets.randbits(31)  # after a restart nobody meets the subscription that was his, or another's

    def services(self) -> dict[str, Handle]:
        """What is served."""
        return {
            "CreateSubscription": self.create,
            "ModifySubscription": self.modify,
            "SetPublishingMode": self.set_publishing,
            "Publish": self.publish,
            "Republish": self.republish,
            "TransferSubscriptions": self.transfer,
            "DeleteSubscriptions": self.delete,
            **self._monitoring.services(),
        }

    def register(self, methods: Methods) -> None:
        """Let the methods of the Server object be called (Part 5 §9.1, §9.2), by their own NodeIds and by their type's."""
        for own, kind, function in (
            (ObjectIds.Server_GetMonitoredItems, ObjectIds.ServerType_GetMonitoredItems, self.monitored_items),
            (ObjectIds.Server_ResendData, ObjectIds.ServerType_ResendData, self.resend),
        ):
            for number in (own, kind):
                methods.register(SERVER, node_key(0, number), function, (UINT32,))

    # ---- services

    def create(self, asked: Asked) -> bytes:
        """SubscriptionId and what became of the wishes."""
        with decoding.decoding():
            given, at = decoding.head(asked.content, asked.at, "dIII?B")
            asked.end(at)
        wanted_ms, lifetime, keep_alive, most, enabled, priority = given
        engine, session = self.engine, asked.session
        share, many = engine.shares.of(session.certificate), len(engine.of(session).subscriptions)
        alone = share.subscriptions >= limits.MOST_SUBSCRIPTIONS // limits.PARTS
        if many >= limits.MOST_PER_SESSION or alone or len(engine) >= limits.MOST_SUBSCRIPTIONS:
            raise ServiceError(StatusCodes.BadTooManySubscriptions)
        interval_ms = limits.revised_publishing_ms(wanted_ms)
        life, kept = limits.revised_counts(interval_ms, lifetime, keep_alive)
        interval = Ns(int(interval_ms * MS))
        made = Subscription(
            number=self._number(),
            session=session,
            owner=session,
            publishing=Publishing(bool(enabled), kept, life),
            beat=Beat(interval, Ns(engine.clock.now() + interval)),
            interval_ms=interval_ms,
            most=most,
            priority=priority,
            role=session.role,
            who=session.who,
            overheard=session.overheard,
            changes=engine.nodes.changes,
            share=share,
            kept=Kept(share.retransmission),
        )
        engine.add(made)
        return struct.pack("<IdII", made.number, interval_ms, life, kept)

    def modify(self, asked: Asked) -> bytes:
        """What became of the wishes."""
        with decoding.decoding():
            given, at = decoding.head(asked.content, asked.at, "IdIIIB")
            asked.end(at)
        number, wanted_ms, lifetime, keep_alive, most, priority = given
        engine = self.engine
        one = engine.find(number, asked.session)
        interval_ms = limits.revised_publishing_ms(wanted_ms)
        life, kept = limits.revised_counts(interval_ms, lifetime, keep_alive)
        publishing = one.publishing
        publishing.most_life, publishing.most_alive = life, kept
        publishing.alive = min(publishing.alive, kept)
        publishing.revive()
        one.most, one.priority = most, priority
        if interval_ms != one.interval_ms:
            one.interval_ms, interval = interval_ms, Ns(int(interval_ms * MS))
            now = engine.clock.now()
            one.retime(Beat(interval, Ns(now + interval)), now)
            for group in one.groups.values():
                engine.wake(group)
            engine.reschedule(one)
        one.counters.modify_count += 1
        return struct.pack("<dII", interval_ms, life, kept)

    def set_publishing(self, asked: Asked) -> bytes:
        """Results and no diagnostics."""
        with decoding.decoding():
            (enabled,), at = decoding.head(asked.content, asked.at, "?")
            wanted = decoding.each(asked.content, at)
        results = []
        for number in wanted:
            one = self._own(number, asked.session)
            if one is None:
                results.append(StatusCodes.BadSubscriptionIdInvalid)
                continue
            one.publishing.enabled, one.publishing.more = bool(enabled), False
            one.counters.enable_count += bool(enabled)
            one.counters.disable_count += not enabled
            results.append(0)
        return _results(results)

    def publish(self, asked: Asked) -> None:
        """Answers later."""
        acknowledged = decoding.acknowledged(asked.content, asked.at)
        asked.content = b""  # it may wait for long
        self.engine.publish(asked, acknowledged)

    def republish(self, asked: Asked) -> bytes:
        """A NotificationMessage that was sent already."""
        with decoding.decoding():
            (number, sequence), at = decoding.head(asked.content, asked.at, "II")
            asked.end(at)
        one = self.engine.find(number, asked.session)
        self.engine.recheck(one, asked.session)
        one.counters.republish_request_count += 1
        one.counters.republish_message_request_count += 1
        found = one.kept.get(sequence)
        if found is None:
            raise ServiceError(StatusCodes.BadMessageNotAvailable)
        one.counters.republish_message_count += 1
        return found

    def transfer(self, asked: Asked) -> bytes:
        """Results, each with the sequence numbers that can be asked for again, and no diagnostics."""
        with decoding.decoding():
            wanted, at = decoding.numbers(asked.content, asked.at)
            (initial,), at = decoding.head(asked.content, at, "?")
            asked.end(at)
        if not wanted:
            raise ServiceError(StatusCodes.BadNothingToDo)
        said = []
        for number in wanted:
            try:
                available = self._transfer(number, asked.session, bool(initial))
                said.append(struct.pack(f"<Ii{len(available)}I", 0, len(available), *available))
            except ServiceError as wrong:
                said.append(struct.pack("<Ii", wrong.code, -1))
        return b"".join((struct.pack("<i", len(said)), *said, b"\xff\xff\xff\xff"))

    def _transfer(self, number: int, session: Session, initial: bool) -> list[int]:
        """Take a subscription over.

        Its client must be the same application with the same user: what is queued was queued for them (Part 4 §5.14.7.1).
        """
        one = self.engine.any(number)
        if one is None:
            raise ServiceError(StatusCodes.BadSubscriptionIdInvalid)
        one.counters.transfer_request_count += 1
        before = one.owner
        if before.who != session.who or before.certificate != session.certificate:
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        if one.session is session:
            one.publishing.revive()
            raise ServiceError(StatusCodes.BadNothingToDo)  # row 22: it is its own already
        if len(self.engine.of(session).subscriptions) >= limits.MOST_PER_SESSION:
            raise ServiceError(StatusCodes.BadTooManySubscriptions)
        if before.client_uri == session.client_uri:
            one.counters.transferred_to_same_client_count += 1
        else:
            one.counters.transferred_to_alt_client_count += 1
        self.engine.recheck(one, session)
        available = list(one.kept)
        if initial:
            one.repeat()
        self.engine.assign(one, session)
        return available

    def delete(self, asked: Asked) -> bytes:
        """Results and no diagnostics."""
        with decoding.decoding():
            wanted = decoding.each(asked.content, asked.at)
        results = []
        for number in wanted:
            one = self._own(number, asked.session)
            if one is not None:
                self.engine.remove(one)
            results.append(0 if one is not None else StatusCodes.BadSubscriptionIdInvalid)
        self.engine.of(asked.session).end_if_empty()
        return _results(results)

    # ---- methods

    def monitored_items(self, session: Session, inputs: Sequence[ua.Variant]) -> list[ua.Variant]:
        """GetMonitoredItems: ids and client handles."""
        one = self._called(session, inputs)
        at = list(one.items.where.values())
        found = (one.items.ids[at].tolist(), one.items.handle[at].tolist())
        return [ua.Variant(numbers, ua.VariantType.UInt32, is_array=True) for numbers in found]

    def resend(self, session: Session, inputs: Sequence[ua.Variant]) -> list[ua.Variant]:
        """ResendData: every item that reports tells its value once more."""
        one = self._called(session, inputs)
        one.repeat()
        return []

    def _called(self, session: Session, inputs: Sequence[ua.Variant]) -> Subscription:
        number: Any = inputs[0].Value
        one = self.engine.any(number)
        if one is None:
            raise ServiceError(StatusCodes.BadSubscriptionIdInvalid)
        if one.session is not session:
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        one.publishing.revive()
        self.engine.settle(one)
        return one

    # ---- what others ask

    def cancel(self, session: Session, handle: int) -> int:
        """How many Publish requests with a handle were given up; a hook for `Sessions.on_cancel`."""
        return self.engine.cancel(session, handle)

    def waiting(self, session: Session) -> int:
        """How many Publish requests of a session wait."""
        return len(self.engine.of(session).requests) if session.alive else 0

    def total(self) -> int:
        """How many subscriptions were made since the start."""
        return self.engine.total

    def intervals(self) -> list[float]:
        """PublishingInterval of each subscription there is."""
        return [one.interval_ms for one in self.engine]

    def load(self, session: Session) -> tuple[int, int]:
        """How many subscriptions a session has, and how many monitored items."""
        found = self.engine.of(session).subscriptions.values() if session.alive else ()
        return len(found), sum(len(one.items) for one in found)

    def held(self, nodes: NDArray[np.bool_]) -> set[int]:
        """Which of some nodes, a mask by number, are monitored: nobody else may have their numbers."""
        found: set[int] = set()
        for one in self.engine:
            items, used = one.items, slice(0, one.items.count)
            of = items.node[used]
            found.update(of[items.alive[used] & nodes[of]].tolist())
        return found

    def diagnostics(self, session: Session | None) -> list[ua.SubscriptionDiagnosticsDataType]:
        """What there is to tell of each subscription of a session, or of all (Part 5 §12.15)."""
        return [diagnosed(one) for one in self.engine if session is None or one.session is session]

    def _own(self, number: int, session: Session) -> Subscription | None:
        try:
            return self.engine.find(number, session)
        except ServiceError:
            return None

    def _number(self) -> int:
        while self._next == 0 or self.engine.any(self._next) is not None:
            self._next = 1 if self._next == LAST_ID else self._next + 1
        found = self._next
        self._next = 1 if found == LAST_ID else found + 1
        return found


_COUNTED: Final[dict[str, Callable[[Subscription], object]]] = {
    "SubscriptionId": lambda one: one.number,
    "Priority": lambda one: one.priority,
    "PublishingInterval": lambda one: one.interval_ms,
    "MaxKeepAliveCount": lambda one: one.publishing.most_alive,
    "MaxLifetimeCount": lambda one: one.publishing.most_life,
    "MaxNotificationsPerPublish": lambda one: one.most,
    "PublishingEnabled": lambda one: one.publishing.enabled,
    "ModifyCount": lambda one: one.counters.modify_count,
    "EnableCount": lambda one: one.counters.enable_count,
    "DisableCount": lambda one: one.counters.disable_count,
    "RepublishRequestCount": lambda one: one.counters.republish_request_count,
    "RepublishMessageRequestCount": lambda one: one.counters.republish_message_request_count,
    "RepublishMessageCount": lambda one: one.counters.republish_message_count,
    "TransferRequestCount": lambda one: one.counters.transfer_request_count,
    "TransferredToAltClientCount": lambda one: one.counters.transferred_to_alt_client_count,
    "TransferredToSameClientCount": lambda one: one.counters.transferred_to_same_client_count,
    "PublishRequestCount": lambda one: one.counters.publish_request_count,
    "DataChangeNotificationsCount": lambda one: one.counters.data_change_notifications_count,
    "EventNotificationsCount": lambda one: one.counters.event_notifications_count,
    "NotificationsCount": lambda one: one.counters.notifications_count,
    "LatePublishRequestCount": lambda one: one.counters.late_publish_request_count,
    "CurrentKeepAliveCount": lambda one: one.publishing.alive,
    "CurrentLifetimeCount": lambda one: one.publishing.life,
    "UnacknowledgedMessageCount": lambda one: len(one.kept),
    "DiscardedMessageCount": lambda one: one.counters.discarded_message_count,
    "MonitoredItemCount": lambda one: len(one.items),
    "DisabledMonitoredItemCount": lambda one: int(((one.items.mode == DISABLED) & one.items.alive).sum()),
    "MonitoringQueueOverflowCount": lambda one: one.items.overflows + sum(value.queue.lost for value in one.values.values()),
    "NextSequenceNumber": lambda one: one.next_number,
    "EventQueueOverflowCount": lambda one: sum(notifier.queue.lost for notifier in one.notifiers.values()),
}


def diagnosed(one: Subscription) -> ua.SubscriptionDiagnosticsDataType:
    """What there is to tell of a subscription."""
    made = ua.SubscriptionDiagnosticsDataType()
    made.SessionId = _node_id(one.session.key) if one.session is not None else ua.NodeId()
    for name, count in _COUNTED.items():
        setattr(made, name, count(one))
    return made


def _node_id(key: bytes) -> ua.NodeId:
    found: ua.NodeId = nodeid_from_binary(Buffer(key))
    return found


def _results(codes: list[int]) -> bytes:
    return struct.pack(f"<i{len(codes)}Ii", len(codes), *codes, -1)
