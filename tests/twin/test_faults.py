"""Edits of sensors and outputs, faults of plants, and what is told of a fault that cannot be put in."""

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.controller.factories import SHOP
from twin.clock import MS, US, Ns, S
from twin.factory import Factory, parse, read
from twin.fault import FAR, Carrier, Fault, FaultError, Kind, Parameter, Subject
from twin.faults import KINDS, check, edit, edit_steps, kinds_of, outputs_of, restore, sensors_of, spoil, swapped_with
from twin.faults.actuators import STREAM
from twin.faults.actuators import TABLE as ACTUATORS
from twin.faults.sensors import TABLE as SENSORS
from twin.faults.steps import FRAME
from twin.kernel import Words
from twin.machines.conveyor import plant as belt
from twin.machines.printer import plant as printer
from twin.plant import Part

CREEPING = ("sensor-drift", "duty-slow")
EDITED = [kind for kind, _ in (*SENSORS, *ACTUATORS)]
AT, LASTS = Ns(200 * MS), Ns(3 * S)
TIMES = st.lists(st.integers(0, 5_000), min_size=1, max_size=60).map(sorted)
STEP_BITS = np.uint32(0x55)


@pytest.fixture(scope="module")
def shop() -> Factory:
    return read(SHOP)


def strength(parameter: Parameter) -> st.SearchStrategy[float]:
    return st.floats(parameter.low, parameter.high) | st.just(parameter.default)


@st.composite
def struck(draw: st.DrawFn, carrier: Carrier) -> tuple[Fault, int]:
    """A fault of any kind for a carrier with any strength, and a seed."""
    kind = draw(st.sampled_from([kind for kind in EDITED if carrier in kind.carriers]))
    parameters = {name: draw(strength(parameter)) for name, parameter in kind.parameters.items()}
    return Fault(at=AT, kind=kind.name, target="m.p", lasts=LASTS, parameters=parameters), draw(st.integers(0, 2**32))


def passed(fault: Fault, seed: int, series: list[tuple[int, int]]) -> list[int]:
    made = edit(fault, seed)
    return [made(Ns(ms * MS), value) for ms, value in series]


def series(highest: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    return TIMES.flatmap(lambda times: st.tuples(*(st.tuples(st.just(t), st.integers(0, highest)) for t in times)).map(list))


@pytest.mark.parametrize(("carrier", "highest"), [(Carrier.LEVEL, 1), (Carrier.VOLTAGE, 65_535), (Carrier.DUTY, 65_535)])
def test_edits_are_the_same_for_a_seed_stay_in_range_and_touch_nothing_outside_their_time(carrier: Carrier, highest: int) -> None:
    @given(struck(carrier), series(highest))
    def holds(given_fault: tuple[Fault, int], came: list[tuple[int, int]]) -> None:
        fault, seed = given_fault
        got = passed(fault, seed, came)
        assert got == passed(fault, seed, came)
        for (ms, value), made in zip(came, got, strict=True):
            assert 0 <= made <= highest
            assert made == value or AT <= ms * MS < AT + LASTS

    holds()


@pytest.mark.parametrize(("carrier", "highest"), [(Carrier.LEVEL, 1), (Carrier.VOLTAGE, 65_535), (Carrier.DUTY, 65_535)])
def test_whoever_comes_back_when_an_edit_says_misses_no_change_of_its_own(carrier: Carrier, highest: int) -> None:
    """Asked only at those moments, it shows at every other moment what it showed at the last of them, to a grain."""

    @given(struck(carrier), st.integers(0, highest), st.integers(0, 100))
    def holds(given_fault: tuple[Fault, int], value: int, ms: int) -> None:
        made, witness = edit(*given_fault), edit(*given_fault)
        now, shown = Ns(0), value
        for tick in range(60):
            at = Ns((ms + 60 * tick) * MS)
            while now <= at and (due := made.wake(now)) <= at:
                assert due > now, "it would be asked for ever"
                now, shown = due, made(due, value)
            seen = witness(at, value)
            assert given_fault[0].kind in CREEPING or seen == shown
            assert witness.wake(at) > at

    holds()


def test_an_edit_counts_only_what_it_really_changed() -> None:
    made = edit(Fault(at=Ns(0), kind="sensor-stuck-on", target="m.p"), 0)
    assert [made(Ns(0), level) for level in (1, 1, 0, 1)] == [1, 1, 1, 1]
    assert made.fired == 1


def test_chance_says_the_same_however_often_it_is_asked() -> None:
    fault = Fault(at=Ns(0), kind="sensor-noise", target="m.p", parameters={"counts": 500})
    often, seldom = edit(fault, 7), edit(fault, 7)
    every_ms = [often(Ns(ms * MS), 30_000) for ms in range(1000)]
    assert every_ms[::10] == [seldom(Ns(ms * MS), 30_000) for ms in range(0, 1000, 10)]
    assert len(set(every_ms[::10])) > 80 and max(abs(v - 30_000) for v in every_ms) > 450
    assert [edit(fault, 8)(Ns(ms * MS), 30_000) for ms in range(0, 1000, 10)] != every_ms[::10]


def test_a_bouncing_contact_ends_where_its_input_is() -> None:
    made = edit(Fault(at=Ns(0), kind="sensor-chatter", target="m.p", parameters={"lasts": 0.004, "interval": 0.001}), 0)
    assert made(Ns(0), 0) == 0
    seen = [made(Ns(10 * MS + us * US), 1) for us in range(0, 6000, 500)]
    assert seen == [1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    assert made.wake(Ns(15 * MS)) == FAR


def test_a_late_reading_is_the_true_one_of_before() -> None:
    made = edit(Fault(at=Ns(0), kind="sensor-delay", target="m.p", parameters={"delay": 0.5}), 0)
    got = [made(Ns(100 * tick * MS), 1000 + tick) for tick in range(20)]
    assert got == [1000] * 6 + [1000 + tick for tick in range(1, 15)]
    made = edit(Fault(at=Ns(0), kind="sensor-delay", target="m.p", parameters={"delay": 0.5}), 0)
    assert [made(Ns(0), 0), made(Ns(S), 1), made.wake(Ns(S))] == [0, 0, S + 500 * MS]
    assert made(Ns(S + 500 * MS), 1) == 1


# ---- step streams

WORDS = st.lists(st.sampled_from([0, 0, 0, 1, 3, 4, 5, 12, 64, 192]), max_size=80).map(lambda ws: np.array(ws, np.uint32))
FROM = st.integers(0, 100).map(lambda frames: Ns(frames * FRAME))


@given(st.sampled_from(sorted(STREAM)), st.lists(WORDS, max_size=5), FROM, st.integers(0, 3), st.integers(1, 6))
def test_a_spoilt_step_stream_is_as_long_as_the_whole_one_and_whole_outside_its_time(
    kind: str, pieces: list[Words], at: Ns, axis: int, each: int
) -> None:
    known = STREAM[kind][0].parameters
    parameters = {name: float(value) for name, value in (("axis", axis), ("each", each)) if name in known}
    lasts = Ns(60 * FRAME)
    made = edit_steps(Fault(at=at, kind=kind, target="m.frames", lasts=lasts, parameters=parameters))
    now = Ns(0)
    for words in pieces:
        got = made(now, words)
        assert got.shape == words.shape and got.dtype == np.uint32
        times = now + np.arange(len(words)) * FRAME
        outside = (times < at) | (times >= at + lasts)
        assert (got[outside] == words[outside]).all()
        now = Ns(now + len(words) * FRAME)


def rising(words: Words, axis: int) -> int:
    bits = words >> np.uint32(2 * axis) & np.uint32(1)
    return int(np.count_nonzero(np.diff(bits.astype(int), prepend=0) == 1))


def pulses(count: int, axis: int = 0, width: int = 1) -> Words:
    words = np.zeros((count, 6), np.uint32)
    words[:, :width] = 3 << 2 * axis
    return words.reshape(-1)


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 2), st.lists(st.integers(1, 40), max_size=4))
def test_steps_are_missed_and_added_one_in_so_many_wherever_the_stream_is_cut(
    count: int, each: int, width: int, cuts: list[int]
) -> None:
    words = np.concatenate((pulses(count, width=width), np.zeros(20, np.uint32)))
    for kind, wanted in (("steps-missed", count - count // each), ("steps-extra", count + count // each)):
        parameters = {"axis": 0.0, "each": float(each)}
        made = edit_steps(Fault(at=Ns(0), kind=kind, target="m.frames", parameters=parameters))
        places = np.cumsum(cuts).astype(int)
        now, got = Ns(0), []
        for piece in np.split(words, places[places < len(words)]):
            got.append(made(now, piece))
            now = Ns(now + len(piece) * FRAME)
        assert rising(np.concatenate(got), 0) == wanted
        assert made.fired == count // each * (width if kind == "steps-missed" else 1)


def test_swapped_motors_have_each_others_steps() -> None:
    made = edit_steps(Fault(at=Ns(0), kind="axes-swapped", target="m.frames", parameters={"axis": 0, "other": 2}))
    assert (made(Ns(0), pulses(9, 0)) == pulses(9, 2)).all()
    assert (made(Ns(0), pulses(9, 1)) == pulses(9, 1)).all()
    assert (made(Ns(0), pulses(9, 0, 2) | pulses(9, 2)) == (pulses(9, 2, 2) | pulses(9, 0))).all()


# ---- plants


def laden(factory: Factory) -> dict[str, Any]:
    """A state of each of the shop's machines with something in it."""
    conveyor = factory.machines["belt-1"]
    empty = belt.start(conveyor.params)
    part = belt.Lying(Part(id="p"), 0.5)
    return {
        "belt-1": dataclasses.replace(empty, lying=(part,)),
        "printer-1": printer.start(factory.machines["printer-1"].params),
    }


def of_type(package: str) -> list[Kind]:
    return [fault.kind for fault in import_module(f"{package}.faults").FAULTS]


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal, arrays by their elements."""
    pairs = ((getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


@pytest.mark.parametrize("machine", ["belt-1", "printer-1"])
def test_every_fault_of_a_plant_strikes_and_its_physics_come_back_even_when_others_overlap(shop: Factory, machine: str) -> None:
    kind_of_machine, params, state = shop.machines[machine].type, shop.machines[machine].params, laden(shop)[machine]
    for kind in of_type(kind_of_machine.package):
        fault = Fault(at=Ns(0), kind=kind.name, target=machine)
        hit = spoil(fault, kind_of_machine, state, params)
        assert not same(hit, state), kind.name
        assert restore(fault, kind_of_machine, hit, params, state).physics == state.physics, kind.name
        for other in of_type(kind_of_machine.package):
            if other.name == kind.name:
                continue
            second = Fault(at=Ns(0), kind=other.name, target=machine)
            both = spoil(second, kind_of_machine, hit, params)
            alone = restore(fault, kind_of_machine, both, params, state)
            whole = restore(second, kind_of_machine, alone, params, hit)
            assert whole.physics == state.physics, f"{kind.name} before {other.name}"


def test_a_pushed_carriage_stays_between_its_stops_and_presses_its_switch(shop: Factory) -> None:
    machine = shop.machines["printer-1"]
    far = Fault(at=Ns(0), kind="carriage-pushed", target="printer-1", parameters={"axis": 0, "distance": -500.0})
    hit = spoil(far, machine.type, laden(shop)["printer-1"], machine.params)
    assert hit.position_mm[0] == pytest.approx(-1.0)
    assert printer.sensors(hit)["x_endstop"] == 1


def test_a_slipping_belt_brings_its_part_later_and_a_jammed_one_trips(shop: Factory) -> None:
    machine, state = shop.machines["belt-1"], laden(shop)["belt-1"]
    pins = {"run": 1, "speed": 65_535}

    def travel_to_the_exit(state: Any) -> float:
        at_exit = 0
        while not at_exit:
            state, seen = belt.step(state, machine.params, pins, belt.horizon(state, machine.params, pins, Ns(S)))
            at_exit = seen["at_exit"]
        return float(state.travel)

    def struck_by(kind: str, **parameters: float) -> Any:
        return spoil(Fault(at=Ns(0), kind=kind, target="belt-1", parameters=parameters), machine.type, state, machine.params)

    way = machine.params.length - 0.03 - 0.5
    assert travel_to_the_exit(state) == pytest.approx(way, abs=1e-5)
    assert travel_to_the_exit(struck_by("belt-slips", share=0.25)) == pytest.approx(4 * way, abs=1e-5)
    after, seen = belt.step(struck_by("belt-jammed"), machine.params, pins, Ns(S))
    assert (after.speed, seen["tripped"]) == (0.0, 1)


# ---- what cannot be put in


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"kind": "sensor-blind"}, "there is no kind 'sensor-blind'; there are sensor-stuck"),
        ({"target": "printer-9.hotend_sensor"}, "there is no machine 'printer-9'; there are printer-1"),
        ({"target": "printer-1"}, "'printer-1' names no pin"),
        ({"target": "printer-1.nozzle"}, "printer-1 has no sensor 'nozzle'; it has x_endstop"),
        ({"target": "printer-1.hotend_heater"}, "printer-1 has no sensor 'hotend_heater'"),
        ({"target": "printer-1.x_endstop"}, "sensor-bias needs a voltage, and x_endstop is a level"),
        ({"parameters": {"counts": 1e9}}, "counts=1e+09 is outside -65535 to 65535 (counts of the ADC)"),
        ({"parameters": {"counts": float("nan")}}, "counts=nan is outside"),
        ({"parameters": {"volts": 1.0}}, "there is no parameter 'volts'; there are counts"),
        ({"at": Ns(-1)}, "at=-1 ns is before the start"),
        ({"lasts": Ns(0)}, "lasts=0 ns must be more than 0 ns"),
        ({"kind": "drive-trips", "target": "printer-1", "parameters": {}}, "a printer has no 'drive-trips' among its"),
        ({"kind": "drive-trips", "target": "printer-1.fan", "parameters": {}}, "there is no machine 'printer-1.fan'"),
        ({"kind": "axis-dead", "target": "belt-1.frames", "parameters": {}}, "belt-1 has no actuator 'frames'; it has run, speed"),
        ({"kind": "axis-dead", "target": "printer-1.frames", "parameters": {"axis": 5.0}}, "axis=5, and printer-1 has 4 axes"),
        ({"kind": "sensor-swapped", "parameters": {"gpio": 5.0}}, "there is no other sensor of its sort at GPIO 5"),
    ],
)  # fmt: skip
def test_a_fault_that_cannot_be_put_in_is_refused_with_its_name_and_what_is_allowed(
    shop: Factory, wrong: dict[str, Any], told: str
) -> None:
    good: dict[str, Any] = {"at": Ns(0), "kind": "sensor-bias", "target": "printer-1.hotend_sensor", "parameters": {"counts": 5.0}}
    check(shop, [Fault(**good)])
    with pytest.raises(FaultError) as refused:
        check(shop, [Fault(**{**good, **wrong})])
    assert told in str(refused.value)


def test_the_same_fault_twice_at_a_time_is_refused_and_one_after_the_other_is_not(shop: Factory) -> None:
    first = Fault(at=Ns(0), kind="sensor-open", target="printer-1.hotend_sensor", lasts=Ns(S))
    check(shop, [first, dataclasses.replace(first, at=Ns(S))])
    with pytest.raises(FaultError, match="sensor-open at 500000000 ns strikes while the one at 0 ns lasts"):
        check(shop, [first, dataclasses.replace(first, at=Ns(S // 2))])


def test_every_kind_can_strike_the_demo_somewhere_and_says_what_is_expected(shop: Factory) -> None:
    places = {
        Subject.SENSOR: [(f"{m.name}.{pin}", c) for m in shop.machines.values() for pin, c in sensors_of(m.type).items()],
        Subject.ACTUATOR: [(f"{m.name}.{pin}", c) for m in shop.machines.values() for pin, c in outputs_of(m.type).items()],
    }
    assert len(KINDS) >= 28
    for kind in KINDS.values():
        assert kind.text and kind.expected and kind.observable and kind.name == kind.name.lower()
        for parameter in kind.parameters.values():
            assert parameter.low <= parameter.default <= parameter.high and parameter.text
        targets = (
            list(shop.machines) if kind.subject is Subject.PLANT else [p for p, c in places[kind.subject] if c in kind.carriers]
        )
        fitting = 0
        for target in targets:
            try:
                check(shop, [Fault(at=Ns(0), kind=kind.name, target=target)])
            except FaultError:
                continue
            fitting += 1
        assert fitting, kind.name


def test_a_swapped_sensor_gets_the_other_ones_reading(shop: Factory) -> None:
    fault = Fault(at=Ns(0), kind="sensor-swapped", target="printer-1.bed_sensor")
    assert swapped_with(shop, fault) == ("printer-1", "hotend_sensor")
    made = edit(fault, 0, other=lambda: 4711)
    assert made(Ns(0), 5) == 4711


def own_type(folder: Path, name: str) -> Factory:
    """A factory with a lamp of a type of its own, which can fail in one way."""
    (folder / "lamp").mkdir()
    (folder / "lamp" / "spec.py").write_text(
        "from typing import Annotated as A\nfrom twin.machine import Input\nfrom twin.wire import Bit, record\n\n\n"
        "@record\nclass Status:\n    lit: A[bool, Bit(0, 0)]\n\n\n@record\nclass Command:\n    on: A[bool, Bit(0, 0)] = False\n\n\n"
        "BLOCKS = (Input('lit'),)\n"
    )
    (folder / "lamp" / "control.py").write_text("def decide(sample, wish, params, now):\n    return None, ()\n")
    (folder / "lamp" / "plant.py").write_text(
        "def start(params):\n    return 1\n\n\ndef step(state, params, pins, dt):\n    return state, {'lit': state}\n"
    )
    (folder / "lamp" / "faults.py").write_text(
        "from twin.fault import Kind, PlantFault, Subject\n\n"
        f"KIND = Kind(name='{name}', subject=Subject.PLANT, text='Dark.', expected='.', observable='lit')\n"
        "FAULTS = (PlantFault(kind=KIND, strike=lambda state, params, values: 0, mend=lambda *_: 1),)\n"
    )
    return parse(
        '[factory]\nname = "f"\n[types.lamp]\npath = "lamp"\n[cells.c]\n[nodes.n]\nuid = 1\nvirtual = true\nport = 15999\n'
        '[machines.lamp-1]\ntype = "lamp"\ncell = "c"\nnode = "n"\nbase = 256\npins = { lit = 4 }\n',
        folder,
    )


def test_a_users_machine_type_brings_its_own_faults(tmp_path: Path) -> None:
    made = own_type(tmp_path, "lamp-broken")
    fault = Fault(at=Ns(0), kind="lamp-broken", target="lamp-1")
    check(made, [fault])
    assert "lamp-broken" in kinds_of(made)
    kind = made.machines["lamp-1"].type
    assert spoil(fault, kind, 1, None) == 0
    assert restore(fault, kind, 0, None, 1) == 1


def test_a_users_fault_with_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="machine type 'lamp': there is another kind of fault called 'sensor-open'"):
        kinds_of(own_type(tmp_path, "sensor-open"))
