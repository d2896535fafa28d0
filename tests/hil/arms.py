"""An arm on a virtual node, and Jobs for it without a planner: smooth motions that rest at both ends."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hil.driver import Driver
from hil.ports import free_port
from hil.rig import Rig
from twin.clock import Ns, S
from twin.factory import Factory, Machine, parse
from twin.kernel import Floats
from twin.machines.arm.plant import State
from twin.machines.arm.spec import JOINTS, Command
from twin.motion.arm import ArmOp, ArmOpKind, ArmPlan, Trajectory
from twin.motion.arm.job import encode
from twin.motion.arm.program import ArmProgram
from twin.node import JobState, NodeStatus, Op

INTERVAL = 0.008
PINS = ["i2s_clock = 26", "i2s_latch = 25", "i2s_data = 22", "motors = 19", "jaws_open = 18", "holding = 34", "tripped = 35"]
PINS += [f"{joint}_cam = {gpio}" for joint, gpio in zip(JOINTS, (32, 33, 36, 39, 13, 14), strict=True)]
ARM = """
[nodes.arm-1]
uid = {uid}
port = {port}
virtual = true

[machines.arm-1]
type = "arm"
cell = "shop"
node = "arm-1"
base = 256
pose = {pose}
pins = {{ {pins} }}
"""
SHOP = """
[factory]
name = "one-arm"
[cells.shop]
"""


def arm_text(uid: int = 1, pose: Sequence[float] = (0, 0, 0, 0, 0, 0)) -> str:
    """The arm's tables of a factory file, its node at a port that is free."""
    return ARM.format(uid=uid, port=free_port(), pose=list(pose), pins=", ".join(PINS))


def one_arm() -> Factory:
    """A factory of one arm on a virtual node."""
    return parse(SHOP + arm_text(), Path())


def home_of(machine: Machine) -> Floats:
    """(6,) where its joints stand after homing [rad]."""
    assert machine.type.limits is not None
    return np.array(machine.type.limits(machine.params).home)


class Way:
    """A plan as it grows, from the arm's home position."""

    def __init__(self, machine: Machine, start: Floats | None = None) -> None:
        self._machine = machine
        self._at = home_of(machine) if start is None else start
        self._q: list[Floats] = []
        self._qd: list[Floats] = []
        self._line: list[int] = []
        self._ops: list[ArmOp] = []
        self._number = 0
        if start is None:
            self.op(ArmOpKind.HOME)

    def op(self, kind: ArmOpKind, seconds: float = 0.0) -> "Way":
        self._number += 1
        self._ops.append(ArmOp(self._number, kind, len(self._q), seconds))
        return self

    def to(self, angles: Floats, seconds: float) -> "Way":
        """All joints to these angles [rad] along a curve without jolts."""
        self._number += 1
        u = np.linspace(0.0, 1.0, round(seconds / INTERVAL) + 1)
        share, rate = u**3 * (10 - 15 * u + 6 * u * u), 30 * (u * (1 - u)) ** 2 / (INTERVAL * (len(u) - 1))
        first = 0 if not self._q or (self._ops and self._ops[-1].before == len(self._q)) else 1
        self._q += list(self._at + np.outer(share, angles - self._at))[first:]
        self._qd += list(np.outer(rate, angles - self._at))[first:]
        self._line += [self._number] * (len(u) - first)
        self._at = angles
        return self

    @property
    def plan(self) -> ArmPlan:
        count = len(self._q)
        q, qd = np.array(self._q).reshape(count, 6), np.array(self._qd).reshape(count, 6)
        way = Trajectory(np.arange(count) * INTERVAL, q, qd, np.zeros_like(q), np.array(self._line, np.int64), INTERVAL)
        return ArmPlan(ArmProgram((), (), self._number), way, tuple(self._ops), np.zeros((0, 2), np.int64), (), count * INTERVAL)

    @property
    def job(self) -> bytes:
        kind, params = self._machine.type, self._machine.params
        assert kind.limits is not None and kind.steps is not None
        return encode(self.plan, kind.limits(params), kind.steps(params))


class Played:
    """A rig with an arm, and a driver that has given it a Job and said go."""

    def __init__(self, rig: Rig, job: bytes, number: int = 7) -> None:
        self.rig, self.driver = rig, Driver.of(rig, "arm-1")
        self.driver.until(lambda: self.driver.status is not None and self.driver.status.leased, Ns(5 * S))
        self.play(job, number)

    def play(self, job: bytes, number: int) -> None:
        """Carry a Job there and start it."""
        self.driver.load(number, job)
        self.driver.until(lambda: self.driver.stored, Ns(60 * S))
        self.driver.commands["arm-1"] = Command(run=True)
        self.driver.op(Op.START, number)
        self.driver.until(lambda: self.node.job_id == number and self.node.job_state is not JobState.NONE, Ns(2 * S))

    @property
    def node(self) -> NodeStatus:
        status = self.driver.status
        assert status is not None, "the node has not been heard"
        return status

    @property
    def state(self) -> State:
        """The arm's plant."""
        state: State = self.rig.world.state.states["arm-1"]
        return state

    def ended(self, within: float = 60.0) -> JobState:
        """Let the Job come to its end; how it ended."""
        self.driver.until(lambda: self.node.job_state in (JobState.DONE, JobState.ABORTED), Ns(round(within * S)))
        return self.node.job_state
