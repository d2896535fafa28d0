"""What a node is asked each scan covers all Signals in few requests, within Modbus's limits."""

from hypothesis import given
from hypothesis import strategies as st

from controller.modbus.pdu import MOST_READ, MOST_WRITTEN, NoReply, Read, Write
from controller.modbus.plan import MOST_GAP, Heard, Span, merge, scan_plan
from tests.controller.factories import belts, shop
from twin.node import COMMAND_AT, NodeStatus
from twin.wire import layout

spans = st.lists(st.builds(Span, st.integers(0, 2000), st.integers(1, 8)), max_size=40)


@given(spans, st.integers(8, 125), st.integers(0, 30))
def test_merged_spans_cover_all_and_none_is_cut_or_too_long(given_: list[Span], most: int, gap: int) -> None:
    made = merge(given_, most, gap)
    for span in given_:
        assert any(m.address <= span.address and span.end <= m.end for m in made)
    assert all(m.count <= most for m in made)
    assert sum(m.count for m in made) <= sum(s.count for s in given_) + gap * len(given_)
    assert list(made) == sorted(made, key=lambda m: m.address)


def test_the_demo_takes_two_reads_and_two_writes_a_node() -> None:
    factory = shop()
    for node in factory.nodes:
        plan = scan_plan(factory, node)
        (machine,) = factory.on(node)
        command = [0] * machine.type.layouts[1].size
        asked = plan.requests(tuple(range(14)), {machine.name: tuple(command)})
        assert [type(request) for request in asked] == [Write, Write, Read, Read]
        assert asked[0] == Write(COMMAND_AT, tuple(range(14)))
        assert asked[2] == Read(0, layout(NodeStatus).size)
        assert plan.requests() == list(plan.reads)


def test_machines_close_together_are_read_at_once_and_far_ones_apart() -> None:
    near, far = 256 + 5 + MOST_GAP, 600
    plan = scan_plan(belts([256, near, far]), "n")
    assert plan.reads[1:] == (Read(256, near + 5 - 256), Read(far, 5))
    assert len(plan.writes) == 3, "a node refuses a write across two Commands"


@given(st.lists(st.integers(5, 60), min_size=1, max_size=12))
def test_every_machine_gets_back_the_registers_that_lie_in_its_node(gaps: list[int]) -> None:
    bases = [256]
    for gap in gaps:
        if bases[-1] + gap + 5 < 1024 and len(bases) < 8:
            bases.append(bases[-1] + gap)
    factory = belts(bases)
    plan = scan_plan(factory, "n")
    bank = [(31 * i) & 0xFFFF for i in range(1024)]
    assert all(read.count <= MOST_READ for read in plan.reads)
    assert all(span.count <= MOST_WRITTEN for span in plan.writes)
    heard = plan.heard([tuple(bank[r.address : r.address + r.count]) for r in plan.reads])
    assert isinstance(heard, Heard) and heard.node == tuple(bank[: layout(NodeStatus).size])
    for machine in factory.on("n"):
        assert heard.machines[machine.name] == tuple(bank[machine.base : machine.base + machine.type.size])


def test_one_failed_read_fails_the_scan_of_its_node_and_a_refused_write_does_not() -> None:
    plan = scan_plan(shop(), "belt-1")
    status = (0,) * layout(NodeStatus).size
    lost = NoReply("late")
    assert plan.heard([status, lost]) is lost
    assert isinstance(plan.heard([lost, lost, status, (0,) * 5]), Heard)
