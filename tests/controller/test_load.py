"""Load on a real clock: 16 nodes of 32 Signals at 10 Hz and five readers, one of which has stopped and one is slow.

LOCKSTEP_LOAD_S says for how long (1800 s where nothing is said; the bench takes 20 s).
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from controller.feed import Changes, FeedLost, Gap, Snapshot, feed_signals, follow
from controller.feed.messages import Whole, frame
from controller.history.door import Door
from tests.controller.load_nodes import NODES, text
from twin.clock import LoopClock, Ns, S
from twin.factory import parse

PATIENCE_S = 60
PAGE = os.sysconf("SC_PAGE_SIZE")


class Load:
    """Nodes, core and recorder in processes of their own, and the other readers here."""

    def __init__(self, folder: Path, duration_s: float) -> None:
        self.folder, self.duration_s = folder, duration_s
        self.clock = LoopClock(asyncio.get_running_loop())
        self.told: dict[str, Any] = {}
        self.resident: list[tuple[float, int]] = []
        self.publications: list[int] = []
        self.gaps = 0

    async def run(self) -> dict[str, Any]:
        """What was measured."""
        nodes = subprocess.Popen(
            [sys.executable, "-m", "tests.controller.load_nodes", str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert nodes.stdin is not None and nodes.stdout is not None
        assert nodes.stdout.readline() == "ready\n"
        place = (str(self.folder / "factory.toml"), "--state", str(self.folder / "state"))
        started = (subprocess.Popen([sys.executable, "-m", f"controller.{name}", *place]) for name in ("core", "history"))
        core, recorder = started
        tasks = []
        try:
            await self._reached()
            readers = (self._everything(), self._latest(), self._slow(), self._stopped())
            tasks = [asyncio.create_task(reader) for reader in readers]
            await self._watch(core.pid)
            assert core.poll() is None and recorder.poll() is None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for process in (recorder, core):
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE_S)
            nodes.stdin.close()
            nodes.wait(PATIENCE_S)
        return self._figures()

    async def _reached(self) -> None:
        """Until the core commands all nodes."""
        signals = feed_signals(parse((self.folder / "factory.toml").read_text(), self.folder))
        self.paths = [one.path for one in signals]
        ours: set[str] = set()
        async with asyncio.timeout(PATIENCE_S):
            while len(ours) < NODES:
                try:
                    async with follow(self.folder / "state" / "feed.sock") as follower:
                        async for message in follower:
                            for row in getattr(message, "rows", ()):
                                if self.paths[row.index].endswith("/link") and row.value == "ours":
                                    ours.add(self.paths[row.index])
                            if len(ours) == NODES:
                                break
                except FeedLost:
                    await self.clock.until(Ns(self.clock.now() + S // 10))

    async def _watch(self, pid: int) -> None:
        due = self.clock.now()
        end = due + round(self.duration_s * S)
        while due < end:
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
            self.resident.append((self.clock.now() / S, resident))
            due = Ns(due + S)
            await self.clock.until(due)

    # ---- readers; the recorder is the fifth

    async def _everything(self) -> None:
        async with follow(self.folder / "state" / "feed.sock", whole=True) as follower:
            async for message in follower:
                if isinstance(message, Changes):
                    self.publications.append(message.number)
                self.gaps += isinstance(message, Gap)

    async def _latest(self) -> None:
        async with follow(self.folder / "state" / "feed.sock") as follower:
            async for message in follower:
                if isinstance(message, Changes | Snapshot):
                    for row in message.rows:
                        if self.paths[row.index].startswith("factory/"):
                            self.told[self.paths[row.index]] = row.value

    async def _slow(self) -> None:
        async with follow(self.folder / "state" / "feed.sock") as follower:
            async for _ in follower:
                await self.clock.until(Ns(self.clock.now() + 2 * S))

    async def _stopped(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self.folder / "state" / "feed.sock"), limit=1024)
        writer.write(frame(Whole()))
        try:
            await asyncio.Event().wait()
        finally:
            del reader
            writer.close()

    def _figures(self) -> dict[str, Any]:
        late = {name: 1000 * float(self.told[f"factory/scan/{name}"]) for name in ("late_p99", "late_most")}
        door = Door(self.folder / "state" / "history")
        missing = sum(b - a != 1 for a, b in zip(self.publications, self.publications[1:], strict=False))
        settled = self.resident[len(self.resident) // 3 :]
        found = {
            "duration_s": self.duration_s,
            "scans": int(self.told["factory/scan/scans"]),
            "scan lateness p99, ms": round(late["late_p99"], 2),
            "scan lateness max, ms": round(late["late_most"], 2),
            "core's memory, MB": round(self.resident[-1][1] / 1e6, 1),
            "memory slope, MB/h": round(slope(settled) * 3600 / 1e6, 3),
            "publications read": len(self.publications),
            "publications missing": missing + self.gaps,
            "samples in History": int(self.told["factory/history/samples"]),
            "bytes of History": int(self.told["factory/history/bytes"]),
            "gaps in History": len(door.gaps()),
        }
        door.close()
        return found


def slope(points: list[tuple[float, int]]) -> float:
    """Theil and Sen's slope of at most 200 points: the median of the slopes of all pairs."""
    thinned = points[:: max(1, len(points) // 200)]
    return float(median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(thinned, 2)))


def load(folder: Path, duration_s: float) -> dict[str, Any]:
    """Run it, and print what was measured."""

    async def main() -> dict[str, Any]:
        return await Load(folder, duration_s).run()

    found = asyncio.run(main())
    print(json.dumps(found, indent=1))
    return found


def test_the_load_is_what_it_says() -> None:
    factory = parse(text({}), Path())
    assert len(factory.nodes) == NODES
    signals = [s for s in feed_signals(factory) if s.group in ("status", "command") and s.owner in factory.machines]
    assert len(signals) == NODES * 32


def test_the_slope_of_what_grows_is_found_through_outliers() -> None:
    points = [(float(t), 1000 + 3 * t + (500_000 if t % 10 == 0 else 0)) for t in range(300)]
    assert abs(slope(points) - 3) < 0.2


@pytest.mark.bench
def test_the_load_for_a_short_while(tmp_path: Path) -> None:
    found = load(tmp_path, float(os.environ.get("LOCKSTEP_LOAD_S", "20")))
    assert found["publications missing"] == 0 and found["gaps in History"] == 0


@pytest.mark.soak
def test_under_load_the_scan_is_on_time_memory_stands_and_no_reader_slows_it(tmp_path: Path) -> None:
    found = load(tmp_path, float(os.environ.get("LOCKSTEP_LOAD_S", "1800")))
    assert found["scan lateness p99, ms"] <= 10
    assert found["memory slope, MB/h"] <= 1
    assert found["publications missing"] == 0 and found["gaps in History"] == 0
    assert found["scans"] >= 0.999 * 10 * found["duration_s"]
