"""What a spec declares against harm, enforced on the node: a gate of everything, its firmware in the VM, in factory time."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.targets import PinSet
from hil.targets.vm import Vm
from tests.firmware.factories import CONTROL, HEAD
from tests.hil.backtoback import Beat, Bench, Put, Sense, bench, follow
from twin import export, factory
from twin.clock import MS
from twin.node import Fault, Op, Reason, Result

SPEC = '''
from typing import Annotated as A

from twin.machine import Analog, Exclusive, Input, Never, NeverBoth, Output, Stall, Travel
from twin.wire import OFF, HOLD, Bit, Int16, OnSilence, Range, record


@record
class Status:
    shut: A[bool, Bit(0, 0)]
    open: A[bool, Bit(0, 1)]
    stalled: A[bool, Bit(0, 2)]
    guard: A[bool, Bit(0, 3)]
    pressure: A[float, Range(0, 10), Int16(1, step=0.01)]
    supply: A[float, Range(0, 40), Int16(2, step=0.01)]


@record
class Command:
    up: A[bool, OnSilence(OFF), Bit(0, 0)] = False
    down: A[bool, OnSilence(OFF), Bit(0, 1)] = False
    horn: A[bool, OnSilence(OFF), Bit(0, 2)] = False
    valve: A[bool, OnSilence(HOLD), Bit(0, 3)] = False


BLOCKS = (
    Input("shut"), Input("open"), Input("stalled"), Input("guard"),
    Output("up"), Output("down"), Output("horn", max_age=0.3), Output("valve", read_back="valve_back"),
    Analog("pressure", counts=(13107, 65535), values=(0.0, 10.0), wire=(6000, 65535), rate=20.0),
    Analog("supply", counts=(0, 50000), values=(0.0, 25.0), latches=False, safe=(10.0, 14.0), supply=True),
    Exclusive("shut", "open"), Travel("up", until="open", within=0.5), Stall("stalled"),
)
INTERLOCKS = (NeverBoth("up", beside="down"), Never("up", when="guard"))
'''
SHUT, OPEN, STALLED, GUARD, UP, DOWN, HORN, VALVE, BACK, PRESSURE, SUPPLY = 13, 14, 15, 16, 17, 18, 19, 21, 22, 36, 39
PINS = {
    "shut": SHUT, "open": OPEN, "stalled": STALLED, "guard": GUARD, "up": UP, "down": DOWN, "horn": HORN, "valve": VALVE,
    "valve_back": BACK, "pressure": PRESSURE, "supply": SUPPLY,
}  # fmt: skip
GATE = """
[types.gate]
path = "gate"
[machines.gate]
type = "gate"
cell = "bench"
node = "n"
base = 256
[machines.gate.pins]
""" + "".join(f"{name} = {pin}\n" for name, pin in PINS.items())
COMMAND = 259
RAISE, LOWER, SOUND, LET = 1, 2, 4, 8
TWELVE_VOLTS, TWO_BAR = 24_000, 13_107 + 2 * 5243


class Gate:
    """A gate's node, and its owner, who keeps the lease."""

    def __init__(self, one: Bench) -> None:
        self.one = one
        self._beats, self._commands = itertools.count(1), itertools.count(1)
        for pin, level in ((PRESSURE, TWO_BAR), (SUPPLY, TWELVE_VOLTS)):
            self.put(pin, level)
        self.beat()

    def put(self, pin: int, level: int) -> None:
        follow(self.one, Sense(pin, level))

    def beat(self, op: Op = Op.NONE) -> None:
        number = next(self._commands) if op else 0
        beat = Beat(lease=5000, heartbeat=next(self._beats), sequence=number or self.last, op=op, command_id=number)
        self.last = beat.sequence
        follow(self.one, beat)

    last = 0

    def command(self, word: int) -> None:
        follow(self.one, Put(COMMAND, (word,)))

    def pass_ms(self, ms: float) -> None:
        self.one.pass_ms(ms)

    @property
    def fault(self) -> Fault:
        return self.one.status().fault

    def reset(self) -> tuple[Result, Reason]:
        self.beat(Op.RESET)
        status = self.one.status()
        return status.result, status.reason

    def level(self, pin: int) -> int:
        return next((out.value for out in reversed(self.one.outputs) if isinstance(out, PinSet) and out.pin == pin), 0)

    def ever(self, pin: int) -> bool:
        """Whether the pin was on at any time."""
        return any(isinstance(out, PinSet) and out.pin == pin and out.value for out in self.one.outputs)

    def until_fault(self, limit_ms: int) -> float:
        """Time until it is latched [ms]."""
        began = self.one.target.now
        for _ in range(limit_ms):
            if self.fault:
                break
            self.pass_ms(1)
        return (self.one.target.now - began) / MS


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The gate's node.json."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "gate").mkdir()
    (folder / "gate" / "spec.py").write_text(SPEC)
    (folder / "gate" / "control.py").write_text(CONTROL)
    made = factory.parse(HEAD + GATE, folder)
    return export.node_json(made, made.nodes["n"])


@pytest.fixture
def gate(text: str, tmp_path: Path) -> Iterator[Gate]:
    """A gate of a test's own."""
    one = bench(Vm, tmp_path / "n", text)
    yield Gate(one)
    one.close()


RESET_DONE, RESET_REFUSED = (Result.DONE, Reason.NONE), (Result.REFUSED, Reason.LATCHED)


def test_two_outputs_that_exclude_each_other_are_never_both_on_nor_either_when_both_are_asked_for(gate: Gate) -> None:
    gate.command(RAISE | LOWER)
    gate.pass_ms(100)
    assert gate.fault is Fault.INTERLOCK and not gate.ever(UP) and not gate.ever(DOWN)
    assert gate.reset() == RESET_REFUSED, "both are still asked for"
    gate.command(LOWER)
    assert gate.reset() == RESET_DONE
    gate.pass_ms(50)
    assert not gate.ever(DOWN), "a reset starts nothing"
    gate.command(0)
    gate.command(LOWER)
    gate.pass_ms(20)
    assert gate.level(DOWN) == 1
    gate.command(RAISE | LOWER)
    gate.pass_ms(20)
    assert gate.level(DOWN) == 0 and not gate.ever(UP)


def test_an_output_that_an_interlock_forbids_does_not_leave_the_node_in_the_tick_in_which_its_sensor_speaks(gate: Gate) -> None:
    gate.pass_ms((10_000_000 - gate.one.target.now % 10_000_000) / MS + 5)
    gate.command(RAISE)
    gate.put(GUARD, 1)
    gate.pass_ms(100)
    assert gate.fault is Fault.INTERLOCK and not gate.ever(UP)


def test_what_is_on_is_off_in_the_tick_in_which_its_interlock_speaks(gate: Gate) -> None:
    gate.command(RAISE)
    gate.pass_ms(20)
    assert gate.level(UP) == 1
    gate.put(GUARD, 1)
    gate.pass_ms(10)
    assert gate.level(UP) == 0


def test_two_switches_of_one_travel_that_are_both_on_latch_until_one_of_them_is_not(gate: Gate) -> None:
    gate.command(LOWER)
    gate.put(SHUT, 1)
    gate.pass_ms(30)
    assert gate.level(DOWN) == 1
    gate.put(OPEN, 1)
    gate.pass_ms(10)
    status = gate.one.status()
    assert (gate.level(DOWN), status.fault, status.fault_block) == (0, Fault.END_SWITCHES, 10)
    assert gate.reset() == RESET_REFUSED
    gate.put(OPEN, 0)
    gate.pass_ms(20)
    assert gate.reset() == RESET_DONE and gate.one.status().fault_block == 0xFFFF


def test_a_switch_that_does_not_come_in_time_latches_and_one_that_does_holds_for_as_long_as_the_output_is_on(gate: Gate) -> None:
    gate.command(RAISE)
    assert 500 <= gate.until_fault(700) <= 530 and gate.fault is Fault.TRAVEL and gate.level(UP) == 0
    gate.pass_ms(10)
    assert gate.reset() == RESET_DONE, "the output is off, so nothing is overdue"
    gate.command(0)
    gate.command(RAISE)
    gate.pass_ms(450)
    gate.put(OPEN, 1)
    gate.pass_ms(20)
    gate.put(OPEN, 0)
    gate.pass_ms(1000)
    assert gate.fault is Fault.NONE and gate.level(UP) == 1


def test_a_motor_that_stalls_latches(gate: Gate) -> None:
    gate.command(LOWER)
    gate.pass_ms(20)
    gate.put(STALLED, 1)
    gate.pass_ms(10)
    assert (gate.fault, gate.level(DOWN)) == (Fault.STALL, 0)


def test_an_output_with_a_maximum_age_falls_back_when_it_is_not_written_anew_though_its_owner_is_there(gate: Gate) -> None:
    for _ in range(5):
        gate.command(SOUND)
        gate.pass_ms(200)
        assert gate.level(HORN) == 1 and gate.fault is Fault.NONE
    for _ in range(3):  # heartbeats are no commands
        gate.beat()
        gate.pass_ms(40)
    status = gate.one.status()
    assert (status.leased, status.fault, status.fault_block, gate.level(HORN)) == (True, Fault.SILENCE, 6, 0)
    assert gate.reset() == RESET_DONE


def test_an_output_at_its_default_grows_as_old_as_it_likes(gate: Gate) -> None:
    gate.command(LET)
    gate.put(BACK, 1)
    gate.pass_ms(1000)
    assert gate.fault is Fault.NONE and gate.level(VALVE) == 1


def test_an_output_whose_level_does_not_come_back_latches(gate: Gate) -> None:
    gate.command(LET)
    gate.pass_ms(30)
    gate.put(BACK, 1)
    gate.pass_ms(200)
    assert gate.fault is Fault.NONE and gate.level(VALVE) == 1
    gate.command(0)  # and now its contact sticks
    gate.pass_ms(90)
    assert (gate.fault, gate.one.status().fault_block) == (Fault.OUTPUT, 7)
    assert gate.reset() == RESET_REFUSED


def pressure(gate: Gate) -> float:
    raw = gate.one.read(257, 1)[0]
    return (raw - (raw >> 15 << 16)) * 0.01


def test_a_voltage_is_shown_in_the_units_of_its_signal(gate: Gate) -> None:
    gate.pass_ms(300)
    assert pressure(gate) == pytest.approx(2.0, abs=0.01) and gate.one.read(258, 1)[0] == 1200
    gate.put(PRESSURE, 13_107 + 5243)
    gate.pass_ms(300)
    assert pressure(gate) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("adc", [0, 5999], ids=["short", "open"])
def test_a_wire_that_is_not_whole_is_no_reading_and_latches(gate: Gate, adc: int) -> None:
    gate.pass_ms(300)
    gate.put(PRESSURE, adc)
    gate.pass_ms(390)
    assert (gate.fault, gate.one.status().fault_block) == (Fault.SENSOR, 8)
    assert not 0 <= pressure(gate) <= 10, "outside its Range, so the controller calls it bad"
    gate.put(PRESSURE, TWO_BAR)
    gate.pass_ms(900)
    assert gate.reset() == RESET_REFUSED, "it has not been steady for a second"
    gate.pass_ms(250)
    assert gate.reset() == RESET_DONE and pressure(gate) == pytest.approx(2.0, abs=0.01)


def test_a_value_that_jumps_is_not_believed_and_after_it_only_what_stays(gate: Gate) -> None:
    gate.pass_ms(300)
    gate.put(PRESSURE, 60_000)  # 9 bar in no time
    gate.pass_ms(190)
    assert pressure(gate) == pytest.approx(2.0, abs=0.01) and gate.fault is Fault.NONE
    gate.pass_ms(200)
    assert gate.fault is Fault.SENSOR and not 0 <= pressure(gate) <= 10
    for adc in itertools.islice(itertools.cycle((20_000, 60_000)), 8):
        gate.put(PRESSURE, adc)
        gate.pass_ms(500)
        assert gate.reset() == RESET_REFUSED
    gate.pass_ms(1200)
    assert gate.reset() == RESET_DONE and pressure(gate) == pytest.approx(8.94, abs=0.01)


def test_a_supply_that_falls_latches_as_what_it_is(gate: Gate) -> None:
    gate.pass_ms(300)
    gate.put(SUPPLY, 19_000)
    gate.pass_ms(390)
    assert (gate.fault, gate.one.read(258, 1)[0]) == (Fault.SUPPLY, 950)
    gate.put(SUPPLY, TWELVE_VOLTS)
    gate.pass_ms(250)
    assert gate.reset() == RESET_DONE


def test_an_owner_that_releases_leaves_no_latch_behind_where_all_is_at_rest(gate: Gate) -> None:
    gate.beat(Op.RELEASE)
    status = gate.one.status()
    assert (status.leased, status.owner, status.latched, status.result, status.leases_lost) == (False, 0, False, Result.DONE, 0)


def test_an_owner_that_releases_what_runs_has_it_stopped_and_latched(gate: Gate) -> None:
    gate.command(LOWER)
    gate.pass_ms(20)
    gate.beat(Op.RELEASE)
    gate.pass_ms(10)
    assert (gate.fault, gate.level(DOWN)) == (Fault.SILENCE, 0)
