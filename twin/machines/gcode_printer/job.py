"""Jobs of a printer that plans for itself: the same G-code, planned and checked as for any printer, then written as lines."""

from twin.machines.printer.job import leaves, planned, waits
from twin.making import Asked, Job
from twin.motion import lines
from twin.motion.job import header
from twin.motion.limits import JobError, Limits

__all__ = ["leaves", "make", "waits"]


def make(asked: Asked) -> Job:
    """The Job of a program under its machine's limits.

    Raises:
        JobError: every refusal, each with its line, value and limit.
    """
    plan, kept = planned(asked), asked.machine.type.limits
    assert kept is not None
    bounds: Limits = kept(asked.machine.params)
    refusals = tuple(sorted((*plan.refusals, *lines.unsafe(asked.program)), key=lambda refusal: refusal.line))
    if refusals:
        raise JobError("; ".join(str(refusal) for refusal in refusals), refusals=refusals)
    job = lines.encode(plan, bounds)
    warnings = tuple(str(warning) for warning in plan.warnings)
    return Job(job, header(job, lines.MAGIC).chunks, plan.duration_s, plan.waiting_s, warnings)
