"""Where work goes that the scan must not wait for: plans and disk writes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Aside(Protocol):
    """Does a piece of work and gives back what it returns or raises."""

    async def __call__(self, work: Callable[[], T]) -> T: ...


async def inline(work: Callable[[], T]) -> T:
    """At once, on the event loop: in factory time work takes no time, so that runs repeat exactly."""
    return work()


class Thread:
    """In one thread of its own, one piece after the other."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def __call__(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Let what runs end, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)
