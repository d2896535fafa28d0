"""The writer's end of History: a journal of commits, folded into packed blocks; SQLite, write-ahead log, synchronous=FULL.

A commit is one transaction with one row: all its samples in one blob. What `commit` has returned for is safe from a power cut:
that is what acknowledged means. A fold puts a generation of the journal into blocks in one transaction, so that a sample is in
the one or in the other, and never in both.
"""

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controller.history.block import HEAD, decode
from controller.history.fold import SMALL, Block, Fold, Old, together
from controller.history.journal import Journal, admit, late
from controller.history.kept import NONE, Done, Happened, HistoryError, HistoryFull, Kept, Samples, micros, plain
from controller.history.names import TOO_LATE, Names, RowIn
from controller.history.tables import COLD, DAMAGED, FILE, Connect, declare, failed, kept_row, on_disk, opened, read_kept
from twin.arrays import Ints

FOLD_SAMPLES = 1_000_000
FOLD_COMMITS = 4096
ABSENT = "not recorded"
NEVER = -(2**63)


@dataclass(frozen=True, slots=True)
class Size:
    """What History takes on disk, in bytes, and how far back it goes (UTC, ns; None: it is empty).

    Attributes:
        warm_ns: when the oldest ends that is in no segment yet.
        spans: in which times somebody recorded, beginnings and ends.
    """

    hot: int
    cold: int
    oldest_ns: int | None
    warm_ns: int | None = None
    spans: tuple[tuple[int, int], ...] = ()


class Hot:
    """History's only writer. One thread at a time.

    Attributes:
        kept: what is kept of each Signal, by number.
        acknowledged: samples committed since it was opened.
        names: causes and texts by number.
        damaged: parts of the journal that could not be read when it was opened; shown as gaps.
        folding: whether a fold has begun and not ended; then there may be commits and `forget`, nothing else.
    """

    def __init__(self, folder: Path, connect: Connect = on_disk) -> None:
        """Open or make it; what an earlier writer left in the journal is folded, where the disk has room.

        Raises:
            HistoryError: it can't be opened, another writer has it, or another version of the software has made it.
        """
        self.folder = folder
        self.acknowledged = self.damaged = self._late = 0
        self._file = opened(folder, connect)
        self._lock = self._locked()
        with self._told():
            self.kept = read_kept(self._file)
            self.names = Names(self._file)
            self._last = self._last_times()
        self._new: list[tuple[str, tuple[Any, ...]]] = []  # statements that go with the next commit
        self._span: int | None = None
        self._until = NEVER
        self._cuts: list[int] = []  # when gaps begin
        self._portions: list[Samples] = []
        self._count = 0
        self._begun = self.folding = False
        self._made: tuple[Fold, list[Block]] | None = None  # what did not fit, to be tried again
        self._recover()

    def _locked(self) -> int:
        lock = os.open(self.folder / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            self._file.close()
            raise HistoryError(f"{self.folder}: another process writes this History") from None
        return lock

    @contextlib.contextmanager
    def _told(self) -> Any:
        """SQLite's errors as ours."""
        try:
            yield
        except (sqlite3.Error, OSError) as broken:
            raise failed(self.folder / FILE, broken) from broken

    @contextlib.contextmanager
    def transaction(self) -> Any:
        """All of it or nothing: the connection, whose changes are safe from a power cut at the end.

        Raises:
            HistoryFull: nothing was changed, and it may be tried again.
            HistoryError: it is unknown whether it will be found again.
        """
        with self._told():
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield self._file
                self._file.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._file.execute("ROLLBACK")
                raise

    # ---- opening

    def _last_times(self) -> Ints:
        """Each Signal's last time, so that nothing earlier comes behind it."""
        last = np.full(max(self.kept, default=0) + 1, NEVER)
        for table, time_us in (("blocks", "last_us"), ("contents", "last_us"), ("held", "time_us")):
            for number, time in self._file.execute(f"SELECT signal, max({time_us}) FROM {table} GROUP BY signal").fetchall():
                last[number] = max(last[number], time)
        return last

    def look_again(self) -> None:
        """Take up where the tables stand: which span is open, up to when it tells, what each Signal's last time is."""
        with self._told():
            spans = self._file.execute("SELECT begin_us, end_us FROM spans ORDER BY begin_us").fetchall()
            self._last = self._last_times()
        if spans:
            self._span, self._until = spans[-1]
        self._cuts = [end for _, end in spans[:-1]]

    def _recover(self) -> None:
        """Fold what is in the journal. The span that the earlier writer left open ends where its journal ends."""
        journal = Journal(self._fine())
        self.look_again()
        with self._told():
            (self._generation,) = self._file.execute("SELECT coalesce(max(generation), 0) FROM journal").fetchone()
            whole = self._until  # up to when nothing is damaged, or the damage is known
            for until, content in self._file.execute("SELECT until_us, content FROM journal ORDER BY place").fetchall():
                try:
                    portion, _ = admit(journal.read(content), self._last)
                    self._portions.append(portion)
                    self._missing(whole, self._until, DAMAGED)
                    whole = until
                except HistoryError:
                    self.damaged += 1
                self._until = max(self._until, until)
            self._missing(whole, self._until, DAMAGED)
        with contextlib.suppress(HistoryFull):  # it is tried again
            self.fold()
        self._journal = Journal(self._fine())

    def _fine(self) -> "np.ndarray":
        fine = np.zeros(max(self.kept, default=0) + 1)
        for number, kept in self.kept.items():
            fine[number] = kept.fine
        return fine

    @property
    def until_ns(self) -> int:
        """Up to when it tells, UTC [ns]; 0: it is empty."""
        return max(0, self._until) * 1000

    # ---- what there is to keep

    @property
    def refused(self) -> int:
        """Samples of which only a gap was kept: earlier than their Signal's last, or none of its type."""
        return self.names.refused + self._late

    def declare(self, signals: Iterable[Kept]) -> dict[str, int]:
        """The numbers of Signals by their paths; new ones get one, changed bounds apply from here on.

        A Signal whose type or unit has changed is another one: what there is of the old one is found as `path~number`.

        Raises:
            HistoryError: it can't be written. Nothing is where all are known already.
        """
        given = tuple(signals)
        if not {kept_row(kept) for kept in given} <= {kept_row(kept) for kept in self.kept.values()}:
            self.fold()
            with self.transaction() as file:
                declare(file, self.kept, given)
            with self._told():
                self.kept = read_kept(self._file)
            last = np.full(max(self.kept, default=0) + 1, NEVER)
            last[: len(self._last)] = self._last
            self._last, self._journal = last, Journal(self._fine())
        return {kept.path: number for number, kept in self.kept.items()}

    def samples(self, rows: Iterable[RowIn]) -> Samples:
        """Rows as arrays. None is a gap, and so is a value that is none of its Signal's type, which is counted too."""
        return self.names.samples(self.kept, rows)

    def lost(self, from_ns: int, to_ns: int, cause: str) -> None:
        """Nothing was recorded in between; it is written with the next commit, and what was committed before stays."""
        self._missing(max(micros(from_ns), self._until), micros(to_ns), cause)

    def _missing(self, begin: int, end: int, cause: str) -> None:
        if self._span is None or end <= begin:
            return
        self._new.append(("UPDATE spans SET end_us=?, cause=? WHERE begin_us=?", (begin, cause, self._span)))
        self._begin(end, begin)

    def _begin(self, begin: int, after: int) -> None:
        self._cuts.append(max(after, self._cuts[-1] if self._cuts else NEVER))
        self._new.append(("INSERT OR IGNORE INTO spans VALUES (?, ?, ?)", (begin, begin, ABSENT)))
        self._span = begin

    @property
    def cuts(self) -> Ints:
        """When gaps begin, UTC [us]."""
        return np.array(self._cuts, np.int64)

    def prune(self, file: Any, before: int) -> None:
        """Forget the spans that end before a time [us]; within a transaction."""
        file.execute("DELETE FROM spans WHERE end_us < ? AND begin_us <> ?", (before, self._span or NEVER))
        self._cuts = [cut for cut in self._cuts if cut >= before]

    # ---- keeping it

    def commit(self, samples: Samples, events: Sequence[Happened] = (), until_ns: int = 0) -> Done:
        """Write them down; on return they are safe from a power cut.

        Args:
            until_ns: up to when they tell: what was not told by then had not changed.

        Raises:
            HistoryFull: there is no room. None of them was kept; the same may be offered again.
            HistoryError: it is unknown whether they will be found again. This Hot is of no more use.
        """
        before, new = self._last.copy(), list(self._new)
        span, until, begun, cuts = self._span, self._until, self._begun, list(self._cuts)
        fits, early = admit(samples, self._last)
        if early:
            fits = late(samples, before.copy(), self.names.belief(NONE, TOO_LATE))
        samples = fits
        end = max(micros(until_ns), int(samples.times.max()) if len(samples) else 0, until)
        if not self._begun:
            start = min(end, int(samples.times.min()) if len(samples) else end)
            self._begin(max(start, until), until)
            self._begun = True
        blob, rounded = self._journal.write(samples) if len(samples) else (b"", samples)
        try:
            with self.transaction() as file:
                for statement, values in (*self.names.new, *self._new):
                    file.execute(statement, values)
                if len(samples):
                    file.execute("INSERT INTO journal VALUES (NULL, ?, ?, ?)", (self._generation, end, blob))
                else:
                    file.execute("UPDATE spans SET end_us=? WHERE begin_us=?", (end, self._span))
                file.executemany("INSERT INTO events VALUES (NULL, ?, ?, ?, ?)", map(_event_row, events))
        except HistoryFull:
            self._last, self._new, self._journal = before, new, Journal(self._fine())
            self._span, self._begun, self._cuts = span, begun, cuts
            raise
        self._new, self._until = [], end
        self.names.new.clear()
        self._late += early
        self.acknowledged += len(samples) - early
        if len(samples):
            self._portions.append(rounded)
            self._count += len(samples)
        return Done(len(samples) - early, len(events), early)

    # ---- folding

    @property
    def due(self) -> bool:
        """Whether the journal is long enough to be folded."""
        return self._count >= FOLD_SAMPLES or len(self._portions) >= FOLD_COMMITS

    @property
    def owes(self) -> bool:
        """Whether a `fold` found no room and is to be tried again."""
        return self._made is not None

    def fold(self) -> int:
        """Put the journal into blocks; how many samples it held.

        Raises:
            HistoryFull, HistoryError: as `commit`; nothing is lost.
        """
        if self._made is None:
            fold = self.begin_fold()
            self._made = fold, list(fold.blocks())
        self.end_fold(*self._made)
        folded, self._made = len(self._made[0].samples), None
        return folded

    def begin_fold(self) -> Fold:
        """What is to be folded; commits go on in a new generation while somebody makes blocks of it."""
        if self.folding:
            raise HistoryError(f"{self.folder}: it is being folded")
        self.folding = True
        samples = together(self._portions)
        numbers = np.unique(samples.numbers).tolist()
        with self._told():
            old = {number: found for number in numbers if (found := self._old(number)) is not None}
        fold = Fold(self._generation, self._until, samples, dict(self.kept), old, np.array(self._cuts, np.int64))
        self._generation += 1
        self._portions, self._count, self._journal = [], 0, Journal(self._fine())
        return fold

    def _old(self, number: int) -> Old | None:
        """A Signal's last block, where it has room and was made as one is made now."""
        query = "SELECT id, count, head, body FROM blocks WHERE signal=? ORDER BY last_us DESC, id DESC LIMIT 1"
        found = self._file.execute(query, (number,)).fetchone()
        if found is None or found[1] >= SMALL or len(found[2]) != HEAD.itemsize:
            return None
        row, _, head, body = found
        top, kept = np.frombuffer(head, HEAD)[0], self.kept[number]
        if top["rule"] != int(kept.way) or top["step"] != kept.step:
            return None
        with contextlib.suppress(HistoryError):
            return Old(row, decode(head, body), int(top["seen"]))
        return None

    def end_fold(self, fold: Fold, blocks: Iterable[Block], step: Callable[[str], None] = lambda _: None) -> None:
        """Write the blocks in the journal's place, all or nothing."""
        made = list(blocks)
        with self.transaction() as file:
            for statement, values in (*self.names.new, *self._new):
                file.execute(statement, values)
            for block in made:
                if block.replaced is not None:
                    file.execute("DELETE FROM blocks WHERE id=?", (block.replaced,))
                cells = (block.signal, block.first_us, block.last_us, block.count, block.head, block.body)
                file.execute("INSERT INTO blocks VALUES (NULL, ?, ?, ?, ?, ?, ?)", cells)
            step("blocks")
            file.execute("DELETE FROM journal WHERE generation<=?", (fold.generation,))
            step("journal")
            if self._span is not None:
                file.execute("UPDATE spans SET end_us=max(end_us, ?) WHERE begin_us=?", (fold.until_us, self._span))
        self._new, self.folding = [], False
        self.names.new.clear()

    # ---- the rest

    def size(self) -> Size:
        """What it takes on disk."""
        with self._told():
            hot = sum(path.stat().st_size for path in self.folder.glob(FILE + "*"))
            cold = sum(path.stat().st_size for path in (self.folder / COLD).iterdir())
            first, ends = (
                f"SELECT min((SELECT {time} FROM blocks WHERE signal = number ORDER BY last_us, id LIMIT 1)) FROM signals"
                for time in ("first_us", "last_us")
            )
            query = f"SELECT ({first}), ({ends}), (SELECT min(first_us) FROM segments), (SELECT min(utc_ns) / 1000 FROM events)"
            ((first_us, last_us, cold_us, told_us),) = self._file.execute(query).fetchall()
            spans = self._file.execute("SELECT begin_us, end_us FROM spans ORDER BY begin_us").fetchall()
        times = [(begin * 1000, (self._until if begin == self._span else end) * 1000) for begin, end in spans]
        oldest, warm = ([time * 1000 for time in some if time is not None] for some in ((first_us, cold_us), (last_us, told_us)))
        return Size(hot, cold, min(oldest, default=None), min(warm, default=None), tuple(times))

    def shrink(self) -> None:
        """Give room that is free in the file back to the disk."""
        with self._told():
            self._file.execute("PRAGMA incremental_vacuum").fetchall()
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Fold and be done with it."""
        if self._made is not None or not self.folding:
            with contextlib.suppress(HistoryFull):
                self.fold()
        self._file.close()
        os.close(self._lock)


def _event_row(event: Happened) -> tuple[int, str, str, str]:
    fields = json.dumps(dict(event.fields), ensure_ascii=False, separators=(",", ":"))
    return event.utc_ns, plain(event.kind), plain(event.subject), plain(fields)
