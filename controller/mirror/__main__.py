"""python -m controller.mirror FACTORY --state DIR: mirrors the machines on OPC UA servers into the core on this computer.

Exit status: 0 ended by a signal, 1 cannot start here, 2 the factory file is wrong, 3 the core runs another factory.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from controller.brought import mirror_blocks, mirrored, servers
from controller.feed import Bringing, FeedLost, FeedSignal, Follower, Hello, Wanted, feed_signals, follow, schema_hash
from controller.mirror.device import Device
from controller.mirror.wants import Came
from controller.opcua.certificate import CertificateError, Identity, own
from twin.clock import MS, Clock, LoopClock, Ns, S
from twin.devices import OpcUaServer
from twin.factory import Factory, FactoryError, read

log = logging.getLogger("lockstep.mirror")
RETRY = (Ns(100 * MS), Ns(2 * S))


def uri_of(factory: str) -> str:
    """What the mirror of a factory calls itself; it stands in its certificate."""
    return f"urn:lockstep:mirror:{factory}"


def identity_of(factory: str, state: Path) -> Identity:
    """The mirror's key and certificate; made where there is none.

    Raises:
        CertificateError or OSError: what is there cannot be used.
    """
    return own(state / "pki", "mirror", uri_of(factory))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m controller.mirror", description=__doc__.splitlines()[0])
    parser.add_argument("factory", type=Path, help="the factory file")
    parser.add_argument("--state", type=Path, required=True, help="the folder that the core keeps its state in")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)  # what it tells, a server can make it tell without end
    try:
        factory = read(given.factory)
        given.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = identity_of(factory.name, given.state)
        differs = asyncio.run(Mirror(factory, given.state, identity).run())
    except FactoryError as wrong:
        for mistake in wrong.mistakes:
            print(f"{given.factory}: {mistake}", file=sys.stderr)
        return 2
    except (CertificateError, OSError) as cannot:
        print(cannot, file=sys.stderr)
        return 1
    if differs:
        print(differs, file=sys.stderr)
        return 3
    return 0


class Mirror:
    """All devices of a factory, and the way to its core."""

    def __init__(self, factory: Factory, state: Path, identity: Identity) -> None:
        self._factory, self._socket, self._identity = factory, state / "feed.sock", identity
        self._signals: tuple[FeedSignal, ...] = feed_signals(factory)
        self._schema = schema_hash(self._signals)
        self._devices: dict[str, Device] = {}
        self._wanted: set[asyncio.Task[None]] = set()
        self._tasks = asyncio.TaskGroup()

    async def run(self) -> str:
        """Mirror until a signal ends it. Returns why the core cannot be followed, or nothing."""
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        bringing = Bringing(self._signals, mirror_blocks(self._factory), clock)
        self._devices = self._made(bringing, clock)
        print(f"ready {len(self._devices)} devices", flush=True)
        print(f"our certificate, for servers that must trust it: {self._identity.certificate_file}", flush=True)
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(device.run()) for device in self._devices.values()]
            core = tasks.create_task(self._follow(bringing, clock))
            self._tasks = tasks
            core.add_done_callback(lambda _: ended.set())
            await ended.wait()
            for task in (*work, core, *self._wanted):
                task.cancel()
        return "" if core.cancelled() else core.result()

    def _made(self, bringing: Bringing, clock: Clock) -> dict[str, Device]:
        found = {}
        for name in servers(self._factory):
            server = self._factory.devices[name].reached
            assert isinstance(server, OpcUaServer), name
            machines = [machine for machine in mirrored(self._factory) if machine.node == name]
            found[name] = Device(name, server, machines, bringing, self._identity, uri_of(self._factory.name), clock, log.info)
        return found

    async def _follow(self, bringing: Bringing, clock: Clock) -> str:
        """Bring to the core, again and again, until it proves to run another factory."""
        told, wait = "", RETRY[0]
        while True:
            cause, differs = "the core has gone", ""
            try:
                differs = await self._once(bringing)
                wait = RETRY[0]
            except* FeedLost as group:
                cause = str(group.exceptions[0])
            if differs:
                return differs
            if cause != told:
                log.info("no Feed: %s", cause)
                told = cause
            await clock.until(Ns(clock.now() + wait))
            wait = min(Ns(2 * wait), RETRY[1])

    async def _once(self, bringing: Bringing) -> str:
        async with follow(self._socket) as follower, asyncio.TaskGroup() as tasks:
            bring: asyncio.Task[None] | None = None
            async for message in follower:
                match message:
                    case Hello(schema) if schema != self._schema:
                        return (
                            f"the core at {self._socket} runs another factory (its schema is {schema[:12]}, this one's "
                            f"is {self._schema[:12]}): start both with the same factory file"
                        )
                    case Hello():
                        bring = tasks.create_task(bringing.run(follower))
                    case Wanted():
                        task = self._tasks.create_task(self._want(follower, message))
                        self._wanted.add(task)
                        task.add_done_callback(self._wanted.discard)
                    case _:
                        pass
            if bring is not None:
                bring.cancel()
        return ""

    async def _want(self, follower: Follower, wanted: Wanted) -> None:
        """Do what the core wants, whether it stays for the answer or not."""
        machine = wanted.block.rpartition("/")[0]
        found = self._factory.mirrored.get(machine)
        if found is None or found.node not in self._devices:
            came = Came("refused", f"{machine} is not mirrored here")
        else:
            came = await self._devices[found.node].want(machine, wanted.kind, wanted.args)
        with contextlib.suppress(FeedLost):
            await follower.done(wanted.wanted, came.state, came.text, came.result)


if __name__ == "__main__":
    sys.exit(main())
