"""A printer's Jobs: G-code, planned and checked as a whole, then encoded."""

from twin.machines.printer.spec import PARKED, Params, head, limits
from twin.making import Asked, Job, around
from twin.motion.deposit import Deposit, deposit
from twin.motion.job import encode, header
from twin.motion.keepout import Head, keep_out_of
from twin.motion.limits import JobError, Limits
from twin.motion.plan import Plan, plan
from twin.obstacles import Space


def make(asked: Asked) -> Job:
    """The Job of a program under its machine's limits.

    Raises:
        JobError: every refusal, each with its line, value and limit.
    """
    made, bounds = planned(asked), _limits(asked)
    if made.refusals:
        raise JobError("; ".join(str(refusal) for refusal in made.refusals), refusals=made.refusals)
    data = encode(made, bounds)
    warnings = tuple(str(warning) for warning in made.warnings)
    return Job(data, header(data).chunks, made.duration_s, made.waiting_s, warnings)


def planned(asked: Asked) -> Plan:
    """The plan of a program, held against all that stands around the printer and its head."""
    params = asked.machine.params
    return plan(asked.program, _limits(asked), keep_out_of(around(asked)), head(params) if isinstance(params, Params) else Head())


def _limits(asked: Asked) -> Limits:
    kept = asked.machine.type.limits
    assert kept is not None, f"{asked.machine.name} plans no Jobs"
    bounds: Limits = kept(asked.machine.params)
    return bounds


def leaves(text: str, params: Params) -> Deposit:
    """What a program has made, in the printer's frame."""
    return deposit(plan(text, limits(params)))


def waits(params: object) -> tuple[Space, ...]:
    """The head wherever it may be while its Part can be taken: parked, at any height."""
    if not isinstance(params, Params):
        return ()
    low, high = [], []
    for share, size, wide in zip(params.park, params.size, params.head, strict=False):
        low.append(max(0.0, share * size - PARKED) - wide / 2)
        high.append(min(size, share * size + PARKED) + wide / 2)
    return (Space("head", (low[0], low[1], 0.0), (high[0], high[1], params.size[2] + params.head[2])),)
