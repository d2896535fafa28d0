"""The scan's world with a real book under it, and a controller that may be killed at any point of a scan."""

from pathlib import Path

from controller.dispatch import taken_over
from controller.image import blank
from controller.orders.book import Book
from controller.orders.intents import Intent
from controller.scan import Outcome, State
from tests.controller.world import OWNER, PERIOD, World
from twin.clock import Ns
from twin.factory import Factory

POINTS = ("before the disk", "after the disk", "after the burst")


class Killed(Exception):
    """The controller has been killed in the middle of a scan."""


class Durable(World):
    """A World whose orders and commands go into a real book, and whose controller may be killed at any point of a scan.

    Attributes:
        kill_at: the point of the next scan at which it is killed.
        acknowledged: the state of each order when somebody was last told of it, and the commands of which an answer went out.
        runs: how many controllers there have been.
    """

    def __init__(self, folder: Path, factory: Factory) -> None:
        self.kill_at, self.runs = "", 1
        self.folder = folder
        self.book = Book(folder / "book.sqlite", 1)
        self.unwritten: dict[int, Intent] = {}
        self.on_disk: set[int] = set()
        self.issued = 0
        self.acknowledged: dict[int, int] = {}
        super().__init__(factory)
        self.state = self._fresh()

    def _fresh(self) -> State:
        orders = self.saved = taken_over(self.book.load(), self.now)
        self.disk = orders
        owed = {intent.id: intent for intent in self.book.owed}
        owner = OWNER + (self.runs << 16)
        return State(owner, orders, owed=owed, known=self.issued, inherited=orders.next_order)

    def restart(self) -> None:
        self.runs += 1
        self.book.close()
        self.book = Book(self.folder / "book.sqlite", 1)
        self.state, self.image = self._fresh(), blank(self.factory)
        self.todo, self.requests, self.unwritten, self.on_disk = [], [], {}, set()
        for wire in self.wires.values():
            wire.peer = object()

    def step(self) -> None:
        """One scan, or what of it there is before the kill."""
        try:
            outcome = self.scan()
        except Killed:
            self.restart()
            return
        self._write(outcome)

    def _write(self, outcome: Outcome) -> None:
        self.unwritten.update((intent.id, intent) for intent in outcome.intents)
        if self.kill_at == POINTS[0]:
            self.kill_at = ""
            self.restart()
            return
        if not self.slow_disk:
            if self.state.orders is not self.saved or self.unwritten:
                self.book.save(self.state.orders.open.values(), self.state.orders, self.unwritten.values())
                self.saved = self.state.orders
            self.on_disk |= set(self.unwritten)
            self.unwritten = {}
            self.disk = self.state.orders
            self.acknowledged.update((order.id, order.revision) for order in self.disk.open.values())
        if self.kill_at == POINTS[1]:
            self.kill_at = ""
            self.restart()

    def _exchange(self, name: str, outcome: Outcome) -> None:
        super()._exchange(name, outcome)
        if self.kill_at == POINTS[2]:
            self.kill_at = ""
            raise Killed

    def _epochs(self) -> dict[str, int]:
        found = dict(super()._epochs())
        self.issued = max(found.values())
        return found

    def _settled(self) -> dict[int, int]:
        return {order.id: order.revision for order in self.disk.open.values()}

    def steps(self, count: int) -> None:
        """So many scans."""
        for _ in range(count):
            self.step()

    def nobody_there(self) -> None:
        """A period without a controller."""
        self.now = Ns(self.now + PERIOD)
        for node in self.nodes.values():
            node.tick(self.now)
