"""One OPC UA server as the mirror keeps it: connected, followed, lost and found again, and what is wanted of its machines."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from controller.feed import Bringing
from controller.mirror import wants
from controller.mirror.channel import BROKEN, Connection, connection, diagnosed, said
from controller.mirror.following import Counted, Following, Item
from controller.mirror.places import GOOD, STALE
from controller.mirror.wants import Came, Unsettled
from controller.opcua.certificate import Identity
from twin.clock import MS, Clock, Ns, S, utc_ns
from twin.devices import Mirrored, OpcUaServer

SETTLED = Ns(10 * S)
"""A connection that held for so long was a good one: the next attempt comes soon."""
PATIENCE_S = 14.0
FOUND_AGAIN_S = 8.0
DENIED = frozenset(
    (
        StatusCodes.BadIdentityTokenRejected,
        StatusCodes.BadIdentityTokenInvalid,
        StatusCodes.BadUserAccessDenied,
        StatusCodes.BadUserSignatureInvalid,
    )
)
"""What a server says of a wrong user or password: too many of those, and some lock the user out."""


class Waits(NamedTuple):
    """From one attempt to the next: at first, at most, and after a login was refused."""

    first: Ns = Ns(500 * MS)
    most: Ns = Ns(10 * S)
    denied: Ns = Ns(60 * S)


class Device:
    """Keeps one server's machines mirrored for as long as `run` runs."""

    def __init__(
        self,
        name: str,
        server: OpcUaServer,
        machines: Sequence[Mirrored],
        bringing: Bringing,
        identity: Identity,
        uri: str,
        clock: Clock,
        say: Callable[[str], None],
        waits: Waits | None = None,
    ) -> None:
        self.name, self._server, self._machines = name, server, {machine.name: machine for machine in machines}
        self._bringing, self._identity, self._uri = bringing, identity, uri
        self._clock, self._say, self._waits = clock, say, waits or Waits()
        self._counted = Counted()
        self._following: Following | None = None
        self._there = asyncio.Event()
        self._cause = "not reached yet"
        self._stands(self._cause)

    async def run(self) -> None:
        """Connect, follow, and connect again, until cancelled."""
        wait = self._waits.first
        while True:
            began = self._clock.now()
            failed = await self._once()
            denied = isinstance(failed, UaStatusCodeError) and failed.code in DENIED
            if self._following is None:
                self._lost(await diagnosed(self._server, self._uri, failed))
            self._following = None
            if self._clock.now() - began > SETTLED:
                wait = self._waits.first
            await self._clock.until(Ns(self._clock.now() + (self._waits.denied if denied else wait)))
            wait = min(Ns(2 * wait), self._waits.most)

    async def _once(self) -> BaseException:
        """One connection, from its beginning to its end; why it has ended."""
        made: Connection | None = None
        ended: BaseException = ConnectionError("the mirror has ended")
        try:
            made = connection(self._server, self._identity, self._uri)
            await made.open()
            following = Following(made, list(self._machines.values()), self._tell, self._clock, self._counted)
            await following.prepare()
            self._following = following
            self._there.set()
            self._stands("")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(following.run())
                tasks.create_task(self._count())
        except* BROKEN as group:
            ended = _first(group)
        finally:
            self._there.clear()
            if self._following is not None:
                self._lost(said(ended))  # at once: to hang up may take a while
            if made is not None:
                await made.end()
        return ended

    # ---- what is told

    def _tell(self, item: Item) -> None:
        told = item.told
        if told is not None:
            path = f"{item.machine.name}/status/{item.row.name}"
            self._bringing.put(path, told.value, told.quality, told.cause, told.utc_ns)

    def _lost(self, cause: str) -> None:
        """Nothing of the server is Good any more."""
        at = utc_ns()
        for machine in self._machines.values():
            for row in machine.map.read:
                path = f"{machine.name}/status/{row.name}"
                last = self._bringing.last(path)
                if last is None or last.quality <= STALE:
                    self._bringing.put(path, last.value if last else None, STALE, cause, last.utc_ns if last else at)
        self._stands(cause)

    def _stands(self, cause: str) -> None:
        self._bringing.put(f"node:{self.name}/link", cause, GOOD, "", utc_ns())
        if cause != self._cause:
            self._say(f"{self.name}: {cause or 'connected'}")
        self._cause = cause
        self._tell_counts()

    async def _count(self) -> None:
        while True:
            await self._clock.until(Ns(self._clock.now() + S))
            self._tell_counts()

    def _tell_counts(self) -> None:
        counted = self._counted
        told: Mapping[str, Any] = {
            "scans": counted.publishes,
            "skipped": 0,
            "timeouts": counted.silences,
            "refused": counted.refused,
            "round_trip": counted.round_trip,
            "late": 0.0,
        }
        for name, value in told.items():
            self._bringing.put(f"node:{self.name}/counts/{name}", value, GOOD, "", utc_ns())

    # ---- what is wanted

    async def want(self, machine: str, kind: str, args: Mapping[str, Any]) -> Came:
        """Do what the core wants of one of the machines, once."""
        found = self._machines[machine]
        on = self._following
        if on is None:
            return Came("refused", f"{self.name}: {self._cause}")
        try:
            async with asyncio.timeout(PATIENCE_S):
                came = await (self._write(found, on, args) if kind == "write" else self._call(found, on, args))
        except TimeoutError:
            came = Came("unknown", f"not settled within {PATIENCE_S:g} s")
        self._counted.refused += came.state == "refused"
        return came

    async def _call(self, machine: Mirrored, on: Following, args: Mapping[str, Any]) -> Came:
        method = next((method for method in machine.map.methods if method.name == args["method"]), None)
        if method is None:
            return Came("refused", f"{machine.name} has no method {args['method']!r}")
        return await wants.call(on, method, args["arguments"])

    async def _write(self, machine: Mirrored, on: Following, args: Mapping[str, Any]) -> Came:
        row = next((row for row in machine.map.written if row.name == args["signal"]), None)
        if row is None:
            return Came("refused", f"{machine.name} has no Signal {args['signal']!r} that can be written")
        try:
            return await wants.write(on, row, args["value"], self._clock)
        except Unsettled as lost:
            unsettled = lost
        # It was sent: what came of it is read as soon as the server is there again, and it is never sent again.
        try:
            async with asyncio.timeout(FOUND_AGAIN_S):
                while self._following is None or self._following is on:
                    self._there.clear()
                    await self._there.wait()
                again = self._following
                came = await wants.read_back(again, row, again.resolve(row.place.node), unsettled.kind, unsettled.raw, self._clock)
        except BROKEN:
            return Came("unknown", f"sent, but {unsettled.why}")
        return came if came.state == "confirmed" else Came(came.state, f"sent, but {unsettled.why}; {came.text}")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
