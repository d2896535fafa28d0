"""Every machine folder is held to what it promises. A new folder under twin/machines is found by itself."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin import reference, wire
from twin.clock import Ns, S
from twin.factory import BUILT_IN_TYPES
from twin.machine import Input, MachineType, load, make_params, params_of
from twin.plant import plant_of
from twin.trace import Belief, Quality, Sample
from twin.wire import Bit, Layout, Signal, Silence

FOLDER = Path(__file__).resolve().parents[2] / "twin" / "machines"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/spec.py"))
TYPES = {name: load(name) for name in NAMES}
each = pytest.mark.parametrize("kind", TYPES.values(), ids=NAMES)


def values(signal: Signal) -> st.SearchStrategy[Any]:
    """Any value that a Signal may have."""
    binding = signal.binding
    if isinstance(binding, Bit):
        return st.booleans()
    low, high = (limit * binding.step * signal.size for limit in binding.limits)
    if signal.range is not None:
        low, high = max(low, signal.range.low), min(high, signal.range.high)
    return st.floats(low, high) if signal.type is float else st.integers(math.ceil(low), math.floor(high))


def records(cls: type) -> st.SearchStrategy[Any]:
    """Any record of a class."""
    return st.builds(cls, **{signal.name: values(signal) for signal in wire.layout(cls).signals})


def half_a_step(signal: Signal) -> float:
    return 0.0 if isinstance(signal.binding, Bit) else signal.binding.step * signal.size / 2


def test_every_folder_is_a_type_that_a_factory_file_can_name() -> None:
    assert NAMES
    assert tuple(NAMES) == tuple(sorted(BUILT_IN_TYPES))


@each
@given(data=st.data())
def test_a_record_survives_the_wire(kind: MachineType, data: st.DataObject) -> None:
    for cls in (kind.status, kind.command):
        sent = data.draw(records(cls))
        words = wire.encode(sent)
        assert all(0 <= word <= 0xFFFF for word in words)
        came = wire.decode(cls, words)
        for signal in wire.layout(cls).signals:
            one, other = getattr(sent, signal.name), getattr(came, signal.name)
            assert type(other) is signal.type
            assert other == pytest.approx(one, rel=1e-9, abs=half_a_step(signal) * (1 + 1e-9))
        assert wire.encode(came) == words, "what has been on the wire once stays as it is"


@each
@given(words=st.data())
def test_any_registers_are_a_record_or_a_named_error(kind: MachineType, words: st.DataObject) -> None:
    shape = wire.layout(kind.status)
    drawn = words.draw(st.lists(st.integers(0, 0xFFFF), min_size=shape.size, max_size=shape.size))
    status = wire.decode(kind.status, drawn)
    assert set(wire.outside(status)) <= {signal.name for signal in shape.signals}


@each
def test_the_default_command_is_safe_and_encodes(kind: MachineType) -> None:
    command = kind.command()
    assert wire.outside(command) == ()
    words = wire.encode(command)
    assert words == [0] * len(words), "what a node holds before anybody spoke to it is the default"
    for signal in wire.layout(command).signals:
        assert signal.on_silence is not None, f"{signal.name} says nothing about silence"
        assert signal.on_silence is not Silence.HOLD or signal.type is not bool
        assert not getattr(command, signal.name)


@each
@pytest.mark.parametrize("doubt", [Belief(Quality.STALE, "silent"), Belief(Quality.BAD, "no answer")])
@given(data=st.data())
def test_doubt_about_a_status_gives_the_safe_command(kind: MachineType, doubt: Belief, data: st.DataObject) -> None:
    from twin.machine import Wish

    params = make_params(kind.params, {})
    status = data.draw(st.none() | records(kind.status))
    for wish in (Wish(), *(Wish(capability) for capability in kind.capabilities)):
        command, _ = kind.decide(Sample(status, Ns(0), every=doubt), wish, params, Ns(S))
        assert command == kind.command()


@each
@given(data=st.data())
def test_nothing_wished_is_nothing_done(kind: MachineType, data: st.DataObject) -> None:
    from twin.machine import IDLE

    if not kind.capabilities:
        return  # nobody can wish for it: it decides for itself
    sample = Sample(data.draw(records(kind.status)), Ns(0))
    command, _ = kind.decide(sample, IDLE, make_params(kind.params, {}), Ns(0))
    assert command == kind.command()


@each
@given(data=st.data())
def test_every_decision_fits_the_wire_and_is_made_twice_the_same(kind: MachineType, data: st.DataObject) -> None:
    from twin.machine import Wish

    params = make_params(kind.params, {})
    sample = Sample(data.draw(records(kind.status)), Ns(0))
    for capability in (None, *kind.capabilities):
        for go in (False, True):
            command, events = kind.decide(sample, Wish(capability, go), params, Ns(0))
            assert type(command) is kind.command
            wire.encode(command)
            assert kind.decide(sample, Wish(capability, go), params, Ns(0)) == (command, events)


@each
def test_its_plant_starts_at_rest_and_shows_what_its_blocks_read(kind: MachineType) -> None:
    plant, params = plant_of(kind), make_params(kind.params, {})
    state = plant.start(params)
    pins = dict.fromkeys(kind.pins, 0)
    for dt in (0, 1_000, S):
        state, sensors = plant.step(state, params, pins, Ns(dt))
        wanted = {block.signal for block in kind.blocks if isinstance(block, Input)}
        assert wanted <= sensors.keys()
        assert sensors.keys() <= set(kind.pins)
        assert all(type(level) is int and 0 <= level <= 0xFFFF for level in sensors.values())
    if hasattr(plant, "horizon"):
        assert plant.horizon(state, params, pins, Ns(S)) == S


@each
def test_control_and_spec_know_no_plant(kind: MachineType) -> None:
    for module in ("spec", "control"):
        text = (FOLDER / kind.name / f"{module}.py").read_text()
        assert "plant" not in text
        assert importlib.import_module(f"{kind.package}.{module}").__doc__


@each
def test_its_register_table_names_every_signal_once_at_its_place(kind: MachineType) -> None:
    for shape in kind.layouts:
        rows = [row.split("|")[1:-1] for row in reference.table(shape).splitlines()[2:]]
        assert [row[1].strip(" `") for row in rows] == [signal.name for signal in shape.signals]
        assert max(int(row[0].replace("–", ".").split(".")[0]) for row in rows) < shape.size



@each
def test_its_tables_speak_of_what_it_has(kind: MachineType) -> None:
    status, command = kind.layouts
    for alarm in kind.alarms:
        assert isinstance(status[alarm.signal].binding, Bit)
        assert 1 <= alarm.severity <= 1000 and alarm.cause and alarm.action
    for rule in kind.interlocks:
        assert isinstance(command[rule.output].binding, Bit) and isinstance(status[rule.when].binding, Bit)
    assert len(kind.pins) == len(set(kind.pins))


@each
def test_every_param_has_a_default_inside_its_range(kind: MachineType) -> None:
    made = make_params(kind.params, {})
    for param in params_of(kind.params):
        given_value = param.default if isinstance(param.default, tuple) else (param.default,)
        if param.range is not None:
            assert all(param.range.low <= value <= param.range.high for value in given_value), param.name
        assert getattr(made, param.name) is not None


def overlap(layout: Layout) -> set[tuple[int, int]]:
    cells: list[tuple[int, int]] = []
    for signal in layout.signals:
        if isinstance(signal.binding, Bit):
            cells.append((signal.binding.register, signal.binding.bit))
        else:
            cells += [(register, bit) for register in signal.registers for bit in range(16)]
    return {cell for cell in cells if cells.count(cell) > 1}


@each
def test_no_two_signals_share_a_bit(kind: MachineType) -> None:
    for shape in kind.layouts:
        assert overlap(shape) == set()
