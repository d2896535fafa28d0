"""Messages that may be asked for again (Part 4 §5.14.6)."""

from collections.abc import Iterator

from controller.opcua.subscriptions.limits import RETRANSMITTED
from controller.opcua.subscriptions.loose import OVERHEAD, Budget


class Kept:
    """A subscription's retransmission queue: sent messages by sequence number, oldest first."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._messages: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[int]:
        return iter(self._messages)

    def get(self, number: int) -> bytes | None:
        """The message with a number, if it is still there."""
        return self._messages.get(number)

    def add(self, number: int, made: bytes) -> int:
        """Keep a message: how many older ones had to go."""
        gone = 0
        while self._messages and (len(self._messages) >= RETRANSMITTED or not self._budget.fits(len(made) + OVERHEAD)):
            self.drop(next(iter(self._messages)))
            gone += 1
        if self._budget.take(len(made) + OVERHEAD):
            self._messages[number] = made
        return gone

    def drop(self, number: int) -> bool:
        """Forget a message: whether there was one with this number."""
        made = self._messages.pop(number, None)
        if made is not None:
            self._budget.give(len(made) + OVERHEAD)
        return made is not None

    def clear(self) -> None:
        """Forget all."""
        for number in tuple(self._messages):
            self.drop(number)
