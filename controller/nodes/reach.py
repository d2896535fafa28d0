"""A node reached by a command of the command line, beside a core or without one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from controller.modbus.burst import AnyLink
from controller.modbus.links import links
from controller.modbus.pdu import ModbusError, Read, ReadIdentity, Refused, Request, Words, identity_of
from twin.clock import MS, Clock, LoopClock, Ns, S
from twin.factory import Factory, Node
from twin.node import MAGIC, STATUS_AT, VERSION, NodeStatus
from twin.wire import decode, layout

PATIENCE = Ns(5 * S)
DEADLINE = Ns(2 * S)
PAUSE = Ns(100 * MS)
STATUS = Read(STATUS_AT, layout(NodeStatus).size)
FOR_GOOD = (1, 2, 3)
"""Exceptions of Modbus that asking again does not change: illegal function, address, value."""
RELEASE = 2  # of the objects by which a server identifies itself


class NodeError(Exception):
    """A node that does not do what was asked of it; one line says why."""


@dataclass(frozen=True)
class Reached:
    """A node with a link to it that is kept up."""

    node: Node
    link: AnyLink
    clock: Clock

    async def ask(self, *requests: Request, patience: Ns = PATIENCE) -> list[Words]:
        """The replies, all of them; the requests are sent again until then.

        Raises:
            NodeError: it does not answer for so long, or refuses.
        """
        due = Ns(self.clock.now() + patience)
        while True:
            replies = await self.link.ask(requests, Ns(self.clock.now() + DEADLINE))
            broken = [reply for reply in replies if isinstance(reply, ModbusError)]
            if not broken:
                return [reply for reply in replies if not isinstance(reply, ModbusError)]
            if self.clock.now() >= due or any(isinstance(reply, Refused) and reply.code in FOR_GOOD for reply in broken):
                raise NodeError(f"{self.node.name}: {str(broken[0]).removeprefix(f'{self.node.name}: ')}")
            await self.clock.until(Ns(self.clock.now() + PAUSE))

    async def status(self, patience: Ns = PATIENCE) -> NodeStatus:
        """What it says of itself.

        Raises:
            NodeError: it does not answer, or is no node of ours.
        """
        (words,) = await self.ask(STATUS, patience=patience)
        return self.known(words)

    def known(self, words: Words) -> NodeStatus:
        """The Status in the registers that STATUS reads.

        Raises:
            NodeError: they are none of ours.
        """
        if words[0] != MAGIC or words[1] != VERSION:
            raise NodeError(f"{self.node.name}: what answers there is no node of this version: {words[0]:#06x}, {words[1]}")
        return decode(NodeStatus, words)

    async def release(self) -> str:
        """The release of its application.

        Raises:
            NodeError: it does not answer.
        """
        (words,) = await self.ask(ReadIdentity())
        return identity_of(words).get(RELEASE, "")


@contextlib.asynccontextmanager
async def reached(factory: Factory, name: str, folder: Path) -> AsyncIterator[Reached]:
    """A node of a factory.

    Args:
        folder: the state directory, where virtual lines lie.

    Raises:
        NodeError: there is no such node.
    """
    if name not in factory.nodes:
        raise NodeError(f"{name}: the factory has {', '.join(factory.nodes) or 'no nodes'}")
    node = factory.nodes[name]
    clock = LoopClock(asyncio.get_running_loop())
    link = links(replace(factory, nodes={name: node}), folder, clock)[name]
    running = asyncio.create_task(link.run())
    try:
        await _up(link, clock)
        yield Reached(node, link, clock)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _up(link: AnyLink, clock: Clock) -> None:
    """Give the link the moment that it takes to connect; whoever asks is told if it does not."""
    for _ in range(20):
        if link.up:
            return
        await clock.until(Ns(clock.now() + 10 * MS))


def ours(factory: Factory, name: str, action: str) -> Node:
    """A node that runs our firmware.

    Args:
        action: what is wanted of it, for the refusal.

    Raises:
        NodeError: there is no such node, or it runs something else.
    """
    (name,) = names(factory, [name], False)
    node = factory.nodes[name]
    if node.foreign is not None:
        raise NodeError(f"{name} does not run our firmware: there is nothing to {action} from here")
    if node.firmware is not None:
        raise NodeError(f"{name} runs firmware of its own ({node.firmware.name}): there is nothing to {action} from here")
    return node


def names(factory: Factory, asked: Sequence[str], every: bool) -> tuple[str, ...]:
    """Which nodes are meant.

    Raises:
        NodeError: none, or one that there is not.
    """
    if every:
        return tuple(factory.nodes)
    for name in asked:
        if name not in factory.nodes:
            raise NodeError(f"{name}: the factory has {', '.join(factory.nodes) or 'no nodes'}")
    if not asked:
        raise NodeError("say which node, or --all")
    return tuple(asked)
