"""What runs inside an exported unit: one machine's plant behind FMI 3.0 variables. It travels in the unit, beside the twin."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pythonfmu3 import (
    Boolean,
    DefaultExperiment,
    Dimension,
    Float64,
    Fmi3Causality,
    Fmi3SlaveBase,
    Fmi3StepResult,
    Fmi3Variability,
    Int32,
    Int64,
)

from twin.clock import Ns, ns
from twin.machine import BUILT_IN, MachineType, load
from twin.plant import Part, plant_of

FRAME_NS = 10_000
NO_PINS = ("i2s_clock", "i2s_latch", "i2s_data")
"""A step stream comes as words instead."""
DESCRIPTION = "machine.json"


def inputs_of(kind: MachineType, params: Any) -> tuple[str, ...]:
    """The pins through which a node drives this machine, in the type's order."""
    seen = sensors_of(kind, params)
    return tuple(pin for pin in kind.pins if pin not in seen and pin not in NO_PINS)


def sensors_of(kind: MachineType, params: Any) -> dict[str, int]:
    """What a node's inputs see when power comes on, by pin."""
    plant = plant_of(kind)
    _, sensors = plant.step(plant.start(params), params, {}, Ns(0))
    found: dict[str, int] = sensors
    return found


def signals_of(plant: ModuleType, state: Any) -> dict[str, Any]:
    """What its plant shows of a state beside the sensors: numbers by name, those of a tuple as `name[1]` and on"""
    if hasattr(plant, "signals"):
        shown = plant.signals(state)
    else:
        shown = {field.name: getattr(state, field.name) for field in dataclasses.fields(state) if field.name != "now"}
    found: dict[str, Any] = {}
    for name, value in shown.items():
        if isinstance(value, (bool, int, float)):
            found[name] = value
        elif isinstance(value, tuple) and value and all(isinstance(item, float) for item in value):
            found.update({f"{name}[{place}]": item for place, item in enumerate(value, 1)})
    return found


class Unit(Fmi3SlaveBase):  # type: ignore[misc]
    """A machine's plant: levels and duties go in at communication points, sensors and signals come out at the next ones.

    Variables are called as in a Trace: `pin.run`, `sensor.at_exit`, `plant.speed`. The Boolean inputs `part.put` and `part.take`
    put a Part at the entry, or take the offered one, when they rise; where there is no room, or nothing to take, nothing happens.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._resources = Path(kwargs["resources"])
        self._described = json.loads((self._resources / DESCRIPTION).read_text(encoding="utf-8"))
        self._kind = self._load()
        self._plant = plant_of(self._kind)
        self._params = self._kind.params(**{name: _frozen(value) for name, value in self._described["params"].items()})
        self.guid = self._described["token"]
        self.author, self.license = "Lockstep", "Apache-2.0"
        self.description = f"{self._described['name']}: the twin of a machine of type {self._kind.name}"
        self.default_experiment = DefaultExperiment(start_time=0.0, step_size=self._described["step_s"])
        self._state = self._plant.start(self._params)
        self._now = Ns(0)
        self._pins: dict[str, int] = dict.fromkeys(inputs_of(self._kind, self._params), 0)
        self._frames = [0] * self._described["frames"]
        self._asked, self._met = self._edges(), self._edges()
        self._sensors = self._step(Ns(0))
        self._signals = signals_of(self._plant, self._state)
        self._register()

    def _load(self) -> MachineType:
        name = self._described["type"]
        return load(name) if self._described["package"].startswith(BUILT_IN) else load(name, self._resources / name)

    def _edges(self) -> dict[str, bool]:
        return {name: False for name in ("put", "take") if hasattr(self._plant, name)}

    # ---- variables

    def _register(self) -> None:
        clock = Float64("time", causality=Fmi3Causality.independent, variability=Fmi3Variability.continuous, getter=self._time)
        self.register_variable(clock, nested=False)
        for pin in self._pins:
            self._input(Int32, "pin", pin, self._pins)
        if self._frames:
            size = [Dimension(start=str(len(self._frames)))]
            self._add(Int64, "pin.frames", Fmi3Causality.input, lambda: self._frames, self._queue, dimensions=size)
        for name in self._asked:
            self._input(Boolean, "part", name, self._asked)
        for pin in self._sensors:
            self._add(Int32, f"sensor.{pin}", Fmi3Causality.output, functools.partial(self._sensor, pin), None)
        for name, value in self._signals.items():
            kind = Boolean if isinstance(value, bool) else Int64 if isinstance(value, int) else Float64
            self._add(kind, f"plant.{name}", Fmi3Causality.output, functools.partial(self._signal, name), None)

    def _time(self) -> float:
        return self._now * 1e-9

    def _sensor(self, pin: str) -> int:
        return self._sensors[pin]

    def _signal(self, name: str) -> Any:
        return self._signals[name]

    def _input(self, kind: type, group: str, name: str, table: dict[str, Any]) -> None:
        def take(value: Any) -> None:
            table[name] = value

        self._add(kind, f"{group}.{name}", Fmi3Causality.input, lambda: table[name], take)

    def _add(
        self, kind: Any, name: str, causality: Any, getter: Callable[[], Any], setter: Callable[[Any], None] | None, **how: Any
    ) -> None:
        variability = Fmi3Variability.continuous if kind is Float64 else Fmi3Variability.discrete
        made = kind(name, causality=causality, variability=variability, getter=getter, setter=setter, **how)
        self.register_variable(made, nested=False)

    def _queue(self, words: list[int]) -> None:
        self._frames[:] = words

    # ---- time

    def do_step(self, current_time: float, step_size: float) -> Fmi3StepResult:
        """Let the plant pass to the next communication point, which is taken to the nanosecond."""
        self._hand_over()
        dt = Ns(ns(current_time + step_size) - self._now)
        self._sensors = self._step(dt)
        self._now = Ns(self._now + dt)
        self._signals = signals_of(self._plant, self._state)
        return Fmi3StepResult()

    def _step(self, dt: Ns) -> dict[str, int]:
        pins: dict[str, Any] = dict(self._pins)
        if self._frames:
            pins["frames"] = np.array(self._frames[: dt // FRAME_NS], np.uint32)
        self._state, sensors = self._plant.step(self._state, self._params, pins, dt)
        found: dict[str, int] = sensors
        return found

    def _hand_over(self) -> None:
        rising = [name for name, level in self._asked.items() if level and not self._met[name]]
        self._met = dict(self._asked)
        if "put" in rising and (taken := self._plant.put(self._state, self._params, Part())) is not None:
            self._state = taken
        if "take" in rising and self._plant.offer(self._state, self._params) is not None:
            self._state = self._plant.take(self._state, self._params)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def described(name: str, kind: MachineType, params: Any, frames: int, step_s: float) -> Mapping[str, Any]:
    """What `machine.json` says, but for its token."""
    values = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return {"name": name, "type": kind.name, "package": kind.package, "params": values, "frames": frames, "step_s": step_s}
