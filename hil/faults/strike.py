"""A fault as it strikes a rig: what is done at its onset and at its end, and the proof that it did anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from hil.rig import Rig
from twin.clock import Ns, ns
from twin.fault import Fault, FaultError
from twin.trace import Event

if TYPE_CHECKING:
    from hil.house import House


@dataclass(frozen=True, slots=True)
class FaultOn(Event):
    """A fault strikes from now on."""

    kind: str


@dataclass(frozen=True, slots=True)
class FaultFired(Event):
    """A fault has really changed something, for the first time."""

    kind: str


@dataclass(frozen=True, slots=True)
class FaultOff(Event):
    """A fault has ended."""

    kind: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where a fault strikes, and how hard.

    Attributes:
        values: of all its parameters.
        chance: of its own: other faults do not change what it draws.
    """

    rig: Rig
    fault: Fault
    values: Mapping[str, float]
    chance: Random
    house: "House | None" = None

    @property
    def target(self) -> str:
        return self.fault.target

    @property
    def factory_house(self) -> "House":
        """The House of the core.

        Raises:
            FaultError: the rig is in none.
        """
        if self.house is None:
            raise FaultError(f"{self.fault.target}: {self.fault.kind} needs a core in a House")
        return self.house

    def time(self, name: str) -> Ns:
        """A parameter in seconds, as a time."""
        return ns(self.values[name])

    def whole(self, name: str) -> int:
        """A parameter that counts."""
        return round(self.values[name])


class Strike:
    """One fault; `on` and `off` are called between two instants."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.active = False
        self._fired = False

    def on(self) -> None:
        """It strikes."""
        self._tell(FaultOn(self.site.target, self.site.fault.kind))
        self.active = True
        self.begin()

    def off(self) -> None:
        """It ends."""
        self.active = False
        self.end()
        self._tell(FaultOff(self.site.target, self.site.fault.kind))

    def fired(self, now: Ns | None = None) -> None:
        """It has changed something."""
        if not self._fired:
            self._fired = True
            self.site.rig.trace.event(self.site.rig.now if now is None else now, FaultFired(self.site.target, self.site.fault.kind))

    def begin(self) -> None:
        """What the onset does."""

    def end(self) -> None:
        """What the end does."""

    def _tell(self, event: Event) -> None:
        self.site.rig.trace.event(self.site.rig.now, event)


class Repeated(Strike):
    """Does something at its onset and then once in a period, until it ends or has done it often enough."""

    times: int | None = None

    def begin(self) -> None:
        self._left = self.times
        self._again()

    def turn(self) -> None:
        """What it does."""
        raise NotImplementedError

    def _again(self) -> None:
        if not self.active or self._left == 0:
            return
        if self._left is not None:
            self._left -= 1
        self.turn()
        self.site.rig.at(Ns(self.site.rig.now + max(1, self.site.time("period"))), self._again)
