"""A Map that is taken can be read: whatever must be read in one request, one request can read."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.fieldbus.plan import plan
from twin.maps import MapError
from twin.maps.table import parse

scans = st.sampled_from(["fast", "normal", "once"])
factor = st.tuples(st.just("hr"), st.just(""), st.just(""), scans)
scaled = st.tuples(st.just("hr"), st.just(""), st.sampled_from(["s0", "s1"]), scans)
bound = st.tuples(st.sampled_from(["hr", "hr", "hr", "ir"]), st.sampled_from(["p", "q"]), st.just(""), scans)
some = st.tuples(factor, factor, st.lists(scaled | bound, max_size=4)).map(lambda found: [found[0], found[1], *found[2]])
places = st.lists(st.integers(0, 90), min_size=6, max_size=6, unique=True)
forbidden = st.sampled_from([(), (), (40,), (10, 11, 60)])


@given(some, places, forbidden)
@settings(max_examples=150, deadline=None)
def test_a_map_that_is_taken_can_be_planned(
    rows: list[tuple[str, str, str, str]], at: list[int], not_to_be_read: tuple[int, ...]
) -> None:
    lines = [
        f"s{i},{table},{where},int16,{word},{of},{scan}"
        for i, ((table, word, of, scan), where) in enumerate(zip(rows, at, strict=False))
        if where not in not_to_be_read
    ]
    head = f"# forbidden = {'|'.join(f'hr {one}' for one in not_to_be_read)}\n"
    text = f"# most_registers = 60\n{head}name,table,address,type,together,scale_from,scan\n" + "\n".join(lines) + "\n"
    try:
        made = parse(text, "m.csv")
    except MapError as wrong:
        assert all(said.startswith("m.csv:") for said in wrong.mistakes)
        return
    blocks = [block for found in plan(made).values() for block in found]
    assert sorted(row for block in blocks for row in block.rows) == list(range(len(lines)))
    assert all(block.count <= 60 for block in blocks)
