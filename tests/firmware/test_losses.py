"""Links cut and controllers gone at random moments: the fallback has begun by the end of the lease and one tick, every time."""

import random
from pathlib import Path

import pytest

from hil.campaigns import tap
from hil.driver import Driver
from hil.ports import free_port
from hil.rig import Rig
from tests.firmware.factories import BELT, HEAD
from twin.clock import MS, Ns, S
from twin.factory import parse
from twin.node import LEASE_MS, TICK_MS, Op

LONG = Ns(5 * S)
PIN, HEARD = "belt/pin/run", "n/told/heartbeat"


class Losses:
    """A belt that runs, loses its owner in one of three ways, and is brought to run again."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig, self.chance = rig, random.Random(seed)
        self.driver = Driver.of(rig, "n")
        tap.watch(rig)
        self.command = rig.factory.machines["belt"].type.command

    def pass_ms(self, ms: float) -> None:
        self.rig.run(Ns(self.rig.now + round(ms * MS)))

    def run_belt(self) -> None:
        """From wherever it stands."""
        driver = self.driver
        driver.commands["belt"] = self.command()
        heard = driver.bursts + 2
        driver.until(lambda: driver.bursts > heard and driver.status is not None and driver.status.leased, LONG)
        assert driver.status is not None
        if driver.status.latched:
            driver.op(Op.RESET)
            driver.until(lambda: driver.status is not None and not driver.status.latched, LONG)
        driver.commands["belt"] = self.command(run=True, speed=0.2)
        driver.until(lambda: self.rig.trace.last(PIN) == 1, LONG)

    def lose(self) -> float:
        """Time from the last heartbeat that the node heard to its output's end [ms]."""
        self.run_belt()
        self.pass_ms(self.chance.uniform(0, 300))
        kind = self.chance.choice(("cut", "silent", "both"))
        if kind != "silent":
            self.rig.cut("n")
        self.driver.silent = kind != "cut"
        self.driver.until(lambda: self.rig.trace.last(PIN) == 0, LONG)
        off = self.rig.trace.series[PIN][-1][0]
        heard = max(time for time, _ in list(self.rig.trace.series[HEARD]) if time <= off)
        self.pass_ms(self.chance.uniform(0, 1000))
        assert self.rig.trace.last(PIN) == 0, "it came on again by itself"
        self.driver.silent = False
        self.rig.heal("n")
        return (off - heard) / MS


def worst(folder: Path, losses: int, seed: int) -> tuple[float, float]:
    """The shortest and the longest time over so many losses [ms]."""
    factory = parse(HEAD.replace("15999", str(free_port())) + BELT, folder)
    with Rig(factory, folder, links=True) as rig:
        story = Losses(rig, seed)
        took = [story.lose() for _ in range(losses)]
    return min(took), max(took)


def test_after_whatever_loss_the_output_is_off_by_the_lease_and_one_tick(tmp_path: Path) -> None:
    soonest, latest = worst(tmp_path, 10, seed=1)
    assert soonest >= LEASE_MS - TICK_MS and latest <= LEASE_MS + TICK_MS


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_after_a_thousand_losses_the_output_has_never_been_on_any_longer(tmp_path: Path, seed: int) -> None:
    soonest, latest = worst(tmp_path, 100, seed)
    assert soonest >= LEASE_MS - TICK_MS and latest <= LEASE_MS + TICK_MS
