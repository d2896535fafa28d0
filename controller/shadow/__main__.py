"""The shadow's process: follows the Feed, steps the twins, brings their residuals back. It may die at any time.

python -m controller.shadow FACTORY --state DIR
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from controller.feed import Bringing, Changes, FeedLost, Follower, Hello, Snapshot, feed_signals, follow, schema_hash
from controller.shadow.beside import Shadow
from controller.shadow.calibrations import Known
from controller.shadow.plans import Plans
from controller.shadow.ready import prepare
from twin.clock import Clock, LoopClock, Ns, S
from twin.factory import Factory, FactoryError, read
from twin.kinematics.kernels import KernelsError

RETRY = Ns(S // 2)
LIFE = Ns(S)
"""How long of the core's own time it is silent at most: in factory time a second may be a hundredth of one."""
LOOK = Ns(5 * S)
"""Of the core's own time, from one look for new calibrations to the next."""


async def run(factory: Factory, state: Path, clock: Clock) -> None:
    """Follow the core of a state folder, across its restarts, until cancelled."""
    signals = feed_signals(factory)
    known = Known(factory, state)
    plans = Plans(state / "jobs")

    def fresh() -> Shadow:
        return Shadow(factory, signals, known.physics, plans.of)

    bringing = Bringing(signals, fresh().blocks, clock)
    while True:
        with contextlib.suppress(FeedLost):
            async with follow(state / "feed.sock", whole=True) as follower:
                await _beside(follower, fresh(), bringing, schema_hash(signals), known)
        await clock.until(Ns(clock.now() + RETRY))


async def _beside(follower: Follower, shadow: Shadow, bringing: Bringing, schema: str, known: Known) -> None:
    """Step beside one run of a core, until it has gone.

    Raises:
        FeedLost: it has gone, has another factory, or somebody else steps beside it.
    """
    async with contextlib.AsyncExitStack() as ended:
        task = asyncio.create_task(bringing.run(follower))
        ended.push_async_callback(_end, task)
        alive = looked = 0
        async for message in follower:
            if task.done():
                break
            match message:
                case Hello() if message.schema != schema:
                    raise FeedLost("the core runs another factory")
                case Snapshot() | Changes():
                    if message.at_ns - looked >= LOOK:
                        looked = message.at_ns
                        for name in known.look():
                            print(known.lines[name], flush=True)
                            shadow.know(name, known.physics[name])
                    shadow.take(message.rows)
                    _bring(shadow, bringing)
                    if message.at_ns - alive >= LIFE:
                        alive = message.at_ns
                        await follower.brought((), ())


def _bring(shadow: Shadow, bringing: Bringing) -> None:
    for row in shadow.rows:
        bringing.put(row.path, row.value, row.quality, row.cause, row.utc_ns)
    for event in shadow.events:
        bringing.event(event)
    shadow.rows.clear()
    shadow.events.clear()


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _until_told(factory: Factory, state: Path) -> None:
    loop = asyncio.get_running_loop()
    main = asyncio.create_task(run(factory, state, LoopClock(loop)))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, main.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await main


def main(words: Iterable[str] | None = None) -> int:
    """The process. Returns 0 when told to end, 2 where it can't run."""
    parser = argparse.ArgumentParser(prog="python -m controller.shadow", description=__doc__.splitlines()[0])
    parser.add_argument("factory", type=Path, help="factory.toml")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where the core's Feed and the calibrations are")
    given = parser.parse_args(None if words is None else list(words))
    try:
        factory = read(given.factory)
        for line in Known(factory, given.state).lines.values():
            print(line, flush=True)
        prepare(factory, lambda line: print(line, flush=True))
        asyncio.run(_until_told(factory, given.state))
    except (FactoryError, KernelsError) as wrong:
        print(wrong, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
