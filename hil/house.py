"""A whole factory in one process: the rig, and the controller's core on a thread of its own, in the same factory time."""

import asyncio
import dataclasses
import gc
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from controller import core
from controller.factory_loop import FactoryClock, TimeEnded, run_on
from controller.feed import Changes, FeedLost, FeedSignal, Follower, Row, Snapshot, feed_signals, follow
from controller.modbus.client import Link
from controller.modbus.pdu import ModbusError, Read
from hil.rig import Rig
from hil.targets.vm import BOARD, Costs
from twin.clock import MS, Ns, S, utc_ns
from twin.factory import Factory
from twin.node import STATUS_AT, NodeStatus
from twin.trace import Event
from twin.wire import decode, layout

MOST_ASKED = 64
PATIENCE_S = 20.0
LOOK = Ns(S)
KNOCK, FIRST_KNOCK = Ns(100 * MS), Ns(10 * MS)
QUALITIES = ("good", "stale", "bad")

Main = Callable[[FactoryClock], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Look:
    """What a node said of itself and of its machines, read by a client of its own."""

    time: Ns
    node: NodeStatus
    machines: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CoreRefused(Event):
    """A core could not run."""

    cause: str


@dataclass(frozen=True, slots=True)
class CoreTold(Event):
    """An Event that a core has told its faces."""

    kind: str
    about: str


class Tenant:
    """A coroutine on a thread of its own that lives in factory time.

    Attributes:
        failed: what it ended with, where that was not the end of time.
    """

    def __init__(self, rig: Rig, name: str, main: Main) -> None:
        near, far = socket.socketpair()
        self.failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(far, main), name=name)
        self._thread.start()
        self._guest = rig.admit(name, near)

    def _run(self, link: socket.socket, main: Main) -> None:
        try:
            run_on(link, main)
        except TimeEnded:
            pass
        except BaseExceptionGroup as several:
            if several.split(TimeEnded)[1] is not None:
                self.failed.append(several)
        except (core.CoreError, FeedLost) as failed:
            self.failed.append(failed)
        finally:
            link.close()

    def end(self) -> None:
        """Time ends for it; its connections are closed when this returns, as those of a process that was killed."""
        self._guest.dismiss()
        self._thread.join(PATIENCE_S)
        gc.collect()  # what its tasks held lies in cycles, sockets too


class House:
    """Runs a factory with an order placed at its start, and looks at every node once a second beside the core.

    Attributes:
        looks: of each node, in order; they are in the Trace as well, as machine/field and node/node/field.

    Args:
        programs: texts by name; they become the files that orders may name.
        recipe, program: of the order.
        links: a Link that can be cut lies before each node.
        look: how often every node is looked at.
        feed: put what the core believes into the Trace too: values as core/path, their quality as core/path/quality, and
            its Events as CoreTold.
        rig: what else the Rig is to be given.
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
        look: Ns = LOOK,
        feed: bool = False,
        **rig: Any,
    ) -> None:
        self.folder = folder
        (folder / "programs").mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in programs.items():
            (folder / "programs" / name).write_text(text, encoding="utf-8")
        self.rig = Rig(factory, folder / "nodes", costs=costs, physics=physics, links=links, **rig)
        self._factory = self.rig.seen_by_core
        self.looks: dict[str, list[Look]] = {name: [] for name in factory.nodes}
        self._first = {"recipe": recipe, "program": program} if recipe else None
        self._every = look
        self._feed = feed
        self._asked: deque[tuple[str, dict[str, Any]]] = deque()
        self._core: Tenant | None = None
        self._beside: list[Tenant] = []

    # ---- what a scenario does with the core

    def kill(self) -> None:
        """The core is gone, as after kill -9: its connections end, nothing else is done."""
        assert self._core is not None, "the core is dead already"
        self._core.end()
        self._core = None

    def restart(self) -> None:
        """The core runs again, on the same state folder."""
        assert self._core is None, "the core lives"
        self._core = Tenant(self.rig, "core", self._run_core)

    def second(self, folder: Path | None = None, seed: int = 2) -> Tenant:
        """Another core for the same factory; on a state folder of its own unless told."""
        where = folder or self.folder.with_name(self.folder.name + "-second")

        async def run(clock: FactoryClock) -> None:
            try:
                await core.run(self._factory, where, clock, seed=seed)
            except core.CoreError as refused:
                self.rig.trace.event(clock.now(), CoreRefused("second", str(refused).replace(str(where), "state")))

        made = Tenant(self.rig, "second", run)
        self._beside.append(made)
        return made

    def dismiss(self, tenant: Tenant) -> None:
        """Another core is gone, as after kill -9."""
        self._beside.remove(tenant)
        tenant.end()

    def ask(self, kind: str, **args: Any) -> None:
        """Have an operator ask the core for something; its answer is the Event CoreTold("core", kind, text)."""
        assert len(self._asked) < MOST_ASKED, f"{MOST_ASKED} requests wait for the core"
        self._asked.append((kind, args))

    def step_wall_clock(self, step: Ns, seen: Callable[[], None] = lambda: None) -> None:
        """From now on the wall clock of this process's cores is off by `step`; `seen` is told when one looks at it."""

        def jumped() -> int:
            seen()
            return utc_ns() + step

        vars(core)["utc_ns"] = jumped if step else utc_ns

    # ---- what runs on its threads

    async def _run_core(self, clock: FactoryClock) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(core.run(self._factory, self.folder, clock, seed=1, first=self._first))
            if self._feed:
                tasks.create_task(self._face(clock))

    async def _face(self, clock: FactoryClock) -> None:
        """Follow the core's Feed, and ask what is to be asked."""
        while True:
            await clock.until(Ns(clock.now() + FIRST_KNOCK))
            try:
                async with follow(self.folder / "feed.sock") as follower:
                    asking = asyncio.create_task(self._ask(follower, clock))
                    try:
                        await self._record(follower, clock)
                    finally:
                        asking.cancel()
            except FeedLost:
                continue

    async def _ask(self, follower: Follower, clock: FactoryClock) -> None:
        while True:
            await clock.until(Ns(clock.now() + KNOCK))
            while self._asked:
                kind, args = self._asked.popleft()
                answer = await follower.ask(kind, args, "scenario")
                self.rig.trace.event(clock.now(), CoreTold("core", kind, f"{'yes' if answer.ok else 'no'}: {answer.text}"))

    async def _record(self, follower: Follower, clock: FactoryClock) -> None:
        signals, trace = feed_signals(self._factory), self.rig.trace
        async for message in follower:
            if isinstance(message, Snapshot | Changes):
                for row in message.rows:
                    self._show(clock.now(), signals[row.index], row)
            if isinstance(message, Changes):
                for event in message.events:
                    trace.event(clock.now(), CoreTold(event.subject, event.kind, str(event.fields.get("standing", ""))))

    def _show(self, now: Ns, signal: FeedSignal, row: Row) -> None:
        """A value that the core believes. Causes are left out: they name ports, which differ from run to run."""
        if signal.name == "reason":
            return
        value = str(row.value).partition(":")[0] if signal.group == "link" else row.value
        self.rig.trace.value(now, f"core/{signal.path}", value)
        if signal.group == "status":
            self.rig.trace.value(now, f"core/{signal.owner}/quality", QUALITIES[row.quality])

    async def _look_at_all(self, clock: FactoryClock) -> None:
        """Look at every node once in a period. Several may answer at one instant; what they say is kept in a fixed order."""
        # Past a Link that may be cut; a serial line has no room for another master.
        nodes = [node for node in self.rig.factory.nodes.values() if node.serial is None]
        links = {node.name: Link(f"look at {node.name}", node.host, node.port, clock) for node in nodes}
        async with asyncio.TaskGroup() as tasks:
            for link in links.values():
                tasks.create_task(link.run())
            while True:
                await clock.until(Ns(clock.now() // self._every * self._every + self._every))
                found = await asyncio.gather(*(self._look(name, link, clock) for name, link in links.items()))
                for name, look in zip(links, found, strict=True):
                    if look is not None:
                        self._keep(name, look)

    async def _look(self, name: str, link: Link, clock: FactoryClock) -> Look | None:
        machines = self._factory.on(name)
        requests = [Read(STATUS_AT, layout(NodeStatus).size)]
        requests += [Read(machine.base, machine.type.layouts[0].size) for machine in machines]
        replies = await link.ask(requests, Ns(clock.now() + self._every // 2))
        words = [reply for reply in replies if not isinstance(reply, ModbusError)]
        if len(words) < len(replies):
            return None
        seen: dict[str, Any] = {m.name: decode(m.type.status, said) for m, said in zip(machines, words[1:], strict=True)}
        return Look(clock.now(), decode(NodeStatus, words[0]), seen)

    def _keep(self, node: str, look: Look) -> None:
        self.looks[node].append(look)
        for prefix, record in ((f"{node}/node", look.node), *look.machines.items()):
            for field in dataclasses.fields(record):
                self.rig.trace.value(look.time, f"{prefix}/{field.name}", getattr(record, field.name))

    # ---- time

    def run(self, until: Ns, stop: Callable[[], bool] | None = None) -> None:
        """Let factory time pass, as `Rig.run`.

        Raises:
            RuntimeError: the core has failed.
        """
        self.rig.run(until, stop)
        for tenant in self._tenants():
            if tenant.failed:
                raise RuntimeError("the core has failed") from tenant.failed[0]

    def _tenants(self) -> list[Tenant]:
        return [*([self._core] if self._core is not None else []), *self._beside]

    def __enter__(self) -> "House":
        self.rig.__enter__()
        self.restart()
        self._beside.append(Tenant(self.rig, "looks", self._look_at_all))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        self.step_wall_clock(Ns(0))
        self.rig.close()
        for tenant in self._tenants():
            tenant.end()
