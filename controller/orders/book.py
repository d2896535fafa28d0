"""The order book: what was promised, on disk before anything is sent. SQLite, write-ahead log, synchronous=FULL."""

import json
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controller.orders.order import Operation, OperationState, Order
from controller.orders.turn import KEPT, Orders
from twin.clock import Ns

SCHEMA = 1
RESERVED = 1000
"""Ids that a run may use beyond the last one written down: the next run begins after them, so none is used twice."""

_TABLES = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, recipe TEXT NOT NULL, program TEXT NOT NULL, user TEXT NOT NULL, go INTEGER NOT NULL,
    revision INTEGER NOT NULL, state TEXT NOT NULL, settled INTEGER NOT NULL
) STRICT;
CREATE TABLE operations (
    order_id INTEGER NOT NULL REFERENCES orders, place INTEGER NOT NULL, state TEXT NOT NULL, machine TEXT NOT NULL,
    job_id INTEGER NOT NULL, command_id INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (order_id, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX unsettled ON orders (id) WHERE settled = 0;
"""
_FIELDS = tuple(field.name for field in fields(Operation) if field.name != "since")


class BookError(Exception):
    """The book can't be read or written. Nothing more may be promised; a write is never tried a second time."""


class Book:
    """The order book in one file. One thread at a time."""

    def __init__(self, path: Path, first_id: int | None = None) -> None:
        """Open or make it.

        Args:
            first_id: where the ids of Jobs and commands begin in a new book; by chance unless told.

        Raises:
            BookError: it can't be opened, or another version of the software has made it.
        """
        self._path = path
        try:
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            self._prepare(secrets.randbits(32) if first_id is None else first_id)
        except (sqlite3.Error, OSError) as broken:
            raise BookError(f"{path}: {broken}") from broken

    def _prepare(self, first_id: int) -> None:
        run = self._file.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA foreign_keys=ON")
        (version,) = run("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            raise BookError(f"{self._path}: made as version {version}, this software reads version {SCHEMA}")
        if version == 0:
            first = f"INSERT INTO counters VALUES ('next_id', {first_id & 0xFFFFFFFF or 1}), ('next_order', 1);"
            self._file.executescript(f"BEGIN IMMEDIATE; {_TABLES} {first} PRAGMA user_version={SCHEMA}; COMMIT;")

    def _count(self, name: str, value: int) -> None:
        self._file.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, value))

    def load(self) -> Orders:
        """The orders that still matter; ids begin after all that an earlier run may have used.

        Raises:
            BookError: the file can't be read.
        """
        try:
            return self._load()
        except (sqlite3.Error, ValueError, TypeError) as broken:
            raise BookError(f"{self._path}: {broken}") from broken

    def _load(self) -> Orders:
        counters = dict(self._file.execute("SELECT name, value FROM counters"))
        found = {}
        rows = self._file.execute(
            "SELECT id, recipe, program, user, go, revision FROM orders WHERE settled = 0 OR id > ? ORDER BY id",
            (counters["next_order"] - 1 - KEPT,),
        )
        for number, recipe, program, user, go, revision in rows.fetchall():
            records = self._file.execute("SELECT record FROM operations WHERE order_id=? ORDER BY place", (number,))
            operations = tuple(_operation(json.loads(text)) for (text,) in records)
            found[number] = Order(number, recipe, program, operations, user, bool(go), revision)
        orders = Orders(found, counters["next_order"], counters["next_id"])
        self.save((), orders)
        return orders

    def save(self, changed: Iterable[Order], counters: Orders) -> None:
        """Write orders down; on return they are safe from a power cut.

        Raises:
            BookError: they are not, and it is unknown whether they will be found again.
        """
        try:
            self._file.execute("BEGIN IMMEDIATE")
            for order in changed:
                self._save(order)
            self._count("next_id", (counters.next_id + RESERVED) & 0xFFFFFFFF or 1)
            self._count("next_order", counters.next_order)
            self._file.execute("COMMIT")
        except sqlite3.Error as broken:
            raise BookError(f"{self._path}: {broken}") from broken

    def _save(self, order: Order) -> None:
        self._file.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "go=excluded.go, revision=excluded.revision, state=excluded.state, settled=excluded.settled",
            (order.id, order.recipe, order.program, order.user, order.go, order.revision, order.state, order.settled),
        )
        for place, operation in enumerate(order.operations):
            record = json.dumps({name: getattr(operation, name) for name in _FIELDS}, separators=(",", ":"))
            self._file.execute(
                "INSERT OR REPLACE INTO operations VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    order.id,
                    place,
                    operation.state,
                    operation.machine,
                    operation.job_id,
                    operation.command_id,
                    record,
                ),
            )

    def close(self) -> None:
        """Done with it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _operation(record: dict[str, Any]) -> Operation:
    """An operation as it was written; what an earlier version did not know of has its default."""
    made = Operation(**{name: record[name] for name in _FIELDS if name in record}, since=Ns(0))
    arguments = tuple((name, value) for name, value in made.arguments)
    return replace(made, state=OperationState(made.state), arguments=arguments)
