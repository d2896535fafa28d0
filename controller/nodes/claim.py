"""A node held by a command of the command line: claimed as a core would claim it, kept, and let go."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from controller.folder import CoreError, held, owner_of
from controller.modbus.pdu import Write
from controller.nodes.epochs import EpochError, Epochs
from controller.nodes.grant import Errand, Grant, verdict, words
from controller.nodes.reach import NodeError, Reached
from controller.nodes.transfer import Carrier, Load, TransferError
from twin.clock import MS, Ns, S
from twin.export import map_hash
from twin.factory import Factory
from twin.node import COMMAND_AT, NodeStatus, Op
from twin.wire import encode

LEASE_MS = 5000
"""A node that checks a signature or a whole folder does not listen meanwhile."""
BEAT = Ns(500 * MS)
LOOK = Ns(50 * MS)
VALID_MS = 10_000
PATIENCE = Ns(20 * S)


@dataclass
class Claim:
    """A node that is ours for a while.

    Attributes:
        grant: what is written into its Grant.
    """

    reached: Reached
    factory: Factory
    owner: int
    grant: Grant

    async def beat(self) -> NodeStatus:
        """Write the Grant with a changed heartbeat.

        Raises:
            NodeError: the node does not answer.
        """
        self.grant = self.grant.beat()
        command = replace(self.grant.command(self.owner), lease=LEASE_MS)
        await self.reached.ask(Write(COMMAND_AT, tuple(encode(command))))
        return await self.reached.status()

    async def keep(self) -> None:
        """Beat for ever. A node that does not answer in time has been lost, and who waits for it is told so elsewhere."""
        clock = self.reached.clock
        while True:
            with contextlib.suppress(NodeError):
                await self.beat()
            await clock.until(Ns(clock.now() + BEAT))

    async def rest(self) -> None:
        """Every command to its default.

        Raises:
            NodeError: the node refuses.
        """
        for machine in self.factory.on(self.reached.node.name):
            at = machine.base + machine.type.layouts[0].size
            await self.reached.ask(Write(at, tuple(encode(machine.type.command()))))

    async def do(self, op: Op) -> None:
        """Have a command carried out, once.

        Raises:
            NodeError: it was not, or nobody knows.
        """
        clock, name = self.reached.clock, self.reached.node.name
        status = await self.reached.status()
        errand = Errand(op, secrets.randbits(32) or 1, status.boot_id, (status.uptime + VALID_MS) & 0xFFFFFFFF)
        self.grant = self.grant.send(errand)
        due = Ns(clock.now() + PATIENCE)
        while (found := verdict(errand, await self.beat())) is None:
            if clock.now() >= due:
                raise NodeError(f"{name}: {words(op.name)}: no result")
            await clock.until(Ns(clock.now() + LOOK))
        if not found.done:
            raise NodeError(f"{name}: {words(op.name)}: {found.text}")

    async def send(self, load: Load, what: str) -> None:
        """Carry something there.

        Raises:
            NodeError: it was refused, and why, or there is no progress.
        """
        carrier = Carrier(self.reached.link, self.reached.clock, load, lambda: True, lambda: None)
        try:
            await carrier.carry()
        except TransferError as failed:
            cause = str(failed).removeprefix(f"Job {load.job_id:#010x}").lstrip(": ")
            raise NodeError(f"{self.reached.node.name}: {what} {cause}") from failed


@contextlib.asynccontextmanager
async def claimed(factory: Factory, reached: Reached, folder: Path, epochs: Epochs) -> AsyncIterator[Claim]:
    """The node as ours, its commands at their defaults where we know its map; it is let go at the end.

    Raises:
        NodeError: somebody else commands it, or it does not answer.
    """
    status = await reached.status()
    name = reached.node.name
    if status.leased:
        status = await _free(reached, status)
    try:
        epoch = epochs.next(status.epoch)
        owner = owner_of(folder, None)
    except (EpochError, CoreError) as unusable:
        raise NodeError(str(unusable)) from unusable
    claim = Claim(reached, factory, owner, Grant().claim(epoch, status, reached.clock.now()))
    due = Ns(reached.clock.now() + PATIENCE)
    while not (status.leased and status.owner == owner and status.epoch == epoch):
        if reached.clock.now() >= due:
            raise NodeError(f"{name}: cannot be claimed: {words(status.reason.name)}")
        status = await claim.beat()
    if status.map_hash == map_hash(factory, name):
        await claim.rest()
    beating = asyncio.create_task(claim.keep())
    try:
        yield claim
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def _free(reached: Reached, status: NodeStatus) -> NodeStatus:
    """The Status once the lease that there is has ended by itself.

    Raises:
        NodeError: somebody keeps it alive.
    """
    clock = reached.clock
    due = Ns(clock.now() + LEASE_MS * MS + S)
    while status.leased:
        if clock.now() >= due:
            raise NodeError(f"{reached.node.name}: it is commanded by owner {status.owner:#010x}: stop that one first")
        await clock.until(Ns(clock.now() + LOOK))
        status = await reached.status()
    return status


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[Epochs]:
    """The state directory, with no core on it.

    Raises:
        NodeError: a core runs there, or it cannot be used.
    """
    try:
        with held(folder):
            yield Epochs(folder / "epoch")
    except CoreError as taken:
        text = str(taken).replace("another core runs", "another core or command runs")
        raise NodeError(f"{text}; stop it first, for it commands the nodes" if text != str(taken) else text) from taken
    except EpochError as broken:
        raise NodeError(str(broken)) from broken
