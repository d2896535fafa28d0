"""What a client can ask of subscriptions at most; told in ServerCapabilities and OperationLimits."""

from typing import Final

from twin.clock import MS, Ns

MOST_PER_SESSION: Final = 50
MOST_SUBSCRIPTIONS: Final = 1_000
MOST_ITEMS_PER_SUBSCRIPTION: Final = 10_000
MOST_ITEMS_PER_SESSION: Final = 20_000
MOST_ITEMS: Final = 200_000
MOST_POLLED: Final = 2_000
"""Items whose value is made when it is read: diagnostics, times."""
MOST_POLLED_PER_SUBSCRIPTION: Final = 500
MOST_EVENT_ITEMS_PER_SUBSCRIPTION: Final = 100
MOST_EVENT_ITEMS: Final = 1_000
"""Each of them may have to judge every event."""
MOST_NEW_CLAUSES: Final = 1_000
"""Select clauses and elements of where clauses that are made ready for one request; equal filters count once."""
PARTS: Final = 4
"""The sessions of one client certificate have this part of each total at most."""

LONGEST_QUEUE: Final = 1_000
"""Values an item keeps."""
LONGEST_EVENT_QUEUE: Final = 1_000
DEFAULT_EVENT_QUEUE: Final = 100
QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Of all queues together."""
FEWEST_PUBLISH_REQUESTS: Final = 20
MOST_PUBLISH_REQUESTS: Final = 2 * MOST_PER_SESSION
"""A session's; above what `publish_requests` says, the oldest is answered BadTooManyPublishRequests."""
RETRANSMITTED: Final = 2 * MOST_PUBLISH_REQUESTS
"""Messages a subscription keeps for Republish, at least twice the Publish requests of a session (Part 4 §5.14.1.1)."""
RETRANSMISSION_BYTES: Final = 64 * 1024 * 1024
MOST_NOTICES: Final = 64
"""Ended subscriptions that a session has not been told of yet."""
MOST_NOTIFICATIONS: Final = 20_000
"""In one message, whatever the client allows."""
MOST_MESSAGE_BYTES: Final = 4 * 1024 * 1024
MOST_LINKS: Final = 1_000
"""Of one triggering item."""

SHORTEST_PUBLISHING_MS: Final = 50.0
LONGEST_PUBLISHING_MS: Final = 60_000.0
LONGEST_LIFETIME_MS: Final = 3_600_000.0
MOST_KEEP_ALIVE: Final = 10_000

FASTEST_SAMPLING_MS: Final = 20.0
"""As fast as the factory is scanned; whoever asks for this or more gets every change."""
SHORTEST_POLL_MS: Final = 250.0
LONGEST_SAMPLING_MS: Final = 3_600_000.0

AHEAD: Final = Ns(25 * MS)
"""How far before it is due a cycle may follow the source's beat, at most; else a quarter of its interval."""
MOST_IN_ONE_TURN: Final = 10_000
"""Notifications laid in one turn of the event loop."""
CYCLE_COSTS: Final = 500
"""What a cycle takes beside its notifications, in notifications."""
MOST_LOOKED_AT: Final = 20_000
"""Items that are sampled in one turn of the event loop, give or take a subscription's."""


def publish_requests(subscriptions: int) -> int:
    """How many Publish requests wait of a session with so many subscriptions."""
    return min(max(FEWEST_PUBLISH_REQUESTS, 2 * subscriptions), MOST_PUBLISH_REQUESTS)


def revised_publishing_ms(wanted: float) -> float:
    """A publishing interval that is served; what is no number, 0 or negative is the fastest."""
    if not wanted > SHORTEST_PUBLISHING_MS:
        return SHORTEST_PUBLISHING_MS
    return min(wanted, LONGEST_PUBLISHING_MS)


def revised_counts(interval_ms: float, lifetime: int, keep_alive: int) -> tuple[int, int]:
    """Lifetime and keep-alive counts that are served: the one at least three times the other (Part 4, CreateSubscription)."""
    longest = max(3, int(LONGEST_LIFETIME_MS / interval_ms))
    kept = min(max(keep_alive, 1), MOST_KEEP_ALIVE, longest // 3)
    return min(max(lifetime, 3 * kept), longest), kept


def revised_sampling_ms(wanted: float, publishing_ms: float, shortest: float = FASTEST_SAMPLING_MS) -> float:
    """A sampling interval that is served.

    The steps are coarse, so that a subscription has some hundred different ones at most.

    Args:
        wanted: 0 for every change, negative for the publishing interval.
        shortest: what the source can do; FASTEST_SAMPLING_MS means that it tells every change by itself.
    """
    exceptions = shortest <= FASTEST_SAMPLING_MS
    if not wanted >= 0:
        wanted = publishing_ms
    if wanted <= shortest:
        return (0.0 if wanted == 0 else shortest) if exceptions else shortest
    for below, step in ((1_000.0, 10.0), (10_000.0, 100.0), (60_000.0, 1_000.0)):
        if wanted <= below:
            return -(-wanted // step) * step
    return min(-(-wanted // 60_000.0) * 60_000.0, LONGEST_SAMPLING_MS)
