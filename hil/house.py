"""A whole factory in one process: the rig, and the controller's core on a thread of its own, in the same factory time."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from controller import core
from controller.factory_loop import FactoryClock, TimeEnded, run_on
from controller.modbus.client import Link
from controller.modbus.pdu import ModbusError, Read
from hil.rig import Rig
from hil.targets.vm import BOARD, Costs
from twin.clock import Ns, S
from twin.factory import Factory
from twin.node import STATUS_AT, NodeStatus
from twin.wire import decode, layout

PATIENCE_S = 20.0
LOOK = Ns(S)


@dataclass(frozen=True, slots=True)
class Look:
    """What a node said of itself and of its machines, read by a client of its own."""

    time: Ns
    node: NodeStatus
    machines: Mapping[str, Any]


class House:
    """Runs a factory with an order placed at its start, and looks at every node once a second beside the core.

    Attributes:
        looks: of each node, in order.

    Args:
        programs: texts by name; they become the files that orders may name.
        recipe, program: of the order.
        links: a Link that can be cut lies before each node.
    """

    def __init__(
        self,
        factory: Factory,
        folder: Path,
        programs: Mapping[str, str],
        recipe: str,
        program: str,
        *,
        costs: Costs = BOARD,
        physics: Mapping[str, Any] | None = None,
        links: bool = False,
    ) -> None:
        self.folder = folder
        (folder / "programs").mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in programs.items():
            (folder / "programs" / name).write_text(text, encoding="utf-8")
        self.rig = Rig(factory, folder / "nodes", costs=costs, physics=physics, links=links)
        self._factory = self.rig.seen_by_core
        self.looks: dict[str, list[Look]] = {name: [] for name in factory.nodes}
        self._first = {"recipe": recipe, "program": program}
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run_core, name="core")
        self._near, self._far = socket.socketpair()

    async def _core(self, clock: FactoryClock) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(core.run(self._factory, self.folder, clock, seed=1, first=self._first))
            for name in self._factory.nodes:
                tasks.create_task(self._look(name, clock))

    async def _look(self, name: str, clock: FactoryClock) -> None:
        node = self.rig.factory.nodes[name]  # past a Link that may be cut
        link = Link(f"look at {name}", node.host, node.port, clock)
        keeping = asyncio.create_task(link.run())
        machines = self._factory.on(name)
        requests = [Read(STATUS_AT, layout(NodeStatus).size)]
        requests += [Read(machine.base, machine.type.layouts[0].size) for machine in machines]
        try:
            while True:
                await clock.until(Ns(clock.now() // LOOK * LOOK + LOOK))
                replies = await link.ask(requests, Ns(clock.now() + LOOK // 2))
                if any(isinstance(reply, ModbusError) for reply in replies):
                    continue
                status, *rest = [reply for reply in replies if not isinstance(reply, ModbusError)]
                seen: dict[str, Any] = {m.name: decode(m.type.status, words) for m, words in zip(machines, rest, strict=True)}
                self.looks[name].append(Look(clock.now(), decode(NodeStatus, status), seen))
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    def _run_core(self) -> None:
        try:
            run_on(self._far, self._core)
        except TimeEnded:
            pass
        except BaseExceptionGroup as several:
            if several.split(TimeEnded)[1] is not None:
                self._failed.append(several)
        except core.CoreError as failed:
            self._failed.append(failed)

    def run(self, until: Ns) -> None:
        """Let factory time pass.

        Raises:
            RuntimeError: the core has failed.
        """
        self.rig.run(until)
        if self._failed:
            raise RuntimeError("the core has failed") from self._failed[0]

    def __enter__(self) -> "House":
        self.rig.__enter__()
        self._thread.start()
        self.rig.admit("core", self._near)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        self.rig.close()
        self._thread.join(PATIENCE_S)
