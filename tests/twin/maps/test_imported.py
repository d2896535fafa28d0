"""Whatever was imported can be written and read, and whatever is no such file is refused with lines."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.maps.importing import made
from tests.twin.maps.test_import_sunspec import model_160
from tests.twin.maps.test_import_telegraf import REGISTER_STYLE, REQUEST_STYLE
from twin.maps import MapError
from twin.maps.importers import FORMATS
from twin.maps.table import parse, write


@pytest.mark.parametrize(
    ("format", "text"),
    [("sunspec", json.dumps(model_160())), ("telegraf", REGISTER_STYLE), ("telegraf", REQUEST_STYLE)],
)
def test_an_imported_map_can_be_written_and_read(format: str, text: str) -> None:
    of = made(format, text).map
    for ending in ("csv", "toml"):
        assert [row.signal for row in parse(write(of, ending), f"x.{ending}").signals] == [row.signal for row in of.signals]


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 70_000)
    | st.sampled_from(["ID", "uint16", "Coil", "1", "modbus+tcp://h:1/1/1", "", "N"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "group",
                    "groups",
                    "points",
                    "name",
                    "type",
                    "count",
                    "sf",
                    "size",
                    "symbols",
                    "value",
                    "properties",
                    "forms",
                    "href",
                    "modv:entity",
                    "modv:address",
                    "base",
                    "op",
                    "title",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(junk, st.sampled_from(["sunspec", "wot"]))
@settings(max_examples=120, deadline=None)
def test_whatever_json_holds_it_is_a_map_or_mistakes_with_lines(value: Any, format: str) -> None:
    try:
        made(format, value)
    except MapError as wrong:
        assert all(said.startswith("f:") and said.split(":")[1].isdigit() for said in wrong.mistakes)
    assert format in FORMATS
