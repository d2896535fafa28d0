"""All subscriptions: commits and time come in, Publish requests are answered. One timer for everything, no task.

What is due is published in order of priority, and among equals whoever was answered longest ago goes first. So much is laid in
one turn of the event loop and no more: the next ones wait for the turns after it, so that nobody's request waits long.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import Asked
from controller.opcua.encoding import ticks
from controller.opcua.events import Events
from controller.opcua.nodes.store import Nodes
from controller.opcua.plane import Plane
from controller.opcua.sessions import Session
from controller.opcua.subscriptions import limits, messages
from controller.opcua.subscriptions.allowed import recheck
from controller.opcua.subscriptions.clients import Client, Request
from controller.opcua.subscriptions.composing import compose, overflow
from controller.opcua.subscriptions.groups import Group
from controller.opcua.subscriptions.incoming import Incoming
from controller.opcua.subscriptions.loose import Budget
from controller.opcua.subscriptions.shares import Shares
from controller.opcua.subscriptions.states import Act, State
from controller.opcua.subscriptions.subscription import Read, Subscription
from controller.opcua.subscriptions.timetable import Later, Soon, Timetable
from twin.clock import Clock, Ns, utc_ns

log = logging.getLogger("lockstep.opcua")


class Engine:
    """Moves all subscriptions.

    Attributes:
        total: subscriptions made since the start.
        items: items there are, `polled` how many of them are read at intervals, and `notifiers` how many are of events.
        shares: what each client certificate has of all that.
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
        self.retransmission = Budget(limits.RETRANSMISSION_BYTES)
        self.shares = Shares(self.queues, self.retransmission)
        self.total = self.items = self.polled = self.notifiers = 0
        self.soon, self._utc = soon, utc
        self._all: dict[int, Subscription] = {}
        self._clients: dict[Session, Client] = {}
        self._times = Timetable(clock, later, self.advance)
        self._ripe: list[tuple[Subscription, bool]] = []
        self._turning = False
        self._turn = 0
        self._incoming = Incoming(self, events)

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
        made.share.subscriptions += 1
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
        self.count(gone, -len(gone.items), -gone.polled, -len(gone.notifiers))
        gone.release()
        gone.share.subscriptions -= 1
        self.shares.tidy()

    def count(self, one: Subscription, items: int, polled: int = 0, notifiers: int = 0) -> None:
        """Items have come to a subscription or gone from it, so many of them polled and so many of events."""
        for holder in (self, one.share):
            holder.items += items
            holder.polled += polled
            holder.notifiers += notifiers

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
        for one in waiting[: max(0, len(waiting) - limits.MOST_PER_SESSION)]:
            self.remove(one)

    # ---- what comes in

    @contextmanager
    def guarded(self, one: Subscription) -> Iterator[None]:
        """Whatever goes wrong with one subscription ends that one, and its client is told; the others go on."""
        try:
            yield
        except Exception:
            log.exception("subscription %d has ended because of an error of ours", one.number)
            if one.alive:
                self._end(one, StatusCodes.BadInternalError)

    def came(self, one: Subscription, told: bool, now: Ns) -> None:
        """Something came to a subscription; `told` says whether there is something to tell."""
        if told:
            self.arrived(one, now)
        elif one.armed:  # what is triggered is so until this cycle ends
            self.settle(one)
        for group in one.groups.values():
            self.wake(group)

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
        if len(client.requests) >= limits.publish_requests(len(client.subscriptions)):
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
                with self.guarded(what.owner):
                    self._sample(what, now)
        for what in due:
            if isinstance(what, Subscription):
                self._expired(what, now)
        self.take_turn()

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
        if not one.alive:
            return
        one.settle(now)
        if one.beat.due > now:
            self._times.put(one.beat.due, one)
        elif not one.ripe:
            one.ripe = True
            self._ripe.append((one, False))

    # ---- what goes out

    def take_turn(self) -> None:
        """Publish what is due, unless the next turn does."""
        if self._ripe and not self._turning:
            self._publish_some()

    def _publish_some(self) -> None:
        """Publish the first of those that are due."""
        self._turning = False
        now, laid = self.clock.now(), 0
        self._ripe.sort(key=lambda ripe: (-ripe[0].priority, ripe[0].served))
        while self._ripe and laid < limits.MOST_IN_ONE_TURN:
            one, followed = self._ripe.pop(0)
            one.ripe = False
            laid += limits.CYCLE_COSTS
            if one.alive:
                with self.guarded(one):
                    laid += self._cycle(one, followed, now)
        if self._ripe:
            self._turning = True
            self.soon(self._publish_some)

    def _cycle(self, one: Subscription, followed: bool, now: Ns) -> int:
        """A publishing cycle of one subscription ends: how many notifications were laid."""
        if followed:
            one.beat.follow(now)
        else:
            one.beat.expire(now)
        client = self.of(one.session) if one.session is not None else None
        if client is not None:
            self._purge(client)
            self.recheck(one, client.session)
        if (group := one.to_sample) is not None:
            one.sample(group, self.plane, self.read)
        act = one.publishing.expired(client is not None and client.free, one.available())
        if client is not None and client.requests:
            one.publishing.revive()  # a client that only reads slowly is there
        laid = 0
        if act is Act.CLOSE:
            self._end(one, StatusCodes.BadTimeout)
            return 0
        if one.publishing.state == State.LATE:
            one.counters.late_publish_request_count += 1
        if act is not Act.NOTIFY and one.publishing.state is not State.LATE and not one.available():
            one.beat.missed = now
            one.disarm()
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
        one.asleep = idle > 0 and client is not None and client.free and not one.available() and not one.to_sample and not one.armed
        self._times.put(one.beat.due + (idle * one.beat.interval if one.asleep else 0), one)

    def serve(self, session: Session) -> None:
        """Answer a session's requests with what is late; the link may call it when a slow client has caught up."""
        client = self.of(session)
        for one in tuple(client.subscriptions.values()) if client.free else ():
            with self.guarded(one):
                self.recheck(one, session)
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
            with self.guarded(one):
                self._answer(one, client, one.publishing.asked(one.available()))

    def caught_up(self, channel: Any) -> None:
        """A client takes its answers again: those that are late do not wait for their next cycle."""
        for client in tuple(self._clients.values()):
            if client.session.channel is channel and client.requests:
                self.serve(client.session)

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

    def _end(self, one: Subscription, status: int) -> None:
        """A subscription is over: its session learns of it with its next request."""
        client = self.of(one.session) if one.session is not None else None
        self.remove(one)
        if client is not None:
            self._tell_end(client, one, status)

    def _tell_end(self, client: Client, one: Subscription, status: int) -> None:
        notice = messages.message(one.next_number, ticks(self._utc()), (messages.status_change(status),))
        client.notices.append((one.number, notice))
        self.serve(client.session)

    # ---- who may look

    def recheck(self, one: Subscription, session: Session) -> None:
        """See again who may look at what, if anything of that has changed."""
        recheck(one, session, self.nodes, self.plane, self.read)
