"""The audit log's writer: a thread of its own, so that nobody who is audited waits for a disk unless he wants to."""

import asyncio
import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.audit.chain import BROKEN, GENESIS, RESUMED, RETIRED, ROLLED, STARTED, ChainError, Record, lay
from controller.audit.files import (
    AuditError,
    Head,
    Place,
    create,
    key_of,
    last_line,
    lay_head,
    lock,
    read_head,
    shorten,
    write_whole,
)
from controller.audit.opening import drop_unfinished, highest, only_begun, size_of
from controller.audit.verify import Broken, breaks_accepted, verify_chain
from twin.clock import Ns, S, utc_ns, wall_ns

log = logging.getLogger("lockstep.audit")

MOST_WAITING: Final = 2_000
"""Records that wait for the disk."""
MOST_AT_ONCE: Final = 500
"""Records in one write."""
HEAD_EVERY: Final = Ns(3_600 * S)
LOOK_EVERY_S: Final = 1.0
"""So often the writer looks at the clock while nothing is to be written."""
READ_AT_START: Final = 8_000_000
"""Bytes of a log that is read as a whole at a start; of a larger one the last file, the ends of the others, and all heads."""
DAY_NS: Final = 86_400 * S


@dataclass(frozen=True, slots=True)
class Keep:
    """How much is kept, by whole files; the newest file always is.

    Attributes:
        file_mb: the size at which a file is full.
        days, mb: what is older, or too much, goes.
    """

    file_mb: float = 8.0
    days: float = 400.0
    mb: float = 512.0


class _Waiting:
    """A record on its way to the disk."""

    __slots__ = ("done", "record")

    def __init__(self, record: Record, done: "asyncio.Future[None] | None") -> None:
        self.record = record
        self.done = done


class Log:
    """One writer's chain.

    Attributes:
        failed: why nothing can be written at the moment, or nothing.
        broken: what was wrong with the chain at the start, or None.
    """

    def __init__(
        self,
        folder: Path,
        writer: str = "opcua",
        *,
        keep: Keep | None = None,
        utc: Callable[[], int] = utc_ns,
        steady: Callable[[], Ns] = wall_ns,
        most: int = MOST_WAITING,
    ) -> None:
        """Open the chain: what is there is verified, and a new file begins.

        While the disk refuses that, nothing can be appended, and each record is another try.

        Raises:
            AuditError: another one writes it, or the key is not ours alone.
        """
        self._place = Place(folder, writer)
        self._keep = keep or Keep()
        self._utc, self._steady = utc, steady
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(most)
        self.failed, self.closed = "", False
        self.broken: Broken | None = None
        self._break: str | None = None
        self._dropped = self._dropped_by_disk = self._said_lost = 0
        self._file = self._handle = self._lock = -1
        self._size = self._number = 0
        self._head = self._heads_head = GENESIS
        self._head_due = steady()
        self._opened = False
        try:
            self._open()
        except OSError as refused:
            self._give_up(refused)
        except AuditError:
            self._close_files()
            raise
        self._thread = threading.Thread(target=self._run, name=f"audit-{writer}", daemon=True)
        self._thread.start()

    # ---- for everybody --------------------------------------------------------------------------------------------------

    def append(self, record: Record) -> "asyncio.Future[None]":
        """A future that ends when the record is on disk, or with an AuditError when it cannot be brought there."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused = self._put(_Waiting(record, done))
        if refused:
            done.set_exception(AuditError(f"the audit log cannot be written: {refused}"))
        return done

    def note(self, record: Record) -> bool:
        """Have a record written when there is time; whether there is room for it. What had none is counted in the log.

        Half of the room is left to those who wait for theirs.
        """
        if self._queue.qsize() >= self._queue.maxsize // 2 or self._put(_Waiting(record, None)):
            self._dropped += 1
            return False
        return True

    @property
    def lost(self) -> int:
        """Notes that were dropped, and that no record tells of yet."""
        return self._dropped + self._dropped_by_disk - self._said_lost

    def close(self) -> None:
        """Write what waits, say where the chain is, and end."""
        if not self.closed:
            self.closed = True
            self._queue.put(None)
            self._thread.join()

    @property
    def restricted(self) -> bool:
        """Whether the chain was found broken, and nobody has accepted it yet (`lockstep audit accept`)."""
        return self._break is not None

    def _put(self, waiting: _Waiting) -> str:
        if self.closed or not self._thread.is_alive():
            return "it is closed"
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            return f"{self._queue.maxsize} records wait for the disk"
        return ""

    # ---- the thread -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        ended = False
        while not ended:
            batch: list[_Waiting] = []
            try:
                first = self._queue.get(timeout=LOOK_EVERY_S)
                ended = first is None
                if first is not None:
                    batch.append(first)
                while not ended and len(batch) < MOST_AT_ONCE:
                    more = self._queue.get_nowait()
                    ended = more is None
                    if more is not None:
                        batch.append(more)
            except queue.Empty:
                pass
            if batch:
                self._write(batch)
            self._look()
        self._say_head()
        self._close_files()

    def _open(self) -> None:
        if self._lock < 0:
            self._lock = lock(self._place)
        self._number, self._head, self._heads_head = 0, GENESIS, GENESIS
        self.broken, self._break = self._start()
        self._opened = True

    def _close_files(self) -> None:
        for handle in (self._handle, self._lock):
            if handle >= 0:
                os.close(handle)

    def _write(self, batch: list[_Waiting]) -> None:
        lost = self.lost
        try:
            if not self._opened:
                self._open()
            if self._handle < 0:
                self._resume()
            records = [waiting.record for waiting in batch]
            if lost:
                records.append(Record("lost", text=f"{lost} records before this one had no room and are not in the log"))
            self._bring(records)
            self.failed = ""
            self._said_lost += lost
        except (OSError, AuditError) as refused:
            self._dropped_by_disk += sum(waiting.done is None for waiting in batch)
            self._give_up(refused)
        self._tell(batch)
        if self._handle >= 0 and self._size >= self._keep.file_mb * 1e6:
            self._roll()

    def _tell(self, batch: list[_Waiting]) -> None:
        """Wake those who wait, once a loop."""
        failed = self.failed

        def end() -> None:
            for future in futures:
                if not future.done():
                    if failed:
                        future.set_exception(AuditError(f"the audit log cannot be written: {failed}"))
                    else:
                        future.set_result(None)

        futures = [waiting.done for waiting in batch if waiting.done is not None]
        if futures:
            with contextlib.suppress(RuntimeError):  # the loop has closed, and nobody waits any more
                futures[0].get_loop().call_soon_threadsafe(end)

    def _bring(self, records: list[Record]) -> None:
        """Bring records to the disk; only then the chain has them."""
        number, head, content = self._number, self._head, bytearray()
        now = self._utc()
        key = self._key
        for record in records:
            number += 1
            line, head = lay(record, number, now, head, key)
            content += line
        write_whole(self._handle, bytes(content))
        self._number, self._head, self._size = number, head, self._size + len(content)

    def _give_up(self, refused: Exception) -> None:
        """No file is written to again after it failed: what of it is on disk nobody knows."""
        self.failed = getattr(refused, "strerror", None) or str(refused)
        log.error("the audit log cannot be written: %s", self.failed)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _resume(self) -> None:
        """Go on in a new file. What a write that failed has left behind the last record in the old one is cut off: nobody was told
        that it was written."""
        shorten(self._place.file(self._file), self._size)
        self._begin(RESUMED, f"after: {self.failed}")

    def _begin(self, action: str, text: str = "") -> None:
        """Begin the next file, with a record that follows the last one."""
        number, before = self._file + 1, self._size
        path = self._place.file(number)
        self._handle = create(path)
        self._size = 0
        try:
            self._bring([Record(action, target=path.name, text=text)])
        except OSError:
            os.close(self._handle)
            self._handle, self._size = -1, before
            raise
        self._file = number

    def _roll(self) -> None:
        try:
            full, self._handle = self._handle, -1
            os.close(full)
            self._begin(ROLLED)
            self._retire()
        except OSError as refused:
            self._give_up(refused)
        self._say_head()

    def _retire(self) -> None:
        """Delete files that are too old or too many, after the chain says so."""
        place, size = self._place, 0
        numbers = place.numbers()
        kept_from = numbers[-1]
        for number in reversed(numbers):
            about = place.file(number).stat()
            size += about.st_size
            if number != numbers[-1] and (size > self._keep.mb * 1e6 or self._utc() - about.st_mtime_ns > self._keep.days * DAY_NS):
                break
            kept_from = number
        for number in numbers:
            if number >= kept_from:
                return
            path = place.file(number)
            try:
                last, _ = last_line(path, self._key)
            except ChainError:
                last = None
            old, new = (str(last.number), last.hash) if last is not None else ("0", "")
            self._bring([Record(RETIRED, target=path.name, old=old, new=new, text="kept long enough, and deleted")])
            path.unlink()

    def _look(self) -> None:
        """What is to be done by time."""
        if self._steady() >= self._head_due:
            self._say_head()
        if self._break is not None and self._break in breaks_accepted(self._place.folder, self._key):
            self._break = None
            log.warning("the break in the audit log was accepted")

    def _say_head(self) -> None:
        """Write where the chain is in its second place."""
        self._head_due = Ns(self._steady() + HEAD_EVERY)
        if self._number == 0:
            return
        head = Head(self._place.writer, self._file, self._number, self._utc(), self._head)
        log.info("audit log of %s: record %d, head %s", self._place.writer, head.number, head.head)
        line, digest = lay_head(head, self._heads_head, self._key)
        try:
            handle = os.open(self._place.heads, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                write_whole(handle, line)
            finally:
                os.close(handle)
            self._heads_head = digest
        except OSError as refused:
            log.error("%s: %s", self._place.heads, refused.strerror)

    # ---- the start ------------------------------------------------------------------------------------------------------

    def _start(self) -> tuple[Broken | None, str | None]:
        """Judge what is there and begin a file: what was found, and the hash of the record of it if nobody has accepted it yet."""
        place = self._place
        self._key = key_of(place.folder, make=True)
        if not place.heads.exists() and only_begun(place, self._key):
            self._file = 0
            self._begin(STARTED)
            self._say_head()
            return None, None
        torn = drop_unfinished(place, self._key)
        self._file = max(place.numbers(), default=0)
        found = verify_chain(place, self._key, quick=size_of(place) > READ_AT_START)
        if isinstance(found, Broken):
            return found, self._go_on_broken(found)
        last, _ = last_line(place.file(self._file), self._key)
        assert last is not None, "it has been verified"
        self._number, self._head = last.number, last.hash
        self._heads_head = read_head(place.heads.read_bytes().split(b"\n")[-2], self._key)[2]
        self._begin(RESUMED if torn else STARTED, torn)
        self._say_head()
        return None, None

    def _go_on_broken(self, found: Broken) -> str:
        """Begin a chain of its own, which says what was found, with heads of its own: the hash of its first record, which is to be
        accepted."""
        log.error("the audit log is broken: %s", found)
        self._number = highest(self._place, self._key)
        heads = self._place.heads
        if heads.exists():
            heads.rename(heads.with_name(f"{heads.name}.{self._utc()}"))
        self._begin(BROKEN, str(found))
        self._say_head()
        return self._head
