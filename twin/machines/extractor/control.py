"""An extractor runs at its speed as long as nothing keeps it from running; nobody need wish for it."""

from twin.clock import Ns, S
from twin.machine import Wish
from twin.machines.extractor.spec import Command, Params, Status
from twin.trace import Event, Sample

SAFE = Command()
ASKING = Ns(2 * S)


def decide(sample: Sample[Status], wish: Wish, params: Params, now: Ns) -> tuple[Command, tuple[Event, ...]]:
    """Run, but for a drive that has tripped and a bearing that is too hot.

    A node that has been latched obeys only after it has seen the Command at its default. So a fan that stands is asked for
    every other two seconds only, and after an operator's reset it starts again.
    """
    status = sample.status
    if status is None or not sample.good or status.tripped or status.overheated:
        return SAFE, ()
    if not status.running and now // ASKING % 2:
        return SAFE, ()
    return Command(run=True, speed=params.speed), ()
