"""A face's end of the Feed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from controller.feed.messages import (
    MOST_BYTES,
    MOST_REQUEST_BYTES,
    Answered,
    Asked,
    Brings,
    Brought,
    Changes,
    Done,
    Gap,
    Hello,
    Message,
    Pending,
    Row,
    Snapshot,
    Told,
    Wanted,
    Whole,
    decode_message,
    frame,
    read_frame,
)
from controller.feed.whole import InOrder

MOST_WORDS = 1024
LOT = 500


class FeedLost(ConnectionError):
    """The core has gone, or what it sends is no Feed."""


class Follower:
    """The messages of a Feed, one by one, and requests to its core.

    A consumer that is slow gets the latest value of each Signal, and a Gap for Events that it was too late for. Answers
    go to those who asked and are not among the messages.

    Args:
        whole: every publication in its order instead; a consumer that is slow gets a Gap, and a Snapshot after it. It must not
            wait for an answer while it leaves messages unread.
    """

    def __init__(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter, whole: bool = False) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._pending = Pending()
        self._in_order = InOrder() if whole else None
        self._asked: dict[int, asyncio.Future[Answered]] = {}
        self._last = 0
        self._lost: FeedLost | None = None

    def __aiter__(self) -> AsyncIterator[Message]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Message]:
        while True:
            for message in await (self._in_order or self._pending).take():
                yield message
            if self._lost is not None:
                return

    async def ask(self, kind: str, args: dict[str, Any], user: str = "") -> Answered:
        """Ask for something and wait for the answer.

        Raises:
            FeedLost: the core has gone before it answered; whether it did what was asked is unknown.
        """
        return await self._answered(lambda number: Asked(number, kind, args, user))

    async def bring(self, blocks: Sequence[str]) -> Answered:
        """Claim blocks, `OWNER/GROUP`, as this face's to bring.

        Raises:
            FeedLost: the core has gone.
        """
        return await self._answered(lambda number: Brings(number, list(blocks)))

    async def brought(self, rows: Sequence[Row], events: Sequence[Told] = ()) -> None:
        """Bring rows of what was claimed; waits while the core takes no more.

        Raises:
            FeedLost: the core has gone.
        """
        for lot in lots(rows, events):
            await self._send(frame(lot))

    async def done(self, wanted: int, state: str, text: str = "", result: Any = None) -> None:
        """Tell what became of something that the core wanted.

        Raises:
            FeedLost: the core has gone.
        """
        await self._send(frame(Done(wanted, state, text[:MOST_WORDS], result)))

    async def _answered(self, asking: Callable[[int], Asked | Brings]) -> Answered:
        self._last += 1
        number = self._last
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            await self._send(frame(asking(number)))
            return await answer
        finally:
            self._asked.pop(number, None)

    async def _send(self, content: bytes) -> None:
        if self._lost is not None:
            raise self._lost
        try:
            self._outgoing.write(content)
            await self._outgoing.drain()
        except ConnectionError as gone:
            raise FeedLost("the core has gone") from gone

    async def read(self) -> None:
        """Take messages in until the core has gone."""
        cause = "the core has gone"
        try:
            while (content := await read_frame(self._incoming, MOST_BYTES)) is not None:
                message = decode_message(content)
                if self._in_order is not None and not isinstance(message, Answered):
                    await self._in_order.put(message)
                else:
                    self._take(message)
        except msgspec.MsgspecError as wrong:
            cause = f"what the core sends is no Feed: {wrong}"
        finally:
            self._lost = FeedLost(cause)
            (self._in_order or self._pending).wake()
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(self._lost)

    def _take(self, message: Message) -> None:
        match message:
            case Answered():
                answer = self._asked.get(message.request)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case Hello() | Snapshot() | Wanted():
                self._pending.first(message)
            case Changes():
                self._pending.put(message.number, message.rows, message.events)
                self._pending.beat(message.number)
            case Gap():
                self._pending.lose(message.lost)


def lots(rows: Sequence[Row], events: Sequence[Told]) -> Iterator[Brought]:
    """Messages that the core takes, with all of these in them; one at least, for it is a sign of life too."""
    waiting = [(list(rows[at : at + LOT]), list(events[at : at + LOT])) for at in range(0, max(len(rows), len(events), 1), LOT)]
    while waiting:
        some, happened = waiting.pop(0)
        lot = Brought(some, happened)
        if len(frame(lot)) <= MOST_REQUEST_BYTES or len(some) + len(happened) <= 1:
            yield lot
        else:
            middle, later = len(some) // 2, len(happened) // 2
            waiting[:0] = [(some[:middle], happened[:later]), (some[middle:], happened[later:])]


@contextlib.asynccontextmanager
async def follow(path: Path, whole: bool = False) -> AsyncIterator[Follower]:
    """Follow the Feed of the core whose socket this is.

    Args:
        whole: every publication in its order instead of the latest value of each Signal.

    Raises:
        FeedLost: no core is there.
    """
    try:
        incoming, outgoing = await asyncio.open_unix_connection(str(path))
    except OSError as missing:
        raise FeedLost(f"no core at {path}: {missing.strerror or missing}") from missing
    follower = Follower(incoming, outgoing, whole)
    if whole:
        outgoing.write(frame(Whole()))
    reading = asyncio.create_task(follower.read())
    try:
        yield follower
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        outgoing.close()


def ask_once(path: Path, kind: str, args: dict[str, Any], user: str = "", patience_s: float = 10.0) -> Answered:
    """Ask a core for one thing from code that is not asynchronous.

    Raises:
        FeedLost: no core, or no answer in time; then it is unknown whether it was done.
    """

    async def ask() -> Answered:
        async with follow(path) as follower, asyncio.timeout(patience_s):
            return await follower.ask(kind, args, user)

    try:
        return asyncio.run(ask())
    except TimeoutError as late:
        raise FeedLost(f"the core has not answered within {patience_s:g} s") from late
