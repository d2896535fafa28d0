"""The world: steps the plant of every machine and carries Parts across Handovers.

A plant is a machine type's `plant.py`. It needs two functions; the others are for types that can use them:

    start(params)                      -> state       or start(params, physics), where there is a Physics to give
    step(state, params, pins, dt)      -> (state, sensors)
    horizon(state, params, pins, limit)-> Ns           when the next digital sensor changes, at most `limit`
    signals(state)             -> dict          what a trace keeps of it
    course(state, params, pins, elapsed) -> dict of arrays     the moving ones of these in closed form, at (n,) seconds from now
    under(state, params, physics) -> state     the same under another physics
    offer(state, params)               -> Part | None  a Part that can be taken away
    take(state, params)                -> state        without the Part that was offered
    sticks(state, params)              -> bool         the Part that is offered cannot be pulled off
    put(state, params, part)           -> state | None with a Part at its entry; None while there is no room
    landing(state, params)             -> (low, high)  corners of the room that takes a Part's foot from an arm
    jaws(state, params)                -> Jaws         of a machine that carries Parts
    hold(state, params, held | None)   -> state        with something between its jaws, or without

`pins` are raw by pin name: levels, PWM duties 0 to 65535, and for a step stream `pins["frames"]`, one word per 10 µs.
`sensors` likewise: levels, ADC readings 0 to 65535.
"""

import dataclasses
import functools
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from twin import carrying
from twin.clock import Ns, ns
from twin.factory import Factory, Handover, Machine
from twin.machine import MachineType
from twin.part import Part, PartArrived, PartDropped, PartHandedOver, PartMade, PartSlipped
from twin.trace import Event

__all__ = [
    "Part", "PartArrived", "PartDropped", "PartHandedOver", "PartMade", "PartSlipped", "PlantError", "Sensors", "World",
    "changed", "horizon", "plant_of", "start", "step",
]  # fmt: skip

Sensors = dict[str, int]
NO_PHYSICS: Mapping[str, Any] = MappingProxyType({})


class PlantError(ValueError):
    """A machine type without physics, or a world that does not hold together."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Everything physical at one moment; `step` never changes one.

    Attributes:
        states: of each machine, as its own plant made it.
        sensors: what each machine's inputs see.
        parts: every Part that has come to light, by id, in that order.
        offered: the Part that each machine offers, and since when.
    """

    now: Ns
    states: Mapping[str, Any]
    sensors: Mapping[str, Sensors]
    parts: Mapping[str, Part]
    offered: Mapping[str, tuple[Part, Ns]]


@functools.cache
def _module(package: str) -> Any:
    return importlib.import_module(f"{package}.plant")


def plant_of(kind: MachineType) -> Any:
    """A machine type's plant.

    Raises:
        PlantError: its folder has no plant.py, or that has no start and step.
    """
    if importlib.util.find_spec(f"{kind.package}.plant") is None:
        raise PlantError(f"machine type {kind.name!r} has no plant.py in its folder: there is no physics to step")
    module = _module(kind.package)
    for needed in ("start", "step"):
        if not callable(getattr(module, needed, None)):
            raise PlantError(f"machine type {kind.name!r}: plant.py has no {needed}()")
    return module


def start(factory: Factory, physics: Mapping[str, Any] = NO_PHYSICS) -> World:
    """The world when power comes on; `physics` by machine, where it is to differ from the type's own.

    Raises:
        PlantError: a type without a plant, a physics for an unknown machine, a handover that a plant cannot carry out.
    """
    for name in physics:
        if name not in factory.machines:
            raise PlantError(f"physics of {name!r}: there is no such machine; there are {', '.join(factory.machines)}")
    for handover in factory.handovers:
        _check(factory, handover)
    states, sensors = {}, {}
    for machine in factory.machines.values():
        plant = plant_of(machine.type)
        given = (physics[machine.name],) if machine.name in physics else ()
        state = plant.start(machine.params, *given)
        states[machine.name], sensors[machine.name] = plant.step(state, machine.params, _pins(machine, {}), Ns(0))
    return World(Ns(0), states, sensors, {}, {})


def _check(factory: Factory, handover: Handover) -> None:
    takes = ("put", "landing") if handover.arm else ("put",)
    carries = ((handover.arm, ("jaws", "hold")),) if handover.arm else ()
    for name, needed in ((handover.source, ("offer", "take")), (handover.target, takes), *carries):
        kind = factory.machines[name].type
        for function in needed:
            if not hasattr(plant_of(kind), function):
                where = f"handover from {handover.source} to {handover.target}"
                raise PlantError(f"{where}: plant.py of type {kind.name!r} has no {function}()")


def step(
    world: World, factory: Factory, pins: Mapping[str, Mapping[str, Any]], dt: Ns
) -> tuple[World, tuple[Event, ...]]:
    """Let `dt` pass with the pins (by machine, then by name) as they are; a pin that is not named is low.

    Handovers are judged at the end of the step. The sensors are in the world that comes back.
    """
    states, sensors = {}, {}
    for machine in factory.machines.values():
        plant = _module(machine.type.package)
        levels = _pins(machine, pins.get(machine.name, {}))
        states[machine.name], sensors[machine.name] = plant.step(world.states[machine.name], machine.params, levels, dt)
    after = World(Ns(world.now + dt), states, sensors, world.parts, world.offered)
    return _carry(after, factory)


def changed(world: World, factory: Factory, name: str, change: Callable[[Any, Any], Any]) -> World:
    """The world after a machine's plant was changed from outside: `change(state, params)` gives its new state."""
    machine = factory.machines[name]
    state = change(world.states[name], machine.params)
    return _seen_again(dataclasses.replace(world, states={**world.states, name: state}), machine)


def horizon(world: World, factory: Factory, pins: Mapping[str, Mapping[str, Any]], limit: Ns) -> Ns:
    """How long until the next digital sensor of any machine changes, at most `limit`."""
    for machine in factory.machines.values():
        plant = _module(machine.type.package)
        if hasattr(plant, "horizon"):
            levels = _pins(machine, pins.get(machine.name, {}))
            limit = plant.horizon(world.states[machine.name], machine.params, levels, limit)
    return limit


def _pins(machine: Machine, given: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys(machine.type.pins, 0), **given}


def _carry(world: World, factory: Factory) -> tuple[World, tuple[Event, ...]]:
    """Name new Parts, and hand over what has been offered for long enough."""
    world, events = _light(world, factory)
    for arm in dict.fromkeys(handover.arm for handover in factory.handovers if handover.arm):
        world, told = _carried(world, factory, factory.machines[arm])
        events += told
    for handover in factory.handovers:
        if handover.arm:
            continue
        found = world.offered.get(handover.source)
        if found is None or world.now - found[1] < ns(handover.duration_s):
            continue
        source, target = factory.machines[handover.source], factory.machines[handover.target]
        part = dataclasses.replace(found[0], at=target.name, ready=False)
        taken = _module(target.type.package).put(world.states[target.name], target.params, part)
        if taken is None:
            continue
        left = _module(source.type.package).take(world.states[source.name], source.params)
        world = dataclasses.replace(
            world,
            states={**world.states, source.name: left, target.name: taken},
            parts={**world.parts, part.id: part},
            offered={name: o for name, o in world.offered.items() if name != source.name},
        )
        world = _seen_again(world, target)
        events += (PartHandedOver(source.name, part.id, target.name),)
    return world, events


def _carried(world: World, factory: Factory, arm: Machine) -> tuple[World, tuple[Event, ...]]:
    """What an arm's jaws take, let go or lay down."""
    plants = {name: _module(machine.type.package) for name, machine in factory.machines.items()}
    offered = {name: part for name, (part, _) in world.offered.items()}
    move = carrying.moved(factory, plants, world.states, offered, arm)
    if move is None:
        return world, ()
    left = {name: o for name, o in world.offered.items() if name not in move.states or o[0].id != move.part.id}
    parts = {**world.parts, move.part.id: move.part}
    world = dataclasses.replace(world, states={**world.states, **move.states}, parts=parts, offered=left)
    for name in move.states:
        world = _seen_again(world, factory.machines[name])
    return world, move.events


def _seen_again(world: World, machine: Machine) -> World:
    """A machine's sensors after a Part was put into it."""
    plant = _module(machine.type.package)
    _, sensors = plant.step(world.states[machine.name], machine.params, _pins(machine, {}), Ns(0))
    return dataclasses.replace(world, sensors={**world.sensors, machine.name: sensors})


def _light(world: World, factory: Factory) -> tuple[World, tuple[Event, ...]]:
    """What each machine offers now; a Part without a name gets one, or keeps the one it had when it was left lying."""
    offered: dict[str, tuple[Part, Ns]] = {}
    parts = dict(world.parts)
    events: tuple[Event, ...] = ()
    for machine in factory.machines.values():
        plant = _module(machine.type.package)
        part = plant.offer(world.states[machine.name], machine.params) if hasattr(plant, "offer") else None
        if part is None:
            continue
        made = not part.id
        part = dataclasses.replace(part, id=part.id or _name(world, machine.name), at=machine.name, ready=True)
        before = world.offered.get(machine.name)
        since = before[1] if before is not None and before[0].id == part.id else world.now
        offered[machine.name] = part, since
        if part.id not in parts or not parts[part.id].ready:
            events += (
                PartMade(machine.name, part.id, part.filament_mm) if made else PartArrived(machine.name, part.id),
            )
        parts[part.id] = part
    if not offered and not world.offered:
        return world, ()
    return dataclasses.replace(world, parts=parts, offered=offered), events


def _name(world: World, machine: str) -> str:
    """The name of the part on the machine that made it, or the next one."""
    own = [part for part in world.parts.values() if part.id.startswith(f"{machine}/")]
    left = next((part.id for part in own if part.at == machine), None)
    return left or f"{machine}/{len(own) + 1}"
