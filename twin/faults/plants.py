"""How machines themselves fail: each type tells in its `faults.py`; here they are put in and taken out again."""

import dataclasses
import functools
import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

from twin.fault import Fault, FaultError, PlantFault
from twin.faults.values import values
from twin.machine import MachineType


@functools.cache
def _declared(package: str) -> Mapping[str, PlantFault]:
    if importlib.util.find_spec(f"{package}.faults") is None:
        return {}
    faults: tuple[PlantFault, ...] = importlib.import_module(f"{package}.faults").FAULTS
    return {fault.kind.name: fault for fault in faults}


def declared(kind_of_machine: MachineType) -> Mapping[str, PlantFault]:
    """How machines of a type can fail, by the kind's name."""
    return _declared(kind_of_machine.package)


def plant_fault(fault: Fault, kind_of_machine: MachineType) -> PlantFault:
    """What a fault does to a machine of a type.

    Raises:
        FaultError: that type does not fail in this way.
    """
    known = declared(kind_of_machine)
    if fault.kind not in known:
        raise FaultError(f"{fault.target}: a {kind_of_machine.name} knows no {fault.kind!r}; it knows {', '.join(known) or 'none'}")
    return known[fault.kind]


def spoil(fault: Fault, kind_of_machine: MachineType, state: Any, params: Any) -> Any:
    """A plant's state from a fault's onset on.

    Raises:
        FaultError: machines of that type do not fail in this way.
    """
    known = plant_fault(fault, kind_of_machine)
    return known.strike(state, params, values(fault, known.kind))


def restore(fault: Fault, kind_of_machine: MachineType, state: Any, params: Any, before: Any) -> Any:
    """A plant's state from a fault's end on: what `spoil` changed in its physics is again as it was `before`.

    Args:
        before: the state that `spoil` was given.
    """
    known = plant_fault(fault, kind_of_machine)
    if hasattr(before, "physics"):
        struck = known.strike(before, params, values(fault, known.kind)).physics
        physics = _again(before.physics, struck, state.physics)
        state = _under(kind_of_machine, state, params, physics)
    return state if known.mend is None else known.mend(state, params, values(fault, known.kind))


def _again(before: Any, struck: Any, now: Any) -> Any:
    """`now` with the fields in which `struck` differs from `before` as they were before; records inside likewise."""
    changes = {}
    for field in dataclasses.fields(before):
        old, hit, held = (getattr(one, field.name) for one in (before, struck, now))
        if old == hit:
            continue
        changes[field.name] = _again(old, hit, held) if dataclasses.is_dataclass(old) else old
    return dataclasses.replace(now, **changes)


def _under(kind_of_machine: MachineType, state: Any, params: Any, physics: Any) -> Any:
    """The same state under another physics; a plant that has more to do about it has a function `under`."""
    plant = importlib.import_module(f"{kind_of_machine.package}.plant")
    under = getattr(plant, "under", None)
    return dataclasses.replace(state, physics=physics) if under is None else under(state, params, physics)
