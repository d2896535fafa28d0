"""The world's side of a printer: motors that follow the step stream, switches, two heaters, and the part that grows.

A word of the step stream lasts 10 µs: bit 2i is the step of axis i (X, Y, Z, E), bit 2i+1 its direction (1 = plus). A
rising step bit is one microstep in that word's direction, if the pin `motors` powers the drivers.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from twin.clock import Ns
from twin.kernel import Floats, Ints, Words, kernel
from twin.machines.printer.laying import SLABS, nothing_laid, outline
from twin.machines.printer.spec import Params
from twin.part import SLAB, Part, span
from twin.thermistor import EPCOS_100K, Thermistor

FRAME = 10_000  # ns
WINDOW = 10_000_000  # ns over which the busiest stretch is counted
KEPT = 512  # steps of an axis that are remembered: more than fit into the window, one in two frames at most
STEP_BITS = 0x55
X, Y, Z, E = range(4)
SWITCHES = ("x_endstop", "y_endstop", "z_endstop")
HEATERS = ("hotend", "bed")
FULL_DUTY = 65_535
MM = 1000.0
NEVER = -(1 << 62)
SILENT = np.zeros(0, np.uint32)

# Rows of State.track, one column an axis. Positions are microsteps from the switch; times and intervals ns.
POSITION, HIGHEST, LOST, PRESSED, LAST, SHORTEST, BUSIEST, HEAD, TAIL = range(9)
# Rows of the mechanics' bounds.
LOW, HIGH, RELEASE, INTERVAL, SLAB_STEPS = range(5)
# Columns of State.laid, one row a slab of height: least and largest microstep of X, least and largest of Y.
X_LOW, X_HIGH, Y_LOW, Y_HIGH = range(4)
# Columns of the heaters' coefficients.
POWER, CAPACITY, LOSS, FAN, LAG, SEATED, MELT = range(7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Thermal:
    """A heater and its sensor: block = (power - loss) / capacity, and the sensor follows the block.

    Attributes:
        power: at full duty [W].
        capacity: of the block [J/K].
        loss: to the ambient [W/K]; `fan_effect` is the share that the part fan adds at full speed.
        lag: time constant of the sensor [s].
        offset: by which the sensor reads too warm [K].
        sensor: "out" is pulled out of the block and hangs in the air.
        stuck: the switch has failed and passes at least this duty.
    """

    power: float
    capacity: float
    loss: float
    fan_effect: float = 0.0
    lag: float = 2.5
    offset: float = 0.0
    sensor: Literal["good", "out", "open", "short"] = "good"
    stuck: float = 0.0


HOTEND = Thermal(power=50.0, capacity=14.0, loss=0.07, fan_effect=0.4, lag=2.5)
BED = Thermal(power=200.0, capacity=800.0, loss=1.2, lag=6.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Physics:
    """What the controller cannot know.

    Attributes:
        ambient: °C.
        melt_heat: what melting takes [J/(mm³·K)] of the filament's volume, counted from the ambient.
        start_position_mm: of the carriages when power comes on, from their switches.
        start_temperature: °C of hotend and bed then; the ambient's unless told.
        hard_stop_mm: play behind a switch; `overtravel_mm`: play beyond the far end.
        hysteresis_mm: a pressed switch opens this far from where it closed.
        max_step_rate: steps/s of each axis beyond which its motor stalls.
        spool_mm: filament on the spool.
        line_width_mm: of what the nozzle lays.
        sticky: °C of the plate above which parts stick to it.
        way_mm: between what each carriage can go, where something is in its way.
    """

    ambient: float = 22.0
    hotend: Thermal = HOTEND
    bed: Thermal = BED
    melt_heat: float = 2.33e-3
    filament_diameter_mm: float = 1.75
    start_position_mm: tuple[float, float, float] = (60.0, 40.0, 20.0)
    start_temperature: tuple[float, float] | None = None
    hard_stop_mm: float = 1.0
    overtravel_mm: float = 2.0
    hysteresis_mm: float = 0.05
    max_step_rate: tuple[float, float, float, float] = (50_000.0,) * 4
    spool_mm: float = 1e6
    line_width_mm: float = 0.45
    sticky: float = 40.0
    way_mm: tuple[tuple[float, float], ...] = ((-math.inf, math.inf),) * 3


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A printer at a moment; `step` never changes one.

    Attributes:
        word: the last word of the step stream.
        track: (9, 4) see the row names above; recent: (4, 512) times [ns] of each axis' last steps.
        laid: (128, 4) where filament was laid since the last part was taken, see twin/machines/printer/laying.py.
        heat: (2, 2) block and sensor temperature [°C] of hotend and bed.
        taken: E steps of filament in the parts already taken away.
        heating: the hotend's heater is on.
        motors: their drivers are powered.
        bounds, coefficients: made of Params and Physics; see `under`.
    """

    now: Ns
    word: int
    track: Ints
    recent: Ints
    laid: Ints
    heat: Floats
    taken: int
    heating: bool
    motors: bool
    physics: Physics
    bounds: Ints
    coefficients: Floats
    steps_per_mm: tuple[float, ...]

    @property
    def position(self) -> Ints:
        """(4,) microsteps of X, Y, Z from their switches, and of E since the start."""
        row: Ints = self.track[POSITION]
        return row

    @property
    def position_mm(self) -> tuple[float, ...]:
        """X, Y, Z, E in mm."""
        return tuple(int(n) / per for n, per in zip(self.track[POSITION], self.steps_per_mm, strict=True))

    @property
    def lost(self) -> Ints:
        """(4,) step pulses that moved nothing: at a stop, too fast, or without power."""
        row: Ints = self.track[LOST]
        return row

    @property
    def last_step(self) -> Ns:
        """When the last step pulse of any axis came."""
        return Ns(int(self.track[LAST].max()))

    @property
    def fed_mm(self) -> float:
        """Filament that has been fed, retractions counted back."""
        return min(int(self.track[POSITION, E]) / self.steps_per_mm[E], self.physics.spool_mm)

    @property
    def hotend(self) -> float:
        """°C of the block itself."""
        return float(self.heat[0, 0])

    @property
    def bed(self) -> float:
        """°C of the plate itself."""
        return float(self.heat[1, 0])

    @property
    def fastest(self) -> tuple[float, ...]:
        """Steps/s of each axis, from the shortest time between two of its steps."""
        return tuple(1e9 / int(ns) if ns < -NEVER else 0.0 for ns in self.track[SHORTEST])

    @property
    def busiest(self) -> tuple[float, ...]:
        """Steps/s of each axis over its busiest 10 ms."""
        return tuple(int(n) * 1e9 / WINDOW for n in self.track[BUSIEST])


def start(params: Params, physics: Physics = Physics()) -> State:
    """A printer that is switched on with its carriages where they happen to stand."""
    per_mm = tuple(per / MM for per in params.steps_per_mm)
    track = np.zeros((9, 4), np.int64)
    for axis, at in enumerate(physics.start_position_mm):
        track[POSITION, axis] = track[HIGHEST, axis] = round(at * per_mm[axis])
    track[PRESSED] = track[POSITION] <= 0
    track[LAST], track[SHORTEST] = NEVER, -NEVER
    heat = np.repeat(physics.start_temperature or (physics.ambient,) * 2, 2).reshape(2, 2)
    blank = State(Ns(0), 0, track, np.zeros((4, KEPT), np.int64), nothing_laid(), heat, 0, False, False, physics,
                  np.zeros((5, 4), np.int64), np.zeros((2, 7)), per_mm)  # fmt: skip
    return under(blank, params, physics)


def under(state: State, params: Params, physics: Physics) -> State:
    """The same printer under another physics: how a fault is put in."""
    per_mm = state.steps_per_mm
    bounds = np.empty((5, 4), np.int64)
    low = [max(-physics.hard_stop_mm, physics.way_mm[i][0]) for i in (X, Y, Z)]
    high = [min(params.size[i] * MM + physics.overtravel_mm, physics.way_mm[i][1]) for i in (X, Y, Z)]
    bounds[LOW] = [round(mm * per_mm[i]) for i, mm in enumerate(low)] + [NEVER]
    bounds[HIGH] = [round(mm * per_mm[i]) for i, mm in enumerate(high)] + [-NEVER]
    bounds[RELEASE] = [max(1, round(physics.hysteresis_mm * per)) for per in per_mm]
    bounds[INTERVAL] = [int(1e9 / max(rate, 1e-3)) // FRAME * FRAME for rate in physics.max_step_rate]
    bounds[SLAB_STEPS] = [max(1, round(SLAB * MM * per)) for per in per_mm]
    volume = math.pi / 4 * physics.filament_diameter_mm**2 / per_mm[E]
    rows = [
        [t.power, t.capacity, t.loss, t.fan_effect, t.lag, float(t.sensor != "out"), melt]
        for t, melt in ((physics.hotend, physics.melt_heat * volume), (physics.bed, 0.0))
    ]
    return dataclasses.replace(state, physics=physics, bounds=bounds, coefficients=np.array(rows))


def step(state: State, params: Params, pins: Mapping[str, Any], dt: Ns) -> tuple[State, dict[str, int]]:
    """Let `dt` pass with the pins as they are.

    Raises:
        ValueError: more words in the step stream than `dt` has room for.
    """
    words = _words(pins, dt)
    track, recent, heat = state.track.copy(), state.recent.copy() if len(words) else state.recent, state.heat.copy()
    laid = state.laid.copy() if len(words) else state.laid
    physics = state.physics
    hotend, bed = _duty(pins, "hotend_heater", physics.hotend), _duty(pins, "bed_heater", physics.bed)
    fan = pins.get("fan", 0) / FULL_DUTY
    spool = int(physics.spool_mm * state.steps_per_mm[E])
    word = _pass(words, bool(pins.get("motors")), dt, state.now, state.word, track, recent, state.bounds, laid,
                 heat, state.coefficients, hotend, bed, fan, float(physics.ambient), spool)  # fmt: skip
    after = State(Ns(state.now + dt), word, track, recent, laid, heat, state.taken, hotend > 0.0,
                  bool(pins.get("motors")), physics, state.bounds, state.coefficients, state.steps_per_mm)  # fmt: skip
    return after, sensors(after)


def sensors(state: State) -> dict[str, int]:
    """What the node's inputs see."""
    seen = {name: int(state.track[PRESSED, axis]) for axis, name in enumerate(SWITCHES)}
    seen["filament"] = int(state.track[HIGHEST, E] < state.physics.spool_mm * state.steps_per_mm[E])
    seen["hotend_sensor"] = _adc(state.physics.hotend, float(state.heat[0, 1]))
    seen["bed_sensor"] = _adc(state.physics.bed, float(state.heat[1, 1]))
    return seen


def signals(state: State) -> dict[str, Any]:
    """What a trace keeps of it."""
    return {
        "hotend": round(state.hotend, 2),
        "bed": round(state.bed, 2),
        "fed": round(state.fed_mm, 3),
        "lost": int(state.lost.sum()),
        "position_mm": tuple(round(mm, 4) for mm in state.position_mm[:3]),
    }


def horizon(state: State, params: Params, pins: Mapping[str, Any], limit: Ns) -> Ns:
    """How long until a switch changes, at the end of the frame that does it; `limit` if none does.

    The step stream may reach beyond the limit.
    """
    words: Words = pins.get("frames", SILENT)[: limit // FRAME]
    played = _edge(words, bool(pins.get("motors")), state.now, state.word, state.track, state.recent, state.bounds)
    return Ns(min(limit, played * FRAME)) if played else limit


def offer(state: State, params: Params) -> Part | None:
    """The part on the plate, once the motors and the hotend's heater are off."""
    steps = int(state.track[HIGHEST, E]) - state.taken
    if steps <= 0 or state.motors or state.heating:
        return None
    laid = outline(state.laid, state.steps_per_mm, state.physics.line_width_mm)
    low, high = span(laid)[:2]
    return Part(filament_mm=steps / state.steps_per_mm[E], length=high - low, outline=laid)


def take(state: State, params: Params) -> State:
    """The plate without its part."""
    return dataclasses.replace(state, taken=int(state.track[HIGHEST, E]), laid=nothing_laid())


def sticks(state: State, params: Params) -> bool:
    """Whether the part cannot be pulled off the plate."""
    return state.bed > state.physics.sticky


def _words(pins: Mapping[str, Any], dt: Ns) -> Words:
    words: Words = pins.get("frames", SILENT)
    if len(words) * FRAME > dt:
        raise ValueError(f"{len(words)} words of the step stream do not fit into {dt} ns")
    return words


def _duty(pins: Mapping[str, Any], pin: str, heater: Thermal) -> float:
    duty: float = pins.get(pin, 0) / FULL_DUTY
    return max(duty, heater.stuck)


def _adc(heater: Thermal, temperature: float, of: Thermistor = EPCOS_100K) -> int:
    if heater.sensor == "open":
        return of.adc(math.inf)
    return 0 if heater.sensor == "short" else of.adc(of.resistance(temperature + heater.offset))


@kernel
def _pass(
    words: Words, powered: bool, dt: int, now: int, word: int, track: Ints, recent: Ints, bounds: Ints, laid: Ints, heat: Floats,
    coefficients: Floats, hotend: float, bed: float, fan: float, ambient: float, spool: int,
) -> int:  # fmt: skip
    """One step of everything; overwrites track, recent, laid and heat, returns the last word."""
    before = min(track[HIGHEST, E], spool)
    word = _follow(words, powered, now, word, track, recent, bounds, laid, False)[1]
    if dt // FRAME > words.shape[0]:  # an empty stream plays zero words
        word = 0
    if dt > 0:
        seconds = dt * 1e-9
        melted = (min(track[HIGHEST, E], spool) - before) / seconds
        _warm(heat[0], coefficients[0], hotend, fan, melted, ambient, seconds)
        _warm(heat[1], coefficients[1], bed, fan, 0.0, ambient, seconds)
    return word


@kernel
def _warm(
    heat: Floats, of: Floats, duty: float, fan: float, melted: float, ambient: float, seconds: float
) -> None:
    """Exact solution of the two linear states while duty, fan and flow (steps/s) stand; heat = block, sensor."""
    conductance = of[LOSS] * (1.0 + of[FAN] * fan) + of[MELT] * melted
    slow, quick = of[CAPACITY] / conductance, of[LAG]
    end = ambient + of[POWER] * duty / conductance
    if abs(slow - quick) < 1e-6 * quick:
        slow = quick * (1.0 + 1e-6)
    left, forgot = math.exp(-seconds / slow), math.exp(-seconds / quick)
    away = heat[0] - end
    if of[SEATED] > 0.0:
        heat[1] = end + away * (left - forgot) * slow / (slow - quick) + (heat[1] - end) * forgot
    else:
        heat[1] = ambient + (heat[1] - ambient) * forgot
    heat[0] = end + away * left


@kernel
def warm_up(
    heat: Floats, of: Floats, duty: Floats, fan: Floats, melted: Floats, elapsed: Floats, ambient: float, out: Floats
) -> None:
    """What the sensor of one heater has at the end of each of n steps.

    Args:
        heat: (2,) block and sensor temperature [°C], overwritten.
        of: (7,) its row of State.coefficients.
        duty, fan: (n,) shares; melted: (n,) steps/s of filament; elapsed: (n,) [s]; out: (n,) [°C].
    """
    for i in range(duty.shape[0]):
        _warm(heat, of, duty[i], fan[i], melted[i], ambient, elapsed[i])
        out[i] = heat[1]


@kernel
def _lay(track: Ints, bounds: Ints, laid: Ints) -> None:
    """Filament is laid where the nozzle is."""
    x, y, z = track[POSITION, X], track[POSITION, Y], track[POSITION, Z]
    slab = min(max((z - 1) // bounds[SLAB_STEPS, Z], 0), SLABS - 1)
    laid[slab, X_LOW], laid[slab, X_HIGH] = min(laid[slab, X_LOW], x), max(laid[slab, X_HIGH], x)
    laid[slab, Y_LOW], laid[slab, Y_HIGH] = min(laid[slab, Y_LOW], y), max(laid[slab, Y_HIGH], y)


@kernel
def _edge(words: Words, powered: bool, now: int, word: int, track: Ints, recent: Ints, bounds: Ints) -> int:
    """Words until a switch changes, that one included; 0 if none does."""
    reach = words.shape[0] // 2 + 1
    near = False
    for axis in range(3):
        at = track[POSITION, axis]
        near |= at + reach >= bounds[RELEASE, axis] if track[PRESSED, axis] else at - reach <= 0
    if not near:
        return 0
    return _follow(words, powered, now, word, track.copy(), recent.copy(), bounds, np.empty((SLABS, 4), np.int64), True)[0]


@kernel
def _follow(
    words: Words, powered: bool, now: int, word: int, track: Ints, recent: Ints, bounds: Ints, laid: Ints, until_edge: bool
) -> tuple[int, int]:
    """Play words; overwrites track, recent and laid. Returns (words until a switch changed or 0, the last word)."""
    total = words.shape[0]
    last = np.uint32(word)
    for first in range(0, total, 64):
        end = min(first + 64, total)
        high = np.uint32(0)
        for i in range(first, end):
            high |= words[i]
        if high & STEP_BITS:
            for i in range(first, end):
                rising = words[i] & ~last & STEP_BITS
                last = words[i]
                if rising and _pulses(last, rising, powered, now + i * FRAME, track, recent, bounds, laid) and until_edge:
                    return i + 1, int(last)
        last = words[end - 1]
    return 0, int(last)


@kernel
def _pulses(word: int, rising: int, powered: bool, at: int, track: Ints, recent: Ints, bounds: Ints, laid: Ints) -> bool:
    """Rising step bits of one word: move what can move. Returns whether a switch changed."""
    changed = False
    for axis in range(4):
        if not rising >> (2 * axis) & 1:
            continue
        since = at - track[LAST, axis]
        track[LAST, axis] = at
        track[SHORTEST, axis] = min(track[SHORTEST, axis], since)
        head, tail = track[HEAD, axis], track[TAIL, axis]
        recent[axis, head & (KEPT - 1)] = at
        head += 1
        while recent[axis, tail & (KEPT - 1)] <= at - WINDOW:
            tail += 1
        track[HEAD, axis], track[TAIL, axis] = head, tail
        track[BUSIEST, axis] = max(track[BUSIEST, axis], head - tail)
        to = track[POSITION, axis] + (1 if word >> (2 * axis + 1) & 1 else -1)
        if not powered or since < bounds[INTERVAL, axis] or to < bounds[LOW, axis] or to > bounds[HIGH, axis]:
            track[LOST, axis] += 1
            continue
        track[POSITION, axis] = to
        if axis == E and to > track[HIGHEST, E]:
            _lay(track, bounds, laid)
        track[HIGHEST, axis] = max(track[HIGHEST, axis], to)
        pressed = to < bounds[RELEASE, axis] if track[PRESSED, axis] else to <= 0
        if axis < 3 and pressed != track[PRESSED, axis]:
            track[PRESSED, axis] = pressed
            changed = True
    return changed
