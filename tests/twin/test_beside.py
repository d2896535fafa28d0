"""Every machine folder with a plant has a twin that can be stepped beside reality, and keeps what that promises."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.test_machines import NAMES, TYPES, records
from twin.clock import MS, Ns, S
from twin.machine import MachineType, make_params
from twin.residual import Seen, beside_of, of, physics_of, with_values

each = pytest.mark.parametrize("kind", TYPES.values(), ids=NAMES)


def residuals(kind: MachineType) -> Any:
    assert kind.residuals is not None
    return kind.residuals(make_params(kind.params, {}))


@each
def test_every_plant_has_a_twin_with_bounds_and_their_reasons(kind: MachineType) -> None:
    assert (Path(importlib.import_module(kind.package).__path__[0]) / "plant.py").exists()
    beside, found = beside_of(kind.package), residuals(kind)
    for function in ("start", "step", "told", "misfits"):
        assert callable(getattr(beside, function)), f"{kind.name}: beside.py has no {function}()"
    assert found and len({one.name for one in found}) == len(found)
    for one in found:
        assert one.bound > 0.0 and one.after_s > 0.0 and one.why and one.text, one.name


@each
def test_every_parameter_is_one_of_its_plant_s_physics_and_lies_within_its_limits(kind: MachineType) -> None:
    physics = physics_of(kind.package)
    for one in beside_of(kind.package).PARAMETERS:
        assert one.low < of(physics, one.name) < one.high or of(physics, one.name) == one.low, one.name
        assert of(with_values(physics, {one.name: one.high}), one.name) == one.high
        assert one.text and (one.scale > 0.0 or of(physics, one.name) != 0.0), f"{one.name} has no scale"


@each
@settings(max_examples=12)
@given(data=st.data())
def test_whatever_is_reported_only_declared_residuals_are_told(kind: MachineType, data: st.DataObject) -> None:
    beside, params, names = beside_of(kind.package), make_params(kind.params, {}), {one.name for one in residuals(kind)}
    planned = (0.0,) * 6
    seen = [
        Seen(data.draw(records(kind.status)), data.draw(st.none() | records(kind.command)), data.draw(st.booleans()), planned)
        for _ in range(4)
    ]
    state = beside.start(params, physics_of(kind.package), seen[0])
    for one in seen:
        state = beside.step(state, params, one, Ns(data.draw(st.sampled_from([0, MS, 100 * MS, 2 * S]))))
        told = beside.told(state, params, one)
        assert told.keys() <= names
        assert all(isinstance(value, float) and math.isfinite(value) for pair in told.values() for value in pair)


@each
def test_a_machine_at_rest_is_where_its_twin_has_it(kind: MachineType) -> None:
    beside, params = beside_of(kind.package), make_params(kind.params, {})
    values = {signal.name: signal.type(0) for signal in kind.layouts[0].signals}
    values |= {name: 22.0 for name in values if name.endswith("temperature")}
    seen = Seen(kind.status(**{**values, **({"connected": True} if "connected" in values else {})}), kind.command())
    state = beside.start(params, physics_of(kind.package), seen)
    for _ in range(100):
        state = beside.step(state, params, seen, Ns(100 * MS))
    bounds = {one.name: one.bound for one in residuals(kind)}
    for name, (reported, expected) in beside.told(state, params, seen).items():
        assert abs(reported - expected) < bounds[name], name
