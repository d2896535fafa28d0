"""A machine whose places its device tells: walks the SunSpec chain whenever the device is found, then lets it be read."""

from collections.abc import Callable, Collection, Sequence

from controller.fieldbus.ask import Ask
from controller.fieldbus.channel import Channel, Unit
from controller.fieldbus.reading import Reading
from controller.fieldbus.sunspec import Chain, Walk, placed, walk
from controller.modbus.pdu import LinkDown, ModbusError, Read
from twin.clock import Ns, S
from twin.maps import Map, Mapped
from twin.trace import Belief, Quality

AGAIN = Ns(10 * S)
"""A device without a chain is asked for it again after this; some are slow to start."""


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
        reading.why = "its models are not known yet"
        unit.scans.append(self)

    def found(self, now: Ns) -> None:
        """Begin anew."""
        self._leave()
        self._walk = walk(self._map.sunspec)
        self._ask(next(self._walk))

    def absent(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._asked is not None and self._asked.way == 1:
            self._asked.way = 0
        self._walk = self._asked = None

    def _ask(self, where: tuple[int, int]) -> None:
        self._asked = Ask(self._unit.number, Read(*where), self._heard)
        self._unit.probe = self._unit.probe or Ask(self._unit.number, Read(where[0], 1), _nothing)
        self._channel.put(self._asked)

    def _heard(self, ask: Ask, reply: bytes | ModbusError, now: Ns) -> None:
        if ask is not self._asked or self._walk is None:
            return
        if isinstance(reply, LinkDown):
            self._leave()
            return
        words = reply if isinstance(reply, ModbusError) else tuple(
            int.from_bytes(reply[i : i + 2], "big") for i in range(0, len(reply), 2)
        )
        try:
            self._ask(self._walk.send(words))
        except StopIteration as end:
            self._leave()
            self._end(end.value, now)

    def _end(self, found: Chain | str, now: Ns) -> None:
        if isinstance(found, str):
            self._reading.why, self._reading.fresh = found, True
            self._channel.changes += 1
            self._channel.wheel.at(Ns(now + AGAIN), self)
        elif self.chain != found:
            self.chain, self._reading.why = found, ""
            rows, lost = placed(self._map.signals, found)
            self._reading.clear()
            self._reading.missing = {name: Belief(Quality.BAD, why) for name, why in lost.items()}
            self._settle(rows, lost)

    def fire(self, due: Ns, now: Ns) -> None:
        """Try again, if nothing was found and nothing is under way."""
        if self.chain is None and self._walk is None and self._channel.line.up and not self._unit.silent:
            self.found(now)


def _nothing(ask: Ask, reply: object, now: Ns) -> None:
    """A probe's reply has said all by coming."""
