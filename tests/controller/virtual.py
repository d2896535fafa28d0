"""An event loop in virtual time over real sockets: when nothing is ready, time jumps to the next timer."""

import asyncio
import os
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from twin.clock import LoopClock

T = TypeVar("T")
PATIENCE_S = 5.0


class _Selector(selectors.BaseSelector):
    def __init__(self) -> None:
        self._real = selectors.PollSelector()  # it sees at once what is in a pseudo-terminal
        self.now_s = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map() or {}

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        for _ in range(3):
            if (ready := self._real.select(0)) or (timeout is not None and timeout <= 0):
                return ready
            os.sched_yield()
        if timeout is None:
            ready = self._real.select(PATIENCE_S)
            assert ready, "nothing will ever happen again"
            return ready
        self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def run(main: Callable[[LoopClock], Coroutine[Any, Any, T]]) -> T:
    """What the coroutine returns, run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        clock = LoopClock(runner.get_loop())
        return runner.run(main(clock))
