"""The nodes as the core talks to them: one burst to each at its own pace, and never a second before the first has ended."""

import asyncio
import sys
from collections.abc import Callable, Mapping

from controller.image import Image
from controller.modbus.burst import AnyLink
from controller.modbus.pdu import ModbusError, Request, Words
from controller.modbus.plan import Heard, ScanPlan, scan_plan
from controller.scan import Outcome
from twin.clock import MS, Clock, Ns
from twin.factory import Factory
from twin.node import NodeCommand
from twin.wire import WireError, encode


class _Line:
    """One node."""

    def __init__(self, link: AnyLink, plan: ScanPlan, period: Ns) -> None:
        self.link, self.plan, self.period = link, plan, period
        self.asking: asyncio.Task[None] | None = None
        self.due = Ns(0)


class Lines:
    """All nodes.

    Attributes:
        links: by the name of the node.

    Args:
        heard: takes a node's registers, and when they were asked for.
    """

    def __init__(
        self, factory: Factory, links: Mapping[str, AnyLink], clock: Clock, heard: Callable[[str, Heard, Ns], None]
    ) -> None:
        self.links, self._clock, self._heard = links, clock, heard
        self._unfit: dict[str, str] = {}
        self._beat = Ns(factory.scan_ms * MS)
        self._lines = {
            name: _Line(link, scan_plan(factory, name), Ns(factory.nodes[name].scan_ms * MS)) for name, link in links.items()
        }

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Keep all links up in a group."""
        for link in self.links.values():
            tasks.create_task(link.run())

    def lost(self, image: Image) -> Image:
        """The Image with nothing Good of nodes whose link is down."""
        for name, link in self.links.items():
            if not link.up:
                image = image.lost(name, link.cause)
        return image

    def ask(self, tasks: asyncio.TaskGroup, outcome: Outcome, now: Ns, ours: Callable[[str], bool]) -> None:
        """One burst to every node whose turn it is and that has answered the last one."""
        for name, line in self._lines.items():
            if now < line.due or not line.link.up or (line.asking is not None and not line.asking.done()):
                continue
            line.due = Ns(now + line.period - self._beat // 2)  # half a scan: how late one begins differs
            deadline = Ns(now + line.period * 5 // 2)
            grant = outcome.grants.get(name)
            words = None if grant is None else self._words(name, grant)
            commands = outcome.commands if ours(name) else None
            requests = line.plan.requests(words, commands)
            line.asking = tasks.create_task(self._ask(name, line, requests, deadline))

    def _words(self, name: str, grant: NodeCommand) -> Words | None:
        """A Grant's registers; None where it has none: then this node is only read, and its lease ends."""
        try:
            return tuple(encode(grant))
        except WireError as wrong:
            if self._unfit.get(name) != str(wrong):
                print(f"node {name} is only read: {wrong}", file=sys.stderr, flush=True)
            self._unfit[name] = str(wrong)
            return None

    async def _ask(self, name: str, line: _Line, requests: list[Request], deadline: Ns) -> None:
        asked = self._clock.now()
        heard = line.plan.heard(await line.link.ask(requests, deadline))
        if not isinstance(heard, ModbusError):
            self._heard(name, heard, asked)
