"""Whatever was imported can be written and read, and whatever is no such file is refused with lines."""

import json
import tomllib
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


THING = {
    "title": "pump",
    "base": "modbus+tcp://h:502/1/",
    "properties": {
        "flow": {
            "type": "integer", "minimum": 0, "maximum": 9, "unit": "V",
            "forms": [{"href": "3?quantity=1", "op": "readproperty", "modv:entity": "HoldingRegister", "modv:pollingTime": 100,
                       "contentType": "application/octet-stream;byteSeq=BIG_ENDIAN"}],
        },
        "level": {"type": "number", "forms": [{"href": "/1/5", "modv:function": 3, "modv:type": "xsd:float", "modv:quantity": 2}]},
    },
}  # fmt: skip
MAP = {
    "name": "m", "base": "0-based", "gap": 3, "classes": {"quick": 50}, "forbidden": "hr 9",
    "signals": [{"name": "a", "table": "hr", "address": 1, "type": "uint16", "enum": {"off": 0, "on": 1}, "invalid": [7, 8]},
                {"name": "b", "table": "hr", "address": 2, "type": "int16", "scale": 0.1, "scale_from": "c", "deadband": "1%",
                 "min": -10, "max": 10, "together": "q"},
                {"name": "c", "table": "hr", "address": 3, "type": "int16", "together": "q"}],
}  # fmt: skip
TEMPLATES = {
    "sunspec": model_160(),
    "telegraf": tomllib.loads(REGISTER_STYLE),
    "request": tomllib.loads(REQUEST_STYLE),
    "wot": THING,
    "map": MAP,
}
odd = (
    st.sampled_from(["", "[", "tcp://[::1", "tcp://h:abc", "modbus+tcp://[/1/2", "\x00", "|=", "nan", "1e999", "holding", "c"])
    | st.sampled_from([-1, 0, 70_000, 10**9, 2**64, 10**400, 1.5, float("inf"), True])
    | st.sampled_from([[], {}, ["ABCD"], {"a": 1}, [[1]], [{}]])
)
"""What is put in the place of something."""


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of something."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, part in inside for spot in spots(part, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The same with something else at the end of a way."""
    if not path:
        return other
    made = dict(value) if isinstance(value, dict) else list(value)
    made[path[0]] = put(made[path[0]], path[1:], other)
    return made


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return hex(value) if type(value) is int and value > 2**64 else json.dumps(value)


@given(st.sampled_from(sorted(TEMPLATES)), st.integers(0), odd)
@settings(max_examples=400, deadline=None)
def test_something_odd_anywhere_in_a_file_is_a_map_or_mistakes_with_lines(name: str, at: int, other: Any) -> None:
    there = spots(TEMPLATES[name])
    value = put(TEMPLATES[name], there[at % len(there)], other)
    try:
        if name in ("sunspec", "wot"):
            made(name, json.dumps(value))
        else:
            text = "\n".join(f"{json.dumps(key)} = {toml(part)}" for key, part in value.items()) if isinstance(value, dict) else "["
            parse(text, "f.toml") if name == "map" else made("telegraf", text)
    except MapError as wrong:
        assert all(said.startswith("f") and said.split(":")[1].isdigit() for said in wrong.mistakes)


@pytest.mark.parametrize(
    ("format", "text", "said"),
    [
        ("sunspec", f'{{"id": {"1" * 5000}, "group": {{}}}}', "f:1: id: must be a whole number from 1 to 65534, not '1111"),
        ("telegraf", f"a = 1\nb = {'1' * 5000}", "f:2: not TOML: a number has more than 300 digits (at line 2)"),
        ("telegraf", f"a = 0x{'1' * 5000}", "f:1: not TOML: a number has more than 300 digits (at line 1)"),
        ("telegraf", f"a.{'a.' * 100}a = 1", "f:1: not TOML: nested more than 64 deep"),
    ],
)
def test_what_is_too_long_or_too_deep_is_refused_with_its_line(format: str, text: str, said: str) -> None:
    with pytest.raises(MapError) as wrong:
        made(format, text)
    assert wrong.value.mistakes[0].startswith(said)


@pytest.mark.parametrize("groups", [{"count": 10**9, "points": []}, {"count": 1000, "groups": [{"count": 1000, "groups": []}]}])
def test_a_model_that_repeats_without_end_is_refused(groups: dict[str, Any]) -> None:
    ends = [{"name": name, "type": "uint16"} for name in ("ID", "L")]
    with pytest.raises(MapError, match=r"from 0 to 1000|more than 4000 groups"):
        made("sunspec", {"id": 1, "group": {"points": ends, "groups": [groups]}})
