"""A printer is permitted heat and motion while it is wished to print; the Job does the rest on the node."""

from twin.clock import Ns
from twin.machine import Wish
from twin.machines.printer.spec import Command, Params, Status
from twin.trace import Event, Sample

SAFE = Command()
COOL = 40.0
"""°C of the bed above which a Part sticks to it."""
PARKED = 0.03
"""m from the bed's edge within which the head is out of the way."""


def decide(sample: Sample[Status], wish: Wish, params: Params, now: Ns) -> tuple[Command, tuple[Event, ...]]:
    """Permit heat as long as a print is wished; run it while the wish says go and there is filament."""
    status = sample.status
    if status is None or not sample.good or wish.capability != "print":
        return SAFE, ()
    return Command(permit=True, run=wish.go and status.filament), ()


def cannot_give(status: Status, params: Params) -> str:
    """Why the Part can't be taken off the bed yet; empty when it can."""
    if status.bed_target >= COOL:
        return f"its bed is to be heated to {status.bed_target:.0f} °C"
    if status.bed_temperature >= COOL:
        return f"its bed is at {status.bed_temperature:.1f} °C, the part comes off below {COOL:.0f} °C"
    width, depth = params.size[0], params.size[1]
    aside = min(status.x, width - status.x, status.y, depth - status.y)
    if aside > PARKED:
        return f"its head is not parked: {aside * 1000:.0f} mm from the bed's edge, at most {PARKED * 1000:.0f} mm"
    return ""
