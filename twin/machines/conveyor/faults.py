"""How belts fail."""

import dataclasses
from collections.abc import Mapping

from twin.fault import Change, Kind, Parameter, PlantFault, Subject
from twin.machines.conveyor.plant import Lying, Physics, State, put, reset
from twin.machines.conveyor.spec import Params
from twin.plant import Part

OBSERVED = "tripped, running and at_exit of the machine's Status; speed and travel of the belt; the order's state"
TRIPS = "The drive switches itself off, the node's interlock takes its run away and latches, an operator is told."
ARRIVES = "The order goes on; it does not count as done before the part has arrived."
HELD = "The order is held when its time is over; it never counts as done."


def _kind(name: str, text: str, expected: str, reference: str, **parameters: Parameter) -> Kind:
    return Kind(
        name=name, subject=Subject.PLANT, text=text, expected=expected, observable=OBSERVED,
        parameters=parameters, reference=reference,
    )  # fmt: skip


def _physics(**changes: str) -> Change:
    """Fields of the physics by the parameter that each of them is multiplied with."""

    def strike(state: State, params: Params, values: Mapping[str, float]) -> State:
        made = {field: getattr(state.physics, field) * values[name] for field, name in changes.items()}
        return _with(state, dataclasses.replace(state.physics, **made))

    return strike


def _with(state: State, physics: Physics) -> State:
    return dataclasses.replace(state, physics=physics)


def jam(state: State, params: Params, values: Mapping[str, float]) -> State:
    """Something holds the belt."""
    return dataclasses.replace(_with(state, dataclasses.replace(state.physics, jammed=True)), speed=0.0)


def load(state: State, params: Params, values: Mapping[str, float]) -> State:
    """Something heavy lies on the belt."""
    return _with(state, dataclasses.replace(state.physics, extra_load=state.physics.extra_load + values["mass"]))


def shift(state: State, params: Params, values: Mapping[str, float]) -> State:
    """The exit barrier is somewhere else; Parts still run up against the same stop."""
    physics = state.physics
    by = values["distance"] * 1e-3
    return _with(state, dataclasses.replace(physics, exit=physics.exit - by, stop=physics.stop - by))


def trip(state: State, params: Params, values: Mapping[str, float]) -> State:
    """The drive has switched itself off."""
    return dataclasses.replace(state, tripped=True)


def switch_on(state: State, params: Params, values: Mapping[str, float]) -> State:
    """Somebody has switched the drive on again."""
    return reset(state)


def take_away(state: State, params: Params, values: Mapping[str, float]) -> State:
    """Somebody takes the foremost Part off the belt."""
    return dataclasses.replace(state, lying=state.lying[1:])


def appear(state: State, params: Params, values: Mapping[str, float]) -> State:
    """Somebody lays a Part onto the belt's entry, where there is room."""
    taken = put(state, params, Part(length=values["length"] * 1e-3))
    return state if taken is None else taken


def push_back(state: State, params: Params, values: Mapping[str, float]) -> State:
    """Somebody pushes the last Part against the belt's way."""
    if not state.lying:
        return state
    last = state.lying[-1]
    moved = Lying(last.part, max(last.part.length, last.front - values["distance"] * 1e-3))
    return dataclasses.replace(state, lying=(*state.lying[:-1], moved))


_OF_FULL = Parameter(default=0.3, low=0.0, high=1.0, text="of what it should be")
_DISTANCE = Parameter(default=100.0, low=0.0, high=20_000.0, text="mm")

FAULTS = (
    PlantFault(kind=_kind("belt-jammed", "Something holds the belt.", TRIPS, "A1"), strike=jam),
    PlantFault(
        kind=_kind("belt-slips", "Parts lag behind the belt.", HELD, "S9", share=_OF_FULL), strike=_physics(grip="share")
    ),
    PlantFault(
        kind=_kind("belt-slow", "The motor turns slower than its set point says.", HELD, "A3", share=_OF_FULL),
        strike=_physics(pull="share"),
    ),
    PlantFault(
        kind=_kind("heavy-load", "Something too heavy lies on the belt.", TRIPS, "A1",
                   mass=Parameter(default=50.0, low=0.0, high=10_000.0, text="kg")),
        strike=load,
    ),
    PlantFault(kind=_kind("drive-trips", "The drive switches itself off.", TRIPS, "A8"), strike=trip, mend=switch_on),
    PlantFault(kind=_kind("part-taken", "Somebody takes the foremost part off the belt.", HELD, "A7"), strike=take_away),
    PlantFault(
        kind=_kind("part-appears", "Somebody lays a part onto the belt.", "Without an order nothing moves it.", "A7",
                   length=Parameter(default=20.0, low=1.0, high=1000.0, text="mm that it is long")),
        strike=appear,
    ),
    PlantFault(kind=_kind("part-pushed-back", "Somebody pushes a part back.", ARRIVES, "A7", distance=_DISTANCE), strike=push_back),
    PlantFault(
        kind=_kind("barrier-shifted", "The exit's light barrier is further on than it should be.",
                   "The belt stops when the barrier sees the part, or the order is held.", "S4",
                   distance=Parameter(default=20.0, low=0.0, high=20_000.0, text="mm")),
        strike=shift,
    ),
)  # fmt: skip
