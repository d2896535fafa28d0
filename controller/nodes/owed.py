"""Commands whose outcome is owed: looked for in their nodes' Status for as long as it takes, and never sent again. Pure."""

from collections.abc import Collection, Mapping

from controller.nodes.grant import Verdict, recalled, verdict
from controller.orders.intents import Intent
from twin.node import NodeStatus, Op

_GONE = Verdict(False, True, "outcome unknown: the factory has no such node any more")


def _of(intent: Intent, heard: Mapping[str, NodeStatus | None]) -> Verdict | None:
    if intent.place not in heard:
        return _GONE
    if intent.what.upper() not in Op.__members__:
        return Verdict(False, True, f"outcome unknown: this version of the software knows no command {intent.what!r}")
    status = heard[intent.place]
    return None if status is None else verdict(recalled(intent), status)


def looked_up(
    owed: Mapping[int, Intent], heard: Mapping[str, NodeStatus | None], waiting: Collection[int]
) -> tuple[Mapping[int, Intent], tuple[Intent, ...]]:
    """What is still owed, and what is known by now, for the book.

    Args:
        heard: each node's Status where it is to be believed; a node that is not in here is none of the factory's.
        waiting: commands that are still being offered to their nodes.
    """
    told = []
    for number, intent in owed.items():
        if number in waiting:
            continue
        found = _of(intent, heard)
        if found is not None:
            told.append(intent.settle(found.state, found.text))
    if not told:
        return owed, ()
    known = {intent.id for intent in told}
    return {number: intent for number, intent in owed.items() if number not in known}, tuple(told)
