"""All subscriptions: commits and time come in, Publish requests are answered. One timer for everything, no task.

What is due is published in order of priority, and among equals whoever was answered longest ago goes first. So much is laid in
one turn of the event loop and no more: the next ones wait for the turns after it, so that nobody's request waits long.
"""

from collections.abc import Callable, Collection, Iterator

import numpy as np
from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import Asked
from controller.opcua.attributes import refused
from controller.opcua.encoding import ticks
from controller.opcua.events import EVENT_NOTIFIER, Event, Events
from controller.opcua.nodes.store import VALUE, Nodes
from controller.opcua.plane import Plane, Rows
from controller.opcua.sessions import Session
from controller.opcua.subscriptions import messages
from controller.opcua.subscriptions.clients import Client, Request
from controller.opcua.subscriptions.composing import compose, overflow
from controller.opcua.subscriptions.limits import (
    MOST_IN_ONE_TURN,
    MOST_PER_SESSION,
    MOST_PUBLISH_REQUESTS,
    RETRANSMISSION_BYTES,
)
from controller.opcua.subscriptions.loose import Budget
from controller.opcua.subscriptions.states import Act, State
from controller.opcua.subscriptions.subscription import Group, Read, Subscription
from controller.opcua.subscriptions.timetable import Later, Timetable
from twin.clock import Clock, Ns, utc_ns

CYCLE_COSTS = 500
"""What a cycle takes beside its notifications, in notifications."""

Soon = Callable[[Callable[[], None]], object]
"""Does something in the next turn, as `loop.call_soon`."""


class Engine:
    """Moves all subscriptions.

    Attributes:
        total: subscriptions made since the start.
        items: items there are, and `polled` how many of them are read at intervals.
    """

    def __init__(
        self,
        nodes: Nodes,
        plane: Plane,
        events: Events,
        read: Read,
        clock: Clock,
        later: Later,
        soon: Soon,
        utc: Callable[[], int] = utc_ns,
    ) -> None:
        self.nodes, self.plane, self.read, self.clock = nodes, plane, read, clock
        self.queues = Budget()
        self.retransmission = Budget(RETRANSMISSION_BYTES)
        self.total = self.items = self.polled = 0
        self._events, self._soon, self._utc = events, soon, utc
        self._all: dict[int, Subscription] = {}
        self._clients: dict[Session, Client] = {}
        self._touched = np.zeros(1, bool)
        self._times = Timetable(clock, later, self.advance)
        self._ripe: list[tuple[Subscription, bool]] = []
        self._turning = False
        self._turn = 0
        plane.listeners.append(self.committed)
        events.listeners.append(self._heard)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    # ---- who there is

    def find(self, number: int, session: Session) -> Subscription:
        """A session's own subscription; asking for it keeps it alive.

        Raises:
            ServiceError: BadSubscriptionIdInvalid: there is none, or it is somebody else's.
        """
        found = self._all.get(number)
        if found is None or found.session is not session:
            raise ServiceError(StatusCodes.BadSubscriptionIdInvalid)
        found.publishing.revive()
        self.settle(found)
        return found

    def any(self, number: int) -> Subscription | None:
        """A subscription, whoever's it is."""
        return self._all.get(number)

    def of(self, session: Session) -> Client:
        """What a session has."""
        found = self._clients.get(session)
        if found is None:
            found = self._clients[session] = Client(session)
            session.on_close.append(lambda: self._left(session))
        return found

    def add(self, made: Subscription) -> None:
        """A new subscription, of a session."""
        assert made.session is not None
        self.total += 1
        self._all[made.number] = made
        self.of(made.session).subscriptions[made.number] = made
        self._times.put(made.beat.due, made)

    def assign(self, moved: Subscription, session: Session) -> None:
        """Give a subscription to another session; who had it is told (Part 4 §5.14.7)."""
        self.settle(moved)
        if moved.session is not None:
            before = self.of(moved.session)
            del before.subscriptions[moved.number]
            self._tell_end(before, moved, StatusCodes.GoodSubscriptionTransferred)
        moved.session = moved.owner = session
        moved.publishing.revive()
        self.of(session).subscriptions[moved.number] = moved
        self.serve(session)

    def remove(self, gone: Subscription) -> None:
        """End a subscription; nobody is told."""
        gone.alive = False
        gone.scheduled = -1
        del self._all[gone.number]
        if gone.session is not None:
            del self.of(gone.session).subscriptions[gone.number]
        self.items -= len(gone.items)
        self.polled -= gone.polled
        gone.release()

    def _left(self, session: Session) -> None:
        """A session has ended: its subscriptions go with it, or wait for somebody to take them over."""
        client = self._clients.pop(session)
        client.end(StatusCodes.BadSessionClosed)
        for one in client.subscriptions.values():
            self.settle(one)
            one.session = None
            if session.delete_subscriptions:
                self.remove(one)
        waiting = [one for one in self if one.session is None and one.owner.certificate == session.certificate]
        for one in waiting[: max(0, len(waiting) - MOST_PER_SESSION)]:
            self.remove(one)

    # ---- what comes in

    def committed(self, rows: Rows) -> None:
        """Rows of the plane have been put."""
        if not self._all:
            return
        if len(self._touched) != len(self.plane) + 1:
            self._touched = np.zeros(len(self.plane) + 1, bool)
        now, touched = self.clock.now(), self._touched
        touched[rows] = True
        for one in self._all.values():
            if one.committed(touched, now, self.plane):
                self.arrived(one, now)
            for group in one.groups.values():
                self.wake(group)
        touched[rows] = False
        self._take_turn()

    def _heard(self, told: Event) -> None:
        notifiers = None
        now = self.clock.now()
        for one in self._all.values():
            if one.notifiers:
                notifiers = self._events.notifiers(told.source) if notifiers is None else notifiers
                if one.hear(told, notifiers, self.nodes.rules):
                    self.arrived(one, now)
        self._take_turn()

    def arrived(self, one: Subscription, now: Ns) -> None:
        """A subscription has something to tell: publish it, if that is due or nearly so."""
        self.settle(one)
        if one.beat.note(now) and one.publishing.enabled and not one.ripe and (one.to_sample or one.available()):
            one.ripe = True
            self._ripe.append((one, True))

    def publish(self, asked: Asked, acknowledged: list[tuple[int, int]]) -> None:
        """A Publish request came (Part 4 §5.14.5).

        Raises:
            ServiceError: BadNoSubscription.
        """
        client = self.of(asked.session)
        if not client.subscriptions and not client.notices:
            raise ServiceError(StatusCodes.BadNoSubscription)
        results = [client.acknowledge(number, sequence) for number, sequence in acknowledged]
        for one in client.subscriptions.values():
            one.publishing.revive()
            one.counters.publish_request_count += 1
        self._purge(client)
        if len(client.requests) >= MOST_PUBLISH_REQUESTS:
            client.requests.popleft().asked.fault(StatusCodes.BadTooManyPublishRequests)
        client.requests.append(Request(asked, results))
        self.serve(asked.session)

    def cancel(self, session: Session, handle: int) -> int:
        """Give up a session's Publish requests with a handle: how many (Part 4 §5.7.5)."""
        client = self._clients.get(session)
        if client is None:
            return 0
        cancelled = client.cancel(handle)
        self._emptied(client)
        return cancelled

    # ---- time

    def settle(self, one: Subscription) -> None:
        """Let a subscription that slept through its cycles go on from here."""
        if one.asleep:
            one.settle(self.clock.now())
            self._times.put(one.beat.due, one)

    def reschedule(self, one: Subscription) -> None:
        """Its beat has changed."""
        self._times.put(one.beat.due, one)

    def wake(self, group: Group) -> None:
        """A group may have something to look at."""
        if group.scheduled < 0 and (group.polled or group.touched) and group.beat is not group.owner.beat:
            self._times.put(group.beat.due, group)

    def advance(self) -> None:
        """Do what is due: samples first, so that what they find is published at once."""
        now = self.clock.now()
        due = list(self._times.take(now))
        for what in due:
            if isinstance(what, Group):
                self._sample(what, now)
        for what in due:
            if isinstance(what, Subscription):
                self._expired(what, now)
        self._take_turn()

    def _sample(self, group: Group, now: Ns) -> None:
        one = group.owner
        if not one.alive or group.beat is one.beat:
            return
        if group.beat.due <= now:
            told = one.sample(group, self.plane, self.read)
            group.beat.expire(now)
            if told:
                self.arrived(one, now)
        self.wake(group)

    def _expired(self, one: Subscription, now: Ns) -> None:
        one.settle(now)
        if one.beat.due > now:
            self._times.put(one.beat.due, one)
        elif not one.ripe:
            one.ripe = True
            self._ripe.append((one, False))

    # ---- what goes out

    def _take_turn(self) -> None:
        if self._ripe and not self._turning:
            self._publish_some()

    def _publish_some(self) -> None:
        """Publish the first of those that are due."""
        self._turning = False
        now, laid = self.clock.now(), 0
        self._ripe.sort(key=lambda ripe: (-ripe[0].priority, ripe[0].served))
        while self._ripe and laid < MOST_IN_ONE_TURN:
            one, followed = self._ripe.pop(0)
            one.ripe = False
            if one.alive:
                laid += CYCLE_COSTS + self._cycle(one, followed, now)
        if self._ripe:
            self._turning = True
            self._soon(self._publish_some)

    def _cycle(self, one: Subscription, followed: bool, now: Ns) -> int:
        """A publishing cycle of one subscription ends: how many notifications were laid."""
        if followed:
            one.beat.follow(now)
        else:
            one.beat.expire(now)
        client = self.of(one.session) if one.session is not None else None
        if client is not None:
            self._purge(client)
            self._recheck(one, client)
        if (group := one.to_sample) is not None:
            one.sample(group, self.plane, self.read)
        act = one.publishing.expired(client is not None and client.free, one.available())
        if client is not None and client.requests:
            one.publishing.revive()  # a client that only reads slowly is there
        laid = 0
        if act is Act.CLOSE:
            self._end(one)
            return 0
        if one.publishing.state == State.LATE:
            one.counters.late_publish_request_count += 1
        if act is not Act.NOTIFY and one.publishing.state is not State.LATE and not one.available():
            one.beat.missed = now
        if act is not Act.WAIT and client is not None:
            laid = self._answer(one, client, act)
        elif client is not None and client.free:
            self.serve(client.session)
        if one.alive:
            self._next(one, client)
        return laid

    def _next(self, one: Subscription, client: Client | None) -> None:
        """Wake up for the next cycle, or for the one in which there is something to do again."""
        idle = one.publishing.idle()
        one.asleep = idle > 0 and client is not None and client.free and not one.available() and not one.to_sample
        self._times.put(one.beat.due + (idle * one.beat.interval if one.asleep else 0), one)

    def serve(self, session: Session) -> None:
        """Answer a session's requests with what is late; the link may call it when a slow client has caught up."""
        client = self.of(session)
        for one in client.subscriptions.values() if client.free else ():
            self._recheck(one, client)
        while client.free:
            if client.notices:
                number, notice = client.notices.popleft()
                self._reply(client, number, (), False, notice)
                client.end_if_empty()
                continue
            late = [one for one in client.subscriptions.values() if one.publishing.would()]
            if not late:
                return
            one = min(late, key=lambda one: (-one.priority, one.served))
            self._answer(one, client, one.publishing.asked(one.available()))

    def _answer(self, one: Subscription, client: Client, act: Act) -> int:
        """Answer with one message, or with several while there is more and requests wait: how many notifications."""
        self._turn += 1
        one.served = self._turn
        if act is Act.KEEP_ALIVE:
            self._reply(client, one.number, tuple(one.kept), False, one.keep_alive(self._utc()))
            return 0
        laid = 0
        while True:
            made, count = compose(one, self._utc(), client.room, lambda: overflow(self.nodes, self._utc()))
            laid += count
            self._reply(client, one.number, tuple(one.kept), one.publishing.more, made)
            if not one.publishing.more or not client.free:
                return laid

    def _reply(self, client: Client, number: int, available: Collection[int], more: bool, said: bytes) -> None:
        request = client.requests.popleft()
        request.asked.reply(messages.published(number, available, more, said, request.results))
        self._emptied(client)

    def _emptied(self, client: Client) -> None:
        """From the last request on, cycles count."""
        if not client.requests:
            for one in client.subscriptions.values():
                self.settle(one)

    def _purge(self, client: Client) -> None:
        if client.requests:
            client.purge(self.clock.now())
            self._emptied(client)

    def _end(self, one: Subscription) -> None:
        """A subscription's lifetime is over: its session learns of it with its next request."""
        client = self.of(one.session) if one.session is not None else None
        self.remove(one)
        if client is not None:
            self._tell_end(client, one, StatusCodes.BadTimeout)

    def _tell_end(self, client: Client, one: Subscription, status: int) -> None:
        notice = messages.message(one.next_number, ticks(self._utc()), (messages.status_change(status),))
        client.notices.append((one.number, notice))
        self.serve(client.session)

    # ---- who may look

    def _recheck(self, one: Subscription, client: Client) -> None:
        """See again who may look at what, if anything of that has changed."""
        role = client.session.role
        if role == one.role and one.changes == self.nodes.changes:
            return
        if role != one.role or one.items.lacks(np.frombuffer(self.nodes.classes, np.uint8)):
            codes = {position: self._hinders(one, position) for position in one.items.where.values()}
            one.recheck(role, codes, self.plane, self.read)
        one.changes = self.nodes.changes

    def _hinders(self, one: Subscription, position: int) -> int:
        """The status that keeps a subscription's client from one of its items; 0 for none."""
        assert one.session is not None
        node = int(one.items.node[position])
        if not self.nodes.classes[node]:
            return int(StatusCodes.BadNodeIdUnknown)
        value = one.values.get(position)
        attribute = value.attribute if value else EVENT_NOTIFIER if position in one.notifiers else VALUE
        return int(StatusCodes.BadUserAccessDenied) if refused(self.nodes, node, attribute, one.session.role) else 0
