"""How outputs fail on their way from the node's pin to the machine: the kinds, and the edit of each."""

from collections.abc import Mapping

from twin.clock import ns
from twin.fault import Carrier, Kind, Parameter, Subject
from twin.faults import edits
from twin.faults.edits import FULL, Change
from twin.faults.sensors import Make
from twin.faults.steps import Dead, Extra, Missed, Reversed, StepChange, Swapped

LEVEL, DUTY, STEPS = Carrier.LEVEL, Carrier.DUTY, Carrier.STEPS
NO_MOTION = "What does not move is noticed: the order is held when its time is over, or homing fails and the node latches."
NO_STOP = "The set point, a second way, takes the motion away; the node latches where it can see it."
NO_HEAT = "The heater's watch switches it off and the node latches."
LOST = "The axes' zero is found anew by the next homing: what was lost does not add up from Job to Job."
OBSERVED = "Status of the machine; fault and latched of the node; the plant's speed, positions and temperatures"


def _kind(name: str, text: str, expected: str, carriers: tuple[Carrier, ...], reference: str, **parameters: Parameter) -> Kind:
    return Kind(
        name=name, subject=Subject.ACTUATOR, text=text, expected=expected, observable=OBSERVED,
        parameters=parameters, reference=reference, carriers=carriers,
    )  # fmt: skip


_AXIS = Parameter(default=0, low=0, high=5, text="0 to 3 for X, Y, Z, E, or 0 to 5 for an arm's joints")
_OF_ALL = Parameter(default=0.5, low=0.0, high=1.0, text="of what was asked for")
_EACH = Parameter(default=10, low=1, high=1e6, text="one in so many steps")
_TIME = Parameter(default=0.3, low=0.0, high=1.0, text="of the time")
_SLOT = Parameter(default=0.05, low=1e-4, high=10.0, text="s for which it fails or works at a time")

TABLE: tuple[tuple[Kind, Make], ...] = (
    (
        _kind("output-stuck-on", "A relay has welded: the output stays on.", NO_STOP, (LEVEL,), "A4"),
        lambda _, __: edits.constant(1),
    ),
    (
        _kind("output-stuck-off", "A relay no longer closes: the output stays off.", NO_MOTION, (LEVEL,), "A1"),
        lambda _, __: edits.constant(0),
    ),
    (
        _kind("output-inverted", "The output does the opposite.", NO_STOP, (LEVEL,), "A2"),
        lambda _, __: Change(lambda _, value: 1 - value),
    ),
    (
        _kind("output-delayed", "The output follows late.", NO_STOP, (LEVEL, DUTY), "A3",
              delay=Parameter(default=0.2, low=1e-4, high=60.0, text="s")),
        lambda p, _: edits.delayed(ns(p["delay"])),
    ),
    (
        _kind("output-frozen", "The output stays as it was at the onset.", NO_STOP, (LEVEL, DUTY), "A4"),
        lambda _, __: edits.frozen(),
    ),
    (
        _kind("output-intermittent", "The output fails for moments.", NO_MOTION, (LEVEL, DUTY), "A1", share=_TIME, slot=_SLOT),
        lambda p, seed: edits.flicker(seed, ns(p["slot"]), p["share"], 0),
    ),
    (
        _kind("duty-stuck", "A transistor has failed: the duty stays at one value.", NO_HEAT, (DUTY,), "A4",
              share=Parameter(default=1.0, low=0.0, high=1.0, text="of full duty")),
        lambda p, _: edits.constant(round(p["share"] * FULL)),
    ),
    (
        _kind("duty-weak", "Less comes out than was asked for.", NO_HEAT, (DUTY,), "A3", share=_OF_ALL),
        lambda p, _: edits.of_value(lambda value: value * p["share"]),
    ),
    (
        _kind("duty-limited", "No more than a limit comes out.", NO_HEAT, (DUTY,), "A3", share=_OF_ALL),
        lambda p, _: edits.of_value(lambda value: min(value, p["share"] * FULL)),
    ),
    (
        _kind("duty-slow", "The output follows no faster than a rate.", NO_STOP, (DUTY,), "A3",
              rate=Parameter(default=0.5, low=1e-4, high=1000.0, text="of full duty per second")),
        lambda p, _: edits.slewed(p["rate"] * FULL),
    ),
    (
        _kind("duty-inverted", "The output is the complement.", NO_HEAT, (DUTY,), "A2"),
        lambda _, __: edits.of_value(lambda value: FULL - value),
    ),
)  # fmt: skip

MakeSteps = type[StepChange]


def _steps(name: str, text: str, expected: str, reference: str, **parameters: Parameter) -> Kind:
    return _kind(name, text, expected, (STEPS,), reference, **parameters)


STREAM: Mapping[str, tuple[Kind, MakeSteps]] = {
    kind.name: (kind, make)
    for kind, make in (
        (_steps("steps-missed", "A motor misses steps.", LOST, "S9", axis=_AXIS, each=_EACH), Missed),
        (_steps("steps-extra", "A motor makes steps that nobody asked for.", LOST, "A2", axis=_AXIS, each=_EACH), Extra),
        (_steps("axis-dead", "A motor makes no step at all.", NO_MOTION, "A1", axis=_AXIS), Dead),
        (_steps("axis-reversed", "A motor turns the other way round.", NO_MOTION, "S8", axis=_AXIS), Reversed),
        (
            _steps("axes-swapped", "Two motors are in each other's plug.", NO_MOTION, "N12", axis=_AXIS,
                   other=Parameter(default=1, low=0, high=5, text=_AXIS.text)),
            Swapped,
        ),
    )
}  # fmt: skip
