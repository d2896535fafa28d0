"""The book in its files, and what it cannot hold: files of people are left alone, and one order or command fails alone."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from controller.aside import inline
from controller.modbus.pdu import NoReply, Write
from controller.modbus.pdu import Request as Asked
from controller.nodes.epochs import MOST, EpochError, Epochs
from controller.nodes.grant import FAR, Grant, Standing, stand, strange
from controller.nodes.lines import Lines
from controller.nodes.owed import looked_up
from controller.orders.asked import AskedOfDevices, DeviceRecalled
from controller.orders.book import Book, BookError, NotWritten
from controller.orders.generations import newest
from controller.orders.intents import FIRST_OF_DEVICES, Intent, IntentState
from controller.orders.keeper import Keeper, OrderUnwritable
from controller.orders.order import Operation, OperationState, Order, OrderError
from controller.orders.turn import Answer, Orders, Request
from controller.scan import Outcome
from tests.controller.factories import shop
from tests.controller.test_core import House, in_house
from tests.controller.test_devices import OVEN, factory
from tests.controller.test_grant import status
from tests.controller.virtual import run
from tests.controller.world import World
from twin.clock import LoopClock, Ns, S
from twin.trace import Belief, Quality, Sample

HALF = "\ud800"


def order(number: int, program: str = "cube") -> Order:
    return Order(number, "print", program, (Operation("print", OperationState.WAITING),), revision=1)


def broken(book: Book) -> None:
    """A write that the disk refuses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "_count", lambda counters: book._file.execute("SELECT nothing"))
        with pytest.raises(BookError):
            book.save((), Orders({}, 9, 9))


def test_a_book_is_in_the_files_that_it_named_and_no_copy_of_an_operator_s_is_taken_or_deleted(tmp_path: Path) -> None:
    path = tmp_path / "book.sqlite"
    with Book(path, 1) as book:
        book.load()
        book.save([order(1)], Orders({}, 2, 1))
    theirs = [tmp_path / name for name in ("book.sqlite.20261101", "book.sqlite.1", "book.sqlite.moved-x")]
    for copy in theirs:
        shutil.copyfile(path, copy)
    with Book(path, 1) as book:
        book.load()
        book.save([order(2)], Orders({}, 3, 1))
        broken(book)
        book.mend()
        book.save([order(3)], Orders({}, 4, 1))
        assert newest(path).name == "book.sqlite.moved-1" and not path.exists()
        with Book(path, 1) as other:
            assert set(other.load().open) == {1, 2, 3}
    assert newest(path) == path and all(copy.exists() for copy in theirs)


def test_what_a_book_cannot_hold_is_refused_alone_and_the_sum_over_all_is_as_it_was(tmp_path: Path) -> None:
    with Book(tmp_path / "b", 1) as book:
        book.load()
        book.save([order(1)], Orders({}, 2, 1), [Intent(7, "n", "stop")])
        for orders, commands in (([order(4), order(2, HALF)], []), ([], [Intent(8, "n", "stop", not_after=1 << 70)])):
            with pytest.raises(NotWritten):
                book.save(orders, Orders({}, 3, 1), commands)
        book.save([order(3)], Orders({}, 4, 1))
    with Book(tmp_path / "b", 1) as book:
        assert set(book.load().open) == {1, 3} and [intent.id for intent in book.owed] == [7]


def test_no_number_of_a_command_to_a_device_is_used_twice_however_many_have_come_since(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, Book(tmp_path / "b", 1) as book:
        patch.setattr("controller.orders.book.KEPT_COMMANDS", 3)
        book.load()
        for number in (FIRST_OF_DEVICES + 4, FIRST_OF_DEVICES + 5, *range(20)):
            book.save((), Orders({}, 1, 1), [Intent(number, "n", "stop").settle(IntentState.DONE)])
        ((kept,),) = book._file.execute("SELECT count(*) FROM commands").fetchall()
        assert kept < 8 and book.last_of_devices == FIRST_OF_DEVICES + 5


def test_an_order_or_a_command_that_cannot_be_written_fails_alone_and_the_keeper_goes_on(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        answers: dict[int, Answer] = {}
        with Book(tmp_path / "b", 1) as book:
            before = book.load()
            keeper = Keeper(book, before, inline, lambda answer: answers.update({answer.request: answer}), clock)
            task = asyncio.create_task(keeper.run())
            good, bad = order(1), order(2, HALF)
            placed = [Answer(5, True, "order 1 placed", 1), Answer(6, True, "order 2 placed", 2)]
            keeper.put(before, Orders({1: good, 2: bad}, 3, 1), placed)
            with pytest.raises(OrderError, match="surrogates"):
                await keeper.open("oven-1", "write on", HALF)
            assert answers[5].ok and not answers[6].ok and "surrogates" in answers[6].text
            events, withdrawn = keeper.take()
            assert withdrawn == [2] and {type(event) for event in events} == {OrderUnwritable} and not keeper.shut
            assert keeper.settled == {1: 1} and not keeper.intents.owed
            assert (await keeper.open("oven-1", "write on", "true")).id > FIRST_OF_DEVICES
            task.cancel()

    run(main)


def test_a_command_that_was_given_up_before_it_was_sent_is_void_and_a_clean_end_writes_what_is_left(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        with Book(tmp_path / "b", 1) as book:
            keeper = Keeper(book, book.load(), inline, lambda answer: None, clock)
            task = asyncio.create_task(keeper.run())
            sent = await keeper.open("oven-1", "write on", "true")
            task.cancel()
            asked = asyncio.create_task(keeper.open("oven-1", "write target", "5"))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.gather(asked, task, return_exceptions=True)
            keeper.settle(sent.id, IntentState.DONE)
            await keeper.flush()
            found = book._file.execute("SELECT what, state FROM commands ORDER BY id").fetchall()
            assert found == [("write on", "done"), ("write target", "not carried out")]
            book.load()
            assert book.owed == ()

    run(main)


def test_a_core_that_ends_cleanly_writes_what_its_keeper_has_not_come_to(tmp_path: Path) -> None:
    async def never(keeper: Keeper) -> None:
        await asyncio.Event().wait()

    async def test(house: House) -> None:
        await house.until_told("node:printer-1/link", "ours")
        asked = asyncio.create_task(house.order())
        await house.clock.until(Ns(house.clock.now() + S))
        asked.cancel()
        await house.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "run", never)
        in_house(tmp_path / "state", test)
    with Book(tmp_path / "state" / "book.sqlite", 1) as book:
        assert set(book.load().open) == {1}


# ---- what a kill left open at devices


def sample(doubted: str = "", **values: object) -> Sample[object]:
    made = OVEN.status(**{row.name: values.get(row.name) for row in OVEN.read})
    return Sample(made, Ns(0), 0, doubts={doubted: Belief(Quality.STALE, "old")} if doubted else {})


def test_what_a_kill_left_open_at_a_device_is_read_back_once_and_told(tmp_path: Path) -> None:
    left = [("write target", "27.0"), ("write target", "28.0"), ("write on", "true"), ("call bake", "{}"), ("write speed", "9"),
            ("write gone", "1"), ("write programme", "3")]  # fmt: skip

    async def main(clock: LoopClock) -> None:
        with Book(tmp_path / "b", 1) as book:
            first = FIRST_OF_DEVICES
            book.load()
            made = [Intent(first + i, "oven-1", what, value, "ada") for i, (what, value) in enumerate(left)]
            book.save((), Orders({}, 1, 1), [*made, Intent(first + 7, "oven-9", "write on", "true")])
        with Book(tmp_path / "b", 1) as book:
            keeper = Keeper(book, book.load(), inline, lambda answer: None, clock)
            asked = AskedOfDevices(keeper, factory())
            states = {event.what: event.outcome for event in asked.look({}) if isinstance(event, DeviceRecalled)}
            assert states == dict.fromkeys(("call bake", "write speed", "write gone", "write on"), "unknown")
            assert asked.look({"oven-1": sample("target", target=27.0, on=None, programme=None)}) == []
            task = asyncio.create_task(keeper.run())
            again = {"machine": "oven-1", "signal": "programme", "value": 4}
            await asked.before(Request(1, "write", again, "bob"))
            told = asked.look({"oven-1": sample(target=27.0002, on=True)})
            assert [(e.value, str(e.outcome)) for e in told if isinstance(e, DeviceRecalled)] == [
                ("3", "unknown"), ("27.0", "done"), ("28.0", "mismatch"), ("true", "done")
            ]  # fmt: skip
            assert [e.text for e in told if isinstance(e, DeviceRecalled)][2].endswith("got 27.0002 °C")
            assert asked.look({"oven-1": sample(target=5.0, on=True)}) == []
            task.cancel()
            await keeper.flush()
            book.load()
            assert [(intent.what, intent.value) for intent in book.owed] == [("write programme", "4")], "this run's own"

    run(main)


# ---- what a node tells


def test_a_node_whose_epoch_nobody_has_given_out_is_refused_and_takes_no_other_with_it(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path / "epoch")
    with pytest.raises(EpochError, match=f"beyond {MOST}"):
        epochs.next(MOST)
    assert epochs.next(4) == 5 and Epochs(tmp_path / "epoch").highest == 5
    heard = Sample(status(epoch=MOST, leased=False), Ns(0), 0)
    assert stand(Grant(), heard, "", 1, Ns(0)).standing is Standing.REFUSED
    assert stand(Grant(), heard, "", 1, Ns(0), known=MOST).standing is Standing.FREE
    assert strange(status(epoch=MOST, leased=False), 5, 1, 5) == "" != strange(status(epoch=FAR, leased=False), 5, 1, 5)
    world = World(shop())
    world.nodes["printer-1"].set(epoch=MOST)
    world.run(4)
    assert [world.state.stands[name].standing for name in ("printer-1", "belt-1")] == [Standing.REFUSED, Standing.OURS]


class Wire:
    """A link that says nothing and remembers what was written."""

    name, up, cause = "wire", True, ""

    def __init__(self) -> None:
        self.written: list[bool] = []

    async def run(self) -> None:
        """Nothing to keep up."""

    async def ask(self, requests: Sequence[Asked], deadline: Ns, urgent: bool = True) -> list[NoReply]:
        self.written.append(any(isinstance(one, Write) for one in requests))
        return [NoReply("nobody")] * len(requests)


def test_a_grant_that_has_no_registers_is_its_own_node_s_matter(capsys: pytest.CaptureFixture[str]) -> None:
    wires = {"printer-1": Wire(), "belt-1": Wire()}

    async def main(clock: LoopClock) -> None:
        links: dict[str, Any] = {**wires}
        lines = Lines(shop(), links, clock, lambda *_: None)
        grants = {"printer-1": Grant(MOST + 1).command(1), "belt-1": Grant(5).command(1)}
        async with asyncio.TaskGroup() as tasks:
            lines.ask(tasks, Outcome(grants, {}, {}, (), (), ()), clock.now(), lambda node: False)

    run(main)
    assert (wires["printer-1"].written, wires["belt-1"].written) == ([False], [True])
    assert "node printer-1 is only read" in capsys.readouterr().err


def test_a_command_that_this_version_does_not_know_is_settled_and_ends_no_scan() -> None:
    intent = Intent(7, "n", "polish")
    owed, (told,) = looked_up({7: intent}, {"n": None}, ())
    assert owed == {} and told.state is IntentState.UNKNOWN and "no command 'polish'" in told.text
