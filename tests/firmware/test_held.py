"""What holds while its owner is silent, and what takes it off all the same: Safety and blocks, in a time of the test's own."""

from typing import Any

import pytest

from tests.firmware.alone import load
from tests.firmware.safety_alone import BELT, LAMPS, SENSOR_AT, TICKS, Bench
from twin.node import Fault, Op

BOARD = dict.fromkeys("ADC I2S PWM WDT Pin reset reset_cause unique_id".split())
(blocks,) = load("blocks", ticks=TICKS, machine=BOARD)
BEACON, FULL = BELT, 5000


class Held(Bench):
    """A beacon that holds, and a drive whose set point does.

    Attributes:
        level: of the beacon; duty: of the drive.
    """

    def __init__(self, max_age_ms: int = 0) -> None:
        super().__init__(((BEACON, 0), (SENSOR_AT, 0)), run=(LAMPS, 3))
        self.level = self.duty = 0
        blocks.pins.output = lambda number: Put(self, "level" if number == 1 else "run")
        blocks.pins.pwm = lambda number: Put(self, "duty")
        beacon = {"pin": 1, "from": [BEACON, 0], "silence": "hold"}
        drive = {"run_pin": 2, "speed_pin": 3, "run": [BELT, 1], "speed": [BELT + 1], "full": FULL, "running": [SENSOR_AT, 5]}
        drive |= {"shown": None, "silence": "hold", "ramp": 500}
        self.writes = [
            blocks.Output(beacon, self.bank, self.effective).write,
            blocks.Drive(drive, self.bank, self.effective).write,
        ]
        self.safety.commands.hold(beacon["from"])
        self.safety.commands.hold(drive["speed"])
        if max_age_ms:
            self.safety.commands.age(beacon["from"], max_age_ms, 3)
        self.grant(lease=100)
        self.write(BELT, [3, FULL])
        self.turn()
        assert (self.level, self.duty) == (1, 65535)

    def turn(self, ms: int = 10) -> None:
        self.tick(ms)
        if self.safety.silent or self.safety.changed:
            for write in self.writes:
                write(self.safety.silent)

    def silence(self) -> None:
        for _ in range(12):
            self.turn()


class Put:
    """A pin."""

    def __init__(self, of: Held, name: str) -> None:
        self.of, self.name = of, name

    def value(self, *level: int) -> int:
        for one in level:
            setattr(self.of, self.name, one)
        return getattr(self.of, self.name, 0)

    duty_u16 = value


@pytest.fixture
def held() -> Held:
    made = Held()
    made.silence()
    assert (made.level, made.duty, made.status.fault) == (1, 65535, Fault.SILENCE)
    return made


def test_it_holds_for_as_long_as_nothing_else_comes_and_a_new_owners_claim_is_nothing(held: Held) -> None:
    held.turn(3_600_000)
    held.grant(epoch=2, lease=5000)
    held.turn()
    assert (held.level, held.duty) == (1, 65535)
    held.judged(epoch=2, op=Op.RESET, command_id=1)
    held.turn()
    assert (held.level, held.duty) == (0, 0)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in (Fault.NONE, Fault.SILENCE)])
def test_whatever_else_latches_takes_it_off(held: Held, fault: Fault) -> None:
    held.safety.latch(int(fault))
    held.turn()
    assert (held.level, held.duty, held.status.fault) == (0, 0, fault)


def test_its_interlock_takes_it_off_while_its_owner_is_silent(held: Held) -> None:
    held.bank.put_bit(SENSOR_AT, 0, 1)
    held.turn()
    assert (held.level, held.duty, held.status.fault) == (0, 0, Fault.INTERLOCK)


@pytest.fixture
def beside() -> Held:
    """Beside a Job of another machine, which is being finished."""
    made = Held()
    made.store.jobs.add(0)
    made.write(LAMPS, [8, 7])
    made.turn()
    made.motion.running = made.motion.finishes = True
    made.silence()
    assert (made.level, made.status.latched, made.status.leased) == (1, False, False)
    return made


def test_the_owner_that_comes_back_while_a_job_is_finished_finds_it_as_it_was(beside: Held) -> None:
    beside.grant(epoch=2, lease=100)
    beside.turn()
    assert beside.level == 1 and beside.status.leased
    beside.write(BELT, [0, 0])
    beside.turn()
    assert beside.level == 0


def test_its_interlock_takes_it_off_while_a_job_is_finished(beside: Held) -> None:
    held = beside
    held.bank.put_bit(SENSOR_AT, 0, 1)
    held.turn()
    assert (held.level, held.status.fault) == (0, Fault.INTERLOCK)


@pytest.mark.parametrize("max_age_ms", [50, 300])
def test_its_age_takes_it_off_whether_its_owner_is_silent_by_then_or_not(max_age_ms: int) -> None:
    held = Held(max_age_ms)
    held.turn(max_age_ms - 11)
    assert held.level == 1
    held.turn(1)
    assert (held.level, held.status.fault, held.status.fault_block) == (0, Fault.SILENCE, 3)
    held.turn(1000)
    assert held.level == 0


def test_only_what_is_written_itself_is_written_anew() -> None:
    held = Held(300)
    touched: list[Any] = [(16 * BELT, 16 * BELT + 3, 0xFFFE), (16 * BELT + 1, 16 * BELT + 16, 0xFFFF), (0, 9, 0xFFFF)]
    for mask in touched:
        held.grant(lease=5000)
        held.write(BELT, [3], touched=mask)
        held.turn(90)
        assert held.level == 1
    held.turn(30)
    assert held.level == 0, "others' bits were written"
    held = Held(300)
    for mask in [(16 * BELT, 16 * BELT + 1, 0xFFFF), (0, 1 << 16, 1), None] * 3:
        held.grant(lease=5000)
        held.write(BELT, [3], touched=mask)
        held.turn(290)
        assert held.level == 1
