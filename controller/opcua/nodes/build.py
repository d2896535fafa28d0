"""Declarations -> nodes of the address space, each Signal with its row of the plane."""

import enum
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds

from controller.opcua import plane as planes
from controller.opcua.encoding import node_key, qualified, string, text, ticks, variant
from controller.opcua.names import OURS
from controller.opcua.nodes.about import tell_about
from controller.opcua.nodes.definitions import EXTENSION_OBJECT, extension_object
from controller.opcua.nodes.nameplates import Nameplates
from controller.opcua.nodes.nodeset import (
    ACCESS_LEVEL,
    ARRAY_DIMENSIONS,
    DATA_TYPE_OF,
    DEFINITION,
    EVENT_NOTIFIER,
    EXECUTABLE,
    HISTORIZING,
    IS_ABSTRACT,
    MINIMUM_SAMPLING,
    USER_EXECUTABLE,
    VALUE_RANK,
)
from controller.opcua.nodes.sources import MACHINERY
from controller.opcua.nodes.store import DATA_TYPE, METHOD, OBJECT, OBJECT_TYPE, VALUE, VARIABLE, Nodes
from controller.opcua.plane import Plane
from controller.opcua.roles import Rule
from controller.opcua.space import DEVICE_TYPE, FACTORY, NODE_TYPE, Argument, Kind, Method, Object, Space, Variable
from twin.clock import utc_ns
from twin.units import Unit

UNITS: Final = "http://www.opcfoundation.org/UA/units/un/cefact"
MACHINES: Final = 1001
"""The folder of machines, in the Machinery namespace."""
KINDS: Final = {kind: int(getattr(planes, kind.value.upper())) for kind in Kind}
"""The plane's kinds by ours."""
DATA_TYPES: Final = {kind: node_key(0, getattr(ObjectIds, kind.value)) for kind in Kind}
CURRENT_READ, CURRENT_WRITE, HISTORY_READ = 1, 2, 4
NOTHING_YET: Final = {
    kind: bytes((KINDS[kind],)) + (string(None) if kind is Kind.STRING else bytes(planes.TYPES[KINDS[kind]].itemsize))
    for kind in Kind
}
"""What a declaration in a type holds."""
TRUE, FALSE = b"\x01\x01", b"\x01\x00"
_RANGE: Final = node_key(0, ObjectIds.Range_Encoding_DefaultBinary)
_LIST: Final = b"\x06\x01\x00\x00\x00"
"""The ValueRank of an array, as a Variant."""
_ONE: Final = b"\x06\xff\xff\xff\xff"
"""And that of a scalar."""


@dataclass(frozen=True, slots=True)
class Built:
    """Where the Signals are.

    Attributes:
        rows: of the plane, one for each of `Space.variables`.
        variables: the numbers of their nodes, in the same order.
    """

    rows: range
    variables: tuple[int, ...]


def build(nodes: Nodes, space: Space, plane: Plane) -> Built:
    """Add all that a Space declares to an address space that holds the specifications, and a row for each Signal.

    Raises:
        ValueError: two declarations have one path; LookupError: the specifications lack what ours build on.
    """
    builder = Builder(nodes, space)
    plates = Nameplates(builder)
    for path, kind in space.enumerations.items():
        builder.enumeration(path, kind)
    for declared in space.types:
        builder.type(declared)
        if declared.path not in (NODE_TYPE, DEVICE_TYPE):
            plates.hang_on(declared.path, None)
    folder = builder.there(nodes.namespaces.index(MACHINERY), MACHINES)
    for machine, nameplate in space.machines:
        builder.object(machine, folder, builder.organizes)
        plates.hang_on(machine.path, nameplate)
    builder.object(space.factory, nodes.standard(ObjectIds.ObjectsFolder), builder.organizes)
    everything = Object("nodes", "Nodes", "The nodes that the machines hang on")
    builder.object(everything, builder.ours(FACTORY), builder.has_component)
    for node in space.nodes:
        builder.object(node, builder.ours("nodes"), builder.has_component)
    tell_about(builder, space)
    variables = tuple(builder.ours(variable.path) for variable in space.variables)
    rows = plane.grow([KINDS[variable.kind] for variable in space.variables], ticks(utc_ns()))
    nodes.rows.update(zip(variables, rows, strict=True))
    return Built(rows, variables)


class Builder:
    """Adds nodes, one by one. Nodes are told by their numbers, ours by their paths."""

    def __init__(self, nodes: Nodes, space: Space) -> None:
        self.nodes = nodes
        self.has_component, self.has_property, self.has_add_in, self.organizes = (
            nodes.standard(number)
            for number in (ObjectIds.HasComponent, ObjectIds.HasProperty, ObjectIds.HasAddIn, ObjectIds.Organizes)
        )
        self._has_type, self._has_subtype, self._has_rule = (
            nodes.standard(number) for number in (ObjectIds.HasTypeDefinition, ObjectIds.HasSubtype, ObjectIds.HasModellingRule)
        )
        self._mandatory = nodes.standard(ObjectIds.ModellingRule_Mandatory)
        self._property = nodes.standard(ObjectIds.PropertyType)
        self._sampling = b"\x0b" + struct.pack("<d", space.sampling_ms)
        self._enumerations = {kind: node_key(OURS, path) for path, kind in space.enumerations.items()}
        self._shared: dict[tuple[tuple[int, bytes], ...], Mapping[int, bytes]] = {}

    def there(self, namespace: int, identifier: int) -> int:
        """The number of a node of a specification.

        Raises:
            LookupError: the specification does not have it.
        """
        return self._found(node_key(namespace, identifier))

    def ours(self, path: str) -> int:
        """The number of one of our nodes.

        Raises:
            LookupError: there is none.
        """
        return self._found(node_key(OURS, path))

    def _found(self, key: bytes) -> int:
        found = self.nodes.find(key)
        if found < 0:
            raise LookupError(f"{key!r} is not in the address space")
        return found

    def add(
        self,
        path: str,
        node_class: int,
        name: bytes,
        attributes: Mapping[int, bytes],
        *,
        description: str = "",
        rule: Rule = Rule.OPEN,
        kind: int | None = None,
        parent: tuple[int, int] | None = None,
    ) -> int:
        """Add one of our nodes: its number.

        Args:
            name: encoded QualifiedName; it is shown as well.
            kind: its type definition.
            parent: the reference that leads to it, and the node where that begins.
        """
        shared = self._shared.setdefault(tuple(attributes.items()), attributes)
        display = b"\x02" + name[2:]
        told = text(description or None)
        new = self.nodes.add(node_key(OURS, path), node_class, name, display, rule=rule, description=told, attributes=shared)
        if parent is not None:
            self.nodes.refer(parent[1], parent[0], new)
        if kind is not None:
            self.nodes.refer(new, self._has_type, kind)
        return new

    def property(self, owner: int, path: str, name: bytes, data_type: bytes, value: bytes, dimensions: int | None = None) -> int:
        """Add a property that holds an encoded Variant; `dimensions` is how many elements it has where it is an array."""
        attributes = {DATA_TYPE_OF: b"\x11" + data_type, VALUE_RANK: _ONE if dimensions is None else _LIST, VALUE: value}
        if dimensions is not None:
            attributes[ARRAY_DIMENSIONS] = struct.pack("<BiI", 0x87, 1, dimensions)
        attributes |= {ACCESS_LEVEL: bytes((3, CURRENT_READ)), HISTORIZING: FALSE}
        return self.add(path, VARIABLE, name, attributes, kind=self._property, parent=(self.has_property, owner))

    def own_property(self, owner: int, path: str, name: str, kind: int, value: bytes, dimensions: int | None = None) -> int:
        """Add a property that the standard names to one of our nodes."""
        return self.property(owner, f"{path}/{name}", qualified(name), node_key(0, kind), value, dimensions)

    def mandatory(self, number: int) -> None:
        """Instances must have it."""
        self.nodes.refer(number, self._has_rule, self._mandatory)

    # ---- what a Space declares

    def enumeration(self, path: str, kind: type[enum.IntEnum]) -> None:
        """Add an enumeration's data type, with the names of its values."""
        texts = {int(member): ua.LocalizedText(member.name) for member in kind}
        made: Any = ua.EnumDefinition
        members = [ua.EnumField(Value=n, DisplayName=shown, Name=shown.Text) for n, shown in texts.items()]
        attributes = {IS_ABSTRACT: FALSE, DEFINITION: variant(made(Fields=members))}
        base = self.nodes.standard(ObjectIds.Enumeration)
        name = qualified(kind.__name__, OURS)
        told = (kind.__doc__ or "").strip()
        new = self.add(path, DATA_TYPE, name, attributes, description=told, parent=(self._has_subtype, base))
        if list(texts) == list(range(len(texts))):
            strings = variant(list(texts.values()), ua.VariantType.LocalizedText)
            self.own_property(new, path, "EnumStrings", ObjectIds.LocalizedText, strings, len(texts))
        else:
            values = [ua.EnumValueType(Value=number, DisplayName=shown) for number, shown in texts.items()]
            listed = variant(values, ua.VariantType.ExtensionObject)
            self.own_property(new, path, "EnumValues", ObjectIds.EnumValueType, listed, len(texts))

    def type(self, declared: Object) -> None:
        """Add an object type; everything below it is mandatory for its instances."""
        base = self.nodes.standard(ObjectIds.BaseObjectType)
        parent = (self._has_subtype, base)
        name = qualified(declared.name, OURS)
        new = self.add(declared.path, OBJECT_TYPE, name, {IS_ABSTRACT: FALSE}, description=declared.text, parent=parent)
        self._below(declared, new, template=True)

    def object(self, declared: Object, parent: int, reference: int, template: bool = False) -> int:
        """Add an object and everything below it."""
        kind = self.ours(declared.type) if declared.type else self.nodes.standard(ObjectIds.BaseObjectType)
        name = qualified(declared.name, OURS)
        attributes = {EVENT_NOTIFIER: b"\x03\x00"}
        new = self.add(declared.path, OBJECT, name, attributes, description=declared.text, kind=kind, parent=(reference, parent))
        if template:
            self.mandatory(new)
        self._below(declared, new, template)
        return new

    def _below(self, declared: Object, new: int, template: bool) -> None:
        for below in declared.objects:
            self.object(below, new, self.has_component, template)
        self.variables(declared.variables, new, template)
        for method in declared.methods:
            self._method(method, new, template)

    def variables(self, declared: Iterable[Variable], parent: int, template: bool = False) -> None:
        """Add variables below a node."""
        for variable in declared:
            new = self._variable(variable, parent, template)
            if variable.unit is not None:
                self.own_property(new, variable.path, "EngineeringUnits", ObjectIds.EUInformation, unit(variable.unit))
            if variable.range is not None:
                self.own_property(new, variable.path, "EURange", ObjectIds.Range, limits(*variable.range))
            if template:
                self.mandatory(new)

    def _variable(self, variable: Variable, parent: int, template: bool) -> int:
        data_type = self._enumerations[variable.enumeration] if variable.enumeration else DATA_TYPES[variable.kind]
        is_kept = not template and variable.kept
        access = CURRENT_READ | (CURRENT_WRITE if variable.writable else 0) | (HISTORY_READ if is_kept else 0)
        attributes = {
            DATA_TYPE_OF: b"\x11" + data_type,
            VALUE_RANK: _ONE,
            ACCESS_LEVEL: bytes((3, access)),
            MINIMUM_SAMPLING: self._sampling,
            HISTORIZING: TRUE if is_kept else FALSE,
        }
        if template:
            attributes[VALUE] = NOTHING_YET[variable.kind]
        return self.add(
            variable.path,
            VARIABLE,
            qualified(variable.name, OURS),
            attributes,
            description=variable.text,
            rule=Rule.SETPOINT if variable.writable else Rule.OPEN,
            kind=self.nodes.standard(_variable_type(variable)),
            parent=(self.has_component, parent),
        )

    def _method(self, method: Method, parent: int, template: bool) -> None:
        name = qualified(method.name, OURS)
        attributes = {EXECUTABLE: TRUE, USER_EXECUTABLE: TRUE}
        below = (self.has_component, parent)
        new = self.add(method.path, METHOD, name, attributes, description=method.text, rule=Rule.COMMAND, parent=below)
        for title, arguments in (("InputArguments", tuple(method.inputs.values())), ("OutputArguments", method.outputs)):
            if arguments:
                self.own_property(new, method.path, title, ObjectIds.Argument, _arguments(arguments), len(arguments))
        if template:
            self.mandatory(new)


def _arguments(arguments: Sequence[Argument]) -> bytes:
    listed = [ua.Argument(a.name, ua.NodeId(getattr(ObjectIds, a.kind.value)), -1, [], ua.LocalizedText(a.text)) for a in arguments]
    return variant(listed, ua.VariantType.ExtensionObject)


def _variable_type(variable: Variable) -> int:
    if variable.unit is not None:
        return ObjectIds.AnalogUnitType if variable.range is None else ObjectIds.AnalogUnitRangeType
    numeric = variable.kind is not Kind.STRING and variable.kind is not Kind.BOOLEAN and variable.enumeration is None
    return ObjectIds.AnalogItemType if numeric and variable.range is not None else ObjectIds.BaseDataVariableType


@cache
def unit(shown: Unit) -> bytes:
    """A unit as OPC UA tells it: an encoded EUInformation."""
    names = ua.LocalizedText(shown.symbol), ua.LocalizedText(shown.name)
    return variant(ua.EUInformation(UNITS, shown.unit_id, *names))


def limits(low: float, high: float) -> bytes:
    """An encoded Range."""
    return bytes((EXTENSION_OBJECT,)) + extension_object(_RANGE, struct.pack("<dd", low, high))
