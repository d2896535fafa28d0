"""Who may do what with which node: a role and a node's rule -> the permissions of Part 3 §8.55.

Denied is whatever is not granted here. Observers are also those who come without a name, with a trusted certificate.
"""

import enum
from typing import Final

from asyncua.ua.object_ids import ObjectIds

from controller.users import Role


class May(enum.IntFlag):
    """Permissions, with the standard's bits."""

    BROWSE = 1
    READ_ROLE_PERMISSIONS = 2
    WRITE_ATTRIBUTE = 4
    WRITE_ROLE_PERMISSIONS = 8
    WRITE_HISTORIZING = 16
    READ = 32
    WRITE = 64
    READ_HISTORY = 128
    INSERT_HISTORY = 256
    MODIFY_HISTORY = 512
    DELETE_HISTORY = 1024
    RECEIVE_EVENTS = 2048
    CALL = 4096
    ADD_REFERENCE = 8192
    REMOVE_REFERENCE = 16384
    DELETE_NODE = 32768
    ADD_NODE = 65536


class Rule(enum.IntEnum):
    """What sort of node it is, as far as permissions go."""

    OPEN = 0
    """Everyone may look: types, Signals, the server's own state."""
    COMMAND = 1
    """Asks a machine or the factory for something."""
    SETPOINT = 2
    """Is written for a machine."""
    DIAGNOSTICS = 3
    """Tells of other people's sessions."""
    SECURITY = 4
    """Trust and audit: nobody else even sees it."""
    OWN = 5
    """A method that concerns the caller's own session alone."""


_LOOK: Final = May.BROWSE | May.READ | May.READ_HISTORY | May.RECEIVE_EVENTS
_NOTHING: Final = May(0)
_RULE_KNOWN: Final = May.READ_ROLE_PERMISSIONS

# Observer, Operator, Engineer, Administrator
GRANTS: Final[dict[Rule, tuple[May, May, May, May]]] = {
    Rule.OPEN: (_LOOK, _LOOK, _LOOK | _RULE_KNOWN, _LOOK | _RULE_KNOWN),
    Rule.COMMAND: (_LOOK, _LOOK | May.CALL, _LOOK | May.CALL | _RULE_KNOWN, _LOOK | May.CALL | _RULE_KNOWN),
    Rule.SETPOINT: (_LOOK, _LOOK | May.WRITE, _LOOK | May.WRITE | _RULE_KNOWN, _LOOK | May.WRITE | _RULE_KNOWN),
    Rule.DIAGNOSTICS: (_NOTHING, _NOTHING, _LOOK | _RULE_KNOWN, _LOOK | May.WRITE | May.CALL | _RULE_KNOWN),
    Rule.SECURITY: (_NOTHING, _NOTHING, _NOTHING, _LOOK | May.WRITE | May.CALL | _RULE_KNOWN),
    Rule.OWN: tuple(_LOOK | May.CALL | (_RULE_KNOWN if role >= Role.ENGINEER else _NOTHING) for role in Role),  # type: ignore[dict-item]
}

WELL_KNOWN: Final[dict[Role, tuple[int, ...]]] = {
    Role.OBSERVER: (ObjectIds.WellKnownRole_Anonymous, ObjectIds.WellKnownRole_AuthenticatedUser, ObjectIds.WellKnownRole_Observer),
    Role.OPERATOR: (ObjectIds.WellKnownRole_Operator,),
    Role.ENGINEER: (ObjectIds.WellKnownRole_Engineer,),
    Role.ADMINISTRATOR: (ObjectIds.WellKnownRole_ConfigureAdmin, ObjectIds.WellKnownRole_SecurityAdmin),
}
"""The standard's roles that each of ours is."""

TABLE: Final = tuple(tuple(int(grant) for grant in GRANTS[rule]) for rule in Rule)
"""Bits by rule and role - 1, for those who ask often."""


def may(role: Role, rule: int, wanted: May) -> bool:
    """Whether a role has all of some permissions on a node with a rule."""
    return TABLE[rule][role - 1] & wanted == wanted


SIGNING_REQUIRED: Final = 1
ENCRYPTION_REQUIRED: Final = 2
"""Bits of AccessRestrictions (Part 3 §8.56)."""
RESTRICTIONS: Final[dict[Rule, int]] = {
    rule: SIGNING_REQUIRED | (ENCRYPTION_REQUIRED if rule == Rule.SECURITY else 0) for rule in Rule
}
"""What a channel must be like. Whatever has a session is signed; only who listens in must not learn of trust and audit."""


SIGN_AND_ENCRYPT: Final = 3
"""The MessageSecurityMode of a channel that nobody can read along."""
OPERATIONS: Final[dict[str, May]] = {
    "browse": May.BROWSE,
    "read": May.READ,
    "write": May.WRITE,
    "call": May.CALL,
    "read history": May.READ_HISTORY,
    "receive events": May.RECEIVE_EVENTS,
    "read role permissions": May.READ_ROLE_PERMISSIONS,
}
"""What people do with a node, and what it takes. Nothing else is granted to anybody: attributes other than values, role
permissions, history and the nodes themselves are changed by nobody over OPC UA."""
