"""What a machine reports, less what its twin expects: declared in a spec, reckoned in a `beside.py`, shown in the Feed.

A machine type whose spec has `residuals(params)` has a twin that can be stepped beside it, told in its folder's `beside.py`:

    start(params, physics, seen)       -> state        from the first good report
    step(state, params, seen, dt)      -> state        driven by what was reported and commanded, never by what is expected
    told(state, params, seen)          -> {name: (reported, expected)}     of each Residual that can be told now, in SI
    PARAMETERS                         -> what calibration may identify of its plant's Physics
    misfits(run, params, physics)      -> Misfits      of a recorded run, for calibration

It uses its plant's own functions and its Physics, so that there is one model and not two. Of the controller its shadow alone may
load it.
"""

import dataclasses
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twin.units import Unit


@dataclass(frozen=True, slots=True)
class Residual:
    """One comparison.

    Attributes:
        bound: the largest that is no news [SI], of a machine whose plant is calibrated.
        after_s: how long it must be beyond the bound before it is told.
        why: where the bound comes from.
    """

    name: str
    unit: Unit
    bound: float
    after_s: float
    why: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a machine at one moment.

    Attributes:
        status, command: as its node reports them; a command is None where it is not known.
        homed: its axes know where they are.
        planned: where its Job has its axes [SI] at the progress that its node reports; None where that is not known, or they move.
    """

    status: Any
    command: Any = None
    homed: bool = True
    planned: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something of a plant's Physics that a recorded run can tell.

    Attributes:
        name: the field of Physics; `hotend.loss` of one inside, `cam.2` of one of several.
        scale: a change that matters, in SI: the parameter's own size where 0.
        low, high: beyond which it makes no sense.
        free: identified unless told otherwise; another is held at what is known of it.
        within: the largest standard error that is taken, as a share of its size or scale.
    """

    name: str
    unit: Unit
    low: float
    high: float
    text: str
    scale: float = 0.0
    free: bool = True
    within: float = 0.01


def of(physics: Any, name: str) -> float:
    """The value of a Physics' parameter."""
    for piece in name.split("."):
        physics = physics[int(piece)] if piece.isdigit() else getattr(physics, piece)
    return float(physics)


def with_values(physics: Any, values: Mapping[str, float]) -> Any:
    """A Physics with some of its parameters at other values.

    Raises:
        AttributeError, IndexError, TypeError: it has no such field.
    """
    for name, value in values.items():
        physics = _put(physics, name.split("."), value)
    return physics


def _put(record: Any, path: list[str], value: float) -> Any:
    first, rest = path[0], path[1:]
    if first.isdigit():
        items = list(record)
        items[int(first)] = _put(items[int(first)], rest, value) if rest else value
        return tuple(items)
    return dataclasses.replace(record, **{first: _put(getattr(record, first), rest, value) if rest else value})


def beside_of(package: str) -> Any:
    """The `beside` module of a machine type's package; None where it has none."""
    if importlib.util.find_spec(f"{package}.beside") is None:
        return None
    return importlib.import_module(f"{package}.beside")


def physics_of(package: str) -> Any:
    """The Physics of a machine type as its folder has it.

    Raises:
        AttributeError, ImportError: its folder has no plant.py with a Physics.
    """
    return importlib.import_module(f"{package}.plant").Physics()
