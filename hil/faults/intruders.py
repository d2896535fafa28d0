"""Uninvited clients of a node: they come over its link, past whoever is invited."""

import contextlib
import socket
from collections.abc import Sequence
from random import Random

from controller.modbus.pdu import HEAD, WRITE_MANY, Write, frame
from hil.link import FAR, Link, LinkFault
from twin.clock import MS, Ns, S
from twin.node import COMMAND_AT, NodeCommand
from twin.wire import encode, layout

AT_ONCE = 3  # connections that one knocks for at an instant: a node's queue of them is short
_READ_BYTES = 65536


class Intruder(LinkFault):
    """Does something to the node once in a period.

    Args:
        period: between two of its turns.
        connections: that it keeps open.
    """

    def __init__(self, period: Ns, connections: int = 1) -> None:
        super().__init__()
        self._period, self._wanted = period, connections
        self._open: list[socket.socket] = []
        self._next = FAR

    def begin(self, now: Ns, link: Link) -> None:
        self._next = now

    @property
    def wake(self) -> Ns:
        return self._next

    def act(self, now: Ns, link: Link) -> bool:
        if now < self._next:
            return False
        self._next = Ns(now + self._period)
        for line in list(self._open):
            self._drain(line)
        for _ in range(min(AT_ONCE, self._wanted - len(self._open))):
            self._knock(link.target)
        for line in list(self._open):
            self.turn(now, line)
        return True

    def turn(self, now: Ns, line: socket.socket) -> None:
        """What it does on each of its connections."""
        raise NotImplementedError

    def say(self, now: Ns, line: socket.socket, data: bytes) -> None:
        """Send something, if the node takes it."""
        try:
            sent = line.send(data) if data else 0
        except BlockingIOError:
            return
        except OSError:
            self._drop(line)
            return
        if sent:
            self.hit(now)

    def _knock(self, target: tuple[str, int]) -> None:
        line = socket.socket()
        try:
            line.connect(target)
        except OSError:  # it has no power
            line.close()
            return
        line.setblocking(False)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.append(line)

    def _drain(self, line: socket.socket) -> None:
        """Take in what the node says; a connection that it has closed is given up."""
        try:
            while data := line.recv(_READ_BYTES):
                self.heard(data)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._drop(line)

    def heard(self, data: bytes) -> None:
        """The node has answered."""

    def _drop(self, line: socket.socket) -> None:
        with contextlib.suppress(ValueError):
            self._open.remove(line)
        line.close()

    def end(self, now: Ns, link: Link) -> None:
        for line in list(self._open):
            self._drop(line)
        self._next = FAR


class Junk(Intruder):
    """Sends bytes by chance."""

    def __init__(self, bytes_per_s: float, chance: Random) -> None:
        super().__init__(Ns(10 * MS))
        self._count, self._chance = max(1, round(bytes_per_s / 100)), chance

    def turn(self, now: Ns, line: socket.socket) -> None:
        self.say(now, line, self._chance.randbytes(self._count))


class ForeignWriter(Intruder):
    """Another master: it writes ones over the machines' Commands, and claims the node as if it were its own.

    Args:
        commands: first register and number of registers of each machine's Command.
        epoch: that it claims under.
    """

    def __init__(self, commands: Sequence[tuple[int, int]], epoch: int) -> None:
        super().__init__(Ns(50 * MS))
        self._commands, self._epoch, self._beat = commands, epoch, 0

    def turn(self, now: Ns, line: socket.socket) -> None:
        self._beat = self._beat + 1 & 0xFFFF
        grant = NodeCommand(owner=0xBADBAD, epoch=self._epoch, heartbeat=self._beat)
        writes = [Write(COMMAND_AT, tuple(encode(grant)))]
        writes += [Write(first, (1,) * count) for first, count in self._commands]
        self.say(now, line, b"".join(frame(number, 1, write.encode()) for number, write in enumerate(writes)))


class Replay(Intruder):
    """Keeps the Grants that carry a command, and sends them again later over a connection of its own.

    Args:
        after: how much later.
    """

    def __init__(self, after: Ns) -> None:
        super().__init__(Ns(10 * MS))
        self._after = after
        self._kept: list[tuple[Ns, bytes]] = []
        self._commands: set[bytes] = set()

    def begin(self, now: Ns, link: Link) -> None:
        super().begin(now, link)
        link.taps.append(self._keep)

    def _keep(self, now: Ns, toward_node: bool, data: bytes) -> None:
        shape = layout(NodeCommand)
        pdu = data[HEAD.size :]
        if not toward_node or pdu[0] != WRITE_MANY or pdu[1:3] != COMMAND_AT.to_bytes(2) or pdu[3:5] != shape.size.to_bytes(2):
            return
        said = {name: pdu[6 + 2 * shape[name].registers[0] :][: 2 * len(shape[name].registers)] for name in ("op", "command_id")}
        if any(said["op"]) and said["command_id"] not in self._commands:
            self._commands.add(said["command_id"])
            self._kept.append((now, data))

    def turn(self, now: Ns, line: socket.socket) -> None:
        while self._kept and now - self._kept[0][0] >= self._after:
            self.say(now, line, self._kept.pop(0)[1])

    def end(self, now: Ns, link: Link) -> None:
        super().end(now, link)
        link.taps.remove(self._keep)


class Hoarder(Intruder):
    """Opens connections and holds them, silent. One that was taken from it after a while it gives up."""

    def __init__(self, connections: int) -> None:
        super().__init__(Ns(100 * MS), connections)
        self._since: dict[socket.socket, Ns] = {}
        self._now = Ns(0)

    def turn(self, now: Ns, line: socket.socket) -> None:
        self._now = now
        self._since.setdefault(line, now)
        self.hit(now)

    def _drop(self, line: socket.socket) -> None:
        if self._now - self._since.pop(line, self._now) >= S:
            self._wanted -= 1
        super()._drop(line)


class Knocker(Intruder):
    """Connects and goes again at once, as fast as it likes."""

    def __init__(self, per_s: float) -> None:
        super().__init__(Ns(max(MS, round(S / per_s))))

    def turn(self, now: Ns, line: socket.socket) -> None:
        self.hit(now)
        self._drop(line)


class Dawdler(Intruder):
    """Begins a request on each of its connections and sends it byte by byte, so that it is hardly ever whole."""

    _REQUEST = frame(1, 1, bytes((WRITE_MANY, *(0,) * 250)))

    def __init__(self, connections: int, period: Ns) -> None:
        super().__init__(period, connections)
        self._sent: dict[socket.socket, int] = {}

    def turn(self, now: Ns, line: socket.socket) -> None:
        at = self._sent.get(line, 0)
        self._sent[line] = (at + 1) % len(self._REQUEST)
        self.say(now, line, self._REQUEST[at : at + 1])
