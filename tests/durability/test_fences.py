"""Copies of a state directory: two controllers on them at once, and an old one that is put back."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from controller.archive import export, load
from controller.folder import owner_of
from controller.nodes.epochs import Epochs
from controller.nodes.grant import same_house
from controller.orders.order import OperationState
from tests.controller.factories import shop
from tests.durability.world import Durable
from twin.node import JobState, Op

PRINTER = "printer-1"


def begun(folder: Path) -> Durable:
    """A controller whose printer runs a Job."""
    folder.mkdir()
    world = Durable(folder, shop())
    world.steps(4)
    world.ask("place_order", recipe="print-and-convey", program="part.gcode")
    while world.nodes[PRINTER].status["job_state"] != JobState.RUNNING:
        world.steps(1)
    return world


def copied(world: Durable, folder: Path, issued: int, imported: bool = False) -> Durable:
    """Another controller on a copy of what is on disk, or on what was exported and imported, with the same nodes."""
    if imported:
        (world.folder / "epoch").write_text("99\n")
        export(world.folder, folder.with_name("out"), False, 0)
        load(folder.with_name("out"), folder)
        issued = Epochs(folder / "epoch").highest
    else:
        shutil.copytree(world.folder, folder)
    other = Durable(folder, world.factory)
    other.nodes, other.now, other.runs, other.issued = world.nodes, world.now, world.runs + 1, issued
    other.restart()
    return other


def test_of_two_controllers_on_copies_of_one_directory_each_node_obeys_one_and_nothing_is_started_twice(place: Path) -> None:
    one = begun(place / "one")
    other = copied(one, place / "other", one.issued)
    for turn in range(120):
        one.wires[PRINTER].deaf = one.wires[PRINTER].mute = 10 <= turn < 40
        other.now = one.now
        one.step()
        other.step()
    executed = Counter(command for op, command in one.nodes[PRINTER].executed if op is Op.START)
    assert list(executed.values()) == [1]
    assert one.nodes[PRINTER].status["owner"] == other.state.owner != one.state.owner
    found = one.state.orders.open[1].operations[0]
    assert found.state is OperationState.HELD and str(one.state.stands[PRINTER]).startswith("read-only")


@pytest.mark.parametrize("imported", [False, True])
def test_what_an_old_copy_of_the_book_has_not_started_waits_for_an_operator(place: Path, imported: bool) -> None:
    world = begun(place / "now")
    world.restart()
    world.nodes[PRINTER].tick(world.now)
    old = place / "old"
    old.mkdir()
    before = Durable(old, world.factory)
    before.steps(4)
    before.ask("place_order", recipe="print-and-convey", program="part.gcode")
    before.steps(1)
    world.steps(20)
    back = copied(before, place / "back", 1, imported)
    back.nodes, back.now = world.nodes, world.now
    ran = list(world.nodes[PRINTER].executed)
    back.steps(100)
    found = back.state.orders.open[1].operations[0]
    assert world.nodes[PRINTER].executed == ran and found.by_hand and not found.told
    assert back.state.owner != world.state.owner and back.state.orders.next_id not in range(1, 100_000), "ids begin elsewhere"
    back.request("reset", machine=PRINTER)
    while back.state.orders.open[1].operations[0].state is not OperationState.READY:
        back.step()
    back.request("start", machine=PRINTER)
    back.steps(10)
    assert [op for op, _ in world.nodes[PRINTER].executed].count(Op.START) == [op for op, _ in ran].count(Op.START) + 1


def test_an_owner_is_of_its_directory_and_of_its_run_alone(tmp_path: Path) -> None:
    owners = [owner_of(tmp_path, None) for _ in range(8)]
    assert all(same_house(owner, owners[0]) for owner in owners) and len(set(owners)) > 5
    assert owner_of(tmp_path, 5, 3) == owner_of(tmp_path, 5, 3) != owner_of(tmp_path, 5, 4)
    assert owner_of(tmp_path, 5, 3) & 0xFFFF
