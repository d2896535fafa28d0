"""A printer is permitted heat and motion while it is wished to print; the Job does the rest on its own board."""

from twin.clock import Ns
from twin.machine import Wish
from twin.machines.gcode_printer.spec import Command, Params, Status
from twin.machines.printer.control import still_in_use
from twin.trace import Event, Sample

SAFE = Command()


def decide(sample: Sample[Status], wish: Wish, params: Params, now: Ns) -> tuple[Command, tuple[Event, ...]]:
    """Permit heat as long as a print is wished; run it while the wish says go and the board answers."""
    status = sample.status
    if status is None or not sample.good or wish.capability != "print":
        return SAFE, ()
    return Command(permit=True, run=wish.go and status.connected and not status.killed), ()


def cannot_give(status: Status, params: Params) -> str:
    """Why the Part can't be taken off the bed yet; empty when it can."""
    if not status.connected:
        return "its board does not answer"
    return still_in_use(status, params)
