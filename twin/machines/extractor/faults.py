"""How extractors fail."""

import dataclasses
from collections.abc import Mapping

from twin.fault import Kind, Parameter, PlantFault, Subject
from twin.machines.extractor.plant import State
from twin.machines.extractor.spec import Params

Values = Mapping[str, float]
OBSERVED = "worn, rough, hot, overheated, clogged, tripped and vibration_failed of the machine's Status; run; the bearing's warmth"
TOLD = "The operator is told long before the bearing is too hot; when it is, the node stops the fan and latches."
BAD = "The vibration is told as bad, not as none, and the fan runs on."


def _kind(name: str, text: str, expected: str, reference: str, **parameters: Parameter) -> Kind:
    return Kind(
        name=name, subject=Subject.PLANT, text=text, expected=expected, observable=OBSERVED,
        parameters=parameters, reference=reference,
    )  # fmt: skip


def worn(state: State, params: Params, values: Values) -> State:
    """The bearing is as worn as this."""
    return dataclasses.replace(state, wear=values["wear"])


def wearing(state: State, params: Params, values: Values) -> State:
    """The bearing wears as quickly as this."""
    return dataclasses.replace(state, physics=dataclasses.replace(state.physics, wear_rate=values["rate"]))


def clogged(state: State, params: Params, values: Values) -> State:
    """The filter is as dirty as this."""
    return dataclasses.replace(state, dirt=values["dirt"])


def unplugged(state: State, params: Params, values: Values) -> State:
    """The accelerometer no longer answers."""
    return dataclasses.replace(state, physics=dataclasses.replace(state.physics, sensor="missing"))


def stuck(state: State, params: Params, values: Values) -> State:
    """The accelerometer says the same for good."""
    return dataclasses.replace(state, physics=dataclasses.replace(state.physics, sensor="stuck"))


def tripped(state: State, params: Params, values: Values) -> State:
    """The drive has switched itself off."""
    return dataclasses.replace(state, tripped=True)


def switched_on(state: State, params: Params, values: Values) -> State:
    """Somebody has switched the drive on again."""
    return dataclasses.replace(state, tripped=False, overloaded=0.0)


_SHARE = Parameter(default=0.8, low=0.0, high=1.0, text="0 for new, 1 for at its end")

FAULTS = (
    PlantFault(kind=_kind("bearing-worn", "The fan's bearing is worn.", TOLD, "A3", wear=_SHARE), strike=worn),
    PlantFault(
        kind=_kind("bearing-wears", "The fan's bearing wears quickly.", TOLD, "A3",
                   rate=Parameter(default=10.0, low=0.0, high=1000.0, text="of its life that an hour of running takes")),
        strike=wearing,
    ),
    PlantFault(kind=_kind("filter-clogged", "The filter is dirty.", "The operator is told.", "A3", dirt=_SHARE), strike=clogged),
    PlantFault(kind=_kind("accelerometer-unplugged", "The accelerometer does not answer.", BAD, "S2"), strike=unplugged),
    PlantFault(kind=_kind("accelerometer-stuck", "The accelerometer says the same for good.", BAD, "S1"), strike=stuck),
    PlantFault(
        kind=_kind("fan-trips", "The fan's drive switches itself off.", "The node takes its run away and latches.", "A8"),
        strike=tripped, mend=switched_on,
    ),
)  # fmt: skip
