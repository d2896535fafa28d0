"""The Read service against a slow one that makes an object for everything, and its statuses against Part 4's text."""

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.attribute_ids import AttributeIds as Id
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import from_binary, struct_to_binary, variant_from_binary
from asyncua.ua.uaerrors import UaStatusCodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.opcua import attributes, ranges
from controller.opcua.encoding import data_value, variant
from controller.opcua.plane import DOUBLE, INT64, STRING
from controller.opcua.reading import MOST_PLANS, Reading, reshaped
from controller.opcua.roles import May, Rule
from controller.users import Role
from tests.controller.opcua.answering import METHOD, OBJECT, Place, ask, listed, our, session
from tests.controller.opcua.nodes.test_build import whole
from tests.controller.opcua.wired import Wired

BOTH = ua.TimestampsToReturn.Both
CODES = StatusCodes
KINDS: dict[int, st.SearchStrategy[Any]] = dict.fromkeys(range(2, 10), st.integers(0, 100))
KINDS |= {1: st.booleans(), 10: st.floats(-1e6, 1e6, width=32)}
KINDS |= {DOUBLE: st.floats(allow_nan=False), STRING: st.text(max_size=8), INT64: st.integers(-(2**63), 2**63 - 1)}
CODE = {"": 0, "bad": CODES.BadOutOfRange, "old": CODES.UncertainLastUsableValue}


@dataclass(frozen=True)
class Held:
    """What a Variable of the slow server has."""

    kind: int
    value: Any
    status: int
    source: int


variables = st.lists(
    st.sampled_from([*sorted(KINDS), STRING, STRING, STRING, DOUBLE]).flatmap(
        lambda kind: st.builds(
            Held, st.just(kind), st.none() | KINDS[kind], st.sampled_from(sorted(CODE.values())), st.just(0) | st.integers(1, 2**60)
        )
    ),
    min_size=1,
    max_size=12,
)


def placed(held: list[Held]) -> tuple[Place, Reading]:
    """A server that has them, committed at time 77."""
    place = Place()
    for n, one in enumerate(held):
        _, row = place.variable(f"v{n}", one.kind)
        if one.value is None:
            place.plane.put_status(np.array([row]), one.status, np.array([one.source]))
        elif one.kind == STRING:
            place.plane.put_text(row, one.value, one.status, one.source)
        else:
            numbers = np.array([one.value], np.float64 if one.kind in (10, 11) else np.int64)
            place.plane.put(np.array([row]), numbers, one.status, one.source)
    place.plane.commit(77)
    return place, Reading(place.nodes, place.plane)


def request(items: list[ua.ReadValueId], stamps: int = BOTH, max_age: float = 0.0) -> ua.ReadParameters:
    """What is asked for."""
    return ua.ReadParameters(max_age, ua.TimestampsToReturn(stamps), items)


def item(path: str, attribute: int = Id.Value, text: str | None = None, encoding: str | None = None) -> ua.ReadValueId:
    """One thing that is asked for."""
    return ua.ReadValueId(our(path), Id(attribute), text, ua.QualifiedName(encoding, 0))


def moment(ticks: int) -> Any:
    """A DateTime as asyncua has it."""
    return ua.win_epoch_to_datetime(ticks)


@given(variables, st.data())
@settings(max_examples=60, deadline=None)
def test_any_mix_of_values_is_read_as_a_slow_server_would(held: list[Held], data: st.DataObject) -> None:
    _, reading = placed(held)
    stamps = data.draw(st.integers(0, 3))
    wanted = data.draw(st.lists(st.integers(0, len(held)), min_size=1, max_size=30))
    asked = request([item(f"v{n}") for n in wanted], stamps)
    for _ in range(2):  # the second time from what was kept
        results, infos = listed(ask(reading.read, asked, session()), ua.DataValue)
        assert not infos and len(results) == len(wanted)
        for n, got in zip(wanted, results, strict=True):
            if n == len(held):
                assert (got.Value.Value, got.StatusCode.value) == (None, CODES.BadNodeIdUnknown)
                continue
            one = held[n]
            assert got.StatusCode.value == one.status
            assert got.SourceTimestamp == (moment(one.source) if one.source and stamps in (0, 2) else None)
            assert got.ServerTimestamp == (moment(77) if stamps in (1, 2) else None)
            assert got.Value.Value == (None if one.status >> 31 else one.value)
            assert got.Value.Value is None or got.Value.VariantType.value == one.kind


def test_what_was_kept_of_a_request_tells_the_values_of_now() -> None:
    place, reading = placed([Held(DOUBLE, 1.0, 0, 5), Held(STRING, "one", 0, 5)])
    asked = request([item("v0"), item("v1"), item("v2")])
    first, _ = listed(ask(reading.read, asked, session()), ua.DataValue)
    place.plane.put(np.array([0]), np.array([2.0]), 0, 6)
    place.plane.put_text(1, "two", 0, 6)
    place.plane.commit(78)
    then, _ = listed(ask(reading.read, asked, session()), ua.DataValue)
    place.constant("v2", 3.0)
    last, _ = listed(ask(reading.read, asked, session()), ua.DataValue)
    values = [[shown_of(one) for one in results] for results in (first, then, last)]
    assert values == [[1.0, "one", "BadNodeIdUnknown"], [2.0, "two", "BadNodeIdUnknown"], [2.0, "two", 3.0]]


def test_no_more_is_kept_than_was_agreed() -> None:
    _, reading = placed([Held(DOUBLE, 1.0, 0, 5)])
    for n in range(MOST_PLANS + 50):
        ask(reading.read, request([item("v0"), item(f"x{n}")]), session())
    assert len(reading._plans) == MOST_PLANS
    ask(reading.read, request([item("y" * 4000 + str(n)) for n in range(1000)]), session())
    ask(reading.read, request([item("z" * 4000 + str(n)) for n in range(1000)]), session())
    assert sum(len(key[0]) for key in reading._plans) == reading._bytes <= 4 << 20


# ---- IndexRange

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3)
bounds = st.tuples(st.integers(0, 5), st.none() | st.integers(1, 4)).map(lambda b: (b[0], None if b[1] is None else b[0] + b[1]))


def shown(parts: list[tuple[int, int | None]]) -> str:
    """As a NumericRange's text."""
    return ",".join(str(first) if last is None else f"{first}:{last}" for first, last in parts)


@given(shapes, st.lists(bounds, min_size=1, max_size=4), st.sampled_from(["Int32", "String"]))
@settings(max_examples=150, deadline=None)
def test_a_range_is_what_numpy_slices(shape: list[int], parts: list[tuple[int, int | None]], kind: str) -> None:
    numbers = np.arange(math.prod(shape)).reshape(shape)
    whole: Any = numbers if kind == "Int32" else numbers.astype(str).astype(object)
    dimensions: Any = shape if len(shape) > 1 else None
    encoded = variant(ua.Variant(whole.tolist(), ua.VariantType[kind], dimensions, is_array=True))
    wanted = tuple(slice(first, (first if last is None else last) + 1) for first, last in parts)
    over = len(parts) - len(shape)
    expected = whole[wanted[: len(shape)]] if over in (0, 1) else np.zeros(0)
    if over == 1 and kind == "String":
        expected = np.vectorize(lambda text: text[wanted[-1]] or None, otypes=[object])(expected) if expected.size else expected
    if expected.size == 0 or over not in (0, 1) or (over == 1 and kind == "Int32"):
        with pytest.raises(ServiceError) as refused:
            ranges.part(encoded, ranges.parse(shown(parts)))
        assert refused.value.code == CODES.BadIndexRangeNoData
        return
    found = variant_from_binary(Buffer(ranges.part(encoded, ranges.parse(shown(parts)))))
    assert found.Value == expected.tolist()
    assert found.Dimensions == (list(expected.shape) if len(shape) > 1 else None)


@given(st.text("0123456789:,-+ x٣", max_size=9))
@example("1:1")
@example("1:2")
@example("4294967296")
@example(",".join("0" * 9))
def test_only_a_numeric_range_is_one(text: str) -> None:
    def number(part: str) -> bool:
        return part.isascii() and part.isdigit() and int(part) <= 0xFFFFFFFF

    def one(part: str) -> bool:
        first, colon, last = part.partition(":")
        return number(first) and (not colon or (number(last) and int(first) < int(last)))

    if all(one(part) for part in text.split(",")) and len(text.split(",")) <= 8:
        ranges.parse(text)
    else:
        with pytest.raises(ServiceError) as refused:
            ranges.parse(text)
        assert refused.value.code == CODES.BadIndexRangeInvalid


def read_one(reading: Reading, *asked: Any, role: Role = Role.OPERATOR, **more: Any) -> Any:
    """The value, or the status' name."""
    (found,), _ = listed(ask(reading.read, request([item(*asked, **more)]), session(role)), ua.DataValue)
    return shown_of(found)


def shown_of(found: Any) -> Any:
    """A good one's value, or the status' name."""
    return found.Value.Value if found.StatusCode.is_good() else found.StatusCode.name


def test_ranges_of_texts_of_bytes_and_of_what_has_none() -> None:
    place, reading = placed([Held(STRING, "häuser", 0, 5), Held(DOUBLE, 1.0, 0, 5)])
    place.constant("bytes", b"abcdef")
    place.constant("empty", [], ua.VariantType.Int32)
    assert read_one(reading, "v0", text="1:2") == "äu"
    assert read_one(reading, "v0", text="6") == "BadIndexRangeNoData"
    assert read_one(reading, "v1", text="0") == "BadIndexRangeNoData"
    assert read_one(reading, "bytes", text="4:9") == b"ef"
    assert read_one(reading, "empty", text="0") == "BadIndexRangeNoData"
    assert read_one(reading, "v1", text="1:0") == read_one(reading, "bytes", text="ü") == "BadIndexRangeInvalid"
    assert read_one(reading, "v0", Id.DisplayName, "0") == "BadIndexRangeNoData"


# ---- statuses, attributes, permissions


def test_every_attribute_of_every_node_class_is_told_or_refused_by_its_id() -> None:
    place = Place()
    reading = Reading(place.nodes, place.plane)
    names = "Object Variable Method ObjectType VariableType ReferenceType DataType View".split()
    classes = {name: 1 << bit for bit, name in enumerate(names)}
    every = {1, 2, 3, 4, 5, 6, 7, 25, 26}  # 24, RolePermissions, is told to engineers
    has = {
        "Object": {12}, "Variable": {13, 14, 15, 17, 18, 20, 27}, "Method": {21, 22}, "ObjectType": {8},
        "VariableType": {8, 14, 15}, "ReferenceType": {8, 9}, "DataType": {8}, "View": {11, 12},
    }  # fmt: skip
    for name, number in classes.items():
        place.add(name, number)
        told: set[int] = set()
        for n in range(35):
            raw = struct_to_binary(ua.ReadValueId(our(name), Id.Value))
            changed = raw[:-14] + struct.pack("<I", n) + raw[-10:]
            (found,), _ = listed(ask(reading.read, struct.pack("<dii", 0, 3, 1) + changed, session()), ua.DataValue)
            if found.StatusCode is None or found.StatusCode.value == 0:
                told.add(n)
            elif n == 24:
                assert found.StatusCode.name == "BadUserAccessDenied"
            else:
                assert found.StatusCode.name == "BadAttributeIdInvalid", (name, n)
        assert told == every | has[name], name


def test_access_levels_are_told_as_a_role_has_them() -> None:
    place = Place()
    reading = Reading(place.nodes, place.plane)
    place.variable("set", DOUBLE, Rule.SETPOINT, access=0b111)
    place.variable("hidden", DOUBLE, access=0b010)
    place.add("start", METHOD, rule=Rule.COMMAND)
    levels = {role: read_one(reading, "set", Id.UserAccessLevel, role=role) for role in Role}
    assert levels == {Role.OBSERVER: 0b101, Role.OPERATOR: 0b111, Role.ENGINEER: 0b111, Role.ADMINISTRATOR: 0b111}
    assert read_one(reading, "set", Id.AccessLevel) == read_one(reading, "set", Id.AccessLevelEx) & 0xFF == 0b111
    assert [read_one(reading, "start", Id.UserExecutable, role=role) for role in Role] == [False, True, True, True]
    assert read_one(reading, "start", Id.Executable, role=Role.OBSERVER) is True
    assert read_one(reading, "hidden") == "BadNotReadable"
    assert len(read_one(reading, "start", Id.RolePermissions, role=Role.ENGINEER)) == 7
    assert {p.Permissions for p in read_one(reading, "start", Id.UserRolePermissions)} == {4096 | 1 | 32 | 128 | 2048}


def test_what_one_may_not_browse_is_unknown_and_what_one_may_not_read_is_denied() -> None:
    place = Place()
    reading = Reading(place.nodes, place.plane)
    place.add("secret", OBJECT, rule=Rule.SECURITY)
    place.constant("trust", 5)
    place.nodes.rules[-1] = Rule.SECURITY
    assert read_one(reading, "trust", role=Role.ENGINEER) == read_one(reading, "secret", Id.DisplayName) == "BadNodeIdUnknown"
    assert read_one(reading, "trust", role=Role.ADMINISTRATOR) == 5
    assert read_one(reading, "trust", Id.RolePermissions, role=Role.OPERATOR) == "BadNodeIdUnknown"


def test_a_value_that_may_be_seen_and_not_read_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    reading = Reading(place.nodes, place.plane)
    place.constant("plain", 1.0)
    monkeypatch.setattr(attributes, "TABLE", ((int(May.BROWSE),) * len(Role),) * len(Rule))
    assert read_one(reading, "plain") == "BadUserAccessDenied"
    assert read_one(reading, "plain", Id.DisplayName) == ua.LocalizedText("plain")


def test_a_method_that_cannot_be_called_now_says_so() -> None:
    place = Place()
    reading = Reading(place.nodes, place.plane)
    node = place.add("start", METHOD, rule=Rule.COMMAND)
    why = [""]
    reading.hindrances[node] = lambda: why[0]
    before = read_one(reading, "start", Id.Executable), read_one(reading, "start", Id.UserExecutable)
    why[0] = "latched"
    after = read_one(reading, "start", Id.Executable), read_one(reading, "start", Id.UserExecutable)
    assert (before, after) == ((True, True), (False, False))


def test_values_that_are_made_when_they_are_read_and_data_encodings() -> None:
    place = Place()
    reading = Reading(place.nodes, place.plane)
    node = place.add("now", 2)
    place.nodes.reads[node] = lambda asking: data_value(variant(f"for {asking.who.name}"), 0, 3, 4)
    place.constant("range", ua.Range(0.0, 1.0))
    place.constant("plain", 1.0)
    assert read_one(reading, "now") == "for otto" and read_one(reading, "now", text="4:5") == "ot"
    assert read_one(reading, "range", encoding="Default Binary") == ua.Range(0.0, 1.0)
    assert read_one(reading, "range", encoding="Default XML") == "BadDataEncodingUnsupported"
    assert read_one(reading, "range", encoding="Mine") == read_one(reading, "plain", encoding="Default Binary")
    assert read_one(reading, "plain", encoding="Default Binary") == "BadDataEncodingInvalid"
    found: Any = from_binary(ua.DataValue, Buffer(reading.read_value(session(), node)))
    assert (found.Value.Value, found.SourceTimestamp, found.ServerTimestamp) == ("for otto", moment(3), moment(4))


def test_what_the_demo_factorys_nodes_have_is_what_asyncuas_codec_reads() -> None:
    _, nodes, plane, _ = whole()
    reading, engineer = Reading(nodes, plane), session(Role.ADMINISTRATOR)
    told: dict[str, int] = {}
    for node in list(nodes.numbers())[::40]:
        for wanted in range(1, 28):
            found: Any = from_binary(ua.DataValue, Buffer(reading.read_value(engineer, node, wanted)))
            told[found.StatusCode.name] = told.get(found.StatusCode.name, 0) + 1
    assert set(told) == {"Good", "BadAttributeIdInvalid", "BadWaitingForInitialData"} and told["Good"] > 2000


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (struct_to_binary(request([])), "BadNothingToDo"),
        (struct_to_binary(request([item("v0")], max_age=-1.0)), "BadMaxAgeInvalid"),
        (struct_to_binary(request([item("v0")], max_age=math.nan)), "BadMaxAgeInvalid"),
        (struct.pack("<dii", 0.0, 4, 0), "BadTimestampsToReturnInvalid"),
        (struct.pack("<dii", 0.0, -1, 0), "BadTimestampsToReturnInvalid"),
        (struct.pack("<dii", 0.0, 2, -1), "BadNothingToDo"),
        (struct.pack("<dii", 0.0, 2, -2), "BadDecodingError"),
        (struct.pack("<dii", 0.0, 2, 2001), "BadTooManyOperations"),
        (struct.pack("<dii", 0.0, 2, 2000), "BadDecodingError"),
        (struct.pack("<di", 0.0, 2), "BadDecodingError"),
        (b"\x00", "BadDecodingError"),
        (struct_to_binary(request([item("v0")]))[:-1], "BadDecodingError"),
        (struct_to_binary(request([item("v0")])) + b"\x00", "BadDecodingError"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_as_a_whole(content: bytes, status: str) -> None:
    _, reading = placed([Held(DOUBLE, 1.0, 0, 5)])
    with pytest.raises(ServiceError) as refused:
        ask(reading.read, content, session())
    assert ua.StatusCode(refused.value.code).name == status  # type: ignore[arg-type]


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: struct.pack("<dii", 0.0, 2, 1) + rest))
@settings(max_examples=300, deadline=None)
def test_no_bytes_end_in_anything_but_an_answer_or_a_fault(content: bytes) -> None:
    _, reading = placed([Held(DOUBLE, 1.0, 0, 5)])
    try:
        listed(ask(reading.read, content, session()), ua.DataValue)
    except ServiceError as fault:
        assert fault.code >> 31


def test_an_answer_that_would_be_too_large_is_not_made() -> None:
    place = Place()
    reading = Reading(place.nodes, place.plane)
    place.constant("big", b"x" * 100_000)
    with pytest.raises(ServiceError) as refused:
        ask(reading.read, request([item("big")] * 2000), session())
    assert refused.value.code == CODES.BadResponseTooLarge
    small = session()
    small.max_response = 100_050
    with pytest.raises(ServiceError):
        ask(reading.read, request([item("big")] * 2), small)


def test_data_values_lose_the_times_that_nobody_wants_and_their_picoseconds() -> None:
    encoded = b"\x3f" + variant(1.0) + struct.pack("<IqHqH", 5, 3, 7, 4, 8)  # the order of Part 6 §5.2.2.17, which asyncua has not
    found: list[Any] = [from_binary(ua.DataValue, Buffer(reshaped(encoded, stamps, None))) for stamps in range(4)]
    assert [one.Value.Value for one in found] == [1.0] * 4
    assert [(one.SourceTimestamp, one.ServerTimestamp, one.SourcePicoseconds) for one in found] == [
        (moment(3), None, None), (None, moment(4), None), (moment(3), moment(4), None), (None, None, None),
    ]  # fmt: skip


def test_a_client_over_the_real_link_reads_and_is_told_why_it_may_not() -> None:
    _, reading = placed([Held(DOUBLE, 1.5, 0, 5)])
    with Wired(reading.services(), users={"otto": Role.OPERATOR}) as wired:
        client = wired.client(user="otto")
        (found,) = client.ask("Read", request([item("v0")])).Results
        assert found.Value.Value == 1.5
        with pytest.raises(UaStatusCodeError):
            client.ask("Read", request([item("v0")], max_age=-1.0))
