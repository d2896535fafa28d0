"""Samples of everything at a fixed rate: what the closed form says, from however large steps."""

from pathlib import Path

import numpy as np

from hil.driver import Driver
from hil.recorder import Recorder
from hil.rig import Rig
from tests.hil.faults.belts import belts
from twin.clock import MS, Ns, S
from twin.machines.conveyor.spec import Command


def test_a_belt_s_speed_is_recorded_as_it_ramps_up_although_the_belt_is_stepped_seldom(tmp_path: Path) -> None:
    factory = belts("belt")
    with Rig(factory, tmp_path) as rig:
        driver = Driver.of(rig, "belt")
        driver.until(lambda: driver.status and driver.status.leased, Ns(3 * S))
        rig.world.recorder = recorder = Recorder()
        begun = rig.now
        driver.commands["belt"] = Command(run=True, speed=0.3)
        rig.run(Ns(begun + 20 * S))
        started = next(time for time, level in rig.trace.series["belt/pin/run"] if level)
    columns = recorder.columns
    assert recorder.samples == 2000 and recorder.lost == 0
    times = (begun // (10 * MS) + np.arange(1, 2001)) * 0.01
    wanted = np.clip((times - started / S) * factory.machines["belt"].params.acceleration, 0.0, 0.3)
    np.testing.assert_allclose(columns["belt/plant/speed"], wanted, atol=2e-4)
    np.testing.assert_array_equal(columns["belt/pin/run"][1:] > 0, times[1:] > started / S + 1e-9)
    assert set(np.unique(columns["belt/sensor/at_exit"])) == {0.0}


def test_what_has_no_room_is_counted_and_the_rest_is_kept() -> None:
    recorder = Recorder(Ns(10 * MS), most=5)
    recorder.step(Ns(0), Ns(40 * MS), {"a": 1.0}, {"b": np.arange(4.0)})
    recorder.step(Ns(40 * MS), Ns(80 * MS), {"a": 2.0}, {"b": np.arange(4.0, 8.0)})
    assert (recorder.samples, recorder.lost) == (5, 3)
    np.testing.assert_array_equal(recorder.columns["a"], [1, 1, 1, 1, 2])
    np.testing.assert_array_equal(recorder.columns["b"], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(recorder.time_s, [0.01, 0.02, 0.03, 0.04, 0.05])
