"""The order book and its keeper; what kills, power cuts and failing disks do to it is tested in `tests/durability`."""

import asyncio
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.aside import Thread, inline
from controller.orders.book import RESERVED, Book, BookError
from controller.orders.keeper import Keeper
from controller.orders.order import Operation, OperationState, Order
from controller.orders.turn import KEPT, Answer, Orders
from tests.controller.virtual import run
from twin.clock import LoopClock, Ns

WORD = st.integers(0, 2**32 - 1)
PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
NAME = st.text(PRINTABLE, max_size=20)

ARGUMENTS = st.lists(st.tuples(NAME, st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | NAME), max_size=3).map(tuple)

operations = st.builds(
    Operation,
    capability=NAME,
    on=NAME,
    arguments=ARGUMENTS,
    source=NAME,
    target=NAME,
    state=st.sampled_from(OperationState),
    machine=NAME,
    by_hand=st.booleans(),
    told=st.booleans(),
    begun=st.booleans(),
    cleared=st.booleans(),
    job_id=WORD,
    command_id=WORD,
    boot_id=WORD,
    not_after=WORD,
    chunks=WORD,
    duration=st.floats(0, 1e6),
    waiting=st.floats(0, 1e6),
    reason=NAME,
)


def order(number: int, *states: OperationState, revision: int = 1) -> Order:
    return Order(number, "print", "cube", tuple(Operation("print", state) for state in states), revision=revision)


@settings(max_examples=40)
@given(st.lists(operations, min_size=1, max_size=3), NAME, st.booleans(), WORD, WORD)
def test_an_order_comes_back_as_it_was_written(found: list[Operation], name: str, go: bool, revision: int, next_id: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = Order(1, name, name, tuple(found), name, go, revision)
        with Book(Path(folder) / "b", 5) as book:
            book.load()
            book.save([wanted], Orders({1: wanted}, 2, next_id))
        with Book(Path(folder) / "b") as book:
            loaded = book.load()
    assert loaded.open == {1: wanted} and loaded.next_order == 2
    assert loaded.next_id == ((next_id + RESERVED) & 0xFFFFFFFF or 1)


def test_ids_begin_after_all_that_an_earlier_run_may_have_used(tmp_path: Path) -> None:
    firsts = []
    for _ in range(3):
        with Book(tmp_path / "b", 100) as book:
            firsts.append(book.load().next_id)
    assert firsts == [100, 100 + RESERVED, 100 + 2 * RESERVED]


def test_orders_that_have_ended_are_kept_on_disk_and_only_the_newest_are_loaded(tmp_path: Path) -> None:
    count = KEPT + 10
    with Book(tmp_path / "b", 1) as book:
        book.load()
        done = [order(i, OperationState.DONE) for i in range(1, count)]
        held = order(count, OperationState.HELD)
        book.save([replace(done[0], operations=(Operation("print", OperationState.RUNNING),))], Orders({}, count + 1, 1))
        book.save(done[1:], Orders({}, count + 1, 1))
        book.save([held], Orders({}, count + 1, 1))
        loaded = book.load()
        assert 1 in loaded.open and count in loaded.open and len(loaded.open) == KEPT + 1
    with sqlite3.connect(tmp_path / "b") as raw:
        assert raw.execute("SELECT count(*) FROM orders").fetchone() == (count,)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_arm_that_may_still_stand_inside_is_remembered_however_many_orders_have_come_since(tmp_path: Path) -> None:
    broke_off = Operation("pick", OperationState.CANCELLED, machine="arm", source="oven", begun=True, cleared=True)
    inside, out = (replace(order(n, OperationState.DONE), operations=(o,)) for n, o in
                   ((1, broke_off), (2, replace(broke_off, withdrawn=True))))  # fmt: skip
    with Book(tmp_path / "b", 1) as book:
        book.load()
        book.save([inside, out], Orders({}, KEPT + 10, 1))
        assert set(book.load().open) == {1}


def test_the_file_is_only_the_users(tmp_path: Path) -> None:
    with Book(tmp_path / "b", 1):
        assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


def test_a_book_of_another_version_or_no_book_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "newer") as raw:
        raw.execute("PRAGMA user_version=99")
    with pytest.raises(BookError, match="version 99"):
        Book(tmp_path / "newer")
    (tmp_path / "noise").write_bytes(b"x" * 5000)
    with pytest.raises(BookError, match="not a database"):
        Book(tmp_path / "noise")


def test_an_answer_goes_out_only_after_its_order_is_written(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        told: list[str] = []

        class Slow(Book):
            def save(self, *what: object) -> None:
                told.append("write")
                super().save(*what)  # type: ignore[arg-type]
                told.append("written")

        with Slow(tmp_path / "b", 1) as book:
            before = book.load()
            told.clear()
            keeper = Keeper(book, before, inline, lambda answer: told.append(answer.text))
            task = asyncio.create_task(keeper.run())
            new = order(1, OperationState.WAITING)
            keeper.put(before, Orders({1: new}, 2, 1), [Answer(1, True, "placed")])
            assert told == [] and keeper.settled == {}
            await clock.until(Ns(clock.now() + 1))
            assert told == ["write", "written", "placed"] and keeper.settled == {1: 1}
            keeper.put(Orders({1: new}, 2, 1), Orders({1: new}, 2, 1), [Answer(2, False, "no")])
            await clock.until(Ns(clock.now() + 1))
            assert told[-1] == "no" and told.count("write") == 1
            task.cancel()

    run(main)


def test_what_changes_while_the_disk_is_busy_is_written_together(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        writes: list[int] = []
        go = asyncio.Event()

        async def slow(work: object) -> object:
            await go.wait()
            writes.append(1)
            return work()  # type: ignore[operator]

        with Book(tmp_path / "b", 1) as book:
            before = orders = book.load()
            keeper = Keeper(book, before, slow, lambda answer: None)  # type: ignore[arg-type]
            task = asyncio.create_task(keeper.run())
            for number in range(1, 30):
                after = Orders({**orders.open, number: order(number, OperationState.WAITING)}, number + 1, 1)
                keeper.put(orders, after, ())
                orders = after
                await asyncio.sleep(0)
            go.set()
            await clock.until(Ns(clock.now() + 1))
            assert len(writes) <= 2 and len(keeper.settled) == 29
            task.cancel()

    run(main)


def test_work_in_a_thread_gives_back_what_it_returns_or_raises() -> None:
    async def main() -> None:
        thread = Thread("test")
        assert await thread(lambda: 42) == 42
        with pytest.raises(BookError):
            await thread(lambda: Book(Path("/nowhere/at/all")))
        thread.close()

    asyncio.run(main())


OLD_RECORD = (
    '{"capability":"print","state":"READY","machine":"printer-1","by_hand":false,"told":false,"begun":false,"cleared":false,'
    '"job_id":7,"command_id":8,"boot_id":9,"not_after":10,"chunks":11,"duration":12.5,"waiting":1.5,"reason":"because"}'
)


OLD_TABLES = """
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
INSERT INTO counters VALUES ('next_id', 4000), ('next_order', 2);
INSERT INTO orders VALUES (1, 'print', 'cube', 'ann', 1, 5, 'RUNNING', 0);
PRAGMA user_version=1;
"""


def test_an_order_of_an_earlier_version_is_found_again(tmp_path: Path) -> None:
    """Its rows had no checksums, its operations neither arguments nor machines between which an arm carries."""
    with sqlite3.connect(tmp_path / "b") as raw:
        raw.executescript(OLD_TABLES)
        raw.execute("INSERT INTO operations VALUES (1, 0, 'READY', 'printer-1', 7, 8, ?)", (OLD_RECORD,))
    for _ in range(2):
        with Book(tmp_path / "b") as book:
            orders = book.load()
            book.verify()
    (found,) = orders.open[1].operations
    assert (orders.open[1].user, orders.open[1].revision, orders.next_order, orders.next_id) == ("ann", 5, 2, 4000 + RESERVED)
    assert found.state is OperationState.READY and (found.machine, found.job_id, found.duration) == ("printer-1", 7, 12.5)
    assert (found.on, found.arguments, found.source, found.target) == ("", (), "", "")
