"""The recorder: follows the whole Feed, keeps all of it, and says how it stands.

It may die at any time: what was acknowledged stays. While the core is gone it waits, and marks the gap.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from controller.feed import Bringing, FeedLost, FeedSignal, Hello, Told, follow, schema_hash
from controller.history.bounds import kept
from controller.history.cold import cool, duckdb, forget
from controller.history.hot import Hot, Size
from controller.history.kept import Done, HistoryError, HistoryFull
from controller.history.retention import Reserve, Stand, Turn, decide, free_bytes
from controller.history.taking import Portion, Taking
from controller.history.writer import Writer
from twin.clock import MS, Clock, Ns, S
from twin.factory import Factory

T = TypeVar("T")
FOLDER = "history"
BLOCK = "factory/history"
MOST_OPEN = 256
RETRY = Ns(200 * MS)
TOLD = Ns(S)
TENDED = Ns(10 * S)


class OtherFactory(Exception):
    """The core runs another factory than this process."""


class Stopped(Exception):
    """Nothing can be kept for now, and why."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A portion that is not acknowledged yet."""

    portion: Portion
    done: "Future[Done]"


class Recorder:
    """Keeps a factory's History in `state/history` until cancelled.

    Args:
        free: bytes that the disk of a folder has left.

    Attributes:
        acknowledged: up to when everything is safe from a power cut [UTC ns].
        samples: kept since it was opened.
    """

    def __init__(
        self,
        factory: Factory,
        signals: Sequence[FeedSignal],
        state: Path,
        clock: Clock,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        """Open the History.

        Raises:
            HistoryError: it can't be opened, or factory.toml asks for what can't be kept.
        """
        self._settings, self._clock, self._free = factory.history, clock, free
        self._socket, self._folder = state / "feed.sock", state / FOLDER
        self._schema = schema_hash(signals)
        wanted = kept(factory, signals)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._reserve = Reserve(self._folder)
        self._writer = Writer(self._folder)
        numbers = self._writer.declare(wanted.values())
        self.acknowledged = self._writer.ask(lambda hot: hot.until_ns).result()
        self.samples = 0
        self._taking = Taking(signals, wanted, numbers, self.acknowledged)
        self._open: deque[_Open] = deque()
        self._stand, self._cause, self._size = Stand.RECORDING, "", Size(0, 0, None)
        self._bringing = Bringing(signals, (BLOCK,), clock)
        self._cools = True
        try:
            duckdb()
        except HistoryError as missing:
            self._cools = False
            print(f"history: stays as it is recorded: {missing}", flush=True)

    async def run(self) -> None:
        """Record until cancelled; what has come by then is kept.

        Raises:
            HistoryError: it can't be written, and it is unknown whether what was not acknowledged will be found again.
            OtherFactory: the core runs another one.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tend())
            tasks.create_task(self._tell())
            tasks.create_task(self._bring())
            await self._record()

    async def close(self) -> None:
        """Keep what has come, and be done with it."""
        await asyncio.get_running_loop().run_in_executor(None, self._writer.close)

    # ---- what comes

    async def _record(self) -> None:
        while True:
            cause = "the core has gone"
            try:
                if self._stand is not Stand.STOPPED:
                    await self._follow()
            except FeedLost:
                pass
            except Stopped as stopped:
                cause = str(stopped)
                self._open.clear()
                self._taking.gone(cause, self.acknowledged)
            self._taking.gone(cause)
            await self._clock.until(Ns(self._clock.now() + RETRY))

    async def _follow(self) -> None:
        async with follow(self._socket, whole=True) as follower:
            async for message in follower:
                if isinstance(message, Hello) and message.schema != self._schema:
                    raise OtherFactory(f"the core at {self._socket} runs another factory: start both with the same factory file")
                if self._stand is Stand.STOPPED:
                    await self._settle()
                    raise Stopped(self._cause)
                await self._keep(self._taking.take(message))

    async def _keep(self, portion: Portion) -> None:
        missing = portion.missing
        if missing is not None:
            await self._settle()
            await asyncio.wrap_future(self._writer.ask(lambda hot: hot.lost(missing.from_ns, missing.to_ns, missing.cause)))
        if portion.rows or portion.events or portion.until:
            await self._offer(portion)

    async def _offer(self, portion: Portion) -> None:
        """Hand a portion to the writer; where it has no room, or the disk has none, wait: the core holds what comes meanwhile."""
        while len(self._open) >= MOST_OPEN or (self._open and self._open[0].done.done()):
            await self._first()
        while (done := self._writer.offer(portion.rows, portion.events, portion.until)) is None:
            await self._first()
        self._open.append(_Open(portion, done))

    async def _settle(self) -> None:
        """Wait until all that was offered is acknowledged."""
        while self._open:
            await self._first()

    async def _first(self) -> None:
        """The oldest open portion is acknowledged; where the disk was full, it and all behind it are offered again once it is not.

        Raises:
            Stopped: nothing can be given away any more.
        """
        oldest = self._open[0]
        try:
            await asyncio.wrap_future(oldest.done)
        except HistoryFull as full:
            await self._make_room(str(full))
            again, self._open = self._open, deque()
            for one in again:
                if not one.done.done() or one.done.exception() is None:
                    self._open.append(one)
                elif (done := self._writer.offer(one.portion.rows, one.portion.events, one.portion.until)) is not None:
                    self._open.append(_Open(one.portion, done))
            return
        self._reap()

    def _reap(self) -> None:
        """What is acknowledged is no longer open."""
        while self._open and self._open[0].done.done() and self._open[0].done.exception() is None:
            portion = self._open.popleft().portion
            self.acknowledged = max(self.acknowledged, portion.until)
            self.samples += len(portion.rows)

    # ---- what becomes old, and the disk

    async def _make_room(self, cause: str) -> None:
        turn = await self._turn(0)
        if turn.stand is Stand.STOPPED:
            self._stands(Stand.STOPPED, cause)
            raise Stopped(cause)

    async def _tend(self) -> None:
        while True:
            try:
                turn = await self._turn(await self._aside(lambda: self._free(self._folder)))
                self._stands(turn.stand, turn.cause)
            except HistoryFull as full:
                self._stands(self._stand, str(full))
            await self._clock.until(Ns(self._clock.now() + TENDED))

    async def _turn(self, free: int) -> Turn:
        """Let go of what is too old, or of the oldest where there is no room."""
        self._size = await asyncio.wrap_future(self._writer.ask(lambda hot: hot.size()))
        now = self._taking.until or self.acknowledged
        held = await self._aside(lambda: self._reserve.held)
        turn = decide(self._settings, self._size, free, held, now, self._stand is Stand.STOPPED)
        if not turn.reserve:
            await self._aside(self._reserve.release)
        oldest = self._size.oldest_ns
        if oldest is not None and (oldest < turn.forget or oldest < turn.cool):
            await asyncio.wrap_future(self._writer.ask(lambda hot: _give_way(hot, turn.forget, turn.cool if self._cools else 0)))
        if turn.stand is Stand.RECORDING and turn.reserve:
            await self._aside(lambda: self._reserve.hold(self._settings.reserve_mb * 1_000_000))
        return turn

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, work)

    def _stands(self, stand: Stand, cause: str) -> None:
        if (stand, cause) == (self._stand, self._cause):
            return
        if stand is not self._stand:
            utc = self._taking.until
            self._bringing.event(Told(utc, "HistoryStands", "factory", {"stand": stand.value, "cause": cause}))
            print(f"history: {stand}{': ' if cause else ''}{cause}", flush=True)
        self._stand, self._cause = stand, cause

    # ---- what people are told

    async def _tell(self) -> None:
        due = self._clock.now()
        while True:
            utc = self._taking.until
            state = f"{self._stand}: {self._cause}" if self._cause else self._stand.value
            self._reap()
            told = {
                "state": state,
                "until": self.acknowledged / 1e9,
                "samples": self.samples,
                "lost": self._taking.lost,
                "bytes": self._size.hot + self._size.cold,
            }
            for name, value in told.items():
                self._bringing.put(f"{BLOCK}/{name}", value, 0, "", utc)
            due = Ns(max(due + TOLD, self._clock.now()))
            await self._clock.until(due)

    async def _bring(self) -> None:
        while True:
            try:
                async with follow(self._socket) as follower:
                    await self._bringing.run(follower)
            except FeedLost:
                await self._clock.until(Ns(self._clock.now() + RETRY))


def _give_way(hot: Hot, before_forget: int, before_cool: int) -> None:
    """The oldest goes, what is old becomes Parquet, and the room goes back to the disk."""
    if before_forget > 0:
        forget(hot, before_forget)
    if before_cool > 0:
        cool(hot, before_cool)
    hot.shrink()
