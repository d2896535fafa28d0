"""What an arm's plan consists of: samples of its joints, and the operations between them."""

from dataclasses import dataclass

import numpy as np

from twin.kernel import Floats, Ints
from twin.motion.arm.program import ArmOp, ArmProgram
from twin.motion.findings import Refusal


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Joints over motion time, sampled evenly; time stands still during operations. SI: rad, or m of a prismatic joint.

    Attributes:
        time: (k,) [s], whole multiples of `interval` from 0.
        q, qd, qdd: (k, n) angles, speeds and accelerations of the joints.
        line: (k,) program line of the move that leads to the sample.
        interval: between samples [s].
    """

    time: Floats
    q: Floats
    qd: Floats
    qdd: Floats
    line: Ints
    interval: float

    def __len__(self) -> int:
        return len(self.time)

    @property
    def duration(self) -> float:
        """Seconds from the first sample to the last."""
        return float(self.time[-1] - self.time[0]) if len(self) else 0.0

    @property
    def axes(self) -> int:
        return int(self.q.shape[1])


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """A program planned under limits. It becomes a Job only if nothing was refused.

    Attributes:
        program: what was planned.
        trajectory: empty where something was refused.
        ops: the program's, each with `before` as the index of the first sample after it. The arm rests at the samples
            before - 1 and before, and stands at the same place at both, save for HOME: after it the joints stand at the
            limits' home.
        runs: (r, 2) first sample and one past the last of each stretch of motion without an operation inside.
        refusals: why there is no Job.
        duration_s: motion and waits; grip, release and home not counted.
    """

    program: ArmProgram
    trajectory: Trajectory
    ops: tuple[ArmOp, ...]
    runs: Ints
    refusals: tuple[Refusal, ...]
    duration_s: float

    @property
    def lines(self) -> int:
        """How many lines the program has."""
        return self.program.lines


def empty(axes: int, interval: float) -> Trajectory:
    """A trajectory without samples."""
    none = np.empty((0, axes))
    return Trajectory(np.empty(0), none, none.copy(), none.copy(), np.empty(0, np.int64), interval)
