"""Distances of capsules, boxes and planes, held against coal, a slow search and closed forms."""

import coal
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.kernel import Floats
from twin.kinematics.parts.collision import between_capsules, from_box, from_plane

POSES = 10_000
# Coal finds the distance from a box step by step and stops at a millionth.
COAL_STEPS = 2e-6


def rotations(random: np.random.Generator, count: int) -> Floats:
    """(count, 3, 3) evenly spread."""
    w, x, y, z = random.normal(size=(count, 4)).T
    n = np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / n, x / n, y / n, z / n
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def capsules(random: np.random.Generator, count: int) -> tuple[Floats, list[tuple[coal.Capsule, coal.Transform3s]]]:
    """(count, 7) and the same for coal; one in ten is a sphere."""
    turn, centre = rotations(random, count), random.uniform(-0.6, 0.6, (count, 3))
    length, radius = random.uniform(0.05, 0.8, count), random.uniform(0.02, 0.2, count)
    length[::10] = 0.0
    rows = np.empty((count, 7))
    half = turn[:, :, 2] * length[:, None] / 2
    rows[:, :3], rows[:, 3:6], rows[:, 6] = centre - half, centre + half, radius
    peers = [
        (
            coal.Capsule(radius[i], length[i]) if length[i] else coal.Sphere(radius[i]),
            coal.Transform3s(np.ascontiguousarray(turn[i]), centre[i]),
        )
        for i in range(count)
    ]
    return rows, peers


def peer_distance(one: tuple, other: tuple) -> float:
    return coal.distance(one[0], one[1], other[0], other[1], coal.DistanceRequest(), coal.DistanceResult())


def test_two_capsules_are_as_far_apart_as_coal_says() -> None:
    random = np.random.default_rng(1)
    one, peer_one = capsules(random, POSES)
    other, peer_other = capsules(random, POSES)
    ours = np.array([between_capsules(np.stack(pair), 0, 1) for pair in zip(one, other, strict=True)])
    peers = np.array([peer_distance(*pair) for pair in zip(peer_one, peer_other, strict=True)])
    assert (ours < -0.01).sum() > POSES / 20 and (ours > 0.01).sum() > POSES / 2
    np.testing.assert_allclose(ours, peers, rtol=0, atol=1e-9)


def test_a_capsule_is_as_far_from_a_box_as_coal_says_also_inside() -> None:
    random = np.random.default_rng(2)
    one, peer_one = capsules(random, POSES)
    turn, centre, half = rotations(random, POSES), random.uniform(-0.3, 0.3, (POSES, 3)), random.uniform(0.02, 0.4, (POSES, 3))
    turn[::7] = np.eye(3)
    boxes = np.column_stack((centre, half, turn.reshape(POSES, 9)))
    peers = [
        peer_distance(peer_one[i], (coal.Box(*(2 * half[i])), coal.Transform3s(np.ascontiguousarray(turn[i]), centre[i])))
        for i in range(POSES)
    ]
    ours = np.array([from_box(one[i : i + 1], 0, boxes[i]) for i in range(POSES)])
    assert (ours < -0.2).sum() > POSES / 50 and (ours > 0.01).sum() > POSES / 5
    np.testing.assert_allclose(ours, peers, rtol=0, atol=COAL_STEPS)


def test_a_capsule_is_as_far_from_a_plane_as_coal_says() -> None:
    random = np.random.default_rng(3)
    one, peer_one = capsules(random, POSES)
    normal, offset = rotations(random, POSES)[:, :, 0].copy(), random.uniform(-0.8, 0.3, POSES)
    here = coal.Transform3s()
    peers = [peer_distance(peer_one[i], (coal.Halfspace(normal[i], offset[i]), here)) for i in range(POSES)]
    ours = [from_plane(one[i : i + 1], 0, np.append(normal[i], offset[i])) for i in range(POSES)]
    np.testing.assert_allclose(ours, peers, rtol=0, atol=1e-9)


def test_the_distance_from_a_box_is_exact_where_a_search_finds_it() -> None:
    random = np.random.default_rng(4)
    rows, _ = capsules(random, 2000)
    half = random.uniform(0.02, 0.4, (2000, 3))

    def outside(share: Floats) -> Floats:
        point = rows[:, :3] + share[:, None] * (rows[:, 3:6] - rows[:, :3])
        return np.linalg.norm(np.maximum(np.abs(point) - half, 0.0), axis=1)

    low, high = np.zeros(2000), np.ones(2000)
    for _ in range(80):  # the distance of a point that goes straight falls, then rises
        first, second = low + (high - low) / 3, high - (high - low) / 3
        nearer = outside(first) < outside(second)
        low, high = np.where(nearer, low, first), np.where(nearer, second, high)
    searched = outside((low + high) / 2)
    boxes = np.column_stack((np.zeros((2000, 3)), half, np.tile(np.eye(3).ravel(), (2000, 1))))
    ours = np.array([from_box(rows[i : i + 1], 0, boxes[i]) for i in range(2000)]) + rows[:, 6]
    apart = searched > 1e-6
    assert apart.sum() > 500
    np.testing.assert_allclose(ours[apart], searched[apart], rtol=0, atol=1e-12)
    assert (ours[~apart] <= 1e-6).all()


numbers = st.floats(-1.0, 1.0, allow_subnormal=False)
points = st.tuples(numbers, numbers, numbers)


@given(points, points, points, st.floats(0.01, 0.3), st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))
def test_parallel_capsules_are_as_far_apart_as_their_axes(
    start: tuple[float, ...], way: tuple[float, ...], aside: tuple[float, ...], radius: float, first: float, last: float
) -> None:
    d, a = np.array(way), np.array(start)
    square = np.array(aside) - (np.dot(aside, d) / np.dot(d, d) * d if np.dot(d, d) > 1e-3 else np.array(aside))
    if np.dot(d, d) <= 1e-3:
        d = np.zeros(3)
    rows = np.array([[*a, *(a + d), radius], [*(a + square + first * d), *(a + square + last * d), radius]])
    beyond = max(0.0, min(first, last) - 1.0, -max(first, last)) * np.linalg.norm(d)
    assert between_capsules(rows, 0, 1) == pytest.approx(np.hypot(np.linalg.norm(square), beyond) - 2 * radius, abs=2e-8)
    assert between_capsules(rows, 1, 0) == pytest.approx(between_capsules(rows, 0, 1), abs=2e-8)


@given(points, points, st.tuples(*[st.floats(0.05, 0.5)] * 3))
def test_a_capsule_moved_out_of_a_box_by_its_depth_touches_it(
    start: tuple[float, ...], end: tuple[float, ...], half: tuple[float, ...]
) -> None:
    box = np.array([0.0, 0.0, 0.0, *half, *np.eye(3).ravel()])
    row = np.array([[*start, *end, 0.01]])
    depth = -(from_box(row, 0, box) + 0.01)
    if depth <= 1e-3:
        return
    d = np.subtract(end, start)
    ways = [*np.eye(3), *(np.cross(d, axis) for axis in np.eye(3))]
    found = []
    for way in (sign * way / np.linalg.norm(way) for way in ways if np.linalg.norm(way) > 1e-6 for sign in (1, -1)):
        moved = row + np.array([*(way * depth), *(way * depth), 0.0])
        found.append(from_box(moved, 0, box) + 0.01)
    assert max(found) == pytest.approx(0.0, abs=1e-7)
