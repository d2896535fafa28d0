"""Calls that are made again, after a pause, for as long as what they do is wanted."""

from collections.abc import Callable
from typing import Any

from twin.clock import Clock, Ns, S
from twin.node import Reason

AGAIN = Ns(2 * S)  # between an answer, whatever it was, and the next call of that method

Answer = Callable[[Reason], None]


class Again:
    """Who wants something done asks for it again and again; it is called once at a time.

    Args:
        call: calls a method with its parameters, and tells the Reason, NONE where it was done, now or later.
    """

    def __init__(self, clock: Clock, call: Callable[[str, dict[str, Any] | None, Answer], None]) -> None:
        self._clock, self._call = clock, call
        self._due: dict[str, Ns | None] = {}  # None while it is under way

    def ask(self, method: str, params: dict[str, Any] | None = None, answer: Answer = lambda reason: None) -> None:
        """Call it, unless it is under way or was so a moment ago."""
        if not self.settled(method):
            return
        self._due[method] = None

        def answered(reason: Reason) -> None:
            self._due[method] = Ns(self._clock.now() + AGAIN)
            answer(reason)

        self._call(method, params, answered)

    def settled(self, method: str) -> bool:
        """It is not under way, and what it did must have shown by now."""
        due = self._due.get(method, Ns(0))
        return due is not None and self._clock.now() >= due

    def changed(self) -> None:
        """What it was about has changed: nothing has to wait any more."""
        self._due = {method: None for method, due in self._due.items() if due is None}
