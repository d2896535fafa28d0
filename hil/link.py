"""The network between the core and a node, in the rig's hands: it forwards bytes, or does not, or does worse."""

import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from twin.clock import Ns

FAR = Ns(2**62)
_HEAD = 6  # transaction, protocol, length
_SHORTEST, _LONGEST = 2, 254
_READ_BYTES = 65536
MOST_WAITING = 4096  # pieces on their way in one direction of a connection
_RESET = struct.pack("ii", 1, 0)  # linger for no time: close() resets

Tap = Callable[[Ns, bool, bytes], None]


class Piece(NamedTuple):
    """Bytes on their way, and when they arrive; None resets the connection then."""

    due: Ns
    data: bytes | None


class Splitter:
    """Cuts one direction of a connection into Modbus TCP frames.

    A header that lies ends that: from there on, bytes are handed on as they come, for nobody can tell where a frame starts.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._gone = 0  # bytes of the rest that have been let through already
        self._broken = False

    def feed(self, data: bytes) -> list[bytes]:
        """Whole frames, in order; what does not parse as it is. A frame that is not whole yet stays here."""
        if self._broken:
            return [data]
        buffer = self._rest + data if self._rest else data
        pieces, at = [], 0
        while len(buffer) - at >= _HEAD:
            length = buffer[at + 4] << 8 | buffer[at + 5]
            if buffer[at + 2] or buffer[at + 3] or not _SHORTEST <= length <= _LONGEST:
                self._broken = True
                pieces.append(buffer[at:])
                at = len(buffer)
                break
            end = at + _HEAD + length
            if end > len(buffer):
                break
            pieces.append(buffer[at:end])
            at = end
        self._rest = buffer[at:]
        if self._gone and pieces:
            pieces[0] = pieces[0][self._gone :]
            self._gone = 0
        return [piece for piece in pieces if piece]

    def let_through(self, data: bytes) -> bytes:
        """What is to be handed on where nothing is to be cut; the next bytes can be, for it follows where a frame starts."""
        if not self._rest and not self._broken and _aligned(data):
            return data
        held = self._rest[self._gone :]
        self.feed(data)
        self._gone = len(self._rest)
        return held + data

    def flush(self) -> bytes:
        """What is left of a frame that will never be whole."""
        rest, gone = self._rest, self._gone
        self._rest, self._gone = b"", 0
        return rest[gone:]


def _aligned(data: bytes) -> bool:
    """Whether data is whole frames and nothing else."""
    at, size = 0, len(data)
    while size - at >= _HEAD:
        length = data[at + 4] << 8 | data[at + 5]
        if data[at + 2] or data[at + 3] or not _SHORTEST <= length <= _LONGEST:
            return False
        at += _HEAD + length
    return at == size


def whole(data: bytes | None) -> bool:
    """Whether data is one whole frame, function code included."""
    return data is not None and len(data) >= _HEAD + _SHORTEST and len(data) == _HEAD + (data[4] << 8 | data[5]) and _aligned(data)


class Way:
    """One direction of one connection.

    Attributes:
        connection: number of the connection on its link; both its ways have the same.
        toward_node: its direction.
        target: where its bytes go; None where nobody is left.
        ended: its source has closed.
    """

    __slots__ = ("connection", "due", "ended", "queue", "source", "split", "target", "told", "toward_node")

    def __init__(self, source: socket.socket, target: socket.socket, toward_node: bool, connection: int) -> None:
        self.source = source
        self.target: socket.socket | None = target
        self.toward_node, self.connection = toward_node, connection
        self.queue: deque[Piece] = deque()
        self.due = Ns(0)  # of the last piece: a stream keeps its order
        self.split, self.told = Splitter(), Splitter()
        self.ended = False


class LinkFault:
    """Something that a link does to what it carries; this one does nothing.

    Attributes:
        fired: how often it really changed something.
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

    def carry(self, now: Ns, way: Way, pieces: list[Piece]) -> list[Piece]:
        """What becomes of what one end has just sent: frames, or bytes that are none."""
        return pieces

    def admits(self, now: Ns) -> bool:
        """Whether a new connection is made."""
        return True

    def closes(self, now: Ns, way: Way) -> bool:
        """Whether the other end hears that this one has closed."""
        return True

    def act(self, now: Ns, link: "Link") -> bool:
        """Do something of its own accord; whether anything was moved."""
        return False

    @property
    def wake(self) -> Ns:
        """When it wants to act next."""
        return FAR

    def begin(self, now: Ns, link: "Link") -> None:
        """It is put onto the link."""

    def end(self, now: Ns, link: "Link") -> None:
        """It is taken off the link."""


class Link:
    """A TCP forwarder on 127.0.0.1 that works only when the rig says `pump`, so that it takes part in factory time.

    While it is cut, bytes are kept from both ends and lost, as on a pulled cable; connections stay half open.

    Attributes:
        target: the node's address.
        faults: each is given what the one before it has left.
        taps: told (now, toward the node, frame) of each whole frame that is really delivered.
        knocked: the node may have been sent something in the last pump.
    """

    def __init__(self, target: tuple[str, int], name: str = "") -> None:
        self.target = target
        self.name = name
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self.cut = False
        self.knocked = False
        self.faults: list[LinkFault] = []
        self.taps: list[Tap] = []
        self._connections = 0
        self._ways: dict[int, Way] = {}
        self._due = FAR
        self._poll = select.epoll()
        self._poll.register(self._server.fileno(), select.EPOLLIN)

    @property
    def wake(self) -> Ns:
        """When it has something to move though nobody sends anything."""
        return min([self._due, *(fault.wake for fault in self.faults)]) if self.faults else self._due

    def pump(self, now: Ns) -> bool:
        """Move what is there to be moved; whether anything was."""
        moved = self.knocked = False
        if self.faults:
            for fault in tuple(self.faults):
                moved |= fault.act(now, self)
            self.knocked = moved
        if self._due <= now:
            moved |= self._deliver_due(now)
        for number, _ in self._poll.poll(0):
            way = self._ways.get(number)
            if way is not None:
                moved |= self._carry(now, way)
            elif number == self._server.fileno():
                moved |= self._accept(now)
        return moved

    def add(self, fault: LinkFault, now: Ns) -> None:
        """Put a fault onto the link."""
        self.faults.append(fault)
        fault.begin(now, self)

    def remove(self, fault: LinkFault, now: Ns) -> None:
        """Take a fault off; what it holds back is for it to give up or to let go."""
        self.faults.remove(fault)
        fault.end(now, self)

    def hand_on(self, now: Ns, way: Way, pieces: Sequence[Piece]) -> None:
        """Send pieces their way: at once those that are due, in one go, the others when they are.

        Many small segments would wait for acknowledgements that come by the system's clock.
        """
        for piece in pieces:
            way.due = max(way.due, piece.due)
            if len(way.queue) < MOST_WAITING:  # a network that holds so much back loses the rest
                way.queue.append(Piece(way.due, piece.data))
        self._deliver(now, way)

    @property
    def ways(self) -> tuple[Way, ...]:
        """Both directions of every connection."""
        return tuple(self._ways.values())

    def reset(self) -> None:
        """End every connection with a reset at both ends."""
        for way in self.ways:
            self._drop(way, reset=True)

    # ---- connections

    def _accept(self, now: Ns) -> bool:
        if self.cut:
            return False
        try:
            near, _ = self._server.accept()
        except BlockingIOError:
            return False
        if not all(fault.admits(now) for fault in self.faults):
            _close(near, reset=True)
            return True
        try:
            far = socket.create_connection(self.target, timeout=2)
        except OSError:
            near.close()
            return True
        self._connections += 1
        self.knocked = True
        for source, target, toward_node in ((near, far, True), (far, near, False)):
            source.setblocking(False)
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ways[source.fileno()] = Way(source, target, toward_node, self._connections)
            self._poll.register(source.fileno(), select.EPOLLIN)
        return True

    def _drop(self, way: Way, reset: bool = False) -> None:
        """End a connection at both ends, as far as they are still there."""
        self.knocked = True
        for end in (way.source, way.target):
            found = self._ways.pop(end.fileno(), None) if end is not None else None
            if found is not None:
                if not found.ended:
                    self._poll.unregister(found.source.fileno())
                found.queue.clear()
                _close(found.source, reset)

    def _desert(self, way: Way) -> None:
        """Its source is gone, and the other end is not told."""
        assert way.target is not None
        del self._ways[way.source.fileno()]
        way.queue.clear()
        way.source.close()
        self._ways[way.target.fileno()].target = None

    # ---- bytes

    def _carry(self, now: Ns, way: Way) -> bool:
        try:
            data = way.source.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if self.cut:
            way.split.flush()
            return False
        if not data:
            return self._ended(now, way)
        if not self.faults and not way.queue:
            self._send(now, way, way.split.let_through(data))
            return True
        pieces = [Piece(now, piece) for piece in way.split.feed(data)]
        for fault in self.faults:
            pieces = fault.carry(now, way, pieces)
        self.hand_on(now, way, pieces)
        return True

    def _ended(self, now: Ns, way: Way) -> bool:
        """One end has closed: so does the other, once it has all that was on its way."""
        way.ended = True
        self._poll.unregister(way.source.fileno())
        if way.target is None or all(fault.closes(now, way) for fault in self.faults):
            rest = way.split.flush()
            self.hand_on(now, way, [Piece(now, rest)] if rest else [])
        else:
            self._desert(way)
        return True

    def _deliver_due(self, now: Ns) -> bool:
        for way in self.ways:
            if way.queue:
                self._deliver(now, way)
        self._due = min((way.queue[0].due for way in self._ways.values() if way.queue), default=FAR)
        return True

    def _deliver(self, now: Ns, way: Way) -> None:
        queue = way.queue
        due = []
        while queue and queue[0].due <= now and queue[0].data is not None:
            due.append(queue.popleft().data or b"")
        if due and not self.cut and not self._send(now, way, b"".join(due)):
            return
        if queue and queue[0].due <= now:
            self._drop(way, reset=True)
            return
        if queue:
            self._due = min(self._due, queue[0].due)
        elif way.ended:
            self._drop(way)

    def _send(self, now: Ns, way: Way, data: bytes) -> bool:
        if way.target is None:
            return True
        try:
            way.target.sendall(data)
        except OSError:
            self._drop(way)
            return False
        if way.toward_node:
            self.knocked = True
        if self.taps:
            for frame in way.told.feed(data):
                if whole(frame):
                    for tap in self.taps:
                        tap(now, way.toward_node, frame)
        return True

    def close(self) -> None:
        """Close everything."""
        for way in self.ways:
            self._drop(way)
        self._poll.close()
        self._server.close()


def _close(end: socket.socket, reset: bool) -> None:
    if reset:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()
