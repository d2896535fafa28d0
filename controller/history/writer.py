"""The writer's end in a thread of its own: all that has come within a period goes into one commit."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from controller.history.fold import Block, Fold, together
from controller.history.hot import Hot
from controller.history.kept import Done, Happened, HistoryError, HistoryFull, Kept, Samples
from controller.history.names import RowIn

PERIOD_S = 0.1
MOST_WAITING = 1_000_000
MOST_ASKED = 64
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class _Offer:
    rows: Sequence[RowIn] | Samples
    events: Sequence[Happened]
    until_ns: int
    done: "Future[Done]"


class Writer:
    """Hot in a thread. Any thread may offer.

    Args:
        period_s: how long what has come waits for more, so that few commits carry much.
        most: rows and Events that may wait; beyond it they are refused.

    Attributes:
        lost: rows and Events that found no room here; whoever offers them again has lost nothing.
    """

    def __init__(self, folder: Path, period_s: float = PERIOD_S, most: int = MOST_WAITING) -> None:
        """Open the History.

        Raises:
            HistoryError: as Hot.
        """
        self.lost = 0
        self._hot, self._period_s, self._most = Hot(folder), period_s, most
        self._offers: list[_Offer] = []
        self._asked: list[tuple[Callable[[Hot], Any], Future[Any]]] = []
        self._waiting = 0
        self._taken: list[Future[Any]] = []  # what this turn answers
        self._full: HistoryFull | None = None
        self._lock, self._filled, self._closing = threading.Lock(), threading.Event(), threading.Event()
        self._broken: HistoryError | None = None
        self._fold: tuple[Fold, Future[list[Block]]] | None = None
        self._beside = ThreadPoolExecutor(1, "history fold")
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def offer(
        self, rows: Sequence[RowIn] | Samples, events: Sequence[Happened] = (), until_ns: int = 0
    ) -> "Future[Done] | None":
        """Samples and Events to keep. The Future is done when a commit that holds them is safe from a power cut; it tells of the
        whole commit. None: there is no room, which is counted. After one that found the disk full all others fail with it, until
        `resume`: so they can be offered again in their order.

        Raises:
            HistoryError: the writer is closed or broken.
        """
        size = len(rows) + len(events)
        with self._lock:
            self._check()
            offer = _Offer(rows, events, until_ns, Future())
            if self._full is not None:
                offer.done.set_exception(self._full)
                return offer.done
            if self._offers and self._waiting + size > self._most:
                self.lost += size
                return None
            self._waiting += size
            self._offers.append(offer)
        self._filled.set()
        return offer.done

    def resume(self) -> None:
        """What has failed for want of room is offered again from here on."""
        with self._lock:
            self._full = None

    def ask(self, question: Callable[[Hot], _Found]) -> "Future[_Found]":
        """Do something with the Hot in the thread's turn, after what was offered before and after a fold that runs.

        Raises:
            HistoryError: the writer is closed or broken, or too much was asked for already.
        """
        found: Future[_Found] = Future()
        with self._lock:
            self._check()
            if len(self._asked) >= MOST_ASKED:
                raise HistoryError(f"{len(self._asked)} questions wait for the writer already")
            self._asked.append((question, found))
        self._filled.set()
        return found

    def declare(self, signals: Iterable[Kept]) -> dict[str, int]:
        """The numbers of Signals by path; waits for it."""
        given = tuple(signals)
        return self.ask(lambda hot: hot.declare(given)).result()

    def close(self) -> None:
        """Keep what was offered, fold, and be done with it.

        Raises:
            HistoryError: it could not be kept.
        """
        self._closing.set()
        self._filled.set()
        self._thread.join()
        self._beside.shutdown()
        if self._broken is not None:
            raise self._broken

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._closing.is_set():
            raise HistoryError("the writer of History is closed")

    # ---- in the thread

    def _run(self) -> None:
        ended = False
        try:
            while not (self._closing.is_set() and self._idle()):
                self._filled.wait()
                self._closing.wait(self._period_s)
                self._filled.clear()
                self._turn()
            self._hot.close()
            ended = True
        except HistoryError as broken:
            self._broken = broken
        finally:  # whatever else has ended it: nobody waits for it in vain
            if not ended and self._broken is None:
                self._broken = HistoryError("the writer of History has ended: see its traceback")
            if self._broken is not None:
                self._fail(self._broken)

    def _idle(self) -> bool:
        with self._lock:
            return not self._offers and not self._asked and self._fold is None

    def _turn(self) -> None:
        with self._lock:
            offers, self._offers, self._waiting = self._offers, [], 0
            asked, self._asked = self._asked, []
            self._taken = [offer.done for offer in offers] + [found for _, found in asked]
        if self._fold is None and self._hot.owes:
            with contextlib.suppress(HistoryFull):
                self._hot.fold()
        if offers:
            self._commit(offers)
        if self._fold is not None and (asked or self._closing.is_set() or self._fold[1].done()):
            self._end_fold(*self._fold)
        for question, found in asked:
            try:
                _settle(found, question(self._hot), None)
            except HistoryError as broken:
                _settle(found, None, broken)
        self._taken = []
        if self._hot.due and self._fold is None and not self._hot.folding:
            begun = self._hot.begin_fold()
            made = self._beside.submit(lambda: list(begun.blocks()))
            made.add_done_callback(lambda _: self._filled.set())
            self._fold = begun, made

    def _end_fold(self, fold: Fold, made: "Future[list[Block]]") -> None:
        """Write the blocks; without room the journal keeps it all, and the next turn tries again."""
        try:
            self._hot.end_fold(fold, made.result())
        except HistoryFull:
            if not self._closing.is_set():
                return
        self._fold = None

    def _commit(self, offers: list[_Offer]) -> None:
        portions = [offer.rows if isinstance(offer.rows, Samples) else self._hot.samples(offer.rows) for offer in offers]
        events = list(itertools.chain.from_iterable(offer.events for offer in offers))
        try:
            done = self._hot.commit(together(portions), events, max(offer.until_ns for offer in offers))
        except HistoryFull as full:
            with self._lock:
                self._full = full
                behind, self._offers, self._waiting = self._offers, [], 0
            for offer in (*offers, *behind):
                _settle(offer.done, None, full)
            return
        except HistoryError as broken:
            for offer in offers:
                _settle(offer.done, None, broken)
            raise
        for offer in offers:
            _settle(offer.done, done, None)

    def _fail(self, broken: HistoryError) -> None:
        with self._lock:
            offers, self._offers = self._offers, []
            asked, self._asked = self._asked, []
        for waiting in [*self._taken, *(offer.done for offer in offers), *(found for _, found in asked)]:
            _settle(waiting, None, broken)


def _settle(waiting: "Future[Any]", found: Any, error: HistoryError | None) -> None:
    """Tell whoever waits; it may have given up."""
    try:
        if error is None:
            waiting.set_result(found)
        else:
            waiting.set_exception(error)
    except InvalidStateError:
        pass
