"""Looking things up in a Trace's series: where a value is asked for often, and in the order of time or not."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from hil.faults import KINDS, FaultOff, FaultOn
from twin.clock import Ns
from twin.fault import Subject
from twin.trace import Trace


class Held:
    """A Signal that keeps its value until the next one."""

    def __init__(self, trace: Trace, signal: str) -> None:
        found = list(trace.series.get(signal, ()))
        self._times = [time for time, _ in found]
        self._values = [value for _, value in found]

    def entry(self, time: Ns) -> tuple[Ns, Any] | None:
        """The last value up to a time, with its own; None before the first."""
        index = bisect_right(self._times, time) - 1
        return (self._times[index], self._values[index]) if index >= 0 else None

    def at(self, time: Ns) -> Any:
        """The value at a time; None before the first."""
        found = self.entry(time)
        return None if found is None else found[1]

    def between(self, low: Ns, high: Ns) -> Iterator[tuple[Ns, Any]]:
        """The value at `low`, and all that came later but before `high`."""
        index = bisect_right(self._times, low) - 1
        if index >= 0:
            yield low, self._values[index]
        for at in range(index + 1, len(self._times)):
            if self._times[at] >= high:
                return
            yield self._times[at], self._values[at]


def windows(trace: Trace, target: str, subject: Subject, kind: str = "") -> list[tuple[Ns, Ns]]:
    """From when to when a node, or the core, was broken itself; a link has its node's name, and a machine may have it too."""
    found: list[tuple[Ns, Ns]] = []
    on: dict[str, Ns] = {}
    for entry in trace.events:
        if not isinstance(entry.what, FaultOn | FaultOff) or entry.what.subject != target:
            continue
        known = KINDS.get(entry.what.kind)
        if known is None or known.subject is not subject or (kind and known.name != kind):
            continue
        if isinstance(entry.what, FaultOn):
            on[entry.what.kind] = entry.time
        elif entry.what.kind in on:
            found.append((on.pop(entry.what.kind), entry.time))
    return found + [(since, Ns(1 << 62)) for since in on.values()]
