"""A part is carried as large as the program says that it was printed from, and by no other text of the same name."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from controller.orders.book import Book
from controller.orders.job import make
from controller.orders.order import OrderError
from controller.orders.turn import MakePlan, Orders, Planned
from hil.scenarios.programs import tower
from tests.controller.factories import demo
from tests.controller.test_carrying import COLD, begun, placed
from tests.controller.world import World

NAME = "tower.gcode"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / NAME).write_text(tower())
    return tmp_path


def test_a_program_that_was_changed_after_the_print_holds_the_pick_and_the_place(folder: Path) -> None:
    factory = demo()
    printed = make(factory, folder, MakePlan(1, "printer-1", "print", NAME))
    assert printed.digest == hashlib.sha256(tower().encode()).hexdigest()
    home = tuple(factory.machines["arm-1"].params.home)
    pick = MakePlan(2, "arm-1", "pick", NAME, (), home, "printer-1", digest=printed.digest)
    place = replace(pick, job_id=3, capability="place", target="belt-1")
    first = make(factory, folder, pick)
    assert make(factory, folder, place).data and not first.digest
    (folder / NAME).write_text(tower(12.0, 16.0))
    for work in (pick, place):
        with pytest.raises(OrderError, match=r"program 'tower\.gcode' has changed since printer-1 took it"):
            make(factory, folder, work)
    assert make(factory, folder, replace(pick, digest="")).data != first.data, "a part that lies there is as its order says"


def test_pick_and_place_are_given_the_digest_of_the_print_and_it_outlives_the_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.controller.world.Planned", lambda *given: Planned(*given, digest="0a1b"))
    world = begun(demo())
    world.show("printer-1", **COLD)
    number = placed(world)
    world.run_until(lambda: world.order(number).at == 3)
    told = {work.capability: work.digest for work in plans(world)}
    assert told == {"print": "", "pick": "0a1b", "place": "0a1b"}
    with Book(tmp_path / "book", 1) as book:
        book.save((world.order(number),), Orders({}, number + 1, 100))
        assert book.load().open[number].operations[0].digest == "0a1b"


def plans(world: World) -> list[MakePlan]:
    return [work for work in world.planned if isinstance(work, MakePlan)]
