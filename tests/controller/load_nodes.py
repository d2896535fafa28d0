"""python -m tests.controller.load_nodes FOLDER: sixteen plain nodes of 32 Signals that all change ten times a second.

Writes FOLDER/factory.toml with their ports, says "ready", and serves until its standard input closes.
"""

import asyncio
import sys
from itertools import count
from pathlib import Path

from tests.controller.fakenode import FakeNode, NodeServer
from twin.clock import MS, LoopClock, Ns
from twin.factory import parse

NODES, BELTS = 16, 4  # a belt has six Signals that it tells and two that it is told
NAMES = ("at_entry", "at_exit", "tripped", "run", "speed")


def text(ports: dict[str, int]) -> str:
    """The factory file."""
    made = ['[factory]\nname = "load"\n[cells.hall]\n[history]\nreserve_mb = 0\n']
    for n in range(NODES):
        made.append(f'[nodes.n{n}]\nuid = {n + 1}\nport = {ports.get(f"n{n}", 20_000 + n)}\n')
        for b in range(BELTS):
            pins = ", ".join(f"{name} = {p}" for name, p in zip(NAMES, PINS[b], strict=True))
            where = f'cell = "hall"\nnode = "n{n}"\nbase = {256 + 16 * b}\n'
            made.append(f'[machines.b{n}-{b}]\ntype = "conveyor"\n{where}pins = {{ {pins} }}\n')
    return "".join(made)


PINS = ((34, 35, 36, 2, 4), (39, 32, 33, 5, 12), (13, 14, 15, 16, 17), (18, 19, 21, 22, 23))


async def main(folder: Path) -> None:
    """Serve until nobody wants it any more."""
    clock = LoopClock(asyncio.get_running_loop())
    plain = parse(text({}), folder)
    nodes = [FakeNode(plain, name) for name in plain.nodes]
    servers = [NodeServer(node, clock) for node in nodes]
    ports = {node.name: await server.start() for node, server in zip(nodes, servers, strict=True)}
    (folder / "factory.toml").write_text(text(ports))
    print("ready", flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    due = clock.now()
    for step in count():
        for i, node in enumerate(nodes):
            flag = bool((step + i) & 1)
            speed = (step * 7 + i * 13) % 5000 * 1e-4
            for machine in node.machines:
                values = {"at_entry": flag, "at_exit": not flag, "tripped": False, "running": flag}
                node.show(machine.name, speed=speed, parts=step & 0xFFFF, **values)
        due = Ns(max(due + 100 * MS, clock.now()))
        if ended.done():
            return
        await clock.until(due)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
