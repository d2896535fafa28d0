"""The where clause of a filter: a ContentFilter, checked once and then asked of every event (Part 4 §7.7).

Elements are worked out from the last to the first, for an element's operands are elements behind it: so the work is bounded by the
filter's own size, however often they refer to one another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.ua import FilterOperator as Operator
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.conversions import (
    BOOLEAN,
    EXPANDED_NODE_ID,
    INTEGERS,
    NODE_ID,
    ORDERED,
    STRING,
    NoConversion,
    Typed,
    common,
    converted,
    decoded,
    typed,
)
from controller.opcua.events import Event
from controller.opcua.like import LONGEST_PATTERN, like
from controller.opcua.names import status
from controller.opcua.nodes.store import DATA_TYPE, NO_NODE, Nodes

MOST_ELEMENTS: Final = 64
MOST_OPERANDS: Final = 1_024
"""Of all elements together."""

Operand = Callable[[Event, Sequence[Typed | None]], Typed | None]
"""Gives an operand's value for an event, when the elements behind are worked out."""
Field = Callable[[Event], bytes | None]
"""Gives an event's field, encoded."""
Operate = Callable[[Sequence[Typed | None], Event, Nodes], Typed | None]
TRUE: Final[Typed] = (BOOLEAN, True)
FALSE: Final[Typed] = (BOOLEAN, False)


def _truth(value: bool) -> Typed:
    return TRUE if value else FALSE


def _same(first: Typed | None, second: Typed | None) -> tuple[int, Any, Any] | None:
    """Both values as one type, or None: no implicit conversion, or it fails. Null equals nothing and has no order."""
    if first is None or second is None or first[1] is None or second[1] is None:
        return None
    kind = common(first[0], second[0])
    if kind is None:
        return None
    try:
        return kind, converted(first, kind)[1], converted(second, kind)[1]
    except NoConversion:
        return None


def equals(first: Typed | None, second: Typed | None) -> bool:
    """Whether two values are equal."""
    pair = _same(first, second)
    return pair is not None and bool(pair[1] == pair[2])


def _compares(holds: Callable[[Any, Any], bool]) -> Operate:
    def compare(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
        pair = _same(given[0], given[1])
        return _truth(pair is not None and pair[0] in ORDERED and holds(pair[1], pair[2]))

    return compare


def _between(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    """All three as one type: the earliest in precedence."""
    value, low, high = given
    if value is None or low is None or high is None:
        return FALSE
    kind: int | None = value[0]
    for other in (low, high):
        kind = common(kind, other[0]) if kind is not None else None
    if kind is None or kind not in ORDERED:
        return FALSE
    try:
        least, middle, most = (converted(each, kind)[1] for each in (low, value, high))
    except NoConversion:
        return FALSE
    return FALSE if None in (least, middle, most) else _truth(bool(least <= middle <= most))


def _boolean(value: Typed | None) -> bool | None:
    """A Boolean, or None for what is none: it counts as null."""
    return bool(value[1]) if value is not None and value[0] == BOOLEAN and value[1] is not None else None


def _not(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    value = _boolean(given[0])
    return None if value is None else _truth(not value)


def _and(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    values = [_boolean(each) for each in given]
    return FALSE if False in values else None if None in values else TRUE


def _or(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    values = [_boolean(each) for each in given]
    return TRUE if True in values else None if None in values else FALSE


def _as_text(value: Typed | None) -> str | None:
    if value is None:
        return None
    try:
        found = converted(value, STRING)[1]
    except NoConversion:
        return None
    return found if isinstance(found, str) else None


def _like(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    content, pattern = _as_text(given[0]), _as_text(given[1])
    if content is None or pattern is None or len(pattern) > LONGEST_PATTERN:
        return FALSE
    return _truth(like(content, pattern))


def _in_list(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    return _truth(any(equals(given[0], each) for each in given[1:]))


def _number_of(value: Typed | None, nodes: Nodes) -> int:
    """The node that a NodeId names, or NO_NODE."""
    if value is None or value[1] is None:
        return NO_NODE
    if value[0] == NODE_ID:
        return nodes.find(value[1])
    if value[0] == EXPANDED_NODE_ID and not value[1][1] and not value[1][2]:
        return nodes.find(value[1][0])
    return NO_NODE


def _of_type(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    wanted = _number_of(given[0], nodes)
    return _truth(wanted != NO_NODE and event.kind in nodes.subtypes(wanted))


def _cast(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    value, target = given[0], _number_of(given[1], nodes)
    if value is None or target == NO_NODE or nodes.classes[target] != DATA_TYPE:
        return None
    built_in = _built_in(nodes, target)
    if built_in is None:
        return None
    try:
        return converted(value, built_in, explicit=True)
    except NoConversion:
        return None


def _built_in(nodes: Nodes, data_type: int) -> int | None:
    """The built-in type of a DataType: its own number, or that of the one it is derived from."""
    has_subtype = nodes.standard(ObjectIds.HasSubtype)
    for _ in range(32):
        key = nodes.keys[data_type]
        if len(key) == 2 and 0 < key[1] <= 25:
            return key[1] if key[1] < 22 else None
        if key == b"\x00\x1d":  # Enumeration
            return 6
        above = next(nodes.targets(data_type, has_subtype, forward=False), NO_NODE)
        if above == NO_NODE:
            return None
        data_type = above
    return None


def _bitwise(operate: Callable[[int, int], int]) -> Operate:
    def work(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
        pair = _same(given[0], given[1])
        return (pair[0], operate(pair[1], pair[2])) if pair is not None and pair[0] in INTEGERS else None

    return work


def _is_null(given: Sequence[Typed | None], event: Event, nodes: Nodes) -> Typed | None:
    return _truth(given[0] is None or given[0][1] is None)


OPERATORS: Final[dict[int, tuple[int, int, Operate]]] = {
    Operator.Equals: (2, 2, lambda given, event, nodes: _truth(equals(given[0], given[1]))),
    Operator.IsNull: (1, 1, _is_null),
    Operator.GreaterThan: (2, 2, _compares(lambda first, second: bool(first > second))),
    Operator.LessThan: (2, 2, _compares(lambda first, second: bool(first < second))),
    Operator.GreaterThanOrEqual: (2, 2, _compares(lambda first, second: bool(first >= second))),
    Operator.LessThanOrEqual: (2, 2, _compares(lambda first, second: bool(first <= second))),
    Operator.Like: (2, 2, _like),
    Operator.Not: (1, 1, _not),
    Operator.Between: (3, 3, _between),
    Operator.InList: (2, MOST_OPERANDS, _in_list),
    Operator.And: (2, 2, _and),
    Operator.Or: (2, 2, _or),
    Operator.Cast: (2, 2, _cast),
    Operator.OfType: (1, 1, _of_type),
    Operator.BitwiseAnd: (2, 2, _bitwise(int.__and__)),
    Operator.BitwiseOr: (2, 2, _bitwise(int.__or__)),
}
"""Least and most operands of each operator, and what it comes to (Tables 122 and 123)."""
UNSUPPORTED: Final = frozenset({int(Operator.InView), int(Operator.RelatedTo)})
"""They need Views and Query, which nobody asks events for."""


@dataclass(frozen=True, slots=True)
class _Element:
    operate: Operate
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Where:
    """A where clause that has been checked; without elements everything fits.

    Attributes:
        results: of each element, as ContentFilterResult has it; empty where all are good.
        good: whether all are.
    """

    elements: tuple[_Element, ...]
    results: tuple[ua.ContentFilterElementResult, ...]
    good: bool

    def fits(self, event: Event, nodes: Nodes) -> bool:
        """Whether an event is wanted: the first element is TRUE of it, and not merely not FALSE."""
        if not self.elements:
            return True
        found: list[Typed | None] = [None] * len(self.elements)
        for index in range(len(self.elements) - 1, -1, -1):
            element = self.elements[index]
            found[index] = element.operate([operand(event, found) for operand in element.operands], event, nodes)
        return _boolean(found[0]) is True


def where(clause: Any, field: Callable[[ua.SimpleAttributeOperand], tuple[int, Field]], nodes: Nodes) -> Where:
    """A where clause made ready.

    Args:
        field: checks an operand that names a field: a status, and what gives it.
    """
    asked: Sequence[Any] = clause.Elements or () if clause is not None else ()
    if len(asked) > MOST_ELEMENTS or sum(len(element.FilterOperands or ()) for element in asked) > MOST_OPERANDS:
        return Where((), (_result(StatusCodes.BadTooManyOperations, ()),), False)
    elements, results = [], []
    for index, element in enumerate(asked):
        code, statuses, operands = _checked(element, index, len(asked), field, nodes)
        results.append(_result(code, statuses))
        if not code:
            elements.append(_Element(OPERATORS[element.FilterOperator][2], tuple(operands)))
    good = len(elements) == len(asked)
    return Where(tuple(elements) if good else (), () if good else tuple(results), good)


def _result(code: int, statuses: Sequence[int]) -> ua.ContentFilterElementResult:
    return ua.ContentFilterElementResult(StatusCode=status(code), OperandStatusCodes=[status(each) for each in statuses])


def _checked(
    element: Any, index: int, count: int, field: Callable[[ua.SimpleAttributeOperand], tuple[int, Field]], nodes: Nodes
) -> tuple[int, list[int], list[Operand]]:
    """An element's status, those of its operands, and what gives their values."""
    operator = int(element.FilterOperator)
    asked: Sequence[Any] = element.FilterOperands or []
    if operator in UNSUPPORTED:
        return StatusCodes.BadFilterOperatorUnsupported, [], []
    if operator not in OPERATORS:
        return StatusCodes.BadFilterOperatorInvalid, [], []
    least, most, _ = OPERATORS[operator]
    if not least <= len(asked) <= most:
        return StatusCodes.BadFilterOperandCountMismatch, [], []
    made = [_operand(each, index, count, field) for each in asked]
    statuses = [code for code, _ in made]
    if operator == Operator.OfType and not statuses[0] and isinstance(asked[0], ua.LiteralOperand):
        wanted = _number_of(typed(asked[0].Value), nodes)
        if wanted == NO_NODE or wanted not in nodes.subtypes(nodes.standard(ObjectIds.BaseEventType)):
            statuses[0] = StatusCodes.BadFilterOperandInvalid
    code = StatusCodes.BadFilterOperandInvalid if any(statuses) else 0
    return code, statuses, [give for _, give in made]


def _operand(asked: Any, index: int, count: int, field: Callable[[Any], tuple[int, Field]]) -> tuple[int, Operand]:
    if isinstance(asked, ua.LiteralOperand):
        value = typed(asked.Value)
        return 0, lambda event, found: value
    if isinstance(asked, ua.ElementOperand):
        other = int(asked.Index)
        if not index < other < count:  # only onwards: so there are no loops
            return StatusCodes.BadFilterElementInvalid, _nothing
        return 0, lambda event, found: found[other]
    if isinstance(asked, ua.SimpleAttributeOperand):
        code, give = field(asked)
        if code not in (0, StatusCodes.BadNodeIdUnknown):  # a field that no type has is null
            return code, _nothing

        def give_decoded(event: Event, found: Sequence[Typed | None]) -> Typed | None:
            encoded = give(event)
            return None if encoded is None else decoded(encoded)

        return 0, give_decoded
    return StatusCodes.BadFilterOperandInvalid, _nothing


def _nothing(event: Event, found: Sequence[Typed | None]) -> Typed | None:
    return None
