"""How a Job comes about: what a machine is asked for, and the one function of its type that makes a Job of it.

A machine type that plans Jobs (its spec has `limits`) may have a `job.py` in its folder, next to its control:

    make(asked)           -> Job       plans, checks and encodes; JobError tells every refusal
    leaves(text, params)  -> Deposit   what lies on the machine once a Job of this program is done
    waits(params)         -> Spaces    what of the machine itself is in the way while its Part is taken from it
    prepare(say)                       gets ready what planning needs, once, and says what takes long
    EARLY                              capabilities whose programs are checked as soon as an order is placed

A type without one prints G-code.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from twin.factory import Factory, Machine
from twin.kinematics.shapes import Surroundings
from twin.machine import MachineType
from twin.motion.deposit import Deposit
from twin.motion.limits import JobError
from twin.obstacles import Space
from twin.surroundings import surroundings

GCODE = "twin.machines.printer"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A checked, encoded plan.

    Attributes:
        chunks: of motion, what a node counts while it plays.
        duration: seconds of motion as a slicer counts them.
        waiting: estimated seconds of heating and homing.
        digest: of the program's text that it was planned from; empty where there was none.
    """

    data: bytes
    chunks: int
    duration: float
    waiting: float
    warnings: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a machine that plans Jobs.

    Attributes:
        arguments: the record that its type declares for the capability, or None.
        program: the text, for a capability that takes one.
        start: where its axes stand, as its control tells; empty where that is not known, or not needed.
        source, target: between which machines a Part is carried, where one is.
        part: what the source has made of it, in the source's frame; None where nobody knows.
    """

    factory: Factory
    machine: Machine
    capability: str
    arguments: Any = None
    program: str = ""
    start: tuple[float, ...] = ()
    source: Machine | None = None
    target: Machine | None = None
    part: Deposit | None = None


def around(asked: Asked, at: str = "") -> Surroundings:
    """What stands around a machine, in its own frame: obstacles and other machines; `at`: the one whose open space it may enter.

    Raises:
        JobError: there is no such machine.
    """
    machines = asked.factory.machines
    if at and at not in machines:
        raise JobError(f"at={at!r} is no machine; there are {', '.join(machines)}")
    others = [other for other in machines.values() if other.name != asked.machine.name]
    taken = [(other.name, other.pose, other.space + (_waits(other) if other.name == at else ())) for other in others]
    return surroundings(asked.machine.pose, asked.factory.obstacles, taken, at)


def _waits(machine: Machine) -> tuple[Space, ...]:
    waits = making(machine.type).waits if machine.type.limits is not None else None
    return waits(machine.params) if waits is not None else ()


@dataclass(frozen=True, slots=True)
class Making:
    """What a machine type's `job.py` offers."""

    make: Callable[[Asked], Job]
    leaves: Callable[[str, Any], Deposit] | None
    prepare: Callable[[Say], None] | None
    waits: Callable[[Any], tuple[Space, ...]] | None
    early: tuple[str, ...]


def making(kind: MachineType) -> Making:
    """How a type that plans Jobs makes them."""
    return _making(kind.package)


@lru_cache(maxsize=256)
def _making(package: str) -> Making:
    own = importlib.util.find_spec(f"{package}.job") is not None
    module = importlib.import_module(f"{package if own else GCODE}.job")
    leaves, prepare, waits = (getattr(module, name, None) for name in ("leaves", "prepare", "waits"))
    return Making(module.make, leaves, prepare, waits, tuple(getattr(module, "EARLY", ())))


def preparations(factory: Factory) -> dict[str, Callable[[Say], None]]:
    """By machine type, what is to be got ready before a factory's first scan."""
    kinds = {machine.type.name: machine.type for machine in factory.machines.values() if machine.type.limits is not None}
    made = {name: making(kind).prepare for name, kind in kinds.items()}
    return {name: prepare for name, prepare in made.items() if prepare is not None}


def prepare(factory: Factory) -> None:
    """Get all of it ready, and print what takes long.

    Raises:
        OSError: the kernels' cache folder cannot be used.
    """
    for name, ready in preparations(factory).items():
        ready(lambda line, name=name: print(f"{name}: {line}", flush=True))  # type: ignore[misc]
