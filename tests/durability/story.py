"""What the book goes through in these tests: orders and commands, each written by the product's own code; and how it is judged."""

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.orders import book as book_module
from controller.orders.book import Book, BookError
from controller.orders.generations import newest
from controller.orders.intents import Intent, IntentState
from controller.orders.order import Operation, OperationState, Order
from controller.orders.turn import Orders
from tests.durability.disk import MODES, Disk, Op, Shim, cuts

STATES = list(OperationState)
BOOK = "book.sqlite"
Batch = tuple[list[Order], list[Intent], int]
"""One commit: orders, commands, and the number of the next order."""


@dataclass
class Kept:
    """What somebody was told is safe.

    Attributes:
        orders: the revision of each.
        commands: those of which an intent was acknowledged, and the outcome that was, or "open".
    """

    orders: dict[int, int] = field(default_factory=dict)
    commands: dict[int, str] = field(default_factory=dict)
    next_order: int = 0

    def add(self, batch: Batch) -> None:
        orders, commands, next_order = batch
        self.orders.update((order.id, order.revision) for order in orders)
        self.commands.update((intent.id, str(intent.state)) for intent in commands)
        self.next_order = max(self.next_order, next_order)


def order_at(number: int, revision: int) -> Order:
    """An order as it is in a revision: the whole content follows from the two."""
    chance = random.Random(number << 20 | revision)
    operations = tuple(
        Operation(
            capability=f"step-{place}",
            state=OperationState.DONE if place < revision // 3 else STATES[chance.randrange(6)],
            machine=f"machine-{chance.randrange(9)}",
            job_id=chance.getrandbits(32),
            command_id=chance.getrandbits(32),
            reason="r" * chance.randrange(300),
            duration=chance.random() * 1000,
        )
        for place in range(1 + number % 3)
    )
    return Order(number, "print", f"part-{number}.gcode", operations, "ann", bool(chance.randrange(2)), revision)


def intent_at(number: int, settled: bool) -> Intent:
    """A command, open or with its outcome."""
    made = Intent(number, f"node-{number % 7}", "reset", user="bob", boot_id=3, not_after=7 * number, before=number - 1)
    became = (IntentState.DONE, IntentState.REFUSED, IntentState.UNKNOWN)[number % 3]
    return made.settle(became, "t" * (number % 50)) if settled else made


def batches(seed: int, saves: int) -> Iterator[Batch]:
    """What a keeper would write, commit by commit: new orders, changed orders, intents and outcomes."""
    chance = random.Random(seed)
    revisions: dict[int, int] = {}
    command, owed = 100, []
    for _ in range(saves):
        orders, commands = [], []
        for _ in range(chance.choice((1, 1, 2, 4))):
            if not revisions or (chance.random() < 0.3 and len(revisions) < 18):
                revisions[len(revisions) + 1] = 0
            number = chance.choice(list(revisions))
            revisions[number] += 1
            orders = [order for order in orders if order.id != number] + [order_at(number, revisions[number])]
        if chance.random() < 0.5:
            command += 1
            owed.append(command)
            commands.append(intent_at(command, False))
        if owed and chance.random() < 0.4:
            number = owed.pop(0)
            commands = [intent for intent in commands if intent.id != number] + [intent_at(number, True)]
        yield orders, commands, len(revisions) + 1


def write(book: Book, disk: Disk, seed: int, saves: int) -> None:
    """Play a story; what the book has taken is acknowledged."""
    for batch in batches(seed, saves):
        orders, commands, next_order = batch
        book.save(orders, Orders({}, next_order, 7 * next_order), commands)
        disk.ack(batch)


def judge(folder: Path, kept: Kept) -> str:
    """What is wrong with a book that was found; empty when nothing is. Read by Python's own SQLite."""
    try:
        with Book(folder / BOOK, 1) as book:
            found = book.load()
            book.verify()
    except BookError as broken:
        return f"corrupt: {broken}"
    for number, revision in kept.orders.items():
        if number not in found.open:
            return f"lost: order {number}"
        if found.open[number].revision < revision:
            return f"lost: order {number} is back at revision {found.open[number].revision} of {revision}"
    if any(order != order_at(order.id, order.revision) for order in found.open.values()):
        return "corrupt: an order is not what was ever written"
    if found.next_order < kept.next_order:
        return "lost: the number of the next order"
    return _commands(newest(folder / BOOK), kept)


def _commands(path: Path, kept: Kept) -> str:
    raw = sqlite3.connect(path)
    try:
        found = dict(raw.execute("SELECT id, state FROM commands"))
    finally:
        raw.close()
    for number, state in kept.commands.items():
        if number not in found or (found[number] == "open" and state != "open"):
            return f"lost: command {number}"
        if found[number] not in ("open", str(intent_at(number, True).state)):
            return f"corrupt: command {number} is {found[number]}"
    return ""


@contextlib.contextmanager
def shimmed(disk: Disk, synchronous: str = "FULL") -> Iterator[Shim]:
    """A book's disk in a test's hands, with the renaming and syncing that the book does without SQLite."""
    shim = Shim(disk, synchronous)

    def sync(path: Path, how: int) -> None:
        if path.is_file():
            disk.ask(sync=True)
            disk.ops.append(Op("sync", path.name))

    def move(source: Path, target: Path) -> None:
        disk.ops.append(Op("rename", Path(source).name, what=Path(target).name))
        Path(source).rename(target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_module, "_sync", sync)
        patch.setattr(book_module.os, "replace", move)
        try:
            yield shim
        finally:
            shim.close()


def recorded(folder: Path, seed: int, saves: int, synchronous: str = "FULL") -> list[Op]:
    """All that reaches the disk while a story is played."""
    disk = Disk()
    with shimmed(disk, synchronous) as shim, Book(folder / BOOK, 1, shim.connect) as book:
        book.load()
        write(book, disk, seed, saves)
    return disk.ops


@dataclass
class Tally:
    """Images looked at, and what was wrong with them."""

    images: int = 0
    after_ack: int = 0
    wrong: list[str] = field(default_factory=list)


def replayed(ops: list[Op], folder: Path, seed: int, every: Callable[[int], bool] = lambda number: True) -> Tally:
    """Cut the power after each op, in each way in which its unsynced writes may be left, and look at what is found."""
    tally, kept, seen, chance = Tally(), Kept(), 0, random.Random(seed)
    for number, (replay, acknowledged) in enumerate(cuts(ops)):
        for batch in acknowledged[seen:]:
            kept.add(batch)
        seen = len(acknowledged)
        if not every(number):
            continue
        for mode in MODES if replay.waits else MODES[:1]:
            image = replay.image(mode, chance)
            tally.images += 1
            tally.after_ack += bool(seen)
            if why := judge(_laid_out(image, folder), kept):
                tally.wrong.append(f"op {number}, {mode}: {why}")
    return tally


def _laid_out(image: dict[str, bytes], folder: Path) -> Path:
    """The folder with just these files: what lay there before, and SQLite's shared memory, is gone."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    return folder


def ramdisk() -> Path | None:
    """Where images are laid out fast; None where the system has no such place."""
    place = Path("/dev/shm")
    return place if place.is_dir() else None

