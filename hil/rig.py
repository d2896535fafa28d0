"""Factory time: everything virtual moves through the same instants, the same way every time.

At one instant whoever is due is asked, and whoever may have been sent something is asked again, until nobody touches a socket any
more. Then time advances to the next moment that anybody waits for. A VM may run alone for a while where nothing can reach it.
"""

import contextlib
import heapq
import itertools
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hil import bus
from hil.devices import Devices, at_port
from hil.guest import Door, Guest, Participant
from hil.happenings import GuestCame, GuestLost, LinkCut, LinkHealed, NodeEnded, PowerOn
from hil.link import Link
from hil.ports import check_port
from hil.processors import spread, take_one
from hil.targets import Inject, Output, Target, TargetError, WatchdogFed, choice
from hil.targets.vm import FREE, Costs
from hil.world import FAR, STALE, World
from twin.clock import MS, Ns, S, wall_ns, wall_sleep
from twin.export import node_json
from twin.factory import Factory
from twin.node import ResetCause
from twin.trace import Trace

STREAMING = Ns(30 * MS)
"""How long a VM may run alone while it makes steps: less than its stream lies ahead, so that each is known before it is made."""

UNPACED = 0.0
MOST_ROUNDS = 10_000
KNOCKS = 16  # instants between two looks at the door


__all__ = ["MOST_ROUNDS", "STREAMING", "UNPACED", "GuestCame", "GuestLost", "LinkCut", "LinkHealed", "NodeEnded", "PowerOn", "Rig"]


class Rig:
    """Virtual nodes, the world around them, and the clock of both.

    Attributes:
        devices: the virtual ones that are none of ours; power, cut and heal mean them as they mean nodes.

    Args:
        factory: what is to be run; nodes that are not virtual are left alone.
        folder: where the nodes' file systems lie; made when missing, kept between runs.
        costs: the cost model of the boards.
        speed: factory time per wall time at most; UNPACED for as fast as it goes.
        physics: per machine, what its plant really is like.
        links: put a Link that can be cut before each node on a network; the lines of the others are the rig's anyway.
        kept: how much of the trace is kept, see Trace.
        firmware: the folder with another main.py, for all nodes or by name; a node's own is named in the factory.
        target: what the nodes run on.
        together: keep nodes and guests on this process's processor. They take turns, so that one is faster than two.
    """

    def __init__(
        self,
        factory: Factory,
        folder: Path,
        *,
        costs: Costs = FREE,
        speed: float = UNPACED,
        physics: Mapping[str, Any] | None = None,
        links: bool = False,
        kept: int | None = None,
        together: bool = False,
        firmware: Path | Mapping[str, Path] | None = None,
        target: str = choice.DEFAULT,
    ) -> None:
        self._processor = take_one() if together else None
        self.factory = factory
        self.now = Ns(0)
        self.trace = Trace(kept)
        self.world = World(factory, self.trace, physics or {})
        self.guests: list[Participant] = []
        self.listeners: list[Callable[[str, Sequence[Output]], None]] = []  # told all that nodes do, by name
        self._door: Door | None = None
        self._speed = speed
        self._started_wall: Ns | None = None
        self._instants = 0
        self._until = Ns(0)
        self._watchdogs: dict[str, Ns] = {}
        self._timeline: list[tuple[Ns, int, Callable[[], None]]] = []
        self._noted = itertools.count()
        self._stalled: dict[str, Ns] = {}
        self._live: list[Target] = []
        self._on_lines: list[Target] = []
        self._on_network: list[Target] = []
        self.nodes: dict[str, Target] = {
            node.name: choice.make(target, node.name, _prepare(folder / node.name, node_json(factory, node)), costs)
            for node in factory.nodes.values()
            if node.virtual
        }
        if not together and speed == UNPACED:
            spread(self.nodes.values())
        given = {name: factory.nodes[name].firmware for name in self.nodes}
        given |= firmware if isinstance(firmware, Mapping) else dict.fromkeys(self.nodes, firmware) if firmware else {}
        for name, image in given.items():
            if image is not None:
                self.nodes[name].flash(image)
        self.links = {
            name: Link((factory.nodes[name].host, factory.nodes[name].port), name)
            for name in self.nodes
            if links and factory.nodes[name].serial is None
        }
        self.devices = Devices(factory, lambda: self.now)
        if links:
            self.links |= {name: Link(self.devices.place(name), name) for name in self.devices}
        self.lines = bus.lay(factory, folder)
        for name, line in self.lines.items():
            self.nodes[name].quiet = line.stations[name].pins
        self._buses = tuple(dict.fromkeys(self.lines.values()))
        self._carriers: tuple[Link | bus.Bus, ...] = (*self.links.values(), *self._buses)

    @property
    def seen_by_core(self) -> Factory:
        """The factory with the links' ports in place of the nodes' own, as the core is to see it."""
        nodes = {
            name: replace(node, port=self.links[name].port) if name in self.links else node
            for name, node in self.factory.nodes.items()
        }
        devices = {
            name: at_port(device, self.links[name].port) if name in self.links else device
            for name, device in self.factory.devices.items()
        }
        return replace(self.factory, nodes=nodes, devices=devices)

    # ---- what a scenario does

    def power_on(self, node: str, cause: str = "rig") -> None:
        """Switch a node on, where it is off."""
        if node in self.devices:
            if not self.devices.on[node]:
                self.devices.power(node, True)
                self.trace.event(self.now, PowerOn(node, cause))
            return
        vm = self.nodes[node]
        if vm.alive:
            return
        if node in self.lines:
            self.lines[node].power(node, True, self.now)
        vm.reset_cause = ResetCause.WATCHDOG if cause == "watchdog" else ResetCause.POWER
        vm.power_on()
        vm.wake = self.now
        self._look_who_lives()
        self._watchdogs.pop(node, None)
        self.trace.event(self.now, PowerOn(node, cause))

    def power_off(self, node: str) -> None:
        """Take a node's power away: its pins fall to low at once."""
        if node in self.devices:
            self.devices.power(node, False)
            return
        self.nodes[node].power_off()
        self._look_who_lives()
        self._watchdogs.pop(node, None)
        self.world.power_off(node, self.now)
        if node in self.lines:
            self.lines[node].power(node, False, self.now)

    def cut(self, node: str) -> None:
        """Cut the network to a node, or its wires to the serial line."""
        self._wire(node).cut = True
        self.trace.event(self.now, LinkCut(node))

    def heal(self, node: str) -> None:
        """Join the network to a node again, or its wires."""
        self._wire(node).cut = False
        self.trace.event(self.now, LinkHealed(node))

    def _wire(self, node: str) -> "Link | bus.Station":
        return self.lines[node].stations[node] if node in self.lines else self.links[node]

    def reset(self, node: str, cause: str = "rig") -> None:
        """Take a node's power away and give it back in the same instant."""
        self.power_off(node)
        self.power_on(node, cause)

    def inject(self, node: str, what: Inject, argument: int = 0) -> None:
        """Break a node from inside, at this instant."""
        self.nodes[node].inject(what, argument)
        self.nodes[node].wake = self.now

    def stall(self, guest: str, until: Ns) -> None:
        """Do not ask a guest before `until`: its process stands still."""
        self._stalled[guest] = until

    def at(self, due: Ns, action: Callable[[], None]) -> None:
        """Do something between two instants when its time has come; what is due together is done in the order it was noted."""
        heapq.heappush(self._timeline, (due, next(self._noted), action))

    def _look_who_lives(self) -> None:
        self._live = [vm for vm in self.nodes.values() if vm.alive]
        self._on_lines = [vm for vm in self._live if vm.name in self.lines]
        self._on_network = [vm for vm in self._live if vm.name not in self.lines]

    def open_door(self, path: Path) -> None:
        """Let processes on factory time in at a Unix socket."""
        self._door = Door(path)

    def let_in(self) -> None:
        """Take in the process that waits at the door, if one does."""
        if self._door is not None and (guest := self._door.knock()) is not None:
            self._join(guest)

    def admit(self, name: str, link: socket.socket) -> Guest:
        """Take a guest that talks over a socket of this process."""
        guest = Guest(name, link)
        self._join(guest)
        return guest

    def _join(self, guest: Guest) -> None:
        if self._processor is not None and guest.pid:
            with contextlib.suppress(OSError):  # it may have ended already; then it is lost when it is asked
                os.sched_setaffinity(guest.pid, self._processor)
        self.guests.append(guest)
        self.trace.event(self.now, GuestCame(guest.name))

    def run(self, until: Ns, stop: Callable[[], bool] | None = None) -> None:
        """Let factory time pass until `until`, or until `stop()` is true between two instants; the world shows itself then."""
        self.pass_time(until, stop)
        self.world.advance(self.now)
        self.world.show()

    def pass_time(self, until: Ns, stop: Callable[[], bool] | None) -> None:
        """The same for a `stop` that looks at wall time: where it stops leaves nothing in the trace."""
        rounds = 0
        self._until = until
        while self.now < until and not (stop is not None and stop()):
            before = self.now
            self._do_what_is_due()
            self._instant()
            self._advance(until)
            rounds = rounds + 1 if self.now == before else 0
            assert rounds < MOST_ROUNDS, f"factory time stands at {self.now} ns"

    def close(self) -> None:
        """Take everything down."""
        for guest in self.guests:
            guest.dismiss()
        for vm in self.nodes.values():
            vm.power_off()
        for carrier in self._carriers:
            carrier.close()
        self.devices.close()
        if self._door is not None:
            self._door.close()

    def __enter__(self) -> "Rig":
        for name in self.nodes.keys() - self.lines.keys():
            check_port(name, self.factory.nodes[name].host, self.factory.nodes[name].port)
        with contextlib.ExitStack() as failing:
            failing.callback(self.close)
            for name in (*self.nodes, *self.devices):
                self.power_on(name)
            failing.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- one instant

    def _do_what_is_due(self) -> None:
        while self._timeline and self._timeline[0][0] <= self.now:
            heapq.heappop(self._timeline)[2]()

    def _instant(self) -> None:
        self._instants += 1
        if self._instants % KNOCKS == 0:
            self.let_in()
        stirred = False  # a node may have sent something
        while True:
            stirred |= self._pump()
            reached = self._reached()
            acted = self._ask_guests(stirred)
            for line in self._buses:
                line.fetch(self.now)
            if acted or (self.links and any(link.knocked for link in self.links.values())):
                self._pump()
                asked = [*self._on_network, *reached]
                stirred = self._ask_nodes(asked, alone=not any(guest.reacts for guest in self.guests), through=True)
                stirred |= self._pump_devices()
                if stirred:
                    continue
            elif self._pump_devices():  # what was sent to a device is no node's business
                stirred = True
                continue
            elif reached:
                self._ask_nodes(reached, alone=True, through=True)
            due = [vm for vm in self._live if vm.wake <= self.now]
            if not due:
                self._go_ahead()
                return
            stirred = self._ask_nodes(due, alone=True, through=False)

    def _pump(self) -> bool:
        if not self._carriers:
            return False
        moved = [carrier.pump(self.now) for carrier in self._carriers]  # every one of them
        return any(moved)

    def _pump_devices(self) -> bool:
        """Whether anything was on its way to a device, or was answered."""
        moved = [self.links[name].pump(self.now) for name in self.devices if name in self.links]
        return self.devices.pump(self.now) or any(moved)

    def _reached(self) -> list[Target]:
        """The nodes that a serial line has brought something at this instant."""
        return [self.nodes[name] for line in self._buses for name in line.heard if self.nodes[name].alive]

    def _go_ahead(self) -> None:
        """Nodes on serial lines go on alone at once, so that their ticks need no instants of their own."""
        if self._on_lines:
            reach = self._reach()
            idle = [vm for vm in self._on_lines if not vm.settling and vm.wake < self._alone_until(vm, reach)]
            self._ask_nodes(idle, alone=True, through=False)

    def _ask_guests(self, stirred: bool) -> bool:
        """Whether any guest did anything."""
        acted = False
        for guest in tuple(self.guests):
            if self._wake_of(guest) <= self.now or (stirred and guest.name not in self._stalled):
                self._stalled.pop(guest.name, None)
                guest.ask(self.now)
                acted |= guest.active
                if guest.gone:
                    self.guests.remove(guest)
                    self.trace.event(self.now, GuestLost(guest.name))
        return acted

    def _ask_nodes(self, asked: Iterable[Target], alone: bool, through: bool) -> bool:
        """Grant nodes their time; whether any met something on a socket."""
        now, world = self.now, self.world
        granted = tuple(asked)
        reach = self._reach() if alone else now
        for vm in granted:
            until = self._alone_until(vm, reach) if alone else now
            vm.grant(now, until, world.inputs(vm.name, now), through and alone)
        active = False
        for vm in granted:
            try:
                self._take(vm, vm.collect())
                active |= vm.active and vm.name not in self.lines  # a line takes its time
            except TargetError:
                self._take(vm, vm.leftover())
                self._ended(vm)
        return active

    def _alone_until(self, vm: Target, reach: Ns) -> Ns:
        """Until when nothing from outside can reach a node."""
        if vm.settling:
            return self.now
        alone = STREAMING if self.world.streams(vm.name) else self.world.alone[vm.name]
        if vm.name in self.lines:
            alone = min(alone, self.lines[vm.name].alone(self.now))
        return self.world.edge(self.now, Ns(max(self.now, min(self.now + alone, reach))))

    def _reach(self) -> Ns:
        """Until when nobody does anything that a node can notice, sensors aside."""
        reach = min(self._until, self._outside())
        if self._door is not None and not self.guests:
            reach = min(reach, Ns(self.now + STALE))  # somebody may come in
        return min([reach, *(vm.wake for vm in self._live if vm.settling)])

    def _outside(self) -> Ns:
        """When a guest, a link, a watchdog or the timeline is next due."""
        found = [self._wake_of(guest) for guest in self.guests]
        found += self._watchdogs.values()
        if self._carriers:
            found += [carrier.wake for carrier in self._carriers]
        if self._timeline:
            found.append(self._timeline[0][0])
        return min(found, default=FAR)

    def _wake_of(self, guest: Participant) -> Ns:
        return max(guest.wake, self._stalled.get(guest.name, guest.wake)) if self._stalled else guest.wake

    def _take(self, vm: Target, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, WatchdogFed):
                self._watchdogs[vm.name] = Ns(output.time + output.timeout_ms * MS)
        for listener in self.listeners:
            listener(vm.name, outputs)
        if vm.name in self.lines:
            self.lines[vm.name].listen(vm.name, outputs)
            outputs = [output for output in outputs if getattr(output, "pin", -1) not in vm.quiet]
        self.world.outputs(vm.name, outputs)

    def _ended(self, vm: Target) -> None:
        """Its pins stay as they were, as a board's do, until its watchdog bites."""
        self.trace.event(self.now, NodeEnded(vm.name, vm.console().rpartition("\n")[2]))
        vm.power_off()
        self._look_who_lives()
        self.world.advance(self.now)  # what it did last, though nobody may be left to ask for inputs

    # ---- between instants

    def _advance(self, until: Ns) -> None:
        soonest = Ns(max(self.now, min([until, self._outside(), *[vm.wake for vm in self._live]])))
        ahead = self.world.edge(self.now, soonest)
        self._pace(ahead)
        self.now = ahead
        if ahead < soonest and self.world.stirs(ahead):  # a sensor changes: every node looks
            for vm in self._live:
                vm.wake = self.now
            if not self._live:
                self.world.advance(self.now)  # nobody looks, and it changes all the same
        for name, due in list(self._watchdogs.items()):
            if due <= self.now:
                self.power_off(name)
                self.power_on(name, "watchdog")

    def _pace(self, ahead: Ns) -> None:
        if self._speed == UNPACED:
            return
        if self._started_wall is None:
            self._started_wall = Ns(wall_ns() - round(self.now / self._speed))
        early = ahead / self._speed - (wall_ns() - self._started_wall)
        if early > 0:
            wall_sleep(early / S)

    @property
    def behind(self) -> Ns:
        """How far factory time has fallen behind its pace, in wall time."""
        if self._speed == UNPACED or self._started_wall is None:
            return Ns(0)
        return Ns(max(0, round(wall_ns() - self._started_wall - self.now / self._speed)))


def _prepare(folder: Path, config: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "node.json").write_text(config, encoding="utf-8")
    return folder
