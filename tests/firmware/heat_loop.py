"""The node's heaters in the MicroPython VM and the printer's plant, tick by tick; no clock but the ticks."""

import itertools
import json
import math
import os
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from hil.micropython import command
from twin.clock import Ns
from twin.machine import make_params
from twin.machines.printer import plant
from twin.machines.printer.plant import BED, HOTEND, Physics, Thermal
from twin.machines.printer.spec import Params

HERE = Path(__file__).parent
PARAMS = make_params(Params, {})
TICK_MS = 100
HIGHEST = {"hotend": 2750, "bed": 1200}
FULL = 65_535
STILL = np.zeros(0, np.uint32)
NO_CHANGE = -1


def flow(volume: float) -> np.ndarray:
    """A tick's step stream that feeds this many mm³/s of filament of 1.75 mm."""
    rate = volume / (math.pi / 4 * 1.75**2) * 96
    words = np.full(10_000, 0x100, np.uint32)
    words[(np.arange(1, int(rate * TICK_MS / 1000) + 1) / rate * 1e5).astype(int) - 1] |= 0xC0
    return words


def scaled(heater: Thermal, power: float = 1, capacity: float = 1, loss: float = 1, lag: float = 1) -> Thermal:
    """A heater whose properties are off by these factors."""
    return replace(
        heater,
        power=heater.power * power,
        capacity=heater.capacity * capacity,
        loss=heater.loss * loss,
        lag=heater.lag * lag,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a heater shows after a tick, and what its block really is. Temperatures in °C."""

    duty: float
    fault: int
    ready: bool
    temperature: float
    target: float
    power: float
    block: float


class VM:
    """Heaters in the VM, one exchange a tick."""

    GIVEN, TAKEN = struct.Struct("<HhBB"), struct.Struct("<HBBhHH")

    def __init__(self, highest: Sequence[int]) -> None:
        self._size = len(highest)
        self._process = subprocess.Popen(
            [*command(), str(HERE / "heat_vm.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "MICROPYPATH": str(HERE.parents[1] / "firmware") + ":.frozen"},
        )
        self._write(json.dumps(list(highest)).encode() + b"\n")

    def _write(self, sent: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(sent)
        self._process.stdin.flush()

    def tick(self, given: Sequence[tuple[int, int, int, int]]) -> list[tuple[Any, ...]]:
        """(ADC reading, target or -1, permitted, ms) of each heater; (duty, fault, ready, three registers) of each."""
        self._write(b"".join(self.GIVEN.pack(*one) for one in given))
        assert self._process.stdout is not None
        return list(self.TAKEN.iter_unpack(self._process.stdout.read(self._size * self.TAKEN.size)))

    def close(self) -> dict[str, Any]:
        """End it: `used` bytes after 1000 ticks and at the end, what was `learnt`: [[rate, lag], ...]."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        last = json.loads(self._process.stdout.read() or "{}")
        self._process.stdout.close()
        self._process.wait(20)
        return dict(last)


class Loop:
    """Printers with the same wishes, each under its own physics. Times in s."""

    def __init__(self, physics: Sequence[Physics], at: float | None = None) -> None:
        self.states = [plant.start(PARAMS, one) for one in physics]
        for state in self.states:
            if at is not None:
                state.heat[0] = at
        self.sensors = [plant.sensors(state) for state in self.states]
        self.history: list[list[dict[str, Seen]]] = []
        self.disturb: Callable[[int, dict[str, int]], dict[str, int]] = lambda printer, sensors: sensors
        self.end: dict[str, Any] = {}
        self._vm = VM(list(HIGHEST.values()) * len(physics))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end = self._vm.close()

    def under(self, index: int, **change: Any) -> None:
        """Put a fault into one printer."""
        state = self.states[index]
        self.states[index] = plant.under(state, PARAMS, replace(state.physics, **change))

    def run(
        self,
        seconds: float,
        hotend: float | None = None,
        bed: float | None = None,
        permitted: bool = True,
        fan: float = 0,
        words: np.ndarray = STILL,
    ) -> list[list[dict[str, Seen]]]:
        """Let time pass; new targets are set with the first tick. Returns the ticks of this stretch: [tick][printer]."""
        begin = len(self.history)
        wishes = {"hotend": hotend, "bed": bed}
        for _ in range(round(seconds * 1000 / TICK_MS)):
            given = [
                (sensors[f"{name}_sensor"], NO_CHANGE if wish is None else round(wish * 10), permitted, TICK_MS)
                for sensors in itertools.starmap(self.disturb, enumerate(self.sensors))
                for name, wish in wishes.items()
            ]
            taken = self._vm.tick(given)
            self.history.append([self._step(k, taken[2 * k : 2 * k + 2], fan, words) for k in range(len(self.states))])
            wishes = dict.fromkeys(wishes)
        return self.history[begin:]

    def _step(self, k: int, taken: list[tuple[Any, ...]], fan: float, words: np.ndarray) -> dict[str, Seen]:
        state = self.states[k]
        pins = {"hotend_heater": taken[0][0], "bed_heater": taken[1][0], "fan": round(fan * FULL), "frames": words}
        self.states[k], self.sensors[k] = plant.step(state, PARAMS, pins, Ns(TICK_MS * 1_000_000))
        return {
            name: Seen(duty / FULL, fault, bool(ready), temperature / 10, target / 10, power / 1000, block)
            for name, (duty, fault, ready, temperature, target, power), block in zip(
                HIGHEST, taken, (state.hotend, state.bed), strict=True
            )
        }


def first(stretch: list[list[dict[str, Seen]]], printer: int, heater: str, holds: Any) -> float | None:
    """Seconds until a heater meets a condition for the first time, or None."""
    return next(((k + 1) * TICK_MS / 1000 for k, row in enumerate(stretch) if holds(row[printer][heater])), None)


def off_by(stretch: list[list[dict[str, Seen]]], heater: str) -> tuple[float, float]:
    """The lowest and highest deviation from the target that any printer shows."""
    away = [row[heater].temperature - row[heater].target for tick in stretch for row in tick]
    return min(away), max(away)


__all__ = ["BED", "HOTEND", "VM", "Loop", "Seen", "first", "flow", "off_by", "scaled"]
