"""An arm moves while one of its operations is wished and its drives are on; the Job does the rest on the node."""

from twin.clock import Ns
from twin.machine import Wish
from twin.machines.arm.spec import CAPABILITIES, JOINTS, Command, Params, Status
from twin.machines.arm.tool import SHOWN, show
from twin.trace import Event, Sample

__all__ = ["SHOWN", "cannot_take", "decide", "show", "stands"]

SAFE = Command()


def decide(sample: Sample[Status], wish: Wish, params: Params, now: Ns) -> tuple[Command, tuple[Event, ...]]:
    """Run the Job while the wish says go."""
    status = sample.status
    if status is None or not sample.good or wish.capability not in CAPABILITIES:
        return SAFE, ()
    return Command(run=wish.go and not status.tripped), ()


def cannot_take(status: Status, params: Params) -> str:
    """Why the jaws can't take a Part now; empty when they can."""
    return "its jaws hold something: take it out" if status.holding else ""


def stands(status: Status) -> tuple[float, ...]:
    """Where the joints stand [rad], as far as the node knows: only once it has been homed."""
    return tuple(getattr(status, name) for name in JOINTS)
