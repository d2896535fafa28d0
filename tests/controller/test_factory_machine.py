"""Whatever happens, in whatever order: no start twice, no command to a refused node, one end for each order, no part lost."""

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controller.orders.order import AT_WORK, TABLE, Operation, OperationState, Order, OrderState
from controller.orders.turn import OperationMoved
from tests.controller.factories import demo, shop
from tests.controller.world import World
from twin import node as n

_S = OperationState


PEOPLE, POWER, LATCH, OTHER, SECOND = "people", "power", "latch", "other node", "second controller"
WIRE, DISK, PLANNER, KILL = "wire", "disk", "planner", "kill"
ALWAYS = ("place", "start", "well", "belt", "belt", *["time"] * 8)
STEPS = {
    PEOPLE: ("pause", "stop", "reset", "cancel", "load", "bad", "start"),
    POWER: ("power", "power", "power"),
    LATCH: ("latch", "latch", "reset"),
    OTHER: ("other", "other"),
    SECOND: ("second", "second"),
    WIRE: ("wire", "wire", "wire", "wire", "connection", "sensors"),
    DISK: ("stall", "stall", "stall", "kill"),
    PLANNER: ("planner", "planner", "kill"),
    KILL: ("kill", "kill"),
}


class FactoryMachine(RuleBasedStateMachine):
    """A controller, its nodes, and everybody who wishes it ill: a few at a time, so that they get far enough."""

    factory = shop()

    @initialize(faults=st.frozensets(st.sampled_from(sorted(STEPS)), min_size=1, max_size=3))
    def begin(self, faults: frozenset[str]) -> None:
        self.steps = [*ALWAYS, *(step for fault in sorted(faults) for step in STEPS[fault])]
        self.world = World(self.factory)
        self.world.unplannable.add("bad")
        self.world.run(3)
        self.ended: dict[int, Order] = {}
        self.moved = 0
        self.place()

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One rule for all, so that the steps keep their weights."""
        name = data.draw(st.sampled_from(self.steps))
        node = data.draw(st.sampled_from(sorted(self.factory.nodes)))
        machine = data.draw(st.sampled_from(sorted(self.factory.machines)))
        world = self.world
        match name:
            case "place":
                self.place()
            case "bad":
                world.ask("place_order", recipe="print-and-convey", program="bad")
            case "load":
                world.ask("load_job", machine="printer-1", program="good")
            case "start" | "pause" | "stop" | "reset":
                world.ask(name, machine=machine)
            case "cancel":
                world.ask("cancel_order", order=data.draw(st.integers(1, 6)))
            case "time":
                self.time_passes(data.draw(st.sampled_from((1, 1, 1, 2, 3, 5, 10, 60))))
            case "belt":
                self.a_part_goes_through_the_belt()
            case "well":
                self.all_is_well_again()
            case "sensors":
                shown = {name: data.draw(st.booleans()) for name in ("at_entry", "at_exit", "tripped")}
                world.show("belt-1", **shown)
                world.show("printer-1", filament=data.draw(st.booleans()))
            case "wire":
                wire = world.wires[node]
                wire.deaf, wire.mute = data.draw(st.booleans()), data.draw(st.booleans())
                wire.late = data.draw(st.sampled_from((0, 0, 1, 2, 4, 12)))
            case "connection":
                world.wires[node].peer = object()
            case "power":
                world.nodes[node].restart()
            case "latch":
                world.nodes[node].latch(data.draw(st.sampled_from((n.Fault.SENSOR, n.Fault.INTERLOCK))))
            case "other":
                world.nodes[node].set(uid=99)
            case "second":
                self.a_second_controller_claims(node)
            case "stall":
                world.slow_disk = True
            case "planner":
                world.slow_jobs = True
            case "kill":
                world.restart()
            case _:
                raise AssertionError(name)

    def place(self) -> None:
        self.world.ask("place_order", recipe="print-and-convey", program="good")

    def time_passes(self, scans: int) -> None:
        for _ in range(scans):
            self.world.scan()
            self.check_starts()

    def a_part_goes_through_the_belt(self) -> None:
        for shown in ({"at_entry": True}, {}, {"at_exit": True}, {}):
            self.world.show("belt-1", **shown)
            self.time_passes(3)

    def all_is_well_again(self) -> None:
        world = self.world
        world.slow_disk = world.slow_jobs = False
        for name, node in world.nodes.items():
            wire = world.wires[name]
            wire.deaf, wire.mute, wire.late = False, False, 0
            if node.status["uid"] != self.factory.nodes[name].uid:
                node.set(uid=self.factory.nodes[name].uid)
        world.show("printer-1")
        self.time_passes(12)
        for machine in self.factory.machines:
            world.ask("reset", machine=machine)
        self.time_passes(4)

    def a_second_controller_claims(self, node: str) -> None:
        found = self.world.nodes[node]
        epoch = found.highest + 1
        found.write("them", n.COMMAND_AT, [0, 0xBAD, 0, epoch, 3000, epoch & 0xFFFF] + [0] * 8)

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
        for happened in self.world.events[self.moved :]:
            if isinstance(happened, OperationMoved):
                assert happened.state in allowed
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
        for name in self.factory.nodes:
            assert str(world.state.stands[name]) == "ours"
        before = dict(world.state.orders.open)
        self.time_passes(5)
        for number, order in world.state.orders.open.items():
            moves = order.current.state in (_S.RUNNING, _S.STARTING) or order != before[number]
            assert order.ended or order.current.reason or moves


FactoryMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestFactory = FactoryMachine.TestCase


class CarryingMachine(FactoryMachine):
    """The same with an arm that carries the parts."""

    factory = demo()

    @invariant()
    def nothing_moves_where_an_arm_reaches_in(self) -> None:
        """By what the nodes do, whatever the controller believes: an arm at a pick, and the printer, never move together."""
        nodes, picks = self.world.nodes, set()
        for orders in (self.world.disk, self.world.state.orders):
            picks |= {o.job_id for order in orders.open.values() for o in order.operations if o.capability == "pick"}
        moving = [name for name, node in nodes.items() if node.status["job_state"] == n.JobState.RUNNING and node.runs(name)]
        if "arm-1" in moving and nodes["arm-1"].status["job_id"] in picks:
            assert "printer-1" not in moving

    @invariant()
    def one_part_is_in_the_jaws(self) -> None:
        held = [
            order.id
            for order in self.world.state.orders.open.values()
            for o in order.operations
            if o.capability == "pick" and o.state is _S.DONE and not o.cleared
        ]
        assert len(held) <= 1


CarryingMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=30, deadline=None)
TestCarrying = CarryingMachine.TestCase
