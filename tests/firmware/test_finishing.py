"""What a Job does when its owner falls silent, with real motion: finish what lies whole in the flash, or stop along the path."""

import dataclasses
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hil.driver import Driver
from hil.faults import arm
from hil.rig import Rig
from tests.firmware.carriages import Carriage, job_of, limits_of, one_carriage
from tests.hil.jobs import one_printer
from twin import motion
from twin.clock import MS, Ns, S
from twin.fault import Fault as Failure
from twin.machine import FINISH
from twin.machines.printer.spec import Command
from twin.node import LEASE_MS, TICK_MS, Fault, JobState, Op, TransferKind

PROGRAM = "G28 X\nG1 X100 F3000\nG1 X20\nG1 X90\n"
BRAKING_S = 50 * 80 / 240_000
ENDS_MM = 90


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(one_carriage(), tmp_path) as made:
        yield made


def moving(rig: Rig, kind: TransferKind = TransferKind.STORED_JOB) -> Carriage:
    """A carriage in its first long move."""
    carriage = Carriage(rig, job_of(rig.factory, PROGRAM), kind)
    carriage.driver.until(lambda: carriage.node.homed and carriage.shown.x > 0.03, Ns(40 * S))
    return carriage


def heard_again(carriage: Carriage) -> None:
    before = carriage.node.uptime
    carriage.driver.silent = False
    carriage.driver.until(lambda: carriage.node.leased and carriage.node.uptime > before + LEASE_MS, Ns(5 * S))
    rig = carriage.rig
    rig.run(Ns(rig.now + 300 * MS))


def test_a_stored_job_that_may_finish_does_so_without_its_owner_and_latches_then(rig: Rig) -> None:
    carriage = moving(rig)
    words = carriage.words()
    carriage.driver.silent = True
    rig.run(Ns(rig.now + 12 * S))
    frames = np.concatenate(words)
    at = np.flatnonzero(frames & ~np.concatenate(([0], frames[:-1])).astype(np.uint32) & 1)
    assert np.diff(at).max() < 5000, "and without a pause"
    assert carriage.state.position[0] == ENDS_MM * 80 and not carriage.state.lost.any()
    heard_again(carriage)
    node = carriage.node
    assert (node.job_state, node.latched, node.fault, node.underruns) == (JobState.DONE, True, Fault.SILENCE, 0)


def test_a_streamed_job_stops_even_where_a_stored_one_of_its_number_lies_in_the_flash(rig: Rig) -> None:
    carriage = Carriage(rig, job_of(rig.factory, "G28 X\n"))
    assert carriage.ended() is JobState.DONE
    carriage.play(job_of(rig.factory, PROGRAM), TransferKind.STREAMED_JOB)
    carriage.driver.until(lambda: carriage.node.job_state is JobState.RUNNING and carriage.shown.x > 0.03, Ns(40 * S))
    pace = rig.world.paces.setdefault("c", [])
    carriage.driver.silent = True
    silent_since = rig.now
    rig.run(Ns(rig.now + 3 * S))
    last = carriage.state.last_step
    assert last <= silent_since + (LEASE_MS + 2 * TICK_MS) * MS + round(1.1 * BRAKING_S * S), "no later than its lease allows"
    assert last >= silent_since + (LEASE_MS - 150) * MS and pace
    heard_again(carriage)
    assert (carriage.node.job_state, carriage.node.fault) == (JobState.ABORTED, Fault.SILENCE)
    assert not carriage.state.lost.any()
    assert abs(carriage.shown.x * 80_000 - carriage.state.position[0]) <= 1.01


def test_an_interlock_holds_while_a_job_is_finished(rig: Rig) -> None:
    carriage = moving(rig)
    carriage.driver.silent = True
    rig.run(Ns(rig.now + 1500 * MS))
    assert carriage.state.last_step > rig.now - 100 * MS, "it is being finished"
    arm(rig, [Failure(at=Ns(rig.now + MS), kind="sensor-stuck-on", target="c.guard")], seed=1)
    opened = rig.now
    rig.run(Ns(rig.now + 3 * S))
    assert carriage.state.last_step <= opened + 60 * MS + round(1.1 * BRAKING_S * S) + 2 * TICK_MS * MS
    heard_again(carriage)
    assert (carriage.node.job_state, carriage.node.fault) == (JobState.ABORTED, Fault.INTERLOCK)
    assert abs(carriage.shown.x * 80_000 - carriage.state.position[0]) <= 1.01


@contextmanager
def printing(folder: Path) -> Iterator[tuple[Rig, Driver]]:
    """A printer that may finish, in the first long move of a Job, its hotend at 60 degrees."""
    factory = one_printer()
    machine = factory.machines["printer-1"]
    finishes = dataclasses.replace(machine, type=dataclasses.replace(machine.type, on_link_loss=FINISH))
    program = "M104 S60\nG28 X\n" + "G1 X100 F3000\nG1 X20\n" * 6
    with Rig(dataclasses.replace(factory, machines={"printer-1": finishes}), folder) as rig:
        driver = Driver.of(rig, "printer-1")
        driver.until(lambda: driver.status is not None and driver.status.leased, Ns(5 * S))
        limits = limits_of(finishes)
        driver.load(7, motion.encode(motion.plan(program, limits), limits))
        driver.until(lambda: driver.stored, Ns(9 * S))
        driver.commands["printer-1"] = Command(permit=True, run=True)
        driver.op(Op.START, 7)
        driver.until(lambda: driver.machine("printer-1").x > 0.03, Ns(20 * S))
        yield rig, driver


def test_a_job_that_is_held_is_given_up_with_its_heat_when_its_owner_falls_silent(tmp_path: Path) -> None:
    with printing(tmp_path) as (rig, driver):
        driver.commands["printer-1"] = Command(permit=True, run=False)
        driver.until(lambda: driver.status is not None and driver.status.job_state is JobState.HOLDING, Ns(5 * S))
        driver.silent = True
        rig.run(Ns(rig.now + 1500 * MS))
        assert rig.trace.last("printer-1/pin/hotend_heater") == 0
        driver.silent = False
        rig.run(Ns(rig.now + S))
        assert driver.status is not None and driver.status.leased
        assert (driver.status.job_state, driver.status.fault) == (JobState.ABORTED, Fault.SILENCE)


def test_a_heater_is_watched_while_a_job_is_finished(tmp_path: Path) -> None:
    with printing(tmp_path) as (rig, driver):
        driver.silent = True
        rig.run(Ns(rig.now + 1500 * MS))
        assert rig.world.state.states["printer-1"].last_step > rig.now - 100 * MS, "it is being finished"
        arm(rig, [Failure(at=Ns(rig.now + MS), kind="sensor-open", target="printer-1.hotend_sensor")], seed=1)
        rig.run(Ns(rig.now + 2 * S))
        rests = rig.world.state.states["printer-1"].last_step
        assert rests < rig.now - 1200 * MS and rig.trace.last("printer-1/pin/hotend_heater") == 0
        driver.silent = False
        rig.run(Ns(rig.now + S))
        assert driver.status is not None and driver.status.leased
        assert (driver.status.job_state, driver.status.fault) == (JobState.ABORTED, Fault.SENSOR)


@pytest.mark.parametrize(("value", "duty"), [(70_000, 65_535), (-1, 0)])
def test_a_fan_value_that_no_duty_is_goes_no_further_than_its_ends(tmp_path: Path, value: int, duty: int) -> None:
    factory = one_printer()
    limits = limits_of(factory.machines["printer-1"])
    made = bytearray(motion.encode(motion.plan("M106 S100\nG28 X\nG1 X100 F3000\n", limits), limits))
    at = next(at for at in range(32, len(made), 2) if made[at : at + 4] == bytes((0, 0, 3, 0)))
    struct.pack_into("<i", made, at + 4, value)
    struct.pack_into("<I", made, 28, zlib.crc32(made[32:]))
    with Rig(factory, tmp_path) as rig:
        driver = Driver.of(rig, "printer-1")
        driver.until(lambda: driver.status is not None and driver.status.leased, Ns(5 * S))
        driver.load(7, bytes(made))
        driver.until(lambda: driver.stored, Ns(9 * S))
        driver.commands["printer-1"] = Command(permit=True, run=True)
        driver.op(Op.START, 7)
        driver.until(lambda: driver.machine("printer-1").x > 0.001, Ns(20 * S))
        assert rig.trace.last("printer-1/pin/fan") == duty


def test_an_owner_that_comes_back_may_stop_what_is_being_finished(rig: Rig) -> None:
    carriage = moving(rig)
    carriage.driver.silent = True
    rig.run(Ns(rig.now + 1500 * MS))
    heard_again(carriage)
    assert carriage.node.job_state in (JobState.RUNNING, JobState.HOLDING) and not carriage.node.latched
    carriage.driver.op(Op.STOP)
    assert carriage.ended() is JobState.ABORTED and not carriage.node.latched


# ---- what has rotted in the flash


@pytest.mark.parametrize("wrong", ["flipped", "short", "long"])
def test_a_stored_job_that_is_no_longer_what_was_stored_moves_nothing(rig: Rig, wrong: str) -> None:
    carriage = Carriage(rig, job_of(rig.factory, "G28 X\n"))
    assert carriage.ended() is JobState.DONE
    rig.run(Ns(rig.now + S))
    (file,) = (rig.nodes["n"].folder).glob("job-*.bin")
    whole = file.read_bytes()
    spoilt = {"flipped": whole[:-9] + bytes((whole[-9] ^ 1,)) + whole[-8:], "short": whole[:-8], "long": whole + b"\0\0"}
    file.write_bytes(spoilt[wrong])
    before = carriage.state.last_step
    carriage.driver.op(Op.START, 7)
    carriage.driver.until(lambda: carriage.node.latched, Ns(5 * S))
    assert (carriage.node.job_state, carriage.node.fault) == (JobState.ABORTED, Fault.JOB)
    assert carriage.node.job_fault.name == "BAD_CHECKSUM" and carriage.state.last_step == before


def test_a_long_job_is_checked_in_slices_and_is_ready_until_then(rig: Rig) -> None:
    turns = "".join(f"G1 X{30 + n % 2 * 10}.{n % 7} F12000\n" for n in range(2600))
    job = job_of(rig.factory, "G28 X\n" + turns)
    carriage = Carriage(rig, job)
    assert carriage.node.job_state is JobState.READY and not carriage.node.moving
    begun = rig.now
    carriage.driver.until(lambda: carriage.node.job_state is JobState.RUNNING, Ns(20 * S))
    ticks = len(job) / 4096
    assert rig.now - begun <= (ticks * TICK_MS + 200) * MS
    carriage.driver.op(Op.STOP)
    assert carriage.ended() is JobState.ABORTED
    carriage.driver.op(Op.START, 7)
    carriage.driver.until(lambda: carriage.node.job_state is JobState.READY, Ns(2 * S))
    carriage.driver.op(Op.STOP)
    assert carriage.ended() is JobState.ABORTED and not carriage.node.latched, "what is being checked can be stopped"
