"""The arm's distance from itself: ten pairs of capsules, with the forward kinematics they need."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pinocchio as pin

from tests.bench.pairs import Row, paired
from tests.twin.kinematics.pinned import Scene
from twin.kernel import Floats
from twin.kinematics import collision
from twin.kinematics.kernels import kernels, pack
from twin.kinematics.ur5e import ur5e

ARM = ur5e()
PEER = "pin.computeDistances + coal"
CACHE, MEMORY = 1024, 1_000_000
PEER_CONFIGURATIONS = 2048


def _configurations(count: int) -> Floats:
    return np.random.default_rng(7).uniform(-np.pi, np.pi, (count, ARM.axes))


def _peer(scene: Scene, q: Floats) -> Callable[[], None]:
    """The peer has no batch for distances, so its loop is Python's: about a tenth of its time."""
    model, data, geometry, found, rows = scene.model, scene.data, scene.geometry, scene.found, list(q)

    def run() -> None:
        for row in rows:
            pin.computeDistances(model, data, geometry, found, row)

    return run


def self_distance(count: int) -> Row:
    """The smallest distance of ten pairs; error: largest difference [m]."""
    arm = replace(ARM, capsules=tuple(capsule for capsule in ARM.capsules if capsule.link > 0))
    assert len(collision.pairs(arm)) == 10
    q = _configurations(count)
    tiles, out, tile_kernel = pack(q), np.empty((-(-count // 64), 64)), kernels(arm).self_distance_tiles
    scene = Scene(arm)
    some = q[:PEER_CONFIGURATIONS]
    pair = paired(lambda: tile_kernel(tiles, out), _peer(scene, some))
    error = float(np.abs(out.ravel()[: len(some)] - [scene.nearest(row)[0] for row in some]).max())
    return _row(
        pair.ours / count, pair.peer / len(some), pair.ratio * count / len(some), error, "self-distance of 10 capsule pairs"
    )


def everything() -> Row:
    """All pairs of an arm, its gripper, three boxes, a post and a floor, one configuration after the other."""
    from tests.bench.kinematics.checks import SITE

    ours, peer = collision.scene(ARM, SITE.surroundings, SITE.tool), Scene(ARM, SITE.surroundings, SITE.tool)
    q, found, which = _configurations(PEER_CONFIGURATIONS), np.empty(PEER_CONFIGURATIONS), np.empty(PEER_CONFIGURATIONS, np.int64)
    rows_kernel = kernels(ARM).clearances
    pair = paired(lambda: rows_kernel(q, ours.bodies, found, which), _peer(peer, q))
    error = float(np.abs(found - [peer.nearest(row)[0] for row in q]).max())
    return _row(
        pair.ours / len(q), pair.peer / len(q), pair.ratio, error, f"{len(ours.names)} pairs, capsules, boxes, planes", None
    )


def _row(ours: float, peer: float, ratio: float, error: float, about: str, least: float | None = 30.0) -> Row:
    aim = 2 * least if least else None
    return Row(ours * 1e9, peer * 1e9, PEER, ratio, error, "ns", least, aim, f"{about}, with forward kinematics; error [m]")


METRICS = (
    ("collision", lambda: self_distance(CACHE)),
    ("collision: memory", lambda: self_distance(MEMORY)),
    ("collision: surroundings", everything),
)
