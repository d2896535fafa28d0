"""What planning asks of an arm's kinematics."""

from dataclasses import dataclass
from typing import Protocol

from twin.kernel import Floats


@dataclass(frozen=True, slots=True)
class Lost:
    """No joints were found for a pose.

    Attributes:
        index: of the pose, where there were several.
        cause: in words, such as "out of reach".
        joint, value, limit: where one joint is to blame.
    """

    index: int
    cause: str
    joint: str = ""
    value: float | None = None
    limit: float | None = None


class Reach(Protocol):
    """An arm's kinematics, base frame, SI."""

    def poses(self, q: Floats) -> Floats:
        """(k, 4, 4) the flange for joints (k, n)."""

    def nearest(self, pose: Floats, seed: Floats) -> Floats | Lost:
        """(n,) joints within their range at which the flange has a pose (4, 4), as near as possible to a seed (n,)."""

    def track(self, poses: Floats, start: Floats) -> Floats | Lost:
        """(k, n) joints within their range along flange poses (k, 4, 4), from a start (n,) that has the first of them."""

    def torques(self, q: Floats, qd: Floats, qdd: Floats) -> Floats:
        """(k, n) without friction, of (k, n) each [N m]."""
