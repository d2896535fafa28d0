"""What stands in a factory, as its file declares it: floors and boxes, and the space of machines."""

from dataclasses import dataclass
from typing import Any

from twin.frames import Point, Pose
from twin.tables import Reader

FARTHEST = 1e4
"""m, as far as a factory reaches."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A box, or a floor: all that lies below a height.

    Attributes:
        pose: of the box's middle, in the factory's frame.
        size: of the box along its own axes [m]; None for a floor.
        height: of a floor [m].
    """

    name: str
    pose: Pose = (0.0,) * 6
    size: Point | None = None
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class Space:
    """A box that a machine takes up or moves in, in the machine's frame.

    Attributes:
        low, high: opposite corners [m].
        open: an arm may reach into it while it works at this machine, and never else.
    """

    name: str
    low: Point
    high: Point
    open: bool = False


def obstacle(reader: Reader, name: str, value: Any) -> Obstacle:
    """The obstacle of a table; every mistake is noted."""
    key = f"obstacles.{name}"
    table = reader.table(key, value, ("pose", "size", "floor"))
    if "floor" in table:
        for other in ("pose", "size"):
            if other in table:
                reader.wrong(f"{key}.{other}", "a floor has none")
        return Obstacle(name, height=reader.number(f"{key}.floor", table["floor"], -FARTHEST, FARTHEST))
    x, y, z = reader.numbers(f"{key}.size", table.get("size"), ("x", "y", "z"), 1e-6, FARTHEST)
    return Obstacle(name, pose(reader, f"{key}.pose", table.get("pose", [0] * 6)), (x, y, z))


def space(reader: Reader, key: str, value: Any) -> tuple[Space, ...]:
    """The spaces of a machine's list of tables; every mistake is noted."""
    found = tuple(_space(reader, f"{key}[{i}]", one) for i, one in enumerate(reader.tables(key, value)))
    names = [one.name for one in found]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            reader.wrong(key, f"{name!r} occurs {names.count(name)} times")
    return found


def _space(reader: Reader, key: str, value: Any) -> Space:
    table = reader.table(key, value, ("name", "from", "to", "open"))
    low, high = (reader.numbers(f"{key}.{k}", table.get(k), ("x", "y", "z"), -FARTHEST, FARTHEST) for k in ("from", "to"))
    for axis, least, most in zip("xyz", low, high, strict=True):
        if least >= most:
            reader.wrong(f"{key}.to", f"{axis}={most:g} must be above {least:g}, where the box begins")
    name = reader.text(f"{key}.name", table.get("name"))
    return Space(name, (low[0], low[1], low[2]), (high[0], high[1], high[2]), reader.flag(f"{key}.open", table.get("open", False)))


def pose(reader: Reader, key: str, value: Any) -> Pose:
    """A pose; every mistake is noted."""
    if not isinstance(value, list) or len(value) != 6:
        reader.wrong(key, "must be a list of x, y, z [m] and roll, pitch, yaw [rad]")
        return (0.0,) * 6
    x, y, z, roll, pitch, yaw = (reader.number(f"{key}[{i}]", v, -FARTHEST, FARTHEST) for i, v in enumerate(value))
    return x, y, z, roll, pitch, yaw
