"""References under whatever is added and taken away; nodes that were laid behave as those that were added."""

import itertools
from collections import Counter
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.encoding import NULL_TEXT, node_key, qualified
from controller.opcua.nodes.cache import pack, unpack
from controller.opcua.nodes.store import NO_NODE, OBJECT, REFERENCE_TYPE, Nodes

FIRST = 5
"""Numbers below are reference types: HasTypeDefinition, HasSubtype and three others."""
Reference = tuple[int, int, int]


def few() -> Nodes:
    """Reference types and a dozen objects."""
    nodes = Nodes()
    for number in (40, 45, 47, 35, 46):
        nodes.add(node_key(0, number), REFERENCE_TYPE, qualified(str(number)), NULL_TEXT, rule=0)
    for number in range(12):
        nodes.add(node_key(2, f"n{number}"), OBJECT, qualified(str(number)), NULL_TEXT, rule=0, attributes={12: b"\x03\x00"})
    return nodes


ENDS = st.integers(FIRST, FIRST + 11)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("refer"), st.tuples(ENDS, st.integers(0, FIRST - 1), ENDS)),
        st.tuples(st.just("part"), st.integers(0, 50)),
        st.tuples(st.just("remove"), ENDS),
        st.tuples(st.just("keep"), st.just(0)),
        st.tuples(st.just("again"), st.integers(0, 1)),
    ),
    max_size=40,
)


def seen(nodes: Nodes, forward: bool) -> list[Reference]:
    """All references from one of their ends."""
    found = []
    for number in nodes.numbers():
        for kind, is_forward, other in nodes.references(number):
            if is_forward == forward:
                found.append((number, kind, other) if forward else (other, kind, number))
    return sorted(found)


def below(model: set[Reference], top: int) -> set[int]:
    """A node and all that HasSubtype leads down to."""
    found: set[int] = set()
    more = {top}
    while more := more - found:
        found |= more
        more = {target for source, kind, target in model if kind == 1 and source in more}
    return found


def _of(held: set[int], mask: Any) -> set[int]:
    return held & set(mask.nonzero()[0].tolist())


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_references_are_the_same_from_both_ends_whatever_is_added_taken_away_or_kept(steps: list[tuple[str, Any]]) -> None:
    nodes, model, gone, free = few(), set[Reference](), set[int](), set[int]()
    fresh = itertools.count()
    for what, given_ in steps:
        if what == "refer":
            source, kind, target = given_
            if source not in gone and target not in gone:
                nodes.refer(source, kind, target)
                model.add((source, kind, target))
        elif what == "part" and model:
            reference = sorted(model)[given_ % len(model)]
            nodes.part(*reference)
            model.discard(reference)
        elif what == "remove" and given_ not in gone:
            nodes.remove(given_)
            gone.add(given_)
            model = {each for each in model if given_ not in (each[0], each[2])}
        elif what == "again":  # every second of the numbers is held by somebody
            held = {number for number in gone - free if number % 2 == given_}
            nodes.reuse(partial(_of, held))
            free = gone - held
            for _ in tuple(free):
                name = f"again{next(fresh)}"
                new = nodes.add(node_key(2, name), OBJECT, qualified(name), NULL_TEXT, rule=0)
                free.discard(new)
                gone.remove(new)
            assert not free and len(nodes) == FIRST + 12
        elif what == "keep":
            nodes = unpack(pack(nodes))
        assert seen(nodes, True) == seen(nodes, False) == sorted(model)
        assert all(nodes.subtypes(number) == below(model, number) for number in nodes.numbers())
    assert {number for number in range(len(nodes)) if nodes.find(nodes.keys[number]) == NO_NODE} == gone


def test_ten_thousand_nodes_in_one_folder_cost_as_many_steps_as_in_ten_thousand_folders() -> None:
    counted: Counter[str] = Counter()

    class Counting(dict[int, None]):
        """Counts what is done to one node's references."""

        def __setitem__(self, key: int, value: None) -> None:
            counted["set"] += 1
            super().__setitem__(key, value)

        def __iter__(self):  # type: ignore[no-untyped-def]
            counted["walked"] += len(self)
            return super().__iter__()

    nodes = few()
    folder = FIRST
    nodes._references[folder] = Counting()
    for number in range(10_000):
        new = nodes.add(node_key(2, f"v{number}"), OBJECT, qualified("v"), NULL_TEXT, rule=0)
        nodes.refer(folder, 3, new)
    assert counted == {"set": 10_000} and len(nodes.packed(folder)) == 10_000


def test_the_same_attributes_of_many_nodes_lie_there_once_and_changing_one_leaves_the_others() -> None:
    nodes = unpack(pack(few()))
    assert nodes.attributes[FIRST] is nodes.attributes[FIRST + 1]
    nodes.put(FIRST, 12, b"\x03\x01")
    assert nodes.attributes[FIRST][12] == b"\x03\x01" and nodes.attributes[FIRST + 1][12] == b"\x03\x00"
