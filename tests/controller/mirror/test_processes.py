"""A factory with a press on OPC UA as it runs: core, mirror and server as processes, one after the other killed."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.feed import Answered, FeedLost, Row, feed_signals, follow
from controller.mirror.__main__ import identity_of, main
from tests.controller.factories import shop
from tests.controller.mirror.rig import PATIENCE_S, ROOT, Press, mirroring, written
from tests.controller.opcua.rig import Core, Face, connected, eventually, launch, node, trust
from twin.factory import Factory, parse, read

SPEED = "press-1/status/speed"
NEIGHBOUR = """
[factory]
name = "neighbour"
[cells.c]
[nodes.press]
kind = "opcua"
url = "{url}"
certificate = "{certificate}"
[machines.press-1]
type = "opcua"
cell = "c"
node = "press"
map = "neighbour.toml"
"""
MAP = """
name = "lockstep-press"
[[signals]]
name = "speed"
node = "nsu=urn:lockstep:factory:press-shop;s=press-1/status/speed"
unit = "mm/s"
scan = "fast"
"""


class House:
    """The processes of a factory, and its Feed."""

    def __init__(self, file: Path) -> None:
        self.file, self.state = file, file.parent / "state"
        self.signals = feed_signals(read(file))
        self.rows: dict[str, Row] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, module: str) -> None:
        """Start one."""
        command = [sys.executable, "-m", f"controller.{module}", str(self.file), "--state", str(self.state)]
        self.running[module] = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL)

    def kill(self, module: str) -> None:
        """End one from one moment to the next."""
        self.running[module].kill()
        self.running.pop(module).wait(PATIENCE_S)

    async def until(self, holds: Any) -> Row:
        """Follow the Feed until the speed's row is as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(FeedLost):
                    async with follow(self.state / "feed.sock") as follower:
                        async for message in follower:
                            for row in getattr(message, "rows", ()):
                                self.rows[self.signals[row.index].path] = row
                            if SPEED in self.rows and holds(self.rows[SPEED]):
                                return self.rows[SPEED]
                await asyncio.sleep(0.05)

    async def ask(self, kind: str, **args: object) -> Answered:
        """Ask the core."""
        async with asyncio.timeout(PATIENCE_S), follow(self.state / "feed.sock") as follower:
            return await follower.ask(kind, args, "tester")


@pytest.fixture
def house(press: Press, tmp_path: Path) -> Iterator[House]:
    """A core and a mirror."""
    made = House(written(press, tmp_path))
    made.start("core")
    made.start("mirror")
    yield made
    for module in list(made.running):
        made.kill(module)


def neighbour(face: Face, folder: Path) -> Factory:
    """Another factory, which has the first one's press as a machine."""
    (folder / "neighbour.toml").write_text(MAP)
    return parse(NEIGHBOUR.format(url=face.url, certificate=face.state / "pki/server.der"), folder)


def good(value: float) -> Any:
    return lambda row: row.quality == 0 and row.value == pytest.approx(value)


def test_a_press_is_in_the_feed_in_our_server_and_in_a_neighbours_factory_and_comes_back_after_every_death(
    house: House, press: Press
) -> None:
    async def in_the_space(face: Face, value: float) -> None:
        async with connected(face) as client:
            there = client.get_node(node(SPEED))
            await eventually(lambda: there.read_data_value(False), lambda v: v.Value.Value == pytest.approx(value))

    async def main() -> None:
        await house.until(good(0.1255))
        face = launch(house.file, house.state, "--port", "0")
        try:
            answer = await house.ask("write", machine="press-1", signal="speed", value=200.0)
            assert (answer.ok, answer.text) == (True, "confirmed") and press.tell("get Press.Speed") == pytest.approx(200)
            await house.until(good(0.2))
            refused = await house.ask("write", machine="press-1", signal="speed", value=450.0)
            assert not refused.ok and "EURange" in refused.text and press.tell("get Press.Speed") == pytest.approx(200)
            called = await house.ask("call", machine="press-1", method="stroke", arguments={"count": 2, "depth": 0.25})
            assert (called.ok, called.result) == (True, [0.5, "pressed"])
            house.kill("mirror")
            gone = await house.until(lambda row: row.quality == 1)
            assert gone.cause == "the process that brings it has gone" and gone.value == pytest.approx(0.2)
            unasked = await house.ask("write", machine="press-1", signal="speed", value=100.0)
            assert not unasked.ok and press.tell("get Press.Speed") == pytest.approx(200)
            house.start("mirror")
            await house.until(good(0.2))
            house.kill("core")
            house.rows.clear()
            house.start("core")
            await house.until(good(0.2))
            face.read_until("try:")
            await in_the_space(face, 200)
            theirs = neighbour(face, house.file.parent)
            trust(face, identity_of(theirs.name, house.state).certificate)
            async with mirroring(theirs, house.state) as found:
                assert (await found.value(SPEED, pytest.approx(0.2))).quality == 0
                press.tell("set Press.Speed 125.5")
                await found.value(SPEED, pytest.approx(0.1255))
        finally:
            face.end()

    asyncio.run(main())


def test_what_ends_the_mirror_is_told_in_one_line(tmp_path: Path, press: Press, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(press, tmp_path, lambda text: text.replace('certificate = "press.der"\n', ""))
    assert main([str(file), "--state", str(tmp_path / "state")]) == 2
    missing = "missing: with policy Basic256Sha256 the server must be known by its certificate"
    assert capsys.readouterr().err == f"{file}: nodes.press.certificate: {missing}\n"

    core = Core(shop(), tmp_path)
    core.start()
    try:
        assert main([str(written(press, tmp_path)), "--state", str(tmp_path)]) == 3
    finally:
        core.stop()
    assert f"the core at {tmp_path / 'feed.sock'} runs another factory" in capsys.readouterr().err
