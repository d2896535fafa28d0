"""Orders that somebody else may have carried on: another controller, or this one on a newer copy of the book. Pure."""

from dataclasses import replace

from controller.orders.order import AT_WORK, TABLE, Happening, OperationState, Order
from controller.orders.turn import Turn

_MOVING = (OperationState.STARTING, OperationState.RUNNING)
_JUMP = 0x9E3779B1  # odd: whatever epoch it is multiplied with, another one lands elsewhere


def review(turn: Turn, order: Order) -> bool:
    """Put what can't be known any more into an operator's hands. Returns whether an order's turn is over with that.

    What runs on a node that somebody else has commanded is held: its machine's state is to be looked at. What of an old copy
    has moved nothing yet may have been made since: it goes on only when an operator says so.
    """
    now, view = order.current, turn.view
    machine = view.factory.machines.get(now.machine)
    why = view.strange.get(machine.node, "") if machine is not None else ""
    if why and machine is not None and now.state in _MOVING:
        turn.happen(order.id, Happening.FAILED, f"node {machine.node} was {why}: look what has become of it", begun=True)
        return True
    coming = now.state is OperationState.WAITING or (now.state in AT_WORK and now.state not in _MOVING)
    if coming and order.id < view.old and not (now.by_hand and not now.told):
        if Happening.FORGOTTEN in TABLE[now.state]:
            turn.happen(order.id, Happening.FORGOTTEN)
        order = turn.orders[order.id]
        turn.orders[order.id] = order.put(order.at, replace(order.current, by_hand=True, told=False))
        return True
    return False


def fresh_ids(next_id: int, epoch: int) -> int:
    """Where ids go on, far from those that a newer copy of the book may have used: a node runs an id once and never again."""
    return (next_id + epoch * _JUMP) & 0xFFFFFFFF or 1
