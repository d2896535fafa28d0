"""A factory whose nodes are flashed, and boards that start from what was flashed."""

import argparse
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.nodes import flash, sign, stock
from hil import micropython
from hil.ports import free_port
from tests.firmware.rig import STANDINS, Client, eventually
from twin.factory import Factory, read

START = Path(__file__).with_name("from_flash.py")
FACTORY = """
[factory]
name = "shop"
[cells.c]
[nodes.belt-1]
uid = 4711
port = {port}
[nodes.idle]
uid = 4712
port = 1
virtual = true
[nodes.own]
uid = 4713
port = 2
firmware = "own"
[nodes.foreign]
uid = 4715
kind = "moonraker"
url = "http://127.0.0.1:7125"
[nodes.other]
uid = 4714
port = 3
chip = "esp32c3"
[machines.belt-1]
type = "conveyor"
cell = "c"
node = "belt-1"
base = 256
pins = {{ at_entry = 34, at_exit = 35, tripped = 32, run = 16, speed = 17 }}
"""
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def micropython_image() -> stock.Stock:
    return stock.read(None)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "release.key"
    sign.make_key(path)
    return path


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def factory(tmp_path: Path, port: int) -> Factory:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "main.py").write_text("")
    (tmp_path / "factory.toml").write_text(FACTORY.format(port=port))
    return read(tmp_path / "factory.toml")


@pytest.fixture
def say(tmp_path: Path, factory: Factory, capfd: pytest.CaptureFixture[str]) -> Say:
    """Runs the command with words; exit code and what it said, on standard output and on standard error."""

    def run(*words: str, node: str = "belt-1") -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        flash.add_to(parser.add_subparsers())
        options = parser.parse_args(["flash", "--factory", str(tmp_path / "factory.toml"), "--node", node, *words])
        capfd.readouterr()
        code = options.do(options)
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def in_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code is made for the VM instead of the chip."""
    monkeypatch.setattr(stock, "BY_ID", {n: replace(chip, architecture="x64") for n, chip in stock.BY_ID.items()})


class Booted:
    """A board whose only file system is the one in its flash, started as MicroPython starts one."""

    def __init__(self, folder: Path, data: bytes, at: int, size: int) -> None:
        self.flash = folder / "flash.bin"
        self.flash.write_bytes(data)
        (folder / "pins.bin").write_bytes(bytes(256))
        argv = [*micropython.command(), "-X", "heapsize=160K", str(START), str(self.flash), str(at), str(size), str(STANDINS)]
        env = {"PATH": os.environ["PATH"], "MICROPYPATH": ".frozen"}
        self._process = subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def client(self, port: int) -> Client:
        """A connection, once it listens."""
        found: list[Client] = []

        def listens() -> bool:
            assert self._process.poll() is None, self._process.stdout and self._process.stdout.read()
            try:
                found.append(Client(port))
            except ConnectionRefusedError:
                return False
            return True

        eventually(listens, "the node does not listen")
        return found[0]

    def says(self, line: str) -> bool:
        """Whether it says so on its console, before it ends."""
        assert self._process.stdout is not None
        return any(said == f"{line}\n" for said in self._process.stdout)

    def stop(self) -> str:
        """Stop it; what it has said meanwhile."""
        self._process.kill()
        said, _ = self._process.communicate() if self._process.returncode is None else ("", "")
        return said


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Callable[..., Booted]]:
    """Starts boards, and stops them."""
    made: list[Booted] = []

    def start(*what: object) -> Booted:
        made.append(Booted(tmp_path, *what))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for one in made:
        one.stop()
