"""The fastest way to an arm's distance from itself over many configurations: tiles, as in `twin.kinematics.parts.tiles`."""

from twin.kernel import Floats, kernel
from twin.kinematics.parts.core import self_distance_lanes


@kernel
def self_distance_tiles(q: Floats, out: Floats) -> None:
    """q (blocks, LANES n), out (blocks, LANES) [m]: of the capsules that could meet; infinite where there are none."""
    for b in range(q.shape[0]):
        self_distance_lanes(q[b], out[b])
