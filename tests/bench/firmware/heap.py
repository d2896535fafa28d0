"""How much of a board's heap is free at worst: the rig's scenarios on its narrow target, and an update of a printer's node.

A node tells once a second, after it has collected.
"""

import asyncio
import contextlib
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from controller.nodes import image, sign, update
from controller.nodes.reach import reached
from hil import micropython, scenarios
from hil.campaigns.perform import perform_scenario
from hil.ports import free_port
from hil.scenario import SCENARIOS
from hil.targets.vm import BOARD
from tests.firmware.rig import STANDINS, VOLTAGES
from tests.hil.jobs import one_printer
from twin import export
from twin.factory import Factory, Node

ARCH = "x86"
ROOM_TEMPERATURE = 62_593  # what a thermistor's pin reads
LOOK_S = 0.2


def free() -> Iterator[tuple[str, int]]:
    """By what was going on, the least bytes that any node had free.

    Raises:
        RuntimeError: a scenario failed.
        hil.micropython.MicroPythonError: there is no VM of 32 bits here.
    """
    scenarios.load()
    for name, scenario in SCENARIOS.items():
        done = perform_scenario(scenario, None, target="narrow", costs=BOARD)
        if not done.passed:
            raise RuntimeError(f"{name}: {done.error or [str(verdict) for verdict in done.verdicts if not verdict.passed]}")
        series = [values for signal, values in done.trace.series.items() if signal.endswith("/node/heap_free")]
        if series:
            yield name, min(value for values in series for _, value in values)
    with tempfile.TemporaryDirectory() as folder:
        yield "update", _updating(Path(folder))


def _updating(folder: Path) -> int:
    """A printer's node, flashed, takes another application."""
    factory = one_printer()
    (node,) = (replace(node, port=free_port()) for node in factory.nodes.values())
    factory = replace(factory, nodes={node.name: node})
    key = sign.make_key(folder / "key")
    old = image.application(ARCH)
    new = {**old, "node/__init__.py": b'RELEASE = "9.9.9"\n'}
    del new["node/__init__.mpy"]
    board = folder / "board"
    files = {f"a/{path}": content for path, content in old.items()}
    files["a/manifest"] = sign.packed(sign.manifest(old, "0.0.1", 1, "any"), key)
    files |= {**image.starters(ARCH), "update.keys": sign.public_line(key).encode(), "pins.bin": _pins(factory)}
    files["node.json"] = export.node_json(factory, node).encode()
    for path, content in files.items():
        (board / path).parent.mkdir(parents=True, exist_ok=True)
        (board / path).write_bytes(content)
    (board / "b").mkdir()
    made = update.Image("9.9.9", sign.packed(sign.manifest(new, "9.9.9", 2, "any"), key), new)
    with _powered(board):
        return asyncio.run(_update(factory, node, folder / "state", made))


def _pins(factory: Factory) -> bytes:
    (machine,) = factory.machines.values()
    levels = bytearray(256)
    for name in ("hotend_sensor", "bed_sensor"):
        struct.pack_into("<H", levels, VOLTAGES + 2 * machine.pins[name], ROOM_TEMPERATURE)
    return bytes(levels)


@contextlib.contextmanager
def _powered(board: Path) -> Iterator[None]:
    """Its firmware runs, and again when it has ended, as on a board that resets."""
    command = [*micropython.narrow(), "-X", "heapsize=160K", "main.py"]
    path = {"MICROPYPATH": f"{STANDINS}:.frozen"}
    running: list[subprocess.Popen[bytes]] = []
    over = threading.Event()

    def keep_on() -> None:
        while not over.is_set():
            with (board / "console.log").open("ab") as log:
                running.append(subprocess.Popen(command, cwd=board, env=path, stdout=log, stderr=log))
            running[-1].wait()

    thread = threading.Thread(target=keep_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        while thread.is_alive():
            for process in running:
                process.kill()
            thread.join(LOOK_S)


async def _update(factory: Factory, node: Node, state: Path, made: update.Image) -> int:
    seen: list[int] = []

    async def look(line: object) -> None:
        while True:
            with contextlib.suppress(Exception):  # it restarts meanwhile
                seen.append((await line.status()).heap_free)  # type: ignore[attr-defined]
            await asyncio.sleep(LOOK_S)

    async with reached(factory, node.name, state) as line:
        looking = asyncio.create_task(look(line))
        try:
            await update.update(factory, line, state, made, lambda said: None)
        finally:
            looking.cancel()
    return min(seen)
