"""When a subscription publishes: the state table of Part 4, Subscription Service Set (§5.14.1.2 of 1.05, §5.13.1.2 of 1.04).

Numbers are the rows of the standard's table. Rows 18 to 26 are requests that change nothing here but the lifetime, and row 27 is
the lifetime's end.
"""

import enum
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple


class State(enum.IntEnum):
    """Where a subscription stands; a closed one is gone."""

    NORMAL = 0
    LATE = 1
    KEEPALIVE = 2


class Happens(enum.IntEnum):
    """What moves it."""

    EXPIRY = 0
    """The publishing timer ran out."""
    REQUEST = 1
    """A Publish request came, or is free for it."""


class Act(enum.Enum):
    """What is to be done."""

    WAIT = enum.auto()
    """Nothing; a request goes into the session's queue."""
    NOTIFY = enum.auto()
    """Answer a request with notifications."""
    KEEP_ALIVE = enum.auto()
    """Answer a request with a keep-alive."""
    CLOSE = enum.auto()
    """The lifetime is over."""


class Seen(NamedTuple):
    """What the table's conditions look at.

    Attributes:
        queued: PublishingReqQueued.
        sent: MessageSent.
        sends: PublishingEnabled and NotificationsAvailable.
        more: PublishingEnabled and MoreNotifications.
        last: KeepAliveCounter is 1.
    """

    queued: bool
    sent: bool
    sends: bool
    more: bool
    last: bool


class Row(NamedTuple):
    """One row of the table."""

    number: int
    state: State
    happens: Happens
    when: Callable[[Seen], bool]
    act: Act
    then: State


_N, _L, _K = State
_T, _R = Happens
ROWS: Final = (
    Row(4, _N, _R, lambda s: not s.more, Act.WAIT, _N),
    Row(5, _N, _R, lambda s: s.more, Act.NOTIFY, _N),
    Row(6, _N, _T, lambda s: s.queued and s.sends, Act.NOTIFY, _N),
    Row(7, _N, _T, lambda s: s.queued and not s.sent and not s.sends, Act.KEEP_ALIVE, _N),
    Row(8, _N, _T, lambda s: not s.queued and (not s.sent or s.sends), Act.WAIT, _L),
    Row(9, _N, _T, lambda s: s.sent and not s.sends, Act.WAIT, _K),
    Row(10, _L, _R, lambda s: s.sends or s.more, Act.NOTIFY, _N),
    Row(11, _L, _R, lambda s: not s.sends and not s.more, Act.KEEP_ALIVE, _K),
    Row(12, _L, _T, lambda s: True, Act.WAIT, _L),
    Row(13, _K, _R, lambda s: True, Act.WAIT, _K),
    Row(14, _K, _T, lambda s: s.queued and s.sends, Act.NOTIFY, _N),
    Row(15, _K, _T, lambda s: s.queued and s.last and not s.sends, Act.KEEP_ALIVE, _K),
    Row(16, _K, _T, lambda s: not s.last and not s.sends, Act.WAIT, _K),
    Row(17, _K, _T, lambda s: not s.queued and (s.last or s.sends), Act.WAIT, _L),
)


def _tabulated() -> "dict[tuple[State, Happens, Seen], Row]":
    table = {}
    for state, happens, bits in itertools.product(State, Happens, itertools.product((False, True), repeat=5)):
        seen = Seen(*bits)
        fitting = [row for row in ROWS if row.state == state and row.happens == happens and row.when(seen)]
        assert len(fitting) == 1, f"{len(fitting)} rows for {state.name}, {happens.name}, {seen}"
        table[state, happens, seen] = fitting[0]
    return table


TABLE: Final = _tabulated()
"""The row for each case; that there is exactly one has been seen."""


@dataclass(slots=True)
class Publishing:
    """A subscription's state variables.

    Attributes:
        enabled: PublishingEnabled.
        most_alive, most_life: MaxKeepAliveCount and MaxLifetimeCount.
        alive, life: what is left of them.
        sent: MessageSent: whether anything was sent yet.
        more: MoreNotifications: whether the last message left something behind.
    """

    enabled: bool
    most_alive: int
    most_life: int
    alive: int = 0
    life: int = 0
    sent: bool = False
    more: bool = False
    state: State = State.NORMAL

    def __post_init__(self) -> None:
        self.alive, self.life = self.most_alive, self.most_life

    def revive(self) -> None:
        """The client has shown that it is there."""
        self.life = self.most_life

    def expired(self, queued: bool, available: bool) -> Act:
        """The publishing timer ran out.

        Args:
            queued: whether there is a Publish request for it.
            available: NotificationsAvailable.
        """
        if queued:
            self.life = self.most_life
        elif self.life <= 1:
            return Act.CLOSE
        else:
            self.life -= 1
        return self._step(Happens.EXPIRY, queued, available)

    def asked(self, available: bool) -> Act:
        """A Publish request came."""
        self.life = self.most_life
        return self._step(Happens.REQUEST, True, available)

    def would(self) -> bool:
        """Whether it would answer a Publish request that comes now."""
        return self.state == State.LATE or (self.state == State.NORMAL and self.enabled and self.more)

    def idle(self) -> int:
        """Expiries that change nothing but its counter, as long as there is nothing to send and a request waits."""
        return self.alive - 1 if self.state == State.KEEPALIVE else 0

    def _step(self, happens: Happens, queued: bool, available: bool) -> Act:
        seen = Seen(queued, self.sent, self.enabled and available, self.enabled and self.more, self.alive <= 1)
        row = TABLE[self.state, happens, seen]
        if row.number in (9, 15):
            self.alive = self.most_alive
        elif row.number == 16:
            self.alive -= 1
        elif row.number == 11:
            self.alive = self.most_alive  # the standard leaves it open; a keep-alive has just gone out
        if row.act in (Act.NOTIFY, Act.KEEP_ALIVE):
            self.sent = True
        self.state = row.then
        return row.act
