"""When a server's values are written."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress


async def every_100_ms(write: Callable[[int], Awaitable[None]]) -> None:
    """Write a round at each due time; a round that is late is not made up for."""
    loop, generation = asyncio.get_running_loop(), 0
    due = loop.time()
    while True:
        generation += 1
        await write(generation)
        due = max(due + 0.1, loop.time())
        await asyncio.sleep(due - loop.time())


async def until_input_ends(work: Awaitable[None]) -> None:
    """Work until nobody holds the other end of the standard input any more."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    task = asyncio.ensure_future(work)
    ended = asyncio.ensure_future(reader.read())
    await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    ended.cancel()
    with suppress(asyncio.CancelledError):
        await task
