"""Faults of sensors and outputs at what a spec declares against them: a gate in a rig, from its plant to its node's latch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.driver import Driver
from hil.faults import FaultFired, arm
from hil.ports import free_port
from hil.rig import Rig
from tests.firmware.factories import CONTROL, HEAD
from tests.firmware.test_guards import GATE, SPEC, TWELVE_VOLTS, TWO_BAR
from twin.clock import MS, Ns, S
from twin.factory import parse
from twin.fault import Fault as Struck
from twin.node import Fault

PLANT = f'''
"""A gate that takes 0.3 s from end to end."""

from dataclasses import dataclass, replace

from twin.clock import S


@dataclass(frozen=True)
class State:
    up: float = 0.0


def start(params):
    return State()


def step(state, params, pins, dt):
    way = (pins.get("up", 0) - pins.get("down", 0)) * dt / S / 0.3
    state = replace(state, up=min(1.0, max(0.0, state.up + way)))
    seen = {{"shut": int(state.up <= 0), "open": int(state.up >= 1), "stalled": 0, "guard": 0, "valve_back": pins.get("valve", 0)}}
    return state, {{**seen, "pressure": {TWO_BAR}, "supply": {TWELVE_VOLTS}}}


def horizon(state, params, pins, limit):
    return min(limit, S // 100)
'''


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    types = tmp_path / "gate"
    types.mkdir()
    for name, text in (("spec", SPEC), ("control", CONTROL), ("plant", PLANT)):
        (types / f"{name}.py").write_text(text)
    factory = parse(HEAD.replace("15999", str(free_port())) + GATE, tmp_path)
    with Rig(factory, tmp_path / "nodes") as rig:
        yield rig


def raised(rig: Rig) -> Driver:
    """The gate goes up from 1 s on, with its valve open."""
    driver = Driver.of(rig, "n")
    rig.run(Ns(1 * S))
    driver.commands["gate"] = rig.factory.machines["gate"].type.command(up=True, valve=True)
    return driver


def test_a_gate_without_a_fault_goes_up_and_nothing_latches(rig: Rig) -> None:
    driver = raised(rig)
    rig.run(Ns(3 * S))
    assert driver.status is not None and not driver.status.latched
    assert driver.machine("gate").open and rig.trace.last("gate/pin/up") == 1


@pytest.mark.parametrize(
    ("kind", "pin", "fault"),
    [
        ("sensor-stuck-on", "shut", Fault.END_SWITCHES),
        ("sensor-stuck-off", "open", Fault.TRAVEL),
        ("sensor-stuck-on", "stalled", Fault.STALL),
        ("sensor-stuck-on", "guard", Fault.INTERLOCK),
        ("sensor-stuck-off", "valve_back", Fault.OUTPUT),
        ("sensor-short", "pressure", Fault.SENSOR),
        ("sensor-open", "pressure", Fault.SENSOR),
        ("sensor-short", "supply", Fault.SUPPLY),
    ],
)
def test_what_strikes_it_ends_in_the_latch_that_its_spec_declares(rig: Rig, kind: str, pin: str, fault: Fault) -> None:
    arm(rig, [Struck(at=Ns(500 * MS), kind=kind, target=f"gate.{pin}")], seed=1)
    driver = raised(rig)
    rig.run(Ns(3 * S))
    assert any(isinstance(entry.what, FaultFired) for entry in rig.trace.events)
    assert driver.status is not None and driver.status.fault is fault
    assert rig.trace.last("gate/pin/up") == 0
