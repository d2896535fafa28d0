"""Who may look at what is seen again when the user, the role, the channel or the nodes have changed."""

import numpy as np
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.attributes import refused
from controller.opcua.events import EVENT_NOTIFIER
from controller.opcua.nodes.store import VALUE, Nodes
from controller.opcua.plane import Plane
from controller.opcua.roles import ENCRYPTION_REQUIRED, RESTRICTIONS, Rule
from controller.opcua.sessions import Session
from controller.opcua.subscriptions.subscription import Read, Subscription
from controller.users import Role


def recheck(one: Subscription, session: Session, nodes: Nodes, plane: Plane, read: Read) -> None:
    """See again what a session may have of a subscription, if anything of that has changed.

    What was queued and kept of events for somebody else, or for a channel nobody could read along, is dropped.
    """
    role, who, overheard = session.role, session.who, session.overheard
    same = role == one.role and who == one.who and overheard == one.overheard
    if same and one.changes == nodes.changes:
        return
    other = role != one.role
    narrower = role < one.role or who != one.who or (overheard and not one.overheard)
    one.role, one.who, one.overheard = role, who, overheard
    if other or one.items.lacks(np.frombuffer(nodes.classes, np.uint8)):
        one.reopen({position: _hindrance(one, position, nodes, role) for position in one.items.where.values()}, plane, read)
    if narrower:
        one.kept.clear()
        _drop(one, nodes, overheard)
    one.changes = nodes.changes
    one.recount()


def _hindrance(one: Subscription, position: int, nodes: Nodes, role: Role) -> int:
    """The status that keeps a role from an item; 0 for none."""
    node = int(one.items.node[position])
    if not nodes.classes[node]:
        return int(StatusCodes.BadNodeIdUnknown)
    value = one.values.get(position)
    attribute = value.attribute if value else EVENT_NOTIFIER if position in one.notifiers else VALUE
    code = int(refused(nodes, node, attribute, role))
    return code if code in (0, StatusCodes.BadNotReadable) else int(StatusCodes.BadUserAccessDenied)


def _drop(one: Subscription, nodes: Nodes, overheard: bool) -> None:
    for position, notifier in one.notifiers.items():
        notifier.queue.clear()
        one.items.fresh[position] = False
    for position, value in one.values.items() if overheard else ():
        if RESTRICTIONS[Rule(nodes.rules[value.node])] & ENCRYPTION_REQUIRED:
            value.queue.clear()
            value.last = None
            one.items.fresh[position] = False
