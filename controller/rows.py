"""What the Feed shows: rows of the Image and of the orders. Only rows that have changed are made."""

from collections.abc import Iterable, Sequence
from typing import Any

from controller.devices import Devices
from controller.feed import FeedSignal, Row
from controller.image import Image
from controller.orders.order import OperationState, Order
from controller.orders.turn import Orders
from controller.scan import State
from controller.setpoints import Setpoints
from controller.times import Lateness
from twin.clock import Ns, S
from twin.factory import Factory, Machine
from twin.node import JobState, NodeStatus
from twin.trace import GOOD, Belief, Quality, Sample

START = Ns(0)
QUALITY = {Quality.GOOD: 0, Quality.STALE: 1, Quality.BAD: 2}


class Rows:
    """Remembers what was shown last.

    Args:
        late: how late the core's scans began.
        setpoints: what people have set.
    """

    def __init__(
        self,
        factory: Factory,
        signals: Sequence[FeedSignal],
        devices: Devices | None = None,
        late: Lateness | None = None,
        setpoints: Setpoints | None = None,
    ) -> None:
        self._factory, self._every, self._late, self._setpoints = factory, devices, late, setpoints
        self._blocks: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for index, signal in enumerate(signals):
            self._blocks.setdefault((signal.owner, signal.group), []).append((index, signal.name))
        self._at = {signal.path: index for index, signal in enumerate(signals)}
        self._samples: dict[tuple[str, str], Sample[Any]] = {}
        self._shown: dict[int, tuple[Any, int, str]] = {}
        self._counted: dict[str, Ns] = {}
        self._writes = self._sets = -1
        self._now = Ns(0)

    def update(self, image: Image, state: State, utc_ns: int, now: Ns = START, book: str = "") -> list[Row]:
        """The rows that differ from what was shown before.

        Args:
            utc_ns, now: in UTC and by the core's clock.
            book: why nothing can be written down; empty when it can.
        """
        made: list[Row] = []
        self._now = now
        for name in self._factory.machines:
            self._record(made, (name, "status"), image.machine(name))
            self._record(made, (name, "command"), image.command(name))
        for machine in self._factory.machines.values():
            if machine.type.show is not None:
                self._show(made, machine, image.machine(machine.name))
        for machine in self._factory.machines.values():
            if (machine.name, "job") in self._blocks:
                self._job(made, machine, image, state.orders, utc_ns)
        for node in self._factory.nodes:
            self._record(made, (f"node:{node}", "status"), image.node(node))
            link = {"link": str(state.stands[node])} if node in state.stands else {"link": ""}
            self._values(made, (f"node:{node}", "link"), link, utc_ns)
        for name, sample in image.mirrored.items():
            self._record(made, (name, "status"), sample)
        if self._every is not None:
            self._devices(made, self._every, utc_ns)
        if self._setpoints is not None and self._sets != self._setpoints.changes:
            self._sets = self._setpoints.changes
            for name, values in self._setpoints.values.items():
                self._values(made, (name, "setpoint"), values, utc_ns)
        self._values(made, ("factory", "order"), _newest(state.orders), utc_ns)
        self._values(made, ("factory", "book"), {"state": book or "open"}, utc_ns)
        if self._late is not None and self._due("factory"):
            self._values(made, ("factory", "scan"), self._late.told(), utc_ns)
        return made

    def _due(self, of: str) -> bool:
        """Whether counters that always change are shown again: once a second."""
        if self._now - self._counted.get(of, Ns(-S)) < S:
            return False
        self._counted[of] = self._now
        return True

    def _devices(self, made: list[Row], devices: Devices, utc_ns: int) -> None:
        """How the devices are reached, and what became of what was written to the machines on them."""
        for name in self._factory.devices:
            self._values(made, (f"node:{name}", "link"), {"link": devices.link(name)}, utc_ns)
            if self._due(name):
                counts = devices.counts(name)  # its percentiles cost something: never at every beat
                told = {field: getattr(counts, field) for field in ("scans", "skipped", "timeouts", "refused")}
                told |= {"round_trip": counts.round_trip_ms / 1000, "late": counts.late_ms / 1000}
                self._values(made, (f"node:{name}", "counts"), told, utc_ns)
        if self._writes == devices.changes:
            return
        self._writes = devices.changes
        for machine in self._factory.mirrored.values():
            if machine.map.written:
                keys = [(machine.name, row.name) for row in machine.map.written]
                texts = {key[1]: str(devices.writes.get(key, "")) for key in keys}
                self._values(made, (machine.name, "write"), texts, utc_ns)
                self._values(made, (machine.name, "command"), {key[1]: devices.written.get(key) for key in keys}, utc_ns)

    def _record(self, made: list[Row], block: tuple[str, str], sample: Sample[Any]) -> None:
        before = self._samples.get(block)
        self._samples[block] = sample
        same = before is not None and before.status is sample.status and before.every == sample.every
        if same and before is not None and before.doubts == sample.doubts:
            return
        status = sample.status
        for index, name in self._blocks.get(block, ()):
            value = None if status is None else getattr(status, name)
            self._put(made, index, value, sample.belief(name), sample.times.get(name, sample.utc_ns), *_when(sample)[1:])

    def _show(self, made: list[Row], machine: Machine, sample: Sample[Any]) -> None:
        """What a machine's type tells beside its registers."""
        show, shown = machine.type.show, machine.type.shown
        values = (None,) * len(shown) if sample.status is None or show is None else show(sample.status, machine.params)
        for one, value in zip(shown, values, strict=True):
            self._put(made, self._at[f"{machine.name}/{one.group}/{one.name}"], value, sample.every, *_when(sample))

    def _values(self, made: list[Row], block: tuple[str, str], values: dict[str, Any], utc_ns: int, doubt: Belief = GOOD) -> None:
        for index, name in self._blocks.get(block, ()):
            self._put(made, index, values[name], doubt, utc_ns, self._now)

    def _put(self, made: list[Row], index: int, value: Any, belief: Belief, *when: int) -> None:
        shown = (value, QUALITY[belief.quality], belief.cause)
        if self._shown.get(index) != shown:
            self._shown[index] = shown
            made.append(Row(index, *shown, *when))

    def _job(self, made: list[Row], machine: Machine, image: Image, orders: Orders, utc_ns: int) -> None:
        node = image.node(machine.node)
        values = job_values(machine, node.status, _last_on(machine.name, orders.open.values()))
        self._values(made, (machine.name, "job"), values, utc_ns, node.every if node.status is not None else GOOD)


def _when(sample: Sample[Any]) -> tuple[int, int, int, int]:
    """When a Sample was true: UTC, the core's clock, and the node's: which start, and its uptime [ms]."""
    stamp = sample.stamp
    return (sample.utc_ns, sample.at, 0, 0) if stamp is None else (sample.utc_ns, sample.at, stamp.boot, stamp.uptime_ms)


def _last_on(machine: str, orders: Iterable[Order]) -> tuple[Order, int] | None:
    """The newest order that has been on a machine, and the index of its operation there."""
    found = None
    for order in orders:
        for index, operation in enumerate(order.operations):
            if operation.machine == machine:
                found = order, index
    return found


def job_values(machine: Machine, status: NodeStatus | None, last: tuple[Order, int] | None) -> dict[str, Any]:
    """What is shown of a machine's Job."""
    if last is None:
        state = JobState.NONE if status is None else status.job_state
        return {"program": "", "state": state.name, "progress": 0.0, "time_left": 0.0, "duration": 0.0, "order": ""}
    order, operation = last[0], last[0].operations[last[1]]
    played = status.job_chunks if status is not None and status.job_id == operation.job_id else 0
    progress = min(1.0, played / operation.chunks) if operation.chunks else 0.0
    left = (1.0 - progress) * operation.duration + (operation.waiting if not played else 0.0)
    if operation.state is OperationState.DONE:
        progress = 1.0
    if operation.state in (OperationState.DONE, OperationState.HELD, OperationState.CANCELLED):
        left = 0.0
    return {
        "program": order.program if operation.capability in machine.type.programs else operation.capability,
        "state": _job_state(operation.state, status),
        "progress": progress,
        "time_left": left,
        "duration": operation.duration,
        "order": str(order.id),
    }


def _job_state(state: OperationState, status: NodeStatus | None) -> str:
    if state is not OperationState.RUNNING or status is None:
        return state.value
    if status.job_state is JobState.HOLDING:
        return "HOLDING"
    return "HOMING" if status.homing else "HEATING" if status.heater_wait else state.value


def _newest(orders: Orders) -> dict[str, Any]:
    newest = orders.newest
    if newest is None:
        return {"id": "", "state": "", "operation": "", "reason": ""}
    now = newest.current
    return {"id": str(newest.id), "state": newest.state.value, "operation": now.capability, "reason": now.reason}
