"""An order's way through the factory: scan, dispatch and grants against plain nodes, one news at a time."""

from dataclasses import replace

import pytest

from controller.alarms import AlarmCleared, AlarmRaised, NodeLatched, NodeRefused
from controller.orders.order import TABLE, Happening, Operation, OperationState, OrderError, OrderState
from tests.controller.factories import shop
from tests.controller.world import OWNER, World
from twin import node as n
from twin.clock import MS, Ns, S


@pytest.fixture
def world() -> World:
    world = World(shop())
    world.run(3)
    return world


def placed(world: World) -> int:
    answer = world.request("place_order", recipe="print-and-convey", program="cube.gcode")
    assert answer.ok, answer.text
    return int(answer.result)


def printing(world: World) -> int:
    number = placed(world)
    world.run_until(lambda: world.nodes["printer-1"].status["job_state"] == n.JobState.RUNNING)
    world.run(3)
    assert world.order(number).current.state is OperationState.RUNNING
    return number


def starts(world: World) -> int:
    return sum(op is n.Op.START for op, _ in world.nodes["printer-1"].executed)


def test_two_scans_after_the_first_reply_every_node_is_ours_and_its_outputs_are_safe(world: World) -> None:
    assert {str(stand) for stand in world.state.stands.values()} == {"ours"}
    for node in world.nodes.values():
        assert node.status["owner"] == OWNER
        assert all(node.command(m.name) == node.defaults[m.name] for m in node.machines)


def test_an_order_is_printed_handed_over_and_conveyed(world: World) -> None:
    number = printing(world)
    assert world.nodes["printer-1"].command("printer-1") == [3], "permit and run"
    world.run_until(lambda: world.order(number).at == 1)
    assert world.nodes["printer-1"].status["job_state"] == n.JobState.DONE
    world.run(3)
    assert world.nodes["printer-1"].command("printer-1") == [0]
    assert world.order(number).state is OrderState.RUNNING
    assert "no part at its entry" in world.order(number).current.reason
    world.show("belt-1", at_entry=True)
    world.run(4)
    assert world.nodes["belt-1"].command("belt-1") == [1, 1000]
    world.show("belt-1", at_exit=True)
    world.run(3)
    assert world.order(number).state is OrderState.DONE
    assert world.nodes["belt-1"].command("belt-1") == [0, 0] and starts(world) == 1


def test_the_start_is_not_sent_before_the_order_is_safe_on_disk(world: World) -> None:
    world.slow_disk = True
    number = placed(world)
    world.run_until(lambda: world.order(number).current.state is OperationState.STARTING)
    world.run(20)
    assert starts(world) == 0
    world.slow_disk = False
    world.run(3)
    assert starts(world) == 1


def test_a_program_that_is_refused_holds_its_order_and_nothing_is_sent(world: World) -> None:
    world.unplannable.add("cube.gcode")
    number = placed(world)
    world.run(5)
    assert world.order(number).state is OrderState.HELD
    assert world.order(number).current.reason == "line 1: cube.gcode is nonsense"
    assert not world.nodes["printer-1"].jobs and starts(world) == 0


def test_a_held_order_that_moved_nothing_is_tried_again_on_a_start(world: World) -> None:
    world.unplannable.add("cube.gcode")
    number = placed(world)
    world.run(5)
    world.unplannable.clear()
    assert world.request("start", machine="printer-1").ok
    world.run_until(lambda: starts(world) == 1)
    assert world.order(number).state is OrderState.RUNNING


def test_a_second_order_waits_until_the_first_part_has_left_the_printer(world: World) -> None:
    first, second = printing(world), placed(world)
    world.run(2)
    assert world.order(second).current.reason == f"printer-1 works on order {first}"
    world.run_until(lambda: world.order(first).at == 1)
    world.run(20)
    assert world.order(second).current.state is OperationState.READY and starts(world) == 1
    wanted = f"a part of order {first} may still be in printer-1: start it when it is clear"
    assert world.order(second).current.reason == wanted
    world.show("belt-1", at_entry=True)
    world.run(5)
    assert starts(world) == 2


def test_a_second_part_waits_until_the_exit_is_free(world: World) -> None:
    number = printing(world)
    world.show("belt-1", at_exit=True, at_entry=True)
    world.run_until(lambda: world.order(number).at == 1)
    world.run(5)
    assert "still at its exit" in world.order(number).current.reason
    world.show("belt-1", at_entry=True)
    world.run(3)
    assert world.order(number).current.state is OperationState.RUNNING


def test_a_start_that_the_node_refuses_holds_the_order_with_its_reason(world: World) -> None:
    number = placed(world)
    world.run_until(lambda: world.order(number).current.state is OperationState.STARTING)
    world.nodes["printer-1"].jobs.clear()
    world.run(4)
    assert world.order(number).state is OrderState.HELD and "no such job" in world.order(number).current.reason
    assert not world.order(number).current.begun


def test_a_lost_reply_to_a_start_is_resolved_by_reading_and_never_repeated(world: World) -> None:
    number = placed(world)
    world.run_until(lambda: world.order(number).current.state is OperationState.STARTING)
    world.wires["printer-1"].mute = True
    world.run(5)
    assert starts(world) == 1 and world.order(number).current.state is OperationState.STARTING
    world.wires["printer-1"].mute = False
    world.run(6)
    assert starts(world) == 1, "once, whatever became of the print"
    assert world.order(number).current.begun


def test_a_start_that_never_arrives_is_void_and_is_not_sent_later(world: World) -> None:
    number = placed(world)
    world.run_until(lambda: world.order(number).current.state is OperationState.STARTING)
    world.wires["printer-1"].deaf = True
    world.run(80)
    world.wires["printer-1"].deaf = False
    world.run(20)
    assert starts(world) == 0 and world.order(number).state is OrderState.HELD
    assert "not carried out in time" in world.order(number).current.reason and not world.order(number).current.begun


def test_a_cut_link_holds_the_order_and_nothing_starts_by_itself_when_it_is_back(world: World) -> None:
    number = printing(world)
    wire = world.wires["printer-1"]
    wire.deaf = wire.mute = True
    world.run(40)
    assert world.order(number).state is OrderState.HELD and "is lost" in world.order(number).current.reason
    wire.deaf = wire.mute = False
    world.run(50)
    node = world.nodes["printer-1"]
    assert node.status["latched"] and node.status["fault"] == n.Fault.SILENCE and starts(world) == 1
    assert node.bank[273] == 0, "the Command is at its default, so that a reset starts nothing"
    assert any(e == NodeLatched("printer-1", "latched: silence") for e in world.events)
    assert not world.request("start", machine="printer-1").ok
    assert world.request("reset", machine="printer-1").ok and not node.status["latched"]
    world.run(30)
    assert starts(world) == 1 and world.order(number).state is OrderState.HELD
    refused = world.request("start", machine="printer-1")
    assert not refused.ok and "broke off" in refused.text


def test_an_order_on_a_slow_line_is_held_only_when_its_lease_has_surely_ended() -> None:
    factory = shop()
    slow = replace(factory, nodes={**factory.nodes, "printer-1": replace(factory.nodes["printer-1"], scan_ms=500)})
    world = World(slow)
    world.run(3)
    number = printing(world)
    wire = world.wires["printer-1"]
    wire.deaf = wire.mute = True
    world.run(95)
    assert world.order(number).state is OrderState.RUNNING and "is lost" in world.order(number).current.reason
    world.run(10)
    assert world.order(number).state is OrderState.HELD


def test_a_print_that_ended_while_its_link_was_cut_is_done_when_the_node_is_heard_again(world: World) -> None:
    number = printing(world)
    node, wire = world.nodes["printer-1"], world.wires["printer-1"]
    node.played = 95_000
    wire.deaf = wire.mute = True
    world.run(30)
    assert world.order(number).state is OrderState.HELD and node.status["job_state"] == n.JobState.DONE
    wire.deaf = wire.mute = False
    world.run(5)
    assert world.order(number).at == 1 and world.order(number).state is OrderState.RUNNING


def test_a_controller_that_has_not_heard_the_node_yet_does_not_judge_the_order(world: World) -> None:
    number = printing(world)
    world.run_until(lambda: world.nodes["printer-1"].status["job_state"] == n.JobState.DONE)
    world.restart()
    world.wires["printer-1"].deaf = True
    world.run(100)
    assert world.order(number).state is OrderState.RUNNING and "is lost" in world.order(number).current.reason
    world.wires["printer-1"].deaf = False
    world.run(5)
    assert world.order(number).at == 1


def test_a_cut_shorter_than_the_lease_is_survived(world: World) -> None:
    number = printing(world)
    world.wires["printer-1"].deaf = True
    world.run(2)
    world.wires["printer-1"].deaf = False
    world.run_until(lambda: world.order(number).at == 1)
    assert starts(world) == 1 and not world.nodes["printer-1"].status["latched"]


def test_a_restarted_node_holds_the_order(world: World) -> None:
    number = printing(world)
    world.nodes["printer-1"].restart()
    world.run(5)
    assert world.order(number).state is OrderState.HELD and "restarted" in world.order(number).current.reason


def test_a_killed_controller_finds_the_order_where_its_node_stands(world: World) -> None:
    number = printing(world)
    world.restart()
    world.run(20)
    assert world.order(number).state is OrderState.HELD and "latched: silence" in world.order(number).current.reason
    assert starts(world) == 1


def test_a_print_that_ended_while_the_controller_was_away_is_done(world: World) -> None:
    number = printing(world)
    world.run_until(lambda: world.nodes["printer-1"].status["job_state"] == n.JobState.DONE)
    world.restart()
    world.run(20)
    assert world.order(number).at == 1 and world.order(number).state is OrderState.RUNNING


def test_a_controller_killed_between_intent_and_start_never_starts_it_late(world: World) -> None:
    number = placed(world)
    world.run_until(lambda: world.order(number).current.state is OperationState.STARTING)
    world.restart()
    world.wires["printer-1"].deaf = True
    world.run(80)
    world.wires["printer-1"].deaf = False
    world.run(20)
    assert starts(world) == 0 and world.order(number).state is OrderState.HELD


def test_an_order_that_had_moved_nothing_begins_anew_after_a_restart_under_the_same_job(world: World) -> None:
    world.slow_jobs = True
    number = placed(world)
    world.run(3)
    job_id = world.order(number).current.job_id
    world.slow_jobs = False
    world.restart()
    world.run(20)
    assert world.order(number).current.job_id == job_id and starts(world) == 1


def test_a_node_with_another_map_is_refused_with_both_values_and_never_commanded(world: World) -> None:
    world.nodes["belt-1"].set(map_hash=1)
    number = printing(world)
    world.run_until(lambda: world.order(number).at == 1)
    world.show("belt-1", at_entry=True)
    world.run(10)
    (refused,) = [e for e in world.events if isinstance(e, NodeRefused)]
    assert refused.subject == "belt-1" and "node says 0x00000001, factory 0x" in refused.cause
    assert world.nodes["belt-1"].status["owner"] == 0, "its lease has lapsed"
    assert "map differs" in world.order(number).current.reason


def test_a_second_controller_is_seen_and_its_node_is_only_read(world: World) -> None:
    node = world.nodes["belt-1"]
    world.wires["belt-1"].deaf = True
    world.run(8)
    node.write("them", n.COMMAND_AT, [0, 0xBAD, 0, 900, 60_000, 1] + [0] * 8)
    world.wires["belt-1"].deaf = False
    world.run(8)
    assert str(world.state.stands["belt-1"]) == "read-only: commanded by owner 0x00000bad, epoch 900"
    assert world.image.machine("belt-1").good and node.status["refused"] == 0, "nothing was even tried"
    answer = world.request("reset", machine="belt-1")
    assert not answer.ok and "commanded by owner" in answer.text


def test_after_a_lease_has_lapsed_the_node_is_claimed_under_a_higher_epoch(world: World) -> None:
    before = world.nodes["belt-1"].highest
    world.wires["belt-1"].deaf = True
    world.run(10)
    world.wires["belt-1"].deaf = False
    world.run(5)
    assert str(world.state.stands["belt-1"]) == "ours" and world.nodes["belt-1"].highest > before


def test_the_heartbeat_changes_with_every_scan_and_stops_when_the_node_is_not_heard(world: World) -> None:
    node, seen = world.nodes["belt-1"], []
    for _ in range(5):
        world.scan()
        seen.append(node.status["heartbeat"])
    assert len(set(seen)) == 5
    world.wires["belt-1"].mute = True
    world.run(10)
    assert not node.status["leased"], "one who hears nothing must not keep a node alive"


def test_an_alarm_comes_and_goes(world: World) -> None:
    world.show("belt-1", tripped=True)
    world.run(3)
    world.show("belt-1")
    world.run(3)
    found = [e for e in world.events if isinstance(e, (AlarmRaised, AlarmCleared)) and e.subject == "belt-1"]
    assert [type(e) for e in found] == [AlarmRaised, AlarmCleared]
    assert isinstance(found[0], AlarmRaised) and found[0].severity == 700


def test_the_table_knows_every_state_and_no_way_leads_out_of_an_end() -> None:
    assert set(TABLE) == set(OperationState)
    assert not TABLE[OperationState.DONE] and not TABLE[OperationState.CANCELLED]
    reached = {state for changes in TABLE.values() for state in changes.values()}
    assert reached == set(OperationState)
    assert all(Happening.STOPPED in changes for changes in TABLE.values() if changes)
    with pytest.raises(OrderError, match="is DONE"):
        Operation("print", OperationState.DONE).after(Happening.STARTED, Ns(0))


def test_uptime_that_wraps_while_a_start_is_open_does_no_harm(world: World) -> None:
    node = world.nodes["printer-1"]
    node.started = Ns(world.now - (2**32 - 900) * MS)
    world.run(2)
    printing(world)
    world.run(int(2 * S / (100 * MS)))
    assert starts(world) == 1


def test_a_stop_right_after_the_start_counts_as_begun(world: World) -> None:
    number = placed(world)
    world.run_until(lambda: starts(world) == 1)
    assert world.order(number).current.state is OperationState.STARTING
    world.request("stop", machine="printer-1")
    assert world.order(number).state is OrderState.CANCELLED and world.order(number).current.begun
    second = placed(world)
    world.run(10)
    assert "may still be in printer-1" in world.order(second).current.reason


def test_a_node_that_restarts_right_after_the_start_leaves_the_outcome_unknown(world: World) -> None:
    number = placed(world)
    world.run_until(lambda: world.order(number).current.state is OperationState.STARTING)
    world.wires["printer-1"].mute = True
    world.run_until(lambda: starts(world) == 1)
    world.nodes["printer-1"].restart()
    world.wires["printer-1"].mute = False
    world.run(10)
    assert world.order(number).state is OrderState.HELD and world.order(number).current.begun
    assert "outcome is unknown" in world.order(number).current.reason


def test_no_id_is_used_twice_though_the_controller_is_killed_before_it_wrote_the_last_ones_down(world: World) -> None:
    world.slow_disk = True
    for _ in range(3):
        assert world.request("reset", machine="printer-1").ok
    used = [command_id for _, command_id in world.nodes["printer-1"].executed]
    world.restart()
    world.slow_disk = False
    world.run(20)
    assert world.request("reset", machine="printer-1").ok
    assert world.nodes["printer-1"].executed[-1][1] not in used


def test_a_command_that_does_not_fit_is_replaced_by_the_safe_one_and_raises_an_alarm() -> None:
    factory = shop()
    belt = factory.machines["belt-1"]
    too_fast = replace(belt.type.command(), run=True, speed=99.0)
    wild = replace(belt, type=replace(belt.type, decide=lambda sample, wish, params, now: (too_fast, ())))
    world = World(replace(factory, machines={**factory.machines, "belt-1": wild}))
    world.run(5)
    assert world.nodes["belt-1"].command("belt-1") == [0, 0]
    (alarm,) = [e for e in world.events if isinstance(e, AlarmRaised) and e.signal == "command"]
    assert alarm.severity == 900 and "speed=99000 mm/s is outside 0 to 500" in alarm.cause
