"""One session with a server, from its subscriptions to its end: values are told as they come, and silence is noticed."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from controller.mirror.channel import Connection, status_name
from controller.mirror.places import BAD, Told, Unfit, deadband, heard, moved, node_id, raw_deadband
from twin.clock import MS, Clock, Ns, S, utc_ns
from twin.devices import Mirrored
from twin.maps import Mapped

T = TypeVar("T")

BATCH = 100
MOST_NOTIFIED = 1000
FASTEST_MS = 50
KEEP_ALIVE_MS = 5000
LIFETIME_MS = 60_000
PROBE = Ns(2 * S)
ANSWER_S = 3.0
AGAIN = Ns(30 * S)
SILENCE_S = (10.0, 60.0)
NO_DEADBAND = ("FreeOpcUa", "Lockstep")
"""Manufacturers whose servers compare with the last value sampled, not the last one told: a slow ramp would never be told."""

_UNFILTERED = frozenset(
    (
        StatusCodes.BadFilterNotAllowed,
        StatusCodes.BadDeadbandFilterInvalid,
        StatusCodes.BadMonitoredItemFilterInvalid,
        StatusCodes.BadMonitoredItemFilterUnsupported,
    )
)
SHUTDOWN = 4


@dataclass
class Item:
    """A Signal as it is followed."""

    machine: Mirrored
    row: Mapped
    told: Told | None = None


@dataclass
class Counted:
    """What has happened with a device since start."""

    publishes: int = 0
    silences: int = 0
    refused: int = 0
    round_trips: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def round_trip(self) -> float:
        """Of a read [s]; 99 of 100 are faster."""
        every = sorted(self.round_trips)
        return every[len(every) * 99 // 100] if every else 0.0


@dataclass
class _Subscribed:
    """A subscription: its items by their handle, and how long it may be silent."""

    limit: Ns
    heard: Ns


class Following:
    """A session's life. `tell` takes what is new of a Signal."""

    def __init__(
        self,
        connection: Connection,
        machines: Sequence[Mirrored],
        tell: Callable[[Item], None],
        clock: Clock,
        counted: Counted,
    ) -> None:
        self.connection = connection
        self.namespaces: list[str] = []
        self._tell, self._clock, self._counted = tell, clock, counted
        self._items = [Item(machine, row) for machine in machines for row in machine.map.read]
        self._missing: list[int] = []
        self._subscriptions: dict[int, tuple[int, _Subscribed]] = {}
        self._deadbands = False
        self._subscribed = asyncio.Event()

    async def prepare(self) -> None:
        """Find every Signal's node, read what is read once, and subscribe to the rest.

        Raises:
            channel.BROKEN.
        """
        found = await self._names([ua.NodeId(ua.Int32(2263))])
        maker = str(found[0].Value.Value or "") if found[0].Value is not None else ""
        self._deadbands = not maker.startswith(NO_DEADBAND)
        await self._follow(range(len(self._items)))

    async def run(self) -> None:
        """Take values in until the session is over.

        Raises:
            ExceptionGroup: of channel.BROKEN: why it is.
        """
        async with asyncio.TaskGroup() as tasks:
            for work in (self._publish(), self._probe(), self._renew(), self._again()):
                tasks.create_task(work)

    # ---- what is followed

    async def _names(self, more: Sequence[ua.NodeId] = ()) -> list[ua.DataValue]:
        """Learn the server's namespaces, of which it may get more while it runs; the values of more nodes, read with them."""
        uris, *values = await self._read([ua.NodeId(ua.Int32(2255)), *more])
        self.namespaces = [str(uri) for uri in uris.Value.Value or ()] if uris.Value is not None else []
        return values

    def resolve(self, text: str) -> ua.NodeId:
        """A NodeId of a Map as this server has it.

        Raises:
            Unfit: it has none such.
        """
        return node_id(text, self.namespaces)

    async def _read(self, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
        found: list[ua.DataValue] = []
        for some in batches(nodes):
            asked = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Both)
            asked.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in some]
            told = await self.connection.uaclient.session.read(asked)
            if len(told) != len(some):
                raise ConnectionError(f"{len(told)} values for {len(some)} that were read")
            found += told
        return found

    async def value(self, node: ua.NodeId) -> ua.DataValue:
        """A node's value now."""
        return (await self._read([node]))[0]

    async def _follow(self, which: Sequence[int]) -> None:
        nodes: dict[int, ua.NodeId] = {}
        for index in which:
            item = self._items[index]
            try:
                nodes[index] = self.resolve(item.row.place.node)
            except Unfit as wrong:
                self._lost(index, str(wrong))
        by_period: dict[int, list[int]] = {}
        for index in nodes:
            item = self._items[index]
            by_period.setdefault(item.machine.map.classes[item.row.scan], []).append(index)
        if once := by_period.pop(0, []):
            for index, found in zip(once, await self._read([nodes[index] for index in once]), strict=True):
                self._hear(index, found)
        for period, indexes in by_period.items():
            subscription = await self._subscription(max(period, FASTEST_MS))
            for some in batches(indexes):
                await self._monitor(subscription, period, {index: nodes[index] for index in some}, self._deadbands)

    async def _subscription(self, period_ms: int) -> int:
        if period_ms in self._subscriptions:
            return self._subscriptions[period_ms][0]
        asked = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=float(period_ms),
            RequestedLifetimeCount=ua.UInt32(max(10, LIFETIME_MS // period_ms)),
            RequestedMaxKeepAliveCount=ua.UInt32(max(1, KEEP_ALIVE_MS // period_ms)),
            MaxNotificationsPerPublish=ua.UInt32(MOST_NOTIFIED),
            PublishingEnabled=True,
        )
        made = await self.connection.uaclient.session.create_subscription(asked, lambda _: None)
        alive_s = made.RevisedPublishingInterval * made.RevisedMaxKeepAliveCount / 1000
        limit = Ns(int(min(max(3 * alive_s, SILENCE_S[0]), SILENCE_S[1]) * S))
        self._subscriptions[period_ms] = made.SubscriptionId, _Subscribed(limit, self._clock.now())
        self._subscribed.set()
        return int(made.SubscriptionId)

    async def _monitor(self, subscription: int, period: int, nodes: Mapping[int, ua.NodeId], filtered: bool) -> None:
        asked = ua.CreateMonitoredItemsParameters(
            SubscriptionId=ua.UInt32(subscription),
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[self._item(index, node, period, filtered) for index, node in nodes.items()],
        )
        made = await self.connection.uaclient.session.create_monitored_items(asked)
        if len(made) != len(nodes):
            raise ConnectionError(f"{len(made)} answers for {len(nodes)} monitored items")
        refused = {}
        for (index, node), result in zip(nodes.items(), made, strict=True):
            code = result.StatusCode.value
            if filtered and code in _UNFILTERED:
                refused[index] = node
            elif code >> 31:
                self._lost(index, f"{status_name(code)}: {self._items[index].row.place.node}")
        if refused:
            await self._monitor(subscription, period, refused, False)

    def _item(self, index: int, node: ua.NodeId, period: int, filtered: bool) -> ua.MonitoredItemCreateRequest:
        row = self._items[index].row
        how = ua.MonitoringParameters(
            ClientHandle=ua.UInt32(index), SamplingInterval=float(period), QueueSize=ua.UInt32(1), DiscardOldest=True
        )
        if filtered and deadband(row) > 0:
            how.Filter = ua.DataChangeFilter(
                Trigger=ua.DataChangeTrigger.StatusValue,
                DeadbandType=ua.UInt32(ua.DeadbandType.Absolute),
                DeadbandValue=raw_deadband(row),
            )
        item = ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value)
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=item, MonitoringMode=ua.MonitoringMode.Reporting, RequestedParameters=how
        )

    def _lost(self, index: int, cause: str) -> None:
        self._missing.append(index)
        item = self._items[index]
        item.told = Told(None, BAD, cause, utc_ns())
        self._tell(item)

    def _hear(self, index: int, found: ua.DataValue) -> None:
        item = self._items[index]
        told = heard(item.row, found, utc_ns())
        if moved(item.row, item.told, told):
            item.told = told
            self._tell(item)

    # ---- what goes on

    async def _publish(self) -> None:
        acknowledged: list[ua.SubscriptionAcknowledgement] = []
        await self._subscribed.wait()  # nothing may be there to subscribe to yet
        while True:
            limit_s = min(one.limit for _, one in self._subscriptions.values()) / S
            try:
                async with asyncio.timeout(limit_s):
                    response = await self.connection.uaclient.session.publish(acknowledged)
            except TimeoutError as silent:
                self._counted.silences += 1
                raise ConnectionError(f"no notification for {limit_s:g} s, nor a sign of life") from silent
            response.ResponseHeader.ServiceResult.check()
            acknowledged = self._take(response.Parameters)

    def _take(self, result: ua.PublishResult) -> list[ua.SubscriptionAcknowledgement]:
        """What a Publish brings; what to acknowledge with the next."""
        self._counted.publishes += 1
        for number, one in self._subscriptions.values():
            if number == result.SubscriptionId:
                one.heard = self._clock.now()
        message = result.NotificationMessage
        if not message.NotificationData:
            return []
        for told in message.NotificationData:
            what: Any = told
            if isinstance(what, ua.DataChangeNotification):
                for item in what.MonitoredItems or ():
                    if item.ClientHandle < len(self._items):
                        self._hear(item.ClientHandle, item.Value)
            elif isinstance(what, ua.StatusChangeNotification):
                raise ConnectionError(f"a subscription has ended: {status_name(what.Status.value)}")
        return [ua.SubscriptionAcknowledgement(result.SubscriptionId, message.SequenceNumber)]

    async def _probe(self) -> None:
        """Read the server's state now and then: it must answer, and each subscription must have spoken."""
        while True:
            await self._clock.until(Ns(self._clock.now() + PROBE))
            asked = self._clock.now()
            async with asyncio.timeout(ANSWER_S):
                found = await self.value(ua.NodeId(ua.Int32(2259)))
            self._counted.round_trips.append((self._clock.now() - asked) / S)
            if found.Value is not None and found.Value.Value == SHUTDOWN:
                raise ConnectionError("the server shuts down")
            for _, one in self._subscriptions.values():
                if self._clock.now() - one.heard > one.limit + PROBE:
                    self._counted.silences += 1
                    raise ConnectionError(f"a subscription has said nothing for {(self._clock.now() - one.heard) // S} s")

    async def _renew(self) -> None:
        while True:
            every_ms = max(1000, self.connection.secure_channel_timeout * 3 // 4)
            await self._clock.until(Ns(self._clock.now() + every_ms * MS))
            await self.connection.renew()

    async def _again(self) -> None:
        """Look again for nodes that were not there."""
        while True:
            await self._clock.until(Ns(self._clock.now() + AGAIN))
            missing, self._missing = self._missing, []
            if missing:
                await self._names()
                await self._follow(missing)


def batches(every: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many as one request asks for."""
    return (every[at : at + BATCH] for at in range(0, len(every), BATCH))
