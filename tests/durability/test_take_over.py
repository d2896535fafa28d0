"""The controller is killed at any point of a scan, its disk slow or not, its nodes restarted and cut off: what is true afterwards.

The scan, the dispatch and the book are the product's own; the nodes are plain ones that count what they execute.
"""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from controller.orders.order import OperationState
from tests.controller.factories import shop
from tests.durability.story import ramdisk
from tests.durability.world import POINTS, Durable
from twin import node as n

FACTORY = shop()


class TakeOver(RuleBasedStateMachine):
    """People, kills, cuts and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir=ramdisk())
        self.world = Durable(Path(self._folder.name), FACTORY)
        self.run_scans(4)

    def teardown(self) -> None:
        self.world.book.close()
        self._folder.cleanup()

    @rule(scans=st.sampled_from([1, 2, 7, 30]))
    def run_scans(self, scans: int) -> None:
        self.world.steps(scans)

    @rule(point=st.sampled_from(POINTS), after=st.integers(0, 6))
    def is_killed(self, point: str, after: int) -> None:
        self.run_scans(after)
        self.world.kill_at = point
        self.run_scans(1)

    @rule(after=st.integers(1, 12), down=st.sampled_from([0, 3, 12]))
    def is_killed_and_stays_away(self, after: int, down: int) -> None:
        self.run_scans(after)
        for _ in range(down):
            self.world.nobody_there()
        self.world.restart()

    @rule()
    def places_an_order(self) -> None:
        self.world.ask("place_order", recipe="print-and-convey", program="part.gcode")
        self.run_scans(1)

    @rule(kind=st.sampled_from(["start", "pause", "stop", "reset"]), machine=st.sampled_from(["printer-1", "belt-1"]))
    def asks(self, kind: str, machine: str) -> None:
        self.world.ask(kind, machine=machine)
        self.run_scans(1)

    @rule(where=st.sampled_from(["deaf", "mute"]), node=st.sampled_from(["printer-1", "belt-1"]), on=st.booleans())
    def the_wire(self, where: str, node: str, on: bool) -> None:
        setattr(self.world.wires[node], where, on)

    @rule(on=st.booleans())
    def the_disk_is_slow(self, on: bool) -> None:
        self.world.slow_disk = on

    @rule()
    def the_printer_restarts(self) -> None:
        self.world.nodes["printer-1"].restart()
        self.run_scans(1)

    @precondition(lambda self: self.world.nodes["printer-1"].status["job_state"] == n.JobState.RUNNING)
    @rule()
    def somebody_else_resets_what_the_node_said(self) -> None:
        """A command line, while the core is gone: its result overwrites the one of the start."""
        node = self.world.nodes["printer-1"]
        node.set(command_id=0xFFFF0001, result=n.Result.DONE)

    @invariant()
    def no_job_was_started_twice(self) -> None:
        for node in self.world.nodes.values():
            times = Counter(command for op, command in node.executed)
            assert not [command for command, count in times.items() if count > 1]

    @invariant()
    def a_start_was_on_disk_before_it_ran(self) -> None:
        for command, disk in self.world.started:
            assert any(o.command_id == command for order in disk.open.values() for o in order.operations), f"{command:#x}"

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        for number, revision in self.world.acknowledged.items():
            found = self.world.state.orders.open.get(number)
            assert found is None or found.revision >= revision
            assert found is not None or number <= self.world.state.orders.next_order - 1

    @invariant()
    def a_job_that_the_node_has_begun_is_never_made_again(self) -> None:
        """However it went, nothing puts a second part on the first one."""
        for order in self.world.state.orders.open.values():
            for operation in order.operations:
                if operation.machine == "printer-1" and operation.state is OperationState.HELD and not operation.begun:
                    node = self.world.nodes["printer-1"]
                    ran = [command for op, command in node.executed if op is n.Op.START]
                    assert operation.command_id not in ran or node.status["boot_id"] != operation.boot_id, "its part was forgotten"


def test_whenever_the_controller_is_killed_orders_are_taken_over_as_they_really_stand() -> None:
    run_state_machine_as_test(TakeOver, settings=settings(max_examples=8, stateful_step_count=20, deadline=None))


@pytest.mark.soak
@pytest.mark.parametrize("steps", [30, 50, 80])
def test_the_same_for_very_long(steps: int) -> None:
    checks: list[Any] = [HealthCheck.too_slow]
    run_state_machine_as_test(
        TakeOver, settings=settings(max_examples=500, stateful_step_count=steps, deadline=None, suppress_health_check=checks)
    )

