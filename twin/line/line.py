"""What a line is: stations in a row, places for parts between them, and parts that come or are always there."""

from dataclasses import dataclass

import numpy as np

from twin.arrays import Floats, Ints
from twin.line.draws import MOST_STOPS
from twin.line.laws import Law, need, whole

MOST_STATIONS = 1_000
MOST_SERVERS = 1_000
MOST_PLACES = 1_000_000
MOST_FAILURES = MOST_STOPS // 2
"""During one part on average: a long time must leave room for more."""


@dataclass(frozen=True, slots=True)
class Failures:
    """A station breaks down while it works: mean working time between failures and mean repair [s], both exponential."""

    between: float
    repair: float

    def __post_init__(self) -> None:
        for name in ("between", "repair"):
            value = getattr(self, name)
            need(0 < value < float("inf"), name, value, "finite and above 0")


@dataclass(frozen=True, slots=True)
class Station:
    """Works on one part at each of its servers, first come first served.

    Attributes:
        time: of the work on one part.
        servers: alike, in parallel; parts may then overtake one another.
        loading: added to each part's time [s].
        failures: the part waits for the repair and is then finished; repairs are counted after the work.
    """

    name: str
    time: Law
    servers: int = 1
    loading: float = 0.0
    failures: Failures | None = None

    def __post_init__(self) -> None:
        whole(f"{self.name}: servers", self.servers)
        need(1 <= self.servers <= MOST_SERVERS, f"{self.name}: servers", self.servers, f"1 to {MOST_SERVERS}")
        need(0 <= self.loading < float("inf"), f"{self.name}: loading", self.loading, "finite and at least 0")
        mean = self.loading + self.time.mean
        need(mean > 0, f"{self.name}: mean time", mean, "above 0")
        need(self._stops <= MOST_FAILURES, f"{self.name}: failures during a part", self._stops, f"at most {MOST_FAILURES}")

    @property
    def _stops(self) -> float:
        """Failures during one part on average."""
        return (self.loading + self.time.mean) / self.failures.between if self.failures else 0.0

    @property
    def mean(self) -> float:
        """Seconds for which a part occupies a server on average, repairs included."""
        return self.loading + self.time.mean + (self._stops * self.failures.repair if self.failures else 0.0)


@dataclass(frozen=True, slots=True)
class Line:
    """Stations in a row. Blocking is after service: a finished part stays on its server until there is room behind it.

    Attributes:
        buffers: places between each station and the next, None where there is always room.
        arrivals: time between parts that come from outside; None: a part is always there.
        entry: places before the first station, as in `buffers`. Where they are full, the part that comes waits outside,
            and the next one's time runs from when it got in.
    """

    stations: tuple[Station, ...]
    buffers: tuple[int | None, ...] = ()
    arrivals: Law | None = None
    entry: int | None = None

    def __post_init__(self) -> None:
        count = len(self.stations)
        need(1 <= count <= MOST_STATIONS, "stations", count, f"1 to {MOST_STATIONS}")
        names = [station.name for station in self.stations]
        for name in names:
            need(names.count(name) == 1, "station", repr(name), "named once")
        need(len(self.buffers) == count - 1, "buffers", len(self.buffers), f"{count - 1}: one between each two stations")
        rooms = [(f"buffer before {station.name}", places) for station, places in zip(self.stations[1:], self.buffers, strict=True)]
        for name, places in (*rooms, ("entry", self.entry)):
            if places is not None:
                whole(name, places)
                need(0 <= places <= MOST_PLACES, name, places, f"0 to {MOST_PLACES} or None")
        need(self.entry is None or self.arrivals is not None, "entry", self.entry, "None where no parts arrive")
        need(
            self.arrivals is None or self.arrivals.mean > 0, "arrivals: mean time", self.arrivals and self.arrivals.mean, "above 0"
        )

    @property
    def single(self) -> bool:
        """Each station has one server, so that no part overtakes another."""
        return all(station.servers == 1 for station in self.stations)

    def entering(self, until: float) -> float:
        """About how many parts enter until then [s], more than blocking lets in: only unlimited places uncouple a station."""
        slowest, places = 0.0, 0
        rooms = [None, self.entry] if self.arrivals else [None]
        means = [self.arrivals.mean] if self.arrivals else []
        means += [station.mean / station.servers for station in self.stations]
        for number, (mean, room) in enumerate(zip(means, [*rooms, *self.buffers], strict=True)):
            if number and room is None:
                break
            slowest, places = max(slowest, mean), places + (room or 0) + 1
        return min(until / means[0], until / slowest + places) + sum(station.servers for station in self.stations)

    def table(self) -> Floats:
        """(rows, 7) the laws: kind, two numbers, time added, working time between failures (0: none), repair, stream.

        A row for the arrivals comes first where there are any; their stream is 0, the stations' are 1, 2, ….
        """
        rows = [(*self.arrivals.row, 0.0, 0.0, 0.0, 0.0)] if self.arrivals else []
        for stream, station in enumerate(self.stations, 1):
            failures = station.failures
            stops = (failures.between, failures.repair) if failures else (0.0, 0.0)
            rows.append((*station.time.row, station.loading, *stops, float(stream)))
        return np.array(rows, dtype=np.float64)

    def shape(self, parts: int) -> Ints:
        """(2, rows) places before each row, at most `parts`, and servers; rows as in `table`."""
        before = ([None, self.entry] if self.arrivals else [None]) + list(self.buffers)
        places = [parts if room is None else min(room, parts) for room in before]
        servers = [1] * bool(self.arrivals) + [station.servers for station in self.stations]
        return np.array([places, servers], dtype=np.int64)
