"""A face's end of the Feed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from controller.feed.messages import (
    MOST_BYTES,
    Answered,
    Asked,
    Changes,
    Gap,
    Hello,
    Message,
    Pending,
    Snapshot,
    decode_message,
    frame,
    read_frame,
)


class FeedLost(ConnectionError):
    """The core has gone, or what it sends is no Feed."""


class Follower:
    """The messages of a Feed, one by one, and requests to its core.

    A consumer that is slow gets the latest value of each Signal, and a Gap for Events that it was too late for. Answers
    go to those who asked and are not among the messages.
    """

    def __init__(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._pending = Pending()
        self._asked: dict[int, asyncio.Future[Answered]] = {}
        self._last = 0
        self._lost: FeedLost | None = None

    def __aiter__(self) -> AsyncIterator[Message]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Message]:
        while True:
            for message in await self._pending.take():
                yield message
            if self._lost is not None:
                return

    async def ask(self, kind: str, args: dict[str, Any], user: str = "") -> Answered:
        """Ask for something and wait for the answer.

        Raises:
            FeedLost: the core has gone before it answered; whether it did what was asked is unknown.
        """
        if self._lost is not None:
            raise self._lost
        self._last += 1
        number = self._last
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._outgoing.write(frame(Asked(number, kind, args, user)))
            await self._outgoing.drain()
            return await answer
        except ConnectionError as gone:
            raise FeedLost("the core has gone") from gone
        finally:
            self._asked.pop(number, None)

    async def read(self) -> None:
        """Take messages in until the core has gone."""
        cause = "the core has gone"
        try:
            while (content := await read_frame(self._incoming, MOST_BYTES)) is not None:
                self._take(decode_message(content))
        except msgspec.MsgspecError as wrong:
            cause = f"what the core sends is no Feed: {wrong}"
        finally:
            self._lost = FeedLost(cause)
            self._pending.wake()
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(self._lost)

    def _take(self, message: Message) -> None:
        match message:
            case Answered():
                answer = self._asked.get(message.request)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case Hello() | Snapshot():
                self._pending.first(message)
            case Changes():
                self._pending.put(message.number, message.rows, message.events)
                self._pending.beat(message.number)
            case Gap():
                self._pending.lose(message.lost)


@contextlib.asynccontextmanager
async def follow(path: Path) -> AsyncIterator[Follower]:
    """Follow the Feed of the core whose socket this is.

    Raises:
        FeedLost: no core is there.
    """
    try:
        incoming, outgoing = await asyncio.open_unix_connection(str(path))
    except OSError as missing:
        raise FeedLost(f"no core at {path}: {missing.strerror or missing}") from missing
    follower = Follower(incoming, outgoing)
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
