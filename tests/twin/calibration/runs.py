"""Runs of machines whose plants are not what they should be: the plants' own steps, seen through the registers of a node."""

import dataclasses
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from twin.calibration.run import Run
from twin.clock import MS, Ns, S, seconds
from twin.machine import load, make_params
from twin.part import Part
from twin.plant import plant_of
from twin.residual import of, with_values
from twin.thermistor import EPCOS_100K
from twin.wire import decode, encode

FULL = 65_535
TURN = 2 * math.pi
SCAN = Ns(100 * MS)


def off(physics: Any, names: tuple[str, ...], seed: int, share: float = 0.3) -> Any:
    """A Physics with these parameters off by up to a share of themselves, and at least by half of it, either way."""
    dice = random.Random(seed)
    by = {name: 1.0 + dice.choice((-1, 1)) * dice.uniform(share / 2, share) for name in names}
    return with_values(physics, {name: of(physics, name) * factor for name, factor in by.items()})


def recorded(machine: str, kind: Any, reports: list[tuple[Ns, Mapping[str, Any]]]) -> Run:
    """A run of what was reported, once over the wire: with the registers' steps."""
    columns: dict[str, list[float]] = {}
    for _, values in reports:
        status = decode(kind.status, encode(kind.status(**values)))
        for signal in kind.layouts[0].signals:
            columns.setdefault(signal.name, []).append(float(getattr(status, signal.name)))
    time = np.array([seconds(at) for at, _ in reports])
    return Run(machine, time - time[0], {name: np.array(values) for name, values in columns.items()}, "made by a test")


def blank(kind: Any) -> dict[str, Any]:
    """A Status in which nothing is."""
    return {signal.name: signal.type(0) for signal in kind.layouts[0].signals}


# ---- a printer that heats, cools its part, prints and cools


def printer(physics: Any, minutes: float = 9.0, feeds: bool = True, heats: bool = True) -> Run:
    """Both heaters regulated every 100 ms, as a node does it; the fan on and off, filament fed for a while."""
    kind = load("printer")
    params, plant = make_params(kind.params, {}), plant_of(kind)
    state, reports = plant.start(params, physics), []
    sums, duties, fed = [0.0, 0.0], [0.0, 0.0], 0.0
    pins: dict[str, Any] = {"hotend_heater": 0, "bed_heater": 0}
    dt = Ns(100 * MS)
    for tick in range(int(minutes * 600)):
        now = tick / 10
        targets = _targets(now, minutes * 60) if heats else (0.0, 0.0)
        fan = 1.0 if now % 120 > 60 else 0.0
        read = [_read(state, physics, row) for row in (0, 1)]
        for row, (gain, reset) in enumerate(((0.05, 0.002), (0.1, 0.002))):
            away = targets[row] - read[row]
            sums[row] = min(max(sums[row] + reset * away, 0.0), 1.0) if abs(away) < 10 else sums[row]
            duties[row] = min(max(gain * away + sums[row], 0.0), 1.0) if targets[row] else 0.0
        values = {
            **blank(kind), "e": fed, "fan": fan, "filament": True,
            "hotend_temperature": read[0], "hotend_target": targets[0], "hotend_power": pins["hotend_heater"] / FULL,
            "bed_temperature": read[1], "bed_target": targets[1], "bed_power": pins["bed_heater"] / FULL,
        }  # fmt: skip
        reports.append((Ns(tick * dt), values))
        state, _ = plant.step(state, params, pins, Ns(dt // 2))  # a node's law and the scan keep step with nobody
        heaters = {"hotend_heater": round(duties[0] * FULL), "bed_heater": round(duties[1] * FULL)}
        pins = {**heaters, "fan": round(fan * FULL), "motors": 1}
        fed_now = dict(pins)
        if feeds and targets[0] and read[0] > 190 and now % 90 > 45:
            fed_now["frames"] = _FEED
            fed += 48 / 96e3  # 48 steps of 96 a millimetre, in half a tenth of a second
        state, _ = plant.step(state, params, fed_now, Ns(dt // 2))
    return recorded("printer-1", kind, reports)


_FEED = np.zeros(5_000, np.uint32)
_FEED[: 104 * 48 : 104] = 0xC0


def _targets(now: float, end: float) -> tuple[float, float]:
    if now < 20 or now > 0.75 * end:
        return 0.0, 0.0
    return (210.0 if now < 0.45 * end else 180.0), 60.0


def _read(state: Any, physics: Any, row: int) -> float:
    """What a node makes of the ADC: tenths of a degree."""
    from twin.machines.printer.plant import sensors

    name = ("hotend_sensor", "bed_sensor")[row]
    return EPCOS_100K.temperature(EPCOS_100K.seen(sensors(state)[name]))


# ---- a belt over which parts ride


def belt(physics: Any, parts: int = 12, stops: int = 0, every: Ns = SCAN, **given: float) -> Run:
    """Parts that ride from the entry to the exit, each with some stops on its way."""
    kind = load("conveyor")
    params, plant = make_params(kind.params, given), plant_of(kind)
    state, reports = plant.start(params, physics), []
    now, dice = Ns(0), random.Random(3)

    def report(running: bool, level: float, sensors: Mapping[str, int]) -> None:
        seen = {name: bool(sensors[name]) for name in ("at_entry", "at_exit", "tripped")}
        reports.append((now, {**blank(kind), **seen, "running": running, "speed": level if running else 0.0}))

    for _ in range(parts):
        put = plant.put(state, params, Part(id="p", filament_mm=0.0, length=dice.uniform(0.05, 0.25)))
        assert put is not None
        state, ridden, halted, halts = put, 0.0, 0, dice.randint(0, stops)
        spell = dice.uniform(0.8, 1.6) if halts else 1e9
        while True:
            running = ridden < spell
            pins = {"run": int(running), "speed": round(params.speed / params.full_speed * FULL)}
            state, sensors = plant.step(state, params, pins, every)
            now, ridden = Ns(now + every), ridden + seconds(every)
            report(running, params.speed, sensors)
            if sensors["at_exit"]:
                break
            if not running and state.speed == 0.0:
                halted += 1
                ridden, spell = 0.0, (dice.uniform(0.8, 1.6) if halted < halts else 1e9)
        for _ in range(30):
            state, sensors = plant.step(state, params, {}, every)
            now = Ns(now + every)
            report(False, 0.0, sensors)
        state = plant.take(state, params)
        state, sensors = plant.step(state, params, {}, every)
        now = Ns(now + every)
        report(False, 0.0, sensors)
    return recorded("belt-1", kind, reports)


# ---- an extractor at many speeds


def extractor(physics: Any, minutes: float = 360.0, speeds: int = 600) -> Run:
    """A fan that is led up and down through its speeds, told once a second."""
    kind = load("extractor")
    params, plant = make_params(kind.params, {}), plant_of(kind)
    state, reports = plant.start(params, physics), []
    dice = random.Random(5)
    spell = minutes * 60 / speeds
    order = [round(29.5 - 24.0 * math.cos(10 * TURN * k / speeds) + dice.uniform(-3.5, -1.5), 1) for k in range(speeds)]
    for tick in range(int(minutes * 60)):
        speed = min(max(order[min(int(tick / spell), speeds - 1)], 0.0), 50.0) if tick > 10 else 0.0
        state, sensors = plant.step(state, params, {"run": int(speed > 0), "speed": int(speed / params.full_speed * FULL)}, Ns(S))
        reports.append((Ns(tick * S), {**blank(kind), "running": speed > 0, "speed": speed, **_measured(sensors, dice)}))
    return recorded("extractor-1", kind, reports)


def _measured(sensors: Mapping[str, int], dice: random.Random) -> dict[str, float]:
    """What a node makes of an extractor's sensors."""
    loop = {name: (sensors[name] - 9_532) / (47_662 - 9_532) for name in ("current", "filter_pressure")}
    shaking = 9.80665 * (sensors["vibration_sda"] & 255) / 100 / math.sqrt(2)
    return {
        "current": max(0.0, 5.0 * loop["current"]),
        "filter_pressure": max(0.0, 1000.0 * loop["filter_pressure"]),
        "bearing_temperature": (sensors["bearing_temperature"] - 9_930) / 198.59,
        "vibration_rms": math.sqrt(shaking**2 + (0.108 * dice.uniform(0.95, 1.05)) ** 2),
    }


# ---- an arm whose cams are not where they should be


def arm(physics: Any, passes: int = 12, speed: float = math.radians(20.0)) -> Run:
    """Joints that pass their cams up and down at several speeds, ten reports a second."""
    kind = load("arm")
    params = make_params(kind.params, {})
    reports, tick, dice = [], 0, random.Random(9)
    for turn in range(passes):
        rate = speed * dice.uniform(0.1, 0.4)
        way = math.radians(12.0)
        count = int(2 * way / rate * 10)
        sign = 1 if turn % 2 else -1
        for k in range(count):
            values = blank(kind)
            for index, name in enumerate(("base", "shoulder", "elbow", "wrist_1", "wrist_2", "wrist_3")):
                angle = params.home[index] + sign * (way - rate * (k + dice.random() * 0.01) / 10)
                values[name] = angle
                values[f"{name}_cam"] = angle >= params.home[index] + physics.cam[index]
            reports.append((Ns(tick * 100 * MS), values))
            tick += 1
    return recorded("arm-1", kind, reports)


def replaced(run: Run, keep: Callable[[str], bool]) -> Run:
    """A run of which only some columns were recorded."""
    return dataclasses.replace(run, columns={name: values for name, values in run.columns.items() if keep(name)})
