"""The numeric search of one robot: what twin.kinematics.parts.inverse is given."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from twin.kernel import Floats
from twin.kinematics.inverse.geometry import chain
from twin.kinematics.kernels import Kernel, kernels
from twin.kinematics.robot import Robot

# An attempt begins at the place most like the goal among so many, each attempt with places of its own.
_BLOCK = 16
_ATTEMPTS = 256
_BASES = (2, 3, 5, 7, 11, 13, 17, 19)


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Finds joints of any chain, one set a pose.

    Attributes:
        find, go_on: the compiled search, for poses by themselves and for a path.
        joints: (n, 5) lower limit, upper limit, 1 where a whole turn fits between them, middle, 1 where revolute.
        table: (a, n) where attempts begin: a fixed sequence that fills the space between the limits evenly.
        known: (13, a) the flange there, as the part wants it.
        metre: how much a metre counts against a radian.
    """

    find: Kernel
    go_on: Kernel
    joints: Floats
    table: Floats
    known: Floats
    metre: float

    def solve(self, poses: Floats, starts: Floats | None, tolerance: float, joints: Floats, off: Floats) -> None:
        """Joints for (N, 4, 4) flange poses.

        Args:
            starts: (N, n) joints within limits where the first attempt begins.
            tolerance: error in place [m] and turn [rad] that is good enough.
            joints: (N, n) the best found, within limits, overwritten.
            off: (N,) the larger of their errors, overwritten: above the tolerance where the search failed.
        """
        first = np.zeros((0, len(self.joints))) if starts is None else starts
        settings = np.array([tolerance, _ATTEMPTS, _BLOCK, self.metre])
        self.find(poses, first, self.joints, self.table, self.known, settings, joints, off)

    def follow(self, poses: Floats, start: Floats, tolerance: float, jump: float, joints: Floats) -> int:
        """Joints along a path of (N, 4, 4) poses, each from those before and no further than `jump` from them.

        Args:
            start: (n,) before the first pose, within limits.
            joints: (N, n) overwritten up to where the path is lost.

        Returns:
            How many poses were followed: N, or the index of the first that was not.
        """
        settings = np.array([tolerance, 1.0, _BLOCK, self.metre])
        return int(self.go_on(poses, start, self.joints, self.table, self.known, settings, jump, joints))


@lru_cache(maxsize=16)
def search(robot: Robot) -> Search:
    """The search of a robot, the same for the same robot."""
    axes = chain(robot)
    endless = (axes.turning > 0.0) & (axes.high - axes.low >= 2.0 * math.pi)
    half = np.where(endless, math.pi, (np.minimum(axes.high, 1e9) - np.maximum(axes.low, -1e9)) / 2.0)
    table = axes.middle + half * (2.0 * _halton(_ATTEMPTS * _BLOCK, axes.low.size) - 1.0)
    metre = 1.0 / max(axes.reach, 1e-3)
    return Search(
        find=kernels(robot).find_joints,
        go_on=kernels(robot).follow_poses,
        joints=np.column_stack((axes.low, axes.high, endless, axes.middle, axes.turning)),
        table=table,
        known=_known(axes.poses(table), metre),
        metre=metre,
    )


def _known(poses: Floats, metre: float) -> Floats:
    """(13, a) poses so that a product with another tells how alike they are."""
    known = np.empty((13, len(poses)))
    known[:12] = poses[:, :3].reshape(len(poses), 12).T
    known[12] = -(metre**2) * (poses[:, :3, 3] ** 2).sum(axis=1) / 2.0
    known[[3, 7, 11]] *= metre**2
    return known


def _halton(count: int, width: int) -> Floats:
    """(count, width) numbers in 0 … 1: whole numbers written in another base per column, mirrored at the point."""
    columns = np.empty((count, width))
    for column, base in enumerate(_BASES[:width]):
        rest, share, value = np.arange(1, count + 1), 1.0, np.zeros(count)
        while rest.any():
            share /= base
            value += share * (rest % base)
            rest //= base
        columns[:, column] = value
    return columns
