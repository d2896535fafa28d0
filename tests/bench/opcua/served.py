"""Servers as processes of their own: started, stopped for a while, ended; and clients that measure them."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.opcua.certificate import own

ROOT = Path(__file__).resolve().parents[3]
PEERS = Path(__file__).parent / "peers"
NODE_MODULES = Path(os.environ.get("LOCKSTEP_BENCH_MODULES", PEERS / "node_modules"))
SERVERS_CORE, CLIENT_CORE = 0, 1
PATIENCE_S = 120.0
CLIENT_URI = "urn:lockstep:bench:client"


class NotReady(RuntimeError):
    """A server has ended, or is not ready in time."""


def command(name: str) -> list[str] | str:
    """How a server is started, or why it cannot be had."""
    if name == "ours":
        return [sys.executable, "-m", "tests.bench.opcua.ours"]
    if name == "asyncua":
        return [sys.executable, "-m", "tests.bench.opcua.peers.asyncua_server"]
    if name == "python-opcua":
        python = ROOT / ".venv-opcua/bin/python"
        there = [str(python), "-m", "tests.bench.opcua.peers.python_opcua_server"]
        return there if python.exists() else f"{python} is not there: make setup-test"
    if name == "node-opcua":
        if not (NODE_MODULES / "node-opcua-server").exists():
            return f"{NODE_MODULES}/node-opcua-server is not there: make bench installs it"
        return ["node", str(PEERS / "node_opcua_server.js")] if shutil.which("node") else "node is missing"
    return "not found on this machine: no package of it is in a registry that we use"


NAMES = ("ours", "asyncua", "python-opcua", "node-opcua", "open62541")


def tied(argv: list[str], core: int | None) -> list[str]:
    """The same command on a core, ended with whoever started it."""
    tying = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*tying, *(["taskset", "-c", str(core)] if core is not None and shutil.which("taskset") else []), *argv]


def folder(parent: Path, name: str) -> Path:
    """A folder with the certificates of a server and of its client."""
    made = parent / name
    made.mkdir(mode=0o700, parents=True, exist_ok=True)
    own(made / "pki", "server", "urn:lockstep:server:bench")
    own(made / "pki", "client", CLIENT_URI)
    return made


@dataclass
class Server:
    """A server with `count` Doubles in `folders`, and a cache of its own; `core` None: wherever there is room.

    Attributes:
        url, ready_s: where it is, and how long after its imports it said so.
    """

    name: str
    count: int
    folders: int
    state: Path
    core: int | None = SERVERS_CORE
    patience_s: float = PATIENCE_S
    url: str = ""
    ready_s: float = 0.0
    _process: "subprocess.Popen[str] | None" = None
    _lines: "queue.Queue[str]" = field(default_factory=queue.Queue)

    def __enter__(self) -> "Server":
        argv = command(self.name)
        assert isinstance(argv, list)
        self._process = subprocess.Popen(
            tied([*argv, str(self.count), str(self.folders), str(self.state)], self.core), cwd=ROOT, text=True,
            env={**os.environ, "LOCKSTEP_BENCH_MODULES": str(NODE_MODULES), "XDG_CACHE_HOME": str(self.state / "cache")},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(self.state / "errors.txt").open("w"),
        )  # fmt: skip
        threading.Thread(target=self._take_in, daemon=True).start()
        try:
            _, self.url, seconds = self._ready().split()
        except NotReady:
            self.__exit__()
            raise
        self.ready_s = float(seconds)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None and self._process.stdin is not None
        self.stand(False)
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def nodes(self) -> list[str]:
        """NodeIds of its Doubles."""
        return [f"ns=2;s=v{index}" for index in range(self.count)]

    def stand(self, still: bool) -> None:
        """Let it stand still, or go on."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGSTOP if still else signal.SIGCONT)

    def ask(self, what: str, **more: Any) -> dict[str, Any]:
        """What a client finds out about it."""
        asked = {"url": self.url, "pki": str(self.state / "pki"), "pid": self.pid, "core": CLIENT_CORE, "nodes": self.nodes, **more}
        argv = tied([sys.executable, "-m", "tests.bench.opcua.client", what], None)
        done = subprocess.run(argv, cwd=ROOT, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True, timeout=300)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _take_in(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _ready(self) -> str:
        try:
            while line := self._lines.get(timeout=self.patience_s):
                if line.startswith("ready "):
                    return line
        except queue.Empty:
            raise NotReady(f"{self.name} is not ready after {self.patience_s:g} s") from None
        raise NotReady(f"{self.name} has ended: {(self.state / 'errors.txt').read_text()[-800:]}")
