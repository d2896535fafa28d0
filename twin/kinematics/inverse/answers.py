"""What a question for joints is answered with. There is always an answer, and every number in it is finite."""

from dataclasses import dataclass
from enum import StrEnum

from twin.kernel import Floats


class PoseError(ValueError):
    """A pose that is none: names the element, the value and the limit."""


class NoClosedForm(LookupError):
    """All solutions were asked of a chain that only a search knows."""


class Reason(StrEnum):
    """Why there are no joints for a pose."""

    REACH = "out of reach"
    LIMITS = "beyond a joint's limits"
    SEARCH = "not found by the search"
    JUMP = "not without a jump"


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The flange is where it should be.

    Attributes:
        joints: (n,) within their limits [rad or m].
        error: the larger of what is missing in place [m] and turn [rad].
    """

    joints: Floats
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Singular:
    """The flange is where it should be, but from there it cannot move every way.

    Attributes:
        joints, error: as of a Solution.
        idle: names of the joints that together can move while the flange stands still, or all but does.
    """

    joints: Floats
    error: float
    idle: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unreachable:
    """No joints put the flange there.

    Attributes:
        joints: (n,) the best that was found; for `Reason.LIMITS` they reach the pose, but not all are within limits.
        error: the larger of what these miss in place [m] and turn [rad].
        joint: the first one beyond its limits, else empty; its value and its limit [rad or m].
    """

    reason: Reason
    joints: Floats
    error: float
    joint: str = ""
    value: float = 0.0
    limit: float = 0.0

    def __str__(self) -> str:
        if self.joint:
            return f"{self.reason}: {self.joint} would be at {self.value:.6g}, its limit is {self.limit:.6g}"
        return f"{self.reason}: the nearest that was found misses by {self.error:.3g}"


Answer = Solution | Singular | Unreachable


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """Joints along a path of poses, (N, n), each near the one before."""

    joints: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """A path of poses that the joints cannot follow.

    Attributes:
        index: the first pose that has no joints near those of the pose before.
        joints: (index, n) up to there.
        joint, value, limit: as of Unreachable; for `Reason.JUMP` the joint that would have to jump the furthest, by how
            much, and what is allowed.
    """

    index: int
    reason: Reason
    joints: Floats
    joint: str = ""
    value: float = 0.0
    limit: float = 0.0

    def __str__(self) -> str:
        detail = f": {self.joint} {self.value:.6g}, its limit is {self.limit:.6g}" if self.joint else ""
        return f"pose {self.index}: {self.reason}{detail}"
