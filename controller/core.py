"""The core: the scan, the commands and the orders in one process, and nothing in it that a client can stall.

python -m controller.core FACTORY --state DIR [--clock SOCKET] [--order RECIPE PROGRAM]
"""

import argparse
import asyncio
import contextlib
import gc
import signal
import sys
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from controller import programs
from controller.aside import Aside, Thread, inline
from controller.brought import Mirror, Shown, bringers, servers
from controller.devices import KINDS as DEVICE_KINDS
from controller.devices import Devices
from controller.dispatch import taken_over
from controller.feed import Desk, Feed, feed_signals, serve
from controller.feed.server import MOST_REQUESTS
from controller.folder import CoreError as CoreError  # for those who run one
from controller.folder import held, owner_of
from controller.image import Image, blank
from controller.jobs import STORED_BYTES, Jobs
from controller.modbus.links import buses, links
from controller.modbus.plan import Heard
from controller.nodes.epochs import EpochError, Epochs
from controller.nodes.grant import Standing
from controller.nodes.lines import Lines
from controller.orders.asked import AskedOfDevices
from controller.orders.book import Book, BookError
from controller.orders.intents import FIRST_OF_DEVICES
from controller.orders.keeper import RETRY, Keeper, Reserve
from controller.orders.order import OrderError, Why
from controller.orders.turn import Answer, MakePlan, View
from controller.orders.turn import Request as Wanted
from controller.rows import Rows
from controller.scan import News, State, scan
from controller.setpoints import Setpoints
from controller.stamps import GrantedWall, SteadyWall
from controller.times import Times
from twin.clock import MS, Clock, LoopClock, Ns, utc_ns
from twin.factory import Factory, FactoryError, read

_PROGRAM_KINDS = ("place_order", "load_job")
ALWAYS = ("stop", "pause")
"""What is done even while nothing can be written down."""
BOOK = "the order book"
RESERVE_BYTES = 8 << 20


class Core:
    """Reads, judges and writes once a period, for as long as `run` runs.

    Attributes:
        late: scans that were skipped because the one before took too long.
    """

    def __init__(
        self,
        factory: Factory,
        folder: Path,
        clock: Clock,
        book: Book,
        epochs: Epochs,
        owner: int,
        compute: Aside = inline,
        write: Aside = inline,
        stored_bytes: int = STORED_BYTES,
        first: Mapping[str, str] | None = None,
        times: Times | None = None,
        reserve: Reserve | None = None,
        ready: "asyncio.Future[None] | None" = None,
    ) -> None:
        self._factory, self._folder, self._clock = factory, folder, clock
        self._times = times or Times(factory, GrantedWall(utc_ns()), utc_ns)
        self._epochs, self._write = epochs, write
        self._period = Ns(factory.scan_ms * MS)
        self._image: Image = blank(factory)
        self._lines = Lines(factory, links(factory, folder, clock), clock, self._heard)
        orders = taken_over(book.load(), clock.now())
        owed = {intent.id: intent for intent in book.owed if intent.id < FIRST_OF_DEVICES}
        self._state = State(owner, orders, owed=owed, known=epochs.highest, inherited=orders.next_order)
        signals = feed_signals(factory)
        self._feed, self._desk = Feed(signals, self._times.run), Desk()
        self._keeper = Keeper(book, self._state.orders, write, self._answer, clock, reserve)
        asked = self._asked = AskedOfDevices(self._keeper, factory)
        self._bringers = bringers(factory, signals)
        self._shown = Shown(signals, self._bringers)
        mirror = dict.fromkeys(servers(factory), Mirror(factory, signals, self._bringers, clock))
        self._devices = Devices(factory, {**buses(factory, folder, clock), **mirror}, self._answer, asked.before, asked.after)
        self._setpoints = Setpoints(factory, folder / "setpoints.json", clock, self._answer, write)
        self._rows = Rows(factory, signals, self._devices, self._times.late, self._setpoints)
        self._jobs = Jobs(factory, folder / "programs", self._lines.links, self._ours, clock, compute, stored_bytes)
        self._fresh: dict[str, int] = {}
        self._claiming: set[str] = set()
        self._ready, self._early = ready, deque[Wanted](maxlen=MOST_REQUESTS)
        self._unclaimed = ""
        self._first = first if self._state.orders.newest is None else None
        self.late = 0

    async def run(self) -> None:
        """Keep the links up and scan until cancelled.

        Raises:
            ExceptionGroup: of whatever must not happen. A disk that refuses does not end it: see `Keeper`.
        """
        async with serve(self._folder / "feed.sock", self._feed, self._desk, self._bringers):
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._lines.start(tasks)
                    tasks.create_task(self._keeper.run())
                    self._devices.start(tasks)
                    await self._beat(tasks)
            finally:
                await self._jobs.close()
                await self._keeper.flush()

    async def _beat(self, tasks: asyncio.TaskGroup) -> None:
        due = self._clock.now()
        while True:
            await self._clock.until(due)
            self._times.late.add(Ns(self._clock.now() - due))
            self._scan(tasks)
            due = Ns(due + self._period)
            while due < self._clock.now():
                due = Ns(due + self._period)
                self.late += 1

    def _scan(self, tasks: asyncio.TaskGroup) -> None:
        now, before = self._clock.now(), self._state
        self._bringers.beat(now)
        self._image = image = self._lines.lost(self._image).aged(now).told(samples := self._devices.take())
        fresh, self._fresh = self._fresh, {}
        happened, withdrawn = self._keeper.take()
        requests = (*(Wanted(0, "cancel_order", {"order": n}, BOOK) for n in withdrawn), *self._requests(tasks))
        settled, noted, shut = self._keeper.settled, self._keeper.noted, self._keeper.shut
        news = News(requests, self._jobs.take(), fresh, settled, noted, shut, utc_ns(), self._setpoints.in_force)
        self._state, outcome = scan(image, before, news, now)
        self._lines.ask(tasks, outcome, now, self._ours)
        self._keeper.put(before.orders, self._state.orders, outcome.answers, outcome.intents)
        for work in outcome.work:
            self._jobs.take_on(work)
        if wanted := {name: above for name, above in outcome.epochs.items() if name not in self._claiming}:
            self._claiming.update(wanted)
            tasks.create_task(self._claim(wanted))
        utc = self._times.look(now)
        of_devices = (*self._devices.events(), *self._asked.look(samples), *self._setpoints.events())
        events = self._times.told((*happened, *outcome.events, *of_devices), image, now)
        rows = self._rows.update(image, self._state, utc, now, shut) + self._shown.take(utc)
        self._feed.publish(rows, events + self._bringers.events(), utc, now)

    def _requests(self, tasks: asyncio.TaskGroup) -> tuple[Wanted, ...]:
        """What faces want; a program that is not there is refused before the scan hears of it."""
        found: list[Wanted] = []
        wanted = self._desk.take()
        if self._first is not None:
            wanted = (Wanted(0, "place_order", self._first, "start"), *wanted)
            self._first = None
        if self._early and self._is_ready:
            wanted = (*self._early, *wanted)
            self._early.clear()
        for request in wanted:
            if self._keeper.shut and request.kind not in ALWAYS:
                self._answer(Answer(request.id, False, f"{request.kind} refused: {self._keeper.shut}", None, Why.SHUT))
                continue
            if request.kind == "write" and self._setpoints.has(request.args["machine"]):
                self._setpoints.ask(tasks, request)
                continue
            if request.kind in DEVICE_KINDS:
                self._devices.ask(tasks, request)
                continue
            try:
                if request.kind in _PROGRAM_KINDS and request.args["program"]:
                    programs.check(self._folder / "programs", request.args["program"])
                if request.kind in _PROGRAM_KINDS and not self._is_ready:
                    self._hold(request)
                    continue
                works = self._to_try(request)
            except OrderError as refused:
                self._answer(Answer(request.id, False, str(refused), None, refused.why))
                continue
            if works:
                self._jobs.attempt(request, works)
            else:
                found.append(request)
        for request, why in self._jobs.tried():
            if why:
                self._answer(Answer(request.id, False, why, None, Why.REFUSED))
            else:
                found.append(request)
        return tuple(found)

    @property
    def _is_ready(self) -> bool:
        """Whether plans can be made: the first second of a run they can't, and the scan does not wait for it."""
        return self._ready is None or self._ready.done()

    def _hold(self, request: Wanted) -> None:
        if len(self._early) == MOST_REQUESTS:
            raise OrderError("the controller has only just started: try again in a moment", Why.BUSY)
        self._early.append(request)

    def _to_try(self, request: Wanted) -> tuple[tuple[MakePlan, ...], ...]:
        if request.kind not in _PROGRAM_KINDS:
            return ()
        from controller.orders.job import early  # with all that plans are made with, which is there by now

        return early(self._view(), request)

    def _view(self) -> View:
        return View(self._factory, self._image, self._state.stands, self._keeper.settled, self._clock.now())

    def _answer(self, answer: Answer) -> None:
        """Hand an answer to its face; the order placed at the start has none."""
        if answer.request:
            self._desk.answer(answer)
        elif not answer.ok:
            print(f"order refused: {answer.text}", file=sys.stderr, flush=True)

    def _ours(self, node: str) -> bool:
        found = self._state.stands.get(node)
        return found is not None and found.standing is Standing.OURS

    async def _claim(self, wanted: Mapping[str, int]) -> None:
        """Fetch an epoch for nodes that wait for one. Without it they stay free; it is tried again, in a file of its own."""
        try:
            epoch = await self._write(lambda: self._epochs.next(max(wanted.values())))
            self._fresh.update(dict.fromkeys(wanted, epoch))
            self._unclaimed = ""
        except EpochError as broken:
            if not self._unclaimed:
                print(f"no node can be claimed: {broken}", file=sys.stderr, flush=True)
            self._unclaimed = str(broken)
            await self._clock.until(Ns(self._clock.now() + RETRY))
        finally:
            self._claiming.difference_update(wanted)

    def _heard(self, node: str, heard: Heard, asked: Ns) -> None:
        stamp, utc = self._times.heard(node, heard.node, asked, self._clock.now())
        self._image = self._image.received(node, heard, stamp.at, utc, stamp)


async def run(
    factory: Factory,
    folder: Path,
    clock: Clock,
    compute: Aside = inline,
    write: Aside = inline,
    seed: int | None = None,
    stored_bytes: int = STORED_BYTES,
    first: Mapping[str, str] | None = None,
    times: Times | None = None,
    reserve: int = 0,
) -> None:
    """Run a core on a state directory until cancelled.

    Args:
        times: UTC and the nodes' times; where none is given, as factory time has them.
        compute, write: where plans are made and disk writes wait.
        reserve: bytes on the disk that are kept for the book.
        first: recipe and program of an order to place at once, where the book has none yet.
        seed: makes a new state directory's ids repeat; by chance unless told.

    Raises:
        CoreError, BookError, EpochError: the state directory can't be used.
    """
    with held(folder), Book(folder / "book.sqlite", seed) as book:
        epochs = Epochs(folder / "epoch")
        # What plans need is made ready in the thread where plans are made, which come after it; the scan does not wait.
        ready = asyncio.ensure_future(compute(lambda: _prepare(factory)))
        await clock.until(Ns(clock.now() + 1))  # a clock that is granted tells the time only once it has been asked
        room = Reserve(folder / "reserve", reserve)
        room.take()
        owner = owner_of(folder, seed, epochs.highest)
        core = Core(factory, folder, clock, book, epochs, owner, compute, write, stored_bytes, first, times, room, ready)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_prepared(ready))
                await core.run()
        except* (BookError, CoreError) as broken:
            raise CoreError("; ".join(str(e) for e in broken.exceptions)) from None


def _prepare(factory: Factory) -> None:
    from twin.making import prepare

    prepare(factory)


async def _prepared(ready: "asyncio.Future[None]") -> None:
    try:
        await ready
    except OSError as unusable:  # the kernels' cache folder
        raise CoreError(str(unusable)) from unusable


async def _in_real_time(factory: Factory, folder: Path, first: Mapping[str, str] | None) -> None:
    """On the machine's own clock: plans and disk writes have threads of their own."""
    loop = asyncio.get_running_loop()
    async with _threads() as (compute, write):
        gc.collect()
        gc.freeze()
        clock = LoopClock(loop)
        times = Times(factory, SteadyWall(utc_ns(), clock.now()), utc_ns)
        await run(factory, folder, clock, compute, write, first=first, times=times, reserve=RESERVE_BYTES)


@contextlib.asynccontextmanager
async def _threads() -> AsyncIterator[tuple[Thread, Thread]]:
    compute, write = Thread("plans"), Thread("book")
    try:
        yield compute, write
    finally:
        compute.close()
        write.close()


async def _until_told(main: "asyncio.Task[None]") -> None:
    """Run until the task ends or the process is told to end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, main.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await main


async def _real(factory: Factory, folder: Path, first: Mapping[str, str] | None) -> None:
    await _until_told(asyncio.create_task(_in_real_time(factory, folder, first)))


def _start(factory: Factory, folder: Path, clock_socket: str | None, first: Mapping[str, str] | None) -> None:
    if clock_socket is not None:
        from controller.factory_loop import TimeEnded
        from controller.factory_loop import run as run_in_factory_time

        seed = zlib.crc32(factory.name.encode())
        try:
            run_in_factory_time(lambda clock: run(factory, folder, clock, seed=seed, first=first), clock_socket, "core")
        except (TimeEnded, OSError) as gone:
            raise CoreError(f"no factory time from {clock_socket}: {gone}") from gone
        return
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(_real(factory, folder, first))


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    found: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return found


def main() -> int:
    """The process. Returns 0 when told to end, 2 where it can't run."""
    parser = argparse.ArgumentParser(prog="python -m controller.core", description=__doc__.splitlines()[0])
    parser.add_argument("factory", type=Path, help="factory.toml")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="orders, programs, the Feed's socket")
    parser.add_argument("--clock", metavar="SOCKET", help="run in the factory time of the rig that listens here")
    parser.add_argument("--order", nargs=2, metavar=("RECIPE", "PROGRAM"), help="placed where the book has no order yet")
    given = parser.parse_args()
    first = dict(zip(("recipe", "program"), given.order, strict=True)) if given.order else None
    try:
        _start(read(given.factory), given.state, given.clock, first)
    except (FactoryError, CoreError, BookError, EpochError) as wrong:
        print(wrong, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
