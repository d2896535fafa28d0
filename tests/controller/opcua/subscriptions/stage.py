"""Subscriptions in virtual time: a few nodes, clients that speak the services' bytes, and asyncua's codec as the judge."""

import heapq
import itertools
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

from controller.opcua.access import Who
from controller.opcua.asked import Asked
from controller.opcua.encoding import NULL_TEXT, node_key, qualified, variant
from controller.opcua.events import Events
from controller.opcua.nodes import Nodes
from controller.opcua.nodes.store import OBJECT, VARIABLE
from controller.opcua.plane import DOUBLE, Plane
from controller.opcua.reading import Reading
from controller.opcua.roles import Rule
from controller.opcua.sessions import Session, Sessions
from controller.opcua.subscriptions import Engine, Subscriptions
from controller.users import Role
from twin.clock import MS, Ns

UTC = 1_800_000_000_000_000_000
RESULTS = {
    "CreateSubscription": ua.CreateSubscriptionResult,
    "ModifySubscription": ua.ModifySubscriptionResult,
    "Publish": ua.PublishResult,
    "Republish": ua.NotificationMessage,
}


class Time:
    """A clock, and the loop that goes by it."""

    def __init__(self) -> None:
        self.at = 0
        self.turns = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._soon: list[Callable[[], None]] = []
        self._count = itertools.count()
        self._gone: set[int] = set()

    def now(self) -> Ns:
        return Ns(self.at)

    def later(self, delay_s: float, do: Callable[[], None]) -> "Off":
        number = next(self._count)
        heapq.heappush(self._due, (self.at + round(delay_s * 1e9), number, do))
        return Off(partial(self._gone.add, number))

    def soon(self, do: Callable[[], None]) -> None:
        self._soon.append(do)

    def turn(self) -> None:
        """The next turns of the loop, until nothing wants another one."""
        while self._soon:
            self.turns += 1
            now, self._soon = self._soon, []
            for do in now:
                do()

    def to(self, at_ms: float) -> None:
        """Let time pass."""
        end = round(at_ms * MS)
        self.turn()
        while self._due and self._due[0][0] <= end:
            due, number, do = heapq.heappop(self._due)
            self.at = max(self.at, due)
            if number not in self._gone:
                do()
                self.turn()
        self.at = end

    def waiting(self) -> int:
        return sum(number not in self._gone for _, number, _ in self._due)


class Off:
    def __init__(self, cancel: Callable[[], object]) -> None:
        self.cancel = cancel


class Roles:
    """Access, as far as sessions ask it."""

    def __init__(self) -> None:
        self.roles: dict[str, Role] = {}

    def role(self, who: Who) -> Role:
        return self.roles.get(who.name, Role.OBSERVER)


class Stage:
    """A server's subscriptions with some Doubles; `rows` and `keys` are theirs."""

    def __init__(self, doubles: int = 4, *, nodes: Nodes | None = None, kinds: Sequence[int] = ()) -> None:
        self.time = Time()
        self.nodes = nodes or bare()
        self.plane = Plane()
        self.events = Events(self.nodes)
        self.access = Roles()
        self.sessions = Sessions(self.access, self.time)  # type: ignore[arg-type]
        self.reading = Reading(self.nodes, self.plane)
        self.engine = Engine(
            self.nodes, self.plane, self.events, self.reading.read_value, self.time, self.time.later, self.time.soon, self.utc
        )
        self.served = Subscriptions(self.engine)
        self.services = self.served.services()
        self.keys: list[bytes] = []
        self.rows: list[int] = []
        self.add(*(kinds or [DOUBLE] * doubles))

    def utc(self) -> int:
        return UTC + self.time.at

    def add(self, *kinds: int, rule: int = Rule.OPEN) -> list[int]:
        """Variables with a row each: their node numbers."""
        made = []
        for row in self.plane.grow(kinds, self.utc() // 100):
            key = node_key(1, f"Line/{len(self.keys)}")
            made.append(self.variable(key, rule))
            self.nodes.rows[made[-1]] = row
            self.keys.append(key)
            self.rows.append(row)
        return made

    def variable(self, key: bytes, rule: int = Rule.OPEN, value: bytes | None = None) -> int:
        attributes = {14: variant(ua.NodeId(11)), 17: variant(1, ua.VariantType.Byte)}
        if value is not None:
            attributes[13] = value
        return self.nodes.add(key, VARIABLE, qualified("V", 1), NULL_TEXT, rule=rule, attributes=attributes)

    def put(self, values: Sequence[float] | dict[int, float], status: int = 0, source: int | None = None) -> None:
        """Put values, of the first rows or of these, and commit."""
        by_row = values if isinstance(values, dict) else dict(enumerate(values))
        stamp = self.utc() // 100 if source is None else source
        self.plane.put(np.array(list(by_row)), np.array(list(by_row.values())), status, stamp)
        self.commit()

    def commit(self) -> None:
        self.plane.commit(self.utc() // 100)
        self.time.turn()

    def client(self, name: str = "", role: Role = Role.OBSERVER, certificate: bytes = b"one") -> "Client":
        self.access.roles[name] = role
        session = self.sessions.new("s", certificate, "urn:" + certificate.decode(), "", 60_000.0)
        session.who, session.activated = Who(name), True
        return Client(self, session)


def bare() -> Nodes:
    """The nodes without which nothing goes."""
    nodes = Nodes()
    for number, node_class in ((ObjectIds.Server, OBJECT), (40, 32), (45, 32), (46, 32), (33, 32), (26, 128)):
        nodes.add(node_key(0, number), node_class, qualified("N"), NULL_TEXT, rule=Rule.OPEN)
    nodes.add(node_key(0, 11), 128, qualified("Double"), NULL_TEXT, rule=Rule.OPEN)
    nodes.refer(nodes.standard(26), nodes.standard(45), nodes.standard(11))
    return nodes


class Client:
    """Asks for services, and keeps what comes back."""

    def __init__(self, stage: Stage, session: Session) -> None:
        self.stage, self.session = stage, session
        self.answers: list[tuple[int, int, Any]] = []
        """Each answer to Publish: time [ms], status, PublishResult."""
        self._handle = itertools.count(1)

    def ask(self, service: str, body: bytes, handle: int | None = None, timeout_ms: int = 0) -> bytes | None:
        asked = Asked(
            self.session,
            handle or next(self._handle),
            body,
            0,
            self.stage.time.now(),
            self._reply,
            self._never,
            timeout_ms=timeout_ms,
        )
        return self.stage.services[service](asked)

    def _reply(self, asked: Asked, code: int, body: bytes) -> None:
        result = None if code else struct_from_binary(ua.PublishResult, whole(body))
        self.answers.append((self.stage.time.at // MS, code, result))

    def _never(self, asked: Asked, work: Any) -> None:
        raise AssertionError

    # ---- subscriptions

    def subscribe(
        self, interval_ms: float = 100, *, life: int = 30, alive: int = 10, most: int = 0, enabled: bool = True, priority: int = 0
    ) -> int:
        return int(self.created(interval_ms, life, alive, most, enabled, priority).SubscriptionId)

    def created(self, interval_ms: float, life: int, alive: int, most: int = 0, enabled: bool = True, priority: int = 0) -> Any:
        body = struct.pack("<dIII?B", interval_ms, life, alive, most, enabled, priority)
        return self.result("CreateSubscription", body)

    def result(self, service: str, body: bytes) -> Any:
        answer = self.ask(service, body)
        assert answer is not None
        return struct_from_binary(RESULTS[service], whole(answer))

    def publish(self, count: int = 1, *acknowledged: tuple[int, int], handle: int | None = None, timeout_ms: int = 0) -> None:
        for _ in range(count):
            numbers = [number for pair in acknowledged for number in pair]
            body = struct.pack(f"<i{len(numbers)}I", len(acknowledged), *numbers)
            assert self.ask("Publish", body, handle, timeout_ms) is None

    def statuses(self, service: str, body: bytes) -> list[int]:
        answer = self.ask(service, body)
        assert answer is not None
        (count,) = struct.unpack_from("<i", answer)
        return list(struct.unpack_from(f"<{count}I", answer, 4))

    def monitor(self, subscription: int, *items: Any, stamps: int = 2) -> list[Any]:
        """Create items: their results. An item is an index of the stage's keys, or a MonitoredItemCreateRequest."""
        made = [item if isinstance(item, ua.MonitoredItemCreateRequest) else self.item(item) for item in items]
        body = struct.pack("<IIi", subscription, stamps, len(made)) + b"".join(struct_to_binary(one) for one in made)
        answer = self.ask("CreateMonitoredItems", body)
        assert answer is not None
        return results(ua.MonitoredItemCreateResult, answer)

    def item(self, which: int | bytes, handle: int | None = None, **wishes: Any) -> Any:
        return item(self.stage.keys[which] if isinstance(which, int) else which, which if handle is None else handle, **wishes)

    def modify(self, subscription: int, identifier: int, stamps: int = 2, **wishes: Any) -> Any:
        made = ua.MonitoredItemModifyRequest(MonitoredItemId=identifier, RequestedParameters=parameters(**wishes))
        body = struct.pack("<IIi", subscription, stamps, 1) + struct_to_binary(made)
        answer = self.ask("ModifyMonitoredItems", body)
        assert answer is not None
        return results(ua.MonitoredItemModifyResult, answer)[0]

    def numbers(self, service: str, form: str, *head: Any, ids: Sequence[int]) -> list[int]:
        body = struct.pack("<" + form, *head) + struct.pack(f"<i{len(ids)}I", len(ids), *ids)
        return self.statuses(service, body)

    # ---- what came

    def messages(self) -> list[Any]:
        """PublishResults with notifications, since the last time."""
        found = [result for _, code, result in self.answers if code == 0]
        self.answers.clear()
        return [result for result in found if result.NotificationMessage.NotificationData]

    def changes(self) -> list[tuple[int, ua.DataValue]]:
        """Client handle and DataValue of each notification, since the last time."""
        return [pair for result in self.messages() for pair in changes_of(result)]

    def values(self) -> list[tuple[int, Any]]:
        return [(handle, value.Value.Value if value.Value else None) for handle, value in self.changes()]


def changes_of(result: Any) -> list[tuple[int, ua.DataValue]]:
    return [
        (item.ClientHandle, item.Value)
        for data in result.NotificationMessage.NotificationData
        if isinstance(data, ua.DataChangeNotification)
        for item in data.MonitoredItems
    ]


def item(
    key: bytes, handle: Any = 0, *, attribute: int = 13, part: str | None = None, mode: int = 2, encoding: Any = None, **wishes: Any
) -> Any:
    from asyncua.ua.ua_binary import nodeid_from_binary

    made = ua.MonitoredItemCreateRequest()
    made.ItemToMonitor.NodeId = nodeid_from_binary(Buffer(key))
    made.ItemToMonitor.AttributeId = attribute
    made.ItemToMonitor.IndexRange = part
    if encoding is not None:
        made.ItemToMonitor.DataEncoding = encoding
    made.MonitoringMode = mode
    made.RequestedParameters = parameters(handle=handle if isinstance(handle, int) else 0, **wishes)
    return made


def parameters(*, handle: int = 0, sampling: float = 0.0, queue: int = 1, oldest: bool = True, filter: Any = None) -> Any:
    made = ua.MonitoringParameters()
    made.ClientHandle, made.SamplingInterval, made.QueueSize, made.DiscardOldest = handle, sampling, queue, oldest
    made.Filter = filter
    return made


def changed(trigger: int = 1, deadband: int = 0, width: float = 0.0) -> ua.DataChangeFilter:
    return ua.DataChangeFilter(Trigger=trigger, DeadbandType=deadband, DeadbandValue=width)


def results(kind: type, answer: bytes) -> list[Any]:
    content = Buffer(answer)
    count = struct.unpack("<i", content.read(4))[0]
    found = [struct_from_binary(kind, content) for _ in range(count)]
    assert content.read(4) == b"\xff\xff\xff\xff" and not len(content)
    return found


def whole(body: bytes) -> Buffer:
    return Buffer(body)


def code_of(do: Callable[[], object]) -> int:
    """The status that a service is refused with."""
    try:
        do()
    except ServiceError as refused:
        return int(refused.code)
    raise AssertionError("it was served")
