"""What a session has of subscriptions, and what it can take."""

from collections import deque
from dataclasses import dataclass, field

from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import Asked
from controller.opcua.filters import Compiled
from controller.opcua.sessions import Session
from controller.opcua.subscriptions.limits import MOST_MESSAGE_BYTES, MOST_NOTICES
from controller.opcua.subscriptions.messages import HEADERS
from controller.opcua.subscriptions.subscription import Subscription
from twin.clock import MS, Ns


@dataclass(slots=True)
class Request:
    """A Publish request that waits, and the results of its acknowledgements."""

    asked: Asked
    results: list[int]


@dataclass(slots=True, eq=False)
class Client:
    """What a session has of subscriptions.

    Attributes:
        requests: its Publish requests, oldest first.
        notices: subscriptions that are no longer its own, and the message that says why.
        filters: event filters that are ready, with what is told of them, by their bytes; `changes` of the nodes when they were.
    """

    session: Session
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    requests: deque[Request] = field(default_factory=deque)
    notices: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=MOST_NOTICES))
    filters: dict[bytes, tuple[Compiled, bytes]] = field(default_factory=dict)
    changes: int = -1

    @property
    def busy(self) -> bool:
        """Whether it does not take its answers as fast as they come: its queues keep what they can."""
        return bool(getattr(self.session.channel, "busy", False))

    @property
    def free(self) -> bool:
        """Whether there is a request to be answered now."""
        return bool(self.requests) and not self.busy

    @property
    def room(self) -> int:
        """How many bytes of notifications it takes in one answer."""
        room, most = MOST_MESSAGE_BYTES, self.session.max_response
        fits = getattr(self.session.channel, "fits", None)
        while room > 8_192 and not (fits(room, most) if fits else room <= (most or room)):
            room //= 2
        return room - HEADERS

    def acknowledge(self, number: int, sequence: int) -> int:
        """Forget a message of a subscription: the status of that."""
        one = self.subscriptions.get(number)
        if one is None:
            return int(StatusCodes.BadSubscriptionIdInvalid)
        return 0 if one.kept.drop(sequence) else int(StatusCodes.BadSequenceNumberUnknown)

    def purge(self, now: Ns) -> None:
        """Give up the requests that nobody waits for any more."""
        kept: deque[Request] = deque()
        for request in self.requests:
            asked = request.asked
            if asked.timeout_ms and now - asked.received > asked.timeout_ms * MS:
                asked.fault(StatusCodes.BadTimeout)
            elif asked.channel is self.session.channel:  # an answer over a channel that is gone would be lost
                kept.append(request)
        self.requests = kept

    def cancel(self, handle: int) -> int:
        """Give up the requests with a handle: how many."""
        cancelled = [request for request in self.requests if request.asked.handle == handle]
        self.requests = deque(request for request in self.requests if request.asked.handle != handle)
        for request in cancelled:
            request.asked.fault(StatusCodes.BadRequestCancelledByClient)
        return len(cancelled)

    def end(self, status: int) -> None:
        """Answer the requests with a status: nothing can be told any more."""
        while self.requests:
            self.requests.popleft().asked.fault(status)

    def end_if_empty(self) -> None:
        """When nothing is left to be told, answer the requests with that."""
        if not self.subscriptions and not self.notices:
            self.end(StatusCodes.BadNoSubscription)
