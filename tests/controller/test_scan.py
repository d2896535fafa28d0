"""One scan at a time: who gets an epoch, whose Command is written, and what is answered."""

from dataclasses import replace
from typing import Any

import pytest

from controller.alarms import AlarmRaised
from controller.image import Image, blank
from controller.modbus.plan import Heard
from controller.nodes.grant import Grant, Standing
from controller.scan import News, Outcome, State, scan
from tests.controller.factories import shop
from tests.controller.fakenode import FakeNode
from tests.controller.world import World
from twin.clock import MS, Ns, S
from twin.node import Fault, NodeStatus
from twin.wire import encode, layout

FACTORY = shop()
US = 0x5EED


def heard(**status: int) -> Image:
    """An Image of all nodes, each with such a Status."""
    image = blank(FACTORY)
    for name in FACTORY.nodes:
        node = FakeNode(FACTORY, name)
        node.set(**status)
        machines = {m.name: tuple(node.bank[m.base : m.base + m.type.size]) for m in node.machines}
        image = image.received(name, Heard(tuple(node.bank[: layout(NodeStatus).size]), machines), S, 1)
    return image


def scanned(image: Image, epochs: dict[str, int] | None = None, grant: Grant | None = None) -> tuple[State, Outcome]:
    grants = dict.fromkeys(FACTORY.nodes, grant) if grant else {}
    return scan(image, State(US, grants=grants), News(epochs=epochs or {}), Ns(S + 50 * MS))


@pytest.mark.parametrize(("seen", "held"), [(0, 0), (6, 0), (0, 6), (6, 3)])
def test_a_free_node_waits_for_an_epoch_above_all_that_it_and_we_have_seen(seen: int, held: int) -> None:
    image = heard(epoch=seen)
    highest = max(seen, held)
    for epochs in ({}, dict.fromkeys(FACTORY.nodes, highest)):
        state, outcome = scanned(image, epochs, Grant(held) if held else None)
        assert outcome.epochs == dict.fromkeys(FACTORY.nodes, highest)
        assert outcome.grants == {} and outcome.commands == {}
        assert {stand.standing for stand in state.stands.values()} == {Standing.FREE}
    state, outcome = scanned(image, dict.fromkeys(FACTORY.nodes, highest + 1), Grant(held) if held else None)
    assert outcome.epochs == {} and {stand.standing for stand in state.stands.values()} == {Standing.CLAIMING}
    assert {(command.owner, command.epoch) for command in outcome.grants.values()} == {(US, highest + 1)}
    assert outcome.commands == {}, "a claim alone commands no machine"


def test_only_the_node_that_waits_is_given_its_epoch() -> None:
    image = heard()
    first, *others = FACTORY.nodes
    _, outcome = scanned(image, {first: 9})
    assert set(outcome.grants) == {first} and set(outcome.epochs) == set(others)


def test_every_scan_changes_the_heartbeat_of_every_grant() -> None:
    image = heard(leased=1, owner=US, epoch=4)
    state, before = scanned(image, grant=Grant(4, heartbeat=0xFFFF))
    assert {command.heartbeat for command in before.grants.values()} == {0}
    _, after = scan(image, state, News(), Ns(S + 150 * MS))
    assert {command.heartbeat for command in after.grants.values()} == {1}


def slow_belt(image: Image) -> Image:
    """The same where the belt's node is on a slow line."""
    nodes = {**FACTORY.nodes, "belt-1": replace(FACTORY.nodes["belt-1"], scan_ms=500)}
    return replace(image, shape=replace(image.shape, factory=replace(FACTORY, nodes=nodes)))


def test_a_claim_on_a_slow_line_is_given_longer_to_show() -> None:
    state, _ = scanned(slow_belt(heard()), grant=Grant(4, claimed_at=Ns(S - 450 * MS)))
    assert {name: found.standing for name, found in state.stands.items()} == {
        "printer-1": Standing.FREE, "belt-1": Standing.CLAIMING,
    }  # fmt: skip


def test_a_grant_asks_for_the_lease_of_its_own_node() -> None:
    _, outcome = scanned(slow_belt(heard(leased=1, owner=US, epoch=4)), grant=Grant(4))
    assert {name: grant.lease for name, grant in outcome.grants.items()} == {"printer-1": 500, "belt-1": 2500}


def test_a_node_that_is_ours_gets_its_machines_commands_and_no_other_does() -> None:
    image = heard(leased=1, owner=US, epoch=4)
    _, outcome = scanned(image, grant=Grant(4))
    assert set(outcome.commands) == set(FACTORY.machines)
    for machine in FACTORY.machines.values():
        assert outcome.commands[machine.name] == tuple(encode(machine.type.command()))
    image = heard(leased=1, owner=US + 1, epoch=4)
    _, outcome = scanned(image, grant=Grant(4))
    assert outcome.commands == {} and outcome.grants == {}


def test_what_a_stop_overtakes_is_answered_as_not_done() -> None:
    world = World(FACTORY)
    world.run(3)
    world.nodes["printer-1"].latch(Fault.SENSOR)
    world.wires["printer-1"].deaf = True
    reset = world.ask("reset", machine="printer-1")
    world.scan()
    assert reset not in world.answers
    world.ask("stop", machine="printer-1")
    world.scan()
    assert (world.answers[reset].ok, world.answers[reset].text) == (False, "overtaken by a stop")


def test_a_command_that_does_not_fit_gives_the_machine_its_safe_one_and_raises_an_alarm() -> None:
    factory = shop()
    belt = factory.machines["belt-1"]

    def decide(*asked: Any) -> tuple[Any, tuple[()]]:
        return belt.type.command(run=True, speed=99.0), ()

    broken = replace(belt, type=replace(belt.type, decide=decide))
    world = World(replace(factory, machines={**factory.machines, "belt-1": broken}))
    world.run(3)
    outcome = world.scan()
    assert outcome.commands["belt-1"] == tuple(encode(belt.type.command())) and "printer-1" in outcome.commands
    raised = [event for event in world.events if isinstance(event, AlarmRaised) and event.subject == "belt-1"]
    assert len(raised) == 1 and "speed=99" in raised[0].cause
