"""What a machine type is declared with, and how one is loaded.

A MachineType is one folder: `spec.py` (records and tables, below and in `twin.blocks`), `control.py` (what the controller does with
it) and, for the world alone, `plant.py`. The words of this page are all that a spec needs beside `twin.wire` and `twin.units`.
"""

import dataclasses
import enum
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from twin.blocks import *  # noqa: F403  (the words of a spec, offered here too)
from twin.blocks import Alarm, Block, Interlock, named, pins_of
from twin.clock import Ns
from twin.residual import Residual
from twin.trace import Event, Sample
from twin.units import ONE, Unit
from twin.wire import Layout, Range, layout

T = TypeVar("T")


class OnLinkLoss(enum.Enum):
    """What a running Job does when the lease ends."""

    STOP = "stop"
    FINISH = "finish"


STOP, FINISH = OnLinkLoss.STOP, OnLinkLoss.FINISH


@dataclass(frozen=True, slots=True)
class Wish:
    """What the orders want of a machine.

    Attributes:
        capability: the Operation in work, or None.
        go: False holds it.
    """

    capability: str | None = None
    go: bool = False


IDLE = Wish()


@dataclass(frozen=True, slots=True)
class Param:
    """One field of a type's Params: its unit, range and default, in the declared unit as the factory file has it."""

    name: str
    type: Any
    unit: Unit
    range: Range | None
    default: Any


@dataclass_transform(frozen_default=True, kw_only_default=True)
def params(cls: type[T]) -> type[T]:
    """Make a class a frozen Params record; every field has a default, written in its declared unit."""
    made: type[T] = dataclass(frozen=True, kw_only=True)(cls)
    return made


def params_of(cls: type) -> tuple[Param, ...]:
    """The declared Params of a type."""
    hints = get_type_hints(cls, include_extras=True)
    found = []
    for field in fields(cls):
        hint = hints[field.name]
        kind, notes = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
        unit = next((n for n in notes if isinstance(n, Unit)), ONE)
        allowed = next((n for n in notes if isinstance(n, Range)), None)
        found.append(Param(field.name, kind, unit, allowed, field.default))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Shown:
    """A number that is not in the registers and people are shown beside them.

    Attributes:
        group: under which it is shown, beside `status` and `command`.
    """

    group: str
    name: str
    unit: Unit
    text: str


@dataclass(frozen=True, slots=True)
class Setpoint:
    """One of the Params that people may change while the machine works; `control.decide` is given what they have set.

    Attributes:
        name: of the Param: a float with a Range.
        most: another Param that it may not be above; empty for none.
    """

    name: str
    most: str = ""


Decide = Callable[[Sample[Any], Wish, Any, Ns], tuple[Any, tuple[Event, ...]]]


@dataclass(frozen=True)
class MachineType:
    """A loaded machine type: its declarations and its `decide`, never its plant.

    Attributes:
        name: the folder's name.
        package: where its modules are found; the world loads the plant from there.
        status, command, params: the record classes.
        pins: every pin name that the blocks need, in order.
        decide: control.decide(sample, wish, params, now) -> (Command, events).
        limits: spec.limits(params) -> what its plans must keep to, for a type that plans Jobs, else None.
        steps: spec.steps(params) -> how its Joints hang on the step stream, for a type that has some, else None.
        programs: the capabilities whose Jobs are planned from a program's text.
        arguments: by capability, the Params record of what a recipe may say beside.
        shown: control.SHOWN, what show(status, params) tells [SI], in that order, each time a new Status comes.
        entry: spec.entry(params) -> where a Part is put: the middle of its foot [m], in the machine's frame.
        residuals: spec.residuals(params) -> what its twin is compared in, for a type whose twin can be stepped beside it.
        setpoints: spec.SETPOINTS, the Params that people may change while it works.
    """

    name: str
    package: str
    status: type
    command: type
    params: type
    blocks: tuple[Block, ...]
    interlocks: tuple[Interlock, ...]
    alarms: tuple[Alarm, ...]
    capabilities: tuple[str, ...]
    on_link_loss: OnLinkLoss
    pins: tuple[str, ...]
    decide: Decide
    limits: Callable[[Any], Any] | None
    programs: tuple[str, ...] = ()
    arguments: Mapping[str, type] = dataclasses.field(default_factory=dict)
    entry: Callable[[Any], tuple[float, float, float]] | None = None
    shown: tuple[Shown, ...] = ()
    show: Callable[[Any, Any], tuple[float, ...]] | None = None
    steps: Callable[[Any], Any] | None = None
    residuals: Callable[[Any], tuple[Residual, ...]] | None = None
    setpoints: tuple[Setpoint, ...] = ()

    @property
    def layouts(self) -> tuple[Layout, Layout]:
        """Of its Status and its Command."""
        return layout(self.status), layout(self.command)

    @property
    def size(self) -> int:
        """Registers it takes: the Status, then the Command."""
        return sum(shape.size for shape in self.layouts)


class MachineTypeError(ValueError):
    """A machine type's folder that cannot be used, and why."""


BUILT_IN = "twin.machines"


def load(name: str, folder: Path | None = None) -> MachineType:
    """A machine type: a built-in one by its name, a user's own by its folder.

    Raises:
        MachineTypeError: no such type, or a declaration that does not hold together.
    """
    package = f"{BUILT_IN}.{name}" if folder is None else _package_of(name, folder)
    try:
        spec = importlib.import_module(f"{package}.spec")
        control = importlib.import_module(f"{package}.control")
    except (ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, OSError) as wrong:
        raise MachineTypeError(f"machine type {name!r}: {type(wrong).__name__}: {wrong}") from wrong
    return _assemble(name, package, spec, control)


def _assemble(name: str, package: str, spec: ModuleType, control: ModuleType) -> MachineType:
    for needed in ("Status", "Command", "BLOCKS"):
        if not hasattr(spec, needed):
            raise MachineTypeError(f"machine type {name!r}: spec.py has no {needed}")
    if not callable(getattr(control, "decide", None)):
        raise MachineTypeError(f"machine type {name!r}: control.py has no decide()")
    for kind in (spec.Status, spec.Command):
        if not hasattr(kind, "__layout__"):
            raise MachineTypeError(f"machine type {name!r}: {kind.__name__} is no @record")
    blocks = tuple(spec.BLOCKS)
    interlocks, alarms = tuple(getattr(spec, "INTERLOCKS", ())), tuple(getattr(spec, "ALARMS", ()))
    plans = hasattr(spec, "limits") and hasattr(spec, "CAPABILITIES")
    made = MachineType(
        name,
        package,
        spec.Status,
        spec.Command,
        getattr(spec, "Params", Empty),
        blocks,
        interlocks,
        alarms,
        tuple(getattr(spec, "CAPABILITIES", ())),
        getattr(spec, "ON_SILENCE", STOP),
        pins_of(blocks),
        control.decide,
        getattr(spec, "limits", None),
        tuple(getattr(spec, "PROGRAMS", spec.CAPABILITIES if plans else ())),
        dict(getattr(spec, "ARGUMENTS", {})),
        getattr(spec, "entry", None),
        tuple(getattr(control, "SHOWN", ())),
        getattr(control, "show", None),
        getattr(spec, "steps", None),
        getattr(spec, "residuals", None),
        tuple(getattr(spec, "SETPOINTS", ())),
    )
    _check_setpoints(made)
    status, command = named(blocks, interlocks, alarms)
    for wanted, shape in ((status, made.layouts[0]), (command, made.layouts[1])):
        for field in sorted(wanted):
            if field not in shape:
                raise MachineTypeError(f"machine type {name!r}: {shape.name} has no field {field!r} that its tables name")
    for signal in made.layouts[1].signals:
        if signal.default is None:
            raise MachineTypeError(f"machine type {name!r}: Command.{signal.name} has no default, so no safe state")
    return made


def _check_setpoints(made: MachineType) -> None:
    declared = {param.name: param for param in params_of(made.params)}
    for setpoint in made.setpoints:
        for name in (setpoint.name, *((setpoint.most,) if setpoint.most else ())):
            if name not in declared or declared[name].type is not float or declared[name].range is None:
                raise MachineTypeError(f"machine type {made.name!r}: SETPOINTS: Params have no float {name!r} with a Range")


@dataclass(frozen=True, slots=True)
class Settable:
    """What can be set of one machine: its unit, and its Range and the factory file's value in SI."""

    name: str
    unit: Unit
    range: Range
    value: float


def settable(kind: MachineType, given: Any) -> tuple[Settable, ...]:
    """The setpoints of a machine with these Params."""
    declared = {param.name: param for param in params_of(kind.params)}
    found = []
    for setpoint in kind.setpoints:
        param = declared[setpoint.name]
        assert param.range is not None, "checked when the type was loaded"
        low, high = param.unit.si(param.range.low), param.unit.si(param.range.high)
        high = min(high, getattr(given, setpoint.most)) if setpoint.most else high
        found.append(Settable(setpoint.name, param.unit, Range(low, high), getattr(given, setpoint.name)))
    return tuple(found)


@params
class Empty:
    """Params of a type that has none."""


def _package_of(name: str, folder: Path) -> str:
    """Make a user's folder importable under a name of its own."""
    if not (folder / "spec.py").is_file():
        raise MachineTypeError(f"machine type {name!r}: {folder} has no spec.py")
    place = hashlib.sha256(folder.resolve().as_posix().encode()).hexdigest()[:16]
    package = f"lockstep_machines_{place}_{name}"
    if package not in sys.modules:
        init = folder / "__init__.py"
        shell = importlib.util.spec_from_loader(package, loader=None, is_package=True, origin=str(init))
        assert shell is not None
        module = importlib.util.module_from_spec(shell)
        module.__path__ = [str(folder)]
        sys.modules[package] = module
    return package


def make_params(kind: type, given: Mapping[str, Any]) -> Any:
    """A Params record from values in declared units; the record holds them in SI where the field is a float with a unit.

    Raises:
        MachineTypeError: unknown name, wrong type, outside its range; the text names the field and what is allowed.
    """
    declared = {p.name: p for p in params_of(kind)}
    for name in given:
        if name not in declared:
            raise MachineTypeError(f"{name}: unknown; allowed are {', '.join(declared) or 'none'}")
    return kind(**{name: _si(p, given.get(name, p.default)) for name, p in declared.items()})


def _si(param: Param, value: Any) -> Any:
    if get_origin(param.type) is tuple:
        size = len(get_args(param.type))
        if not isinstance(value, (list, tuple)) or len(value) != size:
            raise MachineTypeError(f"{param.name}: must be a list of {size} numbers, not {value!r}")
        return tuple(_si(dataclasses.replace(param, type=float), item) for item in value)
    if param.type is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise MachineTypeError(f"{param.name}: must be a number in {param.unit.symbol or 'units of one'}, not {value!r}")
        if param.range and not param.range.low <= value <= param.range.high:
            limits = f"{param.range.low:g} to {param.range.high:g} {param.unit.symbol}".rstrip()
            raise MachineTypeError(f"{param.name}: {value:g} is outside {limits}")
        return param.unit.si(float(value))
    if type(value) is not param.type:
        raise MachineTypeError(f"{param.name}: must be of type {param.type.__name__}, not {value!r}")
    return value
