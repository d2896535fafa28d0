"""Between a Signal of a Map and a node of a server: names, values, quality and time."""

import math
from datetime import UTC, datetime

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from controller.mirror.places import AHEAD_NS, Told, Unfit, heard, in_si, moved, node_id, raw_of, same
from twin.maps import Mapped, NodePlace
from twin.maps.map import Deadband, signal
from twin.units import DEG_C, MM_PER_S
from twin.wire import Range

NOW = 1_800_000_000_000_000_000
SPEED = Mapped(signal("speed", float, NodePlace("i=1", scale=0.1, offset=-5.0), MM_PER_S, Range(0, 0.5)))
COUNT = Mapped(signal("count", int, NodePlace("i=1")))
WHOLES = {
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
}


def value(raw: object, status: int = 0, source: datetime | None = None) -> ua.DataValue:
    return ua.DataValue(ua.Variant(raw), StatusCode=ua.StatusCode(ua.UInt32(status)), SourceTimestamp=source)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("nsu=urn:press;s=Press.Speed", "ns=2;s=Press.Speed"),
        ("nsu=urn:a%3Bb;i=7", "ns=3;i=7"),
        ("i=2258", "i=2258"),
        ("nsu=urn:press;g=09087e75-8e5e-499b-954f-f2a9603db28a", "ns=2;g=09087e75-8e5e-499b-954f-f2a9603db28a"),
        ("nsu=urn:press;s=a;b=c", "ns=2;s=a;b=c"),
    ],
)
def test_a_name_is_resolved_by_its_namespaces_uri(text: str, wanted: str) -> None:
    found = node_id(text, ["http://opcfoundation.org/UA/", "urn:server", "urn:press", "urn:a;b"])
    assert found == ua.NodeId.from_string(wanted)


def test_a_namespace_that_the_server_does_not_have_is_named() -> None:
    with pytest.raises(Unfit, match="the server has no namespace urn:press"):
        node_id("nsu=urn:press;s=x", ["http://opcfoundation.org/UA/"])


def test_scale_offset_and_unit_are_applied() -> None:
    assert in_si(SPEED, ua.Variant(1050)) == pytest.approx((1050 * 0.1 - 5) * 1e-3)


@given(st.floats(0, 0.5), st.sampled_from([ua.VariantType.Double, ua.VariantType.Float, ua.VariantType.Int32]))
def test_a_number_survives_the_way_to_the_server_and_back(si: float, kind: ua.VariantType) -> None:
    raw = raw_of(SPEED, si, kind)
    step = {ua.VariantType.Double: 1e-12, ua.VariantType.Float: 1e-6, ua.VariantType.Int32: 0.5 * 0.1e-3 + 1e-12}[kind]
    assert math.isclose(in_si(SPEED, ua.Variant(raw, kind)), si, abs_tol=step)


@given(st.sampled_from(sorted(WHOLES, key=lambda k: k.name)), st.integers(-(2**63), 2**63 - 1))
def test_a_whole_number_goes_only_where_it_fits(kind: ua.VariantType, number: int) -> None:
    low, high = WHOLES[kind]
    if low <= number <= high:
        assert raw_of(COUNT, number, kind) == number
    else:
        with pytest.raises(Unfit):
            raw_of(COUNT, number, kind)


RAW = st.one_of(st.none(), st.booleans(), st.text(), st.binary(), st.integers(), st.floats(), st.lists(st.integers()))


@given(st.integers(0, 2**32 - 1), RAW)
def test_whatever_a_server_says_becomes_a_value_with_a_quality(status: int, raw: object) -> None:
    found = ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(status)))
    object.__setattr__(found, "Value", ua.Variant.__new__(ua.Variant))
    for name, content in (("Value", raw), ("VariantType", ua.VariantType.Variant), ("Dimensions", None), ("is_array", False)):
        object.__setattr__(found.Value, name, content)
    for row in (SPEED, COUNT):
        told = heard(row, found, NOW)
        assert told.quality in (0, 1, 2) and bool(told.cause) == bool(told.quality)
        assert told.quality == 2 or isinstance(told.value, row.signal.type)


def test_severity_becomes_quality_with_the_codes_name() -> None:
    assert heard(SPEED, value(1050), NOW).quality == 0
    uncertain = heard(SPEED, value(1050, 0x40900000), NOW)
    assert (uncertain.value, uncertain.quality, uncertain.cause) == (pytest.approx(0.1), 1, "UncertainLastUsableValue")
    bad = heard(SPEED, value(1050, 0x808C0000), NOW)
    assert (bad.quality, bad.cause) == (2, "BadSensorFailure")
    unknown = heard(SPEED, value(1050, 0x8FFF0000), NOW)
    assert (unknown.quality, unknown.cause) == (2, "Bad (0x8fff0000)")
    assert heard(SPEED, value(9050), NOW).cause == "outside its range"


@pytest.mark.parametrize("source", [None, datetime(1601, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_a_source_whose_clock_cannot_be_right_is_told_the_time_of_reception(source: datetime | None) -> None:
    assert heard(SPEED, value(1050, 0, source), NOW).utc_ns == NOW
    near = datetime.fromtimestamp((NOW + AHEAD_NS) / 1e9 - 10, UTC)
    assert heard(SPEED, value(1050, 0, near), NOW).utc_ns == NOW + AHEAD_NS - 10_000_000_000


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_what_is_told_is_never_further_off_than_the_deadband(values: list[float]) -> None:
    row = Mapped(signal("heat", float, NodePlace("i=1"), DEG_C), deadband=Deadband(absolute=0.5))
    last: Told | None = None
    for one in values:
        now = heard(row, value(one), NOW)
        if moved(row, last, now):
            last = now
        assert last is not None and isinstance(last.value, float) and abs(last.value - one) <= 0.5


def test_what_is_read_back_must_be_the_same_as_exactly_as_its_type_holds_it() -> None:
    single = float.fromhex("0x1.99999a0000000p-4")  # 0.1 as a Float
    assert same(0.1, single, ua.VariantType.Float) and not same(0.1, single, ua.VariantType.Double)
    assert same(5, 5, ua.VariantType.Int16) and not same(1, True, ua.VariantType.Int16)
