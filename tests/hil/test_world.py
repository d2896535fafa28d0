"""What a node sees of the world, and when, although the world is stepped no more often than it must be."""

import itertools
from pathlib import Path

import pytest

from hil.commands.nodes import ended_since
from hil.driver import Driver
from hil.ports import free_port
from hil.rig import Rig
from tests.hil.faults.belts import belts
from tests.hil.jobs import one_printer
from twin.clock import MS, Ns, S
from twin.factory import Factory, parse
from twin.fault import FAR
from twin.machines.conveyor.plant import State, put
from twin.machines.conveyor.spec import Command, Params
from twin.plant import Part

CLOCK = '''
from typing import Annotated as A

from twin.machine import Input
from twin.wire import Bit, OnSilence, OFF, record


@record
class Status:
    ticking: A[bool, Bit(0, 0)]


@record
class Command:
    nothing: A[bool, OnSilence(OFF), Bit(0, 0)] = False


BLOCKS = (Input("ticking"),)
'''
CONTROL = "def decide(sample, wish, params, now):\n    return None, ()\n"
PLANT = '''
from twin.clock import Ns

def start(params):
    return Ns(0)

def step(state, params, pins, dt):
    state = Ns(state + dt)
    return state, {"ticking": state // 700_000_000 % 2}
'''
HORIZON = '''
def horizon(state, params, pins, limit):
    return min(limit, Ns(700_000_000 - state % 700_000_000))
'''
NODE = """
[factory]
name = "clock"
[types.clock]
path = "clock"
[cells.hall]
[nodes.n]
uid = 1
port = {port}
virtual = true
[machines.clock]
type = "clock"
cell = "hall"
node = "n"
base = 256
pins = {{ ticking = 34 }}
"""


def clock(folder: Path, plant: str) -> Factory:
    """A factory of one machine that needs nothing of its node."""
    (folder / "clock").mkdir()
    for name, text in (("spec", CLOCK), ("control", CONTROL), ("plant", plant)):
        (folder / "clock" / f"{name}.py").write_text(text, encoding="utf-8")
    return parse(NODE.format(port=free_port()), folder)


@pytest.mark.parametrize(("plant", "late_ms"), [(PLANT + HORIZON, 0), (PLANT, 200)])
def test_a_sensor_s_change_is_seen_at_its_moment_and_without_a_horizon_soon(tmp_path: Path, plant: str, late_ms: int) -> None:
    with Rig(clock(tmp_path, plant), tmp_path / "nodes") as rig:
        rig.run(Ns(6 * S))
        seen = [time for time, _ in rig.trace.series["clock/sensor/ticking"] if time]
    wanted = [Ns(k * 700 * MS) for k in range(1, 9)]
    assert len(seen) == len(wanted)
    assert all(0 <= at - edge <= late_ms * MS for at, edge in zip(seen, wanted, strict=True)), seen


STARTS = """
import time
from machine import PWM, Pin
time.sleep_ms({wait})
PWM(Pin(17), freq=1000, duty_u16=65535)
Pin(16, Pin.OUT, value=1)
time.sleep(30)
"""


def test_what_one_node_does_hides_no_sensor_of_another(tmp_path: Path) -> None:
    images = {}
    for node, wait in (("a", 2), ("b", 6)):
        (tmp_path / node).mkdir()
        (tmp_path / node / "main.py").write_text(STARTS.format(wait=wait), encoding="utf-8")
        images[node] = tmp_path / node
    factory = belts("a", "b")
    with Rig(factory, tmp_path / "nodes", firmware=images) as rig:
        rig.world.touch("b", with_a_part, rig.now)
        rig.run(Ns(8 * S))
        gone = [time for time, level in rig.trace.series["b/sensor/at_entry"] if time and not level]
    way = Part().length / 2  # until its trailing edge has left the barrier, within the ramp
    assert gone and gone[0] / S == pytest.approx(0.006 + (2 * way / factory.machines["b"].params.acceleration) ** 0.5, abs=2e-3)


def with_a_part(state: State, params: Params) -> State:
    """Somebody puts one on the belt."""
    made = put(state, params, Part(id="a"))
    assert made is not None
    return made


def test_a_part_comes_to_the_exit_when_the_closed_form_says_however_seldom_anybody_asks(tmp_path: Path) -> None:
    times = []
    for period in (Ns(50 * MS), Ns(400 * MS)):
        factory = belts("belt")
        machine = factory.machines["belt"]
        with Rig(factory, tmp_path / str(period)) as rig:
            driver = Driver.of(rig, "belt", period)
            driver.until(lambda driver=driver: driver.status and driver.status.leased, Ns(3 * S))
            rig.world.touch("belt", with_a_part, rig.now)
            driver.commands["belt"] = Command(run=True, speed=0.1)
            driver.until(lambda driver=driver: driver.machine("belt").at_exit, Ns(60 * S))
            started = next(time for time, level in rig.trace.series["belt/pin/run"] if level)
            arrived = next(time for time, level in rig.trace.series["belt/sensor/at_exit"] if level)
        times.append(arrived - started)
    params = machine.params
    way = params.length - 0.06 - Part().length / 2  # from across the entry barrier to the exit barrier
    ramp = 0.1 / params.acceleration
    assert times[0] / S == pytest.approx(ramp + (way - 0.1 * ramp / 2) / 0.1, abs=1e-4)
    assert times[0] == times[1]


class Pulses:
    """A light barrier that is covered for a tenth of a second at given moments."""

    def __init__(self, minutes: tuple[int, ...]) -> None:
        self.fired = 0
        self._edges = [Ns(minute * 60 * S + later) for minute in minutes for later in (0, 100 * MS)]

    def __call__(self, now: Ns, value: int) -> int:
        return sum(edge <= now for edge in self._edges) % 2

    def wake(self, now: Ns) -> Ns:
        return next((edge for edge in self._edges if edge > now), FAR)


def test_a_part_is_counted_however_long_the_belt_was_quiet_before(tmp_path: Path) -> None:
    minutes = (6, 16, 26, 27, 44)
    factory = belts("belt")
    with Rig(factory, tmp_path) as rig:
        driver = Driver.of(rig, "belt", Ns(10 * S))
        rig.world.sensor_edits["belt", "at_exit"] = [Pulses(minutes)]
        counted = []
        for minute in minutes:
            rig.run(Ns((minute * 60 + 30) * S))
            counted.append(driver.machine("belt").parts)
    assert counted == [1, 2, 3, 4, 5]


def test_a_firmware_that_ends_is_told_once_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "main.py").write_text("import time\ntime.sleep_ms(1500)\nraise OSError('no room')\n", encoding="utf-8")
    told = []
    with Rig(belts("n"), tmp_path / "nodes", firmware={"n": tmp_path / "n"}) as rig:
        for second in range(1, 5):
            before = rig.now
            rig.run(Ns(second * S))
            told.append(ended_since(rig, before))
    assert told == [[], ["node n: its firmware has ended: OSError: no room"], [], []]


HEATS = "import time\nfrom machine import PWM, Pin\nPWM(Pin(16), freq=10, duty_u16=65535)\nwhile True:\n    time.sleep_ms(50)\n"


def test_looking_at_the_wall_clock_now_and_then_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "heats").mkdir()
    (tmp_path / "heats" / "main.py").write_text(HEATS, encoding="utf-8")
    digests = []
    for looks in (False, True):
        with Rig(one_printer(), tmp_path / f"nodes-{looks}", firmware=tmp_path / "heats") as rig:
            for k in range(200):
                rig.at(Ns(37 * k * MS), lambda: None)  # more instants than the world needs
            while looks and rig.now < 5 * S:
                turns = itertools.count()
                rig.pass_time(Ns(8 * S), lambda turns=turns: next(turns) > 7)
            rig.run(Ns(8 * S))
            digests.append(rig.trace.digest)
            assert rig.trace.last("printer-1/plant/hotend") > 30
    assert digests[0] == digests[1]
