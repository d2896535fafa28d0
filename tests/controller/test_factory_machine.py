"""Whatever happens, in whatever order: no start twice, no command to a refused node, one end for each order, no part lost."""

from collections.abc import Callable

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.orders.order import AT_WORK, TABLE, Operation, OperationState, Order, OrderState
from controller.orders.turn import OperationMoved
from tests.controller.factories import demo
from tests.controller.world import World
from twin import node as n

FACTORY = demo()
NODES = st.sampled_from(sorted(FACTORY.nodes))
MACHINES = st.sampled_from(sorted(FACTORY.machines))
_S = OperationState


FAULTS = ("wire", "power", "latch", "other node", "second controller", "disk", "planner", "kill", "people")


def unless_well(fault: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A rule that only runs in a world which has this fault."""
    return precondition(lambda machine: fault in machine.faults)


class FactoryMachine(RuleBasedStateMachine):
    """A controller, its nodes, and everybody who wishes it ill: a few at a time, so that they get far enough."""

    faults: frozenset[str] = frozenset()

    @initialize(faults=st.frozensets(st.sampled_from(FAULTS), min_size=1, max_size=3))
    def begin(self, faults: frozenset[str]) -> None:
        self.faults = faults
        self.world = World(FACTORY)
        self.world.unplannable.add("bad")
        self.world.run(3)
        self.ended: dict[int, Order] = {}
        self.moved = 0

    # ---- what people do

    @rule()
    def place(self) -> None:
        self.world.ask("place_order", recipe="print-and-convey", program="good")

    @rule(machine=MACHINES)
    def start(self, machine: str) -> None:
        self.world.ask("start", machine=machine)

    @unless_well("people")
    @rule(program=st.sampled_from(("good", "bad")), load=st.booleans())
    def ask_for_more(self, program: str, load: bool) -> None:
        if load:
            self.world.ask("load_job", machine="printer-1", program=program)
        else:
            self.world.ask("place_order", recipe="print-and-convey", program=program)

    @unless_well("people")
    @rule(kind=st.sampled_from(("pause", "stop", "reset")), machine=MACHINES)
    def press(self, kind: str, machine: str) -> None:
        self.world.ask(kind, machine=machine)

    @unless_well("people")
    @rule(order=st.integers(1, 6))
    def cancel(self, order: int) -> None:
        self.world.ask("cancel_order", order=order)

    # ---- what the world does

    @rule(scans=st.sampled_from((1, 1, 1, 2, 2, 3, 5, 10, 60)))
    def time_passes(self, scans: int) -> None:
        for _ in range(scans):
            self.world.scan()
            self.check_starts()

    @rule()
    def a_part_goes_through_the_belt(self) -> None:
        for shown in ({"at_entry": True}, {}, {"at_exit": True}, {}):
            self.world.show("belt-1", **shown)
            self.time_passes(3)

    @rule(at_entry=st.booleans(), at_exit=st.booleans(), tripped=st.booleans(), filament=st.booleans())
    def the_sensors_show(self, at_entry: bool, at_exit: bool, tripped: bool, filament: bool) -> None:
        self.world.show("belt-1", at_entry=at_entry, at_exit=at_exit, tripped=tripped)
        self.world.show("printer-1", filament=filament)

    @rule()
    def all_is_well_again(self) -> None:
        world = self.world
        world.slow_disk = world.slow_jobs = False
        for name, node in world.nodes.items():
            wire = world.wires[name]
            wire.deaf, wire.mute, wire.late = False, False, 0
            if node.status["uid"] != FACTORY.nodes[name].uid:
                node.set(uid=FACTORY.nodes[name].uid)
        world.show("printer-1")
        self.time_passes(12)
        for machine in FACTORY.machines:
            world.ask("reset", machine=machine)
        self.time_passes(4)

    @unless_well("wire")
    @rule(node=NODES, deaf=st.booleans(), mute=st.booleans(), late=st.sampled_from((0, 1, 2, 4, 12)))
    def the_wire(self, node: str, deaf: bool, mute: bool, late: int) -> None:
        wire = self.world.wires[node]
        wire.deaf, wire.mute, wire.late = deaf, mute, late

    @unless_well("wire")
    @rule(node=NODES)
    def a_new_connection(self, node: str) -> None:
        self.world.wires[node].peer = object()

    @unless_well("power")
    @rule(node=NODES)
    def power_fails(self, node: str) -> None:
        self.world.nodes[node].restart()

    @unless_well("latch")
    @rule(node=NODES, fault=st.sampled_from((n.Fault.SENSOR, n.Fault.OVER_TEMPERATURE, n.Fault.INTERLOCK)))
    def a_node_latches(self, node: str, fault: n.Fault) -> None:
        self.world.nodes[node].latch(fault)

    @unless_well("other node")
    @rule(node=NODES)
    def another_node_at_the_address(self, node: str) -> None:
        self.world.nodes[node].set(uid=99)

    @unless_well("second controller")
    @rule(node=NODES)
    def a_second_controller_claims(self, node: str) -> None:
        found = self.world.nodes[node]
        epoch = found.highest + 1
        found.write("them", n.COMMAND_AT, [0, 0xBAD, 0, epoch, 3000, epoch & 0xFFFF] + [0] * 8)

    @unless_well("disk")
    @rule()
    def the_disk_stalls(self) -> None:
        self.world.slow_disk = True

    @unless_well("planner")
    @rule()
    def planning_takes_its_time(self) -> None:
        self.world.slow_jobs = True

    @unless_well("kill")
    @rule()
    def the_controller_is_killed(self) -> None:
        self.world.restart()

    # ---- what must hold

    def check_starts(self) -> None:
        """Each start that a node carried out was promised on disk first."""
        for command_id, disk in self.world.started:
            promised = [o.command_id for order in disk.open.values() for o in order.operations]
            assert command_id in promised
        self.world.started.clear()

    @invariant()
    def no_command_runs_twice(self) -> None:
        for node in self.world.nodes.values():
            assert len(set(node.executed)) == len(node.executed)

    @invariant()
    def an_order_that_has_ended_never_changes(self) -> None:
        known = self.world.disk.open
        for number, order in known.items():
            if order.ended:
                before = self.ended.setdefault(number, order)
                assert before.state is order.state
                for old, new in zip(before.operations, order.operations, strict=True):
                    assert (old.state, old.job_id, old.command_id) == (new.state, new.job_id, new.command_id)
        for number in self.ended:
            assert number not in known or known[number].ended

    @invariant()
    def a_machine_works_for_one_order(self) -> None:
        orders = self.world.state.orders.open.values()
        at_work = [o.current.machine for o in orders if o.current.state in AT_WORK]
        assert len(set(at_work)) == len(at_work)

    @invariant()
    def every_change_is_one_of_the_table(self) -> None:
        allowed = {state.value for changes in TABLE.values() for state in changes.values()}
        for event in self.world.events[self.moved :]:
            if isinstance(event, OperationMoved):
                assert event.state in allowed
        self.moved = len(self.world.events)

    @invariant()
    def every_start_belongs_to_an_operation_that_knows_that_it_may_have_begun(self) -> None:
        by_command: dict[int, Operation] = {}
        for orders in (self.world.disk, self.world.state.orders):
            for order in orders.open.values():
                by_command.update((o.command_id, o) for o in order.operations if o.command_id)
        for op, command_id in self.world.nodes["printer-1"].executed:
            if op is n.Op.START and command_id in by_command:
                operation = by_command[command_id]
                assert operation.begun or operation.state is _S.STARTING

    @invariant()
    def an_order_that_is_done_was_printed_once(self) -> None:
        for order in self.world.state.orders.open.values():
            started = {o.command_id for o in order.operations if o.command_id}
            executed = [i for op, i in self.world.nodes["printer-1"].executed if op is n.Op.START and i in started]
            assert len(executed) <= 1
            if order.state is OrderState.DONE:
                assert len(executed) == 1

    def teardown(self) -> None:
        """When the faults stop, every order moves on or says why not."""
        if not hasattr(self, "world"):
            return
        world = self.world
        event(f"starts {min(3, sum(op is n.Op.START for op, _ in world.nodes['printer-1'].executed))}")
        event(f"done {sum(o.state is OrderState.DONE for o in world.state.orders.open.values())}")
        self.all_is_well_again()
        self.time_passes(60)
        for name in FACTORY.nodes:
            assert str(world.state.stands[name]) == "ours"
        for order in world.state.orders.open.values():
            moves = order.current.state in (_S.RUNNING, _S.STARTING)
            assert order.ended or order.current.reason or moves


FactoryMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestFactory = FactoryMachine.TestCase
