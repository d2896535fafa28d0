"""What is shown of a factory, read off its records."""

import enum

import pytest

from controller.feed import FeedSignal, feed_signals
from controller.opcua.space import Kind, Object, Space, Variable, space
from tests.controller.factories import belts, shop
from twin.units import MM, ONE, PERCENT
from twin.wire import Range


@pytest.fixture(scope="module")
def shown() -> Space:
    """Of the demo factory."""
    return space(shop(), feed_signals(shop()))


def every(objects: list[Object]) -> list[Variable]:
    """All variables of objects and what is below them."""
    return [variable for top in objects for each in top.everything() for variable in each.variables]


def test_every_signal_of_the_feed_is_shown_once_under_its_own_path(shown: Space) -> None:
    tops = [*(machine for machine, _ in shown.machines), *shown.nodes, shown.factory]
    paths = [signal.path for signal in feed_signals(shop())]
    refusals = [f"{owner}/LastRefusal" for owner in ("printer-1", "belt-1", "factory")]
    assert [variable.path for variable in shown.variables] == paths + refusals
    assert sorted(variable.path for variable in every(tops)) == sorted(paths + refusals)


def test_no_two_things_have_one_path(shown: Space) -> None:
    tops = [*(machine for machine, _ in shown.machines), *shown.nodes, shown.factory, *shown.types]
    objects = [each for top in tops for each in top.everything()]
    paths = [o.path for o in objects] + [v.path for v in every(tops)] + [m.path for o in objects for m in o.methods]
    assert len(set(paths)) == len(paths)


def test_a_machine_has_what_its_type_declares(shown: Space) -> None:
    types = {declared.path: declared for declared in shown.types}
    for top in [*(machine for machine, _ in shown.machines), *shown.nodes]:
        declared = types[top.type]
        for here, there in zip(top.everything(), declared.everything(), strict=True):
            assert here.path.removeprefix(top.path) == there.path.removeprefix(declared.path)
            assert [(v.name, v.kind, v.unit, v.range) for v in here.variables] == [
                (v.name, v.kind, v.unit, v.range) for v in there.variables
            ]
            assert [m.name for m in here.methods] == [m.name for m in there.methods]


class Mode(enum.IntEnum):
    """Some mode."""

    SLOW = 0
    FAST = 1


@pytest.mark.parametrize(
    ("signal", "kind", "limits", "fed", "seen"),
    [
        ((float, MM, Range(0, 0.5)), Kind.DOUBLE, (0, 500), 0.25, 250.0),
        ((float, PERCENT, Range(0, 1)), Kind.DOUBLE, (0, 100), 0.5, 50.0),
        ((float, ONE, None), Kind.DOUBLE, None, 3, 3.0),
        ((int, ONE, Range(0, 9)), Kind.INT64, (0, 9), 7, 7),
        ((bool, ONE, None), Kind.BOOLEAN, None, 1, True),
        ((str, ONE, None), Kind.STRING, None, "cube", "cube"),
        ((Mode, ONE, None), Kind.INT32, None, Mode.FAST, 1),
    ],
)
def test_a_value_is_shown_in_its_declared_unit(
    signal: tuple[type, object, Range | None], kind: Kind, limits: object, fed: object, seen: object
) -> None:
    of, unit, allowed = signal
    given = FeedSignal("factory/extra/it", "factory", "extra", "it", of, unit, allowed, "")  # type: ignore[arg-type]
    shown = space(belts([256]), [*feed_signals(belts([256])), given]).variables
    (variable,) = (v for v in shown if v.path == given.path)
    assert variable.kind is kind
    assert variable.range == (pytest.approx(limits) if limits else None)
    assert variable.value(fed) == pytest.approx(seen) if isinstance(seen, float) else variable.value(fed) == seen


def test_a_register_without_a_sign_is_shown_without_one(shown: Space) -> None:
    kinds = {variable.path: variable.kind for variable in shown.variables}
    assert kinds["belt-1/status/parts"] is Kind.UINT32
    assert kinds["node:belt-1/status/uid"] is Kind.UINT32
    assert kinds["node:belt-1/status/fault"] is Kind.INT32


def test_every_machine_can_be_started_and_stopped_and_those_that_plan_can_be_loaded(shown: Space) -> None:
    methods = {machine.name: [method.name for method in machine.methods] for machine, _ in shown.machines}
    assert methods == {
        "printer-1": ["LoadJob", "Start", "Pause", "Stop", "Reset"],
        "belt-1": ["Start", "Pause", "Stop", "Reset"],
    }


def test_nameplates_tell_machines_apart() -> None:
    plates = [plate for _, plate in space(belts([256, 300]), feed_signals(belts([256, 300]))).machines]
    assert [plate.serial_number for plate in plates] == ["1-256", "1-300"]
    assert len({plate.product_instance_uri for plate in plates}) == 2
