"""A machine's twin as an FMI 3.0 co-simulation unit: export(machine, folder) -> the unit's path.

pythonfmu3 makes it (MIT, 0.3.4 of September 2025): binaries for Linux and Windows lie in its wheel and are bound to no Python
version; a unit of C source would mean writing every plant a second time.
"""

import importlib.util
import json
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hil.exchange import fmu_unit
from twin.factory import Machine
from twin.machine import BUILT_IN, Joint, MachineType, Stepper
from twin.plant import plant_of

TWIN = Path(__file__).resolve().parents[2] / "twin"
_SCRIPT = '''"""Made by `lockstep hil export-fmu`."""

from fmu_unit import Unit
from pythonfmu3 import Fmi3Slave


class {name}(Unit, Fmi3Slave):
    """The twin of {machine}."""
'''


class FmuError(ValueError):
    """A machine that cannot be exported, and why."""


def export(machine: Machine, folder: Path, step_s: float = 0.01) -> Path:
    """The unit of a machine of a factory, in a folder; see `export_type`."""
    return export_type(machine.type, machine.params, folder, machine.name, step_s)


def export_type(kind: MachineType, params: Any, folder: Path, name: str = "", step_s: float = 0.01) -> Path:
    """The unit of a machine type with these Params, in a folder: what its plant does with the Physics of its type.

    Inputs are the pins that a node drives, `pin.…`: levels, duties of 0 to 65535, and for a type with axes `pin.frames`, the words
    of its step stream until the next communication point, one each 10 µs. Outputs are its sensors, `sensor.…`, and its plant's
    signals, `plant.…`.

    Args:
        step_s: the usual time between communication points; with axes the longest.

    Raises:
        FmuError: a type without a plant, no whole number of frames in a step, or no binary for this platform.
    """
    name = name or kind.name
    _check(kind, step_s)
    frames = round(step_s * 1e9 / fmu_unit.FRAME_NS) if _has_axes(kind) else 0
    description = dict(fmu_unit.described(name, kind, params, frames, step_s))
    description["token"] = str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(description, sort_keys=True)))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lockstep-fmu-") as place:
        return _build(Path(place), folder, kind, description)


def _check(kind: MachineType, step_s: float) -> None:
    if importlib.util.find_spec("pythonfmu3") is None:
        raise FmuError("exporting takes pythonfmu3: pip install 'lockstep-factory[hil]'")
    from pythonfmu3.builder import FmuBuilder

    if not FmuBuilder.has_binary():
        raise FmuError("pythonfmu3 has no binary for this platform")
    plant_of(kind)
    parts = step_s * 1e9 / fmu_unit.FRAME_NS
    if step_s <= 0 or abs(parts - round(parts)) > 1e-6:
        raise FmuError(f"step_s={step_s:g}: a step must be a whole number of frames of 10 µs")


def _has_axes(kind: MachineType) -> bool:
    return any(isinstance(block, (Stepper, Joint)) for block in kind.blocks)


def _build(place: Path, folder: Path, kind: MachineType, description: Mapping[str, Any]) -> Path:
    from pythonfmu3.builder import FmuBuilder

    name = re.sub(r"\W", "_", str(description["name"]))
    module = f"lockstep_{name}_{str(description['token'])[:8]}"  # one process may hold several units
    script = place / f"{module}.py"
    script.write_text(_SCRIPT.format(name=name, machine=description["name"]), encoding="utf-8")
    (place / fmu_unit.DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    shutil.copy2(Path(fmu_unit.__file__), place / "fmu_unit.py")
    files = [place / fmu_unit.DESCRIPTION, place / "fmu_unit.py", _copy(TWIN, place / "twin")]
    if not kind.package.startswith(BUILT_IN):
        files.append(_copy(Path(sys.modules[kind.package].__path__[0]), place / kind.name))
    built = FmuBuilder.build_FMU(script, folder, files, canHandleVariableCommunicationStepSize=True)
    assert isinstance(built, Path)
    return built


def _copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__")))
