"""The scan engine as the core has it: all Modbus devices of a factory."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.devices import Counts, Outcome, Written
from controller.factory_loop import FactoryClock
from controller.fieldbus.ask import Ask
from controller.fieldbus.channel import Channel, Unit
from controller.fieldbus.decode import Recipe, warm
from controller.fieldbus.lines import channels
from controller.fieldbus.plan import Block, Costs, Plan, plan
from controller.fieldbus.reading import Page, Reading
from controller.fieldbus.rounds import Round, Tally
from controller.fieldbus.survey import Survey
from controller.fieldbus.tcp import TcpLine
from controller.fieldbus.wheel import Wheel
from controller.fieldbus.write import Writer
from controller.modbus.pdu import Read, ReadBits
from twin.clock import MS, Clock, Ns, S
from twin.devices import Mirrored, ModbusDevice
from twin.factory import Factory
from twin.maps import MapError, Mapped
from twin.trace import Sample

GOLDEN = 0.6180339887498949
"""Phases are multiples of it modulo 1: however many units there are, they lie nearly evenly over a period.

In factory time there is nothing to spread, and each instant costs all that live in it: everybody is asked at the core's beat.
"""
CONNECTS = Ns(2 * MS)
"""Between the first attempts of two lines."""
MISTAKEN = Ns(10 * S)
"""After a mistake of ours a line is not opened again before this."""


class Fieldbus:
    """Reads every Modbus device of a factory at its Maps' periods, and writes to them.

    Args:
        folder: the core's state folder, where virtual serial lines have theirs in `nodes`.
    """

    def __init__(self, factory: Factory, folder: Path, clock: Clock) -> None:
        self._clock, self._wheel = clock, Wheel(clock)
        warm()  # now, not within a scan
        machines = [m for m in factory.mirrored.values() if isinstance(factory.devices[m.node].reached, ModbusDevice)]
        windows: dict[str, int] = {}
        for machine in machines:
            windows[machine.node] = min(machine.map.pipeline, windows.get(machine.node, machine.map.pipeline))
        devices = [device for name, device in factory.devices.items() if name in windows]
        self._channels = channels(devices, windows, clock, self._wheel, folder)
        self._tallies = {name: Tally() for name in windows}
        self._units: dict[str, dict[int, Unit]] = {name: {} for name in windows}
        self._rounds: dict[tuple[str, int, int], Round] = {}
        self._readings: dict[str, Reading] = {}
        self._writers: dict[str, Writer] = {}
        self._surveys: dict[str, Survey] = {}
        self._recipes: dict[int, Recipe] = {}  # by a Block of a plan that is kept
        self._plans: dict[tuple[int, int, Costs], Plan] = {}
        self._start: Ns | None = None
        for machine in machines:
            self._add(machine)

    def _add(self, machine: Mirrored) -> None:
        channel = self._channels[machine.node][0]
        map_ = machine.map
        reading = self._readings[machine.name] = Reading(machine.name, map_.status, map_.read, channel)
        if not map_.sunspec:
            try:
                self._settle(machine, map_.signals)
            except MapError as impossible:
                reading.why = str(impossible)
            return
        unit = self._unit(machine.node, machine.unit)

        def settle(rows: Sequence[Mapped], lost: Collection[str]) -> None:
            self._settle(machine, rows, lost)
            now = self._clock.now()
            for round_ in dict.fromkeys(page.round for page in reading.pages):
                round_.found(now)

        self._surveys[machine.name] = Survey(map_, reading, unit, channel, settle)

    def _settle(self, machine: Mirrored, rows: Sequence[Mapped], lost: Collection[str] = ()) -> None:
        """Plan a machine's reads, now that its places are known."""
        channel, costs = self._channels[machine.node]
        reading = self._readings[machine.name]
        by_name = {row.name: row for row in rows}
        read = [row for row in rows if row.readable]
        reading.places(read, by_name)
        gone = {i for i, row in enumerate(read) if row.name in lost}

        def replan(refused: Collection[int]) -> None:
            self._lay(machine, plan(machine.map, machine.unit, costs, read, gone | set(refused)))

        reading.replan = replan
        if machine.map.sunspec:
            replan(())
        else:
            self._lay(machine, self._plan(machine, costs, read), shared=True)
        there = {name: row for name, row in by_name.items() if name not in lost}
        self._writers[machine.name] = Writer(machine.map, there, channel, machine.unit, self._clock)

    def _lay(self, machine: Mirrored, planned: Plan, shared: bool = False) -> None:
        """Make a machine's Pages of a plan; `shared`: with all machines of its Map."""
        reading = self._readings[machine.name]
        for (number, scan), blocks in planned.items():
            round_ = self._round(machine, number, machine.map.classes[scan])
            self._probe(round_.unit, blocks)
            for block in blocks:
                page = Page(reading, round_, block, self._recipe(block, reading) if shared else None)
                reading.watch(page)
                round_.add(page, now=False)

    def _plan(self, machine: Mirrored, costs: Costs, read: Sequence[Mapped]) -> Plan:
        """Machines of one Map have one plan, unless each device says where things lie."""
        key = id(machine.map), machine.unit, costs
        if key not in self._plans:
            self._plans[key] = plan(machine.map, machine.unit, costs, read)
        return self._plans[key]

    def _recipe(self, block: Block, reading: Reading) -> Recipe:
        if id(block) not in self._recipes:
            self._recipes[id(block)] = Recipe(block, reading.rows, reading.by_name)
        return self._recipes[id(block)]

    def _unit(self, device: str, number: int) -> Unit:
        return self._units[device].setdefault(number, self._channels[device][0].unit(number))

    def _round(self, machine: Mirrored, number: int, period_ms: int) -> Round:
        key = machine.node, number, period_ms
        if key not in self._rounds:
            channel = self._channels[machine.node][0]
            unit = self._unit(machine.node, number)
            made = Round(channel, unit, Ns(period_ms * MS), self._tallies[machine.node])
            self._rounds[key] = made
            if self._start is not None:
                self._begin(len(self._rounds), made, self._clock.now())
        return self._rounds[key]

    def _begin(self, number: int, round_: Round, now: Ns) -> None:
        round_.unit.period = min(round_.unit.period, round_.period or S)
        share = 0.0 if isinstance(self._clock, FactoryClock) else number * GOLDEN % 1.0
        round_.start(Ns(now + int(share * round_.period)))

    def _probe(self, unit: Unit, blocks: Sequence[Block]) -> None:
        """The smallest thing that a unit can be asked for is its probe."""
        for block in blocks:
            atom = min(block.atoms, key=lambda a: a.end - a.first)
            if unit.probe is None or atom.end - atom.first < unit.probe.request.count:  # type: ignore[attr-defined]
                kind, function = (ReadBits if block.table.bits else Read), block.request.function
                unit.probe = Ask(unit.number, kind(atom.first, atom.end - atom.first, function), _nothing)

    async def run(self) -> None:
        """Keep all devices connected and scanned until cancelled."""
        self._start = self._clock.now()
        self._wheel.start()
        for number, round_ in enumerate(list(self._rounds.values())):
            self._begin(number, round_, self._start)
        try:
            async with asyncio.TaskGroup() as tasks:
                for number, channel in enumerate(dict.fromkeys(channel for channel, _ in self._channels.values())):
                    if isinstance(channel.line, TcpLine):
                        channel.line.delay = Ns(number * CONNECTS)
                        channel.line.eager = Ns(min((u.period for u in channel.units.values()), default=S) // 2)
                    tasks.create_task(self._keep(channel))
        finally:
            self._wheel.stop()
            self._start = None

    async def _keep(self, channel: Channel) -> None:
        """Run one line until cancelled.

        The only place where everything is caught: whatever a library or we ourselves did not foresee of one line would else end
        the scans of all devices, and with them the core. It is told as the line's cause, and the line is opened again.
        """
        while True:
            try:
                await channel.line.run()
            except Exception as mistake:
                channel.line.up, channel.line.cause = False, f"stopped by a mistake: {mistake!r}"
                channel.lost(channel.line.cause, self._clock.now())
            await self._clock.until(Ns(self._clock.now() + MISTAKEN))

    def take(self) -> Mapping[str, Sample[Any]]:
        """The latest Sample of each machine that has a new one since this was asked last."""
        now = self._clock.now()
        return {n: sample for n, reading in self._readings.items() if (sample := reading.take(now)) is not None}

    def link(self, device: str) -> str:
        """Why a device cannot be reached; empty when it can. A gateway can be while one of its units answers."""
        if device not in self._channels:
            return "no machine of the factory is on it"
        channel = self._channels[device][0]
        if not channel.line.up and channel.down:
            return channel.down
        silent = [unit.silent for unit in self._units[device].values()]
        return silent[0] if silent and all(silent) else channel.mute

    def counts(self, device: str) -> Counts:
        """What has happened with it."""
        if device not in self._channels:
            return Counts()
        tally, units = self._tallies[device], self._units[device].values()
        return Counts(
            tally.scans,
            tally.skipped,
            sum(unit.timeouts for unit in units),
            sum(unit.refused for unit in units),
            max((unit.round_trip.p99 for unit in units), default=0) / MS,
            tally.late.p99 / MS,
        )

    async def write(self, machine: str, signal: str, value: Any) -> Written:
        """Write a Signal's value [SI] once, and read it back."""
        writer = self._writers.get(machine)
        if writer is None:
            return Written(Outcome.REFUSED, f"nothing was sent: {self._readings[machine].why}")
        return await writer.write(signal, value)

    async def call(self, machine: str, method: str, arguments: Mapping[str, Any]) -> Written:
        """A Modbus device has no methods."""
        return Written(Outcome.REFUSED, f"{machine} speaks Modbus and has no method {method!r}")


def _nothing(ask: Ask, reply: object, now: Ns) -> None:
    """A probe's reply has said all by coming."""
