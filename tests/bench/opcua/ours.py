"""Our server with Doubles, and no core behind it: COUNT FOLDERS STATE, as the peers have them; see `peers`.

The plane is fed as the Feed feeds it: rows, values, status and source times, then a commit.
"""

import asyncio
import logging
import sys
import time
from pathlib import Path

import numpy as np

from controller.opcua.__main__ import _loop_run, _no_collector
from controller.opcua.certificate import own
from controller.opcua.server import FactoryServer, bind
from controller.opcua.space import Kind, Object, Space, Variable
from tests.bench.opcua.counted import EPOCH
from tests.bench.opcua.peers.writing import every_100_ms, until_input_ends
from tests.bench.opcua.served import CLIENT_URI
from twin.clock import LoopClock, utc_ns

BEGIN = time.perf_counter()


def space(count: int, folders: int) -> Space:
    """So many Doubles in so many folders."""
    each = [Variable(f"v{n}", f"v{n}", Kind.DOUBLE, None, None, None, 1.0, "") for n in range(count)]
    per = max(1, count // folders)
    tops = tuple(Object(f"f{n}", f"f{n}", "", "", (), tuple(each[n * per : (n + 1) * per])) for n in range(folders if count else 0))
    factory = Object("factory", "Factory", "", "", tops)
    return Space("bench", "urn:lockstep:factory:bench", "urn:lockstep:server:bench", 100, {}, (), (), (), factory, tuple(each), ())


async def main(count: int, folders: int, state: Path) -> str:
    """Serve."""
    clock, shown = LoopClock(asyncio.get_running_loop()), space(count, folders)
    with bind(0) as bound:
        with _no_collector():
            server = FactoryServer(shown, "", state, bound, clock)
        server.trust.trust_own(own(state / "pki", "client", CLIENT_URI).certificate)
        await server.start()
        print(f"ready {server.url} {time.perf_counter() - BEGIN:.3f}", flush=True)
        rows, running = np.array(server.built.rows, np.int64), asyncio.create_task(server.run())

        async def write(generation: int) -> None:
            now = utc_ns() // 100 + EPOCH
            server.plane.put(rows, np.full(count, float(generation)), 0, now)
            server.plane.commit(now)

        await until_input_ends(every_100_ms(write))
        running.cancel()
        await server.stop()
    return ""


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    _loop_run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
