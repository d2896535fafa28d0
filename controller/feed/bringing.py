"""A face's end of what it brings: the latest row of each Signal, sent when there is something new; else a sign of life."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from controller.feed.bringers import MOST_CAUSE, MOST_TEXT, block
from controller.feed.follower import FeedLost, Follower
from controller.feed.messages import Row, Told
from controller.feed.signals import FeedSignal
from twin.clock import Clock, Ns, S

LIFE = Ns(S)
MOST_EVENTS = 500


class Bringing:
    """The rows that a face brings, kept across the core's comings and goings: a new core is told all of them.

    Attributes:
        refused: what the core would not have, told last; empty where it took all.
        lost: Events that waited too long for a core.

    Args:
        blocks: `OWNER/GROUP`; the rows of their Signals are this face's.
    """

    def __init__(self, signals: Sequence[FeedSignal], blocks: Sequence[str], clock: Clock) -> None:
        wanted = set(blocks)
        self._blocks, self._clock = tuple(blocks), clock
        self._index = {signal.path: index for index, signal in enumerate(signals) if block(signal) in wanted}
        self._latest: dict[int, Row] = {}
        self._new: dict[int, Row] = {}
        self._events: deque[Told] = deque()
        self._filled = asyncio.Event()
        self.refused = ""
        self.lost = 0

    def put(self, path: str, value: Any, quality: int, cause: str, utc_ns: int) -> None:
        """A Signal's value in SI, how far to believe it (0 good, 1 stale, 2 bad), and when it was true. The latest wins."""
        if isinstance(value, str) and len(value) > MOST_TEXT:
            value, quality, cause = None, 2, f"a text of {len(value)} characters is longer than {MOST_TEXT}"
        row = Row(self._index[path], value, quality, cause[:MOST_CAUSE], utc_ns)
        if self._latest.get(row.index) != row:
            self._latest[row.index] = self._new[row.index] = row
            self._filled.set()

    def last(self, path: str) -> Row | None:
        """The row that was put last."""
        return self._latest.get(self._index[path])

    def event(self, event: Told) -> None:
        """Something has happened to one of the blocks' owners."""
        self._events.append(event)
        self._bound()
        self._filled.set()

    def _bound(self) -> None:
        while len(self._events) > MOST_EVENTS:
            self._events.popleft()
            self.lost += 1

    async def run(self, follower: Follower) -> None:
        """Bring to a core until it has gone or refuses; to be started again with the next one.

        Events that were on their way to a core that has gone are told to the next one too: rather twice than never.

        Raises:
            FeedLost: it has gone, or somebody else brings the same.
        """
        answer = await follower.bring(self._blocks)
        self.refused = "" if answer.ok else answer.text
        if not answer.ok:
            raise FeedLost(answer.text)
        self._new = dict(self._latest)
        while True:
            rows, events = list(self._new.values()), list(self._events)
            self._new, self._events = {}, deque()
            self._filled.clear()
            taken = False
            try:
                await follower.brought(rows, events)
                taken = True
            finally:
                if not taken:
                    self._events.extendleft(reversed(events))
                    self._bound()
            await self._something()

    async def _something(self) -> None:
        """Wait until there is something to bring, or until it is time for a sign of life."""
        filled = asyncio.ensure_future(self._filled.wait())
        life = asyncio.ensure_future(self._clock.until(Ns(self._clock.now() + LIFE)))
        try:
            await asyncio.wait((filled, life), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (filled, life):
                task.cancel()
