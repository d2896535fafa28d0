"""One scan's turn at the orders: what it sees, and what comes of it. A Turn is private to `dispatch`, which is pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controller.image import Image
from controller.nodes.grant import Errand, Stand, Standing, latch
from controller.orders.order import AT_WORK, Happening, Operation, OperationState, Order
from twin.clock import Ns
from twin.factory import Factory, Machine
from twin.node import JobState, NodeStatus
from twin.recipes import Arguments
from twin.trace import Event

MOST_OPEN = 1000
KEPT = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What a human or a client wants; judged by one scan, answered by its id."""

    id: int
    kind: str
    args: Mapping[str, Any]
    user: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a Request; `why`: what kind of refusal it is, a `Why`, or empty."""

    request: int
    ok: bool
    text: str
    result: Any = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fact: a Job was made."""

    job_id: int
    chunks: int
    duration: float
    waiting: float
    warnings: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A fact: a Job is on its node, or as far ahead in its ring as it must be."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A fact: a Job could not be made or sent."""

    job_id: int
    text: str


Fact = Planned | Sent | Failed


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Work: make a Job for a machine.

    Attributes:
        program: the order's, whose text a Job or a Part comes from.
        arguments: of the operation, in declared units.
        start: where the machine's axes stand; empty where that is not known, or not needed.
        source, target: between which machines a Part is carried.
        digest: of the program's text that the source's Job was planned from; empty where that is not known.
    """

    job_id: int
    machine: str
    capability: str
    program: str
    arguments: Arguments = ()
    start: tuple[float, ...] = ()
    source: str = ""
    target: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """Work: carry the Job that was made to its machine's node."""

    job_id: int
    machine: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Work: a Job is no longer wanted, whatever is being done with it."""

    job_id: int


Work = MakePlan | Send | Drop


@dataclass(frozen=True, slots=True)
class OrderPlaced(Event):
    """An order was taken on."""

    recipe: str
    program: str
    user: str


@dataclass(frozen=True, slots=True)
class OperationMoved(Event):
    """An operation of an order has changed its state."""

    operation: str
    machine: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class OrderChanged(Event):
    """An order as a whole has changed its state."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlanWarned(Event):
    """A plan differs from what its program asks for."""

    text: str


@dataclass(frozen=True)
class Orders:
    """All orders that still matter, and the ids that come next.

    Attributes:
        next_id: for Jobs and commands, u32; unique over all runs and books.
    """

    open: Mapping[int, Order] = field(default_factory=dict)
    next_order: int = 1
    next_id: int = 1

    @property
    def newest(self) -> Order | None:
        return self.open[max(self.open)] if self.open else None


@dataclass(frozen=True, slots=True)
class InForce:
    """The Params of a machine with what people have set, and since when that is so."""

    params: Any
    since: Ns


@dataclass(frozen=True)
class View:
    """What a turn sees.

    Attributes:
        stands: whose each node is.
        settled: the revision of each order that is safe on disk.
        shut: why nothing can be written down now, so that nothing new may begin; empty when it can.
        strange: nodes that somebody else has commanded since the book was written, and what says so.
        old: orders below this number may have gone on without this book knowing: it may be an old copy.
        set: what people have set, by machine.
    """

    factory: Factory
    image: Image
    stands: Mapping[str, Stand]
    settled: Mapping[int, int]
    now: Ns
    shut: str = ""
    strange: Mapping[str, str] = field(default_factory=dict)
    old: int = 0
    set: Mapping[str, InForce] = field(default_factory=dict)

    def in_force(self, machine: Machine) -> InForce:
        """A machine's Params as they are now."""
        return self.set.get(machine.name) or InForce(machine.params, Ns(0))

    def status(self, machine: Machine) -> NodeStatus | None:
        """Its node's Status if that is to be believed."""
        sample = self.image.node(machine.node)
        return sample.status if sample.good and not self.image.refused.get(machine.node) else None

    def commandable(self, machine: Machine) -> bool:
        """Whether its node is ours, or about to be."""
        return self.stands[machine.node].standing in (Standing.OURS, Standing.CLAIMING, Standing.FREE)

    def unable(self, machine: Machine) -> str:
        """Why a machine can take no work now; empty when it can."""
        stand = self.stands[machine.node]
        if stand.standing is not Standing.OURS:
            return f"node {machine.node} is {stand}"
        if why := latch(self.image.node(machine.node).status):
            return f"node {machine.node} is {why}"
        sample = self.image.machine(machine.name)
        return "" if sample.good else sample.every.cause


@dataclass
class Turn:
    """What one call of `dispatch` works on; nothing of it outlives the call."""

    view: View
    orders: dict[int, Order]
    next_order: int
    next_id: int
    answers: list[Answer] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    errands: dict[str, list[Errand]] = field(default_factory=dict)
    starts: dict[str, Errand] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    _by_machine: dict[str, list[int]] | None = None

    def new_id(self) -> int:
        """An id for a Job or a command."""
        made = self.next_id
        self.next_id = (made + 1) & 0xFFFFFFFF or 1
        return made

    def on(self, machine: str, states: frozenset[OperationState] = AT_WORK) -> tuple[Order, Operation] | None:
        """The oldest order whose present Operation is on a machine in one of the states."""
        for number in self._places().get(machine, ()):
            order = self.orders[number]
            if (now := order.current).machine == machine and now.state in states:
                return order, now
        return None

    def uncleared(self, machine: str, but: int) -> Iterator[tuple[Order, int]]:
        """Operations of other orders that have ended or are held, and whose part may still be in a machine."""
        for number in self._places().get(machine, ()):
            order = self.orders[number]
            for index, operation in enumerate(order.operations):
                left = operation.machine == machine and operation.begun and not operation.cleared
                if left and order.id != but and operation.state not in AT_WORK:
                    yield order, index

    def operations_at(self, machine: str) -> Iterator[tuple[Order, Operation]]:
        """All operations of the orders that have to do with a machine."""
        for number in self._places().get(machine, ()):
            for operation in self.orders[number].operations:
                yield self.orders[number], operation

    def _places(self) -> dict[str, list[int]]:
        """Numbers of the orders that have to do with each machine; few, however many wait for one."""
        if self._by_machine is None:
            found: dict[str, list[int]] = {}
            for order in self.orders.values():
                named = {name for o in order.operations for name in (o.machine, *o.reaches) if name}
                for machine in named:
                    found.setdefault(machine, []).append(order.id)
            self._by_machine = found
        return self._by_machine

    def foreign_job(self, machine: Machine) -> str:
        """What a node executes that no operation at work knows of."""
        status = self.view.status(machine)
        if status is None or status.job_state not in (JobState.READY, JobState.RUNNING, JobState.HOLDING):
            return ""
        known = self.on(machine.name)
        if known is not None and known[1].job_id == status.job_id:
            return ""
        return f"node {machine.node} still has Job {status.job_id:#010x}: stop it first"

    def happen(self, order_id: int, happening: Happening, reason: str = "", **changes: Any) -> Order:
        """Let something happen to an order's present Operation."""
        order = self.orders[order_id]
        before, at = order.state, order.at
        operation = replace(order.current.after(happening, self.view.now, reason), **changes)
        order = self.orders[order_id] = order.put(at, operation)
        self._by_machine = None
        name = f"order {order_id}"
        shown = "" if operation.state is OperationState.DONE else reason
        self.events.append(OperationMoved(name, operation.capability, operation.machine, operation.state, shown))
        if order.state is not before:
            self.events.append(OrderChanged(name, order.state, shown))
        if operation.job_id and operation.state not in AT_WORK:
            self.work.append(Drop(operation.job_id))
        return order

    def explain(self, order: Order, reason: str) -> None:
        """Say why an order's present Operation waits."""
        if order.current.reason != reason:
            self.orders[order.id] = order.put(order.at, replace(order.current, reason=reason))

    def take_on(self, order: Order) -> None:
        """Add an order."""
        self.orders[order.id] = order
        self._by_machine = None

    def lets_go(self, order_id: int) -> None:
        """An order's machine is to move from now on: once that is safe on disk."""
        order = self.orders[order_id]
        self.orders[order_id] = replace(order, goes_at=order.revision + 1)

    def clear(self, order_id: int, index: int) -> None:
        """The part of an order's Operation has left the machine."""
        order = self.orders[order_id]
        self.orders[order_id] = order.put(index, replace(order.operations[index], cleared=True))

    def withdraw(self, machine: str) -> None:
        """A Job of a machine has ended as planned: it is no longer inside where an earlier one broke off."""
        for number in self._places().get(machine, ()):
            for index, operation in enumerate((order := self.orders[number]).operations):
                if operation.machine == machine and operation.inside:
                    order = self.orders[number] = order.put(index, replace(operation, withdrawn=True))

    def result(self, before: Orders) -> Orders:
        """The orders after the turn: changed ones with a new revision, those that no longer matter left out."""
        kept: dict[int, Order] = {}
        for order in self.orders.values():
            old = before.open.get(order.id)
            if old is None or old != order or old.goes_at != order.goes_at:
                order = replace(order, revision=order.revision + 1)
            if not order.settled or order.id > self.next_order - 1 - KEPT or order != before.open.get(order.id):
                kept[order.id] = order
        same = kept == before.open and (self.next_order, self.next_id) == (before.next_order, before.next_id)
        return before if same else Orders(kept, self.next_order, self.next_id)
