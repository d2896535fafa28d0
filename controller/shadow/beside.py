"""The twin beside reality: what the Feed tells in, residuals and Events out. Time is the nodes' own, as the Feed carries it.

Nothing here is ever commanded, and nothing but finite numbers leaves: a twin that has lost its way begins anew from what is
reported.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.feed import FeedSignal, Row, Told
from controller.shadow.plans import Plan
from twin.clock import MS, Ns, ns
from twin.devices import Mirrored
from twin.factory import Factory, Machine
from twin.followed import POSE, REACH, compared, followed
from twin.machine import Joint
from twin.node import JobState
from twin.reached import NO_ZERO, Zero, reached
from twin.residual import Residual, Seen, beside_of
from twin.trace import Event
from twin.wire import layout

BEGINNING = Ns(0)
LONGEST_GAP = ns(3.0)
"""Between two reports; after a longer one the twin begins anew. Three scans of a slow line are allowed in any case."""
BACK = 0.8
"""Of the bound: below it a residual is within again, so that noise at the bound makes no stream of Events."""
FINEST = 0.005
"""Of the bound: a residual that changes by less is not told again."""
PLAYS = (JobState.RUNNING, JobState.DONE)


@dataclass(frozen=True, slots=True)
class ResidualBeyond(Event):
    """A machine has been further from its twin than the bound allows, for longer than it allows. In the Signal's own unit."""

    signal: str
    residual: float
    bound: float
    unit: str


@dataclass(frozen=True, slots=True)
class ResidualWithin(Event):
    """It is near its twin again."""

    signal: str
    residual: float
    bound: float
    unit: str


@dataclass(frozen=True, slots=True)
class Out:
    """One row to be brought."""

    path: str
    value: float | None
    quality: int
    cause: str
    utc_ns: int


@dataclass(slots=True)
class _Watch:
    """One Residual of a machine: what was told of it, and since when it has been beyond its bound."""

    residual: Residual
    path: str
    value: float | None = None
    quality: int = -1
    cause: str = ""
    beyond_at: Ns | None = None
    beyond: bool = False

    def told(self, machine: str, value: float, at: Ns, utc_ns: int) -> tuple[list[Out], list[Event]]:
        """A new value, at a time of its node's."""
        events: list[Event] = []
        bound = self.residual.bound
        unit, size = self.residual.unit.symbol, self.residual.unit.of
        facts = (machine, self.residual.name, round(size(value), 4), round(size(bound), 4), unit)
        if abs(value) > bound:
            self.beyond_at = at if self.beyond_at is None else self.beyond_at
            if not self.beyond and at - self.beyond_at >= ns(self.residual.after_s):
                self.beyond = True
                events.append(ResidualBeyond(*facts))
        elif abs(value) <= BACK * bound:
            self.beyond_at = None
            if self.beyond:
                self.beyond = False
                events.append(ResidualWithin(*facts))
        if self.quality == 0 and self.value is not None and abs(value - self.value) < FINEST * bound:
            return [], events
        return self._row(value, 0, "", utc_ns), events

    def silent(self, quality: int, cause: str, utc_ns: int) -> list[Out]:
        """There is nothing to compare; what was told last is no longer believed."""
        self.beyond_at = None
        return [] if (self.quality, self.cause) == (quality, cause) else self._row(self.value, quality, cause, utc_ns)

    def _row(self, value: float | None, quality: int, cause: str, utc_ns: int) -> list[Out]:
        self.value, self.quality, self.cause = value, quality, cause
        return [Out(self.path, value, quality, cause, utc_ns)]


@dataclass(slots=True)
class _Beside:
    """One machine and its twin.

    Attributes:
        state: of the twin; None before it begins.
        at: of the last report, by the node's clock; boot: which of its starts.
    """

    machine: Machine
    face: Any
    physics: Any
    watches: dict[str, _Watch]
    status: dict[str, Row] = field(default_factory=dict)
    command: dict[str, Row] = field(default_factory=dict)
    state: Any = None
    at: Ns = BEGINNING
    boot: int = 0

    def record(self, kind: type, rows: Mapping[str, Row]) -> tuple[Any, str]:
        """A Status or Command of the latest rows, or why there is none."""
        values = {}
        for signal in layout(kind).signals:
            row = rows.get(signal.name)
            if row is None or row.value is None:
                return None, "not reported yet"
            if row.quality:
                return None, row.cause or "not Good"
            values[signal.name] = signal.type(row.value)
        return kind(**values), ""


class Shadow:
    """All twins of a factory.

    Args:
        physics: of each machine, calibrated or not; what an arm that is not ours has in its place.
        plan: of a machine's Job by its id; None where nobody knows.
    """

    def __init__(
        self,
        factory: Factory,
        signals: Sequence[FeedSignal],
        physics: Mapping[str, Any],
        plan: Callable[[Machine, int], Plan | None] = lambda machine, job: None,
    ) -> None:
        self._signals, self._plan = signals, plan
        self._besides: dict[str, _Beside] = {}
        self._on: dict[str, list[_Beside]] = {}
        self._nodes: dict[str, dict[str, Row]] = {name: {} for name in factory.nodes}
        self._gaps = {name: Ns(max(LONGEST_GAP, 3 * node.scan_ms * MS)) for name, node in factory.nodes.items()}
        for machine in factory.machines.values():
            face = beside_of(machine.type.package) if machine.type.residuals is not None else None
            if face is None or machine.type.residuals is None:
                continue
            watches = {r.name: _Watch(r, f"{machine.name}/residual/{r.name}") for r in machine.type.residuals(machine.params)}
            made = self._besides[machine.name] = _Beside(machine, face, physics[machine.name], watches)
            self._on.setdefault(machine.node, []).append(made)
        self._arms = {
            name: _Arm(machine, physics.get(name, NO_ZERO)) for name, machine in factory.mirrored.items() if followed(machine)
        }
        self.rows: list[Out] = []
        self.events: list[Told] = []

    @property
    def blocks(self) -> tuple[str, ...]:
        """What it brings."""
        wanted = [f"{name}/residual" for name in self._besides]
        for name, arm in self._arms.items():
            wanted += [f"{name}/twin", *([f"{name}/residual"] if compared(arm.machine) else [])]
        return tuple(wanted)

    def take(self, rows: Iterable[Row]) -> None:
        """A publication's rows. What follows of them is in `rows` and `events`, until they are taken from there."""
        scanned: dict[str, Row] = {}
        arms: dict[str, Row] = {}
        for row in rows:
            signal = self._signals[row.index]
            owner, group, name = signal.owner, signal.group, signal.name
            if owner in self._besides and group in ("status", "command"):
                (self._besides[owner].status if group == "status" else self._besides[owner].command)[name] = row
            elif owner in self._arms and group == "status":
                self._arms[owner].values[name] = row
                arms[owner] = row
            elif owner.startswith("node:") and group == "status" and (node := owner[5:]) in self._nodes:
                self._nodes[node][name] = row
                if name == "uptime":
                    scanned[node] = row
        for node, row in scanned.items():
            for beside in self._on.get(node, ()):
                self._advance(beside, node, row)
        for name, row in arms.items():
            self._reach(name, self._arms[name], row)

    def know(self, machine: str, physics: Any) -> None:
        """Step a machine's twin with another physics from now on."""
        if machine in self._besides:
            self._besides[machine].physics, self._besides[machine].state = physics, None
        elif machine in self._arms:
            self._arms[machine].zero = physics

    # ---- a machine of ours

    def _advance(self, beside: _Beside, node: str, row: Row) -> None:
        at, boot = Ns((row.node_ms or int(row.value or 0)) * MS), row.boot
        status, why = beside.record(beside.machine.type.status, beside.status)
        if row.quality or status is None:
            for watch in beside.watches.values():
                self.rows += watch.silent(1, row.cause or f"{beside.machine.name}: {why}", row.utc_ns)
            return
        seen = self._seen(beside, node, status)
        elapsed = at - beside.at
        if beside.state is None or boot != beside.boot or not 0 <= elapsed <= self._gaps[node]:
            beside.state = beside.face.start(beside.machine.params, beside.physics, seen)
        else:
            beside.state = beside.face.step(beside.state, beside.machine.params, seen, Ns(elapsed))
        beside.at, beside.boot = at, boot
        self._tell(beside, beside.face.told(beside.state, beside.machine.params, seen), row)

    def _tell(self, beside: _Beside, told: Mapping[str, tuple[float, float]], row: Row) -> None:
        name = beside.machine.name
        for signal, watch in beside.watches.items():
            if signal not in told:
                self.rows += watch.silent(1, "nothing to compare now", row.utc_ns)
                continue
            residual = told[signal][0] - told[signal][1]
            if not math.isfinite(residual):
                beside.state = None
                self.rows += watch.silent(2, "the twin has lost its way and begins anew", row.utc_ns)
                continue
            rows, events = watch.told(name, residual, beside.at, row.utc_ns)
            self.rows += rows
            self.events += [_told(event, row) for event in events]

    def _seen(self, beside: _Beside, node: str, status: Any) -> Seen:
        machine = beside.machine
        command, _ = beside.record(machine.type.command, beside.command)
        rows = self._nodes[node]
        homed = bool(_value(rows, "homed")) and not _value(rows, "homing")
        if machine.type.limits is None or not homed:
            return Seen(status, command, homed)
        state, job = _value(rows, "job_state"), _value(rows, "job_id")
        plan = self._plan(machine, int(job)) if job and state in PLAYS else None
        if plan is None:
            return Seen(status, command, homed)
        axes = tuple(float(getattr(status, name)) for name in _axes(machine))
        return Seen(status, command, homed, plan.expected(int(_value(rows, "job_chunks") or 0), axes))

    # ---- an arm that is not ours

    def _reach(self, name: str, arm: "_Arm", row: Row) -> None:
        values = {signal: one.value for signal, one in arm.values.items() if not one.quality}
        found = reached(arm.machine, values, arm.zero)
        cause = "" if found is not None else "its joints are not reported"
        for k, (signal, _, _) in enumerate(POSE):
            self.rows += arm.pose(f"{name}/twin/{signal}", None if found is None else found[0][k], cause, row.utc_ns)
        if not compared(arm.machine):
            return
        if found is None or found[1] is None or not math.isfinite(found[1]):
            self.rows += arm.watch.silent(1, cause or "its tool's place is not reported", row.utc_ns)
            return
        rows, events = arm.watch.told(name, found[1], Ns(row.at_ns or row.utc_ns), row.utc_ns)
        self.rows += rows
        self.events += [_told(event, row) for event in events]


@dataclass(slots=True)
class _Arm:
    """An arm that is not ours, and what was told of it."""

    machine: Mirrored
    zero: Zero
    values: dict[str, Row] = field(default_factory=dict)
    watch: _Watch = field(init=False)
    shown: dict[str, tuple[float | None, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watch = _Watch(REACH, f"{self.machine.name}/residual/{REACH.name}")

    def pose(self, path: str, value: float | None, cause: str, utc_ns: int) -> list[Out]:
        """A row of its tool's place, where it has changed."""
        if value is not None and not math.isfinite(value):
            value, cause = None, "its joints make no pose"
        if self.shown.get(path) == (value, cause):
            return []
        self.shown[path] = (value, cause)
        return [Out(path, value, 1 if cause else 0, cause, utc_ns)]


def _axes(machine: Machine) -> tuple[str, ...]:
    """The Signals of a machine's planned axes, in the Job's order."""
    if machine.type.steps is not None:
        return tuple(block.axis for block in machine.type.blocks if isinstance(block, Joint))
    return ("x", "y", "z")


def _value(rows: Mapping[str, Row], name: str) -> Any:
    row = rows.get(name)
    return None if row is None or row.quality else row.value


def _told(event: Event, row: Row) -> Told:
    fields = {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "subject"}
    return Told(row.utc_ns, type(event).__name__, event.subject, fields, row.at_ns)
