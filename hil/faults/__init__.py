"""Every kind of fault that there is, and how a rig is armed with some.

    arm(rig, [Fault(at=Ns(2 * S), kind="link-cut", target="belt-1", lasts=Ns(S))], seed=1)

What it does lies in the Trace: FaultOn at its onset, FaultFired when it has really changed something, FaultOff at its end.
"""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hil.bus import BusFault
from hil.faults import catalogue, intruders
from hil.faults import lines as linefaults
from hil.faults import links as linkfaults
from hil.faults import nodes as nodefaults
from hil.faults.links import BOTH, FROM_NODE, TO_NODE
from hil.faults.strike import FaultFired, FaultOff, FaultOn, Site, Strike
from hil.link import LinkFault
from hil.rig import Rig
from hil.targets import Inject
from twin import faults as world
from twin.clock import US, Ns
from twin.factory import Factory, Node
from twin.fault import Fault, FaultError, Kind, Subject

if TYPE_CHECKING:
    from hil.house import House

__all__ = ["KINDS", "FaultFired", "FaultOff", "FaultOn", "arm", "check", "kinds_of"]

_OURS: Mapping[str, Kind] = {kind.name: kind for kind in (*catalogue.LINK, *catalogue.LINE, *catalogue.NODE, *catalogue.CONTROLLER)}
KINDS: Mapping[str, Kind] = MappingProxyType({**world.KINDS, **_OURS})
assert len(KINDS) == len(world.KINDS) + len(_OURS), "two kinds have one name"
CORE = "core"
CUT = "link-cut"  # of whatever a node hangs on


def kinds_of(factory: Factory) -> Mapping[str, Kind]:
    """All kinds, with those that the factory's own machine types declare."""
    return {**world.kinds_of(factory), **_OURS}


# ---- links


def _edited(edit: Callable[[bytes], bytes], site: Site, ways: tuple[bool, ...] = FROM_NODE) -> LinkFault:
    return linkfaults.Edited(ways, site.values["share"], site.chance, edit)


def _late(site: Site, least: Ns, spread: Ns) -> LinkFault:
    return linkfaults.Late(BOTH, least, spread, site.chance)


def _foreign_master(site: Site) -> LinkFault:
    commands = []
    for machine in site.rig.factory.on(site.target):
        status, command = machine.type.layouts
        commands.append((machine.base + status.size, command.size))
    return intruders.ForeignWriter(commands, site.whole("epoch"))


def _astray(site: Site) -> LinkFault:
    names = [name for name in site.rig.nodes if name not in site.rig.lines]
    other = site.rig.factory.nodes[names[(names.index(site.target) + 1) % len(names)]]
    return linkfaults.Astray((other.host, other.port))


_LINK: Mapping[str, Callable[[Site], LinkFault]] = {
    "link-cut-to-node": lambda _: linkfaults.Deaf(TO_NODE),
    "link-cut-from-node": lambda _: linkfaults.Deaf(FROM_NODE),
    "link-half-open": lambda _: linkfaults.HalfOpen(),
    "link-reset": lambda s: linkfaults.Broken(FROM_NODE, s.values["share"], s.chance),
    "link-refused": lambda _: linkfaults.Refusing(),
    "link-flapping": lambda s: linkfaults.Flapping(s.time("period")),
    "link-delay": lambda s: _late(s, s.time("delay"), Ns(0)),
    "link-jitter": lambda s: _late(s, s.time("least"), s.time("spread")),
    "link-held": lambda _: linkfaults.Held(),
    "link-loss": lambda s: linkfaults.Lost(BOTH, s.values["share"], s.chance),
    "link-duplicate": lambda s: linkfaults.Twice(BOTH, s.values["share"], s.chance),
    "link-reorder": lambda _: linkfaults.Swapped(FROM_NODE),
    "link-bytewise": lambda s: linkfaults.Bytewise(BOTH, 1.0, s.chance, s.time("gap")),
    "link-truncate": lambda s: _edited(linkfaults.truncated(s.whole("bytes")), s),
    "link-spoilt-block": lambda s: _edited(linkfaults.spoilt_block, s, TO_NODE),
    "link-wrong-transaction": lambda s: _edited(linkfaults.wrong_transaction, s),
    "link-wrong-unit": lambda s: _edited(linkfaults.wrong_unit, s),
    "link-wrong-function": lambda s: _edited(linkfaults.wrong_function, s),
    "link-byte-count": lambda s: _edited(linkfaults.byte_count(s.whole("by")), s),
    "link-fewer-registers": lambda s: _edited(linkfaults.fewer_registers, s),
    "link-wrong-protocol": lambda s: _edited(linkfaults.header(protocol=s.whole("protocol")), s),
    "link-wrong-length": lambda s: _edited(linkfaults.header(length=s.whole("length")), s),
    "link-wrong-request": lambda s: _edited(linkfaults.header(length=s.whole("length")), s, TO_NODE),
    "link-exception": lambda s: _edited(linkfaults.exception(s.whole("code")), s),
    "link-junk": lambda s: intruders.Junk(s.values["rate"], s.chance),
    "link-foreign-master": _foreign_master,
    "link-replay": lambda s: intruders.Replay(s.time("after")),
    "link-hoarding": lambda s: intruders.Hoarder(s.whole("connections")),
    "link-knocking": lambda s: intruders.Knocker(s.values["rate"]),
    "link-dawdling": lambda s: intruders.Dawdler(s.whole("connections"), s.time("period")),
    "link-swapped": _astray,
}


def _spoilt(site: Site, strike: Callable[..., Any], replies: bool = False) -> BusFault:
    return linefaults.Spoilt(site.target, site.values["share"], site.chance, strike, replies)


_LINE: Mapping[str, Callable[[Site], BusFault]] = {
    "line-wrong-crc": lambda s: _spoilt(s, linefaults.flipped, replies=True),
    "line-gap": lambda s: _spoilt(s, linefaults.parted(s.time("gap"))),
    "line-echo": lambda s: linefaults.Echo(s.time("lump")),
    "line-lost-byte": lambda s: _spoilt(s, linefaults.lost),
    "line-noise": lambda s: _spoilt(s, linefaults.noise),
    "line-collision": lambda s: _spoilt(s, linefaults.collided),
    "line-stuck": lambda s: linefaults.Stuck(s.target),
}


class _OnLine(Strike):
    """Something that happens on a serial line."""

    def begin(self) -> None:
        self._fault = _LINE[self.site.fault.kind](self.site)
        self._fault.first = self.fired
        self.site.rig.lines[self.site.target].add(self._fault)

    def end(self) -> None:
        self.site.rig.lines[self.site.target].remove(self._fault)


class _OnLink(Strike):
    """Something that a link does."""

    def begin(self) -> None:
        self._fault = _LINK[self.site.fault.kind](self.site)
        self._fault.first = self.fired
        self._link.add(self._fault, self.site.rig.now)

    def end(self) -> None:
        self._link.remove(self._fault, self.site.rig.now)

    @property
    def _link(self) -> Any:
        return self.site.rig.links[self.site.target]


class _Cut(Strike):
    """The cable is pulled; the rig tells that too."""

    def begin(self) -> None:
        self.site.rig.cut(self.site.target)
        self.fired()

    def end(self) -> None:
        self.site.rig.heal(self.site.target)


# ---- nodes and the core

_inside = nodefaults.Inside
_STRIKES: Mapping[str, Callable[[Site], Strike]] = {
    CUT: _Cut,
    **dict.fromkeys(_LINK, _OnLink),
    **dict.fromkeys(_LINE, _OnLine),
    "node-reset": nodefaults.Reset,
    "node-power-cut": nodefaults.PowerCut,
    "node-brown-out": nodefaults.BrownOut,
    "node-reset-loop": nodefaults.ResetLoop,
    "node-hang": lambda s: _inside(s, Inject.HANG, lambda _: 0),
    "node-pause": lambda s: _inside(s, Inject.PAUSE, lambda s: s.time("pause") // US),
    "node-overload": lambda s: _inside(s, Inject.LOAD, lambda s: s.time("load") // US, 0),
    "node-no-heap": lambda s: _inside(s, Inject.EAT, lambda s: s.whole("left"), 0),
    "node-flash-read-only": lambda s: _inside(s, Inject.READ_ONLY, lambda _: 1, 0),
    "node-pin-error": lambda s: _inside(s, Inject.RAISE, lambda s: s.whole("reads")),
    "node-config-flip": lambda s: nodefaults.Spoilt(s, "node.json", nodefaults.flipped),
    "node-config-short": lambda s: nodefaults.Spoilt(s, "node.json", nodefaults.shortened),
    "node-config-foreign": lambda s: nodefaults.Spoilt(s, "node.json", nodefaults.foreign),
    "node-counter-lost": lambda s: nodefaults.Spoilt(s, "epoch", lambda _, __: b""),
    "node-counter-spoilt": lambda s: nodefaults.Spoilt(s, "epoch", lambda _, __: b"\xff\xfe?"),
    "node-clock-wraps": nodefaults.Wraps,
    "node-clock-drifts": nodefaults.Drifts,
    "controller-killed": nodefaults.Killed,
    "controller-crash-loop": nodefaults.CrashLoop,
    "controller-stalled": nodefaults.Stalled,
    "controller-slow": nodefaults.Slow,
    "controller-second": lambda s: nodefaults.Second(s, same=False),
    "controller-twice": lambda s: nodefaults.Second(s, same=True),
    "controller-wall-clock": nodefaults.WallClock,
    "controller-epoch-lost": nodefaults.EpochLost,
}
assert set(_STRIKES) == set(_OURS), sorted(set(_STRIKES) ^ set(_OURS))


# ---- the world


class _Edit(Strike):
    """What a sensor says, or what an output does, is not what it was."""

    def begin(self) -> None:
        machine, _, pin = self.site.target.partition(".")
        sensor = KINDS[self.site.fault.kind].subject is Subject.SENSOR
        edits = self._world.sensor_edits if sensor else self._world.pin_edits
        self._edits = edits.setdefault((machine, pin), [])
        self._edit = _Watched(self, self._made(pin))
        self._edits.append(self._edit)

    def _made(self, pin: str) -> Any:
        fault, factory = self.site.fault, self.site.rig.factory
        if pin == world.FRAMES:
            return world.edit_steps(fault)
        if fault.kind == "sensor-swapped":
            machine, other = world.swapped_with(factory, fault)
            return world.edit(fault, 0, lambda: self._world.state.sensors[machine][other])
        return world.edit(fault, self.site.chance.getrandbits(32))

    def end(self) -> None:
        self._edits.remove(self._edit)

    @property
    def _world(self) -> Any:
        return self.site.rig.world


class _Watched:
    """An edit whose first effect is told."""

    def __init__(self, strike: Strike, edit: Any) -> None:
        self._strike, self._edit = strike, edit
        self.wake = edit.wake

    @property
    def fired(self) -> int:
        fired: int = self._edit.fired
        return fired

    def __call__(self, now: Ns, value: Any) -> Any:
        made = self._edit(now, value)
        if self._edit.fired:
            self._strike.fired(now)
        return made


class _InPlant(Strike):
    """A machine itself is not what it was."""

    def begin(self) -> None:
        machine, rig = self.site.rig.factory.machines[self.site.target], self.site.rig

        def strike(state: Any, params: Any) -> Any:
            self._before = state
            struck = world.spoil(self.site.fault, machine.type, state, params)
            if struck != state:
                self.fired()
            return struck

        rig.world.touch(machine.name, strike, rig.now)

    def end(self) -> None:
        machine, rig = self.site.rig.factory.machines[self.site.target], self.site.rig

        def mend(state: Any, params: Any) -> Any:
            return world.restore(self.site.fault, machine.type, state, params, self._before)

        rig.world.touch(machine.name, mend, rig.now)


# ---- arming


def check(factory: Factory, faults: Iterable[Fault]) -> None:
    """Whether all these faults can be put into a factory.

    Raises:
        FaultError: the first that cannot, and why.
    """
    kinds, of_the_world = kinds_of(factory), []
    for fault in faults:
        if fault.kind not in kinds:
            raise FaultError(f"{fault.target}: there is no kind {fault.kind!r}; there are {', '.join(kinds)}")
        kind = kinds[fault.kind]
        if kind.subject in (Subject.LINK, Subject.NODE, Subject.CONTROLLER):
            world.check_values(fault, kind)
            _check_target(factory, fault, kind)
        else:
            of_the_world.append(fault)
    world.check(factory, of_the_world)


def _check_target(factory: Factory, fault: Fault, kind: Kind) -> None:
    there = [CORE] if kind.subject is Subject.CONTROLLER else [n.name for n in factory.nodes.values() if _carried(n, kind)]
    if fault.target not in there:
        raise FaultError(f"{fault.kind}: there is no {kind.subject} {fault.target!r}; there are {', '.join(there) or 'none'}")
    if fault.kind == "link-swapped" and len(there) < 2:
        raise FaultError(f"{fault.target}: {fault.kind} needs a second node, and there is none")


def _carried(node: Node, kind: Kind) -> bool:
    """Whether a node in the rig hangs on what a kind of fault strikes."""
    if not node.virtual or kind.subject is not Subject.LINK or kind.name == CUT:
        return node.virtual
    return (node.serial is not None) == (kind.name in _LINE)


def arm(rig: Rig, faults: Iterable[Fault], seed: int, house: "House | None" = None) -> None:
    """Have faults strike a rig when their time comes, the same for the same seed.

    Raises:
        FaultError: one that cannot be put in, and why; then none is.
    """
    faults = tuple(faults)
    check(rig.factory, faults)
    kinds = kinds_of(rig.factory)
    for fault in faults:
        kind = kinds[fault.kind]
        if kind.subject is Subject.LINK and fault.target not in (*rig.links, *rig.lines):
            raise FaultError(f"{fault.target}: {fault.kind} needs a link; the rig was made without")
        if kind.subject is Subject.CONTROLLER and house is None:
            raise FaultError(f"{fault.target}: {fault.kind} needs a core in a House")
    for number, fault in enumerate(faults):
        kind = kinds[fault.kind]
        strike = _strike(Site(rig, fault, world.values(fault, kind), Random(f"{seed} {number}"), house), kind)
        rig.at(fault.at, strike.on)
        if fault.lasts is not None:
            rig.at(Ns(fault.at + fault.lasts), strike.off)


def _strike(site: Site, kind: Kind) -> Strike:
    if kind.subject is Subject.PLANT:
        return _InPlant(site)
    if kind.subject in (Subject.SENSOR, Subject.ACTUATOR):
        return _Edit(site)
    return _STRIKES[kind.name](site)
