"""What other processes bring to the core: machines on OPC UA servers (`controller.mirror`), and what is told beside reality.

The rows of such a machine become its Sample; rows of the groups in SHOWN are handed on as they are, and grow stale with who brings
them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from controller.devices import Counts, Outcome, Written
from controller.feed import Bringers, Done, FeedSignal, NotBrought, Row, block
from controller.feed.bringers import NOTHING
from twin.clock import Clock, Ns, S
from twin.devices import Mirrored, OpcUaServer
from twin.factory import Factory
from twin.trace import GOOD, Belief, Quality, Sample

SHOWN = ("residual", "twin", "history")
"""Groups whose rows go straight to the Feed."""

PATIENCE = Ns(15 * S)
QUALITIES = (Quality.GOOD, Quality.STALE, Quality.BAD)
NEVER = Belief(Quality.STALE, "never heard")


def servers(factory: Factory) -> tuple[str, ...]:
    """The devices that the mirror reaches."""
    return tuple(name for name, device in factory.devices.items() if isinstance(device.reached, OpcUaServer))


def mirrored(factory: Factory) -> tuple[Mirrored, ...]:
    """The machines on them."""
    there = servers(factory)
    return tuple(machine for machine in factory.mirrored.values() if machine.node in there)


def mirror_blocks(factory: Factory) -> tuple[str, ...]:
    """What the mirror brings: the Status of each machine, the link of each device and its counts."""
    devices = [f"node:{name}/{group}" for name in servers(factory) for group in ("link", "counts")]
    return (*(f"{machine.name}/status" for machine in mirrored(factory)), *devices)


def shown_blocks(signals: Sequence[FeedSignal]) -> tuple[str, ...]:
    """What is brought and shown as it is."""
    return tuple(dict.fromkeys(block(signal) for signal in signals if signal.group in SHOWN))


def bringers(factory: Factory, signals: Sequence[FeedSignal]) -> Bringers:
    """The core's end for all that may be brought in a factory."""
    return Bringers(signals, (*mirror_blocks(factory), *shown_blocks(signals)))


class Shown:
    """Rows that are handed on as they are; once nobody brings them any more they are told again as stale."""

    def __init__(self, signals: Sequence[FeedSignal], brought: Bringers) -> None:
        self._brought, self._blocks = brought, shown_blocks(signals)
        self._latest: dict[str, dict[int, Row]] = {name: {} for name in self._blocks}
        self._causes = dict.fromkeys(self._blocks, "")
        self._claims = dict.fromkeys(self._blocks, 0)

    def take(self, utc_ns: int) -> list[Row]:
        """What has changed since this was asked last."""
        found = []
        for name in self._blocks:
            rows = self._brought.take((name,))
            latest, former = self._latest[name], dict[int, Row]()
            if rows and self._claims[name] != (claim := self._brought.claim(name)):
                self._claims[name] = claim
                former, latest = latest, dict[int, Row]()
                self._latest[name] = latest
            latest.update((row.index, row) for row in rows)
            cause, before = self._brought.cause(name), self._causes[name]
            self._causes[name] = cause
            if cause and cause != before:
                rows = [replaced(row, 1, cause, utc_ns) for row in latest.values()]
            elif before and not cause:
                rows = list(latest.values())
            found += rows
            found += [replaced(row, 1, NOTHING, utc_ns) for index, row in former.items() if index not in latest]
        return found


def replaced(row: Row, quality: int, cause: str, utc_ns: int) -> Row:
    """A row that is believed otherwise, or where it is worse already, as it is."""
    return Row(row.index, row.value, quality, cause, utc_ns) if row.quality < quality else row


class Mirror:
    """The bus to machines on OPC UA servers: rows in, Samples out; writes and calls go to the process that brings the rows."""

    def __init__(self, factory: Factory, signals: Sequence[FeedSignal], brought: Bringers, clock: Clock) -> None:
        self._brought, self._clock = brought, clock
        self._machines = {machine.name: machine for machine in mirrored(factory)}
        self._signals = signals
        self._values: dict[str, dict[str, Row]] = {name: {} for name in self._machines}
        self._claims = dict.fromkeys(self._machines, 0)
        self._samples: dict[str, Sample[Any]] = {}
        self._links = dict.fromkeys(servers(factory), "not reached yet")
        self._counts = {name: dict[str, Any]() for name in self._links}

    async def run(self) -> None:
        """Nothing of its own to do: the other process does it."""

    def take(self) -> dict[str, Sample[Any]]:
        """The Sample of each machine of which something was brought, or of which nothing is any more."""
        self._take_devices()
        found = {}
        for name, machine in self._machines.items():
            rows, cause = self._brought.take((f"{name}/status",)), self._brought.cause(f"{name}/status")
            before = self._samples.get(name)
            if rows and self._claims[name] != (claim := self._brought.claim(f"{name}/status")):
                self._claims[name] = claim
                self._values[name].clear()
            self._values[name].update((self._signals[row.index].name, row) for row in rows)
            every = Belief(Quality.STALE, cause) if cause else GOOD
            if rows or (before is not None and before.every != every):
                made = self._sample(machine, rows, before, every)
                self._samples[name] = found[name] = made
        return found

    def _sample(self, machine: Mirrored, rows: list[Row], before: Sample[Any] | None, every: Belief) -> Sample[Any]:
        values = self._values[machine.name]
        read: dict[str, Any] = {}
        doubts = {}
        for row in machine.map.read:
            told = values.get(row.name)
            read[row.name] = None if told is None or told.value is None else row.signal.type(told.value)
            if told is None:
                doubts[row.name] = NEVER
            elif told.quality:
                doubts[row.name] = Belief(QUALITIES[told.quality], told.cause)
        utc = max((row.utc_ns for row in rows), default=before.utc_ns if before is not None else 0)
        status = machine.map.status(**read)
        times = {name: row.utc_ns for name, row in values.items()}
        return Sample(status, self._clock.now(), utc, every, MappingProxyType(doubts), times=MappingProxyType(times))

    def _take_devices(self) -> None:
        for name in self._links:
            for row in self._brought.take((f"node:{name}/link",)):
                self._links[name] = str(row.value or "")
            for row in self._brought.take((f"node:{name}/counts",)):
                self._counts[name][self._signals[row.index].name] = row.value or 0

    def link(self, device: str) -> str:
        """Why a device cannot be reached; empty when it can."""
        return self._brought.cause(f"node:{device}/link") or self._links[device]

    def counts(self, device: str) -> Counts:
        """What has happened with it, as the mirror counts."""
        told = dict(self._counts[device])
        trip, late = 1000 * told.pop("round_trip", 0.0), 1000 * told.pop("late", 0.0)
        return Counts(**told, round_trip_ms=trip, late_ms=late)

    async def write(self, machine: str, signal: str, value: Any) -> Written:
        """Have a Signal's value [SI] written once, and read back."""
        plain = int(value) if isinstance(value, int) and not isinstance(value, bool) else value  # an enumeration too
        return await self._want(machine, "write", {"signal": signal, "value": plain})

    async def call(self, machine: str, method: str, arguments: Mapping[str, Any]) -> Written:
        """Have a method called once."""
        return await self._want(machine, "call", {"method": method, "arguments": dict(arguments)})

    async def _want(self, machine: str, kind: str, args: dict[str, Any]) -> Written:
        try:
            answer = self._brought.want(f"{machine}/status", kind, args)
        except NotBrought as nobody:
            return Written(Outcome.REFUSED, str(nobody))
        late = asyncio.ensure_future(self._clock.until(Ns(self._clock.now() + PATIENCE)))
        try:
            await asyncio.wait((answer, late), return_when=asyncio.FIRST_COMPLETED)
            return written(answer.result()) if answer.done() else Written(Outcome.UNKNOWN, f"no answer for {PATIENCE // S} s")
        finally:
            answer.cancel()
            late.cancel()


def written(done: Done) -> Written:
    """What the mirror says became of a write or a call."""
    return Written(Outcome(done.state), done.text, done.result)
