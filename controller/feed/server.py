"""The core's end of the Feed: the latest rows, the faces' requests, and the socket."""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import msgspec

from controller.feed.bringers import Bringers
from controller.feed.messages import (
    MOST_REQUEST_BYTES,
    Answered,
    Asked,
    Brings,
    Brought,
    Changes,
    Done,
    Hello,
    Pending,
    Row,
    Snapshot,
    Told,
    Whole,
    decode_said,
    frame,
    read_frame,
)
from controller.feed.signals import FeedSignal, schema_hash
from controller.feed.whole import Publications
from controller.orders.order import OrderError, Why
from controller.orders.requests import check_request
from controller.orders.turn import Answer, Request
from twin.clock import utc_ns

MOST_REQUESTS = 64
BEAT = 10  # publications between two signs of life
MOST_UNANSWERED = 256
MOST_FACES = 16


class Feed:
    """The core's end: it holds every Signal's latest row and hands changes to all readers.

    Args:
        run: which run of the core this is: when it was started [UTC ns].
    """

    def __init__(self, signals: Sequence[FeedSignal], run: int = 0) -> None:
        self.schema = schema_hash(signals)
        self.number = 0
        self._run = run
        self._now = (0, 0)
        self._rows: dict[int, Row] = {}
        self._readers: set[Pending] = set()
        self._whole: dict[Pending, Publications] = {}

    def publish(self, rows: Sequence[Row], events: Sequence[Told] = (), utc_ns: int = 0, at_ns: int = 0) -> None:
        """Rows that have changed, what has happened, and when this is: in UTC and by the core's clock."""
        self.number += 1
        self._now = utc_ns, at_ns
        self._rows.update((row.index, row) for row in rows)
        if self._whole:
            content = frame(Changes(self.number, list(rows), list(events), utc_ns, at_ns))
            for reader, publications in self._whole.items():
                publications.put(content, utc_ns, len(rows), len(events))
                reader.beat(self.number)
        for reader in self._readers:
            reader.put(self.number, rows, events)
            if self.number % BEAT == 0:
                reader.beat(self.number)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Pending]:
        """A reader, which begins with a hello and a snapshot."""
        pending = Pending()
        pending.first(Hello(self.schema, utc_ns(), self._run))
        pending.first(self._snapshot())
        self._readers.add(pending)
        try:
            yield pending
        finally:
            self._readers.discard(pending)
            self._whole.pop(pending, None)

    def whole(self, reader: Pending) -> None:
        """Hand a reader every publication from now on, instead of the latest of each Signal."""
        if reader not in self._whole:
            self._readers.discard(reader)
            self._whole[reader] = Publications(lambda: msgspec.structs.replace(self._snapshot(), whole=True))
            reader.take_everything(self._whole[reader])

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.number, [self._rows[index] for index in sorted(self._rows)], *self._now)


class Desk:
    """Requests of all faces on their way to the scan, and its answers back. Bounded at every place."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._askers: dict[int, tuple[Pending, int]] = {}
        self._last = 0

    def ask(self, asker: Pending, asked: Asked) -> None:
        """Queue a request, or refuse it at once."""
        try:
            check_request(asked.kind, asked.args)
            if len(self._waiting) >= MOST_REQUESTS or len(self._askers) >= MOST_UNANSWERED:
                raise OrderError(f"{len(self._waiting)} requests wait already: try again later", Why.BUSY)
        except OrderError as refused:
            asker.first(Answered(asked.request, False, str(refused), None, refused.why))
            return
        self._last += 1
        self._askers[self._last] = (asker, asked.request)
        self._waiting.append(Request(self._last, asked.kind, asked.args, asked.user[:128]))

    def take(self) -> tuple[Request, ...]:
        """All that wait, for one scan."""
        found = tuple(self._waiting)
        self._waiting.clear()
        return found

    def answer(self, answer: Answer) -> None:
        """Hand an answer to whoever asked, if they are still there."""
        found = self._askers.pop(answer.request, None)
        if found is not None:
            found[0].first(Answered(found[1], answer.ok, answer.text, answer.result, answer.why))

    def forget(self, asker: Pending) -> None:
        """A face has gone. What it asked for is carried out all the same."""
        self._askers = {key: found for key, found in self._askers.items() if found[0] is not asker}


@contextlib.asynccontextmanager
async def serve(path: Path, feed: Feed, desk: Desk, bringers: Bringers | None = None) -> AsyncIterator[None]:
    """Let faces of this user in at a Unix socket, as long as the context lasts.

    Args:
        bringers: takes in what they bring; nothing unless told.

    Raises:
        OSError: the socket can't be made there.
    """
    faces: set[asyncio.Task[None]] = set()

    async def serve_one(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        try:
            await _face(incoming, outgoing, feed, desk, bringers or Bringers((), ()))
        finally:
            outgoing.close()

    def meet(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        if len(faces) >= MOST_FACES:
            outgoing.close()
            return
        task = asyncio.get_running_loop().create_task(serve_one(incoming, outgoing))
        faces.add(task)
        task.add_done_callback(faces.discard)

    server = await asyncio.start_unix_server(meet, sock=_listen(path), limit=MOST_REQUEST_BYTES)
    try:
        yield
    finally:
        server.close()
        for task in faces:
            task.cancel()
        await asyncio.gather(*faces, return_exceptions=True)
        path.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    """A socket that no one but this user may open, from its first moment on."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(mask)
    made.setblocking(False)
    return made


async def _face(
    incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter, feed: Feed, desk: Desk, bringers: Bringers
) -> None:
    """One face, until either side has enough."""
    with feed.reader() as pending:
        try:
            async with asyncio.TaskGroup() as tasks:
                told = tasks.create_task(_tell(outgoing, pending))
                await _hear(incoming, pending, desk, bringers, feed)
                told.cancel()
        except* ConnectionError:
            pass  # it has gone in the middle of a message
        finally:
            desk.forget(pending)
            bringers.forget(pending)


async def _tell(outgoing: asyncio.StreamWriter, pending: Pending) -> None:
    """Send what there is, and wait until it is taken: meanwhile newer values replace older ones."""
    outgoing.transport.set_write_buffer_limits(high=0)
    while True:
        outgoing.write(await pending.frames())
        await outgoing.drain()


async def _hear(incoming: asyncio.StreamReader, pending: Pending, desk: Desk, bringers: Bringers, feed: Feed) -> None:
    while (content := await read_frame(incoming, MOST_REQUEST_BYTES)) is not None:
        try:
            said = decode_said(content)
        except msgspec.MsgspecError as wrong:
            if not pending.room:
                return
            pending.first(Answered(0, False, f"not a request: {wrong}"))
            continue
        if not pending.room:
            return
        match said:
            case Asked():
                desk.ask(pending, said)
            case Brings() | Brought() | Done():
                bringers.hear(pending, said)
                await bringers.room(pending)
            case Whole():
                feed.whole(pending)
