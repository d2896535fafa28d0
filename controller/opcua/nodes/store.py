"""Nodes and their references, as columns: node number n has its n-th entry in each."""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.opcua.encoding import NULL_TEXT, node_key

NO_NODE: Final = -1
FORWARD: Final = 1 << 32
TARGET: Final = FORWARD - 1
KIND: Final = 33
"""A reference is packed into one integer: type's number << KIND | FORWARD (or not) | number at the other end."""
OBJECT, VARIABLE, METHOD, OBJECT_TYPE, VARIABLE_TYPE, REFERENCE_TYPE, DATA_TYPE, VIEW = (1 << bit for bit in range(8))
VALUE: Final = 13
HAS_TYPE_DEFINITION, HAS_SUBTYPE = 40, 45

Read = Callable[[Any], bytes]
"""Gives a Variable's encoded DataValue to a session."""
Held = Callable[[NDArray[np.bool_]], Iterable[int]]
"""Tells which of some nodes somebody still knows by number, of a mask by node."""
_NO_ATTRIBUTES: Final[Mapping[int, bytes]] = MappingProxyType({})


class Nodes:
    """The address space.

    Attributes:
        keys: encoded NodeId, shortest form; empty of a node that was taken away.
        classes: NodeClass; 0 of a node that was taken away.
        browse_names, display_names, descriptions: encoded QualifiedName, LocalizedText, LocalizedText.
        attributes: the further ones by AttributeId, each an encoded Variant; a Value that never changes, too. Several nodes
            may share one mapping: `put` gives a node another one.
        kinds: node number of the type definition, or NO_NODE.
        rules: who may do what, `roles.Rule`.
        rows: the row of the plane that a Variable's value is in.
        reads: what gives a Variable's value at the moment it is read.
        other_texts: DisplayNames in other locales, encoded LocalizedText by locale.
        namespaces: URIs by index.
        changes: counts changes of structure; what was derived from it before is out of date.
    """

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.classes = bytearray()
        self.browse_names: list[bytes] = []
        self.display_names: list[bytes] = []
        self.descriptions: list[bytes] = []
        self.attributes: list[Mapping[int, bytes]] = []
        self.kinds = array("i")
        self.rules = bytearray()
        self.rows: dict[int, int] = {}
        self.reads: dict[int, Read] = {}
        self.other_texts: dict[int, dict[str, bytes]] = {}
        self.namespaces: list[str] = []
        self.changes = 0
        self._numbers: dict[bytes, int] = {}
        self._gone: set[int] = set()
        self._free: list[int] = []
        self._references: list[dict[int, None] | None] = []
        self._packed: NDArray[np.int64] = np.zeros(0, np.int64)
        self._starts: list[int] = [0]
        self._below: dict[int, frozenset[int]] = {}
        self._has_type = self._has_subtype = NO_NODE

    @classmethod
    def laid(
        cls,
        keys: list[bytes],
        classes: bytes,
        texts: tuple[list[bytes], list[bytes], list[bytes]],
        attributes: list[Mapping[int, bytes]],
        kinds: bytes,
        rules: bytes,
        packed: NDArray[np.int64],
        starts: list[int],
    ) -> "Nodes":
        """Nodes whose columns are there already.

        Args:
            texts: browse names, display names, descriptions.
            kinds: (n,) int32.
            packed: the references of all nodes, one node's after the other's.
            starts: (n + 1,) where each node's begin.
        """
        made = cls()
        made.keys, made.classes, made.attributes, made.rules = keys, bytearray(classes), attributes, bytearray(rules)
        made.browse_names, made.display_names, made.descriptions = texts
        made.kinds.frombytes(kinds)
        made._numbers = {key: number for number, key in enumerate(keys) if classes[number]}
        made._gone = {number for number, node_class in enumerate(classes) if not node_class}
        made._references = [None] * len(keys)
        made._packed, made._starts = packed, starts
        made._remember()
        return made

    def __len__(self) -> int:
        return len(self.keys)

    def numbers(self) -> Iterator[int]:
        """The numbers of all nodes there are."""
        return iter(self._numbers.values())

    def find(self, key: bytes) -> int:
        """The number of a node by its key, or NO_NODE."""
        return self._numbers.get(key, NO_NODE)

    def standard(self, number: int) -> int:
        """The number of one of the standard's nodes.

        Raises:
            LookupError: the address space does not have it; our mistake.
        """
        found = self.find(node_key(0, number))
        if found == NO_NODE:
            raise LookupError(f"i={number} is not in the address space")
        return found

    def add(
        self,
        key: bytes,
        node_class: int,
        browse_name: bytes,
        display_name: bytes,
        *,
        rule: int,
        description: bytes = NULL_TEXT,
        attributes: Mapping[int, bytes] | None = None,
    ) -> int:
        """Add a node without references: its number.

        Raises:
            ValueError: there is one with this NodeId; our mistake.
        """
        if key in self._numbers:
            raise ValueError(f"there is a node {key!r} already")
        number = self._free.pop() if self._free else self._room()
        self._numbers[key] = number
        self.keys[number], self.classes[number], self.rules[number] = key, node_class, rule
        self.browse_names[number], self.display_names[number], self.descriptions[number] = browse_name, display_name, description
        self.attributes[number] = {} if attributes is None else attributes
        self._references[number] = {}
        self.changes += 1
        if node_class == REFERENCE_TYPE:
            self._remember()
        return number

    def _room(self) -> int:
        """A number that no node ever had."""
        columns: tuple[list[Any], ...] = (self.keys, self.browse_names, self.display_names, self.descriptions)
        for column in columns:
            column.append(b"")
        for flags in (self.classes, self.rules):
            flags.append(0)
        self.attributes.append(_NO_ATTRIBUTES)
        self.kinds.append(NO_NODE)
        self._references.append({})
        return len(self.keys) - 1

    def display(self, number: int, locales: Sequence[str]) -> bytes:
        """A node's DisplayName in the first of some locales that it is there in; the first word of a locale is its language."""
        others = self.other_texts.get(number)
        for locale in locales if others else ():
            language = locale.partition("-")[0]
            if language == "en":
                break
            found = others.get(locale) or others.get(language) if others else None
            if found:
                return found
        return self.display_names[number]

    def put(self, number: int, attribute: int, encoded: bytes) -> None:
        """Set one of the further attributes."""
        self.attributes[number] = {**self.attributes[number], attribute: encoded}

    def refer(self, source: int, reference: int, target: int) -> None:
        """Add a reference, seen from both its ends; one that is there already stays. All three are node numbers."""
        self._changed(source)[reference << KIND | FORWARD | target] = None
        self._changed(target)[reference << KIND | source] = None
        if reference == self._has_type:
            self.kinds[source] = target
        elif reference == self._has_subtype:
            self._below.clear()
        self.changes += 1

    def part(self, source: int, reference: int, target: int) -> None:
        """Take a reference away at both its ends.

        Raises:
            KeyError: there is none; our mistake.
        """
        del self._changed(source)[reference << KIND | FORWARD | target]
        del self._changed(target)[reference << KIND | source]
        if reference == self._has_type:
            self.kinds[source] = NO_NODE
        self._below.clear()
        self.changes += 1

    def remove(self, number: int) -> None:
        """Take a node and its references away; its number is not given again before `reuse`."""
        for packed in tuple(self.packed(number)):
            other = packed & TARGET
            self._changed(other).pop(packed >> KIND << KIND | (packed ^ FORWARD) & FORWARD | number, None)
            if packed >> KIND == self._has_type and not packed & FORWARD:
                self.kinds[other] = NO_NODE
        self._references[number] = {}
        del self._numbers[self.keys[number]]
        self.keys[number] = self.browse_names[number] = self.display_names[number] = self.descriptions[number] = b""
        self.attributes[number] = _NO_ATTRIBUTES
        self.classes[number] = 0
        self.kinds[number] = NO_NODE
        self._gone.add(number)
        for of_values in (self.rows, self.reads, self.other_texts):
            of_values.pop(number, None)
        self._below.clear()
        self.changes += 1

    def reuse(self, held: Held) -> None:
        """Let new nodes have the numbers of those that were taken away, but for those that somebody still knows by number."""
        if not self._gone:
            return
        mask = np.zeros(len(self.keys), bool)
        mask[list(self._gone)] = True
        kept = self._gone.intersection(held(mask))
        self._free += sorted(self._gone - kept, reverse=True)
        self._gone = kept

    def packed(self, number: int) -> Collection[int]:
        """A node's references as they are kept."""
        found = self._references[number]
        return self._packed[self._starts[number] : self._starts[number + 1]].tolist() if found is None else found

    def references(self, number: int) -> Iterator[tuple[int, bool, int]]:
        """Each of a node's references: type, whether forward, and the node at the other end."""
        for packed in self.packed(number):
            yield packed >> KIND, bool(packed & FORWARD), packed & TARGET

    def targets(self, number: int, reference: int, forward: bool = True) -> Iterator[int]:
        """Nodes at the other end of references of exactly one type."""
        wanted = reference << 1 | forward
        for packed in self.packed(number):
            if packed >> 32 == wanted:
                yield packed & TARGET

    def subtypes(self, number: int) -> frozenset[int]:
        """A type with all types below it."""
        found = self._below.get(number)
        if found is None:
            has_subtype = self.standard(HAS_SUBTYPE)
            every, todo = {number}, [number]
            while todo:
                below = set(self.targets(todo.pop(), has_subtype)) - every
                every |= below
                todo += below
            found = self._below[number] = frozenset(every)
        return found

    def _changed(self, number: int) -> dict[int, None]:
        """A node's references, to be changed: from now on they are no longer those that were laid."""
        found = self._references[number]
        if found is None:
            found = self._references[number] = dict.fromkeys(self.packed(number))
        return found

    def _remember(self) -> None:
        self._has_type, self._has_subtype = (self.find(node_key(0, n)) for n in (HAS_TYPE_DEFINITION, HAS_SUBTYPE))
