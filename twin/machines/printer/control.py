"""A printer is permitted heat and motion while it is wished to print; the Job does the rest on the node."""

from typing import Any

from twin.clock import Ns
from twin.machine import Wish
from twin.machines.printer.spec import PARKED, Command, Params, Status
from twin.trace import Event, Sample

SAFE = Command()
COOL = 40.0
"""°C of the bed above which a Part sticks to it."""


def decide(sample: Sample[Status], wish: Wish, params: Params, now: Ns) -> tuple[Command, tuple[Event, ...]]:
    """Permit heat as long as a print is wished; run it while the wish says go and there is filament."""
    status = sample.status
    if status is None or not sample.good or wish.capability != "print":
        return SAFE, ()
    return Command(permit=True, run=wish.go and status.filament), ()


def cannot_give(status: Status, params: Params) -> str:
    """Why the Part can't be taken off the bed yet; empty when it can."""
    return still_in_use(status, params)


def still_in_use(status: Any, params: Any) -> str:
    """The same for every type of printer whose Status and Params have a bed, a place of the head, and where that parks."""
    if status.bed_target >= COOL:
        return f"its bed is to be heated to {status.bed_target:.0f} °C"
    if status.bed_temperature >= COOL:
        return f"its bed is at {status.bed_temperature:.1f} °C, the part comes off below {COOL:.0f} °C"
    x, y = (share * size for share, size in zip(params.park, params.size[:2], strict=True))
    if max(abs(status.x - x), abs(status.y - y)) <= PARKED:
        return ""
    return (
        f"its head is not parked: it is at X={status.x * 1e3:.0f} Y={status.y * 1e3:.0f} mm, "
        f"not within {PARKED * 1e3:.0f} mm of X={x * 1e3:.0f} Y={y * 1e3:.0f} mm"
    )
