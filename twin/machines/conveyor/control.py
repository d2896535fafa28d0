"""A belt runs while a part that is to be conveyed has not reached the exit."""

from twin.clock import Ns
from twin.machine import Wish
from twin.machines.conveyor.spec import Command, Params, Status
from twin.trace import Event, Sample

SAFE = Command()


def decide(sample: Sample[Status], wish: Wish, params: Params, now: Ns) -> tuple[Command, tuple[Event, ...]]:
    """Run the belt on a wish to convey, and stop it as soon as a part is at the exit."""
    status = sample.status
    if status is None or not sample.good or wish.capability != "convey" or not wish.go:
        return SAFE, ()
    if status.at_exit or status.tripped:
        return SAFE, ()
    return Command(run=True, speed=params.speed), ()


def done(status: Status) -> bool:
    """Whether the part has arrived."""
    return status.at_exit


def ready(status: Status) -> bool:
    """Whether a part has been put on the belt."""
    return status.at_entry


def longest(params: Params) -> float:
    """Seconds that a part may take from the entry to the exit: half as long again as the way takes, and a second."""
    return 1.5 * (params.length / params.speed + params.speed / params.acceleration) + 1.0


def cannot_take(status: Status, params: Params) -> str:
    """Why no Part can be put on the belt now; empty when one can."""
    if status.at_entry:
        return "its entry is covered"
    if status.running or status.speed > 0.0:
        return "its belt is not at rest"
    return ""
