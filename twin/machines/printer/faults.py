"""How printers fail."""

import dataclasses
from collections.abc import Callable, Mapping

from twin.fault import Change, Kind, Parameter, PlantFault, Subject
from twin.machines.printer import plant
from twin.machines.printer.plant import HIGHEST, POSITION, PRESSED, Physics, State, Thermal, under
from twin.machines.printer.spec import Params

Values = Mapping[str, float]
OBSERVED = "temperatures, powers and positions of the machine's Status; fault and latched of the node; the plant's own"
WATCHED = "The heater's watch switches it off and the node latches before the block is more than warm or far from its target."
HELD_WARM = "The temperature comes back to its target and stays there."
NOT_HOMED = "Homing does not find the switch; the motion ends and the node latches."
HOMED = "The next homing finds the axes' zero again: what was lost does not add up from Job to Job."


def _kind(name: str, text: str, expected: str, reference: str, **parameters: Parameter) -> Kind:
    return Kind(
        name=name, subject=Subject.PLANT, text=text, expected=expected, observable=OBSERVED,
        parameters=parameters, reference=reference,
    )  # fmt: skip


def _thermal(made: Callable[[Thermal, Values], Thermal]) -> Change:
    """A change of the heater that the parameter `heater` names."""

    def strike(state: State, params: Params, values: Values) -> State:
        physics = state.physics
        if values["heater"] < 1:
            return under(state, params, dataclasses.replace(physics, hotend=made(physics.hotend, values)))
        return under(state, params, dataclasses.replace(physics, bed=made(physics.bed, values)))

    return strike


def _physics(made: Callable[[State, Params, Values], Physics]) -> Change:
    def strike(state: State, params: Params, values: Values) -> State:
        return under(state, params, made(state, params, values))

    return strike


def _ambient(state: State, params: Params, values: Values) -> Physics:
    return dataclasses.replace(state.physics, ambient=values["ambient"])


def _spool(state: State, params: Params, values: Values) -> Physics:
    fed = int(state.track[HIGHEST, plant.E]) / state.steps_per_mm[plant.E]
    return dataclasses.replace(state.physics, spool_mm=fed + values["left"])


def _blocked(state: State, params: Params, values: Values) -> Physics:
    axis = int(values["axis"])
    place = state.position_mm[axis]
    way = list(state.physics.way_mm)
    way[axis] = (place - values["play"], place + values["play"])
    return dataclasses.replace(state.physics, way_mm=tuple(way))


def _motor(state: State, params: Params, values: Values) -> Physics:
    rates = list(state.physics.max_step_rate)
    rates[int(values["axis"])] = values["rate"]
    x, y, z, e = rates
    return dataclasses.replace(state.physics, max_step_rate=(x, y, z, e))


def push(state: State, params: Params, values: Values) -> State:
    """Somebody pushes a carriage, as far as it goes."""
    axis = int(values["axis"])
    track = state.track.copy()
    to = int(track[POSITION, axis]) + round(values["distance"] * state.steps_per_mm[axis])
    to = min(max(to, int(state.bounds[plant.LOW, axis])), int(state.bounds[plant.HIGH, axis]))
    release = int(state.bounds[plant.RELEASE, axis])
    track[PRESSED, axis] = to < release if track[PRESSED, axis] else to <= 0
    track[POSITION, axis], track[HIGHEST, axis] = to, max(int(track[HIGHEST, axis]), to)
    return dataclasses.replace(state, track=track)


_HEATER = Parameter(default=0, low=0, high=1, text="0 for the hotend, 1 for the bed")
_CARRIAGE = Parameter(default=0, low=0, high=2, text="0 to 2 for X, Y, Z")
_MOTOR = Parameter(default=0, low=0, high=3, text="0 to 3 for X, Y, Z, E")
_SHARE = Parameter(default=0.02, low=0.0, high=1.0, text="of its power")

FAULTS = (
    PlantFault(
        kind=_kind("heater-weak", "A heater gives less than its power.", WATCHED, "A5", heater=_HEATER, share=_SHARE),
        strike=_thermal(lambda t, v: dataclasses.replace(t, power=t.power * v["share"])),
    ),
    PlantFault(
        kind=_kind("heater-stuck-on", "A heater's transistor passes at least this duty for good.", WATCHED, "A6", heater=_HEATER,
                   duty=Parameter(default=1.0, low=0.0, high=1.0, text="of full power")),
        strike=_thermal(lambda t, v: dataclasses.replace(t, stuck=v["duty"])),
    ),
    PlantFault(
        kind=_kind("thermistor-out", "A thermistor has fallen out and hangs in the air.", WATCHED, "A5", heater=_HEATER),
        strike=_thermal(lambda t, _: dataclasses.replace(t, sensor="out")),
    ),
    PlantFault(
        kind=_kind("thermistor-slow", "A thermistor has poor contact and follows slowly.", HELD_WARM, "A3", heater=_HEATER,
                   factor=Parameter(default=3.0, low=1.0, high=100.0, text="of its time constant")),
        strike=_thermal(lambda t, v: dataclasses.replace(t, lag=t.lag * v["factor"])),
    ),
    PlantFault(
        kind=_kind("draught", "Air blows over a heater: it loses more heat.", HELD_WARM, "A5", heater=_HEATER,
                   factor=Parameter(default=2.0, low=0.1, high=100.0, text="of its loss")),
        strike=_thermal(lambda t, v: dataclasses.replace(t, loss=t.loss * v["factor"])),
    ),
    PlantFault(
        kind=_kind("ambient-shift", "The room gets another temperature.", HELD_WARM, "A5",
                   ambient=Parameter(default=5.0, low=-40.0, high=60.0, text="°C")),
        strike=_physics(_ambient),
    ),
    PlantFault(
        kind=_kind("spool-empty", "The filament runs out.", "The Job holds on its path and an operator is told.", "A7",
                   left=Parameter(default=0.0, low=0.0, high=1e6, text="mm that are left")),
        strike=_physics(_spool),
    ),
    PlantFault(
        kind=_kind("axis-blocked", "Something holds a carriage where it is.", NOT_HOMED, "S8", axis=_CARRIAGE,
                   play=Parameter(default=0.5, low=0.0, high=1000.0, text="mm that it can still go either way")),
        strike=_physics(_blocked),
    ),
    PlantFault(
        kind=_kind("carriage-pushed", "Somebody pushes a carriage.", HOMED, "S9", axis=_CARRIAGE,
                   distance=Parameter(default=5.0, low=-2000.0, high=2000.0, text="mm")),
        strike=push,
    ),
    PlantFault(
        kind=_kind("motor-weak", "A motor loses the steps that come too quickly.", HOMED, "S9", axis=_MOTOR,
                   rate=Parameter(default=1000.0, low=0.0, high=1e5, text="steps/s that it still makes")),
        strike=_physics(_motor),
    ),
)  # fmt: skip
