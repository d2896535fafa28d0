"""The recorder on a real clock: a disk that fills and has room again, and what is left when it, the core or a node is killed."""

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from controller.feed import Desk, Feed, Follower, Row, Told, feed_signals, follow, serve
from controller.history import recorder as module
from controller.history.door import Door
from controller.history.hot import Hot
from controller.history.kept import HistoryError, HistoryFull
from controller.history.recorder import Recorder
from controller.history.retention import MB
from controller.history.taking import AWAY
from tests.controller.factories import SHOP, shop
from tests.controller.fakenode import FakeNode, NodeServer
from twin.clock import MS, LoopClock, S, utc_ns
from twin.factory import parse

SIGNALS = feed_signals(shop())
AT = {signal.path: index for index, signal in enumerate(SIGNALS)}
PARTS = AT["belt-1/status/parts"]
PATIENCE_S = 60


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


class Shop:
    """A Feed on a real clock, whose belt counts a part with every publication."""

    def __init__(self, folder: Path) -> None:
        self.feed, self.folder, self.number = Feed(SIGNALS, run=utc_ns()), folder, 0
        self.clock = LoopClock(asyncio.get_running_loop())

    async def count(self) -> None:
        while True:
            self.number += 1
            now = utc_ns()
            rows = [Row(PARTS, self.number, 0, "", now)]
            self.feed.publish(rows, [Told(now, "Counted", "belt-1", {"n": self.number})], now, self.clock.now())
            await asyncio.sleep(0.01)


def with_shop(folder: Path, test: Callable[[Shop], Awaitable[None]]) -> None:
    async def main() -> None:
        shop_ = Shop(folder)
        async with serve(folder / "feed.sock", shop_.feed, Desk()):
            counting = asyncio.create_task(shop_.count())
            try:
                await test(shop_)
            finally:
                counting.cancel()

    asyncio.run(main())


def kept_parts(folder: Path) -> list[int]:
    door = Door(folder / "history")
    try:
        return [value for _, value, quality, _ in door.raw("belt-1/status/parts", 0, 2**62).rows() if quality == "good"]
    finally:
        door.close()


def test_a_full_disk_stops_history_and_releases_the_reserve_and_with_room_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TENDED", 30 * MS)
    left = [10_000 * MB]

    async def test(shop_: Shop) -> None:
        recorder = Recorder(shop(), SIGNALS, tmp_path, shop_.clock, lambda _: left[0])
        running = asyncio.create_task(recorder.run())
        reserve = tmp_path / "history" / "reserve"
        await until(lambda: recorder.samples > 20 and reserve.exists())
        left[0] = 10 * MB
        await until(lambda: not reserve.exists())
        await asyncio.sleep(0.3)
        stopped, seen = recorder.samples, shop_.number
        await until(lambda: shop_.number > seen + 20)
        assert recorder.samples == stopped, "it keeps nothing while the disk is full"
        left[0] = 10_000 * MB
        await until(lambda: recorder.samples > stopped + 20 and reserve.exists())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await recorder.close()

    with_shop(tmp_path, test)
    door = Door(tmp_path / "history")
    (gap,) = door.gaps()
    parts = kept_parts(tmp_path)
    assert "10 MB left: kept for the orders" in gap.cause and gap.to_ns - gap.from_ns > 200 * MS
    before = [n for n in parts if n <= parts[0] + 19]
    assert before == list(range(parts[0], parts[0] + 20)) and parts == sorted(parts) and len(parts) < parts[-1]
    door.close()


def test_a_commit_that_finds_no_room_is_offered_again_and_nothing_of_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, refused = Hot.commit, [0]

    def commit(hot: Hot, *args: object) -> object:
        if 3 <= refused[0] < 6:
            refused[0] += 1
            raise HistoryFull("no room")
        refused[0] += 1
        return plain(hot, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Hot, "commit", commit)

    async def test(shop_: Shop) -> None:
        recorder = Recorder(shop(), SIGNALS, tmp_path, shop_.clock, lambda _: 10_000 * MB)
        monkeypatch.setattr(recorder, "_make_room", nothing)
        running = asyncio.create_task(recorder.run())
        await until(lambda: refused[0] > 9)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await recorder.close()

    async def nothing(cause: str) -> None:
        assert cause == "no room"

    with_shop(tmp_path, test)
    parts = kept_parts(tmp_path)
    assert len(parts) > 30 and parts == list(range(parts[0], parts[-1] + 1))


async def start(module_: str, folder: Path, *more: str) -> asyncio.subprocess.Process:
    place = (str(folder / "factory.toml"), "--state", str(folder / "state"))
    return await asyncio.create_subprocess_exec(sys.executable, "-m", module_, *place, *more)


class House:
    """Nodes here, core and recorder in processes of their own; the belt counts while `counting` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.told, self.count = folder, dict[str, object](), 0
        self.clock = LoopClock(asyncio.get_running_loop())

    async def open(self) -> None:
        text = SHOP.read_text()
        self.nodes = {name: FakeNode(parse(text, SHOP.parent), name) for name in ("printer-1", "belt-1")}
        self.servers = {name: NodeServer(node, self.clock) for name, node in self.nodes.items()}
        for name, known in (("printer-1", 15021), ("belt-1", 15022)):
            text = text.replace(f"port = {known}", f"port = {await self.servers[name].start()}")
        (self.folder / "factory.toml").write_text(text + "\n[history]\nreserve_mb = 1\n")

    async def run_on(self) -> None:
        while True:
            self.count += 1
            self.nodes["belt-1"].show("belt-1", parts=self.count % 65536)
            await asyncio.sleep(0.05)

    async def listen(self) -> None:
        while True:
            try:
                async with follow(self.folder / "state" / "feed.sock") as follower:
                    await self._hear(follower)
            except ConnectionError:
                await asyncio.sleep(0.02)

    async def _hear(self, follower: Follower) -> None:
        async for message in follower:
            for row in getattr(message, "rows", ()):
                if row.value is not None:
                    self.told[SIGNALS[row.index].path] = row.value

    def acknowledged(self) -> float:
        return float(str(self.told.get("factory/history/until", 0)))


def test_killed_recorder_killed_core_and_a_cut_node_cost_no_sample_that_was_acknowledged(tmp_path: Path) -> None:
    async def main() -> list[float]:
        house, marks = House(tmp_path), list[float]()
        await house.open()
        core, recorder = await start("controller.core", tmp_path), await start("controller.history", tmp_path)
        tasks = [asyncio.create_task(house.run_on()), asyncio.create_task(house.listen())]

        async def acknowledged_more() -> None:
            before, house.told["factory/history/until"] = house.acknowledged(), 0
            await until(lambda: house.acknowledged() > before + 0.3 and int(str(house.told.get("belt-1/status/parts", 0))) > 0)

        await acknowledged_more()
        marks.append(house.acknowledged())
        recorder.kill()
        await recorder.wait()
        await asyncio.sleep(0.3)
        recorder = await start("controller.history", tmp_path)
        await acknowledged_more()
        marks.append(house.acknowledged())
        core.kill()
        await core.wait()
        await asyncio.sleep(0.5)
        core = await start("controller.core", tmp_path)
        house.told.clear()
        await acknowledged_more()
        await house.servers["belt-1"].stop()  # a node is cut off
        await until(lambda: str(house.told.get("node:belt-1/link", "")).startswith("lost"))
        await acknowledged_more()
        for process in (recorder, core):
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        for task in tasks:
            task.cancel()
        await house.servers["printer-1"].stop()
        return marks

    marks = asyncio.run(main())
    door = Door(tmp_path / "state" / "history")
    rows = list(door.raw("belt-1/status/parts", 0, 2**62).rows())
    gaps, events = door.gaps(), door.events(0, 2**62)
    assert [gap.cause for gap in gaps] == [AWAY, "the core has gone"], gaps
    assert [event.kind for event in events].count("CoreStarted") >= 2
    for until_s in marks:  # what was acknowledged before a kill lies before its gap, without a hole
        gap = next(gap for gap in gaps if gap.from_ns / S >= until_s - 1e-3)
        assert all(not (other.from_ns / S < until_s - 1e-5 < other.to_ns / S) for other in gaps), "but for History's microseconds"
        seen = [value for time, value, quality, _ in rows if quality == "good" and until_s - 1 < time / S <= until_s]
        assert seen and all(0 < b - a <= 6 for a, b in pairwise(seen)), (seen, gap)
    assert rows[-1][2] == "stale" and "belt-1" not in rows[-1][3], "the cut node's value is doubted, with its cause"
    door.close()


def test_a_second_recorder_and_one_of_another_factory_say_so_in_one_line(tmp_path: Path) -> None:
    async def test(shop_: Shop) -> None:
        recorder = Recorder(shop(), SIGNALS, tmp_path, shop_.clock)
        with pytest.raises(HistoryError, match="another process writes this History"):
            Recorder(shop(), SIGNALS, tmp_path, shop_.clock)
        await recorder.close()
        text = SHOP.read_text().replace("belt-1", "belt-7")
        (tmp_path / "other.toml").write_text(text)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller.history", str(tmp_path / "other.toml"), "--state", str(tmp_path)),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 3 and b"runs another factory" in said and b"Traceback" not in said

    with_shop(tmp_path, test)


def test_where_the_kernel_refuses_a_write_nothing_is_lost_that_was_acknowledged(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: the write itself fails, in the middle of a commit, which is a full disk to us; with room it goes on."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

    code = (
        "import resource, sys; from pathlib import Path; from controller.history.hot import Hot; "
        "from controller.history.kept import HistoryFull, Kept\n"
        "hot = Hot(Path(sys.argv[1])); number = hot.declare([Kept('a', float)])['a']; n = 0\n"
        "for turn in range(2):\n"
        "    try:\n"
        "        for _ in range(90):\n"
        "            rows = [(number, (n + i + 1) * 1000_000, (n + i) * 1.1, 0, '') for i in range(500)]\n"
        "            hot.commit(hot.samples(rows), (), (n + 500) * 1000_000); n += 500\n"
        "    except HistoryFull:\n"
        "        assert turn == 0 and n > 5000\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "print(n)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(argv, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    acknowledged = int(done.stdout)
    Hot(tmp_path).close()
    door = Door(tmp_path)
    assert len(door.raw("a", 0, 2**62)) == acknowledged > 50_000
    door.close()
