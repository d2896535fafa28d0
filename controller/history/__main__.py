"""python -m controller.history FACTORY --state DIR: records what a core's Feed tells, for as long as it runs.

Exit status: 0 ended by a signal, 1 it cannot be written here, 2 the factory file is wrong, 3 the core runs another factory.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from controller.feed import feed_signals
from controller.history.kept import HistoryError
from controller.history.recorder import OtherFactory, Recorder
from twin.clock import LoopClock
from twin.factory import Factory, FactoryError, read


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m controller.history", description=__doc__.splitlines()[0])
    parser.add_argument("factory", type=Path, help="the factory file")
    parser.add_argument("--state", type=Path, required=True, help="the folder that the core keeps its state in")
    given = parser.parse_args(arguments)
    try:
        asyncio.run(_run(read(given.factory), given.state))
    except FactoryError as wrong:
        for mistake in wrong.mistakes:
            print(f"{given.factory}: {mistake}", file=sys.stderr)
        return 2
    except (HistoryError, OSError) as cannot:
        print(cannot, file=sys.stderr)
        return 1
    except OtherFactory as other:
        print(other, file=sys.stderr)
        return 3
    return 0


async def _run(factory: Factory, state: Path) -> None:
    """Record until a signal."""
    loop = asyncio.get_running_loop()
    recorder = Recorder(factory, feed_signals(factory), state, LoopClock(loop))
    running = asyncio.ensure_future(recorder.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
    except* (HistoryError, OtherFactory) as ended:
        raise ended.exceptions[0] from None
    finally:
        await recorder.close()


if __name__ == "__main__":
    sys.exit(main())
