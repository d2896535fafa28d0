"""A printer's Jobs: G-code, planned and checked as a whole, then encoded."""

from twin.machines.printer.spec import Params, limits
from twin.making import Asked, Job, around
from twin.motion.deposit import Deposit, deposit
from twin.motion.job import encode, header
from twin.motion.keepout import keep_out_of
from twin.motion.limits import JobError
from twin.motion.plan import plan


def make(asked: Asked) -> Job:
    """The Job of a program under its machine's limits.

    Raises:
        JobError: every refusal, each with its line, value and limit.
    """
    kept = asked.machine.type.limits
    assert kept is not None, f"{asked.machine.name} plans no Jobs"
    bounds = kept(asked.machine.params)
    made = plan(asked.program, bounds, keep_out_of(around(asked)))
    if made.refusals:
        raise JobError("; ".join(str(refusal) for refusal in made.refusals))
    data = encode(made, bounds)
    warnings = tuple(str(warning) for warning in made.warnings)
    return Job(data, header(data).chunks, made.duration_s, made.waiting_s, warnings)


def leaves(text: str, params: Params) -> Deposit:
    """What a program has made, in the printer's frame."""
    return deposit(plan(text, limits(params)))
