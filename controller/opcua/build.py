"""Declarations -> nodes of the server's address space."""

import enum
from collections.abc import Iterator, Mapping
from typing import Any

from asyncua import ua
from asyncua.server.internal_server import InternalServer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.names import in_namespace, named, node_id, standard, status
from controller.opcua.nodesets import DI, MACHINERY
from controller.opcua.space import (
    FACTORY,
    NODE_TYPE,
    OUTPUTS,
    Argument,
    Kind,
    Method,
    Nameplate,
    Object,
    Space,
    Variable,
)
from twin.units import Unit

UNITS = "http://www.opcfoundation.org/UA/units/un/cefact"
DATA_TYPES = {kind: standard(getattr(ObjectIds, kind.value)) for kind in Kind}
VARIANT_TYPES = {kind: ua.VariantType[kind.value] for kind in Kind}
WAITING = status(StatusCodes.BadWaitingForInitialData)
MACHINES, MACHINE_IDENTIFICATION = 1001, 1012  # in the Machinery namespace


def build(server: InternalServer, namespaces: list[str], space: Space) -> None:
    """Add all that a Space declares to an address space that holds the specifications."""
    builder = _Builder(server, space)
    plates = _Nameplates(builder, namespaces.index(MACHINERY), namespaces.index(DI))
    for path, kind in space.enumerations.items():
        builder.enumeration(path, kind)
    for declared in space.types:
        builder.type(declared)
        if declared.path != NODE_TYPE:
            plates.hang_on(declared.path, None)
    for machine, nameplate in space.machines:
        builder.object(machine, in_namespace(namespaces.index(MACHINERY), MACHINES), ObjectIds.Organizes)
        plates.hang_on(machine.path, nameplate)
    builder.object(space.factory, standard(ObjectIds.ObjectsFolder), ObjectIds.Organizes)
    builder.object(Object("nodes", "Nodes", "The nodes that the machines hang on"), node_id(FACTORY), ObjectIds.HasComponent)
    for node in space.nodes:
        builder.object(node, node_id("nodes"), ObjectIds.HasComponent)


class _Builder:
    """Adds nodes, one by one."""

    def __init__(self, server: InternalServer, space: Space) -> None:
        self._server = server
        self._sampling_ms = float(space.sampling_ms)
        self._enumerations = {kind: node_id(path) for path, kind in space.enumerations.items()}
        self.nodes = server.aspace

    def add(
        self,
        new: ua.NodeId,
        name: ua.QualifiedName,
        parent: ua.NodeId,
        reference: int,
        attributes: Any,
        text: str,
        kind: ua.NodeId | None = None,
    ) -> None:
        """Add a node below its parent.

        Raises:
            UaStatusCodeError: the declarations don't fit the address space; our mistake.
        """
        attributes.DisplayName = ua.LocalizedText(name.Name)
        attributes.Description = ua.LocalizedText(text)
        item = ua.AddNodesItem(
            ParentNodeId=parent,
            ReferenceTypeId=standard(reference),
            RequestedNewNodeId=new,
            BrowseName=name,
            NodeClass=_NODE_CLASSES[type(attributes)],
            NodeAttributes=attributes,
            TypeDefinition=kind or ua.NodeId(),
        )
        (added,) = self._server.node_mgt_service.add_nodes([item])
        added.StatusCode.check()

    def refer(self, source: ua.NodeId, reference: int, target: ua.NodeId) -> None:
        """Add a reference in its forward direction."""
        item = ua.AddReferencesItem(SourceNodeId=source, ReferenceTypeId=standard(reference), IsForward=True, TargetNodeId=target)
        (added,) = self._server.node_mgt_service.add_references([item])
        added.check()

    def property(self, owner: ua.NodeId, name: ua.QualifiedName, kind: ua.NodeId, value: ua.Variant, new: ua.NodeId) -> None:
        """Add a property with its value."""
        attributes = ua.VariableAttributes(Value=value, DataType=kind, ValueRank=1 if value.is_array else -1)
        self.add(new, name, owner, ObjectIds.HasProperty, attributes, "", standard(ObjectIds.PropertyType))

    def own_property(self, owner: ua.NodeId, name: str, kind: int, value: ua.Variant) -> None:
        """Add a property that the standard names to one of our nodes."""
        self.property(owner, ua.QualifiedName(name, 0), standard(kind), value, node_id(f"{owner.Identifier!s}/{name}"))

    def enumeration(self, path: str, kind: type[enum.IntEnum]) -> None:
        """Add an enumeration's data type, with the names of its values."""
        new = node_id(path)
        texts = {int(member): ua.LocalizedText(member.name) for member in kind}
        members = [ua.EnumField(Value=n, DisplayName=text, Name=text.Text) for n, text in texts.items()]
        attributes: Any = ua.DataTypeAttributes()
        attributes.DataTypeDefinition = ua.EnumDefinition(Fields=members)
        text = (kind.__doc__ or "").strip()
        self.add(new, named(kind.__name__), standard(ObjectIds.Enumeration), ObjectIds.HasSubtype, attributes, text)
        if list(texts) == list(range(len(texts))):
            strings = ua.Variant(list(texts.values()), ua.VariantType.LocalizedText)
            self.own_property(new, "EnumStrings", ObjectIds.LocalizedText, strings)
        else:
            values = [ua.EnumValueType(Value=number, DisplayName=text) for number, text in texts.items()]
            numbered = ua.Variant(values, ua.VariantType.ExtensionObject)
            self.own_property(new, "EnumValues", ObjectIds.EnumValueType, numbered)

    def type(self, declared: Object) -> None:
        """Add an object type; everything below it is mandatory for its instances."""
        base = standard(ObjectIds.BaseObjectType)
        new = node_id(declared.path)
        self.add(new, named(declared.name), base, ObjectIds.HasSubtype, ua.ObjectTypeAttributes(), declared.text)
        self._below(declared, template=True)

    def object(self, declared: Object, parent: ua.NodeId, reference: int, template: bool = False) -> None:
        """Add an object and everything below it."""
        kind = node_id(declared.type) if declared.type else standard(ObjectIds.BaseObjectType)
        new = node_id(declared.path)
        self.add(new, named(declared.name), parent, reference, ua.ObjectAttributes(), declared.text, kind)
        self._rule(new, template)
        self._below(declared, template)

    def _below(self, declared: Object, template: bool) -> None:
        parent = node_id(declared.path)
        for below in declared.objects:
            self.object(below, parent, ObjectIds.HasComponent, template)
        for variable in declared.variables:
            self._variable(variable, parent, template)
        for method in declared.methods:
            self._method(method, parent, template)

    def _rule(self, new: ua.NodeId, template: bool) -> None:
        if template:
            self.refer(new, ObjectIds.HasModellingRule, standard(ObjectIds.ModellingRule_Mandatory))

    def _variable(self, variable: Variable, parent: ua.NodeId, template: bool) -> None:
        new = node_id(variable.path)
        data_type = self._enumerations[variable.enumeration] if variable.enumeration else DATA_TYPES[variable.kind]
        attributes = ua.VariableAttributes(DataType=data_type, MinimumSamplingInterval=self._sampling_ms)
        kind = standard(_variable_type(variable))
        self.add(new, named(variable.name), parent, ObjectIds.HasComponent, attributes, variable.text, kind)
        self.nodes[new].attributes[AttributeIds.Value].value = ua.DataValue(StatusCode=WAITING)
        if variable.unit is not None:
            self.own_property(new, "EngineeringUnits", ObjectIds.EUInformation, ua.Variant(eu_information(variable.unit)))
        if variable.range is not None:
            low, high = variable.range
            self.own_property(new, "EURange", ObjectIds.Range, ua.Variant(ua.Range(Low=low, High=high)))
        self._rule(new, template)

    def _method(self, method: Method, parent: ua.NodeId, template: bool) -> None:
        new = node_id(method.path)
        attributes = ua.MethodAttributes(Executable=True, UserExecutable=True)
        self.add(new, named(method.name), parent, ObjectIds.HasComponent, attributes, method.text)
        for name, arguments in (("InputArguments", tuple(method.inputs.values())), ("OutputArguments", OUTPUTS)):
            if arguments:
                listed = ua.Variant([_argument(a) for a in arguments], ua.VariantType.ExtensionObject)
                self.own_property(new, name, ObjectIds.Argument, listed)
        self._rule(new, template)


_NODE_CLASSES = {
    ua.ObjectAttributes: ua.NodeClass.Object,
    ua.ObjectTypeAttributes: ua.NodeClass.ObjectType,
    ua.VariableAttributes: ua.NodeClass.Variable,
    ua.MethodAttributes: ua.NodeClass.Method,
    ua.DataTypeAttributes: ua.NodeClass.DataType,
}


def _argument(argument: Argument) -> ua.Argument:
    return ua.Argument(Name=argument.name, DataType=DATA_TYPES[argument.kind], Description=ua.LocalizedText(argument.text))


def _variable_type(variable: Variable) -> int:
    if variable.unit is not None:
        return ObjectIds.AnalogUnitType if variable.range is None else ObjectIds.AnalogUnitRangeType
    numeric = variable.kind is not Kind.STRING and variable.kind is not Kind.BOOLEAN and variable.enumeration is None
    return ObjectIds.AnalogItemType if numeric and variable.range is not None else ObjectIds.BaseDataVariableType


def eu_information(unit: Unit) -> ua.EUInformation:
    """A unit as OPC UA tells it."""
    return ua.EUInformation(
        NamespaceUri=UNITS,
        UnitId=unit.unit_id,
        DisplayName=ua.LocalizedText(unit.symbol),
        Description=ua.LocalizedText(unit.name),
    )


class _Nameplates:
    """Instances of the Machinery model's MachineIdentificationType: what is mandatory and what is known, no more."""

    def __init__(self, builder: _Builder, machinery: int, di: int) -> None:
        self._builder = builder
        self._di = di
        self._kind = in_namespace(machinery, MACHINE_IDENTIFICATION)
        self._declared = tuple(_declarations(builder.nodes, self._kind))

    def hang_on(self, owner: str, nameplate: Nameplate | None) -> None:
        """Add `Identification` to a machine, or to its type where there is no nameplate.

        Raises:
            LookupError: the model wants something that no nameplate has.
        """
        path = f"{owner}/Identification"
        name = ua.QualifiedName("Identification", self._di)
        text = "The machine's nameplate"
        parent, new = node_id(owner), node_id(path)
        self._builder.add(new, name, parent, ObjectIds.HasAddIn, ua.ObjectAttributes(), text, self._kind)
        known = _plate(nameplate)
        for wanted, mandatory, data_type in self._declared:
            if mandatory and wanted.Name not in known:
                raise LookupError(f"the Machinery model wants {wanted.Name}, which no nameplate has")
            if wanted.Name in known and (mandatory or nameplate is not None):
                value = known[wanted.Name]
                is_text = data_type == standard(ObjectIds.LocalizedText)
                shown = ua.Variant(ua.LocalizedText(value)) if is_text else ua.Variant(value, ua.VariantType.String)
                self._builder.property(new, wanted, data_type, shown, node_id(f"{path}/{wanted.Name}"))
        if nameplate is None:
            self._builder.refer(new, ObjectIds.HasModellingRule, standard(ObjectIds.ModellingRule_Mandatory))


def _plate(nameplate: Nameplate | None) -> Mapping[str, str]:
    plate = nameplate or Nameplate("", "", "", "", "")
    return {
        "Manufacturer": plate.manufacturer,
        "Model": plate.model,
        "SerialNumber": plate.serial_number,
        "ProductInstanceUri": plate.product_instance_uri,
        "Location": plate.location,
    }


def _declarations(nodes: Any, kind: ua.NodeId | None) -> Iterator[tuple[ua.QualifiedName, bool, ua.NodeId]]:
    """The properties that a type and its supertypes declare: whether mandatory, and their data type.

    The nearest declaration of a name rules; placeholders and declarations without a rule are left out.
    """
    rules = {standard(ObjectIds.ModellingRule_Mandatory): True, standard(ObjectIds.ModellingRule_Optional): False}
    seen: set[tuple[int, str]] = set()
    while kind is not None:
        base = None
        for reference in nodes[kind].references:
            if reference.ReferenceTypeId == standard(ObjectIds.HasSubtype) and not reference.IsForward:
                base = reference.NodeId
            name = (reference.BrowseName.NamespaceIndex, reference.BrowseName.Name)
            if reference.ReferenceTypeId != standard(ObjectIds.HasProperty) or not reference.IsForward or name in seen:
                continue
            seen.add(name)
            below = nodes[reference.NodeId]
            rule = [r.NodeId for r in below.references if r.ReferenceTypeId == standard(ObjectIds.HasModellingRule)]
            if rule and rule[0] in rules:
                data_type = below.attributes[AttributeIds.DataType].value.Value.Value
                yield reference.BrowseName, rules[rule[0]], data_type
        kind = base
