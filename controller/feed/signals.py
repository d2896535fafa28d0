"""Which values the Feed carries, in which order: read off the factory by both sides."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from twin.devices import Mirrored
from twin.factory import Factory
from twin.followed import POSE, REACH, compared, followed
from twin.machine import settable
from twin.node import NodeStatus
from twin.residual import Residual
from twin.units import MS, ONE, PERCENT, S, Unit
from twin.wire import Layout, Range, layout


@dataclass(frozen=True, slots=True)
class FeedSignal:
    """One value in the Feed.

    Attributes:
        path: unique: owner/group/name, or owner/name.
        owner: a machine, `node:NAME` or `factory`.
        group: status, command, job, link, order, or one of a machine type's own.
        type: bool, int, float, str or an IntEnum. Values travel in SI.
    """

    path: str
    owner: str
    group: str
    name: str
    type: type
    unit: Unit
    range: Range | None
    text: str

    def describe(self) -> str:
        """One canonical line; the schema's hash is made of these."""
        limits = f" [{self.range.low:g}, {self.range.high:g}]" if self.range else ""
        return f"{self.path} {self.group} {self.type.__name__} {self.unit.code}{limits}"


_JOB: tuple[tuple[str, tuple[type, Unit, Range | None, str]], ...] = (
    ("program", (str, ONE, None, "name of the program in work; of a Job that has none, what it is for")),
    ("state", (str, ONE, None, "where its Job stands")),
    ("progress", (float, PERCENT, Range(0, 1), "share of the Job's motion that has been carried out")),
    ("time_left", (float, S, None, "estimate until the Job is done")),
    ("duration", (float, S, None, "planned motion, without heating and homing")),
)
_ORDER = (
    ("id", "number of the newest order"),
    ("state", "where it stands"),
    ("operation", "what it is at"),
    ("reason", "why it is held or waits"),
)


_COUNTS: tuple[tuple[str, type, Unit, str], ...] = (
    ("scans", int, ONE, "blocks read since start"),
    ("skipped", int, ONE, "scans that were late by more than a period, or that a silent unit was spared"),
    ("timeouts", int, ONE, "requests without a reply in time"),
    ("refused", int, ONE, "requests that were answered with an exception"),
    ("round_trip", float, MS, "of a request; 99 of 100 are faster"),
    ("late", float, MS, "how late a scan begins; 99 of 100 are earlier"),
)
_SCAN: tuple[tuple[str, type, Unit, str], ...] = (
    ("scans", int, ONE, "since the core's start"),
    ("late", float, MS, "how late the last 600 began; 99 of 100 were earlier"),
    ("late_p99", float, MS, "the same of all since the core's start"),
    ("late_most", float, MS, "the latest of them"),
)
_SET = "what people have set; where nobody has, as the factory file has it"
_HISTORY: tuple[tuple[str, type, Unit, str], ...] = (
    ("state", str, ONE, "how History stands: recording, shedding or stopped, and why"),
    ("until", float, S, "up to when all is safe from a power cut, UTC since 1970"),
    ("samples", int, ONE, "kept since its process was started"),
    ("lost", int, ONE, "rows that came faster than they were taken"),
    ("bytes", int, ONE, "that it takes on disk"),
)


def feed_signals(factory: Factory) -> tuple[FeedSignal, ...]:
    """All Signals of a factory's Feed; a row's index is the place in here."""
    found: list[FeedSignal] = []
    for machine in factory.machines.values():
        status, command = machine.type.layouts
        found += _of_record(machine.name, "status", status) + _of_record(machine.name, "command", command)
        name = machine.name
        shown = machine.type.shown
        found += [FeedSignal(f"{name}/{s.group}/{s.name}", name, s.group, s.name, float, s.unit, None, s.text) for s in shown]
        if machine.type.limits is not None:
            found += [FeedSignal(f"{name}/job/{s}", name, "job", s, *rest) for s, rest in _JOB]
            found.append(FeedSignal(f"{name}/order", name, "job", "order", str, ONE, None, "number of its order"))
        for s in settable(machine.type, machine.params):
            found.append(FeedSignal(f"{name}/setpoint/{s.name}", name, "setpoint", s.name, float, s.unit, s.range, _SET))
        if machine.type.residuals is not None:
            found += _residuals(name, machine.type.residuals(machine.params))
    for node in factory.nodes:
        owner = f"node:{node}"
        found += _of_record(owner, "status", layout(NodeStatus))
        found.append(FeedSignal(f"{owner}/link", owner, "link", "link", str, ONE, None, "whose the node is, and why"))
    for mirrored in factory.mirrored.values():
        found += _of_map(mirrored)
        if followed(mirrored):
            name = mirrored.name
            found += [FeedSignal(f"{name}/twin/{s}", name, "twin", s, float, unit, None, text) for s, unit, text in POSE]
            found += _residuals(name, (REACH,) if compared(mirrored) else ())
    for device in factory.devices:
        owner = f"node:{device}"
        found.append(FeedSignal(f"{owner}/link", owner, "link", "link", str, ONE, None, "whether it is reached, or why not"))
        found += [FeedSignal(f"{owner}/counts/{n}", owner, "counts", n, kind, unit, None, text) for n, kind, unit, text in _COUNTS]
    for group, ours in (("scan", _SCAN), ("history", _HISTORY)):
        found += [FeedSignal(f"factory/{group}/{n}", "factory", group, n, kind, unit, None, text) for n, kind, unit, text in ours]
    found.append(FeedSignal("factory/book/state", "factory", "book", "state", str, ONE, None, "open, or why it is shut"))
    found += [FeedSignal(f"factory/order/{s}", "factory", "order", s, str, ONE, None, text) for s, text in _ORDER]
    return tuple(found)


def _residuals(name: str, residuals: Iterable[Residual]) -> list[FeedSignal]:
    """What a machine reports less what its twin expects; beyond the Range is news."""
    return [
        FeedSignal(f"{name}/residual/{r.name}", name, "residual", r.name, float, r.unit, Range(-r.bound, r.bound), r.text)
        for r in residuals
    ]


def _of_record(owner: str, group: str, shape: Layout) -> list[FeedSignal]:
    return [FeedSignal(f"{owner}/{group}/{s.name}", owner, group, s.name, s.type, s.unit, s.range, s.text) for s in shape.signals]


def _of_map(machine: Mirrored) -> list[FeedSignal]:
    """What a machine that is none of ours shows: what is read, what was written last, and what became of it."""
    name = machine.name
    found = _of_record(name, "status", layout(machine.map.status)) + _of_record(name, "command", layout(machine.map.command))
    for row in machine.map.written:
        text = f"what became of the last write of {row.name}"
        found.append(FeedSignal(f"{name}/write/{row.name}", name, "write", row.name, str, ONE, None, text))
    return found


def schema_hash(signals: Iterable[FeedSignal]) -> str:
    """SHA-256 over the list of Signals: both sides must have the same."""
    return hashlib.sha256("\n".join(signal.describe() for signal in signals).encode()).hexdigest()
