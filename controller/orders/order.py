"""Orders and their Operations: frozen, and changed by a table alone."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from twin.clock import Ns
from twin.recipes import Arguments

START = Ns(0)


class Why(StrEnum):
    """What kind of refusal it is, for those who don't read texts."""

    STATE = "state"
    """It can't be done as things stand now."""
    MISSING = "missing"
    """There is nothing of that name or number."""
    ARGUMENT = "argument"
    """What is given is of the wrong kind."""
    RANGE = "range"
    """What is given is outside its limits."""
    BUSY = "busy"
    """Too much waits already."""
    SHUT = "shut"
    """Nothing can be written down now."""
    UNREACHED = "unreached"
    """The node is not ours to command, or not heard."""
    REFUSED = "refused"
    """The machine does not do it."""
    MISMATCH = "mismatch"
    """The machine has taken it and shows something else."""
    UNSURE = "unsure"
    """Whether it was done is not known."""


class OrderError(ValueError):
    """A request that can't be met: what it named, and what is allowed.

    Attributes:
        why: what kind of refusal it is.
    """

    def __init__(self, text: str, why: Why = Why.STATE) -> None:
        super().__init__(text)
        self.why = why


class OrderState(StrEnum):
    """Where an Order stands; DONE and CANCELLED are final."""

    PLACED = "PLACED"
    RUNNING = "RUNNING"
    HELD = "HELD"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


class OperationState(StrEnum):
    """Where an Operation stands; DONE and CANCELLED are final."""

    WAITING = "WAITING"
    PLANNING = "PLANNING"
    SENDING = "SENDING"
    READY = "READY"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    HELD = "HELD"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


class Happening(StrEnum):
    """What can happen to an Operation."""

    TAKEN = "a machine that needs a Job has taken it"
    ENTERED = "a machine has the part"
    PLANNED = "its Job is made"
    SENT = "its Job is on the node"
    COMMANDED = "its start is to be written"
    STARTED = "the node has carried the start out"
    FINISHED = "the machine says that it is done"
    FAILED = "it can't go on by itself"
    FORGOTTEN = "its Job is void before anything moved: the controller or the node was started anew"
    AGAIN = "an operator starts it once more, nothing has moved yet"
    RESUMED = "an operator lets it go on"
    STOPPED = "an operator has stopped it"


_S, _H = OperationState, Happening
TABLE: dict[OperationState, dict[Happening, OperationState]] = {
    _S.WAITING: {_H.TAKEN: _S.PLANNING, _H.ENTERED: _S.RUNNING, _H.FAILED: _S.HELD, _H.STOPPED: _S.CANCELLED},
    _S.PLANNING: {
        _H.PLANNED: _S.SENDING,
        _H.FAILED: _S.HELD,
        _H.FORGOTTEN: _S.WAITING,
        _H.STOPPED: _S.CANCELLED,
    },
    _S.SENDING: {_H.SENT: _S.READY, _H.FAILED: _S.HELD, _H.FORGOTTEN: _S.WAITING, _H.STOPPED: _S.CANCELLED},
    _S.READY: {_H.COMMANDED: _S.STARTING, _H.FAILED: _S.HELD, _H.FORGOTTEN: _S.WAITING, _H.STOPPED: _S.CANCELLED},
    _S.STARTING: {_H.STARTED: _S.RUNNING, _H.FAILED: _S.HELD, _H.STOPPED: _S.CANCELLED},
    _S.RUNNING: {_H.FINISHED: _S.DONE, _H.FAILED: _S.HELD, _H.STOPPED: _S.CANCELLED},
    _S.HELD: {_H.AGAIN: _S.WAITING, _H.RESUMED: _S.RUNNING, _H.FINISHED: _S.DONE, _H.STOPPED: _S.CANCELLED},
    _S.DONE: {},
    _S.CANCELLED: {},
}
AT_WORK = frozenset({_S.PLANNING, _S.SENDING, _S.READY, _S.STARTING, _S.RUNNING})
"""States in which an Operation has a machine for itself."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of a recipe, in work for one part.

    Attributes:
        on: the machine that its recipe binds it to; empty where any may take it that can.
        arguments: names and values that its recipe gives it, in declared units.
        machine: that carries it out; empty before one has taken it, unless it was asked for by name.
        source, target: between which machines an arm carries the part; the target is known once it places it.
        by_hand: it starts only when an operator says so.
        told: the operator has said so, and that the machine is clear.
        begun: the machine may have worked on a part.
        cleared: the part is known to have left the machine.
        withdrawn: a later Job of its machine has ended, so that the machine is no longer where this one broke off.
        job_id, command_id, boot_id, not_after: of its Job, of its start, of the node's run that the Job was planned and
            the start was meant for, and the node's uptime [ms] after which the start is void.
        chunks, duration, waiting: of its Job: motion chunks, seconds of motion, estimated seconds of heating.
        digest: of the program's text that its Job was planned from; empty where there is none.
        since: when its state began.
        reason: why it is held or waits.
    """

    capability: str
    state: OperationState = OperationState.WAITING
    on: str = ""
    arguments: Arguments = ()
    machine: str = ""
    source: str = ""
    target: str = ""
    by_hand: bool = False
    told: bool = False
    begun: bool = False
    cleared: bool = False
    withdrawn: bool = False
    job_id: int = 0
    command_id: int = 0
    boot_id: int = 0
    not_after: int = 0
    chunks: int = 0
    duration: float = 0.0
    waiting: float = 0.0
    digest: str = ""
    since: Ns = START
    reason: str = ""

    @property
    def reaches(self) -> tuple[str, ...]:
        """The machines that its machine reaches into."""
        return tuple(name for name in (self.source, self.target, dict(self.arguments).get("at", "")) if name)

    @property
    def inside(self) -> bool:
        """Whether its machine may stand in those that it reaches into: at work, or where it broke off."""
        broke_off = self.begun and not self.withdrawn and self.state is not OperationState.DONE
        return bool(self.reaches) and (broke_off or self.state in (OperationState.STARTING, OperationState.RUNNING))

    def after(self, happening: Happening, now: Ns, reason: str = "") -> "Operation":
        """It in the state that the table says.

        Raises:
            OrderError: the table has no such change.
        """
        state = TABLE[self.state].get(happening)
        if state is None:
            raise OrderError(f"{self.capability} is {self.state}: {happening.value!r} can't happen")
        return replace(self, state=state, since=now, reason=reason)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for.

    Attributes:
        recipe: its name; empty for a single Job loaded onto a machine.
        program: the name of the file that its Jobs are planned from.
        go: False while an operator has it paused.
        revision: counts its changes; the book says which one is safe on disk.
        goes_at: the revision that must be safe on disk before its machine is let go: the one in which somebody has decided that.
    """

    id: int
    recipe: str
    program: str
    operations: tuple[Operation, ...]
    user: str = ""
    go: bool = True
    revision: int = 0
    goes_at: int = field(default=0, compare=False)

    @property
    def at(self) -> int:
        """Index of the Operation it is at: the first that isn't done, or the last."""
        for index, operation in enumerate(self.operations):
            if operation.state is not OperationState.DONE:
                return index
        return len(self.operations) - 1

    @property
    def current(self) -> Operation:
        """The Operation it is at."""
        return self.operations[self.at]

    @property
    def state(self) -> OrderState:
        """Read off its Operations, so that the two can't differ."""
        now = self.current
        match now.state:
            case OperationState.DONE:
                return OrderState.DONE
            case OperationState.HELD:
                return OrderState.HELD
            case OperationState.CANCELLED:
                return OrderState.CANCELLED
            case OperationState.WAITING if self.at == 0:
                return OrderState.PLACED
            case _:
                return OrderState.RUNNING

    @property
    def ended(self) -> bool:
        return self.state in (OrderState.DONE, OrderState.CANCELLED)

    @property
    def settled(self) -> bool:
        """Whether it has ended, no part of it is in a machine, and no machine stands where its Job broke off."""
        return self.ended and all((o.cleared or not o.begun) and not o.inside for o in self.operations)

    def put(self, index: int, operation: Operation) -> "Order":
        """It with one Operation replaced."""
        return replace(self, operations=(*self.operations[:index], operation, *self.operations[index + 1 :]))
