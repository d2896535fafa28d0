"""What is asked of a unit, against the rules one by one and against every other way to cut it."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.fieldbus.plan import NETWORK, Block, Costs, plan, serial_costs
from twin.maps import Form, Map, MapError, Mapped, Place, Places, Table
from twin.maps.map import signal
from twin.serial import Serial


def row(
    name: str, address: int, form: Form = Form.UINT16, table: Table = Table.HOLDING, scan: str = "fast", **more: object
) -> Mapped:
    return Mapped(signal(name, float, Place(table, address, form, form.registers, **more)), scan=scan)  # type: ignore[arg-type]


@st.composite
def maps(draw: st.DrawFn) -> Map:
    rows = []
    for n in range(draw(st.integers(1, 14))):
        table = draw(st.sampled_from([Table.HOLDING, Table.HOLDING, Table.INPUT, Table.COILS]))
        form = Form.BOOL if table.bits else draw(st.sampled_from([Form.UINT16, Form.FLOAT32, Form.INT64]))
        more = {
            "unit": draw(st.sampled_from([None, None, None, 7])),
            "together": draw(st.sampled_from(["", "", "pair"])) if table is Table.HOLDING else "",
        }
        if more["together"]:
            more["unit"] = None
        address = draw(st.integers(0, 40))
        rows.append(row(f"s{n}", address, form, table, draw(st.sampled_from(["fast", "slow"])), **more))
        plain = table is Table.HOLDING and not more["unit"]
        others = [r.name for r in rows[:-1] if r.place.table is table and r.place.unit is None]
        if plain and others and draw(st.booleans()):
            kind = draw(st.sampled_from(["scale_from", "plus_from"]))
            rows[-1] = row(f"s{n}", address, form, table, rows[-1].scan, **more, **{kind: draw(st.sampled_from(others))})
    holes = [a for a in range(50) if not any(r.place.address <= a < r.place.end for r in rows)]
    hole = draw(st.sampled_from(holes)) if holes and draw(st.booleans()) else None
    return Map(
        "any",
        tuple(rows),
        most_registers=draw(st.sampled_from([50, 60, 125])),
        most_bits=draw(st.sampled_from([8, 2000])),
        gap=draw(st.sampled_from([None, None, 0, 3])),
        forbidden=() if hole is None else (Places(Table.HOLDING, hole, hole),),
    )


COSTS = st.builds(Costs, st.sampled_from([10.0, 350.0]), st.sampled_from([1.0, 2.5, 40.0]))


@given(maps(), COSTS)
@settings(max_examples=150, deadline=None)
def test_every_signal_is_read_once_whole_within_the_limits_and_with_what_it_needs(map: Map, costs: Costs) -> None:
    try:
        planned = plan(map, 1, costs)
    except MapError:
        return  # what must be read together cannot be: its own test
    read = sorted(index for blocks in planned.values() for block in blocks for index in block.rows)
    assert read == list(range(len(map.read)))
    together: dict[str, set[int]] = {}
    for (unit, _), blocks in planned.items():
        for block in blocks:
            assert 1 <= block.count <= (map.most_bits if block.table.bits else map.most_registers)
            assert not any(p.table is block.table and block.first <= p.last and p.first < block.end for p in map.forbidden)
            assert block.unit == unit
            for index in block.rows:
                one = map.read[index]
                needed = [one, *(map[n] for n in (one.place.scale_from, one.place.plus_from) if n)]
                for other in needed:
                    assert block.first <= other.place.address and other.place.end <= block.end
                    assert other.place.table is block.table and (other.place.unit or 1) == unit
                if one.place.together:
                    together.setdefault(one.place.together, set()).add(id(block))
            if map.gap is not None:
                ends = 0
                for a, b in pairwise(block.atoms):
                    ends = max(ends, a.end)
                    assert b.first - ends <= map.gap
    assert all(len(blocks) == 1 for blocks in together.values())


def _every_way(count: int) -> list[list[int]]:
    """All ways to cut so many things in a row into pieces, as the lengths of the pieces."""
    return [[]] if not count else [[first, *rest] for first in range(1, count + 1) for rest in _every_way(count - first)]


@given(st.lists(st.tuples(st.integers(0, 150), st.sampled_from([Form.UINT16, Form.FLOAT32])), min_size=1, max_size=8), COSTS)
@settings(max_examples=100, deadline=None)
def test_no_other_way_to_cut_is_cheaper(places: list[tuple[int, Form]], costs: Costs) -> None:
    map = Map("any", tuple(row(f"s{i}", address, form) for i, (address, form) in enumerate(places)), most_registers=60)
    (blocks,) = plan(map, 1, costs).values()

    def cost(blocks: list[tuple[int, int]]) -> float:
        return sum(costs.request + costs.register * (end - first) for first, end in blocks)

    atoms = sorted((r.place.address, r.place.end) for r in map.signals)
    cheapest = float("inf")
    for lengths in _every_way(len(atoms)):
        cut, at = [], 0
        for length in lengths:
            piece = atoms[at : at + length]
            cut.append((piece[0][0], max(end for _, end in piece)))
            at += length
        if all(end - first <= 60 for first, end in cut):
            cheapest = min(cheapest, cost(cut))
    assert cost([(b.first, b.end) for b in blocks]) == pytest.approx(cheapest)


def test_fifty_scattered_signals_in_a_hundred_registers_are_one_request_on_a_network() -> None:
    map = Map("scattered", tuple(row(f"s{i}", 2 * i) for i in range(50)))
    (blocks,) = plan(map, 1, NETWORK).values()
    assert [(b.first, b.end) for b in blocks] == [(0, 99)]


def test_a_slow_serial_line_reads_over_small_gaps_only() -> None:
    costs = serial_costs(Serial("/dev/ttyS0", 1, 9600, "even"))
    assert 8 <= costs.request / costs.register <= 14  # facts: gap about 8 to 12 registers
    map = Map("two", (row("a", 0), row("b", 8), row("c", 60)))
    (blocks,) = plan(map, 1, costs).values()
    assert [(b.first, b.end) for b in blocks] == [(0, 9), (60, 61)]


@pytest.mark.parametrize(
    ("forbidden", "blocks"),
    [
        ((), [(0, 21)]),
        ((Places(Table.HOLDING, 5, 6),), [(0, 1), (10, 21)]),
        ((Places(Table.HOLDING, 1, 1), Places(Table.HOLDING, 19, 19)), [(0, 1), (10, 11), (20, 21)]),
        ((Places(Table.INPUT, 5, 6),), [(0, 21)]),
    ],
)
def test_nothing_is_read_along_that_is_forbidden(forbidden: tuple[Places, ...], blocks: list[tuple[int, int]]) -> None:
    map = Map("holes", (row("a", 0), row("b", 10), row("c", 20)), forbidden=forbidden)
    (found,) = plan(map).values()
    assert [(b.first, b.end) for b in found] == blocks


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ((row("a", 0, together="x"), row("b", 3, table=Table.INPUT, together="x")), "different units or tables"),
        ((row("a", 0, together="x"), row("b", 200, together="x")), "take 201 addresses in one request, at most 125"),
        ((row("a", 10, Form.FLOAT32, together="x"), row("b", 15, together="x")), "hr 13 to 13 read, which is forbidden"),
    ],
)
def test_what_must_be_read_together_and_cannot_be_is_told(rows: tuple[Mapped, ...], told: str) -> None:
    with pytest.raises(MapError, match=told):
        plan(Map("wrong", rows, forbidden=(Places(Table.HOLDING, 13, 13),)))


@given(maps(), st.sets(st.integers(0, 49)))
@settings(max_examples=60, deadline=None)
def test_halving_what_is_refused_ends_with_the_signals_that_cannot_be_read_alone(map: Map, unreadable: set[int]) -> None:
    try:
        planned = plan(map)
    except MapError:
        return
    good, refused, asked = set(), set(), 0
    for blocks in planned.values():
        stack: list[Block] = list(blocks)
        while stack:
            block = stack.pop()
            asked += 1
            if unreadable.isdisjoint(range(block.first, block.end)):
                good |= set(block.rows)
            elif halves := block.halves():
                stack += halves
            else:
                refused |= set(block.rows)
    assert good.isdisjoint(refused) and good | refused == set(range(len(map.read)))
    for blocks in planned.values():
        for atom in (atom for block in blocks for atom in block.atoms):
            there = unreadable.isdisjoint(range(atom.first, atom.end))
            assert set(atom.rows) <= (good if there else refused)
