"""Commands and what became of them: on disk before they are sent, looked for in the node's Status, never sent again."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from controller.aside import inline
from controller.nodes.grant import Errand, recalled, verdict
from controller.nodes.owed import looked_up
from controller.orders.book import Book
from controller.orders.intents import FIRST_OF_DEVICES, Intent, IntentState
from controller.orders.keeper import RETRY, Keeper, Reserve
from controller.orders.order import OrderError
from controller.orders.turn import Orders
from tests.controller.factories import shop
from tests.controller.test_grant import LATER, START, status
from tests.controller.virtual import run
from tests.controller.world import World
from twin.clock import LoopClock, Ns
from twin.node import JobState, Op, Result

BEGIN = replace(START, argument=5)
RESET = replace(LATER, op=Op.RESET, command_id=8, before=6)


@pytest.mark.parametrize(
    ("errand", "values", "state"),
    [
        (RESET, {"command_id": 8, "result": Result.DONE}, IntentState.DONE),
        (RESET, {"command_id": 8, "result": Result.REFUSED}, IntentState.REFUSED),
        (RESET, {"command_id": 6, "uptime": 11_000}, IntentState.VOID),
        (RESET, {"command_id": 9, "uptime": 11_000}, IntentState.UNKNOWN),
        (RESET, {"boot_id": 2}, IntentState.UNKNOWN),
        (BEGIN, {"command_id": 9, "uptime": 11_000, "job_id": 5, "job_state": JobState.DONE}, IntentState.DONE),
        (BEGIN, {"command_id": 9, "uptime": 11_000, "job_id": 5, "job_state": JobState.READY}, IntentState.VOID),
        (BEGIN, {"command_id": 9, "uptime": 11_000, "job_id": 4, "job_state": JobState.DONE}, IntentState.VOID),
    ],
)
def test_what_the_book_is_told_of_a_command(errand: Errand, values: dict[str, int], state: IntentState) -> None:
    found = verdict(errand, status(**values))
    assert found is not None and found.state is state


def test_what_is_owed_is_looked_for_until_its_node_tells_and_then_no_more() -> None:
    intent = RESET.intent("n", "ann", 5)
    assert replace(recalled(intent), until=RESET.until) == RESET
    owed = {8: intent}
    assert looked_up(owed, {"n": None}, ()) == looked_up(owed, {"n": status()}, {8}) == (owed, ())
    assert looked_up(owed, {"n": status(command_id=8, result=Result.DONE)}, ()) == ({}, (intent.settle(IntentState.DONE, "done"),))
    _, (gone,) = looked_up(owed, {}, ())
    assert gone.state is IntentState.UNKNOWN and "no such node" in gone.text


def test_a_command_is_not_sent_before_it_is_on_disk_but_a_stop_is() -> None:
    world = World(shop())
    world.run(3)
    noted: set[int] = set()
    from controller import scan as module
    from controller.nodes.grant import attend

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "attend", lambda *asked: attend(*asked[:6], noted))
        number = world.ask("reset", machine="printer-1")
        world.run(4)
        assert world.nodes["printer-1"].executed == [] and number not in world.answers
        noted.update(world.state.owed)
        world.run(3)
        assert [op for op, _ in world.nodes["printer-1"].executed] == [Op.RESET] and world.answers[number].ok
        noted.clear()
        world.ask("stop", machine="printer-1")
        world.run(3)
    assert [op for op, _ in world.nodes["printer-1"].executed] == [Op.RESET, Op.STOP] and world.state.owed == {}


def test_a_belt_moves_only_once_the_decision_is_on_disk() -> None:
    world = World(shop())
    world.run(3)
    world.request("place_order", recipe="print-and-convey", program="p.gcode")
    world.run_until(lambda: world.order(1).current.capability == "convey")
    world.show("belt-1", at_entry=True)
    world.slow_disk = True
    world.run_until(lambda: world.order(1).current.state == "RUNNING")
    world.run(3)
    assert not world.nodes["belt-1"].runs("belt-1")
    world.slow_disk = False
    world.run(3)
    assert world.nodes["belt-1"].runs("belt-1")


def test_a_write_to_a_device_goes_out_once_it_is_on_disk_and_what_a_kill_left_open_is_found(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        with Book(tmp_path / "b", 1) as book:
            orders = book.load()
            keeper = Keeper(book, orders, inline, lambda answer: None, clock)
            task = asyncio.create_task(keeper.run())
            first = await keeper.open("meter-1", "write limit", "5.0", "ann")
            second = await keeper.open("meter-1", "call reset")
            assert [first.id, second.id] == [FIRST_OF_DEVICES, FIRST_OF_DEVICES + 1]
            keeper.settle(first.id, IntentState.DONE)
            await clock.until(Ns(clock.now() + 1))
            task.cancel()
        with Book(tmp_path / "b", 1) as book:
            book.load()
            keeper = Keeper(book, orders, inline, lambda answer: None, clock)
            assert keeper.intents.of("meter-1") == {second.id: second} and keeper.intents.make("m", "w").id == second.id + 1

    run(main)


def test_a_book_that_cannot_be_written_lets_nothing_be_sent_and_is_written_again_once_it_can(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        reserve = Reserve(tmp_path / "reserve", 1 << 16)
        reserve.take()
        with Book(tmp_path / "b", 1) as book, pytest.MonkeyPatch.context() as patch:
            before = book.load()
            keeper = Keeper(book, before, inline, lambda answer: None, clock, reserve)
            task = asyncio.create_task(keeper.run())

            def refuse(*_: object) -> None:
                broken = sqlite3.OperationalError("database or disk is full")
                broken.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise broken

            patch.setattr(Book, "_count", refuse)
            for _ in range(2):
                with pytest.raises(OrderError, match="disk is full"):
                    await keeper.open("meter-1", "write limit", "5.0")
            assert keeper.shut and not (tmp_path / "reserve").exists() and not keeper.intents.owed
            keeper.put(before, Orders({}, 1, 9), (), [Intent(77, "n", "stop")])
            patch.undo()
            await clock.until(Ns(clock.now() + 2 * RETRY))
            assert keeper.shut == "" and 77 in keeper.noted and (tmp_path / "reserve").stat().st_size == 1 << 16
            assert [event.cause == "" for event in keeper.take()[0]] == [False, True]
            task.cancel()

    run(main)
