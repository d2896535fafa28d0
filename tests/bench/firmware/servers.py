"""The servers that are asked: the node's firmware in the VM, pymodbus's, and micropython-modbus's in the same VM."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hil import debian, micropython
from hil.ports import free_port
from tests.firmware.factories import BELT, node_file
from tests.firmware.rig import Node

HERE = Path(__file__).resolve().parent
REGISTERS = 100
PEER = "micropython-modbus"
# Its source distribution, and what pip finds in it; it says nothing of how it is built, so pip unpacks it and goes no further.
PINNED = f"{PEER}==2.3.7 --hash=sha256:b9351a66af0ff29dd585900e53827a989dedcb02ec63b1041358165089652271\n"
SERVER_CORE, CLIENT_CORE = 0, -1


@dataclass(frozen=True)
class Turn:
    """What a client measured: requests per second, and the median of one's time in microseconds."""

    rate: float
    p50: float


def _pin(core: int, pid: int = 0) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {cores[core]})


@contextlib.contextmanager
def node() -> Iterator[int]:
    """The firmware as it is, with a belt, ticking; its port."""
    with tempfile.TemporaryDirectory() as folder:
        made = Node(Path(folder) / "node", node_file(Path(folder), BELT)).start()
        try:
            assert made._process is not None
            _pin(SERVER_CORE, made._process.pid)
            yield made.port
        finally:
            made.stop()


@contextlib.contextmanager
def _server(argv: list[str]) -> Iterator[int]:
    port = free_port()
    with subprocess.Popen([*argv, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            _pin(SERVER_CORE, process.pid)
            assert process.stdout is not None and process.stdout.readline() == "listens\n"
            yield port
        finally:
            process.kill()


def pymodbus() -> contextlib.AbstractContextManager[int]:
    """pymodbus's TCP server with 1,000 registers."""
    return _server([sys.executable, str(HERE / "pymodbus_server.py")])


def peer(source: Path) -> contextlib.AbstractContextManager[int]:
    """micropython-modbus's TCP server with 1,000 registers, in the VM."""
    return _server([*micropython.command(), "-X", "heapsize=2M", str(HERE / "peer_vm.py"), str(source), "serve"])


@cache
def peer_source() -> Path | None:
    """micropython-modbus 2.3.7 from its registry, or nothing where that cannot be reached."""
    folder = Path(tempfile.mkdtemp(prefix="micropython-modbus-"))
    (folder / "pinned.txt").write_text(PINNED, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--no-clean"]
        + ["--require-hashes", "--requirement", str(folder / "pinned.txt"), "--dest", str(folder / "out")],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        check=False,
    )
    found = next(folder.rglob("umodbus/tcp.py"), None)
    return None if found is None else found.parents[1]


@cache
def _client() -> tuple[tuple[str, ...], str]:
    """The start of a client's command line up to HOST, and what it is made of."""
    program = Path(tempfile.mkdtemp(prefix="modbus-client-")) / "client"
    subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / "client.c"), "-ldl"], check=True)
    library = next(iter(debian.unpacked("mbpoll").glob("usr/lib/*/libmodbus.so.5")), None)
    if library is None:
        return (str(program), "-"), "C, bare sockets"
    loader = next(library.parent.glob("ld-linux-*.so.*"))
    start = (str(loader), "--inhibit-cache", "--library-path", str(library.parent), str(program))
    return (*start, library.name), "C, libmodbus"


def client_name() -> str:
    """What the client is made of."""
    return _client()[1]


def ask(port: int, seconds: float) -> Turn:
    """Read 100 registers again and again."""
    argv = [*_client()[0], "127.0.0.1", str(port), str(REGISTERS), str(seconds)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, preexec_fn=lambda: _pin(CLIENT_CORE))
    requests, took, p50, _ = done.stdout.split()
    return Turn(int(requests) / float(took), float(p50))


def heap(program: str, *argv: str) -> dict[str, int]:
    """Bytes that a program in the VM says it has taken, part by part."""
    command = [*micropython.command(), "-X", "heapsize=2M", str(HERE / program), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found
