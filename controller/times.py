"""The core's times: what its nodes' clocks say, what UTC is, how late its scans are, and when each Event happened."""

from collections import deque
from collections.abc import Callable, Iterable

from controller.feed import Told, told
from controller.image import Image
from controller.modbus.pdu import Words
from controller.stamps import ClockStepped, NodeClock, Wall, heard, in_order
from twin.clock import MS, Ns, seconds
from twin.factory import Factory
from twin.node import NodeStatus
from twin.trace import Event, Stamp
from twin.wire import layout, value

STEPS_PER_OCTAVE = 8
RECENT = 600
_TOLD = tuple(layout(NodeStatus)[name] for name in ("boot_id", "uptime", "late"))


class Lateness:
    """How late scans began: counted in steps of an eighth of an octave, each 9 % above the one below, and the last 600 exactly."""

    def __init__(self) -> None:
        self.scans = 0
        self.most = Ns(0)
        self._counts = [0] * (STEPS_PER_OCTAVE * 40)
        self._recent: deque[Ns] = deque(maxlen=RECENT)

    def add(self, late: Ns) -> None:
        """One scan."""
        self.scans += 1
        self.most = max(self.most, late)
        self._recent.append(late)
        whole = max(1, late // 1000)
        octave = whole.bit_length() - 1
        step = (whole * STEPS_PER_OCTAVE >> octave) - STEPS_PER_OCTAVE
        self._counts[min(octave * STEPS_PER_OCTAVE + step, len(self._counts) - 1)] += 1

    def percentile(self, share: float) -> Ns:
        """The upper end of the step in which this share of all scans is reached."""
        missing = share * self.scans
        for place, count in enumerate(self._counts):
            missing -= count
            if missing <= 0 and count:
                octave, step = divmod(place, STEPS_PER_OCTAVE)
                return Ns(min(self.most, (STEPS_PER_OCTAVE + step + 1) * 1000 << octave >> 3))
        return self.most

    def told(self) -> dict[str, int | float]:
        """What the Feed shows of it; times in seconds."""
        return {
            "scans": self.scans,
            "late": seconds(self.recent(0.99)),
            "late_p99": seconds(self.percentile(0.99)),
            "late_most": seconds(self.most),
        }

    def recent(self, share: float) -> Ns:
        """The same of the last 600 scans."""
        found = sorted(self._recent)
        return found[min(len(found) - 1, int(share * len(found)))] if found else Ns(0)


class Times:
    """All that the core knows of time.

    Attributes:
        run: which run of the core this is: when it began [UTC ns].
        late: how late its scans began.

    Args:
        wall: what UTC is; `source` shows the wall clock [ns].
    """

    def __init__(self, factory: Factory, wall: Wall, source: Callable[[], int]) -> None:
        self.run = source()
        self.late = Lateness()
        self._factory, self._wall, self._source = factory, wall, source
        self._nodes: dict[str, NodeClock] = {}
        self._told: dict[str, tuple[int, int]] = {}
        self._events: list[Event] = []

    def look(self, now: Ns) -> int:
        """UTC [ns] now."""
        stepped = self._wall.look(self._source(), now)
        if stepped:
            self._events.append(ClockStepped("factory", round(stepped / MS)))
        return self._wall.utc(now)

    def heard(self, node: str, words: Words, asked: Ns, came: Ns) -> tuple[Stamp, int]:
        """When a node said what it has answered: by its clock and ours, and in UTC [ns]."""
        boot, uptime, late = (value(signal, words) for signal in _TOLD)
        known = self._nodes[node] = heard(self._nodes.get(node), node, boot, uptime, late, asked, came)
        self.look(came)
        return known.stamp, self._wall.utc(known.stamp.at)

    def told(self, events: Iterable[Event], image: Image, now: Ns) -> list[Told]:
        """Events as the Feed carries them: those that a node's Samples tell have its times, the others the scan's.

        One publication's are in their order in time.
        """
        utc = self._wall.utc(now)
        ours, self._events = self._events, []
        return in_order(self._one(event, image, now, utc) for event in (*ours, *events))

    def _one(self, event: Event, image: Image, now: Ns, utc: int) -> Told:
        machine = self._factory.machines.get(event.subject)
        node = machine.node if machine is not None else event.subject
        sample = image.nodes[node].sample if node in image.nodes else None
        if sample is None or not sample.good or sample.stamp is None:
            return told(event, utc, now)
        stamp = sample.stamp
        boot, last = self._told.get(node, (stamp.boot, 0))
        sequence = last + 1 if boot == stamp.boot else 1
        self._told[node] = stamp.boot, sequence
        numbered = Stamp(node, stamp.boot, sequence, stamp.uptime_ms, stamp.at, stamp.bound)
        return told(event, self._wall.utc(stamp.at), stamp.at, numbered)
