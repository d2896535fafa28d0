"""What is believed, and how far: quality per Signal, with its cause."""

from dataclasses import replace
from typing import Any

import pytest

from controller.image import NEVER, Image, blank
from controller.modbus.plan import Heard
from tests.controller.factories import shop
from tests.controller.fakenode import FakeNode
from twin.clock import MS, Ns, S
from twin.node import NodeStatus
from twin.trace import GOOD, Quality, Sample
from twin.wire import encode, layout

FACTORY = shop()


def heard(node: FakeNode) -> Heard:
    machines = {m.name: tuple(node.bank[m.base : m.base + m.type.size]) for m in node.machines}
    return Heard(tuple(node.bank[: layout(NodeStatus).size]), machines)


def seen(node: FakeNode, image: Image | None = None, now: Ns = S) -> Image:
    return (image or blank(FACTORY)).received(node.name, heard(node), now, 123)


def test_nothing_is_good_before_it_was_heard() -> None:
    image = blank(FACTORY)
    assert image.machine("belt-1").status is None
    assert image.machine("belt-1").belief("at_entry").quality is Quality.STALE
    nothing = Sample(None, Ns(0), 0, NEVER)
    assert image.node("belt-1") == image.machine("belt-1") == image.command("belt-1") == nothing


def test_what_was_heard_is_good_in_si_and_carries_both_times() -> None:
    node = FakeNode(FACTORY, "belt-1")
    node.show("belt-1", at_entry=True, speed=0.1234)
    sample = seen(node).machine("belt-1")
    assert sample.good and sample.status.at_entry and sample.status.speed == pytest.approx(0.1234)
    assert (sample.at, sample.utc_ns) == (S, 123)


def test_a_sample_is_stale_after_two_and_a_half_scan_periods_and_good_again_when_heard() -> None:
    node = FakeNode(FACTORY, "belt-1")
    image = seen(node)
    limit = 2.5 * FACTORY.scan_ms * MS
    assert image.aged(Ns(S + int(limit))).machine("belt-1").good
    old = image.aged(Ns(S + int(limit) + 1))
    for belief in (old.machine("belt-1").every, old.node("belt-1").every, old.command("belt-1").every):
        assert belief.quality is Quality.STALE and belief.cause == "no reply for 250 ms"
    assert not old.machine("printer-1").good
    assert seen(node, old, Ns(3 * S)).machine("belt-1").every == GOOD


def test_a_node_on_a_slow_line_is_stale_after_two_and_a_half_of_its_own_scans() -> None:
    node = FakeNode(FACTORY, "belt-1")
    slow = replace(FACTORY, nodes={**FACTORY.nodes, "belt-1": replace(FACTORY.nodes["belt-1"], scan_ms=500)})
    image = seen(node, blank(slow))
    assert image.aged(Ns(S + 1250 * MS)).machine("belt-1").good
    assert image.aged(Ns(S + 1250 * MS + 1)).machine("belt-1").every.cause == "no reply for 1250 ms"


def test_a_lost_link_makes_its_machines_stale_at_once_and_says_why() -> None:
    image = seen(FakeNode(FACTORY, "belt-1")).lost("belt-1", "closed by the node")
    assert image.machine("belt-1").belief("speed").cause == "closed by the node"
    assert image.lost("belt-1", "closed by the node") is image


def test_only_the_signal_that_is_outside_its_range_is_bad() -> None:
    node = FakeNode(FACTORY, "belt-1")
    node.bank[257] = 9999  # 999.9 mm/s, where 500 is the most
    sample = seen(node).machine("belt-1")
    assert sample.belief("speed").quality is Quality.BAD and sample.belief("speed").cause == "outside its range"
    assert sample.belief("at_entry") == GOOD and sample.good


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("map_hash", 0xDEAD, "map differs: node says 0x0000dead, factory 0x"),
        ("uid", 77, "uid differs: node says 0x4d, factory 0x2"),
        ("magic", 0, "magic differs: node says 0x0, factory 0x4c53"),
        ("version", 9, "version differs: node says 0x9, factory 0x2"),
    ],
)
def test_a_node_that_is_not_the_factorys_makes_its_machines_bad_with_both_values(field: str, value: int, text: str) -> None:
    node = FakeNode(FACTORY, "belt-1")
    node.set(**{field: value})
    image = seen(node)
    belief = image.machine("belt-1").belief("at_entry")
    assert belief.quality is Quality.BAD and belief.cause.startswith(text)
    assert image.refused["belt-1"].startswith(text) and not image.machine("belt-1").good
    mended = seen(FakeNode(FACTORY, "belt-1"), image)
    assert not mended.refused and mended.machine("belt-1").good


def test_a_status_that_cannot_be_read_keeps_the_last_one_and_is_bad() -> None:
    node = FakeNode(FACTORY, "belt-1")
    image = seen(node)
    node.bank[10] = 99  # a fault that does not exist
    after = seen(node, image)
    assert after.node("belt-1").every.quality is Quality.BAD and "99" in after.node("belt-1").every.cause
    assert after.node("belt-1").status == image.node("belt-1").status


def test_unchanged_registers_give_the_same_record_and_an_older_image_does_not_change() -> None:
    node = FakeNode(FACTORY, "belt-1")
    first = seen(node)
    again = seen(node, first, Ns(2 * S))
    assert again.machine("belt-1").status is first.machine("belt-1").status
    assert first.machine("belt-1").at == S and again.machine("belt-1").at == 2 * S


def test_the_command_is_what_the_nodes_registers_hold() -> None:
    node = FakeNode(FACTORY, "belt-1")
    kind: Any = FACTORY.machines["belt-1"].type.command
    wanted = replace(kind(), run=True, speed=0.1)
    node.bank[259:261] = encode(wanted)
    assert seen(node).command("belt-1").status == wanted
