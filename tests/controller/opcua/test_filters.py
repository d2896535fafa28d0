"""Event filters against the standard's tables, against a slow reading of them, and against asyncua where it has the operator."""

import itertools
import logging
import math
import re
import struct
import uuid
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import FilterOperator as Operator
from asyncua.ua import VariantType as Kind
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import variant_from_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.conversions import EXPLICIT, IMPLICIT, NoConversion, common, converted, typed
from controller.opcua.encoding import key_of, node_key, octets, qualified, text, variant
from controller.opcua.events import Event, Events, event
from controller.opcua.filters import compile
from controller.opcua.like import like
from controller.opcua.nodes import Nodes
from controller.opcua.nodes.cache import ready
from controller.opcua.nodes.store import OBJECT

NOW = 1_800_000_000_000_000_000


@cache
def nodes() -> Nodes:
    return ready(("urn:test:application", "urn:test:nodes"))


def literal(value: Any, kind: Kind | None = None) -> ua.LiteralOperand:
    return ua.LiteralOperand(Value=ua.Variant(value, kind))


def element(index: int) -> ua.ElementOperand:
    return ua.ElementOperand(Index=index)


def field(path: str, kind: int = ObjectIds.BaseEventType, attribute: int = 13, part: str | None = None) -> Any:
    names = [ua.QualifiedName(name) for name in path.split("/")] if path else []
    return ua.SimpleAttributeOperand(ua.NodeId(kind), names, attribute, part)  # type: ignore[arg-type]


def made(*where: tuple[Operator, list[Any]], select: list[Any] | None = None) -> ua.EventFilter:
    elements = [ua.ContentFilterElement(FilterOperator=operator, FilterOperands=operands) for operator, operands in where]
    return ua.EventFilter(SelectClauses=select or [field("Message")], WhereClause=ua.ContentFilter(Elements=elements))


def happened(kind: int = ObjectIds.AuditWriteUpdateEventType, severity: int = 500, **fields: bytes) -> Event:
    known = nodes()
    return event(known, known.standard(kind), known.standard(ObjectIds.Server), "a text", severity, NOW, fields)


def holds(*where: tuple[Operator, list[Any]], of: Event | None = None) -> bool:
    compiled = compile(made(*where), nodes())
    assert compiled.status == 0, compiled.result
    return compiled.wants(of or happened())


def value_of(operator: Operator, *operands: Any) -> bool | None:
    """What an operator comes to: a filter tells only TRUE, so its negation is asked, too."""
    if holds((operator, list(operands))):
        return True
    return False if holds((Operator.Not, [element(1)]), (operator, list(operands))) else None


# ---- what an event has ------------------------------------------------------------------------------------------------


def test_an_event_has_the_fields_of_its_base_type() -> None:
    one, other = happened(), happened()
    read = {name: variant_from_binary(Buffer(encoded)) for name, encoded in one.fields.items()}
    assert len(read["EventId"].Value) == 16 and one.fields["EventId"] != other.fields["EventId"]
    assert read["EventType"].Value == ua.NodeId(ObjectIds.AuditWriteUpdateEventType)
    assert read["SourceNode"].Value == ua.NodeId(ObjectIds.Server) and read["SourceName"].Value == "Server"
    assert read["Message"].Value.Text == "a text" and read["Severity"].Value == 500
    assert read["Time"].Value.replace(tzinfo=None) == datetime(2027, 1, 15, 8) == read["ReceiveTime"].Value.replace(tzinfo=None)
    with pytest.raises(ValueError, match="severity 0"):
        happened(severity=0)


def test_events_reach_the_server_and_the_notifiers_above_their_source() -> None:
    own = Nodes()
    for name in "HierarchicalReferences HasSubtype Organizes Server HasNotifier".split():
        number = getattr(ObjectIds, name)
        own.add(node_key(0, number), OBJECT, qualified("x"), text("x"), rule=0)
    above, subtype = own.standard(ObjectIds.HierarchicalReferences), own.standard(ObjectIds.HasSubtype)
    for number in (ObjectIds.Organizes, ObjectIds.HasNotifier):
        own.refer(above, subtype, own.standard(number))
    hall, line, belt, other = (
        own.add(node_key(2, name), OBJECT, qualified(name), text(name), rule=0, attributes={12: bytes((3, bits))})
        for name, bits in (("hall", 1), ("line", 0), ("belt", 0), ("other", 1))
    )
    own.refer(hall, own.standard(ObjectIds.HasNotifier), line)
    own.refer(line, own.standard(ObjectIds.Organizes), belt)
    own.refer(belt, own.standard(ObjectIds.Organizes), hall)  # a loop
    events = Events(own)
    server = own.standard(ObjectIds.Server)
    assert events.notifiers(belt) == {server, hall}
    assert events.notifiers(other) == {server, other}
    own.refer(other, own.standard(ObjectIds.Organizes), belt)
    assert events.notifiers(belt) == {server, hall, other}


# ---- select ------------------------------------------------------------------------------------------------------------


def selected(of: Event, *clauses: Any) -> list[Any]:
    compiled = compile(made(select=list(clauses)), nodes())
    assert compiled.status == 0
    content = Buffer(compiled.fields(of))
    (count,) = struct.unpack("<i", content.read(4))
    found = [variant_from_binary(content) for _ in range(count)]
    assert len(content) == 0
    return [each.Value for each in found]


def test_selected_fields_come_in_their_order_and_what_is_not_there_is_null() -> None:
    written = happened(OldValue=variant(1.5), AttributeId=variant(13, Kind.UInt32))
    write, method = ObjectIds.AuditWriteUpdateEventType, ObjectIds.AuditUpdateMethodEventType
    asked = [field("Severity"), field("OldValue", write), field("OldValue"), field("MethodId", method), field("NewValue", write)]
    assert selected(written, *asked) == [500, 1.5, 1.5, None, None]
    # a type that the event is no instance of: its fields are null even if they are called the same
    assert selected(written, field("Severity", method), field("Severity", ObjectIds.AuditEventType)) == [None, 500]


def test_a_part_of_an_array_or_a_text_is_selected_by_its_range() -> None:
    texts = happened(OldValue=variant([1, 2, 3, 4], Kind.Int16), NewValue=variant("abcdef"))
    write = ObjectIds.AuditWriteUpdateEventType
    asked = [field(name, write, part=part) for name in ("OldValue", "NewValue") for part in ("1", "1:2", "2:9", "7")]
    assert selected(texts, *asked) == [[2], [2, 3], [3, 4], None, "b", "bc", "cdef", None]


@pytest.mark.parametrize(
    ("clause", "code", "usable"),
    [
        (field("Severity"), 0, True),
        (field("Severity", ObjectIds.BaseObjectType), StatusCodes.BadTypeDefinitionInvalid, False),
        (field("Severity", 987_654), StatusCodes.BadTypeDefinitionInvalid, False),
        (field("Severity", attribute=4), StatusCodes.BadAttributeIdInvalid, False),
        (field("Severity", attribute=99), StatusCodes.BadAttributeIdInvalid, False),
        (field("Severity", part="3:1"), StatusCodes.BadIndexRangeInvalid, False),
        (field("Severity", part="\u0661"), StatusCodes.BadIndexRangeInvalid, False),
        (ua.SimpleAttributeOperand(ua.NodeId(2041), [ua.QualifiedName("")], 13), StatusCodes.BadBrowseNameInvalid, False),
        (field("/".join("abcdefghij")), StatusCodes.BadBrowseNameInvalid, False),
        (field("NoSuchField"), StatusCodes.BadNodeIdUnknown, True),
        (field("", ObjectIds.ConditionType, attribute=1), 0, True),
        (field("EnabledState/Id", ObjectIds.ConditionType), 0, True),
    ],
)
def test_each_select_clause_has_its_status(clause: Any, code: int, usable: bool) -> None:
    compiled = compile(made(select=[field("Message"), clause]), nodes())
    assert [each.value for each in compiled.result.SelectClauseResults] == [0, code]
    assert compiled.status == (0 if usable else StatusCodes.BadEventFilterInvalid)


def test_an_event_filter_selects_at_least_one_field_and_at_most_64() -> None:
    assert compile(ua.EventFilter(SelectClauses=[]), nodes()).status == StatusCodes.BadEventFilterInvalid
    assert compile(made(select=[field("Message")] * 65), nodes()).status == StatusCodes.BadTooManyOperations
    assert compile(made(select=[field("Message")] * 64), nodes()).status == 0


# ---- where: what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "codes", "operands"),
    [
        ([(Operator.Not, [element(0)])], [StatusCodes.BadFilterOperandInvalid], [[StatusCodes.BadFilterElementInvalid]]),
        ([(Operator.Not, [element(1)])], [StatusCodes.BadFilterOperandInvalid], [[StatusCodes.BadFilterElementInvalid]]),
        (
            [(Operator.Not, [element(1)]), (Operator.Not, [element(0)])],
            [0, StatusCodes.BadFilterOperandInvalid],
            [[0], [StatusCodes.BadFilterElementInvalid]],
        ),
        ([(Operator.Equals, [literal(1)])], [StatusCodes.BadFilterOperandCountMismatch], [[]]),
        ([(Operator.IsNull, [literal(1), literal(2)])], [StatusCodes.BadFilterOperandCountMismatch], [[]]),
        ([(Operator.InView, [literal(1)])], [StatusCodes.BadFilterOperatorUnsupported], [[]]),
        ([(Operator.RelatedTo, [literal(1)])], [StatusCodes.BadFilterOperatorUnsupported], [[]]),
        (
            [(Operator.IsNull, [ua.AttributeOperand()])],
            [StatusCodes.BadFilterOperandInvalid],
            [[StatusCodes.BadFilterOperandInvalid]],
        ),
        (
            [(Operator.Equals, [literal(1), field("Severity", attribute=99)])],
            [StatusCodes.BadFilterOperandInvalid],
            [[0, StatusCodes.BadAttributeIdInvalid]],
        ),
        (
            [(Operator.OfType, [literal(ua.NodeId(ObjectIds.BaseObjectType))])],
            [StatusCodes.BadFilterOperandInvalid],
            [[StatusCodes.BadFilterOperandInvalid]],
        ),
    ],
)
def test_a_where_clause_that_cannot_be_worked_out_is_refused_by_its_element(
    elements: list[Any], codes: list[int], operands: list[list[int]]
) -> None:
    compiled = compile(made(*elements), nodes())
    assert compiled.status == StatusCodes.BadEventFilterInvalid
    found = compiled.result.WhereClauseResult.ElementResults
    assert [each.StatusCode.value for each in found] == codes
    assert [[code.value for code in each.OperandStatusCodes] for each in found] == operands


def test_a_where_clause_has_at_most_64_elements_and_1024_operands() -> None:
    true = (Operator.Equals, [literal(1), literal(1)])
    assert compile(made(*[true] * 65), nodes()).status == StatusCodes.BadEventFilterInvalid
    assert compile(made((Operator.InList, [literal(1)] * 1_025)), nodes()).status == StatusCodes.BadEventFilterInvalid
    assert compile(made((Operator.InList, [literal(1)] * 1_024)), nodes()).status == 0


def test_elements_that_refer_to_one_another_twice_each_cost_no_more_than_their_number() -> None:
    chain = [(Operator.And, [element(index + 1), element(index + 1)]) for index in range(63)]  # 2^63 ways down
    assert holds(*chain, (Operator.Equals, [literal(1), literal(1)]))


# ---- where: what it comes to -------------------------------------------------------------------------------------------

TRUTHS: list[bool | None] = [True, False, None]


def truth(value: bool | None) -> ua.LiteralOperand:
    return literal(value, Kind.Boolean) if value is not None else literal(None, Kind.Null)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(TRUTHS, TRUTHS)))
def test_and_and_or_follow_the_tables_of_three_values(first: bool | None, second: bool | None) -> None:
    ranks: dict[bool | None, int] = {False: 0, None: 1, True: 2}  # Kleene: AND is the least, OR the greatest
    back = {rank: value for value, rank in ranks.items()}
    assert value_of(Operator.And, truth(first), truth(second)) is back[min(ranks[first], ranks[second])]
    assert value_of(Operator.Or, truth(first), truth(second)) is back[max(ranks[first], ranks[second])]
    assert value_of(Operator.Not, truth(first)) is (None if first is None else not first)


def test_null_equals_nothing_and_is_null() -> None:
    null, missing = literal(None, Kind.Null), field("MethodId", ObjectIds.AuditUpdateMethodEventType)
    assert value_of(Operator.Equals, null, null) is False and value_of(Operator.LessThan, null, literal(1)) is False
    assert value_of(Operator.IsNull, null) is True and value_of(Operator.IsNull, missing) is True
    assert value_of(Operator.IsNull, field("NoSuchField")) is True
    assert value_of(Operator.IsNull, field("Severity")) is False and value_of(Operator.IsNull, literal(0)) is False
    assert value_of(Operator.And, literal(5), literal(True)) is None  # no Boolean counts as null


def test_of_type_holds_for_a_type_and_what_is_derived_from_it() -> None:
    for kind, expected in (
        (ObjectIds.BaseEventType, True),
        (ObjectIds.AuditEventType, True),
        (ObjectIds.AuditWriteUpdateEventType, True),
        (ObjectIds.AuditSecurityEventType, False),
    ):
        assert value_of(Operator.OfType, literal(ua.NodeId(kind))) is expected


def test_lists_and_ranges() -> None:
    severity = field("Severity")
    assert value_of(Operator.InList, severity, literal(1), literal("500"), literal(3)) is True
    assert value_of(Operator.InList, severity, literal(1), literal(ua.NodeId(500))) is False
    assert value_of(Operator.Between, severity, literal(500), literal(500.0)) is True
    assert value_of(Operator.Between, severity, literal(500.5), literal(900)) is False
    assert value_of(Operator.Between, severity, literal("a"), literal(900)) is False
    kinds = [literal(ua.NodeId(kind)) for kind in (ObjectIds.AuditEventType, ObjectIds.AuditWriteUpdateEventType)]
    assert value_of(Operator.InList, field("EventType"), *kinds) is True


def test_bits_are_taken_of_integers_alone() -> None:
    bits = (Operator.BitwiseAnd, [field("Severity"), literal(0b100, Kind.UInt16)])  # 500 is 0b111110100
    assert holds((Operator.Equals, [element(1), literal(4, Kind.UInt16)]), bits)
    either = (Operator.BitwiseOr, [literal(0b1, Kind.Byte), literal(0b1000, Kind.UInt16)])
    assert holds((Operator.Equals, [element(1), literal(9, Kind.Byte)]), either)
    assert holds((Operator.IsNull, [element(1)]), (Operator.BitwiseOr, [literal(1.0), literal(2)]))


@pytest.mark.parametrize(
    ("given", "target", "expected"),
    [
        (literal(2.5), ObjectIds.Int32, (6, 3)),  # rounded by adding 0.5 and truncating
        (literal(-2.4), ObjectIds.Int32, (6, -1)),
        (literal(300), ObjectIds.Byte, None),
        (literal(float("nan")), ObjectIds.Int32, None),
        (literal(1e39), ObjectIds.Float, None),
        (literal("17"), ObjectIds.UInt16, (5, 17)),
        (literal("1_7"), ObjectIds.UInt16, None),
        (literal("TRUE"), ObjectIds.Boolean, (1, True)),
        (literal("yes"), ObjectIds.Boolean, None),
        (literal(7), ObjectIds.Boolean, (1, True)),
        (literal(False), ObjectIds.String, (12, "false")),
        (literal("ns=2;s=belt/speed"), ObjectIds.NodeId, (17, node_key(2, "belt/speed"))),
        (literal(ua.NodeId("belt", 2)), ObjectIds.String, (12, "ns=2;s=belt")),
        (literal(ua.QualifiedName("a", 3)), ObjectIds.LocalizedText, (21, (None, "a"))),
        (literal(ua.LocalizedText("hm", "de")), ObjectIds.String, (12, "hm")),
        (literal(0x8001, Kind.UInt16), ObjectIds.StatusCode, (19, 0x8001_0000)),
        (literal(ua.StatusCode(0x8001_0003), Kind.StatusCode), ObjectIds.UInt16, (5, 0x8001)),
        (literal("2026-11-22T08:00:00+01:00"), ObjectIds.DateTime, (13, datetime(2026, 11, 22, 7))),
        (literal(uuid.UUID(int=5)), ObjectIds.ByteString, (15, uuid.UUID(int=5).bytes_le)),
        (literal(1), ObjectIds.NodeId, None),
        (literal(1), ObjectIds.BaseObjectType, None),  # no data type
        (literal(5), ObjectIds.Duration, (11, 5.0)),  # derived from Double
    ],
)
def test_cast_converts_and_comes_to_null_where_it_cannot(given: ua.LiteralOperand, target: int, expected: Any) -> None:
    cast = (Operator.Cast, [given, literal(ua.NodeId(target))])
    if expected is None:
        assert holds((Operator.IsNull, [element(1)]), cast)
    else:
        kind, content = expected
        found = nodes().find(node_key(0, target))
        assert found >= 0
        assert holds((Operator.Equals, [element(1), _literal_of(kind, content)]), cast)


def _literal_of(kind: int, content: Any) -> ua.LiteralOperand:
    if kind == 17:
        return literal(ua.NodeId("belt/speed", 2))
    if kind == 21:
        return literal(ua.LocalizedText(content[1]))
    if kind == 19:
        return literal(ua.StatusCode(content), Kind.StatusCode)
    return literal(content, Kind(kind))


# Part 4 Table 125 as it is printed, row by row: I implicit, E explicit, X none, - the same type.
COLUMNS = """Boolean Byte ByteString DateTime Double ExpandedNodeId Float Guid Int16 Int32 Int64 NodeId SByte StatusCode String
LocalizedText QualifiedName UInt16 UInt32 UInt64""".split()
TABLE_125 = """
-IXXIXIXIIIXIXEXXIII
E-XXIXIXIIIXIXEXXIII
XX-XXXXEXXXXXXXXXXXX
XXX-XXXXXXXXXXEXXXXX
EEXX-XEXEEEXEXEXXEEE
XXXXX-XXXXXEXXIXXXXX
EEXXIX-XEEEXEXEXXEEE
XXEXXXX-XXXXXXEXXXXX
EEXXIXIX-IIXEXEXXEII
EEXXIXIXE-IXEEEXXEEI
EEXXIXIXEE-XEEEXXEEE
XXXXXIXXXXX-XXIXXXXX
EEXXIXIXIIIX-XEXXIII
XXXXXXXXXIIXX-XXXEII
IIXEIEIIIIIEIX-EEIII
XXXXXXXXXXXXXXI-XXXX
XXXXXXXXXXXXXXII-XXX
EEXXIXIXIIIXEIEXX-II
EEXXIXIXEIIXEEEXXE-I
EEXXIXIXEEIXEEEXXEE-
""".split()


def test_types_are_converted_as_the_standard_s_table_says() -> None:
    kinds = [Kind[name].value for name in COLUMNS]
    for source, row in zip(kinds, TABLE_125, strict=True):
        for target, said in zip(kinds, row, strict=True):
            if said == "-":
                continue
            assert (target in IMPLICIT.get(source, ())) == (said == "I"), (Kind(source), Kind(target))
            assert (target in IMPLICIT.get(source, ()) or target in EXPLICIT.get(source, ())) == (said in "IE"), (source, target)


# Part 4 Table 126 as it is printed: the earlier one is what two types become.
TABLE_126 = """Double Float Int64 UInt64 Int32 UInt32 StatusCode Int16 UInt16 SByte Byte Boolean Guid String ExpandedNodeId NodeId
LocalizedText QualifiedName""".split()


@pytest.mark.parametrize("first", COLUMNS)
def test_of_two_types_both_become_the_one_of_higher_precedence(first: str) -> None:
    for second in COLUMNS:
        expected: int | None = Kind[first].value if first == second else None
        if first != second and first in TABLE_126 and second in TABLE_126:
            target, source = sorted((first, second), key=TABLE_126.index)
            if TABLE_125[COLUMNS.index(source)][COLUMNS.index(target)] == "I":
                expected = Kind[target].value
        assert common(Kind[first].value, Kind[second].value) == expected, (first, second)


values = st.one_of(
    st.tuples(st.just(Kind.Boolean), st.booleans()),
    st.tuples(st.sampled_from([Kind.Byte, Kind.UInt16, Kind.UInt32, Kind.UInt64]), st.integers(0, 255)),
    st.tuples(st.sampled_from([Kind.SByte, Kind.Int16, Kind.Int32, Kind.Int64]), st.integers(-128, 127)),
    st.tuples(st.just(Kind.UInt64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(Kind.Double), st.floats(width=64)),
    st.tuples(st.just(Kind.Float), st.floats(width=32)),
    st.tuples(st.just(Kind.String), st.sampled_from(["", "1", "0", "true", "false", "12", "-3", "1.5", "x", "nan", " 7 "])),
)


def slow(operator: Operator, first: tuple[Kind, Any], second: tuple[Kind, Any]) -> bool:
    """Table 122 read once more, on fractions and texts: convert to the type that comes first in Table 126, then compare."""
    target = min(first[0].name, second[0].name, key=TABLE_126.index)
    sides = []
    for kind, content in (first, second):
        if kind.name != target:
            said = TABLE_125[COLUMNS.index(kind.name)][COLUMNS.index(target)]
            if said != "I":
                return False
            try:
                content = read_as(content, target)
            except (ValueError, OverflowError):
                return False
        sides.append(content)
    left, right = sides
    return bool(
        {
            Operator.Equals: lambda: left == right,
            Operator.GreaterThan: lambda: left > right,
            Operator.LessThan: lambda: left < right,
            Operator.GreaterThanOrEqual: lambda: left >= right,
            Operator.LessThanOrEqual: lambda: left <= right,
        }[operator]()
    )


def read_as(content: Any, target: str) -> Any:
    if target == "Boolean":
        words = {"1": True, "true": True, "0": False, "false": False}
        if not isinstance(content, str) or content.strip() not in words:
            raise ValueError
        return words[content.strip()]
    if target == "Double":
        return float(content)
    if target == "Float":
        return struct.unpack("<f", struct.pack("<f", float(content)))[0]
    if isinstance(content, str) and not re.fullmatch(r"\s*-?\d+\s*", content):
        raise ValueError
    bits = int(re.sub(r"\D", "", target) or 8)
    signed = not target.startswith(("U", "B"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if not low <= int(content) <= high:
        raise ValueError
    return int(content)


COMPARING = [Operator.Equals, Operator.GreaterThan, Operator.LessThan, Operator.GreaterThanOrEqual, Operator.LessThanOrEqual]


@settings(max_examples=400)
@given(operator=st.sampled_from(COMPARING), first=values, second=values)
def test_comparing_is_what_a_slow_reading_of_the_tables_says(operator: Operator, first: Any, second: Any) -> None:
    operands = [literal(content, kind) for kind, content in (first, second)]
    assert value_of(operator, *operands) is slow(operator, first, second)


@settings(max_examples=150)
@given(operator=st.sampled_from(COMPARING + [Operator.And, Operator.Or]), first=st.integers(0, 1), second=st.integers(0, 1))
def test_of_equal_types_asyncua_says_the_same(operator: Operator, first: int, second: int) -> None:
    from asyncua.server.monitored_item_service import WhereClauseEvaluator

    logic = operator in (Operator.And, Operator.Or)
    operands = [literal(bool(each)) if logic else literal(each, Kind.Int32) for each in (first, second)]
    clause = made((operator, operands)).WhereClause
    theirs = WhereClauseEvaluator(logging.getLogger(), None, clause).eval(None)  # type: ignore[arg-type]
    assert value_of(operator, *operands) is bool(theirs)


@settings(max_examples=300)
@given(first=values, second=values)
def test_the_type_that_two_become_does_not_hang_on_their_order(first: Any, second: Any) -> None:
    kinds = [kind.value for kind, _ in (first, second)]
    assert common(*kinds) == common(*reversed(kinds))


@settings(max_examples=300)
@given(value=values, target=st.sampled_from(sorted(IMPLICIT)))
def test_a_conversion_gives_a_value_in_the_type_s_range_or_says_no(value: Any, target: int) -> None:
    kind, content = value
    try:
        found, made_of = converted((kind.value, content), target, explicit=True)
    except NoConversion:
        return
    assert found == target
    again = typed(variant_from_binary(Buffer(variant(ua.Variant(made_of, Kind(target)))))) if target < 17 else (target, made_of)
    same = again == (target, made_of) or (isinstance(made_of, float) and math.isnan(made_of))
    assert same


# ---- Like ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "pattern", "expected"),
    [
        ("main.py", "main%", True), ("remain", "%en%", False), ("entail", "%en%", True), ("blue", "%en%", False),
        ("bill", "b_ll", True), ("bll", "b_ll", False), ("50%", "50\\%", True), ("500", "50\\%", False), ("a_b", "a\\_b", True),
        ("abc", "abc[13-68]", False), ("abc1", "abc[13-68]", True), ("abc4", "abc[13-68]", True), ("abc7", "abc[13-68]", False),
        ("xyz5", "xyz[^3-5]", False), ("xyz9", "xyz[^3-5]", True), ("", "%", True), ("", "", True), ("", "_", False),
        ("a]", "a[\\]]", True), ("[", "[", True), ("a[b", "a[b", True), ("]", "]", True), ("^", "[x^]", True), ("\\", "\\\\", True),
        ("a\nb", "a%b", True), ("a\nb", "a_b", True), ("Ä", "_", True), ("-", "[a-]", True), ("ABC", "abc", False),
    ],
)  # fmt: skip
def test_like_follows_the_table_of_wildcards(content: str, pattern: str, expected: bool) -> None:
    assert like(content, pattern) is expected
    assert value_of(Operator.Like, literal(content), literal(pattern)) is expected


@settings(max_examples=300)
@given(content=st.text("ab[]%_", max_size=8), pattern=st.text("ab%_", max_size=8))
def test_like_matches_as_a_regular_expression_of_the_same_meaning_does(content: str, pattern: str) -> None:
    meaning = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern)
    assert like(content, pattern) is bool(re.fullmatch(meaning, content, re.DOTALL))


@given(content=st.text("ab", max_size=6), letters=st.text("abc", min_size=1, max_size=4), without=st.booleans())
def test_like_s_lists_match_one_letter(content: str, letters: str, without: bool) -> None:
    pattern = f"%[{'^' * without}{letters}]"
    assert like(content, pattern) is (content != "" and ((content[-1] in letters) != without))


def test_a_pattern_of_many_wildcards_is_matched_in_steps_that_its_length_bounds() -> None:
    assert not like("a" * 5_000, "%a" * 100 + "b")  # backtracking would take longer than the test suite


def test_like_of_what_is_no_text_is_false_and_of_a_node_id_its_text() -> None:
    assert value_of(Operator.Like, literal(1), literal("%")) is False
    assert value_of(Operator.Like, field("SourceNode"), literal("i=%")) is True
    assert value_of(Operator.Like, field("Message"), literal("a t%")) is True


def test_keys_compare_whatever_the_client_s_encoding_of_the_node_id() -> None:
    wide = literal(ua.NodeId(ObjectIds.Server, 0, ua.NodeIdType.Numeric))
    assert value_of(Operator.Equals, field("SourceNode"), wide) is True
    assert key_of(ua.NodeId(ObjectIds.Server, 0, ua.NodeIdType.Numeric)) == node_key(0, ObjectIds.Server)
    assert octets(None) == b"\xff\xff\xff\xff"
