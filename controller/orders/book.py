"""The order book: what was promised, on disk before anything is sent. SQLite, write-ahead log, synchronous=FULL."""

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from controller.orders.generations import forget_older, moves, newest
from controller.orders.intents import FIRST_OF_DEVICES, Intent, IntentState
from controller.orders.order import Operation, OperationState, Order
from controller.orders.seal import Seal, check
from controller.orders.turn import KEPT, Orders
from twin.clock import Ns

SCHEMA = 2
RESERVED = 1000
"""Ids that a run may use beyond the last one written down: the next run begins after them, so none is used twice."""
KEPT_COMMANDS = 10_000
"""Commands whose outcome is known are kept so many; older ones go."""

_TABLES = (
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, recipe TEXT NOT NULL, program TEXT NOT NULL, user TEXT NOT NULL,"
    " go INTEGER NOT NULL, revision INTEGER NOT NULL, state TEXT NOT NULL, settled INTEGER NOT NULL, operations INTEGER NOT NULL,"
    " seal INTEGER NOT NULL) STRICT",
    "CREATE TABLE operations (order_id INTEGER NOT NULL REFERENCES orders, place INTEGER NOT NULL, state TEXT NOT NULL,"
    " machine TEXT NOT NULL, job_id INTEGER NOT NULL, command_id INTEGER NOT NULL, record TEXT NOT NULL, seal INTEGER NOT NULL,"
    " PRIMARY KEY (order_id, place)) STRICT, WITHOUT ROWID",
    "CREATE TABLE commands (id INTEGER PRIMARY KEY, place TEXT NOT NULL, what TEXT NOT NULL, value TEXT NOT NULL,"
    " user TEXT NOT NULL, boot_id INTEGER NOT NULL, not_after INTEGER NOT NULL, before INTEGER NOT NULL, utc_ns INTEGER NOT NULL,"
    " state TEXT NOT NULL, text TEXT NOT NULL, written INTEGER NOT NULL, seal INTEGER NOT NULL) STRICT",
    "CREATE INDEX unsettled ON orders (id) WHERE settled = 0",
    "CREATE INDEX owed ON commands (id) WHERE state = 'open'",
    "CREATE INDEX oldest ON commands (written)",
)
_FIELDS = tuple(field.name for field in fields(Operation) if field.name != "since")
_ORDER = "SELECT id, recipe, program, user, go, revision, state, settled, operations, seal FROM orders "
_OPERATIONS = "SELECT * FROM operations WHERE order_id=? ORDER BY place"


class Connection(Protocol):
    """What the book needs of a database; `sqlite3` has it."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Any: ...

    def close(self) -> None: ...


Connect = Callable[[Path], Connection]


def on_disk(path: Path) -> Connection:
    """A connection of Python's own SQLite."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


class BookError(Exception):
    """The book can't be read or written. Nothing more may be promised; a write is never tried a second time.

    Attributes:
        full: the disk has no room left, and that is all.
    """

    def __init__(self, text: str, full: bool = False) -> None:
        super().__init__(text)
        self.full = full


class NotWritten(Exception):
    """What was to be written can't be: the book is as it was before, and goes on."""


class Book:
    """The order book in one file. One thread at a time."""

    def __init__(self, path: Path, first_id: int | None = None, connect: Connect = on_disk) -> None:
        """Open or make it.

        Args:
            first_id: where the ids of Jobs and commands begin in a new book; by chance unless told.
            connect: how its file is reached.

        Raises:
            BookError: it can't be opened, or another version of the software has made it.
        """
        self._path = newest(path)
        self._base, self._connect = path, connect
        self._seal = Seal()
        self._written = 0
        self._broken: BookError | None = None
        self.owed: tuple[Intent, ...] = ()
        try:
            self._file = connect(self._path)
        except (sqlite3.Error, OSError) as broken:
            raise _error(self._path, broken) from broken
        try:
            self._path.chmod(0o600)
            self._prepare(secrets.randbits(32) if first_id is None else first_id)
        except (sqlite3.Error, ValueError, OSError, BookError) as broken:
            self._let_go()
            if isinstance(broken, BookError):
                raise
            raise _error(self._path, broken) from broken

    def _prepare(self, first_id: int) -> None:
        run = self._file.execute
        run("PRAGMA journal_mode=WAL").fetchall()
        run("PRAGMA synchronous=FULL").fetchall()
        run("PRAGMA foreign_keys=ON").fetchall()
        ((version,),) = run("PRAGMA user_version").fetchall()
        if version not in (0, 1, SCHEMA):
            raise BookError(f"{self._path}: made as version {version}, this software reads version {SCHEMA}")
        if version == SCHEMA:
            return
        run("BEGIN IMMEDIATE")
        if version == 0:
            for statement in _TABLES:
                run(statement)
            counters = {"next_id": first_id & 0xFFFFFFFF or 1, "next_order": 1, "written": 0}
        else:
            counters = self._renewed()
        self._count(counters)
        run(f"PRAGMA user_version={SCHEMA}")
        run("COMMIT")

    def _renewed(self) -> dict[str, int]:
        """The counters of a book without checksums, which it gets; in the transaction that runs."""
        run = self._file.execute
        counters = dict(run("SELECT name, value FROM counters").fetchall())
        orders = run("SELECT id, recipe, program, user, go, revision FROM orders").fetchall()
        records: dict[int, list[Operation]] = {}
        for number, text in run("SELECT order_id, record FROM operations ORDER BY order_id, place").fetchall():
            records.setdefault(number, []).append(_operation(json.loads(text)))
        for statement in ("DROP TABLE operations", "DROP TABLE orders", "DROP TABLE counters", *_TABLES):
            run(statement)
        for number, recipe, program, user, go, revision in orders:
            self._save(Order(number, recipe, program, tuple(records[number]), user, bool(go), revision))
        return {**counters, "written": 0}

    def _count(self, counters: dict[str, int]) -> None:
        rows = (*counters.items(), ("seal", self._seal.over(counters.items())))
        for row in rows:
            self._file.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", row)

    # ---- reading

    def load(self) -> Orders:
        """The orders that still matter; ids begin after all that an earlier run may have used. `owed` has the open commands.

        Raises:
            BookError: the file can't be read, or what it holds is not what was written.
        """
        try:
            orders = self._load()
        except (sqlite3.Error, ValueError, TypeError, KeyError) as broken:
            raise _error(self._path, broken) from broken
        self.save((), orders)
        return orders

    def _load(self) -> Orders:
        run = self._file.execute
        counters = dict(run("SELECT name, value FROM counters").fetchall())
        last = counters["next_order"] - 1 - KEPT
        self._seal, found = Seal(), {}
        for row in run(_ORDER + "WHERE settled = 0 OR id > ? ORDER BY id", (last,)).fetchall():
            order = self._read(row)
            found[order.id] = order
        commands = run("SELECT * FROM commands WHERE state = 'open' ORDER BY written, id").fetchall()
        owed = [self._read_command(row) for row in commands]
        if counters.pop("seal", None) != self._seal.over(counters.items()):
            raise BookError(f"{self._path}: rows are missing, or are not those that were written last: {_RESTORE}")
        self._written, self.owed = counters["written"], tuple(owed)
        return Orders(found, counters["next_order"], counters["next_id"])

    def _read(self, row: tuple[Any, ...]) -> Order:
        """An order from its row, with its operations, each checked and entered into the seal."""
        number, recipe, program, user, go, revision, _, settled, count, _ = row
        rows = self._file.execute(_OPERATIONS, (number,)).fetchall()
        for table, one in (("orders", row), *(("operations", one) for one in rows)):
            if check(table, one[:-1]) != one[-1]:
                raise BookError(f"{self._path}: order {number}: its {table} are not what was written: {_RESTORE}")
        if len(rows) != count:
            raise BookError(f"{self._path}: order {number}: {len(rows)} operations of {count}: {_RESTORE}")
        self._seal.put("orders", number, () if settled else (row[-1], *(one[-1] for one in rows)))
        return Order(number, recipe, program, tuple(_operation(json.loads(one[6])) for one in rows), user, bool(go), revision)

    def _read_command(self, row: tuple[Any, ...]) -> Intent:
        if check("commands", row[:-1]) != row[-1]:
            raise BookError(f"{self._path}: command {row[0]} is not what was written: {_RESTORE}")
        self._seal.put("commands", row[0], (row[-1],) if row[9] == IntentState.OPEN else ())
        number, place, what, value, user, boot_id, not_after, before, utc_ns, state, text, *_ = row
        return Intent(number, place, what, value, user, boot_id, not_after, before, utc_ns, IntentState(state), text)

    @property
    def last_of_devices(self) -> int:
        """The highest number that a command to a device of others has had.

        Raises:
            BookError: the file can't be read.
        """
        try:
            ((highest,),) = self._file.execute("SELECT max(id) FROM commands").fetchall()
        except sqlite3.Error as broken:
            raise _error(self._path, broken) from broken
        return max(highest or 0, FIRST_OF_DEVICES - 1)

    def verify(self) -> None:
        """That all of it is as it was written: SQLite's own structures, every row, and that no row is missing.

        Raises:
            BookError: it is not, and where.
        """
        try:
            ((said,), *_) = self._file.execute("PRAGMA integrity_check(1)").fetchall()
            if said != "ok":
                raise BookError(f"{self._path}: {said}: {_RESTORE}")
            kept, written = self.owed, self._written
            self._load()
            for row in self._file.execute(_ORDER).fetchall():
                self._read(row)
            for row in self._file.execute("SELECT * FROM commands").fetchall():
                self._read_command(row)
        except (sqlite3.Error, ValueError, TypeError, KeyError) as broken:
            raise _error(self._path, broken) from broken
        self.owed, self._written = kept, max(written, self._written)

    # ---- writing

    def save(self, changed: Iterable[Order], counters: Orders, commands: Iterable[Intent] = ()) -> None:
        """Write orders and commands down; on return they are safe from a power cut.

        Raises:
            NotWritten: one of them is nothing that SQLite takes (half a character, a number beyond 64 bits); none was written.
            BookError: they are not, and it is unknown whether they will be found again. From then on every call fails, until
                the book was mended.
        """
        if self._broken is not None:
            raise BookError(str(self._broken), self._broken.full)
        try:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                for order in changed:
                    self._save(order)
                self._written += 1
                for intent in commands:
                    self._save_command(intent)
            except (UnicodeEncodeError, OverflowError, TypeError) as unfit:
                self._undo()
                raise NotWritten(str(unfit)) from unfit
            next_id = (counters.next_id + RESERVED) & 0xFFFFFFFF or 1
            self._count({"next_id": next_id, "next_order": counters.next_order, "written": self._written})
            self._file.execute("COMMIT")
        except (sqlite3.Error, UnicodeDecodeError, BookError) as broken:
            self._broken = broken if isinstance(broken, BookError) else _error(self._path, broken)
            raise self._broken from broken

    def _undo(self) -> None:
        """Back to what is on disk, the sum over it too."""
        self._file.execute("ROLLBACK")
        owed = self.owed
        self._load()
        self.owed = owed

    def _save(self, order: Order) -> None:
        go, settled, count = int(order.go), int(order.settled), len(order.operations)
        row = (order.id, order.recipe, order.program, order.user, go, order.revision, str(order.state), settled, count)
        seals = [check("orders", row)]
        self._file.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "go=excluded.go, revision=excluded.revision, state=excluded.state, settled=excluded.settled, seal=excluded.seal",
            (*row, seals[0]),
        )
        for place, operation in enumerate(order.operations):
            record = json.dumps({name: getattr(operation, name) for name in _FIELDS}, separators=(",", ":"))
            state, machine = str(operation.state), operation.machine
            one = (order.id, place, state, machine, operation.job_id, operation.command_id, record)
            seals.append(check("operations", one))
            self._file.execute("INSERT OR REPLACE INTO operations VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*one, seals[-1]))
        self._seal.put("orders", order.id, () if order.settled else seals)

    def _save_command(self, intent: Intent) -> None:
        state = str(intent.state)
        row = (*astuple(intent)[:9], state, intent.text, self._written)
        sealed = check("commands", row)
        marks = ", ".join("?" * (len(row) + 1))
        self._file.execute(f"INSERT OR REPLACE INTO commands VALUES ({marks})", (*row, sealed))
        self._seal.put("commands", intent.id, (sealed,) if intent.owed else ())
        self._file.execute(
            "DELETE FROM commands WHERE id IN (SELECT id FROM commands WHERE written < ? AND state <> 'open' LIMIT 2)"
            " AND id < (SELECT max(id) FROM commands)",  # no number is used twice
            (self._written - KEPT_COMMANDS,),
        )

    # ---- after the disk has failed

    def mend(self) -> None:
        """After a failed write: the file opened anew and verified, so that it may be written again.

        Where the disk did anything but run full, the kernel may show pages that it has failed to write and takes for clean:
        whoever goes on writing behind them builds on sand (that is why an fsync is never tried again). So all of it is copied
        into a fresh file, which is synced, takes the old one's place, and is the book from then on.

        Raises:
            BookError: not yet; the book stays as it is, and closed.
        """
        failed = self._broken
        self._let_go()
        try:
            self._file = self._connect(self._path)
            if failed is not None and not failed.full:
                self._move()
            self._file.execute("PRAGMA synchronous=FULL").fetchall()
            self._file.execute("PRAGMA foreign_keys=ON").fetchall()
        except (sqlite3.Error, UnicodeDecodeError, OSError) as broken:
            self._let_go()
            raise _error(self._path, broken) from broken
        self.verify()
        self._broken = None
        forget_older(self._base, self._path)

    def _move(self) -> None:
        """Into a fresh file with all that this one has; this one is closed last, for closing writes as well."""
        made = self._base.with_name(f"{self._base.name}.moved-{moves(self._base, self._path) + 1}")
        fresh = made.with_name(made.name + ".new")
        fresh.unlink(missing_ok=True)
        self._file.execute("VACUUM INTO ?", (str(fresh),)).fetchall()
        fresh.chmod(0o600)
        _sync(fresh, os.O_RDWR)
        os.replace(fresh, made)
        _sync(made.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._path = made
        self._let_go()
        self._file = self._connect(made)
        self._file.execute("PRAGMA journal_mode=WAL").fetchall()

    def _let_go(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # what was acknowledged is on disk already
            self._file.close()

    def close(self) -> None:
        """Done with it. A book that has moved takes its own name again, once nothing else goes by it."""
        self._let_go()
        alone = not any(self._base.with_name(self._base.name + end).exists() for end in ("", "-wal"))
        if self._path != self._base and alone and not self._path.with_name(self._path.name + "-wal").exists():
            os.replace(self._path, self._base)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        self.close()


_RESTORE = "put a copy of the book in its place and delete the file `epoch` beside it, or move the book away to begin with none"


def _error(path: Path, broken: Exception) -> BookError:
    full = getattr(broken, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return BookError(f"{path}: {broken}", full)


def _operation(record: dict[str, Any]) -> Operation:
    """An operation as it was written; what an earlier version did not know of has its default."""
    made = Operation(**{name: record[name] for name in _FIELDS if name in record}, since=Ns(0))
    arguments = tuple((name, value) for name, value in made.arguments)
    return replace(made, state=OperationState(made.state), arguments=arguments)


def _sync(path: Path, how: int) -> None:
    handle = os.open(path, how)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
