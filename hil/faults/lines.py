"""What can happen on a serial line: bits, bytes and whole frames spoilt, pauses, echoes, and somebody who does not let go."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hil.bus import CLASH, CONTROLLER, Bus, BusFault, Sent
from twin.clock import Ns


class Spoilt(BusFault):
    """A share of the frames to and from a node come otherwise.

    Args:
        node: which one's.
        share: of the frames that are struck.
        strike: what becomes of one.
        replies: only what the node says is struck.
    """

    def __init__(
        self, node: str, share: float, chance: Random, strike: Callable[[Bus, Sent, Random], list[Sent]], replies: bool = False
    ) -> None:
        super().__init__()
        self._node, self._share, self._chance, self._strike, self._replies = node, share, chance, strike, replies

    def carry(self, bus: Bus, sent: Sent) -> list[Sent]:
        meant = sent.source == self._node if self._replies else bus.concerns(self._node, sent)
        if not meant or not sent.data or (self._share < 1.0 and self._chance.random() >= self._share):
            return [sent]
        self.hit(sent.start)
        return self._strike(bus, sent, self._chance)


def flipped(bus: Bus, sent: Sent, chance: Random) -> list[Sent]:
    """One bit is the other way round."""
    at = chance.randrange(8 * len(sent.data))
    data = bytearray(sent.data)
    data[at // 8] ^= 1 << at % 8
    return [replace(sent, data=bytes(data))]


def lost(bus: Bus, sent: Sent, chance: Random) -> list[Sent]:
    """One byte is missing."""
    at = chance.randrange(len(sent.data))
    return [replace(sent, data=sent.data[:at] + sent.data[at + 1 :])]


def noise(bus: Bus, sent: Sent, chance: Random) -> list[Sent]:
    """A byte more, before the frame, within it or after it."""
    at = chance.randrange(len(sent.data) + 1)
    data = sent.data[:at] + bytes([chance.randrange(256)]) + sent.data[at:]
    return [replace(sent, data=data)]


def collided(bus: Bus, sent: Sent, chance: Random) -> list[Sent]:
    """Its last quarter is not what was sent, for somebody else speaks too."""
    at = len(sent.data) * 3 // 4
    return [replace(sent, data=sent.data[:at] + sent.data[at:].translate(CLASH))]


def parted(gap: Ns) -> Callable[[Bus, Sent, Random], list[Sent]]:
    """A pause in its middle."""

    def strike(bus: Bus, sent: Sent, chance: Random) -> list[Sent]:
        middle = len(sent.data) // 2
        first = replace(sent, data=sent.data[:middle], end=bus.end(sent.start, middle))
        start = Ns(first.end + gap)
        rest = replace(sent, data=sent.data[middle:], start=start, end=bus.end(start, len(sent.data) - middle), late=gap)
        return [first, rest]

    return strike


class Echo(BusFault):
    """The controller hears what it says itself, and all that it hears comes in lumps.

    Args:
        lump: from one to the next.
    """

    def __init__(self, lump: Ns) -> None:
        super().__init__()
        self._lump = lump

    def carry(self, bus: Bus, sent: Sent) -> list[Sent]:
        if sent.source == CONTROLLER:
            self.hit(sent.start)
        return [sent]

    def begin(self, bus: Bus) -> None:
        bus.lump = self._lump

    def end(self, bus: Bus) -> None:
        bus.lump = Ns(0)


class Stuck(BusFault):
    """A node's transceiver drives the line and does not let go: all that others say is spoilt, and it hears nothing."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def carry(self, bus: Bus, sent: Sent) -> list[Sent]:
        self.hit(sent.start)
        return [sent]

    def begin(self, bus: Bus) -> None:
        bus.stations[self._node].stuck = True

    def end(self, bus: Bus) -> None:
        bus.stations[self._node].stuck = False
