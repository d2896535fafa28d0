"""A printer is permitted heat and motion while it is wished to print; the Job does the rest on the node."""

from twin.clock import Ns
from twin.machine import Wish
from twin.machines.printer.spec import Command, Params, Status
from twin.trace import Event, Sample

SAFE = Command()


def decide(sample: Sample[Status], wish: Wish, params: Params, now: Ns) -> tuple[Command, tuple[Event, ...]]:
    """Permit heat as long as a print is wished; run it while the wish says go and there is filament."""
    status = sample.status
    if status is None or not sample.good or wish.capability != "print":
        return SAFE, ()
    return Command(permit=True, run=wish.go and status.filament), ()
