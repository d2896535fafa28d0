"""What a link can do to what it carries: lose it, delay it, falsify it, or end the connection."""

import struct
from collections.abc import Callable
from random import Random

from controller.modbus.pdu import READ_HOLDING, READ_INPUT, WRITE_MANY
from hil.link import FAR, Link, LinkFault, Piece, Way, whole
from twin.clock import US, Ns
from twin.node import TRANSFER_AT, TRANSFER_HEAD, TransferOp

TO_NODE, FROM_NODE, BOTH = (True,), (False,), (True, False)
_FUNCTION, _FIRST = 7, 8  # where they lie in a frame
_BODY = 13  # of a write of many registers


class Some(LinkFault):
    """Bends a share of the frames of one direction or both.

    Args:
        ways: the directions, True being toward the node.
        share: of the frames that are bent.
    """

    def __init__(self, ways: tuple[bool, ...], share: float, chance: Random) -> None:
        super().__init__()
        self._ways, self._share, self._chance = ways, share, chance

    def carry(self, now: Ns, way: Way, pieces: list[Piece]) -> list[Piece]:
        if way.toward_node not in self._ways:
            return pieces
        made: list[Piece] = []
        for piece in pieces:
            bent = [piece]
            if whole(piece.data) and (self._share >= 1.0 or self._chance.random() < self._share):
                bent = self.bend(piece)
            if bent != [piece]:
                self.hit(now)
            made += bent
        return made

    def bend(self, piece: Piece) -> list[Piece]:
        """What becomes of a frame; the same where it is none to bend."""
        raise NotImplementedError


class Lost(Some):
    """Frames vanish."""

    def bend(self, piece: Piece) -> list[Piece]:
        return []


class Twice(Some):
    """Frames come twice."""

    def bend(self, piece: Piece) -> list[Piece]:
        return [piece, piece]


class Edited(Some):
    """Frames come with other bytes."""

    def __init__(self, ways: tuple[bool, ...], share: float, chance: Random, edit: Callable[[bytes], bytes]) -> None:
        super().__init__(ways, share, chance)
        self._edit = edit

    def bend(self, piece: Piece) -> list[Piece]:
        assert piece.data is not None
        return [Piece(piece.due, self._edit(piece.data))]


class Broken(Some):
    """The connection is reset when half of a frame has come."""

    def bend(self, piece: Piece) -> list[Piece]:
        assert piece.data is not None
        return [Piece(piece.due, piece.data[: len(piece.data) // 2]), Piece(piece.due, None)]


class Bytewise(Some):
    """A frame comes byte by byte, with a gap between each and the next."""

    def __init__(self, ways: tuple[bool, ...], share: float, chance: Random, gap: Ns) -> None:
        super().__init__(ways, share, chance)
        self._gap = gap

    def bend(self, piece: Piece) -> list[Piece]:
        assert piece.data is not None
        return [Piece(Ns(piece.due + at * self._gap), piece.data[at : at + 1]) for at in range(len(piece.data))]


class Late(LinkFault):
    """Everything comes later, by a constant and by a random part; a stream keeps its order."""

    def __init__(self, ways: tuple[bool, ...], least: Ns, spread: Ns, chance: Random) -> None:
        super().__init__()
        self._ways, self._least, self._spread, self._chance = ways, least, spread, chance

    def carry(self, now: Ns, way: Way, pieces: list[Piece]) -> list[Piece]:
        if way.toward_node not in self._ways or not pieces:
            return pieces
        self.hit(now)
        return [Piece(Ns(piece.due + self._least + self._some()), piece.data) for piece in pieces]

    def _some(self) -> Ns:
        return Ns(self._chance.randrange(self._spread // US + 1) * US)


class Swapped(LinkFault):
    """Neighbours change places: of the frames that come together each second one comes first."""

    def __init__(self, ways: tuple[bool, ...]) -> None:
        super().__init__()
        self._ways = ways

    def carry(self, now: Ns, way: Way, pieces: list[Piece]) -> list[Piece]:
        if way.toward_node not in self._ways or len(pieces) < 2:
            return pieces
        self.hit(now)
        made = [pieces[at ^ 1] for at in range(len(pieces) & ~1)]
        made += pieces[len(made) :]
        return made


class Deaf(LinkFault):
    """Nothing passes in the given directions."""

    def __init__(self, ways: tuple[bool, ...]) -> None:
        super().__init__()
        self._ways = ways

    def carry(self, now: Ns, way: Way, pieces: list[Piece]) -> list[Piece]:
        if way.toward_node not in self._ways or not pieces:
            return pieces
        self.hit(now)
        return []


class HalfOpen(LinkFault):
    """The connections that there are lead nowhere from now on, and nobody is told; new ones work."""

    def __init__(self) -> None:
        super().__init__()
        self._dead: set[int] = set()

    def begin(self, now: Ns, link: Link) -> None:
        self._dead = {way.connection for way in link.ways}

    def carry(self, now: Ns, way: Way, pieces: list[Piece]) -> list[Piece]:
        if way.connection not in self._dead:
            return pieces
        self.hit(now)
        return []

    def closes(self, now: Ns, way: Way) -> bool:
        return way.connection not in self._dead


class Held(LinkFault):
    """Everything is held back, and comes at once when the fault ends: in one piece for each direction."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[Way, list[bytes]] = {}

    def carry(self, now: Ns, way: Way, pieces: list[Piece]) -> list[Piece]:
        if pieces:
            self.hit(now)
            self._held.setdefault(way, []).extend(piece.data for piece in pieces if piece.data is not None)
        return []

    def end(self, now: Ns, link: Link) -> None:
        for way, held in self._held.items():
            if way in link.ways:
                link.hand_on(now, way, [Piece(now, b"".join(held))])


class Refusing(LinkFault):
    """The connections that there are end, and no new one is made."""

    def begin(self, now: Ns, link: Link) -> None:
        link.reset()

    def admits(self, now: Ns) -> bool:
        self.hit(now)
        return False


class Astray(LinkFault):
    """Connections lead to another node."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__()
        self._right = self._wrong = target

    def begin(self, now: Ns, link: Link) -> None:
        self._right, link.target = link.target, self._wrong
        link.reset()

    def admits(self, now: Ns) -> bool:
        self.hit(now)
        return True

    def end(self, now: Ns, link: Link) -> None:
        link.target = self._right
        link.reset()


class Flapping(LinkFault):
    """The link is cut and joined again by turns; every connection that there is then is reset."""

    def __init__(self, period: Ns) -> None:
        super().__init__()
        self._half = Ns(max(1, period // 2))
        self._next = FAR

    def begin(self, now: Ns, link: Link) -> None:
        self._next = now

    def act(self, now: Ns, link: Link) -> bool:
        if now < self._next:
            return False
        self._next = Ns(now + self._half)
        link.cut = not link.cut
        if not link.cut:
            link.reset()
        self.hit(now)
        return True

    @property
    def wake(self) -> Ns:
        return self._next

    def end(self, now: Ns, link: Link) -> None:
        link.cut = False


# ---- edits of one frame


def wrong_transaction(frame: bytes) -> bytes:
    """The transaction number of another request."""
    return bytes((frame[0] ^ 0x55, frame[1])) + frame[2:]


def wrong_unit(frame: bytes) -> bytes:
    """Another unit's number."""
    return frame[:6] + bytes((frame[6] ^ 0x10,)) + frame[7:]


def wrong_function(frame: bytes) -> bytes:
    """Another function's code."""
    return frame[:_FUNCTION] + bytes((frame[_FUNCTION] ^ 0x07,)) + frame[_FUNCTION + 1 :]


def byte_count(by: int) -> Callable[[bytes], bytes]:
    """A reply to a read whose byte count lies."""

    def edit(frame: bytes) -> bytes:
        if frame[_FUNCTION] not in (READ_HOLDING, READ_INPUT):
            return frame
        return frame[:_FIRST] + bytes((frame[_FIRST] + by & 0xFF,)) + frame[_FIRST + 1 :]

    return edit


def fewer_registers(frame: bytes) -> bytes:
    """A reply to a read that is whole in itself, but lacks the last register."""
    if frame[_FUNCTION] not in (READ_HOLDING, READ_INPUT) or len(frame) < _FIRST + 5:
        return frame
    return _headed(frame, frame[_FUNCTION : _FUNCTION + 1] + bytes((frame[_FIRST] - 2,)) + frame[_FIRST + 1 : -2])


def header(protocol: int | None = None, length: int | None = None) -> Callable[[bytes], bytes]:
    """A header that lies."""

    def edit(frame: bytes) -> bytes:
        transaction, its_protocol, its_length = struct.unpack_from(">HHH", frame)
        told = its_protocol if protocol is None else protocol, its_length if length is None else length
        return struct.pack(">HHH", transaction, *told) + frame[6:]

    return edit


def exception(code: int) -> Callable[[bytes], bytes]:
    """An exception reply in the place of the reply."""
    return lambda frame: _headed(frame, bytes((frame[_FUNCTION] | 0x80, code)))


def truncated(count: int) -> Callable[[bytes], bytes]:
    """A frame without its last bytes; what follows takes their place."""
    return lambda frame: frame[: max(1, len(frame) - count)]


def spoilt_block(frame: bytes) -> bytes:
    """A block of a transfer with one bit of its last byte flipped; other frames as they are."""
    body = _BODY + 2 * TRANSFER_HEAD
    if frame[_FUNCTION] != WRITE_MANY or len(frame) <= body:
        return frame
    if struct.unpack_from(">H", frame, _FIRST)[0] != TRANSFER_AT or struct.unpack_from(">H", frame, _BODY)[0] != TransferOp.DATA:
        return frame
    length = struct.unpack_from(">H", frame, _BODY + 12)[0]
    at = min(len(frame), body + length) - 1
    return frame[:at] + bytes((frame[at] ^ 0x10,)) + frame[at + 1 :]


def _headed(frame: bytes, pdu: bytes) -> bytes:
    return frame[:4] + struct.pack(">HB", len(pdu) + 1, frame[6]) + pdu
