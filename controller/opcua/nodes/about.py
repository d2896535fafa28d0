"""What the server tells of itself in the standard's own nodes: namespaces, capabilities, roles."""

import struct
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

import controller
from controller.opcua.attributes import attribute
from controller.opcua.encoding import data_value, node_key, qualified, ticks, variant
from controller.opcua.events import browse_text
from controller.opcua.nodes.capabilities import AGGREGATES, values
from controller.opcua.nodes.nodeset import EVENT_NOTIFIER
from controller.opcua.nodes.store import NO_NODE, OBJECT, VALUE, Nodes, Read
from controller.opcua.roles import WELL_KNOWN
from controller.opcua.space import Space
from controller.users import Role
from twin.clock import utc_ns

if TYPE_CHECKING:
    from controller.opcua.nodes.build import Builder

MODELLING_RULES: Final = ("Mandatory", "Optional", "ExposesItsArray", "OptionalPlaceholder", "MandatoryPlaceholder")
SIGNING_REQUIRED: Final = 1
"""A bit of AccessRestrictions: without a signed channel there is no session here at all."""
STRING_IDS: Final = 1
"""IdType of NodeIds whose identifier is a text."""


def tell_about(builder: "Builder", space: Space) -> None:
    """Fill in the Server object, as far as its values stay as they are while it runs.

    Raises:
        LookupError: the standard's nodes lack one of them; our mistake.
    """
    nodes = builder.nodes
    for name, value in values():
        numbered = getattr(ObjectIds, f"Server_{name}", None) or getattr(ObjectIds, name)
        nodes.put(nodes.standard(numbered), VALUE, value)
    _tell(nodes, ObjectIds.Server_ServerArray, _array([space.application], ua.VariantType.String))
    _tell(nodes, ObjectIds.Server_NamespaceArray, _array(nodes.namespaces, ua.VariantType.String))
    _tell(nodes, ObjectIds.Server_ServerRedundancy_RedundancySupport, variant(0, ua.VariantType.Int32))
    _tell(nodes, ObjectIds.Server_Auditing, variant(True))
    rules = tuple(getattr(ObjectIds, f"ModellingRule_{name}") for name in MODELLING_RULES)
    _organize(builder, ObjectIds.Server_ServerCapabilities_ModellingRules, rules)
    _organize(builder, ObjectIds.Server_ServerCapabilities_AggregateFunctions, AGGREGATES)
    _organize(builder, ObjectIds.HistoryServerCapabilities_AggregateFunctions, AGGREGATES)
    for role, numbers in WELL_KNOWN.items():
        for number in numbers:
            _tell_child(nodes, nodes.standard(number), "Identities", _identities(number, role))
    _metadata(builder, 1, "namespace:application", ())
    _metadata(builder, 2, "namespace:factory", (STRING_IDS,))
    _defaults(nodes)


def software_version() -> str:
    """Ours."""
    try:
        return version("lockstep-factory")
    except PackageNotFoundError:
        return "0"


def built_ns() -> int:
    """When this software was laid down here: UTC."""
    return Path(controller.__file__).stat().st_mtime_ns


def _tell(nodes: Nodes, number: int, value: bytes) -> None:
    nodes.put(nodes.standard(number), VALUE, value)


def _tell_child(nodes: Nodes, parent: int, name: str, value: bytes) -> None:
    for child in _named(nodes, parent, name):
        nodes.put(child, VALUE, value)


def _named(nodes: Nodes, parent: int, name: str) -> Iterator[int]:
    has_property = nodes.standard(ObjectIds.HasProperty)
    for child in nodes.targets(parent, has_property):
        if browse_text(nodes.browse_names[child]) == name:
            yield child


def _array(each: Any, kind: ua.VariantType) -> bytes:
    made: Any = ua.Variant
    return variant(made(list(each), kind, is_array=True))


def _organize(builder: "Builder", folder: int, numbers: tuple[int, ...]) -> None:
    nodes = builder.nodes
    for number in numbers:
        found = nodes.find(node_key(0, number))
        if found != NO_NODE:
            nodes.refer(nodes.standard(folder), builder.organizes, found)


def _identities(number: int, role: Role) -> bytes:
    """Who has one of the standard's roles: who comes without a name, everybody who comes with one, or users whose role it is."""
    kinds = {
        ObjectIds.WellKnownRole_Anonymous: ua.IdentityCriteriaType.Anonymous,
        ObjectIds.WellKnownRole_AuthenticatedUser: ua.IdentityCriteriaType.AuthenticatedUser,
    }
    kind = kinds.get(number, ua.IdentityCriteriaType.GroupId)
    criteria = role.name.lower() if number not in kinds else None
    return _array([ua.IdentityMappingRuleType(kind, criteria)], ua.VariantType.ExtensionObject)


def _metadata(builder: "Builder", index: int, path: str, kinds: tuple[int, ...]) -> None:
    """NamespaceMetadata of one of our namespaces (Part 5 §6.3.13)."""
    nodes = builder.nodes
    uri = nodes.namespaces[index]
    new = builder.add(
        path,
        OBJECT,
        qualified(uri, index),
        {EVENT_NOTIFIER: b"\x03\x00"},
        kind=nodes.standard(ObjectIds.NamespaceMetadataType),
        parent=(builder.has_component, nodes.standard(ObjectIds.Server_Namespaces)),
    )
    id_types = struct.pack(f"<Bi{len(kinds)}i", 0x86, len(kinds), *kinds)
    each: tuple[tuple[str, int, bytes, int | None], ...] = (
        ("NamespaceUri", ObjectIds.String, variant(uri, ua.VariantType.String), None),
        ("NamespaceVersion", ObjectIds.String, variant(software_version(), ua.VariantType.String), None),
        ("NamespacePublicationDate", ObjectIds.DateTime, b"\x0d" + bytes(8), None),
        ("IsNamespaceSubset", ObjectIds.Boolean, variant(False), None),
        ("StaticNodeIdTypes", ObjectIds.IdType, id_types, len(kinds)),
        ("StaticNumericNodeIdRange", ObjectIds.NumericRange, _array([], ua.VariantType.String), 0),
        ("StaticStringNodeIdPattern", ObjectIds.String, variant("", ua.VariantType.String), None),
        ("DefaultRolePermissions", ObjectIds.RolePermissionType, b"\x00", 0),
        ("DefaultUserRolePermissions", ObjectIds.RolePermissionType, b"\x00", 0),
        ("DefaultAccessRestrictions", ObjectIds.AccessRestrictionType, b"\x00", None),
    )
    for name, kind, value, dimensions in each:
        builder.own_property(new, path, name, kind, value, dimensions)


def _defaults(nodes: Nodes) -> None:
    """What the nodes of each namespace allow where they say nothing: they always do, so this is what most of them say."""
    namespaces = nodes.standard(ObjectIds.Server_Namespaces)
    for of in tuple(nodes.targets(namespaces, nodes.standard(ObjectIds.HasComponent))):
        granted = attribute(nodes, of, AttributeIds.RolePermissions, Role.ADMINISTRATOR)
        _tell_child(nodes, of, "DefaultRolePermissions", granted or b"\x00")
        _tell_child(nodes, of, "DefaultAccessRestrictions", variant(SIGNING_REQUIRED, ua.VariantType.UInt16))
        for child in _named(nodes, of, "DefaultUserRolePermissions"):
            nodes.reads[child] = _granted(nodes, of)


def _granted(nodes: Nodes, of: int) -> Read:
    def read(session: Any) -> bytes:
        now = ticks(utc_ns())
        return data_value(attribute(nodes, of, AttributeIds.UserRolePermissions, session.role), 0, now, now)

    return read
