"""Every publication in its order, for readers that may miss none: history and the shadow. Bounded; what was lost is told."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from controller.feed.messages import Changes, Gap, Message, Snapshot, frame

MOST_PUBLICATIONS = 600
MOST_WAITING_BYTES = 32 * 1024 * 1024
MOST_AT_ONCE = 256 * 1024
MOST_HELD = 256


@dataclass(slots=True)
class _Lost:
    """What a reader was too slow for, and from when to when [UTC ns]."""

    since: int
    until: int
    rows: int = 0
    events: int = 0


class Publications:
    """What one reader of everything has not taken yet, as frames.

    When it is full nothing more goes in until the reader takes again; then a Gap says what was lost, and a Snapshot how
    everything stands.

    Args:
        snapshot: how everything stands now.
        most, most_bytes: publications and bytes that may wait.
    """

    def __init__(
        self, snapshot: Callable[[], Snapshot], most: int = MOST_PUBLICATIONS, most_bytes: int = MOST_WAITING_BYTES
    ) -> None:
        self._snapshot, self._most, self._most_bytes = snapshot, most, most_bytes
        self._frames: deque[bytes] = deque([frame(snapshot())])
        self._bytes = len(self._frames[0])
        self._lost: _Lost | None = None

    def put(self, content: bytes, utc_ns: int, rows: int, events: int) -> None:
        """One publication's frame, when it was made, and how much is in it."""
        if self._lost is None and len(self._frames) < self._most and self._bytes + len(content) <= self._most_bytes:
            self._frames.append(content)
            self._bytes += len(content)
            return
        if self._lost is None:
            self._lost = _Lost(utc_ns, utc_ns)
        self._lost.until = utc_ns
        self._lost.rows += rows
        self._lost.events += events

    def take(self, number: int) -> tuple[list[bytes], bool]:
        """The next frames, not too many at once, and whether more wait. A Gap comes after what was there before it.

        Args:
            number: of the last publication.
        """
        found, size = [], 0
        while self._frames and size < MOST_AT_ONCE:
            found.append(self._frames.popleft())
            size += len(found[-1])
        self._bytes -= size
        if not self._frames and self._lost is not None:
            lost, self._lost = self._lost, None
            found += [frame(Gap(number, lost.events, lost.rows, lost.since, lost.until)), frame(self._snapshot())]
        return found, bool(self._frames)


class InOrder:
    """A follower's messages as they came; who reads them too slowly keeps the core from sending more."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._whole = False

    async def put(self, message: Message) -> None:
        """One message; waits while too many are held. What came before the core began to send everything is left out."""
        match message:
            case Snapshot(whole=True):
                self._whole = True
            case Snapshot():
                return
            case Changes() | Gap() if not self._whole:
                return
        while len(self._messages) >= MOST_HELD:
            self._room.clear()
            await self._room.wait()
        self._messages.append(message)
        self._filled.set()

    def wake(self) -> None:
        """Let whoever waits look again, though there is nothing."""
        self._filled.set()

    async def take(self) -> list[Message]:
        """All there is; waits until there is something."""
        await self._filled.wait()
        self._filled.clear()
        found = list(self._messages)
        self._messages.clear()
        self._room.set()
        return found
