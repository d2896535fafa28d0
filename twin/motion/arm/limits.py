"""What an arm's plan must keep to."""

import math
from dataclasses import dataclass

import numpy as np

from twin.kernel import Floats
from twin.kinematics.robot import Robot
from twin.motion.limits import JobError

_SHORTEST, _LONGEST = 1e-4, 1.0  # s from one sample to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLimits:
    """An arm's limits; range, speed and effort of its joints are the robot's. SI: rad, or m of a prismatic joint.

    Attributes:
        acceleration: largest of each joint [rad/s²].
        jerk: largest of each joint [rad/s³].
        home: where the joints stand after `home` [rad].
        tool_speed, tool_acceleration: largest of the tool point on a line [m/s, m/s²].
        turn_speed, turn_acceleration: largest of the tool's rotation on a line [rad/s, rad/s²].
        interval: from one sample of a trajectory to the next [s].
    """

    robot: Robot
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]
    home: tuple[float, ...]
    tool_speed: float = 1.0
    tool_acceleration: float = 4.0
    turn_speed: float = 3.0
    turn_acceleration: float = 12.0
    interval: float = 0.008

    def __post_init__(self) -> None:
        for name in ("acceleration", "jerk", "home"):
            value = getattr(self, name)
            if len(value) != self.robot.axes:
                text = f"{name} has {len(value)} values; {self.robot.name} has {self.robot.axes} axes"
                raise JobError(text, 0, "", len(value), self.robot.axes)
        for joint, speed, acceleration, jerk in zip(self.robot.joints, self.speed, self.acceleration, self.jerk, strict=True):
            _above_nothing(joint.name, speed=float(speed), acceleration=acceleration, jerk=jerk)
        _above_nothing("", tool_speed=self.tool_speed, tool_acceleration=self.tool_acceleration,
                       turn_speed=self.turn_speed, turn_acceleration=self.turn_acceleration)  # fmt: skip
        if not _SHORTEST <= self.interval <= _LONGEST:
            limit = _SHORTEST if self.interval < _SHORTEST else _LONGEST
            raise JobError(f"interval={self.interval} s is not {_SHORTEST} to {_LONGEST:g}", 0, "", self.interval, limit)
        for joint, at in zip(self.robot.joints, self.home, strict=True):
            if not joint.low <= at <= joint.high:
                limit = joint.low if at < joint.low else joint.high
                raise JobError(f"home {joint.name}={at} lies outside {joint.low} to {joint.high}", 0, joint.name, at, limit)

    @property
    def low(self) -> Floats:
        """(n,) least joint angles; -inf where a joint turns without end."""
        return np.array([joint.low for joint in self.robot.joints])

    @property
    def high(self) -> Floats:
        """(n,) largest joint angles."""
        return np.array([joint.high for joint in self.robot.joints])

    @property
    def speed(self) -> Floats:
        """(n,) largest joint speeds."""
        return np.array([joint.speed for joint in self.robot.joints])

    @property
    def turn_arm(self) -> float:
        """Distance that counts as much as a radian: what the tool point may travel while the tool turns by one [m/rad]."""
        return self.tool_speed / self.turn_speed

    @property
    def effort(self) -> Floats:
        """(n,) largest joint torques [N m, N]."""
        return np.array([joint.effort for joint in self.robot.joints])


def _above_nothing(joint: str, **values: float) -> None:
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            of = f"{name} of {joint}" if joint else name
            raise JobError(f"{of} is {value:g}; it must be finite and above 0", 0, joint or name, value, 0.0)


def limits_of(robot: Robot, home: tuple[float, ...] | None = None) -> ArmLimits:
    """Limits for a robot whose maker names none for acceleration and jerk: full speed after 0.25 s, full acceleration after
    0.1 s. Without `home` the joints stand at 0 after homing, or at the end of their range that is nearest to it."""
    speed = [joint.speed for joint in robot.joints]
    return ArmLimits(
        robot=robot,
        acceleration=tuple(4.0 * value for value in speed),
        jerk=tuple(40.0 * value for value in speed),
        home=home or tuple(min(max(0.0, joint.low), joint.high) for joint in robot.joints),
    )
