"""Take-over: the core is killed with SIGKILL and started again as `lockstep run` does it, until it has all 16 nodes again.

The nodes are plain ones behind real sockets in a process of their own. It counts from the kill to the Feed's first message in
which every node's Status is good, read by a face that keeps trying to connect.
"""

import asyncio
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from controller.children import Child, Children
from controller.feed import FeedLost, feed_signals, follow
from tests.controller.fakenode import FakeNode, NodeServer
from twin.clock import LoopClock
from twin.factory import Factory, read

NODES = 16
KILLS = 4
"""A child that ends five times within a minute is not started again."""
PATIENCE_S = 60


def factory_text(ports: list[int]) -> str:
    """Belts, one on each node."""
    nodes = "".join(f'[nodes.n{i}]\nuid = {i + 1}\nport = {port}\n' for i, port in enumerate(ports))
    belt = 'type = "conveyor"\ncell = "c"\nbase = 256\npins = { at_entry = 34, at_exit = 35, tripped = 32, run = 16, speed = 17 }'
    machines = "".join(f'[machines.m{i}]\nnode = "n{i}"\n{belt}\n' for i in range(len(ports)))
    return f'[factory]\nname = "sixteen"\n[cells.c]\n{nodes}{machines}'


async def serve(folder: Path) -> None:
    """The nodes' own process: it writes the factory file once all of them listen."""
    clock = LoopClock(asyncio.get_running_loop())
    (folder / "plain.toml").write_text(factory_text([20000 + i for i in range(NODES)]))
    plain = read(folder / "plain.toml")
    servers = [NodeServer(FakeNode(plain, name), clock) for name in plain.nodes]
    ports = [await server.start() for server in servers]
    fresh = folder / "factory.new"
    fresh.write_text(factory_text(ports))
    fresh.rename(folder / "factory.toml")
    await asyncio.Event().wait()


@asynccontextmanager
async def nodes(folder: Path) -> AsyncIterator[Factory]:
    """The factory whose nodes are being served."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, str(folder))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (folder / "factory.toml").exists():
                await asyncio.sleep(0.05)
        yield read(folder / "factory.toml")
    finally:
        process.kill()
        await process.wait()


async def all_good(socket: Path, factory: Factory) -> tuple[float, float]:
    """When a Feed first shows a Status of every node that is good, and when all nodes are ours; on the loop's clock."""
    loop, scanned = asyncio.get_running_loop(), 0.0
    signals = feed_signals(factory)
    wanted = {f"node:{name}/{what}" for name in factory.nodes for what in ("status/uptime", "link")}
    good: set[str] = set()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(FeedLost, OSError):
                async with follow(socket) as follower:
                    async for message in follower:
                        for row in getattr(message, "rows", ()):
                            path = signals[row.index].path
                            ours = row.value == "ours" if path.endswith("/link") else True
                            (good.add if row.quality == 0 and ours else good.discard)(path)
                        if not scanned and len([path for path in good if path.endswith("uptime")]) == len(factory.nodes):
                            scanned = loop.time()
                        if wanted <= good:
                            return scanned, loop.time()
            good.clear()
            await asyncio.sleep(0.005)


async def taken_over(folder: Path, kills: int) -> list[tuple[float, float]]:
    """Seconds from each kill to the first good scan of all nodes, and to all of them ours."""
    loop = asyncio.get_running_loop()
    async with nodes(folder) as factory:
        state = folder / "state"
        children = Children(LoopClock(loop), lambda name, line: None)
        core = Child("core", "controller.core", [str(folder / "factory.toml"), "--state", str(state)], restart=True)
        keeping = asyncio.create_task(children.keep(core))
        took = []
        try:
            await all_good(state / "feed.sock", factory)
            for _ in range(kills):
                await asyncio.sleep(1.5)
                number = children.pid("core")
                assert number is not None
                os.kill(number, signal.SIGKILL)
                began = loop.time()
                (state / "feed.sock").unlink(missing_ok=True)
                scanned, ours = await all_good(state / "feed.sock", factory)
                took.append((scanned - began, ours - began))
        finally:
            await children.end(("core",))
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    return took


def measure() -> dict[str, object]:
    """The row of the issue's table: median and worst, seconds."""
    with tempfile.TemporaryDirectory() as folder:
        took = asyncio.run(taken_over(Path(folder), KILLS))
    scanned, ours = zip(*took, strict=True)
    figures = {"s": statistics.median(scanned), "worst s": max(scanned), "all ours s": statistics.median(ours)}
    return {"take-over": {**{name: round(value, 2) for name, value in figures.items()}, "kills": len(took)}}


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
