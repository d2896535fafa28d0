"""A calibration as a file that stays with the machine: TOML, readable, made for one machine type under one set of Params."""

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twin.calibration.errors import CalibrationError
from twin.residual import Parameter, with_values


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter [SI] and its standard error; 0 where it was held."""

    value: float
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of one machine's plant.

    Attributes:
        type: of the machine.
        made: when, as people read it; source: the run it was made of.
        params: digest of the type and the Params that it was made for.
        values: by name.
        rms: by Signal, of the residual after it [SI].
    """

    machine: str
    type: str
    made: str
    source: str
    params: str
    values: Mapping[str, Value]
    rms: Mapping[str, float]

    def physics(self, physics: Any) -> Any:
        """A type's Physics with these values."""
        return with_values(physics, {name: one.value for name, one in self.values.items()})

    def stale(self, digest: str) -> str:
        """Why it is not to be used for a machine with other Params; empty when it may be."""
        return "" if digest == self.params else f"the calibration of {self.machine} was made for other params: calibrate it again"


def digest_of(package: str, params: Any) -> str:
    """What a calibration was made for: the machine type and its Params."""
    return hashlib.sha256(f"{package} {params!r}".encode()).hexdigest()[:16]


def write(made: Calibration, parameters: Mapping[str, Parameter]) -> str:
    """The file's text."""
    lines = [
        "# What was identified of this machine's plant, in SI. The shadow steps the twin with it.",
        *(f"{name} = {_text(getattr(made, name))}" for name in ("machine", "type", "made", "source", "params")),
        *("", "[values]", *(f'"{name}" = {_number(one.value)}' for name, one in made.values.items())),
        *("", "[errors]", *(f'"{name}" = {_number(one.error)}' for name, one in made.values.items())),
        *("", "[units]"),
        *(f'"{name}" = {_text(_unit(parameters, name))}' for name in made.values),
        *("", "[rms]", *(f'"{name}" = {_number(value)}' for name, value in made.rms.items())),
    ]
    return "\n".join(lines) + "\n"


def _unit(parameters: Mapping[str, Parameter], name: str) -> str:
    one = parameters.get(name)
    size = "" if one is None or one.unit.size == 1.0 else f", shown in {one.unit.symbol}"
    return "" if one is None else f"{one.text}{size}"


def _text(value: str) -> str:
    kept = "".join(letter if letter.isprintable() else " " for letter in value)
    return '"' + kept.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _number(value: float) -> str:
    return repr(float(value))


def read(text: str, where: str, parameters: Mapping[str, Parameter] | None = None) -> Calibration:
    """A calibration from its file's text.

    Args:
        where: the file, for messages.
        parameters: that the machine type has; where given, any other is refused, and so is a value beyond its limits.

    Raises:
        CalibrationError: it is none.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise CalibrationError(f"{where}: not TOML: {wrong}") from wrong
    for name in ("machine", "type", "made", "source", "params"):
        if not isinstance(table.get(name), str):
            raise CalibrationError(f"{where}: {name}: must be a text, not {table.get(name)!r}")
    values, errors = _table(table, "values", where), _table(table, "errors", where)
    for name, value in values.items():
        if parameters is None:
            continue
        one = parameters.get(name)
        if one is None:
            raise CalibrationError(f"{where}: values.{name}: no such parameter; there are {', '.join(parameters)}")
        if not one.low <= value <= one.high:
            raise CalibrationError(f"{where}: values.{name}: {value:g} is outside {one.low:g} to {one.high:g}")
    kept = {name: Value(value, errors.get(name, 0.0)) for name, value in values.items()}
    machine, kind, made, source, params = (str(table[name]) for name in ("machine", "type", "made", "source", "params"))
    return Calibration(machine, kind, made, source, params, kept, _table(table, "rms", where))


def _table(table: Mapping[str, Any], name: str, where: str) -> dict[str, float]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise CalibrationError(f"{where}: {name}: must be a table")
    for key, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise CalibrationError(f"{where}: {name}.{key}: must be a number, not {value!r}")
    return {key: float(value) for key, value in found.items()}
