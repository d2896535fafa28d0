"""An RS-485 line in the rig's hands: what one station sends reaches all others when its last bit has passed, or it does not.

Every station has a pseudo-terminal: the controller's is opened by the core as if it were /dev/ttyUSB0, a node's is the tty of
its UART. Bytes take the time that the line's speed gives them; two stations that speak at once spoil each other's bytes.
"""

import contextlib
import heapq
import itertools
import os
import pty
import select
import termios
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hil.link import FAR
from hil.targets import Output, PinSet, SerialSent
from twin.clock import MS, US, Ns
from twin.factory import Factory, Node
from twin.serial import Serial, virtual_tty

CONTROLLER = ""  # its station's name
MOST_WAITING = 4096  # bursts on their way
_READ_BYTES = 4096
_ANSWER = Ns(100 * MS)  # within which nodes answer
_KEPT = 16  # changes of a direction pin, and bursts that have arrived
NOW = Ns(0)
CLASH = bytes(byte ^ 0xA5 for byte in range(256))

Tap = Callable[[Ns, str, bytes], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes in a row on the line.

    Attributes:
        source: the name of the station that sent them.
        start, end: when the first bit arrives, and when the last has.
        late: by how much a fault holds them back on their way.
    """

    source: str
    start: Ns
    end: Ns
    data: bytes
    late: Ns = NOW


class Station:
    """One transceiver and the tty behind it.

    Attributes:
        path: what is opened behind it.
        unit: its address; 0 of the controller. uart, de: which UART of its node, and the pin that makes it drive the line.
        free: until when its UART sends what it was given.
        cut: its wires are off the line.
        powered: it hears anything at all.
        stuck: it drives the line, whatever its node says.
    """

    def __init__(self, name: str, path: Path, line: Serial | None = None) -> None:
        self.name, self.path = name, path
        self.unit, self.uart, self.de = (line.unit, line.uart, line.de) if line is not None else (0, -1, None)
        self.free = Ns(0)
        self.cut = self.stuck = False
        self.powered = name == CONTROLLER
        self._drives: deque[tuple[Ns, bool]] = deque(maxlen=_KEPT)
        self.tty, self._held = pty.openpty()  # the other end is kept open: settings stay, whoever comes and goes
        for end in (self.tty, self._held):
            _raw(end)
        os.set_blocking(self.tty, False)
        self._poll = select.poll()
        self._poll.register(self.tty, select.POLLIN)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(os.ttyname(self._held))

    @property
    def pins(self) -> tuple[int, ...]:
        """Pins of its node that go to it and to nothing else."""
        return () if self.de is None else (self.de,)

    def take(self, count: int) -> bytes:
        """What was written behind it, at most so many bytes. One look may show only a part of them; the last shows none."""
        data = b""
        while len(data) < count and self._poll.poll(0):
            data += os.read(self.tty, count - len(data))
        return data

    def hear(self, data: bytes) -> None:
        """Hand bytes in; what nobody fetches is lost at some time."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.tty, data)

    def power(self, on: bool, now: Ns) -> None:
        """Switch it on or off, with its node; what it has not read is gone."""
        self.powered = on
        self.free = now
        self._drives.clear()
        self.take(_READ_BYTES)
        termios.tcflush(self._held, termios.TCIFLUSH)

    def drive(self, time: Ns, high: bool) -> None:
        """Its direction pin has changed."""
        self._drives.append((time, high))

    def drives(self, start: Ns, end: Ns) -> Ns:
        """From when on its direction pin is high in between; FAR where it is not."""
        high = self.stuck
        for time, level in self._drives:
            if time > start and high:
                return start
            if time >= end:
                return FAR
            if time > start and level:
                return time
            high = level or self.stuck
        return start if high else FAR

    def let_out(self, sent: Sent) -> bytes:
        """What of its bytes gets onto the line: those that leave while its direction pin is high."""
        if self.de is None or not sent.data:
            return sent.data
        start, end = Ns(sent.start - sent.late), Ns(sent.end - sent.late)
        fell = next((time for time, high in self._drives if time > start and not high), FAR)
        if self.drives(start, Ns(start + 1)) > start:
            return b""
        return sent.data[: int((fell - start) / (end - start) * len(sent.data) + 0.5)] if fell < end else sent.data

    def close(self) -> None:
        """Take it away."""
        if self.tty >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self.tty)
            os.close(self._held)
            self.tty = -1


class BusFault:
    """Something that happens on a line; this one does nothing.

    Attributes:
        fired: how often it has really changed something.
        first: told when that happens for the first time.
    """

    def __init__(self) -> None:
        self.fired = 0
        self.first: Callable[[Ns], None] = lambda now: None

    def hit(self, now: Ns) -> None:
        """It has changed something."""
        self.fired += 1
        if self.fired == 1:
            self.first(now)

    def carry(self, bus: "Bus", sent: Sent) -> list[Sent]:
        """What becomes of what a station sends."""
        return [sent]

    def begin(self, bus: "Bus") -> None:
        """It strikes a line."""

    def end(self, bus: "Bus") -> None:
        """It is over."""


class Bus:
    """One line, with its stations.

    Attributes:
        stations: by name; the controller's is the one without a name.
        faults: each is given what the one before it has left.
        taps: told (time, name of the sender, bytes) of each burst that arrives.
        lump: above 0, the controller's adapter hears what it says, and hands over what it hears once in that time.
        heard: nodes that were reached in the last pump.
    """

    def __init__(self, line: Serial, nodes: Iterable[Node], folder: Path) -> None:
        self.line = line
        self.stations = {CONTROLLER: Station(CONTROLLER, virtual_tty(folder, line.port))}
        for node in nodes:
            assert node.serial is not None, node
            self.stations[node.name] = Station(node.name, folder / node.name / f"uart{node.serial.uart}", node.serial)
        self.faults: list[BusFault] = []
        self.taps: list[Tap] = []
        self.lump = Ns(0)
        self._lump = b""
        self._lump_due = FAR
        self.heard: dict[str, None] = {}  # in a fixed order
        self._near = self.stations[CONTROLLER]
        self._order = itertools.count()
        self._waiting: list[tuple[Ns, int, Sent]] = []
        self._past: deque[Sent] = deque(maxlen=_KEPT)
        self._expecting = Ns(0)  # until when a reply may come that other nodes hear
        self._shortest = line.duration(4)

    @property
    def wake(self) -> Ns:
        """When something arrives next."""
        return min(self._waiting[0][0], self._lump_due) if self._waiting else self._lump_due

    def alone(self, now: Ns) -> Ns:
        """For how long nothing that another node is about to say can reach a node; nodes speak when they are spoken to."""
        return self._shortest if now < self._expecting else FAR

    def pump(self, now: Ns) -> bool:
        """Take what the controller says, and hand on what has arrived; whether anything reached the controller."""
        self.heard.clear()
        self.fetch(now)
        moved = False
        while self._waiting and self._waiting[0][0] <= now:
            moved |= self._arrive(heapq.heappop(self._waiting)[2])
        if self._lump_due <= now:
            self._near.hear(self._lump)
            self._lump, self._lump_due, moved = b"", FAR, True
        return moved

    def fetch(self, now: Ns) -> None:
        """Take what the controller says; nobody hears it yet."""
        if said := self._near.take(_READ_BYTES):
            self.send(CONTROLLER, now, said)

    def listen(self, node: str, outputs: Iterable[Output]) -> None:
        """Take what a node did with its direction pin and its UART."""
        station = self.stations[node]
        for output in outputs:
            if isinstance(output, SerialSent) and output.uart == station.uart:
                self.send(node, output.time, station.take(output.count))
            elif isinstance(output, PinSet) and output.pin == station.de:
                station.drive(output.time, output.value > 0)

    def send(self, name: str, time: Ns, data: bytes) -> None:
        """A station sends bytes, as soon as it has sent what it was given before."""
        station = self.stations[name]
        start = max(time, station.free)
        several = [Sent(name, start, self.end(start, len(data)), data)]
        for fault in self.faults:
            several = [made for sent in several for made in fault.carry(self, sent)]
        for sent in several:
            if len(self._waiting) < MOST_WAITING:
                heapq.heappush(self._waiting, (sent.end, next(self._order), sent))
            station.free = max(station.free, sent.end)

    def end(self, start: Ns, count: int) -> Ns:
        """When so many bytes in a row have passed, to a whole microsecond as nodes reckon."""
        return Ns(-(-(start + self.line.duration(count)) // US) * US)

    def concerns(self, node: str, sent: Sent) -> bool:
        """Whether it comes from a node, or is the controller's request to it."""
        return sent.source == node or (sent.source == CONTROLLER and sent.data[:1] == bytes([self.stations[node].unit]))

    def power(self, node: str, on: bool, now: Ns) -> None:
        """A node is switched on or off: what it was about to send is never sent."""
        self.stations[node].power(on, now)
        self._waiting = [entry for entry in self._waiting if entry[2].source != node]
        heapq.heapify(self._waiting)

    def add(self, fault: BusFault) -> None:
        """Have a fault strike the line."""
        self.faults.append(fault)
        fault.begin(self)

    def remove(self, fault: BusFault) -> None:
        """A fault is over."""
        self.faults.remove(fault)
        fault.end(self)

    def close(self) -> None:
        """Take the line away."""
        for station in self.stations.values():
            station.close()

    # ---- arriving

    def _arrive(self, sent: Sent) -> bool:
        """Whether the controller has heard it."""
        source = self.stations[sent.source]
        self._past.append(sent)
        if len(self.stations) > 2:
            self._expecting = Ns(sent.end + _ANSWER) if sent.source == CONTROLLER else sent.end
        data = self._clashed(sent, source.let_out(sent))
        if not data or source.cut:
            return False
        reached = False
        for station in self.stations.values():
            if station.cut or not station.powered or (station is source and not (self.lump and station is self._near)):
                continue
            if station.drives(sent.start, sent.end) < sent.end:
                continue  # who drives the line hears nothing
            if station is self._near and self.lump:
                self._lump += data
                self._lump_due = Ns(sent.end // self.lump * self.lump + self.lump)
                continue
            station.hear(data)
            reached |= station is self._near
            if station is not self._near:
                self.heard[station.name] = None
        for tap in self.taps:
            tap(sent.end, sent.source, data)
        return reached

    def _clashed(self, sent: Sent, data: bytes) -> bytes:
        """The bytes as they are after whoever drives the line at the same time has spoilt them."""
        others = [other for _, _, other in self._waiting] + list(self._past)
        starts = [max(o.start, sent.start) for o in others if o.source != sent.source and o.start < sent.end and sent.start < o.end]
        for name, station in self.stations.items():
            if name != sent.source and not station.cut:
                starts.append(station.drives(sent.start, sent.end))
        starts = [start for start in starts if start < sent.end]
        if not starts or not data:
            return data
        at = len(sent.data) * (min(starts) - sent.start) // max(1, sent.end - sent.start)
        return data[:at] + data[at:].translate(CLASH)


def lay(factory: Factory, folder: Path) -> dict[str, Bus]:
    """The lines of a factory's virtual nodes, by node: nodes on one line have the same.

    Args:
        folder: of the nodes' own folders.
    """
    found: dict[str, Bus] = {}
    hanging = [node for node in factory.nodes.values() if node.virtual and node.serial is not None]
    for port in dict.fromkeys(node.serial.port for node in hanging if node.serial is not None):
        nodes = [node for node in hanging if node.serial is not None and node.serial.port == port]
        assert nodes[0].serial is not None
        bus = Bus(nodes[0].serial, nodes, folder)
        found.update({node.name: bus for node in nodes})
    return found


def _raw(tty: int) -> None:
    """No character means anything, and a read of what is not there ends at once."""
    mode = termios.tcgetattr(tty)
    mode[0] = mode[1] = mode[3] = 0
    mode[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    mode[6][termios.VMIN] = mode[6][termios.VTIME] = 0
    termios.tcsetattr(tty, termios.TCSANOW, mode)
