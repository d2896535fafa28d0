"""How a node and the controller are broken: power, processor, memory, flash, clock; the core's life."""

import json
from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

from hil.faults.strike import Repeated, Site, Strike
from hil.rig import Rig
from hil.targets import Inject
from twin.clock import US, Ns
from twin.export import sealed

_WRAP_US = 1000 << 30  # MicroPython's ticks_ms wrap here, and ticks_us with them


class Reset(Strike):
    """The node starts anew."""

    def begin(self) -> None:
        self.site.rig.reset(self.site.target, "fault")
        self.fired()


class ResetLoop(Repeated):
    """It does so again and again."""

    def turn(self) -> None:
        self.site.rig.reset(self.site.target, "fault")
        self.fired()


class PowerCut(Strike):
    """The node has no power."""

    def begin(self) -> None:
        if self.site.rig.nodes[self.site.target].alive:
            self.fired()
        self.site.rig.power_off(self.site.target)

    def end(self) -> None:
        self.site.rig.power_on(self.site.target, "fault")


class BrownOut(Repeated):
    """The power dips, for a tenth of the period each time."""

    def begin(self) -> None:
        self.times = self.site.whole("dips")
        super().begin()

    def turn(self) -> None:
        rig, node = self.site.rig, self.site.target
        rig.power_off(node)
        rig.at(Ns(rig.now + self.site.time("period") // 10), lambda: _back(rig, node))
        self.fired()


def _back(rig: Rig, node: str) -> None:
    if not rig.nodes[node].alive:
        rig.power_on(node, "fault")


class Inside(Strike):
    """Something breaks in the node's processor.

    Attributes:
        what: is broken; `amount` says how much, `over` with what it is mended.
    """

    def __init__(self, site: Site, what: Inject, amount: Callable[[Site], int], over: int | None = None) -> None:
        super().__init__(site)
        self._what, self._amount, self._over = what, amount, over

    def begin(self) -> None:
        if self.site.rig.nodes[self.site.target].alive:
            self.site.rig.inject(self.site.target, self._what, self._amount(self.site))
            self.fired()

    def end(self) -> None:
        if self._over is not None and self.site.rig.nodes[self.site.target].alive:
            self.site.rig.inject(self.site.target, self._what, self._over)


_WHOLE: "WeakKeyDictionary[Rig, dict[Path, tuple[bytes, int]]]" = WeakKeyDictionary()
"""What spoilt files held before anybody spoilt them, and how many faults do: the last one to end makes them whole."""


class Spoilt(Strike):
    """A file in the node's flash is not what it was, after a moment without power; at the end, after another, it is again."""

    def __init__(self, site: Site, pattern: str, spoil: Callable[[Site, bytes], bytes]) -> None:
        super().__init__(site)
        self._pattern, self._spoil = pattern, spoil
        self._spoilt: list[Path] = []

    def begin(self) -> None:
        rig, node = self.site.rig, self.site.target
        rig.power_off(node)
        for path in sorted(rig.nodes[node].folder.glob(self._pattern)):
            before = path.read_bytes()
            after = self._spoil(self.site, before)
            if after != before:
                whole, times = _WHOLE.setdefault(rig, {}).get(path, (before, 0))
                _WHOLE[rig][path] = whole, times + 1
                self._spoilt.append(path)
                path.write_bytes(after)
                self.fired()
        rig.power_on(node, "fault")

    def end(self) -> None:
        rig, node = self.site.rig, self.site.target
        rig.power_off(node)
        for path in self._spoilt:
            whole, times = _WHOLE[rig].pop(path)
            if times > 1:
                _WHOLE[rig][path] = whole, times - 1
            else:
                path.write_bytes(whole)
        rig.power_on(node, "fault")


def flipped(site: Site, content: bytes) -> bytes:
    """One bit the other way."""
    if not content:
        return content
    bits = 8 * len(content)
    at = site.whole("bit") % bits if site.whole("bit") >= 0 else site.chance.randrange(bits)
    return content[: at // 8] + bytes((content[at // 8] ^ 1 << at % 8,)) + content[at // 8 + 1 :]


def shortened(site: Site, content: bytes) -> bytes:
    """The beginning of it."""
    return content[: int(len(content) * site.values["share"])]


def foreign(site: Site, content: bytes) -> bytes:
    """The same node of another factory, whose register map has another hash; whole in itself."""
    try:
        config = json.loads(content)
    except ValueError:
        return content  # it is broken already
    return sealed({**config, "map_hash": config["map_hash"] ^ 1}).encode()


class Wraps(Strike):
    """The node starts anew with a clock that is about to wrap."""

    def begin(self) -> None:
        rig, before = self.site.rig, self.site.time("before")
        vm = rig.nodes[self.site.target]
        rig.power_off(self.site.target)
        vm.clock_start_us = _WRAP_US * (1 + (rig.now + before) // US // _WRAP_US) - (rig.now + before) // US
        rig.power_on(self.site.target, "fault")
        rig.at(Ns(rig.now + before), self._wrapped)

    def _wrapped(self) -> None:
        if self.site.rig.nodes[self.site.target].alive:
            self.fired()


class Drifts(Strike):
    """The node starts anew with a clock that goes wrong."""

    def begin(self) -> None:
        self._restart(self.site.whole("ppm"))
        self.fired()

    def end(self) -> None:
        self._restart(0)

    def _restart(self, ppm: int) -> None:
        rig = self.site.rig
        rig.power_off(self.site.target)
        rig.nodes[self.site.target].drift_ppm = ppm
        rig.power_on(self.site.target, "fault")


# ---- the controller


class Killed(Strike):
    """The core is gone, until the fault ends."""

    def begin(self) -> None:
        self.site.factory_house.kill()
        self.fired()

    def end(self) -> None:
        self.site.factory_house.restart()


class CrashLoop(Repeated):
    """The core is killed and started at once, again and again."""

    def turn(self) -> None:
        self.site.factory_house.kill()
        self.site.factory_house.restart()
        self.fired()


class EpochLost(Strike):
    """The core is killed, and started with the epoch of a new state folder."""

    def begin(self) -> None:
        house = self.site.factory_house
        house.kill()
        epoch = house.folder / "epoch"
        if epoch.exists():
            epoch.unlink()
            self.fired()
        house.restart()


class Stalled(Strike):
    """The core's process stands still."""

    def begin(self) -> None:
        _stall(self, self.site.time("stall"))


class Slow(Repeated):
    """It stands still for a moment, again and again."""

    def turn(self) -> None:
        _stall(self, self.site.time("load"))


def _stall(strike: Strike, duration: Ns) -> None:
    rig = strike.site.rig
    until = Ns(rig.now + duration)
    if any(guest.name == "core" and guest.wake < until for guest in rig.guests):
        strike.fired()
    rig.stall("core", until)


class Second(Strike):
    """Another core, on a state folder of its own or on the same."""

    def __init__(self, site: Site, same: bool) -> None:
        super().__init__(site)
        self._same = same

    def begin(self) -> None:
        house = self.site.factory_house
        self._tenant = house.second(house.folder if self._same else None)
        self.fired()

    def end(self) -> None:
        self.site.factory_house.dismiss(self._tenant)


class WallClock(Strike):
    """The wall clock jumps, as the core sees it."""

    def begin(self) -> None:
        self.site.factory_house.step_wall_clock(self.site.time("step"), self.fired)

    def end(self) -> None:
        self.site.factory_house.step_wall_clock(Ns(0))
