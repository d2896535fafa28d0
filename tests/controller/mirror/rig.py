"""Presses that speak OPC UA as processes of their own, and a mirror of them in this one."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from controller.brought import mirror_blocks, mirrored
from controller.feed import Bringing, Row, feed_signals
from controller.mirror.__main__ import identity_of, uri_of
from controller.mirror.device import Device, Waits
from twin.clock import MS, LoopClock, Ns, S
from twin.devices import OpcUaServer
from twin.factory import Factory, parse

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PATIENCE_S = 60
QUICK = Waits(Ns(50 * MS), Ns(200 * MS), Ns(200 * MS))

FACTORY = """
[factory]
name = "press-shop"
opcua_port = 0
[cells.c]
[nodes.press]
kind = "opcua"
url = "opc.tcp://127.0.0.1:{port}/press"
certificate = "press.der"
user = "otto"
password_file = "press.password"
[machines.press-1]
type = "opcua"
cell = "c"
node = "press"
map = "press.toml"
"""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Press:
    """A press of its own process."""

    def __init__(self, folder: Path, script: str = "press_asyncua.py", python: str = sys.executable) -> None:
        self.folder, self.port = folder, free_port()
        self._command = [python, str(HERE / script), str(self.port), str(folder)]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Be there, at the same place with the same certificate as before."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """Be gone from one moment to the next."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def tell(self, line: str) -> Any:
        """Have a line carried out; what it answers."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._line()
        return None if answer == "done" else json.loads(answer)


@contextlib.contextmanager
def pressing(folder: Path, script: str = "press_asyncua.py", python: str = sys.executable) -> Iterator[Press]:
    """A press that is there."""
    press = Press(folder, script, python)
    press.start()
    try:
        yield press
    finally:
        press.kill()


def written(press: Press, folder: Path, change: Callable[[str], str] = lambda text: text) -> Path:
    """A factory file with the press in it, and all that it names."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(HERE / "press.toml", folder / "press.toml")
    shutil.copyfile(press.folder / "press.der", folder / "press.der")
    (folder / "press.password").write_text("press-1\n")
    (folder / "press.password").chmod(0o600)
    (folder / "factory.toml").write_text(change(FACTORY.format(port=press.port)))
    return folder / "factory.toml"


class Mirrored:
    """A device as the mirror keeps it, and what it would bring."""

    def __init__(self, factory: Factory, state: Path, name: str = "press") -> None:
        signals = feed_signals(factory)
        clock = LoopClock(asyncio.get_running_loop())
        self.name = name
        self.bringing = Bringing(signals, mirror_blocks(factory), clock)
        self.said: list[str] = []
        server = factory.devices[name].reached
        assert isinstance(server, OpcUaServer)
        machines = [machine for machine in mirrored(factory) if machine.node == name]
        identity, uri = identity_of(factory.name, state), uri_of(factory.name)
        self.device = Device(name, server, machines, self.bringing, identity, uri, clock, self.said.append, QUICK)

    def row(self, path: str) -> Row:
        """What would be brought of a Signal."""
        found = self.bringing.last(path)
        assert found is not None, path
        return found

    @property
    def link(self) -> str:
        """Why the server is not reached; empty when it is."""
        return str(self.row(f"node:{self.name}/link").value)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.02)

    async def value(self, path: str, wanted: object) -> Row:
        """Wait until a Signal has a value."""
        await self.until(lambda: (row := self.bringing.last(path)) is not None and row.value == wanted and row.quality == 0)
        return self.row(path)


@contextlib.asynccontextmanager
async def mirroring(factory: Factory, state: Path, name: str = "press") -> AsyncIterator[Mirrored]:
    """A device that is kept."""
    made = Mirrored(factory, state, name)
    running = asyncio.create_task(made.device.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def factory_of(press: Press, folder: Path, change: Callable[[str], str] = lambda text: text) -> Factory:
    """The factory with the press in it."""
    file = written(press, folder, change)
    return parse(file.read_text(), folder)


SECOND = S
