"""A machine whose places its device tells: walks the SunSpec chain whenever the device is found, then lets it be read."""

from collections.abc import Callable, Collection, Sequence

from controller.fieldbus.ask import Ask
from controller.fieldbus.channel import Channel, Unit
from controller.fieldbus.reading import Reading
from controller.fieldbus.sunspec import Chain, Walk, placed, walk
from controller.modbus.pdu import LinkDown, ModbusError, NoReply, ProtocolError, Read, Refused
from twin.clock import MS, Ns, S
from twin.maps import Map, MapError, Mapped
from twin.trace import Belief, Quality

AGAIN = Ns(10 * S)
"""A device without a chain, or with one that has no end, is asked for it again after this; some are slow to start."""
SELDOM = Ns(640 * S)
"""A chain without an end is looked at ever less often, down to this."""
TRIES = 3
"""So often each step of the chain is asked for, where a device is busy or a reply is lost."""
BUSY = Ns(500 * MS)
"""Between two of these where the device says that it is busy."""
PASSING = (5, 6, 10, 11)
"""Exceptions that say nothing of what is there."""


class Survey:
    """The way through one machine's chain.

    Attributes:
        chain: what was found last.

    Args:
        settle: is called with all rows, their places found, and the names of those that have none.
    """

    def __init__(
        self, map: Map, reading: Reading, unit: Unit, channel: Channel, settle: Callable[[Sequence[Mapped], Collection[str]], None]
    ) -> None:
        self.chain: Chain | None = None
        self._map, self._reading, self._unit, self._channel, self._settle = map, reading, unit, channel, settle
        self._walk: Walk | None = None
        self._asked: Ask | None = None
        self._tries, self._address, self._pause = 0, -1, AGAIN
        self._due: Ns | None = None
        reading.why = "its models are not known yet"
        unit.scans.append(self)

    def found(self, now: Ns) -> None:
        """Begin anew."""
        self._pause = AGAIN
        self._begin()

    def _begin(self) -> None:
        self._leave()
        self._walk = walk(self._map.sunspec)
        self._ask(next(self._walk))

    def absent(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._asked is not None and self._asked.way == 1:
            self._asked.way = 0
        self._walk = self._asked = None

    def _at(self, due: Ns) -> None:
        """Go on, or look again, at a time: the last one said holds."""
        self._due = due
        self._channel.wheel.at(due, self)

    def _ask(self, where: tuple[int, int]) -> None:
        self._tries, self._address = 0, where[0]
        self._asked = Ask(self._unit.number, Read(*where), self._heard)
        self._unit.probe = self._unit.probe or Ask(self._unit.number, Read(where[0], 1), _nothing)
        self._channel.put(self._asked)

    def _heard(self, ask: Ask, reply: bytes | ModbusError, now: Ns) -> None:
        if ask is not self._asked or self._walk is None:
            return
        if isinstance(reply, LinkDown):
            self._leave()
            return
        busy = isinstance(reply, Refused) and reply.code in PASSING
        if busy or isinstance(reply, NoReply | ProtocolError):
            self._tries += 1
            if self._tries < TRIES:
                self._at(Ns(now + (BUSY if busy else 0)))
                return
            if self.chain is not None or self._address not in self._map.sunspec:
                self._leave()  # a chain that breaks off here is no chain
                self._again(now)
                return
        words = reply if isinstance(reply, ModbusError) else tuple(
            int.from_bytes(reply[i : i + 2], "big") for i in range(0, len(reply), 2)
        )
        try:
            self._ask(self._walk.send(words))
        except StopIteration as end:
            self._leave()
            self._end(end.value, now)

    def _again(self, now: Ns) -> None:
        self._at(Ns(now + self._pause))
        self._pause = min(Ns(2 * self._pause), SELDOM)

    def _end(self, found: Chain | str, now: Ns) -> None:
        if isinstance(found, str):
            if self.chain is None:
                self._tell(found)
            self._pause = min(self._pause, AGAIN)
            self._again(now)
            return
        if found.doubt:
            self._again(now)
        if self.chain == found or (found.doubt and self.chain is not None and _begins(self.chain, found)):
            return
        self.chain, self._reading.why = found, ""
        rows, lost = placed(self._map.signals, found)
        self._reading.clear()
        self._reading.missing = {name: Belief(Quality.BAD, why) for name, why in lost.items()}
        try:
            self._settle(rows, lost)
        except MapError as impossible:
            self._tell(str(impossible))

    def _tell(self, why: str) -> None:
        self._reading.why, self._reading.fresh = why, True
        self._channel.changes += 1

    def fire(self, due: Ns, now: Ns) -> None:
        """Ask once more what got no answer, or look again."""
        if due != self._due:
            return
        self._due = None
        if not self._channel.line.up or self._unit.silent:
            return
        if self._asked is not None:
            self._channel.probe(self._asked)
        elif self._walk is None:
            self._begin()


def _begins(whole: Chain, part: Chain) -> bool:
    """Whether a chain begins as another that was whole, or was known further."""
    return whole.base == part.base and whole.models[: len(part.models)] == part.models


def _nothing(ask: Ask, reply: object, now: Ns) -> None:
    """A probe's reply has said all by coming."""
