"""Keeps the book up to date beside the scan: one write at a time, everything that has come meanwhile in the next."""

import asyncio
from collections.abc import Callable, Iterable

from controller.aside import Aside
from controller.orders.book import RESERVED, Book
from controller.orders.order import Order
from controller.orders.turn import Answer, Orders


class Keeper:
    """Writes changed orders down, and only then lets their answers go.

    Attributes:
        settled: the revision of each order that is safe on disk.
    """

    def __init__(self, book: Book, orders: Orders, aside: Aside, answer: Callable[[Answer], None]) -> None:
        self.settled = {order.id: order.revision for order in orders.open.values()}
        self._book, self._aside, self._answer = book, aside, answer
        self._counters = self._written = orders
        self._changed: dict[int, Order] = {}
        self._answers: list[Answer] = []
        self._filled = asyncio.Event()

    def put(self, before: Orders, after: Orders, answers: Iterable[Answer]) -> None:
        """What one scan has changed, and its answers; an answer waits for all that came before it."""
        self._counters = after
        if after is not before:
            changed = {n: o for n, o in after.open.items() if before.open.get(n) is not o}
            self._changed.update(changed)
        self._answers += answers
        used = (after.next_id - self._written.next_id) & 0xFFFFFFFF
        if self._changed or self._answers or used >= RESERVED // 2:
            self._filled.set()

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            BookError: the book can't be written. Nothing more may be promised.
        """
        while True:
            await self._filled.wait()
            self._filled.clear()
            changed, self._changed = self._changed, {}
            answers, self._answers = self._answers, []
            counters = self._counters
            if changed or (counters.next_id - self._written.next_id) & 0xFFFFFFFF >= RESERVED // 2:
                orders = tuple(changed.values())
                await self._aside(lambda: self._book.save(orders, counters))  # noqa: B023
                self._written = counters
            open_now = self._counters.open
            self.settled = {n: r for n, r in self.settled.items() if n in open_now}
            self.settled.update((order.id, order.revision) for order in changed.values())
            for answer in answers:
                self._answer(answer)
