"""What people ask for, and what comes of it."""

import pytest

from controller.orders.order import AT_WORK, OperationState, OrderState
from tests.controller.test_dispatch import placed, printing, starts, world
from tests.controller.world import World
from twin import node as n

__all__ = ["world"]


def test_a_pause_holds_and_a_start_lets_it_go_on(world: World) -> None:
    number = printing(world)
    assert world.request("pause", machine="printer-1").ok
    world.run(2)
    assert world.nodes["printer-1"].status["job_state"] == n.JobState.HOLDING
    assert world.nodes["printer-1"].command("printer-1") == [1], "heat is still permitted"
    assert world.request("start", machine="printer-1").ok
    world.run_until(lambda: world.order(number).at == 1)
    assert starts(world) == 1


def test_until_a_start_is_safe_on_disk_what_was_paused_is_held_and_its_heat_stays_permitted(world: World) -> None:
    number = printing(world)
    world.request("pause", machine="printer-1")
    world.slow_disk = True
    assert world.request("start", machine="printer-1").ok
    for _ in range(5):
        assert world.scan().commands["printer-1"] == (1,), "a permit that is taken away for one scan ends the Job"
    world.slow_disk = False
    world.run(2)
    assert world.nodes["printer-1"].command("printer-1") == [3]
    world.run_until(lambda: world.order(number).at == 1)


def test_a_pause_and_a_start_in_one_scan_leave_it_running_whatever_else_that_scan_has_changed(world: World) -> None:
    number = printing(world)
    world.ask("pause", machine="printer-1")
    world.ask("place_order", recipe="print-and-convey", program="cube.gcode")
    assert world.request("start", machine="printer-1").ok
    world.run_until(lambda: world.order(number).at == 1)


def test_a_belt_that_is_paused_stands_and_goes_on_once_its_start_is_safe_on_disk(world: World) -> None:
    number = printing(world)
    world.run_until(lambda: world.order(number).at == 1)
    world.show("belt-1", at_entry=True)
    world.run(4)
    world.request("pause", machine="belt-1")
    world.run(2)
    assert world.nodes["belt-1"].command("belt-1") == [0, 0]
    world.slow_disk = True
    assert world.request("start", machine="belt-1").ok
    world.run(5)
    assert world.nodes["belt-1"].command("belt-1") == [0, 0]
    world.slow_disk = False
    world.run(3)
    assert world.nodes["belt-1"].command("belt-1") == [1, 1000]


def test_a_stop_cancels_the_order_and_is_answered_when_the_node_has_judged_it(world: World) -> None:
    number = printing(world)
    answer = world.request("stop", machine="printer-1")
    assert answer.ok and "stop done" in answer.text
    assert world.order(number).state is OrderState.CANCELLED
    assert world.nodes["printer-1"].status["job_state"] == n.JobState.ABORTED
    world.run(20)
    assert world.nodes["printer-1"].command("printer-1") == [0] and starts(world) == 1


def test_a_stop_of_a_belt_takes_effect_with_the_next_write(world: World) -> None:
    number = printing(world)
    world.run_until(lambda: world.order(number).at == 1)
    world.show("belt-1", at_entry=True)
    world.run(3)
    assert world.request("stop", machine="belt-1").ok
    world.run(1)
    assert world.nodes["belt-1"].command("belt-1") == [0, 0]
    assert world.order(number).state is OrderState.CANCELLED


def test_after_a_broken_off_print_the_next_one_waits_for_an_operators_word(world: World) -> None:
    printing(world)
    world.request("stop", machine="printer-1")
    second = placed(world)
    world.run(10)
    assert starts(world) == 1 and "may still be in printer-1" in world.order(second).current.reason
    assert world.request("start", machine="printer-1").ok
    world.run(3)
    assert starts(world) == 2


def test_a_loaded_job_starts_only_when_an_operator_says_so(world: World) -> None:
    answer = world.request("load_job", machine="printer-1", program="cube.gcode")
    assert answer.ok
    world.run(10)
    assert world.order(answer.result).current.state is OperationState.READY and starts(world) == 0
    assert world.order(answer.result).current.reason == "waits for an operator's start"
    assert world.request("start", machine="printer-1").ok
    world.run_until(lambda: world.order(answer.result).state is OrderState.DONE)


@pytest.mark.parametrize(
    ("kind", "args", "text"),
    [
        ("place_order", {"recipe": "fly", "program": "x"}, "no recipe 'fly'; there are: print-and-convey"),
        ("place_order", {"recipe": "print-and-convey", "program": "../x"}, "is no program's name"),
        ("place_order", {"recipe": "print-and-convey", "program": ""}, "is no program's name"),
        ("place_order", {"recipe": "print-and-convey"}, "place_order takes recipe, program, not recipe"),
        ("load_job", {"machine": "belt-1", "program": "x"}, "type conveyor plans no Jobs"),
        ("start", {"machine": "robot"}, "no machine 'robot'; there are: printer-1, belt-1"),
        ("start", {"machine": "belt-1"}, "nothing to start"),
        ("pause", {"machine": "belt-1"}, "nothing runs"),
        ("dance", {}, "unknown request 'dance'; there are: place_order"),
        ("cancel_order", {"order": 9}, "order 9 is not open"),
        ("start", {"machine": 7}, "machine must be a short str"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(world: World, kind: str, args: dict[str, object], text: str) -> None:
    answer = world.request(kind, **args)
    assert not answer.ok and text in answer.text


def test_many_orders_wait_in_their_order(world: World) -> None:
    world.wires["printer-1"].deaf = True
    for _ in range(300):
        world.ask("place_order", recipe="print-and-convey", program="cube.gcode")
    world.run(10)
    assert len(world.state.orders.open) == 300
    world.wires["printer-1"].deaf = False
    world.run(10)
    at_work = [o.id for o in world.state.orders.open.values() if o.current.state in AT_WORK]
    assert at_work == [1] and starts(world) == 1


def test_there_is_a_most_of_open_orders(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.orders.requests.MOST_OPEN", 2)
    placed(world)
    placed(world)
    answer = world.request("place_order", recipe="print-and-convey", program="cube.gcode")
    assert not answer.ok and "2 orders are open, at most 2" in answer.text
