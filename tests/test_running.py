"""`lockstep run` as its user starts it: real processes, killed and read from outside while a print is under way."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client
from pymodbus.client import ModbusTcpClient

from controller.feed import Changes, Snapshot, ask_once, feed_signals, follow
from hil.ports import free_port
from tests.hil.jobs import PRINTER, ROOT, first_layer
from twin.factory import Factory, read
from twin.node import MAGIC, JobState, NodeStatus
from twin.wire import decode, layout

PATIENCE_S = 90.0
SPEED = 8
SCRIPTS = ROOT / "tests" / "controller" / "opcua"


class Running:
    """A `lockstep run`, and what its Feed says."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.file = folder / "factory.toml"
        text = PRINTER.format(port=free_port()).replace('"one-printer"', f'"one-printer"\nopcua_port = {free_port()}')
        self.file.write_text(text)
        self.factory: Factory = read(self.file)
        (folder / "layer.gcode").write_text(first_layer(40.0))
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "controller", "run", str(self.file), "--state", str(self.state), "--speed", str(SPEED)]
            + ["--order", str(folder / "layer.gcode")],
            cwd=ROOT,
            stdout=self.log,
            stderr=self.log,
        )
        self.paths = [signal.path for signal in feed_signals(self.factory)]

    def child(self, module: str) -> int:
        """The process number of one of its processes."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                if module.encode() in words and str(self.state).encode() in words:
                    return int(entry.name)
        raise AssertionError(f"{module} does not run:\n{self.told()}")

    def told(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text()

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Follow the Feed until its values meet a condition; the values."""
        return asyncio.run(self._until(holds))

    async def _until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    with contextlib.suppress(ConnectionError):
                        async with follow(self.state / "feed.sock") as feed:
                            async for message in feed:
                                if isinstance(message, (Snapshot, Changes)):
                                    values.update((self.paths[row.index], row.value) for row in message.rows)
                                if holds(values):
                                    return values
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"never came to it: {values}\n{self.told()}") from None

    def wait(self) -> None:
        """Give the processes a tenth of a second."""
        threading.Event().wait(0.1)

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE_S)
        self.log.close()
        return code


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.end()


def printing(values: dict[str, Any]) -> bool:
    return bool(values.get("printer-1/job/progress", 0) > 0.15 and values.get("node:printer-1/status/moving"))


def test_a_killed_core_leaves_a_safe_printer_and_finds_its_order_where_it_really_stands(house: Running) -> None:
    house.until(printing)
    before = house.child("controller.core")
    os.kill(before, signal.SIGKILL)
    values = house.until(lambda v: v.get("factory/order/state") == "HELD" and v.get("node:printer-1/status/latched", False))
    assert values["node:printer-1/status/job_state"] == JobState.ABORTED
    assert values["printer-1/status/hotend_power"] == 0 and not values["node:printer-1/status/moving"]
    assert values["factory/order/id"] == "1" and values["factory/order/reason"]
    assert house.child("controller.core") != before
    stands = {path: values[path] for path in ("printer-1/status/x", "printer-1/status/y", "printer-1/status/e")}
    later = house.until(lambda v: v.get("node:printer-1/status/uptime", 0) > values["node:printer-1/status/uptime"] + 4000)
    assert stands == {path: later[path] for path in stands}, "nothing restarts by itself"
    assert later["node:printer-1/status/job_state"] == JobState.ABORTED
    answer = ask_once(house.state / "feed.sock", "reset", {"machine": "printer-1"})
    assert answer.ok, answer.text
    house.until(lambda v: v.get("node:printer-1/status/latched") is False)


async def _reads(house: Running, path: str) -> Any:
    """One value by asyncua, as soon as the server answers."""
    pki = house.state / "pki"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            client = Client(f"opc.tcp://127.0.0.1:{house.factory.opcua_port}/lockstep", timeout=20)
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await client.set_security_string(f"Basic256Sha256,SignAndEncrypt,{pki / 'client.der'},{pki / 'client.pem'}")
                async with client:
                    return await client.get_node(f"ns=2;s={path}").read_value()
            await asyncio.sleep(0.2)


STILL = ("printer-1/job/duration", "printer-1/job/program", "node:printer-1/status/uid", "node:printer-1/status/epoch")


def test_other_people_s_clients_read_the_same_while_it_prints_and_again_after_the_server_was_killed(house: Running) -> None:
    values = house.until(printing)
    wanted = {path: values[path] for path in STILL}
    asyncua = {path: asyncio.run(_reads(house, path)) for path in STILL}
    python = str(ROOT / ".venv-opcua" / "bin" / "python")
    others = [
        _script(house, [os.environ.get("LOCKSTEP_OPCUA_PYTHON", python), str(SCRIPTS / "client_python_opcua.py")]),
        _script(house, [shutil.which("node") or "node", str(SCRIPTS / "client_node_opcua.js")]),
    ]
    for path in STILL:
        assert asyncua[path] == wanted[path], path
        for told in others:
            assert told[path]["value"] == wanted[path], path
    assert others[0][STILL[0]]["unit"] == others[1][STILL[0]]["unit"] == "s"
    status = _by_pymodbus(house)
    assert status.magic == MAGIC and status.uid == 1 and status.leased
    assert _by_mbpoll(house, 5) == 1, "uid, as mbpoll counts from 1"
    core, face = house.child("controller.core"), house.child("controller.opcua")
    os.kill(face, signal.SIGKILL)
    assert asyncio.run(_reads(house, "node:printer-1/status/uid")) == 1
    assert house.child("controller.opcua") != face and house.child("controller.core") == core
    values = house.until(lambda v: "node:printer-1/status/leases_lost" in v)
    assert values["factory/order/state"] in ("RUNNING", "DONE")
    assert values["node:printer-1/status/leases_lost"] == 0, "the scan did not notice"
    assert values["node:printer-1/status/underruns"] == 0


def _script(house: Running, command: list[str]) -> dict[str, Any]:
    pki = house.state / "pki"
    url = f"opc.tcp://127.0.0.1:{house.factory.opcua_port}/lockstep"
    nodes = [f"ns=2;s={path}" for path in STILL]
    whole = [*command, url, str(pki / "client.der"), str(pki / "client.pem"), *nodes]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return {path: told[f"ns=2;s={path}"] for path in STILL}


def _by_pymodbus(house: Running) -> NodeStatus:
    node = house.factory.nodes["printer-1"]
    with ModbusTcpClient(node.host, port=node.port, timeout=20, retries=0) as client:
        reply = client.read_holding_registers(0, count=layout(NodeStatus).size, device_id=1)
        assert not reply.isError()
        return decode(NodeStatus, reply.registers)


def _by_mbpoll(house: Running, reference: int) -> int:
    node = house.factory.nodes["printer-1"]
    tool = shutil.which("mbpoll")
    assert tool, "mbpoll is missing: run `make setup-test`"
    done = subprocess.run(
        [tool, "-m", "tcp", "-p", str(node.port), "-a", "1", "-t", "4:int", "-B", "-r", str(reference), "-c", "1", "-1", "-o", "10"]
        + [node.host],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith(f"[{reference}]"))
    return int(line.split()[1])


def test_ctrl_c_ends_every_process_cleanly(house: Running) -> None:
    house.until(lambda v: v.get("factory/order/state") == "RUNNING")
    pids = [house.child(module) for module in ("hil", "controller.core", "controller.opcua")]
    assert house.end() == 0, house.told() if not house.log.closed else ""
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_no_process_outlives_a_launcher_that_was_killed(house: Running) -> None:
    house.until(lambda v: v.get("factory/order/state") == "RUNNING")
    pids = [house.child(module) for module in ("hil", "controller.core", "controller.opcua")]
    house.process.kill()
    for _ in range(int(PATIENCE_S * 10)):
        if not any(_runs(pid) for pid in pids):
            return
        house.wait()
    raise AssertionError(f"still there: {[pid for pid in pids if _runs(pid)]}")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
