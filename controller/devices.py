"""The machines that are none of ours, as the core has them: what is read of them, and what is asked of them.

A bus reaches some of them: Modbus devices by a scan engine in this process, OPC UA servers by a process of its own. What a
person wants of such a machine is written once and read back: see docs/explanations/commands-and-durability.md.
"""

import asyncio
import enum
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from controller.orders.order import OrderError, Why
from controller.orders.turn import Answer, Request
from twin.devices import Mirrored
from twin.factory import Factory
from twin.maps import Mapped, Method
from twin.trace import Event, Sample

MOST_WRITES = 256
KINDS = ("write", "call")


class Outcome(enum.StrEnum):
    """What became of a write or a call."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    MISMATCH = "mismatch"
    UNKNOWN = "unknown"


_WHY = {Outcome.REFUSED: Why.REFUSED, Outcome.MISMATCH: Why.MISMATCH, Outcome.UNKNOWN: Why.UNSURE}


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write or a call, and why; `result` is what a method gave back."""

    state: Outcome
    text: str = ""
    result: Any = None

    def __str__(self) -> str:
        return f"{self.state}: {self.text}" if self.text else self.state.value


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened with a device since start.

    Attributes:
        skipped: scans that were late by more than a period, or that the unit was not asked for because it is silent.
        round_trip_ms: of a request, 99 of 100 are faster.
        late_ms: how late a scan begins, 99 of 100 are earlier.
    """

    scans: int = 0
    skipped: int = 0
    timeouts: int = 0
    refused: int = 0
    round_trip_ms: float = 0.0
    late_ms: float = 0.0


class Bus(Protocol):
    """What reaches some of the machines."""

    async def run(self) -> None:
        """Keep what is read of them up to date until cancelled."""
        ...

    def take(self) -> Mapping[str, Sample[Any]]:
        """The latest Sample of each machine that has a new one since this was asked last."""
        ...

    def link(self, device: str) -> str:
        """Why a device cannot be reached; empty when it can."""
        ...

    def counts(self, device: str) -> Counts:
        """What has happened with it."""
        ...

    async def write(self, machine: str, signal: str, value: Any) -> Written:
        """Write a Signal's value [SI] once, and read it back."""
        ...

    async def call(self, machine: str, method: str, arguments: Mapping[str, Any]) -> Written:
        """Call a method once."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceWritten(Event):
    """What became of a write to a machine that is none of ours; the value in SI."""

    signal: str
    value: bool | int | float | str
    outcome: str
    text: str
    user: str


@dataclass(frozen=True, slots=True)
class DeviceCalled(Event):
    """What became of a call of one of its methods."""

    method: str
    outcome: str
    text: str
    user: str


@dataclass(frozen=True, slots=True)
class DeviceStands(Event):
    """Whether a device can be reached; an empty cause: it can."""

    cause: str


class Devices:
    """All buses together.

    Attributes:
        writes: what became of the last write of each Signal, by machine and Signal.
        changes: how often `writes` or `written` have changed.
        written: the value that each Signal was last confirmed to have by us [SI].

    Args:
        buses: by the name of the device that each one reaches.
        answer: takes the answer to a request.
        before: is awaited with a request before anything is sent; raises OrderError where it cannot be written down.
        after: is told what became of it.
    """

    def __init__(
        self,
        factory: Factory,
        buses: Mapping[str, Bus],
        answer: Callable[[Answer], None],
        before: Callable[[Request], Awaitable[None]] | None = None,
        after: Callable[[Request, Written], None] | None = None,
    ) -> None:
        self._factory, self._buses, self._answer = factory, buses, answer
        self._before, self._after = before, after
        self._every = tuple(dict.fromkeys(buses.values()))
        self._events: list[Event] = []
        self._links: dict[str, str] = dict.fromkeys(buses, "not reached yet")
        self._going: set[asyncio.Task[None]] = set()
        self.changes = 0
        self._writable = {(m.name, row.name) for m in factory.mirrored.values() for row in m.map.written}
        self.writes: dict[tuple[str, str], Written] = {}
        self.written: dict[tuple[str, str], Any] = {}

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Let every bus run in a group."""
        for bus in self._every:
            tasks.create_task(bus.run())

    def take(self) -> dict[str, Sample[Any]]:
        """The latest Sample of each machine that has a new one."""
        return {name: sample for bus in self._every for name, sample in bus.take().items()}

    def events(self) -> list[Event]:
        """What has happened since this was asked last."""
        for name, bus in self._buses.items():
            if (cause := bus.link(name)) != self._links[name]:
                self._links[name] = cause
                self._events.append(DeviceStands(name, cause))
        found, self._events = self._events, []
        return found

    def link(self, device: str) -> str:
        """What people are shown of a device's link."""
        cause = self._buses[device].link(device)
        return f"lost: {cause}" if cause else "up"

    def counts(self, device: str) -> Counts:
        """What has happened with a device."""
        return self._buses[device].counts(device)

    def ask(self, tasks: asyncio.TaskGroup, request: Request) -> None:
        """Take a request of one of KINDS on; it is answered when its outcome is known, or at once where it is refused."""
        try:
            machine = self._machine(request)
            if len(self._going) >= MOST_WRITES:
                raise OrderError(f"{len(self._going)} writes are under way already: try again later", Why.BUSY)
            work = self._write(machine, request) if request.kind == "write" else self._call(machine, request)
        except OrderError as refused:
            self._answer(Answer(request.id, False, str(refused), None, refused.why))
            return
        task = tasks.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    def _machine(self, request: Request) -> Mirrored:
        name = request.args["machine"]
        found = self._factory.mirrored.get(name)
        if found is None:
            there = ", ".join(self._factory.mirrored) or "none"
            raise OrderError(f"{request.kind}: no machine {name!r} on a device; there are: {there}", Why.MISSING)
        return found

    async def _write(self, machine: Mirrored, request: Request) -> None:
        name = request.args["signal"]
        key = machine.name, name
        if (last := self.writes.get(key)) is not None and last.state is Outcome.PENDING:
            self._answer(Answer(request.id, False, f"{machine.name}/{name} is being written already", None, Why.BUSY))
            return
        try:
            value = value_of(machine, name, request.args["value"])
            self._note(key, Written(Outcome.PENDING))
            await self._noted(request)
        except OrderError as refused:
            self._note(key, Written(Outcome.REFUSED, str(refused)))
            self._answer(Answer(request.id, False, str(refused), None, refused.why))
            return
        done = await self._once(self._buses[machine.node].write(machine.name, name, value))
        if done.state is Outcome.CONFIRMED:
            self.written[key] = value
        self._note(key, done)
        self._events.append(DeviceWritten(machine.name, name, value, done.state, done.text, request.user))
        self._settle(request, done)

    async def _call(self, machine: Mirrored, request: Request) -> None:
        try:
            arguments = arguments_of(machine, request.args["method"], request.args["arguments"])
            await self._noted(request)
        except OrderError as refused:
            self._answer(Answer(request.id, False, str(refused), None, refused.why))
            return
        done = await self._once(self._buses[machine.node].call(machine.name, request.args["method"], arguments))
        self._events.append(DeviceCalled(machine.name, request.args["method"], done.state, done.text, request.user))
        self._settle(request, done)

    async def _once(self, asked: Coroutine[Any, Any, Written]) -> Written:
        """What became of it. A mistake of ours in a bus is told to the process and ends nothing else."""
        try:
            return await asked
        except Exception as broken:  # whatever a device or a Map has brought about: it may have been sent, so it is unknown
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a write to a device broke down", "exception": broken})
            return Written(Outcome.UNKNOWN, f"internal error: {type(broken).__name__}: {broken}")

    def _note(self, key: tuple[str, str], done: Written) -> None:
        """Remember what became of a write, of Signals that there are: a face may ask for any name."""
        if key in self._writable:
            self.writes[key] = done
            self.changes += 1

    async def _noted(self, request: Request) -> None:
        if self._before is not None:
            await self._before(request)

    def _settle(self, request: Request, done: Written) -> None:
        if self._after is not None:
            self._after(request, done)
        self._answer(Answer(request.id, done.state is Outcome.CONFIRMED, str(done), done.result, _WHY.get(done.state, "")))


def value_of(machine: Mirrored, name: str, given: Any) -> Any:
    """A value that somebody wants to write, in the declared unit, as the Signal's own in SI.

    Raises:
        OrderError: no such Signal, it cannot be written, wrong type, or outside its Range.
    """
    row: Mapped | None = next((row for row in machine.map.signals if row.name == name), None)
    if row is None or not row.writable:
        there = ", ".join(row.name for row in machine.map.written) or "none"
        raise OrderError(f"{machine.name} has no Signal {name!r} that can be written; there are: {there}", Why.MISSING)
    signal = row.signal
    if signal.type is bool or signal.type is str:
        if type(given) is not signal.type:
            raise OrderError(f"{machine.name}/{name} must be of type {signal.type.__name__}, not {given!r}", Why.ARGUMENT)
        return given
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not _finite(given):
        raise OrderError(f"{machine.name}/{name} must be a number, not {str(given)[:64]}", Why.ARGUMENT)
    if signal.type is not float and given != int(given):
        raise OrderError(f"{machine.name}/{name} must be a whole number, not {given!r}", Why.ARGUMENT)
    value = given * signal.size if signal.type is float else signal_type(signal.type, machine, name, int(given))
    if not _finite(value):
        raise OrderError(f"{machine.name}/{name}={given:g} is more than a number can be", Why.RANGE)
    if signal.range is not None and not signal.range.low <= value <= signal.range.high:
        limits = f"{signal.range.low / signal.size:g} to {signal.range.high / signal.size:g} {signal.unit.symbol}".rstrip()
        raise OrderError(f"{machine.name}/{name}={given:g} is outside {limits}", Why.RANGE)
    return value


def _finite(number: int | float) -> bool:
    """Whether a float can hold it; an int may be too large for one."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def signal_type(kind: type, machine: Mirrored, name: str, given: int) -> Any:
    """A whole number as a Signal's own type.

    Raises:
        OrderError: an enumeration has no such value.
    """
    try:
        return kind(given)
    except ValueError as unknown:
        there = ", ".join(f"{one.value} {one.name}" for one in kind) if issubclass(kind, enum.IntEnum) else kind.__name__
        raise OrderError(f"{machine.name}/{name}={given} is none of {there}", Why.RANGE) from unknown


def arguments_of(machine: Mirrored, name: str, given: Any) -> dict[str, Any]:
    """The arguments of a method, checked.

    Raises:
        OrderError: no such method, or not the arguments that it takes.
    """
    method: Method | None = next((m for m in machine.map.methods if m.name == name), None)
    if method is None:
        there = ", ".join(m.name for m in machine.map.methods) or "none"
        raise OrderError(f"{machine.name} has no method {name!r}; there are: {there}", Why.MISSING)
    wanted = dict(method.inputs)
    if not isinstance(given, dict) or set(given) != set(wanted):
        raise OrderError(f"{machine.name}/{name} takes {', '.join(wanted) or 'nothing'}", Why.ARGUMENT)
    for argument, value in given.items():
        number = isinstance(value, (int, float))
        fits = number if wanted[argument] is float else isinstance(value, wanted[argument])
        fits = fits and (not number or _finite(value))
        if not fits or (isinstance(value, bool) and wanted[argument] is not bool):
            text = f"{machine.name}/{name}: {argument} must be of type {wanted[argument].__name__}, not {value!r}"
            raise OrderError(text, Why.ARGUMENT)
    return given
