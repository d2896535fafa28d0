"""The scan and plain nodes without sockets, disks or threads: everything that can be lost or late is in a test's hands."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from controller.dispatch import taken_over
from controller.image import blank
from controller.modbus.pdu import Read, Request, Write
from controller.modbus.plan import Heard, scan_plan
from controller.orders.book import RESERVED
from controller.orders.order import Order
from controller.orders.turn import Answer, Drop, Fact, Failed, InForce, MakePlan, Orders, Planned, Send, Sent, Work
from controller.orders.turn import Request as Wanted
from controller.scan import News, Outcome, State, scan
from tests.controller.fakenode import FakeNode, fake_job
from twin.clock import MS, Ns
from twin.factory import Factory
from twin.trace import Event
from twin.wire import encode

OWNER = 0x5EED
CHUNKS = 100_000
PERIOD = Ns(100 * MS)


@dataclass
class Wire:
    """One node's connection.

    Attributes:
        deaf: requests don't arrive. mute: replies don't arrive. late: scans by which requests are delayed.
    """

    deaf: bool = False
    mute: bool = False
    late: int = 0

    def __post_init__(self) -> None:
        self.peer: object = object()
        self.on_the_way: list[tuple[int, object, list[Request]]] = []


class World:
    """A controller and its nodes.

    Attributes:
        disk: the orders as a power cut would leave them.
        slow_disk: nothing is written while it is set.
        planned: what was asked to be made into Jobs, and was.
        set: what people have set of machines.
    """

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self.now = Ns(0)
        self.nodes = {name: FakeNode(factory, name) for name in factory.nodes}
        self.wires = {name: Wire() for name in factory.nodes}
        self.plans = {name: scan_plan(factory, name) for name in factory.nodes}
        self.image = blank(factory)
        self.state = State(OWNER)
        self.epoch = 0
        self.disk = Orders()
        self.slow_disk = False
        self.unplannable: set[str] = set()
        self.slow_jobs = False
        self.todo: list[Work] = []
        self.planned: list[MakePlan] = []
        self.requests: list[Wanted] = []
        self.asked = 0
        self.answers: dict[int, Answer] = {}
        self.events: list[Event] = []
        self.scans = 0
        self.set: Mapping[str, InForce] = {}
        self.started: list[tuple[int, Orders]] = []
        for machine in factory.machines.values():
            self.show(machine.name)

    # ---- the world

    def show(self, machine: str, **values: Any) -> None:
        """Show a machine's Status; a printer has filament unless told."""
        node = self.nodes[self.factory.machines[machine].node]
        if "filament" in self.factory.machines[machine].type.layouts[0]:
            values = {"filament": True, **values}
        node.show(machine, **values)

    def ask(self, kind: str, **args: Any) -> int:
        """Put a request to the next scan. Returns its number."""
        self.asked += 1
        self.requests.append(Wanted(self.asked, kind, args, "tester"))
        return self.asked

    def request(self, kind: str, **args: Any) -> Answer:
        """Ask, and run until it is answered."""
        number = self.ask(kind, **args)
        for _ in range(100):
            self.scan()
            if number in self.answers:
                return self.answers[number]
        raise AssertionError(f"{kind} was never answered")

    def order(self, number: int) -> Order:
        return self.state.orders.open[number]

    def run(self, scans: int) -> None:
        for _ in range(scans):
            self.scan()

    def run_until(self, holds: Any, scans: int = 400) -> None:
        for _ in range(scans):
            if holds():
                return
            self.scan()
        raise AssertionError("it never came to that")

    def restart(self) -> None:
        """Kill the controller and start another on its disk."""
        orders = replace(self.disk, next_id=(self.disk.next_id + RESERVED) & 0xFFFFFFFF or 1)
        self.state, self.image = State(OWNER, taken_over(orders, self.now)), blank(self.factory)
        self.todo, self.requests = [], []
        for wire in self.wires.values():
            wire.peer = object()

    def scan(self) -> Outcome:
        """One period: time passes, the scan judges, bursts go out, replies come back, work gets done."""
        self.now = Ns(self.now + PERIOD)
        self.scans += 1
        for node in self.nodes.values():
            node.tick(self.now)
        self.image = self.image.aged(self.now)
        before = self.state
        news = News(tuple(self.requests), self._facts(), self._epochs(), self._settled(), set=self.set)
        self.requests = []
        self.state, outcome = scan(self.image, before, news, self.now)
        self.todo += outcome.work
        self.answers.update((answer.request, answer) for answer in outcome.answers)
        self.events += outcome.events
        for name in self.nodes:
            self._exchange(name, outcome)
        if not self.slow_disk:
            self.disk = self.state.orders
        return outcome

    def _epochs(self) -> Mapping[str, int]:
        self.epoch = max(self.epoch, *(node.highest for node in self.nodes.values())) + 1
        return {name: self.epoch + i for i, name in enumerate(self.nodes)}

    def _settled(self) -> Mapping[int, int]:
        return {order.id: order.revision for order in self.disk.open.values()}

    def _facts(self) -> list[Fact]:
        facts: list[Fact] = []
        if self.slow_jobs:
            return facts
        for work in self.todo:
            match work:
                case MakePlan() if work.program in self.unplannable:
                    facts.append(Failed(work.job_id, f"line 1: {work.program} is nonsense"))
                case MakePlan():
                    self.planned.append(work)
                    facts.append(Planned(work.job_id, CHUNKS, 4.0, 1.0, ()))
                case Send():
                    self.nodes[self.factory.machines[work.machine].node].jobs[work.job_id] = fake_job(CHUNKS)
                    facts.append(Sent(work.job_id))
                case Drop():
                    pass
        self.todo = []
        return facts

    # ---- the wire

    def _exchange(self, name: str, outcome: Outcome) -> None:
        wire, grant = self.wires[name], outcome.grants.get(name)
        mine = {m.name: outcome.commands[m.name] for m in self.factory.on(name) if m.name in outcome.commands}
        commands = mine if len(mine) == len(self.factory.on(name)) else None
        asked = self.plans[name].requests(None if grant is None else tuple(encode(grant)), commands)
        written = any(isinstance(request, Write) for request in asked)
        assert not written or not self.image.refused.get(name), "a refused node is never written to"
        due = self.scans + wire.late
        if not wire.deaf:
            wire.on_the_way.append((due, wire.peer, asked))
        arrived = [one for one in wire.on_the_way if one[0] <= self.scans]
        wire.on_the_way = [one for one in wire.on_the_way if one[0] > self.scans]
        for _, peer, requests in arrived:
            heard = self._carry_out(name, peer, requests)
            if not wire.mute:
                self.image = self.image.received(name, heard, self.now, self.now)

    def _carry_out(self, name: str, peer: object, requests: list[Request]) -> Heard:
        node, plan = self.nodes[name], self.plans[name]
        replies = []
        for request in requests:
            if isinstance(request, Write):
                before = len(node.executed)
                node.write(peer, request.address, list(request.words))
                self.started += [(id_, self.disk) for op, id_ in node.executed[before:] if op == 1]
            else:
                assert isinstance(request, Read)
                replies.append(tuple(node.bank[request.address : request.address + request.count]))
        found = plan.heard(replies)
        assert isinstance(found, Heard)
        return found
