"""One line and the units behind it: whose turn it is, how long a reply is waited for, and which unit does not answer.

Writes go before reads. A unit that is silent three times in a row is asked nothing but one small probe now and then; the others
on its line keep their time. A line is opened again only where a unit that has answered before does not either.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from controller.fieldbus.ask import Ask, Line
from controller.fieldbus.measure import Slowest
from controller.fieldbus.wheel import Wheel
from controller.modbus.pdu import LinkDown, ModbusError, NoReply, NotAsked, ProtocolError, QueueFull, Refused
from twin.clock import MS, Clock, Ns, S, seconds

MISSES = 3
SHORTEST = Ns(50 * MS)
"""A time-out is at least this, and four times what 99 of 100 replies take."""
KNOWN = 20
"""So many replies must have come before the device's own `reply_ms` is not waited for any more."""
SILENCE, LONGEST_SILENCE = S, Ns(30 * S)
"""Nothing at all from a line that is asked for so long: it is opened again; where that did not help, after twice the time."""
PROBE_SHARE = 40
"""A probe of a silent unit may take a 40th of its line's time where others need it."""
LONGEST_PROBE = Ns(10 * S)
PATIENT_PROBE = 4
"""Every fourth probe is waited for as long as the device may think; the others as long as its neighbours take."""
MOST_WRITES = 64
ALONE, LONGEST_ALONE = Ns(60 * S), Ns(3600 * S)
"""A device that lost one of several requests is asked one at a time for so long; for twice the time when it does so again."""
FRAMING = 8
"""Characters of silence around two frames on a serial line."""
NO_ANSWER = "connected, but nothing has answered yet"
NO_PAUSE = Ns(0)
ABSENT = (10, 11)
"""Exceptions by which a gateway says that a unit does not answer."""


class Scanned(Protocol):
    """What is asked of a unit again and again."""

    def found(self, now: Ns) -> None:
        """The unit answers, for the first time or again: ask at once."""
        ...

    def absent(self) -> None:
        """It does not answer: nothing that was asked will be."""
        ...


class Unit:
    """One unit of a line.

    Attributes:
        silent: why it counts as silent; empty while it answers.
        probe: a small read.
        period: the shortest of its scans.
        patience: how long a reply is waited for.
    """

    def __init__(self, channel: "Channel", number: int, probe: Ask | None = None) -> None:
        self.channel, self.number, self.probe = channel, number, probe
        self.silent = ""
        self.period = S
        self.patience = channel.longest
        self.scans: list[Scanned] = []
        self.round_trip = Slowest()
        self.timeouts = self.refused = 0
        self._misses = self._probes = 0
        self._pause = Ns(0)
        self._probing = False

    @property
    def wait(self) -> Ns:
        """How long the next reply is waited for: while it is silent, not longer than its neighbours make it."""
        if not self.silent or not self._probes % PATIENT_PROBE:
            return self.patience
        others = [unit.patience for unit in self.channel.units.values() if unit is not self and not unit.silent]
        return min(self.patience, max(others, default=self.patience))

    @property
    def known(self) -> bool:
        """Whether it has ever answered."""
        return self.round_trip.count > 0

    @property
    def answers(self) -> bool:
        """Whether it answered when it was asked last."""
        return self.known and not self._misses

    def _learn(self) -> None:
        """How long a reply is waited for, now that more have come."""
        channel = self.channel
        self.patience = min(channel.longest, max(channel.shortest, Ns(4 * self.round_trip.p99)))

    def answered(self, took: Ns, now: Ns) -> None:
        """It has answered, if only by refusing."""
        trip = self.round_trip
        trip.add(took)
        if trip.count >= KNOWN and (not trip.count & 31 or 4 * took > self.patience):
            self._learn()
        self._misses = self._probes = 0
        if self.silent:
            self.silent, self._pause = "", Ns(0)
            self.channel.changes += 1
            for scan in self.scans:
                scan.found(now)

    def opened(self, now: Ns) -> None:
        """Its line can be used: it is asked for everything at once, or where it was silent, whether it is there."""
        if self.silent and self.probe is not None:
            self._probes = 0
            self.channel.probe(self.probe)
            return
        self.silent = ""
        for scan in self.scans:
            scan.found(now)

    def missed(self, why: str, took: Ns, now: Ns) -> None:
        """It has not."""
        self.timeouts += 1
        self._misses += 1
        if self._misses >= MISSES and not self.silent:
            self.silent = why
            self.channel.changes += 1
            for scan in self.scans:
                scan.absent()
            self.channel.withdraw(self)
        if self.silent:
            self._probes += 1
            alone = not any(unit is not self and not unit.silent for unit in self.channel.units.values())
            pause = self.period if alone else max(self.period, PROBE_SHARE * took, 2 * self._pause)
            self._pause = min(Ns(pause), LONGEST_PROBE)
            self.later(now)

    def later(self, now: Ns) -> None:
        """Probe it after its pause."""
        if self.silent and not self._probing:
            self._probing = True
            self.channel.wheel.at(Ns(now + self._pause), self)

    def fire(self, due: Ns, now: Ns) -> None:
        """Probe it, if it is still silent."""
        self._probing = False
        if self.silent and self.probe is not None:
            if self.channel.line.up:
                self.channel.probe(self.probe)
            else:
                self._probing = True
                self.channel.wheel.at(Ns(now + self.period), self)


class Channel:
    """A line, its queue, and what is on its way.

    Attributes:
        window: how many requests may be on their way.
        longest, shortest: bounds of a time-out.
        down: why it cannot be used, after more than a device's closing it while idle; empty while it can.
        mute: why it counts as not reached though it can be used: nothing at all has answered yet.
        changes: how often the belief in it, or in one of its units, has changed.
        byte: how long one takes on the line, where that matters.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        wheel: Wheel,
        make: Callable[["Channel"], Line],
        window: int = 1,
        longest: Ns = S,
        pause: Ns = NO_PAUSE,
        shortest: Ns = SHORTEST,
        byte: Ns = NO_PAUSE,
    ) -> None:
        self.name, self.clock, self.wheel = name, clock, wheel
        self.longest, self.shortest, self.pause, self.byte = longest, min(shortest, longest), pause, byte
        self.units: dict[int, Unit] = {}
        self.line = make(self)
        self.window = window if self.line.steps and not pause else 1
        self.down, self.mute = self.line.cause or "not connected yet", NO_ANSWER
        self.changes = 0
        self._writes: deque[Ask] = deque()
        self._reads: deque[Ask] = deque()
        self._flying = 0
        self._quiet = Ns(0)
        self._waiting = False
        self._together, self._losses, self._allowed = Ns(-1), 0, self.window
        self._suspect: tuple[int, Ns] | None = None
        self._alone_until = Ns(0)
        self._unheard: Ns | None = None
        self._deaf = 0
        self._witness: Ask | None = None

    def unit(self, number: int) -> Unit:
        """A unit, which is made where it is new."""
        if number not in self.units:
            self.units[number] = Unit(self, number)
        return self.units[number]

    def put(self, ask: Ask, first: bool = False) -> None:
        """Send an Ask when it is its turn; `first`: before all reads."""
        if first and len(self._writes) >= MOST_WRITES:
            full = QueueFull(f"{self.name}: {len(self._writes)} writes wait already, at most {MOST_WRITES}")
            ask.done(ask, full, self.clock.now())
            return
        ask.way = 1
        (self._writes if first else self._reads).append(ask)
        if self._flying < self.window:
            self._pump()

    def probe(self, ask: Ask, first: bool = False) -> None:
        """Send an Ask if it is not under way."""
        if ask.way == 0:
            self.put(ask, first)

    def _pump(self) -> None:
        line = self.line
        while self._flying < self.window and line.up:
            queue = self._writes or self._reads
            if not queue:
                return
            now = self.clock.now()
            if now < self._quiet:
                if not self._waiting:
                    self._waiting = True
                    self.wheel.at(self._quiet, _Resume(self))
                return
            ask = queue.popleft()
            if ask.way != 1:
                continue
            ask.way, ask.sent = 2, now
            ask.deadline = Ns(now + self.units[ask.unit].wait + self.byte * (ask.length + FRAMING))
            if self._unheard is None:
                self._unheard = now
            self._flying += 1
            if self.window < self._allowed and self._suspect is None and now >= self._alone_until:
                self.window = self._allowed
            if self._flying > 1:
                self._together = now
            self.wheel.watch.add(ask, self)
            line.send(ask)

    def resume(self) -> None:
        """The pause between two requests is over."""
        self._waiting = False
        self._pump()

    def heard(self, ask: Ask, reply: bytes | ModbusError, now: Ns) -> None:
        if ask.way != 2:
            return
        ask.way = 0
        self._flying -= 1
        self.wheel.watch.remove(ask)
        if self.pause:
            self._quiet = Ns(now + self.pause)
        unit = self.units[ask.unit]
        if type(reply) is bytes:
            self._unheard = None
            if self.mute or self._witness is not None or self._suspect is not None:
                self._answered(ask, now)
            unit.answered(Ns(now - ask.sent), now)
        else:
            self._wrong(unit, ask, reply, now)  # type: ignore[arg-type]
        ask.done(ask, reply, now)
        if self._writes or self._reads:
            self._pump()

    def _answered(self, ask: Ask, now: Ns) -> None:
        """Something has come over this line."""
        self._unheard = self._witness = None
        self._deaf = 0
        if self.mute:
            self.mute = ""
        if self._suspect is not None and ask.unit == self._suspect[0] and ask.sent >= self._suspect[1]:
            self._suspect = None  # it answers when it is asked one thing at a time
            self._alone_until = Ns(now + min(ALONE << self._losses, LONGEST_ALONE))
            self._losses = min(self._losses + 1, 10)

    def _wrong(self, unit: Unit, ask: Ask, reply: ModbusError, now: Ns) -> None:
        if isinstance(reply, Refused):
            unit.refused += 1
            self._answered(ask, now)
            if reply.code in ABSENT:
                unit.missed(f"unit {unit.number} does not answer: {reply}", Ns(now - ask.sent), now)
            else:
                unit.answered(Ns(now - ask.sent), now)
        elif isinstance(reply, NotAsked):
            unit.later(now)
        elif isinstance(reply, NoReply):
            unit.missed(f"unit {unit.number} does not answer", Ns(now - ask.sent), now)
        elif isinstance(reply, ProtocolError):
            self._answered(ask, now)
            unit.missed(f"unit {unit.number} sends what is no reply: {reply}", Ns(now - ask.sent), now)

    def expire(self, ask: Ask, now: Ns) -> None:
        """Its reply is overdue."""
        unit = self.units[ask.unit]
        patience = unit.patience
        if self._suspect is not None and ask.unit == self._suspect[0]:
            if ask.sent >= self._suspect[1]:
                self._suspect, self.window = None, self._allowed  # it does not answer alone either
        elif self.window > 1 and self._together >= ask.sent and unit.answers:
            self._suspect, self.window = (ask.unit, now), 1  # it may have lost what it was asked before it had answered
        self.line.forget(ask)
        waited = Ns(now - ask.sent)
        self.heard(ask, NoReply(f"{self.name}: no reply from unit {ask.unit} within {waited // MS} ms"), now)
        since = self._unheard
        if since is not None and self.line.up and now - since >= max(min(SILENCE << self._deaf, LONGEST_SILENCE), 3 * patience):
            self._doubt(ask, since, now)

    def _doubt(self, ask: Ask, since: Ns, now: Ns) -> None:
        """Nothing has come for long: a unit that has answered before is asked, then the line is opened again."""
        known = [unit for unit in self.units.values() if unit.known and unit.probe is not None]
        witness = min(known, key=lambda unit: bool(unit.silent), default=None)
        if witness is not None and ask is not self._witness:
            if self._witness is None or self._witness.way == 0:
                self._witness = witness.probe
                assert self._witness is not None
                self.probe(self._witness, first=True)
            return
        self._deaf, self._witness, self._unheard = min(self._deaf + 1, 10), None, None
        self.mute = f"no reply for {seconds(Ns(now - since)):.1f} s"
        self.line.drop(self.mute)

    def withdraw(self, unit: Unit) -> None:
        """Take a silent unit's reads out of the queue."""
        mine = [ask for ask in self._reads if ask.unit == unit.number]
        for ask in mine:
            ask.way = 0
            self._reads.remove(ask)

    def opened(self, now: Ns) -> None:
        self.down, self._unheard, self._witness, self._suspect = "", None, None, None
        self.changes += 1
        for unit in self.units.values():
            unit.opened(now)
        self._pump()

    def lost(self, cause: str, now: Ns) -> None:
        if cause != self.down:
            self.down = cause
            self.changes += 1
        self.mute = self.mute or NO_ANSWER
        error = LinkDown(f"{self.name}: {cause}")
        for queue in (self._writes, self._reads):
            while queue:
                ask = queue.popleft()
                if ask.way == 1:
                    ask.way = 0
                    ask.done(ask, error, now)


class _Resume:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def fire(self, due: Ns, now: Ns) -> None:
        self._channel.resume()
