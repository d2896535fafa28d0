"""The core as a process on the real clock: killed in the middle of a Job, told to end, refused a bad factory."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from controller.feed import Answered, FeedLost, feed_signals, follow
from tests.controller.factories import SHOP
from tests.controller.fakenode import FakeNode, NodeServer
from tests.controller.test_core import PROGRAM
from twin import node as n
from twin.clock import LoopClock
from twin.factory import Factory, parse

PATIENCE_S = 60


class Process:
    """A core of its own, and what its Feed has told."""

    def __init__(self, folder: Path, factory: Factory) -> None:
        self.folder = folder
        self.told: dict[str, object] = {}
        self.signals = feed_signals(factory)

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "controller.core", str(self.folder / "factory.toml"), "--state", str(self.folder / "state")
        )

    async def until(self, path: str, *values: object) -> None:
        """Follow the Feed until a Signal has one of these values."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    async with follow(self.folder / "state" / "feed.sock") as follower:
                        async for message in follower:
                            for row in getattr(message, "rows", ()):
                                self.told[self.signals[row.index].path] = row.value
                            if self.told.get(path) in values:
                                return
                except FeedLost:
                    await asyncio.sleep(0.05)

    async def ask(self, kind: str, **args: object) -> Answered:
        async with asyncio.timeout(PATIENCE_S), follow(self.folder / "state" / "feed.sock") as follower:
            return await follower.ask(kind, args, "tester")


def test_a_core_killed_while_a_job_runs_finds_its_order_held_and_repeats_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        text = SHOP.read_text()
        nodes = {name: FakeNode(parse(text, SHOP.parent), name) for name in ("printer-1", "belt-1")}
        for name, known in (("printer-1", 15021), ("belt-1", 15022)):
            text = text.replace(f"port = {known}", f"port = {await NodeServer(nodes[name], clock).start()}")
        (tmp_path / "factory.toml").write_text(text)
        (tmp_path / "state" / "programs").mkdir(parents=True)
        (tmp_path / "state" / "programs" / "part.gcode").write_text(PROGRAM + "G4 S60\n")
        nodes["printer-1"].show("printer-1", filament=True)
        core = Process(tmp_path, parse(text, SHOP.parent))
        await core.start()
        await core.until("node:printer-1/link", "ours")
        assert (await core.ask("place_order", recipe="print-and-convey", program="part.gcode")).ok
        await core.until("printer-1/job/state", "RUNNING")
        core.process.kill()
        await core.process.wait()
        await asyncio.sleep(0.7)
        nodes["printer-1"].tick(clock.now())
        assert nodes["printer-1"].status["fault"] == n.Fault.SILENCE
        core.told.clear()
        await core.start()
        await core.until("factory/order/state", "HELD")
        assert "latched: silence" in str(core.told["factory/order/reason"])
        await core.until("node:printer-1/link", "ours")
        assert (await core.ask("reset", machine="printer-1")).ok
        assert [op for op, _ in nodes["printer-1"].executed] == [n.Op.START, n.Op.RESET]
        core.process.send_signal(signal.SIGTERM)
        assert await core.process.wait() == 0
        assert not (tmp_path / "state" / "feed.sock").exists()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("[factory]\nname = 5\n", "factory.name: must be a text, not 5"), ("nonsense", "not TOML")],
)
def test_a_factory_that_cannot_be_read_is_refused_with_every_mistake(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "factory.toml").write_text(text)

    async def main() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller.core", str(tmp_path / "factory.toml"), "--state", str(tmp_path / "state")),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        return process.returncode, said.decode()

    code, said = asyncio.run(main())
    assert code == 2 and complaint in said and "Traceback" not in said


def test_a_state_directory_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    said = os.popen(f"{sys.executable} -m controller.core {SHOP} --state {tmp_path / 'state'} 2>&1").read()
    assert said.count("\n") == 1 and "state: File exists" in said
