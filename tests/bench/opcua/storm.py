"""50 clients come back within a second, each with 1,000 items, while a core scans 16 nodes on the same computer.

The core's lateness is that of its scans on their own grid: how far each is behind the earliest, over a calm time and over the
storm. Clients run at the lowest priority, as others' computers would not take the core's processor from it.
"""

import asyncio
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from controller.feed import Changes, FeedLost, follow
from tests.bench.opcua.served import NAMES, ROOT, NotReady, Server, command, folder, tied
from tests.controller.load_nodes import NODES
from twin.clock import MS
from twin.factory import parse

CLIENTS, ITEMS = 50, 1_000
TURNS = 3
CALM_S, STORM_S = 8.0, 8.0
MOST_S = 60.0
PATIENCE_S = 60
SCAN = 100 * MS


def measure() -> dict[str, Any]:
    """Seconds until all clients are served, by ours three times and by peers once; and the core's lateness in ms."""
    with tempfile.TemporaryDirectory(prefix="lockstep-storm-") as scratch:
        found, served = asyncio.run(_ours(Path(scratch)))
        peers: dict[str, float] = {}
        left_out = {name: told for name in NAMES if isinstance(told := command(name), str)}
        for name in (name for name in NAMES[1:] if name not in left_out):
            told = _peer(name, Path(scratch))
            if told["served"] == CLIENTS:
                peers[name] = round(told["all_s"], 2)
            else:
                left_out[name] = f"{told['served']} of {CLIENTS} clients were served within {MOST_S:g} s; {told['failed']}"
    ours = statistics.median(served)
    return {
        "ours": round(ours, 2), **peers, "ratio": round(ours / peers["asyncua"], 3) if "asyncua" in peers else None,
        "ratios": {name: round(ours / other, 3) for name, other in peers.items()}, "unit": "s", "more_is_better": False,
        "spread": {"ours": [round(min(served), 2), round(max(served), 2)]}, **found, "left_out": left_out,
    }  # fmt: skip


def _peer(name: str, scratch: Path) -> dict[str, Any]:
    try:
        with Server(name, ITEMS, 100, folder(scratch, name), core=None) as server:
            return _clients(server)
    except NotReady as error:
        return {"served": 0, "failed": [str(error)]}


def _clients(server: Server) -> dict[str, Any]:
    """What 50 clients found that come back: it has seen their certificate before."""
    server.ask("reads", nodes=server.nodes[:1], duration_s=0.1)
    return server.ask("storm", clients=CLIENTS, most_s=MOST_S, core=None, nice=19)


class Scans:
    """When a core began its scans, by its Feed."""

    def __init__(self, socket: Path) -> None:
        self.at: list[int] = []
        self._socket = socket

    async def watch(self) -> None:
        """Follow for good."""
        while True:
            with suppress(FeedLost, OSError):
                async with follow(self._socket, whole=True) as follower:
                    async for message in follower:
                        if isinstance(message, Changes):
                            self.at.append(message.at_ns)
            await asyncio.sleep(0.1)

    def late_ms(self, parts: list[tuple[int, int]]) -> dict[str, float]:
        """How late those were that fall into one of the parts, and how many were left out because one before took so long.

        They are due on a grid; it is where they begin behind the longest arc of a period in which none ever does.
        """
        at = np.unique(self.at)
        phases = np.sort(at % SCAN)
        gaps = np.diff(phases, append=phases[0] + SCAN)
        start = phases[(int(np.argmax(gaps)) + 1) % len(phases)]
        late, due = (at - start) % SCAN, (at - start) // SCAN
        chosen = [(at > begin) & (at <= end) for begin, end in parts]
        found = np.concatenate([late[part] for part in chosen]) / MS
        missed = sum(int(due[part][-1] - due[part][0]) + 1 - int(part.sum()) for part in chosen)
        p50, p99, most = (round(float(np.quantile(found, share)), 2) for share in (0.5, 0.99, 1.0))
        return {"p50": p50, "p99": p99, "most": most, "scans": len(found), "missed": missed}


async def _ours(scratch: Path) -> tuple[dict[str, Any], list[float]]:
    async with _core(scratch) as scans:
        watching = asyncio.create_task(scans.watch())
        async with asyncio.timeout(PATIENCE_S):
            while len(scans.at) < 30:
                await asyncio.sleep(0.1)
        told, calm, stormy = await _storms(scratch, scans)
        watching.cancel()
        served = [one["all_s"] for one in told if one["served"] == CLIENTS]
        if not served:
            raise NotReady(f"ours: {told[-1]['served']} of {CLIENTS} clients were served within {MOST_S:g} s: {told[-1]['failed']}")
        late = {"calm": scans.late_ms(calm), "storm": scans.late_ms(stormy)}
        return {"lateness_ms": late, "served": [one["served"] for one in told], "clients": CLIENTS, "items": ITEMS}, served


async def _storms(scratch: Path, scans: Scans) -> tuple[list[dict[str, Any]], list[tuple[int, int]], list[tuple[int, int]]]:
    """What clients found, and between which scans it was calm and stormy."""
    loop, told = asyncio.get_running_loop(), []
    calm: list[tuple[int, int]] = []
    stormy: list[tuple[int, int]] = []
    for turn in range(TURNS):
        server = Server("ours", ITEMS, 100, folder(scratch, f"ours{turn}"), core=None)
        await loop.run_in_executor(None, server.__enter__)
        try:
            begin = scans.at[-1]
            await asyncio.sleep(CALM_S)
            calm.append((begin, scans.at[-1]))
            begin = scans.at[-1]
            _, one = await asyncio.gather(asyncio.sleep(STORM_S), loop.run_in_executor(None, _clients, server))
            stormy.append((begin, scans.at[-1]))
            told.append(one)
        finally:
            server.__exit__()
    return told, calm, stormy


@asynccontextmanager
async def _core(scratch: Path) -> AsyncIterator[Scans]:
    """A core that scans 16 nodes of 32 Signals."""
    nodes = subprocess.Popen(
        tied([sys.executable, "-m", "tests.controller.load_nodes", str(scratch)], None),
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert nodes.stdin is not None and nodes.stdout is not None
    core = None
    try:
        assert nodes.stdout.readline() == "ready\n"
        file = scratch / "factory.toml"
        assert len(parse(file.read_text(), scratch).nodes) == NODES
        place = (str(file), "--state", str(scratch / "state"))
        core = subprocess.Popen(tied([sys.executable, "-m", "controller.core", *place], None), cwd=ROOT)
        yield Scans(scratch / "state" / "feed.sock")
    finally:
        if core is not None:
            core.send_signal(signal.SIGTERM)
            core.wait(PATIENCE_S)
        nodes.stdin.close()
        nodes.wait(PATIENCE_S)


ROWS: dict[str, Callable[[], dict[str, Any]]] = {"storm": measure}
