"""An arm carries a part from machine to machine: what must hold before it reaches in, and who waits for whom meanwhile."""

import math

import pytest

from controller.orders.order import OperationState, OrderState
from controller.orders.turn import MakePlan
from tests.controller.factories import DEMO, demo
from tests.controller.world import World
from twin import node as n
from twin.factory import parse
from twin.machine import make_params
from twin.machines.printer.control import cannot_give
from twin.machines.printer.spec import Params, Status
from twin.wire import layout

PARKED = {"x": 0.005, "y": 0.21, "z": 0.03}
COLD = {**PARKED, "bed_temperature": 30.0}
HOT = {**PARKED, "bed_temperature": 55.0}
REST = {"base": 0.5, "shoulder": -1.5}


@pytest.fixture
def world() -> World:
    return begun(demo())


def begun(factory: object) -> World:
    world = World(factory)  # type: ignore[arg-type]
    world.nodes["arm-1"].set(homed=1)
    world.show("arm-1", **REST)
    world.run(3)
    return world


def placed(world: World, recipe: str = "print-and-convey") -> int:
    answer = world.request("place_order", recipe=recipe, program="cube.gcode")
    assert answer.ok, answer.text
    return int(answer.result)


def printed(world: World, **shown: float) -> int:
    """An order whose part lies on the bed, and what the printer then shows."""
    world.show("printer-1", **shown)
    number = placed(world)
    world.run_until(lambda: world.order(number).at == 1)
    return number


def reason(world: World, number: int) -> str:
    return world.order(number).current.reason


def runs(world: World, machine: str) -> bool:
    node = world.nodes[machine]
    return node.status["job_state"] == n.JobState.RUNNING and node.runs(machine)


def test_a_part_is_printed_picked_placed_and_conveyed(world: World) -> None:
    number = printed(world, **COLD)
    assert world.order(number).current.capability == "pick"
    world.run_until(lambda: world.order(number).at == 2)
    world.run_until(lambda: world.order(number).at == 3)
    world.run(3)
    assert reason(world, number) == "belt-1: no part at its entry"
    world.show("belt-1", at_entry=True)
    world.run(3)
    world.show("belt-1", at_exit=True)
    world.run(3)
    assert world.order(number).state is OrderState.DONE
    assert [op for op, _ in world.nodes["arm-1"].executed].count(n.Op.START) == 2


def test_the_arm_is_told_where_from_where_to_and_where_its_joints_stand(world: World) -> None:
    number = printed(world, **COLD)
    world.run_until(lambda: world.order(number).at == 3)
    pick, place = (work for work in world.planned if isinstance(work, MakePlan) and work.machine == "arm-1")
    assert (pick.capability, pick.source, pick.target) == ("pick", "printer-1", "")
    assert (place.capability, place.source, place.target) == ("place", "printer-1", "belt-1")
    assert pick.program == place.program == "cube.gcode" and dict(pick.arguments) == {"over": 120}
    assert pick.start == pytest.approx((0.5, -1.5, 0.0, 0.0, 0.0, 0.0), abs=1e-5)


def test_an_arm_that_is_not_homed_is_planned_from_nowhere(world: World) -> None:
    world.nodes["arm-1"].set(homed=0)
    number = printed(world, **COLD)
    world.run_until(lambda: world.order(number).at == 2)
    assert next(work for work in world.planned if work.capability == "pick").start == ()


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (HOT, "printer-1: its bed is at 55.0 °C, the part comes off below 40 °C"),
        ({**COLD, "bed_target": 60.0}, "printer-1: its bed is to be heated to 60 °C"),
        ({**COLD, "x": 0.1}, "printer-1: its head is not parked: it is at X=100 Y=210 mm, not within 30 mm of X=0 Y=220 mm"),
        ({**COLD, "y": 0.005}, "printer-1: its head is not parked: it is at X=5 Y=5 mm, not within 30 mm of X=0 Y=220 mm"),
    ],
)
def test_the_arm_waits_and_says_for_what_until_the_part_can_be_taken(world: World, shown: dict[str, float], why: str) -> None:
    number = printed(world, **shown)
    world.run(5)
    assert reason(world, number) == why and world.order(number).current.state is OperationState.WAITING
    world.show("printer-1", **COLD)
    world.run_until(lambda: world.order(number).at == 2)


def test_a_bed_is_cool_from_below_forty_degrees_on() -> None:
    def status(bed: float) -> Status:
        shown = {signal.name: signal.type(0) for signal in layout(Status).signals}
        return Status(**{**shown, **PARKED, "bed_temperature": bed})

    params = make_params(Params, {})
    assert "40.0 °C" in cannot_give(status(40.0), params)
    assert cannot_give(status(math.nextafter(40.0, 0)), params) == ""


def test_a_bed_that_grew_warm_while_the_job_was_planned_keeps_the_arm_from_starting(world: World) -> None:
    number = planned_then_warm(world)
    assert world.order(number).current.state is OperationState.READY and not runs(world, "arm-1")
    assert "55.0 °C" in reason(world, number)


def planned_then_warm(world: World) -> int:
    """An order whose pick is ready to be started, but for the bed."""
    number = printed(world, **HOT)
    world.slow_jobs = True
    world.show("printer-1", **COLD)
    world.run_until(lambda: world.order(number).current.state is OperationState.PLANNING)
    world.show("printer-1", **HOT)
    world.run(2)
    world.slow_jobs = False
    world.run(5)
    return number


COVERED, RUNNING = {"at_entry": True}, {"running": True}


@pytest.mark.parametrize(("shown", "why"), [(COVERED, "its entry is covered"), (RUNNING, "its belt is not at rest")])
def test_nothing_is_placed_on_a_belt_that_has_no_room_or_runs(world: World, shown: dict[str, bool], why: str) -> None:
    number = printed(world, **COLD)
    world.show("belt-1", **shown)
    world.run_until(lambda: world.order(number).at == 2)
    world.run(5)
    assert reason(world, number) == f"belt-1: {why}" and world.order(number).current.state is OperationState.WAITING
    world.show("belt-1")
    world.run_until(lambda: world.order(number).at == 3)


def test_the_printer_starts_nothing_while_its_part_lies_there_or_the_arm_reaches_in(world: World) -> None:
    first = printed(world, **HOT)
    second = placed(world)
    world.run(20)
    assert "a part of order 1 may still be in printer-1" in reason(world, second)
    world.show("printer-1", **COLD)
    world.run_until(lambda: runs(world, "arm-1"))
    assert world.request("start", machine="printer-1").ok, "an operator says that it is clear"
    for _ in range(5):
        world.scan()
        assert not runs(world, "printer-1")
    assert reason(world, second) == f"arm-1 may reach into printer-1 for order {first}"
    world.run_until(lambda: world.order(first).at == 2)
    world.run_until(lambda: runs(world, "printer-1"))


def test_a_second_part_is_not_taken_while_the_first_one_is_in_the_jaws(world: World) -> None:
    first = printed(world, **COLD)
    world.show("belt-1", at_entry=True)
    world.run_until(lambda: world.order(first).at == 2)
    second = placed(world)
    world.run_until(lambda: world.order(second).at == 1)
    world.run(20)
    assert world.order(second).current.state is not OperationState.RUNNING
    assert f"order {first} may still be in arm-1" in reason(world, second)
    world.show("belt-1")
    world.run_until(lambda: world.order(second).at == 2)
    assert world.order(first).at == 3, "only then"


def test_an_arm_that_broke_off_inside_keeps_the_printer_still_until_somebody_has_cleared_it(world: World) -> None:
    first = printed(world, **COLD)
    world.run_until(lambda: runs(world, "arm-1"))
    world.nodes["arm-1"].latch(n.Fault.SILENCE)
    world.run_until(lambda: world.order(first).state is OrderState.HELD)
    world.request("stop", machine="arm-1")
    second = placed(world)
    world.run_until(lambda: world.order(second).current.state is OperationState.READY)
    world.request("start", machine="printer-1")
    world.run(10)
    assert not runs(world, "printer-1") and "arm-1 may reach into printer-1" in reason(world, second)
    world.request("reset", machine="arm-1")
    assert world.request("start", machine="arm-1").ok, "its jaws are empty; where it stands is another matter"
    world.run(10)
    assert not runs(world, "printer-1")
    world.restart()
    world.run_until(lambda: world.order(second).current.state is OperationState.READY)
    world.run(3)
    assert reason(world, second) == f"arm-1 may reach into printer-1 for order {first}"
    away = moved_away(world)
    assert not runs(world, "printer-1")
    world.run_until(lambda: world.order(away).state is OrderState.DONE)
    world.request("start", machine="printer-1")
    world.run_until(lambda: runs(world, "printer-1"))


def moved_away(world: World) -> int:
    """An order that moves the arm by a program of its own, begun."""
    number = int(world.request("place_order", recipe="move-arm", program="away.arm").result)
    world.run_until(lambda: runs(world, "arm-1"))
    return number


def test_a_part_that_the_arm_may_not_have_taken_still_counts_as_lying_on_the_bed(world: World) -> None:
    first = printed(world, **COLD)
    world.run_until(lambda: runs(world, "arm-1"))
    world.nodes["arm-1"].latch(n.Fault.SILENCE)
    world.run_until(lambda: world.order(first).state is OrderState.HELD)
    for kind in ("stop", "reset", "start"):
        assert world.request(kind, machine="arm-1").ok
    away = moved_away(world)
    world.run_until(lambda: world.order(away).state is OrderState.DONE)
    second = placed(world)
    world.run_until(lambda: world.order(second).current.state is OperationState.READY)
    world.run(10)
    assert not runs(world, "printer-1") and reason(world, second).startswith("a part of order 1 may still be in printer-1")


def test_a_job_that_was_planned_before_the_arm_s_node_was_started_anew_is_planned_again(world: World) -> None:
    number = planned_then_warm(world)
    (before,) = (work.job_id for work in world.planned if work.capability == "pick")
    world.nodes["arm-1"].restart()
    world.show("arm-1")
    world.run(5)
    world.show("printer-1", **COLD)
    world.run_until(lambda: world.order(number).at == 2)
    again = [work for work in world.planned if work.capability == "pick"]
    assert len(again) == 2 and again[1].start == () and again[1].job_id != before


def test_a_part_that_lies_on_the_bed_without_its_order_is_carried_when_asked(world: World) -> None:
    world.show("printer-1", **COLD)
    number = placed(world, "carry")
    world.run_until(lambda: world.order(number).at == 2)
    assert [work.source for work in world.planned] == ["printer-1", "printer-1"]


def test_an_operation_that_is_bound_to_a_machine_goes_to_no_other() -> None:
    text = DEMO.read_text()
    head, tail = text.index("[nodes.belt-1]"), text.index("[nodes.arm-1]")
    node = text[head:tail].replace("belt-1", "belt-2").replace("uid = 2", "uid = 5").replace("15022", "15024")
    start, end = text.index("[machines.belt-1]"), text.index("[machines.arm-1]")
    belt = text[start:end].replace("belt-1", "belt-2")
    way = '[[handovers]]\nfrom = "printer-1"\nto = "belt-2"\nby = "arm"\narm = "arm-1"\n'
    bound = text.replace('"convey"]', '{ do = "convey", on = "belt-2" }]', 1) + node + belt + way
    world = begun(parse(bound, DEMO.parent))
    number = printed(world, **COLD)
    world.run_until(lambda: world.order(number).at == 3)
    assert world.order(number).operations[2].target == "belt-1", "the first handover that is free"
    world.run(3)
    assert reason(world, number) == "no machine here can convey its part"


def test_what_was_carried_is_found_again_after_a_restart_of_the_controller(world: World) -> None:
    number = printed(world, **HOT)
    world.restart()
    world.run_until(lambda: "55.0 °C" in reason(world, number))
    world.show("printer-1", **COLD)
    world.run_until(lambda: world.order(number).at == 2)
    pick = next(work for work in world.planned if work.capability == "pick")
    assert dict(pick.arguments) == {"over": 120}


def test_a_recipe_may_name_an_arm_s_program_and_where_it_works() -> None:
    wave = '\n[recipes.wave]\noperations = [{ do = "move", program = "wave.arm", at = "belt-1" }]\n'
    world = begun(parse(DEMO.read_text() + wave, DEMO.parent))
    answer = world.request("place_order", recipe="wave", program="")
    assert answer.ok, answer.text
    world.run_until(lambda: world.order(answer.result).state is OrderState.DONE)
    (work,) = world.planned
    assert dict(work.arguments) == {"program": "wave.arm", "at": "belt-1"} and (work.source, work.target) == ("", "")
    refused = world.request("place_order", recipe="move-arm", program="")
    assert not refused.ok and "'' is no program's name" in refused.text
