"""Scans: what is asked of one unit together, when it is due, and whether all of it has come."""

from typing import Protocol

from controller.fieldbus.ask import Ask
from controller.fieldbus.channel import Channel, Unit
from controller.fieldbus.measure import Slowest
from twin.clock import Ns, S

ONCE_MORE = S
"""What is read once is asked for again after this when it did not come."""
NEVER_STALE = Ns(2**62)


class Fed(Protocol):
    """A machine's values, as far as a scan is concerned.

    Attributes:
        fresh: something has come since they were made last.
    """

    fresh: bool

    def make(self, now: Ns) -> None:
        """Make a Sample of what has come."""
        ...

    def retry(self, round_: "Round") -> None:
        """Ask again for what was refused."""
        ...


class Page(Protocol):
    """A Block of a machine, asked again and again.

    Attributes:
        gone: it was replaced.
    """

    ask: Ask
    gone: bool

    @property
    def reading(self) -> Fed:
        """Whose it is."""
        ...


class Round:
    """All Blocks of a scan class of one unit: asked together, at absolute times."""

    __slots__ = ("_armed", "_busy", "_due", "_good", "_readings", "channel", "counts", "pages", "period", "unit")

    def __init__(self, channel: Channel, unit: Unit, period: Ns, counts: "Tally") -> None:
        self.channel, self.unit, self.period, self.counts = channel, unit, period, counts
        self.pages: list[Page] = []
        self._busy, self._good, self._armed = 0, True, False
        self._readings: list[Fed] = []
        self._due = Ns(-1)
        unit.scans.append(self)

    @property
    def limit(self) -> Ns:
        """The age at which its values are Stale; what is read once never is by itself."""
        return Ns(self.period * 5 // 2) if self.period else NEVER_STALE

    def start(self, due: Ns) -> None:
        """Let the first one be due."""
        if self.period:
            self.channel.wheel.at(due, self)

    def fire(self, due: Ns, now: Ns) -> None:
        """It is due: ask, and lay down when it is due next."""
        period, counts = self.period, self.counts
        if not period:
            self._armed = False
            if not (self._good or self._busy or self.unit.silent) and self.channel.line.up:
                self._ask(now)
            return
        missed = (now - due) // period
        if missed:
            counts.skipped += missed
            due = Ns(due + missed * period)
        self.channel.wheel.at(Ns(due + period), self)
        if self._busy or self.unit.silent or not self.channel.line.up:
            counts.skipped += 1
            return
        self._ask(due)

    def found(self, now: Ns) -> None:
        """The unit is there: everything is asked for at once, also what was refused before."""
        for reading in self._readings:
            reading.retry(self)
        if not self._busy:
            self._ask(now)
        elif not self.period:
            self._good = False  # what is new is asked for when the others have come

    def absent(self) -> None:
        self._busy = 0

    def _ask(self, due: Ns) -> None:
        self._due, self._busy, self._good = due, len(self.pages), True
        for page in list(self.pages):
            if page.ask.way == 0:  # what is under way will come
                self.channel.put(page.ask)

    def add(self, page: Page, now: bool = True) -> None:
        """One more Block, which is asked at once."""
        self.pages.append(page)
        if page.reading not in self._readings:
            self._readings.append(page.reading)
        if now:
            self._busy += 1
            self.channel.put(page.ask)

    def remove(self, page: Page) -> None:
        """One Block less; its reply, if it is under way, is nobody's."""
        self.pages.remove(page)
        page.gone = True
        if page.ask.way == 1:
            page.ask.way = 0
            self._busy -= self._busy > 0

    def done(self, now: Ns, good: bool) -> None:
        """One of its Blocks has come, or will not; a scan counts when all have."""
        self._good &= good
        if self._busy:
            self._busy -= 1
            if not self._busy:
                for reading in self._readings:
                    if reading.fresh:
                        reading.make(now)
                if self._good:
                    counts = self.counts
                    counts.scans += 1
                    counts.late.add(now - self._due)
                elif not self.period and not self._armed:
                    self._armed = True
                    self.channel.wheel.at(Ns(now + ONCE_MORE), self)


class Tally:
    """What has happened with a device's scans.

    Attributes:
        late: from when a scan was due to its last reply [ns].
    """

    __slots__ = ("late", "scans", "skipped")

    def __init__(self) -> None:
        self.scans = self.skipped = 0
        self.late = Slowest()
