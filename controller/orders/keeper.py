"""Keeps the book up to date beside the scan: one write at a time, everything that has come meanwhile in the next."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from controller.aside import Aside
from controller.orders.book import RESERVED, Book, BookError, NotWritten
from controller.orders.intents import FIRST_OF_DEVICES, Intent, Intents, IntentState
from controller.orders.order import Order, OrderError, Why
from controller.orders.turn import Answer, Orders
from twin.clock import Clock, LoopClock, Ns, S
from twin.trace import Event

RETRY = Ns(5 * S)
"""How long a book that could not be written is left alone before it is opened anew and verified."""
MOST_NOTED = 4096
"""Commands to nodes whose writing is remembered; a node has judged one, or it is void, long before so many have followed."""


@dataclass(frozen=True, slots=True)
class BookShut(Event):
    """Nothing can be written into the order book, so nothing new is taken on; an empty cause: it can be again. An alarm."""

    cause: str


@dataclass(frozen=True, slots=True)
class OrderUnwritable(Event):
    """An order or a command that is nothing a book can hold; it is not carried out, and all else goes on. A mistake of ours."""

    cause: str


class Reserve:
    """Room on the disk that is kept for the book: given up when the disk is full, taken again when it is not."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size

    def take(self) -> None:
        """Take it; without a word where the disk has no such room."""
        with contextlib.suppress(OSError):
            if not self._size:
                return
            if self._path.exists() and self._path.stat().st_size >= self._size:
                return
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._size)
            except OSError:
                self._path.unlink()
            finally:
                os.close(handle)

    def give_up(self) -> None:
        """Leave it to the book."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


class Keeper:
    """Writes changed orders and commands down, and only then lets their answers go.

    Attributes:
        settled: the revision of each order that is safe on disk.
        shut: why nothing can be written; empty while all is well. What is at work goes on meanwhile and is written later;
            the book is opened anew and verified every `RETRY`.
        intents: commands to devices that are none of ours.
    """

    def __init__(
        self,
        book: Book,
        orders: Orders,
        aside: Aside,
        answer: Callable[[Answer], None],
        clock: Clock | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self.settled = {order.id: order.revision for order in orders.open.values()}
        self.shut = ""
        self.intents = Intents(book.owed)
        self.intents.begin_after(book.last_of_devices)
        self._book, self._aside, self._answer, self._clock, self._reserve = book, aside, answer, clock, reserve
        self._counters = self._written = orders
        self._changed: dict[int, Order] = {}
        self._commands: dict[int, Intent] = {}
        self._noted: dict[int, None] = {}
        self._answers: list[Answer] = []
        self._events: list[Event] = []
        self._withdrawn: list[int] = []
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._filled = asyncio.Event()

    # ---- what the scan hands over, and takes

    def put(self, before: Orders, after: Orders, answers: Iterable[Answer], intents: Iterable[Intent] = ()) -> None:
        """What one scan has changed, and its answers; an answer waits for all that came before it."""
        self._counters = after
        if after is not before:
            changed = {n: o for n, o in after.open.items() if before.open.get(n) is not o}
            self._changed.update(changed)
        self._commands.update((intent.id, intent) for intent in intents)
        if self.shut:
            self._refuse(answers)
            return
        self._answers += answers
        used = (after.next_id - self._written.next_id) & 0xFFFFFFFF
        if self._changed or self._commands or self._answers or used >= RESERVED // 2:
            self._filled.set()

    @property
    def noted(self) -> Container[int]:
        """Commands to nodes that are safe on disk."""
        return self._noted

    def take(self) -> tuple[list[Event], list[int]]:
        """What has happened to the book since this was asked last, and orders that could not be taken on: they are to go."""
        found = self._events, self._withdrawn
        self._events, self._withdrawn = [], []
        return found

    # ---- commands to devices that are none of ours

    async def open(self, place: str, what: str, value: str = "", user: str = "", utc_ns: int = 0) -> Intent:
        """An intent that is safe on disk when this returns: now it may be sent, once.

        Raises:
            OrderError: it can't be written down, so it must not be sent.
        """
        if self.shut:
            raise OrderError(self.shut, Why.SHUT)
        made = self.intents.make(place, what, value, user, utc_ns)
        self._commands[made.id] = made
        written = self._waiting[made.id] = asyncio.get_running_loop().create_future()
        self._filled.set()
        try:
            await written
        except asyncio.CancelledError:
            self.settle(made.id, IntentState.VOID, "nothing was sent: the controller ended")
            raise
        finally:
            self._waiting.pop(made.id, None)
        return made

    def settle(self, number: int, state: IntentState, text: str = "") -> None:
        """What became of it, as it was read back; the book has it in a moment."""
        if (found := self.intents.settle(number, state, text)) is not None:
            self._commands[number] = found
            if not self.shut:
                self._filled.set()

    # ---- writing

    async def run(self) -> None:
        """Write until cancelled, and mend the book when it could not be written."""
        clock = self._clock or LoopClock(asyncio.get_running_loop())
        while True:
            await self._filled.wait()
            self._filled.clear()
            while not await self._write():
                await self._mended(clock)

    async def _write(self) -> bool:
        """Write what has come; whether that is safe now. What is not stays where it is and is written with the rest later."""
        changed, commands, counters = dict(self._changed), dict(self._commands), self._counters
        answers, self._answers = self._answers, []
        if changed or commands or (counters.next_id - self._written.next_id) & 0xFFFFFFFF >= RESERVED // 2:
            try:
                unfit = await self._save(changed, commands, counters)
            except BookError as broken:
                self._close(broken, answers)
                return False
            answers = [self._judged(answer, unfit) for answer in answers]
            changed = {n: o for n, o in changed.items() if n not in unfit}
        open_now = self._counters.open
        self.settled = {n: r for n, r in self.settled.items() if n in open_now}
        self.settled.update((order.id, order.revision) for order in changed.values())
        self._note(commands)
        for answer in answers:
            self._answer(answer)
        return True

    async def _save(self, changed: dict[int, Order], commands: dict[int, Intent], counters: Orders) -> dict[int, str]:
        """Write all of it; what can't be is left out, and comes back with why.

        Raises:
            BookError: the disk refuses.
        """
        unfit: dict[int, str] = {}
        try:
            await self._aside(lambda: self._book.save(tuple(changed.values()), counters, tuple(commands.values())))
        except NotWritten:
            unfit = await self._one_by_one(changed, commands, counters)
        self._written = counters
        self._changed = {n: o for n, o in self._changed.items() if changed.get(n) is not o}
        self._commands = {n: i for n, i in self._commands.items() if commands.get(n) is not i}
        return unfit

    async def _one_by_one(self, changed: dict[int, Order], commands: dict[int, Intent], counters: Orders) -> dict[int, str]:
        """Write each for itself. Returns the orders that can't be; of a command that can't be only who waits for it is told."""
        unfit = {}
        for number, order in changed.items():
            try:
                await self._aside(partial(self._book.save, (order,), counters))
            except NotWritten as wrong:
                unfit[number] = f"order {number} cannot be written down: {wrong}"
                self._events.append(OrderUnwritable(f"order {number}", str(wrong)))
                self._withdrawn.append(number)
        for number, intent in list(commands.items()):
            try:
                await self._aside(partial(self._book.save, (), counters, (intent,)))
            except NotWritten as wrong:
                del commands[number]
                self._events.append(OrderUnwritable(intent.place, str(wrong)))
                self._forget(number, OrderError(f"{intent.what} cannot be written down: {wrong}"))
        return unfit

    def _judged(self, answer: Answer, unfit: dict[int, str]) -> Answer:
        why = unfit.get(answer.result) if isinstance(answer.result, int) else None
        return replace(answer, ok=False, text=why) if answer.ok and why else answer

    def _forget(self, number: int, why: OrderError) -> None:
        """A command that is in no book: whoever waits to send it must not."""
        self.intents.owed.pop(number, None)
        self._commands.pop(number, None)
        written = self._waiting.get(number)
        if written is not None and not written.done():
            written.set_exception(why)

    async def flush(self) -> None:
        """Write what is left, once nothing runs beside any more; what a disk refuses, the next run finds as after a kill."""
        if not self.shut and (self._changed or self._commands):
            with contextlib.suppress(BookError):
                await self._save(dict(self._changed), dict(self._commands), self._counters)

    def _note(self, commands: Iterable[int]) -> None:
        for number in commands:
            if (written := self._waiting.get(number)) is not None and not written.done():
                written.set_result(None)
            if number < FIRST_OF_DEVICES:
                self._noted[number] = None
        while len(self._noted) > MOST_NOTED:
            del self._noted[next(iter(self._noted))]

    # ---- when the disk refuses

    def _close(self, broken: BookError, answers: Iterable[Answer]) -> None:
        """Nothing more is promised. What could not be written is kept, but for what nobody may believe in: it was refused."""
        self.shut = f"the order book can't be written: {broken}"
        self._events.append(BookShut("book", self.shut))
        if broken.full and self._reserve is not None:
            self._reserve.give_up()
        for number in self._waiting:
            self._forget(number, OrderError(self.shut, Why.SHUT))
        held, self._answers = self._answers, []
        self._refuse((*answers, *held))

    def _refuse(self, answers: Iterable[Answer]) -> None:
        """Let answers go that can't be kept: an order that is on no disk was not taken on; what has happened is told as it is."""
        for answer in answers:
            number = answer.result if isinstance(answer.result, int) else 0
            found = self._counters.open.get(number)
            if answer.ok and found is not None and not found.ended and number not in self.settled:
                self._withdrawn.append(number)
            if answer.ok and number:
                answer = replace(answer, ok=False, text=f"{answer.text}, but {self.shut}", why=Why.SHUT)
            self._answer(answer)

    async def _mended(self, clock: Clock) -> None:
        """Return once the book can be written again."""
        while self.shut:
            await clock.until(Ns(clock.now() + RETRY))
            with contextlib.suppress(BookError):
                await self._aside(self._book.mend)
                await self._catch_up()
        if self._reserve is not None:
            await self._aside(self._reserve.take)
        self._events.append(BookShut("book", ""))

    async def _catch_up(self) -> None:
        """Write all that has changed since.

        Raises:
            BookError: the disk refuses again.
        """
        changed, commands, counters = tuple(self._changed.values()), tuple(self._commands.values()), self._counters
        with contextlib.suppress(NotWritten):  # the disk is not to blame: the next write sorts it out
            await self._aside(lambda: self._book.save(changed, counters, commands))
        self.shut = ""
