"""An arm that moves inside another machine, parts that earlier orders have left, and values that nobody believes."""

import asyncio
from pathlib import Path

import pytest

from controller.jobs import Jobs
from controller.orders import job
from controller.orders.order import OperationState, OrderError, OrderState
from controller.orders.turn import MakePlan, Request
from tests.controller.factories import DEMO
from tests.controller.test_carrying import COLD, HOT, REST, begun, placed, printed, reason, runs
from tests.controller.world import World
from twin.factory import parse
from twin.machines.printer.spec import Status
from twin.wire import layout

MOVES = """
[recipes.reach]
operations = [{ do = "move", program = "wave.arm", at = "printer-1" }]

[recipes.wave-last]
operations = ["print", "pick", "place", "move"]

[recipes.wave-first]
operations = ["print", { do = "move", program = "wave.arm" }, "pick", "place"]
"""


@pytest.fixture
def world() -> World:
    return begun(parse(DEMO.read_text() + MOVES, DEMO.parent))


def reaching(world: World) -> int:
    answer = world.request("place_order", recipe="reach", program="")
    assert answer.ok, answer.text
    return int(answer.result)


def never_both(world: World, scans: int = 15) -> None:
    for _ in range(scans):
        world.scan()
        assert not (runs(world, "printer-1") and runs(world, "arm-1"))


def test_an_arm_s_program_waits_until_the_machine_that_it_works_at_is_done(world: World) -> None:
    world.show("printer-1", **COLD)
    printing = placed(world)
    world.run_until(lambda: runs(world, "printer-1"))
    world.nodes["printer-1"].job_chunks = None
    number = reaching(world)
    never_both(world)
    assert reason(world, number) == f"printer-1 works on order {printing}"


def test_a_machine_starts_nothing_while_an_arm_s_program_works_at_it(world: World) -> None:
    world.show("printer-1", **COLD)
    number = reaching(world)
    world.run_until(lambda: runs(world, "arm-1"))
    printing = placed(world)
    never_both(world)
    world.run_until(lambda: runs(world, "printer-1"))
    assert world.order(number).state is OrderState.DONE and world.order(printing).at == 0


def test_a_printer_waits_its_turn_with_a_reason_while_a_program_s_arm_is_inside(world: World) -> None:
    number = reaching(world)
    world.run_until(lambda: runs(world, "arm-1"))
    world.nodes["arm-1"].job_chunks = None
    printing = placed(world)
    world.run(15)
    assert not runs(world, "printer-1") and reason(world, printing) == f"arm-1 may reach into printer-1 for order {number}"


def test_an_arm_does_one_program_after_the_other(world: World) -> None:
    for _ in range(3):
        number = reaching(world)
        world.run_until(lambda number=number: world.order(number).state is OrderState.DONE)


@pytest.mark.parametrize("recipe", ["wave-last", "wave-first"])
def test_a_program_between_operations_on_a_part_leaves_the_part_where_it_is(world: World, recipe: str) -> None:
    world.show("printer-1", **COLD)
    number = placed(world, recipe)
    world.run_until(lambda: world.order(number).current.capability == "pick")
    assert not world.order(number).operations[0].cleared
    world.run_until(lambda: world.order(number).state is OrderState.DONE)
    assert all(operation.cleared for operation in world.order(number).operations)


def test_a_part_of_a_cancelled_order_is_carried_by_another_and_only_then_printed_again(world: World) -> None:
    first = printed(world, **HOT)
    world.request("cancel_order", order=first)
    second = placed(world)
    world.run(20)
    assert f"a part of order {first} may still be in printer-1" in reason(world, second)
    carrying = placed(world, "carry")
    world.run(5)
    assert "55.0 °C" in reason(world, carrying)
    world.show("printer-1", **COLD)
    world.run_until(lambda: world.order(carrying).current.capability == "place")
    assert world.order(first).operations[0].cleared
    world.run_until(lambda: runs(world, "printer-1"))


def test_a_part_of_another_program_is_not_carried_as_if_it_were_this_one_s(world: World) -> None:
    first = printed(world, **HOT)
    world.request("cancel_order", order=first)
    world.show("printer-1", **COLD)
    answer = world.request("place_order", recipe="carry", program="sphere.gcode")
    world.run(20)
    assert world.order(answer.result).current.state is OperationState.WAITING
    assert f"a part of order {first} may still be in printer-1" in reason(world, answer.result)


def test_a_part_whose_own_order_is_open_is_left_to_it(world: World) -> None:
    first = printed(world, **HOT)
    carrying = placed(world, "carry")
    world.run(5)
    assert f"a part of order {first} may still be in printer-1" in reason(world, carrying)


def test_an_open_bed_sensor_is_not_a_cold_bed(world: World) -> None:
    number = printed(world, **HOT)
    binding = next(signal for signal in layout(Status).signals if signal.name == "bed_temperature").binding
    for _ in range(10):
        world.nodes["printer-1"].bank[256 + binding.register] = -2731 & 0xFFFF
        world.scan()
    assert reason(world, number) == "printer-1: bed_temperature is outside its range"
    world.show("printer-1", **COLD)
    world.run_until(lambda: world.order(number).at == 2)


def test_an_arm_that_is_said_to_stand_where_no_joint_can_is_not_moved(world: World) -> None:
    binding = next(s for s in world.factory.machines["arm-1"].type.layouts[0].signals if s.name == "elbow").binding
    number = reaching(world)
    for _ in range(10):
        world.nodes["arm-1"].bank[256 + binding.register] = 0x7FFF
        world.nodes["arm-1"].bank[256 + binding.register + 1] = 0x7FFF
        world.scan()
    assert not runs(world, "arm-1") and reason(world, number) == "arm-1: elbow is outside its range"


def test_two_arms_do_not_reach_into_one_machine_at_a_time() -> None:
    world = begun(parse(two_arms(MOVES), DEMO.parent))
    first, second = reaching(world), reaching(world)
    world.run_until(lambda: runs(world, "arm-1"))
    world.nodes["arm-1"].job_chunks = None
    world.run(15)
    assert not runs(world, "arm-2") and f"arm-1 may reach into printer-1 for order {first}" in reason(world, second)


def two_arms(recipe: str) -> str:
    """The demo's factory with another arm and a recipe."""
    text = DEMO.read_text()
    node = text[text.index("[nodes.arm-1]") : text.index("# On an RS")].replace("arm-1", "arm-2").replace("uid = 3", "uid = 5")
    arm = text[text.index("[machines.arm-1]") : text.index("# Draws off")].replace("arm-1", "arm-2")
    return text + node.replace("15023", "15024") + arm + recipe


def test_nothing_is_picked_by_jaws_that_hold_something(world: World) -> None:
    world.show("arm-1", **REST, holding=True)
    number = printed(world, **COLD)
    world.run(10)
    assert world.order(number).current.state is OperationState.WAITING
    assert reason(world, number) == "arm-1: its jaws hold something: take it out"
    world.show("arm-1", **REST)
    world.run_until(lambda: world.order(number).at == 2)


def test_each_step_of_a_recipe_is_tried_on_the_machine_that_it_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = '[recipes.both]\noperations = [{ do = "move", on = "arm-1" }, { do = "move", on = "arm-2" }]\n'
    world = World(parse(two_arms(bound), DEMO.parent))
    request = Request(1, "place_order", {"recipe": "both", "program": "wave.arm"}, "")
    world.run(3)
    works = job.early(_view(world), request)

    def make(factory: object, folder: Path, work: MakePlan) -> None:
        if work.machine == "arm-2":
            raise OrderError("line 1: too far")

    monkeypatch.setattr("controller.jobs.make", make)

    async def tried() -> tuple[tuple[Request, str], ...]:
        jobs = Jobs(world.factory, Path(), {}, lambda node: True, None, _inline)  # type: ignore[arg-type]
        jobs.attempt(request, works)
        await asyncio.sleep(0.01)
        return jobs.tried()

    ((_, why),) = asyncio.run(tried())
    assert why == "arm-2: line 1: too far"


async def _inline(work: object) -> object:
    return work()  # type: ignore[operator]


def _view(world: World) -> object:
    from controller.orders.turn import View

    return View(world.factory, world.image, world.state.stands, {}, world.now)
