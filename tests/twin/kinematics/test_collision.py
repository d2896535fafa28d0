"""Distances of a whole arm from itself and from its surroundings, and along a path, held against Pinocchio and Coal."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.twin.kinematics.pinned import Scene, odd_chain
from twin.kinematics import collision
from twin.kinematics.generate.file import text
from twin.kinematics.kernels import Kernels, kernels, pack
from twin.kinematics.robot import Robot, rotation_of
from twin.kinematics.shapes import Box, Capsule, Plane, ShapeError, Surroundings
from twin.kinematics.ur5e import ur5e

POSES = 10_000
ROBOT = ur5e()
AROUND = Surroundings(
    boxes=(
        Box("printer", (0.55, 0.1, 0.15), (0.2, 0.25, 0.15)),
        Box("beam", (-0.3, 0.4, 0.6), (0.05, 0.4, 0.08), rotation_of(0.3, -0.5, 1.1)),
    ),
    capsules=(Capsule("post", 0, (0.1, -0.6, -0.2), (0.15, -0.55, 0.9), 0.04),),
    planes=(Plane("floor", (0.0, 0.0, 1.0), -0.25), Plane("wall", (0.0, 0.6, 0.8), -0.6)),
)
TOOL = (
    Capsule("jaw", 7, (0.0, 0.03, 0.02), (0.0, 0.03, 0.12), 0.015),
    Capsule("camera", 7, (0.05, 0, 0.02), (0.05, 0, 0.02), 0.03),
)
HOME = np.radians([0.0, -90.0, 90.0, -90.0, -90.0, 0.0])


@pytest.fixture(scope="module")
def arm() -> Kernels:
    return kernels(ROBOT)


def configurations(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (count, 6))


def test_the_smallest_distance_and_its_bodies_are_those_of_the_peers(arm: Kernels) -> None:
    scene, peer = collision.scene(ROBOT, AROUND, TOOL), Scene(ROBOT, AROUND, TOOL)
    assert {frozenset(pair) for pair in scene.names} == set(peer.names) and len(scene.names) == len(peer.names)
    q = configurations(1, POSES)
    found, which = collision.clearances(arm, scene, q)
    pairs = [peer.nearest(row) for row in q]
    peers = np.array([distance for distance, _ in pairs])
    assert (peers < 0).mean() > 0.2 and (peers > 0.02).mean() > 0.1
    np.testing.assert_allclose(found, peers, rtol=0, atol=2e-6)
    order = [peer.names.index(frozenset(pair)) for pair in scene.names]
    for row, at, (distance, _) in list(zip(q, which, pairs, strict=True))[::10]:
        assert peer.distances(row)[order[at]] == pytest.approx(distance, abs=2e-6)


def test_every_pair_is_as_far_apart_as_the_peers_say(arm: Kernels) -> None:
    scene, peer = collision.scene(ROBOT, AROUND, TOOL), Scene(ROBOT, AROUND, TOOL)
    order = [peer.names.index(frozenset(pair)) for pair in scene.names]
    out = np.empty(len(order))
    for q in configurations(2, 300):
        arm.clearance(q, scene.bodies, out)
        np.testing.assert_allclose(out, peer.distances(q)[order], rtol=0, atol=2e-6)


@pytest.mark.parametrize("moving_only", [False, True])
def test_tiles_give_the_distance_of_the_arm_from_itself(moving_only: bool) -> None:
    robot = replace(ROBOT, capsules=ROBOT.capsules[1:]) if moving_only else ROBOT
    q, out = configurations(3, 640), np.empty((10, 64))
    kernels(robot).self_distance_tiles(pack(q), out)
    peer = Scene(robot)
    np.testing.assert_allclose(out.ravel(), [peer.nearest(row)[0] for row in q], rtol=0, atol=1e-12)


def test_what_is_written_for_a_chain_of_any_joints_and_capsules_is_right_as_it_stands() -> None:
    """The generated source, run as plain Python; one capsule is a sphere, one is the base's, one the flange's."""
    odd = odd_chain()
    robot = replace(odd, capsules=(*odd.capsules, Capsule("ball", 5, (0.1, 0.2, 0.3), (0.1, 0.2, 0.3), 0.05)))
    q, peer, out = np.random.default_rng(12).uniform(-2, 2, (64, robot.axes)), Scene(robot), np.empty(64)
    written(robot)(pack(q)[0], out)
    np.testing.assert_allclose(out, [peer.nearest(row)[0] for row in q], rtol=0, atol=1e-12)
    written(replace(robot, capsules=robot.capsules[:1]))(pack(q)[0], out)
    assert np.isinf(out).all()


def written(robot: Robot) -> Callable[[np.ndarray, np.ndarray], None]:
    source = text(robot, "test", ("self_distance_lanes",), "")
    names: dict[str, Any] = {}
    plain = "Floats = Ints = Words = None\ninlined = kernel = lambda function: function\n"
    exec(re.sub("from twin.kernel import .*\n", plain, source), names)
    return names["self_distance_lanes"]


def test_the_arm_keeps_from_itself_at_home_and_meets_itself_when_it_folds(arm: Kernels) -> None:
    scene = collision.scene(ROBOT)
    assert collision.distance(arm, scene, HOME).distance > 0.02
    folded = HOME.copy()
    folded[2] = np.radians(175)
    found = collision.distance(arm, scene, folded)
    assert found.distance < 0 and "upper_arm" in found.bodies
    for pair in range(len(scene.names)):
        apart = min_over(arm, scene, pair)
        assert apart > 0.01, f"{scene.names[pair]} always meet"


def min_over(arm: Kernels, scene: collision.Scene, pair: int) -> float:
    """The largest distance of a pair over some configurations."""
    out, best = np.empty(len(scene.names)), -np.inf
    for q in configurations(4, 200):
        arm.clearance(q, scene.bodies, out)
        best = max(best, out[pair])
    return best


@pytest.mark.parametrize("robot", [ROBOT, odd_chain()], ids=["ur5e", "odd"])
def test_no_body_moves_further_than_its_levers_allow(robot: Robot) -> None:
    """The bound that the sweep rests on, against poses of the peer."""
    tool = (Capsule("jaw", robot.axes + 1, (0.0, 0.03, 0.02), (0.0, 0.03, 0.12), 0.015),)
    scene, peer = collision.scene(robot, AROUND, tool), Scene(robot, AROUND, tool)
    order, dice = [peer.names.index(frozenset(pair)) for pair in scene.names], np.random.default_rng(5)
    for q in dice.uniform(-1.6, 1.6, (300, robot.axes)):
        step = dice.normal(size=robot.axes) * dice.choice([0.0, 0.02, 0.1], size=robot.axes)
        change = np.abs(peer.distances(q + step) - peer.distances(q))[order]
        assert (change <= scene.travel @ np.abs(step) + 4e-6).all()


def path_between(start: np.ndarray, end: np.ndarray, count: int) -> np.ndarray:
    return start + np.linspace(0, 1, count)[:, None] * (end - start)


@pytest.mark.parametrize("count", [2, 3, 20])
def test_nothing_slips_through_between_samples_however_far_apart_they_are(arm: Kernels, count: int) -> None:
    scene, peer = collision.scene(ROBOT, AROUND, TOOL), Scene(ROBOT, AROUND, TOOL)
    hits = misses = thin = 0
    for seed in range(120):
        q0, q1 = configurations(100 + seed, 2)
        q1 = q0 + 0.35 * (q1 - q0)
        path = path_between(q0, q1, count)
        dense = min(peer.nearest(row)[0] for row in path_between(q0, q1, 400))
        samples = min(peer.nearest(row)[0] for row in path)
        found = collision.sweep(arm, scene, path, np.zeros(6))
        if dense < 0:
            hits += 1
            thin += samples > collision.KEPT
            assert found, f"seed {seed}: {dense} m was not found"
        elif dense > collision.KEPT:
            misses += 1
            assert not found, f"seed {seed}: {dense} m is kept, found {found}"
    assert hits > 20 and misses > 10 and (thin > 3 or count > 2)


def test_a_needle_that_passes_a_needle_between_two_samples_is_found(arm: Kernels) -> None:
    """Both are 4 mm thick, the way between is up to a metre long, and nothing else is near at its ends."""
    needle = Capsule("needle", 7, (0.0, 0.0, 0.0), (0.0, 0.0, 0.1), 0.002)
    bare, dice, poses, met = replace(ROBOT, capsules=()), np.random.default_rng(10), np.empty((7, 4, 4)), 0
    for _ in range(100):
        q0 = np.array(HOME) + dice.uniform(-0.4, 0.4, 6)
        q1 = q0 + dice.uniform(-1.0, 1.0, 6)
        arm.link_poses(q0 + dice.uniform(0.2, 0.8) * (q1 - q0), poses)
        middle, way = poses[6] @ (0.0, 0.0, 0.05, 1.0), dice.normal(size=3)
        start, end = (tuple((middle[:3] + sign * 0.02 * way / np.linalg.norm(way)).tolist()) for sign in (-1, 1))
        around = Surroundings(capsules=(Capsule("other", 0, start, end, 0.002),))
        scene, path = collision.scene(bare, around, (needle,)), np.stack((q0, q1))
        if collision.clearances(arm, scene, path)[0].min() > 0.05:
            met += 1
            found = collision.sweep(arm, scene, path, np.zeros(6))
            assert [one.bodies for one in found] == [("needle", "other")]
    assert met > 50


def test_the_worst_place_of_each_run_is_named(arm: Kernels) -> None:
    scene = collision.scene(ROBOT, Surroundings(planes=(Plane("floor", (0.0, 0.0, 1.0), 0.02),)))
    down = HOME + np.radians([0, 75, 0, 0, 0, 0])
    path = np.concatenate((path_between(HOME, down, 40), path_between(down, HOME, 40)))
    run = np.repeat([0, 1], 40)
    found = [one for one in collision.sweep(arm, scene, path, np.zeros(6), run) if one.bodies == ("forearm", "floor")]
    assert [one.run for one in found] == [0, 1]
    assert 38 <= found[0].place <= 39 and 39 <= found[1].place <= 41
    assert found[0].distance == pytest.approx(found[1].distance) and found[0].distance < 0


def test_a_path_that_may_leave_the_straight_way_must_keep_further_from_everything(arm: Kernels) -> None:
    scene = collision.scene(ROBOT, Surroundings(planes=(Plane("floor", (0.0, 0.0, 1.0), 0.05),)))
    path = np.stack((HOME, HOME + np.array([0.0, 0.01, 0.0, 0.0, 0.0, 0.0])))
    assert not collision.sweep(arm, scene, path, np.full(6, 1e-3))
    found = collision.sweep(arm, scene, path, np.full(6, 0.1))
    assert found and all(one.needed > collision.KEPT + 0.05 for one in found)


def test_numbers_that_are_none_are_not_swept(arm: Kernels) -> None:
    scene, path = collision.scene(ROBOT), np.stack((HOME, HOME))
    path[1, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        collision.sweep(arm, scene, path, np.zeros(6))
    with pytest.raises(ValueError, match="above 0"):
        collision.sweep(arm, scene, path[:1], np.zeros(6), kept=0.0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda arm, scene: collision.distance(arm, scene, HOME[:5]), r"q of shape \(1, 5\) must be \(1, 6\)"),
        (lambda arm, scene: collision.distance(arm, scene, np.stack((HOME, HOME))), r"q of shape \(1, 2, 6\) must be"),
        (lambda arm, scene: collision.clearances(arm, scene, np.zeros((3, 7))), r"q of shape \(3, 7\) must be \(3, 6\)"),
        (
            lambda arm, scene: collision.clearances(arm, collision.scene(odd_chain()), np.zeros((3, 6))),
            "the scene's travel of shape",
        ),
        (lambda arm, scene: collision.sweep(arm, scene, HOME, np.zeros(6)), r"q of shape \(6,\) must be \(6, 6\)"),
        (lambda arm, scene: collision.sweep(arm, scene, np.zeros((2, 5)), np.zeros(6)), r"q of shape \(2, 5\)"),
        (lambda arm, scene: collision.sweep(arm, scene, np.zeros((2, 6)), np.zeros(5)), r"bend of shape \(5,\) must be \(6,\)"),
        (lambda arm, scene: collision.sweep(arm, scene, np.zeros((2, 6)), np.full(6, -0.1)), "bend=-0.1, run=0 must be at least 0"),
        (
            lambda arm, scene: collision.sweep(arm, scene, np.zeros((2, 6)), np.zeros(6), np.zeros(1, np.int64)),
            r"run of shape \(1,\) must be \(2,\)",
        ),
        (
            lambda arm, scene: collision.sweep(arm, scene, np.zeros((2, 6)), np.zeros(6), np.array([-1, 0])),
            "bend=0, run=-1 must be at least 0",
        ),
    ],
)
def test_what_is_not_of_this_arms_width_is_refused_with_its_shape(
    arm: Kernels, asked: Callable[[Kernels, collision.Scene], object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        asked(arm, collision.scene(ROBOT, AROUND))


def test_the_same_path_gives_the_same_bits(arm: Kernels) -> None:
    scene, path = collision.scene(ROBOT, AROUND, TOOL), configurations(9, 30)
    assert collision.sweep(arm, scene, path, np.zeros(6)) == collision.sweep(arm, scene, path.copy(), np.zeros(6))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Capsule("c", 0, (0, 0, 0), (0, 0, 1), 0.0), "c: radius=0"),
        (lambda: Capsule("c", -1, (0, 0, 0), (0, 0, 1), 0.1), "link=-1"),
        (lambda: Box("b", (0, 0, 0), (1, 0, 1)), "b: half="),
        (lambda: Box("b", (0, 0, 0), (1, 1, 1), (1, 0, 0, 0, 1, 0, 0, 0, -1)), "b: rotation="),
        (lambda: Box("b", (0, float("inf"), 0), (1, 1, 1)), "b: inf is not finite"),
        (lambda: Plane("p", (0, 0, 2), 0.0), "p: normal="),
        (lambda: Surroundings(capsules=(Capsule("c", 3, (0, 0, 0), (0, 0, 1), 0.1),)), "c: link=3"),
        (lambda: Surroundings(boxes=(Box("b", (0, 0, 0), (1, 1, 1)),), planes=(Plane("b", (0, 0, 1), 0.0),)), "twice: b"),
        (lambda: collision.scene(ROBOT, None, (Capsule("jaw", 6, (0, 0, 0), (0, 0, 1), 0.1),)), "jaw: link=6"),
    ],
)
def test_shapes_that_are_none_are_named_with_value_and_limit(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ShapeError, match=said.replace("(", r"\(")):
        make()
