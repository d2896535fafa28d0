"""From any state of motion to any other, the axes in step, jerk limited: online, one at a time.

A move between rests in a plan or a batch is `twin.motion.arm.profile`'s; ADR 0011 says why there are two.
"""

from dataclasses import dataclass

import numpy as np
import ruckig

from twin.kernel import Floats
from twin.motion.arm.limits import ArmLimits
from twin.motion.limits import JobError


@dataclass(frozen=True, slots=True)
class State:
    """Angles, speeds and accelerations of the joints, each (n,) [rad, rad/s, rad/s²; m for prismatic joints]."""

    q: Floats
    qd: Floats
    qdd: Floats


def resting(q: Floats) -> State:
    """At rest at joint angles (n,)."""
    return State(q, np.zeros(len(q)), np.zeros(len(q)))


class Travel:
    """The quickest motion from one state to another; `duration` [s]."""

    def __init__(self, found: ruckig.Trajectory, start: State, target: State) -> None:
        self.duration = float(found.duration)
        self._found, self._start, self._target = found, start, target

    def at(self, time: float) -> State:
        """The state at a time [s]; the start before the motion, exactly the target from its end on."""
        if time >= self.duration:
            return self._target
        if time <= 0.0:
            return self._start
        q, qd, qdd = self._found.at_time(time)
        return State(np.array(q), np.array(qd), np.array(qdd))


def travel(start: State, target: State, limits: ArmLimits, share: float = 1.0) -> Travel:
    """The quickest motion between two states.

    A start beyond a limit is brought within it first, as fast as the limits allow. The range of the joints is not looked at:
    coming from a speed, a joint may pass its target and return.

    Args:
        share: of the speed limits, above 0 and at most 1.

    Raises:
        JobError: a number is not finite, the share leaves no speed, or the target lies beyond a limit.
    """
    if not 0.0 < share <= 1.0:
        limit = 1.0 if share > 1.0 else 0.0
        raise JobError(f"a share of {share:g} of the speed must be above 0 and at most 1", 0, "", share, limit)
    joints = limits.robot.joints
    asked = ruckig.InputParameter(limits.robot.axes)
    asked.current_position, asked.current_velocity, asked.current_acceleration = start.q, start.qd, start.qdd
    asked.target_position, asked.target_velocity, asked.target_acceleration = target.q, target.qd, target.qdd
    asked.max_velocity, asked.max_acceleration, asked.max_jerk = limits.speed * share, limits.acceleration, limits.jerk
    for state in (start, target):
        if not all(np.isfinite(values).all() for values in (state.q, state.qd, state.qdd)):
            raise JobError("a state of motion holds a number that is not finite")
    for name, values, most in (("speed", target.qd, asked.max_velocity), ("acceleration", target.qdd, asked.max_acceleration)):
        for axis in np.flatnonzero(np.abs(values) > np.array(most)):
            text = f"{joints[axis].name} can't arrive with a {name} of {values[axis]:g}, above {most[axis]:g}"
            raise JobError(text, 0, joints[axis].name, float(values[axis]), float(most[axis]))
    found = ruckig.Trajectory(limits.robot.axes)
    result = ruckig.Ruckig(limits.robot.axes).calculate(asked, found)
    if result != ruckig.Result.Working:
        raise JobError(f"no motion leads to the target: {result.name}")
    return Travel(found, start, target)
