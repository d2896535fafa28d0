"""A carriage on a virtual node, with a driver that has given it a Job and said go."""

from pathlib import Path
from typing import Any

from controller.nodes.transfer import Load
from hil.driver import Driver
from hil.ports import free_port
from hil.rig import Rig
from tests.firmware.carriage.spec import Command
from twin import motion
from twin.clock import Ns, S
from twin.factory import Factory, Machine, parse
from twin.faults import FAR, FRAMES
from twin.kernel import Words
from twin.machines.printer.plant import State
from twin.node import JobState, NodeStatus, Op, TransferKind

TEXT = """
[factory]
name = "one-carriage"
[types.carriage]
path = "carriage"
[cells.shop]
[nodes.n]
uid = 1
port = {port}
virtual = true
[machines.c]
type = "carriage"
cell = "shop"
node = "n"
base = 256
[machines.c.pins]
i2s_clock = 26
i2s_latch = 25
i2s_data = 22
motors = 19
x_endstop = 34
z_endstop = 32
y = 21
probe = 35
guard = 33
"""


def one_carriage() -> Factory:
    """A factory of one carriage on a virtual node, at a port that is free."""
    return parse(TEXT.format(port=free_port()), Path(__file__).parent)


def limits_of(machine: Machine) -> motion.Limits:
    assert machine.type.limits is not None
    made: motion.Limits = machine.type.limits(machine.params)
    return made


def job_of(factory: Factory, program: str) -> bytes:
    """The Job of a program for the one carriage."""
    limits = limits_of(factory.machines["c"])
    return motion.encode(motion.plan(program, limits), limits)


class _Kept:
    """Leaves a step stream as it is, and keeps it."""

    def __init__(self) -> None:
        self.words: list[Words] = []

    def __call__(self, now: Ns, words: Words) -> Words:
        self.words.append(words.copy())
        return words

    def wake(self, now: Ns) -> Ns:
        return FAR


class Carriage:
    """A rig with one carriage; its Job is started as soon as it is there."""

    def __init__(self, rig: Rig, job: bytes, kind: TransferKind = TransferKind.STORED_JOB, number: int = 7) -> None:
        self.rig, self.driver = rig, Driver.of(rig, "n")
        self.driver.until(lambda: self.driver.status is not None and self.driver.status.leased, Ns(5 * S))
        self.play(job, kind, number)

    def play(self, job: bytes, kind: TransferKind = TransferKind.STORED_JOB, number: int = 7) -> None:
        """Carry a Job there and start it."""
        driver = self.driver
        driver._load = Load(number, job, kind)
        driver.until(lambda: driver.stored, Ns(60 * S))
        self.go(True)
        driver.op(Op.START, number)
        driver.until(lambda: self.node.job_id == number and self.node.job_state is not JobState.NONE, Ns(2 * S))

    def go(self, run: bool) -> None:
        """Let the axes run, or hold them."""
        self.driver.commands["c"] = Command(run=run)

    def words(self) -> list[Words]:
        """All that the step stream is given from now on; the list grows."""
        kept = _Kept()
        self.rig.world.pin_edits.setdefault(("c", FRAMES), []).append(kept)
        return kept.words

    @property
    def node(self) -> NodeStatus:
        status = self.driver.status
        assert status is not None, "the node has not been heard"
        return status

    @property
    def shown(self) -> Any:
        """The carriage's Status."""
        return self.driver.machine("c")

    @property
    def state(self) -> State:
        """The plant."""
        state: State = self.rig.world.state.states["c"]
        return state

    def ended(self, within: float = 60.0) -> JobState:
        """Let the Job come to its end; how it ended."""
        self.driver.until(lambda: self.node.job_state in (JobState.DONE, JobState.ABORTED), Ns(round(within * S)))
        return self.node.job_state
