"""Event filters: which events a monitored item wants, and which of their fields (Part 4 §7.22.3)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import variant_from_binary

from controller.opcua.encoding import NULL_NODE, key_of, variant
from controller.opcua.events import Event, path_name
from controller.opcua.names import status
from controller.opcua.nodes.store import NO_NODE, OBJECT, VARIABLE, Nodes
from controller.opcua.where import Field, Where, where

MOST_CLAUSES: Final = 64
LONGEST_PATH: Final = 8
NULL: Final = b"\x00"
"""A Variant without a value."""
NODE_ID_ATTRIBUTE, VALUE_ATTRIBUTE, LAST_ATTRIBUTE = 1, 13, 27


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A filter that has been checked.

    Attributes:
        status: 0 when it can be used. A field that no event type has is told in the result, and the filter can be used.
        result: the status of each clause.
    """

    status: int
    result: ua.EventFilterResult
    _nodes: Nodes
    _fields: tuple[Field, ...]
    _where: Where

    def wants(self, event: Event) -> bool:
        """Whether the where clause holds for an event."""
        return self._where.fits(event, self._nodes)

    def fields(self, event: Event) -> bytes:
        """The selected fields as EventFieldList has them behind the ClientHandle: count and Variants. What is not there is null."""
        return struct.pack("<i", len(self._fields)) + b"".join(field(event) or NULL for field in self._fields)


def compile(filter: ua.EventFilter, nodes: Nodes) -> Compiled:
    """An event filter made ready."""
    asked = filter.SelectClauses or []
    if not asked or len(asked) > MOST_CLAUSES:
        code = StatusCodes.BadTooManyOperations if asked else StatusCodes.BadEventFilterInvalid
        return Compiled(code, ua.EventFilterResult(), nodes, (), Where((), (), False))
    made = [_field(clause, nodes) for clause in asked]
    clause = where(filter.WhereClause, lambda operand: _field(operand, nodes), nodes)
    bad = not clause.good or any(code not in (0, StatusCodes.BadNodeIdUnknown) for code, _ in made)
    result = ua.EventFilterResult(
        SelectClauseResults=[status(code) for code, _ in made],
        WhereClauseResult=ua.ContentFilterResult(ElementResults=list(clause.results)),
    )
    return Compiled(StatusCodes.BadEventFilterInvalid if bad else 0, result, nodes, tuple(give for _, give in made), clause)


def _field(asked: Any, nodes: Nodes) -> tuple[int, Field]:
    """A field's status, and what takes it out of an event."""
    base = nodes.standard(ObjectIds.BaseEventType)
    kind = base if key_of(asked.TypeDefinitionId) == NULL_NODE else nodes.find(key_of(asked.TypeDefinitionId))
    if kind == NO_NODE or kind not in nodes.subtypes(base):
        return StatusCodes.BadTypeDefinitionInvalid, _nothing
    names, attribute = asked.BrowsePath or [], int(asked.AttributeId)
    if not 1 <= attribute <= LAST_ATTRIBUTE or attribute not in (NODE_ID_ATTRIBUTE, VALUE_ATTRIBUTE):
        return StatusCodes.BadAttributeIdInvalid, _nothing
    if len(names) > LONGEST_PATH or any(name.Name is None or name.Name == "" for name in names):
        return StatusCodes.BadBrowseNameInvalid, _nothing
    part = _part(str(asked.IndexRange)) if asked.IndexRange else None
    if asked.IndexRange and (part is None or attribute != VALUE_ATTRIBUTE):
        return StatusCodes.BadIndexRangeInvalid, _nothing
    path = "/".join(f"{name.NamespaceIndex}:{name.Name}" if name.NamespaceIndex else str(name.Name) for name in names)
    if not names:
        return (0, _taken("", kind, base, nodes, None)) if attribute == NODE_ID_ATTRIBUTE else (0, _nothing)
    known = any(path in paths for number, paths in _declared(nodes).items() if number in nodes.subtypes(kind))
    known = known or any(path in paths for number, paths in _declared(nodes).items() if kind in nodes.subtypes(number))
    if not known:
        return StatusCodes.BadNodeIdUnknown, _nothing
    return 0, _nothing if attribute == NODE_ID_ATTRIBUTE else _taken(path, kind, base, nodes, part)


def _taken(path: str, kind: int, base: int, nodes: Nodes, part: slice | None) -> Field:
    def take(event: Event) -> bytes | None:
        # Whoever asks for fields of BaseEventType gets those of that name, of whatever type the event is.
        if kind != base and event.kind not in nodes.subtypes(kind):
            return None
        encoded = event.fields.get(path)
        return encoded if encoded is None or part is None else _cut(encoded, part)

    return take


def _nothing(event: Event) -> bytes | None:
    return None


def _part(text: str) -> slice | None:
    """An index range of one dimension (Part 4 §7.27), or None."""
    low, colon, high = text.partition(":")
    if not low.isdecimal() or not low.isascii() or len(text) > 21 or (colon and not (high.isdecimal() and high.isascii())):
        return None
    if not colon:
        return slice(int(low), int(low) + 1)
    return slice(int(low), int(high) + 1) if int(low) < int(high) else None


def _cut(encoded: bytes, part: slice) -> bytes | None:
    """A part of an array, a text or bytes; None where there is none of it."""
    found = variant_from_binary(Buffer(encoded))
    if not isinstance(found.Value, (list, str, bytes)) or not found.Value[part]:
        return None
    return variant(found.Value[part], found.VariantType)


_known: WeakKeyDictionary[Nodes, tuple[int, dict[int, frozenset[str]]]] = WeakKeyDictionary()


def _declared(nodes: Nodes) -> dict[int, frozenset[str]]:
    """The browse paths that each event type itself declares."""
    seen, found = _known.get(nodes, (-1, {}))
    if seen != nodes.changes:
        types = nodes.subtypes(nodes.standard(ObjectIds.BaseEventType))
        found = {number: frozenset(_paths(nodes, number, "", 0)) for number in types}
        _known[nodes] = nodes.changes, found
    return found


def _paths(nodes: Nodes, number: int, above: str, depth: int) -> Iterator[str]:
    if depth == LONGEST_PATH:
        return
    aggregates = nodes.subtypes(nodes.standard(ObjectIds.Aggregates))
    for reference, forward, child in nodes.references(number):
        if forward and reference in aggregates and nodes.classes[child] in (OBJECT, VARIABLE):
            path = f"{above}{path_name(nodes.browse_names[child])}"
            yield path
            yield from _paths(nodes, child, f"{path}/", depth + 1)
