"""Parts that arms carry: what jaws meet when they close, and what becomes of a Part when they open.

The plant of a machine that carries has `jaws(state, params) -> Jaws` and `hold(state, params, held or None) -> state`; that of a
source may have `sticks(state, params) -> bool`; that of a target has `landing(state, params) -> (low, high)`, the corners of the
room in its own frame that takes the middle of a Part's foot.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from twin.factory import Factory, Handover, Machine
from twin.frames import inverse, matrix
from twin.kernel import Floats
from twin.part import SLAB, Held, Jaws, Outline, Part, PartDropped, PartHandedOver, PartSlipped, span
from twin.trace import Event

LEVEL = 0.2
"""Jaws take what stands upright between them: their closing direction may rise by so much."""
States = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """What an arm did with a Part: the states that changed, the Part where it is now, and what is to be told."""

    states: States
    part: Part
    events: tuple[Event, ...] = ()


def moved(factory: Factory, plants: Mapping[str, Any], states: States, offered: Mapping[str, Part], arm: Machine) -> Move | None:
    """What an arm's jaws do now; None where that is nothing. `offered`: by machine, the Part that can be taken from it."""
    plant, state = plants[arm.name], states[arm.name]
    jaws: Jaws = plant.jaws(state, arm.params)
    at = matrix(arm.pose) @ jaws.frame
    if jaws.held is None:
        return _closed_on(factory, plants, states, offered, arm, jaws, at)
    if jaws.held.free:
        return _opened(factory, plants, states, arm, jaws.held, at) if jaws.opening else None
    source = factory.machines[jaws.held.source]
    if jaws.opening:
        return Move({arm.name: plant.hold(state, arm.params, None)}, jaws.held.part)
    if float(np.linalg.norm(at[:3, 3] - jaws.held.closed_at)) > jaws.slip:
        slipped = PartSlipped(arm.name, jaws.held.part.id)
        return Move({arm.name: plant.hold(state, arm.params, None)}, jaws.held.part, (slipped,))
    if _sticks(plants, states, source):
        return None
    return _taken(plants, states, arm, source, jaws.held, at)


def _closed_on(
    factory: Factory, plants: Mapping[str, Any], states: States, offered: Mapping[str, Part], arm: Machine, jaws: Jaws, at: Floats
) -> Move | None:
    """Jaws that close meet a Part once they are as narrow as it is."""
    if jaws.opening or jaws.width >= jaws.before:
        return None
    for handover in handovers_of(factory, arm.name):
        part, source = offered.get(handover.source), factory.machines[handover.source]
        if part is None:
            continue
        maker = inverse(at) @ matrix(source.pose)
        width = between(part.outline, inverse(maker), jaws.widest)
        if width is None or not jaws.width <= width < jaws.before:
            continue
        held = Held(part, width, maker, source.name, at[:3, 3].copy(), False)
        if not _sticks(plants, states, source):
            return _taken(plants, states, arm, source, held, at)
        return Move({arm.name: plants[arm.name].hold(states[arm.name], arm.params, held)}, part)
    return None


def _taken(plants: Mapping[str, Any], states: States, arm: Machine, source: Machine, held: Held, at: Floats) -> Move:
    part = dataclasses.replace(held.part, at=arm.name, ready=False)
    taken = dataclasses.replace(held, part=part, free=True, frame=inverse(at) @ matrix(source.pose))
    changed = {
        source.name: plants[source.name].take(states[source.name], source.params),
        arm.name: plants[arm.name].hold(states[arm.name], arm.params, taken),
    }
    return Move(changed, part, (PartHandedOver(source.name, part.id, arm.name),))


def _opened(factory: Factory, plants: Mapping[str, Any], states: States, arm: Machine, held: Held, at: Floats) -> Move:
    """A Part that is let go of lies at the entry of a target of the arm, or is dropped."""
    empty = plants[arm.name].hold(states[arm.name], arm.params, None)
    for handover in handovers_of(factory, arm.name):
        target = factory.machines[handover.target]
        seen = inverse(matrix(target.pose)) @ at @ held.frame
        low, high = plants[target.name].landing(states[target.name], target.params)
        foot = seen[:3, :3] @ _foot(held.part.outline) + seen[:3, 3]
        if not (np.all(foot >= low) and np.all(foot <= high)):
            continue
        part = dataclasses.replace(held.part, at=target.name, ready=False, length=_along(held.part.outline, seen))
        lying = plants[target.name].put(states[target.name], target.params, part)
        if lying is not None:
            told = PartHandedOver(arm.name, part.id, target.name)
            return Move({arm.name: empty, target.name: lying}, part, (told,))
    part = dataclasses.replace(held.part, at="", ready=False)
    return Move({arm.name: empty}, part, (PartDropped(arm.name, part.id),))


def handovers_of(factory: Factory, arm: str) -> tuple[Handover, ...]:
    """Those that an arm carries out."""
    return tuple(handover for handover in factory.handovers if handover.arm == arm)


def _sticks(plants: Mapping[str, Any], states: States, source: Machine) -> bool:
    plant = plants[source.name]
    return bool(hasattr(plant, "sticks") and plant.sticks(states[source.name], source.params))


def between(outline: Outline, jaws: Floats, widest: float) -> float | None:
    """How wide a Part is between jaws that close on it; None where they do not meet it, or not with both.

    Args:
        jaws: (4, 4) in the frame of the Part's maker.
        widest: between the open jaws [m].
    """
    x, y, z = (float(value) for value in jaws[:3, 3])
    slab = int(z // SLAB)
    if not 0 <= slab < len(outline) or abs(jaws[2, 0]) > LEVEL:
        return None
    x_low, x_high, y_low, y_high = outline[slab]
    half = np.array(((x_high - x_low) / 2, (y_high - y_low) / 2))
    away = np.array(((x_low + x_high) / 2 - x, (y_low + y_high) / 2 - y))
    close = jaws[:2, 0] / np.linalg.norm(jaws[:2, 0])
    aside = np.array((-close[1], close[0]))
    width = 2 * float(np.abs(close) @ half)
    meets = abs(float(away @ close)) + width / 2 <= widest / 2 and abs(float(away @ aside)) <= float(np.abs(aside) @ half)
    return width if meets else None


def _foot(outline: Outline) -> Floats:
    x_low, x_high, y_low, y_high = span(outline)
    return np.array(((x_low + x_high) / 2, (y_low + y_high) / 2, 0.0))


def _along(outline: Outline, seen: Floats) -> float:
    """Length of a Part along the x of the frame that sees its maker so [m]."""
    x_low, x_high, y_low, y_high = span(outline)
    return float(abs(seen[0, 0]) * (x_high - x_low) + abs(seen[0, 1]) * (y_high - y_low))
