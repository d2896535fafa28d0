"""Looks along references for one request, and counts what that costs (Part 4 §5.9)."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from asyncua.ua.status_codes import StatusCodes

from controller.opcua.encoding import NULL_NODE, NULL_STRING, NULL_TEXT
from controller.opcua.nodes.store import FORWARD, KIND, NO_NODE, OBJECT, REFERENCE_TYPE, TARGET, VARIABLE, Nodes
from controller.opcua.roles import TABLE, May
from controller.opcua.sessions import Session

MOST_REFERENCES: Final = 30_000
"""References in one answer: 1.5 to 3 MB, which clients take."""
MOST_LOOKED_AT: Final = 1_000_000
"""References that one request may have looked at."""
MOST_ON_PATH: Final = 50_000
"""References that one path may have looked at."""
MOST_ELEMENTS: Final = 100
"""Elements of a relative path."""
MOST_TARGETS: Final = 1_000
"""Nodes that one path may lead to."""

FORWARDS, INVERSE, BOTH = range(3)
IS_TYPE, IS_FORWARD, IS_CLASS, IS_BROWSE_NAME, IS_DISPLAY_NAME, IS_KIND = (1 << bit for bit in range(6))
"""BrowseResultMask."""
NULL_NAME: Final = b"\x00\x00" + NULL_STRING
_CLASS: Final = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class Description:
    """What is asked of one node (Part 4 §5.9.2.2); a reference type of NO_NODE is any."""

    node: bytes
    direction: int
    reference: bytes
    with_subtypes: bool
    classes: int
    results: int


@dataclass(slots=True)
class Rest:
    """How far the telling of one node's references has come.

    Attributes:
        most: references in one answer.
        told: how many were told, and `last` the one that was told last.
        is_over: whether all were told.
    """

    asked: Description
    most: int
    told: int = 0
    last: int = 0
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Element:
    """One step of a path; a null reference type is any."""

    reference: bytes
    is_inverse: bool
    with_subtypes: bool
    name: bytes


@dataclass(frozen=True, slots=True)
class Path:
    """Where a path begins, and its steps."""

    start: bytes
    elements: tuple[Element, ...]


class Walk:
    """One request at work: what it looks at, and what it has cost."""

    def __init__(self, nodes: Nodes, session: Session) -> None:
        self._nodes = nodes
        self._locales = session.locales if nodes.other_texts else ()
        role = session.role
        self._seen = bytes(bool(row[role - 1] & May.BROWSE) for row in TABLE)
        self._heads: dict[tuple[int, int], bytes] = {}
        self._named: dict[tuple[int, bytes, bool, bool], dict[bytes, list[int]]] = {}
        self._looked_at = self._told = self._turn = 0
        self._changes = nodes.changes

    def is_long(self, most: int) -> bool:
        """Whether it was at work for so many references since this was last so."""
        done = self._looked_at + self._told
        if done - self._turn < most:
            return False
        self._turn = done
        return True

    def sees(self, number: int) -> bool:
        """Whether there is such a node for this session."""
        return number != NO_NODE and bool(self._seen[self._nodes.rules[number]])

    def found(self, asked: Description) -> list[int] | int:
        """The references that are asked for, packed; or the status that says why there are none."""
        nodes = self._nodes
        number = nodes.find(asked.node)
        if not self.sees(number):
            return StatusCodes.BadNodeIdInvalid if asked.node == NULL_NODE else StatusCodes.BadNodeIdUnknown
        if not FORWARDS <= asked.direction <= BOTH:
            return StatusCodes.BadBrowseDirectionInvalid
        kinds = self._kinds(asked.reference, asked.with_subtypes)
        if kinds is None:
            return StatusCodes.BadReferenceTypeIdInvalid
        if self._looked_at >= MOST_LOOKED_AT:
            return StatusCodes.BadNoContinuationPoints
        packed = nodes.packed(number)
        self._looked_at += len(packed)
        if asked.direction != BOTH:
            wanted = FORWARD if asked.direction == FORWARDS else 0
            packed = [each for each in packed if each & FORWARD == wanted]
        if kinds:
            packed = [each for each in packed if each >> KIND in kinds]
        if asked.classes:
            packed = [each for each in packed if nodes.classes[each & TARGET] & asked.classes]
        seen, rules = self._seen, nodes.rules
        return [each for each in packed if seen[rules[each & TARGET]]]

    def tell(self, rest: Rest) -> bytes | int:
        """The next references, encoded, with their count; or the status that says why there are none.

        They are looked for anew each time: what was added or taken away meanwhile counts, and so does what the session may see now.
        """
        found = self.found(rest.asked)
        if isinstance(found, int):
            return found
        start = _after(found, rest) if rest.told else 0
        end = start + max(0, min(rest.most, len(found) - start, MOST_REFERENCES - self._told))
        if end > start:
            rest.last = found[end - 1]
        rest.told, rest.is_over = end, end == len(found)
        self._told += end - start
        return struct.pack("<i", end - start) + b"".join(self._encoded(found[start:end], rest.asked.results))

    def _encoded(self, packed: list[int], results: int) -> Iterator[bytes]:
        """ReferenceDescriptions in pieces."""
        nodes = self._nodes
        for each in packed:
            number = each & TARGET
            node_class = nodes.classes[number]
            yield self._heads.get((each >> 32, results)) or self._head(each, results)
            yield nodes.keys[number]
            yield nodes.browse_names[number] if results & IS_BROWSE_NAME else NULL_NAME
            yield self._display(number) if results & IS_DISPLAY_NAME else NULL_TEXT
            yield _CLASS.pack(node_class if results & IS_CLASS else 0)
            yield self._kind(number, node_class) if results & IS_KIND else NULL_NODE

    def follow(self, path: Path) -> list[int] | int:
        """The nodes at the end of a path, or the status that says why there are none."""
        if self._changes != self._nodes.changes:  # while others had their turn; a number may be another node's now
            self._named.clear()
            self._changes = self._nodes.changes
        start = self._nodes.find(path.start)
        if not self.sees(start):
            return StatusCodes.BadNodeIdInvalid if path.start == NULL_NODE else StatusCodes.BadNodeIdUnknown
        if not path.elements:
            return StatusCodes.BadNothingToDo
        if len(path.elements) > MOST_ELEMENTS:
            return StatusCodes.BadQueryTooComplex
        if any(_is_nameless(element.name) for element in path.elements[:-1]):
            return StatusCodes.BadBrowseNameInvalid
        most = min(MOST_LOOKED_AT, self._looked_at + MOST_ON_PATH)
        here: dict[int, None] = {start: None}
        for element in path.elements:
            after: dict[int, None] = {}
            for number in here:
                if self._looked_at >= most:
                    return StatusCodes.BadQueryTooComplex
                self._looked_at += 1
                after.update(dict.fromkeys(self._step(number, element)))
            if len(after) > MOST_TARGETS:
                return StatusCodes.BadTooManyMatches
            here = after
        return list(here) or StatusCodes.BadNoMatch

    def _step(self, number: int, element: Element) -> Iterable[int]:
        """Where a step leads from a node. It is put in order by name once, so that many paths through one folder are cheap."""
        key = (number, element.reference, element.is_inverse, element.with_subtypes)
        named = self._named.get(key)
        if named is None:
            named = self._named[key] = {}
            direction = INVERSE if element.is_inverse else FORWARDS
            nodes = self._nodes
            asked = Description(nodes.keys[number], direction, element.reference, element.with_subtypes, 0, 0)
            found = self.found(asked)
            for packed in found if isinstance(found, list) else ():
                named.setdefault(nodes.browse_names[packed & TARGET], []).append(packed & TARGET)
        if _is_nameless(element.name):
            return [target for targets in named.values() for target in targets]
        return named.get(element.name, ())

    def _kinds(self, reference: bytes, with_subtypes: bool) -> frozenset[int] | None:
        """The reference types that are meant: none named, any; None where it is no reference type."""
        if reference == NULL_NODE:
            return frozenset()
        number = self._nodes.find(reference)
        if number == NO_NODE or self._nodes.classes[number] != REFERENCE_TYPE:
            return None
        return self._nodes.subtypes(number) if with_subtypes else frozenset((number,))

    def _head(self, packed: int, results: int) -> bytes:
        """How a reference begins: its type and whether it is forward."""
        kind = self._nodes.keys[packed >> KIND] if results & IS_TYPE else NULL_NODE
        head = kind + (b"\x01" if packed & FORWARD and results & IS_FORWARD else b"\x00")
        self._heads[packed >> 32, results] = head
        return head

    def _display(self, number: int) -> bytes:
        return self._nodes.display(number, self._locales) if self._locales else self._nodes.display_names[number]

    def _kind(self, number: int, node_class: int) -> bytes:
        """The type definition, which only Objects and Variables have."""
        kind = self._nodes.kinds[number] if node_class in (OBJECT, VARIABLE) else NO_NODE
        return NULL_NODE if kind == NO_NODE else self._nodes.keys[kind]


def _after(found: list[int], rest: Rest) -> int:
    """Where it goes on; when the last one told is gone, what stood behind it has moved up by one."""
    try:
        return found.index(rest.last) + 1
    except ValueError:
        return min(rest.told - 1, len(found))


def _is_nameless(name: bytes) -> bool:
    return len(name) == 6
