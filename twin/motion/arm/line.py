"""Straight lines of the tool point with rounded corners, as one smooth path over a length of its own.

The length s of a line is that of its way, or, where the tool mostly turns, the angle times the distance that the tool point
may travel while it turns by a radian: so "ds/dt at most the largest speed" bounds both. Position goes along the line,
orientation turns evenly about one axis (slerp). Around a corner, over a length of twice its radius, the line before fades
out as the next fades in: the share w of the next one's derivative rises as 3u² - 2u³. Position, direction and curvature
have no jump, and |dp/ds| never exceeds 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from twin.kernel import Floats, Ints
from twin.kinematics.robot import rotation_of

STEP = 0.002  # m of length between the points at which a path is solved
_LEAST_PARTS = 8  # of a line or a corner, however short
_MOST_POINTS = 20_000
NOTHING = 1e-9  # m; a shorter line is rounding, not a move


@dataclass(frozen=True, slots=True)
class Lines:
    """c straight lines one after the other, with rounded corners between them.

    Attributes:
        position: (c + 1, 3) corners with both ends [m].
        rotation: (c + 1, 3, 3) orientations there.
        length: (c,) of each line [m].
        direction: (c, 3) dp/ds.
        turn: (c, 3) rotation vector over s, in the base frame [rad/m].
        move: (c,) index of the move that each line belongs to.
        radius: (c + 1,) length before and after a corner in which it is rounded; 0 at both ends.
    """

    position: Floats
    rotation: Floats
    length: Floats
    direction: Floats
    turn: Floats
    move: Ints
    radius: Floats

    @property
    def corner(self) -> Floats:
        """(c + 1,) s of the corners, unrounded."""
        return np.concatenate(([0.0], np.cumsum(self.length)))

    def grid(self, finer: int = 1) -> Floats:
        """(k,) points along the path at which it is solved, corners and ends of every rounding among them."""
        corner = self.corner
        edges = np.unique(np.concatenate((corner - self.radius, corner, corner + self.radius)))
        edges = edges[np.concatenate(([True], np.diff(edges) > NOTHING))]
        edges[-1] = corner[-1]
        step = max(STEP, float(corner[-1]) / _MOST_POINTS)
        pieces = [
            np.linspace(begin, end, finer * max(_LEAST_PARTS, int(np.ceil((end - begin) / step))), endpoint=False)
            for begin, end in pairwise(edges)
        ]
        return np.concatenate((*pieces, edges[-1:]))

    def line_at(self, s: Floats) -> Ints:
        """(k,) index into the moves, in whose order the lines are, at s (k,); a rounding belongs half to either."""
        return self.move[np.clip(np.searchsorted(self.corner, s, side="left") - 1, 0, len(self.length) - 1)]

    def poses(self, s: Floats) -> Floats:
        """(k, 4, 4) the tool's poses in the base frame at s (k,)."""
        out = np.zeros((len(s), 4, 4))
        out[:, 3, 3] = 1.0
        near, before, after = self._ways(s)
        last = len(self.length) - 1
        one, other = np.maximum(near - 1, 0), np.minimum(near, last)
        back, ahead = -before[:, None], after[:, None]
        out[:, :3, 3] = self.position[near] + back * self.direction[one] + ahead * self.direction[other]
        turned = rotations(back * self.turn[one]) @ rotations(ahead * self.turn[other])
        out[:, :3, :3] = turned @ self.rotation[near]
        return out

    def bend(self, s: Floats) -> tuple[Floats, Floats]:
        """(k,) sizes of d²p/ds² [1/m] and of the rotation's counterpart [rad/m²] at s (k,)."""
        near = self._nearest(s)
        radius = self.radius[near]
        inside = np.abs(s - self.corner[near]) < radius
        share = np.where(inside, (s - self.corner[near]) / np.where(inside, 2 * radius, 1.0) + 0.5, 0.0)
        rate = 6 * share * (1 - share) / np.where(inside, 2 * radius, 1.0)
        one, other = np.maximum(near - 1, 0), np.minimum(near, len(self.length) - 1)
        way = np.linalg.norm(self.direction[other] - self.direction[one], axis=1)
        turn = np.linalg.norm(self.turn[other] - self.turn[one], axis=1)
        # Two turns in one another also bend by their cross product, which differences of turns do not show.
        twist = np.linalg.norm(np.cross(self.turn[one], self.turn[other]), axis=1)
        return rate * way, rate * turn + np.where(inside, twist, 0.0)

    def _nearest(self, s: Floats) -> Ints:
        corner = self.corner
        return np.searchsorted((corner[1:] + corner[:-1]) / 2, s, side="left")

    def _ways(self, s: Floats) -> tuple[Ints, Floats, Floats]:
        """The nearest corner, and how far back from it on the line before and ahead on the line after."""
        near = self._nearest(s)
        along = s - self.corner[near]
        radius = self.radius[near]
        before, after = np.maximum(-along, 0.0), np.maximum(along, 0.0)
        inside = np.abs(along) < radius
        u = np.where(inside, along / np.where(inside, 2 * radius, 1.0) + 0.5, 0.0)
        before = np.where(inside, radius * _faded(1 - u), before)
        after = np.where(inside, radius * _faded(u), after)
        return near, before, after


def lines(start: Floats, targets: Sequence[Floats], blends: Sequence[float], arm: float) -> Lines | None:
    """Straight lines from a pose through others; None where all are no longer than rounding.

    Args:
        start, targets: (4, 4) poses.
        blends: how far from each target the line may be left [m]; at most half of either line is given to a corner.
        arm: distance that counts as much as a radian [m/rad].
    """
    corners, moves, ways = [start], [], []
    for move, target in enumerate(targets):
        turn = rotation_vector(target[:3, :3] @ corners[-1][:3, :3].T)
        way = target[:3, 3] - corners[-1][:3, 3]
        length = max(float(np.linalg.norm(way)), arm * float(np.linalg.norm(turn)))
        if length > NOTHING:
            corners.append(target)
            moves.append(move)
            ways.append((length, way / length, turn / length))
    if not ways:
        return None
    lengths = np.array([length for length, _, _ in ways])
    radius = np.zeros(len(corners))
    allowed = np.array([blends[move] for move in moves[:-1]])
    # Where the tool mostly turns, its point goes less far than the length says.
    share = np.array([float(np.linalg.norm(way)) for _, way, _ in ways])
    allowed = allowed / np.maximum(np.maximum(share[:-1], share[1:]), 1e-6)
    radius[1:-1] = np.minimum(allowed, np.minimum(lengths[:-1], lengths[1:]) / 2)
    return Lines(
        position=np.stack([pose[:3, 3] for pose in corners]),
        rotation=np.stack([pose[:3, :3] for pose in corners]),
        length=lengths,
        direction=np.stack([way for _, way, _ in ways]),
        turn=np.stack([turn for _, _, turn in ways]),
        move=np.array(moves, dtype=np.int64),
        radius=radius,
    )


def pose_of(values: Sequence[float]) -> Floats:
    """(4, 4) from x, y, z [m] and roll, pitch, yaw [rad]."""
    pose = np.eye(4)
    pose[:3, 3] = values[:3]
    pose[:3, :3] = np.reshape(rotation_of(*values[3:6]), (3, 3))
    return pose


def rotations(vectors: Floats) -> Floats:
    """(k, 3, 3) rotations by rotation vectors (k, 3) [rad]."""
    angle = np.linalg.norm(vectors, axis=1)
    tiny = angle < 1e-6
    safe = np.where(tiny, 1.0, angle)
    sine = np.where(tiny, 1.0 - angle**2 / 6, np.sin(safe) / safe)
    versine = np.where(tiny, 0.5 - angle**2 / 24, 2 * np.sin(safe / 2) ** 2 / safe**2)
    cross = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -z, y, -x
    cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = z, -y, x
    return np.asarray(np.eye(3) + sine[:, None, None] * cross + versine[:, None, None] * (cross @ cross))


def rotation_vector(rotation: Floats) -> Floats:
    """(3,) axis times angle [rad] of a (3, 3) rotation, the angle at most π."""
    # The largest of the quaternion's four squares divides the others: no cancellation at any angle.
    r = rotation
    squares = np.array([1 + r[0, 0] + r[1, 1] + r[2, 2], 1 + r[0, 0] - r[1, 1] - r[2, 2],
                        1 - r[0, 0] + r[1, 1] - r[2, 2], 1 - r[0, 0] - r[1, 1] + r[2, 2]])  # fmt: skip
    rows = np.array([
        [squares[0], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
        [r[2, 1] - r[1, 2], squares[1], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
        [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], squares[2], r[1, 2] + r[2, 1]],
        [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], squares[3]],
    ])  # fmt: skip
    quaternion = rows[int(np.argmax(squares))]
    if quaternion[0] < 0:
        quaternion = -quaternion
    size = float(np.linalg.norm(quaternion[1:]))
    if size == 0.0:
        return np.zeros(3)
    return np.asarray(quaternion[1:] / size * (2 * np.arctan2(size, quaternion[0])))


def _faded(u: Floats) -> Floats:
    """Twice the integral of 3u² - 2u³: how much of a line has been gone, in radii."""
    return np.asarray(u**3 * (2 - u))
