"""Distances of a robot's capsules from each other and from boxes and planes, and along a path.

Bodies are rows of numbers in metres. A capsule in its link's frame or in the base frame: start, end, radius (7). A box:
centre, half lengths, rotation row by row (15). A plane: normal into the free side, offset (4). A pair names two of them:
its kind, the row of a capsule, and the row of the second body. Distances are below 0 where the bodies overlap, by as much
as one would have to be moved to part them.
"""

import numpy as np

from twin.kernel import Floats, Ints, kernel
from twin.kinematics.parts.core import AXES, frames_of

CAPSULE, BOX, PLANE = 0, 1, 2
MOST_PIECES = 4096
"""Into how many pieces the path between two samples is cut at most."""
_TINY = 1e-300

Triple = tuple[float, float, float]
Bodies = tuple[Floats, Ints, Floats, Floats, Ints]
"""Capsules (k, 7), the link of each (k,), boxes (b, 15), planes (p, 4), pairs (m, 3)."""


@kernel
def _share(numerator: float, denominator: float) -> float:
    """A quotient kept within 0 to 1; 0 for 0/0."""
    return min(max(numerator / max(denominator, _TINY), 0.0), 1.0)


@kernel
def between_capsules(at: Floats, i: int, j: int) -> float:
    """Distance of two capsules, rows of `at`: of their axes, less both radii.

    Axes within 1e-8 of parallel that all but touch may be found 1e-8 of their length apart; else it is exact to rounding.
    """
    ux, uy, uz = at[i, 3] - at[i, 0], at[i, 4] - at[i, 1], at[i, 5] - at[i, 2]
    vx, vy, vz = at[j, 3] - at[j, 0], at[j, 4] - at[j, 1], at[j, 5] - at[j, 2]
    wx, wy, wz = at[i, 0] - at[j, 0], at[i, 1] - at[j, 1], at[i, 2] - at[j, 2]
    uu, vv, uv = ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz, ux * vx + uy * vy + uz * vz
    uw, vw = ux * wx + uy * wy + uz * wz, vx * wx + vy * wy + vz * wz
    # The nearest point of the second axis to a good point of the first is nearest of all, once the first follows it
    # again: where the axes are parallel any first guess will do, so nothing needs to branch.
    s = _share(uv * vw - uw * vv, uu * vv - uv * uv)
    t = _share(uv * s + vw, vv)
    s = _share(uv * t - uw, uu)
    x, y, z = wx + s * ux - t * vx, wy + s * uy - t * vy, wz + s * uz - t * vz
    return float(np.sqrt(x * x + y * y + z * z) - at[i, 6] - at[j, 6])


@kernel
def _over(value: float, half: float) -> float:
    """How far a coordinate lies beyond -half to half, with its sign."""
    return value - min(max(value, -half), half)


@kernel
def _slope(p: Triple, d: Triple, half: Triple, t: float) -> float:
    """Half the derivative, at p + t d, of the squared distance from a box about the origin: it never falls as t grows."""
    x, y, z = _over(p[0] + t * d[0], half[0]), _over(p[1] + t * d[1], half[1]), _over(p[2] + t * d[2], half[2])
    return d[0] * x + d[1] * y + d[2] * z


@kernel
def _nearest_to_box(p: Triple, d: Triple, half: Triple) -> float:
    """Share t of the segment p + t d where it is nearest to a box about the origin.

    The slope is a polygon with corners where the segment crosses the planes of the faces, so between the two
    corners around its root the root is where a straight line says.
    """
    low, at_low = 0.0, _slope(p, d, half, 0.0)
    high, at_high = 1.0, _slope(p, d, half, 1.0)
    if at_low >= 0.0 or at_high <= 0.0:
        return 0.0 if at_low >= 0.0 else 1.0
    for axis in range(3):
        for side in (-half[axis], half[axis]):
            t = (side - p[axis]) / d[axis] if d[axis] != 0.0 else 0.0
            if low < t < high:
                slope = _slope(p, d, half, t)
                if slope <= 0.0:
                    low, at_low = t, slope
                else:
                    high, at_high = t, slope
    return low - at_low * (high - low) / (at_high - at_low)


@kernel
def _depth_in_box(p: Triple, d: Triple, half: Triple) -> float:
    """How far a segment that meets a box must move to leave it, as a number that is not above 0.

    Segment and box overlap by the least of what they do along the normals of their difference's faces: the box's axes
    and what is square to one of them and to the segment.
    """
    depth = -np.inf
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        depth = max(depth, abs(p[a] + d[a] / 2) - half[a] - abs(d[a]) / 2)
        length = np.sqrt(d[b] * d[b] + d[c] * d[c])
        if length > 0.0:
            apart = abs((p[b] + d[b] / 2) * d[c] - (p[c] + d[c] / 2) * d[b])
            depth = max(depth, (apart - half[b] * abs(d[c]) - half[c] * abs(d[b])) / length)
    return min(depth, 0.0)


@kernel
def _in_box(box: Floats, x: float, y: float, z: float) -> Triple:
    """A vector in the axes of a box."""
    return (
        box[6] * x + box[9] * y + box[12] * z,
        box[7] * x + box[10] * y + box[13] * z,
        box[8] * x + box[11] * y + box[14] * z,
    )


@kernel
def from_box(at: Floats, i: int, box: Floats) -> float:
    """Distance of a capsule, row i of `at`, from a box."""
    p = _in_box(box, at[i, 0] - box[0], at[i, 1] - box[1], at[i, 2] - box[2])
    d = _in_box(box, at[i, 3] - at[i, 0], at[i, 4] - at[i, 1], at[i, 5] - at[i, 2])
    half = (box[3], box[4], box[5])
    t = _nearest_to_box(p, d, half)
    x, y, z = _over(p[0] + t * d[0], half[0]), _over(p[1] + t * d[1], half[1]), _over(p[2] + t * d[2], half[2])
    square = x * x + y * y + z * z
    apart = np.sqrt(square) if square > 0.0 else _depth_in_box(p, d, half)
    return float(apart - at[i, 6])


@kernel
def from_plane(at: Floats, i: int, plane: Floats) -> float:
    """Distance of a capsule, row i of `at`, from a plane."""
    start = plane[0] * at[i, 0] + plane[1] * at[i, 1] + plane[2] * at[i, 2]
    end = plane[0] * at[i, 3] + plane[1] * at[i, 4] + plane[2] * at[i, 5]
    return float(min(start, end) - plane[3] - at[i, 6])


@kernel
def between(at: Floats, boxes: Floats, planes: Floats, pair: Ints) -> float:
    """Distance of the two bodies of a pair; `at` holds the capsules in the base frame."""
    if pair[0] == CAPSULE:
        return between_capsules(at, pair[1], pair[2])
    if pair[0] == BOX:
        return from_box(at, pair[1], boxes[pair[2]])
    return from_plane(at, pair[1], planes[pair[2]])


@kernel
def place_capsules(frames: Floats, capsules: Floats, links: Ints, at: Floats) -> None:
    """Capsules from their links' frames into the base frame.

    Args:
        frames: (n + 1, 12) of the links and the flange, 3x4 row by row.
        capsules: (k, 7). links: (k,) 0 for the base.
        at: (k, 7) overwritten.
    """
    for i in range(capsules.shape[0]):
        at[i] = capsules[i]
        if links[i] == 0:
            continue
        frame = frames[links[i] - 1]
        for point in (0, 3):
            x, y, z = capsules[i, point], capsules[i, point + 1], capsules[i, point + 2]
            for axis in range(3):
                k = 4 * axis
                at[i, point + axis] = frame[k] * x + frame[k + 1] * y + frame[k + 2] * z + frame[k + 3]


@kernel
def clearance(q: Floats, bodies: Bodies, out: Floats) -> None:
    """Distances of all pairs of bodies at one configuration.

    Args:
        q: (n,) [rad, m].
        out: (m,) [m], overwritten.
    """
    capsules, links, boxes, planes, pairs = bodies
    frames, at = np.empty((AXES + 1, 12)), np.empty(capsules.shape)
    frames_of(q, frames)
    place_capsules(frames, capsules, links, at)
    for pair in range(pairs.shape[0]):
        out[pair] = between(at, boxes, planes, pairs[pair])


@kernel
def clearances(q: Floats, bodies: Bodies, distance: Floats, which: Ints) -> None:
    """The smallest distance of all pairs at each of many configurations.

    Args:
        q: (N, n) [rad, m].
        distance: (N,) [m], which: (N,) the row of the pair; overwritten.
    """
    capsules, links, boxes, planes, pairs = bodies
    frames, at = np.empty((AXES + 1, 12)), np.empty(capsules.shape)
    for row in range(q.shape[0]):
        frames_of(q[row], frames)
        place_capsules(frames, capsules, links, at)
        distance[row], which[row] = np.inf, -1
        for pair in range(pairs.shape[0]):
            apart = between(at, boxes, planes, pairs[pair])
            if apart < distance[row]:
                distance[row], which[row] = apart, pair


@kernel
def _advance(first: Floats, last: Floats, moved: float, off: float, kept: float, start: float, end: float,
             pair: Ints, bodies: Bodies) -> tuple[float, float]:  # fmt: skip
    """Go along the straight way between two configurations, no further at a time than a pair is sure to keep apart.

    On a piece at whose ends a pair is d0 and d1 apart and on which its bodies move by s relative to each other, it
    is nowhere nearer than (d0 + d1 - s) / 2. So from d0 we may go on by s = d0 + kept, since d1 < kept is found there.

    Args:
        moved: bound of the relative motion on the whole way [m].
        off: how far the path may leave the straight way, at the bodies [m]; taken off every distance.
        kept: least distance that is kept at every configuration looked at [m].
        start, end: distances at `first` and `last` [m].

    Returns:
        The first distance below kept + off and the share of the way there; infinity and 1 where there is none; and 0
        where MOST_PIECES are not enough to know.
    """
    capsules, links, boxes, planes, _ = bodies
    frames, at, q = np.empty((AXES + 1, 12)), np.empty(capsules.shape), np.empty(AXES)
    share, apart = 0.0, start - off
    if apart + kept <= 0.0:
        return start, 0.0
    for _piece in range(MOST_PIECES):
        if apart + end - off > moved * (1.0 - share):
            return np.inf, 1.0
        share = min(share + (apart + kept) / moved, 1.0)
        for axis in range(AXES):
            q[axis] = first[axis] + share * (last[axis] - first[axis])
        frames_of(q, frames)
        place_capsules(frames, capsules, links, at)
        apart = between(at, boxes, planes, pair) - off
        if apart < kept:
            return apart + off, share
    return 0.0, share


@kernel
def sweep(q: Floats, bend: Floats, run: Ints, travel: Floats, kept: float, bodies: Bodies, worst: Floats) -> None:
    """Where a path brings two bodies nearer than they may be, at its samples and anywhere between.

    Args:
        q: (k, n) samples [rad, m].
        bend: (n,) how far each joint may leave the straight way between two samples [rad, m].
        run: (k,) 0, 1, …: samples with one number are judged together.
        travel: (m, n) how far a joint's motion moves the bodies of a pair relative to each other, at most [m/rad, m/m].
        kept: the least distance [m], above 0.
        worst: (runs, m, 3) of each run and pair the distance [m] that is too small by most, what it must be [m], and
            the sample, with the share of the way to it (2.5 lies between the samples 2 and 3); infinite distances
            where nothing is wrong. Overwritten.
    """
    pairs = bodies[4]
    worst[:, :, 0], worst[:, :, 1:] = np.inf, 0.0
    before, now = np.empty(pairs.shape[0]), np.empty(pairs.shape[0])
    for i in range(q.shape[0]):
        clearance(q[i], bodies, now)
        for pair in range(pairs.shape[0]):
            if not now[pair] >= kept:
                _note(worst[run[i], pair], now[pair], kept, i)
            elif i > 0 and before[pair] >= kept:
                moved, off = 0.0, 0.0
                for axis in range(AXES):
                    moved += travel[pair, axis] * abs(q[i, axis] - q[i - 1, axis])
                    off += travel[pair, axis] * bend[axis]
                if before[pair] + now[pair] - 2.0 * off > moved:
                    continue
                apart, share = _advance(q[i - 1], q[i], moved, off, kept, before[pair], now[pair], pairs[pair], bodies)
                if apart < kept + off:
                    _note(worst[run[i], pair], apart, kept + off, i - 1 + share)
        before, now = now, before


@kernel
def _note(worst: Floats, apart: float, needed: float, place: float) -> None:
    if apart - needed < worst[0] - worst[1]:
        worst[0], worst[1], worst[2] = apart, needed, place
