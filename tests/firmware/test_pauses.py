"""How long a board may be away before the step stream has a gap, under the cost model of a board. The figures are in the docs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hil.rig import Rig
from hil.targets import Inject
from hil.targets.vm import BOARD
from tests.firmware.carriage.plant import Physics
from tests.firmware.carriages import Carriage, job_of, one_carriage
from twin.clock import MS, US, Ns, S
from twin.factory import Factory
from twin.node import JobState

GAP_FREE_MS = 30
"""The DMA's 40.96 ms less the tick that may just have been due, and what the tick itself takes."""
GAPS_MS = 33
AWAY = 40
STEP_RATE = 38_500
PROGRAM = "G28\n" + "G1 X200 Y200 Z200 F31000\nG1 X1 Y1 Z1\n" * 24


def quick() -> Factory:
    """A carriage whose axes all make as many steps as a Job may ask for."""
    factory = one_carriage()
    machine = factory.machines["c"]
    changes = {"steps_per_mm": 130_000.0, "max_speed": 0.3, "max_acceleration": 3.0, "jerk": 0.01}
    params = dataclasses.replace(machine.params, **{name: (value,) * 4 for name, value in changes.items()})
    return dataclasses.replace(factory, machines={"c": dataclasses.replace(machine, params=params)})


@pytest.mark.parametrize(("away_ms", "gaps"), [(GAP_FREE_MS, False), (GAPS_MS, True)])
def test_three_axes_at_their_fastest_have_no_gap_when_the_board_is_away_for_as_long_as_is_told(
    tmp_path: Path, away_ms: int, gaps: bool
) -> None:
    chance = np.random.default_rng(away_ms)
    with Rig(quick(), tmp_path, costs=BOARD, physics={"c": Physics(start_position_mm=(60.0, 0.0, 20.0))}) as rig:
        carriage = Carriage(rig, job_of(rig.factory, PROGRAM))
        carriage.driver.until(lambda: carriage.node.homed, Ns(60 * S))
        for _ in range(AWAY):
            rig.run(Ns(rig.now + 60 * MS + round(chance.uniform(0, 10_000)) * US))
            rig.inject("n", Inject.PAUSE, away_ms * 1000)
        rig.run(Ns(rig.now + 200 * MS))
        node = carriage.node
        assert node.job_state is JobState.RUNNING and not node.latched and not carriage.state.lost.any()
        assert node.peak_rate >= STEP_RATE and min(carriage.state.busiest[:3]) >= STEP_RATE
        assert away_ms - 12 <= node.late / 1000 <= away_ms + 12
        assert (node.underruns > 0) is gaps
