"""Attributes of nodes as they are told to somebody: which there are of each node class, and what permissions make of them.

Part 3 §5 (attributes by node class), §8.55 (permissions), Part 4 §5.10.2 (statuses).
"""

from typing import Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds as Id
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.encoding import variant
from controller.opcua.names import standard
from controller.opcua.nodes.store import (
    DATA_TYPE,
    METHOD,
    OBJECT,
    OBJECT_TYPE,
    REFERENCE_TYPE,
    VARIABLE,
    VARIABLE_TYPE,
    VIEW,
    Nodes,
)
from controller.opcua.roles import GRANTS, RESTRICTIONS, TABLE, WELL_KNOWN, May, Rule
from controller.users import Role

_EVERY: Final = 0xFF
_TYPES: Final = OBJECT_TYPE | VARIABLE_TYPE | REFERENCE_TYPE | DATA_TYPE
_VALUES: Final = VARIABLE | VARIABLE_TYPE
CLASSES: Final[dict[int, int]] = {
    Id.NodeId: _EVERY, Id.NodeClass: _EVERY, Id.BrowseName: _EVERY, Id.DisplayName: _EVERY, Id.Description: _EVERY,
    Id.WriteMask: _EVERY, Id.UserWriteMask: _EVERY, Id.IsAbstract: _TYPES, Id.Symmetric: REFERENCE_TYPE,
    Id.InverseName: REFERENCE_TYPE, Id.ContainsNoLoops: VIEW, Id.EventNotifier: VIEW | OBJECT, Id.Value: _VALUES,
    Id.DataType: _VALUES, Id.ValueRank: _VALUES, Id.ArrayDimensions: _VALUES, Id.AccessLevel: VARIABLE,
    Id.UserAccessLevel: VARIABLE, Id.MinimumSamplingInterval: VARIABLE, Id.Historizing: VARIABLE, Id.Executable: METHOD,
    Id.UserExecutable: METHOD, Id.DataTypeDefinition: DATA_TYPE, Id.RolePermissions: _EVERY, Id.UserRolePermissions: _EVERY,
    Id.AccessRestrictions: _EVERY, Id.AccessLevelEx: VARIABLE,
}  # fmt: skip
"""The node classes that have each attribute."""

_FALSE: Final = variant(False)
_MANDATORY: Final[dict[int, bytes]] = {
    Id.WriteMask: variant(0, ua.VariantType.UInt32), Id.UserWriteMask: variant(0, ua.VariantType.UInt32), Id.IsAbstract: _FALSE,
    Id.Symmetric: _FALSE, Id.ContainsNoLoops: variant(True), Id.EventNotifier: variant(0, ua.VariantType.Byte),
    Id.DataType: variant(standard(24)), Id.ValueRank: variant(-2, ua.VariantType.Int32),
    Id.AccessLevel: variant(1, ua.VariantType.Byte), Id.Historizing: _FALSE, Id.Executable: variant(True),
    Id.AccessRestrictions: variant(0, ua.VariantType.UInt16),
}  # fmt: skip
"""What the attributes that a node must have are where nothing is said."""

# Plain numbers: an IntFlag makes an object at each operation, and thousands of nodes are asked for at once.
VALUE, _LEVEL, _RANK, _PERMISSIONS = int(Id.Value), int(Id.AccessLevel), int(Id.ValueRank), int(Id.RolePermissions)
_BROWSE, _READ, _SEE_RULES = int(May.BROWSE), int(May.READ), int(May.READ_ROLE_PERMISSIONS)
_LEAST: Final = _MANDATORY[_LEVEL]
CURRENT_READ, CURRENT_WRITE, HISTORY_READ, HISTORY_WRITE = 1, 2, 4, 8
WRITE_FULL_ARRAY_ONLY: Final = 1 << 10
_SCALAR: Final = b"\xff\xff\xff\xff"
"""A ValueRank of -1."""
_ACCESS: Final = (
    (CURRENT_READ, May.READ),
    (CURRENT_WRITE, May.WRITE),
    (HISTORY_READ, May.READ_HISTORY),
    (HISTORY_WRITE, May.INSERT_HISTORY | May.MODIFY_HISTORY | May.DELETE_HISTORY),
)
UNKNOWN, INVALID, DENIED, NOT_READABLE = (
    StatusCodes.BadNodeIdUnknown,
    StatusCodes.BadAttributeIdInvalid,
    StatusCodes.BadUserAccessDenied,
    StatusCodes.BadNotReadable,
)


def access_level(nodes: Nodes, node: int) -> int:
    """Bits of a Variable's AccessLevel."""
    return nodes.attributes[node].get(_LEVEL, _LEAST)[1]


def _extended_level(nodes: Nodes, node: int) -> int:
    """AccessLevelEx (Part 3 §8.58): reading and writing are never done by halves, and an array is written whole."""
    scalar = nodes.attributes[node].get(_RANK, _MANDATORY[_RANK])[1:] == _SCALAR
    return access_level(nodes, node) | (0 if scalar else WRITE_FULL_ARRAY_ONLY)


def executable(nodes: Nodes, node: int) -> bool:
    """A Method's Executable, as far as it never changes."""
    return bool(nodes.attributes[node].get(Id.Executable, _MANDATORY[Id.Executable])[1])


def refused(nodes: Nodes, node: int, attribute: int, role: Role) -> int:
    """The status that says why a role does not read an attribute; 0 where it does.

    A node that a role may not browse is unknown to it: that it exists would tell something already.
    """
    granted, kind = TABLE[nodes.rules[node]][role - 1], nodes.classes[node]
    if not granted & _BROWSE:
        return UNKNOWN
    if not CLASSES.get(attribute, 0) & kind:
        return INVALID
    if attribute == VALUE and kind == VARIABLE:
        if not nodes.attributes[node].get(_LEVEL, _LEAST)[1] & CURRENT_READ:
            return NOT_READABLE
        return 0 if granted & _READ else DENIED
    if attribute == _PERMISSIONS:
        return 0 if granted & _SEE_RULES else DENIED
    return 0


def attribute(nodes: Nodes, node: int, wanted: int, role: Role) -> bytes | None:
    """An attribute that is not a Variable's Value, as an encoded Variant; None where this node does not have it.

    The caller has seen that it is not `refused`.
    """
    if wanted in _TOLD:
        kind, column = _TOLD[wanted]
        told: bytes = getattr(nodes, column)[node]
        return bytes((kind,)) + told
    granted, rule = TABLE[nodes.rules[node]][role - 1], Rule(nodes.rules[node])
    match wanted:
        case Id.NodeClass:
            return variant(nodes.classes[node], ua.VariantType.Int32)
        case Id.UserAccessLevel:
            level = access_level(nodes, node)
            allowed = sum(bit for bit, needs in _ACCESS if level & bit and granted & needs == needs)
            return variant(allowed, ua.VariantType.Byte)
        case Id.AccessLevelEx:
            return nodes.attributes[node].get(wanted) or variant(_extended_level(nodes, node), ua.VariantType.UInt32)
        case Id.UserExecutable:
            return variant(executable(nodes, node) and bool(granted & May.CALL))
        case Id.UserWriteMask:
            return _MANDATORY[wanted]
        case Id.AccessRestrictions:
            return variant(RESTRICTIONS[rule], ua.VariantType.UInt16)
        case Id.RolePermissions:
            return _permissions(rule, tuple(Role))
        case Id.UserRolePermissions:
            return _permissions(rule, (role,))
        case _:
            return nodes.attributes[node].get(wanted) or _MANDATORY.get(wanted)


_TOLD: Final[dict[int, tuple[int, str]]] = {
    Id.NodeId: (17, "keys"), Id.BrowseName: (20, "browse_names"), Id.DisplayName: (21, "display_names"),
    Id.Description: (21, "descriptions"),
}  # fmt: skip
_made: dict[tuple[Rule, tuple[Role, ...]], bytes] = {}


def _permissions(rule: Rule, roles: tuple[Role, ...]) -> bytes:
    """RolePermissionType[] of a rule."""
    found = _made.get((rule, roles))
    if found is None:
        listed = [
            ua.RolePermissionType(standard(number), int(GRANTS[rule][role - 1]))
            for role in roles
            for number in WELL_KNOWN[role]
        ]
        found = _made[rule, roles] = variant(listed, ua.VariantType.ExtensionObject)
    return found
