"""Nodes on their own: the core dies or its link is cut at any instant of a Job, and comes back after any time."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from controller.orders.order import OperationState
from tests.controller.factories import shop
from tests.controller.fakenode import FakeNode
from tests.durability.world import Durable
from twin.clock import Ns
from twin.factory import Factory
from twin.machine import FINISH, STOP, OnLinkLoss
from twin.node import Fault, JobState, Op

PRINTER = "printer-1"
BEGUN = (JobState.RUNNING, JobState.HOLDING)


class Finishing(FakeNode):
    """A node whose stored Job goes on without its owner, and latches then (the firmware's: `tests/firmware/test_finishing`)."""

    alone = False

    def latch(self, fault: Fault) -> None:
        if fault is Fault.SILENCE and self.status["job_state"] in BEGUN:
            self.alone = True
            return
        super().latch(fault)

    def runs(self, machine: str) -> bool:
        return self.alone or super().runs(machine)

    def tick(self, now: Ns) -> None:
        super().tick(now)
        if self.alone and self.status["job_state"] == JobState.DONE:
            self.alone = False
            super().latch(Fault.SILENCE)


def factory_with(on_link_loss: OnLinkLoss) -> Factory:
    made = shop()
    printer = made.machines[PRINTER]
    printer = replace(printer, type=replace(printer.type, on_link_loss=on_link_loss))
    return replace(made, machines={**made.machines, PRINTER: printer})


def left_alone(folder: Path, on_link_loss: OnLinkLoss, chance: random.Random) -> tuple[Durable, bool]:
    """A Job whose controller dies, or is cut off, at some instant, and is back after some time. Whether that was its death."""
    world = Durable(folder, factory_with(on_link_loss))
    if on_link_loss is FINISH:
        world.nodes[PRINTER] = Finishing(world.factory, PRINTER)
        world.show(PRINTER)
    world.steps(4)
    world.ask("place_order", recipe="print-and-convey", program="part.gcode")
    world.steps(chance.randrange(1, 45))
    away, dies = chance.choice((1, 3, 6, 15, 40, 80)), chance.random() < 0.5
    if dies:
        for _ in range(away):
            world.nobody_there()
        world.restart()
    else:
        wire = world.wires[PRINTER]
        deaf, mute = chance.choice(((True, False), (False, True), (True, True)))
        wire.deaf, wire.mute = deaf, mute
        world.steps(away)
        wire.deaf = wire.mute = False
    world.steps(60)
    return world, dies


def judged(world: Durable, on_link_loss: OnLinkLoss) -> str:
    """What is wrong with how it has come together again; empty when nothing is."""
    node, order = world.nodes[PRINTER], world.state.orders.open[1]
    starts = [command for op, command in node.executed if op is Op.START]
    printed = order.operations[0]
    if len(starts) > 1:
        return f"{len(starts)} starts"
    stopped = node.status["job_state"] == JobState.ABORTED
    if stopped and printed.state is not OperationState.HELD:
        return f"the Job was stopped, and its operation is {printed.state}"
    if on_link_loss is FINISH and starts and printed.state is not OperationState.DONE:
        return f"the Job went on to its end, and its operation is {printed.state}: {printed.reason}"
    if starts and not printed.begun:
        return "the part that lies in the machine was forgotten"
    if not starts and printed.state not in (OperationState.WAITING, OperationState.READY, OperationState.HELD):
        return f"nothing was started, and its operation is {printed.state}"
    return ""


def together_again(folder: Path, on_link_loss: OnLinkLoss, times: int, seed: int) -> None:
    chance, finished, stopped = random.Random(seed), 0, 0
    for number in range(times):
        place = folder / str(number)
        place.mkdir()
        world, _ = left_alone(place, on_link_loss, chance)
        why = judged(world, on_link_loss)
        assert why == "", f"instant {number}: {why}"
        stopped += world.nodes[PRINTER].status["job_state"] == JobState.ABORTED
        finished += world.state.orders.open[1].operations[0].state is OperationState.DONE
        world.book.close()
    assert finished > times // 8 and bool(stopped) == (on_link_loss is STOP)


@pytest.mark.parametrize("on_link_loss", [FINISH, STOP])
def test_a_job_that_was_left_alone_is_taken_over_as_it_stands_and_nothing_starts_by_itself(
    place: Path, on_link_loss: OnLinkLoss
) -> None:
    together_again(place, on_link_loss, 8, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("on_link_loss", [FINISH, STOP])
def test_the_same_at_a_thousand_instants(place: Path, on_link_loss: OnLinkLoss) -> None:
    together_again(place, on_link_loss, 500, seed=2)
