"""What can break in the world: all kinds of faults of sensors, actuators and plants, and how one is put in."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from twin.factory import Factory, Machine
from twin.fault import FAR, Carrier, Edit, Fault, FaultError, Kind, Parameter, PlantFault, StepEdit, Subject
from twin.faults.actuators import STREAM
from twin.faults.actuators import TABLE as _ACTUATORS
from twin.faults.edits import GRAIN, Change, Timed, every
from twin.faults.pins import FRAMES, axes_of, outputs_of, sensors_of
from twin.faults.plants import declared, restore, spoil
from twin.faults.sensors import SWAPPED, Make
from twin.faults.sensors import TABLE as _SENSORS
from twin.faults.steps import TimedSteps
from twin.faults.values import check_values, values
from twin.machines.conveyor import faults as _conveyor
from twin.machines.printer import faults as _printer

__all__ = [
    "FAR", "FRAMES", "KINDS", "Carrier", "Edit", "Fault", "FaultError", "Kind", "Parameter", "PlantFault", "StepEdit", "Subject",
    "check", "check_values", "edit", "edit_steps", "kinds_of", "outputs_of", "restore", "sensors_of", "spoil", "swapped_with",
    "values",
]  # fmt: skip

_EDITS: Mapping[str, tuple[Kind, Make]] = {kind.name: (kind, make) for kind, make in (*_SENSORS, *_ACTUATORS)}
_PLANTS = (*_conveyor.FAULTS, *_printer.FAULTS)
_KINDS = (
    *(kind for kind, _ in _SENSORS),
    SWAPPED,
    *(kind for kind, _ in _ACTUATORS),
    *(kind for kind, _ in STREAM.values()),
    *(fault.kind for fault in _PLANTS),
)
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})
assert len(KINDS) == len(_KINDS), "two kinds have one name"


def kinds_of(factory: Factory) -> Mapping[str, Kind]:
    """All kinds of the world's faults, with those that the factory's own machine types declare.

    Raises:
        FaultError: two kinds have one name.
    """
    found = dict(KINDS)
    for machine in factory.machines.values():
        for name, fault in declared(machine.type).items():
            if found.setdefault(name, fault.kind) != fault.kind:
                raise FaultError(f"machine type {machine.type.name!r}: there is another kind of fault called {name!r}")
    return found


def edit(fault: Fault, seed: int, other: Callable[[], int] | None = None) -> Edit:
    """The edit of a sensor's or an output's value that a fault amounts to; the same for the same seed.

    Args:
        other: for a swapped sensor, the raw reading of the one whose it gets: see `swapped_with`.

    Raises:
        FaultError: the fault is none of a sensor or an output, or has a parameter outside its range.
    """
    if fault.kind == SWAPPED.name:
        if other is None:
            raise FaultError(f"{fault.target}: {fault.kind} needs the other sensor")
        return Timed(fault, Change(lambda _, __: other(), every(GRAIN)))
    if fault.kind not in _EDITS:
        raise FaultError(f"{fault.target}: {fault.kind!r} edits no sensor and no output; what does: {', '.join(_EDITS)}")
    kind, make = _EDITS[fault.kind]
    return Timed(fault, make(values(fault, kind), seed))


def edit_steps(fault: Fault) -> StepEdit:
    """The edit of a step stream that a fault amounts to.

    Raises:
        FaultError: the fault is none of a step stream, or has a parameter outside its range.
    """
    if fault.kind not in STREAM:
        raise FaultError(f"{fault.target}: {fault.kind!r} edits no step stream; what does: {', '.join(STREAM)}")
    kind, make = STREAM[fault.kind]
    return TimedSteps(fault, make(values(fault, kind)))


def swapped_with(factory: Factory, fault: Fault) -> tuple[str, str]:
    """The machine and the pin whose reading a swapped sensor gets.

    Raises:
        FaultError: the machine has no other sensor of that sort there.
    """
    machine, pin = _place(factory, fault)
    sensors = sensors_of(machine.type)
    alike = [name for name, carrier in sensors.items() if carrier is sensors.get(pin) and name != pin]
    if (gpio := int(values(fault, SWAPPED)["gpio"])) >= 0:
        alike = [name for name in alike if machine.pins[name] == gpio]
    if not alike:
        where = f" at GPIO {gpio}" if gpio >= 0 else ""
        raise FaultError(f"{fault.target}: {fault.kind}: there is no other sensor of its sort{where}")
    pins = list(sensors)
    after = [name for name in alike if pins.index(name) > pins.index(pin)]
    return machine.name, (after or alike)[0]


# ---- whether a fault can be put in at all


def check(factory: Factory, faults: Iterable[Fault]) -> None:
    """Whether all these faults of sensors, actuators and plants can be put into a factory.

    Raises:
        FaultError: the first that cannot, and why.
    """
    kinds = kinds_of(factory)
    taken: list[Fault] = []
    for fault in faults:
        if fault.kind not in kinds:
            raise FaultError(f"{fault.target}: there is no kind {fault.kind!r}; there are {', '.join(kinds)}")
        kind = kinds[fault.kind]
        check_values(fault, kind)
        if kind.subject is Subject.PLANT:
            _check_machine(factory, fault)
        else:
            _check_pin(factory, fault, kind)
        for other in taken:
            if (other.kind, other.target) == (fault.kind, fault.target) and _overlap(other, fault):
                raise FaultError(f"{fault.target}: {fault.kind} at {fault.at} ns strikes while the one at {other.at} ns lasts")
        taken.append(fault)


def _machine(factory: Factory, fault: Fault, name: str) -> Machine:
    if name not in factory.machines:
        raise FaultError(f"{fault.kind}: there is no machine {name!r}; there are {', '.join(factory.machines)}")
    return factory.machines[name]


def _place(factory: Factory, fault: Fault) -> tuple[Machine, str]:
    name, dot, pin = fault.target.partition(".")
    if not dot:
        raise FaultError(f"{fault.kind}: {fault.target!r} names no pin; a target is machine.pin")
    return _machine(factory, fault, name), pin


def _check_machine(factory: Factory, fault: Fault) -> None:
    machine = _machine(factory, fault, fault.target)
    known = declared(machine.type)
    if fault.kind not in known:
        ways = ", ".join(known) or "none"
        raise FaultError(f"{fault.target}: a {machine.type.name} has no {fault.kind!r} among its faults; there are {ways}")


def _check_pin(factory: Factory, fault: Fault, kind: Kind) -> None:
    machine, pin = _place(factory, fault)
    pins = (sensors_of if kind.subject is Subject.SENSOR else outputs_of)(machine.type)
    if pin not in pins:
        raise FaultError(f"{fault.target}: {machine.name} has no {kind.subject} {pin!r}; it has {', '.join(pins) or 'none'}")
    if pins[pin] not in kind.carriers:
        needed = " or a ".join(kind.carriers)
        raise FaultError(f"{fault.target}: {fault.kind} needs a {needed}, and {pin} is a {pins[pin]}")
    if fault.kind == SWAPPED.name:
        swapped_with(factory, fault)
    if fault.kind in STREAM:
        axes, given = axes_of(machine.type), values(fault, kind)
        for name in ("axis", "other"):
            if name in given and given[name] >= axes:
                told = f"{name}={given[name]:g}, and {machine.name} has {axes} axes, from 0 on"
                raise FaultError(f"{fault.target}: {fault.kind}: {told}")


def _overlap(one: Fault, other: Fault) -> bool:
    first, second = sorted((one, other), key=lambda fault: fault.at)
    return first.lasts is None or second.at < first.at + first.lasts
