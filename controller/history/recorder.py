"""The recorder: follows the whole Feed, keeps all of it, and says how it stands.

It may die at any time: what was acknowledged stays. While the core is gone it waits, and marks the gap.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from controller.feed import Bringing, FeedLost, FeedSignal, Hello, Told, follow, schema_hash
from controller.history import FOLDER
from controller.history.bounds import kept
from controller.history.cold import cool, duckdb
from controller.history.forgetting import forget
from controller.history.hot import Hot, Size
from controller.history.kept import Done, HistoryError, HistoryFull, Kept
from controller.history.retention import HOUR, Reserve, Stand, Turn, decide, free_bytes
from controller.history.setback import set_back
from controller.history.taking import Portion, Taking
from controller.history.writer import Writer
from twin.clock import MS, Clock, Ns, S
from twin.factory import Factory

T = TypeVar("T")
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
        self._writer, numbers = _opened(self._folder, self._reserve, wanted.values())
        self.acknowledged = self._writer.ask(lambda hot: hot.until_ns).result()
        self.samples = self._refused = self._forgot = 0
        self._taking = Taking(signals, wanted, numbers, self.acknowledged)
        self._open: deque[_Open] = deque()
        self._stand, self._cause, self._size = Stand.RECORDING, "", Size(0, 0, None)
        self._bringing = Bringing(signals, (BLOCK,), clock)
        self._cools, self._cool_at = True, clock.now()
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
        self._writer.resume()
        async with follow(self._socket, whole=True) as follower:
            async for message in follower:
                if isinstance(message, Hello) and message.schema != self._schema:
                    raise OtherFactory(f"the core at {self._socket} runs another factory: start both with the same factory file")
                if self._stand is Stand.STOPPED:
                    await self._settle()
                    raise Stopped(self._cause)
                moved = self._taking.set_back(message)
                if moved is not None:
                    await self._settle()
                    self._taking.start(await self._ask(lambda hot: set_back(hot, *moved)))  # noqa: B023
                await self._keep(self._taking.take(message))

    async def _keep(self, portion: Portion) -> None:
        missing = portion.missing
        if missing is not None:
            await self._settle()
            await self._ask(lambda hot: hot.lost(missing.from_ns, missing.to_ns, missing.cause))
        if portion.rows or portion.events or portion.until:
            await self._offer(portion)

    async def _offer(self, portion: Portion) -> None:
        """Hand a portion to the writer; where it has no room, or the disk has none, wait: the core holds what comes meanwhile."""
        while len(self._open) >= MOST_OPEN or (self._open and self._open[0].done.done()):
            await self._first()
        await self._hand(portion)

    async def _hand(self, portion: Portion) -> None:
        while (done := self._writer.offer(portion.rows, portion.events, portion.until)) is None:
            await self._first()
        self._open.append(_Open(portion, done))

    async def _ask(self, question: Callable[[Hot], T]) -> T:
        return await asyncio.wrap_future(self._writer.ask(question))

    async def _settle(self) -> None:
        """Wait until all that was offered is acknowledged."""
        while self._open:
            await self._first()

    async def _first(self) -> None:
        """The oldest open portion is acknowledged; where the disk was full, it and all behind it are offered again once it is not.

        Raises:
            Stopped: nothing can be given away any more.
        """
        if not self._open:  # the writer is about to take what it was offered
            await self._clock.until(Ns(self._clock.now() + RETRY))
            return
        try:
            await asyncio.wrap_future(self._open[0].done)
        except HistoryFull as full:
            await self._make_room(str(full))
            self._writer.resume()
            again, self._open = self._open, deque()
            for one in again:  # all behind the first have failed with it: their order stays
                await self._hand(one.portion)
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
        try:
            stand = (await self._turn(0)).stand
        except HistoryFull:  # to delete takes room as well
            await self._aside(self._reserve.release)
            stand = Stand.STOPPED
        if stand is Stand.STOPPED:
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
        self._size, self._refused = await self._ask(lambda hot: (hot.size(), hot.refused))
        now = self._taking.until or self.acknowledged
        held = await self._aside(lambda: self._reserve.held)
        turn = decide(self._settings, self._size, free, held, now, self._stand is Stand.STOPPED)
        if not turn.reserve:
            await self._aside(self._reserve.release)
        oldest, warm = self._size.oldest_ns, self._size.warm_ns
        if oldest is not None and oldest < turn.forget and turn.forget > self._forgot:
            self._forgot = turn.forget
            await self._ask(lambda hot: _give_way(hot, turn.forget))
        if self._cools and warm is not None and warm < turn.cool and self._clock.now() >= self._cool_at:
            await self._cool(turn.cool)
        if turn.stand is Stand.RECORDING and turn.reserve:
            await self._aside(lambda: self._reserve.hold(self._settings.reserve_mb * 1_000_000))
        return turn

    async def _cool(self, before: int) -> None:
        """What is old becomes Parquet; where that fails it stays as it is, and is tried again in an hour."""
        try:
            self._cool_at = Ns(self._clock.now() + HOUR)
            await self._ask(lambda hot: cool(hot, before))
            await self._ask(Hot.shrink)
        except HistoryError as cannot:
            print(f"history: stays as it is recorded for now: {cannot}", flush=True)

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
                "lost": self._taking.lost + self._refused,
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


def _opened(folder: Path, reserve: Reserve, wanted: Iterable[Kept]) -> tuple[Writer, dict[str, int]]:
    """The writer, and the numbers of what is kept. Where the disk is full, the reserve goes first, and then the oldest tenth.

    Raises:
        HistoryFull, HistoryError: it can't be opened.
    """
    given = tuple(wanted)
    try:
        writer = Writer(folder)
    except HistoryFull:
        reserve.release()
        writer = Writer(folder)
    for turn in range(3):
        try:
            return writer, writer.declare(given)
        except HistoryFull:
            if turn == 2:
                raise
            reserve.release()
            if turn:
                writer.ask(_shed).result()
    raise AssertionError("unreachable")


def _shed(hot: Hot) -> None:
    """The oldest tenth goes."""
    oldest = hot.size().oldest_ns
    if oldest is not None:
        _give_way(hot, oldest + (hot.until_ns - oldest) // 10)


def _give_way(hot: Hot, before: int) -> None:
    """The oldest goes, and its room goes back to the disk."""
    forget(hot, before)
    hot.shrink()
