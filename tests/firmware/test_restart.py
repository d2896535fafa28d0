"""A node that restarts after it was in use waits for an operator; one that was not, does not: in a rig, in factory time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.driver import Driver
from hil.ports import free_port
from hil.rig import Rig
from hil.targets import Inject
from tests.firmware.alone import Ticks, load
from tests.firmware.factories import BELT, HEAD
from twin.clock import MS, Ns, S
from twin.factory import parse
from twin.node import Fault, Op, ResetCause, Result

LONG = Ns(3 * S)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    factory = parse(HEAD.replace("15999", str(free_port())) + BELT, tmp_path)
    with Rig(factory, tmp_path) as rig:
        yield rig


def ready(rig: Rig) -> Driver:
    """A node that obeys."""
    driver = Driver.of(rig, "n")
    driver.until(lambda: driver.status is not None and driver.status.leased, LONG)
    return driver


def running(rig: Rig, driver: Driver, on: bool = True) -> None:
    kind = rig.factory.machines["belt"].type
    driver.commands["belt"] = kind.command(run=on, speed=0.2 if on else 0.0)
    driver.until(lambda: rig.trace.last("belt/pin/run") == on, LONG)


def again(rig: Rig, driver: Driver, cause: str = "rig") -> None:
    """It is restarted, and obeys again."""
    boot = driver.status.boot_id if driver.status else 0
    rig.reset("n", cause)
    driver.until(lambda: driver.status is not None and driver.status.boot_id == boot + 1 and driver.status.leased, LONG)


def test_a_node_that_loses_its_power_while_it_runs_comes_back_latched_until_an_operators_reset(rig: Rig) -> None:
    driver = ready(rig)
    running(rig, driver)
    again(rig, driver)
    status = driver.status
    assert status is not None
    assert (status.latched, status.fault, status.reset_cause) == (True, Fault.RESTARTED, ResetCause.POWER)
    rig.run(Ns(rig.now + S))
    assert rig.trace.last("belt/pin/run") == 0, "what is still commanded does not run again"
    driver.op(Op.RESET)
    driver.until(lambda: driver.status is not None and driver.status.result is Result.DONE, LONG)
    rig.run(Ns(rig.now + S))
    assert rig.trace.last("belt/pin/run") == 0 and not driver.status.latched, "nor does the reset start anything"
    running(rig, driver, on=False)
    rig.run(Ns(rig.now + 300 * MS))
    running(rig, driver)


def test_a_first_start_and_one_after_a_minute_of_idleness_are_not_latched_but_one_before_is(rig: Rig) -> None:
    driver = ready(rig)
    assert driver.status is not None and not driver.status.latched
    again(rig, driver)
    assert not driver.status.latched, "it was never in use"
    running(rig, driver)
    mark = rig.nodes["n"].folder / "in-use"
    assert mark.exists()
    running(rig, driver, on=False)
    rig.run(Ns(rig.now + 59 * S))
    assert mark.exists()
    rig.run(Ns(rig.now + 2 * S))
    assert not mark.exists()
    again(rig, driver)
    assert not driver.status.latched
    running(rig, driver)
    running(rig, driver, on=False)
    rig.run(Ns(rig.now + 50 * S))
    again(rig, driver)
    assert driver.status.fault is Fault.RESTARTED


def test_a_latch_outlives_a_restart_however_late_that_comes(rig: Rig) -> None:
    driver = ready(rig)
    running(rig, driver)
    again(rig, driver)
    rig.run(Ns(rig.now + 70 * S))
    again(rig, driver)
    assert driver.status is not None and driver.status.fault is Fault.RESTARTED


def test_after_the_watchdogs_reset_the_reset_cause_shows_it(rig: Rig) -> None:
    driver = ready(rig)
    running(rig, driver)
    rig.inject("n", Inject.HANG)
    driver.until(lambda: driver.status is not None and driver.status.reset_cause is ResetCause.WATCHDOG, Ns(6 * S))
    assert driver.status is not None and driver.status.fault is Fault.RESTARTED
    assert rig.now < 6 * S and rig.trace.last("belt/pin/run") == 0


def test_a_flash_that_takes_no_writes_is_shown_and_the_node_goes_on(rig: Rig) -> None:
    driver = ready(rig)
    rig.inject("n", Inject.READ_ONLY, 1)
    running(rig, driver)
    rig.run(Ns(rig.now + 300 * MS))
    assert driver.status is not None and driver.status.storage_failed and not driver.status.latched


# ---- the mark alone


class Flash:
    """Counts what is written."""

    def __init__(self, marked: bool = False) -> None:
        self.ticks = Ticks()
        self.marked = marked
        self.writes = self.removals = 0
        bank, use = load("bank", "use", ticks=self.ticks)
        use._marked, use.write_counter, use.remove = lambda: self.marked, self._write, self._remove
        self.bank = bank.Bank(62)
        self.use = use.Use(self.bank)

    def _write(self, name: str, value: int) -> bool:
        self.writes += 1
        self.marked = True
        return True

    def _remove(self, name: str) -> None:
        self.removals += 1
        self.marked = False

    def pass_ms(self, ms: int, idle: bool) -> None:
        for _ in range(ms // 100):
            self.ticks.us += 100_000
            self.use.look(idle)


def test_an_hour_of_work_writes_the_flash_once_and_clears_it_once() -> None:
    flash = Flash()
    for _ in range(60):
        flash.use.begin()
        flash.pass_ms(5000, idle=False)
        flash.pass_ms(55_000, idle=True)
    assert (flash.writes, flash.removals) == (1, 0)
    flash.pass_ms(60_000, idle=True)
    assert (flash.writes, flash.removals) == (1, 1) and not flash.use.before
    assert Flash(marked=True).use.before
